/*
 * SPDX-License-Identifier: Apache-2.0
 * See layout.h.
 */
#include "collectives/planner/layout.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/forests.h"
#include "collectives/planner/tuned.h"
#include "topology/network.h"

static weft_status allocate(int num_ranks, const struct weft_costs *costs,
                            struct weft_layout **layout, struct weft_error *error)
{
    struct weft_layout *made = calloc(1, sizeof *made);
    bool is_made = made && (made->forests = weft_forests_create());
    size_t count = (size_t)num_ranks;
    for (int l = 0; is_made && l < costs->num_levels; l++) {
        struct weft_groups *groups = &made->levels[l];
        groups->of_rank = calloc(count, sizeof *groups->of_rank);
        groups->members = calloc(count, sizeof *groups->members);
        groups->place = calloc(count, sizeof *groups->place);
        groups->first = calloc(count + 1, sizeof *groups->first);
        is_made = groups->of_rank && groups->members && groups->place && groups->first;
    }
    if (!is_made) {
        weft_layout_destroy(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout of %d ranks",
                         num_ranks);
    }
    made->num_ranks = num_ranks;
    made->costs = *costs;
    *layout = made;
    return WEFT_OK;
}

static void release(struct weft_groups *groups)
{
    free(groups->of_rank);
    free(groups->members);
    free(groups->place);
    free(groups->first);
}

static void release_rings(struct weft_rings *rings)
{
    free(rings->order);
    free(rings->place);
    free(rings->weight);
    free(rings->hops);
    *rings = (struct weft_rings){0};
}

void weft_layout_destroy(struct weft_layout **layout)
{
    if (!*layout)
        return;
    for (int l = 0; l < WEFT_LEVELS_LIMIT; l++)
        release(&(*layout)->levels[l]);
    release_rings(&(*layout)->rings);
    weft_network_destroy(&(*layout)->network);
    weft_forests_destroy(&(*layout)->forests);
    weft_tuned_free(&(*layout)->tuned);
    free(*layout);
    *layout = NULL;
}

// A rank and the names of its groups, from the outermost in.
struct sorted {
    int rank;
    int names[WEFT_LEVELS_LIMIT];
};

static int by_name(const void *a, const void *b)
{
    const struct sorted *left = a, *right = b;
    for (int i = 0; i < WEFT_LEVELS_LIMIT; i++)
        if (left->names[i] != right->names[i])
            return left->names[i] < right->names[i] ? -1 : 1;
    return left->rank < right->rank ? -1 : left->rank > right->rank;
}

// Replaces names by the lowest rank of the group, so that groups stand in the order of their first
// ranks. `names` is an array over ranks.
static void number(const int *names, int num_ranks, struct sorted *work, int *numbers)
{
    for (int r = 0; r < num_ranks; r++) {
        memset(&work[r], 0, sizeof work[r]);
        work[r].rank = r;
        work[r].names[0] = names[r];
    }
    qsort(work, (size_t)num_ranks, sizeof *work, by_name);
    for (int i = 0, lowest = 0; i < num_ranks; i++) {
        if (i == 0 || work[i].names[0] != work[i - 1].names[0])
            lowest = work[i].rank;
        numbers[work[i].rank] = lowest;
    }
}

// The groups of level `level`, from ranks sorted by the names of their groups.
static void fill(struct weft_layout *layout, int level, const struct sorted *sorted)
{
    struct weft_groups *groups = &layout->levels[level];
    int num_names = layout->costs.num_levels - 1 - level; // that tell groups of this level apart
    groups->smallest = layout->num_ranks;
    for (int i = 0; i < layout->num_ranks; i++) {
        int rank = sorted[i].rank;
        bool is_new = i == 0;
        for (int n = 0; i > 0 && n < num_names; n++)
            is_new |= sorted[i].names[n] != sorted[i - 1].names[n];
        if (is_new)
            groups->first[groups->num_groups++] = i;
        groups->of_rank[rank] = groups->num_groups - 1;
        groups->place[rank] = i - groups->first[groups->num_groups - 1];
        groups->members[i] = rank;
    }
    groups->first[groups->num_groups] = layout->num_ranks;
    for (int g = 0; g < groups->num_groups; g++) {
        int size = groups->first[g + 1] - groups->first[g];
        groups->smallest = size < groups->smallest ? size : groups->smallest;
        groups->largest = size > groups->largest ? size : groups->largest;
    }
}

