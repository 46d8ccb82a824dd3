/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: switches that are absent, as the names of the others tell. Leaves named by two numbers
 * form a grid, switches named by one a row; where few of its places are empty, those are missing.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "topology/findings_private.h"

enum { MOST_NAMED = 3, PART_BYTES = 128 };

/* ---- a leaf absent from a grid of names ---- */

struct grid_name {
    int node;
    long row, column;
    int word_at, word_bytes; // the text before the two numbers: "IBLEAF-"
    int between_at;          // the text between them: "-"
    int row_digits, column_digits;
    const char *name;
};

/* "A09-P1-IBLEAF-03-01": the last two numbers and the word before them. */
static bool split_grid_name(const char *name, struct grid_name *grid)
{
    int at = (int)strlen(name), end;
    for (end = at; at > 0 && isdigit((unsigned char)name[at - 1]); at--) {}
    grid->column_digits = end - at;
    if (grid->column_digits == 0 || grid->column_digits > 6 || at == 0)
        return false;
    grid->column = strtol(name + at, NULL, 10);
    while (at > 0 && !isdigit((unsigned char)name[at - 1]))
        at--;
    grid->between_at = at;
    for (end = at; at > 0 && isdigit((unsigned char)name[at - 1]); at--) {}
    grid->row_digits = end - at;
    if (grid->row_digits == 0 || grid->row_digits > 6)
        return false;
    grid->row = strtol(name + at, NULL, 10);
    for (end = at; at > 0 && !isdigit((unsigned char)name[at - 1]); at--) {}
    grid->word_at = at;
    grid->word_bytes = end - at;
    grid->name = name;
    return true;
}

static int between_bytes(const struct grid_name *grid)
{
    return (int)strlen(grid->name) - grid->column_digits - grid->between_at;
}

static int compare_words(const struct grid_name *x, const struct grid_name *y)
{
    int bytes = x->word_bytes < y->word_bytes ? x->word_bytes : y->word_bytes;
    int order = memcmp(x->name + x->word_at, y->name + y->word_at, (size_t)bytes);
    if (order || x->word_bytes != y->word_bytes)
        return order ? order : x->word_bytes - y->word_bytes;
    int between_x = between_bytes(x), between_y = between_bytes(y);
    bytes = between_x < between_y ? between_x : between_y;
    order = memcmp(x->name + x->between_at, y->name + y->between_at, (size_t)bytes);
    return order ? order : between_x - between_y;
}

static int compare_grid(const void *a, const void *b)
{
    const struct grid_name *x = a, *y = b;
    int order = compare_words(x, y);
    if (order)
        return order;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->row == y->row ? 0 : x->row < y->row ? -1 : 1;
}

static int compare_longs(const void *a, const void *b)
{
    const long *x = a, *y = b;
    return *x == *y ? 0 : *x < *y ? -1 : 1;
}

/* Sorts `values` and keeps each once; returns how many. */
static int distinct(long *values, int count)
{
    int kept = 0;
    qsort(values, (size_t)count, sizeof *values, compare_longs);
    for (int i = 0; i < count; i++)
        if (kept == 0 || values[kept - 1] != values[i])
            values[kept++] = values[i];
    return kept;
}

/* The names of one word, sorted by column and row: says which squares of the grid are empty, if
 * those are few. */
static weft_status look_at_grid(struct weft_search *s, const struct grid_name *grid, int count,
                                long *rows)
{
    long *columns = rows + count;
    for (int i = 0; i < count; i++) {
        rows[i] = grid[i].row;
        columns[i] = grid[i].column;
    }
    int num_rows = distinct(rows, count), num_columns = distinct(columns, count);
    int64_t missing = (int64_t)num_rows * num_columns - count;
    if (num_rows < 2 || num_columns < 2 || missing < 1 || missing * 8 > count)
        return WEFT_OK;
    struct weft_sentence sentence = {""};
    weft_sentence_add(&sentence, "%lld leaf switch%s absent from a grid of %d by %d names:",
                      (long long)missing, missing > 1 ? "es are" : " is", num_rows, num_columns);
    int named = 0;
    for (int i = 0, column = 0; column < num_columns; column++)
        for (int row = 0; row < num_rows; row++) {
            if (i < count && grid[i].column == columns[column] && grid[i].row == rows[row]) {
                while (i < count && grid[i].column == columns[column] && grid[i].row == rows[row])
                    i++;
                continue;
            }
            // the part before the numbers is that of another leaf of the column
            const struct grid_name *like = i > 0 && grid[i - 1].column == columns[column]
                                               ? &grid[i - 1]
                                               : &grid[i < count ? i : count - 1];
            if (named++ < MOST_NAMED)
                weft_sentence_add(&sentence, "%s %.*s%0*ld%.*s%0*ld", named > 1 ? "," : "",
                                  like->word_at + like->word_bytes > PART_BYTES
                                      ? PART_BYTES
                                      : like->word_at + like->word_bytes,
                                  like->name, like->row_digits, rows[row], between_bytes(like),
                                  like->name + like->between_at, like->column_digits,
                                  columns[column]);
        }
    weft_sentence_add(&sentence, "%s.", named > MOST_NAMED ? " and others" : "");
    return weft_search_say(s, WEFT_SEVERITY_WARNING, 0, "%s", sentence.text);
}

