#define _GNU_SOURCE
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define THREADS 4u     /* one disk that does not answer must not hold up the others */
#define STRIDE  65536u /* between two looks: what is in the cache lies there in runs of readahead's length */
#define PIECE   262144u

typedef struct job {
    struct job *next;
    int fd;
    off_t offset;
    size_t n;
    uint64_t word;
} job;

/* Everything but `ready` is under the mutex; the last of the engine and the threads frees it. */
struct ev_fetcher {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    job *first, **last; /* to be read, oldest first */
    job *done;
    _Atomic bool ready; /* something is in `done`: read by the I/O thread before it sleeps (efio/native/wake.h) */
    efio_waker *wake;   /* NULL: the engine is gone */
    unsigned users, threads, idle, queued;
};

static size_t look(int fd, off_t offset, size_t n)
{
    char byte;
    struct iovec iov = {&byte, 1};
    for (size_t k = 0;; k = n - k > STRIDE ? k + STRIDE : n - 1) {
        ssize_t r = preadv2(fd, &iov, 1, offset + (off_t)k, RWF_NOWAIT);
        if (r < 0 && errno == EOPNOTSUPP) {
            struct statfs fs; /* memory has no disk to wait for; of others nobody can tell */
            return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) ? n : k;
        }
        if (r < 0 && errno == EAGAIN) return k;
        if (r <= 0 || k == n - 1) return n; /* the end of the file, or an error: sendfile tells */
    }
}

static void read_it(int fd, off_t offset, size_t n)
{
    char *piece = malloc(PIECE);
    if (!piece) return;
    while (n) {
        ssize_t r = pread(fd, piece, n < PIECE ? n : PIECE, offset);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) break;
        offset += r;
        n -= (size_t)r;
    }
    free(piece);
}

size_t (*ev_fetch_look)(int, off_t, size_t) = look;
void (*ev_fetch_read)(int, off_t, size_t) = read_it;

size_t ev_fetch_cached(int fd, off_t offset, size_t n)
{
    return n ? ev_fetch_look(fd, offset, n) : 0;
}

static void drop_jobs(job *j)
{
    while (j) {
        job *next = j->next;
        close(j->fd);
        free(j);
        j = next;
    }
}

/* With the mutex held; unlocks it. */
static void leave(ev_fetcher *f)
{
    bool last = --f->users == 0;
    pthread_mutex_unlock(&f->mutex);
    if (!last) return;
    drop_jobs(f->first);
    drop_jobs(f->done);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

static void *thread_main(void *arg)
{
    ev_fetcher *f = arg;
    prctl(PR_SET_NAME, "evpy:fetch");
    pthread_mutex_lock(&f->mutex);
    for (;;) {
        f->idle++;
        while (!f->first && f->wake) pthread_cond_wait(&f->more, &f->mutex);
        f->idle--;
        if (!f->wake) break;
        job *j = f->first;
        if (!(f->first = j->next)) f->last = &f->first;
        f->queued--;
        pthread_mutex_unlock(&f->mutex);
        ev_fetch_read(j->fd, j->offset, j->n);
        pthread_mutex_lock(&f->mutex);
        j->next = f->done;
        f->done = j;
        atomic_store_explicit(&f->ready, true, memory_order_release);
        if (f->wake) efio_wake_notify(f->wake);
    }
    leave(f);
    return NULL;
}

static ev_fetcher *create(efio_waker *wake)
{
    ev_fetcher *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->more, NULL);
    f->last = &f->first;
    f->wake = wake;
    f->users = 1;
    return f;
}

/* With the mutex held. False: there is none, and none can be had. */
static bool start_thread(ev_fetcher *f)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* in inline mode signals are the interpreter's */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 65536);
    pthread_t thread;
    f->users++;
    if (pthread_create(&thread, &attr, thread_main, f) == 0)
        f->threads++;
    else
        f->users--;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return f->threads > 0;
}

bool ev_fetch(ev_fetcher **fetcher, efio_waker *wake, int fd, off_t offset, size_t n, uint64_t word)
{
    if (!*fetcher && !(*fetcher = create(wake))) return false;
    ev_fetcher *f = *fetcher;
    job *j = malloc(sizeof *j);
    int own = j ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1; /* the engine may close its own before the thread has read */
    if (own < 0) {
        free(j);
        return false;
    }
    *j = (job){.fd = own, .offset = offset, .n = n, .word = word};
    pthread_mutex_lock(&f->mutex);
    bool taken = f->queued < f->idle || f->threads == THREADS || start_thread(f);
    if (taken) {
        *f->last = j;
        f->last = &j->next;
        f->queued++;
        pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->mutex);
    if (!taken) drop_jobs(j);
    return taken;
}

bool ev_fetch_ready(const ev_fetcher *f)
{
    return f && atomic_load_explicit(&((ev_fetcher *)f)->ready, memory_order_acquire);
}

bool ev_fetch_done(ev_fetcher *f, uint64_t *word)
{
    if (!ev_fetch_ready(f)) return false;
    pthread_mutex_lock(&f->mutex);
    job *j = f->done;
    if (j) f->done = j->next;
    atomic_store_explicit(&f->ready, f->done != NULL, memory_order_relaxed);
    pthread_mutex_unlock(&f->mutex);
    if (!j) return false;
    *word = j->word;
    j->next = NULL;
    drop_jobs(j);
    return true;
}

void ev_fetch_close(ev_fetcher *f)
{
    if (!f) return;
    pthread_mutex_lock(&f->mutex);
    f->wake = NULL;
    pthread_cond_broadcast(&f->more);
    leave(f);
}
