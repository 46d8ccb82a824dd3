/*
 * SPDX-License-Identifier: Apache-2.0
 * Sums stay within the whole numbers that the type holds exactly; products are powers of two; of
 * bits and truth values one or two ranks decide, so that many ranks do not make them all alike.
 */
#include "tools/bench_data.h"

#include <stdbool.h>
#include <string.h>

#include "base/dtype.h"
#include "kernels/float8.h"
#include "kernels/half.h"

/* ---- shapes ---- */

struct shape {
    bool send_all, recv_all; // num_ranks * count elements instead of count
    bool reduces;
    bool rooted_input, rooted_output; // only the root has it
    double
        factor; // of (num_ranks - 1) / num_ranks in the bus bandwidth; 0: the bus carries it once
};

// A row per collective that the tool runs.
static const struct shape shapes[] = {
    [WEFT_ALL_REDUCE] = {.reduces = true, .factor = 2},
    [WEFT_ALL_GATHER] = {.recv_all = true, .factor = 1},
    [WEFT_REDUCE_SCATTER] = {.send_all = true, .reduces = true, .factor = 1},
    [WEFT_BROADCAST] = {.rooted_input = true},
    [WEFT_REDUCE] = {.reduces = true, .rooted_output = true},
    [WEFT_GATHER] = {.recv_all = true, .rooted_output = true, .factor = 1},
    [WEFT_SCATTER] = {.send_all = true, .rooted_input = true, .factor = 1},
    [WEFT_ALL_TO_ALL] = {.send_all = true, .recv_all = true, .factor = 1},
    [WEFT_SEND] = {0},
};

size_t weft_bench_send_elements(const struct weft_bench_case *c)
{
    if (shapes[c->collective].rooted_input && c->rank != c->root)
        return 0;
    return shapes[c->collective].send_all ? c->count * (size_t)c->num_ranks : c->count;
}

size_t weft_bench_recv_elements(const struct weft_bench_case *c)
{
    if (shapes[c->collective].rooted_output && c->rank != c->root)
        return 0;
    return shapes[c->collective].recv_all ? c->count * (size_t)c->num_ranks : c->count;
}

size_t weft_bench_count_for_bytes(weft_collective collective, size_t bytes, size_t element_bytes,
                                  int num_ranks)
{
    const struct shape *shape = &shapes[collective];
    size_t count = bytes / element_bytes;
    if (!shape->send_all && !shape->recv_all)
        return count;
    size_t whole = 16 / element_bytes; // blocks begin at multiples of 16 bytes
    return count / (size_t)num_ranks / whole * whole;
}

size_t weft_bench_total_bytes(weft_collective collective, size_t count, size_t element_bytes,
                              int num_ranks)
{
    const struct shape *shape = &shapes[collective];
    return count * element_bytes * (shape->send_all || shape->recv_all ? (size_t)num_ranks : 1);
}

double weft_bench_bus_factor(weft_collective collective, int num_ranks)
{
    double factor = shapes[collective].factor;
    return factor != 0 ? factor * (num_ranks - 1) / num_ranks : 1;
}

