/* The shared segment: everything that supervisor, gateway and workers have in common lies here.
 *
 *   header | worker slots | rings of every (worker slot, I/O thread) pair | slab descriptors | slab data
 *
 * One memfd, mapped by every process, at whatever address: all references inside are offsets or indices.
 *
 * A slab is one request in flight. Its descriptor holds the parsed head and the state words; its data holds the
 * head's bytes, a window of the request body (`in`, written by the gateway) and a window of the response (`out`,
 * written by the worker). Data is virtual until touched, so a small request costs two pages, and a large one gives
 * its pages back when it is over.
 *
 * Who may write a slab is told by its cookie (efio/native/slabs.h): the gateway holds it, offers it to the workers, and
 * gets it back by recalling it (client gone, deadline over, worker dead), by the claimer's FINAL, or by its death.
 *
 * A ring entry names slab and generation; claiming is the compare-and-swap on the cookie, never the pop. So an entry
 * may be recalled while it lies in a ring, and an idle worker may steal from the ring of a busy one by reading it. A
 * thief killed between two instructions has either claimed (its slot stands in the cookie) or not. */
#ifndef EVPY_LAYOUT_H
#define EVPY_LAYOUT_H

#include "efio/native/bytering.h"
#include "efio/native/ring.h"
#include "efio/native/segment.h"
#include "efio/native/slabs.h"
#include "efio/native/wake.h"
#include "evpy/gateway/http1.h"
#include "evpy/native/bodylimits.h"
#include "evpy/native/costs.h"

#define EV_MAGIC         0x3179707665ull /* "evpy1" */
#define EV_MAX_IO        8
#define EV_MAX_THREADS   16 /* scheduler threads of one worker, spare ones for blocked threads included */
#define EV_MAX_SLOTS     512
#define EV_MAX_LISTENERS 16

#define EV_WHOLE_BODY 65536u /* bodies up to this are handed over whole */
/* The window of a streamed request body is large, because each turn of it costs wake-ups on both sides of the socket:
 * with 256 KiB an upload took 1.6 s of CPU per GB, with 512 KiB 1.08, 1 MiB 1.0, 2 MiB 0.96 (scripts/bench upload). */
#define EV_IN_CAP       1048576u
#define EV_OUT_CAP      262144u /* window of a response */
#define EV_OUT_COLOUR   1088u   /* keeps head and out of one slab off the same cache sets */
#define EV_SLAB_COLOUR  576u    /* keeps neighbouring slabs off the same cache sets */
#define EV_SLAB_IN_OFF  EV_MAX_HEAD
#define EV_SLAB_OUT_OFF (EV_MAX_HEAD + EV_IN_CAP + EV_OUT_COLOUR)
#define EV_SLAB_STRIDE  (EV_SLAB_OUT_OFF + EV_OUT_CAP + 4096u - EV_OUT_COLOUR + EV_SLAB_COLOUR)

/* The owner number of a claim (efio/native/slabs.h) is worker slot << 12 | scheduler thread. */
static inline uint32_t ev_owner(uint32_t worker, uint32_t thread)
{
    return worker << 12 | thread;
}
static inline uint32_t ev_cookie_worker(uint64_t c)
{
    return efio_cookie_owner(c) >> 12;
}
static inline uint32_t ev_cookie_thread(uint64_t c)
{
    return efio_cookie_owner(c) & 0xfff;
}

/* Messages on rings: type:8 | slab:24 | generation:32. */
enum {
    EV_MSG_NOP = 0,
    EV_MSG_REQUEST, /* gateway -> worker: claim this slab */
    EV_MSG_NOTIFY,  /* either way: look at the slab's flags and windows */
    EV_MSG_FINAL,   /* worker -> gateway: the worker will not touch the slab again */
};
static inline uint64_t ev_msg(uint32_t type, uint32_t slab, uint32_t gen)
{
    return (uint64_t)type << 56 | (uint64_t)slab << 32 | gen;
}
static inline uint32_t ev_msg_type(uint64_t m)
{
    return (uint32_t)(m >> 56);
}
static inline uint32_t ev_msg_slab(uint64_t m)
{
    return (uint32_t)(m >> 32) & 0xffffff;
}
static inline uint32_t ev_msg_gen(uint64_t m)
{
    return (uint32_t)m;
}

