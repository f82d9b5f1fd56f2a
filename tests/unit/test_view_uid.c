#include "unit.h"

#include "lib/view_uid.h"

/* A map of pairs that ends with {0, 0}. */
static struct view_uid made_of(const uint32_t (*pairs)[2])
{
    struct view_uid m = {0};
    for (; (*pairs)[0]; pairs++)
        assert_true(view_uid_add(&m, (*pairs)[0], (*pairs)[1]));
    return m;
}

static uint32_t to_backend(const struct view_uid *m, uint32_t client)
{
    uint32_t uid = 0;
    return view_uid_to_backend(m, client, &uid) ? uid : 0;
}

static uint32_t to_client(const struct view_uid *m, uint32_t backend)
{
    uint32_t uid = 0;
    return view_uid_to_client(m, backend, &uid) ? uid : 0;
}

static void test_runs_are_merged(void **state)
{
    struct view_uid m =
        made_of((const uint32_t[][2]){{1, 1}, {2, 2}, {3, 3}, {7, 4}, {8, 5}, {9, 7}, {10, 8}, {0, 0}});

    (void)state;
    assert_int_equal(sizeof(struct view_run), 12);
    assert_int_equal(m.n, 3);
    assert_int_equal(view_uid_count(&m), 7);
    assert_int_equal(m.runs[1].client, 7);
    assert_int_equal(m.runs[1].backend, 4);
    assert_int_equal(m.runs[1].length, 2);
    view_uid_free(&m);
    assert_int_equal(m.n, 0);
}

static void test_order_is_kept(void **state)
{
    struct view_uid m = made_of((const uint32_t[][2]){{5, 10}, {6, 11}, {0, 0}});

    (void)state;
    assert_false(view_uid_add(&m, 6, 12));
    assert_false(view_uid_add(&m, 7, 11));
    assert_false(view_uid_add(&m, 4, 12));
    assert_false(view_uid_add(&m, 7, 3));
    assert_false(view_uid_add(&m, 0, 12));
    assert_false(view_uid_set_tail(&m, 6, 12));
    assert_false(view_uid_set_tail(&m, 7, 11));
    assert_int_equal(view_uid_count(&m), 2);
    assert_true(view_uid_set_tail(&m, 7, 12));
    assert_false(view_uid_add(&m, 8, 13));
    view_uid_free(&m);
    assert_false(view_uid_add(&m, 0, 1));
    assert_false(view_uid_add(&m, 1, 0));
    assert_false(view_uid_set_tail(&m, 0, 1));
    assert_false(view_uid_set_tail(&m, 1, 0));
    assert_int_equal(m.n + m.tail_client + m.tail_backend, 0);
}

static void test_single_uids(void **state)
{
    struct view_uid m = made_of((const uint32_t[][2]){{1, 1}, {2, 2}, {3, 3}, {7, 4}, {8, 5}, {0, 0}});

    (void)state;
    assert_int_equal(to_backend(&m, 20), 0);
    assert_true(view_uid_set_tail(&m, 20, 6));
    assert_int_equal(to_backend(&m, 0), 0);
    assert_int_equal(to_backend(&m, 3), 3);
    assert_int_equal(to_backend(&m, 4), 0);
    assert_int_equal(to_backend(&m, 7), 4);
    assert_int_equal(to_backend(&m, 9), 0);
    assert_int_equal(to_backend(&m, 19), 0);
    assert_int_equal(to_backend(&m, 20), 6);
    assert_int_equal(to_backend(&m, UINT32_MAX), UINT32_MAX - 14);
    assert_int_equal(to_client(&m, 0), 0);
    assert_int_equal(to_client(&m, 5), 8);
    assert_int_equal(to_client(&m, 6), 20);
    assert_int_equal(to_client(&m, 7), 21);
    view_uid_free(&m);
}

