#include "lib/jobs.h"
#include "store_unit.h"

/* The streams of jobs, as one migrator reads them. */
struct fixture {
    struct unit_store u;
    struct jobs *jobs;
    unsigned ready, ended;
    struct buf got; /* "ann bulk:bob ": in the order in which they came */
};

static void on_event(void *owner, enum jobs_event ev)
{
    struct fixture *f = owner;
    if (ev == JOBS_READY)
        f->ready++;
    else
        f->ended++;
}

static void on_entry(void *owner, const struct jobs_entry *e)
{
    struct fixture *f = owner;
    assert_true(e->id.len > 0 && e->sent_ms > 0 && e->sent_ms <= clock_boot_ms());
    buf_printf(&f->got, "%s%.*s ", e->bulk ? "bulk:" : "", (int)e->user.len, (const char *)e->user.p);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    unit_store_begin(&f->u);
    f->u.conf.migrator.job_lease_ms = 400; /* a read waits for a quarter of it */
    f->jobs = jobs_new(f->u.store, "m1", 1000, on_event, on_entry, f);
    UNIT_UNTIL(&f->u, f->ready == 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    jobs_free(&f->jobs);
    buf_free(&f->got);
    unit_store_end(&f->u);
    free(f);
    return 0;
}

static void make_groups(struct fixture *f)
{
    unsigned before = f->ready;
    jobs_make_groups(f->jobs);
    UNIT_UNTIL(&f->u, f->ready > before);
    assert_true(jobs_have_groups(f->jobs));
}

static void add(struct fixture *f, const char *stream, const char *user)
{
    UNIT_COMMAND(&f->u, "XADD", stream, "*", "user", user);
}

static void read_once(struct fixture *f, size_t places)
{
    unsigned before = f->ended;
    jobs_read(f->jobs, places);
    UNIT_UNTIL(&f->u, f->ended > before);
}

/* Logins come first, and no more than there are places; then what is in bulk, one at a time. */
static void test_logins_before_bulk(void **state)
{
    struct fixture *f = *state;
    make_groups(f);
    make_groups(f); /* which are there already */
    add(f, "unit:jobs:bulk", "bob");
    add(f, "unit:jobs", "ann");
    add(f, "unit:jobs", "cyd");
    add(f, "unit:jobs", "dan");
    read_once(f, 2);
    assert_string_equal(buf_str(&f->got), "ann cyd ");
    read_once(f, 2);
    assert_string_equal(buf_str(&f->got), "ann cyd dan ");
    read_once(f, 2);
    assert_string_equal(buf_str(&f->got), "ann cyd dan bulk:bob ");
}

/* One read at a time, and none without a place; it says for how many entries it is. */
static void test_one_read_at_a_time(void **state)
{
    struct fixture *f = *state;
    make_groups(f);
    jobs_read(f->jobs, 0);
    assert_int_equal(jobs_asked(f->jobs), 0);
    jobs_read(f->jobs, 3);
    assert_int_equal(jobs_asked(f->jobs), 3);
    jobs_read(f->jobs, 5);
    assert_int_equal(jobs_asked(f->jobs), 3);
    UNIT_UNTIL(&f->u, f->ended == 1); /* nothing came in a quarter of the lease */
    assert_int_equal(jobs_asked(f->jobs), 0);
    assert_string_equal(buf_str(&f->got), "");
}

/* An entry that comes while a read waits is brought by it. */
static void test_a_read_waits(void **state)
{
    struct fixture *f = *state;
    make_groups(f);
    f->u.conf.migrator.job_lease_ms = 8000;
    jobs_read(f->jobs, 2);
    UNIT_UNTIL(&f->u, jobs_asked(f->jobs) == 1); /* now it waits, for one of either stream */
    add(f, "unit:jobs:bulk", "bob");
    UNIT_UNTIL(&f->u, f->ended == 1);
    assert_string_equal(buf_str(&f->got), "bulk:bob ");
}

/* Who stops begins no read that waits. */
static void test_stop(void **state)
{
    struct fixture *f = *state;
    make_groups(f);
    f->u.conf.migrator.job_lease_ms = 400000;
    jobs_stop(f->jobs);
    uint64_t before = clock_boot_ms();
    read_once(f, 1);
    assert_true(clock_boot_ms() - before < 500);
}

/* The streams are gone: that is noticed, and the group is made anew. */
static void test_groups_are_made_anew(void **state)
{
    struct fixture *f = *state;
    make_groups(f);
    UNIT_COMMAND(&f->u, "DEL", "unit:jobs", "unit:jobs:bulk");
    read_once(f, 1);
    assert_false(jobs_have_groups(f->jobs));
    make_groups(f);
    add(f, "unit:jobs", "ann");
    read_once(f, 1);
    assert_string_equal(buf_str(&f->got), "ann ");
    jobs_miss_groups(f->jobs);
    assert_false(jobs_have_groups(f->jobs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logins_before_bulk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_read_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_read_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_groups_are_made_anew, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
