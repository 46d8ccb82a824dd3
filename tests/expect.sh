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
# So many tenths of a second, or more where each core has several tasks: as patience.h.
patience() { # TENTHS
    awk -v limit="$1" -v cores="$(nproc)" '{
        split($4, tasks, "/")
        busy = ($1 > tasks[1] ? $1 : tasks[1]) / cores
        print int(limit * (busy < 1 ? 1 : busy > 8 ? 8 : busy)) }' /proc/loadavg
}
