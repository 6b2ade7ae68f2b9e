/* One row per rule, each under every cut; the limits at their edges; decode(encode(x)) == x. */
#include "bodies.h"
#include "tests/native/check.h"

#include "evpy/gateway/http1.h"

#define ROW(title, input, outcome, rest) {title, input, sizeof(input) - 1, outcome, rest}
#define MORE                             -1

static const struct {
    const char *title, *input;
    size_t len;
    const char *outcome; /* the body, or the status and reason */
    int rest;            /* bytes of the input that belong to the next request; MORE: the body is not complete */
} rows[] = {
    ROW("nothing", "", "", MORE),
    ROW("empty body", "0\r\n\r\n", "", 0),
    ROW("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", 0),
    ROW("two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", 0),
    ROW("next request", "1\r\na\r\n0\r\n\r\nGET /", "a", 5),
    ROW("not complete", "5\r\nhel", "hel", MORE),
    ROW("end not complete", "1\r\na\r\n0\r\n\r", "a", MORE),
    ROW("hexadecimal", "a\r\n0123456789\r\n0B\r\nabcdefghijk\r\n000\r\n\r\n", "0123456789abcdefghijk", 0),
    ROW("16 digits", "0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a", 0),
    ROW("line ends in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 0),
    ROW("17 digits", "00000000000000001\r\na\r\n", "400 chunk size has over 16 digits", 0),
    ROW("2^63-1", "7fffffffffffffff\r\na", "a", MORE),
    ROW("2^63", "8000000000000000\r\n", "400 chunk size is too large", 0),
    ROW("2^64-1", "ffffffffffffffff\r\n", "400 chunk size is too large", 0),
    ROW("no size", "\r\n\r\n", "400 chunk without size", 0),
    ROW("extension without size", ";a\r\n", "400 chunk without size", 0),
    ROW("plus", "+5\r\nhello\r\n", "400 chunk without size", 0),
    ROW("minus", "-5\r\nhello\r\n", "400 chunk without size", 0),
    ROW("0x", "0x5\r\nhello\r\n", "400 invalid character in a chunk size", 0),
    ROW("space before the size", " 5\r\nhello\r\n", "400 chunk without size", 0),
    ROW("space behind the size", "5 \r\nhello\r\n", "400 invalid character in a chunk size", 0),
    ROW("space before an extension", "5 ;a\r\nhello\r\n", "400 invalid character in a chunk size", 0),
    ROW("underscore", "1_0\r\n", "400 invalid character in a chunk size", 0),
    ROW("no digit", "g\r\n", "400 chunk without size", 0),
    ROW("bare LF behind the size", "5\nhello\r\n", "400 invalid character in a chunk size", 0),
    ROW("bare CR behind the size", "5\rhello\r\n", "400 chunk size line does not end with CRLF", 0),
    ROW("extension", "5;a=b;c=\"d;\xff\t\"\r\nhello\r\n0;e\r\n\r\n", "hello", 0),
    ROW("empty extension", "1;\r\na\r\n0\r\n\r\n", "a", 0),
    ROW("LF in an extension", "5;a\nhello", "400 control character in a chunk extension", 0),
    ROW("NUL in an extension", "5;a\0\r\nhello", "400 control character in a chunk extension", 0),
    ROW("CR in an extension", "5;a\rb\r\nhello", "400 chunk size line does not end with CRLF", 0),
    ROW("data longer than the size", "5\r\nhello!\r\n", "400 chunk data is not followed by CRLF", 0),
    ROW("LF behind the data", "5\r\nhello\n0\r\n\r\n", "400 chunk data is not followed by CRLF", 0),
    ROW("two LF behind the data", "5\r\nhello\n\n0\r\n\r\n", "400 chunk data is not followed by CRLF", 0),
    ROW("CR behind the data", "5\r\nhello\r0\r\n\r\n", "400 chunk data is not followed by CRLF", 0),
    ROW("size behind the data", "5\r\nhello0\r\n\r\n", "400 chunk data is not followed by CRLF", 0),
    ROW("trailers", "0\r\nDigest: a\r\nX:\r\n\r\nG", "", 1),
    ROW("obs-text in a trailer", "0\r\nX: \xff\t \r\n\r\n", "", 0),
    ROW("trailer Host", "0\r\nHost: a\r\n\r\n", "400 field is not allowed as a trailer", 0),
    ROW("trailer Content-Length", "0\r\ncontent-LENGTH: 1\r\n\r\n", "400 field is not allowed as a trailer", 0),
    ROW("trailer Transfer-Encoding", "0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 field is not allowed as a trailer", 0),
    ROW("trailer Authorization", "0\r\nAuthorization: a\r\n\r\n", "400 field is not allowed as a trailer", 0),
    ROW("trailer Trailer", "0\r\nTRAILER: a\r\n\r\n", "400 field is not allowed as a trailer", 0),
    ROW("trailers of like names",
        "0\r\nHos: a\r\nHosts: a\r\nTrailers: a\r\nTransfer-Encodings: a\r\nContent_Length: 1\r\n\r\n", "", 0),
    ROW("trailer with a long name", "0\r\nTransfer-Encoding-Transfer-Encoding-Transfer-Encoding: a\r\n\r\n", "", 0),
    ROW("trailer without colon", "0\r\nX\r\n\r\n", "400 invalid character in a trailer name", 0),
    ROW("trailer without name", "0\r\n: a\r\n\r\n", "400 empty trailer name", 0),
    ROW("space before the colon of a trailer", "0\r\nX : a\r\n\r\n", "400 white space before the colon of a trailer",
        0),
    ROW("obs-fold in a trailer", "0\r\nX: a\r\n b\r\n\r\n", "400 obsolete line folding in a trailer", 0),
    ROW("obs-fold as first trailer", "0\r\n\tb\r\n\r\n", "400 obsolete line folding in a trailer", 0),
    ROW("separator in a trailer name", "0\r\nX(: a\r\n\r\n", "400 invalid character in a trailer name", 0),
    ROW("NUL in a trailer", "0\r\nX: \0\r\n\r\n", "400 control character in a trailer", 0),
    ROW("bare LF behind a trailer", "0\r\nX: a\n\r\n", "400 control character in a trailer", 0),
    ROW("bare CR in a trailer", "0\r\nX: a\rb\r\n\r\n", "400 trailer does not end with CRLF", 0),
    ROW("bare LF at the end", "0\r\n\n", "400 invalid character in a trailer name", 0),
    ROW("bare CR at the end", "0\r\n\rG", "400 trailers do not end with CRLF", 0),
};

static void check_cuts(const char *title, const uint8_t *p, size_t len)
{
    body_outcome whole, cut;
    const char *wrong = body_run(p, len, NULL, 0, &whole);
    CHECK(!wrong, "%s: %s", title, wrong);
    size_t *cuts = malloc((len + 1) * sizeof *cuts);
    for (size_t i = 0; i <= len; i++) cuts[i] = i;
    wrong = body_run(p, len, cuts, len, &cut);
    CHECK(!wrong && body_same(&whole, &cut), "%s: byte by byte %s", title, wrong ? wrong : cut.reason);
    body_free(&cut);
    for (size_t i = 0; i <= len && len < 2048; i++) {
        wrong = body_run(p, len, &i, 1, &cut);
        CHECK(!wrong && body_same(&whole, &cut), "%s: cut at %zu %s", title, i, wrong ? wrong : cut.reason);
        body_free(&cut);
    }
    uint64_t seed = len;
    for (int round = 0; round < 10; round++) {
        size_t n = 0, at = 0;
        while (n <= len && (at += random_below(&seed, 30)) < len) cuts[n++] = at; /* empty pieces too */
        wrong = body_run(p, len, cuts, n, &cut);
        CHECK(!wrong && body_same(&whole, &cut), "%s: in pieces %s", title, wrong ? wrong : cut.reason);
        body_free(&cut);
    }
    free(cuts);
    body_free(&whole);
}

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint8_t *p = (const uint8_t *)rows[i].input;
        body_outcome out;
        char text[256];
        const char *wrong = body_run(p, rows[i].len, NULL, 0, &out);
        CHECK(!wrong, "%s: %s", rows[i].title, wrong);
        if (out.result == EV_CHUNK_ERROR) {
            snprintf(text, sizeof text, "%d %s", out.status, out.reason);
        } else {
            snprintf(text, sizeof text, "%.*s", (int)out.body_len, (const char *)out.body);
            const int rest = out.result == EV_CHUNK_END ? (int)(rows[i].len - out.used) : MORE;
            CHECK(rest == rows[i].rest, "%s: rest %d, not %d", rows[i].title, rest, rows[i].rest);
        }
        CHECK(strcmp(text, rows[i].outcome) == 0, "%s: '%s', not '%s'", rows[i].title, text, rows[i].outcome);
        body_free(&out);
        check_cuts(rows[i].title, p, rows[i].len);
    }
}

