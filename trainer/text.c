/*
 * SPDX-License-Identifier: Apache-2.0
 * See text.h. A source is a row of a table; what no row names is a path.
 */
#include "trainer/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

static const size_t LIMIT_BYTES = (size_t)1 << 30;
static const int64_t PROGRAM_TIMEOUT_NS = 60000000000;

// `bible -f gen1:1-rev22:21`, as printed by bible-kjv 4.38 of Debian 12.
static const char KJV_HASH[] = "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d";

static const char LICENSES_FOLDER[] = "/usr/share/common-licenses";

extern char **environ;

struct buffer {
    char *bytes;
    size_t used, room;
};

static weft_status reserve(struct buffer *buffer, size_t more, const char *name,
                           struct weft_error *error)
{
    if (buffer->used + more > LIMIT_BYTES)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: more than %zu bytes", name, LIMIT_BYTES);
    if (buffer->used + more <= buffer->room)
        return WEFT_OK;
    size_t room = 2 * (buffer->used + more);
    char *larger = realloc(buffer->bytes, room);
    if (!larger)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", name);
    buffer->bytes = larger;
    buffer->room = room;
    return WEFT_OK;
}

// ---- the output of a program ----

static weft_status start_program(char *const arguments[], pid_t *child, int *output,
                                 struct weft_error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return weft_fail(error, WEFT_SYSTEM, "pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (!failed) {
        failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        if (!failed)
            failed = posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        if (!failed)
            failed = posix_spawnp(child, arguments[0], &actions, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return weft_fail(error, failed == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%s: %s",
                         arguments[0], strerror(failed));
    }
    *output = ends[0];
    return WEFT_OK;
}

static weft_status read_until_closed(int output, const char *name, struct buffer *buffer,
                                     struct weft_error *error)
{
    int64_t deadline = weft_deadline_after(PROGRAM_TIMEOUT_NS);
    for (;;) {
        int64_t left = deadline - weft_clock_ns();
        struct pollfd wait = {.fd = output, .events = POLLIN};
        int ready = left > 0 ? poll(&wait, 1, (int)(left / 1000000) + 1) : 0;
        if (ready == 0)
            return weft_fail(error, WEFT_TIMEOUT, "%s: not done after 60 s", name);
        if (ready < 0 && errno != EINTR)
            return weft_fail(error, WEFT_SYSTEM, "%s: %s", name, strerror(errno));
        if (ready < 0)
            continue;
        WEFT_TRY(reserve(buffer, 1 << 16, name, error));
        ssize_t got = read(output, buffer->bytes + buffer->used, 1 << 16);
        if (got < 0 && errno != EINTR)
            return weft_fail(error, WEFT_SYSTEM, "%s: %s", name, strerror(errno));
        if (got == 0)
            return WEFT_OK;
        buffer->used += got > 0 ? (size_t)got : 0;
    }
}

static weft_status read_program(char *const arguments[], struct buffer *buffer,
                                struct weft_error *error)
{
    pid_t child;
    int output = -1, ended = 0;
    WEFT_TRY(start_program(arguments, &child, &output, error));
    weft_status status = read_until_closed(output, arguments[0], buffer, error);
    close(output);
    if (status != WEFT_OK)
        kill(child, SIGKILL);
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
        ;
    if (status == WEFT_OK && (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0))
        status = weft_fail(error, WEFT_SYSTEM, "%s: failed with %s %d", arguments[0],
                           WIFEXITED(ended) ? "exit code" : "signal",
                           WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended));
    return status;
}

// ---- sources ----

static weft_status load_file(const char *path, struct buffer *buffer, struct weft_error *error)
{
    char *bytes;
    size_t count;
    WEFT_TRY(weft_file_read(path, LIMIT_BYTES, &bytes, &count, error));
    weft_status status = reserve(buffer, count + 1, path, error); // + 1: never no memory at all
    if (status == WEFT_OK) {
        memcpy(buffer->bytes + buffer->used, bytes, count);
        buffer->used += count;
    }
    free(bytes);
    return status;
}

static weft_status load_kjv(struct buffer *buffer, struct weft_error *error)
{
    char program[] = "bible", option[] = "-f", range[] = "gen1:1-rev22:21";
    char *arguments[] = {program, option, range, NULL};
    weft_status status = read_program(arguments, buffer, error);
    if (status == WEFT_NOT_FOUND)
        return weft_fail(error, status,
                         "kjv: the program `bible` is not installed (apt install bible-kjv)");
    return status;
}

static int is_regular(const struct dirent *entry)
{
    char path[sizeof LICENSES_FOLDER + 256 + 1];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", LICENSES_FOLDER, entry->d_name);
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); // not alphasort: that depends on the locale
}