/* EDGE-CASES 21: UIDs up to 2^32-1, and what is above. */
static void test_ends_of_32_bits(void **state)
{
    struct view_uid m =
        made_of((const uint32_t[][2]){{1, UINT32_MAX - 10}, {UINT32_MAX - 1, UINT32_MAX - 2}, {0, 0}});

    (void)state;
    assert_true(view_uid_set_tail(&m, UINT32_MAX, UINT32_MAX - 1));
    assert_int_equal(to_client(&m, UINT32_MAX - 1), UINT32_MAX);
    assert_int_equal(to_client(&m, UINT32_MAX), 0);
    assert_false(view_uid_is_full(&m, 1));
    assert_false(view_uid_is_full(&m, UINT32_MAX - 1));
    assert_true(view_uid_is_full(&m, UINT32_MAX));
    view_uid_free(&m);

    m = made_of((const uint32_t[][2]){{UINT32_MAX, UINT32_MAX}, {0, 0}});
    assert_false(view_uid_add(&m, 1, 1));
    assert_false(view_uid_set_tail(&m, UINT32_MAX, UINT32_MAX));
    assert_false(view_uid_is_full(&m, UINT32_MAX));
    assert_int_equal(to_backend(&m, UINT32_MAX), UINT32_MAX);
    struct imap_range r;
    assert_true(view_uid_range_to_backend(&m, 1, UINT32_MAX, &r));
    assert_int_equal(r.first, UINT32_MAX);
    view_uid_free(&m);

    assert_true(view_uid_set_tail(&m, 5, UINT32_MAX));
    assert_true(view_uid_range_to_backend(&m, 1, UINT32_MAX, &r));
    assert_int_equal(r.first, UINT32_MAX);
    assert_int_equal(r.last, UINT32_MAX);
    assert_false(view_uid_range_to_backend(&m, 6, UINT32_MAX, &r));
    view_uid_free(&m);
}

static void test_crossed_ends(void **state)
{
    struct view_uid m = made_of((const uint32_t[][2]){{899, 10}, {910, 11}, {0, 0}});
    struct imap_range r = {77, 77};

    (void)state;
    assert_false(view_uid_range_to_backend(&m, 900, 909, &r));
    assert_false(view_uid_range_to_backend(&m, 1, 898, &r));
    assert_false(view_uid_range_to_backend(&m, 911, 999, &r));
    assert_false(view_uid_range_to_backend(&m, 910, 899, &r));
    assert_false(view_uid_range_to_backend(&m, 0, 0, &r));
    assert_int_equal(r.first, 77);
    assert_true(view_uid_range_to_backend(&m, 899, 910, &r));
    assert_int_equal(r.first, 10);
    assert_int_equal(r.last, 11);
    view_uid_free(&m);
}

static void seq_is(const struct imap_seq *s, const char *wanted)
{
    struct buf b = {0};
    if (s->n)
        imap_seq_write(&b, s);
    assert_string_equal(buf_str(&b), wanted);
    buf_free(&b);
}

static void test_sets(void **state)
{
    struct view_uid m = made_of((const uint32_t[][2]){{1, 1}, {2, 2}, {3, 3}, {7, 4}, {8, 5}, {0, 0}});
    struct imap_seq in = {0}, out = {0};

    (void)state;
    assert_true(view_uid_set_tail(&m, 20, 6));
    assert_true(imap_seq_parse(&in, span_str("2:7,9,15:21"), 0, 10));
    view_uid_set_to_backend(&m, &in, &out);
    seq_is(&out, "2:4,6:7");
    imap_seq_free(&out);
    imap_seq_free(&in);
    assert_true(imap_seq_parse(&in, span_str("4:6,9:19"), 0, 10));
    view_uid_set_to_backend(&m, &in, &out);
    seq_is(&out, "");
    imap_seq_free(&in);
    assert_true(imap_seq_parse(&in, span_str("3:7,4294967295"), 0, 10));
    assert_true(view_uid_set_to_client(&m, &in, 10, &out));
    seq_is(&out, "3,7:8,20:21");
    imap_seq_free(&out);
    assert_false(view_uid_set_to_client(&m, &in, 2, &out));
    imap_seq_free(&out);
    imap_seq_free(&in);
    view_uid_free(&m);
}

