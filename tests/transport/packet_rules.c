/*
 * SPDX-License-Identifier: Apache-2.0
 * The rules of messages over packets, one broken at a time: each broken rule fails the link, ends
 * what is posted with REMOTE and says which rule it was. Packets go in by hand, those that come out
 * are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/packet.h"

enum { KEPT = 64, BYTES = 400 };

struct bench {
    struct weft_packet_device device;
    struct weft_packet_link link;
    struct weft_packet pushed[KEPT];
    int num_pushed;
    int num_failed;
    struct weft_transfer transfer;
    int num_completed;
    unsigned char data[BYTES];
};

static enum weft_push keep(struct weft_packet_link *link, const struct weft_packet *packet,
                           const void *payload)
{
    struct bench *bench = (struct bench *)((char *)link - offsetof(struct bench, link));
    (void)payload;
    if (bench->num_pushed == KEPT)
        return WEFT_PUSH_BUSY;
    bench->pushed[bench->num_pushed++] = *packet;
    return WEFT_PUSH_DONE;
}

static void unborrow(struct weft_packet_link *link)
{
    (void)link;
}

static const struct weft_packet_port port = {.push = keep, .unborrow = unborrow};

static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    struct bench *bench = user;
    assert_ptr_equal(connection, &bench->link.base);
    assert_true(reason[0] != '\0');
    bench->num_failed++;
}

static void on_complete(struct weft_transfer *transfer)
{
    struct bench *bench = (struct bench *)((char *)transfer - offsetof(struct bench, transfer));
    bench->num_completed++;
}

static struct bench *bench_make(void)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    struct weft_device_options options = {.eager_bytes = 100};
    options.events = (struct weft_device_events){.user = bench, .failed = on_failed};
    weft_packet_device_init(&bench->device, NULL, &options);
    weft_packet_link_init(&bench->link, &bench->device, &port, 64, NULL, 5);
    bench->transfer = (struct weft_transfer){
        .key = {.comm = 1}, .data = bench->data, .bytes = BYTES, .complete = on_complete};
    return bench;
}

static void bench_free(struct bench *bench)
{
    weft_packet_link_fini(&bench->link);
    free(bench);
}

static bool deliver(struct bench *bench, struct weft_packet packet)
{
    unsigned char *payload = calloc(1, packet.payload_bytes + 1u);
    assert_non_null(payload);
    weft_packet_enter(&bench->device);
    bool alive = weft_packet_deliver(&bench->link, &packet, payload);
    weft_packet_leave(&bench->device);
    free(payload);
    return alive;
}

/* A receive that has granted its message. Returns its handle. */
static uint64_t granted(struct bench *bench)
{
    struct weft_packet announce = {
        .type = WEFT_PACKET_ANNOUNCE, .key = {.comm = 1}, .value = BYTES, .handle = 99};
    assert_int_equal(weft_packet_post_recv(&bench->link.base, &bench->transfer), WEFT_OK);
    assert_true(deliver(bench, announce));
    assert_int_equal(bench->pushed[0].type, WEFT_PACKET_GRANT);
    assert_int_equal(bench->pushed[0].handle, 99);
    return bench->pushed[0].value;
}

/* A send that has been announced. Returns its handle. */
static uint64_t announced(struct bench *bench)
{
    assert_int_equal(weft_packet_post_send(&bench->link.base, &bench->transfer), WEFT_OK);
    assert_int_equal(bench->pushed[0].type, WEFT_PACKET_ANNOUNCE);
    return bench->pushed[0].handle;
}

struct offence {
    const char *reason; // part of it
    bool sends;
    struct weft_packet packet; // handle: added to the handle that is in use
};

static const struct offence offences[] = {
    {"malformed", false, {.type = 0}},
    {"malformed", false, {.type = WEFT_PACKET_NUM_TYPES}},
    {"malformed", false, {.type = 255}},
    {"malformed", false, {.type = WEFT_PACKET_CREDIT, .zero = 1}},
    {"malformed", false, {.type = WEFT_PACKET_GRANT, .payload_bytes = 1}},
    {"another length", false, {.type = WEFT_PACKET_EAGER, .value = 5, .payload_bytes = 4}},
    {"impossible announcement", false, {.type = WEFT_PACKET_ANNOUNCE, .value = UINT64_MAX}},
    {"nobody granted", false, {.type = WEFT_PACKET_DATA, .payload_bytes = 64, .handle = 1}},
    {"nobody granted", true, {.type = WEFT_PACKET_DATA, .payload_bytes = 64}},
    {"out of place", false, {.type = WEFT_PACKET_DATA, .payload_bytes = 64, .value = 64}},
    {"out of place", false, {.type = WEFT_PACKET_DATA, .payload_bytes = BYTES + 1}},
    {"out of place", false, {.type = WEFT_PACKET_DATA, .payload_bytes = 0}},
    {"unit", true, {.type = WEFT_PACKET_GRANT, .unit = 0, .value = 1}},
    {"unit", true, {.type = WEFT_PACKET_GRANT, .unit = 65, .value = 1}},
    {"credit", true, {.type = WEFT_PACKET_CREDIT, .value = 1}},
};

