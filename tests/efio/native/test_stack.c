/* The stack: last in, first out; exactly once; one thread and many; lock-free and twin. */
#include "crew.h"
#include "twin.h"

static void test_init(void)
{
    efio_stack *s = allocate(efio_stack_bytes(4));
    uint32_t i;
    CHECK(efio_stack_init(s, 4) && s->capacity == 4, "4");
    CHECK(efio_stack_is_empty(s) && !efio_stack_pop(s, &i), "empty at first");
    CHECK(!efio_stack_init(s, 0) && !efio_stack_init(s, UINT32_MAX), "capacities that cannot be");
    CHECK(efio_stack_bytes(1) % EFIO_LINE == 0 && efio_stack_bytes(1000) >= 4000, "bytes");
    efio_stack_init(s, 4);
    efio_stack_push(s, 0);
    CHECK(!efio_stack_is_empty(s), "index 0 counts");
    free(s);
}

static void test_tag_wraps(void)
{
    efio_stack *s = lockfree_stack_make(4);
    uint32_t i;
    atomic_store(&s->head, (uint64_t)UINT32_MAX << 32 | EFIO_STACK_END);
    for (uint32_t k = 0; k < 4; k++) efio_stack_push(s, k);
    for (uint32_t k = 4; k-- > 0;) CHECK(efio_stack_pop(s, &i) && i == k, "%u instead of %u", i, k);
    CHECK(!efio_stack_pop(s, &i), "empty");
    free(s);
}

/* Any sequence of operations by one thread: the lock-free stack answers as its twin does. */
static void test_against_twin(uint64_t seed)
{
    enum { N = 16 };
    void *stack[2];
    uint32_t out[N], n_out = N; /* indices that are not on the stack */
    for (int i = 0; i < 2; i++) stack[i] = stack_kinds[i].make(N);
    for (uint32_t i = 0; i < N; i++) out[i] = i;
    for (int n = 0; n < 3000; n++) {
        if (n_out && random_below(&seed, 2)) {
            uint32_t at = (uint32_t)random_below(&seed, n_out), index = out[at];
            out[at] = out[--n_out];
            for (int i = 0; i < 2; i++) stack_kinds[i].push(stack[i], index);
        } else {
            uint32_t got[2] = {N, N};
            bool ok[2];
            for (int i = 0; i < 2; i++) ok[i] = stack_kinds[i].pop(stack[i], &got[i]);
            CHECK(ok[0] == ok[1] && got[0] == got[1], "operation %d: %u %u", n, got[0], got[1]);
            CHECK(ok[0] == (n_out < N), "empty only when all are out");
            if (ok[0]) out[n_out++] = got[0];
        }
    }
    for (int i = 0; i < 2; i++) free(stack[i]);
}

/* Threads take indices and put them back. Whoever has an index has it alone. */
enum { INDICES = 5 };
typedef struct {
    const stack_kind *kind;
    void *stack;
    _Atomic int holder[INDICES];
    uint32_t written[INDICES]; /* not atomic: a pop sees what the holder before it wrote */
    uint32_t turns;
    _Atomic uint32_t pops;
} stress;

static void stress_work(int who, void *p)
{
    stress *s = p;
    uint64_t seed = (uint64_t)who;
    for (uint32_t turn = 0; turn < s->turns;) {
        uint32_t mine[INDICES], n = 0, want = 1 + (uint32_t)random_below(&seed, 3);
        while (n < want && s->kind->pop(s->stack, &mine[n])) {
            REQUIRE(mine[n] < INDICES, "%s: index %u", s->kind->name, mine[n]);
            /* relaxed: only the stack itself may make `written` safe */
            int was = atomic_exchange_explicit(&s->holder[mine[n]], who + 1, memory_order_relaxed);
            CHECK(was == 0, "%s: index %u is held by %d", s->kind->name, mine[n], was);
            s->written[mine[n]]++;
            n++;
        }
        if (!n) sched_yield();
        turn += n;
        atomic_fetch_add_explicit(&s->pops, n, memory_order_relaxed);
        while (n) {
            uint32_t at = (uint32_t)random_below(&seed, n), index = mine[at];
            mine[at] = mine[--n];
            atomic_store_explicit(&s->holder[index], 0, memory_order_relaxed);
            s->kind->push(s->stack, index);
        }
    }
}

static void test_stress(const stack_kind *k, int threads)
{
    stress s = {.kind = k, .stack = k->make(INDICES), .turns = ROUNDS(100000)};
    for (uint32_t i = 0; i < INDICES; i++) k->push(s.stack, i);
    crew_run(threads, stress_work, &s);
    uint32_t left = 0, index, written = 0;
    while (left <= INDICES && k->pop(s.stack, &index)) {
        left++;
        written += s.written[index];
    }
    CHECK(left == INDICES, "%s: %u indices left of %u", k->name, left, INDICES);
    CHECK(written == s.pops, "%s: %u writes by %u holders", k->name, written, s.pops);
    free(s.stack);
}

int main(void)
{
    test_init();
    test_tag_wraps();
    for (uint64_t seed = 0; seed < 10; seed++) test_against_twin(seed);
    for (int k = 0; k < 2; k++) {
        test_stress(&stack_kinds[k], 2);
        test_stress(&stack_kinds[k], 4);
    }
    return failures > 0;
}
