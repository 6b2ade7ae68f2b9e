/* Counters and a map of small values, between processes of which any may be killed at any instruction.
 *
 * Counters are atomic integers, each with a cache line of its own.
 *
 * The map is a table with open addressing and linear probing (Knuth, The Art of Computer Programming 3, 6.4). An entry
 * has two halves and a version whose lowest bit tells which half counts: a writer fills the other one, then moves the
 * version by one. Killed in between, it has changed nothing. Readers take no lock: they copy a half and are content
 * when the version is still the same (a sequence lock; Boehm, "Can seqlocks get along with programming language memory
 * models?", 2012). Writers exclude each other by a word with their identity; that of a dead one is taken away. */
#ifndef EFIO_SHARED_VALUES_H
#define EFIO_SHARED_VALUES_H

#include "peers.h"

#define EFIO_COUNTERS_KIND 2u
#define EFIO_MAP_KIND      3u
#define EFIO_MEMORY_KIND   4u

/* --- counters */

typedef struct {
    EFIO_ALIGNED _Atomic int64_t value;
} efio_counter;

typedef struct {
    efio_peers peers; /* shape[0]: how many */
    EFIO_ALIGNED efio_counter counter[];
} efio_counters;

static inline int64_t efio_counter_add(efio_counter *c, int64_t n)
{
    return atomic_fetch_add(&c->value, n) + n; /* wraps */
}
static inline int64_t efio_counter_get(const efio_counter *c)
{
    return atomic_load(&((efio_counter *)c)->value);
}
static inline void efio_counter_set(efio_counter *c, int64_t n)
{
    atomic_store(&c->value, n);
}
static inline bool efio_counter_compare_exchange(efio_counter *c, int64_t old, int64_t fresh)
{
    return atomic_compare_exchange_strong(&c->value, &old, fresh);
}

/* --- memory: an arena, from which pieces are taken and never given back */

typedef struct {
    efio_peers peers; /* shape[0]: bytes */
    EFIO_ALIGNED _Atomic uint64_t taken;
    EFIO_ALIGNED uint8_t data[];
} efio_arena;

/* Where a piece begins, or UINT64_MAX when there is not as much left. align: a power of two. */
uint64_t efio_arena_take(efio_arena *a, uint64_t bytes, uint64_t align);

/* --- map */

typedef struct {
    efio_peers peers; /* shape: entries (a power of two), bytes of the longest key, of the longest value */
    EFIO_ALIGNED _Atomic efio_ident writer;
    _Atomic uint64_t count;
    EFIO_ALIGNED uint8_t entry[];
} efio_map;

typedef struct {
    efio_map *m;
    efio_ident self;
    uint32_t entries, key_max, value_max;
    uint64_t stride;
} efio_map_handle;

uint64_t efio_map_bytes(uint32_t entries, uint32_t key_max, uint32_t value_max);
/* 0 or -errno; takes no place in the table of processes. */
int efio_map_open(efio_map_handle *h, efio_map *m, uint64_t bytes);

/* Copies the value of a key to `to` (value_max bytes): its length, or -ENOENT. */
int64_t efio_map_get(efio_map_handle *h, const void *key, uint32_t key_len, uint8_t *to, uint32_t *tag);
/* The following three with the lock. 1: there was one, 0: there was none, -ENOSPC. */
int efio_map_set(efio_map_handle *h, const void *key, uint32_t key_len, const void *value, uint32_t len, uint32_t tag);
int efio_map_remove(efio_map_handle *h, const void *key, uint32_t key_len);
/* Waits for other writers; breaks the lock of a dead one. */
void efio_map_lock(efio_map_handle *h);
void efio_map_unlock(efio_map_handle *h);
/* The entry at a position: 1 and copies of key and value, 0 when there is none there. */
int efio_map_at(efio_map_handle *h, uint32_t at, uint8_t *key, uint32_t *key_len, uint8_t *value, uint32_t *len,
                uint32_t *tag);

#endif
