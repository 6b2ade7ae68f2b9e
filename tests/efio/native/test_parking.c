/* Parking: each wake-up is given exactly once, whatever timeouts, departures and other wakers do meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crew.h"
#include "efio/native/parking.h"

#define PATIENCE_NS 20000000000u

static void test_states(void)
{
    efio_parker p;
    efio_parker_init(&p);
    CHECK(!efio_parker_is_woken(&p), "new");
    CHECK(efio_unpark(&p), "the first one wakes");
    CHECK(!efio_unpark(&p), "the second one does not");
    CHECK(efio_parker_is_woken(&p) && !efio_park_begin(&p, NULL) && !efio_park_leave(&p), "woken stays woken");
    CHECK(efio_park(&p, EFIO_FOREVER), "a wake-up that came first ends the wait at once");

    efio_parker_init(&p);
    CHECK(!efio_park(&p, 1), "a deadline long ago");
    CHECK(!efio_unpark(&p) && !efio_parker_is_woken(&p), "who has left is not woken");
    CHECK(!efio_park_leave(&p), "who has left does not leave again");

    efio_parker_init(&p);
    CHECK(!efio_park(&p, efio_now_ns() + 1000000), "a deadline soon");
    CHECK(!efio_unpark(&p), "the timeout is final");
}

/* --- threads: one waits with deadlines of all lengths, the others wake and leave */

typedef struct {
    int rounds, wakers;
    _Atomic(efio_parker *) here;
    _Atomic int there;
    _Atomic uint32_t given, taken, timeouts;
    uint64_t written; /* not atomic: a wake-up publishes what was done before it */
    efio_parker parker;
} race;

static void race_work(int who, void *context)
{
    race *r = context;
    uint64_t seed = (uint64_t)who;
    for (int round = 0, turn = 1; round < r->rounds; round++) {
        if (who == 0) efio_parker_init(&r->parker);
        crew_meet(&r->there, r->wakers + 1, turn++);
        for (size_t n = random_below(&seed, 300); n; n--) efio_spin_hint();
        if (who == 0) {
            uint64_t deadline = round % 3 == 0 ? 1 : efio_now_ns() + random_below(&seed, 60000);
            if (round % 3 == 1) deadline = efio_now_ns() + PATIENCE_NS;
            bool woken = efio_park(&r->parker, deadline);
            CHECK(woken == efio_parker_is_woken(&r->parker), "wait and state differ");
            CHECK(woken || round % 3 != 1, "a wake-up was lost");
            atomic_fetch_add(woken ? &r->taken : &r->timeouts, 1);
            if (woken && r->wakers == 1)
                CHECK(r->written == (uint64_t)round + 1, "%llu", (unsigned long long)r->written);
        } else if (who == 1) {
            r->written = (uint64_t)round + 1;
            if (efio_unpark(&r->parker)) atomic_fetch_add(&r->given, 1);
        } else if (efio_unpark(&r->parker)) {
            atomic_fetch_add(&r->given, 1);
        }
        crew_meet(&r->there, r->wakers + 1, turn++);
    }
}

static void test_race(int wakers)
{
    race r = {.rounds = ROUNDS(30000), .wakers = wakers};
    crew_run(wakers + 1, race_work, &r);
    CHECK(r.given == r.taken, "%u wake-ups given, %u taken", r.given, r.taken);
    CHECK((int)(r.taken + r.timeouts) == r.rounds, "%u + %u of %d", r.taken, r.timeouts, r.rounds);
    printf("race with %d others: %u woken, %u timed out\n", wakers, r.taken, r.timeouts);
}

/* --- a mailbox: coroutines of one loop, woken by several threads, some of them leaving meanwhile */

enum { COROUTINES = 64 };

