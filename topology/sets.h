/*
 * SPDX-License-Identifier: Apache-2.0
 * Sets that grow together (union-find), as one array: up[i] leads from member i towards the root of
 * its set, and a root names itself. All steps take practically constant time.
 */
#ifndef WEFT_TOPOLOGY_SETS_H
#define WEFT_TOPOLOGY_SETS_H

/* Each member alone. */
static inline void weft_sets_init(int *up, int count)
{
    for (int i = 0; i < count; i++)
        up[i] = i;
}

static inline int weft_sets_root(int *up, int member)
{
    while (up[member] != member)
        member = up[member] = up[up[member]]; // halves the way for the next one
    return member;
}

/* The lower root wins, so a root is the first member of its set. */
static inline void weft_sets_unite(int *up, int a, int b)
{
    a = weft_sets_root(up, a);
    b = weft_sets_root(up, b);
    up[a < b ? b : a] = a < b ? a : b;
}

#endif
