/*
 * SPDX-License-Identifier: Apache-2.0
 * The context: devices, the one loop that makes everything progress, and waiting. Waiting spins
 * briefly, then yields, then sleeps on one epoll descriptor that transports, control planes and
 * other threads can wake; with more ranks than cores it never spins.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "collectives/comm/progress.h"
#include "collectives/comm/trace.h"
#include "transport/machine.h"

enum {
    SPIN_ROUNDS = 500,         // some tens of microseconds
    YIELD_ROUNDS = 2000,       // after spinning, or instead of it: about a millisecond
    YIELD_NS = 100000,         // where somebody rings, no longer than this
    LATE_NS = 2000000,         // a single yield that takes longer: others keep the core,
    NO_YIELDS_NS = 1000000000, // and for so long it is not given away
    HOUSEKEEPING_ROUNDS = 64,  // rounds between looks at sockets and clocks
    SLEEP_LIMIT_MS = 100,
    FLAT_NAP_NS = 50000,
    CACHES_LIMIT = 8,
    CACHE_OF_CORE_BYTES = 16 << 20, // no more is likely to be left for each
    CACHE_BYTES = 8 << 20,          // where the system does not say
};

/* ---- creation ---- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = weft_hash_mix(hash, ((const unsigned char *)bytes)[i]);
    return hash;
}

/* Cores are shared by what has one boot id, memory by what has one network namespace, too. */
static void find_identity(struct weft_context *context)
{
    struct weft_machine machine;
    struct weft_error why;
    if (weft_machine_identify(&machine, &why) != WEFT_OK) {
        WEFT_LOG(WEFT_LOG_INFO, "every rank counts as a host of its own: %s", why.text);
        context->machine_id = context->host_id =
            hash_bytes(1, context->process_id, sizeof context->process_id);
        return;
    }
    context->machine_id = hash_bytes(0, machine.boot_id, sizeof machine.boot_id);
    context->host_id =
        hash_bytes(context->machine_id, &machine.network_device, sizeof machine.network_device);
    context->host_id =
        hash_bytes(context->host_id, &machine.network_inode, sizeof machine.network_inode);
}

// Cores this process may run on: affinity, and the cgroup's quota rounded up.
static void find_cores(struct weft_context *context)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_SET(0, &set);
    context->num_cores = CPU_COUNT(&set);
    for (int core = 0; core < WEFT_CORE_WORDS * 64; core++)
        if (CPU_ISSET(core, &set))
            context->cores[core / 64] |= UINT64_C(1) << core % 64;
    char *text;
    size_t bytes;
    if (weft_file_read("/sys/fs/cgroup/cpu.max", 256, &text, &bytes, NULL) == WEFT_OK) {
        long long quota, period;
        if (sscanf(text, "%lld %lld", &quota, &period) == 2 && period > 0 &&
            (quota + period - 1) / period < context->num_cores)
            context->num_cores = (int)((quota + period - 1) / period);
        free(text);
    }
    context->num_cores = context->num_cores > 0 ? context->num_cores : 1;
}

