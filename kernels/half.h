/*
 * SPDX-License-Identifier: Apache-2.0
 * Conversions between float and the two 16-bit floating types, held as their bits. Branch-free, so
 * loops over them vectorize on every machine, and independent of any half-precision hardware, so
 * they give the same bits everywhere. To 16 bits: round to nearest, ties to even; too large becomes
 * infinity; subnormals are right; every NaN becomes the canonical quiet one.
 */
#ifndef WEFT_KERNELS_HALF_H
#define WEFT_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t weft_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float weft_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float weft_bf16_to_float(uint16_t half)
{
    return weft_float_from_bits((uint32_t)half << 16);
}

static inline uint16_t weft_bf16_from_float(float value)
{
    uint32_t bits = weft_float_bits(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

static inline float weft_f16_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    // Normal numbers: move the exponent from bias 15 to bias 127; infinity and NaN need it twice.
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = normal + (112u << 23);
    // Subnormal numbers are whole multiples of 2^-24, and float holds every one exactly.
    uint32_t subnormal = weft_float_bits((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t bits = magnitude >= 0x7c00 ? special : normal;
    bits = magnitude < 0x400 ? subnormal : bits;
    return weft_float_from_bits(bits | sign);
}

static inline uint16_t weft_f16_from_float(float value)
{
    uint32_t bits = weft_float_bits(value);
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    // Below 2^-14: the unit in the last place of 0.5 is that of a subnormal half, so the addition
    // rounds at the right bit.
    uint32_t subnormal =
        weft_float_bits(weft_float_from_bits(magnitude) + 0.5f) - weft_float_bits(0.5f);
    uint32_t half = magnitude < 0x38800000 ? subnormal : normal;
    half = magnitude >= 0x477ff000 ? 0x7c00 : half; // 65520 and more round to infinity
    half |= bits >> 16 & 0x8000;
    return (uint16_t)(magnitude > 0x7f800000 ? 0x7e00 : half);
}

#endif
