#include "imap_unit.h"
#include "migrator/job/job.h"
#include "migrator/late/errand.h"
#include "migrator_unit.h"

/* One account, from the claim to the flip or to a reason why not. */

/* An INBOX with one message at the source, and an empty one at the target. */
#define OPENED(exists, uidvalidity, uidnext)                                                                 \
    "* " exists " EXISTS\r\n* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)] so\r\n"                             \
    "* OK [UIDVALIDITY " uidvalidity "] so\r\n* OK [UIDNEXT " uidnext "] so\r\n"
#define LOGIN(caps)                                                                                          \
    {                                                                                                        \
        "LOGIN", NULL, "OK [CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS" caps "] in"                               \
    }
#define INBOX                                                                                                \
    {                                                                                                        \
        "LIST", "* LIST () \"/\" INBOX\r\n", NULL                                                            \
    }
#define ITEMS " FLAGS () INTERNALDATE \"21-Jan-2020 00:00:00 +0000\" RFC822.SIZE 3"
#define BODY  " BODY[] {3}\r\na\r\n)\r\n"

static const struct imap_answer old_server[] = {
    LOGIN(""),
    INBOX,
    {"STATUS", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)\r\n", NULL},
    {"EXAMINE", OPENED("1", "7", "2"), "OK [READ-ONLY] so"},
    {"UID FETCH 1:* ", "* 1 FETCH (UID 1" ITEMS ")\r\n", NULL},
    {"UID FETCH 1:1 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n", NULL},
    {"UID FETCH 1 (UID BODY.PEEK[])", "* 1 FETCH (UID 1" BODY, NULL},
    {"UID FETCH 1 (", "* 1 FETCH (UID 1" ITEMS ")\r\n", NULL},
    {NULL, NULL, NULL},
};
/* Before the message was appended, and afterwards. */
static const struct imap_answer new_server[] = {
    LOGIN(""),
    INBOX,
    {"STATUS", "* STATUS INBOX (MESSAGES 0 UIDNEXT 11 UIDVALIDITY 9)\r\n", NULL},
    {"SELECT", OPENED("0", "9", "11"), "OK [READ-WRITE] so"},
    {"APPEND", "* 1 EXISTS\r\n", "OK [APPENDUID 9 11] so"},
    {"UID FETCH 11", "* 1 FETCH (UID 11" ITEMS BODY, NULL},
    {NULL, NULL, NULL},
};
static const struct imap_answer new_server_later[] = {
    LOGIN(""),
    INBOX,
    {"STATUS", "* STATUS INBOX (MESSAGES 1 UIDNEXT 12 UIDVALIDITY 9)\r\n", NULL},
    {"SELECT", OPENED("1", "9", "12"), "OK [READ-WRITE] so"},
    {"UID FETCH 1:* ", "* 1 FETCH (UID 11" ITEMS ")\r\n", NULL},
    {"UID FETCH 11", "* 1 FETCH (UID 11" ITEMS BODY, NULL},
    {NULL, NULL, NULL},
};
static const struct imap_answer closed_server[] = {
    {"LOGIN", NULL, "NO [AUTHENTICATIONFAILED] who are you"},
    {NULL, NULL, NULL},
};
static const struct imap_answer broken_server[] = {
    LOGIN(""),
    INBOX,
    {"STATUS", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)\r\n", NULL},
    {"EXAMINE", NULL, "NO it is broken"},
    {NULL, NULL, NULL},
};

struct world {
    struct migrator_world *w; /* of the group */
    struct imap_unit source, target;
    struct job *job;
    bool done;
    enum job_how how;
};

static void on_end(void *owner, enum job_how how)
{
    struct world *t = owner;
    t->job = NULL;
    t->done = true;
    t->how = how;
}

