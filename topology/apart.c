/*
 * SPDX-License-Identifier: Apache-2.0
 * See apart.h. fork twice: the first child only makes the second and is waited for, the second does
 * the work and belongs to init. It answers with one letter, then text: "T" and the graph as JSON,
 * or "E", a letter for the status, and the sentence.
 */
#include "topology/apart.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "topology/json.h"

enum { MAX_ANSWER_BYTES = 1 << 28, FIRST_ROOM = 1 << 16 };

/* ---- the other process ---- */

/* Whether the file must stay: the library may have opened its driver before. */
static bool is_driver_file(const char *number)
{
    char path[300], target[32];
    snprintf(path, sizeof path, "/proc/self/fd/%s", number);
    ssize_t bytes = readlink(path, target, sizeof target - 1);
    target[bytes > 0 ? bytes : 0] = '\0';
    return strncmp(target, "/dev/nvidia", 11) == 0;
}

/* A process that may be stuck for ever must not keep pipes and sockets of others open. */
static void close_files(int kept)
{
    DIR *folder = opendir("/proc/self/fd"); // read in the order of numbers, so closing is harmless
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int file = atoi(entry->d_name);
        if (file > 2 && file != kept && file != dirfd(folder) && !is_driver_file(entry->d_name))
            close(file);
    }
    if (folder)
        closedir(folder);
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i <= 2 && null >= 0; i++)
        dup2(null, i);
    if (null > 2)
        close(null);
}

/* The program's handlers mean its own process. */
static void reset_signals(int64_t timeout_ns)
{
    static const int resets[] = {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
                                 SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof resets / sizeof resets[0]; i++)
        signal(resets[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm((unsigned)(timeout_ns / 1000000000 + 1));
}

static void answer(int pipe_end, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(pipe_end, text, bytes);
        if (written < 0 && errno != EINTR)
            return;
        text += written > 0 ? written : 0;
        bytes -= written > 0 ? (size_t)written : 0;
    }
}

static void work(int pipe_end, weft_discover *discover, const void *context,
                 struct weft_topology *topology)
{
    struct weft_error failure = {0};
    char *text = NULL;
    size_t bytes = 0;
    weft_status status = discover(context, topology, &failure);
    if (status == WEFT_OK)
        status = weft_topology_to_json(topology, &text, &bytes, &failure);
    if (status == WEFT_OK) {
        answer(pipe_end, "T", 1);
        answer(pipe_end, text, bytes);
        return;
    }
    char sentence[WEFT_ERROR_TEXT_BYTES + 2];
    int length = snprintf(sentence, sizeof sentence, "E%c%s", 'A' + (int)status, failure.text);
    answer(pipe_end, sentence, (size_t)length);
}

/* ---- this process ---- */

/* Until the other end is closed. *text is the caller's to free in any case. */
static weft_status read_answer(const char *who, int pipe_end, int64_t timeout_ns, char **text,
                               size_t *bytes, struct weft_error *error)
{
    int64_t deadline = weft_deadline_after(timeout_ns);
    size_t room = 0;
    for (;;) {
        if (*bytes + 1 >= room) {
            room = room ? room * 2 : FIRST_ROOM;
            char *larger = room <= MAX_ANSWER_BYTES ? realloc(*text, room) : NULL;
            if (!larger)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for its answer", who);
            *text = larger;
        }
        int64_t left_ms = (deadline - weft_clock_ns()) / 1000000;
        if (left_ms <= 0)
            return weft_fail(error, WEFT_TIMEOUT,
                             "%s did not answer within %lld s: a driver may be stuck", who,
                             (long long)((timeout_ns + 999999999) / 1000000000));
        struct pollfd wait = {.fd = pipe_end, .events = POLLIN};
        if (poll(&wait, 1, left_ms > 1000 ? 1000 : (int)left_ms) <= 0)
            continue;
        ssize_t got = read(pipe_end, *text + *bytes, room - *bytes - 1);
        if (got < 0 && errno != EINTR)
            return weft_fail(error, WEFT_SYSTEM, "%s: read: %s", who, strerror(errno));
        if (got == 0)
            break;
        *bytes += got > 0 ? (size_t)got : 0;
    }
    (*text)[*bytes] = '\0';
    return WEFT_OK;
}

static weft_status take_answer(const char *who, const char *text, size_t bytes,
                               struct weft_topology *topology, struct weft_error *error)
{
    if (bytes > 2 && text[0] == 'E' && text[1] > 'A' && text[1] <= 'Z')
        return weft_fail(error, (weft_status)(text[1] - 'A'), "%s", text + 2);
    if (bytes == 0 || text[0] != 'T')
        return weft_fail(error, WEFT_SYSTEM, "%s: the process that asked it died", who);
    struct weft_topology *made = NULL;
    WEFT_TRY(weft_topology_read_json(text + 1, bytes - 1, who, &made, error));
    const struct weft_topology swap = *topology;
    *topology = *made;
    *made = swap;
    weft_topology_destroy(&made);
    return WEFT_OK;
}

weft_status weft_probe_apart(const char *who, int64_t timeout_ns, weft_discover *discover,
                             const void *context, struct weft_topology *topology,
                             struct weft_error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return weft_fail(error, WEFT_SYSTEM, "%s: pipe: %s", who, strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        pid_t worker = fork();
        if (worker == 0) {
            reset_signals(timeout_ns);
            close_files(ends[1]);
            work(ends[1], discover, context, topology);
        }
        _exit(0);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return weft_fail(error, WEFT_SYSTEM, "%s: fork: %s", who, strerror(errno));
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) // the program may have reaped it already
        continue;
    char *text = NULL;
    size_t bytes = 0;
    weft_status status = read_answer(who, ends[0], timeout_ns, &text, &bytes, error);
    close(ends[0]);
    if (status == WEFT_OK)
        status = take_answer(who, text, bytes, topology, error);
    free(text);
    return status;
}
