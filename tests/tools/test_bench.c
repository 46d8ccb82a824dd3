/*
 * SPDX-License-Identifier: Apache-2.0
 * The parts of `weft bench` that need no communicator: inputs and expected outputs against a plain
 * execution of each collective in memory, sizes as nccl-tests defines them, and the printed text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/dtype.h"
#include "collectives/program/shape.h"
#include "kernels/reduce.h"
#include "tools/bench_data.h"
#include "tools/bench_print.h"

enum { MAX_RANKS = 300, COUNT = 37 };

/* ---- data ---- */

static const weft_collective collectives[] = {
    WEFT_ALL_REDUCE, WEFT_ALL_GATHER, WEFT_REDUCE_SCATTER, WEFT_BROADCAST, WEFT_REDUCE,
    WEFT_ALL_TO_ALL, WEFT_GATHER,     WEFT_SCATTER,        WEFT_SEND,
};

struct world {
    struct weft_bench_case cases[MAX_RANKS];
    unsigned char *send[MAX_RANKS], *recv[MAX_RANKS];
    int num_ranks;
    size_t element;
};

static void make_world(struct world *world, weft_collective collective, weft_dtype dtype,
                       weft_op op, int num_ranks)
{
    world->num_ranks = num_ranks;
    world->element = weft_dtype_bytes(dtype);
    for (int rank = 0; rank < num_ranks; rank++) {
        world->cases[rank] = (struct weft_bench_case){.collective = collective,
                                                      .dtype = dtype,
                                                      .op = op,
                                                      .root = num_ranks / 2,
                                                      .rank = rank,
                                                      .num_ranks = num_ranks,
                                                      .count = COUNT,
                                                      .salt = 12345};
        size_t bytes = (size_t)num_ranks * COUNT * world->element;
        world->send[rank] = calloc(1, bytes);
        world->recv[rank] = calloc(1, bytes);
        assert_true(world->send[rank] && world->recv[rank]);
        weft_bench_fill(&world->cases[rank], world->send[rank]);
    }
}

static void free_world(struct world *world)
{
    for (int rank = 0; rank < world->num_ranks; rank++) {
        free(world->send[rank]);
        free(world->recv[rank]);
    }
}

// Reduces the ranks' `count` elements from element `first` on, in rank order or backwards.
static void reduce_all(struct world *world, void *output, size_t first, size_t count, int backwards)
{
    const struct weft_bench_case *c = &world->cases[0];
    weft_reduce_fn reduce = weft_reduce_lookup(c->dtype, c->op);
    int last = world->num_ranks - 1;
    memcpy(output, world->send[backwards ? last : 0] + first * world->element,
           count * world->element);
    for (int i = 1; i <= last; i++)
        reduce(output, output, world->send[backwards ? last - i : i] + first * world->element,
               count);
    if (c->op == WEFT_AVG)
        weft_scale_lookup(c->dtype)(output, count, world->num_ranks);
    if (weft_ops[c->op].is_logical && last == 0)
        weft_reduce_lookup(c->dtype, WEFT_LOGICAL_AND)(output, output, output, count);
}

// What comes before and after the plain reduction.
static void multiply_inputs(struct world *world)
{
    for (int rank = 0; rank < world->num_ranks; rank++) {
        const struct weft_bench_case *c = &world->cases[rank];
        char scalar[8];
        weft_bench_scalar(c, scalar);
        weft_multiply_lookup(c->dtype)(world->send[rank], world->send[rank], scalar,
                                       weft_bench_send_elements(c));
    }
}

static void run_plainly(struct world *world, int backwards)
{
    size_t block = COUNT * world->element;
    int n = world->num_ranks;
    for (int rank = 0; rank < n; rank++) {
        unsigned char *recv = world->recv[rank];
        switch (world->cases[0].collective) {
        case WEFT_ALL_REDUCE:
        case WEFT_REDUCE:
            reduce_all(world, recv, 0, COUNT, backwards);
            break;
        case WEFT_REDUCE_SCATTER:
            reduce_all(world, recv, (size_t)rank * COUNT, COUNT, backwards);
            break;
        case WEFT_BROADCAST:
            memcpy(recv, world->send[world->cases[0].root], block);
            break;
        case WEFT_SEND:
            memcpy(recv, world->send[(rank + n - 1) % n], block);
            break;
        case WEFT_ALL_GATHER:
        case WEFT_GATHER:
            for (int source = 0; source < n; source++)
                memcpy(recv + (size_t)source * block, world->send[source], block);
            break;
        case WEFT_SCATTER:
            memcpy(recv, world->send[world->cases[0].root] + (size_t)rank * block, block);
            break;
        case WEFT_ALL_TO_ALL:
            for (int source = 0; source < n; source++)
                memcpy(recv + (size_t)source * block, world->send[source] + (size_t)rank * block,
                       block);
            break;
        default:
            fail();
        }
    }
}

