/*
 * SPDX-License-Identifier: Apache-2.0
 * Which hosts are alike, and in words how the others differ: machines are bought alike, so whatever
 * differs is either known to its owner or a fault. Colours are refined over the links of each host
 * (what is in it, how it is joined, with what speeds); hosts of equal colours are one class,
 * whatever their parts are called. Facts that tell things apart (addresses, GUIDs, serial numbers,
 * and every fact that differs on most hosts) and measured figures do not count. Linear in the
 * graph; the same result on every machine.
 */
#ifndef WEFT_TOPOLOGY_SYMMETRY_H
#define WEFT_TOPOLOGY_SYMMETRY_H

#include "topology/graph.h"

struct weft_symmetry;

struct weft_symmetry_class {
    int first;     // the first host of the class, in the order of the graph
    int num_hosts; // how many
};

/* The topology must not change and must outlive it. Errors: OUT_OF_MEMORY. */
weft_status weft_symmetry_create(const struct weft_topology *topology,
                                 struct weft_symmetry **symmetry, struct weft_error *error);
void weft_symmetry_destroy(struct weft_symmetry **symmetry);

/* Largest class first, of equal ones that which starts first: class 0 is the reference that others
 * are held against. Borrowed. */
const struct weft_symmetry_class *weft_symmetry_classes(const struct weft_symmetry *symmetry,
                                                        int *num_classes);
/* The class of a host; -1 for any other node. */
int weft_symmetry_class_of(const struct weft_symmetry *symmetry, int host);

/* Whether an attribute counts, and a hash of a node's kind and of all that count. */
bool weft_symmetry_counts(const struct weft_symmetry *symmetry, const char *key);
uint64_t weft_symmetry_facts(const struct weft_symmetry *symmetry, int node);

/* How `host` differs from `reference`, in words: "gpu3 has 16 of 18 NVLinks, no mlx5_4". At most
 * `most` differences are named. Returns how many there are, as far as looked; "" and 0: none. */
int weft_symmetry_explain_host(struct weft_symmetry *symmetry, int host, int reference, int most,
                               char *text, size_t size);

/* The same question for single nodes of one kind (GPUs of a host, leaf switches): by their links
 * alone. *reference: the first node of the largest class; is_other[i]: nodes[i] differs from it.
 * Returns how many do. Errors: OUT_OF_MEMORY. */
weft_status weft_symmetry_compare_peers(const struct weft_symmetry *symmetry, const int *nodes,
                                        int num_nodes, bool *is_other, int *reference,
                                        int *num_others, struct weft_error *error);
/* How the links of `node` differ from those of `reference`: "14 of 16 uplinks". */
int weft_symmetry_explain_node(const struct weft_symmetry *symmetry, int node, int reference,
                               char *text, size_t size);

#endif