/* --- against a plain table --- */

enum { SMALL = 60, MAPS = 300 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 16;
}

/* What a table of all pairs says; the tail is in it up to SMALL on both sides. */
struct table {
    uint32_t backend_of[2 * SMALL], client_of[2 * SMALL];
};

static void make_random(uint32_t *seed, struct view_uid *m, struct table *t)
{
    uint32_t c = 0, b = 0;

    memset(t, 0, sizeof(*t));
    while (c + 4 < SMALL / 2 && b + 4 < SMALL / 2) {
        uint32_t same = next_random(seed) % 2;
        c += same ? 1 : 1 + next_random(seed) % 3;
        b += same ? 1 : 1 + next_random(seed) % 3;
        assert_true(view_uid_add(m, c, b));
        t->backend_of[c] = b;
        t->client_of[b] = c;
    }
    if (next_random(seed) % 4 == 0)
        return;
    c += 1 + next_random(seed) % 5;
    b += 1 + next_random(seed) % 5;
    assert_true(view_uid_set_tail(m, c, b));
    for (; c < 2 * SMALL && b < 2 * SMALL; c++, b++) {
        t->backend_of[c] = b;
        t->client_of[b] = c;
    }
}

static void check_range(const struct view_uid *m, const struct table *t, uint32_t first, uint32_t last)
{
    struct imap_range r = {0, 0};
    uint32_t low = 0, high = 0;

    for (uint32_t c = first; c <= last; c++)
        if (t->backend_of[c]) {
            low = low ? low : t->backend_of[c];
            high = t->backend_of[c];
        }
    assert_int_equal(view_uid_range_to_backend(m, first, last, &r), low != 0);
    assert_int_equal(r.first, low);
    assert_int_equal(r.last, high);
}

static void check_reply_set(const struct view_uid *m, const struct table *t, uint32_t first, uint32_t last)
{
    struct imap_seq in = {0}, out = {0};

    imap_seq_add(&in, first, last);
    assert_true(view_uid_set_to_client(m, &in, SIZE_MAX, &out));
    for (uint32_t c = 1; c < SMALL; c++)
        assert_int_equal(imap_seq_has(&out, c),
                         t->backend_of[c] >= first && t->backend_of[c] <= last && t->backend_of[c]);
    imap_seq_free(&in);
    imap_seq_free(&out);
}

static void test_random_maps(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < MAPS; round++) {
        struct view_uid m = {0};
        struct table t;
        make_random(&seed, &m, &t);
        for (uint32_t uid = 0; uid < SMALL; uid++) {
            assert_int_equal(to_backend(&m, uid), t.backend_of[uid]);
            assert_int_equal(to_client(&m, uid), t.client_of[uid]);
        }
        for (uint32_t first = 1; first < SMALL; first++)
            for (uint32_t last = first; last < SMALL; last += 1 + last / 8) {
                check_range(&m, &t, first, last);
                check_reply_set(&m, &t, first, last);
            }
        view_uid_free(&m);
    }
}

/* --- text --- */

static bool same_map(const struct view_uid *a, const struct view_uid *b)
{
    return a->n == b->n && a->tail_client == b->tail_client && a->tail_backend == b->tail_backend &&
           (a->n == 0 || !memcmp(a->runs, b->runs, a->n * sizeof(*a->runs)));
}

