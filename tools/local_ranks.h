/*
 * SPDX-License-Identifier: Apache-2.0
 * Runs one command as N ranks on this machine, for `weft launch` and `weft bench --ranks`. The
 * calling process serves their meeting point, so the death of any rank, rank 0 included, is told to
 * the others. Every rank is a process group of its own; none outlives the call, and none outlives
 * the calling process however it ends.
 */
#ifndef WEFT_TOOLS_LOCAL_RANKS_H
#define WEFT_TOOLS_LOCAL_RANKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { WEFT_LOCAL_RANKS_LIMIT = 1024 };

struct weft_local_ranks {
    const char *name;     // of the caller, for its lines on standard error
    int num_ranks;        // 1 .. WEFT_LOCAL_RANKS_LIMIT
    char *const *command; // as for execvp
    bool float_on_cores;  // do not bind ranks to cores of their own, even where there are enough
    bool label;           // put "[rank] " before each line that a rank writes
    int64_t grace_ns;     // from the first failure to SIGTERM; SIGKILL comes 2 s later
};

/* Blocks until every rank has ended. SIGINT, SIGTERM and SIGHUP are forwarded meanwhile; the second
 * one kills. Says on standard error which rank failed first. OK: every rank ran and *exit_code is
 * that of the first rank that failed (128 + N for signal N), or 0. Errors: NOT_FOUND and PERMISSION
 * (the command cannot be run), SYSTEM (also: all ranks ended well, but labelled output of
 * theirs was lost), OUT_OF_MEMORY; no rank is left running. Call it from a
 * process of one thread. */
weft_status weft_local_ranks_run(const struct weft_local_ranks *ranks, int *exit_code,
                                 struct weft_error *error);

/* Runs `weft NAME --started` with the arguments argv[1 .. argc) as ranks, NAME from argv[0] "weft
 * NAME"; returns the exit code for the calling process, having said what went wrong. */
int weft_local_ranks_start_self(int num_ranks, int argc, char **argv);

#endif
