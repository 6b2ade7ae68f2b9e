/* Threads that start together. */
#ifndef TESTS_EFIO_CREW_H
#define TESTS_EFIO_CREW_H

#include <pthread.h>
#include <sched.h>

#include "tests/native/check.h"

#define CREW_MAX 8

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER 'a'
#elif defined(__SANITIZE_THREAD__)
#define SANITIZER 't'
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER 'a'
#elif __has_feature(thread_sanitizer)
#define SANITIZER 't'
#endif
#endif
#ifndef SANITIZER
#define SANITIZER 0
#endif

/* Sanitizers make everything several times slower: the same tests with fewer rounds. */
#define ROUNDS(n) (SANITIZER ? (n) / 5 : (n))

typedef struct crew crew;
typedef struct {
    crew *all;
    int who;
} crew_member;

struct crew {
    void (*work)(int who, void *context);
    void *context;
    int n;
    _Atomic int there; /* barrier: how many have arrived, ever */
    crew_member member[CREW_MAX];
};

/* Waits until all n members of the crew have come here for the turn-th time (from 1). Gives way to the others rather
 * than spinning: there may be fewer processors than threads. */
static inline void crew_meet(_Atomic int *there, int n, int turn)
{
    atomic_fetch_add(there, 1);
    while (atomic_load(there) < n * turn) sched_yield();
}

static inline void *crew_thread(void *p)
{
    crew_member *m = p;
    crew_meet(&m->all->there, m->all->n, 1);
    m->all->work(m->who, m->all->context);
    return NULL;
}

/* Runs work(0 .. n-1, context) in n threads and waits for all of them. */
static inline void crew_run(int n, void (*work)(int who, void *context), void *context)
{
    REQUIRE(n <= CREW_MAX, "%d", n);
    pthread_t thread[CREW_MAX];
    crew all = {.work = work, .context = context, .n = n};
    for (int i = 0; i < n; i++) {
        all.member[i] = (crew_member){&all, i};
        REQUIRE(pthread_create(&thread[i], NULL, crew_thread, &all.member[i]) == 0, "no thread");
    }
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
}

#endif
