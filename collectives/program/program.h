/*
 * SPDX-License-Identifier: Apache-2.0
 * A program: what one rank does for one collective, independent of message sizes.
 *
 * A step takes values from its sources (cells of a buffer, or the next message of a lane), combines
 * them left to right if there are several, and puts the result into all its destinations (cells, or
 * messages). All references of a step have the same extent: `num_cells` consecutive cells.
 *
 * Time. Steps belong to channels. A step *posts* when the step before it in its channel has posted
 * and all its dependencies are complete; from then on it may read its sources and write its
 * destinations at any moment until it is *complete*. Nothing else orders it: a step may complete
 * after later ones. A message moves when both ends have posted and the sender has the data
 * (rendezvous; real transports may do better, never worse). A lane is (peer, channel): its k-th
 * send meets the peer's k-th receive, in order.
 *
 * Promises. Beside each lane source stands the label the message will carry, and beside each lane
 * reference a stamp: the instant, in some global schedule, by which it can move. The check proves
 * a program right given the promises; both ends of a lane compare hashes of (label, stamp, extent),
 * and so prove each other's promises.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_PROGRAM_H
#define WEFT_COLLECTIVES_PROGRAM_PROGRAM_H

#include "collectives/program/label.h"
#include "collectives/program/shape.h"

enum { WEFT_REFS_LIMIT = 16, WEFT_CHANNELS_LIMIT = 64, WEFT_STEPS_LIMIT = 1 << 24 };

enum weft_aliasing {
    WEFT_OUT_OF_PLACE = 1 << 0, // input and output do not overlap
    WEFT_IN_PLACE = 1 << 1,     // input cell c is output cell c, where both exist
};

struct weft_ref {
    uint8_t space;  // enum weft_space
    uint32_t index; // first cell; for a lane: the peer's rank
    uint32_t stamp; // lane only
    uint32_t label; // lane source only: first of num_cells entries of program.labels
};

struct weft_step {
    uint32_t num_cells;
    uint32_t first_ref;        // into program.refs: sources, then destinations
    uint32_t first_dependency; // into program.dependencies
    uint16_t num_dependencies;
    uint16_t channel;
    uint8_t num_sources;
    uint8_t num_destinations;
};

/* The extent of a scratch cell is that of a cell of known size (weft_shape_has_extent). */
struct weft_scratch {
    uint8_t space; // WEFT_INPUT or WEFT_OUTPUT
    uint32_t cell;
};

struct weft_program {
    struct weft_shape shape;
    char algorithm[32];
    unsigned aliasing; // the aliasings it is meant for
    uint32_t num_channels;
    uint32_t num_steps, num_refs, num_dependencies, num_labels, num_scratch;
    struct weft_step *steps;
    struct weft_ref *refs;
    uint32_t *dependencies; // numbers of earlier steps
    struct weft_label *labels;
    struct weft_scratch *scratch;
    uint32_t *leaf_bounds; // what shape.leaf_bounds points at; NULL without leaves
    uint64_t *results;     // (output cells) declared fingerprint of each output cell's expression
};

void weft_program_destroy(struct weft_program **program);
/* A deep copy, or NULL without memory. */
struct weft_program *weft_program_copy(const struct weft_program *program);

static inline const struct weft_ref *weft_step_source(const struct weft_program *program,
                                                      const struct weft_step *step, int i)
{
    return &program->refs[step->first_ref + (uint32_t)i];
}

static inline const struct weft_ref *weft_step_destination(const struct weft_program *program,
                                                           const struct weft_step *step, int i)
{
    return &program->refs[step->first_ref + step->num_sources + (uint32_t)i];
}

/* Everything about form, nothing about meaning: ranges, references inside their buffers, equal
 * extents within a step, dependencies on earlier steps, at least one source and destination, no
 * writes to the input, no lane to itself. The sentence names rank, step and reason.
 * Errors: INVALID_FORMAT. */
weft_status weft_program_validate(const struct weft_program *program, struct weft_error *error);

/* Where a cell lives: the number of one of weft_program_num_locations places. In place, an input
 * cell that lies in the output window is the output cell. */
uint32_t weft_program_num_locations(const struct weft_program *program);
uint32_t weft_program_location(const struct weft_program *program, enum weft_aliasing aliasing,
                               enum weft_space space, uint32_t cell);
/* Extent of a memory cell (see weft_shape_extent); scratch included. */
uint64_t weft_program_extent(const struct weft_program *program, enum weft_space space,
                             uint32_t cell);

#endif
