/*
 * SPDX-License-Identifier: Apache-2.0
 * Copies between ordinary buffers straight from the other process: what goes that way, what does
 * not, what happens where it fails, and that all ranks find the same way the faster one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "collectives/comm/internal.h"
#include "tests/comm/processes.h"

enum { RANKS = 3, COUNT = 20000, ROOT = 1, LIMIT_S = 60 };
static const int64_t timeout_ns = 20000000000;
static const weft_collective copied[] = {WEFT_BROADCAST, WEFT_ALL_GATHER, WEFT_ALL_TO_ALL,
                                         WEFT_GATHER, WEFT_SCATTER};
enum { NUM_COPIED = sizeof copied / sizeof *copied };

// Element `e` of what `source` has for `destination`; ANY where all get the same.
enum { ANY = 0 };
static int32_t element(int source, int destination, size_t e)
{
    return (int32_t)(e * 2654435761u + (unsigned)source * 97u + (unsigned)destination * 31u);
}

// From `send` to `recv`, which have room for all; whether what came is right.
static bool go(struct rank_process *process, weft_collective collective, int32_t *send,
               int32_t *recv)
{
    int n = process->num_ranks, me = process->rank;
    bool is_apart = collective == WEFT_ALL_TO_ALL || collective == WEFT_SCATTER;
    bool is_gathered = collective == WEFT_ALL_GATHER || collective == WEFT_GATHER;
    for (int block = 0; block < (is_apart ? n : 1); block++)
        for (size_t e = 0; e < COUNT; e++)
            send[(size_t)block * COUNT + e] = element(me, block, e);
    memset(recv, 0, (size_t)n * COUNT * sizeof *recv);
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = collective,
                               .dtype = WEFT_INT32,
                               .root = ROOT,
                               .send = send,
                               .recv = recv,
                               .count = COUNT};
    if (weft_submit(process->comm, &desc, NULL) != WEFT_OK)
        return false;
    if (collective == WEFT_GATHER && me != ROOT)
        return true;
    int blocks = is_gathered || collective == WEFT_ALL_TO_ALL ? n : 1;
    for (int block = 0; block < blocks; block++)
        for (size_t e = 0; e < COUNT; e++) {
            int source = blocks > 1 ? block : ROOT;
            if (recv[(size_t)block * COUNT + e] != element(source, is_apart ? me : ANY, e))
                return false;
        }
    return true;
}

struct buffers {
    int32_t *send, *recv;
};

static struct buffers get_buffers(int num_ranks)
{
    size_t bytes = (size_t)num_ranks * COUNT * sizeof(int32_t);
    struct buffers buffers = {malloc(bytes), malloc(bytes)};
    if (!buffers.send || !buffers.recv)
        abort();
    return buffers;
}

static void free_buffers(struct buffers *buffers)
{
    free(buffers->send);
    free(buffers->recv);
}

static void run_with(const char *how, int (*body)(struct rank_process *process))
{
    int codes[RANKS];
    setenv("WEFT_SINGLE_COPY", how, 1);
    run_ranks(RANKS, timeout_ns, LIMIT_S, body, NULL, codes);
    unsetenv("WEFT_SINGLE_COPY");
    assert_all_zero(codes, RANKS, how);
}

static void say_if_not(struct rank_process *process)
{
    if (process->rank == 0 && !process->comm->shared.can_fetch)
        printf("this system does not let one process read another: all is staged\n");
}

/* ---- what goes which way ---- */

static int all_fetched(struct rank_process *process)
{
    CHECK(process->create_status == WEFT_OK);
    const struct weft_shared *shared = &process->comm->shared;
    struct buffers buffers = get_buffers(process->num_ranks);
    for (int i = 0; i < NUM_COPIED; i++) {
        CHECK(go(process, copied[i], buffers.send, buffers.recv));
        CHECK(shared->operations == (uint32_t)i + 1);
        CHECK(shared->is_fetched == shared->can_fetch);
    }
    say_if_not(process);
    CHECK(weft_all_reduce(buffers.send, buffers.recv, COUNT, WEFT_INT32, WEFT_SUM, process->comm,
                          NULL) == WEFT_OK);
    CHECK(shared->operations == NUM_COPIED + 1 && !shared->is_fetched);
    free_buffers(&buffers);
    return 0;
}

static void test_fetched_always(void **state)
{
    (void)state;
    run_with("always", all_fetched);
}

static int none_fetched(struct rank_process *process)
{
    CHECK(process->create_status == WEFT_OK);
    struct buffers buffers = get_buffers(process->num_ranks);
    for (int i = 0; i < NUM_COPIED; i++) {
        CHECK(go(process, copied[i], buffers.send, buffers.recv));
        CHECK(!process->comm->shared.is_fetched);
    }
    free_buffers(&buffers);
    return 0;
}

static void test_fetched_never(void **state)
{
    (void)state;
    run_with("never", none_fetched);
}

/* ---- where it fails ---- */

// One rank cannot read others: nobody fetches any more.
static int one_cannot(struct rank_process *process)
{
    CHECK(process->create_status == WEFT_OK);
    struct weft_shared *shared = &process->comm->shared;
    if (process->rank == 2)
        shared->fetching = WEFT_FETCH_NEVER;
    CHECK(none_fetched(process) == 0);
    CHECK(!shared->can_fetch);
    return 0;
}

static void test_one_cannot(void **state)
{
    (void)state;
    run_with("always", one_cannot);
}

