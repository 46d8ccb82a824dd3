/*
 * SPDX-License-Identifier: Apache-2.0
 * The half of the fabric builder that makes nodes of devices. The only thing that ties an adapter
 * to a host is its node description, "HOST DEVICE", and that may be the factory's or one that many
 * machines share; so it is believed only where no two adapters claim to be the same device of the
 * same host, and the others go by their GUID.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/fabric_private.h"
#include "topology/guid.h"

enum { ID_GUID_DIGITS = 16 };

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "fabric: no memory");
}

/* ---- what a description says ---- */

/* Names that systems have before anybody gives them one. */
static bool is_shared_name(const char *name)
{
    static const char *const names[] = {
        "localhost", "localhost.localdomain", "ubuntu", "debian", "centos", "rocky", "linux",
        "unknown"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_host_name(const char *name)
{
    bool has_letter = false;
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("-._", *at))
            return false;
        has_letter |= isalpha((unsigned char)*at) != 0;
    }
    return has_letter && isalnum((unsigned char)name[0]);
}

/* "mlx5_0", "ibp12s0", "HCA-1": a name that ends in a number, as drivers and scripts give it. */
static bool is_device_name(const char *name)
{
    size_t length = strlen(name);
    if (strncmp(name, "HCA-", 4) != 0 && !islower((unsigned char)name[0]))
        return false;
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("-_", *at))
            return false;
    return length > 1 && isdigit((unsigned char)name[length - 1]);
}

static weft_status split_description(struct fabric_device *d, struct weft_error *error)
{
    char text[WEFT_TOPOLOGY_NAME_BYTES], *rest, *host, *nic;
    if (!d->description || d->about.role != WEFT_FABRIC_ADAPTER)
        return WEFT_OK;
    snprintf(text, sizeof text, "%s", d->description);
    host = strtok_r(text, " ", &rest);
    nic = strtok_r(NULL, " ", &rest);
    if (!nic || strtok_r(NULL, " ", &rest) || !is_host_name(host) || !is_device_name(nic) ||
        is_shared_name(host))
        return WEFT_OK;
    d->host = strdup(host);
    d->nic = strdup(nic);
    return d->host && d->nic ? WEFT_OK : no_memory(error);
}

static bool is_aggregator(const struct fabric_device *d)
{
    return d->about.role == WEFT_FABRIC_ADAPTER && d->description &&
           strstr(d->description, "Aggregation Node");
}

static void forget_host(struct fabric_device *d)
{
    free(d->host);
    free(d->nic);
    d->host = d->nic = NULL;
}

/* ---- which descriptions are believed ---- */

static int compare_hosts(const void *a, const void *b)
{
    const struct fabric_device *x = *(struct fabric_device *const *)a;
    const struct fabric_device *y = *(struct fabric_device *const *)b;
    int hosts = strcmp(x->host, y->host);
    return hosts ? hosts : strcmp(x->nic, y->nic);
}

/* Two adapters that are both HOST's mlx5_0 show that several machines have that name. */
static int drop_shared_hosts(struct fabric_device **sorted, int count)
{
    int dropped = 0;
    qsort(sorted, (size_t)count, sizeof *sorted, compare_hosts);
    for (int first = 0, end; first < count; first = end) {
        bool is_shared = false;
        for (end = first + 1; end < count && strcmp(sorted[first]->host, sorted[end]->host) == 0;
             end++)
            is_shared |= strcmp(sorted[end - 1]->nic, sorted[end]->nic) == 0;
        if (!is_shared)
            continue;
        dropped += end - first;
        char name[WEFT_TOPOLOGY_NAME_BYTES];
        snprintf(name, sizeof name, "%s", sorted[first]->host);
        for (int i = end - 1; i >= first; i--)
            forget_host(sorted[i]);
    }
    return dropped;
}

