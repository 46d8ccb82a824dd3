/*
 * SPDX-License-Identifier: Apache-2.0
 * The one configuration table. Every variable is a row of WEFT_CONFIG_MAP: environment name, field,
 * type, default, sentence. getenv is called nowhere else in the library; launcher variables that
 * are not ours (RANK, OMPI_*, SLURM_*) are read through weft_config_environment.
 */
#ifndef WEFT_BASE_CONFIG_H
#define WEFT_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum weft_config_type {
    WEFT_CONFIG_STRING,   // const char *, "" when unset
    WEFT_CONFIG_INTEGER,  // int64_t
    WEFT_CONFIG_BYTES,    // int64_t; suffixes K M G T (powers of 1024)
    WEFT_CONFIG_DURATION, // int64_t nanoseconds; suffixes ns us ms s min, no suffix: seconds
};

/* X(environment name, field, C type, type, default, meaning) */
#define WEFT_CONFIG_MAP(X)                                                                         \
    X(WEFT_LOG, log_level, const char *, STRING, "warn", "Log level: none error warn info debug")  \
    X(WEFT_RANK, rank, int64_t, INTEGER, "-1", "Rank of this process; set by weft launch")         \
    X(WEFT_NUM_RANKS, num_ranks, int64_t, INTEGER, "-1", "Number of ranks; set by weft launch")    \
    X(WEFT_ID, id, const char *, STRING, "", "Unique id in hexadecimal; set by weft launch")       \
    X(WEFT_SECRET, secret, const char *, STRING, "",                                               \
      "Shared secret for meeting under launchers that pass no unique id")                          \
    X(WEFT_BOOTSTRAP_ADDRESS, bootstrap_address, const char *, STRING, "127.0.0.1",                \
      "Address on which a rank listens for its peers")                                             \
    X(WEFT_BOOTSTRAP_PORT, bootstrap_port, int64_t, INTEGER, "0",                                  \
      "Port of the meeting point; 0: any free one")                                                \
    X(WEFT_TIMEOUT, timeout_ns, int64_t, DURATION, "30s",                                          \
      "Deadline of an operation or a meeting that gives none of its own")                          \
    X(WEFT_TRANSPORTS, transports, const char *, STRING, "",                                       \
      "Transports that may be used, best first, comma separated; empty: all")                      \
    X(WEFT_ALGORITHM, algorithm, const char *, STRING, "",                                         \
      "Forces algorithms: 'ring', or 'all_reduce:ring,broadcast:tree'")                            \
    X(WEFT_TOPOLOGY, topology, const char *, STRING, "",                                           \
      "Topology file or synthetic string to use instead of probing this machine; rank 0's, where " \
      "it is of the ranks' hosts, is what they all plan with")                                     \
    X(WEFT_TUNE, tune, const char *, STRING, "",                                                   \
      "File of what weft bench --tune --json printed of these ranks: measured times count, not "   \
      "prices; rank 0's file is that of all")                                                      \
    X(WEFT_FABRIC_TIME, fabric_time_ns, int64_t, DURATION, "5s",                                   \
      "How long a probe may ask the InfiniBand subnet; 0: not at all")                             \
    X(WEFT_CACHE, cache, const char *, STRING, "",                                                 \
      "Folder of measurements; empty: $XDG_CACHE_HOME/weft or ~/.cache/weft; none: no cache")      \
    X(WEFT_EAGER_BYTES, eager_bytes, int64_t, BYTES, "0",                                          \
      "Messages up to this size are sent before the receiver has asked for them, at most 64K; 0: " \
      "8K through shared memory, 64K over TCP")                                                    \
    X(WEFT_TCP_CONGESTION, tcp_congestion, const char *, STRING, "",                               \
      "Congestion control of TCP sockets, like cubic; empty: the system's, but reno on one "       \
      "machine, and for bbr between hosts less than 1 ms apart")                                   \
    X(WEFT_TCP_ADDRESSES, tcp_addresses, const char *, STRING, "",                                 \
      "Up to 3 further addresses, comma separated, of other interfaces: peers try them in turn, "  \
      "and large messages go over all that connect")                                               \
    X(WEFT_TCP_CHECKSUM, tcp_checksum, int64_t, INTEGER, "0",                                      \
      "1: packets over TCP carry checksums, on each connection of which one end says so")          \
    X(WEFT_IB_HCA, ib_hca, const char *, STRING, "",                                               \
      "RDMA devices and ports to use, like mlx5_0,mlx5_1:1 (names may be cut short; = in front: "  \
      "exact names; ^: all but these); empty: all")                                                \
    X(WEFT_IB_GID_INDEX, ib_gid_index, int64_t, INTEGER, "-1",                                     \
      "Entry of an RDMA port's GID table to use; -1: the best (RoCE v2 with IPv4 first)")          \
    X(WEFT_IB_PKEY, ib_pkey, const char *, STRING, "",                                             \
      "Partition of RDMA traffic, like 0x8001; empty: the default partition, else a port's first") \
    X(WEFT_IB_SL, ib_service_level, int64_t, INTEGER, "0",                                         \
      "Service level of RDMA traffic, 0 to 15")                                                    \
    X(WEFT_IB_TC, ib_traffic_class, int64_t, INTEGER, "0",                                         \
      "Traffic class of RDMA traffic over RoCE, 0 to 255")                                         \
    X(WEFT_IB_TIMEOUT, ib_timeout, int64_t, INTEGER, "16",                                         \
      "Wait for an RDMA acknowledgement: 4.096 us * 2^it, 1 to 31 (16: 0.27 s)")                   \
    X(WEFT_IB_RETRY, ib_retry, int64_t, INTEGER, "7",                                              \
      "Repetitions of an RDMA packet that is not acknowledged, 0 to 7")                            \
    X(WEFT_FLAT_BYTES, flat_bytes, int64_t, BYTES, "2K",                                           \
      "All-reduces up to this size go through slots of shared memory; 0: nothing works in it")     \
    X(WEFT_JOIN_BYTES, join_bytes, int64_t, BYTES, "8K",                                           \
      "All-reduces of a group up to this size, at most 256K, travel as one; equal on all ranks; "  \
      "0: each alone")                                                                             \
    X(WEFT_SINGLE_COPY, single_copy, const char *, STRING, "auto",                                 \
      "What ranks of one machine copy between ordinary buffers, straight from the other process "  \
      "(process_vm_readv, _writev): auto (where that is allowed and faster), never, always")       \
    X(WEFT_SPIN, spin, const char *, STRING, "auto",                                               \
      "Waiting: auto, spin, yield or sleep (auto never spins with more ranks than cores)")         \
    X(WEFT_PROGRESS, progress, const char *, STRING, "calls",                                      \
      "Operations in flight move: calls (within calls), thread (also while the caller computes)")  \
    X(WEFT_TRACE, trace, const char *, STRING, "",                                                 \
      "Folder (made if missing) for one Chrome trace per rank, predicted beside measured")         \
    X(WEFT_FAULT, fault, const char *, STRING, "",                                                 \
      "Fault injection for tests: 'kill:PHASE:RANK', PHASE one of meeting init split collective "  \
      "topology calibration")

