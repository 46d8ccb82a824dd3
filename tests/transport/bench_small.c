/*
 * SPDX-License-Identifier: Apache-2.0
 * What a small message costs over RDMA, in instructions: `message N` sends N messages of 8 bytes
 * from one device to another of this process, `bare N` posts as many inline writes without Weft and
 * takes their completions, as ib_write_lat does. Run by tools/rdma-compare under callgrind, which
 * counts inside the functions that are called count_*; in between everything has time to arrive, so
 * that no idle poll is counted.
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

void count_receive_posted(struct rig *rig, struct message *message) __attribute__((noinline));
void count_send(struct rig *rig, struct message *message) __attribute__((noinline));
void count_arrival(struct rig *rig) __attribute__((noinline));
int count_bare_post(struct ibv_qp *qp, struct ibv_send_wr *request) __attribute__((noinline));
int count_bare_poll(struct ibv_cq *cq, struct ibv_wc *completion) __attribute__((noinline));

void count_receive_posted(struct rig *rig, struct message *message)
{
    message_post_recv(rig->ends[1][0].connection, message);
}

void count_send(struct rig *rig, struct message *message)
{
    message_post_send(rig->ends[0][1].connection, message);
    rig->transport->progress(rig->devices[0]);
}

void count_arrival(struct rig *rig)
{
    rig->transport->progress(rig->devices[1]);
}

int count_bare_post(struct ibv_qp *qp, struct ibv_send_wr *request)
{
    struct ibv_send_wr *bad;
    return ibv_post_send(qp, request, &bad);
}

int count_bare_poll(struct ibv_cq *cq, struct ibv_wc *completion)
{
    return ibv_poll_cq(cq, 1, completion);
}

static void message(struct rig *rig, uint32_t index)
{
    struct message send, recv;
    message_init_send(&send, index, BYTES);
    message_init_recv(&recv, index, BYTES);
    count_receive_posted(rig, &recv);
    count_send(rig, &send);
    poll(NULL, 0, PAUSE_MS);
    count_arrival(rig);
    assert_int_equal(send.num_completed, 1);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
}

/* Into the last bytes of the peer's ring, where no packet is. */
static void bare(struct rig *rig)
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

static const char *mode;
static uint32_t count;

static void test_run(void **state)
{
    (void)state;
    static const char *const hcas[] = {"=rxe0", "=rxe1"};
    struct rig rig;
    rig_require(&weft_verbs_transport);
    rig_open_hcas(&rig, &weft_verbs_transport, 2, 1, hcas);
    rig_exchange(&rig, 5000, BYTES, 0);
    rig_settle(&rig);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(mode, "bare") == 0)
            bare(&rig);
        else
            message(&rig, i);
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
    count = (uint32_t)atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
