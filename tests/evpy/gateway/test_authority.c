#include "evpy/gateway/authority.h"

#include "tests/native/check.h"

static const struct {
    const char *text, *host;
    int port;
} valid[] = {
    {"a", "a", -1},
    {"A-b.c_d~", "A-b.c_d~", -1},
    {"example.com:8080", "example.com", 8080},
    {"a:", "a", -1},
    {"a:0", "a", 0},
    {"a:65535", "a", 65535},
    {"a:00000080", "a", 80},
    {"127.0.0.1:1", "127.0.0.1", 1},
    {"999.1.1", "999.1.1", -1}, /* a name, RFC 3986 section 3.2.2 */
    {"!$&'()*+,;=", "!$&'()*+,;=", -1},
    {"%41%fF", "%41%fF", -1},
    {"[::]", "[::]", -1},
    {"[::1]:80", "[::1]", 80},
    {"[2001:db8:1:2:3:4:5:FFFF]", "[2001:db8:1:2:3:4:5:FFFF]", -1},
    {"[::ffff:1.2.3.4]:", "[::ffff:1.2.3.4]", -1},
    {"[1111:2222:3333:4444:5555:6666:123.123.123.123]", "[1111:2222:3333:4444:5555:6666:123.123.123.123]", -1},
    {"[v1.a:b~]", "[v1.a:b~]", -1},
    {"[VaF.0]:9", "[VaF.0]", 9},
};

/* clang-format off */
static const char *const invalid[] = {
    "", ":80", "@", "u@a", "u:p@a", "a/", "a/b", "a?b", "a#b", "a b", " a", "a ", "a\tb", "a\\b", "a<b", "a\"b", "a|b",
    "a^b", "a`b", "a{b}", "a\xc3\xa4", "\xff", "a\x7f", "%", "%4", "%4g", "%g4", "a%",
    "a:b", "a:8o", "a:-1", "a:+1", "a: 1", "a:1 ", "a:65536", "a:99999999999999999999", "a:1:2", "a::", "::1",
    "[]", "[", "[::1", "::1]", "[::1]a", "[::1]80", "[::1]]", "[[::1]]", "[:::1]", "[::g]", "[1.2.3.4]", "[a.b]",
    "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1 ]", "a[::1]", "[1:2:3:4:5:6:7:8:9]", "[00001::]",
    "[1111:2222:3333:4444:5555:6666:1123.123.123.123]",
    "[v.a]", "[v1.]", "[v1a]", "[vg.a]", "[v1.a/]", "[v]", "[v1",
};
/* clang-format on */

/* An allocation of the exact size, for the sanitizer. */
static bool parse(const char *text, ev_authority *out, uint8_t **copy)
{
    const size_t n = strlen(text);
    *copy = malloc(n ? n : 1);
    memcpy(*copy, text, n);
    return ev_authority_parse(*copy, n, out);
}

static void test_parse(void)
{
    ev_authority a;
    uint8_t *copy;
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        const char *text = valid[i].text, *host = valid[i].host;
        CHECK(parse(text, &a, &copy), "'%s'", text);
        CHECK(a.text == copy && a.len == strlen(text), "'%s'", text);
        CHECK(a.host_len == strlen(host) && memcmp(a.text, host, a.host_len) == 0, "'%s': %zu", text, a.host_len);
        CHECK(a.port == valid[i].port, "'%s': %d", text, (int)a.port);
        free(copy);
    }
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        CHECK(!parse(invalid[i], &a, &copy), "'%s'", invalid[i]);
        free(copy);
    }
    CHECK(!ev_authority_parse((const uint8_t *)"a\0b", 3, &a), "NUL in a name");
    CHECK(!ev_authority_parse((const uint8_t *)"[::1\0]", 6, &a), "NUL in an address");
}

static void test_same(void)
{
    static const struct {
        const char *a, *b;
        int32_t default_port;
        bool same;
    } pairs[] = {
        {"a", "a", 80, true},         {"a", "A", 80, true},      {"A.b:80", "a.B", 80, true},
        {"a:", "a:80", 80, true},     {"a:443", "a", 443, true}, {"a:0443", "a:443", 80, true},
        {"[::A]", "[::a]", 80, true}, {"a", "b", 80, false},     {"a", "ab", 80, false},
        {"a:80", "a", 443, false},    {"a:81", "a", 80, false},  {"a:1", "a:2", 80, false},
        {"a!", "a\x01", 80, false},   {"a~", "a^", 80, false},   {"%41", "a", 80, false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ev_authority a, b;
        uint8_t *copy_a, *copy_b;
        const bool valid_a = parse(pairs[i].a, &a, &copy_a), valid_b = parse(pairs[i].b, &b, &copy_b);
        const bool same = valid_a && valid_b && ev_authority_same(&a, &b, pairs[i].default_port) &&
                          ev_authority_same(&b, &a, pairs[i].default_port);
        CHECK(same == pairs[i].same, "'%s' and '%s'", pairs[i].a, pairs[i].b);
        free(copy_a);
        free(copy_b);
    }
}

int main(void)
{
    test_parse();
    test_same();
    if (failures) fprintf(stderr, "%d checks failed\n", failures);
    return failures > 0;
}
