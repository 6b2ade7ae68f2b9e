/* The turn: answers of workers, sockets, deadlines, dispatch - in this order, every one of them every time. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS      256
#define SPARE_CONNS 1024
#define WAKE_MARK   ((uint64_t)EV_MAX_LISTENERS << 1 | 1) /* listeners are i << 1 | 1; connections are even pointers */

void ev_engine_mark_dirty(ev_engine *e, ev_conn *c)
{
    if (c->dirty || c->state == EV_C_CLOSED) return;
    c->dirty = true;
    c->link = e->dirty;
    e->dirty = c;
}

static void bury(ev_engine *e, ev_conn *c)
{
    if (e->n_spare >= SPARE_CONNS) {
        free(c);
        return;
    }
    c->link = e->spare;
    e->spare = c;
    e->n_spare++;
}

static void run_dirty(ev_engine *e)
{
    ev_conn *list = e->dirty; /* what becomes dirty meanwhile waits for the next turn */
    e->dirty = NULL;
    while (list) {
        ev_conn *c = list;
        list = c->link;
        c->dirty = false;
        if (c->state == EV_C_CLOSED)
            bury(e, c);
        else
            ev_conn_continue(e, c);
    }
}

int ev_engine_open(ev_engine *e, ev_segment *seg, uint32_t io, ev_accesslog *log)
{
    memset(e, 0, offsetof(ev_engine, scratch));
    e->seg = seg;
    e->hdr = seg->hdr;
    e->io = io;
    e->cnt = &seg->hdr->counters[io];
    e->log = log;
    e->n_slabs = e->hdr->slabs;
    e->slab_base = io * e->n_slabs;
    e->free_slabs = calloc(e->n_slabs, sizeof *e->free_slabs);
    e->priv = calloc(e->n_slabs, sizeof *e->priv);
    e->workers = calloc(e->hdr->slots, sizeof *e->workers);
    e->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!e->free_slabs || !e->priv || !ev_queue_open(e) || !e->workers || e->epfd < 0) {
        int err = e->epfd < 0 ? errno : ENOMEM;
        ev_engine_close(e);
        return -err;
    }
    e->now_ns = efio_now_ns();
    e->wheel_tick = e->now_ns / EV_TICK_NS;
    if (e->hdr->server_header[0])
        e->server_len =
            (uint32_t)snprintf(e->server_line, sizeof e->server_line, "Server: %.63s\r\n", e->hdr->server_header);
    ev_refresh_date(e);
    e->n_listeners = e->hdr->listeners;
    for (uint32_t i = 0; i < e->n_listeners; i++) {
        e->listener_fd[i] = e->hdr->listener_fd[i];
        fcntl(e->listener_fd[i], F_SETFL, fcntl(e->listener_fd[i], F_GETFL) | O_NONBLOCK);
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = WAKE_MARK};
    epoll_ctl(e->epfd, EPOLL_CTL_ADD, e->hdr->io_wake[io].fd, &ev);
    ev_workers_takeover(e);
    ev_workers_scan(e);
    ev_listen_start(e);
    return 0;
}

/* Every connection is on the wheel or dirty or waits for a worker's slab; walk them all. */
static void each_connection(ev_engine *e, void (*act)(ev_engine *, ev_conn *))
{
    for (uint32_t slot = 0; slot < EV_WHEEL; slot++)
        for (ev_conn *c = e->wheel[slot], *next; c; c = next) {
            next = c->next;
            act(e, c);
        }
}

void ev_engine_close(ev_engine *e)
{
    if (e->priv) {
        each_connection(e, ev_conn_close);
        for (uint32_t i = 0; i < e->n_slabs; i++)
            if (e->priv[i].conn) ev_conn_close(e, e->priv[i].conn);
    }
    run_dirty(e);
    for (ev_conn *c = e->graveyard, *next; c; c = next) {
        next = c->link;
        free(c);
    }
    for (ev_conn *c = e->spare, *next; c; c = next) {
        next = c->link;
        free(c);
    }
    e->graveyard = e->spare = NULL;
    ev_fetch_close(e->fetcher);
    e->fetcher = NULL;
    free(e->free_slabs);
    free(e->priv);
    ev_queue_close(e);
    free(e->workers);
    e->free_slabs = NULL;
    e->priv = NULL;
    e->workers = NULL;
    if (e->epfd >= 0) close(e->epfd);
    e->epfd = -1;
}

