#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the fabric in one topology (read from a net file) against that in another (found live).

Devices by name, kind, host, number of ports; cables by both ends and ports, each as often as it is
there. Whatever else the live topology has (this machine itself) is left out. Options: --devices N
(there are so many), --guids (those too), --rates (what cables run at), --lids (the live one has
them). Prints each difference, exit code 1 if there is any.
"""
import argparse
import json
import sys
from collections import Counter

FABRIC = {"nic", "leaf", "spine", "core-switch", "switch", "aggregator"}


def fabric(path, source):
    """Devices by name and a count of cables, of what `source` stated."""
    with open(path, encoding="utf-8") as file:
        graph = json.load(file)
    devices = {n["name"]: n for n in graph["nodes"] if n["kind"] in FABRIC and
               n.get("attributes", {}).get("num_ports", {}).get("source") == source}
    cables = {}
    for link in graph["links"]:
        if link["kind"] != "network":
            continue
        ports = link.get("ports", [0, 0])
        ends = tuple(sorted([(link["from"], ports[0]), (link["to"], ports[1])]))
        cables.setdefault(ends, []).append(link.get("bandwidth", {}).get("current", {}).get("value"))
    return devices, cables


def value(device, key):
    return device.get("attributes", {}).get(key, {}).get("value")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("live")
    parser.add_argument("--devices", type=int)
    for option in ("--guids", "--rates", "--lids"):
        parser.add_argument(option, action="store_true")
    options = parser.parse_args()
    said, said_cables = fabric(options.file, "file")
    found, found_cables = fabric(options.live, "umad")
    wrong = []
    if len(said) != options.devices:
        wrong.append(f"the file has {len(said)} devices, not {options.devices}")
    for name in sorted(set(said) | set(found)):
        if name not in said or name not in found:
            wrong.append(f"{name} only {'live' if name in found else 'in the file'}")
            continue
        a, b = said[name], found[name]
        facts = [("kind", a["kind"], b["kind"]), ("host", a.get("parent"), b.get("parent")),
                 ("ports", value(a, "num_ports"), value(b, "num_ports")),
                 ("description", value(a, "description"), value(b, "description"))]
        if options.guids:
            facts.append(("GUID", value(a, "node_guid"), value(b, "node_guid")))
        if options.lids and not value(b, "lid"):
            wrong.append(f"{name} has no LID")
        wrong += [f"{name}: {what} {x} in the file, {y} live" for what, x, y in facts if x != y]
    for ends in sorted(set(said_cables) | set(found_cables)):
        a, b = said_cables.get(ends, []), found_cables.get(ends, [])
        if len(a) != len(b):
            wrong.append(f"cable {ends}: {len(a)} in the file, {len(b)} live")
        elif options.rates and Counter(a) != Counter(b):
            wrong.append(f"cable {ends}: at {a} in the file, at {b} live")
    for line in wrong[:20]:
        print(line)
    print(f"{len(said)} devices and {len(said_cables)} cables in the file, {len(found)} and "
          f"{len(found_cables)} live, {len(wrong)} differences")
    return 1 if wrong or not said_cables else 0


if __name__ == "__main__":
    sys.exit(main())
