/* Who waits for replicas does so together: lib/store_waits. */
#include "lib/store_waits.h"
#include "unit.h"

struct asked {
    struct store_waits *w;
    void *forgets; /* an owner, when it is told */
    bool frees, asks;
    unsigned told;
    enum redis_rc rc;
};

static void on_told(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct asked *a = owner;
    (void)r;
    a->told++;
    a->rc = rc;
    if (a->forgets)
        waits_forget(a->w, a->forgets);
    if (a->frees)
        waits_free(a->w);
    if (a->asks && a->told == 1)
        waits_add(a->w, 10, on_told, a);
}

static int setup(void **state)
{
    static struct store_waits w;
    w = (struct store_waits){0};
    waits_init(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    waits_free(*state);
    return 0;
}

static void end(struct store_waits *w, enum redis_rc rc)
{
    waits_end(w, rc, reply_none());
}

static void test_all_are_told_at_once_and_once(void **state)
{
    struct store_waits *w = *state;
    struct asked a[3] = {{0}};
    waits_add(w, 30, on_told, &a[0]);
    waits_add(w, 70, on_told, &a[1]);
    waits_add(w, 50, on_told, &a[2]);
    assert_int_equal(waits_begin(w, 2), 70);
    assert_int_equal(w->replicas, 2);
    end(w, REDIS_ERROR_REPLY);
    end(w, REDIS_OK);
    for (size_t i = 0; i < COUNTOF(a); i++)
        assert_true(a[i].told == 1 && a[i].rc == REDIS_ERROR_REPLY);
    assert_false(waits_any(w));
}

static void test_who_asks_while_it_is_under_way_is_told_with_it(void **state)
{
    struct store_waits *w = *state;
    struct asked first = {0}, with = {0}, longer = {0};
    waits_add(w, 50, on_told, &first);
    waits_begin(w, 1);
    waits_add(w, 50, on_told, &with);
    waits_add(w, 51, on_told, &longer);
    end(w, REDIS_OK);
    assert_true(first.told == 1 && with.told == 1 && longer.told == 0);
    assert_true(waits_any(w));
    assert_int_equal(waits_begin(w, 1), 51);
    end(w, REDIS_OK);
    assert_int_equal(longer.told, 1);
}

/* It asks for something new, which no WAIT is about yet. */
static void test_who_asks_when_told_waits_for_the_next_one(void **state)
{
    struct store_waits *w = *state;
    struct asked a = {.w = w, .asks = true};
    waits_add(w, 50, on_told, &a);
    waits_begin(w, 1);
    end(w, REDIS_OK);
    assert_int_equal(a.told, 1);
    assert_true(waits_any(w));
}

static void test_all_are_told_of_what_could_not_be_asked(void **state)
{
    struct store_waits *w = *state;
    struct asked a[2] = {{0}};
    waits_add(w, 50, on_told, &a[0]);
    waits_add(w, 90, on_told, &a[1]);
    end(w, REDIS_DOWN);
    assert_true(a[0].told == 1 && a[1].told == 1 && a[1].rc == REDIS_DOWN);
}

static void test_forgotten_from_inside(void **state)
{
    struct store_waits *w = *state;
    struct asked b = {0}, a = {.w = w, .forgets = &b}, c = {0};
    waits_add(w, 50, on_told, &a);
    waits_add(w, 50, on_told, &b);
    waits_add(w, 50, on_told, &c);
    waits_begin(w, 1);
    end(w, REDIS_OK);
    assert_true(a.told == 1 && b.told == 0 && c.told == 1);
}

static void test_freed_from_inside(void **state)
{
    struct store_waits *w = *state;
    struct asked a = {.w = w, .frees = true}, b = {0};
    waits_add(w, 50, on_told, &a);
    waits_add(w, 50, on_told, &b);
    waits_begin(w, 1);
    end(w, REDIS_OK);
    assert_true(a.told == 1 && b.told == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_are_told_at_once_and_once),
        TEST(test_who_asks_while_it_is_under_way_is_told_with_it),
        TEST(test_who_asks_when_told_waits_for_the_next_one),
        TEST(test_all_are_told_of_what_could_not_be_asked),
        TEST(test_forgotten_from_inside),
        TEST(test_freed_from_inside),
    };
    return cmocka_run_group_tests_name("store_waits", tests, NULL, NULL);
}
