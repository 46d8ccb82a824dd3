/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading files and JSON: where an error is, what each getter says, and the bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"

/* ---- parsing ---- */

static void expect_bad(const char *text, size_t bytes, const char *start, const char *part)
{
    struct weft_error error = {0};
    json_t *json = NULL;
    assert_int_equal(weft_json_parse(text, bytes, "input", &json, &error), WEFT_INVALID_FORMAT);
    assert_int_equal(error.status, WEFT_INVALID_FORMAT);
    assert_null(json);
    if (strncmp(error.text, start, strlen(start)) != 0 || !strstr(error.text, part))
        fail_msg("not '%s...%s': %s", start, part, error.text);
    assert_int_equal(weft_json_parse(text, bytes, "input", &json, NULL), WEFT_INVALID_FORMAT);
}

static void test_where_it_is_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *start, *part;
    } bad[] = {
        {"", "input:1:0: ", "expected"},
        {"{\"a\": 1,\n \"b\": x}", "input:2:7: ", "invalid token near 'x'"},
        {"[1,\n2,\n\n  oops]", "input:4:6: ", "near 'oops'"},
        {"{\"a\": 1} []", "input:1:10: ", "end of file expected"},
        {"{\"a\": ", "input:1:6: ", "near end of file"},
        {"{\"a\": 1, \"b\": 2, \"a\": 3}", "input:1:20: ", "duplicate object key"},
        {"{\"o\": {\"k\": [], \"k\": []}}", "input:1:19: ", "duplicate object key"},
        {"[99999999999999999999]", "input:1:", "too big integer"},
        {"[\"\xff\"]", "input:1:", "unable to decode byte 0xff"},
        {"7", "input:1:", "'[' or '{' expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_bad(bad[i].text, strlen(bad[i].text), bad[i].start, bad[i].part);
    expect_bad("[\"a\0b\"]", 7, "input:1:", ""); // a NUL does not end the text
}

static void test_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 100000, ALLOWED = 2000 };
    char *text = malloc(2 * DEPTH);
    json_t *json = NULL;
    assert_non_null(text);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    expect_bad(text, 2 * DEPTH, "input:1:", "maximum parsing depth");
    assert_int_equal(weft_json_parse(text + DEPTH - ALLOWED, 2 * ALLOWED, "input", &json, NULL),
                     WEFT_OK);
    int depth = 0;
    for (const json_t *at = json; at; at = json_array_get(at, 0))
        depth++;
    assert_int_equal(depth, ALLOWED);
    json_decref(json);
    free(text);
}

static void test_one_after_another(void **state)
{
    (void)state;
    static const char text[] = "\n {\"a\":\n1} [2]\t[]\r\n  [3] ,";
    static const char *const first[] = {"{\"a\": 1}", "[2]", "[]", "[3]"};
    struct weft_error error = {0};
    size_t at = 0;
    json_t *json;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(weft_json_parse_next(text, sizeof text - 1, "input", &at, &json, &error),
                         WEFT_OK);
        char *written = json_dumps(json, 0);
        assert_string_equal(written, first[i]);
        free(written);
        json_decref(json);
    }
    // Counted from the start of all of it.
    assert_int_equal(weft_json_parse_next(text, sizeof text - 1, "input", &at, &json, &error),
                     WEFT_INVALID_FORMAT);
    assert_null(json);
    if (strncmp(error.text, "input:4:7: ", 11) != 0)
        fail_msg("%s", error.text);
    at = sizeof text - 2;
    assert_int_equal(weft_json_parse_next(text, at, "input", &at, &json, &error), WEFT_OK);
    assert_null(json);
}

/* ---- getters ---- */

static const char object_text[] =
    "{\"low\": -3, \"high\": 9, \"real\": 2.0, \"text\": \"hi\", \"null\": null, "
    "\"list\": [1, 2], \"huge\": 9223372036854775807}";

static json_t *object(void)
{
    json_t *json = NULL;
    assert_int_equal(weft_json_parse(object_text, sizeof object_text - 1, "o", &json, NULL),
                     WEFT_OK);
    return json;
}

static void test_integer(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t low, high;
        const char *sentence;
    } bad[] = {
        {"low", -2, 9, "links[4]: \"low\" is -3, not from -2 to 9"},
        {"high", -3, 8, "links[4]: \"high\" is 9, not from -3 to 8"},
        {"real", 0, 9, "links[4]: \"real\" is not a whole number"},
        {"text", 0, 9, "links[4]: \"text\" is not a whole number"},
        {"null", 0, 9, "links[4]: \"null\" is not a whole number"},
        {"absent", 0, 9, "links[4]: \"absent\" is missing"},
    };
    json_t *json = object();
    int64_t value = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct weft_error error = {0};
        assert_int_equal(weft_json_integer(json, bad[i].key, bad[i].low, bad[i].high, "links[4]",
                                           &value, &error),
                         WEFT_INVALID_FORMAT);
        assert_string_equal(error.text, bad[i].sentence);
        assert_int_equal(value, 77);
    }
    assert_int_equal(weft_json_integer(json, "low", -3, 9, "o", &value, NULL), WEFT_OK);
    assert_int_equal(value, -3);
    assert_int_equal(weft_json_integer(json, "high", -3, 9, "o", &value, NULL), WEFT_OK);
    assert_int_equal(value, 9);
    assert_int_equal(weft_json_integer(json, "huge", 0, INT64_MAX, "o", &value, NULL), WEFT_OK);
    assert_int_equal(value, INT64_MAX);
    json_decref(json);
}

