/* Whose login queues a migration: shares, times, lists, and which wave an account goes by. */
#include "unit.h"

#include "lib/waves.h"
#include "lib/xalloc.h"

static const struct conf names = {.migration = {.default_domain = "x.example"}};

/* ---- lists */

static void account_fault(void *owner, size_t line, const char *text)
{
    buf_printf(owner, "%zu %s; ", line, text);
}

static struct account_names *read_names(const char *text)
{
    struct buf faults = {0};
    struct account_names *a = account_names_read(&names, span_str(text), account_fault, &faults);

    assert_int_equal(faults.len, 0);
    assert_non_null(a);
    return a;
}

static void test_lists(void **state)
{
    (void)state;
    struct account_names *a = read_names("\xef\xbb\xbfZoe\n# a comment\n\n  Ann@B.example \r\nzoe\nk'x"),
                         *b = account_names_keep(a), *other = read_names("zoe");
    assert_int_equal(account_names_count(a), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(
            account_names_have(a, (const char *[]){"zoe@x.example", "ann@b.example", "k%27x@x.example"}[i]));
    assert_false(account_names_have(a, "zoe") || account_names_have(a, "") ||
                 account_names_have(NULL, "zoe"));
    account_names_free(&a);
    assert_null(a);
    assert_true(account_names_have(b, "zoe@x.example"));
    assert_true(account_names_equal(b, b) && account_names_equal(NULL, NULL));
    assert_false(account_names_equal(b, other) || account_names_equal(b, NULL));
    account_names_free(&b);
    account_names_free(&other);
}

static void test_lists_that_are_none(void **state)
{
    (void)state;
    struct buf faults = {0};
    assert_null(account_names_read(&names, span_str("ann\nroot:x:0:0\n\n@\n"), account_fault, &faults));
    assert_string_equal(buf_str(&faults),
                        "2 is more than a login name: one stands on a line, and nothing else; "
                        "4 the name begins or ends with \"@\"; ");
    buf_free(&faults);
}

/* ---- shares */

static bool is_in(uint32_t share, const char *user)
{
    return wave_shares(&(struct conf_wave){.share = share}, user);
}

/* Raised, it only adds; so many per cent of names that differ in a number alone are in it. */
static void test_shares(void **state)
{
    enum { N = 20000 };
    size_t n[101] = {0};
    char user[32];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        snprintf(user, sizeof(user), "user%zu@example.org", i);
        bool before = false;
        for (uint32_t share = 0; share <= 100; share++) {
            bool now = is_in(share, user);
            assert_true(now || !before);
            n[share] += now;
            before = now;
        }
    }
    assert_int_equal(n[0], 0);
    assert_int_equal(n[100], N);
    for (size_t share = 1; share < 100; share++)
        assert_in_range(n[share] * 100 / N + 1, share, share + 2);
}

/* Accounts must not leave a share with a later release. */
static void test_shares_stay(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const char *user = (const char *[]){"ann@example.org", "bob@example.org", "", "cas"}[i];
        uint32_t first = (const uint32_t[]){100, 74, 43, 10}[i];
        assert_true(is_in(first, user) && !is_in(first - 1, user));
    }
}

/* ---- times */

static void test_times(void **state)
{
    static const char *const bad[] = {"soon",
                                      "2026-12",
                                      "2026-13-01",
                                      "2026-02-30",
                                      "2026-12-01 24:00",
                                      "2026-12-01 20:60",
                                      "2026-12-01 20:00:00",
                                      "2026-12-01 8:00",
                                      "2026-12-1",
                                      "2026-12-01T20:00",
                                      "2026-12-01 -1:00",
                                      "1969-01-01"};
    uint64_t ms;

    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_true(wave_time("", &ms) && ms == 0);
    assert_true(wave_time("2026-12-01 20:00", &ms));
    assert_int_equal(ms, UINT64_C(1796151600000));
    assert_true(wave_time("2026-07-01", &ms));
    assert_int_equal(ms, UINT64_C(1782856800000));
    for (size_t i = 0; i < COUNTOF(bad); i++)
        assert_false(wave_time(bad[i], &ms));
    assert_int_equal(wave_offset_ms(1796151600), 3600 * 1000);
    assert_int_equal(wave_offset_ms(1782856800), 7200 * 1000);
    setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
    tzset();
    assert_int_equal(wave_offset_ms(1796151600), -5 * 3600 * 1000);
}

