/*
 * SPDX-License-Identifier: Apache-2.0
 * See rdma_sysfs.h.
 */
#include "base/rdma_sysfs.h"

#include <stdlib.h>
#include <string.h>

bool weft_rdma_interface(const struct weft_sysfs *files, const char *device, char *text,
                         size_t size)
{
    if (weft_sysfs_text(files, text, size, "sys/class/infiniband/%.63s/parent", device) &&
        !strchr(text, '/'))
        return true;
    text[0] = '\0';
    return false;
}

int64_t weft_rdma_rate_mbps(const struct weft_sysfs *files, const char *device, int port)
{
    char text[64], *end;
    // "400 Gb/sec (4X NDR)"
    weft_sysfs_text(files, text, sizeof text, "sys/class/infiniband/%.63s/ports/%d/rate", device,
                    port);
    double gbps = strtod(text, &end);
    return end != text && gbps > 0 && gbps < 1e6 ? (int64_t)(gbps * 1000 + 0.5) : 0;
}
