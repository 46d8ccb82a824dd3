/*
 * SPDX-License-Identifier: Apache-2.0
 * See evaluate.h. A queue of events, and one of the ends of flows, which move in it as rates
 * change; whatever happens at one instant is done before rates are settled anew. Channels that may
 * be able to post wait in line, and post a step at a time, as an executor that serves all of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/evaluate_private.h"

enum event_kind { POSTED, EXECUTED, BEGUN };
enum { early_shift = 10 };

struct event {
    int64_t at_ps;
    uint64_t order;  // ties are decided by age
    uint32_t number; // step or message
    enum event_kind kind;
};

struct engine {
    struct weft_eval_set *set;
    struct weft_ways *ways;
    struct weft_flows *flows;
    struct event *heap;
    size_t heap_size, heap_room;
    uint64_t order;
    uint32_t *ends; // messages that flow, the first to end at the front
    uint32_t num_ends;
    uint32_t *queue; // (channels) a circle; each channel is on it once at most
    uint8_t *is_queued;
    uint32_t queue_first, queue_size;
    int64_t *processor_ps; // (ranks) when it is free
    int64_t *arc_bytes;
    int64_t now_ps;
    int64_t end_ps; // of the last step so far
    int64_t limit_ps;
    bool is_cut;
    uint32_t steps_left;
};

/* ---- events ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ps != b->at_ps ? a->at_ps < b->at_ps : a->order < b->order;
}

static weft_status push(struct engine *engine, struct event event, struct weft_error *error)
{
    if (engine->heap_size == engine->heap_room) {
        size_t room = engine->heap_room ? 2 * engine->heap_room : 1024;
        struct event *larger = realloc(engine->heap, room * sizeof *larger);
        if (!larger)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for events");
        engine->heap = larger;
        engine->heap_room = room;
    }
    if (event.at_ps > INT64_MAX / 4)
        return weft_fail(error, WEFT_UNSUPPORTED, "it would take more than 26 days");
    event.order = engine->order++;
    size_t place = engine->heap_size++;
    for (; place > 0 && is_before(&event, &engine->heap[(place - 1) / 2]); place = (place - 1) / 2)
        engine->heap[place] = engine->heap[(place - 1) / 2];
    engine->heap[place] = event;
    return WEFT_OK;
}

static struct event pop(struct engine *engine)
{
    struct event first = engine->heap[0], last = engine->heap[--engine->heap_size];
    size_t place = 0;
    for (size_t child; (child = 2 * place + 1) < engine->heap_size; place = child) {
        if (child + 1 < engine->heap_size &&
            is_before(&engine->heap[child + 1], &engine->heap[child]))
            child++;
        if (!is_before(&engine->heap[child], &last))
            break;
        engine->heap[place] = engine->heap[child];
    }
    engine->heap[place] = last;
    return first;
}

static bool ends_before(const struct engine *engine, uint32_t a, uint32_t b)
{
    const struct weft_eval_message *messages = engine->set->messages;
    return messages[a].end_ps != messages[b].end_ps ? messages[a].end_ps < messages[b].end_ps
                                                    : a < b;
}

static void put_end(struct engine *engine, uint32_t place, uint32_t number)
{
    engine->ends[place] = number;
    engine->set->messages[number].place = place;
}

// Puts `number` where it belongs, beginning at `place`, which is free.
static void settle_end(struct engine *engine, uint32_t place, uint32_t number)
{
    for (; place > 0 && ends_before(engine, number, engine->ends[(place - 1) / 2]);
         place = (place - 1) / 2)
        put_end(engine, place, engine->ends[(place - 1) / 2]);
    for (uint32_t child; (child = 2 * place + 1) < engine->num_ends; place = child) {
        if (child + 1 < engine->num_ends &&
            ends_before(engine, engine->ends[child + 1], engine->ends[child]))
            child++;
        if (!ends_before(engine, engine->ends[child], number))
            break;
        put_end(engine, place, engine->ends[child]);
    }
    put_end(engine, place, number);
}

static weft_status set_end(struct engine *engine, uint32_t number, int64_t end_ps,
                           struct weft_error *error)
{
    struct weft_eval_message *message = &engine->set->messages[number];
    if (end_ps > INT64_MAX / 4)
        return weft_fail(error, WEFT_UNSUPPORTED, "it would take more than 26 days");
    message->end_ps = end_ps;
    settle_end(engine, message->place == WEFT_NO_NUMBER ? engine->num_ends++ : message->place,
               number);
    return WEFT_OK;
}

static uint32_t pop_end(struct engine *engine)
{
    uint32_t first = engine->ends[0], last = engine->ends[--engine->num_ends];
    engine->set->messages[first].place = WEFT_NO_NUMBER;
    if (engine->num_ends)
        settle_end(engine, 0, last);
    return first;
}

// The rank's processor works for `cost_ps` as soon as it can; returns when it is done.
static int64_t work(struct engine *engine, int rank, int64_t cost_ps)
{
    int64_t *until = &engine->processor_ps[rank];
    if (cost_ps == 0)
        return engine->now_ps;
    *until = (*until > engine->now_ps ? *until : engine->now_ps) + cost_ps;
    return *until;
}

/* ---- messages ---- */

