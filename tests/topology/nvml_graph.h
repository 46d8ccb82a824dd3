/*
 * SPDX-License-Identifier: Apache-2.0
 * What the tests of the NVML probe share: a host as hwloc leaves it, the probe run on it, and
 * questions about the graph that comes out.
 */
#ifndef WEFT_TESTS_TOPOLOGY_NVML_GRAPH_H
#define WEFT_TESTS_TOPOLOGY_NVML_GRAPH_H

#include "tests/topology/compare.h"

#include <string.h>

#include "tests/topology/fake_nvml.h"
#include "topology/findings.h"
#include "topology/probe.h"
#include "topology/synthetic.h"

/* A host as hwloc leaves it: GPUs at the addresses of the box. */
static inline struct weft_topology *machine(const char *form, const struct fake_box *box)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_from_synthetic(form, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int i = 0, gpu = 0; i < t->num_nodes; i++) {
        char address[32];
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        snprintf(address, sizeof address, "%04x:%02x:00.0", box->gpus[gpu].domain,
                 box->gpus[gpu].bus);
        gpu++;
        assert_int_equal(
            weft_topology_set_text(t, i, "pci_address", address, WEFT_SOURCE_HWLOC, NULL), 0);
    }
    return t;
}

#define EIGHT "host:1 numa:2 pcie:4 gpu:8"
#define FOUR  "host:1 numa:2 pcie:2 gpu:4"

/* The graph after the probe, which must succeed and leave it sane. */
static inline struct weft_topology *probed(const char *form, struct fake_box *box)
{
    struct weft_topology *t = machine(form, box);
    struct weft_error error = {0};
    const struct weft_nvml nvml = fake_nvml(box);
    if (weft_probe_nvml_with(&nvml, t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(box->num_shutdowns, 1);
    assert_int_equal(weft_topology_check(t, &error), WEFT_OK);
    return t;
}

/* How many remarks of the kind have `part` in them; about the node, where one is named. */
static inline int remarks(const struct weft_topology *t, enum weft_remark_kind kind,
                          const char *name, const char *part)
{
    int count = 0;
    for (int i = 0; i < t->num_remarks; i++)
        count += t->remarks[i].kind == kind && strstr(t->remarks[i].text, part) &&
                 (!name || t->remarks[i].node == find(t, name));
    return count;
}

static inline int count_links(const struct weft_topology *t, int kind)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++)
        count += t->links[i].kind == kind;
    return count;
}

static inline const struct weft_link *link_of(const struct weft_topology *t, int kind,
                                              const char *a, const char *b)
{
    int x = find(t, a), y = find(t, b);
    const struct weft_link *found = NULL;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == kind && ((t->links[i].from == x && t->links[i].to == y) ||
                                         (t->links[i].from == y && t->links[i].to == x))) {
            assert_null(found); // stands once
            found = &t->links[i];
        }
    if (!found)
        fail_msg("no link between %s and %s", a, b);
    return found;
}

static inline void assert_nvlink(const struct weft_topology *t, const char *a, const char *b,
                                 int count, int64_t of_one)
{
    const struct weft_link *link = link_of(t, WEFT_LINK_NVLINK, a, b);
    assert_int_equal(link->count, count);
    assert_true(link->bandwidth.nominal.value == count * of_one);
    assert_true(link->bandwidth.current.value == count * of_one);
    assert_int_equal(link->bandwidth.nominal.source, WEFT_SOURCE_NVML);
}

static inline int has_finding(const struct weft_topology *t, const char *kind)
{
    struct weft_findings findings;
    int found = 0;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++)
        found += strcmp(findings.items[i].kind, kind) == 0;
    weft_findings_free(&findings);
    return found;
}

#endif
