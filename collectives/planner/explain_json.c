/*
 * SPDX-License-Identifier: Apache-2.0
 * See explain.h. JSON; times are picoseconds.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/explain_format.h"

static json_t *candidates_json(const struct weft_explanation *explanation)
{
    const struct weft_choice *choice = &explanation->choice;
    json_t *list = json_array();
    for (int i = 0; i < choice->num_candidates; i++) {
        const struct weft_candidate *candidate = &choice->candidates[i];
        json_t *entry =
            json_pack("{s:s, s:s, s:b}", "algorithm", candidate->algorithm->name, "description",
                      candidate->algorithm->description, "possible", candidate->reason == NULL);
        if (candidate->reason) {
            json_object_set_new(entry, "reason", json_string(candidate->reason));
        } else {
            json_object_set_new(entry, "predicted_ps", json_integer(candidate->estimate_ps));
            json_object_set_new(entry, "latency_ps", json_integer(candidate->latency_ps));
            json_object_set_new(entry, "bytes_ps",
                                json_integer(candidate->estimate_ps - candidate->latency_ps));
            double share = weft_explain_share(explanation, candidate);
            json_object_set_new(entry, "share_of_bound",
                                share < 0 ? json_null() : json_real(share));
            json_object_set_new(entry, "channels",
                                explanation->channels[i] ? json_integer(explanation->channels[i])
                                                         : json_null());
        }
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *bound_json(const struct weft_explanation *explanation)
{
    const struct weft_bound *bound = &explanation->bound;
    if (!bound->label)
        return json_pack("{s:n, s:s*}", "time_ps", "reason", bound->reason);
    return json_pack(
        "{s:I, s:s, s:I, s:I, s:i, s:s}", "time_ps",
        (json_int_t)weft_bound_time(bound, weft_key_bytes(&explanation->choice.key)), "label",
        bound->label, "bytes_per_second", (json_int_t)weft_curve_bandwidth(bound->ps_per_mib),
        "equal_shards_bytes_per_second",
        (json_int_t)(bound->equal_ps_per_mib ? weft_curve_bandwidth(bound->equal_ps_per_mib) : 0),
        "ranks_in_cut", bound->num_cut, "cut", bound->cut);
}

static json_t *nccl_json(const struct weft_explanation *explanation)
{
    if (!explanation->nccl[0])
        return json_null();
    json_t *time = explanation->nccl_us < 0 ? json_null() : json_real(explanation->nccl_us);
    return json_pack("{s:s, s:o}", "text", explanation->nccl, "predicted_us", time);
}

static json_t *levels_json(const struct weft_explanation *explanation)
{
    const struct weft_layout *layout = explanation->choice.layout;
    json_t *list = json_array();
    for (int l = 0; l < layout->costs.num_levels; l++) {
        const struct weft_level_costs *costs = &layout->costs.levels[l];
        const struct weft_level_origin *origin = &explanation->origin.levels[l];
        json_t *lines = json_array();
        for (int i = 0; i < costs->message.num_lines; i++)
            json_array_append_new(lines, json_pack("{s:I, s:I}", "fixed_ps",
                                                   (json_int_t)costs->message.lines[i].fixed_ps,
                                                   "ps_per_mib",
                                                   (json_int_t)costs->message.lines[i].ps_per_mib));
        json_array_append_new(
            list,
            json_pack("{s:s, s:i, s:o, s:I, s:s, s:s, s:s}", "groups", origin->groups, "num_groups",
                      layout->levels[l].num_groups, "message", lines, "crowd_ps_per_mib",
                      (json_int_t)costs->crowd_ps_per_mib, "latency_source",
                      weft_source_names[origin->latency], "bandwidth_source",
                      weft_source_names[origin->bandwidth], "slowest_way", origin->route));
    }
    return list;
}

static json_t *prices_json(const struct weft_explanation *explanation)
{
    struct weft_price_row rows[WEFT_PRICE_ROWS];
    int num_rows = weft_price_rows(&explanation->choice.layout->costs, rows);
    json_t *prices = json_object();
    json_object_set_new(prices, "levels", levels_json(explanation));
    for (int i = 0; i < num_rows; i++)
        json_object_set_new(
            prices, rows[i].name,
            json_pack("{s:I, s:s}", "value", (json_int_t)rows[i].value, "source", rows[i].source));
    return prices;
}

static json_t *programs_json(const struct weft_explanation *explanation)
{
    json_t *list = json_array();
    for (int i = 0; i < explanation->num_programs; i++) {
        const struct weft_program_facts *facts = &explanation->programs[i];
        json_array_append_new(
            list,
            json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rank", facts->rank, "steps",
                      (json_int_t)facts->num_steps, "rounds", (json_int_t)facts->num_rounds,
                      "messages_sent", (json_int_t)facts->num_sends, "messages_received",
                      (json_int_t)facts->num_receives, "peers", (json_int_t)facts->num_peers,
                      "bytes_sent", (json_int_t)facts->bytes_sent, "bytes_received",
                      (json_int_t)facts->bytes_received, "scratch_bytes",
                      (json_int_t)facts->scratch_bytes));
    }
    return list;
}

static json_t *places_json(const struct weft_explanation *explanation)
{
    const struct weft_layout_origin *origin = &explanation->origin;
    return json_pack("{s:i, s:s, s:i}", "count", origin->num_places, "kind",
                     weft_node_kinds[origin->place_kind].name, "hosts", origin->num_hosts);
}

json_t *weft_explain_json(const struct weft_explanation *explanation)
{
    const struct weft_choice *choice = &explanation->choice;
    const struct weft_key *key = &choice->key;
    char why[512];
    weft_explain_why(explanation, why, sizeof why);
    return json_pack("{s:s, s:i, s:s, s:i, s:i, s:I, s:i, s:i, s:s, s:s, s:b, s:s, s:o, s:o, s:o, "
                     "s:o, s:o, s:o}",
                     "format", "weft-plan-explanation", "version", 2, "collective",
                     weft_collective_names[key->collective], "ranks", key->num_ranks, "root",
                     key->root, "bytes", (json_int_t)explanation->bytes, "size_class",
                     key->size_class, "element_bytes", key->element_bytes, "order",
                     key->order == WEFT_ORDER_REPRODUCIBLE ? "reproducible" : "free", "chosen",
                     explanation->chosen->name, "forced", explanation->is_forced, "why", why,
                     "candidates", candidates_json(explanation), "bound", bound_json(explanation),
                     "nccl", nccl_json(explanation), "prices", prices_json(explanation), "places",
                     places_json(explanation), "programs", programs_json(explanation));
}
