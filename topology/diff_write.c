/*
 * SPDX-License-Identifier: Apache-2.0
 * A diff as text and as JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/diff.h"
#include "topology/json.h"

static const char *const titles[WEFT_NUM_DIFFERENCE_KINDS] = {
#define TITLE_ROW(id, name, title) title,
    WEFT_DIFFERENCE_MAP(TITLE_ROW)
#undef TITLE_ROW
};

/* A number with its unit as people read it; text as it is; "(none)" for nothing. */
static const char *show(const char *value, const char *unit, char *text, size_t size)
{
    if (!value[0])
        return "(none)";
    int64_t number = strtoll(value, NULL, 10);
    if (strcmp(unit, "bytes per second") == 0)
        return weft_format_bandwidth(number, text, size);
    if (strcmp(unit, "picoseconds") == 0)
        return weft_format_latency(number, text, size);
    return value;
}

static void write_item(const struct weft_difference *d, FILE *stream)
{
    char before[32], after[32];
    const char *old_text = show(d->before, d->unit, before, sizeof before);
    const char *new_text = show(d->after, d->unit, after, sizeof after);
    switch (d->kind) {
    case WEFT_DIFFERENCE_NODE_REMOVED:
        fprintf(stream, "  - %s (%s)\n", d->subject, old_text);
        return;
    case WEFT_DIFFERENCE_NODE_ADDED:
        fprintf(stream, "  + %s (%s)\n", d->subject, new_text);
        return;
    case WEFT_DIFFERENCE_LINK_REMOVED:
        fprintf(stream, "  - %s\n", d->subject);
        return;
    case WEFT_DIFFERENCE_LINK_ADDED:
        fprintf(stream, "  + %s\n", d->subject);
        return;
    case WEFT_DIFFERENCE_NODE_RENAMED:
        fprintf(stream, "  ~ %s -> %s\n", old_text, new_text);
        return;
    case WEFT_DIFFERENCE_NODE_MOVED:
    case WEFT_DIFFERENCE_NODE_CHANGED:
    case WEFT_DIFFERENCE_LINK_CHANGED:
    case WEFT_NUM_DIFFERENCE_KINDS:
        break;
    }
    fprintf(stream, "  ~ %s: %s %s -> %s\n", d->subject, d->key, old_text, new_text);
}

static weft_status finish(FILE *stream, struct weft_error *error)
{
    errno = 0;
    if (fflush(stream) != 0 || ferror(stream))
        return weft_fail(error, WEFT_SYSTEM, "writing the differences failed: %s", strerror(errno));
    return WEFT_OK;
}

weft_status weft_diff_write_text(const struct weft_diff *diff, FILE *stream,
                                 struct weft_error *error)
{
    if (diff->total == 0)
        fputs("No difference.\n", stream);
    int at = 0;
    for (int kind = 0; kind < WEFT_NUM_DIFFERENCE_KINDS; kind++) {
        if (diff->counts[kind] == 0)
            continue;
        int shown = 0;
        fprintf(stream, "%s: %d\n", titles[kind], diff->counts[kind]);
        for (; at < diff->num_items && (int)diff->items[at].kind == kind; at++, shown++)
            write_item(&diff->items[at], stream);
        if (shown < diff->counts[kind])
            fprintf(stream, "  ... and %d more (-v shows all)\n", diff->counts[kind] - shown);
    }
    return finish(stream, error);
}

static void write_value(FILE *stream, const char *key, const struct weft_difference *d,
                        const char *value)
{
    fprintf(stream, ", \"%s\": ", key);
    if (!value[0])
        fputs("null", stream);
    else if (d->unit[0])
        fputs(value, stream);
    else
        weft_json_write_text(stream, value);
}

weft_status weft_diff_write_json(const struct weft_diff *diff, FILE *stream,
                                 struct weft_error *error)
{
    fprintf(stream,
            "{\"format\": \"weft-topology-diff\", \"version\": 1, \"equal\": %s,\n \"counts\": {",
            diff->total == 0 ? "true" : "false");
    for (int kind = 0; kind < WEFT_NUM_DIFFERENCE_KINDS; kind++)
        fprintf(stream, "%s\"%s\": %d", kind ? ", " : "", weft_difference_names[kind],
                diff->counts[kind]);
    fputs("},\n \"differences\": [", stream);
    for (int i = 0; i < diff->num_items; i++) {
        const struct weft_difference *d = &diff->items[i];
        fprintf(stream, "%s{\"kind\": \"%s\", \"subject\": ", i ? ",\n  " : "\n  ",
                weft_difference_names[d->kind]);
        weft_json_write_text(stream, d->subject);
        if (d->key[0]) {
            fputs(", \"key\": ", stream);
            weft_json_write_text(stream, d->key);
        }
        write_value(stream, "before", d, d->before);
        write_value(stream, "after", d, d->after);
        if (d->unit[0])
            fprintf(stream, ", \"unit\": \"%s\"", d->unit);
        putc('}', stream);
    }
    fputs("]}\n", stream);
    return finish(stream, error);
}
