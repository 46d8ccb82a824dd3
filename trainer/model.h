/*
 * SPDX-License-Identifier: Apache-2.0
 * A GPT as a list of layers over one table of parameters: embedding, blocks, head. A layer is a
 * forward and a backward function from activations to activations; it knows its parameters and
 * nothing of the other layers or of ranks. So a pipeline stage is a stretch of the list, and a
 * tensor-parallel layer another row of kinds.
 */
#ifndef WEFT_TRAINER_MODEL_H
#define WEFT_TRAINER_MODEL_H

#include "trainer/parameters.h"

struct weft_model;
struct weft_layer;

/* Some sequences of one length, as the layers see them. */
struct weft_batch {
    size_t sequences;
    size_t length;
    const uint8_t *input;  // (sequences, length)
    const uint8_t *target; // the same, one byte later; NULL: the head leaves logits, no loss
};

/* What one micro-batch carries through the layers. */
struct weft_pass {
    const struct weft_model *model;
    struct weft_batch batch;
    size_t rows; // sequences * length
    const float *parameters;
    float *gradients; // added to; unused by forward
    float *scratch;
    double loss; // sum over rows, in nats; set by the head's forward
};

/* A kind of layer. `in`, `out` are (rows, width); the first layer has no `in`, the last no `out`.
 * `saved` is kept between forward and backward. None of the functions fails, blocks or allocates.
 */
struct weft_layer_kind {
    const char *name;
    size_t (*saved_floats)(const struct weft_model *model, size_t rows);
    size_t (*scratch_floats)(const struct weft_model *model, size_t rows);
    void (*forward)(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                    float *out, float *saved);
    /* Overwrites din, adds to pass->gradients; may spoil `saved`. */
    void (*backward)(const struct weft_layer *layer, struct weft_pass *pass, const float *in,
                     const float *dout, float *din, float *saved);
};

extern const struct weft_layer_kind weft_layer_embedding;
extern const struct weft_layer_kind weft_layer_block;
extern const struct weft_layer_kind weft_layer_head;

struct weft_layer {
    const struct weft_layer_kind *kind;
    size_t first_parameter; // row of the table
    size_t gradient_end;    // floats of the gradient buffer that are final once this layer's
                            // backward is done
};

struct weft_model {
    struct weft_model_config config;
    struct weft_parameter *table;
    size_t num_parameters; // rows of the table
    size_t num_elements;   // of all tensors
    size_t num_floats;     // of the buffers, gaps included
    struct weft_layer *layers;
    size_t num_layers;
};

/* Errors: INVALID_ARGUMENT (configuration), OUT_OF_MEMORY. */
weft_status weft_model_create(const struct weft_model_config *config, struct weft_model **model,
                              struct weft_error *error);
void weft_model_destroy(struct weft_model **model);
/* Fills a whole buffer of num_floats; gaps become 0. */
void weft_model_initialise(const struct weft_model *model, uint64_t seed, float *parameters);
/* Floating-point operations of training on one token: 6 per parameter that is multiplied, and
 * 6 * layers * width * context for causal attention. */
double weft_model_flops_per_token(const struct weft_model *model);

/* Memory for the activations of one micro-batch. */
struct weft_workspace {
    size_t max_rows;
    float *streams;   // (num_layers - 1, rows, width): what flows between layers
    float *dstreams;  // (2, rows, width)
    float *saved;     // each layer's, one after another
    size_t *saved_at; // where each layer's starts
    float *scratch;
    struct weft_pass pass; // the last forward
};

weft_status weft_workspace_create(const struct weft_model *model, size_t max_rows,
                                  struct weft_workspace **workspace, struct weft_error *error);
void weft_workspace_destroy(struct weft_workspace **workspace);

/* Returns the loss, summed over rows, in nats (0 without targets). The batch must fit. */
double weft_model_forward(const struct weft_model *model, struct weft_workspace *workspace,
                          const float *parameters, const struct weft_batch *batch);
/* (rows, WEFT_VOCABULARY) after a forward without targets. */
const float *weft_model_logits(const struct weft_model *model,
                               const struct weft_workspace *workspace);

/* Called when everything before `gradient_end` floats is final. */
typedef void (*weft_gradient_closed)(void *argument, size_t gradient_end);
/* Adds the gradient of the last forward's loss to `gradients`. `closed` may be NULL. */
void weft_model_backward(const struct weft_model *model, struct weft_workspace *workspace,
                         float *gradients, weft_gradient_closed closed, void *argument);

#endif
