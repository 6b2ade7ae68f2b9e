/* Workers come, drain and die; what they send back is collected here.
 *
 * The supervisor writes a slot's state and rings every I/O thread; each thread acts and acknowledges, so the supervisor
 * knows when nobody will touch a dead worker's rings any more. A predecessor of this gateway process may have been
 * killed at any instruction: ev_workers_takeover makes rings and slabs consistent again. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"

#define COLLECT_BATCH 512 /* messages of one worker per call: sockets get their turn too */
#define MOST_CRASHES  2   /* a request that was there at so many crashes may be their cause: no third worker for it */
#define MOST_TRIES    64  /* ... at so many deaths of any kind: an end must be, also where kills do not cease */

static bool owned_by(uint64_t cookie, uint32_t w)
{
    return efio_cookie_state(cookie) == EFIO_SLAB_CLAIMED && ev_cookie_worker(cookie) == w;
}

static void message(ev_engine *e, uint32_t w, uint64_t m)
{
    uint32_t i = ev_msg_slab(m), type = ev_msg_type(m);
    if (type == EV_MSG_NOP) return;
    if (i - e->slab_base >= e->n_slabs) {
        ev_count(&e->cnt->stale, 1);
        return;
    }
    ev_slab *s = ev_slab_at(e->seg, i);
    uint64_t cookie = atomic_load_explicit(&s->cookie, memory_order_acquire);
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    if (efio_cookie_generation(cookie) != ev_msg_gen(m) || !owned_by(cookie, w) || p->worker_done) {
        ev_count(&e->cnt->stale, 1); /* an answer to a request that is no more: never delivered to another */
        return;
    }
    if (type == EV_MSG_FINAL) {
        /* Taken back in the segment: a successor of this process must not wait for a FINAL that was here already. */
        if ((atomic_load(&s->out_flags) & EV_OUT_FILE) && !p->file_fd)
            ev_receive_files(e, ev_worker_at(e->seg, w)->fd_gateway[e->io]);
        efio_slab_reclaim(&s->cookie, efio_cookie_owner(cookie));
        p->worker_done = p->finished = true;
        if (!p->conn) {
            ev_slab_release(e, i);
            return;
        }
    } else {
        /* cleared before looking, so that what the worker writes after our look notifies again */
        atomic_exchange(&s->out_pending, 0);
    }
    if (!p->conn) return;
    ev_conn *c = p->conn;
    if (c->body && c->body->streaming) ev_conn_want_body(e, c);
    if (c->state == EV_C_BUSY && c->slab == i) ev_output(e, c);
}

int ev_workers_collect(ev_engine *e)
{
    int n = 0;
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        uint32_t state = e->workers[w].seen & 15;
        if (state != EV_WORKER_READY && state != EV_WORKER_DRAINING) continue;
        efio_ring *r = ev_resp_ring(e->seg, w, e->io);
        uint64_t m;
        /* Acted upon, then taken: killed in between, we leave it to our successor. Nobody else takes from this ring. */
        for (int k = 0; k < COLLECT_BATCH && efio_ring_peek(r, atomic_load(&r->head), &m); k++, n++) {
            message(e, w, m);
            efio_ring_pop(r, &m);
        }
    }
    return n;
}

bool ev_workers_ready(ev_engine *e)
{
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        uint32_t state = e->workers[w].seen & 15;
        if ((state == EV_WORKER_READY || state == EV_WORKER_DRAINING) &&
            efio_ring_ready(ev_resp_ring(e->seg, w, e->io)))
            return true;
    }
    return false;
}

/* Takes back what lies unclaimed in a worker's ring. Oldest first in the ring, so re-queued newest first at the front.
 */
