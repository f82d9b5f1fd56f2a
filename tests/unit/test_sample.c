/* Which copies are read back whole, in each mode. */
#include "unit.h"

#include "migrator/mailbox/sample.h"

enum { N = 10000 };

static struct ledger_row rows[N];

static void make_rows(void)
{
    for (size_t i = 0; i < N; i++)
        rows[i] = (struct ledger_row){
            .source_uid = (uint32_t)(2 * i + 1), .target_uid = (uint32_t)i + 1, .size = 100};
}

static size_t count(const struct sample *s, const struct mbox_msg *m)
{
    size_t n = 0;

    for (size_t i = 0; i < N; i++)
        n += sample_wants_bytes(s, rows, N, i, m);
    return n;
}

static void full_wants_all_that_is_not_verified(void **state)
{
    (void)state;
    const struct mbox_msg m = {.size = 100};
    const struct sample s = {.mode = VERIFY_FULL};

    make_rows();
    rows[7].verified = true;
    rows[8].header = true;
    assert_int_equal(count(&s, &m), N - 1);
}

static void a_sample_is_a_tenth_and_the_same_each_time(void **state)
{
    (void)state;
    const struct mbox_msg m = {.size = 100};
    const struct sample a = {VERIFY_SAMPLE, sample_seed("0123456789abcdef"), NULL},
                        b = {VERIFY_SAMPLE, sample_seed("0123456789abcdee"), NULL};
    size_t both = 0;

    make_rows();
    assert_in_range(count(&a, &m), N / SAMPLE_SHARE * 8 / 10, N / SAMPLE_SHARE * 12 / 10);
    for (size_t i = 0; i < N; i++)
        both += sample_wants_bytes(&a, rows, N, i, &m) && sample_wants_bytes(&b, rows, N, i, &m);
    assert_in_range(both, 2, N / SAMPLE_SHARE / 4); /* other seeds choose others, but for the ends */
    assert_true(sample_wants_bytes(&a, rows, N, 0, &m) && sample_wants_bytes(&a, rows, N, N - 1, &m));
    assert_true(sample_wants_bytes(&a, rows, 1, 0, &m));
    assert_int_equal(count(&a, &(const struct mbox_msg){.size = 99}), N);
}

static void a_doubt_and_its_neighbours_are_in_each_sample(void **state)
{
    (void)state;
    const struct mbox_msg m = {.size = 100};
    struct imap_seq resent = {0};

    make_rows();
    imap_seq_add(&resent, rows[500].source_uid, rows[502].source_uid);
    for (uint64_t seed = 0; seed < 20; seed++) {
        const struct sample s = {VERIFY_SAMPLE, seed, &resent};
        for (size_t i = 499; i <= 503; i++)
            assert_true(sample_wants_bytes(&s, rows, N, i, &m));
    }
    imap_seq_free(&resent);
}

static void headers_want_bytes_only_of_what_they_do_not_fit(void **state)
{
    (void)state;
    const struct mbox_msg m = {.size = 100}, huge = {.size = UINT32_MAX};
    const struct sample s = {.mode = VERIFY_HEADERS};

    make_rows();
    assert_true(sample_wants_bytes(&s, rows, N, 3, &m));
    rows[3].header = true;
    assert_false(sample_wants_bytes(&s, rows, N, 3, &m));
    assert_true(sample_wants_bytes(&s, rows, N, 3, &huge));
    rows[3].size = UINT64_C(1) << 40;
    assert_false(sample_wants_bytes(&s, rows, N, 3, &huge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_wants_all_that_is_not_verified),
        cmocka_unit_test(a_sample_is_a_tenth_and_the_same_each_time),
        cmocka_unit_test(a_doubt_and_its_neighbours_are_in_each_sample),
        cmocka_unit_test(headers_want_bytes_only_of_what_they_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
