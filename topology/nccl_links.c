/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading NCCL's topology XML: from what each device states about its NVLink, XGMI, C2C and PCIe
 * side links to the links of the graph. The file says each full-duplex link once from either side;
 * the graph has it once. What leads to a device that nobody can see stays a number and a remark.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/nccl_xml.h"
#include "topology/xml.h"

/* One direction of a link between two nodes. */
struct edge {
    int kind;
    int low, high; // nodes
    bool is_back;  // from high to low
    int64_t count;
    const xmlNode *element;
};

struct joiner {
    struct weft_nccl_reading *s;
    const struct weft_nccl_device **by_address; // num_devices
    struct edge *edges;
    int num_edges;     // num_statements at most
    int hidden_switch; // node that stands for all of them; -1: none
};

/* ---- who is meant ---- */

static int compare_devices(const void *a, const void *b)
{
    const struct weft_nccl_device *x = *(const struct weft_nccl_device *const *)a,
                                  *y = *(const struct weft_nccl_device *const *)b;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    int order = strcmp(x->address, y->address);
    return order ? order : (x > y) - (x < y);
}

static int compare_to_key(const void *key, const void *element)
{
    const struct weft_nccl_device *x = key, *y = *(const struct weft_nccl_device *const *)element;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    return strcmp(x->address, y->address);
}

static weft_status sort_devices(struct joiner *j)
{
    struct weft_nccl_reading *s = j->s;
    for (int i = 0; i < s->num_devices; i++)
        j->by_address[i] = &s->devices[i];
    qsort(j->by_address, (size_t)s->num_devices, sizeof *j->by_address, compare_devices);
    for (int i = 1; i < s->num_devices; i++) {
        const struct weft_nccl_device *device = j->by_address[i], *before = j->by_address[i - 1];
        if (compare_to_key(device, &before) == 0)
            return weft_xml_refuse(device->element, s->name, s->error,
                                   "busid %s is that of line %ld too", device->address,
                                   xmlGetLineNo(before->element));
    }
    return WEFT_OK;
}

/* The device that a statement points at; NULL: the file has none. */
static const struct weft_nccl_device *target_of(const struct joiner *j,
                                                const struct weft_nccl_statement *statement)
{
    const struct weft_nccl_reading *s = j->s;
    struct weft_nccl_device key = {.host = s->devices[statement->device].host};
    snprintf(key.address, sizeof key.address, "%s", statement->target);
    const struct weft_nccl_device **found =
        bsearch(&key, j->by_address, (size_t)s->num_devices, sizeof *j->by_address, compare_to_key);
    return found ? *found : NULL;
}

/* ---- what cannot be seen ---- */

static weft_status keep_hidden(struct joiner *j, const struct weft_nccl_statement *statement,
                               const char *why)
{
    struct weft_nccl_reading *s = j->s;
    struct weft_topology *t = s->topology;
    int node = s->devices[statement->device].node;
    const char *kind = weft_link_kinds[statement->kind].name;
    char key[32];
    snprintf(key, sizeof key, "hidden_%s", kind);
    int64_t before = weft_topology_number(t, node, key, 0);
    WEFT_TRY(weft_nccl_keep_child(s, "gpu", node, statement->element));
    WEFT_TRY(weft_nccl_set_number(s, statement->element, node, key, before + statement->count));
    return weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_FILE, node, s->error,
                                    "%lld %s link%s of %.60s lead%s to %.24s, %s",
                                    (long long)statement->count, kind,
                                    statement->count == 1 ? "" : "s", t->nodes[node].name,
                                    statement->count == 1 ? "s" : "", statement->target, why);
}

static bool is_to_hidden_switch(const struct weft_nccl_statement *statement)
{
    return statement->kind == WEFT_LINK_NVLINK && statement->count > 0 &&
           weft_nccl_is_hidden(statement->target) &&
           weft_nccl_is_switch_class(statement->target_class);
}

/* Where no GPU of the file sees the address of its NVSwitches (virtual machines; racks, whose
 * switches are no PCI devices of a host), NCCL takes them for one. So do we, and say so. */
static weft_status guess_hidden_switch(struct joiner *j)
{
    struct weft_nccl_reading *s = j->s;
    int gpus = 0, host = -1;
    bool is_one_host = true;
    for (int i = 0, last = -1; i < s->num_statements; i++) {
        const struct weft_nccl_statement *statement = &s->statements[i];
        if (statement->kind != WEFT_LINK_NVLINK)
            continue;
        if (!is_to_hidden_switch(statement))
            return WEFT_OK;
        gpus += statement->device != last;
        last = statement->device;
        is_one_host &= host < 0 || host == s->devices[statement->device].host;
        host = s->devices[statement->device].host;
    }
    if (gpus == 0)
        return WEFT_OK;
    WEFT_TRY(weft_nccl_add_node(s, WEFT_NODE_NVSWITCH, is_one_host ? host : -1, "nvswitch0",
                                is_one_host ? host : -1, &j->hidden_switch));
    return weft_topology_add_remark(
        s->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, j->hidden_switch, s->error,
        "the NVSwitches of %d GPU%s show no address (%s): one that joins them all is taken", gpus,
        gpus > 1 ? "s" : "", is_one_host ? "a virtual machine, as a rule" : "a rack's");
}

