/*
 * SPDX-License-Identifier: Apache-2.0
 * libibumad by dlopen: the InfiniBand adapters of this machine and the ports that management
 * packets may be sent through. One table of what Weft calls; a test fills it with functions of its
 * own.
 */
#ifndef WEFT_BASE_UMAD_H
#define WEFT_BASE_UMAD_H

#include <infiniband/umad.h>

#include "base/error.h"

struct weft_umad {
    int (*init)(void);
    int (*get_adapter_names)(char names[][UMAD_CA_NAME_LEN], int max);
    int (*get_adapter)(const char *name, umad_ca_t *adapter);
    int (*release_adapter)(umad_ca_t *adapter);
    int (*open_port)(const char *name, int port); // below 0: -errno
    int (*close_port)(int handle);
};

/* The library stays loaded. Errors: UNSUPPORTED with the reason. */
weft_status weft_umad_open(struct weft_umad *umad, struct weft_error *error);

#endif
