# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""The pool's queue and the loop of its threads; see efio/native/pool.h for the queue and pool.py for the rest.

What is in the queue is either a future, whose call needs the interpreter lock, or a native job, which does not. A
worker takes calls one after the other while it has that lock (64 of them, then the loop in Python looks whether another
thread wants it), and lets go of it when there are none, or when the next one is native.

Two changes of the thread that holds the interpreter lock are most of a round trip. So whoever waits for the last call
in the queue is woken after the worker has let go of the lock, not before: it would wake up only to wait again.
"""

from concurrent.futures import CancelledError
from concurrent.futures.thread import BrokenThreadPool

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN

from efio._futures cimport BaseFuture, efio_job, new_future
from efio._parking cimport (
    EFIO_FOREVER,
    Waiter,
    efio_parker,
    efio_unpark,
    waitlist_append,
    waitlist_remove,
    waitlist_wake,
)

import logging
from queue import Full

from efio._pool_types import PoolStatistics

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef enum:
    TURN = 64  # calls between two looks at who wants the interpreter lock

cdef str FORKED = "the process was forked: what was submitted before is run in the parent only"
cdef object LOGGER = logging.getLogger("concurrent.futures")
cdef bint exiting = False


def exit_begins():
    """Pools accept nothing any more."""
    global exiting
    exiting = True


@cython.final
cdef class Room:
    """A wait for room in the queue. Not on the stack, which greenlets take with them when they are switched out."""

    cdef Core core
    cdef efio_pool *pool
    cdef efio_room room
    cdef Waiter waiter

    def __init__(self, Core core):
        self.core = core
        self.pool = core.pool
        self.waiter = Waiter()
        self.room.parker = &self.waiter.parker
        core.rooms.append(self)
        efio_pool_await_room(self.pool, &self.room)

    cdef int leave(self) except -1:
        if self.pool == NULL:  # the queue was left behind by a fork
            return 0
        self.core.rooms.remove(self)
        # Who was called and does not go on because of it passes it on; one call too many does no harm.
        if not efio_pool_end_wait(self.pool, &self.room) and self.pool.wanting:
            efio_pool_call_submitter(self.pool)
        return 0


@cython.final
cdef class NativeCall:
    """Not on the stack, which greenlets take with them when they are switched out."""

    cdef efio_call call
    cdef Waiter waiter
    cdef object error  # why it was not run
    cdef bint lost  # by a fork

    cdef int wait(self) except -1:
        cdef Waiter w
        interruption = None
        while True:
            w = self.waiter = Waiter()
            if not efio_call_wait(&self.call, &w.parker):
                break
            try:
                w.wait_until(EFIO_FOREVER)
                if not self.lost:
                    break
            except BaseException as e:
                interruption = e
            if self.lost:
                raise RuntimeError(FORKED)
            if not efio_call_leave(&self.call, &w.parker):
                break
        with nogil:
            efio_call_end(&self.call)
        if self.error is not None:
            raise self.error
        if interruption is not None:
            raise interruption
        return 0


cdef class Core:
    """What a pool and its threads share. The threads do not know the pool, so that it may be dropped."""

    def __init__(self, Py_ssize_t max_workers, Py_ssize_t capacity, starter):
        self.max_workers = max_workers
        self.capacity = capacity
        self.starter = starter
        self.workers = []
        self.rooms = []
        self.calls = set()
        self.pool = efio_pool_new(capacity)
        if self.pool == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef efio_job *job
        if self.pool != NULL:
            while True:
                job = efio_pool_withdraw(self.pool)
                if job == NULL:
                    break
                if job.run == NULL:
                    Py_DECREF(<object>job.owner)
            efio_pool_free(self.pool)

    cdef int _start_worker(self) except -1:
        cdef Worker worker = Worker(self)
        self.started += 1
        self.alive += 1
        self.workers.append(worker)
        try:
            self.starter(worker, self.started - 1)
        except BaseException:
            worker.ended()
            if self.alive == 0:
                raise
        return 0

    cdef int _refuse(self) except -1:
        if self.broken is not None:
            raise BrokenThreadPool(self.broken)
        if exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        raise RuntimeError("cannot schedule new futures after shutdown")

    # As soon as it is in the queue: before the interpreter lock is let go of, and a worker could be done with it.
    cdef void list_future(self, BaseFuture future) noexcept:
        future.next_unfinished = self.unfinished
        future.prev_unfinished = NULL
        if self.unfinished != NULL:
            (<BaseFuture>self.unfinished).prev_unfinished = <void *>future
        self.unfinished = <void *>future

    # The caller holds a reference.
    cdef void unlist_future(self, BaseFuture future) noexcept:
        if future.prev_unfinished != NULL:
            (<BaseFuture>future.prev_unfinished).next_unfinished = future.next_unfinished
        elif self.unfinished == <void *>future:
            self.unfinished = future.next_unfinished
        else:
            return
        if future.next_unfinished != NULL:
            (<BaseFuture>future.next_unfinished).prev_unfinished = future.prev_unfinished
        future.next_unfinished = future.prev_unfinished = NULL

    cdef int submit_future(self, BaseFuture future) except -1:
        Py_INCREF(future)  # the queue's
        try:
            self.submit_job(&future.job)
        except BaseException:
            Py_DECREF(future)
            raise
        self.list_future(future)
        return 0

    # 0, or EAGAIN: full. The job's owner holds it until it was run.
    cdef int try_submit(self, efio_job *job) except -1:
        cdef int e
        if self.pool.closed or exiting:
            self._refuse()
        if self.alive < self.max_workers and (
            self.submitted - self.finished - <Py_ssize_t>self.pool.ran >= self.alive
        ):
            self._start_worker()
        self.submitted += 1
        e = efio_pool_submit(self.pool, job)
        if e != 0:
            self.submitted -= 1
            if e != EAGAIN:
                self._refuse()
        return e

    # The same, but waits for room.
    cdef int submit_job(self, efio_job *job) except -1:
        cdef Room room
        if self.try_submit(job) == 0:
            return 0
        if self.is_worker():
            raise Full(
                f"the pool's queue has room for {self.capacity} calls, and one of its own threads would wait for "
                "itself: submit less from inside, or make the pool with a larger queue_size"
            )
        while True:
            room = Room(self)
            try:
                if self.try_submit(job) == 0:
                    return 0
                room.waiter.wait_until(EFIO_FOREVER)
            finally:
                room.leave()

    # Has a C function run by one of the threads, without the interpreter lock; returns, or raises, when it has ended.
    cdef int run_native(self, void (*function)(void *) noexcept nogil, void *argument) except -1:
        cdef NativeCall call = NativeCall()
        efio_call_init(&call.call, function, argument)
        self.submit_job(&call.call.job)
        self.calls.add(call)
        try:
            return call.wait()
        finally:
            self.calls.discard(call)

    async def submit_async(self, BaseFuture future):
        """Submits the future's call; a task of asyncio waits for room."""
        cdef Room room
        Py_INCREF(future)  # the queue's
        try:
            if self.try_submit(&future.job) == 0:
                self.list_future(future)
                return
            while True:
                room = Room(self)
                try:
                    if self.try_submit(&future.job) == 0:
                        self.list_future(future)
                        return
                    await room.waiter.wait_async()
                finally:
                    room.leave()
        except BaseException:
            Py_DECREF(future)
            raise

    def close(self):
        efio_pool_close(self.pool)

    def fail_queued(self, error):
        """Ends what is queued with an error; with None, cancels it."""
        cdef efio_job *job
        cdef BaseFuture future
        while True:
            job = efio_pool_withdraw(self.pool)
            if job == NULL:
                return
            self.finished += 1
            if job.run != NULL:
                self.cancel_native(job, error)
                continue
            future = <BaseFuture>job.owner
            self.unlist_future(future)
            Py_DECREF(future)
            try:
                if error is None:
                    future.cancel()
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            except Exception:  # set by somebody else
                LOGGER.critical("cannot cancel %r", future, exc_info=True)
            future.fn = future.args = future.kwargs = None

    cdef int cancel_native(self, efio_job *job, object error) except -1:
        cdef NativeCall call
        for call in self.calls:
            if &call.call.job == job:
                call.error = error if error is not None else CancelledError()
                efio_call_cancel(&call.call)
                return 0
        efio_job_cancel(job)
        return 0

    def break_down(self, reason):
        """A thread's initializer has failed."""
        self.broken = reason
        efio_pool_close(self.pool)
        self.fail_queued(BrokenThreadPool(reason))

    def is_worker(self):
        """Whether the caller is one of its threads."""
        return any([(<Worker>worker).thread == PyThread_get_thread_ident() for worker in self.workers])

    def wait_for_end(self):
        """Waits until all threads have ended, or are about to."""
        cdef Waiter w
        while self.alive:
            w = Waiter()
            waitlist_append(&self.enders, w)
            try:
                w.wait_until(EFIO_FOREVER)
            finally:
                waitlist_remove(&self.enders, w)

    def after_fork_in_child(self):
        """The threads are not here; what they had, and what was queued for them, is not run."""
        cdef Worker worker
        cdef BaseFuture future
        cdef bint closed = self.pool.closed
        cdef list lost = []
        cdef void *p = self.unfinished
        own = None
        for worker in self.workers:
            worker.gone = True
            if worker.thread == PyThread_get_thread_ident():
                own = worker.current
        while p != NULL:
            future = <BaseFuture>p
            p = future.next_unfinished
            if future is not own:
                lost.append(future)
        # The old queue may have been left in the middle of something: it is not used any more, nor freed. So the
        # references that lie in it are lost, and the list is the only one to know of what a worker just takes.
        self.pool = efio_pool_new(self.capacity)
        if self.pool == NULL:
            raise MemoryError
        self.unfinished = NULL
        self.workers = []
        for room in self.rooms:  # greenlets of this thread: they try the new queue
            (<Room>room).pool = NULL
            (<Room>room).waiter.wake()
        self.rooms = []
        self.started = self.alive = self.submitted = self.finished = 0
        if closed:
            efio_pool_close(self.pool)
        for call in self.calls:
            (<NativeCall>call).lost = True
            if (<NativeCall>call).waiter is not None:
                (<NativeCall>call).waiter.wake()
        self.calls = set()
        error = RuntimeError(FORKED)
        for future in lost:
            future.fail_in_child(error)

    def statistics(self):
        cdef Py_ssize_t queued = efio_ring_size(self.pool.ring)
        cdef Py_ssize_t unfinished = self.submitted - self.finished - <Py_ssize_t>self.pool.ran
        return PoolStatistics(
            workers=self.alive, max_workers=self.max_workers, idle=self.pool.idle & 0xffff, queued=queued,
            queue_size=self.capacity, running=max(0, unfinished - queued), submitted=self.submitted,
            waiting_submitters=self.pool.wanting, is_shutdown=bool(self.pool.closed),
        )


