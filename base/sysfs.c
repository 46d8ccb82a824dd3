/*
 * SPDX-License-Identifier: Apache-2.0
 * See sysfs.h. openat2 keeps every step of a path below the root; kernels before 5.6 have none, and
 * there links are followed as the kernel does.
 */
#include "base/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/format.h"

weft_status weft_sysfs_open(const char *root, struct weft_sysfs *sysfs, struct weft_error *error)
{
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%.200s: %s", root,
                         strerror(errno));
    sysfs->folder = folder;
    return WEFT_OK;
}

void weft_sysfs_close(struct weft_sysfs *sysfs)
{
    if (sysfs->folder >= 0)
        close(sysfs->folder);
    sysfs->folder = -1;
}

/* -1: there is none. */
static int open_below(const struct weft_sysfs *sysfs, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT};
    long file = syscall(SYS_openat2, sysfs->folder, path, &how, sizeof how);
    if (file < 0 && errno == ENOSYS)
        file = openat(sysfs->folder, path, flags | O_CLOEXEC);
    return (int)file;
}

static int open_formatted(const struct weft_sysfs *sysfs, int flags, const char *format,
                          va_list arguments)
{
    char path[PATH_MAX];
    int length = vsnprintf(path, sizeof path, format, arguments);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    return open_below(sysfs, path, flags);
}

/* Takes the file over. A named pipe of a copied tree must not make anybody wait. */
static size_t read_plain(int file, char *bytes, size_t size)
{
    struct stat status;
    size_t used = 0;
    if (file < 0)
        return 0;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode))
        while (used < size) {
            ssize_t got = read(file, bytes + used, size - used);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                break;
            used += (size_t)got;
        }
    close(file);
    return used;
}

static bool read_line(const struct weft_sysfs *sysfs, char *text, size_t size, const char *format,
                      va_list arguments)
{
    int file = open_formatted(sysfs, O_RDONLY | O_NONBLOCK, format, arguments);
    size_t used = read_plain(file, text, size - 1);
    text[used] = '\0';
    text[strcspn(text, "\n")] = '\0';
    weft_make_printable(text);
    return text[0] != '\0';
}

bool weft_sysfs_text(const struct weft_sysfs *sysfs, char *text, size_t size, const char *format,
                     ...)
{
    va_list arguments;
    va_start(arguments, format);
    bool is_there = read_line(sysfs, text, size, format, arguments);
    va_end(arguments);
    return is_there;
}

int64_t weft_sysfs_number(const struct weft_sysfs *sysfs, int64_t fallback, const char *format, ...)
{
    char text[32], *end;
    va_list arguments;
    va_start(arguments, format);
    bool is_there = read_line(sysfs, text, sizeof text, format, arguments);
    va_end(arguments);
    if (!is_there)
        return fallback;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno || end == text || *end ? fallback : number;
}

size_t weft_sysfs_bytes(const struct weft_sysfs *sysfs, void *bytes, size_t size,
                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int file = open_formatted(sysfs, O_RDONLY | O_NONBLOCK, format, arguments);
    va_end(arguments);
    return read_plain(file, bytes, size);
}

bool weft_sysfs_target(const struct weft_sysfs *sysfs, char *text, size_t size, const char *format,
                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    int link = open_formatted(sysfs, O_PATH | O_NOFOLLOW, format, arguments);
    va_end(arguments);
    if (link < 0)
        return false;
    ssize_t length = readlinkat(link, "", text, size - 1);
    close(link);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

bool weft_sysfs_exists(const struct weft_sysfs *sysfs, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int file = open_formatted(sysfs, O_PATH, format, arguments);
    va_end(arguments);
    if (file >= 0)
        close(file);
    return file >= 0;
}

DIR *weft_sysfs_list(const struct weft_sysfs *sysfs, const char *path)
{
    int file = open_below(sysfs, path, O_RDONLY | O_DIRECTORY);
    DIR *folder = file >= 0 ? fdopendir(file) : NULL;
    if (!folder && file >= 0)
        close(file);
    return folder;
}
