/* Costly requests: no more of them at the workers than there are cores, and the others need not wait for that
 * (evpy/gateway/queue.c). What a request costs is what the test has put into the table of costs. */
#include "engine_rig.h"

#define LEAST 2000u
#define COST  20000u /* microseconds */
#define SLOW  "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
#define FAST  "GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"

static ev_counters *counters(rig *r)
{
    return &r->seg.hdr->counters[0];
}

static void learn(rig *r, uint32_t cost)
{
    ev_costs *costs = &r->seg.hdr->costs;
    uint32_t kind = ev_cost_kind(EV_GET, (const uint8_t *)"/slow", 5);
    memset(costs, 0, sizeof *costs);
    ev_cost_learn(costs, kind, LEAST, cost, EV_UNMEASURED);
    ev_cost_learn(costs, kind, LEAST, cost, cost);
}

static void open_with(rig *r, uint32_t cores, uint32_t queue, uint32_t depth)
{
    rig_open(r, 2, 16, queue, depth, 8);
    ev_header *h = r->seg.hdr;
    h->costly = LEAST;
    h->cores = cores;
    learn(r, COST);
}

static int ask(rig *r, const char *request)
{
    int c = rig_connect(r);
    rig_send(r, c, request);
    return c;
}

static uint32_t offered(rig *r)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < RIG_WORKERS; w++) n += efio_ring_size(ev_req_ring(&r->seg, w, 0));
    return n;
}

static bool is_slow(rig *r, uint64_t msg)
{
    return ev_slab_at(&r->seg, ev_msg_slab(msg))->cost != 0;
}

/* Claims by worker w and begins, as its scheduler does. */
static uint64_t begin(rig *r, uint32_t w)
{
    uint64_t m = 0;
    MUST(rig_take_more(r, w, &m));
    ev_thread_slot *th = r->worker[w].thread;
    atomic_store(&th->current, m);
    atomic_store(&th->current_since_ns, efio_now_ns());
    ev_sched_burns(&r->worker[w], ev_slab_at(&r->seg, ev_msg_slab(m))->cost);
    return m;
}

/* Ends its stretch of Python, with or without an answer. */
static void leave(rig *r, uint32_t w)
{
    atomic_store(&r->worker[w].thread->current, 0);
    ev_sched_burns(&r->worker[w], 0);
    rig_settle(r);
}

#define end(r, w, m, client) end_(r, w, m, client, __func__, __LINE__)
static void end_(rig *r, uint32_t w, uint64_t m, int client, const char *name, int line)
{
    rig_answer(r, w, m, "served");
    leave(r, w);
    CHECK(rig_got(r, client, "served"), "%s, line %d: answered", name, line);
    close(client);
}

static void end_rig(rig *r, const char *name)
{
    rig_check_rest(r, name);
    rig_close(r);
}

static void test_the_others_pass(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    CHECK(counters(&r)->costly == 2, "seen as such");
    CHECK(offered(&r) == 1 && counters(&r)->queue_len == 1, "one is offered, though there are two workers");
    int c = ask(&r, FAST);
    CHECK(offered(&r) == 2 && counters(&r)->queue_len == 1, "a fast one passes");
    uint64_t slow = begin(&r, 0), fast = begin(&r, 1);
    if (is_slow(&r, fast)) {
        uint64_t m = slow;
        slow = fast, fast = m;
    }
    CHECK(is_slow(&r, slow) && !is_slow(&r, fast), "one of each");
    rig_settle(&r);
    CHECK(offered(&r) == 0 && counters(&r)->queue_len == 1, "claimed, it still has the core");
    uint32_t of_slow = ev_cookie_worker(ev_slab_at(&r.seg, ev_msg_slab(slow))->cookie);
    end(&r, 1 - of_slow, fast, c);
    CHECK(offered(&r) == 0, "a fast one had no core to give");
    end(&r, of_slow, slow, a);
    CHECK(offered(&r) == 1 && counters(&r)->queue_len == 0, "its turn");
    slow = begin(&r, 0);
    end(&r, 0, slow, b);
    end_rig(&r, __func__);
}

