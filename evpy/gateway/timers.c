/* Hashed timing wheel (Varghese and Lauck, 1987, scheme 6): one entry per connection, 512 slots of 50 ms.
 *
 * A deadline that moves later costs nothing: the entry stays and is put forward when its slot comes round. A deadline
 * beyond the wheel (25.6 s) waits in the farthest slot. A bitmap tells the next slot in use, so an idle server sleeps.
 */
#include "engine.h"

static void unlink_timer(ev_engine *e, ev_conn *c)
{
    if (c->wheel == UINT16_MAX) return;
    if (c->prev)
        c->prev->next = c->next;
    else
        e->wheel[c->wheel] = c->next;
    if (c->next) c->next->prev = c->prev;
    if (!e->wheel[c->wheel]) e->wheel_bits[c->wheel / 64] &= ~(1ull << (c->wheel % 64));
    c->prev = c->next = NULL;
    c->wheel = UINT16_MAX;
}

static void link_timer(ev_engine *e, ev_conn *c)
{
    uint64_t tick = c->deadline_ns / EV_TICK_NS + 1; /* the slot after: never early */
    if (tick <= e->wheel_tick) tick = e->wheel_tick + 1;
    if (tick > e->wheel_tick + EV_WHEEL - 1) tick = e->wheel_tick + EV_WHEEL - 1;
    uint16_t slot = (uint16_t)(tick % EV_WHEEL);
    c->wheel = slot;
    c->prev = NULL;
    c->next = e->wheel[slot];
    if (c->next) c->next->prev = c;
    e->wheel[slot] = c;
    e->wheel_bits[slot / 64] |= 1ull << (slot % 64);
}

void ev_timer_set(ev_engine *e, ev_conn *c, uint64_t deadline_ns)
{
    uint64_t before = c->deadline_ns;
    c->deadline_ns = deadline_ns;
    if (c->wheel != UINT16_MAX) {
        if (deadline_ns >= before) return; /* its slot comes earlier and will put it forward */
        unlink_timer(e, c);
    }
    link_timer(e, c);
}

void ev_timer_clear(ev_engine *e, ev_conn *c)
{
    unlink_timer(e, c);
    c->deadline_ns = 0;
}

void ev_timers_run(ev_engine *e)
{
    uint64_t tick = e->now_ns / EV_TICK_NS;
    if (tick > e->wheel_tick + EV_WHEEL) e->wheel_tick = tick - EV_WHEEL; /* stopped for long: one round sees all */
    while (e->wheel_tick < tick) {
        e->wheel_tick++;
        uint16_t slot = (uint16_t)(e->wheel_tick % EV_WHEEL);
        ev_conn *c;
        while ((c = e->wheel[slot])) { /* ends: link_timer never links into the current slot */
            unlink_timer(e, c);
            if (c->deadline_ns > e->now_ns)
                link_timer(e, c);
            else
                ev_conn_timeout(e, c);
        }
    }
}

uint64_t ev_timers_next(ev_engine *e)
{
    uint32_t start = (uint32_t)((e->wheel_tick + 1) % EV_WHEEL);
    for (uint32_t i = 0; i <= EV_WHEEL / 64; i++) {
        uint32_t word = (start / 64 + i) % (EV_WHEEL / 64);
        uint64_t bits = e->wheel_bits[word];
        if (i == 0) bits &= ~0ull << (start % 64);
        if (i == EV_WHEEL / 64) bits &= ~(~0ull << (start % 64));
        if (!bits) continue;
        uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
        uint32_t ahead = (slot + EV_WHEEL - start) % EV_WHEEL + 1;
        return (e->wheel_tick + ahead) * EV_TICK_NS;
    }
    return UINT64_MAX;
}
