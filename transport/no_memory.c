/*
 * SPDX-License-Identifier: Apache-2.0
 * See no_memory.h.
 */
#include "transport/no_memory.h"

weft_status weft_no_share(struct weft_device *device, size_t bytes, void **memory,
                          struct weft_shared_block *block, struct weft_error *error)
{
    (void)bytes, (void)memory, (void)block;
    return weft_fail(error, WEFT_UNSUPPORTED, "%s shares no memory", device->transport->name);
}

void weft_no_unshare(struct weft_device *device, void *memory)
{
    (void)device, (void)memory;
}

bool weft_no_locate(struct weft_device *device, const void *memory, size_t bytes,
                    struct weft_shared_block *block, size_t *within)
{
    (void)device, (void)memory, (void)bytes, (void)block, (void)within;
    return false;
}

weft_status weft_no_map(struct weft_connection *connection, const struct weft_shared_block *block,
                        bool keep, void **memory)
{
    (void)connection, (void)block, (void)keep, (void)memory;
    return WEFT_UNSUPPORTED;
}

void weft_no_remember(struct weft_device *device, void *memory, size_t bytes)
{
    (void)device, (void)memory, (void)bytes;
}

void weft_no_forget(struct weft_device *device, void *memory)
{
    (void)device, (void)memory;
}
