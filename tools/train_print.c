/*
 * SPDX-License-Identifier: Apache-2.0
 * See train_print.h.
 */
#include "tools/train_print.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "trainer/plot.h"

static const double LN2 = 0.69314718055994530942;

static double tokens_per_step(const struct weft_train_progress *progress)
{
    const struct weft_trainer_options *options = &progress->settings->options;
    return (double)options->batch * (double)options->model.context;
}

static double tokens_per_second(const struct weft_train_progress *progress)
{
    double seconds = (double)progress->training_ns * 1e-9;
    return seconds > 0 ? (double)progress->num_steps * tokens_per_step(progress) / seconds : 0;
}

void weft_train_print_header(const struct weft_train_progress *progress)
{
    const struct weft_trainer_options *options = &progress->settings->options;
    char hash[WEFT_TEXT_HASH_CHARS];
    weft_text_hash_print(progress->text->hash, hash);
    printf("data    %s: %zu bytes, sha256 %s\n", progress->settings->data,
           progress->text->num_bytes, hash);
    printf("model   %zu layers x %zu wide, %zu heads, context %zu: %zu parameters\n",
           options->model.layers, options->model.width, options->model.heads,
           options->model.context, progress->model->num_elements);
    printf("ranks   %d; batch %zu sequences in micro-batches of %zu: %.0f tokens per step\n",
           progress->layout.num_data, options->batch, options->micro_batch,
           tokens_per_step(progress));
    if (options->drop_rank >= 0)
        printf("test    the gradient of rank %d is left out\n", options->drop_rank);
    fflush(stdout);
}

void weft_train_print_step(const struct weft_train_progress *progress, const struct weft_step *step)
{
    bool live = isatty(STDOUT_FILENO);
    int64_t every = progress->settings->print_every;
    if (!live && (every == 0 || (step->step % every != 0 && !step->is_last)))
        return;
    printf("%sstep %5lld  %3.0f %%  %.3f bits/byte  norm %.2f  lr %.2e  %.0f tokens/s  "
           "communication %.0f %%%s",
           live ? "\r" : "", (long long)step->step, 100 * step->progress, step->loss / LN2,
           step->gradient_norm, step->learning_rate, tokens_per_second(progress),
           100 * (double)step->communication_ns / (double)step->step_ns,
           live ? (step->is_last ? "\033[K\n" : "\033[K") : "\n");
    fflush(stdout);
}

static size_t plot_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 40)
        return 66;
    return size.ws_col > 112 ? 100 : (size_t)size.ws_col - 12;
}

static weft_status print_curve(const struct weft_train_progress *progress, struct weft_error *error)
{
    struct weft_plot plot = {
        .x = progress->steps,
        .y = progress->losses,
        .count = progress->num_steps,
        .marks_x = progress->mark_steps,
        .marks_y = progress->mark_losses,
        .num_marks = progress->num_marks,
        .columns = plot_columns(),
        .rows = 14,
        .x_label = "step",
    };
    char *text;
    WEFT_TRY(weft_plot_draw(&plot, &text, error));
    printf("\nbits per byte (line: training, o: held out)\n%s\n", text);
    free(text);
    return WEFT_OK;
}

// The model may put any byte anywhere: what is not printable ASCII or a line break becomes '?'.
static void print_sample(const struct weft_train_progress *progress)
{
    printf("sample  (temperature %.2g)\n", progress->settings->temperature);
    for (size_t i = 0; i < progress->settings->sample_bytes; i++) {
        uint8_t byte = progress->sample[i];
        putchar((byte >= ' ' && byte < 0x7f) || byte == '\n' ? byte : '?');
    }
    printf("\n\n");
}

