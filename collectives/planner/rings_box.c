/*
 * SPDX-License-Identifier: Apache-2.0
 * Hamiltonian ways in a box; see rings.h. Depth first with a bound on the work; of the ways onward
 * the rank with the fewest ways left comes first, for it is the likeliest to be cut off.
 */
#include "collectives/planner/rings.h"

struct search {
    const struct weft_box *box;
    int from, to;
    int64_t rate;
    uint32_t free; // bit per rank that is not on the path yet
    int *path;
    int64_t work;
};

static bool joins(const struct search *s, int a, int b)
{
    return s->box->left[a * s->box->num_ranks + b] >= s->rate;
}

static int ways_on(const struct search *s, int rank)
{
    int count = 0;
    for (int i = 0; i < s->box->num_ranks; i++)
        count += (s->free >> i & 1) && joins(s, rank, i);
    return count;
}

// Free ranks after `rank`, by ways left, then by number.
static int list_next(const struct search *s, int rank, int *list)
{
    int count = 0, ways[WEFT_BOX_LIMIT];
    for (int i = 0; i < s->box->num_ranks; i++) {
        if (!(s->free >> i & 1) || !joins(s, rank, i))
            continue;
        int own = ways_on(s, i), at = count++;
        for (; at > 0 && ways[at - 1] > own; at--) {
            ways[at] = ways[at - 1];
            list[at] = list[at - 1];
        }
        ways[at] = own;
        list[at] = i;
    }
    return count;
}

static bool go_on(struct search *s, int length)
{
    int last = s->path[length - 1], next[WEFT_BOX_LIMIT];
    if (length == s->box->num_ranks)
        return s->to >= 0 ? last == s->to : joins(s, last, s->from);
    if (last == s->to || --s->work < 0)
        return false;
    int count = list_next(s, last, next);
    for (int i = 0; i < count && s->work >= 0; i++) {
        s->path[length] = next[i];
        s->free &= ~(UINT32_C(1) << next[i]);
        if (go_on(s, length + 1))
            return true;
        s->free |= UINT32_C(1) << next[i];
    }
    return false;
}

bool weft_box_find(const struct weft_box *box, int from, int to, int64_t rate, int64_t *work,
                   int *path)
{
    uint32_t all = box->num_ranks < 32 ? (UINT32_C(1) << box->num_ranks) - 1 : UINT32_MAX;
    struct search search = {box, from, to, rate, all & ~(UINT32_C(1) << from), path, *work};
    path[0] = from;
    bool is_found = rate > 0 && go_on(&search, 1);
    *work = search.work > 0 ? search.work : 0;
    return is_found;
}

void weft_box_take(struct weft_box *box, const int *path, bool is_circle, int64_t rate)
{
    int n = box->num_ranks;
    for (int i = 0; i < (is_circle ? n : n - 1); i++) {
        int64_t *left = &box->left[path[i] * n + path[(i + 1) % n]];
        *left -= *left < rate ? *left : rate;
    }
}

int64_t weft_box_next_rate(const struct weft_box *box, int64_t rate)
{
    int64_t next = 0;
    for (int i = 0; i < box->num_ranks * box->num_ranks; i++)
        if (box->left[i] < rate && box->left[i] > next)
            next = box->left[i];
    return next;
}
