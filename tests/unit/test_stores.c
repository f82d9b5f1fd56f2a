/* Several stores: which account is in which, and what a store says of its place. */
#include "lib/route.h"
#include "lib/stores.h"
#include "store_unit.h"

/* ---- which one ---- */

static size_t place_of(const char *user, size_t n, enum store_spread spread)
{
    return stores_place(&(struct conf_redis){.n_stores = n, .spread = spread}, span_str(user));
}

/* By these, accounts of sites that run are found. */
static void test_places_never_change(void **state)
{
    static const struct {
        const char *user;
        size_t of_2, of_3, of_32;
    } known[] = {
        {"ann@example.org", 0, 0, 25},
        {"bob@example.org", 0, 2, 22},
        {"u1", 0, 0, 4},
        {"u2", 1, 1, 7},
        {"", 0, 0, 5},
        {"gr%c3%bcn@example.org", 1, 2, 22},
    };

    (void)state;
    for (size_t i = 0; i < COUNTOF(known); i++) {
        const char *user = known[i].user;
        assert_int_equal(place_of(user, 1, SPREAD_ACCOUNT), 0);
        assert_int_equal(place_of(user, 2, SPREAD_ACCOUNT), known[i].of_2);
        assert_int_equal(place_of(user, 3, SPREAD_ACCOUNT), known[i].of_3);
        assert_int_equal(place_of(user, 32, SPREAD_ACCOUNT), known[i].of_32);
    }
}

/* What stands behind the last "@"; a name without one is not taken for one of a domain. */
static void test_accounts_of_a_domain_are_together(void **state)
{
    static const char *const names[] = {"ann@example.org", "u2",   "", "gr%c3%bcn@uni.example",
                                        "a@b@example.org", "odd@", "@"};
    static const char *const parts[] = {"example.org", "u2", "", "uni.example", "example.org", "", ""};

    (void)state;
    for (size_t i = 0; i < COUNTOF(names); i++)
        for (size_t n = 1; n <= SITE_STORES_MAX; n++)
            assert_int_equal(place_of(names[i], n, SPREAD_DOMAIN), place_of(parts[i], n, SPREAD_ACCOUNT));
}

enum { MANY = 100000 };

/* Names that differ by their last digits alone, as those of students do. Six standard deviations at most. */
static void test_stores_have_as_many(void **state)
{
    static const size_t sizes[] = {2, 3, 8, 64};

    (void)state;
    for (size_t k = 0; k < COUNTOF(sizes); k++) {
        size_t n = sizes[k], in[64] = {0};
        for (unsigned i = 0; i < MANY; i++) {
            char user[32];
            snprintf(user, sizeof(user), "s%07u@uni.example", i);
            in[place_of(user, n, SPREAD_ACCOUNT)]++;
        }
        for (size_t i = 0; i < n; i++) {
            double off = (double)in[i] - (double)MANY / (double)n;
            assert_true(off * off < 36.0 * MANY / (double)n);
        }
    }
}

static void test_one_more_takes_its_share_and_moves_no_other(void **state)
{
    size_t moved = 0;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char user[32];
        snprintf(user, sizeof(user), "u%u@example.org", i);
        size_t before = place_of(user, 4, SPREAD_ACCOUNT), now = place_of(user, 5, SPREAD_ACCOUNT);
        assert_true(now == before || now == 4);
        moved += now != before;
    }
    assert_in_range(moved, MANY / 5 - 1000, MANY / 5 + 1000);
}

/* ---- places on record ---- */

struct two {
    struct unit_store u; /* its store is not used */
    struct unit_redis second;
    struct address addresses[3];
    struct stores *stores;
    enum store_state state[3];
    char detail[3][400];
};

static void on_state_of(void *owner, size_t place, enum store_state state, const char *detail)
{
    struct two *t = owner;
    t->state[place] = state;
    snprintf(t->detail[place], sizeof(t->detail[place]), "%s", detail);
}

static void connect_two(struct two *t, size_t n)
{
    memset(t->state, 0, sizeof(t->state));
    t->u.conf.redis.addresses = t->addresses;
    t->u.conf.redis.n_stores = n;
    t->stores = stores_new(t->u.loop, &t->u.conf, 2000, on_state_of, t);
}

static void init_one(struct two *t, size_t place)
{
    struct unit_answer a = {0};
    UNIT_UNTIL(&t->u, t->state[place] == STORE_FOREIGN);
    route_init(t->stores->all[place], 0, NULL, unit_on_done, &a);
    UNIT_UNTIL(&t->u, a.done);
    assert_int_equal(a.rc, ROUTE_OK);
    UNIT_UNTIL(&t->u, t->state[place] == STORE_UP);
}

static int setup_two(void **state)
{
    struct two *t = xcalloc(1, sizeof(*t));
    unit_store_make(&t->u);
    unit_redis_make(&t->second);
    unit_redis_start(&t->u.redis);
    unit_redis_start(&t->second);
    t->addresses[0] = (struct address){.scheme = ADDRESS_REDIS_UNIX, .path = t->u.redis.socket};
    t->addresses[1] = (struct address){.scheme = ADDRESS_REDIS_UNIX, .path = t->second.socket};
    connect_two(t, 2);
    init_one(t, 0);
    init_one(t, 1);
    *state = t;
    return 0;
}

