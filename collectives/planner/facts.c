/*
 * SPDX-License-Identifier: Apache-2.0
 * See facts.h.
 */
#include "collectives/planner/facts.h"

int64_t weft_step_bytes(const struct weft_program *program, const struct weft_step *step,
                        int64_t bytes)
{
    int64_t pieces = program->shape.pieces, block = bytes / weft_shape_blocks(&program->shape);
    const struct weft_ref *memory = &program->refs[step->first_ref];
    while (memory->space == WEFT_LANE)
        memory++;
    int64_t moved = 0;
    for (uint32_t c = 0; c < step->num_cells; c++) {
        uint32_t cell = memory->space == WEFT_SCRATCH ? program->scratch[memory->index + c].cell
                                                      : memory->index + c;
        int64_t piece = cell % pieces;
        moved += block * (piece + 1) / pieces - block * piece / pieces;
    }
    return moved;
}

struct weft_program_facts weft_program_facts(const struct weft_plan *plan, int64_t bytes)
{
    const struct weft_program *program = weft_plan_program(plan);
    const struct weft_shape *shape = &program->shape;
    int64_t pieces = shape->pieces, block = bytes / weft_shape_blocks(shape);
    struct weft_program_facts facts = {.rank = shape->rank, .num_steps = program->num_steps};
    uint32_t num_lanes;
    const struct weft_lane *lanes = weft_plan_lanes(plan, &num_lanes);
    for (uint32_t i = 0; i < num_lanes; i++) {
        facts.num_sends += lanes[i].num_sends;
        facts.num_receives += lanes[i].num_receives;
        facts.num_peers += lanes[i].channel == 0;
    }
    for (uint32_t i = 0; i < program->num_scratch; i++) {
        int64_t piece = program->scratch[i].cell % pieces;
        facts.scratch_bytes += block * (piece + 1) / pieces - block * piece / pieces;
    }
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        int64_t moved = weft_step_bytes(program, step, bytes);
        for (int i = 0; i < step->num_sources + step->num_destinations; i++) {
            const struct weft_ref *ref = &program->refs[step->first_ref + (uint32_t)i];
            if (ref->space != WEFT_LANE)
                continue;
            if (i < step->num_sources)
                facts.bytes_received += moved;
            else
                facts.bytes_sent += moved;
            if (ref->stamp + 1 > facts.num_rounds)
                facts.num_rounds = ref->stamp + 1;
        }
    }
    return facts;
}
