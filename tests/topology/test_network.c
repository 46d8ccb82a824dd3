/*
 * SPDX-License-Identifier: Apache-2.0
 * Networks of graphs: what is merged and left out, and that this changes no optimum.
 */
#include "tests/topology/load.h"

#include <time.h>

#include "topology/network.h"
#include "topology/optimum.h"
#include "topology/route.h"

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static int below(uint64_t *state, int limit)
{
    return (int)(next_random(state) % (unsigned)limit);
}

static struct weft_network *network_of(const struct weft_topology *t,
                                       struct weft_network_options options)
{
    struct weft_network *network = NULL;
    struct weft_error error;
    if (weft_network_create(t, &options, &network, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_true(network->num_vertices >= network->num_terminals);
    for (int v = 0; v <= network->num_vertices; v++)
        assert_true(network->first[v] <=
                    (v < network->num_vertices ? network->first[v + 1] : network->num_arcs));
    for (int i = 1; i < network->num_arcs; i++) { // sorted, one per pair
        const struct weft_arc *a = &network->arcs[i - 1], *b = &network->arcs[i];
        assert_true(a->from < b->from || (a->from == b->from && a->to < b->to));
    }
    return network;
}

// The vertex of a node; -1: it is gone, or merged into another.
static int vertex_of(const struct weft_network *network, const struct weft_topology *t,
                     const char *name)
{
    int node = weft_topology_find_node(t, name);
    assert_true(node >= 0);
    for (int v = 0; v < network->num_vertices; v++)
        if (network->node[v] == node)
            return v;
    return -1;
}

static int64_t capacity(const struct weft_network *network, int from, int to)
{
    for (int i = network->first[from]; i < network->first[from + 1]; i++)
        if (network->arcs[i].to == to)
            return network->arcs[i].capacity;
    return 0;
}

static struct weft_fraction inverse_x(const struct weft_network *network, bool reversed)
{
    struct weft_optimum optimum = {0};
    struct weft_error error;
    if (weft_optimum_all_gather(network, reversed, &optimum, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    struct weft_fraction found = optimum.inverse_x;
    weft_optimum_free(&optimum);
    return found;
}

/* ---- reductions change nothing ---- */

// GPUs and switches, all joined; dead ends, passages, copies of switches at twice the rate.
static void write_random_graph(FILE *text, uint64_t *random, int num_gpus, int num_switches)
{
    char names[16][16];
    int n = num_gpus + num_switches;
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%s%d", i < num_gpus ? "gpu" : "switch", i);
        fprintf(text, "node %s %s\n", names[i], i < num_gpus ? "gpu" : "switch");
        if (i > 0)
            fprintf(text, "link %s %s %d both\n", names[i], names[below(random, i)],
                    1 + below(random, 20));
    }
    for (int i = 0; i < n; i++) {
        int a = below(random, n), b = below(random, n);
        if (a != b)
            fprintf(text, "link %s %s %d both\n", names[a], names[b], 1 + below(random, 20));
    }
    for (int i = 0; i < 2; i++) {
        int a = below(random, num_gpus), b = below(random, num_gpus);
        if (a != b)
            fprintf(text, "link %s %s %d\n", names[a], names[b], 1 + below(random, 20));
    }
    int a = below(random, num_gpus), b = below(random, num_gpus), c = below(random, n);
    if (a == b)
        b = (a + 1) % num_gpus;
    for (int copy = 1; copy <= 2; copy++) {
        fprintf(text, "node copy%d switch\n", copy);
        fprintf(text, "link copy%d %s %d both\n", copy, names[a], 3 * copy);
        fprintf(text, "link copy%d %s %d both\n", copy, names[b], 5 * copy);
        if (c != a && c != b)
            fprintf(text, "link copy%d %s %d both\n", copy, names[c], 2 * copy);
    }
    fprintf(text, "node dead switch\nnode end switch\nlink dead %s 7 both\nlink dead end 9 both\n",
            names[c]);
}

static void compare(const struct weft_network *raw, const struct weft_network *reduced)
{
    for (int reversed = 0; reversed < 2; reversed++) {
        struct weft_fraction a = inverse_x(raw, reversed), b = inverse_x(reduced, reversed);
        assert_true(a.numerator == b.numerator && a.denominator == b.denominator);
        for (int root = 0; root < raw->num_terminals; root++) {
            int64_t rates[2];
            bool is_in[64];
            assert_int_equal(weft_optimum_broadcast(raw, reversed, root, &rates[0], is_in, NULL),
                             WEFT_OK);
            assert_int_equal(
                weft_optimum_broadcast(reduced, reversed, root, &rates[1], is_in, NULL), WEFT_OK);
            assert_true(rates[0] == rates[1]);
        }
    }
}

static void test_reductions_are_exact(void **state)
{
    (void)state;
    uint64_t random = 4;
    int num_smaller = 0;
    for (int round = 0; round < 300; round++) {
        char *text = NULL;
        size_t bytes;
        FILE *stream = open_memstream(&text, &bytes);
        write_random_graph(stream, &random, 2 + below(&random, 5), below(&random, 7));
        fclose(stream);
        struct weft_topology *t = imported(&weft_importer_edges, text);
        struct weft_network *raw = network_of(t, (struct weft_network_options){.is_raw = true});
        struct weft_network *reduced = network_of(t, (struct weft_network_options){0});
        assert_int_equal(raw->num_terminals, reduced->num_terminals);
        assert_int_equal(vertex_of(reduced, t, "dead"), -1);
        assert_int_equal(vertex_of(reduced, t, "end"), -1);
        assert_true(reduced->num_vertices <= raw->num_vertices - 2);
        num_smaller += reduced->num_vertices < raw->num_vertices - 3;
        compare(raw, reduced);
        weft_network_destroy(&raw);
        weft_network_destroy(&reduced);
        weft_topology_destroy(&t);
        free(text);
    }
    assert_true(num_smaller > 100);
}

/* ---- by hand ---- */

static void test_parallel_links_are_one_arc(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_edges, "node a gpu\nnode b gpu\nlink a b 3 both\nlink b a 4 both\n"
                                       "link a b 5\nlink a b 0.5\n");
    struct weft_network *network = network_of(t, (struct weft_network_options){0});
    assert_int_equal(network->num_arcs, 2);
    assert_true(capacity(network, 0, 1) == 12500000000);
    assert_true(capacity(network, 1, 0) == 7000000000);
    weft_network_destroy(&network);
    weft_topology_destroy(&t);
}

static void test_copies_and_passages(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_edges, "node a gpu\nnode b gpu\nnode c gpu\n"
                              "node s1 switch\nnode s2 switch\nnode t switch\nnode nic switch\n"
                              "link a s1 10 both\nlink b s1 10 both\nlink c s1 20 both\n"
                              "link a s2 30 both\nlink b s2 30 both\nlink c s2 60 both\n"
                              "link a t 10 both\nlink b t 10 both\nlink c t 10 both\n"
                              "link a nic 8 both\nlink nic b 5 both\n");
    struct weft_network *network = network_of(t, (struct weft_network_options){0});
    int a = vertex_of(network, t, "a"), b = vertex_of(network, t, "b");
    int one = vertex_of(network, t, "s1"), other = vertex_of(network, t, "s2");
    assert_int_equal(network->num_vertices, 5); // a, b, c, both s, t
    assert_true((one < 0) != (other < 0));
    int both = one < 0 ? other : one;
    assert_int_equal(network->num_merged[both], 2);
    assert_true(capacity(network, a, both) == 40000000000);
    assert_true(capacity(network, both, vertex_of(network, t, "c")) == 80000000000);
    assert_true(vertex_of(network, t, "t") >= 0);
    assert_int_equal(vertex_of(network, t, "nic"), -1);
    assert_true(capacity(network, a, b) == 5000000000); // the narrower side
    assert_true(capacity(network, b, a) == 5000000000);
    weft_network_destroy(&network);
    weft_topology_destroy(&t);
}

// Two of three ranks on one node share its link: 2 of 3 shares cross 10 GB/s, out of it or into b.
static void test_two_ranks_on_a_node(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_edges, "node a gpu\nnode b gpu\nnode s switch\n"
                                       "link a s 10 both\nlink b s 10 both\n");
    int a = weft_topology_find_node(t, "a"), b = weft_topology_find_node(t, "b");
    const int twice[] = {a, b, a};
    struct weft_network *network =
        network_of(t, (struct weft_network_options){.terminals = twice, .num_terminals = 3});
    assert_int_equal(network->num_terminals, 3);
    struct weft_fraction found = inverse_x(network, false);
    assert_true(found.numerator == 1 && found.denominator == 5000000000);
    weft_network_destroy(&network);
    const int absent[] = {a, 99};
    struct weft_error error;
    assert_int_equal(weft_network_create(
                         t, &(struct weft_network_options){.terminals = absent, .num_terminals = 2},
                         &network, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_topology_destroy(&t);
}

static void test_what_cannot_be(void **state)
{
    (void)state;
    struct weft_error error;
    struct weft_topology *t =
        imported(&weft_importer_edges, "node a gpu\nnode b gpu\nnode s switch\n"
                                       "link a s 10 both\nlink s b 10\n"
                                       "link b a 10\nlink b s 4\n");
    struct weft_network *network = network_of(t, (struct weft_network_options){0});
    assert_int_equal(weft_network_check(t, network, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "s"));
    weft_network_destroy(&network);
    weft_topology_destroy(&t);
    t = imported(&weft_importer_edges, "node a gpu\nnode b gpu\nlink a b 10\n");
    network = network_of(t, (struct weft_network_options){0});
    assert_int_equal(weft_network_check(t, network, &error), WEFT_OK);
    assert_int_equal(weft_network_check_ways(t, network, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "no way from b to a"));
    struct weft_optimum optimum = {0};
    assert_int_equal(weft_optimum_all_gather(network, false, &optimum, &error), WEFT_UNSUPPORTED);
    weft_network_destroy(&network);
    weft_topology_destroy(&t);
    t = imported(&weft_importer_edges, "node s switch\nnode t switch\nlink s t 1 both\n");
    assert_int_equal(weft_network_create(t, &(struct weft_network_options){0}, &network, &error),
                     WEFT_NOT_FOUND);
    weft_topology_destroy(&t);
}

static double processor_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

static void test_large(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error;
    double start = processor_ms();
    if (weft_topology_load("superpod-h100:2048", &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    double loaded = processor_ms();
    struct weft_network *network = network_of(t, (struct weft_network_options){0});
    print_message("16,384 GPUs: loaded in %.0f ms, a network of %d vertices in %.0f ms\n",
                  loaded - start, network->num_vertices, processor_ms() - loaded);
    assert_int_equal(network->num_terminals, 16384);
    assert_true(network->num_vertices < t->num_nodes);
    weft_network_destroy(&network);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reductions_are_exact),
        cmocka_unit_test(test_parallel_links_are_one_arc),
        cmocka_unit_test(test_copies_and_passages),
        cmocka_unit_test(test_two_ranks_on_a_node),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