static weft_status load_licenses(struct buffer *buffer, struct weft_error *error)
{
    struct dirent **entries;
    int num_entries = scandir(LICENSES_FOLDER, &entries, is_regular, by_name);
    if (num_entries < 0)
        return weft_fail(error, WEFT_NOT_FOUND, "licenses: %s: %s", LICENSES_FOLDER,
                         strerror(errno));
    weft_status status = WEFT_OK;
    for (int i = 0; i < num_entries; i++) {
        char path[sizeof LICENSES_FOLDER + 256 + 1];
        snprintf(path, sizeof path, "%s/%s", LICENSES_FOLDER, entries[i]->d_name);
        if (status == WEFT_OK)
            status = load_file(path, buffer, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static const struct {
    const char *name;
    weft_status (*load)(struct buffer *buffer, struct weft_error *error);
    size_t num_bytes; // pinned, with `hash`; 0: whatever is there
    const char *hash;
} sources[] = {
    {"kjv", load_kjv, 4404412, KJV_HASH},
    {"licenses", load_licenses, 0, NULL},
};

// ---- texts ----

static void describe(struct weft_text *text)
{
    crypto_hash_sha256(text->hash, text->bytes, text->num_bytes);
    text->num_train = text->num_bytes - text->num_bytes / 20;
}

void weft_text_hash_print(const uint8_t hash[WEFT_TEXT_HASH_BYTES],
                          char printed[WEFT_TEXT_HASH_CHARS])
{
    sodium_bin2hex(printed, WEFT_TEXT_HASH_CHARS, hash, WEFT_TEXT_HASH_BYTES);
}

weft_status weft_text_expect(const struct weft_text *text, const char *name, size_t num_bytes,
                             const char *hash, struct weft_error *error)
{
    char printed[WEFT_TEXT_HASH_CHARS];
    weft_text_hash_print(text->hash, printed);
    if (text->num_bytes != num_bytes || strcmp(printed, hash) != 0)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "%s: not the expected text: %zu bytes, sha256 %s; expected %zu, %s", name,
                         text->num_bytes, printed, num_bytes, hash);
    return WEFT_OK;
}

weft_status weft_text_load(const char *name, struct weft_text *text, struct weft_error *error)
{
    struct buffer buffer = {0};
    size_t source = 0, num_sources = sizeof sources / sizeof *sources;
    while (source < num_sources && strcmp(name, sources[source].name) != 0)
        source++;
    weft_status status = source < num_sources ? sources[source].load(&buffer, error)
                                              : load_file(name, &buffer, error);
    struct weft_text new = {.bytes = (uint8_t *)buffer.bytes, .num_bytes = buffer.used};
    if (status == WEFT_OK && buffer.used == 0)
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%s: empty", name);
    if (status == WEFT_OK)
        describe(&new);
    if (status == WEFT_OK && source < num_sources && sources[source].hash)
        status =
            weft_text_expect(&new, name, sources[source].num_bytes, sources[source].hash, error);
    if (status != WEFT_OK)
        weft_text_free(&new);
    else
        *text = new;
    return status;
}

// What rank 0 announces before the bytes.
struct announcement {
    uint64_t num_bytes;
    uint8_t hash[WEFT_TEXT_HASH_BYTES];
};

weft_status weft_text_share(struct weft_parallel *parallel, const char *name,
                            struct weft_text *text, struct weft_error *error)
{
    struct weft_text new = {0};
    bool is_reader = weft_parallel_layout(parallel).data_rank == 0;
    weft_status status = is_reader ? weft_text_load(name, &new, error) : WEFT_OK;
    status = weft_parallel_share_outcome(parallel, status, error);
    struct announcement announced = {.num_bytes = new.num_bytes};
    memcpy(announced.hash, new.hash, sizeof announced.hash);
    if (status == WEFT_OK)
        status = weft_parallel_broadcast(parallel, &announced, sizeof announced, error);
    if (status == WEFT_OK && !is_reader) {
        new.num_bytes = announced.num_bytes;
        new.bytes = malloc(new.num_bytes);
        if (!new.bytes)
            status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory", name);
    }
    if (status == WEFT_OK)
        status = weft_parallel_broadcast(parallel, new.bytes, new.num_bytes, error);
    if (status == WEFT_OK) {
        describe(&new);
        if (memcmp(new.hash, announced.hash, sizeof new.hash) != 0)
            status =
                weft_fail(error, WEFT_MISMATCH, "%s: arrived with other bytes than sent", name);
    }
    if (status != WEFT_OK)
        weft_text_free(&new);
    else
        *text = new;
    return status;
}

void weft_text_free(struct weft_text *text)
{
    free(text->bytes);
    *text = (struct weft_text){0};
}
