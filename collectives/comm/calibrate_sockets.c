/*
 * SPDX-License-Identifier: Apache-2.0
 * Plain TCP from one address to another: interfaces, connections that prove by a token that they
 * are the expected ones, and the channel over a socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

/* ---- interfaces ---- */

static bool take_address(const struct ifaddrs *address, struct weft_interface *interface)
{
    *interface = (struct weft_interface){0};
    snprintf(interface->name, sizeof interface->name, "%.15s", address->ifa_name);
    interface->is_loopback = (address->ifa_flags & IFF_LOOPBACK) != 0;
    if (!address->ifa_addr || !(address->ifa_flags & IFF_UP))
        return false;
    if (address->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(void *)address->ifa_addr;
        memcpy(interface->ip, &in->sin_addr, sizeof in->sin_addr);
        return true;
    }
    if (address->ifa_addr->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(void *)address->ifa_addr;
    memcpy(interface->ip, &in6->sin6_addr, sizeof in6->sin6_addr);
    interface->is_ipv6 = true;
    return !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
}

int weft_interfaces_list(struct weft_interface *interfaces, int limit, bool with_loopback)
{
    struct ifaddrs *all;
    int count = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        struct weft_interface found;
        int known = 0;
        if (!take_address(at, &found) || (found.is_loopback && !with_loopback))
            continue;
        while (known < count && strcmp(interfaces[known].name, found.name) != 0)
            known++;
        if (known == count && count < limit)
            interfaces[count++] = found;
        else if (known < count && interfaces[known].is_ipv6 && !found.is_ipv6)
            interfaces[known] = found;
    }
    freeifaddrs(all);
    return count;
}

void weft_interface_name(const struct weft_topology *t, int host,
                         const struct weft_interface *interface, char *name, size_t size)
{
    const char *host_name = host >= 0 ? t->nodes[host].name : "";
    snprintf(name, size, "%.200s/%.15s", host_name, interface->name);
    for (int i = 0; i < t->num_nodes; i++) {
        const char *text = weft_topology_text(t, i, "interface");
        if (t->nodes[i].kind == WEFT_NODE_NIC && text && strcmp(text, interface->name) == 0 &&
            weft_topology_ancestor(t, i, WEFT_NODE_HOST) == host)
            snprintf(name, size, "%s", t->nodes[i].name);
    }
}

/* ---- connections ---- */

static socklen_t fill_address(const struct weft_interface *interface, uint16_t port,
                              struct sockaddr_storage *storage)
{
    memset(storage, 0, sizeof *storage);
    if (interface->is_ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, interface->ip, sizeof in6->sin6_addr);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)storage;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, interface->ip, sizeof in->sin_addr);
    return sizeof *in;
}

static int open_socket(const struct weft_interface *interface, bool bind_device)
{
    int made = socket(interface->is_ipv6 ? AF_INET6 : AF_INET,
                      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made >= 0 && bind_device) // needs a privilege on old systems; the address then has to do
        (void)setsockopt(made, SOL_SOCKET, SO_BINDTODEVICE, interface->name,
                         (socklen_t)strlen(interface->name));
    return made;
}

int weft_interface_listen(struct weft_interface *interface, bool bind_device)
{
    struct sockaddr_storage storage;
    socklen_t bytes = fill_address(interface, 0, &storage);
    int listener = open_socket(interface, bind_device);
    if (listener < 0)
        return -1;
    if (bind(listener, (struct sockaddr *)&storage, bytes) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&storage, &bytes) != 0) {
        close(listener);
        return -1;
    }
    interface->port = ntohs(interface->is_ipv6 ? ((struct sockaddr_in6 *)&storage)->sin6_port
                                               : ((struct sockaddr_in *)&storage)->sin_port);
    return listener;
}

static int left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - weft_clock_ns();
    return left_ns <= 0 ? 0 : left_ns > 1000000000 ? 1000 : (int)(left_ns / 1000000) + 1;
}

/* Until the socket can be read or written; TIMEOUT at the deadline. */
static weft_status await(int socket, short events, int64_t deadline_ns, struct weft_error *error)
{
    struct pollfd entry = {.fd = socket, .events = events};
    while (poll(&entry, 1, left_ms(deadline_ns)) <= 0)
        if (weft_clock_ns() >= deadline_ns)
            return weft_fail(error, WEFT_TIMEOUT, "no answer in time");
    return WEFT_OK;
}