typedef struct {
    uint8_t *text;
    size_t len;
} builder;

static void add(builder *b, const char *text)
{
    const size_t n = strlen(text);
    memcpy(b->text + b->len, text, n);
    b->len += n;
}

static void add_many(builder *b, char c, size_t n)
{
    memset(b->text + b->len, c, n);
    b->len += n;
}

static void check_limit(const char *what, const builder *b, int status)
{
    body_outcome out;
    const char *wrong = body_run(b->text, b->len, NULL, 0, &out);
    const int got = out.result == EV_CHUNK_END ? 0 : out.result == EV_CHUNK_ERROR ? out.status : -1;
    CHECK(!wrong && got == status, "%s: %d (%s), not %d", what, got, wrong ? wrong : out.reason, status);
    CHECK(got != 0 || out.used == b->len, "%s: %zu used", what, out.used);
    body_free(&out);
    check_cuts(what, b->text, b->len);
}

static void test_limits(void)
{
    builder b = {malloc(1 << 17), 0};
    for (int over = -1; over <= 1; over++) {
        b.len = 0;
        for (int i = 0; i < 2; i++) { /* the count starts anew with each chunk */
            add(&b, "1;");
            add_many(&b, 'x', (size_t)(EV_MAX_CHUNK_EXT - 1 + over));
            add(&b, "\r\na\r\n");
        }
        add(&b, "0\r\n\r\n");
        check_limit("extension of a chunk", &b, over > 0 ? 400 : 0);

        b.len = 0;
        for (int i = 0; i < EV_MAX_BODY_EXT / EV_MAX_CHUNK_EXT; i++) {
            add(&b, i == 0 ? "01;" : "1;");
            add_many(&b, 'x', EV_MAX_CHUNK_EXT - 2);
            if (i > 0 || over >= 0) add(&b, "y");
            add(&b, "\r\na\r\n");
        }
        add(&b, over > 0 ? "0;\r\n\r\n" : "0\r\n\r\n");
        check_limit("extensions of a body", &b, over > 0 ? 400 : 0);

        b.len = 0;
        add(&b, "0\r\nX: ");
        add_many(&b, 'a', (size_t)(EV_MAX_LINE - 3 + over));
        add(&b, "\r\n\r\n");
        check_limit("trailer line", &b, over > 0 ? 431 : 0);

        b.len = 0;
        add(&b, "0\r\n");
        for (int i = 0; i < EV_MAX_FIELDS + over; i++) add(&b, "X:\r\n");
        add(&b, "\r\n");
        check_limit("trailer fields", &b, over > 0 ? 431 : 0);

        b.len = 0;
        add(&b, "0\r\n");
        while (b.len < 3 + 28000) {
            add(&b, "X: ");
            add_many(&b, 'a', 6995);
            add(&b, "\r\n");
        }
        add(&b, "Y: ");
        add_many(&b, 'b', (size_t)(EV_MAX_HEAD + over) - 4 - (b.len - 3));
        add(&b, "\r\n\r\n");
        CHECK(b.len == (size_t)(3 + EV_MAX_HEAD + over), "%zu", b.len);
        check_limit("trailers", &b, over > 0 ? 431 : 0);
    }
    free(b.text);
}

