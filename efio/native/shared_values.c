#define _GNU_SOURCE
#include "shared_values.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

uint64_t efio_arena_take(efio_arena *a, uint64_t bytes, uint64_t align)
{
    uint64_t size = a->peers.shape[0], taken = atomic_load(&a->taken), at;
    do {
        at = (taken + align - 1) & ~(align - 1);
        if (at > size || bytes > size - at) return UINT64_MAX;
    } while (!atomic_compare_exchange_weak(&a->taken, &taken, at + bytes));
    return at;
}

/* --- map */

enum { FREE = 0, DELETED, PRESENT };

typedef struct {
    uint32_t state, key_len, value_len, tag;
    uint8_t bytes[]; /* the key, then the value at key_max rounded up to 8 */
} half;

typedef struct {
    _Atomic uint64_t version;
    uint8_t halves[];
} entry;

static uint64_t round8(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}
static uint64_t half_bytes(uint32_t key_max, uint32_t value_max)
{
    return sizeof(half) + round8(key_max) + round8(value_max);
}
static uint64_t stride(uint32_t key_max, uint32_t value_max)
{
    return (sizeof(entry) + 2 * half_bytes(key_max, value_max) + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE;
}

uint64_t efio_map_bytes(uint32_t entries, uint32_t key_max, uint32_t value_max)
{
    return sizeof(efio_map) + entries * stride(key_max, value_max);
}

int efio_map_open(efio_map_handle *h, efio_map *m, uint64_t bytes)
{
    int r = efio_peers_check(&m->peers, EFIO_MAP_KIND, bytes);
    if (r < 0) return r;
    const uint64_t *shape = m->peers.shape;
    if (!efio_is_pow2(shape[0]) || shape[0] > 1u << 24 || shape[1] > 1u << 20 || shape[2] > 1u << 20) return -EPROTO;
    *h = (efio_map_handle){m, efio_ident_self(), (uint32_t)shape[0], (uint32_t)shape[1], (uint32_t)shape[2], 0};
    if (!h->self) return -errno;
    h->stride = stride(h->key_max, h->value_max);
    return efio_map_bytes(h->entries, h->key_max, h->value_max) > bytes ? -EPROTO : 0;
}

static entry *entry_at(const efio_map_handle *h, uint32_t i)
{
    return (entry *)(h->m->entry + i * h->stride);
}
static half *half_of(const efio_map_handle *h, entry *e, uint64_t version)
{
    return (half *)(e->halves + (version & 1) * half_bytes(h->key_max, h->value_max));
}
static uint8_t *value_of(const efio_map_handle *h, half *f)
{
    return f->bytes + round8(h->key_max);
}

/* FNV-1a (Fowler, Noll, Vo), then a mixer: the low bits of FNV are weak. The same in all processes. */
static uint32_t hash(const uint8_t *key, uint32_t n)
{
    uint64_t x = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < n; i++) x = (x ^ key[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(x ^ x >> 29 ^ x >> 47);
}

/* Readers copy what a writer may be changing. That is no error, since they look at the version afterwards, but it must
 * be done by atomic accesses, word by word. Everything in a half begins at a word and is padded to one. */
static void load(void *to, const void *from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t word = atomic_load_explicit((_Atomic uint64_t *)((uint8_t *)from + i), memory_order_relaxed);
        memcpy((uint8_t *)to + i, &word, n - i < 8 ? n - i : 8);
    }
}

static void store(void *to, const void *from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const uint8_t *)from + i, n - i < 8 ? n - i : 8);
        atomic_store_explicit((_Atomic uint64_t *)((uint8_t *)to + i), word, memory_order_relaxed);
    }
}

static bool equals(const void *shared, const void *key, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t word = atomic_load_explicit((_Atomic uint64_t *)((uint8_t *)shared + i), memory_order_relaxed);
        if (memcmp(&word, (const uint8_t *)key + i, n - i < 8 ? n - i : 8) != 0) return false;
    }
    return true;
}

/* A consistent copy of the head of the half that counts, with its version. */
static half look(const efio_map_handle *h, entry *e, uint64_t *version)
{
    half copy;
    for (;;) {
        *version = atomic_load_explicit(&e->version, memory_order_acquire); /* partner: publish() */
        load(&copy, half_of(h, e, *version), sizeof copy);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&e->version, memory_order_relaxed) == *version) return copy;
    }
}

static bool is_valid(const efio_map_handle *h, const half *f)
{
    return f->key_len <= h->key_max && f->value_len <= h->value_max; /* others may write into the memory as they like */
}

int64_t efio_map_get(efio_map_handle *h, const void *key, uint32_t key_len, uint8_t *to, uint32_t *tag)
{
    uint32_t start = hash(key, key_len);
    for (uint32_t k = 0; k < h->entries; k++) {
        entry *e = entry_at(h, (start + k) & (h->entries - 1));
        for (;;) {
            uint64_t version;
            half copy = look(h, e, &version);
            if (copy.state == FREE) return -ENOENT;
            half *f = half_of(h, e, version);
            bool same = copy.state == PRESENT && copy.key_len == key_len && is_valid(h, &copy) &&
                        equals(f->bytes, key, key_len);
            if (same) load(to, value_of(h, f), copy.value_len);
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&e->version, memory_order_relaxed) != version) continue; /* written meanwhile */
            if (!same) break;
            *tag = copy.tag;
            return copy.value_len;
        }
    }
    return -ENOENT;
}

