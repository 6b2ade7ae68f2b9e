#define _GNU_SOURCE
#include "timeslice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/sched/types.h, which cannot be included beside older versions of sched.h. */
typedef struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} sched_attributes;

#define RESET_ON_FORK 1u /* SCHED_FLAG_RESET_ON_FORK */

int ev_set_time_slice(uint64_t ns)
{
    sched_attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0)) return -1;
    if (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH) return 0; /* real-time policies know no such thing */
    a.size = sizeof a;
    a.runtime = ns;
    a.deadline = a.period = 0;
    if (a.nice >= 0) a.flags |= RESET_ON_FORK; /* it would reset a negative niceness too */
    return (int)syscall(SYS_sched_setattr, 0, &a, 0);
}