static weft_status move(int socket, bool is_send, char *data, size_t bytes, int64_t deadline_ns,
                        struct weft_error *error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t moved = is_send ? send(socket, data + done, bytes - done, MSG_NOSIGNAL)
                                : recv(socket, data + done, bytes - done, 0);
        if (moved > 0)
            done += (size_t)moved;
        else if (moved == 0 && !is_send)
            return weft_fail(error, WEFT_REMOTE, "the other end has closed the connection");
        else if (errno == EAGAIN || errno == EINTR)
            WEFT_TRY(await(socket, is_send ? POLLOUT : POLLIN, deadline_ns, error));
        else
            return weft_fail(error, WEFT_REMOTE, "%s", strerror(errno));
        if (done < bytes && weft_clock_ns() >= deadline_ns)
            return weft_fail(error, WEFT_TIMEOUT, "no answer in time");
    }
    return WEFT_OK;
}

static weft_status call(int socket, const struct weft_interface *from,
                        const struct weft_interface *to, int64_t deadline_ns,
                        struct weft_error *error)
{
    struct sockaddr_storage own, other;
    socklen_t own_bytes = fill_address(from, 0, &own);
    socklen_t other_bytes = fill_address(to, to->port, &other);
    if (bind(socket, (struct sockaddr *)&own, own_bytes) != 0)
        return weft_fail(error, WEFT_SYSTEM, "bind: %s", strerror(errno));
    if (connect(socket, (struct sockaddr *)&other, other_bytes) == 0)
        return WEFT_OK;
    if (errno != EINPROGRESS)
        return weft_fail(error, WEFT_SYSTEM, "%s", strerror(errno));
    WEFT_TRY(await(socket, POLLOUT, deadline_ns, error));
    int failure = 0;
    socklen_t length = sizeof failure;
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &length) != 0)
        failure = errno;
    if (failure == ECONNREFUSED) // a port where somebody listens
        return weft_fail(error, WEFT_SYSTEM,
                         "refused: it arrives through another interface, or a firewall rejects it");
    return failure ? weft_fail(error, WEFT_SYSTEM, "%s", strerror(failure)) : WEFT_OK;
}

static void no_delay(int socket)
{
    const int on = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int weft_interface_connect(const struct weft_interface *from, const struct weft_interface *to,
                           bool bind_device, const unsigned char *token, int64_t timeout_ns,
                           struct weft_error *error)
{
    char copy[WEFT_TOKEN_BYTES];
    int64_t deadline_ns = weft_deadline_after(timeout_ns);
    int made = open_socket(from, bind_device);
    if (made < 0) {
        weft_fail(error, WEFT_SYSTEM, "socket: %s", strerror(errno));
        return -1;
    }
    memcpy(copy, token, sizeof copy);
    if (call(made, from, to, deadline_ns, error) != WEFT_OK ||
        move(made, true, copy, sizeof copy, deadline_ns, error) != WEFT_OK) {
        char own[INET6_ADDRSTRLEN] = "", other[INET6_ADDRSTRLEN] = "";
        inet_ntop(from->is_ipv6 ? AF_INET6 : AF_INET, from->ip, own, sizeof own);
        inet_ntop(to->is_ipv6 ? AF_INET6 : AF_INET, to->ip, other, sizeof other);
        weft_fail_prefix(error, "%s to %s", own, other);
        close(made);
        return -1;
    }
    no_delay(made);
    return made;
}

int weft_interface_accept(int listener, const unsigned char *token, int64_t timeout_ns,
                          struct weft_error *error)
{
    int64_t deadline_ns = weft_deadline_after(timeout_ns);
    while (await(listener, POLLIN, deadline_ns, error) == WEFT_OK) {
        char said[WEFT_TOKEN_BYTES];
        int caller = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (caller < 0)
            continue;
        // a stranger that says nothing must not use up all the time
        int64_t half_ns = weft_clock_ns() / 2 + deadline_ns / 2;
        if (move(caller, false, said, sizeof said, half_ns, error) == WEFT_OK &&
            memcmp(said, token, sizeof said) == 0) {
            no_delay(caller);
            return caller;
        }
        close(caller);
    }
    return -1;
}

/* ---- channel ---- */

static weft_status channel_send(struct weft_channel *channel, const void *data, size_t bytes,
                                struct weft_error *error)
{
    const struct weft_socket_channel *c = (const struct weft_socket_channel *)channel;
    return move(c->socket, true, (char *)(uintptr_t)data, bytes, c->deadline_ns, error);
}

static weft_status channel_receive(struct weft_channel *channel, void *data, size_t bytes,
                                   struct weft_error *error)
{
    const struct weft_socket_channel *c = (const struct weft_socket_channel *)channel;
    return move(c->socket, false, data, bytes, c->deadline_ns, error);
}

struct weft_socket_channel weft_socket_channel_make(int socket, int64_t timeout_ns)
{
    return (struct weft_socket_channel){.base = {channel_send, channel_receive},
                                        .socket = socket,
                                        .deadline_ns = weft_deadline_after(timeout_ns)};
}
