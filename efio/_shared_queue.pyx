# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The queue between processes for Python: efio/native/shared_queue.h, and how its kinds of callers wait.

A plain thread waits in the native function, without the interpreter lock. Greenlets and tasks of asyncio park
themselves, and a thread of this process, the bell, waits for them: one at most for messages and one for room, started
by the first who waits and ended when nobody has waited for a while.
"""

import errno
import pickle
from collections import deque
from queue import Empty, Full

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from efio._parking cimport Waiter, current_hub, deadline_of, efio_now_ns
from efio._peers cimport efio_peers, forks

from efio._gevent import original
from efio._peers import refused
from efio._pure.parking import allocate_lock
from efio._queues_types import ShutDown

cdef extern from "efio/native/shared_queue.h" nogil:
    enum: EFIO_SHQ_KIND
    ctypedef struct efio_shq_lane:
        uint64_t head, puts, tail, gets
    ctypedef struct efio_shq:
        efio_peers peers
        uint32_t ended
        efio_shq_lane lane[64]
        uint8_t data[1]
    ctypedef struct efio_shq_handle:
        efio_shq *q
        uint32_t lane, cap
    ctypedef struct efio_shq_item:
        uint32_t lane, tag, len
    uint64_t efio_shq_bytes(uint32_t lane_bytes)
    uint32_t efio_shq_max_message(uint32_t lane_bytes)
    int efio_shq_enter(efio_shq_handle *h, efio_shq *q, uint64_t bytes)
    void efio_shq_leave(efio_shq_handle *h)
    int efio_shq_put(efio_shq_handle *h, const void *data, uint32_t len, uint32_t tag)
    void efio_shq_signal(efio_shq_handle *h, uint32_t n)
    int efio_shq_claim(efio_shq_handle *h, efio_shq_item *item)
    int efio_shq_next(efio_shq_handle *h, efio_shq_item *item)
    void efio_shq_take(efio_shq_handle *h, const efio_shq_item *item)
    void efio_shq_release(efio_shq_handle *h, uint32_t lane)
    void efio_shq_copy(const efio_shq_item *item, uint8_t *to)
    bint efio_shq_ready(const efio_shq_handle *h)
    uint64_t efio_shq_size(const efio_shq *q)
    bint efio_shq_wait_message(efio_shq_handle *h, uint64_t deadline_ns)
    bint efio_shq_wait_room(efio_shq_handle *h, uint32_t len, uint64_t deadline_ns)
    void efio_shq_wait_claim(efio_shq_handle *h, uint32_t turn)
    void efio_shq_end(efio_shq_handle *h, uint32_t how)
    void efio_shq_nudge(efio_shq_handle *h)

cdef extern from "errno.h":
    enum: EAGAIN, EBUSY, EMSGSIZE, EPIPE, EBADMSG

KIND = EFIO_SHQ_KIND

# What a message is, beside its bytes.
cdef enum:
    RAW = 0  # bytes as they are
    PICKLED = 1
    MSGPACK = 2

cdef uint64_t TURN_NS = 200000000  # how long a thread is in native code before it looks for signals
cdef double LINGER = 5.0  # seconds that a bell without anybody waiting stays

cdef object _dumps = pickle.dumps
cdef object _loads = pickle.loads


def bytes_for(uint32_t lane_bytes):
    """Size of the segment of a queue whose lanes have so many bytes."""
    return efio_shq_bytes(lane_bytes)


def lane_offset(uint32_t lane_bytes):
    """Where the lanes begin."""
    return efio_shq_bytes(0)


cdef uint64_t _deadline(object timeout) except? 0:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return deadline_of(timeout)


cdef class Bell:
    """Waits natively, in a thread of its own, for those who are parked. One for messages, one for room."""

    cdef Core core
    cdef bint for_room
    cdef object waiting  # deque of Waiter
    cdef object mutex, wanted, looked
    cdef bint running

    def __cinit__(self, Core core, bint for_room):
        self.core = core
        self.for_room = for_room
        self.waiting = deque()
        self.mutex = allocate_lock()
        self.looked = allocate_lock()  # held while somebody has been woken and has not looked yet
        self.wanted = allocate_lock()
        self.wanted.acquire()

    cdef int add(self, Waiter w) except -1:
        with self.mutex:
            self.waiting.append(w)
            if self.running:
                if self.wanted.locked():
                    self.wanted.release()
                return 0
            self.running = True
        original("_thread", "start_new_thread")(self.run, ())
        return 0

    cdef int done(self, Waiter w) except -1:
        # He has been woken or has given up, and has looked.
        with self.mutex:
            try:
                self.waiting.remove(w)
            except ValueError:
                pass
            if w.woken and self.looked.locked():
                self.looked.release()
        return 0

    def run(self):
        cdef Waiter w
        cdef Core core = self.core
        cdef uint64_t until
        while True:
            if not self.waiting:
                if not core.closed and self.wanted.acquire(timeout=LINGER):
                    continue
                with self.mutex:
                    if self.waiting:
                        continue
                    self.running = False
                    return
            if core.closed:
                self.wake_all()
                with self.mutex:
                    if not self.waiting:
                        self.running = False
                        return
                continue
            until = efio_now_ns() + TURN_NS
            with nogil:
                if self.for_room:
                    efio_shq_wait_room(&core.handle, core.wanted_room, until)
                else:
                    efio_shq_wait_message(&core.handle, until)
            # Also when nothing has come: who waits for a claim, or missed something, looks now and then.
            self.looked.acquire(False)
            w = None
            while True:
                try:
                    w = self.waiting.popleft()
                except IndexError:
                    w = None
                    break
                if w.wake():
                    break
            if w is not None:
                # One after the other: whoever is woken takes what there is before the next one is.
                self.looked.acquire(timeout=0.05)
            if self.looked.locked():
                self.looked.release()

    cdef int dismiss(self) except -1:
        self.wake_all()
        if self.wanted.locked():
            self.wanted.release()
        return 0

    cdef int wake_all(self) except -1:
        while self.waiting:
            try:
                (<Waiter>self.waiting.popleft()).wake()
            except IndexError:
                break
        return 0


cdef class Core:
    """A process's end of a queue. What is public in it is what efio.SharedQueue builds on."""

    cdef efio_shq_handle handle
    cdef efio_shq *q
    cdef Py_buffer view
    cdef readonly bint closed
    cdef readonly object segment
    cdef unsigned long forks
    cdef uint32_t wanted_room
    cdef Bell messages, places
    cdef object encode, decode, refresh
    cdef readonly uint64_t puts, gets, waits
    cdef object __weakref__

    def __cinit__(self, memory):
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.q = <efio_shq *>self.view.buf
        self.enter()

    def __dealloc__(self):
        if self.view.buf != NULL:
            if not self.closed and self.handle.q != NULL and self.forks == forks():
                efio_shq_leave(&self.handle)
            PyBuffer_Release(&self.view)

    cdef int enter(self) except -1:
        cdef int r = efio_shq_enter(&self.handle, self.q, self.view.len)
        if r < 0:
            raise refused(r)
        self.forks = forks()
        self.messages = Bell(self, False)
        self.places = Bell(self, True)
        self.puts = self.gets = self.waits = 0
        return 0

    def setup(self, segment, encode, decode):
        """``segment``: has reserve(offset, length); ``encode``, ``decode``: None for bytes and pickles."""
        self.segment = segment
        self.encode = encode
        self.decode = decode
        self.reserve()

    cdef int reserve(self) except -1:
        self.segment.reserve(0, efio_shq_bytes(0))
        self.segment.reserve(efio_shq_bytes(0) + <uint64_t>self.handle.lane * self.handle.cap, self.handle.cap)
        return 0

    cdef int check(self) except -1:
        if self.closed:
            raise ValueError("this SharedQueue has been closed in this process")
        if self.forks != forks():  # the place is the parent's
            self.enter()
            self.reserve()
        return 0

    @property
    def max_message(self):
        return efio_shq_max_message(self.handle.cap)

    @property
    def lane_bytes(self):
        return self.handle.cap

    @property
    def ended(self):
        return self.q.ended

    def leave(self):
        """Gives the place back. Whoever waits here finds the queue closed."""
        if self.closed:
            return
        self.closed = True
        if self.forks != forks():
            return
        efio_shq_nudge(&self.handle)
        for bell in (self.messages, self.places):
            (<Bell>bell).dismiss()
        self.messages = self.places = None  # they know us
        efio_shq_leave(&self.handle)
        self.handle.q = self.q  # a bell may still be on its way out

    def size(self):
        return efio_shq_size(self.q)

    def totals(self):
        """Messages put and got by all, bytes in the lanes."""
        cdef uint64_t puts = 0, gets = 0, used = 0
        for i in range(64):
            puts += self.q.lane[i].puts
            gets += self.q.lane[i].gets
            used += self.q.lane[i].head - self.q.lane[i].tail
        return puts, gets, used

    def end(self, uint32_t how):
        self.check()
        efio_shq_end(&self.handle, how)
        self.messages.wake_all()
        self.places.wake_all()

    # --- messages

    cdef object encoded(self, object item, uint32_t *tag):
        if self.encode is not None:
            tag[0] = MSGPACK
            return self.encode(item)
        if type(item) is bytes:
            tag[0] = RAW
            return item
        tag[0] = PICKLED
        return _dumps(item, 5)

    cdef object decoded(self, bytes data, uint32_t tag):
        if tag == RAW and self.decode is None:
            return data
        if tag == PICKLED and self.decode is None:
            return _loads(data)
        if tag == MSGPACK and self.decode is not None:
            return self.decode(data)
        raise ValueError(
            "a message of another kind: the process that put it opened this queue "
            + ("with type=..." if tag == MSGPACK else "without type=...")
            + ", this one did not" * (tag == MSGPACK) + ", this one has it" * (tag != MSGPACK)
        )

    # 1: put, 0: no room
    cdef int try_put(self, bytes data, uint32_t tag) except -1:
        cdef int r = efio_shq_put(&self.handle, PyBytes_AS_STRING(data), <uint32_t>PyBytes_GET_SIZE(data), tag)
        if r == 0:
            self.puts += 1
            return 1
        if r == -EAGAIN:
            return 0
        if r == -EPIPE:
            raise ShutDown()
        raise self.too_long(PyBytes_GET_SIZE(data))

    cdef object too_long(self, Py_ssize_t n):
        return ValueError(
            f"a message of {n} bytes: this queue takes at most {self.max_message}; make it with capacity={4 * n} or so"
        )

    # 1: got, 0: empty, -EBUSY: others are at it
    cdef int try_get(self, list into, Py_ssize_t most) except -1:
        cdef efio_shq_item item
        cdef bytes data
        cdef int r
        cdef Py_ssize_t n = 0
        if self.q.ended == 2:
            raise ShutDown()
        r = efio_shq_claim(&self.handle, &item)
        if r == 1:
            try:
                while r == 1 and n < most:
                    data = PyBytes_FromStringAndSize(NULL, item.len)
                    efio_shq_copy(&item, <uint8_t *>PyBytes_AS_STRING(data))
                    efio_shq_take(&self.handle, &item)
                    into.append((data, item.tag))
                    n += 1
                    if n < most:
                        r = efio_shq_next(&self.handle, &item)
            finally:
                efio_shq_release(&self.handle, item.lane)
            self.gets += n
            return 1
        if r == 0:
            if self.q.ended and not efio_shq_ready(&self.handle):
                raise ShutDown()
            return 0
        if r == -EBUSY:
            return 2
        raise OSError(errno.EBADMSG, "the memory of this SharedQueue is damaged: somebody has written into it")

    # The fast way of get(): NULL object when there is nothing at once.
    cdef object get_one(self):
        cdef efio_shq_item item
        cdef bytes data
        if self.q.ended == 2 or efio_shq_claim(&self.handle, &item) != 1:
            return None
        try:
            data = PyBytes_FromStringAndSize(NULL, item.len)
            efio_shq_copy(&item, <uint8_t *>PyBytes_AS_STRING(data))
            efio_shq_take(&self.handle, &item)
        finally:
            efio_shq_release(&self.handle, item.lane)
        self.gets += 1
        if item.tag == RAW and self.decode is None:
            return data
        return self.decoded(data, item.tag), None

    # --- put

    def put(self, item, block=True, timeout=None):
        cdef uint32_t tag
        cdef bytes data
        self.check()
        data = self.encoded(item, &tag)
        if not self.try_put(data, tag):
            self.put_slowly(data, tag, block, timeout)
        efio_shq_signal(&self.handle, 1)

    cdef int put_slowly(self, bytes data, uint32_t tag, bint block, object timeout) except -1:
        cdef uint64_t deadline = _deadline(timeout) if block else 1
        while not self.try_put(data, tag):
            if deadline <= efio_now_ns():
                raise Full
            efio_shq_signal(&self.handle, 64)  # whoever sleeps while the lane is full was missed
            self.wait(self.places, PyBytes_GET_SIZE(data), deadline)
        return 0

    async def aput(self, item, timeout):
        cdef uint32_t tag
        cdef bytes data
        cdef uint64_t deadline = _deadline(timeout)
        self.check()
        data = self.encoded(item, &tag)
        while not self.try_put(data, tag):
            if deadline <= efio_now_ns():
                raise Full
            await self.wait_async(self.places, PyBytes_GET_SIZE(data), deadline)
        efio_shq_signal(&self.handle, 1)

    def put_many(self, items, block, timeout):
        cdef uint32_t tag, n = 0
        cdef bytes data
        cdef uint64_t deadline = 0
        cdef Py_ssize_t total = 0
        self.check()
        try:
            for item in items:
                data = self.encoded(item, &tag)
                if not self.try_put(data, tag):
                    if deadline == 0:
                        deadline = _deadline(timeout) if block else 1
                    efio_shq_signal(&self.handle, n)
                    n = 0
                    while not self.try_put(data, tag):
                        if deadline <= efio_now_ns():
                            return total
                        self.wait(self.places, PyBytes_GET_SIZE(data), deadline)
                n += 1
                total += 1
        finally:
            efio_shq_signal(&self.handle, n)
        return total

    # --- get

    def get(self, block=True, timeout=None):
        self.check()
        found = self.get_one()
        if found is not None:
            return found if type(found) is bytes else found[0]
        cdef list into = []
        self.get_slowly(into, 1, block, timeout)
        data, tag = into[0]
        return self.decoded(data, tag)

    def get_many(self, Py_ssize_t most, block, timeout):
        cdef list into = []
        cdef Py_ssize_t had
        self.check()
        if most < 1:
            raise ValueError(f"get_many({most}): at least one message must be wanted")
        self.get_slowly(into, most, block, timeout)
        while len(into) < most:  # of the other lanes
            had = len(into)
            try:
                self.try_get(into, most - had)
            except ShutDown:
                break
            if len(into) == had:
                break
        return [self.decoded(data, tag) for data, tag in into]

    cdef int get_slowly(self, list into, Py_ssize_t most, bint block, object timeout) except -1:
        cdef uint64_t deadline = _deadline(timeout) if block else 1
        cdef uint32_t turn = 0
        cdef int r
        while True:
            r = self.try_get(into, most)
            if r == 1:
                return 0
            if r == 2 and turn < 200 and not self.is_cooperative():
                with nogil:
                    efio_shq_wait_claim(&self.handle, turn)
                turn += 1
                if turn == 200:
                    turn = 80
                    PyErr_CheckSignals()
                if deadline > efio_now_ns():
                    continue
            if deadline <= efio_now_ns():
                if r == 2 and turn < 64:  # a moment, no more: somebody is just taking the last one
                    with nogil:
                        efio_shq_wait_claim(&self.handle, turn)
                    turn += 1
                    continue
                raise Empty
            self.wait(self.messages, 0, deadline)

    async def aget(self, timeout):
        cdef list into = []
        cdef uint64_t deadline = _deadline(timeout)
        self.check()
        while self.try_get(into, 1) != 1:
            if deadline <= efio_now_ns():
                raise Empty
            await self.wait_async(self.messages, 0, deadline)
        data, tag = into[0]
        return self.decoded(data, tag)

    # --- waiting

    # The bell waits for the largest that anybody waits for.
    cdef int want(self, Bell bell, Py_ssize_t room) except -1:
        if room > self.wanted_room or not bell.waiting:
            self.wanted_room = <uint32_t>room
        return 0

    cdef bint is_cooperative(self):
        return current_hub() is not None

    cdef int wait(self, Bell bell, Py_ssize_t room, uint64_t deadline) except -1:
        cdef uint64_t until
        cdef Waiter w
        self.waits += 1
        if current_hub() is None:
            until = efio_now_ns() + TURN_NS
            if until > deadline:
                until = deadline
            with nogil:
                if bell.for_room:
                    efio_shq_wait_room(&self.handle, <uint32_t>room, until)
                else:
                    efio_shq_wait_message(&self.handle, until)
            PyErr_CheckSignals()
        else:
            w = Waiter()
            self.want(bell, room)
            bell.add(w)
            try:
                w.wait_until(deadline)
            finally:
                bell.done(w)
        return self.check()

    async def wait_async(self, Bell bell, Py_ssize_t room, uint64_t deadline):
        cdef Waiter w = Waiter()
        self.waits += 1
        self.want(bell, room)
        bell.add(w)
        try:
            await w.wait_until_async(deadline)
        finally:
            bell.done(w)
        self.check()
