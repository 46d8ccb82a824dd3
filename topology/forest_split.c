/*
 * SPDX-License-Identifier: Apache-2.0
 * Removing switches by edge splitting. Splitting the pair (u, w), (w, t) by an amount takes that
 * much from both arcs and gives it to (u, t); cuts that hold u and t but not w, or w but neither u
 * nor t, lose exactly that amount and no other cut changes. So a pair that was split by too much
 * is right after giving back what the worst cut lacks, and many pairs are tried at once: an even
 * spread over a switch's neighbours first. Cuts that were once in the way are kept, and no more is
 * tried than they allow; where others are in the way it is tried again with those, then with half
 * of the pairs. A pair at its limit stays there, which is why this ends with nothing left at the
 * switch.
 */
#include "topology/forest_splitter.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_IN_HOPE = 64,  // switches that one look at all terminals is for
    MOST_ATTEMPTS = 4,  // with the same switch, and with the same pairs
    MOST_NEW_CUTS = 16, // kept from one attempt
};

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a forest");
}

static weft_status change(struct weft_forest_splitter *s, int from, int to, int64_t amount,
                          struct weft_error *error)
{
    size_t at = (size_t)from * (size_t)s->n + (size_t)to;
    s->split->capacity[at] += amount;
    if (s->arc[at] < 0)
        s->arc[at] = weft_maxflow_add(s->flow, to, from, s->split->capacity[at], 0);
    else
        weft_maxflow_set(s->flow, s->arc[at], s->split->capacity[at], 0);
    return s->arc[at] < 0 ? no_memory(error) : WEFT_OK;
}

/* Words of cuts that hold u and t but not w, or w but neither. */
static uint64_t between(const struct weft_forest_splitter *s, int w,
                        const struct weft_forest_proposal *p, int word)
{
    const uint64_t *inside = &s->cuts.inside[word];
    uint64_t at_w = inside[(size_t)w * WEFT_FOREST_CUT_WORDS];
    return (inside[(size_t)p->u * WEFT_FOREST_CUT_WORDS] ^ at_w) &
           (inside[(size_t)p->t * WEFT_FOREST_CUT_WORDS] ^ at_w);
}

/* Pair `p` of switch w split by `amount` more; below 0: joined again. */
static weft_status shift(struct weft_forest_splitter *s, int w,
                         const struct weft_forest_proposal *p, int64_t amount,
                         struct weft_error *error)
{
    for (int word = 0; word * 64 < s->cuts.num; word++)
        for (uint64_t set = between(s, w, p, word); set; set &= set - 1)
            s->cuts.slack[word * 64 + __builtin_ctzll(set)] -= amount;
    WEFT_TRY(change(s, p->u, w, -amount, error));
    WEFT_TRY(change(s, w, p->t, -amount, error));
    return p->u == p->t ? WEFT_OK : change(s, p->u, p->t, amount, error);
}

/* How much of pair `p` the kept cuts allow. */
static int64_t bound(const struct weft_forest_splitter *s, int w,
                     const struct weft_forest_proposal *p)
{
    int64_t most = p->amount;
    for (int word = 0; word * 64 < s->cuts.num; word++)
        for (uint64_t set = between(s, w, p, word); set; set &= set - 1) {
            int64_t slack = s->cuts.slack[word * 64 + __builtin_ctzll(set)];
            most = slack < most ? slack : most;
        }
    return most > 0 ? most : 0;
}

static bool is_behind_new_cut(const struct weft_forest_splitter *s, int v, int num_ever)
{
    for (int c = num_ever; c < s->cuts.num_ever; c++)
        if (weft_forest_cuts_has(&s->cuts, c % WEFT_FOREST_MAX_CUTS, v))
            return true;
    return false;
}

/* What the worst cut lacks (`some`: the worst of a few that differ), and a terminal behind it; what
 * lacks something is kept. A terminal that is reached well enough joins the source for those after
 * it: cuts that hold it back are known to be good. */
