#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft bench` with real processes: every collective gives right data and nccl-tests' columns, the
# other formats can be read, bad calls are refused. Usage: test_bench.sh WEFT
set -u
weft=$1
. "$(dirname "$0")/../expect.sh"
bench() { timeout 60 "$weft" bench "$@" -n 3 -w 1; }

for collective in all_reduce all_gather reduce_scatter broadcast reduce all_to_all gather scatter \
    send_recv; do
    out=$(bench $collective --ranks 3 -b 48 -e 200K -f 64 2>&1)
    expect "$collective ends well" 0 $?
    rows=$(echo "$out" | grep -v '^#')
    expect "$collective has a row of 13 columns per size" '13 13 13' \
        "$(echo "$rows" | awk '{print NF}' | xargs)"
    expect "$collective is right" '' "$(echo "$rows" | awk '$9 != 0 || $13 !~ /^(0|N\/A)$/')"
    expect "$collective has its footer" 1 "$(echo "$out" | grep -c '^# Out of bounds values : 0 OK')"
    [ $failures = 0 ] || echo "$out"
done

rows=$(bench ping_pong --ranks 4 -b 8 -e 8K -f 1024 | grep -v '^#')
expect 'ping_pong has a row per size, and is right' '8 0 8192 0' "$(echo "$rows" | awk '{print $1, $9}' | xargs)"
bench ping_pong --ranks 3 >/dev/null 2>&1
expect 'ping_pong needs pairs' 2 $?

rows=$(bench all_reduce --ranks 2 -b 1K -e 1K -d all -o all | grep -v '^#')
expect 'all types and operations' 132 "$(echo "$rows" | wc -l)"
expect 'all of them right' '' "$(echo "$rows" | awk '$9 != 0 || $13 != 0')"
all_right() { # WHAT ARGUMENT...
    expect "$1: all right" '' \
        "$(bench "${@:2}" | awk '/^#/ {next} $9 != 0 || $13 != 0 {print} {n++} END {if (!n) print "none"}')"
}
for collective in all_reduce reduce_scatter reduce; do
    all_right "types, $collective" $collective --ranks 3 -b 100K -e 100K -d all -o mulsum -r 1
    all_right "operations, $collective" $collective --ranks 3 -b 100K -e 100K -d int8 -o all -r 1
    all_right "alone, $collective" $collective --ranks 1 -b 1K -e 1K -d uint16 -o all
done
for algorithm in ring tree direct; do
    all_right "types, $algorithm" all_reduce --ranks 3 -b 60 -e 60 -d all -o mulsum \
        --algorithm $algorithm
    all_right "operations, $algorithm" all_reduce --ranks 4 -b 60K -e 60K -d uint64 -o all \
        --algorithm $algorithm --order free
done
export WEFT_TRANSPORTS=tcp
all_right 'operations over TCP' all_reduce --ranks 2 -b 4K -e 4K -d int16 -o all
unset WEFT_TRANSPORTS
all_right 'reproducible' all_reduce --ranks 3 -b 1K -e 1K -d f8e5m2 -o all --order reproducible
expect 'all roots' '0 1 2' \
    "$(bench broadcast --ranks 3 -b 1K -e 1K -r all | awk '!/^#/ {print $5}' | xargs)"
for collective in gather scatter; do
    expect "all roots of $collective, and right" '0 0 0|1 0 0|2 0 0' \
        "$(bench $collective --ranks 3 -b 1K -e 1K -r all | awk '!/^#/ {print $5, $9, $13}' |
            paste -sd'|')"
done
expect 'steps in bytes' '16 32 48' \
    "$(bench all_reduce --ranks 2 -b 16 -e 48 -i 16 | awk '!/^#/ {print $1}' | xargs)"

expect 'JSON' '0 2' "$(bench all_reduce --ranks 2 -b 64 -e 64K -f 1024 --format json | python3 -c '
import json, sys
run = json.load(sys.stdin)
print(run["wrong"], len(run["results"]))')"
expect 'CSV' 5 "$(bench all_reduce --ranks 2 -b 64 -e 64K -f 1024 --format csv | wc -l)"
expect 'ordinary buffers' '2 0' "$(bench all_reduce --ranks 2 -b 64 -e 64K -f 1024 --buffers malloc |
    awk '/buffers: malloc/ {rows++} /^ / {wrong += $9 + $13} END {print rows, wrong + 0}')"
expect 'under the launcher' 1 \
    "$(timeout 60 "$weft" launch -n 2 "$weft" bench all_reduce -e 8 -n 2 | grep -c 'Rank   1')"
expect 'alone' 1 "$(bench all_reduce -e 8 | grep -vc '^#')"

refused() { # WHAT ARGUMENT...
    bench "${@:2}" >/dev/null 2>&1
    expect "$1" 2 $?
}
refused 'no collective' --ranks 2
refused 'an unknown collective' all_sum --ranks 2
refused 'an unknown type' all_reduce --ranks 2 -d float8
refused 'an operation for integers' all_reduce --ranks 2 -e 8 -d half -o bor
refused 'an unknown format' all_reduce --ranks 2 --format xml
refused 'unknown buffers' all_reduce --ranks 2 --buffers gpu
refused 'smallest above largest' all_reduce --ranks 2 -b 64 -e 32
refused 'a root that is no rank' broadcast --ranks 2 -r 2 -e 8
refused 'an unknown algorithm' all_reduce --ranks 2 -e 8 --algorithm magic
refused 'an algorithm that cannot' broadcast --ranks 2 -e 8 --algorithm halving
expect 'one sentence, no broken JSON' 1 \
    "$(bench all_reduce --ranks 3 -e 8 --json --algorithm magic 2>&1 | wc -l)"
