# cython: language_level=3
"""Futures, for the pool."""

from libc.stdint cimport uint64_t

from efio._parking cimport Waiter, efio_parker, waitlist


cdef extern from "efio/native/pool.h" nogil:
    ctypedef struct efio_job:
        void (*run)(efio_job *job)
        efio_parker *done
        void *owner
        int error


cdef enum:  # in this order: from CANCELLED on it is done
    PENDING
    RUNNING
    CANCELLED
    CANCELLED_AND_NOTIFIED
    FINISHED


cdef class BaseFuture:
    cdef efio_job job  # in the pool's queue; its owner is the future
    cdef int state
    cdef object fn, args, kwargs  # the call; None when it was begun
    cdef object value, error  # of a finished one
    cdef waitlist waiting
    cdef object lock  # a Condition for the standard library's wait(); made when it is asked for
    cdef object observers  # what the standard library's wait() and as_completed() put in
    cdef list callbacks
    cdef void *next_unfinished  # in the pool's list of what was submitted and has not ended; belongs to the pool
    cdef void *prev_unfinished
    cdef bint begin(self) except -1
    cdef Waiter settle(self, object value, object error, bint leave_one)
    cdef int _wake_all(self) except -1
    cdef int _tell_cancelled(self) except -1
    cdef int fail_in_child(self, object error) except -1
    cdef bint wait_until(self, uint64_t deadline) except -1
    cdef object outcome(self)
    cdef Waiter execute(self, bint leave_one)


cdef BaseFuture new_future(object fn, tuple args, dict kwargs)
