/* site: the proxies of a large site and its migrators, on one loop, as the programs' own parts speak: each
 * thread of a proxy has its store, lease, queue, doubts and follower of events (proxy/proxy.c), for sessions
 * that have no sockets. tests/bench/scale.py drives it.
 *
 *   site CONF ACCOUNTS THREADS      the accounts are u0@example.org and so on; a million at most
 *
 * It takes these lines, and answers each with one of JSON:
 *   logins RATE     from now on so many logins a second, each ending the session of another account; 0: none
 *   most N          N logins under way at any time
 *   open N          signs in until there are N sessions, and answers then
 *   flips RATE FROM so many accounts a second are switched over, from FROM on, or where it had come to
 *   move FROM N     moves N accounts from FROM on, 50 at once, and answers when all have settled
 *   looks RATE      at most so many late looks a second at what is due
 *   deaf 0|1        the threads follow no events, or follow them again
 *   stat            what happened since the last one
 * and ends with its standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/events.h"
#include "lib/registry.h"
#include "lib/xalloc.h"
#include "proxy/doubts.h"
#include "proxy/queue.h"

enum {
    AT_ONCE = 16, /* as in proxy.c */
    SPREAD_MS = 500,
    EVENTS_REST_MS = 100,
    TICK_MS = 5,
    TIMES_MAX = 1 << 20,
    MOVES_AT_ONCE = 50,
    DAY_MS = 86400 * 1000,
};

struct thread; /* of a proxy */

struct member { /* a session, and what its thread knows of its account */
    struct thread *t;
    size_t user, place; /* in site.open */
    uint64_t number, epoch;
    const char *backend;
    bool has_to_register, has_to_read;
    struct queued ask, read;
};

struct thread {
    struct site *site;
    struct store *store, *lease_store;
    struct lease *lease;
    struct queue *queue;
    struct doubts *doubts;
    struct events *events;
    uint64_t read_of;
};

struct login {
    struct site *site;
    struct thread *t;
    struct member *m; /* owned, until it is signed in */
    uint64_t began_us;
    const char *backend;
    TAILQ_ENTRY(login) link;
};
TAILQ_HEAD(logins, login);

struct move {
    struct site *site;
    size_t user;
    uint64_t began_us, epoch;
    enum { MOVE_QUEUED, MOVE_COPIED, MOVE_PREPARING, MOVE_FREEZING, MOVE_FLIPPED } step;
    char name[32], token[33], id[48];
    bool has_session;
};

struct times {
    uint32_t us[TIMES_MAX];
    size_t n;
};

struct site {
    struct loop *loop;
    struct conf *conf;
    struct timer *tick;
    uv_poll_t input;
    char line[128];
    size_t line_len;
    bool stopped;
    size_t n_accounts, n_threads;
    struct thread *threads;
    struct member **by_user; /* its session */
    struct move **moves;     /* by user */
    struct member **open;
    size_t n_open, n_wanted, n_under_way, most;
    bool opening;
    uint64_t numbers;
    double login_rate, flip_rate, look_rate, logins_owed, flips_owed, looks_owed;
    uint64_t ticked_us;
    struct logins again; /* met a freeze or no store: once more at the next tick */
    struct store_site shared;
    struct store *store; /* the migrators' */
    struct events *events;
    char group[16];
    size_t move_next, moves_left, n_moves, n_settled_wanted, n_settled;
    bool moving;
    bool reading_jobs, listing;
    struct times login_times, flip_times;
    uint64_t n_logins, n_again, n_flips, n_flips_lost, n_looks, n_events, n_lapses, n_masters;
};

static uint64_t site_us(void)
{
    return uv_hrtime() / 1000;
}

