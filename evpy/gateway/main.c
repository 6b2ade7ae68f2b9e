/* evpy-gateway: the process that owns the sockets. Started by the supervisor, which has prepared the segment.
 *
 *   evpy-gateway --segment FD
 *
 * Exit status: 0 drained, 2 usage, 3 could not start. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine.h"
#include "evpy/native/timeslice.h"

#define HEARTBEAT_NS 500000000ll   /* an idle thread still shows that it lives this often */
#define ORPHAN_NS    5000000000ull /* how long to go on draining without a supervisor */

static ev_segment segment;
static pid_t supervisor;

static void ring_all(void)
{
    for (uint32_t io = 0; io < segment.hdr->io_threads; io++) efio_wake_ring(&segment.hdr->io_wake[io]);
}

static void on_term(int sig)
{
    (void)sig;
    int saved = errno;
    uint32_t running = EV_RUN;
    atomic_compare_exchange_strong(&segment.hdr->gateway_mode, &running, EV_DRAIN);
    ring_all();
    errno = saved;
}

/* The supervisor has put another file behind its descriptor (log rotation): do the same with ours, which is a copy of
 * it. dup3() replaces it for the writers of all I/O threads at once; a write under way goes to the old file. */
static void follow_access_log(void)
{
    int fd = segment.hdr->access_log_fd;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)supervisor, fd);
    int fresh = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (fresh < 0) {
        fprintf(stderr,
                "evpy-gateway: cannot follow the access log to its new file (%s): %s; the old one stays in use\n", path,
                strerror(errno));
        return;
    }
    dup3(fresh, fd, O_CLOEXEC);
    close(fresh);
}

static void run(ev_engine *e)
{
    if (e->hdr->time_slice) ev_set_time_slice(e->hdr->time_slice); /* refused: then it goes without */
    uint64_t orphan_ns = 0;
    uint32_t turn = atomic_load(&segment.hdr->access_log_turn);
    while (!ev_engine_drained(e)) {
        ev_engine_turn(e, HEARTBEAT_NS);
        uint32_t now = atomic_load_explicit(&segment.hdr->access_log_turn, memory_order_acquire);
        if (e->io == 0 && e->log && now != turn) {
            turn = now;
            follow_access_log();
        }
        if (e->io == 0 && !orphan_ns && getppid() != supervisor) {
            orphan_ns = e->now_ns;
            on_term(0);
        }
        if (orphan_ns && e->now_ns > orphan_ns + ORPHAN_NS) _exit(0);
    }
}

static void *thread_main(void *arg)
{
    ev_engine *e = arg;
    char name[16];
    snprintf(name, sizeof name, "evpy:io-%u", e->io % 1000);
    prctl(PR_SET_NAME, name);
    run(e);
    return NULL;
}

static int usage(void)
{
    fprintf(stderr, "usage: evpy-gateway --segment FD   (started by evserver, not by hand)\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--segment") != 0) return usage();
    char *end;
    long fd = strtol(argv[2], &end, 10);
    if (*end || end == argv[2] || fd < 0 || fd > INT32_MAX) return usage();
    supervisor = getppid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_NAME, "evpy:gateway");
    int r = ev_segment_attach(&segment, (int)fd);
    if (r < 0) {
        fprintf(stderr, "evpy-gateway: descriptor %ld is not a segment of this version: %s\n", fd, strerror(-r));
        return 3;
    }
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    struct sigaction sa = {.sa_handler = on_term, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &sa, NULL);
    atomic_store(&segment.hdr->gateway_pid, (int)getpid());
    atomic_fetch_add(&segment.hdr->gateway_epoch, 1);
    uint32_t n = segment.hdr->io_threads;
    ev_engine *engines = calloc(n, sizeof *engines);
    pthread_t threads[EV_MAX_IO];
    if (!engines) {
        fprintf(stderr, "evpy-gateway: out of memory\n");
        return 3;
    }
    for (uint32_t io = 0; io < n; io++) {
        int log_fd = segment.hdr->access_log_fd;
        ev_accesslog *log = log_fd >= 0 ? ev_accesslog_open(log_fd, segment.hdr->access_log_json) : NULL;
        r = ev_engine_open(&engines[io], &segment, io, log);
        if (r < 0) {
            fprintf(stderr, "evpy-gateway: cannot start I/O thread %u: %s\n", io, strerror(-r));
            return 3;
        }
    }
    for (uint32_t io = 1; io < n; io++)
        if ((r = pthread_create(&threads[io], NULL, thread_main, &engines[io])) != 0) {
            fprintf(stderr, "evpy-gateway: cannot start I/O thread %u: %s\n", io, strerror(r));
            return 3;
        }
    run(&engines[0]);
    for (uint32_t io = 1; io < n; io++) pthread_join(threads[io], NULL);
    for (uint32_t io = 0; io < n; io++)
        if (engines[io].log) ev_accesslog_close(engines[io].log);
    return 0;
}
