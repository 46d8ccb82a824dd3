/*
 * SPDX-License-Identifier: Apache-2.0
 * Bad calls: every one gets its status and a sentence that names what is wrong, changes nothing,
 * and the communicator works afterwards. Missing peers and ports in use: an error within the
 * deadline.
 */
#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/comm/processes.h"
#include "tests/patience.h"

enum { COUNT = 64 };

static int wrong(const struct rank_process *process, const char *what, weft_status status)
{
    fprintf(stderr, "rank %d: %s: %s: %s\n", process->rank, what, weft_status_name(status),
            weft_comm_error_text(process->comm));
    return 1;
}

struct bad_desc {
    const char *what;
    const char *text; // in the sentence
    weft_op_desc desc;
    weft_status status;
};

// Each row starts from a good description and spoils one field.
#pragma GCC diagnostic ignored "-Woverride-init"

static int32_t buffer[4 * COUNT], other[4 * COUNT];

static const size_t counts[] = {4, 4}, large_counts[] = {SIZE_MAX / 4, SIZE_MAX / 4};

#define DESC .struct_bytes = sizeof(weft_op_desc), .send = buffer, .recv = other, .count = 4
static const struct bad_desc bad_descs[] = {
    {"old struct", "struct_bytes", {DESC, .struct_bytes = 8}, WEFT_INVALID_ARGUMENT},
    {"no collective", "collective 99", {DESC, .collective = 99}, WEFT_INVALID_ARGUMENT},
    {"no type", "type 42", {DESC, .dtype = 42}, WEFT_INVALID_ARGUMENT},
    {"no operation", "operation 12", {DESC, .op = 12}, WEFT_INVALID_ARGUMENT},
    {"bits of floats",
     "all_reduce: operation band is for integers, not f32",
     {DESC, .op = WEFT_BITWISE_AND},
     WEFT_INVALID_ARGUMENT},
    {"truth of halves",
     "reduce: operation lxor is for integers, not f8e4m3",
     {DESC, .collective = WEFT_REDUCE, .dtype = WEFT_FLOAT8_E4M3, .op = WEFT_LOGICAL_XOR},
     WEFT_INVALID_ARGUMENT},
    {"no scalar", "mulsum needs a scalar", {DESC, .op = WEFT_PREMUL_SUM}, WEFT_INVALID_ARGUMENT},
    {"a struct too old for a scalar",
     "mulsum needs a scalar",
     {DESC, .struct_bytes = offsetof(weft_op_desc, scalar), .op = WEFT_PREMUL_SUM, .scalar = other},
     WEFT_INVALID_ARGUMENT},
    {"no order", "order", {DESC, .order = 7}, WEFT_INVALID_ARGUMENT},
    {"negative timeout", "timeout", {DESC, .timeout_ns = -1}, WEFT_INVALID_ARGUMENT},
    {"a stream", "CUDA", {DESC, .queue = buffer}, WEFT_UNSUPPORTED},
    {"root", "root 2", {DESC, .collective = WEFT_BROADCAST, .root = 2}, WEFT_INVALID_ARGUMENT},
    {"root below 0",
     "root -1",
     {DESC, .collective = WEFT_REDUCE, .root = -1},
     WEFT_INVALID_ARGUMENT},
    {"peer", "peer 2", {DESC, .collective = WEFT_SEND, .peer = 2}, WEFT_INVALID_ARGUMENT},
    {"no send buffer", "send buffer is NULL", {DESC, .send = NULL}, WEFT_INVALID_ARGUMENT},
    {"no recv buffer", "recv buffer is NULL", {DESC, .recv = NULL}, WEFT_INVALID_ARGUMENT},
    {"overlap", "overlap", {DESC, .recv = buffer + 1}, WEFT_INVALID_ARGUMENT},
    {"count", "too large", {DESC, .count = SIZE_MAX / 3}, WEFT_INVALID_ARGUMENT},
    {"no counts", "counts", {DESC, .collective = WEFT_ALL_GATHER_V}, WEFT_INVALID_ARGUMENT},
    {"gather without counts",
     "gather_v: counts are NULL",
     {DESC, .collective = WEFT_GATHER_V},
     WEFT_INVALID_ARGUMENT},
    {"scatter without counts",
     "scatter_v: counts are NULL",
     {DESC, .collective = WEFT_SCATTER_V},
     WEFT_INVALID_ARGUMENT},
    {"root of gather",
     "gather: root 2 of 2",
     {DESC, .collective = WEFT_GATHER, .root = 2},
     WEFT_INVALID_ARGUMENT},
    {"root of scatter",
     "scatter_v: root -1 of 2",
     {DESC, .collective = WEFT_SCATTER_V, .root = -1, .recv_counts = counts},
     WEFT_INVALID_ARGUMENT},
    {"too much to scatter",
     "too large",
     {DESC, .collective = WEFT_SCATTER, .count = SIZE_MAX / 8},
     WEFT_INVALID_ARGUMENT},
    {"too much to gather",
     "too large",
     {DESC, .collective = WEFT_GATHER_V, .recv_counts = large_counts},
     WEFT_INVALID_ARGUMENT},
    {"no algorithm",
     "nonsense",
     {DESC, .count = COUNT, .algorithm = "nonsense"},
     WEFT_INVALID_ARGUMENT},
    {"algorithm that cannot",
     "ring",
     {DESC, .collective = WEFT_ALL_TO_ALL, .algorithm = "ring"},
     WEFT_UNSUPPORTED},
};

