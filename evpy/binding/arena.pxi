# Makes fresh greenlets cheap: see evpy/native/blockcache.h.
#
# Safe to switch on at any time: every call that the cache does not answer goes to the allocator that was there before, and a
# kept block came from it. Reviewed against CPython 3.11 to 3.14: _PyObject_VirtualAlloc takes no other lock and relies on
# nothing but alloc(size) returning memory that nobody else has; it never expects zeros.

cdef extern from "Python.h":
    ctypedef struct PyObjectArenaAllocator:
        void *ctx
        void *(*alloc)(void *ctx, size_t size) noexcept
        void (*free)(void *ctx, void *ptr, size_t size) noexcept
    void PyObject_GetArenaAllocator(PyObjectArenaAllocator *allocator)
    void PyObject_SetArenaAllocator(PyObjectArenaAllocator *allocator)

cdef extern from "evpy/native/blockcache.h" nogil:
    ctypedef struct ev_blockcache:
        unsigned n
    void *ev_blockcache_get(ev_blockcache *c, size_t size)
    bint ev_blockcache_put(ev_blockcache *c, void *p, size_t size)

cdef ev_blockcache _blocks
cdef PyObjectArenaAllocator _arenas_before
cdef bint _arenas_cached = False


cdef void *_arena_alloc(void *ctx, size_t size) noexcept:
    cdef void *p = ev_blockcache_get(&_blocks, size)
    return p if p != NULL else _arenas_before.alloc(_arenas_before.ctx, size)


cdef void _arena_free(void *ctx, void *p, size_t size) noexcept:
    if not ev_blockcache_put(&_blocks, p, size):
        _arenas_before.free(_arenas_before.ctx, p, size)


def cache_greenlet_stacks():
    """Keeps up to 1 MiB of frame-stack blocks of ended greenlets for new ones. For the whole process; cannot be undone."""
    global _arenas_cached
    cdef PyObjectArenaAllocator ours
    if _arenas_cached:
        return
    _arenas_cached = True
    PyObject_GetArenaAllocator(&_arenas_before)
    ours.ctx = NULL
    ours.alloc = &_arena_alloc
    ours.free = &_arena_free
    PyObject_SetArenaAllocator(&ours)
