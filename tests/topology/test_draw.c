/*
 * SPDX-License-Identifier: Apache-2.0
 * Drawings: every node and link is in them, names of strangers stay text, the same graph gives the
 * same bytes, and large graphs stay small. SVG is read back by libxml2. How a page behaves in a
 * browser is for tests/tools/test_html.sh.
 */
#include "tests/topology/load.h"

#ifndef WEFT_CORE_ONLY
#include <libxml/parser.h>
#include <libxml/tree.h>
#endif

#include "topology/synthetic.h"

static char *drawn(const char *form, const struct weft_topology *t, size_t *bytes)
{
    char *text = NULL;
    struct weft_error error = {0};
    FILE *stream = open_memstream(&text, bytes);
    assert_non_null(stream);
    if (weft_topology_export(weft_exporter_find(form), t, stream, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static struct weft_topology *made(const char *synthetic)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic(synthetic, &t, NULL), WEFT_OK);
    return t;
}

static int add(struct weft_topology *t, int kind, const char *name, int parent)
{
    int node = -1;
    assert_int_equal(weft_topology_add_node(t, kind, name, parent, &node, NULL), WEFT_OK);
    return node;
}

static void join(struct weft_topology *t, int kind, int from, int to, int64_t nominal)
{
    struct weft_link link = weft_link_make(kind, from, to);
    if (nominal >= 0)
        link.bandwidth.nominal = (struct weft_quantity){nominal, WEFT_SOURCE_FILE};
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
}

static int count_of(const char *text, const char *what)
{
    int count = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        count++;
    return count;
}

/* ---- what SVG holds, by a reader that is not ours ---- */

struct seen {
    char *nodes; // per node
    char *links; // per link
    int boxes, titles;
};

#ifndef WEFT_CORE_ONLY
static void see(const struct weft_topology *t, const xmlNode *at, struct seen *seen)
{
    for (; at; at = at->next) {
        if (at->type != XML_ELEMENT_NODE)
            continue;
        assert_string_not_equal((const char *)at->name, "script");
        assert_string_not_equal((const char *)at->name, "img");
        for (const xmlAttr *a = at->properties; a; a = a->next)
            assert_int_not_equal(strncmp((const char *)a->name, "on", 2), 0);
        seen->titles += strcmp((const char *)at->name, "title") == 0;
        xmlChar *name = xmlGetProp(at, (const xmlChar *)"data-node");
        xmlChar *links = xmlGetProp(at, (const xmlChar *)"data-links");
        if (name) {
            int node = weft_topology_find_node(t, (const char *)name);
            assert_in_range(node, 0, t->num_nodes - 1);
            seen->nodes[node] = 1;
            seen->boxes++;
        }
        for (char *link = (char *)links; link && *link;) {
            long index = strtol(link, &link, 10);
            assert_in_range(index, 0, t->num_links - 1);
            seen->links[index] = 1;
        }
        xmlFree(name);
        xmlFree(links);
        see(t, at->children, seen);
    }
}

/* Reads the SVG of `t`, which is in canonical order; fails unless it is well formed. */
static void see_svg(const struct weft_topology *t, struct seen *seen)
{
    size_t bytes;
    char *text = drawn("svg", t, &bytes);
    xmlDoc *document = xmlReadMemory(text, (int)bytes, "drawing", NULL, XML_PARSE_NONET);
    assert_non_null(document);
    *seen = (struct seen){.nodes = calloc((size_t)t->num_nodes + 1, 1),
                          .links = calloc((size_t)t->num_links + 1, 1)};
    assert_true(seen->nodes && seen->links);
    assert_string_equal((const char *)xmlDocGetRootElement(document)->name, "svg");
    see(t, xmlDocGetRootElement(document), seen);
    xmlFreeDoc(document);
    free(text);
}

static void check_all_in_svg(const struct weft_topology *t)
{
    struct seen seen;
    see_svg(t, &seen);
    for (int i = 0; i < t->num_nodes; i++)
        if (!seen.nodes[i])
            fail_msg("node %s is not drawn", t->nodes[i].name);
    for (int i = 0; i < t->num_links; i++)
        if (!seen.links[i])
            fail_msg("link %s to %s is not drawn", t->nodes[t->links[i].from].name,
                     t->nodes[t->links[i].to].name);
    assert_true(seen.titles > seen.boxes); // each box, each line and the drawing have one
    free(seen.nodes);
    free(seen.links);
}
#else
static void check_all_in_svg(const struct weft_topology *t)
{
    size_t bytes;
    free(drawn("svg", t, &bytes));
}
#endif

/* The escaped form, by rules of our own. */
static void escape(const char *text, char *escaped)
{
    static const char *const forms[] = {"&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#39;"};
    for (; *text; text++) {
        const char *form = NULL;
        for (int i = 0; i < 5; i++)
            form = forms[i][0] == *text ? forms[i] + 1 : form;
        escaped += form ? sprintf(escaped, "%s", form) : sprintf(escaped, "%c", *text);
    }
    *escaped = '\0';
}

static void check_all_in_page(const struct weft_topology *t)
{
    size_t bytes;
    char *text = drawn("html", t, &bytes), mark[4000], name[2000];
    assert_int_equal(count_of(text, "<script"), 1);
    assert_int_equal(count_of(text, "</script"), 1);
    assert_int_equal(count_of(text, "<img"), 0);
    for (int i = 0; i < t->num_nodes; i++) {
        escape(t->nodes[i].name, name);
        snprintf(mark, sizeof mark, "id=n%d data-kind=\"%s\"", i,
                 weft_node_kinds[t->nodes[i].kind].singular);
        const char *entry = strstr(text, mark);
        assert_non_null(entry);
        snprintf(mark, sizeof mark, " data-node=\"%s\">", name);
        const char *named = strstr(entry, mark);
        assert_true(named && named < strchr(entry, '>')); // of the same element
    }
    for (int i = 0; i < t->num_links; i++) {
        snprintf(mark, sizeof mark, "<tr id=l%d", i);
        assert_non_null(strstr(text, mark));
    }
    free(text);
}

/* ---- tests ---- */

static void test_everything_of_one_host(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "host:1 core:8",
        "host:1 cpu:2 numa:4@20 core:32 pcie:4 nvswitch:4@25 gpu:8@15 nic:8@400",
        "host:1 gpu:2",
        "host:1 nvswitch:6 gpu:4 nic:2",
        "host:1 cpu:8 numa:24 core:96 nic:1",
    };
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct weft_topology *t = made(sources[i]);
        check_all_in_svg(t);
        check_all_in_page(t);
        weft_topology_destroy(&t);
    }
}

