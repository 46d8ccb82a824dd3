/*
 * SPDX-License-Identifier: Apache-2.0
 * See guid.h.
 */
#include "topology/guid.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 16 };

uint64_t weft_guid_read(const char *text)
{
    uint64_t guid = 0;
    int digits = 0;
    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    for (; *text; text++) {
        if (*text == ':')
            continue;
        if (!isxdigit((unsigned char)*text) || ++digits > DIGITS)
            return 0;
        int digit =
            isdigit((unsigned char)*text) ? *text - '0' : tolower((unsigned char)*text) - 'a' + 10;
        guid = guid << 4 | (uint64_t)digit;
    }
    return guid;
}

weft_status weft_topology_learn_guid(struct weft_topology *topology, int node, const char *key,
                                     uint64_t guid, enum weft_source source,
                                     struct weft_error *error)
{
    char text[DIGITS + 1];
    if (guid == 0)
        return WEFT_OK;
    snprintf(text, sizeof text, "%016" PRIx64, guid);
    const char *known = weft_topology_text(topology, node, key);
    if (known && strcmp(known, text) != 0 && weft_guid_read(known) == guid)
        return weft_topology_set_text(topology, node, key, text, source, error);
    return weft_topology_learn_text(topology, node, key, text, source, error);
}
