/* Slabs, credit, recall: which request goes where, and when.
 *
 * A request waits in the central queue (queue.c) until some worker has credit: fewer than `depth` unclaimed entries in
 * its ring and fewer than `concurrency` requests per scheduler thread in work. A worker with a sleeping thread that has
 * nothing to do comes first, then one whose sleeping threads have requests that wait for something (should the next one
 * burn CPU, they would wait for it, too), then one that is awake and not burning CPU, and among equals the one with the
 * least to do. What lies in the ring of a worker that turns out to be busy is stolen by the next one that comes round,
 * and ev_stall_check wakes a sleeper for it when nobody does so by himself. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

#define FAT_BYTES 32768u /* a window that was used beyond this keeps many pages */
#define FAT_KEPT  12u    /* free slabs that may keep theirs (up to 1.25 MiB each), for the next large request */

uint32_t ev_slab_alloc(ev_engine *e)
{
    if (!e->n_free) return EV_NO_SLAB;
    uint32_t i = e->free_slabs[--e->n_free];
    ev_slab *s = ev_slab_at(e->seg, i);
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    efio_slab_hold(&s->cookie);
    p->conn = NULL;
    p->worker_done = true;
    p->queued = p->finished = p->fetching = p->fetched = false;
    s->tries = s->crashes = 0;
    uint64_t used = e->n_slabs - e->n_free;
    atomic_store_explicit(&e->cnt->slabs_used, used, memory_order_relaxed);
    if (used > atomic_load_explicit(&e->cnt->slabs_max, memory_order_relaxed))
        atomic_store_explicit(&e->cnt->slabs_max, used, memory_order_relaxed);
    if (p->fat) {
        p->fat = false;
        e->fat_free--;
    }
    return i;
}

/* Page-aligned middle of a range back to the kernel. */
static void give_back(uint8_t *from, uint8_t *to)
{
    uintptr_t a = ((uintptr_t)from + 4095) & ~(uintptr_t)4095, b = (uintptr_t)to & ~(uintptr_t)4095;
    if (b > a) madvise((void *)a, b - a, MADV_REMOVE); /* shared memory: the file's pages, not only our mapping */
}

void ev_slab_release(ev_engine *e, uint32_t i)
{
    ev_slab *s = ev_slab_at(e->seg, i);
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    bool fat = atomic_load_explicit(&s->in.head, memory_order_relaxed) > FAT_BYTES ||
               atomic_load_explicit(&s->out.head, memory_order_relaxed) > FAT_BYTES;
    if (fat && e->fat_free < FAT_KEPT) {
        p->fat = true;
        e->fat_free++;
    } else if (fat) {
        give_back(ev_slab_in(e->seg, i) + FAT_BYTES, ev_slab_in(e->seg, i) + EV_IN_CAP);
        give_back(ev_slab_out(e->seg, i) + FAT_BYTES, ev_slab_out(e->seg, i) + EV_OUT_CAP);
    }
    efio_bytering_reset(&s->in); /* a slab that is used without a body keeps no trace of the last one */
    efio_bytering_reset(&s->out);
    if (p->file_fd) {
        close(p->file_fd - 1);
        p->file_fd = 0;
    }
    ev_queue_forget(e, i);
    p->conn = NULL;
    efio_slab_free(&s->cookie);
    e->free_slabs[e->n_free++] = i;
    atomic_store_explicit(&e->cnt->slabs_used, e->n_slabs - e->n_free, memory_order_relaxed);
}

