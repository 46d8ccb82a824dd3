/*
 * SPDX-License-Identifier: Apache-2.0
 * See fabric.h. Statements are sorted by device and port, so that the other side of each is found
 * by bisection: nothing here is worse than n log n, whatever a file says.
 */
#include "topology/fabric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/array.h"
#include "topology/fabric_private.h"
#include "topology/guid.h"
#include "topology/tiers.h"

enum { FIRST_SLOTS = 256, MAX_DEVICES = 1 << 21, MAX_STATEMENTS = 1 << 24 };

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "fabric: no memory");
}

/* ---- rates ---- */

int64_t weft_fabric_lane_bandwidth(struct weft_span rate)
{
    /* Signalling rate times encoding / 8. To QDR 8 of 10 bits are payload, from FDR10 64 of 66;
     * from HDR on a rate is named by its payload. */
    static const struct {
        const char *name;
        int64_t bandwidth;
    } rates[] = {
        {"SDR", 250000000},    {"DDR", 500000000},   {"QDR", 1000000000},
        {"FDR10", 1250000000}, {"FDR", 1704545454},  {"EDR", 3125000000},
        {"HDR", 6250000000},   {"NDR", 12500000000}, {"XDR", 25000000000},
    };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (weft_span_is(rate, rates[i].name))
            return rates[i].bandwidth;
    return -1;
}

int64_t weft_fabric_bandwidth(struct weft_span text)
{
    int64_t lanes;
    if (!weft_span_number(&text, 1, 12, &lanes) || !weft_span_take(&text, "x"))
        return -1;
    int64_t lane = weft_fabric_lane_bandwidth(text);
    bool is_width = lanes == 1 || lanes == 2 || lanes == 4 || lanes == 8 || lanes == 12;
    return is_width && lane > 0 ? lanes * lane : -1;
}

/* ---- devices ---- */

weft_status weft_fabric_create(enum weft_source source, bool is_mutual, struct weft_fabric **fabric,
                               struct weft_error *error)
{
    struct weft_fabric *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory(error);
    made->source = source;
    made->is_mutual = is_mutual;
    *fabric = made;
    return WEFT_OK;
}

void weft_fabric_destroy(struct weft_fabric **fabric)
{
    if (!fabric || !*fabric)
        return;
    for (int i = 0; i < (*fabric)->num_devices; i++) {
        struct fabric_device *device = &(*fabric)->devices[i];
        free(device->id);
        free(device->description);
        free(device->model);
        free(device->host);
        free(device->nic);
    }
    free((*fabric)->devices);
    free((*fabric)->ports);
    free((*fabric)->slots);
    free(*fabric);
    *fabric = NULL;
}

struct weft_fabric_device weft_fabric_device_make(enum weft_fabric_role role)
{
    return (struct weft_fabric_device){
        .role = role, .lid = -1, .vendor_id = -1, .device_id = -1, .enhanced_port0 = -1};
}

struct weft_fabric_port weft_fabric_port_make(int device, int port)
{
    return (struct weft_fabric_port){
        .device = device, .port = port, .peer = -1, .lid = -1, .current = -1, .nominal = -1};
}

static size_t slot_of(const struct weft_fabric *fabric, struct weft_span id)
{
    size_t mask = fabric->num_slots - 1, slot = XXH3_64bits(id.at, id.bytes) & mask;
    while (fabric->slots[slot] >= 0 && !weft_span_is(id, fabric->devices[fabric->slots[slot]].id))
        slot = (slot + 1) & mask;
    return slot;
}

static weft_status grow_index(struct weft_fabric *fabric, struct weft_error *error)
{
    if ((size_t)fabric->num_devices * 2 < fabric->num_slots)
        return WEFT_OK;
    size_t larger = fabric->num_slots ? fabric->num_slots * 2 : FIRST_SLOTS;
    int *slots = malloc(larger * sizeof *slots);
    if (!slots)
        return no_memory(error);
    for (size_t i = 0; i < larger; i++)
        slots[i] = -1;
    free(fabric->slots);
    fabric->slots = slots;
    fabric->num_slots = larger;
    for (int i = 0; i < fabric->num_devices; i++) {
        const char *id = fabric->devices[i].id;
        slots[slot_of(fabric, (struct weft_span){id, strlen(id)})] = i;
    }
    return WEFT_OK;
}

