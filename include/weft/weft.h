/*
 * SPDX-License-Identifier: Apache-2.0
 * Weft: collectives planned for exactly the fabric they run on. The one public header.
 *
 * Objects. A `weft_context` (one per process is enough) owns everything: memory, connections to
 * other processes, the control plane. A `weft_comm` is a set of ranks; it is cheap. A
 * `weft_request` is one operation in flight and lives in the caller's memory.
 *
 * One rule for blocking. Every call that may take time has a last parameter
 * `weft_request *request`. NULL: the call returns when it is done. Otherwise it returns at once and
 * the caller later calls weft_test or weft_wait on it; buffers, and the output pointer of a
 * creation, must stay valid until then.
 *
 * Errors. Every fallible call returns a `weft_status`; the sentence behind the last failure is at
 * weft_comm_error_text and weft_context_error_text. Outputs are written only on success.
 *
 * Threads. A context and all that hangs off it may be used by one thread at a time; different
 * contexts are independent. Only weft_comm_abort may be called from any thread. With
 * WEFT_PROGRESS=thread a context has a thread of its own that moves its operations between calls:
 * buffers of operations in flight are then read and written, and the output pointer of a creation
 * is written, at any time until weft_test or weft_wait has returned the result.
 *
 * Fork. A child may not use its parent's context, nor destroy it; it makes its own, since threads
 * and locks stay with the parent. Weft's file descriptors are close-on-exec.
 *
 * Units. Counts are elements unless a name says bytes; times are nanoseconds.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0

#define WEFT_API       __attribute__((visibility("default")))
#define WEFT_NODISCARD __attribute__((warn_unused_result))

/* (code, text). The order is the ABI: add at the end only. */
#define WEFT_STATUS_MAP(X)                                                                         \
    X(OK, "success")                                                                               \
    X(IN_PROGRESS, "operation still in progress")                                                  \
    X(AGAIN, "resource busy, retry after progress")                                                \
    X(INVALID_ARGUMENT, "invalid argument")                                                        \
    X(INVALID_FORMAT, "malformed input")                                                           \
    X(INVALID_USAGE, "call not allowed in this state")                                             \
    X(UNSUPPORTED, "not supported here")                                                           \
    X(OUT_OF_MEMORY, "out of memory")                                                              \
    X(SYSTEM, "system call failed")                                                                \
    X(NOT_FOUND, "not found")                                                                      \
    X(TIMEOUT, "deadline passed")                                                                  \
    X(MISMATCH, "ranks disagree about the call")                                                   \
    X(REMOTE, "a peer failed")                                                                     \
    X(ABORTED, "communicator aborted")                                                             \
    X(UNPROVED, "plan failed its check")                                                           \
    X(PERMISSION, "authentication failed")                                                         \
    X(INTERNAL, "internal error")

typedef enum weft_status {
#define WEFT_STATUS_ENUM(code, text) WEFT_##code,
    WEFT_STATUS_MAP(WEFT_STATUS_ENUM)
#undef WEFT_STATUS_ENUM
} weft_status;

/* A static English text for `status`; never NULL. */
WEFT_API const char *weft_status_text(weft_status status);
/* "WEFT_TIMEOUT" and the like; never NULL. */
WEFT_API const char *weft_status_name(weft_status status);
/* major * 10000 + minor * 100 + patch of the library that is loaded. */
WEFT_API int weft_version(void);

/* Element types; the values are the ABI. Sizes: weft_dtype_bytes. FLOAT8_* are the two of the OCP
 * 8-bit specification; E4M3 has no infinity, what is too large for it becomes NaN. */
typedef enum weft_dtype {
    WEFT_FLOAT32,
    WEFT_FLOAT64,
    WEFT_BFLOAT16,
    WEFT_FLOAT16,
    WEFT_INT32,
    WEFT_INT64,
    WEFT_UINT8,
    WEFT_INT8,
    WEFT_INT16,
    WEFT_UINT16,
    WEFT_UINT32,
    WEFT_UINT64,
    WEFT_FLOAT8_E4M3,
    WEFT_FLOAT8_E5M2,
} weft_dtype;

