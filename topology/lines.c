/*
 * SPDX-License-Identifier: Apache-2.0
 * See lines.h.
 */
#include "topology/lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

struct weft_span weft_span_trim(struct weft_span span)
{
    while (span.bytes && is_blank(span.at[0])) {
        span.at++;
        span.bytes--;
    }
    while (span.bytes && is_blank(span.at[span.bytes - 1]))
        span.bytes--;
    return span;
}

struct weft_lines weft_lines_start(const char *text, const char *name, struct weft_error *error)
{
    return (struct weft_lines){.name = name, .rest = text, .error = error};
}

bool weft_lines_next(struct weft_lines *lines)
{
    if (!*lines->rest)
        return false;
    size_t bytes = strcspn(lines->rest, "\n");
    lines->line = weft_span_trim((struct weft_span){lines->rest, bytes});
    lines->rest += bytes + (lines->rest[bytes] == '\n');
    lines->number++;
    return true;
}

weft_status weft_lines_refuse(struct weft_lines *lines, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return weft_fail(lines->error, WEFT_INVALID_FORMAT, "%.200s:%d: %s", lines->name, lines->number,
                     reason);
}

weft_status weft_lines_located(struct weft_lines *lines, weft_status status)
{
    if (status == WEFT_OK || status == WEFT_OUT_OF_MEMORY)
        return status;
    weft_fail_prefix(lines->error, "%.200s:%d", lines->name, lines->number);
    if (lines->error)
        lines->error->status = WEFT_INVALID_FORMAT;
    return WEFT_INVALID_FORMAT;
}

struct weft_span weft_span_word(struct weft_span *rest)
{
    *rest = weft_span_trim(*rest);
    struct weft_span word = {rest->at, 0};
    while (word.bytes < rest->bytes && !is_blank(rest->at[word.bytes]))
        word.bytes++;
    rest->at += word.bytes;
    rest->bytes -= word.bytes;
    return word;
}

bool weft_span_quoted(struct weft_span *rest, struct weft_span *text)
{
    struct weft_span trimmed = weft_span_trim(*rest);
    const char *end = trimmed.bytes > 1 && trimmed.at[0] == '"'
                          ? memchr(trimmed.at + 1, '"', trimmed.bytes - 1)
                          : NULL;
    if (!end)
        return false;
    *text = (struct weft_span){trimmed.at + 1, (size_t)(end - trimmed.at) - 1};
    rest->at = end + 1;
    rest->bytes = trimmed.bytes - text->bytes - 2;
    return true;
}

bool weft_span_take(struct weft_span *rest, const char *prefix)
{
    size_t bytes = strlen(prefix);
    if (rest->bytes < bytes || memcmp(rest->at, prefix, bytes) != 0)
        return false;
    rest->at += bytes;
    rest->bytes -= bytes;
    return true;
}

bool weft_span_number(struct weft_span *rest, int64_t low, int64_t high, int64_t *number)
{
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < rest->bytes && rest->at[digits] >= '0' && rest->at[digits] <= '9'; digits++) {
        int digit = rest->at[digits] - '0';
        if (value > (high - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (digits == 0 || value < low || value > high)
        return false;
    rest->at += digits;
    rest->bytes -= digits;
    *number = value;
    return true;
}

bool weft_span_is(struct weft_span span, const char *text)
{
    return strlen(text) == span.bytes && memcmp(span.at, text, span.bytes) == 0;
}

char *weft_span_copy(struct weft_span span, char *text, size_t size)
{
    size_t bytes = span.bytes < size - 1 ? span.bytes : size - 1;
    for (size_t i = 0; i < bytes; i++)
        text[i] = span.at[i] < 0x20 || span.at[i] > 0x7e ? '?' : span.at[i];
    text[bytes] = '\0';
    return text;
}
