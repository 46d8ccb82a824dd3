#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Four hosts in two racks on one machine: network and UTS namespaces, veth pairs into two bridges, a
# slow link between them. `weft topo --cluster` runs in them for real: graphs meet, links are timed,
# racks are found, a dead rank is named. All of it is inside a network namespace of its own, which
# ends with this script. Usage: test_cluster.sh WEFT
set -u
weft=$1
if [ "${TEST_CLUSTER_INSIDE:-}" != yes ]; then
    if ! unshare --net --uts --mount --fork true 2>/dev/null; then
        echo 'cluster: skipped, this user may not make network namespaces'
        exit 77
    fi
    TEST_CLUSTER_INSIDE=yes exec unshare --net --uts --mount --fork "$0" "$@"
fi

failures=0
expect() { # WHAT EXPECTED ACTUAL
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s: expected [%s], got [%s]\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}
expect_true() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" || expect "$what" true false
}

folder=$(mktemp -d)
hosts=(alpha beta gamma delta)
holders=()
finish() {
    for pid in "${holders[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$folder"
}
trap finish EXIT

# ---- the racks ----

ip link set lo up
for rack in 0 1; do
    ip link add "rack$rack" type bridge && ip link set "rack$rack" up
done || {
    echo 'cluster: skipped, this system has no bridges'
    exit 77
}
ip link add up0 type veth peer name up1
for rack in 0 1; do
    ip link set "up$rack" master "rack$rack" up
    tc qdisc add dev "up$rack" root tbf rate 80mbit burst 10k latency 100ms 2>/dev/null || {
        echo 'cluster: skipped, this system cannot shape links'
        exit 77
    }
done
for i in 0 1 2 3; do
    # sysfs shows the devices of the namespace that mounted it
    unshare --net --uts --mount bash -c 'hostname "$1" && mount -t sysfs sysfs /sys; echo >"$2"
        exec sleep 600' holder "${hosts[i]}" "$folder/ready$i" &
    holders+=($!)
    for _ in $(seq 100); do [ -e "$folder/ready$i" ] || sleep 0.05; done
    ip link add "port$i" type veth peer name weft0 netns "${holders[i]}"
    ip link set "port$i" master "rack$((i / 2))" up
    nsenter -t "${holders[i]}" -n ip link set lo up
    nsenter -t "${holders[i]}" -n ip address add "10.77.0.$((i + 1))/24" dev weft0
    nsenter -t "${holders[i]}" -n ip link set weft0 up
done

# run NAME RANKS_PER_HOST ARGUMENTS...: on all hosts; NAME.out.R, NAME.err.R and codes in $codes.
# The variables are torchrun's.
port=29000
run() {
    local name=$1 each=$2 pids=() rank
    shift 2
    port=$((port + 10))
    for rank in $(seq 0 $((4 * each - 1))); do
        local host=$((rank / each))
        local rank_topology="topology_of_$rank"
        RANK=$rank WORLD_SIZE=$((4 * each)) MASTER_ADDR=10.77.0.1 MASTER_PORT=$port \
            WEFT_SECRET=of-this-test WEFT_BOOTSTRAP_ADDRESS=10.77.0.$((host + 1)) \
            WEFT_CACHE="$folder/cache" WEFT_TOPOLOGY=${!rank_topology:-} \
            timeout -k 5 120 nsenter -t "${holders[host]}" -n -u -m "$weft" topo --cluster "$@" \
            >"$folder/$name.out.$rank" 2>"$folder/$name.err.$rank" &
        pids+=($!)
    done
    codes=''
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null # the shell need not say who was killed
        codes="$codes $?"
    done
}
# links FILE NODE: the other ends of its links
links() {
    sed -n "s|.*\"from\": \"$2\", \"to\": \"\([^\"]*\)\".*|\1|p;
            s|.*\"from\": \"\([^\"]*\)\", \"to\": \"$2\".*|\1|p" "$1"
}
kinds() { grep -c "\"kind\": \"$2\"" "$1"; }

# ---- one graph ----

run plain 2 --json
expect 'all ranks end well' ' 0 0 0 0 0 0 0 0' "$codes"
expect 'four hosts' 4 "$(kinds "$folder/plain.out.0" host)"
for host in "${hosts[@]}"; do
    expect "$host is there" 1 "$(grep -c "\"name\": \"$host\", \"kind\": \"host\"" "$folder/plain.out.0")"
done
expect 'the network that joins them is a guess' 1 "$(grep -c 'no switch could be seen' "$folder/plain.out.0")"
expect 'other ranks are silent' '' "$(cat "$folder"/plain.out.[1-7] "$folder"/plain.err.*)"
run again 1 --json
expect_true 'one rank per host sees the same' cmp -s "$folder/plain.out.0" "$folder/again.out.0"

# ---- measured ----

