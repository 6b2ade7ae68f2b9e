#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

void ev_sched_init(ev_sched *s, ev_segment *seg, uint32_t slot, uint32_t thread)
{
    memset(s, 0, sizeof *s);
    s->seg = seg;
    s->w = slot;
    s->t = thread;
    s->slot = ev_worker_at(seg, slot);
    s->thread = &s->slot->thread[thread];
}

static bool claim(ev_sched *s, uint64_t msg)
{
    uint32_t i = ev_msg_slab(msg), gen = ev_msg_gen(msg);
    if (ev_msg_type(msg) != EV_MSG_REQUEST || i >= s->seg->hdr->slabs * s->seg->hdr->io_threads) return false;
    return efio_slab_claim(&ev_slab_at(s->seg, i)->cookie, gen, ev_owner(s->w, s->t));
}

static bool is_offered(const ev_sched *s, uint64_t msg)
{
    uint32_t i = ev_msg_slab(msg);
    return ev_msg_type(msg) == EV_MSG_REQUEST && i < s->seg->hdr->slabs * s->seg->hdr->io_threads &&
           atomic_load_explicit(&ev_slab_at(s->seg, i)->cookie, memory_order_relaxed) ==
               efio_cookie_make(ev_msg_gen(msg), 0, EFIO_SLAB_OFFERED);
}

static void claimed(ev_sched *s)
{
    atomic_fetch_add_explicit(&s->thread->active, 1, memory_order_relaxed);
    ev_count(&s->thread->taken, 1);
}

/* Whether there is a thread in another worker that has nothing to do, in a process that is not in Python just now: it
 * sleeps, was woken the moment before, or comes round. */
static bool is_another_idle(const ev_sched *s)
{
    for (uint32_t w = 0; w < s->seg->hdr->slots; w++) {
        ev_worker_slot *slot = ev_worker_at(s->seg, w);
        if (w == s->w || atomic_load_explicit(&slot->state, memory_order_relaxed) != EV_WORKER_READY) continue;
        bool idle = false, busy = false;
        for (uint32_t t = 0; t < s->seg->hdr->threads; t++) {
            ev_thread_slot *th = &slot->thread[t];
            if (atomic_load_explicit(&th->state, memory_order_relaxed) != EV_THREAD_RUNNING) continue;
            busy |= atomic_load_explicit(&th->current, memory_order_relaxed) != 0;
            idle |= atomic_load_explicit(&th->active, memory_order_relaxed) == 0;
        }
        if (idle && !busy) return true;
    }
    return false;
}

/* Whose requests wait for something leaves those of other workers to whoever has none: the next one may burn CPU, and
 * they would wait for that, too. But not what the gateway has seen lie there for too long, nor when all have some. */
static bool leaves(const ev_sched *s, uint32_t w, uint32_t io)
{
    return atomic_load_explicit(&s->thread->active, memory_order_relaxed) &&
           !(atomic_load_explicit(&ev_worker_at(s->seg, w)->stalled, memory_order_relaxed) & 1u << io) &&
           is_another_idle(s);
}

/* A thread of the same process that has nothing to do; it gets the interpreter when this thread sleeps. */
static ev_thread_slot *idle_sibling(const ev_sched *s)
{
    for (uint32_t t = 0; t < s->seg->hdr->threads; t++) {
        ev_thread_slot *th = &s->slot->thread[t];
        if (t != s->t && atomic_load_explicit(&th->state, memory_order_relaxed) == EV_THREAD_RUNNING &&
            !atomic_load_explicit(&th->active, memory_order_relaxed))
            return th;
    }
    return NULL;
}

/* Whether the next one in this ring is costly and left to another thread, which is woken for it, since requests of this
 * thread wait for something. Not when it has been there for too long. */
static bool is_for_another(const ev_sched *s, uint32_t io)
{
    efio_ring *r = ev_req_ring(s->seg, s->w, io);
    uint64_t msg;
    if (!atomic_load_explicit(&s->thread->active, memory_order_relaxed)) return false;
    if (atomic_load_explicit(&s->slot->stalled, memory_order_relaxed) & 1u << io) return false;
    if (!efio_ring_peek(r, atomic_load_explicit(&r->head, memory_order_relaxed), &msg) || !is_offered(s, msg))
        return false;
    if (!ev_slab_at(s->seg, ev_msg_slab(msg))->cost) return false;
    ev_thread_slot *other = idle_sibling(s);
    if (!other) return false;
    efio_wake_notify(&other->wake);
    return true;
}

