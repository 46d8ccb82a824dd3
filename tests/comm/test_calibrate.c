/*
 * SPDX-License-Identifier: Apache-2.0
 * The calibration of this machine for real: every kind of way has figures or a reason, curves make
 * sense, what is written reads back. The ends of a dialogue against strangers and liars. And which
 * figures of several count.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"
#include "topology/load.h"

static const int64_t ms = 1000000;

static const struct weft_measurement *entry_of(const struct weft_measurements *m, const char *what)
{
    for (int i = 0; i < m->num_entries; i++)
        if (strcmp(m->entries[i].what, what) == 0)
            return &m->entries[i];
    fail_msg("there is no entry \"%s\"", what);
    return NULL;
}

static void test_this_machine(void **state)
{
    (void)state;
    static const char *const with_curves[] = {"memory", "shm", "tcp", "tcp-interface"};
    const struct weft_calibrate_options options = {.budget_ns = 1500 * ms, .max_bytes = 1 << 20};
    struct weft_topology *t = NULL;
    struct weft_measurements m, back;
    struct weft_error error = {0};
    if (weft_topology_load(NULL, &t, &error) != WEFT_OK ||
        weft_calibrate_machine(t, &options, &m, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_true(m.fingerprint == weft_topology_processors_fingerprint(t));
    assert_int_equal(strlen(m.date), 20);
    for (size_t i = 0; i < sizeof with_curves / sizeof with_curves[0]; i++) {
        const struct weft_measurement *entry = entry_of(&m, with_curves[i]);
        if (entry->num_points == 0) // a busy machine may not get there in time, and says so
            assert_true(entry->note[0]);
        for (int k = 0; k < entry->num_points; k++) {
            assert_true(entry->curve[k].bytes <= options.max_bytes);
            assert_true(entry->curve[k].time_ps > 0);
            assert_true(k == 0 || entry->curve[k].bytes > entry->curve[k - 1].bytes);
        }
        if (strcmp(with_curves[i], "tcp-interface") != 0)
            assert_true(weft_topology_find_node(t, entry->from) >= 0);
        if (entry->latency_ps >= 0)
            assert_true(entry->least_ps <= entry->latency_ps && entry->least_ps > 0);
    }
    entry_of(&m, "cores");
    const struct weft_measurement *rdma = entry_of(&m, "verbs-device");
    assert_true(rdma->note[0] || rdma->from[0]); // why not, or between which
    assert_true(entry_of(&m, "gpu")->note[0]);
    // 64 bytes from the cache cannot take as long as a message between processes
    const struct weft_measurement *memory = entry_of(&m, "memory"), *tcp = entry_of(&m, "tcp");
    if (memory->num_points > 0 && tcp->num_points > 0)
        assert_true(memory->curve[0].time_ps < tcp->curve[0].time_ps);
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_measurements_write(&m, stream, &error), WEFT_OK);
    fclose(stream);
    assert_int_equal(weft_measurements_read(text, bytes, "m", &back, &error), WEFT_OK);
    assert_int_equal(back.num_entries, m.num_entries);
    free(text);
    weft_measurements_free(&m);
    weft_measurements_free(&back);
    weft_topology_destroy(&t);
}

/* ---- curves ---- */

struct fake {
    int64_t base_ns, per_kilobyte_ns, noise_ns;
    int64_t stall_ns; // of every second size
    int calls;
};

/* Says a time without spending it. */
static weft_status fake_once(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                             struct weft_error *error)
{
    struct fake *fake = user;
    (void)error;
    int64_t noise_ns = fake->calls++ % 2 ? fake->noise_ns : 0;
    if (bytes == 64 || bytes == 4096 || bytes == 65536)
        noise_ns += fake->stall_ns;
    *elapsed_ns = count * (fake->base_ns + bytes * fake->per_kilobyte_ns / 1024 + noise_ns);
    return WEFT_OK;
}

static struct weft_measurement curve_of(struct fake *fake, int64_t budget_ns)
{
    const struct weft_sampler sampler = {fake_once, fake};
    const struct weft_calibrate_options options = {budget_ns, 64 << 20};
    struct weft_measurement entry = {.latency_ps = -1, .least_ps = -1};
    assert_int_equal(weft_calibrate_curve(&sampler, 1, &options, &entry, NULL), WEFT_OK);
    return entry;
}

