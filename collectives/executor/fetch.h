/*
 * SPDX-License-Identifier: Apache-2.0
 * Copies straight from the private memory of another process on this machine, or into it
 * (process_vm_readv, process_vm_writev): one copy where a stage takes two. Whether the system
 * allows that between two processes (same user, ptrace scope, seccomp, PID namespace) is seen by
 * trying: each offers a number that lies in its own memory alone, and the other reads it.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_FETCH_H
#define WEFT_COLLECTIVES_EXECUTOR_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a process can be read; lies in memory that both share. */
struct weft_fetch_offer {
    int64_t pid;
    uint64_t address; // of `number` in that process
    uint64_t number;  // 0: nothing is offered
};

/* What this process offers. */
struct weft_fetch_offer weft_fetch_offer(void);
/* Whether this process can read the one that made the offer. */
bool weft_fetch_reaches(struct weft_fetch_offer offer);
/* Copies `bytes` bytes from `address` of process `pid`. False: that failed, with errno set; part of
 * it may have been copied. */
bool weft_fetch(int64_t pid, const void *address, void *into, size_t bytes);
/* The other way round. */
bool weft_push(int64_t pid, void *address, const void *from, size_t bytes);

#endif
