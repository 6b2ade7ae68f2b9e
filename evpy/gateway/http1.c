/* HTTP/1 request heads in two passes.
 *
 * ev_http1_find_end() runs over new bytes as they arrive and knows lines only: it finds the empty line that ends the
 * head and refuses at once what no further byte could repair (a control character, a bare CR or LF, a line, block or
 * count over its limit). Each verdict depends on the bytes before it and not on how they were cut: for every prefix of
 * the input the answer is that of the first offence in it.
 *
 * ev_http1_parse() sees a complete head once and does all the rest, so there is no state to carry between calls: the
 * design of picohttpparser. The head ends with LF, which no token, target or value contains; that makes it the
 * sentinel of all scans over a table, and they need no check of the end.
 *
 * The head is an array of offsets, so that it can be copied to the worker together with the bytes. */
#include "http1.h"

#include <string.h>

#include "authority.h"
#include "octets.h"

/* Bit 1 marks '_', so that a scan over a name can collect it. */
const uint8_t ev_tchar[256] = {
    ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, ['0' ... '9'] = 1, ['!'] = 1, ['#'] = 1, ['$'] = 1,
    ['%'] = 1,         ['&'] = 1,         ['\''] = 1,        ['*'] = 1, ['+'] = 1, ['-'] = 1,
    ['.'] = 1,         ['^'] = 1,         ['_'] = 3,         ['`'] = 1, ['|'] = 1, ['~'] = 1,
};

bool ev_http1_valid_name(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ev_tchar[p[i]]) return false;
    return n > 0;
}

bool ev_http1_valid_value(const uint8_t *p, size_t n)
{
    return n == 0 || ev_find_ctl(p, p + n) == p + n;
}

int ev_http1_find_end(const uint8_t *buf, size_t len, ev_http1_scan *scan)
{
    const size_t limit = len < EV_MAX_HEAD ? len : EV_MAX_HEAD;
    size_t pos = scan->scanned, line = scan->line_start;
    unsigned lines = scan->lines;
    for (;;) {
        pos = (size_t)(ev_find_ctl(buf + pos, buf + limit) - buf);
        const size_t n = pos - line;
        if (n > EV_MAX_LINE) return lines == 0 ? -414 : -431;
        if (n > 0 && lines > EV_MAX_FIELDS) return -431;
        if (pos == limit) break;
        if (buf[pos] != '\r') return -400;
        if (pos + 1 == limit) break;
        if (buf[pos + 1] != '\n') return -400;
        pos += 2;
        if (n == 0) {
            if (lines > 0) return (int)pos;
            if (line > 0) return -400; /* RFC 9112 section 2.2 allows one empty line, not any number */
        } else {
            lines++;
        }
        line = pos;
    }
    if (limit == EV_MAX_HEAD) return -431;
    scan->scanned = (uint32_t)pos;
    scan->line_start = (uint32_t)line;
    scan->lines = (uint16_t)lines;
    scan->started = lines > 0 || pos > line;
    return 0;
}

const char *ev_http1_scan_reason(int status)
{
    switch (status) {
    case 414: return "request line is over 8192 bytes";
    case 431: return "head has over 100 fields, 32768 bytes or 8192 bytes in a line";
    default: return "control character, or a line end that is not CRLF, in the head";
    }
}

/* What the fields have said so far; the verdicts that need several of them come last. */
typedef struct {
    ev_authority host, target; /* text NULL when absent */
    uint64_t content_length;
    bool length, transfer, chunked, other_coding;
    bool close, keep_alive, upgrade_option, upgrade_field;
    bool expect_continue, expect_other;
} facts;

static int refuse(int status, const char *why, const char **reason)
{
    *reason = why;
    return status;
}

/* Next element of a comma-separated list, without the white space around it; may be empty. False at the end. */
static bool next_item(const uint8_t **p, const uint8_t *end, const uint8_t **item, size_t *n)
{
    if (*p > end) return false;
    const uint8_t *a = *p, *comma = a < end ? memchr(a, ',', (size_t)(end - a)) : NULL;
    const uint8_t *b = comma ? comma : end;
    *p = b + 1;
    while (a < b && ev_is_ows(*a)) a++;
    while (b > a && ev_is_ows(b[-1])) b--;
    *item = a;
    *n = (size_t)(b - a);
    return true;
}

