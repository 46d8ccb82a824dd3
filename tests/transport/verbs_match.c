/*
 * SPDX-License-Identifier: Apache-2.0
 * Which port talks to which: rules of reaching, pairs by rail and by subnet, and that both ends
 * find the same. Ports are made up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "tests/transport/verbs_match_rules.h"

/* A port of RoCE v2 at 10.0.subnet.host/24. */
static struct weft_verbs_end roce(int subnet, int host)
{
    return (struct weft_verbs_end){
        .gid = {[10] = 0xff, [11] = 0xff, [12] = 10, [14] = (uint8_t)subnet, [15] = (uint8_t)host},
        .pkey = 0xffff,
        .rate_mbps = 100000,
        .kind = WEFT_GID_ROCE_V2,
        .mtu = IBV_MTU_4096,
        .prefix_bits = 120,
        .is_near = true};
}

static struct weft_verbs_end ib(int subnet, int lid)
{
    return (struct weft_verbs_end){.gid = {0xfe, 0x80, [7] = (uint8_t)subnet, [15] = (uint8_t)lid},
                                   .lid = (uint16_t)lid,
                                   .pkey = 0xffff,
                                   .rate_mbps = 200000,
                                   .kind = WEFT_GID_INFINIBAND,
                                   .mtu = IBV_MTU_4096,
                                   .prefix_bits = 64,
                                   .is_near = true};
}

static struct weft_verbs_end ipv6(int first, int subnet, int host)
{
    struct weft_verbs_end end = roce(0, 0);
    memset(end.gid, 0, sizeof end.gid);
    end.gid[0] = (uint8_t)first;
    end.gid[1] = first == 0xfe ? 0x80 : 0x01;
    end.gid[7] = (uint8_t)subnet;
    end.gid[15] = (uint8_t)host;
    end.prefix_bits = 64;
    return end;
}

static void must_not_reach(struct weft_verbs_end a, struct weft_verbs_end b, const char *reason)
{
    const char *why[2] = {"", ""};
    assert_false(weft_verbs_reaches(&a, &b, &why[0]));
    assert_false(weft_verbs_reaches(&b, &a, &why[1]));
    assert_string_equal(why[0], reason);
    assert_string_equal(why[1], reason);
}

static void test_who_reaches_whom(void **state)
{
    (void)state;
    struct weft_verbs_end a = roce(1, 1), b = roce(1, 2);
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    b = roce(2, 1); // a router may
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    must_not_reach(roce(1, 1), ib(0, 1), "one is on InfiniBand, the other on Ethernet");
    must_not_reach(ib(0, 1), ib(1, 2), "their InfiniBand subnet prefixes differ");
    must_not_reach(roce(1, 1), ipv6(0x20, 0, 1),
                   "one has an IPv4 address, the other an IPv6 address");
    b.kind = WEFT_GID_ROCE_V1;
    must_not_reach(a, b, "their GIDs are of different RoCE versions");
    a.kind = WEFT_GID_ROCE_V1;
    must_not_reach(a, b, "RoCE v1 does not leave its subnet, and theirs differ");
    b = roce(1, 7);
    b.kind = WEFT_GID_ROCE_V1;
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    a = b; // the same port
    a.prefix_bits = b.prefix_bits = 128;
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    must_not_reach(ipv6(0xfe, 0, 1), ipv6(0x20, 0, 1),
                   "an address that is valid on its own link only is on another subnet");
    a = ipv6(0xfe, 0, 1), b = ipv6(0xfe, 0, 2);
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    a = ib(0, 1), b = ib(0, 2);
    b.pkey = 0x8001;
    must_not_reach(a, b, "they are in different partitions (P_Key)");
    b.pkey = 0x7fff; // limited with full is allowed
    assert_true(weft_verbs_reaches(&a, &b, NULL));
    a.pkey = 0x7fff;
    must_not_reach(a, b, "both are limited members of their partition (P_Key)");
}

