/*
 * SPDX-License-Identifier: Apache-2.0
 * The transports of the table between two cores of this machine, and RDMA devices with each other:
 * real devices of transports, one per thread, and the same calls that the executor makes. So these
 * figures are what a plan gets, protocol included.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"
#include "transport/transport.h"

enum { IDLE_POLLS = 16, SPIN_NS = 20000 };

static const int64_t patience_ns = 5000000000; // for one message

struct end {
    struct weft_channel base;
    const struct weft_transport *transport;
    struct weft_device *device;
    struct weft_connection *connection;
    struct end *peer;
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
    unsigned char address[WEFT_ADDRESS_BYTES];
    int side; // 0 leads
    uint32_t sent, received;
    const struct weft_calibrate_options *options;
    struct weft_measurement *entry;
    weft_status status;
    struct weft_error error;
};

/* ---- one message ---- */

struct message {
    struct weft_transfer transfer;
    bool is_complete;
};

static void on_complete(struct weft_transfer *transfer)
{
    ((struct message *)transfer)->is_complete = true;
}

static weft_status move(struct end *end, bool is_send, void *data, size_t bytes,
                        struct weft_error *error)
{
    uint32_t index = is_send ? end->sent++ : end->received++;
    uint16_t lane = (uint16_t)(is_send ? end->side : 1 - end->side);
    struct message message = {
        .transfer = {.key = {.comm = 1, .epoch = 1, .lane = lane, .index = index},
                     .data = data,
                     .bytes = bytes,
                     .complete = on_complete}};
    weft_status status = is_send ? end->transport->post_send(end->connection, &message.transfer)
                                 : end->transport->post_recv(end->connection, &message.transfer);
    if (status != WEFT_OK)
        return weft_fail(error, status, "%s: a message could not be posted: %s",
                         end->transport->name, weft_status_text(status));
    int64_t idle_ns = 0; // since when
    for (unsigned idle = 0; !message.is_complete;) {
        if (end->transport->progress(end->device) > 0) {
            idle = 0;
            continue;
        }
        if (++idle % IDLE_POLLS != 0)
            continue;
        int64_t now_ns = weft_clock_ns();
        if (idle == IDLE_POLLS)
            idle_ns = now_ns;
        if (now_ns - idle_ns < SPIN_NS)
            continue;
        sched_yield(); // the other end may share the core, and the kernel's part of the way, too
        if (now_ns - idle_ns > patience_ns) {
            end->transport->cancel(end->connection, &message.transfer);
            return weft_fail(error, WEFT_TIMEOUT, "%s: a message of %zu bytes took over %d s",
                             end->transport->name, bytes, (int)(patience_ns / 1000000000));
        }
    }
    if (message.transfer.status != WEFT_OK)
        return weft_fail(error, message.transfer.status, "%s: a message failed: %s",
                         end->transport->name, weft_status_text(message.transfer.status));
    return WEFT_OK;
}

static weft_status channel_send(struct weft_channel *channel, const void *data, size_t bytes,
                                struct weft_error *error)
{
    return move((struct end *)channel, true, (void *)(uintptr_t)data, bytes, error);
}

static weft_status channel_receive(struct weft_channel *channel, void *data, size_t bytes,
                                   struct weft_error *error)
{
    return move((struct end *)channel, false, data, bytes, error);
}

/* ---- two ends ---- */

static void on_unexpected(void *user, struct weft_connection *connection,
                          const struct weft_message_key *key, uint64_t call, uint64_t plan,
                          uint64_t bytes)
{
    (void)user, (void)connection, (void)key, (void)call, (void)plan, (void)bytes;
}

static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    (void)user, (void)connection, (void)reason; // its transfers fail
}

static weft_status open_end(struct end *end, const struct weft_verbs_options *verbs,
                            struct weft_error *error)
{
    struct weft_device_options options = {
        .listen_address = "127.0.0.1",
        .eager_bytes = end->transport->eager_bytes,
        .verbs = verbs,
        .events = {.unexpected = on_unexpected, .failed = on_failed},
    };
    if (getrandom(end->process_id, sizeof end->process_id, 0) != (ssize_t)sizeof end->process_id)
        return weft_fail(error, WEFT_SYSTEM, "getrandom: %s", strerror(errno));
    memcpy(options.process_id, end->process_id, sizeof options.process_id);
    end->base = (struct weft_channel){channel_send, channel_receive};
    WEFT_TRY(end->transport->open(&options, &end->device, error));
    end->transport->address(end->device, end->address);
    return WEFT_OK;
}

static weft_status talk(struct end *end)
{
    const char *reason = "";
    if (!end->transport->reachable(end->device, end->peer->address, &reason))
        return weft_fail(&end->error, WEFT_UNSUPPORTED, "%s", reason);
    WEFT_TRY(end->transport->connect(end->device, end->peer->address, end->peer->process_id, 1, end,
                                     &end->connection, &end->error));
    weft_status status =
        end->side == 0 ? weft_dialogue_lead(&end->base, end->options, end->entry, &end->error)
                       : weft_dialogue_follow(&end->base, end->options->max_bytes, &end->error);
    end->transport->disconnect(&end->connection);
    return status;
}

static void converse(void *argument)
{
    struct end *end = argument;
    end->status = talk(end);
}

/* One end of what is measured. */
struct side {
    const char *name;
    int processor;
    const struct weft_verbs_options *verbs; // NULL: those of the configuration's defaults
};

