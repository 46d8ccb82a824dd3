/*
 * SPDX-License-Identifier: Apache-2.0
 * See fake_verbs.h.
 */
#include "tests/topology/fake_verbs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake_rdma *rdma; // the functions of the table have no context

static struct fake_device *of_context(struct ibv_context *context)
{
    return (struct fake_device *)(void *)context->device;
}

static struct ibv_device **get_device_list(int *count)
{
    if (rdma->list_errno) {
        errno = rdma->list_errno;
        return NULL;
    }
    struct ibv_device **list = calloc((size_t)rdma->count + 1, sizeof(struct ibv_device *));
    for (int i = 0; i < rdma->count; i++)
        list[i] = &rdma->devices[i].device;
    *count = rdma->count;
    return list;
}

static void free_device_list(struct ibv_device **list)
{
    free(list);
}

static const char *get_device_name(struct ibv_device *device)
{
    return ((struct fake_device *)(void *)device)->name;
}

static int query_port_of_new(struct ibv_context *context, uint8_t port, struct ibv_port_attr *to,
                             size_t bytes)
{
    const struct fake_port *from = &of_context(context)->ports[port - 1];
    memset(to, 0, bytes);
    memcpy(to, &from->attributes, sizeof from->attributes);
    if (bytes >= 56) // the field that newer headers have
        memcpy((char *)to + 52, &from->speed, sizeof from->speed);
    return from->status;
}

static struct ibv_context *open_device(struct ibv_device *device)
{
    struct fake_device *opened = (struct fake_device *)(void *)device;
    if (opened->cannot_open) {
        errno = EACCES;
        return NULL;
    }
    rdma->num_open++;
    opened->context.context.device = device;
    if (opened->is_new) {
        opened->context.context.abi_compat = __VERBS_ABI_IS_EXTENDED;
        opened->context.sz = sizeof opened->context;
        opened->context.query_port = query_port_of_new;
    }
    return &opened->context.context;
}

static int close_device(struct ibv_context *context)
{
    (void)context;
    rdma->num_open--;
    return 0;
}

static int query_device(struct ibv_context *context, struct ibv_device_attr *attributes)
{
    *attributes = of_context(context)->attributes;
    return of_context(context)->status;
}

static int query_port(struct ibv_context *context, uint8_t port, struct _compat_ibv_port_attr *to)
{
    const struct fake_port *from = &of_context(context)->ports[port - 1];
    memcpy(to, &from->attributes, offsetof(struct ibv_port_attr, port_cap_flags2));
    return from->status;
}

static int query_gid(struct ibv_context *context, uint8_t port, int index, union ibv_gid *gid)
{
    if (index >= FAKE_MAX_GIDS)
        return -1;
    *gid = of_context(context)->ports[port - 1].gids[index];
    return 0;
}

static int query_pkey(struct ibv_context *context, uint8_t port, int index, __be16 *pkey)
{
    if (index >= FAKE_MAX_PKEYS)
        return -1;
    *pkey = htobe16(of_context(context)->ports[port - 1].pkeys[index]);
    return 0;
}

static ssize_t query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
                               size_t max_entries, uint32_t flags, size_t entry_size)
{
    static const union ibv_gid nothing;
    size_t count = 0;
    (void)flags, (void)entry_size;
    // backwards: nobody promises an order
    for (int port = of_context(context)->attributes.phys_port_cnt - 1; port >= 0; port--)
        for (int i = FAKE_MAX_GIDS - 1; i >= 0 && count < max_entries; i--) {
            const struct fake_port *from = &of_context(context)->ports[port];
            if (memcmp(&from->gids[i], &nothing, sizeof nothing) == 0)
                continue;
            entries[count++] = (struct ibv_gid_entry){.gid = from->gids[i],
                                                      .gid_index = (uint32_t)i,
                                                      .port_num = (uint32_t)port + 1,
                                                      .gid_type = from->kinds[i]};
        }
    return (ssize_t)count;
}

/* ---- memory ---- */

static struct ibv_pd *alloc_pd(struct ibv_context *context)
{
    struct ibv_pd *pd = calloc(1, sizeof *pd);
    pd->context = context;
    return pd;
}

static int dealloc_pd(struct ibv_pd *pd)
{
    free(pd);
    return 0;
}

