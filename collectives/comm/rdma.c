/*
 * SPDX-License-Identifier: Apache-2.0
 * See rdma.h.
 */
#include "collectives/comm/rdma.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sysfs.h"
#include "collectives/comm/calibrate_private.h"
#include "collectives/planner/fit.h"
#include "topology/load.h"
#include "topology/nearness.h"

enum { NEAR_LIMIT_BYTES = 4 << 20 };

// Of a message whose devices nobody has timed: the work of both ends, and a switch or two.
static const int64_t assumed_message_ps = 3000000;
static const int64_t mbps_bytes = 125000; // per second

static struct weft_verbs_known *know(struct weft_rdma_facts *facts, const char *device)
{
    for (int i = 0; i < facts->num_known; i++)
        if (strcmp(facts->known[i].device, device) == 0)
            return &facts->known[i];
    if (facts->num_known == WEFT_RDMA_KNOWN_LIMIT)
        return NULL;
    struct weft_verbs_known *known = &facts->known[facts->num_known++];
    *known = (struct weft_verbs_known){.distance = -1};
    snprintf(known->device, sizeof known->device, "%.63s", device);
    return known;
}

/* ---- measured ---- */

void weft_rdma_facts_measured(const struct weft_measurements *m, struct weft_rdma_facts *facts)
{
    const char *device;
    for (int i = 0; (device = weft_measurements_rdma_device(m, i)); i++) {
        struct weft_verbs_known *known = know(facts, device);
        int64_t bandwidth = weft_measurements_rdma_bandwidth(m, device);
        if (known && bandwidth >= mbps_bytes)
            known->measured_mbps = bandwidth / mbps_bytes;
    }
    const struct weft_measurement *best = weft_measurements_rdma_best(m);
    struct weft_sweep sweep = {0};
    for (int i = 0; best && i < best->num_points && i < WEFT_SWEEP_POINTS; i++)
        sweep.points[sweep.num_points++] =
            (struct weft_sweep_point){best->curve[i].bytes, best->curve[i].time_ps};
    struct weft_error why;
    if (best && weft_curve_fit(&sweep, &facts->message, &why) != WEFT_OK) {
        WEFT_LOG(WEFT_LOG_INFO, "RDMA is priced as its ports say: %s", why.text);
        facts->message.num_lines = 0;
    }
}

/* ---- near ---- */

weft_status weft_rdma_facts_near(const struct weft_topology *t, int host, const int *cores,
                                 int num_cores, struct weft_rdma_facts *facts,
                                 struct weft_error *error)
{
    int nics[WEFT_RDMA_KNOWN_LIMIT], distances[WEFT_RDMA_KNOWN_LIMIT], num_nics = 0;
    for (int i = 0; i < t->num_nodes && num_nics < WEFT_RDMA_KNOWN_LIMIT; i++)
        if (t->nodes[i].kind == WEFT_NODE_NIC && weft_topology_text(t, i, "rdma_device") &&
            weft_topology_ancestor(t, i, WEFT_NODE_HOST) == host)
            nics[num_nics++] = i;
    int last = -1; // cores of a domain come together, and are alike
    for (int c = 0; c < num_cores && num_nics > 0; c++) {
        int numa = weft_topology_ancestor(t, cores[c], WEFT_NODE_NUMA);
        if (c > 0 && numa == last && numa >= 0)
            continue;
        last = numa;
        WEFT_TRY(
            weft_nic_distances(t, numa < 0 ? cores[c] : numa, nics, num_nics, distances, error));
        for (int i = 0; i < num_nics; i++) {
            struct weft_verbs_known *known =
                know(facts, weft_topology_text(t, nics[i], "rdma_device"));
            if (known && (known->distance < 0 || distances[i] < known->distance))
                known->distance = distances[i];
        }
    }
    return WEFT_OK;
}

/* The host of this process: the only one, or the one of its name. */
static int find_host(const struct weft_topology *t)
{
    char name[65] = "";
    int found = -1, named = -1, count = 0;
    (void)gethostname(name, sizeof name - 1);
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        count++;
        found = i;
        if (strcmp(t->nodes[i].name, name) == 0)
            named = i;
    }
    return named >= 0 ? named : count == 1 ? found : -1;
}

