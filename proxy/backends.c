#include <stdlib.h>

#include "lib/learner.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/store_caps.h"
#include "lib/xalloc.h"

#include "backends.h"
#include "breakers.h"

/* Where something is not known yet, another thread, proxy or migrator may just be finding out. */
enum { READ_EVERY_MS = 10 * 1000, READ_SOON_MS = 200, READ_UNKNOWN_MS = 2000 };

struct known {
    const struct conf_backend *conf;
    struct tls_policy *tls; /* owned; NULL without TLS */
    struct health *health;  /* owned */
    struct health *pop3;    /* owned; of its address of POP3 */
    unsigned breakers;      /* of these, so many are open */
    struct caps_record record;
    bool told_unknown;
    struct caps_record told; /* what was logged last */
};

struct backends {
    struct loop *loop;
    struct store *store;         /* borrowed; NULL before the first backends_read() */
    struct learner *learner;     /* owned; of the first thread */
    bool first, was_read, asked; /* asked: the learner has looked */
    bool settled;
    backends_fn fn;
    void *owner;
    struct tally *tally; /* borrowed */
    struct breakers *breakers;
    struct timer *timer;
    struct known *rows; /* one a backend of the configuration */
    size_t n;
};

static void backends_on_timer(void *owner);

static struct known *backends_row_of(const struct backends *b, const struct conf_backend *backend)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->rows[i].conf == backend)
            return &b->rows[i];
    return NULL;
}

static void backends_count(struct backends *b, const struct known *k, enum tally_of of)
{
    if (k - b->rows < TALLY_WORDS)
        tally_add(b->tally, of, k->conf->name);
}

static void backends_on_breaker(void *owner, const struct conf_backend *backend)
{
    struct backends *b = owner;
    struct known *k = backends_row_of(b, backend);
    unsigned was = k->breakers, open = health_is_open(k->health) + health_is_open(k->pop3);
    k->breakers = open;
    metric_set(METRIC_BREAKERS_OPEN, open > 0, backend->name, NULL);
    metric_add(METRIC_BREAKER_OPENINGS, open > was, backend->name, NULL);
    if (open > was)
        backends_count(b, k, TALLY_BREAKERS);
    breakers_set(b->breakers, (size_t)(k - b->rows), backend->name, open > 0);
}

/* So that these are there before anything happens. */
static void backends_tell_none(const char *name)
{
    metric_change(METRIC_BREAKERS_OPEN, 0, name, NULL);
    metric_add(METRIC_BREAKER_OPENINGS, 0, name, NULL);
    metric_add(METRIC_LOGINS_AT_ONCE, 0, name, NULL);
}

struct backends *backends_new(struct loop *l, const struct conf *conf, bool first, struct tally *tally,
                              backends_fn fn, void *owner, char **error)
{
    struct backends *b = xcalloc(1, sizeof *b);
    b->fn = fn;
    b->owner = owner;
    b->loop = l;
    b->first = first;
    b->tally = tally;
    b->breakers = breakers_new(l, conf->n_backends);
    b->timer = timer_new(l, backends_on_timer, b);
    b->rows = xcalloc(conf->n_backends, sizeof *b->rows);
    b->n = conf->n_backends;
    bool ok = true;
    for (size_t i = 0; i < b->n && ok; i++) {
        struct known *k = &b->rows[i];
        k->conf = &conf->backends[i];
        backends_tell_none(k->conf->name);
        if (backend_has_tls(k->conf))
            ok = (k->tls = tls_policy_backend(k->conf, error)) != NULL;
        k->health = health_new(l, k->conf, false, k->tls, backends_on_breaker, b);
        k->pop3 = health_new(l, k->conf, true, k->tls, backends_on_breaker, b);
    }
    if (!ok)
        backends_free(&b);
    return b;
}

void backends_free(struct backends **bp)
{
    struct backends *b = *bp;
    if (!b)
        return;
    *bp = NULL;
    learner_free(&b->learner);
    if (b->store)
        store_forget(b->store, b);
    for (size_t i = 0; i < b->n; i++) {
        health_free(&b->rows[i].health);
        health_free(&b->rows[i].pop3);
        tls_policy_free(&b->rows[i].tls);
    }
    breakers_free(&b->breakers);
    timer_free(&b->timer);
    free(b->rows);
    free(b);
}

struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend)
{
    return backends_row_of(b, backend)->tls;
}

void backends_renew(struct backends *b, const char *name, struct tls_policy **fresh)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->rows[i].tls && strcmp(b->rows[i].conf->name, name) == 0) {
            tls_policy_renew(b->rows[i].tls, fresh);
            return;
        }
}

static struct health *backends_health(const struct known *k, bool pop3)
{
    return pop3 ? k->pop3 : k->health;
}

struct outage *backends_outage(const struct backends *b, const struct conf_backend *backend, bool pop3)
{
    return health_outage(backends_health(backends_row_of(b, backend), pop3));
}

bool backends_refuses(struct backends *b, const struct conf_backend *backend, bool pop3)
{
    struct known *k = backends_row_of(b, backend);
    bool refuses = health_refuses(backends_health(k, pop3));
    metric_add(METRIC_LOGINS_AT_ONCE, refuses, backend->name, NULL);
    if (refuses)
        backends_count(b, k, TALLY_REFUSED_AT_ONCE);
    return refuses;
}

void backends_renewed(struct backends *b)
{
    for (size_t i = 0; i < b->n; i++) {
        health_again(b->rows[i].health);
        health_again(b->rows[i].pop3);
    }
    if (b->learner)
        learner_again(b->learner);
}

/* ---- what is known, and what is told of it ---- */

static bool all_known(const struct backends *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->rows[i].record.known)
            return false;
    return true;
}

