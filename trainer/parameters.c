/*
 * SPDX-License-Identifier: Apache-2.0
 * See parameters.h. Shapes are written as templates in units of the model's dimensions.
 */
#include "trainer/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "trainer/random.h"

enum { ALIGN_FLOATS = 16, MAX_LAYERS = 128, MAX_WIDTH = 8192, MAX_CONTEXT = 8192 };

enum dimension { ONE, WIDTH, THREE_WIDTHS, FOUR_WIDTHS, CONTEXT, VOCABULARY };

// Products with a row of `width` normalised values keep their size when elements start with a
// deviation of 1 / sqrt(width). GPT-2's fixed 0.02 is that of much wider models; at the widths that
// train on a CPU it learns more slowly. Where a matrix stands matters too: what is added to the
// residual stream starts smaller, so that the stream does not grow with the number of layers.
enum start { ZEROS, ONES, NORMAL, NORMAL_RESIDUAL };

struct template
{
    const char *name;
    enum dimension rows, columns;
    enum start start;
    enum weft_split split;
    int split_parts;
};

static const struct template head_templates[WEFT_HEAD_PARAMETERS] = {
    [WEFT_HEAD_BIAS] = {"ln_f.bias", WIDTH, ONE, ZEROS, WEFT_SPLIT_NONE, 1},
    [WEFT_HEAD_GAIN] = {"ln_f.weight", WIDTH, ONE, ONES, WEFT_SPLIT_NONE, 1},
};

static const struct template block_templates[WEFT_BLOCK_PARAMETERS] = {
    [WEFT_BLOCK_MLP_PROJ_BIAS] = {"mlp.c_proj.bias", WIDTH, ONE, ZEROS, WEFT_SPLIT_NONE, 1},
    [WEFT_BLOCK_MLP_PROJ_WEIGHT] = {"mlp.c_proj.weight", WIDTH, FOUR_WIDTHS, NORMAL_RESIDUAL,
                                    WEFT_SPLIT_COLUMNS, 1},
    [WEFT_BLOCK_MLP_FC_BIAS] = {"mlp.c_fc.bias", FOUR_WIDTHS, ONE, ZEROS, WEFT_SPLIT_ROWS, 1},
    [WEFT_BLOCK_MLP_FC_WEIGHT] = {"mlp.c_fc.weight", FOUR_WIDTHS, WIDTH, NORMAL, WEFT_SPLIT_ROWS,
                                  1},
    [WEFT_BLOCK_LN2_BIAS] = {"ln_2.bias", WIDTH, ONE, ZEROS, WEFT_SPLIT_NONE, 1},
    [WEFT_BLOCK_LN2_GAIN] = {"ln_2.weight", WIDTH, ONE, ONES, WEFT_SPLIT_NONE, 1},
    [WEFT_BLOCK_ATTN_PROJ_BIAS] = {"attn.c_proj.bias", WIDTH, ONE, ZEROS, WEFT_SPLIT_NONE, 1},
    [WEFT_BLOCK_ATTN_PROJ_WEIGHT] = {"attn.c_proj.weight", WIDTH, WIDTH, NORMAL_RESIDUAL,
                                     WEFT_SPLIT_COLUMNS, 1},
    [WEFT_BLOCK_QKV_BIAS] = {"attn.c_attn.bias", THREE_WIDTHS, ONE, ZEROS, WEFT_SPLIT_ROWS, 3},
    [WEFT_BLOCK_QKV_WEIGHT] = {"attn.c_attn.weight", THREE_WIDTHS, WIDTH, NORMAL, WEFT_SPLIT_ROWS,
                               3},
    [WEFT_BLOCK_LN1_BIAS] = {"ln_1.bias", WIDTH, ONE, ZEROS, WEFT_SPLIT_NONE, 1},
    [WEFT_BLOCK_LN1_GAIN] = {"ln_1.weight", WIDTH, ONE, ONES, WEFT_SPLIT_NONE, 1},
};

