/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: what names and places tell about a fabric. Hosts whose names differ in numbers only are
 * siblings; and on a fabric of rails a leaf holds the same NIC of many hosts, so that a NIC among
 * others of another name is on the wrong cable.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/cables.h"
#include "topology/findings_private.h"

enum { MOST_NAMED = 3, PART_BYTES = 128 };

static weft_status no_memory(struct weft_search *s)
{
    return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* ---- one GUID twice ---- */

struct guid {
    const char *text;
    int node;
};

static int compare_guids(const void *a, const void *b)
{
    const struct guid *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : x->node - y->node;
}

weft_status weft_find_duplicate_guids(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, pairs = 0;
    struct guid *guids = malloc(((size_t)t->num_nodes + 1) * sizeof *guids);
    if (!guids)
        return no_memory(s);
    for (int i = 0; i < t->num_nodes; i++) {
        const char *text = weft_topology_text(t, i, "node_guid");
        // functions of one host's card may share the node's GUID
        if (text && strspn(text, "0:x") < strlen(text))
            guids[count++] = (struct guid){text, i};
    }
    qsort(guids, (size_t)count, sizeof *guids, compare_guids);
    struct weft_sentence sentence = {""};
    for (int i = 1; i < count; i++) {
        int host = weft_topology_ancestor(t, guids[i].node, WEFT_NODE_HOST);
        if (strcmp(guids[i - 1].text, guids[i].text) != 0 ||
            (host >= 0 && host == weft_topology_ancestor(t, guids[i - 1].node, WEFT_NODE_HOST)))
            continue;
        if (pairs++ < MOST_NAMED)
            weft_sentence_add(&sentence, "%s%.50s (%.70s and %.70s)", pairs > 1 ? ", " : "",
                              guids[i].text, t->nodes[guids[i - 1].node].name,
                              t->nodes[guids[i].node].name);
    }
    free(guids);
    if (pairs == 0)
        return WEFT_OK;
    return weft_search_say(s, WEFT_SEVERITY_WARNING, 0,
                           "%d GUID%s by two devices: %s%s. Routing and partitions go by them.",
                           pairs, pairs > 1 ? "s are used" : " is used", sentence.text,
                           pairs > MOST_NAMED ? " and others" : "");
}

/* ---- hosts with fewer NICs than their siblings ---- */

struct fabric_host {
    int node;
    int cables;              // from its NICs into the fabric
    int usual;               // of its siblings
    int64_t bandwidth;       // of its fastest cable
    char family[PART_BYTES]; // its name in lower case, each number replaced by #
};

static void make_family(const char *name, char *family, size_t size)
{
    size_t used = 0;
    for (; *name && used < size - 1; name++) {
        bool is_digit = isdigit((unsigned char)*name);
        if (is_digit && used > 0 && family[used - 1] == '#')
            continue;
        family[used++] = is_digit ? '#' : (char)tolower((unsigned char)*name);
    }
    family[used] = '\0';
}

static int compare_hosts(const void *a, const void *b)
{
    const struct fabric_host *x = a, *y = b;
    int order = strcmp(x->family, y->family);
    if (order)
        return order;
    if (x->cables != y->cables)
        return x->cables - y->cables;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Hosts with NICs, sorted by family and number of cables; a cable that is_uncabled misses counts,
 * since another finding names it. host_of has num_nodes entries. */
static int list_hosts(const struct weft_topology *t, const bool *is_uncabled,
                      struct fabric_host *hosts, int *host_of)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++)
        host_of[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        int host =
            t->nodes[i].kind == WEFT_NODE_NIC ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host >= 0 && host_of[host] >= 0)
            hosts[host_of[host]].cables += is_uncabled[i];
        if (host < 0 || host_of[host] >= 0)
            continue;
        host_of[host] = count;
        hosts[count] = (struct fabric_host){.node = host, .cables = is_uncabled[i]};
        make_family(t->nodes[host].name, hosts[count].family, sizeof hosts[count].family);
        count++;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        for (int end = 0; end < 2; end++) {
            int nic = end ? link->to : link->from, other = end ? link->from : link->to;
            int host = t->nodes[nic].kind == WEFT_NODE_NIC
                           ? weft_topology_ancestor(t, nic, WEFT_NODE_HOST)
                           : -1;
            if (host < 0 || !weft_node_is_fabric_switch(t, other))
                continue;
            struct fabric_host *h = &hosts[host_of[host]];
            int64_t value = weft_figure_best(&link->bandwidth).value;
            h->cables++;
            h->bandwidth = value > h->bandwidth ? value : h->bandwidth;
        }
    }
    qsort(hosts, (size_t)count, sizeof *hosts, compare_hosts);
    return count;
}

