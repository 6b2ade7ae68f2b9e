/* Properties of the HTTP/1 parser that hold for every input: cutting changes nothing, a plainly written search for the
 * end agrees, what is accepted keeps its promises, and written out again it means the same.
 *
 * Built with libFuzzer by scripts/fuzz; every build runs it over the corpus, too (replay.c). */
#include <strings.h>

#include "evpy/gateway/authority.h"
#include "heads.h"
#include "tests/native/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ev_http1_find_end() once more, one octet after the other. */
static int plain_find_end(const uint8_t *p, size_t len)
{
    size_t line_len = 0, lines = 0;
    bool cr = false, skipped = false;
    for (size_t i = 0; i < len; i++) {
        if (cr) {
            if (p[i] != '\n') return -400;
            cr = false;
            if (line_len > 0)
                lines++;
            else if (lines > 0)
                return (int)i + 1;
            else if (skipped)
                return -400;
            skipped = true;
            line_len = 0;
        } else if (p[i] == '\r') {
            cr = true;
        } else if ((p[i] < 32 && p[i] != 9) || p[i] == 127) {
            return -400;
        } else {
            if (++line_len > EV_MAX_LINE) return lines ? -431 : -414;
            if (lines == EV_MAX_FIELDS + 1) return -431;
        }
        if (i + 1 == EV_MAX_HEAD) return -431;
    }
    return 0;
}

static unsigned count(const uint8_t *p, const ev_http1_head *h, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->n_fields; i++)
        n += h->field[i].name_len == strlen(name) &&
             strncasecmp((const char *)p + h->field[i].name, name, strlen(name)) == 0;
    return n;
}

/* What a reader of an accepted head relies on. */
static void check_head(const uint8_t *p, const ev_http1_head *h, uint32_t len)
{
    MUST(h->head_len == len);
    MUST(h->minor <= 1);
    MUST(h->method_len > 0 && ev_http1_valid_name(p + h->method_off, h->method_len));
    MUST(h->method != EV_CONNECT);
    const unsigned target_end = h->target_off + h->target_len;
    MUST(h->target_len > 0 && h->target_off == h->method_off + h->method_len + 1u && target_end + 11 <= len);
    for (unsigned i = h->target_off; i < target_end; i++) MUST(p[i] > 32 && p[i] < 127 && p[i] != '#');
    MUST(h->path_off >= h->target_off && h->path_off + h->path_len <= target_end);
    if (h->has_query) {
        MUST(h->query_off == h->path_off + h->path_len + 1u && p[h->query_off - 1] == '?');
        MUST(h->query_off + h->query_len == target_end);
    } else {
        MUST(h->query_len == 0 && h->path_off + h->path_len == target_end);
    }
    MUST(memchr(p + h->path_off, '?', h->path_len) == NULL);
    if (h->path_len == 0)
        MUST(p[h->target_off] != '/' && h->host_len > 0);
    else
        MUST(p[h->path_off] == '/' || (h->method == EV_OPTIONS && h->target_len == 1 && p[h->path_off] == '*'));

    unsigned at = target_end + 11;
    MUST(h->n_fields + h->n_dropped <= EV_MAX_FIELDS);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const ev_field *f = &h->field[i];
        MUST(f->name >= at && f->value > f->name + f->name_len);
        MUST(p[f->name - 1] == '\n' && p[f->name + f->name_len] == ':');
        at = (unsigned)f->value + f->value_len;
        MUST(at + 4 <= len && f->name_len > 0 && at - f->name <= EV_MAX_LINE);
        MUST(ev_http1_valid_name(p + f->name, f->name_len) && !memchr(p + f->name, '_', f->name_len));
        MUST(ev_http1_valid_value(p + f->value, f->value_len));
        if (f->value_len) MUST(strchr(" \t", p[f->value]) == NULL && strchr(" \t", p[at - 1]) == NULL);
    }

    const unsigned lengths = count(p, h, "content-length"), codings = count(p, h, "transfer-encoding");
    MUST(lengths + (codings > 0) <= 1);
    MUST((h->body == EV_BODY_CHUNKED) == (codings > 0) && (h->body == EV_BODY_LENGTH) == (lengths > 0));
    MUST(h->body == EV_BODY_LENGTH ? h->content_length <= INT64_MAX : h->content_length == 0);
    MUST(h->body != EV_BODY_CHUNKED || h->minor == 1);
    MUST(count(p, h, "host") <= 1 && (h->minor == 0 || count(p, h, "host") == 1));
    ev_authority authority;
    if (h->host_len)
        MUST(ev_authority_parse(p + h->host_off, h->host_len, &authority));
    else
        MUST(h->minor == 0 && count(p, h, "host") == 0);
    MUST(!h->expect_continue ||
         (count(p, h, "expect") && h->minor == 1 && (h->body == EV_BODY_CHUNKED || h->content_length > 0)));
    MUST(!h->upgrade || (count(p, h, "upgrade") && count(p, h, "connection") && h->minor == 1));
    MUST(h->minor == 1 || !h->keep_alive || count(p, h, "connection"));
}

