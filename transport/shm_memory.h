/*
 * SPDX-License-Identifier: Apache-2.0
 * Memory that processes share without names: sealed memfds, so that nobody who has mapped one can
 * be killed by its owner cutting pages off. A pool is what one process shares with all its peers:
 * one file that only grows, in blocks; its descriptor is handed over once, and peers map blocks of
 * it when they need them. A view is a peer's pool as seen here.
 */
#ifndef WEFT_TRANSPORT_SHM_MEMORY_H
#define WEFT_TRANSPORT_SHM_MEMORY_H

#include "transport/transport.h"

enum { WEFT_SHM_VIEW_LIMIT = 256 }; // mappings of a view that nobody asked to keep

struct weft_shm_block {
    struct weft_shared_block place;
    char *memory;
};

struct weft_shm_pool {
    int descriptor;                // -1: not open
    uint64_t end;                  // of the file
    struct weft_shm_block *blocks; // by offset
    size_t num_blocks, capacity;
    size_t last_found;
};

struct weft_shm_mapping {
    struct weft_shared_block place;
    void *memory;
    uint64_t used; // when, by the view's clock; UINT64_MAX: kept
};

struct weft_shm_view {
    int descriptor; // -1: nothing is shared
    struct weft_shm_mapping *mappings;
    size_t num_mappings, capacity;
    size_t last_found;
    uint64_t clock;
};

/* Zero-filled memory of fixed size, mapped, and its descriptor. Errors: UNSUPPORTED (no memfd
 * here), SYSTEM. */
weft_status weft_shm_memory_make(size_t bytes, int *descriptor, void **memory,
                                 struct weft_error *error);
/* Whether what a peer sent is at least `bytes` bytes that it cannot take back. */
bool weft_shm_memory_is_sound(int descriptor, uint64_t bytes);

/* Errors: UNSUPPORTED, SYSTEM. */
weft_status weft_shm_pool_open(struct weft_shm_pool *pool, struct weft_error *error);
/* Gives back all blocks. */
void weft_shm_pool_close(struct weft_shm_pool *pool);
/* share, unshare, locate of transport.h. */
weft_status weft_shm_pool_share(struct weft_shm_pool *pool, size_t bytes, void **memory,
                                struct weft_shared_block *place, struct weft_error *error);
void weft_shm_pool_unshare(struct weft_shm_pool *pool, void *memory);
bool weft_shm_pool_locate(struct weft_shm_pool *pool, const void *memory, size_t bytes,
                          struct weft_shared_block *place, size_t *within);

/* map of transport.h. */
weft_status weft_shm_view_map(struct weft_shm_view *view, const struct weft_shared_block *place,
                              bool keep, void **memory);
void weft_shm_view_close(struct weft_shm_view *view);

#endif
