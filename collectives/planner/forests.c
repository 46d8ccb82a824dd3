/*
 * SPDX-License-Identifier: Apache-2.0
 * See forests.h. For every number of units the smallest U is sought for which floor(U * capacity)
 * unit trees on each arc are enough (see topology/optimum.h), and the trees are packed.
 */
#include "collectives/planner/forests.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/planner/forests_private.h"
#include "topology/optimum.h"

enum {
    PLANS_LIMIT = 8,
    UNITS_LIMIT = 4096,
    MANY_RANKS = 32,
    SHARED_RANKS = 64,
    GOOD_ENOUGH = 1050,
    ALL_ROOTS = -1
};

// Trees of one kind, packed: `units` at each root.
struct packed {
    bool is_reversed;
    int root; // or ALL_ROOTS
    int64_t units;
    struct weft_fraction u;
    struct weft_forest *forest;
    struct packed *next;
};

// The plans of one kind of collective.
struct planned {
    weft_collective collective; // see kind_of
    int root;
    int num_plans;
    struct weft_forest_plan plans[PLANS_LIMIT];
    int64_t *firsts[PLANS_LIMIT];
    struct weft_forest *own[2 * PLANS_LIMIT]; // forests that no other plan uses
    int num_own;
    struct planned *next;
};

struct weft_forests {
    bool is_known;
    const char *refusal; // NULL: forests exist here
    bool is_symmetric;   // every arc has an equal one back: trees serve both ways
    struct weft_network *reversed;
    struct packed *packed;
    struct planned *planned;
};

struct weft_forests *weft_forests_create(void)
{
    return calloc(1, sizeof(struct weft_forests));
}

void weft_forests_destroy(struct weft_forests **forests)
{
    if (!*forests)
        return;
    for (struct packed *packed = (*forests)->packed, *next; packed; packed = next) {
        next = packed->next;
        weft_forest_destroy(&packed->forest);
        free(packed);
    }
    for (struct planned *planned = (*forests)->planned, *next; planned; planned = next) {
        next = planned->next;
        for (int i = 0; i < planned->num_plans; i++) {
            free(planned->firsts[i]);
            free(planned->plans[i].channels);
        }
        for (int i = 0; i < planned->num_own; i++)
            weft_forest_destroy(&planned->own[i]);
        free(planned);
    }
    weft_network_destroy(&(*forests)->reversed);
    free(*forests);
    *forests = NULL;
}

static bool is_symmetric(const struct weft_network *network, const struct weft_network *reversed)
{
    for (int i = 0; i < network->num_arcs; i++) {
        const struct weft_arc *there = &network->arcs[i], *back = &reversed->arcs[i];
        if (there->from != back->from || there->to != back->to || there->capacity != back->capacity)
            return false;
    }
    return true;
}

/* ---- packing ---- */

static const struct packed *pack(const struct weft_layout *layout, bool is_reversed, int root,
                                 int64_t units)
{
    struct weft_forests *forests = layout->forests;
    const struct weft_network *network = is_reversed ? forests->reversed : layout->network;
    struct weft_error error;
    for (struct packed *old = forests->packed; old; old = old->next)
        if (old->is_reversed == is_reversed && old->root == root && old->units == units)
            return old;
    struct packed *made = calloc(1, sizeof *made);
    int64_t *weight = calloc((size_t)layout->num_ranks, sizeof *weight);
    int64_t *capacity = calloc((size_t)network->num_arcs + 1, sizeof *capacity);
    bool is_packed = false;
    for (int r = 0; weight && r < layout->num_ranks; r++)
        weight[r] = root == ALL_ROOTS || root == r ? units : 0;
    if (made && weight && capacity &&
        weft_optimum_units(network, weight, &made->u, capacity, &error) == WEFT_OK) {
        const struct weft_forest_request request = {capacity, weight};
        is_packed = weft_forest_pack(network, &request, &made->forest, &error) == WEFT_OK;
    }
    free(capacity);
    free(weight);
    if (!is_packed) {
        free(made);
        return NULL;
    }
    made->is_reversed = is_reversed, made->root = root, made->units = units;
    made->next = forests->packed;
    forests->packed = made;
    return made;
}

/* ---- plans ---- */

// Collectives that use the same trees.
static weft_collective kind_of(weft_collective collective)
{
    return collective == WEFT_ALL_GATHER_V       ? WEFT_ALL_GATHER
           : collective == WEFT_REDUCE_SCATTER_V ? WEFT_REDUCE_SCATTER
                                                 : collective;
}

// Takes `first`.
static void take_plan(const struct weft_layout *layout, struct planned *planned,
                      const struct weft_forest *up, const struct weft_forest *down, int64_t *first)
{
    struct weft_forest_plan plan = {
        .num_ranks = layout->num_ranks, .up = up, .down = down, .first = first};
    if (planned->num_plans == PLANS_LIMIT || !weft_forests_measure(layout, &plan)) {
        free(plan.channels);
        free(first);
        return;
    }
    planned->firsts[planned->num_plans] = first;
    planned->plans[planned->num_plans++] = plan;
}

