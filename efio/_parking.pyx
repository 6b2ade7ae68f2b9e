# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Waiting, for greenlets, asyncio tasks and plain threads alike: who waits makes a Waiter; anybody wakes it.

The idea, the states and what they promise are those of efio/native/parking.h. This module adds how Python's kinds of
coroutines are suspended and resumed. Which kind waits is found out when it waits, not before: a wake-up that comes
first costs nothing.

* In a thread with a gevent hub, `wait` switches to the hub. The hub has a Port: a mailbox and a watcher of its eventfd,
  which is active while somebody sleeps there, so that the hub neither ends with LoopExit while a wake-up may come from
  elsewhere, nor is kept from ending when nobody waits.
* In any other thread, `wait` sleeps on a futex, without the interpreter lock. Signal handlers run meanwhile; what they
  raise ends the wait.
* `await wait_async()` suspends a task of asyncio; the loop has a Port, too.

gevent is never imported from here; that it is in use is seen in sys.modules.

A wake-up from the thread of the sleeper's own loop needs no system call: the hub is asked for a callback. All others
ring the eventfd, and only when the mailbox was empty.

After a fork the child has the mailboxes of all its parent's loops; each gets an eventfd of its own before anything else
runs there. After Hub.destroy() nobody who slept there can be woken, as with gevent's own means.

