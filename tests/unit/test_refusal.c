/* Does a backend refuse us, or one account? */
#include "migrator/site/refusal.h"
#include "unit.h"

static struct refusal fresh;

static bool no(struct refusal *r, const char *user)
{
    return refusal_note(r, REFUSAL_MASTER, true, user, 1000);
}

static bool yes(struct refusal *r, const char *user)
{
    return refusal_note(r, REFUSAL_NONE, true, user, 1000);
}

/* Whoever owns one account can be refused as often as he likes, and one more may be his neighbour. */
static void test_one_account_stops_nobody(void **state)
{
    struct refusal r = fresh;
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_false(no(&r, i % 2 ? "mallory" : "bob"));
    assert_int_equal(r.kind, REFUSAL_NONE);
    assert_int_equal(refusal_wait_ms(&r, 0), 0);
}

static void test_three_in_a_row(void **state)
{
    struct refusal r = fresh;
    (void)state;
    assert_false(no(&r, "ann"));
    assert_false(no(&r, "bob"));
    assert_false(yes(&r, "cid")); /* begins anew */
    assert_false(no(&r, "dan"));
    assert_false(no(&r, "eve"));
    assert_true(no(&r, "ann"));
    assert_int_equal(r.kind, REFUSAL_MASTER);
    assert_false(no(&r, "fay")); /* told once */
    assert_true(yes(&r, "gus"));
    assert_int_equal(r.kind, REFUSAL_NONE);
    assert_false(no(&r, "hal"));
}

/* A server where users sign in by themselves says nothing of the master, and their wrong passwords nothing of
 * anybody. */
static void test_users_of_their_own(void **state)
{
    struct refusal r = fresh;
    (void)state;
    no(&r, "ann");
    no(&r, "bob");
    assert_false(refusal_note(&r, REFUSAL_NONE, false, "cid", 1000));
    assert_true(no(&r, "dan"));
}

/* Two names of one server: the first pair tells, and no sign-in ends it. */
static void test_one_server(void **state)
{
    struct refusal r = fresh;
    (void)state;
    assert_false(refusal_pair(&r, false, 1000));
    assert_true(refusal_pair(&r, true, 1000));
    assert_false(refusal_pair(&r, true, 1000)); /* told once */
    assert_int_equal(r.kind, REFUSAL_SAME);
    assert_false(yes(&r, "ann"));
    assert_int_equal(r.kind, REFUSAL_SAME);
    assert_int_equal(refusal_wait_ms(&r, 1000), REFUSAL_TRY_MIN_MS);
    assert_true(refusal_pair(&r, false, 3000));
    assert_int_equal(r.kind, REFUSAL_NONE);
}

static void test_tls(void **state)
{
    struct refusal r = fresh;
    (void)state;
    assert_false(refusal_note(&r, REFUSAL_TLS, true, "ann", 1000));
    assert_false(refusal_note(&r, REFUSAL_TLS, true, "ann", 1000));
    assert_false(refusal_past_tls(&r));
    assert_false(refusal_note(&r, REFUSAL_TLS, true, "ann", 1000));
    assert_false(refusal_note(&r, REFUSAL_TLS, true, "ann", 1000));
    assert_true(refusal_note(&r, REFUSAL_TLS, true, "ann", 1000)); /* no user has a part in it */
    assert_int_equal(r.kind, REFUSAL_TLS);
    assert_true(no(&r, "ann")); /* TLS is fine, and what comes behind it is another matter */
    assert_int_equal(r.kind, REFUSAL_NONE);
}

static void test_trials(void **state)
{
    struct refusal r = fresh;
    uint64_t now = 1000, waits[] = {1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    (void)state;
    no(&r, "ann");
    no(&r, "bob");
    refusal_try(&r, now); /* no trial: it does not rest */
    assert_int_equal(refusal_wait_ms(&r, now), 0);
    no(&r, "cid");
    for (size_t i = 0; i < COUNTOF(waits); i++) {
        assert_int_equal(refusal_wait_ms(&r, now), waits[i]);
        now += waits[i];
        assert_int_equal(refusal_wait_ms(&r, now), 0);
        refusal_try(&r, now);
        no(&r, "dan");
    }
    refusal_again(&r);
    assert_int_equal(refusal_wait_ms(&r, now), 0);
    refusal_try(&r, now);
    assert_int_equal(refusal_wait_ms(&r, now), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_account_stops_nobody),
        cmocka_unit_test(test_three_in_a_row),
        cmocka_unit_test(test_users_of_their_own),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_one_server),
        cmocka_unit_test(test_trials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
