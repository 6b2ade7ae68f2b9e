/* The lines of the access log: exact text, the UTF-8 table, bounds, and that no input whatever breaks a line. */
#include "tests/native/check.h"

#include "evpy/gateway/logline.h"

static const struct timespec at = {1795230918, 7899999}; /* 2026-11-21 03:15:18.007 UTC */
static const char *const texts[] = {"method", "target", "referer", "user_agent", "host", "client"};
enum { METHOD, TARGET, REFERER, AGENT, HOST, CLIENT, N_TEXTS };

/* A request made by hand, so that it can hold what the parser would refuse. */
typedef struct {
    uint8_t head[32768];
    uint16_t len;
    ev_http1_head parsed;
    ev_log_entry entry;
} request;

static uint16_t append(request *r, const void *p, size_t n)
{
    memcpy(r->head + r->len, p, n);
    r->len = (uint16_t)(r->len + n);
    return (uint16_t)(r->len - n);
}

static void set(request *r, int what, const void *p, size_t n)
{
    ev_http1_head *h = &r->parsed;
    uint16_t len = (uint16_t)n;
    if (what == METHOD) {
        h->method_off = append(r, p, n), h->method_len = len;
    } else if (what == TARGET) {
        h->target_off = append(r, p, n), h->target_len = len;
    } else if (what == HOST) {
        h->host_off = append(r, p, n), h->host_len = len;
    } else {
        const char *name = what == REFERER ? "ReFerer" : "User-AGENT";
        uint16_t name_len = (uint16_t)strlen(name), name_off = append(r, name, name_len);
        h->field[h->n_fields++] = (ev_field){name_off, name_len, append(r, p, n), len};
    }
}

static void begin(request *r)
{
    memset(&r->parsed, 0, sizeof r->parsed);
    r->len = 0;
    r->parsed.minor = 1;
    r->entry = (ev_log_entry){r->head, &r->parsed, "192.0.2.7", 0xfeed, 123, 45678901, 200, false};
}

static request *simple(void)
{
    static request r;
    begin(&r);
    set(&r, METHOD, "GET", 3);
    set(&r, TARGET, "/path?x", 7);
    set(&r, HOST, "example.org", 11);
    return &r;
}

/* One line with its end, as text. */
static const char *line_of(const ev_log_entry *e, bool json)
{
    static uint8_t out[EV_LOG_LINE + 1];
    ev_log_stamp stamp = {0};
    memset(out, '~', sizeof out);
    size_t n = (json ? ev_logline_json : ev_logline_combined)(out, e, at, &stamp);
    CHECK(n <= EV_LOG_LINE, "%zu bytes", n);
    out[n] = 0;
    CHECK(memchr(out, '\n', n) == out + n - 1, "an LF inside, or none");
    return (const char *)out;
}

static void same(const char *got, const char *expected)
{
    CHECK(strcmp(got, expected) == 0, "\n  %s  %s", got, expected);
}

static void test_exact(void)
{
    request *r = simple();
    same(line_of(&r->entry, false),
         "192.0.2.7 - - [21/Nov/2026:03:15:18 +0000] \"GET /path?x HTTP/1.1\" 200 123 \"-\" \"-\"\n");
    same(line_of(&r->entry, true),
         "{\"time\":\"2026-11-21T03:15:18.007Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\"target\":\"/path?x\","
         "\"version\":\"1.1\",\"status\":200,\"bytes\":123,\"ms\":45.678,\"id\":\"000000000000feed\",\"referer\":null,"
         "\"user_agent\":null,\"host\":\"example.org\"}\n");

    r->parsed.field[r->parsed.n_fields++] = (ev_field){append(r, "referers", 8), 8, append(r, "no", 2), 2};
    set(r, REFERER, "http://a/", 9);
    set(r, REFERER, "second", 6); /* the first counts */
    set(r, AGENT, "curl/8 (\"\\)\r\n\x7f\xc3\xa9", 16);
    r->parsed.minor = 0;
    r->entry.aborted = true;
    r->entry.client = "unix: x";
    r->entry.bytes = r->entry.id = r->entry.took_ns = UINT64_MAX;
    same(line_of(&r->entry, false),
         "unix:\\x20x - - [21/Nov/2026:03:15:18 +0000] \"GET /path?x HTTP/1.0\" 200 18446744073709551615 \"http://a/\" "
         "\"curl/8 (\\x22\\x5c)\\x0d\\x0a\\x7f\\xc3\\xa9\"\n");
    same(line_of(&r->entry, true),
         "{\"time\":\"2026-11-21T03:15:18.007Z\",\"client\":\"unix: x\",\"method\":\"GET\",\"target\":\"/path?x\","
         "\"version\":\"1.0\",\"status\":200,\"bytes\":18446744073709551615,\"ms\":18446744073709.551,"
         "\"id\":\"ffffffffffffffff\",\"referer\":\"http://a/\",\"user_agent\":\"curl/8 "
         "(\\\"\\\\)\\u000d\\u000a\\u007f\xc3\xa9\",\"host\":\"example.org\",\"aborted\":true}\n");
}

