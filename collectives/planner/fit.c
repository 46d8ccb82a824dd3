/*
 * SPDX-License-Identifier: Apache-2.0
 * See fit.h. Steps: fill the gaps by the law; for one to four lines cut the sizes into runs, each
 * with the line of least error, at least total error; let each point go to the line that is
 * cheapest there, and fit again; take more lines only where they are worth it.
 *
 * A line of least absolute error passes through two of its points, a law through three: those are
 * tried, all of them. The work is bounded by the number of points.
 */
#include "collectives/planner/fit.h"

enum {
    MAX_POINTS = WEFT_SWEEP_POINTS + 44, // with those that fill gaps
    GAP = 4,
    WINDOW = 8,             // points down to an eighth of where the gap begins belong to the law
    ROUNDS = 8,             // of letting points go
    WEIGHT = 4,             // of a measured point; one that fills a gap has 1
    WORTH = WEIGHT * 50000, // ppm: what a further line must save in the sum of errors
    FAR_OFF = 1 << 30,      // ppm
};
static const int64_t most_bytes = (int64_t)1 << 44, most_ps = 100000000000000;
static const int64_t most_slope = INT64_MAX / 4;

struct cloud {
    int count;
    struct weft_sweep_point at[MAX_POINTS];
    int weight[MAX_POINTS];
};

/* ---- errors ---- */

static int64_t relative_ppm(__int128 predicted, int64_t actual)
{
    __int128 off = predicted > actual ? predicted - actual : actual - predicted;
    // most fit in 64 bits, where division is quick
    __int128 ppm =
        off < (int64_t)1 << 43 ? (int64_t)off * 1000000 / actual : off * 1000000 / actual;
    return ppm < FAR_OFF ? (int64_t)ppm : FAR_OFF;
}

static __int128 line_time(const struct weft_line *line, int64_t bytes)
{
    return line->fixed_ps + weft_curve_slope(bytes, line->ps_per_mib);
}

/* Of the points chosen; stops above `enough`. */
static int64_t line_error(const struct weft_line *line, const struct cloud *cloud,
                          const int *members, int count, int64_t enough)
{
    int64_t sum = 0;
    for (int i = 0; i < count && sum < enough; i++) {
        const struct weft_sweep_point *p = &cloud->at[members[i]];
        sum += cloud->weight[members[i]] * relative_ppm(line_time(line, p->bytes), p->time_ps);
    }
    return sum;
}

/* ---- one line ---- */

static bool line_through(const struct weft_sweep_point *p, const struct weft_sweep_point *q,
                         struct weft_line *line)
{
    if (q->time_ps < p->time_ps)
        return false;
    __int128 slope = ((__int128)(q->time_ps - p->time_ps) << 20) / (q->bytes - p->bytes);
    __int128 fixed = p->time_ps - ((p->bytes * slope) >> 20);
    if (fixed < 0 || slope > most_slope)
        return false;
    *line = (struct weft_line){(int64_t)fixed, (int64_t)slope};
    return true;
}

static void keep_better(const struct weft_line *line, const struct cloud *cloud, const int *members,
                        int count, struct weft_line *best, int64_t *least)
{
    int64_t sum = line_error(line, cloud, members, count, *least);
    if (sum < *least) {
        *least = sum;
        *best = *line;
    }
}

/* The best line for the members (ascending), and its error. */
static int64_t fit_line(const struct cloud *cloud, const int *members, int count,
                        struct weft_line *best)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < count; i++) {
        const struct weft_sweep_point *p = &cloud->at[members[i]];
        struct weft_line line = {p->time_ps, 0};
        keep_better(&line, cloud, members, count, best, &least);
        __int128 slope = ((__int128)p->time_ps << 20) / p->bytes;
        line = (struct weft_line){0, slope < most_slope ? (int64_t)slope : most_slope};
        keep_better(&line, cloud, members, count, best, &least);
        for (int j = i + 1; j < count; j++)
            if (line_through(p, &cloud->at[members[j]], &line))
                keep_better(&line, cloud, members, count, best, &least);
    }
    return least;
}

/* ---- the law that fills gaps ---- */

struct law {
    int64_t fixed_ps, ps_per_mib;
    int64_t ps_per_root; // times 2^20, for root_of
};

/* 16 * sqrt(bytes), rounded down. */
static int64_t root_of(int64_t bytes)
{
    int64_t root = 0;
    for (int64_t bit = (int64_t)1 << 26; bit > 0; bit >>= 1)
        if ((__int128)(root + bit) * (root + bit) <= (__int128)bytes << 8)
            root += bit;
    return root;
}

static __int128 law_time(const struct law *law, int64_t bytes)
{
    return law->fixed_ps + weft_curve_slope(bytes, law->ps_per_mib) +
           (((__int128)root_of(bytes) * law->ps_per_root) >> 20);
}

