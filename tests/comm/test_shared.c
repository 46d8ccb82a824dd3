/*
 * SPDX-License-Identifier: Apache-2.0
 * Collectives through shared memory beyond the slots: buffers that others may work in
 * (weft_mem_alloc), ordinary ones, and ranks that do not agree about that; in place and out of
 * place, in one chunk and in many; slots, stages and boards of communicators that come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "collectives/program/shape.h"
#include "tests/comm/processes.h"

enum { MAX_RANKS = WEFT_RUNS_SLOWLY ? 5 : 7, LIMIT_S = 200 };
enum { NUM_COUNTS = WEFT_RUNS_SLOWLY ? 3 : 4 }; // the third one goes in several chunks
static const int64_t timeout_ns = 20000000000;

enum memory { ORDINARY, SHARED, MIXED, NUM_MEMORIES };

// What rank `rank` contributes as element `element` of its input.
static int32_t contribution(int rank, size_t element)
{
    return (int32_t)(element * 2654435761u + (unsigned)rank * 97u + (unsigned)(element >> 9));
}

static int32_t sum_of(int num_ranks, size_t element)
{
    uint32_t sum = 0;
    for (int rank = 0; rank < num_ranks; rank++)
        sum += (uint32_t)contribution(rank, element);
    return (int32_t)sum;
}

struct round {
    weft_collective collective;
    enum memory memory;
    bool is_in_place;
    int root;
    size_t count; // of a block
    weft_order order;
};

// Blocks of the input and output of a rank.
static size_t blocks_of(const struct round *round, const struct rank_process *process,
                        bool is_output)
{
    size_t n = (size_t)process->num_ranks;
    bool is_root = process->rank == round->root;
    switch (round->collective) {
    case WEFT_ALL_GATHER:
        return is_output ? n : 1;
    case WEFT_REDUCE_SCATTER:
        return is_output ? 1 : n;
    case WEFT_ALL_TO_ALL:
        return n;
    case WEFT_REDUCE:
        return is_output ? is_root : 1;
    case WEFT_BROADCAST:
        return is_output ? 1 : is_root;
    case WEFT_GATHER:
        return is_output ? n * is_root : 1;
    case WEFT_SCATTER:
        return is_output ? 1 : n * is_root;
    default:
        return 1;
    }
}

// Element `element` of the output of a rank.
static int32_t expected(const struct round *round, const struct rank_process *process,
                        size_t element)
{
    int n = process->num_ranks, me = process->rank;
    size_t block = element / round->count, within = element % round->count;
    switch (round->collective) {
    case WEFT_ALL_GATHER:
    case WEFT_GATHER:
        return contribution((int)block, within);
    case WEFT_SCATTER:
        return contribution(round->root, (size_t)me * round->count + within);
    case WEFT_REDUCE_SCATTER:
        return sum_of(n, (size_t)me * round->count + within);
    case WEFT_ALL_TO_ALL:
        return contribution((int)block, (size_t)me * round->count + within);
    case WEFT_BROADCAST:
        return contribution(round->root, element);
    default:
        return sum_of(n, element);
    }
}

static void *get_memory(struct rank_process *process, bool is_shared, size_t bytes)
{
    void *memory = NULL;
    if (!is_shared)
        return malloc(bytes);
    return weft_mem_alloc(process->context, bytes, &memory) == WEFT_OK ? memory : NULL;
}

static void give_memory(struct rank_process *process, bool is_shared, void *memory)
{
    if (!is_shared)
        free(memory);
    else if (weft_mem_free(process->context, memory) != WEFT_OK)
        abort();
}

static weft_status run_round(struct rank_process *process, const struct round *round,
                             const int32_t *send, int32_t *recv)
{
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = round->collective,
                               .dtype = WEFT_INT32,
                               .op = WEFT_SUM,
                               .order = round->order,
                               .root = round->root,
                               .send = send,
                               .recv = recv,
                               .count = round->count};
    return weft_submit(process->comm, &desc, NULL);
}

// 0, or where it went wrong.
static int try_round(struct rank_process *process, const struct round *round)
{
    size_t in = blocks_of(round, process, false) * round->count;
    size_t out = blocks_of(round, process, true) * round->count;
    bool is_shared = round->memory == SHARED || (round->memory == MIXED && process->rank % 2 == 1);
    size_t odd = 3; // elements from the beginning of what was allocated
    size_t room = (in > out ? in : out) + odd;
    int32_t *first = get_memory(process, is_shared, room * sizeof *first);
    int32_t *second = get_memory(process, is_shared, room * sizeof *second);
    if (!first || !second)
        return 10;
    int32_t *recv = second + odd, *send = round->is_in_place ? recv : first + odd;
    bool is_root = process->rank == round->root;
    if (round->is_in_place &&
        (round->collective == WEFT_ALL_GATHER || (round->collective == WEFT_GATHER && is_root)))
        send = recv + (size_t)process->rank * round->count;
    if (round->is_in_place && (round->collective == WEFT_REDUCE_SCATTER ||
                               (round->collective == WEFT_SCATTER && is_root)))
        recv = send + (size_t)process->rank * round->count;
    for (size_t e = 0; e < in; e++)
        send[e] = contribution(process->rank, e);
    weft_status status = run_round(process, round, send, recv);
    if (status != WEFT_OK)
        fprintf(stderr, "%s\n", weft_comm_error_text(process->comm));
    int code = status == WEFT_OK ? 0 : 11;
    for (size_t e = 0; e < out && !code; e++)
        code = recv[e] == expected(round, process, e) ? 0 : 12;
    for (size_t e = 0; e < in && !code && !round->is_in_place; e++)
        code = send[e] == contribution(process->rank, e) ? 0 : 13;
    give_memory(process, is_shared, first);
    give_memory(process, is_shared, second);
    return code;
}

static int all_rounds(struct rank_process *process)
{
    static const weft_collective collectives[] = {
        WEFT_ALL_REDUCE,     WEFT_REDUCE,     WEFT_BROADCAST, WEFT_ALL_GATHER,
        WEFT_REDUCE_SCATTER, WEFT_ALL_TO_ALL, WEFT_GATHER,    WEFT_SCATTER};
    static const size_t counts[] = {1500, 9001, 300007, 1100003};
    if (process->create_status != WEFT_OK)
        return 1;
    int tried = 0;
    for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++)
        for (size_t s = 0; s < NUM_COUNTS; s++)
            for (int memory = 0; memory < NUM_MEMORIES; memory++)
                for (int in_place = 0; in_place < 2; in_place++) {
                    bool is_rooted = weft_collective_is_rooted(collectives[c]);
                    struct round round = {.collective = collectives[c],
                                          .memory = (enum memory)memory,
                                          .is_in_place = in_place,
                                          .root = is_rooted ? tried % process->num_ranks : 0,
                                          .count = counts[s],
                                          .order = tried % 3 ? WEFT_ORDER_FREE
                                                             : WEFT_ORDER_REPRODUCIBLE};
                    int code = try_round(process, &round);
                    tried++;
                    if (!code)
                        continue;
                    fprintf(stderr, "rank %d of %d: collective %d, %zu elements, memory %d, %s\n",
                            process->rank, process->num_ranks, (int)collectives[c], counts[s],
                            memory, in_place ? "in place" : "out of place");
                    return code;
                }
    return 0;
}

static void test_all_rounds(void **state)
{
    (void)state;
    static const struct {
        int ranks;
        const char *single_copy;
    } given[] = {{2, "always"}, {3, "never"}, {4, "never"}, {MAX_RANKS, "always"}};
    int codes[MAX_RANKS];
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        setenv("WEFT_SINGLE_COPY", given[i].single_copy, 1);
        run_ranks(given[i].ranks, timeout_ns, LIMIT_S, all_rounds, NULL, codes);
        assert_all_zero(codes, given[i].ranks, "rounds");
    }
    unsetenv("WEFT_SINGLE_COPY");
}

// Often enough that results have been written into the caches and past them.
static int again_and_again(struct rank_process *process)
{
    enum { TIMES = 12, COUNT = 900001 };
    if (process->create_status != WEFT_OK)
        return 1;
    for (int i = 0; i < TIMES; i++) {
        const struct round round = {
            .collective = WEFT_ALL_REDUCE, .memory = SHARED, .count = COUNT};
        int code = try_round(process, &round);
        if (code)
            return code;
    }
    return 0;
}

static void test_again_and_again(void **state)
{
    (void)state;
    int codes[2];
    run_ranks(2, timeout_ns, LIMIT_S, again_and_again, NULL, codes);
    assert_all_zero(codes, 2, "times");
}

// Without waiting: several at once, in the order of their submission.
static int many_at_once(struct rank_process *process)
{
    enum { AT_ONCE = 6, COUNT = 50000 };
    weft_request requests[AT_ONCE];
    int32_t *data = malloc((size_t)AT_ONCE * COUNT * sizeof *data);
    if (process->create_status != WEFT_OK || !data)
        return 1;
    for (size_t e = 0; e < (size_t)AT_ONCE * COUNT; e++)
        data[e] = contribution(process->rank, e);
    for (int i = 0; i < AT_ONCE; i++) {
        size_t count = i % 2 ? COUNT : 10; // stages and slots take turns
        if (weft_all_reduce(data + (size_t)i * COUNT, data + (size_t)i * COUNT, count, WEFT_INT32,
                            WEFT_SUM, process->comm, &requests[i]) != WEFT_OK)
            return 2;
    }
    for (int i = AT_ONCE - 1; i >= 0; i--)
        if (weft_wait(&requests[i]) != WEFT_OK)
            return 3;
    for (size_t e = 0; e < (size_t)AT_ONCE * COUNT; e++) {
        bool is_summed = e / COUNT % 2 || e % COUNT < 10;
        if (data[e] != (is_summed ? sum_of(process->num_ranks, e) : contribution(process->rank, e)))
            return 4;
    }
    free(data);
    return 0;
}

static void test_many_at_once(void **state)
{
    (void)state;
    int codes[3];
    run_ranks(3, timeout_ns, LIMIT_S, many_at_once, NULL, codes);
    assert_all_zero(codes, 3, "many at once");
}

static size_t resident_pages(void)
{
    size_t size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%zu %zu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident;
}

// Communicators are made, used and destroyed, some before others have read what they left.
static int come_and_go(struct rank_process *process)
{
    enum { TIMES = 300, COUNT = 100000, WARM = 20 };
    int32_t *data = malloc(COUNT * sizeof *data);
    size_t before = 0;
    if (process->create_status != WEFT_OK || !data)
        return 1;
    for (int i = 0; i < TIMES; i++) {
        weft_comm *child;
        before = i == WARM ? resident_pages() : before;
        if (weft_comm_split(process->comm, i % 3 ? 0 : process->rank % 2, process->rank, &child,
                            NULL) != WEFT_OK)
            return 2;
        int n = weft_comm_num_ranks(child);
        for (size_t e = 0; e < COUNT; e++)
            data[e] = 1;
        if (weft_all_reduce(data, data, i % 2 ? COUNT : 3, WEFT_INT32, WEFT_SUM, child, NULL) !=
            WEFT_OK)
            return 3;
        weft_comm_destroy(&child);
        if (data[0] != n || data[i % 2 ? COUNT - 1 : 2] != n)
            return 4;
    }
    free(data);
    // Each would keep more than 200 pages.
    return resident_pages() < before + (size_t)TIMES * 50 ? 0 : 5;
}

static void test_come_and_go(void **state)
{
    (void)state;
    int codes[4];
    run_ranks(4, timeout_ns, LIMIT_S, come_and_go, NULL, codes);
    assert_all_zero(codes, 4, "come and go");
}

// Calls that do not match are named at once, whichever way each of them goes.
static int disagree(struct rank_process *process)
{
    static const size_t counts[][2] = {{100000, 100001}, {10, 100000}, {100000, 10}};
    int which = *(int *)process->argument;
    int32_t *data = calloc(100001, sizeof *data);
    if (process->create_status != WEFT_OK || !data)
        return 1;
    weft_status status = weft_all_reduce(data, data, counts[which][process->rank], WEFT_INT32,
                                         WEFT_SUM, process->comm, NULL);
    bool is_named = strstr(weft_comm_error_text(process->comm), "calls all_reduce") != NULL;
    free(data);
    return status == WEFT_MISMATCH && is_named ? 0 : 2;
}

static void test_disagree(void **state)
{
    (void)state;
    int codes[2];
    for (int which = 0; which < 3; which++) {
        run_ranks(2, timeout_ns, 15, disagree, &which, codes);
        assert_all_zero(codes, 2, "disagree");
    }
}

// Through the slots. A root that needs nobody ends before others have begun; ranks that are apart
// by as much as they can be, operation by operation, still read what was meant for it.
static int run_ahead(struct rank_process *process)
{
    enum { TIMES = 3000, COUNT = 8, ROOT = 1 };
    static const weft_collective kinds[] = {WEFT_BROADCAST, WEFT_GATHER,     WEFT_SCATTER,
                                            WEFT_REDUCE,    WEFT_ALL_REDUCE, WEFT_BROADCAST};
    atomic_bool *has_root_ended = process->argument;
    unsigned random = 1 + (unsigned)process->rank;
    if (process->create_status != WEFT_OK)
        return 1;
    while (process->rank != ROOT && !*has_root_ended)
        usleep(1000); // the test's limit ends this
    for (int i = 0; i < TIMES; i++) {
        struct round round = {.collective = i < 2 ? WEFT_BROADCAST : kinds[i % 6],
                              .root = i < 2 ? ROOT : i / 7 % process->num_ranks,
                              .count = COUNT};
        int code = try_round(process, &round);
        if (code)
            return code;
        if (i == 1 && process->rank == ROOT)
            *has_root_ended = true;
        random = random * 1103515245u + 12345u;
        if (random >> 16 & 1)
            usleep(random >> 24);
    }
    return 0;
}

static void test_run_ahead(void **state)
{
    (void)state;
    int codes[3];
    atomic_bool *has_root_ended = mmap(NULL, sizeof *has_root_ended, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(has_root_ended, MAP_FAILED);
    run_ranks(3, timeout_ns, LIMIT_S, run_ahead, has_root_ended, codes);
    assert_all_zero(codes, 3, "run ahead");
    munmap(has_root_ended, sizeof *has_root_ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rounds),  cmocka_unit_test(test_again_and_again),
        cmocka_unit_test(test_run_ahead),   cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_come_and_go), cmocka_unit_test(test_disagree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
