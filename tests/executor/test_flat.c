/*
 * SPDX-License-Identifier: Apache-2.0
 * The flat path among many ranks, all of them in one process and polled in random order: results of
 * operations in a row, calls that do not match, who is missing; what it does as recorded programs,
 * proved, and the cache lines that these read and write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/executor/flat.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "kernels/reduce.h"

enum { MOST = WEFT_FLAT_RANKS_LIMIT, DATA_BYTES = 2048, LARGE = 300 };

struct rig {
    int num_ranks;
    char *memory;
    struct weft_flat flats[MOST];
    struct weft_flat_call calls[MOST];
    float send[MOST][LARGE], recv[MOST][LARGE];
    uint32_t sequence;
    uint64_t random;
};

static unsigned next_random(struct rig *rig)
{
    rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(rig->random >> 33);
}

static struct rig *rig_open(int num_ranks, int group)
{
    struct rig *rig = calloc(1, sizeof *rig);
    size_t bytes = weft_flat_area_bytes(DATA_BYTES);
    assert_non_null(rig);
    rig->num_ranks = num_ranks;
    rig->random = (uint64_t)num_ranks;
    rig->memory = aligned_alloc(128, (size_t)num_ranks * bytes);
    assert_non_null(rig->memory);
    memset(rig->memory, 0, (size_t)num_ranks * bytes);
    for (int r = 0; r < num_ranks; r++) {
        struct weft_flat *flat = &rig->flats[r];
        flat->rank = r;
        flat->num_ranks = num_ranks;
        flat->group = group;
        flat->data_bytes = DATA_BYTES;
        for (int peer = 0; peer < num_ranks; peer++)
            flat->areas[peer] = rig->memory + (size_t)peer * bytes;
    }
    return rig;
}

static void rig_close(struct rig *rig)
{
    free(rig->memory);
    free(rig);
}

static void prepare(struct rig *rig, weft_collective collective, int root, size_t count,
                    bool is_canonical)
{
    rig->sequence++;
    for (int r = 0; r < rig->num_ranks; r++) {
        for (size_t i = 0; i < LARGE; i++) {
            rig->send[r][i] = (float)(int)(next_random(rig) % 2000 - 1000) / 7.0f;
            rig->recv[r][i] = -1;
        }
        rig->calls[r] = (struct weft_flat_call){
            .collective = collective,
            .root = root,
            .send = rig->send[r],
            .recv = rig->recv[r],
            .bytes = count * sizeof(float),
            .element_bytes = sizeof(float),
            .reduce = weft_reduce_lookup(WEFT_FLOAT32, WEFT_SUM),
            .reduce_all = weft_reduce_all_lookup(WEFT_FLOAT32, WEFT_SUM),
            .is_canonical = is_canonical,
            .call = rig->sequence * UINT64_C(0x9e3779b97f4a7c15),
            .sequence = rig->sequence,
        };
    }
}

// One operation after another, each rank as fast as the others let it; nobody waits between them.
static void finish(struct rig *rig)
{
    bool is_done[MOST] = {false};
    int peer, left = rig->num_ranks;
    uint64_t theirs;
    for (int tries = 0; left > 0; tries++) {
        assert_true(tries < 1 << 20);
        int r = (int)(next_random(rig) % (unsigned)rig->num_ranks);
        if (is_done[r])
            continue;
        weft_status status = weft_flat_progress(&rig->flats[r], &rig->calls[r], &peer, &theirs);
        assert_true(status == WEFT_OK || status == WEFT_IN_PROGRESS);
        is_done[r] = status == WEFT_OK;
        left -= is_done[r];
    }
}

static float tree_sum(struct rig *rig, int first, int count, size_t i)
{
    int left = 1;
    if (count == 1)
        return rig->send[first][i];
    while (left * 2 < count)
        left *= 2;
    return tree_sum(rig, first, left, i) + tree_sum(rig, first + left, count - left, i);
}

// In groups, without an order asked for: folds of groups, folded.
static float group_sum(struct rig *rig, int group, size_t i)
{
    float sum = 0;
    for (int first = 0; first < rig->num_ranks; first += group) {
        float partial = rig->send[first][i];
        for (int r = first + 1; r < first + group && r < rig->num_ranks; r++)
            partial += rig->send[r][i];
        sum = first ? sum + partial : partial;
    }
    return sum;
}

static void check_results(struct rig *rig, const struct weft_flat_call *call, int group)
{
    for (int r = 0; r < rig->num_ranks; r++)
        for (size_t i = 0; i < LARGE; i++) {
            float expected = -1;
            if (i >= call->bytes / sizeof(float) ||
                (call->collective == WEFT_REDUCE && r != call->root))
                expected = -1;
            else if (call->collective == WEFT_BROADCAST)
                expected = rig->send[call->root][i];
            else
                expected = call->is_canonical ? tree_sum(rig, 0, rig->num_ranks, i)
                                              : group_sum(rig, group, i);
            assert_memory_equal(&rig->recv[r][i], &expected, sizeof expected);
        }
}

static void test_results(void **state)
{
    (void)state;
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_REDUCE, WEFT_BROADCAST,
                                                  WEFT_BARRIER};
    static const int sizes[] = {2, 5, 16, 17, 29, 33, 64};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int group = 2; group <= 64; group *= 2) {
            struct rig *rig = rig_open(sizes[s], group);
            for (int round = 0; round < 24; round++) {
                weft_collective collective = collectives[next_random(rig) % 4];
                size_t count = round % 3 ? round % 3 : LARGE;
                int root = (int)(next_random(rig) % (unsigned)sizes[s]);
                prepare(rig, collective, root, collective == WEFT_BARRIER ? 0 : count, round & 1);
                finish(rig);
                check_results(rig, &rig->calls[0], group);
            }
            rig_close(rig);
        }
}

// Fast ranks run ahead into the next operations, with and without groups, as far as they may: what
// slow ones still read stays.
static void test_running_ahead(void **state)
{
    (void)state;
    enum { NUM_OPERATIONS = 600, NUM_RANKS = 24, GROUP = 4 };
    struct rig *rig = rig_open(NUM_RANKS, GROUP);
    uint32_t done[NUM_RANKS] = {0};
    uint64_t theirs;
    int peer;
    prepare(rig, WEFT_ALL_REDUCE, 0, 1, false);
    for (int left = NUM_RANKS, tries = 0; left > 0; tries++) {
        assert_true(tries < 1 << 24);
        int slow = (int)(done[0] / 8 % NUM_RANKS);
        int r = (int)(next_random(rig) % NUM_RANKS);
        if (done[r] == NUM_OPERATIONS || (r == slow && next_random(rig) % 50))
            continue;
        struct weft_flat_call *call = &rig->calls[r];
        bool is_gather = done[r] % 5 == 4;
        float mine = (float)(done[r] + (uint32_t)r), all[NUM_RANKS];
        call->collective = is_gather ? WEFT_ALL_GATHER : WEFT_ALL_REDUCE;
        call->send = &mine;
        call->recv = all;
        call->call = done[r] + 1;
        if (weft_flat_progress(&rig->flats[r], call, &peer, &theirs) != WEFT_OK)
            continue;
        for (int i = 0; is_gather && i < NUM_RANKS; i++)
            assert_true(all[i] == (float)(done[r] + (uint32_t)i));
        if (!is_gather)
            assert_true(all[0] == (float)(done[r] * NUM_RANKS + NUM_RANKS * (NUM_RANKS - 1) / 2));
        left -= ++done[r] == NUM_OPERATIONS;
    }
    rig_close(rig);
}

static void test_missing_and_mismatch(void **state)
{
    (void)state;
    enum { NUM_RANKS = 64, ODD = 43 };
    struct rig *rig = rig_open(NUM_RANKS, 8);
    int peer = -1, num_told = 0;
    uint64_t theirs = 0;
    prepare(rig, WEFT_ALL_REDUCE, 0, 2, false);
    for (int i = 0; i < 10 * NUM_RANKS; i++)
        if (i % NUM_RANKS != ODD)
            assert_int_equal(weft_flat_progress(&rig->flats[i % NUM_RANKS],
                                                &rig->calls[i % NUM_RANKS], &peer, &theirs),
                             WEFT_IN_PROGRESS);
    for (int r = 0; r < NUM_RANKS; r++)
        assert_int_equal(weft_flat_missing(&rig->flats[r]), r == ODD ? -1 : ODD);
    // It comes, with another call: its leader is told, and all see it that look.
    rig->calls[ODD].call++;
    assert_int_equal(weft_flat_progress(&rig->flats[ODD], &rig->calls[ODD], &peer, &theirs),
                     WEFT_IN_PROGRESS);
    for (int r = 0; r < NUM_RANKS; r++) {
        if (r == ODD)
            continue;
        assert_true(weft_flat_peek(&rig->flats[r], ODD, rig->sequence, &theirs));
        assert_int_equal(theirs, rig->calls[ODD].call);
        if (weft_flat_progress(&rig->flats[r], &rig->calls[r], &peer, &theirs) == WEFT_MISMATCH) {
            assert_int_equal(peer, ODD);
            assert_int_equal(theirs, rig->calls[ODD].call);
            num_told++;
        }
    }
    assert_int_equal(num_told, 1);
    rig_close(rig);
}

/* ---- recorded programs ---- */

