#include "unit.h"

#include "lib/turns.h"

enum { LINES = 4, EACH = 8 };

struct world {
    struct turns ts;
    struct turn_line lines[LINES];
    struct turn turns[LINES][EACH];
    char order[256]; /* who was served: the letter of the line */
    size_t n;
};
static struct world *world;

static void on_turn(struct turn *t)
{
    world->order[world->n++] = (char)('a' + (t->line - world->lines));
    world->order[world->n] = 0;
}

static int set_up(void **state)
{
    world = *state = xcalloc(1, sizeof *world);
    turns_init(&world->ts, 6);
    for (size_t l = 0; l < LINES; l++) {
        turn_line_init(&world->lines[l]);
        for (size_t i = 0; i < EACH; i++)
            world->turns[l][i] = (struct turn){.fn = on_turn, .line = &world->lines[l]};
    }
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void all_wait(size_t line, size_t n, enum turn_kind kind)
{
    for (size_t i = 0; i < n; i++)
        turns_wait(&world->ts, &world->turns[line][i], kind);
}

static void serve_all(void)
{
    while (turns_serve(&world->ts))
        ;
}

static void test_a_long_line_does_not_hold_up_a_short_one(void **state)
{
    (void)state;
    all_wait(0, EACH, TURN_ON);
    all_wait(1, 2, TURN_ON);
    all_wait(2, 1, TURN_ON);
    serve_all();
    assert_string_equal(world->order, "abcabaaaaaa");
    assert_false(turns_ready(&world->ts));
}

static void test_waiting_twice_is_waiting_once(void **state)
{
    (void)state;
    all_wait(0, 1, TURN_ON);
    all_wait(0, 1, TURN_BEGIN);
    serve_all();
    assert_string_equal(world->order, "a");
    assert_int_equal(world->ts.under_way, 0);
}

/* Of six places one line gets three, the next one half of what is left, and each later one at least one. */
static void test_one_line_never_takes_all_places(void **state)
{
    (void)state;
    all_wait(0, EACH, TURN_BEGIN);
    serve_all();
    assert_int_equal(world->lines[0].under_way, 3);
    all_wait(1, EACH, TURN_BEGIN);
    serve_all();
    assert_int_equal(world->lines[1].under_way, 2);
    all_wait(2, EACH, TURN_BEGIN);
    serve_all();
    assert_int_equal(world->lines[2].under_way, 1);
    all_wait(3, EACH, TURN_BEGIN);
    serve_all();
    assert_int_equal(world->lines[3].under_way, 0); /* six are six */
    assert_false(turns_ready(&world->ts));
    turns_ended(&world->ts, &world->turns[0][0]);
    assert_true(turns_ready(&world->ts));
    serve_all();
    assert_int_equal(world->lines[0].under_way, 2);
    assert_int_equal(world->lines[3].under_way, 1);
}

static void test_who_goes_on_and_who_begins_take_turns(void **state)
{
    (void)state;
    all_wait(0, 3, TURN_ON);
    all_wait(1, 3, TURN_BEGIN);
    serve_all();
    assert_string_equal(world->order, "bababa");
}

static void test_a_full_house_does_not_hold_up_who_goes_on(void **state)
{
    (void)state;
    for (size_t l = 0; l < LINES; l++)
        all_wait(l, EACH, TURN_BEGIN);
    serve_all();
    world->n = 0;
    turns_wait(&world->ts, &world->turns[0][0], TURN_ON); /* its handshake goes on */
    assert_true(turns_ready(&world->ts));
    serve_all();
    assert_string_equal(world->order, "a");
}

static void test_who_leaves_gives_the_place_back(void **state)
{
    (void)state;
    all_wait(0, EACH, TURN_BEGIN);
    serve_all();
    for (size_t i = 0; i < EACH; i++)
        turns_leave(&world->ts, &world->turns[0][i]);
    assert_int_equal(world->ts.under_way, 0);
    assert_int_equal(world->lines[0].under_way, 0);
    assert_int_equal(world->ts.n_waiting[TURN_BEGIN], 0);
    assert_false(turns_ready(&world->ts));
    assert_true(TAILQ_EMPTY(&world->ts.lines[TURN_BEGIN]));
    turns_leave(&world->ts, &world->turns[0][0]); /* nothing */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_long_line_does_not_hold_up_a_short_one),
        TEST(test_waiting_twice_is_waiting_once),
        TEST(test_one_line_never_takes_all_places),
        TEST(test_who_goes_on_and_who_begins_take_turns),
        TEST(test_a_full_house_does_not_hold_up_who_goes_on),
        TEST(test_who_leaves_gives_the_place_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