static void as_many_as(uint32_t cores, uint32_t workers, uint32_t expected)
{
    rig r;
    open_with(&r, cores, 16, 8);
    if (workers > 2) rig_worker_up(&r, 2);
    rig_settle(&r);
    int c[4];
    for (int k = 0; k < 4; k++) c[k] = ask(&r, SLOW);
    CHECK(offered(&r) == expected && counters(&r)->queue_len == 4 - expected, "%u cores, %u threads", cores, workers);
    for (int k = 0; k < 4; k++) {
        rig_answer(&r, 0, begin(&r, 0), "served");
        leave(&r, 0);
    }
    for (int k = 0; k < 4; k++) {
        CHECK(rig_got(&r, c[k], "served"), "answered");
        close(c[k]);
    }
    end_rig(&r, __func__);
}

static void test_as_many_as_cores_and_threads(void)
{
    as_many_as(1, 2, 1);
    as_many_as(2, 3, 2);
    as_many_as(3, 3, 3);
    as_many_as(4, 2, 2);
}

static void test_who_waits_for_something_leaves_the_core(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    uint64_t m = begin(&r, 0);
    leave(&r, 0); /* it waits for a database */
    CHECK(offered(&r) == 1, "the next one's turn");
    uint64_t next = begin(&r, 1);
    end(&r, 1, next, b);
    end(&r, 0, m, a);
    end_rig(&r, __func__);
}

/* One that hangs tells nobody. */
static void test_the_gateway_looks_again_by_itself(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW);
    uint64_t m = begin(&r, 0);
    for (uint32_t w = 0; w < 2; w++) efio_wake_prepare(&r.worker[w].thread->wake);
    CHECK(!ev_stall_check(r.e), "no reason");
    r.e->stall_ns = 0;
    int b = ask(&r, SLOW);
    CHECK(r.e->stall_ns && ev_stall_check(r.e), "one waits for a core");
    leave(&r, 0);
    uint64_t next = begin(&r, 1);
    end(&r, 1, next, b);
    end(&r, 0, m, a);
    end_rig(&r, __func__);
}

static void test_the_gateway_is_told_of_a_free_core(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    efio_waker *gateway = &r.seg.hdr->io_wake[0];
    efio_wake_prepare(gateway);
    ev_sched_burns(&r.worker[0], 0);
    CHECK(efio_wake_is_sleeping(gateway), "there was one before");
    ev_sched_burns(&r.worker[0], COST);
    CHECK(efio_wake_is_sleeping(gateway) && r.worker[0].thread->cost == COST, "it is taken");
    ev_sched_burns(&r.worker[0], 0);
    CHECK(!efio_wake_is_sleeping(gateway) && !r.worker[0].thread->cost, "woken");
    end_rig(&r, __func__);
}

static void test_one_that_hangs_does_not_keep_the_core(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    uint64_t m = begin(&r, 0);
    rig_settle(&r);
    CHECK(offered(&r) == 0, "not yet");
    atomic_fetch_sub(&r.worker[0].thread->current_since_ns, 1000000000ull);
    rig_settle(&r);
    CHECK(offered(&r) == 1, "fifty times what it should have taken is enough");
    uint64_t next = begin(&r, 1);
    end(&r, 1, next, b);
    end(&r, 0, m, a);
    end_rig(&r, __func__);
}

