/*
 * SPDX-License-Identifier: Apache-2.0
 * hierarchical on random layouts: groups within groups, of unequal sizes, ranks scattered. Every
 * program is proved by the check and the oracle and computes the collective, in and out of place.
 */
#include "base/dtype.h"
#include "tests/planner/random_layouts.h"
#include "tests/planner/requests.h"
#include "tests/planner/try_program.h"

enum { NUM_LAYOUTS = 210 }; // of more than one group

static void test_random_layouts(void **state)
{
    (void)state;
    const struct weft_algorithm *hierarchical = weft_algorithm_find("hierarchical");
    static const int classes[] = {-1, 3, 14, 22, 30};
    static const unsigned aliasings[] = {WEFT_OUT_OF_PLACE, WEFT_IN_PLACE, mixed_aliasing,
                                         WEFT_OUT_OF_PLACE | WEFT_IN_PLACE};
    uint64_t random = 11, num_steps = 0;
    int num_requests = 0, num_layouts = 0;
    for (int turn = 0; num_layouts < NUM_LAYOUTS; turn++) {
        int n = 1 + turn % RANDOM_RANKS_LIMIT;
        struct weft_layout *layout = random_layout(&random, n);
        num_layouts += layout->costs.num_levels > 1;
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
            struct weft_key key = {.collective = (weft_collective)c,
                                   .num_ranks = n,
                                   .element_bytes = 4,
                                   .size_class = classes[(turn + c) % 5]};
            if (n > 8 && key.size_class > 14) // many chunks: many steps for the oracle
                key.size_class = n > 20 ? 14 : 18;
            if (weft_collective_is_rooted(key.collective))
                key.root = (int)(next_random(&random) % (unsigned)n);
            if (hierarchical->supports(&key, layout))
                continue;
            num_requests++;
            num_steps += try_program(hierarchical, &key, layout, aliasings[(turn / 5 + c) % 4],
                                     next_random(&random));
        }
        weft_layout_destroy(&layout);
    }
    print_message("%d layouts, %d requests, %llu steps\n", num_layouts, num_requests,
                  (unsigned long long)num_steps);
    assert_true(num_requests >= NUM_LAYOUTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
