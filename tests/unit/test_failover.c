/* Many sessions after a failover: each registers and each account is read, on one Redis, and no lease lapses.
 *
 * What a proxy does is done here by its own parts (store, lease, queue, doubts, scripts), for sessions that
 * have no sockets. A failover without an outage: the store names another server than the one that answers,
 * all connections are cut, and no session is registered. FAILOVER_SESSIONS, FAILOVER_THREADS and
 * FAILOVER_LEASE (ms) make it larger (make bench-failover); FAILOVER_AS_BEFORE=1 shows what it is against:
 * all calls at once, and the lease on their connection. */
#include "store_unit.h"

#include "proxy/doubts.h"
#include "proxy/queue.h"

enum { AT_ONCE = 16, SPREAD_MS = 500 /* as in proxy.c */, LOOK_MS = 20 };

struct member { /* a session, and its account */
    struct thread *t;
    char user[24], name[96];
    struct queued ask, read;
    bool registered, was_read;
};

struct thread { /* of a proxy */
    struct site *site;
    struct store *store, *lease_store;
    struct lease *lease;
    struct queue *queue;
    struct doubts *doubts;
    struct member *members;
    size_t n;
    unsigned renewed, lapsed, masters;
};

struct site {
    struct unit_store u;
    size_t n_sessions, n_threads, n_registered, n_read;
    uint64_t lease_ms, worst_ms, pinged_ms;
    bool as_before, stopped;
    struct thread *threads;
    struct timer *probe;
};

static size_t setting(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* ---- a session ---- */

static void on_registered(void *owner, enum route_rc rc, const char *detail)
{
    struct member *m = owner;
    struct queue *q = m->t->queue;
    (void)detail;
    queue_done(q, &m->ask);
    if (rc == ROUTE_OK) {
        m->t->site->n_registered += !m->registered;
        m->registered = true;
    } else {
        queue_add(q, &m->ask, RANK_SESSION);
    }
}

static void member_registers(struct queued *q)
{
    struct member *m = CONTAINER_OF(q, struct member, ask);
    doubts_register(m->t->doubts, m->user, m->name, "old", 0, "192.0.2.1:4242", on_registered, m);
}

static void on_read(void *owner, enum route_rc rc, const struct route *r)
{
    struct member *m = owner;
    (void)r;
    queue_done(m->t->queue, &m->read);
    if (rc == ROUTE_OK) {
        m->t->site->n_read += !m->was_read;
        m->was_read = true;
    } else {
        queue_add(m->t->queue, &m->read, RANK_ACCOUNT);
    }
}

static void member_reads(struct queued *q)
{
    struct member *m = CONTAINER_OF(q, struct member, read);
    route_read(m->t->store, m->user, on_read, m);
}

/* ---- a thread ---- */

static void set_pace(struct thread *t)
{
    if (store_state(t->store) == STORE_UP && store_generation(t->store) >= lease_generation(t->lease))
        queue_go(t->queue, t->site->as_before ? 0 : SPREAD_MS);
    else
        queue_hold(t->queue);
}

static void on_store(void *owner, enum store_state state, const char *detail)
{
    struct thread *t = owner;
    (void)state, (void)detail;
    if (t->lease)
        set_pace(t);
}

static void on_lease(void *owner, enum lease_event ev)
{
    struct thread *t = owner;
    t->renewed += ev == LEASE_RENEWED;
    t->lapsed += ev == LEASE_LAPSED;
    t->masters += ev == LEASE_NEW_MASTER;
    if (ev != LEASE_NEW_MASTER)
        return;
    set_pace(t);
    for (size_t i = 0; i < t->n; i++) {
        queue_add(t->queue, &t->members[i].ask, RANK_SESSION);
        queue_add(t->queue, &t->members[i].read, RANK_ACCOUNT);
    }
}

static void never(void *owner, const char *user, uint64_t epoch)
{
    (void)owner, (void)user, (void)epoch;
    fail_msg("nothing is reconciled here");
}

static void thread_begin(struct thread *t, struct site *site, size_t number)
{
    struct unit_store *u = &site->u;
    t->site = site;
    t->n = site->n_sessions / site->n_threads;
    t->queue = queue_new(u->loop, site->as_before ? SIZE_MAX : AT_ONCE);
    t->store = store_new(u->loop, &u->conf, 0, &u->site, u->conf.proxy.store_timeout_ms, on_store, t);
    t->lease_store = store_new_beside(t->store, u->conf.proxy.store_timeout_ms, NULL, NULL);
    t->lease =
        lease_new(site->as_before ? t->store : t->lease_store, "p", site->lease_ms, 600 * 1000, on_lease, t);
    t->doubts = doubts_new(t->store, t->queue, lease_incarnation(t->lease), never, NULL);
    t->members = xcalloc(t->n, sizeof(*t->members));
    for (size_t i = 0; i < t->n; i++) {
        struct member *m = &t->members[i];
        *m = (struct member){.t = t, .ask.fn = member_registers, .read.fn = member_reads};
        snprintf(m->user, sizeof(m->user), "u%zu@example.org", number * t->n + i);
        snprintf(m->name, sizeof(m->name), "%s/%zu", lease_incarnation(t->lease), i);
    }
}

static void thread_end(struct thread *t)
{
    queue_hold(t->queue);
    for (size_t i = 0; i < t->n; i++)
        store_forget(t->store, &t->members[i]);
    doubts_free(&t->doubts);
    queue_free(&t->queue);
    lease_free(&t->lease);
    store_free(&t->lease_store);
    store_free(&t->store);
    free(t->members);
}

/* ---- the site ---- */

static bool each_has(const struct site *s, unsigned masters)
{
    for (size_t i = 0; i < s->n_threads; i++)
        if (s->threads[i].renewed == 0 || s->threads[i].masters < masters)
            return false;
    return true;
}

static unsigned lapses(const struct site *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->n_threads; i++)
        n += s->threads[i].lapsed;
    return n;
}

