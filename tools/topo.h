/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo`: shows what a machine, file or synthetic string amounts to. Exit codes: 0 fine,
 * 1 a finding of severity error, 2 bad usage or input, 3 the system refused (no memory, disk full).
 */
#ifndef WEFT_TOOLS_TOPO_H
#define WEFT_TOOLS_TOPO_H

/* argv[0] is what messages call the command, e.g. "weft topo". Returns the exit code. */
int weft_command_topo(int argc, char **argv);

#endif
