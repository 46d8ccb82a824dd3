/*
 * SPDX-License-Identifier: Apache-2.0
 * The NVML probe over a scripted driver that is absent, sick, or lies; PCIe figures that others see
 * differently; and the process in which the probe runs. No GPU is needed.
 */
#include "tests/topology/nvml_graph.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- no driver, sick drivers ---- */

static void test_absent(void **state)
{
    (void)state;
    struct weft_nvml nvml;
    struct weft_error error = {0};
    assert_int_equal(weft_nvml_open("libweft-no-such-library.so", &nvml, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "not installed"));
    assert_int_equal(weft_nvml_open("libc.so.6", &nvml, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "nvmlInit_v2"));
    const char *reason = "";
    if (!weft_probe_nvml.available(&reason))
        assert_non_null(strstr(reason, "libnvidia-ml.so.1"));
}

/* A library of that name, loaded, asked in another process. */
static void test_library(void **state)
{
    (void)state;
    struct weft_nvml nvml;
    struct weft_error error = {0};
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic("host:1 numa:1", &t, NULL), WEFT_OK);
    if (weft_nvml_open(STUB_NVML, &nvml, &error) != WEFT_OK ||
        weft_probe_nvml_apart(&nvml, 60000000000, t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_null(nvml.nvlink_state); // it has none of these
    assert_null(nvml.fabric);
    assert_string_equal(text_of(t, "host0", "nvidia_driver"), "stub driver");
    static const struct {
        const char *key, *text;
    } texts[] = {{"pci_address", "0002:3b:01.4"},
                 {"model", "stub name"},
                 {"uuid", "stub uuid"},
                 {"pcie", "generation 5, 16 lanes"},
                 {"process.pcie", "generation 3, 8 lanes"},
                 {"mig", "off"},
                 {"mig_after_reset", "on"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_string_equal(text_of(t, "host0/gpu0", texts[i].key), texts[i].text);
    static const char *const numbers[] = {"memory_bytes", "process.power_milliwatts",
                                          "process.power_limit_milliwatts",
                                          "power_limit_milliwatts", "process.energy_millijoules"};
    for (int i = 0; i < 5; i++)
        assert_int_equal(number_of(t, "host0/gpu0", numbers[i]), 1001 + i);
    weft_topology_destroy(&t);
    weft_nvml_close(&nvml);
    assert_null(nvml.init);
}

static void test_no_driver(void **state)
{
    (void)state;
    static const struct {
        int init, count_status;
        unsigned count;
        const char *why;
    } cases[] = {{WEFT_NVML_DRIVER_NOT_LOADED, 0, 1, "driver is not loaded"},
                 {WEFT_NVML_VERSION_MISMATCH, 0, 1, "different versions"},
                 {77, 0, 1, "status 77"},
                 {0, WEFT_NVML_UNKNOWN, 1, "Unknown Error"},
                 {0, 0, 1000000000, "1000000000 GPUs"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_box box;
        struct weft_error error = {0};
        size_t bytes;
        fake_h100(&box);
        struct weft_topology *t = machine(EIGHT, &box);
        char *before = written(t, &bytes);
        box.init_status = cases[i].init;
        box.count_status = cases[i].count_status;
        box.count = cases[i].count;
        const struct weft_nvml nvml = fake_nvml(&box);
        assert_int_not_equal(weft_probe_nvml_with(&nvml, t, &error), WEFT_OK);
        if (!strstr(error.text, cases[i].why))
            fail_msg("\"%s\" does not say \"%s\"", error.text, cases[i].why);
        assert_int_equal(box.num_shutdowns, cases[i].init == 0);
        char *after = written(t, &bytes);
        assert_string_equal(before, after);
        free(before);
        free(after);
        weft_topology_destroy(&t);
    }
}

static void test_lost(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    box.gpus[1].status = WEFT_NVML_GPU_IS_LOST;        // off the bus
    box.gpus[4].handle_status = WEFT_NVML_GPU_IS_LOST; // not even a handle
    box.gpus[5].status = WEFT_NVML_UNKNOWN;
    box.gpus[7].bus = box.gpus[6].bus;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "fell off the bus"), 1);
    assert_string_equal(text_of(t, "host0/gpu1", "fault"), "the GPU is lost (it fell off the bus)");
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, NULL, "GPU 4 (address not known)"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu5", "Unknown Error"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, NULL, "GPUs 6 and 7 are both"), 1);
    assert_nvlink(t, "host0/gpu6", "host0/nvswitch0", 5, 25000000000); // the rest goes on
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 4 * 4);
    assert_int_equal(has_finding(t, "faulty-gpus"), 1);
    weft_topology_destroy(&t);

    fake_h100(&box); // in the midst of the questions
    box.gpus[2].dies_at_link = 9;
    t = probed(EIGHT, &box);
    assert_string_equal(text_of(t, "host0/gpu2", "uuid"),
                        "GPU-00000000-0000-0000-0000-000000000002");
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu2", "the state of its NVLinks"), 1);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 7 * 4);
    assert_int_equal(t->num_remarks, 1);
    weft_topology_destroy(&t);
}

static void test_lies(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    struct fake_gpu *gpu = &box.gpus[0];
    gpu->is_unterminated = true;
    gpu->said_links = 1000000000;
    gpu->memory = UINT64_MAX;
    gpu->power = 4000000000;
    gpu->energy = UINT64_MAX;
    gpu->generation = 4000000000;
    gpu->width_max = 999;
    gpu->mbps = UINT32_MAX;
    gpu->version = 12345;
    gpu->num_c2c = 1000000000;
    gpu->num_links = FAKE_MAX_LINKS;
    memset(box.gpus[1].name, 0xff, 20);
    box.gpus[2].said_links = 0;
    box.gpus[3].said_links = INT64_MAX;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_int_equal(strlen(text_of(t, "host0/gpu0", "model")), WEFT_NVML_NAME_BYTES - 1);
    assert_int_equal(strlen(text_of(t, "host0/gpu0", "uuid")), WEFT_NVML_UUID_BYTES - 1);
    assert_int_equal(strlen(text_of(t, "host0", "nvidia_driver")), WEFT_NVML_VERSION_BYTES - 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "1000000000 NVLinks"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "memory_bytes"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "power_milliwatts"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "energy_millijoules"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "PCIe generation"), 2);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu0", "C2C links"), 1);
    assert_int_equal(number_of(t, "host0/gpu0", "memory_bytes"), -1);
    assert_int_equal(number_of(t, "host0/gpu0", "nvlink_supported"), FAKE_MAX_LINKS);
    assert_true(
        link_of(t, WEFT_LINK_NVLINK, "host0/gpu0", "host0/nvswitch0")->bandwidth.current.value ==
        -1);
    assert_int_equal(text_of(t, "host0/gpu1", "model")[0], '?');
    assert_int_equal(number_of(t, "host0/gpu2", "nvlink_supported"), -1);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_supported"), 18);
    weft_topology_destroy(&t);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Mostly what can be, now and then anything. */
static unsigned pick(uint64_t *state, unsigned below)
{
    uint64_t number = next_random(state);
    return number % 16 == 0 ? (unsigned)(number >> 32) : (unsigned)(number >> 32) % below;
}

static void scramble(struct fake_gpu *gpu, uint64_t *state)
{
    static const int statuses[] = {
        0, 0, 0, 0, 0, WEFT_NVML_NOT_SUPPORTED, WEFT_NVML_GPU_IS_LOST, WEFT_NVML_UNKNOWN, -1};
    size_t num_statuses = sizeof statuses / sizeof statuses[0];
    gpu->domain = pick(state, 2);
    gpu->bus = pick(state, 12) + 1;
    gpu->handle_status = statuses[next_random(state) % num_statuses] * (pick(state, 4) == 0);
    gpu->status = statuses[next_random(state) % num_statuses] * (pick(state, 3) == 0);
    gpu->is_unterminated = pick(state, 8) == 0;
    gpu->memory = next_random(state);
    gpu->power = (unsigned)next_random(state);
    gpu->generation = pick(state, 8);
    gpu->width = pick(state, 33);
    gpu->said_links = (long long)pick(state, 70) - 1;
    gpu->num_links = (int)(next_random(state) % (FAKE_MAX_LINKS + 1));
    gpu->dies_at_link = (int)pick(state, 100) % 100;
    gpu->version = pick(state, 9);
    gpu->mbps = pick(state, 60000);
    for (int i = 0; i < FAKE_MAX_LINKS; i++) {
        struct fake_link *link = &gpu->links[i];
        link->is_down = pick(state, 5) == 0;
        link->is_remote_hidden = pick(state, 5) == 0;
        link->remote_type = (int)pick(state, 4) - 1;
        link->remote_bus = pick(state, 14);
        link->remote_pci_status = statuses[next_random(state) % num_statuses];
    }
    gpu->num_c2c = (int)(pick(state, 12) & INT32_MAX);
    gpu->c2c_mbps = pick(state, 50000);
    gpu->mig = (int)pick(state, 8) % 8 == 0;
    gpu->has_fabric = pick(state, 2);
    gpu->fabric.state = (unsigned char)pick(state, 5);
    gpu->fabric.clique = pick(state, 3);
    memset(gpu->fabric.cluster, (int)pick(state, 3), 16);
}

/* Whatever a driver says, the graph stays sane and can be written and read again. */
static void test_any_driver(void **state)
{
    (void)state;
    static struct fake_box box;
    uint64_t random = 88172645463325252u;
    int links = 0;
    for (int i = 0; i < 1500; i++) {
        memset(&box, 0, sizeof box);
        box.count = 1 + pick(&random, 16) % 16;
        box.is_driver_old = pick(&random, 4) == 0;
        for (int j = 0; j < FAKE_MAX_GPUS; j++)
            scramble(&box.gpus[j], &random);
        size_t bytes;
        struct weft_topology *t = probed(EIGHT, &box), *back = NULL;
        char *text = written(t, &bytes);
        assert_int_equal(weft_topology_read_json(text, bytes, "copy", &back, NULL), WEFT_OK);
        assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
        links += count_links(t, WEFT_LINK_NVLINK) > 0;
        free(text);
        weft_topology_destroy(&back);
        weft_topology_destroy(&t);
    }
    assert_true(links > 100); // it was not all nonsense
}

/* A library of the oldest kind that still starts. */
static void test_only_required(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    struct weft_nvml full = fake_nvml(&box);
    const struct weft_nvml nvml = {.init = full.init,
                                   .shutdown = full.shutdown,
                                   .device_count = full.device_count,
                                   .device_by_index = full.device_by_index,
                                   .device_pci = full.device_pci};
    struct weft_topology *t = machine(EIGHT, &box);
    assert_int_equal(weft_probe_nvml_with(&nvml, t, NULL), WEFT_OK);
    assert_int_equal(number_of(t, "host0/gpu7", "index"), 7);
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
}

/* ---- PCIe ---- */

static void test_pcie(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    box.gpus[0].generation = 4;
    box.gpus[0].width = 8;
    struct weft_topology *t = machine("host:1 numa:2 pcie:4@64 gpu:8@64", &box);
    for (int i = 0; i < t->num_links; i++) // what sysfs says, rounded its own way
        if (t->nodes[t->links[i].to].kind == WEFT_NODE_GPU) {
            t->links[i].bandwidth.nominal = (struct weft_quantity){63000000000, WEFT_SOURCE_SYSFS};
            t->links[i].bandwidth.current = (struct weft_quantity){63000000000, WEFT_SOURCE_SYSFS};
        }
    const struct weft_nvml nvml = fake_nvml(&box);
    assert_int_equal(weft_probe_nvml_with(&nvml, t, NULL), WEFT_OK);
    const struct weft_link *link = &t->links[0];
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].to == find(t, "host0/gpu0"))
            link = &t->links[i];
    if (link->kind != WEFT_LINK_PCIE) // NVLinks come after it
        for (int i = 0; i < t->num_links; i++)
            if (t->links[i].to == find(t, "host0/gpu0") && t->links[i].kind == WEFT_LINK_PCIE)
                link = &t->links[i];
    assert_true(link->bandwidth.nominal.value == 63000000000);
    assert_true(link->bandwidth.current.value == 15753846000);
    assert_int_equal(link->bandwidth.current.source, WEFT_SOURCE_NVML);
    assert_int_equal(remarks(t, WEFT_REMARK_CONTRADICTION, NULL, "current bandwidth"), 1);
    assert_string_equal(text_of(t, "host0/gpu0", "pcie"), "generation 5, 16 lanes");
    assert_string_equal(text_of(t, "host0/gpu0", "process.pcie"), "generation 4, 8 lanes");
    weft_topology_destroy(&t);
}

