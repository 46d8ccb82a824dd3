/*
 * SPDX-License-Identifier: Apache-2.0
 * See flows.h. Progressive filling: the arc with the least share per flow decides for all flows on
 * it, they leave, and the rest is shared again. Shares within 1/4096 of the least count as equal,
 * so that rounding does not split what belongs together.
 */
#include "collectives/planner/flows.h"

#include <stdbool.h>
#include <stdlib.h>

enum { none = -1, tolerance_shift = 12 };

// A flow on one of its arcs: number flow * WEFT_ROUTE_LIMIT + place on the route.
struct visit {
    int next, previous;
};

struct flow {
    __int128 left; // work at `since_ps`
    int64_t since_ps;
    int64_t rate, limit;
    int64_t filled; // while filling: the new rate; 0: not yet
    uint32_t owner;
    uint32_t seen;
    int num_arcs;
    int arcs[WEFT_ROUTE_LIMIT];
    struct visit visits[WEFT_ROUTE_LIMIT];
};

struct arc {
    int64_t left;  // while filling
    int num_left;  // while filling: flows without a rate
    int first;     // visit
    int num_flows; // on it
    uint32_t seen;
    bool is_marked;
};

struct weft_flows {
    const int64_t *capacity;
    struct arc *arcs;
    int *marked, num_marked;
    int *part_arcs, num_part_arcs; // that hang together
    struct flow *flows;
    int *part_flows, num_part_flows;
    int num_flows, room;
    int free; // a flow, the next in its `arcs[0]`
    uint32_t round;
};

weft_status weft_flows_create(int num_arcs, const int64_t *capacity, struct weft_flows **flows,
                              struct weft_error *error)
{
    struct weft_flows *made = calloc(1, sizeof *made);
    if (made) {
        made->capacity = capacity;
        made->free = none;
        made->arcs = calloc((size_t)num_arcs + 1, sizeof *made->arcs);
        made->marked = calloc((size_t)num_arcs + 1, sizeof *made->marked);
        made->part_arcs = calloc((size_t)num_arcs + 1, sizeof *made->part_arcs);
    }
    if (!made || !made->arcs || !made->marked || !made->part_arcs) {
        weft_flows_destroy(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for flows");
    }
    for (int a = 0; a < num_arcs; a++)
        made->arcs[a].first = none;
    *flows = made;
    return WEFT_OK;
}

void weft_flows_destroy(struct weft_flows **flows)
{
    struct weft_flows *old = *flows;
    if (!old)
        return;
    free(old->arcs);
    free(old->marked);
    free(old->part_arcs);
    free(old->flows);
    free(old->part_flows);
    free(old);
    *flows = NULL;
}

static void mark(struct weft_flows *flows, int arc)
{
    if (!flows->arcs[arc].is_marked)
        flows->marked[flows->num_marked++] = arc;
    flows->arcs[arc].is_marked = true;
}

static struct visit *visit_of(struct weft_flows *flows, int number)
{
    return &flows->flows[number / WEFT_ROUTE_LIMIT].visits[number % WEFT_ROUTE_LIMIT];
}

static weft_status make_room(struct weft_flows *flows, struct weft_error *error)
{
    if (flows->free != none || flows->num_flows < flows->room)
        return WEFT_OK;
    int room = flows->room ? 2 * flows->room : 256;
    if (room > INT32_MAX / WEFT_ROUTE_LIMIT)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "too many flows at once");
    struct flow *more = realloc(flows->flows, (size_t)room * sizeof *more);
    flows->flows = more ? more : flows->flows;
    int *part = more ? realloc(flows->part_flows, (size_t)room * sizeof *part) : NULL;
    if (!part)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for flows");
    flows->part_flows = part;
    flows->room = room;
    return WEFT_OK;
}

weft_status weft_flows_add(struct weft_flows *flows, const int *arcs, int num_arcs, int64_t bytes,
                           int64_t limit, int64_t now_ps, uint32_t owner, int *flow,
                           struct weft_error *error)
{
    WEFT_TRY(make_room(flows, error));
    int number = flows->free != none ? flows->free : flows->num_flows++;
    struct flow *added = &flows->flows[number];
    if (number == flows->free)
        flows->free = added->arcs[0];
    added->left = (__int128)bytes * 1000000000000;
    added->since_ps = now_ps;
    added->rate = added->seen = 0;
    added->limit = limit < 1 ? 1 : limit > WEFT_RATE_LIMIT ? WEFT_RATE_LIMIT : limit;
    added->owner = owner;
    added->num_arcs = num_arcs;
    for (int i = 0; i < num_arcs; i++) {
        struct arc *arc = &flows->arcs[arcs[i]];
        int visit = number * WEFT_ROUTE_LIMIT + i;
        added->arcs[i] = arcs[i];
        added->visits[i] = (struct visit){arc->first, none};
        if (arc->first != none)
            visit_of(flows, arc->first)->previous = visit;
        arc->first = visit;
        arc->num_flows++;
        mark(flows, arcs[i]);
    }
    *flow = number;
    return WEFT_OK;
}

void weft_flows_remove(struct weft_flows *flows, int flow)
{
    struct flow *old = &flows->flows[flow];
    for (int i = 0; i < old->num_arcs; i++) {
        struct arc *arc = &flows->arcs[old->arcs[i]];
        struct visit visit = old->visits[i];
        if (visit.next != none)
            visit_of(flows, visit.next)->previous = visit.previous;
        if (visit.previous != none)
            visit_of(flows, visit.previous)->next = visit.next;
        else
            arc->first = visit.next;
        arc->num_flows--;
        mark(flows, old->arcs[i]);
    }
    old->arcs[0] = flows->free;
    old->num_arcs = 0;
    flows->free = flow;
}

