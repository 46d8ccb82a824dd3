/*
 * SPDX-License-Identifier: Apache-2.0
 * Reads what `ibnetdiscover` prints, a whole InfiniBand subnet as seen from one port, and the net
 * files of ibsim, the simulator of such subnets: the same records of a device and a line for each
 * cabled port, but with names in place of GUIDs, and widths and speeds as options. By example:
 *
 *   sysimgguid=0x2c5eab0300b87b40                      assignments, for the record that follows
 *   switchguid=0x2c5eab0300b87b40(2c5eab0300b87b40)
 *   Switch 65 "S-2c5eab0300b87b40"  # "sw1" enhanced port 0 lid 73 lmc 0
 *   [1] "H-e09d7303007a4bd8"[1](e09d7303007a4bd8)  # "host mlx5_0" lid 647 4xNDR
 *
 *   Ca 1 "H-e09d7303007a4bd8"  # "host mlx5_0"
 *   [1](e09d7303007a4bd8) "S-2c5eab0300b87b40"[1]  # lid 647 lmc 0 "sw1" lid 73 4xNDR
 */
#include <ctype.h>
#include <string.h>

#include "topology/fabric.h"
#include "topology/forms.h"
#include "topology/lines.h"

struct unread {
    int count, line;
    char first[80];
};

struct reader {
    struct weft_lines lines;
    struct weft_fabric *fabric;
    struct weft_error *error;
    bool is_simulator;
    int device;                        // of the record, -1: outside
    struct weft_fabric_device next;    // what assignments said about the record to come
    char prefix[64];                   // ibsim: module
    char id[WEFT_TOPOLOGY_NAME_BYTES]; // of the device that was referred to last
    int64_t width, speed, extended;    // ibsim: masks for all ports; -1: not stated
    struct unread unread;
};

