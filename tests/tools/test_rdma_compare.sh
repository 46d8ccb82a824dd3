#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/rdma-compare, on a machine with two RDMA devices rxe0 and rxe1 (tools/rdma-vm makes one): one
# pair, whose figures are whatever they are; what is lacking and what is wrong is said.
# Usage: test_rdma_compare.sh RDMA-COMPARE
set -u
compare=$1
. "$(dirname "$0")/../expect.sh"
command -v ib_write_bw >/dev/null && command -v ib_write_lat >/dev/null || {
    echo 'skipped: perftest is not installed'
    exit 77
}
output=$("$compare" --pairs 1 2>&1)
expect 'exit code 0 or 1' yes "$([ $? -le 1 ] && echo yes)"
expect 'both figures' 2 "$(grep -cE ': [0-9.]+ \([0-9.]+ to [0-9.]+\), 1 of 1 pairs; bar' <<<"$output")"
[ $failures -eq 0 ] || echo "$output"
output=$("$compare" --devices rxe0,rxe7 2>&1)
expect 'a device that is not there' 77 $?
expect 'which' 1 "$(grep -c 'no RDMA device rxe7' <<<"$output")"
"$compare" --devices rxe0 >/dev/null 2>&1
expect 'one device only' 2 $?
[ $failures -eq 0 ]
