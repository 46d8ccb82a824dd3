/*
 * SPDX-License-Identifier: Apache-2.0
 * Packing spanning out-trees (Edmonds' theorem, in batches). One tree grows at a time, as many
 * copies of it at once as cuts allow; what is left over goes back to its root. So the others are
 * always bare roots: an edge may join the growing tree if one maximum flow, from the edge's start
 * and all those roots, says so.
 *
 * A cut that said no is kept with its slack: what it can spare beyond the trees that still must
 * enter it. Slack only ever falls, by each entry of a tree beyond the first it needs. Kept cuts are
 * nearly always all there are to mind. So trees grow in hope, by kept cuts alone, and one look at
 * all terminals says for many trees at once whether all was well. What is well after the last tree
 * was so after each of its edges, so these are the trees that asking about every edge would give.
 * Where it was not, the look has found cuts; the trees are taken back, and grow again with those.
 *
 * How deep the trees get depends on which edges are asked about first. The first packing takes what
 * comes; then others are tried in several styles, each only as deep as the best so far less one and
 * given up as soon as that fails, within a fixed amount of work.
 */
#include "topology/forest_private.h"

#include <stdlib.h>
#include <string.h>

enum {
    WORDS = WEFT_FOREST_CUT_WORDS,
    MOST_IN_HOPE = 64,  // trees that one look at all terminals is for
    MOST_FAILURES = 3,  // of a single tree, until each of its edges is asked about
    MOST_NEW_CUTS = 16, // kept from one look
    SHARE_OF_LOOK = 2,  // of an arc, in a flow that ends where others were joined to the source
};
/* Arcs looked at by all flows of the packings after the first. */
static const int64_t most_work = 1000000;

struct style {
    bool widest_first; // of a vertex's arcs the one with most capacity left, else in turn
    bool may_thin;     // fewer copies rather than a deeper tree
    int turns;         // a root's trees are grown in so many parts at least
};
static const struct style styles[] = {
    {false, false, 1}, {true, true, 1}, {true, false, 1}, {true, true, 4}, {false, false, 4},
};

struct arc {
    int to;
    int in_flow;
    int64_t left;
};

// What a packing had come to.
struct mark {
    int64_t *arc_left; // (num_arcs)
    int64_t *left;     // (n)
    int64_t *slack;    // (WEFT_FOREST_MAX_CUTS)
    int64_t total;
    int num_trees, depth, next_root;
};

struct packer {
    const struct weft_forest_split *split;
    struct weft_forest_packing *packing;
    int n;
    int *first;                   // (n + 1)
    struct arc *arcs;             // by (from, to)
    struct weft_maxflow *flow;    // backward: from a terminal to the common source, vertex n
    int *root_arc;                // (n) of `flow`
    const int64_t *asked;         // (n) trees of each root
    int64_t *left;                // (n) trees that each root still needs
    int64_t total;                // of them
    struct weft_forest_cuts cuts; // their slack: before the growing tree
    int *entries;                 // (WEFT_FOREST_MAX_CUTS) see count_entries
    struct mark mark;
    int next_root;
    bool is_hopeful;
    int *order; // (n) arcs of one vertex, scratch
    const struct style *style;
    int most_depth;
    int64_t work, work_left; // arcs looked at by flows
    // the tree that grows
    int root;
    int64_t weight;
    int *queue;     // (n) its vertices in order
    int *depth;     // (n) of each vertex; -1: not in it
    int *edges;     // (n - 1) arcs
    int *from;      // (n - 1) where they start
    int size;       // vertices
    int64_t *limit; // (num_arcs) most copies that an arc was seen to take
};

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the trees of a forest");
}

static void set_arc(struct packer *p, int a, int64_t left)
{
    p->arcs[a].left = left;
    weft_maxflow_set(p->flow, p->arcs[a].in_flow, left, 0);
}

