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
#include "topology/forest_private.h"

#include <stdlib.h>
#include <string.h>

#include "topology/maxflow.h"

enum {
    MOST_IN_HOPE = 64,  // switches that one look at all terminals is for
    MOST_ATTEMPTS = 4,  // with the same switch, and with the same pairs
    MOST_NEW_CUTS = 16, // kept from one attempt
};

struct proposal {
    int u, t;
    int64_t amount;
    int64_t taken; // what the cuts known so far allow
};

// A pair of switch `w` that was split in hope.
struct step {
    int w;
    struct proposal pair;
};

struct share {
    int box, turn;
    int64_t amount, remainder;
};

struct splitter {
    const struct weft_network *network;
    const struct weft_forest_request *request;
    bool upwards;
    const struct weft_forest_observer *observer;
    struct weft_forest_split *split;
    int n;
    int64_t total;             // weight
    int64_t flows;             // asked so far
    struct weft_maxflow *flow; // backward: from a terminal to the common source, vertex n
    int *arc;                  // (n, n) of `flow`; -1: none yet
    int *root_arc;             // (num_terminals)
    struct weft_forest_cuts cuts;
    bool is_certain;      // whatever is split at the switch at work, no cut gets worse
    int64_t *plain;       // (n, n) capacities once nothing but real switches is left
    int64_t *box_out;     // (n) what can leave to each box
    struct share *shares; // (n) of one neighbour, scratch of spreading
    int *chosen;          // (n) boxes, scratch of spreading
    int *order;           // (n, 2) switches beside each switch, and itself
    bool *is_at_limit;    // (n, n) pairs of the switch at work
    int64_t *in, *out;    // (n) what is left between the switch at work and its neighbours
    int *box, *members;   // (n) scratch of spreading
    int *box_first;       // (n + 1)
    struct proposal *proposals;
    int num_proposals, room;
    bool is_hopeful, is_stuck;
    struct step *steps; // since the last look
    int num_steps, room_for_steps;
};

static int64_t *capacity_of(struct weft_forest_split *split, int from, int to)
{
    return &split->capacity[(size_t)from * (size_t)split->num_vertices + (size_t)to];
}

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a forest");
}

