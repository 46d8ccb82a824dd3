/*
 * SPDX-License-Identifier: Apache-2.0
 * See hostlist.h. Reading counts before it expands, so that no list can cost more than the names
 * it is allowed.
 */
#include "topology/hostlist.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "topology/graph.h"

enum { MAX_BRACKETS = 8, MAX_DIGITS = 18 };
#define MAX_NUMBER INT64_C(999999999999999999)

/* ---- reading ---- */

struct reading {
    struct weft_lines *lines;
    weft_status (*take)(void *context, const char *name);
    void *context;
    char name[WEFT_TOPOLOGY_NAME_BYTES];
};

static struct weft_span cut(struct weft_span span, size_t bytes)
{
    return (struct weft_span){span.at, bytes};
}

static struct weft_span rest_after(struct weft_span span, size_t bytes)
{
    return (struct weft_span){span.at + bytes, span.bytes - bytes};
}

static size_t find(struct weft_span span, char c)
{
    const char *found = span.bytes ? memchr(span.at, c, span.bytes) : NULL;
    return found ? (size_t)(found - span.at) : span.bytes;
}

/* Takes "7" or "7-12" off the front of what is in a bracket. */
static bool take_range(struct weft_span *ranges, int64_t *low, int64_t *high, int *width)
{
    const char *start = ranges->at;
    if (!weft_span_number(ranges, 0, MAX_NUMBER, low))
        return false;
    *width = (int)(ranges->at - start);
    *high = *low;
    if (*width > MAX_DIGITS ||
        (weft_span_take(ranges, "-") && !weft_span_number(ranges, *low, MAX_NUMBER, high)))
        return false;
    return ranges->bytes == 0 || (weft_span_take(ranges, ",") && ranges->bytes > 0);
}

static weft_status refuse(struct weft_lines *lines, const char *why, struct weft_span item)
{
    char text[80];
    return weft_lines_refuse(lines, "%s in \"%s\"", why, weft_span_copy(item, text, sizeof text));
}

/* How many names the bracket, without its ends, stands for. */
static weft_status count_bracket(struct weft_lines *lines, struct weft_span ranges,
                                 struct weft_span item, int64_t *count)
{
    int64_t low, high;
    int width;
    *count = 0;
    if (ranges.bytes == 0)
        return refuse(lines, "an empty bracket", item);
    while (ranges.bytes) {
        if (!take_range(&ranges, &low, &high, &width))
            return refuse(lines, "no numbers A-B, or not A <= B,", item);
        *count += high - low + 1;
        if (high - low >= WEFT_HOSTLIST_MAX_NAMES || *count > WEFT_HOSTLIST_MAX_NAMES)
            return refuse(lines, "more than 65536 names", item);
    }
    return WEFT_OK;
}

static weft_status count_item(struct weft_lines *lines, struct weft_span item, int64_t *count)
{
    struct weft_span rest = item;
    *count = 1;
    if (item.bytes == 0)
        return weft_lines_refuse(lines, "an empty name in a list");
    for (int brackets = 0;; brackets++) {
        size_t open = find(rest, '['), close = find(rest, ']');
        if (open == rest.bytes && close == rest.bytes)
            return WEFT_OK;
        int64_t here;
        if (close < open || close == rest.bytes)
            return refuse(lines, "a bracket without its other end", item);
        if (brackets == MAX_BRACKETS)
            return refuse(lines, "more than 8 brackets", item);
        WEFT_TRY(
            count_bracket(lines, cut(rest_after(rest, open + 1), close - open - 1), item, &here));
        *count *= here;
        if (*count > WEFT_HOSTLIST_MAX_NAMES)
            return refuse(lines, "more than 65536 names", item);
        rest = rest_after(rest, close + 1);
    }
}

