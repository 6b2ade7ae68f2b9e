/* A queue between processes, any of which may be killed at any instruction: many producers, many consumers.
 *
 * Composed of lanes, one for each process that has it open. A lane is a single-producer ring of bytes (Lamport,
 * "Proving the correctness of multiprocess programs", 1977); only its owner writes into it, so a producer that dies has
 * published a message whole or not at all. Consumers take turns at a lane by a claim that carries their identity. A
 * consumer copies a message, moves the tail, then gives up the claim: killed before the move it has not had the
 * message, killed after it the message is gone with it, and never does anybody see it twice. A claim of a process that
 * is proven dead is broken by whoever meets it (efio_shq_mend); one of a stopped process only closes its lane
 * meanwhile.
 *
 * First in, first out for each producer; lanes are served in turn, so that none starves.
 *
 * Within a process the calls of one handle must exclude each other (Python's do, by the interpreter lock), except for
 * the two that wait.
 *
 * Sleeping: who waits for a message adds itself to `waiters` of its lane and sleeps on `tokens`; who publishes one
 * takes a waiter off and adds a token. Both put a sequentially consistent barrier between their store and their load
 * (Dekker's pattern), so one of them sees the other. A signal is lost only with a process that is killed while it has
 * it; therefore sleepers look again every EFIO_SHQ_RECHECK_NS.
 *
 * Invariants: tail <= head <= tail + lane_bytes, both multiples of 8 and only growing; a record is 8 bytes (length,
 * tag), the message, and padding to 8. */
#ifndef EFIO_SHARED_QUEUE_H
#define EFIO_SHARED_QUEUE_H

#include "peers.h"

#define EFIO_SHQ_KIND       1u
#define EFIO_SHQ_RECHECK_NS 50000000ull /* what a killed process may delay others at most, in the worst case */

typedef struct {
    /* written by the owner of the lane */
    EFIO_ALIGNED _Atomic uint64_t head; /* bytes published; release. Partner: acquire in claim() */
    _Atomic uint64_t puts;              /* messages */
    /* written by who holds the claim */
    EFIO_ALIGNED _Atomic uint64_t tail; /* bytes consumed; release. Partner: acquire in room() */
    _Atomic uint64_t gets;
    _Atomic efio_ident claim;
    /* sleepers: the owner's threads */
    EFIO_ALIGNED _Atomic uint32_t waiters; /* for messages of any lane */
    _Atomic uint32_t tokens;               /* signals for them */
    _Atomic uint32_t room_want;            /* bytes of this lane that somebody waits for */
    _Atomic uint32_t room;                 /* counts the times that they became free */
} efio_shq_lane;

typedef struct {
    efio_peers peers;                      /* shape[0]: lane_bytes */
    EFIO_ALIGNED _Atomic uint32_t ended;   /* 1: nothing more may be put; 2: nor got */
    EFIO_ALIGNED _Atomic uint64_t active;  /* lanes that were ever put into */
    EFIO_ALIGNED _Atomic uint64_t waiting; /* lanes whose owner has waiters; a hint */
    EFIO_ALIGNED efio_shq_lane lane[EFIO_PEERS];
    EFIO_ALIGNED uint8_t data[];
} efio_shq;

/* One process's view. */
typedef struct {
    efio_shq *q;
    efio_ident self;
    uint32_t lane, next; /* its own; where its next search begins */
    uint32_t cap;        /* bytes of a lane */
    bool active;         /* its lane is marked so */
    uint64_t tail_seen;  /* of its own lane: may be old */
    uint64_t head_seen[EFIO_PEERS];
} efio_shq_handle;

/* A message where it lies, in one or two pieces. */
typedef struct {
    uint32_t lane, tag, len;
    uint32_t n1; /* bytes at p1; the rest is at p2 */
    const uint8_t *p1, *p2;
} efio_shq_item;

static inline uint64_t efio_shq_bytes(uint32_t lane_bytes)
{
    return sizeof(efio_shq) + (uint64_t)lane_bytes * EFIO_PEERS;
}
static inline uint32_t efio_shq_max_message(uint32_t lane_bytes)
{
    return lane_bytes / 2 - 8; /* two fit: a producer goes on while its last one is being consumed */
}

/* lane_bytes: a power of two, at least 4096. Of a segment of zeros; efio_peers_publish is left to the caller. */
void efio_shq_init(efio_shq *q, uint32_t lane_bytes);
/* 0 or -errno: -EPROTO, -EXDEV, -EUSERS. */
int efio_shq_enter(efio_shq_handle *h, efio_shq *q, uint64_t bytes);
void efio_shq_leave(efio_shq_handle *h);

/* 0; -EAGAIN: no room; -EMSGSIZE; -EPIPE: ended. Publishes only: efio_shq_signal() afterwards. */
int efio_shq_put(efio_shq_handle *h, const void *data, uint32_t len, uint32_t tag);
/* n messages have been put: wakes up to so many who wait. */
void efio_shq_signal(efio_shq_handle *h, uint32_t n);

/* Claims a lane that has a message. 1: *item is the first; 0: there is none; -EBUSY: others are at all those that have
 * some; -EBADMSG: the lane is damaged. */
int efio_shq_claim(efio_shq_handle *h, efio_shq_item *item);
/* The next one of the claimed lane, as efio_shq_claim. */
int efio_shq_next(efio_shq_handle *h, efio_shq_item *item);
/* It has been copied: it is ours. */
void efio_shq_take(efio_shq_handle *h, const efio_shq_item *item);
/* Gives the claim up, and wakes its producer if that waits for the room. */
void efio_shq_release(efio_shq_handle *h, uint32_t lane);
static inline void efio_shq_copy(const efio_shq_item *item, uint8_t *to)
{
    __builtin_memcpy(to, item->p1, item->n1);
    if (item->n1 < item->len) __builtin_memcpy(to + item->n1, item->p2, item->len - item->n1);
}

/* Breaks claims of the dead; how many. */
uint32_t efio_shq_mend(efio_shq_handle *h);
/* True when some lane has a message, claimed or not. */
bool efio_shq_ready(const efio_shq_handle *h);
uint64_t efio_shq_size(const efio_shq *q); /* messages; killed consumers leave it off by one each */

/* Wait until there may be something, or room for len bytes, or the queue has ended; false: deadline_ns (efio_now_ns)
 * is over, or interrupted by a signal. Any thread. */
bool efio_shq_wait_message(efio_shq_handle *h, uint64_t deadline_ns);
bool efio_shq_wait_room(efio_shq_handle *h, uint32_t len, uint64_t deadline_ns);
/* Others hold all claims: pauses for longer and longer (turn counts up from 0), looks after the dead. */
void efio_shq_wait_claim(efio_shq_handle *h, uint32_t turn);
/* 1 or 2, see ended; wakes everybody. */
void efio_shq_end(efio_shq_handle *h, uint32_t how);
/* Wakes the threads of this handle that wait, for nothing. */
void efio_shq_nudge(efio_shq_handle *h);

#endif
