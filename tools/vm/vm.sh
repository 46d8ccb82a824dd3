# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # names are for those who source this
# Runs a command in a virtual machine that sees the host's files: what tools/rdma-vm and
# tools/numa-vm share. Sourced by them; they set vm_name and may add modules, a set-up command and
# options of qemu, and call vm_take_option for each option that is not theirs, then vm_run COMMAND.
#
# The machine is emulated (qemu's TCG), so it needs neither root nor KVM. Its root is the host's,
# read-only over 9p, under a layer in memory that takes what is written. The command's output comes
# over two virtio ports, its exit code in a file of the job's folder.

vm_folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
vm_name=vm
vm_megabytes=1024 vm_processors=2 vm_seconds=300 vm_memlock=unlimited vm_log=
vm_modules=() vm_set_up=() vm_qemu=() vm_out=() vm_environment=() vm_temporary=()
# What makes the kernel start sooner in an emulator; "tsc": reading the clock costs no call of it.
vm_kernel_options='console=ttyS0 panic=-1 nokaslr mitigations=off random.trust_cpu=on audit=0'
vm_kernel_options+=' cryptomgr.notests rcupdate.rcu_expedited=1 tsc=reliable no_timer_check'
vm_short=m:p:t:o:e:h
vm_long=memory:,processors:,timeout:,out:,env:,module:,memlock:,keep-log:,help

vm_usage() { # the shared options and the rest of the help text
    cat <<END_OF_TEXT
  -m, --memory MB         memory of the machine (default $vm_megabytes)
  -p, --processors N      its processors (default $vm_processors)
  -t, --timeout SECONDS   end the machine after so long (default $vm_seconds)
  -o, --out FOLDER        what is written below FOLDER is the host's; may be given several times.
                          All else that COMMAND writes is in memory, and gone in the end
  -e, --env NAME[=VALUE]  set a variable for COMMAND, or pass it on; all WEFT_... are passed on
      --module NAME       load a module of the kernel
      --memlock KIB       limit of locked memory, for COMMAND without the right to pass it
                          (default: unlimited)
      --keep-log FILE     write the kernel's messages there
  -h, --help              this help

COMMAND gets its arguments as they are, the current folder, no input, and runs as root of the
machine, with the host's rights of whoever runs this. Its standard output and error come out here.

Exit codes: COMMAND's own; 124 when it did not end in time; 125 when the machine failed; 2 for wrong
arguments; 77 where something is missing. The kernel is Debian's; it is downloaded with apt once,
unpacked below \$XDG_CACHE_HOME/weft/vm (default ~/.cache), and never installed.
END_OF_TEXT
}

vm_refuse() { # CODE SENTENCE
    echo "$vm_name: $2" >&2
    exit "$1"
}

vm_number() { # OPTION VALUE LEAST MOST
    [[ $2 =~ ^[0-9]{1,6}$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] ||
        vm_refuse 2 "$1 $2 is no number from $3 to $4"
}

vm_take_option() { # OPTION VALUE; the caller shifts both
    case $1 in
    -m | --memory) vm_number "$@" 160 1000000 && vm_megabytes=$2 ;;
    -p | --processors) vm_number "$@" 1 64 && vm_processors=$2 ;;
    -t | --timeout) vm_number "$@" 1 999999 && vm_seconds=$2 ;;
    -o | --out)
        [ -d "$2" ] && [ -w "$2" ] || vm_refuse 2 "$1 $2 is no folder that can be written to"
        vm_out+=("$(realpath "$2")") ;;
    -e | --env)
        [[ $2 =~ ^[A-Za-z_][A-Za-z0-9_]*(=|$) ]] || vm_refuse 2 "$1 $2 is no variable"
        case $2 in
        *=*) vm_environment+=("$2") ;;
        *) [ -z "${!2+set}" ] || vm_environment+=("$2=${!2}") ;;
        esac ;;
    --module) vm_modules+=("$2") ;;
    --memlock) vm_number "$@" 0 999999 && vm_memlock=$2 ;;
    --keep-log) vm_log=$2 ;;
    esac
}

