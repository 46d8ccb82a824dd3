/*
 * SPDX-License-Identifier: Apache-2.0
 * Ports, paths and registered memory on real devices: run in a virtual machine with Soft-RoCE
 * (tools/rdma-vm), as root.
 *
 *   weft_verbs_parts HCAS     devices rxe0, rxe1, ... on interfaces v0, v1, ... with 10.9.R.(10+I)
 *
 * Between every two ports of one rail, itself included, a path is found at both ends, and one write
 * over it must arrive: so its addresses and indices are right. Prints a line for each part; exits
 * with 1 at the first thing that is not as it should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/verbs_words.h"
#include "transport/verbs_match.h"
#include "transport/verbs_memory.h"

enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, DEADLINE_S = 20, MANY = 1024 };

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct weft_error error;

static void find(const struct weft_verbs *verbs, const char *hca, struct weft_verbs_ports *ports)
{
    struct weft_verbs_options options = WEFT_VERBS_OPTIONS_DEFAULT;
    options.hca = hca;
    weft_status status = weft_verbs_ports_find(verbs, &options, "/", NULL, ports, &error);
    CHECK(status == WEFT_OK, "%s", error.text);
}

static void refuse(const struct weft_verbs *verbs, const struct weft_verbs_options *options,
                   const char *words)
{
    struct weft_verbs_ports ports;
    weft_status status = weft_verbs_ports_find(verbs, options, "/", NULL, &ports, &error);
    CHECK(status != WEFT_OK, "was not refused");
    CHECK(strstr(error.text, words), "'%s' does not say '%s'", error.text, words);
    printf("refused: %s\n", error.text);
}

static void check_ports(const struct weft_verbs *verbs, int num_hcas)
{
    struct weft_verbs_ports ports;
    find(verbs, "", &ports);
    CHECK(ports.num_ports == num_hcas, "%d ports, not %d", ports.num_ports, num_hcas);
    for (int i = 0; i < num_hcas; i++) {
        const struct weft_verbs_port *port = &ports.ports[i];
        char name[80], expected[80], text[WEFT_GID_TEXT_BYTES];
        weft_verbs_port_name(&ports, i, name, sizeof name);
        snprintf(expected, sizeof expected, "rxe%d:1", i);
        CHECK(strcmp(name, expected) == 0, "%s is not %s", name, expected);
        CHECK(port->gid.kind == WEFT_GID_ROCE_V2 && weft_gid_scope(port->gid.raw) == WEFT_GID_IPV4,
              "%s %s", name, weft_gid_text(port->gid.raw, text));
        CHECK(port->gid.raw[12] == 10 && port->gid.raw[15] == 10 + i, "%s", text);
        snprintf(expected, sizeof expected, "v%d", i);
        CHECK(strcmp(port->gid.interface, expected) == 0, "on %s", port->gid.interface);
        CHECK(port->rate_mbps > 0 && port->pkey == 0xffff, "%lld", (long long)port->rate_mbps);
        printf("%s: %s %s (GID %d, /%d) on %s, MTU %d, %lld Mb/s, P_Key 0x%04x, distance %d\n",
               name, weft_gid_kind_name(port->gid.kind), weft_gid_text(port->gid.raw, text),
               port->gid.index, port->prefix_bits - 96, port->gid.interface,
               weft_mtu_bytes(port->attributes.active_mtu), (long long)port->rate_mbps, port->pkey,
               ports.devices[port->device].distance);
    }
    weft_verbs_ports_close(&ports);
    find(verbs, "=rxe1:1", &ports);
    CHECK(ports.num_ports == 1 && strcmp(ports.devices[0].name, "rxe1") == 0, "another one");
    weft_verbs_ports_close(&ports);
    find(verbs, "^rxe0", &ports);
    CHECK(ports.num_ports == num_hcas - 1, "%d ports", ports.num_ports);
    weft_verbs_ports_close(&ports);
}

static void check_mistakes(const struct weft_verbs *verbs)
{
    struct weft_verbs_options options = WEFT_VERBS_OPTIONS_DEFAULT;
    options.hca = "mlx5";
    refuse(verbs, &options, "nothing here is called 'mlx5'; there is: rxe0, rxe1");
    options.hca = NULL;
    options.gid_index = 77;
    refuse(verbs, &options, "rxe0:1 has no GID 77; it has 0: RoCE v2 fe80");
    options.gid_index = -1;
    options.pkey = "0x8001";
    refuse(verbs, &options, "rxe0:1 is not in partition 0x8001; it is in 0xffff");
}

/* ---- writes over paths ---- */

