/*
 * SPDX-License-Identifier: Apache-2.0
 * Small trees of files for tests of what reads sysfs: made in a temporary folder, removed whole.
 */
#ifndef WEFT_TESTS_TOPOLOGY_TREE_H
#define WEFT_TESTS_TOPOLOGY_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void tree_make(char *root, size_t size)
{
    snprintf(root, size, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static inline int tree_remove_entry(const char *path, const struct stat *status, int type,
                                    struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void tree_remove(const char *root)
{
    assert_int_equal(strncmp(root, "/tmp/weft-test-", 15), 0);
    assert_int_equal(nftw(root, tree_remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Makes the folders that `path` lies in. */
static inline void tree_make_folders(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static inline void tree_write(const char *root, const void *bytes, size_t size, const char *format,
                              va_list arguments)
{
    char path[1024];
    int used = snprintf(path, sizeof path, "%s/", root);
    vsnprintf(path + used, sizeof path - (size_t)used, format, arguments);
    tree_make_folders(path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void __attribute__((format(printf, 3, 4)))
tree_put(const char *root, const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tree_write(root, text, strlen(text), format, arguments);
    va_end(arguments);
}

static inline void __attribute__((format(printf, 4, 5)))
tree_put_bytes(const char *root, const void *bytes, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tree_write(root, bytes, size, format, arguments);
    va_end(arguments);
}

/* A symbolic link `name` in `folder`, to the formatted target. */
static inline void __attribute__((format(printf, 4, 5)))
tree_link(const char *root, const char *name, const char *folder, const char *format, ...)
{
    char path[1024], target[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(target, sizeof target, format, arguments);
    va_end(arguments);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    tree_make_folders(path);
    assert_int_equal(symlink(target, path), 0);
}

#endif
