/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft train`: trains a small GPT on bytes of text over the collectives, or checks its gradients.
 * Here are the options and how ranks are started; the run is train_run.c's.
 */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "tools/command.h"
#include "tools/local_ranks.h"
#include "tools/train_run.h"

struct train_options {
    struct weft_train_settings settings;
    int num_ranks; // 0: the launcher's
    bool was_started;
    bool gradcheck;
    bool has_length; // --steps or --seconds was given
};

enum key {
    KEY_RANKS = 256,
    KEY_STARTED,
    KEY_DATA,
    KEY_LAYERS,
    KEY_WIDTH,
    KEY_HEADS,
    KEY_CONTEXT,
    KEY_BATCH,
    KEY_MICRO_BATCH,
    KEY_STEPS,
    KEY_SECONDS,
    KEY_LR,
    KEY_WARMUP,
    KEY_WEIGHT_DECAY,
    KEY_CLIP,
    KEY_SEED,
    KEY_BUCKET,
    KEY_PROMPT,
    KEY_SAMPLE,
    KEY_TEMPERATURE,
    KEY_EVERY,
    KEY_JSON,
    KEY_GRADCHECK,
    KEY_DUMP,
    KEY_CHECK_AGAINST,
    KEY_GRADIENT_TOLERANCE,
    KEY_LOSS_TOLERANCE,
    KEY_DROP_RANK,
    KEY_EXPECT_BITS,
};

static const struct argp_option options_table[] = {
    {"ranks", KEY_RANKS, "N", 0,
     "Start N ranks on this machine (default: use the ranks of the launcher, or be alone)", 0},
    {"started", KEY_STARTED, NULL, OPTION_HIDDEN, "", 0},
    {"data", KEY_DATA, "NAME|FILE", 0,
     "kjv (the King James Bible, from the package bible-kjv), licenses "
     "(/usr/share/common-licenses) or a file (default kjv)",
     0},
    {"json", KEY_JSON, NULL, 0, "Print the outcome as JSON, and nothing else", 0},
    {"every", KEY_EVERY, "N", 0,
     "Steps between lines where the output is no terminal; 0: none (default 50)", 0},
    {NULL, 0, NULL, 0, "Model:", 1},
    {"layers", KEY_LAYERS, "N", 0, "Blocks (default 4)", 1},
    {"width", KEY_WIDTH, "N", 0, "Width of the residual stream (default 128)", 1},
    {"heads", KEY_HEADS, "N", 0, "Attention heads (default 4)", 1},
    {"context", KEY_CONTEXT, "N", 0, "Bytes seen at once (default 128)", 1},
    {NULL, 0, NULL, 0, "Training:", 2},
    {"batch", KEY_BATCH, "N", 0, "Sequences per step, over all ranks (default 8)", 2},
    {"micro-batch", KEY_MICRO_BATCH, "N", 0,
     "Sequences that go through the model at once; must divide --batch (default 2)", 2},
    {"steps", KEY_STEPS, "N", 0, "Stop after N steps", 2},
    {"seconds", KEY_SECONDS, "X", 0,
     "Stop after X seconds by rank 0's clock; the learning rate then follows that clock (default "
     "60, if --steps is not given)",
     2},
    {"lr", KEY_LR, "X", 0, "Largest learning rate; falls to a tenth by a cosine (default 0.006)",
     2},
    {"warmup", KEY_WARMUP, "N", 0, "Steps over which the learning rate rises (default 60)", 2},
    {"weight-decay", KEY_WEIGHT_DECAY, "X", 0, "Decay of matrices (default 0.1)", 2},
    {"clip", KEY_CLIP, "X", 0, "Largest gradient norm; 0: no limit (default 1)", 2},
    {"seed", KEY_SEED, "N", 0, "Of initial values and of the order of the data (default 1)", 2},
    {"bucket", KEY_BUCKET, "BYTES", 0,
     "Gradients are summed in buckets of about this size, K and M allowed (default 1M)", 2},
    {NULL, 0, NULL, 0, "Sample of generated text:", 3},
    {"sample", KEY_SAMPLE, "BYTES", 0, "Length; 0: none (default 320)", 3},
    {"prompt", KEY_PROMPT, "TEXT", 0, "What it continues (default: the held-out text's start)", 3},
    {"temperature", KEY_TEMPERATURE, "X", 0, "Above 0; smaller is tamer (default 0.7)", 3},
    {NULL, 0, NULL, 0, "Checks:", 4},
    {"gradcheck", KEY_GRADCHECK, NULL, 0,
     "Do not train: compare the gradients with a float64 reference and with finite differences", 4},
    {"dump", KEY_DUMP, "FILE", 0, "Write step-1 gradient and losses to FILE", 4},
    {"check-against", KEY_CHECK_AGAINST, "FILE", 0,
     "Compare step-1 gradient and losses with those in FILE", 4},
    {"gradient-tolerance", KEY_GRADIENT_TOLERANCE, "X", 0, "Largest |g - g'| / |g'| (default 1e-6)",
     4},
    {"loss-tolerance", KEY_LOSS_TOLERANCE, "X", 0,
     "Largest relative difference of a step's loss (default 1e-5)", 4},
    {"expect-bits", KEY_EXPECT_BITS, "X", 0,
     "Fail when the held-out text ends above X bits per byte", 4},
    {"drop-rank", KEY_DROP_RANK, "R", 0,
     "For tests: leave rank R's gradient out of every sum, which --check-against must notice", 4},
    {0},
};

static int64_t integer(struct argp_state *state, const char *option, const char *text, int64_t low,
                       int64_t high)
{
    struct weft_error error;
    int64_t value = low;
    if (weft_parse_integer(text, low, high, &value, &error) != WEFT_OK)
        argp_error(state, "%s: %s", option, error.text);
    return value;
}

static double real(struct argp_state *state, const char *option, const char *text, double low,
                   double high)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low) || !(value <= high))
        argp_error(state, "%s: '%s' is not a number from %g to %g", option, text, low, high);
    return value;
}

static error_t parse_model_option(int key, char *argument, struct argp_state *state)
{
    struct weft_trainer_options *options =
        &((struct train_options *)state->input)->settings.options;
    switch (key) {
    case KEY_LAYERS:
        options->model.layers = (size_t)integer(state, "--layers", argument, 1, 128);
        return 0;
    case KEY_WIDTH:
        options->model.width = (size_t)integer(state, "--width", argument, 2, 8192);
        return 0;
    case KEY_HEADS:
        options->model.heads = (size_t)integer(state, "--heads", argument, 1, 8192);
        return 0;
    case KEY_CONTEXT:
        options->model.context = (size_t)integer(state, "--context", argument, 2, 8192);
        return 0;
    case KEY_BATCH:
        options->batch = (size_t)integer(state, "--batch", argument, 1, 1 << 20);
        return 0;
    case KEY_MICRO_BATCH:
        options->micro_batch = (size_t)integer(state, "--micro-batch", argument, 1, 1 << 12);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_training_option(int key, char *argument, struct argp_state *state)
{
    struct train_options *all = state->input;
    struct weft_trainer_options *options = &all->settings.options;
    struct weft_error error;
    int64_t bytes;
    switch (key) {
    case KEY_STEPS:
        options->steps = integer(state, "--steps", argument, 1, INT64_C(1) << 40);
        all->has_length = true;
        return 0;
    case KEY_SECONDS:
        options->seconds = real(state, "--seconds", argument, 0.001, 1e9);
        all->has_length = true;
        return 0;
    case KEY_LR:
        options->learning_rate.peak = real(state, "--lr", argument, 1e-12, 100);
        options->learning_rate.floor = options->learning_rate.peak / 10;
        return 0;
    case KEY_WARMUP:
        options->learning_rate.warmup_steps = integer(state, "--warmup", argument, 0, 1 << 30);
        return 0;
    case KEY_WEIGHT_DECAY:
        options->weight_decay = (float)real(state, "--weight-decay", argument, 0, 100);
        return 0;
    case KEY_CLIP:
        options->clip = (float)real(state, "--clip", argument, 0, 1e9);
        return 0;
    case KEY_SEED:
        options->seed = (uint64_t)integer(state, "--seed", argument, 0, INT64_MAX);
        return 0;
    case KEY_BUCKET:
        if (weft_parse_bytes(argument, &bytes, &error) != WEFT_OK || bytes < 1)
            argp_error(state, "--bucket: '%s' is not a size", argument);
        else
            options->bucket_bytes = (size_t)bytes;
        return 0;
    case KEY_DROP_RANK:
        options->drop_rank = (int)integer(state, "--drop-rank", argument, 0, 1 << 20);
        return 0;
    default:
        return parse_model_option(key, argument, state);
    }
}

static void check_together(struct train_options *options, struct argp_state *state)
{
    if (options->num_ranks && !options->was_started && weft_config_environment("WEFT_RANK"))
        argp_error(state, "--ranks inside `weft launch`: leave it out, the launcher's ranks are "
                          "used");
    if (options->gradcheck && (options->num_ranks || options->settings.dump ||
                               options->settings.check_against || options->settings.as_json))
        argp_error(state, "--gradcheck stands alone: no --ranks, --dump, --check-against, --json");
    if (!options->has_length)
        options->settings.options.seconds = 60;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct train_options *options = state->input;
    struct weft_train_settings *settings = &options->settings;
    switch (key) {
    case KEY_RANKS:
        options->num_ranks = (int)integer(state, "--ranks", argument, 1, WEFT_LOCAL_RANKS_LIMIT);
        return 0;
    case KEY_STARTED:
        options->was_started = true;
        return 0;
    case KEY_DATA:
        settings->data = argument;
        return 0;
    case KEY_PROMPT:
        settings->prompt = argument;
        return 0;
    case KEY_SAMPLE:
        settings->sample_bytes = (size_t)integer(state, "--sample", argument, 0, 1 << 20);
        return 0;
    case KEY_TEMPERATURE:
        settings->temperature = real(state, "--temperature", argument, 0.001, 1000);
        return 0;
    case KEY_EVERY:
        settings->print_every = integer(state, "--every", argument, 0, INT64_C(1) << 40);
        return 0;
    case KEY_JSON:
        settings->as_json = true;
        return 0;
    case KEY_GRADCHECK:
        options->gradcheck = true;
        return 0;
    case KEY_DUMP:
        settings->dump = argument;
        return 0;
    case KEY_CHECK_AGAINST:
        settings->check_against = argument;
        return 0;
    case KEY_GRADIENT_TOLERANCE:
        settings->gradient_tolerance = real(state, "--gradient-tolerance", argument, 0, 1e9);
        return 0;
    case KEY_LOSS_TOLERANCE:
        settings->loss_tolerance = real(state, "--loss-tolerance", argument, 0, 1e9);
        return 0;
    case KEY_EXPECT_BITS:
        settings->expect_bits = real(state, "--expect-bits", argument, 0.01, 8);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", argument);
        return 0;
    case ARGP_KEY_END:
        check_together(options, state);
        return 0;
    default:
        return parse_training_option(key, argument, state);
    }
}

static const struct argp parser = {
    .options = options_table,
    .parser = parse_option,
    .doc = "Train a small GPT on bytes of text, its gradients summed over all ranks."
           "\vThe same seed and --batch give the same training on any number of ranks, up to "
           "rounding: run once with --dump, again on more ranks with --check-against.\n\n"
           "Exits with 1 when a check finds too large a difference, or --expect-bits is missed.",
};

int weft_command_train(int argc, char **argv)
{
    struct train_options options = {
        .settings =
            {
                .options =
                    {
                        .model = {.layers = 4, .width = 128, .heads = 4, .context = 128},
                        .batch = 8,
                        .micro_batch = 2,
                        .learning_rate = {.peak = 6e-3, .floor = 6e-4, .warmup_steps = 60},
                        .weight_decay = 0.1f,
                        .clip = 1.0f,
                        .seed = 1,
                        .bucket_bytes = 1 << 20,
                        .drop_rank = -1,
                    },
                .data = "kjv",
                .sample_bytes = 320,
                .temperature = 0.7,
                .print_every = 50,
                .gradient_tolerance = 1e-6,
                .loss_tolerance = 1e-5,
            },
    };
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (options.num_ranks && !options.was_started)
        return weft_local_ranks_start_self(options.num_ranks, argc, argv);
    struct weft_error error = {0};
    bool passed = false;
    weft_status status = options.gradcheck
                             ? weft_train_gradcheck(&options.settings, &passed, &error)
                             : weft_train_run(&options.settings, &passed, &error);
    if (status != WEFT_OK && !error.text[0])
        return weft_exit_from_status(status); // another rank has said why
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], passed ? WEFT_EXIT_OK : WEFT_EXIT_FAILED);
}
