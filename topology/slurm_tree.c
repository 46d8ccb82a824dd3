/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing Slurm's topology/tree from any network. Slurm wants a strict tree; a network with many
 * spines is none. So a Slurm switch of level k stands for everything that switches up to level k
 * connect: such parts contain each other, which makes a tree of every graph, and what nothing
 * connects stays apart under its own root. The leaves are the groups of slurm_fabric.c.
 *
 * What a name stands for is said in a comment "# NAME=..." above its line.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/graph_private.h"
#include "topology/hostlist.h"
#include "topology/sets.h"
#include "topology/slurm_private.h"

/* One line of the file. */
struct item {
    const char *name;
    int group;  // of hosts; -1: it has switches below it
    int parent; // item; -1: none
    int level;
    int first_switch, last_switch; // nodes it stands for
    int num_switches;
};

struct tree {
    const struct weft_topology *t;
    struct weft_error *error;
    struct weft_slurm_fabric fabric;
    struct weft_slurm_names names;
    int *up;    // sets of nodes, then of groups
    int *first; // of each set, with `last` and `count`: its switches of one level
    int *last;
    int *count;
    struct item *items;
    int num_items;
    int *open; // items without parent so far
    int num_open;
};

static int set_of_group(const struct tree *tree, int group)
{
    return tree->t->num_nodes + group;
}

/* A set that an item is in. */
static int set_of_item(struct tree *tree, int item)
{
    const struct item *i = &tree->items[item];
    return weft_sets_root(tree->up, i->group >= 0 ? set_of_group(tree, i->group) : i->first_switch);
}

/* ---- names ---- */

static weft_status name_item(struct tree *tree, struct item *item)
{
    static const char *const fallbacks[] = {"leaves", "spines", "cores", "switches"};
    char common[WEFT_TOPOLOGY_NAME_BYTES];
    const char *wanted = fallbacks[item->level < 3 ? item->level : 3];
    if (item->num_switches == 1) {
        wanted = tree->t->nodes[item->first_switch].name;
    } else if (item->num_switches > 1) {
        weft_slurm_common_name(tree->t->nodes[item->first_switch].name,
                               tree->t->nodes[item->last_switch].name, common);
        wanted = common[0] ? common : wanted;
    }
    return weft_slurm_names_make(&tree->names, wanted, &item->name, tree->error);
}

/* ---- leaves ---- */

static weft_status add_leaf(struct tree *tree, int group, int host)
{
    const struct weft_slurm_group *g = &tree->fabric.groups[group];
    const struct weft_slurm_port *ports = tree->fabric.ports + g->first_port;
    struct item *item = &tree->items[tree->num_items];
    *item = (struct item){.group = group, .parent = -1, .num_switches = g->num_ports};
    tree->open[tree->num_open++] = tree->num_items++;
    if (g->num_ports == 0) {
        char wanted[WEFT_TOPOLOGY_NAME_BYTES];
        snprintf(wanted, sizeof wanted, "alone-%.200s", tree->t->nodes[host].name);
        return weft_slurm_names_make(&tree->names, wanted, &item->name, tree->error);
    }
    item->first_switch = ports[0].on;
    item->last_switch = ports[g->num_ports - 1].on;
    for (int i = 0; i < g->num_ports; i++)
        weft_sets_unite(tree->up, set_of_group(tree, group), ports[i].on);
    return name_item(tree, item);
}

/* In the order of the first host of each. */
static weft_status add_leaves(struct tree *tree)
{
    int num_sets = tree->t->num_nodes + tree->fabric.num_groups;
    weft_sets_init(tree->up, num_sets);
    for (int i = 0; i < num_sets; i++)
        tree->count[i] = 0;
    for (int i = 0; i < tree->t->num_nodes; i++) {
        int group = tree->fabric.group_of[i];
        if (group < 0 || tree->count[set_of_group(tree, group)]++)
            continue;
        WEFT_TRY(add_leaf(tree, group, i));
    }
    return WEFT_OK;
}

/* ---- levels ---- */

static void connect_up_to(struct tree *tree, int level)
{
    const int *levels = tree->fabric.level;
    for (int i = 0; i < tree->t->num_links; i++) {
        const struct weft_link *link = &tree->t->links[i];
        int a = levels[link->from], b = levels[link->to];
        if (link->kind == WEFT_LINK_NETWORK && a >= 0 && b >= 0 && a <= level && b <= level)
            weft_sets_unite(tree->up, link->from, link->to);
    }
}

