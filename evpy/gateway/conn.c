/* Connections: what happens to what clients send. The states are drawn in engine.h. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"

#define READS_PER_TURN 16
#define ABANDONED_NS   50000000ull
#define FRESH_NS       1000000000ull /* at the stop: how long a connection without a request may yet send one */

static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";

void ev_settle(ev_conn *c, _Atomic uint64_t *counter)
{
    if (!c->counted) return;
    c->counted = false;
    ev_count(counter, 1);
}

ev_conn *ev_conn_new(ev_engine *e, int fd, uint8_t listener, const struct sockaddr *addr)
{
    ev_conn *c = e->spare;
    if (c) {
        e->spare = c->link;
        e->n_spare--;
        memset(c, 0, sizeof *c);
    } else {
        c = calloc(1, sizeof *c);
        if (!c) return NULL;
    }
    c->fd = fd;
    c->listener = listener;
    c->slab = EV_NO_SLAB;
    c->wheel = UINT16_MAX;
    c->readable = c->writable = true;
    c->keep_alive = true;
    c->family = (uint8_t)addr->sa_family;
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)addr;
        memcpy(c->addr, &a->sin_addr, 4);
        c->addr_port = ntohs(a->sin_port);
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)addr;
        memcpy(c->addr, &a->sin6_addr, 16);
        c->addr_port = ntohs(a->sin6_port);
    }
    struct epoll_event ev = {.events = EPOLLIN | EV_CONN_EVENTS, .data.ptr = c};
    if (epoll_ctl(e->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        c->link = e->spare;
        e->spare = c;
        e->n_spare++;
        return NULL;
    }
    e->open++;
    ev_count(&e->cnt->connections, 1);
    atomic_store_explicit(&e->cnt->connections_open, e->open, memory_order_relaxed);
    /* keep-alive 0 is about what comes after a response, not before the first request */
    ev_timer_set(e, c, e->now_ns + (e->hdr->keepalive ? e->hdr->keepalive : e->hdr->header_timeout));
    return c;
}

static void log_request(ev_engine *e, ev_conn *c, bool aborted)
{
    if (!e->log || !c->log_owed) {
        c->log_owed = false;
        return;
    }
    c->log_owed = false;
    char client[64] = "unix:";
    if (c->family != AF_UNIX) inet_ntop(c->family, c->addr, client, sizeof client);
    ev_log_entry entry = {.client = client, .status = c->status, .aborted = aborted, .bytes = c->out_sent};
    entry.took_ns = c->arrival_ns ? e->now_ns - c->arrival_ns : 0;
    if (c->slab != EV_NO_SLAB) {
        ev_slab *s = ev_slab_at(e->seg, c->slab);
        entry.head = ev_slab_head(e->seg, c->slab);
        entry.parsed = &s->head;
        entry.id = s->id;
        if (!c->own_answer) entry.bytes = s->out_body;
    } else if (e->refused_head) {
        entry.head = e->refused_head;
        entry.parsed = e->refused_parsed;
    } else if (c->body && c->body->acc &&
               ev_http1_parse(c->body->acc, c->body->head_len, &e->tmp_head, &(const char *){0}) == 0) {
        entry.head = c->body->acc;
        entry.parsed = &e->tmp_head;
    }
    ev_count(ev_accesslog_put(e->log, &entry) ? &e->cnt->log_lines : &e->cnt->log_dropped, 1);
}

void ev_conn_close(ev_engine *e, ev_conn *c)
{
    if (c->state == EV_C_CLOSED) return;
    if (c->slab != EV_NO_SLAB) {
        uint32_t i = c->slab;
        bool untouched = !c->answered && ev_slab_at(e->seg, i)->tries <= 1 && ev_recall(e, i);
        if (c->counted) c->log_owed = true;
        if (untouched && !c->status) c->status = 499;
        log_request(e, c, true);
        ev_settle(c, untouched ? &e->cnt->recalled : &e->cnt->aborted);
        ev_orphan(e, c, EV_GONE_CLIENT);
    }
    ev_settle(c, &e->cnt->aborted);
    ev_timer_clear(e, c);
    ev_body_free(e, c);
    ev_conn_release_buffer(e, c);
    free(c->pending);
    c->pending = NULL;
    close(c->fd);
    c->state = EV_C_CLOSED;
    e->open--;
    atomic_store_explicit(&e->cnt->connections_open, e->open, memory_order_relaxed);
    if (!c->dirty) {
        c->link = e->graveyard;
        e->graveyard = c;
    }
}

