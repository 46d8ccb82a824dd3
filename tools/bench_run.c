/*
 * SPDX-License-Identifier: Apache-2.0
 * One size: check first (fresh input, output poisoned, guards around it), then warm up, then time
 * every iteration. The time printed is the mean of a loop as in nccl-tests, of one more loop where
 * reading the clock would be seen in it; the percentiles are of the slowest rank's time of each
 * iteration.
 */
#include "tools/bench_run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dtype.h"
#include "collectives/comm/describe.h"
#include "collectives/planner/choice.h"
#include "tools/bench_data.h"

enum { GUARD_BYTES = 64, RANK_LINE_BYTES = 64, POISON = 0xa5 };
static const double clock_matters_below_us = 5;

struct bench {
    const struct weft_bench_settings *settings;
    const struct weft_bench_printer *printer;
    weft_context *context;
    weft_comm *comm;
    int rank, num_ranks;
    unsigned char *send, *recv; // guard, max_bytes, guard each
    int64_t *times_ns;          // (iterations)
    uint64_t salt;
    uint64_t wrong;
    double bus_sum;
    int num_timings;
    int num_rows;
    struct weft_nic_counts nics[WEFT_NIC_COUNTERS]; // before the run
    int num_nics;
    struct weft_error *error;
};

/* Where the data lie for one placement. */
struct placement {
    unsigned char *send, *recv;
    unsigned char *region; // what the output lies in, between guards
    size_t region_bytes;
};

static weft_status check(struct bench *bench, weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return WEFT_OK;
    const char *text = weft_comm_error_text(bench->comm);
    return weft_fail(bench->error, status, "rank %d: %s: %s", bench->rank, what,
                     *text ? text : weft_status_text(status));
}

/* ---- one operation ---- */

static weft_status submit(struct bench *bench, const struct weft_bench_case *c,
                          const struct weft_op_desc *desc)
{
    if (c->collective != WEFT_SEND)
        return check(bench, weft_submit(bench->comm, desc, NULL), "the operation");
    struct weft_op_desc send = *desc, recv = *desc;
    recv.collective = WEFT_RECV;
    if (c->in_turns) {
        bool is_first = c->rank % 2 == 0;
        send.peer = recv.peer = c->rank ^ 1;
        WEFT_TRY(check(bench, weft_submit(bench->comm, is_first ? &send : &recv, NULL), "ping"));
        return check(bench, weft_submit(bench->comm, is_first ? &recv : &send, NULL), "pong");
    }
    send.peer = (c->rank + 1) % c->num_ranks;
    recv.peer = (c->rank + c->num_ranks - 1) % c->num_ranks;
    WEFT_TRY(check(bench, weft_group_begin(bench->context), "group"));
    weft_status sent = weft_submit(bench->comm, &send, NULL);
    weft_status received = weft_submit(bench->comm, &recv, NULL);
    weft_status ended = weft_group_end(bench->context, NULL);
    WEFT_TRY(check(bench, sent, "send"));
    WEFT_TRY(check(bench, received, "receive"));
    return check(bench, ended, "group");
}

static struct placement place(const struct bench *bench, const struct weft_bench_case *c,
                              bool in_place)
{
    size_t element = weft_dtype_bytes(c->dtype);
    size_t send_bytes = weft_bench_send_elements(c) * element;
    size_t recv_bytes = weft_bench_recv_elements(c) * element;
    unsigned char *send = bench->send + GUARD_BYTES, *recv = bench->recv + GUARD_BYTES;
    struct placement apart = {send, recv, recv, recv_bytes};
    if (!in_place)
        return apart;
    size_t own_block = (size_t)c->rank * c->count * element;
    struct placement within = {recv, recv, recv, send_bytes > recv_bytes ? send_bytes : recv_bytes};
    bool is_root = c->rank == c->root;
    if (c->collective == WEFT_ALL_GATHER || (c->collective == WEFT_GATHER && is_root))
        within.send = recv + own_block;
    if (c->collective == WEFT_REDUCE_SCATTER || (c->collective == WEFT_SCATTER && is_root))
        within.recv = recv + own_block;
    return within;
}

static size_t count_damaged_guards(const struct placement *placement)
{
    size_t damaged = 0;
    for (size_t i = 0; i < GUARD_BYTES; i++)
        damaged += (placement->region[-GUARD_BYTES + (ptrdiff_t)i] != POISON) +
                   (placement->region[placement->region_bytes + i] != POISON);
    return damaged;
}

