/*
 * SPDX-License-Identifier: Apache-2.0
 * How to write, into the caches or past them. Of what other cores read next (stages), the faster
 * way depends on where the cores are to each other, and by much: a line that one core has changed
 * costs 60 ns to read from a neighbour and 250 ns or more from a core with another last cache,
 * where memory answers sooner. Virtual machines move between the two while they run. Of results it
 * depends on how much of a cache there is for them, which nobody says, and on how fast that and
 * memory are. So both ways are timed as it goes, for each collective and size, and the faster one
 * is used.
 *
 * Work goes in stretches of some turns. All ranks count the same ones, so a trial of one way is a
 * trial of all ranks together; what a rank reads tells it how fast the others read what it writes.
 *
 * Results each rank tries for itself: others do not read them now.
 *
 * Whether to fetch or to stage (shared.h) is decided in the same way, operation by operation.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_SPILL_H
#define WEFT_COLLECTIVES_EXECUTOR_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEFT_SPILL_CLASSES = 14,          // by bytes of a turn, doubling, the last without end
    WEFT_SPILL_LEAST_BYTES = 8 << 10, // smaller turns stay in the caches, and are not timed
    WEFT_SPILL_TURNS = 8,             // of a stretch
    WEFT_SPILL_PERIOD = 256,          // stretches; each has trials of both ways
};

/* What is known of one size; zero at first. */
struct weft_spill {
    uint32_t stretches;
    uint32_t last[2][2]; // picoseconds a byte, by way (1: past the caches): the last two
};

/* A stretch under way. */
struct weft_spill_stretch {
    struct weft_spill *spill; // NULL: too small
    bool is_timed;
    bool past;      // the caches
    uint64_t bytes; // moved in timed turns
    int64_t ns;     // that took
};

struct weft_spill_rule {
    uint32_t percent; // of the time of way 0 that way 1 may take
    uint32_t trials;  // of each way, in a row, in every period; the last two count
    uint32_t cold;    // stretches before the first trial: not timed
    bool begins_past; // way 1 until both are known
};

/* The next stretch, of turns of `bytes` bytes; `spills` is of WEFT_SPILL_CLASSES sizes. */
struct weft_spill_stretch weft_spill_begin(struct weft_spill *spills, size_t bytes,
                                           const struct weft_spill_rule *rule);
/* Notes how long it took, if it was timed. */
void weft_spill_end(const struct weft_spill_stretch *stretch);
/* Not all ranks have begun it: it does not count. */
void weft_spill_undo(const struct weft_spill_stretch *stretch);

#endif
