/*
 * SPDX-License-Identifier: Apache-2.0
 * Large messages over stripes: which of them takes the next fragment, when a message is done, and
 * how it goes on when a stripe has failed. The idea is in tcp_stripes.h.
 */
#include "transport/tcp_stripes.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    FRAGMENTS_PER_VISIT = 32,
    READS_PER_ROUND = 256,    // about: then others have their turn, and deadlines
    ASSUMED_RATE = 100000000, // until one is measured
};

static const int64_t look_ns = 10000000;

/* ---- sending ---- */

static void load_free(struct tcp_stripes *stripes, struct tcp_load *load)
{
    load->transfer = NULL;
    stripes->num_loads--;
}

static bool take(struct weft_packet_link *packets, struct weft_transfer *transfer, uint64_t handle,
                 uint8_t unit)
{
    struct tcp_link *link = (struct tcp_link *)packets;
    if (transfer->bytes < TCP_STRIPED_BYTES)
        return false;
    weft_tcp_stripes_begin(link);
    struct tcp_stripes *stripes = link->stripes;
    if (!stripes || stripes->num_up < 2)
        return false;
    for (int i = 0; i < TCP_LOADS; i++) {
        struct tcp_load *load = &stripes->loads[i];
        if (load->transfer)
            continue;
        *load = (struct tcp_load){
            .transfer = transfer, .name = ++stripes->num_named, .handle = handle, .unit = unit};
        stripes->num_loads++;
        return true;
    }
    return false;
}

bool weft_tcp_stripes_are_sending(const struct tcp_link *link)
{
    return link->stripes && link->stripes->num_loads;
}

/* The next one in turn of which something is to be sent. */
static struct tcp_load *next_load(struct tcp_stripes *stripes)
{
    for (int i = 0; stripes->num_loads && i < TCP_LOADS; i++) {
        struct tcp_load *load = &stripes->loads[(stripes->next_load + i) % TCP_LOADS];
        if (load->transfer && !load->rewinding && load->offset < load->transfer->bytes) {
            stripes->next_load = (int)(load - stripes->loads + 1) % TCP_LOADS;
            return load;
        }
    }
    return NULL;
}

static uint64_t highest_rate(const struct tcp_stripes *stripes)
{
    uint64_t highest = 0;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++)
        if (stripes->each[i].state == TCP_STRIPE_IS_UP && stripes->each[i].rate > highest)
            highest = stripes->each[i].rate;
    return highest ? highest : ASSUMED_RATE;
}

static uint64_t bytes_left(const struct tcp_stripes *stripes)
{
    uint64_t bytes = 0;
    for (int i = 0; i < TCP_LOADS; i++)
        if (stripes->loads[i].transfer)
            bytes += stripes->loads[i].transfer->bytes - stripes->loads[i].offset;
    return bytes;
}

/* The stripe on which one more fragment is through first. Where that has no room: the best of those
 * that have, unless the first one would have carried all that is left by then. So all of them are
 * kept busy as long as there is enough for all, whatever their rates are thought to be: who is
 * thought slower than he is, and given the less for it, would never show how fast he is. */
static struct tcp_stripe *choose(struct tcp_stripes *stripes)
{
    uint64_t highest = highest_rate(stripes), best_us = UINT64_MAX, roomy_us = UINT64_MAX;
    struct tcp_stripe *best = NULL, *roomy = NULL;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        struct tcp_stripe *stripe = &stripes->each[i];
        if (stripe->state != TCP_STRIPE_IS_UP)
            continue;
        uint64_t queued = weft_tcp_stripe_queued(stripe);
        stripe->ran_dry |= queued == 0;
        uint64_t rate = stripe->rate ? stripe->rate : highest;
        uint64_t us = (queued + TCP_STRIPE_BYTES) * 1000000 / rate;
        if (us < best_us) {
            best_us = us;
            best = stripe;
        }
        if (!stripe->blocked && us < roomy_us) {
            roomy_us = us;
            roomy = stripe;
        }
    }
    if (!best || !best->blocked)
        return best;
    return roomy && roomy_us <= best_us + bytes_left(stripes) * 1000000 / highest ? roomy : NULL;
}

static int serve(struct tcp_stripes *stripes)
{
    int count = 0;
    while (count < FRAGMENTS_PER_VISIT && stripes->num_loads) {
        struct tcp_stripe *stripe = choose(stripes);
        struct tcp_load *load = stripe ? next_load(stripes) : NULL;
        if (!load || !weft_tcp_stripe_send(stripe, load))
            break;
        count++;
    }
    return count;
}

/* ---- what the peer says ---- */

static void violation(struct tcp_link *link, const char *what)
{
    weft_packet_fail(&link->packets, "peer broke the protocol: %s", what);
}