/* Claims what lies in the ring of another worker, or only looks whether there is something. */
static bool steal(ev_sched *s, uint64_t *msg, bool look)
{
    ev_header *h = s->seg->hdr;
    for (uint32_t k = 1; k < h->slots; k++) {
        uint32_t w = (s->w + k) % h->slots;
        uint32_t state = atomic_load_explicit(&ev_worker_at(s->seg, w)->state, memory_order_relaxed);
        if (state != EV_WORKER_READY && state != EV_WORKER_DRAINING) continue;
        for (uint32_t io = 0; io < h->io_threads; io++) {
            efio_ring *r = ev_req_ring(s->seg, w, io);
            uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
            uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
            for (uint32_t n = 0; head != tail && n <= r->mask; head++, n++) {
                if (!efio_ring_peek(r, head, msg)) continue;
                if (!is_offered(s, *msg)) continue;
                if (leaves(s, w, io)) break;
                if (look) return true;
                if (!claim(s, *msg)) continue;
                claimed(s);
                ev_count(&s->thread->stolen, 1);
                return true;
            }
        }
    }
    return false;
}

static bool may_steal(const ev_sched *s)
{
    return atomic_load_explicit(&s->slot->state, memory_order_relaxed) == EV_WORKER_READY;
}

bool ev_sched_take(ev_sched *s, uint64_t *msg)
{
    uint32_t ios = s->seg->hdr->io_threads;
    for (uint32_t k = 0; k < ios; k++) {
        uint32_t io = (s->io_turn + k) % ios;
        while (!is_for_another(s, io) && efio_ring_pop(ev_req_ring(s->seg, s->w, io), msg))
            if (claim(s, *msg)) { /* else: recalled or stolen */
                s->io_turn = io + 1;
                claimed(s);
                return true;
            }
    }
    return may_steal(s) && steal(s, msg, false);
}

bool ev_sched_notified(ev_sched *s, uint64_t *msg)
{
    for (uint32_t io = 0; io < s->seg->hdr->io_threads; io++)
        if (efio_ring_pop(ev_ctl_ring(s->seg, s->w, io, s->t), msg)) return true;
    return false;
}

bool ev_sched_has_work(ev_sched *s)
{
    for (uint32_t io = 0; io < s->seg->hdr->io_threads; io++)
        if (efio_ring_ready(ev_ctl_ring(s->seg, s->w, io, s->t)) ||
            (efio_ring_ready(ev_req_ring(s->seg, s->w, io)) && !is_for_another(s, io)))
            return true;
    uint64_t msg;
    return may_steal(s) && steal(s, &msg, true);
}

void ev_sched_flush(ev_sched *s)
{
    while (s->owed) {
        uint32_t io = (uint32_t)__builtin_ctz(s->owed);
        s->owed &= s->owed - 1;
        efio_wake_notify(&s->seg->hdr->io_wake[io]);
    }
}

void ev_sched_burns(ev_sched *s, uint32_t cost)
{
    uint32_t before = atomic_exchange_explicit(&s->thread->cost, cost, memory_order_relaxed);
    if (before && !cost)
        for (uint32_t io = 0; io < s->seg->hdr->io_threads; io++) efio_wake_notify(&s->seg->hdr->io_wake[io]);
}

static void send_message(ev_sched *s, uint32_t type, uint32_t slab, uint32_t gen)
{
    uint32_t io = ev_slab_io(s->seg, slab);
    efio_ring *r = ev_resp_ring(s->seg, s->w, io);
    s->owed |= 1u << io;
    /* The ring has room for two messages of every request in work. It can only be full while the gateway is far behind
     * (or being replaced): wait for it, it needs nothing from us. */
    while (!efio_ring_push(r, ev_msg(type, slab, gen))) {
        efio_wake_ring(&s->seg->hdr->io_wake[io]);
        usleep(100);
    }
}

static uint32_t gen_of(const ev_slab *b)
{
    return efio_cookie_generation(atomic_load_explicit(&((ev_slab *)b)->cookie, memory_order_relaxed));
}

void ev_sched_final(ev_sched *s, uint64_t msg)
{
    send_message(s, EV_MSG_FINAL, ev_msg_slab(msg), ev_msg_gen(msg));
    atomic_fetch_sub_explicit(&s->thread->active, 1, memory_order_relaxed);
    ev_count(&s->thread->finished, 1);
}

static void notify_gateway(ev_sched *s, uint32_t slab)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    if (atomic_exchange(&b->out_pending, 1)) return;
    send_message(s, EV_MSG_NOTIFY, slab, gen_of(b));
}

/* --- request body */