static void write_input(struct bench *bench, struct weft_bench_case *c,
                        const struct placement *placement)
{
    c->salt = ++bench->salt;
    memset(placement->region - GUARD_BYTES, POISON, placement->region_bytes + 2 * GUARD_BYTES);
    weft_bench_fill(c, placement->send);
}

static weft_status check_once(struct bench *bench, struct weft_bench_case *c,
                              const struct weft_op_desc *desc, const struct placement *placement,
                              uint64_t *wrong)
{
    write_input(bench, c, placement);
    WEFT_TRY(submit(bench, c, desc));
    *wrong += weft_bench_count_wrong(c, placement->recv) + count_damaged_guards(placement);
    return WEFT_OK;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// The same operation as the planner would do it if it were free.
static weft_op_desc free_order(const weft_op_desc *desc)
{
    weft_op_desc other = *desc;
    other.order = WEFT_ORDER_FREE;
    other.algorithm = NULL;
    return other;
}

// Messages one after another in a call: its time is that of one.
static int ways(const struct weft_bench_case *c)
{
    return c->in_turns ? 2 : 1;
}

// Without reading the clock in between, which takes a tenth of the shortest operations' time.
static weft_status time_whole_loop(struct bench *bench, const struct weft_bench_case *c,
                                   const struct weft_op_desc *desc, double *mean_us)
{
    WEFT_TRY(check(bench, weft_barrier(bench->comm, NULL), "barrier"));
    int64_t begin = weft_clock_ns();
    for (int i = 0; i < bench->settings->iterations; i++)
        WEFT_TRY(submit(bench, c, desc));
    double mine = (double)(weft_clock_ns() - begin) / 1e3 / bench->settings->iterations, sum;
    mine /= ways(c);
    WEFT_TRY(check(bench,
                   weft_all_reduce(&mine, &sum, 1, WEFT_FLOAT64, WEFT_SUM, bench->comm, NULL),
                   "averaging the times"));
    *mean_us = sum / c->num_ranks;
    return WEFT_OK;
}

static weft_status time_loop(struct bench *bench, const struct weft_bench_case *c,
                             const struct weft_op_desc *desc, struct weft_bench_timing *timing)
{
    size_t iterations = (size_t)bench->settings->iterations;
    const weft_op_desc other = free_order(desc);
    for (int i = 0; i < bench->settings->warmup_iterations; i++) {
        WEFT_TRY(submit(bench, c, desc));
        if (desc->order != WEFT_ORDER_FREE)
            WEFT_TRY(submit(bench, c, &other));
    }
    WEFT_TRY(check(bench, weft_barrier(bench->comm, NULL), "barrier"));
    int64_t last = weft_clock_ns(), sums_ns[2] = {0, 0}; // as asked, in free order
    for (size_t i = 0; i < iterations; i++) {
        WEFT_TRY(submit(bench, c, desc));
        int64_t now = weft_clock_ns();
        bench->times_ns[i] = (now - last) / ways(c);
        sums_ns[0] += bench->times_ns[i];
        last = now;
        if (desc->order == WEFT_ORDER_FREE)
            continue;
        WEFT_TRY(submit(bench, c, &other));
        now = weft_clock_ns();
        sums_ns[1] += now - last;
        last = now;
    }
    double means_us[2] = {(double)sums_ns[0] / 1e3 / (double)iterations,
                          (double)sums_ns[1] / 1e3 / (double)iterations};
    double sums_us[2];
    WEFT_TRY(check(bench,
                   weft_all_reduce(means_us, sums_us, 2, WEFT_FLOAT64, WEFT_SUM, bench->comm, NULL),
                   "averaging the times"));
    WEFT_TRY(check(bench,
                   weft_all_reduce(bench->times_ns, bench->times_ns, iterations, WEFT_INT64,
                                   WEFT_MAX, bench->comm, NULL),
                   "collecting the times"));
    qsort(bench->times_ns, iterations, sizeof *bench->times_ns, compare_times);
    timing->mean_us = sums_us[0] / c->num_ranks;
    timing->free_us = sums_us[1] / c->num_ranks;
    timing->p50_us = (double)bench->times_ns[(iterations - 1) / 2] / 1e3;
    timing->p99_us = (double)bench->times_ns[(iterations * 99 + 99) / 100 - 1] / 1e3;
    if (desc->order == WEFT_ORDER_FREE && timing->mean_us < clock_matters_below_us)
        return time_whole_loop(bench, c, desc, &timing->mean_us);
    return WEFT_OK;
}

/* What the planner expects of it; 0: it is not the planner's. */
static double predict(struct bench *bench, const weft_op_desc *desc, const char *plan)
{
    struct weft_comm_candidate candidates[WEFT_CANDIDATES_LIMIT];
    int count = weft_comm_candidates(bench->comm, desc, candidates, WEFT_CANDIDATES_LIMIT);
    for (int i = 0; i < count; i++)
        if (plan && strcmp(candidates[i].algorithm, plan) == 0)
            return (double)candidates[i].predicted_ps / 1e6;
    return 0;
}

static weft_status run_placement(struct bench *bench, struct weft_bench_case *c, bool in_place,
                                 struct weft_bench_row *row)
{
    if (in_place && c->collective == WEFT_SEND)
        return WEFT_OK; // sending from the buffer that is received into has no right result
    struct weft_bench_timing *timing = &row->timings[in_place];
    struct placement placement = place(bench, c, in_place);
    char scalar[8];
    weft_bench_scalar(c, scalar);
    struct weft_op_desc desc = {
        .struct_bytes = sizeof desc,
        .collective = c->collective,
        .dtype = c->dtype,
        .op = c->op,
        .order = bench->settings->order,
        .root = c->root,
        .send = placement.send,
        .recv = placement.recv,
        .count = c->count,
        .algorithm = bench->settings->algorithm,
        .scalar = scalar,
    };
    int64_t wrong = 0, total = 0;
    uint64_t mine = 0;
    // Without it, pages that nobody has written would all be the same one, in the first cache.
    write_input(bench, c, &placement);
    for (int i = 0; i < bench->settings->check_iterations; i++)
        WEFT_TRY(check_once(bench, c, &desc, &placement, &mine));
    wrong = (int64_t)mine;
    WEFT_TRY(check(bench,
                   weft_all_reduce(&wrong, &total, 1, WEFT_INT64, WEFT_SUM, bench->comm, NULL),
                   "adding up the errors"));
    // If even that sum is wrong, this rank still knows of its own.
    timing->wrong = (uint64_t)(total < wrong ? wrong : total);
    timing->was_run = true;
    timing->was_checked = bench->settings->check_iterations > 0;
    WEFT_TRY(time_loop(bench, c, &desc, timing));
    size_t bytes =
        weft_bench_total_bytes(c->collective, c->count, weft_dtype_bytes(c->dtype), c->num_ranks);
    timing->algorithm_gbps = timing->mean_us > 0 ? (double)bytes / 1e3 / timing->mean_us : 0;
    timing->bus_gbps = timing->algorithm_gbps * weft_bench_bus_factor(c->collective, c->num_ranks);
    bench->wrong += timing->wrong;
    bench->bus_sum += timing->bus_gbps;
    bench->num_timings++;
    const weft_op_desc other = free_order(&desc);
    if (desc.order != WEFT_ORDER_FREE)
        row->free_plan = weft_comm_describe(bench->comm, &other);
    row->plan = c->collective == WEFT_SEND ? "one message" : weft_comm_describe(bench->comm, &desc);
    if (bench->rank == 0) // which prints it
        row->predicted_us = predict(bench, &desc, row->plan);
    return WEFT_OK;
}

static weft_status print_header(struct bench *bench)
{
    const struct weft_bench_settings *s = bench->settings;
    size_t num_ranks = (size_t)bench->num_ranks;
    char mine[RANK_LINE_BYTES], host[40] = "";
    gethostname(host, sizeof host - 1);
    memset(mine, 0, sizeof mine);
    snprintf(mine, sizeof mine, "Pid %6d on %s", (int)getpid(), host);
    char *all = calloc(num_ranks, sizeof mine);
    const char **lines = calloc(num_ranks, sizeof *lines);
    weft_status status =
        all && lines
            ? check(bench, weft_all_gather(mine, all, sizeof mine, WEFT_UINT8, bench->comm, NULL),
                    "collecting the ranks' names")
            : weft_fail(bench->error, WEFT_OUT_OF_MEMORY, "no memory for names of ranks");
    if (status == WEFT_OK && bench->rank == 0) {
        char version[32];
        int number = weft_version();
        snprintf(version, sizeof version, "%d.%d.%d", number / 10000, number / 100 % 100,
                 number % 100);
        for (size_t i = 0; i < num_ranks; i++) {
            all[i * sizeof mine + sizeof mine - 1] = '\0';
            lines[i] = all + i * sizeof mine;
        }
        struct weft_bench_header header = {
            .version = version,
            .collective = s->in_turns                  ? "ping_pong"
                          : s->collective == WEFT_SEND ? "send_recv"
                                                       : weft_collective_names[s->collective],
            .num_ranks = bench->num_ranks,
            .rank_lines = lines,
            .min_bytes = s->min_bytes,
            .max_bytes = s->max_bytes,
            .step_bytes = s->step_bytes,
            .step_factor = s->step_factor,
            .warmup_iterations = s->warmup_iterations,
            .iterations = s->iterations,
            .check_iterations = s->check_iterations,
        };
        bench->printer->begin(stdout, &header);
    }
    free(lines);
    free(all);
    return status;
}

/* ---- the sweep ---- */

static bool reduces(weft_collective collective)
{
    return collective == WEFT_ALL_REDUCE || collective == WEFT_REDUCE_SCATTER ||
           collective == WEFT_REDUCE;
}

static bool has_root(weft_collective collective)
{
    return collective == WEFT_BROADCAST || collective == WEFT_REDUCE || collective == WEFT_GATHER ||
           collective == WEFT_SCATTER;
}

static weft_status run_size(struct bench *bench, size_t bytes, weft_dtype dtype, weft_op op,
                            int root)
{
    weft_collective collective = bench->settings->collective;
    size_t element = weft_dtype_bytes(dtype);
    struct weft_bench_case c = {
        .collective = collective,
        .in_turns = bench->settings->in_turns,
        .dtype = dtype,
        .op = op,
        .root = root,
        .rank = bench->rank,
        .num_ranks = bench->num_ranks,
        .count = weft_bench_count_for_bytes(collective, bytes, element, bench->num_ranks),
    };
    struct weft_bench_row row = {
        .bytes = weft_bench_total_bytes(collective, c.count, element, bench->num_ranks),
        .count = c.count,
        .type = weft_dtypes[dtype].nccl_name,
        .op = reduces(collective) ? weft_ops[op].name : "none",
        .root = has_root(collective) ? root : -1,
        .buffers = bench->settings->ordinary_buffers ? "malloc" : "mem",
    };
    for (int i = 0; i < 2; i++)
        WEFT_TRY(run_placement(bench, &c, i == 1, &row));
    row.transport = weft_comm_transport(bench->comm);
    if (bench->num_rows == 0)
        WEFT_TRY(print_header(bench));
    if (bench->rank == 0)
        bench->printer->row(stdout, &row, bench->num_rows == 0);
    bench->num_rows++;
    return WEFT_OK;
}

size_t weft_bench_next_bytes(const struct weft_bench_settings *s, size_t bytes)
{
    size_t next;
    bool overflows = s->step_factor > 1
                         ? __builtin_mul_overflow(bytes, (size_t)s->step_factor, &next)
                         : __builtin_add_overflow(bytes, s->step_bytes, &next);
    return overflows || next <= bytes || next > s->max_bytes ? 0 : next;
}

static weft_status run_sizes(struct bench *bench, weft_dtype dtype, weft_op op, int root)
{
    const struct weft_bench_settings *s = bench->settings;
    size_t bytes = s->min_bytes;
    do
        WEFT_TRY(run_size(bench, bytes, dtype, op, root));
    while ((bytes = weft_bench_next_bytes(s, bytes)));
    return WEFT_OK;
}

static weft_status run_all(struct bench *bench)
{
    const struct weft_bench_settings *s = bench->settings;
    for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
        for (int op = 0; op < WEFT_NUM_OPS; op++)
            for (int root = 0; root < bench->num_ranks; root++) {
                if (s->dtype >= 0 && s->dtype != dtype)
                    continue;
                if (reduces(s->collective) ? s->op >= 0 && s->op != op : op > 0)
                    continue;
                if (!weft_op_takes((weft_op)op, (weft_dtype)dtype))
                    continue;
                if (has_root(s->collective) ? s->root >= 0 && s->root != root : root > 0)
                    continue;
                WEFT_TRY(run_sizes(bench, (weft_dtype)dtype, (weft_op)op, root));
            }
    return WEFT_OK;
}

weft_status weft_bench_buffer_make(const struct weft_bench_settings *settings,
                                   weft_context *context, size_t bytes, void **buffer)
{
    if (!settings->ordinary_buffers)
        return weft_mem_alloc(context, bytes, buffer);
    *buffer = malloc(bytes);
    return *buffer ? WEFT_OK : WEFT_OUT_OF_MEMORY;
}

weft_status weft_bench_buffer_free(const struct weft_bench_settings *settings,
                                   weft_context *context, void *buffer)
{
    if (!settings->ordinary_buffers)
        return weft_mem_free(context, buffer);
    free(buffer);
    return WEFT_OK;
}

static weft_status allocate(struct bench *bench)
{
    size_t bytes;
    if (__builtin_add_overflow(bench->settings->max_bytes, (size_t)2 * GUARD_BYTES, &bytes))
        return weft_fail(bench->error, WEFT_INVALID_ARGUMENT, "the largest size is too large");
    void *send = NULL, *recv = NULL;
    bench->times_ns = calloc((size_t)bench->settings->iterations, sizeof *bench->times_ns);
    weft_status status = bench->times_ns ? WEFT_OK : WEFT_OUT_OF_MEMORY;
    if (status == WEFT_OK)
        status = weft_bench_buffer_make(bench->settings, bench->context, bytes, &send);
    bench->send = send;
    if (status == WEFT_OK)
        status = weft_bench_buffer_make(bench->settings, bench->context, bytes, &recv);
    bench->recv = recv;
    if (status == WEFT_OK)
        return WEFT_OK;
    const char *text = weft_context_error_text(bench->context);
    return weft_fail(bench->error, status, "rank %d: no memory for two buffers of %zu bytes: %s",
                     bench->rank, bytes, *text ? text : weft_status_text(status));
}

static int read_nics(struct weft_nic_counts counts[WEFT_NIC_COUNTERS])
{
    struct weft_sysfs files;
    if (weft_sysfs_open("/", &files, NULL) != WEFT_OK)
        return 0;
    int count = weft_nic_counts_read(&files, counts);
    weft_sysfs_close(&files);
    return count;
}

static void print_end(const struct bench *bench)
{
    struct weft_nic_counts nics[WEFT_NIC_COUNTERS];
    struct weft_bench_end end = {
        .average_bus_gbps = bench->num_timings ? bench->bus_sum / bench->num_timings : 0,
        .wrong = bench->wrong,
        .nics = nics,
        .num_nics = weft_nic_counts_since(bench->nics, bench->num_nics, nics, read_nics(nics)),
    };
    bench->printer->end(stdout, &end);
}

weft_status weft_bench_check(const struct weft_bench_settings *settings, int num_ranks,
                             struct weft_error *error)
{
    const struct weft_algorithm *algorithm;
    if (settings->in_turns && num_ranks % 2)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "ping_pong needs pairs, not %d rank%s",
                         num_ranks, num_ranks == 1 ? "" : "s");
    if (settings->root >= num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "root %d is none of the %d ranks",
                         settings->root, num_ranks);
    if (settings->dtype >= 0 && settings->op >= 0 && reduces(settings->collective) &&
        !weft_op_takes((weft_op)settings->op, (weft_dtype)settings->dtype))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "operation %s is for integers, not %s",
                         weft_ops[settings->op].name, weft_dtypes[settings->dtype].nccl_name);
    if (!settings->algorithm)
        return WEFT_OK;
    weft_dtype dtype = settings->dtype < 0 ? WEFT_FLOAT32 : (weft_dtype)settings->dtype;
    struct weft_key key = {
        .collective = settings->collective,
        .num_ranks = num_ranks,
        .root = has_root(settings->collective) && settings->root > 0 ? settings->root : 0,
        .element_bytes = (int)weft_dtype_bytes(dtype),
        .size_class = weft_size_class(settings->max_bytes),
        .order = settings->order,
    };
    if (settings->collective == WEFT_SEND && num_ranks > 1)
        key.root = 1; // the peer
    return weft_algorithm_require(settings->algorithm, &key, NULL, &algorithm, error);
}

