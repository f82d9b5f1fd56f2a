#include "unit.h"

#include "lib/outage.h"

/* What was told, as "dead 1.1.1.1:993 refused; opened  all" */
static struct buf told;

static void on_event(void *owner, enum outage_event ev, const char *place, const char *detail)
{
    static const char *const words[] = {"dead", "alive", "doubted", "opened", "closed"};
    (void)owner;
    buf_printf(&told, "%s%s %s %s", told.len ? "; " : "", words[ev], place, detail);
}

static void was_told(const char *text)
{
    assert_string_equal(buf_str(&told), text);
    buf_clear(&told);
}

static int set_up(void **state)
{
    struct outage *o = xcalloc(1, sizeof *o);
    *o = (struct outage){.fn = on_event, .has_breaker = true};
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    outage_forget_all(*state);
    free(*state);
    buf_free(&told);
    return 0;
}

static void look_is(struct outage *o, uint64_t now, const char *place, uint64_t wait)
{
    uint64_t ms;
    const char *next = outage_next_look(o, now, &ms);
    assert_true(place ? next && strcmp(next, place) == 0 : !next);
    if (!place)
        assert_int_equal(ms, wait);
}

static void test_dead_until_it_answers(void **state)
{
    struct outage *o = *state;
    assert_false(outage_is_dead(o, "a:1"));
    outage_failed(o, "a:1", "refused", 1000);
    was_told("dead a:1 refused");
    assert_true(outage_is_dead(o, "a:1"));
    assert_false(outage_is_dead(o, "b:1"));
    outage_answered(o, "b:1");
    assert_true(outage_is_dead(o, "a:1"));
    outage_answered(o, "a:1");
    assert_false(outage_is_dead(o, "a:1"));
    was_told("alive a:1 ");
    look_is(o, 90000, NULL, 0);
}

static void test_looks_grow_apart_up_to_a_cap(void **state)
{
    struct outage *o = *state;
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    uint64_t now = 5000;
    outage_failed(o, "a:1", "refused", now);
    for (size_t i = 0; i < COUNTOF(seconds); i++) {
        look_is(o, now, NULL, seconds[i] * 1000);
        now += seconds[i] * 1000;
        look_is(o, now - 1, NULL, 1);
        look_is(o, now, "a:1", 0);
        look_is(o, now, NULL, 0); /* one looks */
        outage_failed(o, "a:1", "refused", now);
    }
    was_told("dead a:1 refused"); /* once */
}

static void test_failures_at_the_same_time_count_once(void **state)
{
    struct outage *o = *state;
    for (int i = 0; i < 50; i++)
        outage_failed(o, "a:1", "refused", 1000 + (uint64_t)i);
    look_is(o, 1000, NULL, OUTAGE_FIRST_MS);
}

static void test_a_look_that_finds_no_such_place(void **state)
{
    struct outage *o = *state;
    outage_failed(o, "a:1", "x", 0);
    look_is(o, 1000, "a:1", 0);
    outage_failed(o, "a:1", "x", 1000);
    outage_looked(o, "a:1");
    assert_true(outage_is_dead(o, "a:1"));
    look_is(o, 3000, "a:1", 0);
    outage_looked(o, "a:1");
    assert_false(outage_is_dead(o, "a:1"));
}

static void test_the_breaker(void **state)
{
    struct outage *o = *state;
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++) {
        assert_false(o->open);
        outage_failed(o, "a:1", "refused", 1000 * i);
        outage_all_failed(o, "all", 1000 * i);
    }
    assert_true(o->open);
    was_told("dead a:1 refused; opened  all");
    outage_all_failed(o, "all", 6000); /* who was under way */
    was_told("");
    outage_answered(o, "a:1");
    assert_false(o->open);
    was_told("alive a:1 ; closed  ");
}

static void test_only_failures_in_a_row_open_it(void **state)
{
    struct outage *o = *state;
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i + 1 < OUTAGE_BREAKER; i++) {
            outage_failed(o, "a:1", "", 0);
            outage_all_failed(o, "", 0);
        }
        outage_answered(o, "a:1");
        assert_false(o->open);
    }
    o->has_breaker = false;
    for (unsigned i = 0; i < 3 * OUTAGE_BREAKER; i++) {
        outage_failed(o, "a:1", "", 0);
        outage_all_failed(o, "", 0);
    }
    assert_false(o->open);
}

