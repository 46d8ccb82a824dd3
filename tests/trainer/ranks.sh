#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `weft train` with real processes: 1, 2, 3 and 4 ranks agree on the step-1 gradient and 20 losses;
# a rank whose gradient is left out is noticed; bad options and files are refused with one line.
# Usage: ranks.sh WEFT
set -u
weft=$1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
small="--data licenses --layers 2 --width 32 --heads 2 --context 32 --steps 20 --every 0 --sample 0"

# expect CODE WORDS ARGUMENT...: the exit code, and words that the output must contain.
expect()
{
    code=$1 words=$2
    shift 2
    timeout 60 "$weft" train "$@" >"$folder/output" 2>&1
    found=$?
    if [ "$found" -ne "$code" ] || ! grep -q -- "$words" "$folder/output"; then
        echo "weft train $*: exit code $found, expected $code with '$words':"
        cat "$folder/output"
        exit 1
    fi
}

expect 0 "held out" $small --dump "$folder/one"
for ranks in 2 3 4 5; do # 4 micro-batches: uneven shares, and a rank without any
    expect 0 agrees $small --ranks $ranks --check-against "$folder/one"
done
expect 0 agrees $small --ranks 2 --bucket 1K --check-against "$folder/one"
expect 1 DIFFERS $small --ranks 4 --drop-rank 2 --check-against "$folder/one"
expect 2 "seed is" $small --seed 2 --check-against "$folder/one"
expect 2 "not a record" $small --check-against /usr/share/common-licenses/Apache-2.0
expect 2 "no-such-file" $small --ranks 2 --check-against "$folder/no-such-file"
expect 2 "no-such-file" --data "$folder/no-such-file" --ranks 2
expect 2 "no-such-folder/record: cannot write" $small --dump "$folder/no-such-folder/record"
expect 2 "no-such-folder/record: cannot write" $small --ranks 2 --dump "$folder/no-such-folder/record"
expect 2 "no regular file" $small --dump "$folder"
expect 2 "heads" --heads 5
expect 2 "batch" --batch 7
expect 2 "steps" --steps -3
expect 2 "lr" --lr nan
expect 2 "drop rank" $small --ranks 2 --drop-rank 2
expect 2 "unexpected" surplus
expect 0 "gradients are right" --gradcheck --data licenses --layers 2 --width 32 --context 32
