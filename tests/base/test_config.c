/*
 * SPDX-License-Identifier: Apache-2.0
 * The parsers of configuration values, and the environment read through them: defaults, every
 * refusal by its sentence, and that a refusal changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/log.h"

extern char **environ;

enum { UNTOUCHED = -77 };

typedef weft_status parser(const char *text, int64_t *value, struct weft_error *error);

static void expect_parsed(parser *parse, const char *text, int64_t expected)
{
    struct weft_error error = {0};
    int64_t value = UNTOUCHED;
    if (parse(text, &value, &error) != WEFT_OK || value != expected)
        fail_msg("'%s' is %lld, not %lld: %s", text, (long long)value, (long long)expected,
                 error.text);
}

static void expect_refused(parser *parse, const char *text, const char *sentence)
{
    struct weft_error error = {0};
    int64_t value = UNTOUCHED;
    if (parse(text, &value, &error) != WEFT_INVALID_ARGUMENT || !strstr(error.text, sentence))
        fail_msg("'%s' is %lld, or not refused by '%s': %s", text, (long long)value, sentence,
                 error.text);
    assert_int_equal(error.status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(value, UNTOUCHED);
    assert_int_equal(parse(text, &value, NULL), WEFT_INVALID_ARGUMENT);
}

/* ---- parsers ---- */

static weft_status any_integer(const char *text, int64_t *value, struct weft_error *error)
{
    return weft_parse_integer(text, INT64_MIN, INT64_MAX, value, error);
}

static weft_status small_integer(const char *text, int64_t *value, struct weft_error *error)
{
    return weft_parse_integer(text, -3, 9, value, error);
}

static void test_integers(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    " ",   "x",  "1x",   "0x10",
                                      "1.5", "1e3", "1 ", "--1",  "9223372036854775808",
                                      "8K",  "-",   "+",  "1\n2", "-9223372036854775809"};
    expect_parsed(any_integer, "0", 0);
    expect_parsed(any_integer, "-1", -1);
    expect_parsed(any_integer, "+5", 5);
    expect_parsed(any_integer, "010", 10);
    expect_parsed(any_integer, "9223372036854775807", INT64_MAX);
    expect_parsed(any_integer, "-9223372036854775808", INT64_MIN);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(any_integer, bad[i], "is not a whole number from -9223372036854775808");
    expect_parsed(small_integer, "-3", -3);
    expect_parsed(small_integer, "9", 9);
    expect_refused(small_integer, "-4", "'-4' is not a whole number from -3 to 9");
    expect_refused(small_integer, "10", "'10' is not a whole number from -3 to 9");
}

static void test_bytes(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "K",   "B",    "-1",    "-1K",
                                      "8 K", "8KK", "1.5M", "1e3",   "8Q",
                                      "8K ", "0x8", "8KM",  "8bits", "99999999999999999999"};
    static const char *const large[] = {"9007199254740992K", "8796093022208M", "8589934592G",
                                        "8388608T", "9223372036854775807K"};
    expect_parsed(weft_parse_bytes, "0", 0);
    expect_parsed(weft_parse_bytes, "0T", 0);
    expect_parsed(weft_parse_bytes, "64", 64);
    expect_parsed(weft_parse_bytes, "64B", 64);
    expect_parsed(weft_parse_bytes, "8K", 8192);
    expect_parsed(weft_parse_bytes, "8k", 8192);
    expect_parsed(weft_parse_bytes, "8KiB", 8192);
    expect_parsed(weft_parse_bytes, "3M", 3 << 20);
    expect_parsed(weft_parse_bytes, "3MiB", 3 << 20);
    expect_parsed(weft_parse_bytes, "2G", INT64_C(2) << 30);
    expect_parsed(weft_parse_bytes, "2gib", INT64_C(2) << 30);
    expect_parsed(weft_parse_bytes, "5T", INT64_C(5) << 40);
    expect_parsed(weft_parse_bytes, "9223372036854775807", INT64_MAX);
    expect_parsed(weft_parse_bytes, "9007199254740991K", INT64_MAX - 1023);
    expect_parsed(weft_parse_bytes, "8388607T", INT64_C(8388607) << 40);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(weft_parse_bytes, bad[i], "is not a size like 64, 8K, 32M or 2G");
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        expect_refused(weft_parse_bytes, large[i], "is too large");
}

