/* hammer - an HTTP/1.1 client that checks every answer, for tests of what the server must survive.
 *
 * One thread, epoll, keep-alive connections in a closed loop, each with up to --depth requests under way. What is asked
 * for and what must come back is in kinds.h. Each request ends in exactly one account: ok (status 200, every byte as it
 * must be), wrong (200, but not that body), another status, lost (the connection ended without its answer), unanswered
 * (sent behind a request whose answer announced the end of the connection: to be sent again, says RFC 9112 section
 * 9.3.2), or timeout. A connection that the server closes between two requests is no loss.
 *
 * It runs until --seconds or --requests are over, or SIGTERM comes; then it waits for the answers that are under way.
 * Standard output: one JSON object per line, every --report seconds and at the end ("final": true). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct response;
static void on_body(struct response *r, const char *data, size_t n);
#define RESP_ON_BODY on_body
#include "kinds.h"
#include "scripts/benchlib/loadgen_histogram.h"
#include "scripts/benchlib/loadgen_response.h"

#define SECOND    UINT64_C(1000000000)
#define RETRY_NS  (20 * SECOND / 1000) /* after a failure: no hammering in that sense */
#define MAX_DEPTH 16
#define PIECE     65536u

enum state { CLOSED, CONNECTING, OPEN };

struct conn {
    struct response resp; /* first: on_body finds the connection by it */
    enum state state;
    int fd;
    bool want_out;
    uint64_t wake_at; /* thinks, or waits before it connects again, until then; 0: neither */
    uint64_t connecting_since;
    struct request queue[MAX_DEPTH]; /* under way, oldest first */
    unsigned first, under_way;
    char out[512]; /* what is being sent: this, then lines */
    unsigned out_at, out_len;
    uint64_t body_at, body_len;
    uint32_t body_id;
};

static struct {
    int port;
    unsigned connections, depth;
    uint64_t requests, window_ns, timeout_ns, report_ns, seed;
    double rate;
    unsigned weight[KINDS], weights;
} opt = {.connections = 16, .depth = 1, .window_ns = UINT64_MAX / 2, .timeout_ns = 30 * SECOND, .seed = 1};

static struct account {
    uint64_t sent, ok, wrong, lost, unanswered, timeout, status[600];
} account[KINDS];

static struct conn *conns;
static struct histogram latency;
static int ep;
static uint64_t now, started, rng, launched, connects, connect_errors, idle_closed, announced, bytes_in, bytes_out;
static uint64_t last_ok, longest_pause;
static char first_error[200];
static volatile sig_atomic_t stopping;

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

static void on_signal(int sig)
{
    (void)sig;
    stopping = 1;
}

static void complain(const struct request *q, const char *what)
{
    if (first_error[0]) return;
    snprintf(first_error, sizeof first_error, "at %.3f s, /%s/%08x?n=%u: %s", (double)(now - started) / 1e9,
             kind_of[q->kind].name, q->id, q->lines, what);
}

/* ---- requests */

static void conn_open(struct conn *c);
static void conn_push(struct conn *c);

static bool may_launch(void)
{
    return !stopping && (!opt.requests || launched < opt.requests);
}

static void launch(struct conn *c)
{
    uint64_t pick = random64() % opt.weights;
    enum kind kind = 0;
    while (pick >= opt.weight[kind]) pick -= opt.weight[kind++];
    struct request *q = &c->queue[(c->first + c->under_way) % MAX_DEPTH];
    uint32_t id = (uint32_t)++launched;
    c->out_len = request_make(q, kind, id, kind_lines(kind, random64()), c->out, sizeof c->out, &c->body_len);
    c->out_at = 0;
    c->body_at = 0;
    c->body_id = id;
    q->sent_at = clock_ns();
    account[kind].sent++;
    if (!c->under_way++) resp_reset(&c->resp);
}

static bool sending(const struct conn *c)
{
    return c->out_at < c->out_len || c->body_at < c->body_len;
}

/* Starts requests as far as depth and think time allow. */
static void conn_go_on(struct conn *c)
{
    while (c->state == OPEN && !c->wake_at && !sending(c) && c->under_way < opt.depth && may_launch()) {
        launch(c);
        conn_push(c);
        if (opt.rate > 0) {
            double mean = 1e9 * opt.connections / opt.rate, u = ((double)(random64() >> 11) + 0.5) / 9007199254740992.0;
            c->wake_at = now + (uint64_t)fmin(-mean * log(u), 20 * mean) + 1;
        }
    }
}

