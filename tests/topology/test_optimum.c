/*
 * SPDX-License-Identifier: Apache-2.0
 * The exact optimum: known machines, real files, and every cut of small graphs.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clp.h"
#include "tests/topology/machines.h"
#include "topology/load.h"
#include "topology/optimum.h"

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static struct weft_optimum optimum_of(const struct weft_network *network, bool reversed)
{
    struct weft_optimum optimum = {0};
    struct weft_error error;
    if (weft_optimum_all_gather(network, reversed, &optimum, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return optimum;
}

static void test_known_machines(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_MACHINES; i++)
        for (int reversed = 0; reversed < 2; reversed++) {
            struct weft_network *network = machine_network(i);
            struct weft_optimum optimum = optimum_of(network, reversed);
            if (optimum.u.numerator != machines[i].numerator ||
                optimum.u.denominator != machines[i].denominator || optimum.k != machines[i].k)
                fail_msg("%s: U %lld/%lld, k %lld", machines[i].name,
                         (long long)optimum.u.numerator, (long long)optimum.u.denominator,
                         (long long)optimum.k);
            weft_optimum_free(&optimum);
            machine_network_free(network);
        }
}

// Boxes of GPUs around a switch, and their NICs on one leaf per rail and pod, with `uplink` from
// each leaf to a spine (0: no spine).
static struct weft_network *cluster(int pods, int boxes, int gpus, int rails, int64_t nvlink,
                                    int64_t nic, int64_t uplink)
{
    int num_boxes = pods * boxes, num_gpus = num_boxes * gpus, first_leaf = num_gpus + num_boxes;
    int spine = first_leaf + pods * rails;
    struct draft d = draft_create(spine + 1, num_gpus);
    for (int box = 0; box < num_boxes; box++)
        for (int i = 0; i < gpus; i++) {
            draft_link(&d, box * gpus + i, num_gpus + box, nvlink);
            if (nic)
                draft_link(&d, box * gpus + i, first_leaf + box / boxes * rails + i % rails, nic);
        }
    for (int leaf = first_leaf; leaf < spine && uplink; leaf++)
        draft_link(&d, leaf, spine, uplink);
    return draft_finish(&d);
}

static void test_known_clusters(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int pods, boxes, gpus, rails;
        int64_t nvlink, nic, uplink;
        const char *inverse, *u;
        int64_t k;
        const char *algbw;
    } rows[] = {
        {"A100 1x8", 1, 1, 8, 2, 300, 0, 0, "7/300", "7/300", 1, "342.857"},
        {"A100 2x8", 1, 2, 8, 2, 300, 25, 0, "3/65", "3/5", 13, "346.667"},
        {"A100 4x8", 1, 4, 8, 2, 300, 25, 0, "3/25", "3/25", 1, "266.667"},
        {"A100 8x8", 1, 8, 8, 2, 300, 25, 0, "7/25", "7/25", 1, "228.571"},
        {"H100 1x8", 1, 1, 8, 1, 450, 0, 0, "7/450", "7/450", 1, "514.286"},
        {"H100 2x8", 1, 2, 8, 1, 450, 50, 0, "3/100", "3/50", 2, "533.333"},
        {"H100 2x8 rails", 1, 2, 8, 8, 450, 50, 0, "3/100", "3/50", 2, "533.333"},
        {"H100 4x8", 1, 4, 8, 1, 450, 50, 0, "31/500", "31/50", 10, "516.129"},
        {"H100 16x8", 1, 16, 8, 1, 450, 50, 0, "3/10", "3/10", 1, "426.667"},
        {"H100 32x8, spine 1:1", 1, 32, 8, 8, 450, 50, 1600, "31/50", "31/50", 1, "412.903"},
        {"H100 32x8, spine 4:1", 1, 32, 8, 8, 450, 50, 400, "31/50", "31/50", 1, "412.903"},
        {"H100 32x8, no spine", 1, 32, 8, 8, 450, 50, 0, "31/50", "31/50", 1, "412.903"},
        {"2 pods of 16 H100, 1:1", 2, 16, 8, 8, 450, 50, 800, "31/50", "31/50", 1, "412.903"},
        {"2 pods of 16 H100, 7:1", 2, 16, 8, 8, 450, 50, 114, "31/50", "31/2", 25, "412.903"},
        {"2 pods of 16 H100, 64:1, in half GB/s", 2, 16, 8, 8, 900, 100, 25, "16/25", "16/25", 1,
         "400.000"},
        {"NVL72", 1, 1, 72, 1, 900, 0, 0, "71/900", "71/900", 1, "912.676"},
        {"NVL72, 2 racks", 1, 2, 72, 1, 900, 50, 0, "143/950", "143/50", 19, "956.643"},
        {"NVL72, 4 racks", 1, 4, 72, 1, 900, 50, 0, "287/950", "287/50", 19, "953.310"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weft_network *network =
            cluster(rows[i].pods, rows[i].boxes, rows[i].gpus, rows[i].rails, rows[i].nvlink,
                    rows[i].nic, rows[i].uplink);
        struct weft_optimum optimum = optimum_of(network, false);
        char inverse[64], u[64], algbw[32];
        const struct weft_fraction x = optimum.inverse_x;
        snprintf(inverse, sizeof inverse, "%lld/%lld", (long long)x.numerator,
                 (long long)x.denominator);
        snprintf(u, sizeof u, "%lld/%lld", (long long)optimum.u.numerator,
                 (long long)optimum.u.denominator);
        snprintf(algbw, sizeof algbw, "%.3f",
                 network->num_terminals * (double)x.denominator / (double)x.numerator);
        if (strcmp(inverse, rows[i].inverse) || strcmp(u, rows[i].u) || optimum.k != rows[i].k ||
            strcmp(algbw, rows[i].algbw))
            fail_msg("%s: 1/x %s, U %s, k %lld, %s", rows[i].name, inverse, u, (long long)optimum.k,
                     algbw);
        weft_optimum_free(&optimum);
        machine_network_free(network);
    }
}

// MI250, two boxes: not monotone in k.
static void test_fixed_k(void **state)
{
    (void)state;
    static const struct {
        int64_t k, numerator, denominator;
    } rows[] = {{1, 1, 10},  {2, 3, 16},   {3, 7, 25},   {4, 3, 8},   {5, 23, 50},
                {8, 37, 50}, {16, 73, 50}, {32, 29, 10}, {64, 29, 5}, {83, 15, 2}};
    struct weft_network *mi250 = machine_network(4), *a100 = machine_network(1);
    int64_t weight[32];
    struct weft_fraction u;
    assert_string_equal(machines[4].name, "MI250 2x16");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int t = 0; t < 32; t++)
            weight[t] = rows[i].k;
        assert_int_equal(weft_optimum_units(mi250, weight, &u, NULL, NULL), WEFT_OK);
        if (u.numerator != rows[i].numerator || u.denominator != rows[i].denominator)
            fail_msg("k %lld: U %lld/%lld", (long long)rows[i].k, (long long)u.numerator,
                     (long long)u.denominator);
    }
    for (int t = 0; t < 16; t++)
        weight[t] = 1;
    assert_int_equal(weft_optimum_units(a100, weight, &u, NULL, NULL), WEFT_OK);
    assert_int_equal(u.numerator, 7);
    assert_int_equal(u.denominator, 150);
    machine_network_free(mi250);
    machine_network_free(a100);
}

// A switch-balanced directed graph: links both ways, and some circles through it.
static struct weft_network *random_network(uint64_t *random, bool is_duplex)
{
    int terminals = 3 + (int)(next_random(random) % 4);
    int n = terminals + (int)(next_random(random) % 4);
    struct draft d = draft_create(n, terminals);
    for (int i = 1; i < n; i++) // a tree joins all
        draft_link(&d, i, (int)(next_random(random) % (unsigned)i),
                   1 + (int64_t)(next_random(random) % 8));
    for (int i = 0; i < n; i++) {
        int a = (int)(next_random(random) % (unsigned)n),
            b = (int)(next_random(random) % (unsigned)n);
        int c = (int)(next_random(random) % (unsigned)n);
        int64_t capacity = 1 + (int64_t)(next_random(random) % 8);
        if (a == b || b == c || a == c)
            continue;
        if (is_duplex) {
            draft_link(&d, a, b, capacity);
        } else {
            draft_arc(&d, a, b, capacity);
            draft_arc(&d, b, c, capacity);
            draft_arc(&d, c, a, capacity);
            if (a < terminals && b < terminals)
                draft_arc(&d, a, b, 2 * capacity); // terminals need no balance
        }
    }
    return draft_finish(&d);
}

/* ---- all-reduce ---- */