static int64_t lack(struct weft_forest_splitter *s, bool some, int *terminal)
{
    int64_t worst = 0;
    int num_ever = s->cuts.num_ever;
    for (int v = 0; v < s->split->num_terminals; v++) {
        if (some && s->cuts.num_ever >= num_ever + MOST_NEW_CUTS)
            break;
        if (some && is_behind_new_cut(s, v, num_ever))
            continue;
        s->flows++;
        int64_t flow = weft_maxflow_run(s->flow, v, s->n, s->total);
        if (s->total == flow) {
            weft_maxflow_set(s->flow, s->root_arc[v], s->total, 0);
            continue;
        }
        if (s->total - flow > worst) {
            worst = s->total - flow;
            *terminal = v;
        }
        weft_forest_cuts_keep(&s->cuts, s->flow, flow - s->total);
    }
    for (int v = 0; v < s->split->num_terminals; v++)
        weft_maxflow_set(s->flow, s->root_arc[v], s->request->weight[v], 0);
    return worst;
}

static weft_status remember(struct weft_forest_splitter *s, int w,
                            const struct weft_forest_proposal *p, int64_t amount,
                            struct weft_error *error)
{
    struct weft_forest_split *split = s->split;
    if (s->observer && s->observer->split)
        s->observer->split(s->observer->context, split);
    if (p->u == p->t)
        return WEFT_OK; // only went there and back
    int *first = &split->first_part[(size_t)p->u * (size_t)s->n + (size_t)p->t];
    if (*first >= 0 && split->parts[*first].via == w) {
        split->parts[*first].amount += amount;
        return WEFT_OK;
    }
    if (split->num_parts == split->room_for_parts) {
        int room = split->room_for_parts ? 2 * split->room_for_parts : 256;
        struct weft_forest_part *parts = realloc(split->parts, (size_t)room * sizeof *parts);
        if (!parts)
            return no_memory(error);
        split->parts = parts;
        split->room_for_parts = room;
    }
    split->parts[split->num_parts] = (struct weft_forest_part){w, *first, amount};
    *first = split->num_parts++;
    return WEFT_OK;
}

/* All pairs at once, as far as kept cuts allow. *lacking: what cuts lack then; if anything, nothing
 * was done, but for a single pair, which is done but for that. */
static weft_status try_pairs(struct weft_forest_splitter *s, int w,
                             struct weft_forest_proposal *proposals, int count, int64_t *lacking,
                             struct weft_error *error)
{
    int terminal;
    int64_t taken = 0;
    for (int i = 0; i < count; i++) {
        proposals[i].taken = bound(s, w, &proposals[i]);
        taken += proposals[i].taken;
        WEFT_TRY(shift(s, w, &proposals[i], proposals[i].taken, error));
    }
    *lacking = s->is_certain || taken == 0 ? 0 : lack(s, count > 1, &terminal);
    if (count == 1 && *lacking > taken)
        return weft_fail(error, WEFT_INTERNAL, "splitting at vertex %d broke another cut", w);
    for (int i = 0; i < count && *lacking; i++) {
        int64_t less = count > 1 ? proposals[i].taken : *lacking;
        WEFT_TRY(shift(s, w, &proposals[i], -less, error));
        proposals[i].taken -= less;
    }
    return WEFT_OK;
}

static void limit(struct weft_forest_splitter *s, const struct weft_forest_proposal *p)
{
    if (p->taken < p->amount)
        s->is_at_limit[(size_t)p->u * (size_t)s->n + (size_t)p->t] = true;
}

/* As far as kept cuts allow; whether that was too much is looked at later. */
static weft_status split_off_in_hope(struct weft_forest_splitter *s, int w,
                                     struct weft_forest_proposal *proposals, int count,
                                     struct weft_error *error)
{
    if (s->num_steps > s->room_for_steps - count) {
        int room = 2 * (s->num_steps + count);
        struct weft_forest_step *steps = realloc(s->steps, (size_t)room * sizeof *steps);
        if (!steps)
            return no_memory(error);
        s->steps = steps;
        s->room_for_steps = room;
    }
    for (int i = 0; i < count; i++) {
        struct weft_forest_proposal *p = &proposals[i];
        p->taken = bound(s, w, p);
        limit(s, p);
        if (p->taken > 0) {
            WEFT_TRY(shift(s, w, p, p->taken, error));
            s->steps[s->num_steps++] = (struct weft_forest_step){w, *p};
        }
    }
    return WEFT_OK;
}