static void test_the_turn_comes_by_arrival(void)
{
    rig r;
    uint64_t m;
    open_with(&r, 1, 16, 8);
    for (uint32_t w = 0; w < 2; w++) ev_set_worker_state(&r.seg, w, EV_WORKER_DRAINING);
    rig_settle(&r);
    int fast = ask(&r, FAST), slow = ask(&r, SLOW), late = ask(&r, FAST);
    CHECK(offered(&r) == 0 && counters(&r)->queue_len == 3, "nobody is there");
    rig_worker_up(&r, 2);
    rig_settle(&r);
    m = begin(&r, 2);
    CHECK(!is_slow(&r, m), "the first");
    end(&r, 2, m, fast);
    m = begin(&r, 2);
    CHECK(is_slow(&r, m), "the second, though it is costly");
    end(&r, 2, m, slow);
    m = begin(&r, 2);
    end(&r, 2, m, late);
    end_rig(&r, __func__);
}

static void test_clients_that_leave_while_it_waits(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    for (int k = 0; k < 100; k++) { /* more than the queue has entries */
        int gone = ask(&r, SLOW);
        struct linger reset = {.l_onoff = 1};
        setsockopt(gone, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(gone);
        rig_settle(&r);
    }
    CHECK(counters(&r)->recalled == 100 && counters(&r)->queue_len == 1, "they have left the queue");
    int c = ask(&r, SLOW), of[3] = {a, b, c};
    for (int k = 0; k < 3; k++) {
        CHECK(offered(&r) == 1, "who stayed has his turn");
        uint64_t m = begin(&r, 0);
        end(&r, 0, m, of[k]);
    }
    end_rig(&r, __func__);
}

static void test_a_full_queue_of_them_leaves_the_others_room(void)
{
    rig r;
    open_with(&r, 1, 2, 1);
    int slow[3], fast[2], refused;
    for (int k = 0; k < 3; k++) slow[k] = ask(&r, SLOW);
    CHECK(counters(&r)->queue_len == 2, "one is offered, two wait");
    refused = ask(&r, SLOW);
    CHECK(rig_got(&r, refused, "503"), "too many of them");
    for (int k = 0; k < 2; k++) fast[k] = ask(&r, FAST);
    CHECK(counters(&r)->shed == 1 && counters(&r)->queue_len == 3, "one fast one is offered, one waits");
    close(refused);
    for (int k = 0; k < 5; k++) {
        uint64_t m = begin(&r, 0);
        rig_answer(&r, 0, m, "served");
        leave(&r, 0);
    }
    for (int k = 0; k < 3; k++) CHECK(rig_got(&r, slow[k], "served"), "answered");
    for (int k = 0; k < 2; k++) CHECK(rig_got(&r, fast[k], "served"), "answered");
    for (int k = 0; k < 3; k++) close(slow[k]);
    for (int k = 0; k < 2; k++) close(fast[k]);
    end_rig(&r, __func__);
}

static void test_its_worker_dies(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    uint32_t w = offered(&r) && efio_ring_size(ev_req_ring(&r.seg, 0, 0)) ? 0 : 1;
    begin(&r, w);
    rig_kill_worker(&r, w);
    CHECK(offered(&r) == 1 && counters(&r)->queue_len == 1, "once more, one at a time");
    uint64_t m = begin(&r, 1 - w);
    end(&r, 1 - w, m, a);
    m = begin(&r, 1 - w);
    end(&r, 1 - w, m, b);
    end_rig(&r, __func__);
}

static void test_the_gateway_dies(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    ask(&r, SLOW);
    ask(&r, SLOW);
    uint64_t m = begin(&r, 0);
    rig_kill_gateway(&r);
    rig_settle(&r);
    int c = ask(&r, SLOW);
    CHECK(offered(&r) == 0 && counters(&r)->queue_len == 1, "what the workers have counts for its successor");
    rig_answer(&r, 0, m, "to nobody");
    leave(&r, 0);
    CHECK(offered(&r) == 1, "its turn");
    m = begin(&r, 1);
    end(&r, 1, m, c);
    end_rig(&r, __func__);
}

/* Worker 0 has a second thread, which sleeps and has nothing to do; the first one has a request that waits. */
static ev_sched second_thread(rig *r)
{
    ev_sched second;
    ev_sched_init(&second, &r->seg, 0, 1);
    atomic_store(&second.thread->state, EV_THREAD_RUNNING);
    atomic_store(&second.slot->threads, 2);
    efio_wake_prepare(&second.thread->wake);
    atomic_store(&r->worker[0].thread->active, 1);
    return second;
}

static void test_whose_own_wait_leaves_it_to_an_idle_thread(void)
{
    rig r;
    uint64_t m;
    open_with(&r, 1, 16, 8);
    ev_set_worker_state(&r.seg, 1, EV_WORKER_DRAINING);
    ev_sched second = second_thread(&r);
    r.e->stall_ns = UINT64_MAX;
    int c = ask(&r, SLOW);
    efio_wake_prepare(&second.thread->wake);
    CHECK(offered(&r) == 1 && !rig_take(&r, 0, &m), "left alone");
    CHECK(!efio_wake_is_sleeping(&second.thread->wake), "the other one is woken");
    efio_wake_prepare(&second.thread->wake);
    CHECK(!ev_sched_has_work(&r.worker[0]), "nothing to stay awake for");
    CHECK(!efio_wake_is_sleeping(&second.thread->wake), "woken here, too");
    CHECK(ev_sched_take(&second, &m) && is_slow(&r, m), "taken by it");
    r.worker[0] = second;
    rig_answer(&r, 0, m, "served");
    CHECK(rig_got(&r, c, "served"), "answered");
    close(c);
    end_rig(&r, __func__);
}

static void test_when_it_takes_it_nevertheless(void)
{
    for (int what = 0; what < 4; what++) {
        rig r;
        uint64_t m;
        open_with(&r, 1, 16, 8);
        ev_set_worker_state(&r.seg, 1, EV_WORKER_DRAINING);
        ev_sched second = second_thread(&r);
        r.e->stall_ns = UINT64_MAX;
        int c = ask(&r, what ? SLOW : FAST);                                  /* no reason to leave a fast one */
        if (what == 1) atomic_store(&second.thread->active, 1);               /* in no better case */
        if (what == 2) atomic_store(&second.thread->state, EV_THREAD_UNUSED); /* not there */
        if (what == 3) atomic_store(&second.slot->stalled, 1);                /* has not come */
        CHECK(ev_sched_has_work(&r.worker[0]) && rig_take(&r, 0, &m), "taken (%d)", what);
        rig_answer(&r, 0, m, "served");
        CHECK(rig_got(&r, c, "served"), "answered");
        close(c);
        end_rig(&r, __func__);
    }
}

static void test_it_goes_where_nothing_waits(void)
{
    rig r;
    uint64_t m;
    open_with(&r, 1, 16, 8);
    ev_thread_slot *th = r.worker[0].thread;
    atomic_store(&th->active, 1);
    efio_wake_prepare(&th->wake); /* asleep, with a request; the other worker has more, but a thread without, awake */
    ev_thread_slot *busy = &ev_worker_at(&r.seg, 1)->thread[1];
    atomic_store(&busy->state, EV_THREAD_RUNNING);
    atomic_store(&busy->active, 3);
    efio_wake_prepare(&busy->wake);
    int c = ask(&r, SLOW);
    CHECK(efio_ring_size(ev_req_ring(&r.seg, 1, 0)) == 1, "to the other one");
    int d = ask(&r, FAST);
    CHECK(efio_ring_size(ev_req_ring(&r.seg, 0, 0)) == 1, "unlike a fast one");
    MUST(rig_take(&r, 1, &m) && is_slow(&r, m));
    rig_answer(&r, 1, m, "served");
    CHECK(rig_got(&r, c, "served"), "answered");
    MUST(rig_take_more(&r, 0, &m));
    rig_answer(&r, 0, m, "served");
    CHECK(rig_got(&r, d, "served"), "answered");
    close(c);
    close(d);
    atomic_store(&busy->active, 0);
    end_rig(&r, __func__);
}

/* Both threads have a request that waits for something. */
static void test_it_is_held_back_for_a_while_when_something_waits_everywhere(void)
{
    for (int end_early = 0; end_early < 2; end_early++) {
        rig r;
        uint64_t m;
        open_with(&r, 1, 16, 8);
        for (uint32_t w = 0; w < 2; w++) atomic_store(&r.worker[w].thread->active, 1);
        r.e->core_since_ns = UINT64_MAX / 2; /* the test says when it is over, however slow the machine is */
        int c = ask(&r, SLOW);
        CHECK(offered(&r) == 0 && counters(&r)->queue_len == 1, "held back");
        int d = ask(&r, FAST);
        CHECK(offered(&r) == 1, "not so a fast one");
        if (end_early)
            atomic_store(&r.worker[1].thread->active, 0);
        else
            r.e->core_since_ns = efio_now_ns() - COST * 1000 / 8 - 1;
        rig_settle(&r);
        CHECK(offered(&r) == 2 && !r.e->core_since_ns, "its turn (%d)", end_early);
        for (uint32_t w = 0; w < 2; w++) atomic_store(&r.worker[w].thread->active, 0);
        for (int k = 0; k < 2; k++) {
            m = begin(&r, 0);
            rig_answer(&r, 0, m, "served");
            leave(&r, 0);
        }
        CHECK(rig_got(&r, c, "served") && rig_got(&r, d, "served"), "answered");
        close(c);
        close(d);
        end_rig(&r, __func__);
    }
}

static void test_the_holding_back_begins_with_the_core(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    learn(&r, 16000000); /* two seconds are an eighth of that */
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    uint64_t m = begin(&r, 0);
    atomic_store(&r.worker[1].thread->active, 1);
    r.e->core_since_ns = 1;
    rig_settle(&r);
    CHECK(!r.e->core_since_ns, "no core");
    atomic_fetch_add(&r.worker[0].thread->active, 1);
    uint64_t before = efio_now_ns();
    end(&r, 0, m, a);
    uint64_t since = r.e->core_since_ns;
    CHECK((offered(&r) == 0 && since >= before) || efio_now_ns() - before > 1000000000, "since now");
    for (uint32_t w = 0; w < 2; w++) atomic_store(&r.worker[w].thread->active, 0);
    rig_settle(&r);
    CHECK(offered(&r) == 1 && !r.e->core_since_ns, "its turn");
    m = begin(&r, 0);
    end(&r, 0, m, b);
    end_rig(&r, __func__);
}

static void test_switched_off(void)
{
    rig r;
    open_with(&r, 1, 16, 8);
    r.seg.hdr->costly = 0;
    int a = ask(&r, SLOW), b = ask(&r, SLOW);
    CHECK(offered(&r) == 2 && counters(&r)->costly == 0, "as any other");
    uint64_t m = begin(&r, 0), n = begin(&r, 0);
    end(&r, 0, m, a);
    end(&r, 0, n, b);
    end_rig(&r, __func__);
}

int main(void)
{
    test_the_others_pass();
    test_as_many_as_cores_and_threads();
    test_who_waits_for_something_leaves_the_core();
    test_the_gateway_looks_again_by_itself();
    test_the_gateway_is_told_of_a_free_core();
    test_one_that_hangs_does_not_keep_the_core();
    test_the_turn_comes_by_arrival();
    test_clients_that_leave_while_it_waits();
    test_a_full_queue_of_them_leaves_the_others_room();
    test_its_worker_dies();
    test_the_gateway_dies();
    test_whose_own_wait_leaves_it_to_an_idle_thread();
    test_when_it_takes_it_nevertheless();
    test_it_goes_where_nothing_waits();
    test_it_is_held_back_for_a_while_when_something_waits_everywhere();
    test_the_holding_back_begins_with_the_core();
    test_switched_off();
    return failures > 0;
}
