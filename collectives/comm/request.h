/*
 * SPDX-License-Identifier: Apache-2.0
 * What a caller asks for, checked and brought into the form that planning and executing need.
 */
#ifndef WEFT_COLLECTIVES_COMM_REQUEST_H
#define WEFT_COLLECTIVES_COMM_REQUEST_H

#include "collectives/comm/internal.h"

struct weft_call {
    weft_op_desc desc; // count tables point into `tables`
    struct weft_key key;
    uint64_t signature;
    size_t element_bytes;
    size_t block_bytes;     // of a uniform collective; 0 otherwise
    size_t input_elements;  // this rank's contribution
    size_t output_elements; // this rank's output, for scaling
    bool is_in_place;
    size_t *tables; // prefix sums: input_ends, output_ends; NULL for uniform collectives
    struct weft_sizes sizes;
    uint32_t *leaf_bounds; // NULL: one leaf per rank
    int num_summands;      // of the whole reduction: what an average divides by
    char scalar[8];        // of a pre-multiplied sum, as an element
    void *product; // where the contribution times the scalar goes; NULL: nothing to multiply
    void *room;    // for the product; NULL: it goes into the output
};

/* Checks `desc` for `comm` and fills *call; at once, if it was made lately. Errors:
 * INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY. */
weft_status weft_call_make(struct weft_comm *comm, const weft_op_desc *desc, struct weft_call *call,
                           struct weft_error *error);
/* When the operation starts: multiplies this rank's contribution, and takes the product for the
 * send buffer from then on. So every element is multiplied once, whichever way it goes afterwards
 * and however often it is read. Again: nothing. */
void weft_call_multiply(struct weft_call *call);
void weft_call_free(struct weft_call *call);
/* Whether what is asked for is a call like a checked one but for buffers, count, root and deadline,
 * without leaves, queue and algorithm. */
bool weft_call_is_like(const weft_op_desc *desc, const weft_op_desc *checked);
bool weft_buffers_overlap(const void *send, size_t send_bytes, const void *recv, size_t recv_bytes);
/* Of several all-reduces that travel as the one that `whole` describes. */
uint64_t weft_call_signature_joined(const weft_op_desc *whole, unsigned num_calls,
                                    uint64_t counts_hash);
bool weft_call_is_joined(uint64_t signature);
/* For sentences: the collective's name, or that it is joined. A receive is signed as a send. */
const char *weft_call_name(weft_collective collective, uint64_t signature);
/* A send or receive whose peer is this rank. */
weft_status weft_self_submit(struct weft_comm *comm, const struct weft_call *call,
                             weft_request *request);

#endif
