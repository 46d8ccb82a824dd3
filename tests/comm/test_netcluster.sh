#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/netcluster: hosts are apart, ranks lie as asked, exit codes and bad arguments come through, a
# link goes down and up again, and Weft's collectives run over it with right results, planned as the
# topology of rank 0 says.
# Usage: test_netcluster.sh NETCLUSTER WEFT
set -u
netcluster=$1 weft=$(realpath "$2")
"$netcluster" -n 2 -- true
if [ $? -eq 77 ]; then
    echo 'netcluster: skipped, there are no namespaces or shaped links'
    exit 77
fi

. "$(dirname "$0")/../expect.sh"
where='echo $RANK $LOCAL_RANK $(hostname) $(ip -o -4 address show eth0 | grep -o "10.99.0.[0-9]*/")'
expect 'block' '[0] 0 0 host0 10.99.0.1/ [1] 1 1 host0 10.99.0.1/ [2] 2 0 host1 10.99.0.2/ [3] 3 1 host1 10.99.0.2/' \
    "$(echo $("$netcluster" -l -n 2 -r 2 -- bash -c "$where" | sort))"
expect 'cyclic' '[0] 0 0 host0 10.99.0.1/ [1] 1 0 host1 10.99.0.2/ [2] 2 1 host0 10.99.0.1/ [3] 3 1 host1 10.99.0.2/' \
    "$(echo $("$netcluster" -l -p cyclic -n 2 -r 2 -- bash -c "$where" | sort))"
"$netcluster" -n 3 -b none -- bash -c '[ $RANK != 1 ] || exit 7'
expect 'the code of the rank that failed' 7 $?
two='echo $RANK $WEFT_TCP_ADDRESSES $(ip -o -4 address show eth1 | grep -o "10.99.1.[0-9]*/")'
expect 'two interfaces' '[0] 0 10.99.1.1 10.99.1.1/ [1] 1 10.99.1.2 10.99.1.2/' \
    "$(echo $("$netcluster" -l -n 2 -b none -b 1gbit -- bash -c "$two" | sort))"
expect 'one of them down from the beginning' 'down up' "$(echo $("$netcluster" -n 1 -b none -b none \
    -d 0.1:0:9 -- cat /sys/class/net/eth1/operstate /sys/class/net/eth0/operstate 2>/dev/null |
    sed s/lowerlayerdown/down/))"
keep() { "$netcluster" "$@" -l -n 2 -b none -- bash -c 'taskset -cp $$' | sed 's/.*: //' | sort -u | wc -l; }
expect 'any core for all' 1 "$(keep)"
[ "$(nproc)" -lt 2 ] || expect 'cores of their own' 2 "$(keep -c)"
for bad in '-d 0.1:1:1' '-b none -d 0.2:1:1' '-b 1 -b 1 -b 1 -b 1 -b 1' '-n 0' '-n x' '-r 0' '-p up' '-d 9:1:1' '-d 0:x:1' '-t 0'; do
    "$netcluster" $bad -- true 2>/dev/null
    expect "$bad" 2 $?
done
"$netcluster" -n 2 -- no-such-command 2>/dev/null
expect 'no such command' 2 $?
"$netcluster" -n 2 -b fast -- true 2>/dev/null
expect 'no such rate' 77 $?

"$netcluster" -n 3 -b 1gbit,250mbit -- "$weft" bench all_reduce -b 8 -e 256K -f 32 -n 3 -w 1 >netcluster.out
expect 'all-reduce over three hosts' 0 $?
expect 'with right sums' 1 "$(grep -c 'Out of bounds values : 0 OK' netcluster.out)"
expect 'over the network' 0 "$(grep -c 'over shm' netcluster.out)"
rm -f netcluster.out

