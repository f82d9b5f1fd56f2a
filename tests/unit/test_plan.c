/* What both servers list becomes what has to be done. */
#include "unit.h"

#include "migrator/plan.h"

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
        m->items[i] = (struct mailbox){
            .name = xstrdup(rows[i].name), .flags = rows[i].flags, .special_use = rows[i].use};
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

static void names_are_mapped(void **state)
{
    (void)state;
    struct mailboxes *s =
        LIST('.', "INBOX.", {"INBOX", LISTED, 0}, {"INBOX.Work", LISTED | NOSEL, 0},
             {"INBOX.Work.a/b", LISTED, 0}, {"INBOX.Entw&APw-rfe", LISTED | SUB, USE_DRAFTS});
    struct mailboxes *t =
        LIST('/', "", {"INBOX", LISTED, 0}, {"Entw&APw-rfe", LISTED, 0}, {"Other", LISTED, 0});
    struct plan *p = plan_make(s, t);

    assert_int_equal(p->n_problems, 0);
    assert_int_equal(p->n, 3); /* the place without messages is made by its child, if at all */
    assert_string_equal(item(p, "INBOX")->target_name, "INBOX");
    assert_false(item(p, "INBOX")->create);
    assert_string_equal(item(p, "INBOX.Work.a/b")->target_name, "Work/a=2Fb");
    assert_true(item(p, "INBOX.Work.a/b")->create);
    assert_false(item(p, "INBOX.Entw&APw-rfe")->create);
    assert_int_equal(p->special_use_differs, 1);
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
    struct plan *p = plan_make(s, t);

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
    struct plan *p = plan_make(s, t);

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
    struct plan *p = plan_make(s, t);

    assert_int_equal(p->n_problems, 8); /* one that is only subscribed is not mail */
    assert_non_null(strstr(buf_str(&p->problems), "\"a/1\" has no name on the target"));
    assert_non_null(strstr(buf_str(&p->problems), "\"Entw\xc3\xbcrfe/x\""));
    assert_non_null(strstr(buf_str(&p->problems), " and 3 more"));
    assert_null(strchr(buf_str(&p->problems), '\n'));
    plan_free(&p);
    mailboxes_free(&s);
    mailboxes_free(&t);
}

static void sides_that_can_not_be_mapped(void **state)
{
    (void)state;
    struct mailboxes *s = LIST('a', "", {"INBOX", LISTED, 0});
    struct mailboxes *t = LIST('/', "", {"INBOX", LISTED, 0});
    struct plan *p = plan_make(s, t);

    assert_int_equal(p->n_problems, 1);
    assert_non_null(strstr(buf_str(&p->problems), "the source: "));
    plan_free(&p);
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
        cmocka_unit_test(names_are_shown_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