static void check_world(weft_collective collective, weft_dtype dtype, weft_op op, int num_ranks)
{
    struct world world;
    if (!weft_op_takes(op, dtype))
        return;
    make_world(&world, collective, dtype, op, num_ranks);
    if (weft_ops[op].multiplies && weft_collective_reduces(collective))
        multiply_inputs(&world);
    for (int backwards = 0; backwards < 2; backwards++) {
        run_plainly(&world, backwards);
        for (int rank = 0; rank < num_ranks; rank++) {
            struct weft_bench_case *c = &world.cases[rank];
            size_t wrong = weft_bench_count_wrong(c, world.recv[rank]);
            if (wrong)
                fail_msg("%s %s %s rank %d of %d: %zu wrong", weft_collective_names[collective],
                         weft_dtypes[dtype].name, weft_ops[op].name, rank, num_ranks, wrong);
            size_t elements = weft_bench_recv_elements(c);
            if (!elements)
                continue;
            world.recv[rank][(elements - 1) * world.element] ^= 1;
            world.recv[rank][0] ^= 0x80;
            assert_int_equal(weft_bench_count_wrong(c, world.recv[rank]), elements > 1 ? 2 : 1);
            world.recv[rank][(elements - 1) * world.element] ^= 1;
            world.recv[rank][0] ^= 0x80;
        }
    }
    free_world(&world);
}

static void expected_outputs_are_right(void **state)
{
    (void)state;
    static const int worlds[] = {1, 2, 3, 8};
    for (size_t k = 0; k < sizeof collectives / sizeof *collectives; k++)
        for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
            for (int op = 0; op < WEFT_NUM_OPS; op++)
                for (int w = 0; w < 4; w++)
                    check_world(collectives[k], (weft_dtype)dtype, (weft_op)op, worlds[w]);
}

static void sums_stay_exact_with_many_ranks(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
        for (int op = 0; op < WEFT_NUM_OPS; op++)
            check_world(WEFT_ALL_REDUCE, (weft_dtype)dtype, (weft_op)op, MAX_RANKS);
}

// A check that would take old or foreign data for the right ones is no check.
static void other_runs_are_told_apart(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof collectives / sizeof *collectives; k++) {
        struct world world;
        make_world(&world, collectives[k], WEFT_FLOAT32, WEFT_SUM, 4);
        run_plainly(&world, 0);
        struct weft_bench_case c = world.cases[2];
        c.salt++;
        assert_true(weft_bench_count_wrong(&c, world.recv[2]) > COUNT / 2);
        free_world(&world);
    }
}

/* ---- sizes ---- */

static void sizes_are_those_of_nccl_tests(void **state)
{
    (void)state;
    assert_int_equal(weft_bench_count_for_bytes(WEFT_ALL_REDUCE, 1000, 4, 4), 250);
    assert_int_equal(weft_bench_count_for_bytes(WEFT_ALL_GATHER, 1000, 4, 4), 60);
    assert_int_equal(weft_bench_count_for_bytes(WEFT_REDUCE_SCATTER, 1024, 2, 3), 168);
    assert_int_equal(weft_bench_count_for_bytes(WEFT_ALL_TO_ALL, 8, 4, 4), 0);
    assert_int_equal(weft_bench_total_bytes(WEFT_ALL_GATHER, 60, 4, 4), 960);
    assert_int_equal(weft_bench_total_bytes(WEFT_BROADCAST, 60, 4, 4), 240);
    assert_int_equal(weft_bench_count_for_bytes(WEFT_GATHER, 1000, 4, 4), 60);
    assert_int_equal(weft_bench_total_bytes(WEFT_SCATTER, 60, 4, 4), 960);
    assert_true(weft_bench_bus_factor(WEFT_GATHER, 4) == 0.75);
    assert_true(weft_bench_bus_factor(WEFT_SCATTER, 4) == 0.75);
    assert_true(weft_bench_bus_factor(WEFT_ALL_REDUCE, 4) == 1.5);
    assert_true(weft_bench_bus_factor(WEFT_ALL_TO_ALL, 4) == 0.75);
    assert_true(weft_bench_bus_factor(WEFT_REDUCE, 4) == 1);
}

/* ---- text ---- */

static const char *const rank_lines[] = {"Pid 12 on \"a\"", "Pid 13 on b"};
static const struct weft_bench_header header = {
    .version = "0.1.0",
    .collective = "all_reduce",
    .num_ranks = 2,
    .rank_lines = rank_lines,
    .min_bytes = 8,
    .max_bytes = 32,
    .step_factor = 4,
    .warmup_iterations = 5,
    .iterations = 20,
    .check_iterations = 1,
};
static const struct weft_bench_row rows[2] = {
    {.bytes = 8,
     .count = 2,
     .type = "float",
     .op = "sum",
     .root = -1,
     .timings = {{true, true, 12.345, 11, 30, 0.5, 0.75, 0}, {true, false, 234.56, 1, 2, 3, 4, 0}},
     .plan = "ring",
     .transport = "shm",
     .buffers = "mem"},
    {.bytes = 33554432,
     .count = 8388608,
     .type = "bfloat16",
     .op = "none",
     .root = 0,
     .timings = {{true, true, 12345.6, 1, 2, 12.34, 56.78, 3}, {.was_run = false}},
     .transport = "none",
     .buffers = "malloc"},
};

