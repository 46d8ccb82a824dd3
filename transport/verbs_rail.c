/*
 * SPDX-License-Identifier: Apache-2.0
 * Rails: queue pairs, what is posted on them, and their completions. Work requests are collected
 * during a round of progress and posted in one call; one in eight asks for a completion, which
 * stands for all before it. Receives are empty: data goes where the sender was told, only the
 * immediate word comes through them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/verbs_words.h"
#include "transport/verbs_parts.h"

enum { RECEIVE_BIT = 63, NUMBER_SHIFT = 32, PLACE_BITS = 15, RECEIVES_BATCH = 32 };

const char *weft_verbs_rail_text(const struct verbs_rail *rail, char *text, size_t size)
{
    const struct verbs_link *link = rail->link;
    const struct verbs_device *device = weft_verbs_device_of(link);
    const struct verbs_hello_rail *there = &link->peer.rails[rail->path - link->paths];
    char path[WEFT_VERBS_PATH_TEXT_BYTES];
    weft_verbs_path_text(&device->ports, &link->peer_ports, rail->path, path);
    int end = (int)strcspn(path, ","); // without speeds
    if (there->port[0])
        snprintf(text, size, "%.*s (%.*s)", end, path, (int)sizeof there->port, there->port);
    else // the peer has not said hello
        snprintf(text, size, "%.*s", end, path);
    return text;
}

/* ---- states of a queue pair ---- */

/* One row a transition; the attributes are filled once, the mask says which count. */
enum { STEP_INIT, STEP_RECEIVE, STEP_SEND, STEP_STOP, STEP_RESET };
static const struct step {
    enum ibv_qp_state to;
    int mask;
} steps[] = {
    [STEP_INIT] = {IBV_QPS_INIT,
                   IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS},
    [STEP_RECEIVE] = {IBV_QPS_RTR, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                       IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                                       IBV_QP_MIN_RNR_TIMER},
    [STEP_SEND] = {IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                    IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC},
    [STEP_STOP] = {IBV_QPS_ERR, IBV_QP_STATE},
    [STEP_RESET] = {IBV_QPS_RESET, IBV_QP_STATE},
};

static weft_status move(struct verbs_rail *rail, int number, struct ibv_qp_attr *attributes,
                        struct weft_error *error)
{
    const struct step *step = &steps[number];
    const struct verbs_device *device = weft_verbs_device_of(rail->link);
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    attributes->qp_state = step->to;
    int failure = device->verbs.modify_qp(rail->qp, attributes, step->mask);
    if (failure)
        return weft_fail(error, WEFT_SYSTEM, "verbs: %s: the queue pair does not become '%s': %s",
                         weft_verbs_rail_text(rail, text, sizeof text),
                         weft_qp_state_name(step->to), strerror(failure));
    return WEFT_OK;
}

/* ---- completion queues ---- */

static weft_status find_queue(struct verbs_device *device, struct verbs_rail *rail,
                              struct weft_error *error)
{
    struct verbs_hca *hca = rail->hca;
    const struct weft_verbs_device *opened = &device->ports.devices[hca - device->hcas];
    const int need = VERBS_RECEIVES + VERBS_SENDS;
    for (int i = 0; i < hca->num_queues; i++) {
        if (hca->queues[i].room >= need) {
            rail->queue = &hca->queues[i];
            rail->queue->room -= need;
            return WEFT_OK;
        }
    }
    int entries = opened->attributes.max_cqe < VERBS_QUEUE_ENTRIES ? opened->attributes.max_cqe
                                                                   : VERBS_QUEUE_ENTRIES;
    if (hca->num_queues == VERBS_QUEUES_LIMIT || entries < need)
        return weft_fail(error, WEFT_SYSTEM, "verbs: %s: no room for completions of %d more",
                         opened->name, need);
    struct ibv_cq *cq = device->verbs.create_cq(opened->context, entries, NULL, hca->channel, 0);
    if (!cq)
        return weft_fail(error, WEFT_SYSTEM,
                         "verbs: %s: no completion queue of %d entries beside %d others: %s",
                         opened->name, entries, hca->num_queues, weft_verbs_errno_name(errno));
    rail->queue = &hca->queues[hca->num_queues++];
    rail->queue->cq = cq;
    rail->queue->room = entries - need;
    return WEFT_OK;
}

