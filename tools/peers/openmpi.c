/*
 * SPDX-License-Identifier: Apache-2.0
 * MPI's side of tools/compare: times MPI_Allreduce as weft bench times weft_all_reduce. Prints one
 * line "BYTES MICROSECONDS" per size. Usage: MIN MAX FACTOR ITERATIONS WARM-UPS.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc != 6) {
        if (rank == 0)
            fprintf(stderr, "usage: MIN MAX FACTOR ITERATIONS WARM-UPS\n");
        MPI_Finalize();
        return 2;
    }
    size_t least = strtoull(argv[1], NULL, 10), most = strtoull(argv[2], NULL, 10);
    size_t factor = strtoull(argv[3], NULL, 10);
    int iterations = atoi(argv[4]), warmups = atoi(argv[5]);
    float *send = calloc(1, most), *recv = calloc(1, most);
    if (!send || !recv || factor < 2 || iterations < 1)
        MPI_Abort(MPI_COMM_WORLD, 2);
    for (size_t bytes = least; bytes <= most; bytes *= factor) {
        double slowest, took;
        int count = (int)(bytes / sizeof(float));
        for (int i = 0; i < warmups; i++)
            MPI_Allreduce(send, recv, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        MPI_Barrier(MPI_COMM_WORLD);
        double begin = MPI_Wtime();
        for (int i = 0; i < iterations; i++)
            MPI_Allreduce(send, recv, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        took = (MPI_Wtime() - begin) / iterations * 1e6;
        MPI_Reduce(&took, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
        if (rank == 0)
            printf("%zu %.4f\n", bytes, slowest);
    }
    free(send);
    free(recv);
    MPI_Finalize();
    return 0;
}
