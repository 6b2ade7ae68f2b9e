# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""Futures on which greenlets, asyncio tasks and threads wait: concurrent.futures.Future, with efio's way of waiting.

A future is a state, a result and a list of waiters, changed under the interpreter lock in stretches of code that run no
Python; so a future that nobody looks at closely has no mutex. The standard library's wait() and as_completed() take
`_condition` of all futures while they look at their states: it is made when it is asked for, and from then on taken
here, too. They wait on a threading.Event, which would block a whole hub; while it is still unset (they put it in before
they wait) it is exchanged for efio's.

A future carries the call that makes its result, and the pool's job (efio/native/pool.h), so that one allocation serves
all three.
"""

from asyncio import CancelledError as _AsyncioCancelledError
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures import Future as _StandardFuture
from concurrent.futures import _base

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from efio._parking cimport Waiter, deadline_of, waitlist_append, waitlist_pop, waitlist_remove

from efio._sync import Condition, Event

cdef extern from "Python.h":
    object PyObject_Call_ "PyObject_Call"(object function, PyObject *args, PyObject *kwargs)

cdef extern from *:
    """
    #define EFIO_NEW(type, args) (((PyTypeObject *)(type))->tp_new((PyTypeObject *)(type), (args), NULL))
    """
    object EFIO_NEW(object type, object args)

cdef tuple NAMES = (
    _base.PENDING, _base.RUNNING, _base.CANCELLED, _base.CANCELLED_AND_NOTIFIED, _base.FINISHED,
)
cdef tuple DESCRIPTIONS = ("pending", "running", "cancelled", "cancelled", "finished")
cdef object LOGGER = _base.LOGGER


class _Observers(list):
    """Who of the standard library waits for a future: its `_waiters`."""

    def append(self, observer):
        if not observer.event.is_set() and type(observer.event) is not Event:
            observer.event = Event()
        super().append(observer)


cdef class BaseFuture:
    def __cinit__(self):
        self.job.owner = <void *>self

    def __init__(self):
        pass

    # --- the state

    def cancel(self):
        """Cancels the call unless it has begun. True: it is cancelled, now or before."""
        if self.lock is None:
            if self.state == PENDING:
                self.state = CANCELLED
            elif self.state == RUNNING or self.state == FINISHED:
                return False
            else:
                return True
        else:
            with self.lock:
                if self.state == RUNNING or self.state == FINISHED:
                    return False
                if self.state != PENDING:
                    return True
                self.state = CANCELLED
                self.lock.notify_all()
        self._wake_all()
        self._invoke_callbacks()
        return True

    def cancelled(self):
        return self.state == CANCELLED or self.state == CANCELLED_AND_NOTIFIED

    def running(self):
        return self.state == RUNNING

    def done(self):
        return self.state >= CANCELLED

    # The call begins. False: it was cancelled before.
    cdef bint begin(self) except -1:
        if self.state == PENDING:
            self.state = RUNNING
            return True
        if self.state == CANCELLED:
            self._tell_cancelled()
            return False
        LOGGER.critical("Future %s in unexpected state: %s", id(self), NAMES[self.state])
        raise RuntimeError("Future in unexpected state")

    cdef int _tell_cancelled(self) except -1:
        if self.lock is None:
            self.state = CANCELLED_AND_NOTIFIED
            return 0
        with self.lock:
            self.state = CANCELLED_AND_NOTIFIED
            for observer in self.observers or ():
                observer.add_cancelled(self)
        return 0

    def set_running_or_notify_cancel(self):
        if self.lock is not None:
            with self.lock:
                return self.begin()
        return self.begin()

    # It is finished, with a value, or with an error if that is not None. With leave_one the caller wakes the only one
    # who waits for it, and gets it here.
    cdef Waiter settle(self, object value, object error, bint leave_one):
        cdef object lock = self.lock
        if lock is not None:
            lock.acquire()
        try:
            if self.state >= CANCELLED:
                raise InvalidStateError(f"{NAMES[self.state]}: {self!r}")
            self.value = value
            self.error = error
            self.state = FINISHED
            if lock is not None:
                for observer in self.observers or ():
                    if error is None:
                        observer.add_result(self)
                    else:
                        observer.add_exception(self)
                lock.notify_all()
        finally:
            if lock is not None:
                lock.release()
        if leave_one and self.waiting.n == 1 and self.callbacks is None:
            return waitlist_pop(&self.waiting)
        self._wake_all()
        if self.callbacks is not None:
            self._invoke_callbacks()
        return None

    def set_result(self, result):
        self.settle(result, None, False)

    def set_exception(self, exception):
        self.settle(None, exception, False)

    cdef int _wake_all(self) except -1:
        cdef Waiter w
        while self.waiting.first != NULL:
            w = waitlist_pop(&self.waiting)
            w.wake()
        return 0

    def _invoke_callbacks(self):
        if self.callbacks is not None:
            for callback in self.callbacks:
                try:
                    callback(self)
                except Exception:
                    LOGGER.exception("exception calling callback for %r", self)

    def add_done_callback(self, fn):
        if self.state < CANCELLED:
            if self.callbacks is None:
                self.callbacks = []
            self.callbacks.append(fn)
            return
        try:
            fn(self)
        except Exception:
            LOGGER.exception("exception calling callback for %r", self)

    # --- waiting

    cdef bint wait_until(self, uint64_t deadline) except -1:
        cdef Waiter w = Waiter()
        if self.state >= CANCELLED:
            return True
        w.looks = True  # a worker wakes the one who waits for its last result after it has let go of the interpreter
        waitlist_append(&self.waiting, w)
        try:
            w.wait_until(deadline)
        finally:
            waitlist_remove(&self.waiting, w)
        return self.state >= CANCELLED

    cdef object outcome(self):
        if self.state != FINISHED:
            raise CancelledError()
        if self.error is not None:
            raise self.error
        return self.value

    def result(self, timeout=None):
        if self.state < CANCELLED and not self.wait_until(deadline_of(timeout)):
            raise TimeoutError()
        return self.outcome()

    def exception(self, timeout=None):
        if self.state < CANCELLED and not self.wait_until(deadline_of(timeout)):
            raise TimeoutError()
        if self.state != FINISHED:
            raise CancelledError()
        return self.error

    async def _outcome_async(self):
        cdef Waiter w
        if self.state < CANCELLED:
            w = Waiter()
            waitlist_append(&self.waiting, w)
            try:
                await w.wait_async()
            except _AsyncioCancelledError:
                self.cancel()
                raise
            finally:
                waitlist_remove(&self.waiting, w)
        if self.state != FINISHED:
            raise _AsyncioCancelledError()
        return self.outcome()

    def __await__(self):
        return self._outcome_async().__await__()

    # --- the call

    cdef Waiter execute(self, bint leave_one):
        cdef object fn, args, kwargs, value = None, error = None
        if self.lock is None:
            if not self.begin():
                self.fn = self.args = self.kwargs = None
                return None
        elif not self.set_running_or_notify_cancel():
            self.fn = self.args = self.kwargs = None
            return None
        fn = self.fn
        args = self.args
        kwargs = self.kwargs
        self.fn = None
        self.args = None
        self.kwargs = None
        try:
            value = PyObject_Call_(fn, <PyObject *>args, <PyObject *>kwargs if kwargs is not None else NULL)
        except BaseException as e:
            error = e
        # Before anybody is woken: what ends with them may run anything.
        fn = None
        args = None
        kwargs = None
        return self.settle(value, error, leave_one)

    # In the child of a fork: what made it is not here. Nor are, most likely, the threads and loops for which there are
    # callbacks: to call into one of those could reach the parent's by a pipe that both share.
    cdef int fail_in_child(self, object error) except -1:
        self.lock = None  # somebody may have held it
        self.callbacks = None
        self.fn = self.args = self.kwargs = None
        if self.state < CANCELLED:
            self.settle(None, error, False)
        return 0

    # --- what the standard library looks at

    @property
    def _condition(self):
        if self.lock is None:
            lock = Condition()
            if self.lock is None:
                self.lock = lock
        return self.lock

    @property
    def _waiters(self):
        if self.observers is None:
            self.observers = _Observers()
        return self.observers

    @property
    def _done_callbacks(self):
        if self.callbacks is None:
            self.callbacks = []
        return self.callbacks

    @property
    def _state(self):
        return NAMES[self.state]

    @_state.setter
    def _state(self, name):
        self.state = NAMES.index(name)

    @property
    def _result(self):
        return self.value

    @_result.setter
    def _result(self, value):
        self.value = value

    @property
    def _exception(self):
        return self.error

    @_exception.setter
    def _exception(self, error):
        self.error = error

    def __repr__(self):
        state = f"<{type(self).__name__} at {<size_t><void *>self:#x} state={DESCRIPTIONS[self.state]}"
        if self.state != FINISHED:
            return state + ">"
        if self.error is not None:
            return f"{state} raised {type(self.error).__name__}>"
        return f"{state} returned {type(self.value).__name__}>"


class Future(BaseFuture, _StandardFuture):
    """See _futures.pyi."""

    __slots__ = ()
    __module__ = "efio"


cdef object _future_type = Future
cdef tuple EMPTY = ()


cdef BaseFuture new_future(object fn, tuple args, dict kwargs):
    cdef BaseFuture future = EFIO_NEW(_future_type, EMPTY)
    future.fn = fn
    future.args = args
    if kwargs:
        future.kwargs = kwargs
    return future
