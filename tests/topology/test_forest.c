/*
 * SPDX-License-Identifier: Apache-2.0
 * Forests: known machines, random small networks at their exact optimum (found by looking at every
 * cut) with equal and unequal weights, every single split looked at, what is refused, and that the
 * proof of a forest refuses broken ones.
 */
#include "tests/topology/compare.h"

#include "tests/topology/machines.h"
#include "topology/forest_private.h"
#include "topology/maxflow.h"
#include "topology/optimum.h"
#include "topology/synthetic.h"

enum { NUM_RANDOM = WEFT_RUNS_SLOWLY ? 300 : 1500 };

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

static void free_case(struct weft_network *net, struct weft_forest_request *request)
{
    free((void *)request->capacity);
    free((void *)request->weight);
    machine_network_free(net);
}

static struct weft_forest *pack(const struct weft_network *net,
                                const struct weft_forest_request *request, const char *name)
{
    struct weft_forest *forest = NULL;
    struct weft_error error = {0};
    if (weft_forest_pack(net, request, &forest, &error) != WEFT_OK ||
        weft_forest_check(net, request, forest, &error) != WEFT_OK)
        fail_msg("%s: %s", name, error.text);
    return forest;
}

/* U * b for every arc, k for every terminal. */
static struct weft_forest_request scaled(const struct weft_network *net, int64_t numerator,
                                         int64_t denominator, int64_t k)
{
    int64_t *capacity = calloc((size_t)net->num_arcs + 1, sizeof *capacity);
    int64_t *weight = calloc((size_t)net->num_terminals + 1, sizeof *weight);
    for (int a = 0; a < net->num_arcs; a++) {
        assert_int_equal(net->arcs[a].capacity * numerator % denominator, 0);
        capacity[a] = net->arcs[a].capacity * numerator / denominator;
    }
    for (int v = 0; v < net->num_terminals; v++)
        weight[v] = k;
    return (struct weft_forest_request){capacity, weight};
}

static void assert_same(const struct weft_forest *a, const struct weft_forest *b)
{
    int num_edges = a->num_trees * (a->num_terminals - 1);
    assert_int_equal(a->num_trees, b->num_trees);
    for (int i = 0; i < a->num_trees; i++) {
        assert_int_equal(a->trees[i].root, b->trees[i].root);
        assert_int_equal(a->trees[i].weight, b->trees[i].weight);
        assert_int_equal(a->trees[i].first_edge, b->trees[i].first_edge);
    }
    for (int i = 0; i < num_edges; i++) {
        const struct weft_forest_edge *x = &a->edges[i], *y = &b->edges[i];
        assert_int_equal(x->from, y->from);
        assert_int_equal(x->to, y->to);
        assert_int_equal(x->num_hops, y->num_hops);
        for (int h = 0; h < x->num_hops; h++)
            assert_int_equal(a->hops[x->first_hop + h], b->hops[y->first_hop + h]);
    }
}

static void test_machines(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_MACHINES; i++) {
        struct weft_network *net = machine_network(i);
        struct weft_forest_request request =
            scaled(net, machines[i].numerator, machines[i].denominator, machines[i].k);
        struct weft_forest *forest = pack(net, &request, machines[i].name);
        assert_int_equal(forest->total_weight, net->num_terminals * machines[i].k);
        for (int t = 0; t < forest->num_trees; t++) {
            assert_true(forest->trees[t].depth <= forest->depth);
            assert_true(t == 0 || forest->trees[t - 1].root <= forest->trees[t].root);
        }
        if (net->num_terminals <= 32) {
            struct weft_forest *again = pack(net, &request, machines[i].name);
            assert_same(forest, again);
            weft_forest_destroy(&again);
        }
        if (forest->depth > machines[i].depth)
            fail_msg("%s: depth %d", machines[i].name, forest->depth);
        weft_forest_destroy(&forest);
        assert_null(forest);
        free_case(net, &request);
    }
}

/* ---- graphs, from their network to their optimum to their forest ---- */

