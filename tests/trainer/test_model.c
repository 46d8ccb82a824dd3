/*
 * SPDX-License-Identifier: Apache-2.0
 * The model as a whole: fp32 gradients against the float64 reference, the reference against finite
 * differences on every tensor, where gradients lie in the buffer and when they become final.
 */
#include "tests/trainer/compare.h"

#include <string.h>

#include "kernels/model_ops.h"
#include "trainer/gradcheck.h"
#include "trainer/random.h"

struct fixture {
    struct weft_model *model;
    float *parameters;
    uint8_t *text;
    struct weft_batch batch;
};

static struct fixture fixture_create(struct weft_model_config config, size_t sequences,
                                     size_t length)
{
    struct fixture f = {0};
    struct weft_error error;
    assert_int_equal(weft_model_create(&config, &f.model, &error), WEFT_OK);
    f.parameters = malloc(f.model->num_floats * sizeof(float));
    weft_model_initialise(f.model, 7, f.parameters);
    // Biases and gains away from 0 and 1, so that a wrong term of theirs shows.
    for (size_t i = 0; i < f.model->num_floats; i++)
        f.parameters[i] += (float)(0.05 * weft_random_normal(99, i));
    f.text = malloc(sequences * length + 1);
    for (size_t i = 0; i <= sequences * length; i++)
        f.text[i] = (uint8_t)weft_random_below(5, i, 256);
    f.batch = (struct weft_batch){sequences, length, f.text, f.text + 1};
    return f;
}

static void fixture_destroy(struct fixture *f)
{
    weft_model_destroy(&f->model);
    free(f->parameters);
    free(f->text);
}

static void test_fp32_follows_reference(void **state)
{
    (void)state;
    static const struct weft_model_config configs[] = {
        {1, 8, 1, 2}, {2, 36, 3, 67}, {3, 64, 4, 32}};
    for (size_t c = 0; c < 3; c++) {
        // A length below the context: positions beyond it get no gradient.
        size_t length = configs[c].context > 2 ? configs[c].context - 1 : 2;
        struct fixture f = fixture_create(configs[c], 3, length);
        struct weft_gradcheck result;
        struct weft_error error;
        assert_int_equal(weft_gradcheck_reference(f.model, f.parameters, &f.batch, &result, &error),
                         WEFT_OK);
        print_message("gradient %.2e, worst tensor %.2e (%s), loss %.2e\n", result.whole,
                      result.worst_tensor, result.worst_name, result.loss);
        assert_true(result.whole <= 1e-6);
        assert_true(result.worst_tensor <= 1e-5);
        assert_true(result.loss <= 1e-6);
        fixture_destroy(&f);
    }
}

static void test_reference_follows_differences(void **state)
{
    (void)state;
    struct fixture f = fixture_create((struct weft_model_config){2, 24, 3, 9}, 2, 9);
    struct weft_differences result;
    struct weft_error error;
    assert_int_equal(
        weft_gradcheck_differences(f.model, f.parameters, &f.batch, 6, &result, &error), WEFT_OK);
    print_message("differences: worst %.2e (%s), %zu elements\n", result.worst, result.worst_name,
                  result.num_elements);
    assert_int_equal(result.num_tensors, f.model->num_parameters);
    assert_true(result.worst <= 1e-6);
    fixture_destroy(&f);
}

static void test_table_covers_buffer(void **state)
{
    (void)state;
    struct fixture f = fixture_create((struct weft_model_config){3, 20, 2, 10}, 1, 4);
    size_t next = 0, elements = 0;
    for (size_t i = 0; i < f.model->num_parameters; i++) {
        const struct weft_parameter *row = &f.model->table[i];
        assert_true(row->offset >= next && row->offset < next + 16);
        assert_int_equal(row->offset % 16, 0);
        assert_int_equal(row->decays, row->columns > 1);
        next = row->offset + row->count;
        elements += row->count;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(row->name, f.model->table[k].name);
    }
    assert_true(next <= f.model->num_floats && f.model->num_floats < next + 16);
    assert_int_equal(elements, f.model->num_elements);
    // 12 width^2 + 13 width per block, two tables, one norm.
    assert_int_equal(elements, 3 * (12 * 400 + 13 * 20) + (256 + 10) * 20 + 2 * 20);
    fixture_destroy(&f);
}

