/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --nccl-table`; see plan.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "collectives/planner/nccl_table.h"
#include "tools/command.h"
#include "tools/plan.h"

static void print_size(uint64_t bytes)
{
    static const char *const units[] = {"", "K", "M", "G"};
    int unit = 0;
    for (; unit < 3 && bytes >= 1024 && bytes % 1024 == 0; bytes /= 1024)
        unit++;
    printf(" <%llu%s< ", (unsigned long long)bytes, units[unit]);
}

static void print_choice(int algorithm, int protocol)
{
    printf("%s/%s", weft_nccl_algorithm_names[algorithm], weft_nccl_protocol_names[protocol]);
}

static void print_reference(const struct weft_nccl_reference *reference)
{
    const struct weft_nccl_choice *choices = reference->choices;
    printf("  table %6.1f us  ", reference->first_us);
    if (reference->claim == WEFT_NCCL_ONE_ALGORITHM) {
        printf("%s at every size\n", weft_nccl_algorithm_names[choices[0].algorithm]);
        return;
    }
    if (reference->claim == WEFT_NCCL_LAST_CHOICE)
        printf("...");
    for (int i = 0; i < reference->num_choices; i++) {
        if (i > 0 || reference->claim == WEFT_NCCL_LAST_CHOICE)
            print_size(choices[i].bytes);
        print_choice(choices[i].algorithm, choices[i].protocol);
    }
    printf("\n");
}

static void print_ours(const struct weft_nccl_crossover *rows, int num_rows, bool is_equal)
{
    printf("  ours  %6.1f us  ", rows[0].time_us);
    for (int i = 0; i < num_rows; i++) {
        if (i > 0)
            print_size(rows[i].bytes);
        print_choice(rows[i].algorithm, rows[i].protocol);
    }
    printf("  %s\n", is_equal ? "equal" : "DIFFERS");
}

static json_t *choice_json(uint64_t bytes, int algorithm, int protocol)
{
    return json_pack("{s:I, s:s, s:s}", "bytes", (json_int_t)bytes, "algorithm",
                     weft_nccl_algorithm_names[algorithm], "protocol",
                     weft_nccl_protocol_names[protocol]);
}

static json_t *row_json(const struct weft_nccl_reference *reference,
                        const struct weft_nccl_crossover *rows, int num_rows, bool is_equal)
{
    static const char *const claims[] = {"all", "last", "one-algorithm"};
    json_t *stated = json_array(), *ours = json_array();
    for (int i = 0; i < reference->num_choices; i++)
        json_array_append_new(stated, choice_json(reference->choices[i].bytes,
                                                  reference->choices[i].algorithm,
                                                  reference->choices[i].protocol));
    for (int i = 0; i < num_rows; i++)
        json_array_append_new(ours,
                              choice_json(rows[i].bytes, rows[i].algorithm, rows[i].protocol));
    return json_pack("{s:s, s:f, s:f, s:s, s:o, s:o, s:b}", "cluster", reference->cluster,
                     "table_us", reference->first_us, "ours_us", rows[0].time_us, "table_states",
                     claims[reference->claim], "table", stated, "ours", ours, "equal", is_equal);
}

int weft_plan_nccl_table(const char *command, bool wants_json)
{
    struct weft_error error = {0};
    json_t *array = json_array();
    int num_equal = 0;
    if (!wants_json)
        printf("All-reduce as NCCL 2.28 would do it, without NVLS and CollNet: time of 8 B, "
               "choices from 8 B to 16 GiB\n");
    for (int i = 0; i < WEFT_NCCL_REFERENCES; i++) {
        const struct weft_nccl_reference *reference = &weft_nccl_references[i];
        struct weft_nccl_crossover rows[WEFT_NCCL_MAX_CROSSOVERS];
        int num_rows;
        bool is_equal;
        if (weft_nccl_reference_check(reference, rows, &num_rows, &is_equal, &error) != WEFT_OK) {
            json_decref(array);
            return weft_command_fail(command, &error);
        }
        num_equal += is_equal;
        if (wants_json) {
            json_array_append_new(array, row_json(reference, rows, num_rows, is_equal));
            continue;
        }
        printf("%s (%d channels of %g GB/s)\n", reference->cluster, reference->input.ring.channels,
               reference->input.ring.inter);
        print_reference(reference);
        print_ours(rows, num_rows, is_equal);
    }
    bool is_passed = num_equal == WEFT_NCCL_REFERENCES;
    if (wants_json) {
        json_t *json = json_pack("{s:s, s:i, s:b, s:O}", "format", "weft-plan-nccl", "version", 1,
                                 "passed", is_passed, "rows", array);
        char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
        printf("%s\n", text ? text : "");
        free(text);
        json_decref(json);
    } else {
        printf("%d of %d equal\n", num_equal, WEFT_NCCL_REFERENCES);
    }
    json_decref(array);
    return weft_command_finish(command, is_passed ? WEFT_EXIT_OK : WEFT_EXIT_FAILED);
}