struct lines {
    int reads, writes; // of all ranks
    int in_a_row;      // reads, one after another, until the last rank has its result
};

static void count_rank(const struct weft_program *program, struct lines *lines, int reads[3])
{
    bool is_level_written[3] = {false};
    for (uint32_t i = 0; i < program->num_steps; i++) {
        const struct weft_step *step = &program->steps[i];
        const struct weft_ref *ref = weft_step_source(program, step, 0);
        if (ref->space == WEFT_LANE) {
            assert_true(ref->stamp < 3);
            reads[ref->stamp]++;
            lines->reads++;
        }
        ref = weft_step_destination(program, step, 0);
        if (ref->space == WEFT_LANE && !is_level_written[ref->stamp]) {
            is_level_written[ref->stamp] = true;
            lines->writes++;
        }
    }
}

static struct lines prove(weft_collective collective, int n, int root, int group, bool is_canonical)
{
    struct weft_plan *plans[MOST] = {NULL};
    const struct weft_program *programs[MOST];
    struct lines lines = {0};
    struct weft_error error;
    int most[3] = {0};
    for (int r = 0; r < n; r++) {
        struct weft_program *program = NULL;
        struct weft_shape shape = {
            .collective = collective, .num_ranks = n, .rank = r, .root = root, .pieces = 1};
        if (is_canonical)
            weft_shape_set_leaves(&shape, 0, NULL);
        if (weft_flat_trace(&shape, group, &program, &error) != WEFT_OK ||
            weft_plan_create(&program, &plans[r], &error) != WEFT_OK)
            fail_msg("%s of %d in groups of %d: %s", weft_collective_names[collective], n, group,
                     error.text);
        programs[r] = weft_plan_program(plans[r]);
        int reads[3] = {0};
        count_rank(programs[r], &lines, reads);
        for (int level = 0; level < 3; level++)
            most[level] = reads[level] > most[level] ? reads[level] : most[level];
    }
    if (weft_plans_agree(plans, n, &error) != WEFT_OK ||
        weft_oracle_verify(programs, n, &error) != WEFT_OK)
        fail_msg("%s of %d in groups of %d: %s", weft_collective_names[collective], n, group,
                 error.text);
    for (int r = 0; r < n; r++)
        weft_plan_destroy(&plans[r]);
    lines.in_a_row = most[0] + most[1] + most[2];
    return lines;
}

