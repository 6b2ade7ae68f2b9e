/* What the engine does when a worker or the gateway is killed (docs/architecture.md, I1 to I3): each interleaving that
 * would lose a request, answer one twice or leave something behind. */
#include "engine_rig.h"

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

static ev_counters *counters(rig *r)
{
    return &r->seg.hdr->counters[0];
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
    CHECK(rig_take_more(&r, w, &b), "the same worker takes (steals) the other");
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
    for (int deaths = 1; deaths <= 64; deaths++) {
        atomic_store(&ev_worker_at(&r.seg, 0)->killed, deaths != 2);
        rig_kill_worker(&r, 0);
        if (deaths == 1) CHECK(rig_got(&r, post, "502 Bad Gateway"), "POST is not repeated");
        if (deaths == 64) break;
        CHECK(*rig_receive(&r, get, NULL) == 0, "GET waits, death %d", deaths);
        ev_begin_worker(&r.seg, 0);
        CHECK(!atomic_load(&ev_worker_at(&r.seg, 0)->killed), "the next worker begins without blame or excuse");
        rig_worker_up(&r, 0);
        rig_settle(&r);
        CHECK(rig_take(&r, 0, &m), "runs again, death %d", deaths);
    }
    CHECK(rig_got(&r, get, "502 Bad Gateway"), "given up in the end");
    CHECK(counters(&r)->retried == 63 && counters(&r)->failed == 2, "accounts");
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
    CHECK(rig_take_more(&r, 1, &n), "taken");
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

int main(void)
{
    test_worker_dies();
    test_workers_are_killed();
    test_worker_dies_after_its_answer();
    test_worker_dies_after_its_file();
    test_worker_dies_while_streaming();
    test_unclaimed_requests_survive_their_worker();
    test_gateway_is_replaced();
    test_gateway_is_replaced_and_counts();
    test_gateway_is_replaced_while_writing();
    return failures > 0;
}