/* May what is not known become so in a moment, by the first thread's question? */
static bool is_to_come(const struct backends *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->rows[i].record.known && learner_can_ask(b->rows[i].conf))
            return !b->asked;
    return false;
}

static void backends_settle(struct backends *b)
{
    if (b->settled || !b->was_read || is_to_come(b))
        return;
    b->settled = true;
    b->fn(b->owner);
}

bool backends_settled(const struct backends *b)
{
    return b->settled;
}

/* Of what clients may be shown; the rest is nothing to them. */
static struct imap_caps showable(const struct caps_record *r)
{
    return imap_caps_shown(&r->caps, &r->caps);
}

static void log_first(const struct known *k)
{
    struct imap_caps now = showable(&k->record);
    struct buf words = {0};
    imap_caps_write(&words, &now);
    LOG(INFO, "capabilities", LOG_S("backend", k->conf->name),
        LOG_S("by", k->record.by == CAPS_BY_USER ? "user" : "master"), LOG_S("are", buf_str(&words)));
    buf_free(&words);
}

static void log_change(const struct known *k)
{
    struct imap_caps was = showable(&k->told), is = showable(&k->record);
    struct imap_caps more = imap_caps_without(&is, &was), less = imap_caps_without(&was, &is);
    struct buf added = {0}, dropped = {0};
    imap_caps_write(&added, &more);
    imap_caps_write(&dropped, &less);
    LOG(WARN, "capabilities_changed", LOG_S("backend", k->conf->name), LOG_S("added", buf_str(&added)),
        LOG_S("dropped", buf_str(&dropped)));
    buf_free(&added);
    buf_free(&dropped);
}

static void log_unknown(struct known *k)
{
    if (k->told_unknown || k->conf->retired)
        return;
    k->told_unknown = true;
    LOG(WARN, "capabilities_unknown", LOG_S("backend", k->conf->name),
        LOG_S("shown", "what the server can do that a user is on"),
        LOG_S("until", "a user or a master has signed in there, or \"imapferryctl check\""));
}

static void log_news(const struct backends *b, struct known *k)
{
    if (!b->first)
        return;
    if (!k->record.known) {
        log_unknown(k);
        return;
    }
    struct imap_caps was = showable(&k->told), is = showable(&k->record);
    if (!k->told.known)
        log_first(k);
    else if (!imap_caps_equal(&was, &is))
        log_change(k);
    k->told = k->record;
    k->told_unknown = false;
}

void backends_wait_no_more(struct backends *b)
{
    b->settled = true;
    for (size_t i = 0; i < b->n && b->was_read; i++)
        log_news(b, &b->rows[i]);
}

struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend)
{
    const struct known *k = backends_row_of(b, backend);
    struct imap_caps least = {0};
    imap_caps_add(&least, CAP_IMAP4REV1);
    return k->record.known ? k->record.caps : least;
}

struct imap_caps backends_shown(const struct backends *b, const struct conf_backend *at,
                                const struct imap_caps *own, const struct conf_backend *other)
{
    const struct known *here = backends_row_of(b, at), *there = backends_row_of(b, other);
    struct imap_caps caps = here->record.known ? imap_caps_common(own, &here->record.caps) : *own;
    return imap_caps_shown(&caps, there->record.known && other != at ? &there->record.caps : &caps);
}

/* ---- the store ---- */

void backends_learned(struct backends *b, const struct conf_backend *backend, const struct imap_caps *caps)
{
    struct known *k = backends_row_of(b, backend);
    if (!caps_record_take(&k->record, caps, CAPS_BY_USER, clock_wall_ms()))
        return;
    log_news(b, k);
    if (b->store)
        store_caps_saw(b->store, backend->name, caps, CAPS_BY_USER, NULL, b);
    backends_settle(b);
}

/* What the store has lost is kept. */
static void on_hash(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct backends *b = owner;
    if (rc != REDIS_OK)
        return;
    b->was_read = true;
    for (size_t i = 0; i < b->n; i++) {
        struct known *k = &b->rows[i];
        struct caps_record record;
        caps_record_read(&record, r, k->conf->name);
        imap_caps_override(&record.caps, k->conf->capabilities.items, k->conf->capabilities.n);
        if (record.known)
            k->record = record;
        else if (k->record.known)
            store_caps_saw(b->store, k->conf->name, &k->record.caps, k->record.by, NULL, b);
    }
    backends_settle(b);
    for (size_t i = 0; i < b->n && b->settled; i++)
        log_news(b, &b->rows[i]);
}

static void backends_read_hash(struct backends *b)
{
    if (store_state(b->store) == STORE_UP)
        store_caps_all(b->store, on_hash, b);
    timer_start(b->timer, all_known(b) ? READ_EVERY_MS : b->settled ? READ_UNKNOWN_MS : READ_SOON_MS);
}

static void backends_on_timer(void *owner)
{
    backends_read_hash(owner);
}

/* ---- asking ---- */

static struct tls_policy *backends_policy_of(void *owner, const struct conf_backend *backend)
{
    return backends_tls(owner, backend);
}

static void backends_on_looked(void *owner)
{
    struct backends *b = owner;
    b->asked = true;
    backends_read_hash(b);
}

void backends_read(struct backends *b, struct store *s, const char *incarnation)
{
    if (b->store && b->store != s) { /* another one of the site's */
        store_forget(b->store, b);
        learner_free(&b->learner);
    }
    b->store = s;
    breakers_store(b->breakers, s, incarnation);
    backends_read_hash(b);
    if (b->first && !b->learner)
        b->learner = learner_new(s, backends_policy_of, backends_on_looked, b);
    if (b->learner)
        learner_look(b->learner);
}
