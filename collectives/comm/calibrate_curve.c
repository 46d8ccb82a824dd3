/*
 * SPDX-License-Identifier: Apache-2.0
 * From samples to figures: repetitions are batched until a sample is long enough for the clock, the
 * median of the samples counts, and the distance between their quarters says how far to trust it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

enum {
    MAX_SAMPLES = 64,
    MIN_SAMPLES = 3,
    GOOD_SAMPLES = 9, // of a latency
    MAX_BATCH = 2000,
    LONG_NS = 1000000, // from here on a message's time is in proportion to its size
    SAMPLE_NS = 40000, // of a batch: a thousand times the clock's own cost
};

const int64_t weft_calibrate_sizes[WEFT_CALIBRATE_NUM_SIZES] = {
    1, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 18, 1 << 20, 4 << 20, 16 << 20, 64 << 20};

struct samples {
    int64_t time_ps[MAX_SAMPLES]; // of one repetition
    int count;
};

static int compare(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static int64_t quantile(const struct samples *s, int quarter)
{
    return s->time_ps[(s->count - 1) * quarter / 4];
}

static int spread_percent(const struct samples *s)
{
    int64_t median = quantile(s, 2), spread = quantile(s, 3) - quantile(s, 1);
    if (median <= 0)
        return 0;
    return spread / median > 10000 ? 1000000 : (int)(spread * 100 / median);
}

static void note_spread(struct weft_measurement *entry, int percent)
{
    if (percent > entry->spread_percent)
        entry->spread_percent = percent;
    if (percent > WEFT_CALIBRATE_WILD_PERCENT)
        snprintf(entry->note, sizeof entry->note,
                 "not believed: samples spread by %d %% (is the machine busy?)",
                 entry->spread_percent);
}

/* A latency that could be sampled only a few times is mostly the scheduler's. */
static void take_latency(const struct samples *s, struct weft_measurement *entry)
{
    entry->latency_ps = quantile(s, 2);
    entry->least_ps = s->time_ps[0];
    note_spread(entry, spread_percent(s));
    if (s->count < GOOD_SAMPLES)
        snprintf(entry->note, sizeof entry->note,
                 "not believed: only %d samples (is the machine busy?)", s->count);
}

/* Samples until `until_ns`, sorted. *fits: false, if not even the fewest fit before `end_ns`. */
static weft_status take(const struct weft_sampler *sampler, int64_t bytes, int batch,
                        int64_t until_ns, int64_t end_ns, struct samples *s, bool *fits,
                        struct weft_error *error)
{
    int64_t elapsed_ns;
    *fits = true;
    int64_t first_ns; // touches the pages, and may meet the scheduler
    WEFT_TRY(sampler->once(sampler->user, bytes, 1, &first_ns, error));
    WEFT_TRY(sampler->once(sampler->user, bytes, 1, &elapsed_ns, error));
    if (first_ns < elapsed_ns)
        elapsed_ns = first_ns;
    if (batch == 0) {
        int64_t repetitions = SAMPLE_NS / (elapsed_ns > 0 ? elapsed_ns : 1);
        batch = repetitions < 1 ? 1 : repetitions > MAX_BATCH ? MAX_BATCH : (int)repetitions;
    }
    for (s->count = 0; s->count < MAX_SAMPLES; s->count++) {
        int64_t now = weft_clock_ns();
        int64_t next_ns = elapsed_ns > (INT64_MAX - now) / 2 ? INT64_MAX : now + elapsed_ns * 2;
        if ((s->count >= MIN_SAMPLES && now >= until_ns) || (s->count && next_ns > end_ns))
            break;
        if (s->count == 0 && (end_ns - now) / MIN_SAMPLES < elapsed_ns * 2) {
            *fits = false;
            return WEFT_OK;
        }
        WEFT_TRY(sampler->once(sampler->user, bytes, batch, &elapsed_ns, error));
        s->time_ps[s->count] = elapsed_ns * 1000 / batch;
        if (s->time_ps[s->count] < 1)
            s->time_ps[s->count] = 1;
    }
    qsort(s->time_ps, (size_t)s->count, sizeof s->time_ps[0], compare);
    return WEFT_OK;
}

/* Not if a few messages that are slower in proportion would take longer than what is left. */
static bool may_fit(const struct weft_measurement *entry, int64_t bytes, int64_t left_ns)
{
    if (entry->num_points == 0)
        return true;
    const struct weft_curve_point *last = &entry->curve[entry->num_points - 1];
    double expected_ns = (double)last->time_ps / 1000 * ((double)bytes / (double)last->bytes);
    return last->time_ps / 1000 < LONG_NS || expected_ns * 2 * MIN_SAMPLES < (double)left_ns;
}

/* More bytes in half the time of fewer: one of the two points is chance. */
static bool is_faster(const struct weft_measurement *entry, int64_t time_ps)
{
    return entry->num_points > 0 && time_ps * 2 < entry->curve[entry->num_points - 1].time_ps;
}

weft_status weft_calibrate_curve(const struct weft_sampler *sampler, int64_t start,
                                 const struct weft_calibrate_options *options,
                                 struct weft_measurement *entry, struct weft_error *error)
{
    int64_t begin_ns = weft_clock_ns(), end_ns = begin_ns + options->budget_ns;
    int largest = 0, wild = 0, failures = 0; // one may be a hiccup
    const int64_t *bytes = weft_calibrate_sizes;
    for (int i = 0; i < WEFT_CALIBRATE_NUM_SIZES && bytes[i] <= options->max_bytes; i++) {
        struct samples s;
        bool fits;
        int64_t now = weft_clock_ns();
        if (bytes[i] < start)
            continue;
        if (now >= end_ns || !may_fit(entry, bytes[i], end_ns - now))
            break;
        // half of an equal share: larger ones take longer, and say what a link carries
        int64_t share_ns = (end_ns - now) / (WEFT_CALIBRATE_NUM_SIZES - i) / 2;
        WEFT_TRY(take(sampler, bytes[i], 0, now + share_ns, end_ns, &s, &fits, error));
        if (!fits || (s.count < MIN_SAMPLES && entry->num_points > 0)) {
            if (++failures == 2)
                break;
            continue;
        }
        if (entry->num_points == 0 && start <= 1)
            take_latency(&s, entry);
        largest = spread_percent(&s);
        wild += largest > WEFT_CALIBRATE_WILD_PERCENT || is_faster(entry, quantile(&s, 2));
        entry->curve[entry->num_points++] = (struct weft_curve_point){bytes[i], quantile(&s, 2)};
    }
    note_spread(entry, largest);
    if (wild * 4 > entry->num_points && !entry->note[0])
        snprintf(entry->note, sizeof entry->note,
                 "not believed: %d of %d sizes make no sense (is the machine busy?)", wild,
                 entry->num_points);
    if (entry->num_points == 0)
        snprintf(entry->note, sizeof entry->note, "too slow for the time that was given");
    return WEFT_OK;
}

weft_status weft_calibrate_latency(const struct weft_sampler *sampler, int count, int64_t budget_ns,
                                   struct weft_measurement *entry, struct weft_error *error)
{
    struct samples s;
    bool fits;
    int64_t end_ns = weft_clock_ns() + budget_ns;
    WEFT_TRY(take(sampler, 0, count, end_ns, end_ns, &s, &fits, error));
    if (!fits) {
        snprintf(entry->note, sizeof entry->note, "too slow for the time that was given");
        return WEFT_OK;
    }
    take_latency(&s, entry);
    return WEFT_OK;
}
