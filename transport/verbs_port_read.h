/*
 * SPDX-License-Identifier: Apache-2.0
 * One port: its state, and which of its addresses and partitions is used.
 */
#ifndef WEFT_TRANSPORT_VERBS_PORT_READ_H
#define WEFT_TRANSPORT_VERBS_PORT_READ_H

#include "transport/verbs_ports.h"

/* What the options ask of every port. */
struct weft_verbs_port_needs {
    int gid_index; // -1: the best
    int pkey;      // -1: the default
};

/* Errors: INVALID_ARGUMENT naming the variable and what it may be; also of those that are only
 * checked here (service level, ...). */
weft_status weft_verbs_port_needs_read(const struct weft_verbs_options *options,
                                       struct weft_verbs_port_needs *needs,
                                       struct weft_error *error);

/* Fills all but `device`, `port` (given) and `is_near`. Errors: INVALID_ARGUMENT (a whole sentence:
 * a need that the port does not meet, and what it has); UNSUPPORTED, SYSTEM (why the port is of no
 * use, without its name). */
weft_status weft_verbs_port_read(const struct weft_verbs *verbs, const struct weft_sysfs *files,
                                 const struct weft_verbs_device *device,
                                 const struct weft_verbs_port_needs *needs,
                                 struct weft_verbs_port *port, struct weft_error *error);

#endif
