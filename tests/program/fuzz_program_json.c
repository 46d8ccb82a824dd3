/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes: read as a program, then checked, judged by the oracle and written again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "collectives/planner/algorithm.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "collectives/program/program_json.h"

// Bytes as they are seldom make a program, so an odd first byte makes the rest into edits of one:
// four bytes each, where (two), what, with what.
enum { TEXT_BYTES = 1 << 16 };

static size_t edited_program(const uint8_t *data, size_t size, char text[TEXT_BYTES])
{
    const struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                                 .num_ranks = 1 + data[0] / 2 % 3,
                                 .element_bytes = 4,
                                 .size_class = 10};
    struct weft_program *program;
    struct weft_layout *layout = NULL;
    json_t *json;
    if (weft_layout_assumed(key.num_ranks, 1, 1, &layout, NULL) != WEFT_OK)
        return 0;
    if (weft_algorithm_find("ring")->emit(&key, layout, 0, 3, &program, NULL) != WEFT_OK)
        program = NULL;
    weft_layout_destroy(&layout);
    if (!program)
        return 0;
    size_t length = 0;
    if (weft_program_to_json(program, &json, NULL) == WEFT_OK) {
        length = json_dumpb(json, text, TEXT_BYTES, JSON_COMPACT);
        json_decref(json);
    }
    weft_program_destroy(&program);
    for (size_t i = 1; i + 4 <= size && length > 1 && length < TEXT_BYTES; i += 4) {
        size_t at = (data[i] | (size_t)data[i + 1] << 8) % length;
        if (data[i + 2] % 3 == 0) {
            text[at] = (char)data[i + 3];
        } else if (data[i + 2] % 3 == 1) {
            memmove(text + at, text + at + 1, --length - at);
        } else {
            memmove(text + at + 1, text + at, length++ - at);
            text[at] = (char)('0' + data[i + 3] % 10);
        }
    }
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_BYTES];
    json_t *json, *again;
    struct weft_error error;
    struct weft_program *program = NULL, *copy = NULL;
    struct weft_plan *plan = NULL;
    bool is_edit = size > 0 && data[0] % 2;
    size_t length = is_edit ? edited_program(data, size, text) : size;
    if (weft_json_parse(is_edit ? text : (const char *)data, length, "input", &json, &error) !=
        WEFT_OK)
        return 0;
    if (weft_program_from_json(json, "input", &program, &error) == WEFT_OK) {
        if (weft_program_to_json(program, &again, &error) == WEFT_OK) {
            if (weft_program_from_json(again, "again", &copy, &error) != WEFT_OK ||
                !weft_program_equal(program, copy))
                abort();
            json_decref(again);
        }
        const struct weft_program *alone = program;
        weft_status oracle = weft_oracle_verify(&alone, 1, &error);
        weft_status check = weft_plan_create(&copy, &plan, &error);
        // Of one rank alone the check is the oracle.
        if (program->shape.num_ranks == 1 && check == WEFT_OK && oracle == WEFT_UNPROVED)
            abort();
    }
    weft_plan_destroy(&plan);
    weft_program_destroy(&copy);
    weft_program_destroy(&program);
    json_decref(json);
    return 0;
}