static int compare_systems(const void *a, const void *b)
{
    const struct fabric_device *x = *(struct fabric_device *const *)a;
    const struct fabric_device *y = *(struct fabric_device *const *)b;
    if (x->about.system_guid != y->about.system_guid)
        return x->about.system_guid < y->about.system_guid ? -1 : 1;
    return x < y ? -1 : x > y;
}

static weft_status give_host(struct fabric_device *d, const char *host, struct weft_error *error)
{
    char nic[24];
    snprintf(nic, sizeof nic, "%016llx", (unsigned long long)d->about.node_guid);
    d->host = strdup(host);
    d->nic = strdup(nic);
    return d->host && d->nic ? WEFT_OK : no_memory(error);
}

/* Adapters of one system image sit in one machine: what one of them says holds for all. */
static weft_status share_system(struct fabric_device **sorted, int count, int *num_given,
                                struct weft_error *error)
{
    qsort(sorted, (size_t)count, sizeof *sorted, compare_systems);
    for (int first = 0, end; first < count; first = end) {
        const char *host = NULL;
        bool is_one = true;
        for (end = first;
             end < count && sorted[end]->about.system_guid == sorted[first]->about.system_guid;
             end++) {
            if (sorted[end]->host && host && strcmp(host, sorted[end]->host) != 0)
                is_one = false;
            host = sorted[end]->host ? sorted[end]->host : host;
        }
        char made[32];
        snprintf(made, sizeof made, "host-%016llx",
                 (unsigned long long)sorted[first]->about.system_guid);
        for (int i = first; is_one && end - first > 1 && i < end; i++) {
            if (sorted[i]->host || !sorted[i]->about.node_guid)
                continue;
            WEFT_TRY(give_host(sorted[i], host ? host : made, error));
            ++*num_given;
        }
    }
    return WEFT_OK;
}

/* ---- names ---- */

/* "MF0;NAME:MODEL/U1", as the operating system of managed switches says it. A chassis of several
 * switches gives all of them one NAME. */
static bool split_managed(const char *description, struct weft_span *name, struct weft_span *model)
{
    const char *start = strchr(description, ';');
    const char *colon = start ? strrchr(start, ':') : NULL;
    if (!colon || strncmp(description, "MF", 2) != 0 || colon == start + 1)
        return false;
    *name = (struct weft_span){start + 1, (size_t)(colon - start) - 1};
    *model = (struct weft_span){colon + 1, strcspn(colon + 1, "/")};
    return true;
}

/* What a device would be called if nobody else were called so. */
static void wanted_name(const struct fabric_device *d, char *name, size_t size)
{
    struct weft_span short_name, model;
    unsigned long long guid = d->about.node_guid;
    bool is_adapter = d->about.role == WEFT_FABRIC_ADAPTER;
    if (d->host)
        snprintf(name, size, "%.120s/%.120s", d->host, d->nic);
    else if (!is_adapter && d->description && split_managed(d->description, &short_name, &model))
        snprintf(name, size, "%.*s", (int)(short_name.bytes < 200 ? short_name.bytes : 200),
                 short_name.at);
    else if (d->description &&
             (!is_adapter || (is_host_name(d->description) && !is_shared_name(d->description))))
        snprintf(name, size, "%.200s", d->description);
    else if (guid)
        snprintf(name, size, "%016llx", guid);
    else {
        struct weft_span id = {d->id, strlen(d->id)};
        weft_span_copy(id, name, size < 200 ? size : 200);
        if (!name[0])
            snprintf(name, size, "device");
    }
}

struct named {
    int device;
    bool is_shared;
    char name[WEFT_TOPOLOGY_NAME_BYTES];
};

static int compare_names(const void *a, const void *b)
{
    const struct named *x = *(struct named *const *)a, *y = *(struct named *const *)b;
    return strcmp(x->name, y->name);
}

/* Devices that would share a name get their GUID into it, all of them, so that the names do not
 * depend on the order in which they were found. */
