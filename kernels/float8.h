/*
 * SPDX-License-Identifier: Apache-2.0
 * Conversions between float and the two 8-bit floating types of the OCP specification, held as
 * their bits; branch-free and the same everywhere, like half.h. E4M3 has no infinity and one NaN
 * per sign, E5M2 is the upper half of f16. To 8 bits: round to nearest, ties to even; subnormals
 * are right; nothing saturates (the specification's other mode): too large becomes infinity in
 * E5M2 and NaN in E4M3, so an overflow stays visible. Every NaN becomes the canonical one.
 */
#ifndef WEFT_KERNELS_FLOAT8_H
#define WEFT_KERNELS_FLOAT8_H

#include "kernels/half.h"

static inline float weft_e4m3_to_float(uint8_t small)
{
    uint32_t sign = (uint32_t)(small & 0x80) << 24;
    uint32_t magnitude = small & 0x7f;
    uint32_t normal = (magnitude << 20) + (120u << 23); // from bias 7 to bias 127
    uint32_t subnormal = weft_float_bits((float)(int32_t)magnitude * 0x1p-9f);
    uint32_t bits = magnitude < 8 ? subnormal : normal;
    bits = magnitude == 0x7f ? 0x7fc00000 : bits;
    return weft_float_from_bits(bits | sign);
}

static inline uint8_t weft_e4m3_from_float(float value)
{
    uint32_t bits = weft_float_bits(value);
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude - (120u << 23) + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
    // Below 2^-6: the unit in the last place of 2^14 is that of a subnormal.
    uint32_t subnormal =
        weft_float_bits(weft_float_from_bits(magnitude) + 0x1p14f) - weft_float_bits(0x1p14f);
    uint32_t small = magnitude < 0x3c800000 ? subnormal : normal;
    small |= bits >> 24 & 0x80;
    return (uint8_t)(magnitude > 0x43e80000 ? 0x7f : small); // 464 still rounds to 448
}

static inline float weft_e5m2_to_float(uint8_t small)
{
    return weft_f16_to_float((uint16_t)(small << 8));
}

static inline uint8_t weft_e5m2_from_float(float value)
{
    uint32_t bits = weft_float_bits(value);
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffff + (magnitude >> 21 & 1)) >> 21;
    // Below 2^-14: the unit in the last place of 2^7 is that of a subnormal.
    uint32_t subnormal =
        weft_float_bits(weft_float_from_bits(magnitude) + 0x1p7f) - weft_float_bits(0x1p7f);
    uint32_t small = magnitude < 0x38800000 ? subnormal : normal;
    small = magnitude >= 0x47700000 ? 0x7c : small; // 61440 and more round to infinity
    small |= bits >> 24 & 0x80;
    return (uint8_t)(magnitude > 0x7f800000 ? 0x7e : small);
}

#endif
