/*
 * SPDX-License-Identifier: Apache-2.0
 * See model.h. This file walks the list of layers; what a layer computes is in layers.c.
 */
#include "trainer/model.h"

#include <stdlib.h>
#include <string.h>

static void add_layer(struct weft_model *model, const struct weft_layer_kind *kind, size_t first,
                      size_t num_parameters)
{
    size_t after = first + num_parameters;
    model->layers[model->num_layers++] = (struct weft_layer){
        .kind = kind,
        .first_parameter = first,
        .gradient_end =
            after < model->num_parameters ? model->table[after].offset : model->num_floats,
    };
}

weft_status weft_model_create(const struct weft_model_config *config, struct weft_model **model,
                              struct weft_error *error)
{
    WEFT_TRY(weft_model_config_check(config, error));
    struct weft_model *new = calloc(1, sizeof *new);
    if (!new)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a model");
    new->config = *config;
    new->num_parameters = weft_parameters_num(config);
    new->table = calloc(new->num_parameters, sizeof *new->table);
    new->layers = calloc(config->layers + 2, sizeof *new->layers);
    if (!new->table || !new->layers) {
        weft_model_destroy(&new);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a model");
    }
    new->num_floats = weft_parameters_fill(config, new->table);
    for (size_t i = 0; i < new->num_parameters; i++)
        new->num_elements += new->table[i].count;
    add_layer(new, &weft_layer_embedding, weft_parameters_of_embedding(config),
              WEFT_EMBEDDING_PARAMETERS);
    for (size_t block = 0; block < config->layers; block++)
        add_layer(new, &weft_layer_block, weft_parameters_of_block(config, block),
                  WEFT_BLOCK_PARAMETERS);
    add_layer(new, &weft_layer_head, 0, WEFT_HEAD_PARAMETERS);
    *model = new;
    return WEFT_OK;
}

void weft_model_destroy(struct weft_model **model)
{
    if (!model || !*model)
        return;
    free((*model)->table);
    free((*model)->layers);
    free(*model);
    *model = NULL;
}

void weft_model_initialise(const struct weft_model *model, uint64_t seed, float *parameters)
{
    memset(parameters, 0, model->num_floats * sizeof *parameters);
    for (size_t i = 0; i < model->num_parameters; i++) {
        const struct weft_parameter *row = &model->table[i];
        weft_parameter_initialise(row, seed, 0, row->count, parameters + row->offset);
    }
}

double weft_model_flops_per_token(const struct weft_model *model)
{
    const struct weft_model_config *config = &model->config;
    // Positions are only added; the token table counts once, as the head.
    double multiplied = (double)(model->num_elements - config->context * config->width);
    return 6 * multiplied +
           6 * (double)config->layers * (double)config->width * (double)config->context;
}

weft_status weft_workspace_create(const struct weft_model *model, size_t max_rows,
                                  struct weft_workspace **workspace, struct weft_error *error)
{
    struct weft_workspace *new = calloc(1, sizeof *new);
    if (!new)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for activations");
    size_t stream = max_rows * model->config.width, saved = 0, scratch = 0;
    new->max_rows = max_rows;
    new->saved_at = calloc(model->num_layers, sizeof *new->saved_at);
    for (size_t i = 0; new->saved_at &&i < model->num_layers; i++) {
        const struct weft_layer_kind *kind = model->layers[i].kind;
        new->saved_at[i] = saved;
        saved += kind->saved_floats(model, max_rows);
        size_t need = kind->scratch_floats(model, max_rows);
        scratch = need > scratch ? need : scratch;
    }
    new->streams = calloc((model->num_layers - 1) * stream, sizeof(float));
    new->dstreams = calloc(2 * stream, sizeof(float));
    new->saved = calloc(saved, sizeof(float));
    new->scratch = calloc(scratch + 1, sizeof(float));
    if (!new->saved_at || !new->streams || !new->dstreams || !new->saved || !new->scratch) {
        weft_workspace_destroy(&new);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for activations of %zu tokens",
                         max_rows);
    }
    *workspace = new;
    return WEFT_OK;
}

void weft_workspace_destroy(struct weft_workspace **workspace)
{
    if (!workspace || !*workspace)
        return;
    free((*workspace)->saved_at);
    free((*workspace)->streams);
    free((*workspace)->dstreams);
    free((*workspace)->saved);
    free((*workspace)->scratch);
    free(*workspace);
    *workspace = NULL;
}

double weft_model_forward(const struct weft_model *model, struct weft_workspace *workspace,
                          const float *parameters, const struct weft_batch *batch)
{
    struct weft_pass *pass = &workspace->pass;
    *pass = (struct weft_pass){
        .model = model,
        .batch = *batch,
        .rows = batch->sequences * batch->length,
        .parameters = parameters,
        .scratch = workspace->scratch,
    };
    size_t stream = workspace->max_rows * model->config.width;
    const float *in = NULL;
    for (size_t i = 0; i < model->num_layers; i++) {
        const struct weft_layer *layer = &model->layers[i];
        float *out = i + 1 < model->num_layers ? workspace->streams + i * stream : NULL;
        layer->kind->forward(layer, pass, in, out, workspace->saved + workspace->saved_at[i]);
        in = out;
    }
    return pass->loss;
}

const float *weft_model_logits(const struct weft_model *model,
                               const struct weft_workspace *workspace)
{
    return workspace->saved + workspace->saved_at[model->num_layers - 1];
}

void weft_model_backward(const struct weft_model *model, struct weft_workspace *workspace,
                         float *gradients, weft_gradient_closed closed, void *argument)
{
    struct weft_pass *pass = &workspace->pass;
    pass->gradients = gradients;
    size_t stream = workspace->max_rows * model->config.width;
    for (size_t i = model->num_layers; i-- > 0;) {
        const struct weft_layer *layer = &model->layers[i];
        const float *in = i > 0 ? workspace->streams + (i - 1) * stream : NULL;
        float *dout = workspace->dstreams + (i + 1) % 2 * stream;
        float *din = workspace->dstreams + i % 2 * stream;
        layer->kind->backward(layer, pass, in, dout, din,
                              workspace->saved + workspace->saved_at[i]);
        if (closed)
            closed(argument, layer->gradient_end);
    }
}
