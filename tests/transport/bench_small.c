/*
 * SPDX-License-Identifier: Apache-2.0
 * What a small message costs over RDMA, in instructions. `message N` sends N messages of 8 bytes
 * from one device of this process to another; `bare N` posts as many inline writes without Weft and
 * takes their completions, as ib_write_lat does. `tools/rdma-compare --instructions` runs it under
 * callgrind, which counts inside the functions called count_*; in between everything has time to
 * arrive, so that no idle poll is counted. Devices rxe0 and rxe1.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/transport/rig.h"
#include "transport/verbs_parts.h"

enum { BYTES = 8, PAUSE_MS = 3 };
#define COUNTED __attribute__((noinline))

static const char *mode;
static uint32_t num_messages;

COUNTED static weft_status count_receive(struct weft_connection *connection,
                                         struct weft_transfer *transfer)
{
    return weft_verbs_transport.post_recv(connection, transfer);
}

COUNTED static weft_status count_send(struct weft_connection *connection,
                                      struct weft_transfer *transfer)
{
    weft_status status = weft_verbs_transport.post_send(connection, transfer);
    weft_verbs_transport.progress(connection->device);
    return status;
}

COUNTED static void count_arrival(struct weft_device *device)
{
    weft_verbs_transport.progress(device);
}

COUNTED static int count_bare_post(struct ibv_qp *qp, struct ibv_send_wr *request)
{
    struct ibv_send_wr *bad;
    return ibv_post_send(qp, request, &bad);
}

COUNTED static int count_bare_poll(struct ibv_cq *cq, struct ibv_wc *completion)
{
    return ibv_poll_cq(cq, 1, completion);
}

static void send_message(struct rig *rig, uint32_t index)
{
    struct message send, recv;
    message_init_send(&send, index, BYTES);
    message_init_recv(&recv, index, BYTES);
    assert_int_equal(count_receive(rig->ends[1][0].connection, &recv.transfer), WEFT_OK);
    assert_int_equal(count_send(rig->ends[0][1].connection, &send.transfer), WEFT_OK);
    poll(NULL, 0, PAUSE_MS);
    count_arrival(rig->devices[1]);
    assert_int_equal(send.num_completed, 1);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
}

/* Into the last bytes of the peer's ring, where no packet is. */
static void write_barely(struct rig *rig)
{
    struct verbs_link *link = (struct verbs_link *)rig->ends[0][1].connection;
    struct verbs_rail *rail = link->rails[0];
    uint64_t word = 1;
    struct ibv_wc completion;
    struct ibv_sge part = {.addr = (uintptr_t)&word, .length = BYTES};
    struct ibv_send_wr request = {.sg_list = &part,
                                  .num_sge = 1,
                                  .opcode = IBV_WR_RDMA_WRITE,
                                  .send_flags = IBV_SEND_INLINE | IBV_SEND_SIGNALED};
    request.wr.rdma.remote_addr = link->peer.ring + VERBS_RING_BYTES - BYTES;
    request.wr.rdma.rkey = rail->ring_key;
    assert_int_equal(count_bare_post(rail->qp, &request), 0);
    poll(NULL, 0, PAUSE_MS);
    assert_int_equal(count_bare_poll(rail->queue->cq, &completion), 1);
    assert_int_equal(completion.status, IBV_WC_SUCCESS);
}

static void test_run(void **state)
{
    (void)state;
    static const char *const hcas[] = {"=rxe0", "=rxe1"};
    struct rig rig;
    rig_require(&weft_verbs_transport);
    rig_open_hcas(&rig, &weft_verbs_transport, 2, 1, hcas);
    rig_exchange(&rig, 5000, BYTES, 0);
    rig_settle(&rig);
    for (uint32_t i = 0; i < num_messages; i++) {
        if (strcmp(mode, "bare") == 0)
            write_barely(&rig);
        else
            send_message(&rig, i);
    }
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_run)};
    if (argc != 3 || (strcmp(argv[1], "bare") != 0 && strcmp(argv[1], "message") != 0)) {
        fprintf(stderr, "usage: %s bare|message COUNT\n", argv[0]);
        return 2;
    }
    mode = argv[1];
    num_messages = (uint32_t)atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
