/*
 * SPDX-License-Identifier: Apache-2.0
 * See shm_memory.h.
 */
#include "transport/shm_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint64_t page_bytes = 4096, huge_bytes = 2 << 20, pool_limit = UINT64_C(1) << 46;

static weft_status make_file(int *descriptor, struct weft_error *error)
{
    *descriptor = memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*descriptor < 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "shm: no anonymous shared memory: %s",
                         strerror(errno));
    return WEFT_OK;
}

/* Pages shall lie with who makes the memory, also those that a peer touches first, and a look is a
 * touch: peers that wait for a word would otherwise draw it to their node. The wish belongs to the
 * file, whoever has it mapped. Where the system takes none (containers), who touches first decides.
 */
static void wish_for_this_node(void *memory, size_t bytes)
{
    unsigned long mask[16] = {0};
    const unsigned bits = 8 * sizeof mask[0];
    unsigned node;
    if (getcpu(NULL, &node) != 0 || node >= 16 * bits)
        return;
    mask[node / bits] = 1ul << node % bits;
    (void)!syscall(SYS_mbind, memory, bytes, MPOL_PREFERRED, mask, 16 * bits, 0);
}

weft_status weft_shm_memory_make(size_t bytes, int *descriptor, void **memory,
                                 struct weft_error *error)
{
    int made;
    WEFT_TRY(make_file(&made, error));
    void *mapped = MAP_FAILED;
    if (ftruncate(made, (off_t)bytes) == 0 &&
        fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);
    if (mapped == MAP_FAILED) {
        int reason = errno;
        close(made);
        return weft_fail(error, WEFT_SYSTEM, "shm: cannot make %zu bytes of shared memory: %s",
                         bytes, strerror(reason));
    }
    wish_for_this_node(mapped, bytes);
    *descriptor = made;
    *memory = mapped;
    return WEFT_OK;
}