/* Each account has been moved or is being moved: there is a record, last touched under the former master. */
static void make_routes(struct site *s)
{
    struct unit_store *u = &s->u;
    const char *script =
        "for i = ARGV[1], ARGV[2] do redis.call('HSET', 'unit:route:u' .. i .. '@example.org', 'backend', "
        "'old', 'state', 'resting', 'epoch', '0', 'generation', '1', 'source', 'old', 'target', 'new', "
        "'reason', '', 'attempts', '0') end return redis.status_reply('OK')";
    for (size_t i = 0; i < s->n_sessions; i += 1000) {
        char from[24], to[24];
        snprintf(from, sizeof(from), "%zu", i);
        snprintf(to, sizeof(to), "%zu", i + 999);
        struct unit_reply r = UNIT_COMMAND(u, "EVAL", script, "0", from, to);
        assert_string_equal(r.text, "OK");
    }
}

static void fail_over(struct site *s)
{
    UNIT_COMMAND(&s->u, "HSET", "unit:store", "run_id", "former");
    UNIT_COMMAND(&s->u, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
}

/* How long a command takes that is sent on a connection of its own, as a renewal is. */
static void on_pong(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct site *s = owner;
    uint64_t took = clock_boot_ms() - s->pinged_ms;
    (void)rc, (void)r;
    s->worst_ms = took > s->worst_ms ? took : s->worst_ms;
    if (!s->stopped)
        timer_start(s->probe, LOOK_MS);
}

static void on_probe(void *owner)
{
    struct site *s = owner;
    struct span ping = span_str("PING");
    s->pinged_ms = clock_boot_ms();
    store_command(s->u.store, &ping, 1, on_pong, s);
}

static void run_for(struct site *s, uint64_t ms)
{
    uint64_t end = clock_boot_ms() + ms;
    UNIT_UNTIL(&s->u, clock_boot_ms() >= end);
}

static void report(struct site *s, uint64_t registered_ms, uint64_t read_ms, struct unit_stat before)
{
    struct unit_stat after = unit_stat(&s->u, "fcall");
    uint64_t calls = after.calls - before.calls, usec = after.usec - before.usec;
    printf(
        "failover: %zu sessions of %zu threads: all registered after %.1f s, all accounts read after %.1f s; "
        "%llu scripts, %.0f us of Redis each; slowest answer on another connection %llu ms; "
        "lease %.1f s: %u lapses\n",
        s->n_sessions, s->n_threads, (double)registered_ms / 1000, (double)read_ms / 1000,
        (unsigned long long)calls, calls ? (double)usec / (double)calls : 0, (unsigned long long)s->worst_ms,
        (double)s->lease_ms / 1000, lapses(s));
}

static void site_begin(struct site *s)
{
    struct unit_store *u = &s->u;
    unit_store_begin(u);
    s->n_sessions = setting("FAILOVER_SESSIONS", 6000);
    s->n_threads = setting("FAILOVER_THREADS", 4);
    s->lease_ms = setting("FAILOVER_LEASE", 1200);
    s->as_before = setting("FAILOVER_AS_BEFORE", 0);
    s->n_sessions -= s->n_sessions % s->n_threads;
    s->probe = timer_new(u->loop, on_probe, s);
    s->threads = xcalloc(s->n_threads, sizeof(*s->threads));
    u->conf.proxy.store_timeout_ms = s->lease_ms / 2;
    make_routes(s);
    for (size_t i = 0; i < s->n_threads; i++)
        thread_begin(&s->threads[i], s, i);
    UNIT_UNTIL(u, each_has(s, 0));
}

static void site_end(struct site *s)
{
    s->stopped = true;
    for (size_t i = 0; i < s->n_threads; i++)
        thread_end(&s->threads[i]);
    timer_free(&s->probe);
    unit_store_end(&s->u);
    free(s->threads);
    free(s);
}

static void test_every_session_registers_and_no_lease_lapses(void **state)
{
    struct site *s = xcalloc(1, sizeof(*s));
    (void)state;
    site_begin(s);
    struct unit_stat before = unit_stat(&s->u, "fcall");
    uint64_t start = clock_boot_ms(), registered_ms = 0;
    uint64_t end = start + 20 * s->lease_ms + s->n_sessions * 4;
    fail_over(s);
    on_probe(s);
    while (s->n_read < s->n_sessions && clock_boot_ms() < end) {
        run_for(s, LOOK_MS);
        if (!registered_ms && s->n_registered == s->n_sessions)
            registered_ms = clock_boot_ms() - start;
    }
    report(s, registered_ms, clock_boot_ms() - start, before);
    assert_true(each_has(s, 1));
    assert_int_equal(s->n_registered, s->n_sessions);
    assert_int_equal(s->n_read, s->n_sessions);
    assert_int_equal(lapses(s), 0);
    struct unit_reply r = UNIT_COMMAND(&s->u, "EVAL", "return #redis.call('KEYS', 'unit:sessions:*')", "0");
    assert_int_equal((size_t)r.number, s->n_sessions);
    site_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_session_registers_and_no_lease_lapses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
