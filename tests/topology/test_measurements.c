/*
 * SPDX-License-Identifier: Apache-2.0
 * Measurements: there and back through JSON, what is refused, which links get figures, and the
 * cache: its modes, its place, and which files it does not believe.
 */
#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "topology/load.h"
#include "topology/measurements.h"
#include "topology/synthetic.h"

static char folder[] = "/tmp/weft-test-XXXXXX";

static void add(struct weft_measurements *m, const char *what, const char *from, const char *to,
                int64_t latency_ps, int64_t bandwidth)
{
    struct weft_measurement *entry = weft_measurements_add(m, what, from, to);
    assert_non_null(entry);
    entry->latency_ps = entry->least_ps = latency_ps;
    entry->curve[entry->num_points++] = (struct weft_curve_point){1, latency_ps};
    entry->curve[entry->num_points++] =
        (struct weft_curve_point){1 << 20, ((int64_t)1 << 20) * 1000000 / (bandwidth / 1000000)};
}

static struct weft_measurements sample(uint64_t fingerprint)
{
    struct weft_measurements m;
    weft_measurements_init(&m, fingerprint);
    time_t now = time(NULL);
    struct tm date;
    strftime(m.date, sizeof m.date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &date));
    add(&m, "memory", "host0/numa0", "host0/numa0", 90000, 20000000000);
    add(&m, "memory", "host0/numa1", "host0/numa0", 140000, 9000000000);
    add(&m, "shm", "host0/core0", "host0/core1", 300000, 5000000000);
    struct weft_measurement *absent = weft_measurements_add(&m, "verbs", "", "");
    snprintf(absent->note, sizeof absent->note, "no \"RDMA\" device\\");
    return m;
}

static char *text_of_measurements(const struct weft_measurements *m)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_measurements_write(m, stream, NULL), WEFT_OK);
    fclose(stream);
    return text;
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct weft_measurements m = sample(0x0123456789abcdef), back;
    char *text = text_of_measurements(&m);
    assert_int_equal(weft_measurements_read(text, strlen(text), "m", &back, NULL), WEFT_OK);
    char *again = text_of_measurements(&back);
    assert_string_equal(text, again);
    assert_true(back.fingerprint == 0x0123456789abcdef);
    assert_string_equal(back.entries[3].note, "no \"RDMA\" device\\");
    assert_int_equal(back.entries[3].latency_ps, -1);
    free(text);
    free(again);
    weft_measurements_free(&m);
    weft_measurements_free(&back);
}

#define HEAD "{\"format\": \"weft-measurements\", \"version\": 1, \"fingerprint\": "
#define TAIL ", \"date\": \"\", \"note\": \"\", \"entries\": ["
#define ENTRY                                                                                      \
    "{\"what\": \"shm\", \"from\": \"a\", \"to\": \"b\", \"spread_percent\": 1, \"note\": \"\", "

static void test_refused(void **state)
{
    (void)state;
    static const char good[] = "\"0123456789abcdef\"" TAIL;
    static const char *const rest[][2] = {
        {"\"0123456789abcdeg\"" TAIL "]}", "fingerprint"},
        {"\"0\"" TAIL "]}", "fingerprint"},
        {"7" TAIL "]}", "fingerprint"},
        {"\"0123456789abcdef\"" TAIL "7]}", "entries[0]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[1, 0]]}]}", "curve[0]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[1, -5]]}]}", "curve[0]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[2, 5], [2, 6]]}]}", "curve[1]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[2, 5, 6]]}]}", "curve[0]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[1.5, 6]]}]}", "curve[0]"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [[1, NaN]]}]}", ""},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [], \"latency_ps\": -1}]}", "latency_ps"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [], \"latency_ps\": 1e3}]}", "latency_ps"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [], \"speed\": 1}]}", "speed"},
        {"\"0123456789abcdef\"" TAIL ENTRY "\"curve\": [], \"what\": \"x\"}]}", ""},
    };
    struct weft_measurements m;
    struct weft_error error;
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, HEAD "%s", rest[i][0]);
        assert_int_equal(weft_measurements_read(text, strlen(text), "f", &m, &error),
                         WEFT_INVALID_FORMAT);
        if (strncmp(error.text, "f:", 2) != 0 || !strstr(error.text, rest[i][1]))
            fail_msg("%s: %s", rest[i][0], error.text);
    }
    char text[4096];
    int used = snprintf(text, sizeof text, HEAD "%s" ENTRY "\"curve\": [[0, 1]", good);
    for (int i = 1; i <= WEFT_MEASUREMENTS_CURVE_POINTS; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, ", [%d, 1]", i);
    snprintf(text + used, sizeof text - (size_t)used, "]}]}");
    assert_int_equal(weft_measurements_read(text, strlen(text), "f", &m, &error),
                     WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "over 32 points"));
}