// Every set at once, where the library adds those that are violated.
static double brute_force(const struct weft_network *n)
{
    struct weft_clp clp;
    assert_int_equal(weft_clp_open(&clp, NULL), WEFT_OK);
    void *lp = clp.new_model();
    int columns[64], arcs = n->num_arcs, terminals = n->num_terminals;
    double values[64], zero = 0, high = DBL_MAX, low = -DBL_MAX;
    const int none[] = {0, 0};
    clp.set_log_level(lp, 0);
    clp.set_direction(lp, -1);
    for (int c = 0; c < terminals + 2 * arcs; c++) {
        double weight = c < terminals;
        clp.add_columns(lp, 1, &zero, &high, &weight, none, columns, values);
    }
    for (int i = 0; i < arcs; i++) {
        const int pair[] = {terminals + i, terminals + arcs + i}, starts[] = {0, 2};
        const double ones[] = {1, 1}, capacity = (double)n->arcs[i].capacity;
        clp.add_rows(lp, 1, &low, &capacity, starts, pair, ones);
    }
    for (int v = terminals; v < n->num_vertices; v++)
        for (int is_up = 0; is_up < 2; is_up++) {
            int starts[] = {0, 0};
            for (int i = 0; i < arcs; i++)
                if (n->arcs[i].to == v || n->arcs[i].from == v) {
                    columns[starts[1]] = terminals + (is_up ? arcs : 0) + i;
                    values[starts[1]++] = n->arcs[i].to == v ? 1 : -1;
                }
            clp.add_rows(lp, 1, &zero, &zero, starts, columns, values);
        }
    unsigned all = (1u << terminals) - 1;
    for (unsigned set = 1; set < 1u << n->num_vertices; set++)
        for (int is_up = 0; is_up < 2 && (set & all) != all; is_up++) {
            int starts[] = {0, 0};
            for (int i = 0; i < arcs; i++) {
                bool from = set >> n->arcs[i].from & 1, to = set >> n->arcs[i].to & 1;
                if (is_up ? to && !from : from && !to) {
                    columns[starts[1]] = terminals + (is_up ? arcs : 0) + i;
                    values[starts[1]++] = 1;
                }
            }
            for (int t = 0; t < terminals; t++)
                if (set >> t & 1) {
                    columns[starts[1]] = t;
                    values[starts[1]++] = -1;
                }
            clp.add_rows(lp, 1, &zero, &high, starts, columns, values);
        }
    assert_int_equal(clp.primal(lp, 0), 0);
    double best = clp.objective(lp);
    clp.delete_model(lp);
    return best;
}