bool weft_shm_memory_is_sound(int descriptor, uint64_t bytes)
{
    struct stat status;
    struct statfs system;
    int seals = fcntl(descriptor, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstatfs(descriptor, &system) == 0 &&
           system.f_type == TMPFS_MAGIC && fstat(descriptor, &status) == 0 && bytes <= pool_limit &&
           status.st_size >= (off_t)bytes;
}

/* ---- what this process shares ---- */

weft_status weft_shm_pool_open(struct weft_shm_pool *pool, struct weft_error *error)
{
    *pool = (struct weft_shm_pool){.descriptor = -1};
    WEFT_TRY(make_file(&pool->descriptor, error));
    if (fcntl(pool->descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return WEFT_OK;
    int reason = errno;
    weft_shm_pool_close(pool);
    return weft_fail(error, WEFT_SYSTEM, "shm: cannot seal shared memory: %s", strerror(reason));
}

void weft_shm_pool_close(struct weft_shm_pool *pool)
{
    for (size_t i = 0; i < pool->num_blocks; i++)
        munmap(pool->blocks[i].memory, pool->blocks[i].place.bytes);
    free(pool->blocks);
    if (pool->descriptor >= 0)
        close(pool->descriptor);
    *pool = (struct weft_shm_pool){.descriptor = -1};
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

// The first gap that is large enough; *at: the place of the new block among the others.
static uint64_t find_gap(const struct weft_shm_pool *pool, uint64_t bytes, size_t *at)
{
    uint64_t unit = bytes >= huge_bytes ? huge_bytes : page_bytes, offset = 0;
    for (*at = 0; *at < pool->num_blocks; (*at)++) {
        const struct weft_shared_block *block = &pool->blocks[*at].place;
        if (block->offset >= offset && block->offset - offset >= bytes)
            return offset;
        offset = round_up(block->offset + block->bytes, unit);
    }
    return offset;
}

static weft_status grow(struct weft_shm_pool *pool, uint64_t end)
{
    if (pool->num_blocks == pool->capacity) {
        size_t capacity = pool->capacity ? 2 * pool->capacity : 16;
        struct weft_shm_block *blocks = realloc(pool->blocks, capacity * sizeof *blocks);
        if (!blocks)
            return WEFT_OUT_OF_MEMORY;
        pool->blocks = blocks;
        pool->capacity = capacity;
    }
    if (end <= pool->end)
        return WEFT_OK;
    if (end > pool_limit || ftruncate(pool->descriptor, (off_t)end) != 0)
        return WEFT_OUT_OF_MEMORY;
    pool->end = end;
    return WEFT_OK;
}

weft_status weft_shm_pool_share(struct weft_shm_pool *pool, size_t bytes, void **memory,
                                struct weft_shared_block *place, struct weft_error *error)
{
    size_t at;
    if (bytes > pool_limit)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "shm: no %zu bytes of shared memory", bytes);
    uint64_t rounded = round_up(bytes ? bytes : 1, page_bytes);
    uint64_t offset = find_gap(pool, rounded, &at);
    void *mapped = MAP_FAILED;
    if (grow(pool, offset + rounded) == WEFT_OK)
        mapped = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, pool->descriptor,
                      (off_t)offset);
    if (mapped == MAP_FAILED)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "shm: no %zu bytes of shared memory: %s", bytes,
                         strerror(errno));
    if (rounded >= huge_bytes)
        (void)!madvise(mapped, rounded, MADV_HUGEPAGE); // where the system offers them
    wish_for_this_node(mapped, rounded);
    memmove(&pool->blocks[at + 1], &pool->blocks[at],
            (pool->num_blocks - at) * sizeof *pool->blocks);
    pool->blocks[at] = (struct weft_shm_block){{offset, rounded}, mapped};
    pool->num_blocks++;
    *memory = mapped;
    *place = pool->blocks[at].place;
    return WEFT_OK;
}

void weft_shm_pool_unshare(struct weft_shm_pool *pool, void *memory)
{
    for (size_t i = 0; i < pool->num_blocks; i++) {
        struct weft_shm_block block = pool->blocks[i];
        if (block.memory != memory)
            continue;
        munmap(block.memory, block.place.bytes);
        // The pages go back now, whoever has them mapped; the next block here starts with zeros.
        (void)!fallocate(pool->descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         (off_t)block.place.offset, (off_t)block.place.bytes);
        pool->num_blocks--;
        memmove(&pool->blocks[i], &pool->blocks[i + 1],
                (pool->num_blocks - i) * sizeof *pool->blocks);
        pool->last_found = 0;
        return;
    }
}

static bool is_within(const struct weft_shm_block *block, const char *memory, size_t bytes)
{
    size_t within = (size_t)(memory - block->memory);
    return memory >= block->memory && within <= block->place.bytes &&
           bytes <= block->place.bytes - within;
}

bool weft_shm_pool_locate(struct weft_shm_pool *pool, const void *memory, size_t bytes,
                          struct weft_shared_block *place, size_t *within)
{
    for (size_t n = 0; n < pool->num_blocks; n++) {
        size_t i = pool->last_found + n;
        i -= i < pool->num_blocks ? 0 : pool->num_blocks;
        if (!is_within(&pool->blocks[i], memory, bytes))
            continue;
        pool->last_found = i;
        *place = pool->blocks[i].place;
        *within = (size_t)((const char *)memory - pool->blocks[i].memory);
        return true;
    }
    return false;
}

/* ---- what a peer shares ---- */

// Room for one more: a new place, or that of the mapping that was not used for longest.
static struct weft_shm_mapping *make_room(struct weft_shm_view *view)
{
    struct weft_shm_mapping *oldest = NULL;
    size_t passing = 0;
    for (size_t i = 0; i < view->num_mappings; i++) {
        struct weft_shm_mapping *mapping = &view->mappings[i];
        passing += mapping->used != UINT64_MAX;
        if (!oldest || mapping->used < oldest->used)
            oldest = mapping;
    }
    if (passing >= WEFT_SHM_VIEW_LIMIT) {
        munmap(oldest->memory, oldest->place.bytes);
        return oldest;
    }
    if (view->num_mappings == view->capacity) {
        size_t capacity = view->capacity ? 2 * view->capacity : 8;
        struct weft_shm_mapping *mappings = realloc(view->mappings, capacity * sizeof *mappings);
        if (!mappings)
            return NULL;
        view->mappings = mappings;
        view->capacity = capacity;
    }
    return &view->mappings[view->num_mappings++];
}

static void forget(struct weft_shm_view *view, struct weft_shm_mapping *mapping)
{
    *mapping = view->mappings[--view->num_mappings];
}

weft_status weft_shm_view_map(struct weft_shm_view *view, const struct weft_shared_block *place,
                              bool keep, void **memory)
{
    for (size_t n = 0; n < view->num_mappings; n++) {
        size_t i = view->last_found + n;
        i -= i < view->num_mappings ? 0 : view->num_mappings;
        struct weft_shm_mapping *mapping = &view->mappings[i];
        if (mapping->place.offset != place->offset || mapping->place.bytes != place->bytes)
            continue;
        mapping->used = keep ? UINT64_MAX : ++view->clock;
        view->last_found = i;
        *memory = mapping->memory;
        return WEFT_OK;
    }
    if (view->descriptor < 0 || place->bytes == 0 || place->offset % page_bytes != 0 ||
        place->bytes > pool_limit || place->offset > pool_limit ||
        !weft_shm_memory_is_sound(view->descriptor, place->offset + place->bytes))
        return WEFT_INVALID_FORMAT;
    struct weft_shm_mapping *mapping = make_room(view);
    if (!mapping)
        return WEFT_OUT_OF_MEMORY;
    void *mapped = mmap(NULL, place->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, view->descriptor,
                        (off_t)place->offset);
    view->last_found = 0;
    if (mapped == MAP_FAILED) {
        forget(view, mapping);
        return WEFT_OUT_OF_MEMORY;
    }
    *mapping = (struct weft_shm_mapping){*place, mapped, keep ? UINT64_MAX : ++view->clock};
    *memory = mapped;
    return WEFT_OK;
}

void weft_shm_view_close(struct weft_shm_view *view)
{
    for (size_t i = 0; i < view->num_mappings; i++)
        munmap(view->mappings[i].memory, view->mappings[i].place.bytes);
    free(view->mappings);
    if (view->descriptor >= 0)
        close(view->descriptor);
    *view = (struct weft_shm_view){.descriptor = -1};
}
