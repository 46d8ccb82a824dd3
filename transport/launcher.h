/*
 * SPDX-License-Identifier: Apache-2.0
 * What launched this process, and how its ranks find each other. detect reads the environment and
 * nothing else; a rendezvous acts on what it found, without blocking, until the unique id is known,
 * and serves the meeting where that is this rank's duty.
 *
 *   source     rank and size                            how they meet
 *   weft       WEFT_RANK, WEFT_NUM_RANKS                WEFT_ID; the launcher serves
 *   torchrun   RANK, WORLD_SIZE                         MASTER_ADDR, port MASTER_PORT + 1 (its own
 *                                                       agent listens on MASTER_PORT); rank 0
 * serves Open MPI   OMPI_COMM_WORLD_RANK, _SIZE              one host: by a file; several: not
 * supported Slurm      SLURM_PROCID, SLURM_STEP_NUM_TASKS or    one host: by a file; several: first
 * host of SLURM_NTASKS, in a step                  the node list, port 20000 to 31999 from the job
 * and step number; rank 0 serves none       rank 0 of 1
 *
 * WEFT_BOOTSTRAP_PORT replaces a derived port. The secret of an address is WEFT_SECRET; without it,
 * it is derived from the job's names, which other users of the host may know: that is logged.
 * The file is /tmp/weft-<uid>/<source>-<job>, in a folder only its owner can enter.
 */
#ifndef WEFT_TRANSPORT_LAUNCHER_H
#define WEFT_TRANSPORT_LAUNCHER_H

#include <stdbool.h>

#include "base/config.h"
#include "transport/bootstrap.h"

enum weft_launcher_meeting {
    WEFT_LAUNCHER_ALONE,   // one rank: nobody to meet
    WEFT_LAUNCHER_ID,      // `id`
    WEFT_LAUNCHER_ADDRESS, // `host`, `port`, `secret`
    WEFT_LAUNCHER_FILE,    // `file`
};

struct weft_launcher_info {
    const char *source; // static text, as in the table above
    int rank;
    int num_ranks;
    enum weft_launcher_meeting meeting;
    bool serves;         // this rank opens the meeting
    bool is_secret_weak; // derived from names
    weft_unique_id id;
    char host[256];
    int port;
    unsigned char secret[32];
    char file[128]; // name within the folder
};

/* Errors: INVALID_ARGUMENT naming the variable that is missing, malformed or contradicts another;
 * UNSUPPORTED. Does not block, opens nothing. */
weft_status weft_launcher_detect(struct weft_launcher_info *info, const struct weft_config *config,
                                 struct weft_error *error);

struct weft_rendezvous;

/* Begins: the serving rank opens the meeting and publishes it; the others look for it. A host name
 * is looked up, which may block for as long as the resolver does. Not for WEFT_LAUNCHER_ALONE.
 * Errors: SYSTEM (port in use, no folder), PERMISSION (the folder is not this user's alone),
 * NOT_FOUND (unknown host), OUT_OF_MEMORY. */
weft_status weft_rendezvous_start(const struct weft_launcher_info *info,
                                  const struct weft_config *config, int64_t deadline_ns,
                                  struct weft_rendezvous **rendezvous, struct weft_error *error);
/* The id, for weft_bootstrap_start. OK, IN_PROGRESS (ask again after the descriptor polled
 * readable), TIMEOUT, PERMISSION, SYSTEM, INVALID_ARGUMENT (what was published is no id). */
weft_status weft_rendezvous_id(struct weft_rendezvous *rendezvous, weft_unique_id *id,
                               struct weft_error *error);
/* Serves the meeting, as weft_meeting_progress; OK at once on ranks that serve none (any more). */
weft_status weft_rendezvous_progress(struct weft_rendezvous *rendezvous, struct weft_error *error);
/* Polls readable when id or progress may have something to do. */
int weft_rendezvous_descriptor(const struct weft_rendezvous *rendezvous);
/* Ends the meeting if it still goes on, and removes the file. */
void weft_rendezvous_close(struct weft_rendezvous **rendezvous);

/* The first host of a Slurm node list ("n[03-07,9],gpu1": "n03") into `limit` bytes.
 * Errors: INVALID_ARGUMENT. */
weft_status weft_slurm_first_host(const char *list, char *host, size_t limit,
                                  struct weft_error *error);

#endif
