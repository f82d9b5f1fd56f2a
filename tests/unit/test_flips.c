/* Journals and exports of several hosts, merged. */
#include "unit.h"

#include "migrator/site/flips.h"

#define FLIP(time, from, to, epoch)                                                                                   \
    "{\"time\": \"2026-01-31T10:00:" time "Z\", \"user\": \"ann\", \"source\": \"" from "\", \"target\": \"" to           \
    "\", \"epoch\": " epoch ", \"generation\": 2, \"view\": \"\"}\n"
#define EXPORT(time, state, on, epoch)                                                                                \
    "{\"time\": \"2026-01-31T10:00:" time "Z\", \"user\": \"ann\", \"state\": \"" state "\", \"backend\": \"" on           \
    "\", \"epoch\": " epoch ", \"generation\": 3, \"source\": \"old\", \"target\": \"new\", \"home\": \"old\", \"left\": "  \
    "\"old\", \"flipped_at\": \"1769853600123\", \"held_from\": \"\", \"reason\": \"\"}\n"

/* "BACKEND left home epoch, state" and "!" where it is in doubt */
static void expect(const char *text, const char *want)
{
    struct flips f = {0};
    struct buf out = {0};

    flips_read(&f, span_str(text));
    for (const struct flip *one = f.all; one; one = one->hh.next)
        buf_printf(&out, "%s %s %s %s %llu %s%s", one->user, one->backend, one->left, one->home,
                   (unsigned long long)one->epoch, *one->state ? one->state : "-", flip_is_in_doubt(one) ? " !" : "");
    if (f.unreadable)
        buf_printf(&out, " (%zu unreadable)", f.unreadable);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
    flips_free(&f);
}

static void test_one_flip(void **state)
{
    (void)state;
    expect("", "");
    expect(FLIP("01.500", "old", "new", "5"), "ann new old old 6 -");
    expect(FLIP("01.500", "old", "new", "5") "\n\n" FLIP("01.500", "old", "new", "5"), "ann new old old 6 -");
}

/* In whatever order the files are given. */
static void test_back_and_forth(void **state)
{
    (void)state;
    expect(FLIP("01.0", "old", "new", "5") FLIP("02.0", "new", "old", "9"), "ann old new old 10 -");
    expect(FLIP("02.0", "new", "old", "9") FLIP("01.0", "old", "new", "5"), "ann old new old 10 -");
    expect(FLIP("03.0", "old", "new", "15") FLIP("02.0", "new", "old", "9") FLIP("01.0", "old", "new", "5"),
           "ann new old old 16 -");
}

static void test_clocks_that_contradict(void **state)
{
    (void)state;
    expect(FLIP("02.0", "old", "new", "5") FLIP("01.0", "new", "old", "9"), "ann old new old 10 - !");
    expect(FLIP("01.0", "old", "new", "5") FLIP("02.0", "new", "old", "5"), "ann new old old 6 - !");
}

static void test_export_and_journal(void **state)
{
    (void)state;
    expect(FLIP("01.0", "old", "new", "5") EXPORT("02", "held", "new", "6"), "ann new old old 6 held");
    expect(EXPORT("02", "held", "new", "6") FLIP("01.0", "old", "new", "5"), "ann new old old 6 held");
    expect(EXPORT("02", "settled", "new", "6") FLIP("03.0", "new", "old", "8"), "ann old new old 9 -");
    expect(EXPORT("02", "settled", "new", "6") FLIP("02.9", "new", "old", "8"), "ann old new old 9 -");
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    expect("{\"time\": \"2026-01-31T1\n" FLIP("01.0", "old", "new", "5") "\x01\xff\n[]\n{}\n{\"user\": 1}\n",
           "ann new old old 6 - (5 unreadable)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_flip),
        cmocka_unit_test(test_back_and_forth),
        cmocka_unit_test(test_clocks_that_contradict),
        cmocka_unit_test(test_export_and_journal),
        cmocka_unit_test(test_what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