static struct ibv_mr *register_bytes(struct ibv_pd *pd, void *address, size_t length)
{
    if ((rdma->locked_limit && rdma->region_bytes + length > rdma->locked_limit) ||
        (rdma->max_regions && rdma->num_regions == rdma->max_regions)) {
        errno = ENOMEM;
        return NULL;
    }
    struct ibv_mr *mr = calloc(1, sizeof *mr);
    rdma->num_regions++;
    rdma->num_registrations++;
    rdma->region_bytes += length;
    *mr = (struct ibv_mr){.context = pd->context,
                          .pd = pd,
                          .addr = address,
                          .length = length,
                          .lkey = (uint32_t)rdma->num_registrations,
                          .rkey = (uint32_t)rdma->num_registrations + 1000};
    return mr;
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *address, size_t length, int access)
{
    uint64_t start = (uint64_t)(uintptr_t)address;
    (void)access;
    if (rdma->gpu_errno && start >= rdma->gpu_start && start < rdma->gpu_end) {
        errno = rdma->gpu_errno;
        return NULL;
    }
    return register_bytes(pd, address, length);
}

static int dereg_mr(struct ibv_mr *mr)
{
    rdma->num_regions--;
    rdma->region_bytes -= mr->length;
    free(mr);
    return 0;
}

static struct ibv_mr *reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length,
                                    uint64_t iova, int file, int access)
{
    (void)offset, (void)file, (void)access;
    if (rdma->dmabuf_errno) {
        errno = rdma->dmabuf_errno;
        return NULL;
    }
    return register_bytes(pd, (void *)(uintptr_t)iova, length);
}

struct weft_verbs fake_verbs(struct fake_rdma *used)
{
    rdma = used;
    return (struct weft_verbs){
        .get_device_list = get_device_list,
        .free_device_list = free_device_list,
        .get_device_name = get_device_name,
        .open_device = open_device,
        .close_device = close_device,
        .query_device = query_device,
        .query_port = query_port,
        .query_gid = query_gid,
        .query_pkey = query_pkey,
        .query_gid_table = used->has_gid_table ? query_gid_table : NULL,
        .alloc_pd = alloc_pd,
        .dealloc_pd = dealloc_pd,
        .reg_mr = reg_mr,
        .dereg_mr = dereg_mr,
        .reg_dmabuf_mr = used->has_dmabuf ? reg_dmabuf_mr : NULL,
    };
}

void fake_port_up(struct fake_port *port, bool is_infiniband, uint8_t speed, uint64_t guid)
{
    port->attributes = (struct ibv_port_attr){
        .state = IBV_PORT_ACTIVE,
        .active_mtu = IBV_MTU_4096,
        .gid_tbl_len = FAKE_MAX_GIDS,
        .pkey_tbl_len = FAKE_MAX_PKEYS,
        .lid = is_infiniband ? 42 : 0,
        .active_width = 2,
        .active_speed = speed,
        .phys_state = 5,
        .link_layer = is_infiniband ? IBV_LINK_LAYER_INFINIBAND : IBV_LINK_LAYER_ETHERNET,
    };
    port->pkeys[0] = 0xffff;
    port->gids[0].raw[0] = 0xfe;
    port->gids[0].raw[1] = 0x80;
    for (int i = 0; i < 8; i++)
        port->gids[0].raw[8 + i] = (unsigned char)(guid >> (56 - 8 * i));
}

/* ---- trees ---- */

void fake_tree_create(struct fake_tree *tree)
{
    snprintf(tree->root, sizeof tree->root, "/tmp/weft-tree-XXXXXX");
    if (!mkdtemp(tree->root))
        abort();
}

/* The full path, with all its folders made. */
static void prepare(const struct fake_tree *tree, const char *path, char *full, size_t size)
{
    snprintf(full, size, "%s/%s", tree->root, path);
    for (char *slash = full + strlen(tree->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
}

void fake_tree_bytes(const struct fake_tree *tree, const char *path, const void *bytes,
                     size_t count)
{
    char full[512];
    prepare(tree, path, full, sizeof full);
    int file = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || write(file, bytes, count) != (ssize_t)count)
        abort();
    close(file);
}

void fake_tree_file(const struct fake_tree *tree, const char *path, const char *text)
{
    fake_tree_bytes(tree, path, text, strlen(text));
}

void fake_tree_link(const struct fake_tree *tree, const char *path, const char *target)
{
    char full[512];
    prepare(tree, path, full, sizeof full);
    unlink(full);
    if (symlink(target, full) != 0)
        abort();
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

void fake_tree_destroy(struct fake_tree *tree)
{
    nftw(tree->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
