/* Who has a shared segment open: a table of processes, in which the dead can be told from the living.
 *
 * A process is its number and the time it was started, since numbers are used again. It is dead when the kernel knows
 * no such process, or only its remains (a zombie). What cannot be proven counts as alive: another user's /proc may be
 * closed to us. Numbers mean something within one pid namespace only, so a segment belongs to the one it was made in.
 *
 * Every segment that efio shares between processes begins with such a table. */
#ifndef EFIO_PEERS_H
#define EFIO_PEERS_H

#include "atomics.h"

#define EFIO_PEERS 64 /* processes (in truth: handles) at a time */

typedef uint64_t efio_ident; /* pid << 32 | start time in clock ticks, low half; 0: nobody */

typedef struct {
    _Atomic uint64_t magic; /* efio_peers_magic(kind), stored last: everything before it is there */
    uint64_t pid_namespace; /* inode of /proc/self/ns/pid */
    uint64_t bytes;         /* of the segment */
    uint64_t shape[4];      /* what the kind of segment needs to know of its size; checked by who attaches */
    EFIO_ALIGNED _Atomic efio_ident owner[EFIO_PEERS];
} efio_peers;

/* The calling process; 0 with errno when /proc cannot be read. */
efio_ident efio_ident_self(void);
/* True when it is proven that this process has ended. */
bool efio_ident_is_dead(efio_ident who);
static inline int efio_ident_pid(efio_ident who)
{
    return (int)(who >> 32);
}

uint64_t efio_peers_magic(uint32_t kind);
/* Fills the table of a fresh segment (all zeros), all but the magic. */
void efio_peers_init(efio_peers *p, uint64_t bytes);
/* Makes it valid for those who attach. */
void efio_peers_publish(efio_peers *p, uint32_t kind);
/* 0, or -EPROTO (no such segment), -EXDEV (of another pid namespace). */
int efio_peers_check(const efio_peers *p, uint32_t kind, uint64_t bytes);

bool efio_peers_is_of_here(const efio_peers *p); /* its pid namespace is ours */

/* Takes a place; places of the dead are taken as well. -EUSERS: all are held by the living. may_take (NULL: all) says
 * which places will do. */
int efio_peers_enter(efio_peers *p, efio_ident self, bool (*may_take)(void *context, uint32_t place), void *context);
void efio_peers_leave(efio_peers *p, uint32_t place);
/* How many places are held by the living; others are given back on the way. */
uint32_t efio_peers_alive(efio_peers *p);

#endif