/* No arc leaves the page's drawing at the lower edge. */
static void check_arcs_inside(const struct weft_topology *t)
{
    size_t bytes;
    char *page = drawn("html", t, &bytes);
    const char *view = strstr(page, "viewBox=\"");
    int left, top, width, height, x[4], y[4], arcs = 0;
    assert_non_null(view);
    assert_int_equal(sscanf(view, "viewBox=\"%d %d %d %d", &left, &top, &width, &height), 4);
    for (const char *way = view; (way = strstr(way, "d=\"M")); way++) {
        if (sscanf(way, "d=\"M%d %dC%d %d %d %d %d %d", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2],
                   &x[3], &y[3]) != 8)
            continue;
        int end = y[0] > y[3] ? y[0] : y[3];
        assert_true(end + (y[1] - end) * 3 / 4 <= height);
        arcs++;
    }
    assert_true(arcs > 0);
    free(page);
}

static void test_real_files(void **state)
{
    (void)state;
    static const char *const files[] = {"hwloc/nvidiaDGX2.xml", "hwloc/power8gpudistances.xml",
                                        "hwloc/192em64t-12gr2n8c2t.xml", "mpibind/coral-lassen.xml",
                                        "mpibind/epyc-corona.xml"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct weft_topology *t = load_real(files[i]);
        check_all_in_svg(t);
        check_all_in_page(t);
        check_arcs_inside(t);
        weft_topology_destroy(&t);
    }
}

