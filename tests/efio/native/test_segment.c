/* The segment: seen by other processes, sealed, its pages given back, nothing left behind. */
#define _GNU_SOURCE
#include "efio/native/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/native/check.h"

static long blocks(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (long)st.st_blocks : -1;
}

static void test_create(size_t page)
{
    efio_segment s;
    REQUIRE(efio_segment_create(&s, "efio test", 3 * page + 1) == 0, "create");
    CHECK(s.bytes == 4 * page, "whole pages: %zu", s.bytes);
    CHECK(fcntl(s.fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
    CHECK(blocks(s.fd) == 0, "costs nothing until touched");
    for (size_t i = 0; i < s.bytes; i++) CHECK(s.base[i] == 0, "zero at %zu", i);
    char link[64], name[64] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", s.fd);
    CHECK(readlink(link, name, sizeof name - 1) > 0 && strstr(name, "efio test"), "its name: %s", name);
    int fd = s.fd;
    efio_segment_close(&s);
    CHECK(s.base == NULL && s.bytes == 0 && s.fd == -1, "closed");
    CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "the descriptor is closed");
    efio_segment_close(&s); /* twice does no harm */
}

static void test_create_refuses(void)
{
    efio_segment s;
    CHECK(efio_segment_create(&s, "empty", 0) == -EINVAL, "0 bytes");
    CHECK(efio_segment_create(&s, "huge", SIZE_MAX) == -EINVAL, "2^64 - 1 bytes");
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    CHECK(efio_segment_create(&s, name, 1) == -EINVAL, "a name that is too long");
}

static void test_seals(void)
{
    efio_segment s;
    REQUIRE(efio_segment_create(&s, "sealed", 1) == 0, "create");
    CHECK(ftruncate(s.fd, 0) == -1 && errno == EPERM, "cannot shrink");
    CHECK(ftruncate(s.fd, 1 << 20) == -1 && errno == EPERM, "cannot grow");
    CHECK(fcntl(s.fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM, "nobody can seal further");
    efio_segment_close(&s);
}

static void test_attach(size_t page)
{
    efio_segment s, other;
    REQUIRE(efio_segment_create(&s, "shared", 2 * page) == 0, "create");
    s.base[page] = 42;
    int fd = dup(s.fd);
    REQUIRE(efio_segment_attach(&other, fd) == 0, "attach");
    CHECK(other.bytes == s.bytes && other.fd == fd && other.base != s.base, "the same, elsewhere");
    other.base[page + 1] = (uint8_t)(other.base[page] + 1);
    CHECK(s.base[page + 1] == 43, "both see what either writes");
    efio_segment_unmap(&other);
    CHECK(fcntl(fd, F_GETFD) != -1, "unmap keeps the descriptor");

    pid_t child = fork();
    if (child == 0) {
        efio_segment_unmap(&s);
        if (efio_segment_attach(&other, fd) != 0) _exit(1);
        other.base[0] = 7;
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child, "wait");
    CHECK(status == 0 && s.base[0] == 7, "another process writes: %d", status);
    close(fd);
    efio_segment_close(&s);
}

static void test_attach_refuses(void)
{
    efio_segment s;
    CHECK(efio_segment_attach(&s, -1) == -EBADF, "no descriptor");
    int ends[2];
    REQUIRE(pipe(ends) == 0, "pipe");
    CHECK(efio_segment_attach(&s, ends[0]) == -EPROTO, "a pipe");
    close(ends[0]);
    close(ends[1]);
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd >= 0 && ftruncate(fd, 4096) == 0, "memfd");
    CHECK(efio_segment_attach(&s, fd) == -EPROTO, "a memfd that may shrink");
    REQUIRE(ftruncate(fd, 0) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0, "seal");
    CHECK(efio_segment_attach(&s, fd) == -EPROTO, "an empty one");
    close(fd);
}

static void test_punch(size_t page)
{
    efio_segment s;
    REQUIRE(efio_segment_create(&s, "holes", 8 * page) == 0, "create");
    memset(s.base, 1, s.bytes);
    long full = blocks(s.fd);
    CHECK(efio_segment_punch(&s, 2 * page - 1, 3 * page) == 0, "pages 2 and 3 lie wholly within");
    for (size_t i = 0; i < s.bytes; i++) CHECK(s.base[i] == !(i / page == 2 || i / page == 3), "byte %zu", i);
    CHECK(efio_segment_punch(&s, page / 2, page) == 0, "no whole page within");
    CHECK(efio_segment_punch(&s, 0, 0) == 0, "nothing");
    CHECK(s.base[0] == 1 && s.base[page] == 1, "untouched");
    CHECK(efio_segment_punch(&s, 0, s.bytes + 1) == -ERANGE, "beyond the end");
    CHECK(efio_segment_punch(&s, s.bytes + 1, 0) == -ERANGE, "starts beyond the end");
    CHECK(efio_segment_punch(&s, page, SIZE_MAX) == -ERANGE, "overflow");
    CHECK(efio_segment_punch(&s, 0, s.bytes) == 0, "all of it");
    CHECK(full > 0 && blocks(s.fd) == 0, "the memory is the kernel's again: %ld of %ld blocks", blocks(s.fd), full);
    s.base[5] = 5;
    CHECK(s.base[5] == 5 && s.base[6] == 0, "and can be used again");
    efio_segment_close(&s);
}

int main(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    test_create(page);
    test_create_refuses();
    test_seals();
    test_attach(page);
    test_attach_refuses();
    test_punch(page);
    return failures > 0;
}
