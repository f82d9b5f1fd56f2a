#include "migrator/mailbox/delta.h"
#include "migrator/mailbox/match.h"
#include "migrator/mailbox/uidset.h"

#include "unit.h"

/* Two mailboxes and a ledger as short texts: "uid:flags:date+zone" with blanks between, "source>target" with
 * "!" for one that was not read back. */
struct world {
    struct flags_pool *pool;
    struct mbox_list source, target;
    struct ledger_row rows[20];
    size_t n_rows;
    struct flags_policy permanent;
    struct delta d;
};

static uint32_t set_of(struct world *w, const char *text)
{
    uint32_t set;
    const char *why;
    assert_true(flags_add_text(w->pool, span_str(text), &set, &why));
    return set;
}

static void fill_list(struct world *w, struct mbox_list *l, const char *text)
{
    unsigned uid, date;
    int zone, used;
    char flags[32];
    const char *why;
    uint32_t seq;
    mbox_list_init(l, w->pool);
    for (; sscanf(text, " %u:%31[^:]:%u%d%n", &uid, flags, &date, &zone, &used) == 4; text += used) {
        for (char *c = flags; *c; c++)
            *c = *c == '|' ? ' ' : *c == '-' ? ' ' : *c;
        assert_true(mbox_list_exists(l, (uint32_t)l->n + 1));
        mbox_list_room(l, l->n);
        l->msgs[l->n - 1] = (struct mbox_msg){
            .uid = uid, .flags = set_of(w, flags), .instant = date, .zone = (int16_t)zone, .has = MBOX_ALL};
    }
    assert_int_equal(*text, '\0');
    assert_true(mbox_list_check(l, l->n, &why, &seq));
}

static void set_up(struct world *w, const char *source, const char *target, const char *rows)
{
    unsigned from, to;
    int used;
    *w = (struct world){.pool = flags_pool_new()};
    fill_list(w, &w->source, source);
    fill_list(w, &w->target, target);
    for (; sscanf(rows, " %u>%u%n", &from, &to, &used) == 2; rows += used) {
        w->rows[w->n_rows] = (struct ledger_row){.source_uid = from, .target_uid = to};
        w->rows[w->n_rows].verified = rows[used] != '!';
        used += rows[used] == '!';
        w->n_rows++;
    }
    w->d = (struct delta){.source = &w->source,
                          .target = &w->target,
                          .rows = w->rows,
                          .n_rows = w->n_rows,
                          .permanent = &w->permanent};
}

static void tear_down(struct world *w)
{
    mbox_list_free(&w->source);
    mbox_list_free(&w->target);
    flags_pool_free(&w->pool);
}

/* All that differs, with "; " between. */
static void tell(void *owner, const struct delta *d, const struct delta_diff *diff)
{
    struct buf *out = owner;
    buf_add_str(out, out->len > 0 ? "; " : "");
    if (diff->source_uid)
        buf_printf(out, "UID %u: ", diff->source_uid);
    delta_describe(out, d, diff);
}

