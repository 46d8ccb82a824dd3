/*
 * SPDX-License-Identifier: Apache-2.0
 * The kinds of layers: embedding, block (attention and MLP, each behind a layer norm and added to
 * the residual stream), head (layer norm, product with the token table, loss). Each cuts its saved
 * memory into named arrays with one function, used by forward and backward alike.
 */
#include "kernels/model_ops.h"
#include "trainer/model.h"

static const float *value_of(const struct weft_layer *layer, const struct weft_pass *pass,
                             size_t which)
{
    return pass->parameters + pass->model->table[layer->first_parameter + which].offset;
}

static float *gradient_of(const struct weft_layer *layer, const struct weft_pass *pass,
                          size_t which)
{
    return pass->gradients + pass->model->table[layer->first_parameter + which].offset;
}

static float *cut(float **memory, size_t count)
{
    float *piece = *memory;
    *memory += count;
    return piece;
}

static size_t no_floats(const struct weft_model *model, size_t rows)
{
    (void)model;
    (void)rows;
    return 0;
}

// ---- embedding ----

static void embedding_forward(const struct weft_layer *layer, struct weft_pass *pass,
                              const float *in, float *out, float *saved)
{
    (void)in;
    (void)saved;
    weft_embedding_forward(pass->batch.input, value_of(layer, pass, WEFT_EMBEDDING_TOKENS),
                           value_of(layer, pass, WEFT_EMBEDDING_POSITIONS), out, pass->rows,
                           pass->batch.length, pass->model->config.width);
}

static void embedding_backward(const struct weft_layer *layer, struct weft_pass *pass,
                               const float *in, const float *dout, float *din, float *saved)
{
    (void)in;
    (void)din;
    (void)saved;
    weft_embedding_backward(pass->batch.input, dout,
                            gradient_of(layer, pass, WEFT_EMBEDDING_TOKENS),
                            gradient_of(layer, pass, WEFT_EMBEDDING_POSITIONS), pass->rows,
                            pass->batch.length, pass->model->config.width);
}

// ---- block ----

struct block_saved {
    float *mean1, *inverse1, *mean2, *inverse2; // (rows)
    float *log_sum;                             // (sequences, heads, length)
    float *normal1;                             // (rows, width)
    float *qkv;                                 // (rows, 3 * width)
    float *attended;                            // (rows, width)
    float *middle;                              // (rows, width): after attention is added
    float *normal2;                             // (rows, width)
    float *hidden;                              // (rows, 4 * width): before GELU
    float *active;                              // (rows, 4 * width): after GELU
};

static struct block_saved cut_block(const struct weft_model *model, size_t rows, float **memory)
{
    size_t width = rows * model->config.width;
    return (struct block_saved){
        .mean1 = cut(memory, rows),
        .inverse1 = cut(memory, rows),
        .mean2 = cut(memory, rows),
        .inverse2 = cut(memory, rows),
        .log_sum = cut(memory, rows * model->config.heads),
        .normal1 = cut(memory, width),
        .qkv = cut(memory, 3 * width),
        .attended = cut(memory, width),
        .middle = cut(memory, width),
        .normal2 = cut(memory, width),
        .hidden = cut(memory, 4 * width),
        .active = cut(memory, 4 * width),
    };
}

static size_t block_saved_floats(const struct weft_model *model, size_t rows)
{
    return rows * (4 + model->config.heads + 15 * model->config.width);
}

static struct weft_attention_shape attention_shape(const struct weft_pass *pass)
{
    const struct weft_model_config *config = &pass->model->config;
    return (struct weft_attention_shape){pass->batch.sequences, pass->batch.length, config->heads,
                                         config->width / config->heads};
}

// Backward: gradients of hidden (4 widths), of a normalised stream (1), of middle (1), of what was
// attended (1) and of qkv (3, in the place of hidden), then what attention needs.
static size_t block_scratch_floats(const struct weft_model *model, size_t rows)
{
    struct weft_attention_shape longest = {1, model->config.context, 1, 1};
    return rows * 7 * model->config.width + weft_attention_scratch_floats(&longest);
}

