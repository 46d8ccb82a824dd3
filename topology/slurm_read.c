/*
 * SPDX-License-Identifier: Apache-2.0
 * Slurm's topology.conf, for topology/tree (SwitchName) and topology/block (BlockName). All lines
 * are read first, since a switch may be named before its line; then parents and levels are found,
 * then the graph is built.
 *
 * What `scontrol show topology` prints is read too. A switch with Nodes is a leaf, the next level a
 * spine, what is above a core switch. Slurm knows no network ports, so each node is given one per
 * leaf it hangs on, HOST/to-LEAF, and a remark says so. What the graph has no place for is kept as
 * attributes: slurm.level, slurm.link_speed, slurm.label (from a comment "# NAME=LABEL" above the
 * line of NAME), slurm.block, slurm.block_label, slurm.block_index (the order of blocks matters)
 * and slurm.block_sizes.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "topology/forms.h"
#include "topology/hostlist.h"
#include "topology/lines.h"

enum {
    MAX_NAMES = 131072, // nodes and switches of all lists
    MAX_LEVELS = 48,
};

enum key { SWITCH_NAME, SWITCHES, NODES, LINK_SPEED, LEVEL, BLOCK_NAME, BLOCK_SIZES, NUM_KEYS };
static const char *const key_names[NUM_KEYS] = {"SwitchName", "Switches",  "Nodes",     "LinkSpeed",
                                                "Level",      "BlockName", "BlockSizes"};

/* One line of the file: a switch or a block. */
struct entry {
    int line;
    struct weft_span values[NUM_KEYS]; // at NULL: not given
    struct weft_span label;
    int parent; // entry; -1: none
    int level;
    int node; // of a switch
};

struct reader {
    struct weft_lines lines;
    char *text; // a copy that lines are joined in
    struct weft_topology *t;
    struct weft_topology *names; // node i is entry i: finds entries by name
    struct entry *entries;
    int count, room;
    struct weft_span block_sizes, label, labelled;
    int names_left;
    int *last_entry; // of each node of t: the entry that last named it, plus 1
    int room_last_entry;
    int num_blocks;
    int current; // entry whose list is being read
};

static bool is_word(struct weft_span span, const char *word)
{
    return span.bytes == strlen(word) && strncasecmp(span.at, word, span.bytes) == 0;
}

/* ---- lines ---- */

/* A comment "# NAME=LABEL" is for the next line that names NAME. */
static void remember_label(struct reader *r, struct weft_span comment)
{
    comment = weft_span_trim(comment);
    const char *equals = comment.bytes ? memchr(comment.at, '=', comment.bytes) : NULL;
    if (!equals)
        return;
    size_t bytes = (size_t)(equals - comment.at);
    r->labelled = (struct weft_span){comment.at, bytes};
    r->label = (struct weft_span){equals + 1, comment.bytes - bytes - 1};
}

/* The next line with its continuations, without comments. */
static bool next_line(struct reader *r, struct weft_span *line, int *number)
{
    if (!weft_lines_next(&r->lines))
        return false;
    *number = r->lines.number;
    *line = (struct weft_span){r->lines.line.at, 0};
    for (;;) {
        struct weft_span now = r->lines.line;
        const char *hash = now.bytes ? memchr(now.at, '#', now.bytes) : NULL;
        if (hash && hash == now.at)
            remember_label(r, (struct weft_span){hash + 1, now.bytes - 1});
        if (hash)
            now = weft_span_trim((struct weft_span){now.at, (size_t)(hash - now.at)});
        bool goes_on = now.bytes && now.at[now.bytes - 1] == '\\';
        now.bytes -= goes_on;
        // what a joined line skips (ends of lines, comments cut off) becomes blanks
        char *gap = r->text + (line->at - r->text) + line->bytes;
        if (now.bytes) {
            memset(gap, ' ', (size_t)(now.at - gap));
            line->bytes = (size_t)(now.at + now.bytes - line->at);
        }
        if (!goes_on || !weft_lines_next(&r->lines))
            break;
    }
    *line = weft_span_trim(*line);
    return true;
}

