/*
 * SPDX-License-Identifier: Apache-2.0
 * More ranks than cores: all wait for the slowest, so a core with one rank more than its share sets
 * the pace of all, while the others' waits look like work to the system. Ranks therefore say which
 * core they run on, and what is too many on one moves to another. Nobody is bound: the system may
 * move them again, for the good of other processes.
 */
#ifndef WEFT_COLLECTIVES_COMM_EVEN_OUT_H
#define WEFT_COLLECTIVES_COMM_EVEN_OUT_H

#include "collectives/comm/in_memory.h"

/* Says where this rank runs, and every so many calls moves it where too many share a core. For
 * communicators with an area, of worlds with more ranks than cores. */
void weft_even_out(struct weft_comm *comm);
/* Whether a rank that is waited for was last seen on this core: it cannot come while this one runs.
 */
bool weft_waits_for_own_core(const struct weft_comm *comm, enum weft_path path);
/* Where `rank` should go, of num_ranks on cores[r] (-1: not known), with the cores that it may use
 * as bits; -1: it stays. The first ranks of a core stay, and the others find different places. */
int weft_even_out_choose(const int *cores, int num_ranks, int rank,
                         const uint64_t allowed[WEFT_CORE_WORDS]);

#endif
