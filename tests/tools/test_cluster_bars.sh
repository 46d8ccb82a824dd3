#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/cluster-bars: bad calls are refused, and so is a user who may not make hosts. No bar is run:
# they are timings. Usage: test_cluster_bars.sh CLUSTER-BARS WEFT
set -u
bars=$1 weft=$2
. "$(dirname "$0")/../expect.sh"
for bad in 'racks' '--rounds 0' '--rounds x' '--time fast'; do
    "$bars" --weft "$weft" $bad >/dev/null 2>&1
    expect "$bad" 2 $?
done
"$bars" --weft /no/such/weft >/dev/null 2>&1
expect 'no such command' 1 $?
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    said=$(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \
        "$bars" --weft /bin/true 2>&1)
    expect 'a user without rights' 77 $?
    expect 'and says why' 1 "$(grep -c 'may not make network namespaces' <<<"$said")"
fi
"$bars" --help | grep -q 'groups, unequal, stripes, choice'
expect 'help names the scenes' 0 $?
[ $failures -eq 0 ]
