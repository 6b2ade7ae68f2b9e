# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""Queues between greenlets of any hubs, asyncio tasks and threads at once, with the interfaces of the standard ones.

Objects are stored in a ring that is a list, changed in stretches of code under the interpreter lock in which no Python
code runs. Such a stretch is atomic already: a lock-free ring of Python objects would add atomic instructions to what
needs none, for the interpreter lock is taken anyhow. Lock-free are the native queues, where threads run without that
lock: efio/native/ring.h, mpsc.h, spsc.h. docs/efio.md has the figures.

Invariants, whenever Python code may run:
 * somebody waits to get => nothing is stored; somebody waits to put => the queue is full;
 * nothing and nobody is both in a list and handed over.
So an item that comes while somebody waits is handed to him (the first one), and a place that becomes free is filled
with the item of the first who waits to put it: nobody is overtaken, and a waiter has what he waited for when he is
woken. If a getter is killed, cancelled or interrupted after that, his item goes back to the front.

Nothing here is entered twice, so these queues may be used in destructors and weak reference callbacks, which
queue.Queue may not. PriorityQueue is the exception: comparing items may run Python code, so a mutex is held meanwhile;
for the same reason a waiting putter is not served by the getter, but called to try again.

The module `queue` is the source of all semantics, including those of shutdown() in Python 3.13.
"""

import queue as _queue
from heapq import heappop, heappush
from types import GenericAlias

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_SET_ITEM
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t

from efio._locks cimport Mutex
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

from efio._queues_types import QueueStatistics, ShutDown

Empty = _queue.Empty
Full = _queue.Full

cdef enum:
    SMALLEST = 8  # places, a power of two

cdef object NOTHING = object()  # no item
cdef object ENDED = object()  # what a waiter finds instead of an item when the queue is shut down


cdef uint64_t queue_deadline(object timeout) except? 0:
    if timeout is None:
        return EFIO_FOREVER
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return deadline_of(timeout)


cdef class Channel:
    """What all queues are: storage, who waits on both sides, an end."""

    cdef list ring  # places, a power of two of them; empty ones hold None
    cdef Py_ssize_t head, count  # the oldest item; how many
    cdef Py_ssize_t peak  # how many there were at most since it was empty
    cdef Py_ssize_t limit  # <= 0: no limit
    cdef bint lifo, ended, dropped
    cdef waitlist getters, putters, joiners
    cdef readonly Py_ssize_t unfinished_tasks
    cdef Py_ssize_t puts
    cdef Mutex guard  # PriorityQueue's
    cdef object __weakref__

    def __cinit__(self):
        self.ring = [None] * SMALLEST

    # --- storage

    # Makes the ring as large as that. May run a garbage collection, and anything in it: afterwards look again.
    cdef int resize(self, Py_ssize_t places) except -1:
        cdef list fresh = [None] * places, old
        cdef Py_ssize_t i, mask
        cdef object item
        old = self.ring
        mask = PyList_GET_SIZE(old) - 1
        if self.count >= places:
            return 0
        for i in range(self.count):  # exchanges the references
            item = <object>PyList_GET_ITEM(old, (self.head + i) & mask)
            Py_INCREF(item)
            Py_DECREF(None)
            PyList_SET_ITEM(fresh, i, item)
        self.ring = fresh
        self.head = 0
        return 0

    cdef int reserve(self) except -1:
        while self.count == PyList_GET_SIZE(self.ring):
            self.resize(2 * self.count)
        return 0

    # reserve() was called.
    cdef int store(self, object item) except -1:
        cdef Py_ssize_t i = (self.head + self.count) & (PyList_GET_SIZE(self.ring) - 1)
        Py_INCREF(item)
        PyList_SET_ITEM(self.ring, i, item)
        Py_DECREF(None)
        self.count += 1
        return 0

    # Back to where it was taken from. reserve() was called.
    cdef int store_back(self, object item) except -1:
        if self.lifo:
            return self.store(item)
        self.head = (self.head - 1) & (PyList_GET_SIZE(self.ring) - 1)
        Py_INCREF(item)
        PyList_SET_ITEM(self.ring, self.head, item)
        Py_DECREF(None)
        self.count += 1
        return 0

    # There is one.
    cdef object fetch(self):
        cdef Py_ssize_t mask = PyList_GET_SIZE(self.ring) - 1
        cdef Py_ssize_t i = (self.head + self.count - 1 if self.lifo else self.head) & mask
        cdef object item = <object>PyList_GET_ITEM(self.ring, i)
        Py_INCREF(None)
        PyList_SET_ITEM(self.ring, i, None)
        Py_DECREF(item)
        if not self.lifo:
            self.head = (self.head + 1) & mask
        if self.count > self.peak:
            self.peak = self.count
        self.count -= 1
        if self.count == 0:
            # A ring that was nearly empty since it was empty last is too large. (To shrink whenever it is nearly empty
            # would mean to grow again with each burst.)
            if mask > 1023 and self.peak < mask >> 3:
                self.resize((mask + 1) >> 1)
            self.peak = 0
        return item

    # --- one step each

    # offer() when there is nothing special about it, in few instructions; False says nothing.
    cdef inline bint store_quickly(self, object item) noexcept:
        cdef Py_ssize_t size = PyList_GET_SIZE(self.ring)
        if (self.getters.first != NULL or self.count == size or self.ended or self.guard is not None
                or 0 < self.limit <= self.count):
            return False
        Py_INCREF(item)
        PyList_SET_ITEM(self.ring, (self.head + self.count) & (size - 1), item)
        Py_DECREF(None)
        self.count += 1
        self.puts += 1
        self.unfinished_tasks += 1
        return True

    # True when it was handed over or stored; False when the queue is full, then `w`, if any, waits.
    cdef bint offer(self, object item, Waiter waiting) except -1:
        cdef Waiter w
        self.reserve()
        if self.ended:
            raise ShutDown
        if 0 < self.limit <= self.count:
            if waiting is not None:
                waitlist_append(&self.putters, waiting)
            return False
        while self.getters.first != NULL:
            w = waitlist_pop(&self.getters)
            w.payload = item
            if w.wake():
                self.puts += 1
                self.unfinished_tasks += 1
                return True
        self.store(item)
        self.puts += 1
        self.unfinished_tasks += 1
        return True

    # An item, or NOTHING; then `w`, if any, waits.
    cdef object poll(self, Waiter waiting):
        cdef object item
        if self.count == 0:
            if self.ended:
                raise ShutDown
            if waiting is not None:
                waitlist_append(&self.getters, waiting)
            return NOTHING
        item = self.fetch()
        if self.putters.first != NULL:
            self.admit()
        return item

    # There is room: for the item of the first who waits with one.
    cdef int admit(self) except -1:
        cdef Waiter w
        while self.putters.first != NULL and not 0 < self.limit <= self.count:
            self.reserve()
            if self.putters.first == NULL:
                break
            w = waitlist_pop(&self.putters)
            if w.wake():
                self.store(w.payload)
                self.puts += 1
                self.unfinished_tasks += 1
        return 0

    # An item that was handed to somebody who cannot take it.
    cdef int give_back(self, object item) except -1:
        cdef Waiter w
        if item is ENDED:
            return 0
        self.reserve()
        while self.getters.first != NULL:
            w = waitlist_pop(&self.getters)
            w.payload = item
            if w.wake():
                return 0
        if self.dropped:
            return self.finished(1)
        return self.store_back(item)

    cdef int finished(self, Py_ssize_t n) except -1:
        self.unfinished_tasks = max(0, self.unfinished_tasks - n)
        if self.unfinished_tasks == 0:
            while waitlist_wake(&self.joiners):
                pass
        return 0

    # --- waiting

    cdef int put_until(self, object item, uint64_t deadline) except -1:
        cdef Waiter w
        cdef bint woken
        while True:
            w = Waiter()
            w.payload = item
            if self.offer(item, w):
                return 0
            try:
                woken = w.wait_until(deadline)
            except BaseException:
                self.no_putter(w)
                raise
            if self.putter_is_done(w, woken):
                return 0

    async def put_until_async(self, item, uint64_t deadline):
        cdef Waiter w
        cdef bint woken
        while True:
            w = Waiter()
            w.payload = item
            if self.offer(item, w):
                return
            try:
                woken = await w.wait_until_async(deadline)
            except BaseException:
                self.no_putter(w)
                raise
            if self.putter_is_done(w, woken):
                return

    cdef int no_putter(self, Waiter w) except -1:
        waitlist_remove(&self.putters, w)
        if w.woken and self.guard is not None:
            waitlist_wake(&self.putters)  # was called to try again: let the next one try
        return 0

    # False: has to try again.
    cdef bint putter_is_done(self, Waiter w, bint woken) except -1:
        cdef object item = w.payload
        waitlist_remove(&self.putters, w)
        w.payload = None
        if not woken:
            raise Full
        if item is ENDED:
            raise ShutDown
        return self.guard is None

    cdef object get_until(self, uint64_t deadline):
        cdef object item
        cdef bint woken
        cdef Waiter w = Waiter()
        item = self.poll(w)
        if item is not NOTHING:
            return item
        try:
            woken = w.wait_until(deadline)
        except BaseException:
            self.no_getter(w)
            raise
        return self.got(w, woken)

    async def get_until_async(self, uint64_t deadline):
        cdef object item
        cdef bint woken
        cdef Waiter w = Waiter()
        item = self.poll(w)
        if item is not NOTHING:
            return item
        try:
            woken = await w.wait_until_async(deadline)
        except BaseException:
            self.no_getter(w)
            raise
        return self.got(w, woken)

    cdef int no_getter(self, Waiter w) except -1:
        cdef object item
        waitlist_remove(&self.getters, w)
        if w.woken:
            item = w.payload
            w.payload = None
            self.give_back(item)
        return 0

    cdef object got(self, Waiter w, bint woken):
        cdef object item = w.payload
        waitlist_remove(&self.getters, w)
        w.payload = None
        if not woken:
            raise Empty
        if item is ENDED:
            raise ShutDown
        return item

    # --- the interface

    def put(self, item, block=True, timeout=None):
        cdef uint64_t deadline = EFIO_FOREVER
        if timeout is not None and block:
            deadline = queue_deadline(timeout)
        if self.store_quickly(item) or self.offer(item, None):
            return
        if not block:
            raise Full
        self.put_until(item, deadline)

    def get(self, block=True, timeout=None):
        cdef uint64_t deadline = EFIO_FOREVER
        cdef object item
        if timeout is not None and block:
            deadline = queue_deadline(timeout)
        item = self.poll(None)
        if item is not NOTHING:
            return item
        if not block:
            raise Empty
        return self.get_until(deadline)

    def put_nowait(self, item):
        if not self.offer(item, None):
            raise Full

    def get_nowait(self):
        cdef object item = self.poll(None)
        if item is NOTHING:
            raise Empty
        return item

    async def aput(self, item, timeout=None):
        if not self.offer(item, None):
            await self.put_until_async(item, queue_deadline(timeout))

    async def aget(self, timeout=None):
        cdef object item = self.poll(None)
        if item is NOTHING:
            item = await self.get_until_async(queue_deadline(timeout))
        return item

    def put_many(self, items, timeout=None):
        cdef uint64_t deadline = queue_deadline(timeout)
        cdef Py_ssize_t n = 0
        for item in items:
            if not self.offer(item, None):
                try:
                    self.put_until(item, deadline)
                except Full:
                    break
            n += 1
        return n

    cdef list more(self, object item, Py_ssize_t most):
        cdef list items = [item]
        try:
            while len(items) < most and self.count:
                item = self.poll(None)
                if item is NOTHING:
                    break
                items.append(item)
        except ShutDown:
            pass
        except BaseException:  # a comparison of a PriorityQueue has failed, or the greenlet was killed
            while items:
                self.give_back(items.pop())
            raise
        return items

    def get_many(self, most, block=True, timeout=None):
        if most < 1:
            raise ValueError(f"get_many: at least one, not {most}")
        return self.more(self.get(block, timeout), most)

    async def aget_many(self, most, timeout=None):
        if most < 1:
            raise ValueError(f"aget_many: at least one, not {most}")
        return self.more(await self.aget(timeout), most)

    def __iter__(self):
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self):
        while True:
            try:
                item = await self.aget()
            except ShutDown:
                return
            yield item

    def qsize(self):
        return self.count

    def empty(self):
        return self.count == 0

    def full(self):
        return 0 < self.limit <= self.count

    def shutdown(self, immediate=False):
        cdef Waiter w
        cdef list rest = []  # their ends may run anything: last
        self.ended = True
        if immediate:
            self.dropped = True
            while self.count:
                rest.append(self.fetch())
            self.finished(len(rest))
        while self.putters.first != NULL:
            w = waitlist_pop(&self.putters)
            w.payload = ENDED
            w.wake()
        while self.getters.first != NULL:
            w = waitlist_pop(&self.getters)
            w.payload = ENDED
            w.wake()

    def close(self, immediate=False):
        self.shutdown(immediate)

    @property
    def maxsize(self):
        return self.limit

    @maxsize.setter
    def maxsize(self, value):
        self.limit = value
        self.admit()

    @property
    def is_shutdown(self):
        return self.ended

    def statistics(self):
        cdef Py_ssize_t unfinished = self.unfinished_tasks if isinstance(self, Queue) else 0
        return QueueStatistics(self.count, self.limit, self.getters.n, self.putters.n, unfinished, self.puts,
                               self.ended)

    def __repr__(self):
        state = ", shut down" if self.ended else ""
        limit = f" of {self.limit}" if self.limit > 0 else ""
        return f"<efio.{type(self).__name__} object ({self.count}{limit}{state}) at {<size_t><void *>self:#x}>"

    __class_getitem__ = classmethod(GenericAlias)


cdef class SimpleQueue(Channel):
    """See _queues.pyi."""


cdef class Stack(Channel):
    """See _queues.pyi."""

    def __init__(self, maxsize=0):
        self.limit = maxsize
        self.lifo = True

    def push(self, item, block=True, timeout=None):
        self.put(item, block, timeout)

    def pop(self, block=True, timeout=None):
        return self.get(block, timeout)


cdef class Queue(Channel):
    """See _queues.pyi."""

    def __init__(self, maxsize=0):
        self.limit = maxsize

    def task_done(self):
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self.finished(1)

    def join(self, timeout=None):
        cdef uint64_t deadline = queue_deadline(timeout)
        cdef Waiter w
        while self.unfinished_tasks:
            w = Waiter()
            if not self.unfinished_tasks:
                break
            waitlist_append(&self.joiners, w)
            try:
                if not w.wait_until(deadline):
                    return False
            finally:
                waitlist_remove(&self.joiners, w)
        return True

    async def ajoin(self, timeout=None):
        cdef uint64_t deadline = queue_deadline(timeout)
        cdef Waiter w
        while self.unfinished_tasks:
            w = Waiter()
            if not self.unfinished_tasks:
                break
            waitlist_append(&self.joiners, w)
            try:
                if not await w.wait_until_async(deadline):
                    return False
            finally:
                waitlist_remove(&self.joiners, w)
        return True


cdef class LifoQueue(Queue):
    """See _queues.pyi."""

    def __init__(self, maxsize=0):
        self.limit = maxsize
        self.lifo = True


cdef class PriorityQueue(Queue):
    """See _queues.pyi."""

    cdef list heap

    def __init__(self, maxsize=0):
        self.limit = maxsize
        self.heap = []
        self.guard = Mutex()

    cdef int reserve(self) except -1:
        return 0

    cdef int store(self, object item) except -1:
        try:
            heappush(self.heap, item)
        finally:  # an item that cannot be compared is in it all the same
            self.count = PyList_GET_SIZE(self.heap)
        return 0

    cdef int store_back(self, object item) except -1:
        return self.store(item)

    cdef object fetch(self):
        try:
            return heappop(self.heap)
        finally:
            self.count = PyList_GET_SIZE(self.heap)

    cdef bint offer(self, object item, Waiter waiting) except -1:
        if not self.guard.take():
            self.guard.lock_until(EFIO_FOREVER)
        try:
            if not Channel.offer(self, item, waiting):
                return False
            if self.putters.first != NULL:
                self.admit()  # it was handed over: there is still room
            return True
        finally:
            self.guard.unlock()

    cdef object poll(self, Waiter waiting):
        if not self.guard.take():
            self.guard.lock_until(EFIO_FOREVER)
        try:
            return Channel.poll(self, waiting)
        finally:
            self.guard.unlock()

    cdef int admit(self) except -1:
        cdef Py_ssize_t room = self.limit - self.count if self.limit > 0 else self.putters.n
        while room > 0 and waitlist_wake(&self.putters):
            room -= 1
        return 0

    cdef int give_back(self, object item) except -1:
        if not self.guard.take():
            self.guard.lock_until(EFIO_FOREVER)
        try:
            return Channel.give_back(self, item)
        finally:
            self.guard.unlock()

    def shutdown(self, immediate=False):
        if not self.guard.take():
            self.guard.lock_until(EFIO_FOREVER)
        try:
            Channel.shutdown(self, immediate)
        finally:
            self.guard.unlock()
