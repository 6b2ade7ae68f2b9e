/* One operation is stopped after each of its instructions in turn; others run from beginning to end; then it goes on.
 *
 * Complements the stress tests: those try what the scheduler happens to do, this tries every place of one preemption
 * (with the memory order of one processor). It finds stale looks, ABA, torn peeks and lost wake-ups. */
#define _GNU_SOURCE
#include "step.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "crew.h"
#include "efio/native/slabs.h"
#include "efio/native/wake.h"
#include "history.h"
#include "twin.h"

/* What lies in memory shared with the stepped process. */
static struct {
    bool push, ok, found;
    uint64_t value;
    uint32_t generation, owner;
    efio_waker waker;
    efio_cookie cookie;
} *v;                     /* the operation under the microscope and its outcome */
static efio_ring *ring;   /* of 2 cells */
static efio_stack *stack; /* of 16 indices */

/* Runs scene(k, context) for k = 0, 1, ... until the operation ended before its k-th instruction. */
static void at_every_instruction(bool (*scene)(long k, const void *context), const void *context)
{
    long k = 0;
    while (scene(k, context)) REQUIRE(++k < 10000, "the operation does not end");
    REQUIRE(k > 3, "nothing was stepped through");
}

/* --- ring and stack: push or pop against sequences of others, judged by linearizability */

static history story;
static uint64_t now;

static operation *tell(bool push, bool ok, uint64_t value)
{
    REQUIRE(story.n < HISTORY_MAX, "too long a story");
    operation *o = &story.op[story.n++];
    now += 2;
    *o = (operation){.push = push, .ok = ok, .value = value, .from = now, .to = now + 1};
    return o;
}

static void ring_do(bool push, uint64_t value)
{
    bool ok = push ? efio_ring_push(ring, value) : efio_ring_pop(ring, &value);
    tell(push, ok, value);
}

static bool stack_do(bool push, uint32_t *index)
{
    bool ok = true;
    if (push)
        efio_stack_push(stack, *index);
    else
        ok = efio_stack_pop(stack, index);
    tell(push, ok, *index);
    return ok;
}

static void ring_victim(void *unused)
{
    v->ok = v->push ? efio_ring_push(ring, v->value) : efio_ring_pop(ring, &v->value);
}

static void stack_victim(void *unused)
{
    uint32_t index = (uint32_t)v->value;
    v->ok = true;
    if (v->push)
        efio_stack_push(stack, index);
    else
        v->ok = efio_stack_pop(stack, &index);
    v->value = index;
}

typedef struct {
    discipline kind;
    bool push;
    int filled;
    const char *others; /* i: push a new one, o: pop, f / s: push the first / second popped one again */
} scene;

static void others_act(const scene *s)
{
    uint32_t popped[8], n = 0, fresh = 8;
    for (const char *c = s->others; *c; c++) {
        if (s->kind == QUEUE) {
            ring_do(*c == 'i', fresh++);
        } else if (*c == 'o') {
            if (stack_do(false, &popped[n])) n++;
        } else if (*c == 'i') {
            stack_do(true, &fresh);
            fresh++;
        } else if ((uint32_t)(*c == 's') < n) {
            stack_do(true, &popped[*c == 's']);
        }
    }
}

static bool play(long k, const void *context)
{
    const scene *s = context;
    memset(&story, 0, sizeof story);
    story.kind = s->kind;
    if (s->kind == QUEUE) {
        story.capacity = 2;
        efio_ring_init(ring, 2);
        ring_begin_at(ring, UINT32_MAX);
        for (uint32_t i = 0; i < (uint32_t)s->filled; i++) ring_do(true, i);
    } else {
        efio_stack_init(stack, 16);
        for (uint32_t i = 0; i < (uint32_t)s->filled; i++) stack_do(true, &i);
    }
    v->push = s->push;
    v->value = 7;
    operation *o = tell(s->push, false, 0);
    stepper child = step_start(s->kind == QUEUE ? ring_victim : stack_victim, NULL);
    bool under_way = step_on(&child, k);
    if (under_way) o->to = UINT64_MAX;
    others_act(s);
    step_finish(&child);
    if (under_way) o->to = now += 2;
    o->ok = v->ok;
    o->value = v->value;
    /* What is left belongs to the story. */
    uint32_t index = 0;
    if (s->kind == QUEUE) {
        do ring_do(false, 0);
        while (story.op[story.n - 1].ok);
        history_excuse_ring(&story);
    } else {
        while (stack_do(false, &index)) continue;
    }
    bool good = history_is_linearizable(&story);
    if (!good && !failures) history_print(&story);
    CHECK(good, "%s of the %s with %d in it, stopped after %ld instructions for '%s'", s->push ? "push" : "pop",
          s->kind == QUEUE ? "ring" : "stack", s->filled, k, s->others);
    return under_way;
}

