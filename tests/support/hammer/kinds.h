/* What hammer asks for, and what must come back, byte for byte. app.py holds the other side of it.
 *
 * Every request has a number of its own, and every answer is made of it: an answer that went to the wrong request, a
 * piece that is missing, doubled or in the wrong place, is seen. Long bodies are lines of 17 bytes that carry the
 * request's number and their own. */
#pragma once
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 17u
#define FILE_LINES 8192u /* of the file that app.py serves, whose lines carry request number 0 */

enum kind { HELLO, JSON, ECHO, PUT, UPLOAD, STREAM, BIG, DISK, SLEEP, BURN, KINDS };

static const struct {
    const char *name, *method;
} kind_of[KINDS] = {{"hello", "GET"},  {"json", "POST"}, {"echo", "POST"}, {"put", "PUT"},   {"upload", "POST"},
                    {"stream", "GET"}, {"big", "GET"},   {"disk", "GET"},  {"sleep", "GET"}, {"burn", "GET"}};

struct request {
    enum kind kind;
    uint32_t id, lines;
    uint64_t sent_at;
    uint64_t expected; /* body bytes */
    bool wrong;
    unsigned text_len; /* of a body that is a text, else it is lines of `line_id` */
    uint32_t line_id;
    char text[100];
};

static inline void put_hex(char *p, uint32_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 4) p[i] = "0123456789abcdef"[v & 15];
}

/* n bytes of the lines of a request, from this offset on. */
static inline void lines_copy(uint32_t id, uint64_t off, char *to, size_t n)
{
    char line[LINE_BYTES];
    put_hex(line, id);
    line[LINE_BYTES - 1] = '\n';
    while (n) {
        put_hex(line + 8, (uint32_t)(off / LINE_BYTES));
        size_t at = off % LINE_BYTES, k = LINE_BYTES - at < n ? LINE_BYTES - at : n;
        memcpy(to, line + at, k);
        to += k;
        off += k;
        n -= k;
    }
}

static inline bool lines_are(uint32_t id, uint64_t off, const char *data, size_t n)
{
    char want[4096];
    for (size_t k; n; n -= k, data += k, off += k) {
        k = n < sizeof want ? n : sizeof want;
        lines_copy(id, off, want, k);
        if (memcmp(want, data, k) != 0) return false;
    }
    return true;
}

/* CRC-32 (ISO 3309), as zlib's. */
static inline uint32_t lines_crc(uint32_t id, uint64_t bytes)
{
    static uint32_t table[256];
    char piece[4096];
    uint32_t crc = ~0u;
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int b = 0; b < 8; b++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
            table[i] = c;
        }
    for (uint64_t off = 0, k; off < bytes; off += k) {
        k = bytes - off < sizeof piece ? bytes - off : sizeof piece;
        lines_copy(id, off, piece, k);
        for (uint64_t i = 0; i < k; i++) crc = crc >> 8 ^ table[(crc ^ (uint8_t)piece[i]) & 255];
    }
    return ~crc;
}

/* How long the body in question is, in lines (milliseconds for SLEEP and BURN). `random` is a fresh random number. */
static inline uint32_t kind_lines(enum kind kind, uint64_t random)
{
    bool rare = random % 16 == 0;
    random /= 16;
    switch (kind) {
    case ECHO:
    case PUT: return (uint32_t)(random % (rare ? 3856 : 60)); /* up to the longest that is handed over whole */
    case UPLOAD: return 3856 + (uint32_t)(random % 16000);
    case STREAM: return 1 + (uint32_t)(random % (rare ? 30000 : 200));
    case BIG: return 1 + (uint32_t)(random % (rare ? 60000 : 6000));
    case DISK: return FILE_LINES;
    case SLEEP: return 1 + (uint32_t)(random % 20);
    case BURN: return 5 + (uint32_t)(random % 6);
    default: return (uint32_t)(random % 1000);
    }
}

/* Composes a request: its head, and the body when that is a text, into `out`. Sets *body to the bytes of lines that
 * follow. Returns the length. */
static inline unsigned request_make(struct request *q, enum kind kind, uint32_t id, uint32_t lines, char *out,
                                    size_t room, uint64_t *body)
{
    char text[64] = "";
    bool sends = kind == JSON || kind == ECHO || kind == PUT || kind == UPLOAD;
    *q = (struct request){.kind = kind, .id = id, .lines = lines, .line_id = id};
    uint64_t bytes = (uint64_t)lines * LINE_BYTES;
    *body = 0;
    switch (kind) {
    case HELLO: q->text_len = (unsigned)sprintf(q->text, "hello %08x", id); break;
    case SLEEP: q->text_len = (unsigned)sprintf(q->text, "slept %08x", id); break;
    case BURN: q->text_len = (unsigned)sprintf(q->text, "burnt %08x", id); break;
    case JSON:
        sprintf(text, "{\"id\":%u,\"n\":%u}", id, lines);
        q->text_len =
            (unsigned)sprintf(q->text, "{\"id\":%u,\"n\":%u,\"sum\":%" PRIu64 "}", id, lines, (uint64_t)id + lines);
        break;
    case UPLOAD:
        *body = bytes;
        q->text_len = (unsigned)sprintf(q->text, "%08x %" PRIu64 " %08x", id, bytes, lines_crc(id, bytes));
        break;
    case DISK: q->line_id = 0; break;
    case ECHO:
    case PUT: *body = bytes; break;
    default: break;
    }
    q->expected = q->text_len ? q->text_len : bytes;
    char length[48] = "";
    if (sends) snprintf(length, sizeof length, "Content-Length: %" PRIu64 "\r\n", *body + strlen(text));
    return (unsigned)snprintf(out, room, "%s /%s/%08x?n=%u HTTP/1.1\r\nHost: hammer\r\n%s\r\n%s", kind_of[kind].method,
                              kind_of[kind].name, id, lines, length, text);
}

/* Whether these bytes stand at this place of the answer. */
static inline bool answer_is(const struct request *q, uint64_t off, const char *data, size_t n)
{
    if (off + n > q->expected) return false;
    return q->text_len ? memcmp(q->text + off, data, n) == 0 : lines_are(q->line_id, off, data, n);
}
