/*
 * SPDX-License-Identifier: Apache-2.0
 * What a run leaves behind so that another can be held against it: the step-1 gradient and the loss
 * of every step, with all that they must depend on and nothing that they must not (the number of
 * ranks). The file, little-endian, no gaps:
 *
 *   8 bytes   "weftrun1"
 *   u64 x 7   layers, width, heads, context, batch, seed, steps asked for
 *   32 bytes  SHA-256 of the text
 *   u64 x 2   number of losses, number of gradient elements
 *   f64 ...   losses, nats per byte
 *   f32 ...   gradient of the mean loss, in the order of the parameter table
 *   u64       XXH3 of everything before it
 */
#ifndef WEFT_TRAINER_RECORD_H
#define WEFT_TRAINER_RECORD_H

#include "trainer/trainer.h"

struct weft_record {
    uint64_t config[7]; // as in the file
    uint8_t text_hash[WEFT_TEXT_HASH_BYTES];
    uint64_t num_losses;
    uint64_t num_gradient;
    double *losses;
    float *gradient;
};

/* An empty record of such a run. */
struct weft_record weft_record_of(const struct weft_trainer_options *options,
                                  const struct weft_text *text);
/* OUT_OF_MEMORY leaves the record as it was. */
weft_status weft_record_add_loss(struct weft_record *record, double loss, struct weft_error *error);
/* Takes the gradient of the trainer's last step. */
weft_status weft_record_set_gradient(struct weft_record *record, const struct weft_trainer *trainer,
                                     struct weft_error *error);
void weft_record_free(struct weft_record *record);

/* Replaces the file only when all is written. Errors: SYSTEM. */
weft_status weft_record_save(const struct weft_record *record, const char *path,
                             struct weft_error *error);
/* Errors: NOT_FOUND, SYSTEM, INVALID_FORMAT, OUT_OF_MEMORY. Free with weft_record_free. */
weft_status weft_record_load(const char *path, struct weft_record *record,
                             struct weft_error *error);

struct weft_record_difference {
    double gradient;     // |g - g'| / |g'|
    double loss;         // largest |l - l'| / l' ...
    uint64_t loss_step;  // ... and its step, from 1
    uint64_t num_losses; // compared
};

/* `other` is the yardstick. INVALID_ARGUMENT naming what differs when the two are not runs of the
 * same model on the same text, or one has no gradient or no losses. */
weft_status weft_record_compare(const struct weft_record *record, const struct weft_record *other,
                                struct weft_record_difference *difference,
                                struct weft_error *error);

#endif
