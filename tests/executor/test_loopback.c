/*
 * SPDX-License-Identifier: Apache-2.0
 * Every collective x algorithm x rank count over loopback: one thread polls all ranks under seeded
 * delivery orders, and every output equals the plain definition of the collective. Inputs are small
 * whole numbers, so sums and products are exact in every type and order. In place and out of place
 * are mixed over the ranks, as they may be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/executor/run.h"
#include "collectives/executor/shared.h"
#include "collectives/planner/algorithm.h"
#include "collectives/program/oracle.h"
#include "tests/planner/layouts.h"

// All ranks are one thread here: sanitizers see nothing that they do not see with few.
enum { MOST_RANKS = WEFT_RUNS_SLOWLY ? 9 : 17, MOST_RANKS_AGAIN = 3 };
enum { MAX_RANKS = 17, MAX_ROUNDS = 2000000, NUM_COUNTS = 5, NUM_ALIASINGS = 3 };
// All sizes of elements. To the executor, other types and operations are other kernels only.
enum { NUM_DTYPES = WEFT_UINT8 + 1, NUM_OPS = WEFT_MAX + 1 };

struct rig {
    int num_ranks;
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

static void open_rig(struct rig *rig, int num_ranks, uint64_t seed)
{
    unsigned char addresses[MAX_RANKS][WEFT_ADDRESS_BYTES];
    const struct weft_transport *transport = &weft_loopback_transport;
    struct weft_error error;
    memset(rig, 0, sizeof *rig);
    rig->num_ranks = num_ranks;
    for (int r = 0; r < num_ranks; r++) {
        struct weft_device_options options = {
            .process_id = {(unsigned char)(r + 1)},
            .listen_address = "127.0.0.1",
            .eager_bytes = 64,
            .events = {.unexpected = no_unexpected, .failed = no_failure}};
        assert_int_equal(transport->open(&options, &rig->devices[r], &error), WEFT_OK);
        transport->address(rig->devices[r], addresses[r]);
        weft_loopback_seed(rig->devices[r], seed);
    }
    for (int a = 0; a < num_ranks; a++)
        for (int b = 0; b < num_ranks; b++) {
            const unsigned char id[WEFT_PROCESS_ID_BYTES] = {(unsigned char)(b + 1)};
            if (a != b)
                assert_int_equal(transport->connect(rig->devices[a], addresses[b], id, 7, NULL,
                                                    &rig->connections[a][b], &error),
                                 WEFT_OK);
        }
}

static void close_rig(struct rig *rig)
{
    for (int a = 0; a < rig->num_ranks; a++)
        for (int b = 0; b < rig->num_ranks; b++)
            weft_loopback_transport.disconnect(&rig->connections[a][b]);
    for (int r = 0; r < rig->num_ranks; r++)
        weft_loopback_transport.close(&rig->devices[r]);
}

/* ---- values and plain definitions, in int64 ---- */

struct request {
    weft_collective collective;
    weft_dtype dtype;
    weft_op op;
    int num_ranks;
    int root;
    size_t count;
    size_t counts[MAX_RANKS];           // of the agreed vector forms
    size_t pairs[MAX_RANKS][MAX_RANKS]; // of all_to_all_v: from, to
};

static int64_t contribution(const struct request *request, int rank, size_t element)
{
    int64_t value = (int64_t)((element * 7 + (size_t)rank * 3) % 5) - 1;
    if (request->op == WEFT_PROD)
        value = (element + (size_t)rank) % 4 == 0 ? 2 : 1;
    if (request->dtype == WEFT_UINT8 && value < 0)
        value = 3;
    return value;
}

static int64_t reduced(const struct request *request, size_t element)
{
    int64_t value = contribution(request, 0, element);
    for (int r = 1; r < request->num_ranks; r++) {
        int64_t other = contribution(request, r, element);
        switch (request->op) {
        case WEFT_SUM:
        case WEFT_AVG:
            value += other;
            break;
        case WEFT_PROD:
            value *= other;
            break;
        case WEFT_MIN:
            value = other < value ? other : value;
            break;
        case WEFT_MAX:
            value = other > value ? other : value;
            break;
        default:
            fail_msg("no such operation here");
        }
    }
    return value;
}

