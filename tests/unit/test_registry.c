#include "store_unit.h"

enum { LEASE_MS = 600, LONG_MS = 2400 };

static int setup(void **state)
{
    struct unit_store *u = xcalloc(1, sizeof(*u));
    unit_store_begin(u);
    *state = u;
    return 0;
}

static int teardown(void **state)
{
    struct unit_store *u = *state;
    unit_store_end(u);
    free(u);
    return 0;
}

/* ---- leases ---- */

struct held {
    struct lease *lease;
    unsigned renewed, lapsed, masters;
    char order[16]; /* a letter an event */
};

static void on_lease(void *owner, enum lease_event ev)
{
    struct held *h = owner;
    size_t n = strlen(h->order);
    h->renewed += ev == LEASE_RENEWED;
    h->lapsed += ev == LEASE_LAPSED;
    h->masters += ev == LEASE_NEW_MASTER;
    if (n + 1 < sizeof(h->order))
        h->order[n] = "RLM"[ev];
}

static void hold(struct unit_store *u, struct held *h, const char *id)
{
    *h = (struct held){0};
    h->lease = lease_new(u->store, id, LEASE_MS, LONG_MS, on_lease, h);
    assert_false(lease_is_valid(h->lease, true) || lease_is_valid(h->lease, false));
    UNIT_UNTIL(u, h->renewed == 1);
    assert_true(lease_is_valid(h->lease, true) && lease_is_valid(h->lease, false));
}

static uint64_t counter_of(struct unit_store *u, const struct held *h)
{
    struct unit_reply r = UNIT_COMMAND(u, "HGET", "unit:proxies", lease_incarnation(h->lease));
    return strtoull(r.text, NULL, 10);
}

static void test_a_lease_is_renewed(void **state)
{
    struct unit_store *u = *state;
    struct held h, other;
    hold(u, &h, "a b/c");
    assert_memory_equal(lease_incarnation(h.lease), "a_b_c-", 6);
    uint64_t first = counter_of(u, &h), start = clock_boot_ms();
    assert_true(first > 0);
    UNIT_UNTIL(u, counter_of(u, &h) >= first + 2);
    assert_in_range(clock_boot_ms() - start, LEASE_MS / 4, LEASE_MS * 10);
    hold(u, &other, "a b/c");
    assert_string_not_equal(lease_incarnation(h.lease), lease_incarnation(other.lease));
    assert_string_equal(h.order, "R");
    lease_end(h.lease);
    assert_false(lease_is_valid(h.lease, false));
    assert_int_equal(counter_of(u, &h), 0);
    lease_free(&h.lease);
    lease_free(&other.lease);
}

static void test_a_lapse_is_told_by_the_clock(void **state)
{
    struct unit_store *u = *state;
    struct held h;
    hold(u, &h, "p");
    uint64_t start = clock_boot_ms();
    unit_redis_stop(&u->redis);
    UNIT_UNTIL(u, h.lapsed == 1);
    assert_in_range(clock_boot_ms() - start, LEASE_MS / 2, 3 * LEASE_MS);
    assert_false(lease_is_valid(h.lease, true));
    assert_true(lease_is_valid(h.lease, false));
    assert_true(lease_lapses(h.lease, true) == 1 && lease_lapses(h.lease, false) == 0);
    kill(u->redis.pid, SIGCONT);
    UNIT_UNTIL(u, h.renewed == 2);
    assert_true(lease_is_valid(h.lease, true));
    assert_true(lease_lapses(h.lease, true) == 1 && lease_lapses(h.lease, false) == 0);

    unit_redis_stop(&u->redis);
    UNIT_UNTIL(u, !lease_is_valid(h.lease, false));
    assert_int_equal(lease_lapses(h.lease, false), 1);
    assert_int_equal(h.lapsed, 2);
    kill(u->redis.pid, SIGCONT);
    UNIT_UNTIL(u, h.renewed == 3);
    assert_true(lease_lapses(h.lease, true) == 2 && lease_lapses(h.lease, false) == 1);
    assert_string_equal(h.order, "RLRLR");
    lease_free(&h.lease);
}