/* Answered for the last time: half-close, drain a bounded amount, close. */
static void linger(ev_engine *e, ev_conn *c)
{
    ev_body_free(e, c);
    ev_conn_release_buffer(e, c);
    if (c->eof) {
        ev_conn_close(e, c);
        return;
    }
    shutdown(c->fd, SHUT_WR);
    c->state = EV_C_LINGER;
    c->discard_left = EV_LINGER_BYTES;
    ev_timer_clear(e, c);
    ev_timer_set(e, c, e->now_ns + EV_LINGER_NS);
    ev_engine_mark_dirty(e, c);
}

/* Ready for the next request on this connection. */
static void next_request(ev_engine *e, ev_conn *c)
{
    c->state = EV_C_HEAD;
    c->status = 0;
    c->answered = c->own_answer = c->head_only = c->minor0 = false;
    c->arrival_ns = 0;
    c->scan = (ev_http1_scan){0};
    ev_timer_clear(e, c);
    ev_timer_set(e, c, e->now_ns + e->hdr->keepalive);
    if (c->eof) c->readable = true; /* to see the end, after whatever came before it */
    if (c->buf_len || c->readable) ev_engine_mark_dirty(e, c);
}

void ev_conn_drain(ev_engine *e, ev_conn *c)
{
    if (c->state != EV_C_HEAD || c->buf_len || c->arrival_ns) return;
    if (!c->served) { /* its first request is on the way; to close now would fail it */
        ev_timer_set(e, c, e->now_ns + FRESH_NS);
        return;
    }
    uint8_t byte;
    if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) return; /* a request has just arrived: it is served */
    ev_conn_close(e, c);
}

void ev_conn_request_done(ev_engine *e, ev_conn *c)
{
    bool own = c->own_answer;
    c->served = true;
    if (!own) {
        c->log_owed = true;
        log_request(e, c, false);
        ev_settle(c, &e->cnt->answered);
    }
    if (c->slab != EV_NO_SLAB) ev_orphan(e, c, 0); /* frees it, or leaves it to the worker's FINAL */
    if (c->body && c->keep_alive) {                /* the rest of an unread body, if it is short */
        c->state = EV_C_DISCARD;
        ev_body_unmute(e, c);
        c->discard_left = EV_DISCARD_BYTES;
        c->status = 0;
        ev_timer_clear(e, c);
        ev_timer_set(e, c, e->now_ns + e->hdr->body_timeout);
        ev_engine_mark_dirty(e, c);
    } else if (c->keep_alive && !e->draining) {
        next_request(e, c);
    } else {
        linger(e, c);
    }
}

static void fail(ev_engine *e, ev_conn *c, int status, const char *reason)
{
    if (c->counted)
        ev_settle(c, status == 503 ? &e->cnt->shed : &e->cnt->refused);
    else
        ev_count(&e->cnt->bad_requests, 1);
    c->keep_alive = false;
    ev_respond(e, c, status, reason, true);
    log_request(e, c, false);
    if (c->slab != EV_NO_SLAB) ev_orphan(e, c, 0);
    ev_body_free(e, c);
}

/* As fail(), for a request that no slab holds any more when its line is logged: head and h say which it was. */
static void refuse(ev_engine *e, ev_conn *c, int status, const char *reason, const uint8_t *head,
                   const ev_http1_head *h)
{
    e->refused_head = head;
    e->refused_parsed = h;
    fail(e, c, status, reason);
    e->refused_head = NULL;
}

static uint64_t body_limit(const ev_engine *e, const ev_http1_head *h, const uint8_t *head)
{
    return h->body == EV_BODY_NONE ? 0 : ev_body_limit_of(&e->hdr->body_limits, head + h->path_off, h->path_len);
}

