/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading text forms line by line, with errors that name file and line. Nothing is copied: lines
 * and words are spans of the text. Made for hostile input: no limit is needed beyond the text's
 * own length, and numbers are read with a range.
 */
#ifndef WEFT_TOPOLOGY_LINES_H
#define WEFT_TOPOLOGY_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct weft_span {
    const char *at;
    size_t bytes;
};

struct weft_lines {
    const char *name;      // of the text, for error sentences
    const char *rest;      // what has not been read yet, ended by NUL
    int number;            // of the current line, from 1
    struct weft_span line; // the current line without its end and blanks at both ends
    struct weft_error *error;
};

struct weft_lines weft_lines_start(const char *text, const char *name, struct weft_error *error);
/* The next line, an empty one too; false at the end. */
bool weft_lines_next(struct weft_lines *lines);
/* INVALID_FORMAT "name:LINE: reason". */
weft_status weft_lines_refuse(struct weft_lines *lines, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Puts "name:LINE: " before an error of the graph's own functions and makes it INVALID_FORMAT;
 * OK and OUT_OF_MEMORY pass. */
weft_status weft_lines_located(struct weft_lines *lines, weft_status status);

/* Takes the next word (up to a blank) off the front of *rest; empty at the end. */
struct weft_span weft_span_word(struct weft_span *rest);
/* Takes a "quoted text" off the front (the quotes are not part of it); false: there is none. */
bool weft_span_quoted(struct weft_span *rest, struct weft_span *text);
/* Takes `prefix` off the front; false: it does not start so. */
bool weft_span_take(struct weft_span *rest, const char *prefix);
/* Takes a decimal number of low..high off the front; false (and nothing taken): there is none. */
bool weft_span_number(struct weft_span *rest, int64_t low, int64_t high, int64_t *number);
struct weft_span weft_span_trim(struct weft_span span);
bool weft_span_is(struct weft_span span, const char *text);
/* Copies as a C string, cut where `size` ends; characters that a graph cannot hold become '?'. */
char *weft_span_copy(struct weft_span span, char *text, size_t size);

#endif
