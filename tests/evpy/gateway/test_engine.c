/* The invariants of the engine (docs/architecture.md), each with the interleaving that would break it. */
#include <poll.h>

#include "engine_rig.h"

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

static ev_counters *counters(rig *r)
{
    return &r->seg.hdr->counters[0];
}

static void test_answers_in_order(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    rig_send(&r, c, GET GET);
    uint64_t m;
    CHECK(rig_take(&r, 0, &m), "the first request is there");
    uint64_t other;
    CHECK(!rig_take(&r, 0, &other), "the second waits for the first");
    rig_answer(&r, 0, m, "one");
    CHECK(rig_got(&r, c, "\r\n\r\none"), "first answer");
    CHECK(rig_take(&r, 0, &m), "now the second");
    rig_answer(&r, 0, m, "two");
    CHECK(rig_got(&r, c, "\r\n\r\ntwo"), "second answer");
    rig_check_rest(&r, __func__);
    CHECK(counters(&r)->answered == 2, "both answered");
    close(c);
    rig_close(&r);
}

/* I2 */
static void test_stale_answers_are_dropped(void)
{
    rig r;
    rig_open(&r, 1, 1, 16, 8, 8); /* one slab: it is used again at once */
    int c = rig_connect(&r), d = rig_connect(&r);
    rig_send(&r, c, GET);
    uint64_t m, n;
    CHECK(rig_take(&r, 0, &m), "taken");
    rig_answer(&r, 0, m, "first");
    CHECK(rig_got(&r, c, "first"), "delivered");
    rig_send(&r, d, GET);
    CHECK(rig_take(&r, 0, &n), "the same slab again");
    CHECK(ev_msg_slab(m) == ev_msg_slab(n) && ev_msg_gen(m) != ev_msg_gen(n), "another generation");
    ev_sched_final(&r.worker[0], m); /* a late word about the first request */
    ev_sched_flush(&r.worker[0]);
    rig_settle(&r);
    CHECK(counters(&r)->stale == 1, "recognised");
    CHECK(*rig_receive(&r, d, NULL) == 0, "not delivered to the second client");
    rig_answer(&r, 0, n, "second");
    CHECK(rig_got(&r, d, "second"), "its own answer arrives");
    atomic_fetch_add(&r.worker[0].thread->active, 1); /* the forged FINAL counted one too many */
    rig_check_rest(&r, __func__);
    close(c);
    close(d);
    rig_close(&r);
}

/* I3: idempotent requests of a dead worker run again once, elsewhere; others get 502. */
static void test_worker_dies(void)
{
    rig r;
    rig_open(&r, 2, 16, 16, 8, 8);
    int get = rig_connect(&r), post = rig_connect(&r);
    uint64_t a, b, m;
    rig_send(&r, get, GET);
    uint32_t w = rig_take(&r, 0, &a) ? 0 : 1;
    if (w == 1) CHECK(rig_take(&r, 1, &a), "one of them has it");
    rig_send(&r, post, POST);
    CHECK(rig_take(&r, w, &b), "the same worker takes (steals) the other");
    rig_kill_worker(&r, w);
    CHECK(rig_got(&r, post, "502 Bad Gateway"), "POST is not repeated");
    CHECK(*rig_receive(&r, get, NULL) == 0, "GET waits for its second run");
    CHECK(ev_worker_acked(&r.seg, w, EV_WORKER_DEAD), "the supervisor may use the slot again");
    CHECK(rig_take(&r, 1 - w, &m), "run again elsewhere");
    rig_answer(&r, 1 - w, m, "again");
    CHECK(rig_got(&r, get, "again"), "answered");
    CHECK(counters(&r)->retried == 1 && counters(&r)->failed == 1, "accounts");
    rig_check_rest(&r, __func__);
    rig_worker_up(&r, w);
    rig_send(&r, get, GET);
    CHECK(rig_take(&r, 0, &m) || rig_take(&r, 1, &m), "taken");
    uint32_t first = ev_cookie_worker(ev_slab_at(&r.seg, ev_msg_slab(m))->cookie);
    rig_kill_worker(&r, first);
    CHECK(rig_take(&r, 1 - first, &m), "second run");
    rig_kill_worker(&r, 1 - first);
    CHECK(rig_got(&r, get, "502"), "never a third run: the request may be what kills them");
    rig_check_rest(&r, __func__);
    close(get);
    close(post);
    rig_close(&r);
}