typedef struct {
    int rounds, wakers;
    efio_mailbox *mailbox;
    efio_parker parker[COROUTINES];
    uint32_t references[COROUTINES]; /* the loop's own count of those of the state LOOP */
    _Atomic int there;
    _Atomic uint32_t given;
    uint32_t delivered, left;
    bool in_time;
} loop;

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do n = poll(&p, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static void loop_work(int who, void *context)
{
    loop *l = context;
    uint64_t seed = (uint64_t)who + 7;
    for (int round = 0, turn = 1; round < l->rounds; round++) {
        if (who == 0) {
            for (int i = 0; i < COROUTINES; i++) {
                efio_parker_init(&l->parker[i]);
                REQUIRE(efio_park_begin(&l->parker[i], l->mailbox), "begin");
                l->references[i] = 1;
            }
            l->delivered = l->left = 0;
        }
        crew_meet(&l->there, l->wakers + 1, turn++);
        if (who) { /* every waker tries all of them */
            for (int i = 0, start = (int)random_below(&seed, COROUTINES); i < COROUTINES; i++)
                if (efio_unpark(&l->parker[(start + i) % COROUTINES])) atomic_fetch_add(&l->given, 1);
        } else {
            for (int i = 0; i < COROUTINES; i += 5) {
                if (!efio_park_leave(&l->parker[i])) continue;
                l->references[i]--;
                l->left++;
            }
            while (l->delivered + l->left < COROUTINES) {
                REQUIRE(readable(l->mailbox->fd, (int)(PATIENCE_NS / 1000000)), "a wake-up was lost");
                efio_mailbox_silence(l->mailbox);
                for (efio_parker *p = efio_mailbox_take(l->mailbox); p;) {
                    efio_parker *next = p->next;
                    CHECK(efio_parker_is_woken(p), "delivered, but not woken");
                    l->references[p - l->parker]--;
                    l->delivered++;
                    p = next;
                }
            }
        }
        crew_meet(&l->there, l->wakers + 1, turn++);
        if (who) continue;
        CHECK(l->given == l->delivered, "%u given, %u delivered", l->given, l->delivered);
        for (int i = 0; i < COROUTINES; i++) CHECK(l->references[i] == 0, "%d: %u references", i, l->references[i]);
        atomic_store(&l->given, 0);
    }
}

static void test_loop(int wakers)
{
    loop l = {.rounds = ROUNDS(1000), .wakers = wakers, .mailbox = efio_mailbox_new()};
    REQUIRE(l.mailbox, "no mailbox");
    crew_run(wakers + 1, loop_work, &l);
    uint64_t rings = atomic_load(&l.mailbox->rings);
    printf("%d wakers: %llu rings for %d wake-ups\n", wakers, (unsigned long long)rings, l.rounds * COROUTINES);
    CHECK(rings < (uint64_t)l.rounds * COROUTINES, "every wake-up has rung");
    efio_mailbox_put(l.mailbox);
}

static void test_order_and_elision(void)
{
    efio_mailbox *m = efio_mailbox_new();
    efio_parker p[5];
    for (int i = 0; i < 5; i++) {
        efio_parker_init(&p[i]);
        p[i].owner = &p[i];
        efio_park_begin(&p[i], m);
    }
    for (int i = 0; i < 4; i++) efio_unpark(&p[i]);
    CHECK(m->rings == 1, "one ring for four: %d", (int)m->rings);
    efio_mailbox_silence(m);
    CHECK(!readable(m->fd, 0), "silent");
    efio_parker *first = efio_mailbox_take(m);
    for (int i = 0; i < 4; i++, first = first->next) REQUIRE(first == &p[i] && first->owner == &p[i], "order: %d", i);
    CHECK(!first && !efio_mailbox_take(m), "nothing more");
    /* the loop is gone: the last one is refused, and the mailbox is silent */
    CHECK(!efio_mailbox_close(m) && !efio_mailbox_close(m), "was empty");
    CHECK(efio_unpark(&p[4]) && !efio_mailbox_take(m) && m->rings == 1, "nothing is put in");
    CHECK(m->fd == -1, "closed");
    efio_mailbox_put(m);
}

/* A child must not ring its parent's eventfd, and has one of its own, under the same number. */
static void test_fork(void)
{
    efio_mailbox *m = efio_mailbox_new();
    efio_parker p;
    efio_parker_init(&p);
    efio_park_begin(&p, m);
    pid_t pid = fork();
    REQUIRE(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        bool good = efio_mailbox_after_fork(m) && !readable(m->fd, 0) && efio_unpark(&p) && readable(m->fd, 0) &&
                    efio_mailbox_take(m) == &p;
        _exit(good ? 0 : 1);
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "the child: %#x", (unsigned)status);
    CHECK(!readable(m->fd, 0), "the child rang its parent");
    CHECK(efio_unpark(&p) && readable(m->fd, 0), "the parent's still works");
    /* what was in the mailbox at the fork is rung for again */
    pid = fork();
    REQUIRE(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) _exit(efio_mailbox_after_fork(m) && readable(m->fd, 0) && efio_mailbox_take(m) == &p ? 0 : 1);
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "the second child: %#x", (unsigned)status);
    efio_mailbox_put(m);
}

/* A loop that ends while others wake its coroutines: nobody uses the mailbox after its end (address sanitizer). */
typedef struct {
    int rounds;
    _Atomic int there;
    efio_mailbox *mailbox;
    efio_parker parker;
} ending;

static void ending_work(int who, void *context)
{
    ending *e = context;
    for (int round = 0, turn = 1; round < e->rounds; round++) {
        if (who == 0) {
            e->mailbox = efio_mailbox_new();
            REQUIRE(e->mailbox, "no mailbox");
            efio_parker_init(&e->parker);
            efio_park_begin(&e->parker, e->mailbox);
        }
        crew_meet(&e->there, 2, turn++);
        if (who == 1) {
            efio_unpark(&e->parker);
        } else {
            while (!efio_mailbox_take(e->mailbox)) sched_yield();
            efio_mailbox_close(e->mailbox);
            efio_mailbox_put(e->mailbox);
        }
        crew_meet(&e->there, 2, turn++);
    }
}

int main(void)
{
    test_states();
    test_order_and_elision();
    test_fork();
    for (int wakers = 1; wakers <= 3; wakers++) {
        test_race(wakers);
        test_loop(wakers);
    }
    ending e = {.rounds = ROUNDS(20000)};
    crew_run(2, ending_work, &e);
    return failures > 0;
}
