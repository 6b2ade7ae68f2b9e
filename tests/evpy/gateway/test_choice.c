/* Whose requests wait for something (a database) are not to wait for one that burns CPU as well: who is given a
 * request, who is woken for it, who steals it. One worker's threads share an interpreter, so a "thread" here is an
 * ev_sched, and what it is at (asleep, in Python) is what the test writes into its slot. */
#include "engine_rig.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static ev_thread_slot *thread(rig *r, uint32_t w, uint32_t t)
{
    return &ev_worker_at(&r->seg, w)->thread[t];
}

/* Serves, with so many requests that wait for something, and sleeps. */
static void asleep(rig *r, uint32_t w, uint32_t t, uint32_t requests)
{
    ev_thread_slot *th = thread(r, w, t);
    atomic_store(&th->state, EV_THREAD_RUNNING);
    atomic_store(&ev_worker_at(&r->seg, w)->threads, t + 1);
    atomic_store(&th->active, requests);
    efio_wake_prepare(&th->wake);
}

static bool is_awake(rig *r, uint32_t w, uint32_t t)
{
    return !efio_wake_is_sleeping(&thread(r, w, t)->wake);
}

/* Sends a request; the stall check, which wakes more, waits until the test lets it, however slow the machine is. */
static int send_calmly(rig *r)
{
    int c = rig_connect(r);
    r->e->stall_ns = UINT64_MAX;
    rig_send(r, c, GET);
    return c;
}

static uint32_t in_ring(rig *r, uint32_t w)
{
    return efio_ring_size(ev_req_ring(&r->seg, w, 0));
}

/* Takes it by worker w, whose thread then has no other request, and answers. */
static void serve(rig *r, uint32_t w, int client)
{
    uint64_t m;
    atomic_store(&thread(r, w, 0)->active, 0);
    CHECK(rig_take(r, w, &m), "taken");
    rig_answer(r, w, m, "served");
    CHECK(rig_got(r, client, "served"), "answered");
    close(client);
}

static void test_a_thread_without_requests_is_woken(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    asleep(&r, 0, 0, 1);
    asleep(&r, 0, 1, 0);
    int c = send_calmly(&r);
    CHECK(is_awake(&r, 0, 1), "the one with nothing to do");
    CHECK(!is_awake(&r, 0, 0), "and nobody else");
    serve(&r, 0, c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_a_worker_with_such_a_thread_is_chosen(void)
{
    rig r;
    rig_open(&r, 2, 16, 16, 8, 8);
    asleep(&r, 0, 0, 1);
    asleep(&r, 1, 0, 2); /* has more to do, ... */
    asleep(&r, 1, 1, 0); /* ... but not here */
    int c = send_calmly(&r);
    CHECK(in_ring(&r, 1) == 1 && is_awake(&r, 1, 1), "the second worker's second thread");
    CHECK(!is_awake(&r, 0, 0) && !is_awake(&r, 1, 0), "nobody else");
    serve(&r, 1, c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_when_all_have_requests_one_of_them_is_woken(void)
{
    rig r;
    rig_open(&r, 2, 16, 16, 8, 8);
    asleep(&r, 0, 0, 3);
    asleep(&r, 1, 0, 2);
    int c = send_calmly(&r);
    CHECK(in_ring(&r, 1) == 1 && is_awake(&r, 1, 0) && !is_awake(&r, 0, 0), "the one with the fewest");
    serve(&r, 1, c);
    atomic_store(&thread(&r, 0, 0)->active, 0);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* Worker 1's thread, with a request of its own, comes round while another one lies in the ring of worker 0. */
static int one_in_the_ring_of_another(rig *r)
{
    rig_open(r, 1, 16, 16, 8, 8);
    asleep(r, 0, 0, 0);
    int c = send_calmly(r);
    CHECK(is_awake(r, 0, 0), "woken for it");
    rig_worker_up(r, 1);
    atomic_store(&thread(r, 1, 0)->active, 1);
    return c;
}

static void test_whose_own_wait_leaves_it_to_the_idle(void)
{
    rig r;
    uint64_t m;
    int c = one_in_the_ring_of_another(&r);
    CHECK(!rig_take(&r, 1, &m), "left alone");
    CHECK(!ev_sched_has_work(&r.worker[1]), "nothing to stay awake for");
    serve(&r, 0, c);
    atomic_store(&thread(&r, 1, 0)->active, 0);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_who_has_nothing_steals_at_once(void)
{
    rig r;
    int c = one_in_the_ring_of_another(&r);
    serve(&r, 1, c);
    CHECK(thread(&r, 1, 0)->stolen == 1, "stolen");
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

static void test_what_nobody_idle_can_take_is_stolen_at_once(void)
{
    for (int what = 0; what < 2; what++) {
        rig r;
        uint64_t m;
        int c = one_in_the_ring_of_another(&r);
        if (what)
            atomic_store(&thread(&r, 0, 0)->current, 1); /* in Python, who knows for how long */
        else
            atomic_store(&thread(&r, 0, 0)->active, 1); /* has a request that waits, as the thief has */
        CHECK(ev_sched_has_work(&r.worker[1]), "something to stay awake for");
        CHECK(rig_take(&r, 1, &m), "stolen");
        rig_answer(&r, 1, m, "served");
        CHECK(rig_got(&r, c, "served"), "answered");
        close(c);
        rig_check_rest(&r, __func__);
        rig_close(&r);
    }
}

/* Worker 0 seems idle but does not come round: it was stopped. */
static void test_what_lies_there_for_too_long_is_stolen_by_anybody(void)
{
    rig r;
    uint64_t m;
    int c = one_in_the_ring_of_another(&r);
    efio_wake_prepare(&thread(&r, 1, 0)->wake);
    rig_settle(&r);
    ev_stall_check(r.e);
    CHECK(is_awake(&r, 1, 0), "woken by the stall check");
    CHECK(ev_sched_has_work(&r.worker[1]) && rig_take(&r, 1, &m), "may take it now");
    rig_answer(&r, 1, m, "served");
    CHECK(rig_got(&r, c, "served"), "answered");
    CHECK(!rig_take(&r, 0, &m), "the stopped one comes too late");
    ev_stall_check(r.e);
    CHECK(!atomic_load(&ev_worker_at(&r.seg, 0)->stalled), "and has no stain");
    close(c);
    atomic_store(&thread(&r, 1, 0)->active, 0);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

int main(void)
{
    test_a_thread_without_requests_is_woken();
    test_a_worker_with_such_a_thread_is_chosen();
    test_when_all_have_requests_one_of_them_is_woken();
    test_whose_own_wait_leaves_it_to_the_idle();
    test_who_has_nothing_steals_at_once();
    test_what_nobody_idle_can_take_is_stolen_at_once();
    test_what_lies_there_for_too_long_is_stolen_by_anybody();
    return failures > 0;
}
