/* Unbounded multi-producer single-consumer queue of nodes that are part of what is queued.
 *
 * Source: D. Vyukov, "Intrusive MPSC node-based queue" (1024cores.net). The list is linked from the oldest node (tail)
 * to the newest (head); a stub node keeps it from being empty. A push is an exchange and a store: wait-free.
 *
 * What it promises: nodes of one producer come out in their order, each exactly once. Between a producer's exchange and
 * its store the list is cut there: pop then finds nothing, although later pushes may be complete; whoever is under way
 * wakes the consumer when he is done. (A mailbox of parking.h, which is emptied as a whole, does without that gap.)
 *
 * Not for memory shared between processes: nodes are pointers, and a producer that dies in the gap leaves the list cut.
 */
#ifndef EFIO_MPSC_H
#define EFIO_MPSC_H

#include "atomics.h"

typedef struct efio_mpsc_node {
    _Atomic(struct efio_mpsc_node *) next; /* the one pushed after it; written once, by the pusher of that one */
} efio_mpsc_node;

typedef struct {
    EFIO_ALIGNED _Atomic(efio_mpsc_node *) head; /* the newest node; exchanged by producers */
    EFIO_ALIGNED efio_mpsc_node *tail;           /* the oldest node, or the stub; the consumer's own */
    efio_mpsc_node stub;
} efio_mpsc;

static inline void efio_mpsc_init(efio_mpsc *q)
{
    atomic_store_explicit(&q->stub.next, NULL, memory_order_relaxed);
    q->tail = &q->stub;
    atomic_store_explicit(&q->head, &q->stub, memory_order_release);
}

/* Any thread. The node belongs to the queue until it is popped. */
static inline void efio_mpsc_push(efio_mpsc *q, efio_mpsc_node *node)
{
    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
    /* release: who exchanges after us links to a node whose next is NULL; acquire: we link to such a node */
    efio_mpsc_node *before = atomic_exchange_explicit(&q->head, node, memory_order_acq_rel);
    atomic_store_explicit(&before->next, node, memory_order_release); /* partner: acquire in pop; publishes the node */
}

/* The consumer. NULL when it is empty, or cut by a push that is under way. */
static inline efio_mpsc_node *efio_mpsc_pop(efio_mpsc *q)
{
    efio_mpsc_node *tail = q->tail;
    efio_mpsc_node *next = atomic_load_explicit(&tail->next, memory_order_acquire); /* partner: release in push */
    if (tail == &q->stub) {
        if (!next) return NULL;
        q->tail = tail = next;
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
    }
    if (!next) {
        if (tail != atomic_load_explicit(&q->head, memory_order_acquire)) return NULL; /* cut */
        efio_mpsc_push(q, &q->stub); /* so that the last node can be taken out */
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
        if (!next) return NULL; /* cut by one who pushed before the stub */
    }
    q->tail = next;
    return tail;
}

#endif
