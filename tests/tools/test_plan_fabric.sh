#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft plan` on fabrics: the exact bound of edge lists and of real machines, what it refuses, changes,
# upgrades, drawings, tables, and that everything is JSON where JSON is asked for.
# Usage: test_plan_fabric.sh WEFT SHARED_DATA
set -u
weft=$1 shared=$2
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
print(eval("(" + sys.argv[1] + ")"))' "$1"
}
bound() { # FILE OPTION...: 1/x*, U, k, algbw
    local file=$1
    shift
    "$weft" plan --bound --topo "$file" --coll all_gather --json "$@" |
        query '"%s %s %d %.3f" % (j["inv_x"], j["U"], j["k"], j["algbw"])'
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset WEFT_ALGORITHM WEFT_TOPOLOGY
cluster='host:4 nvswitch:1@200 gpu:8@200 nic:2@100'

# ---- edge lists of machines whose optimum is known ----
boxes() { # BOXES NVLINK NIC
    echo 'node net switch'
    for box in $(seq "$1"); do
        echo "node nvs$box switch"
        for gpu in 0 1 2 3 4 5 6 7; do
            echo "node gpu$box$gpu gpu"
            echo "link gpu$box$gpu nvs$box $2 both"
            echo "link gpu$box$gpu net $3 both"
        done
    done
}
mi250() { # BOXES of 16 GPU dies; NICs of 16 GB/s between boxes
    [ "$1" -gt 1 ] && echo 'node net switch'
    for box in $(seq "$1"); do
        for gpu in $(seq 0 15); do
            echo "node gpu$box-$gpu gpu"
            [ "$1" -gt 1 ] && echo "link gpu$box-$gpu net 16 both"
        done
        for wire in 0:1:4 0:2:1 0:4:2 1:2:1 1:3:1 1:5:1 2:3:4 2:6:1 3:7:2 4:5:4 4:12:1 5:13:1 5:14:1 \
            6:7:4 6:13:1 6:14:1 7:15:1 8:9:4 8:10:1 8:12:2 9:10:1 9:11:1 9:13:1 10:11:4 10:14:1 \
            11:15:2 12:13:4 14:15:4; do
            IFS=: read -r a b lanes <<<"$wire"
            echo "link gpu$box-$a gpu$box-$b $((50 * lanes)) both"
        done
    done
}
boxes 2 300 25 >"$work/a100.edges"
boxes 4 450 50 >"$work/h100.edges"
mi250 1 >"$work/mi250.edges"
mi250 2 >"$work/mi250x2.edges"
expect 'two boxes of 8 A100' '3/65 3/5 13 346.667' "$(bound "$work/a100.edges")"
expect 'four boxes of 8 H100' '31/500 31/50 10 516.129' "$(bound "$work/h100.edges")"
expect 'a box of 16 MI250' '7/50 3' "$(bound "$work/mi250.edges" | cut -d' ' -f2,3)"
expect 'two boxes of 16 MI250' '15/2 83' "$(bound "$work/mi250x2.edges" | cut -d' ' -f2,3)"
expect 'a box alone, by listing its places' '7/325 7/325 1 371.429' \
    "$(bound "$work/a100.edges" --ranks 8-15)"
expect 'reduce-scatter' '3/65' "$("$weft" plan --bound --topo "$work/a100.edges" \
    --coll reduce_scatter --json | query 'j["inv_x"]')"
expect 'broadcast: into the other box' 200.0 "$("$weft" plan --bound --topo "$work/a100.edges" --coll broadcast --json |
    query 'j["algbw"]')"
for coll in gather scatter; do # 15 of 16 blocks over the 325 GB/s of a GPU
    expect "$coll: the root's links" 346.667 "$("$weft" plan --bound --topo "$work/a100.edges" \
        --coll $coll --root 9 --json | query '"%.3f" % j["algbw"]')"
done
expect 'the cut: names and capacity' '325.0 True True' "$("$weft" plan --bound --topo "$work/a100.edges" \
    --coll all_gather --json | query '"%s %s %s" % (j["cut"]["capacity"], j["cut"]["ranks"] == 15,
        all(n[:3] in ("gpu", "nvs", "net") for n in j["cut"]["nodes"]))')"

# Four hosts, one with a quarter of the rate: with equal shards 6 S/b, with the best ones 4 S/b.
printf 'node net switch\n' >"$work/slow.edges"
for host in 0 1 2 3; do
    echo "node host$host gpu"
    echo "link host$host net $((host == 2 ? 25 : 100)) both"
done >>"$work/slow.edges"
"$weft" plan --bound --topo "$work/slow.edges" --coll all_reduce --json >"$work/slow.json"
expect 'a slow host: equal shards' 16.667 "$(query '"%.3f" % j["algbw"]' <"$work/slow.json")"
if [ "$(query '"best_algbw" in j and j["best_algbw"] is None' <"$work/slow.json")" = True ]; then
    echo "skipped: the best shares: $(query 'j["note"]' <"$work/slow.json")"