static void block_forward(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                          float *out, float *saved)
{
    size_t rows = pass->rows, width = pass->model->config.width;
    struct block_saved s = cut_block(pass->model, rows, &saved);
    struct weft_attention_shape shape = attention_shape(pass);
    weft_layernorm_forward(in, value_of(layer, pass, WEFT_BLOCK_LN1_GAIN),
                           value_of(layer, pass, WEFT_BLOCK_LN1_BIAS), s.normal1, s.mean1,
                           s.inverse1, rows, width);
    weft_linear_forward(s.normal1, value_of(layer, pass, WEFT_BLOCK_QKV_WEIGHT),
                        value_of(layer, pass, WEFT_BLOCK_QKV_BIAS), s.qkv, rows, width, 3 * width);
    weft_attention_forward(&shape, s.qkv, s.attended, s.log_sum, pass->scratch);
    weft_linear_forward(s.attended, value_of(layer, pass, WEFT_BLOCK_ATTN_PROJ_WEIGHT),
                        value_of(layer, pass, WEFT_BLOCK_ATTN_PROJ_BIAS), s.middle, rows, width,
                        width);
    weft_add(s.middle, in, s.middle, rows * width);
    weft_layernorm_forward(s.middle, value_of(layer, pass, WEFT_BLOCK_LN2_GAIN),
                           value_of(layer, pass, WEFT_BLOCK_LN2_BIAS), s.normal2, s.mean2,
                           s.inverse2, rows, width);
    weft_linear_forward(s.normal2, value_of(layer, pass, WEFT_BLOCK_MLP_FC_WEIGHT),
                        value_of(layer, pass, WEFT_BLOCK_MLP_FC_BIAS), s.hidden, rows, width,
                        4 * width);
    weft_gelu_forward(s.hidden, s.active, rows * 4 * width);
    weft_linear_forward(s.active, value_of(layer, pass, WEFT_BLOCK_MLP_PROJ_WEIGHT),
                        value_of(layer, pass, WEFT_BLOCK_MLP_PROJ_BIAS), out, rows, 4 * width,
                        width);
    weft_add(out, s.middle, out, rows * width);
}

// The MLP's half: from the gradient of the block's output to that of `middle`.
static void mlp_backward(const struct weft_layer *layer, struct weft_pass *pass,
                         const struct block_saved *s, const float *dout, float *dhidden,
                         float *dnormal, float *dmiddle)
{
    size_t rows = pass->rows, width = pass->model->config.width;
    weft_linear_backward(s->active, value_of(layer, pass, WEFT_BLOCK_MLP_PROJ_WEIGHT), dout,
                         dhidden, gradient_of(layer, pass, WEFT_BLOCK_MLP_PROJ_WEIGHT),
                         gradient_of(layer, pass, WEFT_BLOCK_MLP_PROJ_BIAS), rows, 4 * width,
                         width);
    weft_gelu_backward(s->hidden, dhidden, dhidden, rows * 4 * width);
    weft_linear_backward(s->normal2, value_of(layer, pass, WEFT_BLOCK_MLP_FC_WEIGHT), dhidden,
                         dnormal, gradient_of(layer, pass, WEFT_BLOCK_MLP_FC_WEIGHT),
                         gradient_of(layer, pass, WEFT_BLOCK_MLP_FC_BIAS), rows, width, 4 * width);
    weft_layernorm_backward(s->middle, value_of(layer, pass, WEFT_BLOCK_LN2_GAIN), s->mean2,
                            s->inverse2, dnormal, dout, dmiddle,
                            gradient_of(layer, pass, WEFT_BLOCK_LN2_GAIN),
                            gradient_of(layer, pass, WEFT_BLOCK_LN2_BIAS), rows, width);
}

