#include "authority.h"

#include <arpa/inet.h>
#include <string.h>

/* RFC 3986 section 2: unreserved and sub-delims. */
static const uint8_t regname_char[256] = {
    ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, ['0' ... '9'] = 1, ['-'] = 1, ['.'] = 1,  ['_'] = 1,
    ['~'] = 1,         ['!'] = 1,         ['$'] = 1,         ['&'] = 1, ['\''] = 1, ['('] = 1,
    [')'] = 1,         ['*'] = 1,         ['+'] = 1,         [','] = 1, [';'] = 1,  ['='] = 1,
};

static bool is_hex(uint8_t c)
{
    const uint8_t l = c | 0x20;
    return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'f');
}

/* IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool valid_future(const uint8_t *p, const uint8_t *end)
{
    if (p == end || (*p++ | 0x20) != 'v') return false;
    const uint8_t *hex = p;
    while (p < end && is_hex(*p)) p++;
    if (p == hex || p == end || *p++ != '.') return false;
    const uint8_t *rest = p;
    while (p < end && (regname_char[*p] || *p == ':')) p++;
    return p > rest && p == end;
}

/* What stands between the brackets of an IP literal. Zone identifiers are local to a node and have no place here. */
static bool valid_ip_literal(const uint8_t *p, const uint8_t *end)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    const size_t n = (size_t)(end - p);
    if (n < sizeof text && memchr(p, 0, n) == NULL) {
        memcpy(text, p, n);
        text[n] = 0;
        if (inet_pton(AF_INET6, text, &addr) == 1) return true;
    }
    return valid_future(p, end);
}

bool ev_authority_parse(const uint8_t *p, size_t n, ev_authority *out)
{
    const uint8_t *const start = p, *const end = p + n;
    if (n == 0) return false;
    if (*p == '[') {
        const uint8_t *close = memchr(p, ']', n);
        if (close == NULL || !valid_ip_literal(p + 1, close)) return false;
        p = close + 1;
    } else {
        for (; p < end; p++) {
            if (regname_char[*p]) continue;
            if (*p != '%') break;
            if (end - p < 3 || !is_hex(p[1]) || !is_hex(p[2])) return false;
            p += 2;
        }
        if (p == start) return false;
    }
    out->text = start;
    out->len = n;
    out->host_len = (size_t)(p - start);
    out->port = -1;
    if (p == end) return true;
    if (*p++ != ':') return false;
    if (p == end) return true;
    int32_t port = 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') return false;
        port = port * 10 + (*p - '0');
        if (port > 65535) return false;
    }
    out->port = port;
    return true;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool ev_authority_same(const ev_authority *a, const ev_authority *b, int32_t default_port)
{
    const int32_t port_a = a->port < 0 ? default_port : a->port, port_b = b->port < 0 ? default_port : b->port;
    if (port_a != port_b || a->host_len != b->host_len) return false;
    for (size_t i = 0; i < a->host_len; i++)
        if (lower(a->text[i]) != lower(b->text[i])) return false;
    return true;
}
