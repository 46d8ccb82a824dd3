/*
 * SPDX-License-Identifier: Apache-2.0
 * What a communicator does when it is created from the environment, as a program: under any
 * launcher, its ranks meet (three times in a row) and check each other's blobs. Prints one line per
 * rank; exit code 0 when all is well.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/launcher.h"

static weft_status wait_for_id(struct weft_rendezvous *rendezvous, weft_unique_id *id,
                               struct weft_error *error)
{
    weft_status status;
    while ((status = weft_rendezvous_id(rendezvous, id, error)) == WEFT_IN_PROGRESS) {
        struct pollfd ready = {.fd = weft_rendezvous_descriptor(rendezvous), .events = POLLIN};
        poll(&ready, 1, 20000);
    }
    return status;
}

static weft_status check(const struct weft_bootstrap *bootstrap, int num_ranks, int round,
                         struct weft_error *error)
{
    for (int rank = 0; rank < num_ranks; rank++) {
        char expected[32];
        size_t bytes = 0;
        snprintf(expected, sizeof expected, "round %d rank %d", round, rank);
        const char *blob = weft_bootstrap_blob(bootstrap, rank, &bytes);
        if (bytes != sizeof expected || strcmp(blob, expected) != 0)
            return weft_fail(error, WEFT_INTERNAL, "rank %d has a wrong blob", rank);
    }
    return WEFT_OK;
}

// A meeting that is over wakes nobody, though its ranks leave now.
static weft_status check_quiet(const struct weft_rendezvous *rendezvous, struct weft_error *error)
{
    struct pollfd ready = {.fd = weft_rendezvous_descriptor(rendezvous), .events = POLLIN};
    return poll(&ready, 1, 50) == 0
               ? WEFT_OK
               : weft_fail(error, WEFT_INTERNAL, "the rendezvous polls readable after the meeting");
}

static weft_status meet(const struct weft_launcher_info *info, const struct weft_config *config,
                        int round, struct weft_error *error)
{
    struct weft_rendezvous *rendezvous = NULL;
    struct weft_bootstrap *bootstrap = NULL;
    weft_unique_id id;
    char blob[32] = "";
    int64_t deadline = weft_deadline_after(config->timeout_ns);
    snprintf(blob, sizeof blob, "round %d rank %d", round, info->rank);
    weft_status status = weft_rendezvous_start(info, config, deadline, &rendezvous, error);
    if (status == WEFT_OK)
        status = wait_for_id(rendezvous, &id, error);
    if (status == WEFT_OK)
        status = weft_bootstrap_start(&id, info->rank, info->num_ranks, blob, sizeof blob, deadline,
                                      &bootstrap, error);
    weft_status mine = WEFT_IN_PROGRESS, served = WEFT_IN_PROGRESS;
    while (status == WEFT_OK && (mine == WEFT_IN_PROGRESS || served == WEFT_IN_PROGRESS)) {
        struct pollfd ready[2] = {
            {.fd = weft_bootstrap_descriptor(bootstrap), .events = POLLIN},
            {.fd = weft_rendezvous_descriptor(rendezvous), .events = POLLIN},
        };
        struct weft_error ignored;
        poll(ready, 2, mine == WEFT_IN_PROGRESS ? 20000 : 100);
        served = weft_rendezvous_progress(rendezvous, &ignored);
        if (mine == WEFT_IN_PROGRESS)
            mine = weft_bootstrap_progress(bootstrap, error);
    }
    if (status == WEFT_OK)
        status = mine;
    if (status == WEFT_OK)
        status = check(bootstrap, info->num_ranks, round, error);
    weft_bootstrap_close(&bootstrap);
    if (status == WEFT_OK)
        status = check_quiet(rendezvous, error);
    weft_rendezvous_close(&rendezvous);
    return status;
}

int main(void)
{
    struct weft_config config;
    struct weft_launcher_info info;
    struct weft_error error = {0};
    weft_status status = weft_config_load(&config, &error);
    if (status != WEFT_OK) {
        fprintf(stderr, "%s: %s\n", weft_status_name(status), error.text);
        return 1;
    }
    int64_t start = weft_clock_ns();
    status = weft_launcher_detect(&info, &config, &error);
    for (int round = 0; status == WEFT_OK && round < 3 && info.num_ranks > 1; round++)
        status = meet(&info, &config, round, &error);
    if (status != WEFT_OK)
        fprintf(stderr, "%s: %s\n", weft_status_name(status), error.text);
    else
        printf("%s: rank %d of %d met 3 times in %.0f ms\n", info.source, info.rank, info.num_ranks,
               (double)(weft_clock_ns() - start) / 1e6);
    weft_config_free(&config);
    return status != WEFT_OK;
}
