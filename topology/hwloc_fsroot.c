/*
 * SPDX-License-Identifier: Apache-2.0
 * hwloc over a copied tree. hwloc takes the tree's place only from the variable HWLOC_FSROOT, and a
 * library must not change the environment of the process it lives in. So a child process with an
 * environment of its own loads it and sends the graph back as JSON through a pipe. What a strange
 * tree makes hwloc do (crash, hang, leak) stays in the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "topology/hwloc_import.h"
#include "topology/json.h"
#include "topology/probe.h"

enum { ANSWER_LIMIT_BYTES = 1 << 28 };
static const int64_t deadline_ns = INT64_C(60) * 1000000000;

static const char *const variables[] = {
    "HWLOC_FSROOT=",     // its value is the tree
    "HWLOC_XMLFILE=",    // a second source would win
    "HWLOC_SYNTHETIC=",  //
    "HWLOC_COMPONENTS=", // of the live machine nothing is asked
    "HWLOC_HIDE_ERRORS=",
    "HWLOC_THISSYSTEM=",
    "HWLOC_KEEP_NVIDIA_GPU_NUMA_NODES=", // GPU memory that Linux lists as NUMA nodes
};
static const char *const values[] = {NULL, "", "", "linux,stop", "2", "0", "1"};
enum { NUM_VARIABLES = sizeof variables / sizeof variables[0] };

struct environment {
    char **all;
    char *own[NUM_VARIABLES];
};

static void free_environment(struct environment *environment)
{
    for (int i = 0; i < NUM_VARIABLES; i++)
        free(environment->own[i]);
    free(environment->all);
}

/* The caller's variables with ours in place of theirs. Made before the fork: setenv may wait for a
 * lock that another thread held. */
static bool make_environment(struct environment *environment, const char *root)
{
    size_t count = 0, used = 0;
    while (environ && environ[count])
        count++;
    environment->all = calloc(count + NUM_VARIABLES + 1, sizeof *environment->all);
    for (size_t i = 0; environment->all && i < count; i++) {
        bool is_ours = false;
        for (int j = 0; j < NUM_VARIABLES; j++)
            is_ours |= strncmp(environ[i], variables[j], strlen(variables[j])) == 0;
        if (!is_ours)
            environment->all[used++] = environ[i];
    }
    for (int i = 0; environment->all && i < NUM_VARIABLES; i++) {
        const char *value = values[i] ? values[i] : root;
        if (!value[0])
            continue;
        if (asprintf(&environment->own[i], "%s%s", variables[i], value) < 0) {
            environment->own[i] = NULL;
            return false;
        }
        environment->all[used++] = environment->own[i];
    }
    return environment->all != NULL;
}

/* In the child: a 'K' and the graph, or an 'E' and a sentence. */
static _Noreturn void answer(int pipe, pid_t parent, char **environment)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    environ = environment;
    struct weft_topology *topology = NULL;
    struct weft_error error = {0};
    FILE *stream = fdopen(pipe, "w");
    if (!stream)
        _exit(1);
    weft_status status = weft_topology_create(&topology, &error);
    if (status == WEFT_OK)
        status = weft_hwloc_load_system(topology, "its sys and proc", &error);
    if (status == WEFT_OK)
        status = weft_topology_check(topology, &error);
    fputc(status == WEFT_OK ? 'K' : 'E', stream);
    if (status == WEFT_OK)
        status = weft_topology_write_json(topology, stream, NULL);
    else
        fputs(error.text, stream);
    _exit(fclose(stream) == 0 && status == WEFT_OK ? 0 : 1);
}

/* All that comes through the pipe until its end. */
static weft_status read_answer(int pipe, const char *root, char **text, size_t *bytes,
                               struct weft_error *error)
{
    size_t room = 1 << 16;
    int64_t end_ns = weft_clock_ns() + deadline_ns;
    *bytes = 0;
    *text = malloc(room);
    while (*text) {
        int64_t left_ms = (end_ns - weft_clock_ns()) / 1000000;
        struct pollfd ready = {.fd = pipe, .events = POLLIN};
        int polled = left_ms > 0 ? poll(&ready, 1, (int)left_ms) : 0;
        if (polled == 0)
            return weft_fail(error, WEFT_TIMEOUT, "%.200s: hwloc has not read it in %lld s", root,
                             (long long)(deadline_ns / 1000000000));
        ssize_t got = polled > 0 ? read(pipe, *text + *bytes, room - *bytes - 1) : -1;
        if (got < 0 && errno != EINTR)
            return weft_fail(error, WEFT_SYSTEM, "%.200s: %s", root, strerror(errno));
        if (got == 0) {
            (*text)[*bytes] = '\0';
            return WEFT_OK;
        }
        *bytes += got > 0 ? (size_t)got : 0;
        if (*bytes >= ANSWER_LIMIT_BYTES)
            return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s: too large a machine", root);
        if (*bytes + 1 < room)
            continue;
        char *larger = realloc(*text, room *= 2);
        if (!larger)
            break;
        *text = larger;
    }
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", root);
}

static weft_status take_answer(const char *text, size_t bytes, const char *root,
                               struct weft_topology **topology, struct weft_error *error)
{
    if (bytes > 1 && text[0] == 'K')
        return weft_topology_read_json(text + 1, bytes - 1, root, topology, error);
    return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s: %.250s", root,
                     bytes > 1 && text[0] == 'E' ? text + 1 : "hwloc crashed on it");
}

weft_status weft_probe_hwloc_fsroot(const char *root, struct weft_topology **topology,
                                    struct weft_error *error)
{
    struct environment environment = {.all = NULL};
    int ends[2] = {-1, -1};
    char *text = NULL;
    size_t bytes = 0;
    pid_t child = -1, self = getpid();
    weft_status status = WEFT_OK;
    if (!make_environment(&environment, root))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", root);
    else if (pipe2(ends, O_CLOEXEC) != 0 || (child = fork()) < 0)
        status = weft_fail(error, WEFT_SYSTEM, "%.200s: no process to read it: %s", root,
                           strerror(errno));
    if (child == 0)
        answer(ends[1], self, environment.all);
    if (ends[1] >= 0)
        close(ends[1]);
    if (child > 0) {
        status = read_answer(ends[0], root, &text, &bytes, error);
        kill(child, SIGKILL); // it has said all, or will not
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (ends[0] >= 0)
        close(ends[0]);
    free_environment(&environment);
    if (status == WEFT_OK)
        status = take_answer(text, bytes, root, topology, error);
    free(text);
    return status;
}
