/*
 * SPDX-License-Identifier: Apache-2.0
 * The JSON form: what is written reads back to the same graph and the same bytes; every refusal of
 * the reader names the place.
 */
#include "tests/topology/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/json.h"
#include "topology/synthetic.h"

static struct weft_topology *read_back(const char *text, size_t bytes)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_read_json(text, bytes, "text", &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

static void check_round_trip(const struct weft_topology *t)
{
    size_t bytes_1, bytes_2;
    char *text_1 = written(t, &bytes_1);
    struct weft_topology *back = read_back(text_1, bytes_1);
    char *text_2 = written(back, &bytes_2);
    assert_int_equal(bytes_1, bytes_2);
    assert_memory_equal(text_1, text_2, bytes_1);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    assert_int_equal(t->num_links, back->num_links);
    weft_topology_destroy(&back);
    free(text_1);
    free(text_2);
}

static void test_synthetic_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = {"host:1", "host:2 numa:2 core:8",
                                        "host:16 pcie:4 nvswitch:4@450 gpu:8@63.015 nic:8@400"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weft_topology *t = NULL;
        assert_int_equal(weft_topology_from_synthetic(texts[i], &t, NULL), WEFT_OK);
        check_round_trip(t);
        weft_topology_destroy(&t);
    }
}

/* Every field in every state, and characters that JSON must escape. */
static void test_full_round_trip(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    int a, b;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_SPINE, "z \"\\/\" {}", -1, &a, NULL), 0);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_LEAF, "y", a, &b, NULL), 0);
    assert_int_equal(weft_topology_set_text(t, b, "t\"", "\\ \"", WEFT_SOURCE_UMAD, NULL), 0);
    assert_int_equal(weft_topology_set_text(t, b, "empty", "", WEFT_SOURCE_NVML, NULL), 0);
    assert_int_equal(weft_topology_set_number(t, b, "n", INT64_MAX, WEFT_SOURCE_SYSFS, NULL), 0);
    assert_int_equal(weft_topology_add_probe(t, "p", false, "why \"not\"", NULL), 0);
    for (int form = 0; form < 8; form++) {
        struct weft_link link = weft_link_make(form % WEFT_NUM_LINK_KINDS, a, b);
        link.count = form + 1;
        struct weft_quantity some = {form, (enum weft_source)(form % 8 + 1)};
        if (form & 1)
            link.bandwidth.nominal = link.latency.measured = some;
        if (form & 2)
            link.bandwidth.current = link.latency.nominal = some;
        if (form & 4)
            link.bandwidth.measured = link.latency.current = some;
        assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    check_round_trip(t);
    size_t bytes;
    char *text = written(t, &bytes);
    struct weft_topology *back = read_back(text, bytes);
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    for (int i = 0; i < 8; i++)
        assert_links_equal(&t->links[i], &back->links[i]);
    assert_string_equal(weft_topology_text(back, 1, "t\""), "\\ \"");
    assert_true(weft_topology_number(back, 1, "n", 0) == INT64_MAX);
    assert_false(back->probes[0].available);
    weft_topology_destroy(&back);
    weft_topology_destroy(&t);
    free(text);
}

#define HEAD "{\"format\": \"weft-topology\", \"version\": 1, "
#define PAIR                                                                                       \
    HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\"}, {\"name\": \"b\", \"kind\": "          \
         "\"nic\"}], "

