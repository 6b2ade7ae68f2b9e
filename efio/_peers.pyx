# cython: language_level=3, boundscheck=False, wraparound=False
"""The table of processes at the beginning of a shared segment (efio/native/peers.h), for Python code."""

import errno
import os

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno

cdef extern from "sys/mman.h" nogil:
    enum: PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)

cdef unsigned long _forks = 0

PLACES = EFIO_PEERS
TABLE = sizeof(efio_peers)  # bytes


cdef class Memory:
    """The bytes of a file, mapped and shared, for as long as anybody has this object or a view of it.

    mmap.mmap would keep a descriptor of its own, and be unmapped when it is told to.
    """

    cdef void *base
    cdef readonly Py_ssize_t size

    def __cinit__(self, int fd, Py_ssize_t size):
        self.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if self.base == MAP_FAILED:
            self.base = NULL
            PyErr_SetFromErrno(OSError)
        self.size = size

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.base, self.size, False, flags)

    def __len__(self):
        return self.size


cdef unsigned long forks():
    return _forks


def _after_fork_in_child():
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_after_fork_in_child)


def fork_count():
    """How often this process has been forked from another since efio was imported."""
    return _forks


cdef object _refused(int error):
    if error == -errno.EPROTO:
        return ValueError("this is no segment of that kind, or of another version of efio")
    if error == -errno.EXDEV:
        return OSError(
            errno.EXDEV,
            "the segment was made in another pid namespace (container); share it between processes of one namespace",
        )
    if error == -errno.EUSERS:
        return OSError(errno.EUSERS, f"{EFIO_PEERS} processes have it open already: no more can")
    return OSError(-error, os.strerror(-error))


def refused(int error):
    """The exception for a negative result of the native functions."""
    return _refused(error)


def publish(object memory, int kind, tuple shape):
    """Makes fresh memory (all zeros) a segment of this kind. Private to its maker until this returns."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    cdef efio_peers *p = <efio_peers *>view.buf
    try:
        efio_peers_init(p, view.len)
        for i, value in enumerate(shape):
            p.shape[i] = value
        efio_peers_publish(p, kind)
    finally:
        PyBuffer_Release(&view)


def check(object memory, int kind):
    """The shape of a segment (four integers). ValueError when it is none, OSError when it cannot be used here."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    cdef efio_peers *p = <efio_peers *>view.buf
    cdef int r
    try:
        r = efio_peers_check(p, kind, view.len)
        if r < 0:
            raise _refused(r)
        return tuple([p.shape[i] for i in range(4)])
    finally:
        PyBuffer_Release(&view)


def is_of_here(object memory):
    """Whether its processes are of this pid namespace: others cannot be told from dead ones."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    try:
        return efio_peers_is_of_here(<efio_peers *>view.buf)
    finally:
        PyBuffer_Release(&view)


def alive(object memory):
    """How many places are held by living processes; those of the dead are given back."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    try:
        return efio_peers_alive(<efio_peers *>view.buf)
    finally:
        PyBuffer_Release(&view)


def processes(object memory):
    """The pids in the table."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    cdef efio_peers *p = <efio_peers *>view.buf
    try:
        return [efio_ident_pid(p.owner[i]) for i in range(EFIO_PEERS) if p.owner[i]]
    finally:
        PyBuffer_Release(&view)


def enter(object memory):
    """Takes a place for this process; its number. OSError (EUSERS) when there is none."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    cdef int place
    try:
        place = efio_peers_enter(<efio_peers *>view.buf, efio_ident_self(), NULL, NULL)
    finally:
        PyBuffer_Release(&view)
    if place < 0:
        raise _refused(place)
    return place


def leave(object memory, uint32_t place):
    """Gives the place back."""
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    efio_peers_leave(<efio_peers *>view.buf, place)
    PyBuffer_Release(&view)
