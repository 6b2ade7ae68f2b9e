/* The native queues of one consumer: SPSC and MPSC, beside twins with a mutex; order, exactly once, linearizability. */
#include "crew.h"
#include "efio/native/mpsc.h"
#include "efio/native/spsc.h"
#include "history.h"
#include "twin.h"

typedef struct {
    efio_mpsc_node node;
    uint64_t value;
} item;

/* All as queues of values: (capacity 0: no limit) */
typedef struct {
    const char *name;
    int producers;
    uint32_t capacity;
    void *(*make)(uint32_t capacity);
    bool (*push)(void *queue, item *i);
    bool (*pop)(void *queue, uint64_t *value);
} kind;

static void *spsc_make(uint32_t capacity)
{
    efio_spsc *q = allocate(efio_spsc_bytes(capacity));
    REQUIRE(efio_spsc_init(q, capacity), "%u", capacity);
    return q;
}
static bool spsc_push(void *q, item *i)
{
    return efio_spsc_push(q, i->value);
}
static bool spsc_pop(void *q, uint64_t *value)
{
    return efio_spsc_pop(q, value);
}
static void *mpsc_make(uint32_t capacity)
{
    efio_mpsc *q = allocate(sizeof *q);
    efio_mpsc_init(q);
    return q;
}
static bool mpsc_push(void *q, item *i)
{
    efio_mpsc_push(q, &i->node);
    return true;
}
static bool mpsc_pop(void *q, uint64_t *value)
{
    efio_mpsc_node *n = efio_mpsc_pop(q);
    if (n) *value = ((item *)n)->value;
    return n != NULL;
}
static void *twin_make(uint32_t capacity)
{
    return twin_ring_make(capacity ? capacity : 1 << 20, 0);
}
static bool twin_push(void *q, item *i)
{
    return twin_ring_push(q, i->value);
}

static const kind kinds[] = {
    {"spsc", 1, 4, spsc_make, spsc_push, spsc_pop},
    {"spsc twin", 1, 4, twin_make, twin_push, twin_ring_pop},
    {"mpsc", 3, 0, mpsc_make, mpsc_push, mpsc_pop},
    {"mpsc twin", 3, 0, twin_make, twin_push, twin_ring_pop},
};

/* --- one thread: as the twin does */

static void test_against_twin(const kind *k, uint64_t seed)
{
    enum { N = 3000 };
    static item items[N];
    void *queue = k->make(k->capacity), *twin = twin_make(k->capacity);
    for (int n = 0; n < N; n++) {
        if (random_below(&seed, 2)) {
            items[n].value = (uint64_t)n;
            CHECK(k->push(queue, &items[n]) == twin_push(twin, &items[n]), "%s: push %d", k->name, n);
        } else {
            uint64_t a = 0, b = 0;
            CHECK(k->pop(queue, &a) == twin_ring_pop(twin, &b) && a == b, "%s: pop %d", k->name, n);
        }
    }
    free(queue);
    free(twin);
}

/* --- several threads: exactly once, in the order of each producer; an item may be freed as soon as it was popped */

typedef struct {
    const kind *kind;
    void *queue;
    uint64_t each;
    item *items;
} stress;

static void stress_work(int who, void *context)
{
    stress *s = context;
    if (who > 0) {
        item *mine = &s->items[(uint64_t)(who - 1) * s->each];
        for (uint64_t n = 0; n < s->each; n++) {
            mine[n].value = (uint64_t)who << 32 | n;
            while (!s->kind->push(s->queue, &mine[n])) sched_yield();
        }
        return;
    }
    uint64_t expected[CREW_MAX] = {0}, value;
    for (uint64_t n = 0; n < s->each * (uint64_t)s->kind->producers;) {
        if (!s->kind->pop(s->queue, &value)) {
            sched_yield();
            continue;
        }
        n++;
        uint64_t *next = &expected[value >> 32];
        CHECK((uint32_t)value == *next, "%s: %u instead of %u", s->kind->name, (uint32_t)value, (uint32_t)*next);
        ++*next;
    }
    CHECK(!s->kind->pop(s->queue, &value), "%s: more than was pushed", s->kind->name);
}

static void test_stress(const kind *k)
{
    stress s = {.kind = k, .queue = k->make(k->capacity), .each = ROUNDS(200000)};
    s.items = calloc(s.each * (uint64_t)k->producers, sizeof(item));
    REQUIRE(s.items, "out of memory");
    crew_run(k->producers + 1, stress_work, &s);
    free(s.items);
    free(s.queue);
}

/* --- short histories, searched for an order that explains them */

typedef struct {
    const kind *kind;
    void *queue;
    int rounds;
    _Atomic int there, n;
    _Atomic uint64_t clock;
    history history;
    item items[HISTORY_MAX];
} experiment;

static void record(experiment *x, bool push, int value)
{
    operation o = {.push = push, .value = (uint64_t)value};
    o.from = atomic_fetch_add(&x->clock, 1);
    if (push) {
        x->items[value].value = (uint64_t)value;
        o.ok = x->kind->push(x->queue, &x->items[value]);
    } else {
        o.ok = x->kind->pop(x->queue, &o.value);
    }
    o.to = atomic_fetch_add(&x->clock, 1);
    int n = atomic_fetch_add(&x->n, 1);
    REQUIRE(n < HISTORY_MAX, "too long a history");
    x->history.op[n] = o;
}

static void experiment_work(int who, void *context)
{
    experiment *x = context;
    int threads = x->kind->producers + 1;
    for (int round = 0, turn = 1; round < x->rounds; round++) {
        crew_meet(&x->there, threads, turn++);
        for (int i = 0; i < (threads > 2 ? 2 : 4); i++) record(x, who > 0, who * 4 + i);
        crew_meet(&x->there, threads, turn++);
        if (who) continue;
        history *h = &x->history;
        do record(x, false, 0);
        while (h->op[x->n - 1].ok);
        h->n = x->n;
        h->kind = QUEUE;
        h->capacity = (int)x->kind->capacity;
        if (x->kind->producers > 1 && !x->kind->capacity) history_excuse_ring(h); /* the gap of a push under way */
        bool good = history_is_linearizable(h);
        if (!good && !failures) history_print(h);
        CHECK(good, "%s: not linearizable", x->kind->name);
        atomic_store(&x->n, 0);
        atomic_store(&x->clock, 1);
    }
}

static void test_linearizable(const kind *k)
{
    experiment *x = calloc(1, sizeof *x);
    REQUIRE(x, "out of memory");
    x->kind = k;
    x->queue = k->make(k->capacity);
    x->rounds = ROUNDS(10000);
    atomic_store(&x->clock, 1);
    crew_run(k->producers + 1, experiment_work, x);
    free(x->queue);
    free(x);
}

int main(void)
{
    efio_spsc *q = allocate(efio_spsc_bytes(4));
    CHECK(!efio_spsc_init(q, 3) && !efio_spsc_init(q, 0) && efio_spsc_init(q, 1), "capacities");
    free(q);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint64_t seed = 0; seed < 10; seed++) test_against_twin(&kinds[k], seed);
        test_stress(&kinds[k]);
        test_linearizable(&kinds[k]);
    }
    return failures > 0;
}
