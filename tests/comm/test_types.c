/*
 * SPDX-License-Identifier: Apache-2.0
 * Pre-multiplied sums, logical and bitwise operations through the public API with real processes:
 * through slots, through shared memory and through plans, blocking, non-blocking and grouped, in
 * and out of place. What is asked: every contribution is multiplied once, by its own rank's scalar,
 * as it was at submission; inputs stay as they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/comm/processes.h"

static const int64_t timeout_ns = INT64_C(20000000000);
enum { MAX_COUNT = 300000 };

static int32_t value(int rank, size_t element)
{
    return (int32_t)(element * 31 + (size_t)rank * 17) % 97 - 20;
}

static int32_t factor(int rank)
{
    return 3 - 2 * rank;
}

static int32_t weighted_sum(int num_ranks, size_t element)
{
    int32_t sum = 0;
    for (int r = 0; r < num_ranks; r++)
        sum += factor(r) * value(r, element);
    return sum;
}

struct buffers {
    int32_t *send, *recv;
};

static weft_op_desc describe(const struct rank_process *process, weft_collective collective,
                             size_t count, const int32_t *scalar, struct buffers *m, bool in_place)
{
    int n = process->num_ranks;
    size_t blocks = collective == WEFT_REDUCE_SCATTER ? (size_t)n : 1;
    for (size_t e = 0; e < blocks * count; e++)
        m->send[e] = value(process->rank, e);
    memset(m->recv, 0x55, MAX_COUNT * sizeof *m->recv);
    weft_op_desc desc = {.struct_bytes = sizeof desc,
                         .collective = collective,
                         .dtype = WEFT_INT32,
                         .op = WEFT_PREMUL_SUM,
                         .root = n - 1,
                         .send = m->send,
                         .recv = m->recv,
                         .count = count,
                         .scalar = scalar};
    if (in_place)
        desc.recv = m->send + (blocks > 1 ? (size_t)process->rank * count : 0);
    return desc;
}

static int check_result(struct rank_process *process, const weft_op_desc *desc)
{
    int n = process->num_ranks, me = process->rank;
    const int32_t *send = desc->send, *recv = desc->recv;
    bool scatters = desc->collective == WEFT_REDUCE_SCATTER;
    bool has_result = desc->collective != WEFT_REDUCE || me == n - 1;
    size_t first = scatters ? (size_t)me * desc->count : 0;
    for (size_t e = 0; has_result && e < desc->count; e++)
        CHECK(recv[e] == weighted_sum(n, first + e));
    for (size_t e = 0; e < (scatters ? (size_t)n : 1) * desc->count; e++)
        if (&send[e] < recv || &send[e] >= recv + desc->count)
            CHECK(send[e] == value(me, e));
    return 0;
}

static int check_products(struct rank_process *process, struct buffers *m, size_t count)
{
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_REDUCE,
                                                  WEFT_REDUCE_SCATTER};
    int32_t scalar;
    for (int i = 0; i < 18; i++) {
        bool in_place = i / 3 % 2;
        scalar = factor(process->rank);
        weft_op_desc desc = describe(process, collectives[i % 3], count, &scalar, m, in_place);
        if (i / 6 == 0) {
            CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
        } else if (i / 6 == 1) {
            weft_request request;
            CHECK(weft_submit(process->comm, &desc, &request) == WEFT_OK);
            scalar = 1000; // it was copied
            CHECK(weft_wait(&request) == WEFT_OK);
        } else {
            CHECK(weft_group_begin(process->context) == WEFT_OK);
            CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
            scalar = 1000;
            CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
        }
        if (check_result(process, &desc))
            return 1;
    }
    // Other scalars and none, one after another: nothing of the last call is left.
    scalar = 2;
    weft_op_desc desc = describe(process, WEFT_ALL_REDUCE, count, &scalar, m, false);
    for (int i = 0; i < 4; i++) {
        scalar = 2 + i;
        desc.op = i == 3 ? WEFT_SUM : WEFT_PREMUL_SUM;
        CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
        int32_t plain = 0;
        for (int r = 0; r < process->num_ranks; r++)
            plain += value(r, 0);
        CHECK(m->recv[0] == plain * (i == 3 ? 1 : scalar));
    }
    return 0;
}

// Parts of a span of leaves are all multiplied; a mean of truths is none.
static int check_leaves(struct rank_process *process, struct buffers *m)
{
    enum { PARTS = 2, COUNT = 100 };
    int n = process->num_ranks;
    const int32_t scalar = factor(process->rank);
    size_t bounds[PROCESSES_MAX + 1];
    weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT];
    for (int r = 0; r <= n; r++)
        bounds[r] = 3 * (size_t)r; // [0, 3): leaves 0 1 and leaf 2; [3, 6): leaf 3 and leaves 4 5
    weft_op_desc desc = describe(process, WEFT_ALL_REDUCE, COUNT, &scalar, m, false);
    desc.order = WEFT_ORDER_REPRODUCIBLE;
    desc.num_leaves = bounds[n];
    desc.leaf_bounds = bounds;
    size_t num_parts =
        weft_leaf_parts(bounds[process->rank], bounds[process->rank + 1], bounds[n], parts);
    for (size_t e = 0; e < num_parts * COUNT; e++)
        m->send[e] = 1 + (int32_t)(e / COUNT);
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    int32_t expected = 0;
    for (int r = 0; r < n; r++) {
        int32_t p = (int32_t)weft_leaf_parts(bounds[r], bounds[r + 1], bounds[n], NULL);
        expected += factor(r) * p * (p + 1) / 2;
    }
    for (size_t e = 0; e < COUNT; e++)
        CHECK(m->recv[e] == expected);
    return 0;
}

static int check_bits(struct rank_process *process, struct buffers *m, size_t count)
{
    static const weft_op ops[] = {WEFT_LOGICAL_AND, WEFT_LOGICAL_OR, WEFT_LOGICAL_XOR,
                                  WEFT_BITWISE_AND, WEFT_BITWISE_OR, WEFT_BITWISE_XOR};
    uint16_t *send = (uint16_t *)m->send, *recv = (uint16_t *)m->recv;
    for (size_t e = 0; e < count; e++)
        send[e] = (uint16_t)(value(process->rank, e) % 3 * 7);
    for (int i = 0; i < 6; i++) {
        CHECK(weft_all_reduce(send, recv, count, WEFT_UINT16, ops[i], process->comm, NULL) ==
              WEFT_OK);
        for (size_t e = 0; e < count; e++) {
            uint16_t x = (uint16_t)(value(0, e) % 3 * 7);
            uint16_t bits[6] = {x != 0, x != 0, x != 0, x, x, x};
            for (int r = 1; r < process->num_ranks; r++) {
                uint16_t y = (uint16_t)(value(r, e) % 3 * 7);
                bits[0] &= y != 0, bits[1] |= y != 0, bits[2] ^= y != 0;
                bits[3] &= y, bits[4] |= y, bits[5] ^= y;
            }
            CHECK(recv[e] == bits[i]);
        }
    }
    // Collectives that reduce nothing look at no operation.
    weft_op_desc desc = {.struct_bytes = sizeof desc,
                         .collective = WEFT_BROADCAST,
                         .dtype = WEFT_FLOAT32,
                         .op = WEFT_BITWISE_AND,
                         .send = m->send,
                         .recv = m->recv,
                         .count = count};
    CHECK(weft_submit(process->comm, &desc, NULL) == WEFT_OK);
    return 0;
}

static int body(struct rank_process *process)
{
    struct buffers m = {malloc(MAX_COUNT * sizeof *m.send), malloc(MAX_COUNT * sizeof *m.recv)};
    CHECK(process->create_status == WEFT_OK && m.send && m.recv);
    static const size_t counts[] = {1, 37, 5000, 70001};
    for (int i = 0; i < 4; i++)
        if (check_products(process, &m, counts[i]) || check_bits(process, &m, counts[i]))
            return 1;
    if (check_leaves(process, &m))
        return 1;
    free(m.send);
    free(m.recv);
    return 0;
}

static void run_with(const char *transports, const char *algorithm, const char *flat)
{
    static const int rank_counts[] = {1, 2, 4};
    setenv("WEFT_TRANSPORTS", transports, 1);
    setenv("WEFT_ALGORITHM", algorithm, 1);
    setenv("WEFT_FLAT_BYTES", flat, 1);
    for (size_t i = 0; i < sizeof rank_counts / sizeof *rank_counts; i++) {
        int codes[PROCESSES_MAX];
        run_ranks(rank_counts[i], timeout_ns, 60, body, NULL, codes);
        assert_all_zero(codes, rank_counts[i], transports);
    }
}

static void test_shared_memory(void **state)
{
    (void)state;
    run_with("shm", "", "4K");
    run_with("shm", "direct", "0");
}

static void test_plans(void **state)
{
    (void)state;
    run_with("shm", "ring", "0");
    run_with("tcp", "", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests_name("comm types", tests, NULL, NULL);
}
