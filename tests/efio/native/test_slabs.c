/* Slabs change hands: each offer is claimed or recalled exactly once, whoever tries at the same time. */
#include "crew.h"
#include "efio/native/slabs.h"
#include "efio/native/stack.h"
#include "twin.h"

static void test_cookie(void)
{
    uint64_t c = efio_cookie_make(0xfedcba98, 0x123456, EFIO_SLAB_CLAIMED);
    CHECK(efio_cookie_generation(c) == 0xfedcba98 && efio_cookie_owner(c) == 0x123456, "parts");
    CHECK(efio_cookie_state(c) == EFIO_SLAB_CLAIMED, "state");
    c = efio_cookie_make(1, UINT32_MAX, 255);
    CHECK(efio_cookie_generation(c) == 1 && efio_cookie_owner(c) == EFIO_OWNER_MAX,
          "too large an owner stays in its field");
}

static void test_life(void)
{
    efio_cookie c = 0; /* a zero page */
    CHECK(efio_cookie_state(c) == EFIO_SLAB_FREE, "free");
    CHECK(efio_slab_hold(&c) == 0, "generation");
    CHECK(!efio_slab_recall(&c) && !efio_slab_claim(&c, 0, 5), "not offered yet");
    CHECK(!efio_slab_reclaim(&c, 0), "the issuer's own, not a claimer's with number 0");
    efio_slab_offer(&c);
    CHECK(!efio_slab_claim(&c, 1, 5) && !efio_slab_claim(&c, UINT32_MAX, 5), "another generation");
    CHECK(efio_slab_claim(&c, 0, 5), "claimed");
    CHECK(!efio_slab_claim(&c, 0, 6) && !efio_slab_recall(&c), "once");
    CHECK(efio_cookie_owner(c) == 5, "by 5");
    CHECK(!efio_slab_reclaim(&c, 6) && efio_slab_reclaim(&c, 5) && !efio_slab_reclaim(&c, 5), "taken back from 5");
    efio_slab_offer(&c); /* again, as after the death of its claimer */
    CHECK(efio_slab_recall(&c) && !efio_slab_claim(&c, 0, 5), "recalled");
    efio_slab_free(&c);
    CHECK(c == efio_cookie_make(1, 0, EFIO_SLAB_FREE), "free, next generation");
    c = efio_cookie_make(UINT32_MAX, 0, EFIO_SLAB_HELD);
    efio_slab_free(&c);
    CHECK(c == 0, "generations wrap into nothing else");
}

/* An issuer offers slabs through a ring; claimers pop and claim; thieves claim what they see in the ring without
 * popping; the issuer recalls some. Free slabs lie on a stack, whoever is done with one sends it back by a second ring.
 */
enum { SLABS = 8, CLAIMERS = 2, THIEVES = 1, WORKERS = CLAIMERS + THIEVES };

typedef struct {
    efio_cookie cookie;
    uint64_t payload; /* not atomic: written by the issuer before the offer, by the claimer afterwards */
} slab;

static struct {
    efio_ring *offers, *returns;
    efio_stack *free;
    slab slab[SLABS];
    uint64_t total;
    _Atomic int done;
    uint64_t claimed[WORKERS];
    uint64_t recalled, returned;
} x;

static uint64_t entry(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | index;
}

static void work_on(int worker, uint64_t e)
{
    slab *s = &x.slab[(uint32_t)e];
    if (!efio_slab_claim(&s->cookie, (uint32_t)(e >> 32), (uint32_t)worker + 1)) return;
    CHECK(s->payload == e, "claimed another offer's content");
    s->payload = ~e;
    x.claimed[worker]++;
    while (!efio_ring_push(x.returns, e)) sched_yield();
}

static void worker_loop(int worker)
{
    uint64_t seed = (uint64_t)worker;
    while (!atomic_load_explicit(&x.done, memory_order_relaxed)) {
        uint64_t e;
        uint32_t head = atomic_load_explicit(&x.offers->head, memory_order_relaxed);
        bool any = worker >= CLAIMERS            ? efio_ring_peek(x.offers, head + 1, &e)
                   : random_below(&seed, 4) == 0 ? efio_ring_pop(x.offers, &e) /* lazy, for the thief's sake */
                                                 : false;
        if (any)
            work_on(worker, e);
        else
            sched_yield();
    }
}

static void settle(uint32_t index)
{
    efio_slab_free(&x.slab[index].cookie);
    efio_stack_push(x.free, index);
}

static void take_returns(void)
{
    uint64_t e;
    while (efio_ring_pop(x.returns, &e)) {
        slab *s = &x.slab[(uint32_t)e];
        uint64_t c = atomic_load(&s->cookie);
        CHECK(s->payload == ~e, "the claimer's answer");
        CHECK(efio_cookie_generation(c) == (uint32_t)(e >> 32), "an answer of an old generation");
        CHECK(efio_slab_reclaim(&s->cookie, efio_cookie_owner(c)), "state %u", efio_cookie_state(c));
        x.returned++;
        settle((uint32_t)e);
    }
}

static void issuer_loop(void)
{
    uint64_t seed = 1;
    for (uint64_t n = 0; n < x.total;) {
        uint32_t i;
        take_returns();
        if (!efio_stack_pop(x.free, &i)) {
            sched_yield();
            continue;
        }
        uint32_t g = efio_slab_hold(&x.slab[i].cookie);
        x.slab[i].payload = entry(i, g);
        efio_slab_offer(&x.slab[i].cookie);
        n++;
        while (!efio_ring_push(x.offers, entry(i, g))) sched_yield(); /* full of entries that were recalled or stolen */
        if (random_below(&seed, 4) == 0 && efio_slab_recall(&x.slab[i].cookie)) {
            x.recalled++;
            settle(i);
        }
    }
    do {
        sched_yield();
        take_returns();
    } while (x.returned + x.recalled < x.total);
    atomic_store(&x.done, 1);
}

static void stress_work(int who, void *unused)
{
    if (who == 0)
        issuer_loop();
    else
        worker_loop(who - 1);
}

static void test_stress(void)
{
    x.offers = lockfree_ring_make(SLABS / 2, UINT32_MAX - 100);
    x.returns = lockfree_ring_make(SLABS, 0);
    x.free = lockfree_stack_make(SLABS);
    x.total = ROUNDS(20000);
    for (uint32_t i = 0; i < SLABS; i++) {
        x.slab[i].cookie = efio_cookie_make(UINT32_MAX - 50, 0, EFIO_SLAB_FREE);
        efio_stack_push(x.free, i);
    }
    crew_run(1 + WORKERS, stress_work, NULL);
    uint64_t claimed = 0;
    for (int i = 0; i < WORKERS; i++) claimed += x.claimed[i];
    CHECK(claimed == x.returned && claimed + x.recalled == x.total,
          "%llu claimed, %llu returned, %llu recalled of %llu", (unsigned long long)claimed,
          (unsigned long long)x.returned, (unsigned long long)x.recalled, (unsigned long long)x.total);
    printf("%llu claimed from the ring, %llu stolen, %llu recalled\n",
           (unsigned long long)(x.claimed[0] + x.claimed[1]), (unsigned long long)x.claimed[2],
           (unsigned long long)x.recalled);
    uint32_t i, left = 0;
    while (efio_stack_pop(x.free, &i)) left++;
    CHECK(left == SLABS, "%u slabs left of %d", left, SLABS);
    free(x.offers);
    free(x.returns);
    free(x.free);
}

int main(void)
{
    test_cookie();
    test_life();
    test_stress();
    return failures > 0;
}
