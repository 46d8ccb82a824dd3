/*
 * SPDX-License-Identifier: Apache-2.0
 * Groups from made-up measurements with noise: racks, all alike, one slow host, pairs that nobody
 * could measure.
 */
#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>

#include "topology/grouping.h"
#include "topology/route.h"

enum { LIMIT = 64 };

struct matrix {
    int n;
    int64_t latency_ps[LIMIT * LIMIT], bandwidth[LIMIT * LIMIT];
};

static uint64_t next(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

/* `value` give or take up to `percent`. */
static int64_t noisy(int64_t value, int percent, uint64_t *random)
{
    return value + value * ((int64_t)(next(random) % (2 * (unsigned)percent + 1)) - percent) / 100;
}

/* Hosts of one rack (host / rack) are near; the others have `worse` percent of latency and of time
 * per byte. */
static void fill(struct matrix *m, int n, int rack, int worse, int percent, uint64_t seed)
{
    m->n = n;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            bool near = i / rack == j / rack;
            m->latency_ps[i * n + j] = noisy(near ? 10000000 : 100000 * worse, percent, &seed);
            m->bandwidth[i * n + j] =
                noisy(near ? 10000000000 : 1000000000000 / worse, percent, &seed);
        }
}

static int group(const struct matrix *m, int *group_of)
{
    const struct weft_pairs pairs = {m->n, m->latency_ps, m->bandwidth};
    int num_groups = -1;
    assert_int_equal(weft_pairs_group(&pairs, group_of, &num_groups, NULL), WEFT_OK);
    return num_groups;
}

static void test_two_racks(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    for (uint64_t seed = 0; seed < 200; seed++) {
        fill(&m, 8, 4, 250, 20, seed);
        assert_int_equal(group(&m, group_of), 2);
        for (int i = 0; i < 8; i++)
            assert_int_equal(group_of[i], i / 4);
    }
}

static void test_many_racks(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    fill(&m, 60, 6, 300, 20, 7);
    assert_int_equal(group(&m, group_of), 10);
    for (int i = 0; i < 60; i++)
        assert_int_equal(group_of[i], i / 6);
}

static void test_all_alike(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    for (int n = 1; n <= 16; n++)
        for (uint64_t seed = 0; seed < 100; seed++) {
            fill(&m, n, n, 100, 15, seed);
            assert_int_equal(group(&m, group_of), 1);
        }
}

static void test_slow_host(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    for (int slow = 0; slow < 6; slow++) {
        fill(&m, 6, 6, 100, 15, (uint64_t)slow);
        for (int i = 0; i < 6; i++) {
            m.bandwidth[slow * 6 + i] /= 20;
            m.bandwidth[i * 6 + slow] /= 20;
        }
        assert_int_equal(group(&m, group_of), 2);
        for (int i = 0; i < 6; i++)
            assert_int_equal(group_of[i] == group_of[slow], i == slow);
    }
}

static void test_one_bad_pair_splits_nothing(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    fill(&m, 12, 12, 100, 10, 3);
    m.latency_ps[2 * 12 + 9] *= 3; // one way, once
    assert_int_equal(group(&m, group_of), 1);
}

static void test_unmeasured(void **state)
{
    (void)state;
    struct matrix m;
    int group_of[LIMIT];
    fill(&m, 6, 3, 300, 0, 0);
    for (int i = 0; i < 36; i++)
        if (i / 6 / 3 != i % 6 / 3)
            m.latency_ps[i] = m.bandwidth[i] = -1;
    assert_int_equal(group(&m, group_of), 1); // no farther than the farthest, so nothing to tell
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            if ((i == 5) != (j == 5))
                m.bandwidth[i * 6 + j] = m.latency_ps[i * 6 + j] = -1;
    for (int i = 0; i < 36; i++)
        if (i / 6 != 5 && i % 6 != 5 && m.latency_ps[i] < 0)
            m.latency_ps[i] = 40000000;
    assert_int_equal(group(&m, group_of), 3); // the last host is as far as the other rack
    assert_int_equal(group_of[0], group_of[1]);
    assert_int_not_equal(group_of[0], group_of[3]);
    assert_int_not_equal(group_of[3], group_of[5]);
    for (int i = 0; i < 36; i++)
        m.latency_ps[i] = m.bandwidth[i] = -1;
    assert_int_equal(group(&m, group_of), 1);
    for (int i = 0; i < 36; i++)
        m.latency_ps[i] = m.bandwidth[i] = 0;
    assert_int_equal(group(&m, group_of), 1);
    for (int i = 0; i < 36; i++)
        m.latency_ps[i] = m.bandwidth[i] = INT64_MAX;
    assert_int_equal(group(&m, group_of), 1);
}

static void test_limits(void **state)
{
    (void)state;
    struct weft_pairs pairs = {0, NULL, NULL};
    int num_groups;
    assert_int_equal(weft_pairs_group(&pairs, NULL, &num_groups, NULL), WEFT_INVALID_ARGUMENT);
    pairs.num_hosts = WEFT_GROUPING_MAX_HOSTS + 1;
    assert_int_equal(weft_pairs_group(&pairs, NULL, &num_groups, NULL), WEFT_INVALID_ARGUMENT);
}

static void test_into_the_graph(void **state)
{
    (void)state;
    struct matrix m;
    struct weft_topology *t = NULL;
    int ends[8];
    fill(&m, 8, 4, 400, 0, 0);
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "h%d", i);
        assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, name, -1, &ends[i], NULL), 0);
    }
    const struct weft_pairs pairs = {8, m.latency_ps, m.bandwidth};
    assert_int_equal(weft_topology_add_groups(t, &pairs, ends, NULL), WEFT_OK);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SWITCH), 3);
    assert_int_equal(t->num_links, 10);
    assert_int_equal(t->num_remarks, 3);
    int islands;
    assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), WEFT_OK);
    assert_int_equal(islands, 1);
    for (int i = 0; i < t->num_links; i++) {
        assert_int_equal(t->links[i].bandwidth.measured.source, WEFT_SOURCE_MEASURED);
        bool is_between = i >= 8;
        assert_true(t->links[i].bandwidth.measured.value ==
                    (is_between ? 2500000000 : 10000000000));
        // a way: two links in a rack, four between racks
        assert_true(t->links[i].latency.measured.value == (is_between ? 10000000 : 5000000));
    }
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_racks),
        cmocka_unit_test(test_many_racks),
        cmocka_unit_test(test_all_alike),
        cmocka_unit_test(test_slow_host),
        cmocka_unit_test(test_one_bad_pair_splits_nothing),
        cmocka_unit_test(test_unmeasured),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_into_the_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
