/*
 * SPDX-License-Identifier: Apache-2.0
 * See oracle.h. The parts: machine.c runs all ranks, races.c looks for conflicts, values.c computes
 * the trees; here the verdicts are drawn.
 */
#include "collectives/program/oracle.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/program/races.h"
#include "collectives/program/values.h"

enum { MIXES_OF_FEW_RANKS = 4, RANDOM_MIXES = 4 };

struct oracle {
    struct weft_machine *machine;
    struct weft_trees *trees;
    struct weft_values *values;
    uint32_t *order, *waits; // (events)
    bool *happened;          // (events)
    uint32_t num_happened;
    enum weft_aliasing *aliasing; // (ranks)
};

static bool is_pair(const struct weft_shape *shape)
{
    return shape->collective == WEFT_SEND || shape->collective == WEFT_RECV;
}

static weft_status check_leaves_alike(const struct weft_shape *shape,
                                      const struct weft_shape *first, struct weft_error *error)
{
    bool is_alike =
        shape->is_canonical == first->is_canonical && shape->num_leaves == first->num_leaves;
    for (int r = 0; is_alike && shape->num_leaves && r <= shape->num_ranks; r++)
        is_alike = shape->leaf_bounds[r] == first->leaf_bounds[r];
    if (!is_alike)
        return weft_fail(error, WEFT_UNPROVED,
                         "rank %d step 0: its program has another order or other leaves than rank "
                         "0's",
                         shape->rank);
    return WEFT_OK;
}

static weft_status check_shapes(const struct weft_program *const *programs, int num_ranks,
                                struct weft_error *error)
{
    if (num_ranks < 1 || num_ranks > WEFT_ORACLE_RANKS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks: the oracle takes 1 to %d",
                         num_ranks, WEFT_ORACLE_RANKS_LIMIT);
    const struct weft_shape *first = &programs[0]->shape;
    for (int rank = 0; rank < num_ranks; rank++) {
        const struct weft_shape *shape = &programs[rank]->shape;
        WEFT_TRY(weft_program_validate(programs[rank], error));
        if (shape->rank != rank || shape->num_ranks != num_ranks)
            return weft_fail(error, WEFT_UNPROVED,
                             "rank %d step 0: the program in its place is for rank %d of %d", rank,
                             shape->rank, shape->num_ranks);
        bool is_alike = is_pair(shape)
                            ? is_pair(first)
                            : shape->collective == first->collective && shape->root == first->root;
        WEFT_TRY(check_leaves_alike(shape, first, error));
        if (!is_alike || shape->pieces != first->pieces)
            return weft_fail(error, WEFT_UNPROVED,
                             "rank %d step 0: its program is of another collective, root or number "
                             "of pieces than rank 0's",
                             rank);
    }
    return WEFT_OK;
}

// The first incomplete step of a rank has posted: whatever it could wait for before stands earlier
// in the program. So it waits for a message.
static weft_status deadlock(const struct oracle *oracle, struct weft_error *error)
{
    const struct weft_machine *machine = oracle->machine;
    uint32_t step = 0;
    while (oracle->happened[2 * step + 1])
        step++;
    for (uint32_t slot = machine->first_slot[step]; slot < machine->first_slot[step + 1]; slot++) {
        uint32_t i = slot - machine->first_slot[step];
        const struct weft_step *local = weft_machine_step(machine, step);
        const struct weft_ref *ref =
            &weft_machine_program(machine, step)->refs[local->first_ref + i];
        uint32_t number = ref->space == WEFT_LANE ? machine->message_of_slot[slot] : 0;
        if (ref->space != WEFT_LANE || oracle->happened[2 * machine->num_steps + number])
            continue;
        const struct weft_machine_message *message = &machine->messages[number];
        bool sends = message->sender_slot == slot;
        uint32_t other = sends ? message->receiver : message->sender;
        return weft_fail(
            error, WEFT_UNPROVED,
            "rank %u step %u: deadlock, it waits for ever for a message %s rank %u step %u (%s)",
            machine->rank_of_step[step], weft_machine_local(machine, step), sends ? "to" : "from",
            machine->rank_of_step[other], weft_machine_local(machine, other),
            !oracle->happened[2 * other] ? "which never posts"
                                         : "which waits for earlier messages itself");
    }
    return weft_fail(error, WEFT_INTERNAL, "the oracle's machine stopped without a reason");
}

