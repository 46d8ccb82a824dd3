/*
 * SPDX-License-Identifier: Apache-2.0
 * What the sockets alone cost: a thread that sends so many bytes to the other of two ranks and
 * takes as many, by poll, send and recv, as an all-reduce of them does; nothing is added up, and no
 * part of it waits for another. The floor beside which bench_overlap shows the library.
 */
#ifndef WEFT_TESTS_COMM_BARE_EXCHANGE_H
#define WEFT_TESTS_COMM_BARE_EXCHANGE_H

#include <stddef.h>

#include "weft/weft.h"

struct bare_exchange;

/* Of rank 0 and rank 1; collective. NULL: no sockets, threads or memory. */
struct bare_exchange *bare_exchange_open(weft_comm *comm, size_t bytes);
void bare_exchange_close(struct bare_exchange **exchange);
/* Starts the thread on one exchange. */
void bare_exchange_begin(struct bare_exchange *exchange);
/* Until it is over. 0, or -1 if the connection broke. */
int bare_exchange_wait(struct bare_exchange *exchange);

#endif
