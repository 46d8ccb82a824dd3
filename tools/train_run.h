/*
 * SPDX-License-Identifier: Apache-2.0
 * One run of `weft train` on one rank, from the meeting to the summary. Rank 0 prints; the others
 * only take part. Everything about models is the trainer's; everything printed is train_print.c's.
 */
#ifndef WEFT_TOOLS_TRAIN_RUN_H
#define WEFT_TOOLS_TRAIN_RUN_H

#include "trainer/record.h"

struct weft_train_settings {
    struct weft_trainer_options options;
    const char *data;
    const char *prompt;  // of the sample; NULL: the start of the held-out text
    size_t sample_bytes; // 0: no sample
    double temperature;
    int64_t print_every; // steps between lines where the output is no terminal; 0: none
    bool as_json;
    const char *dump;          // record file to write; NULL: none
    const char *check_against; // record file to compare with; NULL: none
    double gradient_tolerance;
    double loss_tolerance;
    double expect_bits; // held out, at the end; 0: any
};

enum { WEFT_TRAIN_MARKS = 64 };

/* What has happened so far, on rank 0 for printing. */
struct weft_train_progress {
    const struct weft_train_settings *settings;
    const struct weft_model *model;
    const struct weft_text *text;
    struct weft_layout layout;
    double *steps;  // num_steps: 1, 2, ...
    double *losses; // bits per byte
    size_t num_steps, room;
    double mark_steps[WEFT_TRAIN_MARKS], mark_losses[WEFT_TRAIN_MARKS]; // held out, bits per byte
    size_t num_marks;
    int64_t training_ns; // of all steps together
    int64_t skipped;
    double communication_share; // mean over ranks
    double train_bits;          // mean of the last twentieth of the steps
    double held_out_bits;
    uint8_t *sample;
    bool compared, within;
    struct weft_record_difference difference;
};

/* *passed: false when --check-against found too large a difference. A failure that another rank has
 * already put into words leaves error->text empty. */
weft_status weft_train_run(const struct weft_train_settings *settings, bool *passed,
                           struct weft_error *error);
/* `weft train --gradcheck`: alone, prints both measurements. */
weft_status weft_train_gradcheck(const struct weft_train_settings *settings, bool *passed,
                                 struct weft_error *error);

#endif