// How many copies of the growing tree may use x -> y as far as the kept cuts know.
static int64_t bound(const struct packer *p, int x, int y, int64_t most)
{
    const uint64_t *at_x = &p->cuts.inside[(size_t)x * WORDS];
    const uint64_t *at_y = &p->cuts.inside[(size_t)y * WORDS];
    for (int word = 0; word * 64 < p->cuts.num; word++)
        for (uint64_t set = at_y[word] & ~at_x[word]; set; set &= set - 1) {
            int cut = word * 64 + __builtin_ctzll(set), entries = p->entries[cut] + 1;
            if (entries > 0 && p->cuts.slack[cut] / entries < most)
                most = p->cuts.slack[cut] / entries;
        }
    return most;
}

// Of the growing tree: edges into a cut, but for the one that it needs.
static void count_entries(struct packer *p, int cut)
{
    p->entries[cut] = weft_forest_cuts_has(&p->cuts, cut, p->root) ? 0 : -1;
    for (int i = 0; i + 1 < p->size; i++)
        p->entries[cut] += weft_forest_cuts_has(&p->cuts, cut, p->arcs[p->edges[i]].to) &&
                           !weft_forest_cuts_has(&p->cuts, cut, p->from[i]);
}

// Keeps the cut of the last flow, which found `slack` for one more entry of the growing tree.
static void keep_cut(struct packer *p, int64_t slack)
{
    int cut = weft_forest_cuts_keep(&p->cuts, p->flow, slack);
    count_entries(p, cut);
    p->cuts.slack[cut] += p->weight * p->entries[cut];
}

// How many copies of the growing tree may use x -> y, at most `most`.
static int64_t ask(struct packer *p, int x, int y, int64_t most)
{
    int64_t others = p->total - p->weight;
    int64_t at_root = p->left[x] - (x == p->root ? p->weight : 0);
    weft_maxflow_set(p->flow, p->root_arc[x], p->total, 0);
    int64_t flow = weft_maxflow_run(p->flow, y, p->n, others + most);
    p->work += p->first[p->n] + p->n;
    weft_maxflow_set(p->flow, p->root_arc[x], at_root, 0);
    if (flow < others + most)
        keep_cut(p, flow - others);
    return flow - others;
}

// Other copies than so far: what is left over is at the root.
static void set_weight(struct packer *p, int64_t weight)
{
    int64_t less = p->weight - weight;
    for (int i = 0; i + 1 < p->size; i++)
        set_arc(p, p->edges[i], p->arcs[p->edges[i]].left + less);
    p->weight = weight;
    weft_maxflow_set(p->flow, p->root_arc[p->root], p->left[p->root] - weight, 0);
}

static void add_edge(struct packer *p, int x, int a)
{
    int y = p->arcs[a].to;
    const uint64_t *at_x = &p->cuts.inside[(size_t)x * WORDS];
    const uint64_t *at_y = &p->cuts.inside[(size_t)y * WORDS];
    for (int word = 0; word * 64 < p->cuts.num; word++)
        for (uint64_t set = at_y[word] & ~at_x[word]; set; set &= set - 1)
            p->entries[word * 64 + __builtin_ctzll(set)]++;
    p->edges[p->size - 1] = a;
    p->from[p->size - 1] = x;
    p->depth[y] = p->depth[x] + 1;
    p->queue[p->size++] = y;
    set_arc(p, a, p->arcs[a].left - p->weight);
}

// Into p->order: the arcs of x that lead out of the tree, in the order to try them.
static int order_arcs(struct packer *p, int x)
{
    int degree = p->first[x + 1] - p->first[x], count = 0;
    for (int j = 0; j < degree; j++) {
        int a = p->first[x] + (j + p->root) % degree, at = count;
        if (p->depth[p->arcs[a].to] >= 0 || p->arcs[a].left == 0)
            continue;
        for (; p->style->widest_first && at > 0; at--) {
            if (p->arcs[p->order[at - 1]].left >= p->arcs[a].left)
                break;
            p->order[at] = p->order[at - 1];
        }
        p->order[at] = a;
        count++;
    }
    return count;
}

/* Adds arc a for at least `least` copies and as many as it takes. */
static bool try_arc(struct packer *p, int x, int a, int64_t least)
{
    int64_t weight = p->weight, most = p->arcs[a].left < weight ? p->arcs[a].left : weight;
    int64_t refused = INT64_MAX; // the cut that said so is kept: the next bound is less
    while ((most = bound(p, x, p->arcs[a].to, most)) >= least && most < refused) {
        if (most < weight)
            set_weight(p, most);
        if (p->is_hopeful || ask(p, x, p->arcs[a].to, most) == most) {
            add_edge(p, x, a);
            return true;
        }
        refused = most;
        if (most < weight)
            set_weight(p, weight);
    }
    return false;
}

