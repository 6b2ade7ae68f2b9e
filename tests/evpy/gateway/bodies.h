/* Runs the chunked decoder over an input that arrives in pieces. Shared by the test and the fuzz target. */
#ifndef EVPY_TEST_BODIES_H
#define EVPY_TEST_BODIES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evpy/gateway/chunked.h"

typedef struct {
    ev_chunk_result result;
    int status;
    const char *reason;
    size_t used; /* bytes consumed, the offending one included */
    uint8_t *body;
    size_t body_len;
} body_outcome;

/* cuts: ascending lengths. Each piece is a copy of its exact size: the sanitizer sees what reads outside. NULL, or what
 * the decoder did against its contract. */
static inline const char *body_run(const uint8_t *p, size_t len, const size_t *cuts, size_t n_cuts, body_outcome *out)
{
    ev_chunked c = {0};
    size_t begin = 0;
    memset(out, 0, sizeof *out);
    out->body = malloc(len ? len : 1);
    out->reason = "";
    for (size_t i = 0; i <= n_cuts; i++) {
        const size_t stop = i < n_cuts ? cuts[i] : len, n = stop - begin;
        uint8_t *piece = malloc(n ? n : 1);
        const char *wrong = NULL;
        size_t at = 0;
        memcpy(piece, p + begin, n);
        do {
            const uint8_t *data = NULL;
            size_t used = SIZE_MAX, data_len = 0;
            out->result = ev_chunked_next(&c, piece + at, n - at, &used, &data, &data_len, &out->status, &out->reason);
            if (used > n - at) {
                wrong = "more used than given";
                break;
            }
            if (out->result == EV_CHUNK_DATA) {
                if (data_len == 0)
                    wrong = "empty data";
                else if (data < piece + at || data + data_len != piece + at + used)
                    wrong = "data is not the end of what was used";
                if (wrong) break;
                memcpy(out->body + out->body_len, data, data_len);
                out->body_len += data_len;
            }
            if (out->result == EV_CHUNK_MORE && used != n - at) wrong = "more wanted with input left";
            at += used;
            out->used += used;
        } while (out->result == EV_CHUNK_DATA && !wrong);
        free(piece);
        if (wrong) return wrong;
        if (out->result != EV_CHUNK_MORE) break;
        begin = stop;
    }
    return NULL;
}

static inline void body_free(body_outcome *out)
{
    free(out->body);
}

static inline int body_same(const body_outcome *a, const body_outcome *b)
{
    if (a->result != b->result || a->used != b->used || a->body_len != b->body_len) return 0;
    if (a->result == EV_CHUNK_ERROR && (a->status != b->status || strcmp(a->reason, b->reason) != 0)) return 0;
    return memcmp(a->body, b->body, a->body_len) == 0;
}

#endif
