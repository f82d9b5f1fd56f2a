#include <stdlib.h>
#include <time.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "expiry.h"

enum { NEAR_DAYS = 14, DAY_S = 24 * 60 * 60 };

struct expiry_row {
    char *file; /* owned */
    int64_t begins, ends;
};

struct expiry_watch {
    struct timer *timer;
    struct expiry_row *rows; /* one a certificate; owned */
    size_t n;
};

enum expiry expiry_of(int64_t begins, int64_t ends, int64_t now)
{
    if (begins > now)
        return EXPIRY_EARLY;
    if (ends <= now)
        return EXPIRY_PAST;
    return ends - now < (int64_t)NEAR_DAYS * DAY_S ? EXPIRY_NEAR : EXPIRY_FAR;
}

static void expiry_write_time(char out[32], int64_t when)
{
    time_t t = (time_t)when;
    struct tm tm;

    *out = '\0';
    if (gmtime_r(&t, &tm))
        strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void expiry_look_at(const struct expiry_row *r, int64_t now)
{
    enum expiry expiry = expiry_of(r->begins, r->ends, now);
    char at[32];

    expiry_write_time(at, expiry == EXPIRY_EARLY ? r->begins : r->ends);
    switch (expiry) {
    case EXPIRY_FAR:
        break;
    case EXPIRY_EARLY:
        LOG(ERROR, "certificate_not_valid_yet", LOG_S("file", r->file), LOG_S("at", at),
            LOG_S("effect", "mail programs refuse to connect"),
            LOG_S("todo", "see the clock of this host, and the file"));
        break;
    case EXPIRY_NEAR:
        LOG(WARN, "certificate_expires", LOG_S("file", r->file), LOG_S("at", at),
            LOG_I("days", (r->ends - now) / DAY_S), LOG_S("todo", "renew it and send SIGHUP"));
        break;
    case EXPIRY_PAST:
        LOG(ERROR, "certificate_expired", LOG_S("file", r->file), LOG_S("at", at),
            LOG_S("effect", "mail programs refuse to connect"), LOG_S("todo", "renew it and send SIGHUP"));
        break;
    }
}

static void expiry_look(void *owner)
{
    struct expiry_watch *w = owner;

    timer_start(w->timer, (uint64_t)DAY_S * 1000);
    for (size_t i = 0; i < w->n; i++)
        expiry_look_at(&w->rows[i], (int64_t)time(NULL));
}

struct expiry_watch *expiry_watch_new(struct loop *l)
{
    struct expiry_watch *w = xcalloc(1, sizeof *w);

    w->timer = timer_new(l, expiry_look, w);
    return w;
}

static void expiry_forget(struct expiry_watch *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->rows[i].file);
    free(w->rows);
    w->rows = NULL;
    w->n = 0;
}

void expiry_watch_free(struct expiry_watch **wp)
{
    struct expiry_watch *w = *wp;

    if (!w)
        return;
    *wp = NULL;
    timer_free(&w->timer);
    expiry_forget(w);
    free(w);
}

bool expiry_watch_is_good(const struct expiry_watch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        enum expiry expiry = expiry_of(w->rows[i].begins, w->rows[i].ends, (int64_t)time(NULL));
        if (expiry == EXPIRY_PAST || expiry == EXPIRY_EARLY)
            return false;
    }
    return true;
}

void expiry_watch_set(struct expiry_watch *w, const struct tls_policy *p)
{
    struct tls_term term;

    expiry_forget(w);
    while (tls_policy_term(p, w->n, &term)) {
        w->rows = xreallocarray(w->rows, w->n + 1, sizeof *w->rows);
        w->rows[w->n++] = (struct expiry_row){xstrdup(term.file), term.begins, term.ends};
    }
    expiry_look(w);
}