static struct weft_topology *two_domains(void)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load("host:1 numa:2 core:4", &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

/* Renames what the sample is about to what the synthetic graph has. */
static void name_ends(struct weft_measurements *m, const struct weft_topology *t)
{
    const char *host = t->nodes[0].name;
    for (int i = 0; i < m->num_entries; i++) {
        char *names[] = {m->entries[i].from, m->entries[i].to};
        for (int k = 0; k < 2; k++) {
            const char *slash = strchr(names[k], '/');
            char name[128];
            if (!slash)
                continue;
            snprintf(name, sizeof name, "%.60s%.60s", host, slash);
            snprintf(names[k], sizeof m->entries[i].from, "%s", name);
        }
    }
}

static void test_into_the_graph(void **state)
{
    (void)state;
    struct weft_topology *t = two_domains();
    uint64_t fingerprint = weft_topology_fingerprint(t);
    struct weft_measurements m = sample(fingerprint);
    name_ends(&m, t);
    int applied, measured = 0;
    assert_int_equal(weft_measurements_apply(t, &m, &applied, NULL), WEFT_OK);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->latency.measured.value < 0)
            continue;
        measured++;
        assert_true(link->latency.measured.value ==
                    (link->kind == WEFT_LINK_MEMORY ? 90000 : 140000));
        int64_t expected = link->kind == WEFT_LINK_MEMORY ? 20000000000 : 9000000000;
        int64_t difference = link->bandwidth.measured.value - expected;
        assert_true(llabs(difference) < expected / 1000);
        assert_int_equal(link->bandwidth.measured.source, WEFT_SOURCE_MEASURED);
    }
    assert_int_equal(measured, applied);
    assert_int_equal(applied, 3); // two cores of numa0, and the socket link
    assert_true(weft_topology_fingerprint(t) == fingerprint);
    weft_topology_destroy(&t);
    t = two_domains();
    for (int i = 0; i < m.num_entries; i++)
        snprintf(m.entries[i].note, sizeof m.entries[i].note, "wild");
    assert_int_equal(weft_measurements_apply(t, &m, &applied, NULL), WEFT_OK);
    assert_int_equal(applied, 0);
    weft_topology_destroy(&t);
    weft_measurements_free(&m);
}

/* RDMA devices: a fact about the NIC, and the bandwidth of its cable where it has one only. */
static void test_rdma_devices(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int host, nics[3], leaf;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, "h", -1, &host, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_SWITCH, "leaf", -1, &leaf, NULL), WEFT_OK);
    for (int i = 0; i < 3; i++) {
        char name[16], device[16];
        snprintf(name, sizeof name, "h/eth%d", i);
        snprintf(device, sizeof device, "mlx5_%d", i);
        assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, name, host, &nics[i], NULL), 0);
        assert_int_equal(
            weft_topology_set_text(t, nics[i], "rdma_device", device, WEFT_SOURCE_VERBS, &error),
            WEFT_OK);
        for (int k = 0; k < i; k++) { // eth1 has one cable, eth2 two
            struct weft_link cable = weft_link_make(WEFT_LINK_NETWORK, nics[i], leaf);
            assert_int_equal(weft_topology_add_link(t, &cable, NULL, NULL), WEFT_OK);
        }
    }
    uint64_t fingerprint = weft_topology_fingerprint(t);
    struct weft_measurements m;
    int applied;
    weft_measurements_init(&m, 1);
    add(&m, "verbs-device", "h/mlx5_0", "h/mlx5_1", 3000000, 40000000000);
    add(&m, "verbs-device", "h/mlx5_1", "h/mlx5_2", 3000000, 20000000000);
    add(&m, "verbs-device", "h/mlx5_7", "h/mlx5_7", 3000000, 20000000000);
    assert_int_equal(weft_measurements_apply(t, &m, &applied, NULL), WEFT_OK);
    assert_int_equal(applied, 1);
    static const int64_t mbps[3] = {320000, 160000, 160000};
    for (int i = 0; i < 3; i++) {
        const struct weft_attribute *fact =
            weft_topology_attribute(t, nics[i], "process.measured_mbps");
        assert_non_null(fact);
        assert_int_equal(fact->source, WEFT_SOURCE_MEASURED);
        assert_true(llabs(fact->number - mbps[i]) * 20 < mbps[i]);
    }
    int64_t cable = t->links[0].bandwidth.measured.value;
    assert_true(llabs(cable - 20000000000) * 20 < cable);
    assert_true(t->links[1].bandwidth.measured.value < 0 &&
                t->links[2].bandwidth.measured.value < 0);
    assert_true(weft_topology_fingerprint(t) == fingerprint);
    weft_topology_destroy(&t);
    weft_measurements_free(&m);
}

