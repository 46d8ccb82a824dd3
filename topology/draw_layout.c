/*
 * SPDX-License-Identifier: Apache-2.0
 * Where the parts of a drawing go: rows from top to bottom, rack-wide NVSwitches, hosts, then the
 * tiers of the fabric, each switch a bar as wide as its share, so that most lines run straight
 * down. Hosts stand above the switches that they are joined to. Below the map the inside of one
 * host of each sort.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "topology/draw_private.h"

enum tier {
    TIER_NVLINK,
    TIER_HOSTS,
    TIER_LEAF,
    TIER_SPINE,
    TIER_CORE,
    TIER_AGGREGATORS,
    NUM_TIERS
};

enum {
    MARGIN = 16,
    ROW_NAMES = 136, // left of the map
    MIN_WIDTH = 900,
    BAR_HEIGHT = 30,
    FIELD = 84, // between rows, for lines
    CELLS_PER_ROW = 8,
    MAX_CELLS = 32, // of GPUs, and of NICs
};

struct map {
    struct weft_drawing *drawing;
    int *roots[NUM_TIERS];
    int *group[NUM_TIERS]; // of each root
    int count[NUM_TIERS];
    int num_groups[NUM_TIERS];
    bool mixed[NUM_TIERS]; // the last group
    int *position;         // per node: place of a switch's group in its tier
    int open_host;         // box; -1: hosts are shown from outside
    int width;
    int cell_step;   // from one cell to the next: more where there are few hosts
    bool has_stacks; // boxes that stand for several hosts
};

int weft_draw_add_box(struct weft_drawing *d, enum weft_draw_style style, int node, int parent)
{
    struct weft_draw_box *boxes =
        weft_array_grow(d->boxes, d->num_boxes, &d->capacity, sizeof *boxes);
    if (!boxes) {
        weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
        return -1;
    }
    d->boxes = boxes;
    int box = d->num_boxes++;
    d->boxes[box] = (struct weft_draw_box){.style = style,
                                           .node = node,
                                           .last = node,
                                           .count = 1,
                                           .parent = parent,
                                           .end = box + 1,
                                           .tag = -1};
    return box;
}

void weft_draw_add_caption(struct weft_drawing *d, int x, int y, bool is_head, const char *format,
                           ...)
{
    if (d->num_captions == (int)(sizeof d->captions / sizeof d->captions[0]))
        return;
    struct weft_draw_caption *caption = &d->captions[d->num_captions++];
    caption->x = x;
    caption->y = y;
    caption->is_head = is_head;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(caption->text, sizeof caption->text, format, arguments);
    va_end(arguments);
}

/* ---- 1. tiers and groups ---- */

static enum tier tier_of(int kind)
{
    switch (kind) {
    case WEFT_NODE_NVSWITCH:
        return TIER_NVLINK;
    case WEFT_NODE_LEAF:
    case WEFT_NODE_SWITCH:
        return TIER_LEAF;
    case WEFT_NODE_SPINE:
        return TIER_SPINE;
    case WEFT_NODE_CORE_SWITCH:
        return TIER_CORE;
    case WEFT_NODE_AGGREGATOR:
        return TIER_AGGREGATORS;
    default:
        return TIER_HOSTS;
    }
}

static weft_status find_groups(struct map *m)
{
    static const struct {
        int alone, groups;
    } limits[NUM_TIERS] = {
        [TIER_NVLINK] = {WEFT_DRAW_MAX_SWITCHES, WEFT_DRAW_MAX_SWITCHES},
        [TIER_HOSTS] = {WEFT_DRAW_MAX_HOSTS, WEFT_DRAW_MAX_GROUPS},
        [TIER_LEAF] = {WEFT_DRAW_MAX_SWITCHES, WEFT_DRAW_MAX_SWITCHES},
        [TIER_SPINE] = {WEFT_DRAW_MAX_SWITCHES, WEFT_DRAW_MAX_SWITCHES},
        [TIER_CORE] = {WEFT_DRAW_MAX_SWITCHES, WEFT_DRAW_MAX_SWITCHES},
        [TIER_AGGREGATORS] = {8, 1}, // one to a switch: a row of them would say nothing
    };
    struct weft_drawing *d = m->drawing;
    const struct weft_topology *t = d->topology;
    for (int i = 0; i < t->num_nodes; i = d->end[i])
        m->count[tier_of(t->nodes[i].kind)]++;
    for (int tier = 0; tier < NUM_TIERS; tier++) {
        size_t n = (size_t)m->count[tier] + 1;
        m->roots[tier] = malloc(n * sizeof(int));
        m->group[tier] = malloc(n * sizeof(int));
        if (!m->roots[tier] || !m->group[tier])
            return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
        m->count[tier] = 0;
    }
    for (int i = 0; i < t->num_nodes; i = d->end[i]) {
        enum tier tier = tier_of(t->nodes[i].kind);
        m->roots[tier][m->count[tier]++] = i;
    }
    for (int tier = 0; tier < NUM_TIERS; tier++) {
        WEFT_TRY(weft_draw_group(d, m->roots[tier], m->count[tier], limits[tier].alone,
                                 limits[tier].groups, m->group[tier], &m->num_groups[tier],
                                 &m->mixed[tier]));
        for (int i = 0; i < m->count[tier]; i++)
            m->position[m->roots[tier][i]] = m->group[tier][i];
    }
    return WEFT_OK;
}