/* RFC 9110 section 7.6.1. Options that mean nothing to us are ignored. */
static void on_connection(facts *f, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *item;
    size_t n;
    while (next_item(&p, end, &item, &n)) {
        if (n == 10 && ev_same_nocase(item, "keep-alive", 10))
            f->keep_alive = true;
        else if (n == 5 && ev_same_nocase(item, "close", 5))
            f->close = true;
        else if (n == 7 && ev_same_nocase(item, "upgrade", 7))
            f->upgrade_option = true;
    }
}

/* RFC 9112 section 6.1. Empty elements, which RFC 9110 section 5.6.1.2 lets a recipient ignore, and parameters, which
 * no coding that we know has, are refused: two readers of one message must not differ about its framing. */
static const char *on_transfer_encoding(facts *f, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *item;
    size_t n;
    f->transfer = true;
    while (next_item(&p, end, &item, &n)) {
        if (!ev_http1_valid_name(item, n)) return "malformed Transfer-Encoding";
        if (f->chunked) return "chunked is not the last transfer coding";
        if (n == 7 && ev_same_nocase(item, "chunked", 7))
            f->chunked = true;
        else
            f->other_coding = true;
    }
    return NULL;
}

/* RFC 9110 section 8.6: digits only. The limit keeps signed readers of the length right. */
static const char *on_content_length(facts *f, const uint8_t *p, const uint8_t *end)
{
    uint64_t v = 0;
    if (f->length) return "several Content-Length fields";
    if (p == end) return "empty Content-Length";
    for (; p < end; p++) {
        const unsigned d = (unsigned)*p - '0';
        if (d > 9) return "Content-Length is not a decimal number";
        if (v > ((uint64_t)INT64_MAX - d) / 10) return "Content-Length is too large";
        v = v * 10 + d;
    }
    f->length = true;
    f->content_length = v;
    return NULL;
}

/* RFC 9110 section 10.1.1. */
static void on_expect(facts *f, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *item;
    size_t n;
    while (next_item(&p, end, &item, &n)) {
        if (n == 12 && ev_same_nocase(item, "100-continue", 12))
            f->expect_continue = true;
        else if (n > 0)
            f->expect_other = true;
    }
}

/* The few fields that concern the connection and the framing. NULL, or the rule that is broken (status 400). */
static const char *on_field(facts *f, const uint8_t *name, size_t n, const uint8_t *value, const uint8_t *end)
{
    switch (n) {
    case 4:
        if (!ev_same_nocase(name, "host", 4)) break;
        if (f->host.text) return "several Host fields";
        if (!ev_authority_parse(value, (size_t)(end - value), &f->host)) return "invalid Host";
        break;
    case 6:
        if (ev_same_nocase(name, "expect", 6)) on_expect(f, value, end);
        break;
    case 7:
        if (ev_same_nocase(name, "upgrade", 7)) f->upgrade_field = true;
        break;
    case 10:
        if (ev_same_nocase(name, "connection", 10)) on_connection(f, value, end);
        break;
    case 14:
        if (ev_same_nocase(name, "content-length", 14)) return on_content_length(f, value, end);
        break;
    case 17:
        if (ev_same_nocase(name, "transfer-encoding", 17)) return on_transfer_encoding(f, value, end);
        break;
    }
    return NULL;
}

static ev_method method_of(const uint8_t *p, size_t n)
{
    switch (n) {
    case 3:
        if (memcmp(p, "GET", 3) == 0) return EV_GET;
        if (memcmp(p, "PUT", 3) == 0) return EV_PUT;
        break;
    case 4:
        if (memcmp(p, "POST", 4) == 0) return EV_POST;
        if (memcmp(p, "HEAD", 4) == 0) return EV_HEAD;
        break;
    case 5:
        if (memcmp(p, "PATCH", 5) == 0) return EV_PATCH;
        if (memcmp(p, "TRACE", 5) == 0) return EV_TRACE;
        break;
    case 6:
        if (memcmp(p, "DELETE", 6) == 0) return EV_DELETE;
        break;
    case 7:
        if (memcmp(p, "OPTIONS", 7) == 0) return EV_OPTIONS;
        if (memcmp(p, "CONNECT", 7) == 0) return EV_CONNECT;
        break;
    }
    return EV_OTHER;
}

