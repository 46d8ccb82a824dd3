/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of winners by size, and the rows of prices. See explain.h.
 */
#include "collectives/planner/explain_format.h"

int weft_price_rows(const struct weft_costs *costs, struct weft_price_row rows[WEFT_PRICE_ROWS])
{
    const char *assumed = weft_source_names[WEFT_SOURCE_ASSUMED];
    const struct weft_price_row all[WEFT_PRICE_ROWS] = {
        {"combine_ps_per_kib", "combining 1 KiB", assumed, costs->combine_ps_per_kib, true},
        {"copy_ps_per_kib", "copying 1 KiB", assumed, costs->copy_ps_per_kib, true},
        {"step_ps", "one step of a program", assumed, costs->step_ps, true},
        {"flat_ps", "one exchange through flat slots", assumed, costs->flat_ps, true},
        {"flat_bytes", "bytes of such a slot", "configuration", costs->flat_bytes, false},
        {"sharing", "ranks that share a core", "placement", costs->sharing, false},
    };
    for (int i = 0; i < WEFT_PRICE_ROWS; i++)
        rows[i] = all[i];
    return WEFT_PRICE_ROWS;
}

weft_status weft_table_row(const struct weft_key *key, const struct weft_layout *layout,
                           int size_class, struct weft_table_row *row, struct weft_error *error)
{
    struct weft_key at = *key;
    at.size_class = size_class;
    row->size_class = size_class;
    return weft_choice_make(&at, layout, &row->choice, error);
}

weft_status weft_table_free_ps(const struct weft_key *key, const struct weft_layout *layout,
                               int size_class, int64_t *free_ps, struct weft_error *error)
{
    struct weft_table_row row;
    struct weft_key free_key = *key;
    free_key.order = WEFT_ORDER_FREE;
    free_key.num_leaves = 0;
    free_key.leaf_bounds = NULL;
    WEFT_TRY(weft_table_row(&free_key, layout, size_class, &row, error));
    *free_ps = row.choice.candidates[0].estimate_ps;
    return WEFT_OK;
}

// free_ps: 0 where the row is of free order itself.
static void print_row(const struct weft_table_row *row, int64_t free_ps, FILE *stream)
{
    const struct weft_candidate *first = &row->choice.candidates[0];
    char size[32], predicted[32];
    weft_format_bytes(INT64_C(1) << row->size_class, size, sizeof size);
    weft_format_latency(first->estimate_ps, predicted, sizeof predicted);
    fprintf(stream, "  %8s  %-9s %11s", size, first->algorithm->name, predicted);
    if (free_ps)
        fprintf(stream, " %9.2fx", (double)first->estimate_ps / (double)free_ps);
    for (int i = 1; i < row->choice.num_usable && i < 4; i++)
        fprintf(stream, "   %s %.2fx", first[i].algorithm->name,
                (double)first[i].estimate_ps / (double)first->estimate_ps);
    fputc('\n', stream);
}

weft_status weft_explain_table(const struct weft_key *key, const struct weft_layout *layout,
                               FILE *stream, struct weft_error *error)
{
    struct weft_table_row row;
    const struct weft_algorithm *last = NULL;
    char changes[512] = "", size[32];
    size_t used = 0;
    int64_t free_ps = 0;
    bool is_priced = key->order == WEFT_ORDER_REPRODUCIBLE;
    WEFT_TRY(weft_table_row(key, layout, WEFT_TABLE_FIRST_CLASS, &row, error));
    fprintf(stream, "%s on %d ranks%s\n  %8s  %-9s %11s%s   %s\n",
            weft_collective_names[key->collective], key->num_ranks,
            is_priced ? ", reproducible order" : "", "size", "winner", "predicted",
            is_priced ? "   of free" : "", "then, times slower");
    for (int size_class = WEFT_TABLE_FIRST_CLASS; size_class <= WEFT_TABLE_LAST_CLASS;
         size_class++) {
        WEFT_TRY(weft_table_row(key, layout, size_class, &row, error));
        if (is_priced)
            WEFT_TRY(weft_table_free_ps(key, layout, size_class, &free_ps, error));
        print_row(&row, free_ps, stream);
        if (row.choice.candidates[0].algorithm == last || used >= sizeof changes)
            continue;
        last = row.choice.candidates[0].algorithm;
        weft_format_bytes(INT64_C(1) << size_class, size, sizeof size);
        used += (size_t)snprintf(changes + used, sizeof changes - used, "%s%s from %s",
                                 used ? ", " : "", last->name, size);
    }
    fprintf(stream, "  %s\n", changes);
    return WEFT_OK;
}

weft_status weft_explain_table_json(const struct weft_key *key, const struct weft_layout *layout,
                                    json_t **json, struct weft_error *error)
{
    json_t *rows = json_array();
    for (int size_class = WEFT_TABLE_FIRST_CLASS; size_class <= WEFT_TABLE_LAST_CLASS;
         size_class++) {
        struct weft_table_row row;
        weft_status status = weft_table_row(key, layout, size_class, &row, error);
        if (status != WEFT_OK) {
            json_decref(rows);
            return status;
        }
        json_t *predicted = json_object();
        for (int i = 0; i < row.choice.num_usable; i++)
            json_object_set_new(predicted, row.choice.candidates[i].algorithm->name,
                                json_integer(row.choice.candidates[i].estimate_ps));
        json_t *object = json_pack(
            "{s:I, s:i, s:s, s:o}", "bytes", (json_int_t)1 << size_class, "size_class", size_class,
            "chosen", row.choice.candidates[0].algorithm->name, "predicted_ps", predicted);
        int64_t free_ps;
        if (key->order == WEFT_ORDER_REPRODUCIBLE &&
            weft_table_free_ps(key, layout, size_class, &free_ps, error) == WEFT_OK)
            json_object_set_new(object, "free_ps", json_integer(free_ps));
        json_array_append_new(rows, object);
    }
    *json = json_pack("{s:s, s:i, s:s, s:i, s:o}", "format", "weft-plan-table", "version", 1,
                      "collective", weft_collective_names[key->collective], "ranks", key->num_ranks,
                      "rows", rows);
    return *json ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
}
