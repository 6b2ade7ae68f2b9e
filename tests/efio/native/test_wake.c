/* No wake-up is lost, and none is paid for when the other side is awake. A wait that times out is a failure. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "crew.h"
#include "efio/native/ring.h"
#include "efio/native/wake.h"

#define PATIENCE_MS 20000

/* A consumer as in the gateway and in workers: it has a ring, a waker, and an edge-triggered epoll set that it never
 * reads from. */
typedef struct {
    EFIO_ALIGNED uint8_t memory[sizeof(efio_ring) + 64 * sizeof(efio_cell)];
    efio_waker waker;
    efio_ring *ring;
    int epoll;
} inbox;

static void inbox_open(inbox *b)
{
    memset(b, 0, sizeof *b);
    b->ring = (efio_ring *)b->memory;
    efio_ring_init(b->ring, 64);
    b->waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    REQUIRE(b->waker.fd >= 0 && b->epoll >= 0, "%s", strerror(errno));
    REQUIRE(epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->waker.fd, &ev) == 0, "%s", strerror(errno));
}

static void inbox_close(inbox *b)
{
    close(b->waker.fd);
    close(b->epoll);
}

static int inbox_wait(inbox *b, int timeout_ms)
{
    struct epoll_event ev;
    int n;
    do n = epoll_wait(b->epoll, &ev, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n;
}

static uint64_t inbox_take(inbox *b)
{
    uint64_t v;
    while (!efio_ring_pop(b->ring, &v)) {
        efio_wake_prepare(&b->waker);
        if (!efio_ring_ready(b->ring)) REQUIRE(inbox_wait(b, PATIENCE_MS) == 1, "a wake-up was lost");
        efio_wake_cancel(&b->waker);
    }
    return v;
}

static bool inbox_put(inbox *b, uint64_t v)
{
    while (!efio_ring_push(b->ring, v)) sched_yield();
    return efio_wake_notify(&b->waker);
}

static void test_elision(void)
{
    inbox b;
    inbox_open(&b);
    CHECK(!inbox_put(&b, 1) && !efio_wake_is_sleeping(&b.waker), "nobody sleeps");
    CHECK(inbox_wait(&b, 0) == 0 && b.waker.rings == 0, "not rung");
    efio_wake_prepare(&b.waker);
    CHECK(efio_wake_is_sleeping(&b.waker), "asleep");
    CHECK(inbox_put(&b, 2), "rung");
    CHECK(!efio_wake_is_sleeping(&b.waker) && !inbox_put(&b, 3), "once for each sleep");
    CHECK(inbox_wait(&b, 0) == 1 && b.waker.rings == 1, "awake");
    CHECK(inbox_wait(&b, 0) == 0, "edge-triggered: once, without a read");
    efio_wake_cancel(&b.waker);
    efio_wake_prepare(&b.waker);
    efio_wake_cancel(&b.waker);
    CHECK(!inbox_put(&b, 4), "thought better of it");
    efio_wake_ring(&b.waker);
    CHECK(inbox_wait(&b, 0) == 1, "rung unconditionally, beside what was never read");
    b.waker.sleeps = UINT32_MAX - 1; /* the number of the sleep wraps */
    for (int i = 0; i < 3; i++) {
        efio_wake_prepare(&b.waker);
        CHECK(efio_wake_is_sleeping(&b.waker) && efio_wake_notify(&b.waker), "sleep %d", i);
        CHECK(!efio_wake_is_sleeping(&b.waker), "sleep %d", i);
    }
    inbox_close(&b);
}

/* Two threads, each of which sleeps until the other one answers. */
static inbox sides[2];

static void pingpong_work(int who, void *p)
{
    uint64_t n = ROUNDS(100000);
    for (uint64_t i = 0; i < n; i++) {
        if (who == 0) inbox_put(&sides[1], i);
        uint64_t v = inbox_take(&sides[who]);
        CHECK(v == i, "%llu instead of %llu", (unsigned long long)v, (unsigned long long)i);
        if (who == 1) inbox_put(&sides[0], i);
    }
}

static void test_pingpong(void)
{
    for (int i = 0; i < 2; i++) inbox_open(&sides[i]);
    crew_run(2, pingpong_work, NULL);
    for (int i = 0; i < 2; i++) {
        uint32_t prepared = sides[i].waker.sleeps / 2;
        CHECK(sides[i].waker.rings <= prepared, "%llu rings, prepared for %u times",
              (unsigned long long)sides[i].waker.rings, prepared);
        inbox_close(&sides[i]);
    }
}

/* Work arrives in the very moment in which the consumer lies down: the producers wait until it has taken the last
 * piece, and then a little. */
typedef struct {
    inbox box;
    _Atomic uint64_t taken;
    uint64_t total;
    int producers;
} handover;

static void handover_work(int who, void *p)
{
    handover *h = p;
    uint64_t seed = (uint64_t)who;
    if (who == 0) {
        for (uint64_t i = 0; i < h->total; i++) {
            inbox_take(&h->box);
            atomic_store_explicit(&h->taken, i + 1, memory_order_relaxed);
        }
        return;
    }
    for (uint64_t i = (uint64_t)who - 1; i < h->total; i += (uint64_t)h->producers) {
        uint64_t want = i < (uint64_t)h->producers ? 0 : i - (uint64_t)h->producers + 1;
        for (int spins = 0; atomic_load_explicit(&h->taken, memory_order_relaxed) < want; spins++) {
            if (spins < 200)
                efio_spin_hint();
            else
                sched_yield();
        }
        for (size_t k = random_below(&seed, 60); k > 0; k--) __asm__ volatile("" ::: "memory");
        inbox_put(&h->box, i);
    }
}

static void test_handover(int producers)
{
    static handover h;
    memset(&h, 0, sizeof h);
    h.total = ROUNDS(producers == 1 ? 300000 : 100000);
    h.producers = producers;
    inbox_open(&h.box);
    crew_run(1 + producers, handover_work, &h);
    inbox_close(&h.box);
}

int main(void)
{
    test_elision();
    test_pingpong();
    test_handover(1);
    test_handover(3);
    return failures > 0;
}