/* Written out again without what carries no meaning, the head parses to the same, and again to itself. */
static void check_rewritten(const uint8_t *p, const ev_http1_head *h, bool again)
{
    enum { SIZE = 1 << 17 };
    char *text = malloc(EV_MAX_HEAD), *one = malloc(SIZE), *two = malloc(SIZE);
    ev_http1_head *head = malloc(sizeof *head);
    const char *s = (const char *)p, *reason = "";
    size_t n = (size_t)sprintf(text, "%.*s %.*s HTTP/1.%d\r\n", h->method_len, s + h->method_off, h->target_len,
                               s + h->target_off, h->minor);
    for (unsigned i = 0; i < h->n_fields; i++)
        n += (size_t)sprintf(text + n, "%.*s:%.*s\r\n", h->field[i].name_len, s + h->field[i].name,
                             h->field[i].value_len, s + h->field[i].value);
    memcpy(text + n, "\r\n", 2);
    n += 2;
    ev_http1_scan scan = {0};
    MUST(ev_http1_find_end((uint8_t *)text, n, &scan) == (int)n);
    MUST(ev_http1_parse((uint8_t *)text, (uint32_t)n, head, &reason) == 0);
    check_head((uint8_t *)text, head, (uint32_t)n);
    MUST(head->n_dropped == 0);
    head->n_dropped = h->n_dropped;
    head_describe(p, h, one, SIZE);
    head_describe((uint8_t *)text, head, two, SIZE);
    MUST(strcmp(one, two) == 0);
    head->n_dropped = 0;
    if (again) check_rewritten((uint8_t *)text, head, false);
    free(text);
    free(one);
    free(two);
    free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static head_outcome whole, cut;
    static size_t cuts[2 * EV_MAX_HEAD];
    static ev_http1_head head;
    const char *reason = NULL;
    if (size > 2 * EV_MAX_HEAD) return 0;

    head_run(data, size, NULL, 0, 'x', &whole);
    MUST(whole.end == plain_find_end(data, size));
    for (size_t i = 0; i < size; i++) cuts[i] = i;
    head_run(data, size, cuts, size, '\n', &cut);
    MUST(whole.end == cut.end && strcmp(whole.text, cut.text) == 0);
    if (cut.end > 0)
        MUST(cut.given == (size_t)cut.end);
    else if (cut.end < 0)
        MUST(plain_find_end(data, cut.given - 1) == 0);

    uint64_t seed = size; /* the input decides on the cuts: a crash is reproducible */
    for (size_t i = 0; i < size && i < 64; i++) seed = seed * 31 + data[i];
    size_t n = 0, at = 0;
    while ((at += 1 + random_below(&seed, 1 + size / 4)) < size) cuts[n++] = at;
    head_run(data, size, cuts, n, '\r', &cut);
    MUST(whole.end == cut.end && strcmp(whole.text, cut.text) == 0);

    /* Memory is safe even where find_end would not have come so far. */
    uint8_t *exact = malloc(size ? size : 1);
    if (size) memcpy(exact, data, size);
    const int status = ev_http1_parse(exact, (uint32_t)size, &head, &reason);
    MUST(status == 0 || *reason != 0);
    free(exact);

    if (whole.end > 0) {
        MUST(whole.end <= EV_MAX_HEAD && (size_t)whole.end <= size);
        const int answer = ev_http1_parse(data, (uint32_t)whole.end, &head, &reason);
        if (answer == 0) {
            check_head(data, &head, (uint32_t)whole.end);
            check_rewritten(data, &head, true);
        } else {
            MUST(answer == 400 || answer == 417 || answer == 501 || answer == 505);
        }
    }
    return 0;
}
