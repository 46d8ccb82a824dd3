/*
 * SPDX-License-Identifier: Apache-2.0
 * How processes meet. A meeting point listens; each rank shows that it knows the id's secret, gives
 * its number and a blob (its device addresses), and gets everybody's blobs. Nobody blocks: both
 * sides are state machines. Strangers (wrong secret, garbage, silence) are dropped and cost the
 * meeting nothing but a bounded number of sockets; blobs travel encrypted with the secret.
 */
#ifndef WEFT_TRANSPORT_BOOTSTRAP_H
#define WEFT_TRANSPORT_BOOTSTRAP_H

#include "base/error.h"

enum { WEFT_BLOB_LIMIT_BYTES = 64 << 10 };

/* ---- the meeting point: in rank 0's process, or in the launcher ---- */

struct weft_meeting;

/* Listens on `address`:`port` (numeric; 0: any port) and makes the id (fresh 32-byte secret from
 * the system), or, with `secret` not NULL (32 bytes), uses that secret. With a wildcard address the
 * id names the loopback. Errors: SYSTEM naming address, port and errno text ("port 1234 on 10.0.0.1
 * is in use"), INVALID_ARGUMENT, OUT_OF_MEMORY. */
weft_status weft_meeting_open(const char *address, int port, const unsigned char *secret,
                              struct weft_meeting **meeting, weft_unique_id *id,
                              struct weft_error *error);
/* Serves once. IN_PROGRESS; OK when every rank has the table and was told so; REMOTE when a rank
 * left before that (every rank still there is told so first); MISMATCH (two ranks claim one number
 * or disagree about num_ranks; all are told); TIMEOUT when a rank's deadline comes (all are told
 * who is missing). After a failure it stays IN_PROGRESS until all ranks have heard of it, at most
 * 1 s longer: call it until then, or late ranks wait for their deadline in vain. */
weft_status weft_meeting_progress(struct weft_meeting *meeting, struct weft_error *error);
/* A descriptor that polls readable when progress has something to do. */
int weft_meeting_descriptor(const struct weft_meeting *meeting);
/* For launchers: rank `rank` is known to be dead; fails the meeting for everyone, with `text`. */
void weft_meeting_report_death(struct weft_meeting *meeting, int rank, const char *text);
void weft_meeting_close(struct weft_meeting **meeting);

/* Makes an id for a known address, port and secret, for launchers that give those three. Host names
 * are looked up, which may block. The meeting at that port is opened with the secret that
 * weft_secret_from_text makes (32 bytes) of the same text. Errors: INVALID_ARGUMENT, NOT_FOUND. */
void weft_secret_from_text(const char *text, unsigned char *secret);
weft_status weft_unique_id_from_address(const char *address, int port, const char *secret,
                                        weft_unique_id *id, struct weft_error *error);
/* Hexadecimal form, 2 * WEFT_UNIQUE_ID_BYTES characters and a NUL, and back. */
void weft_unique_id_to_hex(const weft_unique_id *id, char *hex);
weft_status weft_unique_id_from_hex(const char *hex, weft_unique_id *id, struct weft_error *error);

/* ---- one rank ---- */

struct weft_bootstrap;

/* Begins; retries the connection until `deadline_ns` (weft_clock_ns time), since the meeting point
 * may start later. `blob` is copied. Errors: INVALID_ARGUMENT (bad id), SYSTEM, OUT_OF_MEMORY. */
weft_status weft_bootstrap_start(const weft_unique_id *id, int rank, int num_ranks,
                                 const void *blob, size_t blob_bytes, int64_t deadline_ns,
                                 struct weft_bootstrap **bootstrap, struct weft_error *error);
/* IN_PROGRESS; OK: the blobs are there; TIMEOUT (says how many and, when the meeting point told,
 * which ranks are missing); REMOTE (who left); PERMISSION (the other end does not know the secret);
 * MISMATCH; SYSTEM. */
weft_status weft_bootstrap_progress(struct weft_bootstrap *bootstrap, struct weft_error *error);
int weft_bootstrap_descriptor(const struct weft_bootstrap *bootstrap);
/* After OK. Owned by `bootstrap`. */
const void *weft_bootstrap_blob(const struct weft_bootstrap *bootstrap, int rank, size_t *bytes);
void weft_bootstrap_close(struct weft_bootstrap **bootstrap);

#endif
