/*
 * SPDX-License-Identifier: Apache-2.0
 * What sysfs says of RDMA devices, for whoever does without the library or knows less than the
 * kernel.
 */
#ifndef WEFT_BASE_RDMA_SYSFS_H
#define WEFT_BASE_RDMA_SYSFS_H

#include "base/sysfs.h"

/* The network interface that a software device uses; false (and an empty text): it names none. */
bool weft_rdma_interface(const struct weft_sysfs *files, const char *device, char *text,
                         size_t size);
/* Mbit/s of a port; 0: unknown. */
int64_t weft_rdma_rate_mbps(const struct weft_sysfs *files, const char *device, int port);

#endif