// The largest one of the first core; what the processor tells the C library may be another
// machine's. A virtual machine may show the whole cache of a processor of which it has few cores.
static void find_cache(struct weft_context *context)
{
    context->cache_bytes = CACHE_BYTES;
    for (int i = 0; i < CACHES_LIMIT; i++) {
        char path[80], *text;
        size_t bytes;
        unsigned long kilobytes = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        if (weft_file_read(path, 64, &text, &bytes, NULL) != WEFT_OK)
            continue;
        if (sscanf(text, "%luK", &kilobytes) == 1 && kilobytes < SIZE_MAX >> 10)
            context->cache_bytes = kilobytes << 10; // they come in order of level
        free(text);
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = (size_t)(cores > 0 ? cores : 1) * CACHE_OF_CORE_BYTES;
    context->cache_bytes = context->cache_bytes < most ? context->cache_bytes : most;
}

static bool is_wanted(const char *list, const char *name)
{
    size_t length = strlen(name);
    if (!*list)
        return true;
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* None of those wanted is there: each with its reason. */
static weft_status refuse(const struct weft_context *context, const char *names,
                          struct weft_error *error)
{
    char reasons[400] = "";
    for (int i = 0; weft_transports[i] && i < WEFT_DEVICES_LIMIT; i++) {
        size_t used = strlen(reasons);
        if (is_wanted(names, weft_transports[i]->name))
            snprintf(reasons + used, sizeof reasons - used, "; %s: %s", weft_transports[i]->name,
                     context->device_reasons[i]);
    }
    return weft_fail(error, WEFT_UNSUPPORTED, "no transport of '%s' works here%s",
                     *names ? names : "all", reasons);
}

weft_status weft_context_transports(const struct weft_context *context, const char *names,
                                    uint64_t *mask, struct weft_error *error)
{
    uint64_t found = 0;
    for (const char *at = names ? names : ""; *at;) {
        size_t length = strcspn(at, ",");
        bool is_known = false;
        for (int i = 0; weft_transports[i]; i++)
            is_known |= strlen(weft_transports[i]->name) == length &&
                        strncmp(weft_transports[i]->name, at, length) == 0;
        if (!is_known)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no transport '%.*s'",
                             (int)length, at);
        at += length + (at[length] == ',');
    }
    for (int i = 0; weft_transports[i] && i < WEFT_DEVICES_LIMIT; i++)
        if (context->devices[i] && is_wanted(names ? names : "", weft_transports[i]->name))
            found |= UINT64_C(1) << i;
    if (!found)
        return refuse(context, names ? names : "", error);
    *mask = found;
    return WEFT_OK;
}

static weft_status open_devices(struct weft_context *context, struct weft_error *error)
{
    const struct weft_config *config = &context->config;
    if (is_wanted(config->transports, weft_verbs_transport.name))
        weft_rdma_facts_find(config, &context->rdma);
    const struct weft_verbs_options verbs = {
        .hca = config->ib_hca,
        .pkey = config->ib_pkey,
        .gid_index = config->ib_gid_index,
        .service_level = config->ib_service_level,
        .traffic_class = config->ib_traffic_class,
        .timeout = config->ib_timeout,
        .retry = config->ib_retry,
        .known = context->rdma.known,
        .num_known = context->rdma.num_known,
    };
    struct weft_device_options options = {
        .listen_address = config->bootstrap_address,
        .more_addresses = config->tcp_addresses,
        .congestion = config->tcp_congestion,
        .checksums = config->tcp_checksum != 0,
        .verbs = &verbs,
        .events = weft_world_device_events_prototype,
    };
    memcpy(options.process_id, context->process_id, sizeof options.process_id);
    for (int i = 0; weft_transports[i] && i < WEFT_DEVICES_LIMIT; i++) {
        struct weft_error why = {.text = "not in WEFT_TRANSPORTS"};
        options.eager_bytes = context->config.eager_bytes > 0 ? (size_t)context->config.eager_bytes
                                                              : weft_transports[i]->eager_bytes;
        weft_status status = is_wanted(config->transports, weft_transports[i]->name)
                                 ? weft_transports[i]->open(&options, &context->devices[i], &why)
                                 : WEFT_UNSUPPORTED;
        if (status == WEFT_INVALID_ARGUMENT) // a variable asks for what is not there
            return weft_fail(error, status, "%s", why.text);
        if (status != WEFT_OK) {
            snprintf(context->device_reasons[i], sizeof context->device_reasons[i], "%.250s",
                     why.text);
            WEFT_LOG(status == WEFT_UNSUPPORTED ? WEFT_LOG_INFO : WEFT_LOG_WARN, "transport %s: %s",
                     weft_transports[i]->name, why.text);
            continue;
        }
        weft_context_watch(context, weft_transports[i]->descriptor(context->devices[i]));
        if (context->sharing_device < 0 &&
            (weft_transports[i]->capabilities & WEFT_TRANSPORT_SHARES))
            context->sharing_device = i;
    }
    uint64_t mask;
    weft_status status = weft_context_transports(context, context->config.transports, &mask, error);
    return status == WEFT_OK ? status : weft_fail_prefix(error, "WEFT_TRANSPORTS");
}

/* The number of a word among `num_names`. */
static weft_status read_word(const char *variable, const char *value, const char *const names[],
                             int num_names, int *number, struct weft_error *error)
{
    char all[64] = "";
    for (int i = 0; i < num_names; i++) {
        if (!strcmp(names[i], value)) {
            *number = i;
            return WEFT_OK;
        }
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", names[i]);
    }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: '%.32s' is none of%s", variable, value,
                     all);
}

