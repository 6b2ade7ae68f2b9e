/* Processes are killed (SIGKILL) inside operations: after each instruction in turn, and at random moments under load.
 * What they had published is neither lost nor doubled, and what they leave can be made whole again. */
#define _GNU_SOURCE
#include "step.h"

#include <sys/prctl.h>
#include <time.h>

#include "crew.h"
#include "efio/native/slabs.h"
#include "twin.h"

/* In memory shared with those who are killed. */
static struct {
    bool push;
    uint64_t value[8];
    _Atomic uint32_t done; /* operations that have returned */
    efio_cookie cookie;
} *v;
static efio_ring *ring; /* of 8 cells */
static efio_stack *stack;
static uint32_t holes, handed_back, lost_indices; /* that the interesting places were hit */

static void check_whole(long k)
{
    uint64_t x;
    for (int lap = 0; lap < 2; lap++) {
        for (uint64_t i = 0; i < 8; i++) CHECK(efio_ring_push(ring, i), "push %d after a kill at %ld", (int)i, k);
        CHECK(!efio_ring_push(ring, 9), "more room than before after a kill at %ld", k);
        for (uint64_t i = 0; i < 8; i++)
            CHECK(efio_ring_pop(ring, &x) && x == i, "pop %d after a kill at %ld", (int)i, k);
    }
}

static void at_every_instruction(bool (*scene)(long k, bool variant), bool variant)
{
    long k = 0;
    while (scene(k, variant)) REQUIRE(++k < 10000, "the operation does not end");
    REQUIRE(k > 3, "nothing was stepped through");
}

/* --- a producer dies; the consumer salvages, or a new producer mends */

static void produce_two(void *unused)
{
    for (uint64_t i = 1; i <= 2; i++) {
        efio_ring_push(ring, i);
        v->done++;
    }
}

static bool producer_at(long k, bool mend)
{
    enum { FILLER = 99 };
    uint64_t got[16], x;
    uint32_t n = 0, fillers = 0;
    efio_ring_init(ring, 8);
    ring_begin_at(ring, UINT32_MAX - 1);
    v->done = 0;
    efio_ring_push(ring, 10);
    stepper child = step_start(produce_two, NULL);
    bool under_way = step_on(&child, k);
    efio_ring_push(ring, 20); /* another producer, after the cell that may stay empty */
    step_kill(&child);
    uint32_t claimed = efio_ring_size(ring);
    if (mend) efio_ring_mend_producer(ring, FILLER);
    while (n < 16 && (mend ? efio_ring_pop(ring, &x) : efio_ring_salvage(ring, &x))) {
        if (x == FILLER)
            fillers++;
        else
            got[n++] = x;
    }
    uint32_t done = v->done, mine = 0, others = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (got[i] < 10)
            CHECK(got[i] == ++mine, "%d out of order, killed at %ld", (int)got[i], k);
        else
            CHECK(got[i] == (others++ ? 20 : 10), "%d instead of the others', killed at %ld", (int)got[i], k);
    }
    CHECK(others == 2, "%u of 2 values of others, killed at %ld", others, k);
    CHECK(mine == done || mine == done + 1, "%u values published, %u pushes returned, killed at %ld", mine, done, k);
    CHECK(n + (mend ? fillers : claimed - n) == claimed && claimed - n <= 1, "%u claimed, %u published, %u filled",
          claimed, n, fillers);
    holes += claimed - n;
    check_whole(k);
    return under_way;
}

/* --- a consumer dies; a new one mends */

static void consume_two(void *unused)
{
    for (int i = 0; i < 2; i++) {
        efio_ring_pop(ring, &v->value[i]);
        v->done++;
    }
}