// Ranks of one group at one level are together at the next.
static weft_status check_nesting(const int *const *group_of, int num_levels,
                                 const struct sorted *sorted, int num_ranks,
                                 struct weft_error *error)
{
    for (int l = 0; l + 2 < num_levels; l++)
        for (int i = 1; i < num_ranks; i++) {
            int lowest = sorted[i].names[num_levels - 2 - l];
            if (group_of[l + 1][lowest] != group_of[l + 1][sorted[i].rank])
                return weft_fail(error, WEFT_INVALID_ARGUMENT,
                                 "ranks %d and %d share a group of level %d, but none of level %d",
                                 lowest, sorted[i].rank, l, l + 1);
        }
    return WEFT_OK;
}

// Levels whose groups are those of the level below join nobody.
static void drop_idle_levels(struct weft_layout *layout)
{
    int num_kept = 0, num_groups = layout->num_ranks, num_levels = layout->costs.num_levels;
    for (int l = 0; l < num_levels; l++) {
        bool is_only = num_kept == 0 && l == num_levels - 1;
        struct weft_groups groups = layout->levels[l];
        layout->levels[l] = (struct weft_groups){0};
        if (groups.num_groups == num_groups && !is_only) {
            release(&groups);
            continue;
        }
        num_groups = groups.num_groups;
        layout->costs.levels[num_kept] = layout->costs.levels[l];
        layout->levels[num_kept++] = groups;
    }
    layout->costs.num_levels = num_kept;
}

static weft_status sort_ranks(struct weft_layout *layout, const int *const *group_of,
                              struct sorted *sorted, struct sorted *work, int *numbers,
                              struct weft_error *error)
{
    int num_levels = layout->costs.num_levels, n = layout->num_ranks;
    for (int r = 0; r < n; r++) {
        memset(&sorted[r], 0, sizeof sorted[r]);
        sorted[r].rank = r;
    }
    for (int l = 0; l < num_levels - 1; l++) {
        number(group_of[l], n, work, numbers);
        for (int r = 0; r < n; r++)
            sorted[r].names[num_levels - 2 - l] = numbers[r];
    }
    WEFT_TRY(check_nesting(group_of, num_levels, sorted, n, error));
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    layout->is_in_order = true;
    for (int i = 0; i < n; i++)
        layout->is_in_order &= sorted[i].rank == i;
    for (int l = 0; l < num_levels; l++)
        fill(layout, l, sorted);
    drop_idle_levels(layout);
    return WEFT_OK;
}

weft_status weft_layout_create(int num_ranks, const struct weft_costs *costs,
                               const int *const *group_of, struct weft_layout **layout,
                               struct weft_error *error)
{
    struct weft_layout *made = NULL;
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    WEFT_TRY(weft_costs_check(costs, error));
    WEFT_TRY(allocate(num_ranks, costs, &made, error));
    struct sorted *sorted = calloc(2 * (size_t)num_ranks, sizeof *sorted);
    int *numbers = calloc((size_t)num_ranks, sizeof *numbers);
    weft_status status = WEFT_OK;
    if (!sorted || !numbers)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    if (status == WEFT_OK)
        status = sort_ranks(made, group_of, sorted, sorted + num_ranks, numbers, error);
    free(sorted);
    free(numbers);
    if (status != WEFT_OK) {
        weft_layout_destroy(&made);
        return status;
    }
    *layout = made;
    return WEFT_OK;
}

// Each level out is four times as slow to start, and twice as slow to move bytes.
weft_status weft_layout_assumed(int num_ranks, int group, int groups, struct weft_layout **layout,
                                struct weft_error *error)
{
    struct weft_costs costs = weft_costs_assumed(num_ranks, 0);
    int64_t sizes[] = {group < 2 ? 1 : group, group < 2 ? 1 : group};
    sizes[1] *= groups < 2 ? 1 : groups;
    int *names = num_ranks < 1 ? NULL : malloc(2 * (size_t)num_ranks * sizeof *names);
    if (num_ranks >= 1 && !names)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    const int *group_of[] = {names, names + num_ranks};
    for (int l = 0; l < 2; l++)
        for (int r = 0; r < num_ranks; r++)
            names[l * num_ranks + r] = (int)(r / sizes[l]);
    for (; costs.num_levels < 3; costs.num_levels++) {
        struct weft_level_costs *level = &costs.levels[costs.num_levels];
        *level = level[-1];
        level->message.lines[0].fixed_ps *= 4;
        level->message.lines[0].ps_per_mib *= 2;
        level->crowd_ps_per_mib = 2 * level->message.lines[0].ps_per_mib;
    }
    weft_status status = weft_layout_create(num_ranks, &costs, group_of, layout, error);
    free(names);
    return status;
}

