/*
 * SPDX-License-Identifier: Apache-2.0
 * Tests that hold for every transport. contract.c runs them.
 */
#ifndef WEFT_TESTS_TRANSPORT_CONTRACT_H
#define WEFT_TESTS_TRANSPORT_CONTRACT_H

#include "tests/transport/rig.h"

struct contract {
    const char *name; // NULL: the end
    void (*body)(struct rig *rig);
    int num_devices;
    int num_seeds; // over loopback
};

extern const struct contract contract_messages[], contract_failures[];

#endif