static void test_offences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof offences / sizeof *offences; i++) {
        const struct offence *offence = &offences[i];
        struct bench *bench = bench_make();
        struct weft_packet packet = offence->packet;
        packet.handle += offence->sends ? announced(bench) : granted(bench);
        if (offence->packet.type == WEFT_PACKET_ANNOUNCE)
            packet.handle = 1;
        assert_false(deliver(bench, packet));
        if (!strstr(bench->link.reason, offence->reason))
            fail_msg("offence %zu: '%s'", i, bench->link.reason);
        assert_int_equal(bench->num_failed, 1);
        assert_int_equal(bench->num_completed, 1);
        assert_int_equal(bench->transfer.status, WEFT_REMOTE);
        assert_false(deliver(bench, packet)); // once only
        assert_int_equal(bench->num_failed, 1);
        bench_free(bench);
    }
}

static void test_stale_handles_are_ignored(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    uint64_t handle = announced(bench);
    weft_packet_cancel(&bench->link.base, &bench->transfer);
    assert_int_equal(bench->pushed[1].type, WEFT_PACKET_CANCEL);
    assert_int_equal(bench->pushed[1].handle, handle);
    struct weft_packet grant = {.type = WEFT_PACKET_GRANT, .unit = 1, .value = 7, .handle = handle};
    assert_true(deliver(bench, grant));
    grant.type = WEFT_PACKET_REFUSE;
    assert_true(deliver(bench, grant));
    bench->num_pushed = 0;
    uint64_t again = announced(bench); // the same place, another generation
    assert_int_not_equal(again, handle);
    assert_true(deliver(bench, grant));
    assert_int_equal(bench->num_completed, 0);
    grant.handle = again;
    assert_true(deliver(bench, grant));
    assert_int_equal(bench->num_completed, 1);
    assert_int_equal(bench->transfer.status, WEFT_MISMATCH);
    assert_int_equal(bench->num_failed, 0);
    bench_free(bench);
}

static void test_granted_twice(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    uint64_t handle = announced(bench);
    struct weft_packet grant = {.type = WEFT_PACKET_GRANT, .unit = 4, .value = 7, .handle = handle};
    assert_true(deliver(bench, grant));
    assert_false(deliver(bench, grant));
    assert_int_equal(bench->num_failed, 1);
    bench_free(bench);
}

static void test_units_are_respected(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    struct weft_packet grant = {
        .type = WEFT_PACKET_GRANT, .unit = 24, .value = 7, .handle = announced(bench)};
    assert_true(deliver(bench, grant));
    while (weft_packet_send_pending(&bench->link, 1))
        ;
    uint64_t offset = 0;
    for (int i = 1; i < bench->num_pushed; i++) {
        assert_int_equal(bench->pushed[i].value, offset);
        assert_true(bench->pushed[i].payload_bytes % 24 == 0 || i == bench->num_pushed - 1);
        offset += bench->pushed[i].payload_bytes;
    }
    assert_int_equal(offset, BYTES);
    assert_int_equal(bench->num_pushed, 1 + (BYTES + 47) / 48); // 48 of 64: two units
    bench_free(bench);
}

/* A peer may not make this end buffer more than the budget, nor keep announcing for ever. */
static void test_budget(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    struct weft_packet eager = {.type = WEFT_PACKET_EAGER, .value = 60000, .payload_bytes = 60000};
    int count = 0;
    while (deliver(bench, eager))
        assert_true(++count < 100);
    assert_int_equal(count, WEFT_PACKET_EAGER_BUDGET / (60000 + WEFT_PACKET_EAGER_OVERHEAD));
    assert_non_null(strstr(bench->link.reason, "more eager bytes"));
    bench_free(bench);
}