/* Reductions. Integers wrap; floating results are rounded to the type at every step. AVG is the sum
 * divided by the number of ranks (integers: truncated); with leaf_bounds, by the number of leaves.
 * PREMUL_SUM sums what every rank contributes, multiplied by that rank's weft_op_desc.scalar and
 * rounded to the type; so only weft_submit can do it.
 * LOGICAL_* take any value but 0 for true and give 0 or 1; they and BITWISE_* are for integers only
 * (floating types: INVALID_ARGUMENT). */
typedef enum weft_op {
    WEFT_SUM,
    WEFT_PROD,
    WEFT_MIN,
    WEFT_MAX,
    WEFT_AVG,
    WEFT_PREMUL_SUM,
    WEFT_LOGICAL_AND,
    WEFT_LOGICAL_OR,
    WEFT_LOGICAL_XOR,
    WEFT_BITWISE_AND,
    WEFT_BITWISE_OR,
    WEFT_BITWISE_XOR,
} weft_op;

typedef enum weft_collective {
    WEFT_ALL_REDUCE,
    WEFT_ALL_GATHER,
    WEFT_REDUCE_SCATTER,
    WEFT_BROADCAST,
    WEFT_REDUCE,
    WEFT_ALL_TO_ALL,
    WEFT_ALL_GATHER_V,
    WEFT_REDUCE_SCATTER_V,
    WEFT_ALL_TO_ALL_V,
    WEFT_BARRIER,
    WEFT_SEND,
    WEFT_RECV,
    WEFT_GATHER,
    WEFT_GATHER_V,
    WEFT_SCATTER,
    WEFT_SCATTER_V,
} weft_collective;

/* Bytes of one element; 0 if `dtype` is not one of the enum. */
WEFT_API size_t weft_dtype_bytes(weft_dtype dtype);

typedef struct weft_context weft_context;
typedef struct weft_comm weft_comm;

/* One operation in flight. Zero-initialise is not needed. Opaque; may be copied only when idle. */
typedef struct weft_request {
    uint64_t opaque[4];
} weft_request;

/* Names a group of processes that are about to meet. Carries an address and a random secret: treat
 * it as a password. Plain bytes: send it by any means (environment, file, MPI_Bcast). */
#define WEFT_UNIQUE_ID_BYTES 128
typedef struct weft_unique_id {
    char bytes[WEFT_UNIQUE_ID_BYTES];
} weft_unique_id;

/* ---- context ---- */

/* Reads the configuration (`weft env` lists it) and opens the transports. Blocking, local. There is
 * no object yet to ask for the reason of a failure: it is logged (level error).
 * Errors: INVALID_ARGUMENT (a WEFT_* variable has a bad value), UNSUPPORTED (no transport works
 * here), OUT_OF_MEMORY, SYSTEM. */
WEFT_API WEFT_NODISCARD weft_status weft_context_create(weft_context **context);
/* Closes everything below it: outstanding requests end with ABORTED, on all ranks of their
 * communicators; communicators that are still open are destroyed. NULL and pointer to NULL are
 * allowed; clears *context. */
WEFT_API void weft_context_destroy(weft_context **context);
/* The sentence behind the last failure of a call on this context that had no communicator, such as
 * weft_comm_create; "" if none. Valid until the next call. */
WEFT_API const char *weft_context_error_text(const weft_context *context);

/* ---- communicators ---- */

/* Makes an id whose meeting point is served by this context until the communicator is made or the
 * context destroyed. The address is WEFT_BOOTSTRAP_ADDRESS, or loopback when that is unset.
 * Errors: SYSTEM (cannot listen). */
WEFT_API WEFT_NODISCARD weft_status weft_unique_id_create(weft_context *context,
                                                          weft_unique_id *id);

/* All-gather by other means: on return `all` holds num_ranks pieces of `bytes` bytes in rank order.
 * Returns 0 on success. May block; called only by weft_comm_create. */
typedef int (*weft_exchange_fn)(void *argument, const void *mine, void *all, size_t bytes);