// Adds what takes all copies (of some styles: any), nearest to the root first.
static void grow_near(struct packer *p)
{
    for (int i = 0; i < p->size && p->size < p->n && p->depth[p->queue[i]] < p->most_depth; i++) {
        int x = p->queue[i], count = order_arcs(p, x);
        for (int j = 0; j < count && p->size < p->n; j++)
            try_arc(p, x, p->order[j], p->style->may_thin ? 1 : p->weight);
    }
}

/* The edge that may take most copies, nearest to the root first; 0: there is none. */
static int64_t find_widest(struct packer *p, int *x, int *arc)
{
    int64_t best = 0;
    for (int i = 0; i < p->size; i++) {
        int from = p->queue[i];
        if (p->depth[from] >= p->most_depth)
            continue;
        for (int a = p->first[from]; a < p->first[from + 1]; a++) {
            int64_t most = p->arcs[a].left < p->weight ? p->arcs[a].left : p->weight;
            if (most > p->limit[a])
                most = p->limit[a];
            if (p->depth[p->arcs[a].to] >= 0 || most <= best)
                continue;
            most = bound(p, from, p->arcs[a].to, most);
            if (most > best) {
                best = most;
                *arc = a;
                *x = from;
            }
        }
    }
    return best;
}

// Adds the edge that takes most copies, with so many. False: there is none.
static bool grow_lowered(struct packer *p)
{
    int64_t weight = p->weight, best;
    int x = 0, a = 0;
    for (int i = 0; i < p->first[p->n]; i++)
        p->limit[i] = weight;
    while ((best = find_widest(p, &x, &a)) > 0) {
        set_weight(p, best);
        if (ask(p, x, p->arcs[a].to, best) == best) {
            add_edge(p, x, a);
            return true;
        }
        p->limit[a] = bound(p, x, p->arcs[a].to, best); // by the cut just kept
        set_weight(p, weight);
        if (p->limit[a] == best) // in vain hope: the tree must enter a cut that is full
            return false;
    }
    return false;
}

static weft_status keep_tree(struct packer *p, struct weft_error *error)
{
    struct weft_forest_packing *packing = p->packing;
    size_t edges_per_tree = 2 * (size_t)(p->n - 1);
    if (packing->num_trees == packing->room) {
        size_t room = packing->room ? 2 * (size_t)packing->room : 64;
        struct weft_forest_plain_tree *trees = realloc(packing->trees, room * sizeof *trees);
        if (!trees)
            return no_memory(error);
        packing->trees = trees;
        int *edges = realloc(packing->edges, (room * edges_per_tree + 1) * sizeof *edges);
        if (!edges)
            return no_memory(error);
        packing->edges = edges;
        packing->room = (int)room;
    }
    int *edge = packing->edges + (size_t)packing->num_trees * edges_per_tree;
    for (int i = 0; i + 1 < p->size; i++) {
        int to = p->arcs[p->edges[i]].to;
        *edge++ = p->from[i];
        *edge++ = to;
        if (p->depth[to] > packing->depth)
            packing->depth = p->depth[to];
    }
    packing->trees[packing->num_trees++] = (struct weft_forest_plain_tree){p->root, p->weight};
    return WEFT_OK;
}

/* *grown: false where the tree would be too deep, or there was too much work; it is gone then. */
static weft_status grow_tree(struct packer *p, int root, int64_t most, bool *grown,
                             struct weft_error *error)
{
    p->root = root;
    p->weight = p->left[root] < most ? p->left[root] : most;
    p->size = 1;
    p->queue[0] = root;
    memset(p->depth, -1, (size_t)p->n * sizeof *p->depth);
    p->depth[root] = 0;
    for (int c = 0; c < p->cuts.num; c++)
        count_entries(p, c);
    set_weight(p, p->weight);
    *grown = false;
    while (grow_near(p), p->size < p->n)
        if (p->work > p->work_left || !grow_lowered(p)) {
            set_weight(p, 0);
            return WEFT_OK;
        }
    for (int c = 0; c < p->cuts.num; c++)
        p->cuts.slack[c] -= p->weight * p->entries[c];
    p->left[root] -= p->weight;
    p->total -= p->weight;
    *grown = true;
    return keep_tree(p, error);
}

