/*
 * SPDX-License-Identifier: Apache-2.0
 * Counts above 2^31: an all-reduce of 2^31 + 5 bytes, in place, on 2 ranks. Needs 4.3 GB; skipped
 * with a message where less is free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/comm/processes.h"

static const size_t large_count = (UINT64_C(1) << 31) + 5;
static const size_t needed_bytes = UINT64_C(5) << 30;

static uint8_t pattern(int rank, size_t element)
{
    return (uint8_t)(element * 3 + (element >> 20) + (size_t)rank * 7);
}

static int body(struct rank_process *process)
{
    if (process->create_status != WEFT_OK)
        return 2;
    uint8_t *data = malloc(large_count);
    if (!data)
        return 3;
    for (size_t e = 0; e < large_count; e++)
        data[e] = pattern(process->rank, e);
    weft_status status =
        weft_all_reduce(data, data, large_count, WEFT_UINT8, WEFT_SUM, process->comm, NULL);
    if (status != WEFT_OK) {
        fprintf(stderr, "%s\n", weft_comm_error_text(process->comm));
        return 4;
    }
    for (size_t e = 0; e < large_count; e++)
        if (data[e] != (uint8_t)(pattern(0, e) + pattern(1, e)))
            return 5;
    free(data);
    return 0;
}

static void test_large(void **state)
{
    (void)state;
    int codes[2];
    if ((size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) < needed_bytes) {
        print_message("skipped: less than 5 GiB of memory is free\n");
        skip();
    }
    run_ranks(2, INT64_C(100000000000), 110, body, NULL, codes);
    assert_all_zero(codes, 2, "2^31 + 5 elements");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