static void fill(ev_engine *e, ev_conn *c, ev_slab *s, uint32_t i, const uint8_t *head)
{
    memcpy(ev_slab_head(e->seg, i), head, s->head.head_len);
    s->id = atomic_fetch_add_explicit(&e->hdr->next_id, 1, memory_order_relaxed);
    s->arrival_ns = c->arrival_ns;
    s->max_body = body_limit(e, &s->head, head);
    s->client_family = c->family;
    s->client_port = c->addr_port;
    memcpy(s->client_addr, c->addr, sizeof s->client_addr);
    s->listener = c->listener;
    efio_bytering_reset(&s->in);
    atomic_store_explicit(&s->in_flags, 0, memory_order_relaxed);
    ev_count(&e->cnt->underscore_fields, s->head.n_dropped);
    if (s->head.upgrade) ev_count(&e->cnt->upgrades_ignored, 1);
}

static void hand_over(ev_engine *e, ev_conn *c, ev_slab *s, uint32_t i)
{
    uint64_t deadline = e->now_ns + e->hdr->handler_timeout;
    atomic_store_explicit(&s->deadline_ns, deadline, memory_order_relaxed);
    c->state = EV_C_BUSY;
    if (!ev_dispatch_enqueue(e, c, i)) {
        c->slab = EV_NO_SLAB;
        refuse(e, c, 503, "overloaded, try again", ev_slab_head(e->seg, i), &s->head);
        ev_slab_release(e, i);
        return;
    }
    ev_timer_set(e, c, c->body ? ev_body_deadline(e, c->body) : deadline);
}

/* A benchmark of the gateway alone. */
static void echo(ev_engine *e, ev_conn *c)
{
    static const char rest[] = "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\nHello, World!";
    char out[512];
    uint32_t n = ev_prefix(e, c, 200, 0, c->keep_alive, out);
    memcpy(out + n, rest, sizeof rest - 1);
    c->state = EV_C_BUSY;
    c->answered = true;
    c->status = 200;
    if (!ev_output_bytes(e, c, (uint8_t *)out, n + (uint32_t)sizeof rest - 1)) return;
    ev_settle(c, &e->cnt->answered);
    c->own_answer = true;
    c->log_owed = false;
    if (!c->pending) ev_conn_request_done(e, c);
}

static void send_continue(ev_engine *e, ev_conn *c)
{
    if (!c->body || !c->body->continue_owed) return;
    c->body->continue_owed = false;
    ev_count(&e->cnt->continues, 1);
    ev_output_bytes(e, c, (const uint8_t *)CONTINUE, sizeof CONTINUE - 1);
}

/* A whole body has been collected: parse its head again, into a slab. */
static void hand_over_collected(ev_engine *e, ev_conn *c)
{
    ev_body *b = c->body;
    uint32_t i = ev_slab_alloc(e);
    if (i == EV_NO_SLAB) {
        fail(e, c, 503, "overloaded, try again");
        return;
    }
    ev_slab *s = ev_slab_at(e->seg, i);
    const char *reason;
    ev_http1_parse(b->acc, b->head_len, &s->head, &reason);
    fill(e, c, s, i, b->acc);
    uint32_t n = b->acc_len - b->head_len;
    memcpy(ev_slab_in(e->seg, i), b->acc + b->head_len, n);
    efio_bytering_wrote(&s->in, n);
    s->body_whole = b->streaming ? 0 : 1;
    s->body_len = b->streaming ? (b->kind == EV_BODY_LENGTH ? s->head.content_length : UINT64_MAX) : n;
    if (b->streaming) {
        ev_body_drop_collected(e, b);
    } else {
        atomic_store_explicit(&s->in_flags, EV_IN_END, memory_order_relaxed);
        ev_body_free(e, c);
    }
    hand_over(e, c, s, i);
}

