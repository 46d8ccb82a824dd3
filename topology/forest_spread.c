/*
 * SPDX-License-Identifier: Apache-2.0
 * Which pairs of arcs at a switch to split off: see forest_splitter.h. What comes from a box goes
 * to all others in proportion, from a member to the member of the same place, so that there is one
 * hop to any box and few arcs.
 */
#include "topology/forest_splitter.h"

#include <stdlib.h>

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a forest");
}

static weft_status propose(struct weft_forest_splitter *s, int u, int t, int64_t amount,
                           struct weft_error *error)
{
    if (amount > s->in[u])
        amount = s->in[u];
    if (amount > s->out[t])
        amount = s->out[t];
    if (amount <= 0 || s->is_at_limit[(size_t)u * (size_t)s->n + (size_t)t])
        return WEFT_OK;
    if (s->num_proposals == s->room) {
        int room = s->room ? 2 * s->room : 256;
        struct weft_forest_proposal *proposals =
            realloc(s->proposals, (size_t)room * sizeof *proposals);
        if (!proposals)
            return no_memory(error);
        s->proposals = proposals;
        s->room = room;
    }
    s->proposals[s->num_proposals++] = (struct weft_forest_proposal){u, t, amount, 0};
    s->in[u] -= amount;
    s->out[t] -= amount;
    return WEFT_OK;
}

static int root_of(int *box, int v)
{
    while (box[v] != v)
        v = box[v] = box[box[v]];
    return v;
}

// Everything that no such arc joins is alone.
void weft_forest_find_boxes(struct weft_forest_splitter *s)
{
    int num_terminals = s->split->num_terminals;
    const int64_t *plain = s->plain;
    int64_t strongest = 0;
    for (int v = 0; v < s->n; v++)
        s->box[v] = v;
    for (int v = 0; v < num_terminals; v++) {
        strongest = s->in[v] > strongest ? s->in[v] : strongest;
        strongest = s->out[v] > strongest ? s->out[v] : strongest;
    }
    for (int v = 0; v < num_terminals && strongest > 0; v++)
        for (int u = 0; u < s->n; u++)
            if (plain[(size_t)v * (size_t)s->n + (size_t)u] > strongest) {
                int x = root_of(s->box, v), y = root_of(s->box, u);
                s->box[x > y ? x : y] = x < y ? x : y;
            }
    for (int v = 0; v < s->n; v++)
        s->box[v] = root_of(s->box, v);
}

/* Neighbours below `limit`, box by box, into members and box_first; returns how many boxes. */
static int list_members(struct weft_forest_splitter *s, int limit, bool alone)
{
    int count = 0, boxes = 0;
    for (int b = 0; b < s->n; b++) {
        int before = count;
        for (int v = 0; v < limit; v++)
            if ((alone || v >= s->split->num_terminals ? v : s->box[v]) == b &&
                (s->in[v] > 0 || s->out[v] > 0))
                s->members[count++] = v;
        if (count > before)
            s->box_first[boxes++] = before;
    }
    s->box_first[boxes] = count;
    return boxes;
}

/* From the member of place `place` in a box of `size` to box `other`: to the member of the same
 * place, to several where that box is larger. */
static weft_status spread_to_box(struct weft_forest_splitter *s, int u, int place, int size,
                                 int other, int64_t amount, struct weft_error *error)
{
    const int *members = &s->members[s->box_first[other]];
    int other_size = s->box_first[other + 1] - s->box_first[other], first = place % other_size;
    int count = place < other_size ? (other_size - place + size - 1) / size : 1;
    for (int i = 0; i < count; i++) {
        int64_t share = amount / count + (i < amount % count);
        WEFT_TRY(propose(s, u, members[first + i * size], share, error));
    }
    return WEFT_OK;
}

/* Into s->chosen: the other boxes that u, of box b, has least capacity to by now, in turn from b
 * on; returns how many. */
