/*
 * SPDX-License-Identifier: Apache-2.0
 * Reproducible order from the public API, with real processes: the same leaves, cut into spans for
 * 1 to 9 ranks, by every algorithm that may, over shared memory and TCP, give the bits of the tree
 * itself; a free order gives others; and disagreement about the leaves is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/comm/processes.h"
#include "tests/planner/leaves.h"

static const int64_t timeout_ns = INT64_C(20000000000);

enum { COUNT = 1000, LEAVES = 22 };

static void add(float *into, const float *other, size_t count)
{
    for (size_t e = 0; e < count; e++)
        into[e] += other[e];
}

// The loop that weft.h shows.
static void accumulate(const weft_leaf_part *part, size_t count, float *into)
{
    float *stack = malloc(32 * count * sizeof *stack);
    size_t depth = 0, n = part->end - part->begin;
    for (size_t k = 1; k <= n; k++) {
        for (size_t e = 0; e < count; e++)
            stack[depth * count + e] = leaf_value(part->begin + k - 1, e);
        depth++;
        for (size_t twos = k; depth > 1 && (twos % 2 == 0 || k == n); twos /= 2, depth--)
            add(stack + (depth - 2) * count, stack + (depth - 1) * count, count);
    }
    memcpy(into, stack, count * sizeof *stack);
    free(stack);
}

static int count_others(const float *result, size_t leaves, size_t begin, size_t count)
{
    int others = 0;
    for (size_t e = 0; e < count; e++) {
        float wanted = leaf_tree(0, leaves, begin + e);
        others += memcmp(&wanted, &result[e], sizeof wanted) != 0;
    }
    return others;
}

static int check_partition(struct rank_process *process, const size_t *bounds,
                           const char *algorithm, size_t count)
{
    int n = process->num_ranks, me = process->rank;
    weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT];
    size_t num_parts = weft_leaf_parts(bounds[me], bounds[me + 1], LEAVES, parts);
    size_t total = count * (size_t)n;
    float *send = malloc((num_parts + 1) * total * sizeof *send);
    float *recv = malloc((total + 1) * sizeof *recv);
    weft_op_desc desc = {.struct_bytes = sizeof desc,
                         .collective = WEFT_ALL_REDUCE,
                         .dtype = WEFT_FLOAT32,
                         .op = WEFT_SUM,
                         .order = WEFT_ORDER_REPRODUCIBLE,
                         .send = send,
                         .recv = recv,
                         .count = count,
                         .algorithm = algorithm,
                         .num_leaves = LEAVES,
                         .leaf_bounds = bounds};
    for (size_t p = 0; p < num_parts; p++)
        accumulate(&parts[p], count, send + p * count);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(count_others(recv, LEAVES, 0, count) == 0);
    desc.collective = WEFT_REDUCE;
    desc.root = n - 1;
    memset(recv, 0, count * sizeof *recv);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(me != n - 1 || count_others(recv, LEAVES, 0, count) == 0);
    if (num_parts == 1) { // some ranks in place
        memcpy(recv, send, count * sizeof *recv);
        desc.send = recv;
    }
    desc.collective = WEFT_ALL_REDUCE;
    desc.root = 0;
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(count_others(recv, LEAVES, 0, count) == 0);
    if (!algorithm || strcmp(algorithm, "tree") != 0) {
        for (size_t p = 0; p < num_parts; p++)
            accumulate(&parts[p], total, send + p * total);
        desc.collective = WEFT_REDUCE_SCATTER;
        desc.send = send;
        CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
        CHECK(count_others(recv, LEAVES, (size_t)me * count, count) == 0);
    }
    free(send);
    free(recv);
    return 0;
}

// An average divides by the leaves.
static int check_average(struct rank_process *process, const size_t *bounds)
{
    int me = process->rank;
    weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT];
    size_t num_parts = weft_leaf_parts(bounds[me], bounds[me + 1], LEAVES, parts);
    int64_t send[WEFT_LEAF_PARTS_LIMIT], result = 0;
    for (size_t p = 0; p < num_parts; p++)
        send[p] = (int64_t)(7 * (parts[p].end - parts[p].begin));
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = WEFT_ALL_REDUCE,
                               .dtype = WEFT_INT64,
                               .op = WEFT_AVG,
                               .order = WEFT_ORDER_REPRODUCIBLE,
                               .send = send,
                               .recv = &result,
                               .count = 1,
                               .num_leaves = LEAVES,
                               .leaf_bounds = bounds};
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(result == 7);
    return 0;
}

// One leaf per rank, without bounds: small ones go through flat slots where ranks share memory.
static int check_ranks(struct rank_process *process, size_t count)
{
    size_t n = (size_t)process->num_ranks, me = (size_t)process->rank, total = count * n;
    float *send = malloc(total * sizeof *send), *recv = malloc(total * sizeof *recv);
    weft_op_desc desc = {.struct_bytes = sizeof desc,
                         .collective = WEFT_ALL_REDUCE,
                         .dtype = WEFT_FLOAT32,
                         .op = WEFT_SUM,
                         .order = WEFT_ORDER_REPRODUCIBLE,
                         .send = send,
                         .recv = recv,
                         .count = count};
    for (size_t e = 0; e < total; e++)
        send[e] = leaf_value(me, e);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(count_others(recv, n, 0, count) == 0);
    desc.collective = WEFT_REDUCE_SCATTER;
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(count_others(recv, n, me * count, count) == 0);
    desc.collective = WEFT_REDUCE;
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(me != 0 || count_others(recv, n, 0, count) == 0);
    memcpy(recv, send, count * sizeof *recv);
    desc.collective = WEFT_ALL_REDUCE;
    desc.send = recv;
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    CHECK(count_others(recv, n, 0, count) == 0);
    free(send);
    free(recv);
    return 0;
}

static int body(struct rank_process *process)
{
    static const char *const algorithms[] = {NULL, "direct", "tree", "flat"};
    uint64_t random = 77; // the same on all ranks
    CHECK(process->create_status == WEFT_OK);
    for (int kind = 0; kind < 5; kind++) {
        uint32_t narrow[PROCESSES_MAX + 1];
        size_t bounds[PROCESSES_MAX + 1];
        leaf_spans(process->num_ranks, LEAVES, kind, &random, narrow);
        for (int r = 0; r <= process->num_ranks; r++)
            bounds[r] = narrow[r];
        for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++)
            if (check_partition(process, bounds, algorithms[a], kind == 4 ? 3 : COUNT))
                return 1;
        if (check_average(process, bounds))
            return 1;
    }
    if (check_ranks(process, 1) || check_ranks(process, 3) || check_ranks(process, 700) ||
        check_ranks(process, 5000))
        return 1;
    return 0;
}

static void run_with(const char *transports)
{
    setenv("WEFT_TRANSPORTS", transports, 1);
    for (int n = 1; n <= 9; n++) {
        int codes[PROCESSES_MAX];
        run_ranks(n, timeout_ns, 60, body, NULL, codes);
        assert_all_zero(codes, n, transports);
    }
}

static void test_shared_memory(void **state)
{
    (void)state;
    run_with("shm");
}

static void test_tcp(void **state)
{
    (void)state;
    run_with("tcp");
}

// The control: the ring, free, does not give the tree's bits of one leaf per rank.
static int free_body(struct rank_process *process)
{
    float *data = malloc(2 * COUNT * sizeof *data);
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = WEFT_ALL_REDUCE,
                               .dtype = WEFT_FLOAT32,
                               .op = WEFT_SUM,
                               .send = data,
                               .recv = data + COUNT,
                               .count = COUNT,
                               .algorithm = "ring"};
    int others = 0;
    CHECK(process->create_status == WEFT_OK);
    for (size_t e = 0; e < COUNT; e++)
        data[e] = leaf_value((size_t)process->rank, e);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    for (size_t e = 0; e < COUNT; e++) {
        float wanted = leaf_tree(0, (size_t)process->num_ranks, e);
        others += memcmp(&wanted, &data[COUNT + e], sizeof wanted) != 0;
    }
    CHECK(others > 0);
    free(data);
    return 0;
}

static void test_a_free_order_gives_other_bits(void **state)
{
    (void)state;
    int codes[PROCESSES_MAX];
    setenv("WEFT_TRANSPORTS", "shm", 1);
    run_ranks(5, timeout_ns, 60, free_body, NULL, codes);
    assert_all_zero(codes, 5, "free");
}

// Rank 1 has other spans, another number of leaves, or another order in mind.
static int mismatch_body(struct rank_process *process)
{
    int which = *(int *)process->argument, odd = process->rank == 1;
    float data[8] = {0}, result[2] = {0};
    size_t bounds[4] = {0, 2, 4, 6};
    weft_op_desc desc = {.struct_bytes = sizeof desc,
                         .collective = WEFT_ALL_REDUCE,
                         .dtype = WEFT_FLOAT32,
                         .op = WEFT_SUM,
                         .order = WEFT_ORDER_REPRODUCIBLE,
                         .send = data,
                         .recv = result,
                         .count = 1,
                         .num_leaves = 6,
                         .leaf_bounds = bounds};
    CHECK(process->create_status == WEFT_OK);
    if (odd && which == 0)
        bounds[1] = 1;
    if (odd && which == 1)
        bounds[3] = 7, desc.num_leaves = 7;
    if (odd && which == 2)
        desc.num_leaves = 0, desc.leaf_bounds = NULL;
    if (odd && which == 3)
        desc.num_leaves = 0, desc.leaf_bounds = NULL, desc.order = WEFT_ORDER_FREE;
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_MISMATCH);
    return 0;
}

static void test_disagreement_is_found(void **state)
{
    (void)state;
    setenv("WEFT_TRANSPORTS", "shm", 1);
    for (int which = 0; which < 4; which++) {
        int codes[PROCESSES_MAX];
        run_ranks(3, timeout_ns, 60, mismatch_body, &which, codes);
        assert_all_zero(codes, 3, "mismatch");
    }
}

static int argument_body(struct rank_process *process)
{
    float data[16] = {0}, result[2] = {0};
    size_t bounds[2] = {0, 6}, falling[2] = {1, 6}, past[2] = {0, 9};
    const weft_op_desc good = {.struct_bytes = sizeof good,
                               .collective = WEFT_ALL_REDUCE,
                               .dtype = WEFT_FLOAT32,
                               .op = WEFT_SUM,
                               .order = WEFT_ORDER_REPRODUCIBLE,
                               .send = data,
                               .recv = result,
                               .count = 1,
                               .num_leaves = 6,
                               .leaf_bounds = bounds};
    weft_op_desc bad = good;
    CHECK(process->create_status == WEFT_OK);
    CHECK(weft_submit(process->comm, &good, NULL) == WEFT_OK);
    bad.order = WEFT_ORDER_FREE;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.collective = WEFT_ALL_GATHER;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.leaf_bounds = NULL;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.num_leaves = 0;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.num_leaves = (size_t)WEFT_LEAVES_LIMIT + 1;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.leaf_bounds = falling;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    bad = good, bad.leaf_bounds = past;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_INVALID_ARGUMENT);
    // A struct from before leaves: what lies behind it is not read.
    bad = good, bad.struct_bytes = offsetof(weft_op_desc, num_leaves);
    bad.leaf_bounds = (const size_t *)8;
    data[0] = 5;
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_OK);
    CHECK(result[0] == 5);
    bad = good, bad.algorithm = "ring"; // this fails the communicator, so it comes last
    CHECK(weft_submit(process->comm, &bad, NULL) == WEFT_UNSUPPORTED);
    CHECK(strstr(weft_comm_error_text(process->comm), "not as a tree") != NULL);
    return 0;
}

// In place with two parts.
static int in_place_body(struct rank_process *process)
{
    float data[8] = {0};
    size_t bounds[3] = {0, 3, 6}; // [0, 2) [2, 3) and [3, 4) [4, 6)
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = WEFT_ALL_REDUCE,
                               .dtype = WEFT_FLOAT32,
                               .op = WEFT_SUM,
                               .order = WEFT_ORDER_REPRODUCIBLE,
                               .send = data,
                               .recv = data,
                               .count = 2,
                               .num_leaves = 6,
                               .leaf_bounds = bounds};
    CHECK(process->create_status == WEFT_OK);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_INVALID_ARGUMENT);
    CHECK(strstr(weft_comm_error_text(process->comm), "in place") != NULL);
    return 0;
}

static void test_arguments(void **state)
{
    (void)state;
    int codes[PROCESSES_MAX];
    setenv("WEFT_TRANSPORTS", "shm", 1);
    run_ranks(1, timeout_ns, 60, argument_body, NULL, codes);
    assert_all_zero(codes, 1, "arguments");
    run_ranks(2, timeout_ns, 60, in_place_body, NULL, codes);
    assert_all_zero(codes, 2, "in place");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_a_free_order_gives_other_bits),
        cmocka_unit_test(test_disagreement_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
