# cython: language_level=3
"""The mutex under every lock, for other extension modules."""

from libc.stdint cimport uint64_t

from efio._parking cimport Waiter, waitlist


cdef class Mutex:
    cdef bint held
    cdef bint calling  # a waiter was woken to take it, and has not come round yet
    cdef waitlist waiting
    cdef object __weakref__
    cdef inline bint take(self) noexcept:
        if self.held:
            return False
        self.held = True
        return True
    cdef bint lock_until(self, uint64_t deadline) except -1
    cdef int unlock(self) except -1
    cdef int withdraw(self, Waiter w) except -1
    cdef int reset(self) except -1
