/*
 * SPDX-License-Identifier: Apache-2.0
 * Filling a table of functions from a shared library that may be absent.
 */
#ifndef WEFT_BASE_SYMBOLS_H
#define WEFT_BASE_SYMBOLS_H

#include <stddef.h>

#include "base/error.h"

struct weft_symbol {
    const char *name;
    void *slot; // address of a pointer to function
};

/* Sets every slot; the library stays loaded for the life of the process. Errors: UNSUPPORTED with
 * what is missing. */
weft_status weft_symbols_load(const char *library, const struct weft_symbol *symbols, size_t count,
                              struct weft_error *error);

#endif
