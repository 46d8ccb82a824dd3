/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of the merge share. All nodes of all graphs have one numbering: node i of graph g
 * is first[g] + i; nodes that are one thing form a set of a union-find forest.
 */
#ifndef WEFT_TOPOLOGY_MERGE_PRIVATE_H
#define WEFT_TOPOLOGY_MERGE_PRIVATE_H

#include <stddef.h>

#include "topology/graph.h"

struct weft_merge {
    const struct weft_topology **graphs; // in the order of their content, none twice
    int num_graphs;
    int *first;         // (num_graphs + 1)
    int num_nodes;      // of all
    int *graph_of;      // (num_nodes)
    int *set;           // (num_nodes) nodes that are one thing; see sets.h
    int *host;          // (num_nodes) the host that contains it, itself included; -1: none
    bool *is_full;      // (num_nodes) hosts: more than NICs is below it
    bool *is_own;       // (num_nodes) hosts: it has an identity, so whoever looked was there
    uint64_t *identity; // (num_nodes) hash of the identity of full hosts
    const char **rack;  // (num_nodes) by root: NVLink domain of which it is the rack's NVSwitch
    int *node;          // (num_nodes) by root: node of `merged`; -1: not yet
    struct weft_topology *merged;
    struct weft_error *error;
};

const struct weft_node *weft_merge_node(const struct weft_merge *m, int node);
const char *weft_merge_text(const struct weft_merge *m, int node, const char *key);
int weft_merge_root(const struct weft_merge *m, int node);
/* The root of a stays one. */
void weft_merge_join(struct weft_merge *m, int a, int b);
/* The name without its host's: "gpu3" of "node7/gpu3". */
const char *weft_merge_local_name(const struct weft_merge *m, int node);

/* merge_identity.c: decides which nodes are one. Errors: OUT_OF_MEMORY. */
weft_status weft_merge_identify(struct weft_merge *m);
/* merge_domains.c: NVSwitches that hosts of one NVLink domain share; before the nodes are made, and
 * what is missing after the links are. Errors: OUT_OF_MEMORY, INVALID_ARGUMENT. */
weft_status weft_merge_join_domains(struct weft_merge *m);
weft_status weft_merge_complete_domains(struct weft_merge *m);
void weft_merge_rack_name(const char *domain, char *name, size_t size);
/* merge_links.c: cables and their figures. */
weft_status weft_merge_links(struct weft_merge *m);
/* merge_notes.c: remarks and probe records. */
weft_status weft_merge_notes(struct weft_merge *m);

#endif
