/*
 * SPDX-License-Identifier: Apache-2.0
 * The greatest common divisor, for fractions in lowest terms.
 */
#ifndef WEFT_BASE_DIVISOR_H
#define WEFT_BASE_DIVISOR_H

#include <stdint.h>

/* Of numbers >= 0; that of 0 and b is b. */
static inline int64_t weft_greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif
