/*
 * SPDX-License-Identifier: Apache-2.0
 * A pipe and a buffer per stream; only whole lines are written.
 */
#include "tools/line_labels.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 8192, LABEL_BYTES = 16 };

struct weft_line_label {
    int from; // read end, -1 after the end of file
    int to;
    int failure; // errno of the first write that failed
    size_t label_bytes;
    size_t used;                             // of line, label included
    char line[LABEL_BYTES + LINE_BYTES + 1]; // label, text, room for a newline
};

weft_status weft_line_label_open(int rank, int to, struct weft_line_label **label, int *write_end,
                                 struct weft_error *error)
{
    struct weft_line_label *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the output of rank %d", rank);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(made);
        return weft_fail(error, WEFT_SYSTEM, "cannot make a pipe: %s", strerror(errno));
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK); // of the read end only; the rank's end blocks
    made->from = ends[0];
    made->to = to;
    made->label_bytes = (size_t)snprintf(made->line, LABEL_BYTES, "[%d] ", rank);
    made->used = made->label_bytes;
    *label = made;
    *write_end = ends[1];
    return WEFT_OK;
}

int weft_line_label_descriptor(const struct weft_line_label *label)
{
    return label->from;
}

static void write_line(struct weft_line_label *label)
{
    if (label->line[label->used - 1] != '\n')
        label->line[label->used++] = '\n';
    const char *next = label->line;
    size_t left = label->used;
    while (left > 0) {
        ssize_t written = write(label->to, next, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) { // the ranks need not stop for that; who closes learns it
            if (!label->failure)
                label->failure = written < 0 ? errno : EIO;
            break;
        }
        next += written;
        left -= (size_t)written;
    }
    label->used = label->label_bytes;
}

static void add_text(struct weft_line_label *label, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        label->line[label->used++] = text[i];
        if (text[i] == '\n' || label->used == LABEL_BYTES + LINE_BYTES)
            write_line(label);
    }
}

void weft_line_label_pump(struct weft_line_label *label)
{
    // Bounded, so that one rank that never stops writing cannot keep the others waiting.
    for (int turn = 0; label && label->from >= 0 && turn < 64; turn++) {
        char text[4096];
        ssize_t got = read(label->from, text, sizeof text);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            close(label->from);
            label->from = -1;
            return;
        }
        add_text(label, text, (size_t)got);
    }
}

int weft_line_label_close(struct weft_line_label **label)
{
    if (!label || !*label)
        return 0;
    weft_line_label_pump(*label);
    if ((*label)->used > (*label)->label_bytes)
        write_line(*label);
    if ((*label)->from >= 0)
        close((*label)->from);
    int failure = (*label)->failure;
    free(*label);
    *label = NULL;
    return failure;
}
