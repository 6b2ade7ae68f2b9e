/* What the requests of each kind have cost: how long one keeps its thread, and how much of that is CPU time.
 *
 * A kind is a method with a path (its query left out, and whatever part of it holds digits taken for a number). Nothing
 * is kept of kinds that are fast. What has taken long by the clock is suspect, and its CPU time is measured from then
 * on: who only waits, or was kept waiting by others, is not a burden.
 *
 * Any number of readers and writers: an entry is one word, and an update lost to another one does no harm. */
#ifndef EVPY_COSTS_H
#define EVPY_COSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EV_UNMEASURED UINT32_MAX
#define EV_COST_KINDS 1024u /* a power of two; of two kinds that share a place the one that was seen last keeps it */

typedef struct {
    _Atomic uint64_t kind[EV_COST_KINDS]; /* tag:16 | by the clock:24 | CPU:24, both averages in microseconds */
} ev_costs;

uint32_t ev_cost_kind(uint8_t method, const uint8_t *path, size_t n);
/* Worth measuring: took `least` microseconds or more by the clock. */
bool ev_cost_is_suspect(const ev_costs *t, uint32_t kind, uint32_t least);
/* Microseconds of CPU that one takes; 0 when that is less than `least`, or not known. */
uint32_t ev_cost_of(const ev_costs *t, uint32_t kind, uint32_t least);
/* One has taken so many microseconds; cpu: EV_UNMEASURED when that was not measured. */
void ev_cost_learn(ev_costs *t, uint32_t kind, uint32_t least, uint64_t wall, uint64_t cpu);

#endif
