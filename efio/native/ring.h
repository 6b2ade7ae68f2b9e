/* Bounded multi-producer multi-consumer ring of 64-bit values, position-independent (it may lie in
 * shared memory mapped at different addresses).
 *
 * Source: D. Vyukov, "Bounded MPMC queue" (1024cores.net). Each cell carries a sequence number: seq == pos
 * means free for the producer of turn pos, seq == pos + 1 means full for the consumer of turn pos.
 *
 * Memory orders and their partners:
 *   push: store-release of seq = pos + 1   <->  pop/peek: load-acquire of seq   (publishes value)
 *   pop:  store-release of seq = pos + cap <->  push:     load-acquire of seq   (hands the cell back)
 *   push: store-release of value           <->  peek:     fence-acquire after its load of value (who sees the
 *         value of a later turn also sees that the earlier turn's seq is over; pop does not need it)
 *   head and tail are only tickets: relaxed.
 *
 * What it promises: values of one producer come out in their order, each exactly once. It is linearizable but for this:
 * while a push is under way between its claim and its publish, pop may find the ring empty although later pushes
 * are complete; while a pop is under way, push may find the ring full. Whoever is under way then wakes or retries.
 *
 * Tickets are 32 bits and wrap. A thread would have to stop between its look at seq and its CAS for exactly a
 * multiple of 2^32 turns to be deceived; at a million turns a second it must sleep 71 minutes and wake in the right
 * one.
 *
 * Not crash-safe between processes on both ends: a producer that dies between its claim (tail CAS) and its
 * publish (seq store) stops the consumers at that cell, a consumer that dies between its claim (head CAS) and its
 * hand-back stops the producers one round later. evpy therefore gives every worker process rings of its own. When all
 * processes on one end are dead, the survivor calls efio_ring_salvage (it is the consumer and wants the rest), or the
 * successor of the dead makes the ring whole again: efio_ring_mend_producer, efio_ring_mend_consumer. */
#ifndef EFIO_RING_H
#define EFIO_RING_H

#include "atomics.h"

typedef struct {
    _Atomic uint32_t seq;
    uint32_t pad;
    _Atomic uint64_t value; /* atomic because efio_ring_peek may read a cell that is being reused */
} efio_cell;

typedef struct {
    EFIO_ALIGNED _Atomic uint32_t tail; /* next ticket of a producer */
    EFIO_ALIGNED _Atomic uint32_t head; /* next ticket of a consumer */
    EFIO_ALIGNED uint32_t mask;         /* capacity - 1; constant after init */
    EFIO_ALIGNED efio_cell cell[];
} efio_ring;