/* ---- numbers of rails, as they come back with completions ---- */

static bool enlist(struct verbs_device *device, struct verbs_rail *rail)
{
    uint32_t place = 0;
    while (place < device->num_rails && device->rails[place])
        place++;
    if (place == 1u << PLACE_BITS)
        return false;
    if (place == device->num_rails) {
        uint32_t count = device->num_rails ? device->num_rails * 2 : 16;
        struct verbs_rail **rails = realloc(device->rails, count * sizeof *rails);
        if (!rails)
            return false;
        device->rails = rails;
        uint16_t *generations = realloc(device->generations, count * sizeof *generations);
        if (!generations)
            return false;
        device->generations = generations;
        memset(rails + place, 0, (count - place) * sizeof *rails);
        memset(generations + place, 0, (count - place) * sizeof *generations);
        device->num_rails = count;
    }
    device->rails[place] = rail;
    rail->number = place << 16 | ++device->generations[place];
    return true;
}

/* Completions that are still queued find nobody. */
static void delist(struct verbs_device *device, struct verbs_rail *rail)
{
    uint32_t place = rail->number >> 16;
    if (place < device->num_rails && device->rails[place] == rail)
        device->rails[place] = NULL;
}

/* NULL: of a rail that is gone. */
static struct verbs_rail *find_rail(const struct verbs_device *device, uint64_t id)
{
    uint32_t number = (uint32_t)(id >> NUMBER_SHIFT) & 0x7fffffff;
    struct verbs_rail *rail = device->rails[number >> 16];
    return rail && rail->number == number ? rail : NULL;
}

/* ---- receives ---- */

static weft_status post_receives(struct verbs_rail *rail, uint32_t count, struct weft_error *error)
{
    struct ibv_recv_wr requests[RECEIVES_BATCH], *bad;
    while (count > 0) {
        uint32_t now = count < RECEIVES_BATCH ? count : RECEIVES_BATCH;
        for (uint32_t i = 0; i < now; i++)
            requests[i] = (struct ibv_recv_wr){.wr_id = UINT64_C(1) << RECEIVE_BIT |
                                                        (uint64_t)rail->number << NUMBER_SHIFT,
                                               .next = i + 1 < now ? &requests[i + 1] : NULL};
        int failure = ibv_post_recv(rail->qp, requests, &bad);
        if (failure)
            return weft_fail(error, WEFT_SYSTEM, "receives cannot be posted: %s",
                             strerror(failure));
        count -= now;
        rail->receives_posted += now;
    }
    return WEFT_OK;
}

/* ---- life ---- */

static weft_status make_pair(struct verbs_device *device, struct verbs_rail *rail,
                             struct weft_error *error)
{
    const struct weft_verbs_device *opened = &device->ports.devices[rail->hca - device->hcas];
    struct ibv_qp_init_attr wanted = {.send_cq = rail->queue->cq,
                                      .recv_cq = rail->queue->cq,
                                      .qp_type = IBV_QPT_RC,
                                      .cap = {.max_send_wr = VERBS_SENDS,
                                              .max_recv_wr = VERBS_RECEIVES,
                                              .max_send_sge = 1,
                                              .max_recv_sge = 1,
                                              .max_inline_data = VERBS_INLINE_BYTES}};
    rail->qp = device->verbs.create_qp(rail->hca->pd, &wanted);
    if (!rail->qp) { // some devices have no room for inline data
        wanted.cap.max_inline_data = 0;
        rail->qp = device->verbs.create_qp(rail->hca->pd, &wanted);
    }
    if (!rail->qp)
        return weft_fail(error, WEFT_SYSTEM, "verbs: %s: no queue pair (the device has %d): %s",
                         opened->name, opened->attributes.max_qp, weft_verbs_errno_name(errno));
    rail->inline_bytes = wanted.cap.max_inline_data;
    return WEFT_OK;
}

