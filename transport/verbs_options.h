/*
 * SPDX-License-Identifier: Apache-2.0
 * What the user says about RDMA (WEFT_IB_*), free of the verbs library, so that layers above can
 * fill it in any build.
 */
#ifndef WEFT_TRANSPORT_VERBS_OPTIONS_H
#define WEFT_TRANSPORT_VERBS_OPTIONS_H

#include <stdint.h>

/* What is known of a device besides what it says itself. */
struct weft_verbs_known {
    char device[64];       // "mlx5_0"
    int64_t measured_mbps; // what it carried when it was measured; 0: it was not
    int distance;          // from this process's memory, smaller is nearer; -1: not known
};

/* Not checked yet: weft_verbs_ports_find does. */
struct weft_verbs_options {
    const char *hca;       // WEFT_IB_HCA; NULL or empty: all
    const char *pkey;      // WEFT_IB_PKEY, a number such as 0x8001; NULL or empty: the default
    int64_t gid_index;     // WEFT_IB_GID_INDEX; -1: the best
    int64_t service_level; // WEFT_IB_SL, 0..15
    int64_t traffic_class; // WEFT_IB_TC, 0..255
    int64_t timeout;       // WEFT_IB_TIMEOUT, 1..31: 4.096 us * 2^timeout
    int64_t retry;         // WEFT_IB_RETRY, 0..7
    const struct weft_verbs_known *known; // (num_known)
    int num_known;
};

/* Initialiser: the defaults of the configuration. */
#define WEFT_VERBS_OPTIONS_DEFAULT                                                                 \
    {                                                                                              \
        .gid_index = -1, .timeout = 16, .retry = 7                                                 \
    }

#endif
