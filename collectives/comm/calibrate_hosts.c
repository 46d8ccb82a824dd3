/*
 * SPDX-License-Identifier: Apache-2.0
 * Pairs of hosts: a tournament of the hosts' lowest ranks. Who may speak is agreed by the schedule,
 * what was found goes over the communicator, so that a way that does not work (an interface that
 * reaches nobody) costs a short wait and stops nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"
#include "collectives/comm/cluster.h"
#include "collectives/comm/internal.h"

enum {
    ALONE_LIMIT = 8,
    CONNECT_MS = 500,       // where the budget has that, ...
    LEAST_CONNECT_MS = 100, // ... and where it has not
    MAX_WAYS = 16,
    EXTRA_S = 5
};

static const int64_t ms = 1000000, s = 1000000000;

/* What each host tells the others before the tournament. */
struct contender {
    char name[WEFT_TOPOLOGY_NAME_BYTES]; // of its node
    unsigned char token[WEFT_TOKEN_BYTES];
    int32_t num_interfaces;
    struct weft_interface interfaces[WEFT_INTERFACE_LIMIT];
    char interface_names[WEFT_INTERFACE_LIMIT][WEFT_TOPOLOGY_NAME_BYTES]; // of their nodes
};

struct tournament {
    weft_comm *comm; // of the hosts' lowest ranks
    const struct weft_calibrate_options *options;
    struct contender *contenders;
    int listeners[WEFT_INTERFACE_LIMIT]; // of this host's interfaces; -1
    int64_t pair_ns;
    int max_ways; // of a pair
    struct weft_measurements *measurements;
    struct weft_error *error;
};

static weft_status failed(const weft_comm *comm, weft_status status, struct weft_error *error)
{
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "%s", weft_comm_error_text(comm));
}

/* ---- messages of the library ---- */

struct comm_channel {
    struct weft_channel base;
    weft_comm *comm;
    int peer;
};

static weft_status channel_send(struct weft_channel *channel, const void *data, size_t bytes,
                                struct weft_error *error)
{
    struct comm_channel *c = (struct comm_channel *)channel;
    return failed(c->comm, weft_send(data, bytes, WEFT_UINT8, c->peer, c->comm, NULL), error);
}

static weft_status channel_receive(struct weft_channel *channel, void *data, size_t bytes,
                                   struct weft_error *error)
{
    struct comm_channel *c = (struct comm_channel *)channel;
    return failed(c->comm, weft_recv(data, bytes, WEFT_UINT8, c->peer, c->comm, NULL), error);
}

