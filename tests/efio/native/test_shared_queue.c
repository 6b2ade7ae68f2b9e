/* The queue between processes: order, sizes, ends, sleepers; and processes killed after each instruction of a put and
 * of a get, and at random moments under load: nothing doubled, order kept, nobody stalls, only what the dead held is
 * lost. */
#define _GNU_SOURCE
#include "efio/native/shared_queue.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include "crew.h"
#include "step.h"

enum { LANE = 4096 };

static efio_shq *queue;
static struct {
    uint64_t got[8];
    _Atomic uint64_t n;
} *v;

static void fresh(void)
{
    memset(queue, 0, efio_shq_bytes(LANE));
    efio_shq_init(queue, LANE);
    efio_peers_publish(&queue->peers, EFIO_SHQ_KIND);
    memset(v, 0, sizeof *v);
}

static void enter(efio_shq_handle *h)
{
    int r = efio_shq_enter(h, queue, efio_shq_bytes(LANE));
    REQUIRE(r == 0, "enter: %s", strerror(-r));
}

/* Takes one message: its length, or the error of efio_shq_claim with 0 for "none" turned into -EAGAIN. */
static int get(efio_shq_handle *h, uint8_t *to)
{
    efio_shq_item item;
    int r = efio_shq_claim(h, &item);
    if (r <= 0) return r ? r : -EAGAIN;
    efio_shq_copy(&item, to);
    efio_shq_take(h, &item);
    efio_shq_release(h, item.lane);
    return (int)item.len;
}

static void test_sizes_and_wrapping(void)
{
    efio_shq_handle h;
    static uint8_t out[LANE], in[LANE];
    fresh();
    enter(&h);
    uint32_t max = efio_shq_max_message(LANE);
    CHECK(efio_shq_put(&h, out, max + 1, 0) == -EMSGSIZE, "too long");
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        uint32_t len = (uint32_t)(round < 50 ? (round * 41) % (max + 1) : random_below(&seed, max + 1));
        for (uint32_t i = 0; i < len; i++) out[i] = (uint8_t)(round + i);
        CHECK(efio_shq_put(&h, out, len, (uint32_t)round) == 0, "room for %u", len);
        efio_shq_item item;
        CHECK(efio_shq_claim(&h, &item) == 1 && item.len == len && item.tag == (uint32_t)round, "%u bytes", item.len);
        efio_shq_copy(&item, in);
        efio_shq_take(&h, &item);
        efio_shq_release(&h, item.lane);
        CHECK(memcmp(in, out, len) == 0, "contents of %u bytes", len);
    }
    int n = 0;
    while (efio_shq_put(&h, out, 8, 0) == 0) n++;
    CHECK(n == LANE / 16, "%d messages of 8 bytes fit", n);
    CHECK(efio_shq_size(queue) == (uint64_t)n, "%d are there", n);
    while (get(&h, in) == 8) n--;
    CHECK(n == 0 && get(&h, in) == -EAGAIN, "all of them came out");
    efio_shq_leave(&h);
}

static void test_lanes_take_turns(void)
{
    efio_shq_handle h[3];
    uint8_t in[LANE];
    fresh();
    for (uint8_t i = 0; i < 3; i++) {
        enter(&h[i]);
        for (uint8_t k = 0; k < 5; k++) CHECK(efio_shq_put(&h[i], (uint8_t[]){i, k}, 2, 0) == 0, "put");
    }
    for (int n = 0; n < 15; n++)
        CHECK(get(&h[0], in) == 2 && in[0] == n % 3 && in[1] == n / 3, "message %d is %d of lane %d", n, in[1], in[0]);
    for (int i = 0; i < 3; i++) efio_shq_leave(&h[i]);
}

static void test_places(void)
{
    static efio_shq_handle h[EFIO_PEERS + 1];
    fresh();
    for (int i = 0; i < EFIO_PEERS; i++) enter(&h[i]);
    CHECK(efio_shq_enter(&h[EFIO_PEERS], queue, efio_shq_bytes(LANE)) == -EUSERS, "there are no more places");
    CHECK(efio_shq_put(&h[5], "left", 4, 0) == 0, "put");
    efio_shq_leave(&h[5]);
    enter(&h[EFIO_PEERS]);
    CHECK(h[EFIO_PEERS].lane == 5, "the place of who has left");
    uint8_t in[LANE];
    CHECK(efio_shq_put(&h[EFIO_PEERS], "came", 4, 0) == 0, "put");
    CHECK(get(&h[0], in) == 4 && memcmp(in, "left", 4) == 0, "what he had put comes first");
    CHECK(get(&h[0], in) == 4 && memcmp(in, "came", 4) == 0, "then ours");
    CHECK(efio_peers_alive(&queue->peers) == EFIO_PEERS, "all live");
    fresh();
    enter(&h[0]);
    queue->peers.pid_namespace++;
    CHECK(efio_shq_enter(&h[1], queue, efio_shq_bytes(LANE)) == -EXDEV, "another pid namespace");
    queue->peers.pid_namespace--;
    CHECK(efio_shq_enter(&h[1], queue, efio_shq_bytes(LANE) - 1) == -EPROTO, "cut short");
    queue->peers.magic = 0;
    CHECK(efio_shq_enter(&h[1], queue, efio_shq_bytes(LANE)) == -EPROTO, "not finished");
}