/* "0-1 1-0s": own and peer's index, s: spare. */
static void must_pair(const struct weft_verbs_description *a,
                      const struct weft_verbs_description *b, const char *expected)
{
    struct weft_verbs_ports ports;
    struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS];
    struct weft_error error = {0};
    char found[128] = "";
    int count = check_paths(a, b, &error), num_paths = 0;
    ports_of(a, &ports);
    if (count > 0)
        assert_int_equal(weft_verbs_match(&ports, a, b, paths, &num_paths, &error), WEFT_OK);
    for (int i = 0; i < num_paths; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%d-%d%s", i ? " " : "",
                 paths[i].own, paths[i].peer, paths[i].is_spare ? "s" : "");
    assert_string_equal(found, expected);
}

static void test_pairs(void **state)
{
    (void)state;
    const struct weft_verbs_description rails = {2, {roce(1, 1), roce(2, 1)}},
                                        same_rails = {2, {roce(1, 2), roce(2, 2)}},
                                        crossed = {2, {roce(2, 2), roce(1, 2)}},
                                        one = {1, {roce(2, 2)}},
                                        flat = {3, {roce(1, 2), roce(1, 3), roce(1, 4)}},
                                        flat_two = {2, {roce(1, 5), roce(1, 6)}},
                                        others = {2, {roce(3, 1), roce(4, 1)}},
                                        more = {3, {roce(3, 1), roce(4, 1), roce(5, 1)}};
    must_pair(&rails, &same_rails, "0-0 1-1");
    must_pair(&rails, &rails, "0-0 1-1");
    must_pair(&rails, &crossed, "0-1 1-0");
    must_pair(&rails, &one, "1-0");
    must_pair(&flat, &flat, "0-0 1-1 2-2");
    must_pair(&flat, &flat_two, "0-0 1-1 2-0s");
    must_pair(&flat_two, &flat, "0-0 1-1 0-2s");
    must_pair(&rails, &flat, "0-0 0-1s 0-2s");
    must_pair(&rails, &others, "0-0 1-1"); // through routers
    must_pair(&more, &rails, "0-0 1-1 2-0s");
    // hosts that are routed to: no address is on a subnet with another
    struct weft_verbs_description hosts = {2, {roce(1, 1), roce(1, 2)}},
                                  next = {2, {roce(1, 2), roce(1, 3)}};
    must_pair(&hosts, &next, "0-0 1-1");
    for (int i = 0; i < 2; i++)
        hosts.ports[i].prefix_bits = next.ports[i].prefix_bits = 128;
    must_pair(&hosts, &next, "0-0 1-1");
    must_pair(&hosts, &hosts, "0-0 1-1");
    hosts.num_ports = 1;
    must_pair(&hosts, &next, "0-0 0-1s");
}

/* The nearest ports carry data first, whoever they are at the two ends. */
static void test_nearest_pairs(void **state)
{
    (void)state;
    struct weft_verbs_description a = {3, {roce(1, 1), roce(2, 1), roce(3, 1)}},
                                  b = {3, {roce(1, 2), roce(2, 2), roce(3, 2)}};
    a.ports[0].is_near = a.ports[1].is_near = false;
    must_pair(&a, &b, "2-2 0-0s 1-1s");
    b.ports[1].is_near = b.ports[2].is_near = false;
    must_pair(&a, &b, "0-0 2-2 1-1s"); // each is near to one end
    a.ports[0].is_near = true;
    must_pair(&a, &b, "0-0 2-2s 1-1s");
}

