/*
 * SPDX-License-Identifier: Apache-2.0
 * See diff.h. Nodes that match are held against each other fact by fact; links are brought into the
 * numbering of the second topology, sorted by their ends, and paired in order.
 */
#include "topology/diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "topology/diff_private.h"

const char *const weft_difference_names[WEFT_NUM_DIFFERENCE_KINDS] = {
#define NAME_ROW(id, name, title) name,
    WEFT_DIFFERENCE_MAP(NAME_ROW)
#undef NAME_ROW
};

struct comparison {
    struct weft_match match;
    struct weft_diff *diff;
    int most, room;
    struct weft_error *error;
};

static weft_status no_memory(struct comparison *c)
{
    return weft_fail(c->error, WEFT_OUT_OF_MEMORY, "diff: no memory");
}

/* Counts a difference, and lists it while there is room for its kind. */
static weft_status note(struct comparison *c, enum weft_difference_kind kind, const char *subject,
                        const char *key, const char *before, const char *after, const char *unit)
{
    struct weft_diff *d = c->diff;
    d->total += d->total < INT32_MAX;
    if (d->counts[kind]++ >= c->most)
        return WEFT_OK;
    struct weft_difference *items =
        weft_array_grow(d->items, d->num_items, &c->room, sizeof *items);
    if (!items)
        return no_memory(c);
    d->items = items;
    struct weft_difference *item = &d->items[d->num_items++];
    *item = (struct weft_difference){kind,           strdup(subject), strdup(key),
                                     strdup(before), strdup(after),   unit};
    return item->subject && item->key && item->before && item->after ? WEFT_OK : no_memory(c);
}

void weft_diff_free(struct weft_diff *diff)
{
    for (int i = 0; i < diff->num_items; i++) {
        free(diff->items[i].subject);
        free(diff->items[i].key);
        free(diff->items[i].before);
        free(diff->items[i].after);
    }
    free(diff->items);
    *diff = (struct weft_diff){0};
}

/* ---- nodes ---- */

/* Nodes only in `t`: of a subtree the top one, with the number of its parts. */
static weft_status note_lonely(struct comparison *c, const struct weft_topology *t,
                               const int *matched, enum weft_difference_kind kind)
{
    int *parts = calloc((size_t)t->num_nodes + 1, sizeof *parts);
    if (!parts)
        return no_memory(c);
    for (int i = 0; i < t->num_nodes; i++) { // to the topmost of the lonely ones
        int top = i;
        for (int up = t->nodes[i].parent; matched[i] < 0 && up >= 0; up = t->nodes[up].parent)
            top = matched[up] < 0 ? up : top;
        parts[top] += top != i;
    }
    weft_status status = WEFT_OK;
    for (int i = 0; i < t->num_nodes && status == WEFT_OK; i++) {
        bool is_within = false;
        for (int up = t->nodes[i].parent; matched[i] < 0 && up >= 0; up = t->nodes[up].parent)
            is_within |= matched[up] < 0;
        if (matched[i] >= 0 || is_within)
            continue;
        char what[80], with[40] = "";
        if (parts[i])
            snprintf(with, sizeof with, " with %d part%s", parts[i], parts[i] > 1 ? "s" : "");
        snprintf(what, sizeof what, "%s%s", weft_node_kinds[t->nodes[i].kind].singular, with);
        bool is_new = kind == WEFT_DIFFERENCE_NODE_ADDED;
        status = note(c, kind, t->nodes[i].name, "", is_new ? "" : what, is_new ? what : "", "");
    }
    free(parts);
    return status;
}

/* Whether a new name says no more than that the host has one. */
static bool follows_host(const struct comparison *c, int before, int after)
{
    const struct weft_topology *x = c->match.before, *y = c->match.after;
    const char *a = strchr(x->nodes[before].name, '/'), *b = strchr(y->nodes[after].name, '/');
    int host = weft_topology_ancestor(x, before, WEFT_NODE_HOST);
    return a && b && host >= 0 && host != before && c->match.after_of[host] >= 0 &&
           strcmp(a, b) == 0 &&
           strcmp(x->nodes[host].name, y->nodes[c->match.after_of[host]].name) != 0;
}