/* ---- connections */

static void conn_interest(struct conn *c, bool out)
{
    if (c->want_out == out) return;
    c->want_out = out;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static void conn_close(struct conn *c, uint64_t pause)
{
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->under_way = 0;
    c->out_at = c->out_len = 0;
    c->body_at = c->body_len = 0;
    c->wake_at = now + pause + 1;
}

/* The connection ended with requests under way. */
static void conn_lost(struct conn *c, const char *why)
{
    for (unsigned i = 0; i < c->under_way; i++) {
        struct request *q = &c->queue[(c->first + i) % MAX_DEPTH];
        account[q->kind].lost++;
        complain(q, why);
    }
    conn_close(c, RETRY_NS);
}

static void conn_open(struct conn *c)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->wake_at = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        connect_errors++;
        c->wake_at = now + RETRY_NS;
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->connecting_since = now;
    c->want_out = true;
    connects++;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    if (connect(c->fd, (struct sockaddr *)&addr, sizeof addr) < 0 && errno != EINPROGRESS) {
        connect_errors++;
        conn_close(c, RETRY_NS);
    }
}

static void conn_push(struct conn *c)
{
    static char piece[PIECE];
    while (sending(c)) {
        const char *from = c->out + c->out_at;
        size_t n = c->out_len - c->out_at;
        if (!n) {
            n = c->body_len - c->body_at < PIECE ? (size_t)(c->body_len - c->body_at) : PIECE;
            lines_copy(c->body_id, c->body_at, piece, n);
            from = piece;
        }
        ssize_t sent = send(c->fd, from, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            conn_interest(c, true);
            return;
        }
        if (sent < 0) { /* the server has closed: it may have answered before, reading will tell */
            c->out_at = c->out_len;
            c->body_at = c->body_len;
            break;
        }
        bytes_out += (uint64_t)sent;
        if (from == piece)
            c->body_at += (uint64_t)sent;
        else
            c->out_at += (unsigned)sent;
    }
    conn_interest(c, false);
}

/* ---- answers */

static void on_body(struct response *r, const char *data, size_t n)
{
    struct conn *c = (struct conn *)r;
    struct request *q = &c->queue[c->first];
    if (r->status == 200 && !q->wrong && !answer_is(q, r->body, data, n)) q->wrong = true;
}

/* The oldest request has its whole answer. */
static void conn_answered(struct conn *c)
{
    struct request *q = &c->queue[c->first];
    struct account *a = &account[q->kind];
    if (c->resp.status != 200) {
        char text[32 + RESP_KEEP];
        snprintf(text, sizeof text, "%d %.*s", c->resp.status, (int)c->resp.kept, c->resp.keep);
        complain(q, text);
        a->status[c->resp.status % 600]++;
    } else if (q->wrong || c->resp.body != q->expected) {
        complain(q, q->wrong ? "wrong body" : "a body of the wrong length");
        a->wrong++;
    } else {
        a->ok++;
        now = clock_ns();
        hist_add(&latency, now - q->sent_at);
        if (last_ok && now - last_ok > longest_pause) longest_pause = now - last_ok;
        last_ok = now;
    }
    c->first = (c->first + 1) % MAX_DEPTH;
    c->under_way--;
    if (c->resp.close) {
        announced++;
        for (unsigned i = 0; i < c->under_way; i++) account[c->queue[(c->first + i) % MAX_DEPTH].kind].unanswered++;
        conn_close(c, 0);
        return;
    }
    resp_reset(&c->resp);
}

static void conn_eof(struct conn *c)
{
    if (!c->under_way) {
        idle_closed++;
        conn_close(c, 0);
    } else if (c->resp.state == RESP_UNTIL_CLOSE) {
        c->resp.state = RESP_DONE;
        conn_answered(c);
    } else {
        conn_lost(c,
                  c->resp.head_len ? "the connection ended in its answer" : "the connection ended before its answer");
    }
}