/* Where the accounts of a domain lie in one store, that one began a part of them a day, and no other any. */
static void test_a_wave_of_one_domain_has_its_day_in_one_store(void **state)
{
    static const struct {
        const char *patterns[2];
        bool one;
    } waves[] = {
        {{"*@it.example", "d?n@it.example"}, true},    {{"a@b@it.example", "*@it.example"}, true},
        {{"*@it.example", "*@*.example"}, false},      {{"*@it.example", "*@at.example"}, false},
        {{"*@it.example", "*.it.example"}, false},     {{"*@it.example", "ann"}, false},
        {{"*@it.exampl?", "*@it.exampl?"}, false},     {{"*", "*@it.example"}, false},
        {{"*@it.example", "/list@it.example"}, false},
    };
    struct conf c = {.redis = {.n_stores = 3}};

    (void)state;
    for (size_t i = 0; i < COUNTOF(waves); i++) {
        struct conf_wave w = {.accounts = {(char **)(uintptr_t)waves[i].patterns, 2}, .per_day = 500};
        c.redis.spread = SPREAD_DOMAIN;
        assert_int_equal(wave_store_part(&c, &w), waves[i].one ? 500 : 167);
        c.redis.spread = SPREAD_ACCOUNT;
        assert_int_equal(wave_store_part(&c, &w), 167);
    }
}

/* ---- an account */

static void at_login(const struct conf *c, const char *user, bool queues, const char *want)
{
    struct buf told = {0};

    assert_int_equal(wave_at_login(c, user, 1796151600, &told), queues);
    assert_string_equal(buf_str(&told), want);
    buf_free(&told);
}

static void test_at_login(void **state)
{
    struct conf_rule rules[] = {{"*@by.hand", "a", "b", RULE_TRIGGER_MANUAL},
                                {"*@login.example", "a", "b", RULE_TRIGGER_LOGIN},
                                {"*@default.example", "a", "b", RULE_TRIGGER_DEFAULT}};
    struct conf_wave waves[] = {
        {.name = "pilot",
         .accounts = {(char *[]){"/list", "*@it.example"}, 2},
         .share = 100,
         .per_day = 5,
         .after_ms = 7,
         .listed = read_names("ann\nbob@by.hand")},
        {.name = "nobody", .accounts = {(char *[]){"dan*"}, 1}, .share = 0},
        {.name = "it", .accounts = {(char *[]){"*@it.example", "dan@it.example"}, 2}, .share = 100},
    };
    struct conf c = {.rules = rules,
                     .n_rules = COUNTOF(rules),
                     .waves = waves,
                     .n_waves = COUNTOF(waves),
                     .migration = {.trigger = TRIGGER_LOGIN, .source = "a", .target = "b"}};

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    c.redis.n_stores = 2;
    at_login(&c, "ann@x.example", true, "pilot 7 3 0"); /* of the 5 of all stores */
    c.redis.n_stores = 1;
    for (int manual = 0; manual < 2; manual++) {
        c.migration.trigger = manual ? TRIGGER_MANUAL : TRIGGER_LOGIN;
        at_login(&c, "ann@x.example", true, "pilot 7 5 0");
        at_login(&c, "bob@by.hand", true, "pilot 7 5 0"); /* whatever trigger says */
        at_login(&c, "zoe@it.example", true, "pilot 7 5 0");
        at_login(&c, "dan@it.example", true, "pilot 7 5 0"); /* by the first that names it */
        at_login(&c, "dan@x.example", false, "");
        at_login(&c, "cas@by.hand", false, "");
        at_login(&c, "cas@login.example", true, "");
        at_login(&c, "cas@default.example", !manual, "");
        at_login(&c, "cas@x.example", !manual, "");
    }
    assert_null(wave_of(&c, "cas@x.example"));
    struct conf_backend gone = {.name = "b", .retired = true};
    c.backends = &gone;
    c.n_backends = 1;
    at_login(&c, "ann@x.example", false, "");
    at_login(&c, "cas@login.example", false, "");
    account_names_free(&waves[0].listed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),    cmocka_unit_test(test_lists_that_are_none),
        cmocka_unit_test(test_shares),   cmocka_unit_test(test_shares_stay),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_a_wave_of_one_domain_has_its_day_in_one_store),
        cmocka_unit_test(test_at_login),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
