/*
 * SPDX-License-Identifier: Apache-2.0
 * Links as lines. Links of one kind between the same two boxes are one line. Lines to what a box
 * contains drop from its strip; neighbours are joined by arcs, devices below and processors above,
 * longer arcs outside shorter ones; everything else runs from an upper to a lower edge. The ends
 * at one edge are spread in the order of the other ends, so that lines of one box do not cross.
 */
#include <stdlib.h>

#include "topology/draw_private.h"
#include "topology/findings.h"

struct piece { // a link in one of the two parts of the drawing
    int from, to;
    int kind; // and whether one way
    int link;
};

struct end {
    int box;
    int edge; // 0: upper, 1: lower
    int key;  // from left to right
    int line;
    bool is_second;
};

enum { ARC = 1000000 }; // beyond every x

/* ---- 1. bundles ---- */

/* Cells are too small for lines of their own, but for NICs, which lie at the edge of a host. */
static int line_end(const struct weft_drawing *d, int box)
{
    bool is_cell = d->boxes[box].style == WEFT_DRAW_CELL;
    bool is_nic = d->topology->nodes[d->boxes[box].node].kind == WEFT_NODE_NIC;
    return is_cell && !is_nic ? d->boxes[box].parent : box;
}

static bool is_within(const struct weft_drawing *d, int box, int outer)
{
    while (box > outer)
        box = d->boxes[box].parent;
    return box == outer;
}

/* The boxes that a link joins in a part; false: it is not seen there. */
static bool find_ends(const struct weft_drawing *d, const struct weft_link *link, int inside,
                      int *from, int *to)
{
    const int *shown_by = inside ? d->inside_box : d->map_box;
    *from = shown_by[link->from];
    *to = shown_by[link->to];
    bool leaves = d->root[link->from] != d->root[link->to];
    if (inside && leaves && (*from < 0) != (*to < 0)) { // it goes on at a tag
        int *missing = *from < 0 ? from : to, near = *from < 0 ? *to : *from;
        *missing = d->boxes[near].tag;
    } else if (inside && leaves) {
        return false;
    }
    if (*from < 0 || *to < 0)
        return false;
    *from = line_end(d, *from);
    *to = line_end(d, *to);
    bool in_mini = d->boxes[*from].style == WEFT_DRAW_MINI ||
                   d->boxes[*to].style == WEFT_DRAW_MINI || d->boxes[*from].style == WEFT_DRAW_CELL;
    int outer_from = *from, outer_to = *to;
    while (in_mini && d->boxes[outer_from].parent >= 0)
        outer_from = d->boxes[outer_from].parent;
    while (in_mini && d->boxes[outer_to].parent >= 0)
        outer_to = d->boxes[outer_to].parent;
    return *from != *to && !(in_mini && outer_from == outer_to);
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->from != y->from)
        return x->from - y->from;
    if (x->to != y->to)
        return x->to - y->to;
    if (x->kind != y->kind)
        return x->kind - y->kind;
    return x->link - y->link;
}

/* Counts where `pieces` is NULL. Both insides of a link between two shown hosts end at tags. */
static int find_pieces(const struct weft_drawing *d, struct piece *pieces)
{
    const struct weft_topology *t = d->topology;
    int count = 0;
    for (int i = 0; i < t->num_links; i++)
        for (int inside = 0; inside < 2; inside++) {
            const struct weft_link *link = &t->links[i];
            int from, to;
            if (!find_ends(d, link, inside, &from, &to))
                continue;
            if (pieces) {
                bool swap = !link->one_way && from > to;
                pieces[count] = (struct piece){swap ? to : from, swap ? from : to,
                                               link->kind * 2 + link->one_way, i};
            }
            count++;
        }
    return count;
}

static bool is_same_line(const struct piece *a, const struct piece *b)
{
    return a->from == b->from && a->to == b->to && a->kind == b->kind;
}

/* By a tenth, as the findings see it. */
static bool is_slow(const struct weft_link *link)
{
    int64_t should = link->bandwidth.nominal.value, does = weft_link_observed(link);
    return should > 0 && does >= 0 && does < should - should / 10;
}