/* An encoder with random sizes, cases, zeros, extensions and trailers is the oracle. */
static void test_round_trip(void)
{
    uint64_t seed = 1;
    for (int round = 0; round < 400; round++) {
        const size_t len = random_below(&seed, 3000);
        uint8_t *body = malloc(len + 1);
        for (size_t i = 0; i < len; i++) body[i] = (uint8_t)"\r\n0;a"[random_below(&seed, 5)];
        builder b = {malloc(len * 40 + 1000), 0};
        for (size_t at = 0; at < len;) {
            size_t n = 1 + random_below(&seed, random_below(&seed, 4) ? 20 : 2000);
            char line[64];
            if (n > len - at) n = len - at;
            snprintf(line, sizeof line, random_below(&seed, 2) ? "%0*zx%s\r\n" : "%0*zX%s\r\n",
                     (int)random_below(&seed, 17), n, b.len % 16 == 0 ? ";q=\"1\"" : "");
            add(&b, line);
            memcpy(b.text + b.len, body + at, n);
            b.len += n;
            at += n;
            add(&b, "\r\n");
        }
        add(&b, random_below(&seed, 2) ? "0\r\n\r\n" : "00;x\r\nA: b\r\nHosta: c\r\n\r\n");
        const size_t end = b.len;
        add(&b, "GET / HTTP/1.1\r\n");
        size_t cuts[64], n_cuts = 0, at = 0;
        while (n_cuts < 64 && (at += random_below(&seed, 200)) < b.len) cuts[n_cuts++] = at;
        body_outcome out;
        const char *wrong = body_run(b.text, b.len, cuts, n_cuts, &out);
        CHECK(!wrong && out.result == EV_CHUNK_END, "round %d: %s", round, wrong ? wrong : out.reason);
        CHECK(out.used == end, "round %d: %zu used of %zu", round, out.used, end);
        CHECK(out.body_len == len && memcmp(out.body, body, len) == 0, "round %d: the body differs", round);
        body_free(&out);
        free(b.text);
        free(body);
    }
}

