/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --evaluate`: how long the candidates' programs take flow by flow, beside what their
 * estimates say; both at the lower edge of the size class.
 */
#include <stdio.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/evaluate.h"
#include "collectives/planner/explain_format.h"
#include "tools/plan.h"

struct row {
    const struct weft_candidate *candidate;
    struct weft_evaluation evaluation;
    struct weft_error error; // why there is none
};

static weft_status evaluate(const struct weft_choice *choice, int number, struct row *row)
{
    *row = (struct row){.candidate = &choice->candidates[number]};
    weft_status status = weft_evaluate(row->candidate->algorithm, &choice->key, choice->layout,
                                       weft_key_bytes(&choice->key), WEFT_EVALUATE_FOLDED_OR_ALL,
                                       &row->evaluation, &row->error);
    if (status == WEFT_OK)
        weft_evaluation_free(&row->evaluation);
    return status;
}

void weft_plan_evaluate(const struct weft_choice *choice, FILE *stream)
{
    struct row row;
    fprintf(stream, "\nFlow by flow\n    %-12s %11s %11s %9s %10s %6s   %s\n", "algorithm", "time",
            "estimate", "est/time", "messages", "ranks", "busiest");
    for (int i = 0; i < choice->num_usable; i++) {
        char time[32], estimate[32];
        if (evaluate(choice, i, &row) != WEFT_OK) {
            fprintf(stream, "    %-12s not evaluated: %s\n", row.candidate->algorithm->name,
                    row.error.text);
            continue;
        }
        weft_format_latency(row.evaluation.time_ps, time, sizeof time);
        weft_format_latency(row.candidate->estimate_ps, estimate, sizeof estimate);
        fprintf(stream, "    %-12s %11s %11s %9.3f %10lld %6d   %s, %.1f%% of the time\n",
                row.candidate->algorithm->name, time, estimate,
                row.evaluation.time_ps > 0
                    ? (double)row.candidate->estimate_ps / (double)row.evaluation.time_ps
                    : 1.0,
                (long long)row.evaluation.num_messages, row.evaluation.fold.block,
                row.evaluation.busiest[0] ? row.evaluation.busiest : "nothing",
                row.evaluation.busiest_permille / 10.0);
    }
}

json_t *weft_plan_evaluate_json(const struct weft_choice *choice)
{
    json_t *rows = json_array();
    struct row row;
    for (int i = 0; i < choice->num_usable; i++) {
        const char *name = choice->candidates[i].algorithm->name;
        json_t *made = evaluate(choice, i, &row) != WEFT_OK
                           ? json_pack("{s:s, s:s}", "algorithm", name, "error", row.error.text)
                           : json_pack("{s:s, s:I, s:I, s:I, s:i, s:s, s:f}", "algorithm", name,
                                       "time_ps", (json_int_t)row.evaluation.time_ps, "estimate_ps",
                                       (json_int_t)row.candidate->estimate_ps, "messages",
                                       (json_int_t)row.evaluation.num_messages, "ranks_evaluated",
                                       row.evaluation.fold.block, "busiest", row.evaluation.busiest,
                                       "busiest_share", row.evaluation.busiest_permille / 1000.0);
        json_array_append_new(rows, made);
    }
    return rows;
}
