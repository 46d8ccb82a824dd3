/*
 * SPDX-License-Identifier: Apache-2.0
 * That training does not depend on the number of ranks: shares cover the batch, sequences are
 * chosen by step and index alone, and the gradients of the shares of 1, 2, 3, 4 and 7 simulated
 * ranks add up to the same. Also the learning rate.
 */
#include "tests/trainer/compare.h"

#include <string.h>

#include "kernels/model_ops.h"
#include "trainer/model.h"
#include "trainer/random.h"
#include "trainer/schedule.h"

static void test_shares_cover_the_batch(void **state)
{
    (void)state;
    for (size_t total = 0; total <= 40; total++)
        for (int ranks = 1; ranks <= 17; ranks++) {
            size_t next = 0, smallest = total, largest = 0;
            for (int rank = 0; rank < ranks; rank++) {
                struct weft_share share = weft_share_of(total, rank, ranks);
                assert_int_equal(share.first, next);
                next += share.count;
                smallest = share.count < smallest ? share.count : smallest;
                largest = share.count > largest ? share.count : largest;
            }
            assert_int_equal(next, total);
            assert_true(largest - smallest <= 1);
        }
}

static void test_sequences_depend_on_step_and_index(void **state)
{
    (void)state;
    enum { BYTES = 5000, LENGTH = 50, BATCH = 12 };
    uint8_t text[BYTES], whole[2][BATCH * LENGTH], part[2][BATCH * LENGTH];
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (uint8_t)weft_random_bits(1, i);
    weft_sequences_fill(text, BYTES, 9, 4, 0, BATCH, LENGTH, whole[0], whole[1]);
    for (int ranks = 1; ranks <= 5; ranks++)
        for (int rank = 0; rank < ranks; rank++) {
            struct weft_share share = weft_share_of(BATCH, rank, ranks);
            weft_sequences_fill(text, BYTES, 9, 4, share.first, share.count, LENGTH, part[0],
                                part[1]);
            for (int side = 0; side < 2; side++)
                assert_memory_equal(part[side], whole[side] + share.first * LENGTH,
                                    share.count * LENGTH);
        }
    for (size_t i = 0; i < BATCH; i++) // targets are inputs one byte later
        assert_memory_equal(whole[0] + i * LENGTH + 1, whole[1] + i * LENGTH, LENGTH - 1);
    // Another step, seed or index: another place.
    size_t start = weft_sequence_start(9, 4, 0, BYTES, LENGTH);
    assert_int_not_equal(start, weft_sequence_start(9, 5, 0, BYTES, LENGTH));
    assert_int_not_equal(start, weft_sequence_start(8, 4, 0, BYTES, LENGTH));
    assert_int_not_equal(start, weft_sequence_start(9, 4, 1, BYTES, LENGTH));
}

static void test_starts_reach_all_of_the_text(void **state)
{
    (void)state;
    enum { BYTES = 40, LENGTH = 30 };
    bool seen[BYTES] = {false};
    for (size_t i = 0; i < 2000; i++) {
        size_t start = weft_sequence_start(1, 1, i, BYTES, LENGTH);
        assert_true(start + LENGTH + 1 <= BYTES); // the last target is inside too
        seen[start] = true;
    }
    for (size_t start = 0; start + LENGTH + 1 <= BYTES; start++)
        assert_true(seen[start]);
}

enum { MICRO_BATCHES = 8, SEQUENCES = 2, CONTEXT = 24, TEXT = 3000 };

// What one rank adds: the gradient of its share of the micro-batches, from zero.
static double add_share(const struct weft_model *model, struct weft_workspace *workspace,
                        const float *parameters, const uint8_t *text, int rank, int ranks,
                        float *gradients)
{
    uint8_t input[SEQUENCES * CONTEXT], target[SEQUENCES * CONTEXT];
    struct weft_share share = weft_share_of(MICRO_BATCHES, rank, ranks);
    float *own = calloc(model->num_floats, sizeof(float));
    double loss = 0;
    for (size_t i = 0; i < share.count; i++) {
        struct weft_batch batch = {SEQUENCES, CONTEXT, input, target};
        weft_sequences_fill(text, TEXT, 1, 1, (share.first + i) * SEQUENCES, SEQUENCES, CONTEXT,
                            input, target);
        loss += weft_model_forward(model, workspace, parameters, &batch);
        weft_model_backward(model, workspace, own, NULL, NULL);
    }
    weft_add(gradients, own, gradients, model->num_floats);
    free(own);
    return loss;
}

