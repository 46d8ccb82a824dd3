/*
 * SPDX-License-Identifier: Apache-2.0
 * Contract of the reductions: every variant this machine runs, every type and operation, against a
 * reference that computes in double or 128-bit integers and rounds with ldexp and nearbyint; and
 * the 16-bit and 8-bit conversions over their whole domain.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/float8.h"
#include "kernels/half.h"
#include "kernels/reduce_variant.h"

enum { MAX_COUNT = 1000, GUARD = 64, BUFFER_BYTES = MAX_COUNT * 8 + 2 * GUARD + 8 };

/* ---- the reference ---- */

struct format {
    int mantissa_bits; // stored
    int min_exponent;  // of the smallest normal number
    uint64_t largest;  // bits of the largest finite number
    uint64_t overflow; // of what is larger: infinity, or NaN where there is none
    uint64_t nan;      // canonical
};
static const struct format formats[WEFT_NUM_DTYPES] = {
    [WEFT_FLOAT32] = {23, -126, 0x7f7fffff, 0x7f800000, 0x7fc00000},
    [WEFT_BFLOAT16] = {7, -126, 0x7f7f, 0x7f80, 0x7fc0},
    [WEFT_FLOAT16] = {10, -14, 0x7bff, 0x7c00, 0x7e00},
    [WEFT_FLOAT8_E4M3] = {3, -6, 0x7e, 0x7f, 0x7f},
    [WEFT_FLOAT8_E5M2] = {2, -14, 0x7b, 0x7c, 0x7e},
};

static uint64_t sign_bit(weft_dtype dtype)
{
    return UINT64_C(1) << (8 * weft_dtype_bytes(dtype) - 1);
}

static double decode(weft_dtype dtype, uint64_t bits)
{
    if (dtype == WEFT_FLOAT64) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    const struct format *f = &formats[dtype];
    uint64_t magnitude = bits & (sign_bit(dtype) - 1);
    int exponent = (int)(magnitude >> f->mantissa_bits);
    double mantissa = (double)(magnitude & ((UINT64_C(1) << f->mantissa_bits) - 1));
    double value;
    if (magnitude > f->largest)
        value = magnitude == f->overflow && f->overflow != f->nan ? (double)INFINITY : (double)NAN;
    else if (exponent == 0)
        value = ldexp(mantissa, f->min_exponent - f->mantissa_bits);
    else
        value = ldexp(ldexp(1, f->mantissa_bits) + mantissa,
                      exponent - 1 + f->min_exponent - f->mantissa_bits);
    return bits & sign_bit(dtype) ? -value : value;
}

