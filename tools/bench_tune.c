/*
 * SPDX-License-Identifier: Apache-2.0
 * See bench_tune.h. A round is one loop of every algorithm at every size, so that noise hits all
 * alike, and what comes and goes in seconds is seen by all; a time is the median of the rounds, of
 * the slowest rank's mean. How long a loop is follows from a first call, agreed among the ranks.
 */
#include "tools/bench_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dtype.h"
#include "collectives/comm/describe.h"
#include "collectives/program/shape.h"
#include "tools/bench_data.h"

enum { LIMIT = 16, FEWEST = 3, MOST = 2000 };
static const double loop_us = 10000;
static const int64_t hopeless = 10; // times the cheapest price: not timed

struct tried {
    const char *algorithm;
    double predicted_us, measured_us;
    double rounds_us[WEFT_BENCH_TUNE_ROUNDS];
    int iterations;
};

/* One size. */
struct row {
    size_t asked_bytes, bytes;
    int num_tried, pick, best; // places in `tried`
    int num_hopeless;
    struct tried tried[LIMIT];
};

struct tune {
    const struct weft_bench_settings *settings;
    weft_context *context;
    weft_comm *comm;
    struct weft_bench_case c;
    void *send, *recv;
    struct row *rows; // (sizes)
    double *ratios;   // (sizes)
    int *hosts;       // (ranks)
    char links[WEFT_COMM_LINKS_BYTES];
    int num_rows; // done
    struct weft_error *error;
};

static weft_status check(struct tune *tune, weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return WEFT_OK;
    const char *text = weft_comm_error_text(tune->comm);
    return weft_fail(tune->error, status, "rank %d: %s: %s", tune->c.rank, what,
                     *text ? text : weft_status_text(status));
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return values[count / 2];
}

/* ---- timing ---- */

// Of the slowest rank, per call, in microseconds.
static weft_status time_loop(struct tune *tune, const weft_op_desc *desc, int iterations,
                             double *slowest_us)
{
    WEFT_TRY(check(tune, weft_barrier(tune->comm, NULL), "barrier"));
    int64_t begin = weft_clock_ns();
    for (int i = 0; i < iterations; i++)
        WEFT_TRY(check(tune, weft_submit(tune->comm, desc, NULL), desc->algorithm));
    double mine = (double)(weft_clock_ns() - begin) / 1e3 / iterations;
    return check(tune,
                 weft_all_reduce(&mine, slowest_us, 1, WEFT_FLOAT64, WEFT_MAX, tune->comm, NULL),
                 "agreeing on a time");
}

// Makes its plan, too, and finds how many calls a loop should have.
static weft_status try_once(struct tune *tune, const weft_op_desc *desc, struct tried *tried)
{
    double us;
    tune->c.salt++; // what another one left is wrong now
    weft_bench_fill(&tune->c, tune->send);
    WEFT_TRY(check(tune, weft_submit(tune->comm, desc, NULL), desc->algorithm));
    size_t wrong = weft_bench_count_wrong(&tune->c, tune->recv);
    if (tune->settings->check_iterations > 0 && wrong > 0)
        return weft_fail(tune->error, WEFT_INTERNAL, "rank %d: %s: %zu wrong elements",
                         tune->c.rank, desc->algorithm, wrong);
    WEFT_TRY(time_loop(tune, desc, FEWEST, &us));
    double fit = loop_us / (us > 0 ? us : 1);
    tried->iterations = fit < FEWEST ? FEWEST : fit > MOST ? MOST : (int)fit;
    return WEFT_OK;
}

static void find_candidates(struct tune *tune, weft_op_desc *desc, struct row *row)
{
    struct weft_comm_candidate candidates[LIMIT];
    int count = weft_comm_candidates(tune->comm, desc, candidates, LIMIT);
    const char *pick = weft_comm_describe(tune->comm, desc);
    row->pick = -1;
    for (int i = 0; i < count; i++) {
        bool is_pick = strcmp(candidates[i].algorithm, pick) == 0;
        if (!is_pick && candidates[i].predicted_ps / hopeless > candidates[0].predicted_ps) {
            row->num_hopeless++;
            continue;
        }
        if (is_pick)
            row->pick = row->num_tried;
        row->tried[row->num_tried++] = (struct tried){
            .algorithm = candidates[i].algorithm,
            .predicted_us = (double)candidates[i].predicted_ps / 1e6,
        };
    }
}

/* The call of one size, on buffers that hold whatever they hold. */
static weft_op_desc set_size(struct tune *tune, size_t bytes, char *scalar)
{
    const struct weft_bench_settings *s = tune->settings;
    struct weft_bench_case *c = &tune->c;
    c->count =
        weft_bench_count_for_bytes(c->collective, bytes, weft_dtype_bytes(c->dtype), c->num_ranks);
    weft_bench_scalar(c, scalar);
    return (weft_op_desc){.struct_bytes = sizeof(weft_op_desc),
                          .collective = c->collective,
                          .dtype = c->dtype,
                          .op = c->op,
                          .order = s->order,
                          .root = c->root,
                          .send = tune->send,
                          .recv = tune->recv,
                          .count = c->count,
                          .scalar = scalar};
}

