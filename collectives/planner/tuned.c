/*
 * SPDX-License-Identifier: Apache-2.0
 * See tuned.h. A table is spread over the size classes when it is read. Times become whole
 * picoseconds there, and everybody reads the same text, so all ranks choose alike.
 */
#include "collectives/planner/tuned.h"

#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/json.h"
#include "collectives/planner/choice.h"

enum {
    NUM_ORDERS = 2,
    NUM_CLASSES = 64, // -1 .. 62
    ROWS_LIMIT = 4096,
};
static const double limit_us = 3600e6; // as prices

/* One collective in one order. */
struct table {
    int64_t time_ps[NUM_CLASSES][WEFT_CANDIDATES_LIMIT]; // by place in weft_algorithms; -1: none
};

struct weft_tuned {
    struct table *tables[NUM_ORDERS][WEFT_NUM_COLLECTIVES]; // NULL: none
};

/* One measured size. */
struct row {
    int64_t bytes;
    int64_t time_ps[WEFT_CANDIDATES_LIMIT];
};

struct reader {
    const char *where;
    struct weft_error *error;
    weft_collective collective;
    int64_t order;
    struct row *rows;
    int num_rows;
};

/* ---- life and look-up ---- */

void weft_tuned_free(struct weft_tuned **tuned)
{
    if (!*tuned)
        return;
    for (int o = 0; o < NUM_ORDERS; o++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            free((*tuned)->tables[o][c]);
    free(*tuned);
    *tuned = NULL;
}

weft_status weft_tuned_copy(const struct weft_tuned *tuned, struct weft_tuned **copy,
                            struct weft_error *error)
{
    struct weft_tuned *made = tuned ? calloc(1, sizeof *made) : NULL;
    bool is_made = made || !tuned;
    for (int o = 0; made && o < NUM_ORDERS; o++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            if (tuned->tables[o][c]) {
                made->tables[o][c] = malloc(sizeof *made->tables[o][c]);
                is_made &= made->tables[o][c] != NULL;
                if (made->tables[o][c])
                    *made->tables[o][c] = *tuned->tables[o][c];
            }
    if (!is_made) {
        weft_tuned_free(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    }
    *copy = made;
    return WEFT_OK;
}

// -1: none, or none that is ever a candidate.
static int place_of(const struct weft_algorithm *algorithm)
{
    for (int place = 0; place < WEFT_CANDIDATES_LIMIT && weft_algorithms[place]; place++)
        if (weft_algorithms[place] == algorithm)
            return place;
    return -1;
}

int64_t weft_tuned_time(const struct weft_tuned *tuned, const struct weft_algorithm *algorithm,
                        const struct weft_key *key)
{
    const struct table *table = tuned ? tuned->tables[key->order][key->collective] : NULL;
    if (!table || key->num_leaves) // leaves of many sizes were not timed
        return -1;
    int place = place_of(algorithm);
    return place >= 0 ? table->time_ps[key->size_class + 1][place] : -1;
}

/* ---- reading ---- */

static weft_status read_time(const struct reader *r, const json_t *entry, struct row *row)
{
    const char *name;
    WEFT_TRY(weft_json_string(entry, "name", r->where, &name, r->error));
    const struct weft_algorithm *algorithm = weft_algorithm_find(name);
    const json_t *member = json_object_get(entry, "measured_us");
    double us = json_is_number(member) ? json_number_value(member) : -1;
    if (!algorithm)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: there is no algorithm '%.32s'",
                         r->where, name);
    if (!(us >= 0 && us <= limit_us))
        return weft_fail(r->error, WEFT_INVALID_FORMAT,
                         "%s: \"measured_us\" of %.32s is no time up to an hour", r->where, name);
    int place = place_of(algorithm);
    if (place >= 0)
        row->time_ps[place] = (int64_t)(us * 1e6);
    return WEFT_OK;
}

// Sizes too small for an element of each rank are 0 bytes, and some become the same: the later
// counts.
static weft_status read_row(struct reader *r, const json_t *entry)
{
    const json_t *times, *time;
    struct row made, *last = r->num_rows > 0 ? &r->rows[r->num_rows - 1] : NULL;
    size_t i;
    for (int a = 0; a < WEFT_CANDIDATES_LIMIT; a++)
        made.time_ps[a] = -1;
    WEFT_TRY(
        weft_json_integer(entry, "bytes", 0, INT64_C(1) << 50, r->where, &made.bytes, r->error));
    WEFT_TRY(weft_json_array(entry, "algorithms", r->where, &times, r->error));
    json_array_foreach(times, i, time)
    {
        WEFT_TRY(read_time(r, time, &made));
    }
    if (last && made.bytes < last->bytes)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: sizes do not grow", r->where);
    if (last && made.bytes == last->bytes)
        *last = made;
    else if (made.bytes > 0)
        r->rows[r->num_rows++] = made;
    return WEFT_OK;
}

// Whether the table is of these ranks.
static weft_status read_ranks(const struct reader *r, const json_t *root,
                              const struct weft_tuned_ranks *ranks, bool *is_ours)
{
    const json_t *all, *host;
    const char *links;
    size_t i;
    WEFT_TRY(weft_json_string(root, "links", r->where, &links, r->error));
    WEFT_TRY(weft_json_array(root, "hosts", r->where, &all, r->error));
    *is_ours =
        ranks && json_array_size(all) == (size_t)ranks->num_ranks && !strcmp(links, ranks->links);
    json_array_foreach(all, i, host)
    {
        if (!json_is_integer(host))
            return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: \"hosts\" has no whole numbers",
                             r->where);
        *is_ours = *is_ours && json_integer_value(host) == ranks->hosts[i];
    }
    return WEFT_OK;
}

static weft_status read_head(struct reader *r, const json_t *root)
{
    const char *format, *collective, *order;
    int64_t version;
    WEFT_TRY(weft_json_string(root, "format", r->where, &format, r->error));
    if (strcmp(format, "weft-tuned") != 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: not what weft bench --tune printed",
                         r->where);
    WEFT_TRY(weft_json_integer(root, "version", 2, 2, r->where, &version, r->error));
    WEFT_TRY(weft_json_string(root, "collective", r->where, &collective, r->error));
    WEFT_TRY(weft_json_string(root, "order", r->where, &order, r->error));
    struct weft_error why;
    if (weft_collective_from_name(collective, &r->collective, &why) != WEFT_OK)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: %.400s", r->where, why.text);
    r->order = !strcmp(order, "reproducible") ? WEFT_ORDER_REPRODUCIBLE : WEFT_ORDER_FREE;
    if (r->order == WEFT_ORDER_FREE && strcmp(order, "free") != 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: there is no order '%.32s'", r->where,
                         order);
    return WEFT_OK;
}

static int64_t between(int64_t bytes, const struct row *a, const struct row *b, int algorithm)
{
    int64_t first = a->time_ps[algorithm], last = b->time_ps[algorithm];
    if (first < 0 || last < 0)
        return -1;
    return first + (int64_t)((__int128)(last - first) * (bytes - a->bytes) / (b->bytes - a->bytes));
}

static void spread(const struct reader *r, struct table *table)
{
    const struct row *row = r->rows, *end = r->rows + r->num_rows;
    for (int s = 0; s < NUM_CLASSES; s++) {
        int64_t bytes = s == 0 ? 0 : INT64_C(1) << (s - 1);
        while (row + 1 < end && row[1].bytes <= bytes)
            row++;
        bool is_last = row + 1 == end, is_known = row < end && (!is_last || bytes <= row->bytes);
        for (int a = 0; a < WEFT_CANDIDATES_LIMIT; a++)
            table->time_ps[s][a] = !is_known ? -1
                                   : is_last || bytes <= row->bytes
                                       ? row->time_ps[a]
                                       : between(bytes, row, row + 1, a);
    }
}

static weft_status read_table(struct reader *r, const json_t *root,
                              const struct weft_tuned_ranks *ranks, struct weft_tuned *tuned)
{
    const json_t *sizes, *size;
    bool is_ours;
    size_t i;
    WEFT_TRY(read_head(r, root));
    WEFT_TRY(read_ranks(r, root, ranks, &is_ours));
    WEFT_TRY(weft_json_array(root, "sizes", r->where, &sizes, r->error));
    size_t count = json_array_size(sizes);
    if (count > ROWS_LIMIT)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: over %d sizes", r->where, ROWS_LIMIT);
    r->rows = calloc(count + 1, sizeof *r->rows);
    if (!r->rows)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    json_array_foreach(sizes, i, size)
    {
        WEFT_TRY(read_row(r, size));
    }
    struct table **table = &tuned->tables[r->order][r->collective];
    if (is_ours && !*table)
        *table = malloc(sizeof **table);
    if (is_ours && !*table)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    if (is_ours)
        spread(r, *table);
    return WEFT_OK;
}

static bool is_empty(const struct weft_tuned *tuned)
{
    for (int o = 0; o < NUM_ORDERS; o++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            if (tuned->tables[o][c])
                return false;
    return true;
}

weft_status weft_tuned_read(const char *text, size_t bytes, const char *name,
                            const struct weft_tuned_ranks *ranks, struct weft_tuned **tuned,
                            struct weft_error *error)
{
    struct weft_tuned *made = calloc(1, sizeof *made);
    weft_status status = WEFT_OK;
    size_t at = 0;
    int num_tables = 0;
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    while (status == WEFT_OK) {
        struct reader r = {.where = name, .error = error};
        json_t *root;
        status = weft_json_parse_next(text, bytes, name, &at, &root, error);
        if (status != WEFT_OK || !root)
            break;
        status = read_table(&r, root, ranks, made);
        num_tables++;
        free(r.rows);
        json_decref(root);
    }
    if (status == WEFT_OK && num_tables == 0)
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%s: has no table", name);
    if (status != WEFT_OK || is_empty(made))
        weft_tuned_free(&made);
    if (status == WEFT_OK)
        *tuned = made;
    return status;
}
