/*
 * SPDX-License-Identifier: Apache-2.0
 * Registered memory over a scripted library: what is found, kept, evicted, forgotten, and what a
 * refusal says. Addresses are made up, except where memory is allocated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/topology/fake_verbs.h"
#include "transport/verbs_memory.h"

enum { ALL = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, MANY = 1024 };

struct rig {
    struct fake_rdma rdma;
    struct fake_tree tree;
    struct weft_verbs verbs;
    struct ibv_context *context;
    struct ibv_pd *pd;
    struct weft_verbs_memory *memory;
    struct weft_error error;
};

static struct rig *rig(int max_kept, bool has_dmabuf)
{
    struct rig *r = calloc(1, sizeof *r);
    fake_tree_create(&r->tree);
    r->rdma.count = 1;
    r->rdma.has_dmabuf = has_dmabuf;
    snprintf(r->rdma.devices[0].name, sizeof r->rdma.devices[0].name, "mlx5_0");
    r->verbs = fake_verbs(&r->rdma);
    r->context = r->verbs.open_device(&r->rdma.devices[0].device);
    r->pd = r->verbs.alloc_pd(r->context);
    assert_int_equal(
        weft_verbs_memory_create(&r->verbs, r->pd, max_kept, r->tree.root, &r->memory, NULL),
        WEFT_OK);
    return r;
}

static void rig_gone(struct rig *r)
{
    weft_verbs_memory_destroy(&r->memory);
    assert_null(r->memory);
    assert_int_equal(r->rdma.num_regions, 0);
    assert_int_equal(r->rdma.region_bytes, 0);
    r->verbs.dealloc_pd(r->pd);
    fake_tree_destroy(&r->tree);
    free(r);
}

static struct weft_verbs_range range_of(uint64_t start, uint64_t bytes, bool is_kept)
{
    return (struct weft_verbs_range){.start = (void *)(uintptr_t)start,
                                     .bytes = bytes,
                                     .access = ALL,
                                     .is_kept = is_kept,
                                     .dmabuf = -1};
}

static const struct weft_verbs_region *acquire(struct rig *r, uint64_t start, uint64_t bytes,
                                               bool is_kept)
{
    const struct weft_verbs_range range = range_of(start, bytes, is_kept);
    const struct weft_verbs_region *region = NULL;
    if (weft_verbs_memory_acquire(r->memory, &range, &region, &r->error) != WEFT_OK)
        fail_msg("%s", r->error.text);
    return region;
}

/* Whether it can be used without a registration. */
static bool has(struct rig *r, uint64_t start, uint64_t bytes)
{
    int before = r->rdma.num_registrations;
    weft_verbs_memory_release(r->memory, acquire(r, start, bytes, false));
    return r->rdma.num_registrations == before;
}

static void test_found_again(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, false);
    const struct weft_verbs_region *region = acquire(r, 0x10000, 0x1000, true);
    assert_int_equal(region->start, 0x10000);
    assert_int_equal(region->bytes, 0x1000);
    assert_int_equal(region->remote_key, region->mr->rkey);
    assert_ptr_equal(acquire(r, 0x10000, 0x1000, true), region);
    assert_ptr_equal(acquire(r, 0x10fff, 1, true), region);
    assert_int_equal(r->rdma.num_registrations, 1);
    assert_ptr_not_equal(acquire(r, 0x10fff, 2, true), region); // one byte too far
    assert_ptr_not_equal(acquire(r, 0xffff, 2, true), region);  // one too early
    assert_int_equal(r->rdma.num_registrations, 3);
    struct weft_verbs_memory_counts counts;
    weft_verbs_memory_count(r->memory, &counts);
    assert_int_equal(counts.num_found, 2);
    assert_int_equal(counts.num_registered, 3);
    assert_int_equal(counts.num_in_use, 3);
    struct weft_verbs_range readable = range_of(0x10000, 1, false);
    readable.access |= IBV_ACCESS_REMOTE_READ;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &readable, &region, &r->error), WEFT_OK);
    assert_int_equal(r->rdma.num_registrations, 4);
    rig_gone(r);
}

