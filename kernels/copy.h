/*
 * SPDX-License-Identifier: Apache-2.0
 * Copies for vectors that no cache holds.
 */
#ifndef WEFT_KERNELS_COPY_H
#define WEFT_KERNELS_COPY_H

#include <stddef.h>

/* As memcpy, but writes past the caches where the processor can: nothing is read of the destination
 * and nothing is thrown out of them. What was written can be seen by others after the next release
 * store of this thread, as after memcpy. */
void weft_copy_streaming(void *destination, const void *source, size_t bytes);

#endif