static int64_t bandwidth_of(int num_points, const struct weft_curve_point *points)
{
    struct weft_measurement entry = {.num_points = num_points};
    for (int i = 0; i < num_points; i++)
        entry.curve[i] = points[i];
    return weft_measurement_bandwidth(&entry);
}

static void test_bandwidth(void **state)
{
    (void)state;
    // 1 Gbit/s whose first quarter of a MiB comes at once: 119.6 MB/s go on, 127 and 155 do not
    const struct weft_curve_point shaped[] = {
        {1, 30000000}, {1 << 18, 1070000000}, {1 << 20, 6763000000}, {4 << 20, 33046000000}};
    // latency counts less and less: the largest message knows best what is possible
    const struct weft_curve_point plain[] = {{1, 1000000}, {1 << 20, 101000000}};
    const struct weft_curve_point faster[] = {{1 << 18, 2000000}, {1 << 20, 1000000}};
    // 250 Mbit/s: messages there and back saw twice that, and are no beginning of those one way
    const struct weft_curve_point back_and_forth[] = {{1 << 16, 1088300000}, {1 << 18, 8752900000}};
    assert_int_equal(bandwidth_of(0, NULL), -1);
    assert_int_equal(bandwidth_of(1, plain), 1000000);
    assert_int_equal(bandwidth_of(2, shaped) / 1000000, 244);
    assert_int_equal(bandwidth_of(3, shaped) / 1000000, 138);
    assert_int_equal(bandwidth_of(4, shaped) / 100000, 1196);
    assert_int_equal(bandwidth_of(1, back_and_forth) / 100000, 602);
    assert_int_equal(bandwidth_of(2, back_and_forth) / 100000, 299);
    assert_int_equal(bandwidth_of(2, plain) / 1000000, 10381);
    assert_int_equal(bandwidth_of(2, faster) / 1000000, 1048576); // no slope: one of them is chance
}

static void expect_recalled(int expected_links, const char *remark)
{
    struct weft_topology *t = two_domains();
    int measured = 0;
    for (int i = 0; i < t->num_links; i++)
        measured += t->links[i].bandwidth.measured.value >= 0;
    assert_int_equal(measured, expected_links);
    assert_int_equal(t->num_remarks, remark ? 1 : 0);
    if (remark && !strstr(t->remarks[0].text, remark))
        fail_msg("%s", t->remarks[0].text);
    weft_topology_destroy(&t);
}

