/*
 * SPDX-License-Identifier: Apache-2.0
 * Groups of all-reduces, with real processes: small ones travel together, as the numbers of their
 * collectives show, and give the bytes that they give apart; what is unlike them stays alone, what
 * is wrong is refused.
 * Disagreement, a death and a deadline reach every one of them.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/comm/internal.h"
#include "tests/comm/processes.h"

static const int64_t timeout_ns = INT64_C(20000000000);

enum { NUM_KINDS = 6, NUM_COUNTS = 6, NUM_CALLS = NUM_KINDS * NUM_COUNTS * 2, MOST_BYTES = 40000 };

static const struct {
    weft_dtype dtype;
    weft_op op;
    weft_order order;
} kinds[NUM_KINDS] = {
    {WEFT_FLOAT32, WEFT_SUM, WEFT_ORDER_REPRODUCIBLE}, {WEFT_FLOAT32, WEFT_MAX, WEFT_ORDER_FREE},
    {WEFT_FLOAT64, WEFT_AVG, WEFT_ORDER_REPRODUCIBLE}, {WEFT_INT32, WEFT_LOGICAL_AND, 0},
    {WEFT_UINT8, WEFT_SUM, WEFT_ORDER_FREE},           {WEFT_INT32, WEFT_SUM, WEFT_ORDER_FREE},
};
static const size_t counts[NUM_COUNTS] = {0, 1, 37, 256, 1000, 5000};

static weft_op_desc describe(int i)
{
    int kind = i % NUM_KINDS;
    return (weft_op_desc){
        .struct_bytes = sizeof(weft_op_desc),
        .collective = WEFT_ALL_REDUCE,
        .dtype = kinds[kind].dtype,
        .op = kinds[kind].op,
        .order = kinds[kind].order,
        .count = counts[i / NUM_KINDS % NUM_COUNTS],
    };
}

static size_t bytes_of(const weft_op_desc *desc)
{
    return desc->count * weft_dtypes[desc->dtype].bytes;
}

// Sums of these are not exact in floats: another order would give other bits.
static void fill(char *data, const weft_op_desc *desc, int rank, int i)
{
    for (size_t e = 0; e < desc->count; e++) {
        double value = 1.0 / (double)(1 + rank + i + (int)(e % 89));
        int32_t whole = (int32_t)(e % 5) * (rank + i);
        if (desc->dtype == WEFT_FLOAT32)
            ((float *)data)[e] = (float)value;
        else if (desc->dtype == WEFT_FLOAT64)
            ((double *)data)[e] = value;
        else if (desc->dtype == WEFT_INT32)
            ((int32_t *)data)[e] = whole;
        else
            data[e] = (char)whole;
    }
}

struct memory {
    char *send, *recv, *apart; // (calls, MOST_BYTES)
    float token;
};

static bool allocate(struct memory *memory)
{
    size_t bytes = (size_t)NUM_CALLS * MOST_BYTES;
    memory->token = 1;
    memory->send = calloc(1, bytes);
    memory->recv = calloc(1, bytes);
    memory->apart = calloc(1, bytes);
    return memory->send && memory->recv && memory->apart;
}

static void release(struct memory *memory)
{
    free(memory->send);
    free(memory->recv);
    free(memory->apart);
}

static char *place(char *memory, int i)
{
    return memory + (size_t)i * MOST_BYTES;
}

// Every third one is in place here, every fifth is of the first weft_op_desc, which is no other
// rank's business; every other has a request. Without messages to others, a blocking group that is
// all in shared memory runs at once.
static int submit_all(struct rank_process *process, struct memory *memory, bool with_messages,
                      weft_request *requests)
{
    float *token = &memory->token; // outlives this: the calls only begin here
    int right = (process->rank + 1) % process->num_ranks;
    int left = (process->rank + process->num_ranks - 1) % process->num_ranks;
    for (int i = 0; i < NUM_CALLS; i++) {
        weft_op_desc desc = describe(i);
        bool is_in_place = (i + process->rank) % 3 == 0;
        if ((i + process->rank) % 5 == 0)
            desc.struct_bytes = offsetof(weft_op_desc, num_leaves);
        fill(place(memory->send, i), &desc, process->rank, i);
        desc.send = place(memory->send, i);
        desc.recv = place(memory->recv, i);
        if (is_in_place)
            memcpy(desc.recv, desc.send, bytes_of(&desc));
        if (is_in_place)
            desc.send = desc.recv;
        CHECK(weft_submit(process->comm, &desc, i % 2 ? &requests[i] : NULL) == WEFT_OK);
    }
    CHECK(weft_broadcast(token, token, 1, WEFT_FLOAT32, 0, process->comm, NULL) == WEFT_OK);
    if (!with_messages)
        return 0;
    CHECK(weft_send(token, 0, WEFT_FLOAT32, right, process->comm, NULL) == WEFT_OK);
    CHECK(weft_recv(token, 0, WEFT_FLOAT32, left, process->comm, NULL) == WEFT_OK);
    return 0;
}

static int call_apart(struct rank_process *process, struct memory *memory)
{
    for (int i = 0; i < NUM_CALLS; i++) {
        weft_op_desc desc = describe(i);
        desc.send = place(memory->send, i);
        desc.recv = place(memory->apart, i);
        CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    }
    return 0;
}

// Calls of one kind are one collective as far as they are small.
static uint32_t expected_collectives(int num_ranks, size_t join_bytes)
{
    uint32_t alone = 0;
    for (int i = 0; i < NUM_CALLS; i++) {
        weft_op_desc desc = describe(i);
        alone += join_bytes == 0 || num_ranks == 1 || bytes_of(&desc) > join_bytes;
    }
    return alone + (join_bytes && num_ranks > 1 ? NUM_KINDS : 0);
}

static int mixed(struct rank_process *process)
{
    size_t join_bytes = *(const size_t *)process->argument;
    weft_request requests[NUM_CALLS];
    struct memory memory;
    CHECK(process->create_status == WEFT_OK && allocate(&memory));
    for (int repeat = 0; repeat < 2; repeat++) {
        memset(memory.recv, 0x55, (size_t)NUM_CALLS * MOST_BYTES);
        memset(memory.apart, 0x55, (size_t)NUM_CALLS * MOST_BYTES);
        uint32_t before = process->comm->sequence;
        CHECK(weft_group_begin(process->context) == WEFT_OK);
        if (submit_all(process, &memory, repeat == 0, requests))
            return 1;
        CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
        uint32_t made = process->comm->sequence - before; // with the broadcast
        CHECK(made == expected_collectives(process->num_ranks, join_bytes) + 1);
        for (int i = 1; i < NUM_CALLS; i += 2)
            CHECK(weft_test(&requests[i]) == WEFT_OK);
        if (call_apart(process, &memory))
            return 1;
        CHECK(memcmp(memory.recv, memory.apart, (size_t)NUM_CALLS * MOST_BYTES) == 0);
    }
    release(&memory);
    return 0;
}

static void test_mixed(void **state)
{
    (void)state;
    static const char *const transports[] = {"shm", "tcp"};
    static const int rank_counts[] = {1, 2, 3};
    static const struct {
        const char *text;
        size_t bytes;
    } joins[] = {{"4K", 4096}, {"0", 0}, {"64K", 65536}};
    for (int i = 0; i < 2 * 3 * 3; i++) {
        int n = rank_counts[i / 6], codes[PROCESSES_MAX];
        size_t bytes = joins[i / 2 % 3].bytes;
        setenv("WEFT_TRANSPORTS", transports[i % 2], 1);
        setenv("WEFT_JOIN_BYTES", joins[i / 2 % 3].text, 1);
        run_ranks(n, timeout_ns, 60, mixed, &bytes, codes);
        assert_all_zero(codes, n, transports[i % 2]);
    }
    unsetenv("WEFT_JOIN_BYTES");
}

// More than one batch holds; and communicators that have nothing to do with each other.
static int many(struct rank_process *process)
{
    enum { MANY = 600, COUNT = 256 };
    float *data = calloc((size_t)MANY * COUNT, sizeof *data);
    weft_comm *twin;
    weft_request request;
    CHECK(process->create_status == WEFT_OK && data);
    CHECK(weft_comm_duplicate(process->comm, &twin, NULL) == WEFT_OK);
    uint32_t before = process->comm->sequence, twin_before = twin->sequence;
    for (int i = 0; i < MANY; i++)
        for (int e = 0; e < COUNT; e++)
            data[i * COUNT + e] = (float)(i + e + process->rank);
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    for (int i = 0; i < MANY; i++)
        CHECK(weft_all_reduce(data + (size_t)i * COUNT, data + (size_t)i * COUNT, COUNT,
                              WEFT_FLOAT32, WEFT_SUM, i % 3 ? process->comm : twin,
                              NULL) == WEFT_OK);
    CHECK(weft_group_end(process->context, &request) == WEFT_OK);
    CHECK(weft_wait(&request) == WEFT_OK);
    // 400 and 200 KiB, in batches of at most 256.
    CHECK(process->comm->sequence - before == 2 && twin->sequence - twin_before == 1);
    int n = process->num_ranks, sum = n * (n - 1) / 2;
    for (int i = 0; i < MANY; i++)
        for (int e = 0; e < COUNT; e++)
            CHECK(data[i * COUNT + e] == (float)(n * (i + e) + sum));
    weft_comm_destroy(&twin);
    free(data);
    return 0;
}

static void test_many(void **state)
{
    (void)state;
    int codes[PROCESSES_MAX];
    setenv("WEFT_TRANSPORTS", "", 1);
    run_ranks(3, timeout_ns, 60, many, NULL, codes);
    assert_all_zero(codes, 3, "many");
}

// What no batch has room for stays alone, whatever WEFT_JOIN_BYTES says; what is small does not.
static int oversized(struct rank_process *process)
{
    enum { CALLS = 4, COUNT = 75000 }; // 300 KB
    static const size_t sizes[CALLS] = {100, COUNT, COUNT, 100};
    float *data = calloc((size_t)CALLS * COUNT, sizeof *data);
    CHECK(process->create_status == WEFT_OK && data);
    for (int i = 0; i < CALLS * COUNT; i++)
        data[i] = (float)(i % 1000 + process->rank);
    uint32_t before = process->comm->sequence;
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    for (int i = 0; i < CALLS; i++)
        CHECK(weft_all_reduce(data + i * COUNT, data + i * COUNT, sizes[i], WEFT_FLOAT32, WEFT_SUM,
                              process->comm, NULL) == WEFT_OK);
    CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
    CHECK(process->comm->sequence - before == 3);
    int n = process->num_ranks, sum = n * (n - 1) / 2;
    for (int i = 0; i < CALLS; i++)
        for (size_t e = 0; e < sizes[i]; e++)
            CHECK(data[i * COUNT + (int)e] == (float)(n * ((i * COUNT + (int)e) % 1000) + sum));
    free(data);
    return 0;
}

static void test_oversized(void **state)
{
    (void)state;
    int codes[PROCESSES_MAX];
    static const char *const transports[] = {"shm", "tcp"};
    setenv("WEFT_JOIN_BYTES", "1M", 1);
    for (int i = 0; i < 2; i++) {
        setenv("WEFT_TRANSPORTS", transports[i], 1);
        run_ranks(2, timeout_ns, 60, oversized, NULL, codes);
        assert_all_zero(codes, 2, transports[i]);
    }
    unsetenv("WEFT_JOIN_BYTES");
}

// Of calls like one before them, the wrong ones are refused at once, and the others go.
static int refuse(struct rank_process *process)
{
    static float data[4][16];
    weft_request requests[3];
    weft_comm *twin;
    CHECK(process->create_status == WEFT_OK);
    CHECK(weft_comm_duplicate(process->comm, &twin, NULL) == WEFT_OK);
    const weft_op_desc good = {.struct_bytes = sizeof good,
                               .collective = WEFT_ALL_REDUCE,
                               .send = data[0],
                               .recv = data[1],
                               .count = 16,
                               .dtype = WEFT_FLOAT32,
                               .op = WEFT_SUM};
    weft_op_desc wrong[] = {good, good, good, good}, other = good, empty = good;
    wrong[0].recv = NULL;
    wrong[1].recv = &data[0][15];
    wrong[2].timeout_ns = -1;
    wrong[3].send = NULL;
    other.recv = data[2];
    empty.count = 0;
    empty.send = empty.recv = NULL;
    for (int e = 0; e < 16; e++)
        data[0][e] = (float)(e + process->rank);
    uint32_t before = twin->sequence;
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    CHECK(weft_submit(twin, &good, &requests[0]) == WEFT_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(weft_submit(twin, &wrong[i], NULL) == WEFT_INVALID_ARGUMENT);
    CHECK(weft_submit(twin, &empty, &requests[1]) == WEFT_OK);
    CHECK(weft_submit(twin, &other, &requests[2]) == WEFT_OK);
    for (int i = 0; i < 3; i++)
        CHECK(weft_test(&requests[i]) == WEFT_IN_PROGRESS);
    CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
    CHECK(twin->sequence - before == 1);
    int n = process->num_ranks;
    for (int e = 0; e < 16; e++)
        CHECK(data[1][e] == (float)(n * e + n * (n - 1) / 2) && data[2][e] == data[1][e]);
    for (int i = 0; i < 3; i++)
        CHECK(weft_test(&requests[i]) == WEFT_OK);
    // Its communicator goes before the group ends.
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    CHECK(weft_submit(twin, &good, &requests[0]) == WEFT_OK);
    CHECK(weft_submit(twin, &other, &requests[1]) == WEFT_OK);
    weft_comm_destroy(&twin);
    CHECK(weft_test(&requests[0]) == WEFT_ABORTED && weft_test(&requests[1]) == WEFT_ABORTED);
    CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
    return 0;
}

static void test_refuse(void **state)
{
    (void)state;
    int codes[PROCESSES_MAX];
    static const char *const transports[] = {"shm", "tcp"};
    for (int i = 0; i < 2; i++) {
        setenv("WEFT_TRANSPORTS", transports[i], 1);
        run_ranks(2, timeout_ns, 60, refuse, NULL, codes);
        assert_all_zero(codes, 2, transports[i]);
    }
}

/* ---- failures ---- */

