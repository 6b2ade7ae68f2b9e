/* Which limit a path has (evpy/native/bodylimits.h). */
#include "evpy/native/bodylimits.h"
#include "tests/native/check.h"

static uint64_t of(const ev_body_limits *l, const char *path)
{
    return ev_body_limit_of(l, (const uint8_t *)path, strlen(path));
}

static void add(ev_body_table *t, const char *path, uint64_t bytes)
{
    MUST(ev_body_limits_add(t, path, strlen(path), bytes));
}

static void test_the_longest_path_that_applies(void)
{
    static ev_body_limits l;
    ev_body_table *t = ev_body_limits_draft(&l, 16);
    add(t, "/up", 1000);
    add(t, "/up/big", 0);
    add(t, "/dir/", 3);
    CHECK(of(&l, "/up") == 0, "a draft does not count");
    ev_body_limits_publish(&l);
    static const struct {
        const char *path;
        uint64_t bytes;
    } rows[] = {
        {"/", 16},          {"", 16},         {"*", 16},     {"/up", 1000},        {"/up/", 1000},
        {"/up/x", 1000},    {"/upper", 16},   {"/u", 16},    {"/up/big", 0},       {"/up/big/x", 0},
        {"/dir", 16},       {"/dir/", 3},     {"/dir/x", 3}, {"/up/bigger", 1000}, {"/%75p", 1000},
        {"/u%70/%62ig", 0}, {"/up%2Fbig", 0}, {"/up%", 16},  {"/up%7", 16},        {"/%zzup", 16},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        CHECK(of(&l, rows[k].path) == rows[k].bytes, "%s: %lu", rows[k].path, (unsigned long)of(&l, rows[k].path));
}

static void test_a_new_table_replaces_the_old_one(void)
{
    static ev_body_limits l;
    add(ev_body_limits_draft(&l, 1), "/a", 2);
    ev_body_limits_publish(&l);
    add(ev_body_limits_draft(&l, 3), "/b", 4);
    CHECK(of(&l, "/a") == 2 && of(&l, "/b") == 1, "a draft does not count");
    ev_body_limits_publish(&l);
    CHECK(of(&l, "/a") == 3 && of(&l, "/b") == 4, "and then it does");
}

static void test_room(void)
{
    static ev_body_limits l;
    ev_body_table *t = ev_body_limits_draft(&l, 1);
    char path[EV_BODY_LIMIT_PATH + 1];
    memset(path, '/', sizeof path);
    CHECK(!ev_body_limits_add(t, path, sizeof path, 1), "too long");
    for (int k = 0; k < EV_MAX_BODY_LIMITS; k++) CHECK(ev_body_limits_add(t, path, sizeof path - 1, 1), "%d fits", k);
    CHECK(!ev_body_limits_add(t, "/", 1, 1), "no room");
}

int main(void)
{
    test_the_longest_path_that_applies();
    test_a_new_table_replaces_the_old_one();
    test_room();
    return failures > 0;
}
