/*
 * SPDX-License-Identifier: Apache-2.0
 * Small all-reduces of one group that go together: side by side in one buffer, as one all-reduce.
 * Which of them do follows from what all ranks know (communicator, type, operation, order, counts),
 * so all ranks that make the same group form the same batches. An element is reduced over the ranks
 * as it would be alone: in reproducible order the bits are the same.
 *
 * A batch belongs to the operation of its first call. A further one is a few words in the batch:
 * no operation is made of it.
 */
#ifndef WEFT_COLLECTIVES_COMM_BATCH_H
#define WEFT_COLLECTIVES_COMM_BATCH_H

#include "collectives/comm/in_memory.h"

/* While the group is open; what is submitted joins in order of submission. */

/* Whether others may go with a call, which is in a group. */
bool weft_batch_fits(const struct weft_comm *comm, const struct weft_call *call);
/* Takes a call that one of the communicator's open batches has room for, is like the first there
 * and is correct; *is_taken tells. OUT_OF_MEMORY: it would have been taken. */
weft_status weft_batch_join(struct weft_comm *comm, const weft_op_desc *desc, weft_request *request,
                            bool *is_taken, struct weft_error *error);
/* Begins with a call that fits and was not taken, and its operation. NULL: there is no memory. */
struct weft_batch *weft_batch_begin(struct weft_operation *first, const struct weft_call *call,
                                    weft_request *request);
/* Where the operation's result goes: the calls' own requests hear of it when the batch is freed. */
weft_request *weft_batch_result(struct weft_batch *batch);

/* The group ends, and nobody joins any more: makes *call, the first one, the call of all, and
 * chooses how it goes. A call that stayed alone stays as it is. */
weft_status weft_batch_close(struct weft_batch *batch, struct weft_call *call, enum weft_path *path,
                             struct weft_error *error);

/* The operation of a batch: before it, when it has ended well, and always at last. */
void weft_batch_pack(const struct weft_batch *batch);
void weft_batch_unpack(const struct weft_batch *batch);
void weft_batch_free(struct weft_batch **batch);

#endif