/* ---- 2. order of hosts: above their switches ---- */

struct place {
    int64_t sum, count; // of the positions of its switches
    int group;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int64_t mean_x = x->count ? x->sum * 1000 / x->count : 0;
    int64_t mean_y = y->count ? y->sum * 1000 / y->count : 0;
    if (mean_x != mean_y)
        return mean_x < mean_y ? -1 : 1;
    return x->group - y->group;
}

static weft_status order_hosts(struct map *m)
{
    struct weft_drawing *d = m->drawing;
    const struct weft_topology *t = d->topology;
    int groups = m->num_groups[TIER_HOSTS];
    struct place *places = calloc((size_t)groups * 2 + 1, sizeof *places);
    if (!places)
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    for (int i = 0; i < groups; i++)
        places[i].group = i;
    for (int i = 0; i < t->num_links; i++)
        for (int side = 0; side < 2; side++) {
            int host = d->root[side ? t->links[i].to : t->links[i].from];
            int other = d->root[side ? t->links[i].from : t->links[i].to];
            if (tier_of(t->nodes[host].kind) != TIER_HOSTS ||
                tier_of(t->nodes[other].kind) != TIER_LEAF)
                continue;
            places[m->position[host]].sum += m->position[other];
            places[m->position[host]].count++;
        }
    bool mixed = m->mixed[TIER_HOSTS]; // that group stays the last
    qsort(places, (size_t)(groups - mixed), sizeof *places, compare_places);
    struct place *of_group = places + groups;
    for (int i = 0; i < groups; i++)
        of_group[places[i].group].group = i;
    for (int i = 0; i < m->count[TIER_HOSTS]; i++)
        m->group[TIER_HOSTS][i] = of_group[m->group[TIER_HOSTS][i]].group;
    free(places);
    return WEFT_OK;
}

/* ---- 3. boxes of the map ---- */

static bool has_cell(int kind)
{
    return kind == WEFT_NODE_GPU || kind == WEFT_NODE_NIC;
}

/* GPUs and NICs of a host from outside: small squares, the NICs at the lower edge. */
static weft_status add_cells(const struct map *m, int mini)
{
    struct weft_drawing *d = m->drawing;
    const int step = m->cell_step, top = m->has_stacks ? 51 : 38;
    const struct weft_topology *t = d->topology;
    int root = d->boxes[mini].node, counts[2] = {0, 0}, cells[2] = {0, 0}, rows[2];
    for (int i = root + 1; i < d->end[root]; i++)
        if (has_cell(t->nodes[i].kind))
            counts[t->nodes[i].kind == WEFT_NODE_NIC]++;
    for (int i = 0; i < 2; i++)
        rows[i] =
            ((counts[i] > MAX_CELLS ? MAX_CELLS : counts[i]) + CELLS_PER_ROW - 1) / CELLS_PER_ROW;
    for (int i = root + 1; i < d->end[root]; i++) {
        int kind = t->nodes[i].kind, which = kind == WEFT_NODE_NIC;
        if (!has_cell(kind) || cells[which] == MAX_CELLS)
            continue;
        int index = cells[which]++, cell = weft_draw_add_box(d, WEFT_DRAW_CELL, i, mini);
        if (cell < 0)
            return WEFT_OUT_OF_MEMORY;
        struct weft_draw_box *box = &d->boxes[cell];
        box->width = box->height = step - 2;
        box->x = 7 + index % CELLS_PER_ROW * step;
        box->y = top + index / CELLS_PER_ROW * step;
        if (which == 1) // from below, see place_minis
            box->y = -(rows[1] - index / CELLS_PER_ROW) * step - 1;
        for (int j = i; j < d->end[i]; j++)
            d->map_box[j] = cell;
    }
    d->boxes[mini].end = d->num_boxes;
    d->boxes[mini].height = top + 4 + (rows[0] + rows[1]) * step + (rows[1] ? 6 : 0);
    return WEFT_OK;
}