/* Cramer's rule; all terms stay below 2^122. */
static bool law_through(const struct weft_sweep_point *const p[3], struct law *law)
{
    __int128 s[3], r[3], t[3];
    for (int i = 0; i < 3; i++) {
        s[i] = p[i]->bytes;
        r[i] = root_of(p[i]->bytes);
        t[i] = p[i]->time_ps;
    }
    __int128 minor[3]; // of s and r, without row i
    for (int i = 0; i < 3; i++)
        minor[i] = s[(i + 1) % 3] * r[(i + 2) % 3] - s[(i + 2) % 3] * r[(i + 1) % 3];
    __int128 whole = minor[0] + minor[1] + minor[2], fixed = 0, slope = 0, root = 0;
    if (whole == 0)
        return false;
    for (int i = 0; i < 3; i++) {
        fixed += t[i] * minor[i];
        slope += t[i] * (r[(i + 1) % 3] - r[(i + 2) % 3]);
        root += t[i] * (s[(i + 2) % 3] - s[(i + 1) % 3]);
    }
    fixed /= whole;
    slope = (slope * (1 << 20)) / whole;
    root = (root * (1 << 20)) / whole;
    if (fixed < 0 || slope < 0 || root < 0 || fixed > most_ps || slope > most_slope ||
        root > most_slope)
        return false;
    *law = (struct law){(int64_t)fixed, (int64_t)slope, (int64_t)root};
    return true;
}

static int64_t law_error(const struct law *law, const struct cloud *cloud, int first,
                         int64_t enough)
{
    int64_t sum = 0;
    for (int i = first; i < cloud->count && sum < enough; i++)
        sum += relative_ppm(law_time(law, cloud->at[i].bytes), cloud->at[i].time_ps);
    return sum;
}

static struct law fit_law(const struct cloud *cloud, int first)
{
    int members[MAX_POINTS] = {0};
    struct weft_line line = {0};
    for (int i = first; i < cloud->count; i++)
        members[i - first] = i;
    int64_t least = fit_line(cloud, members, cloud->count - first, &line);
    struct law best = {line.fixed_ps, line.ps_per_mib, 0};
    for (int i = first; i < cloud->count; i++)
        for (int j = i + 1; j < cloud->count; j++)
            for (int k = j + 1; k < cloud->count; k++) {
                const struct weft_sweep_point *const three[] = {&cloud->at[i], &cloud->at[j],
                                                                &cloud->at[k]};
                struct law law;
                int64_t sum =
                    law_through(three, &law) ? law_error(&law, cloud, first, least) : INT64_MAX;
                if (sum < least) {
                    least = sum;
                    best = law;
                }
            }
    return best;
}

/* A point per octave. */
static void fill_gaps(const struct cloud *seen, struct cloud *all)
{
    int gap = 1;
    while (gap < seen->count && seen->at[gap].bytes / GAP <= seen->at[gap - 1].bytes)
        gap++;
    if (gap == seen->count) {
        *all = *seen;
        return;
    }
    int first = gap - 1;
    while (first > 0 && seen->at[first - 1].bytes >= seen->at[gap - 1].bytes / WINDOW)
        first--;
    struct law law = fit_law(seen, first);
    all->count = 0;
    for (int i = 0; i < seen->count; i++) {
        bool is_gap = i > 0 && seen->at[i].bytes / GAP > seen->at[i - 1].bytes;
        int64_t bytes = is_gap ? 2 * seen->at[i - 1].bytes : INT64_MAX;
        for (; bytes <= seen->at[i].bytes / 2; bytes *= 2) {
            __int128 time = law_time(&law, bytes);
            if (time < 1 || time > most_ps) // no law for such points
                continue;
            all->weight[all->count] = 1;
            all->at[all->count++] = (struct weft_sweep_point){bytes, (int64_t)time};
        }
        all->weight[all->count] = seen->weight[i];
        all->at[all->count++] = seen->at[i];
    }
}

/* ---- several lines ---- */

struct cuts {
    int64_t error[MAX_POINTS][MAX_POINTS]; // of the best line for the run i..j
    int64_t least[WEFT_CURVE_LINES + 1][MAX_POINTS + 1];
    int from[WEFT_CURVE_LINES + 1][MAX_POINTS + 1];
};

static void cut(const struct cloud *cloud, struct cuts *cuts)
{
    int members[MAX_POINTS], n = cloud->count;
    struct weft_line line;
    for (int i = 0; i < n; i++)
        members[i] = i;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            cuts->error[i][j] = fit_line(cloud, &members[i], j - i + 1, &line);
    for (int k = 0; k <= WEFT_CURVE_LINES; k++)
        for (int j = 0; j <= n; j++) {
            cuts->least[k][j] = j == 0 ? 0 : INT64_MAX;
            cuts->from[k][j] = 0;
            for (int i = 0; k > 0 && i < j; i++) {
                int64_t before = cuts->least[k - 1][i];
                if (before == INT64_MAX || before + cuts->error[i][j - 1] >= cuts->least[k][j])
                    continue;
                cuts->least[k][j] = before + cuts->error[i][j - 1];
                cuts->from[k][j] = i;
            }
        }
}

