#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fnv.h"
#include "waves.h"

/* ---- who ---- */

static bool wave_names(const struct conf_wave *w, const char *user)
{
    if (account_names_have(w->listed, user))
        return true;
    for (size_t i = 0; i < w->accounts.n; i++)
        if (w->accounts.items[i][0] != '/' && conf_fits(w->accounts.items[i], user))
            return true;
    return false;
}

const struct conf_wave *wave_of(const struct conf *c, const char *user)
{
    for (size_t i = 0; i < c->n_waves; i++)
        if (wave_names(&c->waves[i], user))
            return &c->waves[i];
    return NULL;
}

/* FNV, its bits mixed as MurmurHash does at its end: names that differ in their last letter alone must fall
 * apart. It must never change: accounts would leave shares that they were in. */
static uint64_t wave_hash(const char *user)
{
    uint64_t h = fnv(FNV_BEGIN, span_str(user));

    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

bool wave_shares(const struct conf_wave *w, const char *user)
{
    return wave_hash(user) % 100 < w->share;
}

/* ---- when ---- */

int64_t wave_offset_ms(time_t now)
{
    struct tm tm;

    localtime_r(&now, &tm);
    return (int64_t)tm.tm_gmtoff * 1000;
}

bool wave_time(const char *text, uint64_t *_ms)
{
    struct tm tm = {.tm_isdst = -1};
    int used = 0;

    *_ms = 0;
    if (!*text)
        return true;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 || used != 10)
        return false;
    if (text[used] && (sscanf(text + used, " %2d:%2d%n", &tm.tm_hour, &tm.tm_min, &used) != 2 || used != 6 ||
                       strlen(text) != 16))
        return false;
    struct tm meant = tm;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t at = mktime(&tm);
    bool is_one = tm.tm_mday == meant.tm_mday && tm.tm_mon == meant.tm_mon - 1 && meant.tm_hour >= 0 &&
                  meant.tm_hour < 24 && meant.tm_min >= 0 && meant.tm_min < 60 && at > 0;
    *_ms = is_one ? (uint64_t)at * 1000 : 0;
    return is_one;
}

/* What stands behind the last "@" of all patterns; NULL: they are not of one domain. */
static const char *wave_domain(const struct conf_wave *w)
{
    const char *domain = NULL;

    for (size_t i = 0; i < w->accounts.n; i++) {
        const char *at = strrchr(w->accounts.items[i], '@');
        if (!at || w->accounts.items[i][0] == '/' || strpbrk(at, "*?") ||
            (domain && strcmp(at + 1, domain) != 0))
            return NULL;
        domain = at + 1;
    }
    return domain;
}

uint32_t wave_store_part(const struct conf *c, const struct conf_wave *w)
{
    bool in_one = c->redis.spread == SPREAD_DOMAIN && wave_domain(w);

    return in_one ? w->per_day : conf_store_part(c, w->per_day);
}

/* ---- a login ---- */

enum trigger wave_trigger(const struct conf *c, const char *user)
{
    const struct conf_rule *r = conf_rule_of(c, user);

    if (r && r->trigger != RULE_TRIGGER_DEFAULT)
        return r->trigger == RULE_TRIGGER_LOGIN ? TRIGGER_LOGIN : TRIGGER_MANUAL;
    return c->migration.trigger;
}

bool wave_at_login(const struct conf *c, const char *user, time_t now, struct buf *told)
{
    const struct conf_wave *w = wave_of(c, user);
    const struct conf_backend *target = conf_backend(c, conf_pair_of(c, user).target);

    if (target && target->retired)
        return false;
    if (!w)
        return wave_trigger(c, user) == TRIGGER_LOGIN;
    if (!wave_shares(w, user))
        return false;
    buf_printf(told, "%s %" PRIu64 " %" PRIu32 " %" PRId64, w->name, w->after_ms, wave_store_part(c, w),
               wave_offset_ms(now));
    return true;
}
