/* Who may use a slab (a block of a shared segment that changes hands), told by one 64-bit word, its cookie:
 *
 *   generation:32 | owner:24 | state:8
 *
 *   FREE --hold--> HELD --offer--> OFFERED --claim(owner)--> CLAIMED
 *                   ^  \\--free--> FREE, generation + 1           |
 *                   +-------------- recall ------ OFFERED         |
 *                   +-------------- reclaim ----------------------+
 *
 * One side (the issuer) holds, offers, recalls and frees; the others claim, each with an owner number of its own. Where
 * the offer is announced (a ring) does not matter: an entry there names slab and generation, and only the CAS from
 * OFFERED to CLAIMED takes it. So an entry may be recalled, or claimed by a thief, while it still lies in a ring;
 * whoever pops it later fails to claim it and drops it. The idea of changing hands by one compare-and-swap on a word
 * that carries a version is that of Treiber's stack (stack.h) and of generational indices.
 *
 * Invariants: each offer is claimed or recalled, exactly once. A claimer killed between two instructions has either
 * claimed (its owner number stands in the cookie) or not: no third case. What a claimer writes under generation g is
 * recognisable as stale after the slab was freed: its generation is over.
 *
 * Memory orders and their partners:
 *   offer: store-release   <-> claim: CAS-acquire   (the claimer sees the slab as the issuer filled it)
 *   The way back, from claimer to issuer, goes through a message in a ring, which orders it. */
#ifndef EFIO_SLABS_H
#define EFIO_SLABS_H

#include "atomics.h"

typedef _Atomic uint64_t efio_cookie;

enum { EFIO_SLAB_FREE = 0, EFIO_SLAB_HELD, EFIO_SLAB_OFFERED, EFIO_SLAB_CLAIMED };

#define EFIO_OWNER_MAX 0xffffffu

static inline uint64_t efio_cookie_make(uint32_t generation, uint32_t owner, uint32_t state)
{
    return (uint64_t)generation << 32 | (uint64_t)(owner & EFIO_OWNER_MAX) << 8 | (state & 0xff);
}
static inline uint32_t efio_cookie_generation(uint64_t c)
{
    return (uint32_t)(c >> 32);
}
static inline uint32_t efio_cookie_owner(uint64_t c)
{
    return (uint32_t)c >> 8;
}
static inline uint32_t efio_cookie_state(uint64_t c)
{
    return (uint32_t)c & 0xff;
}

/* Issuer: FREE -> HELD. The free list has handed the slab to this caller alone. Returns the generation. */
static inline uint32_t efio_slab_hold(efio_cookie *cookie)
{
    uint32_t g = efio_cookie_generation(atomic_load_explicit(cookie, memory_order_relaxed));
    atomic_store_explicit(cookie, efio_cookie_make(g, 0, EFIO_SLAB_HELD), memory_order_relaxed);
    return g;
}

/* Issuer: HELD -> OFFERED. Announce it afterwards. */
static inline void efio_slab_offer(efio_cookie *cookie)
{
    uint32_t g = efio_cookie_generation(atomic_load_explicit(cookie, memory_order_relaxed));
    atomic_store_explicit(cookie, efio_cookie_make(g, 0, EFIO_SLAB_OFFERED), memory_order_release);
}

/* Claimer: OFFERED -> CLAIMED. False when this offer was recalled, claimed by another, or is of an older generation. */
static inline bool efio_slab_claim(efio_cookie *cookie, uint32_t generation, uint32_t owner)
{
    uint64_t offered = efio_cookie_make(generation, 0, EFIO_SLAB_OFFERED);
    return atomic_compare_exchange_strong_explicit(cookie, &offered,
                                                   efio_cookie_make(generation, owner, EFIO_SLAB_CLAIMED),
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Issuer: OFFERED -> HELD. False when it was claimed before. */
static inline bool efio_slab_recall(efio_cookie *cookie)
{
    uint64_t c = atomic_load_explicit(cookie, memory_order_relaxed);
    return efio_cookie_state(c) == EFIO_SLAB_OFFERED &&
           atomic_compare_exchange_strong_explicit(cookie, &c,
                                                   efio_cookie_make(efio_cookie_generation(c), 0, EFIO_SLAB_HELD),
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Issuer: CLAIMED -> HELD, when the owner has said that it is done, or is dead. False when it is not this owner's. */
static inline bool efio_slab_reclaim(efio_cookie *cookie, uint32_t owner)
{
    uint64_t c = atomic_load_explicit(cookie, memory_order_acquire);
    if (efio_cookie_state(c) != EFIO_SLAB_CLAIMED || efio_cookie_owner(c) != (owner & EFIO_OWNER_MAX)) return false;
    atomic_store_explicit(cookie, efio_cookie_make(efio_cookie_generation(c), 0, EFIO_SLAB_HELD), memory_order_relaxed);
    return true;
}

/* Issuer: HELD -> FREE with the next generation. Put it on the free list afterwards. */
static inline void efio_slab_free(efio_cookie *cookie)
{
    uint32_t g = efio_cookie_generation(atomic_load_explicit(cookie, memory_order_relaxed));
    atomic_store_explicit(cookie, efio_cookie_make(g + 1, 0, EFIO_SLAB_FREE), memory_order_release);
}

#endif
