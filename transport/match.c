/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of messages by key. Each chain is doubly linked and its head's `previous` is the tail,
 * so that appending, which keeps equal keys in order, takes no walk.
 */
#include "transport/match.h"

#include <stdlib.h>
#include <string.h>

enum { HASH = 3 }; // the private word that holds the hash

static uint64_t key_hash(const struct weft_match *table, const struct weft_message_key *key)
{
    uint64_t words[2];
    _Static_assert(sizeof *key == sizeof words, "the key has no padding");
    memcpy(words, key, sizeof words);
    uint64_t hash = (words[0] ^ table->seed) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32 ^ words[1]) * 0xd6e8feb86659fd93u;
    return hash ^ hash >> 32;
}

static bool same_key(const struct weft_message_key *a, const struct weft_message_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void append(struct weft_transfer **head, struct weft_transfer *transfer)
{
    transfer->next = NULL;
    if (*head) {
        transfer->previous = (*head)->previous;
        transfer->previous->next = transfer;
        (*head)->previous = transfer;
    } else {
        transfer->previous = transfer;
        *head = transfer;
    }
}

static void unlink_from(struct weft_transfer **head, struct weft_transfer *transfer)
{
    if (transfer->next)
        transfer->next->previous = transfer->previous;
    else
        (*head)->previous = transfer->previous;
    if (*head == transfer)
        *head = transfer->next;
    else
        transfer->previous->next = transfer->next;
}

static void grow(struct weft_match *table)
{
    uint64_t mask = table->mask * 4 + 3;
    struct weft_transfer **buckets = calloc(mask + 1, sizeof *buckets);
    if (!buckets)
        return;
    for (uint64_t i = 0; i <= table->mask; i++) {
        struct weft_transfer *next;
        for (struct weft_transfer *transfer = table->buckets[i]; transfer; transfer = next) {
            next = transfer->next;
            append(&buckets[transfer->private_words[HASH] & mask], transfer);
        }
    }
    if (table->buckets != table->few)
        free(table->buckets);
    table->buckets = buckets;
    table->mask = mask;
}

void weft_match_init(struct weft_match *table, uint64_t seed)
{
    memset(table, 0, sizeof *table);
    table->buckets = table->few;
    table->mask = WEFT_MATCH_FEW - 1;
    table->seed = seed;
}

void weft_match_fini(struct weft_match *table)
{
    if (table->buckets != table->few)
        free(table->buckets);
    weft_match_init(table, table->seed);
}

void weft_match_insert(struct weft_match *table, struct weft_transfer *transfer)
{
    if (table->count > table->mask * 2)
        grow(table);
    uint64_t hash = key_hash(table, &transfer->key);
    transfer->private_words[HASH] = hash;
    append(&table->buckets[hash & table->mask], transfer);
    table->count++;
}

struct weft_transfer *weft_match_find(const struct weft_match *table,
                                      const struct weft_message_key *key)
{
    if (!table->count)
        return NULL;
    struct weft_transfer *transfer = table->buckets[key_hash(table, key) & table->mask];
    while (transfer && !same_key(&transfer->key, key))
        transfer = transfer->next;
    return transfer;
}

struct weft_transfer *weft_match_next(const struct weft_match *table,
                                      const struct weft_transfer *transfer)
{
    (void)table;
    struct weft_transfer *next = transfer->next;
    while (next && !same_key(&next->key, &transfer->key))
        next = next->next;
    return next;
}

void weft_match_remove(struct weft_match *table, struct weft_transfer *transfer)
{
    unlink_from(&table->buckets[transfer->private_words[HASH] & table->mask], transfer);
    table->count--;
}

struct weft_transfer *weft_match_pop(struct weft_match *table)
{
    for (uint64_t i = 0; table->count && i <= table->mask; i++) {
        struct weft_transfer *transfer = table->buckets[i];
        if (transfer) {
            weft_match_remove(table, transfer);
            return transfer;
        }
    }
    return NULL;
}
