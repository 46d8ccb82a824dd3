/*
 * SPDX-License-Identifier: Apache-2.0
 * Writes the steps of one rank in a hierarchy: reduce-scatter, all-gather, and scatter from and
 * gather to a root, inside the groups of one tier. The owners of the same index in all members of a
 * group exchange what they have of it: a segment. A rank that owns several indices takes part in
 * several segments at the same time, round by round.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EXCHANGE_H
#define WEFT_COLLECTIVES_PLANNER_EXCHANGE_H

#include "collectives/planner/hierarchy.h"

enum weft_phase_kind {
    WEFT_PHASE_REDUCE_SCATTER,
    WEFT_PHASE_ALL_GATHER,
    WEFT_PHASE_SCATTER, // from the root's owners to the others'
    WEFT_PHASE_GATHER,  // the other way round
    WEFT_NUM_PHASE_KINDS,
};

struct weft_phase {
    enum weft_phase_kind kind;
    int tier;
};

/* One rank's walk through the phases. */
struct weft_exchanger;

struct weft_exchange_request {
    const struct weft_key *key;
    const struct weft_hierarchy *hierarchy;
    int rank;
    uint32_t chunks;
    uint32_t channels;      // of a phase, >= 1: its rounds take turns on them
    const uint32_t *blocks; // (cells) block at each index, UINT32_MAX: none; NULL: one block
};
/* Adds its steps to `builder`, which must outlive it. Errors: OUT_OF_MEMORY. */
weft_status weft_exchanger_create(const struct weft_exchange_request *request,
                                  struct weft_builder *builder, struct weft_exchanger **exchanger,
                                  struct weft_error *error);
void weft_exchanger_destroy(struct weft_exchanger **exchanger);
/* Steps of a phase on one chunk, with stamps from `stamp` up, on channels from `channel` up. */
void weft_exchanger_write(struct weft_exchanger *exchanger, const struct weft_phase *phase,
                          uint32_t chunk, uint16_t channel, uint32_t stamp);
/* Input cells of this rank's own indices to the output. */
void weft_exchanger_copy_own(struct weft_exchanger *exchanger);

/* Stamps that a phase needs in a group of `members`. */
uint32_t weft_phase_rounds(const struct weft_tier *tier, enum weft_phase_kind kind, int members);

#endif
