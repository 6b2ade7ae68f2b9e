#define _GNU_SOURCE
#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* State and start time (fields 3 and 22 of proc(5) stat). 0, or -errno. */
static int read_stat(const char *path, char *state, uint64_t *start)
{
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    int error = n < 0 ? errno : 0;
    close(fd);
    if (n <= 0) return error ? -error : -ESRCH;
    text[n] = 0;
    char *p = strrchr(text, ')'); /* the name may hold anything */
    if (!p || p[1] != ' ') return -EPROTO;
    p += 2;
    *state = *p;
    for (int field = 3; field < 22; field++) {
        p = strchr(p, ' ');
        if (!p) return -EPROTO;
        p++;
    }
    *start = strtoull(p, NULL, 10);
    return 0;
}

efio_ident efio_ident_self(void)
{
    char state;
    uint64_t start;
    int r = read_stat("/proc/self/stat", &state, &start);
    if (r < 0) {
        errno = -r;
        return 0;
    }
    return (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)start;
}

bool efio_ident_is_dead(efio_ident who)
{
    int pid = efio_ident_pid(who);
    if (pid <= 0) return true;
    if (kill(pid, 0) < 0 && errno == ESRCH) return true;
    char path[32], state;
    uint64_t start;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int r = read_stat(path, &state, &start);
    if (r == -ENOENT || r == -ESRCH) return kill(pid, 0) < 0 && errno == ESRCH; /* hidden is not dead */
    if (r < 0) return false;
    return state == 'Z' || state == 'X' || (uint32_t)start != (uint32_t)who;
}

uint64_t efio_peers_magic(uint32_t kind)
{
    return UINT64_C(0x6566696f00000000) | kind << 8 | 1; /* "efio", the kind, the version of the layout */
}

static uint64_t pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

void efio_peers_init(efio_peers *p, uint64_t bytes)
{
    p->pid_namespace = pid_namespace();
    p->bytes = bytes;
}

void efio_peers_publish(efio_peers *p, uint32_t kind)
{
    atomic_store_explicit(&p->magic, efio_peers_magic(kind), memory_order_release); /* partner: efio_peers_check */
}

bool efio_peers_is_of_here(const efio_peers *p)
{
    return p->pid_namespace == pid_namespace();
}

int efio_peers_check(const efio_peers *p, uint32_t kind, uint64_t bytes)
{
    efio_peers *q = (efio_peers *)p;
    if (bytes < sizeof *p) return -EPROTO;
    if (atomic_load_explicit(&q->magic, memory_order_acquire) != efio_peers_magic(kind)) return -EPROTO;
    if (p->bytes > bytes) return -EPROTO;
    return efio_peers_is_of_here(p) ? 0 : -EXDEV;
}

int efio_peers_enter(efio_peers *p, efio_ident self, bool (*may_take)(void *context, uint32_t place), void *context)
{
    for (int dead = 0; dead < 2; dead++)
        for (uint32_t i = 0; i < EFIO_PEERS; i++) {
            efio_ident owner = atomic_load(&p->owner[i]);
            if (owner && !(dead && efio_ident_is_dead(owner))) continue;
            if (may_take && !may_take(context, i)) continue;
            if (atomic_compare_exchange_strong(&p->owner[i], &owner, self)) return (int)i;
        }
    return -EUSERS;
}

void efio_peers_leave(efio_peers *p, uint32_t place)
{
    atomic_store_explicit(&p->owner[place], 0, memory_order_release);
}

uint32_t efio_peers_alive(efio_peers *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < EFIO_PEERS; i++) {
        efio_ident owner = atomic_load(&p->owner[i]);
        if (!owner) continue;
        if (efio_ident_is_dead(owner))
            atomic_compare_exchange_strong(&p->owner[i], &owner, 0);
        else
            n++;
    }
    return n;
}
