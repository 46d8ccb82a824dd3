/*
 * SPDX-License-Identifier: Apache-2.0
 * The canonical tree over leaves 0 .. num_leaves - 1: a node over more than one leaf has the first
 * largest-power-of-two leaves (fewer than all) on its left and the rest on its right. Its shape
 * depends on the number of leaves alone, and the subtree of a node is the canonical tree over the
 * node's leaves. weft_leaf_parts (weft/weft.h) cuts spans of leaves into maximal nodes.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_LEAVES_H
#define WEFT_COLLECTIVES_PROGRAM_LEAVES_H

#include <stdbool.h>

#include "collectives/program/label.h"
#include "weft/weft.h"

/* Leaves on the left of a node over `count` >= 2 leaves. */
static inline uint32_t weft_leaves_left(uint32_t count)
{
    return UINT32_C(1) << (31 - __builtin_clz(count - 1));
}
/* Whether [a, middle) and [middle, b) are the two children of one node. O(log num_leaves). */
bool weft_leaves_are_siblings(uint32_t num_leaves, uint32_t a, uint32_t middle, uint32_t b);
/* What the canonical tree makes of leaves [first, first + count), count >= 1, when they are a node
 * (leaf l is labelled as rank l's contribution). O(count). */
struct weft_label weft_leaves_label(uint32_t first, uint32_t count, uint32_t cell);

#endif