/* The process itself stood still: the renewal is answered, but comes too late to have bridged the gap. */
static void test_a_stall_is_a_lapse(void **state)
{
    struct unit_store *u = *state;
    struct held h;
    hold(u, &h, "p");
    lease_renew(h.lease);
    struct timespec t = {.tv_nsec = LEASE_MS * 1000000L};
    nanosleep(&t, NULL);
    assert_false(lease_is_valid(h.lease, true));
    assert_int_equal(lease_lapses(h.lease, true), 1);
    UNIT_UNTIL(u, h.renewed == 2);
    assert_int_equal(lease_lapses(h.lease, true), 1);
    assert_string_equal(h.order, "RLR");
    lease_free(&h.lease);
}

static void test_a_new_master_is_told(void **state)
{
    struct unit_store *u = *state;
    struct held h;
    hold(u, &h, "p");
    UNIT_COMMAND(u, "HSET", "unit:store", "generation", "7");
    UNIT_UNTIL(u, h.masters == 1);
    UNIT_UNTIL(u, store_generation(u->store) == 7);
    UNIT_COMMAND(u, "HDEL", "unit:proxies", lease_incarnation(h.lease));
    UNIT_UNTIL(u, h.masters == 2);
    assert_string_equal(h.order, "RMM");
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, h.lapsed == 1);
    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, h.renewed == 2);
    assert_string_equal(h.order, "RMMLMR");
    lease_free(&h.lease);
}

/* It lives after all: what it had is over, for the long term too, and so it is where the answer that tells of
 * it is lost. */
static void test_who_was_declared_dead_hears_of_it(void **state)
{
    struct unit_store *u = *state;
    struct held h;
    hold(u, &h, "p");
    UNIT_COMMAND(u, "HSET", "unit:forgotten", lease_incarnation(h.lease), "1700000000000");
    UNIT_COMMAND(u, "HDEL", "unit:proxies", lease_incarnation(h.lease));
    UNIT_UNTIL(u, h.renewed == 2);
    assert_string_equal(h.order, "RLR");
    assert_int_equal(lease_lapses(h.lease, true), 1);
    assert_int_equal(lease_lapses(h.lease, false), 1);
    assert_true(lease_is_valid(h.lease, false));
    UNIT_COMMAND(u, "HSET", "unit:forgotten", lease_incarnation(h.lease), "1700000000001");
    UNIT_UNTIL(u, h.renewed == 3); /* known again by then: it is the note that tells */
    assert_int_equal(lease_lapses(h.lease, false), 2);
    assert_int_equal(h.masters, 0);
    lease_free(&h.lease);
}

/* ---- a connection of its own ---- */

/* A call that takes three leases to be answered stands in front of everything on the first connection. */
static void test_no_queue_delays_a_renewal(void **state)
{
    struct unit_store *u = *state;
    struct held h = {0};
    struct unit_reply slow = {0};
    struct span argv[] = {span_str("BLPOP"), span_str("unit:nothing"), span_str("1.8")};
    struct store *beside = store_new_beside(u->store, 2000, NULL, NULL);

    h.lease = lease_new(beside, "p", LEASE_MS, LONG_MS, on_lease, &h);
    UNIT_UNTIL(u, h.renewed == 1);
    uint64_t start = clock_boot_ms();
    store_command(u->store, argv, COUNTOF(argv), unit_on_reply, &slow);
    UNIT_UNTIL(u, slow.done);
    assert_true(clock_boot_ms() - start >= 3 * LEASE_MS);
    assert_int_equal(lease_lapses(h.lease, true), 0);
    assert_string_equal(h.order, "R");
    lease_free(&h.lease);
    store_free(&beside);
}

/* Another server stands at the address, with the data of the one before, which goes on. */
static void replace_server(struct unit_store *u, struct unit_redis *was)
{
    char command[512];
    *was = u->redis;
    unit_redis_make(&u->redis);
    memcpy(u->redis.socket, was->socket, sizeof(was->socket));
    snprintf(command, sizeof(command), "cp -r %s/appendonlydir %s && mv %s %s.was", was->folder,
             u->redis.folder, was->socket, was->socket);
    assert_int_equal(system(command), 0);
    unit_redis_start(&u->redis);
}

/* The lease has found the new master. The other connection still stands at the former one, which answers:
 * what is done there is lost. */
