/*
 * SPDX-License-Identifier: Apache-2.0
 * Sockets and addresses. Every descriptor made here is non-blocking and close-on-exec.
 */
#include "transport/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t to_system(const struct weft_endpoint *endpoint, union any_address *address)
{
    memset(address, 0, sizeof *address);
    if (endpoint->family == 6) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(endpoint->port);
        memcpy(&address->v6.sin6_addr, endpoint->address, 16);
        return sizeof address->v6;
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons(endpoint->port);
    memcpy(&address->v4.sin_addr, endpoint->address, 4);
    return sizeof address->v4;
}

static int system_family(const struct weft_endpoint *endpoint)
{
    return endpoint->family == 6 ? AF_INET6 : AF_INET;
}

static weft_status check_port(int port, struct weft_error *error)
{
    if (port < 0 || port > 65535)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "port %d is not one of 0 to 65535", port);
    return WEFT_OK;
}

weft_status weft_endpoint_parse(const char *address, int port, struct weft_endpoint *endpoint,
                                struct weft_error *error)
{
    WEFT_TRY(check_port(port, error));
    struct weft_endpoint parsed = {.port = (uint16_t)port};
    if (inet_pton(AF_INET, address, parsed.address) == 1)
        parsed.family = 4;
    else if (inet_pton(AF_INET6, address, parsed.address) == 1)
        parsed.family = 6;
    else
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "'%.64s' is not a numeric IPv4 or IPv6 address", address);
    *endpoint = parsed;
    return WEFT_OK;
}

weft_status weft_endpoint_resolve(const char *host, int port, struct weft_endpoint *endpoint,
                                  struct weft_error *error)
{
    WEFT_TRY(check_port(port, error));
    if (weft_endpoint_parse(host, port, endpoint, NULL) == WEFT_OK)
        return WEFT_OK;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code != 0)
        return weft_fail(error, WEFT_NOT_FOUND, "host '%.200s' has no address: %s", host,
                         gai_strerror(code));
    // IPv4 before IPv6, so that hosts that order their answers differently agree.
    struct weft_endpoint v4 = {.port = (uint16_t)port}, v6 = v4;
    for (const struct addrinfo *entry = found; entry; entry = entry->ai_next) {
        const union any_address *address = (const void *)entry->ai_addr;
        if (entry->ai_family == AF_INET && !v4.family) {
            v4.family = 4;
            memcpy(v4.address, &address->v4.sin_addr, 4);
        } else if (entry->ai_family == AF_INET6 && address->v6.sin6_scope_id == 0 && !v6.family) {
            v6.family = 6;
            memcpy(v6.address, &address->v6.sin6_addr, 16);
        }
    }
    struct weft_endpoint first = v4.family ? v4 : v6;
    freeaddrinfo(found);
    if (!first.family)
        return weft_fail(error, WEFT_NOT_FOUND, "host '%.200s' has no IPv4 or global IPv6 address",
                         host);
    *endpoint = first;
    return WEFT_OK;
}

static const char *address_text(const struct weft_endpoint *endpoint, char *text)
{
    if (!inet_ntop(system_family(endpoint), endpoint->address, text, WEFT_ENDPOINT_TEXT_BYTES))
        snprintf(text, WEFT_ENDPOINT_TEXT_BYTES, "?");
    return text;
}

const char *weft_endpoint_text(const struct weft_endpoint *endpoint, char *text)
{
    char address[WEFT_ENDPOINT_TEXT_BYTES];
    snprintf(text, WEFT_ENDPOINT_TEXT_BYTES, endpoint->family == 6 ? "[%.46s]:%u" : "%.46s:%u",
             address_text(endpoint, address), (unsigned)endpoint->port);
    return text;
}

bool weft_endpoint_is_wildcard(const struct weft_endpoint *endpoint)
{
    static const unsigned char zeros[16];
    return memcmp(endpoint->address, zeros, endpoint->family == 6 ? 16 : 4) == 0;
}

static weft_status listen_failed(const struct weft_endpoint *endpoint, const char *what, int code,
                                 struct weft_error *error)
{
    char address[WEFT_ENDPOINT_TEXT_BYTES];
    address_text(endpoint, address);
    if (code == EADDRINUSE)
        return weft_fail(error, WEFT_SYSTEM, "port %u on %s is in use", (unsigned)endpoint->port,
                         address);
    if (code == EADDRNOTAVAIL)
        return weft_fail(error, WEFT_SYSTEM,
                         "cannot listen on %s port %u: it is no address of this host", address,
                         (unsigned)endpoint->port);
    return weft_fail(error, WEFT_SYSTEM, "cannot listen on %s port %u: %s: %s", address,
                     (unsigned)endpoint->port, what, strerror(code));
}

