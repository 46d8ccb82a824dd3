/*
 * SPDX-License-Identifier: Apache-2.0
 * Findings, each provoked and each absent where it should be, the text report, and `weft topo` with
 * its exit codes.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/topology/graphs.h"

#include "base/format.h"
#include "base/json.h"
#include "tools/command.h"
#include "topology/findings.h"
#include "topology/report.h"
#include "topology/synthetic.h"

/* -1 if there is no finding of `kind`, else its severity; `sentence` may be NULL. */
static int severity_of(const struct weft_topology *t, const char *kind, char sentence[400])
{
    struct weft_findings findings;
    int severity = -1;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++) {
        const struct weft_finding *a = &findings.items[i > 0 ? i - 1 : 0], *b = &findings.items[i];
        assert_true(b->severity > a->severity ||
                    (b->severity == a->severity && b->lost_bandwidth <= a->lost_bandwidth));
        if (strcmp(findings.items[i].kind, kind) == 0 && severity < 0) {
            severity = (int)findings.items[i].severity;
            if (sentence)
                memcpy(sentence, findings.items[i].sentence, 400);
        }
    }
    weft_findings_free(&findings);
    return severity;
}

#define FULL "host:2 numa:2 pcie:2@64 gpu:4@64 nvswitch:1@450 nic:2@400"

static void test_findings_of_links(void **state)
{
    (void)state;
    char sentence[400];
    struct weft_topology *t = synthetic(FULL);
    static const char *const absent[] = {"no-place",        "islands",          "below-nominal",
                                         "uneven-gpus",     "gpu-groups",       "idle-links",
                                         "virtual-machine", "unknown-locality", "probe"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_int_equal(severity_of(t, absent[i], NULL), -1);
    link_of(t, "host0/pcie-switch0", "host0/gpu1")->bandwidth.current =
        (struct weft_quantity){32000000000, WEFT_SOURCE_SYSFS};
    link_of(t, "host1/pcie-switch1", "host1/gpu3")->bandwidth.measured =
        (struct weft_quantity){50000000000, WEFT_SOURCE_MEASURED}; // 78 %: usual loss
    assert_int_equal(severity_of(t, "below-nominal", sentence), WEFT_SEVERITY_WARNING);
    assert_string_equal(sentence,
                        "1 PCIe link runs below nominal; the worst, host0/pcie-switch0 to "
                        "host0/gpu1, gives 32 GB/s of 64 GB/s (50 %).");
    assert_int_equal(severity_of(t, "uneven-gpus", sentence), WEFT_SEVERITY_WARNING);
    assert_non_null(strstr(sentence, "1 of 8 GPUs has less PCIe bandwidth")); // the other is said
    link_of(t, "host0/pcie-switch0", "host0/gpu1")->bandwidth.current.value = 2000000000;
    assert_int_equal(severity_of(t, "idle-links", NULL), WEFT_SEVERITY_NOTE);
    weft_topology_destroy(&t);

    t = synthetic(FULL);
    *link_of(t, "host1/gpu2", "host1/nvswitch0") = t->links[t->num_links - 1];
    t->num_links--; // one GPU has lost its NVLink
    assert_int_equal(severity_of(t, "uneven-gpus", sentence), WEFT_SEVERITY_WARNING);
    assert_non_null(strstr(sentence, "1 of 8 GPUs has less NVLink"));
    assert_non_null(strstr(sentence, "host1/gpu2 has 0 B/s"));
    weft_topology_destroy(&t);
}

/* One core and one stream cannot fill these; a slow network they can. */
static void test_measured_is_no_alarm(void **state)
{
    (void)state;
    char sentence[400];
    struct weft_topology *t = synthetic("host:2 numa:2@200 core:2 nic:1@400");
    int slow = -1;
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        bool is_network = link->kind == WEFT_LINK_NETWORK;
        if (!is_network && link->kind != WEFT_LINK_MEMORY && link->kind != WEFT_LINK_SOCKET)
            continue;
        link->bandwidth.nominal = (struct weft_quantity){50000000000, WEFT_SOURCE_FILE};
        link->bandwidth.measured = (struct weft_quantity){2000000000, WEFT_SOURCE_MEASURED};
        slow = is_network ? i : slow;
    }
    assert_int_equal(severity_of(t, "below-nominal", NULL), -1);
    assert_true(slow >= 0);
    t->links[slow].bandwidth.nominal.value = 1250000000;
    t->links[slow].bandwidth.measured.value = 120000000; // 10 Gbit/s that give 1
    assert_int_equal(severity_of(t, "below-nominal", sentence), WEFT_SEVERITY_WARNING);
    weft_topology_destroy(&t);
}

