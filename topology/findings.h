/*
 * SPDX-License-Identifier: Apache-2.0
 * What a person should know about a topology: each finding has a kind, a severity, one sentence
 * and, where that is known, what it costs. They come worst first: by severity, then by cost. A new
 * kind of finding is one function and one row in findings.c.
 */
#ifndef WEFT_TOPOLOGY_FINDINGS_H
#define WEFT_TOPOLOGY_FINDINGS_H

#include "topology/graph.h"

enum weft_severity { WEFT_SEVERITY_ERROR, WEFT_SEVERITY_WARNING, WEFT_SEVERITY_NOTE };
extern const char *const weft_severity_names[3];

struct weft_finding {
    enum weft_severity severity;
    const char *kind;       // a stable word for scripts; static
    int64_t lost_bandwidth; // bytes per second, see weft_search_say; 0: not known
    char sentence[400];
};

struct weft_findings {
    struct weft_finding *items;
    int count;
};

/* Errors: OUT_OF_MEMORY. Free with weft_findings_free. */
weft_status weft_topology_findings(const struct weft_topology *topology,
                                   struct weft_findings *findings, struct weft_error *error);
void weft_findings_free(struct weft_findings *findings);

/* What a link gives now, in bytes per second, as far as that can be told; else -1. What one core or
 * one TCP stream was timed with is no judgement on memory, sockets and fast networks. */
int64_t weft_link_observed(const struct weft_link *link);

/* Whether a link is a GPU's PCIe link whose speed now says nothing about what it can do, since idle
 * GPUs lower it to save power: slower than nominal with all its lanes up; where nominal is not
 * known, at a speed that no GPU in use has. */
bool weft_link_may_be_idle(const struct weft_topology *topology, const struct weft_link *link);

#endif
