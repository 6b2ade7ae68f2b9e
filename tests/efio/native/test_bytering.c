/* The byte ring: spans, wrap-around, counters that cross 2^32; a stream of random pieces arrives whole. */
#include "crew.h"
#include "twin.h"

static void test_spans(uint64_t first)
{
    enum { CAPACITY = 10 };
    efio_bytering b;
    uint8_t bytes[CAPACITY];
    uint32_t n, wrapped, start = (uint32_t)(first % CAPACITY);
    atomic_store(&b.head, first);
    atomic_store(&b.tail, first);
    CHECK(efio_bytering_used(&b) == 0 && efio_bytering_free(&b, CAPACITY) == CAPACITY, "empty");
    efio_bytering_read_span(&b, bytes, CAPACITY, &n);
    CHECK(n == 0, "nothing to read: %u", n);
    CHECK(efio_bytering_write_span(&b, bytes, CAPACITY, &n) == bytes + start, "starts at %u", start);
    CHECK(n == CAPACITY - start, "up to the end: %u", n);
    efio_bytering_wrote(&b, n);
    CHECK(efio_bytering_used(&b) == CAPACITY - start, "used");
    CHECK(efio_bytering_read_span(&b, bytes, CAPACITY, &n) == bytes + start && n == CAPACITY - start, "read: %u", n);
    uint8_t *at = efio_bytering_write_span(&b, bytes, CAPACITY, &n);
    CHECK(n == start && (n == 0 || at == bytes), "the rest from the beginning: %u", n);
    efio_bytering_wrote(&b, n);
    CHECK(efio_bytering_used(&b) == CAPACITY && efio_bytering_free(&b, CAPACITY) == 0, "full");
    efio_bytering_write_span(&b, bytes, CAPACITY, &n);
    CHECK(n == 0, "no room: %u", n);
    CHECK(efio_bytering_read_spans(&b, bytes, CAPACITY, &n, &wrapped) == bytes + start, "both spans");
    CHECK(n == CAPACITY - start && wrapped == start, "both spans: %u %u", n, wrapped);
    efio_bytering_read(&b, CAPACITY - start);
    efio_bytering_read_span(&b, bytes, CAPACITY, &n);
    CHECK(n == start, "the wrapped part: %u", n);
    efio_bytering_read(&b, n);
    CHECK(efio_bytering_used(&b) == 0, "empty again");
    efio_bytering_reset(&b);
    CHECK(efio_bytering_used(&b) == 0 && atomic_load(&b.head) == 0, "reset");
}

/* An onlooker may see counters that do not belong together. */
static void test_free_is_never_more_than_there_is(void)
{
    efio_bytering b;
    atomic_store(&b.tail, 0);
    atomic_store(&b.head, 11);
    CHECK(efio_bytering_free(&b, 10) == 0, "head far ahead of an old tail");
    atomic_store(&b.tail, 12);
    CHECK(efio_bytering_free(&b, 10) == 0, "tail ahead of an old head");
}

static void test_against_twin(uint32_t capacity, uint64_t first, uint64_t seed)
{
    void *ring[2];
    uint8_t in[64], out[2][64];
    for (int i = 0; i < 2; i++) ring[i] = bytering_kinds[i].make(capacity, first);
    for (int n = 0; n < 2000; n++) {
        bool put = random_below(&seed, 2);
        uint32_t want = (uint32_t)random_below(&seed, sizeof in), got[2];
        for (uint32_t k = 0; k < want; k++) in[k] = (uint8_t)random_next(&seed);
        for (int i = 0; i < 2; i++)
            got[i] = put ? bytering_kinds[i].put(ring[i], in, want) : bytering_kinds[i].get(ring[i], out[i], want);
        CHECK(got[0] == got[1] && (put || memcmp(out[0], out[1], got[0]) == 0), "operation %d: %u %u", n, got[0],
              got[1]);
        CHECK(bytering_kinds[0].used(ring[0]) == bytering_kinds[1].used(ring[1]), "used after %d", n);
    }
    for (int i = 0; i < 2; i++) free(ring[i]);
}

