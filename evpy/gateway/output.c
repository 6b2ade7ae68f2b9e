/* Responses: out of the slab's window, straight from shared memory to the socket.
 *
 * The worker has written field lines and body with their framing; the gateway puts the status line, Date, Server and
 * Connection in front. A slow reader leaves the window full, and a full window stops the handler: that is all the
 * back-pressure there is, and all that is needed. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine.h"

#define COPY_BYTES 16384u     /* below: one copy and one send are cheaper than a scatter list */
#define FILE_CHUNK (1u << 20) /* of one sendfile: other connections get their turn */
#define TURN_BYTES (4u << 20) /* of one connection in one turn */

/* Keeps the unsent rest of bytes that do not lie in a window. */
static bool keep_rest(ev_conn *c, const uint8_t *p, uint32_t n)
{
    uint8_t *copy = malloc(n);
    if (!copy) return false;
    memcpy(copy, p, n);
    free(c->pending);
    c->pending = copy;
    c->pending_off = 0;
    c->pending_len = n;
    return true;
}

/* Bytes that the kernel holds and the client has not acknowledged. */
static uint32_t unacknowledged(const ev_conn *c)
{
    int n = 0;
    return ioctl(c->fd, SIOCOUTQ, &n) || n < 0 ? 0 : (uint32_t)n;
}

/* Whether the client has taken some of what the kernel holds since this was last asked. That is progress too: a full
 * socket is reported as writable only when a third of its buffer is free, and that may be megabytes. */
bool ev_output_taken(ev_engine *e, ev_conn *c)
{
    uint32_t before = c->unacknowledged;
    c->unacknowledged = unacknowledged(c);
    if (c->unacknowledged >= before) return false;
    c->progress_ns = e->now_ns;
    return true;
}

/* The client has so long to take something. */
static void wait_for_client(ev_engine *e, ev_conn *c)
{
    ev_output_taken(e, c);
    ev_timer_set(e, c, c->progress_ns + e->hdr->send_timeout);
}

static void progressed(ev_engine *e, ev_conn *c, ssize_t n)
{
    c->progress_ns = e->now_ns;
    ev_count(&e->cnt->bytes_out, (uint64_t)n);
}

/* n >= 0: bytes sent; -1: would block; -2: broken. */
static ssize_t send_some(ev_engine *e, ev_conn *c, const struct iovec *iov, int n_iov, size_t total)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n_iov};
    for (;;) {
        ssize_t n = n_iov == 1 ? send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
                               : sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        if (n >= 0) {
            progressed(e, c, n);
            if ((size_t)n < total) c->writable = false; /* the kernel's buffer is full: an EPOLLOUT edge will come */
            return n;
        }
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            c->writable = false;
            return -1;
        }
        return -2;
    }
}

bool ev_output_bytes(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t n)
{
    ssize_t sent = 0;
    if (c->writable && !c->pending) {
        struct iovec iov = {(void *)p, n};
        sent = send_some(e, c, &iov, 1, n);
        if (sent == -2) {
            ev_conn_close(e, c);
            return false;
        }
        if (sent < 0) sent = 0;
    }
    if ((uint32_t)sent == n) return true;
    uint32_t old = c->pending ? c->pending_len - c->pending_off : 0;
    uint8_t *buf = malloc(old + n - (uint32_t)sent);
    if (!buf) {
        ev_conn_close(e, c);
        return false;
    }
    if (old) memcpy(buf, c->pending + c->pending_off, old);
    memcpy(buf + old, p + sent, n - (uint32_t)sent);
    free(c->pending);
    c->pending = buf;
    c->pending_off = 0;
    c->pending_len = old + n - (uint32_t)sent;
    return true;
}

/* True when nothing pending is left. */
static bool flush_pending(ev_engine *e, ev_conn *c)
{
    while (c->pending && c->writable) {
        struct iovec iov = {c->pending + c->pending_off, c->pending_len - c->pending_off};
        ssize_t n = send_some(e, c, &iov, 1, iov.iov_len);
        if (n == -2) {
            ev_conn_close(e, c);
            return false;
        }
        if (n < 0) break;
        c->pending_off += (uint32_t)n;
        if (c->pending_off == c->pending_len) {
            free(c->pending);
            c->pending = NULL;
            c->pending_off = c->pending_len = 0;
        }
    }
    return !c->pending;
}

