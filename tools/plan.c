/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan`: what the planner would do, and why. Nothing is run and nobody is met; the topology
 * may be one that does not exist.
 */
#include "tools/plan.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "collectives/planner/explain.h"
#include "collectives/planner/nccl_topology.h"
#include "collectives/program/program_json.h"
#include "tools/command.h"
#include "tools/plan_ranks.h"
#include "topology/load.h"

enum {
    OPTION_TABLE = 256,
    OPTION_EXPLAIN,
    OPTION_JSON,
    OPTION_DUMP,
    OPTION_SCALE,
    OPTION_ORDER,
    OPTION_NCCL,
    OPTION_FIT,
    OPTION_WHAT_IF,
    OPTION_UPGRADES,
    OPTION_SVG,
    OPTION_BOUND,
    OPTION_LINKS,
    OPTION_UNIT
};
enum { RANKS_SHOWN = 16, RANKS_EMITTED = 1024 };

struct arguments {
    struct weft_key key;
    struct weft_error error;
    int64_t bytes;
    int64_t ranks, root, rank;
    struct weft_plan_ranks places;
    const char *topology;
    const char *algorithm;
    const char *dump;
    const char *changes;
    const char *svg;
    uint32_t link_kinds;
    const char *fit;
    bool has_collective, has_root, has_rank, has_ranks;
    bool wants_table, wants_reasons, wants_json, wants_upgrades, wants_bound, is_unit, wants_scale,
        wants_nccl;
};

static weft_status parse_order(const char *text, weft_order *order, struct weft_error *error)
{
    if (strcmp(text, "free") != 0 && strcmp(text, "reproducible") != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "order '%s' is neither free nor reproducible", text);
    *order = text[0] == 'f' ? WEFT_ORDER_FREE : WEFT_ORDER_REPRODUCIBLE;
    return WEFT_OK;
}

static weft_status parse_dtype(const char *text, int *bytes, struct weft_error *error)
{
    weft_dtype dtype;
    WEFT_TRY(weft_dtype_from_name(text, &dtype, error));
    *bytes = (int)weft_dtype_bytes(dtype);
    return WEFT_OK;
}

// "nvlink,xgmi"
static weft_status parse_links(const char *text, uint32_t *kinds, struct weft_error *error)
{
    while (*text) {
        char name[32];
        size_t length = strcspn(text, ",");
        snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : 0, text);
        int kind = weft_link_kind_from_name(name);
        if (kind < 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "no kind of link is called '%.*s'",
                             (int)(length < 32 ? length : 32), text);
        *kinds |= UINT32_C(1) << kind;
        text += length + (text[length] == ',');
    }
    return WEFT_OK;
}

static weft_status parse_value(int option, const char *text, struct arguments *arguments)
{
    struct weft_error *error = &arguments->error;
    switch (option) {
    case 'c':
        return weft_collective_from_name(text, &arguments->key.collective, error);
    case 's':
        return weft_parse_bytes(text, &arguments->bytes, error);
    case 'n':
        arguments->has_ranks = true;
        weft_plan_ranks_free(&arguments->places);
        WEFT_TRY(weft_plan_ranks_parse(text, &arguments->places, error));
        arguments->ranks = arguments->places.num_ranks;
        return WEFT_OK;
    case 'R':
        arguments->has_root = true;
        return weft_parse_integer(text, 0, (1 << 20) - 1, &arguments->root, error);
    case 'r':
        arguments->has_rank = true;
        return weft_parse_integer(text, 0, (1 << 20) - 1, &arguments->rank, error);
    case 'd':
        return parse_dtype(text, &arguments->key.element_bytes, error);
    case OPTION_LINKS:
        return parse_links(text, &arguments->link_kinds, error);
    case OPTION_ORDER:
        return parse_order(text, &arguments->key.order, error);
    }
    return WEFT_OK;
}

static error_t parse_option(int option, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (option) {
    case 't':
        arguments->topology = text;
        return 0;
    case 'a':
        arguments->algorithm = text;
        return 0;
    case OPTION_DUMP:
        arguments->dump = text;
        return 0;
    case OPTION_WHAT_IF:
        arguments->changes = text;
        return 0;
    case OPTION_SVG:
        arguments->svg = text;
        return 0;
    case OPTION_BOUND:
        arguments->wants_bound = true;
        return 0;
    case OPTION_UNIT:
        arguments->is_unit = true;
        return 0;
    case OPTION_UPGRADES:
        arguments->wants_upgrades = true;
        return 0;
    case OPTION_TABLE:
        arguments->wants_table = true;
        return 0;
    case OPTION_EXPLAIN:
        arguments->wants_reasons = true;
        return 0;
    case OPTION_JSON:
        arguments->wants_json = true;
        return 0;
    case OPTION_SCALE:
        arguments->wants_scale = true;
        return 0;
    case OPTION_FIT:
        arguments->fit = text;
        return 0;
    case OPTION_NCCL:
        arguments->wants_nccl = true;
        return 0;
    case ARGP_KEY_ARG:
        option = 'c';
        break;
    }
    if (option == 'c') {
        if (arguments->has_collective)
            argp_error(state, "more than one COLLECTIVE");
        arguments->has_collective = true;
    }
    if (!text)
        return ARGP_ERR_UNKNOWN;
    if (parse_value(option, text, arguments) != WEFT_OK)
        argp_error(state, "%s", arguments->error.text);
    return 0;
}

static const struct argp_option options[] = {
    {"coll", 'c', "NAME", 0, "The same as COLLECTIVE", 0},
    {"size", 's', "BYTES", 0, "Bytes of the whole vector, with K, M or G (1M)", 0},
    {"bytes", 0, NULL, OPTION_ALIAS, NULL, 0},
    {"ranks", 'n', "N|LIST", 0,
     "Number of ranks (4; with --scale-check 16384, or all places of --topology), or the place of "
     "each: 0-7,16,9",
     0},
    {"root", 'R', "RANK", 0, "Root of broadcast and reduce; peer of send and recv", 0},
    {"order", OPTION_ORDER, "ORDER", 0, "free or reproducible (free)", 0},
    {"dtype", 'd', "TYPE", 0, "Element type (f32)", 0},
    {"topology", 't', "SOURCE", 0, "As in `weft topo`: a file or a synthetic string", 0},
    {"topo", 0, NULL, OPTION_ALIAS, NULL, 0},
    {"algorithm", 'a', "NAME", 0, "Force an algorithm", 0},
    {"explain", OPTION_EXPLAIN, NULL, 0, "Show all candidates and the prices behind them", 1},
    {"table", OPTION_TABLE, NULL, 0, "Show the winner for every size from 8 B to 1 GiB", 1},
    {"json", OPTION_JSON, NULL, 0, "Print JSON", 1},
    {"dump", OPTION_DUMP, "FILE", 0, "Write the program of --rank as JSON (-: standard output)", 1},
    {"svg", OPTION_SVG, "FILE", 0, "Draw the plan on the graph (-: standard output)", 1},
    {"bound", OPTION_BOUND, NULL, 0,
     "Print the exact optimum of the topology alone, and the cut that is in the way", 1},
    {"links", OPTION_LINKS, "KINDS", 0, "With --bound: only links of these kinds (nvlink,xgmi)", 1},
    {"unit", OPTION_UNIT, NULL, 0, "With --bound: every lane of a link counts 1", 1},
    {"what-if", OPTION_WHAT_IF, "CHANGES", 0,
     "Show what changes of the topology would do: \"remove nic:host3/nic2\", \"remove link A B\", "
     "\"set A B GBPS\", \"add A B GBPS\", several with ';'",
     1},
    {"upgrades", OPTION_UPGRADES, NULL, 0, "Show which links would raise the bound most", 1},
    {"rank", 'r', "RANK", 0, "Show the program of this rank only (dump: 0)", 1},
    {"scale-check", OPTION_SCALE, NULL, 0,
     "Write and prove one rank's program of every algorithm; show time and memory", 1},
    {"fit", OPTION_FIT, "FILE", 0, "Fit prices to a measured sweep; foretell what was left out", 1},
    {"nccl-table", OPTION_NCCL, NULL, 0, "Hold the emulation of NCCL's choices against a table", 1},
    {0},
};
static const struct argp parser = {
    .options = options,
    .parser = parse_option,
    .doc =
        "Show the plan chosen for a collective, and why. Nothing is run.\v"
        "Without --topology the variable WEFT_TOPOLOGY decides, without that this machine. "
        "WEFT_ALGORITHM forces algorithms as it does in programs; --algorithm goes before it.\n\n"
        "Exit codes: 0 fine; 1 a program failed its check, or --scale-check (100 ms, 64 MiB), "
        "--nccl-table or --fit (6 %) its bars; 2 bad usage or input; 3 could not finish.",
};

static weft_status write_text(const char *path, char *text, struct weft_error *error)
{
    if (!text)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    errno = 0;
    bool is_stdout = strcmp(path, "-") == 0;
    FILE *stream = is_stdout ? stdout : fopen(path, "we");
    bool is_written = stream && fprintf(stream, "%s\n", text) >= 0;
    if (stream && !is_stdout && fclose(stream) != 0)
        is_written = false;
    free(text);
    if (is_written)
        return WEFT_OK;
    return weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%s: cannot write: %s",
                     path, strerror(errno));
}

static weft_status print_json(json_t *json, struct weft_error *error)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    return write_text("-", text, error);
}

// WEFT_ALGORITHM, where the command line forces nothing.
static weft_status find_forced(struct arguments *arguments, struct weft_error *error)
{
    struct weft_forced forced;
    const char *text = weft_config_environment("WEFT_ALGORITHM");
    if (arguments->algorithm || !text)
        return WEFT_OK;
    WEFT_TRY(weft_forced_parse(text, &forced, error));
    if (forced.algorithms[arguments->key.collective])
        arguments->algorithm = forced.algorithms[arguments->key.collective]->name;
    return WEFT_OK;
}

static weft_status make_plan(const struct arguments *arguments,
                             const struct weft_explanation *explanation, int rank,
                             struct weft_plan **plan, struct weft_error *error)
{
    bool is_exchange = arguments->key.collective == WEFT_ALL_TO_ALL ||
                       arguments->key.collective == WEFT_ALL_TO_ALL_V;
    const struct weft_plan_request request = {
        .key = arguments->key,
        .rank = rank,
        .aliasing = is_exchange ? WEFT_OUT_OF_PLACE : WEFT_OUT_OF_PLACE | WEFT_IN_PLACE,
        .layout = explanation->choice.layout,
        .algorithm = explanation->chosen->name,
    };
    return weft_plan_make(&request, plan, NULL, error);
}

// Of all ranks if there are few; of send and recv, the one that is not the peer.
static weft_status make_facts(const struct arguments *arguments,
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

static weft_status dump(const struct arguments *arguments,
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
    return write_text(arguments->dump, text, error);
}

// Of each candidate's program for rank 0; where there are very many ranks, nobody waits for that.
static void find_channels(const struct arguments *arguments, struct weft_explanation *explanation)
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

static weft_status explain(struct arguments *arguments, const struct weft_layout *layout,
                           struct weft_explanation *explanation, struct weft_error *error)
{
    struct weft_program_facts facts[RANKS_SHOWN];
    WEFT_TRY(weft_choice_make(&arguments->key, layout, &explanation->choice, error));
    explanation->chosen = explanation->choice.candidates[0].algorithm;
    if (arguments->algorithm) {
        WEFT_TRY(weft_algorithm_require(arguments->algorithm, &arguments->key, layout,
                                        &explanation->chosen, error));
        explanation->is_forced = true;
    }
    if (arguments->dump)
        return dump(arguments, explanation, error);
    WEFT_TRY(weft_bound_find(layout, &arguments->key, &explanation->bound, error));
    if (arguments->wants_reasons || arguments->wants_json)
        find_channels(arguments, explanation);
    WEFT_TRY(make_facts(arguments, explanation, facts, error));
    if (arguments->wants_json)
        return print_json(weft_explain_json(explanation), error);
    weft_explain_text(explanation, arguments->wants_reasons, stdout);
    return WEFT_OK;
}

// What NCCL would do; where it could not run at all, the reason.
static void ask_nccl(const struct arguments *arguments, const struct weft_topology *topology,
                     struct weft_explanation *explanation)
{
    struct weft_nccl_prediction prediction;
    struct weft_error why;
    explanation->nccl_us = -1;
    if (weft_nccl_explain(topology, arguments->key.collective, (int)arguments->ranks,
                          (uint64_t)arguments->bytes, &prediction, explanation->nccl,
                          sizeof explanation->nccl, &why) == WEFT_OK)
        explanation->nccl_us = prediction.time_us;
    else
        snprintf(explanation->nccl, sizeof explanation->nccl, "%.300s", why.text);
}

static weft_status table(const struct arguments *arguments, const struct weft_layout *layout,
                         struct weft_error *error)
{
    json_t *json = NULL;
    if (!arguments->wants_json)
        return weft_explain_table(&arguments->key, layout, stdout, error);
    WEFT_TRY(weft_explain_table_json(&arguments->key, layout, &json, error));
    return print_json(json, error);
}

static weft_status draw(const struct arguments *arguments, const struct weft_topology *topology,
                        const struct weft_layout *layout, struct weft_error *error)
{
    struct weft_choice choice;
    const struct weft_algorithm *algorithm;
    WEFT_TRY(weft_choice_make(&arguments->key, layout, &choice, error));
    algorithm = choice.candidates[0].algorithm;
    if (arguments->algorithm)
        WEFT_TRY(weft_algorithm_require(arguments->algorithm, &arguments->key, layout, &algorithm,
                                        error));
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a drawing");
    weft_status status =
        weft_plan_draw(topology, &choice, algorithm, arguments->bytes, stream, error);
    if (fclose(stream) != 0 || status != WEFT_OK) {
        free(text);
        return status == WEFT_OK ? weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory") : status;
    }
    return write_text(arguments->svg, text, error);
}

static weft_status show_change(const struct arguments *arguments,
                               const struct weft_topology *topology,
                               const struct weft_layout *layout, struct weft_error *error)
{
    json_t *json = NULL, **into = arguments->wants_json ? &json : NULL;
    if (arguments->svg)
        return draw(arguments, topology, layout, error);
    if (arguments->changes)
        WEFT_TRY(weft_plan_what_if(topology, &arguments->key, arguments->changes, into, error));
    else
        WEFT_TRY(weft_plan_upgrades(topology, layout, &arguments->key, into, error));
    return json ? print_json(json, error) : WEFT_OK;
}

static weft_status bound(const struct arguments *arguments, const struct weft_topology *topology,
                         struct weft_error *error)
{
    const struct weft_bound_request request = {.collective = arguments->key.collective,
                                               .root = arguments->key.root,
                                               .num_ranks =
                                                   arguments->has_ranks ? (int)arguments->ranks : 0,
                                               .link_kinds = arguments->link_kinds,
                                               .is_unit = arguments->is_unit};
    return weft_plan_bound(topology, &request, arguments->wants_json, error);
}

static weft_status run(struct arguments *arguments, struct weft_error *error)
{
    struct weft_explanation explanation = {.bytes = arguments->bytes};
    struct weft_topology *topology = NULL;
    struct weft_layout *layout = NULL;
    if (arguments->rank >= arguments->ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %lld of %lld ranks",
                         (long long)arguments->rank, (long long)arguments->ranks);
    WEFT_TRY(weft_key_check(&arguments->key, error));
    WEFT_TRY(find_forced(arguments, error));
    const char *source =
        arguments->topology ? arguments->topology : weft_config_environment("WEFT_TOPOLOGY");
    if (source && source[0])
        WEFT_TRY(weft_topology_load(source, &topology, error));
    else // as a communicator on this machine does
        WEFT_TRY(weft_topology_load_processors(&topology, error));
    if (arguments->wants_bound) {
        weft_status bounded = bound(arguments, topology, error);
        weft_topology_destroy(&topology);
        return bounded;
    }
    weft_status status =
        weft_plan_ranks_layout(&arguments->places, topology, &layout, &explanation.origin, error);
    if (status == WEFT_OK && (arguments->changes || arguments->wants_upgrades || arguments->svg)) {
        status = show_change(arguments, topology, layout, error);
        weft_topology_destroy(&topology);
        weft_layout_destroy(&layout);
        return status;
    }
    if (status == WEFT_OK && (arguments->wants_reasons || arguments->wants_json))
        ask_nccl(arguments, topology, &explanation);
    weft_topology_destroy(&topology);
    WEFT_TRY(status);
    status = arguments->wants_table ? table(arguments, layout, error)
                                    : explain(arguments, layout, &explanation, error);
    weft_layout_destroy(&layout);
    return status;
}

int weft_command_plan(int argc, char **argv)
{
    struct arguments arguments = {.key = {.collective = WEFT_ALL_REDUCE, .element_bytes = 4},
                                  .bytes = 1 << 20,
                                  .ranks = 4,
                                  .places = {.num_ranks = 4}};
    struct weft_error error = {0};
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    bool is_pair = arguments.key.collective == WEFT_SEND || arguments.key.collective == WEFT_RECV;
    if (is_pair && !arguments.has_root)
        arguments.root = 1;
    if (arguments.key.collective == WEFT_BARRIER)
        arguments.bytes = 0;
    arguments.key.num_ranks = (int)arguments.ranks;
    arguments.key.root =
        weft_collective_is_rooted(arguments.key.collective) ? (int)arguments.root : 0;
    arguments.key.size_class = weft_size_class((uint64_t)arguments.bytes);
    if (arguments.fit)
        return weft_plan_fit(argv[0], arguments.fit, arguments.wants_json);
    if (arguments.wants_nccl)
        return weft_plan_nccl_table(argv[0], arguments.wants_json);
    if (arguments.wants_scale)
        return weft_plan_scale_check(argv[0], arguments.has_ranks ? &arguments.places : NULL,
                                     arguments.has_rank ? (int)arguments.rank : -1,
                                     arguments.topology, arguments.wants_json);
    weft_status status = run(&arguments, &error);
    weft_plan_ranks_free(&arguments.places);
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], WEFT_EXIT_OK);
}
