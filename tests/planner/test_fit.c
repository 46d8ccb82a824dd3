/*
 * SPDX-License-Identifier: Apache-2.0
 * Fitting prices: known lines are found again, a bad sample moves nothing, published sweeps are
 * foretold within the bar, and a sweep that is no sweep is refused with its line.
 */
#include "tests/topology/load.h"

#include <cmocka.h>

#include "base/json.h"
#include "collectives/planner/fit.h"

enum { LIMIT_PPM = 60000 };

static struct weft_sweep sweep_of(const struct weft_curve *curve, int first, int last)
{
    struct weft_sweep sweep = {0};
    for (int power = first; power <= last; power++) {
        int64_t bytes = (int64_t)1 << power;
        sweep.points[sweep.num_points++] =
            (struct weft_sweep_point){bytes, (int64_t)weft_curve_time(curve, bytes, 0)};
    }
    return sweep;
}

static struct weft_curve fitted(const struct weft_sweep *sweep)
{
    struct weft_curve curve;
    struct weft_error error = {0};
    if (weft_curve_fit(sweep, &curve, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return curve;
}

static void near(int64_t value, int64_t expected, int64_t per_thousand)
{
    int64_t off = value > expected ? value - expected : expected - value;
    if (off > expected / 1000 * per_thousand)
        fail_msg("%lld is not %lld", (long long)value, (long long)expected);
}

static const struct weft_curve known = {
    .num_lines = 3, .lines = {{10000000, 900000000}, {40000000, 20000000}, {300000000, 4000000}}};

static void known_lines_are_found(void **state)
{
    (void)state;
    for (int lines = 1; lines <= known.num_lines; lines++) {
        struct weft_curve some = known;
        some.num_lines = lines;
        struct weft_sweep sweep = sweep_of(&some, 3, 33);
        struct weft_curve curve = fitted(&sweep);
        assert_int_equal(curve.num_lines, lines);
        for (int i = 0; i < lines; i++) {
            near(curve.lines[i].fixed_ps, known.lines[i].fixed_ps, 1);
            near(curve.lines[i].ps_per_mib, known.lines[i].ps_per_mib, 1);
        }
    }
}

static void a_bad_sample_moves_nothing(void **state)
{
    (void)state;
    for (int bad = 0; bad <= 30; bad++) {
        struct weft_sweep sweep = sweep_of(&known, 3, 33);
        sweep.points[bad].time_ps *= 5;
        struct weft_curve curve = fitted(&sweep);
        sweep.points[bad].time_ps /= 5;
        for (int i = 0; i < sweep.num_points; i++)
            near((int64_t)weft_curve_time(&curve, sweep.points[i].bytes, 0),
                 sweep.points[i].time_ps, 80);
    }
}

static void noise_is_borne(void **state)
{
    (void)state;
    struct weft_sweep sweep = sweep_of(&known, 3, 33);
    uint64_t seed = 1;
    for (int i = 0; i < sweep.num_points; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sweep.points[i].time_ps += sweep.points[i].time_ps / 1000 * (int64_t)((seed >> 33) % 80) -
                                   sweep.points[i].time_ps / 25;
    }
    struct weft_curve curve = fitted(&sweep), again = fitted(&sweep);
    assert_memory_equal(&curve, &again, sizeof curve);
    for (int i = 0; i < sweep.num_points; i++)
        near((int64_t)weft_curve_time(&curve, sweep.points[i].bytes, 0), sweep.points[i].time_ps,
             120);
}

static void the_extremes_are_fitted(void **state)
{
    (void)state;
    struct weft_sweep sweep = {.num_points = 2,
                               .points = {{1, 100000000000000}, {(int64_t)1 << 44, 1}}};
    struct weft_curve curve = fitted(&sweep);
    assert_true(curve.num_lines >= 1);
    sweep = (struct weft_sweep){.num_points = 2,
                                .points = {{1, 1}, {(int64_t)1 << 44, 100000000000000}}};
    curve = fitted(&sweep);
    assert_true(curve.num_lines >= 1);
    sweep.points[1].bytes = 1;
    assert_int_equal(weft_curve_fit(&sweep, &curve, NULL), WEFT_INVALID_ARGUMENT);
    sweep.num_points = 1;
    assert_int_equal(weft_curve_fit(&sweep, &curve, NULL), WEFT_INVALID_ARGUMENT);
}

static void check_file(const char *file, int64_t middle)
{
    char path[512], *text;
    size_t bytes;
    struct weft_error error = {0};
    struct weft_sweep sweep;
    struct weft_fit_check check;
    real_path(file, path, sizeof path);
    assert_int_equal(weft_file_read(path, 1 << 20, &text, &bytes, NULL), WEFT_OK);
    if (weft_sweep_read(text, file, &sweep, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    free(text);
    assert_int_equal(weft_fit_check(&sweep, &check, NULL), WEFT_OK);
    for (int i = 0; i < sweep.num_points; i++) {
        int64_t size = sweep.points[i].bytes;
        assert_int_equal(check.rows[i].is_seen,
                         size <= 1 << 20 || size == middle || i == sweep.num_points - 1);
    }
    print_message("%s: median %lld ppm of %d sizes, control %lld and %lld\n", file,
                  (long long)check.median_ppm, check.num_hidden, (long long)check.linear_median_ppm,
                  (long long)check.power_median_ppm);
    assert_true(check.median_ppm <= LIMIT_PPM);
    assert_true(check.median_ppm < check.linear_median_ppm);
    assert_true(check.median_ppm < check.power_median_ppm);

    // what is hidden is hidden
    struct weft_fit_check other;
    for (int i = 0; i < sweep.num_points; i++)
        if (!check.rows[i].is_seen)
            sweep.points[i].time_ps *= 3;
    assert_int_equal(weft_fit_check(&sweep, &other, NULL), WEFT_OK);
    assert_memory_equal(&check.curve, &other.curve, sizeof check.curve);
    assert_true(other.median_ppm > LIMIT_PPM);
}

static void two_nodes_are_foretold(void **state)
{
    (void)state;
    check_file("measured/aws-p5-2x8-h100-allreduce.csv", 134217728);
}

static void one_node_is_foretold(void **state)
{
    (void)state;
    check_file("measured/llmb-1x8-allreduce.csv", 134217728);
}

static void sweeps_are_read(void **state)
{
    (void)state;
    struct weft_sweep sweep;
    assert_int_equal(weft_sweep_read("# a\n\n 8 , 1.5 \r\n16,2.0000019\n32,3", "x", &sweep, NULL),
                     WEFT_OK);
    assert_int_equal(sweep.num_points, 3);
    assert_int_equal(sweep.points[0].time_ps, 1500000);
    assert_int_equal(sweep.points[1].time_ps, 2000001);
    assert_int_equal(sweep.points[2].bytes, 32);
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "x:1: a sweep has two sizes"},
        {"8,1\n", "x:1: a sweep has two sizes"},
        {"8,1\nsize,time\n", "x:2: does not start with a size"},
        {"0,1\n", "x:1: does not start"},
        {"99999999999999999999999,1\n", "x:1: does not start"},
        {"8;1\n", "x:1: no comma"},
        {"8,-1\n", "x:1: no time"},
        {"8,0.0000001\n", "x:1: no time"},
        {"8,1.\n", "x:1: no time"},
        {"8,1e9\n", "x:1: more than size and time"},
        {"8,100000000.1\n", "x:1: no time"},
        {"8,1\n8,1\n", "x:2: sizes do not ascend"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weft_error error = {0};
        assert_int_equal(weft_sweep_read(bad[i].text, "x", &sweep, &error), WEFT_INVALID_FORMAT);
        if (strncmp(error.text, bad[i].words, strlen(bad[i].words)) != 0)
            fail_msg("\"%s\" gives \"%s\"", bad[i].text, error.text);
    }
    char many[2000] = "";
    for (int i = 1; i <= WEFT_SWEEP_POINTS + 1; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "%d,1\n", i);
    assert_int_equal(weft_sweep_read(many, "x", &sweep, NULL), WEFT_INVALID_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_lines_are_found),  cmocka_unit_test(a_bad_sample_moves_nothing),
        cmocka_unit_test(noise_is_borne),         cmocka_unit_test(the_extremes_are_fitted),
        cmocka_unit_test(two_nodes_are_foretold), cmocka_unit_test(one_node_is_foretold),
        cmocka_unit_test(sweeps_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
