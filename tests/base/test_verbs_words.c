/*
 * SPDX-License-Identifier: Apache-2.0
 * Every code that the library's header knows has words, and others are called unknown; forms of
 * addresses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/verbs_gids.h"
#include "base/verbs_words.h"

static void test_every_code(void **state)
{
    (void)state;
    static const struct {
        const char *(*name)(unsigned code);
        unsigned last, unknown; // unknown: the one code below that is called so; last + 1: none
    } tables[] = {
        {weft_port_state_name, IBV_PORT_ACTIVE_DEFER, IBV_PORT_ACTIVE_DEFER + 1},
        {weft_port_physical_state_name, 7, 0},
        {weft_qp_state_name, IBV_QPS_UNKNOWN, IBV_QPS_UNKNOWN},
        {weft_wc_status_name, IBV_WC_TM_RNDV_INCOMPLETE, IBV_WC_TM_RNDV_INCOMPLETE + 1},
        {weft_async_event_name, IBV_EVENT_WQ_FATAL, IBV_EVENT_WQ_FATAL + 1},
    };
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (unsigned code = 0; code <= tables[t].last; code++) {
            if (code == tables[t].unknown)
                assert_string_equal(tables[t].name(code), "unknown");
            else
                assert_string_not_equal(tables[t].name(code), "unknown");
        }
        assert_string_equal(tables[t].name(tables[t].last + 1), "unknown");
        assert_string_equal(tables[t].name(UINT32_MAX), "unknown");
    }
    assert_int_equal(weft_mtu_bytes(IBV_MTU_256), 256);
    assert_int_equal(weft_mtu_bytes(IBV_MTU_4096), 4096);
    assert_int_equal(weft_mtu_bytes(0), 0);
    assert_int_equal(weft_mtu_bytes(IBV_MTU_4096 + 1), 0);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        unsigned char raw[16];
        enum weft_gid_scope scope;
        bool is_routable;
        const char *text;
    } cases[] = {
        {{[10] = 255, [11] = 255, [12] = 192, [13] = 168, [15] = 255},
         WEFT_GID_IPV4,
         true,
         "192.168.0.255"},
        {{[10] = 255, [11] = 255, [12] = 169, [13] = 254}, WEFT_GID_IPV4, false, "169.254.0.0"},
        {{[10] = 255, [11] = 255, [12] = 127, [15] = 1}, WEFT_GID_IPV4, false, "127.0.0.1"},
        {{0xfe, 0x80, [15] = 1},
         WEFT_GID_LINK_LOCAL,
         false,
         "fe80:0000:0000:0000:0000:0000:0000:0001"},
        {{0xfe, 0xbf, [15] = 1},
         WEFT_GID_LINK_LOCAL,
         false,
         "febf:0000:0000:0000:0000:0000:0000:0001"},
        {{0xfe, 0xc0, [15] = 1},
         WEFT_GID_IPV6_GLOBAL,
         true,
         "fec0:0000:0000:0000:0000:0000:0000:0001"},
    };
    char text[WEFT_GID_TEXT_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(weft_gid_scope(cases[i].raw), cases[i].scope);
        assert_int_equal(weft_gid_is_routable(cases[i].raw), cases[i].is_routable);
        assert_string_equal(weft_gid_text(cases[i].raw, text), cases[i].text);
    }
    assert_string_equal(weft_gid_digits(cases[0].raw, text),
                        "0000:0000:0000:0000:0000:ffff:c0a8:00ff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
