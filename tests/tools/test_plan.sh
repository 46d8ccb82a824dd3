#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft plan`: choices, forcing, tables, the scale check, exit codes, JSON.
# Usage: test_plan.sh WEFT
set -u
weft=$1
. "$(dirname "$0")/../expect.sh"
refuse() { # WHAT WORDS OPTION...: exit code 2 and a sentence with WORDS
    local what=$1 words=$2 text
    shift 2
    text=$("$weft" plan "$@" 2>&1 >/dev/null)
    expect "$what: exit code" 2 $?
    case $text in
    *"$words"*) ;;
    *) expect "$what: sentence" "$words" "$text" ;;
    esac
}
query() { # EXPRESSION over j, the JSON on standard input
    python3 -c 'import json, sys
j = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset WEFT_ALGORITHM WEFT_TOPOLOGY
machine='host:1 core:4'
cluster='host:4 nvswitch:1@200 gpu:8@200 nic:1@100'

"$weft" plan --topology "$machine" >/dev/null
expect 'plain' 0 $?
expect 'collective and size by either name' 'broadcast 4096' "$("$weft" plan broadcast --bytes 4K \
    --topology "$machine" --json | query '"%s %d" % (j["collective"], j["bytes"])')"
for algorithm in flat direct tree halving ring double_tree; do
    expect "--explain names $algorithm" 1 \
        "$("$weft" plan --topology "$machine" --explain | grep -c "^  [> ] $algorithm ")"
    expect "forced $algorithm" "$algorithm True" "$("$weft" plan --topology "$machine" \
        --algorithm $algorithm --json | query '"%s %s" % (j["chosen"], j["forced"])')"
done
expect 'the chosen one is the cheapest' True "$("$weft" plan --topology "$machine" --json |
    query 'j["chosen"] == min((c for c in j["candidates"] if c["possible"]),
                              key=lambda c: c["predicted_ps"])["algorithm"]')"
expect 'a program per rank' 4 "$("$weft" plan --topology "$machine" --json | query 'len(j["programs"])')"
expect 'what is not possible has a reason' True "$("$weft" plan --topology "$machine" --coll all_to_all_v \
    --json | query 'all(c["possible"] or c["reason"] for c in j["candidates"])')"
expect 'many ranks behind few NICs' True "$("$weft" plan --topology "$cluster" --ranks 32 --size 1G \
    --json | query 'j["chosen"] in ("ring", "forest", "hierarchical")')"
expect 'the variable' ring "$(WEFT_ALGORITHM=all_reduce:ring "$weft" plan --topology "$machine" --json |
    query 'j["chosen"]')"
expect 'the option goes before the variable' tree "$(WEFT_ALGORITHM=ring "$weft" plan \
    --topology "$machine" --algorithm tree --json | query 'j["chosen"]')"
expect 'the table' '31 8 8589934592' "$("$weft" plan --topology "$machine" --table --json |
    query '"%d %d %d" % (len(j["rows"]), j["rows"][0]["bytes"], j["rows"][-1]["bytes"])')"
for collective in all_reduce all_gather reduce_scatter broadcast reduce all_to_all all_gather_v \
    reduce_scatter_v all_to_all_v barrier send recv; do
    "$weft" plan --topology "$machine" --coll $collective --order reproducible --explain >/dev/null
    expect "$collective" 0 $?
done

refuse 'an unknown algorithm' 'possible for all_reduce' --topology "$machine" --algorithm rung
refuse 'an algorithm that cannot' 'possible: ' --topology "$machine" --coll all_to_all --algorithm ring
refuse 'an unknown collective' 'allreduce' --coll allreduce
refuse 'a bad size' '' --size many
refuse 'no ranks' '' --ranks 0
refuse 'a rank that is not there' 'rank 4 of 4' --topology "$machine" --rank 4
refuse 'a root that is not there' 'root' --topology "$machine" --coll broadcast --root 9
refuse 'an order' 'reproducible' --order random
refuse 'a bad topology' '' --topology 'host:0'
refuse 'an unknown collective as argument' 'allreduce' allreduce
refuse 'two collectives' 'more than one' all_reduce broadcast
refuse 'a collective in both ways' 'more than one' all_reduce --coll broadcast
refuse 'a folder as topology' 'no copied machine' --topology "$work"
"$weft" plan --topology "$machine" >/dev/full 2>/dev/null
expect 'a full disk' 3 $?

