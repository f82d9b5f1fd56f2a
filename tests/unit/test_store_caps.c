#include "lib/store_caps.h"

#include "store_unit.h"

enum { HOUR = CAPS_WINDOW_MS };

static const uint64_t T = 1000 * (uint64_t)HOUR;

static struct imap_caps caps_of(const char *words)
{
    struct imap_caps c;
    imap_caps_parse(&c, span_str(words));
    return c;
}

static bool saw(struct caps_record *r, const char *words, enum caps_by by, uint64_t now)
{
    struct imap_caps seen = caps_of(words);
    return caps_record_take(r, &seen, by, now);
}

static void has(const struct caps_record *r, const char *want)
{
    struct buf out = {0};
    assert_true(r->known);
    imap_caps_write(&out, &r->caps);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

/* ---- the record alone ---- */

static void test_the_first_sign_in_makes_it(void **state)
{
    struct caps_record r = {0};
    (void)state;
    assert_true(saw(&r, "IMAP4rev1 MOVE", CAPS_BY_USER, T));
    has(&r, "IMAP4rev1 MOVE");
    assert_false(saw(&r, "IMAP4rev1 MOVE", CAPS_BY_USER, T + 1));
}

/* Two users who are shown different things in turn change nothing after the first of each. */
static void test_users_who_differ(void **state)
{
    struct caps_record r = {0};
    (void)state;
    saw(&r, "IMAP4rev1 MOVE QUOTA", CAPS_BY_USER, T);
    assert_true(saw(&r, "IMAP4rev1 MOVE ACL", CAPS_BY_USER, T + 1));
    has(&r, "IMAP4rev1 MOVE");
    for (unsigned i = 2; i < 10; i++)
        assert_false(saw(&r, i % 2 ? "IMAP4rev1 MOVE ACL" : "IMAP4rev1 MOVE QUOTA", CAPS_BY_USER, T + i));
    assert_true(saw(&r, "IMAP4rev1 MOVE QUOTA", CAPS_BY_USER, T + HOUR));
    has(&r, "IMAP4rev1 MOVE");
    assert_true(saw(&r, "IMAP4rev1 MOVE ACL", CAPS_BY_USER,
                    T + HOUR + 1)); /* noted, so that the next hour adds nothing */
    has(&r, "IMAP4rev1 MOVE");
    assert_true(saw(&r, "IMAP4rev1 MOVE ACL", CAPS_BY_USER, T + 2 * HOUR));
    has(&r, "IMAP4rev1 MOVE");
}

static void test_less_at_once_and_more_later(void **state)
{
    struct caps_record r = {0};
    (void)state;
    saw(&r, "IMAP4rev1 MOVE", CAPS_BY_USER, T);
    assert_false(saw(&r, "IMAP4rev1 MOVE SORT", CAPS_BY_USER, T + 1));
    has(&r, "IMAP4rev1 MOVE");
    assert_true(saw(&r, "IMAP4rev1 SORT", CAPS_BY_USER, T + 2));
    has(&r, "IMAP4rev1");
    saw(&r, "IMAP4rev1 SORT", CAPS_BY_USER, T + HOUR);
    has(&r, "IMAP4rev1");
    saw(&r, "IMAP4rev1 SORT", CAPS_BY_USER, T + 2 * HOUR);
    has(&r, "IMAP4rev1 SORT");
}

static void test_a_master_that_signs_in_for_itself(void **state)
{
    struct caps_record r = {0};
    (void)state;
    assert_true(saw(&r, "IMAP4rev1 X ACL", CAPS_BY_MASTER, T));
    assert_true(saw(&r, "IMAP4rev1 MOVE", CAPS_BY_MASTER, T + 1));
    has(&r, "IMAP4rev1 MOVE");
    assert_false(saw(&r, "IMAP4rev1 MOVE", CAPS_BY_MASTER, T + 2));
    assert_true(saw(&r, "IMAP4rev1 MOVE", CAPS_BY_MASTER, T + 1 + HOUR)); /* asked again: it is fresh */
    assert_false(caps_record_is_old(&r, T + 2 + HOUR));
    assert_true(saw(&r, "IMAP4rev1 QUOTA", CAPS_BY_USER, T + 3 + HOUR));
    has(&r, "IMAP4rev1 QUOTA");
    assert_false(saw(&r, "IMAP4rev1", CAPS_BY_MASTER, T + 3 * (uint64_t)HOUR));
    has(&r, "IMAP4rev1 QUOTA");
}

static void test_a_clock_that_is_ahead(void **state)
{
    struct caps_record r = {0};
    (void)state;
    saw(&r, "IMAP4rev1 MOVE", CAPS_BY_USER, T);
    assert_false(caps_record_is_old(&r, T - HOUR));
    assert_true(caps_record_is_old(&r, T - HOUR - 1));
    assert_true(caps_record_is_old(&r, T + HOUR));
}

/* ---- in Redis ---- */

static int setup(void **state)
{
    struct unit_store *u = xcalloc(1, sizeof(*u));
    unit_store_begin(u);
    *state = u;
    return 0;
}

static int teardown(void **state)
{
    unit_store_end(*state);
    free(*state);
    return 0;
}

struct told {
    unsigned times, stored;
    struct caps_record record;
};

static void on_stored(void *owner, bool stored)
{
    struct told *t = owner;
    t->times++;
    t->stored += stored;
}

static void on_all(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct told *t = owner;
    assert_int_equal(rc, REDIS_OK);
    caps_record_read(&t->record, r, "new");
    t->times++;
}

static struct caps_record read_back(struct unit_store *u)
{
    struct told t = {0};
    store_caps_all(u->store, on_all, &t);
    UNIT_UNTIL(u, t.times == 1);
    return t.record;
}

/* Two that saw different things at the same moment: one of them looks again, and nothing is lost. */
static void test_two_at_once(void **state)
{
    struct unit_store *u = *state;
    struct imap_caps a = caps_of("IMAP4rev1 MOVE QUOTA"), b = caps_of("IMAP4rev1 MOVE ACL APPENDLIMIT=10");
    struct told t = {0};
    store_caps_saw(u->store, "new", &a, CAPS_BY_USER, on_stored, &t);
    store_caps_saw(u->store, "new", &b, CAPS_BY_USER, on_stored, &t);
    UNIT_UNTIL(u, t.times == 2);
    assert_int_equal(t.stored, 2);
    struct caps_record r = read_back(u);
    has(&r, "IMAP4rev1 MOVE");
    assert_int_equal(r.by, CAPS_BY_USER);
    assert_false(caps_record_is_old(&r, clock_wall_ms()));
    t = (struct told){0};
    store_caps_saw(u->store, "new", &b, CAPS_BY_MASTER, on_stored, &t);
    UNIT_UNTIL(u, t.times == 1);
    r = read_back(u);
    has(&r, "IMAP4rev1 MOVE");
}

/* It may be what a question before any sign-in showed. */
static void test_what_the_version_before_wrote(void **state)
{
    struct unit_store *u = *state;
    struct imap_caps seen = caps_of("IMAP4rev1 NAMESPACE");
    struct told t = {0};
    unit_command(u, (const char *const[]){"HSET", "unit:backends", "new", "IMAP4rev1 IDLE ID", NULL});
    assert_false(read_back(u).known);
    store_caps_saw(u->store, "new", &seen, CAPS_BY_USER, on_stored, &t);
    UNIT_UNTIL(u, t.times == 1);
    struct caps_record r = read_back(u);
    has(&r, "IMAP4rev1 NAMESPACE");
}

static void test_store_that_is_away_and_forgotten_callers(void **state)
{
    struct unit_store *u = *state;
    struct imap_caps seen = caps_of("IMAP4rev1");
    struct told t = {0}, gone = {0};
    store_caps_saw(u->store, "new", &seen, CAPS_BY_USER, on_stored, &gone);
    store_forget(u->store, &gone);
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, u->state == STORE_DOWN);
    store_caps_saw(u->store, "new", &seen, CAPS_BY_USER, on_stored, &t);
    UNIT_UNTIL(u, t.times == 1);
    assert_int_equal(t.stored, 0);
    assert_int_equal(gone.times, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_sign_in_makes_it),
        cmocka_unit_test(test_users_who_differ),
        cmocka_unit_test(test_less_at_once_and_more_later),
        cmocka_unit_test(test_a_master_that_signs_in_for_itself),
        cmocka_unit_test(test_a_clock_that_is_ahead),
        TEST(test_two_at_once),
        TEST(test_what_the_version_before_wrote),
        TEST(test_store_that_is_away_and_forgotten_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