static void pack_graph(const char *text, bool is_raw)
{
    struct weft_topology *t = NULL;
    struct weft_network *net = NULL;
    struct weft_optimum optimum = {0};
    struct weft_error error = {0};
    struct weft_network_options options = {.is_raw = is_raw};
    if (weft_topology_from_synthetic(text, &t, &error) != WEFT_OK ||
        weft_network_create(t, &options, &net, &error) != WEFT_OK ||
        weft_optimum_all_gather(net, false, &optimum, &error) != WEFT_OK)
        fail_msg("%s: %s", text, error.text);
    int64_t *capacity = calloc((size_t)net->num_arcs + 1, sizeof *capacity);
    int64_t *weight = calloc((size_t)net->num_terminals + 1, sizeof *weight);
    for (int a = 0; a < net->num_arcs; a++)
        capacity[a] = (int64_t)((__int128)net->arcs[a].capacity * optimum.u.numerator /
                                optimum.u.denominator);
    for (int v = 0; v < net->num_terminals; v++)
        weight[v] = optimum.k;
    struct weft_forest_request request = {capacity, weight};
    struct weft_forest *forest = pack(net, &request, text);
    assert_int_equal(forest->total_weight, optimum.k * net->num_terminals);
    print_message("%s: %d vertices, k %lld, %d kinds of trees, depth %d\n", text, net->num_vertices,
                  (long long)optimum.k, forest->num_trees, forest->depth);
    weft_forest_destroy(&forest);
    free(capacity);
    free(weight);
    weft_optimum_free(&optimum);
    weft_network_destroy(&net);
    weft_topology_destroy(&t);
}

static void test_graphs(void **state)
{
    (void)state;
    pack_graph("dgx-h100:2", false);
    pack_graph("dgx-h100:2", true);
    pack_graph("dgx-a100:2", false);
    pack_graph("mi250:2", false);
    pack_graph("superpod-h100:4", false);
    pack_graph("dgx-h100:16", false);
    pack_graph("host:3 numa:2 pcie:2@64 gpu:4@32 nic:2@200", false);
}

/* ---- random networks at their optimum, found over all cuts ---- */

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Switches with the same capacity in and out: made of links, directed rings, and both. */
static struct weft_network *random_network(uint64_t *seed)
{
    int num_terminals = 3 + (int)(next_random(seed) % 4), switches = (int)(next_random(seed) % 4);
    int n = num_terminals + switches, links = n + (int)(next_random(seed) % 8);
    struct draft d = draft_create(n, num_terminals);
    for (int i = 0; i < links; i++) {
        int a = (int)(next_random(seed) % (uint32_t)n), b = (int)(next_random(seed) % (uint32_t)n);
        if (a != b)
            draft_link(&d, a, b, 1 + next_random(seed) % 9);
    }
    for (int i = 0; i < 2; i++) {
        int step = 1 + (int)(next_random(seed) % (uint32_t)(n - 1)), at = 0;
        int64_t capacity = 1 + next_random(seed) % 4;
        do {
            draft_arc(&d, at, (at + step) % n, capacity);
            at = (at + step) % n;
        } while (at != 0);
    }
    for (int i = 0; i < 3; i++) { // terminals may be uneven
        int a = (int)(next_random(seed) % (uint32_t)num_terminals);
        int b = (int)(next_random(seed) % (uint32_t)num_terminals);
        if (a != b)
            draft_arc(&d, a, b, 1 + next_random(seed) % 5);
    }
    return draft_finish(&d);
}

/* The largest (weight in S) / B+(S) over all S that lack a terminal, in lowest terms. False:
 * something is not reached. */
static bool worst_cut(const struct weft_network *net, const int64_t *weight, int64_t *numerator,
                      int64_t *denominator)
{
    *numerator = 0;
    *denominator = 1;
    for (unsigned set = 1; set < 1U << net->num_vertices; set++) {
        int64_t inside = 0, leaving = 0;
        bool has_all = true;
        for (int v = 0; v < net->num_terminals; v++) {
            if (set >> v & 1)
                inside += weight[v];
            else
                has_all = false;
        }
        for (int a = 0; a < net->num_arcs; a++)
            if ((set >> net->arcs[a].from & 1) && !(set >> net->arcs[a].to & 1))
                leaving += net->arcs[a].capacity;
        if (has_all || inside == 0)
            continue;
        if (leaving == 0)
            return false;
        if (inside * *denominator > *numerator * leaving) {
            *numerator = inside;
            *denominator = leaving;
        }
    }
    int64_t divisor = greatest_divisor(*numerator, *denominator);
    *numerator /= divisor;
    *denominator /= divisor;
    return true;
}

struct look {
    int64_t total;
    const int64_t *weight;
    int splits;
};

/* All terminals are still reached by all trees, in a flow of its own. */
static void look_at_split(void *context, const struct weft_forest_split *split)
{
    struct look *look = context;
    int n = split->num_vertices;
    look->splits++;
    for (int v = 0; v < split->num_terminals; v++) {
        struct weft_maxflow *flow = weft_maxflow_create(n + 1);
        for (int i = 0; i < n * n; i++)
            if (split->capacity[i] > 0)
                weft_maxflow_add(flow, i / n, i % n, split->capacity[i], 0);
        for (int c = 0; c < split->num_terminals; c++)
            weft_maxflow_add(flow, n, c, look->weight[c], 0);
        assert_true(weft_maxflow_run(flow, n, v, look->total) == look->total);
        weft_maxflow_destroy(&flow);
    }
}