static weft_status end_message(struct engine *engine, uint32_t number, struct weft_error *error);

static weft_status flow_changed(void *argument, uint32_t owner, int64_t end_ps,
                                struct weft_error *error)
{
    return set_end(argument, owner, end_ps, error);
}

struct protocol {
    int64_t fixed_ps;
    int64_t rate; // bytes per second at most
};

static int64_t rate_of(const struct weft_line *line, __int128 best_rate, int64_t width)
{
    __int128 rate = weft_curve_bandwidth(line->ps_per_mib);
    if (width > best_rate && width < WEFT_RATE_LIMIT) // as much faster as the way is
        rate = rate * width / best_rate;
    return rate < 1 ? 1 : rate > WEFT_RATE_LIMIT ? WEFT_RATE_LIMIT : (int64_t)rate;
}

// The cheapest line of its level, as if alone, on its way. A curve is that of the slowest pair of
// its level; a network knows which ways are wider or shorter.
static struct protocol choose_line(const struct engine *engine, int from, int to, int64_t bytes,
                                   const struct weft_way *way)
{
    const struct weft_layout *layout = engine->set->layout;
    const struct weft_level_costs *level =
        &layout->costs.levels[weft_layout_level(layout, from, to)];
    const struct weft_curve *curve = &level->message;
    int64_t best_rate = 1, shorter_ps = 0;
    if (way->latency_ps >= 0 && way->latency_ps < level->latency_ps)
        shorter_ps = level->latency_ps - way->latency_ps;
    for (int i = 0; i < curve->num_lines; i++)
        if (weft_curve_bandwidth(curve->lines[i].ps_per_mib) > best_rate)
            best_rate = weft_curve_bandwidth(curve->lines[i].ps_per_mib);
    struct protocol best = {0, 0};
    __int128 least = -1;
    for (int i = 0; i < curve->num_lines; i++) {
        int64_t rate = rate_of(&curve->lines[i], best_rate, way->width);
        int64_t fixed_ps = curve->lines[i].fixed_ps - shorter_ps;
        __int128 time = fixed_ps + (__int128)bytes * 1000000000000 / rate;
        if (least >= 0 && time >= least)
            continue;
        least = time;
        best = (struct protocol){fixed_ps > 0 ? fixed_ps : 0, rate};
    }
    return best;
}

static weft_status find_route(struct engine *engine, const struct weft_eval_message *message,
                              int *arcs, int *num_arcs, struct protocol *protocol,
                              struct weft_error *error)
{
    const struct weft_eval_step *step = &engine->set->steps[message->from_step];
    struct weft_way way;
    WEFT_TRY(weft_ways_route(engine->ways, step->rank, message->to, arcs, &way, error));
    *num_arcs = way.num_arcs;
    *protocol = choose_line(engine, step->rank, message->to, step->bytes, &way);
    return WEFT_OK;
}

static weft_status try_start(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_message *message = &engine->set->messages[number];
    if (!message->is_ready || !message->is_awaited)
        return WEFT_OK;
    struct protocol protocol;
    int arcs[WEFT_ROUTE_LIMIT], num_arcs;
    WEFT_TRY(find_route(engine, message, arcs, &num_arcs, &protocol, error));
    message->begin_ps = engine->now_ps;
    int64_t fixed_ps = protocol.fixed_ps * engine->set->layout->costs.sharing;
    return push(engine, (struct event){engine->now_ps + fixed_ps, 0, number, BEGUN}, error);
}

