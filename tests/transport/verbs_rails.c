/*
 * SPDX-License-Identifier: Apache-2.0
 * What is special to RDMA and needs no faults: work requests, posts, completions and allocations
 * per packet and per chunk; several ports at once. Devices of one process, over the HCAs of this
 * machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/rig.h"
#include "transport/verbs_parts.h"

static struct verbs_link *link_of(struct rig *rig, int end)
{
    return (struct verbs_link *)rig->ends[end][!end].connection;
}

static int num_hcas(struct rig *rig)
{
    return ((struct verbs_device *)rig->devices[0])->ports.num_ports;
}

/* ---- work requests ---- */

static struct verbs_counts count(const struct verbs_link *link)
{
    struct verbs_counts sum = {0};
    for (int i = 0; i < link->num_rails; i++) {
        const struct verbs_counts *one = &link->rails[i]->counts;
        sum.work_requests += one->work_requests;
        sum.signalled += one->signalled;
        sum.posts += one->posts;
        sum.chunks += one->chunks;
    }
    return sum;
}

static struct verbs_counts count_since(const struct verbs_link *link,
                                       const struct verbs_counts *before)
{
    struct verbs_counts now = count(link);
    now.work_requests -= before->work_requests;
    now.signalled -= before->signalled;
    now.posts -= before->posts;
    now.chunks -= before->chunks;
    return now;
}

