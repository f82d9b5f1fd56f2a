#include "lib/view.h"
#include "store_unit.h"

static int setup(void **state)
{
    struct unit_store *u = xcalloc(1, sizeof(*u));
    unit_store_begin(u);
    *state = u;
    return 0;
}

static int setup_alone(void **state)
{
    struct unit_store *u = xcalloc(1, sizeof(*u));
    unit_store_make(u);
    *state = u;
    return 0;
}

static int teardown(void **state)
{
    struct unit_store *u = *state;
    unit_store_end(u);
    free(u);
    return 0;
}

/* ---- names of keys ---- */

struct names_told {
    const struct store *store;
    bool done;
    struct buf text;
};

static void on_keys(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct names_told *t = owner;
    struct span names[16];
    assert_int_equal(rc, REDIS_OK);
    size_t n = store_names(t->store, "route", r, names);
    for (size_t i = 0; i < n; i++) {
        buf_add_span(&t->text, names[i]);
        buf_add_str(&t->text, ";");
    }
    t->done = true;
}

/* A Redis that says what was not asked for is not read past the end of what it says. */
static void test_names_of_keys(void **state)
{
    struct unit_store *u = *state;
    struct names_told t = {.store = u->store};
    struct span argv[] = {span_str("LRANGE"), span_str("keys"), span_str("0"), span_str("-1")};
    UNIT_COMMAND(u, "RPUSH", "keys", "unit:route:ann@example.org", "", "unit",
                 "unit:route:", "other:route:bob", "unit:sessions:eve", "unit:route:a:b");
    store_command(u->store, argv, COUNTOF(argv), on_keys, &t);
    UNIT_UNTIL(u, t.done);
    assert_string_equal(buf_str(&t.text), "ann@example.org;a:b;");
    buf_free(&t.text);
}

/* ---- routes as read ---- */

struct read_answer {
    bool done, exists, force, back, now;
    enum route_rc rc;
    enum route_state state;
    uint64_t epoch, generation, deadline_ms, now_ms, next_try_ms;
    char backend[32], source[32], target[32], owner[64], reason[64], tiers[64], held_from[32];
    uint64_t messages_done;
};

static void on_read(void *owner, enum route_rc rc, const struct route *r)
{
    struct read_answer *a = owner;
    a->done = true;
    a->rc = rc;
    assert_true((rc == ROUTE_OK) == (r != NULL));
    if (!r)
        return;
    a->exists = r->exists;
    a->state = r->state;
    a->epoch = r->epoch;
    a->generation = r->generation;
    a->deadline_ms = r->deadline_ms;
    a->now_ms = r->now_ms;
    a->next_try_ms = r->next_try_ms;
    a->force = r->force;
    a->back = r->back;
    a->now = r->now;
    a->messages_done = r->progress.messages_done;
    snprintf(a->tiers, sizeof(a->tiers), "%s", r->progress.tiers);
    snprintf(a->backend, sizeof(a->backend), "%s", r->backend);
    snprintf(a->source, sizeof(a->source), "%s", r->source);
    snprintf(a->target, sizeof(a->target), "%s", r->target);
    snprintf(a->owner, sizeof(a->owner), "%s", r->owner);
    snprintf(a->reason, sizeof(a->reason), "%s", r->reason);
    snprintf(a->held_from, sizeof(a->held_from), "%s", r->held_from);
}

static struct read_answer read_route(struct unit_store *u, const char *user)
{
    struct read_answer a = {0};
    route_read(u->store, user, on_read, &a);
    assert_false(a.done);
    UNIT_UNTIL(u, a.done);
    return a;
}

static struct read_answer claim(struct unit_store *u, const char *user, const char *token)
{
    struct read_answer a = {0};
    route_claim(u->store, &(struct route_entry){.user = user}, token, "", "unit", on_read, &a);
    UNIT_UNTIL(u, a.done);
    return a;
}

struct enter_answer {
    bool done;
    enum route_rc rc;
    enum route_state state;
    uint64_t epoch;
};

static void on_enter(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch)
{
    *(struct enter_answer *)owner = (struct enter_answer){true, rc, state, epoch};
}

static struct enter_answer enter(struct unit_store *u, const char *user, const char *session, bool enqueue)
{
    struct read_answer r = read_route(u, user);
    struct enter_answer a = {0};
    struct route_enter e = {.user = user,
                            .session = session,
                            .backend = r.backend,
                            .state = r.state,
                            .epoch = r.epoch,
                            .generation = r.generation,
                            .address = "192.0.2.1 x",
                            .enqueue = enqueue,
                            .source = "old",
                            .target = "new",
                            .sealed = BYTES("sealed"),
                            .sealed_ttl_ms = 60000};
    route_enter(u->store, &e, on_enter, &a);
    assert_false(a.done);
    UNIT_UNTIL(u, a.done);
    return a;
}

static void test_names_of_states(void **state)
{
    (void)state;
    for (int i = ROUTE_RESTING; i <= ROUTE_HELD; i++) {
        enum route_state s = ROUTE_HELD;
        assert_true(route_state_parse(span_str(route_state_name((enum route_state)i)), &s));
        assert_int_equal(s, i);
    }
    enum route_state s = ROUTE_HELD;
    assert_false(route_state_parse(BYTES("restin"), &s));
    assert_false(route_state_parse(BYTES(""), &s));
    assert_false(route_is_engaged(ROUTE_RESTING) || route_is_engaged(ROUTE_SETTLED) ||
                 route_is_engaged(ROUTE_HELD) || route_is_engaged(ROUTE_BLOCKED));
    assert_true(route_is_engaged(ROUTE_QUEUED) && route_is_engaged(ROUTE_FLIPPED) &&
                route_is_engaged(ROUTE_BACKOFF));
}

/* ---- events ---- */

struct seen {
    struct events *events;
    unsigned live, gaps, count;
    char kinds[64][16], states[64][16], users[64][32];
    uint64_t numbers[64], epochs[64];
};

