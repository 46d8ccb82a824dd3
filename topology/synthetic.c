/*
 * SPDX-License-Identifier: Apache-2.0
 * See synthetic.h. Two steps: parse into counts and rates and check their product, then build; so
 * nothing large is allocated for an impossible request.
 */
#include "topology/synthetic.h"

#include <stdio.h>
#include <string.h>

#include "topology/presets.h"

enum synthetic_kind { HOST, CPU, NUMA, CORE, PCIE, GPU, NVSWITCH, NIC, NUM_SYNTHETIC_KINDS };

struct synthetic_row {
    const char *name;
    int64_t rate_unit; // bytes per second in one unit of @; 0: no rate allowed
};
static const struct synthetic_row synthetic_rows[NUM_SYNTHETIC_KINDS] = {
    [HOST] = {"host", 0},
    [CPU] = {"cpu", 0},
    [NUMA] = {"numa", 1000000000},
    [CORE] = {"core", 1000000000},
    [PCIE] = {"pcie", 1000000000},
    [GPU] = {"gpu", 1000000000},
    [NVSWITCH] = {"nvswitch", 1000000000},
    [NIC] = {"nic", 125000000},
};

struct recipe {
    int count[NUM_SYNTHETIC_KINDS];
    int64_t rate[NUM_SYNTHETIC_KINDS]; // bytes per second; -1: not given
    int column[NUM_SYNTHETIC_KINDS];   // where it was given, from 1; 0: nowhere
};

/* ---- 1. parse ---- */

struct cursor {
    const char *start;
    const char *at;
    struct weft_error *error;
};