/* RFC 9112 section 3.2: the forms of a request target. */
static int parse_target(const uint8_t *buf, const uint8_t *p, const uint8_t *end, ev_http1_head *h, facts *f,
                        const char **reason)
{
    const size_t n = (size_t)(end - p);
    if (h->method == EV_CONNECT) return refuse(501, "CONNECT is not supported", reason);
    if (*p != '/') {
        if (n == 1 && *p == '*') {
            if (h->method != EV_OPTIONS) return refuse(400, "target * is for OPTIONS only", reason);
        } else {
            if (n >= 7 && ev_same_nocase(p, "http", 4) && memcmp(p + 4, "://", 3) == 0) {
                p += 7;
            } else if (n >= 8 && ev_same_nocase(p, "https", 5) && memcmp(p + 5, "://", 3) == 0) {
                p += 8;
                h->https_authority = true;
            } else {
                return refuse(400, "malformed request target", reason);
            }
            const uint8_t *authority = p;
            while (p < end && *p != '/' && *p != '?') p++;
            if (!ev_authority_parse(authority, (size_t)(p - authority), &f->target))
                return refuse(400, "invalid authority in the request target", reason);
        }
    }
    const uint8_t *mark = p < end ? memchr(p, '?', (size_t)(end - p)) : NULL;
    const uint8_t *path_end = mark ? mark : end;
    h->path_off = (uint16_t)(p - buf);
    h->path_len = (uint16_t)(path_end - p);
    if (mark) {
        h->has_query = true;
        h->query_off = (uint16_t)(mark + 1 - buf);
        h->query_len = (uint16_t)(end - mark - 1);
    }
    return 0;
}

/* RFC 9112 section 3: method SP request-target SP HTTP-version CRLF. Moves *at behind the line. */
static int parse_request_line(const uint8_t *buf, const uint8_t **at, const uint8_t *end, ev_http1_head *h, facts *f,
                              const char **reason)
{
    const uint8_t *p = *at, *method = p;
    while (ev_tchar[*p]) p++;
    if (p == method) return refuse(400, "malformed request line", reason);
    if (*p != ' ') return refuse(400, "invalid character in the method", reason);
    h->method_off = (uint16_t)(method - buf);
    h->method_len = (uint16_t)(p - method);
    h->method = (uint8_t)method_of(method, h->method_len);

    const uint8_t *target = ++p;
    p = ev_find_target_end(p, end);
    if (*p == '#') return refuse(400, "fragment in the request target", reason);
    if (*p == '\r') return refuse(400, "request line without HTTP version", reason);
    if (*p != ' ') return refuse(400, "invalid character in the request target", reason);
    if (p == target) return refuse(400, "empty request target", reason);
    h->target_off = (uint16_t)(target - buf);
    h->target_len = (uint16_t)(p - target);

    const uint8_t *version = p + 1;
    if (end - version < 10 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || version[8] != '\r' ||
        version[9] != '\n' || (unsigned)version[5] - '0' > 9 || (unsigned)version[7] - '0' > 9)
        return refuse(400, "malformed HTTP version", reason);
    if (version[5] != '1' || version[7] > '1') return refuse(505, "HTTP version is not 1.0 or 1.1", reason);
    h->minor = version[7] - '0';
    *at = version + 10;
    return parse_target(buf, target, p, h, f, reason);
}

