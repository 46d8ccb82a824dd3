/*
 * SPDX-License-Identifier: Apache-2.0
 * A rank for the tests of `weft launch`: meets the others and prints what came of it. The rank
 * named by the first argument dies before it meets.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "transport/bootstrap.h"

int main(int argc, char **argv)
{
    int rank = atoi(getenv("WEFT_RANK")), num_ranks = atoi(getenv("WEFT_NUM_RANKS"));
    if (argc > 1 && rank == atoi(argv[1]))
        raise(SIGKILL);
    struct weft_error error;
    struct weft_bootstrap *bootstrap = NULL;
    weft_unique_id id;
    weft_status status = weft_unique_id_from_hex(getenv("WEFT_ID"), &id, &error);
    if (status == WEFT_OK)
        status = weft_bootstrap_start(&id, rank, num_ranks, &rank, sizeof rank,
                                      weft_deadline_after(20000000000), &bootstrap, &error);
    if (status == WEFT_OK)
        status = WEFT_IN_PROGRESS;
    while (status == WEFT_IN_PROGRESS) {
        struct pollfd polled = {.fd = weft_bootstrap_descriptor(bootstrap), .events = POLLIN};
        poll(&polled, 1, 100);
        status = weft_bootstrap_progress(bootstrap, &error);
    }
    printf("rank %d: %s\n", rank, status == WEFT_OK ? "met" : error.text);
    weft_bootstrap_close(&bootstrap);
    return status == WEFT_OK ? 0 : 3;
}