static void test_temporary_and_kept(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, false);
    const struct weft_verbs_region *temporary = acquire(r, 0x10000, 0x1000, false);
    assert_ptr_equal(acquire(r, 0x10000, 0x10, false), temporary);
    weft_verbs_memory_release(r->memory, temporary);
    assert_true(has(r, 0x10000, 0x1000)); // still used once
    weft_verbs_memory_release(r->memory, temporary);
    assert_false(has(r, 0x10000, 1));
    assert_int_equal(r->rdma.num_regions, 0);
    weft_verbs_memory_release(r->memory, acquire(r, 0x10000, 0x1000, true));
    assert_true(has(r, 0x10000, 0x1000));
    rig_gone(r);
}

static void test_longest_unused_goes_first(void **state)
{
    (void)state;
    struct rig *r = rig(3, false);
    const struct weft_verbs_region *regions[3];
    for (int i = 0; i < 3; i++)
        regions[i] = acquire(r, 0x10000u * (unsigned)(i + 1), 0x1000, true);
    weft_verbs_memory_release(r->memory, regions[1]);
    weft_verbs_memory_release(r->memory, regions[2]);
    weft_verbs_memory_release(r->memory, acquire(r, 0x20000, 0x1000, true)); // now 3 is older
    weft_verbs_memory_release(r->memory, acquire(r, 0x40000, 0x1000, true));
    assert_true(has(r, 0x10000, 0x1000)); // in use, though the oldest
    assert_true(has(r, 0x20000, 0x1000));
    assert_false(has(r, 0x30000, 0x1000));
    assert_int_equal(r->rdma.num_regions, 3);
    // all in use: more is registered, and not kept
    (void)acquire(r, 0x20000, 0x1000, true), (void)acquire(r, 0x40000, 0x1000, true);
    const struct weft_verbs_region *more = acquire(r, 0x50000, 0x1000, true);
    assert_int_equal(r->rdma.num_regions, 4);
    weft_verbs_memory_release(r->memory, more);
    assert_int_equal(r->rdma.num_regions, 3);
    rig_gone(r);
}

static void test_forget(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, false);
    const struct weft_verbs_region *used = acquire(r, 0x10000, 0x2000, true);
    weft_verbs_memory_release(r->memory, acquire(r, 0x20000, 0x1000, true));
    weft_verbs_memory_release(r->memory, acquire(r, 0x30000, 0x1000, true));
    assert_int_equal(weft_verbs_memory_forget(r->memory, (void *)0x11fff, 0x0f002), 1);
    assert_int_equal(r->rdma.num_regions, 2); // that in use, and that which begins just behind
    assert_false(has(r, 0x10000, 1));
    assert_false(has(r, 0x20000, 1));
    assert_true(has(r, 0x30000, 0x1000));
    // the address comes back as other memory: registered anew beside the old one
    const struct weft_verbs_region *fresh = acquire(r, 0x10000, 0x2000, true);
    assert_ptr_not_equal(fresh, used);
    weft_verbs_memory_release(r->memory, used);
    assert_int_equal(r->rdma.num_regions, 2);
    assert_ptr_equal(acquire(r, 0x10000, 0x2000, true), fresh);
    assert_int_equal(weft_verbs_memory_forget(r->memory, (void *)0x1, UINT64_MAX), 1);
    rig_gone(r); // with one that is still in use
}

static void test_overlaps(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, false);
    (void)acquire(r, 0x10000, 0x100000, true); // long, and far before what is asked for
    weft_verbs_memory_release(r->memory, acquire(r, 0xf8000, 0x20000, true));
    weft_verbs_memory_release(r->memory, acquire(r, 0x112000, 0x1000, true)); // inside of that
    assert_int_equal(r->rdma.num_registrations, 2);
    assert_true(has(r, 0x10f000, 0x1000)); // in the long one
    assert_true(has(r, 0x117fff, 1));
    weft_verbs_memory_release(r->memory, acquire(r, 0xf0000, 0x30000, true)); // covers the second
    assert_int_equal(r->rdma.num_registrations, 3);
    assert_int_equal(r->rdma.num_regions, 2);
    rig_gone(r);
}