enum { RANKS = 3, FEW = 8, VICTIM = 2 };

/* What rank VICTIM does otherwise than the others, and what they hear. */
static const struct trouble {
    const char *name;
    weft_status status;
    const char *words[2];
    int leaves_out;                 // a call
    size_t other_count;             // of the third call
    bool dies, is_late;             // before its group ends
    int64_t timeout_ns;             // of the fifth call, on the others
    atomic_int num_there, num_done; // of the others
} troubles[] = {
    {.name = "a call less",
     .status = WEFT_MISMATCH,
     .words = {"7 joined all_reduce of f32 sum, count 700 in all",
               "8 joined all_reduce of f32 sum, count 800 in all"},
     .leaves_out = 3},
    {.name = "another count",
     .status = WEFT_MISMATCH,
     .words = {"count 801 in all", "count 800 in all"},
     .other_count = 101},
    {.name = "death", .status = WEFT_REMOTE, .words = {"rank 2", "rank 2"}, .dies = true},
    {.name = "deadline",
     .status = WEFT_TIMEOUT,
     .words = {"deadline passed", "rank 2"},
     .is_late = true,
     .timeout_ns = INT64_C(300000000)},
};

static int meet_trouble(struct rank_process *process)
{
    struct trouble *trouble = process->argument;
    bool is_victim = process->rank == VICTIM;
    static float data[FEW][128];
    weft_request requests[FEW];
    int submitted = 0;
    CHECK(process->create_status == WEFT_OK);
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    for (int i = 0; i < FEW; i++) {
        weft_op_desc desc = {.struct_bytes = sizeof desc,
                             .collective = WEFT_ALL_REDUCE,
                             .send = data[i],
                             .recv = data[i],
                             .count = 100,
                             .dtype = WEFT_FLOAT32,
                             .op = WEFT_SUM};
        if (is_victim && i == 2 && trouble->other_count)
            desc.count = trouble->other_count;
        if (!is_victim && i == 4)
            desc.timeout_ns = trouble->timeout_ns;
        memset(&requests[i], 0, sizeof requests[i]);
        if (!is_victim || !trouble->leaves_out || i != trouble->leaves_out) {
            weft_status status = weft_submit(process->comm, &desc, &requests[i]);
            // A progress thread may have heard of another rank's already.
            if (process->context->progress && status == trouble->status)
                break;
            CHECK(status == WEFT_OK);
        }
        submitted = i + 1;
    }
    atomic_fetch_add(&trouble->num_there, !is_victim);
    if (is_victim && trouble->dies) {
        CHECK(await_at_least(&trouble->num_there, RANKS - 1));
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); // they wait in the group's end
        raise(SIGKILL);
    }
    if (is_victim && trouble->is_late)
        CHECK(await_at_least(&trouble->num_done, RANKS - 1));
    weft_status status = weft_group_end(process->context, NULL);
    atomic_fetch_add(&trouble->num_done, !is_victim);
    if (is_victim && trouble->is_late) // it may have all that it needs
        return 0;
    CHECK(status == (submitted > 0 ? trouble->status : WEFT_OK));
    for (int i = 0; i < submitted; i++)
        if (!is_victim || !trouble->leaves_out || i != trouble->leaves_out)
            CHECK(weft_test(&requests[i]) == trouble->status);
    if (!is_victim)
        CHECK(strstr(weft_comm_error_text(process->comm), trouble->words[0]) &&
              strstr(weft_comm_error_text(process->comm), trouble->words[1]));
    return 0;
}

static void test_troubles(void **state)
{
    (void)state;
    static const char *const transports[] = {"shm", "tcp"};
    for (size_t i = 0; i < 2 * sizeof troubles / sizeof *troubles; i++) {
        struct trouble *trouble = shared_by_ranks();
        memcpy(trouble, &troubles[i / 2], sizeof *trouble);
        int codes[PROCESSES_MAX];
        setenv("WEFT_TRANSPORTS", transports[i % 2], 1);
        run_ranks(RANKS, timeout_ns, 30, meet_trouble, trouble, codes);
        for (int rank = 0; rank < RANKS; rank++)
            if (codes[rank] != (trouble->dies && rank == VICTIM ? EXIT_SIGNALLED + SIGKILL : 0))
                fail_msg("%s over %s: rank %d ended with %d", trouble->name, transports[i % 2],
                         rank, codes[rank]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed),     cmocka_unit_test(test_many),
        cmocka_unit_test(test_oversized), cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_troubles),
    };
    return cmocka_run_group_tests_name("comm groups", tests, NULL, NULL);
}
