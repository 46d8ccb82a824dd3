/*
 * SPDX-License-Identifier: Apache-2.0
 * See record.h. A file is read as hostile: sizes are checked against its length before anything is
 * allocated from them, and the hash at its end before anything is used.
 */
#include "trainer/record.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/json.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "records are written as they lie in memory");

static const char MAGIC[8] = {'w', 'e', 'f', 't', 'r', 'u', 'n', '1'};
static const char *const config_names[7] = {"layers", "width", "heads", "context",
                                            "batch",  "seed",  "steps"};
enum { HEADER_BYTES = 8 + 7 * 8 + WEFT_TEXT_HASH_BYTES + 2 * 8, LIMIT_BYTES = 1 << 30 };

struct weft_record weft_record_of(const struct weft_trainer_options *options,
                                  const struct weft_text *text)
{
    struct weft_record record = {
        .config = {options->model.layers, options->model.width, options->model.heads,
                   options->model.context, options->batch, options->seed, (uint64_t)options->steps},
    };
    memcpy(record.text_hash, text->hash, sizeof record.text_hash);
    return record;
}

weft_status weft_record_add_loss(struct weft_record *record, double loss, struct weft_error *error)
{
    uint64_t count = record->num_losses;
    if ((count & (count - 1)) == 0) { // room doubles at each power of two
        double *larger = realloc(record->losses, (count ? 2 * count : 1) * sizeof *larger);
        if (!larger)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for losses");
        record->losses = larger;
    }
    record->losses[record->num_losses++] = loss;
    return WEFT_OK;
}

weft_status weft_record_set_gradient(struct weft_record *record, const struct weft_trainer *trainer,
                                     struct weft_error *error)
{
    const struct weft_model *model = weft_trainer_model(trainer);
    float *gradient = malloc(model->num_floats * sizeof *gradient);
    if (!gradient)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a copy of the gradient");
    weft_trainer_copy_gradient(trainer, gradient);
    size_t used = 0;
    for (size_t i = 0; i < model->num_parameters; i++) { // closes the gaps; moves only forward
        const struct weft_parameter *row = &model->table[i];
        memmove(gradient + used, gradient + row->offset, row->count * sizeof *gradient);
        used += row->count;
    }
    free(record->gradient);
    record->gradient = gradient;
    record->num_gradient = used;
    return WEFT_OK;
}

void weft_record_free(struct weft_record *record)
{
    free(record->losses);
    free(record->gradient);
    *record = (struct weft_record){0};
}

static void put(char **to, const void *from, size_t bytes)
{
    if (bytes > 0)
        memcpy(*to, from, bytes);
    *to += bytes;
}

static void take(const char **from, void *to, size_t bytes)
{
    memcpy(to, *from, bytes);
    *from += bytes;
}

static weft_status write_file(const char *path, const char *image, size_t bytes,
                              struct weft_error *error)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid()) >=
        (int)sizeof temporary)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%.100s...: path too long", path);
    FILE *file = fopen(temporary, "wbe");
    if (!file)
        return weft_fail(error, WEFT_SYSTEM, "%s: %s", temporary, strerror(errno));
    bool written = fwrite(image, 1, bytes, file) == bytes;
    int reason = errno;
    if (fclose(file) != 0 && written) {
        written = false;
        reason = errno;
    }
    if (written && rename(temporary, path) != 0) {
        written = false;
        reason = errno;
    }
    if (!written) {
        unlink(temporary);
        return weft_fail(error, WEFT_SYSTEM, "%s: %s", path, strerror(reason));
    }
    return WEFT_OK;
}