/* The name of a NIC that `model` has on the fabric and `host` has not; NULL: none. Both lists of
 * NICs are short, but looked for in all nodes. */
static const char *missing_nic(const struct weft_topology *t, const struct weft_cables *cables,
                               int host, int model)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES + 8];
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC || cables->starts[i] == cables->starts[i + 1] ||
            weft_topology_ancestor(t, i, WEFT_NODE_HOST) != model)
            continue;
        snprintf(name, sizeof name, "%s/%s", t->nodes[host].name, last_part(t->nodes[i].name));
        int same = strlen(name) < WEFT_TOPOLOGY_NAME_BYTES ? weft_topology_find_node(t, name) : -1;
        if (same < 0 || cables->starts[same] == cables->starts[same + 1])
            return last_part(t->nodes[i].name);
    }
    return NULL;
}

/* Sets `usual` where most of a family (of three at least) agree, and puts those below it first.
 * Returns how many those are. */
static int find_lacking(struct fabric_host *hosts, int count)
{
    int lacking = 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && strcmp(hosts[first].family, hosts[end].family) == 0;
             end++) {}
        int middle = hosts[first + (end - first) / 2].cables, votes = 0;
        for (int i = first; i < end; i++)
            votes += hosts[i].cables == middle;
        for (int i = first; i < end && votes >= 3 && votes * 2 > end - first; i++)
            hosts[i].usual = middle;
    }
    for (int i = 0; i < count; i++)
        if (hosts[i].cables < hosts[i].usual) {
            struct fabric_host swap = hosts[lacking];
            hosts[lacking++] = hosts[i];
            hosts[i] = swap;
        }
    return lacking;
}

static weft_status say_fewer_nics(struct weft_search *s, const struct fabric_host *hosts,
                                  int lacking, int count)
{
    const struct weft_topology *t = s->topology;
    struct weft_cables cables;
    weft_status status = weft_cables_list(t, &cables, s->error);
    struct weft_sentence sentence = {""};
    int worst = 0, worst_lack = 0;
    for (int i = 0; i < lacking; i++)
        if (hosts[i].usual - hosts[i].cables > worst_lack) {
            worst_lack = hosts[i].usual - hosts[i].cables;
            worst = i;
        }
    for (int i = 0; status == WEFT_OK && i < lacking && i < MOST_NAMED; i++) {
        const struct fabric_host *host = &hosts[i ? i : worst];
        if (i > 0 && i == worst)
            host = &hosts[0];
        int model = -1;
        for (int k = lacking; k < count && model < 0; k++)
            if (strcmp(hosts[k].family, host->family) == 0 && hosts[k].cables == host->usual)
                model = hosts[k].node;
        const char *missing = model >= 0 ? missing_nic(t, &cables, host->node, model) : NULL;
        weft_sentence_add(&sentence, "%s %.60s has %d of %d", i ? ";" : ":",
                          t->nodes[host->node].name, host->cables, host->usual);
        if (missing)
            weft_sentence_add(&sentence, ", without %.40s", missing);
    }
    weft_cables_free(&cables);
    WEFT_TRY(status);
    int64_t each = hosts[worst].bandwidth;
    return weft_search_say(
        s, WEFT_SEVERITY_WARNING, each > INT64_MAX / worst_lack ? INT64_MAX : each * worst_lack,
        "%d of %d hosts with NICs have fewer of them on the fabric than hosts named alike%s.",
        lacking, count, sentence.text);
}

