/*
 * SPDX-License-Identifier: Apache-2.0
 * See slurm_private.h: names for Slurm's files.
 */
#include <stdio.h>
#include <string.h>

#include "topology/slurm_private.h"

/* What no list, comment or quote of Slurm could be mistaken for. */
static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("._-", c));
}

weft_status weft_slurm_check_hosts(const struct weft_topology *t, struct weft_error *error)
{
    bool any = false;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        any = true;
        for (const char *at = t->nodes[i].name; *at; at++)
            if (!is_plain(*at))
                return weft_fail(error, WEFT_UNSUPPORTED,
                                 "host \"%.100s\" cannot be a node of Slurm: '%c' in its name",
                                 t->nodes[i].name, *at);
    }
    if (!any)
        return weft_fail(error, WEFT_UNSUPPORTED, "there is no host for Slurm to run jobs on");
    return WEFT_OK;
}

void weft_slurm_names_fini(struct weft_slurm_names *names)
{
    weft_topology_destroy(&names->taken);
}

weft_status weft_slurm_names_make(struct weft_slurm_names *names, const char *wanted,
                                  const char **name, struct weft_error *error)
{
    char plain[200], text[WEFT_TOPOLOGY_NAME_BYTES];
    size_t used = 0;
    if (!names->taken)
        WEFT_TRY(weft_topology_create(&names->taken, error));
    for (; *wanted && used < sizeof plain - 1; wanted++)
        plain[used++] = is_plain(*wanted) ? *wanted : '-';
    plain[used] = '\0';
    snprintf(text, sizeof text, "%s", used ? plain : "unnamed");
    // the suffix only grows, so many equal names stay cheap
    while (weft_topology_find_node(names->taken, text) >= 0)
        snprintf(text, sizeof text, "%s-%d", used ? plain : "unnamed", ++names->last_suffix);
    int node;
    WEFT_TRY(weft_topology_add_node(names->taken, WEFT_NODE_SWITCH, text, -1, &node, error));
    *name = names->taken->nodes[node].name;
    return WEFT_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void weft_slurm_common_name(const char *a, const char *b, char name[WEFT_TOPOLOGY_NAME_BYTES])
{
    size_t front = 0, back = 0, bytes_a = strlen(a), bytes_b = strlen(b);
    while (a[front] && a[front] == b[front] && front + 1 < WEFT_TOPOLOGY_NAME_BYTES)
        front++;
    size_t shorter = bytes_a < bytes_b ? bytes_a : bytes_b;
    while (back < shorter - front && a[bytes_a - 1 - back] == b[bytes_b - 1 - back])
        back++;
    // a suffix begins with a separator: of -01-02 and -04-02 only the last -02 is meant
    while (back > 0 && !strchr("-_./:", a[bytes_a - back]))
        back--;
    while (front > 0 && !is_letter(a[front - 1]))
        front--;
    memcpy(name, a, front);
    name[front] = '\0';
    char *folder = strrchr(name, '/'); // su0/leaf0 and su0/leaf7 have su0 in common
    if (folder && folder > name)
        *folder = '\0';
    size_t used = strlen(name);
    if (used > 0)
        snprintf(name + used, WEFT_TOPOLOGY_NAME_BYTES - used, "%s", a + bytes_a - back);
}
