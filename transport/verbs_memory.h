/*
 * SPDX-License-Identifier: Apache-2.0
 * Memory that a device may read and write: regions of one protection domain. Kept regions stay
 * registered until room is needed (the longest unused one goes first), so they are only for memory
 * of which Weft is told when it goes: nothing here notices that memory was unmapped. All other
 * memory is registered for as long as it is in use.
 *
 * Used by one thread at a time. Registering makes system calls; finding does not.
 */
#ifndef WEFT_TRANSPORT_VERBS_MEMORY_H
#define WEFT_TRANSPORT_VERBS_MEMORY_H

#include <stdbool.h>

#include "base/verbs.h"

struct weft_verbs_memory; // of one protection domain

/* Registered memory. Read only. */
struct weft_verbs_region {
    uint64_t start, bytes; // all of what is registered
    uint32_t local_key, remote_key;
    struct ibv_mr *mr;
};

/* What to register. */
struct weft_verbs_range {
    void *start;
    uint64_t bytes;         // not 0
    int access;             // IBV_ACCESS_*
    bool is_kept;           // Weft will say when the memory goes: keep it registered after use,
                            // if there is room for it
    bool is_gpu;            // start is an address of GPU memory
    int dmabuf;             // GPU memory: its descriptor; -1: none
    uint64_t dmabuf_offset; // of start in it
};

/* At most `max_kept` regions stay registered unused. `root`: the folder that holds sys and proc
 * ("/", or a made-up tree), for reasons and to see what drivers there are. `pd` must outlive it.
 * Errors: OUT_OF_MEMORY. */
weft_status weft_verbs_memory_create(const struct weft_verbs *verbs, struct ibv_pd *pd,
                                     int max_kept, const char *root,
                                     struct weft_verbs_memory **memory, struct weft_error *error);
/* Deregisters everything, in use or not. Clears *memory; NULL is allowed. */
void weft_verbs_memory_destroy(struct weft_verbs_memory **memory);

/* A region that holds the range and allows `access`: one that is there, else a new one. It is in
 * use, and stays registered, until it was released as often as acquired. Errors: UNSUPPORTED (GPU
 * memory that cannot be registered; the reason says so, and that data must be staged through the
 * host), OUT_OF_MEMORY (the limit on locked memory or of the device is hit, with limit, need and
 * remedy), INVALID_ARGUMENT (no such memory), SYSTEM. */
weft_status weft_verbs_memory_acquire(struct weft_verbs_memory *memory,
                                      const struct weft_verbs_range *range,
                                      const struct weft_verbs_region **region,
                                      struct weft_error *error);
void weft_verbs_memory_release(struct weft_verbs_memory *memory,
                               const struct weft_verbs_region *region);

/* Memory is about to be given back: regions that overlap it are not found any more, and are
 * deregistered, those in use at their last release. Returns how many still are in use. */
int weft_verbs_memory_forget(struct weft_verbs_memory *memory, const void *start, uint64_t bytes);

struct weft_verbs_memory_counts {
    int num_regions, num_in_use; // registered now
    uint64_t bytes;
    uint64_t num_registered, num_found, num_evicted; // since it was created
};
void weft_verbs_memory_count(const struct weft_verbs_memory *memory,
                             struct weft_verbs_memory_counts *counts);

#endif
