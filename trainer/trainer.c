/*
 * SPDX-License-Identifier: Apache-2.0
 * See trainer.h. Gradients are sums over tokens until the update divides once by all tokens of the
 * global batch, so uneven shares stay exact.
 */
#include "trainer/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/clock.h"
#include "kernels/model_ops.h"
#include "trainer/random.h"

static const float BETA1 = 0.9f, BETA2 = 0.99f, EPSILON = 1e-8f;

struct weft_trainer {
    struct weft_trainer_options options;
    struct weft_parallel *parallel;
    const struct weft_text *text;
    struct weft_model *model;
    struct weft_workspace *workspace;
    float *parameters;
    float *gradients; // from weft_parallel_alloc
    float *mean, *variance;
    uint8_t *input, *target; // (micro_batch, context)
    int64_t step;            // done so far
    int64_t updates;         // steps that were not skipped
    int64_t start_ns;        // of the first step; 0 before it
    double progress;         // agreed by all ranks after each step
};

static double tokens_per_step(const struct weft_trainer *trainer)
{
    return (double)trainer->options.batch * (double)trainer->options.model.context;
}

weft_status weft_trainer_options_check(const struct weft_trainer_options *options,
                                       struct weft_error *error)
{
    WEFT_TRY(weft_model_config_check(&options->model, error));
    if (options->micro_batch < 1 || options->batch < 1 ||
        options->batch % options->micro_batch != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "batch: %zu sequences cannot be divided into micro-batches of %zu",
                         options->batch, options->micro_batch);
    if (options->steps < 0 || !(options->seconds >= 0) ||
        (options->steps == 0 && options->seconds == 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "steps, seconds: one must be above 0");
    const struct weft_learning_rate *rate = &options->learning_rate;
    if (!(rate->peak > 0) || !(rate->floor >= 0) || !isfinite(rate->peak) ||
        !(rate->floor <= rate->peak) || rate->warmup_steps < 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "learning rate: must be above 0, with a floor between 0 and it");
    if (!(options->weight_decay >= 0) || !(options->clip >= 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weight decay, clip: must not be below 0");
    return WEFT_OK;
}

static weft_status allocate(struct weft_trainer *trainer, struct weft_error *error)
{
    const struct weft_trainer_options *options = &trainer->options;
    WEFT_TRY(weft_model_create(&options->model, &trainer->model, error));
    size_t rows = options->micro_batch * options->model.context;
    size_t floats = trainer->model->num_floats;
    WEFT_TRY(weft_workspace_create(trainer->model, rows, &trainer->workspace, error));
    trainer->parameters = calloc(floats, sizeof(float));
    trainer->mean = calloc(floats, sizeof(float));
    trainer->variance = calloc(floats, sizeof(float));
    trainer->input = calloc(rows, 1);
    trainer->target = calloc(rows, 1);
    if (!trainer->parameters || !trainer->mean || !trainer->variance || !trainer->input ||
        !trainer->target)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a model of %zu parameters",
                         trainer->model->num_elements);
    void *memory;
    WEFT_TRY(weft_parallel_alloc(trainer->parallel, floats * sizeof(float), &memory, error));
    trainer->gradients = memory;
    return WEFT_OK;
}

weft_status weft_trainer_create(const struct weft_trainer_options *options,
                                struct weft_parallel *parallel, const struct weft_text *text,
                                struct weft_trainer **trainer, struct weft_error *error)
{
    WEFT_TRY(weft_trainer_options_check(options, error));
    size_t context = options->model.context;
    if (text->num_bytes - text->num_train <= context || text->num_train <= context)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "data: %zu bytes are too few for a context of %zu (a twentieth is held "
                         "out, and must be longer than the context)",
                         text->num_bytes, context);
    int num_ranks = weft_parallel_layout(parallel).num_data;
    if (options->drop_rank < -1 || options->drop_rank >= num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "drop rank: %d is not in 0 .. %d",
                         options->drop_rank, num_ranks - 1);
    struct weft_trainer *new = calloc(1, sizeof *new);
    if (!new)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a trainer");
    new->options = *options;
    new->parallel = parallel;
    new->text = text;
    weft_status status = allocate(new, error);
    if (status != WEFT_OK) {
        weft_trainer_destroy(&new);
        return status;
    }
    weft_blas_use_one_thread();
    weft_model_initialise(new->model, options->seed, new->parameters);
    *trainer = new;
    return WEFT_OK;
}

void weft_trainer_destroy(struct weft_trainer **trainer)
{
    struct weft_trainer *old = trainer ? *trainer : NULL;
    if (!old)
        return;
    if (old->gradients)
        weft_parallel_free(old->parallel, old->gradients);
    weft_workspace_destroy(&old->workspace);
    weft_model_destroy(&old->model);
    free(old->parameters);
    free(old->mean);
    free(old->variance);
    free(old->input);
    free(old->target);
    free(old);
    *trainer = NULL;
}

// Forward and backward over this rank's micro-batches. Returns the sum of losses, in nats.
static double accumulate(struct weft_trainer *trainer)
{
    const struct weft_trainer_options *options = &trainer->options;
    struct weft_layout layout = weft_parallel_layout(trainer->parallel);
    size_t size = options->micro_batch, length = options->model.context;
    struct weft_share share =
        weft_share_of(options->batch / size, layout.data_rank, layout.num_data);
    size_t floats = trainer->model->num_floats;
    double loss = 0;
    memset(trainer->gradients, 0, floats * sizeof(float));
    weft_parallel_gradients_begin(trainer->parallel, trainer->gradients, floats,
                                  options->bucket_bytes / sizeof(float),
                                  options->drop_rank == layout.data_rank);
    for (size_t i = 0; i < share.count; i++) {
        struct weft_batch batch = {size, length, trainer->input, trainer->target};
        weft_sequences_fill(trainer->text->bytes, trainer->text->num_train, options->seed,
                            trainer->step, (share.first + i) * size, size, length, trainer->input,
                            trainer->target);
        loss += weft_model_forward(trainer->model, trainer->workspace, trainer->parameters, &batch);
        bool is_last = i + 1 == share.count;
        weft_model_backward(trainer->model, trainer->workspace, trainer->gradients,
                            is_last ? weft_parallel_gradients_closed : NULL, trainer->parallel);
    }
    if (share.count == 0) {
        // A rank without micro-batches adds zeros, in the same buckets as the others.
        for (size_t i = trainer->model->num_layers; i-- > 0;)
            weft_parallel_gradients_closed(trainer->parallel,
                                           trainer->model->layers[i].gradient_end);
    }
    return loss;
}

static void update(struct weft_trainer *trainer, const struct weft_step *step)
{
    const struct weft_trainer_options *options = &trainer->options;
    double clip = options->clip > 0 ? fmin(1.0, (double)options->clip / step->gradient_norm) : 1.0;
    struct weft_adamw adamw = {
        .learning_rate = (float)step->learning_rate,
        .beta1 = BETA1,
        .beta2 = BETA2,
        .epsilon = EPSILON,
        .gradient_scale = (float)(clip / tokens_per_step(trainer)),
        .step = ++trainer->updates,
    };
    for (size_t i = 0; i < trainer->model->num_parameters; i++) {
        const struct weft_parameter *row = &trainer->model->table[i];
        adamw.weight_decay = row->decays ? options->weight_decay : 0.0f;
        weft_adamw_update(&adamw, trainer->parameters + row->offset,
                          trainer->gradients + row->offset, trainer->mean + row->offset,
                          trainer->variance + row->offset, row->count);
    }
}

// Rank 0's clock decides for all; with a number of steps as well, whichever comes first.
static double own_progress(const struct weft_trainer *trainer)
{
    const struct weft_trainer_options *options = &trainer->options;
    double progress = 0;
    if (options->seconds > 0)
        progress = (double)(weft_clock_ns() - trainer->start_ns) * 1e-9 / options->seconds;
    if (options->steps > 0)
        progress = fmax(progress, (double)trainer->step / (double)options->steps);
    return fmin(progress, 1.0);
}

weft_status weft_trainer_step(struct weft_trainer *trainer, struct weft_step *step,
                              struct weft_error *error)
{
    int64_t begin = weft_clock_ns();
    int64_t communication = weft_parallel_communication_ns(trainer->parallel);
    if (trainer->start_ns == 0)
        trainer->start_ns = begin;
    trainer->step++;
    double loss = accumulate(trainer);
    WEFT_TRY(weft_parallel_gradients_finish(trainer->parallel, error));
    bool decides = weft_parallel_layout(trainer->parallel).data_rank == 0;
    double sums[] = {loss, decides ? own_progress(trainer) : 0.0};
    WEFT_TRY(weft_parallel_sum(trainer->parallel, sums, 2, error));
    // The gradient is the same on all ranks by now, so each computes the norm and decides alike.
    double squares = weft_sum_of_squares(trainer->gradients, trainer->model->num_floats);
    struct weft_step done = {
        .step = trainer->step,
        .loss = sums[0] / tokens_per_step(trainer),
        .gradient_norm = sqrt(squares) / tokens_per_step(trainer),
        .learning_rate = weft_learning_rate_at(&trainer->options.learning_rate, trainer->step,
                                               trainer->progress),
        .progress = sums[1],
        .is_last = sums[1] >= 1.0,
    };
    done.skipped = !isfinite(done.loss) || !isfinite(done.gradient_norm);
    if (!done.skipped)
        update(trainer, &done);
    trainer->progress = done.progress;
    done.step_ns = weft_clock_ns() - begin;
    done.communication_ns = weft_parallel_communication_ns(trainer->parallel) - communication;
    *step = done;
    return WEFT_OK;
}

weft_status weft_trainer_evaluate(struct weft_trainer *trainer, size_t max_windows, double *loss,
                                  struct weft_error *error)
{
    const struct weft_text *text = trainer->text;
    size_t length = trainer->options.model.context;
    size_t held_out = text->num_bytes - text->num_train, fitting = (held_out - 1) / length;
    size_t windows = fitting < max_windows ? fitting : max_windows;
    struct weft_layout layout = weft_parallel_layout(trainer->parallel);
    struct weft_share share = weft_share_of(windows, layout.data_rank, layout.num_data);
    double sum = 0;
    for (size_t i = share.first; i < share.first + share.count; i++) {
        const uint8_t *from = text->bytes + text->num_train + i * fitting / windows * length;
        struct weft_batch batch = {1, length, from, from + 1};
        sum += weft_model_forward(trainer->model, trainer->workspace, trainer->parameters, &batch);
    }
    WEFT_TRY(weft_parallel_sum(trainer->parallel, &sum, 1, error));
    *loss = sum / ((double)windows * (double)length);
    return WEFT_OK;
}

weft_status weft_trainer_agree(struct weft_trainer *trainer, struct weft_error *error)
{
    uint64_t hash = XXH3_64bits(trainer->parameters, trainer->model->num_floats * sizeof(float));
    return weft_parallel_agree(trainer->parallel, hash, "the hash of the parameters", error);
}

static uint8_t draw_byte(const float *logits, double temperature, double uniform)
{
    double weights[WEFT_VOCABULARY], high = -INFINITY, sum = 0;
    for (int i = 0; i < WEFT_VOCABULARY; i++)
        high = fmax(high, (double)logits[i]);
    for (int i = 0; i < WEFT_VOCABULARY; i++)
        sum += weights[i] = exp(((double)logits[i] - high) / temperature);
    double left = uniform * sum;
    for (int i = 0; i < WEFT_VOCABULARY; i++) {
        left -= weights[i];
        if (left < 0)
            return (uint8_t)i;
    }
    return WEFT_VOCABULARY - 1;
}

void weft_trainer_generate(struct weft_trainer *trainer, const uint8_t *prompt, size_t prompt_bytes,
                           double temperature, uint64_t seed, uint8_t *output, size_t count)
{
    size_t context = trainer->options.model.context;
    uint8_t *window = trainer->input; // at least one context long
    size_t used = prompt_bytes < context ? prompt_bytes : context;
    memcpy(window, prompt + prompt_bytes - used, used);
    if (used == 0)
        window[used++] = '\n';
    for (size_t i = 0; i < count; i++) {
        struct weft_batch batch = {1, used, window, NULL};
        weft_model_forward(trainer->model, trainer->workspace, trainer->parameters, &batch);
        const float *logits =
            weft_model_logits(trainer->model, trainer->workspace) + (used - 1) * WEFT_VOCABULARY;
        output[i] = draw_byte(logits, temperature, weft_random_uniform(seed, i));
        if (used == context)
            memmove(window, window + 1, --used);
        window[used++] = output[i];
    }
}

const struct weft_model *weft_trainer_model(const struct weft_trainer *trainer)
{
    return trainer->model;
}

void weft_trainer_copy_gradient(const struct weft_trainer *trainer, float *gradient)
{
    float scale = (float)(1.0 / tokens_per_step(trainer));
    for (size_t i = 0; i < trainer->model->num_floats; i++)
        gradient[i] = trainer->gradients[i] * scale;
}
