/* What `doctor` asks beside `check`: is what runs here well? Clocks, who lives, what is overdue, and whether Redis has
 * lost something or is about to. */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/route.h"
#include "lib/xalloc.h"

#include "check_priv.h"
#include "holdup.h"

enum {
    SKEW_WARN_MS = 2000,
    SKEW_ERROR_MS = 60 * 1000,
    OVERDUE_MS = 15 * 60 * 1000,
    LAG_MAX_S = 10,
};

#define DOCTOR_LINE(c, of, level, ...) check_line(c, (c)->rest, of, level, __VA_ARGS__)

static void doctor_ask(struct check *c, redis_fn fn, size_t n, const char *const *words)
{
    struct span argv[6];

    for (size_t i = 0; i < n; i++)
        argv[i] = span_str(words[i]);
    c->pending++;
    store_command(c->store, argv, n, fn, c);
}

/* ---- clocks ---- */

static void doctor_on_time(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    uint64_t now = clock_wall_ms(), took = clock_boot_ms() - c->asked_ms,
             theirs = (uint64_t)reply_int(reply_at(r, 0)) * 1000 + (uint64_t)reply_int(reply_at(r, 1)) / 1000;
    uint64_t ours = now - took / 2, skew = theirs > ours ? theirs - ours : ours - theirs;

    c->redis_ms = theirs;
    skew = skew > took ? skew - took : 0;
    if (rc == REDIS_OK && skew >= SKEW_WARN_MS)
        DOCTOR_LINE(
            c, "clock", skew >= SKEW_ERROR_MS ? CHECK_ERROR : CHECK_WARNING,
            "Let both hosts keep their time by NTP: windows, waves, certificates, tokens and sealed passwords go by the "
            "clock.",
            "this host's clock is %" PRIu64 ".%" PRIu64 " s %s that of Redis", skew / 1000, skew / 100 % 10,
            theirs > ours ? "behind" : "ahead of");
    else if (rc == REDIS_OK)
        DOCTOR_LINE(c, "clock", CHECK_OK, "", "this host and Redis have the same time");
    check_ended(c);
}

void check_server_clock(struct side *s, uint64_t date_s, uint64_t took_ms)
{
    uint64_t now = clock_wall_ms(), first = date_s * 1000, last = first + 999 + took_ms;
    uint64_t skew = now > last ? now - last : now < first ? first - now : 0;

    if (skew < SKEW_WARN_MS)
        SIDE_LINE(s, CHECK_OK, "", "its clock and this host's have the same time");
    else
        SIDE_LINE(s, skew >= SKEW_ERROR_MS ? CHECK_ERROR : CHECK_WARNING,
                  "Let both keep their time by NTP: the dates of new mail, tokens and certificates go by it.",
                  "its clock is %" PRIu64 ".%" PRIu64 " s %s this host's", skew / 1000, skew / 100 % 10,
                  now > last ? "behind" : "ahead of");
}

void check_quotas(struct side *s, const struct imap_caps *caps)
{
    if (imap_caps_has(caps, CAP_QUOTA))
        SIDE_LINE(s, CHECK_OK, "", "it tells quotas: who does not fit is found before a message is copied");
    else
        SIDE_LINE(
            s, CHECK_WARNING,
            "Have it tell them (Dovecot: the plugin imap_quota), or see that each account has room for what it has now.",
            "it tells no quotas (QUOTA), so who does not fit there is found when it refuses a message");
}

/* ---- who lives: asked behind the time, so answered behind it ---- */

static void doctor_on_proxies(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    size_t alive = 0, waited = 0;

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(r); i += 2) {
        char *text = xspandup(reply_str(reply_at(r, i + 1)));
        unsigned long long renewed = 0, lease = 0, wide = 0;
        sscanf(text, "%*u %*s %*s %*u %llu %llu %llu", &renewed, &lease, &wide);
        alive += renewed + lease >= c->redis_ms;
        waited += renewed + lease < c->redis_ms && renewed + wide >= c->redis_ms;
        free(text);
    }
    if (alive == 0)
        DOCTOR_LINE(c, "proxies", CHECK_ERROR, "Nobody can sign in: start imapferry-proxy, and see its log.",
                    "no proxy is alive");
    else
        DOCTOR_LINE(c, "proxies", CHECK_OK, "", "%zu thread%s of proxies are alive", alive,
                    alive == 1 ? "" : "s");
    if (waited > 0)
        DOCTOR_LINE(c, "proxies", CHECK_WARNING,
                    "Start it again; where its host is gone for good, \"proxy forget NAME\".",
                    "%zu thread%s of proxies fell silent, and accounts with sessions there wait for them",
                    waited, waited == 1 ? "" : "s");
    check_ended(c);
}