static bool has_solver(void)
{
    struct weft_clp clp;
    struct weft_error error;
    if (weft_clp_open(&clp, &error) == WEFT_OK)
        return true;
    print_message("skipped: %s\n", error.text);
    return false;
}

static void test_all_reduce_of_small_graphs(void **state)
{
    (void)state;
    uint64_t random = 23;
    int num_equal = 0;
    if (!has_solver())
        skip();
    for (int turn = 0; turn < 150; turn++) {
        struct weft_network *network = random_network(&random, turn % 2);
        struct weft_all_reduce_optimum optimum;
        struct weft_error error;
        if (weft_optimum_all_reduce(network, &optimum, &error) != WEFT_OK)
            fail_msg("%s", error.text);
        double wanted = brute_force(network), sum = 0;
        if (optimum.rate < wanted * (1 - 1e-6) || optimum.rate > wanted * (1 + 1e-4))
            fail_msg("turn %d: %.9f, not %.9f", turn, optimum.rate, wanted);
        if (turn % 2) // the same capacity both ways: equal shares are one of the choices
            assert_true(optimum.rate >= optimum.equal_shard_rate * (1 - 1e-6));
        for (int t = 0; t < network->num_terminals; t++)
            sum += optimum.shares[t];
        assert_true(sum > 1 - 1e-9 && sum < 1 + 1e-9);
        num_equal += optimum.is_equal;
        for (int i = 0; i < network->num_arcs && !optimum.is_equal; i++)
            assert_true((optimum.up[i] + optimum.down[i]) * optimum.rate <=
                        (double)network->arcs[i].capacity * (1 + 1e-9));
        weft_all_reduce_optimum_free(&optimum);
        machine_network_free(network);
    }
    print_message("%d of 150 by parts\n", num_equal);
    assert_true(num_equal > 0);
}

