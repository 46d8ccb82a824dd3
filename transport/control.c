/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane. A pair of neighbours has one link, made by the lower rank; if that does not
 * come up soon, the higher one connects too, so that somebody finds out when a rank died before it
 * connected to anyone (then a pair may have two, which does no harm). A process that is merely slow
 * never looks dead: its kernel accepts connections for it, and there is no deadline after that.
 *
 * Flooding. A rank forwards each notice the first time it hears it, to all neighbours but the one
 * it came from. Links keep order, so notices of one origin arrive in order and the highest sequence
 * number tells what is new. Deaths and departures are facts about a rank: known or not, whoever
 * says so.
 */
#include "transport/control_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/bytes.h"

enum { QUEUE_LIMIT_BYTES = 1 << 20, REFUSALS_THAT_KILL = 3 };
static const int64_t reach_ns = 2000000000; // to get a connection
static const int64_t retry_ns = 30000000;
static const int64_t refused_ns = 300000000; // a goodbye may still be on its way, through others

/* ---- sending ---- */

static bool keep_in_queue(struct control_neighbour *neighbour, const unsigned char *message,
                          size_t bytes)
{
    size_t needed = neighbour->queue_bytes + bytes + 2;
    if (needed > neighbour->queue_capacity) {
        size_t capacity = needed * 2;
        unsigned char *queue = realloc(neighbour->queue, capacity);
        if (!queue)
            return false;
        neighbour->queue = queue;
        neighbour->queue_capacity = capacity;
    }
    struct weft_writer writer = {neighbour->queue + neighbour->queue_bytes, bytes + 2, false};
    weft_put_integer(&writer, bytes, 2);
    weft_put(&writer, message, bytes);
    neighbour->queue_bytes = needed;
    return true;
}

static void send_to(struct control_neighbour *neighbour, const unsigned char *message, size_t bytes,
                    bool must_arrive)
{
    struct control_link *link = neighbour->sender;
    if (neighbour->control->ranks[neighbour->rank].life != ALIVE)
        return;
    size_t queued = link ? weft_sealed_queued_bytes(link->sealed) : neighbour->queue_bytes;
    // Facts about ranks are at most one per rank; everything else can be cut off.
    if (queued + bytes > QUEUE_LIMIT_BYTES && !must_arrive) {
        if (!neighbour->was_dropping)
            WEFT_LOG(WEFT_LOG_WARN, "rank %u takes no notices; further ones to it are dropped",
                     neighbour->rank);
        neighbour->was_dropping = true;
        return;
    }
    bool kept = link ? weft_sealed_send(link->sealed, message, bytes, NULL) == WEFT_OK
                     : keep_in_queue(neighbour, message, bytes);
    if (!kept)
        WEFT_LOG(WEFT_LOG_ERROR, "no memory for a notice to rank %u", neighbour->rank);
}

static void flood(struct weft_control *control, const struct weft_control_message *value,
                  const struct control_neighbour *from)
{
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(value, message);
    bool is_fact = value->type == WEFT_CONTROL_LEFT || value->notice.kind == WEFT_NOTICE_DEATH;
    for (int i = 0; i < control->num_neighbours; i++)
        if (&control->neighbours[i] != from)
            send_to(&control->neighbours[i], message, bytes, is_fact);
}

static void send_queue(struct control_neighbour *neighbour)
{
    struct weft_reader reader = {neighbour->queue, neighbour->queue_bytes, false};
    while (reader.left > 0) {
        size_t bytes = weft_take_integer(&reader, 2);
        const unsigned char *message = weft_take(&reader, bytes);
        assert(message);
        if (weft_sealed_send(neighbour->sender->sealed, message, bytes, NULL) != WEFT_OK)
            WEFT_LOG(WEFT_LOG_ERROR, "no memory for a notice to rank %u", neighbour->rank);
    }
    free(neighbour->queue);
    neighbour->queue = NULL;
    neighbour->queue_bytes = neighbour->queue_capacity = 0;
}

/* ---- links ---- */

static void bury_link(struct control_link *link)
{
    struct control_neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    if (neighbour->sender == link)
        neighbour->sender = NULL;
    neighbour->links[link->direction] = NULL;
    weft_sealed_close(&link->sealed);
    link->next_buried = control->buried;
    control->buried = link;
}

