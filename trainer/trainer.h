/*
 * SPDX-License-Identifier: Apache-2.0
 * Training, one step at a time: forward and backward over this rank's share of the micro-batches,
 * the sum of gradients over ranks, clipping, AdamW. The global batch is the same for any number of
 * ranks, and so, up to rounding, is everything that follows from it.
 *
 * Every function that says so is collective. Nothing is printed.
 */
#ifndef WEFT_TRAINER_TRAINER_H
#define WEFT_TRAINER_TRAINER_H

#include "trainer/model.h"
#include "trainer/parallel.h"
#include "trainer/schedule.h"
#include "trainer/text.h"

struct weft_trainer_options {
    struct weft_model_config model;
    size_t batch;       // sequences of a step, over all ranks
    size_t micro_batch; // sequences that go through the model at once; divides batch
    int64_t steps;      // stop after these; 0: no limit
    double seconds;     // or after this time by rank 0's clock; 0: no limit
    struct weft_learning_rate learning_rate;
    float weight_decay; // of matrices
    float clip;         // largest norm of the gradient; 0: no clipping
    uint64_t seed;
    size_t bucket_bytes;
    int drop_rank; // leaves this rank's gradient out, for tests; -1: none
};

/* INVALID_ARGUMENT naming the option. */
weft_status weft_trainer_options_check(const struct weft_trainer_options *options,
                                       struct weft_error *error);

struct weft_trainer;

/* Both must outlive the trainer. Local. Errors: INVALID_ARGUMENT (options, or a text too short for
 * the context), OUT_OF_MEMORY, SYSTEM. */
weft_status weft_trainer_create(const struct weft_trainer_options *options,
                                struct weft_parallel *parallel, const struct weft_text *text,
                                struct weft_trainer **trainer, struct weft_error *error);
void weft_trainer_destroy(struct weft_trainer **trainer);

struct weft_step {
    int64_t step;         // from 1
    double loss;          // nats per byte, before the update
    double gradient_norm; // before clipping
    double learning_rate;
    double progress; // of the whole run, 0 .. 1
    int64_t step_ns;
    int64_t communication_ns; // of step_ns
    bool skipped;             // loss or gradient not finite: no update, on no rank
    bool is_last;
};

/* Collective. All fields but the times are equal on all ranks. */
weft_status weft_trainer_step(struct weft_trainer *trainer, struct weft_step *step,
                              struct weft_error *error);

/* Collective. Mean loss in nats per byte over up to `max_windows` windows of the context's length,
 * spread evenly over the held-out text. */
weft_status weft_trainer_evaluate(struct weft_trainer *trainer, size_t max_windows, double *loss,
                                  struct weft_error *error);

/* Collective. MISMATCH unless all ranks hold the same parameters, bit for bit. */
weft_status weft_trainer_agree(struct weft_trainer *trainer, struct weft_error *error);

/* Local. Continues `prompt` (its last bytes, if longer than the context) by `count` bytes.
 * Temperature > 0; the same seed gives the same bytes. */
void weft_trainer_generate(struct weft_trainer *trainer, const uint8_t *prompt, size_t prompt_bytes,
                           double temperature, uint64_t seed, uint8_t *output, size_t count);

const struct weft_model *weft_trainer_model(const struct weft_trainer *trainer);
/* The last step's gradient of the mean loss, before clipping, into num_floats floats. Local. */
void weft_trainer_copy_gradient(const struct weft_trainer *trainer, float *gradient);

#endif
