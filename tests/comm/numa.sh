#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On a machine of two NUMA nodes with two cores each (tools/numa-vm makes one): Weft sees them, ranks
# are bound to cores of both, what they share lies where it belongs, and sums are right.
# Usage: numa.sh WEFT PLACEMENT-PROGRAM
set -u
weft=$1 placement=$2
export WEFT_SPIN=sleep # the host may have fewer processors, and other work for them
. "$(dirname "$0")/../expect.sh"
topology=$("$weft" topo --summary)
expect 'what weft topo sees' 1 "$(grep -c '2 packages, 2 NUMA domains, 4 cores' <<<"$topology")"
"$weft" launch -n 4 "$placement"
expect 'placement' 0 $?
sums=$("$weft" bench all_reduce --ranks 4 -b 8 -e 2M -f 512 -n 2 -w 1)
expect 'sums' 0 $?
expect 'all right' 1 "$(grep -c 'Out of bounds values : 0 OK' <<<"$sums")"
[ $failures -eq 0 ]
