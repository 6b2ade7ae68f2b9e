# An I/O thread of the gateway, driven by somebody else's loop: inline mode and tests.

cdef class Engine:
    cdef ev_engine *e
    cdef Segment segment
    cdef void *log

    def __init__(self, Segment segment not None, uint32_t io_thread=0):
        if io_thread >= segment.seg.hdr.io_threads:
            raise IndexError(f"I/O thread {io_thread}: there are {segment.seg.hdr.io_threads}")
        self.segment = segment
        self.e = <ev_engine *>calloc(1, sizeof(EngineSize))
        if self.e == NULL:
            raise MemoryError()
        if segment.seg.hdr.access_log_fd >= 0:
            self.log = ev_accesslog_open(segment.seg.hdr.access_log_fd, segment.seg.hdr.access_log_json)
        cdef int r = ev_engine_open(self.e, &segment.seg, io_thread, self.log)
        if r < 0:
            free(self.e)
            self.e = NULL
            _check(r, "cannot start the engine")

    cdef ev_engine *_open(self) except NULL:
        if self.e == NULL:
            raise ValueError("the engine is closed")
        return self.e

    def fileno(self):
        return self._open().epfd

    def turn(self, double timeout=0.0):
        cdef ev_engine *e = self._open()
        cdef int64_t ns = -1 if timeout < 0 else <int64_t>(timeout * 1e9)
        cdef int r
        if ns == 0:
            return ev_engine_turn(e, 0)
        with nogil:
            r = ev_engine_turn(e, ns)
        return r

    def next_deadline(self):
        cdef int64_t ns = ev_engine_next_deadline(self._open())
        return -1.0 if ns < 0 else ns / 1e9

    def run(self):
        cdef ev_engine *e = self._open()
        with nogil:
            while not ev_engine_drained(e):
                ev_engine_turn(e, 500000000)

    @property
    def drained(self):
        return ev_engine_drained(self._open())

    @property
    def open_connections(self):
        return self._open().open

    def close(self):
        if self.e == NULL:
            return
        ev_engine_close(self.e)
        free(self.e)
        self.e = NULL
        if self.log != NULL:
            ev_accesslog_close(self.log)
            self.log = NULL

    def __dealloc__(self):
        if self.e != NULL:
            ev_engine_close(self.e)
            free(self.e)


cdef extern from "evpy/gateway/engine.h" nogil:
    ctypedef struct EngineSize "ev_engine":
        pass
