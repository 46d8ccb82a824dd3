/*
 * SPDX-License-Identifier: Apache-2.0
 * Chooses the variant of the reductions that suits this machine. The choice is a walk over a short
 * table at every lookup (lookups are made when an operation is bound, not per chunk), so there is
 * no state.
 */
#include "kernels/reduce.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <stdbool.h>

#include "kernels/reduce_variant.h"

struct candidate {
    const struct weft_reduce_variant *variant;
    bool (*runs_here)(void);
};

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
static bool has_v3(void)
{
    unsigned eax, ebx, ecx, edx;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) &&
           (ecx & bit_F16C);
}

static bool has_v4(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// Best first.
static const struct candidate candidates[] = {
#ifdef __x86_64__
    {&weft_reduce_x86_v4, has_v4},
    {&weft_reduce_x86_v3, has_v3},
#endif
    {&weft_reduce_plain, always},
};

const struct weft_reduce_variant *weft_reduce_variant_at(int index)
{
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (candidates[i].runs_here() && index-- == 0)
            return candidates[i].variant;
    return NULL;
}

weft_reduce_fn weft_reduce_lookup(weft_dtype dtype, weft_op op)
{
    return weft_reduce_variant_at(0)->reduce[dtype][op];
}

weft_reduce_all_fn weft_reduce_all_lookup(weft_dtype dtype, weft_op op)
{
    return weft_reduce_variant_at(0)->reduce_all[dtype][op];
}

weft_scale_fn weft_scale_lookup(weft_dtype dtype)
{
    return weft_reduce_variant_at(0)->scale[dtype];
}

weft_multiply_fn weft_multiply_lookup(weft_dtype dtype)
{
    return weft_reduce_variant_at(0)->multiply[dtype];
}
