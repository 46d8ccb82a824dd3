/*
 * SPDX-License-Identifier: Apache-2.0
 * The one table of parameters. A row says everything about a tensor: name, shape, how it starts,
 * whether it decays, how tensor parallelism would split it, and where it lies in the one buffer of
 * parameters (gradients and optimizer state use the same offsets). Rows are in the reverse of the
 * order of execution, so that backward closes the gradient buffer from its front to its end.
 *
 * Names are those of GPT-2's published checkpoints; matrices are (out, in).
 */
#ifndef WEFT_TRAINER_PARAMETERS_H
#define WEFT_TRAINER_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { WEFT_VOCABULARY = 256, WEFT_PARAMETER_NAME_BYTES = 48 };

struct weft_model_config {
    size_t layers;
    size_t width;
    size_t heads;
    size_t context;
};

enum weft_init { WEFT_INIT_ZERO, WEFT_INIT_ONE, WEFT_INIT_NORMAL };
enum weft_split { WEFT_SPLIT_NONE, WEFT_SPLIT_ROWS, WEFT_SPLIT_COLUMNS };

struct weft_parameter {
    char name[WEFT_PARAMETER_NAME_BYTES];
    size_t rows;
    size_t columns; // 1 for vectors
    size_t count;   // rows * columns
    size_t offset;  // floats from the start of the buffer; a multiple of 16
    enum weft_init init;
    float deviation; // of WEFT_INIT_NORMAL
    bool decays;     // matrices do, vectors do not
    enum weft_split split;
    int split_parts; // queries, keys and values are split each, not as one block: 3
};

/* Rows of a layer, from its first one. */
enum { WEFT_HEAD_BIAS, WEFT_HEAD_GAIN, WEFT_HEAD_PARAMETERS };
enum {
    WEFT_BLOCK_MLP_PROJ_BIAS,
    WEFT_BLOCK_MLP_PROJ_WEIGHT,
    WEFT_BLOCK_MLP_FC_BIAS,
    WEFT_BLOCK_MLP_FC_WEIGHT,
    WEFT_BLOCK_LN2_BIAS,
    WEFT_BLOCK_LN2_GAIN,
    WEFT_BLOCK_ATTN_PROJ_BIAS,
    WEFT_BLOCK_ATTN_PROJ_WEIGHT,
    WEFT_BLOCK_QKV_BIAS,
    WEFT_BLOCK_QKV_WEIGHT,
    WEFT_BLOCK_LN1_BIAS,
    WEFT_BLOCK_LN1_GAIN,
    WEFT_BLOCK_PARAMETERS,
};
enum { WEFT_EMBEDDING_POSITIONS, WEFT_EMBEDDING_TOKENS, WEFT_EMBEDDING_PARAMETERS };

/* Rows of the table of such a model: the head's, then each block's from the last to the first, then
 * the embedding's. */
static inline size_t weft_parameters_num(const struct weft_model_config *config)
{
    return WEFT_HEAD_PARAMETERS + config->layers * WEFT_BLOCK_PARAMETERS +
           WEFT_EMBEDDING_PARAMETERS;
}
static inline size_t weft_parameters_of_block(const struct weft_model_config *config, size_t block)
{
    return WEFT_HEAD_PARAMETERS + (config->layers - 1 - block) * WEFT_BLOCK_PARAMETERS;
}
static inline size_t weft_parameters_of_embedding(const struct weft_model_config *config)
{
    return WEFT_HEAD_PARAMETERS + config->layers * WEFT_BLOCK_PARAMETERS;
}

/* INVALID_ARGUMENT with the reason when no such model can be built here. */
weft_status weft_model_config_check(const struct weft_model_config *config,
                                    struct weft_error *error);

/* Fills `table` (weft_parameters_num rows) for a checked configuration; returns the floats of the
 * buffer, gaps for alignment included. */
size_t weft_parameters_fill(const struct weft_model_config *config, struct weft_parameter *table);

/* Writes elements [first, first + count) of one tensor's initial values. What an element is depends
 * on seed, name and index alone. */
void weft_parameter_initialise(const struct weft_parameter *parameter, uint64_t seed, size_t first,
                               size_t count, float *values);

#endif