static void test_containers(void)
{
    static const char *const ring_others[] = {"i", "o", "ii", "io", "oi", "oo", "oio", "ooi", "ioi"};
    static const char *const stack_others[] = {"o", "i", "oi", "of", "oof", "oos", "oofs", "oosf"};
    for (int push = 0; push < 2; push++) {
        for (int filled = 0; filled <= 2; filled++)
            for (size_t i = 0; i < sizeof ring_others / sizeof *ring_others; i++)
                at_every_instruction(play, &(scene){QUEUE, push, filled, ring_others[i]});
        for (int filled = 0; filled <= 3; filled++)
            for (size_t i = 0; i < sizeof stack_others / sizeof *stack_others; i++)
                at_every_instruction(play, &(scene){STACK, push, filled, stack_others[i]});
    }
}

/* --- looks that take nothing */

static void ready_victim(void *unused)
{
    v->found = efio_ring_ready(ring);
}

/* There is something in the ring at every moment. */
static bool ready_at(long k, const void *others)
{
    uint64_t x;
    efio_ring_init(ring, 2);
    efio_ring_push(ring, 1);
    bool refill = strcmp(others, "io") == 0;
    if (!refill) efio_ring_push(ring, 2);
    stepper child = step_start(ready_victim, NULL);
    bool under_way = step_on(&child, k);
    if (refill) efio_ring_push(ring, 2);
    efio_ring_pop(ring, &x);
    step_finish(&child);
    CHECK(v->found, "said no to a ring that was never empty, stopped after %ld instructions for '%s'", k,
          (const char *)others);
    return under_way;
}

static void peek_victim(void *unused)
{
    v->ok = efio_ring_peek(ring, 0, &v->value);
}

static bool peek_at(long k, const void *others)
{
    uint64_t x;
    efio_ring_init(ring, 2);
    efio_ring_push(ring, 1);
    stepper child = step_start(peek_victim, NULL);
    bool under_way = step_on(&child, k);
    uint64_t fresh = 2;
    for (const char *c = others; *c; c++) {
        if (*c == 'i')
            efio_ring_push(ring, fresh++);
        else
            efio_ring_pop(ring, &x);
    }
    step_finish(&child);
    CHECK(!v->ok || v->value == 1, "saw %d, stopped after %ld instructions for '%s'", (int)v->value, k,
          (const char *)others);
    CHECK(under_way || v->ok, "nobody disturbed it");
    return under_way;
}

static void test_looks(void)
{
    at_every_instruction(ready_at, "o");
    at_every_instruction(ready_at, "io");
    at_every_instruction(peek_at, "o");
    at_every_instruction(peek_at, "oi");
    at_every_instruction(peek_at, "oii");
    at_every_instruction(peek_at, "oioi");
}

/* --- wake-up: whoever sleeps with work in its ring has been rung for */

