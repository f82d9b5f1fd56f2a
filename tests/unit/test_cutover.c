#include "migrator/job/cutover.h"
#include "migrator_unit.h"

/* A route is moved from source to target: by force, so that no server has to be asked. Sessions are this
 * test's. */

struct cut {
    struct migrator_world *w;
    struct move move;
    struct route route; /* as it was claimed; its texts are not kept */
    struct cutover_run *run;
    bool claimed, done;
    enum cutover_rc rc;
    enum why why;
    char detail[256];
};

static void on_lost(void *owner)
{
    (void)owner;
}

static void on_claimed(void *owner, enum route_rc rc, const struct route *r)
{
    struct cut *c = owner;
    assert_int_equal(rc, ROUTE_OK);
    c->move.job.epoch = r->epoch;
    c->move.generation = r->generation;
    c->claimed = true;
}

static void on_cut(void *owner, const struct cutover_result *r)
{
    struct cut *c = owner;
    c->run = NULL;
    c->done = true;
    c->rc = r->rc;
    c->why = r->why;
    snprintf(c->detail, sizeof c->detail, "%s", r->detail);
}

static void claim(struct cut *c)
{
    struct migrator_world *w = c->w;
    c->claimed = false;
    route_claim(w->u.store, &(struct route_entry){.user = w->user}, c->move.token, "", "unit", on_claimed, c);
    UNIT_UNTIL(&w->u, c->claimed);
}

/* An account that is copied, as far as force is. */
static struct cut *ready(struct migrator_world *w)
{
    struct cut *c = xcalloc(1, sizeof *c);
    c->w = w;
    c->move = (struct move){.m = &w->m, .user = w->user, .login = w->user, .force = true, .token = "token"};
    c->move.source_name = (char *)(uintptr_t) "old";
    c->move.target_name = (char *)(uintptr_t) "new";
    c->move.source = &w->backends[0];
    c->move.target = &w->backends[1];
    c->move.job = (struct route_job){.user = w->user, .token = c->move.token};
    migrator_unit_queue(w, true);
    claim(c);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_ready, &c->move.job);
    c->move.progress = progress_new(w->u.store, &c->move.job, on_lost, c);
    return c;
}

static void start(struct cut *c)
{
    c->done = false;
    c->run = cutover_start(&c->move, 1, 1, false, on_cut, c);
}

static void await(struct cut *c)
{
    UNIT_UNTIL(&c->w->u, c->done);
}

static void end(struct cut *c)
{
    cutover_free(&c->run);
    records_free(&c->move.records);
    progress_free(&c->move.progress);
    free(c);
}

static void await_state(struct cut *c, const char *state)
{
    while (strcmp(migrator_unit_route(c->w, "state"), state) != 0)
        assert_false(c->done);
}

/* Nobody is signed in: a line in the journal, and the route is the target's. */
static void test_flips(void **state)
{
    struct cut *c = ready(*state);
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_DONE);
    assert_string_equal(migrator_unit_route(c->w, "backend"), "new");
    assert_string_equal(migrator_unit_route(c->w, "state"), "flipped");
    assert_true(migrator_unit_is_in_journal(c->w));
    end(c);
}

/* A session is signed in at the target, then comes to rest: each is waited for. */
static void test_waits_for_each_session(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    migrator_unit_enter(w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await_state(c, "preparing");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepared, w->user, "p/1", c->move.job.epoch);
    cutover_event(c->run, &(struct event){.kind = span_str("prepared"), .epoch = c->move.job.epoch});
    await_state(c, "freezing");
    assert_false(migrator_unit_is_in_journal(w));
    UNIT_DO_RC(&w->u, ROUTE_OK, route_frozen, w->user, "p/1", c->move.job.epoch);
    cutover_event(c->run, &(struct event){.kind = span_str("frozen"), .epoch = c->move.job.epoch});
    await(c);
    assert_int_equal(c->rc, CUTOVER_DONE);
    assert_string_equal(migrator_unit_route(w, "backend"), "new");
    end(c);
}

/* A session that is signed in nowhere, or never rests, ends the attempt with its reason, and the account is
 * ready again. */
static void test_a_session_ends_the_attempt(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    w->u.conf.migration.freeze_budget_ms = 100;
    migrator_unit_enter(w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_SESSIONS);
    assert_string_equal(c->detail, "1 session could not be signed in at new within 0.1 s");
    assert_string_equal(migrator_unit_route(w, "state"), "ready");
    w->u.conf.migration.freeze_budget_ms = 400;
    start(c);
    await_state(c, "preparing");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepared, w->user, "p/1", c->move.job.epoch);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_string_equal(c->detail, "1 session did not come to rest within 0.4 s");
    assert_string_equal(migrator_unit_route(w, "state"), "ready");
    assert_string_equal(migrator_unit_route(w, "backend"), "old");
    assert_false(migrator_unit_is_in_journal(w));
    end(c);
}

