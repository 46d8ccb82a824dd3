/*
 * SPDX-License-Identifier: Apache-2.0
 * What tools show of a communicator beside results. Static texts.
 */
#ifndef WEFT_COLLECTIVES_COMM_DESCRIBE_H
#define WEFT_COLLECTIVES_COMM_DESCRIBE_H

#include <stdint.h>

#include "weft/weft.h"

/* The algorithm that `desc` would run with ("flat": shared-memory slots). */
const char *weft_comm_describe(weft_comm *comm, const weft_op_desc *desc);
/* What could run `desc`, the cheapest first, as the planner has it; names are those that
 * desc->algorithm takes. Returns how many, at most `limit`; 0 where `desc` is no valid call. */
struct weft_comm_candidate {
    const char *algorithm;
    int64_t predicted_ps;
};
int weft_comm_candidates(weft_comm *comm, const weft_op_desc *desc,
                         struct weft_comm_candidate *candidates, int limit);
/* hosts[num_ranks]: the host of each rank, numbered from 0 in order of their first ranks. Returns
 * how many. */
int weft_comm_hosts(const weft_comm *comm, int *hosts);
/* The transports that join ranks on `num_hosts` hosts, of those that all have, within hosts and
 * between them: "shm", "tcp", "tcp*2" (over two interfaces), "shm+tcp", ...; "" of a single rank.
 */
enum { WEFT_COMM_LINKS_BYTES = 48 };
void weft_comm_links(const weft_comm *comm, int num_hosts, char links[WEFT_COMM_LINKS_BYTES]);
/* The transport of its first connection; "none" while there is none. */
const char *weft_comm_transport(const weft_comm *comm);

#endif