static void test_compare(void **state)
{
    (void)state;
    static const struct {
        const char *source, *target, *rows, *want;
    } cases[] = {
        {"", "", "", ""},
        {"1:-:9+0 5:\\Seen|x:9+0", "7:-:9+0 8:x|\\Seen:9+60", "1>7 5>8", ""},
        /* Foreign messages before and behind are left alone, one between is not. */
        {"1:-:9+0 2:-:9+0", "1:-:9+0 7:-:9+0 8:-:9+0 9:-:9+0", "1>7 2>8", ""},
        {"1:-:9+0 2:-:9+0", "7:-:9+0 8:-:9+0 9:-:9+0", "1>7 2>9",
         "a message that is not ours lies between the copies (target UID 8)"},
        {"1:-:9+0", "7:\\Seen:9+0", "1>7", "UID 1: flags differ: source () target (\\Seen)"},
        {"1:\\Seen:9+0", "7:-:9+0", "1>7", "UID 1: flags differ: source (\\Seen) target ()"},
        {"1:-:9+0", "7:-:10+0", "1>7",
         "UID 1: date differs: source \" 1-Jan-1970 00:00:09 +0000\" target \" 1-Jan-1970 00:00:10 +0000\""},
        {"1:-:9+0 2:-:9+0", "7:-:9+0 8:-:9+0", "1>8 2>7", "UID 2: out of order on the target (UID 7 there)"},
        {"1:-:9+0 2:-:9+0", "7:-:9+0", "1>7 2>8", "UID 2: missing on the target (was UID 8 there)"},
        {"1:-:9+0 2:-:9+0", "7:-:9+0", "1>7", "UID 2: not copied"},
        {"1:-:9+0", "7:-:9+0", "1>7!", "UID 1: can't be read back from the target (UID 7 there)"},
        {"2:-:9+0", "7:-:9+0 8:-:9+0", "1>7 2>8", "UID 1: is gone, but its copy is there (target UID 7)"},
        {"1:-:9+0 2:-:9+0 3:-:9+0 4:-:9+0", "", "",
         "UID 1: not copied; UID 2: not copied; UID 3: not copied; UID 4: not copied"},
    };
    for (size_t i = 0; i < COUNTOF(cases); i++) {
        struct world w;
        struct delta_report r;
        struct buf out = {0};
        set_up(&w, cases[i].source, cases[i].target, cases[i].rows);
        delta_compare(&w.d, tell, &out, &r);
        assert_string_equal(buf_str(&out), cases[i].want);
        assert_int_equal(r.n == 0, *cases[i].want == '\0');
        buf_free(&out);
        tear_down(&w);
    }
}

static void test_counts(void **state)
{
    (void)state;
    struct world w;
    struct delta_report r;
    set_up(&w, "1:-:9+0 2:-:9+60", "3:-:9+0 7:-:9+60 8:-:9+60 9:-:1+0", "1>7 2>8");
    delta_compare(&w.d, NULL, NULL, &r);
    assert_int_equal(r.n, 0);
    assert_int_equal(r.zones, 1);
    assert_int_equal(r.foreign, 2);
    tear_down(&w);
}

/* What the target can't keep has a name of its own, and is not tried. */
static void test_lost_flags(void **state)
{
    (void)state;
    struct world w;
    struct delta_report r;
    struct buf out = {0};
    size_t n;
    set_up(&w, "1:\\Seen|odd:9+0", "7:\\Seen:9+0", "1>7");
    w.permanent = (struct flags_policy){.given = true, .listed = set_of(&w, "\\Seen \\Deleted")};
    delta_compare(&w.d, tell, &out, &r);
    assert_string_equal(buf_str(&out), "UID 1: the target can't keep its flags (odd)");
    assert_int_equal(r.by_kind[DELTA_FLAGS_LOST], 1);
    struct delta_flags *f = delta_flags(&w.d, &n);
    assert_int_equal(n, 0);
    delta_flags_free(f, n);
    buf_free(&out);
    tear_down(&w);
}

static void test_flags(void **state)
{
    (void)state;
    struct world w;
    struct buf out = {0};
    size_t n;
    set_up(&w, "1:\\Seen:9+0 2:a:9+0 3:\\seen:9+0 4:-:9+0 5:B:9+0",
           "7:-:9+0 8:a:9+0 9:x:9+0 10:\\Seen:9+0 11:b:9+0", "1>7 2>8 3>9 4>10 5>11");
    struct delta_flags *f = delta_flags(&w.d, &n);
    assert_int_equal(n, 2);
    imap_seq_write(&out, &f[0].uids);
    buf_add_str(&out, " ");
    imap_seq_write(&out, &f[1].uids);
    assert_string_equal(buf_str(&out), "7,9 10");
    assert_string_equal(flags_text(w.pool, f[0].set), "\\Seen");
    assert_int_equal(f[1].set, FLAGS_NONE);
    delta_flags_free(f, n);
    buf_free(&out);
    tear_down(&w);
}

