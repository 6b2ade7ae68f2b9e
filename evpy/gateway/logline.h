/* One line of the access log from one entry: no clock, no I/O, no allocation.
 *
 * Nothing a client sends can end the line, leave its quotes or steer a terminal, and no line is longer than PIPE_BUF:
 * the kernel does not tear what several I/O threads write to one pipe (POSIX write(), "atomic"). Values are therefore
 * cut, each at its own bound, counted after escaping; an escape or a character is never cut in two. */
#ifndef EVPY_LOGLINE_H
#define EVPY_LOGLINE_H

#include <time.h>

#include "evpy/gateway/accesslog.h"

#define EV_LOG_LINE 4096 /* PIPE_BUF of Linux: room that a line needs at most */

/* The calendar part of the time stamp, renewed when the second changes. All zero at first. */
typedef struct {
    time_t second;
    uint8_t len;
    char text[27];
} ev_log_stamp;

/* Both write a line with its LF to out[0..EV_LOG_LINE) and return its length. now: CLOCK_REALTIME.
 *
 * The "combined" format of Apache httpd (mod_log_config), in UTC. '"', '\', controls and all above 0x7e as \xHH. */
size_t ev_logline_combined(uint8_t *out, const ev_log_entry *entry, struct timespec now, ev_log_stamp *stamp);
/* One JSON object (RFC 8259). Valid UTF-8 stays as it is but for controls and the line separators U+2028 and U+2029;
 * a byte that is no UTF-8 becomes the character of its number (Latin-1). What the request lacks is null. */
size_t ev_logline_json(uint8_t *out, const ev_log_entry *entry, struct timespec now, ev_log_stamp *stamp);

#endif