static void store(weft_dtype dtype, void *buffer, size_t element, int64_t value)
{
    switch (dtype) {
    case WEFT_FLOAT32:
        ((float *)buffer)[element] = (float)value;
        return;
    case WEFT_FLOAT64:
        ((double *)buffer)[element] = (double)value;
        return;
    case WEFT_BFLOAT16: {
        float f = (float)value;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        ((uint16_t *)buffer)[element] = (uint16_t)(bits >> 16);
        return;
    }
    case WEFT_FLOAT16: {
        // Small whole numbers only: exact.
        _Float16 h = (_Float16)value;
        memcpy((char *)buffer + element * 2, &h, 2);
        return;
    }
    case WEFT_INT32:
        ((int32_t *)buffer)[element] = (int32_t)value;
        return;
    case WEFT_INT64:
        ((int64_t *)buffer)[element] = value;
        return;
    case WEFT_UINT8:
        ((uint8_t *)buffer)[element] = (uint8_t)value;
        return;
    default:
        fail_msg("no such type here");
    }
}

/* ---- one request on all ranks ---- */

struct rank_state {
    char *send, *recv, *expected;
    size_t send_elements, recv_elements;
    size_t input_ends[MAX_RANKS + 1], output_ends[MAX_RANKS + 1];
    struct weft_plan *plan;
    struct weft_run *run;
    weft_status status;
    bool is_in_place;
};

static void on_done(void *argument, weft_status status)
{
    ((struct rank_state *)argument)->status = status;
}

static bool has_sizes(weft_collective collective)
{
    return weft_collective_has_table(collective) || collective == WEFT_ALL_TO_ALL_V;
}

static size_t block_count(const struct request *request, int from, int to)
{
    switch (request->collective) {
    case WEFT_ALL_GATHER_V:
    case WEFT_REDUCE_SCATTER_V:
    case WEFT_GATHER_V:
    case WEFT_SCATTER_V:
        return request->counts[to];
    case WEFT_ALL_TO_ALL_V:
        return request->pairs[from][to];
    default:
        return request->count;
    }
}