static void block_backward(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                           const float *dout, float *din, float *saved)
{
    size_t rows = pass->rows, width = pass->model->config.width;
    struct block_saved s = cut_block(pass->model, rows, &saved);
    struct weft_attention_shape shape = attention_shape(pass);
    float *scratch = pass->scratch;
    float *dhidden = cut(&scratch, rows * 4 * width), *dnormal = cut(&scratch, rows * width);
    float *dmiddle = cut(&scratch, rows * width), *dattended = cut(&scratch, rows * width);
    float *dqkv = dhidden;
    mlp_backward(layer, pass, &s, dout, dhidden, dnormal, dmiddle);
    weft_linear_backward(s.attended, value_of(layer, pass, WEFT_BLOCK_ATTN_PROJ_WEIGHT), dmiddle,
                         dattended, gradient_of(layer, pass, WEFT_BLOCK_ATTN_PROJ_WEIGHT),
                         gradient_of(layer, pass, WEFT_BLOCK_ATTN_PROJ_BIAS), rows, width, width);
    weft_attention_backward(&shape, s.qkv, s.log_sum, dattended, dqkv, scratch);
    weft_linear_backward(s.normal1, value_of(layer, pass, WEFT_BLOCK_QKV_WEIGHT), dqkv, dnormal,
                         gradient_of(layer, pass, WEFT_BLOCK_QKV_WEIGHT),
                         gradient_of(layer, pass, WEFT_BLOCK_QKV_BIAS), rows, width, 3 * width);
    weft_layernorm_backward(in, value_of(layer, pass, WEFT_BLOCK_LN1_GAIN), s.mean1, s.inverse1,
                            dnormal, dmiddle, din, gradient_of(layer, pass, WEFT_BLOCK_LN1_GAIN),
                            gradient_of(layer, pass, WEFT_BLOCK_LN1_BIAS), rows, width);
}

// ---- head ----

struct head_saved {
    float *logits;         // (rows, WEFT_VOCABULARY), first: weft_model_logits reads it
    float *mean, *inverse; // (rows)
    float *normal;         // (rows, width)
};

static struct head_saved cut_head(const struct weft_model *model, size_t rows, float **memory)
{
    return (struct head_saved){
        .logits = cut(memory, rows * WEFT_VOCABULARY),
        .mean = cut(memory, rows),
        .inverse = cut(memory, rows),
        .normal = cut(memory, rows * model->config.width),
    };
}

static size_t head_saved_floats(const struct weft_model *model, size_t rows)
{
    return rows * (WEFT_VOCABULARY + 2 + model->config.width);
}

static size_t head_scratch_floats(const struct weft_model *model, size_t rows)
{
    return rows * model->config.width;
}

// The head's matrix is the token table of the embedding: a row of another layer.
static size_t tied_offset(const struct weft_model *model)
{
    size_t row = weft_parameters_of_embedding(&model->config) + WEFT_EMBEDDING_TOKENS;
    return model->table[row].offset;
}

static void head_forward(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                         float *out, float *saved)
{
    (void)out;
    size_t rows = pass->rows, width = pass->model->config.width;
    struct head_saved s = cut_head(pass->model, rows, &saved);
    weft_layernorm_forward(in, value_of(layer, pass, WEFT_HEAD_GAIN),
                           value_of(layer, pass, WEFT_HEAD_BIAS), s.normal, s.mean, s.inverse, rows,
                           width);
    weft_linear_forward(s.normal, pass->parameters + tied_offset(pass->model), NULL, s.logits, rows,
                        width, WEFT_VOCABULARY);
    if (pass->batch.target)
        pass->loss = weft_cross_entropy(s.logits, pass->batch.target, rows, WEFT_VOCABULARY);
}

static void head_backward(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                          const float *dout, float *din, float *saved)
{
    (void)dout;
    size_t rows = pass->rows, width = pass->model->config.width, tied = tied_offset(pass->model);
    struct head_saved s = cut_head(pass->model, rows, &saved);
    float *dnormal = pass->scratch;
    weft_linear_backward(s.normal, pass->parameters + tied, s.logits, dnormal,
                         pass->gradients + tied, NULL, rows, width, WEFT_VOCABULARY);
    weft_layernorm_backward(in, value_of(layer, pass, WEFT_HEAD_GAIN), s.mean, s.inverse, dnormal,
                            NULL, din, gradient_of(layer, pass, WEFT_HEAD_GAIN),
                            gradient_of(layer, pass, WEFT_HEAD_BIAS), rows, width);
}

const struct weft_layer_kind weft_layer_embedding = {
    .name = "embedding",
    .saved_floats = no_floats,
    .scratch_floats = no_floats,
    .forward = embedding_forward,
    .backward = embedding_backward,
};

const struct weft_layer_kind weft_layer_block = {
    .name = "block",
    .saved_floats = block_saved_floats,
    .scratch_floats = block_scratch_floats,
    .forward = block_forward,
    .backward = block_backward,
};

const struct weft_layer_kind weft_layer_head = {
    .name = "head",
    .saved_floats = head_saved_floats,
    .scratch_floats = head_scratch_floats,
    .forward = head_forward,
    .backward = head_backward,
};
