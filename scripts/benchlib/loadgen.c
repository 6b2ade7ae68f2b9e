/* loadgen - the benchmarks' HTTP/1.1 client: one thread, epoll, keep-alive connections, closed loop.
 *
 * Each connection sends a request, waits for the whole answer, thinks for a while (or not) and sends the next one. With
 * think time, N connections and R requests/s wanted, a connection thinks N/R seconds on average: the load stays about R
 * while the server keeps up, and a server that stalls a connection delays only that connection's next request. Latency
 * runs from the moment of sending to the last byte of the answer. One request in K, drawn by a seeded generator, so
 * that each server gets the same sequence, goes to the slow path; its latency is kept in a histogram of its own.
 *
 * Requests sent inside the measured window count for the latencies, however late their answers (the window is followed
 * by a drain, so that slow answers are not cut off); answers that arrive inside the window count for the throughput.
 * Every answer must be complete and have status 200, and its body must have the length given by --expect; anything else
 * is an error.
 *
 * With --hold the connections send one request each and then stay open and silent until standard input ends.
 *
 * Standard output: "start" and "end" when the window opens and closes ("ready" with --hold), so that the caller can
 * sample the server's CPU time, then one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loadgen_histogram.h"
#include "loadgen_response.h"

#define SECOND        UINT64_C(1000000000)
#define READ_BUFFER   (1u << 20)
#define RETRY_NS      (20 * SECOND / 1000) /* after an error: no hammering of a server in trouble */
#define HOLD_INFLIGHT 64 /* --hold opens its connections in small groups, below every listen backlog */

enum { ERR_CONNECT, ERR_CLOSED, ERR_IO, ERR_STATUS, ERR_MALFORMED, ERR_LENGTH, ERR_TIMEOUT, ERR_KINDS };
static const char *const err_name[ERR_KINDS] = {"connect", "closed", "io", "status", "malformed", "length", "timeout"};

enum conn_state { CLOSED, CONNECTING, THINKING, SENDING, WAITING, HELD };

struct conn {
    enum conn_state state;
    int fd;
    bool slow, answered, want_out;
    const char *out; /* what is left of the request's head */
    size_t out_len;
    off_t file_at;
    uint64_t sent_at, wake_at;
    unsigned heap_at; /* 1-based position in the timer heap; 0: not in it */
    struct response resp;
};

static struct {
    const char *host, *path, *slow_path, *post_file;
    int port;
    unsigned connections, slow_every;
    uint64_t requests, seed, think_ns, window_ns, warmup_ns, timeout_ns;
    int64_t expect;
    bool think_fixed, hold, discard;
} opt = {.host = "127.0.0.1",
         .path = "/",
         .connections = 1,
         .seed = 1,
         .expect = -1,
         .window_ns = SECOND,
         .timeout_ns = 30 * SECOND};

static struct sockaddr_in addr;
static struct conn *conns, **heap;
static unsigned heap_len, opening, opened, held;
static int ep, timer_fd, body_fd = -1;
static off_t body_len;
static char *head_fast, *head_slow, *buffer;
static uint64_t now, timer_set, rng, t_start, t_end;
static bool measuring, stopping;
static uint64_t launched, in_window, window_bytes, reconnects, errors[ERR_KINDS];
static char first_error[RESP_KEEP + 80], last_body[RESP_KEEP + 1];
static struct histogram normal, slow;

