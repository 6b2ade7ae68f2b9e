# What one OS thread with a gevent hub does: claim requests, run each in a parked greenlet.
#
# A fresh greenlet costs an mmap and a munmap for its frame stack (13 us); so greenlets serve in a loop and park between
# requests. A new one starts only when all others are blocked. Each request gets a fresh context.

cdef enum:
    BUDGET = 64  # requests of one pass: other greenlets of the hub get their turn
    FLUSH_NS = 500_000  # how long the gateway may be left asleep while others of the same pass are finished, too
    PARKED_MOST = 256

cdef inline object _current():
    return PyGreenlet_GetCurrent_()


cdef inline object _switch(object g, object args):
    return PyGreenlet_Switch_(<PyGreenlet *>g, <PyObject *>args, NULL)


cdef bytes _TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
cdef bytes _BYTES = b"Content-Type: application/octet-stream\r\n"
cdef bytes _JSON = b"Content-Type: application/json\r\n"
cdef tuple _NO_ARGS = ()


cdef class Scheduler:
    cdef ev_sched s
    cdef Worker worker
    cdef object app, request_type, send_result, send_error, current_var, encode
    cdef list _parked
    cdef RequestBase _handed # to the greenlet that is switched to next
    cdef dict running
    cdef object hub, watcher, serve_fn, again_fn, flush_fn
    cdef uint32_t concurrency
    cdef bint in_drain, again_owed, attached, paused, flush_owed
    cdef uint64_t flush_since_ns

    def __init__(self, Worker worker not None, int thread, app, request_type, send_result, send_error, uint32_t concurrency,
                 current_request):
        if not 0 <= thread < <int>worker.segment.seg.hdr.threads:
            raise IndexError(f"scheduler thread {thread}: there are {worker.segment.seg.hdr.threads}")
        import msgspec
        self.worker = worker
        self.app = app
        self.request_type = request_type
        self.send_result = send_result
        self.send_error = send_error
        self.concurrency = concurrency
        self.current_var = current_request
        self.encode = msgspec.json.encode
        self._parked = []
        self.running = {}
        ev_sched_init(&self.s, &worker.segment.seg, worker.slot, thread)

    def attach(self):
        import gevent
        import threading
        if self.attached:
            return
        self.hub = gevent.get_hub()
        self.serve_fn = self._serve
        self.again_fn = self._again
        self.flush_fn = self._flush
        self.watcher = self.hub.loop.io(self.s.thread.wake.fd, 1)
        self.watcher.start(self._wakened)
        ev_store32(&self.s.thread.tid, threading.get_native_id())
        ev_store32(&self.s.thread.state, EV_THREAD_RUNNING)
        ev_store32(&self.s.slot.threads, ev_load32(&self.s.slot.threads) + 1)
        self.attached = True
        # the gateway may have queued something before the first sleep: look once
        self._again_soon()

    def detach(self):
        """Stops claiming; what runs goes on and is finished by the hub."""
        if not self.attached:
            return
        self.attached = False
        self.watcher.stop()
        self.watcher.close()
        ev_store32(&self.s.thread.state, EV_THREAD_UNUSED)
        ev_store32(&self.s.slot.threads, ev_load32(&self.s.slot.threads) - 1)

    def pause(self):
        """Claims nothing more; what runs goes on, and is told of room and data as before."""
        self.paused = True
        ev_store32(&self.s.thread.state, EV_THREAD_BLOCKED)  # the gateway counts on those that run

    def requests(self):
        return list(self.running.values())

    @property
    def active(self):
        return ev_load32(&self.s.thread.active)

    @property
    def parked(self):
        return len(self._parked)

    # --- on the hub

    def _wakened(self):
        cdef uint64_t n = 0
        read(self.s.thread.wake.fd, &n, 8)
        self._drain()

    def _again(self):
        self.again_owed = False
        self._drain()

    cdef int _again_soon(self) except -1:
        if not self.again_owed:
            self.again_owed = True
            self.hub.loop.run_callback(self.again_fn)
        return 0

    cdef int _drain(self) except -1:
        cdef ev_thread_slot *t = self.s.thread
        cdef uint64_t msg = 0
        cdef int n = 0
        if self.in_drain or not self.attached:
            return 0
        ev_store64(&t.ping_ns, 0)
        ev_add64(&t.tick, 1)
        if ev_load32(&t.state) == EV_THREAD_BLOCKED and not self.paused:
            ev_store32(&t.state, EV_THREAD_RUNNING)
        efio_wake_cancel(&t.wake)
        ev_sched_flush(&self.s) # what is finished shall not wait for whoever is begun now
        self.in_drain = True
        try:
            while True:
                while ev_sched_notified(&self.s, &msg):
                    self._notified(msg)
                if ev_load32(&t.ctl_overflow):
                    ev_store32(&t.ctl_overflow, 0)
                    for request in list(self.running.values()):
                        self._notified((<RequestBase>request).msg)
                while n < BUDGET and self._may_claim() and ev_sched_take(&self.s, &msg):
                    self._start(msg)
                    n += 1
                    if not n & 31:
                        ev_sched_flush(&self.s)
                ev_sched_flush(&self.s)
                if n >= BUDGET:
                    self._again_soon()
                    return 0
                efio_wake_prepare(&t.wake)
                if not self._may_claim():
                    if not ev_sched_notified(&self.s, &msg):
                        return 0 # _final looks again
                    self._notified(msg)
                elif not ev_sched_has_work(&self.s):
                    return 0
                efio_wake_cancel(&t.wake)
        finally:
            self.in_drain = False

    cdef inline bint _may_claim(self) noexcept:
        return not self.paused and ev_load32(&self.s.thread.active) < self.concurrency

    cdef int _start(self, uint64_t msg) except -1:
        cdef RequestBase request = self.request_type.__new__(self.request_type)
        cdef uint64_t now = efio_now_ns()
        request.sched = self
        request.msg = msg
        request.slab = ev_msg_slab(msg)
        request.s = ev_slab_at(self.s.seg, request.slab)
        request.head = ev_slab_head(self.s.seg, request.slab)
        ev_resp_begin(&request.resp)
        self.running[request.slab] = request
        ev_store64(&self.s.thread.current, msg)
        ev_store64(&self.s.thread.current_since_ns, now)
        ev_add64(&self.s.thread.wait_ns, now - request.s.arrival_ns)
        if self._parked:
            greenlet = self._parked.pop()
        else:
            ev_add64(&self.s.thread.greenlets, 1)
            greenlet = PyGreenlet_New_(<PyObject *>self.serve_fn, <PyGreenlet *>self.hub)
        request.greenlet = greenlet
        self._handed = request
        if self.s.seg.hdr.costly:
            self._measured(greenlet, request.s.kind, request.s.cost, now)
        else:
            _switch(greenlet, _NO_ARGS)
        ev_store64(&self.s.thread.current, 0)
        return 0

    cdef int _measured(self, greenlet, uint32_t kind, uint32_t cost, uint64_t now) except -1:
        """Until the request has been answered or waits for something. What follows then is not counted."""
        cdef ev_costs *costs = &self.s.seg.hdr.costs
        cdef uint32_t least = self.s.seg.hdr.costly
        cdef bint suspect = ev_cost_is_suspect(costs, kind, least)
        cdef uint64_t cpu = efio_thread_cpu_ns() if suspect else 0
        ev_sched_burns(&self.s, cost)
        _switch(greenlet, _NO_ARGS)
        ev_sched_burns(&self.s, 0)
        cpu = (efio_thread_cpu_ns() - cpu) // 1000 if suspect else EV_UNMEASURED
        ev_cost_learn(costs, kind, least, (efio_now_ns() - now) // 1000, cpu)
        return 0

    cdef int _notified(self, uint64_t msg) except -1:
        cdef RequestBase request = self.running.get(ev_msg_slab(msg))
        if request is None or ev_msg_gen(request.msg) != ev_msg_gen(msg) or request.done:
            return 0
        ev_store32(&request.s.ctl_pending, 0)
        cdef uint32_t gone = ev_load32(&request.s.gone)
        if gone & EV_GONE_DEADLINE and not request.deadline_raised:
            request.deadline_raised = True
            ev_add64(&self.s.thread.expired, 1)
            self._throw(request.greenlet, DeadlineExceeded())
            return 0
        if request.reader is not None:
            _switch(request.reader, _NO_ARGS)
        if not request.done and request.writer is not None:
            _switch(request.writer, _NO_ARGS)
        return 0

    cdef int _throw(self, greenlet, error) except -1:
        if greenlet is None or greenlet.dead:
            return 0
        kind = type(error)
        PyGreenlet_Throw_(<PyGreenlet *>greenlet, <PyObject *>kind, <PyObject *>error, NULL)
        return 0

    cdef int _to_hub(self) except -1:
        _switch(self.hub, _NO_ARGS)
        return 0

    cdef int _flush_outside(self) except -1:
        if not self.in_drain:
            ev_sched_flush(&self.s)
        return 0

    def _flush(self):
        self.flush_owed = False
        ev_sched_flush(&self.s)

    cdef int _flush_soon(self) except -1:
        """Wakes the gateway when the others that the loop has found ready have had their turn, too.

        On a core that both share, a gateway that is woken runs at once: for each answer by itself that costs more than
        the answer. Whoever runs for long does not keep those before it back for more than FLUSH_NS after the first.
        """
        cdef uint64_t now = efio_now_ns()
        if not self.flush_owed:
            self.flush_owed = True
            self.flush_since_ns = now
            self.hub.loop.run_callback(self.flush_fn)
        elif now - self.flush_since_ns >= FLUSH_NS:
            self.flush_since_ns = now
            ev_sched_flush(&self.s)
        return 0

    # --- in a greenlet

    def _serve(self):
        cdef RequestBase request
        while True:
            # Not by the arguments of the switch: those of a greenlet's first one live as long as the greenlet.
            request = self._handed
            self._handed = None
            self._run(request)
            request = None
            if len(self._parked) >= PARKED_MOST:
                return
            self._parked.append(_current())
            try:
                while self._handed is None: # somebody may still switch to whom a former request's greenlet was
                    _switch(self.hub, _NO_ARGS)
            except BaseException: # or kill it: it is not to be handed a request, then
                if _current() in self._parked:
                    self._parked.remove(_current())
                raise

    cdef int _run(self, RequestBase request) except -1:
        context = PyContext_New()
        PyContext_Enter(context)
        try:
            PyContextVar_Set(self.current_var, request)
            try:
                self._result(request, self.app(request))
            except BaseException as error:
                ev_add64(&self.s.thread.failed, 1)
                self._error(request, error)
            if not request.done:
                self._error(request, RuntimeError("the response was not completed"))
        finally:
            PyContext_Exit(context)
        if request._cache is not None:
            try:
                request._cleanup()
            except BaseException:
                self.hub.handle_error(self, *sys.exc_info())
        request.greenlet = None
        return 0

    cdef int _error(self, RequestBase request, error) except -1:
        if request.done:
            if not isinstance(error, (ClientDisconnected, _greenlet_module.GreenletExit)):
                self.hub.handle_error(self, type(error), error, error.__traceback__)
            return 0
        try:
            self.send_error(request, error)
        except BaseException:
            if not request.done:
                self.hub.handle_error(self, *sys.exc_info())
        if not request.done:
            request.abort()
        return 0

    cdef int _result(self, RequestBase request, result) except -1:
        cdef const char *p
        cdef Py_ssize_t n = 0
        cdef bytes lines, body
        if request.resp.started or request.done:
            self.send_result(request, result, self.app)
            return 0
        kind = type(result)
        if kind is str:
            try:
                p = PyUnicode_AsUTF8AndSize(result, &n)
            except UnicodeEncodeError: # it can say whose result that is
                self.send_result(request, result, self.app)
                return 0
            lines = _TEXT
        elif kind is bytes:
            p = PyBytes_AS_STRING(result)
            n = PyBytes_GET_SIZE(result)
            lines = _BYTES
        elif kind is dict or kind is list:
            try:
                body = self.encode(result)
            except Exception:
                self.send_result(request, result, self.app)
                return 0
            p = PyBytes_AS_STRING(body)
            n = PyBytes_GET_SIZE(body)
            lines = _JSON
        else:
            self.send_result(request, result, self.app)
            return 0
        if ev_load32(&request.s.gone) & EV_GONE_DEAD or not ev_resp_simple(
                &self.s, request.slab, &request.resp, 200, PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines), <const uint8_t *>p, n):
            self.send_result(request, result, self.app)
            return 0
        self._final(request)
        return 0

    cdef int _final(self, RequestBase request) except -1:
        """The request is over for this worker; its slab must not be touched any more."""
        cdef bint full = ev_load32(&self.s.thread.active) >= self.concurrency
        request.done = True
        self.running.pop(request.slab, None)
        ev_sched_final(&self.s, request.msg)
        if not self.in_drain:
            self._flush_soon()
        if full:
            self._again_soon()
        return 0


def set_time_slice(double seconds):
    ev_set_time_slice(_ns(seconds))