static void conn_readable(struct conn *c)
{
    static char buffer[1 << 18];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        conn_eof(c);
        return;
    }
    bytes_in += (uint64_t)n;
    for (size_t at = 0; at < (size_t)n && c->state == OPEN;) {
        if (!c->under_way) {
            struct request none = {0};
            complain(&none, "bytes that answer nothing");
            account[HELLO].wrong++;
            conn_close(c, RETRY_NS);
            return;
        }
        at += resp_feed(&c->resp, buffer + at, (size_t)n - at);
        if (c->resp.state == RESP_BAD) {
            account[c->queue[c->first].kind].wrong++;
            complain(&c->queue[c->first], "not an HTTP/1.1 answer");
            c->first = (c->first + 1) % MAX_DEPTH;
            c->under_way--;
            conn_lost(c, "behind a malformed answer");
            return;
        }
        if (c->resp.state == RESP_DONE) conn_answered(c);
    }
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->state == CLOSED) return;
    if (c->state == CONNECTING) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            connect_errors++;
            conn_close(c, RETRY_NS);
            return;
        }
        c->state = OPEN;
        conn_interest(c, false);
        if (opt.rate > 0) c->wake_at = now + random64() % (uint64_t)(1e9 * opt.connections / opt.rate) + 1;
    } else {
        if (events & EPOLLOUT) conn_push(c);
        if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) conn_readable(c);
    }
    conn_go_on(c);
}

/* ---- the loop */

static unsigned under_way(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < opt.connections; i++) n += conns[i].under_way;
    return n;
}

static void check_timeout(struct conn *c)
{
    if (c->state == CONNECTING && now - c->connecting_since > opt.timeout_ns) {
        connect_errors++;
        conn_close(c, RETRY_NS);
    } else if (c->under_way && now > c->queue[c->first].sent_at + opt.timeout_ns) {
        struct request *q = &c->queue[c->first];
        account[q->kind].timeout++;
        complain(q, "no answer in time");
        c->first = (c->first + 1) % MAX_DEPTH;
        c->under_way--;
        conn_lost(c, "behind a request that got no answer");
    }
}

static void turn(void)
{
    struct epoll_event ev[256];
    uint64_t next = now + SECOND / 5;
    for (unsigned i = 0; i < opt.connections; i++)
        if (conns[i].wake_at && conns[i].wake_at < next) next = conns[i].wake_at;
    int n = epoll_wait(ep, ev, 256, next <= now ? 0 : (int)((next - now + 999999) / 1000000));
    now = clock_ns();
    for (int i = 0; i < n; i++) conn_event(ev[i].data.ptr, ev[i].events);
    for (unsigned i = 0; i < opt.connections; i++) {
        struct conn *c = &conns[i];
        check_timeout(c);
        if (!c->wake_at || c->wake_at > now) continue;
        c->wake_at = 0;
        if (c->state == CLOSED && may_launch())
            conn_open(c);
        else
            conn_go_on(c);
    }
}

static double quantile(double q)
{
    uint64_t want = (uint64_t)ceil(q * (double)latency.count), seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS && want; i++) {
        seen += latency.bucket[i];
        if (seen < want) continue;
        unsigned shift = i >> HIST_SUB_BITS;
        if (shift) shift--;
        return (double)(((uint64_t)i - ((uint64_t)shift << HIST_SUB_BITS) + 1) << shift) / 1e9;
    }
    return 0;
}

static void report(bool final)
{
    uint64_t pause = last_ok && !final && now - last_ok > longest_pause ? now - last_ok : longest_pause;
    printf("{\"final\": %s, \"seconds\": %.3f, \"connects\": %" PRIu64 ", \"connect_errors\": %" PRIu64
           ", \"idle_closed\": %" PRIu64 ", \"announced\": %" PRIu64 ", \"bytes_in\": %" PRIu64
           ", \"bytes_out\": %" PRIu64 ", \"longest_pause\": %.4f, \"p50\": %.6f, \"p99\": %.6f, \"p999\": %.6f, "
           "\"worst\": %.6f, \"kinds\": {",
           final ? "true" : "false", (double)(now - started) / 1e9, connects, connect_errors, idle_closed, announced,
           bytes_in, bytes_out, (double)pause / 1e9, quantile(0.5), quantile(0.99), quantile(0.999),
           (double)latency.max / 1e9);
    const char *comma = "";
    for (int k = 0; k < KINDS; k++) {
        const struct account *a = &account[k];
        if (!a->sent) continue;
        printf("%s\"%s\": {\"sent\": %" PRIu64 ", \"ok\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"lost\": %" PRIu64
               ", \"unanswered\": %" PRIu64 ", \"timeout\": %" PRIu64 ", \"status\": {",
               comma, kind_of[k].name, a->sent, a->ok, a->wrong, a->lost, a->unanswered, a->timeout);
        comma = "";
        for (int s = 0; s < 600; s++) {
            if (!a->status[s]) continue;
            printf("%s\"%d\": %" PRIu64, comma, s, a->status[s]);
            comma = ", ";
        }
        fputs("}}", stdout);
        comma = ", ";
    }
    fputs("}, \"first_error\": \"", stdout);
    for (const char *p = first_error; *p; p++) putchar(*p < ' ' || *p > '~' || *p == '"' || *p == '\\' ? '?' : *p);
    puts("\"}");
    fflush(stdout);
}

