/* The way of lines to the file: every line that was put is written whole or counted as dropped, whatever the descriptor
 * does: a pipe that nobody reads, a full disk, a file that takes half a line, a reader that is gone. */
#define _GNU_SOURCE
#include "tests/native/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "evpy/gateway/accesslog.h"

#define RING (1u << 20)

static uint8_t head[1800]; /* "xxx..." */

/* Line number n of a source; both stand in it. With a target of `len` bytes. */
static bool put(ev_accesslog *log, unsigned source, uint64_t n, size_t len)
{
    ev_http1_head h = {.method_len = 3, .target_len = (uint16_t)len, .minor = 1};
    ev_log_entry e = {head, &h, "192.0.2.7", 1, n, 1000, source, false};
    return ev_accesslog_put(log, &e);
}

/* Reads lines as they were put, in any pieces. */
typedef struct {
    uint64_t lines, last[2];
    size_t held;
    char line[8192];
} reader;

static void take_line(reader *r, const char *line)
{
    unsigned source;
    unsigned long long n;
    const char *rest = strchr(line, '"');
    int fine = rest && strncmp(line, "192.0.2.7 - - [", 15) == 0 && (rest = strchr(rest + 1, '"')) &&
               sscanf(rest, "\" %u %llu ", &source, &n) == 2 && source < 2 && strlen(line) > 8 &&
               strcmp(line + strlen(line) - 8, " \"-\" \"-\"") == 0;
    CHECK(fine, "torn or mixed: %s", line);
    if (fine) {
        CHECK(n > r->last[source], "out of order: %llu after %llu", n, (unsigned long long)r->last[source]);
        r->last[source] = n;
    }
    r->lines++;
}

static void feed(reader *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || r->held == sizeof r->line - 1) {
            r->line[r->held] = 0;
            take_line(r, r->line);
            r->held = 0;
        } else {
            r->line[r->held++] = p[i];
        }
    }
}

/* Reads until `lines` are there, or the end. */
static void read_lines(reader *r, int fd, uint64_t lines)
{
    char buf[65536];
    ssize_t n;
    while (r->lines < lines && (n = read(fd, buf, sizeof buf)) > 0) feed(r, buf, (size_t)n);
}

static int new_file(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    CHECK(fd >= 0, "memfd_create");
    return fd;
}

/* Whole lines in a file from its beginning; `torn` bytes of a further one may follow. */
static uint64_t lines_in(int fd, size_t torn)
{
    reader r = {0};
    lseek(fd, 0, SEEK_SET);
    read_lines(&r, fd, UINT64_MAX);
    CHECK(r.held == torn, "%zu bytes of a torn line", r.held);
    return r.lines;
}

static void test_file(void)
{
    int fd = new_file();
    ev_accesslog *log = ev_accesslog_open(fd, false);
    uint64_t kept = 0, refused = 0;
    for (uint64_t n = 1; n <= 20000; n++) /* several times round the ring */
        put(log, 0, n, n % 1700) ? kept++ : refused++;
    CHECK(ev_accesslog_close(log) == refused, "lost is not refused");
    CHECK(lines_in(fd, 0) == kept, "not all are there");
    CHECK(kept > 1000, "only %llu", (unsigned long long)kept);
    close(fd);
}

static void test_written_without_close(void)
{
    int p[2];
    reader r = {0};
    CHECK(pipe(p) == 0, "pipe");
    ev_accesslog *log = ev_accesslog_open(p[1], false);
    for (uint64_t n = 1; n <= 3; n++) {
        CHECK(put(log, 0, n, 5), "refused");
        read_lines(&r, p[0], n); /* hangs when nothing wakes the writer */
        CHECK(r.lines == n, "%llu", (unsigned long long)r.lines);
        usleep(150000); /* so that the writer goes from gathering to idling; either way it has to work */
    }
    CHECK(ev_accesslog_close(log) == 0, "lost");
    close(p[0]), close(p[1]);
}

