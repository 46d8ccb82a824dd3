/*
 * SPDX-License-Identifier: Apache-2.0
 * Programs as JSON that people can read and edit: one object per program,
 *
 *   {"algorithm": "ring", "collective": "all_reduce", "num_ranks": 4, "rank": 0, "root": 0,
 *    "pieces": 4, "aliasing": ["out_of_place", "in_place"], "num_channels": 1,
 *    "scratch": [{"like": "input", "cell": 3}],
 *    "steps": [{"channel": 0, "cells": 1, "after": [],
 *               "from": [{"lane": 3, "stamp": 0, "labels": [{"cell": 3, "sum": "HEX", "tree":
 * "HEX"}]},
 *                        {"input": 3}],
 *               "into": [{"output": 3}, {"lane": 1, "stamp": 1}]}],
 *    "results": ["HEX"]}
 *
 * in which a reference names its space and first cell, or the lane's peer, "after" lists earlier
 * steps, "labels" has one entry per cell and null for no value, and "results" one fingerprint per
 * output cell. Reading what was written gives an equal program. Input is hostile: everything is
 * bounded and range-checked, and the result is validated as any program.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_PROGRAM_JSON_H
#define WEFT_COLLECTIVES_PROGRAM_PROGRAM_JSON_H

#include <jansson.h>

#include "collectives/program/program.h"

/* What a file may ask for: ranks, and cells over all references of a program. */
enum { WEFT_JSON_RANKS_LIMIT = 1 << 20, WEFT_JSON_CELLS_LIMIT = 1 << 24 };

/* *json is a new reference. `program` is valid. Errors: OUT_OF_MEMORY. */
weft_status weft_program_to_json(const struct weft_program *program, json_t **json,
                                 struct weft_error *error);
/* `name` is what error sentences call the object; they add the path inside it. Errors:
 * INVALID_FORMAT, OUT_OF_MEMORY. */
weft_status weft_program_from_json(const json_t *json, const char *name,
                                   struct weft_program **program, struct weft_error *error);
/* Same program: every field, whatever the layout of the arrays. */
bool weft_program_equal(const struct weft_program *a, const struct weft_program *b);

#endif