static void test_durations(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "s",   "-1", "-1s", "1.5s",
                                      "30 s", "1h",  "1m", "1ss", "9223372036854775808",
                                      "ms",   "5ps", "s5"};
    static const char *const large[] = {"9223372037", "9223372037s", "9223372036855ms",
                                        "9223372036854776us", "153722868min"};
    expect_parsed(weft_parse_duration, "0", 0);
    expect_parsed(weft_parse_duration, "30", INT64_C(30000000000));
    expect_parsed(weft_parse_duration, "30s", INT64_C(30000000000));
    expect_parsed(weft_parse_duration, "500ms", 500000000);
    expect_parsed(weft_parse_duration, "250us", 250000);
    expect_parsed(weft_parse_duration, "7ns", 7);
    expect_parsed(weft_parse_duration, "2min", INT64_C(120000000000));
    expect_parsed(weft_parse_duration, "2MIN", INT64_C(120000000000));
    expect_parsed(weft_parse_duration, "9223372036s", INT64_C(9223372036000000000));
    expect_parsed(weft_parse_duration, "153722867min", INT64_C(9223372020000000000));
    expect_parsed(weft_parse_duration, "9223372036854775807ns", INT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(weft_parse_duration, bad[i], "is not a duration like 30s, 500ms or 2min");
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        expect_refused(weft_parse_duration, large[i], "is too large");
}

