/*
 * SPDX-License-Identifier: Apache-2.0
 * The objects behind the public handles, and what the files of this folder ask of each other.
 *
 *   context  devices, waiting, the list of operations in flight      context.c
 *   world    processes that met: connections, control plane          world.c
 *   comm     ranks of a world: sequence numbers, plans, flat slots   comm.c, create.c, settle.c
 *   operation anything that takes time                               operation.c, collective.c
 *
 * Everything here belongs to one thread at a time, except `abort_requested`, the context's wake
 * descriptor, and the status in a request: the caller's, or with a progress thread (progress.h)
 * whichever holds the context's lock.
 */
#ifndef WEFT_COLLECTIVES_COMM_INTERNAL_H
#define WEFT_COLLECTIVES_COMM_INTERNAL_H

#include <stdatomic.h>

#include "base/config.h"
#include "base/dtype.h"
#include "base/json.h"
#include "collectives/comm/layout_of_cluster.h"
#include "collectives/comm/rdma.h"
#include "collectives/executor/flat.h"
#include "collectives/executor/run.h"
#include "collectives/executor/shared.h"
#include "collectives/planner/algorithm.h"
#include "transport/bootstrap.h"
#include "transport/control.h"
#include "transport/launcher.h"
#include "transport/transport.h"

enum { WEFT_DEVICES_LIMIT = 8, WEFT_EARLY_CALLS = 8, WEFT_PAST_CALLS = 16, WEFT_CORE_WORDS = 16 };

struct weft_operation;
struct weft_world;
struct weft_batch;
struct weft_plans;
struct weft_progress;
struct weft_trace;

/* ---- operations ---- */

/* What an operation does; all slots are mandatory. */
struct weft_operation_kind {
    const char *name;
    /* Begins; called when the operation is submitted, or when its group ends. */
    weft_status (*start)(struct weft_operation *operation);
    /* IN_PROGRESS or the result. Called from progress, not from within callbacks of transports. */
    weft_status (*progress)(struct weft_operation *operation);
    /* Ends what is in flight and frees the operation, also when it never started. */
    void (*release)(struct weft_operation *operation);
    /* "step 3 waits for data from rank 1": for the sentence of a timeout. */
    void (*describe)(const struct weft_operation *operation, char *text, size_t bytes);
};

struct weft_operation {
    const struct weft_operation_kind *kind;
    struct weft_context *context;
    struct weft_comm *comm; // NULL: creates one
    weft_request *request;  // where the result goes; NULL inside a group
    struct weft_operation *group;
    struct weft_operation *next, *previous;
    int64_t deadline_ns;
    bool is_started;
};

/* WEFT_OPERATION_BYTES for an operation, with anything in them; NULL: there is no memory. Some of
 * those that are over are kept for the next. */
enum { WEFT_OPERATION_BYTES = 1024 };
void *weft_operation_allocate(struct weft_context *context);
void weft_operation_free(struct weft_operation *operation);
/* Takes the operation (always released in the end). Outside groups: starts it, and with `request`
 * NULL waits for it. */
weft_status weft_operation_submit(struct weft_operation *operation, weft_request *request);
/* Starts it at once, group or not; the result goes to `request`. For operations inside others. */
weft_status weft_operation_start(struct weft_operation *operation, weft_request *request);
/* The result goes to its request and its group, and it is released; also where it never started. */
void weft_operation_end(struct weft_operation *operation, weft_status status);
/* Ends operations of `comm` (NULL: all of the context) with `status`. */
void weft_operations_fail(struct weft_context *context, struct weft_comm *comm, weft_status status);
/* Polls the operations in flight; ends those that are done or late. Returns how many ended. */
int weft_operations_progress(struct weft_context *context, bool check_deadlines);
int64_t weft_operations_next_deadline(const struct weft_context *context);
/* Until its deadline, at least 1: for operations inside it. */
int64_t weft_operation_remaining_ns(const struct weft_operation *operation);
/* From here on IN_PROGRESS; then the result. */
void weft_request_begin(weft_request *request, struct weft_operation *operation);
void weft_request_end(weft_request *request, weft_status status);
/* IN_PROGRESS or the result, without making progress. */
weft_status weft_request_status(const weft_request *request);

