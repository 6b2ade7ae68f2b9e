/* Access log: the way of a line from the I/O thread to the file.
 *
 * A single-producer byte ring (efio/native/bytering.h) holds whole lines. The writer copies as many of them as it may
 * write at once into its batch, which frees the ring, and writes that: at most PIPE_BUF bytes to a pipe or socket, so
 * that the lines of several I/O threads do not mix, far more to a file. A write may block for as long as it likes; what
 * fails is dropped and counted.
 *
 * The producer rings (a system call) only when the ring reaches wake_at: one byte while the writer is idle, half the
 * ring while it gathers for 100 ms, never while it works. Dekker's pattern as in efio/native/wake.h: the writer stores
 * wake_at, then looks at the ring; the producer publishes a line, then looks at wake_at; a fence lies between. */
#define _GNU_SOURCE
#include "evpy/gateway/accesslog.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evpy/gateway/logline.h"

#define RING      (1u << 20)
#define BATCH     (64u << 10)
#define GATHER_MS 100
#define CLOSE_NS  900000000ull /* of the second that close may take; the rest is for the last poll */
#define NEVER     UINT64_MAX
_Static_assert(EV_LOG_LINE <= PIPE_BUF && EV_LOG_LINE <= BATCH, "a batch holds at least one line");

struct ev_accesslog {
    efio_bytering ring;
    EFIO_ALIGNED _Atomic uint64_t wake_at; /* bytes in the ring at which to ring; whoever rings stores NEVER */
    _Atomic uint64_t dropped;
    _Atomic uint64_t deadline_ns; /* 0: open; when the writer has to be done */
    _Atomic int fd;
    int event;
    bool json;
    pthread_t thread;
    ev_log_stamp stamp; /* producer */

    /* Writer: lines up to batch_len, of which those before batch_at are written. */
    EFIO_ALIGNED size_t batch_at;
    size_t batch_len;
    int last_fd;
    uint8_t batch[EV_LOG_LINE + BATCH]; /* the first: of a line that was written in part */
    uint8_t data[RING];
};

static void ring_bell(ev_accesslog *log)
{
    uint64_t one = 1;
    ssize_t n = write(log->event, &one, sizeof one); /* fails only when it is rung already */
    (void)n;
}

bool ev_accesslog_put(ev_accesslog *log, const ev_log_entry *entry)
{
    uint8_t line[EV_LOG_LINE];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t len = (log->json ? ev_logline_json : ev_logline_combined)(line, entry, now, &log->stamp);
    uint64_t used = efio_bytering_used(&log->ring) + len;
    if (used > RING) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return false;
    }
    uint32_t at = (uint32_t)(atomic_load_explicit(&log->ring.head, memory_order_relaxed) % RING);
    size_t first = len < RING - at ? len : RING - at;
    memcpy(log->data + at, line, first);
    memcpy(log->data, line + first, len - first);
    efio_bytering_wrote(&log->ring, (uint32_t)len);
    atomic_thread_fence(memory_order_seq_cst);
    if (used >= atomic_load_explicit(&log->wake_at, memory_order_relaxed) &&
        atomic_exchange_explicit(&log->wake_at, NEVER, memory_order_relaxed) != NEVER)
        ring_bell(log);
    return true;
}

uint64_t ev_accesslog_dropped(ev_accesslog *log)
{
    return atomic_exchange_explicit(&log->dropped, 0, memory_order_relaxed);
}

void ev_accesslog_set_fd(ev_accesslog *log, int fd)
{
    atomic_store_explicit(&log->fd, fd, memory_order_release);
}

/* Waits for the bell; also for room in fd, unless that is -1. */
static void wait_bell(ev_accesslog *log, int fd, int timeout_ms)
{
    struct pollfd p[] = {{.fd = log->event, .events = POLLIN}, {.fd = fd, .events = POLLOUT}};
    uint64_t count;
    if (poll(p, 2, timeout_ms) > 0 && p[0].revents) {
        ssize_t n = read(log->event, &count, sizeof count);
        (void)n;
    }
}