static weft_status refuse(const struct cursor *c, const char *at, const char *format,
                          const char *detail)
{
    char reason[128];
    snprintf(reason, sizeof reason, format, detail);
    return weft_fail(c->error, WEFT_INVALID_FORMAT, "synthetic topology, column %td: %s",
                     at - c->start + 1, reason);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static weft_status parse_kind(struct cursor *c, int *kind)
{
    const char *word = c->at;
    while ((*c->at >= 'a' && *c->at <= 'z') || *c->at == '-')
        c->at++;
    char name[24];
    snprintf(name, sizeof name, "%.*s", (int)(c->at - word), word);
    if (c->at == word)
        return refuse(c, word, "expected a kind such as host, gpu or nic%s", "");
    for (int i = 0; i < NUM_SYNTHETIC_KINDS; i++)
        if (strcmp(synthetic_rows[i].name, name) == 0) {
            *kind = i;
            return WEFT_OK;
        }
    return refuse(
        c, word,
        "unknown kind \"%s\" (known: host cpu numa core pcie gpu nvswitch nic; or a preset)", name);
}

static weft_status parse_count(struct cursor *c, int *count)
{
    if (*c->at != ':')
        return refuse(c, c->at, "expected ':' and a count%s", "");
    const char *digits = ++c->at;
    int64_t value = 0;
    for (; is_digit(*c->at); c->at++)
        if (value <= WEFT_TOPOLOGY_MAX_NODES)
            value = value * 10 + (*c->at - '0');
    if (c->at == digits)
        return refuse(c, digits, "expected a count%s", "");
    if (value == 0)
        return refuse(c, digits, "a count of zero%s", "");
    if (value > WEFT_TOPOLOGY_MAX_NODES)
        return refuse(c, digits, "more than 4000000 nodes%s", "");
    *count = (int)value;
    return WEFT_OK;
}

/* Decimal, at most 1e6 with 6 places, in units of 1e-6: exact, so that the bytes are too. */
static weft_status parse_rate(struct cursor *c, const struct synthetic_row *row, int64_t *rate)
{
    if (row->rate_unit == 0)
        return refuse(c, c->at, "%s takes no @rate", row->name);
    const char *digits = ++c->at;
    int64_t millionths = 0;
    for (; is_digit(*c->at); c->at++)
        if (millionths <= INT64_C(1000000))
            millionths = millionths * 10 + (*c->at - '0');
    bool any = c->at > digits;
    if (millionths > INT64_C(1000000))
        return refuse(c, digits, "a rate above 1000000%s", "");
    millionths *= 1000000;
    if (any && *c->at == '.') {
        int64_t place = 100000;
        for (c->at++; is_digit(*c->at); c->at++, place /= 10)
            millionths += place * (*c->at - '0');
    }
    if (!any)
        return refuse(c, digits, "expected a rate%s", "");
    if (millionths == 0)
        return refuse(c, digits, "a rate of zero%s", "");
    int64_t unit = row->rate_unit / 1000; // 1e6 * 1e6 * 1e6 still fits
    *rate = millionths * unit / 1000;
    return WEFT_OK;
}

static weft_status parse(const char *text, struct recipe *recipe, struct weft_error *error)
{
    struct cursor c = {text, text, error};
    for (;;) {
        c.at += strspn(c.at, " \t\n");
        if (!*c.at)
            break;
        const char *word = c.at;
        int kind = 0;
        WEFT_TRY(parse_kind(&c, &kind));
        if (recipe->column[kind])
            return refuse(&c, word, "%s is given twice", synthetic_rows[kind].name);
        recipe->column[kind] = (int)(word - text) + 1;
        WEFT_TRY(parse_count(&c, &recipe->count[kind]));
        if (*c.at == '@')
            WEFT_TRY(parse_rate(&c, &synthetic_rows[kind], &recipe->rate[kind]));
        if (*c.at && !strchr(" \t\n", *c.at))
            return refuse(&c, c.at, "expected a space or @rate%s", "");
    }
    if (!recipe->column[HOST])
        return refuse(&c, text, "there is no host:COUNT%s", "");
    return WEFT_OK;
}

/* Refuses what could not be built, before anything is. */
static weft_status check_size(struct recipe *r, const char *text, struct weft_error *error)
{
    struct cursor c = {text, text, error};
    if (r->count[NVSWITCH] && !r->count[GPU])
        return refuse(&c, text + r->column[NVSWITCH] - 1, "nvswitch without gpu%s", "");
    if (!r->count[CPU])
        r->count[CPU] = 1;
    if (!r->count[NUMA])
        r->count[NUMA] = r->count[CPU];
    if (r->count[CPU] > r->count[NUMA])
        return refuse(&c, text + r->column[CPU] - 1, "more packages than NUMA domains%s", "");
    int64_t nodes = 1, links = 0, numa = r->count[NUMA], pcie = r->count[PCIE];
    for (int i = CPU; i < NUM_SYNTHETIC_KINDS; i++)
        nodes += r->count[i];
    nodes += numa; // PCIe roots
    links += numa * (numa - 1) / 2 + r->count[CORE] + pcie + numa + r->count[GPU];
    links += (int64_t)r->count[GPU] * r->count[NVSWITCH] + 2 * (int64_t)r->count[NIC];
    if (nodes > WEFT_TOPOLOGY_MAX_NODES || nodes * r->count[HOST] > WEFT_TOPOLOGY_MAX_NODES)
        return refuse(&c, text, "more than 4000000 nodes in all%s", "");
    if (links > WEFT_TOPOLOGY_MAX_LINKS || links * r->count[HOST] > WEFT_TOPOLOGY_MAX_LINKS)
        return refuse(&c, text, "more than 16000000 links in all%s", "");
    return WEFT_OK;
}

/* ---- presets: another language in the same place, "NAME" or "NAME:COUNT" ---- */

/* *preset stays NULL where the text starts with no preset's name. */
static weft_status parse_preset(const char *text, const struct weft_preset **preset, int *count,
                                struct weft_error *error)
{
    struct cursor c = {text, text + strspn(text, " \t\n"), error};
    const char *word = c.at;
    char name[32];
    c.at += strspn(c.at, "abcdefghijklmnopqrstuvwxyz0123456789-");
    snprintf(name, sizeof name, "%.*s", (int)(c.at - word), word);
    const struct weft_preset *found = weft_preset_find(name);
    if (!found)
        return WEFT_OK;
    *count = found->usual;
    if (*c.at == ':')
        WEFT_TRY(parse_count(&c, count));
    char reason[96];
    snprintf(reason, sizeof reason, "%s:COUNT, from 1 to %d %s", found->name, found->most,
             found->counts);
    if (*count < 1 || *count > found->most)
        return refuse(&c, word, "expected %s", reason);
    c.at += strspn(c.at, " \t\n");
    if (*c.at)
        return refuse(&c, c.at, "a preset stands alone (%s)", reason);
    *preset = found;
    return WEFT_OK;
}

static weft_status build_preset(const struct weft_preset *preset, int count,
                                struct weft_topology *t, struct weft_error *error)
{
    WEFT_TRY(preset->build(preset, count, t, error));
    WEFT_TRY(weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, error,
                                      "speeds and counts of a preset are the published ones; "
                                      "names, NUMA domains and PCIe ports are typical"));
    return weft_topology_sort(t, error);
}

