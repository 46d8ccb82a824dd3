/*
 * SPDX-License-Identifier: Apache-2.0
 * See train_run.h.
 */
#include "tools/train_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/model_ops.h"
#include "tools/train_print.h"
#include "trainer/gradcheck.h"
#include "trainer/random.h"

static const double LN2 = 0.69314718055994530942;
enum { MARKS = 10, MARK_WINDOWS = 32, FINAL_WINDOWS = 256, SAMPLE_SEED = 1 };

// Everything one rank holds during a run.
struct run {
    const struct weft_train_settings *settings;
    struct weft_parallel *parallel;
    struct weft_text text;
    struct weft_trainer *trainer;
    struct weft_record yardstick; // of --check-against, on rank 0
    struct weft_record record;    // of this run
    struct weft_train_progress progress;
    int64_t communication_ns;
    bool is_first;   // rank 0
    bool is_talking; // rank 0 and not --json
};

static weft_status note_step(struct run *run, const struct weft_step *step,
                             struct weft_error *error)
{
    struct weft_train_progress *progress = &run->progress;
    if (progress->num_steps == progress->room) {
        size_t room = progress->room ? 2 * progress->room : 1024;
        double *steps = realloc(progress->steps, room * sizeof *steps);
        if (steps)
            progress->steps = steps;
        double *losses = realloc(progress->losses, room * sizeof *losses);
        if (losses)
            progress->losses = losses;
        if (!steps || !losses)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for losses");
        progress->room = room;
    }
    progress->steps[progress->num_steps] = (double)step->step;
    progress->losses[progress->num_steps++] = step->loss / LN2;
    progress->training_ns += step->step_ns;
    progress->skipped += step->skipped;
    run->communication_ns += step->communication_ns;
    if (step->step == 1)
        WEFT_TRY(weft_record_set_gradient(&run->record, run->trainer, error));
    return weft_record_add_loss(&run->record, step->loss, error);
}

// Collective: progress is the same on all ranks, so all measure at the same steps.
static weft_status mark(struct run *run, const struct weft_step *step, struct weft_error *error)
{
    struct weft_train_progress *progress = &run->progress;
    if (step->progress * MARKS < (double)progress->num_marks || step->is_last)
        return WEFT_OK;
    double loss;
    WEFT_TRY(weft_trainer_evaluate(run->trainer, MARK_WINDOWS, &loss, error));
    progress->mark_steps[progress->num_marks] = (double)step->step;
    progress->mark_losses[progress->num_marks++] = loss / LN2;
    return WEFT_OK;
}

static weft_status train(struct run *run, struct weft_error *error)
{
    struct weft_step step = {0};
    while (!step.is_last) {
        WEFT_TRY(weft_trainer_step(run->trainer, &step, error));
        WEFT_TRY(note_step(run, &step, error));
        if (run->is_talking)
            weft_train_print_step(&run->progress, &step);
        WEFT_TRY(mark(run, &step, error));
    }
    return WEFT_OK;
}

static weft_status measure_end(struct run *run, struct weft_error *error)
{
    struct weft_train_progress *progress = &run->progress;
    double loss;
    WEFT_TRY(weft_trainer_agree(run->trainer, error));
    WEFT_TRY(weft_trainer_evaluate(run->trainer, FINAL_WINDOWS, &loss, error));
    progress->held_out_bits = loss / LN2;
    if (progress->num_marks < WEFT_TRAIN_MARKS) {
        progress->mark_steps[progress->num_marks] = (double)progress->num_steps;
        progress->mark_losses[progress->num_marks++] = progress->held_out_bits;
    }
    double share = (double)run->communication_ns / (double)progress->training_ns;
    WEFT_TRY(weft_parallel_sum(run->parallel, &share, 1, error));
    progress->communication_share = share / progress->layout.num_data;
    size_t last = progress->num_steps / 20 + 1;
    progress->train_bits = 0;
    for (size_t i = progress->num_steps - last; i < progress->num_steps; i++)
        progress->train_bits += progress->losses[i] / (double)last;
    return WEFT_OK;
}

static weft_status draw_sample(struct run *run, struct weft_error *error)
{
    const struct weft_train_settings *settings = run->settings;
    const char *prompt = settings->prompt;
    size_t prompt_bytes = prompt ? strlen(prompt) : settings->options.model.context / 2;
    if (!prompt)
        prompt = (const char *)run->text.bytes + run->text.num_train;
    run->progress.sample = malloc(settings->sample_bytes);
    if (!run->progress.sample)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a sample");
    weft_trainer_generate(run->trainer, (const uint8_t *)prompt, prompt_bytes,
                          settings->temperature, SAMPLE_SEED, run->progress.sample,
                          settings->sample_bytes);
    return WEFT_OK;
}

