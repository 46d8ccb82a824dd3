#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The contract of `weft launch`, with real processes: variables, exit codes, deaths, signals, and
# that nothing is left behind. Usage: test_launch.sh WEFT MEET
set -u
weft=$1 meet=$2
# Sleeps of this run can be told from all others by their length.
mark=6$((RANDOM % 900 + 100)).$$

. "$(dirname "$0")/../expect.sh"
await_sleepers() { # NUMBER: for at most a minute
    local i
    for ((i = 0; i < 600; i++)); do
        [ "$(pgrep -fc "^sleep $mark")" = "$1" ] && break
        sleep 0.1
    done
}
expect_no_orphans() {
    local i left
    for ((i = 0; i < $(patience 10); i++)); do
        left=$(pgrep -f "sleep $mark" | xargs)
        [ -z "$left" ] && break
        sleep 0.1
    done
    expect "$1: no process is left" '' "$left"
}
is_soon() { echo $(((($(date +%s%N) - $1) / 100000000) < $(patience 20))); } # since START: 1 or 0

out=$("$weft" launch -n 3 --label -- sh -c 'echo $WEFT_RANK of $WEFT_NUM_RANKS ${#WEFT_ID}' | sort)
expect 'exit code' 0 $?
expect 'variables' $'[0] 0 of 3 256\n[1] 1 of 3 256\n[2] 2 of 3 256' "$out"

# Cores are shared out, but nobody's wish is overruled.
threads() { "$weft" launch -n "$1" -- sh -c 'echo $OPENBLAS_NUM_THREADS' | sort -u; }
cores=$(nproc)
expect 'a share of the cores' $((cores > 1 ? cores / 2 : 1)) "$(unset OPENBLAS_NUM_THREADS; threads 2)"
expect 'a wish for threads' 7 "$(OPENBLAS_NUM_THREADS=7 threads 2)"

expect 'input goes to rank 0 only' '[0] text' "$(echo text | "$weft" launch -n 2 --label cat)"
expect 'an unfinished line' '[0] partial' "$("$weft" launch -n 1 --label printf partial)"
lines=$("$weft" launch -n 4 --label seq 20000 | sed 's/^\[[0-3]\] //' | sort -n | uniq -c |
    awk '$1 == 4' | wc -l)
expect 'labelled lines never mix' 20000 "$lines"

text=$("$weft" launch -n 2 --label echo text 2>&1 >/dev/full)
expect 'labelled lines to a full disk' 3 $?
expect 'which is said' 1 "$(grep -c 'cannot write.*No space left' <<<"$text")"
"$weft" launch -n 2 --label sh -c 'echo text; exit 5' >/dev/full 2>&1
expect 'a failed rank goes before a full disk' 5 $?

"$weft" launch -n 2 /no/such/program 2>/dev/null
expect 'a program that is not there' 2 $?
"$weft" launch -n 2 /etc/passwd 2>/dev/null
expect 'a file that is no program' 2 $?
"$weft" launch -n 0 true 2>/dev/null
expect 'no ranks' 2 $?
"$weft" launch -n 2 2>/dev/null
expect 'no command' 2 $?
expect 'options after the command are its own' '-n 5' "$("$weft" launch -n 1 echo -n\ 5)"

start=$(date +%s%N)
text=$("$weft" launch -n 3 -g 300ms sh -c "[ \$WEFT_RANK = 1 ] && exit 7; sleep $mark" 2>&1)
expect 'exit code of the first rank that failed' 7 $?
expect 'the rank is named' 1 "$(echo "$text" | grep -c 'rank 1 .*ended with exit code 7')"
expect 'only one rank is blamed' 1 "$(echo "$text" | wc -l)"
expect 'SIGTERM after the grace time' 1 $(is_soon "$start")
expect_no_orphans 'after a failure'

"$weft" launch -n 2 -g 300ms sh -c \
    "trap '' TERM; (setsid sleep $mark) & [ \$WEFT_RANK = 0 ] && kill -SEGV \$\$; sleep $mark" \
    2>/dev/null
expect 'exit code of a signal' $((128 + 11)) $?
expect_no_orphans 'ranks that ignore SIGTERM, children that leave their group'

"$weft" launch -n 2 sh -c "sleep $mark & exit 0"
expect 'a rank may end before its children' 0 $?
expect_no_orphans 'children that a rank left behind'

for signal in TERM HUP; do
    "$weft" launch -n 3 -g 300s sleep "$mark" 2>/dev/null & # not by the grace's end
    launcher=$!
    await_sleepers 3
    start=$(date +%s%N)
    kill -$signal $launcher
    wait $launcher
    code=$?
    expect "exit code after SIG$signal" $((128 + $(kill -l $signal))) $code
    expect "SIG$signal is forwarded" 1 $(is_soon "$start")
    expect_no_orphans "after SIG$signal"
done

"$weft" launch -n 3 sleep "$mark" 2>/dev/null &
launcher=$!
await_sleepers 3
{ kill -KILL $launcher && wait $launcher; } 2>/dev/null
expect_no_orphans 'after the launcher was killed'

out=$("$weft" launch -n 4 "$meet" | sort)
expect 'the ranks meet' $'rank 0: met\nrank 1: met\nrank 2: met\nrank 3: met' "$out"
for dead in 0 2; do
    start=$(date +%s%N)
    out=$("$weft" launch -n 4 "$meet" $dead 2>/dev/null)
    code=$?
    expect 'they learn it within 2 s' 1 $(is_soon "$start")
    expect 'exit code of a killed rank' 137 $code
    expect "three ranks learn that rank $dead is dead" 3 \
        "$(echo "$out" | grep -c ": .*rank $dead .*killed by signal 9")"
done

[ $failures = 0 ] && echo 'launch: all passed'
exit $((failures > 0))
