/*
 * SPDX-License-Identifier: Apache-2.0
 * Counters of RDMA ports from made-up trees of sys, as drivers lay them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/nic_counters.h"
#include "tests/topology/fake_verbs.h"

static void put(const struct fake_tree *tree, const char *port, const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "sys/class/infiniband/%s/%s", port, name);
    fake_tree_file(tree, path, text);
}

static void test_counters(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct weft_sysfs files;
    struct weft_nic_counts before[WEFT_NIC_COUNTERS], now[WEFT_NIC_COUNTERS];
    fake_tree_create(&tree);
    static const char *const laid_out[][3] = {
        // hardware: words of 4 bytes, several reasons to send again; its second port is idle
        {"mlx5_10/ports/1", "counters/port_xmit_data", "1000\n"},
        {"mlx5_10/ports/1", "counters/port_rcv_data", "2000\n"},
        {"mlx5_10/ports/1", "counters/port_xmit_packets", "10\n"},
        {"mlx5_10/ports/1", "counters/port_rcv_packets", "20\n"},
        {"mlx5_10/ports/1", "hw_counters/packet_seq_err", "3\n"},
        {"mlx5_10/ports/1", "hw_counters/local_ack_timeout_err", "4\n"},
        {"mlx5_10/ports/2", "counters/port_xmit_data", "7\n"},
        {"mlx5_10/ports/2", "counters/port_rcv_data", "7\n"},
        // software: bytes are those of its interface
        {"mlx5_9", "parent", "v0\n"},
        {"mlx5_9/ports/1", "hw_counters/sent_pkts", "5\n"},
        {"mlx5_9/ports/1", "hw_counters/rcvd_pkts", "6\n"},
        {"mlx5_9/ports/1", "hw_counters/completer_retry_err", "0\n"},
        // nonsense is not told
        {"x", "parent", "../../v0\n"},
        {"x/ports/1", "counters/port_xmit_data", "N/A\n"},
    };
    for (size_t i = 0; i < sizeof laid_out / sizeof laid_out[0]; i++)
        put(&tree, laid_out[i][0], laid_out[i][1], laid_out[i][2]);
    fake_tree_file(&tree, "sys/class/net/v0/statistics/tx_bytes", "500\n");
    fake_tree_file(&tree, "sys/class/net/v0/statistics/rx_bytes", "600\n");
    assert_int_equal(weft_sysfs_open(tree.root, &files, NULL), WEFT_OK);
    int num_before = weft_nic_counts_read(&files, before);
    assert_int_equal(num_before, 4);
    assert_string_equal(before[0].name, "mlx5_9:1");
    assert_int_equal(before[0].sent_bytes, 500);
    assert_int_equal(before[0].received_packets, 6);
    assert_true(before[0].has_retransmits);
    assert_string_equal(before[1].name, "mlx5_10:1");
    assert_int_equal(before[1].sent_bytes, 4000);
    assert_int_equal(before[1].received_bytes, 8000);
    assert_int_equal(before[1].retransmits, 7);
    assert_false(before[2].has_packets || before[2].has_retransmits);
    assert_false(before[3].has_bytes || before[3].has_packets);

    put(&tree, "mlx5_10/ports/1", "counters/port_xmit_data", "1500\n");
    put(&tree, "mlx5_10/ports/1", "hw_counters/local_ack_timeout_err", "6\n");
    int count = weft_nic_counts_since(before, num_before, now, weft_nic_counts_read(&files, now));
    assert_int_equal(count, 1);
    assert_string_equal(now[0].name, "mlx5_10:1");
    assert_int_equal(now[0].sent_bytes, 2000);
    assert_int_equal(now[0].received_bytes, 0);
    assert_int_equal(now[0].retransmits, 2);
    weft_sysfs_close(&files);
    fake_tree_destroy(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
