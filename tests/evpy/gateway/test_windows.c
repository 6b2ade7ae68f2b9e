/* Bodies in the windows of the slabs (docs/architecture.md, I4): bounded memory, back-pressure both ways, no needless
 * wake-up. */
#include <poll.h>
#include <sys/stat.h>

#include "engine_rig.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static ev_counters *counters(rig *r)
{
    return &r->seg.hdr->counters[0];
}

/* I4: neither a body that nobody reads nor a response that nobody reads grows anything. */
static void test_windows_bound_memory(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    ev_body_limits_draft(&r.seg.hdr->body_limits, 0);
    ev_body_limits_publish(&r.seg.hdr->body_limits);
    int c = rig_connect(&r);
    uint64_t m, sent = 0;
    rig_send(&r, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    CHECK(rig_take(&r, 0, &m), "handed over with its head");
    static char block[65536];
    for (int k = 0; k < 2000; k++) {
        ssize_t n = send(c, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        rig_settle(&r);
        if (n < 0) break;
        sent += (uint64_t)n;
    }
    ev_slab *s = ev_slab_at(&r.seg, ev_msg_slab(m));
    CHECK(efio_bytering_used(&s->in) == EV_IN_CAP, "the window is full: %lu",
          (unsigned long)efio_bytering_used(&s->in));
    CHECK(sent < 40000000, "the client is stopped by TCP, after %lu bytes", (unsigned long)sent);
    CHECK(counters(&r)->buffered == 0, "and nothing is kept elsewhere");
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_head(&r.worker[0], ev_msg_slab(m), &resp, 200, UINT64_MAX);
    uint64_t written = 0;
    for (int k = 0; k < 10000; k++) {
        size_t n = ev_resp_write(&r.worker[0], ev_msg_slab(m), &resp, (uint8_t *)block, sizeof block);
        ev_resp_publish(&r.worker[0], ev_msg_slab(m), &resp);
        rig_settle(&r);
        written += n;
        if (!n) break;
    }
    CHECK(written < 40000000, "the handler is stopped after %lu bytes", (unsigned long)written);
    CHECK(ev_resp_want_room(&r.worker[0], ev_msg_slab(m)), "and waits");
    uint64_t note;
    while (ev_sched_notified(&r.worker[0], &note)) {}
    atomic_store(&s->ctl_pending, 0);
    static char sink[1 << 20];
    for (int k = 0; k < 200 && !ev_sched_notified(&r.worker[0], &note); k++) {
        MUST(recv(c, sink, sizeof sink, MSG_DONTWAIT) != 0);
        rig_settle(&r);
    }
    CHECK(ev_msg_slab(note) == ev_msg_slab(m), "the client reads, the handler is notified");
    close(c);
    rig_settle(&r);
    ev_resp_abort(&r.worker[0], ev_msg_slab(m), &resp);
    ev_sched_final(&r.worker[0], m);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* Sends n bytes; the gateway takes what fits. */
static void feed(rig *r, int fd, size_t n)
{
    static const char block[65536];
    for (size_t k; n; n -= k) {
        k = n < sizeof block ? n : sizeof block;
        MUST(send(fd, block, k, MSG_NOSIGNAL) == (ssize_t)k);
        rig_settle(r);
    }
}

/* Reads as the worker what has arrived of a body; how many bytes. */
static uint64_t swallow(rig *r, uint64_t m)
{
    static uint8_t back[EV_IN_CAP];
    uint64_t total = 0;
    size_t got;
    while (ev_body_read(&r->worker[0], ev_msg_slab(m), back, sizeof back, &got) == EV_READ_OK) total += got;
    ev_sched_flush(&r->worker[0]);
    rig_settle(r);
    return total;
}

/* A client that goes on sending into a full window wakes nobody; and nothing of what it sent is missed afterwards,
 * whether the handler reads on or answers without. */
static void test_full_window_sleeps(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    uint64_t m;
    char text[1000];
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %lu\r\n\r\n",
             2ul * EV_IN_CAP + 2 * sizeof text);
    rig_send(&r, c, text);
    CHECK(rig_take(&r, 0, &m), "handed over with its head");
    struct pollfd engine = {.fd = r.e->epfd, .events = POLLIN};

    feed(&r, c, EV_IN_CAP);
    MUST(send(c, text, sizeof text, MSG_NOSIGNAL) == sizeof text);
    CHECK(poll(&engine, 1, 0) == 0, "nobody is woken for what cannot be read");
    uint64_t got = swallow(&r, m);
    CHECK(got == EV_IN_CAP, "the handler reads the window: %lu", (unsigned long)got);
    got = swallow(&r, m);
    CHECK(got == sizeof text, "and what came while it was full: %lu", (unsigned long)got);

    feed(&r, c, EV_IN_CAP);
    MUST(send(c, text, sizeof text, MSG_NOSIGNAL) == sizeof text);
    CHECK(poll(&engine, 1, 0) == 0, "nor when it is full again");
    rig_answer(&r, 0, m, "unread");
    CHECK(rig_got(&r, c, "unread"), "answered without having been read");
    rig_send(&r, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(rig_take(&r, 0, &m), "the rest was skipped, the next request is seen");
    rig_answer(&r, 0, m, "next");
    CHECK(rig_got(&r, c, "next"), "and answered");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_streamed_body_flows(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    CHECK(!rig_take(&r, 0, &m), "a short chunked body is collected first");
    static char block[40000], frame[40020], back[1 << 20];
    memset(block, 'x', sizeof block);
    int n = sprintf(frame, "%zx\r\n", sizeof block);
    memcpy(frame + n, block, sizeof block);
    memcpy(frame + n + sizeof block, "\r\n", 3);
    rig_send(&r, c, frame);
    rig_send(&r, c, frame);
    CHECK(rig_take(&r, 0, &m), "beyond 64 KB it streams");
    uint64_t total = 0;
    int sent = 2;
    ev_read_result res = EV_READ_WAIT;
    for (int k = 0; k < 100 && res != EV_READ_END; k++) {
        size_t got;
        res = ev_body_read(&r.worker[0], ev_msg_slab(m), (uint8_t *)back, sizeof back, &got);
        total += got;
        if (sent < 20) {
            rig_send(&r, c, frame);
            sent++;
        } else if (sent == 20) {
            rig_send(&r, c, "0\r\n\r\n");
            sent++;
        }
    }
    CHECK(res == EV_READ_END && total == 20 * sizeof block, "%lu bytes", (unsigned long)total);
    rig_answer(&r, 0, m, "thanks");
    CHECK(rig_got(&r, c, "thanks"), "answered");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* Pages of the segment that are in memory. */
static uint64_t resident(rig *r)
{
    struct stat st;
    MUST(fstat(r->seg.fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Many large uploads at once touch all pages of their windows; afterwards a few free slabs keep theirs, no more. */
static void test_fat_slabs_give_back(void)
{
    enum { N = 40 };
    rig r;
    rig_open(&r, 1, N, N, N, N);
    uint64_t before = resident(&r);
    int c[N];
    uint64_t m[N];
    char text[100];
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", EV_IN_CAP);
    for (int k = 0; k < N; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], text);
        feed(&r, c[k], EV_IN_CAP);
        CHECK(rig_take(&r, 0, &m[k]), "taken");
    }
    uint64_t full = resident(&r) - before;
    CHECK(full >= (uint64_t)N * EV_IN_CAP, "%d full windows take %lu bytes", N, (unsigned long)full);
    for (int k = 0; k < N; k++) {
        CHECK(swallow(&r, m[k]) == EV_IN_CAP, "read");
        rig_answer(&r, 0, m[k], "thanks");
        CHECK(rig_got(&r, c[k], "thanks"), "answered");
        close(c[k]);
    }
    rig_check_rest(&r, __func__);
    uint64_t kept = resident(&r) - before;
    CHECK(kept < 16ull * (EV_IN_CAP + EV_OUT_CAP), "%lu bytes stay when all is over", (unsigned long)kept);
    rig_close(&r);
}

int main(void)
{
    test_windows_bound_memory();
    test_full_window_sleeps();
    test_streamed_body_flows();
    test_fat_slabs_give_back();
    return failures > 0;
}
