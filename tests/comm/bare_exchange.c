/*
 * SPDX-License-Identifier: Apache-2.0
 * One socket, one thread, one loop. The options of the socket are those that the library sets.
 */
#include "tests/comm/bare_exchange.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10 };

struct bare_exchange {
    int socket;
    size_t bytes;
    char *out, *in; // (bytes)
    pthread_t thread;
    bool has_thread, is_stopping;
    int result;
    sem_t begin, end;
};

// The first address of this host that another may reach, else loopback.
static struct sockaddr_in own_address(void)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return own;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && i->ifa_flags & IFF_UP &&
            !(i->ifa_flags & IFF_LOOPBACK)) {
            memcpy(&own, i->ifa_addr, sizeof own);
            break;
        }
    freeifaddrs(all);
    own.sin_port = 0;
    return own;
}

// Rank 0 tells rank 1 where it listens.
static int meet(weft_comm *comm)
{
    struct sockaddr_in address = own_address();
    socklen_t length = sizeof address;
    int rank = weft_comm_rank(comm), connected = -1, door = socket(AF_INET, SOCK_STREAM, 0);
    bool is_ready = door >= 0;
    if (rank == 0)
        is_ready = is_ready && bind(door, (struct sockaddr *)&address, sizeof address) == 0 &&
                   listen(door, 1) == 0 &&
                   getsockname(door, (struct sockaddr *)&address, &length) == 0;
    if (weft_broadcast(&address, &address, sizeof address, WEFT_UINT8, 0, comm, NULL) != WEFT_OK)
        is_ready = false;
    if (is_ready && rank == 0) {
        connected = accept(door, NULL, NULL);
    } else if (is_ready && connect(door, (struct sockaddr *)&address, sizeof address) == 0) {
        connected = door;
        door = -1;
    }
    if (door >= 0)
        close(door);
    return connected;
}

// A part of what is left, both ways. -1: broken.
static int move(struct bare_exchange *exchange, const struct pollfd *ready, size_t *sent,
                size_t *got)
{
    ssize_t count = 0;
    if (ready->revents & POLLOUT)
        count = send(exchange->socket, exchange->out + *sent, exchange->bytes - *sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN)
        return -1;
    *sent += count > 0 ? (size_t)count : 0;
    if (!(ready->revents & (POLLIN | POLLHUP | POLLERR)))
        return 0;
    count = recv(exchange->socket, exchange->in + *got, exchange->bytes - *got, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN))
        return -1;
    *got += count > 0 ? (size_t)count : 0;
    return 0;
}

static int exchange_once(struct bare_exchange *exchange)
{
    size_t sent = 0, got = 0, bytes = exchange->bytes;
    int mark = 0;
    while (sent < bytes || got < bytes) {
        size_t left = bytes - got;
        int wanted = left < PIECE_BYTES ? (int)left : PIECE_BYTES;
        if (wanted > 0 && wanted != mark)
            setsockopt(exchange->socket, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted);
        mark = wanted;
        struct pollfd ready = {
            .fd = exchange->socket,
            .events = (short)((sent < bytes ? POLLOUT : 0) | (got < bytes ? POLLIN : 0))};
        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
            return -1;
        if (move(exchange, &ready, &sent, &got) != 0)
            return -1;
    }
    return 0;
}

static void *run(void *argument)
{
    struct bare_exchange *exchange = argument;
    for (;;) {
        while (sem_wait(&exchange->begin) != 0)
            ;
        if (exchange->is_stopping)
            return NULL;
        exchange->result = exchange_once(exchange);
        sem_post(&exchange->end);
    }
}

struct bare_exchange *bare_exchange_open(weft_comm *comm, size_t bytes)
{
    const int unsent = PIECE_BYTES;
    struct bare_exchange *made = calloc(1, sizeof *made);
    int connected = meet(comm); // in any case: the other rank waits for it
    if (!made || connected < 0) {
        if (connected >= 0)
            close(connected);
        free(made);
        return NULL;
    }
    made->socket = connected;
    made->bytes = bytes;
    made->out = malloc(bytes);
    made->in = malloc(bytes);
    if (made->out && made->in) { // memory that is there: all pages of a new one may be the same
        memset(made->out, 1, bytes);
        memset(made->in, 1, bytes);
    }
    setsockopt(connected, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    setsockopt(connected, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    sem_init(&made->begin, 0, 0);
    sem_init(&made->end, 0, 0);
    made->has_thread = made->out && made->in && pthread_create(&made->thread, NULL, run, made) == 0;
    if (!made->has_thread)
        bare_exchange_close(&made);
    return made;
}

void bare_exchange_close(struct bare_exchange **exchange)
{
    struct bare_exchange *gone = *exchange;
    *exchange = NULL;
    if (!gone)
        return;
    gone->is_stopping = true;
    sem_post(&gone->begin);
    if (gone->has_thread)
        pthread_join(gone->thread, NULL);
    close(gone->socket);
    free(gone->out);
    free(gone->in);
    free(gone);
}

void bare_exchange_begin(struct bare_exchange *exchange)
{
    sem_post(&exchange->begin);
}

int bare_exchange_wait(struct bare_exchange *exchange)
{
    while (sem_wait(&exchange->end) != 0)
        ;
    return exchange->result;
}
