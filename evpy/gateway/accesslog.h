/* Access log: lines are formatted into a bounded ring by the I/O thread and written by a thread of their own, so that a
 * slow or full disk never holds up a request. What does not fit, or cannot be written, is dropped and counted. */
#ifndef EVPY_ACCESSLOG_H
#define EVPY_ACCESSLOG_H

#include "efio/native/bytering.h"
#include "evpy/gateway/http1.h"

typedef struct ev_accesslog ev_accesslog;

typedef struct {
    const uint8_t *head; /* bytes that the parsed head refers to, or NULL: the request was not parsable */
    const ev_http1_head *parsed;
    const char *client; /* address as text */
    uint64_t id;
    uint64_t bytes;   /* body bytes of the response */
    uint64_t took_ns; /* since the first byte of the head */
    uint32_t status;
    bool aborted;
} ev_log_entry;

/* One per I/O thread. fd is not owned. NULL when memory or threads run out. */
ev_accesslog *ev_accesslog_open(int fd, bool json);
/* Flushes what is buffered (bounded: one second) and ends the writer. NULL does nothing. Returns the lines that were
 * lost since the last ev_accesslog_dropped. */
uint64_t ev_accesslog_close(ev_accesslog *log);
/* Of the I/O thread only. False: dropped. */
bool ev_accesslog_put(ev_accesslog *log, const ev_log_entry *entry);
/* Lines that could not be written since the last call. Any thread. */
uint64_t ev_accesslog_dropped(ev_accesslog *log);
/* Later lines go to fd (log rotation). Any thread. The old descriptor is not closed, and a write to it may still be
 * under way for as long as it blocks: do not reuse its number, or dup2() the new file onto the old instead. */
void ev_accesslog_set_fd(ev_accesslog *log, int fd);

#endif
