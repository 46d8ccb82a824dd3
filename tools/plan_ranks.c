/*
 * SPDX-License-Identifier: Apache-2.0
 * See plan_ranks.h.
 */
#include "tools/plan_ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "topology/route.h"

// "3" or "3-7" or "7-3", appended.
static weft_status add_range(char *text, struct weft_plan_ranks *ranks, int *room,
                             struct weft_error *error)
{
    int64_t first, last;
    char *dash = strchr(text, '-');
    if (dash)
        *dash = 0;
    WEFT_TRY(weft_parse_integer(text, 0, WEFT_PLAN_RANKS_LIMIT - 1, &first, error));
    last = first;
    if (dash)
        WEFT_TRY(weft_parse_integer(dash + 1, 0, WEFT_PLAN_RANKS_LIMIT - 1, &last, error));
    int64_t step = first <= last ? 1 : -1, count = (last - first) * step + 1;
    if (count > WEFT_PLAN_RANKS_LIMIT - ranks->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "more than %d ranks", WEFT_PLAN_RANKS_LIMIT);
    if (ranks->num_ranks + count > *room) {
        *room = 2 * (ranks->num_ranks + (int)count);
        int *places = realloc(ranks->places, (size_t)*room * sizeof *places);
        if (!places)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ranks");
        ranks->places = places;
    }
    for (int64_t i = 0; i < count; i++)
        ranks->places[ranks->num_ranks++] = (int)(first + i * step);
    return WEFT_OK;
}

static weft_status refuse_twins(const struct weft_plan_ranks *ranks, struct weft_error *error)
{
    char *seen = calloc(WEFT_PLAN_RANKS_LIMIT, 1);
    weft_status status = WEFT_OK;
    if (!seen)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ranks");
    for (int r = 0; r < ranks->num_ranks && status == WEFT_OK; r++)
        if (seen[ranks->places[r]]++)
            status = weft_fail(error, WEFT_INVALID_ARGUMENT, "place %d holds two ranks",
                               ranks->places[r]);
    free(seen);
    return status;
}

weft_status weft_plan_ranks_parse(const char *text, struct weft_plan_ranks *ranks,
                                  struct weft_error *error)
{
    struct weft_plan_ranks made = {0};
    int room = 0;
    if (!strpbrk(text, ",-")) {
        int64_t count;
        WEFT_TRY(weft_parse_integer(text, 1, WEFT_PLAN_RANKS_LIMIT, &count, error));
        *ranks = (struct weft_plan_ranks){.num_ranks = (int)count};
        return WEFT_OK;
    }
    char *copy = strdup(text), *rest = copy, *range;
    weft_status status = WEFT_OK;
    if (!copy)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ranks");
    while (status == WEFT_OK && (range = strsep(&rest, ",")))
        status = add_range(range, &made, &room, error);
    if (status == WEFT_OK)
        status = refuse_twins(&made, error);
    free(copy);
    if (status != WEFT_OK) {
        weft_plan_ranks_free(&made);
        return status;
    }
    *ranks = made;
    return WEFT_OK;
}

void weft_plan_ranks_free(struct weft_plan_ranks *ranks)
{
    free(ranks->places);
    *ranks = (struct weft_plan_ranks){0};
}

int weft_plan_ranks_places(const struct weft_topology *topology)
{
    int best = 0, count = 0;
    for (int i = 0; i < topology->num_nodes; i++) {
        int can = weft_node_kinds[topology->nodes[i].kind].can_hold_ranks;
        if (can > best)
            count = 0;
        best = can > best ? can : best;
        count += can > 0 && can == best;
    }
    return count;
}

weft_status weft_plan_ranks_nodes(const struct weft_plan_ranks *ranks,
                                  const struct weft_topology *topology, int **nodes,
                                  struct weft_error *error)
{
    int num_ranks = ranks->num_ranks, num_places = weft_plan_ranks_places(topology);
    for (int r = 0; ranks->places && r < num_ranks; r++)
        if (ranks->places[r] >= num_places)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no place %d among %d",
                             ranks->places[r], num_places);
    int num_found = ranks->places ? num_places : num_ranks;
    int *made = malloc(((size_t)num_ranks + (size_t)num_found) * sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ranks");
    int *found = made + num_ranks;
    weft_status status = weft_topology_place(topology, num_found, found, error);
    for (int r = 0; status == WEFT_OK && r < num_ranks; r++)
        made[r] = found[ranks->places ? ranks->places[r] : r];
    if (status != WEFT_OK) {
        free(made);
        return status;
    }
    *nodes = made;
    return WEFT_OK;
}

weft_status weft_plan_ranks_layout(const struct weft_plan_ranks *ranks,
                                   const struct weft_topology *topology,
                                   struct weft_layout **layout, struct weft_layout_origin *origin,
                                   struct weft_error *error)
{
    int *nodes = NULL;
    WEFT_TRY(weft_plan_ranks_nodes(ranks, topology, &nodes, error));
    weft_status status =
        weft_layout_from_nodes(topology, nodes, ranks->num_ranks, layout, origin, error);
    free(nodes);
    return status;
}
