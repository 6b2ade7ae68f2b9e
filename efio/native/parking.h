/* Waiting: one place where everything that waits is parked, whatever it is, and from which any thread wakes it.
 *
 * The idea is that of park and unpark (java.util.concurrent's LockSupport; WebKit's and Rust's parking_lot): a queue, a
 * lock, a pool keep lists of who waits and decide who goes on; how one sleeps and is woken is none of their business.
 * Here there are two ways to sleep:
 *
 *   a thread     sleeps in the kernel, on a futex that is the state of its parker;
 *   a coroutine  of an event loop (a greenlet of a gevent hub, a task of asyncio) is suspended, and its loop has a
 *                mailbox: a list of woken parkers, and an eventfd that the loop watches. Whoever wakes puts the parker
 *                into the mailbox directly: a loop that is busy delays nobody but its own coroutines.
 *
 * A parker is one-shot: made by who waits, told to others, woken at most once. Its life:
 *
 *          .------- efio_unpark: nothing to deliver -------------------.
 *          |                                                           v
 *         NEW --- efio_park_begin ---> THREAD or LOOP --- efio_unpark -> WOKEN
 *                                            |
 *                                            '---- efio_park_leave ----> LEFT   (timeout, cancelled: efio_unpark says
 * no)
 *
 * Invariants
 *  - WOKEN and LEFT are final, and exactly one of them is reached: efio_unpark returns true for the one call that woke
 *    it, efio_park_leave returns true when nobody has or will. So a wake-up is never lost between a waker and a
 * timeout: who is refused by efio_unpark wakes another one; who is refused by efio_park_leave was given the wake-up and
 *    keeps it or passes it on.
 *  - A parker in state LOOP must stay in memory until it was delivered (efio_mailbox_take) or efio_park_leave returned
 *    true: one reference belongs to the state. A parker in state THREAD must stay in memory until efio_unpark has
 *    changed its state, which is what the waiter waits for; after that only its address is used, by futex(2), which at
 *    worst wakes somebody who looks again.
 *  - A mailbox that is not empty has been rung, or its thread has arranged to look into it: only the push onto the
 * empty list rings (elision), and the loop silences the eventfd before it takes the list.
 *
 * Nothing here knows Python; every function but the sleeping one may be called from any thread, with or without the
 * interpreter lock, and from signal handlers. */
#ifndef EFIO_PARKING_H
#define EFIO_PARKING_H

#include "atomics.h"

#define EFIO_FOREVER UINT64_MAX

enum {
    EFIO_PARK_NEW,    /* nobody sleeps yet */
    EFIO_PARK_THREAD, /* a thread sleeps, or is about to */
    EFIO_PARK_LOOP,   /* a coroutine is suspended; deliver into its loop's mailbox */
    EFIO_PARK_WOKEN,
    EFIO_PARK_LEFT,
};

typedef enum { EFIO_PARKED_WOKEN, EFIO_PARKED_TIMEOUT, EFIO_PARKED_INTERRUPTED } efio_parked;

typedef struct efio_parker efio_parker;

/* One for each event loop. Made and emptied by the loop's thread. */
typedef struct {
    EFIO_ALIGNED _Atomic(efio_parker *) head; /* woken parkers, the last one first (Treiber's stack, emptied as a whole,
                                                 so that there is no ABA) */
    EFIO_ALIGNED _Atomic uint32_t references; /* the loop's, and one for each waker between its push and its ring */
    int fd;                                   /* eventfd; -1 after efio_mailbox_close */
    _Atomic uint64_t rings;                   /* statistics: how often the eventfd was written */
} efio_mailbox;

struct efio_parker {
    _Atomic uint32_t state; /* EFIO_PARK_...; also the futex */
    efio_mailbox *mailbox;  /* state LOOP: where to deliver; written before the release into that state */
    efio_parker *next;      /* in the mailbox's list; belongs to whoever holds the reference of the state */
    void *owner;            /* the maker's: what whoever takes it out of a mailbox has to resume */
};

/* --- who waits */

static inline void efio_parker_init(efio_parker *p)
{
    atomic_store_explicit(&p->state, EFIO_PARK_NEW, memory_order_relaxed);
    p->mailbox = NULL;
    p->next = NULL;
    p->owner = NULL;
}

static inline uint32_t efio_parker_state(const efio_parker *p)
{
    return atomic_load_explicit(&((efio_parker *)p)->state, memory_order_acquire); /* partner: efio_unpark_begin */
}

