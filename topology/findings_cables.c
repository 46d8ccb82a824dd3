/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: cables of the fabric that are slow. What should be is read off the siblings: cables
 * between the same kinds of devices run alike.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/cuts.h"
#include "topology/findings_private.h"

enum { MOST_NAMED = 3 };

struct cable {
    int low_kind, high_kind;
    const char *device; // what the adapter is, "" where there is none
    int64_t rate, usual;
    int link;
};

static int compare_cables(const void *a, const void *b)
{
    const struct cable *x = a, *y = b;
    if (x->low_kind != y->low_kind)
        return x->low_kind - y->low_kind;
    if (x->high_kind != y->high_kind)
        return x->high_kind - y->high_kind;
    int devices = strcmp(x->device, y->device);
    if (devices)
        return devices;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    return x->link < y->link ? -1 : x->link > y->link;
}

static bool is_same_class(const struct cable *a, const struct cable *b)
{
    return a->low_kind == b->low_kind && a->high_kind == b->high_kind &&
           strcmp(a->device, b->device) == 0;
}

static const char *device_of(const struct weft_topology *t, int node)
{
    static const char *const keys[] = {"ib_device", "pci_id", "model"};
    for (int i = 0; i < 3; i++) {
        const char *text = weft_topology_text(t, node, keys[i]);
        if (text && t->nodes[node].kind == WEFT_NODE_NIC)
            return text;
    }
    return "";
}

static int list_rates(const struct weft_topology *t, struct cable *cables)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        struct weft_quantity rate = link->bandwidth.nominal, now = link->bandwidth.current;
        // what runs below its own nominal speed is another finding
        if (now.value > 0 && now.source != WEFT_SOURCE_ASSUMED &&
            (rate.value <= 0 || (double)now.value >= 0.97 * (double)rate.value))
            rate = now;
        if (link->kind != WEFT_LINK_NETWORK || rate.value <= 0 ||
            rate.source == WEFT_SOURCE_ASSUMED)
            continue;
        int from = t->nodes[link->from].kind, to = t->nodes[link->to].kind;
        const char *device = device_of(t, link->from);
        cables[count++] = (struct cable){.low_kind = from < to ? from : to,
                                         .high_kind = from < to ? to : from,
                                         .device = device[0] ? device : device_of(t, link->to),
                                         .rate = rate.value / link->count,
                                         .link = i};
    }
    qsort(cables, (size_t)count, sizeof *cables, compare_cables);
    return count;
}

/* Sets `usual` of each cable to what more than half of its class run at; 0: there is no such. */
static void find_usual(struct cable *cables, int count)
{
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && is_same_class(&cables[first], &cables[end]); end++) {}
        // sorted: what more than half have is in the middle
        int64_t middle = cables[first + (end - first) / 2].rate;
        int votes = 0;
        for (int i = first; i < end; i++)
            votes += cables[i].rate == middle;
        for (int i = first; i < end; i++)
            cables[i].usual = votes * 2 > end - first && votes > 2 ? middle : 0;
    }
}

static int compare_loss(const void *a, const void *b)
{
    const struct cable *x = a, *y = b;
    int64_t loss_x = x->usual - x->rate, loss_y = y->usual - y->rate;
    if (loss_x != loss_y)
        return loss_x > loss_y ? -1 : 1;
    return x->link < y->link ? -1 : x->link > y->link;
}

static void add_end(const struct weft_topology *t, int node, int port,
                    struct weft_sentence *sentence)
{
    weft_sentence_add(sentence, "%.60s", t->nodes[node].name);
    if (port > 0)
        weft_sentence_add(sentence, " port %d", port);
}

static int64_t usual_of_bundle(const struct weft_topology *t, const struct cable *cable)
{
    int count = t->links[cable->link].count;
    return cable->usual > INT64_MAX / count ? INT64_MAX : cable->usual * count;
}

/* The most that a cut through one of the slow cables loses. */
static weft_status worst_loss(struct weft_search *s, const struct cable *cables, int count,
                              int64_t *lost)
{
    struct weft_cuts *cuts = NULL;
    WEFT_TRY(weft_cuts_create(s->topology, &cuts, s->error));
    for (int i = 0; i < count; i++)
        weft_cuts_mark(cuts, cables[i].link, usual_of_bundle(s->topology, &cables[i]));
    *lost = 0;
    for (int i = 0; i < count; i++) {
        int64_t loss = weft_cuts_loss(cuts, cables[i].link);
        *lost = loss > *lost ? loss : *lost;
    }
    weft_cuts_destroy(&cuts);
    return WEFT_OK;
}

weft_status weft_find_slow_cables(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct cable *cables = malloc(((size_t)t->num_links + 1) * sizeof *cables);
    if (!cables)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int count = list_rates(t, cables), slow = 0;
    find_usual(cables, count);
    qsort(cables, (size_t)count, sizeof *cables, compare_loss);
    while (slow < count && cables[slow].usual > cables[slow].rate)
        slow++;
    weft_status status = WEFT_OK;
    if (slow > 0) {
        struct weft_sentence sentence = {""};
        weft_sentence_add(&sentence, "%d of %d network cables run%s below others of their kind",
                          slow, count, slow > 1 ? "" : "s");
        for (int i = 0; i < slow && i < MOST_NAMED; i++) {
            const struct weft_link *link = &t->links[cables[i].link];
            char is[32], usual[32];
            weft_sentence_add(&sentence, "%s ", i ? ";" : ":");
            add_end(t, link->from, link->from_port, &sentence);
            weft_sentence_add(&sentence, " to ");
            add_end(t, link->to, link->to_port, &sentence);
            weft_sentence_add(&sentence, " at %s, not %s",
                              weft_format_bandwidth(cables[i].rate, is, sizeof is),
                              weft_format_bandwidth(cables[i].usual, usual, sizeof usual));
        }
        weft_sentence_add(&sentence, ".");
        int64_t lost = 0;
        status = worst_loss(s, cables, slow, &lost);
        if (status == WEFT_OK)
            status = weft_search_say(s, WEFT_SEVERITY_WARNING, lost, "%s", sentence.text);
    }
    free(cables);
    return status;
}
