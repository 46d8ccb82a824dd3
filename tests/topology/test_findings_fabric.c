/*
 * SPDX-License-Identifier: Apache-2.0
 * Findings about a fabric: a sound one has none, each fault gives its own with the switch and port
 * to look at and what it costs, and the real fabric gives what is known to be wrong with it.
 */
#include "tests/topology/cabling.h"
#include "tests/topology/load.h"

#include <stdlib.h>

#include "topology/findings.h"
#include "topology/load.h"

/* The sentence of the only finding of a kind, which must hold all of `parts` (ended by NULL); no
 * parts: there must be none. */
static void expect(const struct weft_topology *t, const char *kind, int64_t lost_gigabytes,
                   const char *const *parts)
{
    struct weft_findings findings = {0};
    const struct weft_finding *found = NULL;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++)
        if (strcmp(findings.items[i].kind, kind) == 0) {
            assert_null(found);
            found = &findings.items[i];
        }
    if (!parts[0] && found)
        fail_msg("unexpected: %s", found->sentence);
    if (parts[0] && !found)
        fail_msg("no finding of kind %s", kind);
    for (int i = 0; parts[i]; i++)
        if (!strstr(found->sentence, parts[i]))
            fail_msg("\"%s\" is not in: %s", parts[i], found->sentence);
    if (found)
        assert_true(found->lost_bandwidth == lost_gigabytes * 1000000000);
    weft_findings_free(&findings);
}
#define EXPECT(t, kind, lost, ...) expect(t, kind, lost, (const char *const[]){__VA_ARGS__, NULL})
#define EXPECT_NONE(t, kind)       expect(t, kind, 0, (const char *const[]){NULL})

static const char *const kinds[] = {"missing-uplinks", "uneven-spines",    "slow-cables",
                                    "missing-leaf",    "duplicate-guid",   "fewer-nics",
                                    "other-rail",      "unnamed-adapters", "oversubscription"};

static void test_a_sound_fabric_has_none(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(3, 4, 8, 8);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        EXPECT_NONE(t, kinds[i]);
    weft_topology_destroy(&t);
}

static void test_missing_uplinks(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(3, 4, 8, 8);
    unplug(t, "rack-leaf-02-01", 35);
    unplug(t, "rack-leaf-02-01", 40);
    unplug(t, "rack-leaf-03-02", 33);
    EXPECT(t, "missing-uplinks", 100,
           "2 of 12 leaf switches have fewer uplinks than the fullest beside them; "
           "rack-leaf-02-01 has 6 of 8: no cable in port 35 to spine-2, port 40 to spine-7",
           "; rack-leaf-03-02 has 7.");
    EXPECT(t, "uneven-spines", 50, "3 of 8 have fewer cables", "spine-0 has 11 of 12",
           "none to rack-leaf-03-02.");
    EXPECT(t, "oversubscription", 0, "2 of 12 leaf switches", "most of all rack-leaf-02-01.");
    weft_topology_destroy(&t);
}

/* Leaves of another pod may be cabled otherwise. */
static void test_pods_are_compared_apart(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 4, 8, 8);
    char name[40];
    int spine = add_switch(t, "other-spine");
    for (int l = 0; l < 3; l++) {
        snprintf(name, sizeof name, "other-%d", l);
        int leaf = add_switch(t, name);
        for (int cable = 0; cable < 7; cable++)
            join(t, leaf, 1 + cable, spine, 1 + l * 7 + cable, 50);
        snprintf(name, sizeof name, "far%d", l);
        join(t, add_nic(t, name, "mlx5_0"), 1, leaf, 20, 50);
    }
    assert_int_equal(weft_topology_find_tiers(t, WEFT_SOURCE_FILE, NULL), WEFT_OK);
    EXPECT_NONE(t, "missing-uplinks");
    EXPECT_NONE(t, "uneven-spines");
    unplug(t, "rack-leaf-02-00", 35);
    unplug(t, "rack-leaf-02-00", 36);
    EXPECT(t, "missing-uplinks", 100, "1 of 7 leaf switches", "rack-leaf-02-00 has 6 of 8");
    weft_topology_destroy(&t);
}

static void test_slow_cables(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(3, 4, 8, 8);
    cable_of(t, "rack-leaf-02-01", 35)->bandwidth.current.value = 2000000000;
    cable_of(t, "rack-leaf-01-01", 3)->bandwidth.current.value = 25000000000;
    EXPECT(t, "slow-cables", 48, "2 of 192 network cables run below others of their kind: ",
           "rack-leaf-02-01 port 35 to spine-2 port 7 at 2 GB/s, not 50 GB/s;",
           "node01-02/mlx5_1 port 1 to rack-leaf-01-01 port 3 at 25 GB/s");
    weft_topology_destroy(&t);
}

