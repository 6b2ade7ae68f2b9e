/* A log-linear histogram of durations, as HdrHistogram keeps them (Gil Tene, hdrhistogram.org).
 *
 * Values are nanoseconds. Below 2 * SUB each value has a bucket of its own; above, every power of two is divided into
 * SUB equal buckets, so that a bucket is never wider than 1/SUB = 0.8 % of its value. Recording is a shift and an
 * increment; nothing is sampled or dropped. scripts/benchlib/histogram.py reads the buckets and holds the inverse of
 * hist_index().
 */
#pragma once
#include <stdint.h>
#include <stdio.h>

#define HIST_SUB_BITS 7
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_MAX_NS   ((UINT64_C(1) << 37) - 1) /* 137 s; anything longer counts as this */
#define HIST_BUCKETS  ((37 - HIST_SUB_BITS) * HIST_SUB + HIST_SUB)

struct histogram {
    uint64_t count, sum, min, max;
    uint64_t bucket[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t ns)
{
    unsigned log2 = 63u - (unsigned)__builtin_clzll(ns | 1);
    unsigned shift = log2 > HIST_SUB_BITS ? log2 - HIST_SUB_BITS : 0;
    return (shift << HIST_SUB_BITS) + (unsigned)(ns >> shift);
}

static inline void hist_add(struct histogram *h, uint64_t ns)
{
    if (ns > HIST_MAX_NS) ns = HIST_MAX_NS;
    if (!h->count || ns < h->min) h->min = ns;
    if (ns > h->max) h->max = ns;
    h->count++;
    h->sum += ns;
    h->bucket[hist_index(ns)]++;
}

/* {"count": .., "sum_ns": .., "min_ns": .., "max_ns": .., "buckets": [[index, count], ..]} */
static inline void hist_print(const struct histogram *h, FILE *out)
{
    fprintf(out, "{\"count\": %llu, \"sum_ns\": %llu, \"min_ns\": %llu, \"max_ns\": %llu, \"buckets\": [",
            (unsigned long long)h->count, (unsigned long long)h->sum, (unsigned long long)h->min,
            (unsigned long long)h->max);
    const char *comma = "";
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        if (!h->bucket[i]) continue;
        fprintf(out, "%s[%u, %llu]", comma, i, (unsigned long long)h->bucket[i]);
        comma = ", ";
    }
    fprintf(out, "]}");
}
