/*
 * SPDX-License-Identifier: Apache-2.0
 * What tcp.c (devices, connections), tcp_stream.c (packets on a socket), tcp_out.c (frames that are
 * written in parts), tcp_check.c (checksums) and tcp_meet.c (how two processes come to trust a
 * socket) share. Only the files of tcp include this.
 */
#ifndef WEFT_TRANSPORT_TCP_PARTS_H
#define WEFT_TRANSPORT_TCP_PARTS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "transport/machine.h"
#include "transport/packet.h"

enum {
    TCP_KEY_BYTES = 32,
    TCP_NONCE_BYTES = 32,
    TCP_MAC_BYTES = 32,
    TCP_STRANGERS_LIMIT = 64,     // sockets that have not yet shown that they know the key
    TCP_GUESTS_LIMIT = 4096,      // those that have, while connect is not yet called here
    TCP_BUFFER_BYTES = 128 << 10, // holds an eager packet; sums read it while it is in the cache
    TCP_CONGESTION_BYTES = 16,    // the kernel's limit of such a name
    TCP_FRAGMENT_BYTES = 256 << 10,
    TCP_DOORS_LIMIT = 4, // addresses of one process
};

/* Where a process listens. Where it has several, callers try them in turn and keep what connects.
 */
struct tcp_door {
    unsigned char ip[16];
    uint16_t family; // 0: no door
    uint16_t port;
};

/* Opaque address: where this process listens, and the key that lets one in. */
struct tcp_address {
    uint64_t magic;
    struct tcp_door doors[TCP_DOORS_LIMIT]; // the first is always there
    unsigned char key[TCP_KEY_BYTES];
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
    struct weft_machine machine;
    uint64_t wants_checks; // WEFT_TCP_CHECKSUM; one end that does is enough
};
_Static_assert(sizeof(struct tcp_address) <= WEFT_TCP_ADDRESS_BYTES, "fits");

/* From the end that accepts, at once. */
struct tcp_challenge {
    uint64_t magic;
    unsigned char nonce[TCP_NONCE_BYTES];
};

/* From the end that calls. */
struct tcp_hello {
    uint64_t magic;
    unsigned char from[WEFT_PROCESS_ID_BYTES];
    unsigned char to[WEFT_PROCESS_ID_BYTES];
    uint64_t tag;
    uint64_t stripe; // its name; 0: the connection itself
    unsigned char nonce[TCP_NONCE_BYTES];
    unsigned char mac[TCP_MAC_BYTES];
};

/* From the end that accepts, once connect was called there. Packets follow. */
struct tcp_welcome {
    uint64_t magic;
    unsigned char mac[TCP_MAC_BYTES];
};

/* What precedes a payload on the wire: a cache line, so that a payload read behind it is aligned.
 * Sums are 0 where neither end wants them. */
struct tcp_frame {
    struct weft_packet packet;
    uint32_t payload_sum;
    uint32_t header_sum; // of all that is above
};
_Static_assert(sizeof(struct tcp_frame) == 64, "a cache line, without padding");

/* A frame on its way to a socket. */
struct tcp_out {
    bool is_partial; // the socket has taken a part of it
    struct tcp_frame frame;
    const unsigned char *payload;
    size_t done;         // bytes of header and payload
    unsigned char *copy; // payload taken over from a cancelled transfer
};

/* Checksums of what one socket brings. */
struct tcp_checks {
    struct XXH3_state_s *state; // NULL: none
    unsigned door;              // of the peer, for reasons
    struct tcp_frame frame;     // whose payload is coming in parts
};

/* The doors of an address, which has no others behind the first that is none. */
static inline int weft_tcp_count_doors(const struct tcp_address *address)
{
    int count = 0;
    while (count < TCP_DOORS_LIMIT && address->doors[count].family)
        count++;
    return count;
}

struct tcp_device;

/* Something that epoll watches. */
struct tcp_source {
    void (*ready)(struct tcp_device *device, struct tcp_source *source, uint32_t events);
};

