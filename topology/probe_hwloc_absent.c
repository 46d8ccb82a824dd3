/*
 * SPDX-License-Identifier: Apache-2.0
 * Stands in for probe_hwloc.c in builds without hwloc: says so.
 */
#include "topology/probe.h"

static bool hwloc_available(const char **reason)
{
    *reason = "this build of Weft has no hwloc";
    return false;
}

static weft_status hwloc_discover(struct weft_topology *t, struct weft_error *error)
{
    (void)t;
    return weft_fail(error, WEFT_UNSUPPORTED, "this build of Weft has no hwloc");
}

weft_status weft_probe_hwloc_xml(struct weft_topology *topology, const char *text, size_t bytes,
                                 const char *name, struct weft_error *error)
{
    (void)topology;
    (void)text;
    (void)bytes;
    return weft_fail(error, WEFT_UNSUPPORTED, "%s: this build of Weft has no hwloc", name);
}

weft_status weft_probe_hwloc_fsroot(const char *root, struct weft_topology **topology,
                                    struct weft_error *error)
{
    (void)topology;
    return weft_fail(error, WEFT_UNSUPPORTED, "%.200s: this build of Weft has no hwloc", root);
}

const struct weft_probe weft_probe_hwloc = {
    .name = "hwloc",
    .phase = WEFT_PROBE_PHASE_HOST,
    .available = hwloc_available,
    .discover = hwloc_discover,
};

const struct weft_probe weft_probe_hwloc_processors = {
    .name = "hwloc",
    .phase = WEFT_PROBE_PHASE_HOST,
    .available = hwloc_available,
    .discover = hwloc_discover,
};
