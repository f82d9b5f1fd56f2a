#include <stdio.h>
#include <stdlib.h>

#include "backend_login.h"
#include "learner.h"
#include "log.h"
#include "store_caps.h"
#include "xalloc.h"

enum {
    LEARN_LOOK_MS = 60 * 1000,
    LEARN_CLAIM_MS = 60 * 1000,
    LEARN_FIRST_MS = 60 * 1000, /* after a failure; doubled with each, up to: */
    LEARN_LAST_MS = 3600 * 1000,
    LEARN_CONNECT_MS = 10 * 1000,
    LEARN_ANSWER_MS = 30 * 1000,
    LEARN_HOPS = 2, /* a backend that is a proxy of ours refuses it (x-proxy-site) */
};

struct pupil {
    struct learner *l;
    const struct conf_backend *b;
    struct backend_login *login;
    uint64_t next_ms, delay_ms; /* after a failure: not before; what that was */
    char *told;                 /* owned; the failure that was logged last */
};

struct learner {
    struct store *store;
    const struct conf *conf;
    learner_tls_fn tls;
    learner_fn fn;
    void *owner; /* borrowed */
    struct timer *timer;
    struct pupil *rows; /* one a backend */
    size_t n;
    unsigned pending; /* answers that are waited for */
};

bool learner_can_ask(const struct conf_backend *b)
{
    return *b->master_user && b->master_password && *b->master_password && !b->retired;
}

static void learn_ended(struct learner *l)
{
    if (--l->pending > 0)
        return;
    timer_start(l->timer, LEARN_LOOK_MS);
    if (l->fn)
        l->fn(l->owner);
}

/* ---- asking ---- */

static bool learner_for_itself(const struct pupil *p)
{
    return !*p->b->check_user;
}

static void learn_failed(struct pupil *p, const struct login_result *r)
{
    bool alone = r->rc == LOGIN_REFUSED && learner_for_itself(p);

    p->delay_ms = p->delay_ms ? 2 * p->delay_ms : LEARN_FIRST_MS;
    if (p->delay_ms > LEARN_LAST_MS)
        p->delay_ms = LEARN_LAST_MS;
    p->next_ms = clock_boot_ms() + p->delay_ms;
    if (p->told && strcmp(p->told, r->detail) == 0)
        return;
    free(p->told);
    p->told = xstrdup(r->detail);
    LOG(WARN, "backend_unknown", LOG_S("backend", p->b->name),
        LOG_S("as", learner_for_itself(p) ? p->b->master_user : p->b->check_user), LOG_S("while", r->phase),
        LOG_S("detail", r->detail), LOG_U("again_s", p->delay_ms / 1000),
        LOG_S("advice", alone
                            ? "this server may let its master in for users alone: name one as check_user, or "
                              "\"imapferryctl check NAME\""
                            : "see \"imapferryctl check\""));
}

static void learner_on_learned(void *owner, bool stored)
{
    struct pupil *p = owner;

    (void)stored; /* else the next look finds that it lacks */
    learn_ended(p->l);
}

static void learn_good(struct pupil *p, const struct login_result *r)
{
    struct stream *s = r->stream;

    stream_send(s, "z LOGOUT\r\n", 10);
    stream_close(&s, true);
    free(p->told);
    p->told = NULL;
    p->delay_ms = p->next_ms = 0;
    LOG(INFO, "backend_asked", LOG_S("backend", p->b->name),
        LOG_S("as", learner_for_itself(p) ? p->b->master_user : p->b->check_user));
    store_caps_saw(p->l->store, p->b->name, &r->caps, learner_for_itself(p) ? CAPS_BY_MASTER : CAPS_BY_USER,
                   learner_on_learned, p);
}

static void learner_on_login(void *owner, const struct login_result *r)
{
    struct pupil *p = owner;

    p->login = NULL;
    if (r->rc == LOGIN_OK) {
        learn_good(p, r);
    } else {
        learn_failed(p, r);
        learn_ended(p->l);
    }
}

