/* Short histories of a few threads, recorded and searched for an order that explains them. */
#include "crew.h"
#include "history.h"
#include "twin.h"

/* The judge must be able to say no. */
static void test_judge(void)
{
    history fifo = {QUEUE, 2, 4, {{1, 1, 7, 1, 2, 0}, {1, 1, 8, 3, 4, 0}, {0, 1, 7, 5, 6, 0}, {0, 1, 8, 7, 8, 0}}};
    CHECK(history_is_linearizable(&fifo), "first in, first out");
    fifo.kind = STACK;
    CHECK(!history_is_linearizable(&fifo), "not from a stack");
    fifo.kind = QUEUE;
    fifo.op[2].value = 8;
    fifo.op[3].value = 7;
    CHECK(!history_is_linearizable(&fifo), "last in, first out");
    fifo.op[2].to = 20; /* the two pops overlap: the second may have come first */
    CHECK(history_is_linearizable(&fifo), "overlapping pops");
    fifo.op[3].value = 8;
    CHECK(!history_is_linearizable(&fifo), "twice the same");

    history full = {QUEUE, 1, 3, {{1, 1, 1, 1, 2, 0}, {1, 0, 2, 3, 4, 0}, {0, 1, 1, 5, 6, 0}}};
    CHECK(history_is_linearizable(&full), "refused when full");
    full.capacity = 2;
    CHECK(!history_is_linearizable(&full), "refused without reason");
    full.op[2].from = 3;
    history_excuse_ring(&full);
    CHECK(history_is_linearizable(&full), "refused while a pop is under way");

    history lost = {QUEUE, 2, 2, {{1, 1, 1, 1, 2, 0}, {0, 0, 0, 3, 4, 0}}};
    history_excuse_ring(&lost);
    CHECK(!history_is_linearizable(&lost), "empty although a push has returned");
}

typedef struct {
    discipline discipline;
    const ring_kind *ring_kind;
    const stack_kind *stack_kind;
    void *container;
    int threads, each, rounds;
    bool excuse;
    _Atomic int there;
    _Atomic uint64_t clock;
    _Atomic int n; /* operations recorded in this round */
    history history;
    uint32_t overlapping; /* rounds in which operations overlapped */
} experiment;

/* Stack indices must not lie on the stack when they are pushed: each round pushes each index once. */
static void record(experiment *x, bool push, uint64_t value)
{
    operation o = {.push = push, .value = value};
    uint32_t index = (uint32_t)value;
    o.from = atomic_fetch_add(&x->clock, 1);
    if (x->discipline == QUEUE) {
        o.ok = push ? x->ring_kind->push(x->container, value) : x->ring_kind->pop(x->container, &o.value);
    } else if (push) {
        x->stack_kind->push(x->container, index);
        o.ok = true;
    } else {
        o.ok = x->stack_kind->pop(x->container, &index);
        o.value = index;
    }
    o.to = atomic_fetch_add(&x->clock, 1);
    x->history.op[atomic_fetch_add(&x->n, 1)] = o;
}

static void judge(experiment *x)
{
    history *h = &x->history;
    /* What is left belongs to the history: the last pop finds nothing. */
    do record(x, false, 0);
    while (h->op[x->n - 1].ok);
    h->n = x->n;
    bool overlap = false;
    for (int i = 0; i < h->n; i++)
        for (int j = 0; j < i; j++) overlap |= history_overlap(&h->op[i], &h->op[j]);
    x->overlapping += overlap;
    if (x->excuse) history_excuse_ring(h);
    bool good = history_is_linearizable(h);
    if (!good && !failures) history_print(h);
    CHECK(good, "not linearizable: %s", x->ring_kind ? x->ring_kind->name : x->stack_kind->name);
}

static void experiment_work(int who, void *p)
{
    experiment *x = p;
    uint64_t seed = (uint64_t)who;
    for (int round = 0, turn = 1; round < x->rounds; round++) {
        crew_meet(&x->there, x->threads, turn++);
        for (int i = 0; i < x->each; i++) record(x, random_below(&seed, 5) < 3, (uint64_t)(who * x->each + i));
        crew_meet(&x->there, x->threads, turn++);
        if (who != 0) continue;
        judge(x);
        atomic_store(&x->n, 0);
        atomic_store(&x->clock, 1);
    }
}

static void test_container(const ring_kind *ring, const stack_kind *stack, bool excuse, int threads, int each)
{
    experiment x = {.discipline = ring ? QUEUE : STACK,
                    .ring_kind = ring,
                    .stack_kind = stack,
                    .container = ring ? ring->make(2, UINT32_MAX - 5000) : stack->make(HISTORY_MAX),
                    .threads = threads,
                    .each = each,
                    .rounds = ROUNDS(20000),
                    .excuse = excuse};
    x.history.kind = x.discipline;
    x.history.capacity = ring ? 2 : 0;
    atomic_store(&x.clock, 1);
    crew_run(threads, experiment_work, &x);
    printf("%-16s %d threads: operations overlapped in %u of %d rounds\n", ring ? ring->name : stack->name, threads,
           x.overlapping, x.rounds);
    free(x.container);
}

int main(void)
{
    test_judge();
    for (int threads = 2; threads <= 3; threads++) {
        for (int k = 0; k < 2; k++) {
            test_container(&ring_kinds[k], NULL, k == 0, threads, threads == 2 ? 4 : 3);
            test_container(NULL, &stack_kinds[k], false, threads, threads == 2 ? 4 : 3);
        }
    }
    return failures > 0;
}
