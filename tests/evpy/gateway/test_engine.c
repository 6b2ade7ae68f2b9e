/* The invariants of the engine (docs/architecture.md), each with the interleaving that would break it; what concerns
 * killed processes is in test_recovery.c, what concerns bodies in test_windows.c. */
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
    test_draining_takes_back_what_is_unclaimed();
    test_client_gone_before_and_after_the_claim();
    test_client_gone_from_the_queue();
    test_deadlines();
    test_overload_sheds();
    test_credit_bounds_what_a_worker_holds();
    test_idle_workers_steal();
    test_stall_check_wakes_a_thief();
    test_drain();
    test_storm();
    return failures > 0;
}
