/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes given to the JSON reader: refused with a sentence, or a graph that survives its check,
 * a round trip to the same bytes, routes, findings and the report.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/json.h"
#include "topology/report.h"
#include "topology/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct weft_topology *t, size_t *bytes)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, bytes);
    if (!stream || weft_topology_write_json(t, stream, NULL) != WEFT_OK)
        abort();
    fclose(stream);
    return text;
}

static void use(const struct weft_topology *t)
{
    const struct weft_report_options plain = {0}, verbose = {.verbose = true, .colour = true};
    int node_of_rank[3];
    struct weft_route routes[9];
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream || weft_topology_report(t, &plain, stream, NULL) != WEFT_OK ||
        weft_topology_report(t, &verbose, stream, NULL) != WEFT_OK ||
        weft_topology_summary_json(t, stream, NULL) != WEFT_OK)
        abort();
    fclose(stream);
    free(text);
    if (weft_topology_place(t, 3, node_of_rank, NULL) == WEFT_OK &&
        weft_topology_routes(t, 3, node_of_rank, routes, NULL) != WEFT_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_topology *t = NULL, *back = NULL;
    struct weft_error error = {0};
    weft_status status = weft_topology_read_json((const char *)data, size, "input", &t, &error);
    if (status != WEFT_OK) {
        if (t || error.status != status || !error.text[0])
            abort();
        return 0;
    }
    if (weft_topology_check(t, NULL) != WEFT_OK)
        abort();
    size_t bytes_1, bytes_2;
    char *text_1 = written(t, &bytes_1);
    if (weft_topology_read_json(text_1, bytes_1, "copy", &back, NULL) != WEFT_OK)
        abort();
    char *text_2 = written(back, &bytes_2);
    if (bytes_1 != bytes_2 || memcmp(text_1, text_2, bytes_1) != 0)
        abort();
    use(t);
    free(text_1);
    free(text_2);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
    return 0;
}
