/*
 * SPDX-License-Identifier: Apache-2.0
 * Ranks as real processes: forks them, serves their meeting from the parent (as a launcher does),
 * gathers exit codes, and leaves nothing behind.
 */
#ifndef WEFT_TESTS_COMM_PROCESSES_H
#define WEFT_TESTS_COMM_PROCESSES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "weft/weft.h"

enum { PROCESSES_MAX = 32, EXIT_SIGNALLED = 128 };

struct rank_process {
    int rank, num_ranks;
    weft_context *context;
    weft_comm *comm; // the world's communicator; NULL when creation failed
    weft_status create_status;
    void *argument;
};

/* In a body: what does not hold ends it, and is printed. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "rank %d of %d line %d: %s: %s\n", process->rank, process->num_ranks,  \
                    __LINE__, #condition,                                                          \
                    process->comm ? weft_comm_error_text(process->comm)                            \
                                  : weft_context_error_text(process->context));                    \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

/* Memory that the processes of run_ranks share with the test, of zeros: what they tell each other
 * beside the communicator. Of at most 4096 bytes, there as long as the test. */
void *shared_by_ranks(void);
/* Waits until `value` is at least `least`, for at most a minute; false: it is not. */
bool await_at_least(const atomic_int *value, int least);

/* Runs `body` in num_ranks processes; codes[r] is its return value, or EXIT_SIGNALLED + signal. The
 * communicator is made for it with `timeout_ns` and destroyed after it. Every process ends within
 * `limit_s` seconds (patience.h) or is killed (EXIT_SIGNALLED + SIGKILL). */
void run_ranks(int num_ranks, int64_t timeout_ns, int limit_s,
               int (*body)(struct rank_process *process), void *argument, int *codes);
/* Fails the test unless every code is 0. */
void assert_all_zero(const int *codes, int num_ranks, const char *what);

#endif