/* Held against a plain list under random requests: same answers, nothing in use ever goes. */
static void test_random(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, HELD = 32 };
    struct rig *r = rig(8, false);
    const struct weft_verbs_region *held[HELD] = {0};
    unsigned seed = 7;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245u + 12345u;
        unsigned draw = seed >> 8, slot = draw % HELD;
        uint64_t start = 0x1000u * (1 + draw / HELD % 40), bytes = 1 + (draw >> 11) % 0x3000;
        if (held[slot]) {
            uint64_t key = held[slot]->remote_key;
            assert_int_equal(held[slot]->mr->rkey, key); // still there
            weft_verbs_memory_release(r->memory, held[slot]);
            held[slot] = NULL;
        } else if (draw % 61 == 0) {
            weft_verbs_memory_forget(r->memory, (void *)(uintptr_t)start, bytes);
            assert_false(has(r, start, bytes));
        } else {
            held[slot] = acquire(r, start, bytes, draw & 1);
            assert_true(held[slot]->start <= start &&
                        start + bytes <= held[slot]->start + held[slot]->bytes);
        }
        assert_true(r->rdma.num_regions <= 8 + HELD);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i])
            weft_verbs_memory_release(r->memory, held[i]);
    assert_true(r->rdma.num_regions <= 8);
    rig_gone(r);
}

static void test_gpu(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, true);
    struct weft_verbs_range range = range_of(0x7f0000000000, 0x10000, false);
    const struct weft_verbs_region *region = NULL;
    range.is_gpu = true;
    range.dmabuf = 5;
    r->rdma.gpu_start = 0x7f0000000000, r->rdma.gpu_end = 0x7f0000100000;
    r->rdma.gpu_errno = EFAULT;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error), WEFT_OK);
    assert_int_equal(region->start, 0x7f0000000000);
    weft_verbs_memory_release(r->memory, region);
    r->rdma.dmabuf_errno = EOPNOTSUPP;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_UNSUPPORTED);
    assert_string_equal(r->error.text,
                        "64 KiB of GPU memory cannot be registered with mlx5_0 (dma-buf: Operation "
                        "not supported; peermem: nvidia_peermem is not loaded); its data must be "
                        "staged through the host");
    range.dmabuf = -1;
    fake_tree_file(&r->tree, "sys/module/nvidia_peermem/version", "1\n");
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(r->error.text, "(dma-buf: there is no dma-buf descriptor for it; "
                                          "peermem: Bad address)"));
    r->rdma.gpu_errno = 0;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error), WEFT_OK);
    rig_gone(r);
}

static void test_limits_explained(void **state)
{
    (void)state;
    struct rig *r = rig(MANY, false);
    struct weft_verbs_range range = range_of(0x100000, 3 << 20, true);
    const struct weft_verbs_region *region = NULL;
    struct rlimit before, limit;
    getrlimit(RLIMIT_MEMLOCK, &before);
    limit = (struct rlimit){4 << 20, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    r->rdma.locked_limit = 4 << 20;
    weft_verbs_memory_release(r->memory, acquire(r, 0x1000, 2 << 20, true));
    (void)acquire(r, 0x100000, 3 << 20, true); // the unused one made room
    assert_int_equal(r->rdma.num_regions, 1);
    fake_tree_file(&r->tree, "proc/self/status", "Name:\tx\nVmLck:\t 0 kB\nVmPin:\t    3072 kB\n");
    range.start = (void *)0x900000;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_OUT_OF_MEMORY);
    assert_string_equal(r->error.text,
                        "3 MiB of memory cannot be registered with mlx5_0: this process may lock "
                        "4 MiB (RLIMIT_MEMLOCK) and has locked 3 MiB; raise the limit: ulimit -l "
                        "unlimited, LimitMEMLOCK=infinity of the service, or --ulimit memlock=-1 "
                        "of the container");
    range.bytes = 4096; // that would have been allowed: so it is something else
    r->rdma.max_regions = 1;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_OUT_OF_MEMORY);
    assert_string_equal(r->error.text,
                        "4 KiB of memory cannot be registered with mlx5_0: the kernel or the "
                        "device has no room for it (the limit on locked memory, ulimit -l, is not "
                        "it)");
    setrlimit(RLIMIT_MEMLOCK, &before);
    r->rdma.gpu_errno = EFAULT, r->rdma.gpu_start = 0, r->rdma.gpu_end = UINT64_MAX;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_INVALID_ARGUMENT);
    assert_string_equal(r->error.text, "4 KiB at 0x900000 cannot be registered with mlx5_0: not "
                                       "all of it is memory of this process that may be written");
    range.bytes = UINT64_MAX;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_INVALID_ARGUMENT);
    range.bytes = 0;
    assert_int_equal(weft_verbs_memory_acquire(r->memory, &range, &region, &r->error),
                     WEFT_INVALID_ARGUMENT);
    rig_gone(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_again),
        cmocka_unit_test(test_temporary_and_kept),
        cmocka_unit_test(test_longest_unused_goes_first),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_gpu),
        cmocka_unit_test(test_limits_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
