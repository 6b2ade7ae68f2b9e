# cython: language_level=3, boundscheck=False, wraparound=False
"""Reads that never wait for the disk: preadv2(2) with RWF_NOWAIT at the file's own offset (-1).

What the page cache holds is copied at once; what it does not hold is EAGAIN, here None, and the caller takes another
way. Up to SMALL bytes the interpreter lock is kept: such a copy takes less time than the hand-over of the lock to
another thread may. A file system without RWF_NOWAIT answers EOPNOTSUPP, here OSError. Twin: _pure/nowait.py.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno

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

cdef enum:
    SMALL = 65536


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
    finally:
        PyBuffer_Release(&view)
    return got if got >= 0 else None
