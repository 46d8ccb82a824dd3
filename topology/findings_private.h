/*
 * SPDX-License-Identifier: Apache-2.0
 * What the finders share. A finder looks at the whole graph for one thing and says at most a few
 * sentences, however large the cluster is: the number of cases and the first or worst of them. It
 * is one function here, in the file of its area, and one row in findings.c.
 */
#ifndef WEFT_TOPOLOGY_FINDINGS_PRIVATE_H
#define WEFT_TOPOLOGY_FINDINGS_PRIVATE_H

#include "topology/findings.h"

struct weft_search {
    const struct weft_topology *topology;
    struct weft_findings *findings;
    const char *kind; // of the row that runs
    struct weft_error *error;
};

/* Adds a finding. `lost_bandwidth`: bytes per second and direction that the narrowest cut through
 * what is named here gives less than it should; 0: not known, or nothing. */
weft_status weft_search_say(struct weft_search *search, enum weft_severity severity,
                            int64_t lost_bandwidth, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A sentence put together from parts; what does not fit is cut. */
struct weft_sentence {
    char text[400];
};
void weft_sentence_add(struct weft_sentence *sentence, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* findings_host.c: what the machine is, what of it is hidden */
weft_status weft_find_no_place(struct weft_search *search);
weft_status weft_find_islands(struct weft_search *search);
weft_status weft_find_virtual_machine(struct weft_search *search);
weft_status weft_find_unknown_locality(struct weft_search *search);
weft_status weft_find_unknown_speed(struct weft_search *search);
weft_status weft_find_without_interface(struct weft_search *search);
weft_status weft_find_limits(struct weft_search *search);
weft_status weft_find_different_hosts(struct weft_search *search);
weft_status weft_find_failed_probes(struct weft_search *search);

/* findings_links.c: links that give less than they should */
weft_status weft_find_below_nominal(struct weft_search *search);
weft_status weft_find_idle(struct weft_search *search);
weft_status weft_find_uneven(struct weft_search *search);
weft_status weft_find_dead_nvlinks(struct weft_search *search);
weft_status weft_find_gpu_groups(struct weft_search *search);

/* findings_pcie.c: PCIe trees that are not what their devices need */
weft_status weft_find_narrow_uplinks(struct weft_search *search);
weft_status weft_find_narrow_slots(struct weft_search *search);
weft_status weft_find_far_nics(struct weft_search *search);

/* findings_fabric.c: cables between switches, and from NICs to them */
weft_status weft_find_missing_uplinks(struct weft_search *search);
weft_status weft_find_uneven_spines(struct weft_search *search);
weft_status weft_find_oversubscription(struct weft_search *search);

/* What leaves could take in more, all together, if they had `missing` more spines, each joined to
 * them like the others. Errors: OUT_OF_MEMORY. */
weft_status weft_search_loss_without_spines(struct weft_search *search, int missing, int64_t *lost);

/* findings_cables.c: cables slower than their siblings */
weft_status weft_find_slow_cables(struct weft_search *search);

/* findings_names.c: switches that are absent, as the names of the others tell */
weft_status weft_find_missing_leaf(struct weft_search *search);
weft_status weft_find_missing_spine(struct weft_search *search);

/* findings_nics.c: NICs without a cable, or with one to another group of switches */
weft_status weft_find_uncabled_nics(struct weft_search *search);
weft_status weft_find_other_units(struct weft_search *search);
/* Sets is_uncabled[i] (num_nodes entries) for each NIC i that has no cable, though others of its
 * sort in its host have. Errors: OUT_OF_MEMORY. */
weft_status weft_search_uncabled(struct weft_search *search, bool *is_uncabled);

/* findings_rails.c: what names and places of hosts and NICs on the fabric tell */
weft_status weft_find_duplicate_guids(struct weft_search *search);
weft_status weft_find_fewer_nics(struct weft_search *search);
weft_status weft_find_other_rails(struct weft_search *search);
weft_status weft_find_unnamed_adapters(struct weft_search *search);

/* findings_devices.c: what drivers say is sick */
weft_status weft_find_faulty_gpus(struct weft_search *search);
weft_status weft_find_down_ports(struct weft_search *search);

#endif