static void look_at_switches(const struct weft_network *net,
                             const struct weft_forest_request *request, bool upwards, int *splits)
{
    struct look look = {0, request->weight, 0};
    struct weft_forest_observer observer = {look_at_split, &look};
    struct weft_forest_split split;
    struct weft_error error = {0};
    for (int v = 0; v < net->num_terminals; v++)
        look.total += request->weight[v];
    if (weft_forest_split_switches(net, request, upwards, &observer, &split, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int u = 0; u < net->num_vertices; u++)
        for (int t = 0; t < net->num_vertices; t++)
            if (u >= net->num_terminals || t >= net->num_terminals)
                assert_int_equal(split.capacity[u * net->num_vertices + t], 0);
    weft_forest_split_free(&split);
    *splits += look.splits;
}

/* Capacities scaled by the optimum for these weights: tight in at least one cut. */
static bool pack_tight(const struct weft_network *net, const int64_t *share, int case_number,
                       int *splits)
{
    int64_t p, q, g;
    char name[32];
    if (!worst_cut(net, share, &p, &q))
        return false;
    g = q;
    for (int a = 0; a < net->num_arcs; a++)
        g = greatest_divisor(g, net->arcs[a].capacity);
    struct weft_forest_request request = scaled(net, p, g, 0);
    int64_t *weight = (int64_t *)request.weight; // ours, by `scaled`
    for (int v = 0; v < net->num_terminals; v++)
        weight[v] = share[v] * (q / g);
    snprintf(name, sizeof name, "random network %d", case_number);
    struct weft_forest *forest = pack(net, &request, name);
    look_at_switches(net, &request, false, splits);
    look_at_switches(net, &request, true, splits);
    weft_forest_destroy(&forest);

    // one tree more, and it is too much: the optimum was tight
    struct weft_error error = {0};
    for (int v = 0; v < net->num_terminals; v++)
        weight[v] = share[v] * (q / g) + (share[v] > 0);
    assert_int_equal(weft_forest_pack(net, &request, &forest, &error), WEFT_UNSUPPORTED);
    assert_null(forest);
    assert_non_null(strstr(error.text, "terminal"));
    free((void *)request.capacity);
    free(weight);
    return true;
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = 20261125;
    int packed = 0, uneven = 0, splits = 0;
    for (int i = 0; i < NUM_RANDOM; i++) {
        struct weft_network *net = random_network(&seed);
        int64_t share[6];
        for (int v = 0; v < 6; v++)
            share[v] = 1;
        packed += pack_tight(net, share, i, &splits);
        int64_t sum = 0;
        for (int v = 0; v < net->num_terminals; v++)
            sum += share[v] = next_random(&seed) % 4;
        if (sum > 0)
            uneven += pack_tight(net, share, i, &splits);
        machine_network_free(net);
    }
    print_message("%d networks packed with equal weights, %d with others; %d splits looked at\n",
                  packed, uneven, splits);
    assert_true(packed >= NUM_RANDOM / 3 && uneven >= NUM_RANDOM / 3 && splits >= NUM_RANDOM * 3);
}

static void test_broadcast(void **state)
{
    (void)state;
    // all trees at one root, as many as its maximum flow to the worst terminal allows
    struct weft_network *net = mi250_boxes(2);
    struct weft_forest_request request = scaled(net, 1, 1, 0);
    struct weft_maxflow *flow = weft_maxflow_create(net->num_vertices);
    int64_t rate = INT64_MAX;
    for (int a = 0; a < net->num_arcs; a++)
        weft_maxflow_add(flow, net->arcs[a].from, net->arcs[a].to, net->arcs[a].capacity, 0);
    for (int v = 0; v < net->num_terminals; v++)
        if (v != 3) {
            int64_t value = weft_maxflow_run(flow, 3, v, WEFT_MAXFLOW_UNLIMITED);
            rate = value < rate ? value : rate;
        }
    ((int64_t *)request.weight)[3] = rate;
    struct weft_forest *forest = pack(net, &request, "broadcast");
    assert_int_equal(forest->total_weight, rate);
    weft_forest_destroy(&forest);
    weft_maxflow_destroy(&flow);
    free_case(net, &request);
}

static void test_small(void **state)
{
    (void)state;
    struct draft d = draft_create(1, 1);
    struct weft_network *net = draft_finish(&d);
    struct weft_forest_request request = scaled(net, 1, 1, 5);
    struct weft_forest *forest = pack(net, &request, "one terminal");
    assert_int_equal(forest->num_trees, 1);
    assert_int_equal(forest->trees[0].weight, 5);
    assert_int_equal(forest->depth, 0);
    weft_forest_destroy(&forest);
    free_case(net, &request);

    net = dgx_1v();
    request = scaled(net, 1, 25, 0);
    forest = pack(net, &request, "no trees");
    assert_int_equal(forest->num_trees, 0);
    weft_forest_destroy(&forest);
    weft_forest_destroy(&forest); // nothing
    free_case(net, &request);
}

/* ---- refusals ---- */

static void assert_refused(struct weft_network *net, const struct weft_forest_request *request,
                           const char *why)
{
    struct weft_forest *forest = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_forest_pack(net, request, &forest, &error), WEFT_UNSUPPORTED);
    assert_null(forest);
    if (!strstr(error.text, why))
        fail_msg("\"%s\" does not say \"%s\"", error.text, why);
}

