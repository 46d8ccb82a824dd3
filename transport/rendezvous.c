/*
 * SPDX-License-Identifier: Apache-2.0
 * Acting on what the launcher said. The file of a job carries the id and the process that serves
 * it; who reads it believes it only while that very process lives, so what a dead job left behind
 * is waited out until the living one replaces it. The file goes as soon as all ranks have come and
 * before any is released, so the next meeting of the same job cannot find it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/launcher.h"
#include "transport/meeting.h"
#include "transport/watch.h"

enum { HEX_BYTES = 2 * WEFT_UNIQUE_ID_BYTES, FILE_BYTES = HEX_BYTES + 64 };
static const int64_t look_every_ns = 5000000;

struct weft_rendezvous {
    int epoll;
    struct weft_timer timer;
    struct weft_watch meeting_watch;
    struct weft_meeting *meeting; // NULL: another rank serves
    weft_unique_id id;
    bool has_id;
    int64_t deadline_ns;
    int folder; // -1: no file
    char folder_name[64];
    char file[128];
    bool has_published;
    ino_t inode; // of the published file
};

/* ---- the folder and the file ---- */

static weft_status open_folder(struct weft_rendezvous *rendezvous, struct weft_error *error)
{
    struct stat facts;
    char *name = rendezvous->folder_name;
    snprintf(name, sizeof rendezvous->folder_name, "/tmp/weft-%u", (unsigned)geteuid());
    if (mkdir(name, 0700) != 0 && errno != EEXIST)
        return weft_fail(error, WEFT_SYSTEM, "cannot make %s: %s", name, strerror(errno));
    rendezvous->folder = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (rendezvous->folder < 0)
        return weft_fail(error, WEFT_PERMISSION, "cannot use %s: %s", name, strerror(errno));
    if (fstat(rendezvous->folder, &facts) != 0)
        return weft_fail(error, WEFT_SYSTEM, "cannot examine %s: %s", name, strerror(errno));
    if (facts.st_uid != geteuid() || (facts.st_mode & 077) != 0)
        return weft_fail(error, WEFT_PERMISSION,
                         "%s is not this user's alone (owner %u, mode %o): remove it", name,
                         (unsigned)facts.st_uid, (unsigned)facts.st_mode & 07777);
    return WEFT_OK;
}

