#include "costs.h"

#include <stdatomic.h>

#define MOST 0xffffffu /* microseconds */

/* FNV-1a (Fowler, Noll, Vo), of the path's parts and then of those hashes. */
#define BASIS 0x811c9dc5u
#define PRIME 0x01000193u

uint32_t ev_cost_kind(uint8_t method, const uint8_t *path, size_t n)
{
    uint32_t whole = (BASIS ^ method) * PRIME, part = BASIS;
    bool number = false;
    for (size_t i = 0; i <= n; i++) {
        if (i == n || path[i] == '/') {
            whole = (whole ^ (number ? '#' : part)) * PRIME;
            part = BASIS;
            number = false;
        } else {
            part = (part ^ path[i]) * PRIME;
            number |= path[i] >= '0' && path[i] <= '9';
        }
    }
    return whole ^ whole >> 16;
}

static uint64_t tag_of(uint32_t kind)
{
    return kind >> 16 | 1; /* never that of an empty place */
}

static _Atomic uint64_t *place_of(const ev_costs *t, uint32_t kind)
{
    return &((ev_costs *)t)->kind[kind & (EV_COST_KINDS - 1)];
}

static bool find(const ev_costs *t, uint32_t kind, uint32_t *wall, uint32_t *cpu)
{
    uint64_t v = atomic_load_explicit(place_of(t, kind), memory_order_relaxed);
    if (v >> 48 != tag_of(kind)) return false;
    *wall = (uint32_t)(v >> 24) & MOST;
    *cpu = (uint32_t)v & MOST;
    return true;
}

bool ev_cost_is_suspect(const ev_costs *t, uint32_t kind, uint32_t least)
{
    uint32_t wall, cpu;
    return find(t, kind, &wall, &cpu) && wall >= least;
}

uint32_t ev_cost_of(const ev_costs *t, uint32_t kind, uint32_t least)
{
    uint32_t wall, cpu;
    return find(t, kind, &wall, &cpu) && wall >= least && cpu >= least ? cpu : 0;
}

static uint32_t average(uint32_t old, uint64_t now)
{
    if (now > MOST) now = MOST;
    return (uint32_t)((old * 3ull + now + 2) / 4);
}

void ev_cost_learn(ev_costs *t, uint32_t kind, uint32_t least, uint64_t wall, uint64_t cpu)
{
    uint32_t old_wall, old_cpu;
    if (!find(t, kind, &old_wall, &old_cpu)) {
        if (wall < least) return; /* needs no place */
        old_wall = (uint32_t)(wall > MOST ? MOST : wall);
        old_cpu = 0;
    } else if (wall < least && old_wall < least) {
        return; /* spares the line, which all others read */
    }
    uint32_t new_cpu = old_cpu;
    if (cpu != EV_UNMEASURED) new_cpu = old_cpu ? average(old_cpu, cpu) : (uint32_t)(cpu > MOST ? MOST : cpu);
    uint64_t v = tag_of(kind) << 48 | (uint64_t)average(old_wall, wall) << 24 | new_cpu;
    atomic_store_explicit(place_of(t, kind), v, memory_order_relaxed);
}