static bool is_ignored(const char *key)
{
    static const char end[] = "memory_bytes";
    size_t bytes = strlen(key), length = sizeof end - 1;
    return strncmp(key, "process.", 8) == 0 ||
           (bytes >= length && strcmp(key + bytes - length, end) == 0);
}

static const char *show(const struct weft_attribute *a, char *text, size_t size)
{
    if (!a)
        return "";
    if (a->text)
        return a->text;
    snprintf(text, size, "%" PRId64, a->number);
    return text;
}

static weft_status compare_facts(struct comparison *c, int before, int after)
{
    const struct weft_attribute *a = c->match.before->nodes[before].attributes;
    const struct weft_attribute *b = c->match.after->nodes[after].attributes;
    while (a || b) {
        int order = !a ? 1 : !b ? -1 : strcmp(a->key, b->key);
        const char *key = order <= 0 ? a->key : b->key;
        char old_text[32], new_text[32];
        const char *is = show(order <= 0 ? a : NULL, old_text, sizeof old_text);
        const char *will = show(order >= 0 ? b : NULL, new_text, sizeof new_text);
        if (!is_ignored(key) && (order != 0 || strcmp(is, will) != 0))
            WEFT_TRY(note(c, WEFT_DIFFERENCE_NODE_CHANGED, c->match.before->nodes[before].name, key,
                          is, will, ""));
        a = order <= 0 ? a->next : a;
        b = order >= 0 ? b->next : b;
    }
    return WEFT_OK;
}

static weft_status compare_nodes(struct comparison *c, int before, int after)
{
    const struct weft_topology *x = c->match.before, *y = c->match.after;
    const struct weft_node *a = &x->nodes[before], *b = &y->nodes[after];
    if (strcmp(a->name, b->name) != 0 && !follows_host(c, before, after))
        WEFT_TRY(note(c, WEFT_DIFFERENCE_NODE_RENAMED, a->name, "name", a->name, b->name, ""));
    if (a->kind != b->kind)
        WEFT_TRY(note(c, WEFT_DIFFERENCE_NODE_CHANGED, a->name, "kind",
                      weft_node_kinds[a->kind].name, weft_node_kinds[b->kind].name, ""));
    int moved = a->parent >= 0 ? c->match.after_of[a->parent] : -1;
    if (moved != b->parent)
        WEFT_TRY(note(c, WEFT_DIFFERENCE_NODE_MOVED, a->name, "parent",
                      a->parent >= 0 ? x->nodes[a->parent].name : "",
                      b->parent >= 0 ? y->nodes[b->parent].name : "", ""));
    return compare_facts(c, before, after);
}

/* ---- links ---- */

struct end_pair {
    int a, b; // in the numbering of the second topology; -1: an end is gone
    int port_a, port_b;
    int kind;
    bool one_way;
    int link;
};

