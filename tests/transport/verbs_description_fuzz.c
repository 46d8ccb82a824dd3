/*
 * SPDX-License-Identifier: Apache-2.0
 * Two descriptions of RDMA ports from anywhere: read or refused, written back as they came, and
 * both ends find the same paths.
 */
#include "tests/transport/verbs_match_rules.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct weft_verbs_description read[2];
    struct weft_error error;
    unsigned char wire[WEFT_VERBS_WIRE_BYTES], again[WEFT_VERBS_WIRE_BYTES];
    for (int i = 0; i < 2; i++) {
        size_t bytes = size < sizeof wire ? size : sizeof wire;
        memset(wire, 0, sizeof wire);
        memcpy(wire, data, bytes);
        data += bytes;
        size -= bytes;
        if (i == 0 || bytes > 0) { // the mark is given, so that what follows is tried
            memcpy(wire, "WP\2", 3);
            memset(wire + 4, 0, 4);
        }
        if (weft_verbs_description_read(wire, &read[i], &error) != WEFT_OK)
            return 0;
        weft_verbs_description_write(&read[i], again);
        RULE(memcmp(wire, again, sizeof wire) == 0);
        check_paths(&read[0], &read[i], &error);
    }
    return 0;
}
