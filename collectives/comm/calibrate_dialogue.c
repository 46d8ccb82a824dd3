/*
 * SPDX-License-Identifier: Apache-2.0
 * Messages over any channel: the leading end orders so many of such a size, waits for the other end
 * to say that it is ready, and times them. Short ones go there and back, one after the other. Long
 * ones go one way only, with a word back at the end (WEFT_MEASUREMENTS_ONE_WAY_BYTES says why).
 */
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

enum { MAX_COUNT = 1 << 20 };

struct order {
    uint64_t bytes;
    uint64_t count; // 0: this was all
};

static bool is_one_way(const struct order *order)
{
    return order->bytes >= WEFT_MEASUREMENTS_ONE_WAY_BYTES;
}

struct lead {
    struct weft_channel *channel;
    char *buffer;
};

static void *allocate(int64_t bytes)
{
    void *memory = mmap(NULL, (size_t)(bytes > 0 ? bytes : 1), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static weft_status lead_once(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                             struct weft_error *error)
{
    struct lead *lead = user;
    struct weft_channel *channel = lead->channel;
    struct order order = {(uint64_t)bytes, (uint64_t)count}, answer;
    WEFT_TRY(channel->send(channel, &order, sizeof order, error));
    WEFT_TRY(channel->receive(channel, &answer, sizeof answer, error));
    if (memcmp(&answer, &order, sizeof order) != 0)
        return weft_fail(error, WEFT_MISMATCH, "the other end understood another order");
    int64_t start_ns = weft_clock_ns();
    for (int i = 0; i < count; i++) {
        WEFT_TRY(channel->send(channel, lead->buffer, (size_t)bytes, error));
        if (!is_one_way(&order))
            WEFT_TRY(channel->receive(channel, lead->buffer, (size_t)bytes, error));
    }
    if (is_one_way(&order))
        WEFT_TRY(channel->receive(channel, lead->buffer, 1, error));
    int64_t all_ns = weft_clock_ns() - start_ns;
    *elapsed_ns = is_one_way(&order) ? all_ns : all_ns / 2;
    return WEFT_OK;
}

/* Of short messages alone nobody knows what goes on and on. */
static void doubt_short_curve(struct weft_measurement *entry)
{
    if (entry->num_points > 0 && !entry->note[0] &&
        entry->curve[entry->num_points - 1].bytes < WEFT_MEASUREMENTS_ONE_WAY_BYTES)
        snprintf(entry->note, sizeof entry->note,
                 "not believed: too slow for messages of %d KiB in the time that was given",
                 WEFT_MEASUREMENTS_ONE_WAY_BYTES / 1024);
}

weft_status weft_dialogue_lead(struct weft_channel *channel,
                               const struct weft_calibrate_options *options,
                               struct weft_measurement *entry, struct weft_error *error)
{
    const struct order end = {0, 0};
    struct lead lead = {channel, allocate(options->max_bytes)};
    if (!lead.buffer)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for messages");
    const struct weft_sampler sampler = {lead_once, &lead};
    weft_status status = weft_calibrate_curve(&sampler, 1, options, entry, error);
    doubt_short_curve(entry);
    if (status == WEFT_OK)
        status = channel->send(channel, &end, sizeof end, error);
    munmap(lead.buffer, (size_t)options->max_bytes);
    return status;
}

static weft_status answer(struct weft_channel *channel, char *buffer, int64_t max_bytes,
                          struct weft_error *error)
{
    for (;;) {
        struct order order;
        WEFT_TRY(channel->receive(channel, &order, sizeof order, error));
        if (order.count == 0)
            return WEFT_OK;
        if (order.bytes > (uint64_t)max_bytes || order.count > MAX_COUNT)
            return weft_fail(error, WEFT_INVALID_FORMAT, "the other end orders too much");
        WEFT_TRY(channel->send(channel, &order, sizeof order, error));
        for (uint64_t i = 0; i < order.count; i++) {
            WEFT_TRY(channel->receive(channel, buffer, order.bytes, error));
            if (!is_one_way(&order))
                WEFT_TRY(channel->send(channel, buffer, order.bytes, error));
        }
        if (is_one_way(&order))
            WEFT_TRY(channel->send(channel, buffer, 1, error));
    }
}

weft_status weft_dialogue_follow(struct weft_channel *channel, int64_t max_bytes,
                                 struct weft_error *error)
{
    char *buffer = allocate(max_bytes);
    if (!buffer)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for messages");
    weft_status status = answer(channel, buffer, max_bytes, error);
    munmap(buffer, (size_t)max_bytes);
    return status;
}
