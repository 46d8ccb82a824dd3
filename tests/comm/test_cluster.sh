#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts in two racks on one machine: network and UTS namespaces, veth pairs into two bridges, a slow
# link between them. `weft topo --cluster` runs in them for real: graphs meet, links are timed, racks
# are found, a dead rank is named; in the end, so many hosts that several pairs are timed at once. All
# of it is inside namespaces of its own, with processes, which end with this script however it ends.
# Usage: test_cluster.sh WEFT
set -u
weft=$(realpath "$1")
if [ "${TEST_CLUSTER_INSIDE:-}" != yes ]; then
    apart=(unshare --net --uts --mount --pid --mount-proc --kill-child)
    if ! "${apart[@]}" true 2>/dev/null; then
        echo 'cluster: skipped, this user may not make network namespaces'
        exit 77
    fi
    TEST_CLUSTER_INSIDE=yes exec "${apart[@]}" "$0" "$@"
fi

. "$(dirname "$0")/../expect.sh"
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
in_host() { # HOST COMMAND...
    local pid=${holders[$1]}
    shift
    nsenter -t "$pid" -n -u -m "$@"
}
connect() { # HOST INTERFACE BRIDGE ADDRESS
    ip link add "$2-$1" type veth peer name "$2" netns "${holders[$1]}"
    ip link set "$2-$1" master "$3" up
    in_host "$1" ip address add "$4/24" dev "$2"
    in_host "$1" ip link set "$2" up
}
add_host() { # NUMBER
    # sysfs shows the devices of the namespace that mounted it
    unshare --net --uts --mount bash -c 'hostname "$1" && mount -t sysfs sysfs /sys; echo >"$2"
        exec sleep 600' holder "${hosts[$1]}" "$folder/ready$1" &
    holders+=($!)
    for _ in $(seq 200); do [ -e "$folder/ready$1" ] || sleep 0.05; done
    in_host "$1" ip link set lo up
    connect "$1" weft0 "rack$(($1 / 2 % 2))" "10.77.0.$(($1 + 1))"
}
for i in 0 1 2 3; do
    add_host $i
done

# run NAME RANKS_PER_HOST ARGUMENTS...: on all hosts; NAME.out.R, NAME.err.R and codes in $codes.
# The variables are torchrun's.
port=29000
run() {
    local name=$1 each=$2 pids=() rank num_ranks=$((${#holders[@]} * $2))
    shift 2
    port=$((port + 10))
    for rank in $(seq 0 $((num_ranks - 1))); do
        local host=$((rank / each))
        local rank_topology="topology_of_$rank"
        RANK=$rank WORLD_SIZE=$num_ranks MASTER_ADDR=10.77.0.1 MASTER_PORT=$port \
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

# ---- a second interface that leads to some hosts only ----

ip link add side type bridge && ip link set side up
connect 0 side0 side 10.88.0.1
connect 2 side0 side 10.88.0.3
run ways 1 --measure --time 2s -v
expect 'all ranks end well' ' 0 0 0 0' "$codes"
way() { sed -n "s|^tcp-interface $1 -> $2  *||p" "$folder/ways.out.0"; }
expect_true 'the other interface reaches its like' test -n "$(way alpha/side0 gamma/side0)"
expect 'and does' '' "$(way alpha/side0 gamma/side0 | grep 'no way')"
for end in 'alpha/side0 beta/weft0' 'alpha/side0 gamma/weft0' 'alpha/weft0 gamma/side0'; do
    set -- $end
    expect_true "$1 does not reach $2, by address" \
        test -n "$(way "$1" "$2" | grep 'no way: 10\.[78][78]\.0\.1 to 10\.[78][78]\.0\.[23]: ')"
done
expect 'the report says so' 1 \
    "$(grep -c 'alpha/side0: reaches 1 of 3 hosts by TCP; not beta: ' "$folder/ways.out.0")"
for i in 0 2; do
    in_host $i ip link delete side0
done

# ---- machines with one name ----

nsenter -t "${holders[1]}" -u hostname alpha
export WEFT_LOG=info
run twins 2 --json
unset WEFT_LOG
for i in 0 1 2 3; do
    expect "${hosts[i]}: the lowest rank looks, and no other" '1 0' \
        "$(for rank in $((2 * i)) $((2 * i + 1)); do
            grep -c 'topology of this machine:' "$folder/twins.err.$rank"
        done | paste -sd ' ')"
done
expect 'prices need no look at devices' 1 \
    "$(cat "$folder"/twins.err.* | grep -c "topology of this machine's processors:")"
expect 'still four hosts' 4 "$(kinds "$folder/twins.out.0" host)"
expect 'told apart' 2 "$(grep -c '"name": "alpha~[0-9a-f]*", "kind": "host"' "$folder/twins.out.0")"

nsenter -t "${holders[1]}" -u hostname beta

# ---- by mpirun, on one host ----

if command -v mpirun >/dev/null; then
    WEFT_LOG=info WEFT_CACHE=none timeout -k 5 120 mpirun --allow-run-as-root --oversubscribe -n 3 \
        "$weft" topo --cluster --json >"$folder/mpi.out" 2>"$folder/mpi.err"
    expect 'mpirun: ends well' 0 $?
    expect 'mpirun: one host' 1 "$(kinds "$folder/mpi.out" host)"
    expect 'mpirun: looked at once' 1 "$(grep -c 'topology of this machine:' "$folder/mpi.err")"
fi

# ---- more hosts than may wait for each other: pairs at the same time ----

hosts+=(h4 h5 h6 h7 h8 h9 h10)
for i in 4 5 6 7 8 9 10; do
    add_host $i
done
run crowd 1 --measure --time 2s
expect 'crowd: all ranks end well' "$(printf ' 0%.0s' "${hosts[@]}")" "$codes"
expect 'crowd: every pair once' 55 \
    "$(sed -n 's/^tcp \([a-z0-9]*\) -> \([a-z0-9]*\) .*/\1 \2\n\2 \1/p' "$folder/crowd.out.0" |
        sort -u | awk '$1 < $2' | wc -l)"
expect 'crowd: and each by its interfaces' 55 \
    "$(grep -c '^tcp-interface [a-z0-9]*/weft0 -> [a-z0-9]*/weft0 ' "$folder/crowd.out.0")"
expect 'crowd: all reach all' 0 "$(grep -c 'no way' "$folder/crowd.out.0")"

# ---- nothing is left ----

for i in "${!hosts[@]}"; do
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
