/* Jobs: each accepted one is run exactly once, whoever sleeps, and none after the end. */
#include "efio/native/call.h"

#include <errno.h>

#include "crew.h"

typedef struct {
    efio_job job;
    _Atomic int runs;
    efio_parker parker;
} counted;

static void count(efio_job *job)
{
    atomic_fetch_add(&((counted *)job->owner)->runs, 1);
}

static void prepare(counted *c, bool native, bool parked)
{
    atomic_init(&c->runs, 0);
    efio_parker_init(&c->parker);
    c->job = (efio_job){native ? count : NULL, parked ? &c->parker : NULL, c, 0};
}

static void test_alone(void)
{
    efio_pool *p = efio_pool_new(2);
    counted c[3];
    for (int i = 0; i < 3; i++) prepare(&c[i], i != 1, true);
    CHECK(efio_pool_submit(p, &c[0].job) == 0 && efio_pool_submit(p, &c[1].job) == 0, "room for two");
    CHECK(efio_pool_submit(p, &c[2].job) == EAGAIN, "full");
    CHECK(efio_pool_take(p, true) == &c[1].job, "handed out");
    CHECK(c[0].runs == 1 && efio_parker_is_woken(&c[0].parker), "run before it");
    CHECK(c[1].runs == 0 && !efio_parker_is_woken(&c[1].parker), "not run here");
    CHECK(efio_pool_take(p, false) == NULL, "empty");
    CHECK(efio_pool_submit(p, &c[2].job) == 0, "room again");
    efio_pool_close(p);
    CHECK(efio_pool_submit(p, &c[0].job) == ESHUTDOWN, "closed");
    efio_job_cancel(efio_pool_withdraw(p));
    CHECK(c[2].runs == 0 && c[2].job.error == ECANCELED && efio_parker_is_woken(&c[2].parker), "cancelled");
    CHECK(efio_pool_take(p, true) == NULL, "ended");
    efio_pool_free(p);
    CHECK(efio_pool_new(3) == NULL && errno == EINVAL, "capacity 3");
}

typedef struct {
    efio_pool *pool;
    int each;
    bool one_by_one; /* waits for each: workers sleep and are woken all the time */
    bool patient;    /* sleeps while it is full */
    counted *all;
    _Atomic int producing, accepted;
} work;

/* A worker whose jobs without `run` need a lock, which is all that they have in common with Python's. */
static pthread_mutex_t interpreter = PTHREAD_MUTEX_INITIALIZER;

static void locked_worker(efio_pool *p)
{
    pthread_mutex_lock(&interpreter);
    for (bool alive = true; alive;) {
        efio_job *job = efio_pool_next(p);
        if (!job || job->run) {
            pthread_mutex_unlock(&interpreter);
            if (job) efio_job_run(p, job);
            alive = efio_pool_await(p, &job);
            pthread_mutex_lock(&interpreter);
            efio_pool_arrive(p);
            if (!job) continue;
        }
        count(job);
        if (job->done) efio_unpark(job->done);
    }
    pthread_mutex_unlock(&interpreter);
}

enum { PRODUCERS = 4, WORKERS = 4 };

/* As the embedder does it: sleeps until there is room. */
static int submit_patiently(efio_pool *p, efio_job *job)
{
    int e;
    while ((e = efio_pool_submit(p, job)) == EAGAIN) {
        efio_parker parker;
        efio_room room = {.parker = &parker};
        efio_parker_init(&parker);
        efio_pool_await_room(p, &room);
        e = efio_pool_submit(p, job);
        if (e == EAGAIN) efio_park(&parker, EFIO_FOREVER);
        bool called = !efio_pool_end_wait(p, &room);
        if (e == EAGAIN) continue;
        if (called) efio_pool_call_submitter(p);
        return e;
    }
    return e;
}

static void member(int who, void *context)
{
    work *w = context;
    if (who >= PRODUCERS && w->each % 2) {
        locked_worker(w->pool);
        return;
    }
    if (who >= PRODUCERS) {
        for (efio_job *job; (job = efio_pool_take(w->pool, true));) {
            count(job);
            if (job->done) efio_unpark(job->done);
        }
        return;
    }
    for (int i = 0; i < w->each; i++) {
        counted *c = &w->all[who * w->each + i];
        prepare(c, i % 2, w->one_by_one);
        int e;
        if (w->patient)
            e = submit_patiently(w->pool, &c->job);
        else
            while ((e = efio_pool_submit(w->pool, &c->job)) == EAGAIN) sched_yield();
        if (e == ESHUTDOWN) break;
        atomic_fetch_add(&w->accepted, 1);
        if (w->one_by_one) CHECK(efio_park(&c->parker, EFIO_FOREVER), "woken");
    }
    if (atomic_fetch_sub(&w->producing, 1) == 1) efio_pool_close(w->pool);
}