/* Bytes that a ring of this capacity (a power of two, at most 2^30) needs, a multiple of EFIO_LINE. */
static inline size_t efio_ring_bytes(uint32_t capacity)
{
    size_t n = sizeof(efio_ring) + (size_t)capacity * sizeof(efio_cell);
    return (n + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE;
}

/* Returns false when capacity is not a power of two in 2..2^30. Nobody else may use the ring meanwhile. */
static inline bool efio_ring_init(efio_ring *r, uint32_t capacity)
{
    if (capacity < 2 || capacity > (1u << 30) || !efio_is_pow2(capacity)) return false;
    r->mask = capacity - 1;
    for (uint32_t i = 0; i < capacity; i++) {
        atomic_store_explicit(&r->cell[i].seq, i, memory_order_relaxed);
        atomic_store_explicit(&r->cell[i].value, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&r->head, 0, memory_order_relaxed);
    atomic_store_explicit(&r->tail, 0, memory_order_release);
    return true;
}

/* False when the ring is full. */
static inline bool efio_ring_push(efio_ring *r, uint64_t value)
{
    uint32_t pos = atomic_load_explicit(&r->tail, memory_order_relaxed);
    for (;;) {
        efio_cell *c = &r->cell[pos & r->mask];
        int32_t d = (int32_t)(atomic_load_explicit(&c->seq, memory_order_acquire) - pos);
        if (d == 0) {
            if (atomic_compare_exchange_weak_explicit(&r->tail, &pos, pos + 1, memory_order_relaxed,
                                                      memory_order_relaxed)) {
                atomic_store_explicit(&c->value, value, memory_order_release);
                atomic_store_explicit(&c->seq, pos + 1, memory_order_release);
                return true;
            }
        } else if (d < 0) {
            return false;
        } else {
            pos = atomic_load_explicit(&r->tail, memory_order_relaxed);
        }
    }
}

/* False when the ring is empty (or its oldest claimed cell is not published yet). */
static inline bool efio_ring_pop(efio_ring *r, uint64_t *value)
{
    uint32_t pos = atomic_load_explicit(&r->head, memory_order_relaxed);
    for (;;) {
        efio_cell *c = &r->cell[pos & r->mask];
        int32_t d = (int32_t)(atomic_load_explicit(&c->seq, memory_order_acquire) - (pos + 1));
        if (d == 0) {
            if (atomic_compare_exchange_weak_explicit(&r->head, &pos, pos + 1, memory_order_relaxed,
                                                      memory_order_relaxed)) {
                *value = atomic_load_explicit(&c->value, memory_order_relaxed);
                atomic_store_explicit(&c->seq, pos + r->mask + 1, memory_order_release);
                return true;
            }
        } else if (d < 0) {
            return false;
        } else {
            pos = atomic_load_explicit(&r->head, memory_order_relaxed);
        }
    }
}

/* True when a pop would have found something. A sleeper calls it after its "I sleep" store and a full fence. */
static inline bool efio_ring_ready(const efio_ring *r)
{
    for (;;) {
        uint32_t pos = atomic_load_explicit(&((efio_ring *)r)->head, memory_order_relaxed);
        const efio_cell *c = &r->cell[pos & r->mask];
        int32_t d = (int32_t)(atomic_load_explicit(&((efio_cell *)c)->seq, memory_order_acquire) - (pos + 1));
        if (d <= 0) return d == 0;
        /* Another consumer took this one meanwhile: the next cell may be full, and its producer may have looked for
         * a sleeper before we were one. To say no here would be a lost wake-up. */
    }
}

/* Number of claimed, not yet consumed cells: exact only when both ends are quiet. */
static inline uint32_t efio_ring_size(const efio_ring *r)
{
    uint32_t h = atomic_load_explicit(&((efio_ring *)r)->head, memory_order_relaxed);
    uint32_t t = atomic_load_explicit(&((efio_ring *)r)->tail, memory_order_relaxed);
    int32_t n = (int32_t)(t - h);
    return n < 0 ? 0 : (uint32_t)n;
}

/* Reads the value at ticket pos without taking it. True when it was published and not yet reused; it may be
 * consumed the next moment, so whatever the caller claims by it must be claimed by a CAS of its own. */
static inline bool efio_ring_peek(const efio_ring *r, uint32_t pos, uint64_t *value)
{
    efio_cell *c = (efio_cell *)&r->cell[pos & r->mask];
    if (atomic_load_explicit(&c->seq, memory_order_acquire) != pos + 1) return false;
    uint64_t v = atomic_load_explicit(&c->value, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire); /* orders the value load before the second look at seq */
    if (atomic_load_explicit(&c->seq, memory_order_relaxed) != pos + 1) return false;
    *value = v;
    return true;
}

/* After every process on the producing end is dead: takes the next published value, walking past cells that
 * were claimed but never published. False when nothing published is left. Single caller, no other consumer. */
static inline bool efio_ring_salvage(efio_ring *r, uint64_t *value)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    for (uint32_t pos = atomic_load_explicit(&r->head, memory_order_relaxed); pos != tail; pos++) {
        bool published = efio_ring_peek(r, pos, value);
        atomic_store_explicit(&r->cell[pos & r->mask].seq, pos + r->mask + 1, memory_order_release);
        atomic_store_explicit(&r->head, pos + 1, memory_order_relaxed);
        if (published) return true;
    }
    return false;
}

/* After every process on the producing end is dead, by their successor before it produces: publishes `filler` in every
 * cell that was claimed and never published, so that the consumers, who may be at work, get past it. */
static inline void efio_ring_mend_producer(efio_ring *r, uint64_t filler)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    for (uint32_t pos = atomic_load_explicit(&r->head, memory_order_relaxed); pos != tail; pos++) {
        efio_cell *c = &r->cell[pos & r->mask];
        if (atomic_load_explicit(&c->seq, memory_order_acquire) != pos) continue;
        atomic_store_explicit(&c->value, filler, memory_order_release);
        atomic_store_explicit(&c->seq, pos + 1, memory_order_release);
    }
}

/* After the process on the consuming end is dead, by its successor before it consumes: hands back the cell that the
 * dead one had claimed and not handed back. True when there was one; its value may or may not have been acted upon.
 * Only for rings with a single consumer: of several, each may have left a cell. The producers may be at work. */
static inline bool efio_ring_mend_consumer(efio_ring *r, uint64_t *value)
{
    uint32_t pos = atomic_load_explicit(&r->head, memory_order_relaxed) - 1;
    efio_cell *c = &r->cell[pos & r->mask];
    if (atomic_load_explicit(&c->seq, memory_order_acquire) != pos + 1) return false;
    *value = atomic_load_explicit(&c->value, memory_order_relaxed);
    atomic_store_explicit(&c->seq, pos + r->mask + 1, memory_order_release);
    return true;
}

#endif
