/*
 * SPDX-License-Identifier: Apache-2.0
 * How two processes come to share memory. Each device listens on an abstract Unix socket (no file,
 * nothing to clean up) with a random name. The process with the lower id calls the other one; each
 * sends a hello with the descriptors of its memory and maps what it gets. The socket stays open: it
 * is the door bell, and its end is the death of the peer.
 *
 * Strangers are dropped: another user at accept, whoever has not the key or says nothing for two
 * seconds later. Descriptors are mapped only if they are sealed against shrinking, since touching a
 * page that a peer has cut off would kill this process.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/shm_parts.h"

static const uint64_t hello_magic = 0x6f6c6c6568746677u;

static const int64_t stranger_ns = 2000000000;

static socklen_t fill_name(struct sockaddr_un *address, const unsigned char *name)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    char *text = address->sun_path + 1; // a leading NUL: abstract
    int length = snprintf(text, sizeof address->sun_path - 1, "weft-");
    for (int i = 0; i < SHM_NAME_BYTES; i++)
        length += snprintf(text + length, 3, "%02x", name[i]);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static bool is_same_user(int socket)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           peer.uid == geteuid();
}

/* ---- hello ---- */

static bool send_hello(struct shm_device *device, struct shm_link *link, const unsigned char *key)
{
    struct shm_hello hello = {.magic = hello_magic, .layout = WEFT_SHM_LAYOUT, .tag = link->tag};
    memcpy(hello.key, key, sizeof hello.key);
    memcpy(hello.from, device->self.process_id, sizeof hello.from);
    memcpy(hello.to, link->peer.process_id, sizeof hello.to);
    int descriptors[2] = {link->ring, device->pool.descriptor};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof descriptors)];
    } control = {0};
    struct iovec body = {.iov_base = &hello, .iov_len = sizeof hello};
    struct msghdr message = {.msg_iov = &body,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptors);
    memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
    if (sendmsg(link->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof hello)
        return false;
    close(link->ring);
    link->ring = -1;
    return true;
}

static void close_shared(struct shm_shared *shared)
{
    if (shared->ring >= 0)
        close(shared->ring);
    if (shared->pool >= 0)
        close(shared->pool);
    *shared = (struct shm_shared){-1, -1};
}

/* Takes the descriptors out of a message; at most two can have come. */
static int take_descriptors(struct msghdr *message, int *descriptors)
{
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t num = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < num; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
            if (count < 2)
                descriptors[count++] = descriptor;
            else
                close(descriptor);
        }
    }
    return count;
}

/* OK; AGAIN: nothing there; REMOTE: the peer has closed; INVALID_FORMAT: no hello. */
static weft_status receive_hello(int socket, struct shm_hello *hello, struct shm_shared *shared)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec body = {.iov_base = hello, .iov_len = sizeof *hello};
    struct msghdr message = {.msg_iov = &body,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? WEFT_AGAIN : WEFT_REMOTE;
    int descriptors[2] = {-1, -1};
    int count = take_descriptors(&message, descriptors);
    *shared = (struct shm_shared){descriptors[0], descriptors[1]};
    if (got == 0 && count == 0)
        return WEFT_REMOTE;
    if (got == sizeof *hello && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        hello->magic == hello_magic && hello->layout == WEFT_SHM_LAYOUT && count == 2)
        return WEFT_OK;
    close_shared(shared);
    return WEFT_INVALID_FORMAT;
}

/* Maps the peer's ring, keeps the descriptor of its pool. */
static bool take_memory(struct shm_link *link, struct shm_shared *shared)
{
    bool is_sound = weft_shm_memory_is_sound(shared->ring, sizeof(struct weft_shm_ring)) &&
                    weft_shm_memory_is_sound(shared->pool, 0);
    void *ring = MAP_FAILED;
    if (is_sound)
        ring = mmap(NULL, sizeof(struct weft_shm_ring), PROT_READ | PROT_WRITE, MAP_SHARED,
                    shared->ring, 0);
    if (ring != MAP_FAILED) {
        link->writer.ring = ring;
        link->view.descriptor = shared->pool;
        shared->pool = -1;
    }
    close_shared(shared);
    return ring != MAP_FAILED;
}

