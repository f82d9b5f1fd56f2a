/* Who shares with whom, by access control lists and by what an account is shown. */
#include "unit.h"

#include "lib/migration_rules.h"
#include "lib/xalloc.h"
#include "migrator/account/shares.h"

static char *map[] = {"*@old.example.org=*@example.org", "boss=director"};
static struct conf conf = {.migration = {.acl_map = {.items = map, .n = 2}, .default_domain = "example.org"}};
static const struct rights_self self = {{"ann@example.org", "ann", "admin"}};

static int load(void **state)
{
    (void)state;
    return migration_rules_load(&conf.migration, NULL, NULL) ? 0 : 1;
}

static int unload(void **state)
{
    (void)state;
    migration_rules_free(&conf.migration);
    return 0;
}

static void take(struct shares *s, const char *mailbox, const char *text)
{
    struct imap_tree *t =
        imap_tree_new(&(struct imap_tree_limits){.depth = 10, .values = 3000, .bytes = 10000});
    struct rights r = {0};
    const char *why;

    assert_true(imap_tree_text(t, span_str(text), &why));
    assert_true(rights_take(&r, imap_tree_first(t), false));
    shares_add_rights(s, mailbox, &r, &self);
    rights_free(&r);
    imap_tree_free(&t);
}

static void show(struct shares *s, const char *name, const char *owner, const char *space)
{
    struct mailbox_elsewhere m = {.name = (char *)name, .owner = (char *)owner, .space = (char *)space};

    shares_add_elsewhere(s, &m);
}

/* "gives account bob@example.org 2 Work lrs; " */
static const char *told(struct shares *s)
{
    static struct buf out;

    buf_clear(&out);
    for (size_t i = 0; i < s->n; i++) {
        const struct share *x = &s->items[i];
        buf_printf(&out, "%s %s %s%s%s %zu %s %s; ", x->gives ? "gives" : "sees", share_word(x->kind), x->who,
                   x->other ? " or " : "", x->other ? x->other : "", x->mailboxes, x->such_as, x->letters);
    }
    shares_free(s);
    return buf_str(&out);
}

static struct shares fresh(void)
{
    return (struct shares){.conf = &conf, .login = "ann@example.org"};
}

static void test_whom_a_list_names(void **state)
{
    (void)state;
    struct shares s = fresh();
    take(&s, "Work", "Work ann lrswipkxtea Bob lrs carl@example.org lr -dora lrs owner lrswi admin lrs");
    take(&s, "Plan", "Plan bob@example.org lrw user=bob lrsx ANN@Example.ORG lrs");
    assert_string_equal(told(&s), "gives account bob@example.org 3 Work lrswx; "
                                  "gives account carl@example.org 1 Work lr; ");
    s = fresh();
    take(&s, "Work",
         "Work anyone lrs anonymous lr authenticated l \"$sales\" lrs group:it lr group=hr lrs \"a b\" lrs");
    assert_string_equal(told(&s),
                        "gives group $sales 1 Work lrs; gives account a%20b@example.org 1 Work lrs; "
                        "gives everybody anonymous 1 Work lr; gives everybody anyone 1 Work lrs; "
                        "gives everybody authenticated 1 Work l; gives group group:it 1 Work lr; "
                        "gives group group=hr 1 Work lrs; ");
    s = fresh();
    take(&s, "INBOX", "INBOX anyone p"); /* to post, which Cyrus gives everybody */
    assert_string_equal(told(&s), "");
}

static void test_names_that_the_site_maps(void **state)
{
    (void)state;
    struct shares s = fresh();
    take(&s, "Work", "Work bob@old.example.org lrs boss lr");
    assert_string_equal(told(&s), "gives account bob@example.org or bob@old.example.org 1 Work lrs; "
                                  "gives account director@example.org or boss@example.org 1 Work lr; ");
    s = fresh();
    take(&s, "Work", "Work ann@old.example.org lrs"); /* herself */
    assert_string_equal(told(&s), "");
}

static void test_what_an_account_is_shown(void **state)
{
    (void)state;
    struct shares s = fresh();
    show(&s, "shared/bob/INBOX", "bob", "shared/");
    show(&s, "shared/bob/Work", "bob", "shared/");
    show(&s, "shared/carl@other.example/INBOX", "carl@other.example", "shared/");
    show(&s, "shared/ann/INBOX", "ann", "shared/");
    show(&s, "Public/News", NULL, "Public/");
    show(&s, "Public/Old", NULL, "Public/");
    assert_string_equal(told(&s), "sees account bob@example.org 2 shared/bob/INBOX ; "
                                  "sees account carl@other.example 1 shared/carl@other.example/INBOX ; "
                                  "sees nobody Public/ 2 Public/News ; ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom_a_list_names),
        cmocka_unit_test(test_names_that_the_site_maps),
        cmocka_unit_test(test_what_an_account_is_shown),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