/* ---- switches that only their links name ---- */

static int compare_statements(const void *a, const void *b)
{
    const struct weft_nccl_statement *x = *(const struct weft_nccl_statement *const *)a,
                                     *y = *(const struct weft_nccl_statement *const *)b;
    return strcmp(x->target, y->target);
}

static bool names_switch(const struct joiner *j, const struct weft_nccl_statement *statement)
{
    return statement->kind == WEFT_LINK_NVLINK && statement->count > 0 &&
           weft_nccl_is_switch_class(statement->target_class) &&
           !weft_nccl_is_hidden(statement->target) && !target_of(j, statement);
}

/* By host, then by address, so that their numbers do not depend on the order of the file. The node
 * of each goes into `switch_of`, by statement. */
static weft_status make_switches(struct joiner *j, const struct weft_nccl_statement **found,
                                 int *switch_of)
{
    struct weft_nccl_reading *s = j->s;
    for (int first = 0, end; first < s->num_statements; first = end) {
        int host = s->devices[s->statements[first].device].host, count = 0, node = -1, number = 0;
        for (end = first;
             end < s->num_statements && s->devices[s->statements[end].device].host == host; end++)
            if (names_switch(j, &s->statements[end]))
                found[count++] = &s->statements[end];
        if (count)
            qsort(found, (size_t)count, sizeof *found, compare_statements);
        for (int i = 0; i < count; i++) {
            char word[32];
            if (i == 0 || compare_statements(&found[i - 1], &found[i]) != 0) {
                snprintf(word, sizeof word, "nvswitch%d", number++);
                WEFT_TRY(weft_nccl_located(
                    s, found[i]->element,
                    weft_nccl_add_node(s, WEFT_NODE_NVSWITCH, host, word, host, &node)));
                WEFT_TRY(weft_nccl_set_text(s, found[i]->element, node, "pci_address",
                                            found[i]->target));
                WEFT_TRY(weft_nccl_set_text(s, found[i]->element, node, "pci_class",
                                            found[i]->target_class));
            }
            switch_of[found[i] - s->statements] = node;
        }
    }
    return WEFT_OK;
}

/* ---- from statements to edges ---- */

static void add_edge(struct joiner *j, const struct weft_nccl_statement *statement, int to)
{
    int from = j->s->devices[statement->device].node;
    bool is_back = from > to;
    j->edges[j->num_edges++] = (struct edge){.kind = statement->kind,
                                             .low = is_back ? to : from,
                                             .high = is_back ? from : to,
                                             .is_back = is_back,
                                             .count = statement->count,
                                             .element = statement->element};
}

static weft_status add_c2c(struct joiner *j, const struct weft_nccl_statement *statement, int cpu)
{
    struct weft_nccl_reading *s = j->s;
    struct weft_link link = weft_link_make(WEFT_LINK_C2C, cpu, s->devices[statement->device].node);
    link.count = (int)statement->count;
    if (statement->megabytes > 0)
        link.bandwidth.nominal = (struct weft_quantity){
            statement->megabytes * statement->count * 1000000, WEFT_SOURCE_FILE};
    return weft_nccl_located(s, statement->element,
                             weft_topology_add_link(s->topology, &link, NULL, s->error));
}

/* `new_switch`: the node made for its target, or -1. */
static weft_status add_statement(struct joiner *j, const struct weft_nccl_statement *statement,
                                 int new_switch)
{
    struct weft_nccl_reading *s = j->s;
    int node = s->devices[statement->device].node;
    int cpu = weft_topology_ancestor(s->topology, node, WEFT_NODE_NUMA);
    const char *element = statement->kind == WEFT_LINK_PCIE ? "pci" : "gpu";
    if (statement->count == 0) // switched off by who wrote it
        return weft_nccl_keep_child(s, element, node, statement->element);
    if (statement->kind == WEFT_LINK_C2C)
        return add_c2c(j, statement, cpu);
    const struct weft_nccl_device *target = target_of(j, statement);
    // a network function may be several NICs, and none is the end of such a link
    bool is_nic = target && s->topology->nodes[target->node].kind == WEFT_NODE_NIC;
    if (is_nic && statement->kind != WEFT_LINK_PCIE)
        return keep_hidden(j, statement, "a network function");
    if (target && target->node != node && !is_nic) {
        add_edge(j, statement, target->node);
        return WEFT_OK;
    }
    if (statement->kind == WEFT_LINK_PCIE)
        return weft_nccl_keep_child(s, element, node, statement->element);
    if (target)
        return keep_hidden(j, statement, "its own address: the true one is hidden");
    if (new_switch >= 0) {
        add_edge(j, statement, new_switch);
        return WEFT_OK;
    }
    if (j->hidden_switch >= 0 && is_to_hidden_switch(statement)) {
        add_edge(j, statement, j->hidden_switch);
        return WEFT_OK;
    }
    if (weft_nccl_is_cpu_class(statement->target_class)) {
        add_edge(j, statement, cpu);
        return weft_nccl_set_text(s, statement->element, node, "nccl.cpu_target",
                                  statement->target);
    }
    return keep_hidden(j, statement, "which the file does not have");
}

