/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: PCIe trees that are not what their devices need. Uplinks narrower than one device below
 * them, NICs in a narrower slot than their siblings, GPUs without a NIC beside them.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/cuts.h"
#include "topology/findings_private.h"
#include "topology/route.h"

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* The PCIe link from each node to what contains it, or -1. num_nodes entries. */
static weft_status list_uplinks(struct weft_search *s, int **uplink)
{
    const struct weft_topology *t = s->topology;
    int *up = malloc(((size_t)t->num_nodes + 1) * sizeof *up);
    if (!up)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    for (int i = 0; i < t->num_nodes; i++)
        up[i] = -1;
    for (int i = t->num_links; i-- > 0;) {
        const struct weft_link *link = &t->links[i];
        if (link->kind == WEFT_LINK_PCIE && t->nodes[link->to].parent == link->from)
            up[link->to] = i;
        else if (link->kind == WEFT_LINK_PCIE && t->nodes[link->from].parent == link->to)
            up[link->from] = i;
    }
    *uplink = up;
    return WEFT_OK;
}

/* What a link should do, else what it does; -1: not known. A link that runs below what it should
 * is another finding. */
static int64_t should_do(const struct weft_topology *t, int link)
{
    if (link < 0)
        return -1;
    const struct weft_figure *bandwidth = &t->links[link].bandwidth;
    if (bandwidth->nominal.value > 0 && bandwidth->nominal.source != WEFT_SOURCE_ASSUMED)
        return bandwidth->nominal.value;
    const struct weft_quantity best = weft_figure_best(bandwidth);
    return best.source == WEFT_SOURCE_ASSUMED || weft_link_may_be_idle(t, &t->links[link])
               ? -1
               : best.value;
}

/* ---- uplinks narrower than a device ---- */

/* Several devices may well share an uplink of one device's width, or of the PCIe generation before
 * it, which is half; but nobody builds less. */
static bool is_far_narrower(int64_t uplink, int64_t device)
{
    return uplink > 0 && (double)uplink < 0.45 * (double)device;
}

struct narrow {
    int count, first; // uplinks; the switch below the narrowest
    int device;       // a device below that
    int64_t is, wants;
};

/* Looks at the ways up from one device; `seen` says which switches are counted. */
static void climb(const struct weft_topology *t, const int *uplink, int device, char *seen,
                  struct narrow *narrow)
{
    int64_t width = should_do(t, uplink[device]);
    int node = t->nodes[device].parent;
    for (; width > 0 && node >= 0 && t->nodes[node].kind == WEFT_NODE_PCIE_SWITCH;
         node = t->nodes[node].parent) {
        int64_t is = should_do(t, uplink[node]);
        if (is < 0)
            return;
        if (!is_far_narrower(is, width))
            continue;
        narrow->count += !seen[node];
        seen[node] = 1;
        // the share, without overflow
        if (narrow->first < 0 ||
            (double)is / (double)width < (double)narrow->is / (double)narrow->wants) {
            narrow->first = node;
            narrow->device = device;
            narrow->is = is;
            narrow->wants = width;
        }
        return; // what is above is narrow for this one, too
    }
}

weft_status weft_find_narrow_uplinks(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct narrow narrow = {.first = -1};
    int *uplink = NULL;
    WEFT_TRY(list_uplinks(s, &uplink));
    char *seen = calloc((size_t)t->num_nodes + 1, 1);
    weft_status status =
        seen ? WEFT_OK : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    for (int i = 0; seen && i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU || t->nodes[i].kind == WEFT_NODE_NIC)
            climb(t, uplink, i, seen, &narrow);
    if (narrow.count > 0) {
        char is[32], wants[32];
        status = weft_search_say(
            s, WEFT_SEVERITY_NOTE, 0,
            "%d PCIe switch%s less than half of what one device below can take towards the CPU "
            "(the narrowest: %.60s %s, %.40s below it %s). If so, copies to and from the CPU's "
            "memory are held to that; but a virtual switch's port may claim a speed that it does "
            "not have, so time one.",
            narrow.count, narrow.count > 1 ? "es give" : " gives", t->nodes[narrow.first].name,
            weft_format_bandwidth(narrow.is, is, sizeof is),
            last_part(t->nodes[narrow.device].name),
            weft_format_bandwidth(narrow.wants, wants, sizeof wants));
    }
    free(uplink);
    free(seen);
    return status;
}

/* ---- NICs in a narrower slot than their siblings ---- */

struct slot {
    int nic, host;
    int style_bytes; // of the last part of its name, without the number at its end
    int64_t width;
    const char *model, *name;
};

static bool is_same_sort(const struct slot *x, const struct slot *y)
{
    return x->host == y->host && strcmp(x->model, y->model) == 0 &&
           x->style_bytes == y->style_bytes &&
           memcmp(x->name, y->name, (size_t)x->style_bytes) == 0;
}

