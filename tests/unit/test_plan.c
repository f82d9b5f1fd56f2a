/* What both servers list becomes what has to be done. */
#include "unit.h"

#include "migrator/account/plan.h"
#include "migrator/found/waiver.h"

enum { LISTED = MAILBOX_LISTED, SUB = MAILBOX_SUBSCRIBED, NOSEL = MAILBOX_NO_SELECT };

struct row {
    const char *name;
    unsigned flags, use;
};

static int by_name(const void *a, const void *b)
{
    const char *x = ((const struct mailbox *)a)->name, *y = ((const struct mailbox *)b)->name;
    bool xi = !strcmp(x, "INBOX"), yi = !strcmp(y, "INBOX");
    return xi != yi ? (xi ? -1 : 1) : strcmp(x, y);
}

static struct mailboxes *list_of(char separator, const char *prefix, const struct row *rows, size_t n)
{
    struct mailboxes *m = xcalloc(1, sizeof(*m));

    m->separator = separator;
    m->prefix = xstrdup(prefix);
    m->items = xcalloc(n, sizeof(*m->items));
    m->n = n;
    for (size_t i = 0; i < n; i++)
        m->items[i] = (struct mailbox){.name = xstrdup(rows[i].name),
                                       .flags = rows[i].flags,
                                       .special_use = rows[i].use,
                                       .separator = separator};
    qsort(m->items, n, sizeof(*m->items), by_name);
    return m;
}

#define LIST(separator, prefix, ...)                                                                         \
    list_of((separator), (prefix), (const struct row[]){__VA_ARGS__},                                        \
            sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static const struct plan_item *item(const struct plan *p, const char *source)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->items[i].source->name, source))
            return &p->items[i];
    return NULL;
}

static bool has(const struct plan_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (!strcmp(names->items[i], name))
            return true;
    return false;
}

static struct plan *make(const struct mailboxes *s, const struct mailboxes *t,
                         const struct migration_rules *rules)
{
    return plan_make(&(struct plan_request){.source = s, .target = t, .rules = rules});
}

