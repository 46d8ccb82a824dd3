/*
 * SPDX-License-Identifier: Apache-2.0
 * Arrays that grow.
 */
#ifndef WEFT_BASE_ARRAY_H
#define WEFT_BASE_ARRAY_H

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* `array`, moved where needed, with room for one more than `used` items of `size` bytes; NULL: no
 * memory, and the array is as it was. */
static inline void *weft_array_grow(void *array, int used, int *room, size_t size)
{
    enum { FIRST = 64 };
    if (used < *room)
        return array;
    if (*room > INT_MAX / 2)
        return NULL;
    int more = *room ? *room * 2 : FIRST;
    void *larger = realloc(array, (size_t)more * size);
    if (larger)
        *room = more;
    return larger;
}

#endif