weft_status weft_find_fewer_nics(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int num_hosts = weft_topology_count(t, WEFT_NODE_HOST);
    if (num_hosts < 3)
        return WEFT_OK;
    struct fabric_host *hosts = malloc((size_t)num_hosts * sizeof *hosts);
    int *host_of = malloc(((size_t)t->num_nodes + 1) * sizeof *host_of);
    bool *is_uncabled = malloc(((size_t)t->num_nodes + 1) * sizeof *is_uncabled);
    weft_status status =
        hosts && host_of && is_uncabled ? weft_search_uncabled(s, is_uncabled) : no_memory(s);
    if (status == WEFT_OK) {
        int count = list_hosts(t, is_uncabled, hosts, host_of);
        int lacking = find_lacking(hosts, count);
        if (lacking > 0)
            status = say_fewer_nics(s, hosts, lacking, count);
    }
    free(hosts);
    free(host_of);
    free(is_uncabled);
    return status;
}

/* ---- NICs on another rail than their siblings ---- */

/* A NIC's cable into a leaf. Style and number of its name: "mlx5_" and 5, "HCA-" and 6. */
struct rail {
    int leaf, leaf_port, nic, nic_port;
    const char *name;
    int style_bytes;
};

static int compare_styles(const struct rail *x, const struct rail *y)
{
    int bytes = x->style_bytes < y->style_bytes ? x->style_bytes : y->style_bytes;
    int order = memcmp(x->name, y->name, (size_t)bytes);
    return order ? order : x->style_bytes - y->style_bytes;
}

static bool is_same_nic(const struct rail *x, const struct rail *y)
{
    return strcmp(x->name, y->name) == 0 && x->nic_port == y->nic_port;
}

static int compare_rails(const void *a, const void *b)
{
    const struct rail *x = a, *y = b;
    if (x->leaf != y->leaf)
        return x->leaf < y->leaf ? -1 : 1;
    int order = compare_styles(x, y);
    if (order == 0)
        order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (x->nic_port != y->nic_port)
        return x->nic_port - y->nic_port;
    return x->nic < y->nic ? -1 : x->nic > y->nic;
}

static int list_rails(const struct weft_topology *t, struct rail *rails)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        for (int end = 0; end < 2; end++) {
            int nic = end ? link->to : link->from, leaf = end ? link->from : link->to;
            if (link->kind != WEFT_LINK_NETWORK || t->nodes[nic].kind != WEFT_NODE_NIC ||
                t->nodes[leaf].kind != WEFT_NODE_LEAF || t->nodes[nic].parent < 0)
                continue;
            struct rail *rail = &rails[count++];
            *rail = (struct rail){.leaf = leaf,
                                  .leaf_port = end ? link->from_port : link->to_port,
                                  .nic = nic,
                                  .nic_port = end ? link->to_port : link->from_port,
                                  .name = last_part(t->nodes[nic].name)};
            rail->style_bytes = (int)strlen(rail->name);
            while (rail->style_bytes > 0 &&
                   isdigit((unsigned char)rail->name[rail->style_bytes - 1]))
                rail->style_bytes--;
        }
    }
    qsort(rails, (size_t)count, sizeof *rails, compare_rails);
    return count;
}

/* Where hosts that share the leaf with a lost NIC have their NIC of that name: a leaf, or -1. */
static int home_of(const struct weft_topology *t, const struct weft_cables *cables,
                   const struct rail *lost, const struct rail *sibling)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES + 8];
    int host = weft_topology_ancestor(t, sibling->nic, WEFT_NODE_HOST);
    if (host < 0)
        return -1;
    snprintf(name, sizeof name, "%s/%s", t->nodes[host].name, lost->name);
    int nic = strlen(name) < WEFT_TOPOLOGY_NAME_BYTES ? weft_topology_find_node(t, name) : -1;
    for (int k = nic < 0 ? 0 : cables->starts[nic]; nic >= 0 && k < cables->starts[nic + 1]; k++)
        if (cables->ends[k].port == lost->nic_port &&
            t->nodes[cables->ends[k].peer].kind == WEFT_NODE_LEAF)
            return cables->ends[k].peer;
    return -1;
}