static int check_bad_descs(struct rank_process *process)
{
    for (size_t i = 0; i < sizeof bad_descs / sizeof *bad_descs; i++) {
        const struct bad_desc *bad = &bad_descs[i];
        weft_comm *comm = process->comm, *twin = NULL;
        // A forced algorithm fails when it runs, and the communicator with it: use another one.
        if (bad->desc.algorithm && weft_comm_duplicate(process->comm, &twin, NULL) != WEFT_OK)
            return wrong(process, bad->what, WEFT_OK);
        comm = twin ? twin : comm;
        weft_status status = weft_submit(comm, &bad->desc, NULL);
        bool is_right = status == bad->status && strstr(weft_comm_error_text(comm), bad->text);
        if (!is_right)
            fprintf(stderr, "'%s'\n", weft_comm_error_text(comm));
        weft_comm_destroy(&twin);
        if (!is_right)
            return wrong(process, bad->what, status);
    }
    return 0;
}

// Only the root has the whole buffer, and only there it is looked at.
static int check_root_buffers(struct rank_process *process)
{
    weft_comm *comm = process->comm;
    int me = process->rank;
    struct bad_desc rows[] = {
        {"gather to nowhere",
         "gather: the recv buffer is NULL",
         {DESC, .collective = WEFT_GATHER, .root = me, .recv = NULL},
         WEFT_INVALID_ARGUMENT},
        {"scatter from nowhere",
         "scatter: the send buffer is NULL",
         {DESC, .collective = WEFT_SCATTER, .root = me, .send = NULL},
         WEFT_INVALID_ARGUMENT},
        {"gather of nothing",
         "gather: the send buffer is NULL",
         {DESC, .collective = WEFT_GATHER, .root = !me, .send = NULL},
         WEFT_INVALID_ARGUMENT},
        {"gather over itself",
         "gather: send and recv overlap without being in place",
         {DESC, .collective = WEFT_GATHER, .root = me, .send = buffer + 4 * !me, .recv = buffer},
         WEFT_INVALID_ARGUMENT},
        {"scatter over itself",
         "scatter_v: send and recv overlap without being in place",
         {DESC, .collective = WEFT_SCATTER_V, .root = me, .recv = buffer + 4 * !me,
          .recv_counts = counts},
         WEFT_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        weft_status status = weft_submit(comm, &rows[i].desc, NULL);
        if (status != rows[i].status || !strstr(weft_comm_error_text(comm), rows[i].text))
            return wrong(process, rows[i].what, status);
    }
    return 0;
}

static int check_calls(struct rank_process *process)
{
    weft_comm *comm = process->comm;
    weft_request request;
    void *memory;
    if (weft_all_reduce(buffer, buffer, 1, WEFT_INT32, WEFT_SUM, NULL, NULL) !=
            WEFT_INVALID_ARGUMENT ||
        weft_submit(comm, NULL, NULL) != WEFT_INVALID_ARGUMENT ||
        weft_comm_split(comm, 0, 0, NULL, NULL) != WEFT_INVALID_ARGUMENT ||
        weft_test(NULL) != WEFT_INVALID_ARGUMENT || weft_wait(NULL) != WEFT_INVALID_ARGUMENT)
        return wrong(process, "NULL", WEFT_OK);
    if (weft_group_end(process->context, NULL) != WEFT_INVALID_USAGE)
        return wrong(process, "end without begin", WEFT_OK);
    if (weft_group_begin(process->context) != WEFT_OK || weft_barrier(comm, &request) != WEFT_OK ||
        weft_wait(&request) != WEFT_INVALID_USAGE ||
        weft_group_end(process->context, NULL) != WEFT_OK || weft_wait(&request) != WEFT_OK)
        return wrong(process, "wait inside a group", WEFT_OK);
    weft_comm *twin;
    if (weft_comm_duplicate(comm, &twin, NULL) != WEFT_OK ||
        weft_group_begin(process->context) != WEFT_OK || weft_barrier(twin, &request) != WEFT_OK ||
        weft_barrier(comm, NULL) != WEFT_OK)
        return wrong(process, "group", WEFT_OK);
    weft_comm_destroy(&twin);
    if (weft_test(&request) != WEFT_ABORTED || weft_group_end(process->context, NULL) != WEFT_OK)
        return wrong(process, "communicator destroyed inside a group", WEFT_OK);
    if (weft_mem_alloc(process->context, 1000, &memory) != WEFT_OK ||
        weft_mem_free(process->context, buffer) != WEFT_INVALID_ARGUMENT ||
        weft_mem_free(process->context, memory) != WEFT_OK ||
        weft_mem_free(process->context, NULL) != WEFT_OK ||
        weft_mem_alloc(process->context, SIZE_MAX / 2, &memory) == WEFT_OK)
        return wrong(process, "memory", WEFT_OK);
    return 0;
}

static int body(struct rank_process *process)
{
    if (process->create_status != WEFT_OK)
        return 2;
    if (check_bad_descs(process) || check_root_buffers(process) || check_calls(process))
        return 1;
    for (int i = 0; i < COUNT; i++)
        buffer[i] = i + process->rank;
    if (weft_all_reduce(buffer, other, COUNT, WEFT_INT32, WEFT_SUM, process->comm, NULL) !=
            WEFT_OK ||
        other[5] != 2 * 5 + 1)
        return wrong(process, "all_reduce afterwards", WEFT_OK);
    if (weft_comm_finalize(process->comm, NULL) != WEFT_OK ||
        weft_barrier(process->comm, NULL) != WEFT_INVALID_USAGE ||
        weft_comm_finalize(process->comm, NULL) != WEFT_INVALID_USAGE)
        return wrong(process, "finalized", WEFT_OK);
    return 0;
}

static void test_bad_calls(void **state)
{
    (void)state;
    int codes[2];
    run_ranks(2, INT64_C(10000000000), 30, body, NULL, codes);
    assert_all_zero(codes, 2, "bad calls");
}

/* ---- creation ---- */

static void expect_creation(weft_context *context, weft_comm_options options, weft_status status,
                            const char *text)
{
    weft_comm *comm = NULL;
    assert_int_equal(weft_comm_create(context, &options, &comm, NULL), status);
    assert_null(comm);
    if (!strstr(weft_context_error_text(context), text))
        fail_msg("'%s' lacks '%s'", weft_context_error_text(context), text);
}

static void test_bad_creations(void **state)
{
    (void)state;
    weft_context *context;
    weft_unique_id id, nonsense;
    memset(&nonsense, 7, sizeof nonsense);
    assert_int_equal(weft_context_create(&context), WEFT_OK);
    assert_int_equal(weft_unique_id_create(context, &id), WEFT_OK);
    const weft_comm_options good = {.struct_bytes = sizeof good,
                                    .rank = 0,
                                    .num_ranks = 2,
                                    .id = &id,
                                    .timeout_ns = INT64_C(300000000)};
    weft_comm_options bad = good;
    bad.struct_bytes = 1;
    expect_creation(context, bad, WEFT_INVALID_ARGUMENT, "struct_bytes");
    bad = good, bad.rank = 2;
    expect_creation(context, bad, WEFT_INVALID_ARGUMENT, "rank 2 of 2");
    bad = good, bad.num_ranks = 0;
    expect_creation(context, bad, WEFT_INVALID_ARGUMENT, "of 0 ranks");
    bad = good, bad.id = NULL;
    expect_creation(context, bad, WEFT_INVALID_ARGUMENT, "neither an id nor an exchange");
    bad = good, bad.id = &nonsense;
    expect_creation(context, bad, WEFT_INVALID_ARGUMENT, "id");
    // A peer that never comes.
    int64_t began_ns = weft_clock_ns();
    expect_creation(context, good, WEFT_TIMEOUT, "1");
    assert_true(weft_clock_ns() - began_ns < patience(INT64_C(2000000000)));
    weft_context_destroy(&context);
    assert_null(context);
    weft_context_destroy(&context);
    weft_context_destroy(NULL);
}

// Two meetings of one context, used in the order in which they were not made.
static void test_two_ids(void **state)
{
    (void)state;
    weft_context *context;
    weft_unique_id ids[2];
    weft_comm *comms[2] = {NULL, NULL};
    assert_int_equal(weft_context_create(&context), WEFT_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_unique_id_create(context, &ids[i]), WEFT_OK);
    for (int i = 0; i < 2; i++) {
        const weft_comm_options options = {.struct_bytes = sizeof options,
                                           .num_ranks = 1,
                                           .id = &ids[i],
                                           .timeout_ns = INT64_C(2000000000)};
        assert_int_equal(weft_comm_create(context, &options, &comms[i], NULL), WEFT_OK);
        assert_int_equal(weft_barrier(comms[i], NULL), WEFT_OK);
    }
    weft_context_destroy(&context);
}

static void test_port_in_use(void **state)
{
    (void)state;
    weft_context *context;
    weft_unique_id id;
    char port[16];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &bytes), 0);
    snprintf(port, sizeof port, "%d", ntohs(address.sin_port));
    setenv("WEFT_BOOTSTRAP_PORT", port, 1);
    assert_int_equal(weft_context_create(&context), WEFT_OK);
    assert_int_equal(weft_unique_id_create(context, &id), WEFT_SYSTEM);
    assert_non_null(strstr(weft_context_error_text(context), "in use"));
    assert_non_null(strstr(weft_context_error_text(context), port));
    weft_context_destroy(&context);
    unsetenv("WEFT_BOOTSTRAP_PORT");
    close(taken);
}