static void site_note(struct times *t, uint64_t us)
{
    if (t->n < TIMES_MAX)
        t->us[t->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void site_say(const char *what)
{
    printf("{\"did\": \"%s\"}\n", what);
    fflush(stdout);
}

static void site_name(char out[32], size_t user)
{
    snprintf(out, 32, "u%zu@example.org", user);
}

/* SIZE_MAX: none of ours. */
static size_t site_user(const struct site *s, struct span name)
{
    size_t n = 0, i = 1;
    if (name.len < 2 || name.p[0] != 'u')
        return SIZE_MAX;
    for (; i < name.len && name.p[i] >= '0' && name.p[i] <= '9'; i++)
        n = n * 10 + (name.p[i] - '0');
    return n < s->n_accounts ? n : SIZE_MAX;
}

static const char *site_backend(const char *name)
{
    return strcmp(name, "new") == 0 ? "new" : "old";
}

/* ---- sessions ---- */

static void member_name(const struct member *m, char out[128])
{
    snprintf(out, 128, "%s/%llu", lease_incarnation(m->t->lease), (unsigned long long)m->number);
}

static void member_on_registered(void *owner, enum route_rc rc, const char *detail)
{
    struct member *m = owner;
    (void)detail;
    queue_done(m->t->queue, &m->ask);
    if (rc == ROUTE_DOWN || rc == ROUTE_NO_STORE)
        queue_add(m->t->queue, &m->ask, RANK_SESSION);
    else
        m->has_to_register = false;
}

static void member_registers(struct queued *q)
{
    struct member *m = CONTAINER_OF(q, struct member, ask);
    char user[32], name[128];
    site_name(user, m->user);
    member_name(m, name);
    doubts_register(m->t->doubts, user, name, m->backend, m->epoch, "192.0.2.17:4242", member_on_registered,
                    m);
}

static void member_on_read(void *owner, enum route_rc rc, const struct route *r)
{
    struct member *m = owner;
    queue_done(m->t->queue, &m->read);
    if (rc == ROUTE_OK) {
        m->has_to_read = false;
        m->backend = site_backend(r->backend);
        m->epoch = r->epoch;
    } else {
        queue_add(m->t->queue, &m->read, RANK_ACCOUNT);
    }
}

static void member_reads(struct queued *q)
{
    struct member *m = CONTAINER_OF(q, struct member, read);
    char user[32];
    site_name(user, m->user);
    route_where(m->t->store, user, NULL, member_on_read, m);
}

static void member_free(struct member *m)
{
    queue_done(m->t->queue, &m->ask);
    queue_done(m->t->queue, &m->read);
    store_forget(m->t->store, m);
    doubts_forget(m->t->doubts, m);
    free(m);
}

static void member_leave(struct site *s, struct member *m)
{
    char user[32], name[128];
    site_name(user, m->user);
    member_name(m, name);
    doubts_leave(m->t->doubts, user, name);
    s->open[m->place] = s->open[--s->n_open];
    s->open[m->place]->place = m->place;
    s->by_user[m->user] = NULL;
    member_free(m);
}

static void member_told(void *owner, enum route_rc rc, const char *detail)
{
    (void)owner, (void)rc, (void)detail;
}

/* What proxy/accounts.c and proxy/freeze.c tell the store on hearing of the account. */
static void member_hears(struct member *m, const struct event *e)
{
    char user[32], name[128];
    bool risen = e->epoch > m->epoch;
    site_name(user, m->user);
    member_name(m, name);
    m->epoch = e->epoch;
    m->backend = span_is(e->backend, "new") ? "new" : "old";
    if (risen && route_is_engaged(e->state))
        route_seen(m->t->store, user, lease_incarnation(m->t->lease), m->epoch, member_told, m);
    if (e->state == ROUTE_READY || e->state == ROUTE_PREPARING)
        lease_renew(m->t->lease);
    if (e->state == ROUTE_PREPARING)
        route_prepared(m->t->store, user, name, m->epoch, member_told, m);
    if (e->state == ROUTE_FREEZING)
        route_frozen(m->t->store, user, name, m->epoch, member_told, m);
}

/* ---- threads ---- */

static void thread_set_pace(struct thread *t)
{
    if (store_state(t->store) == STORE_UP && store_generation(t->store) >= lease_generation(t->lease))
        queue_go(t->queue, SPREAD_MS);
    else
        queue_hold(t->queue);
}

static void thread_reads_all(struct thread *t)
{
    for (size_t i = 0; i < t->site->n_open; i++) {
        struct member *m = t->site->open[i];
        if (m->t != t)
            continue;
        m->has_to_read = true;
        queue_add(t->queue, &m->read, RANK_ACCOUNT);
    }
}

static void thread_on_store(void *owner, enum store_state state, const char *detail)
{
    struct thread *t = owner;
    (void)detail;
    if (!t->lease)
        return;
    thread_set_pace(t);
    if (state == STORE_UP && store_generation(t->store) != t->read_of) {
        t->read_of = store_generation(t->store);
        thread_reads_all(t);
    }
}

static void thread_on_lease(void *owner, enum lease_event ev)
{
    struct thread *t = owner;
    t->site->n_lapses += ev == LEASE_LAPSED;
    t->site->n_masters += ev == LEASE_NEW_MASTER;
    if (ev != LEASE_NEW_MASTER)
        return;
    thread_set_pace(t);
    doubts_new_master(t->doubts);
    for (size_t i = 0; i < t->site->n_open; i++) {
        struct member *m = t->site->open[i];
        if (m->t != t)
            continue;
        m->has_to_register = true;
        queue_add(t->queue, &m->ask, RANK_SESSION);
    }
}

static void thread_on_reconcile(void *owner, const char *user, uint64_t epoch)
{
    (void)owner, (void)user, (void)epoch;
}

static void thread_on_event(void *owner, const struct event *e)
{
    struct thread *t = owner;
    size_t user = site_user(t->site, e->user);
    struct member *m = user == SIZE_MAX ? NULL : t->site->by_user[user];
    if (m && m->t == t)
        events_stay_awake(t->events);
    if (m && m->t == t && span_is(e->kind, "state"))
        member_hears(m, e);
}

static void thread_on_news(void *owner, enum events_news news)
{
    if (news == EVENTS_LIVE)
        thread_reads_all(owner);
}

static void thread_follow(struct thread *t)
{
    t->events = events_new(t->site->loop, t->site->conf, t->site->conf->redis.addresses, thread_on_event,
                           thread_on_news, t);
    events_rest(t->events, EVENTS_REST_MS);
}

static void thread_begin(struct thread *t, struct site *s, size_t number)
{
    const struct conf_proxy *c = &s->conf->proxy;
    char *id = xasprintf("sim%zu", number);
    t->site = s;
    t->queue = queue_new(s->loop, AT_ONCE);
    t->store = store_new(s->loop, s->conf, 0, &s->shared, c->store_timeout_ms, thread_on_store, t);
    t->lease_store = store_new_beside(t->store, c->store_timeout_ms, NULL, NULL);
    t->lease = lease_new(t->lease_store, id, c->lease_ms, c->lease_long_ms, thread_on_lease, t);
    t->doubts = doubts_new(t->store, t->queue, lease_incarnation(t->lease), thread_on_reconcile, t);
    thread_follow(t);
    free(id);
}

/* ---- logins ---- */

static void login_begin(struct site *s);

static void login_end(struct login *l)
{
    struct site *s = l->site;
    s->n_under_way--;
    free(l->m);
    free(l);
    while (s->most && s->n_under_way < s->most && !s->opening)
        login_begin(s);
}

static void login_is_in(struct login *l)
{
    struct site *s = l->site;
    struct member *m = l->m;
    l->m = NULL;
    m->place = s->n_open;
    s->open[s->n_open++] = m;
    s->n_logins++;
    site_note(&s->login_times, site_us() - l->began_us);
    if (!s->opening && s->n_open > s->n_wanted)
        member_leave(s, s->open[random_u64() % s->n_open]);
    if (s->opening && s->n_open == s->n_wanted) {
        s->opening = false;
        s->most = 0;
        site_say("open");
    }
}

static void login_on_enter(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch)
{
    struct login *l = owner;
    struct site *s = l->site;
    (void)state;
    l->m->epoch = epoch;
    l->m->backend = l->backend;
    if (rc == ROUTE_OK) {
        login_is_in(l);
        login_end(l);
    } else {
        s->n_again++;
        TAILQ_INSERT_TAIL(&s->again, l, link);
    }
}

static void login_on_where(void *owner, enum route_rc rc, const struct route *r)
{
    struct login *l = owner;
    struct site *s = l->site;
    char user[32], name[128];
    if (rc != ROUTE_OK || r->state == ROUTE_FREEZING || r->state == ROUTE_FLIPPING) {
        s->n_again++;
        TAILQ_INSERT_TAIL(&s->again, l, link);
        return;
    }
    site_name(user, l->m->user);
    member_name(l->m, name);
    l->backend = site_backend(r->backend);
    struct route_enter e = {.user = user,
                            .session = name,
                            .backend = l->backend,
                            .state = r->state,
                            .epoch = r->epoch,
                            .generation = r->generation,
                            .view = r->view,
                            .address = "192.0.2.17:4242",
                            .source = "old",
                            .target = "new"};
    doubts_enter(l->t->doubts, &e, login_on_enter, l);
}

static void login_try(struct login *l)
{
    char user[32];
    site_name(user, l->m->user);
    route_where(l->t->store, user, NULL, login_on_where, l);
}

static void login_begin(struct site *s)
{
    size_t user = random_u64() % s->n_accounts;
    while (s->by_user[user])
        user = random_u64() % s->n_accounts;
    struct login *l = xcalloc(1, sizeof(*l));
    l->site = s;
    l->t = &s->threads[random_u64() % s->n_threads];
    l->began_us = site_us();
    l->m = xcalloc(1, sizeof(*l->m));
    *l->m = (struct member){
        .t = l->t, .user = user, .number = s->numbers++, .ask.fn = member_registers, .read.fn = member_reads};
    s->by_user[user] = l->m;
    s->n_under_way++;
    login_try(l);
}

/* ---- a migrator: moves that copy nothing ---- */

static void move_on(struct move *v);

static struct route_job move_job(const struct move *v)
{
    return (struct route_job){.user = v->name, .token = v->token, .epoch = v->epoch};
}

static void move_end(struct move *v, bool good)
{
    struct site *s = v->site;
    s->n_moves--;
    s->n_flips += good;
    s->n_flips_lost += !good;
    if (good)
        site_note(&s->flip_times, site_us() - v->began_us);
    s->moves[v->user] = NULL;
    free(v);
}

/* Whose attempt is lost (a failover, a deadline) is left to whoever comes next. */
static void move_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    (void)detail;
    if (rc != ROUTE_OK)
        move_end(v, false);
    else
        move_on(v);
}

static void move_on_prepared(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    uint64_t epoch = 0;
    if (rc != ROUTE_OK || !span_u64(span_str(detail), UINT64_MAX, &epoch)) {
        move_end(v, false);
        return;
    }
    v->epoch = epoch;
    v->step = MOVE_PREPARING;
    v->has_session = v->site->by_user[v->user] != NULL;
    if (!v->has_session) /* else at its word */
        move_on(v);
}

static void move_on_dropped(void *owner, enum route_rc rc, const char *detail)
{
    (void)rc, (void)detail;
    move_end(owner, true);
}

static void move_on_flipped(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    (void)detail;
    if (rc != ROUTE_OK)
        move_end(v, false);
    else
        route_drop(v->site->store, v->name, false, v->id, v->site->group, move_on_dropped, v);
}

static void move_on_flip(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    struct route_job j = move_job(v);
    (void)detail;
    if (rc != ROUTE_OK)
        move_end(v, false);
    else
        route_flipped(v->site->store, &j, 1, 0, move_on_flipped, v);
}

static void move_on_frozen(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    (void)detail;
    if (rc != ROUTE_OK)
        move_end(v, false);
    else if (!v->has_session)
        move_on(v);
}

static void move_on_marked(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    struct route_job j = move_job(v);
    (void)rc, (void)detail;
    route_ready(v->site->store, &j, move_on_done, v);
}

static void move_on_counted(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    struct route_job j = move_job(v);
    char marks[3][32];
    const char *const list[] = {marks[0], marks[1], marks[2]};
    (void)detail;
    if (rc != ROUTE_OK) {
        move_end(v, false);
        return;
    }
    for (size_t i = 0; i < COUNTOF(marks); i++)
        random_hex(marks[i], 12);
    route_fingerprint(v->site->store, &j, list, COUNTOF(list), move_on_marked, v);
}

static void move_copies(struct move *v)
{
    struct route_job j = move_job(v);
    struct route_progress p = {5, 5, 1000, 1000, 1000, 20000000, 20000000, "T0:5"};
    v->step = MOVE_COPIED;
    route_progress(v->site->store, &j, &p, move_on_counted, v);
}

/* To the next step; of those with a session at what it says. */
static void move_on(struct move *v)
{
    struct route_job j = move_job(v);
    char hash[65], *proof = NULL;
    switch (v->step) {
    case MOVE_QUEUED:
        move_copies(v);
        break;
    case MOVE_COPIED:
        route_prepare(v->site->store, &j, 30000, false, move_on_prepared, v);
        break;
    case MOVE_PREPARING:
        v->step = MOVE_FREEZING;
        route_freeze(v->site->store, &j, 30000, move_on_frozen, v);
        break;
    case MOVE_FREEZING:
        v->step = MOVE_FLIPPED;
        random_hex(hash, 32);
        proof = xasprintf("%s 1.%llu mig1", hash, (unsigned long long)v->epoch);
        route_flip(v->site->store, &j, "1=:m0123456789abcdef0123456789abcdef", proof, move_on_flip, v);
        free(proof);
        break;
    case MOVE_FLIPPED:
        break;
    }
}

static void move_on_claim(void *owner, enum route_rc rc, const struct route *r)
{
    struct move *v = owner;
    if (rc != ROUTE_OK) {
        move_end(v, false);
        return;
    }
    v->epoch = r->epoch;
    move_on(v);
}

static void move_on_entries(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct site *s = owner;
    const struct reply *entries = reply_at(reply_at(r, 0), 1);
    s->reading_jobs = false;
    for (size_t i = 0; rc == REDIS_OK && i < reply_count(entries); i++) {
        const struct reply *entry = reply_at(entries, i);
        size_t user = site_user(s, reply_str(reply_get(reply_at(entry, 1), "user")));
        struct move *v = user == SIZE_MAX ? NULL : s->moves[user];
        struct span id = reply_str(reply_at(entry, 0));
        if (!v)
            continue;
        snprintf(v->id, sizeof(v->id), "%.*s", (int)id.len, (const char *)id.p);
        struct route_entry e = {.user = v->name, .id = v->id};
        route_claim(s->store, &e, v->token, s->group, "mig1", move_on_claim, v);
    }
}

static void move_reads_jobs(struct site *s)
{
    if (s->reading_jobs || store_state(s->store) != STORE_UP)
        return;
    char *key = store_key(s->store, "jobs");
    struct span argv[] = {span_str("XREADGROUP"), span_str("GROUP"), span_str(s->group),
                          span_str("mig1"),       span_str("COUNT"), span_str("50"),
                          span_str("STREAMS"),    span_str(key),     span_str(">")};
    s->reading_jobs = true;
    store_command(s->store, argv, COUNTOF(argv), move_on_entries, s);
    free(key);
}

static void move_on_queued(void *owner, enum route_rc rc, const char *detail)
{
    struct move *v = owner;
    (void)detail;
    if (rc != ROUTE_OK)
        move_end(v, false);
}

static void move_begin(struct site *s, size_t user)
{
    if (s->moves[user])
        return;
    struct move *v = xcalloc(1, sizeof(*v));
    v->site = s;
    v->user = user;
    v->began_us = site_us();
    site_name(v->name, user);
    random_hex(v->token, 16);
    s->moves[user] = v;
    s->n_moves++;
    struct route_staff a = {.user = v->name, .who = "root", .reason = ""};
    route_enqueue(s->store, &a, "old", "new", false, false, false, false, move_on_queued, v);
}

/* What the migrators hear: the word of a session. */
static void site_on_event(void *owner, const struct event *e)
{
    struct site *s = owner;
    size_t user = site_user(s, e->user);
    struct move *v = user == SIZE_MAX ? NULL : s->moves[user];
    s->n_events++;
    if (!v || !v->has_session)
        return;
    if (v->step == MOVE_PREPARING && (span_is(e->kind, "prepared") || span_is(e->kind, "left")))
        move_on(v);
    else if (v->step == MOVE_FREEZING && (span_is(e->kind, "frozen") || span_is(e->kind, "left")))
        move_on(v);
}

static void site_on_news(void *owner, enum events_news news)
{
    (void)owner, (void)news;
}

/* ---- late looks ---- */

struct look {
    struct site *site;
    char name[32], token[33];
};

static void look_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct look *k = owner;
    struct site *s = k->site;
    (void)detail;
    s->n_looks += rc == ROUTE_OK;
    s->n_settled += rc == ROUTE_OK;
    if (s->moving && s->n_settled >= s->n_settled_wanted) {
        s->moving = false;
        site_say("move");
    }
    free(k);
}

