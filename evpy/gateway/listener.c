/* Accepting. Every I/O thread watches every listener (EPOLLEXCLUSIVE: one of them is woken per connection). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"

#define ACCEPT_BATCH    64 /* per turn and listener: established connections get their turn too */
#define ACCEPT_PAUSE_NS 100000000ull

void ev_listen_start(ev_engine *e)
{
    for (uint32_t i = 0; i < e->n_listeners; i++) {
        struct epoll_event ev = {.events = EPOLLIN | (e->hdr->io_threads > 1 ? EPOLLEXCLUSIVE : 0),
                                 .data.u64 = (uint64_t)i << 1 | 1};
        if (e->listener_fd[i] >= 0) epoll_ctl(e->epfd, EPOLL_CTL_ADD, e->listener_fd[i], &ev);
    }
    e->accepting = true;
    e->accept_paused = false;
}

void ev_listen_stop(ev_engine *e)
{
    if (!e->accepting) return;
    for (uint32_t i = 0; i < e->n_listeners; i++)
        if (e->listener_fd[i] >= 0) epoll_ctl(e->epfd, EPOLL_CTL_DEL, e->listener_fd[i], NULL);
    e->accepting = false;
}

/* Out of descriptors or memory, or at the limit: new connections wait in the kernel's backlog for a moment. */
static void pause_accepting(ev_engine *e)
{
    ev_count(&e->cnt->connections_refused, 1);
    ev_listen_stop(e);
    e->accept_paused = true;
    e->accept_retry_ns = e->now_ns + ACCEPT_PAUSE_NS;
}

/* The supervisor and others hold copies of the descriptors, so closing ours would leave them open: the kernel would go
 * on completing connections that nobody will ever accept. Sockets that came from outside (systemd) stay as they are. */
void ev_listen_shut(ev_engine *e)
{
    e->shut = true;
    for (uint32_t i = 0; i < e->n_listeners; i++)
        if (e->listener_fd[i] >= 0 && e->hdr->listener_own[i]) shutdown(e->listener_fd[i], SHUT_RDWR);
}

void ev_listen_retry(ev_engine *e)
{
    if (!e->accept_paused || e->draining) return;
    if (e->open < e->hdr->max_connections && e->now_ns >= e->accept_retry_ns) ev_listen_start(e);
}

void ev_listen_accept(ev_engine *e, uint32_t index)
{
    for (int n = 0; n < ACCEPT_BATCH && e->accepting; n++) {
        if (e->open >= e->hdr->max_connections) {
            pause_accepting(e);
            return;
        }
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        int fd = accept4(e->listener_fd[index], (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting(e);
            if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
            return;
        }
        if (ss.ss_family != AF_UNIX) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        }
        ev_conn *c = ev_conn_new(e, fd, (uint8_t)index, (struct sockaddr *)&ss);
        if (!c) {
            close(fd);
            pause_accepting(e);
            return;
        }
    }
}