static void test_unparsable(void)
{
    ev_log_entry e = {.status = 400, .took_ns = 999};
    const char *json = "{\"time\":\"2026-11-21T03:15:18.007Z\",\"client\":null,\"method\":null,\"target\":null,"
                       "\"version\":null,\"status\":400,\"bytes\":0,\"ms\":0.000,\"id\":\"0000000000000000\","
                       "\"referer\":null,\"user_agent\":null,\"host\":null}\n";
    same(line_of(&e, false), "- - - [21/Nov/2026:03:15:18 +0000] \"-\" 400 0 \"-\" \"-\"\n");
    same(line_of(&e, true), json);
    e.head = (const uint8_t *)"GET"; /* bytes there are, but no parsed head */
    same(line_of(&e, true), json);
    request *r = simple();
    r->parsed.host_len = 0;
    CHECK(strstr(line_of(&r->entry, true), "\"host\":null"), "HTTP/1.0 may have none");
    set(r, REFERER, "", 0);
    CHECK(strstr(line_of(&r->entry, true), "\"referer\":\"\""), "empty is not absent");
    CHECK(strstr(line_of(&r->entry, false), " \"-\" \"-\"\n"), "empty and absent look alike");
}

static void test_stamp(void)
{
    static const struct {
        time_t t;
        const char *combined, *json;
    } rows[] = {
        {0, "01/Jan/1970:00:00:00", "1970-01-01T00:00:00"},
        {951868799, "29/Feb/2000:23:59:59", "2000-02-29T23:59:59"},
        {951868800, "01/Mar/2000:00:00:00", "2000-03-01T00:00:00"},
        {4102444799, "31/Dec/2099:23:59:59", "2099-12-31T23:59:59"},
        {4102444798, "31/Dec/2099:23:59:58", "2099-12-31T23:59:58"}, /* the clock was set back */
    };
    ev_log_stamp combined = {0}, json = {0};
    uint8_t out[EV_LOG_LINE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int twice = 0; twice < 2; twice++) {
            struct timespec now = {rows[i].t, 0};
            ev_logline_combined(out, &simple()->entry, now, &combined);
            CHECK(memcmp(out + 15, rows[i].combined, 20) == 0, "%.20s, not %s", out + 15, rows[i].combined);
            ev_logline_json(out, &simple()->entry, now, &json);
            CHECK(memcmp(out + 9, rows[i].json, 19) == 0, "%.19s, not %s", out + 9, rows[i].json);
        }
    }
}

/* Unicode, table 3-7: length of the well-formed sequence at p, 0 when there is none. */
static size_t wellformed(const uint8_t *p, size_t n)
{
    static const uint8_t table[][6] = {
        /* first byte, second byte, length */
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const uint8_t *t = table[i];
        if (p[0] < t[0] || p[0] > t[1]) continue;
        if (n < t[4]) return 0;
        if (t[4] > 1 && (p[1] < t[2] || p[1] > t[3])) return 0;
        for (size_t k = 2; k < t[4]; k++)
            if (p[k] < 0x80 || p[k] > 0xbf) return 0;
        return t[4];
    }
    return 0;
}

static size_t encode(uint8_t *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6), out[1] = (uint8_t)(0x80 | (code & 63));
        return 2;
    }
    out[0] = (uint8_t)(0xe0 | code >> 12), out[1] = (uint8_t)(0x80 | (code >> 6 & 63));
    out[2] = (uint8_t)(0x80 | (code & 63));
    return 3;
}

/* Reads a JSON string strictly (RFC 8259) and decodes it. NULL when it is none. */
static const uint8_t *json_string(const uint8_t *p, const uint8_t *end, uint8_t *out, size_t *len)
{
    *len = 0;
    if (p == end || *p++ != '"') return NULL;
    while (p < end && *p != '"') {
        size_t n = wellformed(p, (size_t)(end - p));
        if (!n || *p < 0x20) return NULL;
        if (*p != '\\') {
            memcpy(out + *len, p, n);
            *len += n, p += n;
            continue;
        }
        unsigned code;
        if (p[1] == '"' || p[1] == '\\') {
            out[(*len)++] = p[1];
            p += 2;
        } else if (p[1] == 'u' && strspn((const char *)p + 2, "0123456789abcdef") >= 4 &&
                   sscanf((const char *)p + 2, "%4x", &code) == 1 && (code < 0xd800 || code > 0xdfff)) {
            *len += encode(out + *len, code);
            p += 6;
        } else {
            return NULL;
        }
    }
    return p < end ? p + 1 : NULL;
}