/* A complete head at p. Returns how many bytes were consumed. */
static uint32_t start_request(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t head_len, uint32_t avail)
{
    uint32_t i = ev_slab_alloc(e);
    ev_slab *s = i == EV_NO_SLAB ? NULL : ev_slab_at(e->seg, i);
    ev_http1_head *h = s ? &s->head : &e->tmp_head;
    const char *reason = NULL;
    int status = ev_http1_parse(p, head_len, h, &reason);
    c->scan = (ev_http1_scan){0};
    if (status) {
        if (s) ev_slab_release(e, i);
        fail(e, c, status, reason);
        return head_len;
    }
    ev_count(&e->cnt->requests, 1);
    c->counted = true;
    c->keep_alive = h->keep_alive && e->hdr->keepalive;
    c->minor0 = h->minor == 0;
    c->head_only = h->method == EV_HEAD;
    uint64_t max_body = body_limit(e, h, p);
    bool too_large = h->body == EV_BODY_LENGTH && max_body && h->content_length > max_body;
    if (!s || too_large || e->hdr->echo) {
        if (too_large)
            refuse(e, c, 413, "request body over the limit", p, h);
        else if (!s)
            refuse(e, c, 503, "overloaded, try again", p, h);
        else
            echo(e, c);
        if (s) ev_slab_release(e, i);
        return head_len;
    }
    if (h->body == EV_BODY_NONE ||
        (h->body == EV_BODY_LENGTH && h->content_length <= EV_WHOLE_BODY && h->content_length <= avail - head_len)) {
        uint32_t n = h->body == EV_BODY_NONE ? 0 : (uint32_t)h->content_length;
        fill(e, c, s, i, p);
        if (n) {
            memcpy(ev_slab_in(e->seg, i), p + head_len, n);
            efio_bytering_wrote(&s->in, n);
        }
        atomic_store_explicit(&s->in_flags, EV_IN_END, memory_order_relaxed);
        s->body_whole = 1;
        s->body_len = n;
        hand_over(e, c, s, i);
        return head_len + n;
    }
    bool streaming = h->body == EV_BODY_LENGTH && h->content_length > EV_WHOLE_BODY;
    if (!ev_body_start(e, c, h, p, max_body, streaming)) {
        refuse(e, c, 503, "out of buffer memory", p, h);
        ev_slab_release(e, i);
        return head_len;
    }
    if (avail > head_len) c->body->continue_owed = false; /* it did not wait */
    if (streaming) {
        fill(e, c, s, i, p);
        s->body_whole = 0;
        s->body_len = h->content_length;
        hand_over(e, c, s, i);
    } else {
        ev_slab_release(e, i);
        c->state = EV_C_BODY;
        ev_timer_clear(e, c);
        ev_timer_set(e, c, ev_body_deadline(e, c->body));
        send_continue(e, c);
    }
    return head_len;
}

/* The streamed body is complete: from now on it is the handler's time that counts. */
static void body_complete(ev_engine *e, ev_conn *c)
{
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    atomic_fetch_or(&s->in_flags, EV_IN_END);
    uint64_t deadline = e->now_ns + e->hdr->handler_timeout;
    atomic_store_explicit(&s->deadline_ns, deadline, memory_order_relaxed);
    ev_body_announce(e, c);
    ev_body_free(e, c);
    if (!c->answered) {
        ev_timer_clear(e, c);
        ev_timer_set(e, c, deadline);
    }
}

/* A body broke off while a handler has the request. */
static void body_broken(ev_engine *e, ev_conn *c, int status, const char *reason)
{
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    atomic_fetch_or(&s->in_flags, status == 413 ? EV_IN_TOO_LARGE : EV_IN_BROKEN);
    ev_body_announce(e, c);
    if (c->answered) {
        c->keep_alive = false; /* the response is under way: let it finish */
        ev_body_free(e, c);
        return;
    }
    ev_recall(e, c->slab);
    fail(e, c, status, reason);
}