static void conn_open(struct conn *c);
static void conn_send(struct conn *c);

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t random64(void)
{
    uint64_t z = (rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double random_unit(void)
{
    return ((double)(random64() >> 11) + 0.5) / 9007199254740992.0;
}

/* ---- timers: a binary heap of connections by wake_at, in front of one timerfd ---- */

static void heap_put(unsigned i, struct conn *c)
{
    heap[i] = c;
    c->heap_at = i;
}

static void heap_up(unsigned i, struct conn *c)
{
    for (; i > 1 && heap[i / 2]->wake_at > c->wake_at; i /= 2) heap_put(i, heap[i / 2]);
    heap_put(i, c);
}

static void timer_add(struct conn *c, uint64_t at)
{
    c->wake_at = at;
    heap_up(++heap_len, c);
}

static struct conn *timer_pop(void)
{
    struct conn *top = heap[1], *last = heap[heap_len--];
    top->heap_at = 0;
    unsigned i = 1;
    while (heap_len) {
        unsigned child = 2 * i;
        if (child > heap_len) break;
        if (child < heap_len && heap[child + 1]->wake_at < heap[child]->wake_at) child++;
        if (last->wake_at <= heap[child]->wake_at) break;
        heap_put(i, heap[child]);
        i = child;
    }
    if (heap_len) heap_put(i, last);
    return top;
}

static void timer_arm(uint64_t limit)
{
    uint64_t at = heap_len && heap[1]->wake_at < limit ? heap[1]->wake_at : limit;
    if (at == timer_set) return;
    timer_set = at;
    struct itimerspec spec = {.it_value = {(time_t)(at / SECOND), (long)(at % SECOND)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* ---- connections ---- */

static void conn_interest(struct conn *c, bool out)
{
    if (c->want_out == out) return;
    c->want_out = out;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0) close(c->fd);
    if (c->state == HELD) held--;
    if (c->state == CONNECTING || (opt.hold && (c->state == SENDING || c->state == WAITING))) opening--;
    c->fd = -1;
    c->state = CLOSED;
}

static void conn_fail(struct conn *c, int kind, const char *detail)
{
    if (!stopping || kind == ERR_STATUS || kind == ERR_MALFORMED || kind == ERR_LENGTH) {
        if (!first_error[0]) snprintf(first_error, sizeof first_error, "%s: %s", err_name[kind], detail);
        errors[kind]++;
    }
    conn_close(c);
    if (!stopping && !opt.hold && !c->heap_at) timer_add(c, now + RETRY_NS);
}

static void conn_open(struct conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->want_out = true;
    c->answered = false;
    c->sent_at = now;
    opening++;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0) die("epoll_ctl");
    if (connect(c->fd, (struct sockaddr *)&addr, sizeof addr) < 0 && errno != EINPROGRESS)
        conn_fail(c, ERR_CONNECT, strerror(errno));
}

/* Sends what is left of the request; goes on when the socket takes more. */
static void conn_push(struct conn *c)
{
    while (c->out_len) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | (body_len ? MSG_MORE : 0));
        if (n < 0) {
            if (errno == EAGAIN) return conn_interest(c, true);
            return conn_fail(c, errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO, strerror(errno));
        }
        c->out += n;
        c->out_len -= (size_t)n;
    }
    while (c->file_at < body_len) {
        off_t before = c->file_at;
        ssize_t n = sendfile(c->fd, body_fd, &c->file_at, (size_t)(body_len - c->file_at));
        if (n < 0) {
            if (errno == EAGAIN) return conn_interest(c, true);
            return conn_fail(c, errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO, strerror(errno));
        }
        if (measuring) window_bytes += (uint64_t)(c->file_at - before);
    }
    conn_interest(c, false);
    c->state = WAITING;
}

static void conn_send(struct conn *c)
{
    if (stopping || (opt.requests && launched >= opt.requests && !opt.hold)) {
        c->state = THINKING; /* out of work; stays connected until the end */
        return;
    }
    launched++;
    c->slow = opt.slow_every && random64() % opt.slow_every == 0;
    c->out = c->slow ? head_slow : head_fast;
    c->out_len = strlen(c->out);
    c->file_at = 0;
    c->state = SENDING;
    resp_reset(&c->resp);
    c->sent_at = clock_ns();
    conn_push(c);
}

static void conn_think(struct conn *c)
{
    if (!opt.think_ns) return conn_send(c);
    double mean = (double)opt.think_ns, t = opt.think_fixed ? mean : -mean * log(random_unit());
    c->state = THINKING;
    timer_add(c, now + (uint64_t)(t > 20 * mean ? 20 * mean : t));
}

static void conn_answered(struct conn *c)
{
    struct response *r = &c->resp;
    if (r->status != 200) {
        char text[64];
        snprintf(text, sizeof text, "%d for %s", r->status, c->slow ? opt.slow_path : opt.path);
        return conn_fail(c, ERR_STATUS, text);
    }
    if (opt.expect >= 0 && r->body != (uint64_t)opt.expect) {
        char text[64];
        snprintf(text, sizeof text, "%llu body bytes", (unsigned long long)r->body);
        return conn_fail(c, ERR_LENGTH, text);
    }
    now = clock_ns();
    if (measuring) in_window++;
    if (t_start && c->sent_at >= t_start && (!t_end || c->sent_at < t_end))
        hist_add(c->slow ? &slow : &normal, now - c->sent_at);
    if (body_fd >= 0) {
        memcpy(last_body, r->keep, r->kept);
        last_body[r->kept] = 0;
    }
    c->answered = true;
    if (opt.hold) {
        opening--;
        held++;
        c->state = HELD;
        return;
    }
    if (r->close) {
        reconnects++;
        conn_close(c);
        if (!stopping) conn_open(c);
        return;
    }
    conn_think(c);
}

static void conn_eof(struct conn *c)
{
    if (c->state == WAITING && c->resp.state == RESP_UNTIL_CLOSE) {
        c->resp.state = RESP_DONE;
        return conn_answered(c);
    }
    if (c->state == THINKING && !opt.hold) { /* the server's right: a keep-alive connection between two requests */
        reconnects++;
        close(c->fd);
        c->fd = -1;
        if (c->heap_at)
            c->state = CLOSED; /* reopened when its time has come */
        else
            conn_close(c);
        return;
    }
    conn_fail(c, c->state == CONNECTING ? ERR_CONNECT : ERR_CLOSED,
              c->resp.head_len ? "in an answer" : "before an answer");
}

static void conn_readable(struct conn *c)
{
    for (;;) {
        uint64_t bulk = opt.discard ? resp_bulk(&c->resp) : 0;
        ssize_t n = bulk ? recv(c->fd, buffer, bulk < READ_BUFFER ? (size_t)bulk : READ_BUFFER, MSG_TRUNC)
                         : recv(c->fd, buffer, READ_BUFFER, 0);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            if (errno == ECONNRESET) return conn_eof(c);
            return conn_fail(c, ERR_IO, strerror(errno));
        }
        if (n == 0) return conn_eof(c);
        if (c->state != WAITING && c->state != SENDING)
            return conn_fail(c, ERR_MALFORMED, "bytes that belong to no answer");
        if (measuring && body_fd < 0) window_bytes += (uint64_t)n;
        if (bulk) {
            resp_skip(&c->resp, (size_t)n);
        } else if (resp_feed(&c->resp, buffer, (size_t)n) < (size_t)n && c->resp.state != RESP_BAD) {
            return conn_fail(c, ERR_MALFORMED, "bytes after the answer");
        }
        if (c->resp.state == RESP_BAD) return conn_fail(c, ERR_MALFORMED, "not an HTTP/1.x answer");
        if (c->resp.state == RESP_DONE) {
            if (c->state == SENDING && c->resp.status == 200)
                return conn_fail(c, ERR_MALFORMED, "200 before the whole request was sent");
            return conn_answered(c);
        }
        if ((size_t)n < READ_BUFFER && !bulk) return; /* drained; epoll is level-triggered */
    }
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->fd < 0) return; /* closed earlier in this turn */
    if (c->state == CONNECTING) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) return conn_fail(c, ERR_CONNECT, strerror(err));
        opened++;
        if (!opt.hold) opening--;
        /* With think time the first requests are spread, or they would arrive as one burst. */
        if (opt.think_ns) {
            conn_interest(c, false);
            c->state = THINKING;
            timer_add(c, now + (uint64_t)(random_unit() * (double)opt.think_ns));
        } else {
            conn_send(c);
        }
        return;
    }
    if (c->state == SENDING && (events & EPOLLOUT)) conn_push(c);
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP))) conn_readable(c);
}