/* A pipe that is not read takes 64 KiB, the ring its own; all else is refused and counted. */
static void test_stalled_pipe(int flags, bool read_again)
{
    int p[2];
    reader r = {0};
    CHECK(pipe2(p, flags) == 0, "pipe");
    fcntl(p[0], F_SETFL, 0);
    ev_accesslog *log = ev_accesslog_open(p[1], false);
    uint64_t kept = 0, refused = 0, n = 0;
    while (refused < 5000 && n < 50000) put(log, 0, ++n, 100) ? kept++ : refused++;
    CHECK(refused == 5000, "the ring has no bound");
    for (size_t len = 200; len--;) put(log, 0, ++n, len) ? kept++ : refused++; /* to the last byte */
    CHECK(kept * 180 > RING, "only %llu kept", (unsigned long long)kept);
    CHECK(ev_accesslog_dropped(log) == refused, "not counted");
    CHECK(ev_accesslog_dropped(log) == 0, "not cleared");
    if (read_again) {
        read_lines(&r, p[0], kept);
        CHECK(put(log, 0, ++n, 100), "there is room again");
        read_lines(&r, p[0], ++kept);
    }
    uint64_t lost = ev_accesslog_close(log);
    close(p[1]);
    read_lines(&r, p[0], UINT64_MAX);
    CHECK(r.held == 0, "%zu bytes of a torn line", r.held);
    CHECK(r.lines + lost == kept, "%llu + %llu of %llu", (unsigned long long)r.lines, (unsigned long long)lost,
          (unsigned long long)kept);
    CHECK(read_again == (lost == 0), "lost %llu", (unsigned long long)lost);
    close(p[0]);
}

/* The kernel keeps a write to a pipe in one piece up to PIPE_BUF: each has to hold whole lines. A pipe of packets
 * (O_DIRECT) shows what was written at once. */
static void test_pieces(void)
{
    int p[2];
    char buf[PIPE_BUF];
    uint64_t lines = 0, n = 0;
    CHECK(pipe2(p, O_DIRECT) == 0, "pipe");
    ev_accesslog *log = ev_accesslog_open(p[1], false);
    for (; n < 2000; n++) CHECK(put(log, 0, n, n % 300), "refused"); /* more than the pipe takes: the rest piles up */
    while (lines < n) {
        ssize_t got = read(p[0], buf, sizeof buf);
        CHECK(got > 0 && buf[got - 1] == '\n', "a piece of %zd bytes ends inside a line", got);
        for (ssize_t i = 0; i < got; i++) lines += buf[i] == '\n';
    }
    CHECK(ev_accesslog_close(log) == 0, "lost");
    close(p[0]), close(p[1]);
}

static void wait_dropped(ev_accesslog *log, uint64_t lines)
{
    uint64_t seen = 0;
    while (seen < lines) {
        seen += ev_accesslog_dropped(log);
        usleep(1000);
    }
    CHECK(seen == lines, "%llu, not %llu", (unsigned long long)seen, (unsigned long long)lines);
}

static void test_full_disk(void)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), fd = new_file();
    ev_accesslog *log = ev_accesslog_open(full, false);
    for (uint64_t n = 1; n <= 1000; n++) CHECK(put(log, 0, n, 10), "refused");
    wait_dropped(log, 1000);
    for (uint64_t n = 1001; n <= 1010; n++) CHECK(put(log, 0, n, 10), "refused");
    wait_dropped(log, 10);
    ev_accesslog_set_fd(log, fd);
    for (uint64_t n = 1011; n <= 1017; n++) CHECK(put(log, 0, n, 10), "refused");
    CHECK(ev_accesslog_close(log) == 0, "lost");
    CHECK(lines_in(fd, 0) == 7, "of the new file");
    log = ev_accesslog_open(full, true);
    for (uint64_t n = 1; n <= 3; n++) CHECK(put(log, 0, n, 10), "refused");
    CHECK(ev_accesslog_close(log) == 3, "not counted at the end");
    close(full), close(fd);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

/* A file that takes two lines and a half (EFBIG with SIGXFSZ, but just as a full disk does it with ENOSPC): the half
 * one is completed when there is room, or written anew to another file. */