static void test_bad_configuration(void **state)
{
    (void)state;
    static const char *const settings[][2] = {
        {"WEFT_TIMEOUT", "soon"},         {"WEFT_TRANSPORTS", "pigeon"}, {"WEFT_SPIN", "wildly"},
        {"WEFT_FLAT_BYTES", "-3"},        {"WEFT_LOG", "loud"},          {"WEFT_RANK", "one"},
        {"WEFT_EAGER_BYTES", "8 apples"}, {"WEFT_PROGRESS", "never"},
    };
    setenv("WEFT_LOG", "none", 1);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        weft_context *context = NULL;
        setenv(settings[i][0], settings[i][1], 1);
        if (weft_context_create(&context) != WEFT_INVALID_ARGUMENT)
            fail_msg("%s=%s is accepted", settings[i][0], settings[i][1]);
        assert_null(context);
        unsetenv(settings[i][0]);
        setenv("WEFT_LOG", "none", 1);
    }
    unsetenv("WEFT_LOG");
}

// Containers have a /dev/shm of 64 MiB or none: shared memory does not come from there.
static int body_without_dev_shm(struct rank_process *process)
{
    size_t count = 3000000;
    float *data = calloc(count, sizeof *data);
    weft_status status = process->create_status;
    if (status == WEFT_OK)
        status = weft_all_reduce(data, data, count, WEFT_FLOAT32, WEFT_SUM, process->comm, NULL);
    free(data);
    return status != WEFT_OK;
}

static void test_tiny_dev_shm(void **state)
{
    (void)state;
    int codes[4];
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4k") != 0)
            _exit(77);
        setenv("WEFT_TRANSPORTS", "shm", 1);
        run_ranks(4, INT64_C(10000000000), 30, body_without_dev_shm, NULL, codes);
        _exit(codes[0] || codes[1] || codes[2] || codes[3]);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: no right to mount a small /dev/shm\n");
        skip();
    }
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_calls),    cmocka_unit_test(test_bad_creations),
        cmocka_unit_test(test_port_in_use),  cmocka_unit_test(test_bad_configuration),
        cmocka_unit_test(test_tiny_dev_shm), cmocka_unit_test(test_two_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
