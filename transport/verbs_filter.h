/*
 * SPDX-License-Identifier: Apache-2.0
 * WEFT_IB_HCA, read: which ports of which devices the user wants. See verbs_ports.h for its rules.
 */
#ifndef WEFT_TRANSPORT_VERBS_FILTER_H
#define WEFT_TRANSPORT_VERBS_FILTER_H

#include <stdbool.h>

#include "base/error.h"

enum { WEFT_VERBS_FILTER_NAMES = 64 };

struct weft_verbs_filter {
    bool is_exact, is_excluding;
    int num_names; // 0: everything is wanted
    struct {
        char name[64];
        int port; // 0: all
        bool is_used;
    } names[WEFT_VERBS_FILTER_NAMES];
};

/* Errors: INVALID_ARGUMENT with the part that cannot be read. `text` may be NULL. */
weft_status weft_verbs_filter_read(const char *text, struct weft_verbs_filter *filter,
                                   struct weft_error *error);
/* Whether the port is wanted (0: any port of the device); remembers which names were of use. */
bool weft_verbs_filter_wants(struct weft_verbs_filter *filter, const char *device, int port);
/* Whether ports are named one by one, not only some left out. */
bool weft_verbs_filter_names(const struct weft_verbs_filter *filter);
/* A name that asked for what is not there; NULL: none. Leaving out what is not there is no mistake.
 */
const char *weft_verbs_filter_unused(const struct weft_verbs_filter *filter, char *text,
                                     size_t size);

#endif