weft_status weft_bench_run(const struct weft_bench_settings *settings, weft_context *context,
                           weft_comm *comm, uint64_t *wrong, struct weft_error *error)
{
    struct bench bench = {
        .settings = settings,
        .printer = weft_bench_printer_from_name(settings->format),
        .context = context,
        .comm = comm,
        .rank = weft_comm_rank(comm),
        .num_ranks = weft_comm_num_ranks(comm),
        .error = error,
    };
    WEFT_TRY(weft_bench_check(settings, bench.num_ranks, error));
    if (bench.rank == 0)
        bench.num_nics = read_nics(bench.nics);
    weft_status status = allocate(&bench);
    if (status == WEFT_OK)
        status = run_all(&bench);
    if (status == WEFT_OK && bench.rank == 0)
        print_end(&bench);
    if (status == WEFT_OK)
        *wrong = bench.wrong;
    weft_status freed[2] = {weft_bench_buffer_free(settings, context, bench.send),
                            weft_bench_buffer_free(settings, context, bench.recv)};
    if (status == WEFT_OK && (freed[0] != WEFT_OK || freed[1] != WEFT_OK))
        status = weft_fail(error, WEFT_INTERNAL, "rank %d: a buffer cannot be freed", bench.rank);
    free(bench.times_ns);
    return status;
}