/* I3: who is killed by others dies of no request, so that request runs until it is through, or all is in vain. */
static void test_workers_are_killed(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int get = rig_connect(&r), post = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, get, GET);
    rig_send(&r, post, POST);
    CHECK(rig_take(&r, 0, &m) && rig_take(&r, 0, &n), "taken");
    for (int deaths = 1; deaths <= 8; deaths++) {
        atomic_store(&ev_worker_at(&r.seg, 0)->killed, deaths != 2);
        rig_kill_worker(&r, 0);
        if (deaths == 1) CHECK(rig_got(&r, post, "502 Bad Gateway"), "POST is not repeated");
        if (deaths == 8) break;
        CHECK(*rig_receive(&r, get, NULL) == 0, "GET waits, death %d", deaths);
        ev_begin_worker(&r.seg, 0);
        CHECK(!atomic_load(&ev_worker_at(&r.seg, 0)->killed), "the next worker begins without blame or excuse");
        rig_worker_up(&r, 0);
        rig_settle(&r);
        CHECK(rig_take(&r, 0, &m), "runs again, death %d", deaths);
    }
    CHECK(rig_got(&r, get, "502 Bad Gateway"), "given up in the end");
    CHECK(counters(&r)->retried == 7 && counters(&r)->failed == 2, "accounts");
    rig_check_rest(&r, __func__);
    close(get);
    close(post);
    rig_close(&r);
}

/* I3: whatever the worker had published before it died counts. */
static void test_worker_dies_after_its_answer(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r), f = rig_connect(&r);
    uint64_t m, n, o;
    rig_send(&r, c, POST);
    rig_send(&r, d, POST);
    rig_send(&r, f, POST);
    CHECK(rig_take(&r, 0, &m) && rig_take(&r, 0, &n) && rig_take(&r, 0, &o), "taken");
    /* claimed but never published: it stops nobody */
    atomic_fetch_add(&ev_resp_ring(&r.seg, 0, 0)->tail, 1);
    rig_answer(&r, 0, m, "published");
    /* written to the end, its announcement never sent */
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_simple(&r.worker[0], ev_msg_slab(n), &resp, 200, "A: b\r\n", 6, (const uint8_t *)"whole", 5);
    rig_kill_worker(&r, 0);
    CHECK(rig_got(&r, c, "published"), "a published answer is delivered");
    CHECK(rig_got(&r, d, "whole"), "a whole answer is delivered");
    CHECK(rig_got(&r, f, "502"), "the one in between is not");
    rig_check_rest(&r, __func__);
    close(c);
    close(d);
    close(f);
    rig_close(&r);
}

/* I3: the same, when a descriptor has to travel; the worker is not the first one, whose number is 0. */
static void test_worker_dies_after_its_file(void)
{
    rig r;
    rig_open(&r, 2, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 1, &m), "taken");
    rig_send(&r, d, GET);
    CHECK(rig_take(&r, 1, &n), "taken");
    FILE *file = tmpfile(), *other = tmpfile();
    MUST(file && fputs("in the file", file) > 0 && fflush(file) == 0 && other);
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_head(&r.worker[1], ev_msg_slab(m), &resp, 200, 11);
    MUST(ev_resp_file(&r.worker[1], m, &resp, fileno(file), 0, 11) == 0 &&
         ev_resp_end(&r.worker[1], ev_msg_slab(m), &resp));
    ev_resp_begin(&resp); /* of the other answer only the descriptor is there */
    ev_resp_head(&r.worker[1], ev_msg_slab(n), &resp, 200, 5);
    MUST(ev_resp_file(&r.worker[1], n, &resp, fileno(other), 0, 5) == 0);
    rig_kill_worker(&r, 1);
    CHECK(rig_got(&r, c, "in the file"), "a whole answer is delivered, file and all");
    MUST(fputs("fresh", file) > 0 && fflush(file) == 0);
    CHECK(rig_take(&r, 0, &n), "the other one runs again");
    ev_resp_begin(&resp);
    ev_resp_head(&r.worker[0], ev_msg_slab(n), &resp, 200, 5);
    MUST(ev_resp_file(&r.worker[0], n, &resp, fileno(file), 11, 5) == 0 &&
         ev_resp_end(&r.worker[0], ev_msg_slab(n), &resp));
    ev_sched_final(&r.worker[0], n);
    ev_sched_flush(&r.worker[0]);
    CHECK(rig_got(&r, d, "fresh"), "with the file of its second run");
    fclose(file);
    fclose(other);
    close(c);
    close(d);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* I3: a worker that dies in the middle of a response: the client must notice. */
