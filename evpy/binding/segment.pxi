# The segment as supervisor, workers and tests see it.

cdef int _check(int r, str what) except -1:
    if r < 0:
        raise OSError(-r, f"{what}: {strerror(-r).decode()}")
    return r


cdef uint64_t _ns(double seconds) except? 0:
    if seconds < 0:
        raise ValueError(f"a time must not be negative: {seconds} s")
    return <uint64_t>(seconds * 1e9)


cdef object _slab_line(ev_segment *seg, uint32_t i, uint64_t now):
    """Method, target and age of the request in a slab."""
    cdef ev_slab *s = ev_slab_at(seg, i)
    cdef const char *head = <const char *>ev_slab_head(seg, i)
    cdef double age = (now - s.arrival_ns) / 1e9 if now > s.arrival_ns else 0.0
    return {
        "id": f"{s.id:016x}",
        "method": PyUnicode_DecodeLatin1(head + s.head.method_off, s.head.method_len, NULL),
        "target": PyUnicode_DecodeLatin1(head + s.head.target_off, s.head.target_len, NULL),
        "thread": ev_cookie_thread(ev_load64(&s.cookie)),
        "age": age,
        "tries": s.tries,
    }


cdef class Segment:
    cdef ev_segment seg
    cdef bint mapped, owner, no_gateway

    def __cinit__(self):
        memset(&self.seg, 0, sizeof(self.seg))
        self.seg.fd = -1

    @classmethod
    def create(cls, *, uint32_t io_threads, uint32_t slots, uint32_t threads, uint32_t slabs, uint32_t concurrency,
               uint32_t queue_limit, uint32_t depth, bint shared=True):
        cdef Segment self = cls.__new__(cls)
        cdef ev_shape shape
        shape.io_threads = io_threads
        shape.slots = slots
        shape.threads = threads
        shape.slabs = slabs
        shape.concurrency = concurrency
        shape.queue_limit = queue_limit
        shape.depth = depth
        cdef const char *name = "evpy"
        cdef int r = ev_segment_create(&self.seg, &shape, name if shared else NULL)
        if r == -22:
            raise ValueError("the segment's shape is out of range: "
                             f"{io_threads=} (1-8) {slots=} (1-512) {threads=} (1-16) {slabs=} {depth=}")
        _check(r, "cannot create the shared segment")
        self.mapped = self.owner = True
        self.seg.hdr.inline_mode = not shared
        # ids differ from those of the last start: logs of both are often read together
        ev_store64(self._next_id(), int.from_bytes(os.urandom(5), "big") << 24 | 1)
        r = ev_shared_open(&self.seg)
        if r < 0:
            self.close()
            _check(r, "cannot create the wake-ups of the shared segment")
        return self

    cdef void *_next_id(self):
        return &(<NextId *>self.seg.hdr).next_id

    @classmethod
    def attach(cls, int fd):
        cdef Segment self = cls.__new__(cls)
        _check(ev_segment_attach(&self.seg, fd), f"descriptor {fd} is not a segment of this version")
        self.mapped = True
        return self

    def close(self):
        if not self.mapped:
            return
        self.mapped = False
        if self.owner:
            ev_shared_close(&self.seg)
        cdef int fd = self.seg.fd
        ev_segment_unmap(&self.seg)
        if fd >= 0 and self.owner:
            os.close(fd)

    cdef int _slot(self, int slot) except -1:
        if not self.mapped:
            raise ValueError("the segment is closed")
        if slot < 0 or <uint32_t>slot >= self.seg.hdr.slots:
            raise IndexError(f"worker slot {slot}: there are {self.seg.hdr.slots}")
        return slot

    @property
    def fd(self):
        return self.seg.fd

    @property
    def io_threads(self):
        return self.seg.hdr.io_threads

    @property
    def slots(self):
        return self.seg.hdr.slots

    @property
    def threads(self):
        return self.seg.hdr.threads

    @property
    def slabs(self):
        """Slabs of one I/O thread."""
        return self.seg.hdr.slabs

    def configure(self, *, double header_timeout, double body_timeout, uint64_t body_rate, double body_rate_grace,
                  double handler_timeout, double send_timeout, double keepalive, uint64_t max_body, list max_body_at, uint64_t max_buffered,
                  uint32_t max_connections, double time_slice, double costly, uint32_t cores, str server_header, int access_log_fd, bint access_log_json, bint echo=False):
        cdef ev_header *h = self.seg.hdr
        h.header_timeout = _ns(header_timeout)
        h.body_timeout = _ns(body_timeout)
        h.body_rate = body_rate
        h.body_rate_grace = _ns(body_rate_grace)
        h.handler_timeout = _ns(handler_timeout)
        h.send_timeout = _ns(send_timeout)
        h.keepalive = _ns(keepalive)
        cdef ev_body_table *limits = ev_body_limits_draft(&h.body_limits, max_body)
        for path, size in max_body_at:
            text = path.encode("ascii")
            if not ev_body_limits_add(limits, text, len(text), size):
                raise ValueError(f"{path!r}: too many body limits, or too long a path")
        ev_body_limits_publish(&h.body_limits)
        h.max_buffered = max_buffered
        h.max_connections = max_connections
        h.time_slice = _ns(time_slice)
        h.costly = <uint32_t>(costly * 1e6)
        h.cores = cores
        name = server_header.encode("ascii")
        if len(name) > 63 or not name.decode().isprintable():
            raise ValueError(f"server header {server_header!r}: at most 63 printable ASCII characters")
        strncpy(h.server_header, name, 63)
        h.access_log_fd = access_log_fd
        h.access_log_json = access_log_json
        h.echo = echo

    def access_log_reopened(self):
        """The descriptor of the access log leads to another file now: the gateway is to follow."""
        ev_store32(&self.seg.hdr.access_log_turn, ev_load32(&self.seg.hdr.access_log_turn) + 1)
        ev_wake_gateway(&self.seg)

    def add_listener(self, int fd, str name, *, bint https=False, bint own=True):
        cdef ev_header *h = self.seg.hdr
        cdef uint32_t n = h.listeners
        if n >= EV_MAX_LISTENERS:
            raise ValueError(f"cannot listen on {name}: at most {EV_MAX_LISTENERS} addresses")
        h.listener_fd[n] = fd
        h.listener_https[n] = https
        h.listener_own[n] = own
        text = name.encode()[:127]
        strncpy(h.listener_name[n], text, 127)
        h.listeners = n + 1

    def worker_fds(self, int slot):
        cdef ev_worker_slot *w = ev_worker_at(&self.seg, self._slot(slot))
        fds = [self.seg.fd]
        fds += [self.seg.hdr.io_wake[io].fd for io in range(self.seg.hdr.io_threads)]
        fds += [w.thread[t].wake.fd for t in range(self.seg.hdr.threads)]
        fds += [w.fd_worker[io] for io in range(self.seg.hdr.io_threads)]
        return fds

    def gateway_fds(self):
        cdef ev_worker_slot *w
        fds = [self.seg.fd]
        fds += [self.seg.hdr.io_wake[io].fd for io in range(self.seg.hdr.io_threads)]
        fds += [self.seg.hdr.listener_fd[i] for i in range(self.seg.hdr.listeners)]
        for slot in range(self.seg.hdr.slots):
            w = ev_worker_at(&self.seg, slot)
            fds += [w.thread[t].wake.fd for t in range(self.seg.hdr.threads)]
            fds += [w.fd_gateway[io] for io in range(self.seg.hdr.io_threads)]
        if self.seg.hdr.access_log_fd >= 0:
            fds.append(self.seg.hdr.access_log_fd)
        return sorted(set(fds))

    def begin_worker(self, int slot):
        cdef uint32_t state = self.worker_state(slot)
        if state != EV_WORKER_EMPTY and not (state == EV_WORKER_DEAD and self.worker_acked(slot, EV_WORKER_DEAD)):
            raise RuntimeError(f"worker slot {slot} is in use")
        return ev_begin_worker(&self.seg, slot)

    def worker_state(self, int slot):
        return ev_load32(&ev_worker_at(&self.seg, self._slot(slot)).state)

    def set_worker_state(self, int slot, uint32_t state, bint killed=False):
        if killed:
            ev_store32(&ev_worker_at(&self.seg, self._slot(slot)).killed, 1)
        ev_set_worker_state(&self.seg, self._slot(slot), state)

    def worker_acked(self, int slot, uint32_t state):
        self._slot(slot)
        return self.no_gateway or ev_worker_acked(&self.seg, slot, state)

    def set_worker_pid(self, int slot, int pid):
        ev_store32(&ev_worker_at(&self.seg, self._slot(slot)).pid, pid)

    def worker_info(self, int slot):
        cdef ev_worker_slot *w = ev_worker_at(&self.seg, self._slot(slot))
        cdef ev_thread_slot *t
        cdef uint64_t now = efio_now_ns(), beat = ev_load64(&w.heartbeat_ns), ping, cur
        threads = []
        active = taken = finished = 0
        for i in range(self.seg.hdr.threads):
            t = &w.thread[i]
            if ev_load32(&t.state) == EV_THREAD_UNUSED:
                continue
            ping = ev_load64(&t.ping_ns)
            cur = ev_load64(&t.current)
            current = None
            if cur and ev_msg_slab(cur) < self.seg.hdr.slabs * self.seg.hdr.io_threads:
                current = f"{ev_slab_at(&self.seg, ev_msg_slab(cur)).id:016x}"
            threads.append({
                "index": i,
                "state": "running" if ev_load32(&t.state) == EV_THREAD_RUNNING else "blocked",
                "tid": ev_load32(&t.tid),
                "active": ev_load32(&t.active),
                "tick": ev_load64(&t.tick),
                "blocked_for": (now - ping) / 1e9 if ping and now > ping else 0.0,
                "current": current,
                "taken": ev_load64(&t.taken),
                "stolen": ev_load64(&t.stolen),
                "finished": ev_load64(&t.finished),
                "failed": ev_load64(&t.failed),
                "expired": ev_load64(&t.expired),
                "greenlets": ev_load64(&t.greenlets),
                "wait": ev_load64(&t.wait_ns) / 1e9,
            })
            active += ev_load32(&t.active)
            taken += ev_load64(&t.taken)
            finished += ev_load64(&t.finished)
        return {
            "state": ev_load32(&w.state),
            "generation": ev_load32(&w.generation),
            "pid": <int32_t>ev_load32(&w.pid),
            "heartbeat_age": (now - beat) / 1e9 if beat and now > beat else (0.0 if beat else None),
            "active": active,
            "taken": taken,
            "finished": finished,
            "threads": threads,
        }

    def requests_of(self, int slot):
        self._slot(slot)
        cdef uint32_t i
        cdef uint64_t cookie, now = efio_now_ns()
        found = []
        for i in range(self.seg.hdr.slabs * self.seg.hdr.io_threads):
            cookie = ev_load64(&ev_slab_at(&self.seg, i).cookie)
            if efio_cookie_state(cookie) == EFIO_SLAB_CLAIMED and ev_cookie_worker(cookie) == <uint32_t>slot:
                found.append(_slab_line(&self.seg, i, now))
        found.sort(key=lambda line: -line["age"])
        return found

    def slabs_in_use(self):
        cdef uint32_t i, n = 0
        for i in range(self.seg.hdr.slabs * self.seg.hdr.io_threads):
            if efio_cookie_state(ev_load64(&ev_slab_at(&self.seg, i).cookie)) != EFIO_SLAB_FREE:
                n += 1
        return n

    def counters_of(self, int io_thread):
        if io_thread < 0 or <uint32_t>io_thread >= self.seg.hdr.io_threads:
            raise IndexError(f"I/O thread {io_thread}: there are {self.seg.hdr.io_threads}")
        cdef const ev_counter_name *name = ev_counter_names()
        cdef char *base = <char *>&self.seg.hdr.counters[io_thread]
        found = {}
        while name.name != NULL:
            found[name.name.decode()] = ev_load64(base + name.offset)
            name += 1
        return found

    def counters(self):
        total = self.counters_of(0)
        for io in range(1, self.seg.hdr.io_threads):
            for key, value in self.counters_of(io).items():
                total[key] += value
        return total

    def set_running(self):
        ev_store32(&self.seg.hdr.gateway_mode, EV_RUN)

    def set_draining(self, bint stop):
        ev_store32(&self.seg.hdr.gateway_mode, EV_STOP if stop else EV_DRAIN)
        ev_wake_gateway(&self.seg)

    def give_up(self):
        ev_store32(&self.seg.hdr.gateway_mode, EV_GIVE_UP)
        ev_wake_gateway(&self.seg)

    @property
    def gateway_pid(self):
        return <int32_t>ev_load32(&self.seg.hdr.gateway_pid)

    def gateway_heartbeat_age(self):
        cdef uint64_t now = efio_now_ns(), oldest = 0, beat
        for io in range(self.seg.hdr.io_threads):
            beat = ev_load64(&self.seg.hdr.counters[io].heartbeat_ns)
            if not beat:
                return None
            if not oldest or beat < oldest:
                oldest = beat
        return (now - oldest) / 1e9 if now > oldest else 0.0

    def gateway_gone(self, bint gone=True):
        self.no_gateway = gone


cdef extern from "evpy/native/layout.h" nogil:
    ctypedef struct NextId "ev_header":
        uint64_t next_id
