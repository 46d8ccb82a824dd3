/*
 * SPDX-License-Identifier: Apache-2.0
 * What is known of RDMA devices: from measurements, which of several figures counts; from a graph,
 * how far they are from where a process may run; and the prices that follow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "collectives/comm/rdma.h"
#include "topology/load.h"

static void add(struct weft_measurements *m, const char *from, const char *to, double mb_per_s)
{
    static const int64_t sizes[] = {1, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 18, 1 << 20};
    struct weft_measurement *entry = weft_measurements_add(m, "verbs-device", from, to);
    assert_non_null(entry);
    entry->latency_ps = entry->least_ps = 20000000;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        entry->curve[entry->num_points++] = (struct weft_curve_point){
            sizes[i], 20000000 + (int64_t)((double)sizes[i] * 1e6 / mb_per_s)};
}

static const struct weft_verbs_known *known(const struct weft_rdma_facts *facts, const char *device)
{
    for (int i = 0; i < facts->num_known; i++)
        if (strcmp(facts->known[i].device, device) == 0)
            return &facts->known[i];
    fail_msg("%s is not known", device);
    return NULL;
}

static void must_know(const struct weft_rdma_facts *facts, const char *device, int64_t mbps)
{
    int64_t found = known(facts, device)->measured_mbps;
    if (llabs(found - mbps) * 50 > mbps)
        fail_msg("%s: %lld Mb/s, not %lld", device, (long long)found, (long long)mbps);
}

/* a: 40 MB/s both ways, b: sends at 20 only, c: takes 10 only, d: reaches nobody. */
static void test_measured(void **state)
{
    (void)state;
    struct weft_measurements m;
    struct weft_rdma_facts facts = {0};
    weft_measurements_init(&m, 1);
    weft_rdma_facts_measured(&m, &facts);
    assert_int_equal(facts.num_known, 0);
    assert_int_equal(facts.message.num_lines, 0);
    add(&m, "h/a", "h/a", 500);
    add(&m, "h/a", "h/b", 40);
    add(&m, "h/b", "h/a", 20);
    add(&m, "h/a", "h/c", 10);
    add(&m, "h/c", "h/a", 40);
    add(&m, "h/b", "h/c", 10);
    add(&m, "h/d", "h/d", 300);
    add(&m, "h/e", "h/a", 40);
    snprintf(m.entries[m.num_entries - 1].note, sizeof m.entries[0].note, "not believed: wild");
    weft_rdma_facts_measured(&m, &facts);
    assert_int_equal(facts.num_known, 4);
    must_know(&facts, "a", 320);
    must_know(&facts, "b", 160);
    must_know(&facts, "c", 80);
    must_know(&facts, "d", 2400);
    assert_int_equal(known(&facts, "a")->distance, -1);
    assert_true(facts.message.num_lines > 0);
    // a message's price is that of the fastest way between two
    for (int64_t bytes = 64; bytes <= 16 << 20; bytes *= 16) {
        int64_t predicted = (int64_t)weft_curve_time(&facts.message, bytes, 0);
        int64_t expected = 20000000 + bytes * 25000;
        if (llabs(predicted - expected) * 50 > expected)
            fail_msg("%lld bytes: %lld ps, not %lld", (long long)bytes, (long long)predicted,
                     (long long)expected);
    }
    weft_measurements_free(&m);
}

static void test_prices(void **state)
{
    (void)state;
    struct weft_measurements m;
    struct weft_rdma_facts facts = {0};
    struct weft_level_costs level = weft_costs_assumed(2, 2).levels[0];
    weft_rdma_price(&facts, 800000, &level); // two ports of 400 Gb/s that nobody has measured
    assert_int_equal(weft_curve_bandwidth(level.message.lines[0].ps_per_mib) / 1000000, 100000);
    assert_int_equal(level.message.lines[0].fixed_ps, 3000000);
    weft_measurements_init(&m, 1);
    add(&m, "h/a", "h/b", 40);
    weft_rdma_facts_measured(&m, &facts);
    weft_rdma_price(&facts, 480, &level); // 320 and 160
    const struct weft_line *last = &level.message.lines[level.message.num_lines - 1];
    assert_int_equal(weft_curve_bandwidth(last->ps_per_mib) / 100000, 600);
    assert_true(level.crowd_ps_per_mib == last->ps_per_mib);
    assert_true(llabs(level.message.lines[0].fixed_ps - 20000000) < 2000000);
    weft_rdma_price(&facts, 0, &level); // a port does not say its rate
    last = &level.message.lines[level.message.num_lines - 1];
    assert_int_equal((weft_curve_bandwidth(last->ps_per_mib) + 500000) / 1000000, 40);
    weft_measurements_free(&m);
}

static void test_near(void **state)
{
    (void)state;
    char path[512];
    struct weft_topology *t;
    snprintf(path, sizeof path, "%s/topodata/mpibind/coral-lassen.xml", WEFT_SHARED_DATA);
    if (access(path, F_OK) != 0) {
        print_message("%s is not there\n", path);
        skip();
    }
    assert_int_equal(weft_topology_load(path, &t, NULL), WEFT_OK);
    int host = weft_topology_find_node(t, "lassen28");
    const int cores[] = {weft_topology_find_node(t, "lassen28/core3"),
                         weft_topology_find_node(t, "lassen28/core4"),
                         weft_topology_find_node(t, "lassen28/core25")};
    static const struct {
        int first, count, distance[4];
    } cases[] = {{0, 2, {10, 10, 21, 21}}, {2, 1, {21, 21, 10, 10}}, {0, 3, {10, 10, 10, 10}}};
    for (int i = 0; i < 3; i++) {
        struct weft_rdma_facts facts = {0};
        assert_int_equal(
            weft_rdma_facts_near(t, host, cores + cases[i].first, cases[i].count, &facts, NULL),
            WEFT_OK);
        assert_int_equal(facts.num_known, 4);
        for (int k = 0; k < 4; k++) {
            char name[16];
            snprintf(name, sizeof name, "mlx5_%d", k);
            assert_int_equal(known(&facts, name)->distance, cases[i].distance[k]);
        }
    }
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_prices),
        cmocka_unit_test(test_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
