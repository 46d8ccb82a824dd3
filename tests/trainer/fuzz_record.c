/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes as the record of a run: refused with a sentence and nothing written, or a record that
 * is saved to the same bytes and compares with itself. An odd first byte leaves the input as it is;
 * others get the magic and the hash that come past the first checks, half of them fitting counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/json.h"
#include "trainer/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER_BYTES = 8 + 7 * 8 + WEFT_TEXT_HASH_BYTES + 2 * 8 }; // see record.h

static void write_image(const char *path, const char *image, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(image, 1, bytes, file) != bytes || fclose(file) != 0)
        abort();
}

static void use(const struct weft_record *record, const char *image, size_t bytes)
{
    char path[64], *again = NULL;
    size_t bytes_again = 0;
    struct weft_record_difference difference;
    struct weft_error error = {0};
    snprintf(path, sizeof path, "/tmp/weft_fuzz_record_%ld.copy", (long)getpid());
    if (weft_record_save(record, path, NULL) != WEFT_OK ||
        weft_file_read(path, 1 << 20, &again, &bytes_again, NULL) != WEFT_OK)
        abort();
    unlink(path);
    if (bytes_again != bytes || memcmp(again, image, bytes) != 0)
        abort();
    free(again);
    weft_status status = weft_record_compare(record, record, &difference, &error);
    bool has_both = record->num_losses > 0 && record->num_gradient > 0;
    if (status != (has_both ? WEFT_OK : WEFT_INVALID_ARGUMENT))
        abort();
    if (has_both ? difference.gradient > 0 || difference.loss > 0 : !error.text[0])
        abort(); // NaN is allowed: 0/0 of a gradient of zeroes
}

/* Returns the bytes of the image: as many as `data`, or those with magic, counts and hash. */
static size_t make_image(const uint8_t *data, size_t size, char *image)
{
    size_t bytes = size - 1;
    if (data[0] & 1) {
        memcpy(image, data + 1, bytes);
        return bytes;
    }
    memcpy(image, "weftrun1", 8);
    memcpy(image + 8, data + 1, bytes);
    bytes += 8;
    if ((data[0] & 2) && bytes >= HEADER_BYTES) {
        bytes -= (bytes - HEADER_BYTES) % 4;
        uint64_t body = bytes - HEADER_BYTES, counts[2] = {data[0] >> 2};
        counts[0] = counts[0] < body / 8 ? counts[0] : body / 8;
        counts[1] = (body - 8 * counts[0]) / 4;
        memcpy(image + HEADER_BYTES - sizeof counts, counts, sizeof counts);
    }
    uint64_t hash = XXH3_64bits(image, bytes);
    memcpy(image + bytes, &hash, 8);
    return bytes + 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char path[64], *image = malloc(size + 16);
    if (!image)
        return 0;
    size_t bytes = make_image(data, size, image);
    snprintf(path, sizeof path, "/tmp/weft_fuzz_record_%ld", (long)getpid());
    write_image(path, image, bytes);
    struct weft_record record, before;
    struct weft_error error = {0};
    memset(&record, 0x5a, sizeof record);
    memcpy(&before, &record, sizeof record);
    weft_status status = weft_record_load(path, &record, &error);
    unlink(path);
    if (status == WEFT_OK) {
        use(&record, image, bytes);
        weft_record_free(&record);
    } else if (status != WEFT_INVALID_FORMAT || error.status != status || !error.text[0] ||
               memcmp(&record, &before, sizeof record) != 0) {
        abort();
    }
    free(image);
    return 0;
}
