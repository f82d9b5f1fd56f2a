#include <stdlib.h>
#include <time.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "expiry.h"

enum { NEAR_DAYS = 14, DAY_S = 24 * 60 * 60 };

struct expiry_watch {
    struct timer *timer;
    char *file; /* owned; NULL: none */
    int64_t begins, ends;
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

static void expiry_look(void *owner)
{
    struct expiry_watch *w = owner;
    int64_t now = (int64_t)time(NULL);
    enum expiry expiry = expiry_of(w->begins, w->ends, now);
    char at[32];

    timer_start(w->timer, (uint64_t)DAY_S * 1000);
    expiry_write_time(at, expiry == EXPIRY_EARLY ? w->begins : w->ends);
    switch (expiry) {
    case EXPIRY_FAR:
        break;
    case EXPIRY_EARLY:
        LOG(ERROR, "certificate_not_valid_yet", LOG_S("file", w->file), LOG_S("at", at),
            LOG_S("effect", "mail programs refuse to connect"),
            LOG_S("todo", "see the clock of this host, and the file"));
        break;
    case EXPIRY_NEAR:
        LOG(WARN, "certificate_expires", LOG_S("file", w->file), LOG_S("at", at),
            LOG_I("days", (w->ends - now) / DAY_S), LOG_S("todo", "renew it and send SIGHUP"));
        break;
    case EXPIRY_PAST:
        LOG(ERROR, "certificate_expired", LOG_S("file", w->file), LOG_S("at", at),
            LOG_S("effect", "mail programs refuse to connect"), LOG_S("todo", "renew it and send SIGHUP"));
        break;
    }
}

struct expiry_watch *expiry_watch_new(struct loop *l)
{
    struct expiry_watch *w = xcalloc(1, sizeof *w);

    w->begins = INT64_MIN;
    w->ends = INT64_MAX;
    w->timer = timer_new(l, expiry_look, w);
    return w;
}

void expiry_watch_free(struct expiry_watch **wp)
{
    struct expiry_watch *w = *wp;

    if (!w)
        return;
    *wp = NULL;
    timer_free(&w->timer);
    free(w->file);
    free(w);
}

bool expiry_watch_is_good(const struct expiry_watch *w)
{
    enum expiry expiry = expiry_of(w->begins, w->ends, (int64_t)time(NULL));

    return expiry == EXPIRY_FAR || expiry == EXPIRY_NEAR;
}

void expiry_watch_set(struct expiry_watch *w, const char *file, int64_t begins, int64_t ends)
{
    free(w->file);
    w->file = xstrdup(file);
    w->begins = begins;
    w->ends = ends;
    expiry_look(w);
}
