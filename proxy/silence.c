#include "lib/registry.h"

#include "proxy.h"
#include "silence.h"

/* In a short term: how often the kernel is told. The last word holds until it would have been told again
 * before the lease runs out. */
enum { SILENCE_STEPS = 6, SILENCE_LEAST_MS = 50 };

static bool silence_is_elsewhere(const struct session *s)
{
    const struct account *a = s->account;
    return a->known && a->backend && strcmp(a->backend, s->at->name) != 0;
}

static bool is_to_be_kept(const struct session *s)
{
    const struct account *a = s->account;
    if (!session_is_live(s) || !s->backend || !s->reg.engaged)
        return false;
    return !a->known || a->state != ROUTE_FLIPPED || silence_is_elsewhere(s);
}

static uint64_t step_ms(const struct session *s)
{
    return s->proxy->conf->proxy.lease_ms / SILENCE_STEPS;
}

/* Bytes that are sent just before the next step have the same time from then on. */
static void silence_tell(struct session *s)
{
    uint64_t left = lease_left_ms(s->account->branch->lease, true), step = step_ms(s);
    uint64_t ms = left > step ? left - step : 0;
    stream_set_silence(s->backend, ms < SILENCE_LEAST_MS ? SILENCE_LEAST_MS : ms);
}

static void on_step(void *owner)
{
    silence_update(owner);
}

static void silence_begin(struct session *s)
{
    s->silence = timer_new(s->proxy->loop, on_step, s);
    silence_tell(s);
}

static void silence_end(struct session *s)
{
    timer_free(&s->silence);
    if (s->backend)
        stream_set_silence(s->backend, 0);
}

void silence_update(struct session *s)
{
    if (!is_to_be_kept(s)) {
        if (s->silence)
            silence_end(s);
        return;
    }
    if (!s->silence)
        silence_begin(s);
    else if (registration_is_leased(s))
        silence_tell(s);
    timer_start(s->silence, step_ms(s));
}

void silence_close(struct session *s)
{
    bool given_up = s->silence && (!registration_is_leased(s) || silence_is_elsewhere(s));
    timer_free(&s->silence);
    if (given_up)
        stream_reset(&s->backend);
    else
        stream_close(&s->backend, false);
}
