#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the RDMA devices that `weft topo --json` finds against what the kernel says of them.

Usage: compare_rdma.py WEFT DEVICES. Meant for tools/rdma-vm: there must be so many devices, each on
an interface. Takes the link of the last one away and looks again. Prints each difference; exit code
1 if there is any.
"""
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path("/sys/class/infiniband")
WORDS = {"1: DOWN": "down", "4: ACTIVE": "active", "2: Polling": "polling", "3: Disabled": "disabled",
         "5: LinkUp": "up"}


def told(device):
    """What the kernel says of a device with one port, by the names that the topology has for it."""
    def read(path):
        return (ROOT / device / path).read_text(encoding="utf-8").strip()
    gids = {}
    for index in range(4):
        gid, interface = read(f"ports/1/gids/{index}"), f"ports/1/gid_attrs/ndevs/{index}"
        if gid.strip("0:"):
            kind = read(f"ports/1/gid_attrs/types/{index}")
            gids[f"process.gid{index}"] = f"{gid}, {kind}, {read(interface)}"
    state = WORDS[read("ports/1/state")]
    rate = int(float(read("ports/1/rate").split()[0]) * 1000)
    interface = read("ports/1/gid_attrs/ndevs/1")
    address = bytes.fromhex(read("ports/1/gids/1").replace(":", ""))[12:]
    return gids | {
        "rdma_device": device,
        "interface": interface,
        "node_guid": read("node_guid").replace(":", ""),
        "rate_mbps": rate if state == "active" else None,  # a link that is down has none
        "process.port_state": state,
        "process.physical_state": WORDS[read("ports/1/phys_state")],
        "process.roce_ip": ".".join(map(str, address)),
        "process.roce_gid_index": 1,
        "roce": "v2",
        "rdma_mtu": 4096,
        "num_ports": 1,
    }


def look(weft, devices):
    """Prints how the topology differs from the kernel's word; whether it does."""
    graph = json.loads(subprocess.run([weft, "topo", "--json"], check=True, text=True,
                                      stdout=subprocess.PIPE).stdout)
    found = {}
    for node in graph["nodes"]:
        values = {k: v["value"] for k, v in node.get("attributes", {}).items()}
        if "rdma_device" in values:
            found[values["rdma_device"]] = values
    bad = sorted(found) != devices
    if bad:
        print(f"found {sorted(found)}, there are {devices}")
    for device in sorted(found):
        for name, value in told(device).items():
            if found[device].get(name) != value:
                print(f"{device}: {name} is {value}, found {found[device].get(name)}")
                bad = True
    return bad


def main():
    weft, count = sys.argv[1], int(sys.argv[2])
    devices = [f"rxe{i}" for i in range(count)]
    bad = look(weft, devices)
    subprocess.run(["ip", "link", "set", f"p{count - 1}", "down"], check=True)
    state = ROOT / devices[-1] / "ports/1/state"
    for _ in range(100):
        if not state.read_text(encoding="utf-8").startswith("4"):
            break
        time.sleep(0.1)
    bad |= look(weft, devices)
    print(f"{count} devices {'differ' if bad else 'are as the kernel has them'}")
    sys.exit(bad)


main()