static bool rung(void)
{
    struct pollfd p = {.fd = v->waker.fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void wake_reset(void)
{
    uint64_t n;
    int fd = v->waker.fd;
    if (rung()) REQUIRE(read(fd, &n, sizeof n) == sizeof n, "eventfd: %s", strerror(errno));
    memset(&v->waker, 0, sizeof v->waker);
    v->waker.fd = fd;
    efio_ring_init(ring, 2);
}

static void fall_asleep(void *unused)
{
    efio_wake_prepare(&v->waker);
    v->found = efio_ring_ready(ring);
    if (v->found) efio_wake_cancel(&v->waker);
}

static void bring_work(void *unused)
{
    efio_ring_push(ring, 1);
    efio_wake_notify(&v->waker);
}

static bool sleeper_at(long k, const void *unused)
{
    wake_reset();
    stepper child = step_start(fall_asleep, NULL);
    bool under_way = step_on(&child, k);
    bring_work(NULL);
    step_finish(&child);
    CHECK(v->found || rung(), "lost: sleeper stopped after %ld instructions", k);
    return under_way;
}

static bool waker_at(long k, const void *unused)
{
    wake_reset();
    stepper child = step_start(bring_work, NULL);
    bool under_way = step_on(&child, k);
    fall_asleep(NULL);
    step_finish(&child);
    CHECK(v->found || rung(), "lost: waker stopped after %ld instructions", k);
    return under_way;
}

static void wake_up_and_sleep_again(void)
{
    uint64_t x;
    efio_wake_cancel(&v->waker);
    if (rung()) REQUIRE(read(v->waker.fd, &x, sizeof x) == sizeof x, "eventfd: %s", strerror(errno));
    while (efio_ring_pop(ring, &x)) continue;
    fall_asleep(NULL);
}

/* The sleeper wakes for another reason and sleeps again while a waker is on its way: the next waker rings. */
static bool late_waker_at(long k, const void *unused)
{
    wake_reset();
    fall_asleep(NULL);
    stepper child = step_start(bring_work, NULL);
    bool under_way = step_on(&child, k);
    wake_up_and_sleep_again();
    step_finish(&child);
    while (rung() || v->found) wake_up_and_sleep_again();
    bring_work(NULL);
    CHECK(rung(), "lost: an earlier waker was stopped after %ld instructions", k);
    return under_way;
}

/* Two wakers for one sleep: one of them says that it rang first. */
static void other_waker(void *unused)
{
    v->ok = efio_wake_notify(&v->waker);
}

static bool two_wakers_at(long k, const void *unused)
{
    wake_reset();
    fall_asleep(NULL);
    stepper child = step_start(other_waker, NULL);
    bool under_way = step_on(&child, k);
    bool first = efio_wake_notify(&v->waker);
    step_finish(&child);
    CHECK(first != v->ok && rung(), "first: %d %d, stopped after %ld instructions", first, v->ok, k);
    CHECK(!efio_wake_is_sleeping(&v->waker) && !efio_wake_notify(&v->waker), "all is done");
    return under_way;
}

static bool killed_waker_at(long k, const void *unused)
{
    wake_reset();
    fall_asleep(NULL);
    stepper child = step_start(bring_work, NULL);
    bool under_way = step_on(&child, k);
    step_kill(&child);
    efio_wake_notify(&v->waker);
    CHECK(rung(), "lost: another waker was killed after %ld instructions", k);
    return under_way;
}

static void test_wake(void)
{
    v->waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    at_every_instruction(sleeper_at, NULL);
    at_every_instruction(waker_at, NULL);
    at_every_instruction(late_waker_at, NULL);
    at_every_instruction(two_wakers_at, NULL);
    at_every_instruction(killed_waker_at, NULL);
    close(v->waker.fd);
}

/* --- slabs: an offer is claimed or recalled, once */

static void claim_victim(void *unused)
{
    v->ok = efio_slab_claim(&v->cookie, v->generation, v->owner);
}

static void recall_victim(void *unused)
{
    v->ok = efio_slab_recall(&v->cookie);
}

static bool slab_at(long k, const void *others)
{
    bool claims = *(const char *)others != 'C', won;
    atomic_store(&v->cookie, efio_cookie_make(UINT32_MAX, 0, EFIO_SLAB_OFFERED));
    v->generation = UINT32_MAX;
    v->owner = 1;
    stepper child = step_start(claims ? claim_victim : recall_victim, NULL);
    bool under_way = step_on(&child, k);
    switch (*(const char *)others) {
    case 'r': won = efio_slab_recall(&v->cookie); break;
    case 'n': /* recalled and offered again, as another generation */
        won = efio_slab_recall(&v->cookie);
        if (!won) break;
        efio_slab_free(&v->cookie);
        efio_slab_hold(&v->cookie);
        efio_slab_offer(&v->cookie);
        break;
    default: won = efio_slab_claim(&v->cookie, UINT32_MAX, 2); break;
    }
    step_finish(&child);
    CHECK(won != v->ok, "both or none had it: %d %d, stopped after %ld instructions for '%c'", won, v->ok, k,
          *(const char *)others);
    if (won && *(const char *)others == 'n')
        CHECK(atomic_load(&v->cookie) == efio_cookie_make(0, 0, EFIO_SLAB_OFFERED), "an old claim hit the new offer");
    return under_way;
}

static void test_slabs(void)
{
    at_every_instruction(slab_at, "r");
    at_every_instruction(slab_at, "n");
    at_every_instruction(slab_at, "c");
    at_every_instruction(slab_at, "C"); /* the other way round: recall is stopped, a claim intervenes */
}

int main(void)
{
    if (SANITIZER) return TEST_SKIPPED; /* its instructions are no interleavings of ours */
    if (!step_possible()) return TEST_SKIPPED;
    v = step_shared(sizeof *v);
    ring = step_shared(efio_ring_bytes(2));
    stack = step_shared(efio_stack_bytes(16));
    test_containers();
    test_looks();
    test_wake();
    test_slabs();
    return failures > 0;
}