else
    expect 'a slow host: the best shares' '25.000 1.000' "$(query '"%.3f %.3f" % (
        j["best_algbw"], sum(j["best_shares"].values()))' <"$work/slow.json")"
fi
expect 'a slow host: predicted within 10 %' True "$("$weft" plan all_reduce --topo "$work/slow.edges" \
    --size 1G --json | query 'next(c for c in j["candidates"] if c["algorithm"] == j["chosen"])[
        "share_of_bound"] > 1 / 1.1')"

# ---- what has no bound ----
sed '/link gpu11 nvs1 /s/.*/link gpu11 nvs1 300 both\nlink gpu11 nvs1 50/' "$work/a100.edges" \
    >"$work/lopsided.edges"
refuse 'a switch that more can enter than leave' 'nvs1' --bound --topo "$work/lopsided.edges" \
    --coll all_gather
printf 'node %s gpu\n' a b c d >"$work/apart.edges"
printf 'link a b 5 both\nlink c d 5 both\n' >>"$work/apart.edges"
refuse 'two islands' 'no way between a and c' --bound --topo "$work/apart.edges" --coll all_gather
printf 'node a gpu\nnode b gpu\nlink a b 10\n' >"$work/one-way.edges"
refuse 'one way only' 'no way from b to a' --bound --topo "$work/one-way.edges" --coll all_gather
refuse 'one way only, to the root of a gather' 'no way to rank 0' --bound \
    --topo "$work/one-way.edges" --coll gather_v
refuse 'one way only, to the root' 'no way to rank 0' --bound --topo "$work/one-way.edges" --coll reduce
expect 'one way is enough' 10.0 "$("$weft" plan --bound --topo "$work/one-way.edges" --coll broadcast \
    --json | query 'j["algbw"]')"
refuse 'a collective without a bound' 'broadcast' --bound --topo "$work/slow.edges" --coll all_to_all
refuse 'a kind of link' 'nvlunk' --bound --topo "$work/slow.edges" --links nvlink,nvlunk
refuse 'a root that is not there' 'root' --bound --topo "$work/slow.edges" --coll broadcast --root 7
refuse 'a place that is not there' 'no place 9 among 4' --bound --topo "$work/slow.edges" \
    --ranks 0,9

refuse 'units without a bound' 'go with --bound' --topo "$work/slow.edges" --unit
refuse 'two answers' 'only one of' --topo "$work/slow.edges" --bound --upgrades

expect 'lanes' '6 lanes 2.0' "$("$weft" plan --bound --topology dgx-h100:1 --coll broadcast \
    --links nvlink --unit --json | query '"%d %s %.1f" % (j["algbw"] / 3, j["unit"],
        j["cut"]["capacity"] / 9)')"

# ---- real machines ----
if [ -f "$shared/topodata/golden_forestcoll.csv" ]; then
    rows=0
    while IFS=, read -r source file ranks inverse algbw u k _; do
        case $source in '#'*) continue ;; esac
        rows=$((rows + 1))
        set -- --bound --topo "$shared/topodata/$source/$file" --coll all_gather --links nvlink,xgmi --unit
        case $inverse in
        disconnected*) refuse "$source/$file" 'no way between' "$@" ;;
        *) expect "$source/$file" "$ranks $inverse $u $k $algbw" "$("$weft" plan "$@" --json | query \
            '"%d %s %s %d %.4f" % (j["ranks"], j["inv_x"], j["U"], j["k"], j["algbw"])')" ;;
        esac
    done <"$shared/topodata/golden_forestcoll.csv"
    expect 'real machines' 17 $rows
else
    echo 'skipped: real machines: no golden_forestcoll.csv'
fi

# ---- ranks ----
expect 'all places hold ranks' 32 "$("$weft" plan --topology "$cluster" --json | query 'j["ranks"]')"
expect 'the variable, too' 32 "$(WEFT_TOPOLOGY=$cluster "$weft" plan --json | query 'j["ranks"]')"
expect 'fewer are asked for' 5 "$("$weft" plan --topology "$cluster" --ranks 5 --json |
    query 'j["ranks"]')"

expect 'where they are' '9 gpu 2' "$("$weft" plan --topology "$cluster" --ranks 0-7,9 --json |
    query '"%d %s %d" % (j["places"]["count"], j["places"]["kind"], j["places"]["hosts"])')"
expect 'NCCL is asked about the same places' 'True True' "$("$weft" plan --topology dgx-h100:2 \
    --ranks 0,8 --json | query '"%s %s" % (j["nccl"]["predicted_us"] > 0,
        j["nccl"]["text"].startswith("NCCL 2.28 would take"))')"

