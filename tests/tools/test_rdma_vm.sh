#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/rdma-vm: what goes in comes out (arguments, variables, folder, bytes of both outputs, exit
# codes), changes stay inside but for the output folder, links and packets can be taken away, and it
# ends in time, without leaving anything, also for users without rights.
# Usage: test_rdma_vm.sh RDMA-VM
set -u
vm=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR=$folder # what is left behind is seen

. "$(dirname "$0")/../expect.sh"

# ---- without a machine ----

"$vm" --help >"$folder/help"
expect 'help' 0 $?
expect 'help names all' 3 "$(grep -cE '^  -n, --hcas|^  -t, --timeout|^Exit codes' "$folder/help")"
for bad in '-n 0' '-n x' '-n 65' '-m 1' '-t 0' '-o /nowhere' '-e 1=2' '--no-such' '-n'; do
    "$vm" $bad -- true >/dev/null 2>"$folder/refused"
    expect "$bad" 2 $?
    expect "$bad says why" yes "$([ -s "$folder/refused" ] && echo yes)"
done
"$vm" -n 2 2>/dev/null
expect 'no command' 2 $?
heard=$(XDG_CACHE_HOME=/proc/nowhere "$vm" -- true 2>&1)
expect 'a cache that cannot be made' 77 $?
expect 'says how' 1 "$(grep -c XDG_CACHE_HOME <<<"$heard")"

# ---- what goes in, what comes out ----

mkdir "$folder/out" "$folder/a b"
cat >"$folder/inside" <<'SCRIPT'
printf '[%s]' "$@" "$PWD" "$WEFT_TEST" "$CHOSEN" "${HOST_ONLY-none}" "$(cat | wc -c)"
echo
head -c 100000 /dev/zero | tr '\0' '\r'
printf '\n\0\n'
echo to-error >/dev/stderr
echo inside >"$FOLDER/outside-of-out"
echo written >"$OUT/file"
ulimit -l
for hca in /sys/class/infiniband/*; do
    echo "$(basename "$hca") $(cat "$hca/ports/1/state") $(cat "$hca/ports/1/gids/1")"
done
ip link set p1 down
for i in $(seq 50); do
    [ "$(cat /sys/class/infiniband/rxe1/ports/1/state)" = '1: DOWN' ] && break
    sleep 0.1
done
cat /sys/class/infiniband/rxe1/ports/1/state
ip link set p1 up
for i in $(seq 50); do
    [ "$(cat /sys/class/infiniband/rxe1/ports/1/state)" = '4: ACTIVE' ] && break
    sleep 0.1
done
cat /sys/class/infiniband/rxe1/ports/1/state
tc qdisc add dev v0 root netem loss 2% && tc qdisc del dev v0 root && echo netem
sleep 1000 & # shall not be waited for
exit 203
SCRIPT
(cd "$folder/a b" && HOST_ONLY=1 WEFT_TEST='x y' "$vm" -n 3 -r 2 -o "$folder/out" -e CHOSEN=' "q" ' \
    -e FOLDER="$folder" -e OUT="$folder/out" -- \
    bash "$folder/inside" 'two words' '' "a'b\"c" '$HOME *' $'new\nline') \
    >"$folder/heard" 2>"$folder/errors"
code=$?
if [ $code -eq 77 ]; then
    cat "$folder/errors"
    exit 77
fi
expect 'exit code' 203 $code
{
    printf '[%s]' 'two words' '' "a'b\"c" '$HOME *' $'new\nline' "$folder/a b" 'x y' ' "q" ' none 0
    echo
    head -c 100000 /dev/zero | tr '\0' '\r'
    printf '\n\0\n'
    cat <<'LINES'
unlimited
rxe0 4: ACTIVE 0000:0000:0000:0000:0000:ffff:0a09:000a
rxe1 4: ACTIVE 0000:0000:0000:0000:0000:ffff:0a09:010b
rxe2 4: ACTIVE 0000:0000:0000:0000:0000:ffff:0a09:000c
1: DOWN
4: ACTIVE
netem
LINES
} >"$folder/expected"
cmp "$folder/expected" "$folder/heard"
expect 'output to the byte' 0 $?
expect 'errors' to-error "$(cat "$folder/errors")"
expect 'what is written to the output folder' written "$(cat "$folder/out/file")"
expect 'what is written elsewhere' no "$([ -e "$folder/outside-of-out" ] && echo yes || echo no)"

# ---- ends ----

# Two at once that both find no first files: as somebody without rights where this is root.
cache=${XDG_CACHE_HOME:-$HOME/.cache}
mkdir -p "$folder/cache/weft/vm"
cp -r "$cache/weft/vm/kernel" "$folder/cache/weft/vm/"
as=(env)
somebody=(setpriv --reuid nobody --regid nogroup --clear-groups)
if [ "$(id -u)" = 0 ] && "${somebody[@]}" test -r "$vm"; then
    as=("${somebody[@]}")
    chown -R nobody "$folder"
fi
XDG_CACHE_HOME=$folder/cache "${as[@]}" "$vm" -t 6 -- sleep 1000 2>"$folder/late" &
late=$!
XDG_CACHE_HOME=$folder/cache "${as[@]}" "$vm" -n 1 -- bash -c 'ibv_devices | grep -c rxe; kill -KILL $$' \
    >"$folder/heard" 2>"$folder/errors"
expect 'a command that is killed' 137 $?
expect 'a user without rights' 1 "$(cat "$folder/heard")"
[ -s "$folder/errors" ] && cat "$folder/errors"
wait $late
expect 'a command that does not end' 124 $?
expect 'says so' 1 "$(grep -c 'did not end within 6 seconds' "$folder/late")"

"$vm" -- bash -c 'echo started; sleep 1000' >"$folder/heard" 2>&1 &
vm_pid=$!
for i in $(seq 600); do
    grep -q started "$folder/heard" && break
    sleep 0.1
done
machines() { # of this test: their files are in its folder
    pgrep -f "qemu-system-x86_64.*$folder" | wc -l
}
expect 'a machine runs' yes "$([ "$(machines)" -gt 0 ] && echo yes)"
kill -TERM $vm_pid
wait $vm_pid
expect 'ended by a signal' 143 $?
for i in $(seq 50); do
    [ "$(machines)" = 0 ] && break
    sleep 0.1
done
expect 'no machine is left' 0 "$(machines)"
expect 'no file is left' '' "$(ls -d "$folder"/tmp.* 2>/dev/null)"
[ $failures -eq 0 ]
