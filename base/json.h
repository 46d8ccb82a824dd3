/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading JSON over jansson: errors carry file, line and column; typed getters check presence, type
 * and range and name the path they failed at. Duplicate keys are refused. Input is read as hostile:
 * nesting is bounded by jansson (2048) and sizes by the callers' ranges.
 */
#ifndef WEFT_BASE_JSON_H
#define WEFT_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/* `name` is what error sentences call the text. *json is a new reference. */
weft_status weft_json_parse(const char *text, size_t bytes, const char *name, json_t **json,
                            struct weft_error *error);
/* Of several texts one after another that at *at, which then is behind it; 0 at first. *json is
 * NULL where there is none any more. */
weft_status weft_json_parse_next(const char *text, size_t bytes, const char *name, size_t *at,
                                 json_t **json, struct weft_error *error);
/* `path` "-" reads standard input. Errors: NOT_FOUND, SYSTEM, INVALID_FORMAT, OUT_OF_MEMORY. */
weft_status weft_json_load(const char *path, json_t **json, struct weft_error *error);

/* Members of `object`; `where` names the object in error sentences. Borrowed references. */
weft_status weft_json_integer(const json_t *object, const char *key, int64_t low, int64_t high,
                              const char *where, int64_t *value, struct weft_error *error);
weft_status weft_json_string(const json_t *object, const char *key, const char *where,
                             const char **value, struct weft_error *error);
weft_status weft_json_array(const json_t *object, const char *key, const char *where,
                            const json_t **value, struct weft_error *error);

/* Reads a whole file ("-": standard input), at most `limit` bytes, into fresh memory with a final
 * NUL that is not counted. The caller frees *text. */
weft_status weft_file_read(const char *path, size_t limit, char **text, size_t *bytes,
                           struct weft_error *error);

#endif