// What is called closed must not change any more, and all must be closed at the end.
struct closing {
    const float *gradients;
    float *kept;
    size_t end;
    int calls;
};

static void note_closed(void *argument, size_t end)
{
    struct closing *closing = argument;
    assert_true(end > closing->end);
    memcpy(closing->kept + closing->end, closing->gradients + closing->end,
           (end - closing->end) * sizeof(float));
    closing->end = end;
    closing->calls++;
}

static void test_gradients_close_in_order(void **state)
{
    (void)state;
    struct fixture f = fixture_create((struct weft_model_config){3, 16, 2, 8}, 2, 8);
    size_t bytes = f.model->num_floats * sizeof(float);
    float *gradients = calloc(1, bytes);
    struct closing closing = {gradients, calloc(1, bytes), 0, 0};
    struct weft_workspace *workspace;
    struct weft_error error;
    assert_int_equal(weft_workspace_create(f.model, 16, &workspace, &error), WEFT_OK);
    weft_model_forward(f.model, workspace, f.parameters, &f.batch);
    weft_model_backward(f.model, workspace, gradients, note_closed, &closing);
    assert_int_equal(closing.end, f.model->num_floats);
    assert_int_equal(closing.calls, 5);
    assert_memory_equal(closing.kept, gradients, bytes);
    weft_workspace_destroy(&workspace);
    free(gradients);
    free(closing.kept);
    fixture_destroy(&f);
}

static void test_initial_values_depend_on_name_and_index(void **state)
{
    (void)state;
    struct fixture f = fixture_create((struct weft_model_config){2, 16, 2, 8}, 1, 4);
    const struct weft_parameter *row =
        &f.model->table[weft_parameters_of_block(&f.model->config, 1) + WEFT_BLOCK_QKV_WEIGHT];
    float whole[48 * 16], part[100];
    weft_parameter_initialise(row, 3, 0, row->count, whole);
    // A rank that owns only elements 333 .. 432 draws the same numbers.
    weft_parameter_initialise(row, 3, 333, 100, part);
    assert_memory_equal(whole + 333, part, sizeof part);
    // Another tensor of the same shape, or another seed, draws others.
    const struct weft_parameter *twin =
        &f.model->table[weft_parameters_of_block(&f.model->config, 0) + WEFT_BLOCK_QKV_WEIGHT];
    weft_parameter_initialise(twin, 3, 333, 100, part);
    assert_memory_not_equal(whole + 333, part, sizeof part);
    weft_parameter_initialise(row, 4, 333, 100, part);
    assert_memory_not_equal(whole + 333, part, sizeof part);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < row->count; i++) {
        sum += (double)whole[i];
        squares += (double)whole[i] * (double)whole[i];
    }
    double deviation = sqrt(squares / (double)row->count);
    assert_true(fabs(deviation - (double)row->deviation) < 0.1 * (double)row->deviation);
    assert_true(fabs(sum / (double)row->count) < 0.15 * deviation);
    fixture_destroy(&f);
}

static void test_impossible_models(void **state)
{
    (void)state;
    static const struct weft_model_config configs[] = {
        {0, 8, 1, 8}, {1, 0, 1, 8}, {1, 8, 3, 8}, {1, 8, 0, 8}, {1, 8, 1, 0}, {1, 1 << 20, 1, 8}};
    for (size_t c = 0; c < 6; c++) {
        struct weft_model *model = NULL;
        struct weft_error error = {0};
        assert_int_equal(weft_model_create(&configs[c], &model, &error), WEFT_INVALID_ARGUMENT);
        assert_null(model);
        assert_true(strlen(error.text) > 0);
    }
}

int main(void)
{
    weft_blas_use_one_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32_follows_reference),
        cmocka_unit_test(test_reference_follows_differences),
        cmocka_unit_test(test_table_covers_buffer),
        cmocka_unit_test(test_gradients_close_in_order),
        cmocka_unit_test(test_initial_values_depend_on_name_and_index),
        cmocka_unit_test(test_impossible_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