struct end {
    struct weft_verbs_ports ports;
    struct weft_verbs_description described;
    struct weft_verbs_path path;
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    struct ibv_qp *qp;
    struct weft_verbs_memory *memory;
    const struct weft_verbs_region *region;
    void *data;
};

static void open_end(const struct weft_verbs *verbs, int hca, struct end *end)
{
    char name[16];
    snprintf(name, sizeof name, "=rxe%d", hca);
    find(verbs, name, &end->ports);
    weft_verbs_describe(&end->ports, &end->described);
    struct ibv_context *context = end->ports.devices[0].context;
    CHECK((end->pd = verbs->alloc_pd(context)), "%s", strerror(errno));
    CHECK((end->cq = verbs->create_cq(context, 16, NULL, NULL, 0)), "%s", strerror(errno));
    struct ibv_qp_init_attr attributes = {
        .send_cq = end->cq,
        .recv_cq = end->cq,
        .cap = {.max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC,
    };
    CHECK((end->qp = verbs->create_qp(end->pd, &attributes)), "%s", strerror(errno));
    CHECK(weft_verbs_memory_create(verbs, end->pd, MANY, "/", &end->memory, &error) == WEFT_OK,
          "%s", error.text);
    CHECK((end->data = calloc(1, 4096)), "no memory");
    const struct weft_verbs_range range = {
        .start = end->data, .bytes = 4096, .access = ACCESS, .dmabuf = -1};
    CHECK(weft_verbs_memory_acquire(end->memory, &range, &end->region, &error) == WEFT_OK, "%s",
          error.text);
}

static void close_end(const struct weft_verbs *verbs, struct end *end)
{
    CHECK(verbs->destroy_qp(end->qp) == 0, "%s", strerror(errno));
    weft_verbs_memory_release(end->memory, end->region);
    free(end->data);
    weft_verbs_memory_destroy(&end->memory);
    CHECK(verbs->destroy_cq(end->cq) == 0, "%s", strerror(errno));
    CHECK(verbs->dealloc_pd(end->pd) == 0, "a region is left");
    weft_verbs_ports_close(&end->ports);
}

/* Finds the path as it would over the wire. */
static void find_path(struct end *end, const struct end *peer)
{
    unsigned char wire[WEFT_VERBS_WIRE_BYTES];
    struct weft_verbs_description read;
    struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS];
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    int count = 0;
    weft_verbs_description_write(&peer->described, wire);
    CHECK(weft_verbs_description_read(wire, &read, &error) == WEFT_OK, "%s", error.text);
    CHECK(weft_verbs_match(&end->ports, &end->described, &read, paths, &count, &error) == WEFT_OK,
          "%s", error.text);
    CHECK(count == 1, "%d paths", count);
    end->path = paths[0];
    printf("path: %s\n", weft_verbs_path_text(&end->ports, &read, &paths[0], text));
}

