#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `weft topo --to slurm-tree` writes, given to a real Slurm controller: it must start with it,
# and what it then says about its switches must be, read and written by Weft again, the same file.
# Exit code 77: skipped. Usage: slurmctld.sh WEFT SHARED_DATA
set -u
weft=$1 data=$2/topodata/topograph
controller=$(command -v slurmctld || ls /usr/sbin/slurmctld 2>/dev/null)
guard=$(command -v munged || ls /usr/sbin/munged 2>/dev/null)
for needed in "$controller" "$guard" "$(command -v scontrol)"; do
    [ -n "$needed" ] || {
        echo 'SKIPPED: needs slurmctld, scontrol and munged (packages slurmctld, slurm-client)'
        exit 77
    }
done
work=$(mktemp -d) || exit 1
pids=()
stop() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap stop EXIT
failures=0
fail() {
    echo "FAILED $*"
    failures=$((failures + 1))
}

# Slurm signs its messages with munge: a daemon with a key of our own.
(umask 077 && head -c 128 /dev/urandom >"$work/key")
"$guard" --foreground --force --key-file="$work/key" --socket="$work/munge" \
    --pid-file="$work/munge.pid" --log-file="$work/munge.log" --seed-file="$work/munge.seed" \
    >"$work/munged.out" 2>&1 &
pids+=($!)
for ((i = 0; i < 100; i++)); do
    [ -S "$work/munge" ] && break
    sleep 0.1
done
[ -S "$work/munge" ] || {
    echo "SKIPPED: munged does not start here: $(tail -1 "$work/munged.out")"
    exit 77
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# configure NODE...: every node has an address of its own, so that nothing is looked up
configure() {
    cat <<EOF
ClusterName=weft
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$work/munge
StateSaveLocation=$folder
SlurmctldPidFile=$folder/pid
SlurmctldLogFile=$folder/log
MailProg=/bin/true
TopologyPlugin=topology/tree
ProctrackType=proctrack/linuxproc
EOF
    local i=0
    for node in "$@"; do
        echo "NodeName=$node NodeAddr=127.9.$((i / 250)).$((1 + i % 250)) CPUs=1"
        i=$((i + 1))
    done
    echo 'PartitionName=all Nodes=ALL Default=YES State=UP'
}

plain() { # without comments, and without the speed that Slurm adds
    grep -v '^#' "$1" | sed 's/ LinkSpeed=1$//'
}

check() { # SOURCE
    echo "$1"
    folder=$work/$((++number))
    mkdir "$folder"
    "$weft" topo "$1" --to slurm-tree >"$folder/topology.conf" || return fail "weft topo $1"
    mapfile -t nodes < <("$weft" topo "$1" --json |
        sed -n 's/.*"name": "\([^"]*\)", "kind": "host".*/\1/p')
    configure "${nodes[@]}" >"$folder/slurm.conf"
    export SLURM_CONF=$folder/slurm.conf
    timeout 60 "$controller" -D >"$folder/out" 2>&1 &
    local pid=$!
    pids+=($pid)
    for ((i = 0; i < 150; i++)); do
        timeout 5 scontrol show topology >"$folder/shown" 2>"$folder/errors" && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.2
    done
    kill $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ -s "$folder/shown" ] || {
        fail "$1: slurmctld: $(grep -i fatal "$folder/out" "$folder/log" | tail -2)"
        return
    }
    grep -i 'switch config\|invalid host\|lack access' "$folder/log" && fail "$1: slurmctld complains"
    "$weft" topo --from slurm "$folder/shown" --to slurm-tree >"$folder/back"
    diff <(plain "$folder/topology.conf") <(plain "$folder/back") >"$folder/diff" ||
        fail "$1: slurmctld understood: $(head -5 "$folder/diff")"
}

number=0
check superpod-h100:128
check superpod-h100:544
check gb200-nvl72:2
for file in expected.slinky-oci-sim-tree.conf ibnetdiscover-ndr-40sw.out; do
    if [ -r "$data/$file" ]; then check "$data/$file"; else echo "no $file: left out"; fi
done
echo "$number topologies, $failures failures"
exit $((failures > 0))