static void test_one_connection_finds_the_new_master_for_both(void **state)
{
    struct unit_store *u = *state;
    struct held h = {0};
    struct unit_redis was;
    struct store *beside = store_new_beside(u->store, 2000, NULL, NULL);

    h.lease = lease_new(beside, "p", LEASE_MS, LONG_MS, on_lease, &h);
    UNIT_UNTIL(u, h.renewed == 1);
    uint64_t generation = lease_generation(h.lease);
    replace_server(u, &was);
    UNIT_COMMAND(u, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    UNIT_UNTIL(u, h.masters == 1);
    assert_true(lease_generation(h.lease) > generation);
    assert_int_equal(lease_masters(h.lease), 1);
    UNIT_UNTIL(u, u->state == STORE_UP && store_generation(u->store) == lease_generation(h.lease));
    lease_free(&h.lease);
    store_free(&beside);
    unit_redis_remove(&was);
}

/* The store of the second connection is another one: it is refused, whichever of the two was asked first. */
static void test_two_connections_have_one_identity(void **state)
{
    struct unit_store *u = *state;
    struct unit_answer a;
    struct store *beside = store_new_beside(u->store, 2000, NULL, NULL);

    UNIT_UNTIL(u, store_state(beside) == STORE_UP);
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, store_state(beside) == STORE_DOWN && u->state == STORE_DOWN);
    store_free(&beside);
    unlink(u->redis.socket);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s/appendonlydir", u->redis.folder);
    assert_int_equal(system(command), 0);
    unit_redis_start(&u->redis);
    UNIT_UNTIL(u, u->state == STORE_FOREIGN);
    UNIT_DO(u, a, route_init, 0, false);
    assert_int_equal(a.rc, ROUTE_OK);
    beside = store_new_beside(u->store, 2000, NULL, NULL);
    UNIT_UNTIL(u, store_state(beside) != STORE_CONNECTING && store_state(beside) != STORE_DOWN);
    assert_int_equal(store_state(beside), STORE_FOREIGN);
    store_free(&beside);
}

/* ---- watches ---- */

struct watching {
    struct watch *watch;
    unsigned clear, silent, failed;
    char names[128];
    uint64_t told_ms;
};

static void on_watch(void *owner, enum watch_event ev, const char *incarnation)
{
    struct watching *w = owner;
    w->clear += ev == WATCH_CLEAR;
    w->silent += ev == WATCH_SILENT;
    w->failed += ev == WATCH_FAILED;
    if (ev == WATCH_SILENT) {
        snprintf(w->names + strlen(w->names), sizeof(w->names) - strlen(w->names), "%s ", incarnation);
        w->told_ms = clock_boot_ms();
    }
}

static void watch(struct unit_store *u, struct watching *w, uint64_t epoch, bool evict)
{
    *w = (struct watching){0};
    w->watch = watch_new(u->store, "ann", epoch, LEASE_MS, LONG_MS, evict, NULL, on_watch, w);
}

static void put(struct unit_store *u, const char *session, const char *value)
{
    UNIT_COMMAND(u, "HSET", "unit:sessions:ann", session, value);
}

static void put_of(struct unit_store *u, const struct held *h, const char *value)
{
    char name[128];
    snprintf(name, sizeof(name), "%s/1", lease_incarnation(h->lease));
    put(u, name, value);
}

static int64_t registered(struct unit_store *u)
{
    return UNIT_COMMAND(u, "HLEN", "unit:sessions:ann").number;
}

static void test_nobody_to_watch(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    watch(u, &w, 1, true);
    UNIT_UNTIL(u, w.clear == 1);
    watch_poke(w.watch);
    watch_free(&w.watch);
}

static void test_the_living_are_clear(void **state)
{
    struct unit_store *u = *state;
    struct held a, b;
    struct watching w;
    hold(u, &a, "a");
    hold(u, &b, "b");
    put_of(u, &a, "old 1 running x 1");
    put_of(u, &b, "old 0 running x 1");
    watch(u, &w, 1, true);
    UNIT_UNTIL(u, w.clear == 1);
    assert_true(w.silent == 0 && w.failed == 0 && registered(u) == 2);
    watch_free(&w.watch);
    lease_free(&a.lease);
    lease_free(&b.lease);
}