static void look_on_claim(void *owner, enum route_rc rc, const struct route *r)
{
    struct look *k = owner;
    if (rc != ROUTE_OK) {
        free(k);
        return;
    }
    struct route_job j = {.user = k->name, .token = k->token, .epoch = r->epoch};
    route_late_done(k->site->store, &j, DAY_MS, true, 0, 0, true, look_on_done, k);
}

static void look_on_list(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct site *s = owner;
    s->listing = false;
    for (size_t i = 0; rc == ROUTE_OK && i < n && s->looks_owed >= 1; i++, s->looks_owed--) {
        struct look *k = xcalloc(1, sizeof(*k));
        k->site = s;
        snprintf(k->name, sizeof(k->name), "%.*s", (int)rows[i].len, (const char *)rows[i].p);
        random_hex(k->token, 16);
        route_late_claim(s->store, k->name, k->token, 30000, look_on_claim, k);
    }
}

/* ---- the site ---- */

static double site_owed(double owed, double rate, double seconds)
{
    double more = rate > 0 ? owed + rate * seconds : 0;
    return more > rate + 1 ? rate + 1 : more; /* who was held up for long does not catch up at once */
}

static void site_moves_on(struct site *s)
{
    for (; s->flips_owed >= 1 && s->move_next < s->n_accounts; s->flips_owed--)
        move_begin(s, s->move_next++);
    while (s->moves_left > 0 && s->n_moves < MOVES_AT_ONCE) {
        move_begin(s, s->move_next++);
        s->moves_left--;
    }
    if (s->n_moves > 0)
        move_reads_jobs(s);
}