static uint32_t feed_body(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t len)
{
    bool end;
    int error;
    const char *reason = NULL;
    uint32_t n = ev_body_feed(e, c, p, len, &end, &error, &reason);
    ev_body *b = c->body;
    if (error) {
        if (c->state == EV_C_DISCARD)
            linger(e, c);
        else if (c->state == EV_C_BODY)
            fail(e, c, error, reason);
        else
            body_broken(e, c, error, reason);
        return len;
    }
    if (c->state == EV_C_BODY) {
        if (end) {
            hand_over_collected(e, c);
        } else if (b->acc_len - b->head_len > EV_WHOLE_BODY) {
            b->streaming = true;
            hand_over_collected(e, c);
        } else {
            ev_timer_set(e, c, ev_body_deadline(e, b));
        }
    } else if (c->state == EV_C_DISCARD) {
        if (end) {
            ev_body_free(e, c);
            next_request(e, c);
        }
    } else if (end) {
        body_complete(e, c);
    } else {
        if (n) ev_body_announce(e, c);
        if (!c->answered) {
            uint64_t deadline = b->paused_ns ? b->paused_ns + e->hdr->handler_timeout : ev_body_deadline(e, b);
            ev_timer_set(e, c, deadline);
        }
    }
    return n;
}

/* Consumes as much of p as the connection's state allows; returns how much. */
static uint32_t consume(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t len)
{
    uint32_t off = 0;
    while (off < len) {
        uint32_t n;
        switch (c->state) {
        case EV_C_HEAD: {
            if (!c->arrival_ns) {
                c->arrival_ns = e->now_ns;
                ev_timer_set(e, c, e->now_ns + e->hdr->header_timeout);
            }
            int r = ev_http1_find_end(p + off, len - off, &c->scan);
            if (r == 0) return off;
            if (r < 0) {
                fail(e, c, -r, ev_http1_scan_reason(-r));
                return len;
            }
            off += start_request(e, c, p + off, (uint32_t)r, len - off);
            break;
        }
        case EV_C_BODY:
        case EV_C_DISCARD:
            n = feed_body(e, c, p + off, len - off);
            off += n;
            break;
        case EV_C_BUSY:
            if (!c->body || !c->body->streaming || c->own_answer) return off; /* the next request waits its turn */
            n = feed_body(e, c, p + off, len - off);
            off += n;
            if (!n && c->body) return off; /* the window is full */
            break;
        case EV_C_LINGER:
            if (len - off > c->discard_left) {
                ev_conn_close(e, c);
                return len;
            }
            c->discard_left -= len - off;
            return len;
        default: return len;
        }
    }
    return off;
}

static bool wants_input(ev_engine *e, ev_conn *c)
{
    switch (c->state) {
    case EV_C_HEAD:
    case EV_C_BODY:
    case EV_C_DISCARD:
    case EV_C_LINGER: return true;
    case EV_C_BUSY: return c->body && c->body->streaming && !c->own_answer && ev_body_has_room(e, c);
    default: return false;
    }
}

/* The client has closed its side (or reset). */
static void closed_by_client(ev_engine *e, ev_conn *c)
{
    c->readable = false;
    c->eof = true;
    if (c->state == EV_C_BUSY) {
        if (c->body && c->slab != EV_NO_SLAB && c->body->streaming && !c->own_answer) {
            ev_slab *s = ev_slab_at(e->seg, c->slab);
            atomic_fetch_or(&s->in_flags, EV_IN_BROKEN);
            atomic_fetch_or(&s->gone, EV_GONE_CLIENT);
            ev_conn_close(e, c);
        }
        return;
    }
    if (c->state == EV_C_BODY || c->state == EV_C_HEAD || c->state == EV_C_DISCARD || c->state == EV_C_LINGER)
        ev_conn_close(e, c);
}

/* Reads straight into the window of a streamed body of known length. -1: not applicable. */
static ssize_t read_into_window(ev_engine *e, ev_conn *c)
{
    ev_body *b = c->body;
    if (c->state != EV_C_BUSY || !b || b->kind != EV_BODY_LENGTH || c->buf_len) return -1;
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    uint32_t room;
    uint8_t *at = efio_bytering_write_span(&s->in, ev_slab_in(e->seg, c->slab), EV_IN_CAP, &room);
    uint64_t want = room < b->left ? room : b->left;
    if (!want) return -1;
    ssize_t r;
    do r = recv(c->fd, at, want, 0);
    while (r < 0 && errno == EINTR);
    if (r > 0) {
        efio_bytering_wrote(&s->in, (uint32_t)r);
        b->left -= (uint64_t)r;
        b->got += (uint64_t)r;
        b->raw += (uint64_t)r;
        b->progress_ns = e->now_ns;
        ev_count(&e->cnt->bytes_in, (uint64_t)r);
        if (!b->left) {
            body_complete(e, c);
        } else {
            ev_body_announce(e, c);
            if (!c->answered) ev_timer_set(e, c, ev_body_deadline(e, b));
        }
    } else if (r == 0) {
        closed_by_client(e, c);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        c->readable = false;
    } else {
        ev_conn_close(e, c);
    }
    return r < 0 ? 0 : r;
}

