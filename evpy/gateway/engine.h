/* The gateway's engine: one per I/O thread (or one inside the worker, in inline mode).
 *
 *   listener.c  accepts                        conn.c    connection states, request input
 *   output.c    responses out of slabs         fetch.c   parts of files that are not in the page cache
 *   respond.c answers that the gateway gives by itself
 *   queue.c     what waits for a worker        dispatch.c   which worker is given it; credit, recall
 *   workers.c   workers that come, drain, die
 *   timers.c    deadlines                      accesslog.c  one line per request, off the hot path
 *   engine.c    the turn that drives them all
 *
 * Everything in here belongs to one thread; only the segment is shared. Nothing blocks but the epoll_wait of the turn.
 *
 * States of a connection:
 *   HEAD    -> waits for (the rest of) a request head; idle when nothing of it is there
 *   BODY    -> head complete, collects a body that is to be handed over whole
 *   BUSY    -> a request is with the workers (conn->slab) or its response is being written
 *   DISCARD -> response complete, skips the unread rest of a body that is short enough
 *   LINGER  -> answered and half-closed, drains a bounded amount so that the answer is not lost to a reset
 *   CLOSED  -> freed at the end of the turn */
#ifndef EVPY_ENGINE_H
#define EVPY_ENGINE_H

#include <netinet/in.h>
#include <sys/epoll.h>

#include "evpy/gateway/accesslog.h"
#include "evpy/gateway/chunked.h"
#include "evpy/gateway/fetch.h"
#include "evpy/gateway/http1.h"
#include "evpy/native/layout.h"

#define EV_SCRATCH       131072        /* bytes read from a socket at once */
#define EV_WHEEL         512           /* timer slots */
#define EV_TICK_NS       50000000ull   /* of a timer slot */
#define EV_STALL_NS      1000000ull    /* look again when a worker has not claimed or may hold back an answer */
#define EV_BURNING_NS    300000ull     /* in one stretch of Python for longer: it will hardly come round soon */
#define EV_LINGER_NS     2000000000ull /* how long to drain after an error */
#define EV_LINGER_BYTES  (256 * 1024)
#define EV_DISCARD_BYTES (256 * 1024)
#define EV_NO_SLAB       UINT32_MAX
#define EV_CONN_EVENTS   ((uint32_t)(EPOLLOUT | EPOLLRDHUP | EPOLLET)) /* and EPOLLIN, unless muted */

enum { EV_C_HEAD, EV_C_BODY, EV_C_BUSY, EV_C_DISCARD, EV_C_LINGER, EV_C_CLOSED };

typedef struct ev_conn ev_conn;
typedef struct ev_engine ev_engine;

/* A request body on its way in; exists only while there is one that did not come with its head. */
typedef struct {
    ev_chunked chunked;
    uint64_t left;     /* EV_BODY_LENGTH: bytes not yet received */
    uint64_t got;      /* decoded bytes so far */
    uint64_t max_body; /* how many there may be; 0: no limit */
    uint64_t raw;      /* bytes received, framing included, for the rate */
    uint64_t started_ns, progress_ns;
    uint8_t kind;       /* ev_body_kind */
    bool streaming;     /* goes through the slab's window */
    bool continue_owed; /* the client waits for 100 Continue */
    uint64_t paused_ns; /* since when the window is full; 0: it is not */
    uint32_t head_len;
    uint8_t *acc; /* head and decoded bytes of a body that may still turn out whole */
    uint32_t acc_len, acc_cap;
} ev_body;