static void test_proofs(void **state)
{
    (void)state;
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_REDUCE, WEFT_BROADCAST,
                                                  WEFT_BARRIER, WEFT_ALL_GATHER};
    for (int n = 2; n <= 13; n++)
        for (int group = 1; group <= 8; group *= 2)
            for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++)
                for (int root = 0; root < (weft_collective_is_rooted(collectives[c]) ? n : 1);
                     root++) {
                    prove(collectives[c], n, root, group, false);
                    if (weft_collective_reduces(collectives[c]))
                        prove(collectives[c], n, root, group, true);
                }
}

// A message of up to 40 bytes is one line with its flag.
static void test_lines(void **state)
{
    (void)state;
    static const int sizes[] = {4, 8, 16, 17, 32, 48, 64};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s], group = weft_flat_group(n);
        struct lines one = prove(WEFT_ALL_REDUCE, n, 0, n, false);
        struct lines groups = prove(WEFT_ALL_REDUCE, n, 0, group, true);
        print_message("all_reduce of %d ranks: all read all: %d lines read, %d written, %d reads "
                      "in a row; in groups of %d: %d, %d, %d\n",
                      n, one.reads, one.writes, one.in_a_row, group, groups.reads, groups.writes,
                      groups.in_a_row);
        assert_int_equal(one.reads, n * (n - 1));
        assert_int_equal(one.in_a_row, n - 1);
        assert_true(n <= 16 ? group == n : groups.reads < one.reads / 4);
    }
    struct lines lines = prove(WEFT_ALL_REDUCE, 64, 0, weft_flat_group(64), false);
    assert_int_equal(lines.reads, 8 * 7 + 8 * 7 + 56);
    assert_int_equal(lines.writes, 56 + 8 + 8);
    assert_int_equal(lines.in_a_row, 7 + 7 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_running_ahead),
        cmocka_unit_test(test_missing_and_mismatch),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
