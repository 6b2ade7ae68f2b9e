/* The ring: capacity, order, exactly once, drops, wrap-around, peek; one thread and many; lock-free and twin. */
#include "crew.h"
#include "twin.h"

static const uint32_t first_tickets[] = {0, 1, UINT32_MAX, UINT32_MAX - 5, 1u << 31};
#define FIRSTS (sizeof first_tickets / sizeof *first_tickets)

static void test_init(void)
{
    efio_ring *r = allocate(efio_ring_bytes(8));
    CHECK(efio_ring_init(r, 8), "8");
    CHECK(efio_ring_init(r, 2), "2");
    static const uint32_t bad[] = {0, 1, 3, 6, (1u << 30) + 1, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!efio_ring_init(r, bad[i]), "%u", bad[i]);
    CHECK(efio_ring_bytes(2) % EFIO_LINE == 0 && efio_ring_bytes(1024) % EFIO_LINE == 0, "whole lines");
    CHECK(efio_ring_bytes(1u << 30) > (size_t)16 << 30, "large rings do not overflow");
    free(r);
}

static void test_capacity(const ring_kind *k, uint32_t capacity, uint32_t first)
{
    void *r = k->make(capacity, first);
    uint64_t v = 0;
    for (int lap = 0; lap < 3; lap++) {
        CHECK(!k->pop(r, &v) && !k->ready(r) && k->size(r) == 0, "%s: empty", k->name);
        for (uint32_t i = 0; i < capacity; i++) {
            CHECK(k->push(r, i), "%s: push %u of %u", k->name, i, capacity);
            CHECK(k->ready(r) && k->size(r) == i + 1, "%s: size %u", k->name, k->size(r));
        }
        CHECK(!k->push(r, 99), "%s: full", k->name);
        CHECK(k->size(r) == capacity, "%s: a refused push leaves nothing", k->name);
        for (uint32_t i = 0; i < capacity; i++)
            CHECK(k->pop(r, &v) && v == i, "%s: %llu instead of %u", k->name, (unsigned long long)v, i);
    }
    free(r);
}

/* Any sequence of operations by one thread: the lock-free ring answers as its twin does. */
static void test_against_twin(uint32_t capacity, uint32_t first, uint64_t seed)
{
    void *ring[2];
    for (int i = 0; i < 2; i++) ring[i] = ring_kinds[i].make(capacity, first);
    uint32_t bias = 1 + (uint32_t)random_below(&seed, 3); /* towards full, towards empty, neither */
    for (int n = 0; n < 2000; n++) {
        bool push = random_below(&seed, 4) < bias, ok[2];
        uint64_t in = random_next(&seed), out[2] = {0, 0};
        for (int i = 0; i < 2; i++)
            ok[i] = push ? ring_kinds[i].push(ring[i], in) : ring_kinds[i].pop(ring[i], &out[i]);
        CHECK(ok[0] == ok[1] && out[0] == out[1], "operation %d: %d %d", n, ok[0], ok[1]);
        CHECK(ring_kinds[0].size(ring[0]) == ring_kinds[1].size(ring[1]), "size after %d", n);
        CHECK(ring_kinds[0].ready(ring[0]) == ring_kinds[1].ready(ring[1]), "ready after %d", n);
    }
    for (int i = 0; i < 2; i++) free(ring[i]);
}

static void test_peek(uint32_t first)
{
    efio_ring *r = lockfree_ring_make(4, first);
    uint64_t v = 0;
    CHECK(!efio_ring_peek(r, first, &v), "nothing yet");
    for (uint64_t i = 0; i < 4; i++) efio_ring_push(r, 10 + i);
    for (uint32_t i = 0; i < 4; i++) CHECK(efio_ring_peek(r, first + i, &v) && v == 10 + i, "ticket %u", i);
    CHECK(!efio_ring_peek(r, first + 4, &v) && !efio_ring_peek(r, first - 1, &v), "tickets of other rounds");
    CHECK(efio_ring_size(r) == 4, "peek takes nothing");
    efio_ring_pop(r, &v);
    CHECK(!efio_ring_peek(r, first, &v), "popped");
    efio_ring_push(r, 14);
    CHECK(!efio_ring_peek(r, first, &v), "reused");
    CHECK(efio_ring_peek(r, first + 4, &v) && v == 14, "the new one");
    free(r);
}

/* Claims a cell as a producer does that is killed before it publishes. */
static void claim_and_die(efio_ring *r)
{
    atomic_fetch_add(&r->tail, 1);
}

