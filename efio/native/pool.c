/* See pool.h. */
#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLED   0x10000u
#define SLEEPERS 0xffffu
#define SPIN_NS  20000u /* about what a wake-up costs on a virtual CPU that sleeps */
#define CREDIT   8u     /* fruitless spins in a row after which it is not worth it ... */
#define RETRY    64u    /* ... but for one in so many rests */
#define NATIVE   1u /* in the ring, beside the pointer: the job has `run`; may be read when the job is gone already */

efio_pool *efio_pool_new(uint32_t capacity)
{
    if (capacity < 2 || capacity > (1u << 30) || !efio_is_pow2(capacity)) {
        errno = EINVAL;
        return NULL;
    }
    efio_pool *p = aligned_alloc(EFIO_LINE, sizeof *p);
    efio_ring *ring = aligned_alloc(EFIO_LINE, efio_ring_bytes(capacity));
    if (!p || !ring) {
        free(p);
        free(ring);
        errno = ENOMEM;
        return NULL;
    }
    efio_ring_init(ring, capacity);
    atomic_init(&p->idle, 0);
    atomic_init(&p->epoch, 0);
    atomic_init(&p->entering, 0);
    atomic_init(&p->closed, false);
    atomic_init(&p->spinning, 0);
    cpu_set_t cpus;
    p->may_spin = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
    p->spin_credit = CREDIT;
    p->rests = 0;
    atomic_init(&p->taken, 0);
    atomic_init(&p->ran, 0);
    atomic_init(&p->calls, 0);
    atomic_init(&p->wanting, 0);
    pthread_mutex_init(&p->mutex, NULL);
    p->first = p->last = NULL;
    p->ring = ring;
    return p;
}

void efio_pool_free(efio_pool *p)
{
    if (!p) return;
    pthread_mutex_destroy(&p->mutex);
    free(p->ring);
    free(p);
}

