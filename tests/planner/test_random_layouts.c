/*
 * SPDX-License-Identifier: Apache-2.0
 * Every algorithm of the table on random layouts: what it says it supports is proved by the check
 * and the oracle and computes the collective, for 1 to 33 ranks, any groups and any order of ranks.
 * Algorithms that need a graph get one: ranks on a random fabric.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "tests/planner/random_layouts.h"
#include "tests/planner/requests.h"
#include "tests/planner/try_program.h"
#include "topology/forms.h"
#include "topology/network.h"

// Each number of ranks seven times, or twice.
enum { NUM_LAYOUTS = (WEFT_RUNS_SLOWLY ? 2 : 7) * RANDOM_RANKS_LIMIT, GRAPH_RANKS_LIMIT = 5 };

// A switch for each group and one for all; ranks have links of random speed.
static void add_graph(uint64_t *random, struct weft_layout *layout)
{
    char text[4096];
    int used = 0, groups = layout->levels[0].num_groups;
    for (int r = 0; r < layout->num_ranks; r++)
        used += snprintf(text + used, sizeof text - (size_t)used, "node r%d gpu\n", r);
    used += snprintf(text + used, sizeof text - (size_t)used, "node top switch\n");
    for (int g = 0; g < groups; g++)
        used +=
            snprintf(text + used, sizeof text - (size_t)used,
                     "node s%d switch\nlink s%d top %u both\n", g, g, 1 + next_random(random) % 2);
    for (int r = 0; r < layout->num_ranks; r++)
        used += snprintf(text + used, sizeof text - (size_t)used, "link r%d s%d %u both\n", r,
                         layout->levels[0].of_rank[r], 1 + next_random(random) % 2);
    struct weft_topology *topology = NULL;
    struct weft_error error = {0};
    const struct weft_network_options all = {0};
    if (weft_topology_import(&weft_importer_edges, text, (size_t)used, "random", &topology,
                             &error) != WEFT_OK ||
        weft_network_create(topology, &all, &layout->network, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    weft_topology_destroy(&topology);
}

static struct weft_key key_of(uint64_t *random, int num_ranks, int turn, int collective)
{
    static const int classes[] = {-1, 3, 14, 18};
    struct weft_key key = {.collective = (weft_collective)collective,
                           .num_ranks = num_ranks,
                           .element_bytes = 4,
                           .size_class = classes[(turn + collective) % (num_ranks > 8 ? 3 : 4)]};
    if (weft_collective_is_rooted(key.collective))
        key.root = (int)(next_random(random) % (unsigned)num_ranks);
    if (key.collective == WEFT_SEND)
        key.root = 1 + (int)(next_random(random) % (unsigned)(num_ranks - 1));
    if (weft_collective_reduces(key.collective) && turn % 3 == 0)
        key.order = WEFT_ORDER_REPRODUCIBLE;
    return key;
}

// All that the algorithms support on one layout; counts what each did.
static void try_layout(uint64_t *random, struct weft_layout *layout, int turn, int *num_requests)
{
    static const unsigned aliasings[] = {WEFT_OUT_OF_PLACE, WEFT_IN_PLACE, mixed_aliasing,
                                         WEFT_OUT_OF_PLACE | WEFT_IN_PLACE};
    int n = layout->num_ranks;
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
        bool is_exchange = c == WEFT_ALL_TO_ALL || c == WEFT_ALL_TO_ALL_V;
        if (c == WEFT_RECV || (c == WEFT_SEND && n < 2)) // receives are tested with sends
            continue;
        struct weft_key key = key_of(random, n, turn, c);
        for (int i = 0; weft_algorithms[i]; i++) {
            if (weft_algorithms[i]->supports(&key, layout))
                continue;
            try_program(weft_algorithms[i], &key, layout,
                        aliasings[(turn + c + i) % (is_exchange ? 3 : 4)], next_random(random));
            num_requests[i]++;
        }
    }
}

static void test_every_algorithm(void **state)
{
    (void)state;
    uint64_t random = 23;
    int num_requests[64] = {0};
    for (int turn = 0; turn < NUM_LAYOUTS; turn++) {
        int n = 1 + turn % RANDOM_RANKS_LIMIT;
        struct weft_layout *layout = random_layout(&random, n);
        if (n >= 2 && n <= GRAPH_RANKS_LIMIT)
            add_graph(&random, layout);
        try_layout(&random, layout, turn, num_requests);
        weft_layout_destroy(&layout);
    }
    for (int i = 0; weft_algorithms[i]; i++) {
        print_message("%d layouts, %s: %d requests\n", NUM_LAYOUTS, weft_algorithms[i]->name,
                      num_requests[i]);
        assert_true(num_requests[i] >= 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_algorithm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
