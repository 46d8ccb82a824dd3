#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft` and `weft env`: help, version, exit codes, sources of values, JSON, secrets kept.
# Usage: test_env.sh WEFT
set -u
weft=$1
. "$(dirname "$0")/../expect.sh"
field() { # VARIABLE FIELD, from JSON on standard input
    python3 -c 'import json, sys
print(next(r[sys.argv[2]] for r in json.load(sys.stdin) if r["name"] == sys.argv[1]))' "$@"
}
unset WEFT_TIMEOUT WEFT_SECRET

"$weft" >/dev/null 2>&1
expect 'no command' 2 $?
"$weft" nonsense >/dev/null 2>&1
expect 'unknown command' 2 $?
for option in --help -h; do
    "$weft" $option >/dev/null
    expect "$option" 0 $?
done
"$weft" topo "${weft%/*}" >/dev/null 2>&1
expect 'a folder as topology' 2 $?
expect 'version' 1 "$("$weft" --version | grep -cE '^weft [0-9]+\.[0-9]+\.[0-9]+$')"
for command in $("$weft" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    "$weft" "$command" --help >/dev/null 2>&1
    expect "$command --help" 0 $?
    "$weft" "$command" --no-such-option >/dev/null 2>&1
    expect "$command with a wrong option" 2 $?
done

expect 'default' default "$("$weft" env --json | field WEFT_TIMEOUT source)"
expect 'environment' environment "$(WEFT_TIMEOUT=5s "$weft" env --json | field WEFT_TIMEOUT source)"
expect 'value' 5s "$(WEFT_TIMEOUT=5s "$weft" env --json | field WEFT_TIMEOUT value)"
expect 'a secret is not shown' 0 "$(WEFT_SECRET=hidden123 "$weft" env | grep -c hidden123)"
WEFT_TIMEOUT=never "$weft" env >/dev/null 2>&1
expect 'a refused value' 2 $?
for setting in WEFT_TIMEOUT=never WEFT_SPIN=no WEFT_PROGRESS=no WEFT_TRANSPORTS=pigeon WEFT_ALGORITHM=magic; do
    text=$(env "$setting" "$weft" env 2>&1 >/dev/null)
    expect "$setting: exit code" 2 $?
    expect "$setting: is named" 1 "$(grep -c "${setting%%=*}" <<<"$text")"
done
"$weft" env >/dev/full 2>/dev/null
expect 'a full disk' 3 $?
expect 'rows' "$("$weft" env --json | grep -c '"name"')" "$(($("$weft" env | wc -l) - 1))"

[ $failures = 0 ] && echo 'env: all passed'
exit $((failures > 0))