static void ready(const struct weft_verbs *verbs, struct end *end, uint32_t peer_qp)
{
    const struct weft_verbs_options *options = &end->ports.options;
    struct ibv_qp_attr a = {.qp_state = IBV_QPS_INIT,
                            .pkey_index = end->path.pkey_index,
                            .port_num = end->path.address.port_num,
                            .qp_access_flags = ACCESS};
    int failure = verbs->modify_qp(
        end->qp, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    CHECK(failure == 0, "%s", strerror(failure));
    a = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTR,
                             .path_mtu = end->path.mtu,
                             .dest_qp_num = peer_qp,
                             .ah_attr = end->path.address,
                             .max_dest_rd_atomic = 1,
                             .min_rnr_timer = 12};
    failure =
        verbs->modify_qp(end->qp, &a,
                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                             IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    CHECK(failure == 0, "%s", strerror(failure));
    a = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS,
                             .timeout = (uint8_t)options->timeout,
                             .retry_cnt = (uint8_t)options->retry,
                             .rnr_retry = 7,
                             .max_rd_atomic = 1};
    failure = verbs->modify_qp(end->qp, &a,
                               IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                   IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
    CHECK(failure == 0, "%s", strerror(failure));
}

static void write_once(struct end *from, const struct end *to)
{
    struct ibv_sge piece = {from->region->start, 4096, from->region->local_key};
    struct ibv_send_wr *bad, request = {
                                 .sg_list = &piece,
                                 .num_sge = 1,
                                 .opcode = IBV_WR_RDMA_WRITE,
                                 .send_flags = IBV_SEND_SIGNALED,
                                 .wr.rdma = {to->region->start, to->region->remote_key},
                             };
    struct ibv_wc completion;
    int count = 0;
    for (int i = 0; i < 4096; i++)
        ((unsigned char *)from->data)[i] = (unsigned char)(i * 7 + 1);
    memset(to->data, 0, 4096);
    CHECK(ibv_post_send(from->qp, &request, &bad) == 0, "%s", strerror(errno));
    for (time_t end = time(NULL) + DEADLINE_S; count == 0 && time(NULL) < end;)
        count = ibv_poll_cq(from->cq, 1, &completion);
    CHECK(count == 1, "no completion");
    CHECK(completion.status == IBV_WC_SUCCESS, "%s", weft_wc_status_name(completion.status));
    CHECK(memcmp(from->data, to->data, 4096) == 0, "other bytes");
}

static void check_paths(const struct weft_verbs *verbs, int num_hcas)
{
    for (int i = 0; i < num_hcas; i++) {
        for (int j = i; j < num_hcas; j++) {
            struct end ends[2];
            open_end(verbs, i, &ends[0]);
            open_end(verbs, j, &ends[1]);
            // networks of different rails are not joined
            if (memcmp(ends[0].described.ports[0].gid, ends[1].described.ports[0].gid, 15) != 0) {
                close_end(verbs, &ends[0]);
                close_end(verbs, &ends[1]);
                continue;
            }
            find_path(&ends[0], &ends[1]);
            find_path(&ends[1], &ends[0]);
            ready(verbs, &ends[0], ends[1].qp->qp_num);
            ready(verbs, &ends[1], ends[0].qp->qp_num);
            write_once(&ends[0], &ends[1]);
            write_once(&ends[1], &ends[0]);
            close_end(verbs, &ends[0]);
            close_end(verbs, &ends[1]);
        }
    }
    struct weft_verbs_ports ports;
    struct weft_verbs_description described;
    struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS];
    int count = 0;
    find(verbs, "", &ports);
    weft_verbs_describe(&ports, &described);
    CHECK(weft_verbs_match(&ports, &described, &described, paths, &count, &error) == WEFT_OK, "%s",
          error.text);
    CHECK(count == num_hcas, "%d paths", count);
    for (int i = 0; i < count; i++)
        CHECK(paths[i].own == i && paths[i].peer == i, "crossed");
    weft_verbs_ports_close(&ports);
}

/* ---- memory ---- */