static void give_room(ev_engine *e, ev_slab *s, uint32_t i)
{
    atomic_thread_fence(
        memory_order_seq_cst); /* partner: the worker's fence between out_wanted and its look at the window */
    if (!atomic_load_explicit(&s->out_wanted, memory_order_relaxed)) return;
    if (efio_bytering_used(&s->out) > EV_OUT_CAP / 2) return;
    atomic_store_explicit(&s->out_wanted, 0, memory_order_relaxed);
    ev_notify_worker(e, i);
}

static bool may_keep_alive(const ev_engine *e, const ev_conn *c, uint32_t out_flags)
{
    if (!c->keep_alive || e->draining || (out_flags & EV_OUT_CLOSE)) return false;
    if (c->eof && !c->buf_len && !c->readable) return false;
    if (!c->body) return true;
    if (c->body->continue_owed)
        return false; /* the body may or may not come: no telling where the next request starts */
    return c->body->kind == EV_BODY_CHUNKED || c->body->left <= EV_DISCARD_BYTES;
}

/* The head's first send: prefix and window together. False: the connection is closed. */
static bool start_response(ev_engine *e, ev_conn *c, ev_slab *s, uint32_t i, uint32_t flags)
{
    char prefix[512];
    c->keep_alive = may_keep_alive(e, c, flags);
    c->status = (uint16_t)s->status;
    c->answered = true;
    c->out_sent = 0;
    c->progress_ns = e->now_ns;
    uint32_t np = ev_prefix(e, c, s->status, flags, c->keep_alive, prefix);
    uint32_t n;
    uint8_t *base = ev_slab_out(e->seg, i), *at = efio_bytering_read_span(&s->out, base, EV_OUT_CAP, &n);
    ssize_t sent;
    if (c->pending) { /* a 100 Continue is still on its way */
        return ev_output_bytes(e, c, (const uint8_t *)prefix, np);
    }
    if (np + n <= COPY_BYTES) {
        uint8_t copy[COPY_BYTES];
        memcpy(copy, prefix, np);
        memcpy(copy + np, at, n);
        struct iovec iov = {copy, np + n};
        sent = send_some(e, c, &iov, 1, iov.iov_len);
    } else {
        struct iovec iov[2] = {{prefix, np}, {at, n}};
        sent = send_some(e, c, iov, 2, np + n);
    }
    if (sent == -2) {
        ev_conn_close(e, c);
        return false;
    }
    if (sent < 0) sent = 0;
    if ((uint32_t)sent < np) {
        if (!keep_rest(c, (const uint8_t *)prefix + sent, np - (uint32_t)sent)) {
            ev_conn_close(e, c);
            return false;
        }
    } else {
        efio_bytering_read(&s->out, (uint32_t)sent - np);
    }
    return true;
}

/* Sends what the window holds. False: the connection is closed. */
static bool drain_window(ev_engine *e, ev_conn *c, ev_slab *s, uint32_t i, uint64_t *budget)
{
    uint8_t *base = ev_slab_out(e->seg, i);
    while (c->writable && *budget) {
        uint32_t n, wrapped;
        uint8_t *at = efio_bytering_read_spans(&s->out, base, EV_OUT_CAP, &n, &wrapped);
        if (!n) break;
        struct iovec iov[2] = {{at, n}, {base, wrapped}};
        ssize_t sent = send_some(e, c, iov, wrapped ? 2 : 1, (size_t)n + wrapped);
        if (sent == -2) {
            ev_conn_close(e, c);
            return false;
        }
        if (sent < 0) break;
        efio_bytering_read(&s->out, (uint32_t)sent);
        *budget = *budget > (uint64_t)sent ? *budget - (uint64_t)sent : 0;
    }
    return true;
}

