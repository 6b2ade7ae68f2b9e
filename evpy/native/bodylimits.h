/* How long a request body may be, by path: --max-body, and --max-body-at PATH=SIZE for a path and all below it.
 *
 * The table lies in the segment twice, so that a reload can change it while I/O threads read it: the writer fills the
 * other copy and then says which one counts (release; partner: the acquire of the reader). Two reloads within one
 * look-up would be needed to confuse a reader, and a reload starts processes.
 *
 * Paths are compared decoded, as handlers see them: another spelling must not be a way around a lower limit. */
#ifndef EVPY_BODYLIMITS_H
#define EVPY_BODYLIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define EV_MAX_BODY_LIMITS 32
#define EV_BODY_LIMIT_PATH 120 /* bytes */

typedef struct {
    uint64_t bytes; /* 0: no limit */
    uint32_t path_len;
    char path[EV_BODY_LIMIT_PATH];
} ev_body_limit;

typedef struct {
    uint64_t bytes; /* where no path applies; 0: no limit */
    uint32_t n;
    ev_body_limit at[EV_MAX_BODY_LIMITS];
} ev_body_table;

typedef struct {
    _Atomic uint32_t which;
    ev_body_table table[2];
} ev_body_limits;

/* The copy to fill in; it counts from ev_body_limits_publish on. */
static inline ev_body_table *ev_body_limits_draft(ev_body_limits *l, uint64_t bytes)
{
    ev_body_table *t = &l->table[!atomic_load_explicit(&l->which, memory_order_relaxed)];
    t->bytes = bytes;
    t->n = 0;
    return t;
}

/* False: too many, or the path is too long. */
static inline bool ev_body_limits_add(ev_body_table *t, const char *path, size_t n, uint64_t bytes)
{
    if (t->n == EV_MAX_BODY_LIMITS || n > EV_BODY_LIMIT_PATH) return false;
    ev_body_limit *at = &t->at[t->n++];
    memcpy(at->path, path, n);
    at->path_len = (uint32_t)n;
    at->bytes = bytes;
    return true;
}

static inline void ev_body_limits_publish(ev_body_limits *l)
{
    atomic_fetch_xor_explicit(&l->which, 1, memory_order_release);
}

static inline int ev_hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Decodes %XX of as much of a path as can matter; returns how many bytes there are. */
static inline size_t ev_body_path_decode(const uint8_t *path, size_t n, uint8_t out[EV_BODY_LIMIT_PATH + 1])
{
    size_t k = 0;
    for (size_t i = 0; i < n && k <= EV_BODY_LIMIT_PATH; k++) {
        bool coded = path[i] == '%' && i + 2 < n && ev_hex(path[i + 1]) >= 0 && ev_hex(path[i + 2]) >= 0;
        out[k] = coded ? (uint8_t)(ev_hex(path[i + 1]) << 4 | ev_hex(path[i + 2])) : path[i];
        i += coded ? 3 : 1;
    }
    return k;
}

/* The limit of a request with this path, in bytes: that of the longest path that it is, or lies below. 0: none. */
static inline uint64_t ev_body_limit_of(const ev_body_limits *l, const uint8_t *path, size_t n)
{
    const ev_body_table *t = &l->table[atomic_load_explicit(&((ev_body_limits *)l)->which, memory_order_acquire)];
    const ev_body_limit *best = NULL;
    uint8_t decoded[EV_BODY_LIMIT_PATH + 1];
    if (t->n && memchr(path, '%', n)) {
        n = ev_body_path_decode(path, n, decoded);
        path = decoded;
    }
    for (uint32_t k = 0; k < t->n; k++) {
        const ev_body_limit *at = &t->at[k];
        if (at->path_len > n || (best && best->path_len >= at->path_len) || memcmp(at->path, path, at->path_len))
            continue;
        if (n == at->path_len || path[at->path_len] == '/' || path[at->path_len - 1] == '/') best = at;
    }
    return best ? best->bytes : t->bytes;
}

#endif