void weft_control_bury_links(struct control_neighbour *neighbour)
{
    for (int i = 0; i < 2; i++)
        if (neighbour->links[i])
            bury_link(neighbour->links[i]);
    free(neighbour->queue);
    neighbour->queue = NULL;
    neighbour->queue_bytes = neighbour->queue_capacity = 0;
}

void weft_control_free_buried(struct weft_control *control)
{
    while (control->buried) {
        struct control_link *link = control->buried;
        control->buried = link->next_buried;
        free(link);
    }
}

void weft_control_say_left(struct weft_control *control, struct control_link *link)
{
    struct weft_control_message value = {
        .type = WEFT_CONTROL_LEFT, .rank = control->rank, .forward = control->must_pass_on};
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(&value, message);
    // Without memory for it the neighbour will believe in a death, which is the safe side.
    weft_status ignored = weft_sealed_send(link->sealed, message, bytes, NULL);
    (void)ignored;
}

/* ---- facts about ranks ---- */

/* `from`: who said so, NULL: this rank itself found out. */
static void learn_death(struct weft_control *control, const struct weft_control_message *value,
                        const struct control_neighbour *from, bool tell_user)
{
    struct control_rank *state = &control->ranks[value->notice.subject];
    if (state->life != ALIVE)
        return;
    flood(control, value, from);
    state->life = DEAD;
    control->num_happened++;
    if (tell_user && !control->is_leaving)
        control->events.notice(control->events.user, &value->notice);
}

static struct weft_control_message make_notice(struct weft_control *control,
                                               const struct weft_notice *notice)
{
    struct weft_control_message value = {.type = WEFT_CONTROL_NOTICE,
                                         .rank = control->rank,
                                         .sequence = ++control->sequence,
                                         .notice = *notice};
    value.notice.text[sizeof value.notice.text - 1] = '\0';
    return value;
}

static void find_dead(struct control_neighbour *neighbour, const char *reason)
{
    struct weft_control *control = neighbour->control;
    const struct weft_control_address *address = &control->addresses[neighbour->rank];
    struct weft_notice notice = {
        .kind = WEFT_NOTICE_DEATH, .subject = (int32_t)neighbour->rank, .status = WEFT_REMOTE};
    if (control->ranks[neighbour->rank].life == ALIVE) {
        snprintf(notice.text, sizeof notice.text, "rank %u (pid %u on %s) died: %.120s",
                 neighbour->rank, address->pid, address->host, reason);
        struct weft_control_message value = make_notice(control, &notice);
        learn_death(control, &value, neighbour, true);
    }
    neighbour->connect_at_ns = INT64_MAX;
    // Should it live after all, it must not take this rank for dead, which only broke with it.
    for (int i = 0; i < 2; i++)
        if (neighbour->links[i] && weft_sealed_is_open(neighbour->links[i]->sealed))
            weft_control_say_left(control, neighbour->links[i]);
    weft_control_bury_links(neighbour);
}

/* Nobody listens there: dead, or gone. Those who leave say so to everybody that they are joined to,
 * who pass it on; that may take longer than three refusals. */
static void count_refusal(struct control_neighbour *neighbour, const char *reason)
{
    int64_t now = weft_clock_ns();
    if (neighbour->num_refusals++ == 0)
        neighbour->refused_since_ns = now;
    if (neighbour->num_refusals >= REFUSALS_THAT_KILL &&
        now >= neighbour->refused_since_ns + refused_ns)
        find_dead(neighbour, reason);
    else
        neighbour->connect_at_ns = now + retry_ns;
}

static void learn_departure(struct weft_control *control, const struct weft_control_message *value,
                            const struct control_neighbour *from)
{
    struct control_rank *state = &control->ranks[value->rank];
    if (state->life != ALIVE || value->rank == control->rank)
        return;
    if (value->forward)
        flood(control, value, from);
    state->life = LEFT;
    control->num_happened++;
}

/* ---- messages ---- */