static void note_unread(struct reader *r)
{
    if (r->unread.count++ > 0)
        return;
    r->unread.line = r->lines.number;
    weft_span_copy(r->lines.line, r->unread.first, sizeof r->unread.first);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes up to 16 hex digits, with or without 0x, off the front. */
static bool take_hex(struct weft_span *rest, uint64_t *number)
{
    uint64_t value = 0;
    size_t digits = 0;
    struct weft_span span = *rest;
    if (!weft_span_take(&span, "0x"))
        weft_span_take(&span, "0X");
    for (; digits < span.bytes && hex_digit(span.at[digits]) >= 0; digits++) {
        if (digits == 16)
            return false;
        value = value << 4 | (uint64_t)hex_digit(span.at[digits]);
    }
    if (digits == 0)
        return false;
    *rest = (struct weft_span){span.at + digits, span.bytes - digits};
    *number = value;
    return true;
}

/* ---- assignments ---- */

/* The masks of ibsim: bits from the slowest to the fastest. */
static int64_t width_of_mask(int64_t mask)
{
    // net files also say 4 and 12 for what they mean; as masks these would be 8x and 8x with 12x
    if (mask == 4 || mask == 12 || mask == 1)
        return mask;
    static const int lanes[] = {1, 4, 8, 12};
    int64_t widest = mask & 16 ? 2 : 0;
    for (int bit = 0; bit < 4; bit++)
        if (mask >> bit & 1 && lanes[bit] > widest)
            widest = lanes[bit];
    return widest;
}

static int64_t bandwidth_of_masks(int64_t width, int64_t speed, int64_t extended)
{
    static const char *const speeds[] = {"SDR", "DDR", "QDR"};
    static const char *const faster[] = {"FDR", "EDR", "HDR", "NDR"};
    if (width < 0 && speed < 0 && extended < 0)
        return -1; // the simulator's default says nothing about a fabric
    const char *rate = "SDR";
    for (int bit = 0; bit < 3; bit++)
        if (speed > 0 && speed >> bit & 1)
            rate = speeds[bit];
    for (int bit = 0; bit < 4; bit++)
        if (extended > 0 && extended >> bit & 1)
            rate = faster[bit];
    struct weft_span span = {rate, strlen(rate)};
    return width_of_mask(width < 0 ? 2 : width) * weft_fabric_lane_bandwidth(span);
}

static weft_status read_mask(struct reader *r, struct weft_span *rest, const char *what,
                             int64_t low, int64_t high, int64_t *mask)
{
    if (!weft_span_number(rest, low, high, mask) ||
        (rest->bytes && !isspace((unsigned char)rest->at[0])))
        return weft_lines_refuse(&r->lines, "%s is no number from %lld to %lld", what,
                                 (long long)low, (long long)high);
    return WEFT_OK;
}

static weft_status read_guid(struct reader *r, struct weft_span rest, const char *key,
                             uint64_t *guid)
{
    if (!take_hex(&rest, guid))
        return weft_lines_refuse(&r->lines, "%s is no number of at most 16 hex digits", key);
    rest = weft_span_trim(rest);
    uint64_t port;
    if (weft_span_take(&rest, "(") && (!take_hex(&rest, &port) || !weft_span_take(&rest, ")")))
        return weft_lines_refuse(&r->lines, "%s is not followed by the (GUID) of a port", key);
    if (rest.bytes)
        note_unread(r);
    return WEFT_OK;
}

static weft_status read_module(struct reader *r, struct weft_span rest)
{
    struct weft_span name;
    if (!weft_span_quoted(&rest, &name) || name.bytes >= sizeof r->prefix - 1)
        return weft_lines_refuse(&r->lines, "module needs a \"name\" of at most 62 characters");
    weft_span_copy(name, r->prefix, sizeof r->prefix);
    return WEFT_OK;
}

/* KEY=VALUE. Unknown keys are noted, not refused. */
static weft_status read_assignment(struct reader *r, struct weft_span key, struct weft_span value)
{
    uint64_t number = 0;
    if (weft_span_is(key, "vendid") || weft_span_is(key, "devid")) {
        bool is_vendor = key.at[0] == 'v';
        WEFT_TRY(read_guid(r, value, is_vendor ? "vendid" : "devid", &number));
        if (number > INT32_MAX)
            return weft_lines_refuse(&r->lines, "an identifier of more than 31 bits");
        *(is_vendor ? &r->next.vendor_id : &r->next.device_id) = (int64_t)number;
        return WEFT_OK;
    }
    if (weft_span_is(key, "sysimgguid"))
        return read_guid(r, value, "sysimgguid", &r->next.system_guid);
    if (weft_span_is(key, "switchguid") || weft_span_is(key, "caguid") ||
        weft_span_is(key, "rtguid"))
        return read_guid(r, value, "the GUID", &r->next.node_guid);
    if (r->is_simulator && weft_span_is(key, "module"))
        return read_module(r, value);
    if (r->is_simulator && weft_span_is(key, "width"))
        return read_mask(r, &value, "width", 1, 31, &r->width);
    if (r->is_simulator && weft_span_is(key, "speed"))
        return read_mask(r, &value, "speed", 1, 7, &r->speed);
    if (r->is_simulator && weft_span_is(key, "extspeed"))
        return read_mask(r, &value, "extspeed", 0, 15, &r->extended);
    note_unread(r);
    return WEFT_OK;
}

/* ---- records ---- */

/* The device that a net file calls `id`: within a module ids have its name before them. */
static weft_status refer(struct reader *r, struct weft_span id, int *device)
{
    char *full = r->id;
    if (id.bytes == 0 || id.bytes > 180)
        return weft_lines_refuse(&r->lines, "a name of %zu characters, not 1 to 180", id.bytes);
    weft_span_copy(id, full, sizeof r->id);
    if (strchr(full, '@') && r->is_simulator)
        return weft_lines_refuse(&r->lines, "\"%.60s\" is an alias; aliases are not supported",
                                 full);
    size_t length = strlen(r->prefix);
    if (length > 0 && !strchr(full, '#')) {
        memmove(full + length + 1, full, strlen(full) + 1);
        memcpy(full, r->prefix, length);
        full[length] = '#';
        id = (struct weft_span){full, strlen(full)};
    }
    return weft_lines_located(&r->lines, weft_fabric_refer(r->fabric, id, device, r->error));
}

/* What stands between the first and the last quote of a comment: descriptions may hold quotes. */
static bool take_description(struct weft_span *rest, struct weft_span *description)
{
    const char *start = memchr(rest->at, '"', rest->bytes);
    const char *end = start ? memrchr(rest->at, '"', rest->bytes) : NULL;
    if (!start || end == start)
        return false;
    *description = weft_span_trim((struct weft_span){start + 1, (size_t)(end - start) - 1});
    rest->bytes -= (size_t)(end + 1 - rest->at);
    rest->at = end + 1;
    return true;
}

/* "... lid 73 ...": the number after the first such word. */
static int number_after(struct weft_span rest, const char *word, int high)
{
    for (struct weft_span found = weft_span_word(&rest); found.bytes;
         found = weft_span_word(&rest)) {
        int64_t number;
        struct weft_span value;
        if (!weft_span_is(found, word))
            continue;
        value = weft_span_word(&rest);
        return weft_span_number(&value, 0, high, &number) && !value.bytes ? (int)number : -1;
    }
    return -1;
}

static weft_status read_header(struct reader *r, enum weft_fabric_role role, struct weft_span rest)
{
    struct weft_span id, comment;
    int64_t num_ports;
    rest = weft_span_trim(rest);
    if (!weft_span_number(&rest, 1, WEFT_FABRIC_MAX_PORT, &num_ports))
        return weft_lines_refuse(&r->lines, "a device needs a number of ports from 1 to %d",
                                 WEFT_FABRIC_MAX_PORT);
    if (!weft_span_quoted(&rest, &id))
        return weft_lines_refuse(&r->lines, "a device needs a \"name\" after its number of ports");
    WEFT_TRY(refer(r, id, &r->device));
    struct weft_fabric_device about = r->next;
    about.role = role;
    about.num_ports = (int)num_ports;
    rest = weft_span_trim(rest);
    if (weft_span_take(&rest, "#"))
        take_description(&rest, &about.description);
    else if (rest.bytes)
        return weft_lines_refuse(&r->lines, "something other than a comment after the name");
    comment = rest;
    about.lid = number_after(comment, "lid", 65535);
    if (memmem(comment.at, comment.bytes, "enhanced port 0", 15))
        about.enhanced_port0 = 1;
    else if (memmem(comment.at, comment.bytes, "base port 0", 11))
        about.enhanced_port0 = 0;
    if (!about.node_guid && id.bytes == 18 && id.at[1] == '-') {
        struct weft_span digits = {id.at + 2, 16};
        if (!take_hex(&digits, &about.node_guid))
            about.node_guid = 0;
    }
    if (!about.description.bytes && r->is_simulator && !about.node_guid)
        about.description = (struct weft_span){
            r->id, strlen(r->id)}; // which is what the simulated device then says of itself
    r->next = weft_fabric_device_make(WEFT_FABRIC_UNDECLARED);
    return weft_lines_located(&r->lines,
                              weft_fabric_declare(r->fabric, r->device, &about, r->error));
}

/* "(GUID)" */
static bool take_port_guid(struct weft_span *rest, uint64_t *guid)
{
    struct weft_span span = *rest;
    if (!weft_span_take(&span, "(") || !take_hex(&span, guid) || !weft_span_take(&span, ")"))
        return false;
    *rest = span;
    return true;
}

static bool take_port_number(struct weft_span *rest, int *port)
{
    int64_t number;
    struct weft_span span = weft_span_trim(*rest);
    if (!weft_span_take(&span, "["))
        return false;
    span = weft_span_trim(span);
    if (!weft_span_number(&span, 0, 1 << 20, &number))
        return false;
    span = weft_span_trim(span);
    if (!weft_span_take(&span, "]"))
        return false;
    *rest = span;
    *port = (int)number;
    return true;
}

/* "[ext 3]": the number that is printed on the box of a chassis. */
static void skip_external_number(struct weft_span *rest)
{
    struct weft_span span = weft_span_trim(*rest);
    const char *end;
    if (weft_span_take(&span, "[ext") && (end = memchr(span.at, ']', span.bytes)))
        *rest = (struct weft_span){end + 1, span.bytes - (size_t)(end + 1 - span.at)};
}

/* ibsim's "w=4 s=2 e=1" */
static weft_status read_options(struct reader *r, struct weft_span *rest,
                                struct weft_fabric_port *p)
{
    int64_t width = r->width, speed = r->speed, extended = r->extended;
    for (;;) {
        *rest = weft_span_trim(*rest);
        if (weft_span_take(rest, "w="))
            WEFT_TRY(read_mask(r, rest, "w", 1, 31, &width));
        else if (weft_span_take(rest, "s="))
            WEFT_TRY(read_mask(r, rest, "s", 0, 7, &speed));
        else if (weft_span_take(rest, "e="))
            WEFT_TRY(read_mask(r, rest, "e", 0, 15, &extended));
        else
            break;
    }
    if (speed == 0)
        speed = 4;
    p->current = bandwidth_of_masks(width, speed, extended);
    return WEFT_OK;
}

/* What ibnetdiscover puts into the comment: the lid of the port itself (adapters only), then the
 * description, lid, width and rate of the other side. */
static void read_comment(struct reader *r, struct weft_span rest, struct weft_fabric_port *p)
{
    const char *quote = memchr(rest.at, '"', rest.bytes);
    if (quote)
        p->lid = number_after((struct weft_span){rest.at, (size_t)(quote - rest.at)}, "lid", 65535);
    struct weft_span description, word, last = {0};
    if (!take_description(&rest, &description))
        return;
    int64_t number;
    while ((word = weft_span_word(&rest)).bytes) {
        struct weft_span digits = word;
        if (weft_span_number(&digits, 1, 12, &number) && digits.bytes && digits.at[0] == 'x')
            last = word;
    }
    int64_t current = last.bytes ? weft_fabric_bandwidth(last) : -1;
    if (last.bytes && current < 0)
        note_unread(r);
    if (current >= 0)
        p->current = current;
}

static weft_status read_port(struct reader *r)
{
    struct weft_span rest = r->lines.line, id;
    int port, peer_port = 1;
    if (r->device < 0)
        return weft_lines_refuse(&r->lines, "a port outside of any device");
    if (!take_port_number(&rest, &port))
        return weft_lines_refuse(&r->lines, "a port needs a number, as in [1]");
    struct weft_fabric_port p = weft_fabric_port_make(r->device, port);
    skip_external_number(&rest);
    take_port_guid(&rest, &p.guid);
    if (!weft_span_quoted(&rest, &id))
        return weft_lines_refuse(&r->lines, "no \"name\" of what the port is cabled to");
    bool has_number = take_port_number(&rest, &peer_port);
    if (!has_number && !r->is_simulator)
        return weft_lines_refuse(&r->lines, "no [port] after the name of the other side");
    skip_external_number(&rest);
    uint64_t peer_guid;
    take_port_guid(&rest, &peer_guid);
    if (r->is_simulator)
        WEFT_TRY(read_options(r, &rest, &p));
    rest = weft_span_trim(rest);
    if (weft_span_take(&rest, "#"))
        read_comment(r, rest, &p);
    else if (rest.bytes)
        return weft_lines_refuse(&r->lines, "not understood after the other side's port");
    WEFT_TRY(refer(r, id, &p.peer));
    p.peer_port = peer_port;
    return weft_lines_located(&r->lines, weft_fabric_state(r->fabric, &p, r->error));
}

static weft_status read_line(struct reader *r)
{
    static const struct {
        const char *word;
        enum weft_fabric_role role;
    } kinds[] = {{"Switch", WEFT_FABRIC_SWITCH},
                 {"Ca", WEFT_FABRIC_ADAPTER},
                 {"Hca", WEFT_FABRIC_ADAPTER},
                 {"Rt", WEFT_FABRIC_ROUTER}};
    struct weft_span rest = r->lines.line;
    if (rest.at[0] == '[')
        return read_port(r);
    if (rest.at[0] == '@')
        return weft_lines_refuse(&r->lines, "an alias; aliases are not supported");
    struct weft_span word = weft_span_word(&rest);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (weft_span_is(word, kinds[i].word))
            return read_header(r, kinds[i].role, rest);
    if (r->is_simulator && weft_span_is(word, "include"))
        return weft_lines_refuse(&r->lines, "it includes another file, which is not followed");
    const char *equals = memchr(r->lines.line.at, '=', r->lines.line.bytes);
    r->device = -1;
    if (equals) {
        size_t bytes = (size_t)(equals - r->lines.line.at);
        struct weft_span value = {equals + 1, r->lines.line.bytes - bytes - 1};
        return read_assignment(r, weft_span_trim((struct weft_span){r->lines.line.at, bytes}),
                               weft_span_trim(value));
    }
    if (!isalpha((unsigned char)word.at[0]))
        return weft_lines_refuse(&r->lines, "neither device, port, assignment nor comment");
    note_unread(r); // headings of chassis, commands for the simulator
    return WEFT_OK;
}

static weft_status read_all(struct reader *r, struct weft_topology *topology)
{
    bool has_device = false;
    while (weft_lines_next(&r->lines)) {
        if (r->lines.line.bytes == 0)
            r->device = -1;
        if (r->lines.line.bytes == 0 || r->lines.line.at[0] == '#')
            continue;
        WEFT_TRY(read_line(r));
        has_device |= r->device >= 0;
    }
    if (!has_device)
        return weft_lines_refuse(&r->lines, "no switch and no channel adapter in the file");
    WEFT_TRY(weft_lines_located(&r->lines, weft_fabric_finish(r->fabric, topology, r->error)));
    if (r->unread.count == 0)
        return WEFT_OK;
    return weft_topology_add_remark(topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, -1, r->error,
                                    "%d line%s not understood (first: line %d, \"%s\")",
                                    r->unread.count, r->unread.count > 1 ? "s were" : " was",
                                    r->unread.line, r->unread.first);
}

static weft_status read_records(const char *text, const char *name, bool is_simulator,
                                struct weft_topology *topology, struct weft_error *error)
{
    struct reader r = {.lines = weft_lines_start(text, name, error),
                       .error = error,
                       .is_simulator = is_simulator,
                       .device = -1,
                       .next = weft_fabric_device_make(WEFT_FABRIC_UNDECLARED),
                       .width = -1,
                       .speed = -1,
                       .extended = -1};
    WEFT_TRY(weft_fabric_create(WEFT_SOURCE_FILE, true, &r.fabric, error));
    weft_status status = read_all(&r, topology);
    weft_fabric_destroy(&r.fabric);
    return status;
}

/* ---- the two forms ---- */

enum form { NO_RECORDS, OF_IBNETDISCOVER, OF_IBSIM };

/* By the first line that is neither empty nor a comment: it starts a record, or is one of the
 * assignments before it. */
static enum form form_of(const char *text)
{
    struct weft_lines lines = weft_lines_start(text, "", NULL);
    static const char *const keys[] = {
        "vendid=", "devid=", "sysimgguid=", "switchguid=", "caguid=", "rtguid=", "module="};
    while (weft_lines_next(&lines)) {
        struct weft_span rest = lines.line, id;
        int64_t ports;
        if (rest.bytes && rest.at[0] == '#' &&
            memmem(rest.at, rest.bytes, "Topology file: generated", 24))
            return OF_IBNETDISCOVER; // its first words; headings may follow
        if (!rest.bytes || rest.at[0] == '#')
            continue;
        bool is_assignment = false;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !is_assignment; i++)
            is_assignment = weft_span_take(&rest, keys[i]);
        if (is_assignment)
            continue;
        struct weft_span word = weft_span_word(&rest);
        if (!weft_span_is(word, "Switch") && !weft_span_is(word, "Ca") &&
            !weft_span_is(word, "Hca") && !weft_span_is(word, "Rt"))
            return NO_RECORDS;
        rest = weft_span_trim(rest);
        if (!weft_span_number(&rest, 1, WEFT_FABRIC_MAX_PORT, &ports) ||
            !weft_span_quoted(&rest, &id))
            return NO_RECORDS;
        bool is_guid =
            id.bytes == 18 && (strncmp(id.at, "S-", 2) == 0 || strncmp(id.at, "H-", 2) == 0 ||
                               strncmp(id.at, "R-", 2) == 0);
        return is_guid ? OF_IBNETDISCOVER : OF_IBSIM;
    }
    return NO_RECORDS;
}

static bool ibnetdiscover_matches(const char *text)
{
    return form_of(text) == OF_IBNETDISCOVER;
}

static weft_status ibnetdiscover_read(const char *text, size_t bytes, const char *name,
                                      struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    return read_records(text, name, false, topology, error);
}

const struct weft_importer weft_importer_ibnetdiscover = {
    .name = "ibnetdiscover",
    .description = "what ibnetdiscover prints: an InfiniBand subnet",
    .matches = ibnetdiscover_matches,
    .read = ibnetdiscover_read,
};

static bool ibsim_matches(const char *text)
{
    return form_of(text) == OF_IBSIM;
}

static weft_status ibsim_read(const char *text, size_t bytes, const char *name,
                              struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    return read_records(text, name, true, topology, error);
}

const struct weft_importer weft_importer_ibsim = {
    .name = "ibsim",
    .description = "net file of ibsim, the InfiniBand simulator",
    .matches = ibsim_matches,
    .read = ibsim_read,
};
