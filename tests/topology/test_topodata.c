/*
 * SPDX-License-Identifier: Apache-2.0
 * Every file of ../shared/topodata, found by walking the folder: it loads, and then it is sound in
 * every way that holds for all graphs, or it is refused with its name, a line and a reason. Which
 * file must load, and as what, stands in a table.
 */
#include "tests/topology/compare.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/json.h"
#include "topology/load.h"
#include "topology/report.h"

enum { MAX_FILES = 500 };

/* What must load: part of a path, and how many nodes of some kinds there must be (-1: any). */
static const struct {
    const char *path;
    int gpus, nvswitches, nics, switches; // switches: of every tier of the fabric
} expected[] = {
    {"aws/p4d-24xl-topo.xml", 8, 0, 4, 0},
    {"aws/p5.48xl-topo.xml", 8, 0, 32, 0},
    {"azure/ncv4-topo.xml", 4, 0, 1, 0},
    {"azure/ndv4-topo.xml", 8, 0, 8, 0},
    {"oracle/H100-topology.xml", 8, 4, -1, 0},
    {"hwloc/nvidiaDGX2.xml", 16, 12, -1, 0},
    {"mpibind/coral-lassen.xml", 4, 0, -1, 0},
    {"mpibind/g4dnmetal.xml", 8, 0, 2, 0},
    {"rccl/topo_16p1h.xml", 16, 0, 8, 0},
    {"rccl/topo_3p_pcie.xml", 3, 0, 1, 0},
    {"rccl/topo_4p1h.xml", 4, 0, 1, 0},
    {"rccl/topo_4p2h.xml", 8, 0, 1, 0},
    {"rccl/topo_4p3l.xml", 4, 0, 2, 0},
    {"rccl/topo_4p_940.xml", 4, 0, 4, 0},
    {"rccl/topo_8p1h.xml", 8, 0, 4, 0},
    {"rccl/topo_8p1h_n1.xml", 8, 0, 4, 0},
    {"rccl/topo_8p6l.xml", 8, 0, 1, 0},
    {"rccl/topo_8p6l_6nic.xml", 8, 0, 6, 0},
    {"rccl/topo_8p_90a.xml", 8, 0, 1, 0},
    {"rccl/topo_8p_940.xml", 8, 0, 8, 0},
    {"rccl/topo_8p_pcie.xml", 8, 0, 1, 0},
    {"rccl/topo_8p_rome.xml", 8, 0, 1, 0},
    {"rccl/topo_8p_rome_4nics.xml", 8, 0, 4, 0},
    {"rccl/topo_8p_ts1.xml", 8, 0, 2, 0},
    {"rccl/topo_collnet_n1.xml", 8, 0, 1, 0},
    {"topograph/ibnetdiscover-ndr-40sw.out", 0, 0, 542, 40},
    {"topograph/expected.slinky-oci-sim-tree.conf", 0, 0, -1, 19},
    {"topograph/expected.slinky-dra-block.conf", 0, 0, -1, -1},
    {"ibsim/net", 0, 0, 2, 2},
    {"ibsim/net.2sw2path", 0, 0, -1, 2},
    {"ibsim/net.2sw2path4hca2port", 0, 0, -1, 2},
    {"ibutils/4-ary-2-tree.topo", 0, 0, 16, 8},
    {"ibutils/4-ary-2-tree-missing-sw-link.topo", 0, 0, -1, 8},
    {"ibutils/12-ary-2-tree.topo", 0, 0, 144, 24},
};
enum { NUM_EXPECTED = sizeof expected / sizeof expected[0] };

static char *files[MAX_FILES];
static int num_files;

static int note_file(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)walk;
    if (type == FTW_F && num_files < MAX_FILES)
        files[num_files++] = strdup(path);
    return 0;
}