static void doctor_on_migrators(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    size_t alive = 0;

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(r); i += 2) {
        struct told t;
        struct span id = reply_str(reply_at(r, i));
        told_parse(reply_str(reply_at(r, i + 1)), &t);
        if (told_is_silent(&t, c->redis_ms))
            continue;
        alive++;
        if (*t.why)
            DOCTOR_LINE(c, "migrators", CHECK_ERROR, "Nothing is copied by it until that is mended.",
                        "%.*s rests: %s", (int)id.len, (const char *)id.p, t.why);
    }
    if (alive == 0)
        DOCTOR_LINE(
            c, "migrators", CHECK_ERROR,
            "Start imapferry-migrator: mail that arrives at the server before is brought by the late watch, and by "
            "nobody else.",
            "no migrator is alive");
    else
        DOCTOR_LINE(c, "migrators", CHECK_OK, "", "%zu %s alive", alive, alive == 1 ? "is" : "are");
    check_ended(c);
}

/* ---- what is overdue ---- */

static void doctor_overdue(struct check *c, enum redis_rc rc, const struct reply *r, const char *of,
                           const char *what, const char *advice)
{
    int64_t n = rc == REDIS_OK ? reply_int(r) : 0;

    if (n > 0)
        DOCTOR_LINE(c, of, CHECK_ERROR, advice, "%" PRId64 " %s overdue by more than %d minutes", n, what,
                    OVERDUE_MS / 60000);
    check_ended(c);
}

static void doctor_on_looks(void *owner, enum redis_rc rc, const struct reply *r)
{
    doctor_overdue(owner, rc, r, "late watch",
                   "looks of the late watch at servers that accounts have left are",
                   "Mail that arrived there waits: see whether migrators run, their log, and late_looks.");
}

static void doctor_on_hooks(void *owner, enum redis_rc rc, const struct reply *r)
{
    doctor_overdue(owner, rc, r, "hooks", "hooks (hook_flip, hook_settle) are",
                   "Delivery may not follow the accounts: see the migrators' log for hook_failed.");
}

static void doctor_ask_overdue(struct check *c)
{
    static const struct {
        const char *key;
        redis_fn fn;
    } rows[] = {{"late", doctor_on_looks}, {"hooks", doctor_on_hooks}};
    char *before = xasprintf("%" PRIu64, clock_wall_ms() - OVERDUE_MS);

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        char *key = store_key(c->store, "%s", rows[i].key);
        doctor_ask(c, rows[i].fn, 4, (const char *[]){"ZCOUNT", key, "-inf", before});
        free(key);
    }
    free(before);
}

/* ---- accounts, pauses ---- */

static void doctor_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    static const char *const states[] = {"state:blocked", "state:backoff"};
    struct check *c = owner;
    uint64_t failing = 0, some;

    for (size_t i = 1; rc == ROUTE_OK && i + 1 < n; i += 2)
        for (size_t k = 0; k < COUNTOF(states); k++)
            if (span_is(rows[i], states[k]) && span_u64(rows[i + 1], INT64_MAX, &some))
                failing += some;
    if (failing > 0)
        DOCTOR_LINE(c, "accounts", CHECK_WARNING,
                    "\"list --state blocked\" and \"list --state backoff\" say why.",
                    "%" PRIu64 " account%s not move on by %s", failing, failing == 1 ? " does" : "s do",
                    failing == 1 ? "itself" : "themselves");
    check_ended(c);
}

static void doctor_on_control(void *owner, enum route_rc rc, const struct route_control *control)
{
    struct check *c = owner;

    if (rc == ROUTE_OK && control->paused)
        DOCTOR_LINE(c, "pause", CHECK_WARNING, "\"resume\" goes on.", "all migrations are paused by %s%s%s",
                    control->by, *control->reason ? ": " : "", control->reason);
    check_ended(c);
}

