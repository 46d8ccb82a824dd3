/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft verify`: proves programs right or says where they are wrong, with everything there is: the
 * local check of each, the comparison of their lanes, the oracle over all of them. It can also hold
 * the check itself against the oracle, on programs it breaks (--mutate).
 */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/dtype.h"
#include "base/json.h"
#include "collectives/planner/choice.h"
#include "collectives/program/mutate.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "collectives/program/program_json.h"
#include "tools/command.h"

enum {
    RANKS_LIMIT = 16384,
    MUTATED_RANKS = 6,
    MUTATED_GROUP = 2,
    WRONG_SHOWN = 20,
    SIZE_CLASS = 10
};

struct arguments {
    char **files;
    int num_files;
    const char *algorithm, *collective;
    int64_t ranks, root, group, mutants, seed;
    bool json, print;
};

// The programs of one collective; programs[r] is rank r's or NULL.
struct set {
    char name[96];
    int num_ranks;
    int num_programs;
    struct weft_program **programs;
};

struct verdict {
    weft_status check, lanes, oracle;
    bool has_lanes, has_oracle;
    struct weft_error check_error, lanes_error, oracle_error;
};

static void take_number(struct argp_state *state, const char *option, char *text, int64_t low,
                        int64_t high, int64_t *value)
{
    struct weft_error error;
    if (weft_parse_integer(text, low, high, value, &error) != WEFT_OK)
        argp_error(state, "--%s: %s", option, error.text);
}

enum { OPTION_GROUP = 256 };

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'a':
        arguments->algorithm = argument;
        return 0;
    case 'c':
        arguments->collective = argument;
        return 0;
    case 'n':
        take_number(state, "ranks", argument, 1, RANKS_LIMIT, &arguments->ranks);
        return 0;
    case 'r':
        take_number(state, "root", argument, 0, RANKS_LIMIT - 1, &arguments->root);
        return 0;
    case OPTION_GROUP:
        take_number(state, "group", argument, 1, RANKS_LIMIT, &arguments->group);
        return 0;
    case 'm':
        take_number(state, "mutate", argument, 1, 1000000000, &arguments->mutants);
        return 0;
    case 's':
        take_number(state, "seed", argument, 0, INT64_MAX, &arguments->seed);
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case 'p':
        arguments->print = true;
        return 0;
    case ARGP_KEY_ARGS:
        arguments->files = state->argv + state->next;
        arguments->num_files = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if ((arguments->num_files > 0) + (arguments->algorithm != NULL) +
                (arguments->mutants > 0) !=
            1)
            argp_error(state, "give either FILEs, or --algorithm, or --mutate");
        if (arguments->algorithm && (!arguments->collective || arguments->ranks == 0))
            argp_error(state, "--algorithm needs --coll and --ranks");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"algorithm", 'a', "NAME", 0, "Verify what algorithm NAME writes", 0},
    {"coll", 'c', "NAME", 0, "for this collective: all_reduce, broadcast, ...", 0},
    {"collective", 'c', NULL, OPTION_ALIAS, NULL, 0},
    {"ranks", 'n', "N", 0, "for all of N ranks", 0},
    {"root", 'r', "RANK", 0, "with this root (send and recv: between rank 0 and this one)", 0},
    {"group", OPTION_GROUP, "N", 0, "with hosts of N consecutive ranks", 0},
    {"print", 'p', NULL, 0, "Print the programs as JSON instead; FILE takes them back", 0},
    {"mutate", 'm', "N", 0,
     "Break the programs of all algorithms in N ways and compare the check with the oracle", 0},
    {"seed", 's', "N", 0, "Seed of the changes of --mutate; 1 without it", 0},
    {"json", 'j', NULL, 0, "Print the verdict as JSON", 0},
    {0},
};
static const struct argp parser = {
    .options = options,
    .parser = parse_option,
    .args_doc = "FILE...\n--algorithm NAME --coll NAME --ranks N\n--mutate N",
    .doc = "Prove that the programs of all ranks of a collective compute the right result and "
           "cannot deadlock, or say where they are wrong."
           "\vA FILE (- for standard input) holds the program of one rank as a JSON object, or of "
           "several as an array. Every program is checked alone; of ranks that are there together "
           "the lanes are compared; when all ranks are there (up to 256) the oracle runs and "
           "examines all of them at once.\n\n"
           "Exit codes: 0 proved, 1 refused (with --mutate: check and oracle differ), 2 bad usage "
           "or input, 3 could not finish.",
};

static void destroy_set(struct set *set)
{
    for (int rank = 0; set->programs && rank < set->num_ranks; rank++)
        weft_program_destroy(&set->programs[rank]);
    free(set->programs);
    set->programs = NULL;
}

static weft_status start_set(struct set *set, int num_ranks, struct weft_error *error)
{
    set->num_ranks = num_ranks;
    set->programs = calloc((size_t)num_ranks, sizeof(struct weft_program *));
    return set->programs ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for programs");
}

// Takes the program over if it returns OK.
static weft_status add_program(struct set *set, struct weft_program *program, const char *where,
                               struct weft_error *error)
{
    const struct weft_shape *shape = &program->shape;
    if (!set->programs) {
        WEFT_TRY(start_set(set, shape->num_ranks, error));
        snprintf(set->name, sizeof set->name, "%s %s of %d ranks", program->algorithm,
                 weft_collective_names[shape->collective], shape->num_ranks);
    }
    if (shape->num_ranks != set->num_ranks)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: is for %d ranks, the ones before for %d",
                         where, shape->num_ranks, set->num_ranks);
    if (set->programs[shape->rank])
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: a second program of rank %d", where,
                         shape->rank);
    set->programs[shape->rank] = program;
    set->num_programs++;
    return WEFT_OK;
}

static weft_status read_one(struct set *set, const json_t *json, const char *where,
                            struct weft_error *error)
{
    struct weft_program *program;
    WEFT_TRY(weft_program_from_json(json, where, &program, error));
    weft_status status = add_program(set, program, where, error);
    if (status != WEFT_OK)
        weft_program_destroy(&program);
    return status;
}

static weft_status read_file(struct set *set, const char *path, struct weft_error *error)
{
    json_t *json;
    WEFT_TRY(weft_json_load(path, &json, error));
    weft_status status = WEFT_OK;
    if (json_is_array(json) && json_array_size(json) == 0)
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%s: no program in this file", path);
    if (!json_is_array(json))
        status = read_one(set, json, path, error);
    for (size_t i = 0; json_is_array(json) && i < json_array_size(json) && status == WEFT_OK; i++) {
        char where[300];
        snprintf(where, sizeof where, "%.250s[%zu]", path, i);
        status = read_one(set, json_array_get(json, i), where, error);
    }
    json_decref(json);
    return status;
}

static weft_status read_files(const struct arguments *arguments, struct set *set,
                              struct weft_error *error)
{
    for (int i = 0; i < arguments->num_files; i++)
        WEFT_TRY(read_file(set, arguments->files[i], error));
    return WEFT_OK;
}

static bool is_pair(weft_collective collective)
{
    return collective == WEFT_SEND || collective == WEFT_RECV;
}

// `key` is that of the collective; of send and recv only the two ends have a program.
static weft_status emit_set(const struct weft_algorithm *algorithm, const struct weft_key *key,
                            int group, unsigned aliasing, struct set *set, struct weft_error *error)
{
    struct weft_layout *layout = NULL;
    weft_status status = WEFT_OK;
    WEFT_TRY(start_set(set, key->num_ranks, error));
    WEFT_TRY(weft_layout_assumed(key->num_ranks, group, 1, &layout, error));
    snprintf(set->name, sizeof set->name, "%s %s of %d ranks", algorithm->name,
             weft_collective_names[key->collective], key->num_ranks);
    for (int rank = 0; rank < key->num_ranks && status == WEFT_OK; rank++) {
        struct weft_key own = *key;
        if (is_pair(key->collective) && rank != 0 && rank != key->root)
            continue;
        if (is_pair(key->collective)) {
            own.collective = rank == 0 ? WEFT_SEND : WEFT_RECV;
            own.root = rank == 0 ? key->root : 0;
        }
        status = algorithm->emit(&own, layout, rank, aliasing, &set->programs[rank], error);
        set->num_programs += status == WEFT_OK;
    }
    weft_layout_destroy(&layout);
    return status;
}

// Exchanges in and out of place are different programs; the rest serves both.
static unsigned default_aliasing(weft_collective collective)
{
    return collective == WEFT_ALL_TO_ALL || collective == WEFT_ALL_TO_ALL_V
               ? WEFT_OUT_OF_PLACE
               : WEFT_OUT_OF_PLACE | WEFT_IN_PLACE;
}

static weft_status emit(const struct arguments *arguments, struct set *set,
                        struct weft_error *error)
{
    struct weft_key key = {.num_ranks = (int)arguments->ranks,
                           .root = (int)arguments->root,
                           .element_bytes = 4,
                           .size_class = SIZE_CLASS};
    WEFT_TRY(weft_collective_from_name(arguments->collective, &key.collective, error));
    const struct weft_algorithm *algorithm = weft_algorithm_find(arguments->algorithm);
    if (!algorithm)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "no algorithm is called '%s'",
                         arguments->algorithm);
    if (key.root >= key.num_ranks || (is_pair(key.collective) && key.root == 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--root %d does not fit %d ranks of %s",
                         key.root, key.num_ranks, arguments->collective);
    struct weft_layout *layout = NULL;
    WEFT_TRY(weft_layout_assumed(key.num_ranks, (int)arguments->group, 1, &layout, error));
    const char *why = weft_algorithm_refusal(algorithm, &key, layout);
    weft_layout_destroy(&layout);
    if (why)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s cannot do this %s: %s", algorithm->name,
                         arguments->collective, why);
    return emit_set(algorithm, &key, (int)arguments->group, default_aliasing(key.collective), set,
                    error);
}

static bool is_refusal(weft_status status)
{
    return status == WEFT_UNPROVED || status == WEFT_INVALID_FORMAT;
}

// Errors are those of the machine; what the programs are wrong in stands in the verdict.
static weft_status judge(const struct set *set, struct verdict *verdict, struct weft_error *error)
{
    struct weft_plan **plans = calloc((size_t)set->num_programs, sizeof(struct weft_plan *));
    int num_plans = 0;
    if (!plans)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for plans");
    for (int rank = 0; rank < set->num_ranks && verdict->check == WEFT_OK; rank++) {
        if (!set->programs[rank])
            continue;
        struct weft_program *copy = weft_program_copy(set->programs[rank]);
        verdict->check = copy ? weft_plan_create(&copy, &plans[num_plans], &verdict->check_error)
                              : weft_fail(&verdict->check_error, WEFT_OUT_OF_MEMORY, "no memory");
        weft_program_destroy(&copy);
        num_plans += verdict->check == WEFT_OK;
    }
    verdict->has_lanes = verdict->check == WEFT_OK && num_plans > 1;
    if (verdict->has_lanes)
        verdict->lanes = weft_plans_agree(plans, num_plans, &verdict->lanes_error);
    for (int i = 0; i < num_plans; i++)
        weft_plan_destroy(&plans[i]);
    free(plans);
    verdict->has_oracle =
        set->num_programs == set->num_ranks && set->num_ranks <= WEFT_ORACLE_RANKS_LIMIT;
    if (verdict->has_oracle)
        verdict->oracle = weft_oracle_verify((const struct weft_program *const *)set->programs,
                                             set->num_ranks, &verdict->oracle_error);
    const struct weft_error *const errors[] = {&verdict->check_error, &verdict->lanes_error,
                                               &verdict->oracle_error};
    const weft_status statuses[] = {verdict->check, verdict->lanes, verdict->oracle};
    for (int i = 0; i < 3; i++)
        if (statuses[i] != WEFT_OK && !is_refusal(statuses[i]))
            return weft_fail(error, statuses[i], "%s", errors[i]->text);
    return WEFT_OK;
}

static bool is_proved(const struct verdict *verdict)
{
    return verdict->check == WEFT_OK && verdict->lanes == WEFT_OK && verdict->oracle == WEFT_OK;
}

static void print_part(const char *name, bool was_done, weft_status status,
                       const struct weft_error *error, const char *why_not)
{
    if (!was_done)
        printf("%-12s not asked: %s\n", name, why_not);
    else if (status == WEFT_OK)
        printf("%-12s accepted\n", name);
    else
        printf("%-12s refused: %s\n", name, error->text);
}

static void print_verdict(const struct set *set, const struct verdict *verdict)
{
    printf("%s, %d program%s\n", set->name, set->num_programs, set->num_programs == 1 ? "" : "s");
    print_part("local check", true, verdict->check, &verdict->check_error, "");
    print_part("lanes", verdict->has_lanes, verdict->lanes, &verdict->lanes_error,
               verdict->check == WEFT_OK ? "one program alone" : "the local check refused");
    print_part("oracle", verdict->has_oracle, verdict->oracle, &verdict->oracle_error,
               set->num_programs < set->num_ranks ? "programs of some ranks are missing"
                                                  : "too many ranks");
    if (!is_proved(verdict))
        printf("refused\n");
    else if (set->num_programs < set->num_ranks)
        printf("proved, as far as programs are here: %d of %d ranks\n", set->num_programs,
               set->num_ranks);
    else
        printf("proved\n");
}

static json_t *json_part(bool was_done, weft_status status, const struct weft_error *error)
{
    if (!was_done)
        return json_null();
    if (status == WEFT_OK)
        return json_pack("{s:s}", "verdict", "accepted");
    return json_pack("{s:s, s:s}", "verdict", "refused", "reason", error->text);
}

static weft_status print_json(json_t *json, size_t flags, struct weft_error *error)
{
    char *text = json ? json_dumps(json, flags) : NULL;
    json_decref(json);
    if (!text)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    puts(text);
    free(text);
    return WEFT_OK;
}

static weft_status verify(const struct arguments *arguments, struct set *set, int *code,
                          struct weft_error *error)
{
    struct verdict verdict = {0};
    WEFT_TRY(judge(set, &verdict, error));
    *code = is_proved(&verdict) ? WEFT_EXIT_OK : WEFT_EXIT_FAILED;
    if (!arguments->json) {
        print_verdict(set, &verdict);
        return WEFT_OK;
    }
    return print_json(
        json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:s}", "name", set->name, "num_ranks",
                  set->num_ranks, "num_programs", set->num_programs, "local_check",
                  json_part(true, verdict.check, &verdict.check_error), "lanes",
                  json_part(verdict.has_lanes, verdict.lanes, &verdict.lanes_error), "oracle",
                  json_part(verdict.has_oracle, verdict.oracle, &verdict.oracle_error), "verdict",
                  is_proved(&verdict) ? "proved" : "refused"),
        JSON_INDENT(2), error);
}

static weft_status print_programs(const struct set *set, struct weft_error *error)
{
    json_t *array = json_array();
    weft_status status = WEFT_OK;
    for (int rank = 0; rank < set->num_ranks && status == WEFT_OK; rank++) {
        json_t *json;
        if (!set->programs[rank])
            continue;
        status = weft_program_to_json(set->programs[rank], &json, error);
        if (status == WEFT_OK && json_array_append_new(array, json) != 0)
            status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    }
    if (status == WEFT_OK)
        return print_json(array, JSON_COMPACT, error);
    json_decref(array);
    return status;
}

struct corpus {
    struct set *sets;
    int count, room;
};

static weft_status add_sets(struct corpus *corpus, const struct weft_algorithm *algorithm,
                            const struct weft_key *key, struct weft_error *error)
{
    bool is_exchange = default_aliasing(key->collective) == WEFT_OUT_OF_PLACE;
    for (unsigned aliasing = 1; aliasing <= (is_exchange ? 2 : 3); aliasing++) {
        if (corpus->count == corpus->room) {
            int room = corpus->room * 2 + 64;
            struct set *larger = realloc(corpus->sets, (size_t)room * sizeof *larger);
            if (!larger)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for programs");
            corpus->sets = larger;
            corpus->room = room;
        }
        struct set *set = &corpus->sets[corpus->count++];
        *set = (struct set){0};
        WEFT_TRY(emit_set(algorithm, key, MUTATED_GROUP, aliasing, set, error));
    }
    return WEFT_OK;
}

static bool is_possible(const struct weft_algorithm *algorithm, const struct weft_key *key)
{
    struct weft_layout *layout = NULL;
    if (weft_layout_assumed(key->num_ranks, MUTATED_GROUP, 1, &layout, NULL) != WEFT_OK)
        return false;
    bool is_one = !weft_algorithm_refusal(algorithm, key, layout);
    weft_layout_destroy(&layout);
    return is_one;
}

static weft_status build_corpus(struct corpus *corpus, struct weft_error *error)
{
    for (int a = 0; weft_algorithms[a]; a++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            for (int n = 2; n <= MUTATED_RANKS; n++) {
                weft_collective collective = (weft_collective)c;
                struct weft_key key = {.collective = collective,
                                       .num_ranks = n,
                                       .root = weft_collective_is_rooted(collective),
                                       .element_bytes = 4,
                                       .size_class = SIZE_CLASS};
                if ((is_pair(collective) && (n > 2 || collective == WEFT_RECV)) ||
                    !is_possible(weft_algorithms[a], &key))
                    continue;
                WEFT_TRY(add_sets(corpus, weft_algorithms[a], &key, error));
            }
    return WEFT_OK;
}

struct counts {
    long of[WEFT_NUM_MUTATIONS][WEFT_NUM_VERDICTS];
    long malformed, wrong, by_message, renewed, renewed_accepted;
};

static void count(struct counts *counts, const struct set *set,
                  const struct weft_mutation_report *report)
{
    bool is_wrong =
        report->verdict >= WEFT_WRONGLY_ACCEPTED || report->is_renewed_wrong || report->is_unnamed;
    if (is_wrong && counts->wrong++ < WRONG_SHOWN)
        fprintf(stderr, "%s, %s: oracle: %s; check: %s\n", set->name, report->change,
                report->oracle.text[0] ? report->oracle.text : "accepted",
                report->check.text[0] ? report->check.text : "accepted");
    counts->malformed += report->is_malformed;
    if (report->is_malformed)
        return;
    counts->of[report->mutation][report->verdict]++;
    counts->by_message += report->is_order_by_message;
    counts->renewed += report->is_renewed;
    counts->renewed_accepted += report->is_renewed_accepted;
}

static void print_counts(const struct counts *counts, const struct arguments *arguments,
                         int num_sets)
{
    static const char *const heads[WEFT_NUM_VERDICTS] = {"refused", "accepted", "restamped",
                                                         "unsound", "inexact"};
    long sums[WEFT_NUM_VERDICTS] = {0};
    printf("%-24s", "one-step mutation");
    for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
        printf(" %10s", heads[v]);
    for (int m = 0; m < WEFT_NUM_MUTATIONS; m++) {
        printf("\n%-24s", weft_mutation_names[m]);
        for (int v = 0; v < WEFT_NUM_VERDICTS; v++) {
            printf(" %10ld", counts->of[m][v]);
            sums[v] += counts->of[m][v];
        }
    }
    printf("\n%-24s", "all");
    for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
        printf(" %10ld", sums[v]);
    printf("\n\n%ld mutants of %d sets of programs, seed %ld; besides, %ld that were no programs "
           "any more.\n"
           "refused, accepted: by both. restamped: accepted by both once stamps and promises were\n"
           "renewed. unsound, inexact: accepted, refused by the check alone.\n"
           "Judged again with nothing stale: %ld, of which both accept %ld.\n"
           "Races but for an order that only other ranks' messages make: %ld.\n"
           "Disagreements, or refusals without rank or step: %ld\n",
           (long)arguments->mutants, num_sets, (long)arguments->seed, counts->malformed,
           counts->renewed, counts->renewed_accepted, counts->by_message, counts->wrong);
}

static json_t *counts_json(const struct counts *counts, const struct arguments *arguments)
{
    json_t *mutations = json_object();
    for (int m = 0; m < WEFT_NUM_MUTATIONS; m++) {
        json_t *row = json_object();
        for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
            json_object_set_new(row, weft_verdict_names[v], json_integer(counts->of[m][v]));
        json_object_set_new(mutations, weft_mutation_names[m], row);
    }
    return json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "mutants",
                     (json_int_t)arguments->mutants, "seed", (json_int_t)arguments->seed,
                     "mutations", mutations, "malformed", (json_int_t)counts->malformed, "renewed",
                     (json_int_t)counts->renewed, "renewed_accepted",
                     (json_int_t)counts->renewed_accepted, "ordered_by_messages_only",
                     (json_int_t)counts->by_message, "disagreements", (json_int_t)counts->wrong);
}

static weft_status mutate(const struct arguments *arguments, int *code, struct weft_error *error)
{
    struct corpus corpus = {0};
    struct counts counts = {0};
    struct weft_random random = {(uint64_t)arguments->seed};
    weft_status status = build_corpus(&corpus, error);
    for (int64_t i = 0; i < arguments->mutants && status == WEFT_OK;) {
        const struct set *set = &corpus.sets[weft_random_below(&random, (uint32_t)corpus.count)];
        struct weft_mutation_report report;
        status = weft_mutation_try(set->programs, set->num_ranks, 1, &random, &report, NULL, error);
        if (status == WEFT_OK) {
            count(&counts, set, &report);
            i += !report.is_malformed;
        }
    }
    if (status == WEFT_OK) {
        *code = counts.wrong ? WEFT_EXIT_FAILED : WEFT_EXIT_OK;
        if (arguments->json)
            status = print_json(counts_json(&counts, arguments), JSON_INDENT(2), error);
        else
            print_counts(&counts, arguments, corpus.count);
    }
    for (int s = 0; s < corpus.count; s++)
        destroy_set(&corpus.sets[s]);
    free(corpus.sets);
    return status;
}

int weft_command_verify(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1};
    struct set set = {0};
    struct weft_error error;
    int code = WEFT_EXIT_OK;
    weft_status status;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (arguments.mutants > 0) {
        status = mutate(&arguments, &code, &error);
    } else {
        status = arguments.algorithm ? emit(&arguments, &set, &error)
                                     : read_files(&arguments, &set, &error);
        if (status == WEFT_OK)
            status = arguments.print ? print_programs(&set, &error)
                                     : verify(&arguments, &set, &code, &error);
        destroy_set(&set);
    }
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], code);
}
