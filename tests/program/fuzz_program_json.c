/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes: read as a program, then checked, judged by the oracle and written again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "collectives/program/program_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json, *again;
    struct weft_error error;
    struct weft_program *program = NULL, *copy = NULL;
    struct weft_plan *plan = NULL;
    if (weft_json_parse((const char *)data, size, "input", &json, &error) != WEFT_OK)
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
