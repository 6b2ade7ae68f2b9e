#include "evpy/gateway/logline.h"

#include <string.h>

#include "evpy/gateway/octets.h"

/* Bounds of the values after escaping, in bytes. With the fixed part (FIXED, generously) they make up a line. */
enum { CLIENT = 64, METHOD = 32, TARGET = 1792, REFERER = 1024, AGENT = 512, HOST = 256, FIXED = 400 };
_Static_assert(CLIENT + METHOD + TARGET + REFERER + AGENT + HOST + FIXED <= EV_LOG_LINE, "a line must fit");

/* What stands for itself: 1 everywhere, 2 only between quotes. */
static const uint8_t plain[256] = {[' '] = 2, ['!'] = 1, ['#' ... '['] = 1, [']' ... '~'] = 1};
static const char hex[16] = "0123456789abcdef";

typedef struct {
    const uint8_t *p; /* NULL: there is none */
    size_t n;
} span;

static inline uint8_t *put(uint8_t *out, const char *text)
{
    size_t n = strlen(text); /* a literal: the compiler counts */
    memcpy(out, text, n);
    return out + n;
}

static uint8_t *put_number(uint8_t *out, uint64_t v)
{
    uint8_t digits[20];
    size_t n = 0;
    do digits[n++] = (uint8_t)('0' + v % 10);
    while (v /= 10);
    while (n) *out++ = digits[--n];
    return out;
}

/* v < 10^width, with leading zeros. */
static uint8_t *put_digits(uint8_t *out, unsigned v, int width)
{
    for (int i = width; i--; v /= 10) out[i] = (uint8_t)('0' + v % 10);
    return out + width;
}

static uint8_t *put_hex(uint8_t *out, uint64_t v, int width)
{
    for (int i = width; i--; v >>= 4) out[i] = (uint8_t)hex[v & 15];
    return out + width;
}

/* quoted: 2 between quotes, 1 where a space ends the value. */
static uint8_t *put_escaped(uint8_t *out, span s, ptrdiff_t room, uint8_t quoted)
{
    if (!s.n) return put(out, "-");
    uint8_t *const stop = out + room;
    for (size_t i = 0; i < s.n; i++) {
        bool stands = plain[s.p[i]] && plain[s.p[i]] <= quoted;
        if (stop - out < (stands ? 1 : 4)) break;
        if (stands)
            *out++ = s.p[i];
        else
            out = put_hex(put(out, "\\x"), s.p[i], 2);
    }
    return out;
}

/* Length of the well-formed UTF-8 sequence of 2 to 4 bytes at p (Unicode, table 3-7), 0 when there is none. */
static size_t utf8(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || (size_t)(end - p) < n) return 0;
    uint32_t c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) return 0;
    if (n == 4 && (c < 0x10000 || c > 0x10ffff)) return 0;
    *code = c;
    return n;
}

static uint8_t *put_json(uint8_t *out, span s, ptrdiff_t room)
{
    if (!s.p) return put(out, "null");
    *out++ = '"';
    uint8_t *const stop = out + room - 2;
    for (const uint8_t *p = s.p, *end = p + s.n; p < end;) {
        if (plain[*p]) {
            if (out == stop) break;
            *out++ = *p++;
            continue;
        }
        uint32_t code = *p;
        size_t n = utf8(p, end, &code);
        bool stays = code >= 0xa0 && n && code != 0x2028 && code != 0x2029;
        if (stop - out < (stays ? 4 : 6)) break;
        if (stays) {
            memcpy(out, p, n);
            out += n;
        } else if (*p == '"' || *p == '\\') {
            *out++ = '\\';
            *out++ = *p;
        } else {
            out = put_hex(put(out, "\\u"), code, 4);
        }
        p += n ? n : 1;
    }
    *out++ = '"';
    return out;
}

/* The first field of that name (lower case, at least four characters). */
static span field(const ev_log_entry *e, const char *name, size_t len)
{
    for (const ev_field *f = e->parsed->field, *end = f + e->parsed->n_fields; f < end; f++)
        if (f->name_len == len && ev_same_nocase(e->head + f->name, name, len))
            return (span){e->head + f->value, f->value_len};
    return (span){NULL, 0};
}

typedef struct {
    span client, method, target, version, referer, agent, host;
} values;