weft_status weft_fabric_refer(struct weft_fabric *fabric, struct weft_span id, int *device,
                              struct weft_error *error)
{
    WEFT_TRY(grow_index(fabric, error));
    size_t slot = slot_of(fabric, id);
    if (fabric->slots[slot] >= 0) {
        *device = fabric->slots[slot];
        return WEFT_OK;
    }
    if (fabric->num_devices >= MAX_DEVICES)
        return weft_fail(error, WEFT_INVALID_FORMAT, "more than %d devices", MAX_DEVICES);
    struct fabric_device *devices = weft_array_grow(fabric->devices, fabric->num_devices,
                                                    &fabric->room_devices, sizeof *fabric->devices);
    if (!devices)
        return no_memory(error);
    fabric->devices = devices;
    char *copy = strndup(id.at, id.bytes);
    if (!copy)
        return no_memory(error);
    devices[fabric->num_devices] = (struct fabric_device){
        .id = copy, .about = weft_fabric_device_make(WEFT_FABRIC_UNDECLARED), .node = -1};
    fabric->slots[slot] = fabric->num_devices;
    *device = fabric->num_devices++;
    return WEFT_OK;
}

static weft_status keep(struct weft_span span, char **copy, struct weft_error *error)
{
    if (span.bytes == 0)
        return WEFT_OK;
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    *copy = strdup(weft_span_copy(span, text, sizeof text));
    return *copy ? WEFT_OK : no_memory(error);
}

bool weft_fabric_is_declared(const struct weft_fabric *fabric, int device)
{
    return fabric->devices[device].about.role != WEFT_FABRIC_UNDECLARED;
}

weft_status weft_fabric_declare(struct weft_fabric *fabric, int device,
                                const struct weft_fabric_device *about, struct weft_error *error)
{
    struct fabric_device *d = &fabric->devices[device];
    if (weft_fabric_is_declared(fabric, device))
        return weft_fail(error, WEFT_INVALID_FORMAT, "\"%.60s\" is described a second time", d->id);
    d->about = *about;
    WEFT_TRY(keep(about->description, &d->description, error));
    return keep(about->model, &d->model, error);
}

weft_status weft_fabric_state(struct weft_fabric *fabric, const struct weft_fabric_port *port,
                              struct weft_error *error)
{
    const struct fabric_device *d = &fabric->devices[port->device];
    int last = d->about.num_ports ? d->about.num_ports : WEFT_FABRIC_MAX_PORT;
    if (port->port < 1 || port->port > last)
        return weft_fail(error, WEFT_INVALID_FORMAT, "port %d of \"%.60s\", which has %d",
                         port->port, d->id, last);
    if (port->peer >= 0 && (port->peer_port < 1 || port->peer_port > WEFT_FABRIC_MAX_PORT))
        return weft_fail(error, WEFT_INVALID_FORMAT, "a cable to port %d, not from 1 to %d",
                         port->peer_port, WEFT_FABRIC_MAX_PORT);
    if (fabric->num_ports >= MAX_STATEMENTS)
        return weft_fail(error, WEFT_INVALID_FORMAT, "more than %d ports", MAX_STATEMENTS);
    struct weft_fabric_port *ports = weft_array_grow(fabric->ports, fabric->num_ports,
                                                     &fabric->room_ports, sizeof *fabric->ports);
    if (!ports)
        return no_memory(error);
    fabric->ports = ports;
    ports[fabric->num_ports++] = *port;
    fabric->devices[port->device].num_stated++;
    return WEFT_OK;
}

/* ---- cables ---- */

