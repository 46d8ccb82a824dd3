/*
 * SPDX-License-Identifier: Apache-2.0
 * MPI's side of tools/compare; each MPI compiles it with its own mpicc. Arguments: see peer.h.
 */
#include <mpi.h>

#include "tools/peers/peer.h"

static void prepare(struct peer_case *c)
{
    (void)c;
}

static void run(const struct peer_case *c)
{
    int count = (int)c->count;
    switch (c->collective) {
    case PEER_ALL_REDUCE:
        MPI_Allreduce(c->send, c->recv, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        return;
    case PEER_ALL_GATHER:
        MPI_Allgather(c->send, count, MPI_FLOAT, c->recv, count, MPI_FLOAT, MPI_COMM_WORLD);
        return;
    case PEER_REDUCE_SCATTER:
        MPI_Reduce_scatter_block(c->send, c->recv, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        return;
    case PEER_BROADCAST:
        MPI_Bcast(c->recv, count, MPI_FLOAT, 0, MPI_COMM_WORLD);
        return;
    case PEER_ALL_TO_ALL:
        MPI_Alltoall(c->send, count, MPI_FLOAT, c->recv, count, MPI_FLOAT, MPI_COMM_WORLD);
        return;
    case PEER_NUM_COLLECTIVES:
        return;
    }
}

static void barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

static double sum(double mine)
{
    double total;
    MPI_Allreduce(&mine, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return total;
}

static double max(double mine)
{
    double largest;
    MPI_Allreduce(&mine, &largest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return largest;
}

int main(int argc, char **argv)
{
    static const struct peer peer = {prepare, run, barrier, sum, max};
    int rank, num_ranks;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &num_ranks);
    int code = argc == 7 ? peer_sweep(&peer, rank, num_ranks, argv + 1) : 2;
    if (code != 0)
        MPI_Abort(MPI_COMM_WORLD, code);
    MPI_Finalize();
    return 0;
}
