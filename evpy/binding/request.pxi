# One request. Everything decodes out of the slab when it is asked for.

cdef str _latin1(const uint8_t *base, uint16_t off, uint16_t n):
    return PyUnicode_DecodeLatin1(<const char *>base + off, n, NULL)


cdef tuple _METHODS = ("", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")


cdef class RequestBase:
    cdef Scheduler sched
    cdef ev_slab *s
    cdef uint8_t *head
    cdef uint64_t msg
    cdef uint32_t slab
    cdef ev_resp resp
    cdef bint done, deadline_raised
    cdef object greenlet, reader, writer
    cdef public dict _cache
    cdef dict _state
    cdef object __weakref__

    cdef int _live(self) except -1:
        if self.done or self.s == NULL:
            raise RuntimeError("the request is over: read what you need of it before its response is complete")
        return 0

    @property
    def method(self):
        self._live()
        cdef uint8_t m = self.s.head.method
        return _METHODS[m] if m else _latin1(self.head, self.s.head.method_off, self.s.head.method_len)

    @property
    def target(self):
        self._live()
        return _latin1(self.head, self.s.head.target_off, self.s.head.target_len)

    @property
    def raw_path(self):
        self._live()
        return _latin1(self.head, self.s.head.path_off, self.s.head.path_len) if self.s.head.path_len else "/"

    @property
    def raw_query(self):
        self._live()
        return _latin1(self.head, self.s.head.query_off, self.s.head.query_len) if self.s.head.has_query else ""

    @property
    def http_version(self):
        self._live()
        return "1.1" if self.s.head.minor else "1.0"

    @property
    def scheme(self):
        self._live()
        return "https" if self.sched.s.seg.hdr.listener_https[self.s.listener] else "http"

    @property
    def server(self):
        self._live()
        return self.sched.s.seg.hdr.listener_name[self.s.listener].decode("utf-8", "replace")

    @property
    def host(self):
        self._live()
        return _latin1(self.head, self.s.head.host_off, self.s.head.host_len)

    @property
    def client(self):
        self._live()
        import socket
        if self.s.client_family == socket.AF_INET:
            return (socket.inet_ntop(socket.AF_INET, <bytes>self.s.client_addr[:4]), self.s.client_port)
        if self.s.client_family == socket.AF_INET6:
            return (socket.inet_ntop(socket.AF_INET6, <bytes>self.s.client_addr[:16]), self.s.client_port)
        return None

    @property
    def id(self):
        self._live()
        return f"{self.s.id:016x}"

    @property
    def arrival(self):
        self._live()
        return self.s.arrival_ns / 1e9

    @property
    def deadline(self):
        self._live()
        return ev_load64(&self.s.deadline_ns) / 1e9

    @property
    def disconnected(self):
        return self.done or self.s == NULL or ev_load32(&self.s.gone) != 0

    @property
    def has_body(self):
        self._live()
        return self.s.head.body != EV_BODY_NONE and not (self.s.body_whole and self.s.body_len == 0)

    @property
    def content_length(self):
        self._live()
        if self.s.head.body == EV_BODY_LENGTH:
            return self.s.head.content_length
        if self.s.body_whole and self.s.head.body != EV_BODY_NONE:
            return self.s.body_len
        return None

    @property
    def body_complete(self):
        self._live()
        return (ev_load32(&self.s.in_flags) & EV_IN_END) != 0

    @property
    def response_started(self):
        return self.resp.started

    @property
    def response_ended(self):
        return self.resp.ended

    @property
    def state(self):
        if self._state is None:
            self._state = {}
        return self._state

    def header(self, str name not None):
        self._live()
        cdef const char *want
        cdef Py_ssize_t n = 0
        cdef uint32_t i, k
        cdef ev_field *f
        cdef const uint8_t *p
        cdef uint8_t a
        want = PyUnicode_AsUTF8AndSize(name, &n)
        for i in range(self.s.head.n_fields):
            f = &self.s.head.field[i]
            if f.name_len != n:
                continue
            p = self.head + f.name
            for k in range(f.name_len):
                a = p[k]
                if 65 <= a <= 90:
                    a |= 32
                if a != <uint8_t>want[k]:
                    break
            else:
                return _latin1(self.head, f.value, f.value_len)
        return None

    def raw_headers(self):
        self._live()
        cdef uint32_t i
        cdef ev_field *f
        fields = []
        for i in range(self.s.head.n_fields):
            f = &self.s.head.field[i]
            fields.append((_latin1(self.head, f.name, f.name_len), _latin1(self.head, f.value, f.value_len)))
        return fields

    # --- body

    cdef int _wait_reader(self) except -1:
        self._park_check()
        if self.reader is not None:
            raise RuntimeError("another greenlet is reading this request's body already")
        self.reader = _current()
        try:
            self.sched._to_hub()
        finally:
            self.reader = None
        return 0

    cdef int _park_check(self) except -1:
        """Called before waiting: only greenlets of the thread that claimed the request may use it."""
        self._live()
        if _current() is self.sched.hub:
            raise RuntimeError("the hub's own callbacks must not wait")
        if not self.sched.in_drain:
            ev_sched_flush(&self.sched.s)
        return 0

    cdef bytes _read_some(self, size_t most):
        cdef size_t have, got = 0
        cdef ev_read_result r
        cdef bytes data
        while True:
            self._live()
            have = ev_body_available(&self.sched.s, self.slab)
            if have > most:
                have = most
            if have == 0:
                have = 1
            data = PyBytes_FromStringAndSize(NULL, have)
            r = ev_body_read(&self.sched.s, self.slab, <uint8_t *>PyBytes_AS_STRING(data), have, &got)
            if r == EV_READ_OK:
                self.sched._flush_outside()
                return data if got == have else data[:got]
            if r == EV_READ_END:
                return b""
            if r == EV_READ_TOO_LARGE:
                raise BodyTooLarge(self.s.max_body)
            if r == EV_READ_BROKEN or ev_load32(&self.s.gone) & EV_GONE_DEAD:
                raise ClientDisconnected("the request body broke off")
            self._wait_reader()

    def read_body(self, Py_ssize_t n=-1):
        self._live()
        if n == 0:
            return b""
        if n > 0:
            return self._read_some(n)
        cdef bytes data = self._read_some(<size_t>1 << 62)
        if not data or (self.body_complete and ev_body_available(&self.sched.s, self.slab) == 0):
            return data
        parts = [data]
        while True:
            data = self._read_some(<size_t>1 << 62)
            if not data:
                return b"".join(parts)
            parts.append(data)

    # --- response

    cdef int _field(self, name, value) except -1:
        cdef const char *pn
        cdef const char *pv
        cdef Py_ssize_t nn = 0, nv = 0
        cdef ev_field_result r
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"response header {name!r}: name and value must be str, not "
                            f"{type(name).__name__} and {type(value).__name__}")
        pn = PyUnicode_AsUTF8AndSize(name, &nn)
        if PyUnicode_IS_ASCII(value):
            pv = PyUnicode_AsUTF8AndSize(value, &nv)
            r = ev_resp_field(&self.sched.s, self.slab, &self.resp, pn, nn, pv, nv)
        else:
            try:
                encoded = (<str>value).encode("latin-1")
            except UnicodeEncodeError:
                raise ValueError(f"response header {name!r}: the value {value!r} has characters beyond latin-1") from None
            r = ev_resp_field(&self.sched.s, self.slab, &self.resp, pn, nn, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
        if r == EV_FIELD_OK:
            return 0
        if r == EV_FIELD_BAD_NAME:
            raise ValueError(f"response header name {name!r} is not a token (RFC 9110 section 5.6.2)")
        if r == EV_FIELD_BAD_VALUE:
            raise ValueError(f"response header {name!r}: the value {value!r} has CR, LF, NUL or another control character")
        if r == EV_FIELD_FORBIDDEN:
            raise ValueError(f"response header {name!r}: the server frames the body, leave it out")
        if r == EV_FIELD_BAD_LENGTH:
            raise ValueError(f"response header {name!r}: {value!r} is not a length, or contradicts another one")
        raise ValueError("response headers over 64 KB")

    cdef int _begin(self, int status, headers, uint64_t length) except -1:
        self._live()
        if self.resp.started:
            raise RuntimeError("the response has been started already")
        if status < 200 or status > 599:
            raise ValueError(f"status {status} cannot be the status of a response: 200 to 599")
        ev_resp_begin(&self.resp)
        for name, value in headers:
            self._field(name, value)
        if self.resp.has_length and length != <uint64_t>-1 and self.resp.length != length and self.s.head.method != EV_HEAD_METHOD:
            raise ValueError(f"Content-Length {self.resp.length} contradicts the body's {length} bytes")
        if self.resp.has_length:
            length = <uint64_t>-1
        ev_resp_head(&self.sched.s, self.slab, &self.resp, status, length)
        return 0

    cdef int _wait_room(self) except -1:
        self._check_writable()
        ev_resp_publish(&self.sched.s, self.slab, &self.resp)
        if not ev_resp_want_room(&self.sched.s, self.slab):
            return 0
        self._park_check()
        ev_sched_flush(&self.sched.s) # the gateway must go on now, or nothing will make room
        if self.writer is not None:
            raise RuntimeError("another greenlet is writing this response already")
        self.writer = _current()
        try:
            self.sched._to_hub()
        finally:
            self.writer = None
        self._check_writable()
        return 0

    cdef int _check_writable(self) except -1:
        self._live()
        if ev_load32(&self.s.gone) & EV_GONE_DEAD:
            raise ClientDisconnected()
        return 0

    cdef int _write_all(self, const uint8_t *p, size_t n) except -1:
        cdef size_t done = 0, k
        while done < n:
            k = ev_resp_write(&self.sched.s, self.slab, &self.resp, p + done, n - done)
            done += k
            if done < n:
                if self.resp.length != <uint64_t>-1 and self.resp.written >= self.resp.length:
                    raise ValueError(f"the body is longer than its announced {self.resp.length} bytes")
                self._wait_room()
        return 0

    cdef int _finish(self) except -1:
        while not ev_resp_end(&self.sched.s, self.slab, &self.resp):
            self._wait_room()
        self.sched._final(self)
        return 0

    def start_response(self, int status, headers, content_length=None):
        cdef uint64_t length = <uint64_t>-1 if content_length is None else content_length
        self._begin(status, headers, length)
        ev_resp_publish(&self.sched.s, self.slab, &self.resp)
        self.sched._flush_outside()

    def write(self, const uint8_t[::1] data not None):
        self._check_writable()
        if not self.resp.started:
            raise RuntimeError("write() before start_response()")
        if self.resp.ended:
            raise RuntimeError("write() after end()")
        if data.shape[0]:
            self._write_all(&data[0], data.shape[0])
        ev_resp_publish(&self.sched.s, self.slab, &self.resp)
        self.sched._flush_outside()

    def end(self):
        self._live()
        if not self.resp.started:
            raise RuntimeError("end() before start_response()")
        if self.resp.ended:
            raise RuntimeError("the response has been ended already")
        self._finish()

    def abort(self):
        """Closes the connection, so that the client notices that the response is not whole."""
        if self.done or self.s == NULL or self.resp.ended:
            return
        ev_resp_abort(&self.sched.s, self.slab, &self.resp)
        self.sched._final(self)

    def respond(self, int status, headers, const uint8_t[::1] body not None):
        cdef Py_ssize_t n = body.shape[0]
        self._begin(status, headers, n)
        if n:
            self._write_all(&body[0], n)
        self._finish()

    def send_file(self, int status, headers, int fd, uint64_t offset, uint64_t length):
        cdef int r
        self._begin(status, headers, length)
        while True:
            r = ev_resp_file(&self.sched.s, self.msg, &self.resp, fd, offset, length)
            if r == 0:
                break
            if r != -11:
                self.abort()
                _check(r, "cannot hand the file to the gateway")
            ev_sched_flush(&self.sched.s)
            import gevent
            gevent.sleep(0.001) # many descriptors are on their way
            self._check_writable()
        self._finish()

    def _cleanup(self):
        """Overridden by what keeps resources in _cache; called once when the request is over."""
