/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: NICs without a cable, though their siblings have one; and NICs whose cable leads to
 * another group of switches than it does on hosts that share their neighbours' switches.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "topology/cables.h"
#include "topology/findings_private.h"

enum { MOST_NAMED = 3, MIN_AGREEING = 4 };

static weft_status no_memory(struct weft_search *s)
{
    return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* Bytes of a name before the number at its end: "mlx5_" of "mlx5_3". */
static int style_bytes_of(const char *name)
{
    int bytes = (int)strlen(name);
    while (bytes > 0 && isdigit((unsigned char)name[bytes - 1]))
        bytes--;
    return bytes;
}

/* ---- without a cable ---- */

struct nic {
    int node, host;
    const char *model, *layer, *name, *address;
    int style_bytes;
    int link; // its first cable to a switch; -1: none
};

static int compare_sorts(const struct nic *x, const struct nic *y)
{
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    int order = strcmp(x->model, y->model);
    if (order == 0)
        order = strcmp(x->layer, y->layer);
    if (order == 0)
        order = x->style_bytes - y->style_bytes;
    return order ? order : memcmp(x->name, y->name, (size_t)x->style_bytes);
}

static int compare_nics(const void *a, const void *b)
{
    const struct nic *x = a, *y = b;
    int order = compare_sorts(x, y);
    return order ? order : (x->node > y->node) - (x->node < y->node);
}

static const char *text_or_nothing(const struct weft_topology *t, int node, const char *key)
{
    const char *text = weft_topology_text(t, node, key);
    return text ? text : "";
}

/* A port that says its state is looked at by down-ports; functions that are not hardware, or have
 * none of their own, hang on no cable. */
static bool is_looked_at(const struct weft_topology *t, int node)
{
    return t->nodes[node].kind == WEFT_NODE_NIC &&
           !weft_topology_attribute(t, node, "process.port_state") &&
           !weft_topology_attribute(t, node, "interface_kind") &&
           !weft_topology_attribute(t, node, "virtual_function_of");
}

static int list_nics(const struct weft_topology *t, const struct weft_cables *cables,
                     struct nic *nics)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int host = is_looked_at(t, i) ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host < 0)
            continue;
        const char *id = weft_topology_text(t, i, "pci_id");
        struct nic *nic = &nics[count++];
        *nic = (struct nic){.node = i,
                            .host = host,
                            .model = id ? id : text_or_nothing(t, i, "model"),
                            .layer = text_or_nothing(t, i, "link_layer"),
                            .name = last_part(t->nodes[i].name),
                            .address = text_or_nothing(t, i, "pci_address"),
                            .link = -1};
        nic->style_bytes = style_bytes_of(nic->name);
        for (int k = cables->starts[i]; k < cables->starts[i + 1] && nic->link < 0; k++)
            if (weft_node_kinds[t->nodes[cables->ends[k].peer].kind].is_switch)
                nic->link = cables->ends[k].link;
    }
    qsort(nics, (size_t)count, sizeof *nics, compare_nics);
    return count;
}

/* Ports of one card: their PCI addresses differ in the function at most. */
static bool is_same_card(const struct nic *x, const struct nic *y)
{
    size_t bytes = strcspn(x->address, ".");
    return bytes > 0 && bytes == strcspn(y->address, ".") &&
           memcmp(x->address, y->address, bytes) == 0;
}

/* NICs of one host and sort, of which `cabled` have a cable: those without, except for a second
 * port of a card, which often is left empty. */
static void mark_group(const struct nic *nics, int count, int cabled, bool *is_uncabled)
{
    if (cabled * 2 <= count)
        return;
    for (int i = 0; i < count; i++) {
        bool is_second = (i > 0 && is_same_card(&nics[i], &nics[i - 1])) ||
                         (i + 1 < count && is_same_card(&nics[i], &nics[i + 1]));
        if (nics[i].link < 0 && !is_second)
            is_uncabled[nics[i].node] = true;
    }
}

weft_status weft_search_uncabled(struct weft_search *s, bool *is_uncabled)
{
    const struct weft_topology *t = s->topology;
    struct weft_cables cables = {0};
    struct nic *nics = malloc(((size_t)weft_topology_count(t, WEFT_NODE_NIC) + 1) * sizeof *nics);
    weft_status status = nics ? weft_cables_list(t, &cables, s->error) : no_memory(s);
    memset(is_uncabled, 0, (size_t)t->num_nodes * sizeof *is_uncabled);
    int count = status == WEFT_OK ? list_nics(t, &cables, nics) : 0;
    for (int first = 0, end; first < count; first = end) {
        int cabled = 0;
        for (end = first; end < count && compare_sorts(&nics[first], &nics[end]) == 0; end++)
            cabled += nics[end].link >= 0;
        mark_group(nics + first, end - first, cabled, is_uncabled);
    }
    weft_cables_free(&cables);
    free(nics);
    return status;
}

