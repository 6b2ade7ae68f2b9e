# cython: language_level=3, boundscheck=False, wraparound=False
"""Counters, maps and arenas in shared segments, for Python: efio/native/shared_values.h."""

import errno

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from efio._peers cimport efio_ident_self, efio_peers, forks

from efio._peers import refused

cdef extern from "efio/native/shared_values.h" nogil:
    enum: EFIO_COUNTERS_KIND, EFIO_MAP_KIND, EFIO_MEMORY_KIND
    ctypedef struct efio_counter:
        int64_t value
    ctypedef struct efio_counters:
        efio_peers peers
        efio_counter counter[1]
    ctypedef struct efio_arena:
        efio_peers peers
        uint64_t taken
        uint8_t data[1]
    ctypedef struct efio_map:
        efio_peers peers
        uint64_t count
    ctypedef struct efio_map_handle:
        efio_map *m
        uint64_t self
        uint32_t entries, key_max, value_max
    int64_t efio_counter_add(efio_counter *c, int64_t n)
    int64_t efio_counter_get(const efio_counter *c)
    void efio_counter_set(efio_counter *c, int64_t n)
    bint efio_counter_compare_exchange(efio_counter *c, int64_t old, int64_t fresh)
    uint64_t efio_arena_take(efio_arena *a, uint64_t bytes, uint64_t align)
    uint64_t efio_map_bytes(uint32_t entries, uint32_t key_max, uint32_t value_max)
    int efio_map_open(efio_map_handle *h, efio_map *m, uint64_t bytes)
    int64_t efio_map_get(efio_map_handle *h, const void *key, uint32_t key_len, uint8_t *to, uint32_t *tag)
    int efio_map_set(efio_map_handle *h, const void *key, uint32_t key_len, const void *value, uint32_t n, uint32_t tag)
    int efio_map_remove(efio_map_handle *h, const void *key, uint32_t key_len)
    void efio_map_lock(efio_map_handle *h)
    void efio_map_unlock(efio_map_handle *h)
    int efio_map_at(efio_map_handle *h, uint32_t at, uint8_t *key, uint32_t *key_len, uint8_t *value, uint32_t *n,
                    uint32_t *tag)

COUNTERS_KIND = EFIO_COUNTERS_KIND
MAP_KIND = EFIO_MAP_KIND
MEMORY_KIND = EFIO_MEMORY_KIND
COUNTERS_HEAD = sizeof(efio_counters)
COUNTER = sizeof(efio_counter)
ARENA_HEAD = sizeof(efio_arena)


def map_bytes(uint32_t entries, uint32_t key_max, uint32_t value_max):
    """Size of the segment of a map."""
    return efio_map_bytes(entries, key_max, value_max)


cdef class _View:
    cdef Py_buffer view

    def __cinit__(self, memory):
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)

    def __dealloc__(self):
        if self.view.buf != NULL:
            PyBuffer_Release(&self.view)


cdef class Counters(_View):
    cdef efio_counter *counter
    cdef Py_ssize_t n

    def __init__(self, memory):
        cdef efio_counters *c = <efio_counters *>self.view.buf
        self.counter = c.counter
        self.n = c.peers.shape[0]

    cdef efio_counter *at(self, Py_ssize_t index) except NULL:
        cdef Py_ssize_t i = index + self.n if index < 0 else index
        if i < 0 or i >= self.n:
            raise IndexError(f"counter {index}: there are {self.n}")
        return &self.counter[i]

    def add(self, Py_ssize_t index, int64_t n):
        return efio_counter_add(self.at(index), n)

    def get(self, Py_ssize_t index):
        return efio_counter_get(self.at(index))

    def set(self, Py_ssize_t index, int64_t value):
        efio_counter_set(self.at(index), value)

    def compare_exchange(self, Py_ssize_t index, int64_t old, int64_t new):
        return efio_counter_compare_exchange(self.at(index), old, new)


cdef class Arena(_View):
    @property
    def taken(self):
        return (<efio_arena *>self.view.buf).taken

    def take(self, uint64_t size, uint64_t align):
        """The offset of a piece; None when there is not as much left."""
        cdef uint64_t at = efio_arena_take(<efio_arena *>self.view.buf, size, align)
        return None if at == <uint64_t>-1 else at


cdef class Map(_View):
    cdef efio_map_handle handle
    cdef unsigned long forks

    def __init__(self, memory):
        cdef int r = efio_map_open(&self.handle, <efio_map *>self.view.buf, self.view.len)
        if r < 0:
            raise refused(r)
        self.forks = forks()

    def __len__(self):
        return self.handle.m.count

    @property
    def limits(self):
        """Entries, bytes of a key, bytes of a value."""
        return self.handle.entries, self.handle.key_max, self.handle.value_max

    # The interpreter lock is let go while another writer is waited for.
    cdef int lock(self) except -1:
        if self.forks != forks():
            self.handle.self = efio_ident_self()
            self.forks = forks()
        with nogil:
            efio_map_lock(&self.handle)
        return 0

    # (bytes, tag), or None; with or without the lock
    cdef object fetch(self, bytes key):
        cdef uint32_t tag
        cdef bytes value = PyBytes_FromStringAndSize(NULL, self.handle.value_max)
        cdef int64_t n = efio_map_get(
            &self.handle, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), <uint8_t *>PyBytes_AS_STRING(value), &tag
        )
        return None if n < 0 else (value[:n], tag)

    def get(self, bytes key):
        return self.fetch(key)

    def replace(self, bytes key, bytes value, uint32_t tag, bint only_new, object old):
        """Stores a value; returns what was there, or None. Stores nothing when there is something and it must not be,
        or when it is not `old` (unless that is None)."""
        cdef int r = 0
        cdef object was
        self.lock()
        try:
            was = self.fetch(key)
            if not (only_new and was is not None) and (old is None or was == old):
                r = efio_map_set(
                    &self.handle, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                    PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), tag,
                )
        finally:
            efio_map_unlock(&self.handle)
        if r == -errno.ENOSPC:
            raise OverflowError(
                f"the SharedMap is full: it has room for {self.handle.entries} entries; make it with entries=..."
            )
        return was

    def remove(self, bytes key):
        """What was there, or None."""
        self.lock()
        try:
            was = self.fetch(key)
            efio_map_remove(&self.handle, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        finally:
            efio_map_unlock(&self.handle)
        return was

    def items(self):
        """(key, value, tag) of every entry, each as it is when its turn comes."""
        cdef list found = []
        cdef bytes key = PyBytes_FromStringAndSize(NULL, self.handle.key_max)
        cdef bytes value = PyBytes_FromStringAndSize(NULL, self.handle.value_max)
        cdef uint32_t i, key_len, n, tag
        for i in range(self.handle.entries):
            if efio_map_at(&self.handle, i, <uint8_t *>PyBytes_AS_STRING(key), &key_len,
                           <uint8_t *>PyBytes_AS_STRING(value), &n, &tag):
                found.append((key[:key_len], value[:n], tag))
        return found