static void conn_timer(struct conn *c)
{
    if (stopping) return;
    if (c->state == CLOSED)
        conn_open(c);
    else if (c->state == THINKING)
        conn_send(c);
}

static void check_timeouts(void)
{
    for (unsigned i = 0; i < opt.connections; i++) {
        struct conn *c = &conns[i];
        bool busy = c->state == CONNECTING || c->state == SENDING || c->state == WAITING;
        if (busy && now > c->sent_at && now - c->sent_at > opt.timeout_ns) conn_fail(c, ERR_TIMEOUT, "no answer");
    }
}

static unsigned outstanding(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < opt.connections; i++) n += conns[i].state == SENDING || conns[i].state == WAITING;
    return n;
}

/* One turn of the loop; returns at the latest at `limit`. */
static void turn(uint64_t limit)
{
    struct epoll_event ev[256];
    timer_arm(limit);
    int n = epoll_wait(ep, ev, 256, -1);
    now = clock_ns();
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr == &timer_fd) {
            uint64_t ticks;
            if (read(timer_fd, &ticks, sizeof ticks) > 0) timer_set = 0;
        } else if (ev[i].data.ptr) {
            conn_event(ev[i].data.ptr, ev[i].events);
        } else {
            stopping = true; /* --hold: standard input ended */
        }
    }
    while (heap_len && heap[1]->wake_at <= now) conn_timer(timer_pop());
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void run_load(void)
{
    uint64_t end, check = now + SECOND / 4;
    for (unsigned i = 0; i < opt.connections; i++) conn_open(&conns[i]);
    for (end = now + opt.warmup_ns; now < end;) {
        turn(end < check ? end : check);
        if (now >= check) check_timeouts(), check = now + SECOND / 4;
    }
    launched = 0;
    reconnects = 0;
    now = t_start = clock_ns();
    measuring = true;
    say("start");
    for (end = t_start + opt.window_ns; now < end;) {
        turn(end < check ? end : check);
        if (now >= check) check_timeouts(), check = now + SECOND / 4;
        if (opt.requests && launched >= opt.requests && !outstanding()) break;
    }
    measuring = false;
    stopping = true;
    t_end = now = clock_ns();
    say("end");
    for (end = now + opt.timeout_ns; now < end && outstanding();) turn(end < now + SECOND / 4 ? end : now + SECOND / 4);
    unsigned left = outstanding();
    errors[ERR_TIMEOUT] += left;
    if (left && !first_error[0]) snprintf(first_error, sizeof first_error, "timeout: no answer before the end");
}

