/* The central queue, where requests wait for a worker that has credit: in the order of their arrival, but those that
 * are likely to burn CPU (costs.h) also wait for a core. There are no more of them in work than the server may use
 * cores, or has threads: more would be ready no sooner, and each would keep an interpreter from all the others.
 *
 * This is centralised first-come-first-served scheduling with short requests let past the long ones that find all
 * their cores taken, by costs that are learnt per kind of request, as in Persephone (Demoulin et al., "When Idling is
 * Ideal", SOSP 2021); but without cores set apart, so that costly requests alone may use them all. */
#include <stdlib.h>

#include "engine.h"

/* A costly request that keeps its thread for so many times what its kind has cost before counts no more: whatever it
 * does (it may hang), the others are not to wait for it for ever. */
#define OVERDUE 8u
/* While every thread has requests that wait for something, a costly one is held back for this part of what it is likely
 * to take: they would wait for all of it, and most are over sooner. */
#define HELD_BACK 8u

bool ev_queue_open(ev_engine *e)
{
    e->central_cap = efio_pow2_at_least(e->n_slabs * 2);
    e->costly = calloc(e->n_slabs, sizeof *e->costly);
    for (int k = 0; k < 2; k++) e->central[k].entry = calloc(e->central_cap, sizeof *e->central[k].entry);
    return e->costly && e->central[0].entry && e->central[1].entry;
}

void ev_queue_close(ev_engine *e)
{
    free(e->costly);
    e->costly = NULL;
    for (int k = 0; k < 2; k++) {
        free(e->central[k].entry);
        e->central[k].entry = NULL;
    }
}

static ev_queue *queue_of(ev_engine *e, uint32_t i)
{
    return &e->central[ev_slab_at(e->seg, i)->cost != 0];
}

static void show_length(ev_engine *e)
{
    uint64_t n = (uint64_t)e->central[0].live + e->central[1].live;
    atomic_store_explicit(&e->cnt->queue_len, n, memory_order_relaxed);
    if (n > atomic_load_explicit(&e->cnt->queue_max, memory_order_relaxed))
        atomic_store_explicit(&e->cnt->queue_max, n, memory_order_relaxed);
}

bool ev_queue_is_full(ev_engine *e, uint32_t i)
{
    return queue_of(e, i)->live >= e->hdr->queue_limit;
}

static bool is_stale(ev_engine *e, uint64_t v)
{
    uint32_t i = (uint32_t)v;
    uint64_t c = atomic_load_explicit(&ev_slab_at(e->seg, i)->cookie, memory_order_relaxed);
    return efio_cookie_generation(c) != (uint32_t)(v >> 32) || !e->priv[i - e->slab_base].queued;
}

/* Stale entries (recalled while queued) are squeezed out when they fill the queue. */
static void compact(ev_engine *e, ev_queue *q)
{
    uint32_t mask = e->central_cap - 1, to = q->head;
    for (uint32_t at = q->head; at != q->tail; at++)
        if (!is_stale(e, q->entry[at & mask])) q->entry[to++ & mask] = q->entry[at & mask];
    q->tail = to;
}

void ev_queue_put(ev_engine *e, uint32_t i, bool front)
{
    ev_queue *q = queue_of(e, i);
    if (q->tail - q->head >= e->central_cap) compact(e, q);
    uint32_t gen = efio_cookie_generation(atomic_load_explicit(&ev_slab_at(e->seg, i)->cookie, memory_order_relaxed));
    uint64_t v = (uint64_t)gen << 32 | i;
    uint32_t mask = e->central_cap - 1;
    if (front)
        q->entry[--q->head & mask] = v;
    else
        q->entry[q->tail++ & mask] = v;
    e->priv[i - e->slab_base].queued = true;
    q->live++;
    show_length(e);
}

void ev_queue_forget(ev_engine *e, uint32_t i)
{
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    if (!p->queued) return;
    p->queued = false;
    queue_of(e, i)->live--;
    show_length(e);
}

static bool is_offered(ev_engine *e, uint64_t v)
{
    uint64_t c = atomic_load_explicit(&ev_slab_at(e->seg, (uint32_t)v)->cookie, memory_order_relaxed);
    return c == efio_cookie_make((uint32_t)(v >> 32), 0, EFIO_SLAB_OFFERED);
}

static bool is_at_a_costly_one(ev_engine *e, ev_thread_slot *th)
{
    uint64_t cost = atomic_load_explicit(&th->cost, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&th->current_since_ns, memory_order_relaxed);
    return cost && e->now_ns < since + cost * 1000 * OVERDUE;
}

/* Whether one more costly request may go to the workers. */
static bool has_core(ev_engine *e)
{
    uint32_t n = 0, threads = 0;
    for (uint32_t k = 0; k < e->n_costly; k++)
        if (is_offered(e, e->costly[k])) e->costly[n++] = e->costly[k];
    e->n_costly = n;
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        if (!ev_worker_serves(e, w)) continue;
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        threads += atomic_load_explicit(&slot->threads, memory_order_relaxed);
        for (uint32_t t = 0; t < e->hdr->threads; t++) n += is_at_a_costly_one(e, &slot->thread[t]);
    }
    return n < e->hdr->cores && n < threads;
}

/* A thread in which no request waits for something, in a process that is not at something costly. */
static bool has_free_thread(ev_engine *e)
{
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        if (!ev_worker_serves(e, w)) continue;
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        bool free = false, burning = false;
        for (uint32_t t = 0; t < e->hdr->threads; t++) {
            ev_thread_slot *th = &slot->thread[t];
            if (atomic_load_explicit(&th->state, memory_order_relaxed) != EV_THREAD_RUNNING) continue;
            burning |= ev_thread_is_burning(e, th);
            free |= !ev_thread_has_requests(th);
        }
        if (free && !burning) return true;
    }
    return false;
}

/* Whether it is time for this costly request. */
static bool may_begin(ev_engine *e, uint32_t i)
{
    if (!has_core(e)) {
        e->core_since_ns = 0;
        return false;
    }
    if (!e->core_since_ns) e->core_since_ns = e->now_ns;
    uint64_t cost = (uint64_t)ev_slab_at(e->seg, i)->cost * 1000;
    return has_free_thread(e) || e->now_ns >= e->core_since_ns + cost / HELD_BACK;
}

static bool first(ev_engine *e, ev_queue *q, uint32_t *i)
{
    uint32_t mask = e->central_cap - 1;
    while (q->head != q->tail && is_stale(e, q->entry[q->head & mask])) q->head++;
    if (q->head == q->tail) return false;
    *i = (uint32_t)q->entry[q->head & mask];
    return true;
}

bool ev_queue_next(ev_engine *e, bool *core, uint32_t *i)
{
    uint32_t costly;
    bool any = first(e, &e->central[0], i);
    if (!first(e, &e->central[1], &costly)) return any;
    if (any && ev_slab_at(e->seg, *i)->arrival_ns <= ev_slab_at(e->seg, costly)->arrival_ns) return true;
    *core = *core && may_begin(e, costly);
    if (*core) *i = costly;
    return any || *core;
}

void ev_queue_take(ev_engine *e, uint32_t i)
{
    ev_queue *q = queue_of(e, i);
    uint64_t v = q->entry[q->head++ & (e->central_cap - 1)];
    ev_queue_forget(e, i);
    if (q != &e->central[1]) return;
    e->costly[e->n_costly++] = v;
    e->core_since_ns = 0;
}

bool ev_queue_waits_for_core(const ev_engine *e)
{
    return e->central[1].live != 0;
}