/* When process `pid` began, in the kernel's ticks; 0: there is no such process. */
static unsigned long long process_start(long pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    if (bytes <= 0)
        return 0;
    text[bytes] = '\0';
    // The name may hold anything; what follows its last parenthesis has fixed fields.
    const char *at = strrchr(text, ')');
    char state = 'X';
    unsigned long long start = 0;
    if (!at || sscanf(at + 1,
                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                      "%llu",
                      &state, &start) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}

static weft_status write_file(int file, const char *text, size_t bytes)
{
    return write(file, text, bytes) == (ssize_t)bytes ? WEFT_OK : WEFT_SYSTEM;
}

static weft_status publish(struct weft_rendezvous *rendezvous, struct weft_error *error)
{
    char temporary[160], text[FILE_BYTES];
    struct stat facts;
    weft_unique_id_to_hex(&rendezvous->id, text);
    int bytes = HEX_BYTES + snprintf(text + HEX_BYTES, sizeof text - HEX_BYTES, " %ld %llu\n",
                                     (long)getpid(), process_start((long)getpid()));
    snprintf(temporary, sizeof temporary, ".%s.%ld", rendezvous->file, (long)getpid());
    unlinkat(rendezvous->folder, temporary, 0); // of a dead process that had the same number
    int file = openat(rendezvous->folder, temporary,
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    weft_status status = WEFT_SYSTEM;
    if (file >= 0 && fstat(file, &facts) == 0)
        status = write_file(file, text, (size_t)bytes);
    int code = errno;
    if (file >= 0)
        close(file);
    if (status == WEFT_OK &&
        renameat(rendezvous->folder, temporary, rendezvous->folder, rendezvous->file) != 0) {
        code = errno;
        status = WEFT_SYSTEM;
    }
    sodium_memzero(text, sizeof text);
    if (status != WEFT_OK) {
        unlinkat(rendezvous->folder, temporary, 0);
        return weft_fail(error, WEFT_SYSTEM, "cannot write %s/%s: %s", rendezvous->folder_name,
                         rendezvous->file, strerror(code));
    }
    rendezvous->has_published = true;
    rendezvous->inode = facts.st_ino;
    return WEFT_OK;
}

static void unpublish(struct weft_rendezvous *rendezvous)
{
    struct stat facts;
    if (!rendezvous->has_published)
        return;
    rendezvous->has_published = false;
    if (fstatat(rendezvous->folder, rendezvous->file, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
        facts.st_ino == rendezvous->inode)
        unlinkat(rendezvous->folder, rendezvous->file, 0);
}

/* IN_PROGRESS: no file, or one that a dead process left. */
static weft_status look(struct weft_rendezvous *rendezvous, struct weft_error *error)
{
    char text[FILE_BYTES + 1];
    struct stat facts;
    int file = openat(rendezvous->folder, rendezvous->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT
                   ? WEFT_IN_PROGRESS
                   : weft_fail(error, WEFT_SYSTEM, "cannot read %s/%s: %s", rendezvous->folder_name,
                               rendezvous->file, strerror(errno));
    ssize_t bytes = -1;
    bool is_private = fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) &&
                      facts.st_uid == geteuid() && (facts.st_mode & 077) == 0;
    if (is_private)
        bytes = read(file, text, FILE_BYTES);
    close(file);
    if (!is_private)
        return weft_fail(error, WEFT_PERMISSION, "%s/%s is not this user's alone",
                         rendezvous->folder_name, rendezvous->file);
    if (bytes <= HEX_BYTES)
        return WEFT_IN_PROGRESS;
    text[bytes] = '\0';
    long pid = 0;
    unsigned long long start = 0;
    if (sscanf(text + HEX_BYTES, " %ld %llu", &pid, &start) != 2 || pid <= 0 || start == 0 ||
        process_start(pid) != start)
        return WEFT_IN_PROGRESS;
    text[HEX_BYTES] = '\0';
    weft_status status = weft_unique_id_from_hex(text, &rendezvous->id, error);
    sodium_memzero(text, sizeof text);
    if (status != WEFT_OK)
        return weft_fail_prefix(error, "%s/%s", rendezvous->folder_name, rendezvous->file);
    rendezvous->has_id = true;
    return WEFT_OK;
}

/* ---- starting ---- */

static void note_meeting(struct weft_watch *watch)
{
    (void)watch; // its readiness wakes the owner, who calls progress
}

static weft_status start_serving(struct weft_rendezvous *rendezvous, const char *address, int port,
                                 const unsigned char *secret, struct weft_error *error)
{
    WEFT_TRY(
        weft_meeting_open(address, port, secret, &rendezvous->meeting, &rendezvous->id, error));
    rendezvous->has_id = true;
    rendezvous->meeting_watch.ready = note_meeting;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &rendezvous->meeting_watch};
    if (epoll_ctl(rendezvous->epoll, EPOLL_CTL_ADD, weft_meeting_descriptor(rendezvous->meeting),
                  &event) != 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll_ctl: %s", strerror(errno));
    return WEFT_OK;
}

static weft_status start_by_file(struct weft_rendezvous *rendezvous,
                                 const struct weft_launcher_info *info,
                                 const struct weft_config *config, struct weft_error *error)
{
    snprintf(rendezvous->file, sizeof rendezvous->file, "%s", info->file);
    WEFT_TRY(open_folder(rendezvous, error));
    if (!info->serves)
        return WEFT_OK;
    WEFT_TRY(start_serving(rendezvous, config->bootstrap_address, (int)config->bootstrap_port, NULL,
                           error));
    return publish(rendezvous, error);
}

static weft_status start_by_address(struct weft_rendezvous *rendezvous,
                                    const struct weft_launcher_info *info, struct weft_error *error)
{
    struct weft_id_contents contents;
    WEFT_TRY(weft_endpoint_resolve(info->host, info->port, &contents.endpoint, error));
    if (info->serves) {
        // A host's own name often means its loopback there, and a service's name means a router:
        // only a numeric address is taken literally, if it can be.
        struct weft_endpoint numeric;
        if (weft_endpoint_parse(info->host, info->port, &numeric, NULL) == WEFT_OK &&
            start_serving(rendezvous, info->host, info->port, info->secret, NULL) == WEFT_OK)
            return WEFT_OK;
        weft_meeting_close(&rendezvous->meeting);
        return start_serving(rendezvous, contents.endpoint.family == 6 ? "::" : "0.0.0.0",
                             info->port, info->secret, error);
    }
    memcpy(contents.secret, info->secret, sizeof contents.secret);
    weft_id_pack(&contents, &rendezvous->id);
    sodium_memzero(&contents, sizeof contents);
    rendezvous->has_id = true;
    return WEFT_OK;
}

static weft_status start_parts(struct weft_rendezvous *rendezvous,
                               const struct weft_launcher_info *info,
                               const struct weft_config *config, struct weft_error *error)
{
    WEFT_TRY(weft_watch_open(&rendezvous->epoll, error));
    WEFT_TRY(weft_timer_open(&rendezvous->timer, rendezvous->epoll, error));
    if (info->meeting == WEFT_LAUNCHER_ADDRESS)
        return start_by_address(rendezvous, info, error);
    if (info->meeting == WEFT_LAUNCHER_FILE) {
        WEFT_TRY(start_by_file(rendezvous, info, config, error));
        if (!rendezvous->has_id)
            weft_timer_set(&rendezvous->timer, weft_clock_ns());
        return WEFT_OK;
    }
    rendezvous->id = info->id;
    rendezvous->has_id = true;
    return WEFT_OK;
}

weft_status weft_rendezvous_start(const struct weft_launcher_info *info,
                                  const struct weft_config *config, int64_t deadline_ns,
                                  struct weft_rendezvous **rendezvous, struct weft_error *error)
{
    if (info->meeting == WEFT_LAUNCHER_ALONE)
        return weft_fail(error, WEFT_INVALID_USAGE, "one rank alone has nobody to meet");
    struct weft_rendezvous *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a meeting");
    made->epoll = made->timer.descriptor = made->folder = -1;
    made->deadline_ns = deadline_ns;
    weft_status status = start_parts(made, info, config, error);
    if (status != WEFT_OK) {
        weft_rendezvous_close(&made);
        return status;
    }
    *rendezvous = made;
    return WEFT_OK;
}

/* ---- turns ---- */

weft_status weft_rendezvous_id(struct weft_rendezvous *rendezvous, weft_unique_id *id,
                               struct weft_error *error)
{
    if (!rendezvous->has_id && weft_watch_turn(rendezvous->epoll) > 0) {
        weft_status status = look(rendezvous, error);
        if (status != WEFT_OK && status != WEFT_IN_PROGRESS)
            return status;
        int64_t now = weft_clock_ns();
        if (status == WEFT_IN_PROGRESS && now >= rendezvous->deadline_ns)
            return weft_fail(error, WEFT_TIMEOUT,
                             "rank 0 did not open the meeting (no living process behind %s/%s)",
                             rendezvous->folder_name, rendezvous->file);
        int64_t next = now + look_every_ns;
        if (status == WEFT_IN_PROGRESS)
            weft_timer_set(&rendezvous->timer,
                           next < rendezvous->deadline_ns ? next : rendezvous->deadline_ns);
    }
    if (!rendezvous->has_id)
        return WEFT_IN_PROGRESS;
    *id = rendezvous->id;
    return WEFT_OK;
}

weft_status weft_rendezvous_progress(struct weft_rendezvous *rendezvous, struct weft_error *error)
{
    if (!rendezvous->meeting)
        return WEFT_OK;
    weft_status status = weft_meeting_progress(rendezvous->meeting, error);
    if (weft_meeting_is_complete(rendezvous->meeting))
        unpublish(rendezvous);
    // Nobody reads any more what its ranks' connections end with: they would poll readable for
    // good.
    if (status != WEFT_IN_PROGRESS)
        weft_meeting_close(&rendezvous->meeting);
    return status;
}

int weft_rendezvous_descriptor(const struct weft_rendezvous *rendezvous)
{
    return rendezvous->epoll;
}

void weft_rendezvous_close(struct weft_rendezvous **rendezvous)
{
    struct weft_rendezvous *old = *rendezvous;
    if (!old)
        return;
    *rendezvous = NULL;
    unpublish(old);
    weft_meeting_close(&old->meeting);
    weft_timer_close(&old->timer);
    if (old->folder >= 0)
        close(old->folder);
    if (old->epoll >= 0)
        close(old->epoll);
    sodium_memzero(&old->id, sizeof old->id);
    free(old);
}