static int choose_boxes(struct weft_forest_splitter *s, int u, int b, int boxes)
{
    int64_t least = INT64_MAX;
    int count = 0;
    for (int d = 1; d < boxes; d++) {
        int o = (b + d) % boxes;
        int64_t capacity = 0;
        for (int i = s->box_first[o]; i < s->box_first[o + 1]; i++)
            capacity += *weft_forest_capacity(s->split, u, s->members[i]);
        if (s->box_out[o] == 0 || capacity > least)
            continue;
        if (capacity < least)
            count = 0;
        least = capacity;
        s->chosen[count++] = o;
    }
    return count;
}

static int compare_shares(const void *a, const void *b)
{
    const struct weft_forest_share *x = a, *y = b;
    if (x->remainder != y->remainder)
        return x->remainder > y->remainder ? -1 : 1;
    return (x->turn > y->turn) - (x->turn < y->turn);
}

/* Each neighbour sends to such boxes as evenly as their shares of the switch and whole numbers go
 * (largest remainders, in turn where equal): one hop to any box, and few arcs. */
static weft_status spread_from(struct weft_forest_splitter *s, int b, int place, int boxes,
                               struct weft_error *error)
{
    int u = s->members[s->box_first[b] + place], size = s->box_first[b + 1] - s->box_first[b];
    int count = choose_boxes(s, u, b, boxes);
    int64_t in = s->in[u], rest = in, others = 0;
    for (int c = 0; c < count; c++)
        others += s->box_out[s->chosen[c]];
    for (int c = 0; c < count; c++) {
        __int128 product = (__int128)in * s->box_out[s->chosen[c]];
        s->shares[c] = (struct weft_forest_share){.box = s->chosen[c],
                                                  .turn = (c + place) % count,
                                                  .amount = (int64_t)(product / others),
                                                  .remainder = (int64_t)(product % others)};
        rest -= s->shares[c].amount;
    }
    if (count > 0)
        qsort(s->shares, (size_t)count, sizeof *s->shares, compare_shares);
    for (int c = 0; c < count; c++)
        WEFT_TRY(spread_to_box(s, u, place, size, s->shares[c].box,
                               s->shares[c].amount + (c < rest), error));
    return WEFT_OK;
}

static weft_status spread_over(struct weft_forest_splitter *s, int boxes, struct weft_error *error)
{
    for (int b = 0; b < boxes; b++) {
        s->box_out[b] = 0;
        for (int i = s->box_first[b]; i < s->box_first[b + 1]; i++)
            s->box_out[b] += s->out[s->members[i]];
    }
    for (int b = 0; b < boxes; b++)
        for (int place = 0; place < s->box_first[b + 1] - s->box_first[b]; place++)
            WEFT_TRY(spread_from(s, b, place, boxes, error));
    return WEFT_OK;
}

weft_status weft_forest_spread(struct weft_forest_splitter *s, struct weft_error *error)
{
    int num_terminals = s->split->num_terminals;
    int boxes = list_members(s, num_terminals, false);
    if (boxes >= 2) {
        bool has_switches = false;
        for (int v = num_terminals; v < s->n; v++)
            has_switches = has_switches || s->in[v] > 0 || s->out[v] > 0;
        s->split->has_tiers = s->split->has_tiers || has_switches;
        if (has_switches && s->upwards)
            boxes = list_members(s, s->n, false);
        return spread_over(s, boxes, error);
    }
    boxes = list_members(s, num_terminals, true);
    if (boxes < 2)
        boxes = list_members(s, s->n, true);
    return boxes < 2 ? WEFT_OK : spread_over(s, boxes, error);
}

weft_status weft_forest_propose_rest(struct weft_forest_splitter *s, struct weft_error *error)
{
    for (int round = 0; round < 3; round++)
        for (int u = 0; u < s->n; u++)
            for (int d = 1; d <= s->n && s->in[u] > 0; d++) {
                int t = (u + d) % s->n;
                int kind = u == t ? 2 : s->box[u] == s->box[t];
                if (kind == round)
                    WEFT_TRY(propose(s, u, t, s->in[u], error));
            }
    return WEFT_OK;
}