static int64_t curve_error(const struct weft_curve *curve, const struct cloud *cloud)
{
    int64_t sum = 0;
    for (int i = 0; i < cloud->count; i++)
        sum += cloud->weight[i] *
               relative_ppm(weft_curve_time(curve, cloud->at[i].bytes, 0), cloud->at[i].time_ps);
    return sum;
}

static int cheapest(const struct weft_curve *curve, int64_t bytes)
{
    int best = 0;
    for (int i = 1; i < curve->num_lines; i++)
        if (line_time(&curve->lines[i], bytes) < line_time(&curve->lines[best], bytes))
            best = i;
    return best;
}

/* Each line anew, for the points where it is the cheapest; one that has none goes. */
static struct weft_curve refit(const struct weft_curve *curve, const struct cloud *cloud)
{
    struct weft_curve next = {0};
    for (int i = 0; i < curve->num_lines; i++) {
        int members[MAX_POINTS], count = 0;
        for (int j = 0; j < cloud->count; j++)
            if (cheapest(curve, cloud->at[j].bytes) == i)
                members[count++] = j;
        if (count > 0)
            fit_line(cloud, members, count, &next.lines[next.num_lines++]);
    }
    return next;
}

static struct weft_curve with_lines(const struct cloud *cloud, const struct cuts *cuts, int lines,
                                    int64_t *error)
{
    struct weft_curve curve = {.num_lines = lines};
    for (int k = lines, end = cloud->count; k > 0; k--) {
        int members[MAX_POINTS], first = cuts->from[k][end];
        for (int i = first; i < end; i++)
            members[i - first] = i;
        fit_line(cloud, members, end - first, &curve.lines[k - 1]);
        end = first;
    }
    *error = curve_error(&curve, cloud);
    for (int round = 0; round < ROUNDS; round++) {
        struct weft_curve next = refit(&curve, cloud);
        int64_t next_error = curve_error(&next, cloud);
        if (next_error >= *error)
            break;
        curve = next;
        *error = next_error;
    }
    return curve;
}

/* By fixed cost; what another line beats at every size goes. */
static void put_in_order(struct weft_curve *curve)
{
    for (int i = 1; i < curve->num_lines; i++)
        for (int j = i; j > 0; j--) {
            struct weft_line *a = &curve->lines[j - 1], *b = &curve->lines[j], held = *a;
            if (a->fixed_ps > b->fixed_ps ||
                (a->fixed_ps == b->fixed_ps && a->ps_per_mib > b->ps_per_mib))
                *a = *b, *b = held;
        }
    int kept = 1;
    for (int i = 1; i < curve->num_lines; i++)
        if (curve->lines[i].ps_per_mib < curve->lines[kept - 1].ps_per_mib)
            curve->lines[kept++] = curve->lines[i];
    for (int i = kept; i < curve->num_lines; i++)
        curve->lines[i] = (struct weft_line){0};
    curve->num_lines = kept;
}

static weft_status check_sweep(const struct weft_sweep *sweep, struct weft_error *error)
{
    if (sweep->num_points < 2 || sweep->num_points > WEFT_SWEEP_POINTS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a curve is fitted to 2 to %d sizes, not %d",
                         WEFT_SWEEP_POINTS, sweep->num_points);
    for (int i = 0; i < sweep->num_points; i++) {
        const struct weft_sweep_point *p = &sweep->points[i];
        if (p->bytes < 1 || p->bytes > most_bytes || p->time_ps < 1 || p->time_ps > most_ps ||
            (i > 0 && p->bytes <= p[-1].bytes))
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "point %d of a sweep is out of range or order", i + 1);
    }
    return WEFT_OK;
}

weft_status weft_curve_fit(const struct weft_sweep *sweep, struct weft_curve *curve,
                           struct weft_error *error)
{
    struct cloud seen = {.count = sweep->num_points}, all = {0};
    struct cuts cuts;
    int64_t least = INT64_MAX;
    WEFT_TRY(check_sweep(sweep, error));
    for (int i = 0; i < seen.count; i++)
        seen.at[i] = sweep->points[i], seen.weight[i] = WEIGHT;
    fill_gaps(&seen, &all);
    cut(&all, &cuts);
    for (int lines = 1; lines <= WEFT_CURVE_LINES && lines <= all.count; lines++) {
        int64_t sum;
        struct weft_curve made = with_lines(&all, &cuts, lines, &sum);
        if (least != INT64_MAX && sum > least - WORTH)
            continue;
        least = sum;
        *curve = made;
    }
    put_in_order(curve);
    return WEFT_OK;
}