/* From reset to a state in which receives can be posted. */
static weft_status prepare(struct verbs_device *device, struct verbs_rail *rail,
                           struct weft_error *error)
{
    struct ibv_qp_attr attributes = {.pkey_index = rail->path->pkey_index,
                                     .port_num = device->ports.ports[rail->path->own].port,
                                     .qp_access_flags = VERBS_WRITE_ACCESS};
    rail->packet_number = randombytes_random() & 0xffffff;
    rail->sent = rail->done = rail->unsignalled = rail->num_pending = 0;
    rail->wants_signal = false;
    rail->receives_posted = rail->receives_owed = 0;
    if (!enlist(device, rail))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for queue pairs");
    WEFT_TRY(move(rail, STEP_INIT, &attributes, error));
    return post_receives(rail, VERBS_RECEIVES, error);
}

weft_status weft_verbs_rail_open(struct verbs_link *link, int path, struct verbs_rail **made,
                                 struct weft_error *error)
{
    struct verbs_device *device = weft_verbs_device_of(link);
    struct verbs_rail *rail = calloc(1, sizeof *rail);
    if (!rail)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for a queue pair");
    const struct weft_verbs_port *port = &device->ports.ports[link->paths[path].own];
    rail->link = link;
    rail->path = &link->paths[path];
    rail->hca = &device->hcas[port->device];
    rail->local_key = link->regions[port->device]->local_key;
    weft_status status = find_queue(device, rail, error);
    if (status == WEFT_OK)
        status = make_pair(device, rail, error);
    if (status == WEFT_OK)
        status = prepare(device, rail, error);
    if (status != WEFT_OK)
        weft_verbs_rail_close(&rail);
    else
        *made = rail;
    return status;
}

weft_status weft_verbs_rail_try(struct verbs_device *device, int hca, struct weft_error *error)
{
    struct verbs_rail rail = {.hca = &device->hcas[hca]};
    WEFT_TRY(find_queue(device, &rail, error));
    weft_status status = make_pair(device, &rail, error);
    if (status == WEFT_OK)
        device->verbs.destroy_qp(rail.qp);
    rail.queue->room += VERBS_RECEIVES + VERBS_SENDS;
    return status;
}

void weft_verbs_rail_close(struct verbs_rail **closed)
{
    struct verbs_rail *rail = *closed;
    *closed = NULL;
    if (!rail)
        return;
    struct verbs_device *device = weft_verbs_device_of(rail->link);
    struct verbs_rail **place = &device->dirty;
    while (*place && *place != rail)
        place = &(*place)->next_dirty;
    if (*place)
        *place = rail->next_dirty;
    if (rail->qp)
        device->verbs.destroy_qp(rail->qp);
    if (rail->queue)
        rail->queue->room += VERBS_RECEIVES + VERBS_SENDS;
    delist(device, rail);
    free(rail);
}

void weft_verbs_rails_stop(struct verbs_link *link)
{
    for (int i = 0; i < link->num_rails && link->rails[i]; i++) {
        struct verbs_rail *rail = link->rails[i];
        struct ibv_qp_attr attributes = {0};
        struct weft_error error;
        rail->num_pending = 0;
        rail->is_used = rail->is_tried = false;
        (void)!move(rail, STEP_STOP, &attributes, &error); // it can only be in that state already
    }
}

weft_status weft_verbs_rail_reset(struct verbs_rail *rail, struct weft_error *error)
{
    struct verbs_device *device = weft_verbs_device_of(rail->link);
    struct ibv_qp_attr attributes = {0};
    delist(device, rail);
    WEFT_TRY(move(rail, STEP_RESET, &attributes, error));
    return prepare(device, rail, error);
}

void weft_verbs_rail_forget(struct verbs_rail *rail)
{
    delist(weft_verbs_device_of(rail->link), rail);
    rail->receives_posted = 0;
}

