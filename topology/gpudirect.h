/*
 * SPDX-License-Identifier: Apache-2.0
 * Whether NICs can read and write GPU memory without a stop in host memory, and if not, why: by the
 * driver's means, by the IOMMU, and by the way between each NIC and each GPU.
 */
#ifndef WEFT_TOPOLOGY_GPUDIRECT_H
#define WEFT_TOPOLOGY_GPUDIRECT_H

#include "topology/graph.h"

/* Sets gpudirect, gpudirect_reason and gpudirect_gpus on the RDMA NICs of this host, gpudirect on
 * its GPUs; nothing where there are no GPUs. `root`: the folder that holds sys and proc ("/", or a
 * made-up tree). `has_dmabuf_call`: libibverbs can register dma-bufs. */
weft_status weft_gpudirect_judge(struct weft_topology *topology, const char *root,
                                 bool has_dmabuf_call, struct weft_error *error);

#endif
