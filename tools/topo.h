/*
 * SPDX-License-Identifier: Apache-2.0
 * What `weft topo` is made of besides topo.c: measuring, and the topology of a whole cluster.
 */
#ifndef WEFT_TOOLS_TOPO_H
#define WEFT_TOOLS_TOPO_H

#include "topology/measurements.h"

struct weft_topo_measuring {
    bool is_wanted;
    int64_t time_ns; // 0: the default
};

weft_status weft_topo_parse_time(const char *text, struct weft_topo_measuring *measuring,
                                 struct weft_error *error);
/* Which options go together. Errors: INVALID_ARGUMENT. */
weft_status weft_topo_check_measuring(const struct weft_topo_measuring *measuring, bool cluster,
                                      const char *source, const char *from, const char *output,
                                      const char *to, struct weft_error *error);
/* Measures this machine, keeps the result in the cache and prints it; an exit code. */
int weft_topo_measure(const char *command, const struct weft_topo_measuring *measuring,
                      bool as_json);
/* One table: a row per way. */
void weft_topo_print_measurements(const struct weft_measurements *measurements, FILE *stream);
/* Says where they are, or on standard error why they are not. */
void weft_topo_keep_measurements(const struct weft_measurements *measurements, FILE *stream);

/* Meets the launcher's other ranks; *topology is set on rank 0 only. Prints the measurements, if
 * some are wanted and not `quiet`. */
weft_status weft_topo_load_cluster(const struct weft_topo_measuring *measuring, bool quiet,
                                   struct weft_topology **topology, struct weft_error *error);

#endif