static void take_arc(struct weft_flows *flows, int number)
{
    struct arc *arc = &flows->arcs[number];
    if (arc->seen == flows->round)
        return;
    arc->seen = flows->round;
    arc->left = flows->capacity[number];
    arc->num_left = arc->num_flows;
    flows->part_arcs[flows->num_part_arcs++] = number;
}

// Everything that shares arcs with flows of arc `start`, directly or not.
static void gather(struct weft_flows *flows, int start)
{
    flows->num_part_arcs = flows->num_part_flows = 0;
    take_arc(flows, start);
    for (int i = 0; i < flows->num_part_arcs; i++) {
        int visit = flows->arcs[flows->part_arcs[i]].first;
        for (; visit != none; visit = visit_of(flows, visit)->next) {
            struct flow *flow = &flows->flows[visit / WEFT_ROUTE_LIMIT];
            if (flow->seen == flows->round)
                continue;
            flow->seen = flows->round;
            flow->filled = 0;
            flows->part_flows[flows->num_part_flows++] = visit / WEFT_ROUTE_LIMIT;
            for (int j = 0; j < flow->num_arcs; j++)
                take_arc(flows, flow->arcs[j]);
        }
    }
}

static void fix(struct weft_flows *flows, struct flow *flow, int64_t rate)
{
    flow->filled = rate < 1 ? 1 : rate;
    for (int j = 0; j < flow->num_arcs; j++) {
        struct arc *arc = &flows->arcs[flow->arcs[j]];
        arc->left = arc->left > rate ? arc->left - rate : 0;
        arc->num_left--;
    }
}

// The least share that an arc of the part gives; arcs whose flows all have rates fall out.
static int64_t least_share(struct weft_flows *flows)
{
    int64_t least = WEFT_RATE_LIMIT;
    int kept = 0;
    for (int i = 0; i < flows->num_part_arcs; i++) {
        const struct arc *arc = &flows->arcs[flows->part_arcs[i]];
        if (arc->num_left == 0)
            continue;
        flows->part_arcs[kept++] = flows->part_arcs[i];
        int64_t share = arc->left / arc->num_left;
        least = share < least ? share : least;
    }
    flows->num_part_arcs = kept;
    return least;
}

// Flows that want less than the least share get what they want. Returns whether there were any.
static bool fill_limited(struct weft_flows *flows, int64_t share, int *unfilled)
{
    int kept = 0;
    bool any = false;
    for (int i = 0; i < *unfilled; i++) {
        int number = flows->part_flows[i];
        struct flow *flow = &flows->flows[number];
        if (!flow->filled && flow->limit <= share) {
            fix(flows, flow, flow->limit);
            any = true;
        }
        // Those with a rate go to the end, where they wait to be told of.
        if (!flow->filled) {
            flows->part_flows[i] = flows->part_flows[kept];
            flows->part_flows[kept++] = number;
        }
    }
    *unfilled = kept;
    return any;
}

static void fill(struct weft_flows *flows)
{
    int unfilled = flows->num_part_flows;
    while (unfilled > 0) {
        int64_t share = least_share(flows);
        if (fill_limited(flows, share, &unfilled))
            continue;
        int64_t equal = share + (share >> tolerance_shift);
        for (int i = 0; i < flows->num_part_arcs; i++) {
            const struct arc *arc = &flows->arcs[flows->part_arcs[i]];
            if (arc->num_left == 0 || arc->left / arc->num_left > equal)
                continue;
            for (int visit = arc->first; visit != none; visit = visit_of(flows, visit)->next) {
                struct flow *flow = &flows->flows[visit / WEFT_ROUTE_LIMIT];
                if (!flow->filled)
                    fix(flows, flow, share);
            }
        }
    }
}

static weft_status tell(struct weft_flows *flows, int64_t now_ps, weft_flow_changed_fn changed,
                        void *argument, struct weft_error *error)
{
    for (int i = 0; i < flows->num_part_flows; i++) {
        struct flow *flow = &flows->flows[flows->part_flows[i]];
        if (flow->filled == flow->rate)
            continue;
        flow->left -= (__int128)flow->rate * (now_ps - flow->since_ps);
        if (flow->left < 0)
            flow->left = 0;
        flow->since_ps = now_ps;
        flow->rate = flow->filled;
        __int128 end = now_ps + (flow->left + flow->rate - 1) / flow->rate;
        if (end > INT64_MAX / 4)
            return weft_fail(error, WEFT_UNSUPPORTED, "it would take more than 26 days");
        WEFT_TRY(changed(argument, flow->owner, (int64_t)end, error));
    }
    return WEFT_OK;
}

weft_status weft_flows_settle(struct weft_flows *flows, int64_t now_ps,
                              weft_flow_changed_fn changed, void *argument,
                              struct weft_error *error)
{
    if (flows->num_marked)
        flows->round++;
    for (int i = 0; i < flows->num_marked; i++) {
        struct arc *arc = &flows->arcs[flows->marked[i]];
        arc->is_marked = false;
        if (arc->seen == flows->round || arc->num_flows == 0)
            continue;
        gather(flows, flows->marked[i]);
        fill(flows);
        WEFT_TRY(tell(flows, now_ps, changed, argument, error));
    }
    flows->num_marked = 0;
    return WEFT_OK;
}

int64_t weft_flows_rate(const struct weft_flows *flows, int flow)
{
    return flows->flows[flow].rate;
}