static const struct template embedding_templates[WEFT_EMBEDDING_PARAMETERS] = {
    [WEFT_EMBEDDING_POSITIONS] = {"wpe.weight", CONTEXT, WIDTH, NORMAL, WEFT_SPLIT_NONE, 1},
    [WEFT_EMBEDDING_TOKENS] = {"wte.weight", VOCABULARY, WIDTH, NORMAL, WEFT_SPLIT_ROWS, 1},
};

weft_status weft_model_config_check(const struct weft_model_config *config,
                                    struct weft_error *error)
{
    if (config->layers < 1 || config->layers > MAX_LAYERS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "layers: %zu is not in 1 .. %d",
                         config->layers, MAX_LAYERS);
    if (config->width < 2 || config->width > MAX_WIDTH)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "width: %zu is not in 2 .. %d",
                         config->width, MAX_WIDTH);
    if (config->context < 2 || config->context > MAX_CONTEXT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "context: %zu is not in 2 .. %d",
                         config->context, MAX_CONTEXT);
    if (config->heads < 1 || config->width % config->heads != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "heads: the width %zu cannot be divided into %zu heads", config->width,
                         config->heads);
    return WEFT_OK;
}

static size_t dimension_size(const struct weft_model_config *config, enum dimension dimension)
{
    switch (dimension) {
    case ONE:
        return 1;
    case WIDTH:
        return config->width;
    case THREE_WIDTHS:
        return 3 * config->width;
    case FOUR_WIDTHS:
        return 4 * config->width;
    case CONTEXT:
        return config->context;
    case VOCABULARY:
        return WEFT_VOCABULARY;
    }
    return 0;
}

static size_t fill_rows(const struct weft_model_config *config, const struct template *templates,
                        size_t num_templates, const char *prefix, size_t offset,
                        struct weft_parameter *rows)
{
    for (size_t i = 0; i < num_templates; i++) {
        const struct template *from = &templates[i];
        struct weft_parameter *to = &rows[i];
        *to = (struct weft_parameter){
            .rows = dimension_size(config, from->rows),
            .columns = dimension_size(config, from->columns),
            .offset = offset,
            .split = from->split,
            .split_parts = from->split_parts,
        };
        snprintf(to->name, sizeof to->name, "%s%s", prefix, from->name);
        to->count = to->rows * to->columns;
        to->decays = from->columns != ONE;
        to->init = from->start == ZEROS  ? WEFT_INIT_ZERO
                   : from->start == ONES ? WEFT_INIT_ONE
                                         : WEFT_INIT_NORMAL;
        if (to->init == WEFT_INIT_NORMAL)
            to->deviation = 1.0f / sqrtf((float)config->width);
        if (from->start == NORMAL_RESIDUAL)
            to->deviation /= sqrtf(2.0f * (float)config->layers);
        offset += (to->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    return offset;
}

size_t weft_parameters_fill(const struct weft_model_config *config, struct weft_parameter *table)
{
    size_t offset = fill_rows(config, head_templates, WEFT_HEAD_PARAMETERS, "", 0, table);
    for (size_t block = config->layers; block-- > 0;) {
        char prefix[24];
        snprintf(prefix, sizeof prefix, "h.%zu.", block);
        offset = fill_rows(config, block_templates, WEFT_BLOCK_PARAMETERS, prefix, offset,
                           table + weft_parameters_of_block(config, block));
    }
    return fill_rows(config, embedding_templates, WEFT_EMBEDDING_PARAMETERS, "", offset,
                     table + weft_parameters_of_embedding(config));
}

void weft_parameter_initialise(const struct weft_parameter *parameter, uint64_t seed, size_t first,
                               size_t count, float *values)
{
    uint64_t key = weft_random_key(seed, XXH64(parameter->name, strlen(parameter->name), 0));
    for (size_t i = 0; i < count; i++)
        values[i] =
            parameter->init == WEFT_INIT_ZERO ? 0.0f
            : parameter->init == WEFT_INIT_ONE
                ? 1.0f
                : (float)(weft_random_normal(key, first + i) * (double)parameter->deviation);
}