static weft_status prepare(struct packer *p, struct weft_error *error)
{
    const struct weft_forest_split *split = p->split;
    size_t n = (size_t)p->n, num_arcs = 0;
    for (int x = 0; x < p->n; x++)
        for (int y = 0; y < p->n; y++)
            num_arcs += split->capacity[(size_t)x * (size_t)split->num_vertices + (size_t)y] > 0;
    p->first = malloc((n + 1) * sizeof *p->first);
    p->arcs = malloc((num_arcs + 1) * sizeof *p->arcs);
    p->flow = weft_maxflow_create(p->n + 1);
    p->root_arc = malloc(n * sizeof *p->root_arc);
    p->left = malloc(n * sizeof *p->left);
    p->entries = malloc(WEFT_FOREST_MAX_CUTS * sizeof *p->entries);
    p->mark.arc_left = malloc((num_arcs + 1) * sizeof *p->mark.arc_left);
    p->mark.left = malloc(n * sizeof *p->mark.left);
    p->mark.slack = malloc(WEFT_FOREST_MAX_CUTS * sizeof *p->mark.slack);
    p->queue = malloc(n * sizeof *p->queue);
    p->depth = malloc(n * sizeof *p->depth);
    p->edges = malloc(n * sizeof *p->edges);
    p->from = malloc(n * sizeof *p->from);
    p->order = malloc(n * sizeof *p->order);
    p->limit = malloc((num_arcs + 1) * sizeof *p->limit);
    if (!weft_forest_cuts_init(&p->cuts, p->n) || !p->first || !p->arcs || !p->flow ||
        !p->root_arc || !p->left || !p->entries || !p->mark.arc_left || !p->mark.left ||
        !p->mark.slack || !p->queue || !p->depth || !p->edges || !p->from || !p->order || !p->limit)
        return no_memory(error);
    int count = 0;
    for (int x = 0; x < p->n; x++) {
        p->first[x] = count;
        for (int y = 0; y < p->n; y++) {
            int64_t left = split->capacity[(size_t)x * (size_t)split->num_vertices + (size_t)y];
            if (left <= 0)
                continue;
            p->arcs[count] = (struct arc){y, weft_maxflow_add(p->flow, y, x, left, 0), left};
            if (p->arcs[count++].in_flow < 0)
                return no_memory(error);
        }
    }
    p->first[p->n] = count;
    for (int v = 0; v < p->n; v++) {
        p->root_arc[v] = weft_maxflow_add(p->flow, v, p->n, 0, 0);
        if (p->root_arc[v] < 0)
            return no_memory(error);
    }
    return WEFT_OK;
}

static void start_again(struct packer *p, const struct style *style, int most_depth)
{
    const struct weft_forest_split *split = p->split;
    p->style = style;
    p->most_depth = most_depth;
    weft_forest_cuts_forget(&p->cuts);
    p->next_root = 0;
    p->total = 0;
    for (int x = 0; x < p->n; x++)
        for (int a = p->first[x]; a < p->first[x + 1]; a++)
            set_arc(
                p, a,
                split->capacity[(size_t)x * (size_t)split->num_vertices + (size_t)p->arcs[a].to]);
    for (int v = 0; v < p->n; v++) {
        p->left[v] = p->asked[v];
        p->total += p->asked[v];
        weft_maxflow_set(p->flow, p->root_arc[v], p->asked[v], 0);
    }
}

/* ---- in hope ---- */

static void set_mark(struct packer *p)
{
    struct mark *mark = &p->mark;
    for (int a = 0; a < p->first[p->n]; a++)
        mark->arc_left[a] = p->arcs[a].left;
    memcpy(mark->left, p->left, (size_t)p->n * sizeof *mark->left);
    memcpy(mark->slack, p->cuts.slack, WEFT_FOREST_MAX_CUTS * sizeof *mark->slack);
    mark->total = p->total;
    mark->num_trees = p->packing->num_trees;
    mark->depth = p->packing->depth;
    mark->next_root = p->next_root;
}