int efio_map_at(efio_map_handle *h, uint32_t at, uint8_t *key, uint32_t *key_len, uint8_t *value, uint32_t *len,
                uint32_t *tag)
{
    entry *e = entry_at(h, at);
    for (;;) {
        uint64_t version;
        half copy = look(h, e, &version);
        if (copy.state != PRESENT || !is_valid(h, &copy)) return 0;
        half *f = half_of(h, e, version);
        load(key, f->bytes, copy.key_len);
        load(value, value_of(h, f), copy.value_len);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&e->version, memory_order_relaxed) != version) continue;
        *key_len = copy.key_len;
        *len = copy.value_len;
        *tag = copy.tag;
        return 1;
    }
}

/* What is in the other half counts from now on. */
static void publish(entry *e, uint64_t version)
{
    atomic_store_explicit(&e->version, version + 1, memory_order_release);
}

/* The half to write into. Its old contents were current two versions ago: readers of then see that it changes. */
static half *other_half(const efio_map_handle *h, entry *e, uint64_t *version)
{
    *version = atomic_load_explicit(&e->version, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* the version before the writing, for those readers */
    return half_of(h, e, *version + 1);
}

static void mark(efio_map_handle *h, entry *e, uint32_t state)
{
    uint64_t version;
    half *f = other_half(h, e, &version);
    store(f, &(half){.state = state}, sizeof(half));
    publish(e, version);
}

static uint32_t state_of(const efio_map_handle *h, entry *e)
{
    uint64_t version;
    return look(h, e, &version).state;
}

/* Where the key is, with the lock held; else where it could be put, or -1. */
static bool find(efio_map_handle *h, const void *key, uint32_t key_len, int64_t *place)
{
    uint32_t start = hash(key, key_len);
    *place = -1;
    for (uint32_t k = 0; k < h->entries; k++) {
        uint32_t i = (start + k) & (h->entries - 1);
        entry *e = entry_at(h, i);
        uint64_t version;
        half f = look(h, e, &version);
        if (f.state == PRESENT && f.key_len == key_len && is_valid(h, &f) &&
            equals(half_of(h, e, version)->bytes, key, key_len)) {
            *place = i;
            return true;
        }
        if (f.state != PRESENT && *place < 0) *place = i;
        if (f.state == FREE) break;
    }
    return false;
}

int efio_map_set(efio_map_handle *h, const void *key, uint32_t key_len, const void *value, uint32_t len, uint32_t tag)
{
    int64_t place;
    bool there = find(h, key, key_len, &place);
    if (place < 0) return -ENOSPC;
    uint64_t version;
    entry *e = entry_at(h, (uint32_t)place);
    half *f = other_half(h, e, &version);
    store(f, &(half){PRESENT, key_len, len, tag}, sizeof(half));
    store(f->bytes, key, key_len);
    store(value_of(h, f), value, len);
    if (!there) atomic_fetch_add(&h->m->count, 1);
    publish(e, version);
    return there;
}

int efio_map_remove(efio_map_handle *h, const void *key, uint32_t key_len)
{
    int64_t place;
    if (!find(h, key, key_len, &place)) return 0;
    uint32_t i = (uint32_t)place, mask = h->entries - 1;
    mark(h, entry_at(h, i), DELETED);
    atomic_fetch_sub(&h->m->count, 1);
    /* At the end of a row of entries nothing needs to be marked as deleted. */
    for (uint32_t k = 0;
         k < mask && state_of(h, entry_at(h, i)) == DELETED && state_of(h, entry_at(h, (i + 1) & mask)) == FREE;
         k++, i = (i - 1) & mask)
        mark(h, entry_at(h, i), FREE);
    return 1;
}

static void count_anew(efio_map_handle *h)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < h->entries; i++) n += state_of(h, entry_at(h, i)) == PRESENT;
    atomic_store(&h->m->count, n);
}

void efio_map_lock(efio_map_handle *h)
{
    for (uint32_t turn = 0;; turn++) {
        efio_ident nobody = 0;
        if (atomic_compare_exchange_weak_explicit(&h->m->writer, &nobody, h->self, memory_order_acquire,
                                                  memory_order_relaxed)) /* partner: efio_map_unlock */
            return;
        if (turn < 200) {
            efio_spin_hint();
        } else if (turn < 220) {
            sched_yield();
        } else {
            efio_ident holder = atomic_load(&h->m->writer);
            if (turn % 16 == 0 && holder && holder != h->self && efio_ident_is_dead(holder) &&
                atomic_compare_exchange_strong(&h->m->writer, &holder, h->self)) {
                count_anew(h); /* the one thing that it may have left half done */
                return;
            }
            struct timespec t = {0, 50000};
            nanosleep(&t, NULL);
        }
    }
}

void efio_map_unlock(efio_map_handle *h)
{
    atomic_store_explicit(&h->m->writer, 0, memory_order_release);
}
