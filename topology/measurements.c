/*
 * SPDX-License-Identifier: Apache-2.0
 * The data of measurements.h, its JSON, and how it gets into a graph.
 */
#include "topology/measurements.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/json.h"

enum { MAX_LATENCY_S = 3600 };

static const int64_t max_time_ps = MAX_LATENCY_S * INT64_C(1000000000000);
static const int64_t max_bytes = INT64_C(1) << 50;

void weft_measurements_init(struct weft_measurements *m, uint64_t fingerprint)
{
    *m = (struct weft_measurements){.fingerprint = fingerprint};
}

void weft_measurements_free(struct weft_measurements *m)
{
    free(m->entries);
    *m = (struct weft_measurements){0};
}

struct weft_measurement *weft_measurements_add(struct weft_measurements *m, const char *what,
                                               const char *from, const char *to)
{
    if (m->num_entries >= WEFT_MEASUREMENTS_MAX_ENTRIES)
        return NULL;
    struct weft_measurement *larger =
        weft_array_grow(m->entries, m->num_entries, &m->room, sizeof *larger);
    if (!larger)
        return NULL;
    m->entries = larger;
    struct weft_measurement *entry = &m->entries[m->num_entries++];
    *entry = (struct weft_measurement){.latency_ps = -1, .least_ps = -1};
    snprintf(entry->what, sizeof entry->what, "%s", what);
    snprintf(entry->from, sizeof entry->from, "%s", from);
    snprintf(entry->to, sizeof entry->to, "%s", to);
    return entry;
}

static int64_t rate(int64_t bytes, int64_t time_ps)
{
    __int128 value = (__int128)bytes * 1000000000000 / time_ps;
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

int64_t weft_measurement_bandwidth(const struct weft_measurement *m)
{
    if (m->num_points == 0)
        return -1;
    const struct weft_curve_point *last = &m->curve[m->num_points - 1];
    int64_t mean = rate(last->bytes, last->time_ps);
    if (m->num_points == 1)
        return mean;
    // the first bytes may have been cheaper than all that follow
    const struct weft_curve_point *before = last - 1;
    bool same_way = (last->bytes < WEFT_MEASUREMENTS_ONE_WAY_BYTES) ==
                    (before->bytes < WEFT_MEASUREMENTS_ONE_WAY_BYTES);
    if (!same_way || last->bytes <= before->bytes || last->time_ps <= before->time_ps)
        return mean;
    int64_t slope = rate(last->bytes - before->bytes, last->time_ps - before->time_ps);
    return slope < mean ? slope : mean;
}

bool weft_measurement_is_believed(const struct weft_measurement *m)
{
    return !m->note[0] && (m->latency_ps >= 0 || m->num_points > 0);
}

/* ---- writing ---- */

static void write_text(FILE *stream, const char *text)
{
    putc('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', stream);
        putc(*text >= 0x20 && *text < 0x7f ? *text : '?', stream);
    }
    putc('"', stream);
}

static void write_entry(const struct weft_measurement *entry, FILE *stream)
{
    fputs("{\"what\": ", stream);
    write_text(stream, entry->what);
    fputs(", \"from\": ", stream);
    write_text(stream, entry->from);
    fputs(", \"to\": ", stream);
    write_text(stream, entry->to);
    if (entry->latency_ps >= 0)
        fprintf(stream, ", \"latency_ps\": %" PRId64 ", \"least_ps\": %" PRId64, entry->latency_ps,
                entry->least_ps);
    fprintf(stream, ", \"spread_percent\": %d, \"note\": ", entry->spread_percent);
    write_text(stream, entry->note);
    fputs(", \"curve\": [", stream);
    for (int i = 0; i < entry->num_points; i++)
        fprintf(stream, "%s[%" PRId64 ", %" PRId64 "]", i ? ", " : "", entry->curve[i].bytes,
                entry->curve[i].time_ps);
    fputs("]}", stream);
}

weft_status weft_measurements_write(const struct weft_measurements *m, FILE *stream,
                                    struct weft_error *error)
{
    fprintf(stream,
            "{\"format\": \"weft-measurements\", \"version\": 1, \"fingerprint\": \"%016" PRIx64
            "\",\n \"date\": ",
            m->fingerprint);
    write_text(stream, m->date);
    fputs(", \"note\": ", stream);
    write_text(stream, m->note);
    fputs(",\n \"entries\": [", stream);
    for (int i = 0; i < m->num_entries; i++) {
        fputs(i ? ",\n  " : "\n  ", stream);
        write_entry(&m->entries[i], stream);
    }
    fputs("]}\n", stream);
    int failure = fflush(stream) != 0 ? errno : ferror(stream) ? EIO : 0;
    if (failure)
        return weft_fail(error, WEFT_SYSTEM, "the measurements could not be written: %s",
                         strerror(failure));
    return WEFT_OK;
}

