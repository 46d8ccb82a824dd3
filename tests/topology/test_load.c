/*
 * SPDX-License-Identifier: Apache-2.0
 * One door for every source: this machine, real hwloc files (where ../shared is there), files of
 * our own, and what must be refused. Whatever loads must pass the check, survive the round trip
 * through JSON, have a place for ranks and a report.
 */
#include "tests/topology/compare.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topology/json.h"
#include "topology/load.h"
#include "topology/probe.h"
#include "topology/report.h"
#include "topology/route.h"

static void check_sound(const struct weft_topology *t)
{
    struct weft_topology *back = NULL;
    size_t bytes_1, bytes_2;
    char *text_1 = written(t, &bytes_1);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_read_json(text_1, bytes_1, "copy", &back, NULL), WEFT_OK);
    char *text_2 = written(back, &bytes_2);
    assert_string_equal(text_1, text_2);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    free(text_1);
    free(text_2);
    int node_of_rank[4], num_islands;
    struct weft_route routes[16];
    assert_int_equal(weft_topology_place(t, 4, node_of_rank, NULL), WEFT_OK);
    assert_int_equal(weft_topology_routes(t, 4, node_of_rank, routes, NULL), WEFT_OK);
    for (int i = 0; i < 16; i++)
        assert_true(routes[i].latency_ps >= 0); // one host: every place reaches every other
    assert_int_equal(weft_topology_islands(t, NULL, &num_islands, NULL), WEFT_OK);
    assert_int_equal(num_islands, 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 1);
    const struct weft_report_options options = {.verbose = true};
    char *report = NULL;
    FILE *stream = open_memstream(&report, &bytes_1);
    assert_non_null(stream);
    assert_int_equal(weft_topology_report(t, &options, stream, NULL), WEFT_OK);
    fclose(stream);
    for (int i = 0; i < t->num_nodes; i++) {
        const char *slash = strchr(t->nodes[i].name, '/');
        assert_non_null(strstr(report, slash ? slash + 1 : t->nodes[i].name));
    }
    free(report);
    weft_topology_destroy(&back);
}

static void test_this_machine(void **state)
{
    (void)state;
    struct weft_topology *t = NULL, *again = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_topology_load(NULL, &t, &error), WEFT_OK);
    assert_int_equal(weft_topology_load("", &again, &error), WEFT_OK);
    check_sound(t);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(again));
    assert_int_equal(t->num_probes, weft_num_probes);
    long cores = weft_topology_count(t, WEFT_NODE_CORE);
    assert_true(cores >= 1 && cores <= sysconf(_SC_NPROCESSORS_CONF));
    weft_topology_destroy(&t);
    weft_topology_destroy(&again);
}

/* Attributes are something, too: whoever read any from sysfs is not said to have added nothing. */
static void test_probes_that_added_nothing(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_load(NULL, &t, NULL), WEFT_OK);
    bool has_found = false, has_added = false, has_hwloc = false;
    for (int i = 0; i < t->num_nodes; i++)
        for (const struct weft_attribute *a = t->nodes[i].attributes; a; a = a->next)
            has_found |= a->source == WEFT_SOURCE_SYSFS;
    for (int i = 0; i < t->num_probes; i++) {
        const struct weft_probe_record *probe = &t->probes[i];
        bool has_nothing = strcmp(probe->reason, "added nothing") == 0;
        has_hwloc |= strcmp(probe->name, "hwloc") == 0 && probe->available;
        has_added |= probe->available && !has_nothing && strcmp(probe->name, "hwloc") != 0;
        if (strcmp(probe->name, "system") == 0) // the last resort; hwloc always finds a place
            assert_int_equal(has_nothing, has_hwloc);
    }
    if (has_found)
        assert_true(has_added);
    weft_topology_destroy(&t);
}

static void test_hwloc_xml_file_variable(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    setenv("HWLOC_XMLFILE", "/nonexistent.xml", 1);
    assert_int_equal(weft_topology_load(NULL, &t, NULL), WEFT_OK);
    unsetenv("HWLOC_XMLFILE");
    assert_true(weft_topology_count(t, WEFT_NODE_CORE) > 0);
    weft_topology_destroy(&t);
}

