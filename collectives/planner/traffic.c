/*
 * SPDX-License-Identifier: Apache-2.0
 * See traffic.h. A program has few peers and many messages: bytes are added up per peer first.
 */
#include "collectives/planner/traffic.h"

#include <stdlib.h>

#include "collectives/planner/facts.h"
#include "collectives/planner/survey.h"

struct weft_traffic {
    const struct weft_topology *topology;
    int64_t *forward, *backward; // (links)
    int64_t *busier;             // (links)
    int *links;                  // (links) of one way
    struct weft_survey survey;   // its routers, once there are ranks
    bool is_open;
};

struct weft_traffic *weft_traffic_create(const struct weft_topology *topology)
{
    struct weft_traffic *made = calloc(1, sizeof *made);
    size_t count = (size_t)topology->num_links + 1;
    if (!made)
        return NULL;
    made->topology = topology;
    made->forward = calloc(count, sizeof *made->forward);
    made->backward = calloc(count, sizeof *made->backward);
    made->busier = calloc(count, sizeof *made->busier);
    made->links = calloc(count, sizeof *made->links);
    if (!made->forward || !made->backward || !made->busier || !made->links)
        weft_traffic_destroy(&made);
    return made;
}

void weft_traffic_destroy(struct weft_traffic **traffic)
{
    if (!*traffic)
        return;
    free((*traffic)->forward);
    free((*traffic)->backward);
    free((*traffic)->busier);
    free((*traffic)->links);
    weft_survey_free(&(*traffic)->survey);
    free(*traffic);
    *traffic = NULL;
}

static weft_status send(struct weft_traffic *traffic, int from, int to, int64_t bytes,
                        struct weft_error *error)
{
    const struct weft_topology *t = traffic->topology;
    int count;
    WEFT_TRY(weft_survey_links(&traffic->survey, from, to, traffic->links, &count, error));
    for (int i = 0; i < count; i++) {
        const struct weft_link *link = &t->links[traffic->links[i]];
        bool is_forward = link->from == from;
        (is_forward ? traffic->forward : traffic->backward)[traffic->links[i]] += bytes;
        from = is_forward ? link->to : link->from;
    }
    return WEFT_OK;
}

weft_status weft_traffic_add(struct weft_traffic *traffic, const struct weft_program *program,
                             const int *nodes, int64_t bytes, struct weft_error *error)
{
    int num_ranks = program->shape.num_ranks;
    if (!traffic->is_open)
        WEFT_TRY(weft_survey_open(&traffic->survey, traffic->topology, nodes, num_ranks, error));
    traffic->is_open = true;
    int64_t *sent = calloc((size_t)num_ranks, sizeof *sent);
    if (!sent)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for traffic");
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        int64_t moved = weft_step_bytes(program, step, bytes);
        for (int i = 0; i < step->num_destinations; i++) {
            const struct weft_ref *ref = weft_step_destination(program, step, i);
            if (ref->space == WEFT_LANE)
                sent[ref->index] += moved;
        }
    }
    weft_status status = WEFT_OK;
    for (int peer = 0; peer < num_ranks && status == WEFT_OK; peer++)
        if (sent[peer])
            status = send(traffic, nodes[program->shape.rank], nodes[peer], sent[peer], error);
    free(sent);
    return status;
}

const int64_t *weft_traffic_bytes(struct weft_traffic *traffic)
{
    for (int i = 0; i < traffic->topology->num_links; i++)
        traffic->busier[i] =
            traffic->forward[i] > traffic->backward[i] ? traffic->forward[i] : traffic->backward[i];
    return traffic->busier;
}