static void on_event(void *owner, const struct event *e)
{
    struct seen *s = owner;
    unsigned i = s->count++;
    assert_true(i < 64);
    snprintf(s->kinds[i], 16, "%.*s", (int)e->kind.len, (const char *)e->kind.p);
    snprintf(s->users[i], 32, "%.*s", (int)e->user.len, e->user.len ? (const char *)e->user.p : "");
    snprintf(s->states[i], 16, "%s", route_state_name(e->state));
    s->numbers[i] = e->number;
    s->epochs[i] = e->epoch;
}

static void on_news(void *owner, enum events_news news)
{
    struct seen *s = owner;
    s->live += news == EVENTS_LIVE;
    s->gaps += news == EVENTS_GAP;
}

static void follow(struct unit_store *u, struct seen *s)
{
    s->events = events_new(u->loop, &u->conf, &u->address, on_event, on_news, s);
    UNIT_UNTIL(u, s->live == 1);
}

static void test_a_whole_migration(void **state)
{
    struct unit_store *u = *state;
    struct seen seen = {0};
    struct read_answer r = read_route(u, "ann");
    struct unit_answer a;

    assert_true(!r.exists && r.rc == ROUTE_OK && r.state == ROUTE_RESTING && r.epoch == 0 &&
                r.generation == 1);
    assert_string_equal(r.backend, "old");
    follow(u, &seen);
    struct enter_answer e = enter(u, "ann", "p1/1", true);
    assert_true(e.rc == ROUTE_OK && e.state == ROUTE_QUEUED && e.epoch == 0);
    r = claim(u, "ann", "tok");
    assert_true(r.rc == ROUTE_OK && r.exists && r.state == ROUTE_COPYING && r.epoch == 1);
    assert_string_equal(r.owner, "tok");
    assert_string_equal(r.source, "old");
    assert_string_equal(r.target, "new");

    struct route_job j = {"ann", "tok", 1};
    struct route_progress p = {1, 2, 3, 4, 5, 6, 7, "T3:12"};
    UNIT_DO_RC(u, ROUTE_OK, route_seen, "ann", "p1", 1);
    UNIT_DO_RC(u, ROUTE_OK, route_progress, &j, &p);
    UNIT_DO_RC(u, ROUTE_OK, route_ready, &j);
    UNIT_DO_RC(u, ROUTE_OK, route_recopy, &j);
    UNIT_DO_RC(u, ROUTE_OK, route_ready, &j);
    UNIT_DO(u, a, route_prepare, &j, 60000, false);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_string_equal(a.detail, "2");
    UNIT_DO_RC(u, ROUTE_LOST, route_freeze, &j, 60000);
    j.epoch = 2;
    UNIT_DO_RC(u, ROUTE_OK, route_freeze, &j, 60000);
    r = read_route(u, "ann");
    assert_true(r.state == ROUTE_FREEZING && r.deadline_ms > r.now_ms && r.deadline_ms <= r.now_ms + 60000);
    assert_int_equal(r.messages_done, 3);
    assert_string_equal(r.tiers, "T3:12");
    UNIT_DO_RC(u, ROUTE_REFUSED, route_thaw, "ann");
    assert_int_equal(enter(u, "ann", "p1/2", true).rc, ROUTE_WAIT);
    UNIT_DO(u, a, route_flip, &j, "1:ab", "");
    assert_int_equal(a.rc, ROUTE_BUSY);
    assert_string_equal(a.detail, "1");
    UNIT_DO_RC(u, ROUTE_WAIT, route_resume, "ann", "p1/1", "old", 1);
    UNIT_DO_RC(u, ROUTE_LOST, route_frozen, "ann", "p1/1", 1);
    UNIT_DO_RC(u, ROUTE_OK, route_frozen, "ann", "p1/1", 2);
    UNIT_DO_RC(u, ROUTE_OK, route_flip, &j, "1:ab", "");
    UNIT_DO(u, a, route_flipped, &j, 0, 0);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_string_equal(a.detail, "3");
    r = read_route(u, "ann");
    assert_true(r.state == ROUTE_FLIPPED && r.epoch == 3);
    assert_string_equal(r.backend, "new");
    UNIT_DO_RC(u, ROUTE_LOST, route_resume, "ann", "p1/1", "old", 2);

    static const char *const want[] = {"queued",    "copying",  "copying",  "ready",    "copying", "ready",
                                       "preparing", "freezing", "freezing", "flipping", "flipped"};
    UNIT_UNTIL(u, seen.count == COUNTOF(want));
    for (unsigned i = 0; i < COUNTOF(want); i++) {
        assert_string_equal(seen.states[i], want[i]);
        assert_string_equal(seen.users[i], "ann");
        assert_int_equal(seen.numbers[i], i + 1);
    }
    assert_string_equal(seen.kinds[2], "seen");
    assert_string_equal(seen.kinds[8], "frozen");
    assert_true(seen.live == 1 && seen.gaps == 0);
    events_free(&seen.events);
}

/* Events one by one, as a large site has them, of accounts that a proxy does not have; then what it waits for. */
static void test_a_follower_rests_between_what_is_of_no_use(void **state)
{
    enum { EVENTS = 40, REST_MS = 200 };
    struct unit_store *u = *state;
    struct seen seen = {0};
    char user[16];
    follow(u, &seen);
    events_rest(seen.events, REST_MS);
    uint64_t before = unit_stat(u, "xread").calls;
    for (unsigned i = 0; i < EVENTS; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        uint64_t next = clock_boot_ms() + 10;
        assert_int_equal(enter(u, user, "p1/1", true).rc, ROUTE_OK);
        UNIT_UNTIL(u, clock_boot_ms() >= next);
        if (i == 0)
            UNIT_UNTIL(u, seen.count == 1); /* the first one at once */
    }
    UNIT_UNTIL(u, seen.count == EVENTS);
    assert_true(unit_stat(u, "xread").calls - before <= EVENTS / 2);
    assert_int_equal(seen.gaps, 0);

    assert_int_equal(enter(u, "ann", "p1/1", true).rc, ROUTE_OK);
    UNIT_UNTIL(u, seen.count == EVENTS + 1);
    uint64_t start = clock_boot_ms(); /* it rests now */
    events_stay_awake(seen.events);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(user, sizeof(user), "w%u", i);
        assert_int_equal(enter(u, user, "p1/1", true).rc, ROUTE_OK);
        UNIT_UNTIL(u, seen.count == EVENTS + 2 + i);
    }
    uint64_t awake = clock_boot_ms() - start;
    assert_true(awake < 10 * REST_MS / 2);
    events_free(&seen.events);
}

