/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP between the addresses of this machine's own interfaces, by connecting: what the kernel's own
 * way between them takes. It stays inside the machine whatever the interface; other hosts are for
 * calibrate_hosts.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/comm/calibrate_private.h"

enum { CONNECT_MS = 500, MAX_INTERFACES = 4, EXTRA_S = 5 };

struct end {
    struct weft_socket_channel channel;
    const struct weft_calibrate_options *options;
    struct weft_measurement *entry; // NULL: follows
    weft_status status;
    struct weft_error error;
};

static void converse(void *argument)
{
    struct end *end = argument;
    struct weft_channel *channel = &end->channel.base;
    end->status = end->entry ? weft_dialogue_lead(channel, end->options, end->entry, &end->error)
                             : weft_dialogue_follow(channel, end->options->max_bytes, &end->error);
    if (end->status != WEFT_OK)
        (void)shutdown(end->channel.socket, SHUT_RDWR); // ends the other one, too
}

struct way {
    const struct weft_interface *from, *to;
    int processors[2];
};

static weft_status run_ends(const struct way *way, int caller, int called,
                            const struct weft_calibrate_options *options,
                            struct weft_measurement *entry, struct weft_error *error)
{
    int64_t timeout_ns = options->budget_ns + EXTRA_S * INT64_C(1000000000);
    struct end ends[2] = {
        {.channel = weft_socket_channel_make(caller, timeout_ns),
         .options = options,
         .entry = entry},
        {.channel = weft_socket_channel_make(called, timeout_ns), .options = options}};
    const struct weft_placed_work works[2] = {{way->processors[0], converse, &ends[0]},
                                              {way->processors[1], converse, &ends[1]}};
    WEFT_TRY(weft_places_run(works, 2, error));
    return ends[0].status == WEFT_OK ? WEFT_OK
                                     : weft_fail(error, ends[0].status, "%s", ends[0].error.text);
}

static weft_status measure(const struct way *way, const struct weft_calibrate_options *options,
                           struct weft_measurement *entry, struct weft_error *error)
{
    struct weft_interface listening = *way->to;
    unsigned char token[WEFT_TOKEN_BYTES];
    const int64_t connect_ns = CONNECT_MS * INT64_C(1000000);
    if (getrandom(token, sizeof token, 0) != (ssize_t)sizeof token)
        return weft_fail(error, WEFT_SYSTEM, "getrandom: %s", strerror(errno));
    int listener = weft_interface_listen(&listening, false);
    if (listener < 0)
        return weft_fail(error, WEFT_SYSTEM, "cannot listen: %s", strerror(errno));
    weft_status status = WEFT_SYSTEM;
    int caller = weft_interface_connect(way->from, &listening, false, token, connect_ns, error);
    int called = caller < 0 ? -1 : weft_interface_accept(listener, token, connect_ns, error);
    if (called >= 0)
        status = run_ends(way, caller, called, options, entry, error);
    if (called >= 0)
        close(called);
    if (caller >= 0)
        close(caller);
    close(listener);
    return status;
}

weft_status weft_calibrate_interfaces(const struct weft_topology *t,
                                      const struct weft_places *places,
                                      const struct weft_calibrate_options *options,
                                      struct weft_measurements *m, struct weft_error *error)
{
    struct weft_interface interfaces[MAX_INTERFACES];
    int count = weft_interfaces_list(interfaces, MAX_INTERFACES, true), num_pairs = 0;
    int host = -1, a = -1, b = -1;
    for (int i = 0; i < t->num_nodes && host < 0; i++)
        if (t->nodes[i].kind == WEFT_NODE_HOST)
            host = i;
    bool has_cores = weft_places_pair(places, 0, &a, &b);
    for (int i = 0; i < count; i++)
        for (int k = i; k < count; k++)
            num_pairs += interfaces[i].is_ipv6 == interfaces[k].is_ipv6;
    if (num_pairs == 0)
        return weft_calibrate_absent(m, "tcp-interface", "", "", error, "no interface is up");
    struct weft_calibrate_options slice = *options;
    slice.budget_ns /= num_pairs;
    for (int i = 0; i < count; i++)
        for (int k = i; k < count; k++) {
            char from[WEFT_TOPOLOGY_NAME_BYTES], to[WEFT_TOPOLOGY_NAME_BYTES];
            if (interfaces[i].is_ipv6 != interfaces[k].is_ipv6)
                continue;
            weft_interface_name(t, host, &interfaces[i], from, sizeof from);
            weft_interface_name(t, host, &interfaces[k], to, sizeof to);
            struct weft_measurement *entry = weft_measurements_add(m, "tcp-interface", from, to);
            if (!entry)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
            const struct way way = {&interfaces[i],
                                    &interfaces[k],
                                    {has_cores ? places->cores[a].processor : -1,
                                     has_cores ? places->cores[b].processor : -1}};
            struct weft_error why = {0};
            if (measure(&way, &slice, entry, &why) != WEFT_OK)
                snprintf(entry->note, sizeof entry->note, "%.150s", why.text);
        }
    return WEFT_OK;
}