static uint64_t encode(weft_dtype dtype, double value)
{
    if (dtype == WEFT_FLOAT64) {
        uint64_t bits = UINT64_C(0x7ff8) << 48;
        if (!isnan(value))
            memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    const struct format *f = &formats[dtype];
    uint64_t sign = signbit(value) ? sign_bit(dtype) : 0;
    uint64_t overflow = f->overflow == f->nan ? f->nan : f->overflow | sign;
    if (isnan(value))
        return f->nan;
    value = fabs(value);
    if (isinf(value))
        return overflow;
    int exponent = value == 0 ? f->min_exponent : ilogb(value);
    if (exponent < f->min_exponent)
        exponent = f->min_exponent;
    double units = nearbyint(ldexp(value, f->mantissa_bits - exponent));
    // units * 2^(exponent - mantissa_bits), where units may have rounded up to the next power of 2:
    // adding them to the exponent field carries correctly, as the formats are made for.
    uint64_t bits = ((uint64_t)(exponent - f->min_exponent) << f->mantissa_bits) + (uint64_t)units;
    return bits > f->largest ? overflow : bits | sign;
}

static double reference_float(weft_op op, double x, double y)
{
    switch (op) {
    case WEFT_SUM:
    case WEFT_AVG:
    case WEFT_PREMUL_SUM:
        return x + y;
    case WEFT_PROD:
        return x * y;
    case WEFT_MIN:
        if (isnan(x) || isnan(y))
            return NAN;
        return x < y || (x == y && signbit(x)) ? x : y;
    case WEFT_MAX:
        if (isnan(x) || isnan(y))
            return NAN;
        return x > y || (x == y && !signbit(x)) ? x : y;
    default:
        break;
    }
    fail_msg("no such operation");
    return 0;
}

static __int128 reference_integer(weft_op op, __int128 x, __int128 y)
{
    switch (op) {
    case WEFT_SUM:
    case WEFT_AVG:
    case WEFT_PREMUL_SUM:
        return x + y;
    case WEFT_PROD: // only the low bits count, and those of 128-bit products are right
        return (__int128)((unsigned __int128)x * (unsigned __int128)y);
    case WEFT_MIN:
        return x < y ? x : y;
    case WEFT_MAX:
        return x > y ? x : y;
    case WEFT_LOGICAL_AND:
        return x && y;
    case WEFT_LOGICAL_OR:
        return x || y;
    case WEFT_LOGICAL_XOR:
        return !x != !y;
    case WEFT_BITWISE_AND:
        return x & y;
    case WEFT_BITWISE_OR:
        return x | y;
    case WEFT_BITWISE_XOR:
        return x ^ y;
    }
    fail_msg("no such operation");
    return 0;
}

static __int128 decode_integer(weft_dtype dtype, uint64_t bits)
{
    bool is_negative = weft_dtypes[dtype].is_signed && bits & sign_bit(dtype);
    return is_negative ? (__int128)bits - 2 * (__int128)sign_bit(dtype) : (__int128)bits;
}

static uint64_t low_bits(weft_dtype dtype, uint64_t bits)
{
    size_t bytes = weft_dtype_bytes(dtype);
    return bytes == 8 ? bits : bits & ((UINT64_C(1) << 8 * bytes) - 1);
}

static uint64_t reference_reduce(weft_dtype dtype, weft_op op, uint64_t x, uint64_t y)
{
    if (!weft_dtypes[dtype].is_floating)
        return low_bits(dtype, (uint64_t)reference_integer(op, decode_integer(dtype, x),
                                                           decode_integer(dtype, y)));
    // Sums and products of two float32 are not all exact in double, but rounding twice is harmless
    // from 53 to 24 bits or fewer.
    return encode(dtype, reference_float(op, decode(dtype, x), decode(dtype, y)));
}

static uint64_t reference_scale(weft_dtype dtype, uint64_t x, int divisor)
{
    if (!weft_dtypes[dtype].is_floating)
        return low_bits(dtype, (uint64_t)(decode_integer(dtype, x) / divisor));
    return encode(dtype, decode(dtype, x) / divisor);
}

/* ---- elements ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t load(weft_dtype dtype, const unsigned char *base, size_t i)
{
    uint64_t bits = 0;
    size_t bytes = weft_dtype_bytes(dtype);
    for (size_t k = 0; k < bytes; k++)
        bits |= (uint64_t)base[i * bytes + k] << 8 * k;
    return bits;
}

static void store(weft_dtype dtype, unsigned char *base, size_t i, uint64_t bits)
{
    unsigned char value[sizeof bits];
    size_t bytes = weft_dtype_bytes(dtype);
    for (size_t k = 0; k < sizeof bits; k++)
        value[k] = (unsigned char)(bits >> 8 * k);
    memcpy(base + i * bytes, value, bytes);
}

// One element in four is special, one in four ordinary and close to the others, the rest any bits.
static uint64_t random_element(weft_dtype dtype)
{
    static const double special[] = {0.0,   -0.0,   INFINITY, -INFINITY, NAN,  1e-40, -1e-40, 6e-8,
                                     65504, -65504, 3.4e38,   448,       -448, 0.001, 57344,  1e-5};
    static const uint64_t edges[] = {
        0,   1,   UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, INT32_MAX, (uint64_t)INT32_MIN,
        255, 128, 127,        INT16_MAX, (uint64_t)INT16_MIN};
    uint64_t choice = random_bits();
    if (!weft_dtypes[dtype].is_floating)
        return low_bits(dtype, choice & 3 ? random_bits() : edges[(choice >> 8) % 12]);
    switch (choice & 3) {
    case 0:
        return encode(dtype, special[(choice >> 8) % 16]);
    case 1:
        return encode(dtype, (double)(int64_t)random_bits() / 0x1p60);
    default:
        return low_bits(dtype, random_bits());
    }
}

/* ---- the contract ---- */

struct buffers {
    unsigned char a[BUFFER_BYTES], b[BUFFER_BYTES], destination[BUFFER_BYTES];
    unsigned char expected[BUFFER_BYTES];
};

enum aliasing { APART, ONTO_A, ONTO_B, ALL_EQUAL, NUM_ALIASINGS };

static void check_reduce(const struct weft_reduce_variant *variant, weft_dtype dtype, weft_op op,
                         size_t count, size_t offset, enum aliasing aliasing, struct buffers *m)
{
    for (size_t i = 0; i < BUFFER_BYTES; i++)
        m->a[i] = m->b[i] = m->destination[i] = (unsigned char)(i * 7);
    unsigned char *a = m->a + GUARD + offset;
    unsigned char *b = aliasing == ALL_EQUAL ? a : m->b + GUARD + 3 * offset;
    for (size_t i = 0; i < count; i++) {
        store(dtype, a, i, random_element(dtype));
        store(dtype, b, i, random_element(dtype));
    }
    unsigned char *home = aliasing == APART ? m->destination : aliasing == ONTO_B ? m->b : m->a;
    unsigned char *destination = aliasing == APART    ? home + GUARD + 2 * offset
                                 : aliasing == ONTO_B ? b
                                                      : a;
    memcpy(m->expected, home, BUFFER_BYTES);
    for (size_t i = 0; i < count; i++)
        store(dtype, m->expected + (destination - home), i,
              reference_reduce(dtype, op, load(dtype, a, i), load(dtype, b, i)));
    variant->reduce[dtype][op](destination, a, b, count);
    if (memcmp(m->expected, home, BUFFER_BYTES) != 0)
        fail_msg("%s %s %s count %zu offset %zu aliasing %d differs from the reference",
                 variant->name, weft_dtypes[dtype].name, weft_ops[op].name, count, offset,
                 (int)aliasing);
}

static const size_t counts[] = {0, 1, 3, 17, 1000};
enum { NUM_COUNTS = sizeof counts / sizeof *counts };

static void check_operation(const struct weft_reduce_variant *variant, weft_dtype dtype, weft_op op,
                            struct buffers *m)
{
    if (!weft_op_takes(op, dtype)) {
        assert_null(variant->reduce[dtype][op]);
        return;
    }
    for (int c = 0; c < NUM_COUNTS; c++)
        for (size_t offset = 0; offset < 2; offset++)
            for (int aliasing = 0; aliasing < NUM_ALIASINGS; aliasing++)
                check_reduce(variant, dtype, op, counts[c], offset, (enum aliasing)aliasing, m);
}

static void reductions_match_the_reference(void **state)
{
    (void)state;
    struct buffers *m = malloc(sizeof *m);
    assert_non_null(m);
    const struct weft_reduce_variant *variant;
    for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
        for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
            for (int op = 0; op < WEFT_NUM_OPS; op++)
                check_operation(variant, (weft_dtype)dtype, (weft_op)op, m);
    free(m);
}

static void scaling_matches_the_reference(void **state)
{
    (void)state;
    static const int divisors[] = {1, 2, 3, 7, 16, 300, 16384};
    unsigned char data[MAX_COUNT * 8 + 1], expected[MAX_COUNT * 8 + 1];
    const struct weft_reduce_variant *variant;
    for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
        for (int t = 0; t < WEFT_NUM_DTYPES; t++)
            for (int d = 0; d < 7; d++)
                for (int c = 0; c < NUM_COUNTS; c++) {
                    weft_dtype dtype = (weft_dtype)t;
                    memset(data, 0xa5, sizeof data);
                    for (size_t i = 0; i < counts[c]; i++)
                        store(dtype, data + 1, i, random_element(dtype));
                    memcpy(expected, data, sizeof data);
                    for (size_t i = 0; i < counts[c]; i++)
                        store(dtype, expected + 1, i,
                              reference_scale(dtype, load(dtype, data + 1, i), divisors[d]));
                    variant->scale[dtype](data + 1, counts[c], divisors[d]);
                    if (memcmp(data, expected, sizeof data) != 0)
                        fail_msg("%s %s divided by %d, count %zu", variant->name,
                                 weft_dtypes[dtype].name, divisors[d], counts[c]);
                }
}

static void all_pairs_of_small_floats_are_right(void **state)
{
    (void)state;
    static const weft_op ops[] = {WEFT_SUM, WEFT_PROD, WEFT_MIN, WEFT_MAX};
    static const weft_dtype dtypes[] = {WEFT_FLOAT8_E4M3, WEFT_FLOAT8_E5M2};
    unsigned char a[256], b[256], result[256];
    const struct weft_reduce_variant *variant;
    for (int i = 0; i < 256; i++)
        a[i] = (unsigned char)i;
    for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
        for (int t = 0; t < 2; t++)
            for (int op = 0; op < 4; op++)
                for (int y = 0; y < 256; y++) {
                    memset(b, y, sizeof b);
                    variant->reduce[dtypes[t]][ops[op]](result, a, b, 256);
                    for (unsigned x = 0; x < 256; x++)
                        if (result[x] != reference_reduce(dtypes[t], ops[op], x, (unsigned)y))
                            fail_msg("%s %s %s: %#x and %#x give %#x", variant->name,
                                     weft_dtypes[dtypes[t]].name, weft_ops[ops[op]].name, x, y,
                                     result[x]);
                }
}

static void sums_and_products_of_halves_are_right(void **state)
{
    (void)state;
    enum { NUM_HALVES = 0x10000 };
    uint16_t *a = malloc(3 * NUM_HALVES * sizeof *a), *b = a + NUM_HALVES, *result = b + NUM_HALVES;
    assert_non_null(a);
    const struct weft_reduce_variant *variant;
    for (int round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < NUM_HALVES; i++) {
            a[i] = (uint16_t)i;
            b[i] = (uint16_t)random_bits();
        }
        for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
            for (int op = WEFT_SUM; op <= WEFT_PROD; op++) {
                variant->reduce[WEFT_FLOAT16][op](result, a, b, NUM_HALVES);
                for (uint32_t i = 0; i < NUM_HALVES; i++)
                    if (result[i] != reference_reduce(WEFT_FLOAT16, (weft_op)op, a[i], b[i]))
                        fail_msg("%s %s: %#x and %#x give %#x", variant->name, weft_ops[op].name,
                                 a[i], b[i], result[i]);
            }
    }
    free(a);
}

