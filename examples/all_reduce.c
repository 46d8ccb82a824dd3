/* SPDX-License-Identifier: Apache-2.0
 * The sum of all ranks' numbers, on every rank. Build: cc all_reduce.c $(pkg-config --cflags --libs
 * weft); run: weft launch -n 4 ./a.out */
#include <stdio.h>
#include <weft/weft.h>

int main(void)
{
    weft_context *context = NULL;
    weft_comm *comm = NULL;
    int failed = 1;
    if (weft_context_create(&context) != WEFT_OK ||
        weft_comm_create_from_environment(context, &comm, NULL) != WEFT_OK) {
        fprintf(stderr, "cannot start: %s\n", weft_context_error_text(context));
    } else {
        int rank = weft_comm_rank(comm), num_ranks = weft_comm_num_ranks(comm);
        float numbers[3] = {1, (float)rank, 0.5f};
        if (weft_all_reduce(numbers, numbers, 3, WEFT_FLOAT32, WEFT_SUM, comm, NULL) != WEFT_OK ||
            weft_comm_finalize(comm, NULL) != WEFT_OK)
            fprintf(stderr, "rank %d: %s\n", rank, weft_comm_error_text(comm));
        else
            failed = printf("rank %d of %d: %g %g %g\n", rank, num_ranks, (double)numbers[0],
                            (double)numbers[1], (double)numbers[2]) < 0;
    }
    weft_comm_destroy(&comm);
    weft_context_destroy(&context);
    return failed;
}
