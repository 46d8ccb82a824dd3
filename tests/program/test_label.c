/*
 * SPDX-License-Identifier: Apache-2.0
 * Labels and trees: folds against folding one by one, fingerprints of random expressions against
 * the expressions themselves, shapes against what each collective means.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "collectives/program/label.h"
#include "collectives/program/shape.h"
#include "collectives/program/trees.h"

enum { MOST_RANKS = 17, EXPRESSIONS = 4000 };

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    *state = weft_hash_mix(*state, 3);
    return (uint32_t)((*state >> 32) * bound >> 32);
}

static void folds_equal_folding(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int n = 1; n <= MOST_RANKS; n++) {
        int order[MOST_RANKS];
        for (int i = 0; i < n; i++)
            order[i] = i;
        for (int i = n - 1; i > 0; i--) {
            int j = (int)random_below(&random, (uint32_t)i + 1), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        for (int natural = 0; natural < 2; natural++) {
            struct weft_folds *folds = weft_folds_create(n, natural ? NULL : order);
            assert_non_null(folds);
            for (int first = -n; first < 2 * n; first++) {
                struct weft_label label = {0};
                for (int count = 1; count <= n; count++) {
                    int place = ((first + count - 1) % n + n) % n;
                    struct weft_label leaf = weft_label_leaf(natural ? place : order[place], 5);
                    label = count == 1 ? leaf : weft_label_combine(label, leaf);
                    assert_true(weft_label_equal(weft_folds_label(folds, first, count, 5), label));
                }
                assert_true(label.sum == weft_label_sum_all(n));
            }
            weft_folds_destroy(&folds);
            assert_null(folds);
        }
    }
}

// A random tree over `num_ranks` leaves with `leaves` of them, repetitions allowed.
static uint32_t random_tree(struct weft_trees *trees, uint64_t *random, uint32_t leaves,
                            uint32_t num_ranks)
{
    if (leaves == 1)
        return weft_trees_leaf(trees, (int)random_below(random, num_ranks), 0);
    uint32_t left = 1 + random_below(random, leaves - 1);
    uint32_t a = random_tree(trees, random, left, num_ranks);
    uint32_t b = random_tree(trees, random, leaves - left, num_ranks);
    return random_below(random, 2) ? weft_trees_pair(trees, a, b) : weft_trees_pair(trees, b, a);
}

// The label of a tree, computed without the tree's own bookkeeping.
static struct weft_label rebuild(const uint32_t *shape, uint32_t *at)
{
    uint32_t word = shape[(*at)++];
    if (word != UINT32_MAX)
        return weft_label_leaf((int)word, 0);
    struct weft_label a = rebuild(shape, at), b = rebuild(shape, at);
    return weft_label_combine(a, b);
}

static void labels_differ_exactly_as_trees(void **state)
{
    (void)state;
    struct weft_trees *trees = weft_trees_create(3);
    uint32_t *list = malloc(EXPRESSIONS * sizeof *list);
    uint64_t random = 2;
    long equal = 0;
    assert_true(trees && list);
    for (int i = 0; i < EXPRESSIONS; i++)
        list[i] = random_tree(trees, &random, 1 + random_below(&random, 7), 3);
    for (int i = 0; i < EXPRESSIONS; i++)
        for (int j = i + 1; j < EXPRESSIONS; j++) {
            struct weft_label a = weft_trees_label(trees, list[i]);
            struct weft_label b = weft_trees_label(trees, list[j]);
            assert_int_equal(list[i] == list[j], a.expression == b.expression);
            equal += list[i] == list[j];
        }
    assert_true(equal > 1000);
    // ((0 1) (2 0)) and its mirror, but not (((0 1) 2) 0).
    uint32_t x = UINT32_MAX, at = 0;
    const uint32_t one[] = {x, x, 0, 1, x, 2, 0}, mirrored[] = {x, x, 0, 2, x, 1, 0};
    const uint32_t regrouped[] = {x, x, x, 0, 1, 2, 0};
    struct weft_label first = rebuild(one, &at);
    at = 0;
    assert_true(weft_label_equal(first, rebuild(mirrored, &at)));
    at = 0;
    struct weft_label other = rebuild(regrouped, &at);
    assert_true(first.sum == other.sum && first.expression != other.expression);
    free(list);
    weft_trees_destroy(&trees);
}

static void trees_know_their_leaves(void **state)
{
    (void)state;
    struct weft_trees *trees = weft_trees_create(4);
    uint32_t leaf[4], cell;
    for (int rank = 0; rank < 4; rank++)
        leaf[rank] = weft_trees_leaf(trees, rank, 7);
    uint32_t pair = weft_trees_pair(trees, leaf[0], leaf[1]);
    uint32_t full = weft_trees_pair(trees, weft_trees_pair(trees, leaf[3], leaf[2]), pair);
    uint32_t doubled = weft_trees_pair(trees, pair, pair);
    assert_int_equal(weft_trees_pair(trees, leaf[1], leaf[0]), pair);
    assert_true(weft_trees_holds(trees, full, WEFT_ALL_RANKS));
    assert_true(weft_trees_holds(trees, full, WEFT_ALL_RANKS));
    assert_false(weft_trees_holds(trees, pair, WEFT_ALL_RANKS));
    assert_false(weft_trees_holds(trees, doubled, WEFT_ALL_RANKS));
    assert_false(weft_trees_holds(trees, 0, WEFT_ALL_RANKS));
    assert_true(weft_trees_holds(trees, leaf[2], 2));
    assert_false(weft_trees_holds(trees, leaf[2], 1));
    assert_false(weft_trees_holds(trees, pair, 0));
    assert_true(weft_trees_is_of_one_cell(trees, full, &cell) && cell == 7);
    uint32_t mixed = weft_trees_pair(trees, pair, weft_trees_leaf(trees, 2, 8));
    assert_false(weft_trees_is_of_one_cell(trees, mixed, &cell));
    // 2^40 leaves: must be answered without a walk.
    for (int i = 0; i < 40; i++)
        doubled = weft_trees_pair(trees, doubled, doubled);
    assert_false(weft_trees_holds(trees, doubled, WEFT_ALL_RANKS));
    for (int i = 0; i < 5000; i++) // more than the first table holds
        assert_int_not_equal(weft_trees_leaf(trees, 0, 100 + (uint32_t)i), 0);
    assert_int_equal(weft_trees_leaf(trees, 2, 7), leaf[2]);
    weft_trees_destroy(&trees);
}

// Every wanted contribution exists, and is as large as the place it goes to.
static void goals_can_be_met(void **state)
{
    (void)state;
    for (int c = 0; c < WEFT_RECV + 1; c++)
        for (int n = 1; n <= 5; n++)
            for (int rank = 0; rank < n; rank++) {
                struct weft_shape shape = {
                    .collective = (weft_collective)c, .num_ranks = n, .rank = rank, .pieces = 3};
                struct weft_window output = weft_shape_output(&shape);
                assert_int_equal(weft_shape_check(&shape, NULL), WEFT_OK);
                for (uint32_t o = output.first; o < output.first + output.cells; o++) {
                    struct weft_goal goal = weft_shape_goal(&shape, o);
                    struct weft_shape source = shape;
                    source.rank = goal.rank == WEFT_ALL_RANKS ? 0 : goal.rank;
                    if (shape.collective == WEFT_RECV)
                        source.collective = WEFT_SEND;
                    struct weft_window input = weft_shape_input(&source);
                    assert_true(goal.cell >= input.first && goal.cell - input.first < input.cells);
                    assert_int_equal(weft_shape_extent(&source, WEFT_INPUT, goal.cell),
                                     weft_shape_extent(&shape, WEFT_OUTPUT, o));
                    assert_int_equal(goal.rank == WEFT_ALL_RANKS,
                                     weft_collective_reduces(shape.collective));
                }
            }
}

static void bad_shapes_are_refused(void **state)
{
    (void)state;
    const struct weft_shape good = {.collective = WEFT_ALL_GATHER, .num_ranks = 4, .pieces = 1};
    struct weft_shape shapes[8] = {good, good, good, good, good, good, good, good};
    shapes[1].collective = (weft_collective)99;
    shapes[2].num_ranks = 0;
    shapes[3].rank = 4;
    shapes[4].rank = -1;
    shapes[5].root = 4;
    shapes[6].pieces = 0;
    shapes[7].pieces = WEFT_CELLS_LIMIT / 4 + 1;
    for (int i = 0; i < 8; i++)
        assert_int_equal(weft_shape_check(&shapes[i], NULL), i ? WEFT_INVALID_ARGUMENT : WEFT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_equal_folding),     cmocka_unit_test(labels_differ_exactly_as_trees),
        cmocka_unit_test(trees_know_their_leaves), cmocka_unit_test(goals_can_be_met),
        cmocka_unit_test(bad_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
