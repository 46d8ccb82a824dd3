/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft bench`: options as in nccl-tests. With --ranks it starts itself again as local ranks (the
 * hidden option --started tells a rank so); without, it is one rank of whatever launched it.
 */
#include <argp.h>
#include <stdbool.h>
#include <string.h>

#include "base/config.h"
#include "base/dtype.h"
#include "collectives/program/shape.h"
#include "tools/bench_tune.h"
#include "tools/command.h"
#include "tools/local_ranks.h"

enum {
    KEY_ALGORITHM = 256,
    KEY_FORMAT,
    KEY_JSON,
    KEY_RANKS,
    KEY_STARTED,
    KEY_ORDER,
    KEY_BUFFERS,
    KEY_TUNE
};

struct bench_options {
    struct weft_bench_settings settings;
    bool has_collective;
    bool has_step;
    bool tunes;
    bool was_started;
    int num_ranks; // 0: the launcher's
};

/* ---- options ---- */

static int64_t number(struct argp_state *state, const char *option, const char *text, int64_t low,
                      int64_t high)
{
    struct weft_error error;
    int64_t value = low;
    if (weft_parse_integer(text, low, high, &value, &error) != WEFT_OK)
        argp_error(state, "%s: %s", option, error.text);
    return value;
}

static size_t bytes_value(struct argp_state *state, const char *option, const char *text)
{
    struct weft_error error;
    int64_t value = 0;
    if (weft_parse_bytes(text, &value, &error) != WEFT_OK)
        argp_error(state, "%s: %s", option, error.text);
    return (size_t)value;
}

// Those whose blocks have one size.
static bool is_timed(weft_collective collective)
{
    return collective <= WEFT_ALL_TO_ALL || collective == WEFT_GATHER || collective == WEFT_SCATTER;
}

static void set_collective(struct bench_options *options, struct argp_state *state,
                           const char *name)
{
    struct weft_error error;
    weft_collective found = WEFT_SEND;
    if (options->has_collective)
        argp_error(state, "unexpected argument '%s'", name);
    options->settings.in_turns = strcmp(name, "ping_pong") == 0;
    if (strcmp(name, "send_recv") != 0 && !options->settings.in_turns &&
        (weft_collective_from_name(name, &found, &error) != WEFT_OK || !is_timed(found)))
        argp_error(state,
                   "'%s' is none of all_reduce all_gather reduce_scatter broadcast reduce "
                   "all_to_all gather scatter send_recv ping_pong",
                   name);
    options->settings.collective = found;
    options->has_collective = true;
}

static void set_dtype(struct weft_bench_settings *settings, struct argp_state *state,
                      const char *name)
{
    struct weft_error error;
    weft_dtype dtype = WEFT_FLOAT32;
    settings->dtype = -1;
    if (!strcmp(name, "all"))
        return;
    if (weft_dtype_from_name(name, &dtype, &error) != WEFT_OK)
        argp_error(state, "-d: %s, all", error.text);
    settings->dtype = (int)dtype;
}

static void set_op(struct weft_bench_settings *settings, struct argp_state *state, const char *name)
{
    struct weft_error error;
    weft_op op = WEFT_SUM;
    settings->op = -1;
    if (!strcmp(name, "all"))
        return;
    if (weft_op_from_name(name, &op, &error) != WEFT_OK)
        argp_error(state, "-o: %s, all", error.text);
    settings->op = (int)op;
}

static void set_order(struct weft_bench_settings *settings, struct argp_state *state,
                      const char *name)
{
    if (strcmp(name, "free") != 0 && strcmp(name, "reproducible") != 0)
        argp_error(state, "--order: '%s' is neither free nor reproducible", name);
    settings->order = name[0] == 'f' ? WEFT_ORDER_FREE : WEFT_ORDER_REPRODUCIBLE;
}

static void set_buffers(struct weft_bench_settings *settings, struct argp_state *state,
                        const char *name)
{
    if (strcmp(name, "mem") != 0 && strcmp(name, "malloc") != 0)
        argp_error(state, "--buffers: '%s' is neither mem nor malloc", name);
    settings->ordinary_buffers = !strcmp(name, "malloc");
}

static void check_together(struct bench_options *options, struct argp_state *state)
{
    struct weft_bench_settings *settings = &options->settings;
    if (!options->has_collective)
        argp_error(state, "which collective?");
    else if (settings->min_bytes > settings->max_bytes)
        argp_error(state, "-b %zu is larger than -e %zu", settings->min_bytes, settings->max_bytes);
    else if (options->num_ranks && !options->was_started && weft_config_environment("WEFT_RANK"))
        argp_error(state, "--ranks inside `weft launch`: leave it out, the launcher's ranks are "
                          "used");
    else if (settings->order == WEFT_ORDER_REPRODUCIBLE &&
             !weft_collective_reduces(settings->collective))
        argp_error(state, "--order reproducible is for all_reduce, reduce_scatter and reduce");
    else if (options->tunes && (settings->collective == WEFT_SEND || settings->algorithm))
        argp_error(state,
                   "--tune compares algorithms of a collective: no send_recv, no ping_pong, no "
                   "--algorithm");
    else if (options->tunes && (settings->dtype < 0 || settings->op < 0 || settings->root < 0))
        argp_error(state, "--tune takes one type, one operation and one root, not all");
    else if (options->tunes && !strcmp(settings->format, "csv"))
        argp_error(state, "--tune: nccl or json, not csv");
    if (options->has_step && settings->step_factor == 0)
        settings->step_factor = 1;
    else if (settings->step_factor == 0)
        settings->step_factor = 4;
}

// How large and how often.
static bool parse_amount(int key, struct argp_state *state, const char *argument,
                         struct bench_options *options)
{
    struct weft_bench_settings *settings = &options->settings;
    switch (key) {
    case 'b':
        settings->min_bytes = bytes_value(state, "-b", argument);
        return true;
    case 'e':
        settings->max_bytes = bytes_value(state, "-e", argument);
        return true;
    case 'i':
        settings->step_bytes = bytes_value(state, "-i", argument);
        options->has_step = true;
        return true;
    case 'f':
        settings->step_factor = number(state, "-f", argument, 1, 1 << 30);
        return true;
    case 'n':
        settings->iterations = (int)number(state, "-n", argument, 1, 1 << 24);
        return true;
    case 'w':
        settings->warmup_iterations = (int)number(state, "-w", argument, 0, 1 << 24);
        return true;
    case 'c':
        settings->check_iterations = (int)number(state, "-c", argument, 0, 1 << 24);
        return true;
    default:
        return false;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    struct weft_bench_settings *settings = &options->settings;
    if (parse_amount(key, state, argument, options))
        return 0;
    switch (key) {
    case 'd':
        set_dtype(settings, state, argument);
        return 0;
    case 'o':
        set_op(settings, state, argument);
        return 0;
    case 'r':
        settings->root =
            !strcmp(argument, "all") ? -1 : (int)number(state, "-r", argument, 0, 1 << 24);
        return 0;
    case KEY_ORDER:
        set_order(settings, state, argument);
        return 0;
    case KEY_BUFFERS:
        set_buffers(settings, state, argument);
        return 0;
    case KEY_ALGORITHM:
        settings->algorithm = argument;
        return 0;
    case KEY_FORMAT:
        settings->format = argument;
        if (!weft_bench_printer_from_name(argument))
            argp_error(state, "--format: '%s' is none of nccl json csv", argument);
        return 0;
    case KEY_JSON:
        settings->format = "json";
        return 0;
    case KEY_TUNE:
        options->tunes = true;
        settings->tune_rounds =
            argument ? (int)number(state, "--tune", argument, 1, WEFT_BENCH_TUNE_ROUNDS)
                     : WEFT_BENCH_TUNE_ROUNDS;
        return 0;
    case KEY_RANKS:
        options->num_ranks = (int)number(state, "--ranks", argument, 1, WEFT_LOCAL_RANKS_LIMIT);
        return 0;
    case KEY_STARTED:
        options->was_started = true;
        return 0;
    case ARGP_KEY_ARG:
        set_collective(options, state, argument);
        return 0;
    case ARGP_KEY_END:
        check_together(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options_table[] = {
    {"ranks", KEY_RANKS, "N", 0,
     "Start N ranks on this machine (default: use the ranks of the launcher, or be alone)", 0},
    {"minbytes", 'b', "SIZE", 0, "Smallest size (default 8)", 0},
    {"maxbytes", 'e', "SIZE", 0, "Largest size (default 32M)", 0},
    {"stepfactor", 'f', "N", 0, "Multiply the size by N (default 4)", 0},
    {"stepbytes", 'i', "SIZE", 0, "Add SIZE instead (default 1M, with -f 1)", 0},
    {"iters", 'n', "N", 0, "Timed iterations (default 20)", 0},
    {"warmup_iters", 'w', "N", 0, "Iterations before those (default 5)", 0},
    {"check", 'c', "N", 0, "Checked iterations (default 1; 0 prints N/A)", 0},
    {"datatype", 'd', "TYPE", 0,
     "float double bfloat16 half f8e4m3 f8e5m2 int8 uint8 int16 uint16 int32 uint32 int64 uint64 "
     "all",
     0},
    {"op", 'o', "OP", 0,
     "sum prod min max avg mulsum; of integers land lor lxor band bor bxor; all", 0},
    {"root", 'r', "RANK", 0, "Root rank (default 0), or all", 0},
    {"algorithm", KEY_ALGORITHM, "NAME", 0, "Force an algorithm instead of the planner's choice",
     0},
    {"order", KEY_ORDER, "ORDER", 0,
     "free (default), or reproducible: timed in turns with free, whose time is printed too", 0},
    {"buffers", KEY_BUFFERS, "KIND", 0,
     "mem (default): from weft_mem_alloc; malloc: ordinary ones, that other ranks cannot see", 0},
    {"tune", KEY_TUNE, "ROUNDS", OPTION_ARG_OPTIONAL,
     "Time every algorithm that can do it, in 7 (ROUNDS) turns, beside what the planner expects "
     "and picks",
     0},
    {"format", KEY_FORMAT, "FORMAT", 0, "nccl (default), json or csv", 0},
    {"json", KEY_JSON, NULL, 0, "The same as --format json", 0},
    {"started", KEY_STARTED, NULL, OPTION_HIDDEN, NULL, 0},
    {0},
};
static const struct argp parser = {
    .options = options_table,
    .parser = parse_option,
    .args_doc = "COLLECTIVE",
    .doc = "Time a collective and check its result: all_reduce, all_gather, reduce_scatter, "
           "broadcast, reduce, all_to_all, gather, scatter, send_recv or ping_pong. Sizes are of "
           "the larger side."
           "\vOptions and columns are those of nccl-tests; GB/s is 10^9 bytes per second, busbw is "
           "what each link carries. Lines that begin with '#' are for people.\n\n"
           "Exits with 1 when any element on any rank is wrong.",
};

/* ---- running ---- */

static weft_status run_as_rank(const struct bench_options *options, uint64_t *wrong,
                               struct weft_error *error)
{
    const struct weft_bench_settings *settings = &options->settings;
    weft_context *context = NULL;
    weft_comm *comm = NULL;
    weft_status status = weft_context_create(&context);
    if (status == WEFT_OK)
        status = weft_comm_create_from_environment(context, &comm, NULL);
    if (status != WEFT_OK) {
        const char *text = weft_context_error_text(context); // "": the library has logged why
        weft_fail(error, status, "cannot start: %s", *text ? text : weft_status_text(status));
    } else {
        status = options->tunes ? weft_bench_tune(settings, context, comm, error)
                                : weft_bench_run(settings, context, comm, wrong, error);
        // Leaving while another rank still waits for this one would look like a death to it.
        if (status == WEFT_OK && weft_comm_finalize(comm, NULL) != WEFT_OK)
            status = weft_fail(error, weft_comm_async_error(comm), "rank %d: at the end: %s",
                               weft_comm_rank(comm), weft_comm_error_text(comm));
    }
    weft_comm_destroy(&comm);
    weft_context_destroy(&context);
    return status;
}

int weft_command_bench(int argc, char **argv)
{
    struct bench_options options = {
        .settings =
            {
                .min_bytes = 8,
                .max_bytes = 32 << 20,
                .step_bytes = 1 << 20,
                .warmup_iterations = 5,
                .iterations = 20,
                .check_iterations = 1,
                .dtype = WEFT_FLOAT32,
                .op = WEFT_SUM,
                .format = "nccl",
            },
    };
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    struct weft_error error;
    if (options.num_ranks && !options.was_started) {
        if (weft_bench_check(&options.settings, options.num_ranks, &error) != WEFT_OK)
            return weft_command_fail(argv[0], &error);
        return weft_local_ranks_start_self(options.num_ranks, argc, argv);
    }
    uint64_t wrong = 0;
    if (run_as_rank(&options, &wrong, &error) != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], wrong ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
