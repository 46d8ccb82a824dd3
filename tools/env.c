/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft env`: the configuration table as this process sees it. It shows the raw values, and says
 * with its exit code whether the library would accept them. WEFT_ID and WEFT_SECRET are passwords
 * and are shown only as set.
 */
#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "collectives/planner/choice.h"
#include "tools/command.h"

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    bool *as_json = state->input;
    switch (key) {
    case 'j':
        *as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {0},
};
static const struct argp parser = {
    .options = options,
    .parser = parse_option,
    .doc =
        "List every configuration variable: name, value, default, source and meaning."
        "\vExits with 2 when a variable has a value that Weft refuses. What only a meeting of "
        "ranks (WEFT_ID, WEFT_BOOTSTRAP_PORT, ...), a topology file or a fault test could refuse "
        "is not looked at.",
};

static const char *shown_value(const struct weft_config_row *row, const char *value)
{
    bool is_secret = !strcmp(row->name, "WEFT_ID") || !strcmp(row->name, "WEFT_SECRET");
    return !value ? row->fallback : is_secret ? "(set)" : value;
}

static int print_json(void)
{
    json_t *rows = json_array();
    for (int i = 0; i < weft_config_num_rows; i++) {
        const struct weft_config_row *row = &weft_config_rows[i];
        const char *value = weft_config_environment(row->name);
        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", row->name, "value",
                            shown_value(row, value), "default", row->fallback, "source",
                            value ? "environment" : "default", "meaning", row->meaning));
    }
    int failed = !rows || json_array_size(rows) != (size_t)weft_config_num_rows ||
                 json_dumpf(rows, stdout, JSON_INDENT(2)) != 0;
    putchar('\n');
    json_decref(rows);
    return failed;
}

static void print_text(void)
{
    printf("%-22s %-12s %-10s %-11s %s\n", "NAME", "VALUE", "DEFAULT", "SOURCE", "MEANING");
    for (int i = 0; i < weft_config_num_rows; i++) {
        const struct weft_config_row *row = &weft_config_rows[i];
        const char *value = weft_config_environment(row->name);
        const char *shown = shown_value(row, value);
        printf("%-22s %-12s %-10s %-11s %s\n", row->name, *shown ? shown : "-",
               *row->fallback ? row->fallback : "-", value ? "environment" : "default",
               row->meaning);
    }
}

// By the library's own checks: the table's syntax, forced algorithms, and what a context needs.
static weft_status check_values(struct weft_error *error)
{
    struct weft_config config;
    struct weft_forced forced;
    weft_context *context = NULL;
    WEFT_TRY(weft_config_load(&config, error));
    weft_status status = weft_forced_parse(config.algorithm, &forced, error);
    weft_config_free(&config);
    if (status != WEFT_OK)
        return weft_fail_prefix(error, "WEFT_ALGORITHM");
    status = weft_context_create(&context);
    weft_context_destroy(&context);
    if (status != WEFT_OK) // the library has logged why
        weft_fail(error, status, "no context: %s", weft_status_text(status));
    return status;
}

int weft_command_env(int argc, char **argv)
{
    bool as_json = false;
    argp_parse(&parser, argc, argv, 0, NULL, &as_json);
    if (as_json) {
        if (print_json()) {
            fprintf(stderr, "%s: cannot print the table as JSON\n", argv[0]);
            return WEFT_EXIT_RUNTIME;
        }
    } else {
        print_text();
    }
    struct weft_error error;
    if (check_values(&error) != WEFT_OK)
        return weft_command_fail(argv[0], &error);
    return weft_command_finish(argv[0], WEFT_EXIT_OK);
}
