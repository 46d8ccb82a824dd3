/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo --measure` and `--cluster` in builds without transports: said, not done.
 */
#include "tools/command.h"
#include "tools/topo.h"

static weft_status refuse(struct weft_error *error)
{
    return weft_fail(error, WEFT_UNSUPPORTED, "this build has no transports to measure with");
}

weft_status weft_topo_parse_time(const char *text, struct weft_topo_measuring *measuring,
                                 struct weft_error *error)
{
    (void)text, (void)measuring;
    return refuse(error);
}

weft_status weft_topo_check_measuring(const struct weft_topo_measuring *measuring, bool cluster,
                                      const char *source, const char *from, const char *output,
                                      const char *to, struct weft_error *error)
{
    (void)source, (void)from, (void)output, (void)to;
    return measuring->is_wanted || cluster ? refuse(error) : WEFT_OK;
}

int weft_topo_measure(const char *command, const struct weft_topo_measuring *measuring,
                      bool as_json)
{
    struct weft_error error = {0};
    weft_status status = refuse(&error);
    (void)measuring, (void)as_json, (void)status;
    return weft_command_fail(command, &error);
}

weft_status weft_topo_load_cluster(const struct weft_topo_measuring *measuring, bool quiet,
                                   struct weft_topology **topology, struct weft_error *error)
{
    (void)measuring, (void)quiet, (void)topology;
    return refuse(error);
}