/* Every combination of what is left of the item, behind the `used` bytes of the name so far. */
static weft_status expand(struct reading *r, struct weft_span item, size_t used)
{
    size_t open = find(item, '[');
    if (used + open >= sizeof r->name - MAX_DIGITS - 1)
        return weft_lines_refuse(r->lines, "a name longer than 236 bytes");
    memcpy(r->name + used, item.at, open);
    used += open;
    r->name[used] = '\0';
    if (open == item.bytes)
        return r->take(r->context, r->name);
    size_t close = find(item, ']');
    struct weft_span ranges = cut(rest_after(item, open + 1), close - open - 1);
    int64_t low, high;
    int width;
    while (ranges.bytes && take_range(&ranges, &low, &high, &width))
        for (int64_t i = low; i <= high; i++) {
            int digits = snprintf(r->name + used, MAX_DIGITS + 1, "%0*" PRId64, width, i);
            WEFT_TRY(expand(r, rest_after(item, close + 1), used + (size_t)digits));
        }
    return WEFT_OK;
}

/* Takes what is before the next comma outside of brackets. */
static struct weft_span take_item(struct weft_span *list)
{
    size_t end = 0;
    for (bool is_inside = false; end < list->bytes; end++) {
        char c = list->at[end];
        if (c == ',' && !is_inside)
            break;
        is_inside = c == '[' || (is_inside && c != ']');
    }
    struct weft_span item = cut(*list, end);
    *list = rest_after(*list, end);
    return item;
}

weft_status weft_hostlist_read(struct weft_lines *lines, struct weft_span list, int *room,
                               weft_status (*take)(void *context, const char *name), void *context)
{
    struct reading reading = {.lines = lines, .take = take, .context = context};
    struct weft_span rest = list;
    int64_t all = 0, count;
    do {
        WEFT_TRY(count_item(lines, take_item(&rest), &count));
        all += count;
        if (all > WEFT_HOSTLIST_MAX_NAMES)
            return refuse(lines, "more than 65536 names", list);
        if (all > *room)
            return refuse(lines, "too many names in all", list);
    } while (weft_span_take(&rest, ","));
    *room -= (int)all;
    do
        WEFT_TRY(expand(&reading, take_item(&list), 0));
    while (weft_span_take(&list, ","));
    return WEFT_OK;
}

/* ---- writing ---- */

/* Bytes before the number at the end; all of them where there is none. */
static size_t prefix_bytes(const char *name)
{
    size_t bytes = strlen(name), start = bytes;
    while (start > 0 && bytes - start < MAX_DIGITS && name[start - 1] >= '0' &&
           name[start - 1] <= '9')
        start--;
    return start;
}

static bool is_same_run(const char *a, const char *b, size_t prefix)
{
    return b[prefix] && prefix_bytes(b) == prefix && memcmp(a, b, prefix) == 0;
}

/* How many of the names are first, first + 1, ... written with as many digits. */
static int count_steps(const char *const *names, int count, size_t prefix)
{
    int64_t number = strtoll(names[0] + prefix, NULL, 10);
    int width = (int)strlen(names[0] + prefix), steps = 1;
    char next[MAX_DIGITS + 2];
    for (; steps < count; steps++) {
        snprintf(next, sizeof next, "%0*" PRId64, width, number + steps);
        if (strcmp(next, names[steps] + prefix) != 0)
            break;
    }
    return steps;
}

void weft_hostlist_write(FILE *stream, const char *const *names, int count)
{
    for (int i = 0, run; i < count; i += run) {
        size_t prefix = prefix_bytes(names[i]);
        bool is_numbered = names[i][prefix] != '\0';
        run = 1;
        while (is_numbered && i + run < count && is_same_run(names[i], names[i + run], prefix))
            run++;
        fputs(i ? "," : "", stream);
        if (run == 1) {
            fputs(names[i], stream);
            continue;
        }
        fprintf(stream, "%.*s[", (int)prefix, names[i]);
        for (int j = 0, steps; j < run; j += steps) {
            steps = count_steps(names + i + j, run - j, prefix);
            fprintf(stream, "%s%s", j ? "," : "", names[i + j] + prefix);
            if (steps > 1)
                fprintf(stream, "-%s", names[i + j + steps - 1] + prefix);
        }
        putc(']', stream);
    }
}
