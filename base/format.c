/*
 * SPDX-License-Identifier: Apache-2.0
 * See format.h. Three digits are shown: more would pretend a precision that no link has.
 */
#include "base/format.h"

#include <stdio.h>
#include <string.h>

static const char *format_scaled(double value, double step, const char *const *units, int num_units,
                                 char *text, size_t size)
{
    int unit = 0;
    while (value >= step * 0.9995 && unit + 1 < num_units) {
        value /= step;
        unit++;
    }
    char number[32];
    snprintf(number, sizeof number, "%.*f", value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value);
    size_t length = strlen(number);
    while (strchr(number, '.') && (number[length - 1] == '0' || number[length - 1] == '.'))
        number[--length] = '\0';
    snprintf(text, size, "%s %s", number, units[unit]);
    return text;
}

const char *weft_format_bandwidth(int64_t bytes_per_second, char *text, size_t size)
{
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    return format_scaled((double)bytes_per_second, 1000, units, 5, text, size);
}

const char *weft_format_latency(int64_t picoseconds, char *text, size_t size)
{
    static const char *const units[] = {"ps", "ns", "us", "ms", "s"};
    return format_scaled((double)picoseconds, 1000, units, 5, text, size);
}

const char *weft_format_bytes(int64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return format_scaled((double)bytes, 1024, units, 6, text, size);
}

void weft_make_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}
