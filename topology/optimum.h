/*
 * SPDX-License-Identifier: Apache-2.0
 * How fast a collective can be on a network, exactly, and which cut is in the way.
 *
 * All-gather (and reduce-scatter on the reversed network): every terminal broadcasts at rate x at
 * the same time; 1 / x* is the largest |S n terminals| / B+(S) over vertex sets S that do not hold
 * all terminals, B+(S) being the capacity that leaves S. Found by discrete Newton steps over
 * maximum flows in integers, without any tolerance. Broadcast: the least maximum flow from the
 * root. Rates are in the unit of capacities (bytes per second).
 */
#ifndef WEFT_TOPOLOGY_OPTIMUM_H
#define WEFT_TOPOLOGY_OPTIMUM_H

#include "topology/network.h"

struct weft_fraction {
    int64_t numerator, denominator; // lowest terms, denominator > 0
};

struct weft_optimum {
    struct weft_fraction inverse_x; // 1 / x*: seconds per byte of every terminal's share
    /* Per unit of capacity, in trees: capacity b stands for U * b unit trees (an integer for every
     * arc), k of them rooted at each terminal. */
    struct weft_fraction u;
    int64_t k;
    bool *is_in_cut;      // (num_vertices) the bottleneck set S
    int64_t cut_capacity; // B+(S)
    int num_cut_terminals;
};
void weft_optimum_free(struct weft_optimum *optimum);

/* All-gather from all terminals at once. `reversed`: of the network with all arcs turned
 * (reduce-scatter). Errors: UNSUPPORTED as weft_network_check, OUT_OF_MEMORY, INVALID_ARGUMENT
 * (fewer than 2 terminals). */
weft_status weft_optimum_all_gather(const struct weft_network *network, bool reversed,
                                    struct weft_optimum *optimum, struct weft_error *error);
/* The best that weight[t] trees rooted at each terminal t can do: the smallest U for which
 * floor(U * capacity) trees on every arc are enough. capacity[arc] gets those numbers; may be NULL.
 * Errors: UNSUPPORTED as above, OUT_OF_MEMORY. */
weft_status weft_optimum_units(const struct weft_network *network, const int64_t *weight,
                               struct weft_fraction *u, int64_t *capacity,
                               struct weft_error *error);
/* Whether weight[t] trees rooted at each terminal t fit capacity[arc], each switch being left by as
 * many trees as enter it. False without memory, too. */
bool weft_optimum_is_feasible(const struct weft_network *network, const int64_t *weight,
                              const int64_t *capacity);
/* Bytes per second at which `root` can broadcast (reversed: at which it can collect a reduction).
 */
weft_status weft_optimum_broadcast(const struct weft_network *network, bool reversed, int root,
                                   int64_t *rate, bool *is_in_cut, struct weft_error *error);
/* Seconds per byte of every terminal's share when `root` scatters shares to all others at once
 * (reversed: gathers them): the largest |terminals not in S| / B+(S) over vertex sets S that hold
 * the root; is_in_cut (num_vertices) is that S. Errors: UNSUPPORTED as above, or a terminal cannot
 * be reached; OUT_OF_MEMORY, INVALID_ARGUMENT (fewer than 2 terminals). */
weft_status weft_optimum_scatter(const struct weft_network *network, bool reversed, int root,
                                 struct weft_fraction *inverse_x, bool *is_in_cut,
                                 struct weft_error *error);
/* All-reduce with the best split of the vector over roots: rate (bytes of the vector per second)
 * and the share of each root in `shares` (num_terminals, summing to 1); the equal-shard rate is
 * N * x / 2. Reductions towards and broadcasts from the roots share the capacity of every arc. */
struct weft_all_reduce_optimum {
    bool is_equal; // equal shares are the best, by a proof without the program; no up and down then
    double rate;
    double equal_shard_rate;
    double *shares;
    double *up,
        *down; // (num_arcs) or NULL: of a vector of 1, what each arc carries towards and from roots
};
weft_status weft_optimum_all_reduce(const struct weft_network *network,
                                    struct weft_all_reduce_optimum *optimum,
                                    struct weft_error *error);
void weft_all_reduce_optimum_free(struct weft_all_reduce_optimum *optimum);

#endif