static weft_status add_groups(struct map *m, enum tier tier, int *first_box)
{
    struct weft_drawing *d = m->drawing;
    int groups = m->num_groups[tier];
    int *box_of_group = malloc(((size_t)groups + 1) * sizeof *box_of_group);
    if (!box_of_group)
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    for (int i = 0; i < groups; i++)
        box_of_group[i] = -1;
    // 1. the first root of each group, in the groups' order, so that boxes lie in a row's order
    for (int i = 0; i < m->count[tier]; i++)
        if (box_of_group[m->group[tier][i]] < 0)
            box_of_group[m->group[tier][i]] = m->roots[tier][i];
    *first_box = d->num_boxes;
    weft_status status = WEFT_OK;
    for (int i = 0; i < groups && status == WEFT_OK; i++) {
        int root = box_of_group[i];
        int box =
            weft_draw_add_box(d, tier == TIER_HOSTS ? WEFT_DRAW_MINI : WEFT_DRAW_BAR, root, -1);
        box_of_group[i] = box;
        if (box < 0) {
            status = WEFT_OUT_OF_MEMORY;
            break;
        }
        d->boxes[box].count = 0;
        d->boxes[box].mixed = m->mixed[tier] && i == groups - 1;
        d->boxes[box].height = tier == TIER_HOSTS ? (m->has_stacks ? 54 : 42) : BAR_HEIGHT;
        for (int j = root; j < d->end[root]; j++)
            d->map_box[j] = box;
        if (tier == TIER_HOSTS && !d->boxes[box].mixed)
            status = add_cells(m, box);
    }
    // 2. the others of each group: shown by the same boxes as their likes in the first
    for (int i = 0; i < m->count[tier] && status == WEFT_OK; i++) {
        struct weft_draw_box *box = &d->boxes[box_of_group[m->group[tier][i]]];
        int root = m->roots[tier][i], size = d->end[box->node] - box->node;
        box->count++;
        box->last = root;
        for (int j = root; j < d->end[root] && root != box->node; j++) {
            int like = box->node + j - root;
            bool fits = !box->mixed && j - root < size &&
                        d->topology->nodes[like].kind == d->topology->nodes[j].kind;
            d->map_box[j] = d->map_box[fits ? like : box->node];
        }
    }
    free(box_of_group);
    return status;
}

/* ---- 4. places ---- */

/* Side by side from `left`, or each in its share of the map's width where that is more. */
static void place_minis(const struct map *m, int first, int left, int y, int *right, int *height)
{
    struct weft_drawing *d = m->drawing;
    const int gap = m->has_stacks ? 22 : 14; // stacks show those behind
    int x = left, count = 0, width = 12 + CELLS_PER_ROW * m->cell_step;
    *height = 0;
    for (int i = first; i < d->num_boxes; i = d->boxes[i].end, count++)
        if (d->boxes[i].height > *height)
            *height = d->boxes[i].height;
    int share = count ? m->width / count : 0;
    share = share < width + gap ? width + gap : share;
    for (int i = first; i < d->num_boxes; i = d->boxes[i].end) {
        struct weft_draw_box *mini = &d->boxes[i];
        mini->x = x + (share - gap - width) / 2;
        mini->y = y;
        mini->width = width;
        mini->height = *height;
        x += share;
        for (int j = i + 1; j < mini->end; j++) {
            d->boxes[j].x += mini->x;
            d->boxes[j].y += d->boxes[j].y < 0 ? y + *height : y;
        }
    }
    *right = x - gap;
}

static void place_bars(struct weft_drawing *d, int first, int left, int y, int width)
{
    int count = d->num_boxes - first, gap = count > 24 ? 4 : 10;
    for (int i = 0; i < count; i++) {
        struct weft_draw_box *bar = &d->boxes[first + i];
        bar->x = left + (int)((int64_t)(width + gap) * i / count);
        bar->width = left + (int)((int64_t)(width + gap) * (i + 1) / count) - gap - bar->x;
        bar->y = y;
        bar->height = BAR_HEIGHT;
    }
}