/* Credits come back as messages are consumed, and open the way for eager messages again. */
static void test_credit(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    struct weft_packet eager = {.type = WEFT_PACKET_EAGER, .value = 50000, .payload_bytes = 50000};
    uint64_t credited = 0;
    unsigned char *data = malloc(50000);
    assert_non_null(data);
    for (int i = 0; i < 200; i++) {
        eager.key.index = (uint32_t)i;
        assert_true(deliver(bench, eager));
        bench->transfer.key = eager.key;
        bench->transfer.data = data;
        bench->transfer.bytes = 50000;
        assert_int_equal(weft_packet_post_recv(&bench->link.base, &bench->transfer), WEFT_OK);
        assert_int_equal(bench->num_completed, i + 1);
    }
    for (int i = 0; i < bench->num_pushed; i++) {
        assert_int_equal(bench->pushed[i].type, WEFT_PACKET_CREDIT);
        credited += bench->pushed[i].value;
    }
    assert_true(credited <= 200u * (50000 + WEFT_PACKET_EAGER_OVERHEAD));
    assert_true(credited > 190u * 50000);
    free(data);
    bench_free(bench);
}

/* A payload that was on its way when the link failed, or when its receive was cancelled. */
static void test_landing(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct bench *bench = bench_make();
        struct weft_packet data = {.type = WEFT_PACKET_DATA, .payload_bytes = 64};
        data.handle = granted(bench);
        struct weft_packet_open open;
        assert_true(weft_packet_open(&bench->link, &data, &open));
        assert_ptr_equal(weft_packet_place(&bench->link, &open), bench->data);
        assert_int_equal(weft_packet_feed(&bench->link, &open, bench->data, 16), 16);
        assert_ptr_equal(weft_packet_place(&bench->link, &open), (unsigned char *)bench->data + 16);
        if (fails)
            weft_packet_fail(&bench->link, "the end");
        else
            weft_packet_cancel(&bench->link.base, &bench->transfer);
        assert_null(weft_packet_place(&bench->link, &open));
        unsigned char rest[48] = {1};
        assert_int_equal(weft_packet_feed(&bench->link, &open, rest, 48), 48); // thrown away
        assert_int_equal(open.left, 0);
        assert_int_equal(bench->num_completed, fails);
        data.value = 64;
        assert_int_equal(deliver(bench, data), !fails); // thrown away

        bench_free(bench);
    }
}

/* Fragments that come over several streams: each has its turn, and after a new name those for the
 * old one are not taken any more, even in the middle of one. */
static void test_turns(void **state)
{
    (void)state;
    struct bench *bench = bench_make();
    struct weft_packet data = {.type = WEFT_PACKET_DATA, .payload_bytes = 64, .value = 64};
    struct weft_packet_open open;
    unsigned char payload[BYTES] = {0};
    uint64_t offset = 0, old = data.handle = granted(bench);
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_LATER);
    data.value = 0;
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_NOW);
    assert_true(weft_packet_open(&bench->link, &data, &open));
    payload[0] = 9;
    assert_int_equal(weft_packet_feed(&bench->link, &open, payload, 20), 20);
    data.handle = weft_packet_rename(&bench->link, old, &offset);
    assert_true(data.handle && data.handle != old);
    assert_int_equal(offset, 20);
    assert_int_equal(weft_packet_rename(&bench->link, old, &offset), 0);
    payload[0] = 8;
    assert_int_equal(weft_packet_feed(&bench->link, &open, payload, 44), 44);
    assert_int_equal(bench->data[0], 9);
    assert_int_equal(bench->data[20], 0);
    struct weft_packet stale = data;
    stale.handle = old;
    assert_int_equal(weft_packet_turn(&bench->link, &stale), WEFT_PACKET_NEVER);
    data.value = 20;
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_NOW);
    data.payload_bytes = BYTES - 20;
    assert_true(weft_packet_open(&bench->link, &data, &open));
    weft_packet_enter(&bench->device);
    assert_int_equal(weft_packet_feed(&bench->link, &open, payload, BYTES - 20), BYTES - 20);
    weft_packet_leave(&bench->device);
    assert_int_equal(bench->num_completed, 1);
    assert_int_equal(bench->data[20], 8);
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_NEVER);
    assert_int_equal(bench->num_failed, 0);
    bench_free(bench);

    bench = bench_make(); // a name given to a message that is then cancelled
    uint64_t renamed = weft_packet_rename(&bench->link, granted(bench), &offset);
    weft_packet_cancel(&bench->link.base, &bench->transfer);
    data = (struct weft_packet){.handle = renamed, .payload_bytes = 64};
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_NOW); // thrown away
    data.payload_bytes = BYTES + 1;
    assert_int_equal(weft_packet_turn(&bench->link, &data), WEFT_PACKET_NEVER);
    assert_int_equal(bench->num_failed, 1); // longer than the message
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offences),      cmocka_unit_test(test_stale_handles_are_ignored),
        cmocka_unit_test(test_granted_twice), cmocka_unit_test(test_units_are_respected),
        cmocka_unit_test(test_budget),        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_landing),       cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