static void site_tries_again(struct site *s)
{
    struct login *l;
    struct logins now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &s->again, link);
    while ((l = TAILQ_FIRST(&now))) {
        TAILQ_REMOVE(&now, l, link);
        login_try(l);
    }
}

static void site_on_tick(void *owner)
{
    struct site *s = owner;
    uint64_t us = site_us();
    double seconds = (double)(us - s->ticked_us) / 1e6;
    s->ticked_us = us;
    s->logins_owed = site_owed(s->logins_owed, s->login_rate, seconds);
    s->flips_owed = site_owed(s->flips_owed, s->flip_rate, seconds);
    s->looks_owed = site_owed(s->looks_owed, s->look_rate, seconds);
    site_tries_again(s);
    for (; s->logins_owed >= 1; s->logins_owed--)
        login_begin(s);
    while (s->opening && s->n_under_way < s->most && s->n_open + s->n_under_way < s->n_wanted)
        login_begin(s);
    site_moves_on(s);
    if (s->looks_owed >= 1 && !s->listing && store_state(s->store) == STORE_UP) {
        s->listing = true;
        route_late_list(s->store, 100, look_on_list, s);
    }
    timer_start(s->tick, TICK_MS);
}

static int times_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void times_print(const char *name, struct times *t)
{
    qsort(t->us, t->n, sizeof(t->us[0]), times_compare);
    printf(", \"%s\": [%u, %u, %u]", name, t->n ? t->us[t->n / 2] : 0, t->n ? t->us[t->n * 99 / 100] : 0,
           t->n ? t->us[t->n - 1] : 0);
    t->n = 0;
}

