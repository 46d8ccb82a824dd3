/*
 * SPDX-License-Identifier: Apache-2.0
 * Decision tables from hostile peers: what is accepted must be usable and write back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/decisions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_decisions decisions;
    struct weft_error error;
    unsigned char bytes[WEFT_DECISIONS_BYTES], again[WEFT_DECISIONS_BYTES];
    // Raw, then as changes to a good table, with the right header.
    if (weft_decisions_read(data, size, &decisions, &error) == WEFT_OK) {
        weft_decisions_write(&decisions, again);
        if (memcmp(data, again, sizeof again) != 0)
            abort();
    }
    if (size < 1)
        return 0;
    const struct weft_costs costs = weft_costs_assumed(1 + data[0], 8);
    if (weft_decisions_make(1 + data[0], &costs, &decisions, &error) != WEFT_OK)
        abort();
    uint8_t *entries = &decisions.algorithms[0][0][0];
    for (size_t i = 0; i + 3 <= size - 1; i += 3) // (place, place, change)
        entries[(data[i + 1] * 256u + data[i + 2]) % sizeof decisions.algorithms] ^= data[i + 3];
    weft_decisions_write(&decisions, bytes);
    if (weft_decisions_read(bytes, sizeof bytes, &decisions, &error) != WEFT_OK)
        return 0;
    weft_decisions_write(&decisions, again);
    if (memcmp(bytes, again, sizeof again) != 0)
        abort();
    return 0;
}