/* in_flags, set by the gateway */
enum {
    EV_IN_END = 1,       /* the body is complete once the window is empty */
    EV_IN_TOO_LARGE = 2, /* it ended early: over the limit */
    EV_IN_BROKEN = 4,    /* it ended early: framing error, too slow, client gone */
};
/* gone, set by the gateway */
enum {
    EV_GONE_CLIENT = 1,   /* the client has closed its side */
    EV_GONE_DEADLINE = 2, /* the deadline is over, 504 has been sent */
    EV_GONE_DEAD = 4,     /* nothing written from now on reaches anybody */
};
/* out_flags, set by the worker */
enum {
    EV_OUT_HEAD = 1,   /* status and field lines are there */
    EV_OUT_END = 2,    /* the response is complete once the window is empty */
    EV_OUT_ABORT = 4,  /* the response broke off: close the connection, so that the client notices */
    EV_OUT_FILE = 8,   /* after the window a file follows: file_offset, file_left; its fd is on the fd socket */
    EV_OUT_CLOSE = 16, /* close the connection after this response */
    EV_OUT_HAS_DATE = 32,
    EV_OUT_HAS_SERVER = 64,
};

typedef struct {
    EFIO_ALIGNED efio_cookie cookie;
    uint64_t id;                  /* request id, unique within this start of the server */
    uint64_t arrival_ns;          /* CLOCK_MONOTONIC, first byte of the head */
    _Atomic uint64_t deadline_ns; /* CLOCK_MONOTONIC; moves on while a streamed body arrives */
    uint64_t max_body;            /* bytes that its body may have; 0: no limit */
    uint64_t body_len;            /* bytes of a whole body; UINT64_MAX when streamed with unknown length */
    uint8_t tries;                /* times it was handed over */
    uint8_t crashes;              /* workers that crashed while they had it */
    uint8_t body_whole;           /* the whole body lies in the window */
    uint8_t client_family;        /* AF_INET, AF_INET6, AF_UNIX */
    uint8_t listener;             /* index of the listener it came in by */
    uint32_t kind;                /* costs.h */
    uint32_t cost;                /* microseconds of CPU that it is likely to take; 0: few */
    uint16_t client_port;
    uint8_t client_addr[16];
    ev_http1_head head;

    efio_bytering in; /* producer: gateway, consumer: worker */
    _Atomic uint32_t in_flags;
    _Atomic uint32_t gone;
    _Atomic uint32_t in_wanted;   /* worker waits for body bytes (or wants the 100): notify it */
    _Atomic uint32_t in_paused;   /* gateway waits for room: notify it */
    _Atomic uint32_t ctl_pending; /* a NOTIFY to the worker is on its way */

    efio_bytering out; /* producer: worker, consumer: gateway */
    _Atomic uint32_t out_flags;
    _Atomic uint32_t out_wanted;  /* worker waits for room: notify it */
    _Atomic uint32_t out_pending; /* a NOTIFY to the gateway is on its way */
    uint32_t status;              /* written before EV_OUT_HEAD */
    uint64_t out_body;            /* body bytes announced or written so far, framing excluded (access log) */
    uint64_t file_offset, file_left;
} ev_slab;

enum { EV_WORKER_EMPTY = 0, EV_WORKER_STARTING, EV_WORKER_READY, EV_WORKER_DRAINING, EV_WORKER_DEAD };
enum { EV_THREAD_UNUSED = 0, EV_THREAD_RUNNING, EV_THREAD_BLOCKED };

typedef struct {
    efio_waker wake;
    EFIO_ALIGNED _Atomic uint32_t state;
    _Atomic uint32_t tid;
    _Atomic uint32_t active;       /* requests claimed and not finished */
    _Atomic uint32_t ctl_overflow; /* a NOTIFY did not fit: look at every request */
    _Atomic uint64_t tick;         /* the hub has come round this often */
    _Atomic uint64_t ping_ns;      /* when the native heart-beat last asked for a tick; 0 when it was answered */
    _Atomic uint64_t current;      /* message word of the request that was switched to last; 0: none */
    _Atomic uint64_t current_since_ns;
    _Atomic uint32_t cost; /* of the request that it is at, in microseconds of CPU; 0: few */
    _Atomic uint64_t taken, stolen, finished, failed, expired, greenlets;
    _Atomic uint64_t wait_ns; /* sum over taken requests: first byte of the head to claim */
} ev_thread_slot;