static void test_long_values_are_cut_in_sentences(void **state)
{
    (void)state;
    char text[4096];
    struct weft_error error = {0};
    int64_t value;
    memset(text, '9', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(weft_parse_bytes(text, &value, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "9' is not a size like 64"));
    assert_in_range(strlen(error.text), 64, 128);
}

/* ---- the environment ---- */

static int forget_variables(void **state)
{
    (void)state;
    for (char **variable = environ; *variable;) {
        char name[128];
        size_t length = strcspn(*variable, "=");
        if (strncmp(*variable, "WEFT_", 5) != 0 || length >= sizeof name) {
            variable++;
            continue;
        }
        memcpy(name, *variable, length);
        name[length] = '\0';
        if (unsetenv(name) != 0)
            return -1;
        variable = environ;
    }
    weft_log_set_level(WEFT_LOG_WARN);
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    struct weft_config config;
    struct weft_error error = {0};
    assert_int_equal(weft_config_load(&config, &error), WEFT_OK);
    assert_string_equal(config.log_level, "warn");
    assert_int_equal(config.rank, -1);
    assert_int_equal(config.num_ranks, -1);
    assert_string_equal(config.id, "");
    assert_string_equal(config.bootstrap_address, "127.0.0.1");
    assert_int_equal(config.bootstrap_port, 0);
    assert_int_equal(config.timeout_ns, INT64_C(30000000000));
    assert_string_equal(config.transports, "");
    assert_int_equal(config.eager_bytes, 0);
    assert_int_equal(config.flat_bytes, 2048);
    assert_string_equal(config.spin, "auto");
    assert_int_equal(weft_log_level(), WEFT_LOG_WARN);
    weft_config_free(&config);
    assert_null(config.storage);
    weft_config_free(&config); // freed already: nothing happens
}

static void test_values(void **state)
{
    (void)state;
    enum { LONG = 100000 };
    char *id = malloc(LONG + 1);
    assert_non_null(id);
    memset(id, 'a', LONG);
    id[LONG] = '\0';
    setenv("WEFT_LOG", "error", 1);
    setenv("WEFT_RANK", "3", 1);
    setenv("WEFT_ID", id, 1);
    setenv("WEFT_TIMEOUT", "250ms", 1);
    setenv("WEFT_EAGER_BYTES", "1M", 1);
    setenv("WEFT_FLAT_BYTES", "", 1); // as if unset
    setenv("WEFT_FAULT", "kill:run:1", 1);
    struct weft_config config;
    assert_int_equal(weft_config_load(&config, NULL), WEFT_OK);
    setenv("WEFT_ID", "another", 1); // too late
    setenv("WEFT_FAULT", "none", 1);
    assert_string_equal(config.log_level, "error");
    assert_int_equal(weft_log_level(), WEFT_LOG_ERROR);
    assert_int_equal(config.rank, 3);
    assert_string_equal(config.id, id);
    assert_int_equal(config.timeout_ns, 250000000);
    assert_int_equal(config.eager_bytes, 1 << 20);
    assert_int_equal(config.flat_bytes, 2048);
    assert_string_equal(config.fault, "kill:run:1");
    weft_config_free(&config);
    free(id);
}

/* Every row that is not text refuses what it cannot read, by its own name. */
static void test_refusals_name_the_variable(void **state)
{
    int seen = 0;
    for (int i = 0; i < weft_config_num_rows; i++) {
        const struct weft_config_row *row = &weft_config_rows[i];
        if (row->type == WEFT_CONFIG_STRING && strcmp(row->name, "WEFT_LOG") != 0)
            continue;
        struct weft_config config, before;
        struct weft_error error = {0};
        char start[128];
        seen++;
        memset(&config, 0x5a, sizeof config);
        memcpy(&before, &config, sizeof before);
        snprintf(start, sizeof start, "%s: 'bogus-value' ", row->name);
        setenv(row->name, "bogus-value", 1);
        assert_int_equal(weft_config_load(&config, &error), WEFT_INVALID_ARGUMENT);
        assert_int_equal(error.status, WEFT_INVALID_ARGUMENT);
        assert_memory_equal(error.text, start, strlen(start));
        assert_memory_equal(&config, &before, sizeof config);
        assert_int_equal(weft_config_load(&config, NULL), WEFT_INVALID_ARGUMENT);
        assert_int_equal(forget_variables(state), 0);
    }
    assert_in_range(seen, 4, weft_config_num_rows); // every type is among them
    struct weft_config config;
    struct weft_error error = {0};
    setenv("WEFT_LOG", "loud", 1);
    assert_int_equal(weft_config_load(&config, &error), WEFT_INVALID_ARGUMENT);
    assert_string_equal(error.text, "WEFT_LOG: 'loud' is none of none error warn info debug");
    assert_int_equal(weft_log_level(), WEFT_LOG_WARN);
}

static void test_rows(void **state)
{
    (void)state;
    for (int i = 0; i < weft_config_num_rows; i++) {
        const struct weft_config_row *row = &weft_config_rows[i];
        assert_memory_equal(row->name, "WEFT_", 5);
        assert_in_range(strlen(row->meaning), 10, 200);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(row->name, weft_config_rows[j].name);
    }
}

/* Loads with standard error going to a file; what was said is in `said`. */
static void load_hearing(char *said, size_t limit)
{
    struct weft_config config;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    weft_status status = weft_config_load(&config, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t bytes = fread(said, 1, limit - 1, file);
    said[bytes] = '\0';
    fclose(file);
    assert_int_equal(status, WEFT_OK);
    weft_config_free(&config);
}

static void test_unknown_variables_warn(void **state)
{
    (void)state;
    char said[1024];
    load_hearing(said, sizeof said);
    assert_string_equal(said, "");
    setenv("WEFT_LOGS", "bogus", 1); // longer and shorter than a known name
    setenv("WEFT_RAN", "bogus", 1);
    setenv("NOT_WEFT_LOG", "bogus", 1);
    load_hearing(said, sizeof said);
    assert_non_null(strstr(said, "warn: unknown variable WEFT_LOGS is ignored"));
    assert_non_null(strstr(said, "warn: unknown variable WEFT_RAN is ignored"));
    assert_null(strstr(said, "NOT_WEFT_LOG"));
    assert_null(strstr(said, "bogus")); // a value may be a secret
    setenv("WEFT_LOG", "error", 1);
    load_hearing(said, sizeof said);
    assert_string_equal(said, "");
    unsetenv("NOT_WEFT_LOG");
}

static void test_environment(void **state)
{
    (void)state;
    assert_null(weft_config_environment("WEFT_RANK"));
    setenv("WEFT_RANK", "", 1);
    assert_null(weft_config_environment("WEFT_RANK"));
    setenv("WEFT_RANK", "x", 1);
    assert_string_equal(weft_config_environment("WEFT_RANK"), "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_long_values_are_cut_in_sentences),
        cmocka_unit_test(test_rows),
        cmocka_unit_test_setup_teardown(test_defaults, forget_variables, forget_variables),
        cmocka_unit_test_setup_teardown(test_values, forget_variables, forget_variables),
        cmocka_unit_test_setup_teardown(test_refusals_name_the_variable, forget_variables,
                                        forget_variables),
        cmocka_unit_test_setup_teardown(test_unknown_variables_warn, forget_variables,
                                        forget_variables),
        cmocka_unit_test_setup_teardown(test_environment, forget_variables, forget_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