static weft_status mark_shared_names(struct named *names, int count, struct weft_error *error)
{
    struct named **sorted = malloc(((size_t)count + 1) * sizeof(struct named *));
    if (!sorted)
        return no_memory(error);
    for (int i = 0; i < count; i++)
        sorted[i] = &names[i];
    qsort(sorted, (size_t)count, sizeof *sorted, compare_names);
    for (int i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            sorted[i - 1]->is_shared = sorted[i]->is_shared = true;
    free(sorted);
    return WEFT_OK;
}

static void make_unique(const struct weft_topology *t, const struct fabric_device *d,
                        struct named *n)
{
    char base[WEFT_TOPOLOGY_NAME_BYTES];
    unsigned long long guid = d->about.node_guid;
    snprintf(base, sizeof base, "%.200s", n->name);
    if (n->is_shared && guid)
        snprintf(n->name, sizeof n->name, "%.200s-%016llx", base, guid);
    for (int64_t i = n->device; weft_topology_find_node(t, n->name) >= 0; i += 1 + i)
        snprintf(n->name, sizeof n->name, "%.200s~%lld", base, (long long)i);
}

/* ---- nodes that exist already ---- */

struct known {
    uint64_t guid;
    int node;
};

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->guid != y->guid)
        return x->guid < y->guid ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static int find_known(const struct known *known, int count, uint64_t guid)
{
    int low = 0, high = count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (known[middle].guid < guid)
            low = middle + 1;
        else
            high = middle;
    }
    return guid && low < count && known[low].guid == guid ? known[low].node : -1;
}

/* NICs and switches of the graph, by their GUIDs. */
static weft_status list_known(const struct weft_topology *t, struct known **known, int *count,
                              struct weft_error *error)
{
    static const char *const keys[] = {"node_guid", "port_guid"};
    *known = malloc(((size_t)t->num_nodes * 2 + 1) * sizeof **known);
    if (!*known)
        return no_memory(error);
    for (int i = 0; i < t->num_nodes; i++)
        for (int k = 0; k < 2; k++) {
            const char *text = weft_topology_text(t, i, keys[k]);
            uint64_t guid = text ? weft_guid_read(text) : 0;
            if (guid)
                (*known)[(*count)++] = (struct known){guid, i};
        }
    qsort(*known, (size_t)*count, sizeof **known, compare_known);
    return WEFT_OK;
}

/* ---- adding ---- */

struct adding {
    struct weft_fabric *fabric;
    struct weft_topology *topology;
    struct weft_error *error;
    struct known *known;
    int num_known;
    struct named *names;
    struct fabric_device **sorted;
    int num_shared, num_given; // adapters: description shared by machines; host from a sibling
};

static weft_status learn_number(struct adding *a, int node, const char *key, int64_t number)
{
    if (number < 0)
        return WEFT_OK;
    return weft_topology_learn_number(a->topology, node, key, number, a->fabric->source, a->error);
}

static weft_status learn_text(struct adding *a, int node, const char *key, const char *text)
{
    if (!text || !text[0])
        return WEFT_OK;
    return weft_topology_learn_text(a->topology, node, key, text, a->fabric->source, a->error);
}