struct weft_config {
#define WEFT_CONFIG_FIELD(name, field, ctype, type, fallback, meaning) ctype field;
    WEFT_CONFIG_MAP(WEFT_CONFIG_FIELD)
#undef WEFT_CONFIG_FIELD
    char *storage; // what the strings point into
};

/* Reads the environment. Unknown WEFT_* variables are logged as warnings.
 * Errors: INVALID_ARGUMENT naming the variable, its value and what is allowed; OUT_OF_MEMORY.
 * On failure *config is unchanged. Free with weft_config_free. */
weft_status weft_config_load(struct weft_config *config, struct weft_error *error);
void weft_config_free(struct weft_config *config);

struct weft_config_row {
    const char *name;
    enum weft_config_type type;
    const char *fallback;
    const char *meaning;
};
extern const struct weft_config_row weft_config_rows[];
extern const int weft_config_num_rows;

/* The raw value of any environment variable, NULL when unset or empty. */
const char *weft_config_environment(const char *name);

/* Parsers shared with the tools. On failure *value is unchanged. */
weft_status weft_parse_integer(const char *text, int64_t low, int64_t high, int64_t *value,
                               struct weft_error *error);
weft_status weft_parse_bytes(const char *text, int64_t *value, struct weft_error *error);
weft_status weft_parse_duration(const char *text, int64_t *value, struct weft_error *error);

#endif
