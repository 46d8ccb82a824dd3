#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real subnets, simulated by ibsim: what `weft topo` finds live, through libibumad and libibnetdisc,
# must be what the net file says, device by device and cable by cable. Exit code 77: skipped.
# Usage: ibsim.sh WEFT SHARED_DATA
set -u
weft=$1 data=$2/topodata here=$(cd "$(dirname "$0")" && pwd)
simulator=
for folder in /usr/lib/*/umad2sim /usr/lib/umad2sim /usr/lib64/umad2sim; do
    [ -e "$folder/libumad2sim.so" ] && simulator=$folder/libumad2sim.so
done
opensm=$(command -v opensm || ls /usr/sbin/opensm 2>/dev/null)
for needed in "$(command -v ibsim)" "$simulator" "$(command -v python3)" "$opensm"; do
    [ -n "$needed" ] || {
        echo 'SKIPPED: needs ibsim, libumad2sim, opensm and python3 (packages ibsim-utils, opensm)'
        exit 77
    }
done
work=$(mktemp -d) || exit 1
server=
stop() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    server=
}
trap 'stop; rm -rf "$work"' EXIT
cd "$work" || exit 1 # the simulated devices' files appear in the current folder
echo 'interceptor_via_lib:libumad2sim.so' >sanitizer # it reads beyond a buffer of its own
failures=0 nets=0
fail() {
    echo "FAILED $*"
    failures=$((failures + 1))
}

start() { # NET: runs the simulator, until it listens
    nets=$((nets + 1))
    export IBSIM_SOCKNAME=weft-ibsim-$$-$nets # an abstract socket: others may run beside us
    timeout 120 ibsim -s -n -N 2000 -S 200 -P 20000 "$1" >ibsim.log 2>&1 &
    server=$!
    for ((i = 0; i < 200; i++)); do
        grep -qa "@$IBSIM_SOCKNAME:ctl" /proc/net/unix && return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    fail "$1: ibsim did not start: $(tail -1 ibsim.log)"
    stop
    return 1
}
client() { # COMMAND... as a program on the simulated host $SIM_HOST
    ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0:suppressions=$work/sanitizer \
        WEFT_FABRIC_TIME=20s \
        LD_PRELOAD=$simulator timeout 60 "$@"
}
check() { # NAME NET HOST [OPTION...]: live against the file
    local name=$1 net=$2 options=("${@:4}")
    export SIM_HOST=$3
    start "$net" || return
    if client "$weft" topo --json -o live.json >client.log 2>&1 || [ -s live.json ]; then
        "$weft" topo --json "$net" -o file.json || [ -s file.json ] || fail "$name: file not read"
        python3 "$here/compare_fabric.py" file.json live.json "${options[@]}" || fail "$name: differs"
    else
        fail "$name: weft topo: $(tail -3 client.log)"
    fi
    stop
    rm -f live.json file.json
}

# 1. The nets that come with ibsim, from either end.
if [ -d "$data/ibsim" ]; then
    for net in net net.2sw2path net.2sw2path4hca2port; do
        check "$net from Hca1" "$data/ibsim/$net" Hca1 --devices 4
        [ $net = net ] || check "$net from Hca2" "$data/ibsim/$net" Hca2 --devices 4
    done
    # the simulated port 1 of Hca2 has no cable there: a reason, not an error
    export SIM_HOST=Hca2
    if start "$data/ibsim/net"; then
        client "$weft" topo -v >client.log 2>&1
        grep -q 'umad  *not used: no InfiniBand port has a link' client.log ||
            fail 'net from Hca2: no reason given'
        stop
    fi
else
    echo "note: $data/ibsim is not here; only nets of our own are run"
fi

# 2. A fat tree with redundancy: two cables from each leaf to each spine, HCAs with a port on each
# of two leaves, one narrow cable, and rates stated.
{
    for leaf in 1 2 3 4; do
        printf 'Switch 16 "leaf-%d"\n' $leaf
        for host in 1 2 3 4; do
            [ $(((leaf - 1) / 2)) = $(((host - 1) / 2)) ] &&
                printf '[%d] "node%d"[%d] w=2 s=2\n' $host $host $((2 - leaf % 2))
        done
        for spine in 1 2 3; do
            for cable in 0 1; do
                width=2
                [ "$leaf$spine$cable" = 231 ] && width=1
                printf '[%d] "spine-%d"[%d] w=%d s=2\n' $((7 + spine * 2 + cable)) $spine \
                    $((leaf * 2 - 1 + cable)) $width
            done
        done
        echo
    done
    for spine in 1 2 3; do
        printf 'Switch 16 "spine-%d"\n' $spine
        for leaf in 1 2 3 4; do
            for cable in 0 1; do
                width=2
                [ "$leaf$spine$cable" = 231 ] && width=1
                printf '[%d] "leaf-%d"[%d] w=%d s=2\n' $((leaf * 2 - 1 + cable)) $leaf \
                    $((7 + spine * 2 + cable)) $width
            done
        done
        echo
    done
    for host in 1 2 3 4; do
        printf 'Hca 2 "node%d"\n' $host
        for port in 1 2; do
            printf '[%d] "leaf-%d"[%d] w=2 s=2\n' $port $(((host - 1) / 2 * 2 + port)) $host
        done
        echo
    done
} >tree.net
check 'fat tree' "$PWD/tree.net" node3 --devices 11 --rates

# 3. The same with a subnet manager: ports have LIDs then.
export SIM_HOST=node1
if start "$PWD/tree.net"; then
    client "$opensm" -o -f osm.log -F /dev/null >opensm.out 2>&1 || fail "opensm: $(tail -2 opensm.out)"
    client "$weft" topo --json -o live.json >client.log 2>&1 || [ -s live.json ] ||
        fail "weft topo: $(tail -3 client.log)"
    "$weft" topo --json tree.net -o file.json || [ -s file.json ]
    python3 "$here/compare_fabric.py" file.json live.json --devices 11 --rates --lids ||
        fail 'fat tree with opensm: differs'
    stop
fi

# 4. A whole real fabric; ibsim reads what ibnetdiscover wrote.
real=$data/topograph/ibnetdiscover-ndr-40sw.out
if [ -e "$real" ]; then
    check 'real NDR fabric' "$real" H-e09d7303007a4bd8 --devices 622 --guids
fi

echo "$nets subnets, $failures failed"
exit $((failures > 0))
