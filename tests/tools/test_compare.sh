#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/compare with whatever peers there are: every column has a time, a ratio and checked results
# for every size, the table, the JSON and the plot say the same, bad calls are refused. No time is held
# against anything. Usage: test_compare.sh COMPARE BUILD-FOLDER
set -u
compare=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
. "$(dirname "$0")/../expect.sh"

for bad in '--collective all_sum' '--rounds 0' '-f 1' '--sizes 1X' '--transport ib' '--ranks 0' '--netcluster x'; do
    "$compare" --build "$build" $bad >/dev/null 2>&1
    expect "$bad" 2 $?
done
for run in shm:all_reduce:64,2M shm:all_gather,reduce_scatter,broadcast,all_to_all:64K \
    tcp:all_reduce:64,128K; do
    IFS=: read -r transport collective sizes <<<"$run"
    result=$folder/$transport-$collective
    "$compare" --build "$build" --transport $transport --collective $collective --rounds 1 \
        --sizes $sizes --json "$result.json" --svg "$result.svg" >"$result.txt"
    code=$?
    [ $code = 77 ] && exit 77
    expect "$collective over $transport ends well" 0 $code
done

python3 - "$folder" <<'END'
import glob, json, sys
import xml.etree.ElementTree as xml

SHARE = {"reduce_scatter": 2}  # the part of the size that a rank's output is
seen = set()
for path in glob.glob(sys.argv[1] + "/*.json"):
    runs = json.load(open(path))["runs"]
    lines = open(path.replace(".json", ".txt")).read().splitlines()
    table = [line.split() for line in lines if not line.startswith("#")]
    rows = [row for run in runs for row in run["results"]]
    assert len(table) == len(rows) == sum(len(run["results"]) for run in runs), lines
    for words, row in zip(table, rows):
        assert int(words[0]) == row["bytes"]
        assert row["best_peer"] in words and row["best_peer"] in row["times_us"]
        assert {"weft", "weft mem"} <= set(row["times_us"]) == set(row["checked"]), row
        assert all(len(times) == 1 and times[0] > 0 for times in row["times_us"].values())
        assert len(words) == 1 + len(row["times_us"]) + 1 + 2, words
        best = row["median_us"][row["best_peer"]]
        for place, name in ((-2, "weft"), (-1, "weft mem")):
            assert abs(row["ratio"][name] - best / row["median_us"][name]) < 1e-9
            assert words[place] == f"{row['ratio'][name]:.2f}", words
    for run in runs:
        seen.add(run["collective"])
        for row in run["results"]:
            elements = run["ranks"] * row["bytes"] // 4 // SHARE.get(run["collective"], 1)
            for name, compared in row["checked"].items():
                assert name.startswith("weft") or compared == elements, (run["collective"], row)
    plot = xml.parse(path.replace(".json", ".svg")).getroot()
    drawn = plot.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(drawn) == sum(len({name for row in run["results"] for name in row["times_us"]})
                             for run in runs)
    assert all(line.get("points") for line in drawn)
assert len(seen) == 5, seen
END
expect 'table, JSON and plot' 0 $?
[ $failures = 0 ] && echo 'compare: all passed'
exit $((failures > 0))
