/* Bounded single-producer single-consumer queue of 64-bit values, position-independent.
 *
 * Source: L. Lamport, "Specifying concurrent program modules" (1983), with each side's cached copy of the other side's
 * mark (P. Lee et al., "A lock-free, cache-efficient shared ring buffer", 2009): a side looks at the other's cache line
 * only when its own copy says full, or empty.
 *
 * Wait-free and linearizable. Marks are 64 bits and do not wrap in practice. Invariant: head <= tail <= head +
 * capacity. A value is published by the release of tail and its cell handed back by the release of head. */
#ifndef EFIO_SPSC_H
#define EFIO_SPSC_H

#include "atomics.h"

typedef struct {
    EFIO_ALIGNED _Atomic uint64_t tail; /* values ever pushed; written by the producer */
    uint64_t head_seen;                 /* the producer's copy of head, never beyond it */
    EFIO_ALIGNED _Atomic uint64_t head; /* values ever popped; written by the consumer */
    uint64_t tail_seen;                 /* the consumer's copy of tail, never beyond it */
    EFIO_ALIGNED uint64_t mask;         /* capacity - 1; constant after init */
    EFIO_ALIGNED uint64_t value[];
} efio_spsc;

static inline size_t efio_spsc_bytes(uint32_t capacity)
{
    size_t n = sizeof(efio_spsc) + (size_t)capacity * sizeof(uint64_t);
    return (n + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE;
}

/* False when capacity is not a power of two. Nobody else may use it meanwhile. */
static inline bool efio_spsc_init(efio_spsc *q, uint32_t capacity)
{
    if (!efio_is_pow2(capacity)) return false;
    q->mask = capacity - 1;
    q->head_seen = q->tail_seen = 0;
    atomic_store_explicit(&q->head, 0, memory_order_relaxed);
    atomic_store_explicit(&q->tail, 0, memory_order_release);
    return true;
}

/* The producer. False when it is full. */
static inline bool efio_spsc_push(efio_spsc *q, uint64_t value)
{
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    if (tail - q->head_seen > q->mask) {
        q->head_seen = atomic_load_explicit(&q->head, memory_order_acquire); /* partner: release in pop */
        if (tail - q->head_seen > q->mask) return false;
    }
    q->value[tail & q->mask] = value;
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release); /* partner: acquire in pop */
    return true;
}

/* The consumer. False when it is empty. */
static inline bool efio_spsc_pop(efio_spsc *q, uint64_t *value)
{
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head == q->tail_seen) {
        q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire); /* partner: release in push */
        if (head == q->tail_seen) return false;
    }
    *value = q->value[head & q->mask];
    atomic_store_explicit(&q->head, head + 1, memory_order_release); /* partner: acquire in push */
    return true;
}

#endif
