/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of `weft plan` share.
 */
#ifndef WEFT_TOOLS_PLAN_H
#define WEFT_TOOLS_PLAN_H

#include <stdbool.h>

/* Writes and proves the program of `rank` (-1: of a few ranks, the slowest is shown) for every
 * algorithm and collective, each in a process of its own, and prints time and peak memory. Returns
 * an exit code: FAILED above 100 ms or 64 MiB, or when a check fails. */
int weft_plan_scale_check(const char *command, int num_ranks, int rank, bool wants_json);

/* Prints, for the reference's clusters, what NCCL would choose beside what the reference says.
 * Returns an exit code: FAILED when one differs. */
int weft_plan_nccl_table(const char *command, bool wants_json);

/* Fits a curve to some sizes of the sweep in `path` and prints how well it foretells the others,
 * beside plain interpolation. Returns an exit code: FAILED when the median error is above 6 %. */
int weft_plan_fit(const char *command, const char *path, bool wants_json);

#endif