static double distance(const float *a, const float *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

static void test_gradients_of_shares_add_up(void **state)
{
    (void)state;
    struct weft_model_config config = {2, 32, 4, CONTEXT};
    struct weft_model *model;
    struct weft_workspace *workspace;
    struct weft_error error;
    uint8_t text[TEXT];
    for (size_t i = 0; i < TEXT; i++)
        text[i] = (uint8_t)('a' + weft_random_below(3, i, 26));
    assert_int_equal(weft_model_create(&config, &model, &error), WEFT_OK);
    assert_int_equal(weft_workspace_create(model, SEQUENCES * CONTEXT, &workspace, &error),
                     WEFT_OK);
    float *parameters = malloc(model->num_floats * sizeof(float));
    weft_model_initialise(model, 1, parameters);
    float *alone = calloc(model->num_floats, sizeof(float));
    double loss = add_share(model, workspace, parameters, text, 0, 1, alone);
    static const int ranks[] = {2, 3, 4, 7, 11};
    for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++) {
        float *sum = calloc(model->num_floats, sizeof(float));
        float *dropped = calloc(model->num_floats, sizeof(float));
        double total = 0;
        for (int rank = 0; rank < ranks[r]; rank++) {
            total += add_share(model, workspace, parameters, text, rank, ranks[r], sum);
            if (rank != 1)
                add_share(model, workspace, parameters, text, rank, ranks[r], dropped);
        }
        assert_true(distance(sum, alone, model->num_floats) <= 1e-6);
        assert_true(fabs(total - loss) <= 1e-12 * loss);
        // Without one rank that had something to add, the same measure must object.
        if (weft_share_of(MICRO_BATCHES, 1, ranks[r]).count > 0)
            assert_true(distance(dropped, alone, model->num_floats) > 1e-2);
        free(sum);
        free(dropped);
    }
    free(parameters);
    free(alone);
    weft_workspace_destroy(&workspace);
    weft_model_destroy(&model);
}

static void test_learning_rate(void **state)
{
    (void)state;
    struct weft_learning_rate rate = {.peak = 1e-2, .floor = 1e-3, .warmup_steps = 10};
    assert_true(fabs(weft_learning_rate_at(&rate, 1, 0) - 1e-3) < 1e-12);
    assert_true(fabs(weft_learning_rate_at(&rate, 5, 0) - 5e-3) < 1e-12);
    assert_true(fabs(weft_learning_rate_at(&rate, 10, 0) - 1e-2) < 1e-12);
    assert_true(fabs(weft_learning_rate_at(&rate, 100, 0.5) - 5.5e-3) < 1e-12);
    assert_true(fabs(weft_learning_rate_at(&rate, 100, 1) - 1e-3) < 1e-12);
    assert_true(fabs(weft_learning_rate_at(&rate, 100, 7) - 1e-3) < 1e-12);
    for (int i = 10; i < 200; i++)
        assert_true(weft_learning_rate_at(&rate, i, i / 200.0) >=
                    weft_learning_rate_at(&rate, i + 1, (i + 1) / 200.0));
    rate.warmup_steps = 0;
    assert_true(fabs(weft_learning_rate_at(&rate, 1, 0) - 1e-2) < 1e-12);
}

int main(void)
{
    weft_blas_use_one_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_cover_the_batch),
        cmocka_unit_test(test_sequences_depend_on_step_and_index),
        cmocka_unit_test(test_starts_reach_all_of_the_text),
        cmocka_unit_test(test_gradients_of_shares_add_up),
        cmocka_unit_test(test_learning_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