cdef class Worker:
    """One thread of a pool."""

    cdef readonly Core core
    cdef BaseFuture current
    cdef unsigned long thread
    cdef bint gone  # the pool goes on without it

    def __init__(self, Core core):
        self.core = core

    def begin(self):
        """In the thread itself."""
        self.thread = PyThread_get_thread_ident()

    def run(self):
        """Some calls; False when the pool has ended."""
        cdef Core core = self.core
        cdef efio_pool *pool = core.pool
        cdef efio_job *job
        cdef Waiter last = None  # who waits for the last call
        cdef BaseFuture future
        cdef bint alive
        cdef int n = 0
        while n < TURN:
            n += 1
            job = efio_pool_next(pool)
            if job == NULL or job.run != NULL:
                alive = self.wait(pool, &job, last)
                last = None
                if not alive:
                    return False
                efio_pool_arrive(pool)
                if job == NULL:
                    continue
            elif last is not None:
                last.wake()
                last = None
            future = <BaseFuture>job.owner
            self.current = future
            Py_DECREF(future)
            try:
                last = future.execute(True)
            except BaseException:  # somebody else has set its result, or a callback has failed
                LOGGER.critical("Exception in worker", exc_info=True)
            if self.gone:  # it has forked, and this is the child
                return False
            core.unlist_future(future)
            self.current = None
            future = None  # nothing of it is kept while this waits for the next one
            core.finished += 1
        if last is not None:
            last.wake()
        return True

    # Wakes who waits for the last call, runs the job if there is one, and native ones until there is a call: then True,
    # and the call is still in the queue, or in job[0]. False: the pool has ended.
    cdef bint wait(self, efio_pool *pool, efio_job **job, Waiter last) except -1:
        cdef efio_parker *parker = &last.parker if last is not None else NULL
        cdef bint alive
        with nogil:
            if parker != NULL:
                efio_unpark(parker)
            if job[0] != NULL:
                efio_job_run(pool, job[0])
            alive = efio_pool_await(pool, job)
        return alive

    def ended(self):
        """The thread runs nothing any more."""
        cdef Core core = self.core
        if self in core.workers:
            core.workers.remove(self)
            core.alive -= 1
            if core.alive == 0:
                while waitlist_wake(&core.enders):
                    pass


@cython.no_gc_clear
cdef class BasePool:
    """submit, and an end when it is dropped."""

    cdef readonly Core _core

    def __dealloc__(self):
        if self._core is not None:
            efio_pool_close(self._core.pool)

    def submit(self, fn, /, *args, **kwargs):
        cdef BaseFuture future
        if self._core is None:
            raise RuntimeError("this pool was not made by ThreadPool.__init__")
        future = new_future(fn, args, kwargs)
        self._core.submit_future(future)
        return future

    def run_native(self, size_t function, size_t argument=0):
        if self._core is None:
            raise RuntimeError("this pool was not made by ThreadPool.__init__")
        if function == 0:
            raise ValueError("run_native: the address of the function is 0")
        self._core.run_native(<void (*)(void *) noexcept nogil>function, <void *>argument)

    async def submit_async(self, fn, /, *args, **kwargs):
        cdef BaseFuture future
        if self._core is None:
            raise RuntimeError("this pool was not made by ThreadPool.__init__")
        future = new_future(fn, args, kwargs)
        await self._core.submit_async(future)
        return future

    def _set_core(self, Core core):
        self._core = core
