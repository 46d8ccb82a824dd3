/*
 * SPDX-License-Identifier: Apache-2.0
 * What the model kernels need so that the compiler vectorises them well: a mark that compiles a
 * function once per instruction set, picked when the program is loaded, and an exponential without
 * branches. Include only from kernels/model_*.c.
 */
#ifndef WEFT_KERNELS_MODEL_VECTOR_H
#define WEFT_KERNELS_MODEL_VECTOR_H

#include <stdint.h>
#include <string.h>

// Function multi-versioning runs a resolver before the sanitizers' runtimes are ready: not there.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__SANITIZE_THREAD__) && !defined(WEFT_NO_VECTOR_CLONES)
#define WEFT_VECTOR_CLONES                                                                         \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WEFT_VECTOR_CLONES
#endif

/* e^x within 2 units in the last place for -87 <= x <= 88; outside it saturates at those ends. */
static inline float weft_exp(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    // 1. x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to the nearest integer; ln 2
    //    is split so that n times its first part is exact.
    const float round = 12582912.0f;
    float shifted = x * 1.44269504088896341f + round;
    float n = shifted - round;
    float r = (x - n * 0.693359375f) - n * -2.12194440054690583e-4f;
    // 2. e^r by its Taylor series; the first term left out is below 1e-8.
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    // 3. 2^n put together from its bits: the low bits of `shifted` are n, the rest is shifted out.
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127u) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
