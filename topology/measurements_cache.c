/*
 * SPDX-License-Identifier: Apache-2.0
 * The user's cache of measurements: one file per fingerprint. Written beside its place and renamed,
 * so a reader sees all of it or the old one. Read with suspicion: a plain file of this user that
 * nobody else may write, of bounded size.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/config.h"
#include "topology/measurements.h"

enum { FILE_LIMIT_BYTES = 128 << 20, DAY_S = 86400 };

static weft_status find_folder(const char *folder, char *path, size_t size,
                               struct weft_error *error)
{
    const char *given = folder ? folder : weft_config_environment("WEFT_CACHE");
    const char *base = weft_config_environment("XDG_CACHE_HOME");
    const char *home = weft_config_environment("HOME");
    int used;
    if (given && strcmp(given, "none") == 0)
        return weft_fail(error, WEFT_NOT_FOUND, "WEFT_CACHE is \"none\"");
    if (given)
        used = snprintf(path, size, "%s", given);
    else if (base && base[0] == '/')
        used = snprintf(path, size, "%s/weft", base);
    else if (home && home[0] == '/')
        used = snprintf(path, size, "%s/.cache/weft", home);
    else
        return weft_fail(error, WEFT_NOT_FOUND,
                         "no home folder for a cache (WEFT_CACHE names one)");
    if (used < 0 || (size_t)used >= size)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the name of the cache folder is too long");
    return WEFT_OK;
}

weft_status weft_measurements_path(const char *folder, uint64_t fingerprint, char *path,
                                   size_t size, struct weft_error *error)
{
    WEFT_TRY(find_folder(folder, path, size, error));
    size_t used = strlen(path);
    int added =
        snprintf(path + used, size - used, "/measurements-%016" PRIx64 ".json", fingerprint);
    if (added < 0 || (size_t)added >= size - used)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the name of the cache folder is too long");
    return WEFT_OK;
}

/* ---- writing ---- */

/* Makes every missing folder of `path` up to its last slash. */
static weft_status make_folders(char *path, struct weft_error *error)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool is_there = mkdir(path, 0700) == 0 || errno == EEXIST;
        if (!is_there)
            weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
        *slash = '/';
        if (!is_there)
            return WEFT_SYSTEM;
    }
    return WEFT_OK;
}

static weft_status write_file(const struct weft_measurements *m, int descriptor, const char *path,
                              struct weft_error *error)
{
    FILE *stream = fdopen(descriptor, "w");
    if (!stream) {
        close(descriptor);
        return weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
    }
    weft_status status = weft_measurements_write(m, stream, error);
    if (status != WEFT_OK)
        weft_fail_prefix(error, "%.300s", path);
    if (status == WEFT_OK && fsync(descriptor) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
    if (fclose(stream) != 0 && status == WEFT_OK)
        status = weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
    return status;
}

weft_status weft_measurements_save(const char *folder, const struct weft_measurements *m,
                                   struct weft_error *error)
{
    char path[PATH_MAX], partial[PATH_MAX + 16];
    WEFT_TRY(weft_measurements_path(folder, m->fingerprint, path, sizeof path, error));
    WEFT_TRY(make_folders(path, error));
    snprintf(partial, sizeof partial, "%s.XXXXXX", path);
    int descriptor = mkostemp(partial, O_CLOEXEC); // mode 0600
    if (descriptor < 0)
        return weft_fail(error, WEFT_SYSTEM, "%.300s: %s", partial, strerror(errno));
    weft_status status = write_file(m, descriptor, partial, error);
    if (status == WEFT_OK && rename(partial, path) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
    if (status != WEFT_OK)
        unlink(partial);
    return status;
}

/* ---- reading ---- */

static weft_status check_file(const char *path, const struct stat *status, struct weft_error *error)
{
    if (!S_ISREG(status->st_mode))
        return weft_fail(error, WEFT_PERMISSION, "%.300s is no plain file", path);
    if (status->st_uid != geteuid())
        return weft_fail(error, WEFT_PERMISSION, "%.300s belongs to another user", path);
    if (status->st_mode & (S_IWGRP | S_IWOTH))
        return weft_fail(error, WEFT_PERMISSION, "%.300s can be written by others", path);
    if (status->st_size > FILE_LIMIT_BYTES)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.300s is larger than %d bytes", path,
                         FILE_LIMIT_BYTES);
    return WEFT_OK;
}

static weft_status read_descriptor(int descriptor, const char *path, char **text, size_t *bytes,
                                   struct weft_error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
    WEFT_TRY(check_file(path, &status, error));
    size_t size = (size_t)status.st_size, used = 0;
    char *buffer = malloc(size + 1);
    if (!buffer)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.300s: no memory", path);
    for (ssize_t got; used < size; used += (size_t)got) {
        got = read(descriptor, buffer + used, size - used);
        if (got == 0)
            break;
        if (got < 0) {
            free(buffer);
            return weft_fail(error, WEFT_SYSTEM, "%.300s: %s", path, strerror(errno));
        }
    }
    buffer[used] = '\0';
    *text = buffer;
    *bytes = used;
    return WEFT_OK;
}

static weft_status read_path(const char *path, struct weft_measurements *m,
                             struct weft_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    // a pipe must not make the open wait, a link must not lead elsewhere
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0)
        return weft_fail(error,
                         errno == ENOENT || errno == ENOTDIR ? WEFT_NOT_FOUND : WEFT_PERMISSION,
                         "%.300s: %s", path, strerror(errno));
    weft_status status = read_descriptor(descriptor, path, &text, &bytes, error);
    close(descriptor);
    if (status == WEFT_OK)
        status = weft_measurements_read(text, bytes, path, m, error);
    free(text);
    return status;
}

static weft_status check_date(const struct weft_measurements *m, const char *path, int64_t now,
                              struct weft_error *error)
{
    struct tm date = {0};
    const char *end = strptime(m->date, "%Y-%m-%dT%H:%M:%SZ", &date);
    if (!end || *end)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.300s: \"date\" is no UTC time", path);
    int64_t age_s = now - (int64_t)timegm(&date);
    if (age_s > (int64_t)WEFT_MEASUREMENTS_STALE_DAYS * DAY_S)
        return weft_fail(error, WEFT_MISMATCH, "%.200s is %" PRId64 " days old; measure again",
                         path, age_s / DAY_S);
    if (age_s < -DAY_S)
        return weft_fail(error, WEFT_MISMATCH, "%.200s is from the future (%s)", path, m->date);
    return WEFT_OK;
}

weft_status weft_measurements_load(const char *folder, uint64_t fingerprint, int64_t now,
                                   struct weft_measurements *measurements, struct weft_error *error)
{
    char path[PATH_MAX];
    struct weft_measurements made = {0};
    WEFT_TRY(weft_measurements_path(folder, fingerprint, path, sizeof path, error));
    WEFT_TRY(read_path(path, &made, error));
    weft_status status = check_date(&made, path, now, error);
    if (status == WEFT_OK && made.fingerprint != fingerprint)
        status = weft_fail(error, WEFT_MISMATCH, "%.200s is about other processors, %016" PRIx64,
                           path, made.fingerprint);
    if (status != WEFT_OK) {
        weft_measurements_free(&made);
        return status;
    }
    *measurements = made;
    return WEFT_OK;
}

weft_status weft_measurements_recall(struct weft_topology *t, struct weft_measurements *m,
                                     bool *found, struct weft_error *error)
{
    char folder[PATH_MAX];
    struct weft_error why = {0};
    *found = false;
    // a fingerprint of millions of nodes takes its time: not where nothing was ever measured
    if (find_folder(NULL, folder, sizeof folder, &why) != WEFT_OK || access(folder, F_OK) != 0)
        return WEFT_OK;
    weft_status status = weft_measurements_load(NULL, weft_topology_processors_fingerprint(t),
                                                (int64_t)time(NULL), m, &why);
    if (status == WEFT_OUT_OF_MEMORY)
        return weft_fail(error, status, "%s", why.text);
    *found = status == WEFT_OK;
    if (status == WEFT_OK || status == WEFT_NOT_FOUND)
        return WEFT_OK;
    return weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_MEASURED, -1, error,
                                    "measurements are not used: %.200s", why.text);
}

weft_status weft_topology_recall(struct weft_topology *t, struct weft_error *error)
{
    struct weft_measurements m;
    bool found;
    int applied;
    WEFT_TRY(weft_measurements_recall(t, &m, &found, error));
    if (!found)
        return WEFT_OK;
    weft_status status = weft_measurements_apply(t, &m, &applied, error);
    weft_measurements_free(&m);
    return status;
}