static void check_sound(const char *path, const struct weft_topology *t)
{
    struct weft_topology *back = NULL;
    size_t bytes_1, bytes_2;
    char *text_1 = written(t, &bytes_1);
    assert_int_equal(weft_topology_read_json(text_1, bytes_1, path, &back, NULL), WEFT_OK);
    char *text_2 = written(back, &bytes_2);
    assert_string_equal(text_1, text_2);
    free(text_1);
    free(text_2);
    char *report = NULL;
    FILE *stream = open_memstream(&report, &bytes_1);
    const struct weft_report_options options = {.verbose = true};
    assert_non_null(stream);
    assert_int_equal(weft_topology_report(t, &options, stream, NULL), WEFT_OK);
    for (int i = 0; weft_exporters[i]; i++) {
        struct weft_error error = {0};
        weft_status status = weft_topology_export(weft_exporters[i], t, stream, &error);
        if (status != WEFT_OK && (status != WEFT_UNSUPPORTED || !error.text[0]))
            fail_msg("%s as %s: %s", path, weft_exporters[i]->name, error.text);
    }
    fclose(stream);
    free(report);
    weft_topology_destroy(&back);
}

static void check_refused(const char *path, const struct weft_error *error)
{
    size_t length = strlen(path);
    bool names_file = strncmp(error->text, path, length) == 0 && error->text[length] == ':';
    const char *line = error->text + length + 1;
    size_t digits = names_file ? strspn(line, "0123456789") : 0;
    if (!names_file || digits == 0 || line[digits] != ':' || strlen(line + digits) < 10)
        fail_msg("%s is refused without file, line and reason: %s", path, error->text);
}

static void check_counts(const char *path, const struct weft_topology *t, int row)
{
    static const int tiers[] = {WEFT_NODE_LEAF, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH,
                                WEFT_NODE_SWITCH};
    int switches = 0;
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
        switches += weft_topology_count(t, tiers[i]);
    const int pairs[][2] = {
        {expected[row].gpus, weft_topology_count(t, WEFT_NODE_GPU)},
        {expected[row].nvswitches, weft_topology_count(t, WEFT_NODE_NVSWITCH)},
        {expected[row].nics, weft_topology_count(t, WEFT_NODE_NIC)},
        {expected[row].switches, switches},
    };
    static const char *const words[] = {"GPUs", "NVSwitches", "NICs", "switches"};
    for (int i = 0; i < 4; i++)
        if (pairs[i][0] >= 0 && pairs[i][0] != pairs[i][1])
            fail_msg("%s: %d %s, not %d", path, pairs[i][1], words[i], pairs[i][0]);
}

/* The row of the table whose path ends `path`; NUM_EXPECTED: none. */
static int row_of(const char *path)
{
    int row = 0;
    size_t length = strlen(path);
    for (; row < NUM_EXPECTED; row++) {
        size_t tail = strlen(expected[row].path);
        if (length >= tail && strcmp(path + length - tail, expected[row].path) == 0)
            break;
    }
    return row;
}

static void test_every_file(void **state)
{
    (void)state;
    if (nftw(WEFT_SHARED_DATA "/topodata", note_file, 16, FTW_PHYS) != 0 || num_files == 0) {
        print_message("no real machine files in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    int loaded = 0, seen = 0;
    for (int i = 0; i < num_files; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        weft_status status = weft_topology_load(files[i], &t, &error);
        int row = row_of(files[i]);
        if (status == WEFT_OK) {
            loaded++;
            check_sound(files[i], t);
        } else if (row < NUM_EXPECTED) {
            fail_msg("%s must load: %s", files[i], error.text);
        } else {
            check_refused(files[i], &error);
        }
        if (row < NUM_EXPECTED) {
            check_counts(files[i], t, row);
            seen++;
        }
        weft_topology_destroy(&t);
        free(files[i]);
    }
    print_message("%d files: %d loaded, %d refused with a reason\n", num_files, loaded,
                  num_files - loaded);
    assert_int_equal(seen, NUM_EXPECTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
