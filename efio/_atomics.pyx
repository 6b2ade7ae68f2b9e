# cython: language_level=3, binding=False
"""AtomicInt and AtomicRef: what changes in one step, seen from any thread.

Under the interpreter lock a method of a compiled class that runs no Python code is such a step: nothing to add.
"""

from libc.stdint cimport int64_t


cdef extern from *:
    bint __builtin_add_overflow(int64_t a, int64_t b, int64_t *sum) nogil


cdef class AtomicInt:
    """See _atomics.pyi."""

    cdef int64_t number

    def __init__(self, value=0):
        self.number = value

    cdef int64_t plus(self, int64_t n) except? -1:
        cdef int64_t total
        if __builtin_add_overflow(self.number, n, &total):
            raise OverflowError(f"AtomicInt: {self.number} + {n} does not fit into 64 bits")
        return total

    def load(self):
        return self.number

    def store(self, value):
        cdef int64_t number = value
        self.number = number

    def exchange(self, value):
        cdef int64_t number = value, before = self.number
        self.number = number
        return before

    def add(self, n=1):
        cdef int64_t by = n
        self.number = self.plus(by)
        return self.number

    def fetch_add(self, n=1):
        cdef int64_t by = n, before = self.number
        self.number = self.plus(by)
        return before

    def compare_exchange(self, expected, desired):
        cdef int64_t old = expected, new = desired
        if self.number != old:
            return False
        self.number = new
        return True

    def __int__(self):
        return self.number

    def __index__(self):
        return self.number

    def __repr__(self):
        return f"AtomicInt({self.number})"


cdef class AtomicRef:
    """See _atomics.pyi."""

    cdef object thing

    def __init__(self, value=None):
        self.thing = value

    def load(self):
        return self.thing

    def store(self, value):
        self.exchange(value)

    cpdef exchange(self, value):
        cdef object before = self.thing  # its end may run anything: after the step
        self.thing = value
        return before

    def compare_exchange(self, expected, desired):
        cdef object before = self.thing
        if before is not expected:
            return False
        self.thing = desired
        return True

    def update(self, function):
        while True:
            before = self.thing
            after = function(before)
            if self.thing is before:
                self.exchange(after)
                return after

    def __repr__(self):
        return f"AtomicRef({self.thing!r})"