# The last point of each curve: bytes, and picoseconds.
last() { # WHAT FROM TO
    sed -n "s|.*\"what\": \"$1\", \"from\": \"$2\", \"to\": \"$3\".*\[\([0-9]*\), \([0-9]*\)\]\]}.*|\1 \2|p" \
        "$folder"/cache/measurements-*.json
}
rate() { last "$@" | awk '{ printf "%d\n", $1 * 1e9 / $2 }'; } # bytes per millisecond
are_long() { # of the ways between alpha, beta and the others, whether all got to 64 KiB
    local pair
    for pair in 'alpha beta' 'alpha gamma' 'alpha delta' 'beta gamma' 'beta delta'; do
        set -- $pair
        set -- $(last tcp-interface "$1/weft0" "$2/weft0")
        [ "${1:-0}" -ge 65536 ] || return 1
    done
}
export WEFT_TIMEOUT=60
for time in 10s 20s 40s; do # a machine that is busy with other things gets more time
    run measured 2 --measure --time $time
    expect 'all ranks end well' ' 0 0 0 0 0 0 0 0' "$codes"
    are_long && break
done
expect 'six pairs, none through shared memory' 6 \
    "$(grep -c '^tcp [a-z]* -> [a-z]* ' "$folder/measured.out.0")"
expect 'six ways from interface to interface' 6 \
    "$(grep -c '^tcp-interface [a-z]*/weft0 -> [a-z]*/weft0 ' "$folder/measured.out.0")"
expect 'the file of the cache is the user'"'"'s alone' 600 \
    "$(stat -c %a "$folder"/cache/measurements-*.json)"
for pair in 'alpha gamma' 'alpha delta' 'beta gamma' 'beta delta'; do
    set -- $pair
    # 80 Mbit/s are 10000 bytes per millisecond; the burst adds a little to short curves
    across=$(rate tcp-interface "$1/weft0" "$2/weft0")
    inside=$(rate tcp-interface "$1/weft0" "$([ "$1" = alpha ] && echo beta || echo alpha)/weft0")
    inside=${inside:-$(rate tcp-interface alpha/weft0 beta/weft0)}
    expect_true "$pair: ${across:-none} is what the slow link lets through" \
        test "${across:-0}" -gt 1000 -a "${across:-0}" -lt 16000
    expect_true "$pair: within the rack it is ${inside:-none}, much faster" \
        test "${inside:-0}" -gt $((3 * ${across:-0}))
done

# ---- grouped: the cache tells it to a run that does not measure ----

run grouped 1 --json
graph=$folder/grouped.out.0
expect 'two racks and what joins them' 3 "$(kinds "$graph" switch)"
rack_of() { links "$graph" "$1/weft0" | grep '^group'; }
expect 'rack of alpha and beta' "$(rack_of alpha)" "$(rack_of beta)"
expect 'rack of gamma and delta' "$(rack_of gamma)" "$(rack_of delta)"
expect 'which are two' 2 "$(printf '%s\n%s\n' "$(rack_of alpha)" "$(rack_of gamma)" |
    grep '^group[01]$' | sort -u | wc -l)"
expect 'figures are measured ones' 6 \
    "$(grep '"kind": "network"' "$graph" | grep -c '"measured": {"value": [0-9]*, "source": "measured"}')"

# ---- what goes wrong ----

for phase in topology calibration; do
    start=$SECONDS
    WEFT_FAULT=kill:$phase:2 run killed 1 --measure --time 2s
    expect "$phase: who died and who learns it" ' 3 3 137 3' "$codes"
    expect "$phase: the dead rank is named by all" 3 \
        "$(cat "$folder"/killed.err.* | grep -c 'rank 2 .*died')"
    expect_true "$phase: at once, not at the deadline" test $((SECONDS - start)) -lt 30
done
echo '{"format": "weft-topology", "version": 1, "nodes": [7], "links": []}' >"$folder/bad"
topology_of_3=$folder/bad
run bad 1 --json
unset topology_of_3
expect 'a host that cannot be read fails all' ' 2 2 2 2' "$codes"
expect 'and is named by all' 4 "$(cat "$folder"/bad.err.* | grep -c 'rank 3: .*nodes\[0\]')"

# ---- machines with one name ----

nsenter -t "${holders[1]}" -u hostname alpha
run twins 1 --json
expect 'still four hosts' 4 "$(kinds "$folder/twins.out.0" host)"
expect 'told apart' 2 "$(grep -c '"name": "alpha~[0-9a-f]*", "kind": "host"' "$folder/twins.out.0")"

# ---- nothing is left ----

for i in 0 1 2 3; do
    namespace=$(readlink "/proc/${holders[i]}/ns/net")
    left=''
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/net" 2>/dev/null)" = "$namespace" ] &&
            [ "${process#/proc/}" != "${holders[i]}" ] && left="$left $(cat "$process/comm")"
    done
    expect "${hosts[i]}: no process is left" '' "$left"
    expect "${hosts[i]}: no port is open" '' \
        "$(nsenter -t "${holders[i]}" -n ss -Hlnt 2>/dev/null)"
done

[ $failures = 0 ] && echo 'cluster: all passed'
exit $((failures > 0))