weft_status weft_verbs_rail_join(struct verbs_rail *rail, const struct verbs_hello_rail *peer,
                                 struct weft_error *error)
{
    const struct verbs_device *device = weft_verbs_device_of(rail->link);
    const struct weft_verbs_options *options = &device->ports.options;
    struct ibv_qp_attr attributes = {.ah_attr = rail->path->address,
                                     .path_mtu = rail->path->mtu,
                                     .dest_qp_num = peer->queue_number,
                                     .rq_psn = peer->packet_number,
                                     .sq_psn = rail->packet_number,
                                     .min_rnr_timer = 1, // 10 us
                                     .timeout = (uint8_t)options->timeout,
                                     .retry_cnt = (uint8_t)options->retry,
                                     .rnr_retry = 7}; // for ever: credits bound it
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    if (peer->mtu != (uint32_t)rail->path->mtu)
        return weft_fail(error, WEFT_REMOTE, "verbs: %s: the peer's MTU is code %u, not %d",
                         weft_verbs_rail_text(rail, text, sizeof text), peer->mtu,
                         (int)rail->path->mtu);
    rail->ring_key = peer->ring_key;
    WEFT_TRY(move(rail, STEP_RECEIVE, &attributes, error));
    WEFT_TRY(move(rail, STEP_SEND, &attributes, error));
    rail->is_used = true;
    return WEFT_OK;
}

/* ---- sends ---- */

bool weft_verbs_rail_has_room(const struct verbs_rail *rail, uint32_t kept)
{
    return rail->sent - rail->done + kept < VERBS_SENDS;
}

/* If somebody waits for the last request, it tells when it is done. */
static void signal_last(struct verbs_rail *rail)
{
    if (!rail->unsignalled) {
        rail->wants_signal = false; // the last one is signalled
    } else if (rail->num_pending) {
        rail->pending[rail->num_pending - 1].send_flags |= IBV_SEND_SIGNALED;
        rail->unsignalled = 0;
        rail->counts.signalled++;
        rail->wants_signal = false;
    } else if (weft_verbs_rail_has_room(rail, 0)) {
        weft_verbs_mark(rail);
        rail->wants_signal = false;
    }
}

static void post(struct verbs_rail *rail)
{
    struct ibv_send_wr *bad = NULL;
    if (rail->wants_signal && rail->is_used)
        signal_last(rail);
    if (!rail->num_pending)
        return;
    for (uint32_t i = 0; i < rail->num_pending; i++)
        rail->pending[i].next = i + 1 < rail->num_pending ? &rail->pending[i + 1] : NULL;
    rail->counts.posts++;
    rail->num_pending = 0;
    int failure = ibv_post_send(rail->qp, rail->pending, &bad);
    if (failure) {
        char text[WEFT_VERBS_PATH_TEXT_BYTES];
        weft_verbs_trouble(rail->link, rail, "%s: work cannot be posted: %s",
                           weft_verbs_rail_text(rail, text, sizeof text), strerror(failure));
    }
}

static void soil(struct verbs_rail *rail)
{
    struct verbs_device *device = weft_verbs_device_of(rail->link);
    if (rail->is_dirty)
        return;
    rail->is_dirty = true;
    rail->next_dirty = device->dirty;
    device->dirty = rail;
}

void weft_verbs_rail_want(struct verbs_rail *rail)
{
    rail->wants_signal = true;
    soil(rail);
}

void weft_verbs_rail_write(struct verbs_rail *rail, const struct verbs_write *write)
{
    struct ibv_send_wr *request = &rail->pending[rail->num_pending];
    struct ibv_sge *part = &rail->parts[rail->num_pending];
    rail->num_pending++;
    rail->sent++;
    *part = (struct ibv_sge){
        .addr = (uintptr_t)write->from, .length = write->bytes, .lkey = write->local_key};
    *request = (struct ibv_send_wr){.wr_id = (uint64_t)rail->number << NUMBER_SHIFT | rail->sent,
                                    .sg_list = part,
                                    .num_sge = write->bytes > 0,
                                    .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
                                    .imm_data = htobe32(write->immediate)};
    request->wr.rdma.remote_addr = write->to;
    request->wr.rdma.rkey = write->remote_key;
    if (write->bytes > 0 && write->bytes <= rail->inline_bytes)
        request->send_flags |= IBV_SEND_INLINE;
    if (++rail->unsignalled == VERBS_SIGNAL_EVERY || write->is_signalled) {
        request->send_flags |= IBV_SEND_SIGNALED;
        rail->unsignalled = 0;
        rail->counts.signalled++;
    }
    rail->counts.work_requests++;
    rail->counts.bytes += write->bytes;
    soil(rail);
    if (rail->num_pending == VERBS_BATCH)
        post(rail);
}

