/*
 * SPDX-License-Identifier: Apache-2.0
 * See machine.h. Edges are listed first and sorted into rows afterwards.
 */
#include "collectives/program/machine.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_LIMIT = 1 << 26 };

struct edge {
    uint32_t from;
    uint32_t to;
};

struct edges {
    struct edge *list;
    size_t count, room;
    bool failed;
};

// One end of a message.
struct end {
    uint32_t source, destination; // ranks
    uint32_t channel;
    uint32_t slot;
    uint32_t step;
};

struct ends {
    struct end *sends, *receives;
    uint32_t num_sends, num_receives;
};

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
}

static const struct weft_ref *ref_of(const struct weft_machine *machine, uint32_t step, uint32_t i)
{
    return &weft_machine_program(machine, step)
                ->refs[weft_machine_step(machine, step)->first_ref + i];
}

static weft_status number_steps(struct weft_machine *machine, struct weft_error *error)
{
    uint64_t num_steps = 0, num_slots = 0;
    for (int rank = 0; rank < machine->num_ranks; rank++)
        num_steps += machine->programs[rank]->num_steps;
    if (num_steps >= SLOTS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "too many steps for the oracle");
    machine->num_steps = (uint32_t)num_steps;
    machine->first_step = malloc(((size_t)machine->num_ranks + 1) * sizeof(uint32_t));
    machine->rank_of_step = malloc((num_steps + 1) * sizeof(uint32_t));
    machine->first_slot = malloc((num_steps + 1) * sizeof(uint32_t));
    if (!machine->first_step || !machine->rank_of_step || !machine->first_slot)
        return no_memory(error);
    uint32_t step = 0;
    for (int rank = 0; rank < machine->num_ranks; rank++) {
        machine->first_step[rank] = step;
        for (uint32_t i = 0; i < machine->programs[rank]->num_steps; i++, step++) {
            const struct weft_step *local = &machine->programs[rank]->steps[i];
            machine->rank_of_step[step] = (uint32_t)rank;
            machine->first_slot[step] = (uint32_t)num_slots;
            num_slots += (uint32_t)local->num_sources + local->num_destinations;
        }
    }
    if (num_slots >= SLOTS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "too many references for the oracle");
    machine->first_step[machine->num_ranks] = step;
    machine->first_slot[step] = (uint32_t)num_slots;
    machine->num_slots = (uint32_t)num_slots;
    return WEFT_OK;
}