typedef struct weft_comm_options {
    size_t struct_bytes;       /* sizeof(weft_comm_options): the version of this struct */
    int rank;                  /* 0 .. num_ranks - 1 */
    int num_ranks;             /* >= 1 */
    const weft_unique_id *id;  /* the same on all ranks; NULL when `exchange` is given */
    weft_exchange_fn exchange; /* used to agree on an id when `id` is NULL; may be NULL otherwise */
    void *exchange_argument;   /* passed to `exchange` */
    int64_t timeout_ns;        /* for this call and, by default, every operation; 0: WEFT_TIMEOUT */
    const char *transports;    /* the ones that may be used, as in WEFT_TRANSPORTS; NULL or "": all
                                  that the context has. Equal on all ranks */
} weft_comm_options;

/* Collective over the ranks that share the id. The options are copied.
 * Errors: INVALID_ARGUMENT, TIMEOUT (names who is missing), REMOTE (names who died), PERMISSION,
 * MISMATCH (two ranks claim one number, or disagree about num_ranks), SYSTEM, OUT_OF_MEMORY. */
WEFT_API WEFT_NODISCARD weft_status weft_comm_create(weft_context *context,
                                                     const weft_comm_options *options,
                                                     weft_comm **comm, weft_request *request);
/* The same with everything taken from the launcher's variables: WEFT_RANK/WEFT_NUM_RANKS/WEFT_ID
 * (weft launch), RANK/WORLD_SIZE/MASTER_ADDR/MASTER_PORT (torchrun), OMPI_COMM_WORLD_*, SLURM_*;
 * without any, one rank alone. Errors: as above, and INVALID_ARGUMENT naming the bad variable. */
WEFT_API WEFT_NODISCARD weft_status weft_comm_create_from_environment(weft_context *context,
                                                                      weft_comm **comm,
                                                                      weft_request *request);
/* Collective. Ranks of one colour form a communicator, ordered by (key, old rank). A negative
 * colour: this rank joins none and *child becomes NULL. Opens no connection.
 * Errors: INVALID_ARGUMENT, INVALID_USAGE (finalized), OUT_OF_MEMORY, and those of an operation. */
WEFT_API WEFT_NODISCARD weft_status weft_comm_split(weft_comm *comm, int colour, int key,
                                                    weft_comm **child, weft_request *request);
/* Collective. A communicator of the same ranks whose operations never match those of `comm`.
 * Errors: as weft_comm_split. */
WEFT_API WEFT_NODISCARD weft_status weft_comm_duplicate(weft_comm *comm, weft_comm **child,
                                                        weft_request *request);
/* Collective: completes when every rank's operations on `comm` are done. Afterwards only destroy
 * and queries are allowed (others: INVALID_USAGE). Errors: INVALID_USAGE (twice), OUT_OF_MEMORY,
 * and those of an operation. */
WEFT_API WEFT_NODISCARD weft_status weft_comm_finalize(weft_comm *comm, weft_request *request);
/* Local. Ends all operations on `comm` here with ABORTED and tells the other ranks, which end
 * theirs too. Never blocks, always succeeds, any thread; other communicators are unaffected. */
WEFT_API void weft_comm_abort(weft_comm *comm);
/* Local; aborts first if operations are outstanding. Clears *comm. NULL is allowed. */
WEFT_API void weft_comm_destroy(weft_comm **comm);
/* What has gone wrong so far, asynchronously: OK, or what ends every operation from now on (REMOTE,
 * ABORTED, MISMATCH, TIMEOUT, ...). Makes progress. INVALID_ARGUMENT for NULL. */
WEFT_API weft_status weft_comm_async_error(weft_comm *comm);
/* The sentence behind the last failure on `comm`; "" if none. Valid until the next call on it. */
WEFT_API const char *weft_comm_error_text(const weft_comm *comm);
/* This process's rank in `comm`, 0 .. weft_comm_num_ranks - 1; -1 for NULL. */
WEFT_API int weft_comm_rank(const weft_comm *comm);
/* -1 for NULL. */
WEFT_API int weft_comm_num_ranks(const weft_comm *comm);

/* ---- operations ---- */

