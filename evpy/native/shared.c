#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

int ev_shared_open(ev_segment *s)
{
    ev_header *h = s->hdr;
    for (uint32_t io = 0; io < h->io_threads; io++)
        if ((h->io_wake[io].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) return -errno;
    for (uint32_t w = 0; w < h->slots; w++) {
        ev_worker_slot *slot = ev_worker_at(s, w);
        for (uint32_t t = 0; t < h->threads; t++)
            if ((slot->thread[t].wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) return -errno;
        for (uint32_t io = 0; io < h->io_threads; io++) {
            int pair[2];
            if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
            slot->fd_worker[io] = pair[0];
            slot->fd_gateway[io] = pair[1];
        }
    }
    return 0;
}

static void close_fd(int32_t *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void ev_shared_close(ev_segment *s)
{
    ev_header *h = s->hdr;
    for (uint32_t io = 0; io < h->io_threads; io++) close_fd(&h->io_wake[io].fd);
    for (uint32_t w = 0; w < h->slots; w++) {
        ev_worker_slot *slot = ev_worker_at(s, w);
        for (uint32_t t = 0; t < h->threads; t++) close_fd(&slot->thread[t].wake.fd);
        for (uint32_t io = 0; io < h->io_threads; io++) {
            close_fd(&slot->fd_worker[io]);
            close_fd(&slot->fd_gateway[io]);
        }
    }
}

uint32_t ev_begin_worker(ev_segment *s, uint32_t w)
{
    ev_worker_slot *slot = ev_worker_at(s, w);
    for (uint32_t t = 0; t < EV_MAX_THREADS; t++) {
        ev_thread_slot *th = &slot->thread[t];
        int32_t fd = th->wake.fd;
        memset(th, 0, sizeof *th);
        th->wake.fd = fd;
        uint64_t drain;
        if (fd >= 0 && read(fd, &drain, sizeof drain) < 0) {
            /* nothing pending: as it should be */
        }
    }
    atomic_store(&slot->heartbeat_ns, 0);
    atomic_store(&slot->pid, 0);
    atomic_store(&slot->killed, 0);
    atomic_store(&slot->threads, 0);
    uint32_t gen = atomic_fetch_add(&slot->generation, 1) + 1;
    ev_set_worker_state(s, w, EV_WORKER_STARTING);
    return gen;
}

void ev_wake_gateway(ev_segment *s)
{
    for (uint32_t io = 0; io < s->hdr->io_threads; io++)
        if (s->hdr->io_wake[io].fd >= 0) efio_wake_ring(&s->hdr->io_wake[io]);
}

void ev_set_worker_state(ev_segment *s, uint32_t w, uint32_t state)
{
    ev_worker_slot *slot = ev_worker_at(s, w);
    atomic_store(&slot->state, state);
    ev_wake_gateway(s);
    if (state != EV_WORKER_DRAINING) return;
    for (uint32_t t = 0; t < s->hdr->threads; t++)
        if (slot->thread[t].wake.fd >= 0) efio_wake_ring(&slot->thread[t].wake);
}

void ev_worker_is_ready(ev_segment *s, uint32_t w)
{
    uint32_t starting = EV_WORKER_STARTING;
    if (atomic_compare_exchange_strong(&ev_worker_at(s, w)->state, &starting, EV_WORKER_READY)) ev_wake_gateway(s);
}

bool ev_worker_acked(ev_segment *s, uint32_t w, uint32_t state)
{
    ev_worker_slot *slot = ev_worker_at(s, w);
    uint32_t want = atomic_load(&slot->generation) << 4 | state;
    for (uint32_t io = 0; io < s->hdr->io_threads; io++)
        if (atomic_load(&slot->acked[io]) != want) return false;
    return true;
}

#define C(name) {#name, offsetof(ev_counters, name)}

const ev_counter_name *ev_counter_names(void)
{
    static const ev_counter_name names[] = {C(connections),
                                            C(connections_open),
                                            C(connections_refused),
                                            C(requests),
                                            C(answered),
                                            C(failed),
                                            C(expired),
                                            C(shed),
                                            C(recalled),
                                            C(aborted),
                                            C(refused),
                                            C(lost),
                                            C(bad_requests),
                                            C(header_timeouts),
                                            C(body_timeouts),
                                            C(keepalive_timeouts),
                                            C(send_timeouts),
                                            C(costly),
                                            C(retried),
                                            C(stale),
                                            C(underscore_fields),
                                            C(continues),
                                            C(upgrades_ignored),
                                            C(bytes_in),
                                            C(bytes_out),
                                            C(turns),
                                            C(wakes),
                                            C(steal_wakes),
                                            C(fetches),
                                            C(queue_len),
                                            C(queue_max),
                                            C(slabs_used),
                                            C(slabs_max),
                                            C(buffered),
                                            C(log_lines),
                                            C(log_dropped),
                                            {NULL, 0}};
    return names;
}
