/*
 * SPDX-License-Identifier: Apache-2.0
 * The calibration of one machine: shares the budget among what there is to measure, and says what
 * there was not.
 */
#include "collectives/comm/calibrate.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "collectives/comm/calibrate_private.h"

weft_status weft_calibrate_absent(struct weft_measurements *m, const char *what, const char *from,
                                  const char *to, struct weft_error *error, const char *format, ...)
{
    struct weft_measurement *entry = weft_measurements_add(m, what, from, to);
    if (!entry)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(entry->note, sizeof entry->note, format, arguments);
    va_end(arguments);
    return WEFT_OK;
}

void weft_calibrate_date(struct weft_measurements *m)
{
    time_t now = time(NULL);
    struct tm date;
    double load[1];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (gmtime_r(&now, &date))
        strftime(m->date, sizeof m->date, "%Y-%m-%dT%H:%M:%SZ", &date);
    if (getloadavg(load, 1) == 1 && processors > 0 && load[0] > 0.5 * (double)processors)
        snprintf(m->note, sizeof m->note,
                 "the machine was busy: a load of %.1f on %ld processors before it began", load[0],
                 processors);
}

/* What has no transport in this build yet. */
static weft_status note_absent(const struct weft_topology *t, struct weft_measurements *m,
                               struct weft_error *error)
{
    return weft_calibrate_absent(m, "gpu", "", "", error,
                                 weft_topology_count(t, WEFT_NODE_GPU)
                                     ? "this build has no GPU copies to time"
                                     : "no GPU here");
}

weft_status weft_calibrate_machine(const struct weft_topology *topology,
                                   const struct weft_calibrate_options *options,
                                   struct weft_measurements *measurements, struct weft_error *error)
{
    static const struct {
        weft_calibrator *run;
        int percent; // of the budget; RDMA devices take half of it where there are any
    } parts[] = {{weft_calibrate_memory, 30},
                 {weft_calibrate_cores, 5},
                 {weft_calibrate_transports, 35},
                 {weft_calibrate_interfaces, 30},
                 {weft_calibrate_rdma, 100}};
    int nodes[WEFT_RDMA_DEVICES_LIMIT];
    const int whole = weft_calibrate_list_rdma(topology, nodes) > 0 ? 200 : 100; // percent
    struct weft_measurements made;
    struct weft_places places;
    WEFT_TRY(weft_places_find(topology, &places, error));
    weft_measurements_init(&made, weft_topology_processors_fingerprint(topology));
    weft_calibrate_date(&made);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && status == WEFT_OK; i++) {
        struct weft_calibrate_options slice = *options;
        slice.budget_ns = options->budget_ns / whole * parts[i].percent;
        status = parts[i].run(topology, &places, &slice, &made, error);
    }
    if (status == WEFT_OK)
        status = note_absent(topology, &made, error);
    weft_places_free(&places);
    if (status != WEFT_OK) {
        weft_measurements_free(&made);
        return status;
    }
    *measurements = made;
    return WEFT_OK;
}