static int teardown_two(void **state)
{
    struct two *t = *state;
    stores_free(&t->stores);
    timer_free(&t->u.tick);
    loop_free(&t->u.loop);
    unit_redis_remove(&t->second);
    unit_redis_remove(&t->u.redis);
    free(t);
    return 0;
}

static void test_stores_know_their_places(void **state)
{
    struct two *t = *state;

    assert_string_equal(store_site_id(t->stores->all[0]), store_site_id(t->stores->all[1]));
    assert_string_not_equal(store_id(t->stores->all[0]), store_id(t->stores->all[1]));
    stores_free(&t->stores);
    connect_two(t, 2);
    UNIT_UNTIL(&t->u, t->state[0] == STORE_UP && t->state[1] == STORE_UP);
}

static void test_urls_that_are_exchanged(void **state)
{
    struct two *t = *state;

    stores_free(&t->stores);
    struct address first = t->addresses[0];
    t->addresses[0] = t->addresses[1];
    t->addresses[1] = first;
    connect_two(t, 2);
    UNIT_UNTIL(&t->u, t->state[0] == STORE_FOREIGN && t->state[1] == STORE_FOREIGN);
    assert_non_null(strstr(t->detail[0], "by its record this is store 2 of 2"));
    assert_non_null(strstr(t->detail[0], "of this configuration it is 1 of 2"));
}

static void test_an_url_that_is_missing(void **state)
{
    struct two *t = *state;

    stores_free(&t->stores);
    connect_two(t, 1);
    UNIT_UNTIL(&t->u, t->state[0] == STORE_FOREIGN);
    assert_non_null(strstr(t->detail[0], "this is store 1 of 2"));
}

static void test_one_url_more(void **state)
{
    struct two *t = *state;

    stores_free(&t->stores);
    t->addresses[2] = (struct address){.scheme = ADDRESS_REDIS_UNIX, .path = (char *)"/nonexistent"};
    connect_two(t, 3);
    UNIT_UNTIL(&t->u, t->state[0] == STORE_FOREIGN && t->state[1] == STORE_FOREIGN);
    assert_non_null(strstr(t->detail[1], "this is store 2 of 2"));
    assert_non_null(strstr(t->detail[1], "it is 2 of 3"));
}

static void test_stores_that_are_spread_otherwise(void **state)
{
    struct two *t = *state;

    stores_free(&t->stores);
    t->u.conf.redis.spread = SPREAD_DOMAIN;
    connect_two(t, 2);
    UNIT_UNTIL(&t->u, t->state[0] == STORE_FOREIGN && t->state[1] == STORE_FOREIGN);
    assert_non_null(strstr(t->detail[1], "by its record this is store 2 of 2, and"));
    assert_non_null(strstr(t->detail[1], "of this configuration it is 2 of 2/domain"));
    t->u.conf.redis.spread = SPREAD_ACCOUNT;
}

/* The place fits. Which one is told so depends on who answers first. */
static void test_a_store_of_another_site(void **state)
{
    struct two *t = *state;

    stores_free(&t->stores);
    unit_redis_kill(&t->second);
    char command[256];
    snprintf(command, sizeof(command), "rm -rf %s/appendonlydir %s/dump.rdb", t->second.folder,
             t->second.folder);
    assert_int_equal(system(command), 0);
    unit_redis_start(&t->second);
    struct address first = t->addresses[0];
    t->addresses[0].path = (char *)"/nonexistent";
    connect_two(t, 2);
    init_one(t, 1);
    stores_free(&t->stores);
    t->addresses[0] = first;
    connect_two(t, 2);
    UNIT_UNTIL(&t->u, (t->state[0] == STORE_FOREIGN && t->state[1] == STORE_UP) ||
                          (t->state[1] == STORE_FOREIGN && t->state[0] == STORE_UP));
    assert_non_null(strstr(t->detail[t->state[1] == STORE_FOREIGN], "another site"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_never_change),
        cmocka_unit_test(test_accounts_of_a_domain_are_together),
        cmocka_unit_test(test_stores_have_as_many),
        cmocka_unit_test(test_one_more_takes_its_share_and_moves_no_other),
        cmocka_unit_test_setup_teardown(test_stores_know_their_places, setup_two, teardown_two),
        cmocka_unit_test_setup_teardown(test_urls_that_are_exchanged, setup_two, teardown_two),
        cmocka_unit_test_setup_teardown(test_an_url_that_is_missing, setup_two, teardown_two),
        cmocka_unit_test_setup_teardown(test_one_url_more, setup_two, teardown_two),
        cmocka_unit_test_setup_teardown(test_stores_that_are_spread_otherwise, setup_two, teardown_two),
        cmocka_unit_test_setup_teardown(test_a_store_of_another_site, setup_two, teardown_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