static weft_status read_words(struct weft_context *context, struct weft_error *error)
{
    static const char *const spins[] = {
        [WEFT_SPIN_AUTO] = "auto",
        [WEFT_SPIN_ALWAYS] = "spin",
        [WEFT_SPIN_NEVER] = "yield",
        [WEFT_SPIN_SLEEP] = "sleep",
    };
    static const char *const fetchings[] = {
        [WEFT_FETCH_AUTO] = "auto",
        [WEFT_FETCH_NEVER] = "never",
        [WEFT_FETCH_ALWAYS] = "always",
    };
    int spin = 0, fetching = 0;
    WEFT_TRY(read_word("WEFT_SPIN", context->config.spin, spins, 4, &spin, error));
    WEFT_TRY(
        read_word("WEFT_SINGLE_COPY", context->config.single_copy, fetchings, 3, &fetching, error));
    context->spin = (enum weft_spin)spin;
    context->fetching = (enum weft_fetching)fetching;
    return WEFT_OK;
}

static weft_status open_context(struct weft_context *context, struct weft_error *error)
{
    context->sharing_device = -1;
    context->poll = context->wake = -1;
    WEFT_TRY(weft_config_load(&context->config, error));
    WEFT_TRY(read_words(context, error));
    if (getrandom(context->process_id, sizeof context->process_id, 0) !=
        (ssize_t)sizeof context->process_id)
        return weft_fail(error, WEFT_SYSTEM, "getrandom: %s", strerror(errno));
    find_identity(context);
    find_cores(context);
    find_cache(context);
    context->poll = epoll_create1(EPOLL_CLOEXEC);
    context->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (context->poll < 0 || context->wake < 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll or eventfd: %s", strerror(errno));
    weft_context_watch(context, context->wake);
    return open_devices(context, error);
}

weft_status weft_context_create(weft_context **context)
{
    if (!context)
        return WEFT_INVALID_ARGUMENT;
    struct weft_context *made = calloc(1, sizeof *made);
    struct weft_error error;
    if (!made)
        return WEFT_OUT_OF_MEMORY;
    weft_status status = open_context(made, &error);
    if (status == WEFT_OK)
        status = weft_progress_start(made, &error);
    if (status != WEFT_OK) {
        WEFT_LOG(WEFT_LOG_ERROR, "%s", error.text);
        weft_context_destroy(&made);
        return status;
    }
    *context = made;
    return WEFT_OK;
}

/* ---- memory ---- */

struct block {
    struct block *next;
    void *memory;
    size_t bytes;
    bool is_shared; // by sharing_device
};

static weft_status map_private(size_t bytes, void **memory, struct weft_error *error)
{
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*memory != MAP_FAILED)
        return WEFT_OK;
    return weft_fail(error, errno == ENOMEM ? WEFT_OUT_OF_MEMORY : WEFT_SYSTEM,
                     "%zu bytes of memory: %s", bytes, strerror(errno));
}

weft_status weft_mem_alloc(weft_context *context, size_t bytes, void **memory)
{
    struct weft_shared_block ignored;
    if (!context || !memory)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    struct block *block = malloc(sizeof *block);
    if (!block)
        return weft_fail(&context->error, WEFT_OUT_OF_MEMORY, "no memory for %zu bytes", bytes);
    *block = (struct block){.next = context->memory,
                            .bytes = bytes ? bytes : 1,
                            .is_shared = context->sharing_device >= 0};
    struct weft_device *device =
        block->is_shared ? context->devices[context->sharing_device] : NULL;
    weft_status status = device ? device->transport->share(device, block->bytes, &block->memory,
                                                           &ignored, &context->error)
                                : map_private(block->bytes, &block->memory, &context->error);
    if (status != WEFT_OK) {
        free(block);
        return status;
    }
    context->memory = block;
    *memory = block->memory;
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (context->devices[i])
            context->devices[i]->transport->remember(context->devices[i], block->memory,
                                                     block->bytes);
    return WEFT_OK;
}