static bool is_between(const struct shm_device *device, const struct shm_link *link,
                       const struct shm_hello *hello)
{
    return memcmp(hello->from, link->peer.process_id, sizeof hello->from) == 0 &&
           memcmp(hello->to, device->self.process_id, sizeof hello->to) == 0 &&
           hello->tag == link->tag;
}

/* ---- the calling end ---- */

static void answer_ready(struct shm_device *device, struct shm_source *source)
{
    struct shm_link *link = (struct shm_link *)((char *)source - offsetof(struct shm_link, source));
    struct shm_hello hello;
    struct shm_shared shared = {-1, -1};
    weft_status status = receive_hello(link->socket, &hello, &shared);
    if (status == WEFT_AGAIN)
        return;
    if (status == WEFT_REMOTE)
        weft_shm_link_fail(link, "peer has closed before it connected");
    else if (status != WEFT_OK || !is_between(device, link, &hello))
        weft_shm_link_fail(link, "peer answered with no proper hello");
    else if (!take_memory(link, &shared))
        weft_shm_link_fail(link, "peer's memory cannot be mapped");
    else
        weft_shm_link_up(device, link);
    close_shared(&shared);
}

static void call(struct shm_device *device, struct shm_link *link)
{
    struct sockaddr_un address;
    socklen_t length = fill_name(&address, link->peer.name);
    if (connect(link->socket, (struct sockaddr *)&address, length) != 0) {
        if (errno != EAGAIN && errno != EINTR) // EAGAIN: the peer's queue is full
            weft_shm_link_fail(link, "peer does not listen any more");
        return;
    }
    if (!is_same_user(link->socket)) {
        weft_shm_link_fail(link, "the socket belongs to another user");
        return;
    }
    link->source.ready = answer_ready;
    link->state = SHM_ASKING;
    if (!send_hello(device, link, link->peer.key) ||
        weft_shm_watch(device, link->socket, &link->source) != WEFT_OK)
        weft_shm_link_fail(link, "peer does not listen any more");
}

/* ---- the listening end ---- */

static void guest_free(struct shm_device *device, struct shm_guest *guest, bool keep_socket)
{
    struct shm_guest **place = &device->guests;
    while (*place != guest)
        place = &(*place)->next;
    *place = guest->next;
    if (guest->introduced)
        device->num_introduced--;
    else
        device->num_strangers--;
    weft_shm_unwatch(device, guest->socket);
    if (!keep_socket)
        close(guest->socket);
    close_shared(&guest->shared);
    free(guest);
}

void weft_shm_guests_drop(struct shm_device *device)
{
    while (device->guests)
        guest_free(device, device->guests, false);
}

static void expire_strangers(struct shm_device *device)
{
    struct shm_guest *next;
    if (!device->num_strangers)
        return;
    int64_t now = weft_clock_ns();
    for (struct shm_guest *guest = device->guests; guest; guest = next) {
        next = guest->next;
        if (!guest->introduced && now > guest->deadline_ns)
            guest_free(device, guest, false);
    }
}

/* The guest becomes the connection. */
static void adopt(struct shm_device *device, struct shm_link *link, struct shm_guest *guest)
{
    struct shm_shared shared = guest->shared;
    guest->shared = (struct shm_shared){-1, -1};
    link->socket = guest->socket;
    guest_free(device, guest, true);
    if (!take_memory(link, &shared)) {
        weft_shm_link_fail(link, "peer's memory cannot be mapped");
    } else if (!send_hello(device, link, device->self.key)) {
        weft_shm_link_fail(link, "peer has closed before it was connected");
    } else {
        weft_shm_link_up(device, link);
        if (weft_shm_watch(device, link->socket, &link->source) != WEFT_OK)
            weft_shm_link_fail(link, "cannot watch the socket");
    }
}