static struct tcp_load *find_load(struct tcp_stripes *stripes, uint64_t name)
{
    for (int i = 0; i < TCP_LOADS; i++)
        if (stripes->loads[i].transfer && stripes->loads[i].name == name)
            return &stripes->loads[i];
    return NULL;
}

/* Whether a stripe still reads from the memory of a load. */
static bool is_lent(const struct tcp_stripes *stripes, const struct tcp_load *load)
{
    for (int i = 0; i < TCP_DOORS_LIMIT; i++)
        if (stripes->each[i].load == load)
            return true;
    return false;
}

static void unborrow(struct tcp_stripes *stripes, const struct tcp_load *load)
{
    for (int i = 0; i < TCP_DOORS_LIMIT; i++)
        if (stripes->each[i].load == load)
            weft_tcp_stripe_unborrow(&stripes->each[i]);
}

static void resume_in_packets(struct tcp_link *link, struct tcp_load *load)
{
    struct weft_transfer *transfer = load->transfer;
    uint64_t handle = load->handle, offset = load->offset;
    load_free(link->stripes, load);
    weft_packet_resume(&link->packets, transfer, handle, offset);
}

static void on_done(struct tcp_link *link, const struct weft_packet *packet)
{
    struct tcp_load *load = find_load(link->stripes, packet->handle);
    if (!load) // cancelled meanwhile
        return;
    struct weft_transfer *transfer = load->transfer;
    if (load->offset != transfer->bytes || is_lent(link->stripes, load)) {
        violation(link, "a message received before it was sent");
        return;
    }
    load_free(link->stripes, load);
    weft_packet_sent(&link->packets, transfer);
}

static void on_rewind(struct tcp_link *link, const struct weft_packet *packet)
{
    struct weft_packet answer = {.type = TCP_PACKET_REWOUND, .handle = packet->value};
    uint64_t offset = 0;
    answer.value = weft_packet_rename(&link->packets, packet->handle, &offset);
    answer.call = offset;
    weft_packet_control_put(&link->packets, &answer);
}

static void on_rewound(struct tcp_link *link, const struct weft_packet *packet)
{
    struct tcp_load *load = find_load(link->stripes, packet->handle);
    if (!load) // it was done, or is cancelled
        return;
    struct weft_transfer *transfer = load->transfer;
    if (!load->rewinding || packet->call > load->offset || packet->call >= transfer->bytes) {
        violation(link, "a message further than it was sent");
        return;
    }
    unborrow(link->stripes,
             load);       // what is half sent for the old handle: the message may be over first
    if (!packet->value) { // nobody wants the rest
        load_free(link->stripes, load);
        weft_packet_sent(&link->packets, transfer);
        return;
    }
    load->handle = packet->value;
    load->offset = packet->call;
    load->stripes = 0;
    load->rewinding = false;
    if (!link->stripes->num_up)
        resume_in_packets(link, load);
}

static void on_down(struct tcp_link *link, const struct weft_packet *packet)
{
    struct tcp_stripe *stripe = &link->stripes->each[packet->value % TCP_DOORS_LIMIT];
    if (stripe->state == TCP_STRIPE_IS_UP && stripe->name == packet->value)
        weft_tcp_stripe_fail(stripe, "the other end has lost it", true);
}

void weft_tcp_stripes_told(struct tcp_link *link, const struct weft_packet *packet)
{
    static void (*const handlers[])(struct tcp_link *, const struct weft_packet *) = {
        [TCP_PACKET_DOWN - TCP_PACKET_CALL] = on_down,
        [TCP_PACKET_REWIND - TCP_PACKET_CALL] = on_rewind,
        [TCP_PACKET_REWOUND - TCP_PACKET_CALL] = on_rewound,
        [TCP_PACKET_DONE - TCP_PACKET_CALL] = on_done,
    };
    unsigned type = packet->type - TCP_PACKET_CALL;
    if (packet->payload_bytes || type >= sizeof handlers / sizeof *handlers)
        violation(link, "malformed packet");
    else if (type == 0)
        weft_tcp_stripes_begin(link);
    else if (link->stripes)
        handlers[type](link, packet);
}

/* ---- failure ---- */

static void rewind_load(struct tcp_link *link, struct tcp_load *load)
{
    const struct weft_packet packet = {
        .type = TCP_PACKET_REWIND, .handle = load->handle, .value = load->name};
    load->rewinding = true;
    weft_packet_control_put(&link->packets, &packet);
}

static void stop_stripe(struct tcp_stripe *stripe)
{
    if (stripe->state == TCP_STRIPE_IS_UP)
        stripe->link->stripes->num_up--;
    stripe->load = NULL;
    weft_tcp_out_drop(&stripe->out);
    weft_tcp_stripe_hang_up(stripe);
}

