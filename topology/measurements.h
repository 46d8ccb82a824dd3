/*
 * SPDX-License-Identifier: Apache-2.0
 * What was timed on the links of one graph: for each way a latency and a curve of times over sizes,
 * filed under the fingerprint of the processors. Who times is collectives/comm; here are the data,
 * their file form, the cache, and how they get into the graph.
 *
 *   {"format": "weft-measurements", "version": 1, "fingerprint": "0123456789abcdef",
 *    "date": "2026-01-31T12:00:00Z", "note": "",
 *    "entries": [{"what": "tcp", "from": "a/eth0", "to": "b/eth0", "latency_ps": 9000000,
 *                 "least_ps": 8500000, "spread_percent": 4, "note": "",
 *                 "curve": [[1, 9000000], [4096, 9500000]]}]}
 *
 * An entry without figures says in its note why it has none. A note on one with figures says why
 * they are not believed; such figures stay out of the graph.
 */
#ifndef WEFT_TOPOLOGY_MEASUREMENTS_H
#define WEFT_TOPOLOGY_MEASUREMENTS_H

#include <stdio.h>

#include "topology/graph.h"

enum {
    WEFT_MEASUREMENTS_MAX_ENTRIES = 1 << 17,
    WEFT_MEASUREMENTS_CURVE_POINTS = 32,
    WEFT_MEASUREMENTS_STALE_DAYS = 90,
    /* Messages from here on are timed on their way, with a word back at the end; shorter ones there
     * and back, halved. A link that is held to a rate saves up for a burst while nothing goes its
     * way, and back and forth would see twice its rate. */
    WEFT_MEASUREMENTS_ONE_WAY_BYTES = 1 << 18,
};

struct weft_curve_point {
    int64_t bytes;
    int64_t time_ps; // one way
};

struct weft_measurement {
    char what[24]; // "memory", "cores", "shm", "tcp", "verbs-device", ...
    char from[WEFT_TOPOLOGY_NAME_BYTES], to[WEFT_TOPOLOGY_NAME_BYTES]; // node names; "": none;
    // of verbs-device: HOST/DEVICE as the verbs library calls it
    int64_t latency_ps; // median; -1: not measured
    int64_t least_ps;   // the best of all samples; -1: not measured
    int spread_percent; // from the first to the third quarter of the samples, of the median
    char note[160];
    int num_points;
    struct weft_curve_point curve[WEFT_MEASUREMENTS_CURVE_POINTS]; // by size
};

struct weft_measurements {
    uint64_t fingerprint; // weft_topology_processors_fingerprint
    char date[24];        // UTC, "2026-01-31T12:00:00Z"
    char note[160];       // about the machine while it was measured
    struct weft_measurement *entries;
    int num_entries;
    int room;
};

void weft_measurements_init(struct weft_measurements *measurements, uint64_t fingerprint);
void weft_measurements_free(struct weft_measurements *measurements);
/* A fresh entry at the end, without figures; valid until the next one. NULL: no memory, or too
 * many. */
struct weft_measurement *weft_measurements_add(struct weft_measurements *measurements,
                                               const char *what, const char *from, const char *to);
/* Bytes per second at the end of the curve, where caches, buffers and bursts no longer help: those
 * of the largest size, or those between the last two sizes where these are fewer (and both were
 * timed the same way); -1: there is none. */
int64_t weft_measurement_bandwidth(const struct weft_measurement *measurement);
/* Whether it has figures that may be used. */
bool weft_measurement_is_believed(const struct weft_measurement *measurement);

/* Errors: SYSTEM (the stream failed). */
weft_status weft_measurements_write(const struct weft_measurements *measurements, FILE *stream,
                                    struct weft_error *error);
/* Hostile input. Errors: INVALID_FORMAT, OUT_OF_MEMORY. */
weft_status weft_measurements_read(const char *text, size_t bytes, const char *name,
                                   struct weft_measurements *measurements,
                                   struct weft_error *error);

/* Fills the measured figures of the links that believed entries are about: a link that joins both
 * ends, and for memory within a NUMA domain its links to its cores; of RDMA devices their cables.
 * *applied: how many links got figures. Errors: none but those of a graph out of memory. */
weft_status weft_measurements_apply(struct weft_topology *topology,
                                    const struct weft_measurements *measurements, int *applied,
                                    struct weft_error *error);

/* ---- RDMA devices (measurements_rdma.c) ---- */

/* The names of those that believed entries are about; NULL after the last. */
const char *weft_measurements_rdma_device(const struct weft_measurements *measurements, int index);
/* Bytes per second that a device carried, in the slower direction, to or from any other; to itself
 * where it reached no other; -1: not measured. */
int64_t weft_measurements_rdma_bandwidth(const struct weft_measurements *measurements,
                                         const char *device);
/* The way that stands for all: between two devices, else of one with itself; of those with at least
 * half of the most bandwidth the one whose shortest messages are soonest there. NULL: none. */
const struct weft_measurement *weft_measurements_rdma_best(
    const struct weft_measurements *measurements);
/* Part of weft_measurements_apply: "process.measured_mbps" of the NICs, and the bandwidth of the
 * cable of each that has one. Adds to *applied. */
weft_status weft_measurements_apply_rdma(struct weft_topology *topology,
                                         const struct weft_measurements *measurements, int *applied,
                                         struct weft_error *error);

/* ---- the cache (measurements_cache.c) ---- */

/* The folder: WEFT_CACHE, else $XDG_CACHE_HOME/weft, else ~/.cache/weft. NOT_FOUND: "none", or no
 * home. `folder` overrides all when not NULL. */
weft_status weft_measurements_path(const char *folder, uint64_t fingerprint, char *path,
                                   size_t size, struct weft_error *error);
/* Makes the folder (mode 0700) where missing and replaces the file (0600) as a whole. */
weft_status weft_measurements_save(const char *folder, const struct weft_measurements *measurements,
                                   struct weft_error *error);
/* NOT_FOUND: there is no file. PERMISSION: it is another user's, or others may write it. MISMATCH:
 * it is about other processors, or older than WEFT_MEASUREMENTS_STALE_DAYS at `now` (time(2)).
 * Besides: as read. */
weft_status weft_measurements_load(const char *folder, uint64_t fingerprint, int64_t now,
                                   struct weft_measurements *measurements,
                                   struct weft_error *error);
/* What the cache knows about a graph that was loaded. *found: whether *measurements is filled. A
 * file that is there but cannot be used gets a remark; none is silent. Errors: OUT_OF_MEMORY. */
weft_status weft_measurements_recall(struct weft_topology *topology,
                                     struct weft_measurements *measurements, bool *found,
                                     struct weft_error *error);
/* The same, and applies it. */
weft_status weft_topology_recall(struct weft_topology *topology, struct weft_error *error);

#endif
