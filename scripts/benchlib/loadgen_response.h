/* Reads the framing of HTTP/1.x responses to GET and POST (RFC 9112 section 6), bytes in, state out: no sockets, no
 * clock.
 *
 * The generator must know exactly where a response ends, or it would count half answers as whole ones. The header block
 * is collected in `head` (responses of a benchmark have small ones; one over the buffer is malformed); of the body only
 * the first KEEP bytes are kept, for a look at what the server said. resp_feed() consumes at most one response and says
 * how much.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum resp_state {
    RESP_HEAD,
    RESP_SIZED,
    RESP_CHUNK_SIZE,
    RESP_CHUNK_DATA,
    RESP_CHUNK_END,
    RESP_TRAILER,
    RESP_UNTIL_CLOSE,
    RESP_DONE,
    RESP_BAD
};

#define RESP_HEAD_MAX 16384
#define RESP_KEEP     160

struct response {
    enum resp_state state;
    int status;
    bool close;    /* the server will close the connection after this response */
    uint64_t left; /* bytes left of the body (RESP_SIZED) or of the chunk */
    uint64_t body; /* body bytes seen */
    unsigned line; /* length of the current chunk-size or trailer line */
    unsigned head_len;
    unsigned kept;
    char keep[RESP_KEEP];
    char head[RESP_HEAD_MAX];
};

static inline void resp_reset(struct response *r)
{
    memset(r, 0, offsetof(struct response, keep));
}

/* Body bytes that need no look and may be thrown away by the kernel. */
static inline uint64_t resp_bulk(const struct response *r)
{
    return (r->state == RESP_SIZED || r->state == RESP_CHUNK_DATA) && r->kept == RESP_KEEP ? r->left : 0;
}

static inline void resp_body(struct response *r, const char *data, size_t n)
{
#ifdef RESP_ON_BODY /* for who looks at every byte: called with r->body as the offset of data */
    RESP_ON_BODY(r, data, n);
#endif
    r->body += n;
    if (r->kept < RESP_KEEP && data) {
        size_t k = n < RESP_KEEP - r->kept ? n : RESP_KEEP - r->kept;
        memcpy(r->keep + r->kept, data, k);
        r->kept += (unsigned)k;
    }
}

static inline bool resp_field(const char *line, const char *end, const char *name, const char **value, size_t *len)
{
    size_t n = strlen(name);
    if ((size_t)(end - line) <= n || strncasecmp(line, name, n) != 0 || line[n] != ':') return false;
    line += n + 1;
    while (line < end && (*line == ' ' || *line == '\t')) line++;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t')) end--;
    *value = line;
    *len = (size_t)(end - line);
    return true;
}

