/*
 * SPDX-License-Identifier: Apache-2.0
 * hwloc over a copied tree. hwloc takes the tree's place only from the variable HWLOC_FSROOT, and a
 * library must not change the environment of the process it lives in; so another process takes an
 * environment of its own and loads it. What a strange tree makes hwloc do (crash, hang, leak) stays
 * there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topology/apart.h"
#include "topology/hwloc_import.h"
#include "topology/probe.h"

static const int64_t timeout_ns = INT64_C(60) * 1000000000;

static const char *const variables[] = {
    "HWLOC_FSROOT=",     // its value is the tree
    "HWLOC_XMLFILE=",    // a second source would win
    "HWLOC_SYNTHETIC=",  //
    "HWLOC_COMPONENTS=", // of the live machine nothing is asked
    "HWLOC_HIDE_ERRORS=",
    "HWLOC_THISSYSTEM=",
    "HWLOC_KEEP_NVIDIA_GPU_NUMA_NODES=", // GPU memory that Linux lists as NUMA nodes
};
static const char *const values[] = {NULL, "", "", "linux,stop", "2", "0", "1"};
enum { NUM_VARIABLES = sizeof variables / sizeof variables[0] };

struct environment {
    char **all;
    char *own[NUM_VARIABLES];
};

static void free_environment(struct environment *environment)
{
    for (int i = 0; i < NUM_VARIABLES; i++)
        free(environment->own[i]);
    free(environment->all);
}

/* The caller's variables with ours in place of theirs. Made before the fork: setenv may wait for a
 * lock that another thread held. */
static bool make_environment(struct environment *environment, const char *root)
{
    size_t count = 0, used = 0;
    while (environ && environ[count])
        count++;
    environment->all = calloc(count + NUM_VARIABLES + 1, sizeof *environment->all);
    for (size_t i = 0; environment->all && i < count; i++) {
        bool is_ours = false;
        for (int j = 0; j < NUM_VARIABLES; j++)
            is_ours |= strncmp(environ[i], variables[j], strlen(variables[j])) == 0;
        if (!is_ours)
            environment->all[used++] = environ[i];
    }
    for (int i = 0; environment->all && i < NUM_VARIABLES; i++) {
        const char *value = values[i] ? values[i] : root;
        if (!value[0])
            continue;
        if (asprintf(&environment->own[i], "%s%s", variables[i], value) < 0) {
            environment->own[i] = NULL;
            return false;
        }
        environment->all[used++] = environment->own[i];
    }
    return environment->all != NULL;
}

struct tree {
    const char *root;
    char **environment;
};

/* In the other process. */
static weft_status discover_tree(const void *context, struct weft_topology *topology,
                                 struct weft_error *error)
{
    const struct tree *tree = context;
    bool is_this_machine;
    environ = tree->environment;
    weft_status status = weft_hwloc_load_system(topology, tree->root, &is_this_machine, error);
    if (status == WEFT_SYSTEM) // which is the tree here
        return weft_fail(error, WEFT_INVALID_FORMAT, "%.200s: hwloc cannot read it", tree->root);
    return status;
}

weft_status weft_probe_hwloc_fsroot(const char *root, struct weft_topology **topology,
                                    struct weft_error *error)
{
    struct environment environment = {.all = NULL};
    struct weft_topology *made = NULL;
    weft_status status = weft_topology_create(&made, error);
    if (status == WEFT_OK && !make_environment(&environment, root))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", root);
    if (status == WEFT_OK) {
        const struct tree tree = {root, environment.all};
        char who[256];
        snprintf(who, sizeof who, "hwloc on %.200s", root);
        status = weft_probe_apart(who, timeout_ns, discover_tree, &tree, made, error);
        if (status == WEFT_TIMEOUT) // there is no driver to blame
            weft_fail(error, status, "%s has not read it in %lld s", who,
                      (long long)(timeout_ns / 1000000000));
    }
    free_environment(&environment);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    *topology = made;
    return WEFT_OK;
}
