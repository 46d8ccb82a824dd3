/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_ports.h. Every device is opened and every port asked; what was seen is collected as one
 * line, which is what a sentence about nothing suitable ends with.
 */
#include "transport/verbs_ports.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/format.h"
#include "base/verbs_words.h"
#include "transport/verbs_filter.h"
#include "transport/verbs_port_read.h"

enum { MAX_DEVICES = 1024, ALIKE_PERCENT = 15 };

/* A list of words that is cut where it gets too long. */
struct line {
    char text[320];
    size_t bytes;
};

struct search {
    const struct weft_verbs *verbs;
    struct weft_verbs_port_needs needs;
    struct weft_verbs_filter filter;
    struct weft_sysfs files;
    struct weft_numa numa;
    struct weft_verbs_device *devices; // opened
    struct weft_verbs_port *ports;     // active and wanted
    int num_devices, num_ports, device_room, port_room;
    struct line names; // of devices: "mlx5_0, mlx5_1"
    struct line seen;  // "mlx5_0:1 (down, physically polling)"
    struct weft_error *error;
};

__attribute__((format(printf, 2, 3))) static void note(struct line *line, const char *format, ...)
{
    static const char more[] = ", ...";
    const size_t room = sizeof line->text - sizeof more;
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (line->bytes >= room)
        return;
    if (line->bytes + strlen(text) + 2 > room) {
        memcpy(line->text + line->bytes, more, sizeof more);
        line->bytes = room;
        return;
    }
    line->bytes += (size_t)snprintf(line->text + line->bytes, sizeof line->text - line->bytes,
                                    "%s%s", line->bytes ? ", " : "", text);
}

/* ---- ports and devices ---- */

static weft_status add_port(struct search *s, const struct weft_verbs_port *port)
{
    struct weft_verbs_port *larger =
        weft_array_grow(s->ports, s->num_ports, &s->port_room, sizeof *port);
    if (!larger)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for RDMA ports");
    s->ports = larger;
    s->ports[s->num_ports++] = *port;
    return WEFT_OK;
}