/* ---- reading ---- */

struct reader {
    struct weft_measurements *measurements;
    struct weft_error *error;
    char where[320];
};

static weft_status read_text(struct reader *r, const json_t *object, const char *key, char *text,
                             size_t size)
{
    const char *found;
    WEFT_TRY(weft_json_string(object, key, r->where, &found, r->error));
    size_t bytes = json_string_length(json_object_get(object, key));
    if (bytes >= size || strlen(found) != bytes)
        return weft_fail(r->error, WEFT_INVALID_FORMAT,
                         "%s: \"%s\" has %zu bytes, or a NUL; at most %zu are allowed", r->where,
                         key, bytes, size - 1);
    for (size_t i = 0; i < bytes; i++)
        if (found[i] < 0x20 || found[i] > 0x7e)
            return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: \"%s\" is not printable", r->where,
                             key);
    memcpy(text, found, bytes + 1);
    return WEFT_OK;
}

static weft_status read_curve(struct reader *r, const json_t *object,
                              struct weft_measurement *entry)
{
    const json_t *curve, *point;
    size_t i;
    WEFT_TRY(weft_json_array(object, "curve", r->where, &curve, r->error));
    if (json_array_size(curve) > WEFT_MEASUREMENTS_CURVE_POINTS)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: \"curve\" has over %d points",
                         r->where, WEFT_MEASUREMENTS_CURVE_POINTS);
    int64_t last = -1;
    json_array_foreach(curve, i, point)
    {
        json_int_t bytes = json_integer_value(json_array_get(point, 0));
        json_int_t time_ps = json_integer_value(json_array_get(point, 1));
        if (json_array_size(point) != 2 || !json_is_integer(json_array_get(point, 0)) ||
            !json_is_integer(json_array_get(point, 1)) || bytes <= last || bytes > max_bytes ||
            time_ps < 1 || time_ps > max_time_ps)
            return weft_fail(r->error, WEFT_INVALID_FORMAT,
                             "%s: curve[%zu] is no [bytes, picoseconds] with more bytes than the "
                             "point before",
                             r->where, i);
        entry->curve[entry->num_points++] = (struct weft_curve_point){bytes, time_ps};
        last = bytes;
    }
    return WEFT_OK;
}

static weft_status check_keys(struct reader *r, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: is not an object", r->where);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const char *const *at = known;
        while (*at && strcmp(*at, key) != 0)
            at++;
        if (!*at)
            return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown key \"%.64s\"", r->where,
                             key);
    }
    return WEFT_OK;
}

static weft_status read_entry(struct reader *r, const json_t *object)
{
    static const char *const keys[] = {"what",           "from", "to",    "latency_ps", "least_ps",
                                       "spread_percent", "note", "curve", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    struct weft_measurement *entry = weft_measurements_add(r->measurements, "", "", "");
    int64_t spread;
    if (!entry)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "%s: no memory, or over %d entries",
                         r->where, WEFT_MEASUREMENTS_MAX_ENTRIES);
    WEFT_TRY(read_text(r, object, "what", entry->what, sizeof entry->what));
    WEFT_TRY(read_text(r, object, "from", entry->from, sizeof entry->from));
    WEFT_TRY(read_text(r, object, "to", entry->to, sizeof entry->to));
    WEFT_TRY(read_text(r, object, "note", entry->note, sizeof entry->note));
    if (json_object_get(object, "latency_ps") || json_object_get(object, "least_ps")) {
        WEFT_TRY(weft_json_integer(object, "latency_ps", 0, max_time_ps, r->where,
                                   &entry->latency_ps, r->error));
        WEFT_TRY(weft_json_integer(object, "least_ps", 0, max_time_ps, r->where, &entry->least_ps,
                                   r->error));
    }
    WEFT_TRY(weft_json_integer(object, "spread_percent", 0, 1000000, r->where, &spread, r->error));
    entry->spread_percent = (int)spread;
    return read_curve(r, object, entry);
}

static weft_status read_fingerprint(struct reader *r, const json_t *root)
{
    char text[17] = "";
    WEFT_TRY(read_text(r, root, "fingerprint", text, sizeof text));
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return weft_fail(r->error, WEFT_INVALID_FORMAT,
                         "%s: \"fingerprint\" is not 16 hexadecimal digits", r->where);
    r->measurements->fingerprint = strtoull(text, NULL, 16);
    return WEFT_OK;
}

