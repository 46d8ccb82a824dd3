/*
 * SPDX-License-Identifier: Apache-2.0
 * Time: one monotonic clock in nanoseconds, and deadlines on it.
 */
#ifndef WEFT_BASE_CLOCK_H
#define WEFT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t weft_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A deadline `timeout_ns` from now, saturating. */
static inline int64_t weft_deadline_after(int64_t timeout_ns)
{
    int64_t now = weft_clock_ns();
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

#endif
