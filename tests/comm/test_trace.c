/*
 * SPDX-License-Identifier: Apache-2.0
 * WEFT_TRACE: after a run each rank has left a file that is valid JSON in the Chrome trace form,
 * with one event per operation, in order, and a prediction beside each measured time.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "tests/comm/processes.h"

enum { RANKS = 3, OPERATIONS = 6 };

static int body(struct rank_process *process)
{
    float *data = calloc(100000, sizeof *data);
    weft_status status = process->create_status;
    for (int i = 0; status == WEFT_OK && i < OPERATIONS; i++)
        status = weft_all_reduce(data, data, i % 2 ? 100000 : 4, WEFT_FLOAT32, WEFT_SUM,
                                 process->comm, NULL);
    free(data);
    return status != WEFT_OK;
}

static void check_file(const char *path)
{
    json_t *trace;
    struct weft_error error;
    if (weft_json_load(path, &trace, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_true(json_is_array(trace));
    // The name of the process, the barrier that ends the creation, then the calls.
    assert_int_equal(json_array_size(trace), 2 + OPERATIONS);
    double end = 0;
    for (size_t i = 1; i < json_array_size(trace); i++) {
        const json_t *event = json_array_get(trace, i);
        const json_t *arguments = json_object_get(event, "args");
        const char *name = json_string_value(json_object_get(event, "name"));
        double begin = json_number_value(json_object_get(event, "ts"));
        assert_string_equal(name, i == 1 ? "barrier" : "all_reduce");
        assert_string_equal(json_string_value(json_object_get(event, "ph")), "X");
        assert_true(begin >= end - 0.002);
        end = begin + json_number_value(json_object_get(event, "dur"));
        assert_true(json_number_value(json_object_get(arguments, "predicted_us")) > 0);
        assert_true(json_number_value(json_object_get(arguments, "measured_us")) > 0);
        assert_true(json_is_string(json_object_get(arguments, "algorithm")));
        bool is_large = i > 1 && i % 2 == 1;
        assert_int_equal(json_integer_value(json_object_get(arguments, "bytes")), i == 1 ? 0
                                                                                  : is_large
                                                                                      ? 400000
                                                                                      : 16);
    }
    json_decref(trace);
}

static void test_trace(void **state)
{
    (void)state;
    char folder[] = "/tmp/weft-trace-XXXXXX";
    int codes[RANKS], files = 0;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(rmdir(folder), 0); // the library makes it again
    setenv("WEFT_TRACE", folder, 1);
    run_ranks(RANKS, INT64_C(10000000000), 20, body, NULL, codes);
    assert_all_zero(codes, RANKS, "traced run");
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[512];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        check_file(path);
        assert_int_equal(unlink(path), 0);
        files++;
    }
    closedir(directory);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(files, RANKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
