/*
 * SPDX-License-Identifier: Apache-2.0
 * One registration: the call that suits the memory, and what a refusal means.
 */
#ifndef WEFT_TRANSPORT_VERBS_REGISTER_H
#define WEFT_TRANSPORT_VERBS_REGISTER_H

#include "base/sysfs.h"
#include "transport/verbs_memory.h"

struct weft_verbs_registrar {
    const struct weft_verbs *verbs;
    struct ibv_pd *pd;
    struct weft_sysfs files;
};

/* Errors: NOT_FOUND, SYSTEM. */
weft_status weft_verbs_registrar_open(struct weft_verbs_registrar *registrar,
                                      const struct weft_verbs *verbs, struct ibv_pd *pd,
                                      const char *root, struct weft_error *error);
void weft_verbs_registrar_close(struct weft_verbs_registrar *registrar);

/* Errors as weft_verbs_memory_acquire. With OUT_OF_MEMORY it may work once other registrations have
 * ended. */
weft_status weft_verbs_registrar_try(const struct weft_verbs_registrar *registrar,
                                     const struct weft_verbs_range *range, struct ibv_mr **mr,
                                     struct weft_error *error);

#endif
