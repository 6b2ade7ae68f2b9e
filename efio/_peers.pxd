# cython: language_level=3
"""efio/native/peers.h, for the extension modules of what is shared between processes."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "efio/native/peers.h" nogil:
    enum: EFIO_PEERS
    ctypedef struct efio_peers:
        uint64_t shape[4]
        uint64_t owner[64]
    uint64_t efio_ident_self()
    bint efio_ident_is_dead(uint64_t who)
    int efio_ident_pid(uint64_t who)
    void efio_peers_init(efio_peers *p, uint64_t bytes)
    void efio_peers_publish(efio_peers *p, uint32_t kind)
    int efio_peers_check(const efio_peers *p, uint32_t kind, uint64_t bytes)
    bint efio_peers_is_of_here(const efio_peers *p)
    int efio_peers_enter(efio_peers *p, uint64_t self, bint (*may_take)(void *context, uint32_t place), void *context)
    void efio_peers_leave(efio_peers *p, uint32_t place)
    uint32_t efio_peers_alive(efio_peers *p)


# How often this process has been forked from another since efio was imported: who has a place in a table looks whether
# it is still his.
cdef unsigned long forks()