static weft_status measure(const struct weft_transport *transport, const char *what,
                           const struct side *sides, const struct weft_calibrate_options *options,
                           struct weft_measurements *m, struct weft_error *error)
{
    struct weft_error why = {0};
    struct weft_measurement *entry = weft_measurements_add(m, what, sides[0].name, sides[1].name);
    if (!entry)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    struct end ends[2] = {{.side = 0}, {.side = 1}};
    const struct weft_placed_work works[2] = {{sides[0].processor, converse, &ends[0]},
                                              {sides[1].processor, converse, &ends[1]}};
    weft_status status = WEFT_OK;
    for (int i = 0; i < 2 && status == WEFT_OK; i++) {
        ends[i].transport = transport;
        ends[i].peer = &ends[1 - i];
        ends[i].options = options;
        ends[i].entry = entry;
        status = open_end(&ends[i], sides[i].verbs, &why);
    }
    if (status == WEFT_OK)
        status = weft_places_run(works, 2, &why);
    if (status == WEFT_OK && ends[0].status != WEFT_OK)
        status = weft_fail(&why, ends[0].status, "%s", ends[0].error.text);
    for (int i = 0; i < 2; i++)
        if (ends[i].device)
            transport->close(&ends[i].device);
    if (status != WEFT_OK)
        snprintf(entry->note, sizeof entry->note, "%.150s", why.text);
    else if (sides[0].processor == sides[1].processor && !entry->note[0])
        snprintf(entry->note, sizeof entry->note,
                 "not believed: both ends on one core, the only one that may be used");
    return WEFT_OK;
}

static struct side core_side(const struct weft_topology *t, const struct weft_place *core)
{
    return (struct side){.name = t->nodes[core->node].name, .processor = core->processor};
}

weft_status weft_calibrate_transports(const struct weft_topology *t,
                                      const struct weft_places *places,
                                      const struct weft_calibrate_options *options,
                                      struct weft_measurements *m, struct weft_error *error)
{
    int num_transports = 0, num_pairs = weft_places_num_pairs(places);
    while (weft_transports[num_transports])
        num_transports++;
    struct weft_calibrate_options slice = *options;
    slice.budget_ns /= num_transports * num_pairs;
    for (int k = 0; k < num_transports; k++)
        for (int i = 0; i < num_pairs; i++) {
            const char *name = weft_transports[k]->name;
            int a, b;
            if (weft_places_pair(places, i, &a, &b)) {
                const struct side sides[2] = {core_side(t, &places->cores[a]),
                                              core_side(t, &places->cores[b])};
                WEFT_TRY(measure(weft_transports[k], name, sides, &slice, m, error));
            } else if (i == 0) {
                WEFT_TRY(weft_calibrate_absent(m, name, "", "", error,
                                               "no core of the graph may be used"));
            }
        }
    return WEFT_OK;
}

/* ---- RDMA devices ---- */

int weft_calibrate_list_rdma(const struct weft_topology *t, int *nodes)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes && count < WEFT_RDMA_DEVICES_LIMIT; i++)
        if (t->nodes[i].kind == WEFT_NODE_NIC && weft_topology_text(t, i, "rdma_device"))
            nodes[count++] = i;
    return count;
}

static weft_status measure_devices(const struct weft_topology *t, const int *nodes,
                                   const int *processors,
                                   const struct weft_calibrate_options *options,
                                   struct weft_measurements *m, struct weft_error *error)
{
    struct side sides[2];
    struct weft_verbs_options verbs[2];
    char hcas[2][WEFT_TOPOLOGY_NAME_BYTES + 1], names[2][WEFT_TOPOLOGY_NAME_BYTES];
    for (int i = 0; i < 2; i++) {
        const char *device = weft_topology_text(t, nodes[i], "rdma_device");
        int host = weft_topology_ancestor(t, nodes[i], WEFT_NODE_HOST);
        snprintf(hcas[i], sizeof hcas[i], "=%s", device);
        snprintf(names[i], sizeof names[i], "%.150s/%.60s", host < 0 ? "" : t->nodes[host].name,
                 device);
        verbs[i] = (struct weft_verbs_options)WEFT_VERBS_OPTIONS_DEFAULT;
        verbs[i].hca = hcas[i];
        sides[i] = (struct side){names[i], processors[i], &verbs[i]};
    }
    return measure(&weft_verbs_transport, "verbs-device", sides, options, m, error);
}

weft_status weft_calibrate_rdma(const struct weft_topology *t, const struct weft_places *places,
                                const struct weft_calibrate_options *options,
                                struct weft_measurements *m, struct weft_error *error)
{
    int nodes[WEFT_RDMA_DEVICES_LIMIT], a, b, processors[2] = {-1, -1};
    int count = weft_calibrate_list_rdma(t, nodes);
    struct weft_calibrate_options slice = *options;
    if (count == 0)
        return weft_calibrate_absent(m, "verbs-device", "", "", error, "no RDMA device here");
    if (weft_places_pair(places, 0, &a, &b)) {
        processors[0] = places->cores[a].processor;
        processors[1] = places->cores[b].processor;
    }
    slice.budget_ns /= count * (count + 1) / 2;
    for (int i = 0; i < count; i++)
        for (int k = i; k < count; k++) {
            // each sends in about half of its pairs: ways need not be as fast as the ways back
            const int first = (i + k) % 2 || i == k ? i : k;
            const int pair[2] = {nodes[first], nodes[i + k - first]};
            WEFT_TRY(measure_devices(t, pair, processors, &slice, m, error));
        }
    return WEFT_OK;
}
