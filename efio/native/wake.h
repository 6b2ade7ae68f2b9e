/* Wake-ups by eventfd, rung only when the other side said that it sleeps.
 *
 * The sleeper:  efio_wake_prepare(w); if (there is work) efio_wake_cancel(w); else epoll_wait(... w->fd ...);
 *               efio_wake_cancel(w) after waking.
 * The waker:    publish work (push to a ring); efio_wake_notify(w).
 *
 * Both sides put a sequentially consistent fence between their store and their load (Dekker's pattern), so at
 * least one of them sees the other: either the sleeper finds the work in its recheck or the waker sees
 * `sleeping` and rings. The fd belongs in an edge-triggered epoll set: then it needs no read().
 *
 * One sleeper, many wakers, any of which may be killed at any instruction. So the flag is cleared only after the ring:
 * a waker first marks the sleep as its own (others need not ring for it), rings, then clears the flag. Killed in
 * between, it leaves a marked flag, for which every other waker rings without further ado: superfluous rings, never a
 * sleeper that nobody rings. By the time of the clearing the sleeper may have woken and gone to sleep again; so that
 * this later sleep is not cleared, each has a number of its own and clearing is a compare-and-swap. Killed between its
 * push and its notify, a waker has not rung at all: whoever learns of its death looks into its ring. */
#ifndef EFIO_WAKE_H
#define EFIO_WAKE_H

#include <unistd.h>

#include "atomics.h"

typedef struct {
    EFIO_ALIGNED _Atomic uint32_t sleeping; /* number of the sleep that wants a ring, + 1: somebody rings; 0: awake */
    uint32_t sleeps;                        /* number of the last sleep, even, not 0; the sleeper's own */
    int32_t fd;                             /* eventfd; the same number in every process that inherits it */
    _Atomic uint64_t rings;                 /* statistics: how often the eventfd was written */
} efio_waker;

static inline void efio_wake_prepare(efio_waker *w)
{
    w->sleeps += 2;
    if (!w->sleeps) w->sleeps = 2;
    atomic_store_explicit(&w->sleeping, w->sleeps, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* partner: efio_wake_notify */
}

static inline void efio_wake_cancel(efio_waker *w)
{
    atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
}

static inline bool efio_wake_is_sleeping(const efio_waker *w)
{
    return atomic_load_explicit(&((efio_waker *)w)->sleeping, memory_order_relaxed) != 0;
}

static inline void efio_wake_ring(efio_waker *w)
{
    uint64_t one = 1;
    atomic_fetch_add_explicit(&w->rings, 1, memory_order_relaxed);
    ssize_t n = write(w->fd, &one, sizeof one); /* EAGAIN only at 2^64-2 pending: it is readable anyway */
    (void)n;
}

/* True when it rang as the first one for this sleep. */
static inline bool efio_wake_notify(efio_waker *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* partner: efio_wake_prepare */
    uint32_t sleep = atomic_load_explicit(&w->sleeping, memory_order_relaxed);
    if (!sleep) return false;
    uint32_t mine = sleep | 1;
    bool first = sleep != mine && atomic_compare_exchange_strong_explicit(&w->sleeping, &sleep, mine,
                                                                          memory_order_relaxed, memory_order_relaxed);
    if (!sleep) return false; /* woke up meanwhile */
    efio_wake_ring(w);
    if (first)
        atomic_compare_exchange_strong_explicit(&w->sleeping, &mine, 0, memory_order_relaxed, memory_order_relaxed);
    return first;
}

#endif
