/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of transports: one line each, best first.
 */
#include "transport/transport.h"

const struct weft_transport *const weft_transports[] = {
    &weft_shm_transport,
#ifndef WEFT_CORE_ONLY // these need libsodium
    &weft_verbs_transport,
    &weft_tcp_transport,
#endif
    NULL,
};