/* ---- from edges to links ---- */

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    const int pairs[][2] = {
        {x->kind, y->kind}, {x->low, y->low}, {x->high, y->high}, {x->is_back, y->is_back}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return (x->element > y->element) - (x->element < y->element);
}

static int64_t nvlink_bandwidth(const struct weft_topology *t, int node)
{
    const char *sm = weft_topology_text(t, node, "nccl.gpu.sm");
    return sm ? weft_nccl_nvlink_bandwidth(strtoll(sm, NULL, 10)) : -1;
}

static weft_status add_link(struct joiner *j, const struct edge *edge, int64_t count)
{
    struct weft_nccl_reading *s = j->s;
    const struct weft_topology *t = s->topology;
    struct weft_link link = weft_link_make(edge->kind, edge->low, edge->high);
    int64_t a = nvlink_bandwidth(t, edge->low), b = nvlink_bandwidth(t, edge->high);
    int64_t one = a < 0 || (b >= 0 && b < a) ? b : a;
    link.count = (int)(count < WEFT_NCCL_MAX_COUNT ? count : WEFT_NCCL_MAX_COUNT);
    // the file has the count; what one link of that generation does is our knowledge, not its
    if (edge->kind == WEFT_LINK_NVLINK && one >= 0)
        link.bandwidth.nominal = (struct weft_quantity){one * link.count, WEFT_SOURCE_ASSUMED};
    return weft_nccl_located(s, edge->element,
                             weft_topology_add_link(s->topology, &link, NULL, s->error));
}

/* GPUs state their links from both sides; the smaller number is what surely works. */
static weft_status add_pair(struct joiner *j, const struct edge *edges, int num)
{
    struct weft_nccl_reading *s = j->s;
    const struct weft_topology *t = s->topology;
    const struct weft_node *low = &t->nodes[edges->low], *high = &t->nodes[edges->high];
    int64_t there = 0, back = 0;
    for (int i = 0; i < num; i++)
        *(edges[i].is_back ? &back : &there) += edges[i].count;
    bool is_both =
        edges->kind != WEFT_LINK_PCIE && low->kind == WEFT_NODE_GPU && high->kind == WEFT_NODE_GPU;
    if (is_both && there != back)
        WEFT_TRY(weft_topology_add_remark(
            s->topology, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_FILE, edges->low, s->error,
            "%.60s states %lld %s links to %.60s, which states %lld back: %lld are believed",
            low->name, (long long)there, weft_link_kinds[edges->kind].name, high->name,
            (long long)back, (long long)(there == 0 || (back > 0 && back < there) ? back : there)));
    int64_t least = there < back ? there : back, most = there < back ? back : there;
    return add_link(j, edges, least > 0 ? least : most);
}

static weft_status join_all(struct joiner *j, const struct weft_nccl_statement **found,
                            int *switch_of)
{
    struct weft_nccl_reading *s = j->s;
    for (int i = 0; i < s->num_statements; i++)
        switch_of[i] = -1;
    WEFT_TRY(sort_devices(j));
    WEFT_TRY(make_switches(j, found, switch_of));
    WEFT_TRY(guess_hidden_switch(j));
    for (int i = 0; i < s->num_statements; i++)
        WEFT_TRY(add_statement(j, &s->statements[i], switch_of[i]));
    if (j->num_edges)
        qsort(j->edges, (size_t)j->num_edges, sizeof *j->edges, compare_edges);
    for (int first = 0, end; first < j->num_edges; first = end) {
        const struct edge *edge = &j->edges[first];
        for (end = first + 1; end < j->num_edges && j->edges[end].kind == edge->kind &&
                              j->edges[end].low == edge->low && j->edges[end].high == edge->high;)
            end++;
        WEFT_TRY(add_pair(j, edge, end - first));
    }
    return WEFT_OK;
}

weft_status weft_nccl_join_devices(struct weft_nccl_reading *s)
{
    struct joiner j = {.s = s, .hidden_switch = -1};
    size_t n = (size_t)s->num_statements + 1;
    const struct weft_nccl_statement **found = malloc(n * sizeof *found);
    int *switch_of = malloc(n * sizeof *switch_of);
    j.by_address = malloc(((size_t)s->num_devices + 1) * sizeof *j.by_address);
    j.edges = malloc(n * sizeof *j.edges);
    weft_status status = WEFT_OK;
    if (!found || !switch_of || !j.by_address || !j.edges)
        status = weft_fail(s->error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", s->name);
    else
        status = join_all(&j, found, switch_of);
    free(found);
    free(switch_of);
    free(j.by_address);
    free(j.edges);
    return status;
}
