/*
 * SPDX-License-Identifier: Apache-2.0
 * libibverbs at its function table, and made-up trees of sys and proc beside it: devices described
 * by a table, answered as library and kernel would.
 */
#ifndef WEFT_TESTS_TOPOLOGY_FAKE_VERBS_H
#define WEFT_TESTS_TOPOLOGY_FAKE_VERBS_H

#include <stdbool.h>

#include "base/verbs.h"

enum { FAKE_MAX_DEVICES = 10, FAKE_MAX_PORTS = 8, FAKE_MAX_GIDS = 4, FAKE_MAX_PKEYS = 4 };

struct fake_port {
    int status; // of the query
    struct ibv_port_attr attributes;
    uint32_t speed; // beyond 8 bits: told by libraries that know
    union ibv_gid gids[FAKE_MAX_GIDS];
    uint32_t kinds[FAKE_MAX_GIDS]; // enum ibv_gid_type, told where the library has a table
    uint16_t pkeys[FAKE_MAX_PKEYS];
};

struct fake_device {
    struct ibv_device device;
    struct verbs_context context; // extended where is_new
    char name[80];                // longer than the library allows
    bool is_new, cannot_open;
    int status; // of the device's query
    struct ibv_device_attr attributes;
    struct fake_port ports[FAKE_MAX_PORTS];
};

struct fake_rdma {
    int count;
    int list_errno;
    int num_open; // contexts, at the end
    bool has_dmabuf, has_gid_table;
    /* registered memory */
    int num_regions, max_regions;        // now; 0: no limit
    uint64_t region_bytes, locked_limit; // now; 0: no limit
    int num_registrations;               // ever
    int dmabuf_errno, gpu_errno;         // why a registration fails; 0: it does not
    uint64_t gpu_start, gpu_end;         // addresses of GPU memory
    struct fake_device devices[FAKE_MAX_DEVICES];
};

struct weft_verbs fake_verbs(struct fake_rdma *rdma);
/* A port that is up: 4 lanes of `speed`, and its first GID. */
void fake_port_up(struct fake_port *port, bool is_infiniband, uint8_t speed, uint64_t guid);

/* A fresh folder; fake_tree_file(tree, "sys/a/b", "text"), fake_tree_link(tree, "sys/a/c", "../d").
 */
struct fake_tree {
    char root[64];
};
void fake_tree_create(struct fake_tree *tree);
void fake_tree_file(const struct fake_tree *tree, const char *path, const char *text);
void fake_tree_bytes(const struct fake_tree *tree, const char *path, const void *bytes,
                     size_t count);
void fake_tree_link(const struct fake_tree *tree, const char *path, const char *target);
void fake_tree_destroy(struct fake_tree *tree);

#endif
