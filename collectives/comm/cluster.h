/*
 * SPDX-License-Identifier: Apache-2.0
 * The topology of all hosts of a communicator: each host is probed once, by its lowest rank; the
 * graphs go to everybody, who merges them alone and then compares with the others. A host is what
 * shares boot and network namespace: what shared memory joins, too.
 */
#ifndef WEFT_COLLECTIVES_COMM_CLUSTER_H
#define WEFT_COLLECTIVES_COMM_CLUSTER_H

#include "topology/graph.h"

/* Collective, blocking; deadlines are those of the communicator's operations. `source` as in
 * weft_topology_load stands in for the probe of this rank's host ("" or NULL: probe). The graph is
 * the same on all ranks. Errors (the same sentence on every rank that still runs): those of a
 * probe, naming its rank; INVALID_FORMAT (a rank sent no proper graph); MISMATCH (a rank merged to
 * another graph); those of an operation (a rank that died is named); OUT_OF_MEMORY. */
weft_status weft_cluster_gather(weft_comm *comm, const char *source,
                                struct weft_topology **topology, struct weft_error *error);
/* Whether this rank is the lowest of its host. */
bool weft_cluster_is_leader(const weft_comm *comm);

/* Collective: until all are here, up to the communicator's deadline and `timeout_ns` more. */
weft_status weft_cluster_wait(weft_comm *comm, int64_t timeout_ns, struct weft_error *error);

/* Collective: whether all have the same graph. `status` not OK: this rank has none, and *error says
 * why; every rank then gets that error. MISMATCH names the first rank that differs from rank 0. */
weft_status weft_cluster_agree(weft_comm *comm, const struct weft_topology *topology,
                               weft_status status, struct weft_error *error);

/* Collective: everybody's `bytes` bytes go to everybody. pieces[r] points into *all, which the
 * caller frees, as it frees *pieces. A negative `bytes` says that this rank has failed with -bytes,
 * a weft_status, and the sentence `data`: every rank then gets that error, with the rank. */
struct weft_piece {
    const char *data; // ended by NUL
    size_t bytes;
};
weft_status weft_cluster_exchange(weft_comm *comm, const char *data, int64_t bytes, char **all,
                                  struct weft_piece **pieces, struct weft_error *error);

#endif