static void test_findings_of_structure(void **state)
{
    (void)state;
    char sentence[400];
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    assert_int_equal(severity_of(t, "no-place", NULL), WEFT_SEVERITY_ERROR);
    weft_topology_destroy(&t);

    t = synthetic("host:3 core:2");
    assert_int_equal(severity_of(t, "islands", sentence), WEFT_SEVERITY_ERROR);
    assert_non_null(strstr(sentence, "3 islands"));
    weft_topology_destroy(&t);

    t = synthetic("host:1 numa:2 gpu:4");
    int host = find(t, "host0");
    t->nodes[find(t, "host0/pcie-root1")].parent = host;
    assert_int_equal(severity_of(t, "unknown-locality", NULL), -1); // near one domain only
    struct weft_link joint =
        weft_link_make(WEFT_LINK_ROOT, find(t, "host0/numa0"), find(t, "host0/pcie-root1"));
    assert_int_equal(weft_topology_add_link(t, &joint, NULL, NULL), WEFT_OK);
    assert_int_equal(severity_of(t, "unknown-locality", sentence), WEFT_SEVERITY_WARNING);
    assert_non_null(strstr(sentence, "host0/pcie-root1"));
    assert_int_equal(severity_of(t, "unknown-speed", NULL), WEFT_SEVERITY_NOTE);
    assert_int_equal(weft_topology_set_text(t, host, "vendor", "QEMU", WEFT_SOURCE_HWLOC, NULL), 0);
    assert_int_equal(severity_of(t, "virtual-machine", NULL), WEFT_SEVERITY_WARNING);
    assert_int_equal(weft_topology_set_number(t, host, "threads", 8, WEFT_SOURCE_HWLOC, NULL), 0);
    assert_int_equal(severity_of(t, "limited-process", NULL), -1);
    assert_int_equal(
        weft_topology_set_number(t, host, "process.threads", 2, WEFT_SOURCE_HWLOC, NULL), 0);
    assert_int_equal(severity_of(t, "limited-process", sentence), WEFT_SEVERITY_NOTE);
    assert_non_null(strstr(sentence, "2 of the 8"));
    assert_int_equal(weft_topology_add_probe(t, "nvml", false, "no driver", NULL), WEFT_OK);
    assert_int_equal(severity_of(t, "probe", sentence), WEFT_SEVERITY_NOTE);
    assert_non_null(strstr(sentence, "nvml probe did not run: no driver"));
    for (int pair = 0; pair < 2; pair++) { // NVLink in two pairs
        char a[16], b[16];
        snprintf(a, sizeof a, "host0/gpu%d", 2 * pair);
        snprintf(b, sizeof b, "host0/gpu%d", 2 * pair + 1);
        struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, find(t, a), find(t, b));
        assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    assert_int_equal(severity_of(t, "gpu-groups", NULL), WEFT_SEVERITY_WARNING);
    weft_topology_destroy(&t);
}

static void test_format(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(weft_format_bandwidth(15753846000, text, sizeof text), "15.8 GB/s");
    assert_string_equal(weft_format_bandwidth(25000000000, text, sizeof text), "25 GB/s");
    assert_string_equal(weft_format_bandwidth(999999999, text, sizeof text), "1 GB/s");
    assert_string_equal(weft_format_bandwidth(0, text, sizeof text), "0 B/s");
    assert_string_equal(weft_format_bandwidth(100000000000, text, sizeof text), "100 GB/s");
    assert_string_equal(weft_format_latency(80000, text, sizeof text), "80 ns");
    assert_string_equal(weft_format_latency(1250000, text, sizeof text), "1.25 us");
    assert_string_equal(weft_format_bytes(4831838208, text, sizeof text), "4.5 GiB");
    assert_string_equal(weft_format_bytes(32768, text, sizeof text), "32 KiB");
}

