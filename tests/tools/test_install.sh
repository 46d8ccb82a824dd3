#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs into a fresh folder, moves it, and builds and runs the example outside the tree through
# pkg-config and through find_package; checks that the library exports exactly what weft.h declares.
# Usage: test_install.sh CMAKE BUILD_FOLDER SOURCE_FOLDER
set -eu
cmake=$1 build=$2 source=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAILED $*"
    exit 1
}

DESTDIR="$work/stage" "$cmake" --install "$build" --prefix /opt/weft >"$work/log" 2>&1 ||
    fail "cmake --install: $(tail -3 "$work/log")"
mv "$work/stage/opt/weft" "$work/prefix"
prefix=$work/prefix
library=$(find "$prefix" -name libweft.so.0)
[ -n "$library" ] || fail 'there is no libweft.so.0'
export LD_LIBRARY_PATH=${library%/*}
export PKG_CONFIG_PATH=${library%/*}/pkgconfig

readelf -d "$library" | grep -q 'SONAME.*\[libweft.so.0\]' || fail 'the soname is not libweft.so.0'
nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sort >"$work/exported"
sed 's/$/@@WEFT_0/' >"$work/declared" < <(tr '\n' ' ' <"$prefix/include/weft/weft.h" |
    sed 's/WEFT_API/\n&/g' | sed -n 's/^WEFT_API \([^(]*[ *]\)\(weft_[a-z_]*\)(.*/\2/p' | sort)
[ "$(wc -l <"$work/declared")" -gt 30 ] || fail 'the names in weft.h could not be read'
diff "$work/declared" "$work/exported" >"$work/difference" ||
    fail "weft.h (<) and the library (>) differ:" $'\n'"$(cat "$work/difference")"

expected=$'rank 0 of 3: 3 3 1.5\nrank 1 of 3: 3 3 1.5\nrank 2 of 3: 3 3 1.5'
run() { # PROGRAM
    local out
    out=$("$prefix/bin/weft" launch -n 3 "$1" | sort) || fail "$1 ended with an error: $out"
    [ "$out" = "$expected" ] || fail "$1 printed: $out"
}

mkdir "$work/outside"
cp "$source"/examples/* "$work/outside"
cd "$work/outside"
"${CC:-cc}" -std=c11 -Wall -Werror all_reduce.c -o by_pkg_config $(pkg-config --cflags --libs weft) ||
    fail 'the example does not build with pkg-config'
run ./by_pkg_config

"$cmake" -G Ninja -S . -B build -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 &&
    "$cmake" --build build >>"$work/log" 2>&1 ||
    fail "the example does not build with find_package: $(tail -20 "$work/log")"
run build/all_reduce

[ -s "$prefix/share/man/man1/weft.1" ] || fail 'there is no man page'
echo 'install: all passed'
