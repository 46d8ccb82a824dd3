/*
 * SPDX-License-Identifier: Apache-2.0
 * See ibnetdisc.h.
 */
#include "base/ibnetdisc.h"

#include "base/symbols.h"

weft_status weft_ibnetdisc_open(struct weft_ibnetdisc *ibnetdisc, struct weft_error *error)
{
    struct weft_ibnetdisc made = {0};
    const struct weft_symbol of_discovery[] = {{"ibnd_discover_fabric", &made.discover},
                                               {"ibnd_destroy_fabric", &made.destroy}};
    const struct weft_symbol of_packets[] = {{"mad_get_field", &made.get_field},
                                             {"mad_get_field64", &made.get_field64}};
    WEFT_TRY(weft_symbols_load("libibnetdisc.so.5", of_discovery, 2, error));
    WEFT_TRY(weft_symbols_load("libibmad.so.5", of_packets, 2, error));
    *ibnetdisc = made;
    return WEFT_OK;
}
