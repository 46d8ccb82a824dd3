/*
 * SPDX-License-Identifier: Apache-2.0
 * What writing Slurm's files is made of: names that Slurm takes, and which hosts hang on which
 * switches. Private to slurm_*.c.
 */
#ifndef WEFT_TOPOLOGY_SLURM_PRIVATE_H
#define WEFT_TOPOLOGY_SLURM_PRIVATE_H

#include "topology/graph.h"

/* ---- slurm_names.c ---- */

/* Refuses (UNSUPPORTED) hosts whose name cannot be a NodeName, and graphs without host. */
weft_status weft_slurm_check_hosts(const struct weft_topology *topology, struct weft_error *error);

/* Names that were given out; zeroed, then fini. */
struct weft_slurm_names {
    struct weft_topology *taken;
    int last_suffix;
};
void weft_slurm_names_fini(struct weft_slurm_names *names);
/* A name like `wanted` with characters that Slurm takes, unlike all before. Lives as long as
 * `names`. */
weft_status weft_slurm_names_make(struct weft_slurm_names *names, const char *wanted,
                                  const char **name, struct weft_error *error);
/* What two names begin and end with: a name for all that is from one to the other; may be empty. */
void weft_slurm_common_name(const char *a, const char *b, char name[WEFT_TOPOLOGY_NAME_BYTES]);

/* ---- slurm_fabric.c ---- */

enum { WEFT_SLURM_MAX_LEVEL = 63 };

/* A host on a switch, however many cables there are. */
struct weft_slurm_port {
    int host, on; // nodes
    int class;    // of the fabric of that switch: alike ones form a class
    int64_t bandwidth;
};

/* Hosts on the same leaves. */
struct weft_slurm_group {
    int first_port, num_ports; // of one of its hosts: the leaves; none: one host on no switch
    int into;                  // group that has these leaves and more, to which it is added; -1
};

struct weft_slurm_fabric {
    int *level;                    // num_nodes: 0 for leaves; -1: no switch of the network
    struct weft_slurm_port *ports; // of each host's widest class of fabrics; by host, then switch
    int num_ports;
    struct weft_slurm_group *groups;
    int num_groups;
    int *group_of;         // num_nodes: of a host; -1: no host
    int num_elsewhere;     // ports of hosts to other fabrics
    int num_unknown_ports; // NICs of unknown hosts on switches
};

/* Errors: UNSUPPORTED (no host is on any switch), OUT_OF_MEMORY. */
weft_status weft_slurm_fabric_find(const struct weft_topology *topology,
                                   struct weft_slurm_fabric *fabric, struct weft_error *error);
void weft_slurm_fabric_fini(struct weft_slurm_fabric *fabric);

#endif
