/*
 * SPDX-License-Identifier: Apache-2.0
 * libibnetdisc by dlopen, and what of libibmad reads its answers: walking an InfiniBand subnet from
 * one port, by directed routes, so that no subnet manager is needed.
 */
#ifndef WEFT_BASE_IBNETDISC_H
#define WEFT_BASE_IBNETDISC_H

#include <infiniband/ibnetdisc.h>

#include "base/error.h"

struct weft_ibnetdisc {
    /* NULL: failed, as a rule with errno. Blocks until the whole subnet was asked. */
    ibnd_fabric_t *(*discover)(char *adapter, int port, ib_portid_t *from, ibnd_config_t *config);
    void (*destroy)(ibnd_fabric_t *fabric);
    uint32_t (*get_field)(void *buffer, int offset, enum MAD_FIELDS field);
    uint64_t (*get_field64)(void *buffer, int offset, enum MAD_FIELDS field);
};

/* The libraries stay loaded. Errors: UNSUPPORTED with the reason. */
weft_status weft_ibnetdisc_open(struct weft_ibnetdisc *ibnetdisc, struct weft_error *error);

#endif
