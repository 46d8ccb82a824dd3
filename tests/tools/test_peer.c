/*
 * SPDX-License-Identifier: Apache-2.0
 * The check that all clients of tools/compare share: outputs put together by hand pass, one wrong
 * element is counted, and a client whose library does nothing ends with 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/peers/peer.h"

enum { MAX_RANKS = 5, BYTES = 1280 };

static struct peer_case cases[MAX_RANKS];
static float buffers[2][MAX_RANKS][BYTES / sizeof(float)];

// What the collective moves, element by element, for all ranks.
static void do_by_hand(enum peer_collective collective, int num_ranks)
{
    const struct peer_case *c = cases;
    size_t count = c->count;
    for (int rank = 0; rank < num_ranks; rank++) {
        for (size_t i = 0; i < c[rank].recv_elements; i++) {
            float *to = &c[rank].recv[i];
            size_t own = (size_t)rank * count;
            if (collective == PEER_BROADCAST)
                *to = c[0].recv[i];
            else if (collective == PEER_ALL_GATHER)
                *to = c[i / count].send[i % count];
            else if (collective == PEER_ALL_TO_ALL)
                *to = c[i / count].send[own + i % count];
            else
                *to = 0;
            if (collective != PEER_ALL_REDUCE && collective != PEER_REDUCE_SCATTER)
                continue;
            for (int from = 0; from < num_ranks; from++)
                *to += c[from].send[(collective == PEER_REDUCE_SCATTER ? own : 0) + i];
        }
    }
}

static void outputs_are_checked(void **state)
{
    (void)state;
    for (int collective = 0; collective < PEER_NUM_COLLECTIVES; collective++)
        for (int ranks = 2; ranks <= MAX_RANKS; ranks++) {
            for (int rank = 0; rank < ranks; rank++) {
                cases[rank] = (struct peer_case){.collective = (enum peer_collective)collective,
                                                 .rank = rank,
                                                 .num_ranks = ranks,
                                                 .send = buffers[0][rank],
                                                 .recv = buffers[1][rank]};
                peer_set_size(&cases[rank], BYTES);
                assert_true(cases[rank].count > 0 && cases[rank].recv_elements <= BYTES / 4);
                peer_fill(&cases[rank]);
                if (collective != PEER_BROADCAST || rank > 0)
                    assert_true(peer_count_wrong(&cases[rank]) > 0);
            }
            do_by_hand((enum peer_collective)collective, ranks);
            for (int rank = 0; rank < ranks; rank++) {
                assert_int_equal(peer_count_wrong(&cases[rank]), 0);
                cases[rank].recv[cases[rank].recv_elements - 1] += 1;
                assert_int_equal(peer_count_wrong(&cases[rank]), 1);
            }
        }
}

/* ---- a library of one rank ---- */

static int num_calls;

static void prepare_nothing(struct peer_case *c)
{
    (void)c;
}

static void copy(const struct peer_case *c)
{
    num_calls++;
    memcpy(c->recv, c->send, c->count * sizeof(float));
}

static void do_nothing(const struct peer_case *c)
{
    (void)c;
}

static void wait_for_nobody(void)
{
}

static double own_term(double mine)
{
    return mine;
}

static void sweep_ends_as_it_should(void **state)
{
    (void)state;
    const struct peer right = {prepare_nothing, copy, wait_for_nobody, own_term, own_term};
    const struct peer idle = {prepare_nothing, do_nothing, wait_for_nobody, own_term, own_term};
    char collective[] = "all_reduce", unknown[] = "all_sum";
    char least[] = "64", most[] = "1024", factor[] = "4", iterations[] = "7", warmups[] = "2";
    char *arguments[] = {collective, least, most, factor, iterations, warmups};
    assert_int_equal(peer_sweep(&right, 0, 1, arguments), 0);
    assert_int_equal(num_calls, 3 * (1 + 2 + 7 + 7)); // sizes: checked, warmed up, timed twice
    assert_int_equal(peer_sweep(&idle, 0, 1, arguments), 1);
    arguments[0] = unknown;
    assert_int_equal(peer_sweep(&right, 0, 1, arguments), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_checked),
        cmocka_unit_test(sweep_ends_as_it_should),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
