/*
 * SPDX-License-Identifier: Apache-2.0
 * Codes of verbs as words for sentences. What is unknown here is called so; nothing is NULL.
 */
#ifndef WEFT_BASE_VERBS_WORDS_H
#define WEFT_BASE_VERBS_WORDS_H

#include <infiniband/verbs.h>

/* "down", "active" */
const char *weft_port_state_name(unsigned state);
/* "polling", "up" */
const char *weft_port_physical_state_name(unsigned state);
/* "reset", "ready to send" */
const char *weft_qp_state_name(unsigned state);
/* What a failed work request means, for people: "the peer does not answer (retries exceeded)". */
const char *weft_wc_status_name(unsigned status);
/* "the port is up": what an asynchronous event means. */
const char *weft_async_event_name(unsigned event);
/* Why an object of a device cannot be had, from errno, with the remedy where there is one. */
const char *weft_verbs_errno_name(int failure);
/* Bytes of an MTU code; 0: an unknown code. */
int weft_mtu_bytes(unsigned code);

#endif