static void site_stat(struct site *s)
{
    size_t unregistered = 0, unread = 0, leased = 0;
    for (size_t i = 0; i < s->n_open; i++) {
        unregistered += s->open[i]->has_to_register;
        unread += s->open[i]->has_to_read;
    }
    for (size_t i = 0; i < s->n_threads; i++)
        leased += lease_is_valid(s->threads[i].lease, true);
    printf("{\"logins\": %llu, \"again\": %llu, \"under_way\": %zu, \"open\": %zu, \"flips\": %llu, "
           "\"flips_lost\": %llu, \"looks\": %llu, \"events\": %llu, \"lapses\": %llu, \"masters\": %llu, "
           "\"unregistered\": %zu, \"unread\": %zu, \"leased\": %zu",
           (unsigned long long)s->n_logins, (unsigned long long)s->n_again, s->n_under_way, s->n_open,
           (unsigned long long)s->n_flips, (unsigned long long)s->n_flips_lost,
           (unsigned long long)s->n_looks, (unsigned long long)s->n_events, (unsigned long long)s->n_lapses,
           (unsigned long long)s->n_masters, unregistered, unread, leased);
    times_print("login_us", &s->login_times);
    times_print("flip_us", &s->flip_times);
    printf("}\n");
    fflush(stdout);
    s->n_logins = s->n_again = s->n_flips = s->n_flips_lost = s->n_looks = s->n_events = s->n_lapses =
        s->n_masters = 0;
}