/* Keeps what was read and not consumed. */
static bool keep(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t n)
{
    if (c->state == EV_C_CLOSED || c->state == EV_C_LINGER) return false;
    if (!ev_conn_grow(e, c, n)) {
        if (c->state == EV_C_HEAD)
            fail(e, c, 503, "out of buffer memory");
        else
            ev_conn_close(e, c);
        return false;
    }
    memmove(c->buf, p, n);
    c->buf_len = n;
    return true;
}

static void read_input(ev_engine *e, ev_conn *c)
{
    for (int k = 0; c->readable && wants_input(e, c); k++) {
        if (k == READS_PER_TURN) { /* others get their turn */
            ev_engine_mark_dirty(e, c);
            return;
        }
        if (read_into_window(e, c) >= 0) continue;
        uint8_t *at = e->scratch;
        uint32_t room = EV_SCRATCH;
        if (c->buf_len) { /* a part of a head is waiting: append to it */
            uint32_t want = c->buf_len + (c->buf_len < 4096 ? 4096 : c->buf_len);
            if (want > EV_SCRATCH) want = EV_SCRATCH;
            if (!ev_conn_grow(e, c, want)) {
                fail(e, c, 503, "out of buffer memory");
                return;
            }
            at = c->buf + c->buf_len;
            room = c->buf_cap - c->buf_len;
            if (!room) return;
        }
        ssize_t r;
        do r = recv(c->fd, at, room, 0);
        while (r < 0 && errno == EINTR);
        if (r == 0) {
            closed_by_client(e, c);
            return;
        }
        if (r < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                c->readable = false;
            else
                ev_conn_close(e, c);
            return;
        }
        ev_count(&e->cnt->bytes_in, (uint64_t)r);
        if ((uint32_t)r < room && !c->eof) c->readable = false; /* drained; the next arrival is a new edge */
        uint8_t *data = c->buf_len ? c->buf : e->scratch;
        uint32_t len = c->buf_len + (uint32_t)r;
        uint32_t used = consume(e, c, data, len);
        if (c->state == EV_C_CLOSED) return;
        if (used < len) {
            keep(e, c, data + used, len - used);
        } else {
            ev_conn_release_buffer(e, c);
        }
    }
}

void ev_conn_continue(ev_engine *e, ev_conn *c)
{
    if (c->state == EV_C_BUSY && c->writable && (c->pending || c->own_answer || c->answered || c->slab != EV_NO_SLAB))
        ev_output(e, c);
    if (c->state == EV_C_BODY && c->pending && c->writable) ev_output(e, c);
    /* pipelined requests that came with an earlier one */
    if (c->buf_len && c->state != EV_C_CLOSED && wants_input(e, c)) {
        uint32_t used = consume(e, c, c->buf, c->buf_len);
        if (c->state == EV_C_CLOSED) return;
        if (used && used == c->buf_len) {
            ev_conn_release_buffer(e, c);
        } else if (used && c->buf_len) {
            memmove(c->buf, c->buf + used, c->buf_len - used);
            c->buf_len -= used;
        }
    }
    read_input(e, c);
}

void ev_conn_want_body(ev_engine *e, ev_conn *c)
{
    if (atomic_load(&ev_slab_at(e->seg, c->slab)->in_wanted)) send_continue(e, c);
    if (c->state == EV_C_BUSY && c->body) {
        if (c->body->paused_ns) ev_body_has_room(e, c);
        ev_engine_mark_dirty(e, c);
    }
}

/* A request that nobody has begun, of a client that has left (and not come with its end of stream at once): taken back
 * when it has waited for longer than a server that is not overloaded lets it wait. True: done, c is closed. */