static values take(const ev_log_entry *e)
{
    values v = {.client = {(const uint8_t *)e->client, e->client ? strlen(e->client) : 0}};
    if (!e->head || !e->parsed) return v;
    const ev_http1_head *h = e->parsed;
    v.method = (span){e->head + h->method_off, h->method_len};
    v.target = (span){e->head + h->target_off, h->target_len};
    v.version = (span){(const uint8_t *)(h->minor ? "1.1" : "1.0"), 3};
    v.referer = field(e, "referer", 7);
    v.agent = field(e, "user-agent", 10);
    if (h->host_len) v.host = (span){e->head + h->host_off, h->host_len};
    return v;
}

static uint8_t *put_clock(uint8_t *out, const struct tm *t)
{
    out = put_digits(out, (unsigned)t->tm_hour, 2);
    *out++ = ':';
    out = put_digits(out, (unsigned)t->tm_min, 2);
    *out++ = ':';
    return put_digits(out, (unsigned)t->tm_sec, 2);
}

/* "21/Nov/2026:03:15:18" or "2026-11-21T03:15:18" */
static uint8_t *put_stamp(uint8_t *out, time_t second, ev_log_stamp *stamp, bool json)
{
    if (second != stamp->second || !stamp->len) {
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        uint8_t *p = (uint8_t *)stamp->text;
        struct tm t;
        gmtime_r(&second, &t);
        unsigned year = (unsigned)t.tm_year + 1900, day = (unsigned)t.tm_mday;
        if (json) {
            p = put_digits(p, year, 4);
            *p++ = '-';
            p = put_digits(p, (unsigned)t.tm_mon + 1, 2);
            *p++ = '-';
            p = put_digits(p, day, 2);
            *p++ = 'T';
        } else {
            p = put_digits(p, day, 2);
            *p++ = '/';
            memcpy(p, months + 3 * t.tm_mon, 3);
            p[3] = '/';
            p = put_digits(p + 4, year, 4);
            *p++ = ':';
        }
        stamp->len = (uint8_t)(put_clock(p, &t) - (uint8_t *)stamp->text);
        stamp->second = second;
    }
    memcpy(out, stamp->text, stamp->len);
    return out + stamp->len;
}

size_t ev_logline_combined(uint8_t *const out, const ev_log_entry *e, struct timespec now, ev_log_stamp *stamp)
{
    values v = take(e);
    uint8_t *p = put_escaped(out, v.client, CLIENT, 1);
    p = put_stamp(put(p, " - - ["), now.tv_sec, stamp, false);
    p = put(p, " +0000] \"");
    if (v.method.p) {
        p = put_escaped(p, v.method, METHOD, 2);
        *p++ = ' ';
        p = put_escaped(p, v.target, TARGET, 2);
        p = put_escaped(put(p, " HTTP/"), v.version, 3, 2);
    } else {
        *p++ = '-';
    }
    p = put_number(put(p, "\" "), e->status);
    *p++ = ' ';
    p = put_number(p, e->bytes);
    p = put_escaped(put(p, " \""), v.referer, REFERER, 2);
    p = put_escaped(put(p, "\" \""), v.agent, AGENT, 2);
    return (size_t)(put(p, "\"\n") - out);
}

size_t ev_logline_json(uint8_t *const out, const ev_log_entry *e, struct timespec now, ev_log_stamp *stamp)
{
    values v = take(e);
    uint64_t took_us = e->took_ns / 1000;
    uint8_t *p = put_stamp(put(out, "{\"time\":\""), now.tv_sec, stamp, true);
    *p++ = '.';
    p = put_digits(p, (unsigned)(now.tv_nsec / 1000000), 3);
    p = put_json(put(p, "Z\",\"client\":"), v.client, CLIENT);
    p = put_json(put(p, ",\"method\":"), v.method, METHOD);
    p = put_json(put(p, ",\"target\":"), v.target, TARGET);
    p = put_json(put(p, ",\"version\":"), v.version, 5);
    p = put_number(put(p, ",\"status\":"), e->status);
    p = put_number(put(p, ",\"bytes\":"), e->bytes);
    p = put_number(put(p, ",\"ms\":"), took_us / 1000);
    *p++ = '.';
    p = put_digits(p, (unsigned)(took_us % 1000), 3);
    p = put_hex(put(p, ",\"id\":\""), e->id, 16);
    p = put_json(put(p, "\",\"referer\":"), v.referer, REFERER);
    p = put_json(put(p, ",\"user_agent\":"), v.agent, AGENT);
    p = put_json(put(p, ",\"host\":"), v.host, HOST);
    if (e->aborted) p = put(p, ",\"aborted\":true");
    return (size_t)(put(p, "}\n") - out);
}