static void site_deaf(struct site *s, bool deaf)
{
    for (size_t i = 0; i < s->n_threads; i++) {
        struct thread *t = &s->threads[i];
        if (deaf)
            events_free(&t->events);
        else if (!t->events)
            thread_follow(t);
    }
}

/* ---- its orders ---- */

static void site_open(struct site *s, size_t n)
{
    s->most = 200;
    s->n_wanted = n;
    s->opening = s->n_open < n;
    if (!s->opening)
        site_say("open");
}

static void site_most(struct site *s, size_t n)
{
    s->most = n;
    while (s->n_under_way < s->most)
        login_begin(s);
    site_say("most");
}

static void site_move(struct site *s, size_t from, size_t n)
{
    s->move_next = from;
    s->moves_left = s->n_settled_wanted = n;
    s->n_settled = 0;
    s->moving = true;
}

static void site_obey(struct site *s, const char *line)
{
    char word[16] = "";
    double a = 0, b = 0;
    if (sscanf(line, "%15s %lf %lf", word, &a, &b) < 1)
        return;
    if (strcmp(word, "stat") == 0) {
        site_stat(s);
    } else if (strcmp(word, "open") == 0) {
        site_open(s, (size_t)a);
    } else if (strcmp(word, "most") == 0) {
        site_most(s, (size_t)a);
    } else if (strcmp(word, "move") == 0) {
        site_move(s, (size_t)a, (size_t)b);
    } else {
        if (strcmp(word, "logins") == 0) {
            s->login_rate = a;
            s->most = 0;
        } else if (strcmp(word, "flips") == 0) {
            s->flip_rate = a;
            s->move_next = b > 0 ? (size_t)b : s->move_next;
        } else if (strcmp(word, "looks") == 0) {
            s->look_rate = a;
        } else if (strcmp(word, "deaf") == 0) {
            site_deaf(s, a > 0);
        }
        site_say(word);
    }
}