// Rank 0 alone: what is written, compared and printed at the end.
static weft_status report(struct run *run, struct weft_error *error)
{
    const struct weft_train_settings *settings = run->settings;
    struct weft_train_progress *progress = &run->progress;
    if (settings->dump)
        WEFT_TRY(weft_record_save(&run->record, settings->dump, error));
    if (settings->check_against) {
        WEFT_TRY(weft_record_compare(&run->record, &run->yardstick, &progress->difference, error));
        progress->compared = true;
        progress->within = progress->difference.gradient <= settings->gradient_tolerance &&
                           progress->difference.loss <= settings->loss_tolerance;
    }
    if (settings->sample_bytes > 0)
        WEFT_TRY(draw_sample(run, error));
    return settings->as_json ? weft_train_print_json(progress, error)
                             : weft_train_print_summary(progress, error);
}

// Could --dump be written when training is over? By writing beside it, as the save does.
static weft_status probe_dump(const char *path, struct weft_error *error)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--dump %s: this is no regular file", path);
    char probe[4096];
    if (snprintf(probe, sizeof probe, "%s.XXXXXX", path) >= (int)sizeof probe)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--dump %.100s...: path too long", path);
    int file = mkostemp(probe, O_CLOEXEC);
    if (file < 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--dump %s: cannot write there: %s", path,
                         strerror(errno));
    close(file);
    unlink(probe);
    return WEFT_OK;
}

// Collective. What can fail on rank 0 alone fails before training starts, and on all.
static weft_status prepare(struct run *run, struct weft_error *error)
{
    const struct weft_train_settings *settings = run->settings;
    struct weft_layout layout = weft_parallel_layout(run->parallel);
    run->is_first = layout.data_rank == 0;
    run->is_talking = run->is_first && !settings->as_json;
    weft_status status = WEFT_OK;
    if (run->is_first && settings->check_against)
        status = weft_record_load(settings->check_against, &run->yardstick, error);
    if (status == WEFT_OK && run->is_first && settings->dump)
        status = probe_dump(settings->dump, error);
    WEFT_TRY(weft_parallel_share_outcome(run->parallel, status, error));
    WEFT_TRY(weft_text_share(run->parallel, settings->data, &run->text, error));
    status =
        weft_trainer_create(&settings->options, run->parallel, &run->text, &run->trainer, error);
    if (status != WEFT_OK && !run->is_first && status == WEFT_INVALID_ARGUMENT)
        error->text[0] = '\0'; // rank 0 says the same
    WEFT_TRY(status);
    run->record = weft_record_of(&settings->options, &run->text);
    run->progress = (struct weft_train_progress){
        .settings = settings,
        .model = weft_trainer_model(run->trainer),
        .text = &run->text,
        .layout = layout,
    };
    return WEFT_OK;
}

static weft_status run_all(struct run *run, bool *passed, struct weft_error *error)
{
    WEFT_TRY(prepare(run, error));
    if (run->is_talking)
        weft_train_print_header(&run->progress);
    WEFT_TRY(train(run, error));
    WEFT_TRY(measure_end(run, error));
    weft_status status = run->is_first ? report(run, error) : WEFT_OK;
    WEFT_TRY(weft_parallel_share_outcome(run->parallel, status, error));
    double expect_bits = run->progress.settings->expect_bits;
    uint8_t failed = (run->progress.compared && !run->progress.within) ||
                     (expect_bits > 0 && !(run->progress.held_out_bits <= expect_bits));
    WEFT_TRY(weft_parallel_broadcast(run->parallel, &failed, sizeof failed, error));
    *passed = !failed;
    return weft_parallel_close(run->parallel, error);
}

weft_status weft_train_run(const struct weft_train_settings *settings, bool *passed,
                           struct weft_error *error)
{
    struct run run = {.settings = settings};
    WEFT_TRY(weft_trainer_options_check(&settings->options, error));
    WEFT_TRY(weft_parallel_create(&run.parallel, error));
    int rank = weft_parallel_layout(run.parallel).data_rank;
    weft_status status = run_all(&run, passed, error);
    if (status != WEFT_OK && error->text[0] && weft_parallel_layout(run.parallel).num_data > 1)
        weft_fail_prefix(error, "rank %d", rank);
    free(run.progress.steps);
    free(run.progress.losses);
    free(run.progress.sample);
    weft_record_free(&run.record);
    weft_record_free(&run.yardstick);
    weft_trainer_destroy(&run.trainer);
    weft_text_free(&run.text);
    weft_parallel_destroy(&run.parallel);
    return status;
}

