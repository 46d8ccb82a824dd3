/*
 * SPDX-License-Identifier: Apache-2.0
 * RDMA verbs, reached by dlopen: the types are of libibverbs' header, the functions one struct of
 * pointers, so that a machine without the library runs the same program. Tests fill the same
 * struct.
 */
#ifndef WEFT_BASE_VERBS_H
#define WEFT_BASE_VERBS_H

#include <infiniband/verbs.h>

#include "base/error.h"

/* What the library's own functions of these names do; see their manual pages. */
struct weft_verbs {
    void *library; // of weft_verbs_open

    struct ibv_device **(*get_device_list)(int *count);
    void (*free_device_list)(struct ibv_device **list);
    const char *(*get_device_name)(struct ibv_device *device);
    struct ibv_context *(*open_device)(struct ibv_device *device);
    int (*close_device)(struct ibv_context *context);
    int (*query_device)(struct ibv_context *context, struct ibv_device_attr *attributes);
    int (*query_port)(struct ibv_context *context, uint8_t port,
                      struct _compat_ibv_port_attr *attributes); // see weft_verbs_query_port
    int (*query_gid)(struct ibv_context *context, uint8_t port, int index, union ibv_gid *gid);
    int (*query_pkey)(struct ibv_context *context, uint8_t port, int index, __be16 *pkey);
    int (*get_async_event)(struct ibv_context *context, struct ibv_async_event *event);
    void (*ack_async_event)(struct ibv_async_event *event);
    struct ibv_pd *(*alloc_pd)(struct ibv_context *context);
    int (*dealloc_pd)(struct ibv_pd *pd);
    struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *address, size_t length, int access);
    int (*dereg_mr)(struct ibv_mr *mr);
    struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *context);
    int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
    struct ibv_cq *(*create_cq)(struct ibv_context *context, int entries, void *cq_context,
                                struct ibv_comp_channel *channel, int vector);
    int (*destroy_cq)(struct ibv_cq *cq);
    int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context);
    void (*ack_cq_events)(struct ibv_cq *cq, unsigned int count);
    struct ibv_qp *(*create_qp)(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes);
    int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attributes, int mask);
    int (*destroy_qp)(struct ibv_qp *qp);
    /* Posting and polling go through the context's own table (ibv_post_send, ibv_poll_cq). */

    /* optional */
    ssize_t (*query_gid_table)(struct ibv_context *context, struct ibv_gid_entry *entries,
                               size_t max_entries, uint32_t flags, size_t entry_size);
    /* drops what the device does not know of the optional access flags, such as relaxed order */
    struct ibv_mr *(*reg_mr_iova2)(struct ibv_pd *pd, void *address, size_t length, uint64_t iova,
                                   unsigned int access);
    struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset, size_t length,
                                    uint64_t iova, int file, int access);
};

/* UNSUPPORTED with the reason in `error` when the library is absent or lacks a function that must
 * be there. `file` NULL: the usual name. Does not block. */
weft_status weft_verbs_open(const char *file, struct weft_verbs *verbs, struct weft_error *error);
/* Unloads it and clears *verbs; one that was never opened is allowed. */
void weft_verbs_close(struct weft_verbs *verbs);

/* All of a port, with what newer libraries add at the end: *speed is the speed of a lane in full,
 * which outgrew the 8 bits of active_speed. 0 or an errno. */
int weft_verbs_query_port(const struct weft_verbs *verbs, struct ibv_context *context, uint8_t port,
                          struct ibv_port_attr *attributes, uint32_t *speed);

/* Mbit/s of a port as it is sold (4 lanes of EDR: 100000), from the codes; 0: an unknown code. */
int64_t weft_verbs_rate_mbps(uint32_t speed, uint8_t width);

#endif
