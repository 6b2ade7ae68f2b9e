/* A small cache of 16 KiB blocks, for the frame stacks of greenlets.
 *
 * CPython takes the first chunk of every new frame stack (16 KiB) straight from the arena allocator: an mmap, page
 * faults and a munmap for each greenlet that starts and ends. A few kept blocks make that a pop and a push.
 *
 * The lock is only ever tried: who finds it taken goes to the system as before, so nobody waits, in no thread, not even
 * in a child of fork (a lock that was held at the fork only disables the cache there). */
#ifndef EVPY_BLOCKCACHE_H
#define EVPY_BLOCKCACHE_H

#include <stdatomic.h>
#include <stddef.h>

#define EV_BLOCK_BYTES 16384u
#define EV_BLOCKS_KEPT 64u /* 1 MiB */

typedef struct {
    atomic_flag busy;
    unsigned n;
    void *block[EV_BLOCKS_KEPT];
} ev_blockcache;

/* A kept block, or NULL: ask the system. */
static inline void *ev_blockcache_get(ev_blockcache *c, size_t bytes)
{
    void *found = NULL;
    if (bytes != EV_BLOCK_BYTES || atomic_flag_test_and_set_explicit(&c->busy, memory_order_acquire)) return NULL;
    if (c->n) found = c->block[--c->n];
    atomic_flag_clear_explicit(&c->busy, memory_order_release);
    return found;
}

/* True when the cache keeps it; else give it back to the system. */
static inline _Bool ev_blockcache_put(ev_blockcache *c, void *p, size_t bytes)
{
    if (bytes != EV_BLOCK_BYTES || atomic_flag_test_and_set_explicit(&c->busy, memory_order_acquire)) return 0;
    _Bool kept = c->n < EV_BLOCKS_KEPT;
    if (kept) c->block[c->n++] = p;
    atomic_flag_clear_explicit(&c->busy, memory_order_release);
    return kept;
}

#endif
