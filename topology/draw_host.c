/*
 * SPDX-License-Identifier: Apache-2.0
 * The inside of one host: nested boxes by containment, devices in rows, NVSwitches in a row of
 * their own below the GPUs (whatever PCIe switch they hang on), so that NVLinks have a field to run
 * in. Boxes of one subtree follow each other, as its nodes do. Three steps: make boxes, measure
 * from the inside out, move to the place.
 */
#include <limits.h>
#include <string.h>

#include "topology/draw_private.h"

enum {
    PAD = 6,        // between a box and what it contains
    GAP = 7,        // between neighbours
    STRIP = 22,     // height of a container's name
    DROP = 14,      // below the strip: links to what is inside are seen there
    CELL = 9,       // a core
    CELL_STEP = 11, // and the way to the next
    MAX_CELLS = 128,
    SWITCH_WIDTH = 70,
    MAX_ROW = 1500,      // pixels, then the next row begins
    MAX_HOST_ROW = 2600, // of packages
    NAME_CHARACTER = 8,  // pixels, about, of names
    CHARACTER = 6,       // and of second lines
};

struct opening {
    struct weft_drawing *drawing;
    int root;
    int first_box;
};

/* ---- 1. boxes ---- */

static bool is_room(int kind)
{
    return kind == WEFT_NODE_HOST || kind == WEFT_NODE_CPU || kind == WEFT_NODE_NUMA ||
           kind == WEFT_NODE_PCIE_ROOT || kind == WEFT_NODE_PCIE_SWITCH;
}

/* Nodes from `at` to `end` are shown by `box`. */
static void show_by(struct weft_drawing *d, int at, int end, int box)
{
    for (; at < end; at++)
        d->inside_box[at] = box;
}

static int add_box(struct opening *o, enum weft_draw_style style, int node, int parent)
{
    int box = weft_draw_add_box(o->drawing, style, node, parent);
    if (box >= 0)
        o->drawing->inside_box[node] = box;
    return box;
}

/* A box that stands for the siblings from `at` to `end`. */
static weft_status add_rest(struct opening *o, int at, int end, int parent, bool mixed)
{
    struct weft_drawing *d = o->drawing;
    int box = add_box(o, WEFT_DRAW_CHIP, at, parent);
    if (box < 0)
        return WEFT_OUT_OF_MEMORY;
    show_by(d, at, end, box);
    d->boxes[box].mixed = mixed;
    d->boxes[box].count = 0;
    for (; at < end; at = d->end[at]) {
        d->boxes[box].count++;
        d->boxes[box].last = at;
    }
    return WEFT_OK;
}

static weft_status add_cores(struct opening *o, int at, int end, int parent)
{
    struct weft_drawing *d = o->drawing;
    int block = add_box(o, WEFT_DRAW_BLOCK, at, parent), count = 0;
    if (block < 0)
        return WEFT_OUT_OF_MEMORY;
    for (int node = at; node < end; node = d->end[node]) {
        count++;
        d->boxes[block].last = node;
    }
    show_by(d, at, end, block);
    for (int node = at; node < end && count <= MAX_CELLS; node = d->end[node]) {
        int cell = weft_draw_add_box(d, WEFT_DRAW_CELL, node, block);
        if (cell < 0)
            return WEFT_OUT_OF_MEMORY;
        show_by(d, node, d->end[node], cell);
    }
    d->boxes[block].count = count;
    d->boxes[block].end = d->num_boxes;
    return WEFT_OK;
}

/* The end of the run of siblings that start at `at` and look like it. */
static int alike_until(const struct weft_drawing *d, int at, int end, int *count)
{
    int next = at;
    for (*count = 0; next < end && d->shape[next] == d->shape[at] &&
                     d->topology->nodes[next].kind == d->topology->nodes[at].kind;
         next = d->end[next])
        ++*count;
    return next;
}

static weft_status open_node(struct opening *o, int node, int parent);

