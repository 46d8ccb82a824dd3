/*
 * SPDX-License-Identifier: Apache-2.0
 * See summary.h. Written straight to the stream; every list has a bound or one entry per GPU.
 */
#include "topology/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "topology/findings.h"
#include "topology/gpu_islands.h"
#include "topology/json.h"

static bool has_guid(const struct weft_topology *t, int node)
{
    return weft_topology_attribute(t, node, "node_guid") ||
           weft_topology_attribute(t, node, "port_guid");
}

/* A cable is counted once; a NIC with several is marked by its first. */
weft_status weft_topology_count_fabric(const struct weft_topology *t,
                                       struct weft_fabric_counts *counts, struct weft_error *error)
{
    bool *is_cabled = calloc((size_t)t->num_nodes + 1, sizeof *is_cabled);
    if (!is_cabled)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "summary: no memory");
    *counts = (struct weft_fabric_counts){
        .leaf = weft_topology_count(t, WEFT_NODE_LEAF),
        .spine = weft_topology_count(t, WEFT_NODE_SPINE),
        .core = weft_topology_count(t, WEFT_NODE_CORE_SWITCH),
        .other = weft_topology_count(t, WEFT_NODE_SWITCH),
        .channel_adapters = weft_topology_count(t, WEFT_NODE_AGGREGATOR),
    };
    for (int i = 0; i < t->num_links; i++) {
        if (t->links[i].kind != WEFT_LINK_NETWORK)
            continue;
        counts->network_links += t->links[i].count;
        is_cabled[t->links[i].from] = is_cabled[t->links[i].to] = true;
    }
    for (int i = 0; i < t->num_nodes; i++)
        counts->channel_adapters +=
            t->nodes[i].kind == WEFT_NODE_NIC && (is_cabled[i] || has_guid(t, i));
    free(is_cabled);
    return WEFT_OK;
}

/* ---- GPUs ---- */

/* The GPUs of each island by name: `next` chains those of one island, `first` and `size` are per
 * island. */
static void write_island_lists(const struct weft_topology *t, const int *first, const int *next,
                               const int *size, int num_islands, FILE *stream)
{
    fputs(" \"gpu_islands\": [", stream);
    for (int i = 0; i < num_islands && i < WEFT_SUMMARY_MAX_ISLANDS; i++) {
        fputs(i ? ",\n  [" : "\n  [", stream);
        int written = 0;
        for (int gpu = first[i]; gpu >= 0 && written < WEFT_SUMMARY_MAX_ISLAND_GPUS;
             gpu = next[gpu]) {
            fputs(written++ ? ", " : "", stream);
            weft_json_write_text(stream, t->nodes[gpu].name);
        }
        putc(']', stream);
    }
    fputs("],\n \"gpu_island_sizes\": [", stream);
    for (int i = 0; i < num_islands; i++)
        fprintf(stream, "%s%d", i ? ", " : "", size[i]);
    fputs("],\n", stream);
}

static weft_status write_gpu_islands(const struct weft_topology *t, int num_parts, FILE *stream,
                                     struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1;
    int num_islands = 0, *island_of = malloc(4 * n * sizeof *island_of);
    if (!island_of)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "summary: no memory");
    int *next = island_of + n, *first = next + n, *size = first + n;
    weft_status status = weft_topology_gpu_islands(t, island_of, &num_islands, error);
    if (status == WEFT_OK) {
        for (int i = 0; i < num_islands; i++) {
            first[i] = -1;
            size[i] = 0;
        }
        for (int i = t->num_nodes; i-- > 0;) { // from behind, so that chains are in order
            int island = island_of[i];
            if (island < 0)
                continue;
            next[i] = first[island];
            first[island] = i;
            size[island]++;
        }
        fprintf(stream, " \"islands\": %d,\n", num_islands ? num_islands : num_parts);
        write_island_lists(t, first, next, size, num_islands, stream);
    }
    free(island_of);
    return status;
}

