/*
 * SPDX-License-Identifier: Apache-2.0
 * See races.h. For each step x, one search tells which later steps of the program can only post
 * once x is complete; all others that conflict with x race with it.
 */
#include "collectives/program/races.h"

#include <stdlib.h>
#include <string.h>

struct access {
    uint32_t location;
    uint32_t step;
    bool writes;
    uint32_t offset; // in the step's cells
};

struct search {
    const struct weft_machine *machine;
    const struct weft_program *program;
    int rank;
    enum weft_aliasing aliasing;
    bool model;
    size_t num_accesses;
    struct access *accesses;   // by location, then step
    uint32_t *next_in_channel; // (steps) or UINT32_MAX
    uint32_t *first_dependent; // (steps + 1)
    uint32_t *dependents;
    bool *is_after; // (steps) posts only when the step searched from is complete
    uint32_t *stack;
    // for the machine
    uint32_t *order, *waits;
    bool *happened;
    struct weft_error *error;
};

static int by_location(const void *a, const void *b)
{
    const struct access *left = a, *right = b;
    if (left->location != right->location)
        return left->location < right->location ? -1 : 1;
    if (left->step != right->step)
        return left->step < right->step ? -1 : 1;
    return (int)left->writes - (int)right->writes;
}

static weft_status list_accesses(struct search *search)
{
    const struct weft_program *program = search->program;
    size_t room = 1;
    for (uint32_t s = 0; s < program->num_steps; s++)
        room += (size_t)program->steps[s].num_cells *
                ((size_t)program->steps[s].num_sources + program->steps[s].num_destinations);
    search->accesses = malloc(room * sizeof *search->accesses);
    if (!search->accesses)
        return weft_fail(search->error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t i = 0; i < (uint32_t)step->num_sources + step->num_destinations; i++) {
            const struct weft_ref *ref = &program->refs[step->first_ref + i];
            for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
                search->accesses[search->num_accesses++] = (struct access){
                    weft_program_location(program, search->aliasing, ref->space, ref->index + c), s,
                    i >= step->num_sources, c};
        }
    }
    qsort(search->accesses, search->num_accesses, sizeof *search->accesses, by_location);
    return WEFT_OK;
}

static weft_status index_program(struct search *search)
{
    const struct weft_program *program = search->program;
    size_t steps = program->num_steps;
    size_t edges = 1;
    for (uint32_t s = 0; s < steps; s++)
        edges += program->steps[s].num_dependencies;
    search->next_in_channel = malloc((steps + 1) * sizeof(uint32_t));
    search->first_dependent = calloc(steps + 2, sizeof(uint32_t));
    search->dependents = malloc(edges * sizeof(uint32_t));
    search->is_after = malloc(steps + 1);
    search->stack = malloc((2 * steps + 1) * sizeof(uint32_t));
    if (!search->next_in_channel || !search->first_dependent || !search->dependents ||
        !search->is_after || !search->stack)
        return weft_fail(search->error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    uint32_t next_of_channel[WEFT_CHANNELS_LIMIT];
    memset(next_of_channel, 0xff, sizeof next_of_channel);
    for (uint32_t s = (uint32_t)steps; s-- > 0;) {
        const struct weft_step *step = &program->steps[s];
        search->next_in_channel[s] = next_of_channel[step->channel];
        next_of_channel[step->channel] = s;
        for (uint32_t d = 0; d < step->num_dependencies; d++)
            search->first_dependent[program->dependencies[step->first_dependency + d] + 2]++;
    }
    for (size_t i = 2; i <= steps + 1; i++)
        search->first_dependent[i] += search->first_dependent[i - 1];
    for (uint32_t s = 0; s < steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t d = 0; d < step->num_dependencies; d++) {
            uint32_t on = program->dependencies[step->first_dependency + d];
            search->dependents[search->first_dependent[on + 1]++] = s;
        }
    }
    return WEFT_OK;
}

// Marks every step that posts only after `from` is complete, by the program's own order.
static void search_from(struct search *search, uint32_t from)
{
    uint32_t depth = 0;
    memset(search->is_after, 0, search->program->num_steps);
    search->stack[depth++] = from;
    while (depth > 0) {
        // Something that is complete only after `from` is: its dependents post after that, and so
        // do the later steps of their channels, and all of those complete later still.
        uint32_t complete = search->stack[--depth];
        for (uint32_t d = search->first_dependent[complete];
             d < search->first_dependent[complete + 1]; d++)
            for (uint32_t posted = search->dependents[d];
                 posted != UINT32_MAX && !search->is_after[posted];
                 posted = search->next_in_channel[posted]) {
                search->is_after[posted] = true;
                search->stack[depth++] = posted;
            }
    }
}