// What a cut can spare, no tree growing.
static int64_t slack_of(const struct packer *p, int cut)
{
    int64_t slack = -p->total;
    for (int x = 0; x < p->n; x++) {
        if (weft_forest_cuts_has(&p->cuts, cut, x)) {
            slack += p->left[x];
            continue;
        }
        for (int a = p->first[x]; a < p->first[x + 1]; a++)
            if (weft_forest_cuts_has(&p->cuts, cut, p->arcs[a].to))
                slack += p->arcs[a].left;
    }
    return slack;
}

// Cuts kept since the mark stay: their number then was `num_ever`.
static void go_back(struct packer *p, int num_ever)
{
    const struct mark *mark = &p->mark;
    for (int a = 0; a < p->first[p->n]; a++)
        if (p->arcs[a].left != mark->arc_left[a])
            set_arc(p, a, mark->arc_left[a]);
    for (int v = 0; v < p->n; v++) {
        p->left[v] = mark->left[v];
        weft_maxflow_set(p->flow, p->root_arc[v], p->left[v], 0);
    }
    memcpy(p->cuts.slack, mark->slack, WEFT_FOREST_MAX_CUTS * sizeof *mark->slack);
    p->total = mark->total;
    p->packing->num_trees = mark->num_trees;
    p->packing->depth = mark->depth;
    p->next_root = mark->next_root;
    for (int c = num_ever; c < p->cuts.num_ever; c++)
        p->cuts.slack[c % WEFT_FOREST_MAX_CUTS] = slack_of(p, c % WEFT_FOREST_MAX_CUTS);
}

/* Whether the trees still to grow can reach every terminal. Cuts that hold them back are kept. A
 * terminal that is reached joins the source for those after it: cuts around it are known to be
 * good. */
static bool is_still_feasible(struct packer *p)
{
    int num_ever = p->cuts.num_ever;
    for (int v = 0; v < p->n && p->cuts.num_ever < num_ever + MOST_NEW_CUTS; v++) {
        bool is_behind = false;
        for (int c = num_ever; c < p->cuts.num_ever && !is_behind; c++)
            is_behind = weft_forest_cuts_has(&p->cuts, c % WEFT_FOREST_MAX_CUTS, v);
        if (is_behind)
            continue;
        int64_t flow = weft_maxflow_run(p->flow, v, p->n, p->total);
        p->work += (p->first[p->n] + p->n) / SHARE_OF_LOOK;
        if (flow < p->total)
            weft_forest_cuts_keep(&p->cuts, p->flow, flow - p->total);
        else
            weft_maxflow_set(p->flow, p->root_arc[v], p->total, 0);
    }
    for (int v = 0; v < p->n; v++)
        weft_maxflow_set(p->flow, p->root_arc[v], p->left[v], 0);
    return p->cuts.num_ever == num_ever;
}

static weft_status grow_next(struct packer *p, bool *grown, struct weft_error *error)
{
    while (p->left[p->next_root] == 0)
        p->next_root = (p->next_root + 1) % p->n;
    int root = p->next_root;
    WEFT_TRY(
        grow_tree(p, root, (p->asked[root] + p->style->turns - 1) / p->style->turns, grown, error));
    if (*grown)
        p->next_root = (root + 1) % p->n;
    return WEFT_OK;
}

/* Grows up to *count trees without a question, then looks whether all was well; if not, again, with
 * the cuts found and half as many. What cannot be finished in hope is grown with care. *grown: as
 * of grow_tree. */
static weft_status grow_some(struct packer *p, int *count, int *failures, bool *grown,
                             struct weft_error *error)
{
    int num_ever = p->cuts.num_ever, made = 0;
    *grown = true;
    p->is_hopeful = true;
    set_mark(p);
    while (*grown && made < *count && p->total > 0 && *failures < MOST_FAILURES) {
        WEFT_TRY(grow_next(p, grown, error));
        made += *grown;
    }
    p->is_hopeful = false;
    if (made > 0 && !is_still_feasible(p)) {
        go_back(p, num_ever);
        *failures += *count == 1;
        *count = *count > 1 ? *count / 2 : 1;
        *grown = p->work <= p->work_left;
        return WEFT_OK;
    }
    if (!*grown || *failures == MOST_FAILURES)
        WEFT_TRY(grow_next(p, grown, error));
    *failures = 0;
    *count = 2 * *count < MOST_IN_HOPE ? 2 * *count : MOST_IN_HOPE;
    return WEFT_OK;
}