/* Things that are remarked on once, with their number and the first of them. */
struct tally {
    int count;
    char first[160];
};

struct joining {
    struct weft_fabric *fabric;
    struct weft_topology *topology;
    struct weft_error *error;
    bool *is_used; // by statement: its port has its cable
    struct tally one_sided, repeated, loops, rates, beyond, refused;
};

static int compare_ports(const void *a, const void *b)
{
    const struct weft_fabric_port *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->port == y->port ? 0 : x->port < y->port ? -1 : 1;
}

/* What was stated first about a port, or -1. */
static int find_statement(const struct weft_fabric *fabric, int device, int port)
{
    int low = 0, high = fabric->num_ports;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct weft_fabric_port *p = &fabric->ports[middle];
        if (p->device < device || (p->device == device && p->port < port))
            low = middle + 1;
        else
            high = middle;
    }
    return low < fabric->num_ports && fabric->ports[low].device == device &&
                   fabric->ports[low].port == port
               ? low
               : -1;
}

static const char *name_of(const struct joining *j, int device)
{
    return j->topology->nodes[j->fabric->devices[device].node].name;
}

static void count_cable(struct joining *j, struct tally *tally, const struct weft_fabric_port *p)
{
    if (tally->count++ == 0)
        snprintf(tally->first, sizeof tally->first, "%.60s port %d to %.60s port %d",
                 name_of(j, p->device), p->port, name_of(j, p->peer), p->peer_port);
}

static int64_t lower(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* One cable, of which `other` (NULL: nothing) is what the far side states. */
static weft_status join(struct joining *j, const struct weft_fabric_port *p,
                        const struct weft_fabric_port *other)
{
    if (p->peer == p->device) {
        count_cable(j, &j->loops, p);
        return WEFT_OK;
    }
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, j->fabric->devices[p->device].node,
                                           j->fabric->devices[p->peer].node);
    link.from_port = p->port;
    link.to_port = p->peer_port;
    int64_t current = other ? lower(p->current, other->current) : p->current;
    int64_t nominal = other ? lower(p->nominal, other->nominal) : p->nominal;
    if (other && p->current >= 0 && other->current >= 0 && p->current != other->current)
        count_cable(j, &j->rates, p);
    int last = j->fabric->devices[p->peer].about.num_ports;
    if (last > 0 && p->peer_port > last)
        count_cable(j, &j->beyond, p);
    if (current >= 0)
        link.bandwidth.current = (struct weft_quantity){current, j->fabric->source};
    if (nominal >= 0)
        link.bandwidth.nominal = (struct weft_quantity){nominal, j->fabric->source};
    return weft_topology_add_link(j->topology, &link, NULL, j->error);
}

/* 1. Cables that both sides state alike; of several statements about one port the first counts. */
static weft_status join_agreed(struct joining *j)
{
    struct weft_fabric *f = j->fabric;
    for (int i = 0; i < f->num_ports; i++) {
        const struct weft_fabric_port *p = &f->ports[i];
        if (p->peer < 0 || j->is_used[i] || find_statement(f, p->device, p->port) != i)
            continue;
        int k = find_statement(f, p->peer, p->peer_port);
        if (k < 0 || f->ports[k].peer != p->device || f->ports[k].peer_port != p->port)
            continue;
        j->is_used[i] = j->is_used[k] = true;
        WEFT_TRY(join(j, p, k == i ? NULL : &f->ports[k]));
    }
    return WEFT_OK;
}

/* Ports on which one-sided statements put a cable; sorted by device and port. */
struct taken {
    int device, port, statement;
};

static int compare_taken(const void *a, const void *b)
{
    const struct taken *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    return x->statement < y->statement ? -1 : x->statement > y->statement;
}