static void learn_ask(struct pupil *p)
{
    struct learner *l = p->l;
    bool itself = learner_for_itself(p);

    p->login =
        backend_login_start(store_loop(l->store),
                            &(struct login_request){.backend = p->b,
                                                    .policy = l->tls(l->owner, p->b),
                                                    .as = itself ? LOGIN_AS_USER : LOGIN_AS_MASTER,
                                                    .credential = credential_of_password(
                                                        p->b->master_user, p->b->master_password),
                                                    .user = p->b->check_user,
                                                    .site = store_site_id(l->store),
                                                    .ttl = LEARN_HOPS,
                                                    .limits = {.high_water = 64 << 10, .queue_max = 1 << 20},
                                                    .connect_timeout_ms = LEARN_CONNECT_MS,
                                                    .step_timeout_ms = LEARN_ANSWER_MS},
                            learner_on_login, p);
}

/* ---- what lacks ---- */

static void learner_on_claimed(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct pupil *p = owner;

    if (rc == REDIS_OK && reply_type(r) != REPLY_NIL)
        learn_ask(p);
    else
        learn_ended(p->l); /* another process asks, or did a moment ago */
}

static void learn_claim(struct pupil *p)
{
    char *key = store_key(p->l->store, "learning:%s", p->b->name), ms[16];

    snprintf(ms, sizeof(ms), "%d", LEARN_CLAIM_MS);
    struct span argv[] = {span_str("SET"), span_str(key),  span_str("1"),
                          span_str("NX"),  span_str("PX"), span_str(ms)};
    p->l->pending++;
    store_command(p->l->store, argv, COUNTOF(argv), learner_on_claimed, p);
    free(key);
}

static bool lacks(const struct pupil *p, const struct reply *records)
{
    struct caps_record r;

    caps_record_read(&r, records, p->b->name);
    return !r.known || (r.by == CAPS_BY_MASTER && caps_record_is_old(&r, clock_wall_ms()));
}

static void on_learner_records(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct learner *l = owner;

    for (size_t i = 0; rc == REDIS_OK && i < l->n; i++) {
        struct pupil *p = &l->rows[i];
        if (learner_can_ask(p->b) && clock_boot_ms() >= p->next_ms && lacks(p, r))
            learn_claim(p);
    }
    learn_ended(l);
}

void learner_look(struct learner *l)
{
    if (l->pending > 0)
        return;
    l->pending++;
    timer_stop(l->timer);
    store_caps_all(l->store, on_learner_records, l);
}

static void on_learner_timer(void *owner)
{
    learner_look(owner);
}

void learner_again(struct learner *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->rows[i].next_ms = l->rows[i].delay_ms = 0;
        free(l->rows[i].told);
        l->rows[i].told = NULL;
    }
    learner_look(l);
}

/* ---- life ---- */

struct learner *learner_new(struct store *s, learner_tls_fn tls, learner_fn fn, void *owner)
{
    struct learner *l = xcalloc(1, sizeof(*l));

    *l = (struct learner){.store = s, .conf = store_conf(s), .tls = tls, .fn = fn, .owner = owner};
    l->timer = timer_new(store_loop(s), on_learner_timer, l);
    l->n = l->conf->n_backends;
    l->rows = xcalloc(l->n, sizeof(*l->rows));
    for (size_t i = 0; i < l->n; i++)
        l->rows[i] = (struct pupil){.l = l, .b = &l->conf->backends[i]};
    return l;
}

void learner_free(struct learner **lp)
{
    struct learner *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    store_forget(l->store, l);
    for (size_t i = 0; i < l->n; i++) {
        store_forget(l->store, &l->rows[i]);
        backend_login_cancel(&l->rows[i].login);
        free(l->rows[i].told);
    }
    timer_free(&l->timer);
    free(l->rows);
    free(l);
}
