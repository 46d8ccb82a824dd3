/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of `weft plan` share.
 */
#ifndef WEFT_TOOLS_PLAN_H
#define WEFT_TOOLS_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "collectives/planner/choice.h"
#include "topology/graph.h"

struct weft_plan_ranks;

/* Writes and proves the program of `rank` (-1: of a few ranks, the slowest is shown) for every
 * algorithm and collective, each in a process of its own, and prints time and peak memory; then the
 * time from the request of an all-reduce to its program, at several sizes. `ranks` NULL: 16384, or
 * all places of `topology`; that NULL: an assumed layout. Returns an exit code: FAILED above 100 ms
 * or 64 MiB (200 ms from request to program), or when a check fails. */
int weft_plan_scale_check(const char *command, const struct weft_plan_ranks *ranks, int rank,
                          const char *topology, bool wants_json);

/* Prints, for the reference's clusters, what NCCL would choose beside what the reference says.
 * Returns an exit code: FAILED when one differs. */
int weft_plan_nccl_table(const char *command, bool wants_json);

/* Fits a curve to some sizes of the sweep in `path` and prints how well it foretells the others,
 * beside plain interpolation. Returns an exit code: FAILED when the median error is above 6 %. */
int weft_plan_fit(const char *command, const char *path, bool wants_json);

/* What `weft plan --quality` asks for. */
struct weft_quality_request {
    const char *source; // one cluster; NULL: all presets
    int collective;     // one; -1: all
    bool is_quick;      // few clusters and sizes
    bool wants_all;     // every candidate in a row of its own
    bool wants_json;
    const char *spoilt; // this algorithm's estimates are multiplied before the choice; NULL: none's
    int spoil_permille;
};
/* Of "ALGORITHM=FACTOR", which is changed and borrowed. Errors: INVALID_ARGUMENT. */
weft_status weft_quality_parse_spoil(char *text, struct weft_quality_request *request,
                                     struct weft_error *error);
/* Evaluates all candidates on all clusters. Returns an exit code: FAILED when a choice is more than
 * 5 % slower than the best candidate, or has less than 0.9 of the bound from 256 MiB. */
int weft_plan_quality(const char *command, const struct weft_quality_request *request);

/* The candidates evaluated flow by flow, as a table and as an array (NULL without memory). */
void weft_plan_evaluate(const struct weft_choice *choice, FILE *stream);
json_t *weft_plan_evaluate_json(const struct weft_choice *choice);

/* What `weft plan --bound` asks for. */
struct weft_bound_request {
    weft_collective collective;
    int root;
    const struct weft_plan_ranks *ranks; // NULL: on all places
    uint32_t link_kinds;                 // bit per link kind; 0: all
    bool is_unit;                        // capacities are counts of lanes
};
/* Prints the exact optimum. Errors: UNSUPPORTED (there is none, with the reason; collectives
 * without one), those of weft_network_create. */
weft_status weft_plan_bound(const struct weft_topology *topology,
                            const struct weft_bound_request *request, bool wants_json,
                            struct weft_error *error);

/* A collective of ranks on `nodes` (key->num_ranks of them) on the topology as it is and with
 * changes (topology/what_if.h), printed, or as JSON where `json` is not NULL. Ranks whose nodes the
 * changes remove are gone, too. Errors: those of the changes, of layouts and of choices; NOT_FOUND
 * (no rank is left, or not the root). */
weft_status weft_plan_what_if(const struct weft_topology *topology, const int *nodes,
                              const struct weft_key *key, const char *changes, json_t **json,
                              struct weft_error *error);
/* Which links would raise the bound most, if they had twice the bandwidth. */
weft_status weft_plan_upgrades(const struct weft_topology *topology,
                               const struct weft_layout *layout, const struct weft_key *key,
                               json_t **json, struct weft_error *error);

enum { WEFT_DRAWN_RANKS = 512 };
/* The topology as SVG, links coloured by what the algorithm's programs do to them. Errors:
 * UNSUPPORTED (too many ranks, no graph), NOT_FOUND, OUT_OF_MEMORY. */
weft_status weft_plan_draw(const struct weft_topology *topology, const struct weft_choice *choice,
                           const struct weft_algorithm *algorithm, int64_t bytes, FILE *stream,
                           struct weft_error *error);

#endif