static void check_multiply(const struct weft_reduce_variant *variant, weft_dtype dtype,
                           size_t count, bool in_place)
{
    unsigned char source[MAX_COUNT * 8 + 1], product[MAX_COUNT * 8 + 1], scalar[9];
    unsigned char expected[MAX_COUNT * 8 + 1];
    memset(source, 0xa5, sizeof source);
    memset(product, 0xa5, sizeof product);
    memset(expected, 0xa5, sizeof expected);
    store(dtype, scalar + 1, 0, random_element(dtype));
    for (size_t i = 0; i < count; i++) {
        store(dtype, source + 1, i, random_element(dtype));
        store(dtype, expected + 1, i,
              reference_reduce(dtype, WEFT_PROD, load(dtype, source + 1, i),
                               load(dtype, scalar + 1, 0)));
    }
    unsigned char *output = in_place ? source : product;
    variant->multiply[dtype](output + 1, source + 1, scalar + 1, count);
    if (memcmp(output, expected, sizeof expected) != 0)
        fail_msg("%s %s multiplied, count %zu", variant->name, weft_dtypes[dtype].name, count);
}

static void multiplying_matches_the_reference(void **state)
{
    (void)state;
    enum { NUM_SCALARS = 20 };
    const struct weft_reduce_variant *variant;
    for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
        for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
            for (int c = 0; c < NUM_COUNTS; c++)
                for (int i = 0; i < NUM_SCALARS; i++)
                    check_multiply(variant, (weft_dtype)dtype, counts[c], i % 2);
}