/* Names as attackers would choose them; all are printable ASCII, so graphs take them. */
static void test_hostile_text(void **state)
{
    (void)state;
    static const char *const names[] = {
        "</script><img src=x onerror=alert(1)>",
        "\"&<>'",
        "]]>--><!--<script>alert(2)</script>",
        "' onload='alert(3)' x=\" onfocus=alert(4) y=\"",
        "\\N\\\"];evil [label=\"\\",
        "</title></svg></style><script>alert(5)</script>",
        "&lt;b&gt; &#x3c;",
        "javascript:alert(6)//${alert(7)}`{{8}}",
    };
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int host = add(t, WEFT_NODE_HOST, "<host>", -1), before = -1;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int kind = i % 2 ? WEFT_NODE_GPU : WEFT_NODE_NIC;
        int node = add(t, kind, names[i], i < 6 ? host : -1);
        assert_int_equal(
            weft_topology_set_text(t, node, names[i], names[i], WEFT_SOURCE_FILE, NULL), WEFT_OK);
        assert_int_equal(weft_topology_set_text(t, node, "model", names[i], WEFT_SOURCE_FILE, NULL),
                         WEFT_OK);
        assert_int_equal(weft_topology_add_remark(t, WEFT_REMARK_UNREAD, WEFT_SOURCE_FILE, node,
                                                  NULL, "about %s", names[i]),
                         WEFT_OK);
        assert_int_equal(weft_topology_add_probe(t, names[i], true, names[i], NULL), WEFT_OK);
        if (before >= 0)
            join(t, WEFT_LINK_PCIE, before, node, 1000000000);
        before = node;
    }
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    check_all_in_page(t);
#ifndef WEFT_CORE_ONLY
    struct seen seen;
    see_svg(t, &seen); // every data-node is a name again, no element and no handler came in
    free(seen.nodes);
    free(seen.links);
#endif
    size_t bytes;
    char *dot = drawn("dot", t, &bytes);
    for (const char *line = dot; *line; line = strchr(line, '\n') + 1) { // quotes pair up in a line
        int quotes = 0;
        for (const char *at = line; *at != '\n'; at++) {
            if (*at == '\\')
                at++;
            else
                quotes += *at == '"';
        }
        assert_int_equal(quotes % 2, 0);
    }
    free(dot);
    weft_topology_destroy(&t);
}

