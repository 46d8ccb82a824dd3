/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing programs. An algorithm adds steps in an order in which they would be right one after
 * another; the builder adds the dependencies that make them right when they overlap (read after
 * write, write after read, write after write, under every aliasing the program is meant for), and
 * nothing more. Stamps and the labels of what peers send are the algorithm's to give.
 *
 * Errors stick: after the first one every call does nothing and weft_builder_finish returns it.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_BUILDER_H
#define WEFT_COLLECTIVES_PROGRAM_BUILDER_H

#include "collectives/program/program.h"

struct weft_builder;

/* `aliasing`: the set of enum weft_aliasing the program shall be right under. */
weft_status weft_builder_create(const struct weft_shape *shape, const char *algorithm,
                                unsigned aliasing, struct weft_builder **builder,
                                struct weft_error *error);
void weft_builder_destroy(struct weft_builder **builder);

/* `count` fresh scratch cells with the extents of `space` cells `cell`, `cell` + 1, ...; returns
 * the number of the first. */
uint32_t weft_builder_scratch(struct weft_builder *builder, enum weft_space space, uint32_t cell,
                              uint32_t count);
/* A memory reference, and a lane reference (`labels`: num_cells of them, copied; NULL for sends).
 */
struct weft_operand {
    enum weft_space space;
    uint32_t index;
    uint32_t stamp;
    const struct weft_label *labels;
};
static inline struct weft_operand weft_cells(enum weft_space space, uint32_t first_cell)
{
    return (struct weft_operand){space, first_cell, 0, NULL};
}
static inline struct weft_operand weft_to(int peer, uint32_t stamp)
{
    return (struct weft_operand){WEFT_LANE, (uint32_t)peer, stamp, NULL};
}
static inline struct weft_operand weft_from(int peer, uint32_t stamp,
                                            const struct weft_label *labels)
{
    return (struct weft_operand){WEFT_LANE, (uint32_t)peer, stamp, labels};
}

/* One step on `num_cells` cells: the sources, combined left to right, into every destination. */
void weft_builder_step(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                       const struct weft_operand *sources, int num_sources,
                       const struct weft_operand *destinations, int num_destinations);
/* The common ones: `from` into `into`; a combined with b into `into`. */
void weft_builder_move(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                       struct weft_operand from, struct weft_operand into);
void weft_builder_combine(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                          struct weft_operand a, struct weft_operand b, struct weft_operand into);

/* The number of the next step, and: that step also waits for `step`, whatever cells they touch. For
 * algorithms that must not have everything under way at once. */
uint32_t weft_builder_num_steps(const struct weft_builder *builder);
void weft_builder_wait(struct weft_builder *builder, uint32_t step);

/* The program, owned by the caller. Its declared results are the labels its output cells end with;
 * that all ranks declare the same is for the lanes to confirm. The builder is destroyed and
 * *builder cleared either way. */
weft_status weft_builder_finish(struct weft_builder **builder, struct weft_program **program,
                                struct weft_error *error);

#endif
