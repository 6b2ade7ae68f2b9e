/* HTTP/1.1 and 1.0 request heads: sans-I/O. Sees bytes, no sockets, no clock.
 * The rules are those of docs/wire.md (RFC 9112, RFC 9110); there are no leniency switches. */
#ifndef EVPY_HTTP1_H
#define EVPY_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EV_MAX_FIELDS 100
#define EV_MAX_LINE   8192  /* bytes of one line without its CRLF */
#define EV_MAX_HEAD   32768 /* bytes of the whole head, final CRLF included: offsets fit in 16 bits */

/* Offsets are relative to the first byte of the head. */
typedef struct {
    uint16_t name, name_len, value, value_len;
} ev_field;

typedef enum {
    EV_OTHER,
    EV_GET,
    EV_HEAD,
    EV_POST,
    EV_PUT,
    EV_DELETE,
    EV_OPTIONS,
    EV_PATCH,
    EV_TRACE,
    EV_CONNECT,
} ev_method;

typedef enum { EV_BODY_NONE, EV_BODY_LENGTH, EV_BODY_CHUNKED } ev_body_kind;

typedef struct {
    uint64_t content_length; /* valid when body == EV_BODY_LENGTH */
    uint32_t head_len;       /* bytes of the head, leading empty line and final CRLF included */
    uint16_t method_off, method_len;
    uint16_t target_off, target_len; /* the request target as received */
    uint16_t path_off, path_len;   /* path of the target, undecoded; absolute-form without path: path_len 0 means "/" */
    uint16_t query_off, query_len; /* after '?'; see has_query */
    uint16_t host_off, host_len;   /* effective authority: that of an absolute-form target, else the Host field */
    uint16_t n_fields;
    uint16_t n_dropped; /* fields dropped because their name holds '_' */
    uint8_t method;     /* ev_method */
    uint8_t minor;      /* HTTP/1.minor: 0 or 1 */
    uint8_t body;       /* ev_body_kind */
    bool has_query;
    bool keep_alive;      /* by version and Connection */
    bool expect_continue; /* the client waits for 100 before it sends its (non-empty) body */
    bool upgrade;         /* Connection: upgrade with an Upgrade field */
    bool https_authority; /* absolute-form target with scheme https */
    ev_field field[EV_MAX_FIELDS];
} ev_http1_head;

/* Progress of the search for the end of a head; all zero before the first byte of a request. */
typedef struct {
    uint32_t scanned;    /* bytes already looked at */
    uint32_t line_start; /* offset of the line being read */
    uint16_t lines;      /* complete lines so far */
    bool started;        /* the request line has begun (a single leading CRLF is skipped) */
} ev_http1_scan;

/* Looks for the end of the head in buf[0..len), resuming where the last call stopped (buf may have moved, its
 * content not). Returns the length of the head (> 0) when complete, 0 when more bytes are needed, or -status
 * (-400, -414, -431) as soon as the lines alone show that no continuation can make it valid: at a control character, a
 * bare CR or LF, or past a limit. O(new bytes); the result for the first n bytes does not depend on how they were cut.
 */
int ev_http1_find_end(const uint8_t *buf, size_t len, ev_http1_scan *scan);

/* The rule broken when ev_http1_find_end returned -status, for log and body. */
const char *ev_http1_scan_reason(int status);

/* Parses a complete head of the length that ev_http1_find_end returned. 0, or the status to answer with
 * (400, 414, 417, 431, 501, 505); *reason then names the broken rule in a few words for log and body. */
int ev_http1_parse(const uint8_t *buf, uint32_t head_len, ev_http1_head *out, const char **reason);

/* Reason phrase of a status (RFC 9110 section 15), "" when unknown. */
const char *ev_http1_reason(int status);

/* RFC 9110 section 9.2.2. */
static inline bool ev_method_is_idempotent(uint8_t m)
{
    return m == EV_GET || m == EV_HEAD || m == EV_PUT || m == EV_DELETE || m == EV_OPTIONS || m == EV_TRACE;
}

/* RFC 9110 section 5.6.2: not 0 for a tchar. Shared with the check of response fields. */
extern const uint8_t ev_tchar[256];
bool ev_http1_valid_name(const uint8_t *p, size_t n);
/* No CR, LF, NUL, nor any control but HTAB; obs-text allowed. */
bool ev_http1_valid_value(const uint8_t *p, size_t n);

#endif