static weft_status run_machine(struct oracle *oracle, const struct weft_program *const *programs,
                               int num_ranks, struct weft_error *error)
{
    WEFT_TRY(weft_machine_create(programs, num_ranks, &oracle->machine, error));
    size_t events = (size_t)oracle->machine->num_events + 1;
    oracle->order = malloc(events * sizeof(uint32_t));
    oracle->waits = malloc(events * sizeof(uint32_t));
    oracle->happened = malloc(events);
    oracle->aliasing = malloc((size_t)num_ranks * sizeof *oracle->aliasing);
    oracle->trees = weft_trees_create((int)weft_shape_leaves(&programs[0]->shape));
    if (!oracle->order || !oracle->waits || !oracle->happened || !oracle->aliasing ||
        !oracle->trees)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    oracle->num_happened = weft_machine_run(oracle->machine, weft_no_event, oracle->order,
                                            oracle->happened, oracle->waits);
    if (oracle->num_happened < oracle->machine->num_events)
        return deadlock(oracle, error);
    return weft_values_create(oracle->machine, oracle->trees, &oracle->values, error);
}

static void close_machine(struct oracle *oracle)
{
    weft_values_destroy(&oracle->values);
    weft_trees_destroy(&oracle->trees);
    weft_machine_destroy(&oracle->machine);
    free(oracle->order);
    free(oracle->waits);
    free(oracle->happened);
    free(oracle->aliasing);
}

static weft_status check_races(const struct oracle *oracle, bool model, struct weft_error *error)
{
    for (int rank = 0; rank < oracle->machine->num_ranks; rank++) {
        unsigned aliasing = oracle->machine->programs[rank]->aliasing;
        if (aliasing & WEFT_OUT_OF_PLACE)
            WEFT_TRY(weft_races_check(oracle->machine, rank, WEFT_OUT_OF_PLACE, model, error));
        if (aliasing & WEFT_IN_PLACE)
            WEFT_TRY(weft_races_check(oracle->machine, rank, WEFT_IN_PLACE, model, error));
    }
    return WEFT_OK;
}

static const char *what_is_wrong(const struct oracle *oracle, int rank, uint32_t output_cell)
{
    const struct weft_program *program = oracle->machine->programs[rank];
    struct weft_window output = weft_shape_output(&program->shape);
    struct weft_goal goal = weft_shape_goal(&program->shape, output_cell);
    uint32_t tree =
        weft_values_cell(oracle->values, rank, oracle->aliasing[rank], WEFT_OUTPUT, output_cell);
    uint32_t cell;
    if (!tree)
        return "never gets a value";
    if (!weft_trees_is_of_one_cell(oracle->trees, tree, &cell) || cell != goal.cell)
        return "ends with the value of another cell";
    if (!weft_trees_holds(oracle->trees, tree, goal.rank))
        return "does not end with each contribution exactly once";
    const struct weft_shape *shape = &program->shape;
    if (shape->is_canonical &&
        tree != weft_trees_canonical(oracle->trees, 0, weft_shape_leaves(shape), cell))
        return "is not combined in the canonical order";
    uint64_t declared = program->results[output_cell - output.first];
    if (weft_trees_label(oracle->trees, tree).expression != declared)
        return "is not combined in the declared order";
    // All ranks of a replicated collective have the same window.
    if (weft_shape_is_replicated(&program->shape) &&
        weft_values_cell(oracle->values, 0, oracle->aliasing[0], WEFT_OUTPUT, output_cell) != tree)
        return "is combined in another order than on rank 0";
    return NULL;
}

static weft_status check_outputs(const struct oracle *oracle, struct weft_error *error)
{
    for (int rank = 0; rank < oracle->machine->num_ranks; rank++) {
        const struct weft_program *program = oracle->machine->programs[rank];
        struct weft_window output = weft_shape_output(&program->shape);
        for (uint32_t c = output.first; c < output.first + output.cells; c++) {
            const char *reason = what_is_wrong(oracle, rank, c);
            if (reason)
                return weft_fail(
                    error, WEFT_UNPROVED, "rank %d after step %u (%s): output cell %u %s", rank,
                    program->num_steps,
                    oracle->aliasing[rank] == WEFT_IN_PLACE ? "in place" : "out of place", c,
                    reason);
        }
    }
    return WEFT_OK;
}

// Rank r runs in place where bit r (modulo 64) says so and the program allows it.
static weft_status check_mix(struct oracle *oracle, uint64_t in_place, struct weft_error *error)
{
    for (int rank = 0; rank < oracle->machine->num_ranks; rank++) {
        unsigned allowed = oracle->machine->programs[rank]->aliasing;
        enum weft_aliasing wanted = in_place >> (rank % 64) & 1 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
        enum weft_aliasing other = wanted == WEFT_IN_PLACE ? WEFT_OUT_OF_PLACE : WEFT_IN_PLACE;
        oracle->aliasing[rank] = allowed & (unsigned)wanted ? wanted : other;
    }
    WEFT_TRY(weft_values_run(oracle->values, oracle->aliasing, oracle->order, oracle->num_happened,
                             error));
    return check_outputs(oracle, error);
}