static weft_status check_flows(const struct weft_forest_splitter *s, struct weft_error *error)
{
    if (s->flows <= WEFT_FOREST_MAX_FLOWS)
        return WEFT_OK;
    return weft_fail(error, WEFT_UNSUPPORTED, "a forest that takes more than %d maximum flows",
                     WEFT_FOREST_MAX_FLOWS);
}

/* Splits off as much of proposals[0 .. count) as cuts allow, one after the other. */
static weft_status split_off(struct weft_forest_splitter *s, int w,
                             struct weft_forest_proposal *proposals, int count,
                             struct weft_error *error)
{
    int64_t lacking = 1;
    if (s->is_hopeful)
        return split_off_in_hope(s, w, proposals, count, error);
    WEFT_TRY(check_flows(s, error));
    for (int i = 0; i < (count > 1 ? MOST_ATTEMPTS : 1) && lacking; i++)
        WEFT_TRY(try_pairs(s, w, proposals, count, &lacking, error));
    if (lacking && count > 1) {
        WEFT_TRY(split_off(s, w, proposals, count / 2, error));
        return split_off(s, w, proposals + count / 2, count - count / 2, error);
    }
    for (int i = 0; i < count; i++) {
        const struct weft_forest_proposal *p = &proposals[i];
        limit(s, p);
        if (p->taken > 0)
            WEFT_TRY(remember(s, w, p, p->taken, error));
    }
    return WEFT_OK;
}

static int64_t read_switch(struct weft_forest_splitter *s, int w)
{
    int64_t left = 0;
    for (int v = 0; v < s->n; v++) {
        s->in[v] = *weft_forest_capacity(s->split, v, w);
        s->out[v] = *weft_forest_capacity(s->split, w, v);
        left += s->in[v];
    }
    s->num_proposals = 0;
    return left;
}

static weft_status split_rest(struct weft_forest_splitter *s, int w, struct weft_error *error)
{
    while (read_switch(s, w) > 0) {
        WEFT_TRY(weft_forest_propose_rest(s, error));
        s->is_stuck = s->num_proposals == 0;
        if (s->is_stuck && s->is_hopeful)
            return WEFT_OK;
        if (s->is_stuck)
            return weft_fail(error, WEFT_INTERNAL, "vertex %d cannot be split off", w);
        WEFT_TRY(split_off(s, w, s->proposals, s->num_proposals, error));
    }
    return WEFT_OK;
}

/* Switches between two neighbours, of which cuts only see the narrower arc; others may become such.
 */
static weft_status remove_passages(struct weft_forest_splitter *s, struct weft_error *error)
{
    bool again = true;
    s->is_certain = true;
    while (again) {
        again = false;
        for (int w = s->split->num_terminals; w < s->n; w++) {
            int neighbours = 0;
            if (read_switch(s, w) == 0)
                continue;
            for (int v = 0; v < s->n; v++)
                neighbours += s->in[v] > 0 || s->out[v] > 0;
            if (neighbours <= 2) {
                WEFT_TRY(split_rest(s, w, error));
                again = true;
            }
        }
    }
    s->is_certain = false;
    return WEFT_OK;
}

static weft_status remove_switch(struct weft_forest_splitter *s, int w, struct weft_error *error)
{
    if (read_switch(s, w) == 0)
        return WEFT_OK;
    memset(s->is_at_limit, 0, (size_t)s->n * (size_t)s->n * sizeof *s->is_at_limit);
    weft_forest_find_boxes(s);
    WEFT_TRY(weft_forest_spread(s, error));
    if (s->num_proposals > 0)
        WEFT_TRY(split_off(s, w, s->proposals, s->num_proposals, error));
    return split_rest(s, w, error);
}

