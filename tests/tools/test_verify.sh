#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft verify`: programs of the algorithms, programs from files, broken ones, bad input, mutants.
# Usage: test_verify.sh WEFT
set -u
weft=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$(dirname "$0")/../expect.sh"
contains() { # WHAT PART FILE
    if ! grep -qF -- "$2" "$3"; then
        printf 'FAILED %s: no [%s] in:\n%s\n' "$1" "$2" "$(cat "$3")"
        failures=$((failures + 1))
    fi
}
field() { # FIELD, from JSON on standard input
    python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[key]
print(value)' "$1"
}
edit() { # PYTHON, from file to file; "programs" is the array
    python3 -c 'import json, sys
programs = json.load(open(sys.argv[2]))
exec(sys.argv[1])
json.dump(programs, open(sys.argv[3], "w"))' "$1" "$2" "$3"
}

good=$work/good.json
"$weft" verify --algorithm ring --coll all_reduce --ranks 4 >"$work/out"
expect 'an algorithm' 0 $?
contains 'its verdict' proved "$work/out"
"$weft" verify -a ring -c all_reduce -n 4 --print >"$good"
expect 'print' 0 $?
expect 'programs from a file' proved "$("$weft" verify --json "$good" | field verdict)"
expect 'from standard input' proved "$("$weft" verify --json - <"$good" | field verdict)"
expect '256 ranks' accepted "$("$weft" verify --json -a ring -c all_gather -n 256 | field oracle.verdict)"

for coll in gather gather_v scatter scatter_v; do
    for algorithm in direct tree hierarchical; do
        expect "$algorithm $coll" proved "$("$weft" verify --json -a $algorithm -c $coll -n 13 -r 11 \
            --group 4 | field verdict)"
    done
done

edit 'for p in programs: json.dump(p, open("%s.%d" % (sys.argv[3], p["rank"]), "w"))' \
    "$good" "$work/one"
"$weft" verify "$work"/one.[0-3] >"$work/out"
expect 'one file per rank' 0 $?
contains 'the oracle was asked' 'oracle       accepted' "$work/out"
"$weft" verify "$work/one.2" >"$work/out"
expect 'one rank alone' 0 $?
contains 'which says so' '1 of 4 ranks' "$work/out"

edit 'programs[1]["steps"].pop()' "$good" "$work/bad"
"$weft" verify "$work/bad" >"$work/out"
expect 'a step too few' 1 $?
contains 'which names the rank' 'rank 1' "$work/out"
expect 'as JSON' refused "$("$weft" verify --json "$work/bad" | field oracle.verdict)"
edit 'programs[2]["steps"][0]["into"][0]["stamp"] += 1' "$good" "$work/bad"
"$weft" verify "$work/bad" >"$work/out"
expect 'a wrong stamp' 1 $?
contains 'which the oracle does not look at' 'oracle       accepted' "$work/out"

bad() { # WHAT SENTENCE ARGUMENTS...
    local what=$1 sentence=$2
    shift 2
    "$weft" verify "$@" >"$work/out" 2>"$work/errors"
    expect "$what" 2 $?
    contains "$what" "$sentence" "$work/errors"
}
edit 'programs[1]["rank"] = 0' "$good" "$work/bad"
bad 'two programs of a rank' 'lane to itself' "$work/bad"
bad 'a file twice' 'a second program of rank 0' "$good" "$good"
edit 'programs[3]["steps"][1]["cells"] = 7' "$good" "$work/bad"
bad 'an edited count' 'bad[3].steps[1]' "$work/bad"
echo '[{]' >"$work/bad"
bad 'no JSON' "$work/bad:1:" "$work/bad"
echo '[]' >"$work/bad"
bad 'no program' "$work/bad: no program" "$good" "$work/bad"
bad 'no file' 'No such file' "$work/none"
bad 'nothing to do' 'give either' --json
bad 'no such algorithm' 'nonsense' -a nonsense -c all_reduce -n 2
bad 'no such collective' 'nonsense' -a ring -c nonsense -n 2
bad 'no ranks' 'needs --coll and --ranks' -a ring -c all_reduce
bad 'a bad number' '--ranks' -a ring -c all_reduce -n x

expect 'mutants' 0 "$("$weft" verify --mutate 2000 --seed 5 --json | field disagreements)"
"$weft" verify --mutate 200 --seed 9 >"$work/one"
"$weft" verify --mutate 200 --seed 9 >"$work/two"
cmp -s "$work/one" "$work/two"
expect 'the seed decides' 0 $?
"$weft" verify --mutate 200 --seed 10 | cmp -s - "$work/one"
expect 'and another seed differs' 1 $?

[ "$failures" -eq 0 ] && echo 'all right'
exit "$((failures > 0))"