/* A path of a new file, removed by the caller. */
static void make_file(char *path, const char *text, size_t bytes)
{
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, bytes), bytes);
    assert_int_equal(close(file), 0);
}

#ifndef WEFT_CORE_ONLY

/* A machine of our own: a NIC named like another node, another behind a narrow port of a switch, a
 * console VGA chip and a function without interface that must not appear. */
#define SETS " cpuset=\"0x1\" complete_cpuset=\"0x1\" nodeset=\"0x1\" complete_nodeset=\"0x1\" "
#define PORT(address, buses, speed)                                                                \
    "<object type=\"Bridge\" bridge_type=\"1-1\" depth=\"1\" bridge_pci=\"0000:[" buses            \
    "]\" pci_busid=\"0000:" address                                                                \
    ".0\" pci_type=\"0604 [1000:1000] [0000:0000] 00\" pci_link_speed=\"" speed "\">"
#define DEVICE(address, type, speed)                                                               \
    "<object type=\"PCIDev\" pci_busid=\"0000:" address ".0\" pci_type=\"" type                    \
    " [0000:0000] 00\" pci_link_speed=\"" speed "\">"
#define INTERFACE(name) "<object type=\"OSDev\" name=\"" name "\" osdev_type=\"2\"/>"
#define END             "</object>"
static const char own_machine[] =
    "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\"" SETS
    "allowed_cpuset=\"0x1\" allowed_nodeset=\"0x1\"><info name=\"HostName\" value=\"a/b\"/>"
    "<object type=\"NUMANode\" os_index=\"0\"" SETS "local_memory=\"4096\"/>"
    "<object type=\"PU\" os_index=\"0\"" SETS "/>"
    // clang-format off
    "<object type=\"Bridge\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[00-09]\">"
    DEVICE("00:03", "0200 [1af4:1041]", "0.000000") INTERFACE("numa0") END
    DEVICE("00:04", "0200 [8086:1521]", "0.000000") END
    DEVICE("00:05", "0300 [1a03:2000]", "0.000000") END
    PORT("00:06", "01-09", "15.753846")
        PORT("01:00", "02-09", "15.753846")
            PORT("02:00", "03-03", "3.938462")
                DEVICE("03:00", "0200 [15b3:1019]", "15.753846") INTERFACE("eth1") END
            END
            PORT("02:01", "04-04", "31.507692")
                DEVICE("04:00", "0302 [10de:1db1]", "15.753846") END
            END
        END
    END
    END END "</topology>";
// clang-format on

static const struct weft_link *up_link(const struct weft_topology *t, const char *name,
                                       const char *parent)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0 || t->nodes[node].parent < 0)
        fail_msg("no %s", name);
    assert_string_equal(t->nodes[t->nodes[node].parent].name, parent);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].to == node && t->links[i].from == t->nodes[node].parent)
            return &t->links[i];
    fail_msg("no link up from %s", name);
    return NULL;
}