/* Checks that the line is one flat JSON object; decodes the value of `key` into out. raw: its bytes in the line. */
static bool json_object(const char *line, const char *key, uint8_t *out, size_t *len, size_t *raw)
{
    static uint8_t name[EV_LOG_LINE], value[EV_LOG_LINE];
    const uint8_t *p = (const uint8_t *)line, *end = p + strlen(line);
    bool found = false;
    if (*p++ != '{') return false;
    for (;;) {
        size_t name_len, value_len = 0;
        p = json_string(p, end, name, &name_len);
        if (!p || *p++ != ':') return false;
        const uint8_t *begin_value = p;
        if (*p == '"') {
            p = json_string(p, end, value, &value_len);
            if (!p) return false;
        } else if (strncmp((const char *)p, "null", 4) == 0 || strncmp((const char *)p, "true", 4) == 0) {
            p += 4;
        } else {
            size_t digits = strspn((const char *)p, "0123456789.");
            if (!digits || (p[0] == '0' && p[1] != '.' && digits > 1)) return false;
            p += digits;
        }
        if (name_len == strlen(key) && memcmp(name, key, name_len) == 0) {
            if (found) return false;
            found = true;
            *raw = (size_t)(p - begin_value);
            memcpy(out, value, *len = value_len);
        }
        if (*p == '}') return found && strcmp((const char *)p, "}\n") == 0;
        if (*p++ != ',') return false;
    }
}

/* What the value is to be read as: bytes that are no UTF-8 taken as Latin-1. */
static size_t as_text(const uint8_t *p, size_t n, uint8_t *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        size_t k = wellformed(p + i, n - i);
        if (k)
            memcpy(out + len, p + i, k), len += k, i += k;
        else
            len += encode(out + len, p[i++]);
    }
    return len;
}

static void test_utf8(void)
{
    static const struct {
        const char *value, *json;
    } rows[] = {
        {"\xc3\xa9", "\xc3\xa9"},
        {"\xe2\x82\xac.", "\xe2\x82\xac."},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"},
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xc2\x9b", "\\u009b"},                              /* CSI steers terminals */
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},       /* separate lines for some readers */
        {"\xc0\xaf", "\\u00c0\\u00af"},                       /* overlong */
        {"\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf"},            /* overlong */
        {"\xf0\x8f\xbf\xbf", "\\u00f0\\u008f\\u00bf\\u00bf"}, /* overlong */
        {"\xed\xa0\x80", "\\u00ed\\u00a0\\u0080"},            /* surrogate */
        {"\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080"}, /* beyond U+10FFFF */
        {"\xe2\x82", "\\u00e2\\u0082"},                       /* cut off */
        {"\xe2\xc3\xa9", "\\u00e2\xc3\xa9"},                  /* resynchronises */
        {"\xff\x80\x1b[", "\\u00ff\\u0080\\u001b["},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        request *r = simple();
        set(r, AGENT, rows[i].value, strlen(rows[i].value));
        char expected[128];
        snprintf(expected, sizeof expected, "\"user_agent\":\"%s\",", rows[i].json);
        CHECK(strstr(line_of(&r->entry, true), expected), "row %zu: %s", i, expected);
    }
}

/* Undoes \xHH of a quoted value that begins at p; the byte behind its closing quote, or NULL. */
static const char *unquote(const char *p, uint8_t *out, size_t *len)
{
    *len = 0;
    while (*p != '"') {
        unsigned byte = (uint8_t)*p;
        if (byte < 0x20 || byte > 0x7e) return NULL;
        if (byte == '\\') {
            if (sscanf(p, "\\x%2x", &byte) != 1) return NULL;
            p += 3;
        }
        out[(*len)++] = (uint8_t)byte;
        p++;
    }
    return p + 1;
}

static size_t random_value(uint64_t *seed, uint8_t *out, size_t max)
{
    size_t n = random_below(seed, 8) ? random_below(seed, 40) : random_below(seed, max);
    for (size_t i = 0; i < n; i++) {
        static const char liked[] = "\"\\\n\r\x7f\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\xed\xa0 aZ";
        out[i] =
            (uint8_t)(random_below(seed, 2) ? random_next(seed) : (uint64_t)liked[random_below(seed, sizeof liked)]);
    }
    return n;
}

