/*
 * SPDX-License-Identifier: Apache-2.0
 * What the transport tests share: a few devices of one transport in one process, connected all to
 * all and polled by one thread, and messages whose bytes tell where they belong.
 */
#ifndef WEFT_TESTS_TRANSPORT_RIG_H
#define WEFT_TESTS_TRANSPORT_RIG_H

#include "transport/transport.h"

enum { RIG_LIMIT = 4, RIG_EAGER_BYTES = 8192 };

struct rig_end {
    struct rig *rig;
    int to;
    int num_failed;
    int num_unexpected;
    struct weft_message_key unexpected_key;
    uint64_t unexpected_bytes;
    char reason[200];
    struct weft_connection *connection;
};

struct rig {
    const struct weft_transport *transport;
    int num_devices;
    uint64_t random;
    const char *hcas[RIG_LIMIT]; // WEFT_IB_HCA of each device; NULL: all
    struct weft_device *devices[RIG_LIMIT];
    struct rig_end ends[RIG_LIMIT][RIG_LIMIT]; // [of][to]
};

struct message {
    struct weft_transfer transfer;
    int num_completed;
    unsigned char *buffer; // bytes + guard
    uint64_t salt;
    size_t sunk;     // sink: bytes so far
    bool sunk_badly; // sink: out of order, or not in units
};

uint64_t rig_random(uint64_t *state);
void rig_fill_options(struct weft_device_options *options, int number);
/* Whether this machine has what `transport` works with. Why not: *error, if it is not NULL. */
bool rig_has(const struct weft_transport *transport, struct weft_error *error);
/* Skips the test, with the reason, where it does not. */
void rig_require(const struct weft_transport *transport);
struct weft_device *rig_open_device(const struct weft_transport *transport, struct rig *rig,
                                    int number);
void rig_open(struct rig *rig, const struct weft_transport *transport, int num_devices,
              uint64_t seed);
/* The same, with WEFT_IB_HCA of each device, which stay the caller's. */
void rig_open_hcas(struct rig *rig, const struct weft_transport *transport, int num_devices,
                   uint64_t seed, const char *const *hcas);
void rig_close(struct rig *rig);
/* One progress of every device; the number of things that happened. */
int rig_poll(struct rig *rig);
/* Polls until `message` has completed, at most 20 s. */
void rig_wait(struct rig *rig, const struct message *message);
/* Polls until nothing has happened for a while. */
void rig_settle(struct rig *rig);

struct weft_message_key rig_key(uint32_t index);
/* Prepares a message: a send has its pattern, a receive a blank buffer. */
void message_init_send(struct message *message, uint32_t index, size_t bytes);
void message_init_recv(struct message *message, uint32_t index, size_t bytes);
/* As recv, through a sink that checks order and units. */
void message_init_sink(struct message *message, uint32_t index, size_t bytes, size_t unit);
void message_free(struct message *message);
void message_post_send(struct weft_connection *connection, struct message *message);
void message_post_recv(struct weft_connection *connection, struct message *message);
/* The receive completed once, with OK, and has what `index` was sent with. */
void message_check(const struct message *message);
/* The same without assertions, for forked children. */
bool message_is_right(const struct message *message);

int count_descriptors(void);

/* A message of ends[from][!from], posted in one of eight orders (bits: the other way, receive
 * first, a pause between the two), arrives. */
void rig_exchange(struct rig *rig, uint32_t index, size_t bytes, int order);

#endif
