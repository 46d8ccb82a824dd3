/*
 * SPDX-License-Identifier: Apache-2.0
 * See processes.h.
 */
#include "tests/comm/processes.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "transport/bootstrap.h"

// Present in builds with AddressSanitizer: _exit would skip its search for leaks.
void __lsan_do_leak_check(void) __attribute__((weak));

void *shared_by_ranks(void)
{
    enum { BYTES = 4096 };
    static void *memory;
    if (!memory)
        memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memset(memory, 0, BYTES);
}

bool await_at_least(const atomic_int *value, int least)
{
    int64_t deadline_ns = weft_deadline_after(INT64_C(60000000000));
    while (atomic_load(value) < least && weft_clock_ns() < deadline_ns)
        usleep(1000);
    return atomic_load(value) >= least;
}

static int run_rank(int rank, int num_ranks, const weft_unique_id *id, int64_t timeout_ns,
                    int (*body)(struct rank_process *process), void *argument)
{
    struct rank_process process = {.rank = rank, .num_ranks = num_ranks, .argument = argument};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (weft_context_create(&process.context) != WEFT_OK)
        return 120;
    const weft_comm_options options = {.struct_bytes = sizeof options,
                                       .rank = rank,
                                       .num_ranks = num_ranks,
                                       .id = id,
                                       .timeout_ns = timeout_ns};
    process.create_status = weft_comm_create(process.context, &options, &process.comm, NULL);
    int code = body(&process);
    weft_comm_destroy(&process.comm);
    weft_context_destroy(&process.context);
    return code;
}

static bool reap(pid_t *pids, int *codes, int rank, struct weft_meeting *meeting)
{
    int status;
    if (pids[rank] <= 0 || waitpid(pids[rank], &status, WNOHANG) != pids[rank])
        return false;
    pids[rank] = 0;
    codes[rank] = WIFSIGNALED(status) ? EXIT_SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
    char text[64];
    snprintf(text, sizeof text, "rank %d ended with code %d", rank, codes[rank]);
    if (meeting && codes[rank] != 0)
        weft_meeting_report_death(meeting, rank, text);
    return true;
}

void run_ranks(int num_ranks, int64_t timeout_ns, int limit_s,
               int (*body)(struct rank_process *process), void *argument, int *codes)
{
    struct weft_meeting *meeting;
    weft_unique_id id;
    struct weft_error error;
    pid_t pids[PROCESSES_MAX];
    assert_true(num_ranks <= PROCESSES_MAX);
    assert_int_equal(weft_meeting_open("127.0.0.1", 0, NULL, &meeting, &id, &error), WEFT_OK);
    fflush(NULL);
    for (int rank = 0; rank < num_ranks; rank++) {
        pids[rank] = fork();
        assert_true(pids[rank] >= 0);
        if (pids[rank] == 0) {
            int code = run_rank(rank, num_ranks, &id, timeout_ns, body, argument);
            fflush(NULL);
            if (__lsan_do_leak_check)
                __lsan_do_leak_check();
            _exit(code);
        }
    }
    int64_t deadline_ns = weft_deadline_after(patience((int64_t)limit_s * 1000000000));
    for (int left = num_ranks; left > 0;) {
        if (meeting && weft_meeting_progress(meeting, &error) == WEFT_OK)
            weft_meeting_close(&meeting);
        for (int rank = 0; rank < num_ranks; rank++) {
            if (pids[rank] > 0 && weft_clock_ns() > deadline_ns)
                kill(pids[rank], SIGKILL);
            left -= reap(pids, codes, rank, meeting);
        }
        usleep(500);
    }
    weft_meeting_close(&meeting);
}

void assert_all_zero(const int *codes, int num_ranks, const char *what)
{
    for (int rank = 0; rank < num_ranks; rank++)
        if (codes[rank] != 0)
            fail_msg("%s: rank %d of %d ended with code %d", what, rank, num_ranks, codes[rank]);
}