static void test_crew(uint32_t capacity, int each, bool one_by_one, bool patient)
{
    work w = {.pool = efio_pool_new(capacity), .each = each, .one_by_one = one_by_one, .patient = patient};
    w.all = calloc((size_t)(PRODUCERS * each), sizeof *w.all);
    atomic_init(&w.producing, PRODUCERS);
    crew_run(PRODUCERS + WORKERS, member, &w);
    for (int i = 0; i < PRODUCERS * each; i++) CHECK(w.all[i].runs == 1, "job %d ran %d times", i, w.all[i].runs);
    CHECK(w.accepted == PRODUCERS * each, "all accepted");
    CHECK(w.pool->wanting == 0 && !w.pool->first, "nobody is left in the list");
    printf("capacity %u%s%s: %d jobs, %lu calls\n", capacity, one_by_one ? ", one by one" : "",
           patient ? ", patient" : "", PRODUCERS * each, (unsigned long)w.pool->calls);
    free(w.all);
    efio_pool_free(w.pool);
}

/* Closed while everybody submits: what was accepted runs, once; nothing else. */
static void closer(int who, void *context)
{
    work *w = context;
    if (who == 0) {
        while (atomic_load(&w->accepted) < w->each / 2) sched_yield();
        efio_pool_close(w->pool);
    } else {
        member(who, context);
    }
}

static void test_close(void)
{
    for (int round = 0; round < ROUNDS(200); round++) {
        work w = {.pool = efio_pool_new(8), .each = 100, .patient = round % 2};
        w.all = calloc(PRODUCERS * 100, sizeof *w.all);
        atomic_init(&w.producing, PRODUCERS + 1); /* only closer closes */
        crew_run(PRODUCERS + WORKERS, closer, &w);
        int ran = 0;
        for (int i = 0; i < PRODUCERS * 100; i++) ran += w.all[i].runs;
        CHECK(ran == w.accepted, "%d accepted, %d ran", w.accepted, ran);
        free(w.all);
        efio_pool_free(w.pool);
    }
}

/* Those who wait for a call leave and come again all the time; when they go, nobody uses the call or a parker of theirs
 * any more (both are freed at once). */
static void add_one(void *argument)
{
    (*(int *)argument)++;
}

static void caller(int who, void *context)
{
    work *w = context;
    if (who >= PRODUCERS) {
        CHECK(efio_pool_take(w->pool, true) == NULL, "nothing is handed out");
        return;
    }
    for (int i = 0; i < w->each; i++) {
        efio_call *call = malloc(sizeof *call);
        int runs = 0;
        efio_call_init(call, add_one, &runs);
        CHECK(submit_patiently(w->pool, &call->job) == 0, "accepted");
        for (;;) {
            efio_parker *parker = malloc(sizeof *parker);
            efio_parker_init(parker);
            bool parked = efio_call_wait(call, parker);
            bool woken = parked && efio_park(parker, i % 3 ? 1 : EFIO_FOREVER); /* 1: long ago */
            bool over = !parked || woken || !efio_call_leave(call, parker);
            if (over) efio_call_end(call);
            free(parker);
            if (over) break;
        }
        CHECK(runs == 1, "it has run");
        free(call);
    }
    if (atomic_fetch_sub(&w->producing, 1) == 1) efio_pool_close(w->pool);
}

static void test_calls(void)
{
    work w = {.pool = efio_pool_new(2), .each = ROUNDS(10000)};
    atomic_init(&w.producing, PRODUCERS);
    crew_run(PRODUCERS + WORKERS, caller, &w);
    CHECK(w.pool->ran == (uint64_t)(PRODUCERS * w.each), "all have run");
    efio_pool_free(w.pool);
}

/* Two jobs at once for two sleepers, the first of which needs the second: both must come. */
static void wait_for_next(efio_job *job)
{
    while (!atomic_load(&((counted *)job->owner)[1].runs)) sched_yield();
    count(job);
}

static void pair(int who, void *context)
{
    work *w = context;
    if (who) {
        CHECK(efio_pool_take(w->pool, true) == NULL, "nothing is handed out");
        return;
    }
    for (int i = 0; i < w->each; i++) {
        counted c[2];
        for (int k = 0; k < 2; k++) prepare(&c[k], true, true);
        c[0].job.run = wait_for_next;
        for (int k = 0; k < 2; k++) CHECK(efio_pool_submit(w->pool, &c[k].job) == 0, "accepted");
        for (int k = 0; k < 2; k++) CHECK(efio_park(&c[k].parker, EFIO_FOREVER), "woken");
    }
    efio_pool_close(w->pool);
}

static void test_pairs(void)
{
    work w = {.pool = efio_pool_new(4), .each = ROUNDS(20000)};
    crew_run(3, pair, &w);
    efio_pool_free(w.pool);
}

int main(void)
{
    test_alone();
    test_crew(2, ROUNDS(20000), false, false);
    test_crew(1024, ROUNDS(100000), false, false);
    test_crew(64, ROUNDS(10000), true, false);
    test_crew(2, ROUNDS(10000), false, true);
    test_crew(1024, ROUNDS(100000), false, true);
    test_crew(2, ROUNDS(10000) | 1, false, true); /* odd: with locked workers */
    test_crew(1024, ROUNDS(100000) | 1, false, false);
    test_crew(64, ROUNDS(10000) | 1, true, false);
    test_close();
    test_calls();
    test_pairs();
    return failures > 0;
}
