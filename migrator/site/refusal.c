#include "lib/fnv.h"

#include "refusal.h"

/* Names are only told apart. */
static uint64_t hash_of(const char *user)
{
    return fnv(FNV_BEGIN, span_str(user));
}

static bool begin_rest(struct refusal *r, enum refusal_kind kind, uint64_t now_ms)
{
    bool news = r->kind != kind;

    if (r->kind == REFUSAL_NONE) {
        r->delay_ms = REFUSAL_TRY_MIN_MS;
        r->next_ms = now_ms + r->delay_ms;
    }
    r->kind = kind;
    return news;
}

static bool end_rest(struct refusal *r)
{
    bool news = r->kind != REFUSAL_NONE;

    r->kind = REFUSAL_NONE;
    return news;
}

bool refusal_past_tls(struct refusal *r)
{
    r->n_tls = 0;
    return r->kind == REFUSAL_TLS && end_rest(r);
}

static bool note_tls(struct refusal *r, uint64_t now_ms)
{
    if (r->n_tls < REFUSAL_ROW)
        r->n_tls++;
    return r->n_tls == REFUSAL_ROW && begin_rest(r, REFUSAL_TLS, now_ms);
}

static bool note_master(struct refusal *r, const char *user, uint64_t now_ms)
{
    uint64_t h = hash_of(user);

    for (unsigned i = 0; i < r->n_users; i++)
        if (r->users[i] == h)
            return false;
    if (r->n_users + 1 == REFUSAL_ROW)
        return begin_rest(r, REFUSAL_MASTER, now_ms);
    r->users[r->n_users++] = h;
    return false;
}

bool refusal_note(struct refusal *r, enum refusal_kind what, bool as_master, const char *user,
                  uint64_t now_ms)
{
    bool news;

    switch (what) {
    case REFUSAL_TLS:
        return note_tls(r, now_ms);
    case REFUSAL_MASTER:
        news = refusal_past_tls(r);
        return note_master(r, user, now_ms) || news;
    case REFUSAL_SAME: /* is told by refusal_pair() */
    case REFUSAL_NONE:
        break;
    }
    news = refusal_past_tls(r);
    if (!as_master)
        return news;
    r->n_users = 0;
    return (r->kind == REFUSAL_MASTER && end_rest(r)) || news;
}

bool refusal_pair(struct refusal *r, bool same, uint64_t now_ms)
{
    if (same)
        return begin_rest(r, REFUSAL_SAME, now_ms);
    return r->kind == REFUSAL_SAME && end_rest(r);
}

uint64_t refusal_wait_ms(const struct refusal *r, uint64_t now_ms)
{
    return r->kind != REFUSAL_NONE && r->next_ms > now_ms ? r->next_ms - now_ms : 0;
}

void refusal_try(struct refusal *r, uint64_t now_ms)
{
    if (r->kind == REFUSAL_NONE)
        return;
    r->next_ms = now_ms + r->delay_ms;
    r->delay_ms = r->delay_ms * 2 > REFUSAL_TRY_MAX_MS ? REFUSAL_TRY_MAX_MS : r->delay_ms * 2;
}

void refusal_again(struct refusal *r)
{
    r->next_ms = 0;
    r->delay_ms = REFUSAL_TRY_MIN_MS;
}