/* ---- elements ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static void store_bits(weft_dtype dtype, void *base, size_t i, uint64_t bits)
{
    size_t bytes = weft_dtype_bytes(dtype);
    const uint8_t u8 = (uint8_t)bits;
    const uint16_t u16 = (uint16_t)bits;
    const uint32_t u32 = (uint32_t)bits;
    const void *value = bytes == 8   ? (const void *)&bits
                        : bytes == 4 ? &u32
                        : bytes == 2 ? (const void *)&u16
                                     : &u8;
    memcpy((char *)base + i * bytes, value, bytes);
}

static uint64_t load_bits(weft_dtype dtype, const void *base, size_t i)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (weft_dtype_bytes(dtype)) {
    case 1:
        memcpy(&u8, (const char *)base + i, sizeof u8);
        return u8;
    case 2:
        memcpy(&u16, (const char *)base + 2 * i, sizeof u16);
        return u16;
    case 4:
        memcpy(&u32, (const char *)base + 4 * i, sizeof u32);
        return u32;
    default:
        memcpy(&u64, (const char *)base + 8 * i, sizeof u64);
        return u64;
    }
}

static uint64_t low_bits(weft_dtype dtype, uint64_t bits)
{
    size_t bytes = weft_dtype_bytes(dtype);
    return bytes == 8 ? bits : bits & ((UINT64_C(1) << 8 * bytes) - 1);
}

// numerator / divisor as the type holds it: exact, or rounded once, or truncated.
static uint64_t quotient_bits(weft_dtype dtype, int64_t numerator, int divisor)
{
    double f64 = (double)numerator / divisor;
    float f32 = (float)numerator / (float)divisor;
    uint64_t bits;
    switch (dtype) {
    case WEFT_FLOAT32:
        return weft_float_bits(f32);
    case WEFT_FLOAT64:
        memcpy(&bits, &f64, sizeof bits);
        return bits;
    case WEFT_BFLOAT16:
        return weft_bf16_from_float(f32);
    case WEFT_FLOAT16:
        return weft_f16_from_float(f32);
    case WEFT_FLOAT8_E4M3:
        return weft_e4m3_from_float(f32);
    case WEFT_FLOAT8_E5M2:
        return weft_e5m2_from_float(f32);
    default:
        return low_bits(dtype, (uint64_t)(numerator / divisor));
    }
}

// Every whole number up to this is exact in the type.
static int64_t exact_limit(weft_dtype dtype)
{
    static const int64_t limits[] = {
        [WEFT_FLOAT32] = 1 << 24, [WEFT_FLOAT64] = 1 << 24, [WEFT_BFLOAT16] = 1 << 8,
        [WEFT_FLOAT16] = 1 << 11, [WEFT_INT32] = 1 << 24,   [WEFT_INT64] = 1 << 24,
        [WEFT_UINT8] = 255,       [WEFT_INT8] = 127,        [WEFT_INT16] = 32767,
        [WEFT_UINT16] = 65535,    [WEFT_UINT32] = 1 << 24,  [WEFT_UINT64] = 1 << 24,
        [WEFT_FLOAT8_E4M3] = 16,  [WEFT_FLOAT8_E5M2] = 8,
    };
    return limits[dtype];
}

// By which `rank` multiplies what it contributes to a pre-multiplied sum.
static int64_t multiplier(int rank)
{
    return 1 + rank % 2;
}

static int64_t summand(uint64_t own, int turn, int64_t limit, int num_ranks)
{
    if (limit < num_ranks) // more ranks than the type can count: some contribute nothing
        return turn < limit;
    return (int64_t)(own % (uint64_t)(limit / num_ranks + 1));
}

// What `rank` contributes to an element whose hash is `hash`.
static int64_t contribution(const struct weft_bench_case *c, uint64_t hash, int rank)
{
    uint64_t own = mix(hash + (uint64_t)rank * UINT64_C(0x9e3779b97f4a7c15));
    int64_t limit = exact_limit(c->dtype), truth = 1 + (int64_t)(own >> 8) % 100;
    int turn = (int)((hash % (unsigned)c->num_ranks + (unsigned)rank) % (unsigned)c->num_ranks);
    bool decides = turn == 0 && hash >> 40 & 1;
    switch (c->op) {
    case WEFT_PROD: // at most 2^6, by some six of the ranks
        return turn < 6 && own & 1 ? 2 : 1;
    case WEFT_MIN:
    case WEFT_MAX:
        return (int64_t)(own % (uint64_t)limit) - (weft_dtypes[c->dtype].is_signed ? limit / 2 : 0);
    case WEFT_LOGICAL_AND:
        return decides ? 0 : truth;
    case WEFT_LOGICAL_OR:
        return decides ? truth : 0;
    case WEFT_LOGICAL_XOR:
        return own & 1 ? truth : 0;
    case WEFT_BITWISE_AND:
        return turn < 2 ? (int64_t)own : -1;
    case WEFT_BITWISE_OR:
        return turn < 2 ? (int64_t)own : 0;
    case WEFT_BITWISE_XOR:
        return (int64_t)own;
    case WEFT_PREMUL_SUM: // by 2 at most
        return summand(own, turn, limit / 2, c->num_ranks);
    case WEFT_SUM:
    case WEFT_AVG:
        break;
    }
    return summand(own, turn, limit, c->num_ranks);
}

static int64_t combined(weft_op op, int64_t value, int64_t other)
{
    switch (op) {
    case WEFT_SUM:
    case WEFT_AVG:
    case WEFT_PREMUL_SUM:
        return value + other;
    case WEFT_PROD:
        return value * other;
    case WEFT_MIN:
        return other < value ? other : value;
    case WEFT_MAX:
        return other > value ? other : value;
    case WEFT_LOGICAL_AND:
        return value && other;
    case WEFT_LOGICAL_OR:
        return value || other;
    case WEFT_LOGICAL_XOR:
        return !value != !other;
    case WEFT_BITWISE_AND:
        return value & other;
    case WEFT_BITWISE_OR:
        return value | other;
    case WEFT_BITWISE_XOR:
        return value ^ other;
    }
    return 0;
}

static uint64_t reduced_bits(const struct weft_bench_case *c, uint64_t hash)
{
    int64_t value = contribution(c, hash, 0); // whose multiplier is 1
    for (int rank = 1; rank < c->num_ranks; rank++) {
        int64_t factor = weft_ops[c->op].multiplies ? multiplier(rank) : 1;
        value = combined(c->op, value, factor * contribution(c, hash, rank));
    }
    if (weft_ops[c->op].is_logical)
        value = value != 0;
    return quotient_bits(c->dtype, value, c->op == WEFT_AVG ? c->num_ranks : 1);
}

static uint64_t reduced_hash(const struct weft_bench_case *c, size_t position)
{
    return mix(c->salt * UINT64_C(0x9e3779b97f4a7c15) + position);
}

// Element `i` of the block that `source` sends to `destination` (0 if it sends the same to all).
static uint64_t moved_bits(const struct weft_bench_case *c, int source, int destination, size_t i)
{
    uint64_t block = mix(c->salt << 32 ^ (uint64_t)source << 16 ^ (uint64_t)destination);
    return low_bits(c->dtype, mix(block + i));
}

void weft_bench_scalar(const struct weft_bench_case *c, void *scalar)
{
    store_bits(c->dtype, scalar, 0, quotient_bits(c->dtype, multiplier(c->rank), 1));
}

void weft_bench_fill(const struct weft_bench_case *c, void *send)
{
    size_t elements = weft_bench_send_elements(c);
    bool by_block = c->collective == WEFT_ALL_TO_ALL || c->collective == WEFT_SCATTER;
    for (size_t i = 0; i < elements; i++) {
        uint64_t bits;
        if (shapes[c->collective].reduces)
            bits = quotient_bits(c->dtype, contribution(c, reduced_hash(c, i), c->rank), 1);
        else if (by_block)
            bits = moved_bits(c, c->rank, (int)(i / c->count), i % c->count);
        else
            bits = moved_bits(c, c->rank, 0, i);
        store_bits(c->dtype, send, i, bits);
    }
}

static int source_of(const struct weft_bench_case *c, size_t block)
{
    switch (c->collective) {
    case WEFT_BROADCAST:
    case WEFT_SCATTER:
        return c->root;
    case WEFT_SEND:
        return c->in_turns ? c->rank ^ 1 : (c->rank + c->num_ranks - 1) % c->num_ranks;
    default:
        return (int)block;
    }
}

size_t weft_bench_count_wrong(const struct weft_bench_case *c, const void *recv)
{
    const struct shape *shape = &shapes[c->collective];
    size_t elements = weft_bench_recv_elements(c), wrong = 0;
    size_t first = shape->send_all && shape->reduces ? c->count * (size_t)c->rank : 0;
    bool by_block = c->collective == WEFT_ALL_TO_ALL || c->collective == WEFT_SCATTER;
    int destination = by_block ? c->rank : 0;
    for (size_t i = 0; i < elements; i++) {
        uint64_t expected =
            shape->reduces ? reduced_bits(c, reduced_hash(c, first + i))
                           : moved_bits(c, source_of(c, i / c->count), destination, i % c->count);
        wrong += load_bits(c->dtype, recv, i) != expected;
    }
    return wrong;
}
