/*
 * SPDX-License-Identifier: Apache-2.0
 * Circles found on the graph. Within a box of direct links: circles over links alone, as many as
 * its links carry. Across boxes: circles that leave a box by one NIC and enter the next by the NIC
 * of the same rail, so that together they use all NICs. What one circle carries decides its weight.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_RINGS_H
#define WEFT_COLLECTIVES_PLANNER_RINGS_H

#include "collectives/planner/layout.h"
#include "collectives/planner/survey.h"

/* Gives `layout`, which was made of `survey`, its circles; none where one circle in the order of
 * the layout is as good. Errors: OUT_OF_MEMORY. */
weft_status weft_rings_find(const struct weft_survey *survey, struct weft_layout *layout,
                            struct weft_error *error);

/* ---- rings_box.c: ways through one box ---- */

enum { WEFT_BOX_LIMIT = 32, WEFT_BOX_WORK = 1 << 17 };

/* What is left of the direct links between the ranks of a box, by their places. */
struct weft_box {
    int num_ranks;
    int64_t left[WEFT_BOX_LIMIT * WEFT_BOX_LIMIT]; // [from * num_ranks + to] bytes per second
};

/* A way from `from` to `to` that visits every rank once, over arcs with `rate` left; to == -1: a
 * circle back to `from`. False: there is none, or it was not found in `*work` steps, which are
 * taken from it. */
bool weft_box_find(const struct weft_box *box, int from, int to, int64_t rate, int64_t *work,
                   int *path);
/* Takes `rate` from the arcs of a path that have so much. */
void weft_box_take(struct weft_box *box, const int *path, bool is_circle, int64_t rate);
/* The largest figure below `rate` that any arc has left; 0: none. */
int64_t weft_box_next_rate(const struct weft_box *box, int64_t rate);

/* ---- rings_price.c ---- */

/* Hops of circles that all run at once, as far as looked: those of the first boxes of a circle and
 * of its last ones. Errors: OUT_OF_MEMORY. */
weft_status weft_rings_price(const struct weft_survey *survey, const struct weft_layout *layout,
                             int box_level, int num_rings, const int *order, const int *weight,
                             struct weft_ring_hops *hops, struct weft_error *error);

#endif
