/*
 * SPDX-License-Identifier: Apache-2.0
 * Filling a table of functions from a shared library that may be absent. Vendors' libraries are
 * reached no other way.
 */
#ifndef WEFT_BASE_SYMBOLS_H
#define WEFT_BASE_SYMBOLS_H

#include <stddef.h>

#include "base/error.h"

struct weft_symbol {
    const char *name; // "ibv_open_device@IBVERBS_1.1" asks for that version of it
    size_t slot;      // where the pointer to function is in the table
};

struct weft_library {
    const char *file; // "libibumad.so.3"
    const char *what; // "the InfiniBand management library", for sentences
    const struct weft_symbol *symbols;
    int num_symbols;
    int num_required; // the first ones; the slots of others are NULL where the library lacks them
};

/* Loads the library (from `file` instead, unless that is NULL) and sets every slot of *table; calls
 * nothing, so it does not block. *handle is for dlclose; NULL: it stays loaded for the life of the
 * process. Errors: UNSUPPORTED with what is missing; *table is unchanged then, or parts of it are
 * set. */
weft_status weft_symbols_load(const struct weft_library *library, const char *file, void *table,
                              void **handle, struct weft_error *error);

#endif
