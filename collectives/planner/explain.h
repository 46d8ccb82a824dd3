/*
 * SPDX-License-Identifier: Apache-2.0
 * A choice made plain: every candidate with its predicted time or the reason why it cannot, why the
 * first one wins, what the prices are and where they come from, and what the chosen program does.
 * As text for people and as JSON for scripts; both hold the same facts.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EXPLAIN_H
#define WEFT_COLLECTIVES_PLANNER_EXPLAIN_H

#include <jansson.h>
#include <stdio.h>

#include "collectives/planner/bound.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/facts.h"
#include "collectives/planner/layout_topology.h"
#include "collectives/planner/nccl_topology.h"

struct weft_explanation {
    struct weft_choice choice;
    struct weft_layout_origin origin;
    int64_t bytes;                       // asked for; the choice knows the size class only
    const struct weft_algorithm *chosen; // the first candidate, or what was forced
    bool is_forced;
    struct weft_bound bound; // all zero: not asked for
    char nccl[320];          // what NCCL would do there, or why it could not; "": not asked
    double nccl_us;          // what it predicts; < 0: nothing
    int channels[WEFT_CANDIDATES_LIMIT]; // of each candidate's program; 0: not known
    int num_programs;                    // ranks whose programs were made and proved
    const struct weft_program_facts *programs;
};

/* The bound as a share of a candidate's time, at the lower edge of the size class; -1: there is no
 * bound. */
double weft_explain_share(const struct weft_explanation *explanation,
                          const struct weft_candidate *candidate);
/* One sentence: why the chosen one. */
void weft_explain_why(const struct weft_explanation *explanation, char *text, size_t bytes);
/* `verbose`: with all candidates and prices; else the result only. */
void weft_explain_text(const struct weft_explanation *explanation, bool verbose, FILE *stream);
/* New reference; NULL without memory. */
json_t *weft_explain_json(const struct weft_explanation *explanation);

/* The winner of every size class from 8 B to 8 GiB, and where it changes. */
enum { WEFT_TABLE_FIRST_CLASS = 3, WEFT_TABLE_LAST_CLASS = 33, WEFT_TABLE_ROWS = 31 };
struct weft_table_row {
    int size_class;
    struct weft_choice choice;
    int64_t free_ps; // reproducible order: the cheapest in free order, what it is held to; else 0
    double share;    // of the bound; < 0: there is none
    double nccl_us;  // what NCCL predicts of its own choice; < 0: it could not run
    enum weft_nccl_algorithm nccl_algorithm;
    enum weft_nccl_protocol nccl_protocol;
};
struct weft_table {
    struct weft_key key; // but for the size
    struct weft_bound bound;
    bool has_nccl;
    char nccl_note[240]; // what is assumed, or why NCCL could not run; "": nothing to say
    struct weft_table_row rows[WEFT_TABLE_ROWS];
};
/* `nccl` NULL: NCCL is not asked. Errors: as weft_choice_make and weft_bound_find. */
weft_status weft_table_make(const struct weft_key *key, const struct weft_layout *layout,
                            const struct weft_nccl_input *nccl, struct weft_table *table,
                            struct weft_error *error);
void weft_table_text(const struct weft_table *table, FILE *stream);
/* New reference; NULL without memory. */
json_t *weft_table_json(const struct weft_table *table);

#endif