# ---- changes and upgrades ----
change() { # EXPRESSION CHANGES OPTION...
    local expression=$1 changes=$2
    shift 2
    "$weft" plan --topology "$cluster" --size 256M --what-if "$changes" --json "$@" | query "$expression"
}
expect 'a lost NIC costs' True "$(change 'j["factor"] > 1.05 and j["ranks_left"] == 32 and
    j["then"]["bound_ps"] > 1.3 * j["now"]["bound_ps"]' \
    'remove nic:host3/nic1')"
expect 'a lost host takes its ranks' '24 24 True' "$(change '"%d %d %s" % (j["ranks_left"],
    j["then"]["ranks"], j["factor"] < 1)' 'remove host2')"
expect 'nothing changes' 1.0 "$(change 'j["factor"]' 'set host0/nic0 network 12.5')"
expect 'the ranks that were asked for stay' '4 4' "$(change '"%d %d" % (j["ranks"],
    j["ranks_left"])' 'remove host0' --ranks 8,9,10,11)"
expect 'the answer comes first' 1 "$("$weft" plan --topology "$cluster" --what-if 'remove host2' |
    head -1 | grep -c 'would take .* of the 24 ranks that are left')"
refuse 'nobody is left' 'leave no rank' --topology "$cluster" --ranks 8 --what-if 'remove host0'
refuse 'the root is gone' 'remove rank 9, the root' --topology "$cluster" --coll broadcast --root 9 \
    --what-if 'remove host1/gpu1'
refuse 'leaves of ranks that are gone' 'hold leaves' --topology "$cluster" --order reproducible \
    --leaves 64 --what-if 'remove host2'
refuse 'a node that is not there' 'host3/nic9' --topology "$cluster" --what-if 'remove nic:host3/nic9'
refuse 'a host cut off' 'no way' --topology "$cluster" \
    --what-if 'remove nic:host1/nic0; remove nic:host1/nic1'
"$weft" plan --topo "$work/slow.edges" --coll all_gather --upgrades --json >"$work/upgrades.json"
expect 'the slow link is the one to buy' 'True 2.0' "$(query '"%s %.1f" % (
    "host2" in j["upgrades"][0]["links"], 1 + j["upgrades"][0]["gain"])' <"$work/upgrades.json")"
expect 'largest gain first' True "$("$weft" plan --topology "$cluster" --upgrades --json | query \
    '(lambda g: len(g) > 0 and g == sorted(g, reverse=True))([u["gain"] for u in j["upgrades"]])')"

# ---- tables ----
expect 'the table' '31 True True True' "$("$weft" plan --topology dgx-h100:2 --table --json | query \
    '"%d %s %s %s" % (len(j["rows"]), all(r["nccl"]["predicted_us"] > 0 for r in j["rows"]),
     all(0 < r["share_of_bound"] <= 1 for r in j["rows"]),
     [c["choice"] for c in j["crossovers"]] == [r["chosen"] for i, r in enumerate(j["rows"])
         if i == 0 or r["chosen"] != j["rows"][i - 1]["chosen"]])')"
expect 'no NCCL on cores' 'True NCCL runs on GPUs only' "$("$weft" plan --topology 'host:2 core:4 nic:1' \
    --table --json | query '"%s %s" % (all(r["nccl"] is None for r in j["rows"]), j["nccl_note"])')"

# ---- drawings ----
well_formed() { python3 -c 'import sys, xml.dom.minidom as x
d = x.parse(sys.stdin)
print(d.documentElement.tagName)'; }
for algorithm in ring tree forest; do
    expect "drawn $algorithm" svg "$("$weft" plan --topology "$cluster" --algorithm $algorithm \
        --size 64M --svg - | well_formed)"
done
"$weft" plan --topology "$cluster" --coll all_gather --svg "$work/plan.svg" >"$work/out"
expect 'into a file' '0 svg' "$(stat -c %s "$work/out") $(well_formed <"$work/plan.svg")"
refuse 'a drawing of a pair' 'send' --topology "$cluster" --coll send --svg -

# ---- JSON, and the same bytes every time ----
number=0
while IFS='|' read -r -a options; do
    number=$((number + 1))
    for run in 1 2; do
        "$weft" plan --topology "$cluster" "${options[@]}" --json >"$work/$run.json"
        expect "${options[*]}" 0 $?
    done
    python3 -m json.tool "$work/1.json" >/dev/null
    expect "${options[*]}: JSON" 0 $?
    sed -i '/"processor_ms"/d' "$work/1.json" "$work/2.json"
    cmp -s "$work/1.json" "$work/2.json"
    expect "${options[*]}: the same twice" 0 $?
done <<'END'
--explain
--explain|--coll|all_gather|--ranks|0-7,16,9
--table|--coll|broadcast|--root|3
--table|--order|reproducible
--bound
--bound|--coll|reduce|--root|2
--upgrades|--coll|all_gather
--what-if|add host0/gpu0 host1/gpu0 50
END
expect 'all of them' 8 $number

[ $failures = 0 ] && echo 'plan on fabrics: all passed'
exit $((failures > 0))
