/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of probes and the loop over it.
 */
#include "topology/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/json.h"

const struct weft_probe *const weft_probes[] = {
    &weft_probe_hwloc,  &weft_probe_pcie, &weft_probe_ethernet, &weft_probe_nvml,
#ifndef WEFT_CORE_ONLY // these need the headers of a library that core builds leave out
    &weft_probe_verbs, // after the GPUs: it says which NICs reach their memory
    &weft_probe_umad,
#endif
    &weft_probe_system,
};
const int weft_num_probes = sizeof weft_probes / sizeof weft_probes[0];

static bool is_elsewhere(const struct weft_topology *t)
{
    for (int i = 0; i < t->num_nodes; i++)
        if (weft_topology_text(t, i, WEFT_PROBE_ELSEWHERE))
            return true;
    return false;
}

/* Whether the two differ in anything at all. */
static weft_status compare(const struct weft_topology *a, const struct weft_topology *b,
                           bool *is_equal, struct weft_error *error)
{
    char *text_a = NULL, *text_b = NULL;
    size_t bytes_a, bytes_b;
    weft_status status = weft_topology_to_json(a, &text_a, &bytes_a, error);
    if (status == WEFT_OK)
        status = weft_topology_to_json(b, &text_b, &bytes_b, error);
    if (status == WEFT_OK)
        *is_equal = bytes_a == bytes_b && memcmp(text_a, text_b, bytes_a) == 0;
    free(text_a);
    free(text_b);
    return status;
}

/* Discovers into a copy, so that a failure leaves nothing behind. */
static weft_status run_probe(struct weft_topology **topology, const struct weft_probe *probe,
                             struct weft_error *error)
{
    const char *reason = "";
    if (is_elsewhere(*topology))
        return weft_topology_add_probe(*topology, probe->name, false, "the host is another machine",
                                       error);
    if (!probe->available(&reason))
        return weft_topology_add_probe(*topology, probe->name, false, reason, error);
    struct weft_topology *attempt = NULL;
    struct weft_error failure = {0};
    bool is_equal = false;
    WEFT_TRY(weft_topology_copy(*topology, &attempt, error));
    weft_status status = probe->discover(attempt, &failure);
    if (status == WEFT_OK)
        status = weft_topology_check(attempt, &failure);
    if (status == WEFT_OK)
        status = compare(*topology, attempt, &is_equal, &failure);
    if (status == WEFT_OK) {
        weft_topology_destroy(topology);
        *topology = attempt;
        return weft_topology_add_probe(*topology, probe->name, true,
                                       is_equal ? "added nothing" : "", error);
    }
    weft_topology_destroy(&attempt);
    if (status == WEFT_OUT_OF_MEMORY)
        return weft_fail(error, status, "%s", failure.text);
    failure.text[WEFT_TOPOLOGY_NAME_BYTES - 1] = '\0';
    weft_make_printable(failure.text); // library messages need not be
    return weft_topology_add_probe(*topology, probe->name, false, failure.text, error);
}

weft_status weft_topology_probe(struct weft_topology **topology, struct weft_error *error)
{
    for (int phase = 0; phase <= WEFT_PROBE_PHASE_FALLBACK; phase++)
        for (int i = 0; i < weft_num_probes; i++)
            if ((int)weft_probes[i]->phase == phase)
                WEFT_TRY(run_probe(topology, weft_probes[i], error));
    return WEFT_OK;
}

weft_status weft_topology_probe_processors(struct weft_topology **topology,
                                           struct weft_error *error)
{
    WEFT_TRY(run_probe(topology, &weft_probe_hwloc_processors, error));
    return run_probe(topology, &weft_probe_system, error);
}