static void test_damage_is_noticed(void)
{
    efio_shq_handle h;
    uint8_t in[LANE];
    fresh();
    enter(&h);
    CHECK(efio_shq_put(&h, "abc", 3, 0) == 0, "put");
    ((uint32_t *)(queue->data + (uint64_t)h.lane * LANE))[0] = 1u << 30;
    CHECK(get(&h, in) == -EBADMSG, "a length that cannot be");
    CHECK(queue->lane[h.lane].claim == 0, "and the claim is given up");
}

static void *wait_for_message(void *arg)
{
    return (void *)(uintptr_t)efio_shq_wait_message(arg, efio_now_ns() + 20000000000u);
}

static void *wait_for_room(void *arg)
{
    return (void *)(uintptr_t)efio_shq_wait_room(arg, 1000, efio_now_ns() + 20000000000u);
}

static void test_sleepers(void)
{
    efio_shq_handle a, b;
    uint8_t in[LANE];
    pthread_t thread;
    void *woken;
    fresh();
    enter(&a);
    enter(&b);
    CHECK(!efio_shq_wait_message(&a, efio_now_ns() + 1000000), "nothing comes");
    CHECK(queue->lane[a.lane].waiters == 0 && queue->waiting == 0, "and nobody waits any more");
    for (int how = 0; how < 3; how++) {
        pthread_create(&thread, NULL, wait_for_message, &a);
        while (!atomic_load(&queue->lane[a.lane].waiters)) sched_yield();
        if (how == 0) {
            efio_shq_put(&b, "x", 1, 0);
            efio_shq_signal(&b, 1);
        } else if (how == 1) {
            efio_shq_nudge(&a);
        } else {
            efio_shq_end(&b, 1);
        }
        pthread_join(thread, &woken);
        CHECK(woken, "woken, %d", how);
        if (how == 0) CHECK(get(&a, in) == 1, "and there it is");
    }
    CHECK(efio_shq_put(&a, "x", 1, 0) == -EPIPE, "ended");
    fresh();
    enter(&a);
    enter(&b);
    while (efio_shq_put(&a, in, 1000, 0) == 0) {}
    pthread_create(&thread, NULL, wait_for_room, &a);
    while (!atomic_load(&queue->lane[a.lane].room_want)) sched_yield();
    while (get(&b, in) > 0) {}
    pthread_join(thread, &woken);
    CHECK(woken && queue->lane[a.lane].room_want == 0, "woken when there was room");
}

/* --- killed after each instruction */

static void at_every_instruction(bool (*scene)(long k))
{
    long k = 0;
    while (scene(k)) REQUIRE(++k < 20000, "the operation does not end");
    REQUIRE(k > 20, "nothing was stepped through");
}

static efio_shq_handle *child_handle;

static void put_three(void *unused)
{
    for (uint64_t i = 1; i <= 3; i++) {
        if (efio_shq_put(child_handle, &i, sizeof i, 0) == 0) efio_shq_signal(child_handle, 1);
        atomic_store(&v->n, i);
    }
}

static bool producer_at(long k)
{
    efio_shq_handle mine, other;
    uint64_t x;
    fresh();
    enter(&mine);
    enter(child_handle);
    stepper child = step_start(put_three, NULL);
    bool under_way = step_on(&child, k);
    step_kill(&child);
    uint64_t n = 0, returned = v->n;
    while (get(&mine, (uint8_t *)&x) == sizeof x) CHECK(x == ++n, "%d after %d, killed at %ld", (int)x, (int)n, k);
    CHECK(n == returned || n == returned + 1, "%d came, %d puts returned, killed at %ld", (int)n, (int)returned, k);
    queue->peers.owner[child_handle->lane] = 0; /* it was entered in our name; a process of its own would be dead */
    enter(&other);
    CHECK(other.lane == child_handle->lane, "the same lane");
    for (x = 50; x < 60; x++) CHECK(efio_shq_put(&other, &x, sizeof x, 0) == 0, "put after a kill at %ld", k);
    for (uint64_t want = 50; want < 60; want++)
        CHECK(get(&mine, (uint8_t *)&x) == sizeof x && x == want, "%d instead of %d", (int)x, (int)want);
    return under_way;
}