/* Both servers take the master user. */
static struct world *begin(void **state, const struct imap_answer *source, const struct imap_answer *target)
{
    struct world *t = xcalloc(1, sizeof *t);
    struct migrator_world *w = *state;
    t->w = w;
    imap_unit_start(&t->source, source);
    imap_unit_start(&t->target, target);
    for (int i = 0; i < 2; i++) {
        w->backends[i].address.port = i ? t->target.port : t->source.port;
        w->backends[i].master_user = (char *)(uintptr_t) "admin";
        w->backends[i].master_password = (char *)(uintptr_t) "secret";
        w->backends[i].master_login = (char *)(uintptr_t) "%u*%m";
    }
    w->m.errands = errands_new(&w->m);
    return t;
}

static void start(struct world *t)
{
    t->done = false;
    t->job = job_start(&t->w->m, &(struct route_entry){.user = t->w->user, .id = ""}, "", "token", false,
                       clock_boot_ms() + 60000, on_end, t);
    assert_false(t->done);
}

static void await(struct world *t)
{
    UNIT_UNTIL(&t->w->u, t->done);
}

static void end(struct world *t)
{
    job_free(&t->job);
    errands_free(&t->w->m.errands);
    uv_run(&t->w->u.loop->uv, UV_RUN_NOWAIT);
    imap_unit_stop(&t->source);
    imap_unit_stop(&t->target);
    free(t);
}

#define EXPECT_ROUTE(t, field, want) assert_string_equal(migrator_unit_route((t)->w, field), want)

/* The target shows what it took, from the moment on that it took it. */
static void follow_append(struct world *t)
{
    while (!t->done) {
        if (t->target.appended)
            t->target.answers = new_server_later;
        timer_start(t->w->u.tick, 5);
        uv_run(&t->w->u.loop->uv, UV_RUN_ONCE);
    }
}

/* One message: copied, read back, switched over. */
static void test_copies_and_flips(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    migrator_unit_queue(t->w, false);
    start(t);
    follow_append(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "reason", "");
    EXPECT_ROUTE(t, "state", "flipped");
    EXPECT_ROUTE(t, "backend", "new");
    assert_true(t->target.appended);
    assert_true(migrator_unit_is_in_journal(t->w));
    end(t);
}

/* A mailbox that can't be opened may have gone since it was listed: another pass looks, and then it is
 * told. */
static void test_what_cannot_be_opened_is_looked_at_twice(void **state)
{
    struct world *t = begin(state, broken_server, new_server);
    migrator_unit_queue(t->w, false);
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "backend", "old");
    EXPECT_ROUTE(t, "state", "backoff");
    assert_non_null(strstr(migrator_unit_route(t->w, "reason"), "INBOX"));
    assert_false(t->target.appended);
    end(t);
}

/* No master user, and no password that a proxy has sealed: it waits for the user's next login. */
static void test_without_credentials_it_waits_for_a_login(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    t->w->backends[0].master_user = t->w->backends[1].master_user = NULL;
    migrator_unit_queue(t->w, false);
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "state", "backoff");
    EXPECT_ROUTE(t, "reason",
                 "credentials: no password or token of the user is at hand; the next login brings one");
    EXPECT_ROUTE(t, "next_try", "0");
    assert_int_equal(t->source.logins, 0);
    end(t);
}

/* A sign-in that is refused: nothing is copied, and the reason says by whom. */
static void test_refused_sign_in(void **state)
{
    struct world *t = begin(state, old_server, closed_server);
    migrator_unit_queue(t->w, false);
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "backend", "old");
    assert_non_null(strstr(migrator_unit_route(t->w, "reason"), "who are you"));
    end(t);
}

/* By force nothing is copied, and no server is asked. */
static void test_force_copies_nothing(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    migrator_unit_queue(t->w, true);
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "backend", "new");
    assert_int_equal(t->source.logins + t->target.logins, 0);
    end(t);
}

