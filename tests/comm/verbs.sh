#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Collectives and training over RDMA: on a machine with four HCAs rxe0 to rxe3 whose links p0 to p3
# can be taken away (tools/rdma-vm -n 4 makes one).
# Usage: verbs.sh WEFT collectives [RANKS]...   every collective by every algorithm (default: 4 ranks)
#        verbs.sh WEFT training                 the same losses, to the bit, as over TCP
#        verbs.sh WEFT faults                   two hosts of two rails: both are used, one is lost, then
#                                               both; nothing is left behind
#        verbs.sh WEFT one_link|no_link SEED    four ranks of two links (8 HCAs) or of one: one goes
set -u
weft=$1 part=$2
failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    printf 'FAILED %s\n' "$*"
    failures=$((failures + 1))
}
launch() { # RANKS HCAS-OF-A-RANK COMMAND...: output and exit code
    # shellcheck disable=SC2016 # the ranks' own variables
    WEFT_TRANSPORTS=verbs timeout 120 "$weft" launch -n "$1" bash -c '
        each=$1 hcas=
        for ((i = 0; i < each; i++)); do hcas+=,rxe$((WEFT_RANK * each + i)); done
        WEFT_IB_HCA="=${hcas#,}" exec "${@:2}"' rank "${@:2}" 2>&1
}

collectives() { # RANKS
    local collective output
    for collective in all_reduce all_gather reduce_scatter broadcast reduce all_to_all gather \
        scatter; do
        output=$(launch "$1" 1 "$weft" bench $collective --tune -b 8 -e 128K -f 128 -c 1) ||
            fail "$collective of $1 ranks: $output"
        [ "$(grep -cE '^ +[0-9]+ ' <<<"$output")" -eq 3 ] || fail "$collective: $output"
        printf '%s, %d ranks: %s\n' $collective "$1" \
            "$(grep -oE '\b(flat|direct|tree|double_tree|ring|halving|bruck|pat|pairwise)\b' \
                <<<"$output" | sort -u | tr '\n' ' ')"
    done
}

training() {
    local transport
    for transport in tcp verbs; do
        WEFT_ALGORITHM=ring launch 2 1 env WEFT_TRANSPORTS=$transport "$weft" train --json \
            --data licenses --steps 6 --layers 2 --width 32 --heads 2 --context 32 --batch 4 \
            >"$work/$transport" || fail "training over $transport: $(<"$work/$transport")"
    done
    python3 - "$work/tcp" "$work/verbs" <<'END' || fail 'the losses'
import json, sys
tcp, verbs = (json.load(open(name)) for name in sys.argv[1:])
for key in ("loss_bits_per_byte", "held_out", "sample_bytes"):
    if tcp[key] != verbs[key] or not tcp[key]:
        sys.exit(f"{key}: {tcp[key]} over tcp, {verbs[key]} over verbs")
print("losses over tcp and verbs:", tcp["loss_bits_per_byte"])
END
}

sent() { cat "/sys/class/infiniband/$1/ports/1/hw_counters/sent_pkts"; }

# Both rails of a host carry the same, within 5 %.
rails() {
    local before=("$(sent rxe0)" "$(sent rxe1)") output one other
    output=$(launch 2 2 "$weft" bench all_reduce -b 8M -e 8M -n 4 -w 0 -c 1) || fail "rails: $output"
    one=$(($(sent rxe0) - before[0])) other=$(($(sent rxe1) - before[1]))
    printf 'two rails: %d and %d packets\n' $one $other
    ((one > 2000 && one * 20 >= other * 19 && other * 20 >= one * 19)) ||
        fail "rails carry $one and $other packets"
}

faults() {
    local output bench status before resources
    resources=$(rdma resource show)
    rails
    # What is given up soon shows the fault soon.
    export WEFT_IB_TIMEOUT=14 WEFT_IB_RETRY=2
    launch 2 2 "$weft" bench all_reduce -b 8M -e 8M -n 2 -w 0 -c 10 >"$work/bench" &
    bench=$!
    sleep 3
    ip link set p1 down
    sleep 2
    ip link set p1 up
    before=$(sent rxe1)
    wait $bench
    status=$?
    output=$(<"$work/bench")
    [ $status -eq 0 ] && grep -q 'Out of bounds values : 0 OK' <<<"$output" ||
        fail "one rail away and back: $output"
    [ "$(sent rxe1)" -gt $((before + 100)) ] || fail "the rail that came back was not used: $output"
    printf 'one rail away and back: rxe1 sent %d packets more\n' $(($(sent rxe1) - before))

    launch 2 2 "$weft" bench all_reduce -b 8M -e 8M -n 200 -w 0 -c 1 >"$work/bench" &
    bench=$!
    sleep 3
    ip link set p0 down
    ip link set p1 down
    wait $bench
    status=$?
    output=$(<"$work/bench")
    # 124: it took longer than any deadline
    [ $status -ne 0 ] && [ $status -ne 124 ] || fail "both rails away, exit code $status: $output"
    [ "$(grep -c 'rxe[01]:1' <<<"$output")" -ge 1 ] || fail "no port is named: $output"
    printf 'both rails away: %s\n' "$(grep -m1 'rxe[01]:1' <<<"$output")"
    [ "$(rdma resource show)" = "$resources" ] ||
        fail "left behind: $(rdma resource show), instead of $resources"
}

# Four ranks of as many rails each; a link of one of them goes at a seeded moment of an all-reduce.
# Sets `link`, `output` and `status`.
lose_link() { # RAILS SEED CYCLES
    local bench resources hca=rxe$(($2 * 7 % (4 * $1))) goal
    resources=$(rdma resource show)
    link=p${hca#rxe}
    goal=$(($(sent "$hca") + 300 + $2 * 397 % 1200))
    status=1 output=
    launch 4 "$1" "$weft" bench all_reduce -b 8M -e 8M -n 1 -w 0 -c "$3" >"$work/bench" &
    bench=$!
    while [ "$(sent "$hca")" -lt $goal ]; do
        kill -0 $bench 2>/dev/null || { fail "it has ended before $hca sent $goal packets"; break; }
        sleep 0.05
    done
    ip link set "$link" down
    wait $bench
    status=$?
    ip link set "$link" up
    output=$(<"$work/bench")
    [ "$(rdma resource show)" = "$resources" ] || fail "left behind: $(rdma resource show)"
}

one_link() { # SEED
    lose_link 2 "$1" 2
    [ $status -eq 0 ] && grep -q 'Out of bounds values : 0 OK' <<<"$output" ||
        fail "$link lost, exit code $status: $output"
    printf 'says: all sums are right without %s\n' "$link"
}

no_link() { # SEED
    lose_link 1 "$1" 200
    [ $status -ne 0 ] && [ $status -ne 124 ] || fail "$link lost, exit code $status: $output"
    grep -q "rxe${link#p}:1" <<<"$output" || fail "rxe${link#p} is not named: $output"
    printf 'says: %s\n' "$(grep -m1 "rxe${link#p}:1" <<<"$output")"
}

case $part in
collectives) for ranks in "${@:3}"; do collectives "$ranks"; done; [ $# -gt 2 ] || collectives 4 ;;
training) training ;;
faults) faults ;;
one_link | no_link) "$part" "$3" ;;
*) fail "no such part: $part" ;;
esac
[ $failures -eq 0 ]
