# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What shell tests share, to be sourced: expectations are counted, and all of them are tried. A test
# ends with an exit code that says whether $failures is 0.
failures=0
expect() { # WHAT EXPECTED ACTUAL
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s: expected [%s], got [%s]\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}
