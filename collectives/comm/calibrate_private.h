/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of the calibration share: one way to turn samples into a curve, and one dialogue
 * of two ends that any channel (transport, socket, communicator) can carry.
 */
#ifndef WEFT_COLLECTIVES_COMM_CALIBRATE_PRIVATE_H
#define WEFT_COLLECTIVES_COMM_CALIBRATE_PRIVATE_H

#include "collectives/comm/calibrate.h"

enum { WEFT_CALIBRATE_WILD_PERCENT = 50 }; // a larger spread is not believed

/* ---- curves (calibrate_curve.c) ---- */

struct weft_sampler {
    /* The time of `count` repetitions with `bytes` bytes, one way. */
    weft_status (*once)(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                        struct weft_error *error);
    void *user;
};

/* Fills latency, spread and curve; sizes whose samples would not fit the budget are left out.
 * `start` > 0: the curve begins there, and there is no latency. */
weft_status weft_calibrate_curve(const struct weft_sampler *sampler, int64_t start,
                                 const struct weft_calibrate_options *options,
                                 struct weft_measurement *entry, struct weft_error *error);
/* Latency only: samples of `count` repetitions of no bytes. */
weft_status weft_calibrate_latency(const struct weft_sampler *sampler, int count, int64_t budget_ns,
                                   struct weft_measurement *entry, struct weft_error *error);

/* ---- dialogues (calibrate_dialogue.c) ---- */

struct weft_channel {
    weft_status (*send)(struct weft_channel *channel, const void *data, size_t bytes,
                        struct weft_error *error);
    weft_status (*receive)(struct weft_channel *channel, void *data, size_t bytes,
                           struct weft_error *error);
};

/* One end asks, the other answers until it is told to stop. Both have the same max_bytes. */
weft_status weft_dialogue_lead(struct weft_channel *channel,
                               const struct weft_calibrate_options *options,
                               struct weft_measurement *entry, struct weft_error *error);
weft_status weft_dialogue_follow(struct weft_channel *channel, int64_t max_bytes,
                                 struct weft_error *error);

/* ---- places (calibrate_places.c) ---- */

struct weft_place {
    int node;      // a core of the graph
    int processor; // as the system counts
    int numa;      // index into weft_places.numa_nodes, -1: in none
};

struct weft_places {
    struct weft_place *cores; // those this process may run on
    int num_cores;
    int *numa_nodes; // of the graph
    int num_numa;
};

weft_status weft_places_find(const struct weft_topology *topology, struct weft_places *places,
                             struct weft_error *error);
void weft_places_free(struct weft_places *places);
/* The `which`-th core of a domain, -1: there is none. */
int weft_places_core(const struct weft_places *places, int numa, int which);
/* The pairs of cores that stand for all: the first core with another of its domain (alone: with
 * itself), and with the first core of each other domain. false: there is none for `pair`. */
int weft_places_num_pairs(const struct weft_places *places);
bool weft_places_pair(const struct weft_places *places, int pair, int *a, int *b);

struct weft_placed_work {
    int processor; // not possible, or -1: anywhere
    void (*run)(void *argument);
    void *argument;
};
/* Runs each in a thread of its own on its processor, all or none, and waits for all. Errors: SYSTEM
 * (no thread; nothing ran). */
weft_status weft_places_run(const struct weft_placed_work *works, int count,
                            struct weft_error *error);

/* ---- what is measured ---- */

typedef weft_status weft_calibrator(const struct weft_topology *topology,
                                    const struct weft_places *places,
                                    const struct weft_calibrate_options *options,
                                    struct weft_measurements *measurements,
                                    struct weft_error *error);
weft_calibrator weft_calibrate_memory;     // calibrate_memory.c
weft_calibrator weft_calibrate_cores;      // calibrate_cores.c
weft_calibrator weft_calibrate_transports; // calibrate_transports.c
weft_calibrator weft_calibrate_rdma;       // the same
weft_calibrator weft_calibrate_interfaces; // calibrate_interfaces.c

/* NICs of this host with RDMA devices, in order of the graph, at most so many. Returns how many. */
enum { WEFT_RDMA_DEVICES_LIMIT = 4 };
int weft_calibrate_list_rdma(const struct weft_topology *topology, int *nodes);
/* Now, and how busy the machine is. */
void weft_calibrate_date(struct weft_measurements *measurements);
/* An entry that says why there are no figures. */
weft_status weft_calibrate_absent(struct weft_measurements *measurements, const char *what,
                                  const char *from, const char *to, struct weft_error *error,
                                  const char *format, ...) __attribute__((format(printf, 6, 7)));

/* ---- sockets (calibrate_sockets.c) ---- */

enum { WEFT_INTERFACE_LIMIT = 8, WEFT_TOKEN_BYTES = 16 };

/* Plain bytes: hosts exchange them. */
struct weft_interface {
    char name[16];
    unsigned char ip[16];
    uint16_t port; // where its host listens
    uint8_t is_ipv6;
    uint8_t is_loopback;
};

/* Interfaces that are up, with one address each (IPv4 where there is one, no link-local ones); the
 * first `limit`. Returns how many. */
int weft_interfaces_list(struct weft_interface *interfaces, int limit, bool with_loopback);
/* The name of its node below `host`; of none: as it would be called. */
void weft_interface_name(const struct weft_topology *topology, int host,
                         const struct weft_interface *interface, char *name, size_t size);
/* Listens on the interface's own address and notes the port. -1: not possible. `bind_device`: only
 * to what comes in through this interface; a host answers for all its addresses on each of them. */
int weft_interface_listen(struct weft_interface *interface, bool bind_device);
/* Connects from one address to another and says the token; -1 with the reason in `error`.
 * `bind_device`: out through this interface, whatever the routes say. */
int weft_interface_connect(const struct weft_interface *from, const struct weft_interface *to,
                           bool bind_device, const unsigned char *token, int64_t timeout_ns,
                           struct weft_error *error);
/* Takes the first caller that says the token; -1: none in time. */
int weft_interface_accept(int listener, const unsigned char *token, int64_t timeout_ns,
                          struct weft_error *error);

struct weft_socket_channel {
    struct weft_channel base;
    int socket;
    int64_t deadline_ns;
};
struct weft_socket_channel weft_socket_channel_make(int socket, int64_t timeout_ns);

#endif