/* Without a majority nobody can say what should be. */
static void test_two_halves_are_no_fault(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 4, 8, 8);
    for (int r = 0; r < 4; r++)
        for (int port = 33; port < 41; port++) {
            char name[40];
            snprintf(name, sizeof name, "rack-leaf-%02d-00", r);
            cable_of(t, name, port)->bandwidth.current.value = 25000000000;
        }
    cable_of(t, "rack-leaf-00-01", 33)->bandwidth.current.value = 100000000000;
    EXPECT_NONE(t, "slow-cables");
    weft_topology_destroy(&t);
}

/* Other hardware is no fault. */
static void test_cables_of_other_adapters_are_another_kind(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(3, 4, 8, 8);
    char name[40];
    for (int h = 0; h < 8; h++) {
        snprintf(name, sizeof name, "node00-%02d/mlx5_0", h);
        int nic = weft_topology_find_node(t, name);
        assert_int_equal(
            weft_topology_set_text(t, nic, "ib_device", "0002c9:101b", WEFT_SOURCE_FILE, NULL),
            WEFT_OK);
        cable_of(t, "rack-leaf-00-00", 1 + h)->bandwidth.current.value = 25000000000;
    }
    EXPECT_NONE(t, "slow-cables");
    weft_topology_destroy(&t);
}

static void test_an_absent_leaf(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(4, 4, 8, 2);
    int leaf = weft_topology_find_node(t, "rack-leaf-02-01");
    for (int i = t->num_links - 1; i >= 0; i--)
        if (t->links[i].from == leaf || t->links[i].to == leaf)
            t->links[i] = t->links[--t->num_links];
    t->nodes[leaf].kind = WEFT_NODE_DEVICE;
    EXPECT(t, "missing-leaf", 0,
           "1 leaf switch is absent from a grid of 4 by 4 names: rack-leaf-02-01.");
    EXPECT(t, "uncabled-nics", 50, "8 NICs have no cable", ": node01-00/mlx5_2,");
    EXPECT_NONE(t, "fewer-nics"); // the same is not said twice
    weft_topology_destroy(&t);
}

static void test_duplicate_guids(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 2, 4, 2);
    const char *const names[] = {"node00-00/mlx5_0", "node00-03/mlx5_1"};
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_topology_set_text(t, weft_topology_find_node(t, names[i]),
                                                "node_guid", "00000000000000aa", WEFT_SOURCE_FILE,
                                                NULL),
                         WEFT_OK);
    EXPECT(t, "duplicate-guid", 0, "1 GUID is used by two devices: 00000000000000aa",
           "node00-00/mlx5_0 and node00-03/mlx5_1");
    weft_topology_destroy(&t);
}

static void test_a_host_with_fewer_nics(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 8, 6, 2);
    unplug(t, "rack-leaf-03-00", 2);
    unplug(t, "rack-leaf-05-00", 2);
    unplug(t, "rack-leaf-05-00", 4);
    // a subnet manager does not even see them
    static const char *const gone[] = {"node00-01/mlx5_3", "node00-01/mlx5_5", "node00-03/mlx5_5"};
    for (int i = 0; i < 3; i++)
        t->nodes[weft_topology_find_node(t, gone[i])].kind = WEFT_NODE_DEVICE;
    join(t, add_nic(t, "manager", "mlx5_0"), 1, weft_topology_find_node(t, "rack-leaf-00-00"), 20,
         50);
    EXPECT(t, "fewer-nics", 100, "2 of 7 hosts with NICs",
           ": node00-01 has 6 of 8, without mlx5_3;", "node00-03 has 7 of 8, without mlx5_5");
    weft_topology_destroy(&t);
}

static void test_swapped_cables(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 8, 6, 2);
    struct weft_link *a = cable_of(t, "rack-leaf-03-01", 5), *b = cable_of(t, "rack-leaf-04-01", 5);
    int swap = a->to;
    a->to = b->to;
    b->to = swap;
    EXPECT(t, "other-rail", 0, "2 NICs are on another rail than siblings",
           "node01-04/mlx5_4 is on rack-leaf-03-01 port 5 among 5 x mlx5_3, theirs is on "
           "rack-leaf-04-01",
           "node01-04/mlx5_3 is on rack-leaf-04-01 port 5 among 5 x mlx5_4");
    weft_topology_destroy(&t);
}

