/*
 * SPDX-License-Identifier: Apache-2.0
 * See symbols.h.
 */
#include "base/symbols.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *find(void *handle, const char *name)
{
    char plain[64];
    const char *at = strchr(name, '@');
    if (!at)
        return dlsym(handle, name);
    snprintf(plain, sizeof plain, "%.*s", (int)(at - name), name);
    return dlvsym(handle, plain, at + 1);
}

weft_status weft_symbols_load(const struct weft_library *library, const char *file, void *table,
                              void **handle, struct weft_error *error)
{
    void *loaded = dlopen(file ? file : library->file, RTLD_NOW | RTLD_LOCAL);
    if (!loaded)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s (%s) is not installed", library->what,
                         file ? file : library->file);
    for (int i = 0; i < library->num_symbols; i++) {
        void *address = find(loaded, library->symbols[i].name);
        if (!address && i < library->num_required) {
            dlclose(loaded);
            return weft_fail(error, WEFT_UNSUPPORTED, "%s is too old: it has no %s", library->what,
                             library->symbols[i].name);
        }
        // POSIX: the address of a function fits into a void *, whatever ISO C says
        memcpy((char *)table + library->symbols[i].slot, &address, sizeof address);
    }
    if (handle)
        *handle = loaded;
    return WEFT_OK;
}
