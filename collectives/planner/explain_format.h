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

/* The table: one row per size class. */
enum { WEFT_TABLE_FIRST_CLASS = 3, WEFT_TABLE_LAST_CLASS = 30 };
struct weft_table_row {
    int size_class;
    struct weft_choice choice;
};
weft_status weft_table_row(const struct weft_key *key, const struct weft_layout *layout,
                           int size_class, struct weft_table_row *row, struct weft_error *error);

/* The cheapest prediction of the same request in free order: what reproducible order is held to. */
weft_status weft_table_free_ps(const struct weft_key *key, const struct weft_layout *layout,
                               int size_class, int64_t *free_ps, struct weft_error *error);

#endif