static void add_plan(const struct weft_layout *layout, struct planned *planned, int64_t units)
{
    struct weft_forests *forests = layout->forests;
    bool has_up = weft_collective_reduces(planned->collective);
    bool has_down = !has_up || planned->collective == WEFT_ALL_REDUCE;
    bool is_rooted = weft_collective_is_rooted(planned->collective);
    int n = layout->num_ranks, root = is_rooted ? planned->root : ALL_ROOTS;
    const struct packed *up = NULL, *down = NULL;
    if (has_up)
        up = pack(layout, !forests->is_symmetric, root, units);
    if (has_down)
        down = pack(layout, false, root, units);
    int64_t *first = calloc((size_t)n + 1, sizeof *first);
    for (int r = 0; first && r < n; r++)
        first[r + 1] = first[r] + (root == ALL_ROOTS || root == r ? units : 0);
    if (first && (up || !has_up) && (down || !has_down))
        take_plan(layout, planned, up ? up->forest : NULL, down ? down->forest : NULL, first);
    else
        free(first);
}

// All-reduce with unequal shares, where those are better.
static void add_shared(const struct weft_layout *layout, struct planned *planned, int64_t units)
{
    struct weft_forests *forests = layout->forests;
    int n = layout->num_ranks;
    struct weft_forest *up = NULL, *down = NULL;
    struct weft_error error;
    int64_t *first = calloc((size_t)n + 1, sizeof *first);
    int64_t *weight = calloc((size_t)n, sizeof *weight);
    if (first && weight && planned->num_plans < PLANS_LIMIT &&
        weft_forests_share(layout->network, forests->reversed, units, weight, &up, &down, &error) ==
            WEFT_OK) {
        planned->own[planned->num_own++] = up;
        planned->own[planned->num_own++] = down;
        for (int r = 0; r < n; r++)
            first[r + 1] = first[r] + weight[r];
        take_plan(layout, planned, up, down, first);
        first = NULL;
    }
    free(first);
    free(weight);
}