static void test_string_and_array(void **state)
{
    (void)state;
    json_t *json = object();
    const char *text = "before";
    const json_t *list = json;
    struct weft_error error = {0};
    assert_int_equal(weft_json_string(json, "list", "nodes[1]", &text, &error),
                     WEFT_INVALID_FORMAT);
    assert_string_equal(error.text, "nodes[1]: \"list\" is not a string");
    assert_int_equal(weft_json_string(json, "absent", "nodes[1]", &text, &error),
                     WEFT_INVALID_FORMAT);
    assert_string_equal(error.text, "nodes[1]: \"absent\" is missing");
    assert_string_equal(text, "before");
    assert_int_equal(weft_json_string(json, "text", "nodes[1]", &text, &error), WEFT_OK);
    assert_string_equal(text, "hi");
    assert_int_equal(weft_json_array(json, "text", "top", &list, &error), WEFT_INVALID_FORMAT);
    assert_string_equal(error.text, "top: \"text\" is not an array");
    assert_int_equal(weft_json_array(json, "absent", "top", &list, &error), WEFT_INVALID_FORMAT);
    assert_string_equal(error.text, "top: \"absent\" is missing");
    assert_ptr_equal(list, json);
    assert_int_equal(weft_json_array(json, "list", "top", &list, &error), WEFT_OK);
    assert_int_equal(json_array_size(list), 2);
    // What is no object at all has no members.
    assert_int_equal(weft_json_string(list, "text", "top", &text, &error), WEFT_INVALID_FORMAT);
    assert_string_equal(error.text, "top: \"text\" is missing");
    json_decref(json);
}

/* ---- files ---- */

static void make_file(char path[64], const void *bytes, size_t count)
{
    snprintf(path, 64, "/tmp/weft_base_json_XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, count), count);
    close(file);
}

static void expect_unread(const char *path, size_t limit, weft_status status, const char *sentence)
{
    struct weft_error error = {0};
    char *text = NULL;
    size_t bytes = 77;
    assert_int_equal(weft_file_read(path, limit, &text, &bytes, &error), status);
    assert_int_equal(error.status, status);
    assert_string_equal(error.text, sentence);
    assert_null(text);
    assert_int_equal(bytes, 77);
}

static void test_file(void **state)
{
    (void)state;
    enum { BYTES = 200001 }; // more than two growths of the buffer
    char path[64], sentence[128], *text = NULL, *made = malloc(BYTES);
    size_t bytes = 0;
    assert_non_null(made);
    for (int i = 0; i < BYTES; i++)
        made[i] = (char)(i * 7);
    make_file(path, made, BYTES);
    assert_int_equal(weft_file_read(path, BYTES, &text, &bytes, NULL), WEFT_OK);
    assert_int_equal(bytes, BYTES);
    assert_memory_equal(text, made, BYTES);
    assert_int_equal(text[BYTES], '\0');
    free(text);
    snprintf(sentence, sizeof sentence, "%s: larger than %d bytes", path, BYTES - 1);
    expect_unread(path, BYTES - 1, WEFT_INVALID_FORMAT, sentence);
    unlink(path);
    snprintf(sentence, sizeof sentence, "%s: No such file or directory", path);
    expect_unread(path, BYTES, WEFT_NOT_FOUND, sentence);
    expect_unread("/tmp", BYTES, WEFT_INVALID_ARGUMENT, "/tmp: Is a directory");
    expect_unread("/dev/zero", 1 << 20, WEFT_INVALID_FORMAT,
                  "/dev/zero: larger than 1048576 bytes");
    make_file(path, "", 0);
    assert_int_equal(weft_file_read(path, 0, &text, &bytes, NULL), WEFT_OK);
    assert_int_equal(bytes, 0);
    assert_string_equal(text, "");
    free(text);
    unlink(path);
    free(made);
}

static void test_load(void **state)
{
    (void)state;
    char path[64], sentence[128];
    struct weft_error error = {0};
    json_t *json = NULL;
    make_file(path, "{\"a\": 5}", 8);
    assert_int_equal(weft_json_load(path, &json, &error), WEFT_OK);
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 5);
    json_decref(json);
    json = NULL;
    unlink(path);
    assert_int_equal(weft_json_load(path, &json, &error), WEFT_NOT_FOUND);
    make_file(path, "{\"a\":\n?}", 8);
    assert_int_equal(weft_json_load(path, &json, &error), WEFT_INVALID_FORMAT);
    snprintf(sentence, sizeof sentence, "%s:2:1: ", path);
    assert_memory_equal(error.text, sentence, strlen(sentence));
    assert_null(json);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_it_is_bad),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_one_after_another),
        cmocka_unit_test(test_integer),
        cmocka_unit_test(test_string_and_array),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