/* ---- context ---- */

struct weft_served {
    struct weft_meeting *meeting;
    struct weft_served *next;
};

/* Of those who wait. */
enum weft_spin { WEFT_SPIN_AUTO, WEFT_SPIN_ALWAYS, WEFT_SPIN_NEVER, WEFT_SPIN_SLEEP };

struct weft_context {
    struct weft_config config;
    enum weft_spin spin; // of config
    enum weft_fetching fetching;
    struct weft_error error;
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
    uint64_t machine_id, host_id;
    struct weft_device *devices[WEFT_DEVICES_LIMIT]; // by place in weft_transports; NULL: not here
    char device_reasons[WEFT_DEVICES_LIMIT][256];    // why not
    struct weft_rdma_facts rdma;
    int sharing_device;                      // whose memory peers can map; -1: none has any
    struct weft_buried_area *buried_areas;   // of communicators that are gone
    size_t cache_bytes;                      // of the last cache, shared by cores
    bool is_device_busy[WEFT_DEVICES_LIMIT]; // has connections: looked at in every round
    int poll; // epoll descriptor over everything that can wake this process
    int wake; // eventfd, for weft_comm_abort from other threads
    struct weft_world *worlds;
    struct weft_comm *comms;
    struct weft_served *served;         // meetings of weft_unique_id_create
    struct weft_rendezvous *rendezvous; // with the launcher's other ranks; kept to the end
    struct weft_operation *operations;  // in flight
    struct weft_operation *group_first, *group_last;
    struct weft_operation *spare_operations; // memory of operations that are over
    int num_spare_operations;
    int group_depth;
    int num_cores;                   // this process may run on, by affinity and quota
    uint64_t cores[WEFT_CORE_WORDS]; // which, by affinity
    bool is_oversubscribed;
    int flat_waiters;               // operations that wait for flat slots
    int64_t yields_end_ns;          // of the present wait
    int64_t no_yields_until_ns;     // the last one took long
    void *memory;                   // of weft_mem_alloc
    struct weft_progress *progress; // NULL: progress is made in calls only
};

/* Sets of cores. */
static inline void weft_cores_add(uint64_t cores[WEFT_CORE_WORDS],
                                  const uint64_t more[WEFT_CORE_WORDS])
{
    for (int i = 0; i < WEFT_CORE_WORDS; i++)
        cores[i] |= more[i];
}
static inline int weft_cores_count(const uint64_t cores[WEFT_CORE_WORDS])
{
    int count = 0;
    for (int i = 0; i < WEFT_CORE_WORDS; i++)
        count += __builtin_popcountll(cores[i]);
    return count;
}
/* One round over connected transports and operations; thorough: also over listening transports,
 * control planes, deadlines and aborts. Returns how much happened. */
int weft_context_progress(struct weft_context *context, bool is_thorough);
/* Progress until *request has a result. */
weft_status weft_context_wait(struct weft_context *context, weft_request *request);
/* What to do after `idle` >= 1 rounds in which nothing happened: spin, yield or sleep. */
void weft_context_backoff(struct weft_context *context, int idle);
/* Between two looks at memory that another core writes. */
void weft_context_relax(void);
/* All transports, before and after sleeping. */
void weft_context_arm(struct weft_context *context, bool sleeping);
/* Adds a descriptor to what wakes the process; removes itself when closed. -1 is ignored. */
void weft_context_watch(struct weft_context *context, int descriptor);
/* Bit i: weft_transports[i] is open here and in the list `names` (NULL or "": every one is).
 * Errors: INVALID_ARGUMENT (a name that no transport has), UNSUPPORTED (none is left). */
