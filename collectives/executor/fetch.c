/*
 * SPDX-License-Identifier: Apache-2.0
 * See fetch.h.
 */
#include "collectives/executor/fetch.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

// Where the number of this process lies, for as long as it runs: a child finds 0 there. NULL: the
// system has no such memory.
static _Atomic uint64_t *find_number(void)
{
    static _Atomic(void *) known;
    enum { PAGE_BYTES = 4096 };
    void *page = atomic_load(&known), *none = NULL;
    if (page)
        return page;
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, PAGE_BYTES, MADV_WIPEONFORK) == 0 &&
        atomic_compare_exchange_strong(&known, &none, page))
        return page;
    munmap(page, PAGE_BYTES);
    return none; // another thread's
}

struct weft_fetch_offer weft_fetch_offer(void)
{
    uint64_t fresh, none = 0;
    _Atomic uint64_t *number = find_number();
    if (!number)
        return (struct weft_fetch_offer){0};
    if (getrandom(&fresh, sizeof fresh, GRND_NONBLOCK) == sizeof fresh)
        atomic_compare_exchange_strong(number, &none, fresh); // of threads, the first
    return (struct weft_fetch_offer){
        .pid = getpid(), .address = (uintptr_t)number, .number = atomic_load(number)};
}

bool weft_fetch_reaches(struct weft_fetch_offer offer)
{
    uint64_t number = 0;
    return offer.number &&
           weft_fetch(offer.pid, (const void *)(uintptr_t)offer.address, &number, sizeof number) &&
           number == offer.number;
}

typedef ssize_t (*move_fn)(pid_t pid, const struct iovec *here, unsigned long num_here,
                           const struct iovec *there, unsigned long num_there, unsigned long flags);

static bool move(move_fn some, int64_t pid, char *there, char *here, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        struct iovec local = {here + done, bytes - done}, remote = {there + done, bytes - done};
        ssize_t moved = some((pid_t)pid, &local, 1, &remote, 1, 0);
        if (moved == 0)
            errno = EFAULT;
        if (moved <= 0)
            return false;
        done += (size_t)moved;
    }
    return true;
}

bool weft_fetch(int64_t pid, const void *address, void *into, size_t bytes)
{
    return move(process_vm_readv, pid, (char *)(uintptr_t)address, into, bytes);
}

bool weft_push(int64_t pid, void *address, const void *from, size_t bytes)
{
    return move(process_vm_writev, pid, address, (char *)(uintptr_t)from, bytes);
}
