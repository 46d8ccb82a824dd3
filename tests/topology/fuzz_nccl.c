/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes as NCCL's topology XML: what can be read and written must come back as the same graph.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct weft_topology *t)
{
    struct weft_topology *back = NULL;
    struct weft_error error;
    char *xml = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&xml, &bytes);
    if (!stream)
        abort();
    weft_status status = weft_topology_export(&weft_exporter_nccl_xml, t, stream, &error);
    fclose(stream);
    if (status == WEFT_OK) {
        status = weft_topology_import(&weft_importer_nccl_xml, xml, bytes, "copy", &back, &error);
        if (status != WEFT_OK || weft_topology_fingerprint(t) != weft_topology_fingerprint(back)) {
            fprintf(stderr, "%s\n%s", status != WEFT_OK ? error.text : "another graph", xml);
            abort();
        }
    } else if (status != WEFT_UNSUPPORTED) {
        abort();
    }
    free(xml);
    weft_topology_destroy(&back);
}

/* Elements beyond those that a node keeps are named and lost: then no second graph can be the same.
 */
static bool is_whole(const struct weft_topology *t)
{
    for (int i = 0; i < t->num_remarks; i++)
        if (t->remarks[i].kind == WEFT_REMARK_UNREAD && strstr(t->remarks[i].text, "is not known"))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_topology *t = NULL;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (weft_topology_import(&weft_importer_nccl_xml, text, strlen(text), "input", &t, NULL) ==
            WEFT_OK &&
        is_whole(t))
        check_round_trip(t);
    free(text);
    weft_topology_destroy(&t);
    return 0;
}
