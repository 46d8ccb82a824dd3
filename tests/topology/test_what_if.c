/*
 * SPDX-License-Identifier: Apache-2.0
 * Topologies with changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "topology/load.h"
#include "topology/what_if.h"

static struct weft_topology *base(void)
{
    struct weft_topology *t = NULL;
    struct weft_error error;
    if (weft_topology_load("host:2 nvswitch:1@100 gpu:2@100 nic:2@400", &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

static struct weft_topology *change(const struct weft_topology *t, const char *text)
{
    struct weft_topology *changed = NULL;
    struct weft_error error;
    if (weft_topology_what_if(t, text, &changed, &error) != WEFT_OK)
        fail_msg("%s: %s", text, error.text);
    assert_int_equal(weft_topology_check(changed, &error), WEFT_OK);
    return changed;
}

static int num_links_of(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name), count = 0;
    for (int i = 0; i < t->num_links; i++)
        count += t->links[i].from == node || t->links[i].to == node;
    return count;
}

static void test_nothing_is_a_copy(void **state)
{
    (void)state;
    struct weft_topology *t = base(), *same = change(t, " # nothing ;; ");
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(same));
    weft_topology_destroy(&same);
    weft_topology_destroy(&t);
}

static void test_a_node_goes_with_its_links(void **state)
{
    (void)state;
    struct weft_topology *t = base();
    const char *nic = NULL;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_NIC)
            nic = t->nodes[i].name;
    assert_non_null(nic);
    char text[128];
    int gone = num_links_of(t, nic);
    assert_true(gone > 0);
    snprintf(text, sizeof text, "remove nic:%s", nic);
    struct weft_topology *less = change(t, text);
    assert_int_equal(less->num_nodes, t->num_nodes - 1);
    assert_int_equal(less->num_links, t->num_links - gone);
    assert_int_equal(weft_topology_find_node(less, nic), -1);
    // A host takes all that is in it along.
    struct weft_topology *host = change(t, "remove host1");
    for (int i = 0; i < host->num_nodes; i++)
        assert_int_not_equal(strncmp(host->nodes[i].name, "host1", 5), 0);
    assert_int_equal(weft_topology_count(host, WEFT_NODE_GPU), 2);
    weft_topology_destroy(&host);
    weft_topology_destroy(&less);
    weft_topology_destroy(&t);
}

static void test_links_change(void **state)
{
    (void)state;
    struct weft_topology *t = base();
    const struct weft_link *link = &t->links[0];
    const char *a = t->nodes[link->from].name, *b = t->nodes[link->to].name;
    char text[256];
    snprintf(text, sizeof text, "set %s %s 12.5", a, b);
    struct weft_topology *set = change(t, text);
    assert_int_equal(weft_link_bandwidth(&set->links[0]).value, 12500000000);
    snprintf(text, sizeof text, "remove link %s %s", b, a);
    struct weft_topology *removed = change(t, text);
    assert_int_equal(removed->num_links, t->num_links - 1);
    snprintf(text, sizeof text, "add %s %s 50; set %s %s 20", a, b, a, b);
    struct weft_topology *added = change(t, text);
    assert_int_equal(added->num_links, t->num_links + 1);
    assert_int_equal(weft_link_bandwidth(&added->links[0]).value, 10000000000);
    assert_int_equal(weft_link_bandwidth(&added->links[t->num_links]).value, 10000000000);
    assert_int_equal(added->links[t->num_links].kind, link->kind);
    weft_topology_destroy(&added);
    weft_topology_destroy(&removed);
    weft_topology_destroy(&set);
    weft_topology_destroy(&t);
}

static void test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct weft_topology *t = base(), *changed = NULL;
    static const struct {
        const char *text, *why;
        weft_status status;
    } wrong[] = {
        {"remove nobody", "what-if:1: there is no node \"nobody\"", WEFT_NOT_FOUND},
        {"remove gpu:host0", "no GPU \"host0\"", WEFT_NOT_FOUND},
        {"remove host0;remove host0", "what-if:2: there is no node", WEFT_NOT_FOUND},
        {"remove link host0 host1", "no link", WEFT_NOT_FOUND},
        {"explode host0", "\"explode\" is none of", WEFT_INVALID_FORMAT},
        {"remove", "expected a name", WEFT_INVALID_FORMAT},
        {"remove host0 now", "at the end of the line", WEFT_INVALID_FORMAT},
        {"add host0 host1 fast", "decimal number", WEFT_INVALID_FORMAT},
        {"add host0 host0 1", "what-if:1:", WEFT_INVALID_FORMAT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct weft_error error = {0};
        assert_int_equal(weft_topology_what_if(t, wrong[i].text, &changed, &error),
                         wrong[i].status);
        if (!strstr(error.text, wrong[i].why))
            fail_msg("%s: %s", wrong[i].text, error.text);
        assert_null(changed);
    }
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_a_copy),
        cmocka_unit_test(test_a_node_goes_with_its_links),
        cmocka_unit_test(test_links_change),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