static void check_kept(const struct weft_verbs *verbs)
{
    enum { BLOCKS = 64, MOST = 8, PAGE = 4096 };
    struct weft_verbs_ports ports;
    struct weft_verbs_memory *memory = NULL;
    struct weft_verbs_memory_counts counts;
    find(verbs, "=rxe0", &ports);
    struct ibv_pd *pd = verbs->alloc_pd(ports.devices[0].context);
    CHECK(weft_verbs_memory_create(verbs, pd, MOST, "/", &memory, &error) == WEFT_OK, "%s",
          error.text);
    char *data =
        mmap(NULL, BLOCKS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned seed = 1;
    for (int i = 0; i < 400; i++) {
        seed = seed * 1103515245u + 12345u;
        struct weft_verbs_range range = {.start = data + seed / 65536 % BLOCKS * PAGE,
                                         .bytes = PAGE,
                                         .access = ACCESS | (int)IBV_ACCESS_RELAXED_ORDERING,
                                         .is_kept = true,
                                         .dmabuf = -1};
        const struct weft_verbs_region *region = NULL;
        CHECK(weft_verbs_memory_acquire(memory, &range, &region, &error) == WEFT_OK, "%s",
              error.text);
        weft_verbs_memory_release(memory, region);
        weft_verbs_memory_count(memory, &counts);
        CHECK(counts.num_regions <= MOST, "%d regions", counts.num_regions);
    }
    printf("kept: %d regions of at most %d, %llu found, %llu registered, %llu evicted\n",
           counts.num_regions, MOST, (unsigned long long)counts.num_found,
           (unsigned long long)counts.num_registered, (unsigned long long)counts.num_evicted);
    CHECK(counts.num_found > 20 && counts.num_evicted > 100, "other counts");
    CHECK(weft_verbs_memory_forget(memory, data, BLOCKS * PAGE) == 0, "in use");
    weft_verbs_memory_count(memory, &counts);
    CHECK(counts.num_regions == 0, "%d regions", counts.num_regions);
    munmap(data, BLOCKS * PAGE);
    struct weft_verbs_range gone = {.start = data, .bytes = PAGE, .access = ACCESS, .dmabuf = -1};
    const struct weft_verbs_region *region = NULL;
    CHECK(weft_verbs_memory_acquire(memory, &gone, &region, &error) == WEFT_INVALID_ARGUMENT, "%s",
          error.text);
    printf("refused: %s\n", error.text);
    gone.is_gpu = true;
    gone.dmabuf = open("/dev/null", O_RDWR);
    CHECK(weft_verbs_memory_acquire(memory, &gone, &region, &error) == WEFT_UNSUPPORTED, "%s",
          error.text);
    printf("refused: %s\n", error.text);
    close(gone.dmabuf);
    weft_verbs_memory_destroy(&memory);
    CHECK(verbs->dealloc_pd(pd) == 0, "a region is left");
    weft_verbs_ports_close(&ports);
}

/* Root may lock everything; without that ability the limit counts. */
static void give_up_locking(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data) == 0, "%s", strerror(errno));
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    data[0].permitted &= ~(1u << CAP_IPC_LOCK);
    CHECK(syscall(SYS_capset, &header, data) == 0, "%s", strerror(errno));
    CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){4 << 20, 4 << 20}) == 0, "%s",
          strerror(errno));
}

static void check_memlock(const struct weft_verbs *verbs)
{
    struct weft_verbs_ports ports;
    struct weft_verbs_memory *memory = NULL;
    const struct weft_verbs_region *used = NULL, *region = NULL;
    size_t bytes = 16 << 20;
    find(verbs, "=rxe0", &ports);
    struct ibv_pd *pd = verbs->alloc_pd(ports.devices[0].context);
    CHECK(weft_verbs_memory_create(verbs, pd, MANY, "/", &memory, &error) == WEFT_OK, "%s",
          error.text);
    char *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct weft_verbs_range range = {
        .start = data, .bytes = 2 << 20, .access = ACCESS, .is_kept = true, .dmabuf = -1};
    CHECK(weft_verbs_memory_acquire(memory, &range, &region, &error) == WEFT_OK, "%s", error.text);
    weft_verbs_memory_release(memory, region);
    range.start = data + (4 << 20);
    range.bytes = 3 << 20; // fits only without the first
    CHECK(weft_verbs_memory_acquire(memory, &range, &used, &error) == WEFT_OK, "%s", error.text);
    struct weft_verbs_memory_counts counts;
    weft_verbs_memory_count(memory, &counts);
    CHECK(counts.num_evicted == 1 && counts.num_regions == 1, "%d", counts.num_regions);
    range.start = data + (8 << 20);
    CHECK(weft_verbs_memory_acquire(memory, &range, &region, &error) == WEFT_OUT_OF_MEMORY, "%s",
          error.text);
    printf("refused: %s\n", error.text);
    CHECK(strstr(error.text, "this process may lock 4 MiB (RLIMIT_MEMLOCK) and has locked 3 MiB"),
          "%s", error.text);
    weft_verbs_memory_release(memory, used);
    weft_verbs_memory_destroy(&memory);
    CHECK(verbs->dealloc_pd(pd) == 0, "a region is left");
    weft_verbs_ports_close(&ports);
}