static bool recall_abandoned(ev_engine *e, ev_conn *c)
{
    if (!c->eof || c->early_eof || c->answered || c->slab == EV_NO_SLAB) return false;
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    if (efio_cookie_state(atomic_load(&s->cookie)) == EFIO_SLAB_CLAIMED) return false;
    if (e->now_ns < c->arrival_ns + ABANDONED_NS) {
        ev_timer_set(e, c, c->arrival_ns + ABANDONED_NS);
        return false;
    }
    if (!ev_recall(e, c->slab)) return false;
    ev_conn_close(e, c);
    return true;
}

void ev_conn_event(ev_engine *e, ev_conn *c, uint32_t events)
{
    if (c->state == EV_C_CLOSED) return;
    if (events & EPOLLERR) {
        ev_conn_close(e, c);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) c->readable = true;
    if (events & EPOLLOUT) c->writable = true;
    bool was_busy = c->state == EV_C_BUSY;
    if (events & (EPOLLRDHUP | EPOLLHUP)) {
        c->eof = true;
        if (was_busy && !c->early_eof && c->slab != EV_NO_SLAB && !c->own_answer) {
            /* The client left, or only half-closed: TCP does not tell. If its request runs, tell the handler. If it
             * has not begun, give it the moment that it normally takes: who half-closes wants an answer. */
            atomic_fetch_or(&ev_slab_at(e->seg, c->slab)->gone, EV_GONE_CLIENT);
            ev_notify_worker(e, c->slab);
            if (recall_abandoned(e, c)) return;
        } else if (!was_busy) {
            c->early_eof = true;
        }
    }
    ev_conn_continue(e, c);
}

void ev_conn_give_up(ev_engine *e, ev_conn *c)
{
    bool waiting = c->state == EV_C_BODY || (c->state == EV_C_BUSY && c->slab != EV_NO_SLAB);
    if (waiting && !c->answered && !c->own_answer) {
        if (c->slab != EV_NO_SLAB) ev_recall(e, c->slab);
        fail(e, c, 503, "the server is stopping");
    } else if (c->state != EV_C_LINGER && !c->own_answer) {
        ev_conn_close(e, c);
    }
}

void ev_conn_timeout(ev_engine *e, ev_conn *c)
{
    switch (c->state) {
    case EV_C_HEAD:
        if (!c->arrival_ns) {
            ev_count(&e->cnt->keepalive_timeouts, 1);
            ev_conn_close(e, c);
            return;
        }
        ev_count(&e->cnt->header_timeouts, 1);
        fail(e, c, 408, "request head took too long");
        return;
    case EV_C_BODY:
        ev_count(&e->cnt->body_timeouts, 1);
        fail(e, c, 408, "request body too slow");
        return;
    case EV_C_BUSY: break;
    default: ev_conn_close(e, c); return;
    }
    if (c->answered) {
        if (ev_output_taken(e, c)) {
            ev_timer_set(e, c, c->progress_ns + e->hdr->send_timeout);
            return;
        }
        ev_count(&e->cnt->send_timeouts, 1);
        ev_conn_close(e, c);
        return;
    }
    if (c->slab == EV_NO_SLAB) {
        ev_conn_close(e, c);
        return;
    }
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    if (c->eof && !c->body) { /* armed by recall_abandoned, perhaps */
        if (recall_abandoned(e, c)) return;
        uint64_t deadline = atomic_load_explicit(&s->deadline_ns, memory_order_relaxed);
        if (e->now_ns < deadline) {
            ev_timer_set(e, c, deadline);
            return;
        }
    }
    if (c->body && !c->body->paused_ns) {
        ev_count(&e->cnt->body_timeouts, 1);
        atomic_fetch_or(&s->in_flags, EV_IN_BROKEN);
        atomic_fetch_or(&s->gone, EV_GONE_CLIENT);
        ev_recall(e, c->slab);
        fail(e, c, 408, "request body too slow");
        return;
    }
    ev_recall(e, c->slab);
    ev_settle(c, &e->cnt->expired);
    ev_respond(e, c, 504, "the handler took too long", c->body != NULL);
    log_request(e, c, false);
    ev_orphan(e, c, EV_GONE_DEADLINE);
    ev_body_free(e, c);
}