static void get_two(void *unused)
{
    efio_ident me = efio_ident_self();
    child_handle->self = me;
    STEP_BREAK(); /* what comes before is not what we look at */
    for (int i = 0; i < 2; i++) {
        uint64_t x;
        if (get(child_handle, (uint8_t *)&x) == sizeof x) v->got[i] = x;
        atomic_store(&v->n, i + 1);
    }
}

static uint32_t broken_claims, lost;

static bool consumer_at(long k)
{
    efio_shq_handle mine;
    fresh();
    enter(&mine);
    enter(child_handle);
    for (uint64_t i = 1; i <= 4; i++) REQUIRE(efio_shq_put(&mine, &i, sizeof i, 0) == 0, "put");
    stepper child = step_start(get_two, NULL);
    REQUIRE(ptrace(PTRACE_CONT, child.pid, NULL, NULL) == 0, "continue: %s", strerror(errno));
    step_wait(&child, true);
    bool under_way = step_on(&child, k);
    uint64_t x, next = v->n + 1, first = 0;
    int r = get(&mine, (uint8_t *)&x);
    if (r == -EBUSY) {
        CHECK(efio_shq_mend(&mine) == 0, "it is stopped, not dead: its claim holds");
        CHECK(get(&mine, (uint8_t *)&x) == -EBUSY, "and the lane is closed meanwhile");
    } else {
        CHECK(r == sizeof x, "there is one");
        first = x;
    }
    step_kill(&child);
    broken_claims += efio_shq_mend(&mine);
    if (!first) CHECK(get(&mine, (uint8_t *)&first) == sizeof x, "nobody is in the way any more, killed at %ld", k);
    for (uint64_t i = 0; i < v->n; i++) CHECK(v->got[i] == i + 1, "it had got %d", (int)v->got[i]);
    CHECK(first == next || first == next + 1, "%d after %d, killed at %ld", (int)first, (int)v->n, k);
    lost += first == next + 1;
    for (next = first + 1; next <= 4; next++)
        CHECK(get(&mine, (uint8_t *)&x) == sizeof x && x == next, "%d is gone, killed at %ld", (int)next, k);
    CHECK(get(&mine, (uint8_t *)&x) == -EAGAIN, "no more");
    return under_way;
}

/* --- killed at random moments */

enum { PRODUCERS = 2, CONSUMERS = 2, LIVES = 1 << 14 };
static uint64_t messages = 1 << 20;      /* of each producer at most */
static _Atomic uint8_t *seen[PRODUCERS]; /* how often each message was got */
static struct {
    _Atomic uint64_t next[PRODUCERS]; /* what each producer puts next */
    /* Order holds for each life of a producer: the next one may have another lane. */
    _Atomic uint64_t last[PRODUCERS][LIVES][CONSUMERS];
    _Atomic uint32_t lives[PRODUCERS];
    _Atomic uint32_t doubled, disordered, strange;
} *w;

static void produce(int who)
{
    efio_shq_handle h;
    enter(&h);
    uint64_t life = atomic_fetch_add(&w->lives[who], 1);
    for (;;) {
        uint64_t message[2] = {(uint64_t)who << 32 | life, atomic_load(&w->next[who])};
        if (message[1] == messages) _exit(0);
        /* Counted before it is put: a number may be left out by a kill, none is put twice. */
        atomic_store(&w->next[who], message[1] + 1);
        while (efio_shq_put(&h, message, sizeof message, 0) == -EAGAIN)
            efio_shq_wait_room(&h, sizeof message, UINT64_MAX);
        efio_shq_signal(&h, 1);
    }
}

static void got(int who, const uint64_t message[2])
{
    uint64_t producer = message[0] >> 32, life = (uint32_t)message[0], i = message[1];
    if (producer >= PRODUCERS || life >= LIVES || i >= messages) {
        atomic_fetch_add(&w->strange, 1);
        return;
    }
    if (atomic_fetch_add(&seen[producer][i], 1)) atomic_fetch_add(&w->doubled, 1);
    if (i < atomic_load(&w->last[producer][life][who])) atomic_fetch_add(&w->disordered, 1);
    atomic_store(&w->last[producer][life][who], i + 1);
}