static void reductions_commute_bit_for_bit(void **state)
{
    (void)state;
    unsigned char a[MAX_COUNT * 8], b[MAX_COUNT * 8], ab[MAX_COUNT * 8], ba[MAX_COUNT * 8];
    for (int t = 0; t < WEFT_NUM_DTYPES; t++) {
        for (size_t i = 0; i < sizeof a; i++) {
            a[i] = (unsigned char)random_bits();
            b[i] = (unsigned char)random_bits();
        }
        for (size_t i = 0; i < 64; i++) { // NaNs with payloads and signs, on one side or on both
            store((weft_dtype)t, a, i, low_bits((weft_dtype)t, ~(random_bits() & 15)));
            store((weft_dtype)t, b, i / 2, low_bits((weft_dtype)t, ~(random_bits() & 15)));
        }
        for (int op = 0; op < WEFT_NUM_OPS; op++) {
            if (!weft_op_takes((weft_op)op, (weft_dtype)t))
                continue;
            weft_reduce_fn reduce = weft_reduce_lookup((weft_dtype)t, (weft_op)op);
            size_t bytes = MAX_COUNT * weft_dtype_bytes((weft_dtype)t);
            reduce(ab, a, b, MAX_COUNT);
            reduce(ba, b, a, MAX_COUNT);
            assert_memory_equal(ab, ba, bytes);
        }
    }
}