// Finds what can do the next size, and does it once; of no bytes there is nothing to time.
static weft_status begin_size(struct tune *tune, size_t bytes)
{
    char scalar[8];
    struct weft_bench_case *c = &tune->c;
    struct row *row = &tune->rows[tune->num_rows];
    weft_op_desc desc = set_size(tune, bytes, scalar);
    if (c->count == 0)
        return WEFT_OK;
    tune->num_rows++;
    row->asked_bytes = bytes;
    row->bytes =
        weft_bench_total_bytes(c->collective, c->count, weft_dtype_bytes(c->dtype), c->num_ranks);
    find_candidates(tune, &desc, row);
    if (row->pick < 0)
        return weft_fail(tune->error, WEFT_INTERNAL, "the pick for %zu bytes is no candidate",
                         bytes);
    for (int i = 0; i < row->num_tried; i++) {
        desc.algorithm = row->tried[i].algorithm;
        WEFT_TRY(try_once(tune, &desc, &row->tried[i]));
    }
    return WEFT_OK;
}

static weft_status run_round(struct tune *tune, int round)
{
    for (int k = 0; k < tune->num_rows; k++) {
        char scalar[8];
        struct row *row = &tune->rows[k];
        weft_op_desc desc = set_size(tune, row->asked_bytes, scalar);
        for (int i = 0; i < row->num_tried; i++) {
            struct tried *tried = &row->tried[i];
            desc.algorithm = tried->algorithm;
            WEFT_TRY(time_loop(tune, &desc, tried->iterations, &tried->rounds_us[round]));
        }
    }
    return WEFT_OK;
}

static void finish_size(struct row *row, int num_rounds)
{
    for (int i = 0; i < row->num_tried; i++) {
        row->tried[i].measured_us = median(row->tried[i].rounds_us, num_rounds);
        if (row->tried[i].measured_us < row->tried[row->best].measured_us)
            row->best = i;
    }
}

/* ---- printing ---- */

static double ratio_of(const struct row *row)
{
    return row->tried[row->pick].measured_us / row->tried[row->best].measured_us;
}

static double error_of(const struct row *row)
{
    const struct tried *pick = &row->tried[row->pick];
    return fabs(pick->predicted_us - pick->measured_us) / pick->measured_us;
}

static void print_row(const struct row *row)
{
    const struct tried *pick = &row->tried[row->pick], *best = &row->tried[row->best];
    printf("%12zu  %-12s %12.2f %12.2f   %-12s %12.2f %7.3f ", row->bytes, pick->algorithm,
           pick->predicted_us, pick->measured_us, best->algorithm, best->measured_us,
           ratio_of(row));
    for (int i = 0; i < row->num_tried; i++)
        if (i != row->pick && i != row->best)
            printf(" %s %.2f (%.2f)", row->tried[i].algorithm, row->tried[i].measured_us,
                   row->tried[i].predicted_us);
    if (row->num_hopeless)
        printf(" %d more not tried", row->num_hopeless);
    printf("\n");
    fflush(stdout);
}

static void print_header(const struct tune *tune)
{
    printf("# %s on %d ranks over %s, microseconds, medians of %d rounds in turns; in brackets: "
           "predicted\n"
           "#%11s  %-12s %12s %12s   %-12s %12s %7s  others\n",
           weft_collective_names[tune->c.collective], tune->c.num_ranks,
           *tune->links ? tune->links : "nothing", tune->settings->tune_rounds, "bytes", "pick",
           "predicted", "measured", "best", "measured", "ratio");
}

static void print_summary(const struct tune *tune)
{
    double worst = 0, errors = 0;
    for (int i = 0; i < tune->num_rows; i++) {
        tune->ratios[i] = ratio_of(&tune->rows[i]);
        worst = tune->ratios[i] > worst ? tune->ratios[i] : worst;
        errors += error_of(&tune->rows[i]) / tune->num_rows;
    }
    printf("# pick / best: median %.3f, worst %.3f; |predicted - measured| / measured: mean %.1f "
           "%%\n",
           median(tune->ratios, tune->num_rows), worst, 100 * errors);
}