static void test_worker_dies_while_streaming(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 0, &m), "taken");
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_head(&r.worker[0], ev_msg_slab(m), &resp, 200, UINT64_MAX);
    ev_resp_write(&r.worker[0], ev_msg_slab(m), &resp, (const uint8_t *)"part", 4);
    ev_resp_publish(&r.worker[0], ev_msg_slab(m), &resp);
    ev_sched_flush(&r.worker[0]);
    CHECK(rig_got(&r, c, "part"), "the part arrives");
    rig_kill_worker(&r, 0);
    bool closed;
    const char *rest = rig_receive(&r, c, &closed);
    CHECK(closed && !strstr(rest, "0\r\n\r\n"), "closed without the last chunk");
    CHECK(counters(&r)->aborted == 1, "account");
    rig_check_rest(&r, __func__);
    close(c);
    rig_close(&r);
}

static void test_unclaimed_requests_survive_their_worker(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c[3];
    uint64_t m;
    for (int k = 0; k < 3; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], POST);
    }
    rig_kill_worker(&r, 0);
    for (int k = 0; k < 3; k++) CHECK(*rig_receive(&r, c[k], NULL) == 0, "they wait");
    rig_worker_up(&r, 1);
    rig_settle(&r);
    for (int k = 0; k < 3; k++) {
        CHECK(rig_take(&r, 1, &m), "handed to the next worker");
        CHECK(ev_slab_at(&r.seg, ev_msg_slab(m))->tries <= 2, "not counted as runs");
        rig_answer(&r, 1, m, k == 0 ? "k0" : k == 1 ? "k1" : "k2");
    }
    CHECK(rig_got(&r, c[0], "k0") && rig_got(&r, c[1], "k1") && rig_got(&r, c[2], "k2"), "in their order");
    for (int k = 0; k < 3; k++) close(c[k]);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_draining_takes_back_what_is_unclaimed(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 0, &m), "in work");
    rig_send(&r, d, GET);
    ev_set_worker_state(&r.seg, 0, EV_WORKER_DRAINING);
    rig_settle(&r);
    CHECK(ev_worker_acked(&r.seg, 0, EV_WORKER_DRAINING), "acknowledged");
    CHECK(!rig_take(&r, 0, &n), "nothing more for it");
    rig_answer(&r, 0, m, "finished");
    CHECK(rig_got(&r, c, "finished"), "what it had it finishes");
    rig_worker_up(&r, 1);
    rig_settle(&r);
    CHECK(rig_take(&r, 1, &n), "the other request went on");
    rig_answer(&r, 1, n, "moved");
    CHECK(rig_got(&r, d, "moved"), "answered");
    close(c);
    close(d);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_client_gone_before_and_after_the_claim(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, c, GET);
    rig_send(&r, d, GET);
    CHECK(rig_take(&r, 0, &m), "the first is claimed");
    close(c);
    close(d);
    rig_settle(&r);
    CHECK(counters(&r)->recalled == 0, "it may have half-closed only, and want its answer");
    for (uint32_t i = 0; i < r.e->n_slabs; i++)
        if (r.e->priv[i].conn) {
            r.e->priv[i].conn->arrival_ns -= 1000000000;
            ev_timer_set(r.e, r.e->priv[i].conn, r.e->now_ns);
        }
    uint64_t until = efio_now_ns() + 5000000000ull;
    while (!counters(&r)->recalled && efio_now_ns() < until) ev_engine_turn(r.e, 1000000);
    CHECK(counters(&r)->recalled == 1, "the unclaimed one is taken back: no Python sees it");
    CHECK(!rig_take(&r, 0, &n), "nor finds it in the ring");
    CHECK(atomic_load(&ev_slab_at(&r.seg, ev_msg_slab(m))->gone) & EV_GONE_CLIENT, "the running one is told");
    uint64_t note;
    CHECK(ev_sched_notified(&r.worker[0], &note) && note == ev_msg(EV_MSG_NOTIFY, ev_msg_slab(m), ev_msg_gen(m)),
          "notified");
    rig_answer(&r, 0, m, "for nobody");
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_client_gone_from_the_queue(void)
{
    rig r;
    rig_open(&r, 0, 16, 16, 8, 8);
    int c = rig_connect(&r);
    rig_send(&r, c, GET);
    CHECK(counters(&r)->queue_len == 1, "it waits for a worker");
    struct linger reset = {.l_onoff = 1};
    setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c);
    rig_check_rest(&r, __func__);
    CHECK(counters(&r)->recalled == 1, "taken back");
    rig_close(&r);
}

