/*
 * SPDX-License-Identifier: Apache-2.0
 * Status texts from the public map, and the writer of error sentences.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *weft_status_text(weft_status status)
{
    switch (status) {
#define STATUS_TEXT(code, text)                                                                    \
    case WEFT_##code:                                                                              \
        return text;
        WEFT_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

const char *weft_status_name(weft_status status)
{
    switch (status) {
#define STATUS_NAME(code, text)                                                                    \
    case WEFT_##code:                                                                              \
        return "WEFT_" #code;
        WEFT_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    }
    return "WEFT_?";
}

int weft_version(void)
{
    return WEFT_VERSION_MAJOR * 10000 + WEFT_VERSION_MINOR * 100 + WEFT_VERSION_PATCH;
}

weft_status weft_fail(struct weft_error *error, weft_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status;
}

weft_status weft_fail_prefix(struct weft_error *error, const char *format, ...)
{
    char old[WEFT_ERROR_TEXT_BYTES];
    if (!error)
        return WEFT_INTERNAL;
    memcpy(old, error->text, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof error->text)
        snprintf(error->text + used, sizeof error->text - (size_t)used, ": %.*s",
                 (int)(sizeof error->text - (size_t)used - 3), old);
    return error->status;
}
