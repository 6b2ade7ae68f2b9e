/* Small tools on octets that the parsers of the gateway share: the search for control characters, which is the inner
 * loop of all of them, and the comparison with a lower-case name. None reads outside [p, end). */
#ifndef EVPY_OCTETS_H
#define EVPY_OCTETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(EVPY_SCALAR)
#include <emmintrin.h>
#endif

/* CTL of RFC 5234 but HTAB: what may stand neither in a field value nor anywhere else in a line. */
static inline bool ev_is_ctl(uint8_t c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

static inline bool ev_is_ows(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* First control character (HTAB is none here), or end. */
static inline const uint8_t *ev_find_ctl(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__) && !defined(EVPY_SCALAR)
    const __m128i us = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i ctl = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, us), x), _mm_cmpeq_epi8(x, del));
        const unsigned mask = (unsigned)_mm_movemask_epi8(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), ctl));
        if (mask) return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && !ev_is_ctl(*p)) p++;
    return p;
}

/* First octet that may not stand in a request target, or end: controls, SP, '#', DEL and all above (the target is
 * ASCII, RFC 3986; a fragment is never sent, RFC 9112 section 3.2). */
static inline const uint8_t *ev_find_target_end(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__) && !defined(EVPY_SCALAR)
    const __m128i low = _mm_set1_epi8(0x21), del = _mm_set1_epi8(0x7f), hash = _mm_set1_epi8('#');
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* The comparison is signed: 0x80 to 0xff are below 0x21 too. */
        const __m128i bad = _mm_or_si128(_mm_cmplt_epi8(x, low), _mm_cmpeq_epi8(x, del));
        const unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(bad, _mm_cmpeq_epi8(x, hash)));
        if (mask) return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p > 0x20 && *p < 0x7f && *p != '#') p++;
    return p;
}

static inline uint64_t ev_load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t ev_load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Whether the n >= 4 octets at p are, case-insensitively, the ASCII text `low` of n octets, which consists of
 * lower-case letters, digits and '-'. Setting bit 0x20 folds the letters; what it folds onto digits and '-' are
 * controls, which callers have excluded. With a constant n this is a handful of instructions. */
static inline bool ev_same_nocase(const uint8_t *p, const char *low, size_t n)
{
    if (n < 8) {
        const uint32_t fold = 0x20202020u;
        return (((ev_load32(p) | fold) ^ ev_load32(low)) | ((ev_load32(p + n - 4) | fold) ^ ev_load32(low + n - 4))) ==
               0;
    }
    const uint64_t fold = UINT64_C(0x2020202020202020);
    uint64_t diff = (ev_load64(p + n - 8) | fold) ^ ev_load64(low + n - 8);
    for (size_t i = 0; i + 8 < n; i += 8) diff |= (ev_load64(p + i) | fold) ^ ev_load64(low + i);
    return diff == 0;
}

#endif
