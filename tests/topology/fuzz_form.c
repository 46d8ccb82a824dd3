/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes given to one importer (IMPORTER names its row): refused with a sentence, or a graph
 * that survives its check, a round trip through JSON, every exporter, routes, findings and the
 * report.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/json.h"
#include "topology/report.h"
#include "topology/route.h"
#include "topology/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* hwloc's XML reader drops objects on the floor when it refuses a file; that is not ours to mend.
 */
const char *__lsan_default_suppressions(void)
{
    return "leak:libhwloc";
}

static void use(const struct weft_topology *t)
{
    const struct weft_report_options verbose = {.verbose = true, .colour = true};
    int node_of_rank[3];
    struct weft_route routes[9];
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    struct weft_error error;
    if (!stream || weft_topology_report(t, &verbose, stream, NULL) != WEFT_OK ||
        weft_topology_summary_json(t, stream, NULL) != WEFT_OK)
        abort();
    for (int i = 0; weft_exporters[i]; i++) {
        weft_status status = weft_topology_export(weft_exporters[i], t, stream, &error);
        if (status != WEFT_OK && status != WEFT_UNSUPPORTED)
            abort();
    }
    fclose(stream);
    free(text);
    if (weft_topology_place(t, 3, node_of_rank, NULL) == WEFT_OK &&
        weft_topology_routes(t, 3, node_of_rank, routes, NULL) != WEFT_OK)
        abort();
}

static char *written(const struct weft_topology *t, size_t *bytes)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, bytes);
    if (!stream || weft_topology_write_json(t, stream, NULL) != WEFT_OK || fclose(stream) != 0)
        abort();
    return text;
}

static void check_round_trip(const struct weft_topology *t)
{
    struct weft_topology *back = NULL;
    size_t bytes_1, bytes_2;
    char *text_1 = written(t, &bytes_1);
    if (weft_topology_read_json(text_1, bytes_1, "copy", &back, NULL) != WEFT_OK ||
        weft_topology_fingerprint(t) != weft_topology_fingerprint(back))
        abort();
    char *text_2 = written(back, &bytes_2);
    if (bytes_1 != bytes_2 || memcmp(text_1, text_2, bytes_1) != 0)
        abort();
    weft_topology_destroy(&back);
    free(text_1);
    free(text_2);
}

/* Forms in which a few bytes stand for many nodes: numbers are cut to MAX_DIGITS digits, since
 * building those nodes would only slow the search. */
static void shorten_numbers(char *text)
{
#ifdef MAX_DIGITS
    char *to = text;
    int digits = 0;
    for (const char *at = text; *at; at++) {
        digits = *at >= '0' && *at <= '9' ? digits + 1 : 0;
        if (digits <= MAX_DIGITS)
            *to++ = *at;
    }
    *to = '\0';
#else
    (void)text;
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    shorten_numbers(text);
    const struct weft_importer *importer = weft_importer_find(IMPORTER);
    importer->matches(text);
    weft_status status = weft_topology_import(importer, text, strlen(text), "input", &t, &error);
    free(text);
    if (status != WEFT_OK) {
        if (t || error.status != status || !error.text[0])
            abort();
        return 0;
    }
    check_round_trip(t);
    use(t);
    weft_topology_destroy(&t);
    return 0;
}
