/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_faults.h: two ends of two HCAs each in one process, and what is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/verbs_faults.h"

void fault_begin(struct fault *fault, void **state)
{
    const struct fault_seed *given = *state;
    memset(fault, 0, sizeof *fault);
    fault->given = given;
    for (int i = 0; i < 2; i++)
        snprintf(fault->lists[i], sizeof fault->lists[i], "=%s,%s", given->hcas[2 * i].name,
                 given->hcas[2 * i + 1].name);
    fault->rig = (struct rig){.transport = &weft_verbs_transport,
                              .random = given->seed * 0x9e3779b97f4a7c15u + given->seed,
                              .hcas = {fault->lists[0], fault->lists[1]}};
    fault->descriptors = count_descriptors();
}

void fault_connect(struct fault *fault)
{
    uint64_t random = fault->rig.random;
    rig_open_hcas(&fault->rig, &weft_verbs_transport, 2, random,
                  (const char *[]){fault->lists[0], fault->lists[1]});
    rig_exchange(&fault->rig, 5000, 10, 0);
    rig_exchange(&fault->rig, 5001, 10, 1);
    for (int end = 0; end < 2; end++)
        assert_int_equal(fault_link(&fault->rig, end)->num_rails, 2);
}

void fault_end(struct fault *fault)
{
    rig_close(&fault->rig);
    assert_int_equal(count_descriptors(), fault->descriptors);
}

struct verbs_link *fault_link(struct rig *rig, int end)
{
    return (struct verbs_link *)rig->ends[end][!end].connection;
}

int fault_hca_of(struct fault *fault, int end, int path)
{
    const struct verbs_device *device = (struct verbs_device *)fault->rig.devices[end];
    const struct weft_verbs_ports *ports = &device->ports;
    int own = fault_link(&fault->rig, end)->paths[path].own;
    const char *name = ports->devices[ports->ports[own].device].name;
    for (int i = 0; i < FAULT_HCAS; i++)
        if (strcmp(fault->given->hcas[i].name, name) == 0)
            return i;
    fail();
    return -1;
}

void fault_turn(const struct fault *fault, int hca, const char *how)
{
    char command[100];
    snprintf(command, sizeof command, "ip link set %s %s", fault->given->hcas[hca].interface, how);
    assert_int_equal(system(command), 0);
}

void fault_wait_failed(struct fault *fault, int end)
{
    struct rig *rig = &fault->rig;
    int64_t deadline = weft_deadline_after(20000000000);
    for (int i = 0; i < 2; i++) {
        while ((end < 0 || end == i) && !rig->ends[i][!i].num_failed) {
            rig_poll(rig);
            if (weft_clock_ns() > deadline)
                fail_msg("end %d has not failed after 20 s", i);
        }
    }
}

void fault_says(const char *reason)
{
    print_message("says: %s\n", reason);
}
