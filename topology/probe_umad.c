/*
 * SPDX-License-Identifier: Apache-2.0
 * The InfiniBand subnet as it is now: asked switch by switch through this machine's own ports, put
 * into the same builder that the files of a fabric go through.
 *
 * The library asks until it has an answer or gives up on each device, and nobody knows how many
 * devices do not answer; so a thread asks, and is left to itself when the time is up. It then ends
 * by itself and owns all that it uses.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/ibnetdisc.h"
#include "base/umad.h"
#include "topology/fabric.h"
#include "topology/probe.h"
#include "topology/probe_umad.h"

enum {
    TIMEOUT_MS = 200, // of one packet
    RETRIES = 1,
    MAX_PORTS = 64,        // of this machine that are looked through
    STATE_INITIALIZED = 2, // the link is up, a subnet manager has not been here
};

/* ---- one walk, in a thread of its own ---- */

struct walk {
    pthread_mutex_t mutex;
    pthread_cond_t is_over;
    struct weft_ibnetdisc table; // a copy: the caller's may be gone
    char adapter[UMAD_CA_NAME_LEN];
    int port;
    bool has_ended, is_abandoned;
    ibnd_fabric_t *fabric;
    int failure; // errno
};

static void destroy_walk(struct walk *walk)
{
    if (walk->fabric)
        walk->table.destroy(walk->fabric);
    pthread_cond_destroy(&walk->is_over);
    pthread_mutex_destroy(&walk->mutex);
    free(walk);
}

static void *run_walk(void *argument)
{
    struct walk *walk = argument;
    ibnd_config_t config = {.timeout_ms = TIMEOUT_MS, .retries = RETRIES};
    errno = 0;
    ibnd_fabric_t *fabric = walk->table.discover(walk->adapter, walk->port, NULL, &config);
    int failure = errno;
    pthread_mutex_lock(&walk->mutex);
    walk->fabric = fabric;
    walk->failure = failure;
    walk->has_ended = true;
    bool is_abandoned = walk->is_abandoned;
    pthread_cond_signal(&walk->is_over);
    pthread_mutex_unlock(&walk->mutex);
    if (is_abandoned)
        destroy_walk(walk);
    return NULL;
}

static weft_status start_walk(const struct weft_ibnetdisc *library, const char *adapter, int port,
                              struct walk **walk, struct weft_error *error)
{
    struct walk *made = calloc(1, sizeof *made);
    pthread_condattr_t clock;
    pthread_attr_t detached;
    pthread_t thread;
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "umad: no memory");
    made->table = *library;
    made->port = port;
    memcpy(made->adapter, adapter, strnlen(adapter, sizeof made->adapter - 1));
    pthread_mutex_init(&made->mutex, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&made->is_over, &clock);
    pthread_condattr_destroy(&clock);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(&thread, &detached, run_walk, made);
    pthread_attr_destroy(&detached);
    if (failure) {
        destroy_walk(made);
        return weft_fail(error, WEFT_SYSTEM, "no thread for the subnet: %s", strerror(failure));
    }
    *walk = made;
    return WEFT_OK;
}

/* *walk is NULL afterwards unless it ended in time. */
static weft_status await_walk(struct walk **walk, int64_t deadline_ns, struct weft_error *error)
{
    struct walk *w = *walk;
    const struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_mutex_lock(&w->mutex);
    int waited = 0;
    while (!w->has_ended && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&w->is_over, &w->mutex, &until);
    w->is_abandoned = !w->has_ended;
    bool is_abandoned = w->is_abandoned;
    pthread_mutex_unlock(&w->mutex);
    if (!is_abandoned)
        return WEFT_OK;
    *walk = NULL; // the thread frees it
    return weft_fail(error, WEFT_TIMEOUT,
                     "the subnet did not answer in time (WEFT_FABRIC_TIME gives it longer)");
}

/* ---- from the library's graph to the builder ---- */

struct umad_import {
    const struct weft_ibnetdisc *library;
    struct weft_fabric *fabric;
    struct weft_error *error;
};

static weft_status refer(struct umad_import *im, uint64_t guid, int *device)
{
    char id[20];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)guid);
    const struct weft_span span = {id, strlen(id)};
    return weft_fabric_refer(im->fabric, span, device, im->error);
}