static void bundle(struct weft_drawing *d, const struct piece *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        const struct weft_link *link = &d->topology->links[pieces[i].link];
        struct weft_quantity bandwidth = weft_link_bandwidth(link);
        if (i == 0 || !is_same_line(&pieces[i], &pieces[i - 1]))
            d->lines[d->num_lines++] = (struct weft_draw_line){.from = pieces[i].from,
                                                               .to = pieces[i].to,
                                                               .kind = link->kind,
                                                               .one_way = link->one_way,
                                                               .assumed = true,
                                                               .first = i};
        struct weft_draw_line *line = &d->lines[d->num_lines - 1];
        line->count++;
        line->slow |= is_slow(link);
        if (bandwidth.source != WEFT_SOURCE_ASSUMED)
            line->assumed = false;
        line->bandwidth = bandwidth.value > INT64_MAX - line->bandwidth
                              ? INT64_MAX
                              : line->bandwidth + bandwidth.value;
        d->line_links[i] = pieces[i].link;
    }
    if (d->num_lines > WEFT_DRAW_MAX_LINES) {
        d->num_undrawn = d->num_lines - WEFT_DRAW_MAX_LINES;
        d->num_lines = WEFT_DRAW_MAX_LINES;
    }
    for (int i = 0; i < d->num_lines; i++)
        for (int side = 0; side < 2; side++) {
            struct weft_draw_box *box = &d->boxes[side ? d->lines[i].to : d->lines[i].from];
            bool fits = box->speed <= INT64_MAX - d->lines[i].bandwidth;
            if (d->lines[i].kind == WEFT_LINK_NETWORK && !d->lines[i].assumed && fits)
                box->speed += d->lines[i].bandwidth;
        }
}

/* ---- 2. ways ---- */

static int middle(const struct weft_draw_box *box)
{
    return box->x + box->width / 2;
}

static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

int weft_draw_bend_below(int distance)
{
    return clamp(18 + distance / 9, 18, 160);
}

static void choose_route(const struct weft_drawing *d, struct weft_draw_line *line, int twin)
{
    const struct weft_draw_box *a = &d->boxes[line->from], *b = &d->boxes[line->to];
    int outer = line->from < line->to ? line->from : line->to;
    int inner = line->from < line->to ? line->to : line->from;
    if (d->boxes[inner].style != WEFT_DRAW_TAG && is_within(d, inner, outer)) {
        const struct weft_draw_box *above = &d->boxes[outer], *below = &d->boxes[inner];
        bool is_direct = below->parent == outer;
        line->route = WEFT_ROUTE_DROP;
        int centre = below->style == WEFT_DRAW_BLOCK
                         ? below->x + (below->width + WEFT_DRAW_BLOCK_LABEL) / 2
                         : middle(below);
        line->x1 = line->x2 = centre + (is_direct ? 0 : 14) + twin * 9;
        // cores lie in the strip itself
        line->y1 = below->style == WEFT_DRAW_BLOCK ? below->y - 6 : above->y + above->header;
        line->y2 = below->y;
        return;
    }
    bool beside = a->y < b->y + b->height && b->y < a->y + a->height;
    int distance = abs(middle(a) - middle(b));
    if (beside && a->style == WEFT_DRAW_CONTAINER && b->style == WEFT_DRAW_CONTAINER) {
        line->route = WEFT_ROUTE_ABOVE;
        bool is_sibling = a->parent == b->parent; // else over the names of what they are in
        line->bend =
            is_sibling ? clamp(18 + distance / 14, 18, 90) : clamp(52 + distance / 24, 52, 90);
    } else if (beside && a->style != WEFT_DRAW_CONTAINER && b->style != WEFT_DRAW_CONTAINER) {
        line->route = WEFT_ROUTE_BELOW;
        line->bend = weft_draw_bend_below(distance);
    } else {
        line->route = WEFT_ROUTE_CURVE;
    }
}

