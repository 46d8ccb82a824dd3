/*
 * SPDX-License-Identifier: Apache-2.0
 * Small all-reduces of one group that go together: side by side in one buffer, as one all-reduce.
 * Which of them do follows from what all ranks know (communicator, type, operation, order, counts),
 * so all ranks that make the same group form the same batches. An element is reduced over the ranks
 * as it would be alone: in reproducible order the bits are the same.
 */
#ifndef WEFT_COLLECTIVES_COMM_BATCH_H
#define WEFT_COLLECTIVES_COMM_BATCH_H

#include "collectives/comm/request.h"

struct weft_batch;

/* Replaces operations of a group, linked by `next` in order of submission, by batches of them.
 * Returns the list. */
struct weft_operation *weft_batches_form(struct weft_operation *list);
/* The operation of a batch: when it starts, when it has ended well, and always at last. */
void weft_batch_pack(struct weft_batch *batch);
void weft_batch_unpack(const struct weft_batch *batch);
void weft_batch_free(struct weft_batch **batch);

/* collective.c */
/* The call of an operation that may go with others; NULL: of none. */
const struct weft_call *weft_collective_joinable(const struct weft_operation *operation);
/* An all-reduce in the place of several; takes the batch on success. */
weft_status weft_collective_make_batch(struct weft_comm *comm, const weft_op_desc *desc,
                                       uint64_t signature, struct weft_batch *batch,
                                       struct weft_operation **operation, struct weft_error *error);

#endif
