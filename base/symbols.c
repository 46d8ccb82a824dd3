/*
 * SPDX-License-Identifier: Apache-2.0
 * See symbols.h.
 */
#include "base/symbols.h"

#include <dlfcn.h>
#include <string.h>

weft_status weft_symbols_load(const char *library, const struct weft_symbol *symbols, size_t count,
                              struct weft_error *error)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s is not here", library);
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(handle, symbols[i].name);
        if (!address) {
            dlclose(handle);
            return weft_fail(error, WEFT_UNSUPPORTED, "%s has no %s", library, symbols[i].name);
        }
        // POSIX: the address of a function fits into a void *, whatever ISO C says
        memcpy(symbols[i].slot, &address, sizeof address);
    }
    return WEFT_OK;
}