static void wake(efio_pool *p, int n)
{
    int before = errno;
    atomic_fetch_add_explicit(&p->epoch, 1, memory_order_release); /* partner: the acquire in rest */
    syscall(SYS_futex, &p->epoch, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
    errno = before;
}

/* Calls one sleeper, unless one is on its way. The caller has just published a job, or seen one. */
static void call(efio_pool *p)
{
    atomic_thread_fence(memory_order_seq_cst); /* partners: the fences in rest and spin */
    if (atomic_load_explicit(&p->spinning, memory_order_relaxed)) return;
    uint32_t idle = atomic_load_explicit(&p->idle, memory_order_relaxed);
    do {
        if (!(idle & SLEEPERS) || (idle & CALLED)) return;
    } while (!atomic_compare_exchange_weak_explicit(&p->idle, &idle, idle | CALLED, memory_order_acq_rel,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&p->calls, 1, memory_order_relaxed);
    wake(p, 1);
}

int efio_pool_submit(efio_pool *p, efio_job *job)
{
    /* seq_cst: partner is close, which sets closed and then reads entering: one of the two sees the other */
    atomic_fetch_add_explicit(&p->entering, 1, memory_order_seq_cst);
    int e = 0;
    if (atomic_load_explicit(&p->closed, memory_order_seq_cst))
        e = ESHUTDOWN;
    else if (!efio_ring_push(p->ring, (uint64_t)(uintptr_t)job | (job->run ? NATIVE : 0)))
        e = EAGAIN;
    /* release: partner is the acquire in ended, after which the pushed job is seen */
    if (atomic_fetch_sub_explicit(&p->entering, 1, memory_order_release) == 1 && e == 0 &&
        atomic_load_explicit(&p->closed, memory_order_seq_cst))
        wake(p, INT_MAX); /* the last one inside: workers may sleep only because of us */
    if (e == 0) call(p);
    return e;
}

static bool ended(efio_pool *p)
{
    return atomic_load_explicit(&p->closed, memory_order_seq_cst) &&
           atomic_load_explicit(&p->entering, memory_order_seq_cst) == 0;
}

/* Looks for a job a little while before it sleeps, so that jobs that come one by one need no system call: one worker at
 * a time, and only as long as that pays (A. Karlin et al., "Empirical studies of competitive spinning for a
 * shared-memory multiprocessor", 1991). True: there may be a job. */
static bool spin(efio_pool *p)
{
    uint32_t none = 0;
    if (!p->may_spin || atomic_load_explicit(&p->spinning, memory_order_relaxed) ||
        !atomic_compare_exchange_strong_explicit(&p->spinning, &none, 1, memory_order_acq_rel, memory_order_relaxed))
        return false;
    bool worth_it = p->spin_credit || ++p->rests % RETRY == 0;
    if (worth_it) {
        uint64_t until = efio_now_ns() + SPIN_NS;
        while (!efio_ring_ready(p->ring) && !atomic_load_explicit(&p->closed, memory_order_relaxed) &&
               efio_now_ns() < until) {
            for (int i = 0; i < 16 && !efio_ring_ready(p->ring); i++) efio_spin_hint();
            sched_yield(); /* who submits may be about to run on this CPU */
        }
        if (efio_ring_ready(p->ring))
            p->spin_credit = CREDIT;
        else if (p->spin_credit)
            p->spin_credit--;
    }
    atomic_store_explicit(&p->spinning, 0, memory_order_release); /* partner: the acquire above */
    atomic_thread_fence(memory_order_seq_cst);                    /* partner: the fence in call */
    bool ready = efio_ring_ready(p->ring);
    if (ready && efio_ring_size(p->ring) > 1) call(p); /* who submitted meanwhile has called nobody; one is ours */
    return ready;
}

/* Sleeps until there may be a job. False: there will be none. */
static bool rest(efio_pool *p)
{
    bool over = false;
    uint32_t epoch = atomic_load_explicit(&p->epoch, memory_order_acquire);
    atomic_fetch_add_explicit(&p->idle, 1, memory_order_acq_rel);
    atomic_thread_fence(memory_order_seq_cst); /* partner: the fence in call */
    bool end = ended(p);                       /* before the look at the ring: nobody pushes after it */
    if (!efio_ring_ready(p->ring)) {
        if (end)
            over = true;
        else if (atomic_load_explicit(&p->closed, memory_order_relaxed))
            efio_spin_hint(); /* a submitter is inside */
        else
            syscall(SYS_futex, &p->epoch, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, epoch, NULL, NULL, 0);
    }
    atomic_fetch_sub_explicit(&p->idle, 1, memory_order_acq_rel);
    return !over;
}

efio_job *efio_pool_withdraw(efio_pool *p)
{
    uint64_t value;
    return efio_ring_pop(p->ring, &value) ? (efio_job *)(uintptr_t)(value & ~(uint64_t)NATIVE) : NULL;
}

void efio_job_cancel(efio_job *job)
{
    efio_parker *done = job->done; /* the job may be gone once its maker is awake */
    job->error = ECANCELED;
    if (done) efio_unpark(done);
}

/* Under the mutex. */
static void unlist(efio_pool *p, efio_room *room)
{
    *(room->prev ? &room->prev->next : &p->first) = room->next;
    *(room->next ? &room->next->prev : &p->last) = room->prev;
    room->listed = false;
    atomic_fetch_sub_explicit(&p->wanting, 1, memory_order_relaxed);
}

void efio_pool_await_room(efio_pool *p, efio_room *room)
{
    pthread_mutex_lock(&p->mutex);
    room->listed = true;
    room->next = NULL;
    room->prev = p->last;
    *(p->last ? &p->last->next : &p->first) = room;
    p->last = room;
    atomic_fetch_add_explicit(&p->wanting, 1, memory_order_relaxed);
    pthread_mutex_unlock(&p->mutex);
    atomic_thread_fence(memory_order_seq_cst); /* partner: the fence in efio_pool_next */
}

bool efio_pool_end_wait(efio_pool *p, efio_room *room)
{
    pthread_mutex_lock(&p->mutex);
    bool listed = room->listed;
    if (listed) unlist(p, room);
    pthread_mutex_unlock(&p->mutex);
    return listed;
}

void efio_pool_call_submitter(efio_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    for (bool called = false; p->first && !called;) {
        efio_room *room = p->first;
        unlist(p, room);
        called = efio_unpark(room->parker); /* inside: its owner cannot leave before */
    }
    pthread_mutex_unlock(&p->mutex);
}

efio_job *efio_pool_next(efio_pool *p)
{
    efio_job *job = efio_pool_withdraw(p);
    if (!job) return NULL;
    atomic_fetch_add_explicit(&p->taken, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* partner: the fence in efio_pool_await_room */
    if (atomic_load_explicit(&p->wanting, memory_order_relaxed)) efio_pool_call_submitter(p);
    if (efio_ring_ready(p->ring)) call(p);
    return job;
}

void efio_job_run(efio_pool *p, efio_job *job)
{
    efio_parker *done = job->done;
    job->run(job);
    atomic_fetch_add_explicit(&p->ran, 1, memory_order_relaxed);
    if (done) efio_unpark(done);
}

void efio_pool_arrive(efio_pool *p)
{
    if (atomic_load_explicit(&p->idle, memory_order_relaxed) & CALLED) /* who was called has seen it in rest */
        atomic_fetch_and_explicit(&p->idle, ~CALLED, memory_order_acq_rel);
    atomic_thread_fence(memory_order_seq_cst); /* whoever saw CALLED and left it at that has pushed before */
}

bool efio_pool_await(efio_pool *p, efio_job **job)
{
    *job = NULL;
    for (bool slept = false;;) {
        uint64_t value;
        if (efio_ring_ready(p->ring)) {
            uint32_t head = atomic_load_explicit(&p->ring->head, memory_order_relaxed);
            if (!efio_ring_peek(p->ring, head, &value)) continue; /* somebody else is faster */
            if (!(value & NATIVE)) return true;
            efio_pool_arrive(p);
            slept = false;
            *job = efio_pool_next(p);
            if (*job && !(*job)->run) return true;
            if (*job) efio_job_run(p, *job);
            *job = NULL;
            continue;
        }
        if (slept) efio_pool_arrive(p);
        if (spin(p)) continue;
        slept = true;
        if (!rest(p)) return false;
    }
}

efio_job *efio_pool_take(efio_pool *p, bool wait)
{
    for (;;) {
        efio_job *job = efio_pool_next(p);
        if (!job) {
            if (!wait || !efio_pool_await(p, &job)) return NULL;
            efio_pool_arrive(p);
            if (!job) continue;
        }
        if (!job->run) return job;
        efio_job_run(p, job);
    }
}

void efio_pool_close(efio_pool *p)
{
    atomic_store_explicit(&p->closed, true, memory_order_seq_cst);
    wake(p, INT_MAX);
    while (atomic_load_explicit(&p->wanting, memory_order_seq_cst)) efio_pool_call_submitter(p);
}
