/* Findings are counted without end and named up to a cap; waivers take exactly what they name. */
#include "unit.h"

#include "lib/mutf7.h"

#include "migrator/found/finding.h"
#include "migrator/found/waiver.h"

static struct waivers *waivers_of(const char *const *keys, size_t n)
{
    struct waivers *w = waivers_new();

    for (size_t i = 0; i < n; i++)
        waivers_add(w, span_str(keys[i]));
    return w;
}
#define WAIVERS(...)                                                                                         \
    waivers_of((const char *const[]){__VA_ARGS__},                                                           \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void assert_reason(const struct findings *f, const char *text)
{
    struct buf reason = {0};

    findings_describe(&reason, f);
    assert_string_equal(buf_str(&reason), text);
    buf_free(&reason);
}

static void the_reason_names_the_first_and_counts_the_rest(void **state)
{
    (void)state;
    struct findings *f = findings_new(NULL);

    assert_int_equal(findings_open(f), 0);
    findings_add(f, FINDING_BYTES, "INBOX", 3, "bytes differ");
    findings_add(f, FINDING_REFUSED, "Entw&APw-rfe", 7, "the target refuses it: %s", "no");
    findings_add(f, FINDING_REFUSED, "Entw&APw-rfe", 9, "the target refuses it: no");
    findings_add(f, FINDING_BETWEEN, "INBOX", 0, "counted only");
    findings_count(f, FINDING_ZONE, 12);
    assert_int_equal(findings_open(f), 3);
    assert_int_equal(findings_total(f), 16);
    assert_int_equal(findings_why(f), WHY_CANNOT);
    assert_reason(f,
                  "mailbox \"Entwürfe\": UID 7: the target refuses it: no; UID 9: the target refuses it: no; "
                  "mailbox \"INBOX\": UID 3: bytes differ");
    findings_add(f, FINDING_FLAGS, "Sent", 1, "flags differ");
    assert_reason(f,
                  "mailbox \"Entwürfe\": UID 7: the target refuses it: no; UID 9: the target refuses it: no; "
                  "mailbox \"INBOX\": UID 3: bytes differ; and 1 more");
    findings_free(&f);
}

static void what_a_later_try_may_mend_is_a_difference(void **state)
{
    (void)state;
    struct findings *f = findings_new(NULL);

    findings_add(f, FINDING_FLAGS, "INBOX", 3, "flags differ");
    assert_int_equal(findings_why(f), WHY_DIFFERS);
    findings_add(f, FINDING_FLAGS_LOST, "INBOX", 4, "the target can't keep its flags ($A)");
    assert_int_equal(findings_why(f), WHY_CANNOT);
    findings_free(&f);
}

static void what_is_beyond_the_cap_blocks_too(void **state)
{
    (void)state;
    struct waivers *w = WAIVERS("INBOX:9/1", "INBOX:9/2");
    struct findings *f = findings_new(w), *all = findings_new(NULL);
    size_t n;

    findings_of_uidvalidity(f, 9);
    for (uint32_t uid = 1; uid <= 1000; uid++)
        findings_add(f, FINDING_REFUSED, "INBOX", uid, "refused");
    findings_named(f, &n);
    assert_int_equal(n, FINDINGS_NAMED + 2);
    assert_int_equal(findings_open(f), 998);
    assert_int_equal(findings_waived(f, FINDING_REFUSED), 2);
    findings_join(all, f);
    findings_join(all, f);
    const struct finding *named = findings_named(all, &n);
    assert_int_equal(n, FINDINGS_NAMED + 4);
    assert_true(named[0].waived && named[0].uid == 1 && !named[2].waived && named[2].uid == 3);
    assert_int_equal(findings_open(all), 1996);
    findings_clear(f, NULL);
    assert_int_equal(findings_total(f), 0);
    findings_free(&f);
    findings_free(&all);
    waivers_free(&w);
}

static void what_a_peer_says_stays_on_one_line(void **state)
{
    (void)state;
    struct findings *f = findings_new(NULL);
    char long_text[2 * FINDING_DETAIL_MAX];
    size_t n;

    memset(long_text, 'x', sizeof(long_text));
    for (size_t i = 0; i + 1 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "ü", 2);
    long_text[sizeof(long_text) - 1] = 0;
    findings_add(f, FINDING_REFUSED, "", 0, "a\r\nb%s", long_text);
    const struct finding *x = findings_named(f, &n);
    assert_memory_equal(x->detail, "a??bü", 6);
    assert_int_equal(strlen(x->detail), FINDING_DETAIL_MAX);
    assert_true(utf8_is_valid(span_str(x->detail)));
    findings_free(&f);
}

static void a_waiver_takes_what_it_names(void **state)
{
    (void)state;
    struct waivers *w = WAIVERS("too_large", "INBOX:9/7", "INBOX:8", "Work:flags", "Broken:listing",
                                "a:b:9/3", "INBOX:", ":", "listing", "x");

    assert_true(waivers_have(w, FINDING_TOO_LARGE, "INBOX", 9, 1));
    assert_true(waivers_have(w, FINDING_TOO_LARGE, "Sent", 0, 0));
    assert_false(waivers_have(w, FINDING_REFUSED, "INBOX", 9, 1));
    assert_true(waivers_have(w, FINDING_REFUSED, "INBOX", 9, 7));
    assert_true(waivers_have(w, FINDING_NOT_COPIED, "INBOX", 9, 7));
    assert_false(waivers_have(w, FINDING_REFUSED, "INBOX", 10, 7)); /* numbered anew */
    assert_false(waivers_have(w, FINDING_REFUSED, "INBOX", 0, 7));
    assert_false(waivers_have(w, FINDING_REFUSED, "INBOX", 9, 8)); /* of no UIDVALIDITY */
    assert_false(waivers_have(w, FINDING_REFUSED, "INBOX", 9, 70));
    assert_false(waivers_have(w, FINDING_REFUSED, "Sent", 9, 7));
    assert_true(waivers_have(w, FINDING_FLAGS, "Work", 9, 5));
    assert_false(waivers_have(w, FINDING_FLAGS, "INBOX", 9, 5));
    assert_true(waivers_have_message(w, "a:b", 9, 3));
    assert_false(waivers_have_message(w, "INBOX", 9, 0));
    assert_false(waivers_have(w, FINDING_LISTING, "INBOX", 9, 0)); /* not by its word, only by the mailbox */
    assert_true(waivers_have(w, FINDING_LISTING, "Broken", 9, 0));
    assert_false(waivers_have(w, FINDING_ZONE, "INBOX", 9, 7)); /* nothing to waive */
    waivers_free(&w);
}

static void a_list_of_another_uidvalidity_is_not_waived(void **state)
{
    (void)state;
    struct waivers *w = WAIVERS("INBOX:9/7");
    struct findings *f = findings_new(w);

    findings_add(f, FINDING_REFUSED, "INBOX", 7, "x");
    assert_int_equal(findings_open(f), 1);
    findings_of_uidvalidity(f, 10);
    findings_add(f, FINDING_REFUSED, "INBOX", 7, "x");
    assert_int_equal(findings_open(f), 2);
    findings_of_uidvalidity(f, 9);
    findings_add(f, FINDING_REFUSED, "INBOX", 7, "x");
    assert_int_equal(findings_open(f), 2);
    findings_clear(f, w);
    findings_add(f, FINDING_REFUSED, "INBOX", 7, "x");
    assert_int_equal(findings_open(f), 1);
    findings_free(&f);
    waivers_free(&w);
}

static void keys_are_bound_to_a_uidvalidity(void **state)
{
    (void)state;
    assert_true(waiver_is_unbound("a:b:3"));
    assert_false(waiver_is_unbound("a:b:9/3"));
    assert_false(waiver_is_unbound("a:b:flags"));
    assert_false(waiver_is_unbound("refused"));
    char *key = waiver_bind("a:b:3", 4294967295U);
    assert_string_equal(key, "a:b:4294967295/3");
    assert_true(waiver_means("a:b:3", span_str(key)));
    assert_true(waiver_means("a:b:4294967295/3", span_str(key)));
    assert_false(waiver_means("a:b:1/3", span_str(key)));
    assert_false(waiver_means("a:b:33", span_str(key)));
    assert_false(waiver_means("b:3", span_str(key)));
    assert_false(waiver_means("refused", span_str(key)));
    assert_true(waiver_means("refused", span_str("refused")));
    assert_false(waiver_means("INBOX:3", span_str("refused")));
    free(key);
}

static void a_server_that_sends_utf8_is_meant_too(void **state)
{
    (void)state;
    struct waivers *w = WAIVERS("Entw&APw-rfe:9/3");

    assert_true(waivers_have_message(w, "Entw&APw-rfe", 9, 3));
    assert_true(waivers_have_message(w, "Entwürfe", 9, 3));
    waivers_free(&w);
}

static void keys_are_read_as_people_type_them(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"refused", "refused"},
        {"INBOX:12", "INBOX:12"},
        {"inbox:12", "INBOX:12"},
        {"Entwürfe:3", "Entw&APw-rfe:3"},
        {"Entw&APw-rfe:3", "Entw&APw-rfe:3"},
        {"a:b:4294967295", "a:b:4294967295"},
        {"Work:order", "Work:order"},
        {"Work:listing", "Work:listing"},
        {"inbox:1700000000/12", "INBOX:1700000000/12"},
        {"A & B:1", "A &- B:1"},
        {"refused:1", "refused:1"},
    };
    static const char *const bad[] = {
        "",          "INBOX",     "INBOX:",           "INBOX:0", "INBOX:x",  ":3",       "INBOX:4294967296",
        "listing",   "zone",      "INBOX:not_copied", "a\xff:3", "INBOX:-1", "INBOX:/1", "INBOX:1/",
        "INBOX:0/1", "INBOX:1/0", "INBOX:1/2/3"};
    const char *why = NULL;

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        char *key = waiver_key(span_str(rows[i][0]), &why);
        assert_non_null(key);
        assert_string_equal(key, rows[i][1]);
        free(key);
    }
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        why = NULL;
        assert_null(waiver_key(span_str(bad[i]), &why));
        assert_non_null(why);
    }
}

