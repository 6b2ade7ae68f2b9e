/* A gateway engine and workers in one thread: every interleaving is the test's own choice.
 *
 * The engine is turned by hand, a "worker" is an ev_sched that claims when the test says so, clients are sockets on
 * loopback. Nothing runs by itself, so tests neither sleep nor race. */
#ifndef EVPY_ENGINE_RIG_H
#define EVPY_ENGINE_RIG_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "evpy/gateway/engine.h"
#include "evpy/native/shared.h"
#include "evpy/native/worker.h"
#include "tests/native/check.h"

#define RIG_WORKERS 3

typedef struct {
    ev_segment seg;
    ev_engine *e;
    int listener;
    uint16_t port;
    ev_sched worker[RIG_WORKERS];
} rig;

static inline void rig_limits(ev_header *h)
{
    const uint64_t s = 1000000000ull;
    h->header_timeout = 10 * s;
    h->body_timeout = 30 * s;
    h->body_rate = 240;
    h->body_rate_grace = 10 * s;
    h->handler_timeout = 30 * s;
    h->send_timeout = 30 * s;
    h->keepalive = 75 * s;
    ev_body_limits_draft(&h->body_limits, 16 << 20);
    ev_body_limits_publish(&h->body_limits);
    h->max_buffered = 64 << 20;
    h->max_connections = 1000;
}

static inline void rig_worker_up(rig *r, uint32_t w)
{
    ev_begin_worker(&r->seg, w);
    ev_sched_init(&r->worker[w], &r->seg, w, 0);
    ev_worker_slot *slot = ev_worker_at(&r->seg, w);
    atomic_store(&slot->thread[0].state, EV_THREAD_RUNNING);
    atomic_store(&slot->threads, 1);
    ev_set_worker_state(&r->seg, w, EV_WORKER_READY);
}