static bool consumer_at(long k, bool unused)
{
    uint64_t x, mended = 0;
    efio_ring_init(ring, 8);
    ring_begin_at(ring, UINT32_MAX - 1);
    v->done = 0;
    for (uint64_t i = 1; i <= 4; i++) efio_ring_push(ring, i);
    stepper child = step_start(consume_two, NULL);
    bool under_way = step_on(&child, k);
    step_kill(&child);
    uint64_t done = v->done, next = done + 1;
    for (uint64_t i = 0; i < done; i++) CHECK(v->value[i] == i + 1, "it had consumed %d", (int)v->value[i]);
    if (efio_ring_mend_consumer(ring, &mended)) {
        handed_back++;
        CHECK(mended == next, "%d instead of %d was taken and not handed back", (int)mended, (int)next);
        next++;
    } else if (efio_ring_size(ring) == 4 - next) {
        next++; /* the next one was handed back, but its pop did not return */
    }
    for (; next <= 4; next++) CHECK(efio_ring_pop(ring, &x) && x == next, "%d is gone, killed at %ld", (int)next, k);
    CHECK(!efio_ring_pop(ring, &x), "no more");
    check_whole(k);
    return under_way;
}

/* --- a user of the stack dies */

static void use_stack(void *unused)
{
    uint32_t i;
    if (v->push)
        efio_stack_push(stack, 5);
    else
        efio_stack_pop(stack, &i);
}

static bool stack_at(long k, bool push)
{
    uint32_t i, there = 0;
    efio_stack_init(stack, 8);
    for (i = 0; i < 3; i++) efio_stack_push(stack, i);
    v->push = push;
    stepper child = step_start(use_stack, NULL);
    bool under_way = step_on(&child, k);
    step_kill(&child);
    efio_stack_push(stack, 7);
    while (efio_stack_pop(stack, &i)) {
        REQUIRE(i < 8 && !(there >> i & 1), "index %u twice, killed at %ld", i, k);
        there |= 1u << i;
    }
    uint32_t may_lack = push ? 1u << 5 : 1u << 2, all = push ? 0xa7 : 0x87;
    CHECK((there | may_lack) == all, "indices %#x are left, killed at %ld", there, k);
    lost_indices += there != all;
    return under_way;
}

/* --- a claimer dies */

static void claim(void *unused)
{
    efio_slab_claim(&v->cookie, 3, 1);
}

static bool claimer_at(long k, bool unused)
{
    atomic_store(&v->cookie, efio_cookie_make(3, 0, EFIO_SLAB_OFFERED));
    stepper child = step_start(claim, NULL);
    bool under_way = step_on(&child, k);
    step_kill(&child);
    bool recalled = efio_slab_recall(&v->cookie), reclaimed = efio_slab_reclaim(&v->cookie, 1);
    CHECK(recalled != reclaimed, "recalled %d, reclaimed %d, killed at %ld", recalled, reclaimed, k);
    efio_slab_free(&v->cookie);
    CHECK(v->cookie == efio_cookie_make(4, 0, EFIO_SLAB_FREE), "free again");
    return under_way;
}

static void test_stepped(void)
{
    if (SANITIZER || !step_possible()) return; /* the instructions of a sanitizer are no places of ours */
    at_every_instruction(producer_at, false);
    at_every_instruction(producer_at, true);
    at_every_instruction(consumer_at, false);
    at_every_instruction(stack_at, false);
    at_every_instruction(stack_at, true);
    at_every_instruction(claimer_at, false);
    CHECK(holes > 0 && handed_back > 0 && lost_indices > 0, "%u holes, %u hand-backs, %u indices: nothing was hit",
          holes, handed_back, lost_indices);
}

/* --- under load: several processes, killed at random moments */

enum { PROCESSES = 3 };
static _Atomic uint64_t *returned; /* by process: operations that have returned */

static pid_t start(void (*work)(uint64_t who), uint64_t who)
{
    pid_t parent = getpid(), pid = fork();
    REQUIRE(pid >= 0, "fork: %s", strerror(errno));
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    work(who);
    _exit(0);
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    REQUIRE(waitpid(pid, NULL, 0) == pid, "waitpid: %s", strerror(errno));
}