typedef enum weft_order {
    WEFT_ORDER_FREE, /* the fastest plan; the same bits on every rank and every repetition */
    WEFT_ORDER_REPRODUCIBLE, /* the same bits for any topology, placement and algorithm, and with
                                leaf_bounds for any number of ranks; see weft_leaf_parts */
} weft_order;

/* Everything about one operation. Zero the struct, set struct_bytes, then what the collective
 * needs:
 *
 *   collective        send buffer                 recv buffer                 counts
 *   all_reduce        count                       count                       count
 *   reduce            count                       count (root)                count, root
 *   broadcast         count (root)                count                       count, root
 *   all_gather        count                       num_ranks * count           count
 *   reduce_scatter    num_ranks * count           count                       count
 *   all_to_all        num_ranks * count           num_ranks * count           count
 *   gather            count                       num_ranks * count (root)    count, root
 *   scatter           num_ranks * count (root)    count                       count, root
 *   all_gather_v      recv_counts[rank]           sum of recv_counts          recv_counts (agreed)
 *   reduce_scatter_v  sum of recv_counts          recv_counts[rank]           recv_counts (agreed)
 *   gather_v          recv_counts[rank]           sum of recv_counts (root)   recv_counts (agreed),
 *                                                                             root
 *   scatter_v         sum of recv_counts (root)   recv_counts[rank]           recv_counts (agreed),
 *                                                                             root
 *   all_to_all_v      sum of send_counts          sum of recv_counts          both (pairwise)
 *   send, recv        count                       count                       count, peer
 *
 * (root): on other ranks there is no such buffer, and the pointer is not looked at. Blocks, of the
 * vector forms too, lie one after another in rank order. In place: send == recv, except
 * all_gather(v) and the root of gather(v): send points at the own block inside recv;
 * reduce_scatter(v) and the root of scatter(v): recv points at the own block inside send. Other
 * overlaps are INVALID_ARGUMENT. Agreed counts are read, and must be equal, on all ranks. */
typedef struct weft_op_desc {
    size_t struct_bytes; /* sizeof(weft_op_desc): the version of this struct */
    weft_collective collective;
    weft_dtype dtype;
    weft_op op;
    weft_order order;
    int root;
    int peer;
    const void *send;
    void *recv;
    size_t count;
    const size_t *send_counts; /* num_ranks entries; copied */
    const size_t *recv_counts; /* num_ranks entries; copied */
    int64_t timeout_ns;        /* 0: the communicator's */
    void *queue;               /* NULL: host. A stream otherwise (UNSUPPORTED in this build) */
    const char *algorithm;     /* NULL: the planner chooses. Must be equal on all ranks; copied */
    /* Since these were added, a struct_bytes that ends before them means NULL and 0. With
     * WEFT_ORDER_REPRODUCIBLE, all_reduce, reduce, reduce_scatter(v); equal on all ranks; copied.
     */
    size_t num_leaves;         /* 1 .. WEFT_LEAVES_LIMIT; 0: one leaf per rank */
    const size_t *leaf_bounds; /* num_ranks + 1 entries, rising from 0 to num_leaves: rank r
                                  contributes leaves [leaf_bounds[r], leaf_bounds[r + 1]) */
    /* Added after these, in the same way. */
    const void *scalar; /* WEFT_PREMUL_SUM: one element of dtype, in host memory; copied. May differ
                           between ranks */
} weft_op_desc;

