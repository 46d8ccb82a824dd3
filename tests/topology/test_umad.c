/*
 * SPDX-License-Identifier: Apache-2.0
 * The subnet probe on a scripted library: two planes seen from two ports, NICs that the graph has
 * already, and what goes wrong: no link, no permission, an error, a silence that outlasts the time.
 * A real library on real (simulated) subnets is in ibsim.sh.
 */
#include "tests/topology/compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ibnetdisc.h"
#include "base/symbols.h"
#include "base/umad.h"
#include "topology/probe.h"
#include "topology/probe_umad.h"

/* ---- a machine with one adapter of two ports ---- */

static umad_port_t local_ports[3];
static int open_result;

static int script_init(void)
{
    return 0;
}

static int script_names(char names[][UMAD_CA_NAME_LEN], int max)
{
    assert_true(max >= 1);
    strcpy(names[0], "mlx5_0");
    return 1;
}

static int script_adapter(const char *name, umad_ca_t *adapter)
{
    assert_string_equal(name, "mlx5_0");
    *adapter = (umad_ca_t){.numports = 2, .node_guid = htobe64(0xa0)};
    for (int i = 1; i <= 2; i++) {
        local_ports[i].portnum = i;
        adapter->ports[i] = &local_ports[i];
    }
    return 0;
}

static int script_release(umad_ca_t *adapter)
{
    (void)adapter;
    return 0;
}

static int script_open(const char *name, int port)
{
    (void)name, (void)port;
    return open_result;
}

static int script_close(int handle)
{
    assert_true(handle >= 0);
    return 0;
}

static const struct weft_umad umad = {.init = script_init,
                                      .get_adapter_names = script_names,
                                      .get_adapter = script_adapter,
                                      .release_adapter = script_release,
                                      .open_port = script_open,
                                      .close_port = script_close};

static void set_links(int first, int second)
{
    local_ports[1].state = (unsigned)first;
    local_ports[2].state = (unsigned)second;
    strcpy(local_ports[1].link_layer, "InfiniBand");
    strcpy(local_ports[2].link_layer, "InfiniBand");
    open_result = 3;
}

/* ---- subnets: the library's structures, with fields where the script's reader finds them ---- */

enum { MOST_NODES = 4 };

struct subnet {
    ibnd_fabric_t fabric; // first: destroy gets its address
    ibnd_node_t nodes[MOST_NODES];
    ibnd_port_t ports[MOST_NODES][3];
    ibnd_port_t *by_number[MOST_NODES][3];
};

static int num_alive, num_walks, silence_ms;
static int failing_port; // of the adapter; its walk fails

/* Rates as masks: each field in a byte of its own. */
static uint32_t script_field(void *buffer, int offset, enum MAD_FIELDS field)
{
    const uint8_t *bytes = buffer;
    (void)offset;
    switch ((int)field) {
    case IB_PORT_LINK_WIDTH_ACTIVE_F:
        return bytes[0];
    case IB_PORT_LINK_WIDTH_ENABLED_F:
    case IB_PORT_LINK_WIDTH_SUPPORTED_F:
        return bytes[1];
    case IB_PORT_LINK_SPEED_EXT_ACTIVE_F:
        return bytes[2];
    case IB_PORT_LINK_SPEED_EXT_ENABLED_F:
    case IB_PORT_LINK_SPEED_EXT_SUPPORTED_F:
        return bytes[3];
    case IB_PORT_LINK_SPEED_ACTIVE_F:
    case IB_PORT_LINK_SPEED_ENABLED_F:
    case IB_PORT_LINK_SPEED_SUPPORTED_F:
        return 4;
    default:
        return 0;
    }
}

static uint64_t script_field64(void *buffer, int offset, enum MAD_FIELDS field)
{
    (void)offset, (void)field;
    uint64_t value;
    memcpy(&value, buffer, sizeof value);
    return value;
}

static ibnd_node_t *add_node(struct subnet *s, int index, int type, uint64_t guid,
                             const char *description)
{
    ibnd_node_t *node = &s->nodes[index];
    *node = (ibnd_node_t){.type = type, .guid = guid, .numports = 2, .ports = s->by_number[index]};
    memcpy(node->info, &guid, sizeof guid);
    snprintf(node->nodedesc, sizeof node->nodedesc, "%s", description);
    node->next = s->fabric.nodes;
    s->fabric.nodes = node;
    for (int p = 1; p <= 2; p++) {
        s->ports[index][p] = (ibnd_port_t){.guid = guid * 16 + (uint64_t)p,
                                           .portnum = p,
                                           .node = node,
                                           .base_lid = (uint16_t)guid};
        s->by_number[index][p] = &s->ports[index][p];
    }
    return node;
}

