/* What the requests of a kind have cost (evpy/native/costs.h). */
#include "evpy/gateway/http1.h"
#include "evpy/native/costs.h"
#include "tests/native/check.h"

#define LEAST 2000u /* microseconds */

static uint32_t kind(const char *path)
{
    return ev_cost_kind(EV_GET, (const uint8_t *)path, strlen(path));
}

static void test_what_is_one_kind(void)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"/users/1", "/users/2345", true},
        {"/users/1/x", "/users/77/x", true},
        {"/v1/a", "/v2/a", true},
        {"/users/1", "/users/one", false},
        {"/users/1/x", "/users/1/y", false},
        {"/users", "/users/", false},
        {"/a/b", "/ab", false},
        {"/a/b", "/b/a", false},
        {"/", "", false},
        {"/users/1a2b-3c", "/users/9f0e", true},
        {"/1", "/1/1", false},
        {"/x#", "/x7", false},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        CHECK((kind(rows[k].a) == kind(rows[k].b)) == rows[k].same, "%s and %s", rows[k].a, rows[k].b);
    CHECK(ev_cost_kind(EV_GET, (const uint8_t *)"/a", 2) != ev_cost_kind(EV_POST, (const uint8_t *)"/a", 2), "methods");
}

static void test_only_what_burns_cpu_is_costly(void)
{
    static ev_costs t;
    uint32_t fast = kind("/fast"), waits = kind("/waits"), burns = kind("/burns");
    ev_cost_learn(&t, fast, LEAST, LEAST - 1, EV_UNMEASURED);
    CHECK(!ev_cost_is_suspect(&t, fast, LEAST), "fast");
    ev_cost_learn(&t, waits, LEAST, 20000, EV_UNMEASURED);
    CHECK(ev_cost_is_suspect(&t, waits, LEAST) && !ev_cost_of(&t, waits, LEAST), "suspect, nothing is proven");
    ev_cost_learn(&t, waits, LEAST, 20000, 100);
    CHECK(!ev_cost_of(&t, waits, LEAST), "it only waits");
    ev_cost_learn(&t, burns, LEAST, 30000, EV_UNMEASURED);
    ev_cost_learn(&t, burns, LEAST, 30000, 20000);
    CHECK(ev_cost_of(&t, burns, LEAST) == 20000, "%u", ev_cost_of(&t, burns, LEAST));
    CHECK(!ev_cost_of(&t, burns, 20001), "cheap by another measure");
    for (int k = 0; k < 20 && ev_cost_of(&t, burns, LEAST); k++) ev_cost_learn(&t, burns, LEAST, 100, 100);
    CHECK(!ev_cost_of(&t, burns, LEAST), "no longer");
    ev_cost_learn(&t, burns, LEAST, 30000, 20000);
    ev_cost_learn(&t, burns, LEAST, 30000, 20000);
    CHECK(ev_cost_of(&t, burns, LEAST), "again");
}

static void test_one_dear_request_among_many_is_forgotten(void)
{
    static ev_costs t;
    uint32_t mixed = kind("/mixed");
    ev_cost_learn(&t, mixed, LEAST, 9000, EV_UNMEASURED);
    for (int k = 0; k < 20; k++)
        ev_cost_learn(&t, mixed, LEAST, 200, ev_cost_is_suspect(&t, mixed, LEAST) ? 200 : EV_UNMEASURED);
    CHECK(!ev_cost_is_suspect(&t, mixed, LEAST) && !ev_cost_of(&t, mixed, LEAST), "fast, as a rule");
}

static void test_two_kinds_in_one_place(void)
{
    static ev_costs t;
    uint32_t a = 0x00010005u, b = 0x00070005u;
    ev_cost_learn(&t, a, LEAST, 8000, EV_UNMEASURED);
    ev_cost_learn(&t, a, LEAST, 8000, 8000);
    CHECK(!ev_cost_of(&t, b, LEAST) && !ev_cost_is_suspect(&t, b, LEAST), "not the other's");
    ev_cost_learn(&t, b, LEAST, 50, EV_UNMEASURED);
    CHECK(ev_cost_of(&t, a, LEAST) == 8000, "a fast one needs no place");
    ev_cost_learn(&t, b, LEAST, 5000, EV_UNMEASURED);
    CHECK(!ev_cost_of(&t, a, LEAST) && ev_cost_is_suspect(&t, b, LEAST), "the later one has it");
}

static void test_the_longest_times(void)
{
    static ev_costs t;
    uint32_t hour = kind("/hour"), least = 1;
    for (int k = 0; k < 3; k++) ev_cost_learn(&t, hour, least, 3600000000ull, 3600000000ull);
    CHECK(ev_cost_of(&t, hour, least) == 0xffffff, "%u", ev_cost_of(&t, hour, least));
    CHECK(!ev_cost_of(&t, kind("/other"), least), "within its own place");
}

int main(void)
{
    test_what_is_one_kind();
    test_only_what_burns_cpu_is_costly();
    test_one_dear_request_among_many_is_forgotten();
    test_two_kinds_in_one_place();
    test_the_longest_times();
    return failures > 0;
}
