/*
 * SPDX-License-Identifier: Apache-2.0
 * Any string given to the synthetic parser: refused with a sentence, or a sound graph. Counts
 * are cut to one digit here, since building millions of nodes would only slow the search; '#'
 * stands for a number beyond every limit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2048];
    size_t used = 0;
    if (size > 150)
        return 0;
    for (size_t i = 0; i < size; i++) {
        bool follows_digit = i > 0 && data[i - 1] >= '0' && data[i - 1] <= '9';
        if (data[i] == '#')
            used += (size_t)snprintf(text + used, sizeof text - used, "99999999999");
        else if (!(follows_digit && data[i] >= '0' && data[i] <= '9'))
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
