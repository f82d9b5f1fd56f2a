/* What a pass found becomes one JSON text that stays within its bounds and leaves nothing uncounted. */
#include <jansson.h>

#include "unit.h"

#include "migrator/account/report.h"
#include "migrator/found/waiver.h"

static json_t *written(struct report *r)
{
    struct buf text = {0};

    report_write(&text, r);
    json_t *o = json_loads(buf_str(&text), 0, NULL);
    assert_non_null(o);
    buf_free(&text);
    return o;
}

static json_int_t number(const json_t *o, const char *name)
{
    json_t *n = json_object_get(o, name);

    assert_true(json_is_integer(n));
    return json_integer_value(n);
}

static void assert_text(const json_t *o, const char *name, const char *want)
{
    assert_non_null(json_string_value(json_object_get(o, name)));
    assert_string_equal(json_string_value(json_object_get(o, name)), want);
}

static void an_account_is_told_whole(void **state)
{
    (void)state;
    const struct copy_counts counts[] = {
        {.messages_total = 3,
         .bytes_total = 30,
         .compared_bytes = 1,
         .compared_listing = 1,
         .zones_changed = 2},
        {.messages_total = 5, .bytes_total = 50, .compared_bytes = 5, .foreign = 4}};
    struct findings *inbox = findings_new(NULL), *all = findings_new(NULL);
    struct report r = {.time_ms = 1700000000000,
                       .source = "old",
                       .target = "new",
                       .verify = "sample",
                       .result = "cannot",
                       .reason = "x",
                       .all = all,
                       .n = 2};

    findings_add(inbox, FINDING_REFUSED, "Entw&APw-rfe", 7, "no \xff");
    findings_count(inbox, FINDING_ZONE, 2);
    findings_add(all, FINDING_QUOTA, "", 0, "full");
    findings_join(all, inbox);
    r.mailboxes = xcalloc(2, sizeof(*r.mailboxes));
    r.mailboxes[0] = (struct report_mailbox){"A", "A", true, &counts[1], NULL, 0, VIEW_T0, "", NULL};
    r.mailboxes[1] = (struct report_mailbox){"Entw&APw-rfe", "x",     true,   &counts[0], inbox,
                                             1700,           VIEW_T2, "used", "shifted"};
    json_t *o = written(&r), *m, *f;
    assert_text(o, "time", "2023-11-14T22:13:20Z");
    assert_text(o, "verify", "sample");
    assert_int_equal(number(o, "messages"), 8);
    assert_int_equal(number(json_object_get(o, "compared"), "bytes"), 6);
    assert_int_equal(number(json_object_get(o, "compared"), "listing"), 1);
    assert_int_equal(number(o, "zones_changed"), 2);
    assert_int_equal(number(o, "foreign"), 4);
    assert_null(json_object_get(json_object_get(o, "findings"), "zone"));
    assert_int_equal(number(json_object_get(json_object_get(o, "findings"), "quota"), "open"), 1);
    assert_int_equal(json_array_size(json_object_get(o, "account")), 1);
    m = json_array_get(json_object_get(o, "mailboxes"), 0); /* the one with findings */
    assert_text(m, "name", "Entwürfe");
    assert_text(m, "modseqs", "shifted");
    assert_int_equal(number(m, "more_findings"), 0);
    f = json_array_get(json_object_get(m, "findings"), 0);
    assert_text(f, "kind", "refused");
    assert_text(f, "key", "Entwürfe:7");
    assert_int_equal(number(json_array_get(json_object_get(o, "mailboxes"), 0), "uidvalidity"), 1700);
    json_decref(o);
    report_free(&r);
    findings_free(&inbox);
    findings_free(&all);
}

static void a_long_one_says_what_it_lacks(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    const struct copy_counts counts = {.messages_total = 1};
    struct findings *all = findings_new(NULL);
    struct report r = {.source = "old",
                       .target = "new",
                       .verify = "full",
                       .result = "equal",
                       .reason = "",
                       .all = all,
                       .n = MANY};
    char(*names)[16] = xcalloc(MANY, sizeof(*names));
    struct buf text = {0};

    r.mailboxes = xcalloc(MANY, sizeof(*r.mailboxes));
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "m%zu", i);
        r.mailboxes[i] =
            (struct report_mailbox){names[i], names[i], true, &counts, NULL, 0, VIEW_T3, NULL, NULL};
    }
    report_write(&text, &r);
    assert_true(text.len < 2 * REPORT_MAX);
    json_t *o = json_loads(buf_str(&text), 0, NULL);
    assert_int_equal(number(o, "messages"), MANY);
    size_t listed = json_array_size(json_object_get(o, "mailboxes"));
    assert_true(listed > 100 && number(o, "more_mailboxes") == (json_int_t)(MANY - listed));
    json_decref(o);
    buf_free(&text);
    report_free(&r);
    findings_free(&all);
    free(names);
}

/* A key that a person copies from it names this mailbox, and no other. */
static void a_name_is_told_so_that_it_can_be_said_again(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"Tom &- Ann", "Tom & Ann"},
        {"&-AOQ-", "&-AOQ-"}, /* as "&AOQ-" it would be the mailbox "\u00e4" */
        {"a&AAo-INBOX:1", "a&AAo-INBOX:1"},
        {"a\nINBOX:1", "a&AAo-INBOX:1"},
        {"&IC4-gpj.exe", "&IC4-gpj.exe"},
        {"&AIU-", "&AIU-"},
        {"Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"}};

    for (size_t i = 0; i < COUNTOF(names); i++) {
        const struct copy_counts counts = {0};
        const char *why;
        struct findings *in = findings_new(NULL), *all = findings_new(NULL);
        struct report_mailbox m = {names[i][0], "x", true, &counts, in, 7, VIEW_T0, "", NULL};
        struct report r = {.source = "old",
                           .target = "new",
                           .verify = "full",
                           .result = "cannot",
                           .reason = "x",
                           .all = all,
                           .n = 1};
        findings_add(in, FINDING_REFUSED, names[i][0], 17, "no");
        findings_join(all, in);
        r.mailboxes = xcalloc(1, sizeof(*r.mailboxes));
        r.mailboxes[0] = m;
        json_t *o = written(&r), *told = json_array_get(json_object_get(o, "mailboxes"), 0);
        assert_text(told, "name", names[i][1]);
        const char *key =
            json_string_value(json_object_get(json_array_get(json_object_get(told, "findings"), 0), "key"));
        char *meant = waiver_key(span_str(key), &why), *bound = waiver_bind(meant, 7);
        struct waivers *w = waivers_new();
        waivers_add(w, span_str(bound));
        assert_true(waivers_have_message(w, names[i][0], 7, 17));
        waivers_free(&w);
        free(meant);
        free(bound);
        json_decref(o);
        report_free(&r);
        findings_free(&in);
        findings_free(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_told_whole),
        cmocka_unit_test(a_long_one_says_what_it_lacks),
        cmocka_unit_test(a_name_is_told_so_that_it_can_be_said_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
