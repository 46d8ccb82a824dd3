#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts with two interfaces: TCP sends large messages over both, each its share; sums are right with
# one that is slow, one that is down from the beginning, and one that goes down in the middle.
# Usage: test_stripes.sh NETCLUSTER WEFT
set -u
netcluster=$1 weft=$(realpath "$2")
"$netcluster" -n 2 -- true
if [ $? -eq 77 ]; then
    echo 'stripes: skipped, there are no namespaces or shaped links'
    exit 77
fi

. "$(dirname "$0")/../expect.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The sums of a few all-reduces among 3 hosts, and what part of host0's bytes, in percent, leaves
# through its second interface.
sums_and_share() { # OPTION...
    WEFT_TIMEOUT=60 "$netcluster" -n 3 "$@" -- bash -c '
        sent() { cat /sys/class/net/eth*/statistics/tx_bytes; }
        before=($(sent))
        "$0" bench all_reduce -b 4M -e 8M -f 2 -n 5 -w 1 || exit
        after=($(sent))
        [ $RANK != 0 ] || echo share $((100 * (after[1] - before[1]) /
            (after[0] - before[0] + after[1] - before[1])))' "$weft" >"$folder/out" 2>"$folder/errors"
    sums=$(grep -c 'Out of bounds values : 0 OK' "$folder/out")
    share=$(sed -n 's/^share //p' "$folder/out")
    echo "stripes: $*: $share % over the second interface"
}
is_between() { [ "$2" -ge "$1" ] && [ "$2" -le "$3" ] && echo yes || echo "no: $2"; } # LOW SHARE HIGH

sums_and_share -b 1gbit -b 1gbit
expect 'two alike: sums' 1 "$sums"
expect 'two alike: shares' yes "$(is_between 20 "$share" 80)"
sums_and_share -b 1gbit -b 250mbit
expect 'a slow one: sums' 1 "$sums"
expect 'a slow one: shares' yes "$(is_between 3 "$share" 48)"
sums_and_share -b 1gbit -b 1gbit -d 1.1:0:200
expect 'one down from the beginning: sums' 1 "$sums"
WEFT_TCP_ADDRESSES='' sums_and_share -b 1gbit -b 1gbit
expect 'known to nobody: sums' 1 "$sums"
expect 'known to nobody: shares' 0 "$share"

# Down in the middle: the rest goes over the other one.
WEFT_TIMEOUT=60 "$netcluster" -n 2 -b 1gbit -b 1gbit -d 1.1:3:200 -- \
    "$weft" bench all_reduce -b 16M -e 16M -n 60 -w 1 >"$folder/out" 2>"$folder/errors"
expect 'one goes down: exit code' 0 $?
expect 'one goes down: sums' 1 "$(grep -c 'Out of bounds values : 0 OK' "$folder/out")"
expect 'one goes down: said' yes "$(grep -q 'no word for 3 s; 1 left' "$folder/errors" && echo yes)"
[ $failures -eq 0 ]
