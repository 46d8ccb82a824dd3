/*
 * SPDX-License-Identifier: Apache-2.0
 * The trainer on one rank through the real library: the loss falls on a small text, runs repeat bit
 * for bit, a held-out loss is what it says, bad options and texts are refused.
 */
#include "tests/trainer/compare.h"

#include <stdio.h>
#include <string.h>

#include "trainer/trainer.h"

static struct weft_trainer_options small_options(void)
{
    return (struct weft_trainer_options){
        .model = {.layers = 2, .width = 32, .heads = 2, .context = 32},
        .batch = 4,
        .micro_batch = 2,
        .steps = 200,
        .learning_rate = {.peak = 1e-2, .floor = 1e-3, .warmup_steps = 5},
        .weight_decay = 0.1f,
        .clip = 1,
        .seed = 3,
        .bucket_bytes = 1 << 14,
        .drop_rank = -1,
    };
}

static struct weft_text counting_text(size_t bytes)
{
    struct weft_text text = {.bytes = malloc(bytes), .num_bytes = bytes};
    for (size_t i = 0; i < bytes; i++)
        text.bytes[i] = (uint8_t) "one two three four five six "[i % 28];
    text.num_train = bytes - bytes / 20;
    return text;
}

struct outcome {
    double first, last, held_out;
    uint8_t sample[40];
};

static struct outcome run(struct weft_trainer_options options)
{
    struct weft_parallel *parallel;
    struct weft_trainer *trainer;
    struct weft_text text = counting_text(4000);
    struct weft_error error = {0};
    struct outcome outcome = {0};
    if (weft_parallel_create(&parallel, &error) != WEFT_OK ||
        weft_trainer_create(&options, parallel, &text, &trainer, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    struct weft_step step = {0};
    while (!step.is_last) {
        if (weft_trainer_step(trainer, &step, &error) != WEFT_OK)
            fail_msg("%s", error.text);
        assert_false(step.skipped);
        if (step.step == 1)
            outcome.first = step.loss;
        outcome.last = step.loss;
    }
    assert_int_equal(step.step, options.steps);
    assert_int_equal(weft_trainer_evaluate(trainer, 4, &outcome.held_out, &error), WEFT_OK);
    assert_int_equal(weft_trainer_agree(trainer, &error), WEFT_OK);
    weft_trainer_generate(trainer, (const uint8_t *)"one two three fo", 16, 0.1, 1, outcome.sample,
                          sizeof outcome.sample);
    weft_trainer_destroy(&trainer);
    assert_int_equal(weft_parallel_close(parallel, &error), WEFT_OK);
    weft_parallel_destroy(&parallel);
    weft_text_free(&text);
    return outcome;
}

static void test_loss_falls(void **state)
{
    (void)state;
    struct outcome outcome = run(small_options());
    print_message("loss %.3f -> %.3f, held out %.3f\n", outcome.first, outcome.last,
                  outcome.held_out);
    assert_true(outcome.first > 5 && outcome.first < 7); // knows nothing yet: about log 256
    assert_true(outcome.last < 0.3);                     // the text repeats every 28 bytes
    assert_true(outcome.held_out < 0.3);
    assert_memory_equal(outcome.sample, "ur five six one two", 19);
}

static void test_runs_repeat(void **state)
{
    (void)state;
    struct weft_trainer_options options = small_options();
    options.steps = 10;
    struct outcome a = run(options), b = run(options);
    assert_memory_equal(&a, &b, sizeof a);
    options.seed++;
    struct outcome c = run(options);
    assert_true(c.last != a.last);
}

// Micro-batches only cut the work: the numbers stay.
static void test_micro_batch_size_does_not_matter(void **state)
{
    (void)state;
    struct weft_trainer_options options = small_options();
    options.steps = 5;
    struct outcome a = run(options);
    options.micro_batch = 4;
    struct outcome b = run(options);
    options.micro_batch = 1;
    struct outcome c = run(options);
    assert_true(fabs(a.last - b.last) < 1e-5 * a.last);
    assert_true(fabs(a.last - c.last) < 1e-5 * a.last);
}

// Alone and left out, the gradient is zero: the weights only decay and nothing is learned.
static void test_dropped_rank_learns_nothing(void **state)
{
    (void)state;
    struct weft_trainer_options options = small_options();
    options.steps = 40;
    options.drop_rank = 0;
    struct outcome outcome = run(options);
    assert_true(outcome.last > 5);
}

static void test_bad_options(void **state)
{
    (void)state;
    struct weft_parallel *parallel;
    struct weft_error error;
    assert_int_equal(weft_parallel_create(&parallel, &error), WEFT_OK);
    struct weft_text text = counting_text(4000), tiny = counting_text(300);
    struct weft_trainer_options bad[10];
    for (int i = 0; i < 10; i++)
        bad[i] = small_options();
    bad[0].batch = 5;
    bad[1].micro_batch = 0;
    bad[2].steps = 0;
    bad[3].seconds = -1;
    bad[4].learning_rate.peak = 0;
    bad[5].learning_rate.peak = NAN;
    bad[6].clip = -1;
    bad[7].drop_rank = 1; // there is only rank 0
    bad[8].model.heads = 5;
    bad[9].learning_rate.floor = 1;
    static const char *const words[10] = {"batch", "batch", "steps",     "seconds", "learning rate",
                                          "rate",  "clip",  "drop rank", "heads",   "floor"};
    for (int i = 0; i < 10; i++) {
        struct weft_trainer *trainer = NULL;
        assert_int_equal(weft_trainer_create(&bad[i], parallel, &text, &trainer, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_null(trainer);
        assert_non_null(strstr(error.text, words[i]));
    }
    struct weft_trainer_options good = small_options();
    struct weft_trainer *trainer = NULL;
    assert_int_equal(weft_trainer_create(&good, parallel, &tiny, &trainer, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "too few"));
    weft_text_free(&text);
    weft_text_free(&tiny);
    assert_int_equal(weft_parallel_close(parallel, &error), WEFT_OK);
    weft_parallel_destroy(&parallel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_runs_repeat),
        cmocka_unit_test(test_micro_batch_size_does_not_matter),
        cmocka_unit_test(test_dropped_rank_learns_nothing),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