static int widest(uint32_t mask)
{
    static const struct {
        uint32_t bit;
        int lanes;
    } widths[] = {{8, 12}, {4, 8}, {2, 4}, {16, 2}, {1, 1}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (mask & widths[i].bit)
            return widths[i].lanes;
    return 0;
}

static int64_t fastest(uint32_t speeds, uint32_t extended)
{
    static const char *const names[] = {"SDR", "DDR", "QDR", "FDR", "EDR", "HDR", "NDR"};
    const char *name = NULL;
    for (int bit = 0; bit < 3; bit++)
        name = speeds >> bit & 1 ? names[bit] : name;
    for (int bit = 0; bit < 4; bit++)
        name = extended >> bit & 1 ? names[3 + bit] : name;
    const struct weft_span span = {name ? name : "", name ? strlen(name) : 0};
    return weft_fabric_lane_bandwidth(span);
}

static int64_t bandwidth(int lanes, int64_t lane)
{
    return lanes > 0 && lane > 0 ? lanes * lane : -1;
}

static void read_port(const struct umad_import *im, ibnd_port_t *from, struct weft_fabric_port *to)
{
    uint32_t (*get)(void *, int, enum MAD_FIELDS) = im->library->get_field;
    uint32_t widths = get(from->info, 0, IB_PORT_LINK_WIDTH_SUPPORTED_F);
    uint32_t speeds = get(from->info, 0, IB_PORT_LINK_SPEED_SUPPORTED_F);
    uint32_t extended = get(from->info, 0, IB_PORT_LINK_SPEED_EXT_SUPPORTED_F);
    to->guid = from->guid;
    to->lid = from->base_lid ? from->base_lid : -1;
    to->current = bandwidth(widest(get(from->info, 0, IB_PORT_LINK_WIDTH_ACTIVE_F)),
                            fastest(get(from->info, 0, IB_PORT_LINK_SPEED_ACTIVE_F),
                                    get(from->info, 0, IB_PORT_LINK_SPEED_EXT_ACTIVE_F)));
    // what the port can do and is allowed to do
    to->nominal =
        bandwidth(widest(widths & get(from->info, 0, IB_PORT_LINK_WIDTH_ENABLED_F)),
                  fastest(speeds & get(from->info, 0, IB_PORT_LINK_SPEED_ENABLED_F),
                          extended & get(from->info, 0, IB_PORT_LINK_SPEED_EXT_ENABLED_F)));
}

static weft_status import_node(struct umad_import *im, ibnd_node_t *node)
{
    int device;
    WEFT_TRY(refer(im, node->guid, &device));
    if (weft_fabric_is_declared(im->fabric, device))
        return WEFT_OK; // seen from another port of this machine
    struct weft_fabric_device about =
        weft_fabric_device_make(node->type == IB_NODE_SWITCH   ? WEFT_FABRIC_SWITCH
                                : node->type == IB_NODE_ROUTER ? WEFT_FABRIC_ROUTER
                                                               : WEFT_FABRIC_ADAPTER);
    about.description = weft_span_trim(
        (struct weft_span){node->nodedesc, strnlen(node->nodedesc, sizeof node->nodedesc)});
    about.node_guid = node->guid;
    about.system_guid = im->library->get_field64(node->info, 0, IB_NODE_SYSTEM_GUID_F);
    about.vendor_id = im->library->get_field(node->info, 0, IB_NODE_VENDORID_F);
    about.device_id = im->library->get_field(node->info, 0, IB_NODE_DEVID_F);
    about.num_ports = node->numports <= WEFT_FABRIC_MAX_PORT ? node->numports : 0;
    if (node->type == IB_NODE_SWITCH) {
        about.lid = node->smalid ? node->smalid : -1;
        about.enhanced_port0 = node->smaenhsp0 != 0;
    }
    return weft_fabric_declare(im->fabric, device, &about, im->error);
}

static weft_status import_ports(struct umad_import *im, ibnd_node_t *node)
{
    int device;
    WEFT_TRY(refer(im, node->guid, &device));
    for (int i = 1; i <= node->numports && i <= WEFT_FABRIC_MAX_PORT && node->ports; i++) {
        ibnd_port_t *port = node->ports[i];
        if (!port || !port->remoteport || !port->remoteport->node)
            continue;
        struct weft_fabric_port about = weft_fabric_port_make(device, i);
        read_port(im, port, &about);
        WEFT_TRY(refer(im, port->remoteport->node->guid, &about.peer));
        about.peer_port = port->remoteport->portnum;
        WEFT_TRY(weft_fabric_state(im->fabric, &about, im->error));
    }
    return WEFT_OK;
}

static weft_status import_fabric(struct umad_import *im, ibnd_fabric_t *fabric)
{
    for (ibnd_node_t *node = fabric->nodes; node; node = node->next)
        WEFT_TRY(import_node(im, node));
    for (ibnd_node_t *node = fabric->nodes; node; node = node->next)
        WEFT_TRY(import_ports(im, node));
    return WEFT_OK;
}

/* ---- the ports of this machine ---- */

struct local_port {
    char adapter[UMAD_CA_NAME_LEN];
    int port;
    uint64_t node_guid;
};

/* Ports with a live InfiniBand link. */
static int list_ports(const struct weft_umad *umad, struct local_port *ports)
{
    char names[UMAD_MAX_DEVICES][UMAD_CA_NAME_LEN];
    int count = 0, num_adapters = umad->get_adapter_names(names, UMAD_MAX_DEVICES);
    for (int i = 0; i < num_adapters; i++) {
        umad_ca_t adapter;
        if (umad->get_adapter(names[i], &adapter) < 0)
            continue;
        for (int p = 0; p < UMAD_CA_MAX_PORTS; p++) {
            const umad_port_t *port = adapter.ports[p];
            bool is_ethernet = port && strncmp(port->link_layer, "Ethernet", 8) == 0;
            if (!port || is_ethernet || port->state < STATE_INITIALIZED || count == MAX_PORTS)
                continue;
            memcpy(ports[count].adapter, names[i], sizeof names[i]);
            ports[count].port = port->portnum;
            ports[count++].node_guid = be64toh(adapter.node_guid);
        }
        umad->release_adapter(&adapter);
    }
    return count;
}

/* Whether a walk through another port has seen this one's adapter with a cable on this port. */
static bool is_seen(const ibnd_fabric_t *fabric, const struct local_port *port)
{
    for (const ibnd_node_t *node = fabric->nodes; node; node = node->next)
        if (node->guid == port->node_guid)
            return node->ports && port->port <= node->numports && node->ports[port->port] &&
                   node->ports[port->port]->remoteport;
    return false;
}

static weft_status walk_port(struct umad_import *im, const struct local_port *ports, int count,
                             int index, bool *seen, int64_t deadline_ns)
{
    struct walk *walk = NULL;
    WEFT_TRY(start_walk(im->library, ports[index].adapter, ports[index].port, &walk, im->error));
    WEFT_TRY(await_walk(&walk, deadline_ns, im->error));
    weft_status status =
        walk->fabric ? import_fabric(im, walk->fabric)
                     : weft_fail(im->error, WEFT_SYSTEM, "walking the subnet from %.19s failed: %s",
                                 ports[index].adapter,
                                 walk->failure ? strerror(walk->failure) : "no reason given");
    for (int i = 0; i < count && walk->fabric; i++)
        seen[i] |= is_seen(walk->fabric, &ports[i]);
    destroy_walk(walk);
    return status;
}

/* One subnet that cannot be seen does not hide another. */
static weft_status look_from_ports(struct umad_import *im, const struct local_port *ports,
                                   int count, int64_t deadline_ns, struct weft_topology *topology)
{
    bool seen[MAX_PORTS] = {false}, has_looked = false;
    struct weft_error first = {0}, failure = {0}, *caller = im->error;
    for (int i = 0; i < count; i++) {
        if (seen[i])
            continue;
        im->error = &failure;
        weft_status status = walk_port(im, ports, count, i, seen, deadline_ns);
        im->error = caller;
        if (status == WEFT_OUT_OF_MEMORY)
            return weft_fail(caller, status, "%s", failure.text);
        has_looked |= status == WEFT_OK;
        if (status != WEFT_OK && first.status == WEFT_OK)
            first = failure;
    }
    if (!has_looked)
        return weft_fail(caller, first.status, "%s", first.text);
    if (first.status == WEFT_OK)
        return WEFT_OK;
    return weft_topology_add_remark(topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_UMAD, -1, caller,
                                    "not all subnets could be seen: %.180s", first.text);
}

weft_status weft_probe_umad_with(const struct weft_umad *umad,
                                 const struct weft_ibnetdisc *ibnetdisc, int64_t allowed_ns,
                                 struct weft_topology *topology, struct weft_error *error)
{
    struct local_port ports[MAX_PORTS];
    int64_t deadline_ns = weft_deadline_after(allowed_ns);
    struct umad_import im = {.library = ibnetdisc, .error = error};
    int count = list_ports(umad, ports);
    if (count == 0)
        return weft_fail(error, WEFT_NOT_FOUND, "no InfiniBand port has a link");
    int handle = umad->open_port(ports[0].adapter, ports[0].port);
    if (handle < 0)
        return weft_fail(error, WEFT_SYSTEM, "port %d of %.19s cannot be opened for management: %s",
                         ports[0].port, ports[0].adapter, strerror(-handle));
    umad->close_port(handle);
    WEFT_TRY(weft_fabric_create(WEFT_SOURCE_UMAD, true, &im.fabric, error));
    weft_status status = look_from_ports(&im, ports, count, deadline_ns, topology);
    if (status == WEFT_OK)
        status = weft_fabric_finish(im.fabric, topology, error);
    weft_fabric_destroy(&im.fabric);
    return status;
}

/* ---- the probe ---- */

static weft_status allowed_time(int64_t *allowed_ns, struct weft_error *error)
{
    const char *text = weft_config_environment("WEFT_FABRIC_TIME");
    for (int i = 0; i < weft_config_num_rows && !text; i++)
        if (strcmp(weft_config_rows[i].name, "WEFT_FABRIC_TIME") == 0)
            text = weft_config_rows[i].fallback;
    if (weft_parse_duration(text, allowed_ns, error) != WEFT_OK)
        return weft_fail_prefix(error, "WEFT_FABRIC_TIME");
    return WEFT_OK;
}

/* The library names a device of old where there is none, so each name is tried. */
static bool has_adapter(const struct weft_umad *umad)
{
    char names[UMAD_MAX_DEVICES][UMAD_CA_NAME_LEN];
    int count = umad->init() < 0 ? 0 : umad->get_adapter_names(names, UMAD_MAX_DEVICES);
    for (int i = 0; i < count; i++) {
        umad_ca_t adapter;
        if (umad->get_adapter(names[i], &adapter) < 0)
            continue;
        umad->release_adapter(&adapter);
        return true;
    }
    return false;
}

static bool umad_available(const char **reason)
{
    struct weft_umad umad;
    struct weft_ibnetdisc ibnetdisc;
    int64_t allowed_ns;
    if (allowed_time(&allowed_ns, NULL) == WEFT_OK && allowed_ns == 0)
        *reason = "WEFT_FABRIC_TIME is 0";
    else if (weft_umad_open(&umad, NULL) != WEFT_OK)
        *reason = "libibumad is not installed";
    else if (weft_ibnetdisc_open(&ibnetdisc, NULL) != WEFT_OK)
        *reason = "libibnetdisc is not installed";
    else if (!has_adapter(&umad))
        *reason = "no InfiniBand adapter";
    else
        return true;
    return false;
}

static weft_status umad_discover(struct weft_topology *topology, struct weft_error *error)
{
    struct weft_umad umad;
    struct weft_ibnetdisc ibnetdisc;
    int64_t allowed_ns;
    WEFT_TRY(allowed_time(&allowed_ns, error));
    WEFT_TRY(weft_umad_open(&umad, error));
    WEFT_TRY(weft_ibnetdisc_open(&ibnetdisc, error));
    return weft_probe_umad_with(&umad, &ibnetdisc, allowed_ns, topology, error);
}

const struct weft_probe weft_probe_umad = {
    .name = "umad",
    .phase = WEFT_PROBE_PHASE_FABRIC,
    .available = umad_available,
    .discover = umad_discover,
};