/* What was measured is told to the peer, and the slower end counts. */
static void test_rates(void **state)
{
    (void)state;
    static const struct {
        int64_t nominal, measured;
        uint32_t told;
    } cases[] = {
        {10000, 0, 10000},   {400000, 0, 400000}, {2500, 0, 2500},
        {10000, 1, 1},       {10000, 283, 283},   {10000, 4095, 4095},
        {10000, 8191, 8190}, {0, 0, 0},           {INT64_C(1) << 40, 0, 0xfffu << 15},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft_verbs_description one = {1, {roce(1, 1)}}, other = {1, {roce(1, 2)}}, back;
        struct weft_verbs_ports ports;
        unsigned char wire[WEFT_VERBS_WIRE_BYTES];
        ports_of(&one, &ports);
        ports.ports[0].rate_mbps = cases[i].nominal;
        ports.ports[0].measured_mbps = cases[i].measured;
        weft_verbs_describe(&ports, &one);
        assert_int_equal(one.ports[0].rate_mbps, cases[i].told);
        weft_verbs_description_write(&one, wire);
        assert_int_equal(weft_verbs_description_read(wire, &back, NULL), WEFT_OK);
        assert_memory_equal(&back, &one, sizeof one);
        struct weft_verbs_path path[WEFT_VERBS_MAX_PATHS];
        int count;
        assert_int_equal(weft_verbs_match(&ports, &one, &other, path, &count, NULL), WEFT_OK);
        assert_int_equal(path[0].rate_mbps,
                         cases[i].told == 0 || cases[i].told > 100000 ? 100000 : cases[i].told);
    }
}

static void test_reasons(void **state)
{
    (void)state;
    struct weft_verbs_description a = {2, {ib(0, 1), ib(0, 2)}}, b = {1, {roce(1, 1)}};
    struct weft_error error = {0};
    assert_int_equal(check_paths(&a, &b, &error), 0);
    assert_int_equal(error.status, WEFT_UNSUPPORTED);
    assert_string_equal(
        error.text, "no RDMA port here reaches one of the peer (2 and 1 ports): rdma0:1 "
                    "(InfiniBand fe80:0000:0000:0000:0000:0000:0000:0001, P_Key 0xffff) and its "
                    "first (RoCE v2 10.0.1.1, P_Key 0xffff): one is on InfiniBand, the other on "
                    "Ethernet");
}

