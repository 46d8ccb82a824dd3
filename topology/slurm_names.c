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

void weft_slurm_common_prefix(const char *a, const char *b, char prefix[WEFT_TOPOLOGY_NAME_BYTES])
{
    size_t used = 0;
    while (a[used] && a[used] == b[used] && used + 1 < WEFT_TOPOLOGY_NAME_BYTES) {
        prefix[used] = a[used];
        used++;
    }
    while (used > 0 && !(prefix[used - 1] >= 'a' && prefix[used - 1] <= 'z') &&
           !(prefix[used - 1] >= 'A' && prefix[used - 1] <= 'Z'))
        used--;
    prefix[used] = '\0';
    char *folder = strrchr(prefix, '/'); // su0/leaf0 and su0/leaf7 have su0 in common
    if (folder && folder > prefix)
        *folder = '\0';
}