static weft_status on_message(struct control_link *link, const unsigned char *data, size_t bytes,
                              struct weft_error *error)
{
    struct control_neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    struct weft_control_message value;
    WEFT_TRY(weft_control_read(data, bytes, control->num_ranks, &value, error));
    if (value.type == WEFT_CONTROL_HELLO) {
        if (link->is_up || value.rank != neighbour->rank || value.num_ranks != control->num_ranks)
            return weft_fail(error, WEFT_INVALID_FORMAT, "a wrong introduction");
        link->is_up = true;
        neighbour->connect_at_ns = INT64_MAX;
        if (!neighbour->sender) {
            neighbour->sender = link;
            send_queue(neighbour);
        }
        control->num_happened++;
        return WEFT_OK;
    }
    if (!link->is_up)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message before the introduction");
    if (value.type == WEFT_CONTROL_LEFT) {
        learn_departure(control, &value, neighbour);
    } else if (value.notice.kind == WEFT_NOTICE_DEATH) {
        learn_death(control, &value, neighbour, true);
    } else if (value.rank != control->rank &&
               value.sequence > control->ranks[value.rank].sequence) {
        control->ranks[value.rank].sequence = value.sequence;
        flood(control, &value, neighbour);
        control->num_happened++;
        if (!control->is_leaving)
            control->events.notice(control->events.user, &value.notice);
    }
    return WEFT_OK;
}

/* Takes what has come on an open link. IN_PROGRESS: all, or enough for one turn; else: its end. */
static weft_status take_messages(struct control_link *link, struct weft_error *why)
{
    const unsigned char *data;
    size_t bytes;
    weft_status status = WEFT_OK;
    while (status == WEFT_OK) {
        status = weft_sealed_receive(link->sealed, &data, &bytes, why);
        if (status == WEFT_OK)
            status = on_message(link, data, bytes, why);
    }
    return status;
}

/* A pair with two links: before the end of one is a death, what the other has brought is heard.
 * That it may be lost, too, changes nothing. */
static void hear_other(const struct control_link *link)
{
    struct control_link *other = link->neighbour->links[!link->direction];
    struct weft_error why;
    if (other && weft_sealed_is_open(other->sealed) &&
        weft_sealed_progress(other->sealed, &why) == WEFT_OK)
        (void)!take_messages(other, &why);
}

static void lose_link(struct control_link *link, weft_status status, const char *reason)
{
    struct control_neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    char text[200];
    control->num_happened++;
    bool is_end = link->is_up || status == WEFT_PERMISSION || status == WEFT_INVALID_FORMAT;
    if (is_end && control->ranks[neighbour->rank].life == ALIVE)
        hear_other(link);
    if (control->ranks[neighbour->rank].life != ALIVE) {
        bury_link(link); // a notice may still lie in the other one
    } else if (is_end) {
        snprintf(text, sizeof text, "%s%.150s",
                 status == WEFT_INVALID_FORMAT ? "protocol violation: " : "", reason);
        find_dead(neighbour, text);
    } else {
        // It may have been dropped in a flood of strangers; a refusal means that nobody listens.
        bool was_refused = !weft_sealed_is_connected(link->sealed);
        bury_link(link);
        if (was_refused)
            count_refusal(neighbour, reason);
        else
            neighbour->connect_at_ns = weft_deadline_after(retry_ns);
    }
}

static void say_hello(struct weft_control *control, struct control_link *link)
{
    struct weft_control_message value = {
        .type = WEFT_CONTROL_HELLO, .rank = control->rank, .num_ranks = control->num_ranks};
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(&value, message);
    if (weft_sealed_send(link->sealed, message, bytes, NULL) != WEFT_OK)
        WEFT_LOG(WEFT_LOG_ERROR, "no memory for a message to rank %u", link->neighbour->rank);
    if (control->is_leaving)
        weft_control_say_left(control, link);
}

static void serve_link(struct weft_watch *watch)
{
    struct control_link *link = (struct control_link *)watch;
    struct weft_error why;
    if (!link->sealed)
        return;
    bool was_open = weft_sealed_is_open(link->sealed);
    weft_status status = weft_sealed_progress(link->sealed, &why);
    if (weft_sealed_is_connected(link->sealed))
        link->neighbour->reach_until_ns = INT64_MAX;
    if (status == WEFT_OK && !was_open)
        say_hello(link->neighbour->control, link);
    if (status == WEFT_OK)
        status = take_messages(link, &why);
    if (status != WEFT_IN_PROGRESS)
        lose_link(link, status, why.text);
}

static struct control_link *make_link(struct control_neighbour *neighbour,
                                      enum control_direction direction)
{
    struct control_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->watch.ready = serve_link;
    link->neighbour = neighbour;
    link->direction = direction;
    return link;
}

