/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --scale-check`; see plan.h. A process per program, because the kernel keeps a peak of
 * memory per process; its figure includes the command itself.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "tools/command.h"
#include "tools/plan.h"

enum { HOST_RANKS = 8, POD_HOSTS = 32 };

static const double limit_ms = 100, limit_mib = 64;

struct measurement {
    weft_status status;
    char text[200];
    int rank;
    uint32_t num_steps;
    double emit_ms, check_ms, peak_mib;
};

struct scale {
    const char *command;
    int num_ranks;
    bool wants_json;
    struct weft_layout *layout;
    json_t *rows;
    bool is_bad;
};

// Processor time: what an idle machine takes, whatever else runs on this one.
static int64_t processor_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static struct measurement measure_here(const struct weft_algorithm *algorithm,
                                       const struct weft_key *key, const struct weft_layout *layout,
                                       int rank)
{
    struct weft_error error = {0};
    struct weft_program *program = NULL;
    struct weft_plan *plan = NULL;
    struct rusage usage;
    struct measurement measured = {.rank = rank};
    int64_t start = processor_ns();
    weft_status status = algorithm->emit(key, layout, rank, WEFT_OUT_OF_PLACE, &program, &error);
    int64_t emitted = processor_ns();
    if (status == WEFT_OK)
        status = weft_plan_create(&program, &plan, &error);
    int64_t checked = processor_ns();
    getrusage(RUSAGE_SELF, &usage);
    measured.num_steps = plan ? weft_plan_program(plan)->num_steps : 0;
    measured.status = status;
    snprintf(measured.text, sizeof measured.text, "%.*s", (int)sizeof measured.text - 1,
             error.text);
    measured.emit_ms = (double)(emitted - start) / 1e6;
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
                         algorithm->name);
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

// The slowest of a few ranks, or the one that was asked for.
static weft_status check_one(struct scale *scale, const struct weft_algorithm *algorithm,
                             const struct weft_key *key, int rank, struct weft_error *error)
{
    const int ranks[] = {0, 1, scale->num_ranks / 2, scale->num_ranks - 1};
    struct measurement worst = {.emit_ms = -1};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        struct measurement measured;
        int at = rank < 0 ? ranks[i] : rank;
        bool is_pair = key->collective == WEFT_SEND || key->collective == WEFT_RECV;
        if (at >= scale->num_ranks || (is_pair && at == key->root))
            continue;
        WEFT_TRY(measure(algorithm, key, scale->layout, at, &measured, error));
        if (measured.emit_ms + measured.check_ms > worst.emit_ms + worst.check_ms ||
            measured.status != WEFT_OK)
            worst = measured;
        if (rank >= 0 || measured.status != WEFT_OK)
            break;
    }
    if (worst.emit_ms >= 0)
        show(scale, algorithm, key->collective, &worst);
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

int weft_plan_scale_check(const char *command, int num_ranks, int rank, bool wants_json)
{
    struct weft_error error = {0};
    struct scale scale = {command, num_ranks, wants_json, NULL, json_array(), false};
    if (rank >= num_ranks) {
        weft_fail(&error, WEFT_INVALID_ARGUMENT, "rank %d of %d ranks", rank, num_ranks);
        json_decref(scale.rows);
        return weft_command_fail(command, &error);
    }
    if (!wants_json)
        printf("One rank of %d: its program written and proved (bars: %.0f ms of processor time, "
               "%.0f MiB)\n"
               "%-9s %-17s %6s %7s %9s %9s %9s %9s\n",
               num_ranks, limit_ms, limit_mib, "algorithm", "collective", "rank", "steps",
               "emit ms", "check ms", "total ms", "peak MiB");
    weft_status status =
        weft_layout_assumed(num_ranks, HOST_RANKS, POD_HOSTS, &scale.layout, &error);
    if (status == WEFT_OK)
        status = check_all(&scale, rank, &error);
    weft_layout_destroy(&scale.layout);
    if (status != WEFT_OK) {
        json_decref(scale.rows);
        return weft_command_fail(command, &error);
    }
    if (wants_json) {
        json_t *json =
            json_pack("{s:s, s:i, s:i, s:f, s:f, s:b, s:O}", "format", "weft-plan-scale", "version",
                      1, "ranks", num_ranks, "limit_ms", limit_ms, "limit_mib", limit_mib, "passed",
                      !scale.is_bad, "rows", scale.rows);
        char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
        printf("%s\n", text ? text : "");
        free(text);
        json_decref(json);
    } else {
        printf("%s\n", scale.is_bad ? "failed" : "passed");
    }
    json_decref(scale.rows);
    return weft_command_finish(command, scale.is_bad ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
