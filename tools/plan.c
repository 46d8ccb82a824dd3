/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan`: what the planner would do, and why. Nothing is run and nobody is met; the topology
 * may be one that does not exist. Here are the options, and which of them go where.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "tools/command.h"
#include "tools/plan.h"
#include "tools/plan_arguments.h"

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
    OPTION_UNIT,
    OPTION_QUALITY,
    OPTION_QUICK,
    OPTION_SPOIL,
    OPTION_EVALUATE,
    OPTION_LEAVES
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

static weft_status parse_value(int option, const char *text, struct weft_plan_arguments *arguments)
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
        return weft_plan_ranks_parse(text, &arguments->places, error);
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
    case OPTION_LEAVES:
        return weft_parse_integer(text, 1, WEFT_LEAVES_LIMIT, &arguments->leaves, error);
    case OPTION_ORDER:
        return parse_order(text, &arguments->key.order, error);
    }
    return WEFT_OK;
}

// Options that only set a field.
static bool parse_field(int option, const char *text, struct weft_plan_arguments *arguments)
{
    const struct {
        int option;
        const char **text; // one of both
        bool *flag;
    } fields[] = {
        {'t', &arguments->topology, NULL},
        {'a', &arguments->algorithm, NULL},
        {OPTION_DUMP, &arguments->dump, NULL},
        {OPTION_WHAT_IF, &arguments->changes, NULL},
        {OPTION_SVG, &arguments->svg, NULL},
        {OPTION_FIT, &arguments->fit, NULL},
        {OPTION_BOUND, NULL, &arguments->wants_bound},
        {OPTION_UNIT, NULL, &arguments->is_unit},
        {OPTION_UPGRADES, NULL, &arguments->wants_upgrades},
        {OPTION_TABLE, NULL, &arguments->wants_table},
        {OPTION_EXPLAIN, NULL, &arguments->wants_reasons},
        {OPTION_JSON, NULL, &arguments->wants_json},
        {OPTION_SCALE, NULL, &arguments->wants_scale},
        {OPTION_NCCL, NULL, &arguments->wants_nccl},
        {OPTION_QUALITY, NULL, &arguments->wants_quality},
        {OPTION_QUICK, NULL, &arguments->is_quick},
        {OPTION_EVALUATE, NULL, &arguments->wants_evaluation},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].option == option) {
            if (fields[i].text)
                *fields[i].text = text;
            else
                *fields[i].flag = true;
            return true;
        }
    return false;
}

static error_t parse_option(int option, char *text, struct argp_state *state)
{
    struct weft_plan_arguments *arguments = state->input;
    if (parse_field(option, text, arguments))
        return 0;
    if (option == OPTION_SPOIL) {
        arguments->spoil = text;
        return 0;
    }
    if (option == ARGP_KEY_ARG)
        option = 'c';
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
     "Number of ranks (all places of --topology, without it 4; with --scale-check 16384), or the "
     "place of each: 0-7,16,9",
     0},
    {"root", 'R', "RANK", 0, "Root of broadcast and reduce; peer of send and recv", 0},
    {"order", OPTION_ORDER, "ORDER", 0, "free or reproducible (free)", 0},
    {"leaves", OPTION_LEAVES, "N", 0,
     "With reproducible order: the ranks share N leaves as evenly as can be (one each)", 0},
    {"dtype", 'd', "TYPE", 0, "Element type (f32)", 0},
    {"topology", 't', "SOURCE", 0, "As in `weft topo`: a file or a synthetic string", 0},
    {"topo", 0, NULL, OPTION_ALIAS, NULL, 0},
    {"algorithm", 'a', "NAME", 0, "Force an algorithm", 0},
    {"explain", OPTION_EXPLAIN, NULL, 0, "Show all candidates and the prices behind them", 1},
    {"table", OPTION_TABLE, NULL, 0, "Show the winner for every size from 8 B to 8 GiB", 1},
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
    {"evaluate", OPTION_EVALUATE, NULL, 0,
     "Show how long the candidates' programs take flow by flow, beside their estimates", 1},
    {"quality", OPTION_QUALITY, NULL, 0,
     "Hold the choices on all preset clusters against the best candidate and the bound", 1},
    {"quick", OPTION_QUICK, NULL, 0, "With --quality: few clusters and sizes", 1},
    {"spoil", OPTION_SPOIL, "NAME=FACTOR", 0,
     "With --quality: multiply an algorithm's estimates, to see the choice fail", 1},
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
        "--nccl-table, --quality or --fit (6 %) its bars; 2 bad usage or input; 3 could not "
        "finish.",
};

static int hold_quality(const char *command, struct weft_plan_arguments *arguments)
{
    struct weft_quality_request request = {
        .source = arguments->topology,
        .collective = arguments->has_collective ? (int)arguments->key.collective : -1,
        .is_quick = arguments->is_quick,
        .wants_all = arguments->wants_reasons,
        .wants_json = arguments->wants_json,
    };
    if (arguments->spoil &&
        weft_quality_parse_spoil(arguments->spoil, &request, &arguments->error) != WEFT_OK)
        return weft_command_fail(command, &arguments->error);
    return weft_plan_quality(command, &request);
}

// Each of these is an answer of its own.
static weft_status check_modes(const struct weft_plan_arguments *arguments,
                               struct weft_error *error)
{
    int modes = arguments->wants_bound + arguments->wants_table + (arguments->changes != NULL) +
                arguments->wants_upgrades + (arguments->svg != NULL) + (arguments->dump != NULL);
    if (modes > 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "only one of --bound, --table, --what-if, --upgrades, --svg, --dump");
    if (!arguments->wants_bound && (arguments->is_unit || arguments->link_kinds))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--links and --unit go with --bound");
    return WEFT_OK;
}

int weft_command_plan(int argc, char **argv)
{
    struct weft_plan_arguments arguments = {
        .key = {.collective = WEFT_ALL_REDUCE, .element_bytes = 4}, .bytes = 1 << 20};
    struct weft_error error = {0};
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (arguments.key.collective == WEFT_BARRIER)
        arguments.bytes = 0;
    arguments.key.size_class = weft_size_class((uint64_t)arguments.bytes);
    if (arguments.fit)
        return weft_plan_fit(argv[0], arguments.fit, arguments.wants_json);
    if (arguments.wants_quality)
        return hold_quality(argv[0], &arguments);
    if (arguments.wants_nccl)
        return weft_plan_nccl_table(argv[0], arguments.wants_json);
    if (arguments.wants_scale)
        return weft_plan_scale_check(argv[0], arguments.has_ranks ? &arguments.places : NULL,
                                     arguments.has_rank ? (int)arguments.rank : -1,
                                     arguments.topology, arguments.wants_json);
    weft_status status = check_modes(&arguments, &error);
    if (status == WEFT_OK)
        status = weft_plan_run(&arguments, &error);
    weft_plan_ranks_free(&arguments.places);
    free(arguments.leaf_bounds);
    if (status != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], WEFT_EXIT_OK);
}