static void test_thaw_abort_backoff_block(void **state)
{
    struct unit_store *u = *state;
    struct route_job j = {"ann", "tok", 1};
    struct unit_answer a;

    enter(u, "ann", "p1/1", true);
    claim(u, "ann", "tok");
    UNIT_DO_RC(u, ROUTE_OK, route_ready, &j);
    UNIT_DO_RC(u, ROUTE_OK, route_prepare, &j, 1, false);
    j.epoch = 2;
    /* Redis' clock has to pass the millisecond of the deadline: the answer says when it has. */
    do
        UNIT_DO(u, a, route_thaw, "ann");
    while (a.rc == ROUTE_REFUSED);
    assert_int_equal(a.rc, ROUTE_OK);
    struct read_answer r = read_route(u, "ann");
    assert_true(r.state == ROUTE_READY && strncmp(r.reason, "deadline", 8) == 0);
    UNIT_DO_RC(u, ROUTE_OK, route_prepare, &j, 60000, false);
    j.epoch = 3;
    UNIT_DO_RC(u, ROUTE_OK, route_abort, &j, "proxy: silent");
    UNIT_DO_RC(u, ROUTE_OK, route_abort, &j, "proxy: silent");
    UNIT_DO_RC(u, ROUTE_OK, route_backoff, &j, "source: down", 1, true, "");
    UNIT_DO_RC(u, ROUTE_OK, route_backoff, &j, "source: down", 1, true, "");
    do
        UNIT_DO(u, a, route_due, 10);
    while (strcmp(a.detail, "0") == 0);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_string_equal(a.detail, "1");
    r = claim(u, "ann", "tok2");
    assert_true(r.rc == ROUTE_OK && r.epoch == 4);
    j = (struct route_job){"ann", "tok2", 4};
    UNIT_DO_RC(u, ROUTE_OK, route_block, &j, "quota: full");
    assert_int_equal(claim(u, "ann", "tok3").rc, ROUTE_REFUSED);
    r = read_route(u, "ann");
    assert_true(r.state == ROUTE_BLOCKED);
    assert_string_equal(r.reason, "quota: full");
}

/* ---- staff ---- */

static void on_control(void *owner, enum route_rc rc, const struct route_control *c)
{
    struct unit_answer *a = owner;
    a->done = true;
    a->rc = rc;
    snprintf(a->detail, sizeof(a->detail), "%d %s %s %d", c->paused, c->by, c->reason, c->since_ms > 0);
}

static void test_staff(void **state)
{
    struct unit_store *u = *state;
    struct route_staff staff = {"ann", "root", "because"};
    struct unit_answer a;

    UNIT_DO_RC(u, ROUTE_REFUSED, route_retry, &staff, "");
    UNIT_DO_RC(u, ROUTE_REFUSED, route_now, &staff);
    UNIT_DO(u, a, route_enqueue, &staff, "new", "old", false, true, true, false);
    assert_int_equal(a.rc, ROUTE_REFUSED);
    assert_string_equal(a.detail, "resting on old");
    UNIT_DO(u, a, route_enqueue, &staff, "old", "new", true, true, false, false);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_string_equal(a.detail, "queued");
    UNIT_DO_RC(u, ROUTE_OK, route_now, &staff);
    struct read_answer r = read_route(u, "ann");
    assert_true(r.force && !r.back && r.now);
    UNIT_DO_RC(u, ROUTE_OK, route_hold, &staff);
    r = read_route(u, "ann");
    assert_true(r.state == ROUTE_HELD);
    assert_string_equal(r.held_from, "queued");
    assert_string_equal(r.reason, "held: because");
    UNIT_DO(u, a, route_release, &staff);
    assert_string_equal(a.detail, "queued");
}

static void test_pause(void **state)
{
    struct unit_store *u = *state;
    struct unit_answer a = {0};

    route_control_read(u->store, on_control, &a);
    UNIT_UNTIL(u, a.done);
    assert_string_equal(a.detail, "0   0");
    UNIT_DO_RC(u, ROUTE_OK, route_pause, true, "root", "stop", "");
    enter(u, "ann", "p1/1", true);
    assert_int_equal(claim(u, "ann", "tok").rc, ROUTE_PAUSED);
    a.done = false;
    route_control_read(u->store, on_control, &a);
    UNIT_UNTIL(u, a.done);
    assert_string_equal(a.detail, "1 root stop 1");
    UNIT_DO_RC(u, ROUTE_OK, route_pause, false, "root", "go", "");
    assert_int_equal(claim(u, "ann", "tok").rc, ROUTE_OK);
}

/* ---- sessions ---- */

struct rows_seen {
    bool done;
    enum redis_rc rc;
    size_t n;
    char text[1024];
};

static void on_list(void *owner, enum redis_rc rc, const struct registration *rows, size_t n)
{
    struct rows_seen *s = owner;
    size_t at = 0;
    s->done = true;
    s->rc = rc;
    s->n = n;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(
            s->text + at, sizeof(s->text) - at, "%.*s|%.*s|%d|%d|%.*s\n", (int)rows[i].session.len,
            (const char *)rows[i].session.p, (int)rows[i].backend.len,
            rows[i].backend.len ? (const char *)rows[i].backend.p : "", (int)rows[i].epoch, rows[i].mode,
            (int)rows[i].address.len, rows[i].address.len ? (const char *)rows[i].address.p : "");
}