weft_status weft_find_missing_leaf(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, leaves = weft_topology_count(t, WEFT_NODE_LEAF);
    struct grid_name *grid = malloc(((size_t)leaves + 1) * sizeof *grid);
    long *numbers = malloc(((size_t)leaves + 1) * 2 * sizeof *numbers);
    weft_status status =
        grid && numbers ? WEFT_OK : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_LEAF && split_grid_name(t->nodes[i].name, &grid[count]))
            grid[count++].node = i;
    if (status == WEFT_OK)
        qsort(grid, (size_t)count, sizeof *grid, compare_grid);
    for (int first = 0, end; status == WEFT_OK && first < count; first = end) {
        for (end = first; end < count && compare_words(&grid[first], &grid[end]) == 0; end++) {}
        status = look_at_grid(s, grid + first, end - first, numbers);
    }
    free(grid);
    free(numbers);
    return status;
}

/* ---- a switch absent from a row of names ---- */

struct row_name {
    const char *name;
    int prefix_bytes, digits;
    long number;
};

static bool split_row_name(const char *name, struct row_name *row)
{
    int bytes = (int)strlen(name), at = bytes;
    while (at > 0 && isdigit((unsigned char)name[at - 1]))
        at--;
    if (at == bytes || bytes - at > 6 || at == 0)
        return false;
    *row = (struct row_name){name, at, bytes - at, strtol(name + at, NULL, 10)};
    return true;
}

static int compare_prefixes(const struct row_name *x, const struct row_name *y)
{
    if (x->prefix_bytes != y->prefix_bytes)
        return x->prefix_bytes - y->prefix_bytes;
    return memcmp(x->name, y->name, (size_t)x->prefix_bytes);
}

static int compare_rows(const void *a, const void *b)
{
    const struct row_name *x = a, *y = b;
    int order = compare_prefixes(x, y);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

/* The gaps of one row; says nothing of rows that are numbered in steps. */
static void look_at_row(const struct row_name *row, int count, struct weft_sentence *sentence,
                        int *missing)
{
    int64_t gaps = (int64_t)row[count - 1].number - row[0].number + 1 - count;
    if (count < 3 || gaps < 1 || gaps * 3 > count)
        return;
    for (int i = 1; i < count; i++)
        for (long number = row[i - 1].number + 1; number < row[i].number; number++)
            if (++*missing <= MOST_NAMED)
                weft_sentence_add(sentence, "%s %.*s%0*ld", *missing > 1 ? "," : "",
                                  row[i].prefix_bytes > PART_BYTES ? PART_BYTES
                                                                   : row[i].prefix_bytes,
                                  row[i].name, row[i].digits, number);
}

weft_status weft_find_missing_spine(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, missing = 0, spines = weft_topology_count(t, WEFT_NODE_SPINE);
    int64_t lost = 0;
    struct weft_sentence names = {""};
    if (spines < 3)
        return WEFT_OK;
    struct row_name *rows = malloc((size_t)spines * sizeof *rows);
    if (!rows)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    for (int i = 0; i < t->num_nodes; i++)
        count +=
            t->nodes[i].kind == WEFT_NODE_SPINE && split_row_name(t->nodes[i].name, &rows[count]);
    qsort(rows, (size_t)count, sizeof *rows, compare_rows);
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && compare_prefixes(&rows[first], &rows[end]) == 0; end++) {}
        look_at_row(rows + first, end - first, &names, &missing);
    }
    free(rows);
    if (missing == 0)
        return WEFT_OK;
    WEFT_TRY(weft_search_loss_without_spines(s, missing, &lost));
    return weft_search_say(s, WEFT_SEVERITY_WARNING, lost,
                           "%d spine switch%s absent from a row of names:%s%s.", missing,
                           missing > 1 ? "es are" : " is", names.text,
                           missing > MOST_NAMED ? " and others" : "");
}