/* Many messages at once: few posts, few completions. */
static void test_counts(void **state)
{
    (void)state;
    enum { COUNT = 800 };
    rig_require(&weft_verbs_transport);
    struct rig rig;
    struct message *sends = calloc(COUNT, sizeof *sends), *recvs = calloc(COUNT, sizeof *recvs);
    assert_true(sends && recvs);
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    rig_exchange(&rig, 5000, 10, 0);
    struct verbs_counts before = count(link_of(&rig, 0));
    for (uint32_t i = 0; i < COUNT; i++) {
        message_init_send(&sends[i], i, 64);
        message_init_recv(&recvs[i], i, 64);
        message_post_recv(rig.ends[1][0].connection, &recvs[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        message_post_send(rig.ends[0][1].connection, &sends[i]);
        if (i % 32 == 31)
            rig_poll(&rig);
    }
    for (int i = 0; i < COUNT; i++) {
        rig_wait(&rig, &recvs[i]);
        rig_wait(&rig, &sends[i]);
        message_check(&recvs[i]);
        message_free(&sends[i]);
        message_free(&recvs[i]);
    }
    struct verbs_counts cost = count_since(link_of(&rig, 0), &before);
    print_message("%d messages: %llu work requests, %llu completions, %llu posts\n", COUNT,
                  (unsigned long long)cost.work_requests, (unsigned long long)cost.signalled,
                  (unsigned long long)cost.posts);
    assert_true(cost.work_requests >= COUNT && cost.work_requests <= COUNT + COUNT / 8);
    assert_true(cost.signalled <= cost.work_requests / 8 + 1);
    assert_true(cost.posts <= cost.work_requests / 8 + 1);
    free(sends);
    free(recvs);
    rig_close(&rig);
}

/* Allocations of the whole program, where the C library lets them be counted. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
static long num_allocations;
void *malloc(size_t bytes)
{
    num_allocations++;
    return __libc_malloc(bytes);
}
void *calloc(size_t items, size_t bytes)
{
    num_allocations++;
    return __libc_calloc(items, bytes);
}
#else
#define COUNTS_ALLOCATIONS 0
static long num_allocations;
#endif

struct cost {
    struct verbs_counts counts;
    long allocations;
};

/* What a message of so many bytes costs its sender; allocations: both ends. */
static struct cost cost_of(struct rig *rig, uint32_t index, size_t bytes)
{
    struct message send, recv;
    message_init_send(&send, index, bytes);
    message_init_recv(&recv, index, bytes);
    struct verbs_counts before = count(link_of(rig, 0));
    long allocations = num_allocations;
    message_post_recv(rig->ends[1][0].connection, &recv);
    message_post_send(rig->ends[0][1].connection, &send);
    rig_wait(rig, &recv);
    rig_wait(rig, &send);
    struct cost cost = {.allocations = num_allocations - allocations};
    cost.counts = count_since(link_of(rig, 0), &before);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
    return cost;
}

/* A large message: a work request per chunk, a completion per eight, a post per eight or more, and
 * nothing allocated for a chunk: a message of twice the size needs as many allocations. */
static void test_chunks(void **state)
{
    (void)state;
    enum { CHUNKS = 64, SLACK = 4 };
    rig_require(&weft_verbs_transport);
    struct rig rig;
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    rig_exchange(&rig, 5000, CHUNKS * VERBS_CHUNK_BYTES, 0);
    struct cost once = cost_of(&rig, 1, CHUNKS * VERBS_CHUNK_BYTES);
    struct cost twice = cost_of(&rig, 2, 2 * CHUNKS * VERBS_CHUNK_BYTES);
    int rails = link_of(&rig, 0)->num_rails;
    print_message("%d chunks over %d rails: %llu work requests, %llu completions, %llu posts, "
                  "%ld allocations more than for %d chunks\n",
                  2 * CHUNKS, rails, (unsigned long long)twice.counts.work_requests,
                  (unsigned long long)twice.counts.signalled,
                  (unsigned long long)twice.counts.posts, twice.allocations - once.allocations,
                  CHUNKS);
    assert_int_equal(once.counts.chunks, CHUNKS);
    assert_int_equal(twice.counts.chunks, 2 * CHUNKS);
    assert_true(twice.counts.work_requests <= twice.counts.chunks + (uint64_t)(rails * SLACK));
    assert_true(twice.counts.signalled <= twice.counts.chunks / 8 + (uint64_t)(rails * SLACK));
    assert_true(twice.counts.posts <= twice.counts.work_requests / 8 + (uint64_t)(rails * SLACK));
    assert_true(!COUNTS_ALLOCATIONS || once.allocations > 0); // they are counted
    assert_int_equal(twice.allocations, once.allocations);
    rig_close(&rig);
}

/* ---- registered memory ---- */

static void register_counts(struct rig *rig, int end, struct weft_verbs_memory_counts *counts)
{
    struct verbs_device *device = (struct verbs_device *)rig->devices[end];
    weft_verbs_memory_count(device->hcas[0].memory, counts);
}

static void send_from_to(struct rig *rig, uint32_t index, unsigned char *from, unsigned char *to,
                         size_t bytes)
{
    struct message send, recv;
    message_init_send(&send, index, bytes);
    message_init_recv(&recv, index, bytes);
    memset(from, (int)index + 1, bytes);
    send.transfer.data = from;
    recv.transfer.data = to;
    message_post_recv(rig->ends[1][0].connection, &recv);
    message_post_send(rig->ends[0][1].connection, &send);
    rig_wait(rig, &recv);
    rig_wait(rig, &send);
    assert_memory_equal(from, to, bytes);
    message_free(&send);
    message_free(&recv);
}

/* Memory that is remembered is registered once, however often and wherever in it something is sent
 * or received; other memory each time. None stays when it is forgotten. */
static void test_memory_that_stays(void **state)
{
    (void)state;
    enum { MESSAGES = 6, BYTES = 2 * VERBS_DIRECT_BYTES, ALL = MESSAGES * BYTES };
    rig_require(&weft_verbs_transport);
    struct rig rig;
    struct weft_verbs_memory_counts first[2], last[2];
    unsigned char *memory[2];
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    rig_exchange(&rig, 5000, 10, 0);
    for (int stays = 0; stays < 2; stays++) {
        for (int end = 0; end < 2; end++) {
            assert_int_equal(posix_memalign((void **)&memory[end], 4096, ALL), 0);
            if (stays)
                weft_verbs_transport.remember(rig.devices[end], memory[end], ALL);
            register_counts(&rig, end, &first[end]);
        }
        for (uint32_t i = 0; i < MESSAGES; i++)
            send_from_to(&rig, 10 + i, memory[0] + i * BYTES, memory[1] + i * BYTES, BYTES);
        for (int end = 0; end < 2; end++) {
            register_counts(&rig, end, &last[end]);
            uint64_t registered = last[end].num_registered - first[end].num_registered;
            assert_int_equal(registered, stays ? 1 : MESSAGES);
            assert_int_equal(last[end].num_regions - first[end].num_regions, stays);
            weft_verbs_transport.forget(rig.devices[end], memory[end]);
            register_counts(&rig, end, &last[end]);
            assert_int_equal(last[end].num_regions, first[end].num_regions);
            free(memory[end]);
        }
    }
    rig_close(&rig);
}

/* ---- several ports ---- */

static void test_striping(void **state)
{
    (void)state;
    rig_require(&weft_verbs_transport);
    struct rig rig;
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    if (num_hcas(&rig) < 2) {
        rig_close(&rig);
        print_message("one port only\n");
        skip();
    }
    for (uint32_t i = 0; i < 8; i++)
        rig_exchange(&rig, i, 1 << 20, (int)i);
    struct verbs_link *link = link_of(&rig, 0);
    uint64_t bytes[2] = {link->rails[0]->counts.bytes, link->rails[1]->counts.bytes};
    print_message("%llu and %llu bytes\n", (unsigned long long)bytes[0],
                  (unsigned long long)bytes[1]);
    assert_true(bytes[0] * 20 >= bytes[1] * 19 && bytes[1] * 20 >= bytes[0] * 19);
    rig_close(&rig);
}

/* ---- cancel ---- */

/* A receive is cancelled while it is written to, and its process does nothing for longer than the
 * device repeats what is not acknowledged: that the writes fail is no failure of the connection. */
static void test_cancel_and_pause(void **state)
{
    (void)state;
    enum { BYTES = 32 << 20 };
    rig_require(&weft_verbs_transport);
    struct rig rig;
    struct message send, recv;
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    // Rails are joined in progress, with these. (Soft-RoCE takes 7 repetitions for endless ones.)
    struct weft_verbs_options *options = &((struct verbs_device *)rig.devices[0])->ports.options;
    options->timeout = 14;
    options->retry = 2;
    rig_exchange(&rig, 1, 10, 0);
    message_init_send(&send, 2, BYTES);
    message_init_recv(&recv, 2, BYTES);
    message_post_recv(rig.ends[1][0].connection, &recv);
    message_post_send(rig.ends[0][1].connection, &send);
    int64_t deadline = weft_deadline_after(10000000000);
    while (!link_of(&rig, 1)->num_places) {
        rig_poll(&rig);
        assert_true(weft_clock_ns() < deadline);
    }
    while (!link_of(&rig, 0)->num_loads) {
        weft_verbs_transport.progress(rig.devices[0]);
        assert_true(weft_clock_ns() < deadline);
    }
    assert_int_equal(recv.num_completed, 0);
    weft_verbs_transport.cancel(rig.ends[1][0].connection, &recv.transfer);
    unsigned char *copy = malloc(BYTES);
    assert_non_null(copy);
    memcpy(copy, recv.buffer, BYTES);
    for (deadline = weft_deadline_after(4000000000); weft_clock_ns() < deadline;)
        weft_verbs_transport.progress(rig.devices[0]);
    assert_memory_equal(copy, recv.buffer, BYTES); // nothing was written after cancel returned
    print_message("the writes %s\n", link_of(&rig, 0)->state < VERBS_UP
                                         ? "have failed"
                                         : "were faster, or are still being repeated");
    rig_exchange(&rig, 3, 100, 0);
    rig_exchange(&rig, 4, 300000, 1);
    rig_exchange(&rig, 5, 300000, 2);
    assert_int_equal(rig.ends[0][1].num_failed + rig.ends[1][0].num_failed, 0);
    print_message("began anew %u times\n", link_of(&rig, 0)->epoch);
    if (!send.num_completed)
        weft_verbs_transport.cancel(rig.ends[0][1].connection, &send.transfer);
    free(copy);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* ---- nobody there ---- */

enum { LONELY_ROUNDS = 1000 };

/* One end at a time: `lonely` does all that it can, the other one nothing. Both are in this thread,
 * so a call that waited for the other end would never return. */
static void act_alone(struct rig *rig, int lonely, struct message *send, struct message *recv,
                      int64_t *longest_ns)
{
    const struct weft_transport *transport = rig->transport;
    struct rig_end *end = &rig->ends[lonely][!lonely];
    struct weft_device_options peer;
    unsigned char address[WEFT_ADDRESS_BYTES];
    struct weft_error error = {0};
    rig_fill_options(&peer, !lonely);
    transport->address(rig->devices[!lonely], address);
    *end = (struct rig_end){.rig = rig, .to = !lonely};
    int64_t before_ns = weft_clock_ns();
    assert_int_equal(transport->connect(rig->devices[lonely], address, peer.process_id, 7, end,
                                        &end->connection, &error),
                     WEFT_OK);
    message_post_recv(end->connection, recv);
    message_post_send(end->connection, send);
    *longest_ns = weft_clock_ns() - before_ns;
    for (int i = 0; i < LONELY_ROUNDS; i++) {
        transport->arm(rig->devices[lonely], i % 2);
        before_ns = weft_clock_ns();
        transport->progress(rig->devices[lonely]);
        int64_t took_ns = weft_clock_ns() - before_ns;
        *longest_ns = took_ns > *longest_ns ? took_ns : *longest_ns;
    }
    transport->arm(rig->devices[lonely], false);
    assert_int_equal(recv->num_completed, 0);
    assert_int_equal(end->num_failed, 0);
}

/* Listening, connecting and accepting never wait: each end goes through all of its steps before the
 * other one begins, and only then do both move. */
static void test_never_waits(void **state)
{
    (void)state;
    rig_require(&weft_verbs_transport);
    struct rig rig = {.transport = &weft_verbs_transport, .num_devices = 2, .random = 1};
    struct message sends[2], recvs[2], late;
    int64_t longest_ns[2];
    for (int i = 0; i < 2; i++)
        rig.devices[i] = rig_open_device(rig.transport, &rig, i);
    for (uint32_t i = 0; i < 2; i++) {
        message_init_send(&sends[i], i, 300000);
        message_init_recv(&recvs[i], !i, 300000);
    }
    for (int i = 0; i < 2; i++)
        act_alone(&rig, i, &sends[i], &recvs[i], &longest_ns[i]);
    for (int i = 0; i < 2; i++) {
        rig_wait(&rig, &recvs[i]);
        rig_wait(&rig, &sends[i]);
        message_check(&recvs[i]);
    }
    // and leaving does not wait for an end that has stopped moving
    message_init_send(&late, 9, 300000);
    message_post_send(rig.ends[0][1].connection, &late);
    rig.transport->cancel(rig.ends[0][1].connection, &late.transfer);
    rig.transport->disconnect(&rig.ends[0][1].connection);
    print_message("%d rounds of each end alone; the longest call took %.1f and %.1f ms\n",
                  LONELY_ROUNDS, (double)longest_ns[0] / 1e6, (double)longest_ns[1] / 1e6);
    message_free(&late);
    for (int i = 0; i < 2; i++) {
        message_free(&sends[i]);
        message_free(&recvs[i]);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_memory_that_stays),
        cmocka_unit_test(test_striping),
        cmocka_unit_test(test_cancel_and_pause),
        cmocka_unit_test(test_never_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
