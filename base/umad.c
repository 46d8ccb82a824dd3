/*
 * SPDX-License-Identifier: Apache-2.0
 * See umad.h.
 */
#include "base/umad.h"

#include "base/symbols.h"

weft_status weft_umad_open(struct weft_umad *umad, struct weft_error *error)
{
    struct weft_umad made = {0};
    const struct weft_symbol symbols[] = {
        {"umad_init", &made.init},           {"umad_get_cas_names", &made.get_adapter_names},
        {"umad_get_ca", &made.get_adapter},  {"umad_release_ca", &made.release_adapter},
        {"umad_open_port", &made.open_port}, {"umad_close_port", &made.close_port},
    };
    WEFT_TRY(
        weft_symbols_load("libibumad.so.3", symbols, sizeof symbols / sizeof symbols[0], error));
    *umad = made;
    return WEFT_OK;
}
