/* Prints what the lock-free job queue (pool.h) gains over a twin with a mutex and a condition variable, as a line of
 * JSON: million jobs/s with two submitters and two workers, and microseconds from submit to the end of one job, with
 * one worker. Best of three. scripts/bench efio pool builds and runs it. */
#include "efio/native/pool.h"

#include <errno.h>

#include "crew.h"

enum { JOBS = 400000, TRIPS = 20000, CAPACITY = 1024, SUBMITTERS = 2 };

static void nothing(efio_job *job) {}

/* --- the twin: a bounded queue with a mutex, and two conditions */

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t some, room;
    efio_job *job[CAPACITY];
    uint32_t head, tail;
    bool closed;
} twin;

static void twin_submit(void *q, efio_job *job)
{
    twin *t = q;
    pthread_mutex_lock(&t->mutex);
    while (t->tail - t->head == CAPACITY) pthread_cond_wait(&t->room, &t->mutex);
    t->job[t->tail++ % CAPACITY] = job;
    pthread_cond_signal(&t->some);
    pthread_mutex_unlock(&t->mutex);
}

static void twin_work(void *q)
{
    twin *t = q;
    for (;;) {
        pthread_mutex_lock(&t->mutex);
        while (t->tail == t->head && !t->closed) pthread_cond_wait(&t->some, &t->mutex);
        efio_job *job = t->tail == t->head ? NULL : t->job[t->head++ % CAPACITY];
        if (job) pthread_cond_signal(&t->room);
        pthread_mutex_unlock(&t->mutex);
        if (!job) return;
        efio_parker *done = job->done;
        job->run(job);
        if (done) efio_unpark(done);
    }
}

static void twin_close(void *q)
{
    twin *t = q;
    pthread_mutex_lock(&t->mutex);
    t->closed = true;
    pthread_cond_broadcast(&t->some);
    pthread_mutex_unlock(&t->mutex);
}

static void *twin_new(void)
{
    twin *t = calloc(1, sizeof *t);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->some, NULL);
    pthread_cond_init(&t->room, NULL);
    return t;
}

/* --- the pool, with the same functions */

static void pool_submit(void *q, efio_job *job)
{
    efio_pool *p = q;
    while (efio_pool_submit(p, job) == EAGAIN) {
        efio_parker parker;
        efio_room room = {.parker = &parker};
        efio_parker_init(&parker);
        efio_pool_await_room(p, &room);
        bool in = efio_pool_submit(p, job) == 0;
        if (!in) efio_park(&parker, EFIO_FOREVER);
        bool called = !efio_pool_end_wait(p, &room);
        if (!in) continue;
        if (called) efio_pool_call_submitter(p);
        return;
    }
}

static void pool_work(void *q)
{
    efio_pool_take(q, true);
}

static void pool_close(void *q)
{
    efio_pool_close(q);
}

static void *pool_new(void)
{
    return efio_pool_new(CAPACITY);
}

static void pool_free(void *q)
{
    efio_pool_free(q);
}

typedef struct {
    const char *name;
    void *(*make)(void);
    void (*submit)(void *, efio_job *);
    void (*work)(void *);
    void (*close)(void *);
    void (*end)(void *);
} kind;

static const kind KINDS[] = {
    {"lock_free", pool_new, pool_submit, pool_work, pool_close, pool_free},
    {"mutex", twin_new, twin_submit, twin_work, twin_close, free},
};

typedef struct {
    const kind *kind;
    void *queue;
    efio_job *jobs;
    _Atomic int submitting;
} load;

static void busy(int who, void *context)
{
    load *l = context;
    if (who >= SUBMITTERS) {
        l->kind->work(l->queue);
        return;
    }
    for (int i = 0; i < JOBS / SUBMITTERS; i++) l->kind->submit(l->queue, &l->jobs[who * (JOBS / SUBMITTERS) + i]);
    if (atomic_fetch_sub(&l->submitting, 1) == 1) l->kind->close(l->queue);
}

static void trips(int who, void *context)
{
    load *l = context;
    if (who) {
        l->kind->work(l->queue);
        return;
    }
    for (int i = 0; i < TRIPS; i++) {
        efio_parker parker;
        efio_parker_init(&parker);
        efio_job job = {nothing, &parker, NULL, 0};
        l->kind->submit(l->queue, &job);
        efio_park(&parker, EFIO_FOREVER);
    }
    l->kind->close(l->queue);
}

static double seconds(const kind *k, int size, void (*work)(int, void *))
{
    load l = {.kind = k, .queue = k->make(), .jobs = calloc(JOBS, sizeof *l.jobs)};
    for (int i = 0; i < JOBS; i++) l.jobs[i].run = nothing;
    atomic_init(&l.submitting, SUBMITTERS);
    uint64_t begin = efio_now_ns();
    crew_run(size, work, &l);
    double passed = (double)(efio_now_ns() - begin) / 1e9;
    k->end(l.queue);
    free(l.jobs);
    return passed;
}

int main(void)
{
    double best[2][2] = {{1e9, 1e9}, {1e9, 1e9}};
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < 2; k++) {
            double b = seconds(&KINDS[k], SUBMITTERS + 2, busy), t = seconds(&KINDS[k], 2, trips);
            if (b < best[k][0]) best[k][0] = b;
            if (t < best[k][1]) best[k][1] = t;
        }
    }
    printf("{\"%s\": %.3f, \"%s\": %.3f, \"%s_trip\": %.2f, \"%s_trip\": %.2f}\n", KINDS[0].name,
           JOBS / best[0][0] / 1e6, KINDS[1].name, JOBS / best[1][0] / 1e6, KINDS[0].name, best[0][1] / TRIPS * 1e6,
           KINDS[1].name, best[1][1] / TRIPS * 1e6);
    return 0;
}