static int compare_slots(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    int order = strcmp(x->model, y->model);
    if (order)
        return order;
    if (x->style_bytes != y->style_bytes)
        return x->style_bytes - y->style_bytes;
    order = memcmp(x->name, y->name, (size_t)x->style_bytes);
    if (order)
        return order;
    if (x->width != y->width)
        return x->width > y->width ? -1 : 1;
    return x->nic < y->nic ? -1 : x->nic > y->nic;
}

/* NICs whose slot is known, of one host and model together, widest slots first. */
static int list_slots(const struct weft_topology *t, const int *uplink, struct slot *slots)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int64_t width = t->nodes[i].kind == WEFT_NODE_NIC ? should_do(t, uplink[i]) : -1;
        int host = width > 0 ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host < 0)
            continue;
        const char *id = weft_topology_text(t, i, "pci_id"), *name = last_part(t->nodes[i].name);
        const char *model = id ? id : weft_topology_text(t, i, "model");
        // names that say where the device is plugged in (rdmap79s0) are of one style up to there
        int bytes = 0;
        while (name[bytes] && !isdigit((unsigned char)name[bytes]))
            bytes++;
        slots[count++] = (struct slot){i, host, bytes, width, model ? model : "", name};
    }
    qsort(slots, (size_t)count, sizeof *slots, compare_slots);
    return count;
}

struct narrow_slots {
    int count, all;
    const struct slot *worst, *usual;
    int64_t lost;
};

/* The slots of one host and model: the minority that is narrower than the widest. */
static void look_at_slots(struct weft_cuts *cuts, const int *uplink, const struct slot *slots,
                          int count, struct narrow_slots *found)
{
    int wide = 0;
    while (wide < count && (double)slots[wide].width >= 0.95 * (double)slots[0].width)
        wide++;
    if (wide < 2 || wide == count || wide * 2 <= count)
        return;
    found->all += count;
    for (int i = wide; i < count; i++) {
        int64_t lost = weft_cuts_loss(cuts, uplink[slots[i].nic]);
        found->count++;
        if (!found->worst || lost > found->lost) {
            found->worst = &slots[i];
            found->usual = &slots[0];
            found->lost = lost;
        }
    }
}

static weft_status say_narrow_slots(struct weft_search *s, const struct narrow_slots *found)
{
    const struct weft_topology *t = s->topology;
    char is[32], usual[32];
    if (found->count == 0)
        return WEFT_OK;
    return weft_search_say(
        s, found->lost > 0 ? WEFT_SEVERITY_WARNING : WEFT_SEVERITY_NOTE, found->lost,
        "%d NIC%s in a narrower PCIe slot than others of the same host and model: %.80s has %s, "
        "%.80s %s%s.",
        found->count, found->count > 1 ? "s are" : " is", t->nodes[found->worst->nic].name,
        weft_format_bandwidth(found->worst->width, is, sizeof is), t->nodes[found->usual->nic].name,
        weft_format_bandwidth(found->usual->width, usual, sizeof usual),
        found->lost > 0 ? "" : "; as far as is known that is enough for its port");
}

weft_status weft_find_narrow_slots(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int *uplink = NULL, nics = weft_topology_count(t, WEFT_NODE_NIC);
    if (nics < 3)
        return WEFT_OK;
    struct slot *slots = malloc((size_t)nics * sizeof *slots);
    struct weft_cuts *cuts = NULL;
    struct narrow_slots found = {0};
    weft_status status = slots ? list_uplinks(s, &uplink)
                               : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int count = status == WEFT_OK ? list_slots(t, uplink, slots) : 0;
    if (count > 0)
        status = weft_cuts_create(t, &cuts, s->error);
    for (int pass = 0; pass < 2 && status == WEFT_OK; pass++)
        for (int first = 0, end; first < count; first = end) {
            for (end = first; end < count && is_same_sort(&slots[first], &slots[end]); end++)
                if (pass == 0)
                    weft_cuts_mark(cuts, uplink[slots[end].nic], slots[first].width);
            if (pass == 1)
                look_at_slots(cuts, uplink, slots + first, end - first, &found);
        }
    if (status == WEFT_OK)
        status = say_narrow_slots(s, &found);
    weft_cuts_destroy(&cuts);
    free(uplink);
    free(slots);
    return status;
}

/* ---- GPUs without a NIC beside them ---- */

/* Devices below each PCIe switch. */
struct below {
    int gpus, nics;
};

struct apart {
    int hosts;      // with such GPUs
    int count, all; // GPUs of the first such host
    int gpu, nic, beside;
};

static bool is_beside_nic(const struct weft_topology *t, const struct below *below, int gpu)
{
    for (int node = t->nodes[gpu].parent; node >= 0 && t->nodes[node].kind == WEFT_NODE_PCIE_SWITCH;
         node = t->nodes[node].parent)
        if (below[node].nics > 0)
            return true;
    return false;
}