// Where moving needs no processor, combining begins with the first bytes that arrive.
static void begin_combining(struct engine *engine, struct weft_eval_step *step)
{
    if (engine->set->layout->costs.overlaps && step->local_end_ps < 0)
        step->local_end_ps = work(engine, step->rank, step->local_ps);
}

static weft_status begin_flow(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_message *message = &engine->set->messages[number];
    const struct weft_eval_step *step = &engine->set->steps[message->from_step];
    struct protocol protocol;
    int arcs[WEFT_ROUTE_LIMIT], num_arcs = 0;
    message->is_begun = true;
    if (message->is_behind) // a lane is in order: its bytes follow those of the one before
        return WEFT_OK;
    begin_combining(engine, &engine->set->steps[message->to_step]);
    WEFT_TRY(find_route(engine, message, arcs, &num_arcs, &protocol, error));
    for (int i = 0; i < num_arcs; i++)
        engine->arc_bytes[arcs[i]] += step->bytes;
    if (step->bytes == 0)
        return end_message(engine, number, error);
    int64_t limit = protocol.rate / engine->set->layout->costs.sharing;
    if (num_arcs == 0)
        return set_end(engine, number,
                       engine->now_ps + (int64_t)((__int128)step->bytes * 1000000000000 / limit),
                       error);
    return weft_flows_add(engine->flows, arcs, num_arcs, step->bytes, limit, engine->now_ps, number,
                          &message->flow, error);
}

/* ---- steps ---- */

// Channels take turns: none posts a second step before the others have posted one.
static void queue_channel(struct engine *engine, int rank, uint16_t channel)
{
    uint32_t number = engine->set->first_channel[rank] + channel;
    if (!engine->is_queued[number])
        engine->queue[(engine->queue_first + engine->queue_size++) % engine->set->num_channels] =
            number;
    engine->is_queued[number] = 1;
}

static void complete(struct engine *engine, struct weft_eval_step *step)
{
    struct weft_eval_set *set = engine->set;
    step->is_complete = true;
    engine->steps_left--;
    engine->end_ps = engine->now_ps;
    for (uint32_t d = step->first_dependent; d < step[1].first_dependent; d++) {
        struct weft_eval_step *after = &set->steps[set->dependents[d]];
        if (--after->num_waiting == 0)
            queue_channel(engine, after->rank, after->step->channel);
    }
}

static weft_status executed(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_step *step = &engine->set->steps[number];
    if (step->num_sends == 0) {
        complete(engine, step);
        return WEFT_OK;
    }
    for (int i = 0; i < step->step->num_destinations; i++) {
        uint32_t ref = (uint32_t)step->step->num_sources + (uint32_t)i;
        if (engine->set->programs[step->rank]->refs[step->step->first_ref + ref].space != WEFT_LANE)
            continue;
        uint32_t message = engine->set->message_of[step->first_ref + ref];
        engine->set->messages[message].is_ready = true;
        WEFT_TRY(try_start(engine, message, error));
    }
    return WEFT_OK;
}

// All it waits for has arrived.
static weft_status execute(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_step *step = &engine->set->steps[number];
    if (step->local_end_ps < 0)
        step->local_end_ps = work(engine, step->rank, step->local_ps);
    if (step->local_end_ps > engine->now_ps)
        return push(engine, (struct event){step->local_end_ps, 0, number, EXECUTED}, error);
    return executed(engine, number, error);
}

static weft_status end_message(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_message *message = &engine->set->messages[number];
    struct weft_eval_step *from = &engine->set->steps[message->from_step];
    struct weft_eval_step *to = &engine->set->steps[message->to_step];
    if (message->flow >= 0)
        weft_flows_remove(engine->flows, message->flow);
    message->flow = -1;
    if (--from->num_sends == 0)
        complete(engine, from);
    if (message->next != WEFT_NO_NUMBER) {
        struct weft_eval_message *next = &engine->set->messages[message->next];
        next->is_behind = false;
        if (next->is_begun)
            WEFT_TRY(push(engine, (struct event){engine->now_ps, 0, message->next, BEGUN}, error));
    }
    return --to->num_receives == 0 ? execute(engine, message->to_step, error) : WEFT_OK;
}