static void test_curves(void **state)
{
    (void)state;
    struct fake steady = {.base_ns = 10000, .per_kilobyte_ns = 100};
    struct weft_measurement entry = curve_of(&steady, 10000 * ms);
    assert_int_equal(entry.num_points, 11);
    assert_true(entry.latency_ps == 10000000 && entry.least_ps == 10000000);
    assert_string_equal(entry.note, "");
    assert_true(weft_measurement_is_believed(&entry));
    int64_t bandwidth = weft_measurement_bandwidth(&entry); // 1024 bytes in 100 ns
    assert_true(bandwidth > 10200000000 && bandwidth < 10240000000);

    struct fake wild = {.base_ns = 10000, .per_kilobyte_ns = 100, .noise_ns = 20000};
    entry = curve_of(&wild, 10000 * ms);
    assert_false(weft_measurement_is_believed(&entry));
    assert_non_null(strstr(entry.note, "not believed: samples spread"));
    assert_true(entry.spread_percent > WEFT_CALIBRATE_WILD_PERCENT);

    struct fake stalling = {.base_ns = 1000, .per_kilobyte_ns = 1, .stall_ns = 1 * ms};
    entry = curve_of(&stalling, 10000 * ms);
    assert_non_null(strstr(entry.note, "3 of 11 sizes make no sense"));

    struct fake slow = {.base_ns = 1000 * ms, .per_kilobyte_ns = 0}; // no three fit in 2 s
    entry = curve_of(&slow, 2000 * ms);
    assert_int_equal(entry.num_points, 0);
    assert_non_null(strstr(entry.note, "too slow"));

    struct fake long_ends = {.base_ns = 1000, .per_kilobyte_ns = 100000}; // 10 MB/s
    entry = curve_of(&long_ends, 1000 * ms);
    assert_true(entry.num_points > 5 && entry.num_points < 10);
}

/* ---- strangers ---- */

static void test_tokens(void **state)
{
    (void)state;
    struct weft_interface loopback = {.name = "lo", .ip = {127, 0, 0, 1}};
    unsigned char right[WEFT_TOKEN_BYTES] = {1}, wrong[WEFT_TOKEN_BYTES] = {2};
    struct weft_error error = {0};
    int listener = weft_interface_listen(&loopback, true);
    assert_true(listener >= 0);
    int stranger = weft_interface_connect(&loopback, &loopback, false, wrong, 1000 * ms, &error);
    int honest = weft_interface_connect(&loopback, &loopback, false, right, 1000 * ms, &error);
    assert_true(stranger >= 0 && honest >= 0);
    int taken = weft_interface_accept(listener, right, 5000 * ms, &error);
    assert_true(taken >= 0);
    assert_int_equal(send(honest, "x", 1, 0), 1);
    char word;
    for (int i = 0; i < 500 && recv(taken, &word, 1, MSG_DONTWAIT) != 1; i++)
        usleep(10000);
    assert_int_equal(word, 'x');
    close(stranger);
    close(honest);
    close(taken);
    // nobody there, and nobody who speaks
    assert_int_equal(weft_interface_accept(listener, right, 50 * ms, &error), -1);
    assert_int_equal(error.status, WEFT_TIMEOUT);
    close(listener);
    assert_int_equal(weft_interface_connect(&loopback, &loopback, false, right, 1000 * ms, &error),
                     -1);
    assert_non_null(strstr(error.text, "refused"));
}

static void expect_refused(const void *order, size_t bytes, weft_status status)
{
    int ends[2];
    struct weft_error error = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(send(ends[0], order, bytes, 0), (ssize_t)bytes);
    struct weft_socket_channel channel = weft_socket_channel_make(ends[1], 100 * ms);
    assert_int_equal(weft_dialogue_follow(&channel.base, 1 << 20, &error), status);
    close(ends[0]);
    close(ends[1]);
}

static void test_orders(void **state)
{
    (void)state;
    const uint64_t too_large[] = {(1 << 20) + 1, 1}, too_many[] = {1, UINT64_MAX}, end[] = {0, 0};
    const uint64_t then_silence[] = {64, 3};
    expect_refused(too_large, sizeof too_large, WEFT_INVALID_FORMAT);
    expect_refused(too_many, sizeof too_many, WEFT_INVALID_FORMAT);
    expect_refused(end, sizeof end, WEFT_OK);
    expect_refused(then_silence, sizeof then_silence, WEFT_TIMEOUT);
    expect_refused(end, 5, WEFT_TIMEOUT);
}