static weft_status write_gpu_links(const struct weft_topology *t, FILE *stream,
                                   struct weft_error *error)
{
    static const int kinds[] = {WEFT_LINK_NVLINK, WEFT_LINK_XGMI};
    size_t n = (size_t)t->num_nodes + 1;
    int64_t *counts = calloc(2 * n, sizeof *counts);
    if (!counts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "summary: no memory");
    for (int i = 0; i < t->num_links; i++)
        for (size_t k = 0; k < 2; k++)
            if (t->links[i].kind == kinds[k]) {
                counts[k * n + (size_t)t->links[i].from] += t->links[i].count;
                counts[k * n + (size_t)t->links[i].to] += t->links[i].count;
            }
    fputs(" \"gpu_links\": {", stream);
    const char *separator = "\n  ";
    for (size_t i = 0; i + 1 < n; i++) {
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        fputs(separator, stream);
        separator = ",\n  ";
        weft_json_write_text(stream, t->nodes[i].name);
        fprintf(stream, ": {\"nvlink\": %" PRId64 ", \"xgmi\": %" PRId64 "}", counts[i],
                counts[n + i]);
    }
    fputs("},\n", stream);
    free(counts);
    return WEFT_OK;
}

/* ---- the rest ---- */

static weft_status write_fabric(const struct weft_topology *t, FILE *stream,
                                struct weft_error *error)
{
    struct weft_fabric_counts counts;
    WEFT_TRY(weft_topology_count_fabric(t, &counts, error));
    fprintf(stream,
            " \"fabric\": {\"switches\": %d, \"leaf\": %d, \"spine\": %d, \"core\": %d, "
            "\"channel_adapters\": %d, \"network_links\": %d},\n",
            counts.leaf + counts.spine + counts.core + counts.other, counts.leaf, counts.spine,
            counts.core, counts.channel_adapters, counts.network_links);
    return WEFT_OK;
}

static void write_remarks(const struct weft_topology *t, FILE *stream)
{
    int counts[WEFT_NUM_REMARK_KINDS] = {0};
    for (int i = 0; i < t->num_remarks; i++)
        counts[t->remarks[i].kind]++;
    fputs(" \"remarks\": {", stream);
    for (int kind = 0; kind < WEFT_NUM_REMARK_KINDS; kind++)
        fprintf(stream, "%s\"%s\": %d", kind ? ", " : "", weft_remark_names[kind], counts[kind]);
    fputs("},\n", stream);
}

static weft_status write_findings(const struct weft_topology *t, FILE *stream,
                                  struct weft_error *error)
{
    struct weft_findings findings;
    WEFT_TRY(weft_topology_findings(t, &findings, error));
    fputs(" \"findings\": [", stream);
    for (int i = 0; i < findings.count; i++) {
        const struct weft_finding *finding = &findings.items[i];
        fprintf(stream,
                "%s{\"severity\": \"%s\", \"kind\": \"%s\", \"lost_bandwidth\": %" PRId64
                ", \"sentence\": ",
                i ? ",\n  " : "\n  ", weft_severity_names[finding->severity], finding->kind,
                finding->lost_bandwidth);
        weft_json_write_text(stream, finding->sentence);
        putc('}', stream);
    }
    fputs("]}\n", stream);
    weft_findings_free(&findings);
    return WEFT_OK;
}

weft_status weft_topology_summary_json(const struct weft_topology *t, FILE *stream,
                                       struct weft_error *error)
{
    int num_parts;
    WEFT_TRY(weft_topology_islands(t, NULL, &num_parts, error));
    fprintf(stream, "{\"format\": \"weft-topology-summary\", \"version\": 1,\n \"nodes\": {");
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS; kind++)
        fprintf(stream, "%s\"%s\": %d", kind ? ", " : "", weft_node_kinds[kind].name,
                weft_topology_count(t, kind));
    fprintf(stream, "},\n \"links\": %d, \"parts\": %d,\n", t->num_links, num_parts);
    WEFT_TRY(write_gpu_islands(t, num_parts, stream, error));
    WEFT_TRY(write_gpu_links(t, stream, error));
    WEFT_TRY(write_fabric(t, stream, error));
    write_remarks(t, stream);
    fprintf(stream, " \"fingerprint\": \"%016" PRIx64 "\",\n", weft_topology_fingerprint(t));
    WEFT_TRY(write_findings(t, stream, error));
    errno = 0;
    if (fflush(stream) != 0 || ferror(stream))
        return weft_fail(error, WEFT_SYSTEM, "writing the summary failed: %s", strerror(errno));
    return WEFT_OK;
}
