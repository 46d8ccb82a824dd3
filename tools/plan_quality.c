/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --quality`: whether choices are good. On clusters that everybody knows, for every
 * collective and size, all candidates are evaluated flow by flow, and the one that estimates choose
 * is held against the best of them and against the bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "collectives/planner/bound.h"
#include "collectives/planner/evaluate.h"
#include "collectives/planner/explain_format.h"
#include "collectives/planner/layout_topology.h"
#include "tools/command.h"
#include "tools/plan.h"
#include "topology/load.h"
#include "topology/network.h"
#include "topology/route.h"

enum { FIRST_CLASS = 3, LAST_CLASS = 33, LARGE_CLASS = 28, PERMILLE = 1000 };
enum { WORST_PERMILLE = 1050, SHARE_PERMILLE = 900, NOT_EVALUATED = -1, MANY_RANKS = 100 };

struct cluster {
    const char *source;
    bool is_quick;
};

static const struct cluster clusters[] = {
    {"dgx-a100:1", false},
    {"dgx-a100:2", false},
    {"dgx-a100:4", false},
    {"dgx-h100:1", true},
    {"dgx-b200:1", false},
    {"superpod-h100:4", true},
    {"superpod-h100:16", false},
    {"superpod-h100:64", false},
    {"superpod-b200:32", false},
    {"gb200-nvl72:1", false},
    {"gb200-nvl72:2", false},
    {"p5:2", false},
    {"p5:4", false},
    {"p5:16", false},
    {"mi250:1", true},
    {"mi250:2", false},
    {"mi250:4", false},
};
static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_ALL_GATHER, WEFT_REDUCE_SCATTER,
                                              WEFT_BROADCAST, WEFT_ALL_TO_ALL};

// What became of one collective on one cluster, over all sizes.
struct verdict {
    int worst_permille; // time of the pick by that of the best
    int worst_class;
    const char *pick, *best; // there
    int share_permille;      // least, of the bound, at large sizes; -1: there is no bound
    int share_class;
    const char *share_pick;
    int num_sizes, num_skipped;
    int farthest_permille; // estimate by time, of the candidate for which it is farthest from 1
    const char *farthest;
    int farthest_class;
};

struct quality {
    const struct weft_quality_request *request;
    const struct weft_layout *layout;
    json_t *rows;
    bool is_bad;
};

static weft_status load(const char *source, struct weft_layout **layout, struct weft_error *error)
{
    struct weft_topology *topology = NULL;
    struct weft_layout_origin origin;
    int num_ranks = 0;
    WEFT_TRY(weft_topology_load(source, &topology, error));
    for (int i = 0; i < topology->num_nodes; i++)
        num_ranks += topology->nodes[i].kind == WEFT_NODE_GPU;
    weft_status status =
        weft_layout_from_topology(topology, num_ranks ? num_ranks : 1, layout, &origin, error);
    if (status == WEFT_OK && !(*layout)->network) {
        int *places = calloc((size_t)(*layout)->num_ranks, sizeof *places);
        if (places)
            status = weft_topology_place(topology, (*layout)->num_ranks, places, error);
        const struct weft_network_options options = {.terminals = places,
                                                     .num_terminals = (*layout)->num_ranks};
        if (places && status == WEFT_OK)
            status = weft_network_create(topology, &options, &(*layout)->network, error);
        free(places);
    }
    weft_topology_destroy(&topology);
    return status;
}

static int64_t spoiled(const struct weft_quality_request *request,
                       const struct weft_candidate *candidate)
{
    if (!request->spoilt || strcmp(request->spoilt, candidate->algorithm->name) != 0)
        return candidate->estimate_ps;
    return (int64_t)((__int128)candidate->estimate_ps * request->spoil_permille / PERMILLE);
}

static int pick_of(const struct quality *quality, const struct weft_choice *choice)
{
    int pick = 0;
    for (int i = 1; i < choice->num_usable; i++)
        if (spoiled(quality->request, &choice->candidates[i]) <
            spoiled(quality->request, &choice->candidates[pick]))
            pick = i;
    return pick;
}

// No candidate is faster than rank 0 can move what its program moves, over all its arcs at once.
static int64_t least_time(const struct weft_layout *layout, const struct weft_key *key,
                          const struct weft_algorithm *algorithm, int64_t bytes)
{
    struct weft_program *program = NULL;
    struct weft_error error;
    const struct weft_network *network = layout->network;
    int64_t rate = 0;
    __int128 sent = 0;
    for (int a = network ? network->first[0] : 0; network && a < network->first[1]; a++)
        rate += network->arcs[a].capacity;
    if (rate == 0 ||
        algorithm->emit(key, layout, 0, WEFT_OUT_OF_PLACE, &program, &error) != WEFT_OK)
        return 0;
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        int64_t moved = weft_evaluate_step_bytes(program, step, bytes);
        for (int i = 0; i < step->num_destinations; i++)
            sent += weft_step_destination(program, step, i)->space == WEFT_LANE ? moved : 0;
    }
    weft_program_destroy(&program);
    return (int64_t)(sent * 1000000000000 / rate);
}

static int64_t time_of(const struct quality *quality, const struct weft_choice *choice, int number,
                       int64_t bytes, int64_t limit)
{
    struct weft_evaluation evaluation;
    struct weft_error error;
    if (weft_evaluate_within(choice->candidates[number].algorithm, &choice->key, quality->layout,
                             bytes, limit, &evaluation, &error) != WEFT_OK)
        return NOT_EVALUATED;
    weft_evaluation_free(&evaluation);
    return evaluation.is_cut ? NOT_EVALUATED : evaluation.time_ps;
}

// How far `permille` is from 1000, as a factor in permille.
static int64_t distance(int64_t permille)
{
    return permille >= PERMILLE ? permille
                                : (int64_t)PERMILLE * PERMILLE / (permille > 0 ? permille : 1);
}

static weft_status judge_size(const struct quality *quality, const struct weft_key *key,
                              struct verdict *verdict, struct weft_error *error)
{
    struct weft_choice choice;
    int64_t bytes = INT64_C(1) << key->size_class;
    WEFT_TRY(weft_choice_make(key, quality->layout, &choice, error));
    int pick = pick_of(quality, &choice), best = pick;
    int64_t mine = time_of(quality, &choice, pick, bytes, INT64_MAX), least = mine;
    verdict->num_sizes++;
    if (mine == NOT_EVALUATED) {
        verdict->num_skipped++;
        return WEFT_OK;
    }
    for (int i = 0; i < choice.num_usable; i++) {
        const struct weft_candidate *candidate = &choice.candidates[i];
        if (i != pick && least_time(quality->layout, key, candidate->algorithm, bytes) >= least)
            continue;
        // Slower than the best is all there is to know of it, unless all are asked for.
        int64_t limit = quality->request->wants_all ? INT64_MAX : least;
        int64_t time = i == pick ? mine : time_of(quality, &choice, i, bytes, limit);
        if (time == NOT_EVALUATED)
            continue;
        int64_t off = (int64_t)((__int128)candidate->estimate_ps * PERMILLE / time);
        if (quality->request->wants_all)
            printf("    %-14s %2d %-12s %15.3f us %15.3f us %7.3f\n",
                   weft_collective_names[key->collective], key->size_class,
                   candidate->algorithm->name, (double)time / 1e6,
                   (double)candidate->estimate_ps / 1e6, (double)off / PERMILLE);
        if (distance(off) > distance(verdict->farthest_permille)) {
            verdict->farthest_permille = (int)(off > INT32_MAX ? INT32_MAX : off);
            verdict->farthest = candidate->algorithm->name;
            verdict->farthest_class = key->size_class;
        }
        best = time < least ? i : best;
        least = time < least ? time : least;
    }
    int ratio = (int)((__int128)mine * PERMILLE / least);
    if (ratio > verdict->worst_permille) {
        verdict->worst_permille = ratio;
        verdict->worst_class = key->size_class;
        verdict->pick = choice.candidates[pick].algorithm->name;
        verdict->best = choice.candidates[best].algorithm->name;
    }
    struct weft_bound bound;
    if (key->size_class < LARGE_CLASS)
        return WEFT_OK;
    WEFT_TRY(weft_bound_find(quality->layout, key, &bound, error));
    int share =
        bound.reason ? -1 : (int)((__int128)weft_bound_time(&bound, bytes) * PERMILLE / mine);
    if (share >= 0 && (verdict->share_permille < 0 || share < verdict->share_permille)) {
        verdict->share_permille = share;
        verdict->share_class = key->size_class;
        verdict->share_pick = choice.candidates[pick].algorithm->name;
    }
    return WEFT_OK;
}

static void show(struct quality *quality, const char *source, weft_collective collective,
                 const struct verdict *verdict)
{
    char size[32], at[32];
    bool is_bad = verdict->worst_permille > WORST_PERMILLE ||
                  (verdict->share_permille >= 0 && verdict->share_permille < SHARE_PERMILLE) ||
                  verdict->num_skipped > 0;
    quality->is_bad |= is_bad;
    if (quality->request->wants_json) {
        json_array_append_new(
            quality->rows,
            json_pack("{s:s, s:s, s:f, s:i, s:s, s:s, s:f, s:f, s:s, s:i, s:i, s:b}", "topology",
                      source, "collective", weft_collective_names[collective], "worst",
                      verdict->worst_permille / 1000.0, "size_class", verdict->worst_class, "pick",
                      verdict->pick, "best", verdict->best, "share_of_bound",
                      verdict->share_permille / 1000.0, "estimate_by_time",
                      verdict->farthest_permille / 1000.0, "farthest", verdict->farthest, "sizes",
                      verdict->num_sizes, "skipped", verdict->num_skipped, "passed", !is_bad));
        return;
    }
    weft_format_bytes(INT64_C(1) << verdict->worst_class, size, sizeof size);
    printf("%-17s %-14s %6.3f  %8s %-12s %-12s", source, weft_collective_names[collective],
           verdict->worst_permille / 1000.0, size, verdict->pick, verdict->best);
    if (verdict->share_permille >= 0)
        printf(" %6.3f %-12s", verdict->share_permille / 1000.0, verdict->share_pick);
    else
        printf(" %6s %-12s", "-", "");
    weft_format_bytes(INT64_C(1) << verdict->farthest_class, at, sizeof at);
    printf(" %6.2f %-9s %8s  %s\n", verdict->farthest_permille / 1000.0, verdict->farthest, at,
           verdict->num_skipped ? "not evaluated"
           : is_bad             ? "BAD"
                                : "ok");
    fflush(stdout);
}

static weft_status judge(struct quality *quality, const char *source, struct weft_error *error)
{
    struct weft_layout *layout = NULL;
    WEFT_TRY(load(source, &layout, error));
    quality->layout = layout;
    weft_status status = WEFT_OK;
    int stride = quality->request->is_quick ? 5 : layout->num_ranks > MANY_RANKS ? 6 : 2;
    for (size_t c = 0; c < sizeof collectives / sizeof *collectives && status == WEFT_OK; c++) {
        struct verdict verdict = {.worst_permille = -1,
                                  .share_permille = -1,
                                  .farthest_permille = PERMILLE,
                                  .pick = "",
                                  .best = "",
                                  .farthest = ""};
        struct weft_key key = {
            .collective = collectives[c], .num_ranks = layout->num_ranks, .element_bytes = 4};
        if (quality->request->collective >= 0 &&
            quality->request->collective != (int)key.collective)
            continue;
        for (int class = FIRST_CLASS; class <= LAST_CLASS && status == WEFT_OK; class += stride) {
            key.size_class = class;
            status = judge_size(quality, &key, &verdict, error);
        }
        if (status == WEFT_OK)
            show(quality, source, collectives[c], &verdict);
    }
    weft_layout_destroy(&layout);
    return status;
}

static weft_status judge_all(struct quality *quality, struct weft_error *error)
{
    if (quality->request->source)
        return judge(quality, quality->request->source, error);
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++)
        if (clusters[i].is_quick || !quality->request->is_quick)
            WEFT_TRY(judge(quality, clusters[i].source, error));
    return WEFT_OK;
}

weft_status weft_quality_parse_spoil(char *text, struct weft_quality_request *request,
                                     struct weft_error *error)
{
    char *equals = strchr(text, '='), *end = NULL;
    double factor = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || !end || *end || !(factor >= 0.001 && factor <= 1000))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "'%.64s' is not ALGORITHM=FACTOR with a factor from 0.001 to 1000", text);
    *equals = 0;
    if (!weft_algorithm_find(text))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no algorithm '%.32s'", text);
    request->spoilt = text;
    request->spoil_permille = (int)(factor * PERMILLE + 0.5);
    return WEFT_OK;
}

int weft_plan_quality(const char *command, const struct weft_quality_request *request)
{
    struct weft_error error = {0};
    struct quality quality = {request, NULL, json_array(), false};
    if (!request->wants_json)
        printf("The choice by estimates against the best by flow-level evaluation (bars: 1.050 "
               "times, and 0.900 of the bound from 256 MiB)\n"
               "%-17s %-14s %6s  %8s %-12s %-12s %6s %-12s %6s %-9s %8s\n",
               "cluster", "collective", "worst", "at", "chosen", "best", "bound", "chosen",
               "est/ev", "farthest", "at");
    if (judge_all(&quality, &error) != WEFT_OK) {
        json_decref(quality.rows);
        return weft_command_fail(command, &error);
    }
    if (request->wants_json) {
        json_t *json = json_pack("{s:s, s:i, s:b, s:O}", "format", "weft-plan-quality", "version",
                                 1, "passed", !quality.is_bad, "rows", quality.rows);
        char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
        printf("%s\n", text ? text : "");
        free(text);
        json_decref(json);
    } else {
        printf("%s\n", quality.is_bad ? "FAILED" : "passed");
    }
    json_decref(quality.rows);
    return weft_command_finish(command, quality.is_bad ? WEFT_EXIT_FAILED : WEFT_EXIT_OK);
}