static void test_encoding_is_read_back(void **state)
{
    uint32_t seed = 7;

    (void)state;
    for (int round = 0; round < MAPS; round++) {
        struct view_uid m = {0}, back = {0};
        struct buf text = {0};
        struct table t;
        make_random(&seed, &m, &t);
        view_uid_encode(&text, &m);
        assert_int_equal(
            strspn(buf_str(&text), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            text.len);
        assert_true(view_uid_decode(buf_span(&text), m.n, &back));
        assert_true(same_map(&m, &back));
        view_uid_free(&back);
        assert_true(m.n == 0 || !view_uid_decode(buf_span(&text), m.n - 1, &back));
        view_uid_free(&m);
        buf_free(&text);
    }
}

static void refuse_prefix(struct span text)
{
    struct view_uid m;
    assert_false(view_uid_decode(text, 1000, &m));
}

/* No beginning is a map, and any byte changed gives no map or another one in its own only spelling. */
static void damage(const struct view_uid *m)
{
    struct buf text = {0};

    view_uid_encode(&text, m);
    unit_prefixes(span_of(buf_span(&text).p, text.len - 1), refuse_prefix);
    for (size_t at = 0; at < text.len; at++)
        for (int c = 0; c < 256; c++) {
            uint8_t *p = text.mem + text.off + at, was = *p;
            struct view_uid other;
            *p = (uint8_t)c;
            if (view_uid_decode(buf_span(&text), 1000, &other)) {
                struct buf again = {0};
                view_uid_encode(&again, &other);
                assert_true(span_eq(buf_span(&again), buf_span(&text)));
                assert_int_equal(same_map(m, &other), c == was);
                buf_free(&again);
                view_uid_free(&other);
            }
            *p = was;
        }
    buf_free(&text);
}

static void test_damaged_text(void **state)
{
    struct view_uid m = made_of((const uint32_t[][2]){
        {1, 1}, {2, 2}, {7, 4}, {100, 200}, {101, 201}, {50000, 1000000}, {4000000000, 4000000001}, {0, 0}});

    (void)state;
    assert_true(view_uid_set_tail(&m, UINT32_MAX, 4000000002));
    damage(&m);
    view_uid_free(&m);
    damage(&m);
    assert_true(view_uid_add(&m, UINT32_MAX, UINT32_MAX));
    damage(&m);
    view_uid_free(&m);
}

static void test_hostile_text(void **state)
{
    static const char *const texts[] = {
        /* no version, no numbers, another version */
        "",
        "1",
        "2AAA",
        /* too short, too long, half a tail */
        "1AA",
        "1AAAA",
        "1AAA ",
        "1ABA",
        "1BAA",
        /* a zero too much */
        "1AAgA",
        "1gAAA",
        /* a run lacks a number; two runs that are one; more runs than there is text for */
        "1AABAA",
        "1AACAAAAAA",
        "1AA______DAAA",
        /* above 2^32-1: a run's beginnings, its length, a number by itself */
        "1AAB______DAA",
        "1AABA______DA",
        "1AABBA______D",
        "1AAB______HAA",
        "1______HBA",
        /* bytes that are no digits */
        "1AAA\xff",
        "1AA=",
    };

    (void)state;
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        struct view_uid m;
        if (view_uid_decode(span_str(texts[i]), SIZE_MAX, &m))
            fail_msg("was taken: %s", texts[i]);
    }
}

static void test_text_is_small(void **state)
{
    struct view_uid m = {0};
    struct buf text = {0};

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) /* a hole after each thirty messages */
        for (uint32_t k = 0; k < 30; k++)
            assert_true(view_uid_add(&m, 1 + i * 31 + k, 1 + i * 30 + k));
    view_uid_encode(&text, &m);
    assert_int_equal(m.n, 1000);
    assert_in_range(text.len, 3000, 3010);
    view_uid_free(&m);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_are_merged), cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_single_uids),     cmocka_unit_test(test_ends_of_32_bits),
        cmocka_unit_test(test_crossed_ends),    cmocka_unit_test(test_sets),
        cmocka_unit_test(test_random_maps),     cmocka_unit_test(test_encoding_is_read_back),
        cmocka_unit_test(test_damaged_text),    cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_text_is_small),
    };
    return cmocka_run_group_tests_name("view_uid", tests, NULL, NULL);
}
