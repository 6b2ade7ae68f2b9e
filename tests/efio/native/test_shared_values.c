/* The map and the arena between processes: what they hold, readers beside a writer, and writers killed after each
 * instruction: an entry is as it was or as it was to be, and the next writer can go on. */
#define _GNU_SOURCE
#include "efio/native/shared_values.h"

#include <errno.h>
#include <pthread.h>

#include "crew.h"
#include "step.h"

enum { ENTRIES = 16, KEY = 12, VALUE = 20 };
static efio_map *map;

static void fresh(efio_map_handle *h)
{
    uint64_t bytes = efio_map_bytes(ENTRIES, KEY, VALUE);
    memset(map, 0, bytes);
    efio_peers_init(&map->peers, bytes);
    map->peers.shape[0] = ENTRIES;
    map->peers.shape[1] = KEY;
    map->peers.shape[2] = VALUE;
    efio_peers_publish(&map->peers, EFIO_MAP_KIND);
    int r = efio_map_open(h, map, bytes);
    REQUIRE(r == 0, "open: %s", strerror(-r));
}

static int set(efio_map_handle *h, const char *key, const char *value)
{
    efio_map_lock(h);
    int r = efio_map_set(h, key, (uint32_t)strlen(key), value, (uint32_t)strlen(value), 7);
    efio_map_unlock(h);
    return r;
}

static int drop(efio_map_handle *h, const char *key)
{
    efio_map_lock(h);
    int r = efio_map_remove(h, key, (uint32_t)strlen(key));
    efio_map_unlock(h);
    return r;
}

static bool is(efio_map_handle *h, const char *key, const char *value)
{
    uint8_t to[VALUE];
    uint32_t tag;
    int64_t n = efio_map_get(h, key, (uint32_t)strlen(key), to, &tag);
    if (!value) return n == -ENOENT;
    return n == (int64_t)strlen(value) && memcmp(to, value, (size_t)n) == 0 && tag == 7;
}

static void test_entries(void)
{
    efio_map_handle h;
    fresh(&h);
    CHECK(is(&h, "a", NULL), "nothing yet");
    CHECK(set(&h, "a", "1") == 0 && is(&h, "a", "1"), "new");
    CHECK(set(&h, "a", "twenty bytes of text") == 1 && is(&h, "a", "twenty bytes of text"), "replaced");
    CHECK(set(&h, "", "empty key") == 0 && is(&h, "", "empty key"), "an empty key");
    CHECK(set(&h, "e", "") == 0 && is(&h, "e", ""), "an empty value");
    CHECK(drop(&h, "a") == 1 && drop(&h, "a") == 0 && is(&h, "a", NULL), "removed");
    CHECK(map->count == 2, "%lu are left", (unsigned long)map->count);
}

/* Against an array that does the same, and full now and then. */
static void test_random_use(void)
{
    efio_map_handle h;
    enum { KEYS = 24 };
    char key[8], value[8], model[KEYS][8] = {{0}};
    uint64_t seed = 3;
    uint32_t there = 0, full = 0;
    fresh(&h);
    for (int step = 0; step < 200000; step++) {
        uint32_t k = (uint32_t)random_below(&seed, KEYS);
        snprintf(key, sizeof key, "key%u", k);
        if (random_below(&seed, 2)) {
            snprintf(value, sizeof value, "%d", step % 1000);
            int r = set(&h, key, value);
            if (r == -ENOSPC) {
                CHECK(there == ENTRIES && !model[k][0], "no room with %u entries", there);
                full++;
            } else {
                CHECK(r == (model[k][0] != 0), "set says %d", r);
                there += !model[k][0];
                strcpy(model[k], value);
            }
        } else {
            CHECK(drop(&h, key) == (model[k][0] != 0), "remove");
            there -= model[k][0] != 0;
            model[k][0] = 0;
        }
        uint32_t other = (uint32_t)random_below(&seed, KEYS);
        snprintf(key, sizeof key, "key%u", other);
        CHECK(is(&h, key, model[other][0] ? model[other] : NULL), "%s at step %d", key, step);
        CHECK(map->count == there, "%lu instead of %u", (unsigned long)map->count, there);
    }
    CHECK(full > 100, "it was full %u times", full);
    for (int k = 0; k < KEYS; k++) {
        snprintf(key, sizeof key, "key%d", k);
        drop(&h, key);
    }
    CHECK(map->count == 0, "empty");
    CHECK(set(&h, "new", "x") == 0, "room again");
}

