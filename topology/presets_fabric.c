/*
 * SPDX-License-Identifier: Apache-2.0
 * The network of a DGX SuperPOD: every switch has 64 ports, 32 down and 32 up, and nothing is
 * oversubscribed. A scalable unit (SU) is 32 hosts and 8 leaves, one per rail: NIC r of each host
 * goes to leaf r.
 *
 * Up to 8 SUs: 4 spines per SU, all 64 ports down; the cables of each leaf are dealt over all
 * spines. More: 32 SUs at most form a pod; in a pod each rail has as many spines as there are SUs,
 * and the leaves of that rail deal their cables over those. Spine k of every rail and pod is joined
 * to the same 4 cores per pod. That gives NVIDIA's published counts for 64 to 2048 hosts, and sound
 * ones for any other number; the last SU may be partly filled.
 */
#include "topology/presets_private.h"

#include <stdlib.h>

enum {
    RAILS = 8,
    UNIT_HOSTS = 32,
    UPLINKS = 32,
    TWO_TIER_UNITS = 8,
    TWO_TIER_SPINES = 4, // per SU
    POD_UNITS = 32,
    POD_CORES = 4, // per pod and spine index
};

struct fabric {
    struct weft_preset_builder b;
    int64_t rate;
    int units, pods;
    int *leaves;     // unit * RAILS + rail
    int *ports_used; // of each node, by downward cables
};

/* Pod p holds the units from here up to the next pod's. */
static int first_unit(const struct fabric *f, int pod)
{
    return (int)((int64_t)pod * f->units / f->pods);
}

static weft_status cable_up(const struct fabric *f, int low, int cable, int high)
{
    return weft_preset_cable(&f->b, low, UPLINKS + 1 + cable, high, ++f->ports_used[high], f->rate);
}

static weft_status add_units(struct fabric *f, const struct weft_preset_box *box, int hosts)
{
    int nics[WEFT_PRESET_MAX_NICS];
    for (int unit = 0; unit < f->units; unit++)
        for (int rail = 0; rail < RAILS; rail++)
            WEFT_TRY(weft_preset_add(&f->b, WEFT_NODE_LEAF, -1, &f->leaves[unit * RAILS + rail],
                                     "su%d/leaf%d", unit, rail));
    for (int i = 0; i < hosts; i++) {
        WEFT_TRY(weft_preset_add_box(&f->b, box, i, nics));
        for (int rail = 0; rail < RAILS; rail++)
            WEFT_TRY(weft_preset_cable(&f->b, nics[rail], 1,
                                       f->leaves[i / UNIT_HOSTS * RAILS + rail], i % UNIT_HOSTS + 1,
                                       f->rate));
    }
    return WEFT_OK;
}

static weft_status add_two_tiers(struct fabric *f)
{
    int spines = f->units * TWO_TIER_SPINES, first = f->b.topology->num_nodes;
    for (int i = 0; i < spines; i++)
        WEFT_TRY(weft_preset_add(&f->b, WEFT_NODE_SPINE, -1, NULL, "spine%d", i));
    for (int leaf = 0; leaf < f->units * RAILS; leaf++)
        for (int cable = 0; cable < UPLINKS; cable++)
            WEFT_TRY(
                cable_up(f, f->leaves[leaf], cable, first + (leaf * UPLINKS + cable) % spines));
    return WEFT_OK;
}

/* The spines of one rail of one pod; spine k goes up to cores[k * cores_per_index] and on. */
static weft_status add_rail(struct fabric *f, int pod, int rail, int first_core, int group)
{
    int units = first_unit(f, pod + 1) - first_unit(f, pod), first = f->b.topology->num_nodes;
    for (int k = 0; k < units; k++)
        WEFT_TRY(weft_preset_add(&f->b, WEFT_NODE_SPINE, -1, NULL, "pod%d/rail%d/spine%d", pod,
                                 rail, k));
    for (int i = 0; i < units * UPLINKS; i++) {
        int leaf = (first_unit(f, pod) + i / UPLINKS) * RAILS + rail;
        WEFT_TRY(cable_up(f, f->leaves[leaf], i % UPLINKS, first + i % units));
    }
    int cores_before = 0;
    for (int k = 0; k < units; k++) {
        int cores = 0; // of this index: pods with fewer units have no such spine
        for (int other = 0; other < f->pods; other++)
            if (first_unit(f, other + 1) - first_unit(f, other) > k)
                cores += POD_CORES;
        for (int cable = 0; cable < UPLINKS; cable++)
            WEFT_TRY(cable_up(f, first + k, cable,
                              first_core + cores_before + (group * UPLINKS + cable) % cores));
        cores_before += cores;
    }
    return WEFT_OK;
}

static weft_status add_three_tiers(struct fabric *f)
{
    int first_core = f->b.topology->num_nodes;
    for (int i = 0; i < f->units * POD_CORES; i++)
        WEFT_TRY(weft_preset_add(&f->b, WEFT_NODE_CORE_SWITCH, -1, NULL, "core%d", i));
    for (int pod = 0; pod < f->pods; pod++)
        for (int rail = 0; rail < RAILS; rail++)
            WEFT_TRY(add_rail(f, pod, rail, first_core, pod * RAILS + rail));
    return WEFT_OK;
}

weft_status weft_preset_superpod(const struct weft_preset *preset, int count,
                                 struct weft_topology *topology, struct weft_error *error)
{
    int units = (count + UNIT_HOSTS - 1) / UNIT_HOSTS;
    bool is_flat = units <= TWO_TIER_UNITS;
    struct fabric f = {
        .b = {topology, error},
        .rate = preset->box->nic,
        .units = units,
        .pods = (units + POD_UNITS - 1) / POD_UNITS,
        .leaves = malloc((size_t)units * RAILS * sizeof *f.leaves),
    };
    weft_status status = WEFT_OK;
    if (f.leaves)
        status = add_units(&f, preset->box, count);
    // switches are added from here on; there are fewer of them than two per leaf and unit
    size_t n = (size_t)topology->num_nodes + (size_t)units * RAILS * 2;
    if (status == WEFT_OK)
        f.ports_used = calloc(n, sizeof *f.ports_used);
    if (!f.leaves || (status == WEFT_OK && !f.ports_used))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "preset: no memory");
    if (status == WEFT_OK)
        status = is_flat ? add_two_tiers(&f) : add_three_tiers(&f);
    free(f.leaves);
    free(f.ports_used);
    return status;
}
