/*
 * SPDX-License-Identifier: Apache-2.0
 * Too little of what RDMA needs: objects that the kernel's rdma controller (rdma.max of a cgroup)
 * does not give, memory that may not be locked. What cannot be had is named, with the remedy; what
 * was made is given back; and with more of it all works.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/verbs_faults.h"

enum { NO_LIMIT = -1, LARGE_BYTES = 1 << 20 };

/* ---- limits ---- */

static void write_cgroup(const struct fault *fault, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%d/%s", fault->given->cgroups, (int)getpid(), name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
        fail_msg("%s: %s", path, strerror(errno));
    close(file);
}

static void enter_cgroup(const struct fault *fault)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%d", fault->given->cgroups, (int)getpid());
    assert_int_equal(mkdir(path, 0755), 0);
    write_cgroup(fault, "cgroup.procs", "0");
}

static void leave_cgroup(const struct fault *fault)
{
    char path[200];
    snprintf(path, sizeof path, "%s/cgroup.procs", fault->given->cgroups);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(file, "0", 1), 1);
    close(file);
    // What is still charged goes a moment after it was closed.
    snprintf(path, sizeof path, "%s/%d", fault->given->cgroups, (int)getpid());
    for (int i = 0; rmdir(path) != 0 && i < 1000; i++)
        usleep(10000);
}

/* Of an HCA; NO_LIMIT: as many as wanted. */
static void limit_objects(const struct fault *fault, int hca, int handles, int objects)
{
    char text[100], handles_text[16] = "max", objects_text[16] = "max";
    if (handles != NO_LIMIT)
        snprintf(handles_text, sizeof handles_text, "%d", handles);
    if (objects != NO_LIMIT)
        snprintf(objects_text, sizeof objects_text, "%d", objects);
    snprintf(text, sizeof text, "%s hca_handle=%s hca_object=%s", fault->given->hcas[hca].name,
             handles_text, objects_text);
    write_cgroup(fault, "rdma.max", text);
}

/* Objects of an HCA that this process has. */
static int count_objects(const struct fault *fault, int hca)
{
    char path[200], text[1000] = "";
    snprintf(path, sizeof path, "%s/%d/rdma.current", fault->given->cgroups, (int)getpid());
    int file = open(path, O_RDONLY | O_CLOEXEC), handles = 0, objects = 0;
    assert_true(file >= 0 && read(file, text, sizeof text - 1) >= 0);
    close(file);
    const char *line = strstr(text, fault->given->hcas[hca].name);
    if (line)
        assert_int_equal(sscanf(line, "%*s hca_handle=%d hca_object=%d", &handles, &objects), 2);
    return objects;
}

