/*
 * SPDX-License-Identifier: Apache-2.0
 * What the sub-commands of `weft` share: their functions, their exit codes (documented here and in
 * weft(1), nowhere else) and two helpers. A sub-command is one file, one row in weft.c and one line
 * in CMakeLists.txt. argv[0] is "weft NAME"; options are parsed with argp, which exits with
 * WEFT_EXIT_USAGE by itself.
 */
#ifndef WEFT_TOOLS_COMMAND_H
#define WEFT_TOOLS_COMMAND_H

#include "base/error.h"

enum weft_exit {
    WEFT_EXIT_OK = 0,
    WEFT_EXIT_FAILED = 1,  // the thing checked is wrong: data, a program, a comparison
    WEFT_EXIT_USAGE = 2,   // bad options or bad input files; nothing was started
    WEFT_EXIT_RUNTIME = 3, // could not finish: a peer died, a deadline passed, the system refused
};
/* `weft launch` besides: the exit code of the first rank that failed, 128 + N for signal N. */

int weft_command_bench(int argc, char **argv);
int weft_command_env(int argc, char **argv);
int weft_command_launch(int argc, char **argv);
int weft_command_plan(int argc, char **argv);
int weft_command_topo(int argc, char **argv);
int weft_command_train(int argc, char **argv);
int weft_command_verify(int argc, char **argv);

/* USAGE for what the user can correct in the call or a file, RUNTIME for the rest; OK for OK. */
int weft_exit_from_status(weft_status status);
/* Prints "COMMAND: sentence" to standard error and returns the exit code for error->status. */
int weft_command_fail(const char *command, const struct weft_error *error);
/* Flushes standard output; RUNTIME (and a sentence on standard error) if anything written to it was
 * lost, else `code`. Every sub-command that prints data ends with it. */
int weft_command_finish(const char *command, int code);

#endif