weft_status weft_context_transports(const struct weft_context *context, const char *names,
                                    uint64_t *mask, struct weft_error *error);
/* Fault injection: ends this process here if WEFT_FAULT says so. */
void weft_context_fault_point(struct weft_context *context, const char *phase, int rank);

/* ---- worlds ---- */

enum { WEFT_GRAPH_LIMIT_BYTES = 64 << 20, WEFT_TUNE_LIMIT_BYTES = 16 << 20 };

struct weft_process {
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
    uint64_t machine_id; // equal: they share cores
    uint64_t host_id;    // equal: one network namespace of it, too, so one host of a topology
    int64_t pid;
    uint64_t cores[WEFT_CORE_WORDS]; // it may run on
    uint64_t device_mask;            // bit i: weft_transports[i] has an address
    unsigned char addresses[WEFT_DEVICES_LIMIT][WEFT_ADDRESS_BYTES];
    unsigned char control_address[WEFT_CONTROL_ADDRESS_BYTES];
    uint64_t flat_bytes;     // its WEFT_FLAT_BYTES
    uint64_t area_offset;    // of the area for the world's communicator; UINT64_MAX: none
    struct weft_costs costs; // levels: within a host, between hosts; rank 0's count
    char host_name[WEFT_HOST_NAME_BYTES];
    uint32_t num_cores;   // of its machine that it may use
    uint64_t graph_bytes; // rank 0's: of the topology of several hosts, as JSON; 0: it has none
    uint64_t tune_bytes;  // rank 0's: of the tables of measured times; 0: it has none
};

struct weft_world_peer {
    struct weft_world *world;
    int rank;
    char reason[128]; // why its connection ended; "" while it has not
};

struct weft_world {
    struct weft_context *context;
    struct weft_world *next;
    int references; // communicators
    int rank, num_ranks;
    uint64_t tag;
    struct weft_control *control;
    struct weft_process *processes;       // (num_ranks)
    struct weft_connection **connections; // (num_ranks) NULL: not connected
    struct weft_world_peer *peers;        // (num_ranks) what connections give back as `user`
};

/* The blob of this process for a meeting; `control` is opened along with it. The offset of the area
 * is the caller's to fill in. *text: rank 0's, process->tune_bytes of tables of measured times and
 * then process->graph_bytes of a topology, the caller's to free; NULL: none. */
weft_status weft_world_make_blob(struct weft_context *context, int rank, int num_ranks,
                                 uint64_t device_mask, struct weft_control **control,
                                 struct weft_process *process, char **text,
                                 struct weft_error *error);
/* Prices for `num_ranks` ranks here, from WEFT_TOPOLOGY or the machine: two levels, within a host
 * and between hosts. *graph: the topology, if WEFT_TOPOLOGY names one of several hosts, as JSON of
 * *graph_bytes, the caller's to free; else as it was. */
weft_status weft_costs_of_machine(struct weft_context *context, int num_ranks,
                                  struct weft_costs *costs, char **graph, size_t *graph_bytes,
                                  struct weft_error *error);
/* Where ranks talk over RDMA, its price: between hosts, and within one where they share no memory
 * (and WEFT_TOPOLOGY names none, or one of several hosts: has_graph). */
void weft_costs_use_rdma(const struct weft_context *context, uint64_t device_mask, bool has_graph,
                         struct weft_costs *costs);
/* From a finished bootstrap; takes `control`. */
weft_status weft_world_create(struct weft_context *context, const weft_unique_id *id, int rank,
                              int num_ranks, const struct weft_bootstrap *bootstrap,
                              struct weft_control **control, struct weft_world **world,
                              struct weft_error *error);
/* Of all its ranks: in groups by host, at rank 0's prices. */
weft_status weft_layout_of_world(const struct weft_world *world, struct weft_layout **layout,
                                 struct weft_error *error);