static int compare_beside(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Removes up to *count of the switches that are next in order without a question, then looks
 * whether all was well; if not, all is as it was, but for the cuts found, and half as many are
 * next. A switch that fails too often is removed with care. */
static weft_status remove_some(struct weft_forest_splitter *s, int *next, int end, int *count,
                               int *failures, struct weft_error *error)
{
    int last = end - *next < *count ? end : *next + *count, terminal;
    WEFT_TRY(check_flows(s, error));
    if (*failures == MOST_ATTEMPTS) {
        *failures = 0;
        return remove_switch(s, s->order[2 * (*next)++ + 1], error);
    }
    s->num_steps = 0;
    s->is_hopeful = true;
    s->is_stuck = false;
    for (int i = *next; i < last && !s->is_stuck; i++)
        WEFT_TRY(remove_switch(s, s->order[2 * i + 1], error));
    s->is_hopeful = false;
    if ((s->num_steps == 0 || lack(s, true, &terminal) == 0) && !s->is_stuck) {
        for (int i = 0; i < s->num_steps; i++)
            WEFT_TRY(remember(s, s->steps[i].w, &s->steps[i].pair, s->steps[i].pair.taken, error));
        *next = last;
        *failures = 0;
        *count = 2 * *count < MOST_IN_HOPE ? 2 * *count : MOST_IN_HOPE;
        return WEFT_OK;
    }
    for (int i = s->num_steps - 1; i >= 0; i--)
        WEFT_TRY(shift(s, s->steps[i].w, &s->steps[i].pair, -s->steps[i].pair.taken, error));
    *failures += *count == 1;
    *count = *count > 1 ? *count / 2 : 1;
    return WEFT_OK;
}

/* Switches beside few other switches first: traffic stays low in a tree of switches. */
static weft_status remove_switches(struct weft_forest_splitter *s, struct weft_error *error)
{
    int num_terminals = s->split->num_terminals, count = s->n - num_terminals;
    for (int v = 0; v < s->n; v++)
        s->box[v] = v;
    WEFT_TRY(remove_passages(s, error));
    memcpy(s->plain, s->split->capacity, (size_t)s->n * (size_t)s->n * sizeof *s->plain);
    for (int i = 0; i < count; i++) {
        const int64_t *row = &s->plain[(size_t)(num_terminals + i) * (size_t)s->n];
        s->order[2 * i] = 0;
        s->order[2 * i + 1] = num_terminals + i;
        for (int v = num_terminals; v < s->n; v++)
            s->order[2 * i] += row[v] > 0;
    }
    qsort(s->order, (size_t)count, 2 * sizeof *s->order, compare_beside);
    for (int next = 0, at_once = 1, failures = 0; next < count;)
        WEFT_TRY(remove_some(s, &next, count, &at_once, &failures, error));
    return WEFT_OK;
}

static weft_status check_sums(const struct weft_network *network,
                              const struct weft_forest_request *request, int64_t *total,
                              struct weft_error *error)
{
    int64_t sum = 0;
    *total = 0;
    for (int v = 0; v < network->num_terminals; v++) {
        if (request->weight[v] < 0 || request->weight[v] > WEFT_FOREST_MAX_SUM - *total)
            return weft_fail(error, WEFT_UNSUPPORTED, "terminal %d: weights out of range", v);
        *total += request->weight[v];
    }
    for (int a = 0; a < network->num_arcs; a++) {
        if (request->capacity[a] < 0 || request->capacity[a] > WEFT_FOREST_MAX_SUM - sum)
            return weft_fail(error, WEFT_UNSUPPORTED, "arc %d: capacities out of range", a);
        sum += request->capacity[a];
    }
    return WEFT_OK;
}

static weft_status check_balance(struct weft_forest_split *split, struct weft_error *error)
{
    for (int w = split->num_terminals; w < split->num_vertices; w++) {
        int64_t in = 0, out = 0;
        for (int v = 0; v < split->num_vertices; v++) {
            in += *weft_forest_capacity(split, v, w);
            out += *weft_forest_capacity(split, w, v);
        }
        if (in != out)
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "switch vertex %d: %lld trees can enter, %lld can leave", w,
                             (long long)in, (long long)out);
    }
    return WEFT_OK;
}

