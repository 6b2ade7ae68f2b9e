/* Single-producer single-consumer byte ring in shared memory: the window of a streamed body.
 *
 * Source: L. Lamport, "Proving the correctness of multiprocess programs" (1977): head and tail are free-running
 * 64-bit counters, each written by one side only. The data lies elsewhere (capacity bytes, any size), so the
 * counters can sit in a descriptor and the bytes in the slab. Capacity is 1 .. 2^32 - 1 bytes.
 *
 * head: bytes ever written. Written by the producer (release), read by the consumer (acquire): publishes data.
 * tail: bytes ever consumed. Written by the consumer (release), read by the producer (acquire): frees space. */
#ifndef EFIO_BYTERING_H
#define EFIO_BYTERING_H

#include "atomics.h"

typedef struct {
    EFIO_ALIGNED _Atomic uint64_t head;
    EFIO_ALIGNED _Atomic uint64_t tail;
} efio_bytering;

static inline void efio_bytering_reset(efio_bytering *b)
{
    atomic_store_explicit(&b->head, 0, memory_order_relaxed);
    atomic_store_explicit(&b->tail, 0, memory_order_relaxed);
}

/* Bytes ready for the consumer. */
static inline uint64_t efio_bytering_used(const efio_bytering *b)
{
    uint64_t t = atomic_load_explicit(&((efio_bytering *)b)->tail, memory_order_acquire);
    uint64_t h = atomic_load_explicit(&((efio_bytering *)b)->head, memory_order_acquire);
    return h - t;
}

/* Room for the producer. Anybody else may ask, too: both counters may then move between the two loads. */
static inline uint64_t efio_bytering_free(const efio_bytering *b, uint32_t capacity)
{
    uint64_t used = efio_bytering_used(b);
    return used < capacity ? capacity - used : 0;
}

/* The longest contiguous span that the producer may write now; *n == 0 when full. */
static inline uint8_t *efio_bytering_write_span(const efio_bytering *b, uint8_t *base, uint32_t capacity, uint32_t *n)
{
    uint64_t h = atomic_load_explicit(&((efio_bytering *)b)->head, memory_order_relaxed);
    uint64_t t = atomic_load_explicit(&((efio_bytering *)b)->tail, memory_order_acquire);
    uint32_t off = (uint32_t)(h % capacity), space = capacity - (uint32_t)(h - t), run = capacity - off;
    *n = space < run ? space : run;
    return base + off;
}

static inline void efio_bytering_wrote(efio_bytering *b, uint32_t n)
{
    uint64_t h = atomic_load_explicit(&b->head, memory_order_relaxed);
    atomic_store_explicit(&b->head, h + n, memory_order_release);
}

/* All that the consumer may read now: *n bytes from the result on and, when these end at the end of the ring, *wrapped
 * bytes from base on. From one look at head: of two looks, the second may see bytes that belong to the first span. */
static inline uint8_t *efio_bytering_read_spans(const efio_bytering *b, uint8_t *base, uint32_t capacity, uint32_t *n,
                                                uint32_t *wrapped)
{
    uint64_t t = atomic_load_explicit(&((efio_bytering *)b)->tail, memory_order_relaxed);
    uint64_t h = atomic_load_explicit(&((efio_bytering *)b)->head, memory_order_acquire);
    uint32_t off = (uint32_t)(t % capacity), used = (uint32_t)(h - t), run = capacity - off;
    *n = used < run ? used : run;
    *wrapped = used - *n;
    return base + off;
}

/* The longest contiguous span that the consumer may read now; *n == 0 when empty. */
static inline uint8_t *efio_bytering_read_span(const efio_bytering *b, uint8_t *base, uint32_t capacity, uint32_t *n)
{
    uint32_t wrapped;
    return efio_bytering_read_spans(b, base, capacity, n, &wrapped);
}

static inline void efio_bytering_read(efio_bytering *b, uint32_t n)
{
    uint64_t t = atomic_load_explicit(&b->tail, memory_order_relaxed);
    atomic_store_explicit(&b->tail, t + n, memory_order_release);
}

#endif
