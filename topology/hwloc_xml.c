/*
 * SPDX-License-Identifier: Apache-2.0
 * XML of hwloc 3 in the form of hwloc 2. Of what Weft reads, two things differ: the version, and
 * the type of an operating system device, which became a set of bits. The rest (facts after the
 * root object) hwloc 2 skips.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/hwloc_import.h"

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* hwloc 3's bits, the most telling first, to hwloc 2's number. */
static char old_osdev_type(unsigned bits)
{
    static const struct {
        unsigned bit;
        char old;
    } types[] = {
        {8, '5'},  // co-processor
        {4, '1'},  // GPU
        {32, '3'}, // OpenFabrics
        {16, '2'}, // network
        {64, '4'}, // DMA
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (bits & types[i].bit)
            return types[i].old;
    return '0'; // block
}

weft_status weft_hwloc_downgrade_xml(const char *text, size_t bytes, const char *name, char **older,
                                     size_t *older_bytes, struct weft_error *error)
{
    static const char version[] = "<topology version=\"";
    static const char osdev[] = "osdev_type=\"";
    const char *found = strstr(text, version);
    if (!found || HWLOC_API_VERSION >= 0x30000)
        return WEFT_OK;
    long major = strtol(found + strlen(version), NULL, 10);
    if (major <= 2)
        return WEFT_OK;
    if (major > 3)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: XML of hwloc %ld; Weft knows up to 3", name,
                         major);
    char *out = malloc(bytes + 1);
    if (!out)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", name);
    size_t used = 0; // never more than was read: every replacement is as long or shorter
    for (const char *at = text; *at;) {
        if (at == found) {
            memcpy(out + used, version, strlen(version));
            used += strlen(version);
            out[used++] = '2';
            at += strlen(version) + 1;
        } else if (starts_with(at, osdev)) {
            char *end;
            unsigned long bits = strtoul(at + strlen(osdev), &end, 10);
            memcpy(out + used, osdev, strlen(osdev));
            used += strlen(osdev);
            if (end != at + strlen(osdev))
                out[used++] = old_osdev_type((unsigned)bits);
            at = end;
        } else {
            out[used++] = *at++;
        }
    }
    out[used] = '\0';
    *older = out;
    *older_bytes = used;
    return WEFT_OK;
}
