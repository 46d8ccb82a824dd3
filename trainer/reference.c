/*
 * SPDX-License-Identifier: Apache-2.0
 * See reference.h. Activations of all blocks lie in one allocation, cut up once.
 */
#include "trainer/reference.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/model_reference.h"

struct block {
    const double *p[WEFT_BLOCK_PARAMETERS]; // parameters
    double *g[WEFT_BLOCK_PARAMETERS];       // their gradients
    double *in, *normal1, *qkv, *probabilities, *attended, *middle, *normal2, *hidden, *active;
};

struct run {
    const struct weft_model *model;
    const struct weft_batch *batch;
    struct weft_attention_shape shape;
    size_t rows, width, stream; // stream: rows * width
    const double *parameters;
    double *gradients;
    double *memory;
    struct block *blocks;
    double *last, *normal, *logits;              // head
    double *dstream, *dbranch, *dnormal, *dwide; // backward
};

static double *cut(double **memory, size_t count)
{
    double *piece = *memory;
    *memory += count;
    return piece;
}

static void cut_block(struct run *run, size_t index, double **memory)
{
    struct block *b = &run->blocks[index];
    b->in = cut(memory, run->stream);
    b->normal1 = cut(memory, run->stream);
    b->qkv = cut(memory, 3 * run->stream);
    b->attended = cut(memory, run->stream);
    b->middle = cut(memory, run->stream);
    b->normal2 = cut(memory, run->stream);
    b->hidden = cut(memory, 4 * run->stream);
    b->active = cut(memory, 4 * run->stream);
    b->probabilities = cut(memory, run->rows * run->shape.heads * run->shape.length);
    size_t first = weft_parameters_of_block(&run->model->config, index);
    for (size_t k = 0; k < WEFT_BLOCK_PARAMETERS; k++) {
        size_t offset = run->model->table[first + k].offset;
        b->p[k] = run->parameters + offset;
        b->g[k] = run->gradients ? run->gradients + offset : NULL;
    }
}

