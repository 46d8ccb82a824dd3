/*
 * SPDX-License-Identifier: Apache-2.0
 * See fold.h.
 */
#include "collectives/executor/fold.h"

#include <stdalign.h>

enum {
    PIECE_BYTES = 4096,
    STACK_DEPTH = 8, // 64 sources: 7 finished subtrees at most, of falling sizes, and a leaf
};

struct stack {
    const char *values[STACK_DEPTH];
    alignas(64) char room[STACK_DEPTH][PIECE_BYTES];
};

// A node of the tree is complete when it cannot grow.
static const char *fold_tree(const struct weft_fold *fold, struct stack *stack, size_t at,
                             size_t elements)
{
    int depth = 0;
    for (int i = 0; i < fold->num_sources; i++) {
        bool is_last = i == fold->num_sources - 1;
        stack->values[depth++] = (const char *)fold->sources[i] + at;
        for (int twos = i + 1; depth > 1 && (twos % 2 == 0 || is_last); twos /= 2) {
            char *into = stack->room[--depth - 1];
            fold->reduce(into, stack->values[depth - 1], stack->values[depth], elements);
            stack->values[depth - 1] = into;
        }
    }
    return stack->values[0];
}

void weft_fold(const struct weft_fold *fold)
{
    struct stack stack;
    void *places[WEFT_FOLD_LIMIT];
    if (!fold->is_canonical || fold->num_sources < 3) {
        fold->reduce_all(fold->destinations, fold->num_destinations, fold->sources,
                         fold->num_sources, fold->bytes / fold->element_bytes, fold->streams);
        return;
    }
    for (size_t at = 0; at < fold->bytes; at += PIECE_BYTES) {
        size_t left = fold->bytes - at;
        size_t elements = (left < PIECE_BYTES ? left : PIECE_BYTES) / fold->element_bytes;
        const void *sum = fold_tree(fold, &stack, at, elements);
        for (int i = 0; i < fold->num_destinations; i++)
            places[i] = (char *)fold->destinations[i] + at;
        fold->reduce_all(places, fold->num_destinations, &sum, 1, elements, fold->streams);
    }
}