static void test_deadlines(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, c, GET);
    rig_send(&r, d, GET);
    CHECK(rig_take(&r, 0, &m), "claimed");
    for (uint32_t i = 0; i < r.e->n_slabs; i++)
        if (r.e->priv[i].conn) ev_timer_set(r.e, r.e->priv[i].conn, r.e->now_ns);
    /* I5: sockets are busy all the time, timers run nevertheless */
    int busy = rig_connect(&r);
    uint64_t until = efio_now_ns() + 5000000000ull;
    while (counters(&r)->expired < 2 && efio_now_ns() < until) {
        MUST(send(busy, "X", 1, MSG_NOSIGNAL) == 1 || true);
        ev_engine_turn(r.e, 0);
    }
    CHECK(rig_got(&r, c, "504 Gateway Timeout") && rig_got(&r, d, "504 Gateway Timeout"), "both time out");
    CHECK(!rig_take(&r, 0, &n), "the unclaimed one never reaches Python");
    CHECK(atomic_load(&ev_slab_at(&r.seg, ev_msg_slab(m))->gone) & EV_GONE_DEADLINE, "the running one is told why");
    rig_answer(&r, 0, m, "too late");
    CHECK(!rig_got(&r, c, "too late"), "one answer per request");
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 0, &m), "the connection lives on");
    rig_answer(&r, 0, m, "next");
    CHECK(rig_got(&r, c, "next"), "next request");
    close(busy);
    close(c);
    close(d);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_overload_sheds(void)
{
    rig r;
    rig_open(&r, 1, 16, 4, 2, 2); /* 2 in the ring, 4 in the queue */
    int c[8];
    for (int k = 0; k < 8; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], GET);
    }
    CHECK(counters(&r)->shed == 2, "%lu shed", (unsigned long)counters(&r)->shed);
    for (int k = 6; k < 8; k++) {
        const char *got = rig_receive(&r, c[k], NULL);
        CHECK(strstr(got, "503 Service Unavailable") && strstr(got, "Retry-After: "), "the late ones are shed at once");
    }
    uint64_t m;
    for (int k = 0; k < 6; k++) {
        CHECK(rig_take(&r, 0, &m), "request %d", k);
        rig_answer(&r, 0, m, "served");
        CHECK(rig_got(&r, c[k], "served"), "in order of arrival");
    }
    for (int k = 0; k < 8; k++) close(c[k]);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_credit_bounds_what_a_worker_holds(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 2); /* two requests per scheduler thread */
    int c[5];
    uint64_t m[5];
    for (int k = 0; k < 5; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], GET);
    }
    CHECK(rig_take(&r, 0, &m[0]) && rig_take(&r, 0, &m[1]), "two");
    rig_settle(&r);
    CHECK(!rig_take(&r, 0, &m[2]), "no credit for a third");
    CHECK(counters(&r)->queue_len == 3, "the rest waits in the gateway");
    rig_answer(&r, 0, m[0], "x");
    rig_settle(&r);
    CHECK(rig_take(&r, 0, &m[2]), "one answered, one more");
    rig_answer(&r, 0, m[1], "x");
    rig_answer(&r, 0, m[2], "x");
    for (int k = 3; k < 5; k++) {
        rig_settle(&r);
        CHECK(rig_take(&r, 0, &m[k]), "the others");
        rig_answer(&r, 0, m[k], "x");
    }
    for (int k = 0; k < 5; k++) close(c[k]);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_idle_workers_steal(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c[3];
    uint64_t m;
    for (int k = 0; k < 3; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], GET); /* all in the ring of worker 0, which does not come round */
    }
    rig_worker_up(&r, 1);
    for (int k = 0; k < 3; k++) {
        CHECK(rig_take(&r, 1, &m), "stolen");
        rig_answer(&r, 1, m, "thief");
        CHECK(rig_got(&r, c[k], "thief"), "oldest first");
    }
    CHECK(!rig_take(&r, 0, &m), "each is claimed once");
    CHECK(r.worker[1].thread->stolen == 3, "counted");
    for (int k = 0; k < 3; k++) close(c[k]);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* A sleeping worker is woken for what lies with one that does not come round. */
