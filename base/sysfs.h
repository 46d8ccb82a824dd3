/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading small files of sysfs, the live one or a copied tree. Paths are relative to the root and
 * never leave it, whatever links a copied tree holds; only plain files are read, and never more
 * than the caller's buffer.
 */
#ifndef WEFT_BASE_SYSFS_H
#define WEFT_BASE_SYSFS_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct weft_sysfs {
    int folder; // file descriptor of the root
};

/* `root` is "/sys" as a rule. Errors: NOT_FOUND, SYSTEM. Close with weft_sysfs_close. */
weft_status weft_sysfs_open(const char *root, struct weft_sysfs *sysfs, struct weft_error *error);
void weft_sysfs_close(struct weft_sysfs *sysfs);

/* The first line without its end, cut where `size` ends; false (and an empty text): no such file,
 * or the driver refuses to answer. */
bool weft_sysfs_text(const struct weft_sysfs *sysfs, char *text, size_t size, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
/* A decimal number; `fallback` where there is none. */
int64_t weft_sysfs_number(const struct weft_sysfs *sysfs, int64_t fallback, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Up to `size` bytes from the start; returns how many. */
size_t weft_sysfs_bytes(const struct weft_sysfs *sysfs, void *bytes, size_t size,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Where a symbolic link points; false: it is none. */
bool weft_sysfs_target(const struct weft_sysfs *sysfs, char *text, size_t size, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));
bool weft_sysfs_exists(const struct weft_sysfs *sysfs, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A folder to list with readdir and close with closedir; NULL: there is none. */
DIR *weft_sysfs_list(const struct weft_sysfs *sysfs, const char *path);

#endif
