# The parts of the C core that the binding uses.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "efio/native/atomics.h" nogil:
    uint64_t efio_now_ns()
    uint64_t efio_thread_cpu_ns()


cdef extern from "efio/native/wake.h" nogil:
    ctypedef struct efio_waker:
        int32_t fd
    void efio_wake_prepare(efio_waker *w)
    void efio_wake_cancel(efio_waker *w)
    void efio_wake_ring(efio_waker *w)
    bint efio_wake_notify(efio_waker *w)
    bint efio_wake_is_sleeping(efio_waker *w)


cdef extern from "efio/native/slabs.h" nogil:
    enum:
        EFIO_SLAB_FREE
        EFIO_SLAB_CLAIMED
    uint32_t efio_cookie_state(uint64_t c)


cdef extern from "evpy/gateway/http1.h" nogil:
    ctypedef struct ev_field:
        uint16_t name, name_len, value, value_len
    ctypedef struct ev_http1_head:
        uint64_t content_length
        uint16_t method_off, method_len, target_off, target_len, path_off, path_len, query_off, query_len
        uint16_t host_off, host_len, n_fields
        uint8_t method, minor, body
        bint has_query, https_authority
        ev_field field[100]
    enum:
        EV_HEAD_METHOD "EV_HEAD"
        EV_GET
        EV_BODY_NONE
        EV_BODY_LENGTH


cdef extern from "evpy/native/shared.h" nogil:
    # Atomic fields are reached through these: Cython knows no _Atomic.
    uint32_t ev_load32(void *field)
    uint64_t ev_load64(void *field)
    void ev_store32(void *field, uint32_t value)
    void ev_store64(void *field, uint64_t value)
    void ev_add64(void *field, uint64_t n)


cdef extern from "evpy/native/bodylimits.h" nogil:
    ctypedef struct ev_body_table:
        pass
    ctypedef struct ev_body_limits:
        pass
    ev_body_table *ev_body_limits_draft(ev_body_limits *l, uint64_t bytes)
    bint ev_body_limits_add(ev_body_table *t, const char *path, size_t n, uint64_t bytes)
    void ev_body_limits_publish(ev_body_limits *l)

cdef extern from "evpy/native/costs.h" nogil:
    ctypedef struct ev_costs:
        pass
    enum:
        EV_UNMEASURED
    bint ev_cost_is_suspect(ev_costs *t, uint32_t kind, uint32_t least)
    void ev_cost_learn(ev_costs *t, uint32_t kind, uint32_t least, uint64_t wall, uint64_t cpu)

cdef extern from "evpy/native/layout.h" nogil:
    ctypedef struct ev_slab:
        uint32_t kind, cost
        uint64_t cookie, id, arrival_ns, deadline_ns, max_body, body_len
        uint8_t tries, body_whole, client_family, listener
        uint16_t client_port
        uint8_t client_addr[16]
        ev_http1_head head
        uint32_t gone, in_flags, ctl_pending
    ctypedef struct ev_thread_slot:
        efio_waker wake
        uint32_t state, tid, active, ctl_overflow
        uint64_t tick, ping_ns, current, current_since_ns
        uint32_t cost
        uint64_t taken, stolen, finished, failed, expired, greenlets, wait_ns
    ctypedef struct ev_worker_slot:
        uint32_t state, generation, killed, threads
        int32_t pid
        uint64_t heartbeat_ns
        uint32_t acked[8]
        int32_t fd_worker[8]
        int32_t fd_gateway[8]
        ev_thread_slot thread[16]
    ctypedef struct ev_counters:
        uint64_t heartbeat_ns
    ctypedef struct ev_header:
        uint32_t io_threads, slots, threads, slabs, concurrency
        uint64_t header_timeout, body_timeout, body_rate, body_rate_grace, handler_timeout, send_timeout, keepalive
        uint64_t time_slice
        uint32_t costly, cores
        ev_costs costs
        ev_body_limits body_limits
        uint64_t max_buffered
        uint32_t max_connections, listeners
        int32_t listener_fd[16]
        uint8_t listener_https[16]
        uint8_t listener_own[16]
        char listener_name[16][128]
        char server_header[64]
        int32_t access_log_fd
        uint32_t access_log_json, access_log_turn, inline_mode, echo
        uint32_t gateway_epoch, gateway_mode
        int32_t gateway_pid
        efio_waker io_wake[8]
        ev_counters counters[8]
    ctypedef struct ev_segment:
        uint8_t *base
        ev_header *hdr
        int fd
    ctypedef struct ev_shape:
        uint32_t io_threads, slots, threads, slabs, concurrency, queue_limit, depth
    enum:
        EV_MAX_IO
        EV_MAX_THREADS
        EV_MAX_LISTENERS
        EV_RUN
        EV_DRAIN
        EV_STOP
        EV_GIVE_UP
        EV_WORKER_EMPTY
        EV_WORKER_STARTING
        EV_WORKER_READY
        EV_WORKER_DRAINING
        EV_WORKER_DEAD
        EV_THREAD_UNUSED
        EV_THREAD_RUNNING
        EV_THREAD_BLOCKED
        EV_GONE_CLIENT
        EV_GONE_DEADLINE
        EV_GONE_DEAD
        EV_IN_END
        EV_MAX_HEAD
    int ev_segment_create(ev_segment *s, const ev_shape *shape, const char *name)
    int ev_segment_attach(ev_segment *s, int fd)
    void ev_segment_unmap(ev_segment *s)
    ev_worker_slot *ev_worker_at(ev_segment *s, uint32_t w)
    ev_slab *ev_slab_at(ev_segment *s, uint32_t i)
    uint8_t *ev_slab_head(ev_segment *s, uint32_t i)
    uint32_t ev_msg_slab(uint64_t m)
    uint32_t ev_msg_gen(uint64_t m)
    uint32_t ev_cookie_worker(uint64_t c)
    uint32_t ev_cookie_thread(uint64_t c)