/* Cores first, so that the other boxes follow each other and make rows. */
static weft_status open_contents(struct opening *o, int node, int box)
{
    struct weft_drawing *d = o->drawing;
    const struct weft_node *nodes = d->topology->nodes;
    int first_core = node + 1, last_core;
    while (first_core < d->end[node] && nodes[first_core].kind != WEFT_NODE_CORE)
        first_core = d->end[first_core];
    for (last_core = first_core;
         last_core < d->end[node] && nodes[last_core].kind == WEFT_NODE_CORE;)
        last_core = d->end[last_core];
    if (first_core < last_core)
        WEFT_TRY(add_cores(o, first_core, last_core, box));
    for (int at = node + 1; at < d->end[node];) {
        int count, next = alike_until(d, at, d->end[node], &count);
        if (nodes[at].kind == WEFT_NODE_NVSWITCH) { // see add_nvswitches
            at = d->end[at];
        } else if (nodes[at].kind == WEFT_NODE_CORE) {
            at = last_core;
        } else if (d->num_boxes - o->first_box >= WEFT_DRAW_MAX_INSIDE) {
            WEFT_TRY(add_rest(o, at, d->end[node], box, true));
            at = d->end[node];
        } else if (count > WEFT_DRAW_MAX_ALIKE) {
            WEFT_TRY(open_node(o, at, box));
            WEFT_TRY(add_rest(o, d->end[at], next, box, false));
            at = next;
        } else {
            WEFT_TRY(open_node(o, at, box));
            at = d->end[at];
        }
    }
    return WEFT_OK;
}

static weft_status open_node(struct opening *o, int node, int parent)
{
    struct weft_drawing *d = o->drawing;
    bool is_open = is_room(d->topology->nodes[node].kind) || d->end[node] > node + 1;
    int box = add_box(o, is_open ? WEFT_DRAW_CONTAINER : WEFT_DRAW_CHIP, node, parent);
    if (box < 0)
        return WEFT_OUT_OF_MEMORY;
    WEFT_TRY(open_contents(o, node, box));
    d->boxes[box].end = d->num_boxes;
    return WEFT_OK;
}

/* Directly in the host's box, wherever they hang; the last stands for all that are too many. */
static weft_status add_nvswitches(struct opening *o, int host_box, int *count)
{
    struct weft_drawing *d = o->drawing;
    int box = -1;
    *count = 0;
    for (int node = o->root + 1; node < d->end[o->root];) {
        if (d->topology->nodes[node].kind != WEFT_NODE_NVSWITCH) {
            node++;
            continue;
        }
        if (*count < WEFT_DRAW_MAX_ALIKE) {
            box = add_box(o, WEFT_DRAW_CHIP, node, host_box);
            if (box < 0)
                return WEFT_OUT_OF_MEMORY;
            ++*count;
        } else {
            d->boxes[box].count++;
            d->boxes[box].last = node;
        }
        show_by(d, node, d->end[node], box);
        node = d->end[node];
    }
    d->boxes[host_box].end = d->num_boxes;
    return WEFT_OK;
}

/* ---- 2. sizes; places within the parent ---- */

static void measure(struct weft_drawing *d, int index, int max_row, int drop);

static void measure_chip(const struct weft_drawing *d, struct weft_draw_box *box)
{
    static const struct {
        int kind, width, height;
    } sizes[] = {
        {WEFT_NODE_GPU, 70, 50}, {WEFT_NODE_NVSWITCH, SWITCH_WIDTH, 40}, {WEFT_NODE_NIC, 68, 50}};
    box->width = 78;
    box->height = 36;
    for (int i = 0; i < 3; i++)
        if (sizes[i].kind == d->topology->nodes[box->node].kind) {
            box->width = sizes[i].width;
            box->height = sizes[i].height;
        }
}

static void measure_block(struct weft_drawing *d, int index, int width)
{
    struct weft_draw_box *block = &d->boxes[index];
    int cells = block->end - index - 1, columns = (width - WEFT_DRAW_BLOCK_LABEL) / CELL_STEP;
    columns = columns < 12 ? 12 : columns;
    columns = cells && columns > cells ? cells : columns;
    block->width = WEFT_DRAW_BLOCK_LABEL + (cells ? columns * CELL_STEP : 20);
    block->height = cells ? (cells + columns - 1) / columns * CELL_STEP : CELL_STEP;
    for (int i = 0; i < cells; i++) {
        struct weft_draw_box *cell = &d->boxes[index + 1 + i];
        cell->width = cell->height = CELL;
        cell->x = WEFT_DRAW_BLOCK_LABEL + i % columns * CELL_STEP;
        cell->y = i / columns * CELL_STEP;
    }
}

/* One row of children from box `at`, up to max_row wide: centred later, containers equally high. */
static int place_row(struct weft_drawing *d, int at, int end, int y, int max_row, int *width,
                     int *height)
{
    int x = 0, first = at;
    *height = 0;
    for (; at < end; at = d->boxes[at].end) {
        struct weft_draw_box *box = &d->boxes[at];
        if (box->style == WEFT_DRAW_BLOCK)
            continue;
        if (x > 0 && x + box->width > max_row)
            break;
        box->x = x;
        box->y = y;
        x += box->width + GAP;
        *height = box->height > *height ? box->height : *height;
    }
    for (int i = first; i < at; i = d->boxes[i].end)
        if (d->boxes[i].style == WEFT_DRAW_CONTAINER)
            d->boxes[i].height = *height;
    *width = x > 0 ? x - GAP : 0;
    return at;
}

