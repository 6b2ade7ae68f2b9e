/* Wake-ups by eventfd, rung only when the other side said that it sleeps.
 *
 * The sleeper:  efio_wake_prepare(w); if (there is work) efio_wake_cancel(w); else epoll_wait(... w->fd ...);
 *               efio_wake_cancel(w) after waking.
 * The waker:    publish work (push to a ring); efio_wake_notify(w).
 *
 * Both sides put a sequentially consistent fence between their store and their load (Dekker's pattern), so at
 * least one of them sees the other: either the sleeper finds the work in its recheck or the waker sees
 * sleeping == 1 and rings. The fd belongs in an edge-triggered epoll set: then it needs no read(). */
#ifndef EFIO_WAKE_H
#define EFIO_WAKE_H

#include <unistd.h>

#include "atomics.h"

typedef struct {
    EFIO_ALIGNED _Atomic uint32_t sleeping; /* 1: the sleeper wants a ring; cleared by whoever rings */
    int32_t fd;                             /* eventfd; the same number in every process that inherits it */
    _Atomic uint64_t rings;                 /* statistics: how often the eventfd was written */
} efio_waker;

static inline void efio_wake_prepare(efio_waker *w)
{
    atomic_store_explicit(&w->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
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

/* True when it rang. */
static inline bool efio_wake_notify(efio_waker *w)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&w->sleeping, memory_order_relaxed)) return false;
    if (!atomic_exchange_explicit(&w->sleeping, 0, memory_order_acq_rel)) return false;
    efio_wake_ring(w);
    return true;
}

#endif
