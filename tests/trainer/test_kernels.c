/*
 * SPDX-License-Identifier: Apache-2.0
 * Every model kernel against its float64 twin, at odd shapes: one row, one column, lengths around
 * the block sizes. The limit is a few roundings of fp32, so a wrong term cannot hide.
 */
#include "tests/trainer/compare.h"

#include "kernels/model_ops.h"
#include "kernels/model_reference.h"

static const double LIMIT = 1e-6;

static void test_linear(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {
        {1, 1, 1}, {3, 5, 7}, {17, 33, 9}, {64, 128, 256}, {65, 31, 513}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], in = shapes[s][1], out = shapes[s][2];
        struct pair x = pair_create(rows * in, 1, 1), w = pair_create(out * in, 1, 2);
        struct pair b = pair_create(out, 1, 3), y = pair_create(rows * out, 1, 4);
        struct pair dy = pair_create(rows * out, 1, 5), dx = pair_create(rows * in, 1, 6);
        struct pair dw = pair_create(out * in, 1, 7), db = pair_create(out, 1, 8);
        weft_linear_forward(x.narrow, w.narrow, b.narrow, y.narrow, rows, in, out);
        weft_reference_linear_forward(x.wide, w.wide, b.wide, y.wide, rows, in, out);
        assert_near(&y, LIMIT, "linear y");
        // dw and db start from noise: they must be added to, dx from noise: it must be replaced.
        weft_linear_backward(x.narrow, w.narrow, dy.narrow, dx.narrow, dw.narrow, db.narrow, rows,
                             in, out);
        weft_reference_linear_backward(x.wide, w.wide, dy.wide, dx.wide, dw.wide, db.wide, rows, in,
                                       out);
        assert_near(&dx, LIMIT, "linear dx");
        assert_near(&dw, LIMIT, "linear dweight");
        assert_near(&db, LIMIT, "linear dbias");
        weft_linear_forward(x.narrow, w.narrow, NULL, y.narrow, rows, in, out);
        weft_reference_linear_forward(x.wide, w.wide, NULL, y.wide, rows, in, out);
        assert_near(&y, LIMIT, "linear y without bias");
        struct pair *all[] = {&x, &w, &b, &y, &dy, &dx, &dw, &db};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            pair_destroy(all[i]);
    }
}

static void test_layernorm(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 2}, {3, 5}, {7, 64}, {33, 257}, {5, 600}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], width = shapes[s][1], count = rows * width;
        struct pair x = pair_create(count, 3, 1), gain = pair_create(width, 1, 2);
        struct pair bias = pair_create(width, 1, 3), y = pair_create(count, 1, 4);
        struct pair mean = pair_create(rows, 0, 0), inverse = pair_create(rows, 0, 0);
        struct pair dy = pair_create(count, 1, 5), residual = pair_create(count, 1, 6);
        struct pair dx = pair_create(count, 1, 7), dgain = pair_create(width, 1, 8);
        struct pair dbias = pair_create(width, 1, 9);
        weft_layernorm_forward(x.narrow, gain.narrow, bias.narrow, y.narrow, mean.narrow,
                               inverse.narrow, rows, width);
        weft_reference_layernorm_forward(x.wide, gain.wide, bias.wide, y.wide, rows, width);
        assert_near(&y, LIMIT, "layernorm y");
        weft_layernorm_backward(x.narrow, gain.narrow, mean.narrow, inverse.narrow, dy.narrow,
                                residual.narrow, dx.narrow, dgain.narrow, dbias.narrow, rows,
                                width);
        weft_reference_layernorm_backward(x.wide, gain.wide, dy.wide, dx.wide, dgain.wide,
                                          dbias.wide, rows, width);
        for (size_t i = 0; i < count; i++)
            dx.wide[i] += residual.wide[i];
        assert_near(&dx, LIMIT, "layernorm dx");
        assert_near(&dgain, LIMIT, "layernorm dgain");
        assert_near(&dbias, LIMIT, "layernorm dbias");
        struct pair *all[] = {&x,  &gain,     &bias, &y,     &mean, &inverse,
                              &dy, &residual, &dx,   &dgain, &dbias};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            pair_destroy(all[i]);
    }
}

static void test_gelu(void **state)
{
    (void)state;
    static const double sizes[] = {1e-3, 1, 12, 300};
    for (size_t s = 0; s < 4; s++) {
        size_t count = 1003;
        struct pair x = pair_create(count, sizes[s], 1), y = pair_create(count, 0, 0);
        struct pair dy = pair_create(count, 1, 2), dx = pair_create(count, 0, 0);
        weft_gelu_forward(x.narrow, y.narrow, count);
        weft_reference_gelu_forward(x.wide, y.wide, count);
        assert_near(&y, LIMIT, "gelu y");
        weft_gelu_backward(x.narrow, dy.narrow, dx.narrow, count);
        weft_reference_gelu_backward(x.wide, dy.wide, dx.wide, count);
        assert_near(&dx, LIMIT, "gelu dx");
        struct pair *all[] = {&x, &y, &dy, &dx};
        for (size_t i = 0; i < 4; i++)
            pair_destroy(all[i]);
    }
}

