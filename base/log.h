/*
 * SPDX-License-Identifier: Apache-2.0
 * The log. Its level is the only process-wide variable of the library; lines go to standard error
 * and to nowhere else. An error is logged once, where it is decided.
 */
#ifndef WEFT_BASE_LOG_H
#define WEFT_BASE_LOG_H

enum weft_log_level { WEFT_LOG_NONE, WEFT_LOG_ERROR, WEFT_LOG_WARN, WEFT_LOG_INFO, WEFT_LOG_DEBUG };

void weft_log_set_level(enum weft_log_level level);
enum weft_log_level weft_log_level(void);
/* -1 when `name` is not none, error, warn, info or debug. */
int weft_log_level_from_name(const char *name);

void weft_log_write(enum weft_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define WEFT_LOG(level, ...)                                                                       \
    do {                                                                                           \
        if ((level) <= weft_log_level())                                                           \
            weft_log_write((level), __VA_ARGS__);                                                  \
    } while (0)

#endif