/* ---- events ---- */

static void run(const char *command)
{
    CHECK(system(command) == 0, "%s", command);
}

static void await_event(const struct weft_verbs *verbs, struct ibv_context *context,
                        enum ibv_event_type type)
{
    for (;;) {
        struct pollfd readable = {.fd = context->async_fd, .events = POLLIN};
        struct ibv_async_event event;
        CHECK(poll(&readable, 1, DEADLINE_S * 1000) == 1, "no event '%s'",
              weft_async_event_name(type));
        CHECK(verbs->get_async_event(context, &event) == 0, "%s", strerror(errno));
        printf("event: %s\n", weft_async_event_name(event.event_type));
        bool is_it = event.event_type == type;
        verbs->ack_async_event(&event);
        if (is_it)
            return;
    }
}

static void check_events(const struct weft_verbs *verbs)
{
    struct weft_verbs_ports ports;
    bool has_moved = false;
    find(verbs, "=rxe0", &ports);
    struct ibv_context *context = ports.devices[0].context;
    run("ip link set v0 down");
    await_event(verbs, context, IBV_EVENT_PORT_ERR);
    CHECK(weft_verbs_port_renew(&ports, 0, "/", &has_moved, &error) == WEFT_UNSUPPORTED, "is up");
    printf("renewed: %s\n", error.text);
    struct weft_verbs_options options = WEFT_VERBS_OPTIONS_DEFAULT;
    options.hca = "=rxe0";
    refuse(verbs, &options, "no RDMA port is usable: rxe0:1 (down, physically ");
    run("ip link set v0 up");
    await_event(verbs, context, IBV_EVENT_PORT_ACTIVE);
    CHECK(weft_verbs_port_renew(&ports, 0, "/", &has_moved, &error) == WEFT_OK, "%s", error.text);
    CHECK(!has_moved, "to another address");
    run("ip addr add 10.9.7.7/24 dev v0 && ip addr flush dev v0 to 10.9.0.0/22");
    await_event(verbs, context, IBV_EVENT_GID_CHANGE);
    for (int i = 0; i < 100 && !has_moved; i++) {
        CHECK(weft_verbs_port_renew(&ports, 0, "/", &has_moved, &error) == WEFT_OK, "%s",
              error.text);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    CHECK(has_moved && ports.ports[0].gid.raw[14] == 7, "index %d", ports.ports[0].gid.index);
    CHECK(ports.ports[0].prefix_bits == 96 + 24, "%d", ports.ports[0].prefix_bits);
    printf("moved: GID %d\n", ports.ports[0].gid.index);
    weft_verbs_ports_close(&ports);
}

int main(int argc, char **argv)
{
    struct weft_verbs verbs;
    int num_hcas = argc == 2 ? atoi(argv[1]) : 0;
    CHECK(num_hcas >= 2 && num_hcas <= WEFT_VERBS_MAX_PORTS, "usage: weft_verbs_parts HCAS");
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(weft_verbs_open(NULL, &verbs, &error) == WEFT_OK, "%s", error.text);
    check_ports(&verbs, num_hcas);
    check_mistakes(&verbs);
    check_paths(&verbs, num_hcas);
    check_kept(&verbs);
    check_events(&verbs);
    give_up_locking(); // for good, so last
    check_memlock(&verbs);
    weft_verbs_close(&verbs);
    printf("all as it should be\n");
    return 0;
}