static void names_are_mapped(void **state)
{
    (void)state;
    struct mailboxes *s =
        LIST('.', "INBOX.", {"INBOX", LISTED, 0}, {"INBOX.Work", LISTED | NOSEL, 0},
             {"INBOX.Work.a/b", LISTED, 0}, {"INBOX.Entw&APw-rfe", LISTED | SUB, USE_DRAFTS});
    struct mailboxes *t =
        LIST('/', "", {"INBOX", LISTED, 0}, {"Entw&APw-rfe", LISTED, 0}, {"Other", LISTED, 0});
    struct plan *p = make(s, t, NULL);

    assert_int_equal(findings_open(p->findings), 0);
    assert_int_equal(p->n, 3); /* the place without messages is made by its child, if at all */
    assert_string_equal(item(p, "INBOX")->target_name, "INBOX");
    assert_false(item(p, "INBOX")->create);
    assert_string_equal(item(p, "INBOX.Work.a/b")->target_name, "Work/a=2Fb");
    assert_true(item(p, "INBOX.Work.a/b")->create);
    assert_false(item(p, "INBOX.Entw&APw-rfe")->create);
    assert_int_equal(findings_of(p->findings, FINDING_SPECIAL_USE), 1);
    assert_int_equal(findings_of(p->findings, FINDING_EXTRA_MAILBOX), 1);
    assert_int_equal(p->subscribe.n, 1);
    assert_true(has(&p->subscribe, "Entw&APw-rfe"));
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void subscriptions_become_equal(void **state)
{
    (void)state;
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED | SUB, 0}, {"Both", LISTED | SUB, 0},
                               {"Gone", SUB, 0}, {"Not", LISTED, 0});
    struct mailboxes *t = LIST('.', "INBOX.", {"INBOX", LISTED | SUB, 0}, {"INBOX.Both", LISTED | SUB, 0},
                               {"INBOX.Not", LISTED | SUB, 0}, {"INBOX.Foreign", LISTED | SUB, 0});
    struct plan *p = make(s, t, NULL);

    assert_int_equal(p->subscribe.n, 1);
    assert_true(has(&p->subscribe, "INBOX.Gone")); /* also to what does not exist */
    assert_null(item(p, "Gone"));
    assert_int_equal(p->unsubscribe.n, 2);
    assert_true(has(&p->unsubscribe, "INBOX.Not"));
    assert_true(has(&p->unsubscribe, "INBOX.Foreign"));
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void what_is_only_a_place_on_the_target_is_made(void **state)
{
    (void)state;
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"A", LISTED, 0}, {"B", LISTED, 0});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0}, {"A", LISTED | NOSEL, 0}, {"B", SUB, 0});
    struct plan *p = make(s, t, NULL);

    assert_true(item(p, "A")->create);
    assert_true(item(p, "B")->create);
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void what_has_no_name_is_named(void **state)
{
    (void)state;
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"a/1", LISTED, 0}, {"a/2", LISTED, 0},
                               {"a/3", LISTED, 0}, {"a/4", LISTED, 0}, {"a/5", LISTED, 0}, {"a/6", LISTED, 0},
                               {"a/7", LISTED, 0}, {"a/8", SUB, 0}, {"Entw&APw-rfe/x", LISTED, 0});
    struct mailboxes *t = LIST('\0', "", {"INBOX", LISTED, 0});
    struct plan *p = make(s, t, NULL);

    size_t n;
    const struct finding *named = findings_named(p->findings, &n);

    assert_int_equal(findings_of(p->findings, FINDING_NAME), 8); /* one that is only subscribed is not mail */
    assert_int_equal(findings_open(p->findings), 8);
    assert_string_equal(named[7].mailbox, "a/7");
    assert_int_equal(p->n, 1); /* the rest goes */
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void sides_that_can_not_be_mapped(void **state)
{
    (void)state;
    struct mailboxes *s = LIST('a', "", {"INBOX", LISTED, 0});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});
    struct plan *p = make(s, t, NULL);

    assert_non_null(p->fault);
    assert_string_equal(p->fault_side, "source");
    assert_int_equal(p->n, 0);
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static struct migration_rules *rules_of(struct conf_migration *m)
{
    assert_true(migration_rules_load(m, NULL, NULL));
    return m->rules;
}

#define RULES(...)                                                                                           \
    {                                                                                                        \
        .items = (char *[]){__VA_ARGS__}, .n = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)              \
    }

static const struct finding *found(const struct plan *p, enum finding_kind kind, const char *mailbox)
{
    size_t n;
    const struct finding *f = findings_named(p->findings, &n);

    for (size_t i = 0; i < n; i++)
        if (f[i].kind == kind && !strcmp(f[i].mailbox, mailbox))
            return &f[i];
    return NULL;
}

