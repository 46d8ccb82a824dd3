/*
 * SPDX-License-Identifier: Apache-2.0
 * See copy.h.
 */
#include "kernels/copy.h"

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>

enum { LINE_BYTES = 64 };

static void stream_line(char *to, const char *from)
{
    __m128i a = _mm_loadu_si128((const __m128i *)from);
    __m128i b = _mm_loadu_si128((const __m128i *)(from + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(from + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(from + 48));
    _mm_stream_si128((__m128i *)to, a);
    _mm_stream_si128((__m128i *)(to + 16), b);
    _mm_stream_si128((__m128i *)(to + 32), c);
    _mm_stream_si128((__m128i *)(to + 48), d);
}

void weft_copy_streaming(void *destination, const void *source, size_t bytes)
{
    char *to = destination;
    const char *from = source;
    size_t head = -(uintptr_t)to % LINE_BYTES;
    head = head < bytes ? head : bytes;
    memcpy(to, from, head);
    size_t at = head;
    for (; bytes - at >= LINE_BYTES; at += LINE_BYTES)
        stream_line(to + at, from + at);
    memcpy(to + at, from + at, bytes - at);
    _mm_sfence(); // streaming stores are ordered by nothing else
}
#else
void weft_copy_streaming(void *destination, const void *source, size_t bytes)
{
    memcpy(destination, source, bytes);
}
#endif
