/*
 * SPDX-License-Identifier: Apache-2.0
 * See decisions.h. The wire form, little endian: 8 bytes of magic and version, the number of ranks
 * (8), the hash (8), one byte per entry.
 */
#include "collectives/planner/decisions.h"

#include <string.h>

#include "collectives/planner/choice.h"

static const uint64_t magic = UINT64_C(0x3130434544544657); // "WFTDEC01"

static struct weft_key key_of(int num_ranks, int order, int collective, int class_index)
{
    return (struct weft_key){.collective = (weft_collective)collective,
                             .num_ranks = num_ranks,
                             .element_bytes = 1,
                             .size_class = class_index - 1,
                             .order = (weft_order)order};
}

static uint8_t index_of(const struct weft_algorithm *algorithm)
{
    uint8_t index = 0;
    while (weft_algorithms[index] != algorithm)
        index++;
    return index;
}

weft_status weft_decisions_make(const struct weft_layout *layout, struct weft_decisions *decisions,
                                struct weft_error *error)
{
    struct weft_decisions made = {.num_ranks = layout->num_ranks};
    for (int o = 0; o < WEFT_NUM_ORDERS; o++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            for (int s = 0; s < WEFT_NUM_SIZE_CLASSES; s++) {
                struct weft_choice choice;
                struct weft_key key = key_of(layout->num_ranks, o, c, s);
                WEFT_TRY(weft_choice_make(&key, layout, &choice, error));
                made.algorithms[o][c][s] = index_of(choice.candidates[0].algorithm);
            }
    *decisions = made;
    return WEFT_OK;
}

const struct weft_algorithm *weft_decisions_algorithm(const struct weft_decisions *decisions,
                                                      const struct weft_key *key)
{
    if (decisions->num_ranks != key->num_ranks)
        return NULL;
    return weft_algorithms[decisions->algorithms[key->order][key->collective][key->size_class + 1]];
}

uint64_t weft_decisions_hash(const struct weft_decisions *decisions)
{
    uint64_t hash = weft_hash_mix(magic, (uint64_t)decisions->num_ranks);
    for (int i = 0; weft_algorithms[i]; i++)
        for (const char *letter = weft_algorithms[i]->name; *letter; letter++)
            hash = weft_hash_mix(hash, (uint64_t)(unsigned char)*letter + 256 * (uint64_t)i);
    const uint8_t *entries = &decisions->algorithms[0][0][0];
    for (size_t i = 0; i < sizeof decisions->algorithms; i++)
        hash = weft_hash_mix(hash, entries[i]);
    return hash;
}

static void write_word(uint64_t word, unsigned char *bytes)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(word >> (8 * i));
}

static uint64_t read_word(const unsigned char *bytes)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

void weft_decisions_write(const struct weft_decisions *decisions, unsigned char *bytes)
{
    write_word(magic, bytes);
    write_word((uint64_t)decisions->num_ranks, bytes + 8);
    write_word(weft_decisions_hash(decisions), bytes + 16);
    memcpy(bytes + 24, decisions->algorithms, sizeof decisions->algorithms);
}

static weft_status check_entries(const struct weft_decisions *decisions,
                                 const struct weft_layout *layout, struct weft_error *error)
{
    int num_algorithms = 0;
    while (weft_algorithms[num_algorithms])
        num_algorithms++;
    for (int o = 0; o < WEFT_NUM_ORDERS; o++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            for (int s = 0; s < WEFT_NUM_SIZE_CLASSES; s++) {
                uint8_t index = decisions->algorithms[o][c][s];
                struct weft_key key = key_of(decisions->num_ranks, o, c, s);
                const char *reason =
                    index >= num_algorithms
                        ? "is no algorithm"
                        : weft_algorithm_refusal(weft_algorithms[index], &key, layout);
                if (reason)
                    return weft_fail(error, WEFT_INVALID_FORMAT,
                                     "decision table: %s, size class %d: choice %d: %s",
                                     weft_collective_names[c], s - 1, index, reason);
            }
    return WEFT_OK;
}

weft_status weft_decisions_read(const unsigned char *bytes, size_t num_bytes,
                                const struct weft_layout *layout, struct weft_decisions *decisions,
                                struct weft_error *error)
{
    struct weft_decisions read;
    if (num_bytes != WEFT_DECISIONS_BYTES || read_word(bytes) != magic)
        return weft_fail(error, WEFT_INVALID_FORMAT, "not a decision table (%zu bytes)", num_bytes);
    uint64_t num_ranks = read_word(bytes + 8);
    if (num_ranks != (uint64_t)layout->num_ranks)
        return weft_fail(error, WEFT_INVALID_FORMAT, "decision table: of %llu ranks, not of %d",
                         (unsigned long long)num_ranks, layout->num_ranks);
    read.num_ranks = (int32_t)num_ranks;
    memcpy(read.algorithms, bytes + 24, sizeof read.algorithms);
    if (read_word(bytes + 16) != weft_decisions_hash(&read))
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "decision table: damaged, or made with other algorithms");
    WEFT_TRY(check_entries(&read, layout, error));
    *decisions = read;
    return WEFT_OK;
}
