/*
 * SPDX-License-Identifier: Apache-2.0
 * The ring of shm: order and content between two threads that share it at one address (so that the
 * thread sanitizer sees every access), and what each end makes of a hostile other end.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/shm_ring.h"

enum { PACKETS = 20000 };

static struct weft_shm_ring *make_ring(void)
{
    struct weft_shm_ring *ring = aligned_alloc(4096, sizeof *ring);
    assert_non_null(ring);
    memset(ring, 0, sizeof *ring);
    return ring;
}

static uint32_t size_of(uint64_t number)
{
    static const uint32_t sizes[] = {0, 8, 192, 193, 32768, 1, 64, 5000};
    return sizes[number * 11 / 3 % 8];
}

static void *write_all(void *argument)
{
    struct weft_shm_writer writer = {.ring = argument};
    unsigned char *payload = malloc(WEFT_SHM_SLOT_BYTES);
    for (uint64_t i = 0; i < PACKETS; i++) {
        struct weft_packet packet = {.type = 1, .payload_bytes = size_of(i), .value = i};
        memset(payload, (int)i, packet.payload_bytes);
        while (weft_shm_write(&writer, &packet, payload) != WEFT_SHM_DONE)
            sched_yield();
    }
    free(payload);
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct weft_shm_ring *ring = make_ring();
    struct weft_shm_reader reader = {.ring = ring};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_all, ring), 0);
    int damaged = 0;
    for (uint64_t i = 0; i < PACKETS; i++) {
        struct weft_packet packet;
        const void *payload;
        while (weft_shm_peek(&reader, &packet, &payload) != WEFT_SHM_DONE)
            sched_yield();
        const unsigned char *bytes = payload;
        damaged += packet.value != i || packet.payload_bytes != size_of(i);
        for (uint32_t k = 0; k < packet.payload_bytes; k += 61)
            damaged += bytes[k] != (unsigned char)i;
        weft_shm_take(&reader, &packet);
    }
    pthread_join(writer, NULL);
    assert_int_equal(damaged, 0);
    free(ring);
}

static void test_full(void **state)
{
    (void)state;
    struct weft_shm_ring *ring = make_ring();
    struct weft_shm_writer writer = {.ring = ring};
    struct weft_shm_reader reader = {.ring = ring};
    static unsigned char payload[WEFT_SHM_SLOT_BYTES];
    struct weft_packet large = {.payload_bytes = WEFT_SHM_SLOT_BYTES}, small = {0}, packet;
    const void *where;
    for (int i = 0; i < WEFT_SHM_SLOTS; i++)
        assert_int_equal(weft_shm_write(&writer, &large, payload), WEFT_SHM_DONE);
    assert_int_equal(weft_shm_write(&writer, &large, payload), WEFT_SHM_NOTHING);
    for (int i = WEFT_SHM_SLOTS; i < WEFT_SHM_ENTRIES; i++)
        assert_int_equal(weft_shm_write(&writer, &small, NULL), WEFT_SHM_DONE);
    assert_int_equal(weft_shm_write(&writer, &small, NULL), WEFT_SHM_NOTHING);
    bool returned = false;
    while (!returned) {
        assert_int_equal(weft_shm_peek(&reader, &packet, &where), WEFT_SHM_DONE);
        returned = weft_shm_take(&reader, &packet);
    }
    assert_int_equal(weft_shm_write(&writer, &large, payload), WEFT_SHM_DONE);
    free(ring);
}

static void test_hostile_reader(void **state)
{
    (void)state;
    const uint64_t lies[] = {1000, WEFT_SHM_ENTRIES + 1, UINT64_MAX, 3};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct weft_shm_ring *ring = make_ring();
        struct weft_shm_writer writer = {.ring = ring};
        struct weft_packet small = {0};
        for (int k = 0; k < WEFT_SHM_ENTRIES; k++)
            assert_int_equal(weft_shm_write(&writer, &small, NULL), WEFT_SHM_DONE);
        if (lies[i] < WEFT_SHM_ENTRIES) { // goes back
            atomic_store(&ring->consumed, lies[i] + 1);
            for (uint64_t k = 0; k <= lies[i]; k++)
                assert_int_equal(weft_shm_write(&writer, &small, NULL), WEFT_SHM_DONE);
        }
        atomic_store(&ring->consumed, lies[i]);
        assert_int_equal(weft_shm_write(&writer, &small, NULL), WEFT_SHM_BROKEN);
        free(ring);
    }
}

static void test_hostile_writer(void **state)
{
    (void)state;
    struct weft_shm_ring *ring = make_ring();
    struct weft_shm_reader reader = {.ring = ring};
    struct weft_packet packet = {.payload_bytes = WEFT_SHM_SLOT_BYTES + 1};
    const void *where;
    memcpy(ring->entries[0].header, &packet, sizeof packet);
    atomic_store(&ring->entries[0].sequence, 2); // not the one that is due
    assert_int_equal(weft_shm_peek(&reader, &packet, &where), WEFT_SHM_NOTHING);
    atomic_store(&ring->entries[0].sequence, 1);
    assert_int_equal(weft_shm_peek(&reader, &packet, &where), WEFT_SHM_BROKEN);
    free(ring);
}

static void test_wake_is_once(void **state)
{
    (void)state;
    struct weft_shm_ring *ring = make_ring();
    assert_false(weft_shm_must_wake(ring));
    atomic_store(&ring->sleeping, 1);
    assert_true(weft_shm_must_wake(ring));
    assert_false(weft_shm_must_wake(ring));
    free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads),    cmocka_unit_test(test_full),
        cmocka_unit_test(test_hostile_reader), cmocka_unit_test(test_hostile_writer),
        cmocka_unit_test(test_wake_is_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
