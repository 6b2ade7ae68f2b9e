/* Request bodies on their way in: collected whole up to EV_WHOLE_BODY, streamed through the slab's window beyond. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static void buffered(ev_engine *e, int64_t n)
{
    atomic_store_explicit(&e->cnt->buffered,
                          (uint64_t)((int64_t)atomic_load_explicit(&e->cnt->buffered, memory_order_relaxed) + n),
                          memory_order_relaxed);
}

static bool over_budget(const ev_engine *e, uint32_t more)
{
    return atomic_load_explicit(&e->cnt->buffered, memory_order_relaxed) + more > e->hdr->max_buffered;
}

/* Makes room for `need` bytes in the connection's buffer. False: over the budget or out of memory. */
bool ev_conn_grow(ev_engine *e, ev_conn *c, uint32_t need)
{
    if (need <= c->buf_cap) return true;
    uint32_t cap = c->buf_cap ? c->buf_cap : 1024;
    while (cap < need) cap *= 2;
    if (over_budget(e, cap - c->buf_cap)) return false;
    uint8_t *p = realloc(c->buf, cap);
    if (!p) return false;
    buffered(e, (int64_t)cap - c->buf_cap);
    c->buf = p;
    c->buf_cap = cap;
    return true;
}

void ev_conn_release_buffer(ev_engine *e, ev_conn *c)
{
    if (!c->buf) return;
    buffered(e, -(int64_t)c->buf_cap);
    free(c->buf);
    c->buf = NULL;
    c->buf_len = c->buf_cap = 0;
}

bool ev_body_start(ev_engine *e, ev_conn *c, const ev_http1_head *head, const uint8_t *raw_head, uint64_t max_body,
                   bool streaming)
{
    ev_body *b = calloc(1, sizeof *b);
    if (!b) return false;
    b->kind = head->body;
    b->left = head->body == EV_BODY_LENGTH ? head->content_length : 0;
    b->started_ns = b->progress_ns = e->now_ns;
    b->max_body = max_body;
    b->streaming = streaming;
    b->continue_owed = head->expect_continue;
    b->head_len = head->head_len;
    if (!streaming) {
        uint32_t first = head->body == EV_BODY_LENGTH ? (uint32_t)head->content_length : 2048;
        b->acc_cap = b->head_len + first;
        b->acc = over_budget(e, b->acc_cap) ? NULL : malloc(b->acc_cap);
        if (!b->acc) {
            free(b);
            return false;
        }
        buffered(e, b->acc_cap);
        memcpy(b->acc, raw_head, b->head_len);
        b->acc_len = b->head_len;
    }
    c->body = b;
    return true;
}

void ev_body_drop_collected(ev_engine *e, ev_body *b)
{
    if (!b->acc) return;
    buffered(e, -(int64_t)b->acc_cap);
    free(b->acc);
    b->acc = NULL;
}

/* While the window is full nobody reads the socket, so its edges are news to nobody: a fast client would wake the I/O
 * thread some five times for each window (and, on the worker's core, interrupt it as often). EPOLL_CTL_MOD looks at the
 * socket anew, so what arrived meanwhile is an edge again. */
