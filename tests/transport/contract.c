/*
 * SPDX-License-Identifier: Apache-2.0
 * The contract of transport.h, the same tests for every transport: all devices in one process, one
 * thread polls them all. Over loopback each test runs under many seeds of the delivery order.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/transport/contract.h"

enum { MOST_RUNS = 256 };

struct run {
    const struct contract *contract;
    const struct weft_transport *transport;
    char name[80];
};

static void run_contract(void **state)
{
    const struct run *run = *state;
    rig_require(run->transport);
    int before = count_descriptors();
    int num_seeds = run->transport == &weft_loopback_transport ? run->contract->num_seeds : 1;
    if (WEFT_RUNS_SLOWLY)
        num_seeds = (num_seeds + 9) / 10;
    for (int seed = 1; seed <= num_seeds; seed++) {
        struct rig rig;
        rig_open(&rig, run->transport, run->contract->num_devices, (uint64_t)seed);
        run->contract->body(&rig);
        rig_close(&rig);
    }
    assert_int_equal(count_descriptors(), before);
}

static struct run runs[MOST_RUNS];
static struct CMUnitTest tests[MOST_RUNS];
static size_t num_runs;

static void add_runs(const struct weft_transport *transport, const struct contract *contracts)
{
    for (int i = 0; contracts[i].name; i++) {
        assert(num_runs < MOST_RUNS);
        struct run *run = &runs[num_runs];
        run->contract = &contracts[i];
        run->transport = transport;
        snprintf(run->name, sizeof run->name, "%s over %s", contracts[i].name, transport->name);
        tests[num_runs++] =
            (struct CMUnitTest){.name = run->name, .test_func = run_contract, .initial_state = run};
    }
}

int main(int num_arguments, char **arguments)
{
    add_runs(&weft_loopback_transport, contract_messages);
    add_runs(&weft_loopback_transport, contract_failures);
    for (int i = 0; weft_transports[i]; i++) {
        add_runs(weft_transports[i], contract_messages);
        add_runs(weft_transports[i], contract_failures);
    }
    if (num_arguments > 1)
        cmocka_set_test_filter(arguments[1]);
    return _cmocka_run_group_tests("contract", tests, num_runs, NULL, NULL);
}
