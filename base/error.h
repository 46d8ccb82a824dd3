/*
 * SPDX-License-Identifier: Apache-2.0
 * How failure travels: a function returns a weft_status and, where it decides the error, writes one
 * sentence into the caller's struct weft_error. Callers pass both on untouched. Nothing is printed.
 */
#ifndef WEFT_BASE_ERROR_H
#define WEFT_BASE_ERROR_H

#include "weft/weft.h"

enum { WEFT_ERROR_TEXT_BYTES = 512 };

struct weft_error {
    weft_status status;
    char text[WEFT_ERROR_TEXT_BYTES];
};

/* Writes status and sentence into `error` (NULL is allowed) and returns `status`. */
weft_status weft_fail(struct weft_error *error, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the sentence already in `error`; returns its status. */
weft_status weft_fail_prefix(struct weft_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Returns from the enclosing function unless `expression` is WEFT_OK. */
#define WEFT_TRY(expression)                                                                       \
    do {                                                                                           \
        weft_status weft_try_status_ = (expression);                                               \
        if (weft_try_status_ != WEFT_OK)                                                           \
            return weft_try_status_;                                                               \
    } while (0)

#endif
