/*
 * SPDX-License-Identifier: Apache-2.0
 * See schedule.h.
 */
#include "trainer/schedule.h"

#include <math.h>
#include <string.h>

#include "trainer/random.h"

// Keeps the numbers for data apart from those for parameters under the same seed.
static const uint64_t DATA_PURPOSE = 0x64617461;

struct weft_share weft_share_of(size_t total, int rank, int num_ranks)
{
    size_t first = total * (size_t)rank / (size_t)num_ranks;
    size_t after = total * ((size_t)rank + 1) / (size_t)num_ranks;
    return (struct weft_share){first, after - first};
}

size_t weft_sequence_start(uint64_t seed, int64_t step, size_t index, size_t num_train,
                           size_t length)
{
    uint64_t key = weft_random_key(weft_random_key(seed, DATA_PURPOSE), (uint64_t)step);
    return (size_t)weft_random_below(key, index, num_train - length);
}

void weft_sequences_fill(const uint8_t *text, size_t num_train, uint64_t seed, int64_t step,
                         size_t first, size_t count, size_t length, uint8_t *input, uint8_t *target)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = text + weft_sequence_start(seed, step, first + i, num_train, length);
        memcpy(input + i * length, from, length);
        memcpy(target + i * length, from + 1, length);
    }
}

double weft_learning_rate_at(const struct weft_learning_rate *rate, int64_t step, double progress)
{
    double warmup = step < rate->warmup_steps ? (double)step / (double)rate->warmup_steps : 1.0;
    double over = fmin(fmax(progress, 0.0), 1.0);
    double cosine = 0.5 * (1.0 + cos(3.14159265358979323846 * over));
    return warmup * (rate->floor + (rate->peak - rate->floor) * cosine);
}