/* The target refuses a session: whoever thawed the account has written why. */
static void test_a_refusal_tells_its_reason(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    migrator_unit_enter(w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await_state(c, "preparing");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_refuse, w->user, "p/1", c->move.job.epoch, "credentials: new says NO");
    cutover_event(
        c->run, &(struct event){.kind = span_str("state"), .epoch = c->move.job.epoch, .state = ROUTE_READY});
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_CREDENTIALS);
    assert_string_equal(c->detail, "new says NO");
    end(c);
}

/* What the site's hook can't close ends the freeze. */
static void test_a_hook_that_fails_thaws(void **state)
{
    struct cut *c = ready(*state);
    char *words[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t) "exit 3"};
    c->w->u.conf.migration.hook_freeze = (struct conf_list){.items = words, .n = COUNTOF(words)};
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_HOOK);
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    assert_string_equal(migrator_unit_route(c->w, "backend"), "old");
    end(c);
}

/* A disk that can't be written is found out before the account stands still. */
static void test_without_a_journal_nothing_is_prepared(void **state)
{
    struct cut *c = ready(*state);
    char path[64];
    uint64_t epoch = c->move.job.epoch;
    snprintf(path, sizeof path, "%s/flips", c->w->folder);
    journal_free(&c->w->m.journal);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/full", path), 0);
    char *error = NULL;
    c->w->m.journal = journal_open(c->w->u.loop, c->w->folder, &error);
    assert_null(error);
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_JOURNAL);
    assert_int_equal(c->move.job.epoch, epoch); /* no attempt rose it */
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    end(c);
}

/* A pause is nobody's failed attempt. */
static void test_a_pause_is_for_later(void **state)
{
    struct cut *c = ready(*state);
    UNIT_DO_RC(&c->w->u, ROUTE_OK, route_pause, true, "test", "", "");
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_LATER);
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    end(c);
}

/* Called off while a session is waited for. */
static void test_abort(void **state)
{
    struct cut *c = ready(*state);
    migrator_unit_enter(c->w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await_state(c, "preparing");
    assert_true(cutover_can_abort(c->run));
    cutover_abort(c->run, WHY_PAUSED, "the migrator was stopped");
    assert_false(c->done);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_PAUSED);
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    end(c);
}

/* Another has the job: nothing more is touched. */
static void test_a_lost_job_touches_nothing(void **state)
{
    struct cut *c = ready(*state);
    strcpy(c->move.token, "other");
    start(c);
    await(c);
    assert_int_equal(c->rc, CUTOVER_LOST);
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    assert_false(migrator_unit_is_in_journal(c->w));
    end(c);
}

/* Found in flipping: there is only forward, whoever is signed in, and during a pause too. */
static void test_resume_goes_forward(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    uint64_t epoch;
    struct unit_answer a;
    UNIT_DO(&w->u, a, route_prepare, &c->move.job, 5000, false);
    assert_true(span_u64(span_str(a.detail), UINT64_MAX, &epoch));
    c->move.job.epoch = epoch;
    UNIT_DO_RC(&w->u, ROUTE_OK, route_freeze, &c->move.job, 5000);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_flip, &c->move.job, "", "");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_pause, true, "test", "", "");
    c->run = cutover_resume(&c->move, &c->route, on_cut, c);
    assert_false(cutover_can_abort(c->run));
    cutover_abort(c->run, WHY_PAUSED, "too late");
    await(c);
    assert_int_equal(c->rc, CUTOVER_DONE);
    assert_string_equal(migrator_unit_route(w, "backend"), "new");
    assert_true(migrator_unit_is_in_journal(w));
    end(c);
}

/* ---- of a group */

/* Another member, copied, whose owner is this test. */
static struct route_job mate_of(struct cut *c, char name[48])
{
    struct migrator_world *w = c->w;
    char key[80], generation[24], members[100];
    snprintf(name, 48, "mate-of-%s", w->user);
    snprintf(generation, sizeof generation, "%llu", (unsigned long long)store_generation(w->u.store));
    snprintf(members, sizeof members, "%s %s", w->user, name);
    snprintf(key, sizeof key, "unit:sharing:%s", w->user);
    UNIT_COMMAND(&w->u, "HSET", key, "members", members, "rev", "1");
    snprintf(key, sizeof key, "unit:route:%s", w->user);
    UNIT_COMMAND(&w->u, "HSET", key, "group", w->user);
    snprintf(key, sizeof key, "unit:route:%s", name);
    UNIT_COMMAND(&w->u, "HSET", key, "group", w->user, "backend", "old", "state", "ready", "epoch", "5");
    UNIT_COMMAND(&w->u, "HSET", key, "source", "old", "target", "new", "owner", "mate", "generation",
                 generation);
    c->move.group = w->user;
    return (struct route_job){.user = name, .token = "mate", .epoch = 5};
}

/* It has asked at a gate, and waits there. */
static void await_gate(struct cut *c, const char *state)
{
    while (!strstr(migrator_unit_route(c->w, "gate"), state))
        assert_false(c->done);
}

/* A small account has as long for its sign-ins as the large one that it waits for: its own time would end the attempt of both, again and
 * again. */
