/*
 * SPDX-License-Identifier: Apache-2.0
 * One line per message, written with a single call so that lines of several ranks do not mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"none", "error", "warn", "info", "debug"};
static _Atomic int current_level = WEFT_LOG_WARN;

void weft_log_set_level(enum weft_log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum weft_log_level weft_log_level(void)
{
    return (enum weft_log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

int weft_log_level_from_name(const char *name)
{
    for (int i = 0; i < (int)(sizeof level_names / sizeof *level_names); i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

void weft_log_write(enum weft_log_level level, const char *format, ...)
{
    char line[1024];
    int used = snprintf(line, sizeof line, "weft[%d] %s: ", (int)getpid(), level_names[level]);
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(line + used, sizeof line - (size_t)used - 1, format, arguments);
    va_end(arguments);
    if (used > (int)sizeof line - 2)
        used = (int)sizeof line - 2;
    line[used++] = '\n';
    // A log line that cannot be written has nowhere to be reported.
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)used);
    (void)ignored;
}
