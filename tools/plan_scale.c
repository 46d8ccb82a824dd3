/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --scale-check`; see plan.h. A process per program, because the kernel keeps a peak of
 * memory per process; its figure includes the command itself.
 */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/layout_topology.h"
#include "tools/command.h"
#include "tools/plan.h"
#include "tools/plan_ranks.h"
#include "topology/load.h"

enum { HOST_RANKS = 8, POD_HOSTS = 32 };

static const double limit_ms = 100, limit_mib = 64;
static const double request_limit_ms = 200; // from a request to its program

struct measurement {
    weft_status status;
    char text[200];
    const char *algorithm;
    int rank;
    uint32_t num_steps;
    double choose_ms, emit_ms, check_ms, peak_mib;
};

struct scale {
    const char *command;
    int num_ranks;
    bool wants_json;
    struct weft_layout *layout;
    double layout_ms; // -1: the layout is assumed
    json_t *rows, *requests;
    bool is_bad;
};

// Processor time: what an idle machine takes, whatever else runs on this one.
static int64_t processor_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

// `algorithm` NULL: the one that the planner chooses.
static struct measurement measure_here(const struct weft_algorithm *algorithm,
                                       const struct weft_key *key, const struct weft_layout *layout,
                                       int rank)
{
    struct weft_error error = {0};
    struct weft_program *program = NULL;
    struct weft_plan *plan = NULL;
    struct weft_choice choice;
    struct rusage usage;
    struct measurement measured = {.rank = rank};
    weft_status status = WEFT_OK;
    int64_t start = processor_ns();
    if (!algorithm) {
        status = weft_choice_make(key, layout, &choice, &error);
        algorithm = status == WEFT_OK ? choice.candidates[0].algorithm : NULL;
    }
    int64_t chosen = processor_ns();
    if (status == WEFT_OK)
        status = algorithm->emit(key, layout, rank, WEFT_OUT_OF_PLACE, &program, &error);
    int64_t emitted = processor_ns();
    if (status == WEFT_OK)
        status = weft_plan_create(&program, &plan, &error);
    int64_t checked = processor_ns();
    getrusage(RUSAGE_SELF, &usage);
    measured.algorithm = algorithm ? algorithm->name : "none";
    measured.num_steps = plan ? weft_plan_program(plan)->num_steps : 0;
    measured.status = status;
    snprintf(measured.text, sizeof measured.text, "%.*s", (int)sizeof measured.text - 1,
             error.text);
    measured.choose_ms = (double)(chosen - start) / 1e6;
    measured.emit_ms = (double)(emitted - chosen) / 1e6;
    measured.check_ms = (double)(checked - emitted) / 1e6;
    measured.peak_mib = (double)usage.ru_maxrss / 1024;
    weft_plan_destroy(&plan);
    weft_program_destroy(&program);
    return measured;
}

static weft_status measure(const struct weft_algorithm *algorithm, const struct weft_key *key,
                           const struct weft_layout *layout, int rank, struct measurement *measured,
                           struct weft_error *error)
{
    int ends[2], state;
    if (pipe(ends) != 0)
        return weft_fail(error, WEFT_SYSTEM, "pipe: %s", strerror(errno));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        struct measurement mine = measure_here(algorithm, key, layout, rank);
        bool is_told = write(ends[1], &mine, sizeof mine) == (ssize_t)sizeof mine;
        _exit(is_told ? 0 : 1);
    }
    close(ends[1]);
    ssize_t got = child > 0 ? read(ends[0], measured, sizeof *measured) : -1;
    close(ends[0]);
    if (child > 0)
        waitpid(child, &state, 0);
    if (got != (ssize_t)sizeof *measured)
        return weft_fail(error, WEFT_SYSTEM, "the process that writes the %s program died",
                         algorithm ? algorithm->name : "chosen");
    return WEFT_OK;
}

static void show(struct scale *scale, const struct weft_algorithm *algorithm,
                 weft_collective collective, const struct measurement *worst)
{
    double total = worst->emit_ms + worst->check_ms;
    bool is_bad = worst->status != WEFT_OK || total >= limit_ms || worst->peak_mib >= limit_mib;
    scale->is_bad |= is_bad;
    if (scale->wants_json) {
        json_array_append_new(scale->rows,
                              json_pack("{s:s, s:s, s:i, s:I, s:f, s:f, s:f, s:b, s:s}",
                                        "algorithm", algorithm->name, "collective",
                                        weft_collective_names[collective], "rank", worst->rank,
                                        "steps", (json_int_t)worst->num_steps, "emit_ms",
                                        worst->emit_ms, "check_ms", worst->check_ms, "peak_mib",
                                        worst->peak_mib, "passed", !is_bad, "error", worst->text));
        return;
    }
    printf("%-9s %-17s %6d %7u %9.2f %9.2f %9.2f %9.1f  %s\n", algorithm->name,
           weft_collective_names[collective], worst->rank, worst->num_steps, worst->emit_ms,
           worst->check_ms, total, worst->peak_mib,
           worst->status != WEFT_OK ? worst->text
           : is_bad                 ? "over"
                                    : "ok");
}

// The slowest of a few ranks, or the one that was asked for; emit_ms < 0: none takes part.
static weft_status measure_some(const struct scale *scale, const struct weft_algorithm *algorithm,
                                const struct weft_key *key, int rank, struct measurement *worst,
                                struct weft_error *error)
{
    const int ranks[] = {0, 1, scale->num_ranks / 2, scale->num_ranks - 1};
    *worst = (struct measurement){.emit_ms = -1};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        struct measurement measured;
        int at = rank < 0 ? ranks[i] : rank;
        bool is_pair = key->collective == WEFT_SEND || key->collective == WEFT_RECV;
        if (at >= scale->num_ranks || (is_pair && at == key->root))
            continue;
        WEFT_TRY(measure(algorithm, key, scale->layout, at, &measured, error));
        if (measured.emit_ms + measured.check_ms > worst->emit_ms + worst->check_ms ||
            measured.status != WEFT_OK)
            *worst = measured;
        if (rank >= 0 || measured.status != WEFT_OK)
            break;
    }
    return WEFT_OK;
}

static weft_status check_one(struct scale *scale, const struct weft_algorithm *algorithm,
                             const struct weft_key *key, int rank, struct weft_error *error)
{
    struct measurement worst;
    WEFT_TRY(measure_some(scale, algorithm, key, rank, &worst, error));
    if (worst.emit_ms >= 0)
        show(scale, algorithm, key->collective, &worst);
    return WEFT_OK;
}

static void show_request(struct scale *scale, int size_class, const struct measurement *worst)
{
    double total = worst->choose_ms + worst->emit_ms;
    bool is_bad = worst->status != WEFT_OK || total >= request_limit_ms;
    scale->is_bad |= is_bad;
    if (scale->wants_json)
        json_array_append_new(scale->requests,
                              json_pack("{s:s, s:I, s:s, s:i, s:f, s:f, s:f, s:b, s:s}",
                                        "collective", "all_reduce", "bytes",
                                        (json_int_t)(INT64_C(1) << size_class), "algorithm",
                                        worst->algorithm, "rank", worst->rank, "choose_ms",
                                        worst->choose_ms, "emit_ms", worst->emit_ms, "check_ms",
                                        worst->check_ms, "passed", !is_bad, "error", worst->text));
    else
        printf("%-9s %12lld B %10d %9.2f %9.2f %9.2f %9.2f  %s\n", worst->algorithm,
               (long long)(INT64_C(1) << size_class), worst->rank, worst->choose_ms, worst->emit_ms,
               total, worst->check_ms,
               worst->status != WEFT_OK ? worst->text
               : is_bad                 ? "over"
                                        : "ok");
}

// From the request of an all-reduce to the program of one rank.
static weft_status check_requests(struct scale *scale, int rank, struct weft_error *error)
{
    static const int size_classes[] = {3, 10, 16, 20, 24, 28, 30, 33};
    if (!scale->wants_json)
        printf("\nOne rank of %d: all_reduce chosen and its program written (bar: %.0f ms)\n"
               "%-9s %14s %10s %9s %9s %9s %9s\n",
               scale->num_ranks, request_limit_ms, "chosen", "size", "rank", "choose ms", "emit ms",
               "total ms", "check ms");
    for (size_t i = 0; i < sizeof size_classes / sizeof *size_classes; i++) {
        const struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                                     .num_ranks = scale->num_ranks,
                                     .element_bytes = 4,
                                     .size_class = size_classes[i]};
        struct measurement worst;
        WEFT_TRY(measure_some(scale, NULL, &key, rank, &worst, error));
        show_request(scale, size_classes[i], &worst);
    }
    return WEFT_OK;
}

static weft_status check_all(struct scale *scale, int rank, struct weft_error *error)
{
    for (int i = 0; weft_algorithms[i]; i++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
            const struct weft_key key = {.collective = (weft_collective)c,
                                         .num_ranks = scale->num_ranks,
                                         .element_bytes = 4,
                                         .size_class = 26};
            if (!weft_algorithm_refusal(weft_algorithms[i], &key, scale->layout))
                WEFT_TRY(check_one(scale, weft_algorithms[i], &key, rank, error));
        }
    return WEFT_OK;
}

static weft_status make_layout(struct scale *scale, const struct weft_plan_ranks *ranks,
                               const char *source, struct weft_error *error)
{
    struct weft_topology *topology = NULL;
    struct weft_layout_origin origin;
    struct weft_plan_ranks chosen = {.num_ranks = 16384};
    if (ranks)
        chosen = *ranks;
    if (!source) {
        scale->num_ranks = chosen.num_ranks;
        return weft_layout_assumed(chosen.num_ranks, HOST_RANKS, POD_HOSTS, &scale->layout, error);
    }
    WEFT_TRY(weft_topology_load(source, &topology, error));
    if (!ranks)
        chosen.num_ranks = weft_plan_ranks_places(topology);
    scale->num_ranks = chosen.num_ranks;
    int64_t start = processor_ns();
    weft_status status = weft_plan_ranks_layout(&chosen, topology, &scale->layout, &origin, error);
    scale->layout_ms = (double)(processor_ns() - start) / 1e6;
    weft_topology_destroy(&topology);
    malloc_trim(0); // so that the graph does not count as memory of programs
    return status;
}

static weft_status check(struct scale *scale, const struct weft_plan_ranks *ranks, int rank,
                         const char *source, struct weft_error *error)
{
    WEFT_TRY(make_layout(scale, ranks, source, error));
    if (rank >= scale->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d of %d ranks", rank,
                         scale->num_ranks);
    if (!scale->wants_json && source)
        printf("Layout of %d ranks, %d levels, %d circles: made in %.1f ms of processor time\n\n",
               scale->num_ranks, scale->layout->costs.num_levels, scale->layout->rings.num_rings,
               scale->layout_ms);
    if (!scale->wants_json)
        printf("One rank of %d: its program written and proved (bars: %.0f ms of processor time, "
               "%.0f MiB)\n"
               "%-9s %-17s %6s %7s %9s %9s %9s %9s\n",
               scale->num_ranks, limit_ms, limit_mib, "algorithm", "collective", "rank", "steps",
               "emit ms", "check ms", "total ms", "peak MiB");
    WEFT_TRY(check_all(scale, rank, error));
    return check_requests(scale, rank, error);
}

static void print_json(const struct scale *scale)
{
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:b, s:O, s:O}", "format", "weft-plan-scale",
                  "version", 1, "ranks", scale->num_ranks, "limit_ms", limit_ms, "limit_mib",
                  limit_mib, "request_limit_ms", request_limit_ms, "layout_ms", scale->layout_ms,
                  "passed", !scale->is_bad, "rows", scale->rows, "requests", scale->requests);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    printf("%s\n", text ? text : "");
    free(text);
    json_decref(json);
}

int weft_plan_scale_check(const char *command, const struct weft_plan_ranks *ranks, int rank,
                          const char *topology, bool wants_json)
{
    struct weft_error error = {0};
    struct scale scale = {.command = command,
                          .wants_json = wants_json,
                          .layout_ms = -1,
                          .rows = json_array(),
                          .requests = json_array()};
    weft_status status = check(&scale, ranks, rank, topology, &error);
    weft_layout_destroy(&scale.layout);
    if (status == WEFT_OK && wants_json)
        print_json(&scale);
    else if (status == WEFT_OK)
        printf("%s\n", scale.is_bad ? "failed" : "passed");
    json_decref(scale.rows);
    json_decref(scale.requests);
    if (status != WEFT_OK)
        return weft_command_fail(command, &error);
    return weft_command_finish(command, scale.is_bad ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
