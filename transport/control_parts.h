/*
 * SPDX-License-Identifier: Apache-2.0
 * What control.c (links, facts about ranks, notices) and control_life.c (how the control plane
 * begins and ends) share. Nobody else includes this.
 */
#ifndef WEFT_TRANSPORT_CONTROL_PARTS_H
#define WEFT_TRANSPORT_CONTROL_PARTS_H

#include "transport/control.h"
#include "transport/control_wire.h"
#include "transport/door.h"

enum { MAX_NEIGHBOURS = 64 };

enum control_life { ALIVE, LEFT, DEAD };
enum control_direction { OUTWARD, INWARD };

struct control_link {
    struct weft_watch watch;
    struct control_neighbour *neighbour;
    struct weft_sealed *sealed; // NULL: buried
    struct control_link *next_buried;
    bool is_up; // both ends have said who they are
    enum control_direction direction;
};

struct control_neighbour {
    struct weft_control *control;
    uint32_t rank;
    struct control_link *links[2]; // by direction
    struct control_link *sender;   // the first that came up
    int64_t connect_at_ns;         // INT64_MAX: no need
    int64_t reach_until_ns;
    int num_refusals;
    int64_t refused_since_ns;
    bool was_dropping;
    unsigned char *queue; // messages for which there is no link yet, each behind its length
    size_t queue_bytes;
    size_t queue_capacity;
};

struct control_rank {
    enum control_life life;
    uint32_t sequence; // the highest heard of this origin
};

struct weft_control {
    int epoll;
    struct weft_timer timer;
    struct weft_door *door;
    struct weft_endpoint endpoint;
    unsigned char key[WEFT_SECRET_BYTES];
    struct weft_control_events events;
    uint32_t rank;
    uint32_t num_ranks; // 0: not started
    uint32_t sequence;
    struct weft_control_address *addresses; // (num_ranks)
    struct control_rank *ranks;             // (num_ranks)
    struct control_neighbour neighbours[MAX_NEIGHBOURS];
    int num_neighbours;
    int num_happened; // in this turn
    bool is_leaving;
    bool must_pass_on;           // the goodbye: some neighbour cannot hear it directly
    struct control_link *buried; // until the end of the turn
};

/* control.c */
/* Closes its links, freed at the end of the turn, and drops what waits for one. */
void weft_control_bury_links(struct control_neighbour *neighbour);
void weft_control_free_buried(struct weft_control *control);
/* Tells the other end of an open link that this rank leaves. */
void weft_control_say_left(struct weft_control *control, struct control_link *link);
/* From the door: a rank introduces itself. */
void weft_control_admit(void *user, struct weft_sealed **sealed, const unsigned char *data,
                        size_t bytes);

#endif