/* ---- the other process ---- */

/* Waits until the process is gone (or a zombie, where nobody reaps), for at most a minute. */
static bool ends(pid_t process)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    for (int i = 0; i < 600; i++) {
        FILE *file = fopen(path, "r");
        size_t bytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
        if (file)
            fclose(file);
        text[bytes] = '\0';
        const char *state = strrchr(text, ')');
        if (!state || state[2] == 'Z')
            return true;
        usleep(100000);
    }
    return false;
}

static void test_apart(void **state)
{
    (void)state;
    struct fake_box box;
    size_t bytes;
    fake_h100(&box);
    box.gpus[3].links[7].is_down = true;
    struct weft_topology *here = probed(EIGHT, &box), *t = machine(EIGHT, &box);
    const struct weft_nvml nvml = fake_nvml(&box);
    struct weft_error error = {0};
    if (weft_probe_nvml_apart(&nvml, 60000000000, t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(weft_topology_sort(here, NULL), WEFT_OK);
    char *expected = written(here, &bytes), *got = written(t, &bytes);
    assert_string_equal(got, expected);
    free(expected);
    weft_topology_destroy(&here);

    int of_program[2]; // files that the other process must not hold
    assert_int_equal(pipe(of_program), 0);
    box.crashes = true;
    assert_int_equal(weft_probe_nvml_apart(&nvml, 60000000000, t, &error), WEFT_SYSTEM);
    assert_non_null(strstr(error.text, "died"));
    box.crashes = false;
    box.init_status = WEFT_NVML_DRIVER_NOT_LOADED;
    assert_int_equal(weft_probe_nvml_apart(&nvml, 60000000000, t, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "driver is not loaded"));
    box.init_status = 0;
    box.hangs = true;
    box.stuck =
        mmap(NULL, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(box.stuck != MAP_FAILED);
    assert_int_equal(weft_probe_nvml_apart(&nvml, 300000000, t, &error), WEFT_TIMEOUT);
    assert_non_null(strstr(error.text, "did not answer within 1 s"));
    char *after = written(t, &bytes);
    assert_string_equal(after, got); // as it was
    assert_true(box.stuck[0] > 0 && box.stuck[0] != getpid());
    assert_int_equal(box.stuck[1], 4); // no file of this process, but the way back
    assert_true(ends(box.stuck[0]));   // by itself
    munmap(box.stuck, 4096);
    close(of_program[0]);
    close(of_program[1]);
    free(got);
    free(after);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),        cmocka_unit_test(test_library),
        cmocka_unit_test(test_no_driver),     cmocka_unit_test(test_lost),
        cmocka_unit_test(test_lies),          cmocka_unit_test(test_any_driver),
        cmocka_unit_test(test_only_required), cmocka_unit_test(test_pcie),
        cmocka_unit_test(test_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