static char *report_of(const struct weft_topology *t, struct weft_report_options options)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    assert_int_equal(weft_topology_report(t, &options, stream, NULL), WEFT_OK);
    fclose(stream);
    return text;
}

static int num_lines(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

/* One screen: at most 52 lines of 98 columns, ASCII where that is asked for. */
static void assert_one_screen(const char *text)
{
    assert_true(num_lines(text) <= 52);
    for (const char *at = text, *start = text; *at; at++) {
        assert_true(*at == '\n' || (*at >= 0x20 && *at < 0x7f));
        if (*at == '\n') {
            if (at - start > 98)
                fail_msg("%d columns: %.*s", (int)(at - start), (int)(at - start), start);
            start = at + 1;
        }
    }
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in\n%s", part, text);
}

/* 16,384 GPUs fit one screen; a host that differs is named with its difference. */
static void test_report(void **state)
{
    (void)state;
    const struct weft_report_options plain = {.ascii = true};
    struct weft_topology *t = synthetic("host:2048 nvswitch:4@50 gpu:8@64 nic:8@400");
    char *text = report_of(t, plain);
    assert_one_screen(text);
    assert_has(text, "Topology of 2048 hosts");
    assert_has(text, "2048 hosts, all alike");
    assert_has(text, "host0-2047");
    assert_has(text, "16384 network");
    assert_has(text, "50 GB/s nominal [file]");
    assert_has(text, "gpu0-7");
    free(text);
    set_current(t, "host7/pcie-root0", "host7/gpu3", 8 * GB);
    text = report_of(t, plain);
    assert_one_screen(text);
    assert_has(text, "2047 of 2048 hosts are alike");
    assert_has(text, "host7: gpu3: PCIe link 8 GB/s instead of 64 GB/s");
    assert_has(text, "Costs 56 GB/s.");
    assert_has(text, "host0-6 ");
    assert_has(text, "host8-2047                      2040 hosts like host0");
    assert_has(text, "8 GB/s current [sysfs], 64 GB/s nominal");
    free(text);
    text = report_of(t, (struct weft_report_options){.summary = true, .colour = true});
    assert_true(num_lines(text) < 16);
    assert_has(text, "\033[33m");
    free(text);
    weft_topology_destroy(&t);
}

/* Every host another machine, everything to remark upon: still one screen; -v has it all. */
static void test_report_is_bounded(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:40 numa:2 pcie:4@64 nvswitch:4@50 gpu:8@64 nic:8");
    char name[64], other[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "host%d/gpu%d", i, i % 8);
        snprintf(other, sizeof other, "host%d/nvswitch%d", i, i % 4);
        set_current(t, name, other, (10 + i) * GB);
        snprintf(name, sizeof name, "host%d", i);
        set_number(t, name, "bios", i % 13);
        for (int kind = 0; kind < WEFT_NUM_REMARK_KINDS; kind++)
            assert_int_equal(weft_topology_add_remark(t, kind, WEFT_SOURCE_FILE, i, NULL,
                                                      "remark %d about something", i),
                             WEFT_OK);
    }
    static const char *const probes[] = {"hwloc", "nvml", "verbs", "umad", "system"};
    for (int i = 0; i < 5; i++)
        assert_int_equal(weft_topology_add_probe(t, probes[i], i == 0, i ? "no library" : "", NULL),
                         WEFT_OK);
    char *text = report_of(t, (struct weft_report_options){.ascii = true});
    assert_has(text, "10 GB/s to 50 GB/s (-v shows each)");
    if (num_lines(text) > 52) // each part is at its bound here
    {
        fputs(text, stderr);
        fail();
    }
    assert_has(text, "40 guessed, 40 hidden, 40 contradictory, 40 not read (-v shows them)");
    assert_has(text, "not used      nvml, verbs, umad, system (-v says why)");
    assert_null(strstr(text, "remark 39"));
    free(text);
    // with one machine there is room for the first of each
    struct weft_topology *one = synthetic("host:1 gpu:2");
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_topology_add_remark(one, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, 0,
                                                  NULL, "switch %d is hidden", i),
                         WEFT_OK);
    text = report_of(one, (struct weft_report_options){.ascii = true});
    assert_one_screen(text);
    assert_has(text, "hidden        host0: switch 0 is hidden [nvml] ... and 2 more");
    free(text);
    weft_topology_destroy(&one);
    text = report_of(t, (struct weft_report_options){.ascii = true, .verbose = true});
    assert_has(text, "remark 39");
    assert_has(text, "nvml          not used: no library");
    assert_has(text, "host39: gpu0");
    free(text);
    weft_topology_destroy(&t);
}