weft_status weft_train_print_summary(const struct weft_train_progress *progress,
                                     struct weft_error *error)
{
    const struct weft_train_settings *settings = progress->settings;
    WEFT_TRY(print_curve(progress, error));
    if (progress->sample)
        print_sample(progress);
    double flops = weft_model_flops_per_token(progress->model) * tokens_per_second(progress);
    printf("steps          %zu in %.1f s", progress->num_steps,
           (double)progress->training_ns * 1e-9);
    if (progress->skipped > 0)
        printf(", %lld skipped (loss or gradient not finite)", (long long)progress->skipped);
    printf("\nspeed          %.0f tokens/s, %.1f GFLOP/s (6 per parameter and token, causal "
           "attention)\n",
           tokens_per_second(progress), flops * 1e-9);
    printf("communication  %.1f %% of the time of a step waits for it (mean over ranks)\n",
           100 * progress->communication_share);
    printf("bits per byte  training %.4f (last twentieth of the steps), held out %.4f\n",
           progress->train_bits, progress->held_out_bits);
    double expect_bits = progress->settings->expect_bits;
    if (expect_bits > 0)
        printf("expected       at most %.2f held out: %s\n", expect_bits,
               progress->held_out_bits <= expect_bits ? "reached" : "MISSED");
    if (progress->compared)
        printf("comparison     step-1 gradient %.2e (limit %.0e), worst loss of %llu steps %.2e at "
               "step %llu (limit %.0e): %s\n",
               progress->difference.gradient, settings->gradient_tolerance,
               (unsigned long long)progress->difference.num_losses, progress->difference.loss,
               (unsigned long long)progress->difference.loss_step, settings->loss_tolerance,
               progress->within ? "agrees" : "DIFFERS");
    return WEFT_OK;
}

static void add_outcome(json_t *root, const struct weft_train_progress *progress)
{
    json_t *losses = json_array();
    for (size_t i = 0; i < progress->num_steps; i++)
        json_array_append_new(losses, json_real(progress->losses[i]));
    json_object_set_new(root, "loss_bits_per_byte", losses);
    json_t *marks = json_array();
    for (size_t i = 0; i < progress->num_marks; i++)
        json_array_append_new(marks, json_pack("{s:f, s:f}", "step", progress->mark_steps[i],
                                               "bits_per_byte", progress->mark_losses[i]));
    json_object_set_new(root, "held_out", marks);
    if (progress->sample) { // as numbers: it need not be UTF-8
        json_t *bytes = json_array();
        for (size_t i = 0; i < progress->settings->sample_bytes; i++)
            json_array_append_new(bytes, json_integer(progress->sample[i]));
        json_object_set_new(root, "sample_bytes", bytes);
    }
    if (progress->compared)
        json_object_set_new(
            root, "comparison",
            json_pack("{s:f, s:f, s:I, s:b}", "gradient", progress->difference.gradient, "loss",
                      progress->difference.loss, "loss_step",
                      (json_int_t)progress->difference.loss_step, "within", progress->within));
}

weft_status weft_train_print_json(const struct weft_train_progress *progress,
                                  struct weft_error *error)
{
    const struct weft_trainer_options *options = &progress->settings->options;
    char hash[WEFT_TEXT_HASH_CHARS];
    weft_text_hash_print(progress->text->hash, hash);
    json_t *root = json_pack(
        "{s:{s:s, s:I, s:s}, s:{s:I, s:I, s:I, s:I, s:I}, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:f, "
        "s:f, s:f, s:f}",
        "data", "name", progress->settings->data, "bytes", (json_int_t)progress->text->num_bytes,
        "sha256", hash, "model", "layers", (json_int_t)options->model.layers, "width",
        (json_int_t)options->model.width, "heads", (json_int_t)options->model.heads, "context",
        (json_int_t)options->model.context, "parameters", (json_int_t)progress->model->num_elements,
        "ranks", progress->layout.num_data, "batch", (json_int_t)options->batch, "micro_batch",
        (json_int_t)options->micro_batch, "seed", (json_int_t)options->seed, "steps",
        (json_int_t)progress->num_steps, "skipped_steps", (json_int_t)progress->skipped, "seconds",
        (double)progress->training_ns * 1e-9, "tokens_per_second", tokens_per_second(progress),
        "communication_share", progress->communication_share, "train_bits_per_byte",
        progress->train_bits, "held_out_bits_per_byte", progress->held_out_bits);
    if (!root)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "the outcome cannot be put into JSON");
    add_outcome(root, progress);
    int failed = json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
    return failed ? weft_fail(error, WEFT_SYSTEM, "the outcome cannot be written as JSON")
                  : WEFT_OK;
}