void weft_verbs_flush(struct verbs_device *device)
{
    while (device->dirty) {
        struct verbs_rail *rail = device->dirty;
        device->dirty = rail->next_dirty;
        rail->is_dirty = false;
        post(rail); // may fail the link, which keeps its rails until it is disconnected
    }
}

/* ---- completions ---- */

/* Whether the rail, not what was asked of it, is to blame. Requests here are never invalid in
 * themselves: Soft-RoCE says so of what it has repeated from a wrong place. */
static bool is_of_path(enum ibv_wc_status status)
{
    return status == IBV_WC_RETRY_EXC_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
           status == IBV_WC_WR_FLUSH_ERR || status == IBV_WC_LOC_QP_OP_ERR ||
           status == IBV_WC_FATAL_ERR || status == IBV_WC_RESP_TIMEOUT_ERR ||
           status == IBV_WC_REM_ABORT_ERR;
}

static void failed(struct verbs_rail *rail, enum ibv_wc_status status)
{
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    if (!rail->is_used) // stopped: its requests are flushed
        return;
    weft_verbs_rail_text(rail, text, sizeof text);
    if (is_of_path(status) && rail->is_tried)
        weft_verbs_tried(rail, false);
    else if (is_of_path(status))
        weft_verbs_trouble(rail->link, rail, "%s: %s", text, weft_wc_status_name(status));
    else
        weft_verbs_link_fail(rail->link, "%s: %s", text, weft_wc_status_name(status));
}

static void received(struct verbs_rail *rail, const struct ibv_wc *completion)
{
    struct weft_error error;
    rail->receives_owed++;
    weft_verbs_arrived(rail, be32toh(completion->imm_data), completion->byte_len);
    if (rail->receives_owed < RECEIVES_BATCH || !rail->is_used)
        return;
    if (post_receives(rail, rail->receives_owed, &error) != WEFT_OK)
        weft_verbs_link_fail(rail->link, "%s", error.text);
    rail->receives_owed = 0;
}

static void completed(struct verbs_device *device, const struct ibv_wc *completion)
{
    struct verbs_rail *rail = find_rail(device, completion->wr_id);
    if (!rail || rail->link->state == VERBS_DEAD)
        return;
    bool is_receive = completion->wr_id >> RECEIVE_BIT;
    rail->receives_posted -= is_receive;
    if (completion->status != IBV_WC_SUCCESS)
        failed(rail, completion->status);
    else if (is_receive)
        received(rail, completion);
    else
        rail->done = (uint32_t)completion->wr_id;
    if (rail->is_tried && !is_receive && completion->status == IBV_WC_SUCCESS)
        weft_verbs_tried(rail, true);
}

int weft_verbs_poll(struct verbs_device *device)
{
    enum { MOST = 8 }; // polls of a queue before others have their turn
    struct ibv_wc completions[VERBS_POLL];
    int count = 0;
    for (int i = 0; i < device->ports.num_devices; i++) {
        struct verbs_hca *hca = &device->hcas[i];
        for (int k = 0; k < hca->num_queues; k++) {
            int got = VERBS_POLL;
            for (int j = 0; j < MOST && got == VERBS_POLL; j++) {
                got = ibv_poll_cq(hca->queues[k].cq, VERBS_POLL, completions);
                for (int c = 0; c < got; c++)
                    completed(device, &completions[c]);
                count += got > 0 ? got : 0;
            }
        }
    }
    return count;
}