static void test_same_bytes(void **state)
{
    (void)state;
    static const char *const forms[] = {"svg", "html", "dot"};
    struct weft_topology *t = made("host:20 cpu:2 nvswitch:2 gpu:4 nic:4@200"), *back = NULL;
    // the same content, put in from the end
    assert_int_equal(weft_topology_create(&back, NULL), WEFT_OK);
    int *order = malloc((size_t)t->num_nodes * sizeof *order), count = 0;
    assert_non_null(order);
    for (int depth = 0; depth < 8; depth++)
        for (int i = t->num_nodes; i-- > 0;) {
            int level = 0;
            for (int at = i; t->nodes[at].parent >= 0; at = t->nodes[at].parent)
                level++;
            if (level != depth)
                continue;
            int parent = t->nodes[i].parent;
            add(back, t->nodes[i].kind, t->nodes[i].name,
                parent < 0 ? -1 : weft_topology_find_node(back, t->nodes[parent].name));
            order[count++] = i;
        }
    assert_int_equal(count, t->num_nodes);
    for (int i = t->num_links; i-- > 0;) {
        struct weft_link link = t->links[i];
        link.from = weft_topology_find_node(back, t->nodes[link.from].name);
        link.to = weft_topology_find_node(back, t->nodes[link.to].name);
        assert_int_equal(weft_topology_add_link(back, &link, NULL, NULL), WEFT_OK);
    }
    assert_int_equal(
        weft_topology_add_probe(back, t->probes[0].name, true, t->probes[0].reason, NULL), WEFT_OK);
    for (int i = 0; i < 3; i++) {
        size_t bytes_1, bytes_2;
        char *text_1 = drawn(forms[i], t, &bytes_1), *text_2 = drawn(forms[i], back, &bytes_2);
        assert_int_equal(bytes_1, bytes_2);
        assert_memory_equal(text_1, text_2, bytes_1);
        free(text_1);
        free(text_2);
    }
    free(order);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

static void test_empty(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    check_all_in_page(t);
    size_t bytes;
    char *svg = drawn("svg", t, &bytes), *dot = drawn("dot", t, &bytes);
    assert_non_null(strstr(svg, "There is nothing in this topology."));
    assert_non_null(strstr(dot, "graph weft {"));
#ifndef WEFT_CORE_ONLY
    struct seen seen;
    see_svg(t, &seen);
    assert_int_equal(seen.boxes, 0);
    free(seen.nodes);
    free(seen.links);
#endif
    free(svg);
    free(dot);
    weft_topology_destroy(&t);
}

/* What is not known is dashed and says so; what is too slow is marked; width follows bandwidth. */
static void test_bandwidths(void **state)
{
    (void)state;
    size_t bytes;
    struct weft_topology *t = made("host:1 gpu:1");
    char *text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, "class=\"l k-pcie assumed\""), 1);
    assert_non_null(strstr(text, "speed not known"));
    free(text);
    for (int i = 0; i < t->num_links; i++)
        t->links[i].bandwidth.nominal = (struct weft_quantity){16000000000, WEFT_SOURCE_FILE};
    text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, " assumed\""), 0);
    assert_null(strstr(text, "below nominal"));
    assert_non_null(strstr(text, "16 GB/s nominal [file]"));
    const char *thin = strstr(text, "k-pcie");
    int tenths_1 = 0, tenths_2 = 0, rest;
    thin = strstr(thin, "stroke-width=\"");
    assert_int_equal(sscanf(thin, "stroke-width=\"%d.%d\"", &tenths_1, &rest), 2);
    tenths_1 = tenths_1 * 10 + rest;
    free(text);
    for (int i = 0; i < t->num_links; i++) {
        t->links[i].bandwidth.nominal.value = INT64_MAX;
        t->links[i].bandwidth.current = (struct weft_quantity){160000000000, WEFT_SOURCE_HWLOC};
        t->links[i].bandwidth.measured = (struct weft_quantity){150000000000, WEFT_SOURCE_MEASURED};
    }
    text = drawn("svg", t, &bytes);
    assert_non_null(strstr(text, "below nominal"));
    assert_non_null(strstr(text, "160 GB/s current [hwloc], 150 GB/s measured [measured]"));
    thin = strstr(strstr(text, "k-pcie"), "stroke-width=\"");
    assert_int_equal(sscanf(thin, "stroke-width=\"%d.%d\"", &tenths_2, &rest), 2);
    tenths_2 = tenths_2 * 10 + rest;
    assert_true(tenths_2 > tenths_1 + 8);
    free(text);
    weft_topology_destroy(&t);
}

/* Hosts alike share a box; one that differs has its own, and is shown from inside too. */
static void test_alike_hosts(void **state)
{
    (void)state;
    size_t bytes;
    struct weft_topology *t = made("host:64 nvswitch:4@25 gpu:8 nic:8@400");
    char *text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, "data-count=\"64\""), 1);
    assert_int_equal(count_of(text, "<title>64 links, together 3.2 TB/s"), 8); // one per NIC
    assert_int_equal(count_of(text, "Inside host"), 1);
    assert_true(bytes < 100000);
    free(text);
    check_all_in_page(t);
    int gpu = weft_topology_find_node(t, "host7/gpu3");
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK && t->links[i].from == gpu)
            t->links[i].bandwidth.current = (struct weft_quantity){12500000000, WEFT_SOURCE_NVML};
    text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, "data-count=\"63\""), 1);
    assert_non_null(strstr(text, "Inside host7<"));
    free(text);
    weft_topology_destroy(&t);
}

