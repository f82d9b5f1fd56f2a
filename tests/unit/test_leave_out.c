/* Rules about messages that are not to be copied: what they mean, and which can't be meant. */
#include <strings.h>

#include "unit.h"

#include "lib/leave_out.h"

enum { DAY = 86400 };
static const int64_t now = 2000000000;

struct message {
    struct leave_out_message m;
    const char *flag; /* its only one */
};

static bool has_flag(const struct leave_out_message *m, const char *flag)
{
    const struct message *x = CONTAINER_OF(m, const struct message, m);

    return x->flag && !strcasecmp(x->flag, flag);
}

static struct message message(uint64_t size, int64_t days, const char *flag)
{
    return (struct message){
        .m = {.size = size, .instant = now - days * DAY, .dated = true, .has_flag = has_flag}, .flag = flag};
}

static struct leave_out *rules_of(const char *a, const char *b)
{
    struct leave_out *l = leave_out_new();
    const char *why;

    assert_true(leave_out_add(l, a, &why));
    if (b)
        assert_true(leave_out_add(l, b, &why));
    return l;
}

static unsigned means(const char *rule, const char *mailbox, const struct message *m)
{
    struct leave_out *l = rules_of(rule, NULL);
    struct view_place place = {.name = span_str(mailbox), .separator = '/', .prefix = ""};
    unsigned n = leave_out_means(l, leave_out_rules_of(l, &place), &m->m, now);

    leave_out_free(&l);
    return n;
}

static void sizes(void **state)
{
    struct message small = message(50u << 20, 0, NULL), large = message((50u << 20) + 1, 0, NULL);

    (void)state;
    assert_int_equal(means("larger:50M", "a", &small), 0);
    assert_int_equal(means("larger:50M", "a", &large), 1);
    assert_int_equal(means("larger:51200K", "a", &large), 1);
    assert_int_equal(means("larger:1G", "a", &large), 0);
    assert_int_equal(means("larger:52428800", "a", &large), 1);
}

static void ages(void **state)
{
    struct message young = message(1, 30, NULL), old = message(1, 31, NULL), undated = message(1, 99, NULL);

    (void)state;
    undated.m.dated = false;
    assert_int_equal(means("older:30d", "a", &young), 0);
    assert_int_equal(means("older:30d", "a", &old), 1);
    assert_int_equal(means("older:720h", "a", &old), 1);
    assert_int_equal(means("older:30d", "a", &undated), 0);
}

static void flags_and_mailboxes(void **state)
{
    struct message gone = message(5, 40, "\\deleted");

    (void)state;
    assert_int_equal(means("flag:\\Deleted", "a", &gone), 1);
    assert_int_equal(means("flag:$Junk", "a", &gone), 0);
    assert_int_equal(means("Trash flag:\\Deleted", "Trash/x", &gone), 1);
    assert_int_equal(means("Trash flag:\\Deleted", "Trashy", &gone), 0);
    assert_int_equal(means("INBOX flag:\\Deleted", "INBOX", &gone), 1);
    assert_int_equal(means("inbox flag:\\Deleted", "INBOX/a", &gone), 0);
    assert_int_equal(means("My Trash  older:30d flag:\\Deleted", "My Trash", &gone), 1);
    assert_int_equal(means("My Trash older:50d flag:\\Deleted", "My Trash", &gone), 0); /* all of them */
}

static void any_rule_is_enough_and_is_named(void **state)
{
    struct leave_out *l = rules_of("Trash older:30d", "larger:10");
    struct message m = message(11, 40, NULL);
    struct view_place a = {.name = span_str("a"), .prefix = ""},
                      trash = {.name = span_str("Trash"), .prefix = ""};

    (void)state;
    assert_int_equal(leave_out_rules_of(l, &a), 2);
    assert_int_equal(leave_out_rules_of(l, &trash), 3);
    assert_int_equal(leave_out_rules_of(NULL, &trash), 0);
    assert_int_equal(leave_out_means(l, 2, &m.m, now), 2);
    assert_int_equal(leave_out_means(l, 3, &m.m, now), 1);
    assert_int_equal(leave_out_means(l, 0, &m.m, now), 0);
    assert_string_equal(leave_out_rule(l, 2), "larger:10");
    leave_out_free(&l);
}

static const char *fault(const char *rule)
{
    struct leave_out *l = leave_out_new();
    const char *why = NULL;
    bool ok = leave_out_add(l, rule, &why);

    leave_out_free(&l);
    return ok ? NULL : why;
}

static void wrong_rules_are_named(void **state)
{
    (void)state;
    assert_null(fault("larger:1"));
    assert_non_null(strstr(fault("larger:0"), "larger:50M"));
    assert_non_null(strstr(fault("larger:"), "larger:50M"));
    assert_non_null(strstr(fault("larger:M"), "larger:50M"));
    assert_non_null(strstr(fault("larger:5x"), "larger:50M"));
    assert_non_null(strstr(fault("larger:99999999999999999999G"), "larger:50M"));
    assert_non_null(strstr(fault("larger:9999999999999G"), "larger:50M"));
    assert_non_null(strstr(fault("older:30"), "older:365d"));
    assert_non_null(strstr(fault("older:d"), "older:365d"));
    assert_non_null(strstr(fault("flag:"), "flag:"));
    assert_non_null(strstr(fault("flag:\\"), "flag:"));
    assert_non_null(strstr(fault("flag:a flag:b"), "two flags"));
    assert_non_null(strstr(fault("Trash"), "condition"));
    assert_non_null(strstr(fault(""), "condition"));
    assert_non_null(strstr(fault("older:3d Trash"), "condition"));
    assert_non_null(strstr(fault("** older:3d"), "side by side"));
}

static void there_is_an_end_to_rules(void **state)
{
    struct leave_out *l = leave_out_new();
    const char *why;

    (void)state;
    for (unsigned i = 0; i < LEAVE_OUT_MAX; i++)
        assert_true(leave_out_add(l, "larger:1", &why));
    assert_false(leave_out_add(l, "larger:1", &why));
    leave_out_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(ages),
        cmocka_unit_test(flags_and_mailboxes),
        cmocka_unit_test(any_rule_is_enough_and_is_named),
        cmocka_unit_test(wrong_rules_are_named),
        cmocka_unit_test(there_is_an_end_to_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
