# Cross build for 64-bit Arm; tests run under qemu-user. The libraries come from
# `tools/aarch64-libraries build/aarch64-libraries`, the compiler from gcc-aarch64-linux-gnu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(WEFT_AARCH64_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-libraries/root)
get_filename_component(WEFT_AARCH64_ROOT ${WEFT_AARCH64_ROOT} ABSOLUTE)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${WEFT_AARCH64_ROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${WEFT_AARCH64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