/* The lowest switch above a NIC with more NICs than GPUs, though it has GPUs; -1: none. */
static int crowded_switch(const struct weft_topology *t, const struct below *below, int nic)
{
    for (int node = t->nodes[nic].parent; node >= 0 && t->nodes[node].kind == WEFT_NODE_PCIE_SWITCH;
         node = t->nodes[node].parent)
        if (below[node].gpus > 0)
            return below[node].nics > below[node].gpus ? node : -1;
    return -1;
}

/* Nodes `host` to `end` are one host. Where every GPU but a few has a NIC below its PCIe switch,
 * and there are as many NICs as GPUs there, the few lack theirs. */
static void look_at_host(const struct weft_topology *t, const struct below *below, int host,
                         int end, struct apart *apart)
{
    int gpus = 0, nics = 0, lacking = 0, gpu = -1, nic = -1;
    for (int i = host; i < end; i++) {
        bool has_switch =
            t->nodes[i].parent >= 0 && t->nodes[t->nodes[i].parent].kind == WEFT_NODE_PCIE_SWITCH;
        if (t->nodes[i].kind == WEFT_NODE_GPU) {
            gpus++;
            if (!is_beside_nic(t, below, i) && lacking++ == 0)
                gpu = i;
        } else if (t->nodes[i].kind == WEFT_NODE_NIC && has_switch) {
            nics++;
            if (crowded_switch(t, below, i) >= 0 && (nic < 0 || i < nic))
                nic = i;
        }
    }
    if (lacking == 0 || lacking * 4 > gpus || nics < gpus || apart->hosts++ > 0)
        return;
    apart->count = lacking;
    apart->all = gpus;
    apart->gpu = gpu;
    apart->nic = nic;
    apart->beside = nic >= 0 ? crowded_switch(t, below, nic) : -1;
}

/* What the way from a GPU to a NIC gives less than the GPU's slot and the NIC's; 0: not known. */
static int64_t lost_on_the_way(struct weft_search *s, int gpu, int nic, const int *uplink)
{
    const struct weft_topology *t = s->topology;
    struct weft_route route;
    struct weft_error ignored;
    int64_t slot = should_do(t, uplink[gpu]), other = nic < 0 ? -1 : should_do(t, uplink[nic]);
    if (slot <= 0 || other <= 0 || weft_topology_route(t, gpu, nic, &route, &ignored) != WEFT_OK ||
        route.narrowest_link < 0 ||
        weft_link_bandwidth(&t->links[route.narrowest_link]).source == WEFT_SOURCE_ASSUMED)
        return 0;
    int64_t could = slot < other ? slot : other;
    return could > route.bandwidth ? could - route.bandwidth : 0;
}

static weft_status say_apart(struct weft_search *s, const struct apart *apart, const int *uplink)
{
    const struct weft_topology *t = s->topology;
    struct weft_sentence sentence = {""};
    weft_sentence_add(&sentence,
                      "%d of %d GPUs of a host %s no NIC below the same PCIe switch, as the others "
                      "have: %.80s",
                      apart->count, apart->all, apart->count > 1 ? "have" : "has",
                      t->nodes[apart->gpu].name);
    if (apart->nic >= 0)
        weft_sentence_add(&sentence, "; but below %.60s are more NICs than GPUs, %.60s for one",
                          t->nodes[apart->beside].name, t->nodes[apart->nic].name);
    weft_sentence_add(&sentence, ". Its traffic takes the way through the CPU.");
    if (apart->hosts > 1)
        weft_sentence_add(&sentence, " So on %d more host%s.", apart->hosts - 1,
                          apart->hosts > 2 ? "s" : "");
    return weft_search_say(s, WEFT_SEVERITY_WARNING,
                           lost_on_the_way(s, apart->gpu, apart->nic, uplink), "%s", sentence.text);
}

weft_status weft_find_far_nics(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct apart apart = {0};
    int *uplink = NULL;
    WEFT_TRY(list_uplinks(s, &uplink));
    struct below *below = calloc((size_t)t->num_nodes + 1, sizeof *below);
    weft_status status =
        below ? WEFT_OK : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    for (int i = 0; below && i < t->num_nodes; i++)
        for (int node = t->nodes[i].parent;
             node >= 0 && t->nodes[node].kind == WEFT_NODE_PCIE_SWITCH;
             node = t->nodes[node].parent) {
            below[node].gpus += t->nodes[i].kind == WEFT_NODE_GPU;
            below[node].nics += t->nodes[i].kind == WEFT_NODE_NIC;
        }
    for (int host = 0, end; below && host < t->num_nodes; host = end) {
        for (end = host + 1; end < t->num_nodes && t->nodes[end].parent >= 0; end++) {}
        if (t->nodes[host].kind == WEFT_NODE_HOST)
            look_at_host(t, below, host, end, &apart);
    }
    if (apart.hosts > 0)
        status = say_apart(s, &apart, uplink);
    free(uplink);
    free(below);
    return status;
}