// Made, not packed.
static void add_boxes(const struct weft_layout *layout, struct planned *planned)
{
    struct weft_forest *forest = NULL;
    struct weft_error error;
    int n = layout->num_ranks;
    bool is_up = planned->collective == WEFT_REDUCE;
    if (is_up && !layout->forests->is_symmetric)
        return;
    int64_t *first = calloc((size_t)n + 1, sizeof *first);
    if (first && weft_forests_of_boxes(layout, planned->root, &forest, &error) == WEFT_OK) {
        planned->own[planned->num_own++] = forest;
        for (int r = 0; r < n; r++)
            first[r + 1] = first[r] + (r == planned->root ? forest->total_weight : 0);
        take_plan(layout, planned, is_up ? forest : NULL, is_up ? NULL : forest, first);
    } else {
        free(first);
    }
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

// Seconds per byte of one root's share at best.
static weft_status find_best(const struct weft_layout *layout, const struct planned *planned,
                             struct weft_fraction *best, int64_t *units, struct weft_error *error)
{
    bool reduces = weft_collective_reduces(planned->collective);
    bool is_up = reduces && planned->collective != WEFT_ALL_REDUCE;
    if (!weft_collective_is_rooted(planned->collective)) {
        struct weft_optimum optimum = {0};
        WEFT_TRY(weft_optimum_all_gather(layout->network, is_up, &optimum, error));
        *best = optimum.inverse_x;
        *units = optimum.k;
        weft_optimum_free(&optimum);
        return WEFT_OK;
    }
    bool *is_in = calloc((size_t)layout->network->num_vertices + 1, sizeof *is_in);
    if (!is_in)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for trees");
    *best = (struct weft_fraction){1, 1};
    weft_status status = weft_optimum_broadcast(layout->network, is_up, planned->root,
                                                &best->denominator, is_in, error);
    free(is_in);
    if (status == WEFT_OK) { // the fewest trees that fill the links exactly
        int64_t part = best->denominator;
        for (int a = 0; a < layout->network->num_arcs; a++)
            part = common_divisor(part, layout->network->arcs[a].capacity);
        *units = best->denominator / part < UNITS_LIMIT ? best->denominator / part : UNITS_LIMIT;
    }
    return status;
}

// How much slower `units` at each root are than the best, in thousandths: 1000 is as good.
static int64_t slowness(const struct weft_layout *layout, const struct planned *planned,
                        struct weft_fraction best, int64_t units)
{
    struct weft_forests *forests = layout->forests;
    bool is_up = planned->collective == WEFT_REDUCE_SCATTER || planned->collective == WEFT_REDUCE;
    const struct weft_network *network =
        is_up && !forests->is_symmetric ? forests->reversed : layout->network;
    bool is_rooted = weft_collective_is_rooted(planned->collective);
    int64_t *weight = calloc((size_t)layout->num_ranks, sizeof *weight);
    struct weft_fraction u;
    struct weft_error error;
    for (int r = 0; weight && r < layout->num_ranks; r++)
        weight[r] = !is_rooted || planned->root == r ? units : 0;
    bool is_found = weight && weft_optimum_units(network, weight, &u, NULL, &error) == WEFT_OK;
    free(weight);
    if (!is_found)
        return INT64_MAX;
    double ratio = (double)u.numerator / (double)u.denominator / (double)units *
                   (double)best.denominator / (double)best.numerator;
    return ratio < 1e6 ? (int64_t)(1000 * ratio + 0.5) : INT64_MAX;
}

// Numbers of units, from one on, as long as each is better than the last; of many ranks one number
// that is good enough.
static void add_packed(const struct weft_layout *layout, struct planned *planned)
{
    const int64_t ladder[] = {1, 2, 4, 8, 16, 32, 0};
    struct weft_error error;
    struct weft_fraction best;
    int64_t optimal = 0, last = INT64_MAX, chosen = 1;
    bool is_rooted = weft_collective_is_rooted(planned->collective);
    bool is_large = layout->num_ranks > MANY_RANKS;
    if (find_best(layout, planned, &best, &optimal, &error) != WEFT_OK)
        return;
    for (size_t i = 0; i < sizeof ladder / sizeof *ladder && last > 1000; i++) {
        int64_t units = ladder[i] ? ladder[i] : optimal;
        if (units > optimal || units * (is_rooted ? 1 : layout->num_ranks) > UNITS_LIMIT)
            continue;
        int64_t ratio = slowness(layout, planned, best, units);
        if (ratio >= last - last / 50)
            continue;
        last = ratio;
        chosen = units;
        if (!is_large)
            add_plan(layout, planned, units);
        else if (ratio <= GOOD_ENOUGH || units >= 16)
            break;
    }
    if (is_large)
        add_plan(layout, planned, chosen);
    if (is_rooted && layout->num_ranks > 2) // a unit for each neighbour: the shortest trees
        add_plan(layout, planned, layout->num_ranks - 1);
    if (planned->collective == WEFT_ALL_REDUCE && layout->num_ranks <= SHARED_RANKS) {
        add_shared(layout, planned, 4 * layout->num_ranks);
        add_shared(layout, planned, 16 * layout->num_ranks);
    }
}

static void add_plans(const struct weft_layout *layout, struct planned *planned)
{
    if (layout->num_ranks <= WEFT_FOREST_RANKS_LIMIT)
        add_packed(layout, planned);
    if (weft_collective_is_rooted(planned->collective))
        add_boxes(layout, planned);
}

static const struct planned *planned_for(const struct weft_layout *layout,
                                         weft_collective collective, int root)
{
    struct weft_forests *forests = layout->forests;
    collective = kind_of(collective);
    root = weft_collective_is_rooted(collective) ? root : 0;
    for (const struct planned *old = forests->planned; old; old = old->next)
        if (old->collective == collective && old->root == root)
            return old;
    struct planned *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->collective = collective, made->root = root;
    add_plans(layout, made);
    made->next = forests->planned;
    forests->planned = made;
    return made;
}

static void look(const struct weft_layout *layout)
{
    struct weft_forests *forests = layout->forests;
    forests->is_known = true;
    if (!layout->network)
        forests->refusal = "the links between the ranks are not known";
    else if (weft_network_check(NULL, layout->network, NULL) != WEFT_OK)
        forests->refusal = "a switch carries more in than out, or a rank cannot be reached";
    else if (!(forests->reversed = weft_network_reverse(layout->network)))
        forests->refusal = "no memory for trees";
    else
        forests->is_symmetric = is_symmetric(layout->network, forests->reversed);
}

int weft_forests_count(const struct weft_layout *layout, weft_collective collective, int root,
                       const char **reason)
{
    if (!layout->forests->is_known)
        look(layout);
    *reason = layout->forests->refusal;
    if (*reason)
        return 0;
    if (layout->num_ranks < 2)
        return 1;
    const struct planned *planned = planned_for(layout, collective, root);
    if (!planned || !planned->num_plans)
        *reason = layout->num_ranks > WEFT_FOREST_RANKS_LIMIT
                      ? "packing trees for more than 128 ranks takes too long"
                      : "no trees could be packed";
    return *reason ? 0 : planned->num_plans;
}

const struct weft_forest_plan *weft_forests_get(const struct weft_layout *layout,
                                                weft_collective collective, int root, int number)
{
    const struct planned *planned = planned_for(layout, collective, root);
    return planned && number < planned->num_plans ? &planned->plans[number] : NULL;
}
