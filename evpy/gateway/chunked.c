/* Chunked transfer coding, RFC 9112 section 7.1, read one octet at a time but for the data, which is handed out as it
 * lies in the input.
 *
 *   chunked-body = *( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) "0" [ chunk-ext ] CRLF *( field-line CRLF ) CRLF
 *
 * Since all that is not data passes through one switch over (state, octet), the outcome cannot depend on how the input
 * was cut. Extensions are not interpreted and no chunk extension has a meaning to us; they are bounded, because they
 * are work without progress (CVE-2023-39326). Trailer fields are checked like header fields and then dropped: nothing
 * in the request may still change after its head was judged (RFC 9110 section 6.5.1). */
#include "chunked.h"

#include "http1.h"
#include "octets.h"

enum {
    SIZE,    /* chunk-size */
    EXT,     /* chunk-ext, up to CR */
    SIZE_LF, /* LF behind them */
    DATA,    /* `left` bytes of chunk-data */
    DATA_CR, /* CRLF behind chunk-data */
    DATA_LF,
    LINE,     /* first octet of a trailer line */
    NAME,     /* field name, up to the colon */
    VALUE,    /* field value, up to CR */
    VALUE_LF, /* LF behind it */
    LAST_LF,  /* LF of the empty line */
    DONE,
    FAILED_400,
    FAILED_431,
};

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 9110 section 6.5.1: fields that govern framing, routing or authentication are no trailers. */
static bool forbidden_trailer(const ev_chunked *c)
{
    const uint8_t *name = (const uint8_t *)c->name;
    switch (c->name_len) {
    case 4: return ev_same_nocase(name, "host", 4);
    case 7: return ev_same_nocase(name, "trailer", 7);
    case 13: return ev_same_nocase(name, "authorization", 13);
    case 14: return ev_same_nocase(name, "content-length", 14);
    case 17: return ev_same_nocase(name, "transfer-encoding", 17);
    default: return false;
    }
}

/* One octet of anything but chunk-data. NULL, or the rule that is broken; *status is 400 unless set. */
static const char *step(ev_chunked *c, uint8_t b, int *status)
{
    if (c->state >= LINE && ++c->trailer_bytes > EV_MAX_HEAD) {
        *status = 431;
        return "trailers are too large";
    }
    switch (c->state) {
    case SIZE: {
        const int v = hex_value(b);
        if (v >= 0) {
            if (c->digits == 16) return "chunk size has over 16 digits";
            c->digits++;
            c->left = c->left << 4 | (unsigned)v;
            if (c->left > INT64_MAX) return "chunk size is too large";
            return NULL;
        }
        if (c->digits == 0) return "chunk without size";
        if (b == '\r') {
            c->state = SIZE_LF;
            return NULL;
        }
        if (b != ';') return "invalid character in a chunk size";
        c->state = EXT;
    }
        /* fall through */
    case EXT:
        if (b == '\r') {
            c->state = SIZE_LF;
            return NULL;
        }
        if (ev_is_ctl(b)) return "control character in a chunk extension";
        if (++c->ext_bytes > EV_MAX_CHUNK_EXT || ++c->body_ext > EV_MAX_BODY_EXT)
            return "chunk extensions are too long";
        return NULL;
    case SIZE_LF:
        if (b != '\n') return "chunk size line does not end with CRLF";
        c->state = c->left > 0 ? DATA : LINE;
        c->digits = 0;
        c->ext_bytes = 0;
        return NULL;
    case DATA_CR:
        if (b != '\r') return "chunk data is not followed by CRLF";
        c->state = DATA_LF;
        return NULL;
    case DATA_LF:
        if (b != '\n') return "chunk data is not followed by CRLF";
        c->state = SIZE;
        return NULL;
    case LINE:
        c->line_bytes = 0;
        c->name_len = 0;
        if (b == '\r') {
            c->state = LAST_LF;
            return NULL;
        }
        if (ev_is_ows(b)) return "obsolete line folding in a trailer";
        if (b == ':') return "empty trailer name";
        if (c->trailer_fields == EV_MAX_FIELDS) {
            *status = 431;
            return "too many trailer fields";
        }
        c->trailer_fields++;
        c->state = NAME;
        /* fall through */
    case NAME:
        if (b == ':') {
            if (forbidden_trailer(c)) return "field is not allowed as a trailer";
            c->state = VALUE;
        } else if (!ev_tchar[b]) {
            return ev_is_ows(b) ? "white space before the colon of a trailer" : "invalid character in a trailer name";
        } else if (c->name_len < sizeof c->name) {
            c->name[c->name_len++] = (char)b; /* a name that fills the buffer is longer than all that matter */
        }
        break;
    case VALUE:
        if (b == '\r') {
            c->state = VALUE_LF;
            return NULL;
        }
        if (ev_is_ctl(b)) return "control character in a trailer";
        break;
    case VALUE_LF:
        if (b != '\n') return "trailer does not end with CRLF";
        c->state = LINE;
        return NULL;
    case LAST_LF:
        if (b != '\n') return "trailers do not end with CRLF";
        c->state = DONE;
        return NULL;
    }
    if (++c->line_bytes <= EV_MAX_LINE) return NULL;
    *status = 431;
    return "trailer line is too long";
}

ev_chunk_result ev_chunked_next(ev_chunked *c, const uint8_t *buf, size_t len, size_t *used, const uint8_t **data,
                                size_t *data_len, int *status, const char **reason)
{
    size_t i = 0;
    *used = 0;
    if (c->state >= FAILED_400) {
        *status = c->state == FAILED_431 ? 431 : 400;
        *reason = "the body was refused before";
        return EV_CHUNK_ERROR;
    }
    while (c->state != DONE) {
        if (i == len) {
            *used = i;
            return EV_CHUNK_MORE;
        }
        if (c->state == DATA) {
            const size_t n = len - i < c->left ? len - i : (size_t)c->left;
            *data = buf + i;
            *data_len = n;
            *used = i + n;
            c->left -= n;
            if (c->left == 0) c->state = DATA_CR;
            return EV_CHUNK_DATA;
        }
        *status = 400;
        const char *why = step(c, buf[i++], status);
        if (why) {
            c->state = *status == 431 ? FAILED_431 : FAILED_400;
            *reason = why;
            *used = i;
            return EV_CHUNK_ERROR;
        }
    }
    *used = i;
    return EV_CHUNK_END;
}