expect 'nor on ranks that fail at once' '' \
    "$("$weft" launch -n 2 "$weft" bench broadcast -e 8 --json --algorithm halving 2>/dev/null)"

for command in bench\ all_reduce train; do
    expect "$command with a refused setting says so" 1 \
        "$(WEFT_SPIN=no "$weft" $command 2>&1 | grep -c "^weft ${command%% *}: cannot start: [a-z]")"
done

# What the planner picks stands beside all that was timed, and the best of that is named.
verdict=$(bench all_reduce --ranks 2 --tune --json -b 8 -e 64K -f 8192 | python3 -c '
import json, sys
for size in json.load(sys.stdin)["sizes"]:
    times = {a["name"]: a["measured_us"] for a in size["algorithms"]}
    predicted = [a["predicted_us"] for a in size["algorithms"]]
    ratio = times[size["pick"]] / times[size["best"]]
    good = len(times) > 2 and predicted == sorted(predicted) and min(predicted) > 0 and (
        times[size["best"]] == min(times.values()) > 0 and abs(ratio - size["ratio"]) < 0.01)
    print(size["bytes"], good)' | xargs)
expect 'all algorithms in turns' '8 True 65536 True' "$verdict"
expect 'the table as text' 3 "$(bench all_to_all --ranks 2 --tune -b 1K -e 1K | grep -c '^#')"
bench send_recv --ranks 2 --tune >/dev/null 2>&1
expect 'nothing to compare' 2 $?
bench all_reduce --ranks 2 --tune -d all >/dev/null 2>&1
expect 'one type at a time' 2 $?
refused 'nothing to time' all_gather --ranks 2 --tune -b 8 -e 8
refused 'no size among them to time' all_gather --ranks 2 --tune -b 8 -e 48 -f 8
expect 'many sizes' 300 "$(bench all_reduce --ranks 1 --tune -b 4 -e 1200 -i 4 -f 1 | grep -vc '^#')"

# A table that was printed is read back: what it measured is what is expected then.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for collective in all_reduce all_gather reduce_scatter broadcast reduce all_to_all gather scatter; do
    bench $collective --ranks 2 --tune=1 --json -b 8 -e 64K -f 64 >"$folder/table"
    WEFT_TUNE=$folder/table bench $collective --ranks 2 --tune=1 --json -b 8 -e 64K -f 64 >"$folder/again"
    expect "$collective: measured before is predicted now" 'True True' "$(python3 -c '
import json, sys
tables = [json.load(open(name))["sizes"] for name in sys.argv[1:]]
for old, new in zip(*tables):
    measured = {a["name"]: a["measured_us"] for a in old["algorithms"]}
    predicted = {a["name"]: a["predicted_us"] for a in new["algorithms"]}
    if old["bytes"] in (512, 32768):
        print(new["pick"] == old["best"] and all(
            abs(measured[name] - us) < 0.002 for name, us in predicted.items()))' \
        "$folder/table" "$folder/again" | xargs)"
done
tuned() { # FILE RANKS SIZE
    WEFT_TUNE=$1 bench all_reduce --ranks "$2" -b "$3" -e "$3" -n 2 --json 2>"$folder/errors" |
        sed -n 's/.*"plan": "\([a-z_]*\)".*/\1/p'
}
made() { # ALGORITHM [LINKS [BYTES]]
    echo '{"format": "weft-tuned", "version": 2, "collective": "all_reduce", "order": "free",
        "links": "'"${2:-shm}"'", "hosts": [0, 0], "sizes": [{"bytes": '"${3:-64}"', "algorithms": [
        {"name": "'"$1"'", "measured_us": 1}, {"name": "double_tree", "measured_us": 2}]}]}'
}
for algorithm in ring direct flat; do
    made $algorithm >"$folder/made"
    expect "$algorithm, as the table has it" $algorithm "$(tuned "$folder/made" 2 64)"
    expect 'without a warning' '' "$(cat "$folder/errors")"
done
made ring >"$folder/made"
expect 'prices decide above the table' direct "$(tuned "$folder/made" 2 1M)"
expect 'the file is of rank 0 alone' ring "$(timeout 60 "$weft" launch -n 2 bash -c '
    [ $WEFT_RANK = 1 ] || export WEFT_TUNE=$0
    exec "$@"' "$folder/made" "$weft" bench all_reduce -b 64 -e 64 -n 2 --json |
    sed -n 's/.*"plan": "\([a-z_]*\)".*/\1/p')"
expect 'no table of these ranks' flat "$(tuned "$folder/made" 3 64)"
expect 'but that is said once' 1 "$(grep -c 'no table is of these 3 ranks' "$folder/errors")"
made flat shm 1048576 >"$folder/made"
expect 'in messages what slots do not hold' flat "$(tuned "$folder/made" 2 1M)"
for links in shm tcp; do
    made ring $links >"$folder/made"
    expect "a table of $links counts over it" ring "$(WEFT_TRANSPORTS=$links tuned "$folder/made" 2 64)"
    expect 'without a warning' '' "$(cat "$folder/errors")"
done
expect 'and nowhere else' flat "$(WEFT_TRANSPORTS=shm tuned "$folder/made" 2 64)"
expect 'which is said once' 1 "$(grep -c 'of these 2 ranks on these hosts over shm; prices' "$folder/errors")"
made rang >"$folder/made"
expect 'a broken table' '' "$(tuned "$folder/made" 2 64)"
expect 'is refused by name' 1 "$(grep -c "WEFT_TUNE: .*/made: there is no algorithm 'rang'" "$folder/errors")"

[ $failures = 0 ] && echo 'bench: all passed'
exit $((failures > 0))
