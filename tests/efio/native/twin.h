/* Mutex twins: the same containers with a lock around them. They are the oracle (whatever a twin does in one thread,
 * the lock-free one must do), the proof that a test that fails is right to fail, and the base line of bench_ring.c.
 *
 * Each kind of container is a table of functions, with one entry for the lock-free version and one for the twin. */
#ifndef TESTS_EFIO_TWIN_H
#define TESTS_EFIO_TWIN_H

#include <pthread.h>

#include "efio/native/bytering.h"
#include "efio/native/ring.h"
#include "efio/native/stack.h"
#include "tests/native/check.h"

static inline void *allocate(size_t bytes)
{
    void *p = aligned_alloc(EFIO_LINE, (bytes + EFIO_LINE - 1) / EFIO_LINE * EFIO_LINE);
    REQUIRE(p, "out of memory");
    return p;
}

/* --- ring */

typedef struct {
    const char *name;
    void *(*make)(uint32_t capacity, uint32_t first_ticket);
    bool (*push)(void *ring, uint64_t value);
    bool (*pop)(void *ring, uint64_t *value);
    bool (*ready)(const void *ring);
    uint32_t (*size)(const void *ring);
} ring_kind;

/* As if first_ticket values had passed through it. */
static inline void ring_begin_at(efio_ring *r, uint32_t first_ticket)
{
    for (uint32_t k = 0; k <= r->mask; k++) {
        uint32_t pos = first_ticket + k;
        atomic_store(&r->cell[pos & r->mask].seq, pos);
    }
    atomic_store(&r->head, first_ticket);
    atomic_store(&r->tail, first_ticket);
}

static inline void *lockfree_ring_make(uint32_t capacity, uint32_t first_ticket)
{
    efio_ring *r = allocate(efio_ring_bytes(capacity));
    REQUIRE(efio_ring_init(r, capacity), "capacity %u", capacity);
    if (first_ticket) ring_begin_at(r, first_ticket);
    return r;
}
static inline bool lockfree_ring_push(void *r, uint64_t value)
{
    return efio_ring_push(r, value);
}
static inline bool lockfree_ring_pop(void *r, uint64_t *value)
{
    return efio_ring_pop(r, value);
}
static inline bool lockfree_ring_ready(const void *r)
{
    return efio_ring_ready(r);
}
static inline uint32_t lockfree_ring_size(const void *r)
{
    return efio_ring_size(r);
}

typedef struct {
    pthread_mutex_t lock;
    uint32_t capacity, head, tail;
    uint64_t value[];
} twin_ring;

static inline void *twin_ring_make(uint32_t capacity, uint32_t first_ticket)
{
    twin_ring *t = allocate(sizeof *t + capacity * sizeof(uint64_t));
    pthread_mutex_init(&t->lock, NULL);
    t->capacity = capacity;
    t->head = t->tail = first_ticket;
    return t;
}
static inline bool twin_ring_push(void *p, uint64_t value)
{
    twin_ring *t = p;
    pthread_mutex_lock(&t->lock);
    bool ok = t->tail - t->head < t->capacity;
    if (ok) t->value[t->tail++ % t->capacity] = value;
    pthread_mutex_unlock(&t->lock);
    return ok;
}
static inline bool twin_ring_pop(void *p, uint64_t *value)
{
    twin_ring *t = p;
    pthread_mutex_lock(&t->lock);
    bool ok = t->tail != t->head;
    if (ok) *value = t->value[t->head++ % t->capacity];
    pthread_mutex_unlock(&t->lock);
    return ok;
}
static inline uint32_t twin_ring_size(const void *p)
{
    twin_ring *t = (twin_ring *)p;
    pthread_mutex_lock(&t->lock);
    uint32_t n = t->tail - t->head;
    pthread_mutex_unlock(&t->lock);
    return n;
}
static inline bool twin_ring_ready(const void *p)
{
    return twin_ring_size(p) > 0;
}

static const ring_kind ring_kinds[] = {
    {"lock-free ring", lockfree_ring_make, lockfree_ring_push, lockfree_ring_pop, lockfree_ring_ready,
     lockfree_ring_size},
    {"twin ring", twin_ring_make, twin_ring_push, twin_ring_pop, twin_ring_ready, twin_ring_size},
};

/* --- stack */

typedef struct {
    const char *name;
    void *(*make)(uint32_t capacity);
    void (*push)(void *stack, uint32_t index);
    bool (*pop)(void *stack, uint32_t *index);
} stack_kind;

static inline void *lockfree_stack_make(uint32_t capacity)
{
    efio_stack *s = allocate(efio_stack_bytes(capacity));
    REQUIRE(efio_stack_init(s, capacity), "capacity %u", capacity);
    return s;
}
static inline void lockfree_stack_push(void *s, uint32_t index)
{
    efio_stack_push(s, index);
}
static inline bool lockfree_stack_pop(void *s, uint32_t *index)
{
    return efio_stack_pop(s, index);
}

typedef struct {
    pthread_mutex_t lock;
    uint32_t n, index[];
} twin_stack;