static weft_status add_facts(struct adding *a, const struct fabric_device *d)
{
    const struct weft_fabric_device *about = &d->about;
    struct weft_span name, model;
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    WEFT_TRY(weft_topology_learn_guid(a->topology, d->node, "node_guid", about->node_guid,
                                      a->fabric->source, a->error));
    WEFT_TRY(weft_topology_learn_guid(a->topology, d->node, "system_guid", about->system_guid,
                                      a->fabric->source, a->error));
    WEFT_TRY(learn_text(a, d->node, "description", d->description));
    if (d->model)
        WEFT_TRY(learn_text(a, d->node, "model", d->model));
    else if (about->role == WEFT_FABRIC_SWITCH && d->description &&
             split_managed(d->description, &name, &model))
        WEFT_TRY(learn_text(a, d->node, "model", weft_span_copy(model, text, sizeof text)));
    WEFT_TRY(learn_number(a, d->node, "num_ports", about->num_ports ? about->num_ports : -1));
    if (about->role == WEFT_FABRIC_SWITCH)
        WEFT_TRY(learn_number(a, d->node, "lid", about->lid));
    if (about->enhanced_port0 >= 0)
        WEFT_TRY(learn_text(a, d->node, "port0", about->enhanced_port0 ? "enhanced" : "base"));
    if (about->vendor_id >= 0 && about->device_id >= 0) {
        snprintf(text, sizeof text, "%06llx:%04llx", (unsigned long long)about->vendor_id,
                 (unsigned long long)about->device_id);
        WEFT_TRY(learn_text(a, d->node, "ib_device", text));
    }
    if (about->role != WEFT_FABRIC_ADAPTER || is_aggregator(d))
        return WEFT_OK;
    if (d->nic && islower((unsigned char)d->nic[0]))
        WEFT_TRY(learn_text(a, d->node, "rdma_device", d->nic));
    return learn_text(a, d->node, "link_layer", "infiniband");
}

static weft_status find_host(struct adding *a, const char *host, int *node)
{
    struct weft_topology *t = a->topology;
    *node = weft_topology_find_node(t, host);
    if (*node >= 0 && t->nodes[*node].kind == WEFT_NODE_HOST)
        return WEFT_OK;
    if (*node < 0)
        return weft_topology_add_node(t, WEFT_NODE_HOST, host, -1, node, a->error);
    *node = -1; // a switch or the like has that name
    return weft_topology_add_remark(t, WEFT_REMARK_CONTRADICTION, a->fabric->source, -1, a->error,
                                    "%.80s is the name of a host and of something else", host);
}

static weft_status add_device(struct adding *a, int index)
{
    struct weft_topology *t = a->topology;
    struct fabric_device *d = &a->fabric->devices[index];
    struct named *n = &a->names[index];
    int parent = -1, kind = WEFT_NODE_SWITCH;
    d->node = find_known(a->known, a->num_known, d->about.node_guid);
    if (d->node < 0 && d->host) { // a NIC of a host that was probed without its GUID
        int same = weft_topology_find_node(t, n->name);
        if (same >= 0 && t->nodes[same].kind == WEFT_NODE_NIC && a->num_known > 0 &&
            !weft_topology_text(t, same, "node_guid"))
            d->node = same;
    }
    if (d->node >= 0)
        return add_facts(a, d);
    if (d->about.role == WEFT_FABRIC_ADAPTER)
        kind = is_aggregator(d) ? WEFT_NODE_AGGREGATOR : WEFT_NODE_NIC;
    else if (d->about.role == WEFT_FABRIC_ROUTER)
        kind = WEFT_NODE_DEVICE;
    if (d->host)
        WEFT_TRY(find_host(a, d->host, &parent));
    make_unique(t, d, n);
    WEFT_TRY(weft_topology_add_node(t, kind, n->name, parent, &d->node, a->error));
    return add_facts(a, d);
}

/* A device that is only somebody's peer: its id tells what it is, as tools write it. */
static void guess_undeclared(struct fabric_device *d)
{
    bool is_marked = d->id[0] && d->id[1] == '-' && strlen(d->id) == 2 + ID_GUID_DIGITS;
    if (is_marked)
        d->about.node_guid = weft_guid_read(d->id + 2);
    if (is_marked && d->id[0] == 'S')
        d->about.role = WEFT_FABRIC_SWITCH;
    else
        d->about.role = is_marked && d->id[0] == 'R' ? WEFT_FABRIC_ROUTER : WEFT_FABRIC_ADAPTER;
}

