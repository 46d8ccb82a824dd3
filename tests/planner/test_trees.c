/*
 * SPDX-License-Identifier: Apache-2.0
 * Double trees, Bruck, parallel aggregated trees, pairwise and relayed exchange on random layouts:
 * 1 to 33 ranks in groups of uneven size, within groups, scattered in any order. Every rank's
 * program is proved, lanes agree, the oracle agrees, and data comes out right. And what makes each
 * of them what it is: rounds, far messages, what is under way at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/algorithm.h"
#include "collectives/planner/costs.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "tests/planner/simulate.h"

enum { most_ranks = 33 };

static const char *const names[] = {"double_tree", "bruck", "pat", "pairwise", "relay"};
enum { num_names = sizeof names / sizeof *names };

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

// Every third layout has groups of one size, as far as the number of ranks allows.
static struct weft_layout *random_layout(int num_ranks, uint64_t *seed)
{
    int names_of[2][most_ranks], order[most_ranks];
    const int *group_of[] = {names_of[0], names_of[1]};
    bool is_even = next_random(seed) % 3 == 0;
    int size = 1 + (int)(next_random(seed) % 9), outer = 1 + (int)(next_random(seed) % 3);
    for (int i = 0; i < num_ranks; i++)
        order[i] = i;
    for (int i = num_ranks - 1; i > 0; i--) {
        int other = (int)(next_random(seed) % (uint32_t)(i + 1)), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (int i = 0, group = 0, left = size; i < num_ranks; i++) {
        names_of[0][order[i]] = group;
        names_of[1][order[i]] = group / outer;
        if (--left == 0) {
            group++;
            left = is_even ? size : 1 + (int)(next_random(seed) % 9);
        }
    }
    struct weft_costs costs = weft_costs_assumed(num_ranks, 0);
    for (costs.num_levels = 1; costs.num_levels < 3; costs.num_levels++)
        costs.levels[costs.num_levels] = costs.levels[0];
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    if (weft_layout_create(num_ranks, &costs, group_of, &layout, &error) != WEFT_OK)
        fail_msg("layout: %s", error.text);
    return layout;
}

static void require(weft_status status, const struct weft_error *error, const char *name,
                    const struct weft_key *key, const char *what)
{
    if (status != WEFT_OK)
        fail_msg("%s %s of %d ranks, root %d, size class %d: %s: %s", name,
                 weft_collective_names[key->collective], key->num_ranks, key->root, key->size_class,
                 what, error->text);
}

static void emit_all(const struct weft_algorithm *algorithm, const struct weft_key *key,
                     const struct weft_layout *layout, unsigned aliasing,
                     struct weft_program **programs)
{
    struct weft_error error = {0};
    for (int r = 0; r < key->num_ranks; r++)
        require(algorithm->emit(key, layout, r, aliasing, &programs[r], &error), &error,
                algorithm->name, key, "emit");
}

// The programs are gone afterwards.
static void verify(const char *name, const struct weft_key *key, enum weft_aliasing way,
                   struct weft_program **programs)
{
    struct weft_error error = {0};
    struct weft_plan *plans[most_ranks] = {0};
    enum weft_aliasing aliasing[most_ranks];
    for (int r = 0; r < key->num_ranks; r++)
        aliasing[r] = way;
    require(
        weft_oracle_verify((const struct weft_program *const *)programs, key->num_ranks, &error),
        &error, name, key, "oracle");
    const char *problem = simulate(programs, aliasing, key->num_ranks, 97, 5);
    if (problem)
        fail_msg("%s %s of %d ranks: %s", name, weft_collective_names[key->collective],
                 key->num_ranks, problem);
    for (int r = 0; r < key->num_ranks; r++)
        require(weft_plan_create(&programs[r], &plans[r], &error), &error, name, key, "check");
    require(weft_plans_agree(plans, key->num_ranks, &error), &error, name, key, "lanes");
    for (int r = 0; r < key->num_ranks; r++)
        weft_plan_destroy(&plans[r]);
}

static void test_random_layouts(void **state)
{
    (void)state;
    enum { NUM_LAYOUTS = (WEFT_RUNS_SLOWLY ? 2 : 8) * most_ranks };
    const int classes[] = {-1, 12, 18, 21};
    uint64_t seed = 4;
    long num_verified[num_names] = {0};
    for (int turn = 0; turn < NUM_LAYOUTS; turn++) {
        int num_ranks = 1 + turn % most_ranks;
        struct weft_layout *layout = random_layout(num_ranks, &seed);
        for (int a = 0; a < num_names; a++)
            for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
                const struct weft_algorithm *algorithm = weft_algorithm_find(names[a]);
                struct weft_key key = {.collective = (weft_collective)c,
                                       .num_ranks = num_ranks,
                                       .element_bytes = 4,
                                       .size_class = classes[next_random(&seed) % 4]};
                if (weft_collective_is_rooted(key.collective))
                    key.root = (int)(next_random(&seed) % (uint32_t)num_ranks);
                if (algorithm->supports(&key, layout))
                    continue;
                struct weft_program *programs[most_ranks] = {0};
                enum weft_aliasing way = turn / most_ranks % 2 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
                assert_true(algorithm->estimate(&key, layout) > 0);
                emit_all(algorithm, &key, layout, way, programs);
                verify(names[a], &key, way, programs);
                num_verified[a]++;
            }
        weft_layout_destroy(&layout);
    }
    for (int a = 0; a < num_names; a++) {
        print_message("%s: %ld requests\n", names[a], num_verified[a]);
        assert_true(num_verified[a] >= NUM_LAYOUTS * 3 / 4);
    }
}

struct counted {
    int num_rounds;   // highest stamp of a lane, plus one
    long far_cells;   // sent to another group of level 0, by all ranks
    int most_far;     // by one rank
    int far_messages; // by all
    uint32_t scratch; // most of a rank
};

static struct counted count(const char *name, const struct weft_key *key,
                            const struct weft_layout *layout)
{
    struct counted counted = {0};
    struct weft_program *programs[most_ranks] = {0};
    emit_all(weft_algorithm_find(name), key, layout, WEFT_OUT_OF_PLACE, programs);
    for (int r = 0; r < key->num_ranks; r++) {
        int far = 0;
        for (uint32_t s = 0; s < programs[r]->num_steps; s++) {
            const struct weft_step *step = &programs[r]->steps[s];
            for (int d = 0; d < step->num_destinations; d++) {
                const struct weft_ref *ref = weft_step_destination(programs[r], step, d);
                if (ref->space != WEFT_LANE)
                    continue;
                if ((int)ref->stamp >= counted.num_rounds)
                    counted.num_rounds = (int)ref->stamp + 1;
                if (weft_layout_level(layout, r, (int)ref->index)) {
                    far += (int)step->num_cells;
                    counted.far_messages++;
                }
            }
        }
        counted.far_cells += far;
        counted.most_far = far > counted.most_far ? far : counted.most_far;
        if (programs[r]->num_scratch > counted.scratch)
            counted.scratch = programs[r]->num_scratch;
        weft_program_destroy(&programs[r]);
    }
    return counted;
}

static void test_logarithmic_rounds(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    assert_int_equal(weft_layout_assumed(21, 1, 1, &layout, NULL), WEFT_OK);
    struct weft_key key = {
        .collective = WEFT_ALL_GATHER, .num_ranks = 21, .element_bytes = 4, .size_class = 10};
    assert_int_equal(count("bruck", &key, layout).num_rounds, 5);
    assert_int_equal(count("pat", &key, layout).num_rounds, 5);
    key.collective = WEFT_ALL_TO_ALL;
    assert_int_equal(count("bruck", &key, layout).num_rounds, 5);
    assert_int_equal(count("pairwise", &key, layout).num_rounds, 20);
    key.collective = WEFT_REDUCE_SCATTER;
    assert_int_equal(count("pat", &key, layout).num_rounds, 5);
    weft_layout_destroy(&layout);
}

// Four hosts of eight: each block goes to each other host once, and all ranks send alike.
static void test_far_is_sent_once(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    assert_int_equal(weft_layout_assumed(32, 8, 1, &layout, NULL), WEFT_OK);
    struct weft_key key = {
        .collective = WEFT_ALL_GATHER, .num_ranks = 32, .element_bytes = 4, .size_class = 10};
    struct counted gathered = count("pat", &key, layout);
    assert_int_equal(gathered.far_cells, 32 * 3);
    assert_int_equal(gathered.most_far, 3);
    assert_int_equal(gathered.num_rounds, 5);
    key.size_class = 24; // large blocks need no scratch
    assert_int_equal(count("pat", &key, layout).scratch, 0);
    key.collective = WEFT_REDUCE_SCATTER;
    key.size_class = 10;
    assert_int_equal(count("pat", &key, layout).far_cells, 32 * 3);
    weft_layout_destroy(&layout);
}

// Each tree of an all-reduce crosses three edges of four hosts, up and down; all members of a host
// send, none more than its share of the inner groups.
static void test_double_tree_uses_all_members(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    assert_int_equal(weft_layout_assumed(32, 8, 1, &layout, NULL), WEFT_OK);
    struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 32, .element_bytes = 4, .size_class = 20};
    struct counted counted = count("double_tree", &key, layout);
    assert_int_equal(counted.far_cells, 16 * 3 * 2); // sixteen trees of a piece each
    assert_true(counted.most_far <= 4);
    key.size_class = 10;
    counted = count("double_tree", &key, layout);
    assert_int_equal(counted.far_cells, 2 * 3 * 2);
    assert_true(counted.most_far <= 3); // another member for each of the two trees
    weft_layout_destroy(&layout);
}

// The k-th send of a pairwise exchange waits for the receive two rounds before.
static void test_pairwise_is_paced(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    struct weft_program *program = NULL;
    assert_int_equal(weft_layout_assumed(16, 4, 1, &layout, NULL), WEFT_OK);
    struct weft_key key = {
        .collective = WEFT_ALL_TO_ALL_V, .num_ranks = 16, .element_bytes = 4, .size_class = 20};
    assert_int_equal(
        weft_algorithm_find("pairwise")->emit(&key, layout, 5, WEFT_OUT_OF_PLACE, &program, NULL),
        WEFT_OK);
    assert_int_equal(program->num_steps, 1 + 2 * 15);
    int num_far_in_a_row = 0;
    for (uint32_t s = 1; s < program->num_steps; s += 2) {
        const struct weft_step *step = &program->steps[s];
        if (s >= 5) {
            assert_int_equal(step->num_dependencies, 2);
            assert_int_equal(program->dependencies[step->first_dependency], s - 4);
            assert_int_equal(program->dependencies[step->first_dependency + 1], s - 3);
        }
        const struct weft_ref *to = weft_step_destination(program, step, 0);
        num_far_in_a_row = weft_layout_level(layout, 5, (int)to->index) ? num_far_in_a_row + 1 : 0;
        assert_true(num_far_in_a_row <= 5);
    }
    weft_program_destroy(&program);
    weft_layout_destroy(&layout);
}

// Four hosts of eight: 24 blocks of each rank leave the host, in three messages of a rank; and 13
// ranks in groups of five, five and three: a message for each rank outside of a group.
static void test_relay_collects(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    assert_int_equal(weft_layout_assumed(32, 8, 1, &layout, NULL), WEFT_OK);
    const struct weft_algorithm *relay = weft_algorithm_find("relay");
    struct weft_key key = {
        .collective = WEFT_ALL_TO_ALL, .num_ranks = 32, .element_bytes = 4, .size_class = 10};
    struct counted counted = count("relay", &key, layout);
    assert_int_equal(counted.far_cells, 32 * 24);
    assert_int_equal(counted.most_far, 24);
    assert_int_equal(counted.far_messages, 32 * 3);
    assert_int_equal(counted.num_rounds, 2);
    key.collective = WEFT_ALL_TO_ALL_V;
    assert_non_null(strstr(relay->supports(&key, layout), "do not know their sizes"));
    weft_layout_destroy(&layout);

    assert_int_equal(weft_layout_assumed(13, 5, 1, &layout, NULL), WEFT_OK);
    key.collective = WEFT_ALL_TO_ALL;
    key.num_ranks = 13;
    counted = count("relay", &key, layout);
    assert_int_equal(counted.far_cells, 2 * 5 * 8 + 3 * 10);
    assert_int_equal(counted.far_messages, 8 + 8 + 10);
    weft_layout_destroy(&layout);

    assert_int_equal(weft_layout_assumed(13, 1, 1, &layout, NULL), WEFT_OK);
    assert_non_null(strstr(relay->supports(&key, layout), "in one group"));
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_layouts),
        cmocka_unit_test(test_logarithmic_rounds),
        cmocka_unit_test(test_far_is_sent_once),
        cmocka_unit_test(test_double_tree_uses_all_members),
        cmocka_unit_test(test_pairwise_is_paced),
        cmocka_unit_test(test_relay_collects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