static weft_status find_near(const struct weft_topology *t, struct weft_rdma_facts *facts,
                             struct weft_error *error)
{
    struct weft_places places;
    int host = find_host(t);
    WEFT_TRY(weft_places_find(t, &places, error));
    int *cores = malloc(((size_t)places.num_cores + 1) * sizeof *cores), num_cores = 0;
    for (int i = 0; cores && i < places.num_cores; i++)
        if (weft_topology_ancestor(t, places.cores[i].node, WEFT_NODE_HOST) == host)
            cores[num_cores++] = places.cores[i].node;
    weft_status status = !cores      ? weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for cores")
                         : host >= 0 ? weft_rdma_facts_near(t, host, cores, num_cores, facts, error)
                                     : WEFT_OK;
    free(cores);
    weft_places_free(&places);
    return status;
}

/* ---- all ---- */

static bool has_devices(void)
{
    struct weft_sysfs files;
    if (weft_sysfs_open("/", &files, NULL) != WEFT_OK)
        return false;
    bool found = weft_sysfs_exists(&files, "sys/class/infiniband");
    weft_sysfs_close(&files);
    return found;
}

static bool has_measurements(void)
{
    char path[PATH_MAX];
    bool found = false;
    if (weft_measurements_path(NULL, 0, path, sizeof path, NULL) != WEFT_OK)
        return false;
    char *name = strrchr(path, '/');
    *name++ = '\0';
    DIR *folder = opendir(path);
    for (const struct dirent *entry; folder && !found && (entry = readdir(folder));)
        found = strncmp(entry->d_name, name, strcspn(name, "0")) == 0; // "measurements-"
    if (folder)
        closedir(folder);
    return found;
}

static weft_status find_measured(struct weft_rdma_facts *facts, struct weft_error *error)
{
    struct weft_topology *t;
    struct weft_measurements m;
    bool is_found = false;
    if (!has_measurements()) // then there is no need even to look at the processors
        return WEFT_OK;
    WEFT_TRY(weft_topology_load_processors(&t, error));
    weft_status status = weft_measurements_recall(t, &m, &is_found, error);
    weft_topology_destroy(&t);
    if (is_found) {
        weft_rdma_facts_measured(&m, facts);
        weft_measurements_free(&m);
    }
    return status;
}

/* A cluster's file is rank 0's to read, not every rank's. */
static weft_status find_place(const char *source, struct weft_rdma_facts *facts,
                              struct weft_error *error)
{
    struct weft_topology *t;
    struct stat file;
    if (!*source || (stat(source, &file) == 0 && file.st_size > NEAR_LIMIT_BYTES))
        return WEFT_OK;
    WEFT_TRY(weft_topology_load(source, &t, error));
    weft_status status = find_near(t, facts, error);
    weft_topology_destroy(&t);
    return status;
}

void weft_rdma_facts_find(const struct weft_config *config, struct weft_rdma_facts *facts)
{
    struct weft_error why;
    *facts = (struct weft_rdma_facts){0};
    if (!has_devices())
        return;
    if (find_measured(facts, &why) != WEFT_OK)
        WEFT_LOG(WEFT_LOG_INFO, "RDMA devices are taken to be as fast as they say: %s", why.text);
    if (find_place(config->topology, facts, &why) != WEFT_OK)
        WEFT_LOG(WEFT_LOG_INFO, "RDMA devices are taken to be where the system says: %s", why.text);
}

void weft_rdma_price(const struct weft_rdma_facts *facts, int64_t mbps,
                     struct weft_level_costs *level)
{
    weft_level_use_route(level, assumed_message_ps, mbps * mbps_bytes);
    if (facts->message.num_lines == 0)
        return;
    // large messages are spread over all ports, small ones take the first
    int64_t all_ps_per_mib = level->message.lines[0].ps_per_mib;
    level->message = facts->message;
    struct weft_line *last = &level->message.lines[level->message.num_lines - 1];
    if (mbps > 0)
        last->ps_per_mib = all_ps_per_mib;
    level->crowd_ps_per_mib = last->ps_per_mib;
}