static inline void *twin_stack_make(uint32_t capacity)
{
    twin_stack *t = allocate(sizeof *t + capacity * sizeof(uint32_t));
    pthread_mutex_init(&t->lock, NULL);
    t->n = 0;
    return t;
}
static inline void twin_stack_push(void *p, uint32_t index)
{
    twin_stack *t = p;
    pthread_mutex_lock(&t->lock);
    t->index[t->n++] = index;
    pthread_mutex_unlock(&t->lock);
}
static inline bool twin_stack_pop(void *p, uint32_t *index)
{
    twin_stack *t = p;
    pthread_mutex_lock(&t->lock);
    bool ok = t->n > 0;
    if (ok) *index = t->index[--t->n];
    pthread_mutex_unlock(&t->lock);
    return ok;
}

static const stack_kind stack_kinds[] = {
    {"lock-free stack", lockfree_stack_make, lockfree_stack_push, lockfree_stack_pop},
    {"twin stack", twin_stack_make, twin_stack_push, twin_stack_pop},
};

/* --- byte ring */

typedef struct {
    const char *name;
    void *(*make)(uint32_t capacity, uint64_t first_byte);
    uint32_t (*put)(void *ring, const uint8_t *from, uint32_t n); /* bytes written, 0 when full */
    uint32_t (*get)(void *ring, uint8_t *to, uint32_t n);         /* bytes read, 0 when empty */
    uint64_t (*used)(const void *ring);
} bytering_kind;

typedef struct {
    efio_bytering ring;
    uint32_t capacity;
    uint8_t bytes[];
} lockfree_bytes;

static inline void *lockfree_bytes_make(uint32_t capacity, uint64_t first_byte)
{
    lockfree_bytes *b = allocate(sizeof *b + capacity);
    efio_bytering_reset(&b->ring);
    b->capacity = capacity;
    atomic_store(&b->ring.head, first_byte);
    atomic_store(&b->ring.tail, first_byte);
    return b;
}
static inline uint32_t lockfree_bytes_put(void *p, const uint8_t *from, uint32_t n)
{
    lockfree_bytes *b = p;
    uint32_t room;
    uint8_t *at = efio_bytering_write_span(&b->ring, b->bytes, b->capacity, &room);
    if (n > room) n = room;
    memcpy(at, from, n);
    efio_bytering_wrote(&b->ring, n);
    return n;
}
static inline uint32_t lockfree_bytes_get(void *p, uint8_t *to, uint32_t n)
{
    lockfree_bytes *b = p;
    uint32_t there;
    uint8_t *at = efio_bytering_read_span(&b->ring, b->bytes, b->capacity, &there);
    if (n > there) n = there;
    memcpy(to, at, n);
    memset(at, 0xee, n); /* what is read again is wrong */
    efio_bytering_read(&b->ring, n);
    return n;
}
static inline uint64_t lockfree_bytes_used(const void *p)
{
    return efio_bytering_used(&((const lockfree_bytes *)p)->ring);
}

typedef struct {
    pthread_mutex_t lock;
    uint32_t capacity, used, at; /* at: offset of the next byte to read */
    uint8_t bytes[];
} twin_bytes;

static inline void *twin_bytes_make(uint32_t capacity, uint64_t first_byte)
{
    twin_bytes *t = allocate(sizeof *t + capacity);
    pthread_mutex_init(&t->lock, NULL);
    t->capacity = capacity;
    t->used = 0;
    t->at = (uint32_t)(first_byte % capacity);
    return t;
}
static inline uint32_t twin_bytes_put(void *p, const uint8_t *from, uint32_t n)
{
    twin_bytes *t = p;
    pthread_mutex_lock(&t->lock);
    uint32_t to = (uint32_t)(((uint64_t)t->at + t->used) % t->capacity);
    if (n > t->capacity - t->used) n = t->capacity - t->used;
    if (n > t->capacity - to) n = t->capacity - to;
    memcpy(t->bytes + to, from, n);
    t->used += n;
    pthread_mutex_unlock(&t->lock);
    return n;
}
static inline uint32_t twin_bytes_get(void *p, uint8_t *to, uint32_t n)
{
    twin_bytes *t = p;
    pthread_mutex_lock(&t->lock);
    if (n > t->used) n = t->used;
    if (n > t->capacity - t->at) n = t->capacity - t->at;
    memcpy(to, t->bytes + t->at, n);
    t->at = (t->at + n) % t->capacity;
    t->used -= n;
    pthread_mutex_unlock(&t->lock);
    return n;
}
static inline uint64_t twin_bytes_used(const void *p)
{
    twin_bytes *t = (twin_bytes *)p;
    pthread_mutex_lock(&t->lock);
    uint64_t n = t->used;
    pthread_mutex_unlock(&t->lock);
    return n;
}

static const bytering_kind bytering_kinds[] = {
    {"lock-free bytes", lockfree_bytes_make, lockfree_bytes_put, lockfree_bytes_get, lockfree_bytes_used},
    {"twin bytes", twin_bytes_make, twin_bytes_put, twin_bytes_get, twin_bytes_used},
};

#endif