// Fills expected with the definition; -99 (as far as the type goes) elsewhere.
static void prepare(const struct request *request, int rank, struct rank_state *state)
{
    const struct weft_shape shape = {.collective = request->collective,
                                     .num_ranks = request->num_ranks,
                                     .rank = rank,
                                     .root = request->root,
                                     .pieces = 1};
    size_t size = weft_dtype_bytes(request->dtype);
    int n = request->num_ranks;
    bool is_gather = request->collective == WEFT_ALL_GATHER_V;
    bool is_table = has_sizes(request->collective);
    for (int b = 0; b < n; b++) {
        state->input_ends[b + 1] =
            state->input_ends[b] + (is_gather ? request->counts[b] : block_count(request, rank, b));
        state->output_ends[b + 1] =
            state->output_ends[b] + (request->collective == WEFT_ALL_TO_ALL_V
                                         ? request->pairs[b][rank]
                                         : block_count(request, b, b));
    }
    const struct weft_sizes sizes = {request->count, is_table ? state->input_ends : NULL,
                                     is_table ? state->output_ends : NULL};
    struct weft_window input = weft_shape_input(&shape), output = weft_shape_output(&shape);
    size_t in_first = weft_sizes_offset(&shape, &sizes, WEFT_INPUT, input.first);
    size_t out_first = weft_sizes_offset(&shape, &sizes, WEFT_OUTPUT, output.first);
    state->send_elements =
        weft_sizes_offset(&shape, &sizes, WEFT_INPUT, input.first + input.cells) - in_first;
    state->recv_elements =
        weft_sizes_offset(&shape, &sizes, WEFT_OUTPUT, output.first + output.cells) - out_first;
    size_t room = (state->send_elements + state->recv_elements + 1) * size + 64;
    state->recv = malloc(room);
    state->expected = malloc(room);
    memset(state->recv, 0xa5, room);
    memset(state->expected, 0xa5, room);
    bool can = state->send_elements && state->recv_elements &&
               (request->collective != WEFT_ALL_TO_ALL_V ||
                !memcmp(state->input_ends, state->output_ends, sizeof state->input_ends));
    state->is_in_place = state->is_in_place && can;
    state->send = malloc(room);
    char *original = state->send;
    for (size_t e = 0; e < state->send_elements; e++)
        store(request->dtype, original, e, contribution(request, rank, in_first + e));
    if (state->is_in_place) {
        // One buffer of both windows: input cell c is output cell c.
        size_t low = in_first < out_first ? in_first : out_first;
        size_t total = state->send_elements > state->recv_elements ? state->send_elements
                                                                   : state->recv_elements;
        char *both = malloc(room + total * size);
        memset(both, 0xa5, room + total * size);
        memcpy(both + (in_first - low) * size, original, state->send_elements * size);
        free(state->send);
        free(state->recv);
        state->send = both + (in_first - low) * size;
        state->recv = both + (out_first - low) * size;
    }
    for (uint32_t c = 0; c < output.cells; c++) {
        struct weft_goal goal = weft_shape_goal(&shape, output.first + c);
        size_t begin = weft_sizes_offset(&shape, &sizes, WEFT_OUTPUT, output.first + c);
        size_t count = weft_sizes_offset(&shape, &sizes, WEFT_OUTPUT, output.first + c + 1) - begin;
        size_t from = begin; // element number at the contributor
        if (request->collective == WEFT_ALL_TO_ALL)
            from = (size_t)rank * request->count;
        if (request->collective == WEFT_ALL_TO_ALL_V) {
            from = 0;
            for (int b = 0; b < rank; b++)
                from += request->pairs[goal.rank][b];
        }
        for (size_t e = 0; e < count; e++)
            store(request->dtype, state->expected, begin - out_first + e,
                  goal.rank == WEFT_ALL_RANKS ? reduced(request, from + e)
                                              : contribution(request, goal.rank, from + e));
    }
}

static void run_all(struct rig *rig, const struct request *request, struct rank_state *states,
                    const char *what)
{
    int n = request->num_ranks, left = n;
    static uint32_t sequence;
    bool is_table = has_sizes(request->collective);
    sequence++;
    for (int r = 0; r < n; r++) {
        struct rank_state *state = &states[r];
        state->status = WEFT_IN_PROGRESS;
        if (!state->run)
            continue;
        const struct weft_launch launch = {
            .send = state->send,
            .recv = state->recv,
            .sizes = {request->count, is_table ? state->input_ends : NULL,
                      is_table ? state->output_ends : NULL},
            .element_bytes = weft_dtype_bytes(request->dtype),
            .reduce = weft_reduce_lookup(request->dtype, request->op),
            .key = {.comm = 1, .sequence = sequence},
            .peers = rig->connections[r],
            .done = on_done,
            .argument = state,
        };
        struct weft_error error;
        assert_int_equal(weft_run_launch(state->run, &launch, &error), WEFT_OK);
    }
    for (int round = 0; left > 0; round++) {
        if (round > MAX_ROUNDS)
            fail_msg("%s: no progress", what);
        left = 0;
        for (int r = 0; r < n; r++) {
            weft_loopback_transport.progress(rig->devices[r]);
            left += states[r].run && states[r].status == WEFT_IN_PROGRESS;
        }
    }
    size_t size = weft_dtype_bytes(request->dtype);
    for (int r = 0; r < n; r++) {
        if (!states[r].run)
            continue;
        assert_int_equal(states[r].status, WEFT_OK);
        if (states[r].recv_elements &&
            memcmp(states[r].recv, states[r].expected, states[r].recv_elements * size) != 0)
            fail_msg("%s: rank %d: wrong result", what, r);
    }
}