static inline void rig_open(rig *r, uint32_t workers, uint32_t slabs, uint32_t queue, uint32_t depth,
                            uint32_t concurrency)
{
    memset(r, 0, sizeof *r);
    ev_shape shape = {.io_threads = 1,
                      .slots = RIG_WORKERS,
                      .threads = 2,
                      .slabs = slabs,
                      .concurrency = concurrency,
                      .queue_limit = queue,
                      .depth = depth};
    MUST(ev_segment_create(&r->seg, &shape, "rig") == 0);
    MUST(ev_shared_open(&r->seg) == 0);
    rig_limits(r->seg.hdr);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    MUST(bind(r->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(r->listener, 512) == 0);
    MUST(getsockname(r->listener, (struct sockaddr *)&a, &n) == 0);
    r->port = ntohs(a.sin_port);
    r->seg.hdr->listener_fd[0] = r->listener;
    r->seg.hdr->listeners = 1;
    atomic_fetch_add(&r->seg.hdr->gateway_epoch, 1);
    r->e = calloc(1, sizeof *r->e);
    MUST(ev_engine_open(r->e, &r->seg, 0, NULL) == 0);
    for (uint32_t w = 0; w < workers; w++) rig_worker_up(r, w);
    ev_engine_turn(r->e, 0);
}

/* A new engine process in place of one that was killed: the old one's memory is simply forgotten. */
static inline void rig_kill_gateway(rig *r)
{
    for (uint32_t i = 0; i < r->e->n_slabs; i++)
        if (r->e->priv[i].conn) {
            close(r->e->priv[i].conn->fd);
            free(r->e->priv[i].conn);
        }
    for (ev_conn *c = r->e->spare, *next; c; c = next) {
        next = c->link;
        free(c);
    }
    close(r->e->epfd);
    r->e->epfd = -1;
    ev_engine *fresh = calloc(1, sizeof *fresh);
    free(r->e->free_slabs);
    ev_queue_close(r->e);
    free(r->e->workers);
    free(r->e->priv);
    free(r->e);
    r->e = fresh;
    atomic_fetch_add(&r->seg.hdr->gateway_epoch, 1);
    MUST(ev_engine_open(r->e, &r->seg, 0, NULL) == 0);
}

static inline void rig_close(rig *r)
{
    ev_engine_close(r->e);
    free(r->e);
    close(r->listener);
    ev_shared_close(&r->seg);
    int fd = r->seg.fd;
    ev_segment_unmap(&r->seg);
    close(fd);
}

static inline int rig_connect(rig *r)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(r->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Turns until the engine has nothing to do. Loopback delivers within the send, so that is deterministic. */
static inline void rig_settle(rig *r)
{
    int quiet = 0;
    for (int k = 0; k < 10000 && quiet < 3; k++) quiet = ev_engine_turn(r->e, 0) || r->e->dirty ? 0 : quiet + 1;
}

static inline void rig_send(rig *r, int fd, const char *text)
{
    MUST(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
    rig_settle(r);
}

static inline bool rig_take(rig *r, uint32_t w, uint64_t *msg)
{
    return ev_sched_take(&r->worker[w], msg);
}

/* The same for a worker that has requests already: another one seems to leave its ring alone, so it may steal. */
static inline bool rig_take_more(rig *r, uint32_t w, uint64_t *msg)
{
    for (uint32_t k = 0; k < RIG_WORKERS; k++) atomic_store(&ev_worker_at(&r->seg, k)->stalled, 1);
    bool took = rig_take(r, w, msg);
    for (uint32_t k = 0; k < RIG_WORKERS; k++) atomic_store(&ev_worker_at(&r->seg, k)->stalled, 0);
    return took;
}

/* The worker answers 200 with this body. */
static inline void rig_answer(rig *r, uint32_t w, uint64_t msg, const char *body)
{
    ev_resp resp;
    ev_resp_begin(&resp);
    static const char line[] = "Content-Type: text/plain\r\n";
    MUST(ev_resp_simple(&r->worker[w], ev_msg_slab(msg), &resp, 200, line, sizeof line - 1, (const uint8_t *)body,
                        strlen(body)));
    ev_sched_final(&r->worker[w], msg);
    ev_sched_flush(&r->worker[w]);
}

/* The worker process dies: the supervisor says so. */
static inline void rig_kill_worker(rig *r, uint32_t w)
{
    ev_set_worker_state(&r->seg, w, EV_WORKER_DEAD);
    rig_settle(r);
}

/* What the client has received so far; -1 in *closed while the connection is open. */
static inline const char *rig_receive(rig *r, int fd, bool *closed)
{
    static char buf[1 << 20];
    size_t n = 0;
    rig_settle(r);
    if (closed) *closed = false;
    for (;;) {
        ssize_t k = recv(fd, buf + n, sizeof buf - 1 - n, MSG_DONTWAIT);
        if (k == 0 || (k < 0 && errno == ECONNRESET)) {
            if (closed) *closed = true;
            break;
        }
        if (k < 0) break;
        n += (size_t)k;
    }
    buf[n] = 0;
    return buf;
}

static inline bool rig_got(rig *r, int fd, const char *what)
{
    return strstr(rig_receive(r, fd, NULL), what) != NULL;
}

/* I1: every request is in exactly one account, or in flight. */
static inline uint64_t rig_in_flight(const rig *r)
{
    const ev_counters *k = &r->seg.hdr->counters[0];
    return k->requests - k->answered - k->failed - k->expired - k->shed - k->recalled - k->aborted - k->refused -
           k->lost;
}

static inline void rig_check_rest(rig *r, const char *name)
{
    rig_settle(r);
    CHECK(rig_in_flight(r) == 0, "%s: %lu requests in no account", name, (unsigned long)rig_in_flight(r));
    CHECK(r->e->n_free == r->e->n_slabs, "%s: %u slabs leaked", name, r->e->n_slabs - r->e->n_free);
    CHECK(r->seg.hdr->counters[0].buffered == 0 || r->e->open, "%s: buffers leaked", name);
    CHECK(r->seg.hdr->counters[0].queue_len == 0, "%s: an empty queue says otherwise", name);
}

/* Moves the engine's time: every deadline before now + seconds is over at the next turn. */
static inline void rig_time_passes(rig *r, ev_conn *c, double seconds)
{
    (void)r;
    c->deadline_ns -= (uint64_t)(seconds * 1e9) < c->deadline_ns ? (uint64_t)(seconds * 1e9) : c->deadline_ns - 1;
}

#endif
