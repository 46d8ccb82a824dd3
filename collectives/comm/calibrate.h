/*
 * SPDX-License-Identifier: Apache-2.0
 * Timing the links that exist: what the graph says should be there, held against the clock. Pairs
 * of threads on this machine, pairs of hosts in a communicator. Every figure is a median of many
 * samples with the spread between them; where it is wild, the figure says so and is not believed.
 * Nothing waits without a deadline, and the whole keeps to a budget.
 */
#ifndef WEFT_COLLECTIVES_COMM_CALIBRATE_H
#define WEFT_COLLECTIVES_COMM_CALIBRATE_H

#include "topology/measurements.h"

enum { WEFT_CALIBRATE_NUM_SIZES = 11 };
extern const int64_t weft_calibrate_sizes[WEFT_CALIBRATE_NUM_SIZES]; // of the curves, in bytes

struct weft_calibrate_options {
    int64_t budget_ns; // for everything together
    int64_t max_bytes; // the end of the curves
};

/* This machine: memory between NUMA domains, caches between cores, shared memory and TCP through
 * the transports, TCP between the addresses of the interfaces. *measurements is filed under
 * the fingerprint of the processors. What cannot be measured here is an entry with the reason.
 * `topology` must be of this machine. Errors: OUT_OF_MEMORY, SYSTEM (no thread). */
weft_status weft_calibrate_machine(const struct weft_topology *topology,
                                   const struct weft_calibrate_options *options,
                                   struct weft_measurements *measurements,
                                   struct weft_error *error);

/* Collective: every pair of hosts, by a tournament in which no host is in two pairs at once; up to
 * 8 hosts, no two pairs are under way at once. Per pair: messages through the transport that the
 * library takes, and TCP from every interface address to every one that answers. Rank 0 gets all
 * of it in *measurements, the others only what they led. Errors: those of an operation,
 * OUT_OF_MEMORY. */
weft_status weft_calibrate_hosts(weft_comm *comm, const struct weft_topology *topology,
                                 const struct weft_calibrate_options *options,
                                 struct weft_measurements *measurements, struct weft_error *error);

/* Remarks on interfaces that do not reach every host; and hosts for whose NICs no switch was seen:
 * groups of them, as guessed switches. NULL, or nothing about a host: all that is known is that its
 * ranks reach the others. */
weft_status weft_calibrate_group(struct weft_topology *topology,
                                 const struct weft_measurements *measurements,
                                 struct weft_error *error);

#endif
