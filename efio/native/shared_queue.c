#define _GNU_SOURCE
#include "shared_queue.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HEAD        8u
#define SPIN        400u /* looks before sleeping: some microseconds, less than a sleep and a wake-up take */
#define RECORD(len) (HEAD + (((uint64_t)(len) + 7) & ~(uint64_t)7))

/* Not FUTEX_PRIVATE: the word is in memory that other processes map. */
static int futex_wake(_Atomic uint32_t *word, int n)
{
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* False: interrupted by a signal. */
static bool futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns)
{
    struct timespec t = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
    /* FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC */
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &t, NULL, FUTEX_BITSET_MATCH_ANY) == 0 || errno != EINTR;
}

static efio_shq_lane *own(const efio_shq_handle *h)
{
    return &h->q->lane[h->lane];
}

static uint8_t *data_of(const efio_shq_handle *h, uint32_t lane)
{
    return h->q->data + (uint64_t)lane * h->cap;
}

void efio_shq_init(efio_shq *q, uint32_t lane_bytes)
{
    efio_peers_init(&q->peers, efio_shq_bytes(lane_bytes));
    q->peers.shape[0] = lane_bytes;
}

static bool is_empty(void *context, uint32_t place)
{
    efio_shq_lane *l = &((efio_shq *)context)->lane[place];
    return atomic_load(&l->head) == atomic_load(&l->tail);
}

int efio_shq_enter(efio_shq_handle *h, efio_shq *q, uint64_t bytes)
{
    int r = efio_peers_check(&q->peers, EFIO_SHQ_KIND, bytes);
    if (r < 0) return r;
    uint64_t cap = q->peers.shape[0];
    if (cap < 4096 || cap > UINT32_MAX || !efio_is_pow2(cap) || efio_shq_bytes((uint32_t)cap) > bytes) return -EPROTO;
    memset(h, 0, sizeof *h);
    h->q = q;
    h->cap = (uint32_t)cap;
    h->self = efio_ident_self();
    if (!h->self) return -errno;
    int place = efio_peers_enter(&q->peers, h->self, is_empty, q);
    if (place == -EUSERS) place = efio_peers_enter(&q->peers, h->self, NULL, NULL); /* after what the last one left */
    if (place < 0) return place;
    h->lane = h->next = (uint32_t)place;
    efio_shq_lane *l = own(h);
    atomic_store(&l->waiters, 0); /* a dead owner's */
    atomic_store(&l->tokens, 0);
    atomic_store(&l->room_want, 0);
    h->tail_seen = atomic_load(&l->tail);
    return 0;
}

void efio_shq_leave(efio_shq_handle *h)
{
    atomic_fetch_and(&h->q->waiting, ~(UINT64_C(1) << h->lane));
    atomic_store(&own(h)->waiters, 0);
    efio_peers_leave(&h->q->peers, h->lane);
    h->q = NULL;
}

/* --- producing */

static bool room(efio_shq_handle *h, uint64_t bytes)
{
    efio_shq_lane *l = own(h);
    uint64_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
    if (h->cap - (head - h->tail_seen) >= bytes) return true;
    h->tail_seen = atomic_load_explicit(&l->tail, memory_order_acquire);
    return h->cap - (head - h->tail_seen) >= bytes;
}

int efio_shq_put(efio_shq_handle *h, const void *data, uint32_t len, uint32_t tag)
{
    if (len > efio_shq_max_message(h->cap)) return -EMSGSIZE;
    if (atomic_load_explicit(&h->q->ended, memory_order_relaxed)) return -EPIPE;
    if (!room(h, RECORD(len))) return -EAGAIN;
    if (!h->active) { /* first, lest a kill leaves a message where nobody looks */
        atomic_fetch_or(&h->q->active, UINT64_C(1) << h->lane);
        h->active = true;
    }
    efio_shq_lane *l = own(h);
    uint8_t *base = data_of(h, h->lane);
    uint64_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
    uint32_t at = (uint32_t)head & (h->cap - 1), record[2] = {len, tag};
    memcpy(base + at, record, HEAD);
    at = (at + HEAD) & (h->cap - 1);
    uint32_t first = h->cap - at;
    if (len <= first) {
        memcpy(base + at, data, len);
    } else {
        memcpy(base + at, data, first);
        memcpy(base, (const uint8_t *)data + first, len - first);
    }
    uint64_t puts = atomic_load_explicit(&l->puts, memory_order_relaxed);
    atomic_store_explicit(&l->puts, puts + 1, memory_order_relaxed);
    atomic_store_explicit(&l->head, head + RECORD(len), memory_order_release); /* partner: has_message() */
    return 0;
}

