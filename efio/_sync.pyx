# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""Semaphore, Event, Condition and Once, between greenlets of any hubs, asyncio tasks and threads at once.

All of them are a little state and a list of waiters, changed in stretches of code under the interpreter lock in which
no other Python code runs; see _locks.pyx. What is given to a waiter is its own when it is woken (a permit, a
notification): nobody overtakes. A waiter that is killed, cancelled or interrupted after that passes it on.
"""

from libc.stdint cimport uint64_t

from efio._locks import RLock
from efio._sync_types import ConditionStatistics, EventStatistics, OnceStatistics, SemaphoreStatistics

from efio._parking cimport (
    EFIO_FOREVER,
    Waiter,
    deadline_of,
    waitlist,
    waitlist_append,
    waitlist_pop,
    waitlist_remove,
    waitlist_wake,
)
from efio._parking cimport efio_now_ns, current_greenlet

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil


cdef class Semaphore:
    """See _sync.pyi."""

    cdef Py_ssize_t permits  # > 0: nobody waits
    cdef waitlist waiting  # who is woken has a permit
    cdef object __weakref__

    def __init__(self, value=1):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self.permits = value

    cdef inline bint take(self) noexcept:
        if self.permits <= 0:
            return False
        self.permits -= 1
        return True

    cdef int give(self, Py_ssize_t n) except -1:
        while n > 0 and waitlist_wake(&self.waiting):
            n -= 1
        self.permits += n
        return 0

    def acquire(self, blocking=True, timeout=None):
        cdef Waiter w
        cdef uint64_t deadline
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if self.take():
            return True
        if not blocking:
            return False
        deadline = deadline_of(timeout)
        w = Waiter()
        if self.take():
            return True
        waitlist_append(&self.waiting, w)
        try:
            if w.wait_until(deadline):
                return True
        except BaseException:
            waitlist_remove(&self.waiting, w)
            if w.woken:
                self.give(1)
            raise
        waitlist_remove(&self.waiting, w)
        return False

    async def acquire_async(self, timeout=None):
        cdef Waiter w
        if self.take():
            return True
        w = Waiter()
        if self.take():
            return True
        waitlist_append(&self.waiting, w)
        try:
            if await w.wait_async(timeout):
                return True
        except BaseException:
            waitlist_remove(&self.waiting, w)
            if w.woken:
                self.give(1)
            raise
        waitlist_remove(&self.waiting, w)
        return False

    def release(self, n=1):
        if n < 1:
            raise ValueError("n must be one or more")
        self.give(n)

    def __enter__(self):
        self.acquire()
        return True

    def __exit__(self, kind, error, traceback):
        self.release()

    async def __aenter__(self):
        await self.acquire_async()
        return True

    async def __aexit__(self, kind, error, traceback):
        self.release()

    @property
    def value(self):
        return self.permits

    @property
    def waiters(self):
        return self.waiting.n

    def statistics(self):
        return SemaphoreStatistics(self.permits, self.waiting.n)

    def __repr__(self):
        return f"<efio.{type(self).__name__} at {<size_t><void *>self:#x}: value={self.permits}>"


cdef class BoundedSemaphore(Semaphore):
    """See _sync.pyi."""

    cdef Py_ssize_t most

    def __init__(self, value=1):
        Semaphore.__init__(self, value)
        self.most = value

    def release(self, n=1):
        if n < 1:
            raise ValueError("n must be one or more")
        if self.permits + n > self.most:
            raise ValueError("Semaphore released too many times")
        self.give(n)

    def __repr__(self):
        return f"<efio.BoundedSemaphore at {<size_t><void *>self:#x}: value={self.permits}/{self.most}>"


cdef class Event:
    """See _sync.pyi."""

    cdef bint flag
    cdef waitlist waiting
    cdef object __weakref__

    def is_set(self):
        return self.flag

    def set(self):
        self.flag = True
        # Those that wait now; who begins to wait after a clear() meanwhile waits for the next time.
        cdef Py_ssize_t n = self.waiting.n
        while n > 0 and waitlist_wake(&self.waiting):
            n -= 1

    def clear(self):
        self.flag = False

    def wait(self, timeout=None):
        cdef Waiter w
        cdef uint64_t deadline
        cdef bint woken
        if self.flag:
            return True
        deadline = deadline_of(timeout)
        w = Waiter()
        if self.flag:
            return True
        waitlist_append(&self.waiting, w)
        try:
            woken = w.wait_until(deadline)
        finally:
            waitlist_remove(&self.waiting, w)
        return woken

    async def wait_async(self, timeout=None):
        cdef Waiter w
        cdef bint woken
        if self.flag:
            return True
        w = Waiter()
        if self.flag:
            return True
        waitlist_append(&self.waiting, w)
        try:
            woken = await w.wait_async(timeout)
        finally:
            waitlist_remove(&self.waiting, w)
        return woken

    @property
    def waiters(self):
        return self.waiting.n

    def statistics(self):
        return EventStatistics(bool(self.flag), self.waiting.n)

    def __repr__(self):
        state = "set" if self.flag else "unset"
        return f"<efio.Event at {<size_t><void *>self:#x}: {state}>"

    def _at_fork_reinit(self):
        while waitlist_pop(&self.waiting) is not None:
            pass


cdef class Condition:
    """See _sync.pyi."""

    cdef object lock
    cdef waitlist waiting
    cdef object __weakref__
    cdef readonly object acquire, release

    def __init__(self, lock=None):
        self.lock = RLock() if lock is None else lock
        self.acquire = self.lock.acquire
        self.release = self.lock.release

    def __enter__(self):
        return self.lock.__enter__()

    def __exit__(self, kind, error, traceback):
        return self.lock.__exit__(kind, error, traceback)

    cdef bint owned(self) except -1:
        owned = getattr(self.lock, "_is_owned", None)
        if owned is not None:
            return owned()
        if self.lock.acquire(False):
            self.lock.release()
            return False
        return True

    def _is_owned(self):
        return self.owned()

    cdef object let_go(self):
        save = getattr(self.lock, "_release_save", None)
        if save is not None:
            return save()
        self.lock.release()
        return None

    cdef object take_again(self, state):
        restore = getattr(self.lock, "_acquire_restore", None)
        if restore is not None:
            restore(state)
        else:
            self.lock.acquire()

    def wait(self, timeout=None):
        cdef uint64_t deadline = deadline_of(timeout)
        if not self.owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        return self.wait_until(deadline)

    cdef bint wait_until(self, uint64_t deadline) except -1:
        cdef Waiter w = Waiter()
        cdef bint woken
        waitlist_append(&self.waiting, w)
        try:
            state = self.let_go()
        except BaseException:
            waitlist_remove(&self.waiting, w)
            raise
        try:
            woken = w.wait_until(deadline)
        except BaseException:
            waitlist_remove(&self.waiting, w)
            if w.woken:
                waitlist_wake(&self.waiting)  # it was notified for one of the others, then
            raise
        finally:
            waitlist_remove(&self.waiting, w)
            self.take_again(state)
        return woken

    def wait_for(self, predicate, timeout=None):
        cdef uint64_t deadline = deadline_of(timeout)
        result = predicate()
        while not result:
            if deadline != EFIO_FOREVER and efio_now_ns() >= deadline:
                break
            if not self.owned():
                raise RuntimeError("cannot wait on un-acquired lock")
            self.wait_until(deadline)
            result = predicate()
        return result

    def notify(self, n=1):
        if not self.owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        cdef Py_ssize_t left = n
        while left > 0 and waitlist_wake(&self.waiting):
            left -= 1

    def notify_all(self):
        self.notify(self.waiting.n)

    notifyAll = notify_all

    @property
    def waiters(self):
        return self.waiting.n

    def statistics(self):
        return ConditionStatistics(self.waiting.n)

    def __repr__(self):
        return f"<efio.Condition({self.lock!r}, {self.waiting.n} waiting)>"

    def _at_fork_reinit(self):
        self.lock._at_fork_reinit()
        while waitlist_pop(&self.waiting) is not None:
            pass


cdef class Once:
    """See _sync.pyi."""

    cdef object result
    cdef readonly bint done
    cdef bint running
    cdef object runner
    cdef waitlist waiting

    def __call__(self, function, *arguments, **keywords):
        cdef Waiter w
        cdef object me
        while not self.done:
            if self.running:
                me = current_greenlet()
                if self.runner == (me if me is not None else PyThread_get_thread_ident()):
                    raise RuntimeError("the function of this Once calls the Once, and would wait for itself")
                w = Waiter()
                if not self.running:
                    continue
                waitlist_append(&self.waiting, w)
                try:
                    w.wait_until(EFIO_FOREVER)
                except BaseException:
                    waitlist_remove(&self.waiting, w)
                    raise  # whoever else waits was or will be woken, too
                continue
            me = current_greenlet()
            if self.running or self.done:
                continue
            self.running = True
            self.runner = me if me is not None else PyThread_get_thread_ident()
            try:
                self.result = function(*arguments, **keywords)
                self.done = True
            finally:
                self.runner = None
                self.running = False
                while waitlist_wake(&self.waiting):
                    pass
        return self.result

    def statistics(self):
        return OnceStatistics(bool(self.done), bool(self.running), self.waiting.n)
