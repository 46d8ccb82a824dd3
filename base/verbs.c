/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs.h. The symbols have versions: the first version of some is of another age.
 */
#include "base/verbs.h"

#include <assert.h>
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/symbols.h"

static const struct weft_symbol symbols[] = {
    {"ibv_get_device_list@IBVERBS_1.1", offsetof(struct weft_verbs, get_device_list)},
    {"ibv_free_device_list@IBVERBS_1.1", offsetof(struct weft_verbs, free_device_list)},
    {"ibv_get_device_name@IBVERBS_1.1", offsetof(struct weft_verbs, get_device_name)},
    {"ibv_open_device@IBVERBS_1.1", offsetof(struct weft_verbs, open_device)},
    {"ibv_close_device@IBVERBS_1.1", offsetof(struct weft_verbs, close_device)},
    {"ibv_query_device@IBVERBS_1.1", offsetof(struct weft_verbs, query_device)},
    {"ibv_query_port@IBVERBS_1.1", offsetof(struct weft_verbs, query_port)},
    {"ibv_query_gid@IBVERBS_1.1", offsetof(struct weft_verbs, query_gid)},
    {"ibv_query_pkey@IBVERBS_1.1", offsetof(struct weft_verbs, query_pkey)},
    {"ibv_get_async_event@IBVERBS_1.1", offsetof(struct weft_verbs, get_async_event)},
    {"ibv_ack_async_event@IBVERBS_1.1", offsetof(struct weft_verbs, ack_async_event)},
    {"ibv_alloc_pd@IBVERBS_1.1", offsetof(struct weft_verbs, alloc_pd)},
    {"ibv_dealloc_pd@IBVERBS_1.1", offsetof(struct weft_verbs, dealloc_pd)},
    {"ibv_reg_mr@IBVERBS_1.1", offsetof(struct weft_verbs, reg_mr)},
    {"ibv_dereg_mr@IBVERBS_1.1", offsetof(struct weft_verbs, dereg_mr)},
    {"ibv_create_comp_channel@IBVERBS_1.0", offsetof(struct weft_verbs, create_comp_channel)},
    {"ibv_destroy_comp_channel@IBVERBS_1.0", offsetof(struct weft_verbs, destroy_comp_channel)},
    {"ibv_create_cq@IBVERBS_1.1", offsetof(struct weft_verbs, create_cq)},
    {"ibv_destroy_cq@IBVERBS_1.1", offsetof(struct weft_verbs, destroy_cq)},
    {"ibv_get_cq_event@IBVERBS_1.1", offsetof(struct weft_verbs, get_cq_event)},
    {"ibv_ack_cq_events@IBVERBS_1.1", offsetof(struct weft_verbs, ack_cq_events)},
    {"ibv_create_qp@IBVERBS_1.1", offsetof(struct weft_verbs, create_qp)},
    {"ibv_modify_qp@IBVERBS_1.1", offsetof(struct weft_verbs, modify_qp)},
    {"ibv_destroy_qp@IBVERBS_1.1", offsetof(struct weft_verbs, destroy_qp)},
    // optional
    {"_ibv_query_gid_table@IBVERBS_1.11", offsetof(struct weft_verbs, query_gid_table)},
    {"ibv_reg_mr_iova2@IBVERBS_1.8", offsetof(struct weft_verbs, reg_mr_iova2)},
    {"ibv_reg_dmabuf_mr@IBVERBS_1.12", offsetof(struct weft_verbs, reg_dmabuf_mr)},
};

enum { NUM_REQUIRED = 24, NUM_SYMBOLS = sizeof symbols / sizeof symbols[0] };
static const struct weft_library library = {"libibverbs.so.1", "the RDMA verbs library", symbols,
                                            NUM_SYMBOLS, NUM_REQUIRED};

weft_status weft_verbs_open(const char *file, struct weft_verbs *verbs, struct weft_error *error)
{
    struct weft_verbs made = {0};
    WEFT_TRY(weft_symbols_load(&library, file, &made, &made.library, error));
    *verbs = made;
    return WEFT_OK;
}

void weft_verbs_close(struct weft_verbs *verbs)
{
    if (verbs->library)
        dlclose(verbs->library);
    *verbs = (struct weft_verbs){0};
}

/* Newer headers have the field below; the place is the same, and the library fills what it knows.
 */
struct long_port {
    struct {
        char known[52];
        uint32_t active_speed_ex;
    } view;
    char room[64]; // for what is yet to come
};
static_assert(offsetof(struct ibv_port_attr, port_cap_flags2) == 48, "layout of the library");
static_assert(sizeof(struct ibv_port_attr) <= sizeof(struct long_port), "room for the attributes");

int weft_verbs_query_port(const struct weft_verbs *verbs, struct ibv_context *context, uint8_t port,
                          struct ibv_port_attr *attributes, uint32_t *speed)
{
    union {
        struct long_port full;
        struct ibv_port_attr attributes;
    } answer;
    memset(&answer, 0, sizeof answer);
    // the exported function knows only the oldest part; the context's own knows the length
    struct verbs_context *extended = verbs_get_ctx_op(context, query_port);
    int failure =
        extended
            ? extended->query_port(context, port, &answer.attributes, sizeof answer.full.view)
            : verbs->query_port(context, port, (struct _compat_ibv_port_attr *)&answer.attributes);
    if (failure)
        return failure;
    *attributes = answer.attributes;
    *speed = answer.full.view.active_speed_ex ? answer.full.view.active_speed_ex
                                              : answer.attributes.active_speed;
    return 0;
}

int64_t weft_verbs_rate_mbps(uint32_t speed, uint8_t width)
{
    static const struct {
        uint32_t code;
        int64_t mbps;
    } lanes[] = {{1, 2500},      // SDR
                 {2, 5000},      // DDR
                 {4, 10000},     // QDR
                 {8, 10000},     // FDR10
                 {16, 14000},    // FDR
                 {32, 25000},    // EDR
                 {64, 50000},    // HDR
                 {128, 100000},  // NDR
                 {256, 200000}}; // XDR
    static const struct {
        uint8_t code;
        int lanes;
    } widths[] = {{1, 1}, {2, 4}, {4, 8}, {8, 12}, {16, 2}};
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0]; i++)
        for (size_t j = 0; j < sizeof widths / sizeof widths[0]; j++)
            if (lanes[i].code == speed && widths[j].code == width)
                return lanes[i].mbps * widths[j].lanes;
    return 0;
}