/* On the hosts of rank 0's graph. NULL where its hosts are not the world's: rank 0 warns, and the
 * layout above stays. Errors: those of a graph that is none, OUT_OF_MEMORY. */
weft_status weft_layout_of_graph(const struct weft_world *world, const char *graph, size_t bytes,
                                 struct weft_layout **layout, struct weft_error *error);
/* What WEFT_TUNE names, checked; *bytes 0: nothing is named. The caller frees *text. Errors: those
 * of files, INVALID_FORMAT, OUT_OF_MEMORY. */
weft_status weft_tune_load(struct weft_context *context, char **text, size_t *bytes,
                           struct weft_error *error);
/* From here on `comm` chooses by rank 0's tables; rank 0 warns where none is of its ranks. Errors:
 * those of tables that are none, OUT_OF_MEMORY. */
weft_status weft_tune_take(struct weft_comm *comm, const char *text, size_t bytes,
                           struct weft_error *error);
/* Whether its ranks are on several hosts. */
bool weft_world_has_hosts(const struct weft_world *world);
void weft_world_release(struct weft_world **world);
/* Connects on first use. UNSUPPORTED with every transport's reason when no transport reaches it. */
weft_status weft_world_connect(struct weft_world *world, int peer, struct weft_error *error);
extern const struct weft_device_events weft_world_device_events_prototype;

/* ---- areas of shared memory ---- */

struct weft_area {
    uint64_t offset; // for peers; UINT64_MAX: none
    void *memory;
};

/* For one communicator, zero-filled; none where no transport shares memory. */
struct weft_area weft_area_make(struct weft_context *context);
/* One that nobody has attached. */
void weft_area_drop(struct weft_context *context, struct weft_area *area);
/* Connects the ranks that share memory, if all do: offsets[r] is rank r's. Takes `own` with OK.
 * IN_PROGRESS until all are connected. */
weft_status weft_area_attach(struct weft_comm *comm, struct weft_area *own, const uint64_t *offsets,
                             struct weft_error *error);
/* The core that a rank of a communicator with an area says it runs on; -1: not known. */
void weft_area_set_core(struct weft_comm *comm, int core);
int weft_area_core(const struct weft_comm *comm, int rank);
/* WEFT_ROOM_BYTES of the own area, all ranks having mapped it, for buffers of one operation at a
 * time. */
enum { WEFT_ROOM_BYTES = 256 << 10 };
char *weft_area_room(const struct weft_comm *comm);
/* The communicator makes no more use of it. */
void weft_area_leave(struct weft_comm *comm);
/* Gives back the areas that all others have left; all that is known of them. */
void weft_areas_tidy(struct weft_context *context);
void weft_areas_forget(struct weft_context *context);

/* ---- communicators ---- */

struct weft_early_call {
    bool is_valid;
    uint32_t sequence;
    uint64_t call;
    int peer;
};

/* A collective that this rank made, ended or not. */
struct weft_past_call {
    uint32_t sequence;
    uint64_t call; // 0: none
};

struct weft_comm {
    struct weft_context *context;
    struct weft_comm *next;
    struct weft_world *world;
    uint32_t id, epoch; // equal on its ranks, unique in the world
    int rank, num_ranks;
    int *world_ranks;               // (num_ranks)
    struct weft_connection **peers; // (num_ranks)
    uint32_t sequence;              // of the next collective
    uint32_t splits;
    uint32_t *sends, *receives; // (num_ranks) point-to-point sequence numbers
    int64_t timeout_ns;
    int outstanding;
    bool is_finalized;
    _Atomic bool abort_requested;
    weft_status status; // OK until something failed for good
    struct weft_error error;
    struct weft_layout *layout; // the same on all ranks
    struct weft_plans *plans;
    struct weft_early_call early[WEFT_EARLY_CALLS];
    unsigned num_early;
    struct weft_past_call past[WEFT_PAST_CALLS]; // number s at s % WEFT_PAST_CALLS
    // Flat slots and shared memory; is_flat is agreed.
    bool is_flat;
    size_t flat_bytes;
    struct weft_flat flat;
    struct weft_shared shared;
    uint64_t area_offsets[WEFT_FLAT_RANKS_LIMIT];       // of the ranks' areas
    uint8_t memory_choice[WEFT_NUM_COLLECTIVES][2][64]; // by order and class; see in_memory.c
    uint32_t flat_turns, flat_turns_over;               // of queued operations: begun, ended
    struct weft_recent_call *recent;                    // see request.c; NULL: none yet
    struct weft_batch *batches;                         // that calls of the open group join
    struct weft_memory_last *last; // blocking call through shared memory; NULL: none yet
    struct weft_trace *trace;
};