cdef extern from "evpy/native/worker.h" nogil:
    ctypedef struct ev_sched:
        ev_segment *seg
        ev_worker_slot *slot
        ev_thread_slot *thread
        uint32_t w, t, owed
    ctypedef struct ev_resp:
        uint64_t length, written
        uint32_t pos, flags
        bint chunked, no_body, started, ended, has_length, has_type
    ctypedef struct ev_heartbeat:
        bint running
    ctypedef enum ev_read_result:
        EV_READ_OK
        EV_READ_END
        EV_READ_WAIT
        EV_READ_TOO_LARGE
        EV_READ_BROKEN
    ctypedef enum ev_field_result:
        EV_FIELD_OK
        EV_FIELD_BAD_NAME
        EV_FIELD_BAD_VALUE
        EV_FIELD_FORBIDDEN
        EV_FIELD_BAD_LENGTH
        EV_FIELD_TOO_MUCH
    void ev_sched_init(ev_sched *s, ev_segment *seg, uint32_t slot, uint32_t thread)
    bint ev_sched_take(ev_sched *s, uint64_t *msg)
    bint ev_sched_notified(ev_sched *s, uint64_t *msg)
    bint ev_sched_has_work(ev_sched *s)
    void ev_sched_flush(ev_sched *s)
    void ev_sched_burns(ev_sched *s, uint32_t cost)
    void ev_sched_final(ev_sched *s, uint64_t msg)
    ev_read_result ev_body_read(ev_sched *s, uint32_t slab, uint8_t *dst, size_t n, size_t *got)
    size_t ev_body_available(ev_sched *s, uint32_t slab)
    void ev_resp_begin(ev_resp *r)
    ev_field_result ev_resp_field(ev_sched *s, uint32_t slab, ev_resp *r, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
    void ev_resp_head(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, uint64_t length)
    size_t ev_resp_write(ev_sched *s, uint32_t slab, ev_resp *r, const uint8_t *p, size_t n)
    bint ev_resp_want_room(ev_sched *s, uint32_t slab)
    void ev_resp_publish(ev_sched *s, uint32_t slab, ev_resp *r)
    bint ev_resp_end(ev_sched *s, uint32_t slab, ev_resp *r)
    void ev_resp_abort(ev_sched *s, uint32_t slab, ev_resp *r)
    int ev_resp_file(ev_sched *s, uint64_t msg, ev_resp *r, int fd, uint64_t offset, uint64_t length)
    bint ev_resp_simple(ev_sched *s, uint32_t slab, ev_resp *r, uint32_t status, const char *lines, size_t lines_len,
                        const uint8_t *body, size_t n)
    int ev_heartbeat_start(ev_heartbeat *h, ev_segment *seg, uint32_t slot, uint64_t interval_ns, uint64_t ping_ns)
    void ev_heartbeat_stop(ev_heartbeat *h)


cdef extern from "evpy/native/shared.h" nogil:
    int ev_shared_open(ev_segment *s)
    void ev_shared_close(ev_segment *s)
    uint32_t ev_begin_worker(ev_segment *s, uint32_t w)
    void ev_set_worker_state(ev_segment *s, uint32_t w, uint32_t state)
    void ev_worker_is_ready(ev_segment *s, uint32_t w)
    bint ev_worker_acked(ev_segment *s, uint32_t w, uint32_t state)
    void ev_wake_gateway(ev_segment *s)
    ctypedef struct ev_counter_name:
        const char *name
        uint32_t offset
    const ev_counter_name *ev_counter_names()


cdef extern from "evpy/native/timeslice.h" nogil:
    int ev_set_time_slice(uint64_t ns)

cdef extern from "evpy/gateway/engine.h" nogil:
    ctypedef struct ev_engine:
        int epfd
        uint32_t open
    int ev_engine_open(ev_engine *e, ev_segment *seg, uint32_t io, void *log)
    void ev_engine_close(ev_engine *e)
    int ev_engine_turn(ev_engine *e, int64_t timeout_ns)
    int64_t ev_engine_next_deadline(ev_engine *e)
    bint ev_engine_drained(const ev_engine *e)
    void *ev_accesslog_open(int fd, bint json)
    void ev_accesslog_close(void *log)
