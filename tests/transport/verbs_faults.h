/*
 * SPDX-License-Identifier: Apache-2.0
 * What the fault tests of verbs share: the HCAs of the machine, two devices with HCAs of their own,
 * and what must be as it was before.
 *
 * Each kind of fault is one cmocka test, whose state is a struct fault_seed. It runs in a process
 * of its own, and may change that as it likes.
 */
#ifndef WEFT_TESTS_TRANSPORT_VERBS_FAULTS_H
#define WEFT_TESTS_TRANSPORT_VERBS_FAULTS_H

#include "tests/transport/rig.h"
#include "transport/verbs_parts.h"

enum { FAULT_HCAS = 4, FAULT_RESOURCES_BYTES = 4096, FAULT_OBJECTS = 4 };

struct fault_hca {
    char name[32], interface[32];
};

struct fault_seed {
    uint64_t seed;
    int end;                      // which of two is hit
    const struct fault_hca *hcas; // FAULT_HCAS; two for each end
    const char *cgroups;          // where the hierarchy is mounted
    const char *weft, *script;    // the command; tests/comm/verbs.sh
};

struct fault {
    const struct fault_seed *given;
    struct rig rig;
    char lists[2][80]; // WEFT_IB_HCA of each end
    int descriptors;
    bool gives_up_soon; // on a path that does not answer; Soft-RoCE never does by default
    bool has_opened;
    int objects[FAULT_OBJECTS]; // of this process, once its devices were open
};

/* Prepares *fault and an empty rig; fault_connect makes devices and connections and lets a message
 * go each way. */
void fault_begin(struct fault *fault, void **state);
void fault_connect(struct fault *fault);
/* Of fault_connect: devices and connections, whose ends have not met. */
void fault_call(struct fault *fault);
/* Of fault_call: the devices, whose objects are counted; a connection of one end. */
void fault_open(struct fault *fault, unsigned char addresses[2][WEFT_ADDRESS_BYTES]);
weft_status fault_connect_end(struct fault *fault, unsigned char addresses[2][WEFT_ADDRESS_BYTES],
                              int end, struct weft_error *error);
void fault_opened(struct fault *fault);
/* Closes connections, which must give back all that they had, and devices: descriptors must be as
 * they were. */
void fault_end(struct fault *fault);

struct verbs_link *fault_link(struct rig *rig, int end);
/* Number of an HCA of `end`: that of its path. */
int fault_hca_of(struct fault *fault, int end, int path);
/* "up", "down". */
void fault_turn(const struct fault *fault, int hca, const char *how);
/* What the kernel counts: objects of every device. */
void fault_resources(char text[FAULT_RESOURCES_BYTES]);
/* Polls until both ends have failed, or only `end` (else -1); 20 s at most. */
void fault_wait_failed(struct fault *fault, int end);
/* What the user gets to read; the table shows one for each kind. */
void fault_says(const char *reason);

/* The kinds. */
void fault_port_down(void **state);
void fault_port_down_meeting(void **state);
void fault_silent(void **state);
void fault_all_of_one(void **state);
void fault_all_of_both(void **state);
void fault_loss(void **state);
void fault_bad_key(void **state);
void fault_killed_meeting(void **state);
void fault_killed_moving(void **state);
void fault_rank_killed(void **state);
void fault_no_handle(void **state);
void fault_no_object(void **state);
void fault_no_object_to_connect(void **state);
void fault_no_object_to_move(void **state);
void fault_locked_memory(void **state);
void fault_locked_memory_to_move(void **state);
void fault_ranks_one_link(void **state);
void fault_ranks_no_link(void **state);

#endif
