/*
 * SPDX-License-Identifier: Apache-2.0
 * RDMA verbs: devices, connections and the round of progress. Without libibverbs, or without a
 * usable port, there is none, with the reason. A round polls completions; the inner TCP device and
 * events of the HCAs are looked at now and then, and always while this process is about to sleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/verbs_words.h"
#include "transport/no_memory.h"
#include "transport/verbs_parts.h"

enum {
    LOOK_EVERY = 128, // progress calls between two looks at the inner device and at events
    PACKETS_PER_VISIT = 64,
    FLUSH_MS = 100, // close waits at most this long for bytes on their way
    KEPT_REGIONS = 1024,
};

static const uint64_t address_magic = 0x7362727674667701u;
static const int64_t linger_ns = 2000000000;

void weft_verbs_link_turn(struct verbs_link *link, enum verbs_state state)
{
    weft_verbs_device_of(link)->num_meeting -= link->state < VERBS_UP;
    link->state = state;
    weft_verbs_device_of(link)->num_meeting += link->state < VERBS_UP;
}

void weft_verbs_link_fail(struct verbs_link *link, const char *format, ...)
{
    char reason[WEFT_PACKET_REASON_BYTES];
    if (link->state == VERBS_DEAD)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    weft_verbs_link_turn(link, VERBS_DEAD); // progress takes it apart
    if (!link->is_leaving)
        weft_packet_fail(&link->packets, "%s", weft_verbs_unnamed(reason, "verbs: "));
}

/* ---- leaving ---- */

static bool is_busy(const struct verbs_rail *rail)
{
    return rail->is_used && !rail->is_tried && rail->sent != rail->done;
}

static bool is_idle(const struct verbs_link *link)
{
    if (!weft_verbs_is_replayed(link))
        return false;
    for (int i = 0; i < link->num_rails; i++)
        if (is_busy(link->rails[i]))
            return false;
    return true;
}

/* Sends that have completed still have to arrive: the last work request of each rail says when. */
static void finish(struct verbs_link *link)
{
    for (int i = 0; i < link->num_rails; i++)
        if (is_busy(link->rails[i]))
            weft_verbs_mark(link->rails[i]);
    link->is_finished = true;
}

/* Frees links whose bytes have arrived, or never will. */
static void reap_leaving(struct verbs_device *device, int64_t now)
{
    struct verbs_link **place = &device->leaving;
    while (*place) {
        struct verbs_link *link = *place;
        bool is_up = link->state == VERBS_UP;
        if (link->state < VERBS_UP)
            weft_verbs_resync_step(link);
        else if (is_up && !link->is_finished && weft_verbs_is_replayed(link))
            finish(link);
        if (now > link->ended_ns || link->state > VERBS_UP || (is_up && is_idle(link))) {
            *place = link->next;
            weft_verbs_link_turn(link, VERBS_DEAD);
            weft_verbs_part(link);
            free(link);
        } else {
            place = &link->next;
        }
    }
}

/* ---- progress ---- */

/* Whether what happened is about this port. */
static bool is_about(const struct weft_verbs_port *port, int hca,
                     const struct ibv_async_event *event)
{
    bool is_of_port =
        event->event_type == IBV_EVENT_PORT_ERR || event->event_type == IBV_EVENT_PORT_ACTIVE ||
        event->event_type == IBV_EVENT_GID_CHANGE || event->event_type == IBV_EVENT_LID_CHANGE;
    bool is_of_device = event->event_type == IBV_EVENT_DEVICE_FATAL;
    return port->device == hca &&
           (is_of_device || (is_of_port && port->port == event->element.port_num));
}

static void tell_of_port(struct verbs_link *link, struct verbs_rail *rail, const char *what)
{
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    if (!weft_verbs_device_of(link)->is_down[rail->path->own]) {
        link->renewed |= UINT64_C(1) << (rail->path - link->paths);
        rail->is_bad = false;
    }
    weft_verbs_trouble(link, NULL, "%s: %s", weft_verbs_rail_text(rail, text, sizeof text), what);
}

/* A port has gone or come back: the links that use it go on without or with it. */
static void event_came(struct verbs_device *device, int hca, const struct ibv_async_event *event)
{
    for (int p = 0; p < device->ports.num_ports; p++) {
        struct weft_error error;
        bool has_moved = false;
        if (!is_about(&device->ports.ports[p], hca, event))
            continue;
        bool was_down = device->is_down[p];
        device->is_down[p] =
            event->event_type == IBV_EVENT_DEVICE_FATAL ||
            weft_verbs_port_renew(&device->ports, p, "/", &has_moved, &error) != WEFT_OK ||
            has_moved;
        for (struct verbs_link *link = device->links; link && device->is_down[p] != was_down;
             link = link->next)
            for (int k = 0; k < link->num_rails; k++)
                if (link->paths[k].own == p && link->rails[k])
                    tell_of_port(link, link->rails[k], weft_async_event_name(event->event_type));
    }
}