static void test_stall_check_wakes_a_thief(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    rig_send(&r, c, GET);
    rig_worker_up(&r, 1);
    rig_settle(&r);
    efio_wake_prepare(&r.worker[1].thread->wake);
    uint64_t until = efio_now_ns() + 5000000000ull;
    while (!counters(&r)->steal_wakes && efio_now_ns() < until) ev_engine_turn(r.e, 1000000);
    CHECK(counters(&r)->steal_wakes == 1, "woken");
    uint64_t rings;
    CHECK(read(r.worker[1].thread->wake.fd, &rings, 8) == 8, "by its eventfd");
    uint64_t m;
    CHECK(rig_take(&r, 1, &m), "it steals");
    rig_answer(&r, 1, m, "x");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
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

/* The gateway is killed and replaced: its workers go on, nothing stays behind. */
static void test_gateway_is_replaced(void)
{
    rig r;
    rig_open(&r, 2, 16, 16, 8, 8);
    int c[4];
    uint64_t m, n;
    for (int k = 0; k < 4; k++) {
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], GET);
    }
    CHECK(rig_take(&r, 0, &m), "one is in work, the others lie in rings");
    /* killed between claim and publish of a push, and between take and hand-back of a pop */
    atomic_fetch_add(&ev_req_ring(&r.seg, 1, 0)->tail, 1);
    rig_kill_gateway(&r);
    for (int k = 0; k < 4; k++) close(c[k]);
    CHECK(rig_in_flight(&r) == 0, "what was lost is in an account: %lu", (unsigned long)counters(&r)->lost);
    CHECK(counters(&r)->lost == 4, "four were lost");
    CHECK(!rig_take(&r, 0, &n) && !rig_take(&r, 1, &n), "what lay in rings is void");
    CHECK(atomic_load(&ev_slab_at(&r.seg, ev_msg_slab(m))->gone) & EV_GONE_DEAD, "the running handler is told");
    rig_answer(&r, 0, m, "for nobody");
    rig_check_rest(&r, __func__);
    int d = rig_connect(&r);
    for (int k = 0; k < 40; k++) { /* over the mended cells, more than once round */
        rig_send(&r, d, GET);
        CHECK(rig_take(&r, k % 2, &n), "round %d", k);
        rig_answer(&r, k % 2, n, "served again");
        CHECK(rig_got(&r, d, "served again"), "round %d", k);
    }
    close(d);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* What the counters say of the present must be true of the new process, whatever the old one said last. */
static void test_gateway_is_replaced_and_counts(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 0, &m), "in work");
    atomic_store(&counters(&r)->queue_len, 7);
    atomic_store(&counters(&r)->slabs_used, 9);
    rig_kill_gateway(&r);
    CHECK(counters(&r)->slabs_used == 1 && counters(&r)->queue_len == 0, "one slab is in work, none is queued");
    CHECK(counters(&r)->connections_open == 0, "no connection");
    rig_answer(&r, 0, m, "for nobody");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* I3: its worker is done, the slow client is not, and the gateway dies: the slab comes back. */