static void test_path_attributes(void **state)
{
    (void)state;
    struct weft_verbs_description a = {1, {roce(1, 1)}}, b = {1, {roce(2, 2)}};
    struct weft_verbs_ports ports;
    struct weft_verbs_path path[WEFT_VERBS_MAX_PATHS];
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    int count = 0;
    b.ports[0].mtu = IBV_MTU_1024;
    b.ports[0].rate_mbps = 25000;
    ports_of(&a, &ports);
    ports.options.service_level = 3;
    ports.options.traffic_class = 106;
    ports.ports[0].pkey_index = 7;
    assert_int_equal(weft_verbs_match(&ports, &a, &b, path, &count, NULL), WEFT_OK);
    assert_int_equal(path[0].mtu, IBV_MTU_1024);
    assert_int_equal(path[0].rate_mbps, 25000);
    assert_int_equal(path[0].pkey_index, 7);
    assert_int_equal(path[0].address.sl, 3);
    assert_int_equal(path[0].address.is_global, 1);
    assert_int_equal(path[0].address.grh.traffic_class, 106);
    assert_int_equal(path[0].address.grh.hop_limit, 64);
    assert_string_equal(weft_verbs_path_text(&ports, &b, &path[0], text),
                        "rdma0:1 10.0.1.1 to 10.0.2.2 (another subnet), RoCE v2, MTU 1024 (here "
                        "4096, there 1024), 25 Gb/s");
    a.ports[0] = ib(0, 5), b.ports[0] = ib(0, 9);
    ports_of(&a, &ports);
    assert_int_equal(weft_verbs_match(&ports, &a, &b, path, &count, NULL), WEFT_OK);
    assert_int_equal(path[0].address.dlid, 9);
    assert_int_equal(path[0].address.is_global, 0);
    ports.ports[0].attributes.flags = IBV_QPF_GRH_REQUIRED;
    assert_int_equal(weft_verbs_match(&ports, &a, &b, path, &count, NULL), WEFT_OK);
    assert_int_equal(path[0].address.is_global, 1);
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    struct weft_verbs_description good = {2, {roce(1, 1), ib(0, 3)}}, read;
    unsigned char wire[WEFT_VERBS_WIRE_BYTES], bad[WEFT_VERBS_WIRE_BYTES];
    weft_verbs_description_write(&good, wire);
    assert_int_equal(weft_verbs_description_read(wire, &read, NULL), WEFT_OK);
    assert_memory_equal(&read, &good, sizeof good);
    static const struct {
        int place, value;
        const char *words;
    } cases[] = {
        {0, 'X', "unknown form (version 2)"},
        {2, 1, "unknown form (version 1)"},
        {3, 0, "has 0 of them"},
        {3, 9, "has 9 of them"},
        {5, 1, "is damaged"},
        {3, 1, "goes on behind its end"},
        {3, 3, "port 2 is wrong: its MTU code is unknown"},
        {199, 1, "goes on behind its end"},
        {8, 0xff, "port 0 is wrong: its GID is one of many ports"},
        {8 + 16, 1, "port 0 is wrong: its LID is none of a port"},
        {8 + 21, 0x50, "port 0 is wrong: its rate is not a shortest form"},
        {8 + 22, 129, "port 0 is wrong: its subnet has an impossible size"},
        {8 + 22, 95, "port 0 is wrong: its subnet has an impossible size"},
        {8 + 23, 0xc0, "port 0 is wrong: it has unknown flags"},
        {32 + 16, 0, "port 1 is wrong: its LID is none of a port"},
        {32 + 17, 0xc0, "port 1 is wrong: its LID is none of a port"},
        {32 + 22, 63, "port 1 is wrong: its subnet has an impossible size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft_error error = {0};
        memcpy(bad, wire, sizeof bad);
        bad[cases[i].place] = (unsigned char)cases[i].value;
        assert_int_equal(weft_verbs_description_read(bad, &read, &error), WEFT_INVALID_FORMAT);
        if (!strstr(error.text, cases[i].words))
            fail_msg("'%s' does not say '%s'", error.text, cases[i].words);
    }
    memset(wire + 8 + 18, 0, 2);
    assert_int_equal(weft_verbs_description_read(wire, &read, NULL), WEFT_INVALID_FORMAT); // P_Key
}

/* Random machines with few kinds of ports, so that many can talk. */
static void test_any_two(void **state)
{
    (void)state;
    unsigned seed = 3;
    int num_matched = 0;
    for (int round = 0; round < 20000; round++) {
        struct weft_verbs_description both[2] = {0};
        struct weft_error error;
        for (int side = 0; side < 2; side++) {
            seed = seed * 1103515245u + 12345u;
            both[side].num_ports = 1 + (int)(seed >> 16) % WEFT_VERBS_MAX_PORTS;
            for (int i = 0; i < both[side].num_ports; i++) {
                seed = seed * 1103515245u + 12345u;
                unsigned draw = seed >> 8;
                struct weft_verbs_end *end = &both[side].ports[i];
                *end = draw % 5 == 0   ? ib((int)(draw >> 4) % 2, 1 + i)
                       : draw % 5 == 1 ? ipv6(draw & 8 ? 0xfe : 0x20, (int)(draw >> 4) % 2, 1 + i)
                                       : roce((int)(draw >> 4) % 3, 1 + i);
                end->is_near = draw >> 7 & 1;
                if (draw >> 8 & 1)
                    end->pkey = draw >> 9 & 1 ? 0x7fff : 0x8001;
                if (end->kind == WEFT_GID_ROCE_V2 && draw >> 10 & 1)
                    end->kind = WEFT_GID_ROCE_V1;
            }
        }
        num_matched += check_paths(&both[0], &both[1], &error) > 0;
        check_paths(&both[0], &both[0], &error);
    }
    assert_in_range(num_matched, 5000, 19999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_reaches_whom), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_nearest_pairs),    cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_path_attributes),  cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_any_two),          cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
