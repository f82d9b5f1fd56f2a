#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/xalloc.h"

#include "holdup.h"

struct holdup {
    struct store *store;
    holdup_fn fn;
    void *owner;
    size_t pending;
    uint64_t now_ms;    /* of Redis */
    struct buf text;    /* what was found so far */
    struct buf resting; /* why those that live take nothing */
    size_t alive, takers;
    uint64_t heard_ms; /* the last word of any of them */
    bool down;
};

/* ---- what migrators tell */

/* In place: %XX, and "%" alone for nothing. */
static void holdup_decode(char *text)
{
    char *to = text;
    unsigned c;

    if (!strcmp(text, "%"))
        *text = '\0';
    for (const char *p = text; *p; p++) {
        if (*p == '%' && sscanf(p + 1, "%2x", &c) == 1 && p[2]) {
            *to++ = (char)c;
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
}

void told_parse(struct span value, struct told *_r)
{
    char *text = xspandup(value), *why;
    unsigned long long term = 0, told = 0;

    *_r = (struct told){.why = ""};
    sscanf(text, "%llu %llu %63s", &term, &told, _r->version);
    why = strrchr(text, ' ');
    for (size_t words = 0, i = 0; why && text[i]; i++)
        if (text[i] == ' ' && ++words == 3) {
            holdup_decode(why + 1);
            snprintf(_r->why, sizeof(_r->why), "%s", why + 1);
        }
    _r->term_ms = term;
    _r->told_ms = told;
    free(text);
}

bool told_is_silent(const struct told *t, uint64_t now_ms)
{
    return t->told_ms + t->term_ms < now_ms;
}

/* ---- putting it together */

static void holdup_add(struct holdup *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void holdup_add(struct holdup *h, const char *fmt, ...)
{
    va_list ap;

    if (h->text.len > 0)
        buf_add_str(&h->text, "; ");
    va_start(ap, fmt);
    buf_vprintf(&h->text, fmt, ap);
    va_end(ap);
}

static const char *holdup_time_text(uint64_t ms, char to[40])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(to, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return to;
}

static void holdup_judge(struct holdup *h)
{
    uint64_t quarantine = store_quarantine_ms(h->store);
    char at[40];

    if (quarantine > 0)
        holdup_add(
            h, "quarantine: Redis restarted or failed over; no account is begun or switched over until %s",
            holdup_time_text(h->now_ms + quarantine, at));
    if (h->alive == 0 && h->heard_ms > 0)
        holdup_add(h, "no migrator is alive; the last one was heard at %s",
                   holdup_time_text(h->heard_ms, at));
    else if (h->alive == 0)
        holdup_add(h, "no migrator is alive");
    else if (h->takers == 0)
        holdup_add(h, "no migrator takes work: %s", buf_str(&h->resting));
}

void holdup_cancel(struct holdup **hp)
{
    struct holdup *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    store_forget(h->store, h);
    buf_free(&h->text);
    buf_free(&h->resting);
    free(h);
}

static void holdup_answered(struct holdup *h, bool good)
{
    h->down = h->down || !good;
    if (--h->pending > 0)
        return;
    if (!h->down)
        holdup_judge(h);
    holdup_fn fn = h->fn;
    void *owner = h->owner;
    char *text = xstrdup(h->down ? "" : buf_str(&h->text));
    holdup_cancel(&h);
    fn(owner, text);
    free(text);
}

/* ---- asking */

static void holdup_on_control(void *owner, enum route_rc rc, const struct route_control *c)
{
    struct holdup *h = owner;
    char at[40];

    if (rc == ROUTE_OK && c->paused)
        holdup_add(h, "paused by %s since %s%s%s", c->by, holdup_time_text(c->since_ms, at),
                   *c->reason ? ": " : "", c->reason);
    holdup_answered(h, rc == ROUTE_OK);
}

static void holdup_on_durability(void *owner, enum durability d, const char *detail)
{
    struct holdup *h = owner;

    if (d == DURABILITY_UNSAFE && !store_conf(h->store)->redis.store_override)
        holdup_add(h, "Redis may forget what it is told, so nothing is migrated: %s", detail);
    holdup_answered(h, true);
}

static void holdup_on_try(void *owner, bool answered, const char *why)
{
    struct holdup *h = owner;

    if (why)
        holdup_add(h, "%s", why);
    holdup_answered(h, answered);
}

static void holdup_on_time(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct holdup *h = owner;

    h->now_ms = (uint64_t)reply_int(reply_at(r, 0)) * 1000 + (uint64_t)reply_int(reply_at(r, 1)) / 1000;
    holdup_answered(h, rc == REDIS_OK);
}

/* Asked behind the time. */
static void holdup_on_migrators(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct holdup *h = owner;

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(r); i += 2) {
        struct told t;
        told_parse(reply_str(reply_at(r, i + 1)), &t);
        h->heard_ms = t.told_ms > h->heard_ms ? t.told_ms : h->heard_ms;
        if (told_is_silent(&t, h->now_ms))
            continue;
        struct span id = reply_str(reply_at(r, i));
        h->alive++;
        h->takers += !*t.why;
        if (*t.why)
            buf_printf(&h->resting, "%s%.*s: %s", h->resting.len ? "; " : "", (int)id.len, (const char *)id.p,
                       t.why);
    }
    holdup_answered(h, rc == REDIS_OK);
}

bool holdup_concerns(enum route_state s)
{
    return s == ROUTE_QUEUED || s == ROUTE_COPYING || s == ROUTE_READY || s == ROUTE_BACKOFF;
}

struct holdup *holdup_ask(struct store *s, holdup_fn fn, void *owner)
{
    struct holdup *h = xcalloc(1, sizeof(*h));
    char *migrators = store_key(s, "migrators");
    struct span time_argv[] = {span_str("TIME")}, argv[] = {span_str("HGETALL"), span_str(migrators)};

    *h = (struct holdup){.store = s, .fn = fn, .owner = owner, .pending = 5};
    route_control_read(s, holdup_on_control, h);
    store_durability(s, holdup_on_durability, h);
    store_try_write(s, holdup_on_try, h);
    store_command(s, time_argv, COUNTOF(time_argv), holdup_on_time, h);
    store_command(s, argv, COUNTOF(argv), holdup_on_migrators, h);
    free(migrators);
    return h;
}