static weft_status decide_hosts(struct adding *a)
{
    struct weft_fabric *f = a->fabric;
    int count = 0;
    for (int i = 0; i < f->num_devices; i++) {
        WEFT_TRY(split_description(&f->devices[i], a->error));
        if (f->devices[i].host)
            a->sorted[count++] = &f->devices[i];
    }
    a->num_shared = drop_shared_hosts(a->sorted, count);
    count = 0;
    for (int i = 0; i < f->num_devices; i++)
        if (f->devices[i].about.role == WEFT_FABRIC_ADAPTER && f->devices[i].about.system_guid &&
            !is_aggregator(&f->devices[i]))
            a->sorted[count++] = &f->devices[i];
    return share_system(a->sorted, count, &a->num_given, a->error);
}

/* Adapters that a person would want to know the host of. */
static weft_status remark_on_hosts(struct adding *a)
{
    const struct weft_fabric *f = a->fabric;
    int without = 0, first = -1;
    for (int i = 0; i < f->num_devices; i++) {
        const struct fabric_device *d = &f->devices[i];
        if (d->about.role != WEFT_FABRIC_ADAPTER || is_aggregator(d) || d->host ||
            !d->about.node_guid || a->topology->nodes[d->node].parent >= 0 ||
            (d->description && strcmp(a->topology->nodes[d->node].name, d->description) == 0))
            continue;
        if (without++ == 0)
            first = i;
    }
    if (a->num_given > 0)
        WEFT_TRY(weft_topology_add_remark(
            a->topology, WEFT_REMARK_GUESS, f->source, -1, a->error,
            "%d channel adapter%s put into a host by system image GUID, for want of a name",
            a->num_given, a->num_given > 1 ? "s were" : " was"));
    if (a->num_shared > 0)
        WEFT_TRY(weft_topology_add_remark(a->topology, WEFT_REMARK_CONTRADICTION, f->source, -1,
                                          a->error,
                                          "%d channel adapters share the names of their hosts with "
                                          "others; they have no host here",
                                          a->num_shared));
    if (without == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        a->topology, WEFT_REMARK_HIDDEN, f->source, f->devices[first].node, a->error,
        "%d channel adapter%s not say in which host they are (first: \"%.60s\")", without,
        without > 1 ? "s do" : " does",
        f->devices[first].description ? f->devices[first].description : "");
}

static weft_status add_all(struct adding *a)
{
    struct weft_fabric *f = a->fabric;
    int undeclared = 0, first = -1;
    for (int i = 0; i < f->num_devices; i++)
        if (!weft_fabric_is_declared(f, i)) {
            guess_undeclared(&f->devices[i]);
            first = undeclared++ == 0 ? i : first;
        }
    WEFT_TRY(decide_hosts(a));
    for (int i = 0; i < f->num_devices; i++) {
        a->names[i].device = i;
        wanted_name(&f->devices[i], a->names[i].name, sizeof a->names[i].name);
    }
    WEFT_TRY(mark_shared_names(a->names, f->num_devices, a->error));
    for (int i = 0; i < f->num_devices; i++)
        WEFT_TRY(add_device(a, i));
    if (undeclared > 0)
        WEFT_TRY(weft_topology_add_remark(
            a->topology, WEFT_REMARK_GUESS, f->source, f->devices[first].node, a->error,
            "%d device%s somebody's peer, but described nowhere (first: %.60s)", undeclared,
            undeclared > 1 ? "s are" : " is", f->devices[first].id));
    return remark_on_hosts(a);
}

weft_status weft_fabric_add_nodes(struct weft_fabric *fabric, struct weft_topology *topology,
                                  struct weft_error *error)
{
    struct adding a = {.fabric = fabric, .topology = topology, .error = error};
    size_t count = (size_t)fabric->num_devices + 1;
    a.names = calloc(count, sizeof *a.names);
    a.sorted = malloc(count * sizeof(struct fabric_device *));
    weft_status status = a.names && a.sorted ? WEFT_OK : no_memory(error);
    if (status == WEFT_OK)
        status = list_known(topology, &a.known, &a.num_known, error);
    if (status == WEFT_OK)
        status = add_all(&a);
    free(a.names);
    free(a.sorted);
    free(a.known);
    return status;
}