static void start_draining(ev_engine *e)
{
    e->draining = true;
    for (uint32_t i = 0; i < e->n_listeners; i++) ev_listen_accept(e, i); /* what the kernel has accepted already */
    ev_listen_stop(e);
    each_connection(e, ev_conn_drain);
}

/* The grace time is over. */
static void give_up(ev_engine *e)
{
    e->given_up = true;
    for (uint32_t i = 0; i < e->n_slabs; i++)
        if (e->priv[i].conn) ev_conn_give_up(e, e->priv[i].conn);
    each_connection(e, ev_conn_give_up);
}

bool ev_engine_drained(const ev_engine *e)
{
    return e->draining && e->open == 0;
}

static int wait_events(ev_engine *e, struct epoll_event *ev, int64_t timeout_ns)
{
    if (timeout_ns == 0) return epoll_wait(e->epfd, ev, EVENTS, 0);
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    long n = syscall(SYS_epoll_pwait2, e->epfd, ev, EVENTS, timeout_ns < 0 ? NULL : &ts, NULL, (size_t)8);
    if (n < 0 && errno == ENOSYS) { /* Linux before 5.11 */
        int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
        n = epoll_wait(e->epfd, ev, EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms);
    }
    return (int)n;
}

int64_t ev_engine_next_deadline(ev_engine *e)
{
    if (e->dirty) return 0;
    uint64_t at = ev_timers_next(e);
    if (e->stall_ns && e->stall_ns < at) at = e->stall_ns;
    if (e->accept_paused && e->accept_retry_ns < at) at = e->accept_retry_ns;
    if (at == UINT64_MAX) return -1;
    uint64_t now = efio_now_ns();
    return at > now ? (int64_t)(at - now) : 0;
}

static void housekeeping(ev_engine *e)
{
    e->now_ns = efio_now_ns();
    atomic_store_explicit(&e->cnt->heartbeat_ns, e->now_ns, memory_order_relaxed);
    ev_count(&e->cnt->turns, 1);
    ev_refresh_date(e);
    ev_workers_scan(e);
    uint32_t mode = atomic_load_explicit(&e->hdr->gateway_mode, memory_order_relaxed);
    if (mode >= EV_DRAIN && !e->draining) start_draining(e);
    if (mode >= EV_STOP && !e->shut) ev_listen_shut(e);
    if (mode >= EV_GIVE_UP && !e->given_up) give_up(e);
    ev_timers_run(e);
    if (e->accept_paused) ev_listen_retry(e);
    if (e->stall_ns && e->now_ns >= e->stall_ns) e->stall_ns = ev_stall_check(e) ? e->now_ns + EV_STALL_NS : 0;
    if (e->log) ev_count(&e->cnt->log_dropped, ev_accesslog_dropped(e->log));
}

int ev_engine_turn(ev_engine *e, int64_t timeout_ns)
{
    efio_waker *wake = &e->hdr->io_wake[e->io];
    struct epoll_event ev[EVENTS];
    int64_t t = timeout_ns;
    if (e->dirty) t = 0;
    if (t) {
        int64_t due = ev_engine_next_deadline(e);
        if (due >= 0 && (t < 0 || due < t)) t = due;
    }
    efio_wake_prepare(wake); /* in inline mode the hub sleeps for us, after turns that did not wait */
    if (ev_workers_ready(e) || ev_fetch_ready(e->fetcher)) t = 0;
    int n = wait_events(e, ev, t);
    if (timeout_ns || n) efio_wake_cancel(wake);
    housekeeping(e);
    for (int i = 0; i < n; i++) {
        uint64_t mark = ev[i].data.u64;
        if (mark == WAKE_MARK) continue;
        if (mark & 1)
            ev_listen_accept(e, (uint32_t)(mark >> 1));
        else
            ev_conn_event(e, ev[i].data.ptr, ev[i].events);
    }
    int got = ev_workers_collect(e);
    if (ev_fetch_ready(e->fetcher)) ev_output_fetched(e);
    if (e->dirty) run_dirty(e);
    ev_dispatch(e);
    ev_dispatch_flush_wakes(e);
    while (e->graveyard) {
        ev_conn *c = e->graveyard;
        e->graveyard = c->link;
        bury(e, c);
    }
    return n > 0 ? n + got : got;
}
