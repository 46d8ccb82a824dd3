/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_faults.h: two ends of two HCAs each in one process, and what is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* What the kernel says that this process has: queue pairs, completion queues, regions, domains. */
static void count_objects(int counts[FAULT_OBJECTS])
{
    static const char *const kinds[FAULT_OBJECTS] = {"qp", "cq", "mr", "pd"};
    char wanted[32], line[500];
    snprintf(wanted, sizeof wanted, " pid %d ", (int)getpid());
    for (int i = 0; i < FAULT_OBJECTS; i++) {
        snprintf(line, sizeof line, "rdma resource show %s", kinds[i]);
        FILE *shown = popen(line, "re");
        assert_non_null(shown);
        counts[i] = 0;
        while (fgets(line, sizeof line, shown))
            counts[i] += strstr(line, wanted) != NULL;
        assert_int_equal(pclose(shown), 0);
    }
}

void fault_opened(struct fault *fault)
{
    count_objects(fault->objects);
    for (int i = 1; i < FAULT_OBJECTS; i += 2) // of completion queues and domains there are some
        assert_true(fault->objects[i] > 0);
    fault->has_opened = true;
}

void fault_open(struct fault *fault, unsigned char addresses[2][WEFT_ADDRESS_BYTES])
{
    struct rig *rig = &fault->rig;
    rig->num_devices = 2;
    for (int i = 0; i < 2; i++) {
        rig->devices[i] = rig_open_device(rig->transport, rig, i);
        rig->transport->address(rig->devices[i], addresses[i]);
        struct weft_verbs_options *options =
            &((struct verbs_device *)rig->devices[i])->ports.options;
        if (fault->gives_up_soon)
            *options = (struct weft_verbs_options){.gid_index = -1, .timeout = 16, .retry = 2};
    }
    fault_opened(fault);
}

weft_status fault_connect_end(struct fault *fault, unsigned char addresses[2][WEFT_ADDRESS_BYTES],
                              int end, struct weft_error *error)
{
    struct rig_end *made = &fault->rig.ends[end][!end];
    struct weft_device_options peer;
    *made = (struct rig_end){.rig = &fault->rig, .to = !end};
    rig_fill_options(&peer, !end);
    return fault->rig.transport->connect(fault->rig.devices[end], addresses[!end], peer.process_id,
                                         7, made, &made->connection, error);
}

void fault_call(struct fault *fault)
{
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    struct weft_error error = {0};
    fault_open(fault, addresses);
    for (int end = 0; end < 2; end++)
        if (fault_connect_end(fault, addresses, end, &error) != WEFT_OK)
            fail_msg("%s", error.text);
}

void fault_connect(struct fault *fault)
{
    fault_call(fault);
    rig_exchange(&fault->rig, 5000, 10, 0);
    rig_exchange(&fault->rig, 5001, 10, 1);
    for (int end = 0; end < 2; end++)
        assert_int_equal(fault_link(&fault->rig, end)->num_rails, 2);
}

/* Their last bytes may still be on their way. */
static void disconnect_all(struct fault *fault)
{
    static const char *const names[FAULT_OBJECTS] = {"queue pairs", "completion queues", "regions",
                                                     "domains"};
    struct rig *rig = &fault->rig;
    int64_t deadline = weft_deadline_after(5000000000);
    int left[FAULT_OBJECTS];
    for (int i = 0; i < rig->num_devices; i++)
        for (int k = 0; k < 2; k++)
            rig->transport->disconnect(&rig->ends[i][k].connection);
    for (int i = 0; i < rig->num_devices; i++)
        while (((struct verbs_device *)rig->devices[i])->leaving && weft_clock_ns() < deadline)
            rig_poll(rig);
    count_objects(left);
    for (int i = 0; i < FAULT_OBJECTS; i++)
        if (left[i] != fault->objects[i])
            fail_msg("%d %s are left, not %d", left[i], names[i], fault->objects[i]);
}

void fault_end(struct fault *fault)
{
    if (fault->has_opened)
        disconnect_all(fault);
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