/* A lane without waiters is no longer marked; if one has come meanwhile, it is. */
static void unmark(efio_shq *q, uint32_t lane)
{
    atomic_fetch_and(&q->waiting, ~(UINT64_C(1) << lane));
    if (atomic_load(&q->lane[lane].waiters)) atomic_fetch_or(&q->waiting, UINT64_C(1) << lane);
}

/* Takes a waiter off a lane; false when there is none. */
static bool take_waiter(efio_shq_lane *l)
{
    uint32_t n = atomic_load(&l->waiters);
    while (n)
        if (atomic_compare_exchange_weak(&l->waiters, &n, n - 1)) return true;
    return false;
}

static void signal_one(efio_shq_handle *h)
{
    efio_shq *q = h->q;
    uint64_t waiting = atomic_load(&q->waiting);
    for (uint32_t k = 1; waiting && k <= EFIO_PEERS; k++) {
        uint32_t i = (h->lane + k) % EFIO_PEERS;
        if (!(waiting >> i & 1)) continue;
        waiting &= ~(UINT64_C(1) << i);
        while (take_waiter(&q->lane[i])) {
            atomic_fetch_add(&q->lane[i].tokens, 1);
            /* Nobody woken: he is about to sleep, and will not; or dead. Somebody else as well, to be sure. */
            if (futex_wake(&q->lane[i].tokens, 1) > 0) return;
        }
        unmark(q, i);
    }
}

void efio_shq_signal(efio_shq_handle *h, uint32_t n)
{
    atomic_thread_fence(memory_order_seq_cst); /* partner: efio_shq_wait_message */
    while (n-- && atomic_load_explicit(&h->q->waiting, memory_order_relaxed)) signal_one(h);
}

/* --- consuming */

static bool has_message(efio_shq_handle *h, uint32_t lane, uint64_t tail)
{
    if ((int64_t)(h->head_seen[lane] - tail) > 0) return true;
    h->head_seen[lane] = atomic_load_explicit(&h->q->lane[lane].head, memory_order_acquire); /* partner: efio_shq_put */
    return (int64_t)(h->head_seen[lane] - tail) > 0;
}

int efio_shq_next(efio_shq_handle *h, efio_shq_item *item)
{
    uint64_t tail = atomic_load_explicit(&h->q->lane[item->lane].tail, memory_order_relaxed);
    if (!has_message(h, item->lane, tail)) return 0;
    uint8_t *base = data_of(h, item->lane);
    uint32_t at = (uint32_t)tail & (h->cap - 1), record[2];
    memcpy(record, base + at, HEAD);
    if (record[0] > efio_shq_max_message(h->cap) || RECORD(record[0]) > h->head_seen[item->lane] - tail)
        return -EBADMSG; /* whoever has the memory open can write anything into it */
    at = (at + HEAD) & (h->cap - 1);
    item->len = record[0];
    item->tag = record[1];
    item->n1 = item->len <= h->cap - at ? item->len : h->cap - at;
    item->p1 = base + at;
    item->p2 = base;
    return 1;
}

int efio_shq_claim(efio_shq_handle *h, efio_shq_item *item)
{
    efio_shq *q = h->q;
    bool busy = false;
    uint64_t active = atomic_load_explicit(&q->active, memory_order_relaxed);
    for (uint32_t k = 0; k < EFIO_PEERS; k++) {
        uint32_t i = (h->next + k) % EFIO_PEERS;
        if (!(active >> i)) { /* none up to the last one */
            k += EFIO_PEERS - 1 - i;
            continue;
        }
        if (!(active >> i & 1)) continue;
        efio_shq_lane *l = &q->lane[i];
        if (!has_message(h, i, atomic_load_explicit(&l->tail, memory_order_relaxed))) continue;
        efio_ident nobody = 0;
        if (atomic_load_explicit(&l->claim, memory_order_relaxed) ||
            !atomic_compare_exchange_strong_explicit(&l->claim, &nobody, h->self, memory_order_acquire,
                                                     memory_order_relaxed)) { /* partner: efio_shq_release */
            busy = true;
            continue;
        }
        item->lane = i;
        int r = efio_shq_next(h, item);
        if (r) {
            if (r < 0) efio_shq_release(h, i);
            h->next = (i + 1) % EFIO_PEERS;
            return r;
        }
        efio_shq_release(h, i); /* another one was faster */
    }
    return busy ? -EBUSY : 0;
}

