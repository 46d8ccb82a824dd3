/*
 * SPDX-License-Identifier: Apache-2.0
 * Messages found by key: a hash table of transfers, chained through their own next/previous. Equal
 * keys keep their order. Inserting cannot fail: where memory for more buckets is lacking, chains
 * just grow. The hash is seeded, since keys may come from a hostile peer.
 */
#ifndef WEFT_TRANSPORT_MATCH_H
#define WEFT_TRANSPORT_MATCH_H

#include "transport/transport.h"

enum { WEFT_MATCH_FEW = 16 };

struct weft_match {
    struct weft_transfer **buckets; // `few` until there are many
    uint64_t mask;
    uint64_t count;
    uint64_t seed;
    struct weft_transfer *few[WEFT_MATCH_FEW];
};

/* The table must not move afterwards. */
void weft_match_init(struct weft_match *table, uint64_t seed);
/* Frees the buckets, not the transfers. */
void weft_match_fini(struct weft_match *table);
/* Uses next, previous and private_words[3] of `transfer`. */
void weft_match_insert(struct weft_match *table, struct weft_transfer *transfer);
/* The oldest with this key, or NULL. */
struct weft_transfer *weft_match_find(const struct weft_match *table,
                                      const struct weft_message_key *key);
/* The next younger one with the same key, or NULL. */
struct weft_transfer *weft_match_next(const struct weft_match *table,
                                      const struct weft_transfer *transfer);
void weft_match_remove(struct weft_match *table, struct weft_transfer *transfer);
/* Removes and returns any one, NULL when empty. */
struct weft_transfer *weft_match_pop(struct weft_match *table);

#endif