/* Takes KEY=VALUE off the front; false: there is none. */
static bool take_pair(struct weft_span *rest, struct weft_span *key, struct weft_span *value)
{
    *rest = weft_span_trim(*rest);
    const char *equals = rest->bytes ? memchr(rest->at, '=', rest->bytes) : NULL;
    if (!equals || equals == rest->at)
        return false;
    *key = weft_span_trim((struct weft_span){rest->at, (size_t)(equals - rest->at)});
    rest->bytes -= (size_t)(equals + 1 - rest->at);
    rest->at = equals + 1;
    if (!weft_span_quoted(rest, value))
        *value = weft_span_word(rest);
    for (size_t i = 0; i < key->bytes; i++)
        if (key->at[i] == ' ' || key->at[i] == '\t')
            return false;
    return key->bytes > 0 && value->bytes > 0;
}

static weft_status read_pairs(struct reader *r, struct weft_span rest, struct entry *entry)
{
    struct weft_span key, value;
    char text[80], shown[80];
    while (weft_span_trim(rest).bytes) {
        struct weft_span before = rest;
        if (!take_pair(&rest, &key, &value))
            return weft_lines_refuse(&r->lines, "expected KEY=VALUE at \"%s\"",
                                     weft_span_copy(weft_span_trim(before), text, sizeof text));
        int known = 0;
        while (known < NUM_KEYS && !is_word(key, key_names[known]))
            known++;
        if (known == NUM_KEYS) {
            WEFT_TRY(weft_topology_add_remark(r->t, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, -1,
                                              r->lines.error, "line %d: %s=%s", entry->line,
                                              weft_span_copy(key, text, sizeof text),
                                              weft_span_copy(value, shown, sizeof shown)));
            continue;
        }
        if (entry->values[known].at)
            return weft_lines_refuse(&r->lines, "%s is given twice", key_names[known]);
        entry->values[known] = value;
    }
    // as `scontrol show topology` prints it: all nodes below, not only those on the switch
    if (entry->values[LEVEL].at && entry->values[SWITCHES].at)
        entry->values[NODES] = (struct weft_span){0};
    return WEFT_OK;
}

/* What may stand with what. */
static weft_status check_entry(struct reader *r, const struct entry *e)
{
    const struct weft_span *v = e->values;
    bool is_switch = v[SWITCH_NAME].at, is_block = v[BLOCK_NAME].at;
    if (is_switch && is_block)
        return weft_lines_refuse(&r->lines, "SwitchName and BlockName in one line");
    if (v[BLOCK_SIZES].at && (is_switch || is_block))
        return weft_lines_refuse(&r->lines, "BlockSizes stands in a line of its own");
    if (!is_switch &&
        (v[SWITCHES].at || v[LINK_SPEED].at || v[LEVEL].at || (v[NODES].at && !is_block)))
        return weft_lines_refuse(&r->lines, "a list without SwitchName or BlockName");
    if (is_switch && !v[SWITCHES].at == !v[NODES].at)
        return weft_lines_refuse(&r->lines, v[NODES].at ? "a switch has Nodes or Switches, not both"
                                                        : "a switch without Nodes and Switches");
    struct weft_span name = is_switch ? v[SWITCH_NAME] : v[BLOCK_NAME];
    if (name.bytes > 200 ||
        (name.bytes && (memchr(name.at, '[', name.bytes) || memchr(name.at, ',', name.bytes))))
        return weft_lines_refuse(&r->lines, "the name of a switch or block is no list, and at most "
                                            "200 bytes long");
    for (size_t i = 0; i < name.bytes; i++)
        if (name.at[i] < 0x21 || name.at[i] > 0x7e)
            return weft_lines_refuse(&r->lines, "byte 0x%02x in the name of a switch or block",
                                     (unsigned)(unsigned char)name.at[i]);
    return WEFT_OK;
}

