/* Files that are not in the page cache: the I/O thread serves others until they are. */
#include "engine_rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SIZE (5u << 18) /* a chunk of the engine's, and a quarter */

static int make_file(int fd)
{
    static char block[4096];
    for (uint32_t k = 0; k < SIZE / sizeof block; k++) {
        memset(block, 'a' + (int)(k % 26), sizeof block);
        MUST(write(fd, block, sizeof block) == sizeof block);
    }
    return fd;
}

static void test_what_the_cache_says(void)
{
    int memory = make_file(memfd_create("file", 0));
    CHECK(ev_fetch_cached(memory, 0, SIZE) == SIZE, "memory needs no fetching");
    CHECK(ev_fetch_cached(memory, 100, 0) == 0, "nothing of nothing");
    CHECK(ev_fetch_cached(memory, SIZE - 10, 100) > 0, "the end is for sendfile to find");
    close(memory);

    int disk = make_file(open(".", O_TMPFILE | O_RDWR, 0600));
    CHECK(ev_fetch_cached(disk, 0, SIZE) == SIZE, "what was just written is there");
    MUST(fsync(disk) == 0);
    MUST(posix_fadvise(disk, 0, 0, POSIX_FADV_DONTNEED) == 0);
    size_t n = ev_fetch_cached(disk, 0, SIZE);
    if (n == SIZE) {
        printf("this file system keeps its cache; the rest is not tested\n");
    } else {
        ev_fetch_read(disk, 0, SIZE);
        CHECK(ev_fetch_cached(disk, 0, SIZE) == SIZE, "after reading, all is there; before, %zu bytes", n);
    }
    close(disk);
}

/* A disk that answers when the test says so. */
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned reading, reads;
static _Atomic bool cold = true;

static size_t nothing_is_cached(int fd, off_t offset, size_t n)
{
    return cold ? 0 : n;
}

static void slow_read(int fd, off_t offset, size_t n)
{
    reading++;
    pthread_mutex_lock(&disk);
    reads++;
    pthread_mutex_unlock(&disk);
}

static void answer_with_file(rig *r, uint64_t m)
{
    ev_resp resp;
    ev_resp_begin(&resp);
    ev_resp_head(&r->worker[0], ev_msg_slab(m), &resp, 200, SIZE);
    int fd = make_file(memfd_create("file", 0));
    MUST(ev_resp_file(&r->worker[0], m, &resp, fd, 0, SIZE) == 0);
    close(fd);
    MUST(ev_resp_end(&r->worker[0], ev_msg_slab(m), &resp));
    ev_sched_final(&r->worker[0], m);
    ev_sched_flush(&r->worker[0]);
}

static size_t receive_file(rig *r, int c, size_t already)
{
    static char sink[1 << 16];
    size_t n = already;
    for (uint64_t until = efio_now_ns() + 20000000000ull; n < SIZE && efio_now_ns() < until;) {
        ev_engine_turn(r->e, 1000000);
        for (ssize_t k; (k = recv(c, sink, sizeof sink, MSG_DONTWAIT)) > 0;) n += (size_t)k;
    }
    return n;
}

static void wait_for(const _Atomic unsigned *counter, unsigned n)
{
    for (uint64_t until = efio_now_ns() + 20000000000ull; *counter < n && efio_now_ns() < until;) usleep(100);
    MUST(*counter >= n);
}

static void test_others_are_served_meanwhile(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    reading = reads = 0;
    pthread_mutex_lock(&disk);
    int c = rig_connect(&r), other = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, GET);
    MUST(rig_take(&r, 0, &m));
    answer_with_file(&r, m);
    const char *head = rig_receive(&r, c, NULL);
    CHECK(strstr(head, "200 OK") && !strstr(head, "aaaa"), "the head is sent, the file waits for the disk");
    wait_for(&reading, 1);
    rig_send(&r, other, GET);
    CHECK(rig_take(&r, 0, &m), "another request is handed over");
    rig_answer(&r, 0, m, "meanwhile");
    CHECK(rig_got(&r, other, "meanwhile"), "and answered");
    pthread_mutex_unlock(&disk);
    CHECK(receive_file(&r, c, 0) == SIZE, "then the file comes");
    CHECK(reads == 2 && r.seg.hdr->counters[0].fetches == 2, "in two parts, each read once: %u", reads);
    close(c);
    close(other);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* The slab is used again, for another file, before the disk has answered for the first one. */
static void test_a_client_leaves_meanwhile(void)
{
    rig r;
    rig_open(&r, 1, 1, 1, 8, 8);
    reading = reads = 0;
    pthread_mutex_lock(&disk);
    int c = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, GET);
    MUST(rig_take(&r, 0, &m));
    answer_with_file(&r, m);
    rig_settle(&r);
    wait_for(&reading, 1);
    close(c);
    ev_conn *conn = r.e->priv[0].conn;
    MUST(conn);
    rig_time_passes(&r, conn, 60);
    ev_timers_run(r.e);
    rig_settle(&r);
    CHECK(r.e->n_free == 1, "the slab is free: nobody waits for the disk");
    c = rig_connect(&r);
    rig_send(&r, c, GET);
    MUST(rig_take(&r, 0, &m));
    answer_with_file(&r, m);
    (void)rig_receive(&r, c, NULL);
    wait_for(&reading, 2);
    pthread_mutex_unlock(&disk);
    CHECK(receive_file(&r, c, 0) == SIZE, "the second one's file comes whole");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

/* The engine ends while the disk has not answered: the thread ends later, by itself (the sanitizers look). */
static void test_the_engine_ends_meanwhile(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    reading = reads = 0;
    pthread_mutex_lock(&disk);
    int c[6];
    for (int k = 0; k < 6; k++) {
        uint64_t m;
        c[k] = rig_connect(&r);
        rig_send(&r, c[k], GET);
        MUST(rig_take(&r, 0, &m));
        answer_with_file(&r, m);
        rig_settle(&r);
    }
    wait_for(&reading, 4);
    rig_close(&r);
    pthread_mutex_unlock(&disk);
    wait_for(&reads, 4);
    for (int k = 0; k < 6; k++) close(c[k]);
    CHECK(reads == 4, "four threads, and nobody reads for an engine that is gone: %u", reads);
}

static void test_what_is_cached_is_not_fetched(void)
{
    rig r;
    rig_open(&r, 1, 16, 16, 8, 8);
    cold = false;
    int c = rig_connect(&r);
    uint64_t m;
    rig_send(&r, c, GET);
    MUST(rig_take(&r, 0, &m));
    answer_with_file(&r, m);
    CHECK(receive_file(&r, c, 0) >= SIZE, "the file comes");
    CHECK(r.seg.hdr->counters[0].fetches == 0 && !r.e->fetcher, "without a thread");
    close(c);
    rig_check_rest(&r, __func__);
    rig_close(&r);
}

int main(void)
{
    test_what_the_cache_says();
    ev_fetch_look = nothing_is_cached;
    ev_fetch_read = slow_read;
    test_others_are_served_meanwhile();
    test_a_client_leaves_meanwhile();
    test_the_engine_ends_meanwhile();
    test_what_is_cached_is_not_fetched();
    return failures > 0;
}