static void test_own_machine(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    if (weft_probe_hwloc_xml(t, own_machine, strlen(own_machine), "own", &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    check_sound(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_CORE), 1); // a thread stands in for its core
    assert_true(up_link(t, "a-b/numa0~2", "a-b/pcie-root0")->bandwidth.current.value == -1);
    const struct weft_link *link = up_link(t, "a-b/eth1", "a-b/pcie-switch0");
    assert_true(link->bandwidth.current.value == 3938462000); // the port, not the device
    assert_int_equal(link->bandwidth.current.source, WEFT_SOURCE_HWLOC);
    assert_true(up_link(t, "a-b/gpu0", "a-b/pcie-switch0")->bandwidth.current.value == 15753846000);
    assert_true(weft_topology_number(t, 0, "network_functions_without_interface", 0) == 1);
    weft_topology_destroy(&t);
}

/* Told by its variable, hwloc describes another machine: what is in this one is none of its. */
static void test_hwloc_xml_file_of_another_machine(void **state)
{
    (void)state;
    struct weft_topology *file = NULL, *live = NULL;
    char path[] = "/tmp/weft-test-XXXXXX";
    make_file(path, own_machine, strlen(own_machine));
    assert_int_equal(weft_topology_load(path, &file, NULL), WEFT_OK);
    setenv("HWLOC_XMLFILE", path, 1);
    assert_int_equal(weft_topology_load(NULL, &live, NULL), WEFT_OK);
    unsetenv("HWLOC_XMLFILE");
    unlink(path);
    check_sound(live);
    assert_true(weft_topology_fingerprint(live) == weft_topology_fingerprint(file));
    assert_string_equal(weft_topology_text(live, 0, WEFT_PROBE_ELSEWHERE), "a variable of hwloc");
    assert_int_equal(live->num_probes, weft_num_probes);
    for (int i = 0; i < live->num_probes; i++) {
        bool is_hwloc = strcmp(live->probes[i].name, "hwloc") == 0;
        assert_int_equal(live->probes[i].available, is_hwloc);
        assert_string_equal(live->probes[i].reason, is_hwloc ? "" : "the host is another machine");
    }
    weft_topology_destroy(&file);
    weft_topology_destroy(&live);
}

/* What is known about some of the real files, by other tools and by reading them. */
static const struct {
    const char *file;
    int kind;
    int count;
} facts[] = {
    {"nvidiaDGX2.xml", WEFT_NODE_GPU, 16},
    {"nvidiaDGX2.xml", WEFT_NODE_NVSWITCH, 12},
    {"coral-lassen.xml", WEFT_NODE_GPU, 4},
    {"coral-lassen.xml", WEFT_NODE_NIC, 6},
    {"coral-lassen.xml", WEFT_NODE_CORE, 40},
    {"coral-lassen.xml", WEFT_NODE_NUMA, 2},
    {"epyc-corona.xml", WEFT_NODE_GPU, 4},
    {"epyc-corona.xml", WEFT_NODE_NUMA, 8},
    {"g4dnmetal.xml", WEFT_NODE_GPU, 8},
    {"g4dnmetal.xml", WEFT_NODE_NIC, 2},
    {"power8gpudistances.xml", WEFT_NODE_GPU, 4},
    {"192em64t-12gr2n8c2t.xml", WEFT_NODE_CORE, 192},
    {"192em64t-12gr2n8c2t.xml", WEFT_NODE_NUMA, 24},
};

static int check_file(const char *path)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load(path, &t, &error) != WEFT_OK)
        fail_msg("%s: %s", path, error.text);
    check_sound(t);
    int checked = 0;
    const char *name = strrchr(path, '/') + 1;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (strcmp(facts[i].file, name) != 0)
            continue;
        checked++;
        if (weft_topology_count(t, facts[i].kind) != facts[i].count)
            fail_msg("%s: %d %s, not %d", name, weft_topology_count(t, facts[i].kind),
                     weft_node_kinds[facts[i].kind].plural, facts[i].count);
    }
    weft_topology_destroy(&t);
    return checked;
}

static void test_real_files(void **state)
{
    (void)state;
    glob_t found;
    int facts_checked = 0;
    if (glob(WEFT_SHARED_DATA "/topodata/hwloc/*.xml", 0, NULL, &found) != 0 ||
        glob(WEFT_SHARED_DATA "/topodata/mpibind/*.xml", GLOB_APPEND, NULL, &found) != 0) {
        print_message("no real machine files in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        facts_checked += check_file(found.gl_pathv[i]);
    print_message("%zu real machines\n", found.gl_pathc);
    assert_int_equal(facts_checked, (int)(sizeof facts / sizeof facts[0]));
    globfree(&found);
}

#endif

static const struct {
    const char *content;
    const char *why;
} bad_files[] = {
    {"", "no known form"},
    {"plain words", "no known form"},

    {"<?xml version=\"1.0\"?><!-- <topology> --><x/>", "no known form"},
    {"<topologyx/>", "no known form"},
    {"<!-- never closed", "no known form"},
    {"{\"format\": \"other\"}", "weft-topology"},
#ifndef WEFT_CORE_ONLY
    {"<topology version=\"2.0\">", ":1: Premature end"},
    {"<topology version=\"3.0\"><object type=\"Machine\"", ":1: "},
    {"<topology version=\"4.0\"></topology>", "hwloc 4"},
    {"<topology version=\"2.0\"><object type=\"Machine\" cpuset=\"x\"/></topology>",
     ":1: <object>: "},
#endif
};

static void test_bad_files(void **state)
{
    (void)state;
    char path[] = "/tmp/weft-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        size_t bytes = strlen(bad_files[i].content);
        assert_int_equal(ftruncate(file, 0), 0);
        assert_int_equal(pwrite(file, bad_files[i].content, bytes, 0), bytes);
        weft_status status = weft_topology_load(path, &t, &error);
        if (status == WEFT_OK || t || !strstr(error.text, bad_files[i].why) ||
            !strstr(error.text, path))
            fail_msg("%s\ngives %s: %s", bad_files[i].content, weft_status_name(status),
                     error.text);
    }
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, "{\0}", 3, 0), 3);
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_topology_load(path, &t, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "byte 0 at 1"));
    close(file);
    unlink(path);
    assert_int_equal(weft_topology_load("/nonexistent/file.json", &t, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_topology_load("/tmp", &t, &error), WEFT_INVALID_ARGUMENT); // a folder
    assert_int_equal(weft_topology_load("host:2 gpu", &t, &error), WEFT_INVALID_FORMAT);
    assert_null(t);
}

