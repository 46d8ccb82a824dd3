/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft launch`: starts the ranks of a program on this machine. Only options are handled here; the
 * work is local_ranks.c's.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "tools/command.h"
#include "tools/local_ranks.h"

struct launch_options {
    struct weft_local_ranks ranks;
    char **command;
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct launch_options *options = state->input;
    struct weft_error error;
    int64_t number;
    switch (key) {
    case 'n':
        if (weft_parse_integer(argument, 1, WEFT_LOCAL_RANKS_LIMIT, &number, &error) != WEFT_OK)
            argp_error(state, "-n: %s", error.text);
        else
            options->ranks.num_ranks = (int)number;
        return 0;
    case 'l':
        options->ranks.label = true;
        return 0;
    case 'b':
        if (strcmp(argument, "core") && strcmp(argument, "none"))
            argp_error(state, "--bind: '%s' is neither core nor none", argument);
        options->ranks.float_on_cores = !strcmp(argument, "none");
        return 0;
    case 'g':
        if (weft_parse_duration(argument, &options->ranks.grace_ns, &error) != WEFT_OK)
            argp_error(state, "--grace: %s", error.text);
        return 0;
    case ARGP_KEY_ARG:
        // The command begins here; everything after it is its own.
        options->command = &state->argv[state->next - 1];
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (!options->ranks.num_ranks)
            argp_error(state, "-n N is missing: how many ranks?");
        else if (!options->command)
            argp_error(state, "no command to run");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options_table[] = {
    {"ranks", 'n', "N", 0, "Number of ranks", 0},
    {"label", 'l', NULL, 0, "Put '[rank] ' before every line the ranks write", 0},
    {"bind", 'b', "WHERE", 0,
     "core (default): a core of its own for every rank, where there are enough; none: wherever the "
     "system puts it",
     0},
    {"grace", 'g', "TIME", 0,
     "How long the other ranks may take to end by themselves after one has failed (default 5s); "
     "then come SIGTERM and, 2 s later, SIGKILL",
     0},
    {0},
};
static const struct argp parser = {
    .options = options_table,
    .parser = parse_option,
    .args_doc = "[--] COMMAND [ARGUMENT...]",
    .doc = "Run COMMAND as N ranks on this machine."
           "\vEvery rank gets WEFT_RANK, WEFT_NUM_RANKS and WEFT_ID and meets the others once, in "
           "weft_comm_create_from_environment. Rank 0 reads standard input unless that is a "
           "terminal. No rank outlives the launcher.\n\n"
           "The exit code is that of the first rank that failed, 128 + N for signal N; 0 if none "
           "did; 2 if the command cannot be run; 3 if the system refused.",
};

int weft_command_launch(int argc, char **argv)
{
    struct launch_options options = {.ranks = {.name = argv[0], .grace_ns = 5000000000}};
    argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &options);
    options.ranks.command = options.command;
    struct weft_error error;
    int exit_code;
    if (weft_local_ranks_run(&options.ranks, &exit_code, &error) != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return exit_code;
}
