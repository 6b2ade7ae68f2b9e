/* Runs the HTTP/1 parser over an input that arrives in pieces and writes down the outcome as one line of text, so that
 * outcomes can be compared and tabled. Shared by the tests and the fuzz target. */
#ifndef EVPY_TEST_HEADS_H
#define EVPY_TEST_HEADS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evpy/gateway/http1.h"

typedef struct {
    int end;         /* of ev_http1_find_end */
    size_t given;    /* bytes that had been given when it answered */
    char text[1024]; /* the rest is cut off */
} head_outcome;

static inline void head_add(char **at, char *stop, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(*at, (size_t)(stop - *at), format, args);
    va_end(args);
    *at = n < stop - *at ? *at + n : stop - 1;
}

/* METHOD path[?query] [@authority] 1.minor [keep] [length=N | chunked] [expect] [upgrade] [https] [dropped=N] then
 * " | name: value" for each field. */
static inline void head_describe(const uint8_t *b, const ev_http1_head *h, char *at, size_t size)
{
    char *const stop = at + size;
    const char *s = (const char *)b;
    head_add(&at, stop, "%.*s %.*s", h->method_len, s + h->method_off, h->path_len, s + h->path_off);
    if (h->has_query) head_add(&at, stop, "?%.*s", h->query_len, s + h->query_off);
    if (h->host_len) head_add(&at, stop, " @%.*s", h->host_len, s + h->host_off);
    head_add(&at, stop, " 1.%d", h->minor);
    if (h->keep_alive) head_add(&at, stop, " keep");
    if (h->body == EV_BODY_LENGTH) head_add(&at, stop, " length=%llu", (unsigned long long)h->content_length);
    if (h->body == EV_BODY_CHUNKED) head_add(&at, stop, " chunked");
    if (h->expect_continue) head_add(&at, stop, " expect");
    if (h->upgrade) head_add(&at, stop, " upgrade");
    if (h->https_authority) head_add(&at, stop, " https");
    if (h->n_dropped) head_add(&at, stop, " dropped=%d", h->n_dropped);
    for (unsigned i = 0; i < h->n_fields; i++)
        head_add(&at, stop, " | %.*s: %.*s", h->field[i].name_len, s + h->field[i].name, h->field[i].value_len,
                 s + h->field[i].value);
}

/* cuts: ascending lengths at which find_end is asked before all of [p, p + len) has come. What has not come yet is
 * filled with `filler`, so that a look at it changes the outcome. */
static inline void head_run(const uint8_t *p, size_t len, const size_t *cuts, size_t n_cuts, uint8_t filler,
                            head_outcome *out)
{
    uint8_t *buf = malloc(len ? len : 1);
    ev_http1_scan scan = {0};
    size_t have = 0;
    memset(buf, filler, len ? len : 1);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i <= n_cuts && out->end == 0; i++) {
        const size_t upto = i < n_cuts ? cuts[i] : len;
        memcpy(buf + have, p + have, upto - have);
        have = upto;
        out->end = ev_http1_find_end(buf, have, &scan);
        out->given = have;
    }
    if (out->end == 0) {
        snprintf(out->text, sizeof out->text, "more");
    } else if (out->end < 0) {
        snprintf(out->text, sizeof out->text, "%d early", -out->end);
    } else {
        /* A copy of the exact size: the sanitizer sees what reads behind it. */
        uint8_t *exact = malloc((size_t)out->end);
        ev_http1_head *head = malloc(sizeof *head);
        const char *reason = NULL;
        memcpy(exact, buf, (size_t)out->end);
        const int status = ev_http1_parse(exact, (uint32_t)out->end, head, &reason);
        if (status != 0)
            snprintf(out->text, sizeof out->text, "%d %s", status, reason);
        else
            head_describe(exact, head, out->text, sizeof out->text);
        free(head);
        free(exact);
    }
    free(buf);
}

#endif