static void test_refused(void **state)
{
    (void)state;
    struct draft d = draft_create(5, 3);
    for (int v = 0; v < 3; v++) {
        draft_link(&d, v, 3, 4);
        draft_link(&d, v, 4, 4);
    }
    draft_arc(&d, 4, 0, 1); // vertex 4 sends more than it can get
    struct weft_network *net = draft_finish(&d);
    struct weft_forest_request request = scaled(net, 1, 1, 1);
    assert_refused(net, &request, "switch vertex 4: 12 trees can enter, 13 can leave");
    free_case(net, &request);

    d = draft_create(4, 4);
    for (int v = 0; v < 3; v++)
        draft_link(&d, v, (v + 1) % 3, 10);
    draft_link(&d, 2, 3, 2);
    net = draft_finish(&d);
    request = scaled(net, 1, 1, 1); // three trees would enter terminal 3, two can
    assert_refused(net, &request, "terminal 3: only 3 of 4 trees reach it");
    ((int64_t *)request.weight)[1] = -1;
    assert_refused(net, &request, "terminal 1: weights out of range");
    ((int64_t *)request.weight)[1] = INT64_MAX;
    assert_refused(net, &request, "terminal 1: weights out of range");
    ((int64_t *)request.weight)[1] = 1;
    ((int64_t *)request.capacity)[2] = INT64_MAX;
    assert_refused(net, &request, "arc 2: capacities out of range");
    free_case(net, &request);

    net = dgx_1v();
    request = scaled(net, 1, 25, 1);
    net->num_vertices = WEFT_FOREST_MAX_VERTICES + 1;
    assert_refused(net, &request, "more than 1024 vertices");
    free_case(net, &request);
}

/* ---- the proof finds what is broken ---- */

static void assert_disproved(const struct weft_network *net,
                             const struct weft_forest_request *request,
                             const struct weft_forest *forest, const char *why)
{
    struct weft_error error = {0};
    assert_int_equal(weft_forest_check(net, request, forest, &error), WEFT_INTERNAL);
    if (!strstr(error.text, why))
        fail_msg("\"%s\" does not say \"%s\"", error.text, why);
}

static void test_proof(void **state)
{
    (void)state;
    struct weft_network *net = nvswitch_boxes(2, 450, 50, 1);
    struct weft_forest_request request = scaled(net, 3, 50, 2);
    struct weft_forest *forest = pack(net, &request, "proof");
    struct weft_error error = {0};

    struct weft_forest_tree *tree = &forest->trees[forest->num_trees / 2], tree_was = *tree;
    tree->weight++;
    assert_disproved(net, &request, forest, "");
    *tree = tree_was;
    tree->root = (tree->root + 1) % 16;
    assert_disproved(net, &request, forest, "");
    *tree = tree_was;
    forest->num_trees--;
    assert_disproved(net, &request, forest, "trees are rooted at terminal 15");
    forest->num_trees++;

    struct weft_forest_edge *edge = &forest->edges[tree->first_edge + 7], edge_was = *edge;
    edge->to = edge->from;
    assert_disproved(net, &request, forest, "makes it no tree");
    *edge = edge_was;
    edge->num_hops = 0; // no two GPUs have a link of their own
    assert_disproved(net, &request, forest, "uses no arc");
    *edge = edge_was;
    int *hop = &forest->hops[edge->first_hop], hop_was = *hop;
    *hop = 0;
    assert_disproved(net, &request, forest, "which is no switch");
    *hop = hop_was;
    int64_t *last = &((int64_t *)request.capacity)[net->num_arcs - 1], last_was = *last;
    *last = 0;
    assert_disproved(net, &request, forest, "carries more than 0 trees");
    *last = last_was;
    assert_int_equal(weft_forest_check(net, &request, forest, &error), WEFT_OK);
    weft_forest_destroy(&forest);
    free_case(net, &request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines), cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_random),   cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_small),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