static void renamed_ones_go_under_their_new_name(void **state)
{
    struct conf_migration m = {.rename = RULES("Sent Items=Sent", "Old/*=Archive/*")};
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"Sent Items", LISTED | SUB, USE_SENT},
                               {"Sent Items/2020", LISTED, 0}, {"Old/x", LISTED, 0});
    struct mailboxes *t = LIST('.', "INBOX.", {"INBOX", LISTED, 0}, {"INBOX.Sent", LISTED | SUB, USE_SENT});
    struct plan *p = make(s, t, rules_of(&m));

    (void)state;
    assert_string_equal(item(p, "Sent Items")->target_name, "INBOX.Sent");
    assert_false(item(p, "Sent Items")->create); /* the one that the target made by itself */
    assert_string_equal(item(p, "Sent Items/2020")->target_name, "INBOX.Sent.2020");
    assert_string_equal(item(p, "Old/x")->target_name, "INBOX.Archive.x");
    assert_int_equal(p->subscribe.n + p->unsubscribe.n, 0);
    assert_int_equal(findings_total(p->findings), 0);
    plan_free(&p);
    migration_rules_free(&m);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void an_account_that_returns_gets_its_names_back(void **state)
{
    struct conf_migration m = {
        .rename = RULES("Sent Items=Sent"), .exclude = RULES("Sent"), .leave_out = RULES("larger:1")};
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"Sent/a.b", LISTED, 0});
    struct mailboxes *t = LIST('.', "INBOX.", {"INBOX", LISTED, 0}, {"INBOX.Sent Items.a=2Eb", LISTED, 0});
    struct plan *p =
        plan_make(&(struct plan_request){.source = s, .target = t, .rules = rules_of(&m), .back = true});

    (void)state;
    assert_int_equal(p->n, 2);
    assert_string_equal(item(p, "Sent/a.b")->target_name, "INBOX.Sent Items.a=2Eb");
    assert_int_equal(item(p, "Sent/a.b")->leave_out, 0);
    plan_free(&p);
    migration_rules_free(&m);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void two_never_become_one(void **state)
{
    struct conf_migration m = {.rename = RULES("Sent Items=Sent", "a=c", "b=c")};
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"Sent", LISTED, 0}, {"Sent Items", LISTED, 0},
                               {"Sent Items/x", LISTED, 0}, {"a", LISTED, 0}, {"b", LISTED, 0});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});
    struct plan *p = make(s, t, rules_of(&m));

    (void)state;
    assert_int_equal(findings_of(p->findings, FINDING_COLLISION), 2);
    assert_non_null(strstr(found(p, FINDING_COLLISION, "Sent Items")->detail, "\"Sent\""));
    assert_non_null(found(p, FINDING_COLLISION, "b"));
    assert_string_equal(item(p, "Sent")->target_name, "Sent"); /* its own name */
    assert_string_equal(item(p, "Sent Items/x")->target_name, "Sent/x");
    assert_string_equal(item(p, "a")->target_name, "c");
    assert_null(item(p, "b"));
    assert_int_equal(findings_open(p->findings), 2);
    plan_free(&p);
    migration_rules_free(&m);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void excluded_ones_are_named_and_counted(void **state)
{
    struct conf_migration m = {.exclude = RULES("Spam", "Public.*"),
                               .leave_out = RULES("larger:1M", "Trash older:30d")};
    struct mailboxes *s = LIST('.', "INBOX.", {"INBOX", LISTED, 0}, {"INBOX.Spam", LISTED | SUB, 0},
                               {"INBOX.Spam.old", LISTED, 0}, {"INBOX.Trash", LISTED, 0});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});

    (void)state;
    s->items[1].flags |= MAILBOX_HAS_STATUS;
    s->items[1].status.messages = 7;
    s->items[1].bytes = 700;
    s->elsewhere = xcalloc(2, sizeof(*s->elsewhere));
    s->elsewhere[0].name = xstrdup("Public.News");
    s->elsewhere[1].name = xstrdup("user.bob");
    s->n_elsewhere = 2;
    struct plan *p = make(s, t, rules_of(&m));
    assert_int_equal(p->n, 2);
    assert_int_equal(p->subscribe.n, 0);
    assert_int_equal(findings_of(p->findings, FINDING_LEFT_OUT), 3);
    assert_non_null(strstr(found(p, FINDING_LEFT_OUT, "INBOX.Spam")->detail, "7 messages, 700 bytes"));
    assert_non_null(found(p, FINDING_LEFT_OUT, "Public.News"));
    assert_non_null(found(p, FINDING_SHARED, "user.bob"));
    assert_int_equal(findings_open(p->findings), 1);
    assert_int_equal(findings_why(p->findings), WHY_SHARED);
    assert_int_equal(item(p, "INBOX")->leave_out, 1);
    assert_int_equal(item(p, "INBOX.Trash")->leave_out, 3);
    plan_free(&p);
    migration_rules_free(&m);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void count(struct mailboxes *s, const char *name, uint64_t messages)
{
    struct mailbox *m = mailboxes_find(s, name);

    m->flags |= MAILBOX_HAS_STATUS;
    m->status.messages = messages;
}

