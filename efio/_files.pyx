# cython: language_level=3, boundscheck=False, wraparound=False
"""Reads that never wait for the disk: preadv2(2) with RWF_NOWAIT at the file's own offset (-1).

What the page cache holds is copied at once; what it does not hold is EAGAIN, here None, and the caller takes another
way. Up to SMALL bytes the interpreter lock is kept: such a copy takes less time than the hand-over of the lock to
another thread may. Twin: _pure/nowait.py.

Whoever finds all its data in the page cache would never switch, and keep its hub's other greenlets from running. So
what they read is summed up; now and then the clock is looked at, and a greenlet that wants to read while the hub has
not come round for TURN_NS lets it do so first. (First: who is killed meanwhile has lost nothing that was read.)
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOSYS, EOPNOTSUPP, errno
from libc.stdint cimport uint64_t

from efio._parking cimport current_greenlet, current_hub, efio_now_ns

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t preadv2(int fd, const iovec *iov, int iovcnt, long offset, int flags)

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/uio.h>
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 0x00000008
    #endif
    """
    int RWF_NOWAIT

cdef extern from *:
    """
    static _Thread_local struct {
        long left;       /* of this share: bytes, or what a call costs in bytes */
        double round;    /* the hub's time, which stands still while it does not come round */
        uint64_t since;  /* our clock, when we last looked whether it had */
    } efio_reading;
    """
    struct reading_t "efio_reading":
        long left
        double round
        uint64_t since
    reading_t efio_reading

cdef enum:
    SMALL = 65536
    CALL = 8000  # what a call counts for, in bytes
    SHARE = 180000  # after so many bytes somebody looks at the clock
    TURN_NS = 300000


cdef int _give_turn() except -1:
    cdef double now
    cdef uint64_t clock = efio_now_ns()
    efio_reading.left = SHARE
    # Most shares end here: what is asked of Python below takes longer than a small read.
    if clock - efio_reading.since < TURN_NS:
        return 0
    hub = current_hub()
    if hub is None or current_greenlet() is hub:
        efio_reading.since = clock
        return 0
    loop = hub.loop
    now = loop.now()
    if now != efio_reading.round:
        efio_reading.round = now
        efio_reading.since = clock
        return 0
    # Nothing is left until the hub has come round: other greenlets that read meanwhile get one read each.
    efio_reading.left = 0
    timer = loop.timer(0.0)  # it has expired, so the hub comes round once
    try:
        hub.wait(timer)
    finally:
        timer.close()
    return 0


cdef class CachedReads:
    """The reads of one file that the page cache can answer. Not for use after the descriptor is closed: ``stop()``."""

    cdef int fd
    cdef bint possible
    cdef public Py_ssize_t count

    def __init__(self, int fd, bint possible):
        self.fd = fd
        self.possible = possible

    def stop(self):
        """From now on every answer is None."""
        self.possible = False

    cdef Py_ssize_t pull(self, char *start, Py_ssize_t n) except -2:
        # Bytes read; -1: nothing is in the page cache there. Fewer than n: the page cache ends, or the file.
        cdef iovec iov
        cdef Py_ssize_t got
        iov.iov_base = start
        iov.iov_len = n
        while True:
            if n <= SMALL:
                got = preadv2(self.fd, &iov, 1, -1, RWF_NOWAIT)
            else:
                with nogil:
                    got = preadv2(self.fd, &iov, 1, -1, RWF_NOWAIT)
            if got >= 0:
                efio_reading.left -= got + CALL
                self.count += 1
                return got
            if errno == EAGAIN:
                return -1
            if errno == EOPNOTSUPP or errno == EINVAL or errno == ENOSYS:  # this file system cannot tell
                self.possible = False
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
                return -2

    def read(self, size):
        """At most ``size`` bytes at the file's offset, fewer where the page cache ends; None: not from here."""
        cdef Py_ssize_t n, got
        cdef bytes data
        if not self.possible or type(size) is not int:
            return None
        n = size
        if n <= 0:
            return None
        if efio_reading.left <= 0:
            _give_turn()
            if not self.possible:
                return None
        data = PyBytes_FromStringAndSize(NULL, n)
        got = self.pull(PyBytes_AS_STRING(data), n)
        if got == n:
            return data
        return data[:got] if got >= 0 else None

    def readinto(self, target):
        """The same into a writable buffer; the number of bytes, or None."""
        cdef Py_buffer view
        cdef Py_ssize_t got
        if not self.possible:
            return None
        if efio_reading.left <= 0:
            _give_turn()
            if not self.possible:
                return None
        PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
        try:
            got = self.pull(<char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return got if got >= 0 else None