void efio_shq_take(efio_shq_handle *h, const efio_shq_item *item)
{
    efio_shq_lane *l = &h->q->lane[item->lane];
    uint64_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);
    uint64_t gets = atomic_load_explicit(&l->gets, memory_order_relaxed);
    atomic_store_explicit(&l->gets, gets + 1, memory_order_relaxed);
    atomic_store_explicit(&l->tail, tail + RECORD(item->len), memory_order_release); /* partner: room() */
}

void efio_shq_release(efio_shq_handle *h, uint32_t lane)
{
    efio_shq_lane *l = &h->q->lane[lane];
    /* An exchange, for its barrier before the load. Partner: efio_shq_wait_room */
    atomic_exchange_explicit(&l->claim, 0, memory_order_seq_cst);
    uint32_t want = atomic_load_explicit(&l->room_want, memory_order_relaxed);
    if (!want) return;
    uint64_t used = atomic_load(&l->head) - atomic_load(&l->tail);
    if (h->cap - used < want && used) return;
    if (!atomic_compare_exchange_strong(&l->room_want, &want, 0)) return;
    atomic_fetch_add(&l->room, 1);
    futex_wake(&l->room, INT_MAX);
}

uint32_t efio_shq_mend(efio_shq_handle *h)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < EFIO_PEERS; i++) {
        efio_ident who = atomic_load(&h->q->lane[i].claim);
        if (who && who != h->self && efio_ident_is_dead(who) &&
            atomic_compare_exchange_strong(&h->q->lane[i].claim, &who, 0))
            n++;
    }
    return n;
}

bool efio_shq_ready(const efio_shq_handle *h)
{
    for (uint64_t active = atomic_load(&h->q->active); active; active &= active - 1) {
        efio_shq_lane *l = &h->q->lane[__builtin_ctzll(active)];
        if (atomic_load_explicit(&l->head, memory_order_relaxed) !=
            atomic_load_explicit(&l->tail, memory_order_relaxed))
            return true;
    }
    return false;
}

uint64_t efio_shq_size(const efio_shq *q)
{
    uint64_t n = 0;
    for (uint64_t active = atomic_load(&((efio_shq *)q)->active); active; active &= active - 1) {
        efio_shq_lane *l = (efio_shq_lane *)&q->lane[__builtin_ctzll(active)];
        uint64_t gets = atomic_load(&l->gets), puts = atomic_load(&l->puts);
        if (atomic_load(&l->head) != atomic_load(&l->tail)) n += puts > gets ? puts - gets : 1;
    }
    return n;
}

/* --- waiting */

static bool spin(efio_shq_handle *h, bool (*there)(efio_shq_handle *h, uint64_t n), uint64_t n)
{
    static _Atomic int cpus;
    int known = atomic_load_explicit(&cpus, memory_order_relaxed);
    if (!known) {
        cpu_set_t set;
        known = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
        atomic_store_explicit(&cpus, known, memory_order_relaxed);
    }
    if (known < 2) return there(h, n); /* nobody can do anything meanwhile */
    for (uint32_t k = 0; k < SPIN; k++) {
        if (there(h, n)) return true;
        efio_spin_hint();
    }
    return false;
}

static bool message_or_end(efio_shq_handle *h, uint64_t unused)
{
    (void)unused;
    return efio_shq_ready(h) || atomic_load_explicit(&h->q->ended, memory_order_relaxed);
}

static bool take_token(efio_shq_lane *l)
{
    uint32_t n = atomic_load(&l->tokens);
    while (n)
        if (atomic_compare_exchange_weak(&l->tokens, &n, n - 1)) return true;
    return false;
}