static weft_status race(const struct search *search, const struct access *one,
                        const struct access *other, const char *reason)
{
    return weft_fail(search->error, WEFT_UNPROVED, "rank %d step %u (%s): %s cell with step %u %s",
                     search->rank, other->step,
                     search->aliasing == WEFT_IN_PLACE ? "in place" : "out of place",
                     other->writes ? "writes a" : "reads a", one->step, reason);
}

static weft_status check_pair(struct search *search, const struct access *one,
                              const struct access *other)
{
    if (one->step == other->step) {
        if (one->writes && other->writes)
            return race(search, one, other, "(itself): written twice");
        return one->offset == other->offset
                   ? WEFT_OK
                   : race(search, one, other, "(itself): at different offsets");
    }
    if (search->is_after[other->step])
        return WEFT_OK;
    if (search->model) {
        uint32_t base = search->machine->first_step[search->rank];
        weft_machine_run(search->machine, 2 * (base + one->step) + 1, search->order,
                         search->happened, search->waits);
        if (!search->happened[2 * (base + other->step)])
            return WEFT_OK;
    }
    return race(search, one, other, "may be in flight at the same time");
}

// The accesses of step x that start at `first` in their location's row, with all after them.
static weft_status check_row(struct search *search, size_t first)
{
    const struct access *one = &search->accesses[first];
    for (size_t i = first + 1;
         i < search->num_accesses && search->accesses[i].location == one->location; i++)
        if (one->writes || search->accesses[i].writes)
            WEFT_TRY(check_pair(search, one, &search->accesses[i]));
    return WEFT_OK;
}

// Reads alone need no search; rows without a write are passed over.
static bool has_write(const struct search *search, size_t first)
{
    const struct access *one = &search->accesses[first];
    for (size_t i = first;
         i < search->num_accesses && search->accesses[i].location == one->location; i++)
        if (search->accesses[i].writes)
            return true;
    return false;
}

static int by_step(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static weft_status check_all(struct search *search)
{
    // Accesses that have a conflict after them, as (step, access), in order of steps: one search
    // serves all of a step's.
    uint64_t *pending = malloc((search->num_accesses + 1) * sizeof *pending);
    if (!pending)
        return weft_fail(search->error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    size_t count = 0;
    bool is_written = false;
    for (size_t i = 0; i < search->num_accesses; i++) {
        if (i == 0 || search->accesses[i].location != search->accesses[i - 1].location)
            is_written = has_write(search, i);
        if (is_written)
            pending[count++] = (uint64_t)search->accesses[i].step << 32 | i;
    }
    qsort(pending, count, sizeof *pending, by_step);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < count && status == WEFT_OK; i++) {
        if (i == 0 || pending[i] >> 32 != pending[i - 1] >> 32)
            search_from(search, (uint32_t)(pending[i] >> 32));
        status = check_row(search, (uint32_t)pending[i]);
    }
    free(pending);
    return status;
}

weft_status weft_races_check(const struct weft_machine *machine, int rank,
                             enum weft_aliasing aliasing, bool model, struct weft_error *error)
{
    struct search search = {.machine = machine,
                            .program = machine->programs[rank],
                            .rank = rank,
                            .aliasing = aliasing,
                            .model = model,
                            .error = error};
    size_t events = (size_t)machine->num_events + 1;
    search.order = malloc(events * sizeof(uint32_t));
    search.waits = malloc(events * sizeof(uint32_t));
    search.happened = malloc(events);
    weft_status status = WEFT_OK;
    if (!search.order || !search.waits || !search.happened)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    if (status == WEFT_OK)
        status = list_accesses(&search);
    if (status == WEFT_OK)
        status = index_program(&search);
    if (status == WEFT_OK)
        status = check_all(&search);
    free(search.order);
    free(search.waits);
    free(search.happened);
    free(search.accesses);
    free(search.next_in_channel);
    free(search.first_dependent);
    free(search.dependents);
    free(search.is_after);
    free(search.stack);
    return status;
}
