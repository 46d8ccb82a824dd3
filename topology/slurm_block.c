/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing Slurm's topology/block: a block is a set of hosts in one NVLink domain, known from links,
 * from the domain that the GPUs report, or from a block file that was read. Hosts whose NVLink ends
 * at their own walls are in no block.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/hostlist.h"
#include "topology/sets.h"
#include "topology/slurm_private.h"

struct block {
    int64_t index;     // in the file that it was read from; else its set of nodes
    const char *name;  // read; NULL: to be made
    const char *label; // NULL: none
    int num_hosts, first_host;
};

struct domain {
    const char *text;
    int gpu;
};

static int compare_domains(const void *a, const void *b)
{
    const struct domain *x = a, *y = b;
    int difference = strcmp(x->text, y->text);
    return difference ? difference : (x->gpu > y->gpu) - (x->gpu < y->gpu);
}

/* Sets of nodes that NVLink joins; a host is in the set of its GPUs. Labels of hosts: what a GPU
 * of theirs reports. */
static weft_status find_sets(const struct weft_topology *t, int *up, const char **labels,
                             struct weft_error *error)
{
    struct domain *domains = malloc(((size_t)t->num_nodes + 1) * sizeof *domains);
    int num_domains = 0;
    if (!domains)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "slurm: no memory");
    weft_sets_init(up, t->num_nodes);
    for (int i = 0; i < t->num_nodes; i++)
        labels[i] = NULL;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        const char *text = weft_topology_text(t, i, "nvlink_domain");
        if (host >= 0)
            weft_sets_unite(up, host, i);
        if (host >= 0 && text && text[0])
            labels[host] = text;
        if (text && text[0])
            domains[num_domains++] = (struct domain){text, i};
    }
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK)
            weft_sets_unite(up, t->links[i].from, t->links[i].to);
    qsort(domains, (size_t)num_domains, sizeof *domains, compare_domains);
    for (int i = 1; i < num_domains; i++)
        if (strcmp(domains[i].text, domains[i - 1].text) == 0)
            weft_sets_unite(up, domains[i].gpu, domains[i - 1].gpu);
    free(domains);
    return WEFT_OK;
}

/* ---- blocks ---- */

static bool is_same_block(const struct block *a, const struct block *b)
{
    return a->index == b->index && !a->name == !b->name &&
           (!a->name || strcmp(a->name, b->name) == 0);
}

/* Blocks that were read come first, in their order; then by the first node of the set. */
static int compare_blocks(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    if (!x->name != !y->name)
        return x->name ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    int difference = x->name ? strcmp(x->name, y->name) : 0;
    return difference ? difference
                      : (x->first_host > y->first_host) - (x->first_host < y->first_host);
}

/* One block per host, in order of blocks, then hosts. */
static int list_hosts(const struct weft_topology *t, int *up, const char *const *labels,
                      struct block *hosts)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        const char *name = weft_topology_text(t, i, "slurm.block");
        hosts[count++] = (struct block){
            .index = name ? weft_topology_number(t, i, "slurm.block_index", INT64_MAX)
                          : weft_sets_root(up, i),
            .name = name,
            .label = name ? weft_topology_text(t, i, "slurm.block_label") : labels[i],
            .num_hosts = 1,
            .first_host = i};
    }
    qsort(hosts, (size_t)count, sizeof *hosts, compare_blocks);
    return count;
}

/* ---- writing ---- */

struct writer {
    const struct weft_topology *t;
    FILE *stream;
    struct weft_slurm_names names;
    const char **hosts; // room for all
    int num_made;       // blocks whose name was made
    int smallest;       // block
    int num_alone;
    const char **alone; // hosts in no block
    struct weft_error *error;
};

static weft_status write_block(struct writer *w, const struct block *block, int count)
{
    const char *name;
    char wanted[32];
    for (int i = 0; i < count; i++)
        w->hosts[i] = w->t->nodes[block[i].first_host].name;
    if (!block->name && count == 1) {
        w->alone[w->num_alone++] = w->hosts[0];
        return WEFT_OK;
    }
    snprintf(wanted, sizeof wanted, "block%d", w->num_made);
    w->num_made += !block->name;
    WEFT_TRY(weft_slurm_names_make(&w->names, block->name ? block->name : wanted, &name, w->error));
    if (block->label)
        fprintf(w->stream, "# %s=%s\n", name, block->label);
    fprintf(w->stream, "BlockName=%s Nodes=", name);
    weft_hostlist_write(w->stream, w->hosts, count);
    putc('\n', w->stream);
    w->smallest = w->smallest == 0 || count < w->smallest ? count : w->smallest;
    return WEFT_OK;
}

/* Slurm plans in units of the first size; larger ones would be a policy, so they are only kept. */
static void write_sizes(struct writer *w)
{
    for (int i = 0; i < w->t->num_nodes; i++) {
        const char *sizes = w->t->nodes[i].kind == WEFT_NODE_HOST
                                ? weft_topology_text(w->t, i, "slurm.block_sizes")
                                : NULL;
        if (sizes && sizes[strspn(sizes, "0123456789,")] == '\0') {
            fprintf(w->stream, "BlockSizes=%s\n", sizes);
            return;
        }
    }
    fprintf(w->stream, "BlockSizes=%d\n", w->smallest);
}

static weft_status write_all(struct writer *w, const struct block *hosts, int count)
{
    bool any = false;
    for (int i = 0; i < count; i++)
        any |= hosts[i].name || (i > 0 && is_same_block(&hosts[i], &hosts[i - 1]));
    if (!any)
        return weft_fail(w->error, WEFT_UNSUPPORTED,
                         "no NVLink domain spans hosts here, so there are no blocks (slurm-tree "
                         "writes switches)");
    fputs("# for TopologyPlugin=topology/block\n", w->stream);
    for (int i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && is_same_block(&hosts[i], &hosts[next]);)
            next++;
        WEFT_TRY(write_block(w, &hosts[i], next - i));
    }
    write_sizes(w);
    if (w->num_alone) {
        fputs("# in no block: ", w->stream);
        weft_hostlist_write(w->stream, w->alone, w->num_alone);
        putc('\n', w->stream);
    }
    return WEFT_OK;
}

static weft_status write_slurm_block(const struct weft_topology *t, FILE *stream,
                                     struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1;
    struct writer w = {.t = t, .stream = stream, .error = error};
    WEFT_TRY(weft_slurm_check_hosts(t, error));
    int *up = malloc(n * sizeof *up);
    struct block *hosts = malloc(n * sizeof *hosts);
    w.hosts = malloc(2 * n * sizeof *w.hosts);
    weft_status status = WEFT_OK;
    if (!up || !hosts || !w.hosts)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "slurm: no memory");
    else
        status = find_sets(t, up, w.hosts, error);
    if (status == WEFT_OK) {
        w.alone = w.hosts + n;
        status = write_all(&w, hosts, list_hosts(t, up, w.hosts, hosts));
    }
    free(up);
    free(hosts);
    free(w.hosts);
    weft_slurm_names_fini(&w.names);
    return status;
}

const struct weft_exporter weft_exporter_slurm_block = {
    .name = "slurm-block",
    .description = "Slurm's topology.conf for topology/block, from NVLink domains",
    .write = write_slurm_block,
};