static void listen_to(ev_engine *e, ev_conn *c, bool muted)
{
    if (c->muted == muted) return;
    c->muted = muted;
    struct epoll_event ev = {.events = (muted ? 0 : EPOLLIN) | EV_CONN_EVENTS, .data.ptr = c};
    epoll_ctl(e->epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

void ev_body_unmute(ev_engine *e, ev_conn *c)
{
    listen_to(e, c, false);
}

void ev_body_free(ev_engine *e, ev_conn *c)
{
    if (!c->body) return;
    listen_to(e, c, false);
    ev_body_drop_collected(e, c->body);
    free(c->body);
    c->body = NULL;
}

/* When the client is too slow: idle, or below the floor of bytes a second. Time that the handler spends is not its. */
uint64_t ev_body_deadline(const ev_engine *e, const ev_body *b)
{
    uint64_t idle = b->progress_ns + e->hdr->body_timeout;
    if (!e->hdr->body_rate) return idle;
    uint64_t earned = (uint64_t)((double)b->raw * 1e9 / (double)e->hdr->body_rate);
    uint64_t rate = b->started_ns + (earned > e->hdr->body_rate_grace ? earned : e->hdr->body_rate_grace);
    return idle < rate ? idle : rate;
}

static bool acc_put(ev_engine *e, ev_body *b, const uint8_t *p, size_t n)
{
    uint32_t need = b->acc_len + (uint32_t)n;
    if (need > b->acc_cap) {
        uint32_t cap = b->acc_cap * 2 > need ? b->acc_cap * 2 : need;
        if (over_budget(e, cap - b->acc_cap)) return false;
        uint8_t *grown = realloc(b->acc, cap);
        if (!grown) return false;
        buffered(e, (int64_t)cap - b->acc_cap);
        b->acc = grown;
        b->acc_cap = cap;
    }
    memcpy(b->acc + b->acc_len, p, n);
    b->acc_len = need;
    return true;
}

static void window_put(ev_engine *e, ev_conn *c, const uint8_t *p, size_t n)
{
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    uint8_t *base = ev_slab_in(e->seg, c->slab);
    while (n) {
        uint32_t room;
        uint8_t *at = efio_bytering_write_span(&s->in, base, EV_IN_CAP, &room);
        uint32_t k = n < room ? (uint32_t)n : room;
        memcpy(at, p, k);
        efio_bytering_wrote(&s->in, k);
        p += k;
        n -= k;
    }
}

bool ev_body_has_room(ev_engine *e, ev_conn *c)
{
    ev_body *b = c->body;
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    if (efio_bytering_free(&s->in, EV_IN_CAP)) {
        if (b->paused_ns) { /* the client is not to blame for this time */
            uint64_t paused = e->now_ns - b->paused_ns;
            b->started_ns += paused;
            b->progress_ns = e->now_ns;
            b->paused_ns = 0;
            atomic_store_explicit(&s->in_paused, 0, memory_order_relaxed);
            listen_to(e, c, false);
        }
        return true;
    }
    if (!b->paused_ns) b->paused_ns = e->now_ns;
    atomic_store_explicit(&s->in_paused, 1, memory_order_relaxed);
    atomic_thread_fence(
        memory_order_seq_cst); /* partner: the worker's fence between its read and its look at in_paused */
    if (efio_bytering_free(&s->in, EV_IN_CAP)) return true;
    listen_to(e, c, true);
    return false;
}

void ev_body_announce(ev_engine *e, ev_conn *c)
{
    ev_slab *s = ev_slab_at(e->seg, c->slab);
    atomic_thread_fence(
        memory_order_seq_cst); /* partner: the worker's fence between in_wanted and its look at the window */
    if (atomic_load_explicit(&s->in_wanted, memory_order_relaxed)) {
        atomic_store_explicit(&s->in_wanted, 0, memory_order_relaxed);
        ev_notify_worker(e, c->slab);
    }
}

/* Takes decoded bytes. How many fit: for a window that is full the rest waits. */
static bool take(ev_engine *e, ev_conn *c, const uint8_t *p, size_t n, int *error, const char **reason)
{
    ev_body *b = c->body;
    if (b->max_body && b->got + n > b->max_body) {
        *error = 413;
        *reason = "request body over the limit";
        return false;
    }
    b->got += n;
    if (c->state == EV_C_DISCARD) {
        if (n > c->discard_left) {
            *error = 413; /* nobody sees it: the connection is closed */
            return false;
        }
        c->discard_left -= (uint32_t)n;
    } else if (b->streaming) {
        window_put(e, c, p, n);
    } else if (!acc_put(e, b, p, n)) {
        *error = 503;
        *reason = "out of buffer memory";
        return false;
    }
    return true;
}

uint32_t ev_body_feed(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t len, bool *end, int *error,
                      const char **reason)
{
    ev_body *b = c->body;
    uint32_t off = 0;
    *end = false;
    *error = 0;
    for (;;) {
        uint64_t room = UINT64_MAX;
        if (b->streaming && c->state == EV_C_BUSY && c->slab != EV_NO_SLAB) {
            if (!ev_body_has_room(e, c)) break;
            room = efio_bytering_free(&ev_slab_at(e->seg, c->slab)->in, EV_IN_CAP);
        }
        if (b->kind == EV_BODY_LENGTH) {
            uint64_t n = len - off;
            if (n > b->left) n = b->left;
            if (n > room) n = room;
            if (n && !take(e, c, p + off, n, error, reason)) break;
            off += (uint32_t)n;
            b->left -= n;
            if (!b->left) {
                *end = true;
                break;
            }
            if (off == len) break;
        } else {
            uint64_t give = len - off; /* framing only shrinks: what fits raw fits decoded */
            if (give > room) give = room;
            size_t used = 0, n = 0;
            const uint8_t *data = NULL;
            int status = 400;
            ev_chunk_result r = ev_chunked_next(&b->chunked, p + off, give, &used, &data, &n, &status, reason);
            off += (uint32_t)used;
            if (r == EV_CHUNK_ERROR) {
                *error = status;
                break;
            }
            if (r == EV_CHUNK_END) {
                *end = true;
                break;
            }
            if (r == EV_CHUNK_DATA && !take(e, c, data, n, error, reason)) break;
            if (r == EV_CHUNK_MORE && off == len) break;
            if (r == EV_CHUNK_DATA && !b->streaming && c->state == EV_C_BODY &&
                b->acc_len - b->head_len > EV_WHOLE_BODY)
                break; /* conn.c turns it into a streamed one */
        }
    }
    b->raw += off;
    if (off) b->progress_ns = e->now_ns;
    return off;
}
