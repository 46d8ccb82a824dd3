#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft topo`: report, summary, diff, exit codes, forms in the help, output whole or not at all.
# Usage: test_topo.sh WEFT
set -u
weft=$1
. "$(dirname "$0")/../expect.sh"
code() { # ARGUMENTS...: the exit code of weft topo
    "$weft" topo "$@" >/dev/null 2>&1
    echo $?
}
field() { # EXPRESSION over j, the JSON on standard input
    python3 -c 'import json, sys
j = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"
}
unset WEFT_TOPOLOGY
export LC_ALL=C.UTF-8
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cluster='host:4 numa:2 pcie:2@64 gpu:8@64 nvswitch:4@50 nic:8@400'

# the report: one screen, ASCII where the locale has no more, all of it with -v
for source in "$cluster" 'host:2000 gpu:8 nic:8' 'host:1' ''; do
    if [ -n "$source" ]; then
        "$weft" topo "$source" >"$work/report"
    else
        "$weft" topo --fail-on never >"$work/report"
    fi
    expect "\"$source\": one screen" 1 $(($(wc -l <"$work/report") <= 52))
    expect "\"$source\": 98 columns" True \
        "$(python3 -c 'print(max(len(l.rstrip("\n")) for l in open("'"$work/report"'")) <= 98)')"
done
expect 'ASCII' 0 "$(LC_ALL=en_US.ISO-8859-1 "$weft" topo "$cluster" | grep -cP '[^\x00-\x7f]')"
expect '-v is longer' 1 "$(($("$weft" topo -v "$cluster" | wc -l) > $(wc -l <"$work/report")))"

# the summary
"$weft" topo --summary --json "$cluster" >"$work/summary"
expect 'GPUs' 32 "$(field 'j["nodes"]["gpu"]' <"$work/summary")"
expect 'islands' 4 "$(field 'j["islands"]' <"$work/summary")"
expect 'NVLinks' 4 "$(field 'j["gpu_links"]["host3/gpu7"]["nvlink"]' <"$work/summary")"
expect 'keys' 'fabric findings fingerprint format gpu_island_sizes gpu_islands gpu_links islands links nodes parts remarks version' \
    "$(field '" ".join(sorted(j))' <"$work/summary")"

# what is edited in the JSON form shows: as difference, as finding, in the exit code
"$weft" topo --json "$cluster" >"$work/before.json"
python3 - "$work/before.json" "$work/after.json" <<'PYTHON'
import json, sys
t = json.load(open(sys.argv[1]))
for link in t["links"]:
    if {link["from"], link["to"]} == {"host2/gpu3", "host2/pcie-switch0"}:
        link["bandwidth"]["current"] = {"value": 32000000000, "source": "sysfs"}
t["nodes"] = [n for n in t["nodes"] if n["name"] != "host3/nic7"]
t["links"] = [l for l in t["links"] if "host3/nic7" not in (l["from"], l["to"])]
json.dump(t, open(sys.argv[2], "w"))
PYTHON
expect 'equal' 0 "$(code --diff "$cluster" "$work/before.json")"
expect 'different' 1 "$(code --diff "$work/before.json" "$work/after.json")"
expect 'different, never fails' 0 \
    "$(code --diff --fail-on never "$work/before.json" "$work/after.json")"
"$weft" topo --diff "$work/before.json" "$work/after.json" >"$work/diff"
expect 'a NIC is gone' 1 "$(grep -c '^  - host3/nic7 (NIC)$' "$work/diff")"
expect 'a link is slower' 1 \
    "$(grep -c 'host2/gpu3 (pcie): current bandwidth (none) -> 32 GB/s' "$work/diff")"
"$weft" topo --diff --json "$work/before.json" "$work/after.json" >"$work/diff.json"
expect 'counts' 'False 1 1' "$(field '" ".join(map(str, [j["equal"],
    j["counts"]["node-removed"], j["counts"]["link-changed"]]))' <"$work/diff.json")"
expect 'a warning' 0 "$(code "$work/after.json")"
expect 'a warning that counts' 1 "$(code --fail-on warning "$work/after.json")"
expect 'what it costs' 1 "$("$weft" topo -s "$work/after.json" | tr '\n' ' ' | grep -c 'Costs 32 GB/s')"
expect 'which host' 1 "$("$weft" topo "$work/after.json" | grep -c 'host3: no nic7')"
expect 'an error' 1 "$(code 'host:2 core:2')"

# usage
expect 'diff of one' 2 "$(code --diff "$cluster")"
expect 'diff of three' 2 "$(code --diff "$cluster" "$cluster" "$cluster")"
expect 'two sources' 2 "$(code "$cluster" "$cluster")"
expect 'diff and summary' 2 "$(code --diff -s "$cluster" "$cluster")"
expect 'no such severity' 2 "$(code --fail-on worst "$cluster")"
expect 'no such form' 2 "$(code --to nothing "$cluster")"
expect 'no such source of a diff' 2 "$(code --diff "$cluster" "$work/absent.json")"
for form in $("$weft" topo --from '?' "$work/diff.json" 2>&1 | sed 's/.*known: //; s/)$//; s/,//g'); do
    expect "--help knows $form" 1 $(($("$weft" topo --help | grep -c "^  $form ") > 0))
done

# output to a file: whole or not at all
expect 'output' 0 "$(code -o "$work/out" "$cluster")"
cp "$work/out" "$work/kept"
expect 'a wrong source' 2 "$(code -o "$work/out" 'host:x')"
expect 'the old output stays' 0 "$(cmp "$work/out" "$work/kept"; echo $?)"
"$weft" topo "$cluster" >/dev/full 2>/dev/null
expect 'a full disk' 3 $?

[ $failures = 0 ] && echo 'topo: all passed'
exit $((failures > 0))
