/* A bounded queue of jobs, and the sleep of the threads that work on them.
 *
 * The queue is Vyukov's ring (ring.h), its values are pointers to jobs. Workers are not started here: they are threads
 * of the embedder (Python's, so that they can run Python callables) that call efio_pool_take in a loop.
 *
 * Waking follows the throttled wake-ups of the Go and Tokio schedulers: at most one sleeper is on its way at a time; it
 * takes a job and, when there is more, wakes the next. So a burst of submissions costs one system call, and still all
 * workers come when there is work for all. What a job without `run` needs is the embedder's, say an interpreter lock:
 * then a worker is on its way until it has that, and takes the job only then. So those who could only wait for the lock
 * sleep on, and a job that is not begun yet is in the queue, for whoever comes first.
 *
 * Invariants
 *  - idle: low half, workers between "I sleep" and "I am back"; high half, CALLED, 1 while one of them is on its way.
 * CALLED is set only while somebody sleeps, in the compare-and-swap that sees it; so at least one comes back after
 * that, and everyone who comes back clears it before he takes a job (efio_pool_arrive) or sleeps again. That may be too
 * early for another one who is on his way, and costs a wake-up; it never outlives all those for whom it may have been
 * meant.
 *  - no lost wake-up: push, fence, look for sleepers (submit) against sleep, fence, look at the ring (take): Dekker.
 *  - no lost room: who finds the ring full goes into the list, counts itself in wanting, fence, and tries once more;
 * who takes a job: pop, fence, look at wanting. Each job taken calls one of those who wait for room, the first.
 *  - after efio_pool_close returns no job is accepted; every accepted job is taken: a worker ends only when the pool is
 *    closed, nobody is inside of submit, and the ring is empty.
 *  - a job belongs to the pool from submit until it was run, cancelled, or handed out by efio_pool_take. */
#ifndef EFIO_POOL_H
#define EFIO_POOL_H

#include <pthread.h>

#include "parking.h"
#include "ring.h"

typedef struct efio_job efio_job;
struct efio_job {
    void (*run)(efio_job *); /* in a worker, without any lock; NULL: efio_pool_take hands the job out instead */
    efio_parker *done;       /* unparked after run, or after cancellation; may be NULL */
    void *owner;             /* the maker's */
    int error;               /* 0; ECANCELED when it was not run */
};

/* A submitter that waits for room. */
typedef struct efio_room {
    efio_parker *parker; /* valid while it is listed */
    struct efio_room *next, *prev;
    bool listed;
} efio_room;

typedef struct {
    EFIO_ALIGNED _Atomic uint32_t idle;     /* sleepers | called << 16 */
    EFIO_ALIGNED _Atomic uint32_t epoch;    /* the futex of the sleepers; grows with each call */
    EFIO_ALIGNED _Atomic uint32_t entering; /* submitters between their look at closed and their push */
    _Atomic bool closed;
    EFIO_ALIGNED _Atomic uint32_t spinning; /* 1: a worker looks for jobs, and need not be called */
    bool may_spin;                          /* there is a CPU for it */
    uint32_t spin_credit, rests;            /* whoever is spinning: how well that has paid of late; see spin */
    EFIO_ALIGNED _Atomic uint64_t taken;    /* statistics */
    _Atomic uint64_t ran;                   /* jobs with `run` that have been run */
    _Atomic uint64_t calls;                 /* statistics: system calls that woke a worker */
    EFIO_ALIGNED _Atomic uint32_t wanting;  /* how many are in the list; changed under the mutex */
    pthread_mutex_t mutex;                  /* of the list: who comes here waits anyhow */
    efio_room *first, *last;
    efio_ring *ring;
} efio_pool;

/* NULL with errno: EINVAL (capacity is no power of two in 2..2^30), ENOMEM. */
efio_pool *efio_pool_new(uint32_t capacity);

/* Nobody uses it any more, and it is empty. */
void efio_pool_free(efio_pool *p);

/* 0, EAGAIN (full) or ESHUTDOWN (closed). From any thread. */
int efio_pool_submit(efio_pool *p, efio_job *job);

/* Runs jobs that have `run` until the next one has none (true), or the pool has ended (false); sleeps in between. That
 * next one stays in the queue: go and get what it needs, then efio_pool_arrive, then efio_pool_next. Except when
 * another worker has just taken the job that was looked at: then *job is the one that was taken instead; else it is
 * NULL. */
bool efio_pool_await(efio_pool *p, efio_job **job);
void efio_pool_arrive(efio_pool *p);

/* For embedders whose jobs need nothing. A job without `run`, after running all those before it that have one; NULL
 * when there is none at the moment (wait false), or when the pool has ended (wait true: sleeps until there is one). */
efio_job *efio_pool_take(efio_pool *p, bool wait);

/* One job, whatever it is, not run yet; NULL when there is none at the moment. */
efio_job *efio_pool_next(efio_pool *p);

/* Runs a job that has `run`, and unparks who waits for it. */
void efio_job_run(efio_pool *p, efio_job *job);

/* After EAGAIN: announces that the parker waits for room; then submit once more, and park when it is still full. When
 * woken, or not waiting any more: efio_pool_end_wait, whose false says that the call came; who does not use it passes
 * it on by efio_pool_call_submitter. */
void efio_pool_await_room(efio_pool *p, efio_room *room);
bool efio_pool_end_wait(efio_pool *p, efio_room *room);
void efio_pool_call_submitter(efio_pool *p);

/* No more submissions. What is queued is still worked on, then efio_pool_take returns NULL. */
void efio_pool_close(efio_pool *p);

/* Takes one queued job without running it; NULL when the queue is empty. The caller ends it, by efio_job_cancel or
 * otherwise. */
efio_job *efio_pool_withdraw(efio_pool *p);
void efio_job_cancel(efio_job *job);

#endif