weft_status weft_mem_free(weft_context *context, void *memory)
{
    if (!context)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    for (struct block **link = (struct block **)&context->memory; memory && *link;
         link = &(*link)->next) {
        struct block *block = *link;
        if (block->memory != memory)
            continue;
        *link = block->next;
        for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
            if (context->devices[i])
                context->devices[i]->transport->forget(context->devices[i], memory);
        struct weft_device *device =
            block->is_shared ? context->devices[context->sharing_device] : NULL;
        if (device)
            device->transport->unshare(device, block->memory);
        else
            munmap(block->memory, block->bytes);
        free(block);
        return WEFT_OK;
    }
    return memory ? weft_fail(&context->error, WEFT_INVALID_ARGUMENT,
                              "memory not from weft_mem_alloc of this context")
                  : WEFT_OK;
}

void weft_context_destroy(weft_context **context)
{
    if (!context || !*context)
        return;
    struct weft_context *old = *context;
    weft_progress_stop(old);
    for (struct weft_comm *comm = old->comms; comm; comm = comm->next)
        if (comm->outstanding > 0)
            weft_comm_fail(comm, WEFT_ABORTED, true,
                           "rank %d destroyed its context with %d operations outstanding",
                           comm->rank, comm->outstanding);
    weft_operations_fail(old, NULL, WEFT_ABORTED);
    while (old->comms) {
        struct weft_comm *comm = old->comms;
        weft_comm_destroy(&comm);
    }
    while (old->memory) {
        weft_status status = weft_mem_free(old, ((struct block *)old->memory)->memory);
        (void)status; // it is ours
    }
    while (old->served) {
        struct weft_served *next = old->served->next;
        weft_meeting_close(&old->served->meeting);
        free(old->served);
        old->served = next;
    }
    weft_rendezvous_close(&old->rendezvous);
    weft_areas_forget(old);
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (old->devices[i])
            weft_transports[i]->close(&old->devices[i]);
    if (old->wake >= 0)
        close(old->wake);
    if (old->poll >= 0)
        close(old->poll);
    while (old->spare_operations) {
        struct weft_operation *next = old->spare_operations->next;
        free(old->spare_operations);
        old->spare_operations = next;
    }
    weft_config_free(&old->config);
    free(old);
    *context = NULL;
}

const char *weft_context_error_text(const weft_context *context)
{
    if (!context || !context->progress)
        return context ? context->error.text : "";
    return weft_progress_text(context->progress, &context->error);
}

/* ---- progress and waiting ---- */