// Four hosts of 100 on a switch, one of them at 25: it sends and takes the vector once, and must
// own nothing; the others share evenly, though one of them could do it alone. On equal hosts, equal
// shares are the best.
static void test_all_reduce_with_a_slow_host(void **state)
{
    (void)state;
    if (!has_solver())
        skip();
    for (int slow = 0; slow < 2; slow++) {
        struct draft d = draft_create(5, 4);
        for (int t = 0; t < 4; t++)
            draft_link(&d, t, 4, slow && t == 2 ? 25 : 100);
        struct weft_network *network = draft_finish(&d);
        struct weft_all_reduce_optimum optimum;
        assert_int_equal(weft_optimum_all_reduce(network, &optimum, NULL), WEFT_OK);
        assert_true(optimum.is_equal == !slow);
        double wanted = slow ? 25 : 100.0 / 1.5, equal = slow ? 25 / 1.5 : 100.0 / 1.5;
        assert_true(optimum.rate > wanted * (1 - 1e-6) && optimum.rate < wanted * (1 + 1e-6));
        assert_true(optimum.equal_shard_rate > equal * (1 - 1e-9) &&
                    optimum.equal_shard_rate < equal * (1 + 1e-9));
        for (int t = 0; t < 4; t++) {
            double share = !slow ? 0.25 : t == 2 ? 0 : 1 / 3.0;
            if (fabs(optimum.shares[t] - share) > 1e-6)
                fail_msg("share %d: %.9f, not %.9f", t, optimum.shares[t], share);
        }
        weft_all_reduce_optimum_free(&optimum);
        machine_network_free(network);
    }
}

/* ---- every cut ---- */

static int64_t leaving(const struct weft_network *network, unsigned set, bool reversed)
{
    int64_t sum = 0;
    for (int i = 0; i < network->num_arcs; i++) {
        int from = network->arcs[i].from, to = network->arcs[i].to;
        if (reversed) {
            from = network->arcs[i].to;
            to = network->arcs[i].from;
        }
        if (set >> from & 1 && !(set >> to & 1))
            sum += network->arcs[i].capacity;
    }
    return sum;
}

static void check_scatter(const struct weft_network *network, bool reversed, int root)
{
    struct weft_fraction inverse = {0, 1};
    bool is_in[16];
    int64_t best_outside = 0, best_leaving = 1;
    unsigned all = (1u << network->num_terminals) - 1, named = 0;
    for (unsigned set = 1; set < 1u << network->num_vertices; set++) {
        int64_t outside = __builtin_popcount(~set & all), out = leaving(network, set, reversed);
        if (set >> root & 1 && outside * best_leaving > best_outside * out)
            best_outside = outside, best_leaving = out;
    }
    assert_int_equal(weft_optimum_scatter(network, reversed, root, &inverse, is_in, NULL), WEFT_OK);
    assert_true(inverse.numerator * best_leaving == inverse.denominator * best_outside);
    for (int v = 0; v < network->num_vertices; v++)
        named |= (unsigned)is_in[v] << v;
    assert_true(named >> root & 1);
    assert_true(leaving(network, named, reversed) * best_outside ==
                __builtin_popcount(~named & all) * best_leaving);
}

static void test_every_cut_of_small_graphs(void **state)
{
    (void)state;
    uint64_t random = 11;
    for (int turn = 0; turn < 800; turn++) {
        bool reversed = turn % 3 == 0;
        struct weft_network *network = random_network(&random, turn % 2);
        struct weft_optimum optimum = optimum_of(network, reversed);
        unsigned all = (1u << network->num_terminals) - 1;
        int64_t best_inside = 0, best_leaving = 1;
        for (unsigned set = 1; set < 1u << network->num_vertices; set++) {
            int64_t inside = __builtin_popcount(set & all), out = leaving(network, set, reversed);
            if ((set & all) != all && inside * best_leaving > best_inside * out)
                best_inside = inside, best_leaving = out;
        }
        assert_true(optimum.inverse_x.numerator * best_leaving ==
                    optimum.inverse_x.denominator * best_inside);
        // The cut that it names is that bad.
        unsigned set = 0;
        for (int v = 0; v < network->num_vertices; v++)
            set |= (unsigned)optimum.is_in_cut[v] << v;
        assert_true(leaving(network, set, reversed) == optimum.cut_capacity);
        assert_true(optimum.num_cut_terminals * best_leaving == optimum.cut_capacity * best_inside);
        // U and k say the same, in whole trees.
        for (int i = 0; i < network->num_arcs; i++)
            assert_int_equal(
                network->arcs[i].capacity * optimum.u.numerator % optimum.u.denominator, 0);
        assert_true(optimum.inverse_x.numerator * optimum.k * optimum.u.denominator ==
                    optimum.u.numerator * optimum.inverse_x.denominator);
        int root = (int)(next_random(&random) % (unsigned)network->num_terminals);
        int64_t rate = 0, least = INT64_MAX;
        bool is_in[16];
        assert_int_equal(weft_optimum_broadcast(network, reversed, root, &rate, is_in, NULL),
                         WEFT_OK);
        for (set = 0; set < 1u << network->num_vertices; set++)
            if (set >> root & 1 && (set & all) != all && leaving(network, set, reversed) < least)
                least = leaving(network, set, reversed);
        assert_true(rate == least);
        check_scatter(network, reversed, root);
        weft_optimum_free(&optimum);
        machine_network_free(network);
    }
}