static void doctor_on_waves(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    static const char tail[] = ":paused";
    struct check *c = owner;

    for (size_t i = 1; rc == ROUTE_OK && i + 1 < n; i += 2) {
        size_t len = rows[i].len, end = sizeof(tail) - 1;
        if (len > end && !memcmp(rows[i].p + len - end, tail, end) && span_is(rows[i + 1], "1"))
            DOCTOR_LINE(c, "pause", CHECK_WARNING, "\"resume --wave NAME\" goes on.",
                        "the wave %.*s is paused", (int)(len - end), (const char *)rows[i].p);
    }
    check_ended(c);
}

/* ---- Redis ---- */

static void doctor_on_persistence(void *owner, enum redis_rc rc, const struct reply *r)
{
    static const struct {
        const char *says, *text;
    } rows[] = {{"aof_last_write_status:err", "its last write to the append-only file failed"},
                {"aof_last_bgrewrite_status:err", "its last rewrite of the append-only file failed"},
                {"loading:1", "it still reads its data from the disk"}};
    struct check *c = owner;
    char *info = xspandup(reply_str(r));

    for (size_t i = 0; rc == REDIS_OK && i < COUNTOF(rows); i++)
        if (strstr(info, rows[i].says))
            REDIS_LINE(c, CHECK_ERROR, "See its log, and the disk that it writes to.", "%s", rows[i].text);
    free(info);
    check_ended(c);
}

static uint64_t doctor_number(const char *info, const char *name)
{
    const char *field = strstr(info, name);

    return field ? strtoull(field + strlen(name), NULL, 10) : 0;
}

static void doctor_on_stats(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *info = xspandup(reply_str(r));
    uint64_t evicted = rc == REDIS_OK ? doctor_number(info, "\nevicted_keys:") : 0;

    if (evicted > 0)
        REDIS_LINE(
            c, CHECK_ERROR,
            "maxmemory-policy noeviction, and more memory. Where routes were among them, users are sent to the server that "
            "they have left: stop all proxies, see \"Backup, loss and restore\" in the handbook.",
            "it has thrown %" PRIu64 " keys away for want of memory since it started", evicted);
    free(info);
    check_ended(c);
}

/* "slave0:ip=...,port=...,state=online,offset=1,lag=0" */
static void doctor_on_replication(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *info = xspandup(reply_str(r));

    for (const char *at = info; rc == REDIS_OK && (at = strstr(at, ",lag=")); at++) {
        uint64_t lag = strtoull(at + 5, NULL, 10);
        if (lag > LAG_MAX_S)
            REDIS_LINE(c, CHECK_WARNING,
                       "See whether it runs, and its network: a failover to it would lose what it lacks.",
                       "a replica is %" PRIu64 " s behind", lag);
    }
    free(info);
    check_ended(c);
}

void check_doctor(struct check *c)
{
    static const struct {
        const char *key;
        redis_fn fn;
    } hashes[] = {{"proxies", doctor_on_proxies}, {"migrators", doctor_on_migrators}};
    uint64_t quarantine = store_quarantine_ms(c->store);

    c->asked_ms = clock_boot_ms();
    doctor_ask(c, doctor_on_time, 1, (const char *[]){"TIME"});
    for (size_t i = 0; i < COUNTOF(hashes); i++) {
        char *key = store_key(c->store, "%s", hashes[i].key);
        doctor_ask(c, hashes[i].fn, 2, (const char *[]){"HGETALL", key});
        free(key);
    }
    doctor_ask_overdue(c);
    doctor_ask(c, doctor_on_persistence, 2, (const char *[]){"INFO", "persistence"});
    doctor_ask(c, doctor_on_stats, 2, (const char *[]){"INFO", "stats"});
    doctor_ask(c, doctor_on_replication, 2, (const char *[]){"INFO", "replication"});
    c->pending += 3;
    route_counts_read(c->store, doctor_on_counts, c);
    route_control_read(c->store, doctor_on_control, c);
    route_waves_read(c->store, doctor_on_waves, c);
    if (quarantine > 0)
        REDIS_LINE(c, CHECK_WARNING, "It ends by itself.",
                   "it restarted or failed over: for %" PRIu64 " s more no account is begun or switched over",
                   quarantine / 1000);
}
