# cython: language_level=3
"""The pool, for other extension modules: native jobs are submitted by Core.submit_job."""

from libc.stdint cimport uint32_t, uint64_t

from efio._futures cimport BaseFuture, efio_job
from efio._parking cimport Waiter, efio_parker, waitlist


cdef extern from "efio/native/pool.h" nogil:
    ctypedef struct efio_room:
        efio_parker *parker
    ctypedef struct efio_ring:
        pass
    ctypedef struct efio_pool:
        uint32_t idle
        uint64_t taken
        uint64_t ran
        uint64_t calls
        uint32_t wanting
        bint closed
        efio_ring *ring
    uint32_t efio_ring_size(const efio_ring *r)
    bint efio_ring_ready(const efio_ring *r)
    efio_pool *efio_pool_new(uint32_t capacity)
    void efio_pool_free(efio_pool *p)
    int efio_pool_submit(efio_pool *p, efio_job *job)
    bint efio_pool_await(efio_pool *p, efio_job **job)
    void efio_pool_arrive(efio_pool *p)
    efio_job *efio_pool_next(efio_pool *p)
    void efio_job_run(efio_pool *p, efio_job *job)
    void efio_pool_await_room(efio_pool *p, efio_room *room)
    bint efio_pool_end_wait(efio_pool *p, efio_room *room)
    void efio_pool_call_submitter(efio_pool *p)
    void efio_pool_close(efio_pool *p)
    efio_job *efio_pool_withdraw(efio_pool *p)
    void efio_job_cancel(efio_job *job)


cdef extern from "efio/native/call.h" nogil:
    ctypedef struct efio_call:
        efio_job job
    void efio_call_init(efio_call *c, void (*function)(void *) noexcept nogil, void *argument)
    bint efio_call_wait(efio_call *c, efio_parker *p)
    bint efio_call_leave(efio_call *c, efio_parker *p)
    void efio_call_end(efio_call *c)
    void efio_call_cancel(efio_call *c)


cdef class Core:
    cdef efio_pool *pool
    cdef readonly Py_ssize_t max_workers, capacity
    cdef readonly Py_ssize_t submitted  # jobs that were accepted
    cdef Py_ssize_t finished  # those without `run` that were taken and have ended; the others are in pool.ran
    cdef Py_ssize_t started  # threads
    cdef readonly Py_ssize_t alive  # those that have not ended
    cdef object starter  # starts one more thread
    cdef readonly object broken  # why nothing is accepted any more: an exception
    cdef list workers
    cdef set calls  # native ones that are waited for
    cdef list rooms  # who waits for room
    cdef void *unfinished  # futures that were submitted and have not ended
    cdef waitlist enders  # who waits for the end of all threads
    cdef object __weakref__
    cdef void list_future(self, BaseFuture future) noexcept
    cdef void unlist_future(self, BaseFuture future) noexcept
    cdef int try_submit(self, efio_job *job) except -1
    cdef int submit_job(self, efio_job *job) except -1
    cdef int run_native(self, void (*function)(void *) noexcept nogil, void *argument) except -1
    cdef int cancel_native(self, efio_job *job, object error) except -1
    cdef int submit_future(self, BaseFuture future) except -1
    cdef int _start_worker(self) except -1
    cdef int _refuse(self) except -1