static void test_cache(void **state)
{
    (void)state;
    char deep[128], path[256], other[256];
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    assert_int_equal(setenv("WEFT_CACHE", deep, 1), 0);
    struct weft_topology *t = two_domains();
    struct weft_measurements m = sample(weft_topology_processors_fingerprint(t)), back;
    struct weft_error error = {0};
    struct stat status;
    name_ends(&m, t);
    weft_topology_destroy(&t);
    expect_recalled(0, NULL);
    assert_int_equal(weft_measurements_save(NULL, &m, &error), WEFT_OK);
    assert_int_equal(weft_measurements_save(NULL, &m, &error), WEFT_OK); // replaces it
    assert_int_equal(weft_measurements_path(NULL, m.fingerprint, path, sizeof path, NULL), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(deep, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    expect_recalled(3, NULL);

    assert_int_equal(setenv("WEFT_CACHE", "none", 1), 0);
    expect_recalled(0, NULL);
    assert_int_equal(setenv("WEFT_CACHE", deep, 1), 0);
    assert_int_equal(chmod(path, 0622), 0);
    expect_recalled(0, "can be written by others");
    assert_int_equal(chmod(path, 0600), 0);

    // another machine's file under this one's name
    m.fingerprint++;
    assert_int_equal(weft_measurements_save(NULL, &m, NULL), WEFT_OK);
    assert_int_equal(weft_measurements_path(NULL, m.fingerprint, other, sizeof other, NULL), 0);
    assert_int_equal(rename(other, path), 0);
    expect_recalled(0, "about other processors");
    m.fingerprint--;

    int64_t now = time(NULL), day = 86400;
    assert_int_equal(weft_measurements_save(NULL, &m, NULL), WEFT_OK);
    assert_int_equal(weft_measurements_load(NULL, m.fingerprint, now + 89 * day, &back, NULL), 0);
    weft_measurements_free(&back);
    assert_int_equal(weft_measurements_load(NULL, m.fingerprint, now + 91 * day, &back, &error),
                     WEFT_MISMATCH);
    assert_int_equal(weft_measurements_load(NULL, m.fingerprint, now - 2 * day, &back, &error),
                     WEFT_MISMATCH);
    FILE *file = fopen(path, "w");
    fputs("{", file);
    fclose(file);
    expect_recalled(0, "measurements are not used");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); // must not block
    expect_recalled(0, "no plain file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    expect_recalled(0, "measurements are not used");
    assert_int_equal(unlink(path), 0);
    weft_measurements_free(&m);
    rmdir(deep);
    snprintf(deep, sizeof deep, "%s/a", folder);
    rmdir(deep);
}

/* Where communicators look: without devices, under the same fingerprint. */
static void test_processors_alone(void **state)
{
    (void)state;
    struct weft_topology *all = NULL, *processors = NULL;
    int node;
    assert_int_equal(setenv("WEFT_CACHE", "none", 1), 0);
    assert_int_equal(weft_topology_load(NULL, &all, NULL), WEFT_OK);
    assert_int_equal(weft_topology_load_processors(&processors, NULL), WEFT_OK);
    uint64_t fingerprint = weft_topology_processors_fingerprint(processors);
    assert_true(weft_topology_processors_fingerprint(all) == fingerprint);
    for (int i = 0; i < processors->num_nodes; i++) {
        int kind = processors->nodes[i].kind;
        if (kind == WEFT_NODE_NIC || kind == WEFT_NODE_GPU || kind == WEFT_NODE_PCIE_ROOT)
            fail_msg("%s was looked at", processors->nodes[i].name);
    }
    for (int i = 0; i < all->num_nodes; i++)
        if (all->nodes[i].kind == WEFT_NODE_CORE)
            assert_true(weft_topology_find_node(processors, all->nodes[i].name) >= 0);
    // what comes and goes
    assert_int_equal(weft_topology_add_node(all, WEFT_NODE_NIC, "veth7", -1, &node, NULL), WEFT_OK);
    assert_int_equal(weft_topology_set_text(all, 0, "nvidia_driver", "1", WEFT_SOURCE_NVML, NULL),
                     WEFT_OK);
    assert_true(weft_topology_processors_fingerprint(all) == fingerprint);
    // what does not
    for (int i = 0; i < all->num_nodes; i++)
        if (all->nodes[i].kind == WEFT_NODE_CORE)
            node = i;
    assert_int_equal(weft_topology_set_number(all, node, "l2_bytes", 1, WEFT_SOURCE_HWLOC, NULL),
                     WEFT_OK);
    assert_true(weft_topology_processors_fingerprint(all) != fingerprint);
    weft_topology_destroy(&all);
    weft_topology_destroy(&processors);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct weft_measurements m = sample(7);
    struct weft_error error = {0};
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(weft_measurements_write(&m, full, &error), WEFT_SYSTEM);
    assert_non_null(strstr(error.text, "No space left"));
    fclose(full);
    weft_measurements_free(&m);
}

static void test_place(void **state)
{
    (void)state;
    char path[256];
    unsetenv("WEFT_CACHE");
    setenv("XDG_CACHE_HOME", "/x", 1);
    setenv("HOME", "/h", 1);
    assert_int_equal(weft_measurements_path(NULL, 10, path, sizeof path, NULL), WEFT_OK);
    assert_string_equal(path, "/x/weft/measurements-000000000000000a.json");
    setenv("XDG_CACHE_HOME", "relative", 1); // such a value is to be ignored
    assert_int_equal(weft_measurements_path(NULL, 10, path, sizeof path, NULL), WEFT_OK);
    assert_string_equal(path, "/h/.cache/weft/measurements-000000000000000a.json");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(weft_measurements_path(NULL, 10, path, sizeof path, NULL), WEFT_NOT_FOUND);
    assert_int_equal(weft_measurements_path(NULL, 10, path, 20, NULL), WEFT_NOT_FOUND);
    setenv("WEFT_CACHE", folder, 1);
    assert_int_equal(weft_measurements_path(NULL, 10, path, 30, NULL), WEFT_INVALID_ARGUMENT);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    setenv("WEFT_CACHE", folder, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_into_the_graph),
        cmocka_unit_test(test_rdma_devices),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_processors_alone),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_place),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