ev_read_result ev_body_read(ev_sched *s, uint32_t slab, uint8_t *dst, size_t n, size_t *got)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    *got = 0;
    for (bool asked = false;;) {
        /* flags before window: what came before the end was flagged is then seen */
        uint32_t flags = atomic_load_explicit(&b->in_flags, memory_order_acquire);
        while (*got < n) {
            uint32_t k;
            uint8_t *at = efio_bytering_read_span(&b->in, ev_slab_in(s->seg, slab), EV_IN_CAP, &k);
            if (!k) break;
            if (k > n - *got) k = (uint32_t)(n - *got);
            memcpy(dst + *got, at, k);
            efio_bytering_read(&b->in, k);
            *got += k;
        }
        if (*got) {
            if (flags & EV_IN_END) return EV_READ_OK;
            atomic_thread_fence(memory_order_seq_cst); /* partner: ev_body_has_room */
            if (atomic_load_explicit(&b->in_paused, memory_order_relaxed) &&
                efio_bytering_used(&b->in) <= EV_IN_CAP / 2) {
                atomic_store_explicit(&b->in_paused, 0, memory_order_relaxed);
                notify_gateway(s, slab);
            }
            return EV_READ_OK;
        }
        if (flags & EV_IN_TOO_LARGE) return EV_READ_TOO_LARGE;
        if (flags & EV_IN_BROKEN) return EV_READ_BROKEN;
        if (flags & EV_IN_END) return EV_READ_END;
        if (asked) break;
        asked = true;
        atomic_store_explicit(&b->in_wanted, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* partner: ev_body_announce */
    }
    if (b->head.expect_continue && atomic_load_explicit(&b->in.head, memory_order_relaxed) == 0)
        notify_gateway(s, slab);
    return EV_READ_WAIT;
}

size_t ev_body_available(ev_sched *s, uint32_t slab)
{
    return (size_t)efio_bytering_used(&ev_slab_at(s->seg, slab)->in);
}

/* --- response */

void ev_resp_begin(ev_resp *r)
{
    memset(r, 0, sizeof *r);
    r->length = UINT64_MAX;
}

static bool is(const char *name, size_t n, const char *lower, size_t m)
{
    return n == m && strncasecmp(name, lower, m) == 0;
}

static bool parse_length(const char *p, size_t n, uint64_t *out)
{
    if (!n || n > 18) return false;
    uint64_t v = 0;
    for (size_t k = 0; k < n; k++) {
        if (p[k] < '0' || p[k] > '9') return false;
        v = v * 10 + (uint64_t)(p[k] - '0');
    }
    *out = v;
    return true;
}

ev_field_result ev_resp_field(ev_sched *s, uint32_t slab, ev_resp *r, const char *name, size_t n, const char *value,
                              size_t m)
{
    if (!n || !ev_http1_valid_name((const uint8_t *)name, n)) return EV_FIELD_BAD_NAME;
    if (!ev_http1_valid_value((const uint8_t *)value, m)) return EV_FIELD_BAD_VALUE;
    switch (n) {
    case 4:
        if (is(name, n, "date", 4)) r->flags |= EV_OUT_HAS_DATE;
        break;
    case 6:
        if (is(name, n, "server", 6)) r->flags |= EV_OUT_HAS_SERVER;
        break;
    case 10:
        if (is(name, n, "connection", 10)) {
            if (is(value, m, "close", 5)) r->flags |= EV_OUT_CLOSE;
            return EV_FIELD_OK; /* the connection is the gateway's affair */
        }
        if (is(name, n, "keep-alive", 10)) return EV_FIELD_OK;
        break;
    case 12:
        if (is(name, n, "content-type", 12)) r->has_type = true;
        break;
    case 14:
        if (is(name, n, "content-length", 14)) {
            uint64_t v;
            if (!parse_length(value, m, &v) || (r->has_length && v != r->length)) return EV_FIELD_BAD_LENGTH;
            r->has_length = true;
            r->length = v;
            return EV_FIELD_OK;
        }
        break;
    case 17:
        if (is(name, n, "transfer-encoding", 17)) return EV_FIELD_FORBIDDEN;
        break;
    default: break;
    }
    if (r->pos + n + m + 4 > EV_MAX_RESPONSE_HEAD - 128) return EV_FIELD_TOO_MUCH;
    uint8_t *p = ev_slab_out(s->seg, slab) + r->pos;
    memcpy(p, name, n);
    p += n;
    *p++ = ':';
    *p++ = ' ';
    memcpy(p, value, m);
    p += m;
    *p++ = '\r';
    *p++ = '\n';
    r->pos += (uint32_t)(n + m + 4);
    return EV_FIELD_OK;
}

