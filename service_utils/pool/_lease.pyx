# cython: language_level=3, binding=False
"""What who has acquired something holds in their hands; and lending and taking back while nobody waits.

That is the path of every query and request, so it is compiled: 0.3 us instead of 1.1. Whatever takes longer is in
lending.py, which tells how it is made and why this needs no lock. Nothing here runs other Python code between taking a
slot from the list, or looking at who waits, and the end of what is done with it, but where that is said.
"""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil
    object PyWeakref_NewRef(object o, PyObject *callback)

cdef extern from "greenlet/greenlet.h":
    void PyGreenlet_Import()
    # declared as an object: Cython then owns the reference
    object PyGreenlet_GetCurrent_ "(PyObject *)PyGreenlet_GetCurrent"()

import logging
from time import monotonic
from types import GenericAlias

from service_utils.pool.errors import LeaseOver

PyGreenlet_Import()

cdef object log = logging.getLogger("service_utils.pool")


cdef class Guard:
    """The lock of a pool, which knows whether the caller has it already.

    The garbage collector may run anywhere, so also while a thread has the lock; and what it throws away may give a
    connection back: a generator, or a greenlet, that stands in a block. That must not wait for the lock.
    """

    cdef object _lock
    cdef unsigned long _owner

    def __init__(self, lock):
        self._lock = lock

    def __enter__(self):
        self._lock.acquire()
        self._owner = PyThread_get_thread_ident()  # nothing can come between

    def __exit__(self, kind, error, traceback):
        self._owner = 0
        self._lock.release()

    @property
    def mine(self):
        return self._owner == PyThread_get_thread_ident()


cdef class Slot:
    """A place in the pool, with a connection in it or (for a moment) without. Known to the pool and one lease."""

    cdef public object connection
    cdef public double expires  # when it is too old
    cdef public double idle_limit  # seconds
    cdef public double idle_since
    cdef public double due  # when lending it needs a second look: too old, unused for long, suspicious (0)
    cdef public object holder  # weak reference to a greenlet; None: idle, or on the way to who has waited
    cdef public unsigned long thread
    cdef public double since  # held
    cdef public Py_ssize_t uses
    cdef public bint forked  # it is the parent's; this is the child

    __class_getitem__ = classmethod(GenericAlias)

    cpdef hold(self, double now):
        """Somebody has it: the caller."""
        self.since = now
        self.thread = PyThread_get_thread_ident()
        self.holder = PyWeakref_NewRef(PyGreenlet_GetCurrent_(), NULL)


cdef class Lease:
    """One connection, lent until ``release()``, ``discard()`` or the end of the ``with`` block.

    ``with pool.acquire() as connection:`` gives it back, and discards it when the block was left by an error, unless
    that is an Exception and the connector says that the connection is clean. A lease that is dropped without either is
    discarded and reported.
    """

    cdef Quick _pool
    cdef readonly Slot _slot

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self, Quick pool not None, Slot slot not None):
        self._pool = pool
        self._slot = slot

    @property
    def connection(self):
        """LeaseOver after it was given back, and in the child of a fork."""
        if self._slot is None:
            raise LeaseOver(f"{self._pool.name}: the connection was given back already; acquire another one")
        if self._slot.forked:
            raise LeaseOver(
                f"{self._pool.name}: the connection belongs to the parent process; acquire one after the fork"
            )
        return self._slot.connection

    @property
    def over(self):
        """Whether it was given back."""
        return self._slot is None

    def release(self):
        """Gives it back; it goes to the first one who waits. Nothing happens the second time."""
        cdef Slot slot = self._slot
        if slot is not None:
            self._slot = None
            self._pool.take_back(slot)

    def discard(self, *, suspect=False):
        """Ends the connection, whatever its state. ``suspect``: look at the idle ones before lending them."""
        cdef Slot slot = self._slot
        if slot is not None:
            self._slot = None
            self._pool._discard(slot, suspect)

    def __enter__(self):
        return self.connection

    def __exit__(self, kind, error, traceback):
        cdef Slot slot = self._slot
        if slot is None:
            return
        self._slot = None
        if error is None:
            self._pool.take_back(slot)
        else:
            self._pool._after_error(slot, error)

    def __del__(self):
        cdef Slot slot = self._slot
        if slot is not None:
            self._slot = None
            try:
                self._pool._dropped(slot)
            except Exception:  # the interpreter ends, and half of it is gone: so will be the connection
                pass


cdef class Quick:
    """The part of ``Lending`` that is compiled."""

    cdef public str name
    cdef public object _idle  # list of slots
    cdef public object _waiting
    cdef public object _lost
    cdef public bint _closed
    cdef public object _is_clean
    cdef public double _second_look_after

    __class_getitem__ = classmethod(GenericAlias)

    def acquire(self, timeout=-1):
        """Lends a connection within ``timeout`` seconds, connecting included (-1: as the pool says, None: for ever).

        PoolExhausted when there was none in time or too many wait; PoolClosed; what ``connector.connect`` raises.
        """
        cdef Slot slot
        cdef double now
        if not self._idle:
            return self._acquire_slowly(None, timeout)
        slot = self._idle.pop()
        now = monotonic()
        if now >= slot.due:
            return self._acquire_slowly(slot, timeout)
        slot.hold(now)
        slot.uses += 1
        return Lease.__new__(Lease, self, slot)

    def _give_back(self, Slot slot not None):
        self.take_back(slot)

    cdef int take_back(self, Slot slot) except -1:
        cdef double now
        if slot.forked:
            self._abandon(slot)
            return 0
        if self._is_clean is not None:
            try:
                clean = self._is_clean(slot.connection)  # other code
            except Exception as error:
                log.debug("%s: nobody knows how a connection stands: %r", self.name, error)
                clean = False
            if not clean:
                self._discard(slot, False)
                return 0
        now = slot.idle_since = monotonic()
        if now >= slot.expires or self._waiting or self._closed or self._lost:
            self._give_slowly(slot, now)
            return 0
        slot.due = min(slot.expires, now + self._second_look_after, now + slot.idle_limit)
        slot.holder = None
        self._idle.append(slot)
        if self._waiting or self._closed:
            self._after_put()
        return 0
