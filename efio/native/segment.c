#define _GNU_SOURCE
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int map(efio_segment *s, int fd, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) return -errno;
    *s = (efio_segment){base, bytes, fd};
    return 0;
}

static int open_sealable(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

int efio_segment_create(efio_segment *s, const char *name, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (bytes == 0 || bytes > INT64_MAX - page) return -EINVAL;
    bytes = (bytes + page - 1) / page * page;
    int fd = open_sealable(name);
    if (fd < 0) return -errno;
    int error = 0;
    if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0) error = -errno;
    if (!error) error = map(s, fd, bytes);
    if (error) close(fd);
    return error;
}

int efio_segment_attach(efio_segment *s, int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0) return errno == EINVAL ? -EPROTO : -errno; /* EINVAL: some other kind of file */
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    if ((seals & SEALS) != SEALS || st.st_size <= 0) return -EPROTO;
    return map(s, fd, (size_t)st.st_size);
}

int efio_segment_punch(const efio_segment *s, size_t offset, size_t length)
{
    if (offset > s->bytes || length > s->bytes - offset) return -ERANGE;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (offset + page - 1) / page * page, to = (offset + length) / page * page;
    if (from >= to) return 0;
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(s->fd, mode, (off_t)from, (off_t)(to - from)) < 0 ? -errno : 0;
}

void efio_segment_unmap(efio_segment *s)
{
    if (s->base) munmap(s->base, s->bytes);
    s->base = NULL;
    s->bytes = 0;
}

void efio_segment_close(efio_segment *s)
{
    efio_segment_unmap(s);
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}