Why not what gevent and asyncio offer for waking from other threads (loop.async_(), call_soon_threadsafe): both need the
interpreter lock, and each wake-up rings. The twin in _pure/parking.py is built on them.
"""

import os
import sys
import weakref
from asyncio import get_running_loop

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        pass
    void PyGreenlet_Import()
    # declared as objects: Cython then owns the reference and propagates NULL as the exception that is set
    object PyGreenlet_GetCurrent_ "(PyObject *)PyGreenlet_GetCurrent"()
    object PyGreenlet_Switch_ "PyGreenlet_Switch"(PyGreenlet *g, PyObject *args, PyObject *kwargs)

cdef dict _modules = sys.modules
cdef bint _greenlet_known = False
cdef object _hub_if_exists = None  # gevent's function, as soon as gevent is loaded


cdef bint _know_greenlet() except -1:
    global _greenlet_known
    if not _greenlet_known:
        if not hasattr(_modules.get("greenlet"), "_C_API"):
            return False
        PyGreenlet_Import()
        _greenlet_known = True
    return True


cdef object current_greenlet():
    if _greenlet_known or _know_greenlet():
        return PyGreenlet_GetCurrent_()
    return None


cdef object current_hub():
    """The hub of this thread; None when there is none."""
    global _hub_if_exists
    if _hub_if_exists is None:
        module = _modules.get("gevent._hub_local")
        function = getattr(module, "get_hub_if_exists", None)
        if function is None or not _know_greenlet():
            return None
        _hub_if_exists = function
    return _hub_if_exists()


cdef uint64_t deadline_of(object timeout) except? 0:
    cdef double seconds
    if timeout is None:
        return EFIO_FOREVER
    seconds = timeout
    if seconds != seconds:
        raise ValueError("timeout is not a number (NaN); give seconds, or None to wait for ever")
    if seconds <= 0:
        return 1  # long ago
    if seconds > 1e9:  # 31 years
        return EFIO_FOREVER
    return efio_now_ns() + <uint64_t>(seconds * 1e9)


cdef inline double _seconds_until(uint64_t deadline) noexcept:
    cdef uint64_t now = efio_now_ns()
    return (deadline - now) * 1e-9 if deadline > now else 0.0


_ports = weakref.WeakSet()  # of all loops: for the child of a fork


cdef class Port:
    """An event loop as parking sees it: its mailbox, and who of its coroutines sleeps. Used by its own thread only."""

    def __cinit__(self):
        self.mailbox = efio_mailbox_new()
        if self.mailbox == NULL:
            PyErr_SetFromErrno(OSError)
        self.thread = PyThread_get_thread_ident()
        _ports.add(self)

    def __dealloc__(self):
        # Nobody sleeps here: they hold the port.
        if self.mailbox != NULL:
            efio_mailbox_put(self.mailbox)

    cdef int enter(self, Waiter w) except -1:
        w.next_asleep = self.first
        if self.first is not None:
            self.first.prev_asleep = w
        self.first = w
        self.sleepers += 1
        return 0

    cdef int leave(self, Waiter w) except -1:
        if w.prev_asleep is None and self.first is not w:
            return 0  # is not here: the port was closed
        if w.prev_asleep is None:
            self.first = w.next_asleep
        else:
            w.prev_asleep.next_asleep = w.next_asleep
        if w.next_asleep is not None:
            w.next_asleep.prev_asleep = w.prev_asleep
        w.next_asleep = None
        w.prev_asleep = None
        self.sleepers -= 1
        return 0

    cdef int deliver_here(self, Waiter w) except -1:
        raise NotImplementedError

    cdef int resume(self, Waiter w) except -1:
        raise NotImplementedError

    cdef int drain(self) except -1:
        cdef efio_parker *p = efio_mailbox_take(self.mailbox)
        cdef Waiter w
        while p != NULL:
            w = <Waiter>p.owner
            p = p.next
            Py_DECREF(w)  # the reference of the state LOOP
            w.port = None  # not before: a waker may still be at the mailbox
            self.resume(w)
        return 0

    def on_ring(self):
        """The eventfd is readable."""
        efio_mailbox_silence(self.mailbox)
        self.drain()

    def on_turn(self):
        """The loop has come round."""
        self.drain()

    cdef int _let_go(self) except -1:
        # Wakes nobody; what sleeps here is forgotten.
        cdef efio_parker *p = efio_mailbox_close(self.mailbox)
        cdef Waiter w
        cdef list gone = []
        while p != NULL:
            w = <Waiter>p.owner
            p = p.next
            gone.append(w)
            Py_DECREF(w)
            w.port = None
        while self.first is not None:
            w = self.first
            if efio_park_leave(&w.parker):
                gone.append(w)
                Py_DECREF(w)
                w.port = None
            self.leave(w)
        for w in gone:
            w.target = None  # a greenlet that nobody else knows ends here, with GreenletExit
        return 0

    cpdef int close(self) except -1:
        """The loop is gone."""
        if not self.closed:
            self.closed = True
            self._let_go()

    def after_fork(self):
        if not efio_mailbox_after_fork(self.mailbox):
            PyErr_SetFromErrno(OSError)

    @property
    def rings(self):
        return self.mailbox.rings


@cython.final
cdef class _HubPort(Port):
    cdef object watcher, run_callback, hub_ref

    def __init__(self, hub):
        loop = hub.loop
        self.hub_ref = weakref.ref(hub)
        self.run_callback = loop.run_callback
        self.watcher = loop.io(self.mailbox.fd, 1)

    cdef int enter(self, Waiter w) except -1:
        if not self.sleepers:
            self.watcher.start(self.on_ring)
        return Port.enter(self, w)

    cdef int leave(self, Waiter w) except -1:
        Port.leave(self, w)
        if not self.sleepers and not self.closed:
            self.watcher.stop()
        return 0

    cdef int deliver_here(self, Waiter w) except -1:
        if efio_mailbox_push(self.mailbox, &w.parker):
            try:
                self.run_callback(self.on_turn)
            except BaseException:  # the hub's loop must look in any case
                efio_mailbox_ring(self.mailbox)
                raise
        return 0

    cdef int resume(self, Waiter w) except -1:
        cdef object target = w.target
        if target is None:
            return 0
        w.target = None
        try:
            PyGreenlet_Switch_(<PyGreenlet *>target, NULL, NULL)
        except BaseException:
            hub = self.hub_ref()
            if hub is None:
                raise
            hub.handle_error(w, *sys.exc_info())
        return 0

    cpdef int close(self) except -1:
        if not self.closed:
            if self.sleepers:
                self.watcher.stop()
            self.closed = True
            self.watcher.close()
            self._let_go()
        return 0


@cython.final
cdef class _AsyncioPort(Port):
    cdef int deliver_here(self, Waiter w) except -1:
        Py_DECREF(w)
        w.port = None
        return self.resume(w)

    cdef int resume(self, Waiter w) except -1:
        cdef object target = w.target
        if target is not None:
            w.target = None
            if not target.done():
                target.set_result(None)
        return 0


cdef _HubPort _port_of_hub(hub):
    cdef _HubPort port = getattr(hub, "_efio_port", None)
    if port is None or port.closed:
        port = _HubPort(hub)
        hub._efio_port = port
        hub_ref = weakref.ref(hub)
        port_ref = weakref.ref(port)

        def destroy(destroy_loop=None):
            port = port_ref()
            if port is not None:
                port.close()
            hub = hub_ref()
            if hub is not None:
                hub._efio_port = None
                type(hub).destroy(hub, destroy_loop)

        hub.destroy = destroy
    return port


cdef dict _loops = {}  # id of an asyncio loop: (weak reference to it, its port)


cdef _AsyncioPort _port_of_loop(loop):
    cdef tuple known = _loops.get(id(loop))
    if known is not None and known[0]() is loop:
        return known[1]
    port = _AsyncioPort()
    key = id(loop)

    def forget(ref):
        known = _loops.get(key)
        if known is not None and known[0] is ref:
            del _loops[key]

    loop.add_reader(port.mailbox.fd, port.on_ring)
    _loops[key] = (weakref.ref(loop, forget), port)
    return port


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Waiter:
    """One wait of one greenlet, task or thread.

    Made by who waits, told to those who may wake it, waited on once. If wait() raises (the
    greenlet was killed, the task cancelled, a signal handler raised) and `woken` is True all the same, the wake-up was
    given: whoever waited passes it on. After wait() has returned False, wake() returns False: the waker wakes another.
    """

    def __cinit__(self):
        efio_parker_init(&self.parker)
        self.parker.owner = <void *>self

    cpdef bint wait(self, timeout=None) except -1:
        """Waits until wake() was called, at most `timeout` seconds (None: for ever). False: timeout."""
        if efio_parker_is_woken(&self.parker):
            return True
        return self.wait_until(deadline_of(timeout))

    cdef bint wait_until(self, uint64_t deadline) except -1:
        hub = current_hub()
        if hub is None:
            return self._wait_thread(deadline)
        return self._wait_hub(hub, deadline)

    cdef bint _wait_thread(self, uint64_t deadline) except -1:
        cdef efio_parked how
        if not efio_park_begin(&self.parker, NULL):
            return self._wait_again()
        if self.looks:
            with nogil:
                efio_park_look(&self.parker)
        while True:
            with nogil:
                how = efio_park_sleep(&self.parker, deadline)
            if how == EFIO_PARKED_WOKEN:
                return True
            if how == EFIO_PARKED_TIMEOUT:
                return not efio_park_leave(&self.parker)
            try:
                PyErr_CheckSignals()
            except BaseException:
                efio_park_leave(&self.parker)
                raise

    cdef bint _wait_not(self) except -1:
        if efio_parker_state(&self.parker) == EFIO_PARK_NEW and efio_park_leave(&self.parker):
            return False
        return self._wait_again()

    cdef bint _wait_again(self) except -1:
        cdef uint32_t state = efio_parker_state(&self.parker)
        if state == EFIO_PARK_WOKEN:
            return True
        if state == EFIO_PARK_LEFT:
            return False
        raise RuntimeError("somebody waits on this Waiter already: make one for each wait")

    cdef bint _wait_hub(self, hub, uint64_t deadline) except -1:
        cdef _HubPort port
        cdef object me = PyGreenlet_GetCurrent_(), timer = None
        if me is hub:
            raise RuntimeError("cannot wait in a callback of the gevent hub, since nobody could run: spawn a greenlet")
        if deadline != EFIO_FOREVER and deadline <= efio_now_ns():
            return self._wait_not()
        port = _port_of_hub(hub)
        self.port = port
        port.enter(self)
        self.target = me
        me = None  # the only reference: a greenlet that nobody else knows can be let go
        Py_INCREF(self)  # the reference of the state LOOP
        if not efio_park_begin(&self.parker, port.mailbox):
            Py_DECREF(self)
            self.target = None
            self.port = None
            port.leave(self)
            return self._wait_again()
        try:
            if deadline != EFIO_FOREVER:
                timer = hub.loop.timer(_seconds_until(deadline))
                timer.start(self._expire, update=True)
            while self.target is not None:
                PyGreenlet_Switch_(<PyGreenlet *>hub, NULL, NULL)
        finally:
            if timer is not None:
                timer.stop()
                timer.close()
            self._end(port)
        return efio_parker_is_woken(&self.parker)

    cdef int _end(self, Port port) except -1:
        self.target = None
        if efio_park_leave(&self.parker):
            Py_DECREF(self)
            self.port = None
        return port.leave(self)

    def _expire(self):
        # In the loop's thread. Who has been woken is on the way, by the mailbox.
        cdef Port port = self.port
        if efio_park_leave(&self.parker):
            Py_DECREF(self)
            self.port = None
            port.resume(self)

    def wait_async(self, timeout=None):
        """As wait(), for a task of asyncio."""
        return self.wait_until_async(deadline_of(timeout))

    async def wait_until_async(self, uint64_t deadline):
        cdef _AsyncioPort port
        if efio_parker_is_woken(&self.parker):
            return True
        if deadline != EFIO_FOREVER and deadline <= efio_now_ns():
            return self._wait_not()
        loop = get_running_loop()
        port = _port_of_loop(loop)
        future = loop.create_future()
        handle = None
        self.port = port
        port.enter(self)
        self.target = future
        Py_INCREF(self)  # the reference of the state LOOP
        if not efio_park_begin(&self.parker, port.mailbox):
            Py_DECREF(self)
            self.target = None
            self.port = None
            port.leave(self)
            return self._wait_again()
        try:
            if deadline != EFIO_FOREVER:
                handle = loop.call_later(_seconds_until(deadline), self._expire)
            await future
        finally:
            if handle is not None:
                handle.cancel()
            self._end(port)
        return efio_parker_is_woken(&self.parker)

    cpdef bint wake(self) except -1:
        """Wakes it, from any thread. True for the one call that did; False when it was woken before or has left."""
        cdef uint32_t state = efio_unpark_begin(&self.parker)
        if state == EFIO_PARK_NEW:
            return True
        if state == EFIO_PARK_THREAD:
            efio_unpark_thread(&self.parker)
            return True
        if state == EFIO_PARK_LOOP:
            if self.port.thread == PyThread_get_thread_ident():
                self.port.deliver_here(self)
            else:
                efio_unpark_loop(&self.parker)
            return True
        return False

    @property
    def woken(self):
        """Whether the wake-up was given."""
        return efio_parker_is_woken(&self.parker)

    @property
    def address(self):
        """Where the efio_parker lies, for native code that gets it by ctypes; the Waiter must be kept meanwhile."""
        return <size_t>&self.parker


def _after_fork_in_child():
    for port in list(_ports):
        port.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
