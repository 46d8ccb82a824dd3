/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft bench --tune`: is the planner right here? Every algorithm that can do a size is timed, in
 * turns, and stands beside what the planner expected of it and what it would choose.
 */
#ifndef WEFT_TOOLS_BENCH_TUNE_H
#define WEFT_TOOLS_BENCH_TUNE_H

#include "tools/bench_run.h"

/* Of settings->collective (not WEFT_SEND), one type, operation and root (none is -1), in free or
 * reproducible order; how often follows from time, not from the settings. Rank 0 prints, as text or
 * (format "json") JSON. Errors: those of the operations, OUT_OF_MEMORY, those of weft_bench_check,
 * and INTERNAL for a wrong element. */
weft_status weft_bench_tune(const struct weft_bench_settings *settings, weft_context *context,
                            weft_comm *comm, struct weft_error *error);

#endif