static void add_cable(ibnd_node_t *a, int a_port, ibnd_node_t *b, int b_port, int width,
                      int extended)
{
    const uint8_t info[4] = {(uint8_t)width, 3, (uint8_t)extended, 15};
    a->ports[a_port]->remoteport = b->ports[b_port];
    b->ports[b_port]->remoteport = a->ports[a_port];
    memcpy(a->ports[a_port]->info, info, sizeof info);
    memcpy(b->ports[b_port]->info, info, sizeof info);
}

/* Each port of the adapter leads to a plane of its own: a switch and another host's adapter. */
static ibnd_fabric_t *script_discover(char *adapter, int port, ib_portid_t *from,
                                      ibnd_config_t *config)
{
    char description[40];
    assert_string_equal(adapter, "mlx5_0");
    assert_null(from);
    assert_true(config->timeout_ms > 0 && config->timeout_ms <= 1000 && config->retries <= 3);
    __atomic_add_fetch(&num_walks, 1, __ATOMIC_SEQ_CST);
    if (silence_ms > 0)
        usleep((useconds_t)silence_ms * 1000);
    if (port == failing_port) {
        errno = EIO;
        return NULL;
    }
    struct subnet *s = calloc(1, sizeof *s);
    ibnd_node_t *own = add_node(s, 0, IB_NODE_CA, 0xa0, "this mlx5_0");
    snprintf(description, sizeof description, "plane-%d", port);
    ibnd_node_t *plane = add_node(s, 1, IB_NODE_SWITCH, 0xb0 + (uint64_t)port, description);
    ibnd_node_t *other = add_node(s, 2, IB_NODE_CA, 0xc0, "other mlx5_0");
    add_cable(own, port, plane, 1, 2, port == 1 ? 8 : 4);
    add_cable(other, port, plane, 2, 1, 8);
    __atomic_add_fetch(&num_alive, 1, __ATOMIC_SEQ_CST);
    return &s->fabric;
}

static void script_destroy(ibnd_fabric_t *fabric)
{
    free(fabric);
    __atomic_sub_fetch(&num_alive, 1, __ATOMIC_SEQ_CST);
}

static const struct weft_ibnetdisc ibnetdisc = {.discover = script_discover,
                                                .destroy = script_destroy,
                                                .get_field = script_field,
                                                .get_field64 = script_field64};

static int set_up(void **state)
{
    (void)state;
    num_alive = num_walks = silence_ms = failing_port = 0;
    set_links(4, 4);
    return 0;
}

static struct weft_topology *new_graph(void)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    return t;
}

static const struct weft_link *cable(const struct weft_topology *t, const char *a, int a_port,
                                     const char *b, int b_port)
{
    int x = weft_topology_find_node(t, a), y = weft_topology_find_node(t, b);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if ((link->from == x && link->from_port == a_port && link->to == y &&
             link->to_port == b_port) ||
            (link->from == y && link->from_port == b_port && link->to == x &&
             link->to_port == a_port))
            return link;
    }
    fail_msg("no cable from %s to %s", a, b);
    return NULL;
}

/* ---- tests ---- */

static void test_both_planes_are_walked(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    struct weft_error error = {0};
    if (weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(num_walks, 2);
    assert_int_equal(num_alive, 0);
    assert_int_equal(t->num_links, 4);
    const struct weft_link *fast = cable(t, "this/mlx5_0", 1, "plane-1", 1);
    assert_true(fast->bandwidth.current.value == 50000000000);
    assert_true(fast->bandwidth.nominal.value == 50000000000);
    assert_int_equal(fast->bandwidth.current.source, WEFT_SOURCE_UMAD);
    assert_true(cable(t, "this/mlx5_0", 2, "plane-2", 1)->bandwidth.current.value == 25000000000);
    assert_true(cable(t, "other/mlx5_0", 1, "plane-1", 2)->bandwidth.current.value == 12500000000);
    assert_int_equal(t->nodes[weft_topology_find_node(t, "plane-2")].kind, WEFT_NODE_LEAF);
    assert_string_equal(
        weft_topology_text(t, weft_topology_find_node(t, "other/mlx5_0"), "port_guid"),
        "0000000000000c01");
    weft_topology_destroy(&t);
}

static void test_a_nic_that_is_there_keeps_its_node(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    int host, nic;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, "me", -1, &host, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, "me/mlx5_0", host, &nic, NULL),
                     WEFT_OK);
    assert_int_equal(
        weft_topology_set_text(t, nic, "node_guid", "0000:0000:0000:00a0", WEFT_SOURCE_HWLOC, NULL),
        WEFT_OK);
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_find_node(t, "this"), -1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    cable(t, "me/mlx5_0", 1, "plane-1", 1);
    assert_string_equal(weft_topology_text(t, nic, "port_guid"), "0000000000000a01");
    for (int i = 0; i < t->num_remarks; i++) // the same GUID in two spellings contradicts nothing
        assert_int_not_equal(t->remarks[i].kind, WEFT_REMARK_CONTRADICTION);
    weft_topology_destroy(&t);
}