static void test_half_line(bool other_file)
{
    const size_t line =
        sizeof "192.0.2.7 - - [21/Nov/2026:03:15:18 +0000] \"xxx xxxxx HTTP/1.1\" 1 100 \"-\" \"-\"\n" - 1;
    int fd = new_file(), other = new_file();
    uint64_t n = 100;
    limit_files(2 * line + line / 2);
    ev_accesslog *log = ev_accesslog_open(fd, false);
    for (int i = 0; i < 8; i++) CHECK(put(log, 1, n++, 5), "refused");
    wait_dropped(log, 5);
    for (int i = 0; i < 4; i++) CHECK(put(log, 1, n++, 5), "refused");
    wait_dropped(log, 4);
    if (other_file)
        ev_accesslog_set_fd(log, other);
    else
        limit_files(RLIM_INFINITY);
    CHECK(put(log, 1, n++, 5), "refused");
    CHECK(ev_accesslog_close(log) == 0, "lost");
    limit_files(RLIM_INFINITY);
    CHECK(lines_in(fd, other_file ? line / 2 : 0) == (other_file ? 2 : 4), "of the first file");
    CHECK(lines_in(other, 0) == (other_file ? 2 : 0), "of the other file");
    close(fd), close(other);
}

static void test_reader_gone(void)
{
    int p[2];
    signal(SIGPIPE, SIG_DFL);
    CHECK(pipe(p) == 0, "pipe");
    close(p[0]);
    ev_accesslog *log = ev_accesslog_open(p[1], false);
    for (uint64_t n = 1; n <= 50; n++) CHECK(put(log, 0, n, 10), "refused");
    wait_dropped(log, 50);
    CHECK(ev_accesslog_close(log) == 0, "counted twice");
    close(p[1]);
}

enum { EACH = 5000 };

typedef struct {
    unsigned source;
    int fd;
    uint64_t lost;
} producer;

static void *produce(void *arg)
{
    producer *me = arg;
    uint64_t seed = me->source;
    ev_accesslog *log = ev_accesslog_open(me->fd, false);
    for (uint64_t n = 1; n <= EACH; n++) {
        put(log, me->source, n, random_below(&seed, sizeof head));
        if (n % 500 == 0) me->lost += ev_accesslog_dropped(log);
    }
    me->lost += ev_accesslog_close(log);
    close(me->fd);
    return NULL;
}

/* Two logs on one pipe, as two I/O threads have: their lines do not mix. */
static void test_shared_pipe(void)
{
    int p[2];
    reader r = {0};
    pthread_t thread[2];
    producer who[2] = {{.source = 0}, {.source = 1}};
    CHECK(pipe(p) == 0, "pipe");
    for (int i = 0; i < 2; i++) {
        who[i].fd = dup(p[1]);
        CHECK(pthread_create(&thread[i], NULL, produce, &who[i]) == 0, "thread");
    }
    close(p[1]);
    read_lines(&r, p[0], UINT64_MAX);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    CHECK(r.held == 0, "%zu bytes of a torn line", r.held);
    CHECK(r.lines + who[0].lost + who[1].lost == 2 * EACH, "%llu lines", (unsigned long long)r.lines);
    CHECK(r.last[0] && r.last[1], "one has written nothing");
    close(p[0]);
}

static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}

int main(void)
{
    memset(head, 'x', sizeof head);
    sigset_t mask_before, mask_after;
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    int before = open_files();
    test_file();
    test_written_without_close();
    for (int flags = 0; flags < 2; flags++) {
        test_stalled_pipe(flags ? O_NONBLOCK : 0, true);
        test_stalled_pipe(flags ? O_NONBLOCK : 0, false);
    }
    test_pieces();
    test_full_disk();
    test_half_line(false);
    test_half_line(true);
    test_reader_gone();
    test_shared_pipe();
    CHECK(ev_accesslog_close(NULL) == 0, "nothing to close");
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int s = 1; s < 32; s++) CHECK(sigismember(&mask_before, s) == sigismember(&mask_after, s), "signal %d", s);
    CHECK(open_files() == before, "file descriptors are left");
    return failures > 0;
}