typedef struct {
    EFIO_ALIGNED _Atomic uint32_t state;
    _Atomic uint32_t generation;
    _Atomic int32_t pid;
    _Atomic uint32_t killed;           /* DEAD by somebody else's doing: no request of its is to blame */
    _Atomic uint32_t threads;          /* scheduler threads that serve now */
    _Atomic uint32_t stalled;          /* I/O threads (bits) that saw it leave its ring alone: anybody may take that */
    _Atomic uint64_t heartbeat_ns;     /* CLOCK_MONOTONIC, written by a native thread */
    _Atomic uint32_t acked[EV_MAX_IO]; /* generation << 4 | state that this I/O thread has acted upon */
    int32_t fd_worker[EV_MAX_IO];      /* seqpacket pair that carries file descriptors to the gateway */
    int32_t fd_gateway[EV_MAX_IO];
    ev_thread_slot thread[EV_MAX_THREADS];
} ev_worker_slot;

/* One writer each (the I/O thread), relaxed: read them at any time. At rest
 * requests == answered + failed + expired + shed + recalled + aborted + refused + lost. */
typedef struct {
    EFIO_ALIGNED _Atomic uint64_t connections, connections_open, connections_refused;
    _Atomic uint64_t requests; /* complete, valid request heads */
    _Atomic uint64_t answered; /* by a worker, to the last byte */
    _Atomic uint64_t failed;   /* 502: its worker died */
    _Atomic uint64_t expired;  /* 504: the deadline passed, queued or running */
    _Atomic uint64_t shed;     /* 503: queue or slabs full */
    _Atomic uint64_t recalled; /* the client left before any Python saw it */
    _Atomic uint64_t aborted;  /* broke off: client left, too slow, or the handler failed while streaming */
    _Atomic uint64_t refused;  /* valid heads answered 4xx by the gateway: 413, 408 in the body, framing */
    _Atomic uint64_t lost;     /* died with a gateway process */
    _Atomic uint64_t bad_requests, header_timeouts, body_timeouts, keepalive_timeouts, send_timeouts;
    _Atomic uint64_t costly; /* of a kind that has burnt CPU before */
    _Atomic uint64_t retried, stale, underscore_fields, continues, upgrades_ignored;
    _Atomic uint64_t bytes_in, bytes_out, turns, wakes, steal_wakes;
    _Atomic uint64_t fetches; /* parts of files that were not in the page cache */
    _Atomic uint64_t queue_len, queue_max, slabs_used, slabs_max, buffered;
    _Atomic uint64_t log_lines, log_dropped;
    _Atomic uint64_t heartbeat_ns;
} ev_counters;

typedef struct {
    uint64_t magic;
    uint64_t bytes;                             /* of the whole segment */
    uint32_t io_threads, slots, threads, slabs; /* slabs: per I/O thread */
    uint32_t ring_cap, queue_limit, depth, concurrency;
    uint64_t slots_off, rings_off, ring_pair_bytes, slabs_off, data_off;
    uint32_t req_ring_bytes, resp_ring_bytes, ctl_ring_bytes, slab_stride;
    /* settings of the gateway; times in nanoseconds */
    uint64_t header_timeout, body_timeout, body_rate, body_rate_grace, handler_timeout, send_timeout, keepalive;
    uint64_t time_slice; /* of the I/O threads; 0: the kernel's own */
    uint32_t costly;     /* microseconds of CPU from which a kind of request is; 0: none is */
    uint32_t cores;      /* that the server may use: as many costly requests are in work at once */
    ev_body_limits body_limits;
    uint64_t max_buffered;    /* bytes of request parts that one I/O thread may hold outside of slabs */
    uint32_t max_connections; /* per I/O thread */
    uint32_t listeners;
    int32_t listener_fd[EV_MAX_LISTENERS];
    uint8_t listener_https[EV_MAX_LISTENERS];
    uint8_t listener_own[EV_MAX_LISTENERS]; /* opened by this server: it may shut it down */
    char listener_name[EV_MAX_LISTENERS][128];
    char server_header[64]; /* "" = none */
    int32_t access_log_fd;  /* -1: none */
    uint32_t access_log_json;
    _Atomic uint32_t access_log_turn; /* counts how often the supervisor has opened the file anew (rotation) */
    uint32_t inline_mode;
    uint32_t echo; /* benchmark: the gateway answers by itself */
    _Atomic uint32_t gateway_epoch;
    _Atomic uint32_t gateway_mode; /* EV_RUN ... EV_GIVE_UP */
    _Atomic int32_t gateway_pid;
    _Atomic uint64_t next_id;
    efio_waker io_wake[EV_MAX_IO];
    ev_counters counters[EV_MAX_IO];
    ev_costs costs;
} ev_header;