/* --- readers beside writers */

static _Atomic bool stop;

static void *write_pairs(void *arg)
{
    efio_map_handle *h = arg;
    char text[VALUE];
    for (uint32_t n = 0; !atomic_load(&stop); n = (n + 1) % 1000) {
        uint32_t len = 8 + n % 12;
        memset(text, 'a' + n % 26, len);
        efio_map_lock(h);
        efio_map_set(h, "pair", 4, text, len, n % 26);
        if (n % 7 == 0) efio_map_remove(h, "pair", 4);
        efio_map_unlock(h);
    }
    return NULL;
}

static void test_readers_see_whole_values(void)
{
    efio_map_handle h;
    pthread_t writer[2];
    uint8_t to[VALUE];
    uint32_t tag, found = 0;
    fresh(&h);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++) pthread_create(&writer[i], NULL, write_pairs, &h);
    for (uint32_t k = 0; k < 400000 || (found < 1000 && k < 100000000); k++) {
        int64_t n = efio_map_get(&h, "pair", 4, to, &tag);
        if (n == -ENOENT) continue;
        found++;
        CHECK(n >= 8 && n < VALUE, "a length of %ld", (long)n);
        for (int64_t i = 0; i < n; i++) CHECK(to[i] == 'a' + tag, "a torn value");
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) pthread_join(writer[i], NULL);
    CHECK(found > 0, "nothing was found");
}

/* --- killed after each instruction */

static efio_map_handle *child_handle;

static void write_two(void *unused)
{
    child_handle->self = efio_ident_self();
    STEP_BREAK();
    set(child_handle, "old", "changed");
    set(child_handle, "new", "added");
    drop(child_handle, "gone");
}

static uint32_t broken;

static bool writer_at(long k)
{
    efio_map_handle h;
    fresh(&h);
    set(&h, "old", "as it was");
    set(&h, "gone", "soon");
    *child_handle = h;
    stepper child = step_start(write_two, NULL);
    REQUIRE(ptrace(PTRACE_CONT, child.pid, NULL, NULL) == 0, "continue: %s", strerror(errno));
    step_wait(&child, true);
    bool under_way = step_on(&child, k);
    CHECK(is(&h, "old", "as it was") || is(&h, "old", "changed"), "readers need nobody, stopped at %ld", k);
    step_kill(&child);
    broken += map->writer != 0;
    bool changed = is(&h, "old", "changed"), added = is(&h, "new", "added"), gone = is(&h, "gone", NULL);
    CHECK(changed || is(&h, "old", "as it was"), "half an entry, killed at %ld", k);
    CHECK(added || is(&h, "new", NULL), "half an entry, killed at %ld", k);
    CHECK(gone || is(&h, "gone", "soon"), "half an entry, killed at %ld", k);
    CHECK(changed >= added && added >= gone, "in order");
    CHECK(set(&h, "next", "goes on") == 0 && is(&h, "next", "goes on"), "the next writer, killed at %ld", k);
    CHECK(map->count == 3u + added - gone, "%lu entries, killed at %ld", (unsigned long)map->count, k);
    return under_way;
}

static void test_arena(void)
{
    static struct {
        efio_arena a;
        uint8_t bytes[1000];
    } memory;
    memory.a.peers.shape[0] = 1000;
    CHECK(efio_arena_take(&memory.a, 10, 8) == 0, "from the beginning");
    CHECK(efio_arena_take(&memory.a, 1, 64) == 64, "aligned");
    CHECK(efio_arena_take(&memory.a, 936, 1) == UINT64_MAX, "more than there is");
    CHECK(efio_arena_take(&memory.a, 935, 1) == 65, "all there is");
    CHECK(efio_arena_take(&memory.a, 1, 1) == UINT64_MAX, "no more");
    CHECK(efio_arena_take(&memory.a, 0, 1) == 1000, "nothing is always there");
}

int main(void)
{
    map = step_shared(efio_map_bytes(ENTRIES, KEY, VALUE));
    child_handle = step_shared(sizeof *child_handle);
    test_arena();
    test_entries();
    test_random_use();
    test_readers_see_whole_values();
    if (!SANITIZER && step_possible()) {
        long k = 0;
        while (writer_at(k)) REQUIRE(++k < 20000, "the operation does not end");
        REQUIRE(k > 50 && broken > 10, "%ld instructions, %u locks broken", k, broken);
        printf("stepped: %ld instructions, %u locks of the dead\n", k, broken);
    }
    return failures > 0;
}