vm_check_tools() {
    local tool lacking=()
    for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod cpio:cpio \
        xz:xz-utils ip:iproute2 setpriv:util-linux; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${tool%:*}" >/dev/null || lacking+=("${tool#*:}")
    done
    [ ${#lacking[@]} -eq 0 ] || vm_refuse 77 "not installed: ${lacking[*]}"
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || vm_refuse 77 'not installed: busybox-static'
}

vm_share() { # TAG FOLDER OPTIONS: arguments of qemu for a 9p file system, into vm_arguments
    vm_arguments+=(-fsdev "local,id=$1,path=${2//,/,,},security_model=none,$3"
        -device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}

vm_write_job() { # COMMAND...
    local name
    PATH=$PATH:/usr/sbin:/sbin
    vm_environment=("PATH=$PATH" HOME=/root TERM=dumb "${vm_environment[@]}")
    for name in "${!WEFT_@}"; do
        vm_environment+=("$name=${!name}")
    done
    printf '%s\0' "$@" >"$vm_job/command"
    printf '%s\0' "${vm_environment[@]}" >"$vm_job/environment"
    printf '%s\0' "$PWD" "$vm_memlock" "$vm_cache/kernel" "${vm_modules[*]}" >"$vm_job/settings"
    touch "$vm_job/folders" "$vm_job/setup"
    [ ${#vm_out[@]} -eq 0 ] || printf '%s\n' "${vm_out[@]}" >"$vm_job/folders"
    [ ${#vm_set_up[@]} -eq 0 ] || printf '%s\0' "${vm_set_up[@]}" >"$vm_job/setup"
    cp "$vm_folder/start" "$vm_job/start"
}

vm_end() { # takes everything down, however this ends
    [ -z "${vm_pid:-}" ] || kill "$vm_pid" 2>/dev/null
    rm -rf "${vm_temporary[@]}"
}

vm_run() { # COMMAND...: does not return
    local number=0 folder speak='quiet loglevel=3' status
    [ $# -gt 0 ] || vm_refuse 2 'no command; see --help'
    vm_check_tools
    trap vm_end EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    vm_prepare_kernel "$vm_folder/init"
    vm_job=$(mktemp -d) || exit 77
    vm_temporary+=("$vm_job")
    vm_write_job "$@"
    mkfifo "$vm_job"/{out,err}.{in,out}
    [ -z "$vm_log" ] || speak='loglevel=7'

    vm_arguments=()
    vm_share host / readonly=on,multidevs=remap
    vm_share job "$vm_job" multidevs=remap
    for folder in "${vm_out[@]}"; do
        vm_share "out$number" "$folder" multidevs=remap
        number=$((number + 1))
    done
    # Where nobody reads on, the command shall not wait for it.
    { cat || cat >/dev/null; } <"$vm_job/out.out" &
    { cat >&2 || cat >/dev/null; } <"$vm_job/err.out" &
    exec 6>"$vm_job/out.out" 7>"$vm_job/err.out"
    # Whatever ends this script, also SIGKILL, ends the machine.
    setpriv --pdeathsig KILL timeout -k 2 "$vm_seconds" setpriv --pdeathsig KILL \
        qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -M q35 \
        -accel tcg,thread=multi -cpu max -m "$vm_megabytes" -smp "$vm_processors" \
        -kernel "$vm_cache/kernel/vmlinux" -initrd "$vm_first_files" \
        -append "$vm_kernel_options $speak" \
        -serial "file:${vm_job//,/,,}/log" -device virtio-serial-pci \
        -chardev "pipe,id=out,path=${vm_job//,/,,}/out" -device virtserialport,chardev=out,nr=1 \
        -chardev "pipe,id=err,path=${vm_job//,/,,}/err" -device virtserialport,chardev=err,nr=2 \
        "${vm_arguments[@]}" "${vm_qemu[@]}" </dev/null >"$vm_job/qemu" 2>&1 6>&- 7>&- &
    vm_pid=$!
    wait "$vm_pid"
    status=$?
    vm_pid=
    exec 6>&- 7>&-
    wait # for the last of the output
    [ -z "$vm_log" ] || cp "$vm_job/log" "$vm_log" || echo "$vm_name: no log in $vm_log" >&2
    [ $status -ne 124 ] && [ $status -ne 137 ] ||
        vm_refuse 124 "the command did not end within $vm_seconds seconds"
    [ -s "$vm_job/code" ] && exit "$(<"$vm_job/code")"
    tail -n 20 "$vm_job/qemu" "$vm_job/log" >&2 2>/dev/null
    vm_refuse 125 'the virtual machine ended without an exit code of the command'
}

# shellcheck source=tools/vm/kernel.sh
. "$vm_folder/kernel.sh"
