/* A shared-memory segment: an anonymous file (memfd) mapped by every process that is given its descriptor.
 *
 * No name in a file system, so nothing is left behind when the last process dies, however it dies. The file is sealed
 * against shrinking and growing: no process that holds the descriptor can make another one's loads fault (SIGBUS).
 * Pages cost nothing until they are touched, and can be given back (efio_segment_punch).
 *
 * Functions return 0 or -errno. */
#ifndef EFIO_SEGMENT_H
#define EFIO_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *base;
    size_t bytes;
    int fd;
} efio_segment;

/* Creates and maps a segment of zeros. bytes is rounded up to whole pages; name (at most 249 bytes) is what /proc
 * shows. The descriptor is close-on-exec and belongs to the segment. */
int efio_segment_create(efio_segment *s, const char *name, size_t bytes);

/* Maps the segment behind a descriptor that was inherited or received. The caller keeps the descriptor, which must stay
 * open as long as efio_segment_punch is called. -EPROTO when it is not a sealed segment. */
int efio_segment_attach(efio_segment *s, int fd);

/* Gives the whole pages within [offset, offset + length) back to the kernel: they read as zeros, for everybody.
 * A range without a whole page is no error; -ERANGE when it goes beyond the segment. */
int efio_segment_punch(const efio_segment *s, size_t offset, size_t length);

/* Unmaps; the descriptor stays open (for a process that only passes it on, and for attached segments). */
void efio_segment_unmap(efio_segment *s);

/* Unmaps and closes the descriptor. The memory goes when nobody has it mapped or open any more. */
void efio_segment_close(efio_segment *s);

#endif