static weft_status measure_messages(struct tournament *t, int peer, bool leads)
{
    struct comm_channel channel = {{channel_send, channel_receive}, t->comm, peer};
    struct weft_calibrate_options slice = {.budget_ns = t->pair_ns / 2,
                                           .max_bytes = t->options->max_bytes};
    if (!leads)
        return weft_dialogue_follow(&channel.base, slice.max_bytes, t->error);
    struct weft_measurement *entry = weft_measurements_add(
        t->measurements, "messages", t->contenders[t->comm->rank].name, t->contenders[peer].name);
    if (!entry)
        return weft_fail(t->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    WEFT_TRY(weft_dialogue_lead(&channel.base, &slice, entry, t->error));
    if (t->comm->peers[peer])
        snprintf(entry->what, sizeof entry->what, "%.23s",
                 t->comm->peers[peer]->device->transport->name);
    return WEFT_OK;
}

/* ---- interfaces ---- */

struct way {
    int from, to; // interface of the caller, of the other host
};

static weft_status say(struct tournament *t, int peer, int32_t word)
{
    return failed(t->comm, weft_send(&word, 1, WEFT_INT32, peer, t->comm, NULL), t->error);
}

static weft_status hear(struct tournament *t, int peer, int32_t *word)
{
    return failed(t->comm, weft_recv(word, 1, WEFT_INT32, peer, t->comm, NULL), t->error);
}

/* One way, as its caller. What goes wrong on it is noted; only a broken communicator is an error.
 */
static weft_status lead_way(struct tournament *t, int peer, int from, int to, int64_t budget_ns)
{
    const struct contender *self = &t->contenders[t->comm->rank], *other = &t->contenders[peer];
    const struct weft_calibrate_options slice = {budget_ns, t->options->max_bytes};
    struct weft_error why = {0};
    int32_t is_taken = 0;
    int64_t patience_ns = budget_ns < LEAST_CONNECT_MS * ms ? LEAST_CONNECT_MS * ms
                          : budget_ns > CONNECT_MS * ms     ? CONNECT_MS * ms
                                                            : budget_ns;
    struct weft_measurement *entry = weft_measurements_add(
        t->measurements, "tcp-interface", self->interface_names[from], other->interface_names[to]);
    if (!entry)
        return weft_fail(t->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    int caller = weft_interface_connect(&self->interfaces[from], &other->interfaces[to], true,
                                        other->token, patience_ns, &why);
    weft_status status = say(t, peer, caller >= 0);
    if (status == WEFT_OK && caller >= 0)
        status = hear(t, peer, &is_taken);
    if (status == WEFT_OK && caller < 0) {
        snprintf(entry->note, sizeof entry->note, "no way: %.140s", why.text);
    } else if (status == WEFT_OK && !is_taken) {
        snprintf(entry->note, sizeof entry->note, "no way: what answered is not the host");
    } else if (status == WEFT_OK) {
        struct weft_socket_channel channel =
            weft_socket_channel_make(caller, budget_ns + EXTRA_S * s);
        if (weft_dialogue_lead(&channel.base, &slice, entry, &why) != WEFT_OK)
            snprintf(entry->note, sizeof entry->note, "not believed: %.140s", why.text);
    }
    if (caller >= 0)
        close(caller);
    return status;
}

static weft_status follow_way(struct tournament *t, int peer, int to, int64_t budget_ns)
{
    int32_t is_called;
    struct weft_error why = {0};
    WEFT_TRY(hear(t, peer, &is_called));
    if (!is_called)
        return WEFT_OK;
    int called = t->listeners[to] < 0
                     ? -1
                     : weft_interface_accept(t->listeners[to], t->contenders[t->comm->rank].token,
                                             2 * CONNECT_MS * ms, &why);
    weft_status status = say(t, peer, called >= 0);
    if (status == WEFT_OK && called >= 0) {
        struct weft_socket_channel channel =
            weft_socket_channel_make(called, budget_ns + EXTRA_S * s);
        weft_status talked = weft_dialogue_follow(&channel.base, t->options->max_bytes, &why);
        (void)talked; // the caller notes what it saw
    }
    if (called >= 0)
        close(called);
    return status;
}

/* Fills the ways to try; returns how many. Where not all may be tried, those between interfaces of
 * one place come first: with a rail per NIC these are the ones that there are. */
static int list_ways(const struct tournament *t, const struct contender *from,
                     const struct contender *to, struct way *ways)
{
    int count = 0;
    for (int shift = 0; shift < to->num_interfaces; shift++)
        for (int i = 0; i < from->num_interfaces && count < t->max_ways; i++) {
            int k = (i + shift) % to->num_interfaces;
            if (from->interfaces[i].is_ipv6 == to->interfaces[k].is_ipv6 &&
                to->interfaces[k].port != 0)
                ways[count++] = (struct way){i, k};
        }
    return count;
}

static weft_status measure_ways(struct tournament *t, int peer, bool leads)
{
    const struct contender *from = &t->contenders[leads ? t->comm->rank : peer];
    const struct contender *to = &t->contenders[leads ? peer : t->comm->rank];
    struct way ways[MAX_WAYS];
    int num_ways = list_ways(t, from, to, ways);
    for (int i = 0; i < num_ways; i++) {
        int64_t budget_ns = t->pair_ns / 2 / num_ways;
        WEFT_TRY(leads ? lead_way(t, peer, ways[i].from, ways[i].to, budget_ns)
                       : follow_way(t, peer, ways[i].to, budget_ns));
    }
    return WEFT_OK;
}

/* ---- the tournament ---- */

static weft_status measure_pair(struct tournament *t, int a, int b)
{
    int self = t->comm->rank;
    if (self != a && self != b)
        return WEFT_OK;
    bool leads = self == (a < b ? a : b);
    int peer = self == a ? b : a;
    WEFT_TRY(measure_messages(t, peer, leads));
    return measure_ways(t, peer, leads);
}

/* The circle method: one stays, the others turn, who faces each other plays. */
static weft_status play(struct tournament *t)
{
    int n = t->comm->num_ranks, even = n + n % 2,
        num_slots = n <= ALONE_LIMIT ? n * (n - 1) / 2 : even - 1;
    t->pair_ns = t->options->budget_ns / (num_slots > 0 ? num_slots : 1);
    if (t->pair_ns < 100 * ms)
        t->pair_ns = 100 * ms;
    if (t->pair_ns > 3 * s)
        t->pair_ns = 3 * s;
    int64_t longest_ns = 2 * t->pair_ns + MAX_WAYS * (2 * CONNECT_MS * ms + EXTRA_S * s);
    for (int round = 0; round < even - 1; round++) {
        for (int k = 0; k < even / 2; k++) {
            int a = (round + k) % (even - 1);
            int b = k == 0 ? even - 1 : (round - k + even - 1) % (even - 1);
            if (a < n && b < n)
                WEFT_TRY(measure_pair(t, a, b));
            if (n <= ALONE_LIMIT)
                WEFT_TRY(weft_cluster_wait(t->comm, longest_ns, t->error));
        }
        if (n > ALONE_LIMIT)
            WEFT_TRY(weft_cluster_wait(t->comm, longest_ns, t->error));
    }
    return WEFT_OK;
}

static void introduce(struct tournament *t, const weft_comm *comm,
                      const struct weft_topology *topology, struct contender *self)
{
    char identity[32];
    uint64_t host_id = comm->world->processes[comm->world_ranks[comm->rank]].host_id;
    snprintf(identity, sizeof identity, "%016" PRIx64, host_id);
    int host = weft_topology_find_text(topology, WEFT_NODE_HOST, "process.host_id", identity);
    if (host >= 0)
        snprintf(self->name, sizeof self->name, "%s", topology->nodes[host].name);
    else
        snprintf(self->name, sizeof self->name, "rank%d", comm->rank);
    self->num_interfaces = weft_interfaces_list(self->interfaces, WEFT_INTERFACE_LIMIT, false);
    for (int i = 0; i < self->num_interfaces; i++) {
        weft_interface_name(topology, host, &self->interfaces[i], self->interface_names[i],
                            sizeof self->interface_names[i]);
        t->listeners[i] = weft_interface_listen(&self->interfaces[i], true);
    }
}

/* Names of a peer are read as texts, its numbers as indexes. */
static weft_status check_contenders(const struct tournament *t)
{
    for (int rank = 0; rank < t->comm->num_ranks; rank++) {
        struct contender *c = &t->contenders[rank];
        c->name[sizeof c->name - 1] = '\0';
        if (c->num_interfaces < 0 || c->num_interfaces > WEFT_INTERFACE_LIMIT)
            return weft_fail(t->error, WEFT_INVALID_FORMAT, "host %d has %d interfaces", rank,
                             c->num_interfaces);
        for (int i = 0; i < c->num_interfaces; i++)
            c->interface_names[i][sizeof c->interface_names[i] - 1] = '\0';
    }
    return WEFT_OK;
}

/* Everybody's entries to the first. */
static weft_status collect(struct tournament *t)
{
    char *text = NULL, *all = NULL;
    size_t bytes;
    struct weft_piece *pieces = NULL;
    weft_status status = WEFT_OK;
    FILE *stream = open_memstream(&text, &bytes);
    if (stream) {
        status = weft_measurements_write(t->measurements, stream, t->error);
        fclose(stream);
    } else {
        status = weft_fail(t->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    }
    status = weft_cluster_exchange(t->comm, status == WEFT_OK ? text : t->error->text,
                                   status == WEFT_OK ? (int64_t)strlen(text) : -(int64_t)status,
                                   &all, &pieces, t->error);
    free(text);
    for (int rank = 1; status == WEFT_OK && t->comm->rank == 0 && rank < t->comm->num_ranks;
         rank++) {
        struct weft_measurements more;
        char name[40];
        snprintf(name, sizeof name, "measurements of host %d", rank);
        status =
            weft_measurements_read(pieces[rank].data, pieces[rank].bytes, name, &more, t->error);
        for (int i = 0; status == WEFT_OK && i < more.num_entries; i++) {
            struct weft_measurement *entry = weft_measurements_add(t->measurements, "", "", "");
            if (entry)
                *entry = more.entries[i];
            else
                status = weft_fail(t->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
        }
        if (status == WEFT_OK)
            weft_measurements_free(&more);
    }
    free(all);
    free(pieces);
    return status;
}

/* Many hosts: fewer ways of each pair, so that all entries have room. */
static weft_status limit_ways(struct tournament *t)
{
    int64_t n = t->comm->num_ranks, num_pairs = n * (n - 1) / 2;
    int64_t entries = WEFT_MEASUREMENTS_MAX_ENTRIES / (num_pairs > 0 ? num_pairs : 1);
    if (entries < 1)
        return weft_fail(t->error, WEFT_UNSUPPORTED,
                         "%" PRId64 " hosts have more than %d pairs to measure", n,
                         WEFT_MEASUREMENTS_MAX_ENTRIES);
    t->max_ways = entries > MAX_WAYS ? MAX_WAYS : (int)entries - 1;
    return WEFT_OK;
}

static weft_status hold(struct tournament *t, const weft_comm *comm,
                        const struct weft_topology *topology)
{
    WEFT_TRY(limit_ways(t));
    struct contender *self = calloc(1, sizeof *self);
    t->contenders = calloc((size_t)t->comm->num_ranks, sizeof *t->contenders);
    if (!self || !t->contenders ||
        getrandom(self->token, sizeof self->token, 0) != (ssize_t)sizeof self->token) {
        free(self);
        weft_comm_abort(t->comm);
        return weft_fail(t->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    }
    introduce(t, comm, topology, self);
    weft_status status = failed(
        t->comm, weft_all_gather(self, t->contenders, sizeof *self, WEFT_UINT8, t->comm, NULL),
        t->error);
    free(self);
    WEFT_TRY(status);
    WEFT_TRY(check_contenders(t));
    WEFT_TRY(play(t));
    return collect(t);
}

weft_status weft_calibrate_hosts(weft_comm *comm, const struct weft_topology *topology,
                                 const struct weft_calibrate_options *options,
                                 struct weft_measurements *measurements, struct weft_error *error)
{
    struct weft_measurements made;
    struct tournament t = {.options = options, .measurements = &made, .error = error};
    for (int i = 0; i < WEFT_INTERFACE_LIMIT; i++)
        t.listeners[i] = -1;
    weft_context_fault_point(comm->context, "calibration", comm->rank);
    weft_measurements_init(&made, weft_topology_processors_fingerprint(topology));
    weft_calibrate_date(&made);
    weft_status status =
        failed(comm, weft_comm_split(comm, weft_cluster_is_leader(comm) ? 0 : -1, 0, &t.comm, NULL),
               error);
    if (status == WEFT_OK && t.comm)
        status = hold(&t, comm, topology);
    for (int i = 0; i < WEFT_INTERFACE_LIMIT; i++)
        if (t.listeners[i] >= 0)
            close(t.listeners[i]);
    free(t.contenders);
    weft_comm_destroy(&t.comm);
    if (status == WEFT_OK) // ranks beside the hosts' lowest wait here for all of it
        status = weft_cluster_wait(comm, 20 * options->budget_ns + 600 * s, error);
    else
        weft_comm_abort(comm);
    if (status != WEFT_OK) {
        weft_measurements_free(&made);
        return status;
    }
    *measurements = made;
    return WEFT_OK;
}