static void print_json(const struct tune *tune)
{
    printf(
        "{\"format\": \"weft-tuned\", \"version\": 2, \"collective\": \"%s\", \"order\": \"%s\",\n"
        " \"num_ranks\": %d, \"links\": \"%s\", \"hosts\": [",
        weft_collective_names[tune->c.collective],
        tune->settings->order == WEFT_ORDER_REPRODUCIBLE ? "reproducible" : "free",
        tune->c.num_ranks, tune->links);
    for (int r = 0; r < tune->c.num_ranks; r++)
        printf("%s%d", r ? ", " : "", tune->hosts[r]);
    printf("], \"rounds\": %d, \"sizes\": [\n", tune->settings->tune_rounds);
    for (int i = 0; i < tune->num_rows; i++) {
        const struct row *row = &tune->rows[i];
        printf(" {\"bytes\": %zu, \"pick\": \"%s\", \"best\": \"%s\", \"ratio\": %.4f, "
               "\"not_tried\": %d, \"algorithms\": [",
               row->bytes, row->tried[row->pick].algorithm, row->tried[row->best].algorithm,
               ratio_of(row), row->num_hopeless);
        for (int k = 0; k < row->num_tried; k++)
            printf("%s\n  {\"name\": \"%s\", \"predicted_us\": %.3f, \"measured_us\": %.3f}",
                   k ? "," : "", row->tried[k].algorithm, row->tried[k].predicted_us,
                   row->tried[k].measured_us);
        printf("]}%s\n", i + 1 < tune->num_rows ? "," : "");
    }
    printf("]}\n");
}

/* ---- the sweep ---- */

static weft_status run_sizes(struct tune *tune)
{
    const struct weft_bench_settings *s = tune->settings;
    bool is_json = !strcmp(s->format, "json"), speaks = tune->c.rank == 0;
    size_t bytes = s->min_bytes;
    do {
        WEFT_TRY(begin_size(tune, bytes));
    } while ((bytes = weft_bench_next_bytes(s, bytes)));
    if (tune->num_rows == 0)
        return weft_fail(tune->error, WEFT_INVALID_ARGUMENT,
                         "-b %zu to -e %zu: no size has room for a block of each of %d ranks",
                         s->min_bytes, s->max_bytes, tune->c.num_ranks);
    if (speaks && !is_json)
        print_header(tune);
    for (int round = 0; round < tune->settings->tune_rounds; round++)
        WEFT_TRY(run_round(tune, round));
    for (int k = 0; k < tune->num_rows; k++) {
        finish_size(&tune->rows[k], tune->settings->tune_rounds);
        if (speaks && !is_json)
            print_row(&tune->rows[k]);
    }
    if (speaks && is_json)
        print_json(tune);
    else if (speaks)
        print_summary(tune);
    return WEFT_OK;
}

static weft_status allocate(struct tune *tune)
{
    const struct weft_bench_settings *s = tune->settings;
    size_t num_sizes = 0;
    for (size_t bytes = s->min_bytes; num_sizes == 0 || bytes;
         bytes = weft_bench_next_bytes(s, bytes))
        num_sizes++;
    tune->rows = calloc(num_sizes, sizeof *tune->rows);
    tune->ratios = calloc(num_sizes, sizeof *tune->ratios);
    tune->hosts = calloc((size_t)tune->c.num_ranks, sizeof *tune->hosts);
    weft_status status = tune->rows && tune->ratios && tune->hosts ? WEFT_OK : WEFT_OUT_OF_MEMORY;
    if (status == WEFT_OK)
        weft_comm_links(tune->comm, weft_comm_hosts(tune->comm, tune->hosts), tune->links);
    if (status == WEFT_OK)
        status = weft_bench_buffer_make(s, tune->context, s->max_bytes, &tune->send);
    if (status == WEFT_OK)
        status = weft_bench_buffer_make(s, tune->context, s->max_bytes, &tune->recv);
    if (status == WEFT_OK)
        return WEFT_OK;
    return weft_fail(tune->error, status,
                     "rank %d: no memory for %zu sizes and two buffers of %zu "
                     "bytes",
                     tune->c.rank, num_sizes, s->max_bytes);
}

weft_status weft_bench_tune(const struct weft_bench_settings *settings, weft_context *context,
                            weft_comm *comm, struct weft_error *error)
{
    struct tune tune = {
        .settings = settings,
        .context = context,
        .comm = comm,
        .c = {.collective = settings->collective,
              .dtype = (weft_dtype)settings->dtype,
              .op = (weft_op)settings->op,
              .root = settings->root,
              .rank = weft_comm_rank(comm),
              .num_ranks = weft_comm_num_ranks(comm)},
        .error = error,
    };
    WEFT_TRY(weft_bench_check(settings, tune.c.num_ranks, error));
    weft_status status = allocate(&tune);
    if (status == WEFT_OK)
        status = run_sizes(&tune);
    weft_status freed[2] = {weft_bench_buffer_free(settings, context, tune.send),
                            weft_bench_buffer_free(settings, context, tune.recv)};
    if (status == WEFT_OK && (freed[0] != WEFT_OK || freed[1] != WEFT_OK))
        status = weft_fail(error, WEFT_INTERNAL, "rank %d: a buffer cannot be freed", tune.c.rank);
    free(tune.rows);
    free(tune.ratios);
    free(tune.hosts);
    return status;
}