static weft_status posted(struct engine *engine, uint32_t number, struct weft_error *error)
{
    struct weft_eval_step *step = &engine->set->steps[number];
    engine->set->cursor[engine->set->first_channel[step->rank] + step->step->channel] = step->next;
    queue_channel(engine, step->rank, step->step->channel);
    step->is_posted = true;
    if (step->num_receives == 0)
        return execute(engine, number, error);
    for (uint32_t i = 0; i < step->step->num_sources; i++) {
        if (engine->set->programs[step->rank]->refs[step->step->first_ref + i].space != WEFT_LANE)
            continue;
        uint32_t message = engine->set->message_of[step->first_ref + i];
        engine->set->messages[message].is_awaited = true;
        WEFT_TRY(try_start(engine, message, error));
    }
    return WEFT_OK;
}

static weft_status post_what_can(struct engine *engine, struct weft_error *error)
{
    const struct weft_costs *costs = &engine->set->layout->costs;
    while (engine->queue_size) {
        uint32_t channel = engine->queue[engine->queue_first];
        engine->queue_first = (engine->queue_first + 1) % engine->set->num_channels;
        engine->queue_size--;
        engine->is_queued[channel] = 0;
        uint32_t number = engine->set->cursor[channel];
        if (number == WEFT_NO_NUMBER || engine->set->steps[number].num_waiting)
            continue;
        int64_t cost_ps = costs->step_ps * costs->sharing;
        engine->set->cursor[channel] = WEFT_NO_NUMBER; // until it has posted
        if (cost_ps == 0)
            WEFT_TRY(posted(engine, number, error));
        else
            WEFT_TRY(push(engine,
                          (struct event){work(engine, engine->set->steps[number].rank, cost_ps), 0,
                                         number, POSTED},
                          error));
    }
    return WEFT_OK;
}

/* ---- the whole ---- */

static weft_status handle(struct engine *engine, const struct event *event,
                          struct weft_error *error)
{
    switch (event->kind) {
    case POSTED:
        return posted(engine, event->number, error);
    case EXECUTED:
        return executed(engine, event->number, error);
    case BEGUN:
        return begin_flow(engine, event->number, error);
    }
    return WEFT_OK;
}

// The end of a message is due now, or may come a little early.
static bool is_end_due(const struct engine *engine)
{
    if (engine->num_ends == 0)
        return false;
    const struct weft_eval_message *message = &engine->set->messages[engine->ends[0]];
    return message->end_ps - engine->now_ps <= (message->end_ps - message->begin_ps) >> early_shift;
}

// Everything that happens now.
static weft_status do_instant(struct engine *engine, struct weft_error *error)
{
    for (;;) {
        if (is_end_due(engine)) {
            WEFT_TRY(end_message(engine, pop_end(engine), error));
        } else if (engine->heap_size && engine->heap[0].at_ps <= engine->now_ps) {
            struct event event = pop(engine);
            WEFT_TRY(handle(engine, &event, error));
        } else {
            return weft_flows_settle(engine->flows, engine->now_ps, flow_changed, engine, error);
        }
        WEFT_TRY(post_what_can(engine, error));
    }
}

static weft_status find_stuck(const struct engine *engine, struct weft_error *error)
{
    const struct weft_eval_set *set = engine->set;
    for (uint32_t s = 0; s < set->num_steps; s++) {
        const struct weft_eval_step *step = &set->steps[s];
        if (step->is_complete || !step->is_posted)
            continue;
        return weft_fail(error, WEFT_UNPROVED, "rank %d step %u: waits for ever, for %s",
                         step->rank, s - set->first_step[step->rank],
                         step->num_receives ? "a message" : "a receiver");
    }
    for (uint32_t s = 0; s < set->num_steps; s++)
        if (!set->steps[s].is_complete)
            return weft_fail(error, WEFT_UNPROVED, "rank %d step %u: never posts",
                             set->steps[s].rank, s - set->first_step[set->steps[s].rank]);
    return WEFT_OK;
}

static weft_status run(struct engine *engine, struct weft_error *error)
{
    for (int r = 0; r < engine->set->fold.block; r++)
        for (uint32_t c = 0; c < engine->set->programs[r]->num_channels; c++)
            queue_channel(engine, r, (uint16_t)c);
    WEFT_TRY(post_what_can(engine, error));
    while (engine->heap_size || engine->num_ends) {
        int64_t end_ps =
            engine->num_ends ? engine->set->messages[engine->ends[0]].end_ps : INT64_MAX;
        int64_t event_ps = engine->heap_size ? engine->heap[0].at_ps : INT64_MAX;
        engine->now_ps = end_ps < event_ps ? end_ps : event_ps;
        engine->is_cut = engine->now_ps > engine->limit_ps;
        if (engine->is_cut)
            return WEFT_OK;
        WEFT_TRY(do_instant(engine, error));
    }
    return engine->steps_left ? find_stuck(engine, error) : WEFT_OK;
}