// ---- --gradcheck ----

// A model with parameters and a batch of the text, as its first step would see them.
struct trial {
    struct weft_model *model;
    float *parameters;
    uint8_t *input, *target;
    struct weft_batch batch;
};

static void trial_free(struct trial *trial)
{
    weft_model_destroy(&trial->model);
    free(trial->parameters);
    free(trial->input);
    free(trial->target);
}

static weft_status trial_create(const struct weft_model_config *config, size_t sequences,
                                uint64_t seed, const struct weft_text *text, struct trial *trial,
                                struct weft_error *error)
{
    size_t length = config->context, rows = sequences * length;
    *trial = (struct trial){0};
    WEFT_TRY(weft_model_create(config, &trial->model, error));
    trial->parameters = malloc(trial->model->num_floats * sizeof(float));
    trial->input = malloc(rows);
    trial->target = malloc(rows);
    if (!trial->parameters || !trial->input || !trial->target) {
        trial_free(trial);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a gradient check");
    }
    weft_model_initialise(trial->model, seed, trial->parameters);
    weft_sequences_fill(text->bytes, text->num_train, seed, 1, 0, sequences, length, trial->input,
                        trial->target);
    trial->batch = (struct weft_batch){sequences, length, trial->input, trial->target};
    return WEFT_OK;
}

static const double REFERENCE_LIMIT = 1e-6, DIFFERENCES_LIMIT = 1e-6;

static weft_status check_reference(const struct weft_train_settings *settings,
                                   const struct weft_text *text, bool *passed,
                                   struct weft_error *error)
{
    const struct weft_trainer_options *options = &settings->options;
    struct trial trial;
    WEFT_TRY(
        trial_create(&options->model, options->micro_batch, options->seed, text, &trial, error));
    struct weft_gradcheck result;
    weft_status status =
        weft_gradcheck_reference(trial.model, trial.parameters, &trial.batch, &result, error);
    if (status == WEFT_OK) {
        *passed = *passed && result.whole <= REFERENCE_LIMIT;
        printf("fp32 against float64, %zu x %zu, %zu tokens:\n"
               "  whole gradient %.2e (limit %.0e), worst tensor %.2e (%s), loss %.2e\n",
               options->model.layers, options->model.width,
               options->micro_batch * options->model.context, result.whole, REFERENCE_LIMIT,
               result.worst_tensor, result.worst_name, result.loss);
    }
    trial_free(&trial);
    return status;
}

static weft_status check_differences(const struct weft_train_settings *settings,
                                     const struct weft_text *text, bool *passed,
                                     struct weft_error *error)
{
    // Small, because each element costs two runs of plain loops; every kind of tensor is there.
    struct weft_model_config small = {2, 24, 3, 12};
    struct trial trial;
    WEFT_TRY(trial_create(&small, 2, settings->options.seed, text, &trial, error));
    for (size_t i = 0; i < trial.model->num_floats; i++) // away from exact zeros and ones
        trial.parameters[i] += (float)(0.05 * weft_random_normal(settings->options.seed, i));
    struct weft_differences result;
    weft_status status =
        weft_gradcheck_differences(trial.model, trial.parameters, &trial.batch, 8, &result, error);
    if (status == WEFT_OK) {
        *passed = *passed && result.worst <= DIFFERENCES_LIMIT;
        printf("float64 against central differences, %zu tensors, %zu elements:\n"
               "  worst %.2e of the tensor's largest gradient (%s; limit %.0e)\n",
               result.num_tensors, result.num_elements, result.worst, result.worst_name,
               DIFFERENCES_LIMIT);
    }
    trial_free(&trial);
    return status;
}

weft_status weft_train_gradcheck(const struct weft_train_settings *settings, bool *passed,
                                 struct weft_error *error)
{
    struct weft_text text;
    WEFT_TRY(weft_trainer_options_check(&settings->options, error));
    WEFT_TRY(weft_text_load(settings->data, &text, error));
    weft_status status = WEFT_OK;
    if (text.num_train <= settings->options.model.context || text.num_train <= 12)
        status =
            weft_fail(error, WEFT_INVALID_ARGUMENT, "data: %zu bytes are too few", text.num_bytes);
    weft_blas_use_one_thread();
    *passed = true;
    if (status == WEFT_OK)
        status = check_reference(settings, &text, passed, error);
    if (status == WEFT_OK)
        status = check_differences(settings, &text, passed, error);
    if (status == WEFT_OK)
        printf("%s\n", *passed ? "the gradients are right" : "the gradients are WRONG");
    weft_text_free(&text);
    return status;
}