/* Makes the descriptor fresh for a (first or second) hand-over; the request part stays. */
void ev_dispatch_prepare(ev_slab *s)
{
    atomic_store_explicit(&s->gone, 0, memory_order_relaxed);
    atomic_store_explicit(&s->in_wanted, 0, memory_order_relaxed);
    atomic_store_explicit(&s->in_paused, 0, memory_order_relaxed);
    atomic_store_explicit(&s->ctl_pending, 0, memory_order_relaxed);
    efio_bytering_reset(&s->out);
    atomic_store_explicit(&s->out_flags, 0, memory_order_relaxed);
    atomic_store_explicit(&s->out_wanted, 0, memory_order_relaxed);
    atomic_store_explicit(&s->out_pending, 0, memory_order_relaxed);
    s->status = 0;
    s->out_body = 0;
    s->file_left = 0;
    s->tries++;
}

/* What its kind has cost before. */
static void estimate(ev_engine *e, ev_slab *s, uint32_t i)
{
    s->kind = s->cost = 0;
    if (!e->hdr->costly) return;
    s->kind = ev_cost_kind(s->head.method, ev_slab_head(e->seg, i) + s->head.path_off, s->head.path_len);
    s->cost = ev_cost_of(&e->hdr->costs, s->kind, e->hdr->costly);
    if (s->cost) ev_count(&e->cnt->costly, 1);
}

bool ev_dispatch_enqueue(ev_engine *e, ev_conn *c, uint32_t i)
{
    ev_slab *s = ev_slab_at(e->seg, i);
    estimate(e, s, i);
    if (ev_queue_is_full(e, i)) ev_dispatch(e);
    if (ev_queue_is_full(e, i)) return false;
    ev_dispatch_prepare(s);
    e->priv[i - e->slab_base].conn = c;
    c->slab = i;
    ev_queue_put(e, i, false);
    return true;
}

void ev_dispatch_requeue(ev_engine *e, uint32_t i)
{
    e->priv[i - e->slab_base].worker_done = true;
    ev_queue_put(e, i, true);
}

static uint32_t sleeping_threads(ev_engine *e, ev_worker_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < e->hdr->threads; t++)
        n += atomic_load_explicit(&slot->thread[t].state, memory_order_relaxed) == EV_THREAD_RUNNING &&
             efio_wake_is_sleeping(&slot->thread[t].wake);
    return n;
}

static uint32_t active_requests(ev_engine *e, ev_worker_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < e->hdr->threads; t++)
        n += atomic_load_explicit(&slot->thread[t].active, memory_order_relaxed);
    return n;
}

typedef struct {
    uint32_t idle, sleeping;  /* threads: asleep without requests of their own; all that are asleep */
    uint32_t burning, coming; /* awake, but for long in Python; awake otherwise */
    uint32_t free;            /* idle, or coming without requests of its own */
} ev_crew;

static ev_crew crew_of(ev_engine *e, ev_worker_slot *slot)
{
    ev_crew crew = {0};
    for (uint32_t t = 0; t < e->hdr->threads; t++) {
        ev_thread_slot *th = &slot->thread[t];
        if (atomic_load_explicit(&th->state, memory_order_relaxed) != EV_THREAD_RUNNING) continue;
        if (efio_wake_is_sleeping(&th->wake)) {
            crew.sleeping++;
            crew.idle += !ev_thread_has_requests(th);
        } else if (ev_thread_is_burning(e, th)) {
            crew.burning++;
        } else {
            crew.coming++;
            crew.free += !ev_thread_has_requests(th);
        }
    }
    crew.free += crew.idle;
    return crew;
}

/* How soon a worker can begin a request, and who suffers when that takes long: a process that sleeps at once, and
 * nobody if one of its threads is IDLE; one that is awake when it comes round; one with a burning thread when another
 * of its threads gets the interpreter lock; one whose threads all burn at the end of that. */
enum { IDLE, WAITING, AWAKE, SHARED, BURNING };

static unsigned readiness(ev_crew crew, uint32_t owed)
{
    if (crew.burning) return crew.sleeping > owed || crew.coming ? SHARED : BURNING;
    if (crew.coming || owed) return AWAKE;
    return crew.idle ? IDLE : WAITING;
}