static int compare_open(const void *a, const void *b, void *context)
{
    struct tree *tree = context;
    int x = *(const int *)a, y = *(const int *)b;
    int of_x = set_of_item(tree, x), of_y = set_of_item(tree, y);
    if (of_x != of_y)
        return of_x < of_y ? -1 : 1;
    return x < y ? -1 : 1;
}

/* What the open items from..to, one connected part, become at this level. */
static weft_status join(struct tree *tree, int level, int from, int to, int *kept)
{
    int set = set_of_item(tree, tree->open[from]);
    if (to - from == 1 && tree->count[set] == 0) {
        tree->open[(*kept)++] = tree->open[from];
        return WEFT_OK;
    }
    struct item *item = &tree->items[tree->num_items];
    *item = (struct item){.group = -1,
                          .parent = -1,
                          .level = level,
                          .first_switch = tree->count[set] ? tree->first[set] : set,
                          .last_switch = tree->last[set],
                          .num_switches = tree->count[set]};
    for (int i = from; i < to; i++)
        tree->items[tree->open[i]].parent = tree->num_items;
    tree->open[(*kept)++] = tree->num_items++;
    return name_item(tree, item);
}

static weft_status add_level(struct tree *tree, int level)
{
    connect_up_to(tree, level);
    for (int i = 0; i < tree->t->num_nodes + tree->fabric.num_groups; i++)
        tree->count[i] = 0;
    for (int i = 0; i < tree->t->num_nodes; i++) {
        if (tree->fabric.level[i] != level)
            continue;
        int set = weft_sets_root(tree->up, i);
        tree->first[set] = tree->count[set]++ == 0 ? i : tree->first[set];
        tree->last[set] = i;
    }
    qsort_r(tree->open, (size_t)tree->num_open, sizeof *tree->open, compare_open, tree);
    int kept = 0;
    for (int i = 0, next; i < tree->num_open; i = next) {
        int set = set_of_item(tree, tree->open[i]);
        for (next = i + 1; next < tree->num_open; next++)
            if (set_of_item(tree, tree->open[next]) != set)
                break;
        WEFT_TRY(join(tree, level, i, next, &kept));
    }
    tree->num_open = kept;
    return WEFT_OK;
}

static weft_status grow(struct tree *tree)
{
    bool has_level[WEFT_SLURM_MAX_LEVEL + 1] = {false};
    has_level[1] = true; // leaves may be cabled to each other
    for (int i = 0; i < tree->t->num_nodes; i++)
        if (tree->fabric.level[i] > 0)
            has_level[tree->fabric.level[i]] = true;
    WEFT_TRY(add_leaves(tree));
    for (int level = 1; level <= WEFT_SLURM_MAX_LEVEL; level++)
        if (has_level[level])
            WEFT_TRY(add_level(tree, level));
    return WEFT_OK;
}

/* ---- writing ---- */

static int compare_lines(const void *a, const void *b)
{
    const struct item *x = *(struct item *const *)a, *y = *(struct item *const *)b;
    if (x->level != y->level)
        return x->level > y->level ? -1 : 1;
    return weft_name_compare(x->name, y->name);
}

static int compare_text(const void *a, const void *b)
{
    return weft_name_compare(*(const char *const *)a, *(const char *const *)b);
}

static void write_label(const struct tree *tree, const struct item *item, FILE *stream)
{
    const struct weft_topology *t = tree->t;
    const char *first = t->nodes[item->first_switch].name;
    if (item->group >= 0 && item->num_switches == 0) {
        fprintf(stream, "# %s=on no switch that is known\n", item->name);
    } else if (item->num_switches == 0) {
        fprintf(stream, "# %s=no switches, but cables between what is below\n", item->name);
    } else if (item->num_switches == 1) {
        const char *label = weft_topology_text(t, item->first_switch, "slurm.label");
        if (label || strcmp(first, item->name) != 0)
            fprintf(stream, "# %s=%s\n", item->name, label ? label : first);
    } else {
        fprintf(stream, "# %s=%s ... %s (%d switches)\n", item->name, first,
                t->nodes[item->last_switch].name, item->num_switches);
    }
}

/* `below` holds what each item contains, one item after the other: hosts of groups, else items. */
static void write_items(const struct tree *tree, struct item *const *order,
                        const char *const *below, const int *first_below, FILE *stream)
{
    for (int i = 0; i < tree->num_items; i++) {
        const struct item *item = order[i];
        int index = (int)(item - tree->items);
        write_label(tree, item, stream);
        fprintf(stream, "SwitchName=%s %s=", item->name, item->group >= 0 ? "Nodes" : "Switches");
        weft_hostlist_write(stream, below + first_below[index],
                            first_below[index + 1] - first_below[index]);
        int64_t speed = item->num_switches == 1 ? weft_topology_number(tree->t, item->first_switch,
                                                                       "slurm.link_speed", -1)
                                                : -1;
        if (speed >= 0)
            fprintf(stream, " LinkSpeed=%lld", (long long)speed);
        putc('\n', stream);
    }
}

