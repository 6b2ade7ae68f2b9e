/* Answers that the gateway gives by itself, and the part of every response's head that only it can write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

void ev_refresh_date(ev_engine *e)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if ((uint64_t)ts.tv_sec == e->date_sec) return;
    e->date_sec = (uint64_t)ts.tv_sec;
    static const char day[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char month[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    gmtime_r(&ts.tv_sec, &tm);
    e->date_len = (uint32_t)snprintf(e->date, sizeof e->date, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                                     day[tm.tm_wday % 7], tm.tm_mday % 100, month[tm.tm_mon % 12],
                                     (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
    e->ok_prefix_len =
        (uint32_t)snprintf(e->ok_prefix, sizeof e->ok_prefix, "HTTP/1.1 200 OK\r\n%s%s", e->date, e->server_line);
}

uint32_t ev_prefix(ev_engine *e, const ev_conn *c, uint32_t status, uint32_t out_flags, bool keep_alive, char *dst)
{
    char *p = dst;
    if (status == 200 && !(out_flags & (EV_OUT_HAS_DATE | EV_OUT_HAS_SERVER))) {
        memcpy(p, e->ok_prefix, e->ok_prefix_len);
        p += e->ok_prefix_len;
    } else {
        p += sprintf(p, "HTTP/1.1 %03u %s\r\n", status % 1000, ev_http1_reason((int)status));
        if (!(out_flags & EV_OUT_HAS_DATE)) {
            memcpy(p, e->date, e->date_len);
            p += e->date_len;
        }
        if (!(out_flags & EV_OUT_HAS_SERVER)) {
            memcpy(p, e->server_line, e->server_len);
            p += e->server_len;
        }
    }
    if (!keep_alive) {
        memcpy(p, "Connection: close\r\n", 19);
        p += 19;
    } else if (c->minor0) {
        memcpy(p, "Connection: keep-alive\r\n", 24);
        p += 24;
    }
    return (uint32_t)(p - dst);
}

void ev_respond(ev_engine *e, ev_conn *c, int status, const char *reason, bool close_after)
{
    char head[512], body[256];
    bool keep = !close_after && c->keep_alive && !e->draining;
    const char *phrase = ev_http1_reason(status);
    int blen = reason && *reason ? snprintf(body, sizeof body, "%d %s: %s\n", status, phrase, reason)
                                 : snprintf(body, sizeof body, "%d %s\n", status, phrase);
    uint32_t n = ev_prefix(e, c, (uint32_t)status, 0, keep, head);
    n += (uint32_t)sprintf(head + n, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%s\r\n", blen,
                           status == 503 ? "Retry-After: 1\r\n" : "");
    uint32_t total = n + (c->head_only ? 0 : (uint32_t)blen);
    c->status = (uint16_t)status;
    c->own_answer = true;
    c->answered = true;
    c->keep_alive = keep;
    uint32_t old = c->pending_len - c->pending_off; /* a 100 Continue may still be on its way */
    uint8_t *buf = malloc(old + total);
    if (!buf) {
        ev_conn_close(e, c);
        return;
    }
    if (old) memcpy(buf, c->pending + c->pending_off, old);
    memcpy(buf + old, head, n);
    if (!c->head_only) memcpy(buf + old + n, body, (size_t)blen);
    free(c->pending);
    c->pending = buf;
    c->pending_off = 0;
    c->pending_len = old + total;
    c->state = EV_C_BUSY;
    c->log_owed = true;
    c->out_sent = (uint64_t)blen;
    c->progress_ns = e->now_ns;
    ev_timer_set(e, c, e->now_ns + e->hdr->send_timeout);
    ev_engine_mark_dirty(e, c);
}