/* What the fastest cable of each host's NICs gives, by host. */
static void find_cable_rates(const struct weft_topology *t, int64_t *rate)
{
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int64_t value = weft_figure_best(&link->bandwidth).value / link->count;
        for (int end = 0; end < 2 && link->kind == WEFT_LINK_NETWORK; end++) {
            int nic = end ? link->to : link->from;
            int host = t->nodes[nic].kind == WEFT_NODE_NIC
                           ? weft_topology_ancestor(t, nic, WEFT_NODE_HOST)
                           : -1;
            if (host >= 0 && value > rate[host])
                rate[host] = value;
        }
    }
}

weft_status weft_find_uncabled_nics(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes + 1;
    bool *is_uncabled = malloc(n * sizeof *is_uncabled);
    int64_t *rate = calloc(2 * n, sizeof *rate), lost = 0;
    weft_status status = is_uncabled && rate ? weft_search_uncabled(s, is_uncabled) : no_memory(s);
    struct weft_sentence sentence = {""};
    int count = 0;
    if (status == WEFT_OK)
        find_cable_rates(t, rate);
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++) {
        if (!is_uncabled[i])
            continue;
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        int64_t *of_host = &rate[n + (size_t)host];
        if (count++ < MOST_NAMED)
            weft_sentence_add(&sentence, "%s %.90s", count > 1 ? "," : ":", t->nodes[i].name);
        *of_host = rate[host] > INT64_MAX - *of_host ? INT64_MAX : *of_host + rate[host];
        lost = *of_host > lost ? *of_host : lost;
    }
    if (count > 0)
        status = weft_search_say(s, WEFT_SEVERITY_WARNING, lost,
                                 "%d NIC%s no cable to a switch, though most others of the same "
                                 "host and model have one%s%s.",
                                 count, count > 1 ? "s have" : " has", sentence.text,
                                 count > MOST_NAMED ? " and others" : "");
    free(is_uncabled);
    free(rate);
    return status;
}

/* ---- on the leaf of another group ---- */

/* A NIC with one cable to a leaf, as seen from a neighbour of it in its host. */
struct place {
    int nic, host, leaf, port;
    const char *name;
    int style_bytes;
    long number;
    // of the neighbour
    const char *beside;
    int beside_leaf;
    int index; // of the NIC among all
};

static int compare_in_host(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    int bytes = x->style_bytes < y->style_bytes ? x->style_bytes : y->style_bytes;
    int order = memcmp(x->name, y->name, (size_t)bytes);
    if (order || x->style_bytes != y->style_bytes)
        return order ? order : x->style_bytes - y->style_bytes;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (x->nic > y->nic) - (x->nic < y->nic);
}

static int compare_views(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->beside_leaf != y->beside_leaf)
        return x->beside_leaf < y->beside_leaf ? -1 : 1;
    int order = strcmp(x->beside, y->beside);
    if (order == 0)
        order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (x->leaf != y->leaf)
        return x->leaf < y->leaf ? -1 : 1;
    return (x->nic > y->nic) - (x->nic < y->nic);
}

static int compare_on_leaf(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->leaf != y->leaf)
        return x->leaf < y->leaf ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->nic > y->nic) - (x->nic < y->nic);
}

static int list_places(const struct weft_topology *t, const struct weft_cables *cables,
                       struct place *places)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int host =
            t->nodes[i].kind == WEFT_NODE_NIC ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host < 0 || cables->starts[i + 1] - cables->starts[i] != 1)
            continue;
        const struct weft_cable_end *end = &cables->ends[cables->starts[i]];
        if (t->nodes[end->peer].kind != WEFT_NODE_LEAF)
            continue;
        struct place *place = &places[count++];
        *place = (struct place){.nic = i, .host = host, .leaf = end->peer, .port = end->peer_port};
        place->name = last_part(t->nodes[i].name);
        place->style_bytes = style_bytes_of(place->name);
        place->number = strtol(place->name + place->style_bytes, NULL, 10);
    }
    qsort(places, (size_t)count, sizeof *places, compare_in_host);
    return count;
}

