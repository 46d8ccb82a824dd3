/*
 * SPDX-License-Identifier: Apache-2.0
 * See findings.h. The table of finders, and running it.
 */
#include "topology/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/findings_private.h"

const char *const weft_severity_names[3] = {"error", "warning", "note"};

weft_status weft_search_say(struct weft_search *s, enum weft_severity severity,
                            int64_t lost_bandwidth, const char *format, ...)
{
    struct weft_findings *all = s->findings;
    struct weft_finding *items = realloc(all->items, (size_t)(all->count + 1) * sizeof *items);
    if (!items)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    all->items = items;
    struct weft_finding *finding = &items[all->count++];
    finding->severity = severity;
    finding->kind = s->kind;
    finding->lost_bandwidth = lost_bandwidth;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->sentence, sizeof finding->sentence, format, arguments);
    va_end(arguments);
    return WEFT_OK;
}

void weft_sentence_add(struct weft_sentence *sentence, const char *format, ...)
{
    size_t used = strlen(sentence->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence->text + used, sizeof sentence->text - used, format, arguments);
    va_end(arguments);
}

/* ---- table ---- */

static const struct {
    const char *kind;
    weft_status (*find)(struct weft_search *search);
} finders[] = {
    {"no-place", weft_find_no_place},
    {"islands", weft_find_islands},
    {"faulty-gpus", weft_find_faulty_gpus},
    {"down-ports", weft_find_down_ports},
    {"below-nominal", weft_find_below_nominal},
    {"idle-links", weft_find_idle},
    {"uneven-gpus", weft_find_uneven},
    {"dead-nvlinks", weft_find_dead_nvlinks},
    {"gpu-groups", weft_find_gpu_groups},
    {"narrow-slots", weft_find_narrow_slots},
    {"far-nics", weft_find_far_nics},
    {"narrow-uplinks", weft_find_narrow_uplinks},
    {"missing-uplinks", weft_find_missing_uplinks},
    {"uneven-spines", weft_find_uneven_spines},
    {"slow-cables", weft_find_slow_cables},
    {"missing-leaf", weft_find_missing_leaf},
    {"missing-spine", weft_find_missing_spine},
    {"duplicate-guid", weft_find_duplicate_guids},
    {"uncabled-nics", weft_find_uncabled_nics},
    {"fewer-nics", weft_find_fewer_nics},
    {"other-rail", weft_find_other_rails},
    {"other-unit", weft_find_other_units},
    {"unnamed-adapters", weft_find_unnamed_adapters},
    {"oversubscription", weft_find_oversubscription},
    {"different-hosts", weft_find_different_hosts},
    {"virtual-machine", weft_find_virtual_machine},
    {"unknown-locality", weft_find_unknown_locality},
    {"unknown-speed", weft_find_unknown_speed},
    {"hidden-network", weft_find_without_interface},
    {"limited-process", weft_find_limits},
    {"probe", weft_find_failed_probes},
};

void weft_findings_free(struct weft_findings *findings)
{
    free(findings->items);
    *findings = (struct weft_findings){0};
}

static bool comes_before(const struct weft_finding *a, const struct weft_finding *b)
{
    if (a->severity != b->severity)
        return a->severity < b->severity;
    return a->lost_bandwidth > b->lost_bandwidth;
}

/* Worst first: by severity, then by what is lost. Stable: equals stay in the order of the table. */
static void rank(struct weft_findings *findings)
{
    for (int i = 1; i < findings->count; i++)
        for (int j = i; j > 0 && comes_before(&findings->items[j], &findings->items[j - 1]); j--) {
            struct weft_finding swap = findings->items[j];
            findings->items[j] = findings->items[j - 1];
            findings->items[j - 1] = swap;
        }
}

weft_status weft_topology_findings(const struct weft_topology *topology,
                                   struct weft_findings *findings, struct weft_error *error)
{
    struct weft_findings found = {0};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof finders / sizeof finders[0] && status == WEFT_OK; i++) {
        struct weft_search search = {topology, &found, finders[i].kind, error};
        status = finders[i].find(&search);
    }
    if (status != WEFT_OK) {
        weft_findings_free(&found);
        return status;
    }
    rank(&found);
    *findings = found;
    return WEFT_OK;
}
