/*
 * SPDX-License-Identifier: Apache-2.0
 * See fold.h.
 */
#include "collectives/executor/fold.h"

#include <stdalign.h>
#include <string.h>

#include "kernels/copy.h"

enum {
    PIECE_BYTES = 4096,
    STACK_DEPTH = 8, // 64 sources: 7 finished subtrees at most, of falling sizes, and a leaf
};

struct stack {
    const char *values[STACK_DEPTH];
    alignas(64) char room[STACK_DEPTH][PIECE_BYTES];
};

static const char *fold_in_order(const struct weft_fold *fold, struct stack *stack, size_t at,
                                 size_t elements)
{
    char *sum = stack->room[0];
    fold->reduce(sum, fold->sources[0] + at, fold->sources[1] + at, elements);
    for (int i = 2; i < fold->num_sources; i++)
        fold->reduce(sum, sum, fold->sources[i] + at, elements);
    return sum;
}

// A node of the tree is complete when it cannot grow.
static const char *fold_tree(const struct weft_fold *fold, struct stack *stack, size_t at,
                             size_t elements)
{
    int depth = 0;
    for (int i = 0; i < fold->num_sources; i++) {
        bool is_last = i == fold->num_sources - 1;
        stack->values[depth++] = fold->sources[i] + at;
        for (int twos = i + 1; depth > 1 && (twos % 2 == 0 || is_last); twos /= 2) {
            char *into = stack->room[--depth - 1];
            fold->reduce(into, stack->values[depth - 1], stack->values[depth], elements);
            stack->values[depth - 1] = into;
        }
    }
    return stack->values[0];
}

// Straight into its place: no other source may be overwritten before it is read.
static bool goes_straight(const struct weft_fold *fold)
{
    return fold->num_sources == 2 && fold->num_destinations == 1 && !fold->streams;
}

void weft_fold(const struct weft_fold *fold)
{
    struct stack stack;
    if (goes_straight(fold)) {
        fold->reduce(fold->destinations[0], fold->sources[0], fold->sources[1],
                     fold->bytes / fold->element_bytes);
        return;
    }
    for (size_t at = 0; at < fold->bytes; at += PIECE_BYTES) {
        size_t left = fold->bytes - at, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
        size_t elements = piece / fold->element_bytes;
        const char *sum = fold->num_sources == 1 ? fold->sources[0] + at
                          : fold->is_canonical   ? fold_tree(fold, &stack, at, elements)
                                                 : fold_in_order(fold, &stack, at, elements);
        for (int i = 0; i < fold->num_destinations; i++) {
            char *to = fold->destinations[i] + at;
            if (fold->streams)
                weft_copy_streaming(to, sum, piece);
            else if (to != sum)
                memcpy(to, sum, piece);
        }
    }
}