static int look_at_events(struct verbs_device *device)
{
    int count = 0;
    for (int i = 0; i < device->ports.num_devices; i++) {
        struct ibv_async_event event;
        struct ibv_cq *cq;
        void *unused;
        while (device->verbs.get_async_event(device->ports.devices[i].context, &event) == 0) {
            event_came(device, i, &event);
            device->verbs.ack_async_event(&event);
            count++;
        }
        while (device->verbs.get_cq_event(device->hcas[i].channel, &cq, &unused) == 0) {
            device->verbs.ack_cq_events(cq, 1);
            if (device->is_sleeping)
                (void)!ibv_req_notify_cq(cq, 0); // what came meanwhile is polled next
            count++;
        }
    }
    return count;
}

static int look_aside(struct verbs_device *device)
{
    device->since_look = 0;
    int count = weft_tcp_transport.progress(device->side);
    count += look_at_events(device);
    for (struct verbs_link *link = device->links; link; link = link->next)
        if (link->retry_ns)
            weft_verbs_try_again(link, weft_clock_ns());
    if (device->leaving)
        reap_leaving(device, weft_clock_ns());
    return count;
}

/* What a link needs after completions were taken. */
static int serve_link(struct verbs_link *link)
{
    int count = 0;
    if (link->state == VERBS_ENDED && !link->num_received && weft_clock_ns() > link->ended_ns)
        weft_verbs_link_fail(link, "%s", link->cause);
    count += link->state == VERBS_ENDED;
    link->num_received = 0;
    if (link->state < VERBS_UP || !weft_verbs_is_replayed(link))
        weft_verbs_resync_step(link);
    if (link->num_loads)
        count += weft_verbs_loads_serve(link);
    if (weft_packet_has_pending(&link->packets))
        count += weft_packet_send_pending(&link->packets, PACKETS_PER_VISIT);
    if (link->packets.failed && link->state != VERBS_DEAD) // failed above, or in a post
        weft_verbs_link_fail(link, "%s", "");
    if (link->state == VERBS_DEAD && link->memory)
        weft_verbs_part(link);
    if (link->state == VERBS_UP)
        weft_verbs_credit(link);
    return count;
}

static int device_progress(struct weft_device *base)
{
    struct verbs_device *device = (struct verbs_device *)base;
    int count = 0;
    weft_packet_enter(&device->packets);
    if (++device->since_look >= LOOK_EVERY || device->num_meeting || device->leaving ||
        device->is_sleeping)
        count += look_aside(device);
    weft_verbs_flush(device); // what was posted since the last round
    count += weft_verbs_poll(device);
    for (struct verbs_link *link = device->links; link; link = link->next)
        count += serve_link(link);
    weft_verbs_flush(device);
    weft_packet_leave(&device->packets);
    return count;
}

static int device_descriptor(struct weft_device *base)
{
    return ((struct verbs_device *)base)->epoll;
}

static void device_arm(struct weft_device *base, bool sleeping)
{
    struct verbs_device *device = (struct verbs_device *)base;
    device->is_sleeping = sleeping;
    weft_tcp_transport.arm(device->side, sleeping);
    if (!sleeping)
        device->since_look = LOOK_EVERY; // what woke us may be there
    for (int i = 0; i < device->ports.num_devices && sleeping; i++)
        for (int k = 0; k < device->hcas[i].num_queues; k++)
            (void)!ibv_req_notify_cq(device->hcas[i].queues[k].cq, 0);
}

/* ---- devices ---- */

static void close_hca(struct verbs_device *device, struct verbs_hca *hca)
{
    for (int k = 0; k < hca->num_queues; k++)
        device->verbs.destroy_cq(hca->queues[k].cq);
    weft_verbs_memory_destroy(&hca->memory);
    if (hca->channel)
        device->verbs.destroy_comp_channel(hca->channel);
    if (hca->pd)
        device->verbs.dealloc_pd(hca->pd);
}

static void device_close(struct weft_device **base)
{
    struct verbs_device *device = (struct verbs_device *)*base;
    *base = NULL;
    if (!device)
        return;
    for (int i = 0; i < FLUSH_MS && device->leaving; i++) {
        struct weft_device *self = &device->packets.base;
        device_progress(self);
        if (device->leaving)
            poll(NULL, 0, 1);
    }
    reap_leaving(device, INT64_MAX);
    weft_tcp_transport.close(&device->side);
    for (int i = 0; i < device->ports.num_devices; i++)
        close_hca(device, &device->hcas[i]);
    if (device->epoll >= 0)
        close(device->epoll);
    weft_verbs_ports_close(&device->ports);
    weft_verbs_close(&device->verbs);
    sodium_memzero(&device->self, sizeof device->self);
    free(device->rails);
    free(device->generations);
    free(device->remembered);
    free(device);
}