static weft_status check_values(struct oracle *oracle, struct weft_error *error)
{
    int num_ranks = oracle->machine->num_ranks;
    bool is_free = false;
    for (int rank = 0; rank < num_ranks; rank++)
        is_free |= oracle->machine->programs[rank]->aliasing == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE);
    if (!is_free)
        return check_mix(oracle, 0, error);
    if (num_ranks <= MIXES_OF_FEW_RANKS) {
        for (uint64_t mix = 0; mix < UINT64_C(1) << num_ranks; mix++)
            WEFT_TRY(check_mix(oracle, mix, error));
        return WEFT_OK;
    }
    WEFT_TRY(check_mix(oracle, 0, error));
    WEFT_TRY(check_mix(oracle, UINT64_MAX, error));
    for (uint64_t mix = 0; mix < RANDOM_MIXES; mix++)
        WEFT_TRY(check_mix(oracle, weft_hash_mix(mix, 1), error));
    return WEFT_OK;
}

static weft_status verify(const struct weft_program *const *programs, int num_ranks, bool model,
                          struct weft_error *error)
{
    struct oracle oracle = {0};
    WEFT_TRY(check_shapes(programs, num_ranks, error));
    weft_status status = run_machine(&oracle, programs, num_ranks, error);
    if (status == WEFT_OK)
        status = check_races(&oracle, model, error);
    if (status == WEFT_OK)
        status = check_values(&oracle, error);
    close_machine(&oracle);
    return status;
}

weft_status weft_oracle_verify(const struct weft_program *const *programs, int num_ranks,
                               struct weft_error *error)
{
    return verify(programs, num_ranks, false, error);
}

weft_status weft_oracle_verify_model(const struct weft_program *const *programs, int num_ranks,
                                     struct weft_error *error)
{
    return verify(programs, num_ranks, true, error);
}

// Of two messages of which one waits for the other: the sender is the same on one lane, and another
// when the second forwards the first.
static bool is_same_sender(const struct weft_machine *machine, uint32_t event, uint32_t next)
{
    if (next < 2 * machine->num_steps)
        return false;
    const struct weft_machine_message *first = &machine->messages[event - 2 * machine->num_steps];
    const struct weft_machine_message *second = &machine->messages[next - 2 * machine->num_steps];
    return machine->rank_of_step[first->sender] == machine->rank_of_step[second->sender];
}

// The instant of every event: a message moves at an instant, and a step with messages is complete
// an instant after the last of them.
static weft_status find_instants(const struct oracle *oracle, uint32_t *instants,
                                 struct weft_error *error)
{
    const struct weft_machine *machine = oracle->machine;
    memset(instants, 0, machine->num_events * sizeof *instants);
    for (uint32_t i = 0; i < oracle->num_happened; i++) {
        uint32_t event = oracle->order[i];
        bool is_move = event >= 2 * machine->num_steps;
        if (instants[event] == UINT32_MAX)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "too many messages for stamps");
        for (uint32_t n = machine->first_next[event]; n < machine->first_next[event + 1]; n++) {
            uint32_t next = machine->next[n], instant = instants[event];
            // After a move: a completion, a forwarding (both an instant later), or the next message
            // of the lane, which may share the instant.
            if (is_move && !is_same_sender(machine, event, next))
                instant++;
            if (instant > instants[next])
                instants[next] = instant;
        }
    }
    return WEFT_OK;
}

static void promise(const struct oracle *oracle, const uint32_t *instants, uint32_t number,
                    struct weft_program *const *programs, struct weft_label *const *labels,
                    uint32_t *num_labels)
{
    const struct weft_machine *machine = oracle->machine;
    const struct weft_machine_message *message = &machine->messages[number];
    const uint32_t steps[2] = {message->sender, message->receiver};
    const uint32_t slots[2] = {message->sender_slot, message->receiver_slot};
    for (int end = 0; end < 2; end++) {
        uint32_t rank = machine->rank_of_step[steps[end]];
        const struct weft_step *step = weft_machine_step(machine, steps[end]);
        struct weft_ref *ref =
            &programs[rank]->refs[step->first_ref + slots[end] - machine->first_slot[steps[end]]];
        ref->stamp = instants[2 * machine->num_steps + number];
        if (end == 0)
            continue;
        ref->label = num_labels[rank];
        for (uint32_t c = 0; c < step->num_cells; c++)
            labels[rank][num_labels[rank]++] = weft_trees_label(
                oracle->trees,
                oracle->values->results[oracle->values->first_result[message->sender] + c]);
    }
}

