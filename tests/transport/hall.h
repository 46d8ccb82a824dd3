/*
 * SPDX-License-Identifier: Apache-2.0
 * A meeting point and ranks as state machines of one thread. Waiting always goes through the
 * descriptors, so a descriptor that does not wake its owner makes a test run into its limit.
 */
#ifndef WEFT_TESTS_TRANSPORT_HALL_H
#define WEFT_TESTS_TRANSPORT_HALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/bootstrap.h"
#include "transport/meeting.h"

enum { HALL_MAX_RANKS = 256 };
static const int64_t second_ns = 1000000000;

struct hall {
    struct weft_meeting *meeting;
    weft_unique_id id;
    weft_status meeting_status;
    struct weft_error meeting_error;
    int num_ranks;
    struct weft_bootstrap *ranks[HALL_MAX_RANKS];
    weft_status status[HALL_MAX_RANKS];
    struct weft_error error[HALL_MAX_RANKS];
    int wakes; // of the poll below
};

void hall_open(struct hall *hall, const char *address);
void hall_close(struct hall *hall);
/* One more rank, whose blob of `blob_bytes` equal letters is checked below. */
void hall_join(struct hall *hall, int rank, int num_ranks, size_t blob_bytes, int64_t timeout_ns);
/* One turn: sleeps on the descriptors of those that are still at it; false: all are done. */
bool hall_turn(struct hall *hall, int limit_ms);
/* Turns until all are done; more than `limit_ns` is a failure. */
void hall_run(struct hall *hall, int64_t limit_ns);
/* All have met, and have all blobs. */
void hall_check_blobs(struct hall *hall, int num_ranks, size_t (*size_of)(int rank));
size_t hall_plain_size(int rank); // 300

#endif