/* GPU, nearest NIC, distance, narrowest link, port, leaf switch, GPUDirect and why not. */
static void test_rails(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2 numa:2 pcie:4@64 gpu:4@64 nic:4@400");
    char name[32], leaf[32];
    for (int rail = 0; rail < 4; rail++) {
        snprintf(leaf, sizeof leaf, "leaf-r%d", rail);
        int node = add_node(t, WEFT_NODE_LEAF, leaf, -1);
        for (int host = 0; host < 2; host++) {
            snprintf(name, sizeof name, "host%d/nic%d", host, rail);
            link_of(t, name, "network")->to = node;
            set_text(t, name, "gpudirect", rail == 3 ? "no" : "yes");
            if (rail == 3)
                set_text(t, name, "gpudirect_reason", "nvidia-peermem is not loaded");
        }
    }
    char *text = report_of(t, (struct weft_report_options){.ascii = true});
    assert_has(text, "From each GPU to its nearest NIC (host0 and 1 alike)");
    assert_has(text, "gpu0     nic0                    PIX   ~15.8 GB/s pcie   400 Gbit/s leaf-r0"
                     "           yes\n");
    assert_has(text, "gpu3     nic3                    PIX   ~15.8 GB/s pcie   400 Gbit/s leaf-r3"
                     "           no\n");
    assert_has(text, "no GPUDirect for nic3: nvidia-peermem is not loaded");
    free(text);
    // farther and farther: NIC 1 shares only the NUMA domain with GPU 0, then it is alone elsewhere
    for (int host = 0; host < 2; host++) {
        char above[32], nic[32];
        snprintf(nic, sizeof nic, "host%d/nic0", host);
        snprintf(above, sizeof above, "host%d/pcie-switch0", host);
        remove_link(t, nic, above);
    }
    text = report_of(t, (struct weft_report_options){.ascii = true});
    assert_has(text, "gpu0     nic1                    NODE  ");
    free(text);
    for (int host = 0; host < 2; host++) {
        char above[32], nic[32];
        snprintf(nic, sizeof nic, "host%d/nic1", host);
        snprintf(above, sizeof above, "host%d/pcie-switch1", host);
        remove_link(t, nic, above);
    }
    text = report_of(t, (struct weft_report_options){.ascii = true});
    assert_has(text, "gpu0-1   nic2 nic3               SYS   ");
    assert_has(text, "leaf-r2 +1        some\n");
    free(text);
    weft_topology_destroy(&t);
}

static void test_findings_of_groups(void **state)
{
    (void)state;
    char sentence[400];
    struct weft_topology *t = synthetic("host:1 gpu:8 nic:1");
    for (int i = 0; i < 8; i++)
        for (int j = i + 1; j < 8; j++)
            if (i / 4 == j / 4)
                add_link(t, WEFT_LINK_XGMI, find(t, "host0/gpu0") + i, find(t, "host0/gpu0") + j,
                         50 * GB);
    assert_int_equal(severity_of(t, "gpu-groups", sentence), WEFT_SEVERITY_WARNING);
    assert_has(sentence, "gpu0 ... gpu3 (4) | gpu4 ... gpu7 (4)");
    add_link(t, WEFT_LINK_XGMI, find(t, "host0/gpu3"), find(t, "host0/gpu4"), 50 * GB);
    assert_int_equal(severity_of(t, "gpu-groups", NULL), -1);
    set_number(t, "host0/gpu2", "nvlink_supported", 18);
    set_number(t, "host0/gpu2", "nvlink_active", 16);
    assert_int_equal(severity_of(t, "dead-nvlinks", sentence), WEFT_SEVERITY_WARNING);
    assert_has(sentence, "host0/gpu2, has 16 of 18 up");
    set_number(t, "host0/gpu2", "nvlink_active", 18);
    assert_int_equal(severity_of(t, "dead-nvlinks", NULL), -1);
    weft_topology_destroy(&t);

    t = synthetic("host:5 gpu:4@64 nic:2@400");
    assert_int_equal(severity_of(t, "different-hosts", NULL), -1);
    set_text(t, "host3/nic1", "model", "X");
    assert_int_equal(severity_of(t, "different-hosts", sentence), WEFT_SEVERITY_WARNING);
    assert_has(sentence, "1 of 5 hosts differs from the others, which are alike: host3");
    weft_topology_destroy(&t);
}