static weft_status allocate(struct run *run, struct weft_error *error)
{
    size_t layers = run->model->config.layers;
    size_t squares = run->rows * run->shape.heads * run->shape.length;
    size_t logits = run->rows * WEFT_VOCABULARY;
    run->memory =
        calloc(layers * (16 * run->stream + squares) + 9 * run->stream + logits, sizeof(double));
    run->blocks = calloc(layers, sizeof *run->blocks);
    if (!run->memory || !run->blocks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the float64 reference");
    double *memory = run->memory;
    for (size_t i = 0; i < layers; i++)
        cut_block(run, i, &memory);
    run->last = cut(&memory, run->stream);
    run->normal = cut(&memory, run->stream);
    run->dstream = cut(&memory, run->stream);
    run->dbranch = cut(&memory, run->stream);
    run->dnormal = cut(&memory, run->stream);
    run->dwide = cut(&memory, 4 * run->stream);
    run->logits = cut(&memory, logits);
    return WEFT_OK;
}

// Where rows of the table that belong to no block lie.
static size_t tokens_offset(const struct run *run)
{
    size_t first = weft_parameters_of_embedding(&run->model->config);
    return run->model->table[first + WEFT_EMBEDDING_TOKENS].offset;
}
static size_t positions_offset(const struct run *run)
{
    size_t first = weft_parameters_of_embedding(&run->model->config);
    return run->model->table[first + WEFT_EMBEDDING_POSITIONS].offset;
}
static size_t head_offset(const struct run *run, size_t which)
{
    return run->model->table[which].offset;
}

static void block_forward(const struct run *run, struct block *b, double *out)
{
    size_t rows = run->rows, width = run->width;
    weft_reference_layernorm_forward(b->in, b->p[WEFT_BLOCK_LN1_GAIN], b->p[WEFT_BLOCK_LN1_BIAS],
                                     b->normal1, rows, width);
    weft_reference_linear_forward(b->normal1, b->p[WEFT_BLOCK_QKV_WEIGHT],
                                  b->p[WEFT_BLOCK_QKV_BIAS], b->qkv, rows, width, 3 * width);
    weft_reference_attention_forward(&run->shape, b->qkv, b->attended, b->probabilities);
    weft_reference_linear_forward(b->attended, b->p[WEFT_BLOCK_ATTN_PROJ_WEIGHT],
                                  b->p[WEFT_BLOCK_ATTN_PROJ_BIAS], b->middle, rows, width, width);
    for (size_t i = 0; i < run->stream; i++)
        b->middle[i] += b->in[i];
    weft_reference_layernorm_forward(b->middle, b->p[WEFT_BLOCK_LN2_GAIN],
                                     b->p[WEFT_BLOCK_LN2_BIAS], b->normal2, rows, width);
    weft_reference_linear_forward(b->normal2, b->p[WEFT_BLOCK_MLP_FC_WEIGHT],
                                  b->p[WEFT_BLOCK_MLP_FC_BIAS], b->hidden, rows, width, 4 * width);
    weft_reference_gelu_forward(b->hidden, b->active, 4 * run->stream);
    weft_reference_linear_forward(b->active, b->p[WEFT_BLOCK_MLP_PROJ_WEIGHT],
                                  b->p[WEFT_BLOCK_MLP_PROJ_BIAS], out, rows, 4 * width, width);
    for (size_t i = 0; i < run->stream; i++)
        out[i] += b->middle[i];
}

// dstream: the gradient of the block's output becomes that of its input.
static void block_backward(const struct run *run, struct block *b)
{
    size_t rows = run->rows, width = run->width;
    weft_reference_linear_backward(b->active, b->p[WEFT_BLOCK_MLP_PROJ_WEIGHT], run->dstream,
                                   run->dwide, b->g[WEFT_BLOCK_MLP_PROJ_WEIGHT],
                                   b->g[WEFT_BLOCK_MLP_PROJ_BIAS], rows, 4 * width, width);
    weft_reference_gelu_backward(b->hidden, run->dwide, run->dwide, 4 * run->stream);
    weft_reference_linear_backward(b->normal2, b->p[WEFT_BLOCK_MLP_FC_WEIGHT], run->dwide,
                                   run->dnormal, b->g[WEFT_BLOCK_MLP_FC_WEIGHT],
                                   b->g[WEFT_BLOCK_MLP_FC_BIAS], rows, width, 4 * width);
    weft_reference_layernorm_backward(b->middle, b->p[WEFT_BLOCK_LN2_GAIN], run->dnormal,
                                      run->dbranch, b->g[WEFT_BLOCK_LN2_GAIN],
                                      b->g[WEFT_BLOCK_LN2_BIAS], rows, width);
    for (size_t i = 0; i < run->stream; i++)
        run->dstream[i] += run->dbranch[i];
    weft_reference_linear_backward(b->attended, b->p[WEFT_BLOCK_ATTN_PROJ_WEIGHT], run->dstream,
                                   run->dnormal, b->g[WEFT_BLOCK_ATTN_PROJ_WEIGHT],
                                   b->g[WEFT_BLOCK_ATTN_PROJ_BIAS], rows, width, width);
    weft_reference_attention_backward(&run->shape, b->qkv, b->probabilities, run->dnormal,
                                      run->dwide);
    weft_reference_linear_backward(b->normal1, b->p[WEFT_BLOCK_QKV_WEIGHT], run->dwide,
                                   run->dnormal, b->g[WEFT_BLOCK_QKV_WEIGHT],
                                   b->g[WEFT_BLOCK_QKV_BIAS], rows, width, 3 * width);
    weft_reference_layernorm_backward(b->in, b->p[WEFT_BLOCK_LN1_GAIN], run->dnormal, run->dbranch,
                                      b->g[WEFT_BLOCK_LN1_GAIN], b->g[WEFT_BLOCK_LN1_BIAS], rows,
                                      width);
    for (size_t i = 0; i < run->stream; i++)
        run->dstream[i] += run->dbranch[i];
}

static double forward(struct run *run)
{
    const struct weft_batch *batch = run->batch;
    size_t layers = run->model->config.layers;
    const double *p = run->parameters;
    weft_reference_embedding_forward(batch->input, p + tokens_offset(run),
                                     p + positions_offset(run), run->blocks[0].in, run->rows,
                                     batch->length, run->width);
    for (size_t i = 0; i < layers; i++)
        block_forward(run, &run->blocks[i], i + 1 < layers ? run->blocks[i + 1].in : run->last);
    weft_reference_layernorm_forward(run->last, p + head_offset(run, WEFT_HEAD_GAIN),
                                     p + head_offset(run, WEFT_HEAD_BIAS), run->normal, run->rows,
                                     run->width);
    weft_reference_linear_forward(run->normal, p + tokens_offset(run), NULL, run->logits, run->rows,
                                  run->width, WEFT_VOCABULARY);
    return weft_reference_cross_entropy(run->logits, batch->target, run->rows, WEFT_VOCABULARY);
}

static void backward(struct run *run)
{
    double *g = run->gradients;
    weft_reference_linear_backward(run->normal, run->parameters + tokens_offset(run), run->logits,
                                   run->dnormal, g + tokens_offset(run), NULL, run->rows,
                                   run->width, WEFT_VOCABULARY);
    weft_reference_layernorm_backward(run->last, run->parameters + head_offset(run, WEFT_HEAD_GAIN),
                                      run->dnormal, run->dstream,
                                      g + head_offset(run, WEFT_HEAD_GAIN),
                                      g + head_offset(run, WEFT_HEAD_BIAS), run->rows, run->width);
    for (size_t i = run->model->config.layers; i-- > 0;)
        block_backward(run, &run->blocks[i]);
    weft_reference_embedding_backward(run->batch->input, run->dstream, g + tokens_offset(run),
                                      g + positions_offset(run), run->rows, run->batch->length,
                                      run->width);
}

weft_status weft_reference_run(const struct weft_model *model, const double *parameters,
                               const struct weft_batch *batch, double *gradients, double *loss,
                               struct weft_error *error)
{
    const struct weft_model_config *config = &model->config;
    struct run run = {
        .model = model,
        .batch = batch,
        .shape = {batch->sequences, batch->length, config->heads, config->width / config->heads},
        .rows = batch->sequences * batch->length,
        .width = config->width,
        .stream = batch->sequences * batch->length * config->width,
        .parameters = parameters,
        .gradients = gradients,
    };
    weft_status status = allocate(&run, error);
    if (status == WEFT_OK) {
        *loss = forward(&run);
        if (gradients)
            backward(&run);
    }
    free(run.memory);
    free(run.blocks);
    return status;
}