static uint32_t put_decimal(uint8_t *p, uint64_t v)
{
    char digits[20];
    uint32_t n = 0;
    do digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    for (uint32_t k = 0; k < n; k++) p[k] = (uint8_t)digits[n - 1 - k];
    return n;
}

static uint32_t put_length(uint8_t *p, uint64_t length)
{
    memcpy(p, "Content-Length: ", 16);
    uint32_t n = 16 + put_decimal(p + 16, length);
    p[n] = '\r';
    p[n + 1] = '\n';
    return n + 2;
}

void ev_resp_head(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, uint64_t length)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    uint8_t *base = ev_slab_out(s->seg, slab);
    if (length != UINT64_MAX) r->length = length;
    bool bodiless = status == 204 || status == 304; /* RFC 9110 sections 15.3.5 and 15.4.5 */
    r->no_body = bodiless || b->head.method == EV_HEAD;
    if (status == 205) r->length = 0;
    if (!bodiless && r->length != UINT64_MAX) {
        r->pos += put_length(base + r->pos, r->length);
    } else if (!r->no_body) {
        if (b->head.minor == 1) {
            r->chunked = true;
            memcpy(base + r->pos, "Transfer-Encoding: chunked\r\n", 28);
            r->pos += 28;
        } else {
            r->flags |= EV_OUT_CLOSE; /* HTTP/1.0: the end of the connection is the end of the body */
        }
    }
    if (bodiless) r->length = 0;
    base[r->pos++] = '\r';
    base[r->pos++] = '\n';
    b->status = status;
    efio_bytering_wrote(&b->out, r->pos);
    r->flags |= EV_OUT_HEAD;
    r->started = true;
}

size_t ev_resp_write(ev_sched *s, uint32_t slab, ev_resp *r, const uint8_t *p, size_t n)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    uint8_t *base = ev_slab_out(s->seg, slab);
    if (r->length != UINT64_MAX && n > r->length - r->written) n = (size_t)(r->length - r->written);
    if (r->no_body || !n) {
        r->written += n;
        return n;
    }
    uint64_t room = efio_bytering_free(&b->out, EV_OUT_CAP);
    uint8_t frame[12];
    uint32_t nf = 0;
    if (r->chunked) {
        if (room < 64) return 0;
        room -= 16; /* size line and CRLF */
        if (n > room) n = (size_t)room;
        nf = (uint32_t)snprintf((char *)frame, sizeof frame, "%zx\r\n", n);
    } else if (n > room) {
        n = (size_t)room;
    }
    const uint8_t *part[3] = {frame, p, (const uint8_t *)"\r\n"};
    size_t len[3] = {nf, n, r->chunked ? 2 : 0};
    uint64_t head = atomic_load_explicit(&b->out.head, memory_order_relaxed);
    for (int k = 0; k < 3; k++) {
        size_t done = 0;
        while (done < len[k]) {
            uint32_t off = (uint32_t)(head % EV_OUT_CAP);
            size_t run = EV_OUT_CAP - off;
            if (run > len[k] - done) run = len[k] - done;
            memcpy(base + off, part[k] + done, run);
            done += run;
            head += run;
        }
    }
    atomic_store_explicit(&b->out.head, head, memory_order_release); /* one chunk appears at once */
    r->written += n;
    b->out_body = r->written;
    return n;
}

bool ev_resp_want_room(ev_sched *s, uint32_t slab)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    atomic_store_explicit(&b->out_wanted, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* partner: give_room in output.c */
    if (efio_bytering_used(&b->out) > EV_OUT_CAP / 2) return true;
    atomic_store_explicit(&b->out_wanted, 0, memory_order_relaxed);
    return false;
}

void ev_resp_publish(ev_sched *s, uint32_t slab, ev_resp *r)
{
    atomic_fetch_or_explicit(&ev_slab_at(s->seg, slab)->out_flags, r->flags, memory_order_release);
    notify_gateway(s, slab);
}

bool ev_resp_end(ev_sched *s, uint32_t slab, ev_resp *r)
{
    ev_slab *b = ev_slab_at(s->seg, slab);
    if (r->chunked) {
        if (efio_bytering_free(&b->out, EV_OUT_CAP) < 64) return false;
        for (const char *p = "0\r\n\r\n"; *p; p++) {
            uint32_t room;
            *efio_bytering_write_span(&b->out, ev_slab_out(s->seg, slab), EV_OUT_CAP, &room) = (uint8_t)*p;
            efio_bytering_wrote(&b->out, 1);
        }
    } else if (!r->no_body && r->length != UINT64_MAX && r->written < r->length) {
        r->flags |= EV_OUT_ABORT; /* less than announced: only closing tells the client */
    }
    r->ended = true;
    r->flags |= EV_OUT_END;
    atomic_fetch_or_explicit(&b->out_flags, r->flags, memory_order_release);
    return true;
}