/* Bars must not be thinner than something to point at. */
static int wanted_width(const struct map *m)
{
    int width = MIN_WIDTH;
    for (int tier = 0; tier < NUM_TIERS; tier++)
        if (tier != TIER_HOSTS && m->num_groups[tier] * 34 > width)
            width = m->num_groups[tier] * 34;
    return width;
}

static weft_status place_hosts(struct map *m, int left, int y, int *bottom)
{
    struct weft_drawing *d = m->drawing;
    int height, right;
    if (m->count[TIER_HOSTS] == 1 &&
        d->end[m->roots[TIER_HOSTS][0]] > m->roots[TIER_HOSTS][0] + 1) {
        int root = m->roots[TIER_HOSTS][0];
        WEFT_TRY(weft_draw_host(d, root, left, y, &m->open_host));
        for (int i = root; i < d->end[root]; i++) {
            d->map_box[i] = d->inside_box[i];
            d->inside_box[i] = -1;
        }
        right = left + d->boxes[m->open_host].width;
        *bottom = y + d->boxes[m->open_host].height;
    } else {
        int first, groups = m->num_groups[TIER_HOSTS];
        m->cell_step = groups <= 6 ? 18 : groups <= 16 ? 14 : 10;
        m->has_stacks = groups < m->count[TIER_HOSTS];
        WEFT_TRY(order_hosts(m));
        WEFT_TRY(add_groups(m, TIER_HOSTS, &first));
        place_minis(m, first, left, y, &right, &height);
        *bottom = y + height;
    }
    if (right - left > m->width)
        m->width = right - left;
    return WEFT_OK;
}

/* How many of what are in a row of the map. */
static void name_row(const struct map *m, enum tier tier, int y)
{
    static const char *const names[] = {"NVLink switch", "host",        "leaf switch",
                                        "spine switch",  "core switch", "aggregation node"};
    struct weft_drawing *d = m->drawing;
    int hosts = weft_topology_count(d->topology, WEFT_NODE_HOST), count = m->count[tier];
    int kind = d->topology->nodes[m->roots[tier][0]].kind, others = count - hosts;
    if (tier == TIER_HOSTS && others > 0) { // NICs of a fabric, above all
        weft_draw_add_caption(d, MARGIN, hosts ? y + 16 : y, false, "%d without a host", others);
        count = hosts;
    }
    if (count == 0)
        return;
    const char *name = kind == WEFT_NODE_SWITCH ? "switch" : names[tier];
    const char *plural = count == 1 ? "" : name[strlen(name) - 1] == 'h' ? "es" : "s";
    weft_draw_add_caption(d, MARGIN, y, false, "%d %s%s", count, name, plural);
}

static weft_status place_map(struct map *m, int *bottom)
{
    struct weft_drawing *d = m->drawing;
    int rows = 0;
    for (int tier = 0; tier < NUM_TIERS; tier++)
        rows += m->count[tier] > 0;
    bool only_hosts = rows == 1 && m->count[TIER_HOSTS] > 0;
    int left = MARGIN + (only_hosts ? 0 : ROW_NAMES), y = MARGIN;
    int host_y = y, field = FIELD;
    m->width = only_hosts ? 0 : wanted_width(m);
    if (m->count[TIER_NVLINK])
        host_y += BAR_HEIGHT + FIELD;
    *bottom = host_y;
    if (m->count[TIER_HOSTS])
        WEFT_TRY(place_hosts(m, left, host_y, bottom));
    field += (m->width > MIN_WIDTH ? m->width - MIN_WIDTH : 0) / 30;
    for (int tier = 0; tier < NUM_TIERS; tier++) {
        if (m->count[tier] == 0)
            continue;
        int row_y = tier == TIER_HOSTS ? (host_y + *bottom) / 2 : y;
        if (tier > TIER_HOSTS)
            row_y = *bottom + (*bottom > host_y ? field : 0);
        if (tier != TIER_HOSTS) {
            int first;
            WEFT_TRY(add_groups(m, tier, &first));
            place_bars(d, first, left, row_y, m->width);
        }
        if (tier > TIER_HOSTS)
            *bottom = row_y + BAR_HEIGHT;
        if (!only_hosts)
            name_row(m, tier, row_y + (tier == TIER_HOSTS ? 4 : 20));
    }
    d->width = left + m->width + MARGIN;
    return WEFT_OK;
}

/* ---- 5. insides ---- */

/* Whether a look inside would show more than the map. */
static bool is_worth_opening(const struct weft_drawing *d, int root)
{
    for (int i = root + 1; i < d->end[root]; i++)
        if (!has_cell(d->topology->nodes[i].kind) || d->topology->nodes[i].parent != root)
            return true;
    return false;
}