struct ev_conn {
    ev_conn *prev, *next; /* timer slot list */
    ev_conn *link;        /* dirty list, free list */
    uint64_t deadline_ns; /* 0: none */
    int32_t fd;
    uint16_t wheel; /* timer slot, UINT16_MAX when not armed */
    uint8_t state;
    uint8_t listener;
    uint8_t *buf; /* received, not yet consumed bytes */
    uint32_t buf_len, buf_cap;
    ev_http1_scan scan;
    ev_body *body;
    uint64_t arrival_ns;  /* first byte of the request being read */
    uint32_t slab;        /* request in flight, or EV_NO_SLAB */
    uint64_t out_sent;    /* bytes of this response, head included */
    uint64_t progress_ns; /* when the client last took something of this response */
    uint8_t *pending;     /* bytes to send before the window: the rest of a head or of an answer of our own */
    uint32_t pending_off, pending_len;
    uint32_t unacknowledged; /* bytes in the kernel when it was last asked */
    uint16_t status;         /* of the response being written; 0: none yet */
    uint16_t addr_port;
    uint8_t family;
    uint8_t addr[16];
    bool keep_alive : 1;
    bool early_eof : 1;  /* ... together with its request: it half-closes, and wants the answer */
    bool readable : 1;   /* the kernel may have more input (edge-triggered) */
    bool writable : 1;   /* the last send did not hit EAGAIN */
    bool eof : 1;        /* the client closed its side */
    bool dirty : 1;      /* on the list of connections to go on with */
    bool answered : 1;   /* the response's head has been put on its way */
    bool own_answer : 1; /* the answer being written is the gateway's */
    bool counted : 1;    /* the request has its place in the conservation law already */
    bool head_only : 1;
    bool minor0 : 1; /* HTTP/1.0 */
    bool log_owed : 1;
    bool muted : 1;  /* its window is full: input is not listened for */
    bool served : 1; /* has had a response: being closed while idle is what its client expects */
    uint32_t discard_left;
};

/* What the gateway alone knows of a slab. */
typedef struct {
    ev_conn *conn;    /* NULL: orphaned, waits for the worker's FINAL */
    bool worker_done; /* FINAL seen (or never handed over) */
    bool finished;    /* a worker has run it to the end; what is left is to write its answer */
    bool queued;      /* in the central queue */
    bool fetching;    /* a part of its file is being read from disk */
    bool fetched;     /* ... and has been: to be sent without another look */
    bool fat;         /* free, and its windows keep their pages */
    int file_fd;      /* + 1; 0: none; passed by the worker for its response */
} ev_slab_priv;

/* FIFO of generation << 32 | slab; stale entries are skipped. */
typedef struct {
    uint64_t *entry;
    uint32_t head, tail, live;
} ev_queue;

typedef struct {
    uint32_t seen;      /* generation << 4 | state acted upon last */
    uint32_t pend_wake; /* wake-ups owed at the end of this turn */
    uint32_t last_head; /* head ticket of its request ring at the last stall check */
} ev_worker_priv;

struct ev_engine {
    ev_segment *seg;
    ev_header *hdr;
    ev_counters *cnt;
    uint32_t io;
    int epfd;
    uint64_t now_ns;
    uint32_t slab_base, n_slabs;
    uint32_t *free_slabs;
    uint32_t n_free, fat_free;
    ev_slab_priv *priv;
    ev_queue central[2]; /* costly requests have the second one */
    uint32_t central_cap;
    uint64_t *costly; /* those offered to the workers and not claimed when they were last counted, as in a queue */
    uint32_t n_costly;
    uint64_t core_since_ns; /* since when the next costly one could have a core, and waits for a better thread; or 0 */
    ev_worker_priv *workers;
    ev_conn *wheel[EV_WHEEL];
    uint64_t wheel_bits[EV_WHEEL / 64];
    uint64_t wheel_tick;
    ev_conn *dirty;
    ev_conn *graveyard; /* closed in this turn; freed at its end */
    ev_conn *spare;     /* freed connection records */
    uint32_t n_spare;
    uint32_t open;
    bool draining;
    bool shut;     /* the listening sockets are */
    bool given_up; /* on what was not answered within the grace time */
    bool accepting;
    bool accept_paused;
    uint64_t accept_retry_ns;
    uint32_t n_listeners;
    int listener_fd[EV_MAX_LISTENERS];
    uint64_t stall_ns; /* when to look for stalled workers; 0: nothing to look for */
    char date[40];     /* "Date: ...\r\n" */
    uint32_t date_len;
    uint64_t date_sec;
    char ok_prefix[160]; /* "HTTP/1.1 200 OK\r\n" + date + server */
    uint32_t ok_prefix_len;
    char server_line[80];
    uint32_t server_len;
    ev_accesslog *log;
    ev_fetcher *fetcher;    /* NULL until it is needed */
    int spare_fd;           /* given up to refuse a connection when descriptors run out */
    ev_http1_head tmp_head; /* when there is no slab to parse into */
    /* While a request without a slab is being refused: what its line in the access log shall say (else NULL). */
    const uint8_t *refused_head;
    const ev_http1_head *refused_parsed;
    uint8_t scratch[EV_SCRATCH];
};