static void lookup_gives_the_best_variant(void **state)
{
    (void)state;
    assert_non_null(weft_reduce_variant_at(0));
    for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++) {
        assert_ptr_equal(weft_scale_lookup((weft_dtype)dtype),
                         weft_reduce_variant_at(0)->scale[dtype]);
        assert_ptr_equal(weft_multiply_lookup((weft_dtype)dtype),
                         weft_reduce_variant_at(0)->multiply[dtype]);
        for (int op = 0; op < WEFT_NUM_OPS; op++)
            assert_ptr_equal(weft_reduce_lookup((weft_dtype)dtype, (weft_op)op),
                             weft_reduce_variant_at(0)->reduce[dtype][op]);
    }
}

/* ---- conversions ---- */

static void halves_decode_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        double f16 = decode(WEFT_FLOAT16, h), bf16 = decode(WEFT_BFLOAT16, h);
        float got_f16 = weft_f16_to_float((uint16_t)h), got_bf16 = weft_bf16_to_float((uint16_t)h);
        assert_true(isnan(f16) ? isnan(got_f16)
                               : got_f16 == f16 && !signbit(f16) == !signbit(got_f16));
        assert_true(isnan(bf16) ? isnan(got_bf16)
                                : got_bf16 == bf16 && !signbit(bf16) == !signbit(got_bf16));
        assert_int_equal(weft_f16_from_float(got_f16), isnan(f16) ? 0x7e00 : h);
        assert_int_equal(weft_bf16_from_float(got_bf16), isnan(bf16) ? 0x7fc0 : h);
    }
}

static void eights_decode_exactly(void **state)
{
    (void)state;
    for (uint32_t e = 0; e < 0x100; e++) {
        double e4m3 = decode(WEFT_FLOAT8_E4M3, e), e5m2 = decode(WEFT_FLOAT8_E5M2, e);
        float got_e4m3 = weft_e4m3_to_float((uint8_t)e), got_e5m2 = weft_e5m2_to_float((uint8_t)e);
        assert_true(isnan(e4m3) ? isnan(got_e4m3)
                                : got_e4m3 == e4m3 && !signbit(e4m3) == !signbit(got_e4m3));
        assert_true(isnan(e5m2) ? isnan(got_e5m2)
                                : got_e5m2 == e5m2 && !signbit(e5m2) == !signbit(got_e5m2));
        assert_int_equal(weft_e4m3_from_float(got_e4m3), isnan(e4m3) ? 0x7f : e);
        assert_int_equal(weft_e5m2_from_float(got_e5m2), isnan(e5m2) ? 0x7e : e);
    }
    // The specification's numbers.
    assert_true(weft_e4m3_to_float(0x7e) == 448 && weft_e4m3_to_float(0x01) == 0x1p-9f);
    assert_true(weft_e5m2_to_float(0x7b) == 57344 && weft_e5m2_to_float(0x01) == 0x1p-16f);
    assert_true(weft_e4m3_to_float(0x08) == 0x1p-6f && weft_e5m2_to_float(0x04) == 0x1p-14f);
}

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || !defined __x86_64__ ||          \
    !defined NDEBUG
enum { STRIDE = 97 }; // slow builds look at every 97th float beside the neighbours of each tie
#else
enum { STRIDE = 1 };
#endif