// Places of ranks in circles; a rank that is missing leaves its place at -1.
static weft_status find_places(struct weft_rings *rings, int num_ranks, struct weft_error *error)
{
    size_t n = (size_t)num_ranks;
    for (size_t i = 0; i < n * (size_t)rings->num_rings; i++)
        rings->place[i] = -1;
    for (size_t i = 0; i < n * (size_t)rings->num_rings; i++) {
        int rank = rings->order[i], *place = rings->place + i / n * n;
        if (rank < 0 || rank >= num_ranks || place[rank] >= 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "circle %zu: rank %d of %d, or twice",
                             i / n, rank, num_ranks);
        place[rank] = (int)(i % n);
    }
    return WEFT_OK;
}

weft_status weft_layout_set_rings(struct weft_layout *layout, int num_rings, const int *order,
                                  const int *weight, const struct weft_ring_hops *hops,
                                  struct weft_error *error)
{
    struct weft_rings made = {.num_rings = num_rings};
    for (int c = 0; c < num_rings; c++) {
        if (weight[c] < 1 || weight[c] > WEFT_RINGS_WEIGHT - made.total_weight)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "circle %d of weight %d: at most %d", c,
                             weight[c], WEFT_RINGS_WEIGHT);
        made.total_weight += weight[c];
    }
    if (num_rings < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d circles", num_rings);
    size_t count = (size_t)num_rings, all = count * (size_t)layout->num_ranks;
    made.order = malloc(all * sizeof *made.order);
    made.place = malloc(all * sizeof *made.place);
    made.weight = malloc(count * sizeof *made.weight);
    made.hops = malloc(count * sizeof *made.hops);
    weft_status status = WEFT_OK;
    if (!made.order || !made.place || !made.weight || !made.hops)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for circles");
    if (status == WEFT_OK) {
        memcpy(made.order, order, all * sizeof *made.order);
        memcpy(made.weight, weight, count * sizeof *made.weight);
        memcpy(made.hops, hops, count * sizeof *made.hops);
        status = find_places(&made, layout->num_ranks, error);
    }
    release_rings(status == WEFT_OK ? &layout->rings : &made);
    if (status == WEFT_OK)
        layout->rings = made;
    return status;
}

int weft_layout_block_level(const struct weft_layout *layout, int64_t span)
{
    int level = 0;
    for (; level < weft_layout_top(layout); level++) {
        const struct weft_groups *groups = &layout->levels[level];
        if (layout->is_in_order && groups->smallest == groups->largest &&
            groups->largest % span == 0)
            break;
    }
    return level;
}

static weft_status check_ranks(const struct weft_layout *layout, const int *ranks, int num_ranks,
                               struct weft_error *error)
{
    char *seen = calloc((size_t)layout->num_ranks, 1);
    if (!seen)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    weft_status status = WEFT_OK;
    for (int i = 0; i < num_ranks && status == WEFT_OK; i++) {
        if (ranks[i] < 0 || ranks[i] >= layout->num_ranks || seen[ranks[i]])
            status = weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d of %d, or twice", ranks[i],
                               layout->num_ranks);
        else
            seen[ranks[i]] = 1;
    }
    free(seen);
    return status;
}

weft_status weft_layout_select(const struct weft_layout *layout, const int *ranks, int num_ranks,
                               struct weft_layout **selected, struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    WEFT_TRY(check_ranks(layout, ranks, num_ranks, error));
    int *names = malloc((size_t)num_ranks * WEFT_LEVELS_LIMIT * sizeof *names);
    if (!names)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    const int *group_of[WEFT_LEVELS_LIMIT];
    for (int l = 0; l < layout->costs.num_levels; l++) {
        int *of = names + (size_t)l * (size_t)num_ranks;
        for (int i = 0; i < num_ranks; i++)
            of[i] = layout->levels[l].of_rank[ranks[i]];
        group_of[l] = of;
    }
    struct weft_layout *made = NULL;
    bool is_same = num_ranks == layout->num_ranks;
    for (int i = 0; i < num_ranks; i++)
        is_same &= ranks[i] == i;
    weft_status status = weft_layout_create(num_ranks, &layout->costs, group_of, &made, error);
    free(names);
    if (status == WEFT_OK && is_same)
        status = weft_tuned_copy(layout->tuned, &made->tuned, error);
    if (status == WEFT_OK)
        *selected = made;
    else
        weft_layout_destroy(&made);
    return status;
}
