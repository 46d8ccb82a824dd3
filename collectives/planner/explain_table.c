/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of winners by size, and the rows of prices. See explain.h.
 */
#include "collectives/planner/costs.h"
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

/* ---- the facts ---- */

// The cheapest in free order.
static weft_status find_free(const struct weft_key *key, const struct weft_layout *layout,
                             int64_t *free_ps, struct weft_error *error)
{
    struct weft_choice choice;
    struct weft_key free_key = *key;
    free_key.order = WEFT_ORDER_FREE;
    free_key.num_leaves = 0;
    free_key.leaf_bounds = NULL;
    WEFT_TRY(weft_choice_make(&free_key, layout, &choice, error));
    *free_ps = choice.candidates[0].estimate_ps;
    return WEFT_OK;
}

static void ask_nccl(const struct weft_nccl_input *nccl, struct weft_table *table,
                     struct weft_table_row *row)
{
    struct weft_nccl_prediction prediction;
    struct weft_error why;
    row->nccl_us = -1;
    if (!nccl)
        return;
    if (weft_nccl_predict(nccl, table->key.collective, (uint64_t)1 << row->size_class, &prediction,
                          &why) != WEFT_OK) {
        snprintf(table->nccl_note, sizeof table->nccl_note, "%.200s", why.text);
        return;
    }
    table->has_nccl = true;
    row->nccl_us = prediction.time_us;
    row->nccl_algorithm = prediction.algorithm;
    row->nccl_protocol = prediction.protocol;
}

weft_status weft_table_make(const struct weft_key *key, const struct weft_layout *layout,
                            const struct weft_nccl_input *nccl, struct weft_table *table,
                            struct weft_error *error)
{
    *table = (struct weft_table){.key = *key};
    WEFT_TRY(weft_bound_find(layout, key, &table->bound, error));
    for (int i = 0; i < WEFT_TABLE_ROWS; i++) {
        struct weft_table_row *row = &table->rows[i];
        struct weft_key at = *key;
        at.size_class = row->size_class = WEFT_TABLE_FIRST_CLASS + i;
        WEFT_TRY(weft_choice_make(&at, layout, &row->choice, error));
        if (key->order == WEFT_ORDER_REPRODUCIBLE)
            WEFT_TRY(find_free(&at, layout, &row->free_ps, error));
        row->share = -1;
        if (table->bound.label && weft_key_bytes(&at) > 0)
            row->share = (double)weft_bound_time(&table->bound, weft_key_bytes(&at)) /
                         (double)row->choice.candidates[0].estimate_ps;
        ask_nccl(nccl, table, row);
    }
    return WEFT_OK;
}

// Whether a row differs from the one before.
static bool is_change(const struct weft_table *table, int i)
{
    return i == 0 || table->rows[i].choice.candidates[0].algorithm !=
                         table->rows[i - 1].choice.candidates[0].algorithm;
}

static bool is_nccl_change(const struct weft_table *table, int i)
{
    const struct weft_table_row *row = &table->rows[i];
    return row->nccl_us >= 0 &&
           (i == 0 || row[-1].nccl_us < 0 || row->nccl_algorithm != row[-1].nccl_algorithm ||
            row->nccl_protocol != row[-1].nccl_protocol);
}

static const char *nccl_name(const struct weft_table_row *row, char text[32])
{
    snprintf(text, 32, "%s/%s", weft_nccl_algorithm_names[row->nccl_algorithm],
             weft_nccl_protocol_names[row->nccl_protocol]);
    return text;
}

/* ---- text ---- */

static void print_changes(const struct weft_table *table, FILE *stream)
{
    char size[32], name[32];
    const char *before = "";
    fprintf(stream, "%s on %d ranks%s: ", weft_collective_names[table->key.collective],
            table->key.num_ranks,
            table->key.order == WEFT_ORDER_REPRODUCIBLE ? ", reproducible order" : "");
    for (int i = 0; i < WEFT_TABLE_ROWS; i++) {
        if (!is_change(table, i))
            continue;
        weft_format_bytes(INT64_C(1) << table->rows[i].size_class, size, sizeof size);
        fprintf(stream, "%s%s from %s", before, table->rows[i].choice.candidates[0].algorithm->name,
                size);
        before = ", ";
    }
    fputc('\n', stream);
    before = "NCCL 2.28: ";
    for (int i = 0; i < WEFT_TABLE_ROWS; i++) {
        if (!is_nccl_change(table, i))
            continue;
        weft_format_bytes(INT64_C(1) << table->rows[i].size_class, size, sizeof size);
        fprintf(stream, "%s%s from %s", before, nccl_name(&table->rows[i], name), size);
        before = ", ";
    }
    if (table->nccl_note[0])
        fprintf(stream, "%s%s", table->has_nccl ? "; " : "NCCL 2.28: ", table->nccl_note);
    if (table->has_nccl || table->nccl_note[0])
        fputc('\n', stream);
}