static weft_status refuse(struct joining *j, const struct weft_fabric_port *p,
                          const struct weft_fabric_port *believed)
{
    if (j->refused.count++ >= 20)
        return WEFT_OK;
    return weft_topology_add_remark(
        j->topology, WEFT_REMARK_CONTRADICTION, j->fabric->source,
        j->fabric->devices[p->device].node, j->error,
        "%.50s port %d is said to go to %.50s port %d, but %.50s port %d to %.50s port %d; the "
        "former is left out",
        name_of(j, p->device), p->port, name_of(j, p->peer), p->peer_port,
        name_of(j, believed->device), believed->port,
        believed->peer < 0 ? "nowhere" : name_of(j, believed->peer), believed->peer_port);
}

/* 2. What only one side states: believed where no other cable is on either port. */
static weft_status join_rest(struct joining *j, struct taken *taken)
{
    struct weft_fabric *f = j->fabric;
    int num_taken = 0;
    for (int i = 0; i < f->num_ports; i++)
        if (f->ports[i].peer >= 0 && find_statement(f, f->ports[i].device, f->ports[i].port) == i &&
            !j->is_used[i])
            taken[num_taken++] = (struct taken){f->ports[i].peer, f->ports[i].peer_port, i};
    qsort(taken, (size_t)num_taken, sizeof *taken, compare_taken);
    int believed = -1; // the statement that has the far port of the run
    for (int n = 0; n < num_taken; n++) {
        const struct weft_fabric_port *p = &f->ports[taken[n].statement];
        bool is_new =
            n == 0 || taken[n].device != taken[n - 1].device || taken[n].port != taken[n - 1].port;
        int k = find_statement(f, p->peer, p->peer_port);
        if (is_new)
            believed = k >= 0 && f->ports[k].peer >= 0 ? k : -1;
        if (believed >= 0) {
            WEFT_TRY(refuse(j, p, &f->ports[believed]));
            continue;
        }
        believed = taken[n].statement;
        count_cable(j, &j->one_sided, p);
        WEFT_TRY(join(j, p, k >= 0 ? &f->ports[k] : NULL));
    }
    return WEFT_OK;
}

static weft_status say_repeated(struct joining *j)
{
    struct weft_fabric *f = j->fabric;
    for (int i = 1; i < f->num_ports; i++) {
        const struct weft_fabric_port *p = &f->ports[i], *first = &f->ports[i - 1];
        if (compare_ports(p, first) != 0 || p->peer < 0)
            continue;
        if (p->peer == first->peer && p->peer_port == first->peer_port)
            count_cable(j, &j->repeated, p);
        else
            WEFT_TRY(refuse(j, p, first));
    }
    return WEFT_OK;
}

static weft_status say_tally(struct joining *j, enum weft_remark_kind kind,
                             const struct tally *tally, const char *what)
{
    if (tally->count == 0)
        return WEFT_OK;
    return weft_topology_add_remark(j->topology, kind, j->fabric->source, -1, j->error,
                                    "%d cable%s %s (first: %s)", tally->count,
                                    tally->count > 1 ? "s" : "", what, tally->first);
}

static weft_status say_tallies(struct joining *j)
{
    if (j->fabric->is_mutual)
        WEFT_TRY(say_tally(j, WEFT_REMARK_GUESS, &j->one_sided,
                           "stated from one side only and believed"));
    WEFT_TRY(say_tally(j, WEFT_REMARK_GUESS, &j->repeated, "stated twice by one side"));
    WEFT_TRY(say_tally(j, WEFT_REMARK_UNREAD, &j->loops,
                       "from a device to itself left out: nothing can pass there"));
    WEFT_TRY(say_tally(j, WEFT_REMARK_CONTRADICTION, &j->rates,
                       "with different rates on both sides; the lower is believed"));
    WEFT_TRY(say_tally(j, WEFT_REMARK_CONTRADICTION, &j->beyond,
                       "to a port beyond the number of ports of the device"));
    if (j->refused.count > 20)
        WEFT_TRY(weft_topology_add_remark(
            j->topology, WEFT_REMARK_CONTRADICTION, j->fabric->source, -1, j->error,
            "%d statements about cables contradict others in all", j->refused.count));
    return WEFT_OK;
}

