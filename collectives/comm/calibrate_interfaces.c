/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP between the addresses of this machine's own interfaces, by connecting: what the kernel's own
 * way between them takes. It stays inside the machine whatever the interface; other hosts are for
 * calibrate_hosts.c.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/comm/calibrate_private.h"

enum { CONNECT_MS = 500, MAX_INTERFACES = 4, EXTRA_S = 5 };

struct listener_end {
    int socket;
    int processor;
    int64_t timeout_ns, max_bytes;
    weft_status status;
    struct weft_error error;
};

static void *follow_thread(void *argument)
{
    struct listener_end *end = argument;
    struct weft_socket_channel channel = weft_socket_channel_make(end->socket, end->timeout_ns);
    weft_place_bind(end->processor);
    end->status = weft_dialogue_follow(&channel.base, end->max_bytes, &end->error);
    return NULL;
}

static weft_status converse(int caller, int called, int processor,
                            const struct weft_calibrate_options *options,
                            struct weft_measurement *entry, struct weft_error *error)
{
    int64_t timeout_ns = options->budget_ns + EXTRA_S * INT64_C(1000000000);
    struct listener_end end = {.socket = called,
                               .processor = processor,
                               .timeout_ns = timeout_ns,
                               .max_bytes = options->max_bytes};
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, follow_thread, &end);
    if (failed)
        return weft_fail(error, WEFT_SYSTEM, "no thread: %s", strerror(failed));
    struct weft_socket_channel channel = weft_socket_channel_make(caller, timeout_ns);
    weft_status status = weft_dialogue_lead(&channel.base, options, entry, error);
    if (status != WEFT_OK)
        (void)shutdown(caller, SHUT_RDWR); // ends the thread
    pthread_join(thread, NULL);
    return status;
}

static weft_status connect_and_converse(const struct weft_interface *from,
                                        const struct weft_interface *to, int processor,
                                        const struct weft_calibrate_options *options,
                                        struct weft_measurement *entry, struct weft_error *error)
{
    struct weft_interface listening = *to;
    unsigned char token[WEFT_TOKEN_BYTES];
    const int64_t connect_ns = CONNECT_MS * INT64_C(1000000);
    if (getrandom(token, sizeof token, 0) != (ssize_t)sizeof token)
        return weft_fail(error, WEFT_SYSTEM, "getrandom: %s", strerror(errno));
    int listener = weft_interface_listen(&listening, false);
    if (listener < 0)
        return weft_fail(error, WEFT_SYSTEM, "cannot listen: %s", strerror(errno));
    weft_status status = WEFT_SYSTEM;
    int caller = weft_interface_connect(from, &listening, false, token, connect_ns, error);
    int called = caller < 0 ? -1 : weft_interface_accept(listener, token, connect_ns, error);
    if (called >= 0)
        status = converse(caller, called, processor, options, entry, error);
    if (called >= 0)
        close(called);
    if (caller >= 0)
        close(caller);
    close(listener);
    return status;
}

struct caller {
    const struct weft_interface *from, *to;
    int processor, other_processor;
    const struct weft_calibrate_options *options;
    struct weft_measurement *entry;
};

static void *call_thread(void *argument)
{
    struct caller *caller = argument;
    struct weft_error why = {0};
    weft_place_bind(caller->processor);
    if (connect_and_converse(caller->from, caller->to, caller->other_processor, caller->options,
                             caller->entry, &why) != WEFT_OK)
        snprintf(caller->entry->note, sizeof caller->entry->note, "%.150s", why.text);
    return NULL;
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
            struct caller caller = {&interfaces[i],
                                    &interfaces[k],
                                    has_cores ? places->cores[a].processor : -1,
                                    has_cores ? places->cores[b].processor : -1,
                                    &slice,
                                    weft_measurements_add(m, "tcp-interface", from, to)};
            if (!caller.entry)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
            pthread_t thread; // so that the binding ends with it
            int failed = pthread_create(&thread, NULL, call_thread, &caller);
            if (failed)
                return weft_fail(error, WEFT_SYSTEM, "calibration: no thread: %s",
                                 strerror(failed));
            pthread_join(thread, NULL);
        }
    return WEFT_OK;
}
