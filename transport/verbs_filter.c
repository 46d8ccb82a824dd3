/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_filter.h.
 */
#include "transport/verbs_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static weft_status read_name(const char *text, size_t length, struct weft_verbs_filter *filter,
                             struct weft_error *error)
{
    const char *colon = memchr(text, ':', length);
    size_t name_length = colon ? (size_t)(colon - text) : length;
    if (name_length == 0 || name_length >= sizeof filter->names[0].name)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "WEFT_IB_HCA: '%.*s' is no device name",
                         (int)(length < 80 ? length : 80), text);
    if (filter->num_names == WEFT_VERBS_FILTER_NAMES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "WEFT_IB_HCA has more than %d names",
                         WEFT_VERBS_FILTER_NAMES);
    int port = 0;
    for (const char *digit = colon ? colon + 1 : text + length; digit < text + length; digit++) {
        if (*digit < '0' || *digit > '9' || port > 255)
            port = 256;
        else
            port = port * 10 + (*digit - '0');
    }
    if (colon && (port < 1 || port > 255))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "WEFT_IB_HCA: '%.*s' does not end with a port from 1 to 255",
                         (int)(length < 80 ? length : 80), text);
    snprintf(filter->names[filter->num_names].name, sizeof filter->names[0].name, "%.*s",
             (int)name_length, text);
    filter->names[filter->num_names].port = port;
    filter->names[filter->num_names].is_used = false;
    filter->num_names++;
    return WEFT_OK;
}

weft_status weft_verbs_filter_read(const char *text, struct weft_verbs_filter *filter,
                                   struct weft_error *error)
{
    *filter = (struct weft_verbs_filter){0};
    if (!text || !text[0])
        return WEFT_OK;
    filter->is_excluding = *text == '^';
    text += filter->is_excluding;
    filter->is_exact = *text == '=';
    text += filter->is_exact;
    for (bool is_more = true; is_more;) {
        size_t length = strcspn(text, ",");
        WEFT_TRY(read_name(text, length, filter, error));
        is_more = text[length] == ',';
        text += length + is_more;
    }
    return WEFT_OK;
}

bool weft_verbs_filter_wants(struct weft_verbs_filter *filter, const char *device, int port)
{
    bool is_named = filter->num_names == 0;
    for (int i = 0; i < filter->num_names; i++) {
        const char *name = filter->names[i].name;
        bool is_same =
            filter->is_exact ? strcmp(device, name) == 0 : strncmp(device, name, strlen(name)) == 0;
        int named = filter->names[i].port;
        bool is_other = named && (port ? named != port : filter->is_excluding);
        if (!is_same || is_other)
            continue;
        filter->names[i].is_used |= port || !named;
        is_named = true;
    }
    return is_named != filter->is_excluding;
}

bool weft_verbs_filter_names(const struct weft_verbs_filter *filter)
{
    return filter->num_names > 0 && !filter->is_excluding;
}

const char *weft_verbs_filter_unused(const struct weft_verbs_filter *filter, char *text,
                                     size_t size)
{
    for (int i = 0; i < filter->num_names && !filter->is_excluding; i++) {
        if (filter->names[i].is_used)
            continue;
        if (filter->names[i].port)
            snprintf(text, size, "%s:%d", filter->names[i].name, filter->names[i].port);
        else
            snprintf(text, size, "%s", filter->names[i].name);
        return text;
    }
    return NULL;
}