static bool knows_key(const struct shm_device *device, const struct shm_hello *hello)
{
    unsigned char difference = 0; // in constant time
    for (int i = 0; i < SHM_KEY_BYTES; i++)
        difference |= (unsigned char)(hello->key[i] ^ device->self.key[i]);
    return difference == 0;
}

static void guest_ready(struct shm_device *device, struct shm_source *source)
{
    struct shm_guest *guest =
        (struct shm_guest *)((char *)source - offsetof(struct shm_guest, source));
    if (guest->introduced) { // it has no more to say: this is its end, found when it is adopted
        weft_shm_unwatch(device, guest->socket);
        return;
    }
    weft_status status = receive_hello(guest->socket, &guest->hello, &guest->shared);
    if (status == WEFT_AGAIN)
        return;
    if (status != WEFT_OK || !knows_key(device, &guest->hello) ||
        memcmp(guest->hello.to, device->self.process_id, sizeof guest->hello.to) != 0 ||
        device->num_introduced == SHM_GUESTS_LIMIT) {
        guest_free(device, guest, false);
        return;
    }
    guest->introduced = true;
    device->num_strangers--;
    device->num_introduced++;
}

static void drop_oldest_stranger(struct shm_device *device)
{
    struct shm_guest *oldest = NULL;
    for (struct shm_guest *guest = device->guests; guest; guest = guest->next)
        if (!guest->introduced && (!oldest || guest->deadline_ns < oldest->deadline_ns))
            oldest = guest;
    if (oldest)
        guest_free(device, oldest, false);
}

static void listener_ready(struct shm_device *device, struct shm_source *source)
{
    (void)source;
    int accepted = accept4(device->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0)
        return;
    if (!is_same_user(accepted)) {
        close(accepted);
        return;
    }
    if (device->num_strangers == SHM_STRANGERS_LIMIT)
        drop_oldest_stranger(device);
    struct shm_guest *guest = calloc(1, sizeof *guest);
    if (!guest) {
        close(accepted);
        return;
    }
    guest->source.ready = guest_ready;
    guest->socket = accepted;
    guest->deadline_ns = weft_deadline_after(stranger_ns);
    guest->shared = (struct shm_shared){-1, -1};
    guest->next = device->guests;
    device->guests = guest;
    device->num_strangers++;
    if (weft_shm_watch(device, accepted, &guest->source) != WEFT_OK)
        guest_free(device, guest, false);
    else
        guest_ready(device, &guest->source); // an honest one has spoken already
}

weft_status weft_shm_listen(struct shm_device *device, struct weft_error *error)
{
    struct sockaddr_un address;
    socklen_t length = fill_name(&address, device->self.name);
    device->source.ready = listener_ready;
    device->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (device->listener < 0 || bind(device->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(device->listener, SOMAXCONN) != 0 ||
        weft_shm_watch(device, device->listener, &device->source) != WEFT_OK)
        return weft_fail(error, WEFT_SYSTEM, "shm: cannot listen on a Unix socket: %s",
                         strerror(errno));
    return WEFT_OK;
}

static void meet_guest(struct shm_device *device, struct shm_link *link)
{
    struct shm_guest *oldest = NULL; // guests are kept youngest first
    for (struct shm_guest *guest = device->guests; guest; guest = guest->next)
        if (guest->introduced && is_between(device, link, &guest->hello))
            oldest = guest;
    if (oldest)
        adopt(device, link, oldest);
}

void weft_shm_meet(struct shm_device *device)
{
    expire_strangers(device);
    for (struct shm_link *link = device->links; link && device->num_meeting; link = link->next) {
        if (link->state == SHM_CALLING)
            call(device, link);
        else if (link->state == SHM_WAITING && device->num_introduced)
            meet_guest(device, link);
    }
}
