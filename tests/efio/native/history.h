/* Is a recorded history of a container linearizable?
 *
 * Source: J. M. Wing, C. Gong, "Testing and verifying concurrent objects" (1993): search for an order of the operations
 * that respects real time (an operation that returned before another was called comes first) and that the container
 * could have gone through in one thread. Brute force; meant for a dozen operations. */
#ifndef TESTS_EFIO_HISTORY_H
#define TESTS_EFIO_HISTORY_H

#include <stdbool.h>

#include "tests/native/check.h"

#define HISTORY_MAX 24

typedef enum { QUEUE, STACK } discipline;

typedef struct {
    bool push, ok;
    uint64_t value;    /* pushed, or popped if ok */
    uint64_t from, to; /* clock at call and return */
    bool free;         /* a failure that the container's promise does not pin down */
} operation;

typedef struct {
    discipline kind;
    int capacity; /* 0: no limit */
    int n;
    operation op[HISTORY_MAX];
} history;

typedef struct {
    int n;
    uint64_t item[HISTORY_MAX];
} content;

static inline bool history_overlap(const operation *a, const operation *b)
{
    return a->from < b->to && b->from < a->to;
}

/* The ring's promise (ring.h): a pop may fail while a push is under way, a push while a pop is. */
static inline void history_excuse_ring(history *h)
{
    for (int i = 0; i < h->n; i++)
        for (int j = 0; j < h->n && !h->op[i].ok; j++)
            if (h->op[j].push != h->op[i].push && history_overlap(&h->op[i], &h->op[j])) h->op[i].free = true;
}

/* Whether the operation could have happened now; changes the content if so. */
static inline bool history_apply(const history *h, const operation *o, content *c)
{
    if (o->free) return true;
    if (o->push) {
        bool room = !h->capacity || c->n < h->capacity;
        if (o->ok != room) return false;
        if (room) c->item[c->n++] = o->value;
        return true;
    }
    if (o->ok != (c->n > 0)) return false;
    if (!o->ok) return true;
    uint64_t first = h->kind == QUEUE ? c->item[0] : c->item[c->n - 1];
    if (first != o->value) return false;
    c->n--;
    if (h->kind == QUEUE) memmove(c->item, c->item + 1, (size_t)c->n * sizeof *c->item);
    return true;
}

static inline bool history_search(const history *h, uint32_t done, const content *c)
{
    if (done == (1u << h->n) - 1) return true;
    uint64_t first_return = UINT64_MAX;
    for (int i = 0; i < h->n; i++)
        if (!(done >> i & 1) && h->op[i].to < first_return) first_return = h->op[i].to;
    for (int i = 0; i < h->n; i++) {
        if (done >> i & 1 || h->op[i].from > first_return) continue;
        content after = *c;
        if (history_apply(h, &h->op[i], &after) && history_search(h, done | 1u << i, &after)) return true;
    }
    return false;
}

static inline bool history_is_linearizable(const history *h)
{
    content empty = {0};
    return history_search(h, 0, &empty);
}

static inline void history_print(const history *h)
{
    for (int i = 0; i < h->n; i++) {
        const operation *o = &h->op[i];
        fprintf(stderr, "  [%llu, %llu] %s %llu: %s%s\n", (unsigned long long)o->from, (unsigned long long)o->to,
                o->push ? "push" : "pop", (unsigned long long)o->value, o->ok ? "yes" : "no", o->free ? " (free)" : "");
    }
}

#endif