static void centre_rows(struct weft_drawing *d, int index, int inner)
{
    const int end = d->boxes[index].end;
    for (int at = index + 1; at < end;) {
        int next = at, right = 0;
        for (; next < end && d->boxes[next].y == d->boxes[at].y; next = d->boxes[next].end)
            right = d->boxes[next].x + d->boxes[next].width;
        for (; at < next; at = d->boxes[at].end)
            d->boxes[at].x += PAD + (inner - right) / 2;
    }
}

/* So that a name and the beginning of the second line fit, where they are of usual length. */
static int title_width(const struct weft_drawing *d, int index)
{
    char label[512], sub[300];
    weft_draw_label(d, index, label, sizeof label);
    weft_draw_subtitle(d, index, sub, sizeof sub);
    size_t name = strlen(label), rest = strlen(sub);
    name = name > 22 ? 22 : name;
    rest = rest > 14 ? 14 : rest;
    return (int)name * NAME_CHARACTER + (rest ? 14 + (int)rest * CHARACTER : 0) + 4;
}

static void measure(struct weft_drawing *d, int index, int max_row, int drop)
{
    struct weft_draw_box *box = &d->boxes[index];
    if (box->style != WEFT_DRAW_CONTAINER) {
        measure_chip(d, box);
        return;
    }
    box->header = STRIP;
    int y = STRIP + drop, inner = title_width(d, index), block = -1;
    for (int at = index + 1; at < box->end; at = d->boxes[at].end) {
        if (d->boxes[at].style == WEFT_DRAW_BLOCK)
            block = at;
        else
            measure(d, at, MAX_ROW, DROP);
    }
    if (block >= 0) { // its width follows the widest row
        int at = index + 1, width, height;
        while (at < box->end) {
            at = place_row(d, at, box->end, 0, max_row, &width, &height);
            inner = width > inner ? width : inner;
        }
        measure_block(d, block, inner);
        d->boxes[block].x = 0;
        d->boxes[block].y = STRIP + 4;
        inner = d->boxes[block].width > inner ? d->boxes[block].width : inner;
        box->header = STRIP + 4 + d->boxes[block].height;
        y = box->header + drop;
    }
    for (int at = index + 1; at < box->end;) {
        int width, height;
        at = place_row(d, at, box->end, y, max_row, &width, &height);
        inner = width > inner ? width : inner;
        y += height > 0 ? height + DROP : 0;
    }
    bool is_empty = box->end == index + 1;
    box->width = inner + 2 * PAD;
    box->height = is_empty                                ? STRIP
                  : block >= 0 && y == box->header + drop ? box->header + PAD
                                                          : y - DROP + PAD;
    centre_rows(d, index, inner);
}

/* ---- 3. places ---- */

static void move(struct weft_drawing *d, int index, int x, int y)
{
    d->boxes[index].x = x;
    d->boxes[index].y = y;
    for (int at = index + 1; at < d->boxes[index].end; at++) { // parents come first
        d->boxes[at].x += d->boxes[d->boxes[at].parent].x;
        d->boxes[at].y += d->boxes[d->boxes[at].parent].y;
    }
}

static bool is_chip(const struct weft_drawing *d, int box, int kind)
{
    return d->boxes[box].style == WEFT_DRAW_CHIP &&
           d->topology->nodes[d->boxes[box].node].kind == kind;
}

static bool is_gpu(const struct weft_drawing *d, int box)
{
    return is_chip(d, box, WEFT_NODE_GPU);
}

/* Whether a link joins two nodes of `kind` of the host. */
static bool has_direct_links(const struct weft_drawing *d, int root, int kind)
{
    const struct weft_topology *t = d->topology;
    for (int i = 0; i < t->num_links; i++)
        if (d->root[t->links[i].from] == root && d->root[t->links[i].to] == root &&
            t->nodes[t->links[i].from].kind == kind && t->nodes[t->links[i].to].kind == kind)
            return true;
    return false;
}

/* Room between a host's name and its packages, for arcs between NUMA domains. */
static int field_above(const struct weft_drawing *d, int root)
{
    int domains = 0, outer = 0;
    for (int i = root; i < d->end[root]; i++) {
        domains += d->topology->nodes[i].kind == WEFT_NODE_NUMA;
        outer +=
            d->topology->nodes[i].kind == WEFT_NODE_NUMA && d->topology->nodes[i].parent == root;
    }
    if (domains < 2)
        return DROP;
    return outer > 0 ? 52 : domains > 2 ? 46 : 28;
}