/* For a costly request it matters more that nothing waits in the thread that takes it. */
static unsigned readiness_for_costly(ev_crew crew, uint32_t owed)
{
    if (crew.burning) return readiness(crew, owed);
    return !crew.free ? AWAKE : crew.coming || owed ? WAITING : IDLE;
}

/* The worker to get the next request, or -1. */
static int pick(ev_engine *e, bool costly)
{
    int best = -1;
    uint64_t best_score = UINT64_MAX;
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        if (!ev_worker_serves(e, w)) continue;
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        uint32_t waiting = efio_ring_size(ev_req_ring(e->seg, w, e->io));
        if (waiting >= e->hdr->depth) continue;
        uint32_t active = active_requests(e, slot);
        uint32_t threads = atomic_load_explicit(&slot->threads, memory_order_relaxed);
        if (active + waiting >= e->hdr->concurrency * (threads ? threads : 1)) continue;
        uint64_t score = active + waiting;
        ev_crew crew = crew_of(e, slot);
        uint32_t owed = e->workers[w].pend_wake;
        score += (uint64_t)(costly ? readiness_for_costly(crew, owed) : readiness(crew, owed)) << 32;
        if (score < best_score) {
            best_score = score;
            best = (int)w;
        }
    }
    return best;
}

void ev_dispatch(ev_engine *e)
{
    uint32_t i;
    bool core = true;
    while (ev_queue_next(e, &core, &i)) {
        int w = pick(e, ev_slab_at(e->seg, i)->cost != 0);
        if (w < 0) break;
        ev_queue_take(e, i);
        ev_slab *s = ev_slab_at(e->seg, i);
        uint32_t gen = efio_cookie_generation(atomic_load_explicit(&s->cookie, memory_order_relaxed));
        e->priv[i - e->slab_base].worker_done = false;
        efio_slab_offer(&s->cookie);
        if (!efio_ring_push(ev_req_ring(e->seg, (uint32_t)w, e->io), ev_msg(EV_MSG_REQUEST, i, gen))) {
            /* cannot be: pick looked; kept as a guard against a corrupted ring */
            efio_slab_recall(&s->cookie);
            ev_dispatch_requeue(e, i);
            break;
        }
        e->workers[w].pend_wake++;
        e->workers[w].last_head =
            atomic_load_explicit(&ev_req_ring(e->seg, (uint32_t)w, e->io)->head, memory_order_relaxed);
    }
    if (ev_queue_waits_for_core(e) && !e->stall_ns) e->stall_ns = e->now_ns + EV_STALL_NS;
}

static bool wake_first(ev_engine *e, ev_worker_slot *slot, bool with_requests)
{
    for (uint32_t t = 0; t < e->hdr->threads; t++) {
        ev_thread_slot *th = &slot->thread[t];
        if (atomic_load_explicit(&th->state, memory_order_relaxed) != EV_THREAD_RUNNING) continue;
        if (ev_thread_has_requests(th) == with_requests && efio_wake_notify(&th->wake)) return true;
    }
    return false;
}

/* A thread that burns CPU keeps those of its requests waiting that wait for something: it had better have none. */
static bool wake_one(ev_engine *e, ev_worker_slot *slot)
{
    return wake_first(e, slot, false) || wake_first(e, slot, true);
}

/* One thread for each worker, and none where one is coming round anyway: two threads that share the interpreter lock
 * are no faster than one, and each hand-over of the lock costs. If the one that is awake turns out to burn CPU, the
 * stall check wakes another one. */
void ev_dispatch_flush_wakes(ev_engine *e)
{
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        if (!e->workers[w].pend_wake) continue;
        e->workers[w].pend_wake = 0;
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        atomic_thread_fence(memory_order_seq_cst); /* partner: efio_wake_prepare */
        if (!crew_of(e, slot).coming && wake_one(e, slot)) ev_count(&e->cnt->wakes, 1);
        if (!e->stall_ns) e->stall_ns = e->now_ns + EV_STALL_NS;
    }
}

