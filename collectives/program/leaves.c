/*
 * SPDX-License-Identifier: Apache-2.0
 * See leaves.h.
 */
#include "collectives/program/leaves.h"

bool weft_leaves_are_siblings(uint32_t num_leaves, uint32_t a, uint32_t middle, uint32_t b)
{
    uint32_t first = 0, end = num_leaves;
    if (a >= middle || middle >= b || b > num_leaves)
        return false;
    while (first != a || end != b) {
        if (end - first < 2)
            return false;
        uint32_t split = first + weft_leaves_left(end - first);
        if (b <= split)
            end = split;
        else if (a >= split)
            first = split;
        else
            return false;
    }
    return first + weft_leaves_left(end - first) == middle;
}

struct weft_label weft_leaves_label(uint32_t first, uint32_t count, uint32_t cell)
{
    if (count == 1)
        return weft_label_leaf((int)first, cell);
    uint32_t left = weft_leaves_left(count);
    return weft_label_combine(weft_leaves_label(first, left, cell),
                              weft_leaves_label(first + left, count - left, cell));
}

// The end of the largest node that begins at `at` and ends by `hi`.
static size_t part_end(size_t at, size_t hi, size_t num_leaves)
{
    size_t first = 0, end = num_leaves;
    while (first != at || end > hi) {
        size_t split = first + weft_leaves_left((uint32_t)(end - first));
        if (at < split)
            end = split;
        else
            first = split;
    }
    return end;
}

size_t weft_leaf_parts(size_t lo, size_t hi, size_t num_leaves, weft_leaf_part *parts)
{
    size_t count = 0;
    if (hi > num_leaves || num_leaves > WEFT_LEAVES_LIMIT)
        return 0;
    while (lo < hi) {
        size_t end = part_end(lo, hi, num_leaves);
        if (parts)
            parts[count] = (weft_leaf_part){lo, end};
        count++;
        lo = end;
    }
    return count;
}