static void test_few_hosts_have_their_own_box(void **state)
{
    (void)state;
    size_t bytes;
    struct weft_topology *t = made("host:4 nvswitch:1 gpu:8 nic:8@400");
    char *text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, "n-host s-mini"), 4);
    assert_int_equal(count_of(text, "data-node=\"host3/gpu7\""), 1);
    assert_int_equal(count_of(text, "data-node=\"host0/gpu7\""), 2); // from outside and inside
    free(text);
    check_all_in_page(t);
    weft_topology_destroy(&t);
}

/* 16,384 GPUs: the page stays small and says what it does not list. */
static void test_large_cluster(void **state)
{
    (void)state;
    size_t bytes;
    struct weft_topology *t = made("host:2048 nvswitch:4 gpu:8 nic:8@400");
    char *text = drawn("html", t, &bytes);
    assert_true(bytes < 60000000);
    assert_non_null(strstr(text, "This graph is too large to list whole."));
    assert_non_null(strstr(text, "data-node=\"host2047\""));
    assert_non_null(strstr(text, "more links are not listed"));
    free(text);
    weft_topology_destroy(&t);
}

/* Hosts without end, none like another: the drawing has its bounds. */
static void test_many_sorts(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < 300; i++) {
        char name[40], model[40];
        snprintf(name, sizeof name, "box%d", i);
        snprintf(model, sizeof model, "model %d", i);
        int host = add(t, WEFT_NODE_HOST, name, -1);
        assert_int_equal(weft_topology_set_text(t, host, "model", model, WEFT_SOURCE_FILE, NULL),
                         WEFT_OK);
        snprintf(name, sizeof name, "switch%d", i);
        int leaf = add(t, WEFT_NODE_LEAF, name, -1);
        assert_int_equal(weft_topology_set_text(t, leaf, "model", model, WEFT_SOURCE_FILE, NULL),
                         WEFT_OK);
        join(t, WEFT_LINK_NETWORK, host, leaf, 1);
        if (leaf > 2)
            join(t, WEFT_LINK_NETWORK, leaf, leaf - 2, 1);
    }
    size_t bytes;
    char *text = drawn("svg", t, &bytes);
    assert_int_equal(count_of(text, "n-host s-mini"), 48);
    assert_int_equal(count_of(text, "n-leaf s-bar"), 64);
    assert_int_equal(count_of(text, "253 more"), 1); // hosts
    free(text);
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    check_all_in_page(t);
    weft_topology_destroy(&t);
}

/* A finding leads to what it names. */
static void test_mentions(void **state)
{
    (void)state;
    size_t bytes;
    struct weft_topology *t = made("host:1 gpu:2@16");
    int gpu = weft_topology_find_node(t, "host0/gpu1");
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].to == gpu)
            t->links[i].bandwidth.current = (struct weft_quantity){8000000000, WEFT_SOURCE_HWLOC};
    char *text = drawn("html", t, &bytes), mark[100];
    const char *finding = strstr(text, "<button class=says data-boxes=\"");
    assert_non_null(finding);
    const char *box = strstr(text, "data-node=\"host0/gpu1\" id=\"b");
    assert_non_null(box);
    int number = atoi(strstr(box, "id=\"b") + 5);
    snprintf(mark, sizeof mark, "b%d", number);
    const char *named = strstr(finding, mark);
    assert_true(named && named < strchr(finding, '>'));
    free(text);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_of_one_host),
        cmocka_unit_test(test_real_files),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_bandwidths),
        cmocka_unit_test(test_alike_hosts),
        cmocka_unit_test(test_few_hosts_have_their_own_box),
        cmocka_unit_test(test_large_cluster),
        cmocka_unit_test(test_many_sorts),
        cmocka_unit_test(test_mentions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