static void every_kind_has_its_row(void **state)
{
    (void)state;
    enum finding_kind back;

    for (size_t k = 0; k < FINDING_KINDS; k++) {
        enum finding_kind kind = (enum finding_kind)k;
        assert_non_null(finding_word(kind));
        assert_true(strlen(finding_text(kind)) > 0);
        assert_true(finding_parse(span_str(finding_word(kind)), &back) && back == kind);
        if (finding_class(kind) == FINDING_COUNTED)
            assert_false(finding_is_waivable(kind));
    }
    assert_false(finding_parse(span_str("nothing"), &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reason_names_the_first_and_counts_the_rest),
        cmocka_unit_test(what_a_later_try_may_mend_is_a_difference),
        cmocka_unit_test(what_is_beyond_the_cap_blocks_too),
        cmocka_unit_test(what_a_peer_says_stays_on_one_line),
        cmocka_unit_test(a_waiver_takes_what_it_names),
        cmocka_unit_test(a_list_of_another_uidvalidity_is_not_waived),
        cmocka_unit_test(keys_are_bound_to_a_uidvalidity),
        cmocka_unit_test(a_server_that_sends_utf8_is_meant_too),
        cmocka_unit_test(keys_are_read_as_people_type_them),
        cmocka_unit_test(every_kind_has_its_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