static weft_status watch(struct verbs_device *device, int descriptor, bool is_ours,
                         struct weft_error *error)
{
    struct epoll_event event = {.events = EPOLLIN};
    if ((is_ours && fcntl(descriptor, F_SETFL, O_NONBLOCK) != 0) ||
        epoll_ctl(device->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        return weft_fail(error, WEFT_SYSTEM, "verbs: cannot watch a descriptor: %s",
                         strerror(errno));
    return WEFT_OK;
}

static weft_status open_hca(struct verbs_device *device, int number, struct weft_error *error)
{
    const struct weft_verbs_device *opened = &device->ports.devices[number];
    const struct weft_verbs *verbs = &device->verbs;
    struct verbs_hca *hca = &device->hcas[number];
    hca->pd = verbs->alloc_pd(opened->context);
    if (!hca->pd)
        return weft_fail(error, WEFT_SYSTEM, "verbs: %s: no protection domain: %s", opened->name,
                         weft_verbs_errno_name(errno));
    hca->channel = verbs->create_comp_channel(opened->context);
    if (!hca->channel)
        return weft_fail(error, WEFT_SYSTEM, "verbs: %s: no channel of events: %s", opened->name,
                         weft_verbs_errno_name(errno));
    WEFT_TRY(weft_verbs_memory_create(verbs, hca->pd, KEPT_REGIONS, "/", &hca->memory, error));
    WEFT_TRY(watch(device, hca->channel->fd, true, error));
    WEFT_TRY(watch(device, opened->context->async_fd, true, error));
    return weft_verbs_meet_try(device, number, error);
}

static weft_status fill_device(struct verbs_device *device,
                               const struct weft_device_options *options, struct weft_error *error)
{
    static const struct weft_verbs_options usual = WEFT_VERBS_OPTIONS_DEFAULT;
    WEFT_TRY(weft_verbs_open(NULL, &device->verbs, error));
    WEFT_TRY(weft_verbs_ports_find(&device->verbs, options->verbs ? options->verbs : &usual, "/",
                                   NULL, &device->ports, error));
    device->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (device->epoll < 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll: %s", strerror(errno));
    struct weft_device_options side = *options;
    side.eager_bytes = WEFT_PACKET_PAYLOAD_LIMIT;
    side.events = (struct weft_device_events){.user = device, .failed = weft_verbs_side_failed};
    WEFT_TRY(weft_tcp_transport.open(&side, &device->side, error));
    WEFT_TRY(watch(device, weft_tcp_transport.descriptor(device->side), false, error));
    for (int i = 0; i < device->ports.num_devices; i++)
        WEFT_TRY(open_hca(device, i, error));
    unsigned char address[WEFT_ADDRESS_BYTES];
    weft_verbs_describe(&device->ports, &device->described);
    weft_verbs_description_write(&device->described, device->self.ports);
    weft_tcp_transport.address(device->side, address);
    memcpy(device->self.side, address, sizeof device->self.side);
    device->self.magic = address_magic;
    randombytes_buf(&device->seed, sizeof device->seed);
    return WEFT_OK;
}

static weft_status device_open(const struct weft_device_options *options, struct weft_device **base,
                               struct weft_error *error)
{
    struct verbs_device *device = calloc(1, sizeof *device);
    if (!device)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for a device");
    device->epoll = -1;
    weft_packet_device_init(&device->packets, &weft_verbs_transport, options);
    weft_status status = fill_device(device, options, error);
    struct weft_device *made = &device->packets.base;
    if (status != WEFT_OK) {
        device_close(&made);
        return status;
    }
    *base = made;
    return WEFT_OK;
}

static void device_address(struct weft_device *base, void *address)
{
    memset(address, 0, WEFT_ADDRESS_BYTES);
    memcpy(address, &((struct verbs_device *)base)->self, sizeof(struct verbs_address));
}

int64_t weft_verbs_address_mbps(const void *address)
{
    struct verbs_address read;
    struct weft_verbs_description ports;
    int64_t sum = 0;
    memcpy(&read, address, sizeof read);
    if (read.magic != address_magic ||
        weft_verbs_description_read(read.ports, &ports, NULL) != WEFT_OK)
        return 0;
    for (int i = 0; i < ports.num_ports; i++) {
        if (!ports.ports[i].rate_mbps)
            return 0;
        sum += ports.ports[i].is_near ? ports.ports[i].rate_mbps : 0;
    }
    return sum;
}

/* The peer's ports and the paths to them; NULL, or why there are none. */
static const char *find_paths(const struct verbs_device *device, const struct verbs_address *peer,
                              struct weft_verbs_description *ports,
                              struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS], int *num_paths)
{
    if (peer->magic != address_magic ||
        weft_verbs_description_read(peer->ports, ports, NULL) != WEFT_OK)
        return "not an address of verbs";
    if (weft_verbs_match(&device->ports, &device->described, ports, paths, num_paths, NULL) !=
        WEFT_OK)
        return "no pair of RDMA ports can talk";
    return NULL;
}

static bool device_reachable(struct weft_device *base, const void *address, const char **reason)
{
    struct verbs_device *device = (struct verbs_device *)base;
    struct verbs_address peer;
    unsigned char side[WEFT_ADDRESS_BYTES] = {0};
    struct weft_verbs_description ports;
    struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS];
    int num_paths;
    memcpy(&peer, address, sizeof peer);
    memcpy(side, peer.side, sizeof peer.side);
    const char *fault = find_paths(device, &peer, &ports, paths, &num_paths);
    if (fault)
        *reason = fault;
    return !fault && weft_tcp_transport.reachable(device->side, side, reason);
}

static void device_remember(struct weft_device *base, void *memory, size_t bytes)
{
    weft_verbs_remember((struct verbs_device *)base, memory, bytes);
}

static void device_forget(struct weft_device *base, void *memory)
{
    weft_verbs_forget((struct verbs_device *)base, memory);
}

/* ---- connections ---- */

static weft_status link_connect(struct weft_device *base, const void *address,
                                const unsigned char *peer_id, uint64_t tag, void *user,
                                struct weft_connection **connection, struct weft_error *error)
{
    struct verbs_device *device = (struct verbs_device *)base;
    struct verbs_address peer;
    memcpy(&peer, address, sizeof peer);
    struct verbs_link *link = calloc(1, sizeof *link);
    if (!link)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for a connection");
    weft_packet_link_init(&link->packets, &device->packets, &weft_verbs_port, VERBS_FRAGMENT_BYTES,
                          user, device->seed);
    const char *fault = find_paths(device, &peer, &link->peer_ports, link->paths, &link->num_rails);
    weft_status status =
        fault ? weft_fail(error, WEFT_UNSUPPORTED, "verbs: cannot connect: %s", fault)
              : weft_verbs_meet(link, &peer, peer_id, tag, error);
    if (status != WEFT_OK) {
        weft_verbs_part(link);
        weft_packet_link_fini(&link->packets);
        free(link);
        return status;
    }
    for (int i = 0; i < link->num_rails; i++) {
        char text[WEFT_VERBS_PATH_TEXT_BYTES];
        WEFT_LOG(WEFT_LOG_DEBUG, "verbs: %s",
                 weft_verbs_path_text(&device->ports, &link->peer_ports, &link->paths[i], text));
    }
    device->num_meeting++; // state MEETING
    link->next = device->links;
    device->links = link;
    *connection = &link->packets.base;
    return WEFT_OK;
}

static void link_disconnect(struct weft_connection **connection)
{
    struct verbs_link *link = (struct verbs_link *)*connection;
    *connection = NULL;
    if (!link)
        return;
    struct verbs_device *device = weft_verbs_device_of(link);
    struct verbs_link **place = &device->links;
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    weft_verbs_direct_leave(link);
    weft_packet_link_fini(&link->packets);
    bool is_up = link->state == VERBS_UP;
    if (is_up ? !is_idle(link) : link->state < VERBS_UP && link->out_records > 0) {
        link->is_leaving = true;
        link->ended_ns = weft_deadline_after(linger_ns);
        link->next = device->leaving;
        device->leaving = link;
        if (is_up && weft_verbs_is_replayed(link))
            finish(link);
        weft_verbs_flush(device);
        return;
    }
    weft_verbs_link_turn(link, VERBS_DEAD);
    weft_verbs_part(link);
    free(link);
}

const struct weft_transport weft_verbs_transport = {
    .name = "verbs",
    .capabilities = 0,
    .eager_bytes = 8 << 10,
    .open = device_open,
    .close = device_close,
    .address = device_address,
    .reachable = device_reachable,
    .share = weft_no_share,
    .unshare = weft_no_unshare,
    .locate = weft_no_locate,
    .map = weft_no_map,
    .remember = device_remember,
    .forget = device_forget,
    .progress = device_progress,
    .descriptor = device_descriptor,
    .arm = device_arm,
    .connect = link_connect,
    .disconnect = link_disconnect,
    .post_send = weft_packet_post_send,
    .post_recv = weft_packet_post_recv,
    .cancel = weft_packet_cancel,
};
