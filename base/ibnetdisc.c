/*
 * SPDX-License-Identifier: Apache-2.0
 * See ibnetdisc.h.
 */
#include "base/ibnetdisc.h"

#include "base/symbols.h"

static const struct weft_symbol of_discovery[] = {
    {"ibnd_discover_fabric", offsetof(struct weft_ibnetdisc, discover)},
    {"ibnd_destroy_fabric", offsetof(struct weft_ibnetdisc, destroy)},
};
static const struct weft_symbol of_packets[] = {
    {"mad_get_field", offsetof(struct weft_ibnetdisc, get_field)},
    {"mad_get_field64", offsetof(struct weft_ibnetdisc, get_field64)},
};
static const struct weft_library discovery = {
    "libibnetdisc.so.5", "the library that walks InfiniBand subnets", of_discovery, 2, 2};
static const struct weft_library packets = {
    "libibmad.so.5", "the library of InfiniBand management packets", of_packets, 2, 2};

weft_status weft_ibnetdisc_open(struct weft_ibnetdisc *ibnetdisc, struct weft_error *error)
{
    WEFT_TRY(weft_symbols_load(&discovery, NULL, ibnetdisc, NULL, error));
    return weft_symbols_load(&packets, NULL, ibnetdisc, NULL, error);
}