static void test_salvage(uint32_t first)
{
    efio_ring *r = lockfree_ring_make(8, first);
    uint64_t v = 0;
    for (int lap = 0; lap < 5; lap++) {
        CHECK(!efio_ring_salvage(r, &v), "nothing to salvage");
        claim_and_die(r);
        efio_ring_push(r, 1);
        efio_ring_push(r, 2);
        claim_and_die(r);
        claim_and_die(r);
        efio_ring_push(r, 3);
        claim_and_die(r);
        CHECK(!efio_ring_pop(r, &v) && !efio_ring_ready(r), "the first cell stops consumers");
        for (uint64_t want = 1; want <= 3; want++)
            CHECK(efio_ring_salvage(r, &v) && v == want, "%llu instead of %llu", (unsigned long long)v,
                  (unsigned long long)want);
        CHECK(!efio_ring_salvage(r, &v) && efio_ring_size(r) == 0, "all salvaged");
        for (uint64_t i = 0; i < 8; i++) CHECK(efio_ring_push(r, i), "whole again: push %d", (int)i);
        CHECK(!efio_ring_push(r, 8), "no larger than before");
        for (uint64_t i = 0; i < 8; i++) CHECK(efio_ring_pop(r, &v) && v == i, "whole again: pop %d", (int)i);
    }
    free(r);
}

static void test_mend(uint32_t first)
{
    efio_ring *r = lockfree_ring_make(4, first);
    uint64_t v = 0;
    for (int lap = 0; lap < 5; lap++) {
        CHECK(!efio_ring_mend_consumer(r, &v), "nothing to mend");
        efio_ring_mend_producer(r, 77);
        CHECK(efio_ring_size(r) == 0, "nothing to mend");
        claim_and_die(r);
        efio_ring_push(r, 1);
        claim_and_die(r);
        efio_ring_mend_producer(r, 77);
        static const uint64_t want[] = {77, 1, 77};
        for (int i = 0; i < 3; i++) CHECK(efio_ring_pop(r, &v) && v == want[i], "%d: %llu", i, (unsigned long long)v);
        CHECK(!efio_ring_pop(r, &v), "no more");
        for (uint64_t i = 0; i < 3; i++) efio_ring_push(r, i);
        atomic_fetch_add(&r->head, 1); /* a consumer that is killed before it hands the cell back */
        CHECK(efio_ring_push(r, 3) && !efio_ring_push(r, 4), "that cell cannot be used");
        CHECK(efio_ring_mend_consumer(r, &v) && v == 0, "its value");
        CHECK(!efio_ring_mend_consumer(r, &v), "once");
        CHECK(efio_ring_push(r, 4) && !efio_ring_push(r, 5), "whole again");
        for (uint64_t i = 1; i <= 4; i++) CHECK(efio_ring_pop(r, &v) && v == i, "rest: %d", (int)i);
    }
    free(r);
}

/* --- many threads. A value is producer << 32 | number. */

typedef struct {
    const ring_kind *kind;
    void *ring;
    int producers, consumers;
    uint32_t each; /* values that each producer has */
    bool insist;   /* producers push again when the ring is full, otherwise they drop the value */
    _Atomic int producing;
    uint8_t *accepted[CREW_MAX]; /* by producer: 1 when the push was accepted */
    uint32_t *sent[CREW_MAX];    /* by producer, not atomic: who pops a value sees what was written before its push */
    uint64_t *got[CREW_MAX];     /* by consumer */
    uint32_t n_got[CREW_MAX];
} stress;

static void produce(stress *s, int who)
{
    for (uint32_t i = 0; i < s->each; i++) {
        uint64_t v = (uint64_t)who << 32 | i;
        s->sent[who][i] = ~i;
        bool ok = s->kind->push(s->ring, v);
        while (!ok && s->insist) {
            sched_yield();
            ok = s->kind->push(s->ring, v);
        }
        s->accepted[who][i] = ok;
    }
    atomic_fetch_sub(&s->producing, 1);
}

static void consume(stress *s, int who)
{
    for (;;) {
        bool last = atomic_load(&s->producing) == 0; /* asked before the pop: empty is then for good */
        uint64_t v;
        if (s->kind->pop(s->ring, &v)) {
            s->got[who][s->n_got[who]++] = v;
            uint32_t i = (uint32_t)v, sent = s->sent[v >> 32][i];
            CHECK(sent == ~i, "%s: %u was written before the push of %u", s->kind->name, sent, i);
        } else if (last) {
            return;
        } else {
            sched_yield();
        }
    }
}

static void stress_work(int who, void *p)
{
    stress *s = p;
    if (who < s->producers)
        produce(s, who);
    else
        consume(s, who - s->producers);
}

