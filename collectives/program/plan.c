/*
 * SPDX-License-Identifier: Apache-2.0
 * Whether the plans of two ranks fit together; see plan.h. Equal hashes are all the proof there is;
 * what follows a difference only finds out where it lies.
 */
#include <stdlib.h>

#include "collectives/program/check.h"

static const struct weft_lane *lane_to(const struct weft_plan *plan, uint32_t channel, int peer)
{
    uint32_t low = 0, high;
    const struct weft_lane *lanes = weft_plan_lanes(plan, &high);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct weft_lane *lane = &lanes[middle];
        if (lane->channel == channel && lane->peer == (uint32_t)peer)
            return lane;
        if (lane->channel < channel || (lane->channel == channel && lane->peer < (uint32_t)peer))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static weft_status differ(const struct weft_plan *from, const struct weft_plan *to,
                          const struct weft_trace *sent, const struct weft_trace *promised,
                          struct weft_error *error)
{
    int sender = weft_plan_program(from)->shape.rank, receiver = weft_plan_program(to)->shape.rank;
    uint32_t k = 0;
    while (k < sent->count && k < promised->count &&
           sent->messages[k].hash == promised->messages[k].hash)
        k++;
    if (k < sent->count && k < promised->count)
        return weft_fail(error, WEFT_UNPROVED,
                         "rank %d step %u: message %u to rank %d on channel %u is not what its "
                         "step %u was promised (value, stamp or extent)",
                         sender, sent->messages[k].step, k, receiver, sent->channel,
                         promised->messages[k].step);
    if (k < sent->count)
        return weft_fail(error, WEFT_UNPROVED,
                         "rank %d step %u: message %u to rank %d on channel %u, which expects only "
                         "%u there",
                         sender, sent->messages[k].step, k, receiver, sent->channel,
                         promised->count);
    if (k < promised->count)
        return weft_fail(error, WEFT_UNPROVED,
                         "rank %d step %u: expects message %u from rank %d on channel %u, which "
                         "sends only %u there",
                         receiver, promised->messages[k].step, k, sender, sent->channel,
                         sent->count);
    return weft_fail(error, WEFT_UNPROVED,
                     "rank %d after step %u: declares other results than rank %d", sender,
                     weft_plan_program(from)->num_steps, receiver);
}

static weft_status explain(const struct weft_plan *from, const struct weft_plan *to,
                           uint32_t channel, struct weft_error *error)
{
    const struct weft_program *sender = weft_plan_program(from), *receiver = weft_plan_program(to);
    struct weft_trace sent = {
        .peer = (uint32_t)receiver->shape.rank, .channel = channel, .is_send = true};
    struct weft_trace promised = {.peer = (uint32_t)sender->shape.rank, .channel = channel};
    weft_status status = weft_check_trace(sender, &sent, error);
    if (status == WEFT_OK)
        status = weft_check_trace(receiver, &promised, error);
    if (status == WEFT_OK)
        status = differ(from, to, &sent, &promised, error);
    free(sent.messages);
    free(promised.messages);
    return status;
}

// What `from` sends `to` on every channel is what `to` was promised.
static weft_status compare_direction(const struct weft_plan *from, const struct weft_plan *to,
                                     struct weft_error *error)
{
    int sender = weft_plan_program(from)->shape.rank, receiver = weft_plan_program(to)->shape.rank;
    uint32_t channels = weft_plan_program(from)->num_channels;
    if (weft_plan_program(to)->num_channels > channels)
        channels = weft_plan_program(to)->num_channels;
    for (uint32_t channel = 0; channel < channels; channel++) {
        const struct weft_lane *out = lane_to(from, channel, receiver);
        const struct weft_lane *in = lane_to(to, channel, sender);
        uint32_t sends = out ? out->num_sends : 0, receives = in ? in->num_receives : 0;
        if (sends != receives || (sends && out->send_hash != in->receive_hash))
            return explain(from, to, channel, error);
    }
    return WEFT_OK;
}

static bool is_pair(const struct weft_shape *shape)
{
    return shape->collective == WEFT_SEND || shape->collective == WEFT_RECV;
}

// Ranks that exchange messages prove this by their hashes; those that exchange none do not.
static weft_status compare_shapes(const struct weft_shape *a, const struct weft_shape *b,
                                  struct weft_error *error)
{
    bool is_alike =
        a->num_ranks == b->num_ranks && a->pieces == b->pieces &&
        (is_pair(a) ? is_pair(b) : a->collective == b->collective && a->root == b->root);
    if (a->rank != b->rank && is_alike)
        return WEFT_OK;
    return weft_fail(error, WEFT_UNPROVED, "rank %d step 0: %s rank %d", a->rank,
                     is_alike ? "a second plan of"
                              : "its plan is of another collective, size, root or number of pieces "
                                "than that of",
                     b->rank);
}

weft_status weft_plan_compare(const struct weft_plan *a, const struct weft_plan *b,
                              struct weft_error *error)
{
    WEFT_TRY(compare_shapes(&weft_plan_program(a)->shape, &weft_plan_program(b)->shape, error));
    WEFT_TRY(compare_direction(a, b, error));
    return compare_direction(b, a, error);
}

weft_status weft_plans_agree(struct weft_plan *const *plans, int num_ranks,
                             struct weft_error *error)
{
    for (int a = 0; a < num_ranks; a++)
        for (int b = a + 1; b < num_ranks; b++)
            WEFT_TRY(weft_plan_compare(plans[a], plans[b], error));
    return WEFT_OK;
}