void ev_resp_abort(ev_sched *s, uint32_t slab, ev_resp *r)
{
    r->ended = true;
    r->flags |= EV_OUT_ABORT;
    atomic_fetch_or_explicit(&ev_slab_at(s->seg, slab)->out_flags, r->flags, memory_order_release);
}

int ev_resp_file(ev_sched *s, uint64_t msg, ev_resp *r, int fd, uint64_t offset, uint64_t length)
{
    uint32_t slab = ev_msg_slab(msg);
    ev_slab *b = ev_slab_at(s->seg, slab);
    if (r->no_body || !length) {
        r->written = length;
        return 0;
    }
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&msg, sizeof msg};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    int sock = s->slot->fd_worker[ev_slab_io(s->seg, slab)];
    while (sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) return -errno; /* EAGAIN: many descriptors on their way; the caller tries again */
    }
    b->file_offset = offset;
    b->file_left = length;
    r->written = length;
    b->out_body = length;
    r->flags |= EV_OUT_FILE;
    return 0;
}

bool ev_resp_simple(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, const char *field_lines, size_t lines_len,
                    const uint8_t *body, size_t n)
{
    if (lines_len + n + 128 > EV_OUT_CAP) return false;
    ev_slab *b = ev_slab_at(s->seg, slab);
    uint8_t *base = ev_slab_out(s->seg, slab), *p = base;
    memcpy(p, field_lines, lines_len);
    p += lines_len;
    p += put_length(p, n);
    *p++ = '\r';
    *p++ = '\n';
    r->written = n;
    if (b->head.method != EV_HEAD) {
        memcpy(p, body, n);
        p += n;
        b->out_body = n;
    }
    r->started = r->ended = true;
    r->flags |= EV_OUT_HEAD | EV_OUT_END;
    b->status = status;
    efio_bytering_wrote(&b->out, (uint32_t)(p - base));
    atomic_store_explicit(&b->out_flags, r->flags, memory_order_release);
    return true;
}

/* --- liveness */

static void *heartbeat_main(void *arg)
{
    ev_heartbeat *h = arg;
    prctl(PR_SET_NAME, "evpy:heartbeat");
    uint64_t asked = 0;
    struct pollfd stop = {.fd = h->stop_fd, .events = POLLIN};
    for (;;) {
        uint64_t now = efio_now_ns();
        atomic_store_explicit(&h->slot->heartbeat_ns, now, memory_order_relaxed);
        if (now - asked >= h->ping_ns) {
            asked = now;
            for (uint32_t t = 0; t < EV_MAX_THREADS; t++) {
                ev_thread_slot *th = &h->slot->thread[t];
                if (atomic_load(&th->state) == EV_THREAD_UNUSED || atomic_load(&th->ping_ns)) continue;
                atomic_store(&th->ping_ns, now);
                efio_wake_ring(&th->wake);
            }
        }
        if (poll(&stop, 1, (int)(h->interval_ns / 1000000)) > 0) return NULL;
    }
}

int ev_heartbeat_start(ev_heartbeat *h, ev_segment *seg, uint32_t slot, uint64_t interval_ns, uint64_t ping_ns)
{
    h->seg = seg;
    h->slot = ev_worker_at(seg, slot);
    h->interval_ns = interval_ns;
    h->ping_ns = ping_ns;
    h->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (h->stop_fd < 0) return -errno;
    /* Before the thread runs: a process that is stopped at this moment would look as if it had never begun to live. */
    atomic_store_explicit(&h->slot->heartbeat_ns, efio_now_ns(), memory_order_relaxed);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals belong to the interpreter's main thread */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    int r = pthread_create(&h->thread, &attr, heartbeat_main, h);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r) {
        close(h->stop_fd);
        return -r;
    }
    h->running = true;
    return 0;
}

void ev_heartbeat_stop(ev_heartbeat *h)
{
    if (!h->running) return;
    uint64_t one = 1;
    ssize_t n = write(h->stop_fd, &one, sizeof one);
    (void)n;
    pthread_join(h->thread, NULL);
    close(h->stop_fd);
    h->running = false;
}