# Planned on a graph of these hosts that rank 0 has, as `weft plan` does; one of them is slow.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$weft" topo 'host:4 core:2 nic:1@1' --json >"$folder/even.json"
sed '/host3\/nic0.*network/s/125000000/31250000/' "$folder/even.json" >"$folder/slow.json"
chosen() { sed -n 's/.*"chosen": "\([a-z_]*\)".*/\1/p'; }
planned() { sed -n 's/.*"plan": "\([a-z_]*\)".*/\1/p'; }
bench() { # TOPOLOGY OPTION...
    local topology=$1
    shift
    WEFT_TOPOLOGY=$topology WEFT_TIMEOUT=60 "$netcluster" -n 4 -b 1gbit,1gbit,1gbit,250mbit "$@" -- \
        "$weft" bench all_reduce -b 1M -e 1M -n 1 -w 0 --json 2>"$folder/errors"
}
best() { "$weft" plan all_reduce -t "$1" --ranks 0,2,4,6 --size 1M --json | chosen; } # TOPOLOGY
expect 'a slow host makes a difference' forest "$(best "$folder/slow.json")"
for kind in even slow; do
    expect "planned on the $kind graph" "$(best "$folder/$kind.json")" \
        "$(bench "$folder/$kind.json" | planned)"
    expect 'without a warning' '' "$(cat "$folder/errors")"
done
expect 'two ranks on each host' hierarchical "$(bench "$folder/even.json" -r 2 | planned)"
expect 'dealt in turn' hierarchical "$(bench "$folder/even.json" -r 2 -p cyclic | planned)"
# the file need be where rank 0 is, and there alone
WEFT_TIMEOUT=60 "$netcluster" -n 4 -- bash -c '[ $RANK = 0 ] && export WEFT_TOPOLOGY=$0
    exec "$@"' "$folder/slow.json" "$weft" bench all_reduce -b 1M -e 1M -n 1 -w 0 --json >"$folder/alone"
expect 'known to all from rank 0' "$(best "$folder/slow.json")" "$(planned <"$folder/alone")"
sums=$(bench 'host:2 core:2 nic:1@1' | grep -c '"wrong": 0}}\],')
expect 'a graph of other hosts is no harm' 1 "$sums"
expect 'but said once' 1 "$(grep -c "host of rank 2, 'host2', is not among its hosts" "$folder/errors")"

# Measured times are of ranks on their hosts.
echo '{"format": "weft-tuned", "version": 2, "collective": "all_reduce", "order": "free",
    "links": "shm+tcp", "hosts": [0, 0, 1, 1, 2, 2, 3, 3], "sizes": [{"bytes": 1048576, "algorithms": [
    {"name": "double_tree", "measured_us": 1}]}]}' >"$folder/tuned"
WEFT_TUNE=$folder/tuned
export WEFT_TUNE
expect 'as the table has it' double_tree "$(bench "$folder/even.json" -r 2 | planned)"
expect 'a table of ranks that lie otherwise' hierarchical \
    "$(bench "$folder/even.json" -r 2 -p cyclic | planned)"
expect 'is passed over' 1 "$(grep -c 'no table is of these 8 ranks' "$folder/errors")"
bench "$folder/even.json" -r 2 -b 1gbit >/dev/null
expect 'as is one of fewer interfaces' 1 \
    "$(grep -c 'no table is of these 8 ranks on these hosts over shm+tcp\*2' "$folder/errors")"
unset WEFT_TUNE

# Where a link leads to the other end, that refuses a connection at once.
heard=$("$netcluster" -n 2 -d 1:3:4 -- bash -c '
    [ $RANK = 0 ] || exec sleep 11
    leads() { timeout 0.5 bash -c "echo >/dev/tcp/10.99.0.2/9"; [ $? -ne 124 ]; }
    leads && echo up
    sleep 4
    leads || echo down
    for i in $(seq 15); do
        leads && echo up && break
        sleep 0.3
    done' 2>/dev/null)
expect 'a link goes down and up' 'up down up' "$(echo $heard)"
[ $failures -eq 0 ]