static weft_status place_insides(struct map *m, int *bottom)
{
    struct weft_drawing *d = m->drawing;
    int count = m->count[TIER_HOSTS], *roots = m->roots[TIER_HOSTS], shown = 0;
    uint64_t seen[WEFT_DRAW_MAX_INSIDES];
    weft_status status = WEFT_OK;
    for (int i = 0; i < count && shown < WEFT_DRAW_MAX_INSIDES && status == WEFT_OK; i++) {
        bool is_new = is_worth_opening(d, roots[i]);
        for (int j = 0; j < shown; j++)
            is_new = is_new && seen[j] != d->shape[roots[i]];
        if (!is_new)
            continue;
        seen[shown++] = d->shape[roots[i]];
        int alike = 0, box;
        for (int j = 0; j < count; j++)
            alike += d->shape[roots[j]] == d->shape[roots[i]];
        *bottom += 64;
        weft_draw_add_caption(d, MARGIN, *bottom - 10, true,
                              alike > 1 ? "Inside %s: %d hosts look like this" : "Inside %s",
                              d->topology->nodes[roots[i]].name, alike);
        status = weft_draw_host(d, roots[i], MARGIN, *bottom, &box);
        if (status == WEFT_OK)
            status = weft_draw_tags(d, box);
        if (status != WEFT_OK)
            break;
        *bottom += d->boxes[box].height + (d->num_boxes > d->boxes[box].end ? 38 : 0);
        if (MARGIN * 2 + d->boxes[box].width > d->width)
            d->width = MARGIN * 2 + d->boxes[box].width;
    }
    return status;
}

/* ---- all ---- */

static weft_status lay_out(struct map *m)
{
    struct weft_drawing *d = m->drawing;
    int bottom = 0;
    WEFT_TRY(find_groups(m));
    WEFT_TRY(place_map(m, &bottom));
    int map_width = d->width, map_boxes = d->num_boxes, map_captions = d->num_captions;
    if (m->open_host < 0)
        WEFT_TRY(place_insides(m, &bottom));
    int shift = (d->width - map_width) / 2; // the map stands above the middle of wider insides
    for (int i = 0; i < map_boxes; i++)
        d->boxes[i].x += shift;
    for (int i = 0; i < map_captions; i++)
        d->captions[i].x += shift;
    d->height = bottom + MARGIN;
    if (d->topology->num_nodes == 0) {
        d->width = 320;
        d->height = 60;
        weft_draw_add_caption(d, MARGIN, 34, false, "There is nothing in this topology.");
    }
    return weft_draw_lines(d);
}

static void count_folded(struct weft_drawing *d)
{
    d->num_folded = d->topology->num_nodes;
    for (int i = 0; i < d->topology->num_nodes; i++)
        for (int part = 0; part < 2; part++) {
            int box = part ? d->inside_box[i] : d->map_box[i];
            if (box >= 0 && d->boxes[box].node == i) {
                d->num_folded--;
                break;
            }
        }
}

weft_status weft_drawing_make(const struct weft_topology *t, struct weft_drawing *d,
                              struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1;
    *d = (struct weft_drawing){.topology = t,
                               .error = error,
                               .end = malloc(n * sizeof(int)),
                               .root = malloc(n * sizeof(int)),
                               .shape = malloc(n * sizeof(uint64_t)),
                               .map_box = malloc(n * sizeof(int)),
                               .inside_box = malloc(n * sizeof(int))};
    struct map m = {.drawing = d, .open_host = -1, .position = calloc(n, sizeof(int))};
    weft_status status = WEFT_OK;
    if (!d->end || !d->root || !d->shape || !d->map_box || !d->inside_box || !m.position)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    if (status == WEFT_OK) {
        for (int i = 0; i < t->num_nodes; i++)
            d->map_box[i] = d->inside_box[i] = -1;
        weft_draw_find_shapes(d);
        status = lay_out(&m);
    }
    for (int tier = 0; tier < NUM_TIERS; tier++) {
        free(m.roots[tier]);
        free(m.group[tier]);
    }
    free(m.position);
    if (status == WEFT_OK)
        count_folded(d);
    else
        weft_drawing_free(d);
    return status;
}

void weft_drawing_free(struct weft_drawing *d)
{
    free(d->end);
    free(d->root);
    free(d->shape);
    free(d->map_box);
    free(d->inside_box);
    free(d->boxes);
    free(d->lines);
    free(d->line_links);
    *d = (struct weft_drawing){0};
}