/* A pause that begins while a silent proxy is waited for: it goes on when that is over, though nothing of it was ever copied. */
static void test_force_over_a_pause(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    migrator_unit_enter(t->w, ROUTE_RESTING, 0);
    migrator_unit_queue(t->w, true);
    start(t);
    while (strncmp(migrator_unit_route(t->w, "reason"), "proxy: ", 7) != 0)
        assert_false(t->done);
    UNIT_DO_RC(&t->w->u, ROUTE_OK, route_pause, true, "test", "", "");
    UNIT_DO_RC(&t->w->u, ROUTE_OK, route_leave, t->w->user, "p/1");
    uint64_t from = clock_boot_ms();
    UNIT_UNTIL(&t->w->u, t->done || clock_boot_ms() - from > 2500);
    assert_false(t->done);
    EXPECT_ROUTE(t, "state", "ready");
    UNIT_DO_RC(&t->w->u, ROUTE_OK, route_pause, false, "test", "", "");
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "backend", "new");
    end(t);
}

/* With cutover = manual it stays ready, without a job, once it is copied. */
static void test_manual_stays_ready(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    t->w->u.conf.migration.cutover = CUTOVER_MANUAL;
    migrator_unit_queue(t->w, false);
    start(t);
    follow_append(t);
    assert_int_equal(t->how, JOB_DONE);
    EXPECT_ROUTE(t, "state", "ready");
    EXPECT_ROUTE(t, "backend", "old");
    end(t);
}

/* A pause: asked again later, and the account stays queued. */
static void test_pause(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    migrator_unit_queue(t->w, false);
    UNIT_DO_RC(&t->w->u, ROUTE_OK, route_pause, true, "test", "", "");
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_LATER);
    EXPECT_ROUTE(t, "state", "queued");
    end(t);
}

/* Staff hold the account while a server lets us wait: not ours any more, as soon as we hear of it. */
static void test_held_meanwhile(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    t->source.greeting = "";
    const struct route_staff staff = {.user = t->w->user, .who = "test", .reason = ""};
    migrator_unit_queue(t->w, false);
    start(t);
    while (strcmp(migrator_unit_route(t->w, "state"), "copying") != 0)
        assert_false(t->done);
    UNIT_DO_RC(&t->w->u, ROUTE_OK, route_hold, &staff);
    assert_non_null(t->job);
    job_event(t->job, &(struct event){.kind = span_str("state"), .epoch = 100, .state = ROUTE_HELD});
    await(t);
    assert_int_equal(t->how, JOB_LOST);
    EXPECT_ROUTE(t, "state", "held");
    end(t);
}

/* The process ends in the middle of a copy: whoever takes the job next is told that nobody died of it. */
static void test_stop(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    migrator_unit_queue(t->w, false);
    start(t);
    while (strcmp(migrator_unit_route(t->w, "state"), "copying") != 0)
        assert_false(t->done);
    job_stop(t->job);
    await(t);
    assert_int_equal(t->how, JOB_STOPPED);
    EXPECT_ROUTE(t, "state", "copying");
    end(t);
}

/* There is nothing to do for an account that rests. */
static void test_nothing_to_claim(void **state)
{
    struct world *t = begin(state, old_server, new_server);
    start(t);
    await(t);
    assert_int_equal(t->how, JOB_DONE);
    assert_int_equal(t->source.logins, 0);
    end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIGRATOR_TEST(test_copies_and_flips),
        MIGRATOR_TEST(test_what_cannot_be_opened_is_looked_at_twice),
        MIGRATOR_TEST(test_without_credentials_it_waits_for_a_login),
        MIGRATOR_TEST(test_refused_sign_in),
        MIGRATOR_TEST(test_force_copies_nothing),
        MIGRATOR_TEST(test_force_over_a_pause),
        MIGRATOR_TEST(test_manual_stays_ready),
        MIGRATOR_TEST(test_pause),
        MIGRATOR_TEST(test_held_meanwhile),
        MIGRATOR_TEST(test_stop),
        MIGRATOR_TEST(test_nothing_to_claim),
    };
    return cmocka_run_group_tests(tests, migrator_unit_begin, migrator_unit_end);
}
