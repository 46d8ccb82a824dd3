#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Collectives and training over RDMA: on a machine with four HCAs rxe0 to rxe3 on interfaces v0 to v3
# whose links p0 to p3 can be taken away (tools/rdma-vm -n 4 makes one).
# Usage: verbs.sh WEFT collectives [RANKS]...   every collective by every algorithm (default: 2 3 4)
#        verbs.sh WEFT rails                    two hosts of two rails (-r 2): both are used alike, or
#                                               as fast as they were measured
#        verbs.sh WEFT inputs                   what cannot work is said in one line
#        verbs.sh WEFT training                 the same losses, to the bit, as over TCP
#        verbs.sh WEFT faults                   one rail is lost, then both; nothing is left behind
#        verbs.sh WEFT one_link|no_link SEED    four ranks of two links (8 HCAs) or of one: one goes
#        verbs.sh WEFT measure                  no test: a rail is held to half of the other's rate,
#                                               both are measured; then who carries how much, and
#                                               predictions beside times
set -u
weft=$1 part=$2
failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    printf 'FAILED %s\n' "$*"
    failures=$((failures + 1))
}
launch() { # RANKS HCAS-OF-A-HOST COMMAND...: output and exit code; RANKS may be 2x2: so many on each host
    local each=${1#*x}
    # shellcheck disable=SC2016 # the ranks' own variables
    WEFT_TRANSPORTS=verbs timeout 300 "$weft" launch -n $((${1/x/*})) bash -c '
        hcas=
        for ((i = 0; i < $2; i++)); do hcas+=,rxe$((WEFT_RANK / $1 * $2 + i)); done
        WEFT_IB_HCA="=${hcas#,}" exec "${@:3}"' rank "$([ "$each" = "$1" ] && echo 1 || echo "$each")" \
        "${@:2}" 2>&1
}

collectives() { # RANKS
    local collective output
    export WEFT_TIMEOUT=120 WEFT_SPIN=sleep # the processors also do the network's work
    for collective in all_reduce all_gather reduce_scatter broadcast reduce all_to_all gather \
        scatter; do
        output=$(launch "$1" 1 "$weft" bench $collective --tune=1 -b 64 -e 128K -f 2048 -c 1) ||
            fail "$collective of $1 ranks: $output"
        [ "$(grep -cE '^ +[0-9]+ ' <<<"$output")" -eq 2 ] || fail "$collective: $output"
        printf '%s, %d ranks: %s\n' $collective "$1" \
            "$(grep -oE '\b(flat|direct|tree|double_tree|ring|halving|bruck|pat|pairwise)\b' \
                <<<"$output" | sort -u | tr '\n' ' ')"
    done
}

training() {
    local transport
    export WEFT_TIMEOUT=120 # for a machine that has other work
    for transport in tcp verbs; do
        WEFT_ALGORITHM=ring launch 2 1 env WEFT_TRANSPORTS=$transport "$weft" train --json \
            --data "$0" --steps 6 --layers 2 --width 32 --heads 2 --context 32 --batch 4 \
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

sent_kb() { echo $(($(<"/sys/class/net/$1/statistics/tx_bytes") / 1000)); }

# What left by all devices during a command, in kB; into `kilobytes`. Packets would count answers, too.
count_sent() { # COMMAND...
    local i before=()
    for i in 0 1 2 3; do before+=("$(sent_kb v$i)"); done
    output=$("$@")
    status=$?
    kilobytes=()
    for i in 0 1 2 3; do kilobytes+=($(($(sent_kb v$i) - before[i]))); done
}

# Each host's first rail carried ONE, its second OTHER, within 5 % of the whole.
carried() { # WHAT ONE OTHER
    local host one other
    printf '%s: rxe0 %d, rxe1 %d; rxe2 %d, rxe3 %d kB\n' "$1" "${kilobytes[@]}"
    [ $status -eq 0 ] || fail "$1: $output"
    for host in 0 2; do
        one=$((kilobytes[host] * $3)) other=$((kilobytes[host + 1] * $2))
        ((kilobytes[host] > 1000 && one * 20 >= other * 19 && other * 20 >= one * 19)) ||
            fail "$1: ${kilobytes[host]} and ${kilobytes[host + 1]} kilobytes are not as $2 to $3: $output"
    done
}

# What `weft topo --measure` would have found: RATES in MB/s of rxe0 to rxe3, in the cache.
pretend() { # RATE...
    "$weft" topo --measure --time 100ms --json >"$work/measured" 2>/dev/null ||
        fail "topo --measure: $(<"$work/measured")"
    mkdir -p "$WEFT_CACHE"
    python3 - "$work/measured" "$WEFT_CACHE" "$@" <<'END'
import json, os, sys
found = json.load(open(sys.argv[1]))
rates = [float(rate) * 1e6 for rate in sys.argv[3:]]
found["entries"] = []
for a in range(4):
    for b in range(4):
        if a != b:
            curve = [[size, int(20e6 + size * 1e12 / min(rates[a], rates[b]))]
                     for size in (1, 4096, 1 << 16, 1 << 20)]
            found["entries"].append({
                "what": "verbs-device", "from": f"vm/rxe{a}", "to": f"vm/rxe{b}",
                "latency_ps": curve[0][1], "least_ps": curve[0][1], "spread_percent": 1,
                "note": "", "curve": curve})
name = os.path.join(sys.argv[2], "measurements-" + found["fingerprint"] + ".json")
with open(name, "w") as out:
    json.dump(found, out)
os.chmod(name, 0o600)
END
}

bench() { # RANKS HCAS: an all-reduce of 8 MiB, in and out of place, three times each
    launch "$1" "$2" "$weft" bench all_reduce -b 8M -e 8M -n 2 -w 0 -c 1
}

rails() {
    export WEFT_CACHE=$work/cache WEFT_TIMEOUT=120
    count_sent bench 2 2
    carried 'two hosts of one rank' 1 1
    count_sent bench 2x2 2
    carried 'two hosts of two ranks' 1 1
    pretend 40 37 41 40 # within what measurements differ by
    count_sent bench 2 2
    carried 'rails measured alike' 1 1
    pretend 40 20 40 20
    count_sent bench 2 2
    carried 'the second rail measured at half' 2 1
}

refused() { # WHAT EXPECTED COMMAND...: it fails, and one line tells the cause and what was found
    local output status line
    output=$("${@:3}" 2>&1)
    status=$?
    line=$(grep -m1 -F "$2" <<<"$output") && [ $status -ne 0 ] && [ $status -ne 124 ] ||
        fail "$1, exit code $status, without '$2': $output"
    printf '%s: %s\n' "$1" "$line"
}

inputs() {
    local one=(timeout 60 "$weft" bench all_reduce -b 8 -e 8 -n 1 -w 0) i output
    export WEFT_TRANSPORTS=verbs
    WEFT_IB_HCA=mlx5_0 refused 'a wrong name' \
        "WEFT_IB_HCA: nothing here is called 'mlx5_0'; there is: rxe0, rxe1, rxe2, rxe3" "${one[@]}"
    WEFT_IB_GID_INDEX=99 refused 'a GID index out of range' \
        'WEFT_IB_GID_INDEX: rxe0:1 has no GID 99; it has 0: RoCE v2 fe80' "${one[@]}"
    WEFT_IB_PKEY=0x8001 refused 'another partition' \
        'WEFT_IB_PKEY: rxe0:1 is not in partition 0x8001; it is in 0xffff' "${one[@]}"

    ip link set v1 mtu 1500
    output=$(WEFT_LOG=debug launch 2 1 "$weft" bench all_reduce -b 1M -e 1M -n 1 -w 0 -c 1) &&
        grep -q 'Out of bounds values : 0 OK' <<<"$output" || fail "two MTUs: $output"
    output=$(grep -m1 'MTU 1024 (here 4096, there 1024)' <<<"$output") || fail 'two MTUs are not told'
    printf 'two MTUs: %s\n' "$output"

    for i in 0 1 2 3; do ip link set v$i down; done
    refused 'no active port' 'no RDMA port is usable: rxe0:1 (down, ' "${one[@]}"
    for i in 0 1 2 3; do rdma link delete rxe$i; done
    refused 'no device' 'there is no RDMA device' "${one[@]}"
}

# Egress of the second rail is held to half of the first, all far below what the machine can do.
measure() {
    export WEFT_CACHE=$work/cache
    local i
    for i in 0 2; do tc qdisc add dev v$i root tbf rate 80mbit burst 64k latency 200ms; done
    for i in 1 3; do tc qdisc add dev v$i root tbf rate 40mbit burst 64k latency 200ms; done
    "$weft" topo --measure --time "${1:-60s}" 2>/dev/null | grep -E 'latency|verbs-device|not believed'
    "$weft" topo -v | grep -o 'rxe. .*process.measured_mbps=[0-9]*' | grep -oE '^rxe.|process.measured.*'
    count_sent bench 2 2
    carried 'as measured' 2 1
    export WEFT_SPIN=yield # the processors also do the network's work
    launch 2 2 "$weft" bench all_reduce --tune -b 1K -e 4M -f 16 -c 1
}

await_traffic() { # HCA PACKETS PID: until it has sent so many more, or the process has ended
    local goal=$(($(sent "$1") + $2))
    while [ "$(sent "$1")" -lt $goal ]; do
        kill -0 "$3" 2>/dev/null || { fail "it has ended before $1 sent $2 packets"; break; }
        sleep 0.05
    done
}

faults() {
    local output bench status before resources
    resources=$(rdma resource show)
    # What is given up soon shows the fault soon.
    export WEFT_IB_TIMEOUT=14 WEFT_IB_RETRY=2
    launch 2 2 "$weft" bench all_reduce -b 8M -e 8M -n 2 -w 0 -c 10 >"$work/bench" &
    bench=$!
    await_traffic rxe1 500 $bench
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
    await_traffic rxe1 500 $bench
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
    local bench resources hca=rxe$(($2 * 7 % (4 * $1)))
    resources=$(rdma resource show)
    link=p${hca#rxe}
    status=1 output=
    launch 4 "$1" "$weft" bench all_reduce -b 8M -e 8M -n 1 -w 0 -c "$3" >"$work/bench" &
    bench=$!
    await_traffic "$hca" $((300 + $2 * 397 % 1200)) $bench
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
collectives) for ranks in "${@:3}"; do collectives "$ranks"; done
    [ $# -gt 2 ] || for ranks in 2 3 4; do collectives $ranks; done ;;
rails | inputs | training | faults) "$part" ;;
one_link | no_link) "$part" "$3" ;;
measure) measure "${@:3}" ;;
*) fail "no such part: $part" ;;
esac
[ $failures -eq 0 ]
