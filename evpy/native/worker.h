/* The worker's side of the segment: claiming requests, reading their bodies, writing responses. Knows no Python.
 *
 * All functions are called by the scheduler thread that owns the ev_sched; none blocks. Where there is nothing to read
 * or no room to write they say so, the caller parks its greenlet, and a NOTIFY on the control ring wakes it. */
#ifndef EVPY_WORKER_H
#define EVPY_WORKER_H

#include <pthread.h>

#include "evpy/native/layout.h"

typedef struct {
    ev_segment *seg;
    ev_worker_slot *slot;
    ev_thread_slot *thread;
    uint32_t w, t;
    uint32_t io_turn; /* which I/O thread's ring to look at first: fair among them */
    uint32_t owed;    /* I/O threads (bits) that have unannounced messages */
} ev_sched;

void ev_sched_init(ev_sched *s, ev_segment *seg, uint32_t slot, uint32_t thread);

/* Claims the next request: from this worker's own rings, then from those of others. Sets *msg (slab and generation). */
bool ev_sched_take(ev_sched *s, uint64_t *msg);
/* Next NOTIFY for this thread. */
bool ev_sched_notified(ev_sched *s, uint64_t *msg);
/* True when take or notified would find something: the recheck after efio_wake_prepare. */
bool ev_sched_has_work(ev_sched *s);
/* Wakes the I/O threads that have something to collect. */
void ev_sched_flush(ev_sched *s);
/* What this thread is at from now on: a request of this cost, or nothing costly (0). Costly requests that wait for a
 * core are told when there is one. */
void ev_sched_burns(ev_sched *s, uint32_t cost);

/* --- request body */
typedef enum { EV_READ_OK, EV_READ_END, EV_READ_WAIT, EV_READ_TOO_LARGE, EV_READ_BROKEN } ev_read_result;
/* Copies at most n bytes; EV_READ_WAIT: nothing there yet, a NOTIFY will come. */
ev_read_result ev_body_read(ev_sched *s, uint32_t slab, uint8_t *dst, size_t n, size_t *got);

/* Bytes that a read would find now. */
size_t ev_body_available(ev_sched *s, uint32_t slab);

/* --- response */
typedef struct {
    uint64_t length; /* announced body bytes; UINT64_MAX: unknown */
    uint64_t written;
    uint32_t pos;   /* while the head is being built */
    uint32_t flags; /* ev_slab.out_flags to be */
    bool chunked, no_body, started, ended;
    bool has_length, has_type;
} ev_resp;

typedef enum {
    EV_FIELD_OK,
    EV_FIELD_BAD_NAME,
    EV_FIELD_BAD_VALUE,
    EV_FIELD_FORBIDDEN, /* Transfer-Encoding: the server frames */
    EV_FIELD_BAD_LENGTH,
    EV_FIELD_TOO_MUCH, /* over EV_MAX_RESPONSE_HEAD */
} ev_field_result;
#define EV_MAX_RESPONSE_HEAD 65536u

void ev_resp_begin(ev_resp *r);
/* Adds a field line; Content-Length, Connection, Date and Server are understood. */
ev_field_result ev_resp_field(ev_sched *s, uint32_t slab, ev_resp *r, const char *name, size_t name_len,
                              const char *value, size_t value_len);
/* Ends the head: framing by status, method, version and length (UINT64_MAX: unknown). Publishes nothing yet. */
void ev_resp_head(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, uint64_t length);
/* Writes what fits, framed; returns how many bytes of p were taken. Never more than the announced length. */
size_t ev_resp_write(ev_sched *s, uint32_t slab, ev_resp *r, const uint8_t *p, size_t n);
/* Asks for a NOTIFY when there is room. False: there is room already. */
bool ev_resp_want_room(ev_sched *s, uint32_t slab);
/* Lets the gateway look at what was written. */
void ev_resp_publish(ev_sched *s, uint32_t slab, ev_resp *r);
/* Ends the response. False: no room yet for the last chunk, wait for room and call again. */
bool ev_resp_end(ev_sched *s, uint32_t slab, ev_resp *r);
/* Breaks it off: the connection will be closed. */
void ev_resp_abort(ev_sched *s, uint32_t slab, ev_resp *r);
/* A file follows the head: the descriptor travels over the socket pair. 0 or -errno. */
int ev_resp_file(ev_sched *s, uint64_t msg, ev_resp *r, int fd, uint64_t offset, uint64_t length);
/* A complete response in one go; field_line is one or more complete lines. False: body too long for the window. */
bool ev_resp_simple(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, const char *field_lines, size_t lines_len,
                    const uint8_t *body, size_t n);
/* The last word about a request: the slab must not be touched any more. */
void ev_sched_final(ev_sched *s, uint64_t msg);

/* --- liveness: a native thread that writes the heart-beat and asks the schedulers for ticks */
typedef struct {
    ev_segment *seg;
    ev_worker_slot *slot;
    uint64_t interval_ns, ping_ns;
    pthread_t thread;
    int stop_fd;
    bool running;
} ev_heartbeat;
int ev_heartbeat_start(ev_heartbeat *h, ev_segment *seg, uint32_t slot, uint64_t interval_ns, uint64_t ping_ns);
void ev_heartbeat_stop(ev_heartbeat *h);

#endif