/* What the gateway is to do, each with all that stands before it. */
enum {
    EV_RUN = 0,
    EV_DRAIN,   /* accept nothing more, answer what is open, end */
    EV_STOP,    /* the server stops: nobody else will accept either, so that new connections are refused at once */
    EV_GIVE_UP, /* the grace time is over: 503 for what is not answered */
};

/* A process's own view of the segment. */
typedef struct {
    uint8_t *base;
    ev_header *hdr;
    int fd; /* -1: anonymous, for one process */
    efio_segment mapping;
} ev_segment;

static inline ev_worker_slot *ev_worker_at(const ev_segment *s, uint32_t w)
{
    return (ev_worker_slot *)(s->base + s->hdr->slots_off) + w;
}
static inline uint8_t *ev_pair_at(const ev_segment *s, uint32_t w, uint32_t io)
{
    return s->base + s->hdr->rings_off + ((uint64_t)w * s->hdr->io_threads + io) * s->hdr->ring_pair_bytes;
}
/* gateway thread io -> worker w: REQUEST */
static inline efio_ring *ev_req_ring(const ev_segment *s, uint32_t w, uint32_t io)
{
    return (efio_ring *)ev_pair_at(s, w, io);
}
/* worker w -> gateway thread io: NOTIFY, FINAL */
static inline efio_ring *ev_resp_ring(const ev_segment *s, uint32_t w, uint32_t io)
{
    return (efio_ring *)(ev_pair_at(s, w, io) + s->hdr->req_ring_bytes);
}
/* gateway thread io -> one scheduler thread of worker w: NOTIFY */
static inline efio_ring *ev_ctl_ring(const ev_segment *s, uint32_t w, uint32_t io, uint32_t thread)
{
    return (efio_ring *)(ev_pair_at(s, w, io) + s->hdr->req_ring_bytes + s->hdr->resp_ring_bytes +
                         (uint64_t)thread * s->hdr->ctl_ring_bytes);
}
/* Slab indices are global: I/O thread io owns [io * slabs, (io + 1) * slabs). */
static inline ev_slab *ev_slab_at(const ev_segment *s, uint32_t i)
{
    return (ev_slab *)(s->base + s->hdr->slabs_off) + i;
}
static inline uint8_t *ev_slab_head(const ev_segment *s, uint32_t i)
{
    return s->base + s->hdr->data_off + (uint64_t)i * s->hdr->slab_stride;
}
static inline uint8_t *ev_slab_in(const ev_segment *s, uint32_t i)
{
    return ev_slab_head(s, i) + EV_SLAB_IN_OFF;
}
static inline uint8_t *ev_slab_out(const ev_segment *s, uint32_t i)
{
    return ev_slab_head(s, i) + EV_SLAB_OUT_OFF;
}
static inline uint32_t ev_slab_io(const ev_segment *s, uint32_t i)
{
    return i / s->hdr->slabs;
}

/* Sizes that shape the segment; the rest of the header is filled in by the caller after ev_segment_create. */
typedef struct {
    uint32_t io_threads, slots, threads, slabs, concurrency, queue_limit, depth;
} ev_shape;

/* Creates (fd from memfd_create, or anonymous when name is NULL) and initialises a segment, all wake-up fds -1.
 * 0 or -errno. */
int ev_segment_create(ev_segment *s, const ev_shape *shape, const char *name);
/* Maps the segment behind fd. 0, -errno, or -EPROTO when it is not one of ours. */
int ev_segment_attach(ev_segment *s, int fd);
void ev_segment_unmap(ev_segment *s);
/* (Re)initialises the rings of one (worker slot, I/O thread) pair; nobody else may use them meanwhile. */
void ev_pair_init(const ev_segment *s, uint32_t w, uint32_t io);

/* Single-writer counters. */
static inline void ev_count(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
