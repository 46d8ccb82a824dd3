/*
 * SPDX-License-Identifier: Apache-2.0
 * The named calls of the public header: each fills a description and submits it.
 */
#include "weft/weft.h"

#define DESC(name) .struct_bytes = sizeof(weft_op_desc), .collective = WEFT_##name

weft_status weft_all_reduce(const void *send, void *recv, size_t count, weft_dtype dtype,
                            weft_op op, weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(ALL_REDUCE), .send = send,   .recv = recv,
                               .count = count,   .dtype = dtype, .op = op};
    return weft_submit(comm, &desc, request);
}

weft_status weft_all_gather(const void *send, void *recv, size_t count, weft_dtype dtype,
                            weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(ALL_GATHER), .send = send, .recv = recv, .count = count,
                               .dtype = dtype};
    return weft_submit(comm, &desc, request);
}

weft_status weft_reduce_scatter(const void *send, void *recv, size_t count, weft_dtype dtype,
                                weft_op op, weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(REDUCE_SCATTER), .send = send,   .recv = recv,
                               .count = count,       .dtype = dtype, .op = op};
    return weft_submit(comm, &desc, request);
}

weft_status weft_all_gather_v(const void *send, void *recv, const size_t *counts, weft_dtype dtype,
                              weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(ALL_GATHER_V), .send = send, .recv = recv,
                               .recv_counts = counts, .dtype = dtype};
    return weft_submit(comm, &desc, request);
}

weft_status weft_reduce_scatter_v(const void *send, void *recv, const size_t *counts,
                                  weft_dtype dtype, weft_op op, weft_comm *comm,
                                  weft_request *request)
{
    const weft_op_desc desc = {DESC(REDUCE_SCATTER_V), .send = send,   .recv = recv,
                               .recv_counts = counts,  .dtype = dtype, .op = op};
    return weft_submit(comm, &desc, request);
}

weft_status weft_broadcast(const void *send, void *recv, size_t count, weft_dtype dtype, int root,
                           weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(BROADCAST), .send = send,   .recv = recv,
                               .count = count,  .dtype = dtype, .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_reduce(const void *send, void *recv, size_t count, weft_dtype dtype, weft_op op,
                        int root, weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(REDUCE),   .send = send, .recv = recv, .count = count,
                               .dtype = dtype, .op = op,     .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_all_to_all(const void *send, void *recv, size_t count, weft_dtype dtype,
                            weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(ALL_TO_ALL), .send = send, .recv = recv, .count = count,
                               .dtype = dtype};
    return weft_submit(comm, &desc, request);
}

weft_status weft_all_to_all_v(const void *send, const size_t *send_counts, void *recv,
                              const size_t *recv_counts, weft_dtype dtype, weft_comm *comm,
                              weft_request *request)
{
    const weft_op_desc desc = {DESC(ALL_TO_ALL_V),         .send = send,
                               .send_counts = send_counts, .recv = recv,
                               .recv_counts = recv_counts, .dtype = dtype};
    return weft_submit(comm, &desc, request);
}

weft_status weft_gather(const void *send, void *recv, size_t count, weft_dtype dtype, int root,
                        weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(GATHER),   .send = send,   .recv = recv,
                               .count = count, .dtype = dtype, .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_gather_v(const void *send, void *recv, const size_t *counts, weft_dtype dtype,
                          int root, weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(GATHER_V),        .send = send,   .recv = recv,
                               .recv_counts = counts, .dtype = dtype, .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_scatter(const void *send, void *recv, size_t count, weft_dtype dtype, int root,
                         weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(SCATTER),  .send = send,   .recv = recv,
                               .count = count, .dtype = dtype, .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_scatter_v(const void *send, void *recv, const size_t *counts, weft_dtype dtype,
                           int root, weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(SCATTER_V),       .send = send,   .recv = recv,
                               .recv_counts = counts, .dtype = dtype, .root = root};
    return weft_submit(comm, &desc, request);
}

weft_status weft_send(const void *send, size_t count, weft_dtype dtype, int peer, weft_comm *comm,
                      weft_request *request)
{
    const weft_op_desc desc = {DESC(SEND), .send = send, .count = count, .dtype = dtype,
                               .peer = peer};
    return weft_submit(comm, &desc, request);
}

weft_status weft_recv(void *recv, size_t count, weft_dtype dtype, int peer, weft_comm *comm,
                      weft_request *request)
{
    const weft_op_desc desc = {DESC(RECV), .recv = recv, .count = count, .dtype = dtype,
                               .peer = peer};
    return weft_submit(comm, &desc, request);
}

weft_status weft_barrier(weft_comm *comm, weft_request *request)
{
    const weft_op_desc desc = {DESC(BARRIER)};
    return weft_submit(comm, &desc, request);
}