struct tcp_listener {
    struct tcp_source source;
    int socket;
};

/* An accepted socket without a connection here. */
struct tcp_guest {
    struct tcp_source source;
    struct tcp_guest *next;
    int socket; // -1: to be freed at the end of progress
    int64_t deadline_ns;
    bool introduced;
    struct tcp_challenge challenge;
    struct tcp_hello hello;
    size_t filled; // bytes of hello so far
};

enum tcp_state {
    TCP_CALLING,    // waits for its time to call (again)
    TCP_CONNECTING, // connect is under way
    TCP_CHALLENGED, // connected, waits for the challenge
    TCP_ASKING,     // hello sent, waits for the welcome
    TCP_WAITING,    // for the peer to call
    TCP_UP,
    TCP_DEAD, // failed
};

struct tcp_link {
    struct weft_packet_link packets;
    struct tcp_source source;
    struct tcp_link *next;
    enum tcp_state state;
    int socket;
    uint64_t tag;
    struct tcp_address peer;
    int64_t deadline_ns; // for the challenge
    unsigned door;       // of the peer that is tried
    int64_t door_ns;     // until when, if there are others
    int64_t retry_ns;    // TCP_CALLING: when
    struct tcp_challenge challenge;
    struct tcp_hello hello;
    struct tcp_welcome welcome;
    size_t filled; // bytes of what is awaited so far

    bool blocked;  // the socket took no more; epoll watches for room
    bool hot;      // read in every round, so that epoll need not be told of each packet
    unsigned heat; // what is waited for adds to it, rounds that wait for nothing take away
    int low_mark;  // so many bytes make the socket readable
    struct tcp_out out;

    unsigned char *kept; // bytes that were read and are not a whole packet, or element
    size_t kept_bytes;
    size_t kept_room;

    struct weft_packet_open open;
    struct tcp_checks checks;
    struct tcp_stripes *stripes; // NULL: not begun
};

/* A socket that was disconnected before the peer's kernel had everything. */
struct tcp_lingering {
    struct tcp_lingering *next;
    int socket;
    int64_t deadline_ns;
};

struct tcp_device {
    struct weft_packet_device packets;
    struct tcp_listener listeners[TCP_DOORS_LIMIT]; // as the doors of self; -1: none
    struct tcp_source timer_source;
    struct tcp_address self;
    int epoll;
    int timer; // ticks while something has a deadline
    bool ticking;
    char congestion[TCP_CONGESTION_BYTES]; // empty: what suits the connection
    uint64_t seed;
    unsigned rounds;
    unsigned char *in; // TCP_BUFFER_BYTES, for whichever link is read
    struct tcp_link *links;
    struct tcp_guest *guests;
    struct tcp_lingering *lingering;
    unsigned num_strangers;
    unsigned num_introduced;
    unsigned num_meeting; // links that are not up yet
};

/* tcp.c */
void weft_tcp_link_fail(struct tcp_link *link, const char *reason);
bool weft_tcp_watch(struct tcp_device *device, int descriptor, struct tcp_source *source,
                    uint32_t events);
void weft_tcp_unwatch(struct tcp_device *device, int descriptor);

/* tcp_stream.c */
extern const struct weft_packet_port weft_tcp_port;
/* Options of a socket to the peer of this link, which is connected. */
void weft_tcp_suit(const struct tcp_device *device, const struct tcp_link *link, int socket);
/* The state becomes UP; packets may follow. */
void weft_tcp_link_up(struct tcp_device *device, struct tcp_link *link);
void weft_tcp_link_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events);
/* Reads what has arrived on a link that is up. Returns how many things happened. */
int weft_tcp_receive(struct tcp_link *link);
/* What suits a connection where the configuration says nothing; NULL: the system's choice. Between
 * processes of one machine nothing is congested, and between hosts that are less than 1 ms apart
 * the pacing and probing of BBR leaves some of the wire idle, in the pauses that collectives have:
 * there the kernel's simplest control, which is always there and needs no rights. */
