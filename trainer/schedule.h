/*
 * SPDX-License-Identifier: Apache-2.0
 * What happens at which step, as pure functions: which sequences a step trains on, which share of
 * them is a rank's, and the learning rate. None depends on the number of ranks except the share.
 */
#ifndef WEFT_TRAINER_SCHEDULE_H
#define WEFT_TRAINER_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

struct weft_share {
    size_t first;
    size_t count; // may be 0; shares differ by at most 1
};

/* The contiguous part of `total` micro-batches that is rank `rank`'s. */
struct weft_share weft_share_of(size_t total, int rank, int num_ranks);

/* Where sequence `index` of the global batch of `step` starts in a text of num_train bytes. Reads
 * length + 1 bytes from there; num_train > length. */
size_t weft_sequence_start(uint64_t seed, int64_t step, size_t index, size_t num_train,
                           size_t length);

/* Fills input and target (count, length) with sequences [first, first + count) of that batch. */
void weft_sequences_fill(const uint8_t *text, size_t num_train, uint64_t seed, int64_t step,
                         size_t first, size_t count, size_t length, uint8_t *input,
                         uint8_t *target);

struct weft_learning_rate {
    double peak;
    double floor;         // reached at progress 1
    int64_t warmup_steps; // linear from peak / warmup_steps
};

/* `step` counts from 1; `progress` is how much of the run is over, 0 .. 1. Warm-up, then a cosine
 * from peak to floor; both factors apply at once. */
double weft_learning_rate_at(const struct weft_learning_rate *rate, int64_t step, double progress);

#endif
