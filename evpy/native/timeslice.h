/* How long the calling thread may run before the kernel lets another one have its turn. */
#ifndef EVPY_TIMESLICE_H
#define EVPY_TIMESLICE_H

#include <stdint.h>

/* Asks the kernel for time slices of `ns` nanoseconds (it takes 0.1 to 100 ms) for the calling thread, which keeps its
 * policy, its niceness and its share of the CPU. Whoever has shorter slices than the thread that runs when it wakes up
 * comes first: EEVDF, Linux 6.12 and later; older kernels do not mind. Threads and processes that it starts have
 * the kernel's own slices. 0, or -1 with errno. See sched_setattr(2) and Documentation/scheduler/sched-eevdf.rst. */
int ev_set_time_slice(uint64_t ns);

#endif