/* A place that was looked at once a minute is looked at soon when nobody is let in any more. */
static void test_looks_are_frequent_while_it_is_open(void **state)
{
    struct outage *o = *state;
    uint64_t now = 0, wait;
    outage_failed(o, "a:1", "", now);
    for (int i = 0; i < 9; i++) {
        assert_null(outage_next_look(o, now, &wait));
        now += wait;
        assert_non_null(outage_next_look(o, now, &wait));
        outage_failed(o, "a:1", "", now);
    }
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++)
        outage_all_failed(o, "", now);
    look_is(o, now, NULL, OUTAGE_FIRST_MS);
    for (int i = 0; i < 6; i++) {
        assert_null(outage_next_look(o, now, &wait));
        assert_true(wait <= OUTAGE_OPEN_MS);
        now += wait;
        look_is(o, now, "a:1", 0);
        outage_failed(o, "a:1", "", now);
    }
}

/* Where there is nothing left to look at, nobody would close it. */
static void test_it_never_stays_open_alone(void **state)
{
    struct outage *o = *state;
    for (unsigned i = 0; i < 2 * OUTAGE_BREAKER; i++)
        outage_all_failed(o, "", 0);
    assert_false(o->open);
    outage_failed(o, "a:1", "", 0);
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++)
        outage_all_failed(o, "", 0);
    assert_true(o->open);
    outage_forget(o, "a:1");
    assert_false(o->open);
    outage_failed(o, "b:1", "", 0);
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++)
        outage_all_failed(o, "", 0);
    outage_forget_all(o);
    assert_false(o->open);
    assert_int_equal(o->n, 0);
}

static void test_a_doubted_place(void **state)
{
    struct outage *o = *state;
    outage_doubted(o, "a:1", "hung up", 5000);
    was_told("doubted a:1 hung up");
    assert_false(outage_is_dead(o, "a:1"));
    outage_doubted(o, "a:1", "hung up", 5500); /* however many come, one look */
    look_is(o, 5500, NULL, OUTAGE_FIRST_MS - 500);
    look_is(o, 6000, "a:1", 0);
    outage_doubted(o, "a:1", "hung up", 6100);
    look_is(o, 6100, NULL, 0);
    outage_answered(o, "a:1");
    assert_int_equal(o->n, 0);
    was_told(""); /* it was not dead */
    outage_doubted(o, "a:1", "hung up", 7000);
    look_is(o, 8000, "a:1", 0);
    outage_failed(o, "a:1", "refused", 8001);
    assert_true(outage_is_dead(o, "a:1"));
    look_is(o, 8001, NULL, OUTAGE_FIRST_MS);
    was_told("doubted a:1 hung up; dead a:1 refused");
    outage_doubted(o, "a:1", "hung up", 9001); /* dead it is */
    assert_true(outage_is_dead(o, "a:1"));
    look_is(o, 9001, NULL, 2 * OUTAGE_FIRST_MS);
}

static void test_so_many_are_kept(void **state)
{
    struct outage *o = *state;
    char place[16];
    for (unsigned i = 0; i < 3 * OUTAGE_PLACES; i++) {
        snprintf(place, sizeof place, "a:%u", i);
        outage_failed(o, place, "", i);
    }
    assert_int_equal(o->n, OUTAGE_PLACES);
    assert_false(outage_is_dead(o, "a:0"));
    assert_true(outage_is_dead(o, place));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_dead_until_it_answers),
        TEST(test_looks_grow_apart_up_to_a_cap),
        TEST(test_failures_at_the_same_time_count_once),
        TEST(test_a_look_that_finds_no_such_place),
        TEST(test_the_breaker),
        TEST(test_only_failures_in_a_row_open_it),
        TEST(test_looks_are_frequent_while_it_is_open),
        TEST(test_it_never_stays_open_alone),
        TEST(test_a_doubted_place),
        TEST(test_so_many_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