static struct rows_seen list(struct unit_store *u, const char *user)
{
    struct rows_seen s = {0};
    registry_list(u->store, user, on_list, &s);
    UNIT_UNTIL(u, s.done);
    assert_int_equal(s.rc, REDIS_OK);
    return s;
}

static void test_registrations(void **state)
{
    struct unit_store *u = *state;
    const char *keep[] = {"p1/1"};

    assert_int_equal(enter(u, "ann", "p1/1", false).state, ROUTE_RESTING);
    assert_string_equal(list(u, "ann").text, "p1/1|old|0|0|192.0.2.1 x\n");
    assert_int_equal(enter(u, "ann", "p1/2", false).rc, ROUTE_OK);
    UNIT_DO_RC(u, ROUTE_OK, route_resume, "ann", "p1/2", "old", 0);
    UNIT_DO_RC(u, ROUTE_LOST, route_resume, "ann", "p1/2", "new", 0);
    UNIT_DO_RC(u, ROUTE_LOST, route_reconcile, "ann", "p1", 0, keep, 1);
    assert_int_equal(list(u, "ann").n, 2);
    UNIT_DO_RC(u, ROUTE_OK, route_register, "ann", "p1/2", "old", 0, "192.0.2.2");
    UNIT_DO_RC(u, ROUTE_LOST, route_register, "ann", "p1/3", "new", 0, "192.0.2.2");
    assert_int_equal(list(u, "ann").n, 2);
    UNIT_DO_RC(u, ROUTE_OK, route_leave, "ann", "p1/1");
    UNIT_DO_RC(u, ROUTE_OK, route_leave, "ann", "p1/2");
    assert_int_equal(list(u, "ann").n, 0);
}

static void test_registrations_of_others_make(void **state)
{
    struct unit_store *u = *state;
    static const char *const odd[] = {"",
                                      "old",
                                      "old 1 running x",
                                      "old 1 running x 1 ",
                                      "old  1 running x 1",
                                      "old 1 running x -1",
                                      "old 99999999999999999999 running x 1",
                                      "old 1 asleep x 1",
                                      "old%4 1 running x 1",
                                      "old 1 running %zz 1",
                                      "\xff\xfe"};
    for (size_t i = 0; i < COUNTOF(odd); i++) {
        UNIT_COMMAND(u, "HSET", "unit:sessions:eve", "p9/9", odd[i]);
        assert_string_equal(list(u, "eve").text, "p9/9||0|0|\n");
    }
    UNIT_COMMAND(u, "HSET", "unit:sessions:eve", "p9/9", "% 7 frozen a%20b%00 5");
    assert_string_equal(list(u, "eve").text, "p9/9||7|2|a b\n");
}

/* ---- what jobs keep ---- */

struct keeping {
    unsigned calls, rows;
    bool end;
    enum route_rc rc;
    char first[64], last[64];
    struct store *forget; /* from inside the first call */
};

static void on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct keeping *k = owner;
    k->calls++;
    k->rc = rc;
    k->end = rc != ROUTE_OK || n == 0;
    if (k->forget)
        store_forget(k->forget, k);
    if (n == 0)
        return;
    if (k->rows == 0)
        snprintf(k->first, sizeof(k->first), "%.*s", (int)rows[0].len, (const char *)rows[0].p);
    snprintf(k->last, sizeof(k->last), "%.*s", (int)rows[n - 1].len, (const char *)rows[n - 1].p);
    k->rows += (unsigned)n;
}

static void test_ledger_in_pages(void **state)
{
    struct unit_store *u = *state;
    struct route_job j = {"ann", "tok", 1};
    static char texts[2500][16];
    struct span entries[2500];
    struct keeping k = {0};

    for (size_t i = 0; i < COUNTOF(entries); i++) {
        snprintf(texts[i], sizeof(texts[i]), "row %zu", i);
        entries[i] = span_str(texts[i]);
    }
    enter(u, "ann", "p1/1", true);
    UNIT_DO_RC(u, ROUTE_LOST, route_ledger_append, &j, "rec", entries, 3);
    claim(u, "ann", "tok");
    UNIT_DO_RC(u, ROUTE_OK, route_ledger_append, &j, "rec", entries, 2500);
    UNIT_DO_RC(u, ROUTE_OK, route_ledger_append, &j, "rec", entries, 2500);
    route_ledger_read(u->store, "ann", "rec", on_rows, &k);
    UNIT_UNTIL(u, k.end);
    assert_int_equal(k.rc, ROUTE_OK);
    assert_int_equal(k.rows, 2500);
    assert_int_equal(k.calls, 2500 / 64 + 2); /* pages of 64 entries, the last one short, and the end */
    assert_string_equal(k.first, "row 0");
    assert_string_equal(k.last, "row 2499");

    k = (struct keeping){.forget = u->store};
    route_ledger_read(u->store, "ann", "rec", on_rows, &k);
    UNIT_UNTIL(u, k.calls > 0);
    read_route(u, "ann");
    assert_int_equal(k.calls, 1);

    UNIT_DO_RC(u, ROUTE_OK, route_ledger_drop, &j, "rec");
    k = (struct keeping){0};
    route_ledger_read(u->store, "ann", "rec", on_rows, &k);
    UNIT_UNTIL(u, k.end);
    assert_true(k.rows == 0 && k.calls == 1);
}