// References may be shared between steps, in which case one stamp would have to serve two messages.
static weft_status check_unshared(const struct weft_machine *machine, struct weft_error *error)
{
    weft_status status = WEFT_OK;
    for (int rank = 0; rank < machine->num_ranks && status == WEFT_OK; rank++) {
        const struct weft_program *program = machine->programs[rank];
        bool *is_used = calloc((size_t)program->num_refs + 1, sizeof *is_used);
        if (!is_used)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for stamps");
        for (uint32_t s = 0; s < program->num_steps; s++) {
            const struct weft_step *step = &program->steps[s];
            for (uint32_t i = 0; i < (uint32_t)step->num_sources + step->num_destinations; i++) {
                if (is_used[step->first_ref + i])
                    status =
                        weft_fail(error, WEFT_INVALID_ARGUMENT,
                                  "rank %d step %u: shares references with another step", rank, s);
                is_used[step->first_ref + i] = true;
            }
        }
        free(is_used);
    }
    return status;
}

static weft_status restamp(struct oracle *oracle, struct weft_program *const *programs,
                           struct weft_label **labels, uint32_t *num_labels, uint32_t *instants,
                           struct weft_error *error)
{
    const struct weft_machine *machine = oracle->machine;
    for (int rank = 0; rank < machine->num_ranks; rank++)
        oracle->aliasing[rank] =
            programs[rank]->aliasing & WEFT_OUT_OF_PLACE ? WEFT_OUT_OF_PLACE : WEFT_IN_PLACE;
    WEFT_TRY(weft_values_run(oracle->values, oracle->aliasing, oracle->order, oracle->num_happened,
                             error));
    WEFT_TRY(find_instants(oracle, instants, error));
    for (uint32_t m = 0; m < machine->num_messages; m++)
        num_labels[machine->rank_of_step[machine->messages[m].receiver]] +=
            weft_machine_step(machine, machine->messages[m].receiver)->num_cells;
    for (int rank = 0; rank < machine->num_ranks; rank++) {
        labels[rank] = malloc(((size_t)num_labels[rank] + 1) * sizeof *labels[rank]);
        if (!labels[rank])
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for promises");
        num_labels[rank] = 0;
    }
    for (uint32_t m = 0; m < machine->num_messages; m++)
        promise(oracle, instants, m, programs, labels, num_labels);
    for (int rank = 0; rank < machine->num_ranks; rank++) {
        free(programs[rank]->labels);
        programs[rank]->labels = labels[rank];
        programs[rank]->num_labels = num_labels[rank];
        labels[rank] = NULL;
    }
    return WEFT_OK;
}

static void declare(const struct oracle *oracle, struct weft_program *const *programs)
{
    for (int rank = 0; rank < oracle->machine->num_ranks; rank++) {
        struct weft_window output = weft_shape_output(&programs[rank]->shape);
        for (uint32_t c = 0; c < output.cells; c++) {
            uint32_t tree = weft_values_cell(oracle->values, rank, oracle->aliasing[rank],
                                             WEFT_OUTPUT, output.first + c);
            programs[rank]->results[c] = weft_trees_label(oracle->trees, tree).expression;
        }
    }
}

static weft_status renew(struct weft_program *const *programs, int num_ranks, bool declares,
                         struct weft_error *error)
{
    const struct weft_program *const *readable = (const struct weft_program *const *)programs;
    struct oracle oracle = {0};
    WEFT_TRY(check_shapes(readable, num_ranks, error));
    struct weft_label **labels = calloc((size_t)num_ranks, sizeof *labels);
    uint32_t *num_labels = calloc((size_t)num_ranks, sizeof *num_labels), *instants = NULL;
    weft_status status = WEFT_OK;
    if (!labels || !num_labels)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for stamps");
    if (status == WEFT_OK)
        status = run_machine(&oracle, readable, num_ranks, error);
    if (status == WEFT_OK)
        status = check_unshared(oracle.machine, error);
    if (status == WEFT_OK) {
        instants = malloc(((size_t)oracle.machine->num_events + 1) * sizeof *instants);
        status = instants ? restamp(&oracle, programs, labels, num_labels, instants, error)
                          : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for stamps");
    }
    if (status == WEFT_OK && declares)
        declare(&oracle, programs);
    for (int rank = 0; labels && rank < num_ranks; rank++)
        free(labels[rank]);
    free(labels);
    free(num_labels);
    free(instants);
    close_machine(&oracle);
    return status;
}

weft_status weft_oracle_restamp(struct weft_program *const *programs, int num_ranks,
                                struct weft_error *error)
{
    return renew(programs, num_ranks, false, error);
}

weft_status weft_oracle_redeclare(struct weft_program *const *programs, int num_ranks,
                                  struct weft_error *error)
{
    return renew(programs, num_ranks, true, error);
}