static weft_status prepare(struct weft_forest_splitter *s, struct weft_error *error)
{
    struct weft_forest_split *split = s->split;
    size_t n = (size_t)s->n, pairs = n * n;
    split->capacity = calloc(pairs, sizeof *split->capacity);
    split->direct = calloc(pairs, sizeof *split->direct);
    split->first_part = malloc(pairs * sizeof *split->first_part);
    s->flow = weft_maxflow_create(s->n + 1);
    bool has_cuts = weft_forest_cuts_init(&s->cuts, s->n);
    s->arc = malloc(pairs * sizeof *s->arc);
    s->root_arc = malloc(n * sizeof *s->root_arc);
    s->plain = malloc(pairs * sizeof *s->plain);
    s->box_out = malloc(n * sizeof *s->box_out);
    s->chosen = malloc(n * sizeof *s->chosen);
    s->shares = malloc(n * sizeof *s->shares);
    s->order = malloc(2 * n * sizeof *s->order);
    s->is_at_limit = calloc(pairs, sizeof *s->is_at_limit);
    s->in = malloc(n * sizeof *s->in);
    s->out = malloc(n * sizeof *s->out);
    s->box = malloc(n * sizeof *s->box);
    s->members = malloc(n * sizeof *s->members);
    s->box_first = malloc((n + 1) * sizeof *s->box_first);
    if (!split->capacity || !split->direct || !split->first_part || !s->flow || !s->arc ||
        !s->root_arc || !has_cuts || !s->is_at_limit || !s->plain || !s->box_out || !s->chosen ||
        !s->shares || !s->order || !s->in || !s->out || !s->box || !s->members || !s->box_first)
        return no_memory(error);
    memset(split->first_part, -1, pairs * sizeof *split->first_part);
    memset(s->arc, -1, pairs * sizeof *s->arc);
    for (int v = 0; v < split->num_terminals; v++) {
        s->root_arc[v] = weft_maxflow_add(s->flow, v, s->n, s->request->weight[v], 0);
        if (s->root_arc[v] < 0)
            return no_memory(error);
    }
    for (int a = 0; a < s->network->num_arcs; a++) {
        const struct weft_arc *arc = &s->network->arcs[a];
        if (s->request->capacity[a] > 0)
            WEFT_TRY(change(s, arc->from, arc->to, s->request->capacity[a], error));
    }
    memcpy(split->direct, split->capacity, pairs * sizeof *split->direct);
    return WEFT_OK;
}

static weft_status run(struct weft_forest_splitter *s, struct weft_error *error)
{
    int terminal = 0;
    WEFT_TRY(check_sums(s->network, s->request, &s->total, error));
    WEFT_TRY(prepare(s, error));
    WEFT_TRY(check_balance(s->split, error));
    int64_t lacking = lack(s, false, &terminal);
    if (lacking)
        return weft_fail(error, WEFT_UNSUPPORTED, "terminal %d: only %lld of %lld trees reach it",
                         terminal, (long long)(s->total - lacking), (long long)s->total);
    return s->total ? remove_switches(s, error) : WEFT_OK;
}

weft_status weft_forest_split_switches(const struct weft_network *network,
                                       const struct weft_forest_request *request, bool upwards,
                                       const struct weft_forest_observer *observer,
                                       struct weft_forest_split *split, struct weft_error *error)
{
    *split = (struct weft_forest_split){.num_vertices = network->num_vertices,
                                        .num_terminals = network->num_terminals};
    if (network->num_vertices > WEFT_FOREST_MAX_VERTICES)
        return weft_fail(error, WEFT_UNSUPPORTED, "forests of more than %d vertices",
                         WEFT_FOREST_MAX_VERTICES);
    struct weft_forest_splitter s = {.network = network,
                                     .request = request,
                                     .upwards = upwards,
                                     .observer = observer,
                                     .split = split,
                                     .n = network->num_vertices};
    weft_status status = run(&s, error);
    weft_maxflow_destroy(&s.flow);
    free(s.arc);
    free(s.root_arc);
    weft_forest_cuts_free(&s.cuts);
    free(s.is_at_limit);
    free(s.plain);
    free(s.order);
    free(s.shares);
    free(s.chosen);
    free(s.box_out);
    free(s.in);
    free(s.out);
    free(s.box);
    free(s.members);
    free(s.box_first);
    free(s.proposals);
    free(s.steps);
    return status;
}

void weft_forest_split_free(struct weft_forest_split *split)
{
    free(split->capacity);
    free(split->direct);
    free(split->first_part);
    free(split->parts);
    *split = (struct weft_forest_split){0};
}