static void site_on_input(uv_poll_t *poll, int status, int events)
{
    struct site *s = poll->data;
    ssize_t n = read(0, s->line + s->line_len, sizeof(s->line) - 1 - s->line_len);
    char *end = NULL;
    (void)status, (void)events;
    if (n <= 0) {
        s->stopped = true;
        return;
    }
    s->line_len += (size_t)n;
    s->line[s->line_len] = '\0';
    while ((end = strchr(s->line, '\n'))) {
        *end = '\0';
        site_obey(s, s->line);
        s->line_len -= (size_t)(end + 1 - s->line);
        memmove(s->line, end + 1, s->line_len + 1);
    }
}

static bool site_is_there(const struct site *s)
{
    for (size_t i = 0; i < s->n_threads; i++)
        if (store_state(s->threads[i].store) != STORE_UP || !lease_is_valid(s->threads[i].lease, true))
            return false;
    return store_state(s->store) == STORE_UP;
}

static void site_on_group(void *owner, enum redis_rc rc, const struct reply *r)
{
    (void)owner, (void)rc, (void)r; /* it may be there already */
}

static void site_make_group(struct site *s)
{
    char *key = store_key(s->store, "jobs");
    struct span argv[] = {span_str("XGROUP"), span_str("CREATE"), span_str(key),
                          span_str(s->group), span_str("0"),      span_str("MKSTREAM")};
    store_command(s->store, argv, COUNTOF(argv), site_on_group, s);
    free(key);
}