bool ev_recall(ev_engine *e, uint32_t i)
{
    ev_slab *s = ev_slab_at(e->seg, i);
    if (efio_cookie_state(atomic_load_explicit(&s->cookie, memory_order_relaxed)) == EFIO_SLAB_HELD)
        return !e->priv[i - e->slab_base].finished;
    if (!efio_slab_recall(&s->cookie)) return false;
    e->priv[i - e->slab_base].worker_done = true;
    return true;
}

void ev_notify_worker(ev_engine *e, uint32_t i)
{
    ev_slab *s = ev_slab_at(e->seg, i);
    uint64_t c = atomic_load_explicit(&s->cookie, memory_order_acquire);
    if (efio_cookie_state(c) != EFIO_SLAB_CLAIMED) return; /* whoever claims it reads the flags then */
    if (atomic_exchange(&s->ctl_pending, 1)) return;
    uint32_t w = ev_cookie_worker(c), t = ev_cookie_thread(c);
    if (w >= e->hdr->slots || t >= e->hdr->threads) return;
    ev_thread_slot *thread = &ev_worker_at(e->seg, w)->thread[t];
    if (!efio_ring_push(ev_ctl_ring(e->seg, w, e->io, t), ev_msg(EV_MSG_NOTIFY, i, efio_cookie_generation(c))))
        atomic_store(&thread->ctl_overflow, 1); /* it then looks at all it has */
    efio_wake_notify(&thread->wake);
}

void ev_orphan(ev_engine *e, ev_conn *c, uint32_t gone)
{
    uint32_t i = c->slab;
    if (i == EV_NO_SLAB) return;
    c->slab = EV_NO_SLAB;
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    if (p->worker_done) {
        ev_slab_release(e, i);
        return;
    }
    p->conn = NULL;
    ev_slab *s = ev_slab_at(e->seg, i);
    atomic_fetch_or(&s->gone, gone | EV_GONE_DEAD);
    ev_notify_worker(e, i);
}

bool ev_stall_check(ev_engine *e)
{
    bool again = ev_queue_waits_for_core(e); /* that one is free is not always told: its request may wait now */
    uint32_t stalled = 0;
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        if (!ev_worker_serves(e, w)) continue;
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        efio_ring *r = ev_req_ring(e->seg, w, e->io);
        bool stands = false;
        if (efio_ring_size(r)) {
            uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
            stands = head == e->workers[w].last_head;
            if (stands) stalled += efio_ring_size(r);
            e->workers[w].last_head = head;
            again = true;
        }
        if (stands)
            atomic_fetch_or_explicit(&slot->stalled, 1u << e->io, memory_order_relaxed);
        else if (atomic_load_explicit(&slot->stalled, memory_order_relaxed) & 1u << e->io)
            atomic_fetch_and_explicit(&slot->stalled, ~(1u << e->io), memory_order_relaxed);
        if (active_requests(e, slot) &&
            sleeping_threads(e, slot) < atomic_load_explicit(&slot->threads, memory_order_relaxed))
            again = true; /* awake: may hold back finished answers until its pass is over */
    }
    atomic_thread_fence(memory_order_seq_cst); /* partner: efio_wake_prepare; the thief's look comes after it */
    static const unsigned order[] = {IDLE, WAITING, SHARED}; /* who is awake comes round and steals by himself */
    for (unsigned k = 0; k < sizeof order / sizeof *order; k++)
        for (uint32_t w = 0; stalled && w < e->hdr->slots; w++) {
            ev_worker_slot *slot = ev_worker_at(e->seg, w);
            if (!ev_worker_serves(e, w)) continue;
            while (stalled && readiness(crew_of(e, slot), 0) == order[k] && wake_one(e, slot)) {
                ev_count(&e->cnt->steal_wakes, 1);
                stalled--;
            }
        }
    return again;
}
