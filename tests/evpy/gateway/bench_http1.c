/* Nanoseconds for one request head, search for its end and parse together: the best of several rounds, since all other
 * things that a machine does can only add. Run it by hand: BUILD/tests/evpy/gateway/bench_http1 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "evpy/gateway/http1.h"

static const char minimal[] = "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";

static const char wrk[] = "GET /plaintext HTTP/1.1\r\n"
                          "Host: localhost:8080\r\n"
                          "User-Agent: wrk/4.2.0\r\n"
                          "Accept: text/plain,text/html;q=0.9,application/xhtml+xml;q=0.9\r\n"
                          "Accept-Encoding: gzip\r\n"
                          "Connection: keep-alive\r\n\r\n";

static const char browser[] =
    "GET /articles/2024/05/some-title?utm_source=mail&page=2 HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.com/articles/2024/\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Priority: u=1\r\n\r\n";

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int heads(const char *title, const char *text)
{
    enum { ROUNDS = 15, TIMES = 50000 };
    static ev_http1_head head;
    const size_t len = strlen(text);
    double both = 1e9, search = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        double start = seconds();
        for (int i = 0; i < TIMES; i++) {
            ev_http1_scan scan = {0};
            if (ev_http1_find_end((const uint8_t *)text, len, &scan) != (int)len) return 1;
        }
        double took = (seconds() - start) / TIMES;
        if (took < search) search = took;
        start = seconds();
        for (int i = 0; i < TIMES; i++) {
            const char *reason;
            ev_http1_scan scan = {0};
            const int n = ev_http1_find_end((const uint8_t *)text, len, &scan);
            if (n <= 0 || ev_http1_parse((const uint8_t *)text, (uint32_t)n, &head, &reason) != 0) return 1;
        }
        took = (seconds() - start) / TIMES;
        if (took < both) both = took;
    }
    printf("%-8s %4zu bytes %2d fields: %6.1f ns, of which the search %6.1f ns\n", title, len, head.n_fields,
           both * 1e9, search * 1e9);
    return 0;
}

int main(void)
{
    return heads("minimal", minimal) || heads("wrk", wrk) || heads("browser", browser);
}