/* Where the lowest arc between two chips of `kind` ends, if that is below `bottom`. */
static int field_below(const struct weft_drawing *d, int first, int end, int kind, int bottom)
{
    int left = INT_MAX, right = 0, low = 0;
    for (int i = first; i < end; i++) {
        const struct weft_draw_box *box = &d->boxes[i];
        if (!is_chip(d, i, kind))
            continue;
        left = box->x < left ? box->x : left;
        right = box->x > right ? box->x : right;
        low = box->y + box->height > low ? box->y + box->height : low;
    }
    int deepest = left < right ? low + weft_draw_bend_below(right - left) * 3 / 4 + 12 : bottom;
    return deepest > bottom ? deepest : bottom;
}

/* NVSwitches below GPUs, each under one, so that lines down from NICs pass between them. */
static void place_nvswitches(struct weft_drawing *d, int host, int first, int count, int y)
{
    int gpus = 0, seen = 0, at = host;
    for (int i = host; i < first; i++)
        gpus += is_gpu(d, i);
    for (int i = 0; i < count; i++) {
        struct weft_draw_box *box = &d->boxes[first + i];
        measure_chip(d, box);
        int step = (d->boxes[host].width - 2 * PAD) / count;
        box->x = d->boxes[host].x + PAD + step * i + step / 2 - box->width / 2;
        box->y = y;
        int wanted = (2 * i + 1) * gpus / (2 * count);
        for (; count <= gpus && at < first; at++)
            if (is_gpu(d, at) && seen++ == wanted) {
                box->x = d->boxes[at].x + (d->boxes[at].width - box->width) / 2;
                at++;
                break;
            }
    }
    int room = count * (SWITCH_WIDTH + GAP) - GAP + 2 * PAD;
    if (count > gpus && d->boxes[host].width < room) { // they would overlap
        d->boxes[host].width = room;
        for (int i = 0; i < count; i++)
            d->boxes[first + i].x = d->boxes[host].x + PAD + i * (SWITCH_WIDTH + GAP);
    }
}

weft_status weft_draw_host(struct weft_drawing *d, int root, int x, int y, int *host)
{
    struct opening o = {d, root, d->num_boxes};
    *host = d->num_boxes;
    WEFT_TRY(open_node(&o, root, -1));
    int switches = 0, first_switch = d->num_boxes;
    measure(d, *host, MAX_HOST_ROW, field_above(d, root));
    move(d, *host, x, y);
    int bottom = y + d->boxes[*host].height;
    if (has_direct_links(d, root, WEFT_NODE_GPU))
        bottom = field_below(d, *host, d->boxes[*host].end, WEFT_NODE_GPU, bottom);
    WEFT_TRY(add_nvswitches(&o, *host, &switches));
    if (switches) {
        bottom += 100;
        place_nvswitches(d, *host, first_switch, switches, bottom);
        bottom += 40 + PAD + 2;
        if (has_direct_links(d, root, WEFT_NODE_NVSWITCH))
            bottom =
                field_below(d, first_switch, first_switch + switches, WEFT_NODE_NVSWITCH, bottom);
    }
    d->boxes[*host].height = bottom - y;
    return WEFT_OK;
}

weft_status weft_draw_tags(struct weft_drawing *d, int host)
{
    const struct weft_topology *t = d->topology;
    int root = d->boxes[host].node, first = d->num_boxes;
    for (int i = 0; i < t->num_links; i++) {
        int near = t->links[i].from, far = t->links[i].to;
        if (d->root[near] == d->root[far] || (d->root[near] != root && d->root[far] != root))
            continue;
        if (d->root[near] != root) {
            near = t->links[i].to;
            far = t->links[i].from;
        }
        int box = d->inside_box[near], tag = d->boxes[box].tag;
        if (tag >= 0) {
            d->boxes[tag].mixed |= d->boxes[tag].node != far;
            d->boxes[tag].count++;
            d->boxes[tag].last = far;
            continue;
        }
        if (d->num_boxes - first >= WEFT_DRAW_MAX_INSIDE)
            continue;
        tag = weft_draw_add_box(d, WEFT_DRAW_TAG, far, box);
        if (tag < 0)
            return WEFT_OUT_OF_MEMORY;
        d->boxes[box].tag = tag;
        const struct weft_draw_box *chip = &d->boxes[box];
        struct weft_draw_box *added = &d->boxes[tag];
        added->width = chip->width > 74 ? 74 : chip->width;
        added->height = 20;
        added->x = chip->x + (chip->width - added->width) / 2;
        added->y = d->boxes[host].y + d->boxes[host].height + 18;
    }
    return WEFT_OK;
}
