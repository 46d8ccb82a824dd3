/*
 * SPDX-License-Identifier: Apache-2.0
 * See json.h.
 */
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT_BYTES = 1 << 30 };

// Jansson counts from `at`.
static void count_from_start(const char *text, size_t at, json_error_t *where)
{
    size_t start = at; // of its line
    while (start > 0 && text[start - 1] != '\n')
        start--;
    if (where->line == 1)
        where->column += (int)(at - start);
    for (size_t i = 0; i < start; i++)
        where->line += text[i] == '\n';
}

// What is at *at, which then is behind it.
static weft_status parse(const char *text, size_t bytes, size_t *at, size_t flags, const char *name,
                         json_t **json, struct weft_error *error)
{
    json_error_t where;
    json_t *loaded = json_loadb(text + *at, bytes - *at, JSON_REJECT_DUPLICATES | flags, &where);
    if (!loaded) {
        count_from_start(text, *at, &where);
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s:%d:%d: %s", name, where.line, where.column,
                         where.text);
    }
    *at += (size_t)where.position;
    *json = loaded;
    return WEFT_OK;
}

weft_status weft_json_parse(const char *text, size_t bytes, const char *name, json_t **json,
                            struct weft_error *error)
{
    size_t at = 0;
    return parse(text, bytes, &at, 0, name, json, error);
}

weft_status weft_json_parse_next(const char *text, size_t bytes, const char *name, size_t *at,
                                 json_t **json, struct weft_error *error)
{
    while (*at < bytes && memchr(" \t\r\n", text[*at], 4))
        ++*at;
    *json = NULL;
    return *at < bytes ? parse(text, bytes, at, JSON_DISABLE_EOF_CHECK, name, json, error)
                       : WEFT_OK;
}

weft_status weft_file_read(const char *path, size_t limit, char **text, size_t *bytes,
                           struct weft_error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file)
        return weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%s: %s", path,
                         strerror(errno));
    char *buffer = NULL;
    size_t used = 0, room = 0;
    weft_status status = WEFT_OK;
    for (;;) {
        if (used + 1 >= room) {
            room = room ? room * 2 : 1 << 16;
            char *larger = realloc(buffer, room);
            if (!larger) {
                status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", path);
                break;
            }
            buffer = larger;
        }
        size_t got = fread(buffer + used, 1, room - used - 1, file);
        used += got;
        if (used > limit) {
            status =
                weft_fail(error, WEFT_INVALID_FORMAT, "%s: larger than %zu bytes", path, limit);
            break;
        }
        if (got == 0) {
            if (ferror(file))
                status = weft_fail(error, errno == EISDIR ? WEFT_INVALID_ARGUMENT : WEFT_SYSTEM,
                                   "%s: %s", path, strerror(errno));
            break;
        }
    }
    if (file != stdin)
        fclose(file);
    if (status != WEFT_OK) {
        free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *text = buffer;
    *bytes = used;
    return WEFT_OK;
}

weft_status weft_json_load(const char *path, json_t **json, struct weft_error *error)
{
    char *text;
    size_t bytes;
    WEFT_TRY(weft_file_read(path, FILE_LIMIT_BYTES, &text, &bytes, error));
    weft_status status = weft_json_parse(text, bytes, path, json, error);
    free(text);
    return status;
}

static weft_status missing(const char *where, const char *key, const char *type,
                           const json_t *found, struct weft_error *error)
{
    return weft_fail(error, WEFT_INVALID_FORMAT, "%s: \"%s\" %s", where, key,
                     found ? type : "is missing");
}

weft_status weft_json_integer(const json_t *object, const char *key, int64_t low, int64_t high,
                              const char *where, int64_t *value, struct weft_error *error)
{
    const json_t *member = json_object_get(object, key);
    if (!json_is_integer(member))
        return missing(where, key, "is not a whole number", member, error);
    json_int_t number = json_integer_value(member);
    if (number < low || number > high)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: \"%s\" is %lld, not from %lld to %lld",
                         where, key, (long long)number, (long long)low, (long long)high);
    *value = number;
    return WEFT_OK;
}

weft_status weft_json_string(const json_t *object, const char *key, const char *where,
                             const char **value, struct weft_error *error)
{
    const json_t *member = json_object_get(object, key);
    if (!json_is_string(member))
        return missing(where, key, "is not a string", member, error);
    *value = json_string_value(member);
    return WEFT_OK;
}

weft_status weft_json_array(const json_t *object, const char *key, const char *where,
                            const json_t **value, struct weft_error *error)
{
    const json_t *member = json_object_get(object, key);
    if (!json_is_array(member))
        return missing(where, key, "is not an array", member, error);
    *value = member;
    return WEFT_OK;
}
