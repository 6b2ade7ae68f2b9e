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


# A mutex that knows its holder.
cdef class Owned(Mutex):
    cdef object owner  # the greenlet that holds it; None: nobody, or a thread when greenlets were not yet in use
    cdef unsigned long owner_thread
    cdef size_t count
    cdef bint belongs_to(self, object me) except -1
    cdef void own(self, object me, size_t count) noexcept
    cdef int disown(self) except -1


cdef class TicketLock(Owned):
    cdef bint enter(self, uint64_t deadline) except -1
    cdef bint wait_for_turn(self, uint64_t deadline) except -1
    cdef int leave(self) except -1


cdef uint64_t acquire_deadline(bint blocking, object timeout) except? 0