/* The complete header block is in head[0 .. end): decide how the body is framed. */
static inline enum resp_state resp_framing(struct response *r, const char *end)
{
    const char *p = r->head;
    if (end - p < 12 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ') return RESP_BAD;
    bool http10 = p[7] == '0', sized = false, chunked = false;
    for (int i = 9; i < 12; i++)
        if (p[i] < '0' || p[i] > '9') return RESP_BAD;
    r->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    r->close = http10;
    const char *eol = memchr(p, '\r', (size_t)(end - p));
    if (!eol) eol = end;
    for (p = eol + 2; p < end; p = eol + 2) {
        const char *v;
        size_t n;
        eol = memchr(p, '\r', (size_t)(end - p));
        if (!eol) eol = end;
        switch (*p | 0x20) {
        case 'c':
            if (resp_field(p, eol, "content-length", &v, &n)) {
                if (sized || n == 0 || n > 18) return RESP_BAD;
                for (size_t i = 0; i < n; i++) {
                    if (v[i] < '0' || v[i] > '9') return RESP_BAD;
                    r->left = r->left * 10 + (uint64_t)(v[i] - '0');
                }
                sized = true;
            } else if (resp_field(p, eol, "connection", &v, &n)) {
                if (n == 5 && !strncasecmp(v, "close", 5)) r->close = true;
                if (n == 10 && !strncasecmp(v, "keep-alive", 10)) r->close = false;
            }
            break;
        case 't':
            if (resp_field(p, eol, "transfer-encoding", &v, &n)) {
                if (n != 7 || strncasecmp(v, "chunked", 7) != 0) return RESP_BAD;
                chunked = true;
            }
            break;
        default: break;
        }
    }
    if (r->status < 200) { /* an interim response: read on */
        resp_reset(r);
        return RESP_HEAD;
    }
    if (chunked) {
        r->left = 0;
        return sized ? RESP_BAD : RESP_CHUNK_SIZE;
    }
    if (r->status == 204 || r->status == 304) return RESP_DONE;
    if (sized) return r->left ? RESP_SIZED : RESP_DONE;
    r->close = true;
    return RESP_UNTIL_CLOSE;
}

static inline size_t resp_feed_head(struct response *r, const char *data, size_t n)
{
    size_t take = n < RESP_HEAD_MAX - r->head_len ? n : RESP_HEAD_MAX - r->head_len;
    unsigned had = r->head_len;
    memcpy(r->head + had, data, take);
    r->head_len += (unsigned)take;
    unsigned from = had > 3 ? had - 3 : 0;
    char *end = memmem(r->head + from, r->head_len - from, "\r\n\r\n", 4);
    if (!end) {
        if (r->head_len == RESP_HEAD_MAX) r->state = RESP_BAD;
        return take;
    }
    size_t used = (size_t)(end + 4 - r->head) - had;
    r->state = resp_framing(r, end);
    return used;
}

static inline void resp_feed_line(struct response *r, char c)
{
    if (r->state == RESP_TRAILER) {
        if (c == '\n') {
            if (r->line == 0) r->state = RESP_DONE;
            r->line = 0;
        } else if (c != '\r') {
            r->line++;
        }
        return;
    }
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (digit >= 0 && r->line < 15) {
        r->left = r->left * 16 + (uint64_t)digit;
        r->line++;
    } else if (c == '\n' && r->line > 0) {
        r->state = r->left ? RESP_CHUNK_DATA : RESP_TRAILER;
        r->line = 0;
    } else if (c != '\r') {
        r->state = RESP_BAD; /* also chunk extensions: no server that is measured here sends them */
    }
}

/* Consumes bytes of the current response; returns how many. Stops at its end: see r->state. */
static inline size_t resp_feed(struct response *r, const char *data, size_t n)
{
    size_t at = 0;
    while (at < n && r->state < RESP_DONE) {
        size_t rest = n - at;
        switch (r->state) {
        case RESP_HEAD: at += resp_feed_head(r, data + at, rest); break;
        case RESP_SIZED:
        case RESP_CHUNK_DATA: {
            size_t k = rest < r->left ? rest : (size_t)r->left;
            resp_body(r, data + at, k);
            r->left -= k;
            at += k;
            if (r->left == 0) r->state = r->state == RESP_SIZED ? RESP_DONE : RESP_CHUNK_END;
            break;
        }
        case RESP_CHUNK_END:
            if (data[at] == '\n')
                r->state = RESP_CHUNK_SIZE;
            else if (data[at] != '\r')
                r->state = RESP_BAD;
            at++;
            break;
        case RESP_CHUNK_SIZE:
        case RESP_TRAILER: resp_feed_line(r, data[at++]); break;
        default: resp_body(r, data + at, rest); at = n;
        }
    }
    return at;
}

/* n bytes of the body were discarded unseen; n <= resp_bulk(r). */
static inline void resp_skip(struct response *r, size_t n)
{
    resp_body(r, NULL, n);
    r->left -= n;
    if (r->left == 0) r->state = r->state == RESP_SIZED ? RESP_DONE : RESP_CHUNK_END;
}