/* RFC 9112 section 5. Moves *at to the empty line. */
static int parse_fields(const uint8_t *buf, const uint8_t **at, const uint8_t *end, ev_http1_head *h, facts *f,
                        const char **reason)
{
    const uint8_t *p = *at;
    unsigned kept = 0, dropped = 0;
    while (*p != '\r') {
        const uint8_t *name = p, *value, *tail;
        uint8_t bits = 0, k;
        while ((k = ev_tchar[*p])) {
            bits |= k;
            p++;
        }
        if (*p != ':') {
            if (ev_is_ows(*p))
                return refuse(400, p == name ? "obsolete line folding" : "white space before the colon", reason);
            return refuse(400, *p == '\r' ? "field line without colon" : "invalid character in a field name", reason);
        }
        if (p == name) return refuse(400, "empty field name", reason);
        const size_t name_len = (size_t)(p - name);
        p++;
        while (ev_is_ows(*p)) p++;
        value = p;
        p = tail = ev_find_ctl(p, end);
        if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
            return refuse(400, "control character in a field value", reason);
        p += 2;
        if (kept + dropped == EV_MAX_FIELDS) return refuse(431, "too many fields", reason);
        if (bits & 2) {
            dropped++;
            continue;
        }
        while (tail > value && ev_is_ows(tail[-1])) tail--;
        h->field[kept++] =
            (ev_field){(uint16_t)(name - buf), (uint16_t)name_len, (uint16_t)(value - buf), (uint16_t)(tail - value)};
        const char *why = on_field(f, name, name_len, value, tail);
        if (why) return refuse(400, why, reason);
    }
    h->n_fields = (uint16_t)kept;
    h->n_dropped = (uint16_t)dropped;
    *at = p;
    return 0;
}

/* The rules that concern several fields, or fields and request line. Framing comes first. */
static int conclude(const uint8_t *buf, ev_http1_head *h, const facts *f, const char **reason)
{
    if (f->transfer) {
        if (f->length) return refuse(400, "both Content-Length and Transfer-Encoding", reason);
        if (h->minor == 0) return refuse(400, "Transfer-Encoding in HTTP/1.0", reason);
        if (!f->chunked) return refuse(400, "chunked is not the last transfer coding", reason);
        if (f->other_coding) return refuse(501, "transfer coding is not supported", reason);
        h->body = EV_BODY_CHUNKED;
    } else if (f->length) {
        h->body = EV_BODY_LENGTH;
        h->content_length = f->content_length;
    }

    if (!f->host.text && h->minor == 1) return refuse(400, "HTTP/1.1 without Host", reason);
    const ev_authority *host = &f->host;
    if (f->target.text) {
        if (f->host.text && !ev_authority_same(&f->host, &f->target, h->https_authority ? 443 : 80))
            return refuse(400, "Host differs from the request target", reason);
        host = &f->target;
    }
    if (host->text) {
        h->host_off = (uint16_t)(host->text - buf);
        h->host_len = (uint16_t)host->len;
    }

    h->keep_alive = !f->close && (h->minor == 1 || f->keep_alive);
    h->upgrade = h->minor == 1 && f->upgrade_option && f->upgrade_field; /* RFC 9110 section 7.8 */
    if (f->expect_other) return refuse(417, "unknown expectation", reason);
    h->expect_continue = f->expect_continue && h->minor == 1 && (f->chunked || f->content_length > 0);
    return 0;
}

int ev_http1_parse(const uint8_t *buf, uint32_t head_len, ev_http1_head *h, const char **reason)
{
    const uint8_t *p = buf, *const end = buf + head_len;
    facts f = {0};
    memset(h, 0, offsetof(ev_http1_head, field));
    *reason = "";
    if (head_len > EV_MAX_HEAD) return refuse(431, "head is too large", reason);
    if (head_len < 4 || memcmp(end - 4, "\r\n\r\n", 4) != 0) return refuse(400, "incomplete head", reason);
    h->head_len = head_len;
    if (p[0] == '\r' && p[1] == '\n') p += 2;
    int status = parse_request_line(buf, &p, end, h, &f, reason);
    if (status == 0) status = parse_fields(buf, &p, end, h, &f, reason);
    if (status != 0) return status;
    if (p + 2 != end) return refuse(400, "empty line inside the head", reason);
    return conclude(buf, h, &f, reason);
}

const char *ev_http1_reason(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 305: return "Use Proxy";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 511: return "Network Authentication Required";
    default: return "";
    }
}