/* Links a new communicator into the context, and takes the layout on success; shared memory is
 * set up by weft_area_attach. */
weft_status weft_comm_make(struct weft_world *world, uint32_t id, uint32_t epoch, int rank,
                           int num_ranks, const int *world_ranks, int64_t timeout_ns,
                           struct weft_layout **layout, struct weft_comm **comm,
                           struct weft_error *error);
/* The connection to `rank`, made on first use. */
weft_status weft_comm_connect(struct weft_comm *comm, int rank, struct weft_error *error);
/* The communicator failed (the first failure counts): the next round of progress ends all its
 * operations with `status`. `tell`: tells the other ranks. */
void weft_comm_fail(struct weft_comm *comm, weft_status status, bool tell, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A peer that failed, aborted or died says so over the control plane, but its connections may end
 * first. The news is the better explanation, and fails the communicator when it comes: whether it
 * is still worth waiting for since *lost_ns (0: set to now). */
bool weft_comm_awaits_news(const struct weft_comm *comm, int64_t *lost_ns);
/* OK, or why no operation can be submitted: NULL, failed, aborted, finalized. */
weft_status weft_comm_check_usable(struct weft_comm *comm);
/* Fails the communicators that weft_comm_abort has marked. Returns how many. */
int weft_comms_notice_aborts(struct weft_context *context);
struct weft_comm *weft_comm_find(struct weft_world *world, uint32_t id, uint32_t epoch);
int weft_comm_rank_of(const struct weft_comm *comm, int world_rank);

/* ---- collectives ---- */

/* A call in 64 bits, equal on all ranks of a correct program, and back into words. */
uint64_t weft_call_signature(const weft_op_desc *desc, int num_ranks);
void weft_call_describe(uint64_t call, char *text, size_t bytes);
/* Starts a collective of the library's own inside another operation. */
weft_status weft_collective_start(struct weft_comm *comm, const weft_op_desc *desc,
                                  weft_request *request, struct weft_error *error);
/* The collectives of a group, linked by `next`, are complete: makes small all-reduces one. */
void weft_collectives_settle(struct weft_operation *list);
/* What a blocking group can do at once, since all of it takes turns in the memory of one
 * communicator with nothing else in flight: one after another, as blocking calls. False: it is no
 * such group. */
bool weft_collectives_run_now(struct weft_operation *list, weft_status *status);
/* A message for (comm, sequence) arrived that nobody here waits for. */
void weft_collective_unexpected(struct weft_comm *comm, int peer,
                                const struct weft_message_key *key, uint64_t call);

/* Plans of one communicator, made on first use. */
struct weft_planned {
    const struct weft_plan *plan;
    struct weft_run *run; // idle; give back with weft_plans_return
    const char *algorithm;
    int64_t predicted_ps;
    struct weft_plans_entry *entry;
};
weft_status weft_plans_get(struct weft_comm *comm, const struct weft_key *key, int rank,
                           const char *forced, bool is_in_place, struct weft_planned *planned,
                           struct weft_error *error);
void weft_plans_return(struct weft_comm *comm, struct weft_planned *planned);
void weft_plans_destroy(struct weft_plans **plans);

#endif
