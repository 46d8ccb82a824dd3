/*
 * SPDX-License-Identifier: Apache-2.0
 * The hall: opening, turns, what has to have arrived.
 */
#include "tests/transport/hall.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"

void hall_open(struct hall *hall, const char *address)
{
    struct weft_error error = {0};
    memset(hall, 0, sizeof *hall);
    hall->meeting_status = WEFT_IN_PROGRESS;
    if (weft_meeting_open(address, 0, NULL, &hall->meeting, &hall->id, &error) != WEFT_OK)
        fail_msg("%s", error.text);
}

void hall_join(struct hall *hall, int rank, int num_ranks, size_t blob_bytes, int64_t timeout_ns)
{
    struct weft_error error = {0};
    char *blob = malloc(blob_bytes + 1);
    assert_non_null(blob);
    memset(blob, 'a' + rank % 26, blob_bytes);
    int i = hall->num_ranks++;
    hall->status[i] = WEFT_IN_PROGRESS;
    if (weft_bootstrap_start(&hall->id, rank, num_ranks, blob, blob_bytes,
                             weft_deadline_after(timeout_ns), &hall->ranks[i], &error) != WEFT_OK)
        fail_msg("%s", error.text);
    free(blob);
}

bool hall_turn(struct hall *hall, int limit_ms)
{
    struct pollfd polls[HALL_MAX_RANKS + 1];
    int which[HALL_MAX_RANKS + 1], num = 0;
    if (hall->meeting && hall->meeting_status == WEFT_IN_PROGRESS) {
        which[num] = -1;
        polls[num++] =
            (struct pollfd){.fd = weft_meeting_descriptor(hall->meeting), .events = POLLIN};
    }
    bool rank_left = false;
    for (int i = 0; i < hall->num_ranks; i++) {
        if (!hall->ranks[i] || hall->status[i] != WEFT_IN_PROGRESS)
            continue;
        rank_left = true;
        which[num] = i;
        polls[num++] =
            (struct pollfd){.fd = weft_bootstrap_descriptor(hall->ranks[i]), .events = POLLIN};
    }
    if (num == 0)
        return false;
    int ready = poll(polls, (nfds_t)num, limit_ms);
    if (ready == 0)
        fail_msg("nothing happened for %d ms (%d ranks waiting)", limit_ms, rank_left);
    hall->wakes++;
    for (int k = 0; k < num; k++) {
        if (!polls[k].revents)
            continue;
        int i = which[k];
        if (i < 0)
            hall->meeting_status = weft_meeting_progress(hall->meeting, &hall->meeting_error);
        else
            hall->status[i] = weft_bootstrap_progress(hall->ranks[i], &hall->error[i]);
    }
    return true;
}

void hall_run(struct hall *hall, int64_t limit_ns)
{
    limit_ns = patience(limit_ns);
    int64_t until = weft_deadline_after(limit_ns);
    while (hall_turn(hall, (int)(limit_ns / 1000000)))
        if (weft_clock_ns() > until)
            fail_msg("the meeting did not end in %lld ms", (long long)(limit_ns / 1000000));
}

void hall_close(struct hall *hall)
{
    for (int i = 0; i < hall->num_ranks; i++)
        weft_bootstrap_close(&hall->ranks[i]);
    weft_meeting_close(&hall->meeting);
}

void hall_check_blobs(struct hall *hall, int num_ranks, size_t (*size_of)(int rank))
{
    for (int i = 0; i < hall->num_ranks; i++) {
        if (hall->status[i] != WEFT_OK)
            fail_msg("rank %d: %s", i, hall->error[i].text);
        for (int rank = 0; rank < num_ranks; rank++) {
            size_t bytes = 1;
            const char *blob = weft_bootstrap_blob(hall->ranks[i], rank, &bytes);
            assert_int_equal(bytes, size_of(rank));
            for (size_t k = 0; k < bytes; k++)
                assert_int_equal(blob[k], 'a' + rank % 26);
        }
    }
}

size_t hall_plain_size(int rank)
{
    (void)rank;
    return 300;
}
