/* What supervisor and binding do with the segment: descriptors, worker slots, counters by name. */
#ifndef EVPY_SHARED_H
#define EVPY_SHARED_H

#include "evpy/native/layout.h"

/* Creates every eventfd and descriptor socket of the segment (close-on-exec, the spawner passes what is needed).
 * 0 or -errno. */
int ev_shared_open(ev_segment *s);
void ev_shared_close(ev_segment *s);
/* A fresh generation in a slot that is EMPTY or whose death is acknowledged; state STARTING. Returns the generation. */
uint32_t ev_begin_worker(ev_segment *s, uint32_t w);
/* Stores the state, wakes the gateway and, for DRAINING, the worker. */
void ev_set_worker_state(ev_segment *s, uint32_t w, uint32_t state);
/* STARTING -> READY, by the worker itself; not when the supervisor has changed the state meanwhile. */
void ev_worker_is_ready(ev_segment *s, uint32_t w);
/* Every I/O thread has acted upon this state of the current generation. */
bool ev_worker_acked(ev_segment *s, uint32_t w, uint32_t state);
void ev_wake_gateway(ev_segment *s);

typedef struct {
    const char *name;
    uint32_t offset; /* in ev_counters, of an _Atomic uint64_t */
} ev_counter_name;
/* Ends with name == NULL. */
const ev_counter_name *ev_counter_names(void);

static inline uint32_t ev_load32(void *field)
{
    return atomic_load((_Atomic uint32_t *)field);
}
static inline uint64_t ev_load64(void *field)
{
    return atomic_load((_Atomic uint64_t *)field);
}
static inline void ev_store32(void *field, uint32_t value)
{
    atomic_store((_Atomic uint32_t *)field, value);
}
static inline void ev_store64(void *field, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)field, value, memory_order_relaxed);
}
static inline void ev_add64(void *field, uint64_t n)
{
    ev_count((_Atomic uint64_t *)field, n);
}

#endif
