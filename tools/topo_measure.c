/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo --measure`: runs the calibration of this machine, keeps it in the cache and prints the
 * curves.
 */
#include <limits.h>
#include <string.h>

#include "base/config.h"
#include "base/format.h"
#include "collectives/comm/calibrate.h"
#include "tools/command.h"
#include "tools/topo.h"
#include "topology/load.h"

enum { MAX_BYTES = 64 << 20 };

static const int64_t default_time_ns = INT64_C(8000000000), longest_ns = INT64_C(3600000000000);

weft_status weft_topo_parse_time(const char *text, struct weft_topo_measuring *measuring,
                                 struct weft_error *error)
{
    int64_t time_ns;
    WEFT_TRY(weft_parse_duration(text, &time_ns, error));
    if (time_ns < 100000000 || time_ns > longest_ns)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "'%.40s' is not from 100ms to 60min", text);
    measuring->time_ns = time_ns;
    return WEFT_OK;
}

weft_status weft_topo_check_measuring(const struct weft_topo_measuring *measuring, bool cluster,
                                      const char *source, const char *from, const char *output,
                                      const char *to, struct weft_error *error)
{
    if (measuring->time_ns && !measuring->is_wanted)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--time goes with --measure");
    if (cluster && (source || from))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "--cluster probes each host (or takes what WEFT_TOPOLOGY names there): no "
                         "SOURCE");
    if (!measuring->is_wanted || cluster)
        return WEFT_OK;
    if (source || from)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "only this machine can be measured: no "
                         "SOURCE");
    if (output || (to && strcmp(to, "json") != 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "measurements are text or JSON, on standard output");
    return WEFT_OK;
}

/* ---- the table ---- */

static void print_head(FILE *stream)
{
    fprintf(stream, "%-44s %9s", "", "latency");
    for (int i = 0; i < WEFT_CALIBRATE_NUM_SIZES; i++) {
        char text[24], *at = text;
        weft_format_bytes(weft_calibrate_sizes[i], text, sizeof text);
        for (const char *from = text; *from; from++) // "64 KiB" as 64K
            if (*from != ' ' && *from != 'i' && (*from != 'B' || weft_calibrate_sizes[i] < 1024))
                *at++ = *from;
        *at = '\0';
        fprintf(stream, " %6s", text);
    }
    fprintf(stream, "  GB/s for messages of this size\n");
}

static void print_rate(const struct weft_measurement *entry, int64_t bytes, FILE *stream)
{
    for (int i = 0; i < entry->num_points; i++)
        if (entry->curve[i].bytes == bytes) {
            double rate = (double)bytes * 1000 / (double)entry->curve[i].time_ps;
            fprintf(stream, rate >= 100 ? " %6.0f" : rate >= 1 ? " %6.1f" : " %6.3f", rate);
            return;
        }
    fprintf(stream, " %6s", "");
}

/* Names below one host need not repeat it. */
static const char *short_name(const char *name, const char *other)
{
    const char *slash = strrchr(name, '/');
    size_t bytes = slash ? (size_t)(slash - name) + 1 : 0;
    return slash && strncmp(name, other, bytes) == 0 ? name + bytes : name;
}

static void print_entry(const struct weft_measurement *entry, FILE *stream)
{
    char way[256], latency[32] = "";
    snprintf(way, sizeof way, "%s %.60s -> %.60s", entry->what, short_name(entry->from, entry->to),
             short_name(entry->to, entry->from));
    if (!entry->from[0])
        snprintf(way, sizeof way, "%s", entry->what);
    if (entry->latency_ps < 0 && entry->num_points == 0) {
        fprintf(stream, "%-44s not measured: %s\n", way, entry->note);
        return;
    }
    if (entry->latency_ps >= 0)
        weft_format_latency(entry->latency_ps, latency, sizeof latency);
    fprintf(stream, "%-44s %9s", way, latency);
    for (int i = 0; entry->num_points > 0 && i < WEFT_CALIBRATE_NUM_SIZES; i++)
        print_rate(entry, weft_calibrate_sizes[i], stream);
    putc('\n', stream);
    if (entry->note[0])
        fprintf(stream, "%-44s %s\n", "", entry->note);
}

void weft_topo_print_measurements(const struct weft_measurements *m, FILE *stream)
{
    fprintf(stream, "Measured (%s, processors %016llx)\n", m->date,
            (unsigned long long)m->fingerprint);
    if (m->note[0])
        fprintf(stream, "%s\n", m->note);
    print_head(stream);
    for (int i = 0; i < m->num_entries; i++)
        print_entry(&m->entries[i], stream);
}

/* ---- the command ---- */

void weft_topo_keep_measurements(const struct weft_measurements *m, FILE *stream)
{
    char path[PATH_MAX];
    struct weft_error error = {0};
    if (weft_measurements_save(NULL, m, &error) == WEFT_OK &&
        weft_measurements_path(NULL, m->fingerprint, path, sizeof path, &error) == WEFT_OK)
        fprintf(stream, "Kept in %s\n", path);
    else
        fprintf(stderr, "the measurements are not kept: %s\n", error.text);
}

int weft_topo_measure(const char *command, const struct weft_topo_measuring *measuring,
                      bool as_json)
{
    struct weft_error error = {0};
    struct weft_topology *topology;
    struct weft_measurements m;
    const struct weft_calibrate_options options = {
        .budget_ns = measuring->time_ns ? measuring->time_ns : default_time_ns,
        .max_bytes = MAX_BYTES,
    };
    weft_status status = weft_topology_load(NULL, &topology, &error);
    if (status == WEFT_OK) {
        status = weft_calibrate_machine(topology, &options, &m, &error);
        weft_topology_destroy(&topology);
    }
    if (status == WEFT_OK) {
        weft_topo_keep_measurements(&m, stderr);
        if (as_json)
            status = weft_measurements_write(&m, stdout, &error);
        else
            weft_topo_print_measurements(&m, stdout);
        weft_measurements_free(&m);
    }
    if (status != WEFT_OK)
        return weft_command_fail(command, &error);
    return weft_command_finish(command, WEFT_EXIT_OK);
}