static void run(void)
{
    started = now = clock_ns();
    uint64_t end = now + opt.window_ns, next_report = opt.report_ns ? now + opt.report_ns : UINT64_MAX;
    for (unsigned i = 0; i < opt.connections; i++) conn_open(&conns[i]);
    while (!stopping && now < end && (may_launch() || under_way())) {
        turn();
        if (now >= next_report) {
            report(false);
            next_report += opt.report_ns;
        }
    }
    stopping = 1;
    for (end = now + opt.timeout_ns + SECOND; under_way() && now < end;) turn();
    report(true);
}

static const char usage_text[] = "usage: hammer --port N [options]\n"
                                 "  --connections N   keep-alive connections (16)\n"
                                 "  --depth N         requests under way on each, up to 16 (1)\n"
                                 "  --mix K=W,...     kinds of requests with their weights (hello=1); kinds:\n"
                                 "                    hello json echo put upload stream big disk sleep\n"
                                 "  --rate R          requests/s to hold by thinking (0: as fast as it goes)\n"
                                 "  --seconds S       how long (until SIGTERM)\n"
                                 "  --requests N      stop after N requests\n"
                                 "  --timeout S       longest time for an answer (30)\n"
                                 "  --report S        a line of JSON every S seconds (0: only at the end)\n"
                                 "  --seed N          of all that is random (1)\n";

static void usage(const char *about, const char *text)
{
    if (about) fprintf(stderr, "hammer: %s: %s\n", about, text);
    fputs(usage_text, stderr);
    exit(2);
}

static void parse_mix(const char *text)
{
    memset(opt.weight, 0, sizeof opt.weight);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "=");
        int k = 0;
        while (k < KINDS && (strlen(kind_of[k].name) != n || strncmp(kind_of[k].name, p, n) != 0)) k++;
        if (k == KINDS || p[n] != '=') usage("--mix", text);
        char *end;
        opt.weight[k] = (unsigned)strtoul(p + n + 1, &end, 10);
        opt.weights += opt.weight[k];
        if (end == p + n + 1 || (*end && *end != ',')) usage("--mix", text);
        p = *end ? end + 1 : end;
    }
    if (!opt.weights) usage("--mix", text);
}

static void parse_options(int argc, char **argv)
{
    static const struct option table[] = {{"port", 1, 0, 'p'},
                                          {"connections", 1, 0, 'c'},
                                          {"depth", 1, 0, 'd'},
                                          {"mix", 1, 0, 'm'},
                                          {"rate", 1, 0, 'r'},
                                          {"seconds", 1, 0, 's'},
                                          {"requests", 1, 0, 'n'},
                                          {"timeout", 1, 0, 't'},
                                          {"report", 1, 0, 'R'},
                                          {"seed", 1, 0, 'S'},
                                          {0, 0, 0, 0}};
    for (int o, i; (o = getopt_long(argc, argv, "", table, &i)) != -1;) {
        char *end = "";
        double v = optarg && o != 'm' ? strtod(optarg, &end) : 0;
        if (*end || v < 0 || o == '?') usage("not a number of 0 or more", optarg ? optarg : "");
        switch (o) {
        case 'p': opt.port = (int)v; break;
        case 'c': opt.connections = (unsigned)v; break;
        case 'd': opt.depth = (unsigned)v; break;
        case 'm': parse_mix(optarg); break;
        case 'r': opt.rate = v; break;
        case 's': opt.window_ns = (uint64_t)(v * 1e9); break;
        case 'n': opt.requests = (uint64_t)v; break;
        case 't': opt.timeout_ns = (uint64_t)(v * 1e9); break;
        case 'R': opt.report_ns = (uint64_t)(v * 1e9); break;
        default: opt.seed = (uint64_t)v;
        }
    }
    if (!opt.weights) parse_mix("hello=1");
    if (optind < argc || opt.port < 1 || opt.port > 65535 || opt.connections < 1 || opt.depth < 1 ||
        opt.depth > MAX_DEPTH)
        usage(NULL, NULL);
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(opt.connections, sizeof *conns);
    if (ep < 0 || !conns) {
        perror("hammer");
        return 1;
    }
    rng = opt.seed;
    run();
    return 0;
}
