/*
 * SPDX-License-Identifier: Apache-2.0
 * See maxflow.h. Arc 2i is the i-th arc added, 2i + 1 its reverse; the arcs of a vertex are a list.
 * Many runs look at a small part of the graph only, so what a run changed is noted and undone
 * before the next.
 */
#include "topology/maxflow.h"

#include <stdlib.h>
#include <string.h>

struct arc {
    int to;
    int next; // of the same vertex; -1: last
    int64_t capacity;
    int64_t left; // in the current run
};

struct weft_maxflow {
    int num_vertices, num_arcs, room;
    struct arc *arcs;
    int *first;   // (vertices) arc; -1: none
    int *at;      // (vertices) where the search of a phase goes on
    int *level;   // (vertices) distance from the source; -1: not reached
    int *queue;   // (vertices)
    int *path;    // (vertices) arcs of the path that is being built
    int *changed; // (at most `room`) arcs that carry flow since the last run, some twice
    int num_changed;
    bool changed_many; // too many to note: any arc may
};

struct weft_maxflow *weft_maxflow_create(int num_vertices)
{
    struct weft_maxflow *m = calloc(1, sizeof *m);
    size_t count = (size_t)num_vertices + 1;
    if (!m)
        return NULL;
    m->num_vertices = num_vertices;
    m->first = malloc(count * sizeof *m->first);
    m->at = malloc(count * sizeof *m->at);
    m->level = malloc(count * sizeof *m->level);
    m->queue = malloc(count * sizeof *m->queue);
    m->path = malloc(count * sizeof *m->path);
    if (!m->first || !m->at || !m->level || !m->queue || !m->path) {
        weft_maxflow_destroy(&m);
        return NULL;
    }
    memset(m->first, -1, count * sizeof *m->first);
    memset(m->level, -1, count * sizeof *m->level);
    return m;
}

void weft_maxflow_destroy(struct weft_maxflow **maxflow)
{
    struct weft_maxflow *m = *maxflow;
    if (!m)
        return;
    free(m->arcs);
    free(m->first);
    free(m->at);
    free(m->level);
    free(m->queue);
    free(m->path);
    free(m->changed);
    free(m);
    *maxflow = NULL;
}

static void link_arc(struct weft_maxflow *m, int arc, int from, int to, int64_t capacity)
{
    m->arcs[arc] = (struct arc){to, m->first[from], capacity, capacity};
    m->first[from] = arc;
}

int weft_maxflow_add(struct weft_maxflow *m, int from, int to, int64_t capacity, int64_t backward)
{
    if (m->num_arcs + 2 > m->room) {
        int room = m->room ? 2 * m->room : 64;
        struct arc *arcs = realloc(m->arcs, (size_t)room * sizeof *arcs);
        if (!arcs)
            return -1;
        m->arcs = arcs;
        int *changed = realloc(m->changed, (size_t)room * sizeof *changed);
        if (!changed)
            return -1;
        m->changed = changed;
        m->room = room;
    }
    link_arc(m, m->num_arcs, from, to, capacity);
    link_arc(m, m->num_arcs + 1, to, from, backward);
    m->num_arcs += 2;
    return m->num_arcs / 2 - 1;
}

void weft_maxflow_set(struct weft_maxflow *m, int arc, int64_t capacity, int64_t backward)
{
    m->arcs[2 * arc].capacity = m->arcs[2 * arc].left = capacity;
    m->arcs[2 * arc + 1].capacity = m->arcs[2 * arc + 1].left = backward;
}

// Levels from the source on, until the sink has one.
static bool search(struct weft_maxflow *m, int source, int sink)
{
    int head = 0, tail = 0;
    memset(m->level, -1, (size_t)m->num_vertices * sizeof *m->level);
    m->level[source] = 0;
    m->queue[tail++] = source;
    while (head < tail && m->level[sink] < 0) {
        int vertex = m->queue[head++];
        for (int a = m->first[vertex]; a >= 0; a = m->arcs[a].next) {
            int to = m->arcs[a].to;
            if (m->arcs[a].left > 0 && m->level[to] < 0) {
                m->level[to] = m->level[vertex] + 1;
                m->queue[tail++] = to;
            }
        }
    }
    return m->level[sink] >= 0;
}

// Sends what fits along path[0..length) and returns how far from the source it is still open.
static int augment(struct weft_maxflow *m, int length, int64_t wanted, int64_t *sent)
{
    int64_t amount = wanted;
    int open = 0;
    for (int i = 0; i < length; i++)
        if (m->arcs[m->path[i]].left < amount)
            amount = m->arcs[m->path[i]].left;
    for (int i = length - 1; i >= 0; i--) {
        if (m->num_changed < m->room)
            m->changed[m->num_changed++] = m->path[i];
        else
            m->changed_many = true;
        m->arcs[m->path[i]].left -= amount;
        m->arcs[m->path[i] ^ 1].left += amount;
        if (m->arcs[m->path[i]].left == 0)
            open = i;
    }
    *sent = amount;
    return open;
}

// A blocking flow of at most `limit` along the levels. No recursion: paths may be long.
static int64_t fill(struct weft_maxflow *m, int source, int sink, int64_t limit)
{
    int64_t total = 0;
    int length = 0, vertex = source;
    memcpy(m->at, m->first, (size_t)m->num_vertices * sizeof *m->at);
    while (total < limit) {
        if (vertex == sink) {
            int64_t sent;
            length = augment(m, length, limit - total, &sent);
            total += sent;
            vertex = length ? m->arcs[m->path[length - 1]].to : source;
            continue;
        }
        int a = m->at[vertex];
        while (a >= 0 && !(m->arcs[a].left > 0 && m->level[m->arcs[a].to] == m->level[vertex] + 1))
            a = m->arcs[a].next;
        m->at[vertex] = a;
        if (a >= 0) {
            m->path[length++] = a;
            vertex = m->arcs[a].to;
        } else if (vertex == source) {
            break;
        } else {
            m->level[vertex] = -1; // leads nowhere
            vertex = m->arcs[m->path[--length] ^ 1].to;
        }
    }
    return total;
}

static void reset(struct weft_maxflow *m)
{
    if (m->changed_many)
        for (int i = 0; i < m->num_arcs; i++)
            m->arcs[i].left = m->arcs[i].capacity;
    for (int i = 0; i < m->num_changed && !m->changed_many; i++) {
        int arc = m->changed[i];
        m->arcs[arc].left = m->arcs[arc].capacity;
        m->arcs[arc ^ 1].left = m->arcs[arc ^ 1].capacity;
    }
    m->num_changed = 0;
    m->changed_many = false;
}

int64_t weft_maxflow_run(struct weft_maxflow *m, int source, int sink, int64_t limit)
{
    int64_t total = 0;
    reset(m);
    while (total < limit && search(m, source, sink))
        total += fill(m, source, sink, limit - total);
    return total;
}

bool weft_maxflow_is_on_source_side(const struct weft_maxflow *m, int vertex)
{
    return m->level[vertex] >= 0;
}

int64_t weft_maxflow_on(const struct weft_maxflow *m, int arc)
{
    return m->arcs[2 * arc].capacity - m->arcs[2 * arc].left;
}