/* Names of switches and of blocks do not clash. */
static void write_key(char kind, struct weft_span name, char key[WEFT_TOPOLOGY_NAME_BYTES])
{
    key[0] = kind;
    weft_span_copy(name, key + 1, WEFT_TOPOLOGY_NAME_BYTES - 1);
}

static weft_status add_entry(struct reader *r, struct entry *entry)
{
    bool is_switch = entry->values[SWITCH_NAME].at != NULL;
    struct weft_span name = entry->values[is_switch ? SWITCH_NAME : BLOCK_NAME];
    char key[WEFT_TOPOLOGY_NAME_BYTES];
    if (r->labelled.bytes == name.bytes && memcmp(r->labelled.at, name.at, name.bytes) == 0)
        entry->label = r->label;
    write_key(is_switch ? 'S' : 'B', name, key);
    if (weft_topology_find_node(r->names, key) >= 0)
        return weft_lines_refuse(&r->lines, "two %s are named \"%.100s\"",
                                 is_switch ? "switches" : "blocks", key + 1);
    WEFT_TRY(weft_topology_add_node(r->names, WEFT_NODE_SWITCH, key, -1, NULL, r->lines.error));
    struct entry *entries = weft_array_grow(r->entries, r->count, &r->room, sizeof *entries);
    if (!entries)
        return weft_fail(r->lines.error, WEFT_OUT_OF_MEMORY, "%s: no memory", r->lines.name);
    r->entries = entries;
    r->entries[r->count++] = *entry;
    return WEFT_OK;
}

static weft_status read_lines(struct reader *r)
{
    struct weft_span line;
    int number;
    while (next_line(r, &line, &number)) {
        int last = r->lines.number;
        struct weft_span rest = line;
        if (line.bytes == 0)
            continue;
        r->lines.number = number; // errors name where it begins
        if (is_word(weft_span_word(&rest), "include"))
            return weft_lines_refuse(&r->lines, "included files are not read; join them into one");
        struct entry entry = {.line = number, .parent = -1};
        WEFT_TRY(read_pairs(r, line, &entry));
        WEFT_TRY(check_entry(r, &entry));
        if (entry.values[BLOCK_SIZES].at && r->block_sizes.at)
            return weft_lines_refuse(&r->lines, "BlockSizes is given twice");
        if (entry.values[BLOCK_SIZES].at)
            r->block_sizes = entry.values[BLOCK_SIZES];
        if (entry.values[SWITCH_NAME].at || entry.values[BLOCK_NAME].at)
            WEFT_TRY(add_entry(r, &entry));
        r->lines.number = last;
    }
    return WEFT_OK;
}

/* ---- the tree ---- */

static weft_status take_child(void *context, const char *name)
{
    struct reader *r = context;
    char key[WEFT_TOPOLOGY_NAME_BYTES];
    write_key('S', (struct weft_span){name, strlen(name)}, key);
    int child = weft_topology_find_node(r->names, key);
    if (child < 0)
        return weft_lines_refuse(&r->lines, "there is no switch \"%.100s\"", name);
    if (r->entries[child].parent >= 0)
        return weft_lines_refuse(&r->lines, "switch \"%.100s\" is already below the one of line %d",
                                 name, r->entries[r->entries[child].parent].line);
    r->entries[child].parent = r->current;
    return WEFT_OK;
}

static weft_status find_levels(struct reader *r)
{
    for (int i = 0; i < r->count; i++) {
        r->current = i;
        r->lines.number = r->entries[i].line;
        if (r->entries[i].values[SWITCHES].at)
            WEFT_TRY(weft_hostlist_read(&r->lines, r->entries[i].values[SWITCHES], &r->names_left,
                                        take_child, r));
    }
    for (int i = 0; i < r->count; i++) {
        int level = 0;
        for (int up = i; up >= 0; up = r->entries[up].parent, level++) {
            r->lines.number = r->entries[i].line;
            if (level > MAX_LEVELS)
                return weft_lines_refuse(
                    &r->lines, "over this switch are more than 48 levels, or it contains itself");
            if (r->entries[up].level < level)
                r->entries[up].level = level;
        }
    }
    return WEFT_OK;
}

