/* Parts of files that are not in the page cache: threads of their own wait for the disk, the I/O thread does not.
 *
 * sendfile(2) reads what is not cached there and then, and until the disk (or a file server) has answered, the I/O
 * thread would serve nobody. So before each chunk the page cache is asked (preadv2(2) with RWF_NOWAIT, every 64 KiB);
 * what is not there is first read by one of a few fetching threads, which are started with the first such chunk. nginx
 * has the same ("aio threads"). What is evicted again between the two is read by sendfile: nobody waits for ever. */
#ifndef EVPY_FETCH_H
#define EVPY_FETCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "efio/native/wake.h"

typedef struct ev_fetcher ev_fetcher;

/* How many of the n bytes at this offset can be sent at once; 0: none, fetch them. */
size_t ev_fetch_cached(int fd, off_t offset, size_t n);

/* Has them read by a thread, which then rings `wake`. Takes no ownership of fd. The word comes back from
 * ev_fetch_done. False: no memory, descriptors or threads; then sendfile has to wait for the disk itself. */
bool ev_fetch(ev_fetcher **f, efio_waker *wake, int fd, off_t offset, size_t n, uint64_t word);

/* The word of one that is read; false when there is none. Of the thread that called ev_fetch. */
bool ev_fetch_done(ev_fetcher *f, uint64_t *word);
bool ev_fetch_ready(const ev_fetcher *f);

/* Lets its threads end as soon as their disks answer; nothing is waited for. */
void ev_fetch_close(ev_fetcher *f);

/* What the tests replace. */
extern size_t (*ev_fetch_look)(int fd, off_t offset, size_t n);
extern void (*ev_fetch_read)(int fd, off_t offset, size_t n);

#endif
