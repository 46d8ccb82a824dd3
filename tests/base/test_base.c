/*
 * SPDX-License-Identifier: Apache-2.0
 * Errors, log, tables of names, deadlines and numbers as people read them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"

/* ---- errors ---- */

static void test_fail(void **state)
{
    (void)state;
    struct weft_error error;
    char text[2 * WEFT_ERROR_TEXT_BYTES];
    assert_int_equal(weft_fail(NULL, WEFT_TIMEOUT, "%d", 1), WEFT_TIMEOUT);
    assert_int_equal(weft_fail(&error, WEFT_REMOTE, "rank %d %s", 7, "left"), WEFT_REMOTE);
    assert_int_equal(error.status, WEFT_REMOTE);
    assert_string_equal(error.text, "rank 7 left");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(&error, 0x5a, sizeof error);
    assert_int_equal(weft_fail(&error, WEFT_SYSTEM, "%s", text), WEFT_SYSTEM);
    assert_int_equal(strlen(error.text), WEFT_ERROR_TEXT_BYTES - 1);
    assert_memory_equal(error.text, text, WEFT_ERROR_TEXT_BYTES - 1);
}

static void test_prefix(void **state)
{
    (void)state;
    struct weft_error error;
    assert_int_equal(weft_fail_prefix(NULL, "any"), WEFT_INTERNAL);
    (void)weft_fail(&error, WEFT_NOT_FOUND, "no 100%% of it");
    assert_int_equal(weft_fail_prefix(&error, "file %d", 3), WEFT_NOT_FOUND);
    assert_int_equal(error.status, WEFT_NOT_FOUND);
    assert_string_equal(error.text, "file 3: no 100% of it");
}

/* Prefixes and sentences of every length near the end of the buffer: cut, never beyond it. */
static void test_prefix_is_cut(void **state)
{
    (void)state;
    struct {
        struct weft_error error;
        char after[16];
    } guarded;
    char long_text[WEFT_ERROR_TEXT_BYTES + 8], expected[2 * WEFT_ERROR_TEXT_BYTES + 32];
    memset(long_text, 'p', sizeof long_text);
    static const int old_lengths[] = {0, 1, 5, 500, 511};
    for (int length = WEFT_ERROR_TEXT_BYTES - 8; length < WEFT_ERROR_TEXT_BYTES + 8; length++)
        for (size_t i = 0; i < sizeof old_lengths / sizeof *old_lengths; i++) {
            char old[WEFT_ERROR_TEXT_BYTES] = "";
            memset(old, 'o', (size_t)old_lengths[i]);
            memset(guarded.after, 0x5a, sizeof guarded.after);
            (void)weft_fail(&guarded.error, WEFT_MISMATCH, "%s", old);
            assert_int_equal(weft_fail_prefix(&guarded.error, "%.*s", length, long_text),
                             WEFT_MISMATCH);
            snprintf(expected, sizeof expected, "%.*s: %s", length, long_text, old);
            expected[WEFT_ERROR_TEXT_BYTES - 1] = '\0';
            assert_string_equal(guarded.error.text, expected);
            for (size_t j = 0; j < sizeof guarded.after; j++)
                assert_int_equal(guarded.after[j], 0x5a);
        }
}

static void test_status_names(void **state)
{
    (void)state;
    static const struct {
        weft_status status;
        const char *name;
    } rows[] = {
#define ROW(code, text) {WEFT_##code, "WEFT_" #code},
        WEFT_STATUS_MAP(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(rows[i].status, i);
        assert_string_equal(weft_status_name(rows[i].status), rows[i].name);
        assert_string_not_equal(weft_status_text(rows[i].status), "unknown status");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(weft_status_text(rows[i].status),
                                    weft_status_text(rows[j].status));
    }
    assert_int_equal(WEFT_OK, 0);
    assert_string_equal(weft_status_text((weft_status)1000), "unknown status");
    assert_string_equal(weft_status_name((weft_status)1000), "WEFT_?");
}

/* ---- log ---- */

static void test_level_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "Warn", "warning", "war", "5", "none ", "debug2"};
    assert_int_equal(weft_log_level_from_name("none"), WEFT_LOG_NONE);
    assert_int_equal(weft_log_level_from_name("error"), WEFT_LOG_ERROR);
    assert_int_equal(weft_log_level_from_name("warn"), WEFT_LOG_WARN);
    assert_int_equal(weft_log_level_from_name("info"), WEFT_LOG_INFO);
    assert_int_equal(weft_log_level_from_name("debug"), WEFT_LOG_DEBUG);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_log_level_from_name(bad[i]), -1);
}

