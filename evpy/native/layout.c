#define _GNU_SOURCE
#include "layout.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static bool shape_is_valid(const ev_shape *p)
{
    return p->io_threads >= 1 && p->io_threads <= EV_MAX_IO && p->slots >= 1 && p->slots <= EV_MAX_SLOTS &&
           p->threads >= 1 && p->threads <= EV_MAX_THREADS && p->slabs >= 1 &&
           (uint64_t)p->slabs * p->io_threads < (1u << 24) && p->depth >= 1;
}

static void place(ev_header *h, const ev_shape *p)
{
    h->io_threads = p->io_threads;
    h->slots = p->slots;
    h->threads = p->threads;
    h->slabs = p->slabs;
    h->concurrency = p->concurrency;
    h->queue_limit = p->queue_limit;
    h->depth = p->depth;
    /* A slab has at most one REQUEST entry that is not stale per ring, one NOTIFY and one FINAL: these never fill.
     * Stale REQUEST entries (recalled or stolen) count against depth until the worker walks over them. */
    uint32_t req_cap = efio_pow2_at_least(p->depth < 2 ? 2 : p->depth);
    uint32_t most = p->concurrency * p->threads < p->slabs ? p->concurrency * p->threads : p->slabs;
    uint32_t resp_cap = efio_pow2_at_least(most * 2 < 64 ? 64 : most * 2);
    uint32_t ctl_cap = efio_pow2_at_least(most < 64 ? 64 : most);
    h->ring_cap = resp_cap;
    h->req_ring_bytes = (uint32_t)efio_ring_bytes(req_cap);
    h->resp_ring_bytes = (uint32_t)efio_ring_bytes(resp_cap);
    h->ctl_ring_bytes = (uint32_t)efio_ring_bytes(ctl_cap);
    h->slab_stride = EV_SLAB_STRIDE;
    h->slots_off = round_up(sizeof *h, 4096);
    h->rings_off = round_up(h->slots_off + (uint64_t)p->slots * sizeof(ev_worker_slot), 4096);
    h->ring_pair_bytes = h->req_ring_bytes + h->resp_ring_bytes + (uint64_t)p->threads * h->ctl_ring_bytes;
    h->slabs_off = round_up(h->rings_off + (uint64_t)p->slots * p->io_threads * h->ring_pair_bytes, 4096);
    h->data_off = round_up(h->slabs_off + (uint64_t)p->io_threads * p->slabs * sizeof(ev_slab), 4096);
    h->bytes = round_up(h->data_off + (uint64_t)p->io_threads * p->slabs * h->slab_stride, 4096);
}

static uint32_t ring_cap_of(uint32_t bytes)
{
    /* the largest power of two that fits: inverse of efio_ring_bytes */
    uint32_t cap = 2;
    while (efio_ring_bytes(cap * 2) <= bytes) cap *= 2;
    return cap;
}

void ev_pair_init(const ev_segment *s, uint32_t w, uint32_t io)
{
    efio_ring_init(ev_req_ring(s, w, io), ring_cap_of(s->hdr->req_ring_bytes));
    efio_ring_init(ev_resp_ring(s, w, io), ring_cap_of(s->hdr->resp_ring_bytes));
    for (uint32_t t = 0; t < s->hdr->threads; t++)
        efio_ring_init(ev_ctl_ring(s, w, io, t), ring_cap_of(s->hdr->ctl_ring_bytes));
}

static void view(ev_segment *s)
{
    s->base = s->mapping.base;
    s->hdr = (ev_header *)s->mapping.base;
    s->fd = s->mapping.fd;
}

int ev_segment_create(ev_segment *s, const ev_shape *shape, const char *name)
{
    if (!shape_is_valid(shape)) return -EINVAL;
    ev_header plan;
    memset(&plan, 0, sizeof plan);
    place(&plan, shape);
    if (name) {
        int r = efio_segment_create(&s->mapping, name, plan.bytes);
        if (r < 0) return r;
    } else {
        void *p = mmap(NULL, plan.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) return -errno;
        s->mapping = (efio_segment){.base = p, .bytes = plan.bytes, .fd = -1};
    }
    view(s);
    place(s->hdr, shape);
    s->hdr->access_log_fd = -1;
    atomic_store(&s->hdr->next_id, 1);
    for (uint32_t io = 0; io < EV_MAX_IO; io++) s->hdr->io_wake[io].fd = -1;
    for (uint32_t w = 0; w < shape->slots; w++) {
        ev_worker_slot *slot = ev_worker_at(s, w);
        for (uint32_t io = 0; io < EV_MAX_IO; io++) slot->fd_worker[io] = slot->fd_gateway[io] = -1;
        for (uint32_t t = 0; t < EV_MAX_THREADS; t++) slot->thread[t].wake.fd = -1;
        for (uint32_t io = 0; io < shape->io_threads; io++) ev_pair_init(s, w, io);
    }
    /* descriptors are zero pages: cookie 0 is generation 0, FREE */
    s->hdr->magic = EV_MAGIC;
    return 0;
}

int ev_segment_attach(ev_segment *s, int fd)
{
    int r = efio_segment_attach(&s->mapping, fd);
    if (r < 0) return r;
    view(s);
    if (s->mapping.bytes < sizeof(ev_header) || s->hdr->magic != EV_MAGIC || s->hdr->bytes > s->mapping.bytes ||
        s->hdr->slab_stride != EV_SLAB_STRIDE) {
        ev_segment_unmap(s);
        return -EPROTO;
    }
    return 0;
}

void ev_segment_unmap(ev_segment *s)
{
    if (s->base) efio_segment_unmap(&s->mapping);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}