static void recall_ring(ev_engine *e, uint32_t w)
{
    efio_ring *r = ev_req_ring(e->seg, w, e->io);
    uint64_t list[4096], m;
    uint32_t n = 0;
    while (n < 4096 && efio_ring_pop(r, &m)) list[n++] = m;
    while (n--) {
        uint32_t i = ev_msg_slab(list[n]);
        if (i - e->slab_base >= e->n_slabs) continue;
        ev_slab *s = ev_slab_at(e->seg, i);
        uint64_t c = atomic_load_explicit(&s->cookie, memory_order_relaxed);
        if (efio_cookie_generation(c) != ev_msg_gen(list[n]) || efio_cookie_state(c) != EFIO_SLAB_OFFERED) continue;
        if (ev_recall(e, i)) ev_dispatch_requeue(e, i);
    }
}

static bool replayable(const ev_slab *s)
{
    return ev_method_is_idempotent(s->head.method) && s->crashes < MOST_CRASHES && s->tries < MOST_TRIES &&
           (s->body_whole || s->head.body == EV_BODY_NONE);
}

static void run_again(ev_engine *e, uint32_t i)
{
    ev_slab *s = ev_slab_at(e->seg, i);
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    uint64_t len = s->body_whole ? s->body_len : 0;
    efio_bytering_reset(&s->in);
    efio_bytering_wrote(&s->in, (uint32_t)len);
    if (p->file_fd) close(p->file_fd - 1); /* of an answer that was never finished */
    p->file_fd = 0;
    ev_dispatch_prepare(s);
    ev_count(&e->cnt->retried, 1);
    ev_dispatch_requeue(e, i);
}

static void reclaim(ev_engine *e, uint32_t w)
{
    bool killed = atomic_load(&ev_worker_at(e->seg, w)->killed);
    for (uint32_t k = 0; k < e->n_slabs; k++) {
        uint32_t i = e->slab_base + k;
        ev_slab *s = ev_slab_at(e->seg, i);
        ev_slab_priv *p = &e->priv[k];
        uint64_t cookie = atomic_load_explicit(&s->cookie, memory_order_acquire);
        if (!owned_by(cookie, w) || p->worker_done) continue;
        p->worker_done = true;
        efio_slab_reclaim(&s->cookie, efio_cookie_owner(cookie));
        if (!killed) s->crashes++;
        ev_conn *c = p->conn;
        if (!c) {
            ev_slab_release(e, i);
        } else if (atomic_load(&s->out_flags) & EV_OUT_END) {
            p->finished = true;
            ev_output(e, c); /* the answer is whole, only its announcement died */
        } else if (c->answered) {
            ev_conn_close(e, c);
        } else if (replayable(s)) {
            run_again(e, i);
        } else {
            ev_settle(c, &e->cnt->failed);
            ev_respond(e, c, 502, "the worker that had this request died", c->body != NULL);
            ev_orphan(e, c, 0);
        }
    }
}

static void worker_died(ev_engine *e, uint32_t w)
{
    uint64_t m;
    int fd = ev_worker_at(e->seg, w)->fd_gateway[e->io];
    if (fd >= 0) ev_receive_files(e, fd); /* while the slabs still say whose they are; what is nobody's is closed */
    efio_ring *r = ev_resp_ring(e->seg, w, e->io);
    while (efio_ring_salvage(r, &m)) message(e, w, m);
    recall_ring(e, w);
    reclaim(e, w);
    ev_pair_init(e->seg, w, e->io);
    e->workers[w].pend_wake = 0;
}

void ev_workers_scan(ev_engine *e)
{
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        ev_worker_slot *slot = ev_worker_at(e->seg, w);
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        uint32_t now = atomic_load_explicit(&slot->generation, memory_order_relaxed) << 4 | state;
        if (now == e->workers[w].seen) continue;
        uint32_t before = e->workers[w].seen & 15;
        e->workers[w].seen = now;
        if (state == EV_WORKER_DEAD && before != EV_WORKER_DEAD) worker_died(e, w);
        if (state == EV_WORKER_DRAINING) recall_ring(e, w);
        atomic_store_explicit(&slot->acked[e->io], now, memory_order_release);
    }
}