static void test_the_silent_are_evicted_after_the_term_that_applies(void **state)
{
    struct unit_store *u = *state;
    struct held a, dead, unseen;
    struct watching w;
    char text[128];
    hold(u, &a, "a");
    hold(u, &dead, "dead");
    hold(u, &unseen, "unseen");
    put_of(u, &a, "old 1 running x 1");
    put_of(u, &dead, "old 1 running x 1");
    put_of(u, &unseen, "old 0 running x 1");
    snprintf(text, sizeof(text), "%s %s ", lease_incarnation(dead.lease), lease_incarnation(unseen.lease));
    lease_free(&dead.lease);
    lease_free(&unseen.lease);
    uint64_t start = clock_boot_ms();
    watch(u, &w, 1, true);
    UNIT_UNTIL(u, w.silent == 1);
    assert_in_range(w.told_ms - start, LEASE_MS + LEASE_MS / 10, LONG_MS);
    UNIT_UNTIL(u, w.clear == 1);
    assert_in_range(w.told_ms - start, LONG_MS + LONG_MS / 10, 2 * LONG_MS);
    assert_true(w.silent == 2 && registered(u) == 1);
    assert_string_equal(w.names, text);
    watch_free(&w.watch);
    lease_free(&a.lease);
}

/* dead tells 200 and 500, before is of the version that told nothing; the watcher has 50 and 100, or 300 for
 * both. */
static void test_the_larger_term_of_both_sides_counts(void **state)
{
    static const struct {
        const char *session;
        bool seen;
        uint64_t mine, mine_long, wait;
    } cases[] = {
        {"dead", true, 50, 100, 200},  {"dead", true, 300, 300, 300},   {"dead", false, 50, 100, 500},
        {"before", true, 50, 100, 50}, {"before", false, 50, 100, 100},
    };
    struct unit_store *u = *state;
    for (size_t i = 0; i < COUNTOF(cases); i++) {
        struct watching w = {0};
        char name[32];
        UNIT_COMMAND(u, "HSET", "unit:proxies", "dead", "7 0.1 host 1 1 200 500", "before",
                     "7 0.1 host 1 800");
        snprintf(name, sizeof(name), "%s/1", cases[i].session);
        put(u, name, cases[i].seen ? "old 1 running x 1" : "old 0 running x 1");
        uint64_t start = clock_boot_ms();
        w.watch = watch_new(u->store, "ann", 1, cases[i].mine, cases[i].mine_long, true, NULL, on_watch, &w);
        UNIT_UNTIL(u, w.clear == 1);
        if (w.told_ms - start < cases[i].wait + cases[i].wait / 10)
            fail_msg("%zu: after %llu ms", i, (unsigned long long)(w.told_ms - start));
        assert_true(w.silent == 1 && registered(u) == 0);
        watch_free(&w.watch);
    }
}

static void watch_on(struct unit_store *u, struct watching *w, struct sightings *seen)
{
    *w = (struct watching){0};
    w->watch = watch_new(u->store, "ann", 1, 50, 50, true, seen, on_watch, w);
}

/* What a job has waited for a proxy that is gone counts for the one after it; until the proxy moves, or the
 * master changes. */
static void test_the_next_watch_goes_on_where_the_last_one_was(void **state)
{
    enum { TERM_MS = 1000, PART_MS = 600 };
    struct unit_store *u = *state;
    struct sightings *seen = sightings_new();
    struct watching w;
    const char *where;
    uint64_t start = clock_boot_ms(), ms;

    UNIT_COMMAND(u, "HSET", "unit:proxies", "dead", "7 0.1 mx1 1 1 200 1000");
    put(u, "dead/1", "old 0 running x 1");
    watch_on(u, &w, seen);
    UNIT_UNTIL(u, clock_boot_ms() - start >= PART_MS);
    assert_string_equal(watch_waits_for(w.watch, &where, &ms), "dead");
    assert_string_equal(where, "mx1");
    assert_in_range(ms, TERM_MS * 11 / 10 - PART_MS - 200, TERM_MS * 11 / 10 - PART_MS + 20);
    watch_free(&w.watch);
    watch_on(u, &w, seen);
    UNIT_UNTIL(u, w.clear == 1);
    assert_in_range(w.told_ms - start, TERM_MS * 11 / 10, TERM_MS * 11 / 10 + PART_MS - 1);
    watch_free(&w.watch);

    uint64_t since = sightings_since(seen, 1, BYTES("p"), BYTES("1"));
    UNIT_UNTIL(u, clock_boot_ms() >= since + 20);
    assert_int_equal(sightings_since(seen, 1, BYTES("p"), BYTES("1")), since);
    assert_true(sightings_since(seen, 1, BYTES("p"), BYTES("2")) >= since + 20);
    since = sightings_since(seen, 1, BYTES("p"), BYTES("2"));
    UNIT_UNTIL(u, clock_boot_ms() >= since + 20);
    assert_true(sightings_since(seen, 2, BYTES("p"), BYTES("2")) >= since + 20); /* another master */
    assert_true(sightings_since(seen, 2, BYTES("p"), BYTES("")) >= since + 20);
    sightings_free(&seen);
}

