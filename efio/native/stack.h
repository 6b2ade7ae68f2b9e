/* Lock-free stack of indices, position-independent: the free list of a table in shared memory.
 *
 * Source: R. K. Treiber, "Systems Programming: Coping with Parallelism" (IBM RJ 5118, 1986), with the counter against
 * ABA that the same report takes from System/370: head carries a tag that every push increments. A pop that looked
 * at head, was delayed, and finds the same index on top again after others popped and pushed it, finds another tag.
 *
 * head: tag << 32 | index of the top, or EFIO_STACK_END. Changed by compare-and-swap only.
 * next[i]: what lies below i. Written by the pusher of i before its CAS; read by poppers, perhaps after i has been
 *          popped and pushed again by others: then the value is stale and the CAS fails.
 *
 * Memory orders and their partners:
 *   push: CAS-release of head <-> pop: load-acquire of head. As head changes by read-modify-write only, each pop
 *         synchronises with every push before it (release sequence): with the one that wrote next[i], too.
 *
 * Crash-safe: a process killed at any instruction leaves a sound stack. It takes with it at most the one index that
 * it was pushing or had just popped; the owner word of the table's entry tells (slabs.h).
 *
 * The tag wraps after 2^32 pushes: a pop would have to be delayed for exactly a multiple of that. */
#ifndef EFIO_STACK_H
#define EFIO_STACK_H

#include "atomics.h"

#define EFIO_STACK_END UINT32_MAX

typedef struct {
    EFIO_ALIGNED _Atomic uint64_t head;
    EFIO_ALIGNED uint32_t capacity; /* indices are 0 .. capacity - 1; constant after init */
    _Atomic uint32_t next[];
} efio_stack;

/* Bytes that a stack of this many indices needs, a multiple of EFIO_LINE. */
static inline size_t efio_stack_bytes(uint32_t capacity)
{
    size_t n = sizeof(efio_stack) + (size_t)capacity * sizeof(uint32_t);
    return (n + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE;
}

/* An empty stack. False when capacity is 0 or 2^32 - 1. Nobody else may use it meanwhile. */
static inline bool efio_stack_init(efio_stack *s, uint32_t capacity)
{
    if (capacity == 0 || capacity == EFIO_STACK_END) return false;
    s->capacity = capacity;
    atomic_store_explicit(&s->head, EFIO_STACK_END, memory_order_release);
    return true;
}

/* index must be below capacity and must not lie on the stack. */
static inline void efio_stack_push(efio_stack *s, uint32_t index)
{
    uint64_t old = atomic_load_explicit(&s->head, memory_order_relaxed), top;
    do {
        atomic_store_explicit(&s->next[index], (uint32_t)old, memory_order_relaxed);
        top = ((old >> 32) + 1) << 32 | index;
    } while (!atomic_compare_exchange_weak_explicit(&s->head, &old, top, memory_order_release, memory_order_relaxed));
}

/* False when the stack is empty. */
static inline bool efio_stack_pop(efio_stack *s, uint32_t *index)
{
    uint64_t old = atomic_load_explicit(&s->head, memory_order_acquire), below;
    do {
        if ((uint32_t)old == EFIO_STACK_END) return false;
        below = old >> 32 << 32 | atomic_load_explicit(&s->next[(uint32_t)old], memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&s->head, &old, below, memory_order_acquire, memory_order_acquire));
    *index = (uint32_t)old;
    return true;
}

static inline bool efio_stack_is_empty(const efio_stack *s)
{
    return (uint32_t)atomic_load_explicit(&((efio_stack *)s)->head, memory_order_relaxed) == EFIO_STACK_END;
}

#endif