static void print_row(const struct weft_table *table, const struct weft_table_row *row,
                      FILE *stream)
{
    const struct weft_candidate *first = &row->choice.candidates[0];
    char size[32], predicted[32], name[32], share[32] = "-";
    weft_format_bytes(INT64_C(1) << row->size_class, size, sizeof size);
    weft_format_latency(first->estimate_ps, predicted, sizeof predicted);
    if (row->share >= 0)
        snprintf(share, sizeof share, "%.1f%%", 100 * row->share);
    fprintf(stream, "  %8s  %-12s %11s %8s", size, first->algorithm->name, predicted, share);
    if (row->free_ps)
        fprintf(stream, " %7.2fx", (double)first->estimate_ps / (double)row->free_ps);
    if (table->has_nccl && row->nccl_us >= 0) {
        weft_format_latency((int64_t)(row->nccl_us * 1e6), predicted, sizeof predicted);
        fprintf(stream, "   %-16s %11s", nccl_name(row, name), predicted);
    }
    for (int i = 1; i < row->choice.num_usable && i < 4; i++)
        fprintf(stream, "   %s %.2fx", first[i].algorithm->name,
                (double)first[i].estimate_ps / (double)first->estimate_ps);
    fputc('\n', stream);
}

void weft_table_text(const struct weft_table *table, FILE *stream)
{
    print_changes(table, stream);
    fprintf(stream, "  %8s  %-12s %11s %8s%s", "size", "winner", "predicted", "of bound",
            table->rows[0].free_ps ? "  of free" : "");
    if (table->has_nccl)
        fprintf(stream, "   %-16s %11s", "NCCL 2.28", "predicts");
    fputs("   then, times slower\n", stream);
    for (int i = 0; i < WEFT_TABLE_ROWS; i++)
        print_row(table, &table->rows[i], stream);
    if (table->bound.reason)
        fprintf(stream, "No bound: %s\n", table->bound.reason);
}

/* ---- JSON ---- */

static json_t *row_json(const struct weft_table_row *row)
{
    char name[32];
    json_t *predicted = json_object();
    for (int i = 0; i < row->choice.num_usable; i++)
        json_object_set_new(predicted, row->choice.candidates[i].algorithm->name,
                            json_integer(row->choice.candidates[i].estimate_ps));
    json_t *json = json_pack("{s:I, s:i, s:s, s:o}", "bytes", (json_int_t)1 << row->size_class,
                             "size_class", row->size_class, "chosen",
                             row->choice.candidates[0].algorithm->name, "predicted_ps", predicted);
    json_object_set_new(json, "share_of_bound",
                        row->share < 0 ? json_null() : json_real(row->share));
    if (row->free_ps)
        json_object_set_new(json, "free_ps", json_integer(row->free_ps));
    json_object_set_new(json, "nccl",
                        row->nccl_us < 0 ? json_null()
                                         : json_pack("{s:s, s:f}", "choice", nccl_name(row, name),
                                                     "predicted_us", row->nccl_us));
    return json;
}

static json_t *change_json(const struct weft_table_row *row, const char *choice)
{
    return json_pack("{s:I, s:s}", "bytes", (json_int_t)1 << row->size_class, "choice", choice);
}

json_t *weft_table_json(const struct weft_table *table)
{
    json_t *rows = json_array(), *changes = json_array(), *nccl_changes = json_array();
    char name[32];
    for (int i = 0; i < WEFT_TABLE_ROWS; i++) {
        const struct weft_table_row *row = &table->rows[i];
        json_array_append_new(rows, row_json(row));
        if (is_change(table, i))
            json_array_append_new(changes,
                                  change_json(row, row->choice.candidates[0].algorithm->name));
        if (is_nccl_change(table, i))
            json_array_append_new(nccl_changes, change_json(row, nccl_name(row, name)));
    }
    json_t *bound = table->bound.label ? json_integer(weft_curve_bandwidth(table->bound.ps_per_mib))
                                       : json_null();
    return json_pack("{s:s, s:i, s:s, s:i, s:s, s:o, s:s*, s:s, s:o, s:o, s:o}", "format",
                     "weft-plan-table", "version", 2, "collective",
                     weft_collective_names[table->key.collective], "ranks", table->key.num_ranks,
                     "order", table->key.order == WEFT_ORDER_REPRODUCIBLE ? "reproducible" : "free",
                     "bound_bytes_per_second", bound, "no_bound", table->bound.reason, "nccl_note",
                     table->nccl_note, "crossovers", changes, "nccl_crossovers", nccl_changes,
                     "rows", rows);
}