"$weft" plan --topology "$machine" --dump - --rank 2 --algorithm ring | query 'j["rank"]' >"$work/rank"
expect 'a dumped program' 2 "$(cat "$work/rank")"
refuse 'a folder that is not there' '/no/such' --topology "$machine" --dump /no/such/file

expect 'scale check' True "$("$weft" plan --scale-check --ranks 300 --json | query 'j["passed"]')"
expect 'scale check covers the table' True "$("$weft" plan --scale-check --ranks 3 --json |
    query 'len({r["algorithm"] for r in j["rows"]}) == 9 and len({r["collective"] for r in j["rows"]}) == 16')"
expect 'scale check on a topology' '32 8 True' "$("$weft" plan --scale-check \
    --topology dgx-h100:4 --json |
    query '"%d %d %s" % (j["ranks"], len(j["requests"]), j["layout_ms"] > 0)')"
expect 'a list of places' '6 3' "$("$weft" plan --topology dgx-h100:3 --ranks 9-6,16,3 --json |
    query '"%d %d" % (j["ranks"], j["prices"]["levels"][0]["num_groups"])')"
refuse 'a place twice' 'place 3 holds two ranks' --topology dgx-h100:2 --ranks 0-3,3
refuse 'no such place' 'no place 16 among 16' --topology dgx-h100:2 --ranks 0-3,16
refuse 'no list' 'x' --topology dgx-h100:2 --ranks 0-x

quality=(plan --quality --quick --topology dgx-h100:1 all_reduce)
expect 'choices are good' 'True 0' "$("$weft" "${quality[@]}" --json |
    query '"%s %d" % (j["passed"], j["rows"][0]["skipped"])')"
"$weft" "${quality[@]}" --spoil forest=100 >"$work/spoilt"
expect 'a spoilt estimate fails' '1 1' "$? $(grep -c '^FAILED' "$work/spoilt")"
refuse 'a spoil without factor' 'ALGORITHM=FACTOR' --quality --spoil forest
refuse 'a spoil of nobody' 'no algorithm' --quality --spoil nobody=2
expect 'flow by flow' 'True' "$("$weft" plan --topology dgx-h100:2 --ranks 16 --size 64M \
    --evaluate --json | query 'all(r["time_ps"] > 0 for r in j["evaluation"] if r["algorithm"] in
    ("ring", "halving"))')"

expect "NCCL's table" 'True 8' "$("$weft" plan --nccl-table --json |
    query '"%s %d" % (j["passed"], sum(r["equal"] for r in j["rows"]))')"
for i in $(seq 3 33); do # two lines, without noise
    python3 -c 'import sys
s = 2 ** int(sys.argv[1])
print("%d,%.6f" % (s, min(10 + s * 1e-4, 50 + s * 1e-5)))' "$i"
done >"$work/sweep.csv"
expect 'a fit' 'True 2' "$("$weft" plan --fit "$work/sweep.csv" --json |
    query '"%s %d" % (j["passed"], len(j["lines"]))')"
awk -F, '{ print $1 "," ($1 > 1048576 && $1 < 8589934592 && $1 != 134217728 ? $2 * 2 : $2) }' \
    "$work/sweep.csv" >"$work/doubled.csv" # sizes that the fit does not see, below and above it
"$weft" plan --fit "$work/doubled.csv" >/dev/null
expect 'a fit above the bar' 1 $?
printf '8,1\n16;2\n' >"$work/bad.csv"
refuse 'a bad sweep' 'bad.csv:2: no comma' --fit "$work/bad.csv"
refuse 'no sweep' 'No such file' --fit "$work/absent.csv"

[ $failures = 0 ] && echo 'plan: all passed'
exit $((failures > 0))