// Memory that the kernel itself cannot read: seen while it is fetched, and staged after all.
static int secret_memory(struct rank_process *process)
{
    CHECK(process->create_status == WEFT_OK);
    struct weft_shared *shared = &process->comm->shared;
    struct buffers buffers = get_buffers(process->num_ranks);
    size_t bytes = (size_t)process->num_ranks * COUNT * sizeof(int32_t);
#ifdef SYS_memfd_secret
    int secret = (int)syscall(SYS_memfd_secret, 0);
#else
    int secret = -1;
#endif
    int32_t *send = secret >= 0 && ftruncate(secret, (off_t)bytes) == 0
                        ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0)
                        : MAP_FAILED;
    if (send == MAP_FAILED && process->rank == 0)
        printf("no secret memory on this system: not shown\n");
    if (send == MAP_FAILED)
        return 0;
    CHECK(go(process, WEFT_ALL_GATHER, buffers.send, buffers.recv));
    CHECK(shared->is_fetched == shared->can_fetch);
    say_if_not(process);
    CHECK(go(process, WEFT_ALL_GATHER, process->rank == 1 ? send : buffers.send, buffers.recv));
    CHECK(!shared->is_fetched && !shared->can_fetch);
    for (int i = 0; i < NUM_COPIED; i++)
        CHECK(go(process, copied[i], send, buffers.recv));
    munmap(send, bytes);
    close(secret);
    free_buffers(&buffers);
    return 0;
}

static void test_secret_memory(void **state)
{
    (void)state;
    run_with("always", secret_memory);
}

struct steps {
    atomic_int has_failed, has_written;
    bool gathers;
};

// One whose call has failed has its buffer for itself, whatever a late rank still makes of the
// call: the root of a broadcast, or who contributes to a gather.
static int late_writer(struct rank_process *process)
{
    struct steps *steps = process->argument;
    CHECK(process->create_status == WEFT_OK);
    int waiting = steps->gathers ? ROOT : !ROOT;
    struct buffers buffers = get_buffers(process->num_ranks);
    const size_t bytes = (size_t)process->num_ranks * COUNT * sizeof(int32_t);
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = steps->gathers ? WEFT_GATHER : WEFT_BROADCAST,
                               .dtype = WEFT_INT32,
                               .root = ROOT,
                               .send = buffers.send,
                               .recv = buffers.recv,
                               .count = COUNT,
                               .timeout_ns = process->rank == waiting ? 100000000 : 0};
    memset(buffers.send, 1, bytes);
    memset(buffers.recv, 2, bytes);
    if (process->rank == waiting) {
        CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_TIMEOUT);
        memset(buffers.recv, 3, bytes);
        atomic_store(&steps->has_failed, 1);
        CHECK(await_at_least(&steps->has_written, 1));
        for (size_t i = 0; i < bytes; i++)
            CHECK(((unsigned char *)buffers.recv)[i] == 3);
    } else {
        CHECK(await_at_least(&steps->has_failed, 1));
        CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_TIMEOUT); // of the other one
        atomic_store(&steps->has_written, 1);
    }
    free_buffers(&buffers);
    return 0;
}

static void test_late_writers(void **state)
{
    (void)state;
    int codes[2];
    setenv("WEFT_SINGLE_COPY", "always", 1);
    for (int gathers = 0; gathers < 2; gathers++) {
        struct steps *steps = shared_by_ranks();
        steps->gathers = gathers;
        run_ranks(2, timeout_ns, LIMIT_S, late_writer, steps, codes);
        assert_all_zero(codes, 2, gathers ? "late gather" : "late root");
    }
    unsetenv("WEFT_SINGLE_COPY");
}

/* ---- which is faster ---- */

// Ranks that are late and slow at will: they still decide alike.
static int decide_alike(struct rank_process *process)
{
    enum { TIMES = 300 };
    CHECK(process->create_status == WEFT_OK);
    struct weft_shared *shared = &process->comm->shared;
    struct buffers buffers = get_buffers(process->num_ranks);
    unsigned random = 1 + (unsigned)process->rank;
    int fetched = 0;
    for (int i = 0; i < TIMES; i++) {
        random = random * 1103515245u + 12345u;
        const struct timespec nap = {.tv_nsec = (long)(random >> 16) % 4 * 50000};
        nanosleep(&nap, NULL);
        CHECK(go(process, i % 3 ? WEFT_BROADCAST : WEFT_ALL_TO_ALL, buffers.send, buffers.recv));
        fetched += shared->is_fetched;
    }
    CHECK(shared->can_fetch ? fetched >= 8 : fetched == 0); // the trials at least
    say_if_not(process);
    enum { BYTES = sizeof shared->fetches };
    unsigned char *known = malloc((size_t)(process->num_ranks + 1) * BYTES), *all = known + BYTES;
    CHECK(known);
    memcpy(known, shared->fetches, BYTES);
    CHECK(weft_all_gather(known, all, BYTES, WEFT_UINT8, process->comm, NULL) == WEFT_OK);
    for (int rank = 0; rank < process->num_ranks; rank++)
        CHECK(memcmp(known, all + (size_t)rank * BYTES, BYTES) == 0);
    free(known);
    free_buffers(&buffers);
    return 0;
}

static void test_decide_alike(void **state)
{
    (void)state;
    run_with("auto", decide_alike);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetched_always), cmocka_unit_test(test_fetched_never),
        cmocka_unit_test(test_one_cannot),     cmocka_unit_test(test_secret_memory),
        cmocka_unit_test(test_late_writers),   cmocka_unit_test(test_decide_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
