/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan` without more, `--explain` and `--dump`: the choice of one size, with the facts that
 * only the programs themselves can tell.
 */
#include <stdio.h>
#include <string.h>

#include "collectives/planner/explain.h"
#include "collectives/planner/nccl_topology.h"
#include "collectives/program/program_json.h"
#include "tools/plan.h"
#include "tools/plan_arguments.h"

enum { RANKS_SHOWN = 16, RANKS_EMITTED = 1024 };

static weft_status make_plan(const struct weft_plan_arguments *arguments,
                             const struct weft_explanation *explanation, int rank,
                             struct weft_plan **plan, struct weft_error *error)
{
    bool is_one = arguments->key.collective == WEFT_ALL_TO_ALL ||
                  arguments->key.collective == WEFT_ALL_TO_ALL_V;
    const uint32_t *span = arguments->key.num_leaves ? arguments->key.leaf_bounds + rank : NULL;
    is_one |= span && weft_leaf_parts(span[0], span[1], arguments->key.num_leaves, NULL) > 1;
    const struct weft_plan_request request = {
        .key = arguments->key,
        .rank = rank,
        .aliasing = is_one ? WEFT_OUT_OF_PLACE : WEFT_OUT_OF_PLACE | WEFT_IN_PLACE,
        .layout = explanation->choice.layout,
        .algorithm = explanation->chosen->name,
    };
    return weft_plan_make(&request, plan, NULL, error);
}

// Of all ranks if there are few; of send and recv, the one that is not the peer.
static weft_status make_facts(const struct weft_plan_arguments *arguments,
                              struct weft_explanation *explanation,
                              struct weft_program_facts *facts, struct weft_error *error)
{
    bool is_pair = arguments->key.collective == WEFT_SEND || arguments->key.collective == WEFT_RECV;
    bool is_one = arguments->has_rank || is_pair || arguments->ranks > RANKS_SHOWN;
    int first = is_one ? (int)arguments->rank : 0;
    int end = is_one ? first + 1 : (int)arguments->ranks;
    explanation->programs = facts;
    for (int rank = first; rank < end; rank++) {
        struct weft_plan *plan = NULL;
        WEFT_TRY(make_plan(arguments, explanation, rank, &plan, error));
        facts[explanation->num_programs++] = weft_program_facts(plan, arguments->bytes);
        weft_plan_destroy(&plan);
    }
    return WEFT_OK;
}

static weft_status dump(const struct weft_plan_arguments *arguments,
                        const struct weft_explanation *explanation, struct weft_error *error)
{
    struct weft_plan *plan = NULL;
    json_t *json = NULL;
    WEFT_TRY(make_plan(arguments, explanation, (int)arguments->rank, &plan, error));
    weft_status status = weft_program_to_json(weft_plan_program(plan), &json, error);
    weft_plan_destroy(&plan);
    WEFT_TRY(status);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return weft_plan_write(arguments->dump, text, error);
}

// Of each candidate's program for rank 0; where there are very many ranks, nobody waits for that.
static void find_channels(const struct weft_plan_arguments *arguments,
                          struct weft_explanation *explanation)
{
    const struct weft_choice *choice = &explanation->choice;
    for (int i = 0; i < choice->num_usable && arguments->ranks <= RANKS_EMITTED; i++) {
        struct weft_program *program = NULL;
        struct weft_error error;
        if (choice->candidates[i].algorithm->emit(&choice->key, choice->layout, 0,
                                                  WEFT_OUT_OF_PLACE, &program, &error) == WEFT_OK)
            explanation->channels[i] = (int)program->num_channels;
        weft_program_destroy(&program);
    }
}

// What NCCL would do; where it could not run at all, the reason.
static void ask_nccl(const struct weft_plan_arguments *arguments,
                     const struct weft_plan_scene *scene, struct weft_explanation *explanation)
{
    struct weft_nccl_input input;
    struct weft_nccl_prediction prediction;
    struct weft_error why;
    char assumed[WEFT_NCCL_ASSUMED_BYTES];
    explanation->nccl_us = -1;
    if (weft_nccl_input_from_nodes(scene->topology, scene->nodes, (int)arguments->ranks, &input,
                                   assumed, sizeof assumed, &why) == WEFT_OK &&
        weft_nccl_predict(&input, arguments->key.collective, (uint64_t)arguments->bytes,
                          &prediction, &why) == WEFT_OK) {
        weft_nccl_describe(&prediction, assumed, explanation->nccl, sizeof explanation->nccl);
        explanation->nccl_us = prediction.time_us;
        return;
    }
    snprintf(explanation->nccl, sizeof explanation->nccl, "%.300s", why.text);
}

weft_status weft_plan_explain(const struct weft_plan_arguments *arguments,
                              const struct weft_plan_scene *scene, struct weft_error *error)
{
    struct weft_program_facts facts[RANKS_SHOWN];
    struct weft_explanation explanation = {.bytes = arguments->bytes, .origin = scene->origin};
    bool wants_all = arguments->wants_reasons || arguments->wants_json;
    WEFT_TRY(weft_choice_make(&arguments->key, scene->layout, &explanation.choice, error));
    explanation.chosen = explanation.choice.candidates[0].algorithm;
    if (arguments->algorithm) {
        WEFT_TRY(weft_algorithm_require(arguments->algorithm, &arguments->key, scene->layout,
                                        &explanation.chosen, error));
        explanation.is_forced = true;
    }
    if (arguments->dump)
        return dump(arguments, &explanation, error);
    WEFT_TRY(weft_bound_find(scene->layout, &arguments->key, &explanation.bound, error));
    if (wants_all) {
        ask_nccl(arguments, scene, &explanation);
        find_channels(arguments, &explanation);
    }
    WEFT_TRY(make_facts(arguments, &explanation, facts, error));
    if (arguments->wants_json) {
        json_t *json = weft_explain_json(&explanation);
        if (json && arguments->wants_evaluation)
            json_object_set_new(json, "evaluation", weft_plan_evaluate_json(&explanation.choice));
        return weft_plan_print_json(json, error);
    }
    weft_explain_text(&explanation, arguments->wants_reasons, stdout);
    if (arguments->wants_evaluation)
        weft_plan_evaluate(&explanation.choice, stdout);
    return WEFT_OK;
}