struct lost {
    int count;
    struct weft_sentence sentence;
};

/* The NICs of one style on one leaf: where three quarters are the same one, the others are lost. */
static void look_at_rail(const struct weft_topology *t, const struct weft_cables *cables,
                         const struct rail *rails, int count, struct lost *lost)
{
    int most = 0, most_at = 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && is_same_nic(&rails[first], &rails[end]); end++) {}
        if (end - first > most) {
            most = end - first;
            most_at = first;
        }
    }
    if (count < 4 || most == count || most * 4 < count * 3)
        return;
    for (int i = 0; i < count; i++) {
        if (is_same_nic(&rails[i], &rails[most_at]) || lost->count++ >= MOST_NAMED)
            continue;
        weft_sentence_add(&lost->sentence, "%s %.60s is on %.50s port %d among %d x %.30s",
                          lost->count > 1 ? ";" : ":", t->nodes[rails[i].nic].name,
                          t->nodes[rails[i].leaf].name, rails[i].leaf_port, most,
                          rails[most_at].name);
        int home = home_of(t, cables, &rails[i], &rails[most_at]);
        if (home >= 0 && home != rails[i].leaf)
            weft_sentence_add(&lost->sentence, ", theirs is on %.50s", t->nodes[home].name);
    }
}

weft_status weft_find_other_rails(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct weft_cables cables = {0};
    struct lost lost = {0};
    struct rail *rails = malloc(((size_t)t->num_links * 2 + 1) * sizeof *rails);
    weft_status status = rails ? weft_cables_list(t, &cables, s->error) : no_memory(s);
    int count = status == WEFT_OK ? list_rails(t, rails) : 0;
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && rails[first].leaf == rails[end].leaf &&
                          compare_styles(&rails[first], &rails[end]) == 0;
             end++) {}
        look_at_rail(t, &cables, rails + first, end - first, &lost);
    }
    if (lost.count > 0)
        status = weft_search_say(s, WEFT_SEVERITY_WARNING, 0,
                                 "%d NIC%s on another rail than siblings (cables swapped?)%s%s.",
                                 lost.count, lost.count > 1 ? "s are" : " is", lost.sentence.text,
                                 lost.count > MOST_NAMED ? "; and others" : "");
    weft_cables_free(&cables);
    free(rails);
    return status;
}

/* ---- adapters that do not say whose they are ---- */

weft_status weft_find_unnamed_adapters(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, nics = 0, first = -1, leaf = -1, port = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        const char *guid = weft_topology_text(t, i, "node_guid");
        bool is_unnamed = t->nodes[i].kind == WEFT_NODE_NIC && t->nodes[i].parent < 0 && guid &&
                          strncmp(t->nodes[i].name, guid, strlen(guid)) == 0;
        nics += t->nodes[i].kind == WEFT_NODE_NIC;
        first = is_unnamed && count++ == 0 ? i : first;
    }
    if (count == 0)
        return WEFT_OK;
    for (int i = 0; i < t->num_links && leaf < 0; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK &&
            (t->links[i].from == first || t->links[i].to == first)) {
            bool is_from = t->links[i].from == first;
            leaf = is_from ? t->links[i].to : t->links[i].from;
            port = is_from ? t->links[i].to_port : t->links[i].from_port;
        }
    struct weft_sentence sentence = {""};
    if (leaf >= 0)
        weft_sentence_add(&sentence, " (first: %.40s on %.60s port %d)", t->nodes[first].name,
                          t->nodes[leaf].name, port);
    return weft_search_say(s, WEFT_SEVERITY_NOTE, 0,
                           "%d of %d NICs do not say in which host they are%s: nobody set their "
                           "node descriptions.",
                           count, nics, sentence.text);
}