/* False: the connection is closed. */
static bool send_file(ev_engine *e, ev_conn *c, ev_slab *s, uint32_t i, uint64_t *budget)
{
    ev_slab_priv *p = &e->priv[i - e->slab_base];
    uint64_t cookie = atomic_load(&s->cookie);
    if (!p->file_fd && efio_cookie_state(cookie) == EFIO_SLAB_CLAIMED) /* else what was sent has been received */
        ev_receive_files(e, ev_worker_at(e->seg, ev_cookie_worker(cookie))->fd_gateway[e->io]);
    if (!p->file_fd) {
        ev_conn_close(e, c); /* promised and not sent: the worker died in between */
        return false;
    }
    while (s->file_left && c->writable && *budget && !p->fetching) {
        off_t off = (off_t)s->file_offset;
        size_t want = s->file_left < FILE_CHUNK ? (size_t)s->file_left : FILE_CHUNK;
        size_t cached = p->fetched ? want : ev_fetch_cached(p->file_fd - 1, off, want);
        if (!cached) {
            uint64_t word = ev_msg(EV_MSG_NOP, i, efio_cookie_generation(cookie));
            p->fetching = ev_fetch(&e->fetcher, &e->hdr->io_wake[e->io], p->file_fd - 1, off, want, word);
            if (p->fetching) {
                ev_count(&e->cnt->fetches, 1);
                break;
            }
            cached = want; /* then the disk is waited for here */
        }
        p->fetched = false;
        want = cached;
        ssize_t n = sendfile(c->fd, p->file_fd - 1, &off, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->writable = false;
            break;
        }
        if (n <= 0) { /* broken, or the file shrank below the announced length: only closing tells the client */
            ev_conn_close(e, c);
            return false;
        }
        progressed(e, c, n);
        s->file_offset += (uint64_t)n;
        s->file_left -= (uint64_t)n;
        *budget = *budget > (uint64_t)n ? *budget - (uint64_t)n : 0;
        /* After a short count the next call tells why: the socket is full, or the file has become shorter. */
    }
    return true;
}

void ev_output_fetched(ev_engine *e)
{
    for (uint64_t word; ev_fetch_done(e->fetcher, &word);) {
        uint32_t i = ev_msg_slab(word);
        ev_slab_priv *p = &e->priv[i - e->slab_base];
        uint64_t cookie = atomic_load_explicit(&ev_slab_at(e->seg, i)->cookie, memory_order_relaxed);
        if (!p->fetching || efio_cookie_generation(cookie) != ev_msg_gen(word)) continue; /* its client has left */
        p->fetching = false;
        p->fetched = true;
        if (p->conn) ev_engine_mark_dirty(e, p->conn);
    }
}

void ev_output(ev_engine *e, ev_conn *c)
{
    if (!flush_pending(e, c)) {
        if (c->state != EV_C_CLOSED && c->answered) wait_for_client(e, c);
        return;
    }
    if (c->own_answer) {
        ev_conn_request_done(e, c);
        return;
    }
    uint32_t i = c->slab;
    if (i == EV_NO_SLAB) return;
    ev_slab *s = ev_slab_at(e->seg, i);
    /* flags before window: what was written before END was set is then seen */
    uint32_t flags = atomic_load_explicit(&s->out_flags, memory_order_acquire);
    if (!(flags & (EV_OUT_HEAD | EV_OUT_ABORT))) return;
    uint64_t budget = TURN_BYTES;
    if (!c->answered && (flags & EV_OUT_HEAD) && !start_response(e, c, s, i, flags)) return;
    if (!flush_pending(e, c)) {
        if (c->state != EV_C_CLOSED) wait_for_client(e, c);
        return;
    }
    if (!drain_window(e, c, s, i, &budget)) return;
    bool empty = !efio_bytering_used(&s->out);
    if (empty && (flags & EV_OUT_FILE) && (flags & EV_OUT_END) && s->file_left && !send_file(e, c, s, i, &budget))
        return;
    if (flags & EV_OUT_ABORT && empty) {
        ev_conn_close(e, c);
        return;
    }
    if (empty && (flags & EV_OUT_END) && !s->file_left) {
        ev_conn_request_done(e, c);
        return;
    }
    if (!(flags & EV_OUT_END)) give_room(e, s, i);
    if (!c->writable || e->priv[i - e->slab_base].fetching)
        wait_for_client(e, c);
    else if (!budget)
        ev_engine_mark_dirty(e, c);
    else if (c->deadline_ns)
        ev_timer_clear(e, c); /* the handler is streaming at its own pace */
}