/* Sleeps until the ring holds `level` bytes, the log is closed or the time is over (-1: never). */
static void wait_lines(ev_accesslog *log, uint64_t level, int timeout_ms)
{
    atomic_store_explicit(&log->wake_at, level, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (efio_bytering_used(&log->ring) < level && !atomic_load(&log->deadline_ns)) wait_bell(log, -1, timeout_ms);
    atomic_store_explicit(&log->wake_at, NEVER, memory_order_relaxed);
}

static uint64_t count_lines(const uint8_t *p, size_t n)
{
    uint64_t lines = 0;
    for (const uint8_t *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++) lines++;
    return lines;
}

/* Appends whole lines out of the ring to what is left of the batch. False: there are none. */
static bool refill(ev_accesslog *log)
{
    if (log->batch_at == log->batch_len) log->batch_at = log->batch_len = 0;
    uint8_t *to = log->batch + log->batch_len;
    struct stat st;
    bool regular = fstat(atomic_load(&log->fd), &st) == 0 && S_ISREG(st.st_mode);
    size_t n = efio_bytering_used(&log->ring), limit = regular ? BATCH : PIPE_BUF;
    if (n > limit) n = limit;
    if (!n) return false;
    uint32_t at = (uint32_t)(atomic_load_explicit(&log->ring.tail, memory_order_relaxed) % RING);
    size_t first = n < RING - at ? n : RING - at;
    memcpy(to, log->data + at, first);
    memcpy(to + first, log->data, n - first);
    n = (size_t)((uint8_t *)memrchr(to, '\n', n) + 1 - to);
    log->batch_len += n;
    efio_bytering_read(&log->ring, (uint32_t)n);
    return true;
}

/* Start of the line that the batch stands in. */
static size_t line_start(const ev_accesslog *log)
{
    const uint8_t *nl = memrchr(log->batch, '\n', log->batch_at);
    return nl ? (size_t)(nl + 1 - log->batch) : 0;
}

/* Gives up the batch, but for a line whose beginning is written already: its rest goes before what is written next, so
 * that a full disk leaves no half lines behind. */
static void drop_batch(ev_accesslog *log)
{
    size_t start = line_start(log), end = log->batch_at;
    if (start < end) end = (size_t)((uint8_t *)memchr(log->batch + end, '\n', log->batch_len - end) + 1 - log->batch);
    uint64_t lines = count_lines(log->batch + end, log->batch_len - end);
    atomic_fetch_add_explicit(&log->dropped, lines, memory_order_relaxed);
    memmove(log->batch, log->batch + start, end - start);
    log->batch_at -= start;
    log->batch_len = end - start;
}

static bool is_late(ev_accesslog *log)
{
    uint64_t deadline = atomic_load(&log->deadline_ns);
    return deadline && efio_now_ns() >= deadline;
}

/* Until the ring is empty, or the log closed and its time over. */
static void drain(ev_accesslog *log)
{
    bool failed = false;
    while (!is_late(log)) {
        if ((failed || log->batch_at == log->batch_len) && !refill(log)) return;
        failed = false;
        int fd = atomic_load_explicit(&log->fd, memory_order_acquire);
        if (fd != log->last_fd) { /* another file gets the line from its beginning */
            log->batch_at = line_start(log);
            log->last_fd = fd;
        }
        ssize_t n = write(fd, log->batch + log->batch_at, log->batch_len - log->batch_at);
        if (n > 0) {
            log->batch_at += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            wait_bell(log, fd, GATHER_MS);
        } else if (n == 0 || errno != EINTR) { /* ENOSPC, EIO, EPIPE, ... */
            drop_batch(log);
            failed = true;
        }
    }
}

static void *writer(void *arg)
{
    ev_accesslog *log = arg;
    for (;;) {
        bool last = atomic_load(&log->deadline_ns) != 0;
        drain(log);
        if (last) return NULL;
        wait_lines(log, RING / 2, GATHER_MS);
        wait_lines(log, 1, -1);
    }
}

ev_accesslog *ev_accesslog_open(int fd, bool json)
{
    ev_accesslog *log = aligned_alloc(EFIO_LINE, sizeof *log);
    if (!log) return NULL;
    memset(log, 0, offsetof(ev_accesslog, batch));
    atomic_store(&log->wake_at, NEVER);
    atomic_store(&log->fd, fd);
    log->last_fd = fd;
    log->json = json;
    log->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (log->event >= 0) {
        /* The thread inherits the mask: signals are for others, and SIGPIPE of a closed pipe stays pending. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int failed = pthread_create(&log->thread, NULL, writer, log);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!failed) return log;
        close(log->event);
    }
    free(log);
    return NULL;
}

uint64_t ev_accesslog_close(ev_accesslog *log)
{
    if (!log) return 0;
    atomic_store(&log->deadline_ns, efio_now_ns() + CLOSE_NS);
    ring_bell(log);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 1;
    if (pthread_timedjoin_np(log->thread, NULL, &limit)) { /* in a write that blocks: a cancellation point */
        pthread_cancel(log->thread);
        pthread_join(log->thread, NULL);
    }
    uint64_t lost = ev_accesslog_dropped(log);
    do {
        lost += count_lines(log->batch + log->batch_at, log->batch_len - log->batch_at);
        log->batch_at = log->batch_len;
    } while (refill(log));
    close(log->event);
    free(log);
    return lost;
}
