/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes given to the reader of measurements: refused with a sentence, or measurements that
 * write and read back to the same bytes and can be applied to a graph.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/measurements.h"
#include "topology/synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct weft_measurements *m, size_t *bytes)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, bytes);
    if (!stream || weft_measurements_write(m, stream, NULL) != WEFT_OK)
        abort();
    fclose(stream);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_measurements m, back;
    struct weft_error error = {0};
    weft_status status = weft_measurements_read((const char *)data, size, "input", &m, &error);
    if (status != WEFT_OK) {
        if (error.status != status || !error.text[0])
            abort();
        return 0;
    }
    size_t bytes_1, bytes_2;
    char *text_1 = written(&m, &bytes_1);
    if (weft_measurements_read(text_1, bytes_1, "copy", &back, NULL) != WEFT_OK)
        abort();
    char *text_2 = written(&back, &bytes_2);
    if (bytes_1 != bytes_2 || memcmp(text_1, text_2, bytes_1) != 0)
        abort();
    struct weft_topology *t = NULL;
    int applied;
    if (weft_topology_from_synthetic("host:2 numa:2 core:2 nic:1@400", &t, NULL) != WEFT_OK ||
        weft_measurements_apply(t, &m, &applied, NULL) != WEFT_OK ||
        weft_topology_check(t, NULL) != WEFT_OK)
        abort();
    weft_topology_destroy(&t);
    free(text_1);
    free(text_2);
    weft_measurements_free(&m);
    weft_measurements_free(&back);
    return 0;
}
