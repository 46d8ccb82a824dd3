/*
 * SPDX-License-Identifier: Apache-2.0
 * Any string given to the synthetic parser: refused with a sentence, or a sound graph. Large counts
 * are cut short here, since building millions of nodes would only slow the search.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    size_t used = 0, digits = 0;
    if (size >= sizeof text)
        return 0;
    for (size_t i = 0; i < size; i++) {
        bool is_digit = data[i] >= '0' && data[i] <= '9';
        digits = is_digit ? digits + 1 : 0;
        if (digits < 3 || digits > 6) // none, two or very many: in range or far beyond
            text[used++] = (char)data[i];
    }
    text[used] = '\0';
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    weft_status status = weft_topology_from_synthetic(text, &t, &error);
    if (status == WEFT_OK) {
        if (weft_topology_check(t, NULL) != WEFT_OK || weft_topology_count(t, WEFT_NODE_HOST) < 1)
            abort();
    } else if (t || error.status != status || !strstr(error.text, "column")) {
        abort();
    }
    weft_topology_destroy(&t);
    return 0;
}