/* One thread writes, one reads, in pieces of random size. Byte n of the stream is a function of n. */
typedef struct {
    const bytering_kind *kind;
    void *ring;
    uint64_t total;
    uint32_t piece;
} stream;

static uint8_t byte_at(uint64_t n)
{
    return (uint8_t)((n * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void stream_work(int who, void *p)
{
    stream *s = p;
    uint8_t buffer[4096];
    uint64_t seed = (uint64_t)who, at = 0;
    while (at < s->total) {
        uint32_t want = 1 + (uint32_t)random_below(&seed, s->piece), n;
        if (want > s->total - at) want = (uint32_t)(s->total - at);
        if (who == 0) {
            for (uint32_t k = 0; k < want; k++) buffer[k] = byte_at(at + k);
            n = s->kind->put(s->ring, buffer, want);
        } else {
            n = s->kind->get(s->ring, buffer, want);
            for (uint32_t k = 0; k < n; k++)
                CHECK(buffer[k] == byte_at(at + k), "%s: byte %llu", s->kind->name, (unsigned long long)(at + k));
        }
        at += n;
        if (!n) sched_yield();
    }
}

static void test_stream(const bytering_kind *k, uint32_t capacity, uint64_t first, uint32_t piece, uint64_t total)
{
    stream s = {.kind = k, .ring = k->make(capacity, first), .piece = piece, .total = ROUNDS(total)};
    crew_run(2, stream_work, &s);
    CHECK(k->used(s.ring) == 0, "%s: empty at last", k->name);
    free(s.ring);
}

/* The same with a reader who takes both spans at once, while the writer appends to the first one. */
static void spans_work(int who, void *p)
{
    stream *s = p;
    if (who == 0) {
        stream_work(0, p);
        return;
    }
    lockfree_bytes *b = s->ring;
    for (uint64_t at = 0; at < s->total;) {
        uint32_t n[2];
        uint8_t *from = efio_bytering_read_spans(&b->ring, b->bytes, b->capacity, &n[0], &n[1]);
        for (int i = 0; i < 2; from = b->bytes, i++)
            for (uint32_t k = 0; k < n[i]; k++, at++)
                CHECK(from[k] == byte_at(at), "span %d: byte %llu", i, (unsigned long long)at);
        efio_bytering_read(&b->ring, n[0] + n[1]);
        if (!n[0]) sched_yield();
    }
}

static void test_stream_in_spans(uint32_t capacity, uint64_t first, uint32_t piece, uint64_t total)
{
    stream s = {.kind = &bytering_kinds[0], .piece = piece, .total = ROUNDS(total)};
    s.ring = s.kind->make(capacity, first);
    crew_run(2, spans_work, &s);
    CHECK(s.kind->used(s.ring) == 0, "empty at last");
    free(s.ring);
}

int main(void)
{
    for (uint64_t first = 0; first < 12; first++) {
        test_spans(first);
        test_spans(UINT32_MAX - 5 + first);
    }
    test_free_is_never_more_than_there_is();
    static const uint32_t capacities[] = {1, 2, 7, 64, 1000};
    for (uint64_t seed = 0; seed < 10; seed++) {
        test_against_twin(capacities[seed % 5], 0, seed);
        test_against_twin(capacities[seed % 5], UINT32_MAX - 500, seed);
    }
    test_stream_in_spans(7, UINT32_MAX - 1000, 20, 300000);
    test_stream_in_spans(1000, 0, 20, 2000000);
    for (int k = 0; k < 2; k++) {
        test_stream(&bytering_kinds[k], 1, 0, 3, 20000);
        test_stream(&bytering_kinds[k], 7, UINT32_MAX - 1000, 20, 300000);
        test_stream(&bytering_kinds[k], 262144, UINT32_MAX - 100000, 4096, 20000000);
    }
    return failures > 0;
}