/* *packed: false where it would be too deep, or there was too much work. */
static weft_status pack(struct packer *p, const struct style *style, int most_depth,
                        struct weft_forest_packing *packing, bool *packed, struct weft_error *error)
{
    int count = 1, failures = 0;
    start_again(p, style, most_depth);
    *packing = (struct weft_forest_packing){.num_terminals = p->n};
    p->packing = packing;
    *packed = true;
    while (*packed && p->total > 0)
        WEFT_TRY(grow_some(p, &count, &failures, packed, error));
    return WEFT_OK;
}

/* No forest is less deep: the most edges between a root and the terminal farthest from it. */
static int least_depth(struct packer *p)
{
    int least = 0;
    for (int root = 0; root < p->n; root++) {
        if (p->asked[root] == 0)
            continue;
        memset(p->depth, -1, (size_t)p->n * sizeof *p->depth);
        p->depth[p->queue[0] = root] = 0;
        for (int head = 0, tail = 1; head < tail; head++)
            for (int x = p->queue[head], a = p->first[x]; a < p->first[x + 1]; a++)
                if (p->depth[p->arcs[a].to] < 0) {
                    p->depth[p->arcs[a].to] = p->depth[x] + 1;
                    p->queue[tail++] = p->arcs[a].to;
                }
        for (int v = 0; v < p->n; v++)
            if (p->depth[v] > least)
                least = p->depth[v];
    }
    return least;
}

static weft_status pack_best(struct packer *p, struct weft_forest_packing *packing,
                             struct weft_error *error)
{
    bool packed;
    int least = least_depth(p);
    p->work_left = (int64_t)WEFT_FOREST_MAX_FLOWS * (p->first[p->n] + p->n);
    WEFT_TRY(pack(p, &styles[0], p->n, packing, &packed, error));
    if (!packed && p->work > p->work_left)
        return weft_fail(error, WEFT_UNSUPPORTED, "a forest that takes more than %d maximum flows",
                         WEFT_FOREST_MAX_FLOWS);
    if (!packed)
        return weft_fail(error, WEFT_INTERNAL, "a tree rooted at terminal %d ends at %d of %d",
                         p->root, p->size, p->n);
    p->work = 0;
    p->work_left = most_work;
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        do {
            struct weft_forest_packing other;
            packed = false;
            if (packing->depth <= least || p->work > p->work_left)
                break;
            weft_status status = pack(p, &styles[i], packing->depth - 1, &other, &packed, error);
            weft_forest_packing_free(packed ? packing : &other);
            if (packed)
                *packing = other;
            WEFT_TRY(status);
        } while (packed);
    return WEFT_OK;
}

weft_status weft_forest_pack_trees(const struct weft_forest_split *split, const int64_t *weight,
                                   struct weft_forest_packing *packing, struct weft_error *error)
{
    *packing = (struct weft_forest_packing){.num_terminals = split->num_terminals};
    struct packer p = {.split = split, .n = split->num_terminals, .asked = weight};
    weft_status status = prepare(&p, error);
    if (status == WEFT_OK)
        status = pack_best(&p, packing, error);
    free(p.first);
    free(p.arcs);
    weft_maxflow_destroy(&p.flow);
    free(p.root_arc);
    free(p.left);
    weft_forest_cuts_free(&p.cuts);
    free(p.entries);
    free(p.mark.arc_left);
    free(p.mark.left);
    free(p.mark.slack);
    free(p.queue);
    free(p.depth);
    free(p.edges);
    free(p.from);
    free(p.order);
    free(p.limit);
    return status;
}

void weft_forest_packing_free(struct weft_forest_packing *packing)
{
    free(packing->trees);
    free(packing->edges);
    *packing = (struct weft_forest_packing){0};
}