static void set_option(int descriptor, int level, int option, int value)
{
    // Options tune; a socket without one still works.
    int ignored = setsockopt(descriptor, level, option, &value, sizeof value);
    (void)ignored;
}

/* A host that vanishes without a word is noticed after about 20 s; the kernel answers for a
 * process that is merely busy or stopped. */
static void tune(int connection)
{
    set_option(connection, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(connection, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(connection, IPPROTO_TCP, TCP_KEEPIDLE, 5);
    set_option(connection, IPPROTO_TCP, TCP_KEEPINTVL, 3);
    set_option(connection, IPPROTO_TCP, TCP_KEEPCNT, 5);
    set_option(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, 20000);
}

weft_status weft_endpoint_listen(struct weft_endpoint *endpoint, int *listener,
                                 struct weft_error *error)
{
    union any_address address;
    socklen_t bytes = to_system(endpoint, &address);
    int descriptor = socket(system_family(endpoint), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return listen_failed(endpoint, "socket", errno, error);
    const char *what = NULL;
    set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    if (endpoint->family == 6)
        set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(descriptor, &address.any, bytes) != 0)
        what = "bind";
    else if (listen(descriptor, 4096) != 0)
        what = "listen";
    else if (getsockname(descriptor, &address.any, &bytes) != 0)
        what = "getsockname";
    if (what) {
        int code = errno;
        close(descriptor);
        return listen_failed(endpoint, what, code, error);
    }
    endpoint->port = ntohs(endpoint->family == 6 ? address.v6.sin6_port : address.v4.sin_port);
    *listener = descriptor;
    return WEFT_OK;
}

int weft_endpoint_accept(int listener)
{
    int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0)
        tune(connection);
    return connection;
}

weft_status weft_endpoint_connect(const struct weft_endpoint *endpoint, int *connection,
                                  struct weft_error *error)
{
    union any_address address;
    char text[WEFT_ENDPOINT_TEXT_BYTES];
    socklen_t bytes = to_system(endpoint, &address);
    int descriptor = socket(system_family(endpoint), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return weft_fail(error, WEFT_SYSTEM, "no socket for a connection to %s: %s",
                         weft_endpoint_text(endpoint, text), strerror(errno));
    tune(descriptor);
    if (connect(descriptor, &address.any, bytes) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int code = errno;
        close(descriptor);
        return weft_fail(error, WEFT_REMOTE, "%s", strerror(code));
    }
    *connection = descriptor;
    return WEFT_OK;
}

weft_status weft_endpoint_connected(int connection, struct weft_error *error)
{
    int code = 0;
    socklen_t bytes = sizeof code;
    if (getsockopt(connection, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0)
        code = errno;
    if (code != 0)
        return weft_fail(error, WEFT_REMOTE, "%s", strerror(code));
    union any_address mine, other;
    memset(&mine, 0, sizeof mine);
    memset(&other, 0, sizeof other);
    socklen_t mine_bytes = sizeof mine, other_bytes = sizeof other;
    if (getpeername(connection, &other.any, &other_bytes) != 0)
        return errno == ENOTCONN ? WEFT_IN_PROGRESS
                                 : weft_fail(error, WEFT_REMOTE, "%s", strerror(errno));
    if (getsockname(connection, &mine.any, &mine_bytes) == 0 && mine_bytes == other_bytes &&
        memcmp(&mine, &other, mine_bytes) == 0) {
        // Reset instead of TIME_WAIT: the port must stay free for the one who will listen on it.
        struct linger now = {.l_onoff = 1};
        int ignored = setsockopt(connection, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        (void)ignored;
        return weft_fail(error, WEFT_REMOTE, "%s", strerror(ECONNREFUSED));
    }
    return WEFT_OK;
}

void weft_host_name(char *name)
{
    char raw[256] = "";
    if (gethostname(raw, sizeof raw) != 0)
        snprintf(raw, sizeof raw, "?");
    weft_text_clean(name, raw, WEFT_HOST_NAME_BYTES - 1);
}

void weft_text_clean(char *name, const void *from, size_t bytes)
{
    const unsigned char *source = from;
    size_t used = 0;
    for (; used < bytes && source[used]; used++)
        name[used] = source[used] >= 0x20 && source[used] < 0x7f ? (char)source[used] : '?';
    name[used] = '\0';
}