// Walks all non-negative floats up to infinity together with the half they must round to: rounding
// is monotonic, so it is enough to know where it steps from one half to the next.
static void check_rounding(weft_dtype dtype, uint16_t (*convert)(float), uint32_t infinity)
{
    for (uint32_t h = 0; h < infinity; h++) {
        // Above the largest finite number comes the number that would be next, which is infinity.
        uint32_t low = weft_float_bits((float)decode(dtype, h));
        double next =
            h + 1 < infinity ? decode(dtype, h + 1) : 2 * decode(dtype, h) - decode(dtype, h - 1);
        double tie = (decode(dtype, h) + next) / 2;
        float tie_float = (float)tie;
        assert_true((double)tie_float == tie); // ties are floats
        uint32_t middle = weft_float_bits(tie_float);
        uint32_t high = h + 1 < infinity ? weft_float_bits((float)next) : middle + (middle - low);
        assert_int_equal(convert(tie_float), h + (h & 1));
        assert_int_equal(convert(weft_float_from_bits(middle - 1)), h);
        assert_int_equal(convert(weft_float_from_bits(middle + 1)), h + 1);
        uint32_t wrong = 0;
        for (uint32_t bits = low; bits < middle; bits += STRIDE)
            wrong += convert(weft_float_from_bits(bits)) != h;
        for (uint32_t bits = middle + 1; bits < high; bits += STRIDE)
            wrong += convert(weft_float_from_bits(bits | 0x80000000)) != ((h + 1) | 0x8000);
        assert_int_equal(wrong, 0);
    }
    assert_int_equal(convert(INFINITY), infinity);
    assert_int_equal(convert(-INFINITY), infinity | 0x8000);
    for (uint32_t bits = 0x7f800001; bits < 0x80000000; bits += 4093)
        assert_int_equal(convert(weft_float_from_bits(bits | (bits & 1) << 31)),
                         encode(dtype, NAN));
}

static void floats_round_to_bf16(void **state)
{
    (void)state;
    check_rounding(WEFT_BFLOAT16, weft_bf16_from_float, 0x7f80);
}

static void floats_round_to_f16(void **state)
{
    (void)state;
    check_rounding(WEFT_FLOAT16, weft_f16_from_float, 0x7c00);
    for (uint32_t bits = 0x47800000; bits < 0x7f800000; bits += 4093)
        assert_int_equal(weft_f16_from_float(weft_float_from_bits(bits)), 0x7c00);
}

static void check_rounding_to_8_bits(weft_dtype dtype, uint8_t (*convert)(float))
{
    const uint32_t largest = (uint32_t)formats[dtype].largest;
    for (uint32_t e = 0; e <= largest; e++) { // around every tie and every number
        double low = decode(dtype, e);
        double high = e < largest ? decode(dtype, e + 1) : 2 * low - decode(dtype, e - 1);
        uint32_t tie = weft_float_bits((float)((low + high) / 2));
        for (uint32_t near = 0; near < 3; near++) {
            float value = weft_float_from_bits(tie - 1 + near);
            uint32_t expected = near == 0 ? e : near == 1 ? e + (e & 1) : e + 1;
            assert_int_equal(convert(value), expected);
            assert_int_equal(convert(value), encode(dtype, value));
            assert_int_equal(convert(-value), encode(dtype, -value));
        }
    }
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 65521) {
        float value = weft_float_from_bits((uint32_t)bits);
        if (convert(value) != encode(dtype, value))
            fail_msg("%a becomes %#x", (double)value, convert(value));
    }
}

static void floats_round_to_8_bits(void **state)
{
    (void)state;
    check_rounding_to_8_bits(WEFT_FLOAT8_E4M3, weft_e4m3_from_float);
    check_rounding_to_8_bits(WEFT_FLOAT8_E5M2, weft_e5m2_from_float);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions_match_the_reference),
        cmocka_unit_test(scaling_matches_the_reference),
        cmocka_unit_test(all_pairs_of_small_floats_are_right),
        cmocka_unit_test(sums_and_products_of_halves_are_right),
        cmocka_unit_test(multiplying_matches_the_reference),
        cmocka_unit_test(reductions_commute_bit_for_bit),
        cmocka_unit_test(lookup_gives_the_best_variant),
        cmocka_unit_test(halves_decode_exactly),
        cmocka_unit_test(floats_round_to_bf16),
        cmocka_unit_test(floats_round_to_f16),
        cmocka_unit_test(eights_decode_exactly),
        cmocka_unit_test(floats_round_to_8_bits),
    };
    return cmocka_run_group_tests_name("reduce", tests, NULL, NULL);
}