static void site_begin(struct site *s)
{
    s->loop = loop_new();
    s->by_user = xcalloc(s->n_accounts, sizeof(struct member *));
    s->moves = xcalloc(s->n_accounts, sizeof(struct move *));
    s->open = xcalloc(s->n_accounts, sizeof(struct member *));
    s->threads = xcalloc(s->n_threads, sizeof(*s->threads));
    TAILQ_INIT(&s->again);
    strcpy(s->group, "migrators");
    s->store = store_new(s->loop, s->conf, 0, &s->shared, s->conf->proxy.store_timeout_ms, NULL, NULL);
    s->events = events_new(s->loop, s->conf, s->conf->redis.addresses, site_on_event, site_on_news, s);
    for (size_t i = 0; i < s->n_threads; i++)
        thread_begin(&s->threads[i], s, i);
    s->tick = timer_new(s->loop, site_on_tick, s);
    s->ticked_us = site_us();
    timer_start(s->tick, TICK_MS);
    uv_poll_init(&s->loop->uv, &s->input, 0);
    s->input.data = s;
    uv_poll_start(&s->input, UV_READABLE, site_on_input);
}

int main(int argc, char **argv)
{
    struct site *s = xcalloc(1, sizeof(*s));
    char *error = NULL;
    if (argc != 4 || !(s->conf = conf_load(argv[1], CONF_PROXY, &error))) {
        fprintf(stderr, "usage: site CONF ACCOUNTS THREADS\n%s\n", error ? error : "");
        return 2;
    }
    s->n_accounts = strtoul(argv[2], NULL, 10);
    s->n_threads = strtoul(argv[3], NULL, 10);
    site_begin(s);
    while (!site_is_there(s) && !s->stopped)
        uv_run(&s->loop->uv, UV_RUN_ONCE);
    site_make_group(s);
    site_say("begin");
    while (!s->stopped)
        uv_run(&s->loop->uv, UV_RUN_ONCE);
    return 0; /* what the kernel has to tidy up takes a tenth of what each of 100,000 sessions would */
}
