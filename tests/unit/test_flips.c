/* Journals and exports of several hosts, merged. */
#include "unit.h"

#include "migrator/site/flips.h"

#define FLIP(time, from, to, epoch)                                                                          \
    "{\"time\": \"2026-01-31T10:00:" time "Z\", \"user\": \"ann\", \"source\": \"" from                      \
    "\", \"target\": \"" to "\", \"epoch\": " epoch ", \"generation\": 2, \"view\": \"\"}\n"
#define EXPORT(time, state, on, epoch)                                                                       \
    "{\"time\": \"2026-01-31T10:00:" time "Z\", \"user\": \"ann\", \"state\": \"" state                      \
    "\", \"backend\": \"" on "\", \"epoch\": " epoch                                                         \
    ", \"generation\": 3, \"source\": \"old\", \"target\": \"new\", \"home\": \"old\", \"left\": "           \
    "\"old\", \"flipped_at\": \"1769853600123\", \"held_from\": \"\", \"reason\": \"\"}\n"

/* "BACKEND left home epoch, state" and "!" where it is in doubt */
static void expect(const char *text, const char *want)
{
    struct flips f = {0};
    struct buf out = {0};

    flips_read(&f, "x", span_str(text));
    for (const struct flip *one = f.all; one; one = one->hh.next)
        buf_printf(&out, "%s %s %s %s %llu %s%s", one->user, one->backend, one->left, one->home,
                   (unsigned long long)one->epoch, *one->state ? one->state : "-",
                   flip_is_in_doubt(one) ? " !" : "");
    if (f.unreadable)
        buf_printf(&out, " (%zu unreadable)", f.unreadable);
    if (f.half)
        buf_printf(&out, " (%zu half)", f.half);
    for (size_t i = 0; i < f.n_faults && i < FLIPS_FAULTS_MAX; i++)
        buf_printf(&out, " %s:%zu: %.8s", f.faults[i].file, f.faults[i].line, f.faults[i].text);
    assert_string_equal(buf_str(&out) + (f.all == NULL && out.len > 0), want);
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

#define MOVE(version) "{\"move\": " version ", \"time\": \"2026-01-31T10:00:00Z\"}\n"
#define MOVED_SUM     "e63ca6d249d9297538dea78d8b57aed966ef21c2561bd58467ccb057d85f213e"
#define MOVED_2_SUM   "d3f0694f6ddb4e60aa6467763a5912c7ffbd08c7f2a16e4aed0353f7886c0f52"
#define PIECE         "{\"keep\": \"ann\", \"kind\": \"marks\", \"name\": \"\", \"at\": 0, \"items\": [\"m\"]}\n"
#define MOVE_END(n, kept, sum)                                                                               \
    "{\"time\": \"2026-01-31T10:00:00Z\", \"end\": " n ", \"kept\": " kept ", \"sha256\": \"" sum "\"}\n"

static bool is_carried(const char *text)
{
    struct flips f = {0};

    flips_read(&f, "x", span_str(text));
    const struct flip *one = flips_find(&f, span_str("ann"));
    bool is = one && one->carried && !flip_is_in_doubt(one);
    flips_free(&f);
    return is;
}

/* What is newer than a store that was moved is not of that file, and what is older is. */
static void test_a_store_that_was_moved(void **state)
{
    static const char moved[] =
        MOVE("1") EXPORT("05.0", "settled", "new", "6") PIECE MOVE_END("1", "1", MOVED_SUM);

    (void)state;
    expect(moved, "ann new old old 6 settled");
    assert_true(is_carried(moved));
    expect(MOVE("2") EXPORT("05.0", "settled", "new", "6") PIECE MOVE_END("1", "1", MOVED_2_SUM),
           "ann new old old 6 settled x:1: is of an");
    expect(MOVE("1") EXPORT("05.0", "settled", "new", "6") MOVE_END("1", "1", MOVED_SUM),
           "ann new old old 6 settled x:3: this exp");
    expect(MOVE("1") EXPORT("05.0", "settled", "new", "6") PIECE, "ann new old old 6 settled x:0: this exp");
    expect(MOVE("1") PIECE, "x:0: this exp");
    const char *const others[] = {EXPORT("04.0", "settled", "new", "6") "{\"time\": \"x\", \"end\": 1}\n",
                                  FLIP("03.0", "old", "new", "5"), FLIP("06.0", "new", "old", "6")};
    for (size_t i = 0; i < COUNTOF(others); i++)
        for (unsigned order = 0; order < 2; order++) {
            struct flips f = {0};
            flips_read(&f, "a", span_str(order ? moved : others[i]));
            flips_read(&f, "b", span_str(order ? others[i] : moved));
            assert_int_equal(flips_carried(&f), i < 2);
            flips_free(&f);
        }
}

#define FORGOTTEN(state, on, epoch, ms)                                                                      \
    "{\"time\": \"2026-01-31T12:00:00Z\", \"user\": \"ann\", \"state\": \"" state "\", \"backend\": \"" on   \
    "\", \"epoch\": " epoch                                                                                  \
    ", \"generation\": 3, \"source\": \"old\", \"target\": \"new\", \"home\": \"old\", "                     \
    "\"left\": \"\", \"flipped_at\": \"0\", \"held_from\": \"\", \"reason\": \"\", \"forgotten\": " ms "}\n"
/* at 10:30, and at 09:30 */
#define AT_1030 "1769855400000"
#define AT_0930 "1769851800000"

/* What a journal knows of who was forgotten since is of somebody who is no more. */
static void test_who_was_forgotten(void **state)
{
    static const struct {
        const char *line, *want;
        bool carried;
    } cases[] = {
        {MOVE("1") FORGOTTEN("forgotten", "old", "0", AT_1030), "old 0 forgotten", true},
        {MOVE("1") FORGOTTEN("resting", "old", "2", AT_1030), "old 2 resting", true},
        {MOVE("1") FORGOTTEN("forgotten", "old", "0", AT_0930), "new 6 -", false},
        {MOVE("1") FORGOTTEN("forgotten", "old", "0", "0"), "new 6 -", false},
    };

    (void)state;
    for (size_t i = 0; i < 2 * COUNTOF(cases); i++) {
        const char *moved = cases[i / 2].line;
        struct flips f = {0};
        struct flips_reading r;
        char *is;
        if (i % 2)
            flips_read(&f, "journal", span_str(FLIP("01.0", "old", "new", "5")));
        flips_begin(&r, &f, "moved");
        for (const char *line = moved; *line; line = strchr(line, '\n') + 1)
            flips_line(&r, span_of(line, strcspn(line, "\n")));
        r.is_ended = true;
        flips_end(&r);
        if (i % 2 == 0)
            flips_read(&f, "journal", span_str(FLIP("01.0", "old", "new", "5")));
        const struct flip *one = flips_find(&f, span_str("ann"));
        is = xasprintf("%s %llu %s", one->backend, (unsigned long long)one->epoch,
                       *one->state ? one->state : "-");
        assert_string_equal(is, cases[i / 2].want);
        assert_int_equal(one->carried, cases[i / 2].carried);
        free(is);
        flips_free(&f);
    }
}

/* What else is known of the account of the last line may be missing. */
static void test_the_last_account_of_a_move_that_was_cut_off(void **state)
{
    (void)state;
    assert_false(is_carried(MOVE("1") EXPORT("05.0", "settled", "new", "6")));
    assert_false(is_carried(MOVE("1") EXPORT("05.0", "settled", "new", "6") PIECE));
}

static void test_clocks_that_contradict(void **state)
{
    (void)state;
    expect(FLIP("02.0", "old", "new", "5") FLIP("01.0", "new", "old", "9"), "ann old new old 10 - !");
    expect(FLIP("01.0", "old", "new", "5") FLIP("02.0", "new", "old", "5"), "ann new old old 6 - !");
}

#define END(n) "{\"time\": \"2026-01-31T10:00:09Z\", \"end\": " #n "}\n"

static void test_export_and_journal(void **state)
{
    (void)state;
    expect(FLIP("01.0", "old", "new", "5") EXPORT("02", "held", "new", "6") END(1), "ann new old old 6 held");
    expect(EXPORT("02", "held", "new", "6") END(1) FLIP("01.0", "old", "new", "5"), "ann new old old 6 held");
    expect(EXPORT("02", "settled", "new", "6") END(1) FLIP("03.0", "new", "old", "8"), "ann old new old 9 -");
    expect(EXPORT("02", "settled", "new", "6") END(1) FLIP("02.9", "new", "old", "8"), "ann old new old 9 -");
}

#define VIEW(is_export, epoch, view)                                                                         \
    "{\"time\": \"2026-01-31T10:00:01Z\", \"user\": \"ann\", \"target\": \"new\", \"backend\": \"new\", "    \
    "\"epoch\": " epoch is_export view "}\n"
#define OF_EXPORT ", \"state\": \"settled\""
#define IS(view)  ", \"view\": \"" view "\""

static void expect_view(const char *text, const char *want)
{
    struct flips f = {0};

    flips_read(&f, "x", span_str(text));
    assert_string_equal(f.all->view, want);
    flips_free(&f);
}

/* That of the newest line; an export of an older release has none. */
static void test_the_view(void **state)
{
    (void)state;
    expect_view(VIEW("", "5", IS("a")), "a");
    expect_view(VIEW("", "5", IS("a")) VIEW("", "9", IS("b")), "b");
    expect_view(VIEW("", "9", IS("b")) VIEW("", "5", IS("a")), "b");
    expect_view(VIEW("", "5", IS("a")) VIEW(OF_EXPORT, "6", ""), "a");
    expect_view(VIEW(OF_EXPORT, "6", "") VIEW("", "5", IS("a")), "a");
    expect_view(VIEW("", "5", IS("a")) VIEW(OF_EXPORT, "8", ""), "");
    expect_view(VIEW("", "5", IS("a")) VIEW(OF_EXPORT, "8", IS("c")), "c");
}

/* Its last line is missing, or counts otherwise; also in the middle of exports that were put together. */
static void test_an_export_that_is_cut_off(void **state)
{
    (void)state;
    expect(EXPORT("02", "held", "new", "6"), "ann new old old 6 held x:0: this exp");
    expect(EXPORT("02", "held", "new", "6") END(2), "ann new old old 6 held x:2: this exp");
    expect(EXPORT("02", "held", "new", "6") "{\"time\": \"2026",
           "ann new old old 6 held (1 half) x:0: this exp");
    expect(EXPORT("02", "held", "new", "6") END(1) EXPORT("02", "held", "new", "6") END(1) END(0),
           "ann new old old 6 held");
    expect(EXPORT("02", "held", "new", "6") EXPORT("02", "held", "new", "6") END(1),
           "ann new old old 6 held x:3: this exp");
    expect(END(0), "");
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    expect("\n" FLIP("01.0", "old", "new", "5") "\x01\xff\n[]\n{}\n{\"user\": 1}\n",
           "ann new old old 6 - (4 unreadable) x:3: can't be x:4: can't be x:5: can't be x:6: can't be");
    expect("ann\nbob\n", "(2 unreadable) x:1: can't be x:2: can't be");
    expect("time=2026-01-31 event=x\n", "(1 unreadable) x:1: can't be");
}

/* The next migrator begins a line of its own behind it. */
static void test_half_a_line_of_a_crash(void **state)
{
    (void)state;
    expect("{\"time\": \"2026-01-31T1\n" FLIP("01.0", "old", "new", "5"), "ann new old old 6 - (1 half)");
    expect(FLIP("01.0", "old", "new", "5") "{\"ti", "ann new old old 6 - (1 half)");
    expect(FLIP("01.0", "old", "new",
                "5") "{\"time\": \"2026-01-31T10:00:00Z\", \"user\": \"bob\", \"epoch\": 5",
           "ann new old old 6 - (1 half)");
    expect(FLIP("01.0", "old", "new", "5") "\"epoch\": 5}\n",
           "ann new old old 6 - (1 unreadable) x:2: can't be");
    expect("{\"time\": \"2026-01-31T10:00:00Z\", \"u#er\": \"bob\"}\n", "(1 unreadable) x:1: can't be");
}

static void test_room_that_a_file_system_kept(void **state)
{
    struct flips f = {0};

    (void)state;
    flips_read(&f, "x", span_of("\0\0\0\0\n{\"time\": \"2\0\0", 18));
    assert_int_equal(f.half, 2);
    assert_int_equal(f.n_faults, 0);
    flips_free(&f);
}

#define GROUPS(time, name)                                                                                   \
    "{\"time\": \"2026-01-31T10:00:" time "Z\", \"end\": 0, \"groups\": [{\"group\": \"" name "\"}]}\n"

static void expect_group(const char *text, const char *want, uint64_t move_s, size_t faults)
{
    struct flips f = {0};

    flips_read(&f, "x", span_str(text));
    const json_t *group = json_array_get(f.groups, 0);
    assert_string_equal(group      ? json_string_value(json_object_get(group, "group"))
                        : f.groups ? ""
                                   : "-",
                        want);
    assert_int_equal(f.move_ms ? f.move_ms - flips_time_ms("2026-01-31T10:00:00Z") : 0, move_s * 1000);
    assert_int_equal(f.n_faults, faults);
    flips_free(&f);
}

/* In whatever order the files are given; one of a release that tells of none says nothing about them. */
static void test_groups_of_the_newest_export(void **state)
{
    (void)state;
    expect_group(GROUPS("01", "a") GROUPS("02", "b"), "b", 0, 0);
    expect_group(GROUPS("02", "b") GROUPS("01", "a"), "b", 0, 0);
    expect_group(GROUPS("02", "b") "{\"time\": \"2026-01-31T10:00:03Z\", \"end\": 0}\n", "b", 0, 0);
    expect_group(GROUPS("02", "b") "{\"time\": \"2026-01-31T10:00:03Z\", \"end\": 0, \"groups\": []}\n", "",
                 0, 0);
    expect_group("{\"time\": \"2026-01-31T10:00:03Z\", \"end\": 0}\n", "-", 0, 0);
    expect_group("{\"move\": 1, \"time\": \"2026-01-31T10:00:03Z\"}\n", "-", 3, 1); /* that has no end here */
    expect_group(GROUPS("02", "b") "{\"time\": \"2026-01-31T10:00:03Z\", \"end\": 0, \"groups\": {}}\n", "b",
                 0, 1);
    expect_group("{\"time\": \"x\", \"end\": 0, \"groups\": []}\n", "-", 0, 1);
}

static void test_more_faults_than_are_kept(void **state)
{
    struct flips f = {0};

    (void)state;
    for (size_t i = 0; i < FLIPS_FAULTS_MAX + 5; i++)
        flips_read(&f, "x", span_str("ann\n"));
    assert_int_equal(f.n_faults, FLIPS_FAULTS_MAX + 5);
    flips_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_flip),
        cmocka_unit_test(test_back_and_forth),
        cmocka_unit_test(test_a_store_that_was_moved),
        cmocka_unit_test(test_who_was_forgotten),
        cmocka_unit_test(test_the_last_account_of_a_move_that_was_cut_off),
        cmocka_unit_test(test_clocks_that_contradict),
        cmocka_unit_test(test_export_and_journal),
        cmocka_unit_test(test_the_view),
        cmocka_unit_test(test_an_export_that_is_cut_off),
        cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_half_a_line_of_a_crash),
        cmocka_unit_test(test_room_that_a_file_system_kept),
        cmocka_unit_test(test_groups_of_the_newest_export),
        cmocka_unit_test(test_more_faults_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