void weft_control_admit(void *user, struct weft_sealed **sealed, const unsigned char *data,
                        size_t bytes)
{
    struct weft_control *control = user;
    struct weft_control_message value;
    if (weft_control_read(data, bytes, control->num_ranks, &value, NULL) != WEFT_OK ||
        value.type != WEFT_CONTROL_HELLO)
        return;
    struct control_neighbour *neighbour = NULL;
    for (int i = 0; i < control->num_neighbours && !neighbour; i++)
        if (control->neighbours[i].rank == value.rank)
            neighbour = &control->neighbours[i];
    if (!neighbour || control->ranks[value.rank].life != ALIVE || neighbour->links[INWARD])
        return;
    struct control_link *link = make_link(neighbour, INWARD);
    if (!link)
        return;
    neighbour->links[INWARD] = link;
    link->sealed = *sealed;
    *sealed = NULL;
    weft_sealed_set_watch(link->sealed, &link->watch);
    say_hello(control, link);
    struct weft_error why;
    weft_status status = on_message(link, data, bytes, &why);
    if (status != WEFT_OK)
        lose_link(link, status, why.text);
    else
        serve_link(&link->watch); // more may have come behind it, which wakes nobody
}

/* ---- turns ---- */

static void connect_to(struct control_neighbour *neighbour, int64_t now)
{
    struct weft_control *control = neighbour->control;
    const struct weft_control_address *address = &control->addresses[neighbour->rank];
    struct weft_error why;
    int connection;
    neighbour->connect_at_ns = now + retry_ns;
    struct control_link *link = make_link(neighbour, OUTWARD);
    if (!link)
        return;
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_CLIENT,
                                          .secret = address->key,
                                          .purpose = WEFT_CONTROL_PURPOSE,
                                          .epoll = control->epoll,
                                          .watch = &link->watch,
                                          .frame_limit = WEFT_CONTROL_MESSAGE_LIMIT};
    weft_status status = weft_endpoint_connect(&address->endpoint, &connection, &why);
    if (status == WEFT_OK)
        status = weft_sealed_open(connection, true, &options, &link->sealed, &why);
    if (status != WEFT_OK) {
        free(link);
        if (status == WEFT_REMOTE)
            count_refusal(neighbour, why.text);
        return;
    }
    neighbour->links[OUTWARD] = link;
    neighbour->connect_at_ns = INT64_MAX;
    if (neighbour->reach_until_ns == INT64_MAX && neighbour->num_refusals == 0)
        neighbour->reach_until_ns = now + reach_ns;
}

/* What time alone brings. Returns when to look again. */
static int64_t keep_deadlines(struct weft_control *control, int64_t now)
{
    int64_t at = weft_door_deadline(control->door);
    for (int i = 0; i < control->num_neighbours; i++) {
        struct control_neighbour *neighbour = &control->neighbours[i];
        if (control->ranks[neighbour->rank].life != ALIVE || neighbour->sender)
            continue;
        if (now >= neighbour->reach_until_ns)
            find_dead(neighbour, "it cannot be reached");
        else if (now >= neighbour->connect_at_ns)
            connect_to(neighbour, now);
        if (control->ranks[neighbour->rank].life != ALIVE)
            continue;
        at = neighbour->connect_at_ns < at ? neighbour->connect_at_ns : at;
        at = neighbour->reach_until_ns < at ? neighbour->reach_until_ns : at;
    }
    return at;
}

int weft_control_progress(struct weft_control *control)
{
    if (control->num_ranks == 0 || weft_watch_turn(control->epoll) == 0)
        return 0;
    int64_t now = weft_clock_ns();
    weft_door_settle(control->door, now);
    weft_timer_set(&control->timer, keep_deadlines(control, now));
    weft_control_free_buried(control);
    int happened = control->num_happened;
    control->num_happened = 0;
    return happened;
}

int weft_control_descriptor(const struct weft_control *control)
{
    return control->epoll;
}

int weft_control_is_connected(const struct weft_control *control)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (!control->neighbours[i].sender &&
            control->ranks[control->neighbours[i].rank].life == ALIVE)
            return 0;
    return 1;
}

int weft_control_is_dead(const struct weft_control *control, int rank)
{
    return rank >= 0 && (uint32_t)rank < control->num_ranks && control->ranks[rank].life == DEAD;
}

void weft_control_post(struct weft_control *control, const struct weft_notice *notice)
{
    if (control->num_ranks == 0 || notice->subject < 0 ||
        (uint32_t)notice->subject >= control->num_ranks)
        return;
    struct weft_control_message value = make_notice(control, notice);
    if (notice->kind == WEFT_NOTICE_DEATH)
        learn_death(control, &value, NULL, false);
    else
        flood(control, &value, NULL);
}