/* ---- building ---- */

static weft_status set_span(struct reader *r, int node, const char *key, struct weft_span value)
{
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    return weft_topology_set_text(r->t, node, key, weft_span_copy(value, text, sizeof text),
                                  WEFT_SOURCE_FILE, r->lines.error);
}

static weft_status add_switches(struct reader *r)
{
    static const int kinds[] = {WEFT_NODE_LEAF, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH};
    for (int i = 0; i < r->count; i++) {
        struct entry *e = &r->entries[i];
        int64_t speed;
        struct weft_span number = e->values[LINK_SPEED];
        r->lines.number = e->line;
        if (!e->values[SWITCH_NAME].at)
            continue;
        WEFT_TRY(weft_lines_located(&r->lines,
                                    weft_topology_add_node(r->t, kinds[e->level > 2 ? 2 : e->level],
                                                           r->names->nodes[i].name + 1, -1,
                                                           &e->node, r->lines.error)));
        WEFT_TRY(weft_topology_set_number(r->t, e->node, "slurm.level", e->level, WEFT_SOURCE_FILE,
                                          r->lines.error));
        if (number.at && (!weft_span_number(&number, 0, INT32_MAX, &speed) || number.bytes))
            return weft_lines_refuse(&r->lines, "LinkSpeed is a number from 0 to 2147483647");
        if (number.at)
            WEFT_TRY(weft_topology_set_number(r->t, e->node, "slurm.link_speed", speed,
                                              WEFT_SOURCE_FILE, r->lines.error));
        if (e->label.bytes)
            WEFT_TRY(set_span(r, e->node, "slurm.label", e->label));
    }
    for (int i = 0; i < r->count; i++) {
        if (r->entries[i].parent < 0)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, r->entries[i].node,
                                               r->entries[r->entries[i].parent].node);
        WEFT_TRY(weft_topology_add_link(r->t, &link, NULL, r->lines.error));
    }
    return WEFT_OK;
}

/* The node's host, new or known, not yet named by this entry. */
static weft_status find_host(struct reader *r, const char *name, int *host)
{
    *host = weft_topology_find_node(r->t, name);
    if (*host >= 0 && r->t->nodes[*host].kind != WEFT_NODE_HOST)
        return weft_lines_refuse(&r->lines, "\"%.100s\" is both a switch and a node", name);
    if (*host < 0)
        WEFT_TRY(weft_lines_located(&r->lines, weft_topology_add_node(r->t, WEFT_NODE_HOST, name,
                                                                      -1, host, r->lines.error)));
    if (*host >= r->room_last_entry) {
        int room = *host * 2 + 64;
        int *last_entry = realloc(r->last_entry, (size_t)room * sizeof *last_entry);
        if (!last_entry)
            return weft_fail(r->lines.error, WEFT_OUT_OF_MEMORY, "%s: no memory", r->lines.name);
        memset(last_entry + r->room_last_entry, 0,
               (size_t)(room - r->room_last_entry) * sizeof *last_entry);
        r->last_entry = last_entry;
        r->room_last_entry = room;
    }
    if (r->last_entry[*host] == r->current + 1)
        return weft_lines_refuse(&r->lines, "node \"%.100s\" is in the list twice", name);
    r->last_entry[*host] = r->current + 1;
    return WEFT_OK;
}