static char *print(const char *format)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    const struct weft_bench_printer *printer = weft_bench_printer_from_name(format);
    printer->begin(stream, &header);
    printer->row(stream, &rows[0], true);
    printer->row(stream, &rows[1], false);
    const struct weft_nic_counts nics[] = {
        {"mlx5_0:1", true, true, true, 2000000, 3000000, 20, 30, 4},
        {.name = "x:1", .has_bytes = true, .sent_bytes = 5},
    };
    const struct weft_bench_end end = {
        .average_bus_gbps = 1.5, .wrong = 3, .nics = nics, .num_nics = 2};
    printer->end(stream, &end);
    fclose(stream);
    return text;
}

static void table_is_that_of_nccl_tests(void **state)
{
    (void)state;
    char *text = print("nccl");
    const char *lines =
        "           8            2    float    sum     -1    12.35    0.50    0.75       0"
        "    234.6    3.00    4.00     N/A\n";
    assert_non_null(strstr(text, lines));
    assert_non_null(strstr(text, "    33554432      8388608 bfloat16   none      0    12346   12.34"
                                 "   56.78       3      N/A     N/A     N/A     N/A\n"));
    assert_non_null(strstr(text,
                           "# NIC mlx5_0:1 of rank 0's host: sent 2 MB, received 3 MB; 20 and "
                           "30 packets; 4 retransmissions\n"
                           "# NIC x:1 of rank 0's host: sent 5e-06 MB, received 0 MB; "
                           "retransmissions not told\n"));
    assert_non_null(strstr(text, "# Out of bounds values : 3 FAILED\n"));
    assert_non_null(strstr(text, "# Avg bus bandwidth    : 1.5\n"));
    assert_non_null(strstr(text, "buffers: mem; plan: ring over shm\n"));
    // Headers stand above their columns, and scripts see data only in lines without '#'.
    const char *title = strstr(text, "#       size"), *data = strstr(text, lines);
    assert_int_equal(strcspn(title, "\n"), strlen(lines) - 1);
    int data_lines = 0;
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        data_lines += *line != '#';
    assert_int_equal(data_lines, 2);
    assert_true(title < data);
    free(text);
}

static void json_is_json(void **state)
{
    (void)state;
    char *text = print("json");
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s in %s", error.text, text);
    json_t *results = json_object_get(json, "results");
    assert_int_equal(json_array_size(results), 2);
    json_t *nics = json_object_get(json, "nics"), *nic = json_array_get(nics, 0);
    assert_int_equal(json_array_size(nics), 2);
    assert_string_equal(json_string_value(json_object_get(nic, "port")), "mlx5_0:1");
    assert_int_equal(json_integer_value(json_object_get(nic, "retransmissions")), 4);
    assert_null(json_object_get(json_array_get(nics, 1), "retransmissions"));
    json_t *second = json_array_get(results, 1);
    assert_int_equal(json_integer_value(json_object_get(second, "bytes")), 33554432);
    assert_true(json_is_null(json_object_get(second, "in_place")));
    assert_true(json_is_null(json_object_get(second, "plan")));
    assert_string_equal(json_string_value(json_object_get(second, "buffers")), "malloc");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(second, "out_of_place"), "wrong")), 3);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "ranks"), 0)),
                        rank_lines[0]);
    json_decref(json);
    free(text);
}

static void csv_has_a_line_per_timing(void **state)
{
    (void)state;
    char *text = print("csv");
    assert_string_equal(
        text, "bytes,count,type,op,root,placement,time_us,p50_us,p99_us,algbw_gbps,busbw_gbps,wrong"
              ",buffers"
              "\n8,2,float,sum,-1,out_of_place,12.345,11.000,30.000,0.500000,0.750000,0,mem"
              "\n8,2,float,sum,-1,in_place,234.560,1.000,2.000,3.000000,4.000000,,mem"
              "\n33554432,8388608,bfloat16,none,0,out_of_place,12345.600,1.000,2.000,12.340000,"
              "56.780000,3,malloc\n");
    free(text);
    assert_null(weft_bench_printer_from_name("xml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expected_outputs_are_right),
        cmocka_unit_test(sums_stay_exact_with_many_ranks),
        cmocka_unit_test(other_runs_are_told_apart),
        cmocka_unit_test(sizes_are_those_of_nccl_tests),
        cmocka_unit_test(table_is_that_of_nccl_tests),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(csv_has_a_line_per_timing),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
