/*
 * SPDX-License-Identifier: Apache-2.0
 * The canonical order over spans of leaves: on every partition of the same leaves among 1 to 9
 * ranks, every algorithm that takes the request proves its programs, before the check and the
 * oracle, and over loopback gives the bits that the definition of the tree gives. And the same data
 * in an order that is not canonical give other bits, so the comparison can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/executor/run.h"
#include "collectives/planner/choice.h"
#include "collectives/program/oracle.h"
#include "tests/planner/layouts.h"
#include "tests/planner/leaves.h"

enum { MAX_RANKS = 9, COUNT = 37, MAX_ROUNDS = 2000000 };

struct rig {
    struct weft_device *devices[MAX_RANKS];
    struct weft_connection *connections[MAX_RANKS][MAX_RANKS];
};

static void no_unexpected(void *user, struct weft_connection *connection,
                          const struct weft_message_key *key, uint64_t call, uint64_t plan,
                          uint64_t bytes)
{
    (void)user, (void)connection, (void)key, (void)call, (void)plan, (void)bytes;
}

static void no_failure(void *user, struct weft_connection *connection, const char *reason)
{
    (void)user, (void)connection;
    fail_msg("connection failed: %s", reason);
}

static void open_rig(struct rig *rig, uint64_t seed)
{
    unsigned char addresses[MAX_RANKS][WEFT_ADDRESS_BYTES];
    const struct weft_transport *transport = &weft_loopback_transport;
    struct weft_error error;
    for (int r = 0; r < MAX_RANKS; r++) {
        struct weft_device_options options = {
            .process_id = {(unsigned char)(r + 1)},
            .listen_address = "127.0.0.1",
            .eager_bytes = 64,
            .events = {.unexpected = no_unexpected, .failed = no_failure}};
        assert_int_equal(transport->open(&options, &rig->devices[r], &error), WEFT_OK);
        transport->address(rig->devices[r], addresses[r]);
        weft_loopback_seed(rig->devices[r], seed);
    }
    for (int a = 0; a < MAX_RANKS; a++)
        for (int b = 0; b < MAX_RANKS; b++) {
            const unsigned char id[WEFT_PROCESS_ID_BYTES] = {(unsigned char)(b + 1)};
            if (a != b)
                assert_int_equal(transport->connect(rig->devices[a], addresses[b], id, 7, NULL,
                                                    &rig->connections[a][b], &error),
                                 WEFT_OK);
        }
}

static void close_rig(struct rig *rig)
{
    for (int a = 0; a < MAX_RANKS; a++)
        for (int b = 0; b < MAX_RANKS; b++)
            weft_loopback_transport.disconnect(&rig->connections[a][b]);
    for (int r = 0; r < MAX_RANKS; r++)
        weft_loopback_transport.close(&rig->devices[r]);
}

struct rank_state {
    float *send, *recv;
    struct weft_plan *plan;
    struct weft_run *run;
    weft_status status;
};

static void on_done(void *argument, weft_status status)
{
    ((struct rank_state *)argument)->status = status;
}

static void require_ok(weft_status status, const struct weft_algorithm *algorithm,
                       const struct weft_key *key, const struct weft_error *error)
{
    char bounds[200] = "";
    size_t used = 0;
    if (status == WEFT_OK)
        return;
    for (int r = 0; key->num_leaves && r <= key->num_ranks && used < sizeof bounds; r++)
        used += (size_t)snprintf(bounds + used, sizeof bounds - used, " %u", key->leaf_bounds[r]);
    fail_msg("%s %s of %d ranks, root %d, spans%s: %s", algorithm->name,
             weft_collective_names[key->collective], key->num_ranks, key->root, bounds,
             error->text);
}

// One part after another, each COUNT elements for every block.
static void fill(const struct weft_shape *shape, float *send)
{
    size_t elements = weft_shape_blocks(shape) * (size_t)COUNT;
    for (uint32_t part = 0; part < weft_shape_parts(shape); part++) {
        uint32_t first, count;
        weft_shape_part(shape, part, &first, &count);
        for (size_t e = 0; e < elements; e++)
            send[part * elements + e] = leaf_tree(first, count, e);
    }
}

static void make_ready(const struct weft_algorithm *algorithm, const struct weft_key *key,
                       const struct weft_layout *layout, struct rank_state *states)
{
    const struct weft_program *programs[MAX_RANKS];
    struct weft_plan *plans[MAX_RANKS];
    struct weft_error error;
    for (int r = 0; r < key->num_ranks; r++) {
        struct weft_program *program = NULL;
        const uint32_t *span = key->leaf_bounds ? key->leaf_bounds + r : NULL;
        size_t parts = span ? weft_leaf_parts(span[0], span[1], key->num_leaves, NULL) : 1;
        unsigned aliasing = WEFT_OUT_OF_PLACE | (parts > 1 ? 0u : (unsigned)WEFT_IN_PLACE);
        require_ok(algorithm->emit(key, layout, r, aliasing, &program, &error), algorithm, key,
                   &error);
        require_ok(weft_plan_create(&program, &plans[r], &error), algorithm, key, &error);
        programs[r] = weft_plan_program(plans[r]);
        states[r].plan = plans[r];
        states[r].send = calloc((parts + 1) * COUNT * MAX_RANKS, sizeof(float));
        states[r].recv = calloc((size_t)COUNT, sizeof(float));
        fill(&programs[r]->shape, states[r].send);
        require_ok(weft_run_create(plans[r], &states[r].run, &error), algorithm, key, &error);
    }
    require_ok(weft_plans_agree(plans, key->num_ranks, &error), algorithm, key, &error);
    require_ok(weft_oracle_verify(programs, key->num_ranks, &error), algorithm, key, &error);
}

static void run(struct rig *rig, const struct weft_key *key, struct rank_state *states)
{
    static uint32_t sequence;
    int left = key->num_ranks;
    sequence++;
    for (int r = 0; r < key->num_ranks; r++) {
        const struct weft_launch launch = {
            .send = states[r].send,
            .recv = states[r].recv,
            .sizes = {.count = COUNT},
            .element_bytes = 4,
            .reduce = weft_reduce_lookup(WEFT_FLOAT32, WEFT_SUM),
            .key = {.comm = 1, .sequence = sequence},
            .peers = rig->connections[r],
            .done = on_done,
            .argument = &states[r],
        };
        struct weft_error error;
        states[r].status = WEFT_IN_PROGRESS;
        assert_int_equal(weft_run_launch(states[r].run, &launch, &error), WEFT_OK);
    }
    for (int round = 0; left > 0; round++) {
        assert_true(round < MAX_ROUNDS);
        left = 0;
        for (int r = 0; r < key->num_ranks; r++) {
            weft_loopback_transport.progress(rig->devices[r]);
            left += states[r].status == WEFT_IN_PROGRESS;
        }
    }
}

// Elements of all outputs whose bits are not those of the canonical tree over `num_leaves`.
static int count_others(const struct weft_key *key, uint32_t num_leaves, struct rank_state *states)
{
    int others = 0;
    for (int r = 0; r < key->num_ranks; r++) {
        size_t begin = key->collective == WEFT_REDUCE_SCATTER ? (size_t)r * COUNT : 0;
        bool has_output = key->collective != WEFT_REDUCE || key->root == r;
        assert_int_equal(states[r].status, WEFT_OK);
        for (size_t e = 0; has_output && e < COUNT; e++) {
            float wanted = leaf_tree(0, num_leaves, begin + e);
            others += memcmp(&wanted, &states[r].recv[e], 4) != 0;
        }
    }
    return others;
}

static int try_algorithm(struct rig *rig, const struct weft_algorithm *algorithm,
                         const struct weft_key *key, const struct weft_layout *layout)
{
    struct rank_state states[MAX_RANKS] = {0};
    make_ready(algorithm, key, layout, states);
    run(rig, key, states);
    int others =
        count_others(key, key->num_leaves ? key->num_leaves : (uint32_t)key->num_ranks, states);
    for (int r = 0; r < key->num_ranks; r++) {
        weft_run_destroy(&states[r].run);
        weft_plan_destroy(&states[r].plan);
        free(states[r].send);
        free(states[r].recv);
    }
    return others;
}

static const weft_collective reductions[] = {WEFT_ALL_REDUCE, WEFT_REDUCE, WEFT_REDUCE_SCATTER};

static int try_all(struct rig *rig, struct weft_key key, const struct weft_layout *layout)
{
    int num_tried = 0;
    for (int c = 0; c < 3; c++)
        for (int i = 0; weft_algorithms[i]; i++) {
            key.collective = reductions[c];
            for (key.root = 0; key.root < (c == 1 ? key.num_ranks : 1); key.root++) {
                if (weft_algorithm_refusal(weft_algorithms[i], &key, layout))
                    continue;
                int others = try_algorithm(rig, weft_algorithms[i], &key, layout);
                if (others)
                    fail_msg("%s %s of %u leaves on %d ranks: %d other elements",
                             weft_algorithms[i]->name, weft_collective_names[key.collective],
                             key.num_leaves, key.num_ranks, others);
                num_tried++;
            }
        }
    return num_tried;
}

static void test_every_partition_gives_the_bits_of_the_tree(void **state)
{
    (void)state;
    static const uint32_t leaves[] = {1, 2, 3, 5, 8, 11, 16, 23, 40};
    uint64_t random = 2024;
    int num_tried = 0;
    struct rig rig = {0};
    open_rig(&rig, 5);
    for (size_t l = 0; l < sizeof leaves / sizeof *leaves; l++)
        for (int n = 1; n <= MAX_RANKS; n++)
            for (int kind = 0; kind < 4; kind++) {
                uint32_t bounds[MAX_RANKS + 1];
                struct weft_layout *layout = make_test_layout(n, kind + n);
                leaf_spans(n, leaves[l], kind, &random, bounds);
                const struct weft_key key = {.num_ranks = n,
                                             .element_bytes = 4,
                                             .size_class = kind == 3 ? 20 : 7,
                                             .order = WEFT_ORDER_REPRODUCIBLE,
                                             .num_leaves = leaves[l],
                                             .leaf_bounds = bounds};
                num_tried += try_all(&rig, key, layout);
                weft_layout_destroy(&layout);
            }
    for (int n = 1; n <= MAX_RANKS; n++) { // and one leaf per rank, without spans
        struct weft_layout *layout = make_test_layout(n, n);
        const struct weft_key key = {
            .num_ranks = n, .element_bytes = 4, .size_class = 7, .order = WEFT_ORDER_REPRODUCIBLE};
        num_tried += try_all(&rig, key, layout);
        weft_layout_destroy(&layout);
    }
    close_rig(&rig);
    print_message("%d runs\n", num_tried);
    assert_true(num_tried > 3000);
}

// The control: what may not claim the order does not keep it.
static void test_a_free_order_gives_other_bits(void **state)
{
    (void)state;
    struct rig rig = {0};
    struct weft_layout *layout = make_test_layout(8, 0);
    struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                           .num_ranks = 8,
                           .element_bytes = 4,
                           .size_class = 20,
                           .order = WEFT_ORDER_REPRODUCIBLE};
    const struct weft_algorithm *ring = weft_algorithm_find("ring");
    open_rig(&rig, 6);
    assert_non_null(weft_algorithm_refusal(ring, &key, layout));
    key.order = WEFT_ORDER_FREE;
    assert_null(weft_algorithm_refusal(ring, &key, layout));
    int others = try_algorithm(&rig, ring, &key, layout);
    print_message("ring, free: %d of %d elements differ\n", others, 8 * COUNT);
    assert_true(others > 0);
    close_rig(&rig);
    weft_layout_destroy(&layout);
}

// A program that is right in everything but the order is refused by the check and by the oracle.
static void test_a_program_in_another_order_is_refused(void **state)
{
    (void)state;
    const struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 8, .element_bytes = 4, .size_class = 20};
    struct weft_layout *layout = make_test_layout(8, 0);
    struct weft_program *programs[8] = {NULL};
    struct weft_plan *plan = NULL;
    struct weft_error error;
    for (int r = 0; r < 8; r++) {
        assert_int_equal(weft_algorithm_find("ring")->emit(&key, layout, r, WEFT_OUT_OF_PLACE,
                                                           &programs[r], &error),
                         WEFT_OK);
        weft_shape_set_leaves(&programs[r]->shape, 0, NULL);
    }
    const struct weft_program *readable[8];
    memcpy(readable, programs, sizeof readable);
    assert_int_equal(weft_oracle_verify(readable, 8, &error), WEFT_UNPROVED);
    assert_non_null(strstr(error.text, "canonical"));
    assert_int_equal(weft_plan_create(&programs[3], &plan, &error), WEFT_UNPROVED);
    assert_non_null(strstr(error.text, "canonical"));
    for (int r = 0; r < 8; r++)
        weft_program_destroy(&programs[r]);
    weft_layout_destroy(&layout);
}

// Against the tree itself: parts are nodes, tile the span, and no two are the children of a node.
static void walk_nodes(size_t first, size_t end, size_t lo, size_t hi, weft_leaf_part *parts,
                       size_t *count)
{
    size_t left = 1;
    if (first >= lo && end <= hi) {
        parts[(*count)++] = (weft_leaf_part){first, end};
        return;
    }
    if (end <= lo || first >= hi)
        return;
    while (2 * left < end - first)
        left *= 2;
    walk_nodes(first, first + left, lo, hi, parts, count);
    walk_nodes(first + left, end, lo, hi, parts, count);
}

static void test_parts_are_the_largest_nodes(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++)
        for (size_t lo = 0; lo < n; lo++)
            for (size_t hi = lo + 1; hi <= n; hi++) {
                weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT], wanted[WEFT_LEAF_PARTS_LIMIT];
                size_t count = 0, found = weft_leaf_parts(lo, hi, n, parts);
                walk_nodes(0, n, lo, hi, wanted, &count);
                assert_int_equal(found, count);
                assert_memory_equal(parts, wanted, count * sizeof *parts);
                assert_int_equal(weft_leaf_parts(lo, hi, n, NULL), count);
            }
    assert_int_equal(weft_leaf_parts(3, 3, 8, NULL), 0);
    assert_int_equal(weft_leaf_parts(3, 9, 8, NULL), 0);
    assert_int_equal(weft_leaf_parts(5, 3, 8, NULL), 0);
    assert_int_equal(weft_leaf_parts(0, 1, (size_t)WEFT_LEAVES_LIMIT + 1, NULL), 0);
    assert_true(weft_leaf_parts(1, WEFT_LEAVES_LIMIT - 1, WEFT_LEAVES_LIMIT, NULL) <=
                WEFT_LEAF_PARTS_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_the_largest_nodes),
        cmocka_unit_test(test_every_partition_gives_the_bits_of_the_tree),
        cmocka_unit_test(test_a_free_order_gives_other_bits),
        cmocka_unit_test(test_a_program_in_another_order_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