static int by_lane(const void *a, const void *b)
{
    const struct end *left = a, *right = b;
    if (left->source != right->source)
        return left->source < right->source ? -1 : 1;
    if (left->destination != right->destination)
        return left->destination < right->destination ? -1 : 1;
    if (left->channel != right->channel)
        return left->channel < right->channel ? -1 : 1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

static void list_ends(const struct weft_machine *machine, struct ends *ends)
{
    for (uint32_t step = 0; step < machine->num_steps; step++) {
        const struct weft_step *local = weft_machine_step(machine, step);
        uint32_t me = machine->rank_of_step[step], num_sources = local->num_sources;
        for (uint32_t i = 0; i < num_sources + local->num_destinations; i++) {
            const struct weft_ref *ref = ref_of(machine, step, i);
            uint32_t slot = machine->first_slot[step] + i;
            if (ref->space == WEFT_LANE && i < num_sources)
                ends->receives[ends->num_receives++] =
                    (struct end){ref->index, me, local->channel, slot, step};
            else if (ref->space == WEFT_LANE)
                ends->sends[ends->num_sends++] =
                    (struct end){me, ref->index, local->channel, slot, step};
        }
    }
    if (ends->num_sends)
        qsort(ends->sends, ends->num_sends, sizeof *ends->sends, by_lane);
    if (ends->num_receives)
        qsort(ends->receives, ends->num_receives, sizeof *ends->receives, by_lane);
}

static uint64_t extent_of_cell(const struct weft_machine *machine, uint32_t step, uint32_t cell)
{
    uint32_t i = 0;
    while (ref_of(machine, step, i)->space == WEFT_LANE)
        i++; // a valid step has a memory reference
    const struct weft_ref *ref = ref_of(machine, step, i);
    return weft_program_extent(weft_machine_program(machine, step), ref->space, ref->index + cell);
}

static weft_status check_extents(const struct weft_machine *machine, const struct end *send,
                                 const struct end *receive, struct weft_error *error)
{
    uint32_t sent = weft_machine_step(machine, send->step)->num_cells;
    uint32_t expected = weft_machine_step(machine, receive->step)->num_cells;
    bool is_equal = sent == expected;
    for (uint32_t c = 0; is_equal && c < sent; c++)
        is_equal =
            extent_of_cell(machine, send->step, c) == extent_of_cell(machine, receive->step, c);
    if (is_equal)
        return WEFT_OK;
    return weft_fail(error, WEFT_UNPROVED,
                     "rank %u step %u: sends %u cells where rank %u step %u receives %u of another "
                     "extent",
                     send->source, weft_machine_local(machine, send->step), sent, send->destination,
                     weft_machine_local(machine, receive->step), expected);
}

static weft_status unmatched(const struct weft_machine *machine, const struct end *end,
                             bool is_send, struct weft_error *error)
{
    return weft_fail(error, WEFT_UNPROVED,
                     is_send ? "rank %u step %u: what it sends to rank %u on channel %u is never "
                               "received"
                             : "rank %u step %u: what it receives from rank %u on channel %u is "
                               "never sent",
                     is_send ? end->source : end->destination,
                     weft_machine_local(machine, end->step),
                     is_send ? end->destination : end->source, end->channel);
}

static weft_status match_ends(struct weft_machine *machine, const struct ends *ends,
                              struct weft_error *error)
{
    uint32_t s = 0, r = 0;
    while (s < ends->num_sends || r < ends->num_receives) {
        struct end *send = &ends->sends[s], *receive = &ends->receives[r];
        if (s == ends->num_sends)
            return unmatched(machine, receive, false, error);
        if (r == ends->num_receives)
            return unmatched(machine, send, true, error);
        struct end lane = *receive;
        lane.slot = send->slot;
        int order = by_lane(send, &lane);
        if (order)
            return unmatched(machine, order < 0 ? send : receive, order < 0, error);
        WEFT_TRY(check_extents(machine, send, receive, error));
        machine->message_of_slot[send->slot] = machine->num_messages;
        machine->message_of_slot[receive->slot] = machine->num_messages;
        machine->messages[machine->num_messages++] =
            (struct weft_machine_message){send->step, receive->step, send->slot, receive->slot};
        s++, r++;
    }
    return WEFT_OK;
}

static weft_status match(struct weft_machine *machine, struct weft_error *error)
{
    size_t room = (size_t)machine->num_slots + 1;
    struct ends ends = {malloc(room * sizeof(struct end)), malloc(room * sizeof(struct end)), 0, 0};
    machine->message_of_slot = malloc(room * sizeof(uint32_t));
    machine->messages = malloc(room * sizeof *machine->messages);
    weft_status status;
    if (!ends.sends || !ends.receives || !machine->message_of_slot || !machine->messages) {
        status = no_memory(error);
    } else {
        list_ends(machine, &ends);
        status = match_ends(machine, &ends, error);
    }
    free(ends.sends);
    free(ends.receives);
    return status;
}

static void add_edge(struct edges *edges, uint32_t from, uint32_t to)
{
    if (edges->count == edges->room) {
        size_t room = edges->room ? 2 * edges->room : 1024;
        struct edge *larger = edges->failed ? NULL : realloc(edges->list, room * sizeof *larger);
        if (!larger) {
            edges->failed = true;
            return;
        }
        edges->list = larger;
        edges->room = room;
    }
    edges->list[edges->count++] = (struct edge){from, to};
}

static void add_step_edges(const struct weft_machine *machine, struct edges *edges)
{
    for (int rank = 0; rank < machine->num_ranks; rank++) {
        const struct weft_program *program = machine->programs[rank];
        uint32_t last_of_channel[WEFT_CHANNELS_LIMIT];
        memset(last_of_channel, 0xff, sizeof last_of_channel);
        for (uint32_t i = 0; i < program->num_steps; i++) {
            const struct weft_step *step = &program->steps[i];
            uint32_t base = machine->first_step[rank], *last = &last_of_channel[step->channel];
            uint32_t post = 2 * (base + i);
            add_edge(edges, post, post + 1);
            if (*last != UINT32_MAX)
                add_edge(edges, 2 * (base + *last), post);
            *last = i;
            for (uint32_t d = 0; d < step->num_dependencies; d++)
                add_edge(edges, 2 * (base + program->dependencies[step->first_dependency + d]) + 1,
                         post);
        }
    }
}

static void add_message_edges(const struct weft_machine *machine, struct edges *edges)
{
    for (uint32_t m = 0; m < machine->num_messages; m++) {
        const struct weft_machine_message *message = &machine->messages[m];
        uint32_t move = 2 * machine->num_steps + m;
        add_edge(edges, 2 * message->sender, move);
        add_edge(edges, 2 * message->receiver, move);
        add_edge(edges, move, 2 * message->sender + 1);
        add_edge(edges, move, 2 * message->receiver + 1);
        // The sender has its data when its own messages have come in.
        uint32_t num_sources = weft_machine_step(machine, message->sender)->num_sources;
        for (uint32_t i = 0; i < num_sources; i++)
            if (ref_of(machine, message->sender, i)->space == WEFT_LANE) {
                uint32_t slot = machine->first_slot[message->sender] + i;
                add_edge(edges, 2 * machine->num_steps + machine->message_of_slot[slot], move);
            }
        // Messages stand in the order of their lanes.
        const struct weft_machine_message *before = m > 0 ? message - 1 : NULL;
        if (before &&
            machine->rank_of_step[before->sender] == machine->rank_of_step[message->sender] &&
            machine->rank_of_step[before->receiver] == machine->rank_of_step[message->receiver] &&
            weft_machine_step(machine, before->sender)->channel ==
                weft_machine_step(machine, message->sender)->channel)
            add_edge(edges, move - 1, move);
    }
}

static weft_status sort_edges(struct weft_machine *machine, const struct edges *edges,
                              struct weft_error *error)
{
    size_t events = machine->num_events;
    if (edges->count >= UINT32_MAX)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "too many dependencies for the oracle");
    machine->num_waits = calloc(events + 1, sizeof(uint32_t));
    machine->first_next = calloc(events + 2, sizeof(uint32_t));
    machine->next = malloc((edges->count + 1) * sizeof(uint32_t));
    if (edges->failed || !machine->num_waits || !machine->first_next || !machine->next)
        return no_memory(error);
    for (size_t e = 0; e < edges->count; e++) {
        machine->num_waits[edges->list[e].to]++;
        machine->first_next[edges->list[e].from + 2]++;
    }
    for (size_t i = 2; i <= events + 1; i++)
        machine->first_next[i] += machine->first_next[i - 1];
    for (size_t e = 0; e < edges->count; e++)
        machine->next[machine->first_next[edges->list[e].from + 1]++] = edges->list[e].to;
    return WEFT_OK;
}