/* Root may lock what it likes, unless the right is taken from it. */
static void lose_right_to_lock(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    data[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

static void limit_locked(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

/* ---- devices and connections that do not come to be ---- */

/* A device of end 0; true: it is there. *error: else why not. */
static bool try_device(struct fault *fault, struct weft_error *error)
{
    struct weft_device_options options;
    struct weft_device *device = NULL;
    struct weft_verbs_options verbs = WEFT_VERBS_OPTIONS_DEFAULT;
    verbs.hca = fault->lists[0];
    rig_fill_options(&options, 0);
    options.verbs = &verbs;
    weft_status status = weft_verbs_transport.open(&options, &device, error);
    if (status == WEFT_OK)
        weft_verbs_transport.close(&device);
    assert_null(device);
    return status == WEFT_OK;
}

/* Fails, and leaves nothing. */
static void expect_no_connection(struct fault *fault,
                                 unsigned char addresses[2][WEFT_ADDRESS_BYTES],
                                 struct weft_error *error)
{
    static char before[FAULT_RESOURCES_BYTES], after[FAULT_RESOURCES_BYTES];
    fault_resources(before);
    int descriptors = count_descriptors();
    weft_status status = fault_connect_end(fault, addresses, 0, error);
    if (status == WEFT_OK)
        fail_msg("there is a connection");
    assert_null(fault->rig.ends[0][1].connection);
    fault_says(error->text);
    assert_int_equal(count_descriptors(), descriptors);
    int64_t deadline = weft_deadline_after(5000000000);
    do
        fault_resources(after);
    while (strcmp(before, after) != 0 && weft_clock_ns() < deadline);
    assert_string_equal(before, after);
}

/* With enough of everything. */
static void connect_after_all(struct fault *fault, unsigned char addresses[2][WEFT_ADDRESS_BYTES])
{
    struct weft_error error = {0};
    for (int end = 0; end < 2; end++)
        if (fault_connect_end(fault, addresses, end, &error) != WEFT_OK)
            fail_msg("%s", error.text);
    for (int order = 0; order < 4; order++)
        rig_exchange(&fault->rig, (uint32_t)order, order % 2 ? 10 : LARGE_BYTES, order);
}

/* ---- rdma.max ---- */

/* A device that cannot be opened is named; the other one is used if it can be. */
void fault_no_handle(void **state)
{
    struct fault fault;
    struct weft_error error = {0};
    fault_begin(&fault, state);
    enter_cgroup(&fault);
    int lost = fault.given->end;
    limit_objects(&fault, lost, 0, NO_LIMIT);
    if (fault.given->seed / 2 % 2) { // one is left
        unsigned char addresses[2][WEFT_ADDRESS_BYTES];
        fault_open(&fault, addresses);
        const struct verbs_device *device = (struct verbs_device *)fault.rig.devices[0];
        assert_int_equal(device->ports.num_ports, 1);
        assert_string_equal(device->ports.devices[0].name, fault.given->hcas[!lost].name);
        connect_after_all(&fault, addresses);
    } else {
        limit_objects(&fault, !lost, 0, NO_LIMIT);
        assert_false(try_device(&fault, &error));
        fault_says(error.text);
        assert_int_equal(error.status, WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.text, fault.given->hcas[0].name));
        assert_non_null(strstr(error.text, "rdma.max"));
        limit_objects(&fault, lost, NO_LIMIT, NO_LIMIT);
        assert_true(try_device(&fault, &error));
    }
    fault_end(&fault);
    leave_cgroup(&fault);
}

/* Too few objects to make a device and try it: another transport will do. */
void fault_no_object(void **state)
{
    struct fault fault;
    struct weft_error error = {0};
    fault_begin(&fault, state);
    enter_cgroup(&fault);
    int hca = fault.given->end, objects = (int)(fault.given->seed / 2 % 4);
    limit_objects(&fault, hca, NO_LIMIT, objects);
    if (try_device(&fault, &error))
        fail_msg("a device of %d objects", objects);
    fault_says(error.text);
    assert_non_null(strstr(error.text, fault.given->hcas[hca].name));
    assert_non_null(strstr(error.text, "rdma.max"));
    static const char *const names[] = {"protection domain", "memory", "completion queue",
                                        "queue pair"};
    assert_non_null(strstr(error.text, names[objects]));
    limit_objects(&fault, hca, NO_LIMIT, NO_LIMIT);
    assert_true(try_device(&fault, &error));
    fault_end(&fault);
    leave_cgroup(&fault);
}

/* A connection needs a region and a queue pair of each HCA. */
void fault_no_object_to_connect(void **state)
{
    struct fault fault;
    struct weft_error error = {0};
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    fault_begin(&fault, state);
    enter_cgroup(&fault);
    int hca = fault.given->end, more = (int)(fault.given->seed / 2 % 2);
    fault_open(&fault, addresses);
    limit_objects(&fault, hca, NO_LIMIT, count_objects(&fault, hca) + more);
    expect_no_connection(&fault, addresses, &error);
    assert_non_null(strstr(error.text, fault.given->hcas[hca].name));
    assert_non_null(strstr(error.text, "rdma.max"));
    assert_non_null(strstr(error.text, more ? "queue pair" : "memory"));
    limit_objects(&fault, hca, NO_LIMIT, NO_LIMIT);
    connect_after_all(&fault, addresses);
    fault_end(&fault);
    leave_cgroup(&fault);
}

static uint64_t count_chunks(struct fault *fault)
{
    uint64_t count = 0;
    for (int end = 0; end < 2; end++)
        for (int i = 0; i < 2; i++)
            count += fault_link(&fault->rig, end)->rails[i]->counts.chunks;
    return count;
}

/* Large messages, whose memory cannot be registered at the seed's end, come in packets; afterwards
 * they are written into their place again. */
static void move_without(struct fault *fault, void (*lift)(struct fault *fault))
{
    uint64_t before = count_chunks(fault);
    for (uint32_t k = 0; k < 4; k++)
        rig_exchange(&fault->rig, 100 + k, LARGE_BYTES + 1000 * k, (int)k);
    assert_int_equal(count_chunks(fault), before);
    lift(fault);
    for (uint32_t k = 0; k < 4; k++)
        rig_exchange(&fault->rig, 200 + k, LARGE_BYTES + 1000 * k, (int)k);
    assert_true(count_chunks(fault) >= before + 4 * LARGE_BYTES / VERBS_CHUNK_BYTES);
}

static void lift_objects(struct fault *fault)
{
    for (int hca = 0; hca < 2; hca++)
        limit_objects(fault, hca, NO_LIMIT, NO_LIMIT);
}

void fault_no_object_to_move(void **state)
{
    struct fault fault;
    fault_begin(&fault, state);
    enter_cgroup(&fault);
    fault_connect(&fault);
    int hca = fault.given->end;
    limit_objects(&fault, hca, NO_LIMIT, count_objects(&fault, hca));
    move_without(&fault, lift_objects);
    fault_end(&fault);
    leave_cgroup(&fault);
}

/* ---- locked memory ---- */

void fault_locked_memory(void **state)
{
    // None; less than a ring; a ring with one HCA.
    static const rlim_t limits[] = {0, 64 << 10, 3 << 20};
    struct fault fault;
    struct weft_error error = {0};
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    fault_begin(&fault, state);
    lose_right_to_lock();
    rlim_t bytes = limits[fault.given->seed % 3];
    if (bytes < 1 << 20) { // known when the device is opened
        limit_locked(bytes);
        assert_false(try_device(&fault, &error));
        fault_says(error.text);
        assert_non_null(strstr(error.text, "RLIMIT_MEMLOCK"));
        assert_non_null(strstr(error.text, "ulimit -l"));
        assert_int_equal(error.status, WEFT_OUT_OF_MEMORY);
        limit_locked(RLIM_INFINITY);
    }
    fault_open(&fault, addresses);
    limit_locked(bytes);
    expect_no_connection(&fault, addresses, &error);
    assert_non_null(strstr(error.text, fault.given->hcas[bytes > 1 << 20].name));
    assert_non_null(strstr(error.text, "RLIMIT_MEMLOCK"));
    assert_non_null(strstr(error.text, "ulimit -l"));
    limit_locked(RLIM_INFINITY);
    connect_after_all(&fault, addresses);
    fault_end(&fault);
}

static void lift_locked(struct fault *fault)
{
    (void)fault;
    limit_locked(RLIM_INFINITY);
}

void fault_locked_memory_to_move(void **state)
{
    struct fault fault;
    fault_begin(&fault, state);
    lose_right_to_lock();
    fault_connect(&fault);
    rlim_t rings = (rlim_t)8 * VERBS_RING_BYTES; // of both ends, both ways, with two HCAs each
    limit_locked(rings + rig_random(&fault.rig.random) % LARGE_BYTES);
    move_without(&fault, lift_locked);
    fault_end(&fault);
}