static void run_hold(void)
{
    unsigned next = 0;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLHUP, .data.ptr = NULL};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &ev) < 0) die("--hold needs a pipe as standard input");
    uint64_t give_up = now + opt.timeout_ns, end = now + opt.window_ns;
    while ((next < opt.connections || opening) && now < give_up && !stopping) {
        while (next < opt.connections && opening < HOLD_INFLIGHT) conn_open(&conns[next++]);
        turn(now + SECOND / 4);
    }
    printf("ready %u\n", held);
    fflush(stdout);
    while (!stopping && now < end) turn(end);
    stopping = true;
}

static void print_result(void)
{
    uint64_t bad = 0;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf(
        "{\"seconds\": %.6f, \"completed\": %llu, \"bytes\": %llu, \"reconnects\": %llu, \"opened\": %u, \"held\": %u, "
        "\"cpu_seconds\": %.4f, \"errors\": {",
        (double)(t_end - t_start) / 1e9, (unsigned long long)in_window, (unsigned long long)window_bytes,
        (unsigned long long)reconnects, opened, held, cpu);
    for (int i = 0; i < ERR_KINDS; i++) {
        bad += errors[i];
        printf("%s\"%s\": %llu", i ? ", " : "", err_name[i], (unsigned long long)errors[i]);
    }
    printf("}, \"error_count\": %llu, \"first_error\": \"", (unsigned long long)bad);
    const char *texts[2] = {first_error, last_body};
    for (int t = 0; t < 2; t++) {
        for (const char *p = texts[t]; *p; p++) putchar(*p < ' ' || *p > '~' || *p == '"' || *p == '\\' ? '?' : *p);
        if (t == 0) fputs("\", \"last_body\": \"", stdout);
    }
    fputs("\", \"normal\": ", stdout);
    hist_print(&normal, stdout);
    fputs(", \"slow\": ", stdout);
    hist_print(&slow, stdout);
    puts("}");
}

static char *request_head(const char *path)
{
    char *text, length[128] = "";
    if (body_fd >= 0)
        snprintf(length, sizeof length, "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n",
                 (long long)body_len);
    if (asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", body_fd >= 0 ? "POST" : "GET", path, opt.host,
                 opt.port, length) < 0)
        die("memory");
    return text;
}

static const char usage_text[] =
    "usage: loadgen --port N [options]\n"
    "  --host A          IPv4 address of the server (127.0.0.1)\n"
    "  --connections N   keep-alive connections (1)\n"
    "  --path P          what is asked for (/)\n"
    "  --slow-path P     what one request in --slow-every asks for\n"
    "  --slow-every K    0: never (the default)\n"
    "  --think-us T      mean think time between an answer and the next request, microseconds (0: none)\n"
    "  --think-fixed     always the mean, not exponentially distributed\n"
    "  --warmup S        seconds of the same load before the window opens (0)\n"
    "  --seconds S       length of the measured window (1); with --hold the longest time to hold\n"
    "  --requests N      close the window after N requests, if that comes first\n"
    "  --timeout S       longest time for an answer (30)\n"
    "  --post-file F     POST this file's content instead of GET; the start of the last answer is reported\n"
    "  --expect N        every body must have N bytes\n"
    "  --discard         let the kernel throw the bulk of bodies away instead of copying it (downloads)\n"
    "  --hold            open the connections, one request on each, and keep them idle until standard input ends\n"
    "  --seed N          of the think times and the slow requests (1)\n";