/* Every octet in each state but data, against the grammar written down a second time. */
static void test_octets(void)
{
    static const struct {
        const char *before, *after;
        char place;
    } places[] = {
        {"1", ";\r\n", 's'},
        {"1;a", "\r\n", 'v'},
        {"0\r\nX", "y: a\r\n", 'n'},
        {"0\r\nX: a", "b\r\n", 'v'},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (int octet = 0; octet < 256; octet++) {
            uint8_t text[32];
            builder b = {text, 0};
            add(&b, places[i].before);
            add_many(&b, (char)octet, 1);
            add(&b, places[i].after);
            const bool hex = octet != 0 && strchr("0123456789abcdefABCDEF", octet);
            bool valid = (octet >= ' ' && octet != 127) || octet == '\t';
            if (places[i].place == 's') valid = hex || octet == ';';
            if (places[i].place == 'n') valid = ev_tchar[octet] || octet == ':';
            body_outcome out;
            const char *wrong = body_run(b.text, b.len, NULL, 0, &out);
            CHECK(!wrong && (out.result != EV_CHUNK_ERROR) == valid, "place %zu, octet %d: %s", i, octet, out.reason);
            body_free(&out);
        }
    }
}

/* A trailer whose name differs in one letter from a forbidden one is another trailer. */
static void test_near_names(void)
{
    static const char *const names[] = {"Host", "Trailer", "Authorization", "Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t changed = 0; changed <= strlen(names[i]); changed++) {
            char text[64];
            const int n = snprintf(text, sizeof text, "0\r\n%s: a\r\n\r\n", names[i]);
            if (changed > 0) text[3 + changed - 1] = '~';
            body_outcome out;
            const char *wrong = body_run((const uint8_t *)text, (size_t)n, NULL, 0, &out);
            CHECK(!wrong && (out.result == EV_CHUNK_ERROR) == (changed == 0), "%s", text);
            body_free(&out);
        }
    }
}

/* After its end and after an error the decoder stands still. */
static void test_stays(void)
{
    ev_chunked c = {0};
    size_t used, n;
    const uint8_t *data;
    int status = 0;
    const char *reason = "";
    const uint8_t *p = (const uint8_t *)"0\r\n\r\n0\r\n\r\n";
    CHECK(ev_chunked_next(&c, p, 10, &used, &data, &n, &status, &reason) == EV_CHUNK_END && used == 5, "%zu", used);
    CHECK(ev_chunked_next(&c, p, 10, &used, &data, &n, &status, &reason) == EV_CHUNK_END && used == 0, "%zu", used);
    c = (ev_chunked){0};
    p = (const uint8_t *)"x0\r\n\r\n";
    CHECK(ev_chunked_next(&c, p, 6, &used, &data, &n, &status, &reason) == EV_CHUNK_ERROR && status == 400, "%d",
          status);
    CHECK(ev_chunked_next(&c, p + 1, 5, &used, &data, &n, &status, &reason) == EV_CHUNK_ERROR, "it goes on");
    CHECK(used == 0 && status == 400, "%zu, %d", used, status);
}

int main(void)
{
    test_rows();
    test_limits();
    test_round_trip();
    test_octets();
    test_near_names();
    test_stays();
    if (failures) fprintf(stderr, "%d checks failed\n", failures);
    return failures > 0;
}