static bool is_same_family(const struct place *x, const struct place *y)
{
    return x->host == y->host && x->style_bytes == y->style_bytes &&
           memcmp(x->name, y->name, (size_t)x->style_bytes) == 0;
}

/* Each NIC as seen from the one before and the one after it, of hosts with three or more of its
 * style: `views` has room for twice as many. Returns how many. */
static int list_views(const struct place *places, int count, struct place *views)
{
    int num_views = 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && is_same_family(&places[first], &places[end]); end++) {}
        for (int i = first; i < end && end - first >= 3; i++)
            for (int side = 0; side < 2; side++) {
                int beside = side ? (i + 1 < end ? i + 1 : first) : (i > first ? i - 1 : end - 1);
                views[num_views] = places[i];
                views[num_views].beside = places[beside].name;
                views[num_views].beside_leaf = places[beside].leaf;
                views[num_views++].index = i;
            }
    }
    qsort(views, (size_t)num_views, sizeof *views, compare_views);
    return num_views;
}

/* What one view says of a NIC. */
struct verdict {
    int strays, agrees; // views in which it is alone, or with the most
    int home;           // leaf where the most are
};

/* The views of one NIC name from one neighbour on one leaf: where three quarters are on one leaf,
 * the others stray. */
static void judge(const struct place *views, int count, struct verdict *verdicts)
{
    int most = 0, most_at = 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && views[end].leaf == views[first].leaf; end++) {}
        if (end - first > most) {
            most = end - first;
            most_at = first;
        }
    }
    if (count < MIN_AGREEING || most * 4 < count * 3)
        return;
    for (int i = 0; i < count; i++) {
        struct verdict *verdict = &verdicts[views[i].index];
        if (views[i].leaf == views[most_at].leaf)
            verdict->agrees++;
        else
            verdict->strays++, verdict->home = views[most_at].leaf;
    }
}

static bool has_same_view(const struct place *x, const struct place *y)
{
    return x->beside_leaf == y->beside_leaf && strcmp(x->beside, y->beside) == 0 &&
           strcmp(x->name, y->name) == 0;
}

/* Strays on a leaf where their name is at home: on another one they are on another rail, which is
 * another finding. `places` is sorted by leaf; `index` was kept. */
static weft_status say_strays(struct weft_search *s, const struct place *places, int count,
                              const struct verdict *verdicts)
{
    const struct weft_topology *t = s->topology;
    struct weft_sentence sentence = {""};
    int strays = 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && places[end].leaf == places[first].leaf &&
                          strcmp(places[end].name, places[first].name) == 0;
             end++) {}
        for (int i = first; i < end && end - first >= MIN_AGREEING; i++) {
            const struct verdict *verdict = &verdicts[places[i].index];
            if (verdict->strays == 0 || verdict->agrees > 0 || strays++ >= MOST_NAMED)
                continue;
            weft_sentence_add(&sentence,
                              "%s %.60s is on %.40s port %d, its neighbours' hosts have it "
                              "on %.40s",
                              strays > 1 ? ";" : ":", t->nodes[places[i].nic].name,
                              t->nodes[places[i].leaf].name, places[i].port,
                              t->nodes[verdict->home].name);
        }
    }
    if (strays == 0)
        return WEFT_OK;
    return weft_search_say(s, WEFT_SEVERITY_WARNING, 0,
                           "%d NIC%s on the leaf of another group of hosts (cables swapped?)%s%s.",
                           strays, strays > 1 ? "s are" : " is", sentence.text,
                           strays > MOST_NAMED ? "; and others" : "");
}

weft_status weft_find_other_units(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)weft_topology_count(t, WEFT_NODE_NIC) + 1;
    struct weft_cables cables = {0};
    struct place *places = malloc(3 * n * sizeof *places);
    struct verdict *verdicts = calloc(n, sizeof *verdicts);
    weft_status status = places && verdicts ? weft_cables_list(t, &cables, s->error) : no_memory(s);
    if (status == WEFT_OK) {
        struct place *views = places + n;
        int count = list_places(t, &cables, places);
        int num_views = list_views(places, count, views);
        for (int first = 0, end; first < num_views; first = end) {
            for (end = first; end < num_views && has_same_view(&views[first], &views[end]); end++) {
            }
            judge(views + first, end - first, verdicts);
        }
        for (int i = 0; i < count; i++)
            places[i].index = i;
        qsort(places, (size_t)count, sizeof *places, compare_on_leaf);
        status = say_strays(s, places, count, verdicts);
    }
    weft_cables_free(&cables);
    free(places);
    free(verdicts);
    return status;
}
