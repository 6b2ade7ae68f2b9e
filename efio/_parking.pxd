# cython: language_level=3
"""What other extension modules need of parking: `from efio._parking cimport Waiter, waitlist, ...`"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "efio/native/parking.h" nogil:
    const uint64_t EFIO_FOREVER
    const uint32_t EFIO_PARK_NEW
    const uint32_t EFIO_PARK_THREAD
    const uint32_t EFIO_PARK_LOOP
    const uint32_t EFIO_PARK_WOKEN
    const uint32_t EFIO_PARK_LEFT
    ctypedef struct efio_mailbox:
        int fd
        uint64_t rings
    ctypedef struct efio_parker:
        efio_mailbox *mailbox
        efio_parker *next
        void *owner
    ctypedef enum efio_parked:
        EFIO_PARKED_WOKEN
        EFIO_PARKED_TIMEOUT
        EFIO_PARKED_INTERRUPTED
    uint64_t efio_now_ns()
    void efio_parker_init(efio_parker *p)
    uint32_t efio_parker_state(const efio_parker *p)
    bint efio_parker_is_woken(const efio_parker *p)
    bint efio_park_begin(efio_parker *p, efio_mailbox *mailbox)
    bint efio_park_leave(efio_parker *p)
    void efio_park_look(efio_parker *p)
    efio_parked efio_park_sleep(efio_parker *p, uint64_t deadline_ns)
    uint32_t efio_unpark_begin(efio_parker *p)
    void efio_unpark_thread(efio_parker *p)
    void efio_unpark_loop(efio_parker *p)
    bint efio_unpark(efio_parker *p)
    efio_mailbox *efio_mailbox_new()
    void efio_mailbox_put(efio_mailbox *m)
    bint efio_mailbox_push(efio_mailbox *m, efio_parker *p)
    void efio_mailbox_ring(efio_mailbox *m)
    void efio_mailbox_silence(efio_mailbox *m)
    efio_parker *efio_mailbox_take(efio_mailbox *m)
    efio_parker *efio_mailbox_close(efio_mailbox *m)
    bint efio_mailbox_after_fork(efio_mailbox *m)


cdef class Port:
    cdef efio_mailbox *mailbox
    cdef unsigned long thread  # whose loop this is
    cdef Waiter first  # who sleeps here
    cdef Py_ssize_t sleepers
    cdef bint closed
    cdef object __weakref__
    cdef int enter(self, Waiter w) except -1
    cdef int leave(self, Waiter w) except -1
    cdef int deliver_here(self, Waiter w) except -1
    cdef int resume(self, Waiter w) except -1
    cdef int drain(self) except -1
    cdef int _let_go(self) except -1
    cpdef int close(self) except -1


cdef class Waiter:
    cdef efio_parker parker  # for native code: efio_unpark(&w.parker), from any thread
    cdef Port port
    cdef object target  # the greenlet or future that is to be resumed; None when nobody is (any more)
    cdef Waiter next_asleep, prev_asleep  # in the list of its port
    cdef Waiter next, prev  # for whoever keeps a list of waiters (waitlist)
    cdef bint listed
    cdef bint looks  # for a while before it sleeps in a thread: its waker will not hold the interpreter lock
    cdef bint starved  # for locks and queues: has been woken and found nothing
    cdef public object payload  # for whoever made it
    cpdef bint wait(self, timeout=*) except -1
    cdef bint wait_until(self, uint64_t deadline) except -1
    cpdef bint wake(self) except -1
    cdef bint _wait_thread(self, uint64_t deadline) except -1
    cdef bint _wait_hub(self, object hub, uint64_t deadline) except -1
    cdef bint _wait_not(self) except -1
    cdef bint _wait_again(self) except -1
    cdef int _end(self, Port port) except -1


# Converts a timeout in seconds (None: for ever) to a deadline, as efio_now_ns.
cdef uint64_t deadline_of(object timeout) except? 0

# The current greenlet if the greenlet library is in use, else None: who owns what is owned by one flow of control.
cdef object current_greenlet()


cdef struct waitlist:  # first in, first out; embedded in what is waited for; owns references
    PyObject *first
    PyObject *last
    Py_ssize_t n


# None of these runs other Python code: under the interpreter lock each is atomic.
cdef inline void waitlist_append(waitlist *q, Waiter w) noexcept:
    Py_INCREF(w)
    w.listed = True
    w.next = None
    if q.last == NULL:
        w.prev = None
        q.first = <PyObject *>w
    else:
        w.prev = <Waiter>q.last
        (<Waiter>q.last).next = w
    q.last = <PyObject *>w
    q.n += 1


cdef inline void waitlist_prepend(waitlist *q, Waiter w) noexcept:
    Py_INCREF(w)
    w.listed = True
    w.prev = None
    if q.first == NULL:
        w.next = None
        q.last = <PyObject *>w
    else:
        w.next = <Waiter>q.first
        (<Waiter>q.first).prev = w
    q.first = <PyObject *>w
    q.n += 1


# The caller holds a reference.
cdef inline void waitlist_remove(waitlist *q, Waiter w) noexcept:
    if not w.listed:
        return
    w.listed = False
    if w.prev is None:
        q.first = <PyObject *>w.next if w.next is not None else NULL
    else:
        w.prev.next = w.next
    if w.next is None:
        q.last = <PyObject *>w.prev if w.prev is not None else NULL
    else:
        w.next.prev = w.prev
    w.next = None
    w.prev = None
    q.n -= 1
    Py_DECREF(w)


cdef inline Waiter waitlist_pop(waitlist *q):
    if q.first == NULL:
        return None
    cdef Waiter w = <Waiter>q.first
    waitlist_remove(q, w)
    return w


# Wakes the first one that still waits; False when there is none.
cdef inline bint waitlist_wake(waitlist *q) except -1:
    cdef Waiter w
    while q.first != NULL:
        w = waitlist_pop(q)
        if w.wake():
            return True
    return False


# The hub of this thread; None when there is none: whoever calls may block the thread then.
cdef object current_hub()