static void test_views_and_secret(void **state)
{
    struct unit_store *u = *state;
    struct route_job j = {"ann", "tok", 1};
    struct span pairs[] = {BYTES("INBOX"), BYTES("r\0x"), BYTES("Sent"), BYTES("r2")},
                drop[] = {BYTES("INBOX")};
    struct keeping k = {0};

    enter(u, "ann", "p1/1", true);
    claim(u, "ann", "tok");
    UNIT_DO_RC(u, ROUTE_OK, route_views_write, &j, NULL, 0, pairs, 2);
    UNIT_DO_RC(u, ROUTE_OK, route_views_write, &j, drop, 1, NULL, 0);
    route_views_read(u->store, "ann", on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_true(k.rows == 2);
    assert_string_equal(k.first, "Sent");
    assert_string_equal(k.last, "r2");

    k = (struct keeping){0};
    route_secret_read(u->store, "ann", on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_true(k.rows == 1);
    assert_string_equal(k.first, "sealed");
    k = (struct keeping){0};
    route_secret_read(u->store, "bob", on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_true(k.rows == 0 && k.rc == ROUTE_OK);
}

/* A flipped account, whose view proxies read and change. */
static void test_view(void **state)
{
    struct unit_store *u = *state;
    struct route_job j = {"ann", "tok", 1};
    struct span pairs[] = {BYTES("A"), BYTES("r1")};
    struct view_change item = {.field = (char *)"A", .was = (char *)"r1", .is = (char *)"r2"};
    struct view_changes changes = {.items = &item, .n = 1};
    struct keeping k = {0};
    struct unit_answer a;

    enter(u, "ann", "p1/1", true);
    UNIT_DO_RC(u, ROUTE_OK, route_leave, "ann", "p1/1");
    claim(u, "ann", "tok");
    UNIT_DO_RC(u, ROUTE_OK, route_views_write, &j, NULL, 0, pairs, 1);
    UNIT_DO_RC(u, ROUTE_OK, route_ready, &j);
    UNIT_DO_RC(u, ROUTE_OK, route_prepare, &j, 60000, false);
    j.epoch = 2;
    UNIT_DO_RC(u, ROUTE_OK, route_freeze, &j, 60000);
    UNIT_DO_RC(u, ROUTE_OK, route_flip, &j, "1:ab", "");
    route_view_read(u->store, "ann", false, on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_int_equal(k.rc, ROUTE_WAIT);
    UNIT_DO_RC(u, ROUTE_OK, route_flipped, &j, 0, 0);
    k = (struct keeping){0};
    route_view_read(u->store, "ann", false, on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_int_equal(k.rows, 5);
    assert_string_equal(k.first, "1:ab");
    assert_string_equal(k.last, "r1");
    UNIT_DO_RC(u, ROUTE_AGAIN, route_view_change, "ann", "old", 3, &changes);
    UNIT_DO(u, a, route_view_change, "ann", "new", 3, &changes);
    assert_string_equal(a.detail, "1:ab:1");
    item.is = NULL;
    UNIT_DO_RC(u, ROUTE_AGAIN, route_view_change, "ann", "new", 3, &changes);
    item.was = (char *)"r2";
    UNIT_DO(u, a, route_view_change, "ann", "new", 3, &changes);
    assert_string_equal(a.detail, "1:ab:2");
    k = (struct keeping){0};
    route_view_read(u->store, "ann", true, on_rows, &k);
    UNIT_UNTIL(u, k.calls == 1);
    assert_int_equal(k.rows, 3);
    assert_string_equal(k.last, "3");
    assert_true(route_view_is_needed("1:ab:2") && route_view_is_needed("1<:ab") &&
                route_view_is_needed("1=+:ab"));
    assert_false(route_view_is_needed("") || route_view_is_needed("1=:ab") || route_view_is_needed("1=:mab"));
    assert_true(route_view_has_modseqs("") && route_view_has_modseqs("1=:mab"));
    assert_false(route_view_has_modseqs("1=:ab"));
}

/* ---- faults ---- */

static void test_functions_flushed(void **state)
{
    struct unit_store *u = *state;
    UNIT_COMMAND(u, "FUNCTION", "FLUSH");
    assert_int_equal(read_route(u, "ann").rc, ROUTE_OK);
    UNIT_COMMAND(u, "FUNCTION", "FLUSH");
    assert_int_equal(enter(u, "ann", "p1/1", true).rc, ROUTE_OK);
    assert_int_equal(u->state, STORE_UP);
}

/* All of them find it gone before the first has loaded it; each is executed, once. */
static void test_functions_flushed_with_calls_under_way(void **state)
{
    struct unit_store *u = *state;
    struct unit_answer done[50] = {0};
    struct unit_reply flushed = {0};
    struct span flush[] = {BYTES("FUNCTION"), BYTES("FLUSH")};
    unsigned events = (unsigned)UNIT_COMMAND(u, "XLEN", "unit:events").number;

    store_command(u->store, flush, COUNTOF(flush), unit_on_reply, &flushed);
    for (size_t i = 0; i < COUNTOF(done); i++) {
        char user[16];
        snprintf(user, sizeof(user), "user%zu", i);
        route_bulk(u->store, user, "run", "new", false, unit_on_done, &done[i]);
    }
    UNIT_UNTIL(u, done[COUNTOF(done) - 1].done);
    for (size_t i = 0; i < COUNTOF(done); i++)
        assert_true(done[i].times == 1 && done[i].rc == ROUTE_OK);
    assert_int_equal(UNIT_COMMAND(u, "XLEN", "unit:jobs:bulk").number, COUNTOF(done));
    assert_int_equal(UNIT_COMMAND(u, "XLEN", "unit:events").number, events + COUNTOF(done));
    assert_int_equal(u->state, STORE_UP);
}

static void on_dump(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct buf *dump = owner;
    assert_int_equal(rc, REDIS_OK);
    buf_add(dump, reply_str(r).p, reply_str(r).len);
}

/* Another process loads it between two calls of ours: the second one is executed. To send the first one behind
 * it would be to register a session that has ended. */
static void test_a_call_that_was_overtaken_is_not_sent_again(void **state)
{
    struct unit_store *u = *state;
    struct span dump[] = {BYTES("FUNCTION"), BYTES("DUMP")};
    struct span flush[] = {BYTES("FUNCTION"), BYTES("FLUSH")};
    struct unit_reply flushed = {0}, restored = {0};
    struct enter_answer entered = {0};
    struct unit_answer left = {0}, queued = {0};
    struct buf library = {0};

    assert_int_equal(enter(u, "bob", "p1/9", false).rc, ROUTE_OK);
    store_command(u->store, dump, COUNTOF(dump), on_dump, &library);
    UNIT_UNTIL(u, library.len > 0);
    struct span restore[] = {BYTES("FUNCTION"), BYTES("RESTORE"), buf_span(&library)};
    struct route_enter e = {.user = "ann",
                            .session = "p1/1",
                            .backend = "old",
                            .generation = 1,
                            .address = "192.0.2.1 x",
                            .source = "old",
                            .target = "new"};
    store_command(u->store, flush, COUNTOF(flush), unit_on_reply, &flushed);
    route_enter(u->store, &e, on_enter, &entered);
    store_command(u->store, restore, COUNTOF(restore), unit_on_reply, &restored);
    route_leave(u->store, "ann", "p1/1", unit_on_done, &left);
    UNIT_UNTIL(u, entered.done && left.done);
    assert_int_equal(restored.rc, REDIS_OK);
    assert_int_equal(left.rc, ROUTE_OK);
    assert_int_equal(entered.rc, ROUTE_DOWN);
    assert_int_equal(UNIT_COMMAND(u, "EXISTS", "unit:sessions:ann").number, 0);
    assert_int_equal(UNIT_COMMAND(u, "EXISTS", "unit:sessions:bob").number, 1);
    UNIT_DO(u, queued, route_bulk, "carl", "run", "new", false);
    assert_int_equal(queued.rc, ROUTE_OK);
    buf_free(&library);
}

/* A command that was given behind a script is executed behind it. Redis is given both words at once, so that it
 * answers both at once: the store knows that the library is gone when the rest is given. */
static void test_commands_wait_for_the_library_too(void **state)
{
    struct unit_store *u = *state;
    struct span flush[] = {BYTES("FUNCTION"), BYTES("FLUSH")};
    struct span length[] = {BYTES("XLEN"), BYTES("unit:jobs:bulk")};
    struct unit_reply flushed = {0}, counted = {0};
    struct unit_answer first = {0}, second = {0};

    unit_redis_stop(&u->redis);
    store_command(u->store, flush, COUNTOF(flush), unit_on_reply, &flushed);
    route_bulk(u->store, "ann", "run", "new", false, unit_on_done, &first);
    kill(u->redis.pid, SIGCONT);
    UNIT_UNTIL(u, flushed.done);
    route_bulk(u->store, "bob", "run", "new", false, unit_on_done, &second);
    store_command(u->store, length, COUNTOF(length), unit_on_reply, &counted);
    UNIT_UNTIL(u, counted.done);
    assert_true(first.done && first.rc == ROUTE_OK && second.done && second.rc == ROUTE_OK);
    assert_int_equal(counted.number, 2);
}

static void test_functions_that_may_not_be_loaded(void **state)
{
    struct unit_store *u = *state;
    UNIT_COMMAND(u, "ACL", "SETUSER", "default", "-function|load");
    UNIT_COMMAND(u, "FUNCTION", "FLUSH");
    assert_int_equal(read_route(u, "ann").rc, ROUTE_DOWN);
    UNIT_UNTIL(u, u->state == STORE_DOWN && strstr(u->detail, "conf/redis.acl"));
    store_free(&u->store);
    unit_redis_kill(&u->redis);
    unit_redis_start(&u->redis); /* the right is back */
    unit_store_connect(u);
    UNIT_UNTIL(u, u->state == STORE_UP);
}

static void test_store_emptied_and_made_again_by_another(void **state)
{
    struct unit_store *u = *state;
    struct unit_store other = {0};

    UNIT_COMMAND(u, "FLUSHALL");
    assert_int_equal(read_route(u, "ann").rc, ROUTE_NO_STORE);
    assert_int_equal(u->state, STORE_FOREIGN);
    assert_int_equal(read_route(u, "ann").rc, ROUTE_NO_STORE);

    other.conf = u->conf;
    other.loop = u->loop;
    other.tick = u->tick;
    unit_store_connect(&other);
    UNIT_UNTIL(&other, other.state == STORE_FOREIGN);
    UNIT_DO_RC(&other, ROUTE_OK, route_init, 0, false);
    UNIT_UNTIL(&other, other.state == STORE_UP);
    UNIT_DO_RC(&other, ROUTE_REFUSED, route_init, 0, false);
    /* The old process stays out, also once it has said hello again: over a new connection. */
    u->news = 0;
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, u->news > 0 && u->state == STORE_DOWN);
    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, u->state == STORE_FOREIGN && other.state == STORE_UP);
    assert_non_null(strstr(u->detail, "another store"));
    assert_int_equal(read_route(u, "ann").rc, ROUTE_NO_STORE);
    assert_int_equal(read_route(&other, "ann").rc, ROUTE_OK);
    store_free(&other.store);
}

static void test_server_killed_with_commands_in_flight(void **state)
{
    struct unit_store *u = *state;
    struct unit_answer a[20] = {0};
    struct read_answer r = {0};
    struct seen seen = {0};

    follow(u, &seen);
    enter(u, "ann", "p1/1", true);
    UNIT_UNTIL(u, seen.count == 1);
    struct route_job j = {"eve", "tok", 1};
    enter(u, "eve", "p1/3", true);
    claim(u, "eve", "tok");
    UNIT_DO_RC(u, ROUTE_OK, route_ready, &j);
    unit_redis_stop(&u->redis);
    for (size_t i = 0; i < COUNTOF(a); i++)
        route_leave(u->store, "ann", "p1/9", unit_on_done, &a[i]);
    route_read(u->store, "ann", on_read, &r);
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, r.done);
    assert_int_equal(r.rc, ROUTE_DOWN);
    for (size_t i = 0; i < COUNTOF(a); i++)
        assert_true(a[i].times == 1 && a[i].rc == ROUTE_DOWN);
    assert_int_equal(u->state, STORE_DOWN);
    assert_int_equal(read_route(u, "ann").rc, ROUTE_DOWN);

    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, u->state == STORE_UP);
    assert_true(store_generation(u->store) > 1);
    assert_true(store_quarantine_ms(u->store) > 50000 && store_quarantine_ms(u->store) <= 66000);
    r = read_route(u, "ann");
    assert_true(r.rc == ROUTE_OK && r.state == ROUTE_QUEUED && r.generation == store_generation(u->store));
    UNIT_UNTIL(u, seen.gaps >= 1 && seen.live == seen.gaps + 1);
    assert_int_equal(enter(u, "bob", "p1/2", true).rc, ROUTE_OK);
    UNIT_UNTIL(u, seen.count > 1 && strcmp(seen.users[seen.count - 1], "bob") == 0);

    struct unit_answer q;
    assert_int_equal(claim(u, "ann", "tok").rc, ROUTE_QUARANTINE);
    assert_int_equal(claim(u, "eve", "tok").rc, ROUTE_OK);
    UNIT_DO(u, q, route_prepare, &j, 1000, false);
    assert_int_equal(q.rc, ROUTE_QUARANTINE);
    events_free(&seen.events);
}

static void test_a_server_that_hangs(void **state)
{
    struct unit_store *u = *state;
    uint64_t start = clock_boot_ms();

    unit_redis_stop(&u->redis);
    assert_int_equal(read_route(u, "ann").rc, ROUTE_DOWN);
    assert_in_range(clock_boot_ms() - start, 2000, 10000);
    assert_int_equal(u->state, STORE_DOWN);
    kill(u->redis.pid, SIGCONT);
    UNIT_UNTIL(u, u->state == STORE_UP);
    assert_int_equal(store_generation(u->store), 1);
    assert_int_equal(store_quarantine_ms(u->store), 0);
}

static void test_down_at_start(void **state)
{
    struct unit_store *u = *state;
    unit_store_connect(u);
    assert_int_equal(store_state(u->store), STORE_CONNECTING);
    assert_int_equal(read_route(u, "ann").rc, ROUTE_DOWN);
    UNIT_UNTIL(u, u->state == STORE_DOWN);
    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, u->state == STORE_FOREIGN);
    assert_int_equal(read_route(u, "ann").rc, ROUTE_NO_STORE);
    UNIT_DO_RC(u, ROUTE_OK, route_init, 0, false);
    UNIT_UNTIL(u, u->state == STORE_UP);
}

