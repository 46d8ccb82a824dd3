/*
 * SPDX-License-Identifier: Apache-2.0
 * The slots about memory for transports that do nothing with it: they share none, map none, and
 * need none to be prepared.
 */
#ifndef WEFT_TRANSPORT_NO_MEMORY_H
#define WEFT_TRANSPORT_NO_MEMORY_H

#include "transport/transport.h"

weft_status weft_no_share(struct weft_device *device, size_t bytes, void **memory,
                          struct weft_shared_block *block, struct weft_error *error);
void weft_no_unshare(struct weft_device *device, void *memory);
bool weft_no_locate(struct weft_device *device, const void *memory, size_t bytes,
                    struct weft_shared_block *block, size_t *within);
weft_status weft_no_map(struct weft_connection *connection, const struct weft_shared_block *block,
                        bool keep, void **memory);
void weft_no_remember(struct weft_device *device, void *memory, size_t bytes);
void weft_no_forget(struct weft_device *device, void *memory);

#endif