static weft_status change(struct splitter *s, int from, int to, int64_t amount,
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
static uint64_t between(const struct splitter *s, int w, const struct proposal *p, int word)
{
    const uint64_t *inside = &s->cuts.inside[word];
    uint64_t at_w = inside[(size_t)w * WEFT_FOREST_CUT_WORDS];
    return (inside[(size_t)p->u * WEFT_FOREST_CUT_WORDS] ^ at_w) &
           (inside[(size_t)p->t * WEFT_FOREST_CUT_WORDS] ^ at_w);
}

/* Pair `p` of switch w split by `amount` more; below 0: joined again. */
static weft_status shift(struct splitter *s, int w, const struct proposal *p, int64_t amount,
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
static int64_t bound(const struct splitter *s, int w, const struct proposal *p)
{
    int64_t most = p->amount;
    for (int word = 0; word * 64 < s->cuts.num; word++)
        for (uint64_t set = between(s, w, p, word); set; set &= set - 1) {
            int64_t slack = s->cuts.slack[word * 64 + __builtin_ctzll(set)];
            most = slack < most ? slack : most;
        }
    return most > 0 ? most : 0;
}

static bool is_behind_new_cut(const struct splitter *s, int v, int num_ever)
{
    for (int c = num_ever; c < s->cuts.num_ever; c++)
        if (weft_forest_cuts_has(&s->cuts, c % WEFT_FOREST_MAX_CUTS, v))
            return true;
    return false;
}

/* What the worst cut lacks (`some`: the worst of a few that differ), and a terminal behind it; what
 * lacks something is kept. A terminal that is reached well enough joins the source for those after
 * it: cuts that hold it back are known to be good. */
static int64_t lack(struct splitter *s, bool some, int *terminal)
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

static weft_status remember(struct splitter *s, int w, const struct proposal *p, int64_t amount,
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
static weft_status try_pairs(struct splitter *s, int w, struct proposal *proposals, int count,
                             int64_t *lacking, struct weft_error *error)
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

static void limit(struct splitter *s, const struct proposal *p)
{
    if (p->taken < p->amount)
        s->is_at_limit[(size_t)p->u * (size_t)s->n + (size_t)p->t] = true;
}

/* As far as kept cuts allow; whether that was too much is looked at later. */
static weft_status split_off_in_hope(struct splitter *s, int w, struct proposal *proposals,
                                     int count, struct weft_error *error)
{
    if (s->num_steps > s->room_for_steps - count) {
        int room = 2 * (s->num_steps + count);
        struct step *steps = realloc(s->steps, (size_t)room * sizeof *steps);
        if (!steps)
            return no_memory(error);
        s->steps = steps;
        s->room_for_steps = room;
    }
    for (int i = 0; i < count; i++) {
        struct proposal *p = &proposals[i];
        p->taken = bound(s, w, p);
        limit(s, p);
        if (p->taken > 0) {
            WEFT_TRY(shift(s, w, p, p->taken, error));
            s->steps[s->num_steps++] = (struct step){w, *p};
        }
    }
    return WEFT_OK;
}

static weft_status check_flows(const struct splitter *s, struct weft_error *error)
{
    if (s->flows <= WEFT_FOREST_MAX_FLOWS)
        return WEFT_OK;
    return weft_fail(error, WEFT_UNSUPPORTED, "a forest that takes more than %d maximum flows",
                     WEFT_FOREST_MAX_FLOWS);
}

/* Splits off as much of proposals[0 .. count) as cuts allow, one after the other. */
static weft_status split_off(struct splitter *s, int w, struct proposal *proposals, int count,
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
        const struct proposal *p = &proposals[i];
        limit(s, p);
        if (p->taken > 0)
            WEFT_TRY(remember(s, w, p, p->taken, error));
    }
    return WEFT_OK;
}

static weft_status propose(struct splitter *s, int u, int t, int64_t amount,
                           struct weft_error *error)
{
    if (amount > s->in[u])
        amount = s->in[u];
    if (amount > s->out[t])
        amount = s->out[t];
    if (amount <= 0 || s->is_at_limit[(size_t)u * (size_t)s->n + (size_t)t])
        return WEFT_OK;
    if (s->num_proposals == s->room) {
        int room = s->room ? 2 * s->room : 256;
        struct proposal *proposals = realloc(s->proposals, (size_t)room * sizeof *proposals);
        if (!proposals)
            return no_memory(error);
        s->proposals = proposals;
        s->room = room;
    }
    s->proposals[s->num_proposals++] = (struct proposal){u, t, amount, 0};
    s->in[u] -= amount;
    s->out[t] -= amount;
    return WEFT_OK;
}

static int root_of(int *box, int v)
{
    while (box[v] != v)
        v = box[v] = box[box[v]];
    return v;
}

/* s->box: terminals that arcs stronger than all at the switch at work join are in one box.
 * Everything else is alone. */
static void find_boxes(struct splitter *s)
{
    int num_terminals = s->split->num_terminals;
    const int64_t *plain = s->plain;
    int64_t strongest = 0;
    for (int v = 0; v < s->n; v++)
        s->box[v] = v;
    for (int v = 0; v < num_terminals; v++) {
        strongest = s->in[v] > strongest ? s->in[v] : strongest;
        strongest = s->out[v] > strongest ? s->out[v] : strongest;
    }
    for (int v = 0; v < num_terminals && strongest > 0; v++)
        for (int u = 0; u < s->n; u++)
            if (plain[(size_t)v * (size_t)s->n + (size_t)u] > strongest) {
                int x = root_of(s->box, v), y = root_of(s->box, u);
                s->box[x > y ? x : y] = x < y ? x : y;
            }
    for (int v = 0; v < s->n; v++)
        s->box[v] = root_of(s->box, v);
}

/* Neighbours below `limit`, box by box, into members and box_first; returns how many boxes. */
static int list_members(struct splitter *s, int limit, bool alone)
{
    int count = 0, boxes = 0;
    for (int b = 0; b < s->n; b++) {
        int before = count;
        for (int v = 0; v < limit; v++)
            if ((alone || v >= s->split->num_terminals ? v : s->box[v]) == b &&
                (s->in[v] > 0 || s->out[v] > 0))
                s->members[count++] = v;
        if (count > before)
            s->box_first[boxes++] = before;
    }
    s->box_first[boxes] = count;
    return boxes;
}

/* From the member of place `place` in a box of `size` to box `other`: to the member of the same
 * place, to several where that box is larger. */
static weft_status spread_to_box(struct splitter *s, int u, int place, int size, int other,
                                 int64_t amount, struct weft_error *error)
{
    const int *members = &s->members[s->box_first[other]];
    int other_size = s->box_first[other + 1] - s->box_first[other], first = place % other_size;
    int count = place < other_size ? (other_size - place + size - 1) / size : 1;
    for (int i = 0; i < count; i++) {
        int64_t share = amount / count + (i < amount % count);
        WEFT_TRY(propose(s, u, members[first + i * size], share, error));
    }
    return WEFT_OK;
}

/* Into s->chosen: the other boxes that u, of box b, has least capacity to by now, in turn from b
 * on; returns how many. */
static int choose_boxes(struct splitter *s, int u, int b, int boxes)
{
    int64_t least = INT64_MAX;
    int count = 0;
    for (int d = 1; d < boxes; d++) {
        int o = (b + d) % boxes;
        int64_t capacity = 0;
        for (int i = s->box_first[o]; i < s->box_first[o + 1]; i++)
            capacity += *capacity_of(s->split, u, s->members[i]);
        if (s->box_out[o] == 0 || capacity > least)
            continue;
        if (capacity < least)
            count = 0;
        least = capacity;
        s->chosen[count++] = o;
    }
    return count;
}

static int compare_shares(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    if (x->remainder != y->remainder)
        return x->remainder > y->remainder ? -1 : 1;
    return (x->turn > y->turn) - (x->turn < y->turn);
}

/* Each neighbour sends to such boxes as evenly as their shares of the switch and whole numbers go
 * (largest remainders, in turn where equal): one hop to any box, and few arcs. */
static weft_status spread_from(struct splitter *s, int b, int place, int boxes,
                               struct weft_error *error)
{
    int u = s->members[s->box_first[b] + place], size = s->box_first[b + 1] - s->box_first[b];
    int count = choose_boxes(s, u, b, boxes);
    int64_t in = s->in[u], rest = in, others = 0;
    for (int c = 0; c < count; c++)
        others += s->box_out[s->chosen[c]];
    for (int c = 0; c < count; c++) {
        __int128 product = (__int128)in * s->box_out[s->chosen[c]];
        s->shares[c] = (struct share){.box = s->chosen[c],
                                      .turn = (c + place) % count,
                                      .amount = (int64_t)(product / others),
                                      .remainder = (int64_t)(product % others)};
        rest -= s->shares[c].amount;
    }
    if (count > 0)
        qsort(s->shares, (size_t)count, sizeof *s->shares, compare_shares);
    for (int c = 0; c < count; c++)
        WEFT_TRY(spread_to_box(s, u, place, size, s->shares[c].box,
                               s->shares[c].amount + (c < rest), error));
    return WEFT_OK;
}

static weft_status spread_over(struct splitter *s, int boxes, struct weft_error *error)
{
    for (int b = 0; b < boxes; b++) {
        s->box_out[b] = 0;
        for (int i = s->box_first[b]; i < s->box_first[b + 1]; i++)
            s->box_out[b] += s->out[s->members[i]];
    }
    for (int b = 0; b < boxes; b++)
        for (int place = 0; place < s->box_first[b + 1] - s->box_first[b]; place++)
            WEFT_TRY(spread_from(s, b, place, boxes, error));
    return WEFT_OK;
}

static weft_status spread(struct splitter *s, struct weft_error *error)
{
    int num_terminals = s->split->num_terminals;
    int boxes = list_members(s, num_terminals, false);
    if (boxes >= 2) {
        bool has_switches = false;
        for (int v = num_terminals; v < s->n; v++)
            has_switches = has_switches || s->in[v] > 0 || s->out[v] > 0;
        s->split->has_tiers = s->split->has_tiers || has_switches;
        if (has_switches && s->upwards)
            boxes = list_members(s, s->n, false);
        return spread_over(s, boxes, error);
    }
    boxes = list_members(s, num_terminals, true);
    if (boxes < 2)
        boxes = list_members(s, s->n, true);
    return boxes < 2 ? WEFT_OK : spread_over(s, boxes, error);
}

/* All that is left: pairs of different boxes, then of one box, then ways back. */
static weft_status propose_rest(struct splitter *s, struct weft_error *error)
{
    for (int round = 0; round < 3; round++)
        for (int u = 0; u < s->n; u++)
            for (int d = 1; d <= s->n && s->in[u] > 0; d++) {
                int t = (u + d) % s->n;
                int kind = u == t ? 2 : s->box[u] == s->box[t];
                if (kind == round)
                    WEFT_TRY(propose(s, u, t, s->in[u], error));
            }
    return WEFT_OK;
}

static int64_t read_switch(struct splitter *s, int w)
{
    int64_t left = 0;
    for (int v = 0; v < s->n; v++) {
        s->in[v] = *capacity_of(s->split, v, w);
        s->out[v] = *capacity_of(s->split, w, v);
        left += s->in[v];
    }
    s->num_proposals = 0;
    return left;
}

static weft_status split_rest(struct splitter *s, int w, struct weft_error *error)
{
    while (read_switch(s, w) > 0) {
        WEFT_TRY(propose_rest(s, error));
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
static weft_status remove_passages(struct splitter *s, struct weft_error *error)
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

static weft_status remove_switch(struct splitter *s, int w, struct weft_error *error)
{
    if (read_switch(s, w) == 0)
        return WEFT_OK;
    memset(s->is_at_limit, 0, (size_t)s->n * (size_t)s->n * sizeof *s->is_at_limit);
    find_boxes(s);
    WEFT_TRY(spread(s, error));
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
static weft_status remove_some(struct splitter *s, int *next, int end, int *count, int *failures,
                               struct weft_error *error)
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
static weft_status remove_switches(struct splitter *s, struct weft_error *error)
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
            in += *capacity_of(split, v, w);
            out += *capacity_of(split, w, v);
        }
        if (in != out)
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "switch vertex %d: %lld trees can enter, %lld can leave", w,
                             (long long)in, (long long)out);
    }
    return WEFT_OK;
}

static weft_status prepare(struct splitter *s, struct weft_error *error)
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

static weft_status run(struct splitter *s, struct weft_error *error)
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
    struct splitter s = {.network = network,
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
