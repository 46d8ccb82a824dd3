/*
 * SPDX-License-Identifier: Apache-2.0
 * Which machine and network namespace this process is in, so that two processes can tell from
 * published bytes whether they share them. The boot id tells machines apart even when host names or
 * machine ids were cloned.
 */
#ifndef WEFT_TRANSPORT_MACHINE_H
#define WEFT_TRANSPORT_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct weft_machine {
    unsigned char boot_id[16];
    uint64_t network_device; // of /proc/self/ns/net
    uint64_t network_inode;
};

/* Errors: UNSUPPORTED with the reason. */
weft_status weft_machine_identify(struct weft_machine *machine, struct weft_error *error);
bool weft_machine_same_boot(const struct weft_machine *a, const struct weft_machine *b);
bool weft_machine_same_network(const struct weft_machine *a, const struct weft_machine *b);

#endif