static void test_a_lease_tells_its_terms(void **state)
{
    struct unit_store *u = *state;
    struct held h;
    hold(u, &h, "p");
    struct unit_reply r = UNIT_COMMAND(u, "HGET", "unit:proxies", lease_incarnation(h.lease));
    assert_string_equal(r.text + strlen(r.text) - strlen(" 600 2400"), " 600 2400");
    lease_free(&h.lease);
}

static void test_one_that_is_not_in_the_list_is_silent(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    put(u, "ghost/1", "old 1 running x 1");
    watch(u, &w, 1, false);
    UNIT_UNTIL(u, w.silent == 1);
    assert_string_equal(w.names, "ghost ");
    assert_int_equal(registered(u), 1);
    watch_free(&w.watch);
    watch(u, &w, 1, true);
    UNIT_UNTIL(u, w.clear == 1);
    assert_true(w.silent == 1 && registered(u) == 0);
    watch_free(&w.watch);
}

static void test_nothing_is_evicted_in_a_freeze(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    put(u, "ghost/1", "old 1 running x 1");
    UNIT_COMMAND(u, "HSET", "unit:route:ann", "backend", "old", "state", "freezing", "epoch", "1",
                 "generation", "1", "source", "old");
    watch(u, &w, 1, true);
    UNIT_UNTIL(u, w.silent == 1);
    assert_true(w.clear == 0 && registered(u) == 1);
    watch_free(&w.watch);
}

static void test_leaving_ends_a_watch(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    put(u, "ghost/1", "old 0 running x 1");
    watch(u, &w, 1, true);
    UNIT_COMMAND(u, "HDEL", "unit:sessions:ann", "ghost/1");
    watch_poke(w.watch);
    UNIT_UNTIL(u, w.clear == 1);
    assert_int_equal(w.silent, 0);
    watch_free(&w.watch);
}

static void test_a_change_of_master_ends_a_watch(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    put(u, "ghost/1", "old 1 running x 1");
    watch(u, &w, 1, true);
    UNIT_COMMAND(u, "PING");
    UNIT_COMMAND(u, "HSET", "unit:store", "generation", "2");
    UNIT_UNTIL(u, w.failed == 1);
    assert_true(w.clear == 0 && w.silent == 0 && registered(u) == 1);
    watch_free(&w.watch);

    watch(u, &w, 1, true);
    unit_redis_kill(&u->redis);
    UNIT_UNTIL(u, w.failed == 1);
    watch_free(&w.watch);
}

static void test_freed_while_it_asks(void **state)
{
    struct unit_store *u = *state;
    struct watching w;
    put(u, "ghost/1", "old 1 running x 1");
    watch(u, &w, 1, true);
    watch_free(&w.watch);
    UNIT_COMMAND(u, "PING");
    assert_true(w.clear + w.silent + w.failed == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_lease_is_renewed),
        TEST(test_a_lapse_is_told_by_the_clock),
        TEST(test_a_stall_is_a_lapse),
        TEST(test_a_new_master_is_told),
        TEST(test_who_was_declared_dead_hears_of_it),
        TEST(test_no_queue_delays_a_renewal),
        TEST(test_one_connection_finds_the_new_master_for_both),
        TEST(test_two_connections_have_one_identity),
        TEST(test_nobody_to_watch),
        TEST(test_the_living_are_clear),
        TEST(test_the_silent_are_evicted_after_the_term_that_applies),
        TEST(test_the_larger_term_of_both_sides_counts),
        TEST(test_the_next_watch_goes_on_where_the_last_one_was),
        TEST(test_a_lease_tells_its_terms),
        TEST(test_one_that_is_not_in_the_list_is_silent),
        TEST(test_nothing_is_evicted_in_a_freeze),
        TEST(test_leaving_ends_a_watch),
        TEST(test_a_change_of_master_ends_a_watch),
        TEST(test_freed_while_it_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