static void test_lines(void **state)
{
    (void)state;
    char said[4096], start[64], text[2000];
    FILE *file = tmpfile();
    assert_non_null(file);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    weft_log_set_level(WEFT_LOG_WARN);
    WEFT_LOG(WEFT_LOG_INFO, "unheard");
    WEFT_LOG(WEFT_LOG_WARN, "heard %d", 1);
    WEFT_LOG(WEFT_LOG_ERROR, "%s", text);
    weft_log_set_level(WEFT_LOG_NONE);
    WEFT_LOG(WEFT_LOG_ERROR, "unheard");
    weft_log_set_level(WEFT_LOG_WARN);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t bytes = fread(said, 1, sizeof said - 1, file);
    said[bytes] = '\0';
    fclose(file);
    int length = snprintf(start, sizeof start, "weft[%d] warn: heard 1\n", (int)getpid());
    assert_memory_equal(said, start, (size_t)length);
    assert_null(strstr(said, "unheard"));
    // A line too long is cut, and still ends.
    char *second = said + length;
    assert_int_equal(strlen(second), 1023);
    assert_ptr_equal(strchr(second, '\n'), second + 1022);
}

/* ---- tables ---- */

static void test_dtypes(void **state)
{
    (void)state;
    static const size_t bytes[WEFT_NUM_DTYPES] = {4, 8, 2, 2, 4, 8, 1, 1, 2, 2, 4, 8, 1, 1};
    weft_dtype dtype = WEFT_UINT8;
    struct weft_error error = {0};
    for (int i = 0; i < WEFT_NUM_DTYPES; i++) {
        dtype = (weft_dtype)(i == 0);
        assert_int_equal(weft_dtype_from_name(weft_dtypes[i].name, &dtype, NULL), WEFT_OK);
        assert_int_equal(dtype, i);
        dtype = (weft_dtype)(i == 0);
        assert_int_equal(weft_dtype_from_name(weft_dtypes[i].nccl_name, &dtype, NULL), WEFT_OK);
        assert_int_equal(dtype, i);
        assert_int_equal(weft_dtype_bytes((weft_dtype)i), bytes[i]);
        assert_int_equal(weft_dtypes[i].bytes, bytes[i]);
        bool is_floating = i < 4 || i >= WEFT_FLOAT8_E4M3,
             is_unsigned = weft_dtypes[i].name[0] == 'u';
        assert_int_equal(weft_dtypes[i].is_floating, is_floating);
        assert_int_equal(weft_dtypes[i].is_signed, !is_unsigned);
    }
    assert_int_equal(weft_dtype_bytes((weft_dtype)WEFT_NUM_DTYPES), 0);
    assert_int_equal(weft_dtype_bytes((weft_dtype)-1), 0);
    dtype = WEFT_BFLOAT16;
    assert_int_equal(weft_dtype_from_name("f8", &dtype, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(dtype, WEFT_BFLOAT16);
    assert_non_null(strstr(error.text, "'f8'"));
    for (int i = 0; i < WEFT_NUM_DTYPES; i++)
        assert_non_null(strstr(error.text, weft_dtypes[i].name));
}

static void test_ops(void **state)
{
    (void)state;
    weft_op op;
    struct weft_error error = {0};
    for (int i = 0; i < WEFT_NUM_OPS; i++) {
        op = (weft_op)(i == 0);
        assert_int_equal(weft_op_from_name(weft_ops[i].name, &op, NULL), WEFT_OK);
        assert_int_equal(op, i);
        assert_int_equal(weft_ops[i].scales, i == WEFT_AVG);
        assert_int_equal(weft_ops[i].multiplies, i == WEFT_PREMUL_SUM);
        assert_int_equal(weft_op_takes((weft_op)i, WEFT_FLOAT8_E5M2), i <= WEFT_PREMUL_SUM);
        assert_true(weft_op_takes((weft_op)i, WEFT_UINT64));
    }
    op = WEFT_MAX;
    assert_int_equal(weft_op_from_name("", &op, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(op, WEFT_MAX);
    for (int i = 0; i < WEFT_NUM_OPS; i++)
        assert_non_null(strstr(error.text, weft_ops[i].name));
}

static void test_collectives(void **state)
{
    (void)state;
    weft_collective collective;
    struct weft_error error = {0};
    for (int i = 0; i < WEFT_NUM_COLLECTIVES; i++) {
        collective = (weft_collective)(i == 0);
        assert_int_equal(weft_collective_from_name(weft_collective_names[i], &collective, NULL),
                         WEFT_OK);
        assert_int_equal(collective, i);
    }
    collective = WEFT_BARRIER;
    assert_int_equal(weft_collective_from_name("allreduce", &collective, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(collective, WEFT_BARRIER);
    for (int i = 0; i < WEFT_NUM_COLLECTIVES; i++)
        assert_non_null(strstr(error.text, weft_collective_names[i]));
}

/* ---- time and numbers ---- */

static void test_deadlines(void **state)
{
    (void)state;
    int64_t before = weft_clock_ns();
    assert_true(before > 0);
    int64_t deadline = weft_deadline_after(5000000000);
    int64_t after = weft_clock_ns();
    assert_true(deadline >= before + 5000000000 && deadline <= after + 5000000000);
    assert_true(weft_deadline_after(INT64_MAX) == INT64_MAX);
    assert_true(weft_deadline_after(INT64_MAX - 1) == INT64_MAX);
    assert_true(weft_deadline_after(INT64_MAX - before) == INT64_MAX);
    deadline = weft_deadline_after(0);
    assert_true(deadline >= after && deadline <= weft_clock_ns());
    assert_true(weft_deadline_after(-1000000000) < before);
}

typedef const char *formatter(int64_t value, char *text, size_t size);

static void expect_text(formatter *format, int64_t value, const char *expected)
{
    char text[64];
    assert_ptr_equal(format(value, text, sizeof text), text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    (void)state;
    char small[6];
    expect_text(weft_format_bandwidth, 0, "0 B/s");
    expect_text(weft_format_bandwidth, 999, "999 B/s");
    expect_text(weft_format_bandwidth, 1000, "1 kB/s");
    expect_text(weft_format_bandwidth, 15754000000, "15.8 GB/s");
    expect_text(weft_format_bandwidth, 999600000, "1 GB/s"); // never "1000 MB/s"
    expect_text(weft_format_bandwidth, 999400000, "999 MB/s");
    expect_text(weft_format_bandwidth, INT64_C(5000000000000000), "5000 TB/s");
    expect_text(weft_format_latency, 80000, "80 ns");
    expect_text(weft_format_latency, 1234000, "1.23 us");
    expect_text(weft_format_latency, INT64_C(90000000000000), "90 s");
    expect_text(weft_format_bytes, 1, "1 B");
    expect_text(weft_format_bytes, 1023, "1023 B");
    expect_text(weft_format_bytes, 1024, "1 KiB");
    expect_text(weft_format_bytes, 32768, "32 KiB");
    expect_text(weft_format_bytes, INT64_C(4831838208), "4.5 GiB");
    expect_text(weft_format_bytes, INT64_MAX, "8192 PiB");
    expect_text(weft_format_bytes, INT64_MIN, "-9223372036854775808 B");
    assert_string_equal(weft_format_bytes(32768, small, sizeof small), "32 Ki");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail),          cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_prefix_is_cut), cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_level_names),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_dtypes),        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_collectives),   cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