static const struct {
    const char *text;
    const char *why;
} bad[] = {
    {"", "in:1"},
    {"{\n\n  \"format\": oops}", "in:3"},
    {"[]", "in: is not an object"},
    {"{}", "\"format\" is missing"},
    {"{\"format\": \"x\"}", "weft-topology"},
    {"{\"format\": \"weft-topology\", \"version\": 2, \"nodes\": [], \"links\": []}", "version"},
    {HEAD "\"nodes\": []}", "\"links\" is missing"},
    {HEAD "\"nodes\": {}, \"links\": []}", "\"nodes\" is not an array"},
    {HEAD "\"nodes\": [], \"links\": [], \"extra\": 1}", "unknown key \"extra\""},
    {HEAD "\"nodes\": [], \"nodes\": [], \"links\": []}", "duplicate"},
    {HEAD "\"nodes\": [7], \"links\": []}", "nodes[0]: is not an object"},
    {HEAD "\"nodes\": [{\"kind\": \"gpu\"}], \"links\": []}", "nodes[0]: \"name\" is missing"},
    {HEAD "\"nodes\": [{\"name\": \"\", \"kind\": \"gpu\"}], \"links\": []}", "nodes[0]"},
    {HEAD "\"nodes\": [{\"name\": \"\\u0000a\", \"kind\": \"gpu\"}], \"links\": []}", "in:1"},
    {HEAD "\"nodes\": [{\"name\": \"\\u00e4\", \"kind\": \"gpu\"}], \"links\": []}", "0xc3"},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpus\"}], \"links\": []}", "\"gpus\""},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"knid\": 1}], \"links\": []}", "knid"},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"parent\": \"b\"}], \"links\": []}",
     "nodes[0].parent: there is no node \"b\""},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"parent\": \"a\"}], \"links\": []}",
     "contains itself"},
    {HEAD
     "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\"}, {\"name\": \"a\", \"kind\": \"gpu\"}], "
     "\"links\": []}",
     "nodes[1]"},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"attributes\": []}], \"links\": []}",
     "\"attributes\" is not an object"},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"attributes\": {\"k\": 5}}], "
          "\"links\": []}",
     "nodes[0].attributes.k"},
    {HEAD
     "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"attributes\": {\"k\": {\"value\": -1, "
     "\"source\": \"file\"}}}], \"links\": []}",
     "nodes[0].attributes.k: \"value\" is -1"},
    {HEAD "\"nodes\": [{\"name\": \"a\", \"kind\": \"gpu\", \"attributes\": {\"k\": {\"value\": 1, "
          "\"source\": \"rumour\"}}}], \"links\": []}",
     "rumour"},
    {PAIR "\"links\": [{\"kind\": \"rope\", \"from\": \"a\", \"to\": \"b\"}]}", "\"rope\""},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\"}]}", "links[0]: \"to\" is missing"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"c\"}]}", "links[0].to"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"a\"}]}", "with itself"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"b\", \"count\": 0}]}",
     "count"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"b\", \"count\": 2000000}]}",
     "count"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"b\", \"latency\": 5}]}",
     "links[0].latency"},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"b\", \"bandwidth\": "
          "{\"nominal\": {\"value\": 1.5, \"source\": \"file\"}}}]}",
     "links[0].bandwidth.nominal: \"value\""},
    {PAIR "\"links\": [{\"kind\": \"pcie\", \"from\": \"a\", \"to\": \"b\", \"bandwidth\": "
          "{\"nominal\": {\"value\": 1, \"source\": \"unknown\"}}}]}",
     "source"},
    {PAIR "\"links\": [], \"probes\": [{\"name\": \"p\", \"available\": 1, \"reason\": \"\"}]}",
     "probes[0]"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        weft_status status =
            weft_topology_read_json(bad[i].text, strlen(bad[i].text), "in", &t, &error);
        if (status != WEFT_INVALID_FORMAT || error.status != status || t ||
            !strstr(error.text, bad[i].why) || strncmp(error.text, "in", 2) != 0)
            fail_msg("%s\ngives %s: %s\nwithout \"%s\"", bad[i].text, weft_status_name(status),
                     error.text, bad[i].why);
    }
}

/* A parent may come later in a file written by hand. */
static void test_order_in_file(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "\"nodes\": [{\"name\": \"c\", \"kind\": \"core\", \"parent\": \"h\"}, "
             "{\"name\": \"h\", \"kind\": \"host\"}], \"links\": []}";
    struct weft_topology *t = read_back(text, strlen(text));
    assert_string_equal(t->nodes[0].name, "h");
    assert_int_equal(t->nodes[1].parent, 0);
    check_round_trip(t);
    weft_topology_destroy(&t);
}

static void test_full_disk(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (!full)
        skip();
    assert_int_equal(weft_topology_from_synthetic("host:2 gpu:2", &t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_write_json(t, full, &error), WEFT_SYSTEM);
    fclose(full);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synthetic_round_trip),
        cmocka_unit_test(test_full_round_trip),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_order_in_file),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