static inline bool efio_parker_is_woken(const efio_parker *p)
{
    return efio_parker_state(p) == EFIO_PARK_WOKEN;
}

/* Announces the sleep of a thread (mailbox NULL) or of a coroutine. False: woken already (or left), do not sleep. */
static inline bool efio_park_begin(efio_parker *p, efio_mailbox *mailbox)
{
    uint32_t state = EFIO_PARK_NEW;
    p->mailbox = mailbox;
    /* release: the waker sees the mailbox; acquire: who finds WOKEN sees what the waker did before */
    return atomic_compare_exchange_strong_explicit(&p->state, &state, mailbox ? EFIO_PARK_LOOP : EFIO_PARK_THREAD,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* Gives up waiting. True for the call that did: nobody has woken it, and nobody will. False: it has been woken (or has
 * left before). */
static inline bool efio_park_leave(efio_parker *p)
{
    uint32_t state = atomic_load_explicit(&p->state, memory_order_acquire);
    while (state != EFIO_PARK_WOKEN && state != EFIO_PARK_LEFT)
        if (atomic_compare_exchange_weak_explicit(&p->state, &state, EFIO_PARK_LEFT, memory_order_acq_rel,
                                                  memory_order_acquire))
            return true;
    return false;
}

/* After efio_park_begin, before the first efio_park_sleep, for those who will be woken by somebody who holds nothing
 * that they need (the interpreter lock): looks whether that happens a little while, as long as that has paid of late
 * for this thread, since to be woken on another CPU takes long. See spin in pool.c. */
void efio_park_look(efio_parker *p);

/* Sleeps until woken or until the deadline (as efio_now_ns, or EFIO_FOREVER), after efio_park_begin.
 * EFIO_PARKED_INTERRUPTED: a signal handler ran; sleep again or leave. After a timeout call efio_park_leave. */
efio_parked efio_park_sleep(efio_parker *p, uint64_t deadline_ns);

/* The whole wait of a native thread. True: woken; false: the deadline is over. */
bool efio_park(efio_parker *p, uint64_t deadline_ns);

/* --- who wakes */

void efio_unpark_thread(efio_parker *p);
void efio_unpark_loop(efio_parker *p);

/* The decision alone: the state before, which says whom to wake (EFIO_PARK_NEW, THREAD, LOOP: this call won). */
static inline uint32_t efio_unpark_begin(efio_parker *p)
{
    uint32_t state = atomic_load_explicit(&p->state, memory_order_acquire);
    while (state != EFIO_PARK_WOKEN && state != EFIO_PARK_LEFT)
        /* release: the woken sees what was done for it; acquire: the mailbox of efio_park_begin */
        if (atomic_compare_exchange_weak_explicit(&p->state, &state, EFIO_PARK_WOKEN, memory_order_acq_rel,
                                                  memory_order_acquire))
            break;
    return state;
}

/* Wakes it. True for the one call that did; false when it was woken before or has left. */
static inline bool efio_unpark(efio_parker *p)
{
    switch (efio_unpark_begin(p)) {
    case EFIO_PARK_NEW: return true;
    case EFIO_PARK_THREAD: efio_unpark_thread(p); return true;
    case EFIO_PARK_LOOP: efio_unpark_loop(p); return true;
    default: return false;
    }
}

/* --- mailboxes */

/* NULL with errno when there is no memory or no descriptor. One reference, the caller's. */
efio_mailbox *efio_mailbox_new(void);
void efio_mailbox_put(efio_mailbox *m);

/* Puts a woken parker in. True when it was empty: ring it, or see to it that its thread looks. False also when it is
 * closed (then the parker was not put in). */
bool efio_mailbox_push(efio_mailbox *m, efio_parker *p);
void efio_mailbox_ring(efio_mailbox *m);

/* The loop's thread: makes the eventfd unreadable. Then take. */
void efio_mailbox_silence(efio_mailbox *m);

/* The loop's thread: all that is in it, linked by `next` in the order of the wake-ups. */
efio_parker *efio_mailbox_take(efio_mailbox *m);

/* The loop is gone: what is in it, as above, and nothing can be put in any more. Closes the eventfd, or leaves that to
 * the last waker that is about to ring it. */
efio_parker *efio_mailbox_close(efio_mailbox *m);

/* In the child of a fork, before anybody wakes anybody: gives the mailbox an eventfd of its own, under the same number.
 * False with errno when that is not possible; then the old one is closed, so that the parent's is not rung. */
bool efio_mailbox_after_fork(efio_mailbox *m);

#endif