static void test_gateway_is_replaced_while_writing(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int c = rig_connect(&r), d = rig_connect(&r), small = 4096;
    uint64_t m, n;
    setsockopt(c, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    rig_send(&r, c, GET);
    CHECK(rig_take(&r, 0, &m), "taken");
    FILE *file = tmpfile();
    MUST(file && ftruncate(fileno(file), 64 << 20) == 0);
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_head(&r.worker[0], ev_msg_slab(m), &resp, 200, 64 << 20);
    MUST(ev_resp_file(&r.worker[0], m, &resp, fileno(file), 0, 64 << 20) == 0);
    MUST(ev_resp_end(&r.worker[0], ev_msg_slab(m), &resp));
    ev_sched_final(&r.worker[0], m);
    ev_sched_flush(&r.worker[0]);
    rig_settle(&r);
    CHECK(rig_in_flight(&r) == 1, "it is being written");
    ev_engine_turn(r.e, 0);
    shutdown(c, SHUT_WR); /* and the client has nothing more to say: it still wants the rest */
    bool closed;
    rig_receive(&r, c, &closed);
    CHECK(!closed && counters(&r)->recalled == 0, "what is being written goes on");
    /* another FINAL was acted upon and not taken from the ring */
    rig_send(&r, d, GET);
    CHECK(rig_take(&r, 0, &n), "taken");
    rig_answer(&r, 0, n, "twice");
    CHECK(rig_got(&r, d, "twice"), "answered");
    close(d);
    rig_settle(&r);
    MUST(efio_ring_push(ev_resp_ring(&r.seg, 0, 0), ev_msg(EV_MSG_FINAL, ev_msg_slab(n), ev_msg_gen(n))));
    rig_kill_gateway(&r);
    close(c);
    CHECK(counters(&r)->lost == 1, "the account of the broken answer");
    rig_check_rest(&r, __func__);
    CHECK(counters(&r)->stale == 1, "the repeated word is recognised");
    fclose(file);
    rig_close(&r);
}

/* I6: at the stop, who waits idly is closed, who has just come is served. */
static void test_drain(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    int idle = rig_connect(&r), busy = rig_connect(&r), fresh = rig_connect(&r);
    uint64_t m, n;
    rig_send(&r, idle, GET);
    CHECK(rig_take(&r, 0, &m), "taken");
    rig_answer(&r, 0, m, "x");
    CHECK(rig_got(&r, idle, "\r\n\r\nx"), "answered");
    rig_send(&r, busy, GET);
    CHECK(rig_take(&r, 0, &m), "taken");
    int late = rig_connect(&r); /* waits in the listener's queue */
    atomic_store(&r.seg.hdr->gateway_mode, EV_DRAIN);
    rig_settle(&r);
    bool closed;
    rig_receive(&r, idle, &closed);
    CHECK(closed, "the idle one is closed");
    rig_send(&r, fresh, GET);
    CHECK(rig_take(&r, 0, &n), "the fresh one is served");
    rig_answer(&r, 0, n, "fresh");
    CHECK(rig_got(&r, fresh, "Connection: close"), "for the last time");
    rig_send(&r, late, GET);
    CHECK(rig_take(&r, 0, &n), "so is the one from the queue");
    rig_answer(&r, 0, n, "late");
    CHECK(rig_got(&r, late, "late"), "answered");
    CHECK(!ev_engine_drained(r.e), "one is still in work");
    rig_answer(&r, 0, m, "busy");
    CHECK(rig_got(&r, busy, "Connection: close"), "answered, then closed");
    close(idle);
    close(busy);
    close(fresh);
    close(late);
    rig_check_rest(&r, __func__);
    CHECK(ev_engine_drained(r.e), "drained");
    rig_close(&r);
}

/* I1 under a storm of everything at once, from a reproducible random source. */
static void test_storm(void)
{
    rig r;
    rig_open(&r, RIG_WORKERS, 24, 4, 2, 3);
    uint64_t seed = 42;
    enum { N = 60 };
    int c[N];
    for (int k = 0; k < N; k++) c[k] = -1;
    uint64_t held[RIG_WORKERS][64];
    uint32_t n_held[RIG_WORKERS] = {0};
    for (int step = 0; step < 60000; step++) {
        uint32_t k = (uint32_t)random_below(&seed, N), w = (uint32_t)random_below(&seed, RIG_WORKERS);
        uint64_t m;
        switch (random_below(&seed, 14)) {
        case 0:
        case 1:
        case 2:
        case 12:
        case 13: {
            if (c[k] < 0) c[k] = rig_connect(&r);
            const char *text = random_below(&seed, 2) ? GET : POST;
            size_t n = random_below(&seed, 16) ? strlen(text) : 9; /* now and then a broken one */
            if (send(c[k], text, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
                close(c[k]);
                c[k] = -1;
            }
            break;
        }
        case 3:
            if (c[k] >= 0) close(c[k]);
            c[k] = -1;
            break;
        case 4:
        case 5:
        case 6:
            if (n_held[w] < 64 && ev_worker_at(&r.seg, w)->state == EV_WORKER_READY && rig_take(&r, w, &m))
                held[w][n_held[w]++] = m;
            break;
        case 7:
        case 8:
        case 9:
            if (n_held[w]) {
                uint32_t at = (uint32_t)random_below(&seed, n_held[w]);
                m = held[w][at];
                held[w][at] = held[w][--n_held[w]];
                rig_answer(&r, w, m, "storm");
            }
            break;
        case 10:
            if (random_below(&seed, 8) == 0) {
                ev_set_worker_state(&r.seg, w, EV_WORKER_DEAD);
                ev_engine_turn(r.e, 0);
                n_held[w] = 0;
                rig_worker_up(&r, w);
            } else if (c[k] >= 0) {
                static char sink[65536];
                if (recv(c[k], sink, sizeof sink, MSG_DONTWAIT) == 0) {
                    close(c[k]);
                    c[k] = -1;
                }
            }
            break;
        default: ev_engine_turn(r.e, 0);
        }
        if (step % 1000 == 0) {
            const ev_counters *x = counters(&r);
            CHECK(rig_in_flight(&r) <= N, "in flight %lu", (unsigned long)rig_in_flight(&r));
            (void)x;
        }
    }
    for (int k = 0; k < N; k++)
        if (c[k] >= 0) close(c[k]);
    rig_settle(&r);
    for (uint32_t w = 0; w < RIG_WORKERS; w++) {
        while (n_held[w]) rig_answer(&r, w, held[w][--n_held[w]], "end");
        CHECK(1, "done");
    }
    rig_settle(&r);
    uint64_t m;
    for (int round = 0; round < 100; round++) { /* what still waits in the gateway comes in portions */
        for (uint32_t w = 0; w < RIG_WORKERS; w++)
            while (rig_take(&r, w, &m)) rig_answer(&r, w, m, "end");
        rig_settle(&r);
    }
    rig_check_rest(&r, __func__);
    const ev_counters *k = counters(&r);
    CHECK(k->answered > 1000 && k->recalled > 10 && k->aborted > 10 && k->shed > 10 && k->retried > 10 && k->failed > 5,
          "everything happened: answered %lu recalled %lu aborted %lu shed %lu retried %lu failed %lu",
          (unsigned long)k->answered, (unsigned long)k->recalled, (unsigned long)k->aborted, (unsigned long)k->shed,
          (unsigned long)k->retried, (unsigned long)k->failed);
    rig_close(&r);
}

int main(void)
{
    test_answers_in_order();
    test_stale_answers_are_dropped();
    test_worker_dies();
    test_workers_are_killed();
    test_worker_dies_after_its_answer();
    test_worker_dies_after_its_file();
    test_worker_dies_while_streaming();
    test_unclaimed_requests_survive_their_worker();
    test_draining_takes_back_what_is_unclaimed();
    test_client_gone_before_and_after_the_claim();
    test_client_gone_from_the_queue();
    test_deadlines();
    test_overload_sheds();
    test_credit_bounds_what_a_worker_holds();
    test_idle_workers_steal();
    test_stall_check_wakes_a_thief();
    test_windows_bound_memory();
    test_full_window_sleeps();
    test_streamed_body_flows();
    test_gateway_is_replaced();
    test_gateway_is_replaced_and_counts();
    test_gateway_is_replaced_while_writing();
    test_drain();
    test_storm();
    return failures > 0;
}