/* Editors of another system put a byte order mark before the text. */
static void test_byte_order_mark(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"format\": \"weft-topology\", \"version\": 1, \"nodes\": [{\"name\": \"a\", \"kind\": "
        "\"gpu\"}], \"links\": []}",
        "node a gpu\r\nnode b gpu\r\nlink a b 1 both\r\n",
#ifndef WEFT_CORE_ONLY
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<system version=\"1\"><cpu "
        "numaid=\"0\"/></system>",
#endif
    };
    char path[] = "/tmp/weft-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        assert_int_equal(ftruncate(file, 0), 0);
        assert_int_equal(pwrite(file, "\xef\xbb\xbf", 3, 0), 3);
        assert_int_equal(pwrite(file, texts[i], strlen(texts[i]), 3), strlen(texts[i]));
        if (weft_topology_load(path, &t, &error) != WEFT_OK)
            fail_msg("%s: %s", texts[i], error.text);
        weft_topology_destroy(&t);
    }
    close(file);
    unlink(path);
}

#ifndef WEFT_CORE_ONLY
/* libxml2 holds each attribute of an element against all others. */
static void test_many_attributes(void **state)
{
    (void)state;
    char path[] = "/tmp/weft-test-XXXXXX";
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    for (int count = 200; count <= 1200; count += 1000) {
        int file = mkstemp(strcpy(path, "/tmp/weft-test-XXXXXX"));
        FILE *stream = fdopen(file, "w");
        assert_non_null(stream);
        // what is in comments is no attribute
        fputs("<!-- \"'<x a='1' --><system version='1'><cpu numaid=\"0\"/><cpu numaid='1'", stream);
        for (int i = 2; i < count; i++)
            fprintf(stream, " a%d='>'", i);
        fputs("/></system>", stream);
        fclose(stream);
        weft_status status = weft_topology_load(path, &t, &error);
        unlink(path);
        assert_true(status == (count < 1024 ? WEFT_OK : WEFT_INVALID_FORMAT));
        weft_topology_destroy(&t);
    }
    assert_non_null(strstr(error.text, "over 1024 attributes"));
}
#endif

static void test_own_file(void **state)
{
    (void)state;
    char path[] = "/tmp/weft-test-XXXXXX";
    struct weft_topology *t = NULL, *back = NULL;
    size_t bytes;
    assert_int_equal(weft_topology_load("host:2 gpu:4 nic:2", &t, NULL), WEFT_OK);
    char *text = written(t, &bytes);
    make_file(path, text, bytes);
    assert_int_equal(weft_topology_load(path, &back, NULL), WEFT_OK);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    unlink(path);
    free(text);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_hwloc_xml_file_variable),
        cmocka_unit_test(test_probes_that_added_nothing),
#ifndef WEFT_CORE_ONLY
        cmocka_unit_test(test_many_attributes),
        cmocka_unit_test(test_real_files),
        cmocka_unit_test(test_own_machine),
        cmocka_unit_test(test_hwloc_xml_file_of_another_machine),
#endif
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_own_file),
        cmocka_unit_test(test_byte_order_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
