/* Decoder of the chunked transfer coding (RFC 9112 section 7.1): sans-I/O, incremental, copies nothing.
 * Trailers obey the same limits as header fields and are discarded. */
#ifndef EVPY_CHUNKED_H
#define EVPY_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EV_MAX_CHUNK_EXT 1024
#define EV_MAX_BODY_EXT  16384

/* All zero before the first byte of a body. */
typedef struct {
    uint64_t left;      /* bytes left of the current chunk's data */
    uint32_t ext_bytes; /* extension bytes of this chunk */
    uint32_t body_ext;  /* extension bytes of this body */
    uint32_t trailer_bytes;
    uint16_t trailer_fields;
    uint16_t line_bytes; /* of the trailer line being read */
    uint8_t state;
    uint8_t digits;
    uint8_t name_len; /* of the trailer name collected so far, to refuse forbidden ones */
    char name[24];
} ev_chunked;

typedef enum {
    EV_CHUNK_MORE,  /* all input consumed, more is needed */
    EV_CHUNK_DATA,  /* data[0..data_len) is body */
    EV_CHUNK_END,   /* the body is complete; bytes after *used belong to the next request */
    EV_CHUNK_ERROR, /* *status holds the answer: 400 or 431 */
} ev_chunk_result;

/* Consumes a prefix of buf[0..len), sets *used to its length. On EV_CHUNK_DATA *data points into buf. Call again
 * with the rest until it returns something else than EV_CHUNK_DATA. */
ev_chunk_result ev_chunked_next(ev_chunked *c, const uint8_t *buf, size_t len, size_t *used, const uint8_t **data,
                                size_t *data_len, int *status, const char **reason);

#endif