static void test_a_port_without_link_is_left_alone(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    struct weft_error error = {0};
    set_links(4, 1);
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, NULL), WEFT_OK);
    assert_int_equal(num_walks, 1);
    set_links(1, 1);
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, &error),
                     WEFT_NOT_FOUND);
    assert_string_equal(error.text, "no InfiniBand port has a link");
    set_links(4, 4);
    strcpy(local_ports[1].link_layer, "Ethernet");
    strcpy(local_ports[2].link_layer, "Ethernet");
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, NULL), WEFT_NOT_FOUND);
    weft_topology_destroy(&t);
}

static void test_no_permission(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    struct weft_error error = {0};
    open_result = -EACCES;
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, &error), WEFT_SYSTEM);
    assert_string_equal(error.text,
                        "port 1 of mlx5_0 cannot be opened for management: Permission denied");
    assert_int_equal(num_walks, 0);
    assert_int_equal(t->num_nodes, 0);
    weft_topology_destroy(&t);
}

static void test_one_plane_that_fails_hides_not_the_other(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    failing_port = 1;
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 5000000000, t, NULL), WEFT_OK);
    assert_int_equal(t->num_links, 2);
    assert_int_equal(t->num_remarks, 1);
    assert_int_equal(t->remarks[0].kind, WEFT_REMARK_HIDDEN);
    assert_non_null(strstr(t->remarks[0].text, "walking the subnet from mlx5_0 failed"));
    weft_topology_destroy(&t);
}

static void test_silence_ends_in_time(void **state)
{
    (void)state;
    struct weft_topology *t = new_graph();
    struct weft_error error = {0};
    silence_ms = 400;
    set_links(4, 1);
    int64_t before = weft_clock_ns();
    assert_int_equal(weft_probe_umad_with(&umad, &ibnetdisc, 50000000, t, &error), WEFT_TIMEOUT);
    assert_non_null(strstr(error.text, "did not answer in time"));
    assert_int_equal(num_walks, 1);
    int64_t deadline = before + INT64_C(20000000000);
    while (weft_clock_ns() < deadline && // the thread that was left cleans up after itself
           (__atomic_load_n(&num_alive, __ATOMIC_SEQ_CST) > 0 ||
            weft_clock_ns() < before + INT64_C(600000000)))
        usleep(10000);
    assert_int_equal(num_alive, 0);
    assert_int_equal(t->num_nodes, 0);
    weft_topology_destroy(&t);
}

static void test_absent_libraries(void **state)
{
    (void)state;
    struct weft_error error = {0};
    int (*function)(void) = NULL;
    const struct weft_symbol symbols[] = {{"no_such_function", 0}, {"puts@NO_SUCH_1.0", 0}};
    struct weft_library library = {"libno-such.so.3", "the library", symbols, 1, 1};
    assert_int_equal(weft_symbols_load(&library, NULL, &function, NULL, &error), WEFT_UNSUPPORTED);
    assert_string_equal(error.text, "the library (libno-such.so.3) is not installed");
    assert_int_equal(weft_symbols_load(&library, "libc.so.6", &function, NULL, &error),
                     WEFT_UNSUPPORTED);
    assert_string_equal(error.text, "the library is too old: it has no no_such_function");
    library.symbols++;
    assert_int_equal(weft_symbols_load(&library, "libc.so.6", &function, NULL, &error),
                     WEFT_UNSUPPORTED);
    assert_string_equal(error.text, "the library is too old: it has no puts@NO_SUCH_1.0");
    assert_null(function);
}

/* Whatever this machine has, there is an answer. */
static void test_this_machine(void **state)
{
    (void)state;
    const char *reason = "";
    if (!weft_probe_umad.available(&reason))
        assert_true(strlen(reason) > 0);
    setenv("WEFT_FABRIC_TIME", "0", 1);
    assert_false(weft_probe_umad.available(&reason));
    assert_string_equal(reason, "WEFT_FABRIC_TIME is 0");
    unsetenv("WEFT_FABRIC_TIME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_both_planes_are_walked, set_up),
        cmocka_unit_test_setup(test_a_nic_that_is_there_keeps_its_node, set_up),
        cmocka_unit_test_setup(test_a_port_without_link_is_left_alone, set_up),
        cmocka_unit_test_setup(test_no_permission, set_up),
        cmocka_unit_test_setup(test_one_plane_that_fails_hides_not_the_other, set_up),
        cmocka_unit_test_setup(test_silence_ends_in_time, set_up),
        cmocka_unit_test_setup(test_absent_libraries, set_up),
        cmocka_unit_test_setup(test_this_machine, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
