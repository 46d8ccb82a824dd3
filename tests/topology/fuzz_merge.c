/*
 * SPDX-License-Identifier: Apache-2.0
 * What peers may send: texts between zero bytes, each read as a graph of a host. They merge to a
 * graph that passes its check and is the same in reverse order, or are refused with a sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/json.h"
#include "topology/merge.h"

enum { MAX_GRAPHS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void merge_both_ways(struct weft_topology **graphs, int count)
{
    struct weft_topology *merged = NULL, *turned = NULL;
    const struct weft_topology *there[MAX_GRAPHS], *back[MAX_GRAPHS];
    struct weft_error error = {0};
    for (int i = 0; i < count; i++)
        there[i] = back[count - 1 - i] = graphs[i];
    weft_status status = weft_topology_merge(there, count, &merged, &error);
    if (weft_topology_merge(back, count, &turned, NULL) != status)
        abort();
    if (status != WEFT_OK) {
        if (merged || error.status != status || !error.text[0])
            abort();
        return;
    }
    if (weft_topology_check(merged, NULL) != WEFT_OK ||
        weft_topology_fingerprint(merged) != weft_topology_fingerprint(turned))
        abort();
    weft_topology_destroy(&merged);
    weft_topology_destroy(&turned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_topology *graphs[MAX_GRAPHS] = {NULL};
    int count = 0;
    for (const uint8_t *end = data + size; data < end && count < MAX_GRAPHS;) {
        const uint8_t *zero = memchr(data, 0, (size_t)(end - data));
        size_t bytes = (size_t)((zero ? zero : end) - data);
        if (weft_topology_read_json((const char *)data, bytes, "input", &graphs[count], NULL) ==
            WEFT_OK)
            count++;
        data += bytes + 1;
    }
    if (count > 0)
        merge_both_ways(graphs, count);
    for (int i = 0; i < count; i++)
        weft_topology_destroy(&graphs[i]);
    return 0;
}
