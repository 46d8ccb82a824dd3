/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_register.h. The kernel says ENOMEM for several things; which one it was is judged from
 * the limit on locked memory and what is pinned already.
 */
#include "transport/verbs_register.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/format.h"
#include "base/verbs_words.h"

weft_status weft_verbs_registrar_open(struct weft_verbs_registrar *registrar,
                                      const struct weft_verbs *verbs, struct ibv_pd *pd,
                                      const char *root, struct weft_error *error)
{
    *registrar = (struct weft_verbs_registrar){.verbs = verbs, .pd = pd};
    return weft_sysfs_open(root, &registrar->files, error);
}

void weft_verbs_registrar_close(struct weft_verbs_registrar *registrar)
{
    weft_sysfs_close(&registrar->files);
}

static const char *device_name(const struct weft_verbs_registrar *r)
{
    const char *name = r->pd->context && r->pd->context->device
                           ? r->verbs->get_device_name(r->pd->context->device)
                           : NULL;
    return name ? name : "the device";
}

/* ---- host memory ---- */

/* What this process has pinned so far, as the kernel counts it; -1: it does not say. */
static int64_t pinned_bytes(const struct weft_verbs_registrar *r)
{
    char status[8192];
    size_t bytes = weft_sysfs_bytes(&r->files, status, sizeof status - 1, "proc/self/status");
    status[bytes] = '\0';
    const char *line = strstr(status, "\nVmPin:");
    long long kib = 0;
    return line && sscanf(line, "\nVmPin: %lld", &kib) == 1 ? kib * 1024 : -1;
}

/* ENOMEM: the limit where it is one, else the device or the kernel. */
static weft_status explain_no_room(const struct weft_verbs_registrar *r, uint64_t bytes,
                                   struct weft_error *error)
{
    char need[32], limit_text[32], pinned_text[32];
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    int64_t pinned = pinned_bytes(r);
    weft_format_bytes((int64_t)bytes, need, sizeof need);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur == RLIM_INFINITY ||
        (pinned >= 0 && bytes < limit.rlim_cur && (uint64_t)pinned < limit.rlim_cur - bytes))
        return weft_fail(error, WEFT_OUT_OF_MEMORY,
                         "%s of memory cannot be registered with %.63s: the kernel or the device "
                         "has no room for it (the limit on locked memory, ulimit -l, is not it)",
                         need, device_name(r));
    weft_format_bytes((int64_t)limit.rlim_cur, limit_text, sizeof limit_text);
    weft_format_bytes(pinned < 0 ? 0 : pinned, pinned_text, sizeof pinned_text);
    return weft_fail(error, WEFT_OUT_OF_MEMORY,
                     "%s of memory cannot be registered with %.63s: this process may lock %s "
                     "(RLIMIT_MEMLOCK) and has locked %s; raise the limit: ulimit -l unlimited, "
                     "LimitMEMLOCK=infinity of the service, or --ulimit memlock=-1 of the "
                     "container",
                     need, device_name(r), limit_text,
                     pinned < 0 ? "an unknown part" : pinned_text);
}

static bool may_lock_nothing(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == 0;
}

static struct ibv_mr *register_host(const struct weft_verbs_registrar *r,
                                    const struct weft_verbs_range *range)
{
    const int optional = (int)IBV_ACCESS_OPTIONAL_RANGE;
    errno = 0;
    if ((range->access & optional) && r->verbs->reg_mr_iova2)
        return r->verbs->reg_mr_iova2(r->pd, range->start, range->bytes,
                                      (uint64_t)(uintptr_t)range->start, (unsigned)range->access);
    return r->verbs->reg_mr(r->pd, range->start, range->bytes, range->access & ~optional);
}

/* ---- GPU memory ---- */

static struct ibv_mr *register_gpu(const struct weft_verbs_registrar *r,
                                   const struct weft_verbs_range *range, char *why, size_t size)
{
    const char *dmabuf = range->dmabuf < 0          ? "there is no dma-buf descriptor for it"
                         : !r->verbs->reg_dmabuf_mr ? "libibverbs cannot register dma-bufs"
                                                    : NULL;
    const char *peermem = "nvidia_peermem is not loaded";
    if (!dmabuf) {
        errno = 0;
        struct ibv_mr *mr = r->verbs->reg_dmabuf_mr(r->pd, range->dmabuf_offset, range->bytes,
                                                    (uint64_t)(uintptr_t)range->start,
                                                    range->dmabuf, range->access);
        if (mr)
            return mr;
        dmabuf = strerror(errno);
    }
    size_t used = (size_t)snprintf(why, size, "dma-buf: %s; ", dmabuf);
    if (weft_sysfs_exists(&r->files, "sys/module/nvidia_peermem") ||
        weft_sysfs_exists(&r->files, "sys/module/nv_peer_mem")) {
        struct ibv_mr *mr = register_host(r, range);
        if (mr)
            return mr;
        peermem = strerror(errno);
    }
    if (used < size)
        snprintf(why + used, size - used, "peermem: %s", peermem);
    return NULL;
}

/* ---- both ---- */

weft_status weft_verbs_registrar_try(const struct weft_verbs_registrar *r,
                                     const struct weft_verbs_range *range, struct ibv_mr **mr,
                                     struct weft_error *error)
{
    char size[32], why[200] = "";
    weft_format_bytes((int64_t)range->bytes, size, sizeof size);
    struct ibv_mr *made =
        range->is_gpu ? register_gpu(r, range, why, sizeof why) : register_host(r, range);
    if (made) {
        *mr = made;
        return WEFT_OK;
    }
    if (range->is_gpu)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "%s of GPU memory cannot be registered with %.63s (%s); its data must be "
                         "staged through the host",
                         size, device_name(r), why);
    // The kernel says EPERM where nothing may be locked.
    if (errno == ENOMEM || (errno == EPERM && may_lock_nothing()))
        return explain_no_room(r, range->bytes, error);
    if (errno == EFAULT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "%s at %p cannot be registered with %.63s: not all of it is memory of "
                         "this process%s",
                         size, range->start, device_name(r),
                         range->access ? " that may be written" : "");
    return weft_fail(error, WEFT_SYSTEM, "%s of memory cannot be registered with %.63s: %s", size,
                     device_name(r), errno ? weft_verbs_errno_name(errno) : "no reason given");
}