static void test_sets(void **state)
{
    (void)state;
    struct world w;
    size_t n;
    struct imap_seq gone = {0}, targets = {0}, foreign = {0};
    struct buf out = {0};
    set_up(&w, "2:-:9+0 4:-:9+0 6:-:9+0", "7:-:9+0 8:-:9+0 9:-:9+0 10:-:9+0", "1>7 3>20 4>9");
    uint32_t *missing = delta_missing(&w.d, &n);
    assert_int_equal(n, 2);
    assert_int_equal(missing[0], 2);
    assert_int_equal(missing[1], 6);
    free(missing);
    delta_gone(&w.d, &gone, &targets);
    imap_seq_write(&out, &gone);
    buf_add_str(&out, " ");
    imap_seq_write(&out, &targets);
    buf_add_str(&out, " ");
    delta_foreign(&w.d, 8, &foreign);
    imap_seq_write(&out, &foreign);
    assert_string_equal(buf_str(&out), "1,3 7 8,10");
    imap_seq_free(&gone);
    imap_seq_free(&targets);
    imap_seq_free(&foreign);
    buf_free(&out);
    tear_down(&w);
}

/* Letters stand for hashes. */
static size_t items_of(const char *text, uint32_t uid, struct readback_item *items)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct readback_item){.uid = uid + (uint32_t)i, .size = 1};
        memset(items[i].hash, text[i], HASH_SIZE);
    }
    return n;
}

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *sources, *targets, *want; /* source UIDs from 1, target UIDs from 11 */
    } cases[] = {
        {"abc", "abc", "1>11 2>12 3>13 "},
        {"abc", "bc", "2>11 3>12 "},
        {"aaa", "aa", "1>11 2>12 "},
        {"aa", "aaa", "1>11 2>12 "},
        {"abab", "baab", "1>12 2>11 3>13 4>14 "},
        {"a", "", ""},
        {"", "a", ""},
        {"abc", "xyz", ""},
    };
    for (size_t i = 0; i < COUNTOF(cases); i++) {
        struct readback_item sources[8], targets[8];
        struct ledger_row rows[8];
        struct buf out = {0};
        size_t n_sources = items_of(cases[i].sources, 1, sources),
               n_targets = items_of(cases[i].targets, 11, targets);
        size_t n = match_items(sources, n_sources, targets, n_targets, rows);
        for (size_t k = 0; k < n; k++) {
            buf_printf(&out, "%u>%u ", rows[k].source_uid, rows[k].target_uid);
            assert_true(rows[k].verified);
        }
        assert_string_equal(buf_str(&out), cases[i].want);
        buf_free(&out);
    }
}

static void expect_pieces(const char *set_text, uint32_t max, const char *want)
{
    struct imap_seq set = {0};
    struct uidset_place at = {0};
    struct buf piece = {0}, all = {0};
    assert_true(imap_seq_parse(&set, span_str(set_text), 0, 100));
    while (uidset_next(&set, &at, max, &piece))
        buf_printf(&all, "%s ", buf_str(&piece));
    assert_string_equal(buf_str(&all), want);
    imap_seq_free(&set);
    buf_free(&piece);
    buf_free(&all);
}

static void test_uidset(void **state)
{
    (void)state;
    expect_pieces("1:3,7", 0, "1:3,7 ");
    expect_pieces("1:3,7", 1, "1 2 3 7 ");
    expect_pieces("1:3,7,9:12", 2, "1:2 3,7 9:10 11:12 ");
    expect_pieces("1:3,7,9:12", 3, "1:3 7,9:10 11:12 ");
    expect_pieces("5:4294967295", 2, "5:4294967295 ");
    expect_pieces("1:3,5:4294967295", 2, "1:2 3,5:4294967295 ");
    expect_pieces("4294967294", 1, "4294967294 ");
    expect_pieces("1:3,2147483646,2147483648,4000000000:4000000002,4294967295", 0,
                  "1:3,2147483646 2147483648 4000000000:4000000002 4294967295 ");
    expect_pieces("1,2147483646,2147483648", 0, "1,2147483646 2147483648 ");
    struct imap_seq none = {0}, many = {0};
    struct uidset_place at = {0};
    struct buf piece = {0};
    assert_false(uidset_next(&none, &at, 0, &piece));
    uint64_t count = 0;
    for (uint32_t uid = 1; uid < 20000; uid += 2)
        imap_seq_add(&many, 1000000 + uid, 1000000 + uid);
    while (uidset_next(&many, &at, 0, &piece)) {
        struct imap_seq back = {0};
        assert_true(piece.len < 6100);
        assert_true(imap_seq_parse(&back, buf_span(&piece), 0, 20000));
        count += imap_seq_count(&back);
        imap_seq_free(&back);
    }
    assert_int_equal(count, 10000);
    imap_seq_free(&many);
    buf_free(&piece);
}