static weft_status take_leaf_node(void *context, const char *name)
{
    struct reader *r = context;
    int host, nic, leaf = r->entries[r->current].node;
    char nic_name[2 * WEFT_TOPOLOGY_NAME_BYTES];
    WEFT_TRY(find_host(r, name, &host));
    snprintf(nic_name, sizeof nic_name, "%s/to-%s", name, r->t->nodes[leaf].name);
    WEFT_TRY(weft_lines_located(&r->lines, weft_topology_add_node(r->t, WEFT_NODE_NIC, nic_name,
                                                                  host, &nic, r->lines.error)));
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, nic, leaf);
    return weft_topology_add_link(r->t, &link, NULL, r->lines.error);
}

static weft_status take_block_node(void *context, const char *name)
{
    struct reader *r = context;
    int host;
    WEFT_TRY(find_host(r, name, &host));
    const char *other = weft_topology_text(r->t, host, "slurm.block");
    if (other)
        return weft_lines_refuse(&r->lines, "node \"%.100s\" is already in block \"%.60s\"", name,
                                 other);
    WEFT_TRY(set_span(r, host, "slurm.block", r->entries[r->current].values[BLOCK_NAME]));
    WEFT_TRY(weft_topology_set_number(r->t, host, "slurm.block_index", r->num_blocks,
                                      WEFT_SOURCE_FILE, r->lines.error));
    if (r->entries[r->current].label.bytes)
        WEFT_TRY(set_span(r, host, "slurm.block_label", r->entries[r->current].label));
    if (r->block_sizes.at)
        WEFT_TRY(set_span(r, host, "slurm.block_sizes", r->block_sizes));
    return WEFT_OK;
}

static weft_status build(struct reader *r)
{
    bool has_leaf = false;
    WEFT_TRY(find_levels(r));
    WEFT_TRY(add_switches(r));
    for (int i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        bool is_block = e->values[BLOCK_NAME].at != NULL;
        r->current = i;
        r->lines.number = e->line;
        if (is_block && !e->values[NODES].at)
            WEFT_TRY(weft_topology_add_remark(r->t, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, -1,
                                              r->lines.error, "line %d: block \"%.60s\" is empty",
                                              e->line, r->names->nodes[i].name + 1));
        if (e->values[NODES].at)
            WEFT_TRY(weft_hostlist_read(&r->lines, e->values[NODES], &r->names_left,
                                        is_block ? take_block_node : take_leaf_node, r));
        has_leaf |= !is_block && e->values[NODES].at;
        r->num_blocks += is_block;
    }
    if (!has_leaf)
        return WEFT_OK;
    return weft_topology_add_remark(
        r->t, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, r->lines.error,
        "Slurm names no network ports: each node was given one per leaf switch");
}

static weft_status read_slurm(const char *text, size_t bytes, const char *name,
                              struct weft_topology *topology, struct weft_error *error)
{
    struct reader r = {.text = malloc(bytes + 1), .t = topology, .names_left = MAX_NAMES};
    if (!r.text)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", name);
    memcpy(r.text, text, bytes);
    r.text[bytes] = '\0';
    r.lines = weft_lines_start(r.text, name, error);
    weft_status status = weft_topology_create(&r.names, error);
    if (status == WEFT_OK)
        status = read_lines(&r);
    if (status == WEFT_OK)
        status = build(&r);
    weft_topology_destroy(&r.names);
    free(r.entries);
    free(r.last_entry);
    free(r.text);
    return status;
}

/* The first line that is neither empty nor a comment. */
static bool matches_slurm(const char *text)
{
    static const int starts[] = {SWITCH_NAME, BLOCK_NAME, BLOCK_SIZES};
    struct weft_lines lines = weft_lines_start(text, "", NULL);
    while (weft_lines_next(&lines)) {
        struct weft_span key, value;
        if (lines.line.bytes == 0 || lines.line.at[0] == '#')
            continue;
        if (!take_pair(&lines.line, &key, &value))
            return false;
        for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
            if (is_word(key, key_names[starts[i]]))
                return true;
        return false;
    }
    return false;
}

const struct weft_importer weft_importer_slurm = {
    .name = "slurm",
    .description = "Slurm's topology.conf (tree or block)",
    .matches = matches_slurm,
    .read = read_slurm,
};
