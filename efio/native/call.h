/* A C function as a job of the pool, for one who waits until it has ended, whatever happens to him meanwhile.
 *
 * Who waits may be interrupted (a greenlet is killed, a signal handler raises) and then waits again, with another
 * parker, since the function may still use his memory. So `waiting` is exchanged by both sides: what one of them has
 * taken out of it the other one does not touch.
 *
 *   waiting: NULL -> parker        efio_call_wait     (and back by efio_call_leave)
 *   waiting: NULL, parker -> OVER  efio_call_run, after the function; efio_call_cancel
 *   ended:   the last that the pool's thread touches of the call */
#ifndef EFIO_CALL_H
#define EFIO_CALL_H

#include <errno.h>
#include <sched.h>

#include "pool.h"

#define EFIO_CALL_OVER ((efio_parker *)1)

typedef struct {
    efio_job job;
    void (*function)(void *);
    void *argument;
    _Atomic(efio_parker *) waiting;
    _Atomic bool ended;
} efio_call;

static inline void efio_call_over(efio_call *c)
{
    /* release: what the function did; acquire: the parker */
    efio_parker *p = atomic_exchange_explicit(&c->waiting, EFIO_CALL_OVER, memory_order_acq_rel);
    if (p) efio_unpark(p);
    atomic_store_explicit(&c->ended, true, memory_order_release); /* partner: efio_call_end */
}

static void efio_call_run(efio_job *job)
{
    efio_call *c = job->owner;
    c->function(c->argument);
    efio_call_over(c);
}

/* Of one that was withdrawn from the pool. */
static inline void efio_call_cancel(efio_call *c)
{
    c->job.error = ECANCELED;
    efio_call_over(c);
}

static inline void efio_call_init(efio_call *c, void (*function)(void *), void *argument)
{
    c->job = (efio_job){efio_call_run, NULL, c, 0};
    c->function = function;
    c->argument = argument;
    atomic_init(&c->waiting, NULL);
    atomic_init(&c->ended, false);
}

/* False: it is over, do not park. */
static inline bool efio_call_wait(efio_call *c, efio_parker *p)
{
    efio_parker *none = NULL;
    return atomic_compare_exchange_strong_explicit(&c->waiting, &none, p, memory_order_acq_rel, memory_order_acquire);
}

/* After an interruption: nobody will unpark p. False: it is over. */
static inline bool efio_call_leave(efio_call *c, efio_parker *p)
{
    return atomic_compare_exchange_strong_explicit(&c->waiting, &p, NULL, memory_order_acq_rel, memory_order_acquire);
}

/* It is over; when this has returned, the call may be freed. */
static inline void efio_call_end(efio_call *c)
{
    while (!atomic_load_explicit(&c->ended, memory_order_acquire)) sched_yield();
}

#endif
