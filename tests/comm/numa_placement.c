/*
 * SPDX-License-Identifier: Apache-2.0
 * A rank on a machine of several NUMA nodes: it is bound to a core of one, and all memory that it
 * shares lies there, also what other ranks touched first. Run it under `weft launch` with a rank
 * for each core (tests/comm/numa.sh does, in a virtual machine).
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "collectives/comm/internal.h"

enum { PAGE = 4096, COUNT = 1 << 19, MAX_RANKS = 64 };

static int rank, num_ranks, failures;

static void must(weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return;
    fprintf(stderr, "rank %d: %s: %s\n", rank, what, weft_status_text(status));
    exit(3);
}

// Where the pages are that are there at all: they lie on this rank's node, and some are there.
static void expect_here(const char *what, const char *memory, size_t bytes)
{
    unsigned here;
    int num_here = 0, num_elsewhere = 0;
    if (getcpu(NULL, &here) != 0)
        exit(3);
    for (size_t at = 0; at < bytes; at += PAGE) {
        const void *page = memory + at;
        int node = -ENOENT;
        if (syscall(SYS_move_pages, 0, 1ul, &page, NULL, &node, 0) != 0)
            node = -errno;
        num_here += node == (int)here;
        num_elsewhere += node >= 0 && node != (int)here;
    }
    bool is_wrong = num_here == 0 || num_elsewhere > 0;
    failures += is_wrong;
    printf("rank %d on node %u: %s: %d pages here, %d elsewhere%s\n", rank, here, what, num_here,
           num_elsewhere, is_wrong ? " FAILED" : "");
}

// One core each, and as many ranks on one node as on any other.
static void expect_spread(weft_comm *comm)
{
    int32_t nodes[MAX_RANKS], mine;
    unsigned node;
    cpu_set_t allowed;
    if (getcpu(NULL, &node) != 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        exit(3);
    mine = (int32_t)node;
    must(weft_all_gather(&mine, nodes, 1, WEFT_INT32, comm, NULL), "all-gather");
    bool is_wrong = CPU_COUNT(&allowed) != 1 || nodes[0] == nodes[num_ranks - 1];
    for (int r = 0; r + 1 < num_ranks; r++)
        is_wrong |= nodes[r] > nodes[r + 1];
    failures += is_wrong;
    if (is_wrong)
        printf("rank %d may use %d cores, on node %u of %d ... %d FAILED\n", rank,
               CPU_COUNT(&allowed), node, nodes[0], nodes[num_ranks - 1]);
}

static void all_reduce(weft_comm *comm, const float *send, float *recv, size_t count)
{
    must(weft_all_reduce(send, recv, count, WEFT_FLOAT32, WEFT_SUM, comm, NULL), "all-reduce");
    size_t num_wrong = 0;
    for (size_t i = 0; i < count; i++)
        num_wrong +=
            recv[i] != (float)(num_ranks * (num_ranks - 1) / 2) + (float)(num_ranks * (i % 97));
    if (num_wrong)
        printf("rank %d: %zu of %zu sums FAILED\n", rank, num_wrong, count);
    failures += num_wrong > 0;
}

// A communicator whose rank `late` comes last, so that others wait for it, and look where it has
// not written yet.
static void try_late(weft_context *context, weft_comm *world, int late)
{
    weft_comm *comm = NULL;
    void *send, *recv, *private_send = malloc(COUNT * sizeof(float)),
                       *private_recv = malloc(COUNT * sizeof(float));
    const struct timespec a_while = {.tv_nsec = 300000000};
    must(weft_comm_duplicate(world, &comm, NULL), "duplicate");
    must(weft_mem_alloc(context, COUNT * sizeof(float), &send), "memory");
    must(weft_mem_alloc(context, COUNT * sizeof(float), &recv), "memory");
    if (!private_send || !private_recv || !comm->is_flat)
        exit(3);
    for (size_t i = 0; i < COUNT; i++)
        ((float *)send)[i] = ((float *)private_send)[i] = (float)rank + (float)(i % 97);
    if (rank == late)
        nanosleep(&a_while, NULL);
    all_reduce(comm, send, private_recv, 2);             // slots
    all_reduce(comm, send, recv, COUNT);                 // others write into `recv`
    all_reduce(comm, private_send, private_recv, COUNT); // stages
    const char *area = comm->flat.areas[rank];
    expect_here("slots", area, weft_flat_area_bytes(comm->flat_bytes));
    area = comm->shared.areas[rank];
    expect_here("stages", area, weft_shared_area_bytes(comm->shared.stage_bytes));
    expect_here("input", send, COUNT * sizeof(float));
    expect_here("output", recv, COUNT * sizeof(float));
    must(weft_mem_free(context, send), "memory");
    must(weft_mem_free(context, recv), "memory");
    free(private_send);
    free(private_recv);
    weft_comm_destroy(&comm);
}

int main(void)
{
    weft_context *context = NULL;
    weft_comm *world = NULL;
    must(weft_context_create(&context), "context");
    must(weft_comm_create_from_environment(context, &world, NULL), "communicator");
    rank = weft_comm_rank(world);
    num_ranks = weft_comm_num_ranks(world);
    if (num_ranks > MAX_RANKS)
        return 2;
    expect_spread(world);
    try_late(context, world, 0);
    try_late(context, world, num_ranks - 1);
    must(weft_comm_finalize(world, NULL), "finalize");
    weft_comm_destroy(&world);
    weft_context_destroy(&context);
    return failures > 0;
}