static void test_password_and_database(void **state)
{
    struct unit_store *u = *state;
    u->redis.password = "pass word";
    unit_redis_start(&u->redis);
    u->address.password = (char *)(uintptr_t) "wrong";
    u->address.db = 3;
    unit_store_connect(u);
    UNIT_UNTIL(u, u->state == STORE_DOWN && strstr(u->detail, "AUTH refused"));
    store_free(&u->store);
    u->address.password = (char *)(uintptr_t) "pass word";
    unit_store_connect(u);
    UNIT_UNTIL(u, u->state == STORE_FOREIGN);
    UNIT_DO_RC(u, ROUTE_OK, route_init, 0, false);
    UNIT_UNTIL(u, u->state == STORE_UP);
    assert_non_null(strstr(UNIT_COMMAND(u, "CLIENT", "INFO").text, " db=3 "));
}

static void test_a_replica_is_no_store(void **state)
{
    struct unit_store *u = *state;
    UNIT_COMMAND(u, "REPLICAOF", "127.0.0.1", "1");
    struct enter_answer e = enter(u, "ann", "p1/1", true);
    assert_int_equal(e.rc, ROUTE_DOWN);
    UNIT_UNTIL(u, u->state == STORE_DOWN && strstr(u->detail, "replica"));
}

/* ---- forgetting ---- */

