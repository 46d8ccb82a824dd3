/*
 * SPDX-License-Identifier: Apache-2.0
 * Parses the configuration table once. Values are copied, so later setenv calls change nothing.
 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

extern char **environ;

const struct weft_config_row weft_config_rows[] = {
#define CONFIG_ROW(name, field, ctype, type, fallback, meaning)                                    \
    {#name, WEFT_CONFIG_##type, fallback, meaning},
    WEFT_CONFIG_MAP(CONFIG_ROW)
#undef CONFIG_ROW
};
const int weft_config_num_rows = (int)(sizeof weft_config_rows / sizeof *weft_config_rows);

const char *weft_config_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

weft_status weft_parse_integer(const char *text, int64_t low, int64_t high, int64_t *value,
                               struct weft_error *error)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < low || number > high)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "'%.64s' is not a whole number from %lld to %lld", text, (long long)low,
                         (long long)high);
    *value = number;
    return WEFT_OK;
}

struct suffix {
    const char *text;
    int64_t factor;
};

static weft_status parse_with_suffix(const char *text, const struct suffix *suffixes,
                                     const char *what, int64_t *value, struct weft_error *error)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || errno || number < 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.64s' is not %s", text, what);
    for (const struct suffix *s = suffixes; s->text; s++) {
        if (strcasecmp(end, s->text) != 0)
            continue;
        if (number > INT64_MAX / s->factor)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.64s' is too large", text);
        *value = number * s->factor;
        return WEFT_OK;
    }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.64s' is not %s", text, what);
}

weft_status weft_parse_bytes(const char *text, int64_t *value, struct weft_error *error)
{
    static const struct suffix suffixes[] = {
        {"", 1},
        {"B", 1},
        {"K", 1 << 10},
        {"M", 1 << 20},
        {"G", 1 << 30},
        {"KiB", 1 << 10},
        {"MiB", 1 << 20},
        {"GiB", 1 << 30},
        {"T", INT64_C(1) << 40},
        {"TiB", INT64_C(1) << 40},
        {NULL, 0},
    };
    return parse_with_suffix(text, suffixes, "a size like 64, 8K, 32M or 2G", value, error);
}

weft_status weft_parse_duration(const char *text, int64_t *value, struct weft_error *error)
{
    static const struct suffix suffixes[] = {
        {"", 1000000000}, {"s", 1000000000}, {"ms", 1000000},
        {"us", 1000},     {"ns", 1},         {"min", INT64_C(60000000000)},
        {NULL, 0},
    };
    return parse_with_suffix(text, suffixes, "a duration like 30s, 500ms or 2min", value, error);
}

static weft_status parse_string(const char *text, const char **value, struct weft_error *error)
{
    (void)error;
    *value = text;
    return WEFT_OK;
}

static weft_status parse_any_integer(const char *text, int64_t *value, struct weft_error *error)
{
    return weft_parse_integer(text, INT64_MIN, INT64_MAX, value, error);
}

#define PARSE_STRING   parse_string
#define PARSE_INTEGER  parse_any_integer
#define PARSE_BYTES    weft_parse_bytes
#define PARSE_DURATION weft_parse_duration

static void warn_of_unknown_variables(void)
{
    for (char **variable = environ; *variable; variable++) {
        if (strncmp(*variable, "WEFT_", 5) != 0)
            continue;
        size_t length = strcspn(*variable, "=");
        bool known = false;
        for (int i = 0; i < weft_config_num_rows && !known; i++)
            known = strlen(weft_config_rows[i].name) == length &&
                    strncmp(weft_config_rows[i].name, *variable, length) == 0;
        if (!known)
            WEFT_LOG(WEFT_LOG_WARN, "unknown variable %.*s is ignored (see weft env)", (int)length,
                     *variable);
    }
}

static size_t storage_needed(void)
{
    size_t bytes = 1;
    for (int i = 0; i < weft_config_num_rows; i++) {
        const char *value = weft_config_environment(weft_config_rows[i].name);
        bytes += (value ? strlen(value) : 0) + 1;
    }
    return bytes;
}

weft_status weft_config_load(struct weft_config *config, struct weft_error *error)
{
    struct weft_config loaded = {.storage = malloc(storage_needed())};
    if (!loaded.storage)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the configuration");
    char *next = loaded.storage;
    struct weft_error why;
#define CONFIG_PARSE(name, field, ctype, type, fallback, meaning)                                  \
    {                                                                                              \
        const char *text = weft_config_environment(#name);                                         \
        if (text) {                                                                                \
            size_t bytes = strlen(text) + 1;                                                       \
            text = memcpy(next, text, bytes);                                                      \
            next += bytes;                                                                         \
        }                                                                                          \
        if (PARSE_##type(text ? text : fallback, &loaded.field, &why) != WEFT_OK) {                \
            free(loaded.storage);                                                                  \
            return weft_fail(error, WEFT_INVALID_ARGUMENT, #name ": %s", why.text);                \
        }                                                                                          \
    }
    WEFT_CONFIG_MAP(CONFIG_PARSE)
#undef CONFIG_PARSE
    int level = weft_log_level_from_name(loaded.log_level);
    if (level < 0) {
        weft_status status =
            weft_fail(error, WEFT_INVALID_ARGUMENT,
                      "WEFT_LOG: '%.64s' is none of none error warn info debug", loaded.log_level);
        free(loaded.storage);
        return status;
    }
    weft_log_set_level((enum weft_log_level)level);
    warn_of_unknown_variables();
    *config = loaded;
    return WEFT_OK;
}

void weft_config_free(struct weft_config *config)
{
    free(config->storage);
    memset(config, 0, sizeof *config);
}
