/*
 * SPDX-License-Identifier: Apache-2.0
 * The `weft` command: a table of sub-commands and nothing else. Each lives in the file of its name.
 */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "tools/command.h"

struct command {
    const char *name;
    const char *full_name; // what the sub-command sees as argv[0]
    const char *summary;
    int (*run)(int argc, char **argv);
};

// In the order in which a new user meets them.
static const struct command commands[] = {
    {"topo", "weft topo", "show how a machine's or cluster's parts are joined, and what is wrong",
     weft_command_topo},
    {"plan", "weft plan", "show the plan chosen for a collective, and why", weft_command_plan},
    {"verify", "weft verify", "prove a program right, or say where it is wrong",
     weft_command_verify},
    {"bench", "weft bench", "time a collective and check its result", weft_command_bench},
    {"launch", "weft launch", "start the ranks of a program on this machine", weft_command_launch},
    {"train", "weft train", "train a small GPT over the collectives", weft_command_train},
    {"env", "weft env", "list the configuration: names, values, defaults, meanings",
     weft_command_env},
};
enum { NUM_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *stream)
{
    fputs("Usage: weft COMMAND [OPTION...]\n\n", stream);
    for (int i = 0; i < NUM_COMMANDS; i++)
        fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`weft COMMAND --help` explains a command, `weft --version` prints the version.\n"
          "Exit codes: 0 ok; 1 what was checked is wrong; 2 bad usage or input; 3 could not\n"
          "finish (a peer died, a deadline passed).\n",
          stream);
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    int version = weft_version();
    fprintf(stream, "weft %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
}

/* For commands that make no communicator; a wrong level is that one's to refuse. */
static void set_log_level(void)
{
    const char *name = weft_config_environment("WEFT_LOG");
    int level = name ? weft_log_level_from_name(name) : -1;
    if (level >= 0)
        weft_log_set_level((enum weft_log_level)level);
}

int main(int argc, char **argv)
{
    set_log_level();
    argp_err_exit_status = WEFT_EXIT_USAGE;
    argp_program_version_hook = print_version;
    if (argc < 2) {
        print_help(stderr);
        return WEFT_EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "-?") ||
        !strcmp(argv[1], "help")) {
        print_help(stdout);
        return weft_command_finish("weft", WEFT_EXIT_OK);
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        print_version(stdout, NULL);
        return weft_command_finish("weft", WEFT_EXIT_OK);
    }
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name)) {
            argv[1] = (char *)commands[i].full_name;
            return commands[i].run(argc - 1, argv + 1);
        }
    fprintf(stderr, "weft: there is no command '%s' (weft --help lists them)\n", argv[1]);
    return WEFT_EXIT_USAGE;
}
