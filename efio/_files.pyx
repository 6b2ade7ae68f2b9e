# cython: language_level=3, boundscheck=False, wraparound=False
"""Reads that never wait for the disk: preadv2(2) with RWF_NOWAIT at the file's own offset (-1).

What the page cache holds is copied at once; what it does not hold is EAGAIN, here None, and the caller takes another
way. Up to SMALL bytes the interpreter lock is kept: such a copy takes less time than the hand-over of the lock to
another thread may. A file system without RWF_NOWAIT answers EOPNOTSUPP, here OSError. Twin: _pure/nowait.py.

Whoever finds all its data in the page cache would never switch, and keep its hub's other greenlets from running. So
what they read is summed up; now and then the clock is looked at, and a greenlet
that reads while the hub has not come round for TURN_NS lets it do so.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno

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
        uint64_t since;  /* our clock, when that was first seen */
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
    TURN_NS = 350000


cdef int _give_turn() except -1:
    cdef double now
    cdef uint64_t clock
    hub = current_hub()
    if hub is None or current_greenlet() is hub:
        efio_reading.left = SHARE
        return 0
    loop = hub.loop
    now = loop.now()
    clock = efio_now_ns()
    if now != efio_reading.round:
        efio_reading.round = now
        efio_reading.since = clock
    if clock - efio_reading.since < TURN_NS:
        efio_reading.left = SHARE
        return 0
    # Nothing is left until the hub has come round: other greenlets that read meanwhile get one read each.
    timer = loop.timer(0.0)  # it has expired, so the hub comes round once
    try:
        hub.wait(timer)
    finally:
        timer.close()
    return 0


cdef Py_ssize_t _pull(int fd, char *start, Py_ssize_t n) except -2:
    # Bytes read; -1: the rest is not in the page cache. Ends early only at the end of the file.
    cdef iovec iov
    cdef Py_ssize_t got
    iov.iov_base = start
    iov.iov_len = n
    while True:
        if n <= SMALL:
            got = preadv2(fd, &iov, 1, -1, RWF_NOWAIT)
        else:
            with nogil:
                got = preadv2(fd, &iov, 1, -1, RWF_NOWAIT)
        if got >= 0:
            return got
        if errno == EAGAIN:
            return -1
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
            return -2


def read_nowait(int fd, Py_ssize_t n):
    """At most n bytes at the file's offset, fewer where the page cache ends; None: nothing is cached there."""
    cdef bytes data = PyBytes_FromStringAndSize(NULL, n)
    cdef Py_ssize_t got = _pull(fd, PyBytes_AS_STRING(data), n)
    efio_reading.left -= got + CALL
    if efio_reading.left < 0:
        _give_turn()
    if got == n:
        return data
    return data[:got] if got >= 0 else None


def readinto_nowait(int fd, target):
    """The same into a writable buffer; the number of bytes, or None."""
    cdef Py_buffer view
    cdef Py_ssize_t got
    PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
    try:
        got = _pull(fd, <char *>view.buf, view.len)
        efio_reading.left -= got + CALL
        if efio_reading.left < 0:
            _give_turn()
    finally:
        PyBuffer_Release(&view)
    return got if got >= 0 else None