/* Statements of one port stay in the order in which they were made. */
static weft_status sort_statements(struct weft_fabric *f, struct weft_error *error)
{
    bool is_sorted = true;
    for (int i = 1; i < f->num_ports && is_sorted; i++)
        is_sorted = compare_ports(&f->ports[i - 1], &f->ports[i]) <= 0;
    if (is_sorted)
        return WEFT_OK;
    // a stable sort by counting: first by port, then by device
    struct weft_fabric_port *buffer = malloc((size_t)f->num_ports * sizeof *buffer);
    int num_buckets = f->num_devices > WEFT_FABRIC_MAX_PORT ? f->num_devices : WEFT_FABRIC_MAX_PORT;
    int *starts = malloc(((size_t)num_buckets + 2) * sizeof *starts);
    if (!buffer || !starts) {
        free(buffer);
        free(starts);
        return no_memory(error);
    }
    for (int pass = 0; pass < 2; pass++) {
        struct weft_fabric_port *from = pass ? buffer : f->ports, *to = pass ? f->ports : buffer;
        memset(starts, 0, ((size_t)num_buckets + 2) * sizeof *starts);
        for (int i = 0; i < f->num_ports; i++)
            starts[(pass ? from[i].device : from[i].port) + 1]++;
        for (int i = 0; i <= num_buckets; i++)
            starts[i + 1] += starts[i];
        for (int i = 0; i < f->num_ports; i++)
            to[starts[pass ? from[i].device : from[i].port]++] = from[i];
    }
    free(buffer);
    free(starts);
    return WEFT_OK;
}

/* GUIDs and LIDs that were stated about the ports of adapters; a switch has one of each. */
static weft_status add_port_facts(struct weft_fabric *f, struct weft_topology *t,
                                  struct weft_error *error)
{
    for (int i = 0; i < f->num_ports; i++) {
        const struct weft_fabric_port *p = &f->ports[i];
        if (f->devices[p->device].about.role == WEFT_FABRIC_SWITCH)
            continue;
        bool is_first = i == 0 || f->ports[i - 1].device != p->device;
        if (!is_first && f->ports[i - 1].port == p->port)
            continue;
        int node = f->devices[p->device].node;
        char suffix[16] = "", key[32];
        if (p->port > 1)
            snprintf(suffix, sizeof suffix, ".%d", p->port);
        snprintf(key, sizeof key, "port_guid%s", suffix);
        WEFT_TRY(weft_topology_learn_guid(t, node, key, p->guid, f->source, error));
        if (p->lid >= 0) {
            snprintf(key, sizeof key, "lid%s", suffix);
            WEFT_TRY(weft_topology_learn_number(t, node, key, p->lid, f->source, error));
        }
    }
    return WEFT_OK;
}

static weft_status join_all(struct joining *j, struct taken *taken)
{
    WEFT_TRY(add_port_facts(j->fabric, j->topology, j->error));
    WEFT_TRY(join_agreed(j));
    WEFT_TRY(join_rest(j, taken));
    WEFT_TRY(say_repeated(j));
    return say_tallies(j);
}

weft_status weft_fabric_finish(struct weft_fabric *fabric, struct weft_topology *topology,
                               struct weft_error *error)
{
    WEFT_TRY(sort_statements(fabric, error));
    WEFT_TRY(weft_fabric_add_nodes(fabric, topology, error));
    struct joining j = {.fabric = fabric, .topology = topology, .error = error};
    j.is_used = calloc((size_t)fabric->num_ports + 1, sizeof *j.is_used);
    struct taken *taken = malloc(((size_t)fabric->num_ports + 1) * sizeof *taken);
    weft_status status = j.is_used && taken ? join_all(&j, taken) : no_memory(error);
    free(j.is_used);
    free(taken);
    WEFT_TRY(status);
    return weft_topology_find_tiers(topology, fabric->source, error);
}
