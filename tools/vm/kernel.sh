# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The kernel that virtual machines boot: Debian's own package, downloaded with apt and unpacked into
# a cache, never installed; and a small first file system that mounts the host's. Sourced by vm.sh.
#
# The cache is $XDG_CACHE_HOME/weft/vm. What it holds is made beside its place and moved there whole,
# so that it is complete or absent; remove the folder for a newer kernel.

vm_kernel_package=linux-image-amd64 # depends on the newest one; the "cloud" kernels have no Soft-RoCE
# What the first file system needs; everything else is loaded once the host's is there.
vm_first_modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay)

vm_choose_cache() { # sets vm_cache
    local base=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
    vm_cache=$base/weft/vm
    [ -e "$vm_cache/kernel/version" ] && return
    mkdir -p "$vm_cache" 2>/dev/null && [ -w "$vm_cache" ] ||
        vm_refuse 77 "$vm_cache cannot be made; set XDG_CACHE_HOME to a folder that can be written to"
}

vm_download_kernel() { # FOLDER: the package into it
    local package
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        vm_refuse 77 "the kernel comes with apt-get and dpkg-deb, which are not here"
    package=$(apt-cache depends "$vm_kernel_package" 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
    [ -n "$package" ] ||
        vm_refuse 77 "apt does not know the package $vm_kernel_package (Debian's; apt-get update?)"
    echo "$vm_name: downloading $package, once (about 70 MB)" >&2
    (cd "$1" && apt-get -q download "$package" >apt.log 2>&1) ||
        vm_refuse 77 "apt-get download $package: $(grep -m1 '^E:' "$1/apt.log")"
}

# A PVH kernel boots without unpacking itself, which takes seconds in an emulator. Where the payload
# is none that is known here, the kernel stays as it is.
vm_unpack_kernel() { # VMLINUZ VMLINUX
    local sectors offset length unpack
    sectors=$(od -An -tu1 -j497 -N1 "$1")
    read -r offset length < <(od -An -tu4 -j584 -N8 "$1")
    offset=$(((${sectors:-4} + 1) * 512 + offset))
    case $(od -An -tx1 -j$offset -N4 "$1") in
    ' fd 37 7a 58') unpack='xz -dc --single-stream' ;;
    ' 28 b5 2f fd') unpack='zstd -dcq' ;;
    ' 1f 8b '*) unpack='gzip -dc' ;;
    *) unpack=false ;;
    esac
    tail -c +$((offset + 1)) "$1" | head -c "$length" | $unpack >"$2" 2>/dev/null
    [ "$(head -c4 "$2" | tail -c3)" = ELF ] || cp "$1" "$2"
}

vm_make_kernel() { # FOLDER: gets vmlinux, lib/modules, version
    local version
    vm_download_kernel "$1"
    dpkg-deb --fsys-tarfile "$1"/linux-image-*.deb |
        tar -x -C "$1" --wildcards --exclude '*/net/ethernet/*' --exclude '*/net/wireless/*' \
            --exclude '*/infiniband/hw/*' './boot/vmlinuz-*' '*/lib/modules/*/modules.*' \
            '*/kernel/arch/*' '*/kernel/crypto/*' '*/kernel/lib/*' '*/kernel/net/*' '*/kernel/fs/*' \
            '*/kernel/drivers/char/*' '*/kernel/drivers/infiniband/*' '*/kernel/drivers/net/*' \
            '*/kernel/drivers/virtio/*' || vm_refuse 77 'the kernel package cannot be unpacked'
    [ -d "$1/lib" ] || ln -s usr/lib "$1/lib"
    version=$(cd "$1/lib/modules" && echo *)
    depmod -b "$1" "$version" || vm_refuse 77 'depmod failed on the kernel package'
    vm_unpack_kernel "$1/boot/vmlinuz-$version" "$1/vmlinux"
    rm -rf "${1:?}"/boot "$1"/*.deb "$1"/apt.log
    echo "$version" >"$1/version"
}

vm_make_first_files() { # FOLDER INIT: gets files.cpio
    local root=$1/root version module
    read -r version <"$vm_cache/kernel/version"
    mkdir -p "$root"/{bin,modules,proc,sys,dev,host,job,new,ram}
    cp "$(command -v busybox)" "$root/bin/busybox"
    install -m 755 "$2" "$root/init"
    modprobe -d "$vm_cache/kernel" -S "$version" -a --show-depends "${vm_first_modules[@]}" |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$1/modules"
    [ -s "$1/modules" ] || vm_refuse 77 'the kernel package lacks the modules of virtio and 9p'
    while read -r module; do
        case $module in
        *.xz) xz -dc "$module" ;;
        *.zst) zstd -dcq "$module" ;;
        *) cat "$module" ;;
        esac >"$root/modules/$(basename "${module%.ko*}").ko"
        basename "${module%.ko*}" >>"$root/modules/order"
    done <"$1/modules"
    (cd "$root" && find . | cpio -o -H newc --quiet) >"$1/files.cpio"
}

# Sets vm_cache and vm_first_files; makes what is missing.
vm_prepare_kernel() { # INIT
    local init=$1 work
    vm_choose_cache
    vm_first_files=$vm_cache/first-$(cat "$init" "$vm_cache/kernel/version" 2>/dev/null |
        cksum | tr ' ' -).cpio
    if [ ! -e "$vm_cache/kernel/version" ] || [ ! -e "$vm_first_files" ]; then
        [ -w "$vm_cache" ] ||
            vm_refuse 77 "$vm_cache cannot be written to; set XDG_CACHE_HOME to a folder that can"
        exec 8>"$vm_cache/lock"
        flock 8
        work=$(mktemp -d "$vm_cache/work.XXXXXX") || exit 77
        vm_temporary+=("$work")
        if [ ! -e "$vm_cache/kernel/version" ]; then
            mkdir "$work/kernel"
            vm_make_kernel "$work/kernel"
            rm -rf "$vm_cache/kernel"
            mv -T "$work/kernel" "$vm_cache/kernel"
        fi
        vm_first_files=$vm_cache/first-$(cat "$init" "$vm_cache/kernel/version" | cksum | tr ' ' -).cpio
        [ -e "$vm_first_files" ] || {
            vm_make_first_files "$work" "$init"
            mv "$work/files.cpio" "$vm_first_files"
        }
        exec 8>&-
    fi
}
