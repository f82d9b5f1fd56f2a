#include "unit.h"

#include "migrator/account/quota.h"

static bool take(struct quota *q, const char *text)
{
    struct imap_tree *t =
        imap_tree_new(&(struct imap_tree_limits){.depth = 10, .values = 100, .bytes = 1000});
    struct imap_resp r = {.kind = RESP_DATA, .word = span_str("QUOTA")};
    const char *why;

    assert_true(imap_tree_text(t, span_str(text), &why));
    bool ok = quota_take(q, &r, imap_tree_first(t));
    imap_tree_free(&t);
    return ok;
}

static void the_tightest_limit_and_the_largest_use(void **state)
{
    struct quota q = {0};

    (void)state;
    assert_true(take(&q, "\"User quota\" (STORAGE 100 5000 X-ODD 1 2)"));
    assert_true(take(&q, "other (storage 300 900 MESSAGE 7 18446744073709551615)"));
    assert_int_equal(q.kinds[QUOTA_STORAGE].used, 300);
    assert_int_equal(q.kinds[QUOTA_STORAGE].limit, 900);
    assert_true(q.kinds[QUOTA_MESSAGE].limited);
    assert_int_equal(q.kinds[QUOTA_MESSAGE].used, 7);
    assert_false(q.kinds[QUOTA_MAILBOX].limited);
}

static void what_is_none(void **state)
{
    struct quota q = {0};

    (void)state;
    assert_true(take(&q, "root ()"));
    assert_false(take(&q, "root (STORAGE x 5 STORAGE 1)"));
    assert_false(take(&q, "root (STORAGE 5)"));
    assert_false(take(&q, "root STORAGE"));
    assert_true(take(&q, "root")); /* nothing is limited there */
    assert_false(take(&q, ""));
    assert_false(q.kinds[QUOTA_STORAGE].limited);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tightest_limit_and_the_largest_use),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
