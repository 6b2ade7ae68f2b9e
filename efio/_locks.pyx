# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""Locks, with the interface of the standard ones, between greenlets of any hubs and threads at once.

A mutex is a flag and a list of those who wait. Both are changed under the interpreter lock only, in stretches of code
that run no Python, so taking a free one and releasing one that nobody waits for is a test and a store: no atomic
instruction, no system call.

Who gets it next: whoever comes first when it is free, so that one who works in short sections is not stopped at each of
them by a switch to somebody else (a convoy: M. Blasgen et al., "The convoy phenomenon", 1979). But the first one who
waits is called, one at a time, and one who was called and found it taken again is next in any case: the lock is handed
over to him without becoming free. So nobody who waits is overtaken for longer than it takes him to wake up once. That
is the rule of WebKit's and Rust's parking_lot ("eventual fairness") and of Go's sync.Mutex ("starvation mode"), but
decided by the event instead of by a clock.

A waiter that is killed, cancelled or interrupted passes on what it was given.
"""

from libc.stdint cimport uint64_t

from efio._sync_types import LockStatistics

from efio._parking cimport (
    EFIO_FOREVER,
    Waiter,
    current_greenlet,
    deadline_of,
    waitlist_append,
    waitlist_pop,
    waitlist_prepend,
    waitlist_remove,
)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef extern from "sched.h" nogil:
    int sched_yield()

cdef enum:
    AT_ONCE = 1  # a deadline long ago
    SPINS = 20

cdef object NO_TIMEOUT = -1  # a small number of the interpreter's own: comparing its identity is a short cut
TIMEOUT_MAX = 9223372036.0  # seconds, as threading.TIMEOUT_MAX: beyond, OverflowError


# What acquire(blocking, timeout) means, with the standard's errors.
cdef uint64_t acquire_deadline(bint blocking, object timeout) except? 0:
    cdef double seconds = timeout
    if not blocking:
        if seconds != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return AT_ONCE
    if seconds == -1:
        return EFIO_FOREVER
    if not seconds >= 0:
        raise ValueError("timeout value must be a non-negative number")
    if seconds > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return deadline_of(timeout)


cdef class Mutex:
    """Invariants: if somebody waits and nobody was called, it is held; a `starved` waiter is woken as new holder."""

    cdef bint lock_until(self, uint64_t deadline) except -1:
        cdef Waiter w
        cdef bint starved = False
        while True:
            w = Waiter()  # may run a garbage collection, and anything in it
            if self.take():
                return True
            w.starved = starved
            if starved:
                waitlist_prepend(&self.waiting, w)
            else:
                waitlist_append(&self.waiting, w)
            try:
                if not w.wait_until(deadline):
                    waitlist_remove(&self.waiting, w)
                    return False
            except BaseException:
                self.withdraw(w)
                raise
            if starved:
                return True
            self.calling = False
            if self.take():
                return True
            starved = True

    cdef int withdraw(self, Waiter w) except -1:
        waitlist_remove(&self.waiting, w)
        if not w.woken:
            return 0
        if w.starved:
            self.unlock()
        else:
            self.calling = False
            if self.take():
                self.unlock()  # calls the next one
        return 0

    # The caller holds it.
    cdef int unlock(self) except -1:
        cdef Waiter w
        while self.waiting.first != NULL:
            w = <Waiter>self.waiting.first
            if w.starved:
                waitlist_remove(&self.waiting, w)
                if w.wake():
                    return 0
            elif self.calling:
                break
            else:
                waitlist_remove(&self.waiting, w)
                self.calling = True
                self.held = False
                if w.wake():
                    return 0
                self.calling = False
                if not self.take():  # somebody was faster, and will call
                    return 0
        self.held = False
        return 0

    cdef int reset(self) except -1:
        # In the child of a fork: the holder and the waiters are not here.
        while waitlist_pop(&self.waiting) is not None:
            pass
        self.held = False
        self.calling = False
        return 0

    def __repr__(self):
        state = "locked" if self.held else "unlocked"
        return f"<{state} efio.{type(self).__name__} object ({self.waiting.n} waiting) at {<size_t><void *>self:#x}>"

    def locked(self):
        """Whether somebody holds it."""
        return self.held

    @property
    def waiters(self):
        """How many wait for it."""
        return self.waiting.n

    def statistics(self):
        return LockStatistics(bool(self.held), self.waiting.n)


cdef class Lock(Mutex):
    """See _locks.pyi."""

    def acquire(self, blocking=True, timeout=-1):
        cdef uint64_t deadline = EFIO_FOREVER
        if blocking is not True or timeout is not NO_TIMEOUT:
            deadline = acquire_deadline(blocking, timeout)
        if self.take():
            return True
        return deadline != AT_ONCE and self.lock_until(deadline)

    async def acquire_async(self, timeout=None):
        cdef uint64_t deadline
        cdef Waiter w
        cdef bint starved = False
        if self.take():
            return True
        deadline = deadline_of(timeout)
        while True:
            w = Waiter()
            if self.take():
                return True
            w.starved = starved
            if starved:
                waitlist_prepend(&self.waiting, w)
            else:
                waitlist_append(&self.waiting, w)
            try:
                if not await w.wait_until_async(deadline):
                    waitlist_remove(&self.waiting, w)
                    return False
            except BaseException:
                self.withdraw(w)
                raise
            if starved:
                return True
            self.calling = False
            if self.take():
                return True
            starved = True

    def release(self):
        if not self.held:
            raise RuntimeError("release unlocked lock")
        if self.waiting.first == NULL:
            self.held = False
        else:
            self.unlock()

    def __enter__(self):
        if not self.take():
            self.lock_until(EFIO_FOREVER)
        return True

    def __exit__(self, kind, error, traceback):
        if not self.held:
            raise RuntimeError("release unlocked lock")
        if self.waiting.first == NULL:
            self.held = False
        else:
            self.unlock()

    async def __aenter__(self):
        if not self.take():
            await self.acquire_async()
        return True

    async def __aexit__(self, kind, error, traceback):
        self.release()

    def _at_fork_reinit(self):
        self.reset()


cdef class Owned(Mutex):
    cdef bint belongs_to(self, object me) except -1:
        if not self.held:
            return False
        if self.owner is not None:
            return self.owner is me
        if self.owner_thread != PyThread_get_thread_ident():
            return False
        return me is None or me.parent is None  # what was no greenlet then is the thread's first one now

    # No Python code may run between taking it and this: who takes it there again must be known.
    cdef void own(self, object me, size_t count) noexcept:
        self.owner = me
        self.owner_thread = PyThread_get_thread_ident()
        self.count = count

    cdef int disown(self) except -1:
        cdef object owner = self.owner  # its end may run anything: last
        self.owner = None
        self.owner_thread = 0  # when it is handed over, it stays held before the next one has come round
        self.count = 0
        if self.waiting.first == NULL:
            self.held = False
        else:
            self.unlock()
        del owner
        return 0

    def _at_fork_reinit(self):
        self.owner = None
        self.owner_thread = 0
        self.count = 0
        self.reset()


cdef class RLock(Owned):
    """See _locks.pyi."""

    cdef inline bint enter(self, uint64_t deadline) except -1:
        cdef object me = current_greenlet()
        if not self.take():
            if self.belongs_to(me):
                self.count += 1
                return True
            if deadline == AT_ONCE or not self.lock_until(deadline):
                return False
        self.own(me, 1)
        return True

    cdef inline int leave(self) except -1:
        if not self.belongs_to(current_greenlet()):
            raise RuntimeError("cannot release un-acquired lock")
        if self.count > 1:
            self.count -= 1
        else:
            self.disown()
        return 0

    def acquire(self, blocking=True, timeout=-1):
        cdef uint64_t deadline = EFIO_FOREVER
        if blocking is not True or timeout is not NO_TIMEOUT:
            deadline = acquire_deadline(blocking, timeout)
        return self.enter(deadline)

    def release(self):
        self.leave()

    def __enter__(self):
        return self.enter(EFIO_FOREVER)

    def __exit__(self, kind, error, traceback):
        self.leave()

    # --- for threading.Condition and the standard library

    def _is_owned(self):
        return self.belongs_to(current_greenlet())

    def _recursion_count(self):
        return self.count if self._is_owned() else 0

    def _release_save(self):
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        state = (self.count, self.owner)
        self.disown()
        return state

    def _acquire_restore(self, state):
        cdef size_t count = state[0]
        cdef object me = current_greenlet()
        if not self.take():
            self.lock_until(EFIO_FOREVER)
        self.own(me, count)


cdef class TicketLock(Owned):
    """See _locks.pyi. Strictly first come, first served: who waits is next, and the lock is handed over."""

    cdef bint enter(self, uint64_t deadline) except -1:
        cdef object me = current_greenlet()
        if self.waiting.first != NULL or not self.take():
            if self.belongs_to(me):
                raise RuntimeError(f"the caller holds this {type(self).__name__} already, and would wait for itself")
            if deadline == AT_ONCE or not self.wait_for_turn(deadline):
                return False
        self.own(me, 1)
        return True

    # Waits as one that is next in any case.
    cdef bint wait_for_turn(self, uint64_t deadline) except -1:
        cdef Waiter w = Waiter()
        if self.waiting.first == NULL and self.take():
            return True
        w.starved = True
        waitlist_append(&self.waiting, w)
        try:
            if w.wait_until(deadline):
                return True
            waitlist_remove(&self.waiting, w)
            return False
        except BaseException:
            self.withdraw(w)
            raise

    cdef int leave(self) except -1:
        if not self.belongs_to(current_greenlet()):
            raise RuntimeError(f"this {type(self).__name__} is not held by the caller")
        return self.disown()

    def acquire(self, blocking=True, timeout=-1):
        return self.enter(acquire_deadline(blocking, timeout))

    def release(self):
        self.leave()

    def __enter__(self):
        return self.enter(EFIO_FOREVER)

    def __exit__(self, kind, error, traceback):
        self.leave()


cdef class SpinLock(TicketLock):
    """See _locks.pyi. Gives way a few times before it waits, and takes the lock from under those who wait."""

    cdef bint enter(self, uint64_t deadline) except -1:
        cdef object me = current_greenlet()
        cdef int spins = 0
        while not self.take():
            if self.belongs_to(me):
                raise RuntimeError("the caller holds this SpinLock already, and would wait for itself")
            if deadline == AT_ONCE:
                return False
            if spins == SPINS:
                if not self.lock_until(deadline):
                    return False
                break
            spins += 1
            with nogil:  # to spin with the interpreter lock would keep the holder from releasing
                sched_yield()
        self.own(me, 1)
        return True