/* Passed descriptors carry the message word of the slab that they belong to. */
void ev_receive_files(ev_engine *e, int sock)
{
    for (;;) {
        uint64_t m = 0;
        char control[CMSG_SPACE(sizeof(int))] = {0};
        struct iovec iov = {&m, sizeof m};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        int fd = -1;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(h), sizeof fd);
        if (fd < 0) continue;
        uint32_t i = ev_msg_slab(m);
        bool known = n == sizeof m && i - e->slab_base < e->n_slabs;
        uint64_t cookie = known ? atomic_load(&ev_slab_at(e->seg, i)->cookie) : 0;
        if (known && efio_cookie_generation(cookie) == ev_msg_gen(m) &&
            efio_cookie_state(cookie) == EFIO_SLAB_CLAIMED && !e->priv[i - e->slab_base].file_fd)
            e->priv[i - e->slab_base].file_fd = fd + 1;
        else
            close(fd);
    }
}

void ev_workers_takeover(ev_engine *e)
{
    if (atomic_load(&e->hdr->gateway_epoch) <= 1) { /* the first one: nothing to take over, no page to touch */
        while (e->n_free < e->n_slabs) {
            e->free_slabs[e->n_free] = e->slab_base + e->n_slabs - 1 - e->n_free;
            e->n_free++;
        }
        return;
    }
    ev_counters *k = e->cnt;
    uint64_t settled = k->answered + k->failed + k->expired + k->shed + k->recalled + k->aborted + k->refused + k->lost;
    if (k->requests > settled) ev_count(&k->lost, k->requests - settled);
    atomic_store(&k->connections_open, 0);
    atomic_store(&k->buffered, 0);
    atomic_store(&k->queue_len, 0);
    e->n_free = 0;
    for (uint32_t n = e->n_slabs; n-- > 0;) {
        uint32_t i = e->slab_base + n;
        ev_slab *s = ev_slab_at(e->seg, i);
        uint64_t cookie = atomic_load(&s->cookie);
        ev_slab_priv *p = &e->priv[n];
        p->conn = NULL;
        if (efio_cookie_state(cookie) == EFIO_SLAB_OFFERED) {
            p->worker_done = true;
            ev_recall(e, i);
            cookie = atomic_load(&s->cookie); /* recalled, or claimed the moment before */
        }
        if (efio_cookie_state(cookie) == EFIO_SLAB_CLAIMED) {
            p->worker_done = false; /* an orphan: freed by the worker's FINAL or its death */
            atomic_fetch_or(&s->gone, EV_GONE_CLIENT | EV_GONE_DEAD);
        } else if (efio_cookie_state(cookie) == EFIO_SLAB_FREE) {
            e->free_slabs[e->n_free++] = i;
        } else {
            p->worker_done = true;
            ev_slab_release(e, i);
        }
    }
    atomic_store(&k->slabs_used, e->n_slabs - e->n_free);
    for (uint32_t w = 0; w < e->hdr->slots; w++) {
        uint32_t state = atomic_load(&ev_worker_at(e->seg, w)->state);
        e->workers[w].seen = 0; /* the scan that follows acts upon whatever it finds */
        if (state == EV_WORKER_EMPTY) continue;
        /* The dead gateway was the only producer of these, and the only consumer of the return ring. A message that it
         * took and may not have acted upon is acted upon now: twice does no harm, the generation tells. */
        uint64_t nothing = ev_msg(EV_MSG_NOP, 0, 0), m;
        efio_ring_mend_producer(ev_req_ring(e->seg, w, e->io), nothing);
        for (uint32_t t = 0; t < e->hdr->threads; t++)
            efio_ring_mend_producer(ev_ctl_ring(e->seg, w, e->io, t), nothing);
        if (efio_ring_mend_consumer(ev_resp_ring(e->seg, w, e->io), &m)) message(e, w, m);
        /* it may have died between a push and its ring */
        for (uint32_t t = 0; t < e->hdr->threads; t++) efio_wake_ring(&ev_worker_at(e->seg, w)->thread[t].wake);
    }
    for (uint32_t k2 = 0; k2 < e->n_slabs; k2++)
        if (efio_cookie_state(atomic_load(&ev_slab_at(e->seg, e->slab_base + k2)->cookie)) == EFIO_SLAB_CLAIMED)
            ev_notify_worker(e, e->slab_base + k2);
}