static void free_buffers(struct rank_state *state)
{
    if (state->is_in_place) {
        free(state->send < state->recv ? state->send : state->recv);
    } else {
        free(state->send);
        free(state->recv);
    }
    free(state->expected);
}

static void check_request(struct rig *rig, const struct weft_algorithm *algorithm,
                          const struct request *request, unsigned in_place_mask)
{
    struct rank_state states[MAX_RANKS] = {0};
    struct weft_error error;
    char what[160];
    const struct weft_key key = {.collective = request->collective,
                                 .num_ranks = request->num_ranks,
                                 .root = request->root,
                                 .element_bytes = (int)weft_dtype_bytes(request->dtype),
                                 .size_class = 10};
    snprintf(what, sizeof what, "%s %s ranks %d root %d count %zu %s %s in place %x",
             algorithm->name, weft_collective_names[request->collective], request->num_ranks,
             request->root, request->count, weft_dtypes[request->dtype].name,
             weft_ops[request->op].name, in_place_mask);
    bool is_exchange =
        request->collective == WEFT_ALL_TO_ALL || request->collective == WEFT_ALL_TO_ALL_V;
    struct weft_layout *layout = make_test_layout(request->num_ranks, request->num_ranks);
    for (int r = 0; r < request->num_ranks; r++) {
        struct weft_program *program = NULL;
        states[r].is_in_place = in_place_mask >> r & 1;
        prepare(request, r, &states[r]);
        unsigned aliasing = WEFT_IN_PLACE | WEFT_OUT_OF_PLACE;
        if (is_exchange)
            aliasing = states[r].is_in_place ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
        if (algorithm->emit(&key, layout, r, aliasing, &program, &error) != WEFT_OK ||
            weft_plan_create(&program, &states[r].plan, &error) != WEFT_OK)
            fail_msg("%s: %s", what, error.text);
        assert_int_equal(weft_run_create(states[r].plan, &states[r].run, &error), WEFT_OK);
    }
    weft_layout_destroy(&layout);
    run_all(rig, request, states, what);
    // The same runs with other sizes, then with those again: where things are must follow.
    struct request other = *request;
    other.count = request->collective == WEFT_BARRIER ? 0 : request->count * 2 + 5;
    for (int again = 0; again < 2 && request->num_ranks <= MOST_RANKS_AGAIN; again++) {
        const struct request *next = again ? request : &other;
        for (int r = 0; r < request->num_ranks; r++) {
            free_buffers(&states[r]);
            prepare(next, r, &states[r]);
        }
        run_all(rig, next, states, what);
    }
    for (int r = 0; r < request->num_ranks; r++) {
        weft_run_destroy(&states[r].run);
        weft_plan_destroy(&states[r].plan);
        free_buffers(&states[r]);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static void fill_counts(struct request *request, uint64_t *random)
{
    bool is_symmetric = next_random(random) & 1;
    for (int i = 0; i < request->num_ranks; i++) {
        request->counts[i] = next_random(random) % 4 ? next_random(random) % 40 : 0;
        for (int j = 0; j < request->num_ranks; j++)
            request->pairs[i][j] =
                is_symmetric && j < i ? request->pairs[j][i] : next_random(random) % 23;
    }
}

static void test_everything(void **state)
{
    (void)state;
    static const size_t counts[NUM_COUNTS] = {0, 1, 3, 17, 257};
    uint64_t random = 42;
    int num_checked = 0;
    for (int n = 1; n <= MOST_RANKS; n++) {
        struct rig rig;
        open_rig(&rig, n, (uint64_t)n * 1000);
        for (int a = 0; weft_algorithms[a]; a++)
            for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
                if (c == WEFT_SEND || c == WEFT_RECV)
                    continue;
                struct request request = {.collective = (weft_collective)c, .num_ranks = n};
                const struct weft_key key = {.collective = request.collective,
                                             .num_ranks = n,
                                             .element_bytes = 4,
                                             .size_class = 10};
                struct weft_layout *layout = make_test_layout(n, n);
                bool is_possible = !weft_algorithms[a]->supports(&key, layout);
                weft_layout_destroy(&layout);
                if (!is_possible)
                    continue;
                for (int i = 0; i < NUM_DTYPES * NUM_COUNTS * NUM_ALIASINGS; i++) {
                    request.dtype = (weft_dtype)(i % NUM_DTYPES);
                    request.op = (weft_op)(next_random(&random) % NUM_OPS);
                    size_t count = counts[i / NUM_DTYPES % NUM_COUNTS];
                    request.count = c == WEFT_BARRIER ? 0 : count;
                    bool is_rooted = weft_collective_is_rooted(request.collective);
                    request.root = is_rooted ? (int)(next_random(&random) % (unsigned)n) : 0;
                    fill_counts(&request, &random);
                    const unsigned masks[NUM_ALIASINGS] = {0, ~0u, (unsigned)next_random(&random)};
                    check_request(&rig, weft_algorithms[a], &request,
                                  masks[i / NUM_DTYPES / NUM_COUNTS]);
                    num_checked++;
                }
            }
        close_rig(&rig);
    }
    print_message("%d requests on 1 to %d ranks\n", num_checked, MOST_RANKS);
}

// The flat path's own code, and that of exchanges through shared memory, recorded as a program.
enum recorded { FLAT, STAGED, MAPPED };

static weft_status record(enum recorded how, const struct weft_shape *shape,
                          struct weft_program **program, struct weft_error *error)
{
    return how == FLAT ? weft_flat_trace(shape, weft_flat_group(shape->num_ranks), program, error)
                       : weft_shared_trace(shape, how == MAPPED, program, error);
}

static void check_trace(enum recorded how, weft_collective collective, int n, int root,
                        bool is_canonical)
{
    struct weft_plan *plans[MAX_RANKS] = {NULL};
    const struct weft_program *programs[MAX_RANKS];
    struct weft_error error;
    for (int r = 0; r < n; r++) {
        struct weft_program *program = NULL;
        struct weft_shape shape = {
            .collective = collective, .num_ranks = n, .rank = r, .root = root, .pieces = 1};
        if (how != FLAT && (collective == WEFT_ALL_REDUCE || collective == WEFT_REDUCE))
            shape.pieces = (uint32_t)n;
        if (is_canonical)
            weft_shape_set_leaves(&shape, 0, NULL);
        if (record(how, &shape, &program, &error) != WEFT_OK ||
            weft_plan_create(&program, &plans[r], &error) != WEFT_OK)
            fail_msg("%d, %s of %d: %s", how, weft_collective_names[collective], n, error.text);
        programs[r] = weft_plan_program(plans[r]);
    }
    if (weft_plans_agree(plans, n, &error) != WEFT_OK ||
        weft_oracle_verify(programs, n, &error) != WEFT_OK)
        fail_msg("%d, %s of %d: %s", how, weft_collective_names[collective], n, error.text);
    for (int r = 0; r < n; r++)
        weft_plan_destroy(&plans[r]);
}

static void test_traces(void **state)
{
    (void)state;
    enum { num_shared = 8 };
    static const weft_collective collectives[] = {
        WEFT_ALL_REDUCE,     WEFT_REDUCE,     WEFT_BROADCAST, WEFT_ALL_GATHER,
        WEFT_REDUCE_SCATTER, WEFT_ALL_TO_ALL, WEFT_GATHER,    WEFT_SCATTER,
        WEFT_BARRIER, // the last one through slots alone
    };
    for (int n = 1; n <= 9; n++)
        for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++)
            for (int how = FLAT; how <= MAPPED; how++) {
                weft_collective collective = collectives[c];
                bool is_rooted = weft_collective_is_rooted(collective);
                if (how != FLAT && (n == 1 || c >= num_shared))
                    continue;
                for (int root = 0; root < (is_rooted ? n : 1); root++) {
                    check_trace((enum recorded)how, collective, n, root, false);
                    if (weft_collective_reduces(collective))
                        check_trace((enum recorded)how, collective, n, root, true);
                }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
