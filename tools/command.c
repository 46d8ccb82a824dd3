/*
 * SPDX-License-Identifier: Apache-2.0
 * Exit codes and error lines of the sub-commands.
 */
#include "tools/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int weft_exit_from_status(weft_status status)
{
    switch (status) {
    case WEFT_OK:
        return WEFT_EXIT_OK;
    case WEFT_INVALID_ARGUMENT:
    case WEFT_INVALID_FORMAT:
    case WEFT_INVALID_USAGE:
    case WEFT_UNSUPPORTED:
    case WEFT_NOT_FOUND:
        return WEFT_EXIT_USAGE;
    case WEFT_UNPROVED:
        return WEFT_EXIT_FAILED;
    case WEFT_IN_PROGRESS:
    case WEFT_AGAIN:
    case WEFT_OUT_OF_MEMORY:
    case WEFT_SYSTEM:
    case WEFT_TIMEOUT:
    case WEFT_MISMATCH:
    case WEFT_REMOTE:
    case WEFT_ABORTED:
    case WEFT_PERMISSION:
    case WEFT_INTERNAL:
        return WEFT_EXIT_RUNTIME;
    }
    return WEFT_EXIT_RUNTIME;
}

int weft_command_fail(const char *command, const struct weft_error *error)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", command, error->text);
    return weft_exit_from_status(error->status);
}

int weft_command_finish(const char *command, int code)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "%s: cannot write to standard output: %s\n", command,
                errno ? strerror(errno) : "an earlier write failed");
        return WEFT_EXIT_RUNTIME;
    }
    return code;
}
