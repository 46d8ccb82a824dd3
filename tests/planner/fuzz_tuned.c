/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes given to the reader of measured times: refused with a sentence, or times that are none
 * or not negative, of every size class.
 */
#include <stdlib.h>

#include "base/dtype.h"
#include "collectives/planner/tuned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int hosts[] = {0, 1};
    static const struct weft_tuned_ranks ranks = {2, hosts, "tcp"};
    struct weft_tuned *tuned = NULL;
    struct weft_error error = {0};
    weft_status status = weft_tuned_read((const char *)data, size, "input", &ranks, &tuned, &error);
    if (status != WEFT_OK && (error.status != status || !error.text[0] || tuned))
        abort();
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        for (int s = -1; s <= 62; s++)
            for (int i = 0; weft_algorithms[i]; i++) {
                struct weft_key key = {.collective = (weft_collective)c, .size_class = s};
                if (weft_tuned_time(tuned, weft_algorithms[i], &key) < -1)
                    abort();
            }
    weft_tuned_free(&tuned);
    return 0;
}
