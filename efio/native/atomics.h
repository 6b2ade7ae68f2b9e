/* What every lock-free structure here shares: padding, monotonic time, a spin hint.
 *
 * EFIO_LINE is 128 bytes, two cache lines: Intel and AMD prefetch lines in adjacent pairs, so 64 bytes
 * are not enough to keep two writers apart. */
#ifndef EFIO_ATOMICS_H
#define EFIO_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define EFIO_LINE    128
#define EFIO_ALIGNED _Alignas(EFIO_LINE)

static inline uint64_t efio_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* CPU time of the calling thread. */
static inline uint64_t efio_thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void efio_spin_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline bool efio_is_pow2(uint64_t n)
{
    return n && !(n & (n - 1));
}

static inline uint32_t efio_pow2_at_least(uint32_t n)
{
    uint32_t p = 1;
    while (p < n) p <<= 1;
    return p;
}

#endif
