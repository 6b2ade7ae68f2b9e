/* Properties of the chunked decoder that hold for every input: cutting changes nothing, a plainly written decoder of
 * whole bodies agrees, and what was decoded survives being encoded again.
 *
 * Built with libFuzzer by scripts/fuzz; every build runs it over the corpus, too (replay.c). */
#include <ctype.h>
#include <strings.h>

#include "bodies.h"
#include "evpy/gateway/http1.h"
#include "tests/native/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Length of the line at p without its CRLF; -1 when there is none or it holds a control character. */
static long line_at(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (p[i] == '\r') return p[i + 1] == '\n' ? (long)i : -1;
        if ((p[i] < 32 && p[i] != '\t') || p[i] == 127) return -1;
    }
    return -1;
}

static bool good_trailer(const uint8_t *p, size_t n)
{
    static const char *const forbidden[] = {"host", "content-length", "transfer-encoding", "authorization", "trailer"};
    const uint8_t *colon = memchr(p, ':', n);
    if (!colon || n > EV_MAX_LINE || !ev_http1_valid_name(p, (size_t)(colon - p))) return false;
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (strlen(forbidden[i]) == (size_t)(colon - p) &&
            strncasecmp(forbidden[i], (const char *)p, strlen(forbidden[i])) == 0)
            return false;
    return true;
}

/* Whether the input begins with a complete, valid body; then *used is its length, and its content is in body. */
static bool plain_decode(const uint8_t *p, size_t len, uint8_t *body, size_t *body_len, size_t *used)
{
    size_t at = 0, ext = 0;
    *body_len = 0;
    for (;;) {
        const long n = line_at(p + at, len - at);
        unsigned long long size = 0;
        long digits = 0;
        if (n < 0) return false;
        for (; digits < n && isxdigit(p[at + (size_t)digits]); digits++) {
            const int c = tolower(p[at + (size_t)digits]);
            size = size * 16 + (unsigned long long)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        if (digits == 0 || digits > 16 || size > INT64_MAX) return false;
        if (digits < n && p[at + (size_t)digits] != ';') return false;
        ext += (size_t)(n - digits);
        if (n - digits > EV_MAX_CHUNK_EXT || ext > EV_MAX_BODY_EXT) return false;
        at += (size_t)n + 2;
        if (size == 0) break;
        if (size > len - at || len - at - size < 2 || memcmp(p + at + size, "\r\n", 2) != 0) return false;
        memcpy(body + *body_len, p + at, size);
        *body_len += size;
        at += size + 2;
    }
    const size_t trailers = at;
    for (size_t fields = 0;; fields++) {
        const long n = line_at(p + at, len - at);
        if (n < 0 || fields > EV_MAX_FIELDS) return false;
        at += (size_t)n + 2;
        if (at - trailers > EV_MAX_HEAD) return false;
        if (n == 0) break;
        if (fields == EV_MAX_FIELDS || !good_trailer(p + at - n - 2, (size_t)n)) return false;
    }
    *used = at;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX = 1 << 17 };
    static size_t cuts[MAX];
    static uint8_t body[MAX];
    if (size > MAX) return 0;

    body_outcome whole, cut;
    MUST(body_run(data, size, NULL, 0, &whole) == NULL);
    MUST(whole.result != EV_CHUNK_ERROR || ((whole.status == 400 || whole.status == 431) && *whole.reason));
    for (size_t i = 0; i < size; i++) cuts[i] = i;
    MUST(body_run(data, size, cuts, size, &cut) == NULL);
    MUST(body_same(&whole, &cut));
    body_free(&cut);

    uint64_t seed = size; /* the input decides on the cuts: a crash is reproducible */
    for (size_t i = 0; i < size && i < 64; i++) seed = seed * 31 + data[i];
    size_t n = 0, at = 0;
    while ((at += 1 + random_below(&seed, 1 + size / 4)) < size) cuts[n++] = at;
    MUST(body_run(data, size, cuts, n, &cut) == NULL);
    MUST(body_same(&whole, &cut));
    body_free(&cut);

    size_t body_len, used;
    const bool valid = plain_decode(data, size, body, &body_len, &used);
    MUST(valid == (whole.result == EV_CHUNK_END));
    if (valid) {
        MUST(used == whole.used && body_len == whole.body_len && memcmp(body, whole.body, body_len) == 0);
        uint8_t *again = malloc(size + 64);
        n = 0;
        if (body_len > 0) {
            n = (size_t)sprintf((char *)again, "%zx\r\n", body_len);
            memcpy(again + n, body, body_len);
            n += body_len + (size_t)sprintf((char *)again + n + body_len, "\r\n");
        }
        n += (size_t)sprintf((char *)again + n, "0\r\n\r\n");
        MUST(body_run(again, n, NULL, 0, &cut) == NULL);
        MUST(cut.result == EV_CHUNK_END && cut.used == n && cut.body_len == body_len);
        MUST(memcmp(cut.body, body, body_len) == 0);
        body_free(&cut);
        free(again);
    }
    body_free(&whole);
    return 0;
}