static void produce_on(uint64_t who)
{
    for (uint64_t i = 0;; i++) {
        while (!efio_ring_push(ring, who << 32 | i)) sched_yield();
        atomic_store(&returned[who], i + 1);
    }
}

/* Takes what is there; each producer's values must come in order, without gaps. Returns how many. */
static uint32_t receive(bool (*take)(efio_ring *, uint64_t *), uint64_t next[PROCESSES])
{
    uint64_t x;
    uint32_t n = 0;
    for (; take(ring, &x); n++) {
        uint64_t who = x >> 32;
        REQUIRE(who < PROCESSES, "a value that nobody pushed");
        CHECK((uint32_t)x == next[who], "producer %d: %u instead of %u", (int)who, (uint32_t)x, (uint32_t)next[who]);
        next[who] = (uint32_t)x + 1;
    }
    return n;
}

static void test_producers_killed(uint64_t seed)
{
    pid_t pid[PROCESSES];
    uint64_t next[PROCESSES] = {0};
    efio_ring_init(ring, 8);
    ring_begin_at(ring, UINT32_MAX - (uint32_t)seed);
    for (uint64_t i = 0; i < PROCESSES; i++) returned[i] = 0;
    for (uint64_t i = 0; i < PROCESSES; i++) pid[i] = start(produce_on, i);
    for (int victim = 0; victim < PROCESSES; victim++) {
        uint64_t until = efio_now_ns() + random_below(&seed, 400000);
        do {
            receive(efio_ring_pop, next);
            sched_yield();
        } while (efio_now_ns() < until);
        end(pid[victim]);
    }
    uint32_t claimed = efio_ring_size(ring), salvaged = receive(efio_ring_salvage, next);
    holes += claimed - salvaged;
    for (int i = 0; i < PROCESSES; i++)
        CHECK(next[i] == returned[i] || next[i] == returned[i] + 1, "producer %d: %llu received, %llu pushes returned",
              i, (unsigned long long)next[i], (unsigned long long)returned[i]);
    check_whole(0);
}

static void juggle(uint64_t who)
{
    for (;;) {
        uint32_t i;
        if (efio_stack_pop(stack, &i)) efio_stack_push(stack, i);
    }
}

static void test_jugglers_killed(uint64_t seed)
{
    pid_t pid[PROCESSES];
    efio_stack_init(stack, 8);
    for (uint32_t i = 0; i < 8; i++) efio_stack_push(stack, i);
    for (uint64_t i = 0; i < PROCESSES; i++) pid[i] = start(juggle, i);
    for (int victim = 0; victim < PROCESSES; victim++) {
        struct timespec pause = {0, (long)random_below(&seed, 300000)};
        nanosleep(&pause, NULL);
        end(pid[victim]);
    }
    uint32_t i, n = 0, there = 0;
    while (efio_stack_pop(stack, &i)) {
        REQUIRE(i < 8 && !(there >> i & 1), "index %u twice", i);
        there |= 1u << i;
        n++;
    }
    CHECK(n >= 8 - PROCESSES, "%u of 8 indices are left after %d kills", n, PROCESSES);
}

int main(void)
{
    if (SANITIZER == 't') return TEST_SKIPPED; /* it does not see other processes */
    v = step_shared(sizeof *v);
    ring = step_shared(efio_ring_bytes(8));
    stack = step_shared(efio_stack_bytes(8));
    returned = step_shared(PROCESSES * sizeof *returned);
    test_stepped();
    printf("stepped: %u cells claimed and not published, %u not handed back, %u indices gone with their process\n",
           holes, handed_back, lost_indices);
    holes = 0;
    uint64_t rounds = ROUNDS(150);
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        test_producers_killed(seed);
        test_jugglers_killed(seed);
    }
    printf("under load: %u cells claimed and not published in %llu rounds\n", holes, (unsigned long long)rounds);
    return failures > 0;
}
