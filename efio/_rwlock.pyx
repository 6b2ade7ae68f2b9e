# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""RWLock: many readers or one writer, in the order in which they came.

The rule is that of a queue (the "task-fair" locks of B. Brandenburg, J. Anderson, "Spin-based reader-writer
synchronization for multiprocessor real-time systems", 2010): who finds somebody waiting waits behind him, so neither
readers nor writers starve; when the lock becomes free, the first writer gets it, or all readers up to the next writer.
It is handed over, not left to be taken.

Holders are known: a reader that reads again is let in (behind a waiting writer it would wait for itself), one that
wants to write is refused.
"""

from libc.stdint cimport uint64_t

from efio._sync_types import RWLockStatistics

from efio._locks cimport acquire_deadline
from efio._parking cimport (
    EFIO_FOREVER,
    Waiter,
    current_greenlet,
    waitlist,
    waitlist_append,
    waitlist_pop,
    waitlist_remove,
)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil


cdef inline object _me():
    cdef object me = current_greenlet()
    return me if me is not None else PyThread_get_thread_ident()


cdef class _Side:
    """`with lock.reading:`, `with lock.writing:`"""

    cdef RWLock lock
    cdef bint writes

    def __enter__(self):
        self.lock.enter(self.writes, EFIO_FOREVER)
        return self.lock

    def __exit__(self, kind, error, traceback):
        self.lock.leave(self.writes)


cdef class RWLock:
    """See _rwlock.pyi."""

    cdef dict readers  # holder: how often
    cdef object writer  # holder or None
    cdef waitlist waiting  # payload: True for a writer; who is woken holds it
    cdef object __weakref__

    def __cinit__(self):
        self.readers = {}

    cdef bint enter(self, bint writes, uint64_t deadline) except -1:
        cdef object me = _me()
        cdef Waiter w
        if self.writer is not None and self.writer == me:
            raise RuntimeError("the caller holds this RWLock for writing already: downgrade() lets others read")
        if me in self.readers:
            if writes:
                raise RuntimeError("the caller reads, and would wait for itself: release_read() first, then check "
                                   "again what was read")
            self.readers[me] += 1
            return True
        if self.admit(me, writes):
            return True
        if deadline == 1:
            return False
        w = Waiter()
        w.payload = (me, writes)
        if self.admit(me, writes):
            return True
        waitlist_append(&self.waiting, w)
        try:
            if w.wait_until(deadline):
                return True
        except BaseException:
            waitlist_remove(&self.waiting, w)
            if w.woken:
                self.release_for(me, writes)
            else:
                self.hand_over()  # the one behind may be a reader
            raise
        waitlist_remove(&self.waiting, w)
        self.hand_over()
        return False

    cdef bint admit(self, object me, bint writes) except -1:
        if self.waiting.first != NULL or self.writer is not None or writes and self.readers:
            return False
        if writes:
            self.writer = me
        else:
            self.readers[me] = 1
        return True

    cdef int leave(self, bint writes) except -1:
        cdef object me = _me()
        if writes and (self.writer is None or self.writer != me):
            raise RuntimeError("this RWLock is not held for writing by the caller")
        if not writes and me not in self.readers:
            raise RuntimeError("this RWLock is not held for reading by the caller")
        return self.release_for(me, writes)

    cdef int release_for(self, object me, bint writes) except -1:
        cdef Py_ssize_t n
        if writes:
            self.writer = None
        else:
            n = self.readers[me]
            if n > 1:
                self.readers[me] = n - 1
                return 0
            del self.readers[me]
        return self.hand_over()

    cdef int hand_over(self) except -1:
        cdef Waiter w
        cdef object who
        cdef bint writes
        while self.waiting.first != NULL and self.writer is None:
            w = <Waiter>self.waiting.first
            who, writes = w.payload
            if writes and self.readers:
                return 0
            waitlist_remove(&self.waiting, w)
            if writes:
                self.writer = who
            else:
                self.readers[who] = 1
            if not w.wake():  # has left meanwhile
                if writes:
                    self.writer = None
                else:
                    del self.readers[who]
        return 0

    def acquire_read(self, blocking=True, timeout=-1):
        return self.enter(False, acquire_deadline(blocking, timeout))

    def acquire_write(self, blocking=True, timeout=-1):
        return self.enter(True, acquire_deadline(blocking, timeout))

    def release_read(self):
        self.leave(False)

    def release_write(self):
        self.leave(True)

    def downgrade(self):
        cdef object me = _me()
        if self.writer is None or self.writer != me:
            raise RuntimeError("this RWLock is not held for writing by the caller")
        self.readers[me] = 1
        self.writer = None
        self.hand_over()

    @property
    def reading(self):
        cdef _Side side = _Side()
        side.lock = self
        return side

    @property
    def writing(self):
        cdef _Side side = _Side()
        side.lock = self
        side.writes = True
        return side

    @property
    def waiters(self):
        return self.waiting.n

    def statistics(self):
        return RWLockStatistics(len(self.readers), self.writer is not None, self.waiting.n)

    def __repr__(self):
        state = "written" if self.writer is not None else f"{len(self.readers)} reading" if self.readers else "free"
        return f"<{state} efio.RWLock object ({self.waiting.n} waiting) at {<size_t><void *>self:#x}>"

    def _at_fork_reinit(self):
        while waitlist_pop(&self.waiting) is not None:
            pass
        self.writer = None
        self.readers = {}
