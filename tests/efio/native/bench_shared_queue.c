/* Prints what the lanes of the queue between processes gain over its twin, one ring under a robust mutex:
 * meson compile bench_shared_queue && .../bench_shared_queue
 *
 * Million messages of 64 bytes a second, best of three. Both wait by yielding, so that only the containers differ. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "crew.h"
#include "efio/native/shared_queue.h"
#include "step.h"

enum { SIZE = 64, LANE = 1 << 20, MESSAGES = 2000000 };

/* The twin. A holder of the mutex that is killed leaves EOWNERDEAD to the next one, who goes on: it moves one index at
 * the end, so there is nothing to mend. */
static struct twin {
    pthread_mutex_t lock;
    uint64_t head, tail;
    uint8_t data[LANE / SIZE][SIZE];
} *twin;

static void twin_lock(void)
{
    if (pthread_mutex_lock(&twin->lock) == EOWNERDEAD) pthread_mutex_consistent(&twin->lock);
}

static bool twin_put(const uint8_t *message)
{
    twin_lock();
    bool ok = twin->head - twin->tail < LANE / SIZE;
    if (ok) memcpy(twin->data[twin->head++ % (LANE / SIZE)], message, SIZE);
    pthread_mutex_unlock(&twin->lock);
    return ok;
}

static bool twin_get(uint8_t *message)
{
    twin_lock();
    bool ok = twin->head != twin->tail;
    if (ok) memcpy(message, twin->data[twin->tail++ % (LANE / SIZE)], SIZE);
    pthread_mutex_unlock(&twin->lock);
    return ok;
}

static efio_shq *queue;
static efio_shq_handle handle;

static bool lanes_put(const uint8_t *message)
{
    return efio_shq_put(&handle, message, SIZE, 0) == 0;
}

static bool lanes_get(uint8_t *message)
{
    efio_shq_item item;
    if (efio_shq_claim(&handle, &item) != 1) return false;
    efio_shq_copy(&item, message);
    efio_shq_take(&handle, &item);
    efio_shq_release(&handle, item.lane);
    return true;
}

static double millions(bool lanes, int producers, int consumers)
{
    double best = 0;
    for (int run = 0; run < 3; run++) {
        uint64_t start = efio_now_ns();
        for (int i = 0; i < producers + consumers; i++) {
            if (fork() > 0) continue;
            uint8_t message[SIZE] = {0};
            if (lanes && efio_shq_enter(&handle, queue, efio_shq_bytes(LANE)) < 0) _exit(1);
            uint64_t n = MESSAGES / (uint64_t)(i < producers ? producers : consumers);
            while (n > 0) {
                bool ok = i < producers ? (lanes ? lanes_put(message) : twin_put(message))
                                        : (lanes ? lanes_get(message) : twin_get(message));
                if (ok)
                    n--;
                else
                    sched_yield();
            }
            _exit(0);
        }
        int status;
        while (wait(&status) > 0) REQUIRE(status == 0, "a process failed: %#x", (unsigned)status);
        double rate = MESSAGES / (double)(efio_now_ns() - start) * 1000;
        if (rate > best) best = rate;
    }
    return best;
}

int main(void)
{
    twin = step_shared(sizeof *twin);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&twin->lock, &a);
    queue = step_shared(efio_shq_bytes(LANE));
    efio_shq_init(queue, LANE);
    efio_peers_publish(&queue->peers, EFIO_SHQ_KIND);
    static const int crews[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}};
    printf("%-32s %10s %10s %6s\n", "million messages/s", "lanes", "mutex", "ratio");
    for (size_t i = 0; i < sizeof crews / sizeof *crews; i++) {
        double lanes = millions(true, crews[i][0], crews[i][1]), mutex = millions(false, crews[i][0], crews[i][1]);
        printf("%d producers, %d consumers %17.1f %10.1f %6.1f\n", crews[i][0], crews[i][1], lanes, mutex,
               lanes / mutex);
    }
    return 0;
}