static void views_do_not_go_twice(void **state)
{
    struct conf_migration m = {.rename = RULES("Starred=Marked")};
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"Work", LISTED, 0}, {"All", LISTED, USE_ALL},
                               {"Flagged", LISTED, USE_FLAGGED}, {"Starred", LISTED, USE_FLAGGED});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});

    (void)state;
    count(s, "INBOX", 10);
    count(s, "Work", 20);
    count(s, "All", 30);
    struct plan *p = make(s, t, rules_of(&m));
    assert_int_equal(findings_of(p->findings, FINDING_VIRTUAL), 2);
    assert_int_equal(findings_open(p->findings), 0);
    assert_string_equal(item(p, "Starred")->target_name, "Marked"); /* the site wants it */
    assert_int_equal(p->n, 3);
    plan_free(&p);

    count(s, "All", 31); /* there is one that no other mailbox has */
    p = make(s, t, m.rules);
    assert_non_null(found(p, FINDING_ALL_MAIL, "All"));
    assert_int_equal(findings_open(p->findings), 1);
    plan_free(&p);

    count(s, "All", 3); /* no view of all, whatever it says */
    p = make(s, t, m.rules);
    assert_non_null(item(p, "All"));
    plan_free(&p);
    migration_rules_free(&m);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static bool knows_archive(const void *owner, const char *name)
{
    return strcmp(name, owner) == 0;
}

/* In the freeze nothing is counted. */
static void an_archive_that_was_copied_is_no_view(void **state)
{
    struct mailboxes *s =
        LIST('/', "", {"INBOX", LISTED, 0}, {"Archive", LISTED, USE_ALL}, {"All", LISTED, USE_ALL});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0}, {"Archive", LISTED, 0});

    (void)state;
    struct plan *p = plan_make(
        &(struct plan_request){.source = s, .target = t, .was_copied = knows_archive, .owner = "Archive"});
    assert_non_null(item(p, "Archive"));
    assert_int_equal(p->n, 2);
    assert_int_equal(findings_of(p->findings, FINDING_VIRTUAL), 1);
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void all_mail_of_gmail_has_what_no_other_has(void **state)
{
    struct mailboxes *s = LIST('/', "", {"INBOX", LISTED, 0}, {"[Gmail]/All Mail", LISTED, USE_ALL});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});
    struct waivers *w = waivers_new();

    (void)state;
    struct plan *p = make(s, t, NULL);
    assert_int_equal(findings_open(p->findings), 1);
    plan_free(&p);
    waivers_add(w, span_str("all_mail"));
    p = plan_make(&(struct plan_request){.source = s, .target = t, .waivers = w});
    assert_int_equal(findings_open(p->findings), 0);
    plan_free(&p);
    waivers_free(&w);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void names_are_shown_on_one_line(void **state)
{
    (void)state;
    struct buf out = {0};
    char name[400];

    plan_show_name(&out, "a\r\nb");
    assert_string_equal(buf_str(&out), "\"a??b\"");
    buf_clear(&out);
    plan_show_name(&out, "raw \xfc");
    assert_string_equal(buf_str(&out), "\"raw \\xfc\"");
    buf_clear(&out);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    plan_show_name(&out, name);
    assert_true(out.len < 140);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_mapped),
        cmocka_unit_test(subscriptions_become_equal),
        cmocka_unit_test(what_is_only_a_place_on_the_target_is_made),
        cmocka_unit_test(what_has_no_name_is_named),
        cmocka_unit_test(sides_that_can_not_be_mapped),
        cmocka_unit_test(renamed_ones_go_under_their_new_name),
        cmocka_unit_test(an_account_that_returns_gets_its_names_back),
        cmocka_unit_test(two_never_become_one),
        cmocka_unit_test(excluded_ones_are_named_and_counted),
        cmocka_unit_test(views_do_not_go_twice),
        cmocka_unit_test(an_archive_that_was_copied_is_no_view),
        cmocka_unit_test(all_mail_of_gmail_has_what_no_other_has),
        cmocka_unit_test(names_are_shown_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
