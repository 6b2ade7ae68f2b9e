/* A process under the microscope: runs a function in a child, one instruction at a time, over shared memory.
 *
 * The parent may stop it after any instruction, act meanwhile, let it go on, or kill it there. So each point at which
 * a scheduler could preempt, or SIGKILL could hit, is tried, instead of waited for. Needs ptrace and a processor on
 * which single-stepping does not disturb atomic operations (x86; on others a step ends an exclusive reservation). */
#ifndef TESTS_EFIO_STEP_H
#define TESTS_EFIO_STEP_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/native/check.h"

#if defined(__x86_64__) || defined(__i386__)
#define STEP_BREAK() __asm__ volatile("int3")
#else
#define STEP_BREAK() ((void)0)
#endif

typedef struct {
    pid_t pid;
    _Atomic int *finished; /* the function has returned */
} stepper;

static inline void *step_shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
    return p;
}

/* False when this machine does not let us. */
static inline bool step_possible(void)
{
#if !defined(__x86_64__) && !defined(__i386__)
    return false;
#else
    pid_t pid = fork();
    if (pid == 0) _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
    int status;
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %s", strerror(errno));
    return status == 0;
#endif
}

static inline void step_wait(const stepper *s, bool stopped)
{
    int status;
    REQUIRE(waitpid(s->pid, &status, 0) == s->pid, "waitpid: %s", strerror(errno));
    if (stopped)
        REQUIRE(WIFSTOPPED(status), "the child ended: status %#x", (unsigned)status);
    else
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: status %#x", (unsigned)status);
}

/* Executes n instructions of the function; false when it returned before that. */
static inline bool step_on(const stepper *s, long n)
{
    while (n-- > 0 && !atomic_load(s->finished)) {
        REQUIRE(ptrace(PTRACE_SINGLESTEP, s->pid, NULL, NULL) == 0, "step: %s", strerror(errno));
        step_wait(s, true);
    }
    return !atomic_load(s->finished);
}

/* A child about to execute the first instruction of run(context); context must lie in shared memory. */
static inline stepper step_start(void (*run)(void *context), void *context)
{
    static _Atomic int *finished;
    if (!finished) finished = step_shared(sizeof *finished);
    atomic_store(finished, 0);
    stepper s = {fork(), finished};
    REQUIRE(s.pid >= 0, "fork: %s", strerror(errno));
    if (s.pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(1);
        STEP_BREAK();
        run(context);
        atomic_store(finished, 1);
        _exit(0);
    }
    step_wait(&s, true);
    return s;
}

/* Lets it run to its end. */
static inline void step_finish(const stepper *s)
{
    REQUIRE(ptrace(PTRACE_CONT, s->pid, NULL, NULL) == 0, "continue: %s", strerror(errno));
    step_wait(s, false);
}

static inline void step_kill(const stepper *s)
{
    int status;
    kill(s->pid, SIGKILL);
    REQUIRE(waitpid(s->pid, &status, 0) == s->pid, "waitpid: %s", strerror(errno));
}

#endif