static weft_status look_at_port(struct search *s, const struct weft_verbs_device *device,
                                uint8_t number)
{
    struct weft_verbs_port port = {.device = s->num_devices, .port = number};
    struct weft_error why = {0};
    char name[WEFT_VERBS_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s:%d", device->name, number);
    if (!weft_verbs_filter_wants(&s->filter, device->name, number)) {
        note(&s->seen, "%.70s (left out by WEFT_IB_HCA)", name);
        return WEFT_OK;
    }
    weft_status status = weft_verbs_port_read(s->verbs, &s->files, device, &s->needs, &port, &why);
    if (status == WEFT_INVALID_ARGUMENT) // an option asks for what this port does not have
        return weft_fail(s->error, status, "%s", why.text);
    if (status != WEFT_OK) {
        note(&s->seen, "%.70s (%.70s)", name, why.text);
        return WEFT_OK;
    }
    note(&s->seen, "%.70s", name);
    return add_port(s, &port);
}

static weft_status look_at_ports(struct search *s, struct weft_verbs_device *device)
{
    weft_status status = WEFT_OK;
    int failure = s->verbs->query_device(device->context, &device->attributes);
    if (failure)
        note(&s->seen, "%.63s (does not answer: %.60s)", device->name,
             strerror(failure > 0 ? failure : errno));
    device->distance =
        weft_numa_distance(&s->files, &s->numa, weft_verbs_node(&s->files, device->name));
    for (int i = 1; !failure && i <= device->attributes.phys_port_cnt && status == WEFT_OK; i++)
        status = look_at_port(s, device, (uint8_t)i);
    return status;
}

static weft_status look_at_device(struct search *s, struct ibv_device *listed)
{
    const char *name = s->verbs->get_device_name(listed);
    struct weft_verbs_device device = {0};
    if (!name || !name[0])
        return WEFT_OK;
    snprintf(device.name, sizeof device.name, "%.63s", name);
    weft_make_printable(device.name);
    for (char *slash = device.name; (slash = strchr(slash, '/'));) // no way out of its folder
        *slash = '?';
    note(&s->names, "%s", device.name);
    if (!weft_verbs_filter_wants(&s->filter, device.name, 0)) {
        note(&s->seen, "%.63s (left out by WEFT_IB_HCA)", device.name);
        return WEFT_OK;
    }
    struct weft_verbs_device *larger =
        weft_array_grow(s->devices, s->num_devices, &s->device_room, sizeof device);
    if (!larger)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for RDMA devices");
    s->devices = larger;
    errno = 0;
    device.context = s->verbs->open_device(listed);
    if (!device.context) {
        note(&s->seen, "%.63s (cannot be opened: %.70s)", device.name,
             weft_verbs_errno_name(errno ? errno : ENODEV));
        for (int port = 1; port <= UINT8_MAX; port++) // any of them may be there
            (void)weft_verbs_filter_wants(&s->filter, device.name, port);
        return WEFT_OK;
    }
    int before = s->num_ports;
    weft_status status = look_at_ports(s, &device);
    if (status == WEFT_OK && s->num_ports > before)
        s->devices[s->num_devices++] = device;
    else
        s->verbs->close_device(device.context);
    return status;
}

/* A container shows the devices of the whole host, but not the files through which they are used.
 */
static weft_status explain_none(struct search *s)
{
    DIR *folder = weft_sysfs_list(&s->files, "sys/class/infiniband");
    for (const struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            note(&s->names, "%.63s", entry->d_name);
    if (folder)
        closedir(folder);
    weft_make_printable(s->names.text);
    if (!s->names.bytes)
        return weft_fail(s->error, WEFT_UNSUPPORTED, "there is no RDMA device");
    return weft_fail(s->error, WEFT_UNSUPPORTED,
                     "the kernel has RDMA devices (%s), but libibverbs lists none: no "
                     "/dev/infiniband/uverbs, or no driver for them",
                     s->names.text);
}

static weft_status look_at_all(struct search *s)
{
    int count = 0;
    errno = 0;
    struct ibv_device **list = s->verbs->get_device_list(&count);
    if (!list && errno == ENOSYS)
        return weft_fail(s->error, WEFT_UNSUPPORTED, "the kernel has no RDMA");
    if (!list && errno)
        return weft_fail(s->error, WEFT_SYSTEM, "RDMA devices cannot be listed: %s",
                         strerror(errno));
    weft_status status = WEFT_OK;
    for (int i = 0; list && i < count && i < MAX_DEVICES && list[i] && status == WEFT_OK; i++)
        status = look_at_device(s, list[i]);
    if (list)
        s->verbs->free_device_list(list);
    WEFT_TRY(status);
    char name[96];
    if (!list || count <= 0)
        return explain_none(s);
    if (weft_verbs_filter_unused(&s->filter, name, sizeof name))
        return weft_fail(s->error, WEFT_INVALID_ARGUMENT,
                         "WEFT_IB_HCA: nothing here is called '%s'; there is: %s", name,
                         s->names.text);
    if (s->num_ports == 0)
        return weft_fail(s->error, WEFT_UNSUPPORTED, "no RDMA port is usable: %s", s->seen.text);
    return WEFT_OK;
}

/* ---- the result ---- */

static int by_distance(const void *a, const void *b, void *context)
{
    const struct weft_verbs_device *devices = context;
    const struct weft_verbs_port *x = a, *y = b;
    const struct weft_verbs_device *p = &devices[x->device], *q = &devices[y->device];
    if (p->distance != q->distance)
        return p->distance < q->distance ? -1 : 1;
    int order = strverscmp(p->name, q->name); // mlx5_2 before mlx5_10
    return order ? order : (x->port > y->port) - (x->port < y->port);
}

/* Keeps the first ports, and of the devices those that have one. */
static void keep_best(struct search *s, struct weft_verbs_ports *ports)
{
    qsort_r(s->ports, (size_t)s->num_ports, sizeof *s->ports, by_distance, s->devices);
    for (int i = 0; i < s->num_ports && i < WEFT_VERBS_MAX_PORTS; i++) {
        struct weft_verbs_port *port = &ports->ports[ports->num_ports++];
        *port = s->ports[i];
        struct weft_verbs_device *from = &s->devices[port->device];
        port->is_near = weft_verbs_filter_names(&s->filter) ||
                        from->distance == s->devices[s->ports[0].device].distance;
        int device = 0;
        while (device < ports->num_devices && ports->devices[device].context != from->context)
            device++;
        if (device == ports->num_devices)
            ports->devices[ports->num_devices++] = *from;
        port->device = device;
    }
}

static const struct weft_verbs_known *find_known(const struct weft_verbs_options *options,
                                                 const char *device)
{
    for (int i = 0; i < options->num_known; i++)
        if (strcmp(options->known[i].device, device) == 0)
            return &options->known[i];
    return NULL;
}

/* Distances that are known of all devices count instead of those between NUMA domains; of some they
 * could not be compared. */
static void use_distances(struct search *s, const struct weft_verbs_options *options)
{
    for (int i = 0; i < s->num_devices; i++) {
        const struct weft_verbs_known *known = find_known(options, s->devices[i].name);
        if (!known || known->distance < 0)
            return;
    }
    for (int i = 0; i < s->num_devices; i++)
        s->devices[i].distance = find_known(options, s->devices[i].name)->distance;
}

/* What was measured counts where it is known of all ports. Ports of one nominal rate that differ by
 * less than measurements do are alike. */
static void use_measured(struct weft_verbs_ports *ports, const struct weft_verbs_options *options)
{
    int64_t measured[WEFT_VERBS_MAX_PORTS];
    for (int i = 0; i < ports->num_ports; i++) {
        int device = ports->ports[i].device, shared = 0;
        const struct weft_verbs_known *known = find_known(options, ports->devices[device].name);
        for (int k = 0; k < ports->num_ports; k++)
            shared += ports->ports[k].device == device;
        measured[i] = known ? known->measured_mbps / shared : 0;
        if (measured[i] < 1)
            return;
    }
    for (int i = 0; i < ports->num_ports; i++) {
        int64_t most = measured[i];
        for (int k = 0; k < ports->num_ports; k++)
            if (ports->ports[k].rate_mbps == ports->ports[i].rate_mbps && measured[k] > most &&
                measured[k] - measured[i] < measured[k] / 100 * ALIKE_PERCENT)
                most = measured[k];
        ports->ports[i].measured_mbps = most;
    }
}

static bool is_kept(const struct weft_verbs_ports *ports, const struct ibv_context *context)
{
    for (int i = 0; i < ports->num_devices; i++)
        if (ports->devices[i].context == context)
            return true;
    return false;
}

weft_status weft_verbs_ports_find(const struct weft_verbs *verbs,
                                  const struct weft_verbs_options *options, const char *root,
                                  const cpu_set_t *cores, struct weft_verbs_ports *ports,
                                  struct weft_error *error)
{
    struct search s = {.verbs = verbs, .error = error};
    *ports = (struct weft_verbs_ports){.verbs = verbs, .options = *options};
    ports->options.hca = ports->options.pkey = NULL;
    ports->options.known = NULL;
    ports->options.num_known = 0;
    WEFT_TRY(weft_verbs_port_needs_read(options, &s.needs, error));
    WEFT_TRY(weft_verbs_filter_read(options->hca, &s.filter, error));
    WEFT_TRY(weft_sysfs_open(root, &s.files, error));
    weft_numa_read(&s.files, cores, &s.numa);
    ports->pkey = s.needs.pkey;
    weft_status status = look_at_all(&s);
    if (status == WEFT_OK) {
        use_distances(&s, options);
        keep_best(&s, ports);
        use_measured(ports, options);
    }
    for (int i = 0; i < s.num_devices; i++)
        if (!is_kept(ports, s.devices[i].context))
            verbs->close_device(s.devices[i].context);
    free(s.devices);
    free(s.ports);
    weft_sysfs_close(&s.files);
    return status;
}

void weft_verbs_ports_close(struct weft_verbs_ports *ports)
{
    for (int i = 0; i < ports->num_devices; i++)
        ports->verbs->close_device(ports->devices[i].context);
    *ports = (struct weft_verbs_ports){0};
}

weft_status weft_verbs_port_renew(struct weft_verbs_ports *ports, int index, const char *root,
                                  bool *has_moved, struct weft_error *error)
{
    struct weft_verbs_port *port = &ports->ports[index], fresh = *port;
    struct weft_verbs_port_needs needs = {.gid_index = (int)ports->options.gid_index,
                                          .pkey = ports->pkey};
    struct weft_sysfs files;
    WEFT_TRY(weft_sysfs_open(root, &files, error));
    struct weft_error why = {0};
    weft_status status = weft_verbs_port_read(ports->verbs, &files, &ports->devices[port->device],
                                              &needs, &fresh, &why);
    weft_sysfs_close(&files);
    char name[WEFT_VERBS_NAME_BYTES + 8];
    if (status == WEFT_INVALID_ARGUMENT) // it was there before
        return weft_fail(error, WEFT_UNSUPPORTED, "%s", why.text);
    if (status != WEFT_OK)
        return weft_fail(error, status, "%s: %.200s",
                         weft_verbs_port_name(ports, index, name, sizeof name), why.text);
    *has_moved = memcmp(fresh.gid.raw, port->gid.raw, sizeof fresh.gid.raw) != 0 ||
                 fresh.gid.index != port->gid.index || fresh.gid.kind != port->gid.kind ||
                 fresh.attributes.lid != port->attributes.lid || fresh.pkey != port->pkey ||
                 fresh.pkey_index != port->pkey_index;
    *port = fresh;
    return WEFT_OK;
}

const char *weft_verbs_port_name(const struct weft_verbs_ports *ports, int port, char *text,
                                 size_t size)
{
    snprintf(text, size, "%s:%d", ports->devices[ports->ports[port].device].name,
             ports->ports[port].port);
    return text;
}
