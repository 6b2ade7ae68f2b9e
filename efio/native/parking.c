/* The sleeping and ringing parts of parking.h. */
#define _GNU_SOURCE
#include "parking.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The head of a mailbox that takes nothing any more. No address: each extension module has a copy of this file. */
#define CLOSED ((efio_parker *)1)

#define SPIN_NS 15000u /* about what a wake-up costs on a virtual CPU that sleeps */
#define CREDIT  8      /* fruitless spins in a row after which it is not worth it ... */
#define RETRY   64u    /* ... but for one in so many sleeps */

/* -1: not known yet; whether there is a CPU on which a waker could run meanwhile. */
static _Atomic int may_spin = -1;

static bool other_cpus(void)
{
    int known = atomic_load_explicit(&may_spin, memory_order_relaxed);
    if (known < 0) {
        cpu_set_t cpus;
        known = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
        atomic_store_explicit(&may_spin, known, memory_order_relaxed);
    }
    return known;
}

void efio_park_look(efio_parker *p)
{
    static _Thread_local uint32_t credit = CREDIT, sleeps;
    if (!other_cpus() || (!credit && ++sleeps % RETRY)) return;
    uint64_t until = efio_now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            if (efio_parker_state(p) != EFIO_PARK_THREAD) {
                credit = CREDIT;
                return;
            }
            efio_spin_hint();
        }
        sched_yield(); /* the waker may be about to run on this CPU */
    } while (efio_now_ns() < until);
    if (credit) credit--;
}

efio_parked efio_park_sleep(efio_parker *p, uint64_t deadline_ns)
{
    struct timespec t = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    for (;;) {
        if (efio_parker_state(p) != EFIO_PARK_THREAD) return EFIO_PARKED_WOKEN;
        /* the bitset form because its timeout is absolute, on CLOCK_MONOTONIC */
        long r = syscall(SYS_futex, &p->state, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, EFIO_PARK_THREAD,
                         deadline_ns == EFIO_FOREVER ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
        if (r == 0 || errno == EAGAIN) continue; /* woken, perhaps by a waker of one who lay here before */
        if (errno == EINTR) return EFIO_PARKED_INTERRUPTED;
        if (errno == ETIMEDOUT) return EFIO_PARKED_TIMEOUT;
    }
}

bool efio_park(efio_parker *p, uint64_t deadline_ns)
{
    if (!efio_park_begin(p, NULL)) return efio_parker_is_woken(p);
    for (;;) {
        switch (efio_park_sleep(p, deadline_ns)) {
        case EFIO_PARKED_WOKEN: return true;
        case EFIO_PARKED_TIMEOUT: efio_park_leave(p); return efio_parker_is_woken(p);
        default: break;
        }
    }
}

void efio_unpark_thread(efio_parker *p)
{
    int before = errno;
    syscall(SYS_futex, &p->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
    errno = before;
}

void efio_unpark_loop(efio_parker *p)
{
    efio_mailbox *m = p->mailbox;
    /* Once it is in the list, the loop may be done with it and gone, and the mailbox with it, before the ring. */
    atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
    if (efio_mailbox_push(m, p)) efio_mailbox_ring(m);
    efio_mailbox_put(m);
}

efio_mailbox *efio_mailbox_new(void)
{
    efio_mailbox *m = aligned_alloc(EFIO_LINE, (sizeof *m + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE);
    if (!m) return NULL;
    atomic_init(&m->head, NULL);
    atomic_init(&m->references, 1);
    atomic_init(&m->rings, 0);
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd >= 0) return m;
    free(m);
    return NULL;
}

void efio_mailbox_put(efio_mailbox *m)
{
    /* release: what this one did to it; acquire: the last one sees what all others did */
    if (atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    int before = errno;
    if (m->fd >= 0) close(m->fd);
    free(m);
    errno = before;
}

bool efio_mailbox_push(efio_mailbox *m, efio_parker *p)
{
    efio_parker *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    do {
        if (head == CLOSED) return false;
        p->next = head;
        /* release: partner is the acquire in take, which reads next */
    } while (!atomic_compare_exchange_weak_explicit(&m->head, &head, p, memory_order_release, memory_order_relaxed));
    return head == NULL;
}

void efio_mailbox_ring(efio_mailbox *m)
{
    int before = errno;
    uint64_t one = 1;
    atomic_fetch_add_explicit(&m->rings, 1, memory_order_relaxed);
    ssize_t n = write(m->fd, &one, sizeof one); /* EAGAIN only at 2^64-2 pending: it is readable anyway */
    (void)n;
    errno = before;
}

void efio_mailbox_silence(efio_mailbox *m)
{
    uint64_t rung;
    ssize_t n = read(m->fd, &rung, sizeof rung); /* EAGAIN: it was silent */
    (void)n;
}

static efio_parker *in_order(efio_parker *last)
{
    efio_parker *first = NULL;
    while (last) {
        efio_parker *next = last->next;
        last->next = first;
        first = last;
        last = next;
    }
    return first;
}

efio_parker *efio_mailbox_take(efio_mailbox *m)
{
    efio_parker *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    if (head == NULL || head == CLOSED) return NULL;
    return in_order(atomic_exchange_explicit(&m->head, NULL, memory_order_acquire));
}

efio_parker *efio_mailbox_close(efio_mailbox *m)
{
    /* acquire: partner of the release in push. Whoever has put something in is seen among the references, unless he has
     * rung already; whoever comes later is refused and does not ring. So with no reference but ours the fd is free. */
    efio_parker *head = atomic_exchange_explicit(&m->head, CLOSED, memory_order_acquire);
    if (m->fd >= 0 && atomic_load_explicit(&m->references, memory_order_acquire) == 1) {
        close(m->fd);
        m->fd = -1;
    }
    return head == CLOSED ? NULL : in_order(head);
}

bool efio_mailbox_after_fork(efio_mailbox *m)
{
    if (m->fd < 0) return true; /* closed */
    int fresh = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fresh >= 0 && dup3(fresh, m->fd, O_CLOEXEC) >= 0) {
        close(fresh);
        /* what lies in the mailbox was rung for in the parent's eventfd */
        if (atomic_load_explicit(&m->head, memory_order_relaxed)) efio_mailbox_ring(m);
        return true;
    }
    int why = errno;
    if (fresh >= 0) close(fresh);
    close(m->fd);
    m->fd = -1;
    errno = why;
    return false;
}
