/*
 * SPDX-License-Identifier: Apache-2.0
 * Happens-before inside one program: is step x complete before step y posts, whatever the network
 * does? Exact for the edges a program has (dependencies and posting order of channels). Orders that
 * only other ranks' messages would create do not count: with one-sided transports, data that went
 * around says nothing about what is still in flight here.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_PRECEDENCE_H
#define WEFT_COLLECTIVES_PROGRAM_PRECEDENCE_H

#include "collectives/program/program.h"

struct weft_precedence;

/* `program` must be valid and outlive the order. NULL without memory. */
struct weft_precedence *weft_precedence_create(const struct weft_program *program);
void weft_precedence_destroy(struct weft_precedence **precedence);
/* Complete(x) before post(y). O(channels^2) at worst, O(1) for direct dependencies. */
bool weft_precedence_is_before(const struct weft_precedence *precedence, uint32_t x, uint32_t y);

#endif