static void test_attention(void **state)
{
    (void)state;
    static const struct weft_attention_shape shapes[] = {
        {1, 1, 1, 1}, {2, 3, 1, 5}, {1, 63, 2, 8}, {3, 64, 1, 4}, {1, 65, 3, 16}, {2, 200, 2, 7}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const struct weft_attention_shape *shape = &shapes[s];
        size_t rows = shape->sequences * shape->length, width = shape->heads * shape->head_width;
        size_t squares = shape->sequences * shape->heads * shape->length * shape->length;
        struct pair qkv = pair_create(rows * 3 * width, 1.5, 1),
                    out = pair_create(rows * width, 1, 2);
        struct pair sums = pair_create(rows * shape->heads, 0, 0), p = pair_create(squares, 0, 0);
        struct pair dout = pair_create(rows * width, 1, 3);
        struct pair dqkv = pair_create(rows * 3 * width, 1, 4); // noise that must be replaced
        float *scratch = malloc(weft_attention_scratch_floats(shape) * sizeof(float));
        weft_attention_forward(shape, qkv.narrow, out.narrow, sums.narrow, scratch);
        weft_reference_attention_forward(shape, qkv.wide, out.wide, p.wide);
        assert_near(&out, LIMIT, "attention out");
        weft_attention_backward(shape, qkv.narrow, sums.narrow, dout.narrow, dqkv.narrow, scratch);
        weft_reference_attention_backward(shape, qkv.wide, p.wide, dout.wide, dqkv.wide);
        assert_near(&dqkv, LIMIT, "attention dqkv");
        free(scratch);
        struct pair *all[] = {&qkv, &out, &sums, &p, &dout, &dqkv};
        for (size_t i = 0; i < 6; i++)
            pair_destroy(all[i]);
    }
}

static void test_embedding_and_loss(void **state)
{
    (void)state;
    enum { LENGTH = 7, ROWS = 3 * LENGTH, WIDTH = 19, CLASSES = 256 };
    uint8_t input[ROWS];
    for (int i = 0; i < ROWS; i++)
        input[i] = (uint8_t)(i * 37 % 11 * 25); // repeats, and reaches 250
    struct pair tokens = pair_create(256 * WIDTH, 1, 1),
                positions = pair_create(LENGTH * WIDTH, 1, 2);
    struct pair y = pair_create(ROWS * WIDTH, 0, 0), dy = pair_create(ROWS * WIDTH, 1, 3);
    struct pair dtokens = pair_create(256 * WIDTH, 1, 4);
    struct pair dpositions = pair_create(LENGTH * WIDTH, 1, 5);
    weft_embedding_forward(input, tokens.narrow, positions.narrow, y.narrow, ROWS, LENGTH, WIDTH);
    weft_reference_embedding_forward(input, tokens.wide, positions.wide, y.wide, ROWS, LENGTH,
                                     WIDTH);
    assert_near(&y, LIMIT, "embedding y");
    weft_embedding_backward(input, dy.narrow, dtokens.narrow, dpositions.narrow, ROWS, LENGTH,
                            WIDTH);
    weft_reference_embedding_backward(input, dy.wide, dtokens.wide, dpositions.wide, ROWS, LENGTH,
                                      WIDTH);
    assert_near(&dtokens, LIMIT, "embedding dtokens");
    assert_near(&dpositions, LIMIT, "embedding dpositions");

    struct pair logits = pair_create(ROWS * CLASSES, 20, 6);
    double loss = weft_cross_entropy(logits.narrow, input, ROWS, CLASSES);
    double expected = weft_reference_cross_entropy(logits.wide, input, ROWS, CLASSES);
    assert_true(fabs(loss - expected) <= LIMIT * expected);
    assert_near(&logits, LIMIT, "cross-entropy gradient");
    struct pair *all[] = {&tokens, &positions, &y, &dy, &dtokens, &dpositions, &logits};
    for (size_t i = 0; i < 7; i++)
        pair_destroy(all[i]);
}

// AdamW has no twin in the reference: three steps are followed here by the published formula.
static void test_adamw(void **state)
{
    (void)state;
    enum { COUNT = 37 };
    struct pair w = pair_create(COUNT, 1, 1), g = pair_create(COUNT, 1, 2);
    struct pair m = pair_create(COUNT, 0, 0), v = pair_create(COUNT, 0, 0);
    for (int step = 1; step <= 3; step++) {
        struct weft_adamw adamw = {0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.25f, step};
        weft_adamw_update(&adamw, w.narrow, g.narrow, m.narrow, v.narrow, COUNT);
        for (int i = 0; i < COUNT; i++) {
            double gradient = g.wide[i] * 0.25;
            m.wide[i] = 0.9 * m.wide[i] + 0.1 * gradient;
            v.wide[i] = 0.95 * v.wide[i] + 0.05 * gradient * gradient;
            double mean = m.wide[i] / (1 - pow(0.9, step));
            double variance = v.wide[i] / (1 - pow(0.95, step));
            w.wide[i] -= 0.01 * (mean / (sqrt(variance) + 1e-8) + 0.1 * w.wide[i]);
        }
    }
    assert_near(&w, LIMIT, "adamw parameter");
    assert_near(&m, LIMIT, "adamw mean");
    assert_near(&v, LIMIT, "adamw variance");
    double squares = 0;
    for (int i = 0; i < COUNT; i++)
        squares += (double)w.narrow[i] * (double)w.narrow[i];
    assert_true(fabs(weft_sum_of_squares(w.narrow, COUNT) - squares) < 1e-12 * squares);
    struct pair *all[] = {&w, &g, &m, &v};
    for (size_t i = 0; i < 4; i++)
        pair_destroy(all[i]);
}

int main(void)
{
    weft_blas_use_one_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_layernorm),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_embedding_and_loss),
        cmocka_unit_test(test_adamw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