/* No longer a waiter. When a signal was on the way, it is used up: the caller looks once more in any case. */
static void withdraw(efio_shq_handle *h)
{
    efio_shq_lane *l = own(h);
    if (take_waiter(l)) {
        if (!atomic_load(&l->waiters)) unmark(h->q, h->lane);
        return;
    }
    for (int k = 0; k < 1000 && !take_token(l); k++) efio_spin_hint(); /* who gives it may be killed before */
}

bool efio_shq_wait_message(efio_shq_handle *h, uint64_t deadline)
{
    if (spin(h, message_or_end, 0)) return true;
    efio_shq_lane *l = own(h);
    atomic_fetch_add(&l->waiters, 1);
    for (;;) {
        atomic_fetch_or(&h->q->waiting, UINT64_C(1) << h->lane);
        atomic_thread_fence(memory_order_seq_cst); /* partner: efio_shq_signal */
        if (message_or_end(h, 0)) break;
        if (take_token(l)) return true;
        uint64_t now = efio_now_ns();
        if (now >= deadline) {
            withdraw(h);
            return false;
        }
        uint64_t until = deadline - now < EFIO_SHQ_RECHECK_NS ? deadline : now + EFIO_SHQ_RECHECK_NS;
        if (!futex_wait(&l->tokens, 0, until)) {
            withdraw(h);
            return false;
        }
        if (take_token(l)) return true;
    }
    withdraw(h);
    return true;
}

static bool room_or_end(efio_shq_handle *h, uint64_t bytes)
{
    efio_shq_lane *l = own(h); /* not room(): other threads may be at tail_seen */
    uint64_t used =
        atomic_load_explicit(&l->head, memory_order_relaxed) - atomic_load_explicit(&l->tail, memory_order_acquire);
    return h->cap - used >= bytes || atomic_load_explicit(&h->q->ended, memory_order_relaxed);
}

bool efio_shq_wait_room(efio_shq_handle *h, uint32_t len, uint64_t deadline)
{
    uint64_t bytes = RECORD(len);
    if (spin(h, room_or_end, bytes)) return true;
    efio_shq_lane *l = own(h);
    /* A quarter at least: not one wake-up for each message. */
    uint32_t want = bytes > h->cap / 4 ? (uint32_t)bytes : h->cap / 4;
    for (;;) {
        uint32_t turn = atomic_load(&l->room);
        atomic_store(&l->room_want, want);
        atomic_thread_fence(memory_order_seq_cst); /* partner: efio_shq_release */
        if (room_or_end(h, bytes)) return true;
        uint64_t now = efio_now_ns();
        if (now >= deadline) return false;
        uint64_t until = deadline - now < EFIO_SHQ_RECHECK_NS ? deadline : now + EFIO_SHQ_RECHECK_NS;
        if (!futex_wait(&l->room, turn, until)) return false;
        if (room_or_end(h, bytes)) return true;
    }
}

void efio_shq_wait_claim(efio_shq_handle *h, uint32_t turn)
{
    if (turn < 64) {
        for (int k = 0; k < 20; k++) efio_spin_hint();
    } else if (turn < 80) {
        sched_yield();
    } else {
        if (turn % 16 == 0) efio_shq_mend(h);
        struct timespec t = {0, 100000};
        nanosleep(&t, NULL);
    }
}

void efio_shq_end(efio_shq_handle *h, uint32_t how)
{
    uint32_t was = atomic_load(&h->q->ended);
    while (was < how && !atomic_compare_exchange_weak(&h->q->ended, &was, how)) {}
    for (uint32_t i = 0; i < EFIO_PEERS; i++) {
        efio_shq_lane *l = &h->q->lane[i];
        while (take_waiter(l)) {
            atomic_fetch_add(&l->tokens, 1);
            futex_wake(&l->tokens, 1);
        }
        atomic_fetch_add(&l->room, 1);
        futex_wake(&l->room, INT_MAX);
    }
}

void efio_shq_nudge(efio_shq_handle *h)
{
    efio_shq_lane *l = own(h);
    while (take_waiter(l)) {
        atomic_fetch_add(&l->tokens, 1);
        futex_wake(&l->tokens, 1);
    }
    atomic_fetch_add(&l->room, 1);
    futex_wake(&l->room, INT_MAX);
}