weft_status weft_machine_create(const struct weft_program *const *programs, int num_ranks,
                                struct weft_machine **machine, struct weft_error *error)
{
    struct weft_machine *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory(error);
    made->programs = programs;
    made->num_ranks = num_ranks;
    weft_status status = number_steps(made, error);
    if (status == WEFT_OK)
        status = match(made, error);
    if (status == WEFT_OK) {
        struct edges edges = {0};
        made->num_events = 2 * made->num_steps + made->num_messages;
        add_step_edges(made, &edges);
        add_message_edges(made, &edges);
        status = sort_edges(made, &edges, error);
        free(edges.list);
    }
    if (status == WEFT_OK)
        *machine = made;
    else
        weft_machine_destroy(&made);
    return status;
}

void weft_machine_destroy(struct weft_machine **machine)
{
    if (!*machine)
        return;
    struct weft_machine *old = *machine;
    free(old->first_step);
    free(old->rank_of_step);
    free(old->first_slot);
    free(old->message_of_slot);
    free(old->messages);
    free(old->num_waits);
    free(old->first_next);
    free(old->next);
    free(old);
    *machine = NULL;
}

uint32_t weft_machine_run(const struct weft_machine *machine, uint32_t withheld, uint32_t *order,
                          bool *happened, uint32_t *waits)
{
    uint32_t count = 0;
    for (uint32_t event = 0; event < machine->num_events; event++) {
        happened[event] = false;
        waits[event] = machine->num_waits[event];
        if (waits[event] == 0 && event != withheld)
            order[count++] = event;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t event = order[i];
        happened[event] = true;
        for (uint32_t n = machine->first_next[event]; n < machine->first_next[event + 1]; n++)
            if (--waits[machine->next[n]] == 0 && machine->next[n] != withheld)
                order[count++] = machine->next[n];
    }
    return count;
}
