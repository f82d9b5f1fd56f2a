#include "lib/xalloc.h"
#include "proxy/queue.h"
#include "unit.h"

enum { AT_ONCE = 3, MANY = 1000 };

struct caller {
    struct queued ask;
    struct bench *b;
    unsigned calls;
    bool ends_at_once;
};

struct bench {
    struct loop *loop;
    struct queue *queue;
    struct caller callers[MANY];
    size_t calling, most;
    size_t order[2 * MANY], n_order;
};

static void end(struct caller *c)
{
    c->b->calling--;
    queue_done(c->b->queue, &c->ask);
}

static void call(struct queued *q)
{
    struct caller *c = CONTAINER_OF(q, struct caller, ask);
    struct bench *b = c->b;
    c->calls++;
    b->order[b->n_order++] = (size_t)(c - b->callers);
    if (++b->calling > b->most)
        b->most = b->calling;
    if (c->ends_at_once)
        end(c);
}

static int setup(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    b->loop = loop_new();
    b->queue = queue_new(b->loop, AT_ONCE);
    for (size_t i = 0; i < MANY; i++)
        b->callers[i] = (struct caller){.ask.fn = call, .b = b};
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    queue_free(&b->queue);
    loop_free(&b->loop);
    free(b);
    return 0;
}

/* Until nothing moves any more. */
static void settle(struct bench *b)
{
    size_t before;
    do {
        before = b->n_order;
        for (int i = 0; i < 20; i++)
            uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    } while (b->n_order != before);
}

static void go(struct bench *b)
{
    queue_go(b->queue, 0);
    settle(b);
}

static void test_so_many_at_once_and_the_next_when_one_ends(void **state)
{
    struct bench *b = *state;
    go(b);
    for (size_t i = 0; i < MANY; i++)
        queue_add(b->queue, &b->callers[i].ask, RANK_SESSION);
    assert_int_equal(b->n_order, 0);
    for (size_t i = 0; i < MANY; i++) {
        settle(b);
        assert_int_equal(b->n_order, i + AT_ONCE < MANY ? i + AT_ONCE : MANY);
        end(&b->callers[b->order[i]]);
    }
    settle(b);
    assert_int_equal(b->most, AT_ONCE);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(b->order[i], i);
}

static void test_rank_before_time(void **state)
{
    struct bench *b = *state;
    queue_add(b->queue, &b->callers[0].ask, RANK_ACCOUNT);
    queue_add(b->queue, &b->callers[1].ask, RANK_ACCOUNT);
    queue_add(b->queue, &b->callers[2].ask, RANK_SESSION);
    queue_add(b->queue, &b->callers[3].ask, RANK_NOW);
    queue_add(b->queue, &b->callers[1].ask, RANK_NOW);
    queue_add(b->queue, &b->callers[3].ask, RANK_ACCOUNT);
    for (size_t i = 0; i < 4; i++)
        b->callers[i].ends_at_once = true;
    go(b);
    assert_int_equal(b->n_order, 4);
    const size_t want[] = {3, 1, 2, 0};
    assert_memory_equal(b->order, want, sizeof(want));
}

static void test_one_that_calls_has_to_end_first(void **state)
{
    struct bench *b = *state;
    struct caller *c = &b->callers[0];
    go(b);
    queue_add(b->queue, &c->ask, RANK_NOW);
    settle(b);
    queue_add(b->queue, &c->ask, RANK_NOW);
    settle(b);
    assert_int_equal(c->calls, 1);
    end(c);
    settle(b);
    assert_int_equal(c->calls, 1);
    queue_add(b->queue, &c->ask, RANK_NOW);
    settle(b);
    assert_int_equal(c->calls, 2);
}

static void test_who_is_gone_is_not_called_and_leaves_room(void **state)
{
    struct bench *b = *state;
    go(b);
    for (size_t i = 0; i < 2 * AT_ONCE; i++)
        queue_add(b->queue, &b->callers[i].ask, RANK_SESSION);
    settle(b);
    queue_done(b->queue, &b->callers[AT_ONCE].ask);
    queue_done(b->queue, &b->callers[0].ask);
    queue_done(b->queue, &b->callers[0].ask);
    settle(b);
    assert_int_equal(b->callers[AT_ONCE].calls, 0);
    assert_int_equal(b->callers[AT_ONCE + 1].calls, 1);
    assert_int_equal(b->n_order, AT_ONCE + 1);
}

static void test_nothing_begins_while_it_is_held(void **state)
{
    struct bench *b = *state;
    queue_add(b->queue, &b->callers[0].ask, RANK_NOW);
    settle(b);
    assert_int_equal(b->n_order, 0);
    go(b);
    assert_int_equal(b->n_order, 1);
    queue_hold(b->queue);
    queue_add(b->queue, &b->callers[1].ask, RANK_NOW);
    end(&b->callers[0]);
    settle(b);
    assert_int_equal(b->n_order, 1);
    queue_go(b->queue, 1000000);
    queue_hold(b->queue);
    go(b);
    assert_int_equal(b->n_order, 2);
}

/* A thousand that want nothing any more do not take the loop for themselves. */
static void test_a_round_of_the_loop_is_bounded(void **state)
{
    struct bench *b = *state;
    go(b);
    for (size_t i = 0; i < MANY; i++) {
        b->callers[i].ends_at_once = true;
        queue_add(b->queue, &b->callers[i].ask, RANK_SESSION);
    }
    uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_in_range(b->n_order, 1, MANY / 2);
    settle(b);
    assert_int_equal(b->n_order, MANY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_so_many_at_once_and_the_next_when_one_ends),
        TEST(test_rank_before_time),
        TEST(test_one_that_calls_has_to_end_first),
        TEST(test_who_is_gone_is_not_called_and_leaves_room),
        TEST(test_nothing_begins_while_it_is_held),
        TEST(test_a_round_of_the_loop_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
