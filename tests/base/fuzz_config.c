/*
 * SPDX-License-Identifier: Apache-2.0
 * Any text as a configuration value, alone and through the environment: refused with a sentence
 * that names the variable and changes nothing, or a value within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNTOUCHED = -77 };

static void check_refusal(weft_status status, const struct weft_error *error)
{
    if (status != WEFT_INVALID_ARGUMENT || error->status != status || !error->text[0] ||
        !memchr(error->text, '\0', sizeof error->text))
        abort();
}

static void parse_alone(const char *text)
{
    struct weft_error error = {0};
    int64_t value = UNTOUCHED;
    weft_status status = weft_parse_integer(text, -9, 1000, &value, &error);
    if (status == WEFT_OK ? value < -9 || value > 1000 : value != UNTOUCHED)
        abort();
    if (status != WEFT_OK)
        check_refusal(status, &error);
    weft_status (*const parsers[])(const char *, int64_t *,
                                   struct weft_error *) = {weft_parse_bytes, weft_parse_duration};
    for (int i = 0; i < 2; i++) {
        value = UNTOUCHED;
        error = (struct weft_error){0};
        status = parsers[i](text, &value, &error);
        if (status == WEFT_OK ? value < 0 : value != UNTOUCHED)
            abort();
        if (status != WEFT_OK)
            check_refusal(status, &error);
    }
}

/* `text` is lines; line i is the value of row i. */
static void load_all(char *text)
{
    struct weft_config config, before;
    struct weft_error error = {0};
    for (int i = 0; i < weft_config_num_rows; i++) {
        char *end = text ? strchr(text, '\n') : NULL;
        if (end)
            *end = '\0';
        if (setenv(weft_config_rows[i].name, text ? text : "", 1) != 0)
            abort();
        text = end ? end + 1 : NULL;
    }
    memset(&config, 0x5a, sizeof config);
    memcpy(&before, &config, sizeof config);
    weft_status status = weft_config_load(&config, &error);
    if (status != WEFT_OK) {
        const char *colon = strchr(error.text, ':');
        size_t length = colon ? (size_t)(colon - error.text) : 0;
        int named = 0;
        check_refusal(status, &error);
        for (int i = 0; i < weft_config_num_rows; i++)
            named += strlen(weft_config_rows[i].name) == length &&
                     memcmp(weft_config_rows[i].name, error.text, length) == 0;
        if (named != 1 || memcmp(&config, &before, sizeof config) != 0)
            abort();
        return;
    }
    const char *id = weft_config_environment("WEFT_ID");
    if (config.timeout_ns < 0 || config.eager_bytes < 0 || config.flat_bytes < 0 ||
        strcmp(config.id, id ? id : "") != 0 ||
        weft_log_level_from_name(config.log_level) != (int)weft_log_level())
        abort();
    weft_config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    parse_alone(text);
    load_all(text);
    free(text);
    return 0;
}
