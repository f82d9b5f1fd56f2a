#include <stdlib.h>

#include "outage.h"
#include "xalloc.h"

static struct outage_place *outage_find(const struct outage *o, const char *place)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->places[i].place, place) == 0)
            return (struct outage_place *)&o->places[i];
    return NULL;
}

static void outage_remove(struct outage *o, struct outage_place *p)
{
    size_t i = (size_t)(p - o->places);
    free(p->place);
    o->n--;
    memmove(&o->places[i], &o->places[i + 1], (o->n - i) * sizeof o->places[0]);
}

static void outage_tell(const struct outage *o, enum outage_event ev, const char *place, const char *detail)
{
    if (o->fn)
        o->fn(o->owner, ev, place, detail);
}

void outage_forget_all(struct outage *o)
{
    while (o->n > 0)
        outage_remove(o, &o->places[o->n - 1]);
    o->failed = 0;
    o->open = false;
}

bool outage_is_dead(const struct outage *o, const char *place)
{
    const struct outage_place *p = outage_find(o, place);
    return p && !p->doubted;
}

/* Doubled with each failure. */
static uint64_t outage_delay_ms(const struct outage *o, const struct outage_place *p)
{
    uint64_t most = o->open ? OUTAGE_OPEN_MS : OUTAGE_LAST_MS, ms = OUTAGE_FIRST_MS;
    for (unsigned i = 1; i < p->failures && ms < most; i++)
        ms *= 2;
    return ms < most ? ms : most;
}

static struct outage_place *outage_add(struct outage *o, const char *place, uint64_t now_ms)
{
    size_t oldest = 0;
    for (size_t i = 1; i < o->n; i++)
        if (o->places[i].since_ms < o->places[oldest].since_ms)
            oldest = i;
    if (o->n == OUTAGE_PLACES)
        outage_remove(o, &o->places[oldest]);
    o->places[o->n] = (struct outage_place){.place = xstrdup(place), .since_ms = now_ms};
    return &o->places[o->n++];
}

void outage_failed(struct outage *o, const char *place, const char *detail, uint64_t now_ms)
{
    struct outage_place *p = outage_find(o, place);
    bool news = !p || p->doubted;
    if (!news && !p->looked_at && now_ms < p->look_ms)
        return; /* it had been begun before that was known */
    if (!p)
        p = outage_add(o, place, now_ms);
    p->failures++;
    p->looked_at = p->doubted = false;
    p->look_ms = now_ms + outage_delay_ms(o, p);
    if (news)
        outage_tell(o, OUTAGE_DEAD, place, detail);
}

void outage_doubted(struct outage *o, const char *place, const char *detail, uint64_t now_ms)
{
    struct outage_place *p = outage_find(o, place);
    if (p && !p->doubted)
        outage_failed(o, place, detail, now_ms);
    if (p)
        return;
    p = outage_add(o, place, now_ms);
    p->doubted = true;
    p->look_ms = now_ms + OUTAGE_FIRST_MS;
    outage_tell(o, OUTAGE_DOUBTED, place, detail);
}

static void outage_close(struct outage *o)
{
    if (!o->open)
        return;
    o->open = false;
    outage_tell(o, OUTAGE_CLOSED, "", "");
}

void outage_answered(struct outage *o, const char *place)
{
    struct outage_place *p = outage_find(o, place);
    o->failed = 0;
    bool was_dead = p && !p->doubted;
    if (p)
        outage_remove(o, p);
    if (was_dead)
        outage_tell(o, OUTAGE_ALIVE, place, "");
    outage_close(o);
}

void outage_forget(struct outage *o, const char *place)
{
    struct outage_place *p = outage_find(o, place);
    if (p)
        outage_remove(o, p);
    if (o->n == 0)
        outage_close(o); /* no look would */
}

void outage_looked(struct outage *o, const char *place)
{
    struct outage_place *p = outage_find(o, place);
    if (p && p->looked_at)
        outage_forget(o, place);
}

void outage_all_failed(struct outage *o, const char *detail, uint64_t now_ms)
{
    if (!o->has_breaker || o->open || o->n == 0 || ++o->failed < OUTAGE_BREAKER)
        return;
    o->open = true;
    o->opened_ms = now_ms;
    for (size_t i = 0; i < o->n; i++) {
        o->places[i].failures = 1;
        if (o->places[i].look_ms > now_ms + OUTAGE_FIRST_MS)
            o->places[i].look_ms = now_ms + OUTAGE_FIRST_MS;
    }
    outage_tell(o, OUTAGE_OPENED, "", detail);
}

const char *outage_next_look(struct outage *o, uint64_t now_ms, uint64_t *wait_ms)
{
    *wait_ms = 0;
    for (size_t i = 0; i < o->n; i++) {
        struct outage_place *p = &o->places[i];
        if (p->looked_at)
            continue;
        if (p->look_ms <= now_ms) {
            p->looked_at = true;
            return p->place;
        }
        if (*wait_ms == 0 || p->look_ms - now_ms < *wait_ms)
            *wait_ms = p->look_ms - now_ms;
    }
    return NULL;
}
