/* Prints what the lock-free containers gain over their twins with a mutex: meson compile bench_ring && .../bench_ring
 *
 * Million operations a second (a push and its pop are two), best of three, and the ratio. Two processors are enough to
 * see contention; with more threads than processors the twins also pay for holders of the lock that were preempted. */
#include "crew.h"
#include "twin.h"

enum { OPERATIONS = 2000000 };

typedef struct {
    const ring_kind *ring;
    const stack_kind *stack;
    void *container;
    int producers, consumers;
} load;

static void ring_work(int who, void *p)
{
    load *l = p;
    if (who < l->producers) {
        for (uint64_t n = OPERATIONS / 2 / (uint64_t)l->producers; n > 0; n--)
            while (!l->ring->push(l->container, n)) sched_yield();
        return;
    }
    uint64_t v, mine = 0, each = OPERATIONS / 2 / (uint64_t)l->consumers;
    while (mine < each) {
        if (l->ring->pop(l->container, &v))
            mine++;
        else
            sched_yield();
    }
}

static void stack_work(int who, void *p)
{
    load *l = p;
    uint32_t i;
    for (uint64_t n = OPERATIONS / 2 / (uint64_t)l->producers; n > 0; n--)
        if (l->stack->pop(l->container, &i)) l->stack->push(l->container, i);
}

static double millions(load *l, void (*work)(int, void *))
{
    double best = 0;
    for (int run = 0; run < 3; run++) {
        l->container = l->ring ? l->ring->make(1024, 0) : l->stack->make(64);
        for (uint32_t i = 0; l->stack && i < 64; i++) l->stack->push(l->container, i);
        uint64_t start = efio_now_ns();
        crew_run(l->producers + l->consumers, work, l);
        double rate = OPERATIONS / (double)(efio_now_ns() - start) * 1000;
        if (rate > best) best = rate;
        free(l->container);
    }
    return best;
}

int main(void)
{
    static const int crews[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}};
    printf("%-28s %10s %10s %6s\n", "million operations/s", "lock-free", "mutex", "ratio");
    for (size_t i = 0; i < sizeof crews / sizeof *crews; i++) {
        double rate[2];
        for (int k = 0; k < 2; k++) {
            load l = {.ring = &ring_kinds[k], .producers = crews[i][0], .consumers = crews[i][1]};
            rate[k] = millions(&l, ring_work);
        }
        printf("ring, %d producers %d consumers %10.1f %10.1f %6.1f\n", crews[i][0], crews[i][1], rate[0], rate[1],
               rate[0] / rate[1]);
    }
    for (int threads = 1; threads <= 4; threads *= 2) {
        double rate[2];
        for (int k = 0; k < 2; k++) {
            load l = {.stack = &stack_kinds[k], .producers = threads};
            rate[k] = millions(&l, stack_work);
        }
        printf("stack, %d threads %21.1f %10.1f %6.1f\n", threads, rate[0], rate[1], rate[0] / rate[1]);
    }
    return 0;
}