/* ---- 2. build ---- */

struct builder {
    struct weft_topology *topology;
    const struct recipe *recipe;
    struct weft_error *error;
    int host_index;
    int host;    // node numbers of the host under construction
    int network; // -1: none
};

static weft_status add(struct builder *b, int kind, int index, int parent, int *node)
{
    char name[64];
    snprintf(name, sizeof name, "host%d/%s%d", b->host_index, weft_node_kinds[kind].name, index);
    return weft_topology_add_node(b->topology, kind, name, parent, node, b->error);
}

static weft_status join(struct builder *b, int link_kind, int from, int to, int64_t rate)
{
    struct weft_link link = weft_link_make(link_kind, from, to);
    if (rate >= 0)
        link.bandwidth.nominal = (struct weft_quantity){rate, WEFT_SOURCE_FILE};
    return weft_topology_add_link(b->topology, &link, NULL, b->error);
}

/* The holder of item `i` of `items`, dealt in equal runs over `holders` that start at `first`. */
static int dealt(int64_t i, int64_t items, int64_t holders, int first)
{
    return first + (int)(i * holders / items);
}

static weft_status add_processors(struct builder *b, int *first_numa)
{
    const struct recipe *r = b->recipe;
    int first_cpu = -1, node;
    for (int i = 0; i < r->count[CPU]; i++) {
        WEFT_TRY(add(b, WEFT_NODE_CPU, i, b->host, &node));
        first_cpu = i == 0 ? node : first_cpu;
    }
    for (int i = 0; i < r->count[NUMA]; i++) {
        int cpu = dealt(i, r->count[NUMA], r->count[CPU], first_cpu);
        WEFT_TRY(add(b, WEFT_NODE_NUMA, i, cpu, &node));
        *first_numa = i == 0 ? node : *first_numa;
        for (int j = 0; j < i; j++)
            WEFT_TRY(join(b, WEFT_LINK_SOCKET, *first_numa + j, node, r->rate[NUMA]));
    }
    for (int i = 0; i < r->count[CORE]; i++) {
        int numa = dealt(i, r->count[CORE], r->count[NUMA], *first_numa);
        WEFT_TRY(add(b, WEFT_NODE_CORE, i, numa, &node));
        WEFT_TRY(join(b, WEFT_LINK_MEMORY, numa, node, r->rate[CORE]));
    }
    return WEFT_OK;
}

/* Devices hang below PCIe switches, or where none are given below one root per NUMA domain. */
static weft_status add_pcie(struct builder *b, int first_numa, int *first, int *count)
{
    const struct recipe *r = b->recipe;
    bool has_switches = r->count[PCIE] > 0;
    *count = has_switches ? r->count[PCIE] : r->count[NUMA];
    for (int i = 0; i < *count; i++) {
        int numa = dealt(i, *count, r->count[NUMA], first_numa), node;
        WEFT_TRY(
            add(b, has_switches ? WEFT_NODE_PCIE_SWITCH : WEFT_NODE_PCIE_ROOT, i, numa, &node));
        *first = i == 0 ? node : *first;
        WEFT_TRY(
            join(b, has_switches ? WEFT_LINK_PCIE : WEFT_LINK_ROOT, numa, node, r->rate[PCIE]));
    }
    return WEFT_OK;
}

