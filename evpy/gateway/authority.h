/* The authority of a request: uri-host [ ":" port ] of the Host field and of absolute-form targets
 * (RFC 9110 section 7.2, RFC 3986 section 3.2). User information is not accepted (RFC 9110 section 4.2.4). */
#ifndef EVPY_AUTHORITY_H
#define EVPY_AUTHORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *text; /* host and port as received */
    size_t len;
    size_t
        host_len; /* > 0: http and https know no empty host (RFC 9110 section 4.2.1); with the brackets of a literal */
    int32_t port; /* -1 when absent or empty */
} ev_authority;

bool ev_authority_parse(const uint8_t *p, size_t n, ev_authority *out);

/* Same host, case-insensitively, and same port, where an absent one is default_port (RFC 9110 section 4.2.3). */
bool ev_authority_same(const ev_authority *a, const ev_authority *b, int32_t default_port);

#endif
