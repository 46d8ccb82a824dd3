/*
 * SPDX-License-Identifier: Apache-2.0
 * What shm.c (devices, moving packets) and shm_meet.c (how two processes come to share memory)
 * share. Nobody else includes this.
 */
#ifndef WEFT_TRANSPORT_SHM_PARTS_H
#define WEFT_TRANSPORT_SHM_PARTS_H

#include <sys/types.h>

#include "transport/machine.h"
#include "transport/shm_memory.h"
#include "transport/shm_ring.h"

enum {
    SHM_STRANGERS_LIMIT = 64, // sockets that have not yet introduced themselves
    SHM_GUESTS_LIMIT = 4096,  // those that have, while connect is not yet called here
    SHM_NAME_BYTES = 16,
    SHM_KEY_BYTES = 16,
};

/* Opaque address: who and where this process is. */
struct shm_address {
    uint64_t magic;
    struct weft_machine machine;
    uint32_t uid;
    uint32_t layout;
    unsigned char name[SHM_NAME_BYTES]; // of the abstract socket
    unsigned char key[SHM_KEY_BYTES];   // shows that the peer was given this address
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
};
_Static_assert(sizeof(struct shm_address) <= WEFT_ADDRESS_BYTES, "fits");

/* First message on a socket, each way, with the file descriptors of the sender's inbound ring and
 * of its pool. */
struct shm_hello {
    uint64_t magic;
    uint64_t layout;
    unsigned char key[SHM_KEY_BYTES]; // of the listening end
    unsigned char from[WEFT_PROCESS_ID_BYTES];
    unsigned char to[WEFT_PROCESS_ID_BYTES];
    uint64_t tag;
};

struct shm_device;

/* Something that epoll watches. */
struct shm_source {
    void (*ready)(struct shm_device *device, struct shm_source *source);
};

/* Descriptors that came with a hello; -1: none. */
struct shm_shared {
    int ring;
    int pool;
};

/* An accepted socket without a connection here. */
struct shm_guest {
    struct shm_source source;
    struct shm_guest *next;
    int socket;
    int64_t deadline_ns; // to introduce itself
    bool introduced;
    struct shm_hello hello;
    struct shm_shared shared;
};

enum shm_state {
    SHM_CALLING, // the socket is not connected yet
    SHM_ASKING,  // hello sent, waits for the answer
    SHM_WAITING, // for the peer to call
    SHM_UP,
    SHM_ENDED, // the peer has closed; what it sent is still taken out
    SHM_DEAD,  // failed
};

struct shm_link {
    struct weft_packet_link packets;
    struct shm_source source;
    struct shm_link *next;
    enum shm_state state;
    int socket;
    struct shm_source death_source;
    int death; // pidfd of the peer, or -1
    int ring;  // descriptor of the own ring until it is handed over
    uint64_t tag;
    struct shm_address peer;
    struct weft_shm_reader reader;
    struct weft_shm_writer writer;
    struct weft_shm_view view; // of the peer's pool
};

struct shm_device {
    struct weft_packet_device packets;
    struct shm_source source; // of the listener
    struct shm_address self;
    int epoll;
    int listener;
    struct weft_shm_pool pool;
    uint64_t seed;
    struct shm_link *links;
    struct shm_guest *guests;
    unsigned num_strangers;
    unsigned num_introduced;
    unsigned num_meeting; // links that are not up yet
    unsigned since_look;  // progress calls since the sockets were looked at
    bool sleeping;
};

/* shm.c */
/* The state becomes UP; what happens on the socket is served by shm.c. */
void weft_shm_link_up(struct shm_device *device, struct shm_link *link);
void weft_shm_link_fail(struct shm_link *link, const char *reason);
weft_status weft_shm_watch(struct shm_device *device, int descriptor, struct shm_source *source);
void weft_shm_unwatch(struct shm_device *device, int descriptor);

/* shm_meet.c */
weft_status weft_shm_listen(struct shm_device *device, struct weft_error *error);
/* Makes calls, matches guests with connections, lets strangers go. */
void weft_shm_meet(struct shm_device *device);
void weft_shm_guests_drop(struct shm_device *device);

#endif