static void test_stress(const ring_kind *k, int producers, int consumers, uint32_t capacity, bool insist)
{
    stress s = {.kind = k, .producers = producers, .consumers = consumers, .each = ROUNDS(20000), .insist = insist};
    s.ring = k->make(capacity, UINT32_MAX - 1000);
    s.producing = producers;
    uint8_t *seen[CREW_MAX];
    for (int p = 0; p < producers; p++) {
        s.accepted[p] = calloc(s.each, 1);
        s.sent[p] = calloc(s.each, sizeof *s.sent[p]);
        seen[p] = calloc(s.each, 1);
    }
    for (int c = 0; c < consumers; c++) s.got[c] = malloc((size_t)producers * s.each * sizeof(uint64_t));
    crew_run(producers + consumers, stress_work, &s);
    for (int c = 0; c < consumers; c++) {
        int64_t before[CREW_MAX];
        for (int p = 0; p < producers; p++) before[p] = -1;
        for (uint32_t n = 0; n < s.n_got[c]; n++) {
            uint32_t p = (uint32_t)(s.got[c][n] >> 32), i = (uint32_t)s.got[c][n];
            REQUIRE(p < (uint32_t)producers && i < s.each, "%s: a value that nobody pushed", k->name);
            CHECK(i > before[p], "%s: out of order: producer %u, %u after %lld", k->name, p, i, (long long)before[p]);
            CHECK(!seen[p][i], "%s: twice: producer %u, %u", k->name, p, i);
            before[p] = i;
            seen[p][i] = 1;
        }
        free(s.got[c]);
    }
    for (int p = 0; p < producers; p++) {
        for (uint32_t i = 0; i < s.each; i++)
            CHECK(seen[p][i] == s.accepted[p][i], "%s: producer %d, %u: accepted %d, received %d", k->name, p, i,
                  s.accepted[p][i], seen[p][i]);
        free(s.accepted[p]);
        free(s.sent[p]);
        free(seen[p]);
    }
    CHECK(k->size(s.ring) == 0, "%s: empty at last", k->name);
    free(s.ring);
}

/* A producer, a consumer, and two who only look: what they see at a ticket is the value of that ticket. */
typedef struct {
    efio_ring *ring;
    uint32_t each;
    _Atomic int done;
    uint64_t peeked[2];
} looks;

static uint64_t value_of(uint32_t ticket)
{
    uint64_t state = ticket;
    return random_next(&state);
}

static void looks_work(int who, void *p)
{
    looks *l = p;
    uint64_t v;
    if (who == 0) {
        for (uint32_t i = 0; i < l->each; i++)
            while (!efio_ring_push(l->ring, value_of(i))) sched_yield();
    } else if (who == 1) {
        for (uint32_t i = 0; i < l->each; i++) {
            while (!efio_ring_pop(l->ring, &v)) sched_yield();
            CHECK(v == value_of(i), "ticket %u", i);
        }
        atomic_store(&l->done, 1);
    } else {
        while (!atomic_load(&l->done)) {
            uint32_t head = atomic_load(&l->ring->head);
            for (uint32_t pos = head - 2; pos != head + 4; pos++) {
                if (!efio_ring_peek(l->ring, pos, &v)) continue;
                l->peeked[who - 2]++;
                CHECK(v == value_of(pos), "peek at %u saw another ticket's value", pos);
            }
            sched_yield();
        }
    }
}

static void test_looks(void)
{
    looks l = {.ring = lockfree_ring_make(2, 0), .each = ROUNDS(100000)};
    crew_run(4, looks_work, &l);
    free(l.ring);
}

int main(void)
{
    test_init();
    for (size_t f = 0; f < FIRSTS; f++) {
        for (int k = 0; k < 2; k++) {
            test_capacity(&ring_kinds[k], 2, first_tickets[f]);
            test_capacity(&ring_kinds[k], 16, first_tickets[f]);
        }
        for (uint64_t seed = 0; seed < 6; seed++) test_against_twin(2u << seed, first_tickets[f], seed);
        test_peek(first_tickets[f]);
        test_salvage(first_tickets[f]);
        test_mend(first_tickets[f]);
    }
    for (int k = 0; k < 2; k++) {
        test_stress(&ring_kinds[k], 1, 1, 2, true);
        test_stress(&ring_kinds[k], 3, 3, 2, true);
        test_stress(&ring_kinds[k], 3, 1, 64, true);
        test_stress(&ring_kinds[k], 1, 3, 64, true);
        test_stress(&ring_kinds[k], 2, 2, 8, false);
    }
    test_looks();
    return failures > 0;
}