void weft_tcp_stripe_fail(struct tcp_stripe *stripe, const char *reason, bool is_told)
{
    struct tcp_link *link = stripe->link;
    struct tcp_stripes *stripes = link->stripes;
    unsigned number = (unsigned)(stripe - stripes->each);
    char peer[WEFT_PACKET_REASON_BYTES];
    weft_tcp_door_text(link, stripe->checks.door, peer, sizeof peer);
    WEFT_LOG(is_told ? WEFT_LOG_INFO : WEFT_LOG_WARN,
             "tcp: stripe %u of the connection to %s: %s; %d left", number, peer, reason,
             stripes->num_up - 1);
    stop_stripe(stripe);
    const struct weft_packet down = {.type = TCP_PACKET_DOWN, .value = stripe->name};
    if (!is_told)
        weft_packet_control_put(&link->packets, &down);
    for (int i = 0; i < TCP_LOADS; i++) {
        struct tcp_load *load = &stripes->loads[i];
        if (!load->transfer || load->rewinding)
            continue;
        if (load->stripes >> number & 1)
            rewind_load(link, load);
        else if (!stripes->num_up)
            resume_in_packets(link, load);
    }
}

static void accept_nothing(struct weft_packet_link *link, struct weft_transfer *transfer,
                           uint64_t handle)
{
    (void)link;
    (void)transfer;
    (void)handle; // fragments name it, and that is enough
}

static void take_back(struct weft_packet_link *packets, struct weft_transfer *transfer,
                      bool is_over)
{
    struct tcp_stripes *stripes = ((struct tcp_link *)packets)->stripes;
    (void)is_over;
    for (int i = 0; stripes && stripes->num_loads && i < TCP_LOADS; i++) {
        struct tcp_load *load = &stripes->loads[i];
        if (load->transfer != transfer)
            continue;
        load_free(stripes, load); // first: nothing asks for it any more
        unborrow(stripes, load);
    }
}

static void stop(struct weft_packet_link *packets)
{
    weft_tcp_stripes_close((struct tcp_link *)packets);
}

const struct weft_packet_direct weft_tcp_stripes_direct = {
    .accept = accept_nothing, .take = take, .revoke = take_back, .stop = stop};

void weft_tcp_stripes_close(struct tcp_link *link)
{
    struct tcp_stripes *stripes = link->stripes;
    if (!stripes)
        return;
    for (int i = 0; i < TCP_LOADS; i++)
        stripes->loads[i].transfer = NULL;
    stripes->num_loads = 0;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        stop_stripe(&stripes->each[i]);
        stripes->each[i].retry_ns = INT64_MAX;
    }
}

void weft_tcp_stripes_free(struct tcp_link *link)
{
    weft_tcp_stripes_close(link);
    for (int i = 0; link->stripes && i < TCP_DOORS_LIMIT; i++)
        weft_tcp_check_free(&link->stripes->each[i].checks);
    free(link->stripes);
    link->stripes = NULL;
}

/* ---- progress ---- */

static void look(struct tcp_stripes *stripes, int64_t now)
{
    if (now - stripes->looked_ns < look_ns)
        return;
    stripes->looked_ns = now;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        struct tcp_stripe *stripe = &stripes->each[i];
        if (stripe->state == TCP_STRIPE_IS_UP && !weft_tcp_stripe_look(stripe, now))
            weft_tcp_stripe_fail(stripe, "no word for 3 s", false);
    }
}

/* Their turn may have come: epoll tells of what they have, even to an owner that sleeps next. */
static void watch_waiting(struct tcp_stripes *stripes)
{
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        stripes->each[i].waiting = false;
        weft_tcp_stripe_watch(&stripes->each[i]);
    }
}

/* What one stripe takes may be what another one waits for. */
static int read_all(struct tcp_stripes *stripes, bool also_sockets)
{
    int count = 0;
    for (int before = -1; before != count && count < READS_PER_ROUND; also_sockets = false) {
        before = count;
        for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
            struct tcp_stripe *stripe = &stripes->each[i];
            if (stripe->state == TCP_STRIPE_IS_UP && (also_sockets || stripe->waiting))
                count += weft_tcp_stripe_read(stripe);
        }
    }
    if (count >= READS_PER_ROUND)
        watch_waiting(stripes);
    return count;
}

int weft_tcp_stripes_progress(struct tcp_link *link, bool simple, bool *hurried)
{
    struct tcp_stripes *stripes = link->stripes;
    int count = 0;
    if (link->state != TCP_UP)
        return 0;
    if (!simple) {
        int64_t now = weft_clock_ns();
        *hurried |= weft_tcp_stripes_meet(link, now) || stripes->num_loads;
        look(stripes, now);
    }
    if (stripes->num_up)
        count += read_all(stripes, simple && weft_packet_is_expecting(&link->packets));
    return count + serve(stripes);
}