static void consume(int who)
{
    efio_shq_handle h;
    enter(&h);
    uint64_t message[2];
    for (uint32_t turn = 0;;) {
        int r = get(&h, (uint8_t *)message);
        if (r == -EBUSY) {
            efio_shq_wait_claim(&h, turn++);
            continue;
        }
        turn = 0;
        if (r == sizeof message)
            got(who, message);
        else if (r == -EAGAIN)
            efio_shq_wait_message(&h, UINT64_MAX);
        else
            atomic_fetch_add(&w->strange, 1);
    }
}

static pid_t start(void (*work)(int who), int who)
{
    pid_t parent = getpid(), pid = fork();
    REQUIRE(pid >= 0, "fork: %s", strerror(errno));
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    work(who);
    _exit(0);
}

static uint64_t total_seen(void)
{
    uint64_t n = 0;
    for (int p = 0; p < PRODUCERS; p++)
        for (uint64_t i = 0; i < atomic_load(&w->next[p]) && i < messages; i++) n += atomic_load(&seen[p][i]);
    return n;
}

static void test_killed_at_random(uint32_t kills)
{
    pid_t pid[PRODUCERS + CONSUMERS];
    uint64_t seed = 1;
    fresh();
    memset(w, 0, sizeof *w);
    for (int i = 0; i < PRODUCERS; i++) pid[i] = start(produce, i);
    for (int i = 0; i < CONSUMERS; i++) pid[PRODUCERS + i] = start(consume, i);
    uint32_t k = 0;
    for (; k < kills && k < LIVES - 1; k++) {
        struct timespec pause = {0, (long)random_below(&seed, 1000000)};
        nanosleep(&pause, NULL);
        int victim = (int)random_below(&seed, PRODUCERS + CONSUMERS);
        kill(pid[victim], SIGKILL);
        REQUIRE(waitpid(pid[victim], NULL, 0) == pid[victim], "waitpid: %s", strerror(errno));
        pid[victim] = victim < PRODUCERS ? start(produce, victim) : start(consume, victim - PRODUCERS);
        bool all_put = true;
        for (int p = 0; p < PRODUCERS; p++) all_put &= atomic_load(&w->next[p]) >= messages;
        if (all_put) break;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    uint64_t until = efio_now_ns() + 20000000000u;
    while (efio_shq_ready(&(efio_shq_handle){.q = queue}) && efio_now_ns() < until) sched_yield();
    CHECK(!efio_shq_ready(&(efio_shq_handle){.q = queue}), "the consumers stall after %u kills", k);
    for (int i = 0; i < CONSUMERS; i++) {
        kill(pid[PRODUCERS + i], SIGKILL);
        waitpid(pid[PRODUCERS + i], NULL, 0);
    }
    uint64_t put = 0, came = total_seen();
    for (int p = 0; p < PRODUCERS; p++) put += atomic_load(&w->next[p]);
    CHECK(w->doubled == 0 && w->disordered == 0 && w->strange == 0, "%u came twice, %u out of order, %u were never put",
          w->doubled, w->disordered, w->strange);
    CHECK(came > k && came + k + PRODUCERS + CONSUMERS >= put, "%lu of %lu messages came, %u kills",
          (unsigned long)came, (unsigned long)put, k);
    printf("%u kills: %lu of %lu messages came\n", k, (unsigned long)came, (unsigned long)put);
}

int main(int argc, char **argv)
{
    queue = step_shared(efio_shq_bytes(LANE));
    v = step_shared(sizeof *v);
    child_handle = step_shared(sizeof *child_handle);
    test_sizes_and_wrapping();
    test_lanes_take_turns();
    test_places();
    test_damage_is_noticed();
    test_sleepers();
    if (SANITIZER == 't') return failures > 0; /* it does not see other processes */
    if (!SANITIZER && step_possible()) {
        at_every_instruction(producer_at);
        at_every_instruction(consumer_at);
        CHECK(broken_claims > 0 && lost > 0, "%u claims broken, %u messages lost: nothing was hit", broken_claims,
              lost);
        printf("stepped: %u claims broken, %u messages gone with their consumer\n", broken_claims, lost);
    }
    /* An argument: so many kills, for the long run (scripts/stress shared). */
    uint32_t kills = argc > 1 ? (uint32_t)atoi(argv[1]) : ROUNDS(100);
    if (argc > 1) messages = 1 << 27;
    w = step_shared(sizeof *w);
    for (int p = 0; p < PRODUCERS; p++) seen[p] = step_shared(messages);
    test_killed_at_random(kills);
    return failures > 0;
}