static inline bool ev_worker_serves(const ev_engine *e, uint32_t w)
{
    return (e->workers[w].seen & 15) == EV_WORKER_READY;
}

/* In one stretch of Python for so long that it will hardly come round soon. Whatever else its process does in Python
 * waits for the interpreter lock, at least until the switch interval is over. */
static inline bool ev_thread_is_burning(const ev_engine *e, const ev_thread_slot *th)
{
    return atomic_load_explicit(&((ev_thread_slot *)th)->current, memory_order_relaxed) &&
           e->now_ns >=
               atomic_load_explicit(&((ev_thread_slot *)th)->current_since_ns, memory_order_relaxed) + EV_BURNING_NS;
}

static inline bool ev_thread_has_requests(const ev_thread_slot *th)
{
    return atomic_load_explicit(&((ev_thread_slot *)th)->active, memory_order_relaxed) != 0;
}

/* engine.c */
int ev_engine_open(ev_engine *e, ev_segment *seg, uint32_t io, ev_accesslog *log);
void ev_engine_close(ev_engine *e);
/* One turn: waits at most timeout_ns (-1: until something happens, 0: not at all). Number of epoll events. */
int ev_engine_turn(ev_engine *e, int64_t timeout_ns);
/* Nanoseconds until the next deadline, -1 when none. */
int64_t ev_engine_next_deadline(ev_engine *e);
bool ev_engine_drained(const ev_engine *e);
void ev_engine_mark_dirty(ev_engine *e, ev_conn *c);

/* listener.c */
void ev_listen_start(ev_engine *e);
void ev_listen_stop(ev_engine *e);
void ev_listen_accept(ev_engine *e, uint32_t index);
void ev_listen_retry(ev_engine *e);
void ev_listen_shut(ev_engine *e);

/* conn.c */
ev_conn *ev_conn_new(ev_engine *e, int fd, uint8_t listener, const struct sockaddr *addr);
void ev_conn_event(ev_engine *e, ev_conn *c, uint32_t events);
void ev_conn_continue(ev_engine *e, ev_conn *c); /* goes on with a dirty connection */
void ev_conn_close(ev_engine *e, ev_conn *c);
void ev_conn_drain(ev_engine *e, ev_conn *c);        /* closes it when it is idle */
void ev_conn_request_done(ev_engine *e, ev_conn *c); /* response written completely */
void ev_conn_timeout(ev_engine *e, ev_conn *c);
void ev_conn_give_up(ev_engine *e, ev_conn *c);   /* 503, if that can still be said; then it ends */
void ev_conn_want_body(ev_engine *e, ev_conn *c); /* the worker has room, or waits for input */

/* Takes the request out of flight in the conservation law, under this name; once per request. */
void ev_settle(ev_conn *c, _Atomic uint64_t *counter);

/* body.c */
bool ev_conn_grow(ev_engine *e, ev_conn *c, uint32_t need);
void ev_conn_release_buffer(ev_engine *e, ev_conn *c);
/* Starts collecting (whole) or streaming the body of the request whose head is at hand. False: out of memory. */
bool ev_body_start(ev_engine *e, ev_conn *c, const ev_http1_head *head, const uint8_t *raw_head, uint64_t max_body,
                   bool streaming);
/* Consumes body bytes; returns how many. Sets *end when the body is complete; on a framing error, an excess of size or
 * memory *error is the status to answer with. */