/* The deepest tree that passes the check is shown to the end; one level more is refused. */
static void test_deep_tree(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char name[16];
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < WEFT_TOPOLOGY_MAX_DEPTH; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(weft_topology_add_node(t, WEFT_NODE_SWITCH, name, i - 1, NULL, NULL),
                         WEFT_OK);
    }
    assert_int_equal(weft_topology_check(t, &error), WEFT_OK);
    char *text = report_of(t, (struct weft_report_options){.verbose = true});
    assert_non_null(strstr(text, name));
    free(text);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_SWITCH, "x", t->num_nodes - 1, NULL, NULL),
                     WEFT_OK);
    assert_int_equal(weft_topology_check(t, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "deeper"));
    weft_topology_destroy(&t);
}

static int topo(const char *a, const char *b, const char *c, const char *d)
{
    const char *arguments[] = {"weft topo", a, b, c, d, NULL};
    int count = 1;
    while (count < 5 && arguments[count])
        count++;
    return weft_command_topo(count, (char **)(uintptr_t)arguments);
}

static void test_command(void **state)
{
    (void)state;
    char path[] = "/tmp/weft-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(topo("host:2 core:2 nic:1", "-o", path, NULL), 0);
    assert_int_equal(topo("host:2 core:2", "-o", path, NULL), 1); // islands
    assert_int_equal(topo("host:2 core:", "-o", path, NULL), 2);
    assert_int_equal(topo("/nonexistent.json", "-o", path, NULL), 2);
    assert_int_equal(topo("host:1", "-o", "/nonexistent/file", NULL), 2);
    assert_int_equal(topo("host:2 core:2", "--fail-on=never", "-o", path), 0);
    assert_int_equal(topo("host:2 gpu:2 nic:1", "-o", path, NULL), 0);
    assert_int_equal(topo("host:2 gpu:2 nic:1", "--fail-on=warning", "-o", path), 0);
    assert_int_equal(topo("host:2 gpu:2 nic:1", "--fail-on=note", "-o", path), 1); // unknown speed
    setenv("WEFT_TOPOLOGY", "host:3 gpu:2 nic:2", 1);
    assert_int_equal(topo("-sj", "-o", path, NULL), 0);
    unsetenv("WEFT_TOPOLOGY");
    json_t *summary = NULL;
    int64_t islands, gpus;
    assert_int_equal(weft_json_load(path, &summary, NULL), WEFT_OK);
    assert_int_equal(weft_json_integer(summary, "islands", 1, 1, "", &islands, NULL), WEFT_OK);
    assert_int_equal(
        weft_json_integer(json_object_get(summary, "nodes"), "gpu", 6, 6, "", &gpus, NULL),
        WEFT_OK);
    json_decref(summary);
    assert_int_equal(topo("host:3 gpu:2", "-j", "-o", path), 1);
    assert_int_equal(topo(path, "-o", path, NULL), 1); // its own output, read before it is replaced
    unlink(path);
    assert_int_equal(topo("host:1", "-o", "/dev/null", NULL), 0);
    struct stat status;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode)); // still a device
    assert_int_equal(topo("host:1", "-o", "/dev/full", NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings_of_links),
        cmocka_unit_test(test_measured_is_no_alarm),
        cmocka_unit_test(test_findings_of_structure),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_report_is_bounded),
        cmocka_unit_test(test_rails),
        cmocka_unit_test(test_findings_of_groups),
        cmocka_unit_test(test_deep_tree),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
