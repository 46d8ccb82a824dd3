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
    static struct weft_layout *layout;
    if (!layout && weft_layout_assumed(6, 2, 1, &layout, &error) != WEFT_OK)
        abort();
    // Raw, then as changes to a good table, with the right header.
    if (weft_decisions_read(data, size, layout, &decisions, &error) == WEFT_OK) {
        weft_decisions_write(&decisions, again);
        if (memcmp(data, again, sizeof again) != 0)
            abort();
    }
    static struct weft_decisions good;
    if (!good.num_ranks && weft_decisions_make(layout, &good, &error) != WEFT_OK)
        abort();
    decisions = good;
    uint8_t *entries = &decisions.algorithms[0][0][0];
    for (size_t i = 0; i + 3 <= size; i += 3) // (place, place, change)
        entries[(data[i] * 256u + data[i + 1]) % sizeof decisions.algorithms] ^= data[i + 2];
    weft_decisions_write(&decisions, bytes);
    if (weft_decisions_read(bytes, sizeof bytes, layout, &decisions, &error) != WEFT_OK)
        return 0;
    weft_decisions_write(&decisions, again);
    if (memcmp(bytes, again, sizeof again) != 0)
        abort();
    return 0;
}