/* ---- the canonical order ----
 *
 * A reproducible reduction combines leaves 0 .. num_leaves - 1 in one fixed binary tree, rounding
 * to the type at every node. A node over n > 1 leaves combines the node over the first m of them
 * with the node over the rest, m being the largest power of two below n. So the result depends on
 * the leaves and their number alone, not on who owns them.
 *
 * The operations are taken to be commutative to the bit, which IEEE sums of numbers are.
 *
 * By default rank r contributes leaf r. With leaf_bounds it contributes a span of leaves (possibly
 * none), for instance its part of the micro-batches of one training step: it combines what lies
 * wholly in its span itself, and sends one vector for each of the largest nodes in it, its parts.
 * The send buffer holds these vectors one after another, in order; each is as long as the table of
 * weft_op_desc says (so an all_reduce with 2 parts sends 2 * count elements). A rank without leaves
 * sends nothing. In place needs a span of one part.
 *
 * To compute a part of n leaves, keep a stack of vectors: push leaf after leaf; after the k-th
 * (k = 1 .. n) combine the two vectors on top as often as 2 divides k; after the last, until one is
 * left.
 *
 *     weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT];
 *     size_t num_parts = weft_leaf_parts(bounds[rank], bounds[rank + 1], num_leaves, parts);
 *     for (size_t p = 0; p < num_parts; p++) {
 *         size_t depth = 0, n = parts[p].end - parts[p].begin;
 *         for (size_t k = 1; k <= n; k++) {
 *             gradient_of(parts[p].begin + k - 1, stack[depth++]);
 *             for (size_t twos = k; depth > 1 && (twos % 2 == 0 || k == n); twos /= 2, depth--)
 *                 add(stack[depth - 2], stack[depth - 1]);
 *         }
 *         copy(send + p * count, stack[0]);
 *     }
 */
enum { WEFT_LEAVES_LIMIT = 1 << 20, WEFT_LEAF_PARTS_LIMIT = 64 };
typedef struct weft_leaf_part {
    size_t begin, end; /* leaves [begin, end) */
} weft_leaf_part;

/* The parts of the span [lo, hi) of num_leaves leaves, in order, at most WEFT_LEAF_PARTS_LIMIT;
 * returns how many. `parts` NULL: only counts. An empty span, or one that does not lie within
 * [0, num_leaves), num_leaves <= WEFT_LEAVES_LIMIT, has none. */
WEFT_API size_t weft_leaf_parts(size_t lo, size_t hi, size_t num_leaves, weft_leaf_part *parts);

/* Submits one operation. Operations of one communicator are matched by order of submission.
 * With `request` NULL it waits for the operation; inside a group it returns at once, and the
 * operation ends with the group. Errors at once: INVALID_ARGUMENT, INVALID_USAGE (finalized),
 * OUT_OF_MEMORY, and what has failed the communicator before. Errors at the end: TIMEOUT, REMOTE,
 * ABORTED, MISMATCH, UNSUPPORTED (the forced algorithm cannot), OUT_OF_MEMORY; each of them fails
 * the communicator on all its ranks. */
WEFT_API WEFT_NODISCARD weft_status weft_submit(weft_comm *comm, const weft_op_desc *desc,
                                                weft_request *request);

/* The named calls fill a weft_op_desc (see the table there for buffers and counts, in elements of
 * `dtype`) and submit it: what is said of weft_submit holds for them, errors included. Buffers are
 * the operation's until it ends. `send` and `recv` may be NULL where the rank has no such buffer,
 * or it is empty. A rank that needs nothing of others, like the root of a broadcast, may end before
 * they have begun; what fails later is told by its next call. */