/* ---- dialogues ---- */

/* A channel that counts what its end says and hears. */
struct counting {
    struct weft_channel base;
    struct weft_socket_channel socket;
    int64_t sent, received;
    int64_t longest_received;
    int64_t kilobytes_per_s; // at most, of what is sent; 0: any
};

static weft_status counting_send(struct weft_channel *channel, const void *data, size_t bytes,
                                 struct weft_error *error)
{
    struct counting *counting = (struct counting *)channel;
    counting->sent += (int64_t)bytes;
    if (counting->kilobytes_per_s > 0)
        usleep((useconds_t)((int64_t)bytes * 1000 / counting->kilobytes_per_s));
    return counting->socket.base.send(&counting->socket.base, data, bytes, error);
}

static weft_status counting_receive(struct weft_channel *channel, void *data, size_t bytes,
                                    struct weft_error *error)
{
    struct counting *counting = (struct counting *)channel;
    counting->received += (int64_t)bytes;
    if ((int64_t)bytes > counting->longest_received)
        counting->longest_received = (int64_t)bytes;
    return counting->socket.base.receive(&counting->socket.base, data, bytes, error);
}

static void *follow(void *socket)
{
    struct weft_socket_channel channel = weft_socket_channel_make(*(int *)socket, 20000 * ms);
    struct weft_error error = {0};
    weft_status status = weft_dialogue_follow(&channel.base, 1 << 20, &error);
    if (status != WEFT_OK)
        print_message("%s\n", error.text);
    return (void *)(intptr_t)status;
}

static struct weft_measurement converse(struct counting *counting, int64_t budget_ns)
{
    int ends[2];
    pthread_t thread;
    void *status;
    struct weft_error error = {0};
    struct weft_measurement entry = {.latency_ps = -1, .least_ps = -1};
    const struct weft_calibrate_options options = {budget_ns, .max_bytes = 1 << 20};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(pthread_create(&thread, NULL, follow, &ends[1]), 0);
    counting->base = (struct weft_channel){counting_send, counting_receive};
    counting->socket = weft_socket_channel_make(ends[0], 20000 * ms);
    assert_int_equal(weft_dialogue_lead(&counting->base, &options, &entry, &error), WEFT_OK);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((intptr_t)status, WEFT_OK);
    close(ends[0]);
    close(ends[1]);
    return entry;
}

// What is long goes one way: a link that is held to a rate must have no time to save up.
static void test_long_messages_go_one_way(void **state)
{
    (void)state;
    struct counting counting = {0};
    struct weft_measurement entry = converse(&counting, 1000 * ms);
    const struct weft_curve_point *last = &entry.curve[entry.num_points - 1];
    assert_true(entry.num_points > 5 && counting.longest_received == 64 << 10);
    if (last->bytes == 1 << 20) // a busy machine may not get there
        assert_true(counting.sent > counting.received + 3 * (1 << 20));
}

// Where there is no time for long messages, the short ones are not believed.
static void test_short_messages_alone(void **state)
{
    (void)state;
    struct counting counting = {.kilobytes_per_s = 2000};
    struct weft_measurement entry = converse(&counting, 250 * ms);
    for (int i = 0; i < entry.num_points; i++)
        assert_true(entry.curve[i].bytes < WEFT_MEASUREMENTS_ONE_WAY_BYTES);
    assert_non_null(strstr(entry.note, "not believed"));
}

/* ---- hosts ---- */

static void add_way(struct weft_measurements *m, const char *from, const char *to, const char *what,
                    int64_t bytes, int64_t rate, const char *note)
{
    struct weft_measurement *entry = weft_measurements_add(m, what, from, to);
    assert_non_null(entry);
    entry->latency_ps = entry->least_ps = 10000000;
    entry->num_points = 1;
    entry->curve[0] = (struct weft_curve_point){bytes, bytes * 1000000 / (rate / 1000000)};
    snprintf(entry->note, sizeof entry->note, "%s", note);
}

static void add_curve(struct weft_measurements *m, const char *what, int64_t bytes, int64_t rate,
                      const char *note)
{
    add_way(m, "host0", "host1", what, bytes, rate, note);
}