/* ---- real files ---- */

static void check_row(const char *source, const char *file, char *rest)
{
    struct weft_topology *topology = NULL;
    struct weft_network *network = NULL;
    struct weft_error error;
    struct weft_optimum optimum = {0};
    char path[512], *field[6] = {0};
    snprintf(path, sizeof path, "%s/topodata/%s/%s", WEFT_SHARED_DATA, source, file);
    for (int i = 0; i < 6; i++)
        field[i] = strsep(&rest, ",");
    if (weft_topology_load(path, &topology, &error) != WEFT_OK)
        fail_msg("%s: %s", path, error.text);
    const struct weft_network_options options = {
        .link_kinds = 1u << WEFT_LINK_NVLINK | 1u << WEFT_LINK_XGMI, .is_unit = true};
    assert_int_equal(weft_network_create(topology, &options, &network, &error), WEFT_OK);
    assert_int_equal(network->num_terminals, atoi(field[0]));
    weft_status status = weft_optimum_all_gather(network, false, &optimum, &error);
    if (strncmp(field[1], "disconnected", 12) == 0) {
        assert_int_equal(status, WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.text, "no way between"));
    } else {
        char inverse[64], u[64];
        if (status != WEFT_OK)
            fail_msg("%s: %s", path, error.text);
        const struct weft_fraction x = optimum.inverse_x;
        snprintf(inverse, sizeof inverse, x.denominator == 1 ? "%lld" : "%lld/%lld",
                 (long long)x.numerator, (long long)x.denominator);
        snprintf(u, sizeof u, optimum.u.denominator == 1 ? "%lld" : "%lld/%lld",
                 (long long)optimum.u.numerator, (long long)optimum.u.denominator);
        assert_string_equal(inverse, field[1]);
        char algbw[32];
        snprintf(algbw, sizeof algbw, "%.4f",
                 network->num_terminals * (double)x.denominator / (double)x.numerator);
        assert_string_equal(algbw, field[2]);
        assert_string_equal(u, field[3]);
        assert_int_equal(optimum.k, atoi(field[4]));
    }
    weft_optimum_free(&optimum);
    weft_network_destroy(&network);
    weft_topology_destroy(&topology);
}

static void test_real_files(void **state)
{
    (void)state;
    char line[512];
    int rows = 0;
#ifdef WEFT_CORE_ONLY
    print_message("skipped: this build reads no XML\n");
    skip();
#endif
    FILE *stream = fopen(WEFT_SHARED_DATA "/topodata/golden_forestcoll.csv", "re");
    if (!stream) {
        print_message("skipped: no golden_forestcoll.csv\n");
        skip();
    }
    while (fgets(line, sizeof line, stream)) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line, *source, *file;
        if (line[0] == '#' || !line[0])
            continue;
        source = strsep(&rest, ",");
        file = strsep(&rest, ",");
        check_row(source, file, rest);
        rows++;
    }
    fclose(stream);
    assert_int_equal(rows, 17);
}

static void test_what_has_no_optimum(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_optimum optimum = {0};
    struct draft lopsided = draft_create(3, 2);
    draft_link(&lopsided, 0, 2, 5);
    draft_link(&lopsided, 1, 2, 5);
    draft_arc(&lopsided, 0, 2, 1);
    struct weft_network *network = draft_finish(&lopsided);
    assert_int_equal(weft_optimum_all_gather(network, false, &optimum, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "vertex 2 carries 1 bytes/s more in than out"));
    machine_network_free(network);
    struct draft apart = draft_create(4, 4);
    draft_link(&apart, 0, 1, 5);
    draft_link(&apart, 2, 3, 5);
    network = draft_finish(&apart);
    assert_int_equal(weft_optimum_all_gather(network, false, &optimum, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "no way between rank 0 and rank 2"));
    machine_network_free(network);
    struct draft alone = draft_create(1, 1);
    network = draft_finish(&alone);
    assert_int_equal(weft_optimum_all_gather(network, false, &optimum, &error),
                     WEFT_INVALID_ARGUMENT);
    machine_network_free(network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_machines),
        cmocka_unit_test(test_known_clusters),
        cmocka_unit_test(test_fixed_k),
        cmocka_unit_test(test_all_reduce_of_small_graphs),
        cmocka_unit_test(test_all_reduce_with_a_slow_host),
        cmocka_unit_test(test_every_cut_of_small_graphs),
        cmocka_unit_test(test_real_files),
        cmocka_unit_test(test_what_has_no_optimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