static weft_status read_all(struct reader *r, const json_t *root)
{
    static const char *const keys[] = {"format", "version", "fingerprint", "date",
                                       "note",   "entries", NULL};
    char format[32] = "";
    int64_t version;
    const json_t *entries, *item;
    size_t i, end = strlen(r->where);
    WEFT_TRY(check_keys(r, root, keys));
    WEFT_TRY(read_text(r, root, "format", format, sizeof format));
    if (strcmp(format, "weft-measurements") != 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT,
                         "%s: \"format\" is not \"weft-measurements\"", r->where);
    WEFT_TRY(weft_json_integer(root, "version", 1, 1, r->where, &version, r->error));
    WEFT_TRY(read_fingerprint(r, root));
    WEFT_TRY(read_text(r, root, "date", r->measurements->date, sizeof r->measurements->date));
    WEFT_TRY(read_text(r, root, "note", r->measurements->note, sizeof r->measurements->note));
    WEFT_TRY(weft_json_array(root, "entries", r->where, &entries, r->error));
    json_array_foreach(entries, i, item)
    {
        snprintf(r->where + end, sizeof r->where - end, ": entries[%zu]", i);
        WEFT_TRY(read_entry(r, item));
    }
    return WEFT_OK;
}

weft_status weft_measurements_read(const char *text, size_t bytes, const char *name,
                                   struct weft_measurements *measurements, struct weft_error *error)
{
    struct weft_measurements made = {0};
    struct reader r = {.measurements = &made, .error = error};
    json_t *root;
    WEFT_TRY(weft_json_parse(text, bytes, name, &root, error));
    snprintf(r.where, sizeof r.where, "%.250s", name);
    weft_status status = read_all(&r, root);
    json_decref(root);
    if (status != WEFT_OK) {
        weft_measurements_free(&made);
        return status;
    }
    *measurements = made;
    return WEFT_OK;
}

/* ---- into the graph ---- */

static void fill(struct weft_link *link, const struct weft_measurement *entry)
{
    int64_t bandwidth = weft_measurement_bandwidth(entry);
    if (bandwidth >= 0)
        link->bandwidth.measured = (struct weft_quantity){bandwidth, WEFT_SOURCE_MEASURED};
    if (entry->latency_ps >= 0)
        link->latency.measured = (struct weft_quantity){entry->latency_ps, WEFT_SOURCE_MEASURED};
}

struct pair {
    int a, b; // a <= b; equal: memory of a NUMA domain and its own cores
    int entry;
};

static int compare_pairs(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    if (a->a != b->a)
        return a->a < b->a ? -1 : 1;
    return (a->b > b->b) - (a->b < b->b);
}

static const struct pair *find_pair(const struct pair *pairs, int count, int a, int b)
{
    const struct pair key = {a < b ? a : b, a < b ? b : a, 0};
    return count ? bsearch(&key, pairs, (size_t)count, sizeof *pairs, compare_pairs) : NULL;
}

static int list_pairs(const struct weft_topology *t, const struct weft_measurements *m,
                      struct pair *pairs)
{
    int count = 0;
    for (int i = 0; i < m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i];
        int a = weft_topology_find_node(t, entry->from), b = weft_topology_find_node(t, entry->to);
        bool is_memory = strcmp(entry->what, "memory") == 0;
        // what went through a transport says more about software than about the link
        bool is_link = is_memory || strcmp(entry->what, "tcp-interface") == 0;
        if (is_link && a >= 0 && b >= 0 && (a != b || is_memory) &&
            weft_measurement_is_believed(entry))
            pairs[count++] = (struct pair){a < b ? a : b, a < b ? b : a, i};
    }
    if (count)
        qsort(pairs, (size_t)count, sizeof *pairs, compare_pairs);
    return count;
}

weft_status weft_measurements_apply(struct weft_topology *t, const struct weft_measurements *m,
                                    int *applied, struct weft_error *error)
{
    struct pair *pairs = malloc(((size_t)m->num_entries + 1) * sizeof *pairs);
    if (!pairs)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "measurements: no memory");
    int count = list_pairs(t, m, pairs);
    *applied = 0;
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        int from = link->from, to = link->to;
        bool is_own_memory = link->kind == WEFT_LINK_MEMORY;
        int domain = t->nodes[from].kind == WEFT_NODE_NUMA ? from : to;
        const struct pair *pair = is_own_memory ? find_pair(pairs, count, domain, domain)
                                                : find_pair(pairs, count, from, to);
        if (!pair)
            continue;
        fill(link, &m->entries[pair->entry]);
        ++*applied;
    }
    free(pairs);
    return weft_measurements_apply_rdma(t, m, applied, error);
}