static struct weft_topology *hosts(const char *description, int num_hosts)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_load(description, &t, NULL), WEFT_OK);
    for (int h = 0; h < num_hosts; h++) {
        char name[8];
        snprintf(name, sizeof name, "host%d", h);
        assert_int_equal(weft_topology_set_text(t, weft_topology_find_node(t, name),
                                                "process.host_id", name, WEFT_SOURCE_SYSFS, NULL),
                         WEFT_OK);
    }
    return t;
}

// Every link between hosts carries so much.
static void assert_links_carry(const struct weft_topology *t, int64_t expected)
{
    int num_links = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK) {
            assert_true(llabs(t->links[i].bandwidth.measured.value - expected) < 100000);
            num_links++;
        }
    assert_true(num_links >= 2);
}

// Of several curves between two hosts the longest that is believed says the bandwidth.
static void test_longest_curve(void **state)
{
    (void)state;
    struct weft_topology *t = hosts("host:2 core:1", 2);
    struct weft_measurements m;
    weft_measurements_init(&m, 0);
    add_curve(&m, "tcp", 1 << 18, 240000000, ""); // of a burst
    add_curve(&m, "tcp", 4 << 20, 100000000, "");
    add_curve(&m, "tcp-interface", 4 << 20, 120000000, ""); // another NIC
    add_curve(&m, "tcp-interface", 64 << 20, 900000000, "not believed: a busy machine");
    assert_int_equal(weft_calibrate_group(t, &m, NULL), WEFT_OK);
    assert_links_carry(t, 120000000);
    for (int i = 0; i < t->num_remarks; i++)
        assert_null(strstr(t->remarks[i].text, "believed"));
    weft_measurements_free(&m);
    weft_topology_destroy(&t);
}

// Where none is believed, one is taken, but for no more than the other end has; the graph says so.
static void test_doubtful_curves(void **state)
{
    (void)state;
    struct weft_topology *t = hosts("host:3 core:1", 3);
    struct weft_measurements m;
    int num_doubts = 0;
    weft_measurements_init(&m, 0);
    add_way(&m, "host0", "host1", "tcp", 1 << 20, 120000000, "");
    add_way(&m, "host0", "host2", "tcp", 1 << 16, 600000000, "not believed: too slow");
    assert_int_equal(weft_calibrate_group(t, &m, NULL), WEFT_OK);
    for (int i = 0; i < t->num_remarks; i++)
        if (strstr(t->remarks[i].text, "no measurement of its bandwidth is believed")) {
            assert_string_equal(t->nodes[t->remarks[i].node].name, "host2");
            num_doubts++;
        }
    assert_int_equal(num_doubts, 1);
    assert_links_carry(t, 120000000);
    weft_measurements_free(&m);
    weft_topology_destroy(&t);
}

// Messages that go over several interfaces at once carry what those do together, if they do.
static void test_several_interfaces(void **state)
{
    (void)state;
    static const struct {
        int64_t messages, expected;
    } cases[] = {{238000000, 238000000}, {600000000, 240000000}, {118000000, 120000000}};
    for (int c = 0; c < 3; c++) {
        struct weft_topology *t = hosts("host:2 core:1", 2);
        struct weft_measurements m;
        weft_measurements_init(&m, 0);
        add_curve(&m, "tcp", 4 << 20, cases[c].messages, "not believed: a busy machine");
        add_way(&m, "host0/a", "host1/a", "tcp-interface", 1 << 20, 120000000, "");
        add_way(&m, "host0/b", "host1/b", "tcp-interface", 1 << 20, 120000000, "");
        add_way(&m, "host0/a", "host1/b", "tcp-interface", 1 << 20, 120000000, "");
        assert_int_equal(weft_calibrate_group(t, &m, NULL), WEFT_OK);
        assert_links_carry(t, cases[c].expected);
        weft_measurements_free(&m);
        weft_topology_destroy(&t);
    }
}

int main(void)
{
    setenv("WEFT_CACHE", "none", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_curves),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_long_messages_go_one_way),
        cmocka_unit_test(test_short_messages_alone),
        cmocka_unit_test(test_longest_curve),
        cmocka_unit_test(test_doubtful_curves),
        cmocka_unit_test(test_several_interfaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
