/*
 * SPDX-License-Identifier: Apache-2.0
 * Numbers as people read them, each written into `text` and returned; and text that can be printed.
 */
#ifndef WEFT_BASE_FORMAT_H
#define WEFT_BASE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* "15.8 GB/s"; powers of 1000, as links are sold. */
const char *weft_format_bandwidth(int64_t bytes_per_second, char *text, size_t size);
/* "80 ns", "1.20 us". */
const char *weft_format_latency(int64_t picoseconds, char *text, size_t size);
/* "4.5 GiB", "32 KiB". */
const char *weft_format_bytes(int64_t bytes, char *text, size_t size);

/* Whatever is no printable ASCII becomes '?', in place. */
void weft_make_printable(char *text);

#endif