static int compare_ends(const struct end_pair *x, const struct end_pair *y)
{
    const int pairs[][2] = {
        {x->a, y->a}, {x->b, y->b}, {x->kind, y->kind}, {x->one_way, y->one_way}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return 0;
}

static int compare_pairs(const void *x, const void *y)
{
    const struct end_pair *a = x, *b = y;
    int order = compare_ends(a, b);
    if (order)
        return order;
    if (a->port_a != b->port_a)
        return a->port_a < b->port_a ? -1 : 1;
    if (a->port_b != b->port_b)
        return a->port_b < b->port_b ? -1 : 1;
    return (a->link > b->link) - (a->link < b->link);
}

static struct end_pair *gather_links(const struct weft_topology *t, const int *renumber)
{
    struct end_pair *pairs = malloc(((size_t)t->num_links + 1) * sizeof *pairs);
    for (int i = 0; pairs && i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int from = renumber ? renumber[link->from] : link->from;
        int to = renumber ? renumber[link->to] : link->to;
        bool turns = !link->one_way && to < from;
        pairs[i] = (struct end_pair){turns ? to : from,
                                     turns ? from : to,
                                     turns ? link->to_port : link->from_port,
                                     turns ? link->from_port : link->to_port,
                                     link->kind,
                                     link->one_way,
                                     i};
    }
    if (pairs)
        qsort(pairs, (size_t)t->num_links, sizeof *pairs, compare_pairs);
    return pairs;
}

static void name_link(const struct weft_topology *t, int index, char *text, size_t size)
{
    const struct weft_link *link = &t->links[index];
    char ports[2][16] = {"", ""};
    if (link->from_port)
        snprintf(ports[0], sizeof ports[0], "[%d]", link->from_port);
    if (link->to_port)
        snprintf(ports[1], sizeof ports[1], "[%d]", link->to_port);
    snprintf(text, size, "%s%s - %s%s (%s)", t->nodes[link->from].name, ports[0],
             t->nodes[link->to].name, ports[1], weft_link_kinds[link->kind].name);
}

/* `matched`: of the ends in the own numbering. Links of a node that is itself gone or new say
 * nothing more. */
static weft_status note_link(struct comparison *c, const struct weft_topology *t,
                             const int *matched, int index, enum weft_difference_kind kind)
{
    char subject[2 * WEFT_TOPOLOGY_NAME_BYTES + 64];
    if (matched[t->links[index].from] < 0 || matched[t->links[index].to] < 0)
        return WEFT_OK;
    name_link(t, index, subject, sizeof subject);
    return note(c, kind, subject, "", "", "", "");
}

static bool is_near(int64_t a, int64_t b)
{
    int64_t low = a < b ? a : b, high = a < b ? b : a;
    return low >= 0 && (double)low >= 0.9 * (double)high;
}

static weft_status note_number(struct comparison *c, int link, const char *key, int64_t before,
                               int64_t after, const char *unit)
{
    char subject[2 * WEFT_TOPOLOGY_NAME_BYTES + 64], old_text[32] = "", new_text[32] = "";
    name_link(c->match.before, link, subject, sizeof subject);
    if (before >= 0)
        snprintf(old_text, sizeof old_text, "%" PRId64, before);
    if (after >= 0)
        snprintf(new_text, sizeof new_text, "%" PRId64, after);
    return note(c, WEFT_DIFFERENCE_LINK_CHANGED, subject, key, old_text, new_text, unit);
}

static weft_status compare_links(struct comparison *c, int before, int after)
{
    const struct weft_link *a = &c->match.before->links[before];
    const struct weft_link *b = &c->match.after->links[after];
    const struct {
        const char *key, *unit;
        int64_t before, after;
    } numbers[] = {
        {"count", "", a->count, b->count},
        {"nominal bandwidth", "bytes per second", a->bandwidth.nominal.value,
         b->bandwidth.nominal.value},
        {"current bandwidth", "bytes per second", a->bandwidth.current.value,
         b->bandwidth.current.value},
        {"measured bandwidth", "bytes per second", a->bandwidth.measured.value,
         b->bandwidth.measured.value},
        {"nominal latency", "picoseconds", a->latency.nominal.value, b->latency.nominal.value},
        {"current latency", "picoseconds", a->latency.current.value, b->latency.current.value},
        {"measured latency", "picoseconds", a->latency.measured.value, b->latency.measured.value},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bool is_measured = strncmp(numbers[i].key, "measured", 8) == 0;
        if (numbers[i].before != numbers[i].after &&
            !(is_measured && is_near(numbers[i].before, numbers[i].after)))
            WEFT_TRY(note_number(c, before, numbers[i].key, numbers[i].before, numbers[i].after,
                                 numbers[i].unit));
    }
    return WEFT_OK;
}

static bool same_ports(const struct end_pair *a, const struct end_pair *b)
{
    return a->port_a == b->port_a && a->port_b == b->port_b;
}

/* Links between the same two nodes: those of the same ports are the same; the rest are paired in
 * order where a port is not known on one side, and else gone or new. */
static weft_status compare_bundle(struct comparison *c, const struct end_pair *a, int num_a,
                                  const struct end_pair *b, int num_b)
{
    int i = 0, j = 0;
    while (i < num_a || j < num_b) {
        bool is_pair = i < num_a && j < num_b;
        bool has_ports = is_pair && (a[i].port_a || a[i].port_b) && (b[j].port_a || b[j].port_b);
        if (is_pair && (!has_ports || same_ports(&a[i], &b[j]))) {
            WEFT_TRY(compare_links(c, a[i++].link, b[j++].link));
        } else if (j >= num_b ||
                   (is_pair && (a[i].port_a < b[j].port_a ||
                                (a[i].port_a == b[j].port_a && a[i].port_b < b[j].port_b)))) {
            WEFT_TRY(note_link(c, c->match.before, c->match.after_of, a[i++].link,
                               WEFT_DIFFERENCE_LINK_REMOVED));
        } else {
            WEFT_TRY(note_link(c, c->match.after, c->match.before_of, b[j++].link,
                               WEFT_DIFFERENCE_LINK_ADDED));
        }
    }
    return WEFT_OK;
}

static weft_status compare_all_links(struct comparison *c, const struct end_pair *a,
                                     const struct end_pair *b)
{
    int num_a = c->match.before->num_links, num_b = c->match.after->num_links, i = 0, j = 0;
    while (i < num_a || j < num_b) {
        int order = i >= num_a ? 1 : j >= num_b ? -1 : compare_ends(&a[i], &b[j]);
        int end_i = i, end_j = j;
        while (order <= 0 && end_i < num_a && compare_ends(&a[end_i], &a[i]) == 0)
            end_i++;
        while (order >= 0 && end_j < num_b && compare_ends(&b[end_j], &b[j]) == 0)
            end_j++;
        WEFT_TRY(compare_bundle(c, a + i, end_i - i, b + j, end_j - j));
        i = end_i;
        j = end_j;
    }
    return WEFT_OK;
}

/* ---- all ---- */

static int compare_kinds(const void *x, const void *y)
{
    const struct weft_difference *const *a = x, *const *b = y;
    if ((*a)->kind != (*b)->kind)
        return (*a)->kind < (*b)->kind ? -1 : 1;
    return (*a > *b) - (*a < *b);
}

/* By kind; within one kind in the order of the topologies. */
static weft_status sort_items(struct comparison *c)
{
    struct weft_diff *d = c->diff;
    size_t n = (size_t)d->num_items;
    struct weft_difference **order = malloc((n + 1) * sizeof *order);
    struct weft_difference *sorted = malloc((n + 1) * sizeof *sorted);
    bool has_memory = order && sorted;
    if (has_memory) {
        for (size_t i = 0; i < n; i++)
            order[i] = &d->items[i];
        qsort(order, n, sizeof(struct weft_difference *), compare_kinds);
        for (size_t i = 0; i < n; i++)
            sorted[i] = *order[i];
        free(d->items);
        d->items = sorted;
        sorted = NULL;
    }
    free(order);
    free(sorted);
    return has_memory ? WEFT_OK : no_memory(c);
}

static weft_status compare(struct comparison *c)
{
    const struct weft_match *m = &c->match;
    WEFT_TRY(weft_match_nodes(&c->match, c->error));
    WEFT_TRY(note_lonely(c, m->before, m->after_of, WEFT_DIFFERENCE_NODE_REMOVED));
    WEFT_TRY(note_lonely(c, m->after, m->before_of, WEFT_DIFFERENCE_NODE_ADDED));
    for (int i = 0; i < m->before->num_nodes; i++)
        if (m->after_of[i] >= 0)
            WEFT_TRY(compare_nodes(c, i, m->after_of[i]));
    struct end_pair *a = gather_links(m->before, m->after_of), *b = gather_links(m->after, NULL);
    weft_status status = a && b ? compare_all_links(c, a, b) : no_memory(c);
    free(a);
    free(b);
    return status == WEFT_OK ? sort_items(c) : status;
}

weft_status weft_topology_diff(const struct weft_topology *before,
                               const struct weft_topology *after, int most, struct weft_diff *diff,
                               struct weft_error *error)
{
    struct weft_diff found = {0};
    struct comparison c = {
        .match = {before, after, NULL, NULL}, .diff = &found, .most = most, .error = error};
    weft_status status = compare(&c);
    weft_match_free(&c.match);
    if (status != WEFT_OK) {
        weft_diff_free(&found);
        return status;
    }
    *diff = found;
    return WEFT_OK;
}