static weft_status add_devices(struct builder *b, int first_pcie, int num_pcie)
{
    const struct recipe *r = b->recipe;
    int first_switch = -1, node;
    for (int i = 0; i < r->count[NVSWITCH]; i++) {
        WEFT_TRY(add(b, WEFT_NODE_NVSWITCH, i, b->host, &node));
        first_switch = i == 0 ? node : first_switch;
    }
    for (int i = 0; i < r->count[GPU]; i++) {
        int pcie = dealt(i, r->count[GPU], num_pcie, first_pcie);
        WEFT_TRY(add(b, WEFT_NODE_GPU, i, pcie, &node));
        WEFT_TRY(join(b, WEFT_LINK_PCIE, pcie, node, r->rate[GPU]));
        for (int j = 0; j < r->count[NVSWITCH]; j++)
            WEFT_TRY(join(b, WEFT_LINK_NVLINK, node, first_switch + j, r->rate[NVSWITCH]));
    }
    for (int i = 0; i < r->count[NIC]; i++) {
        int pcie = dealt(i, r->count[NIC], num_pcie, first_pcie);
        WEFT_TRY(add(b, WEFT_NODE_NIC, i, pcie, &node));
        WEFT_TRY(join(b, WEFT_LINK_PCIE, pcie, node, -1));
        WEFT_TRY(join(b, WEFT_LINK_NETWORK, node, b->network, r->rate[NIC]));
    }
    return WEFT_OK;
}

static weft_status build(struct builder *b)
{
    const struct recipe *r = b->recipe;
    if (r->count[NIC])
        WEFT_TRY(weft_topology_add_node(b->topology, WEFT_NODE_SWITCH, "network", -1, &b->network,
                                        b->error));
    for (int i = 0; i < r->count[HOST]; i++) {
        int first_numa = -1, first_pcie = -1, num_pcie = 0;
        char name[32];
        snprintf(name, sizeof name, "host%d", i);
        b->host_index = i;
        WEFT_TRY(weft_topology_add_node(b->topology, WEFT_NODE_HOST, name, -1, &b->host, b->error));
        WEFT_TRY(add_processors(b, &first_numa));
        if (r->count[PCIE] || r->count[GPU] || r->count[NIC])
            WEFT_TRY(add_pcie(b, first_numa, &first_pcie, &num_pcie));
        WEFT_TRY(add_devices(b, first_pcie, num_pcie));
    }
    return weft_topology_sort(b->topology, b->error);
}

/* The string becomes the probe's remark, so that a dump says what it was made from. */
static weft_status record(struct weft_topology *t, const char *text, struct weft_error *error)
{
    char remark[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(remark, sizeof remark, "%s", text);
    for (char *at = remark; *at; at++)
        if (*at < 0x20) // only tabs and newlines got this far
            *at = ' ';
    return weft_topology_add_probe(t, "synthetic", true, remark, error);
}

weft_status weft_topology_from_synthetic(const char *text, struct weft_topology **topology,
                                         struct weft_error *error)
{
    const struct weft_preset *preset = NULL;
    int count = 0;
    struct recipe recipe = {0};
    for (int i = 0; i < NUM_SYNTHETIC_KINDS; i++)
        recipe.rate[i] = -1;
    WEFT_TRY(parse_preset(text, &preset, &count, error));
    if (!preset) {
        WEFT_TRY(parse(text, &recipe, error));
        WEFT_TRY(check_size(&recipe, text, error));
    }
    struct builder b = {.recipe = &recipe, .error = error, .network = -1};
    WEFT_TRY(weft_topology_create(&b.topology, error));
    weft_status status = preset ? build_preset(preset, count, b.topology, error) : build(&b);
    if (status == WEFT_OK)
        status = record(b.topology, text, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&b.topology);
        return status;
    }
    *topology = b.topology;
    return WEFT_OK;
}
