/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan` on a topology: finds it, puts ranks on it, and hands both to what was asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "collectives/planner/choice.h"
#include "tools/plan.h"
#include "tools/plan_arguments.h"
#include "topology/load.h"

enum { RANKS_HERE = 4 }; // without a topology: on this machine

weft_status weft_plan_write(const char *path, char *text, struct weft_error *error)
{
    if (!text)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    errno = 0;
    bool is_stdout = strcmp(path, "-") == 0;
    FILE *stream = is_stdout ? stdout : fopen(path, "we");
    bool is_written = stream && fprintf(stream, "%s\n", text) >= 0;
    if (stream && !is_stdout && fclose(stream) != 0)
        is_written = false;
    free(text);
    if (is_written)
        return WEFT_OK;
    return weft_fail(error, errno == ENOENT ? WEFT_NOT_FOUND : WEFT_SYSTEM, "%s: cannot write: %s",
                     path, strerror(errno));
}

weft_status weft_plan_print_json(json_t *json, struct weft_error *error)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    return weft_plan_write("-", text, error);
}

// WEFT_ALGORITHM, where the command line forces nothing.
static weft_status find_forced(struct weft_plan_arguments *arguments, struct weft_error *error)
{
    struct weft_forced forced;
    const char *text = weft_config_environment("WEFT_ALGORITHM");
    if (arguments->algorithm || !text)
        return WEFT_OK;
    WEFT_TRY(weft_forced_parse(text, &forced, error));
    if (forced.algorithms[arguments->key.collective])
        arguments->algorithm = forced.algorithms[arguments->key.collective]->name;
    return WEFT_OK;
}

static weft_status draw(const struct weft_plan_arguments *arguments,
                        const struct weft_plan_scene *scene, struct weft_error *error)
{
    struct weft_choice choice;
    const struct weft_algorithm *algorithm;
    WEFT_TRY(weft_choice_make(&arguments->key, scene->layout, &choice, error));
    algorithm = choice.candidates[0].algorithm;
    if (arguments->algorithm)
        WEFT_TRY(weft_algorithm_require(arguments->algorithm, &arguments->key, scene->layout,
                                        &algorithm, error));
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a drawing");
    weft_status status =
        weft_plan_draw(scene->topology, &choice, algorithm, arguments->bytes, stream, error);
    if (fclose(stream) != 0 || status != WEFT_OK) {
        free(text);
        return status == WEFT_OK ? weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory") : status;
    }
    return weft_plan_write(arguments->svg, text, error);
}

static weft_status show_change(const struct weft_plan_arguments *arguments,
                               const struct weft_plan_scene *scene, struct weft_error *error)
{
    json_t *json = NULL, **into = arguments->wants_json ? &json : NULL;
    if (arguments->changes)
        WEFT_TRY(weft_plan_what_if(scene->topology, scene->nodes, &arguments->key,
                                   arguments->changes, into, error));
    else
        WEFT_TRY(weft_plan_upgrades(scene->topology, scene->layout, &arguments->key, into, error));
    return json ? weft_plan_print_json(json, error) : WEFT_OK;
}

static weft_status bound(const struct weft_plan_arguments *arguments,
                         const struct weft_topology *topology, struct weft_error *error)
{
    const struct weft_bound_request request = {.collective = arguments->key.collective,
                                               .root = arguments->key.root,
                                               .ranks =
                                                   arguments->has_ranks ? &arguments->places : NULL,
                                               .link_kinds = arguments->link_kinds,
                                               .is_unit = arguments->is_unit};
    return weft_plan_bound(topology, &request, arguments->wants_json, error);
}

// What `source` names, and as many ranks as were asked for.
static weft_status find_topology(struct weft_plan_arguments *arguments,
                                 struct weft_topology **topology, struct weft_error *error)
{
    const char *source =
        arguments->topology ? arguments->topology : weft_config_environment("WEFT_TOPOLOGY");
    bool is_named = source && source[0];
    if (is_named)
        WEFT_TRY(weft_topology_load(source, topology, error));
    else // as a communicator on this machine does
        WEFT_TRY(weft_topology_load_processors(topology, error));
    if (!arguments->has_ranks)
        arguments->places.num_ranks = is_named ? weft_plan_ranks_places(*topology) : RANKS_HERE;
    return WEFT_OK;
}

static weft_status share_leaves(struct weft_plan_arguments *arguments, struct weft_error *error)
{
    uint64_t n = (uint64_t)arguments->ranks;
    if (!arguments->leaves)
        return WEFT_OK;
    arguments->leaf_bounds = malloc((n + 1) * sizeof *arguments->leaf_bounds);
    if (!arguments->leaf_bounds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for leaves");
    for (uint64_t r = 0; r <= n; r++)
        arguments->leaf_bounds[r] = (uint32_t)((uint64_t)arguments->leaves * r / n);
    arguments->key.num_leaves = (uint32_t)arguments->leaves;
    arguments->key.leaf_bounds = arguments->leaf_bounds;
    return WEFT_OK;
}

// All that depends on the number of ranks.
static weft_status settle(struct weft_plan_arguments *arguments, struct weft_error *error)
{
    bool is_pair = weft_collective_is_pair(arguments->key.collective);
    arguments->ranks = arguments->places.num_ranks;
    if (arguments->ranks == 0)
        return weft_fail(error, WEFT_NOT_FOUND, "the topology has no place for a rank");
    if (arguments->rank >= arguments->ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %lld of %lld ranks",
                         (long long)arguments->rank, (long long)arguments->ranks);
    if (is_pair && !arguments->has_root)
        arguments->root = 1;
    arguments->key.num_ranks = (int)arguments->ranks;
    arguments->key.root =
        weft_collective_is_rooted(arguments->key.collective) ? (int)arguments->root : 0;
    WEFT_TRY(share_leaves(arguments, error));
    WEFT_TRY(weft_key_check(&arguments->key, error));
    return find_forced(arguments, error);
}

static weft_status show(const struct weft_plan_arguments *arguments,
                        const struct weft_plan_scene *scene, struct weft_error *error)
{
    if (arguments->svg)
        return draw(arguments, scene, error);
    if (arguments->changes || arguments->wants_upgrades)
        return show_change(arguments, scene, error);
    if (arguments->wants_table)
        return weft_plan_table(arguments, scene, error);
    return weft_plan_explain(arguments, scene, error);
}

weft_status weft_plan_run(struct weft_plan_arguments *arguments, struct weft_error *error)
{
    struct weft_plan_scene scene = {0};
    WEFT_TRY(find_topology(arguments, &scene.topology, error));
    weft_status status = settle(arguments, error);
    if (status == WEFT_OK && arguments->wants_bound) {
        status = bound(arguments, scene.topology, error);
    } else if (status == WEFT_OK) {
        status = weft_plan_ranks_nodes(&arguments->places, scene.topology, &scene.nodes, error);
        if (status == WEFT_OK)
            status = weft_layout_from_nodes(scene.topology, scene.nodes, (int)arguments->ranks,
                                            &scene.layout, &scene.origin, error);
        if (status == WEFT_OK)
            status = show(arguments, &scene, error);
    }
    weft_layout_destroy(&scene.layout);
    weft_topology_destroy(&scene.topology);
    free(scene.nodes);
    return status;
}