const char *weft_tcp_congestion(const char *system, int64_t shortest_ns, bool is_same_machine);
/* Takes a link that is up out of epoll; or back into it, where nothing that came meanwhile is lost:
 * epoll tells of what is there. */
void weft_tcp_link_heat(struct tcp_link *link);
void weft_tcp_link_cool(struct tcp_link *link);
/* While the process sleeps, the rest of a payload that has begun wakes it in large pieces only. */
void weft_tcp_link_doze(struct tcp_link *link, bool sleeping);

/* tcp_out.c. True: all is written. If not, and the frame is not partial, then none of it. */
bool weft_tcp_out_begin(struct tcp_out *out, const struct tcp_checks *checks, int socket,
                        const struct weft_packet *packet, const void *payload);
bool weft_tcp_out_continue(struct tcp_out *out, int socket);
/* Makes a private copy of the payload of a partial frame. False: no memory. */
bool weft_tcp_out_keep(struct tcp_out *out);
/* Forgets the frame. */
void weft_tcp_out_drop(struct tcp_out *out);
static inline size_t weft_tcp_out_left(const struct tcp_out *out)
{
    return sizeof out->frame + out->frame.packet.payload_bytes - out->done;
}

/* tcp_check.c: checksums. All but `want` do nothing where there are none, and where a sum is wrong
 * fail the link and answer false. */
bool weft_tcp_check_want(struct tcp_checks *checks); // false: no memory
void weft_tcp_check_free(struct tcp_checks *checks);
void weft_tcp_check_seal(const struct tcp_checks *checks, struct tcp_frame *frame,
                         const void *payload);
bool weft_tcp_check_header(struct tcp_link *link, const struct tcp_checks *checks,
                           const struct tcp_frame *frame);
bool weft_tcp_check_whole(struct tcp_link *link, const struct tcp_checks *checks,
                          const struct tcp_frame *frame, const void *payload);
/* "10.9.0.1 port 7000", for reasons. */
void weft_tcp_door_text(const struct tcp_link *link, unsigned number, char *text, size_t bytes);
/* A payload in parts: begin, add each part, end with the last one before it is handed on. */
void weft_tcp_check_begin(struct tcp_checks *checks, const struct tcp_frame *frame);
void weft_tcp_check_add(struct tcp_checks *checks, const void *bytes, size_t count);
bool weft_tcp_check_end(struct tcp_link *link, struct tcp_checks *checks, const void *bytes,
                        size_t count);

/* tcp_meet.c */
/* Reads up to the end of one fixed-size message and not beyond. OK, AGAIN, or REMOTE: closed. */
weft_status weft_tcp_fill(int socket, void *message, size_t bytes, size_t *filled);
/* On a fresh socket these few bytes always fit. */
bool weft_tcp_say(int socket, const void *message, size_t bytes);
void weft_tcp_prepare(int socket);
socklen_t weft_tcp_endpoint(struct sockaddr_storage *endpoint, const struct tcp_door *door);
/* The answer to a challenge. False: nobody of this version is there. */
bool weft_tcp_hello_make(const struct tcp_link *link, const struct tcp_challenge *challenge,
                         uint64_t stripe, struct tcp_hello *hello);
bool weft_tcp_welcome_is_good(const struct tcp_link *link, const struct tcp_challenge *challenge,
                              const struct tcp_hello *hello, const struct tcp_welcome *welcome);
/* `others`: further addresses, separated by commas; NULL or empty: none. */
weft_status weft_tcp_listen(struct tcp_device *device, const char *listen_address,
                            const char *others, struct weft_error *error);
/* Makes calls, matches guests with connections, lets strangers go. Whether anything has a
 * deadline. */
bool weft_tcp_meet(struct tcp_device *device);
void weft_tcp_guests_drop(struct tcp_device *device);

#endif