static void test_forgotten_calls_never_come_back(void **state)
{
    struct unit_store *u = *state;
    struct unit_answer gone = {0}, stays = {0};
    struct read_answer r = {0};

    route_read(u->store, "ann", on_read, &r);
    route_leave(u->store, "ann", "p1/1", unit_on_done, &gone);
    route_due(u->store, 10, unit_on_done, &gone);
    store_wait(u->store, 10, unit_on_reply, &gone);
    route_leave(u->store, "ann", "p1/1", unit_on_done, &stays);
    store_forget(u->store, &gone);
    store_forget(u->store, &r);
    UNIT_UNTIL(u, stays.done);
    assert_true(!gone.done && !r.done);
    route_leave(u->store, "ann", "p1/1", unit_on_done, &gone); /* left to store_free() */
    route_ledger_read(u->store, "ann", "rec", on_rows, &gone);
}

struct suicide {
    struct unit_store *u;
    bool done;
};

static void on_last(void *owner, enum route_rc rc, const char *detail)
{
    struct suicide *s = owner;
    (void)rc;
    (void)detail;
    s->done = true;
    store_free(&s->u->store);
}

static void test_freed_from_inside(void **state)
{
    struct unit_store *u = *state;
    struct suicide s = {u, false};
    struct unit_answer after = {0};
    route_leave(u->store, "ann", "p1/1", on_last, &s);
    route_leave(u->store, "ann", "p1/1", unit_on_done, &after);
    UNIT_UNTIL(u, s.done);
    assert_false(after.done);
}

/* ---- durability ---- */

struct durable {
    bool done;
    enum durability d;
    char text[512];
};

