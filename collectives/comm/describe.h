/*
 * SPDX-License-Identifier: Apache-2.0
 * What tools show of a communicator beside results. Static texts.
 */
#ifndef WEFT_COLLECTIVES_COMM_DESCRIBE_H
#define WEFT_COLLECTIVES_COMM_DESCRIBE_H

#include "weft/weft.h"

/* The algorithm that `desc` would run with ("flat": shared-memory slots). */
const char *weft_comm_describe(weft_comm *comm, const weft_op_desc *desc);
/* The transport of its first connection; "none" while there is none. */
const char *weft_comm_transport(const weft_comm *comm);

#endif
