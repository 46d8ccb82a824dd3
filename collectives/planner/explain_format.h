/*
 * SPDX-License-Identifier: Apache-2.0
 * What the text and the JSON of an explanation share.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EXPLAIN_FORMAT_H
#define WEFT_COLLECTIVES_PLANNER_EXPLAIN_FORMAT_H

#include "base/format.h"
#include "collectives/planner/explain.h"

enum { WEFT_PRICE_ROWS = 6 };

struct weft_price_row {
    const char *name; // of the field
    const char *meaning;
    const char *source;
    int64_t value;
    bool is_time; // picoseconds; -1: not available
};

/* What does not depend on the level. */
int weft_price_rows(const struct weft_costs *costs, struct weft_price_row rows[WEFT_PRICE_ROWS]);

#endif