static void on_durability(void *owner, enum durability d, const char *detail)
{
    struct durable *a = owner;
    a->done = true;
    a->d = d;
    snprintf(a->text, sizeof(a->text), "%s", detail);
}

static struct durable durability(struct unit_store *u)
{
    struct durable a = {0};
    store_durability(u->store, on_durability, &a);
    UNIT_UNTIL(u, a.done);
    return a;
}

static void test_durability(void **state)
{
    struct unit_store *u = *state;
    static const struct {
        const char *name, *bad, *good;
        enum durability d;
    } cases[] = {
        {"appendfsync", "everysec", "always", DURABILITY_WARN},
        {"appendfsync", "no", "always", DURABILITY_UNSAFE},
        {"maxmemory-policy", "allkeys-lru", "noeviction", DURABILITY_WARN},
        {"maxmemory-policy", "volatile-ttl", "noeviction", DURABILITY_WARN},
        {"appendonly", "no", "yes", DURABILITY_UNSAFE},
    };
    struct durable a = durability(u);
    assert_int_equal(a.d, DURABILITY_GOOD);
    assert_string_equal(a.text, "");
    for (size_t i = 0; i < COUNTOF(cases); i++) {
        UNIT_COMMAND(u, "CONFIG", "SET", cases[i].name, cases[i].bad);
        a = durability(u);
        assert_int_equal(a.d, cases[i].d);
        assert_non_null(strstr(a.text, cases[i].name));
        UNIT_COMMAND(u, "CONFIG", "SET", cases[i].name, cases[i].good);
    }
    UNIT_COMMAND(u, "CONFIG", "SET", "maxmemory", "1gb");
    UNIT_COMMAND(u, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    assert_int_equal(durability(u).d, DURABILITY_UNSAFE);
    UNIT_COMMAND(u, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    UNIT_COMMAND(u, "ACL", "SETUSER", "default", "-config");
    a = durability(u);
    assert_int_equal(a.d, DURABILITY_WARN);
    assert_non_null(strstr(a.text, "CONFIG GET is not allowed"));
    unit_redis_kill(&u->redis);
    assert_int_equal(durability(u).d, DURABILITY_UNKNOWN);
}

static void test_wait(void **state)
{
    struct unit_store *u = *state;
    struct unit_reply a = {0};
    store_wait(u->store, 1000, unit_on_reply, &a);
    UNIT_UNTIL(u, a.done);
    assert_int_equal(a.rc, REDIS_OK);
    UNIT_COMMAND(u, "CONFIG", "SET", "min-replicas-to-write", "1");
    a.done = false;
    store_wait(u->store, 10, unit_on_reply, &a);
    UNIT_UNTIL(u, a.done);
    assert_int_equal(a.rc, REDIS_ERROR_REPLY);
}

/* The time-out is waited for once, however many wait. */
static void test_many_wait_by_one_wait(void **state)
{
    struct unit_store *u = *state;
    struct unit_reply a[5] = {{0}};
    u->conf.migrator.job_lease_ms = 1200; /* a quarter of it at most */
    UNIT_COMMAND(u, "CONFIG", "SET", "min-replicas-to-write", "1");
    for (size_t i = 0; i < COUNTOF(a); i++)
        store_wait(u->store, STORE_WAIT_MS, unit_on_reply, &a[i]);
    for (size_t i = 0; i < COUNTOF(a); i++) {
        UNIT_UNTIL(u, a[i].done);
        assert_int_equal(a[i].rc, REDIS_ERROR_REPLY);
    }
    assert_int_equal(unit_stat(u, "wait").calls, 1);
}

/* A new master that is not followed by all yet does not make the others forgotten. */
static void test_replicas_wanted(void **state)
{
    struct unit_store *u = *state;
    uint64_t generation = store_generation(u->store);
    assert_int_equal(store_replicas_wanted(u->store, 1), 1);
    assert_int_equal(store_replicas_wanted(u->store, 2), 2);
    assert_int_equal(store_replicas_wanted(u->store, 1), 2);
    unit_redis_kill(&u->redis);
    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, store_state(u->store) == STORE_UP && store_generation(u->store) > generation);
    assert_int_equal(store_replicas_wanted(u->store, 0), 2);
    assert_int_equal(store_replicas_wanted(u->store, 2), 2);
    assert_int_equal(store_replicas_wanted(u->store, 1), 2);
}

#define TEST(name, before) cmocka_unit_test_setup_teardown(name, before, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_states),
        TEST(test_a_whole_migration, setup),
        TEST(test_a_follower_rests_between_what_is_of_no_use, setup),
        TEST(test_thaw_abort_backoff_block, setup),
        TEST(test_staff, setup),
        TEST(test_pause, setup),
        TEST(test_registrations, setup),
        TEST(test_registrations_of_others_make, setup),
        TEST(test_ledger_in_pages, setup),
        TEST(test_views_and_secret, setup),
        TEST(test_view, setup),
        TEST(test_names_of_keys, setup),
        TEST(test_functions_flushed, setup),
        TEST(test_functions_flushed_with_calls_under_way, setup),
        TEST(test_a_call_that_was_overtaken_is_not_sent_again, setup),
        TEST(test_commands_wait_for_the_library_too, setup),
        TEST(test_functions_that_may_not_be_loaded, setup),
        TEST(test_store_emptied_and_made_again_by_another, setup),
        TEST(test_server_killed_with_commands_in_flight, setup),
        TEST(test_a_server_that_hangs, setup),
        TEST(test_down_at_start, setup_alone),
        TEST(test_password_and_database, setup_alone),
        TEST(test_a_replica_is_no_store, setup),
        TEST(test_forgotten_calls_never_come_back, setup),
        TEST(test_freed_from_inside, setup),
        TEST(test_durability, setup),
        TEST(test_wait, setup),
        TEST(test_many_wait_by_one_wait, setup),
        TEST(test_replicas_wanted, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