weft_status weft_record_save(const struct weft_record *record, const char *path,
                             struct weft_error *error)
{
    size_t bytes = HEADER_BYTES + record->num_losses * 8 + record->num_gradient * 4 + 8;
    char *image = malloc(bytes), *to = image;
    if (!image)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to write a record");
    put(&to, MAGIC, sizeof MAGIC);
    put(&to, record->config, sizeof record->config);
    put(&to, record->text_hash, sizeof record->text_hash);
    put(&to, &record->num_losses, 8);
    put(&to, &record->num_gradient, 8);
    put(&to, record->losses, record->num_losses * 8);
    put(&to, record->gradient, record->num_gradient * 4);
    uint64_t hash = XXH3_64bits(image, (size_t)(to - image));
    put(&to, &hash, 8);
    weft_status status = write_file(path, image, bytes, error);
    free(image);
    return status;
}

static weft_status parse(const char *image, size_t bytes, const char *path,
                         struct weft_record *record, struct weft_error *error)
{
    if (bytes < HEADER_BYTES + 8 || memcmp(image, MAGIC, sizeof MAGIC) != 0)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: not a record of weft train", path);
    uint64_t hash;
    memcpy(&hash, image + bytes - 8, 8);
    if (hash != XXH3_64bits(image, bytes - 8))
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: damaged (its hash does not match)", path);
    const char *from = image + sizeof MAGIC;
    take(&from, record->config, sizeof record->config);
    take(&from, record->text_hash, sizeof record->text_hash);
    take(&from, &record->num_losses, 8);
    take(&from, &record->num_gradient, 8);
    uint64_t body = bytes - HEADER_BYTES - 8;
    if (record->num_losses > body / 8 || record->num_gradient > body / 4 ||
        record->num_losses * 8 + record->num_gradient * 4 != body)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: counts do not match its length", path);
    record->losses = malloc(record->num_losses * 8 + 1);
    record->gradient = malloc(record->num_gradient * 4 + 1);
    if (!record->losses || !record->gradient)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", path);
    take(&from, record->losses, record->num_losses * 8);
    take(&from, record->gradient, record->num_gradient * 4);
    return WEFT_OK;
}

weft_status weft_record_load(const char *path, struct weft_record *record, struct weft_error *error)
{
    char *image;
    size_t bytes;
    WEFT_TRY(weft_file_read(path, LIMIT_BYTES, &image, &bytes, error));
    struct weft_record new = {0};
    weft_status status = parse(image, bytes, path, &new, error);
    free(image);
    if (status != WEFT_OK)
        weft_record_free(&new);
    else
        *record = new;
    return status;
}

weft_status weft_record_compare(const struct weft_record *record, const struct weft_record *other,
                                struct weft_record_difference *difference, struct weft_error *error)
{
    for (size_t i = 0; i < 7; i++)
        if (record->config[i] != other->config[i])
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "not runs of the same thing: %s is %llu here, %llu there",
                             config_names[i], (unsigned long long)record->config[i],
                             (unsigned long long)other->config[i]);
    if (memcmp(record->text_hash, other->text_hash, sizeof record->text_hash) != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "not runs on the same text");
    if (record->num_gradient != other->num_gradient || record->num_gradient == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "gradients of %llu and %llu elements",
                         (unsigned long long)record->num_gradient,
                         (unsigned long long)other->num_gradient);
    if (record->num_losses != other->num_losses || record->num_losses == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "runs of %llu and %llu steps",
                         (unsigned long long)record->num_losses,
                         (unsigned long long)other->num_losses);
    struct weft_record_difference found = {.num_losses = record->num_losses};
    double distance = 0, size = 0;
    for (uint64_t i = 0; i < record->num_gradient; i++) {
        double theirs = (double)other->gradient[i], d = (double)record->gradient[i] - theirs;
        distance += d * d;
        size += theirs * theirs;
    }
    found.gradient = sqrt(distance / size);
    for (uint64_t i = 0; i < record->num_losses; i++) {
        double relative = fabs(record->losses[i] - other->losses[i]) / fabs(other->losses[i]);
        if (!isnan(found.loss) && !(relative <= found.loss)) { // a NaN is the largest of all
            found.loss = relative;
            found.loss_step = i + 1;
        }
    }
    *difference = found;
    return WEFT_OK;
}