static weft_status write_tree(struct tree *tree, FILE *stream)
{
    size_t n = (size_t)tree->t->num_nodes + 1, m = (size_t)tree->num_items + 2;
    int *first_below = calloc(m + (size_t)tree->fabric.num_groups, sizeof *first_below);
    const char **below = malloc((n + m) * sizeof *below);
    struct item **order = malloc(m * sizeof *order);
    weft_status status = WEFT_OK;
    if (!first_below || !below || !order)
        status = weft_fail(tree->error, WEFT_OUT_OF_MEMORY, "slurm: no memory");
    if (status == WEFT_OK) {
        int *leaf = first_below + m; // of each group
        for (int i = 0; i < tree->num_items; i++) {
            order[i] = &tree->items[i];
            if (tree->items[i].group >= 0)
                leaf[tree->items[i].group] = i;
            if (tree->items[i].parent >= 0)
                first_below[tree->items[i].parent + 2]++;
        }
        for (size_t i = 0; i + 1 < n; i++)
            if (tree->fabric.group_of[i] >= 0)
                first_below[leaf[tree->fabric.group_of[i]] + 2]++;
        for (size_t i = 2; i < m; i++)
            first_below[i] += first_below[i - 1];
        for (size_t i = 0; i + 1 < n; i++)
            if (tree->fabric.group_of[i] >= 0)
                below[first_below[leaf[tree->fabric.group_of[i]] + 1]++] = tree->t->nodes[i].name;
        for (int i = 0; i < tree->num_items; i++)
            if (tree->items[i].parent >= 0)
                below[first_below[tree->items[i].parent + 1]++] = tree->items[i].name;
        for (int i = 0; i < tree->num_items; i++)
            qsort(below + first_below[i], (size_t)(first_below[i + 1] - first_below[i]),
                  sizeof *below, compare_text);
        qsort(order, (size_t)tree->num_items, sizeof *order, compare_lines);
        write_items(tree, order, below, first_below, stream);
    }
    free(first_below);
    free(below);
    free(order);
    return status;
}

static void write_opening(const struct tree *tree, FILE *stream)
{
    fputs("# for TopologyPlugin=topology/tree; \"# NAME=...\" says what a name stands for\n",
          stream);
    if (tree->fabric.num_elsewhere)
        fprintf(stream,
                "# left out: %d ways of hosts to switches of other fabrics than their widest\n",
                tree->fabric.num_elsewhere);
    if (tree->fabric.num_unknown_ports)
        fprintf(stream, "# left out: %d network ports of unknown hosts\n",
                tree->fabric.num_unknown_ports);
}

static weft_status write_slurm_tree(const struct weft_topology *t, FILE *stream,
                                    struct weft_error *error)
{
    struct tree tree = {.t = t, .error = error};
    WEFT_TRY(weft_slurm_check_hosts(t, error));
    WEFT_TRY(weft_slurm_fabric_find(t, &tree.fabric, error));
    size_t sets = (size_t)t->num_nodes + (size_t)tree.fabric.num_groups + 1;
    size_t room = (size_t)tree.fabric.num_groups * 2 + (size_t)t->num_nodes + 1;
    tree.up = malloc(sets * 4 * sizeof *tree.up);
    tree.items = malloc(room * sizeof *tree.items);
    tree.open = malloc(room * sizeof *tree.open);
    weft_status status = WEFT_OK;
    if (!tree.up || !tree.items || !tree.open)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "slurm: no memory");
    if (status == WEFT_OK) {
        tree.first = tree.up + sets;
        tree.last = tree.first + sets;
        tree.count = tree.last + sets;
        status = grow(&tree);
    }
    if (status == WEFT_OK) {
        write_opening(&tree, stream);
        status = write_tree(&tree, stream);
    }
    free(tree.up);
    free(tree.items);
    free(tree.open);
    weft_slurm_names_fini(&tree.names);
    weft_slurm_fabric_fini(&tree.fabric);
    return status;
}

const struct weft_exporter weft_exporter_slurm_tree = {
    .name = "slurm-tree",
    .description = "Slurm's topology.conf for topology/tree",
    .write = write_slurm_tree,
};