/* A copy that may not go yet is no difference, and is not taken away. */
static void test_removable(void **state)
{
    (void)state;
    struct world w;
    struct delta_report r;
    struct imap_seq may = {0}, sources = {0}, targets = {0};
    set_up(&w, "2:-:9+0", "11:-:9+0 12:-:9+0 13:-:9+0 14:-:9+0", "1>11 2>12 3>13 4>14");
    imap_seq_add(&may, 3, 3);
    w.d.removable = &may;
    delta_gone(&w.d, &sources, &targets);
    assert_true(imap_seq_count(&sources) == 1 && imap_seq_has(&sources, 3));
    assert_true(imap_seq_count(&targets) == 1 && imap_seq_has(&targets, 13));
    delta_compare(&w.d, NULL, NULL, &r);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.by_kind[DELTA_GONE], 1);
    assert_int_equal(r.waiting, 2);
    w.d.removable = NULL;
    delta_compare(&w.d, NULL, NULL, &r);
    assert_int_equal(r.by_kind[DELTA_GONE], 3);
    assert_int_equal(r.waiting, 0);
    imap_seq_free(&may);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    tear_down(&w);
}

static void keep(struct mbox_list *l, size_t i, unsigned items)
{
    l->msgs[i].has = (uint8_t)((l->msgs[i].has & ~items) | items << MBOX_KEPT);
}

/* Where only one side was listed nothing is equal and nothing stored; the other has to be listed first. */
static void test_kept(void **state)
{
    (void)state;
    struct world w;
    struct delta_report r;
    struct imap_seq sources = {0}, targets = {0};
    size_t n;
    set_up(&w, "1:x:9+0 2:x:9+0 3:x:9+0 4:x:9+0", "11:-:1+0 12:-:1+0 13:-:1+0 14:x:9+0",
           "1>11 2>12 3>13 4>14");
    keep(&w.source, 0, MBOX_FLAGS | MBOX_DATE);
    keep(&w.target, 0, MBOX_FLAGS | MBOX_DATE);
    keep(&w.source, 1, MBOX_FLAGS | MBOX_DATE);
    keep(&w.target, 2, MBOX_FLAGS);
    keep(&w.source, 2, MBOX_DATE);
    delta_unlisted(&w.d, &sources, &targets);
    assert_int_equal(imap_seq_count(&sources), 2);
    assert_true(imap_seq_has(&sources, 2) && imap_seq_has(&sources, 3));
    assert_int_equal(imap_seq_count(&targets), 1);
    assert_true(imap_seq_has(&targets, 13));
    struct delta_flags *f = delta_flags(&w.d, &n);
    assert_int_equal(n, 0);
    delta_flags_free(f, n);
    delta_compare(&w.d, NULL, NULL, &r);
    assert_int_equal(r.by_kind[DELTA_FLAGS], 2);
    assert_int_equal(r.by_kind[DELTA_DATE], 2);
    assert_int_equal(r.n, 4);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    tear_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_counts), cmocka_unit_test(test_lost_flags),
        cmocka_unit_test(test_flags),   cmocka_unit_test(test_sets),   cmocka_unit_test(test_match),
        cmocka_unit_test(test_uidset),  cmocka_unit_test(test_kept),   cmocka_unit_test(test_removable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
