/*
 * SPDX-License-Identifier: Apache-2.0
 * Programs through JSON and back, and what must not come in that way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "collectives/program/program_json.h"
#include "tests/program/corpus.h"
#include "tests/program/samples.h"

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct corpus *corpus = build_corpus(6);
    for (int s = 0; s < corpus->count; s++)
        for (int rank = 0; rank < corpus->sets[s].num_ranks; rank++) {
            const struct weft_program *program = corpus->sets[s].programs[rank];
            struct weft_program *back = NULL;
            struct weft_error error;
            json_t *json, *parsed, *again;
            assert_int_equal(weft_program_to_json(program, &json, &error), WEFT_OK);
            char *text = json_dumps(json, JSON_COMPACT);
            assert_non_null(text);
            assert_int_equal(weft_json_parse(text, strlen(text), "text", &parsed, &error), WEFT_OK);
            if (weft_program_from_json(parsed, "text", &back, &error) != WEFT_OK)
                fail_msg("%s: %s", corpus->sets[s].name, error.text);
            assert_true(weft_program_equal(program, back));
            assert_int_equal(weft_program_to_json(back, &again, &error), WEFT_OK);
            assert_true(json_equal(json, again));
            free(text);
            json_decref(json);
            json_decref(parsed);
            json_decref(again);
            weft_program_destroy(&back);
        }
    destroy_corpus(corpus);
}

// Of a program of spans: each of these is refused, with the field's name.
static void bad_leaves_are_refused(void **state)
{
    (void)state;
    static const char *const bounds[] = {
        "[0]",          "[0, 2, 1, 5]",     "[1, 2, 3, 5]",       "[0, 1, 2, -3]",
        "[0, 0, 0, 0]", "[0, 1, \"2\", 5]", "[0, 1, 2, 9999999]", "7"};
    const uint32_t good[] = {0, 1, 4, 5};
    struct weft_program *program = sample_program(&samples[0], 3, 0, 0), *back = NULL;
    json_t *json = NULL;
    struct weft_error error;
    assert_true(weft_collective_reduces(program->shape.collective));
    assert_int_equal(weft_program_to_json(program, &json, &error), WEFT_OK);
    json_object_set_new(json, "leaf_bounds", json_pack("[i, i, i, i]", 0, 1, 4, 5));
    assert_int_equal(weft_program_from_json(json, "text", &back, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "order"));
    json_object_set_new(json, "order", json_string("free"));
    assert_int_equal(weft_program_from_json(json, "text", &back, &error), WEFT_INVALID_FORMAT);
    json_object_set_new(json, "order", json_string("reproducible"));
    assert_int_equal(weft_program_from_json(json, "text", &back, &error), WEFT_OK);
    assert_memory_equal(back->shape.leaf_bounds, good, sizeof good);
    assert_false(weft_program_equal(program, back));
    weft_program_destroy(&back);
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        json_object_set_new(json, "leaf_bounds", json_loads(bounds[i], JSON_DECODE_ANY, NULL));
        assert_int_not_equal(weft_program_from_json(json, "text", &back, &error), WEFT_OK);
        assert_null(back);
    }
    json_decref(json);
    weft_program_destroy(&program);
}

static void differences_are_seen(void **state)
{
    (void)state;
    struct weft_program *one = sample_program(&samples[0], 3, 0, 0);
    struct weft_program *copy = weft_program_copy(one);
    assert_true(weft_program_equal(one, copy));
    uint8_t *const bytes[] = {(uint8_t *)&copy->steps[1].channel, &copy->refs[0].space,
                              (uint8_t *)&copy->refs[1].stamp,    (uint8_t *)&copy->labels[0].sum,
                              (uint8_t *)&copy->results[2],       (uint8_t *)&copy->shape.root,
                              (uint8_t *)&copy->dependencies[0],  (uint8_t *)copy->algorithm};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        *bytes[i] ^= 1;
        assert_false(weft_program_equal(one, copy));
        *bytes[i] ^= 1;
    }
    assert_true(weft_program_equal(one, copy));
    weft_program_destroy(&one);
    weft_program_destroy(&copy);
}

struct change {
    const char *pointer; // keys and positions from the top, by blanks; the last is what is set
    const char *value;   // JSON; NULL: removed
    const char *wanted;
};

// Step 1 of the sample receives, combines with an input cell and writes an output cell.
static const struct change changes[] = {
    {"rank", NULL, "\"rank\" is missing"},
    {"rank", "3", "\"rank\" is 3, not from 0 to 2"},
    {"rank", "-1", "\"rank\" is -1"},
    {"rank", "1.0", "not a whole number"},
    {"num_ranks", "1048577", "\"num_ranks\" is 1048577"},
    {"num_ranks", "0", "\"num_ranks\" is 0"},
    {"root", "7", "\"root\" is 7"},
    {"pieces", "0", "\"pieces\" is 0"},
    {"pieces", "16777217", "\"pieces\" is 16777217"},
    {"pieces", "4", "one entry per output cell"},
    {"collective", "\"all_reduced\"", "\"collective\" is none"},
    {"algorithm", "\"0123456789012345678901234567890x\"", "longer than 31 bytes"},
    {"algorithm", "7", "\"algorithm\" is not a string"},
    {"aliasing", "[]", "no aliasing"},
    {"aliasing", "[\"in_place\", \"in_place\"]", "once each"},
    {"aliasing", "[\"sideways\"]", "\"aliasing\" lists other"},
    {"num_channels", "65", "\"num_channels\" is 65"},
    {"chanels", "1", "\"chanels\" means nothing here"},
    {"results", "[]", "one entry per output cell"},
    {"results 0", "\"12\"", "results[0]: is not a string of 16 hexadecimal digits"},
    {"results 0", "\"000000000000000G\"", "results[0]"},
    {"scratch 0", "{\"like\": \"lane\", \"cell\": 0}", "scratch[0]: \"like\""},
    {"scratch 0", "{\"like\": \"input\", \"cell\": 3}", "like no cell of known size"},
    {"scratch 0", "7", "scratch[0]: is not an object"},
    {"steps", "{}", "\"steps\" is not an array"},
    {"steps 1", "[]", "steps[1]: is not an object"},
    {"steps 1 channel", "64", "steps[1]: \"channel\" is 64"},
    {"steps 1 channel", "1", "a channel that does not exist"},
    {"steps 1 cells", "0", "steps[1]: \"cells\" is 0"},
    {"steps 1 cells", "2", "steps[1].from[0]: has not one label per cell"},
    {"steps 0 cells", "268435456", "steps[0]: too many references, or too many cells"},
    {"steps 1 after", "[1]", "depends on itself"},
    {"steps 1 after", "[-1]", "not a list of earlier steps"},
    {"steps 1 after", "[4294967296]", "not a list of earlier steps"},
    {"steps 1 after", "[null]", "not a list of earlier steps"},
    {"steps 1 into", "[]", "needs 1 to 16 sources"},
    {"steps 1 into 0", "{\"input\": 0}", "writes the input"},
    {"steps 1 into 0", "{\"output\": 99}", "outside its buffer"},
    {"steps 1 into 0", "{\"output\": 4294967296}", "\"output\" is 4294967296"},
    {"steps 1 into 0", "{\"output\": 0, \"stamp\": 1}", "\"stamp\" means nothing here"},
    {"steps 1 into 0", "{\"attic\": 0}", "names neither"},
    {"steps 1 into 0", "null", "names neither"},
    {"steps 1 into 0", "{\"lane\": 1, \"stamp\": 0, \"labels\": []}", "\"labels\" means nothing"},
    {"steps 1 from 0 lane", "0", "a lane to itself"},
    {"steps 1 from 0 lane", "3", "a lane to a rank that does not exist"},
    {"steps 1 from 0 stamp", NULL, "\"stamp\" is missing"},
    {"steps 1 from 0 stamp", "4294967296", "\"stamp\" is 4294967296"},
    {"steps 1 from 0 labels", NULL, "\"labels\" is missing"},
    {"steps 1 from 0 labels", "[null, null]", "one label per cell"},
    {"steps 1 from 0 labels 0", "7", "labels[0]: is not an object"},
    {"steps 1 from 0 labels 0 cell", "268435457", "labels[0]: \"cell\""},
    {"steps 1 from 0 labels 0 sum", "\"0\"", "32 hexadecimal digits"},
    {"steps 1 from 0 labels 0 tree", "null", "16 hexadecimal digits"},
    {"steps 1 from",
     "[{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},"
     "{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},"
     "{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0},{\"input\":0}]",
     "steps[1]: too many references"},
};

static void apply(json_t *json, const struct change *change)
{
    char path[100], *rest = NULL;
    strcpy(path, change->pointer);
    char *key = strtok_r(path, " ", &rest);
    for (char *next = strtok_r(NULL, " ", &rest); next; next = strtok_r(NULL, " ", &rest)) {
        json = json_is_array(json) ? json_array_get(json, (size_t)atoi(key))
                                   : json_object_get(json, key);
        assert_non_null(json);
        key = next;
    }
    json_t *value = change->value ? json_loads(change->value, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(!change->value || value);
    if (!value)
        assert_int_equal(json_object_del(json, key), 0);
    else if (!json_is_array(json))
        assert_int_equal(json_object_set_new(json, key, value), 0);
    else if ((size_t)atoi(key) < json_array_size(json))
        assert_int_equal(json_array_set_new(json, (size_t)atoi(key), value), 0);
    else
        assert_int_equal(json_array_append_new(json, value), 0);
}

static void hostile_input_is_refused(void **state)
{
    (void)state;
    struct weft_program *program = sample_program(&samples[0], 3, 0, 0), *read = NULL;
    struct weft_error error;
    json_t *good;
    assert_int_equal(weft_program_to_json(program, &good, &error), WEFT_OK);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *json = json_deep_copy(good);
        apply(json, &changes[i]);
        error.text[0] = '\0';
        weft_status status = weft_program_from_json(json, "file", &read, &error);
        if (status != WEFT_INVALID_FORMAT || !strstr(error.text, changes[i].wanted) ||
            strncmp(error.text, "file", 4) != 0)
            fail_msg("%s = %s: wanted '%s', got '%s'", changes[i].pointer,
                     changes[i].value ? changes[i].value : "(none)", changes[i].wanted,
                     status == WEFT_OK ? "a program" : error.text);
        assert_null(read);
        json_decref(json);
    }
    json_t *number = json_integer(1);
    assert_int_equal(weft_program_from_json(number, "file", &read, &error), WEFT_INVALID_FORMAT);
    json_decref(number);
    json_decref(good);
    weft_program_destroy(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(differences_are_seen),
        cmocka_unit_test(bad_leaves_are_refused),
        cmocka_unit_test(hostile_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
