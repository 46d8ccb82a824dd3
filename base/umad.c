/*
 * SPDX-License-Identifier: Apache-2.0
 * See umad.h.
 */
#include "base/umad.h"

#include "base/symbols.h"

static const struct weft_symbol symbols[] = {
    {"umad_init", offsetof(struct weft_umad, init)},
    {"umad_get_cas_names", offsetof(struct weft_umad, get_adapter_names)},
    {"umad_get_ca", offsetof(struct weft_umad, get_adapter)},
    {"umad_release_ca", offsetof(struct weft_umad, release_adapter)},
    {"umad_open_port", offsetof(struct weft_umad, open_port)},
    {"umad_close_port", offsetof(struct weft_umad, close_port)},
};

enum { NUM_SYMBOLS = sizeof symbols / sizeof symbols[0] };
static const struct weft_library library = {"libibumad.so.3", "the InfiniBand management library",
                                            symbols, NUM_SYMBOLS, NUM_SYMBOLS};

weft_status weft_umad_open(struct weft_umad *umad, struct weft_error *error)
{
    return weft_symbols_load(&library, NULL, umad, NULL, error);
}