static void report(const struct engine *engine, struct weft_evaluation *evaluation)
{
    const struct weft_eval_set *set = engine->set;
    __int128 busiest_ps = -1;
    int busiest = 0;
    for (int a = 0; a < engine->ways->num_arcs; a++) {
        __int128 ps = (__int128)engine->arc_bytes[a] * 1000000000000 / engine->ways->capacity[a];
        if (engine->arc_bytes[a] && ps > busiest_ps) {
            busiest_ps = ps;
            busiest = a;
        }
    }
    evaluation->is_cut = engine->is_cut;
    evaluation->time_ps =
        (engine->is_cut ? engine->now_ps : engine->end_ps) + set->layout->costs.launch_ps;
    evaluation->num_messages = (int64_t)set->num_messages * set->fold.num_blocks;
    evaluation->fold = set->fold;
    evaluation->num_arcs = engine->ways->num_arcs;
    if (busiest_ps < 0)
        return;
    evaluation->busiest_bytes = engine->arc_bytes[busiest];
    if (evaluation->time_ps > 0)
        evaluation->busiest_permille = (int)(busiest_ps * 1000 / evaluation->time_ps);
    weft_ways_name(engine->ways, busiest, evaluation->busiest, sizeof evaluation->busiest);
}

static weft_status prepare(struct engine *engine, struct weft_error *error)
{
    struct weft_eval_set *set = engine->set;
    WEFT_TRY(weft_eval_set_make(set, error));
    WEFT_TRY(weft_ways_create(set->layout, set->fold, &engine->ways, error));
    WEFT_TRY(
        weft_flows_create(engine->ways->num_arcs, engine->ways->capacity, &engine->flows, error));
    engine->ends = calloc((size_t)set->num_messages + 1, sizeof *engine->ends);
    engine->queue = calloc((size_t)set->num_channels + 1, sizeof *engine->queue);
    engine->is_queued = calloc((size_t)set->num_channels + 1, sizeof *engine->is_queued);
    engine->processor_ps = calloc((size_t)set->fold.block, sizeof *engine->processor_ps);
    engine->arc_bytes = calloc((size_t)engine->ways->num_arcs + 1, sizeof *engine->arc_bytes);
    if (!engine->ends || !engine->queue || !engine->is_queued || !engine->processor_ps ||
        !engine->arc_bytes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an evaluation");
    engine->steps_left = set->num_steps;
    return WEFT_OK;
}

weft_status weft_evaluate_programs(const struct weft_layout *layout, struct weft_fold fold,
                                   struct weft_program *const *programs, int64_t bytes,
                                   struct weft_evaluation *evaluation, struct weft_error *error)
{
    return weft_eval_programs_within(layout, fold, programs, bytes, INT64_MAX, evaluation, error);
}

weft_status weft_eval_programs_within(const struct weft_layout *layout, struct weft_fold fold,
                                      struct weft_program *const *programs, int64_t bytes,
                                      int64_t limit_ps, struct weft_evaluation *evaluation,
                                      struct weft_error *error)
{
    struct weft_eval_set set = {
        .layout = layout, .fold = fold, .programs = programs, .bytes = bytes};
    struct engine engine = {.set = &set, .limit_ps = limit_ps};
    weft_status status = prepare(&engine, error);
    if (status == WEFT_OK)
        status = run(&engine, error);
    if (status == WEFT_OK) {
        memset(evaluation, 0, sizeof *evaluation);
        report(&engine, evaluation);
        evaluation->arc_bytes = engine.arc_bytes;
        engine.arc_bytes = NULL;
    }
    weft_flows_destroy(&engine.flows);
    weft_ways_destroy(&engine.ways);
    weft_eval_set_free(&set);
    free(engine.heap);
    free(engine.ends);
    free(engine.queue);
    free(engine.is_queued);
    free(engine.processor_ps);
    free(engine.arc_bytes);
    return status;
}

void weft_evaluation_free(struct weft_evaluation *evaluation)
{
    free(evaluation->arc_bytes);
    evaluation->arc_bytes = NULL;
}
