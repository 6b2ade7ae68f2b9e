/* One row per rule of the wire, each under every cut of its input; the limits at their edges; every octet at every
 * place. */
#include "heads.h"
#include "tests/native/check.h"

#define HOST                       "Host: a\r\n"
#define GET                        "GET / HTTP/1.1\r\n"
#define POST                       "POST / HTTP/1.1\r\nHost: a\r\n"
#define END                        "\r\n"
#define ROW(title, input, outcome) {title, input, sizeof(input) - 1, outcome}

static const struct {
    const char *title, *input;
    size_t len;
    const char *outcome;
} rows[] = {
    /* Request line, RFC 9112 section 3. */
    ROW("simplest", GET HOST END, "GET / @a 1.1 keep | Host: a"),
    ROW("no byte", "", "more"),
    ROW("not complete", GET HOST, "more"),
    ROW("CR of the end missing its LF", GET HOST "\r", "more"),
    ROW("methods are case-sensitive", "get / HTTP/1.1\r\n" HOST END, "get / @a 1.1 keep | Host: a"),
    ROW("unknown method", "M-SEARCH!#$%&'*+.^_`|~9 / HTTP/1.1\r\n" HOST END,
        "M-SEARCH!#$%&'*+.^_`|~9 / @a 1.1 keep | Host: a"),
    ROW("empty method", " / HTTP/1.1\r\n" HOST END, "400 malformed request line"),
    ROW("method with a separator", "GE(T / HTTP/1.1\r\n" HOST END, "400 invalid character in the method"),
    ROW("method only", "GET\r\n" HOST END, "400 invalid character in the method"),
    ROW("HTAB behind the method", "GET\t/ HTTP/1.1\r\n" HOST END, "400 invalid character in the method"),
    ROW("two spaces behind the method", "GET  / HTTP/1.1\r\n" HOST END, "400 empty request target"),
    ROW("two spaces behind the target", "GET /  HTTP/1.1\r\n" HOST END, "400 malformed HTTP version"),
    ROW("HTAB behind the target", "GET /\tHTTP/1.1\r\n" HOST END, "400 invalid character in the request target"),
    ROW("space behind the version", "GET / HTTP/1.1 \r\n" HOST END, "400 malformed HTTP version"),
    ROW("space before the method", " GET / HTTP/1.1\r\n" HOST END, "400 malformed request line"),
    ROW("HTTP/0.9", "GET /\r\n\r\n", "400 request line without HTTP version"),
    ROW("no version behind the space", "GET / \r\n\r\n", "400 malformed HTTP version"),
    ROW("empty target", "GET  HTTP/1.1\r\n" HOST END, "400 empty request target"),
    ROW("lower-case version", "GET / http/1.1\r\n" HOST END, "400 malformed HTTP version"),
    ROW("version without minor", "GET / HTTP/1\r\n" HOST END, "400 malformed HTTP version"),
    ROW("version of two digits", "GET / HTTP/1.10\r\n" HOST END, "400 malformed HTTP version"),
    ROW("version of two major digits", "GET / HTTP/11.1\r\n" HOST END, "400 malformed HTTP version"),
    ROW("version with a comma", "GET / HTTP/1,1\r\n" HOST END, "400 malformed HTTP version"),
    ROW("version with letters", "GET / HTTP/a.b\r\n" HOST END, "400 malformed HTTP version"),
    ROW("HTTP/1.2", "GET / HTTP/1.2\r\n" HOST END, "505 HTTP version is not 1.0 or 1.1"),
    ROW("HTTP/0.9 spelt out", "GET / HTTP/0.9\r\n" HOST END, "505 HTTP version is not 1.0 or 1.1"),
    ROW("HTTP/3.1", "GET / HTTP/3.1\r\n" HOST END, "505 HTTP version is not 1.0 or 1.1"),
    ROW("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP version is not 1.0 or 1.1"),
    ROW("start of a TLS handshake", "\x16\x03\x01\x02", "400 early"),
    ROW("empty line before the request", "\r\n" GET HOST END, "GET / @a 1.1 keep | Host: a"),
    ROW("two empty lines before the request", "\r\n\r\n" GET HOST END, "400 early"),
    ROW("only LF before the request", "\n" GET HOST END, "400 early"),

    /* Request target, RFC 9112 section 3.2. */
    ROW("query", "GET /a/b?c=d&e HTTP/1.1\r\n" HOST END, "GET /a/b?c=d&e @a 1.1 keep | Host: a"),
    ROW("empty query", "GET /? HTTP/1.1\r\n" HOST END, "GET /? @a 1.1 keep | Host: a"),
    ROW("query with question marks", "GET /?a?b=/? HTTP/1.1\r\n" HOST END, "GET /?a?b=/? @a 1.1 keep | Host: a"),
    ROW("two slashes are a path", "GET //b/c HTTP/1.1\r\n" HOST END, "GET //b/c @a 1.1 keep | Host: a"),
    ROW("percent-encoding stays", "GET /%2e%zz% HTTP/1.1\r\n" HOST END, "GET /%2e%zz% @a 1.1 keep | Host: a"),
    ROW("fragment", "GET /a#b HTTP/1.1\r\n" HOST END, "400 fragment in the request target"),
    ROW("fragment alone", "GET # HTTP/1.1\r\n" HOST END, "400 fragment in the request target"),
    ROW("path without slash", "GET a HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("query without path", "GET ?a HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("non-ASCII target", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST END, "400 invalid character in the request target"),
    ROW("NUL in the target", "GET /\0 HTTP/1.1\r\n" HOST END, "400 early"),
    ROW("DEL in the target", "GET /\x7f HTTP/1.1\r\n" HOST END, "400 early"),
    ROW("asterisk", "OPTIONS * HTTP/1.1\r\n" HOST END, "OPTIONS * @a 1.1 keep | Host: a"),
    ROW("asterisk with GET", "GET * HTTP/1.1\r\n" HOST END, "400 target * is for OPTIONS only"),
    ROW("asterisk with more", "OPTIONS */ HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("absolute-form", "GET http://a/b?c HTTP/1.1\r\n" HOST END, "GET /b?c @a 1.1 keep | Host: a"),
    ROW("absolute-form, case", "GET HTTP://A/b HTTP/1.1\r\n" HOST END, "GET /b @A 1.1 keep | Host: a"),
    ROW("absolute-form wins", "GET http://a:80/ HTTP/1.1\r\n" HOST END, "GET / @a:80 1.1 keep | Host: a"),
    ROW("absolute-form, default port", "GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET / @a 1.1 keep | Host: a:80"),
    ROW("absolute-form, empty port", "GET http://a:/ HTTP/1.1\r\n" HOST END, "GET / @a: 1.1 keep | Host: a"),
    ROW("absolute-form, port with zeros", "GET http://a:0080/ HTTP/1.1\r\n" HOST END,
        "GET / @a:0080 1.1 keep | Host: a"),
    ROW("absolute-form, https", "GET https://a:443/ HTTP/1.1\r\n" HOST END, "GET / @a:443 1.1 keep https | Host: a"),
    ROW("absolute-form, https is not port 80", "GET https://a:80/ HTTP/1.1\r\n" HOST END,
        "400 Host differs from the request target"),
    ROW("absolute-form, http is not port 443", "GET http://a:443/ HTTP/1.1\r\n" HOST END,
        "400 Host differs from the request target"),
    ROW("absolute-form, other host", "GET http://b/ HTTP/1.1\r\n" HOST END, "400 Host differs from the request target"),
    ROW("absolute-form, longer host", "GET http://ab/ HTTP/1.1\r\n" HOST END,
        "400 Host differs from the request target"),
    ROW("absolute-form without path", "GET http://a HTTP/1.1\r\n" HOST END, "GET  @a 1.1 keep | Host: a"),
    ROW("absolute-form with query only", "GET http://a?b HTTP/1.1\r\n" HOST END, "GET ?b @a 1.1 keep | Host: a"),
    ROW("absolute-form still needs Host", "GET http://a/ HTTP/1.1\r\n\r\n", "400 HTTP/1.1 without Host"),
    ROW("absolute-form in HTTP/1.0", "GET http://a/ HTTP/1.0\r\n\r\n", "GET / @a 1.0"),
    ROW("absolute-form with user", "GET http://u@a/ HTTP/1.1\r\n" HOST END,
        "400 invalid authority in the request target"),
    ROW("absolute-form with user and password", "GET http://u:p@a/ HTTP/1.1\r\n" HOST END,
        "400 invalid authority in the request target"),
    ROW("absolute-form without host", "GET http:///b HTTP/1.1\r\n" HOST END,
        "400 invalid authority in the request target"),
    ROW("absolute-form, nothing behind the slashes", "GET http:// HTTP/1.1\r\n" HOST END,
        "400 invalid authority in the request target"),
    ROW("absolute-form, one slash", "GET http:/a HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("absolute-form, other scheme", "GET ftp://a/ HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("authority-form with GET", "GET a:80 HTTP/1.1\r\n" HOST END, "400 malformed request target"),
    ROW("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "501 CONNECT is not supported"),

    /* Field lines, RFC 9112 section 5. */
    ROW("white space around a value", GET "Host:\t a \t\r\n" END, "GET / @a 1.1 keep | Host: a"),
    ROW("no space before a value", GET "Host:a\r\n" END, "GET / @a 1.1 keep | Host: a"),
    ROW("empty value", GET HOST "X:\r\nY: \t\r\n" END, "GET / @a 1.1 keep | Host: a | X:  | Y: "),
    ROW("white space and obs-text in a value", GET HOST "X: a \t\xff\x80 b\r\n" END,
        "GET / @a 1.1 keep | Host: a | X: a \t\xff\x80 b"),
    ROW("colons in a value", GET HOST "X: :a:\r\n" END, "GET / @a 1.1 keep | Host: a | X: :a:"),
    ROW("obs-fold", GET HOST "X: a\r\n b\r\n" END, "400 obsolete line folding"),
    ROW("obs-fold with HTAB", GET HOST "X: a\r\n\tb\r\n" END, "400 obsolete line folding"),
    ROW("obs-fold of nothing", GET " " HOST END, "400 obsolete line folding"),
    ROW("obs-fold that is empty", GET HOST " \r\n" END, "400 obsolete line folding"),
    ROW("space before the colon", GET "Host : a\r\n" END, "400 white space before the colon"),
    ROW("HTAB before the colon", GET "Host\t: a\r\n" END, "400 white space before the colon"),
    ROW("space in the name", GET "Ho st: a\r\n" END, "400 white space before the colon"),
    ROW("empty name", GET HOST ": a\r\n" END, "400 empty field name"),
    ROW("no colon", GET HOST "X\r\n" END, "400 field line without colon"),
    ROW("separator in the name", GET HOST "X(: a\r\n" END, "400 invalid character in a field name"),
    ROW("non-ASCII name", GET HOST "\xc3\xa4: a\r\n" END, "400 invalid character in a field name"),
    ROW("NUL in a name", GET HOST "X\0: a\r\n" END, "400 early"),
    ROW("NUL in a value", GET HOST "X: a\0b\r\n" END, "400 early"),
    ROW("DEL in a value", GET HOST "X: a\x7f\r\n" END, "400 early"),
    ROW("bare LF ends the request line", "GET / HTTP/1.1\n" HOST END, "400 early"),
    ROW("bare LF ends a field", GET "Host: a\n\r\n", "400 early"),
    ROW("bare LF ends the head", GET HOST "\n", "400 early"),
    ROW("bare CR ends the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", "400 early"),
    ROW("bare CR in a value", GET "Host: a\rb\r\n" END, "400 early"),
    ROW("two CR", GET "Host: a\r\r\n" END, "400 early"),
    ROW("CR at the end, not LF", GET HOST "\rX", "400 early"),
    ROW("names with _ are dropped", GET HOST "A_B: 1\r\n_: 2\r\nC: 3\r\n" END,
        "GET / @a 1.1 keep dropped=2 | Host: a | C: 3"),
    ROW("names with _ do not frame", GET HOST "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n" END,
        "GET / @a 1.1 keep dropped=2 | Host: a"),
    ROW("names with _ are checked", GET HOST "A_B : 1\r\n" END, "400 white space before the colon"),
    ROW("bytes behind the head", GET HOST END "\n\0garbage", "GET / @a 1.1 keep | Host: a"),

    /* Host, RFC 9112 section 3.2 and RFC 9110 section 7.2. */
    ROW("HTTP/1.1 without Host", GET END, "400 HTTP/1.1 without Host"),
    ROW("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0"),
    ROW("two Host", GET HOST HOST END, "400 several Host fields"),
    ROW("two Host in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST "HOST: a\r\n" END, "400 several Host fields"),
    ROW("empty Host", GET "Host:\r\n" END, "400 invalid Host"),
    ROW("Host with path", GET "Host: a/b\r\n" END, "400 invalid Host"),
    ROW("Host with user", GET "Host: u@a\r\n" END, "400 invalid Host"),
    ROW("Host with space", GET "Host: a b\r\n" END, "400 invalid Host"),
    ROW("Host with port", GET "hOST: a.b:8080\r\n" END, "GET / @a.b:8080 1.1 keep | hOST: a.b:8080"),
    ROW("Host, IPv6", GET "Host: [::1]:80\r\n" END, "GET / @[::1]:80 1.1 keep | Host: [::1]:80"),

    /* Content-Length, RFC 9110 section 8.6. */
    ROW("length", POST "Content-Length: 5\r\n" END, "POST / @a 1.1 keep length=5 | Host: a | Content-Length: 5"),
    ROW("length 0", POST "content-length: 0\r\n" END, "POST / @a 1.1 keep length=0 | Host: a | content-length: 0"),
    ROW("length with zeros", POST "Content-Length: 000000000000000000000005\r\n" END,
        "POST / @a 1.1 keep length=5 | Host: a | Content-Length: 000000000000000000000005"),
    ROW("length 2^63-1", POST "Content-Length: 9223372036854775807\r\n" END,
        "POST / @a 1.1 keep length=9223372036854775807 | Host: a | Content-Length: 9223372036854775807"),
    ROW("length 2^63", POST "Content-Length: 9223372036854775808\r\n" END, "400 Content-Length is too large"),
    ROW("length 2^64+5", POST "Content-Length: 18446744073709551621\r\n" END, "400 Content-Length is too large"),
    ROW("length of 30 digits", POST "Content-Length: 100000000000000000000000000000\r\n" END,
        "400 Content-Length is too large"),
    ROW("empty length", POST "Content-Length:\r\n" END, "400 empty Content-Length"),
    ROW("length with plus", POST "Content-Length: +5\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("negative length", POST "Content-Length: -5\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("hexadecimal length", POST "Content-Length: 0x5\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("length with space", POST "Content-Length: 5 5\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("length with underscore", POST "Content-Length: 1_0\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("length in other digits", POST "Content-Length: \xd9\xa5\r\n" END,
        "400 Content-Length is not a decimal number"),
    ROW("list of lengths", POST "Content-Length: 5, 5\r\n" END, "400 Content-Length is not a decimal number"),
    ROW("two equal lengths", POST "Content-Length: 5\r\nContent-Length: 5\r\n" END,
        "400 several Content-Length fields"),
    ROW("two lengths", POST "Content-Length: 5\r\ncontent-length: 6\r\n" END, "400 several Content-Length fields"),

    /* Transfer-Encoding, RFC 9112 section 6.1. */
    ROW("chunked", POST "Transfer-Encoding: chunked\r\n" END,
        "POST / @a 1.1 keep chunked | Host: a | Transfer-Encoding: chunked"),
    ROW("chunked, case", POST "transfer-encoding:\tCHUnked \r\n" END,
        "POST / @a 1.1 keep chunked | Host: a | transfer-encoding: CHUnked"),
    ROW("chunked and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END,
        "400 both Content-Length and Transfer-Encoding"),
    ROW("length and chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END,
        "400 both Content-Length and Transfer-Encoding"),
    ROW("length 0 and identity", POST "Content-Length: 0\r\nTransfer-Encoding: identity\r\n" END,
        "400 both Content-Length and Transfer-Encoding"),
    ROW("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 Transfer-Encoding in HTTP/1.0"),
    ROW("identity", POST "Transfer-Encoding: identity\r\n" END, "400 chunked is not the last transfer coding"),
    ROW("gzip only", POST "Transfer-Encoding: gzip\r\n" END, "400 chunked is not the last transfer coding"),
    ROW("chunked before gzip", POST "Transfer-Encoding: chunked, gzip\r\n" END,
        "400 chunked is not the last transfer coding"),
    ROW("chunked before gzip in another field", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n" END,
        "400 chunked is not the last transfer coding"),
    ROW("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n" END,
        "400 chunked is not the last transfer coding"),
    ROW("chunked in two fields", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END,
        "400 chunked is not the last transfer coding"),
    ROW("unknown coding", POST "Transfer-Encoding: foo ,\tchunked\r\n" END, "501 transfer coding is not supported"),
    ROW("unknown coding in another field", POST "Transfer-Encoding: foo\r\nTransfer-Encoding: chunked\r\n" END,
        "501 transfer coding is not supported"),
    ROW("almost chunked", POST "Transfer-Encoding: xchunked\r\n" END, "400 chunked is not the last transfer coding"),
    ROW("chunked with parameter", POST "Transfer-Encoding: chunked;a=b\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("empty coding", POST "Transfer-Encoding:\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("empty first coding", POST "Transfer-Encoding: , chunked\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("empty last coding", POST "Transfer-Encoding: chunked,\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("codings without comma", POST "Transfer-Encoding: gzip chunked\r\n" END, "400 malformed Transfer-Encoding"),
    ROW("chunked behind VT",
        POST "Transfer-Encoding: \x0b"
             "chunked\r\n" END,
        "400 early"),

    /* Connection, RFC 9112 section 9.3 and RFC 9110 section 7.8. */
    ROW("close", GET HOST "Connection: Close\r\n" END, "GET / @a 1.1 | Host: a | Connection: Close"),
    ROW("close in a list", GET HOST "Connection: , te ,\tclose,\r\n" END,
        "GET / @a 1.1 | Host: a | Connection: , te ,\tclose,"),
    ROW("close wins", GET HOST "Connection: close\r\nConnection: keep-alive\r\n" END,
        "GET / @a 1.1 | Host: a | Connection: close | Connection: keep-alive"),
    ROW("not close", GET HOST "Connection: closed, xclose, cloze\r\n" END,
        "GET / @a 1.1 keep | Host: a | Connection: closed, xclose, cloze"),
    ROW("HTTP/1.0 closes", "GET / HTTP/1.0\r\n" HOST END, "GET / @a 1.0 | Host: a"),
    ROW("HTTP/1.0 keeps alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "GET / 1.0 keep | Connection: Keep-Alive"),
    ROW("HTTP/1.0, close wins", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        "GET / 1.0 | Connection: keep-alive, close"),
    ROW("upgrade", GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" END,
        "GET / @a 1.1 keep upgrade | Host: a | Connection: Upgrade | Upgrade: websocket"),
    ROW("upgrade in a list", GET HOST "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n" END,
        "GET / @a 1.1 keep upgrade | Host: a | Upgrade: websocket | Connection: keep-alive, upgrade"),
    ROW("Upgrade without Connection", GET HOST "Upgrade: websocket\r\n" END,
        "GET / @a 1.1 keep | Host: a | Upgrade: websocket"),
    ROW("Connection: upgrade without Upgrade", GET HOST "Connection: upgrade\r\n" END,
        "GET / @a 1.1 keep | Host: a | Connection: upgrade"),
    ROW("upgrade in HTTP/1.0", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "GET / 1.0 | Connection: upgrade | Upgrade: x"),

    /* Expect, RFC 9110 section 10.1.1. */
    ROW("100-continue", POST "Expect: 100-Continue\r\nContent-Length: 1\r\n" END,
        "POST / @a 1.1 keep length=1 expect | Host: a | Expect: 100-Continue | Content-Length: 1"),
    ROW("100-continue, chunked", POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" END,
        "POST / @a 1.1 keep chunked expect | Host: a | Transfer-Encoding: chunked | Expect: 100-continue"),
    ROW("100-continue without body", POST "Expect: 100-continue\r\nContent-Length: 0\r\n" END,
        "POST / @a 1.1 keep length=0 | Host: a | Expect: 100-continue | Content-Length: 0"),
    ROW("100-continue in HTTP/1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "POST / 1.0 length=1 | Expect: 100-continue | Content-Length: 1"),
    ROW("unknown expectation", POST "Expect: payment\r\nContent-Length: 1\r\n" END, "417 unknown expectation"),
    ROW("unknown expectation beside 100-continue", POST "Expect: 100-continue, x\r\nContent-Length: 1\r\n" END,
        "417 unknown expectation"),
    ROW("empty expectation", POST "Expect:\r\n" END, "POST / @a 1.1 keep | Host: a | Expect: "),
    ROW("framing errors come before expectations", POST "Expect: x\r\nContent-Length: x\r\n" END,
        "400 Content-Length is not a decimal number"),
};

/* Whether every way of cutting the input leads to the outcome of the whole. */
static void check_cuts(const char *title, const char *input, size_t len)
{
    const uint8_t *p = (const uint8_t *)input;
    head_outcome whole, cut;
    head_run(p, len, NULL, 0, 'x', &whole);

    size_t *cuts = malloc((len + 1) * sizeof *cuts);
    for (size_t i = 0; i <= len; i++) cuts[i] = i;
    head_run(p, len, cuts, len, '\n', &cut);
    CHECK(whole.end == cut.end && strcmp(whole.text, cut.text) == 0, "%s: whole '%s', byte by byte '%s'", title,
          whole.text, cut.text);
    /* It came as early as it could: the byte before did not decide. */
    const size_t decided = cut.given;

    for (size_t i = 0; i <= len && len < 4096; i++) {
        head_run(p, len, &i, 1, (uint8_t)"\n\r\0x"[i % 4], &cut);
        CHECK(whole.end == cut.end && strcmp(whole.text, cut.text) == 0, "%s: whole '%s', cut at %zu '%s'", title,
              whole.text, i, cut.text);
        CHECK(cut.end == 0 || cut.given == (i < decided ? len : i), "%s: decided after %zu of %zu bytes, not %zu",
              title, cut.given, len, decided);
    }
    uint64_t seed = len;
    for (int round = 0; round < 20; round++) {
        size_t n = 0, at = 0;
        while ((at += 1 + random_below(&seed, 40)) < len) cuts[n++] = at;
        head_run(p, len, cuts, n, '\r', &cut);
        CHECK(whole.end == cut.end && strcmp(whole.text, cut.text) == 0, "%s: whole '%s', in pieces '%s'", title,
              whole.text, cut.text);
    }
    free(cuts);
}

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        head_outcome out;
        head_run((const uint8_t *)rows[i].input, rows[i].len, NULL, 0, 0, &out);
        CHECK(strcmp(out.text, rows[i].outcome) == 0, "%s: '%s', not '%s'", rows[i].title, out.text, rows[i].outcome);
        check_cuts(rows[i].title, rows[i].input, rows[i].len);
    }
}

/* The last byte of each is the first that no continuation can repair: the client hears it now, not after a timeout. */
static void test_at_once(void)
{
    static const struct {
        const char *input;
        int status;
    } inputs[] = {
        {"\n", 400},
        {"\r\n\r\n", 400},
        {"\r\n\n", 400},
        {"GET / HTTP/1.1\n", 400},
        {"GET / HTTP/1.1\rH", 400},
        {"GET / HTTP/1.1\r\nHost: a\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\r", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\r", 400},
        {"GET / HTTP/1.1\r\nHost: \x01", 400},
        {"\x16", 400},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const uint8_t *p = (const uint8_t *)inputs[i].input;
        const size_t n = strlen(inputs[i].input);
        ev_http1_scan scan = {0};
        const int before = ev_http1_find_end(p, n - 1, &scan), now = ev_http1_find_end(p, n, &scan);
        CHECK(before == 0 && now == -inputs[i].status, "input %zu: %d, then %d", i, before, now);
        CHECK(*ev_http1_scan_reason(-now) != 0, "status %d", -now);
    }
}

/* The state tells whether a request has begun, and each byte is looked at once (a pending CR twice). */
static void test_progress(void)
{
    const char *input = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    ev_http1_scan scan = {0};
    for (size_t n = 0; n < strlen(input); n++) {
        CHECK(ev_http1_find_end((const uint8_t *)input, n, &scan) == 0, "after %zu", n);
        CHECK(scan.started == (n > 2), "after %zu", n);
        CHECK(scan.scanned == n - (n > 0 && input[n - 1] == '\r'), "after %zu: %u", n, scan.scanned);
        CHECK(scan.lines == (n > 17) + (n > 26), "after %zu: %u", n, scan.lines);
    }
    CHECK(ev_http1_find_end((const uint8_t *)input, strlen(input), &scan) == (int)strlen(input), "complete");
}

/* A head that is built piece by piece. */
typedef struct {
    char text[2 * EV_MAX_HEAD];
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

static void check_limit(const char *what, const builder *b, const char *begin, size_t size)
{
    head_outcome out;
    head_run((const uint8_t *)b->text, b->len, NULL, 0, 'x', &out);
    CHECK(strncmp(out.text, begin, strlen(begin)) == 0, "%s of %zu: '%.60s', not '%s'", what, size, out.text, begin);
    check_cuts(what, b->text, b->len);
}

static void test_limits(void)
{
    static builder b;
    for (int over = -1; over <= 1; over++) {
        const bool ok = over <= 0;
        size_t size = (size_t)(EV_MAX_LINE + over);
        b.len = 0; /* "GET /" and " HTTP/1.1" are 14 bytes */
        add(&b, "GET /");
        add_many(&b, 'a', size - 14);
        add(&b, " HTTP/1.1\r\nHost: a\r\n\r\n");
        check_limit("request line", &b, ok ? "GET /a" : "414 early", size);

        b.len = 0;
        add(&b, "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: ");
        add_many(&b, 'a', size - 3);
        add(&b, "\r\n\r\n");
        check_limit("field line", &b, ok ? "GET /" : "431 early", size);

        size = (size_t)(EV_MAX_HEAD + over);
        b.len = 0;
        add(&b, "\r\nGET / HTTP/1.1\r\nHost: a\r\n");
        while (b.len + 8000 < size) {
            add(&b, "X: ");
            add_many(&b, 'a', 7000);
            add(&b, "\r\n");
        }
        add(&b, "Y: ");
        add_many(&b, 'b', size - b.len - 4);
        add(&b, "\r\n\r\n");
        CHECK(b.len == size, "%zu", b.len);
        check_limit("head", &b, ok ? "GET /" : "431 early", size);

        size = (size_t)(EV_MAX_FIELDS + over);
        b.len = 0;
        add(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (size_t i = 1; i < size; i++) add(&b, i % 3 ? "X:\r\n" : "X_Y:\r\n");
        add(&b, "\r\n");
        check_limit("fields", &b, ok ? "GET /" : "431 early", size);
        if (ok) {
            ev_http1_head head;
            const char *reason;
            CHECK(ev_http1_parse((uint8_t *)b.text, (uint32_t)b.len, &head, &reason) == 0, "%s", reason);
            CHECK(head.n_fields + head.n_dropped == (int)size, "%d + %d", head.n_fields, head.n_dropped);
        } else {
            ev_http1_head head; /* the parser keeps its own count: it must not write past the array */
            const char *reason;
            CHECK(ev_http1_parse((uint8_t *)b.text, (uint32_t)b.len, &head, &reason) == 431, "%s", reason);
        }
    }
    /* Without any line end the limit of the line is met first, at its first byte too many. */
    b.len = 0;
    add_many(&b, 'G', EV_MAX_LINE + 1);
    ev_http1_scan scan = {0};
    CHECK(ev_http1_find_end((uint8_t *)b.text, EV_MAX_LINE, &scan) == 0, "the line fits");
    CHECK(ev_http1_find_end((uint8_t *)b.text, EV_MAX_LINE + 1, &scan) == -414, "the line does not fit");
    /* What find_end never passes on is refused as well. */
    ev_http1_head head;
    const char *reason;
    CHECK(ev_http1_parse((uint8_t *)b.text, EV_MAX_HEAD + 1, &head, &reason) == 431, "%s", reason);
    CHECK(ev_http1_parse((const uint8_t *)"\r\n", 2, &head, &reason) == 400, "%s", reason);
    CHECK(ev_http1_parse((const uint8_t *)"GET / HTTP/1.1\r\n", 16, &head, &reason) == 400, "%s", reason);
    CHECK(ev_http1_parse((const uint8_t *)"GET / HTTP/1.0\r\n\r\n\r\n", 20, &head, &reason) == 400, "%s", reason);
    CHECK(ev_http1_parse((const uint8_t *)"GET / HTTP/1.0\n\nA:\r\n\r\n", 22, &head, &reason) == 400, "%s", reason);
    CHECK(ev_http1_parse((const uint8_t *)"GET / HTTP/1.0\r\nA: \n\r\n\r\n", 24, &head, &reason) == 400, "%s", reason);
}

/* Every octet at every kind of place against the grammar, written down a second time. */
static void test_octets(void)
{
    static const struct {
        const char *before, *after;
        int place; /* 'm'ethod, 't'arget, 'n'ame, 'v'alue, 'l'ength */
    } places[] = {
        {"G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", 'm'},
        {"GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", 't'},
        {"GET /aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbb HTTP/1.1\r\nHost: a\r\n\r\n", 't'},
        {"GET / HTTP/1.1\r\nHost: a\r\nX", "Y: a\r\n\r\n", 'n'},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a", "b\r\n\r\n", 'v'},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1", "2\r\n\r\n", 'l'},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 'v'},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (int octet = 0; octet < 256; octet++) {
            const char c = (char)octet;
            const bool alnum =
                (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') || (octet >= 'a' && octet <= 'z');
            const bool tchar = alnum || (octet != 0 && strchr("!#$%&'*+-.^_`|~", octet) != NULL);
            bool valid = tchar;
            if (places[i].place == 't') valid = octet > ' ' && octet < 127 && octet != '#';
            if (places[i].place == 'l') valid = octet >= '0' && octet <= '9';
            if (places[i].place == 'v') valid = (octet >= ' ' && octet != 127) || octet == '\t';
            builder *b = calloc(1, sizeof *b);
            add(b, places[i].before);
            add_many(b, c, 1);
            add(b, places[i].after);
            head_outcome out;
            head_run((const uint8_t *)b->text, b->len, NULL, 0, 'x', &out);
            const bool accepted = strncmp(out.text, "40", 2) != 0;
            /* One space more makes another request line, a colon another name. */
            const bool moved = (places[i].place == 'n' && c == ':');
            CHECK(accepted == (valid || moved), "place %zu, octet %d: '%s'", i, octet, out.text);
            check_cuts("octet", b->text, b->len);
            CHECK((ev_tchar[octet] != 0) == tchar, "octet %d", octet);
            const uint8_t one = (uint8_t)octet;
            CHECK(ev_http1_valid_name(&one, 1) == tchar, "octet %d", octet);
            CHECK(ev_http1_valid_value(&one, 1) == ((octet >= ' ' && octet != 127) || octet == '\t'), "octet %d",
                  octet);
            free(b);
        }
    }
    CHECK(!ev_http1_valid_name((const uint8_t *)"", 0), "an empty name");
    CHECK(ev_http1_valid_value((const uint8_t *)"", 0), "an empty value");
    CHECK(ev_http1_valid_value(NULL, 0), "no value");
}

/* A word that differs in one letter from one that we know is another word. */
static void test_near_words(void)
{
    static const struct {
        const char *before, *word, *after, *known, *unknown; /* the beginnings of the outcomes */
    } words[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n", "Host", ": a\r\n\r\n", "400 several", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "Expect", ": x\r\n\r\n", "417", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "Content-Length", ": x\r\n\r\n", "400 Content", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "Transfer-Encoding", ": x\r\n\r\n", "400 chunked", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "Connection", ": close\r\n\r\n", "GET / @a 1.1 |", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: ", "close", "\r\n\r\n", "GET / @a 1.1 |", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.0\r\nConnection: ", "keep-alive", "\r\n\r\n", "GET / 1.0 keep |", "GET / 1.0 |"},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: ", "upgrade", "\r\n\r\n",
         "GET / @a 1.1 keep upgrade |", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n", "Upgrade", ": x\r\n\r\n",
         "GET / @a 1.1 keep upgrade |", "GET / @a 1.1 keep |"},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ", "chunked", "\r\n\r\n", "GET / @a 1.1 keep chunked |",
         "400 chunked"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: ", "100-continue", "\r\n\r\n",
         "GET / @a 1.1 keep length=1 expect |", "417"},
        {"GET ", "http://", "a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a 1.1 keep |", "400 malformed request target"},
        {"GET ", "https://", "a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a 1.1 keep https |",
         "400 malformed request target"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i].word);
        for (size_t changed = 0; changed <= 2 * n;
             changed++) { /* each letter to another case, then to another letter */
            char text[128], *word = text + strlen(words[i].before);
            snprintf(text, sizeof text, "%s%s%s", words[i].before, words[i].word, words[i].after);
            const char *outcome = words[i].known;
            if (changed > n) {
                word[changed - n - 1] = '~';
                outcome = words[i].unknown;
            } else if (changed > 0) {
                const char c = word[changed - 1];
                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) word[changed - 1] ^= 0x20;
            }
            head_outcome out;
            head_run((const uint8_t *)text, strlen(text), NULL, 0, 'x', &out);
            CHECK(strncmp(out.text, outcome, strlen(outcome)) == 0, "'%.*s': '%s', not '%s'", (int)n, word, out.text,
                  outcome);
        }
    }
}

/* A control character is found wherever it lies relative to the blocks that the search reads at once. */
static void test_positions(void)
{
    for (size_t n = 0; n < 70; n++) {
        uint8_t *value = malloc(n + 1);
        memset(value, 'a', n);
        CHECK(ev_http1_valid_value(value, n), "length %zu", n);
        for (size_t i = 0; i < n; i++) {
            value[i] = i % 2 ? '\n' : 0x7f;
            CHECK(!ev_http1_valid_value(value, n), "control at %zu of %zu", i, n);
            value[i] = i % 2 ? '\t' : 0xff;
        }
        CHECK(ev_http1_valid_value(value, n), "length %zu", n);
        free(value);
    }
}

static void test_methods(void)
{
    static const struct {
        const char *name;
        ev_method method;
        bool idempotent;
    } methods[] = {
        {"GET", EV_GET, true},         {"HEAD", EV_HEAD, true},     {"POST", EV_POST, false},
        {"PUT", EV_PUT, true},         {"DELETE", EV_DELETE, true}, {"OPTIONS", EV_OPTIONS, true},
        {"PATCH", EV_PATCH, false},    {"TRACE", EV_TRACE, true},   {"Get", EV_OTHER, false},
        {"PROPFIND", EV_OTHER, false}, {"G", EV_OTHER, false},      {"POSTS", EV_OTHER, false},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char text[64];
        ev_http1_head head;
        const char *reason;
        const int n = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i].name);
        CHECK(ev_http1_parse((uint8_t *)text, (uint32_t)n, &head, &reason) == 0, "%s: %s", methods[i].name, reason);
        CHECK(head.method == methods[i].method, "%s: %d", methods[i].name, head.method);
        CHECK(ev_method_is_idempotent(head.method) == methods[i].idempotent, "%s", methods[i].name);
        CHECK(head.head_len == (uint32_t)n && head.target_len == 1 && text[head.target_off] == '/', "%s",
              methods[i].name);
    }
}

static void test_reasons(void)
{
    CHECK(strcmp(ev_http1_reason(404), "Not Found") == 0, "%s", ev_http1_reason(404));
    CHECK(strcmp(ev_http1_reason(431), "Request Header Fields Too Large") == 0, "%s", ev_http1_reason(431));
    CHECK(strcmp(ev_http1_reason(299), "") == 0, "%s", ev_http1_reason(299));
}

int main(void)
{
    test_rows();
    test_at_once();
    test_progress();
    test_limits();
    test_octets();
    test_near_words();
    test_positions();
    test_methods();
    test_reasons();
    if (failures) fprintf(stderr, "%d checks failed\n", failures);
    return failures > 0;
}
