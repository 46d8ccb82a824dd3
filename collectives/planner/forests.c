/*
 * SPDX-License-Identifier: Apache-2.0
 * See forests.h. For every number of units the smallest U is sought for which floor(U * capacity)
 * unit trees on each arc are enough (see topology/optimum.h), and the trees are packed.
 */
#include "collectives/planner/forests.h"

#include <stdlib.h>
#include <string.h>

#include "topology/optimum.h"

enum { PLANS_LIMIT = 4, UNITS_LIMIT = 4096, MANY_RANKS = 32, ALL_ROOTS = -1 };

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
        for (int i = 0; i < planned->num_plans; i++)
            free(planned->firsts[i]);
        free(planned);
    }
    weft_network_destroy(&(*forests)->reversed);
    free(*forests);
    *forests = NULL;
}

/* ---- the other way round ---- */

static int by_ends(const void *a, const void *b)
{
    const struct weft_arc *left = a, *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return left->to < right->to ? -1 : left->to > right->to;
}

static struct weft_network *reverse(const struct weft_network *network)
{
    struct weft_network *made = calloc(1, sizeof *made);
    size_t vertices = (size_t)network->num_vertices, arcs = (size_t)network->num_arcs;
    if (!made)
        return NULL;
    *made = *network;
    made->arcs = malloc((arcs + 1) * sizeof *made->arcs);
    made->first = calloc(vertices + 1, sizeof *made->first);
    made->node = malloc((vertices + 1) * sizeof *made->node);
    made->num_merged = malloc((vertices + 1) * sizeof *made->num_merged);
    if (!made->arcs || !made->first || !made->node || !made->num_merged) {
        weft_network_destroy(&made);
        return NULL;
    }
    memcpy(made->node, network->node, vertices * sizeof *made->node);
    memcpy(made->num_merged, network->num_merged, vertices * sizeof *made->num_merged);
    for (size_t i = 0; i < arcs; i++) {
        made->arcs[i] = network->arcs[i];
        made->arcs[i].from = network->arcs[i].to;
        made->arcs[i].to = network->arcs[i].from;
        made->first[made->arcs[i].from + 1]++;
    }
    qsort(made->arcs, arcs, sizeof *made->arcs, by_ends);
    for (size_t v = 0; v < vertices; v++)
        made->first[v + 1] += made->first[v];
    return made;
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

static int64_t ps_per_mib(struct weft_fraction up, struct weft_fraction down, int64_t units)
{
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    __int128 price = 0;
    if (up.denominator)
        price += mib_ps / units * up.numerator / up.denominator;
    if (down.denominator)
        price += mib_ps / units * down.numerator / down.denominator;
    return price < 1 ? 1 : price > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)price;
}

static void add_plan(const struct weft_layout *layout, struct planned *planned, int64_t units)
{
    struct weft_forests *forests = layout->forests;
    bool has_up = weft_collective_reduces(planned->collective);
    bool has_down = !has_up || planned->collective == WEFT_ALL_REDUCE;
    bool is_rooted = weft_collective_is_rooted(planned->collective);
    int n = layout->num_ranks, root = is_rooted ? planned->root : ALL_ROOTS;
    const struct packed *up = NULL, *down = NULL;
    const struct weft_fraction none = {0, 0};
    if (has_up)
        up = pack(layout, !forests->is_symmetric, root, units);
    if (has_down)
        down = pack(layout, false, root, units);
    int64_t *first = calloc((size_t)n + 1, sizeof *first);
    if (!first || (has_up && !up) || (has_down && !down) || planned->num_plans == PLANS_LIMIT) {
        free(first);
        return;
    }
    for (int r = 0; r < n; r++)
        first[r + 1] = first[r] + (root == ALL_ROOTS || root == r ? units : 0);
    planned->firsts[planned->num_plans] = first;
    planned->plans[planned->num_plans++] = (struct weft_forest_plan){
        .num_ranks = n,
        .up = up ? up->forest : NULL,
        .down = down ? down->forest : NULL,
        .first = first,
        .ps_per_mib = ps_per_mib(up ? up->u : none, down ? down->u : none, first[n]),
    };
}

// One unit per root, a few, and as many as make the optimum. Of many ranks only the ends.
static void add_plans(const struct weft_layout *layout, struct planned *planned)
{
    struct weft_optimum optimum = {0};
    struct weft_error error;
    bool is_rooted = weft_collective_is_rooted(planned->collective);
    bool is_up = planned->collective == WEFT_REDUCE_SCATTER;
    int64_t best = 8;
    if (!is_rooted) {
        if (weft_optimum_all_gather(layout->network, is_up, &optimum, &error) != WEFT_OK)
            return;
        best = optimum.k;
        weft_optimum_free(&optimum);
    }
    add_plan(layout, planned, 1);
    if (layout->num_ranks <= MANY_RANKS && best > 2)
        add_plan(layout, planned, 2);
    if (layout->num_ranks <= MANY_RANKS && best > 8)
        add_plan(layout, planned, 8);
    while (best * (is_rooted ? 1 : layout->num_ranks) > UNITS_LIMIT)
        best /= 2;
    if (best > 1)
        add_plan(layout, planned, best);
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
    else if (layout->num_ranks > WEFT_FOREST_RANKS_LIMIT)
        forests->refusal = "packing trees for more than 128 ranks takes too long";
    else if (weft_network_check(NULL, layout->network, NULL) != WEFT_OK)
        forests->refusal = "a switch carries more in than out, or a rank cannot be reached";
    else if (!(forests->reversed = reverse(layout->network)))
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
        *reason = "no trees could be packed";
    return *reason ? 0 : planned->num_plans;
}

const struct weft_forest_plan *weft_forests_get(const struct weft_layout *layout,
                                                weft_collective collective, int root, int number)
{
    const struct planned *planned = planned_for(layout, collective, root);
    return planned && number < planned->num_plans ? &planned->plans[number] : NULL;
}