void weft_context_watch(struct weft_context *context, int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (descriptor >= 0 && epoll_ctl(context->poll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        WEFT_LOG(WEFT_LOG_WARN, "epoll_ctl: %s", strerror(errno)); // waits then poll instead
}

void weft_context_fault_point(struct weft_context *context, const char *phase, int rank)
{
    char wanted[64];
    if (!*context->config.fault)
        return;
    snprintf(wanted, sizeof wanted, "kill:%s:%d", phase, rank);
    if (!strcmp(wanted, context->config.fault))
        raise(SIGKILL);
}

static bool has_connections(const struct weft_context *context, const struct weft_device *device)
{
    for (const struct weft_world *world = context->worlds; world; world = world->next)
        for (int i = 0; i < world->num_ranks; i++)
            if (world->connections[i] && world->connections[i]->device == device)
                return true;
    return false;
}

static int housekeeping(struct weft_context *context)
{
    int events = weft_comms_notice_aborts(context);
    // A failed meeting tells its ranks, this one included, through their own ends of it.
    for (struct weft_served **link = &context->served, *served; (served = *link);) {
        if (weft_meeting_progress(served->meeting, NULL) == WEFT_IN_PROGRESS) {
            link = &served->next;
            continue;
        }
        *link = served->next;
        weft_meeting_close(&served->meeting);
        free(served);
    }
    if (context->rendezvous) {
        weft_status status = weft_rendezvous_progress(context->rendezvous, NULL);
        (void)status; // as above
    }
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        context->is_device_busy[i] =
            context->devices[i] && has_connections(context, context->devices[i]);
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (context->devices[i] && !context->is_device_busy[i])
            events += weft_transports[i]->progress(context->devices[i]);
    for (struct weft_world *world = context->worlds; world; world = world->next)
        events += weft_control_progress(world->control);
    return events;
}

int weft_context_progress(struct weft_context *context, bool is_thorough)
{
    int events = 0;
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (context->is_device_busy[i])
            events += weft_transports[i]->progress(context->devices[i]);
    if (is_thorough)
        events += housekeeping(context);
    return events + weft_operations_progress(context, is_thorough);
}

void weft_context_arm(struct weft_context *context, bool sleeping)
{
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (context->devices[i])
            weft_transports[i]->arm(context->devices[i], sleeping);
}

static void sleep_until_event(struct weft_context *context, int limit_ms)
{
    struct epoll_event events[8];
    if (context->flat_waiters > 0) { // nobody rings a bell for flat slots: look often
        const struct timespec nap = {.tv_nsec = FLAT_NAP_NS};
        nanosleep(&nap, NULL);
        weft_context_progress(context, true);
        return;
    }
    weft_context_arm(context, true);
    if (weft_context_progress(context, true) == 0) {
        int64_t left = weft_operations_next_deadline(context) - weft_clock_ns();
        int timeout_ms = left / 1000000 < limit_ms ? (int)(left / 1000000) + 1 : limit_ms;
        int ready = epoll_wait(context->poll, events, 8, timeout_ms < 0 ? 0 : timeout_ms);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == context->wake) {
                uint64_t count;
                ssize_t ignored = read(context->wake, &count, sizeof count);
                (void)ignored; // only empties it
            }
    }
    weft_context_arm(context, false);
}

void weft_context_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A rank that yields stays ready to run, so nothing that arrives brings it back before those who
 * got the core have had their time slices; one that sleeps is woken at once. So where somebody
 * rings, yields are for what comes soon, and not for cores that others need. */
static bool yield(struct weft_context *context, bool is_first)
{
    int64_t begin_ns = weft_clock_ns();
    if (is_first)
        context->yields_end_ns = begin_ns + YIELD_NS;
    if (context->flat_waiters == 0 && context->spin == WEFT_SPIN_AUTO &&
        (begin_ns >= context->yields_end_ns || begin_ns < context->no_yields_until_ns))
        return false;
    sched_yield();
    int64_t end_ns = weft_clock_ns();
    if (end_ns - begin_ns > LATE_NS)
        context->no_yields_until_ns = end_ns + NO_YIELDS_NS;
    return true;
}

void weft_context_backoff(struct weft_context *context, int idle)
{
    bool may_spin = context->spin == WEFT_SPIN_ALWAYS ||
                    (context->spin == WEFT_SPIN_AUTO && !context->is_oversubscribed);
    int spins = may_spin ? SPIN_ROUNDS : 0;
    int yields = context->spin == WEFT_SPIN_SLEEP ? 0 : YIELD_ROUNDS;
    if (idle < spins || context->spin == WEFT_SPIN_ALWAYS)
        weft_context_relax();
    else if (idle >= spins + yields || !yield(context, idle <= spins + 1))
        sleep_until_event(context, SLEEP_LIMIT_MS);
}

weft_status weft_context_wait(struct weft_context *context, weft_request *request)
{
    unsigned rounds = 0;
    for (int idle = 0; weft_request_status(request) == WEFT_IN_PROGRESS;) {
        if (weft_context_progress(context, ++rounds % HOUSEKEEPING_ROUNDS == 0) > 0)
            idle = 0;
        else
            weft_context_backoff(context, idle < INT_MAX ? ++idle : idle);
    }
    return weft_request_status(request);
}