WEFT_API WEFT_NODISCARD weft_status weft_all_reduce(const void *send, void *recv, size_t count,
                                                    weft_dtype dtype, weft_op op, weft_comm *comm,
                                                    weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_all_gather(const void *send, void *recv, size_t count,
                                                    weft_dtype dtype, weft_comm *comm,
                                                    weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_reduce_scatter(const void *send, void *recv, size_t count,
                                                        weft_dtype dtype, weft_op op,
                                                        weft_comm *comm, weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_all_gather_v(const void *send, void *recv,
                                                      const size_t *counts, weft_dtype dtype,
                                                      weft_comm *comm, weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_reduce_scatter_v(const void *send, void *recv,
                                                          const size_t *counts, weft_dtype dtype,
                                                          weft_op op, weft_comm *comm,
                                                          weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_broadcast(const void *send, void *recv, size_t count,
                                                   weft_dtype dtype, int root, weft_comm *comm,
                                                   weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_reduce(const void *send, void *recv, size_t count,
                                                weft_dtype dtype, weft_op op, int root,
                                                weft_comm *comm, weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_all_to_all(const void *send, void *recv, size_t count,
                                                    weft_dtype dtype, weft_comm *comm,
                                                    weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_all_to_all_v(const void *send, const size_t *send_counts,
                                                      void *recv, const size_t *recv_counts,
                                                      weft_dtype dtype, weft_comm *comm,
                                                      weft_request *request);
/* Block r of the root's `recv` is what rank r sends; elsewhere `recv` is not looked at. */
WEFT_API WEFT_NODISCARD weft_status weft_gather(const void *send, void *recv, size_t count,
                                                weft_dtype dtype, int root, weft_comm *comm,
                                                weft_request *request);
/* Rank r sends counts[r]; `counts` are needed, and equal, on all ranks. */
WEFT_API WEFT_NODISCARD weft_status weft_gather_v(const void *send, void *recv,
                                                  const size_t *counts, weft_dtype dtype, int root,
                                                  weft_comm *comm, weft_request *request);
/* Block r of the root's `send` goes to rank r; elsewhere `send` is not looked at. */
WEFT_API WEFT_NODISCARD weft_status weft_scatter(const void *send, void *recv, size_t count,
                                                 weft_dtype dtype, int root, weft_comm *comm,
                                                 weft_request *request);
/* Rank r receives counts[r]; `counts` are needed, and equal, on all ranks. */
WEFT_API WEFT_NODISCARD weft_status weft_scatter_v(const void *send, void *recv,
                                                   const size_t *counts, weft_dtype dtype, int root,
                                                   weft_comm *comm, weft_request *request);
/* Matched in order per (communicator, source, destination). */
WEFT_API WEFT_NODISCARD weft_status weft_send(const void *send, size_t count, weft_dtype dtype,
                                              int peer, weft_comm *comm, weft_request *request);
WEFT_API WEFT_NODISCARD weft_status weft_recv(void *recv, size_t count, weft_dtype dtype, int peer,
                                              weft_comm *comm, weft_request *request);
/* Ends on no rank before every rank has called it. */
WEFT_API WEFT_NODISCARD weft_status weft_barrier(weft_comm *comm, weft_request *request);

/* Between begin and end, submissions (on any communicators of the context) are only collected; end
 * submits them all at once, so their order among communicators cannot deadlock. Groups nest; only
 * the outermost end acts. Small all-reduces of a group on one communicator, of one type, operation
 * and order, travel as one (WEFT_JOIN_BYTES), in reproducible order with the same bits as apart. So
 * all ranks of a communicator group the same all-reduces, else MISMATCH. With `request` NULL, end
 * waits for all of them. The first failure is returned; the others are still submitted. Errors:
 * INVALID_ARGUMENT, INVALID_USAGE (end without begin), OUT_OF_MEMORY (nothing is submitted), and
 * those of the operations. */
WEFT_API WEFT_NODISCARD weft_status weft_group_begin(weft_context *context);
WEFT_API WEFT_NODISCARD weft_status weft_group_end(weft_context *context, weft_request *request);

/* Makes progress (with WEFT_PROGRESS=thread only looks), then: IN_PROGRESS, or the operation's
 * result, after which the request is idle. */
WEFT_API WEFT_NODISCARD weft_status weft_test(weft_request *request);
/* Makes progress until the operation ends, at its deadline at the latest; returns its result.
 * Inside a group of the same context: INVALID_USAGE, since what is collected cannot end. */
WEFT_API WEFT_NODISCARD weft_status weft_wait(weft_request *request);

/* ---- memory ---- */

/* `bytes` bytes, page aligned, zeroed, until weft_mem_free or the end of the context. Any pointer
 * works with every operation. Collectives of ranks on one machine are several times faster where
 * send and recv of all ranks lie in memory from here: ranks then read and write one another's
 * buffers in place instead of copying. It lies on the NUMA node that the caller runs on, where the
 * system allows to ask for that. An operation that has failed may still be written to by
 * ranks that have not heard of it: its buffers hold anything until the communicator is destroyed
 * on all of them. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, SYSTEM. */
WEFT_API WEFT_NODISCARD weft_status weft_mem_alloc(weft_context *context, size_t bytes,
                                                   void **memory);
/* NULL is allowed. Memory not from weft_mem_alloc of this context: INVALID_ARGUMENT. */
WEFT_API WEFT_NODISCARD weft_status weft_mem_free(weft_context *context, void *memory);

#ifdef __cplusplus
}
#endif
#endif