static double number(const char *name, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || v < 0) {
        fprintf(stderr, "loadgen: --%s %s: not a number of 0 or more\n", name, text);
        exit(2);
    }
    return v;
}

static void parse_options(int argc, char **argv)
{
    enum {
        HOST = 1,
        PORT,
        CONNS,
        PATH,
        SLOW_PATH,
        SLOW_EVERY,
        THINK,
        FIXED,
        WARMUP,
        SECONDS,
        REQUESTS,
        TIMEOUT,
        POST,
        EXPECT,
        DISCARD,
        HOLD,
        SEED,
        HELP
    };
    static const struct option table[] = {{"host", 1, 0, HOST},
                                          {"port", 1, 0, PORT},
                                          {"connections", 1, 0, CONNS},
                                          {"path", 1, 0, PATH},
                                          {"slow-path", 1, 0, SLOW_PATH},
                                          {"slow-every", 1, 0, SLOW_EVERY},
                                          {"think-us", 1, 0, THINK},
                                          {"think-fixed", 0, 0, FIXED},
                                          {"warmup", 1, 0, WARMUP},
                                          {"seconds", 1, 0, SECONDS},
                                          {"requests", 1, 0, REQUESTS},
                                          {"timeout", 1, 0, TIMEOUT},
                                          {"post-file", 1, 0, POST},
                                          {"expect", 1, 0, EXPECT},
                                          {"discard", 0, 0, DISCARD},
                                          {"hold", 0, 0, HOLD},
                                          {"seed", 1, 0, SEED},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    int o, which = 0;
    while ((o = getopt_long(argc, argv, "h", table, &which)) != -1) {
        double v =
            optarg && o != HOST && o != PATH && o != SLOW_PATH && o != POST ? number(table[which].name, optarg) : 0;
        switch (o) {
        case HOST: opt.host = optarg; break;
        case PORT: opt.port = (int)v; break;
        case CONNS: opt.connections = (unsigned)v; break;
        case PATH: opt.path = optarg; break;
        case SLOW_PATH: opt.slow_path = optarg; break;
        case SLOW_EVERY: opt.slow_every = (unsigned)v; break;
        case THINK: opt.think_ns = (uint64_t)(v * 1e3); break;
        case FIXED: opt.think_fixed = true; break;
        case WARMUP: opt.warmup_ns = (uint64_t)(v * 1e9); break;
        case SECONDS: opt.window_ns = (uint64_t)(v * 1e9); break;
        case REQUESTS: opt.requests = (uint64_t)v; break;
        case TIMEOUT: opt.timeout_ns = (uint64_t)(v * 1e9); break;
        case POST: opt.post_file = optarg; break;
        case EXPECT: opt.expect = (int64_t)v; break;
        case DISCARD: opt.discard = true; break;
        case HOLD: opt.hold = true; break;
        case SEED: opt.seed = (uint64_t)v; break;
        case HELP:
        case 'h': fputs(usage_text, stdout); exit(0);
        default: fputs(usage_text, stderr); exit(2);
        }
    }
    if (optind < argc || opt.port < 1 || opt.port > 65535 || opt.connections < 1 ||
        (opt.slow_every && !opt.slow_path)) {
        fputs(usage_text, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    if (inet_pton(AF_INET, opt.host, &addr.sin_addr) != 1) {
        fprintf(stderr, "loadgen: --host %s: not an IPv4 address\n", opt.host);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (opt.post_file) {
        struct stat st;
        body_fd = open(opt.post_file, O_RDONLY | O_CLOEXEC);
        if (body_fd < 0 || fstat(body_fd, &st) < 0) die(opt.post_file);
        body_len = st.st_size;
    }
    head_fast = request_head(opt.path);
    head_slow = request_head(opt.slow_path ? opt.slow_path : opt.path);
    conns = calloc(opt.connections, sizeof *conns);
    heap = calloc(opt.connections + 2, sizeof *heap);
    buffer = malloc(READ_BUFFER);
    ep = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!conns || !heap || !buffer || ep < 0 || timer_fd < 0) die("start");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &timer_fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, timer_fd, &ev);
    for (unsigned i = 0; i < opt.connections; i++) conns[i].fd = -1;
    rng = opt.seed;
    now = clock_ns();
    if (opt.hold)
        run_hold();
    else
        run_load();
    print_result();
    return 0;
}