/* All NICs of a host on one leaf: no rails, no lost NICs. */
static void test_a_fabric_without_rails(void **state)
{
    (void)state;
    struct weft_topology *t = new_topology();
    int spine = add_switch(t, "spine");
    for (int l = 0; l < 3; l++) {
        char name[40], nic[20];
        snprintf(name, sizeof name, "leaf-%d", l);
        int leaf = add_switch(t, name);
        join(t, leaf, 33, spine, 1 + l, 50);
        for (int h = 0; h < 8; h++) {
            snprintf(name, sizeof name, "node%d", l * 4 + h / 2);
            snprintf(nic, sizeof nic, "mlx5_%d", h % 2);
            join(t, add_nic(t, name, nic), 1, leaf, 1 + h, 50);
        }
    }
    assert_int_equal(weft_topology_find_tiers(t, WEFT_SOURCE_FILE, NULL), WEFT_OK);
    EXPECT_NONE(t, "other-rail");
    weft_topology_destroy(&t);
}

/* Thousands of faults are still one screen. */
static void test_many_faults_stay_short(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(16, 8, 32, 16);
    char name[40];
    for (int p = 0; p < 16; p++)
        for (int r = 0; r < 4; r++) {
            snprintf(name, sizeof name, "rack-leaf-%02d-%02d", r, p);
            for (int port = 33; port < 40; port++)
                unplug(t, name, port);
            for (int h = 1; h < 9; h++)
                unplug(t, name, h);
        }
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    assert_true(findings.count >= 4 && findings.count < 12);
    for (int i = 0; i < findings.count; i++)
        assert_true(strlen(findings.items[i].sentence) < sizeof findings.items[i].sentence - 1);
    weft_findings_free(&findings);
    EXPECT(t, "missing-uplinks", 350, "64 of 128 leaf switches", "has 9 of 16: no cable in port 33",
           "and 3 more");
    weft_topology_destroy(&t);
}

static void test_real_ndr_fabric(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("topograph/ibnetdiscover-ndr-40sw.out");
    // IBLEAF-01-02 lacks 4 uplinks of 50 GB/s, but has 16 NICs: 2 of them would do. IBLEAF-02-03
    // lacks 3 and has 18 NICs. So for each of the 6 leaves that lack cables to IBSPINE-04.
    EXPECT(t, "missing-uplinks", 150, "12 of 31 leaf switches",
           "A09-P1-IBLEAF-02-03 has 15 of 18: no cable in port 34 to A10-P1-IBSPINE-01",
           "; A09-P1-IBLEAF-01-02 has 14");
    EXPECT(t, "uneven-spines", 400, "6 of 9", "A10-P1-IBSPINE-04 has 52 of 62",
           "none to A09-P1-IBLEAF-01-02");
    EXPECT(t, "missing-leaf", 0, "grid of 4 by 8 names: A09-P1-IBLEAF-03-01.");
    EXPECT(t, "fewer-nics", 50, "10 of 120 hosts", "a05-p1-dgx-01-c01 has 3 of 4, without HCA-5");
    EXPECT(t, "other-rail", 0, "2 NICs are on another rail",
           "b08-p1-dgx-08-c01/HCA-6 is on B09-P1-IBLEAF-03-08 port 1 among 13 x HCA-5, theirs is "
           "on B09-P1-IBLEAF-04-08");
    EXPECT(t, "unnamed-adapters", 0, "74 of 542 NICs");
    EXPECT(t, "oversubscription", 0, "12 of 31 leaf switches");
    EXPECT_NONE(t, "slow-cables");
    EXPECT_NONE(t, "duplicate-guid");
    EXPECT(t, "no-place", 0, "A fabric alone");
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_fabric_has_none),
        cmocka_unit_test(test_missing_uplinks),
        cmocka_unit_test(test_pods_are_compared_apart),
        cmocka_unit_test(test_slow_cables),
        cmocka_unit_test(test_two_halves_are_no_fault),
        cmocka_unit_test(test_cables_of_other_adapters_are_another_kind),
        cmocka_unit_test(test_an_absent_leaf),
        cmocka_unit_test(test_duplicate_guids),
        cmocka_unit_test(test_a_host_with_fewer_nics),
        cmocka_unit_test(test_swapped_cables),
        cmocka_unit_test(test_a_fabric_without_rails),
        cmocka_unit_test(test_many_faults_stay_short),
        cmocka_unit_test(test_real_ndr_fabric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