/* The height of one end of an arc or a curve, and at which edge it is. */
static int end_y(const struct weft_drawing *d, const struct weft_draw_line *line, bool is_second,
                 int *edge)
{
    const struct weft_draw_box *own = &d->boxes[is_second ? line->to : line->from];
    const struct weft_draw_box *other = &d->boxes[is_second ? line->from : line->to];
    if (line->route != WEFT_ROUTE_CURVE)
        *edge = line->route == WEFT_ROUTE_BELOW;
    else
        *edge = own->y < other->y;
    if (*edge == 0)
        return own->y;
    bool passes_contents =
        line->route == WEFT_ROUTE_CURVE && own->header > 0 && other->y < own->y + own->height;
    return own->y + (passes_contents ? own->header : own->height);
}

static int end_key(const struct weft_drawing *d, const struct weft_draw_line *line, bool is_second)
{
    const struct weft_draw_box *own = &d->boxes[is_second ? line->to : line->from];
    const struct weft_draw_box *other = &d->boxes[is_second ? line->from : line->to];
    int distance = middle(other) - middle(own);
    if (line->route == WEFT_ROUTE_CURVE)
        return distance;
    return distance < 0 ? -distance - ARC : ARC - distance; // the longer, the nearer the middle
}

static int compare_ends(const void *a, const void *b)
{
    const struct end *x = a, *y = b;
    if (x->box != y->box)
        return x->box - y->box;
    if (x->edge != y->edge)
        return x->edge - y->edge;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->line - y->line;
}

/* Ends `at` to `next` lie at one edge of one box. */
static void spread(struct weft_drawing *d, const struct end *ends, int at, int next)
{
    const struct weft_draw_box *box = &d->boxes[ends[at].box];
    int count = next - at;
    for (int i = at; i < next; i++) {
        struct weft_draw_line *line = &d->lines[ends[i].line];
        const struct weft_draw_box *other = &d->boxes[ends[i].is_second ? line->from : line->to];
        bool is_bar = box->style == WEFT_DRAW_BAR;
        int step =
            is_bar ? box->width * 10 / (count + 1) : clamp(box->width * 10 / (count + 1), 0, 120);
        int x = middle(box) + (2 * (i - at) - count + 1) * step / 20;
        if (is_bar && other->style != WEFT_DRAW_BAR) // straight down where it can be
            x = clamp(middle(other), box->x + 3, box->x + box->width - 3);
        *(ends[i].is_second ? &line->x2 : &line->x1) = x;
    }
}

static weft_status find_ways(struct weft_drawing *d)
{
    struct end *ends = malloc(((size_t)d->num_lines * 2 + 1) * sizeof *ends);
    if (!ends)
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    int count = 0, twin = 0;
    for (int i = 0; i < d->num_lines; i++) {
        struct weft_draw_line *line = &d->lines[i];
        bool is_twin = i > 0 && line[-1].from == line->from && line[-1].to == line->to;
        twin = is_twin ? twin + 1 : 0;
        choose_route(d, line, twin);
        for (int side = 0; line->route != WEFT_ROUTE_DROP && side < 2; side++) {
            struct end *end = &ends[count++];
            *end = (struct end){.box = side ? line->to : line->from,
                                .key = end_key(d, line, side),
                                .line = i,
                                .is_second = side};
            *(side ? &line->y2 : &line->y1) = end_y(d, line, side, &end->edge);
        }
    }
    qsort(ends, (size_t)count, sizeof *ends, compare_ends);
    for (int at = 0; at < count;) {
        int next = at;
        while (next < count && ends[next].box == ends[at].box && ends[next].edge == ends[at].edge)
            next++;
        spread(d, ends, at, next);
        at = next;
    }
    free(ends);
    return WEFT_OK;
}

weft_status weft_draw_lines(struct weft_drawing *d)
{
    int count = find_pieces(d, NULL);
    struct piece *pieces = malloc(((size_t)count + 1) * sizeof *pieces);
    d->lines = malloc(((size_t)count + 1) * sizeof *d->lines);
    d->line_links = malloc(((size_t)count + 1) * sizeof *d->line_links);
    if (!pieces || !d->lines || !d->line_links) {
        free(pieces);
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    }
    find_pieces(d, pieces);
    qsort(pieces, (size_t)count, sizeof *pieces, compare_pieces);
    bundle(d, pieces, count);
    free(pieces);
    return find_ways(d);
}
