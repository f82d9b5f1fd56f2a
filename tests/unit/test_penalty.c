/* What a thread knows of failed logins, with a Redis that the test plays, or that is not there. */
#include <string.h>

#include "lib/conf.h"
#include "lib/loop.h"
#include "proxy/penalty.h"

#include "unit.h"

static struct conf conf;
static struct penalty *p;
static bool is_up;
static enum penalty_what said[64];
static unsigned n_said;
static struct route_penalty answer;

/* ---- Redis ---- */

void route_penalty(struct store *s, enum penalty_what what, const struct route_penalty_ask *ask,
                   route_penalty_fn fn, const void *who, void *owner, store_drop_fn drop)
{
    (void)s, (void)who, (void)drop;
    assert_int_equal(strlen(ask->network), 2 * NETWORK_KEY_SIZE);
    if (n_said < COUNTOF(said))
        said[n_said] = what;
    n_said++;
    fn(owner, is_up ? ROUTE_OK : ROUTE_DOWN, &answer);
}

void store_forget(struct store *s, void *owner)
{
    (void)s, (void)owner;
}

static int set_up(void **state)
{
    (void)state;
    conf.proxy = (struct conf_proxy){
        .login_delay_ms = 1000, .login_delay_max_ms = 15000, .login_delay_memory_ms = 600000};
    p = penalty_new(NULL, &conf);
    is_up = false;
    n_said = 0;
    answer = (struct route_penalty){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    penalty_free(&p);
    return 0;
}

/* ---- who ---- */

static uint8_t networks[2][NETWORK_KEY_SIZE] = {{4, 192, 0, 2, 1}, {4, 192, 0, 2, 2}};

static struct penalty_who from(unsigned network, const char *user)
{
    return (struct penalty_who){.user = user, .network = networks[network]};
}

static void fails(struct penalty_who w, unsigned times)
{
    char word[32];
    static unsigned n;
    for (unsigned i = 0; i < times; i++) {
        snprintf(word, sizeof word, "wrong%u", n++);
        penalty_failed(p, &w, span_str(word));
    }
}

static uint64_t waits(struct penalty_who w)
{
    return penalty_turn_here(p, &w, 60000);
}

static void near(uint64_t ms, uint64_t wanted)
{
    assert_in_range(ms, wanted - 900, wanted); /* the clock goes on */
}

static bool knows(struct penalty_who w)
{
    return penalty_knows(p, &w);
}

/* ---- tests ---- */

static void test_waits_grow(void **state)
{
    (void)state;
    static const uint64_t wanted[] = {1000, 2000, 4000, 8000, 15000, 15000};
    char user[16];
    for (unsigned n = 0; n < COUNTOF(wanted); n++) {
        snprintf(user, sizeof user, "user%u", n);
        struct penalty_who w = from(0, user);
        w.many = true;
        assert_false(knows(w));
        fails(w, n + 1);
        assert_true(knows(w));
        near(waits(w), wanted[n]);
        near(waits(w), 2 * wanted[n]); /* they take turns */
        assert_true(penalty_turn_here(p, &w, 2 * wanted[n] - 1000) == PENALTY_LATE);
    }
}

static void test_only_who_failed_waits(void **state)
{
    (void)state;
    fails(from(0, "ann"), 5);
    assert_false(knows(from(1, "ann")));
    assert_false(knows(from(0, "bob")));
    fails(from(1, "ann"), 1);
    near(waits(from(1, "ann")), 15000); /* the account has failed six times */
}

static void test_networks(void **state)
{
    (void)state;
    char user[16];
    for (unsigned n = 0; n <= PENALTY_FREE; n++) {
        assert_false(knows(from(0, "bob")));
        snprintf(user, sizeof user, "user%u", n);
        fails(from(0, user), 1);
    }
    assert_true(knows(from(0, "bob")));
    near(waits(from(0, "bob")), 1000);
    near(waits(from(0, "eve")), 2000);
    assert_false(knows(from(1, "bob")));
    struct penalty_who bob = from(0, "bob"), webmail = bob;
    webmail.many = true;
    assert_false(knows(webmail));
    penalty_passed(p, &bob);
    assert_false(knows(bob));
    assert_int_equal(waits(bob), 0);
    assert_true(knows(from(0, "eve")));
}

static void test_right_password(void **state)
{
    (void)state;
    struct penalty_who ann = from(0, "ann");
    penalty_passed(p, &ann);
    assert_int_equal(n_said, 0); /* nobody needs to hear of it */
    fails(ann, 3);
    penalty_passed(p, &ann);
    assert_int_equal(n_said, 4);
    assert_int_equal(said[3], PENALTY_PASSED);
    assert_false(knows(ann));
    penalty_passed(p, &ann);
    assert_int_equal(n_said, 4);
}

static void test_same_password_is_counted_once(void **state)
{
    (void)state;
    struct penalty_who ann = from(0, "ann");
    for (unsigned i = 0; i < 5; i++)
        penalty_failed(p, &ann, span_str("old"));
    assert_int_equal(n_said, 1);
    near(waits(ann), 1000);
    penalty_failed(p, &ann, span_str("other"));
    assert_int_equal(n_said, 2);
}

static void test_what_redis_has_counted(void **state)
{
    (void)state;
    is_up = true;
    answer = (struct route_penalty){.wait_ms = 7, .of_account = 1, .of_network = 40};
    fails(from(0, "ann"), 1);
    assert_true(knows(from(0, "bob"))); /* it has failed at other proxies */
    struct penalty_who ann = from(0, "ann"), bob = from(0, "bob");
    assert_int_equal(penalty_told(p, &ann, 60000, ROUTE_OK, &answer), 7);
    assert_true(penalty_told(p, &ann, 60000, ROUTE_LATE, &answer) == PENALTY_LATE);
    answer.of_account = answer.of_network = 0;
    assert_int_equal(penalty_told(p, &ann, 60000, ROUTE_OK, &answer), 7);
    assert_false(penalty_knows(p, &ann)); /* it is forgotten there */
    assert_false(penalty_knows(p, &bob));
    fails(ann, 1);
    fails(ann, 1);
    answer = (struct route_penalty){0};
    assert_true(penalty_told(p, &bob, 60000, ROUTE_DOWN, &answer) == 0);
}

static void test_nobody_waits_where_there_is_no_delay(void **state)
{
    (void)state;
    conf.proxy.login_delay_ms = 0;
    fails(from(0, "ann"), 30);
    assert_false(knows(from(0, "ann")));
    assert_int_equal(n_said, 0);
}

static void test_failures_are_forgotten(void **state)
{
    (void)state;
    conf.proxy.login_delay_memory_ms = 1;
    fails(from(0, "ann"), 3);
    uint64_t began = clock_boot_ms();
    while (clock_boot_ms() < began + 3)
        ;
    assert_false(knows(from(0, "ann")));
}

/* However many networks come, and names of whatever length. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    char user[600];
    memset(user, 'u', sizeof user);
    for (unsigned n = 0; n < 3 * PENALTY_MAX; n++) {
        uint8_t network[NETWORK_KEY_SIZE] = {6, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        struct penalty_who w = {.user = user, .network = network};
        snprintf(user, sizeof user, "%u", n);
        user[strlen(user)] = 'u';
        user[sizeof user - 1] = 0;
        penalty_failed(p, &w, span_str("wrong"));
        assert_true(penalty_knows(p, &w));
    }
    uint8_t first[NETWORK_KEY_SIZE] = {6};
    struct penalty_who w = {.user = "0", .network = first};
    assert_false(penalty_knows(p, &w));
}

#define PENALTY_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PENALTY_TEST(test_waits_grow),
        PENALTY_TEST(test_only_who_failed_waits),
        PENALTY_TEST(test_networks),
        PENALTY_TEST(test_right_password),
        PENALTY_TEST(test_same_password_is_counted_once),
        PENALTY_TEST(test_what_redis_has_counted),
        PENALTY_TEST(test_nobody_waits_where_there_is_no_delay),
        PENALTY_TEST(test_failures_are_forgotten),
        PENALTY_TEST(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