uint32_t ev_body_feed(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t len, bool *end, int *error,
                      const char **reason);
void ev_body_free(ev_engine *e, ev_conn *c);
void ev_body_drop_collected(ev_engine *e, ev_body *b);
uint64_t ev_body_deadline(const ev_engine *e, const ev_body *b);
/* Room in the window; when there is none, says so to the worker, who will notify. */
bool ev_body_has_room(ev_engine *e, ev_conn *c);
void ev_body_unmute(ev_engine *e, ev_conn *c);   /* for who reads on with the window full */
void ev_body_announce(ev_engine *e, ev_conn *c); /* tells a waiting worker that there is more, or the end */

/* respond.c */
/* Answers by the gateway itself; close: half-close and drain afterwards. */
void ev_respond(ev_engine *e, ev_conn *c, int status, const char *reason, bool close_after);
void ev_refresh_date(ev_engine *e);
/* Status line, Date, Server, Connection; returns its length. */
uint32_t ev_prefix(ev_engine *e, const ev_conn *c, uint32_t status, uint32_t out_flags, bool keep_alive, char *dst);

/* output.c */
void ev_output(ev_engine *e, ev_conn *c);       /* writes as much as the socket takes */
bool ev_output_taken(ev_engine *e, ev_conn *c); /* the client took something since it was last asked */
void ev_output_fetched(ev_engine *e);           /* goes on with files whose next part has been read */
/* Sends these bytes now, or what remains of them before anything else. False: the connection is closed. */
bool ev_output_bytes(ev_engine *e, ev_conn *c, const uint8_t *p, uint32_t n);

/* queue.c */
bool ev_queue_open(ev_engine *e); /* false: out of memory */
void ev_queue_close(ev_engine *e);
bool ev_queue_is_full(ev_engine *e, uint32_t slab); /* the one that this slab would go to */
void ev_queue_put(ev_engine *e, uint32_t slab, bool front);
void ev_queue_forget(ev_engine *e, uint32_t slab); /* it waits no more, if it did */
/* The one whose turn it is, to be taken if there is a worker for it. *core: true, for the first of a series of calls.
 */
bool ev_queue_next(ev_engine *e, bool *core, uint32_t *slab);
void ev_queue_take(ev_engine *e, uint32_t slab);
bool ev_queue_waits_for_core(const ev_engine *e);

/* dispatch.c */
uint32_t ev_slab_alloc(ev_engine *e);
void ev_slab_release(ev_engine *e, uint32_t slab);
bool ev_dispatch_enqueue(ev_engine *e, ev_conn *c, uint32_t slab);
void ev_dispatch_prepare(ev_slab *s); /* makes the response part fresh for a (first or second) hand-over */
void ev_dispatch_requeue(ev_engine *e, uint32_t slab);
void ev_dispatch(ev_engine *e);
void ev_dispatch_flush_wakes(ev_engine *e);
/* Takes a request back. True when no worker is at it or has finished it. */
bool ev_recall(ev_engine *e, uint32_t slab);
void ev_notify_worker(ev_engine *e, uint32_t slab);
void ev_orphan(ev_engine *e, ev_conn *c, uint32_t gone);
bool ev_stall_check(ev_engine *e);

/* workers.c */
void ev_workers_scan(ev_engine *e);     /* acts upon changed slot states */
int ev_workers_collect(ev_engine *e);   /* processes the return rings */
bool ev_workers_ready(ev_engine *e);    /* a return ring has something */
void ev_workers_takeover(ev_engine *e); /* after a predecessor died: takes its slabs and rings over */

void ev_receive_files(ev_engine *e, int sock);

/* timers.c */
void ev_timer_set(ev_engine *e, ev_conn *c, uint64_t deadline_ns);
void ev_timer_clear(ev_engine *e, ev_conn *c);
void ev_timers_run(ev_engine *e);
uint64_t ev_timers_next(ev_engine *e); /* absolute ns, UINT64_MAX: none */

#endif
