/*
 * SPDX-License-Identifier: Apache-2.0
 * How long trees wait for one another on the channels that they share; see forests_private.h. The
 * turns of all ranks are walked through once: those of one depth, tree by tree, then the next.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/forests_private.h"

struct queue {
    const struct weft_layout *layout;
    const struct weft_forest *forest;
    int *trees; // on the channel
    int num_trees;
    int *depths;                     // (trees of the channel, ranks)
    struct weft_forest_way *arrived; // (trees of the channel, ranks) when a rank has what it needs
    struct weft_forest_way *free;    // (ranks) when its channel comes to the next tree
    int deepest;
};

static void be_later(struct weft_forest_way *way, const struct weft_forest_way *other)
{
    if (other->latency_ps > way->latency_ps)
        *way = *other;
}

static const struct weft_forest_edge *edges_of(const struct queue *queue, int tree)
{
    return &queue->forest->edges[queue->forest->trees[queue->trees[tree]].first_edge];
}

static void find_depths(struct queue *queue)
{
    int n = queue->forest->num_terminals;
    queue->deepest = 0;
    for (int t = 0; t < queue->num_trees; t++) {
        const struct weft_forest_edge *edges = edges_of(queue, t);
        int *depths = &queue->depths[(size_t)t * (size_t)n];
        depths[queue->forest->trees[queue->trees[t]].root] = 0;
        for (int e = 0; e + 1 < n; e++) {
            depths[edges[e].to] = depths[edges[e].from] + 1;
            if (depths[edges[e].to] > queue->deepest)
                queue->deepest = depths[edges[e].to];
        }
    }
}

// The turn of all ranks at one depth of one tree: they begin when what they need is there and the
// channel is theirs, and what they send arrives a hop later.
static void take_turn(struct queue *queue, int tree, int depth, bool goes_up)
{
    int n = queue->forest->num_terminals;
    const struct weft_forest_edge *edges = edges_of(queue, tree);
    const int *depths = &queue->depths[(size_t)tree * (size_t)n];
    struct weft_forest_way *arrived = &queue->arrived[(size_t)tree * (size_t)n];
    for (int rank = 0; rank < n; rank++)
        if (depths[rank] == depth) {
            be_later(&queue->free[rank], &arrived[rank]);
            arrived[rank] = queue->free[rank];
        }
    for (int e = 0; e + 1 < n; e++) {
        int from = goes_up ? edges[e].to : edges[e].from,
            to = goes_up ? edges[e].from : edges[e].to;
        if (depths[from] != depth)
            continue;
        struct weft_forest_way way =
            weft_forests_step(queue->layout, arrived[from],
                              weft_forests_hop(queue->layout, queue->forest, &edges[e]));
        be_later(&arrived[to], &way);
    }
}

static void walk(struct queue *queue, bool goes_up, struct weft_forest_way *slowest)
{
    size_t n = (size_t)queue->forest->num_terminals;
    memset(queue->free, 0, n * sizeof *queue->free);
    memset(queue->arrived, 0, (size_t)queue->num_trees * n * sizeof *queue->arrived);
    find_depths(queue);
    for (int stamp = 0; stamp <= queue->deepest; stamp++)
        for (int t = 0; t < queue->num_trees; t++)
            take_turn(queue, t, goes_up ? queue->deepest - stamp : stamp, goes_up);
    for (size_t rank = 0; rank < n; rank++)
        be_later(slowest, &queue->free[rank]);
}

bool weft_forests_queue(const struct weft_layout *layout, const struct weft_forest *forest,
                        const uint16_t *channels, bool goes_up, struct weft_forest_way *slowest)
{
    if (!forest)
        return true;
    size_t n = (size_t)forest->num_terminals, most = 0, count[WEFT_FOREST_CHANNELS] = {0};
    for (int t = 0; t < forest->num_trees; t++)
        if (++count[channels[t]] > most)
            most = count[channels[t]];
    struct queue queue = {.layout = layout,
                          .forest = forest,
                          .trees = calloc(most, sizeof *queue.trees),
                          .depths = calloc(most * n, sizeof *queue.depths),
                          .arrived = calloc(most * n, sizeof *queue.arrived),
                          .free = calloc(n, sizeof *queue.free)};
    bool has_memory = queue.trees && queue.depths && queue.arrived && queue.free;
    for (int c = 0; has_memory && c < WEFT_FOREST_CHANNELS; c++) {
        queue.num_trees = 0;
        for (int t = 0; t < forest->num_trees; t++)
            if (channels[t] == c)
                queue.trees[queue.num_trees++] = t;
        if (queue.num_trees > 0)
            walk(&queue, goes_up, slowest);
    }
    free(queue.trees);
    free(queue.depths);
    free(queue.arrived);
    free(queue.free);
    return has_memory;
}
