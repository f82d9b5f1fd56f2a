#include "store_unit.h"

#include "proxy/doubts.h"

struct fixture {
    struct unit_store u;
    struct queue *queue;
    struct doubts *doubts;
    unsigned again, answers;
    enum route_rc rc;
};

static void once_more(void *owner, const char *user, uint64_t epoch)
{
    struct fixture *f = owner;
    f->again++;
    doubts_reconcile(f->doubts, user, epoch, NULL, 0);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    unit_store_begin(&f->u);
    f->queue = queue_new(f->u.loop, 4);
    queue_go(f->queue, 0);
    f->doubts = doubts_new(f->u.store, f->queue, "p", once_more, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    doubts_free(&f->doubts);
    queue_free(&f->queue);
    unit_store_end(&f->u);
    free(f);
    return 0;
}

static bool has(const struct fixture *f, const char *user)
{
    bool it = doubts_has(f->doubts, span_str(user));
    assert_true(!it || doubts_any(f->doubts));
    return it;
}

static void on_entered(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch)
{
    struct fixture *f = owner;
    (void)state, (void)epoch;
    f->answers++;
    f->rc = rc;
}

static void enter(struct fixture *f, const char *user, const char *session, uint64_t epoch)
{
    struct route_enter e = {.user = user,
                            .session = session,
                            .backend = "old",
                            .epoch = epoch,
                            .address = "a",
                            .source = "old",
                            .target = "new",
                            .generation = store_generation(f->u.store)};
    doubts_enter(f->doubts, &e, on_entered, f);
}

static bool is_registered(struct fixture *f, const char *user, const char *session)
{
    char key[64];
    snprintf(key, sizeof(key), "unit:sessions:%s", user);
    return UNIT_COMMAND(&f->u, "HEXISTS", key, session).number == 1;
}

/* The account is in `preparing`, begun a moment ago, by Redis' clock. */
static void prepare(struct fixture *f, const char *user, const char *epoch)
{
    const char *script =
        "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
        "redis.call('HSET', 'unit:route:' .. ARGV[1], 'backend', 'old', 'state', 'preparing', 'epoch', "
        "ARGV[2], 'generation', redis.call('HGET', 'unit:store', 'generation'), 'target', 'new', "
        "'prepared', string.format('%.0f', now + 1), 'deadline', string.format('%.0f', now + 60000))";
    UNIT_COMMAND(&f->u, "EVAL", script, "0", user, epoch);
}

static void test_an_account_is_in_doubt_until_it_is_answered(void **state)
{
    struct fixture *f = *state;
    assert_false(has(f, "ann"));
    enter(f, "ann", "p/1", 0);
    assert_true(has(f, "ann"));
    UNIT_UNTIL(&f->u, f->answers == 1);
    assert_int_equal(f->rc, ROUTE_OK);
    assert_false(has(f, "ann"));
    assert_false(doubts_any(f->doubts));
    doubts_leave(f->doubts, "ann", "p/1");
    assert_true(has(f, "ann"));
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_false(is_registered(f, "ann", "p/1"));
}

/* What is not in doubt costs no script: neither an account that nothing is known of, nor one that has
 * sessions. */
static void test_without_doubt_nothing_is_written(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = {"p/1"};
    enter(f, "ann", "p/1", 0);
    UNIT_UNTIL(&f->u, f->answers == 1);
    prepare(f, "ann", "3");
    prepare(f, "bob", "3");
    uint64_t before = unit_stat(&f->u, "fcall").calls;
    doubts_reconcile(f->doubts, "ann", 3, names, 1);
    doubts_reconcile(f->doubts, "bob", 3, NULL, 0);
    assert_int_equal(unit_stat(&f->u, "fcall").calls, before);
}

/* The session is closed before the answer of its enter comes, which nobody wants any more but the table. */
static void test_an_answer_that_nobody_wants_ends_the_doubt(void **state)
{
    struct fixture *f = *state;
    enter(f, "ann", "p/1", 0);
    doubts_forget(f->doubts, f);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_int_equal(f->answers, 0);
    assert_true(is_registered(f, "ann", "p/1"));
}

static void lose_an_enter(struct fixture *f, const char *user, const char *session, uint64_t epoch)
{
    unsigned answers = f->answers;
    unit_redis_stop(&f->u.redis);
    enter(f, user, session, epoch);
    UNIT_UNTIL(&f->u, f->answers > answers);
    assert_int_equal(f->rc, ROUTE_DOWN);
    kill(f->u.redis.pid, SIGCONT);
    UNIT_UNTIL(&f->u, f->u.state == STORE_UP);
}

static void test_a_lost_answer_is_in_doubt_until_a_reconcile_of_a_later_epoch(void **state)
{
    struct fixture *f = *state;
    lose_an_enter(f, "ann", "p/1", 0);
    UNIT_UNTIL(&f->u, is_registered(f, "ann", "p/1"));
    assert_true(has(f, "ann"));
    prepare(f, "ann", "3");
    doubts_reconcile(f->doubts, "ann", 3, NULL, 0);
    assert_true(has(f, "ann"));
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_false(is_registered(f, "ann", "p/1"));
}

/* It was sent in this very `preparing`: it may be executed behind the reconcile. */
static void test_an_enter_of_the_same_epoch_stays_in_doubt(void **state)
{
    struct fixture *f = *state;
    prepare(f, "ann", "3");
    lose_an_enter(f, "ann", "p/1", 3);
    uint64_t before = unit_stat(&f->u, "fcall").calls;
    doubts_reconcile(f->doubts, "ann", 3, NULL, 0);
    UNIT_UNTIL(&f->u, unit_stat(&f->u, "fcall").calls > before);
    UNIT_COMMAND(&f->u, "PING");
    assert_true(has(f, "ann"));
    prepare(f, "ann", "4");
    doubts_reconcile(f->doubts, "ann", 4, NULL, 0);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
}

/* A registration that came after the preparing began is left, and so is the doubt. */
static void test_what_a_reconcile_leaves_stays_in_doubt(void **state)
{
    struct fixture *f = *state;
    lose_an_enter(f, "ann", "p/1", 0);
    prepare(f, "ann", "3");
    UNIT_COMMAND(&f->u, "HSET", "unit:sessions:ann", "p/2", "old 3 running a 9999999999999");
    doubts_reconcile(f->doubts, "ann", 3, NULL, 0);
    UNIT_UNTIL(&f->u, !is_registered(f, "ann", "p/1"));
    UNIT_COMMAND(&f->u, "PING");
    assert_true(has(f, "ann"));
    UNIT_COMMAND(&f->u, "HDEL", "unit:sessions:ann", "p/2");
    prepare(f, "ann", "4");
    doubts_reconcile(f->doubts, "ann", 4, NULL, 0);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
}

static void test_a_reconcile_whose_answer_is_lost_is_given_again(void **state)
{
    struct fixture *f = *state;
    lose_an_enter(f, "ann", "p/1", 0);
    prepare(f, "ann", "3");
    unit_redis_stop(&f->u.redis);
    doubts_reconcile(f->doubts, "ann", 3, NULL, 0);
    UNIT_UNTIL(&f->u, f->u.state == STORE_DOWN);
    assert_int_equal(f->again, 0);
    kill(f->u.redis.pid, SIGCONT);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_true(f->again > 0);
    assert_false(is_registered(f, "ann", "p/1"));
}

static void test_a_lost_leave_is_sent_again(void **state)
{
    struct fixture *f = *state;
    enter(f, "ann", "p/1", 0);
    UNIT_UNTIL(&f->u, f->answers == 1);
    unit_redis_kill(&f->u.redis);
    UNIT_UNTIL(&f->u, f->u.state == STORE_DOWN);
    queue_hold(f->queue);
    doubts_leave(f->doubts, "ann", "p/1");
    unit_redis_start(&f->u.redis);
    UNIT_UNTIL(&f->u, f->u.state == STORE_UP);
    assert_true(is_registered(f, "ann", "p/1"));
    queue_go(f->queue, 0);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_false(is_registered(f, "ann", "p/1"));
}

/* The leave was answered, by a master whose last writes are lost. */
static void test_a_new_master_may_not_know_of_a_leave(void **state)
{
    struct fixture *f = *state;
    enter(f, "ann", "p/1", 0);
    doubts_leave(f->doubts, "ann", "p/1");
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    UNIT_COMMAND(&f->u, "HSET", "unit:sessions:ann", "p/1", "old 0 running a 1");
    doubts_new_master(f->doubts);
    assert_true(has(f, "ann") && !has(f, "bob"));
    prepare(f, "ann", "3");
    doubts_reconcile(f->doubts, "ann", 3, NULL, 0);
    UNIT_UNTIL(&f->u, !has(f, "ann"));
    assert_false(is_registered(f, "ann", "p/1"));
}

/* Past the cap every account is in doubt. */
static void test_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    char user[24];
    unit_redis_kill(&f->u.redis);
    UNIT_UNTIL(&f->u, f->u.state == STORE_DOWN);
    for (unsigned i = 0; i < DOUBTS_MAX; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        doubts_leave(f->doubts, user, "p/1");
    }
    UNIT_UNTIL(&f->u, f->u.state == STORE_DOWN);
    assert_true(has(f, "u0") && !has(f, "ann"));
    doubts_leave(f->doubts, "ann", "p/1");
    UNIT_UNTIL(&f->u, has(f, "ann") && has(f, "bob"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_account_is_in_doubt_until_it_is_answered),
        TEST(test_without_doubt_nothing_is_written),
        TEST(test_an_answer_that_nobody_wants_ends_the_doubt),
        TEST(test_a_lost_answer_is_in_doubt_until_a_reconcile_of_a_later_epoch),
        TEST(test_an_enter_of_the_same_epoch_stays_in_doubt),
        TEST(test_what_a_reconcile_leaves_stays_in_doubt),
        TEST(test_a_reconcile_whose_answer_is_lost_is_given_again),
        TEST(test_a_lost_leave_is_sent_again),
        TEST(test_a_new_master_may_not_know_of_a_leave),
        TEST(test_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