/* Any bytes anywhere: one valid line, and reading it gives back the beginning of what was put in. */
static void test_random(void)
{
    static request r;
    static uint8_t value[N_TEXTS][4000], text[8192], got[EV_LOG_LINE];
    size_t len[N_TEXTS], text_len, got_len = 0, raw = 0;
    uint64_t seed = 1;
    for (int round = 0; round < 4000 && !failures; round++) {
        begin(&r);
        for (int i = 0; i < N_TEXTS; i++) {
            len[i] = random_value(&seed, value[i], sizeof value[i]);
            if (i != CLIENT) set(&r, i, value[i], len[i]);
        }
        for (size_t i = 0; i < len[CLIENT]; i++) value[CLIENT][i] |= !value[CLIENT][i]; /* no NUL inside */
        value[CLIENT][len[CLIENT]] = 0;
        r.entry.client = (const char *)value[CLIENT];
        r.entry.aborted = random_below(&seed, 2);

        const char *line = line_of(&r.entry, true);
        for (int i = 0; i < N_TEXTS; i++) {
            CHECK(json_object(line, texts[i], got, &got_len, &raw), "not JSON: %s", line);
            text_len = as_text(value[i], len[i], text);
            CHECK(got_len <= text_len && memcmp(got, text, got_len) == 0, "%s differs: %s", texts[i], line);
            CHECK(len[i] > 5 || got_len == text_len, "%s cut: %s", texts[i], line);
        }

        line = line_of(&r.entry, false);
        CHECK(strchr(line, ' ') && strncmp(strchr(line, ' '), " - - [", 6) == 0, "the client ends early: %s", line);
        const char *p = strchr(line, ']');
        while (p && strncmp(p, "] \"", 3)) p = strchr(p + 1, ']'); /* one may stand in the client */
        CHECK(p && (p = unquote(p + 3, got, &got_len)), "request line: %s", line);
        for (int i = REFERER; p && i <= AGENT; i++) {
            CHECK((p = strchr(p, '"')) && (p = unquote(p + 1, got, &got_len)), "%s: %s", texts[i], line);
            if (len[i])
                CHECK(got_len <= len[i] && memcmp(got, value[i], got_len) == 0, "%s differs: %s", texts[i], line);
            else
                CHECK(got_len == 1 && got[0] == '-', "%s: %s", texts[i], line);
        }
        CHECK(p && strcmp(p, "\n") == 0, "something behind: %s", line);
    }
}

/* The longest line there can be; where it is cut, escapes and characters stay whole. */
static void test_bounds(void)
{
    static const char *const units[] = {"x", "\"", "\xff", "x\xff", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    static const size_t bounds[N_TEXTS] = {32, 1792, 1024, 512, 256, 64};
    static request r;
    static char value[5000];
    static uint8_t text[10000], got[EV_LOG_LINE];
    const size_t fixed =
        strlen(" - - [21/Nov/2026:03:15:18 +0000] \"  HTTP/1.1\" 4294967295 18446744073709551615 \"\" \"\"\n");
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t n = 0, got_len = 0, text_len, raw = 0, unit = strlen(units[u]);
        for (; n + unit < sizeof value; n += unit) memcpy(value + n, units[u], unit + 1);
        begin(&r);
        for (int i = 0; i < N_TEXTS; i++)
            if (i != CLIENT) set(&r, i, value, n);
        r.entry = (ev_log_entry){r.head, &r.parsed, value, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX, true};
        text_len = as_text((const uint8_t *)value, n, text);
        const char *line = line_of(&r.entry, true);
        for (int i = 0; i < N_TEXTS; i++) {
            CHECK(json_object(line, texts[i], got, &got_len, &raw), "not JSON: %s", line);
            CHECK(got_len < text_len && memcmp(got, text, got_len) == 0, "%s differs: %s", texts[i], line);
            CHECK(raw <= bounds[i] && raw > bounds[i] - 6, "%s takes %zu bytes: %s", texts[i], raw, line);
        }
        line = line_of(&r.entry, false);
        const size_t most = fixed + 32 + 1792 + 1024 + 512 + 64;
        CHECK(strlen(line) <= most && strlen(line) > most - 5 * 4, "%zu bytes: %s", strlen(line), line);
    }
}

int main(void)
{
    test_exact();
    test_unparsable();
    test_stamp();
    test_utf8();
    test_random();
    test_bounds();
    return failures > 0;
}