static void test_a_group_prepares_as_long_as_the_longest(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    char name[48];
    struct route_job mate = mate_of(c, name);
    w->u.conf.migration.freeze_budget_ms = 50;
    migrator_unit_enter(w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await_gate(c, "ready");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepare, &mate, 8000, false);
    cutover_event(c->run, &(struct event){.kind = span_str("state"), .epoch = 2, .state = ROUTE_PREPARING});
    UNIT_UNTIL(&w->u, c->done || c->move.job.epoch == 2);
    uint64_t from = clock_boot_ms();
    UNIT_UNTIL(&w->u, c->done || clock_boot_ms() - from > 200);
    assert_false(c->done);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepared, w->user, "p/1", c->move.job.epoch);
    await_gate(c, "preparing");
    mate.epoch = 6;
    UNIT_DO_RC(&w->u, ROUTE_OK, route_freeze, &mate, 8000);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_frozen, w->user, "p/1", c->move.job.epoch);
    while (strcmp(migrator_unit_route(w, "voice"), "2") != 0)
        assert_false(c->done);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_flip, &mate, "", "");
    await(c);
    assert_int_equal(c->rc, CUTOVER_DONE);
    end(c);
}

/* Another's call began it, and a third one's ended it, before this one heard of it: that one's fault, and at once. */
static void test_thawed_before_it_heard_of_it(void **state)
{
    struct cut *c = ready(*state);
    struct migrator_world *w = c->w;
    char name[48];
    struct route_job mate = mate_of(c, name);
    migrator_unit_enter(w, ROUTE_READY, c->move.job.epoch);
    start(c);
    await_gate(c, "ready");
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepare, &mate, 8000, false);
    mate.epoch = 6;
    UNIT_DO_RC(&w->u, ROUTE_OK, route_abort, &mate, "credentials: new refuses it");
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_GROUP);
    assert_string_equal(migrator_unit_route(w, "state"), "ready");
    end(c);
}

/* Both are freezing, and the other one asked for so long. */
static void freeze_with(struct cut *c, struct route_job *mate, uint64_t ms)
{
    struct unit_store *u = &c->w->u;
    start(c);
    await_gate(c, "ready");
    UNIT_DO_RC(u, ROUTE_OK, route_prepare, mate, 8000, false);
    mate->epoch++;
    UNIT_UNTIL(u, c->done || c->move.job.epoch == 2);
    if (c->w->entered)
        UNIT_DO_RC(u, ROUTE_OK, route_prepared, c->w->user, "p/1", c->move.job.epoch);
    await_gate(c, "preparing");
    UNIT_DO_RC(u, ROUTE_OK, route_freeze, mate, ms);
    cutover_event(c->run, &(struct event){.kind = span_str("state"), .epoch = 2, .state = ROUTE_FREEZING});
}

/* Its reason names the one that was waited for; it is no failure of this one. */
static void test_another_of_the_group_is_late(void **state)
{
    struct cut *c = ready(*state);
    char name[48], want[100];
    struct route_job mate = mate_of(c, name);
    c->w->entered = false;
    c->w->u.conf.migration.freeze_budget_ms = 500;
    freeze_with(c, &mate, 1000);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_GROUP);
    snprintf(want, sizeof want, "%s did not come as far within", name);
    assert_memory_equal(c->detail, want, strlen(want));
    assert_string_equal(migrator_unit_route(c->w, "state"), "ready");
    end(c);
}

/* It says so before those who wait for it do. */
static void test_the_late_one_of_a_group_says_so(void **state)
{
    struct cut *c = ready(*state);
    char name[48], key[64];
    struct route_job mate = mate_of(c, name);
    c->w->u.conf.migration.freeze_budget_ms = 500;
    migrator_unit_enter(c->w, ROUTE_READY, c->move.job.epoch);
    freeze_with(c, &mate, 1000);
    await(c);
    assert_int_equal(c->rc, CUTOVER_FAILED);
    assert_int_equal(c->why, WHY_SESSIONS);
    snprintf(key, sizeof key, "unit:route:%s", name);
    struct unit_reply a = UNIT_COMMAND(&c->w->u, "HGET", key, "reason");
    assert_non_null(strstr(a.text, ": sessions: 1 session did not come to rest"));
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIGRATOR_TEST(test_flips),
        MIGRATOR_TEST(test_waits_for_each_session),
        MIGRATOR_TEST(test_a_session_ends_the_attempt),
        MIGRATOR_TEST(test_a_refusal_tells_its_reason),
        MIGRATOR_TEST(test_a_hook_that_fails_thaws),
        MIGRATOR_TEST(test_without_a_journal_nothing_is_prepared),
        MIGRATOR_TEST(test_a_pause_is_for_later),
        MIGRATOR_TEST(test_abort),
        MIGRATOR_TEST(test_a_lost_job_touches_nothing),
        MIGRATOR_TEST(test_resume_goes_forward),
        MIGRATOR_TEST(test_a_group_prepares_as_long_as_the_longest),
        MIGRATOR_TEST(test_thawed_before_it_heard_of_it),
        MIGRATOR_TEST(test_another_of_the_group_is_late),
        MIGRATOR_TEST(test_the_late_one_of_a_group_says_so),
    };
    return cmocka_run_group_tests(tests, migrator_unit_begin, migrator_unit_end);
}
