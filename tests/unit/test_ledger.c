#include "migrator/mailbox/folded.h"
#include "migrator/mailbox/ledger.h"
#include "store_unit.h"

struct world {
    struct unit_store u;
    struct route_job job;
    struct ledger *l;
};

struct answer {
    unsigned times;
    enum route_rc rc;
};

static void on_answer(void *owner, enum route_rc rc)
{
    struct answer *a = owner;
    a->times++;
    a->rc = rc;
}

#define RECORD "0123456789abcdef"

static enum route_rc load(struct world *w)
{
    struct answer a = {0};
    ledger_free(&w->l);
    w->l = ledger_load(w->u.store, &w->job, RECORD, on_answer, &a);
    assert_int_equal(a.times, 0);
    UNIT_UNTIL(&w->u, a.times == 1);
    return a.rc;
}

#define WRITE(w, call, ...)                                                                                  \
    do {                                                                                                     \
        struct answer write_a = {0};                                                                         \
        call((w)->l, ##__VA_ARGS__, on_answer, &write_a);                                                    \
        assert_int_equal(write_a.times, 0);                                                                  \
        UNIT_UNTIL(&(w)->u, write_a.times == 1);                                                             \
        assert_int_equal(write_a.rc, ROUTE_OK);                                                              \
    } while (0)

static void on_claimed(void *owner, enum route_rc rc, const struct route *r)
{
    struct world *w = owner;
    assert_int_equal(rc, ROUTE_OK);
    w->job.epoch = r->epoch;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    const struct route_staff staff = {.user = "ann@example.org", .who = "test", .reason = ""};
    unit_store_begin(&w->u);
    w->job = (struct route_job){.user = "ann@example.org", .token = "token"};
    UNIT_DO_RC(&w->u, ROUTE_OK, route_enqueue, &staff, "old", "new", false, false, false, false);
    route_claim(w->u.store, &(struct route_entry){.user = w->job.user}, w->job.token, "", "unit", on_claimed,
                w);
    UNIT_UNTIL(&w->u, w->job.epoch > 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    ledger_free(&w->l);
    unit_store_end(&w->u);
    free(w);
    return 0;
}

static struct ledger_row row(uint32_t source, uint32_t target, uint64_t size, bool verified)
{
    struct ledger_row r = {.source_uid = source, .target_uid = target, .size = size};
    r.verified = verified;
    memset(r.hash, (int)source, sizeof r.hash);
    return r;
}

/* All that the ledger says, as a text. */
static void expect(struct world *w, const char *want)
{
    struct buf out = {0};
    struct imap_seq doubtful = {0};
    uint32_t source, target, uidnext;
    size_t n;
    const struct ledger_row *rows = ledger_rows(w->l, &n);
    const struct ledger_sums *sums = ledger_sums(w->l);
    uint64_t bytes = 0, verified = 0;
    if (ledger_bound(w->l, &source, &target))
        buf_printf(&out, "%u/%u", source, target);
    for (size_t i = 0; i < n; i++) {
        const struct ledger_row copy =
            row(rows[i].source_uid, rows[i].target_uid, rows[i].size, rows[i].verified);
        buf_printf(&out, " %u>%u%s", rows[i].source_uid, rows[i].target_uid, rows[i].verified ? "v" : "");
        assert_memory_equal(rows[i].hash, copy.hash, sizeof copy.hash);
        assert_ptr_equal(ledger_find(w->l, rows[i].source_uid), &rows[i]);
        assert_ptr_equal(ledger_find_target(w->l, rows[i].target_uid), &rows[i]);
        bytes += rows[i].size;
        verified += rows[i].verified;
    }
    assert_int_equal(sums->rows, n);
    assert_int_equal(sums->bytes, bytes);
    assert_int_equal(sums->verified, verified);
    assert_null(ledger_find_target(w->l, 4000000000));
    if (ledger_in_doubt(w->l, &uidnext)) {
        buf_printf(&out, " doubt %u ", uidnext);
        ledger_doubtful(w->l, &doubtful);
        imap_seq_write(&out, &doubtful);
    }
    rows = ledger_unlanded(w->l, &n);
    for (size_t i = 0; i < n; i++) {
        const struct ledger_row copy = row(rows[i].source_uid, 0, rows[i].size, false);
        buf_printf(&out, "%s%u", i > 0 ? "," : " sent ", rows[i].source_uid);
        assert_memory_equal(rows[i].hash, copy.hash, sizeof copy.hash);
        assert_int_equal(rows[i].target_uid, 0);
    }
    if (ledger_resent(w->l)->n > 0) {
        buf_add_str(&out, " resent ");
        imap_seq_write(&out, ledger_resent(w->l));
    }
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
    imap_seq_free(&doubtful);
}

/* The same now and after a load: what was written is what is known. */
static void expect_loaded(struct world *w, const char *want)
{
    expect(w, want);
    assert_int_equal(load(w), ROUTE_OK);
    expect(w, want);
}

#define SENT(...) ((struct ledger_row[]){__VA_ARGS__})

static void test_sent(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_intent, 5, ((uint32_t[]){1, 2, 3, 9}), 4);
    WRITE(w, ledger_sent, SENT(row(1, 0, 10, false), row(2, 0, 20, false), row(3, 0, 30, false)), 3);
    WRITE(w, ledger_sent, SENT(row(9, 0, 90, false)), 1);
    expect_loaded(w, "1/2 doubt 5 1:3,9 sent 1,2,3,9");
    WRITE(w, ledger_landed, SENT(row(1, 5, 0, false), row(3, 8, 0, false)), 2);
    expect_loaded(w, "1/2 1>5 3>8 doubt 5 2,9 sent 2,9");
    /* 9 is sent again: what went out first may come all the same. 2 was expunged at the source, and is
     * found. */
    WRITE(w, ledger_done, SENT(row(2, 7, 20, true)), 1);
    WRITE(w, ledger_settled, 1000);
    expect_loaded(w, "1/2 1>5 2>7v 3>8 sent 9 resent 9");
    WRITE(w, ledger_intent, 9, ((uint32_t[]){9}), 1);
    WRITE(w, ledger_sent, SENT(row(9, 0, 90, false)), 1);
    WRITE(w, ledger_landed, SENT(row(9, 10, 0, false)), 1);
    expect_loaded(w, "1/2 1>5 2>7v 3>8 9>10 sent 9 resent 9");
    WRITE(w, ledger_gone, ((uint32_t[]){9}), 1);
    expect_loaded(w, "1/2 1>5 2>7v 3>8 sent 9 resent 9");
    WRITE(w, ledger_void);
    expect_loaded(w, "");
}

static void test_life(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    expect(w, "");
    WRITE(w, ledger_bind, 100, 4294967295);
    expect_loaded(w, "100/4294967295");
    WRITE(w, ledger_intent, 5, ((uint32_t[]){1, 2, 3}), 3);
    expect_loaded(w, "100/4294967295 doubt 5 1:3");
    WRITE(w, ledger_intent, 5, ((uint32_t[]){7, 9}), 2);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(1, 5, 10, false), row(2, 6, UINT64_C(1) << 40, false)}),
          2);
    expect_loaded(w, "100/4294967295 1>5 2>6 doubt 5 3,7,9");
    WRITE(w, ledger_done, ((struct ledger_row[]){row(3, 7, 0, true)}), 1);
    expect_loaded(w, "100/4294967295 1>5 2>6 3>7v doubt 5 7,9");
    WRITE(w, ledger_verified, ((uint32_t[]){2, 8}), 2);
    WRITE(w, ledger_settled, 1000);
    expect_loaded(w, "100/4294967295 1>5 2>6v 3>7v resent 7,9");
    WRITE(w, ledger_gone, ((uint32_t[]){2}), 1);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(9, 8, 3, false)}), 1);
    expect_loaded(w, "100/4294967295 1>5 3>7v 9>8 resent 7,9");
    WRITE(w, ledger_void);
    expect_loaded(w, "");
    WRITE(w, ledger_bind, 101, 7);
    expect_loaded(w, "101/7");
}

/* The target was told other UIDVALIDITYs, and may take any of them at any time. */
static void test_renewal(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_renewal, 7);
    assert_false(ledger_is_renewal(w->l, 7)); /* nothing is known yet */
    WRITE(w, ledger_bind, 5, 5);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(1, 4, 10, false)}), 1);
    assert_true(ledger_is_renewal(w->l, 7));
    WRITE(w, ledger_renewal, 9);
    expect_loaded(w, "5/5 1>4");
    assert_true(ledger_is_renewal(w->l, 7) && ledger_is_renewal(w->l, 9));
    assert_false(ledger_is_renewal(w->l, 5) || ledger_is_renewal(w->l, 8) || ledger_is_renewal(w->l, 0));
    WRITE(w, ledger_bind, 5, 9);
    expect_loaded(w, "5/9 1>4");
    assert_false(ledger_is_renewal(w->l, 9)); /* it has it */
    assert_true(ledger_is_renewal(w->l, 7));
    WRITE(w, ledger_void);
    WRITE(w, ledger_bind, 5, 5);
    expect_loaded(w, "5/5");
    assert_true(ledger_is_renewal(w->l, 7));
}

/* What it was told concerns no other direction. */
static void test_renewal_turned(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 5, 6);
    WRITE(w, ledger_renewal, 7);
    assert_true(ledger_is_renewal(w->l, 7));
    WRITE(w, ledger_direct, "new", "old");
    assert_false(ledger_is_renewal(w->l, 7));
}

/* Rows out of order, and one that is written again. */
/* What the target refused, or the source did not give, is no doubt any more, in whichever intent it stands.
 */
struct seen {
    struct buf text;
};

static void on_change(void *owner, const struct imap_seq *uids, const char *flags)
{
    struct seen *seen = owner;
    imap_seq_write(&seen->text, uids);
    buf_printf(&seen->text, " %s;", flags ? flags : "gone");
}

static void unanswered(struct world *w, const char *want)
{
    struct seen seen = {0};
    ledger_each_open_change(w->l, on_change, &seen);
    assert_string_equal(buf_str(&seen.text), want);
    assert_int_equal(ledger_has_open_change(w->l), *want != '\0');
    buf_free(&seen.text);
}

/* Changes of the target stay open until they are answered, also for who loads the ledger next; and the
 * account can't be prepared over one. */
static void test_touch(void **state)
{
    struct world *w = *state;
    struct imap_seq some = {0}, others = {0};
    uint32_t first, second;
    imap_seq_add(&some, 3, 5);
    imap_seq_add(&others, 9, 9);
    const struct ledger_change stores[] = {{&some, "\\Seen $Label"}, {&others, ""}},
                               gone = {.target_uids = &others};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, first = ledger_touch, stores, 2, 1000);
    unanswered(w, "3:5 \\Seen $Label;9 ;");
    WRITE(w, second = ledger_touch, &gone, 1, 1000);
    assert_int_equal(load(w), ROUTE_OK);
    unanswered(w, "3:5 \\Seen $Label;9 ;9 gone;");
    assert_true(second > first);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_ready, &w->job);
    UNIT_DO_RC(&w->u, ROUTE_DOUBT, route_prepare, &w->job, 1000, false);
    WRITE(w, ledger_touched, first);
    unanswered(w, "9 gone;");
    UNIT_DO_RC(&w->u, ROUTE_DOUBT, route_prepare, &w->job, 1000, false);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_calm, &w->job);
    assert_int_equal(load(w), ROUTE_OK);
    unanswered(w, "9 gone;");                      /* for the late watch */
    WRITE(w, first = ledger_touch, NULL, 0, 1000); /* RENAME or DELETE */
    unanswered(w, "9 gone;");
    UNIT_DO_RC(&w->u, ROUTE_DOUBT, route_prepare, &w->job, 1000, false);
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_touched, first);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepare, &w->job, 1000, false);
    imap_seq_free(&some);
    imap_seq_free(&others);
}

/* A message that went out, and of which nothing is known, may arrive yet: the account waits
 * (test_lost_answer). One of which only the intent is there never went out. */
static void test_never_sent(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_intent, 5, ((uint32_t[]){1, 2}), 2);
    WRITE(w, ledger_settled, 1000);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_ready, &w->job);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepare, &w->job, 1000, false);
}

static void test_lost_answer(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_intent, 5, ((uint32_t[]){1, 2}), 2);
    WRITE(w, ledger_sent, SENT(row(1, 0, 10, false)), 1);
    WRITE(w, ledger_settled, 1000);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_ready, &w->job);
    UNIT_DO_RC(&w->u, ROUTE_DOUBT, route_prepare, &w->job, 1000, false);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_calm, &w->job);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_prepare, &w->job, 1000, false);
}

static void test_skipped(void **state)
{
    struct world *w = *state;
    struct imap_seq set = {0};
    const uint32_t first[] = {1, 2, 3, 4}, second[] = {3, 4};
    const struct ledger_row rows[] = {row(1, 11, 5, false), row(2, 12, 5, false)};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 7, 8);
    WRITE(w, ledger_intent, 11, first, 4);
    WRITE(w, ledger_intent, 13, second, 2);
    WRITE(w, ledger_done, rows, 2);
    imap_seq_add(&set, 3, 3);
    WRITE(w, ledger_skipped, &set);
    expect_loaded(w, "7/8 1>11 2>12 doubt 11 4");
    imap_seq_add(&set, 4, 4);
    WRITE(w, ledger_skipped, &set);
    expect_loaded(w, "7/8 1>11 2>12");
    /* Tried again, it is in doubt again. */
    WRITE(w, ledger_intent, 13, second, 2);
    expect_loaded(w, "7/8 1>11 2>12 doubt 13 3:4");
    imap_seq_free(&set);
}

/* An entry of its own, so that a later switch to full reads the rest. */
static void test_headers(void **state)
{
    struct world *w = *state;
    const struct ledger_row rows[] = {row(1, 11, 5, true), row(2, 14, 5, false), row(3, 15, 5, false)};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 7, 8);
    WRITE(w, ledger_done, rows, 3);
    WRITE(w, ledger_headers, ((uint32_t[]){2}), 1);
    for (int loaded = 0; loaded < 2; loaded++) {
        assert_true(ledger_find(w->l, 2)->header && !ledger_find(w->l, 1)->header &&
                    !ledger_find(w->l, 3)->header);
        expect_loaded(w, "7/8 1>11v 2>14 3>15");
    }
    WRITE(w, ledger_verified, ((uint32_t[]){2}), 1);
    expect_loaded(w, "7/8 1>11v 2>14v 3>15");
}

/* Copies to be taken back are known until they are gone, whatever happens in between. */
static void test_retake(void **state)
{
    struct world *w = *state;
    struct imap_seq set = {0};
    const struct ledger_row rows[] = {row(1, 11, 5, true), row(2, 14, 5, false), row(3, 12, 5, true),
                                      row(4, 13, 5, true)};
    const uint32_t gone[] = {3, 4};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 7, 8);
    WRITE(w, ledger_done, rows, 4);
    imap_seq_add(&set, 3, 4);
    WRITE(w, ledger_retake, &set);
    for (int loaded = 0; loaded < 2; loaded++) {
        assert_int_equal(imap_seq_count(ledger_to_retake(w->l)), 2);
        assert_true(imap_seq_has(ledger_to_retake(w->l), 3));
        expect_loaded(w, "7/8 1>11v 2>14 3>12v 4>13v");
    }
    WRITE(w, ledger_gone, gone, 2);
    expect_loaded(w, "7/8 1>11v 2>14");
    assert_int_equal(ledger_to_retake(w->l)->n, 0);
    WRITE(w, ledger_retake, &set);
    WRITE(w, ledger_void);
    assert_int_equal(ledger_to_retake(w->l)->n, 0);
    imap_seq_free(&set);
}

static void test_order(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(5, 50, 1, false), row(9, 40, 1, false)}), 2);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(7, 60, 1, false), row(1, 45, 1, false)}), 2);
    expect_loaded(w, "1/2 1>45 5>50 7>60 9>40");
    WRITE(w, ledger_done, ((struct ledger_row[]){row(7, 61, 9, true)}), 1);
    expect_loaded(w, "1/2 1>45 5>50 7>61v 9>40");
    WRITE(w, ledger_gone, ((uint32_t[]){9, 1}), 2);
    expect_loaded(w, "1/2 5>50 7>61v");
}

/* Each step of messages of the target's own that are moved, with the number of the change that it is to Redis. */
static void test_moves(void **state)
{
    struct world *w = *state;
    struct ledger_row moved[] = {row(3, 41, 0, false), row(8, 40, 0, false), row(4, 1, 0, false)};
    struct imap_seq some = {0};
    struct answer a = {0};
    size_t n;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 1, 2);
    uint32_t number = ledger_begin_move(
        w->l, 40, ((struct ledger_row[]){row(8, 0, 7, false), row(3, 0, 5, false)}), 2, 1000, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 1);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_int_equal(load(w), ROUTE_OK);
    assert_true(ledger_has_open_change(w->l));
    WRITE(w, ledger_moved, moved, 3); /* one that is not under way is no concern of ours */
    WRITE(w, ledger_touched, number);
    imap_seq_add(&some, 8, 8);
    WRITE(w, ledger_clearing, &some);
    for (int loaded = 0; loaded < 2; loaded++) {
        const struct ledger_move *moves = ledger_moves(w->l, &n);
        assert_int_equal(n, 2);
        assert_true(moves[0].uid == 3 && moves[0].to_uid == 41 && moves[0].from == 40 && !moves[0].clearing);
        assert_true(moves[1].uid == 8 && moves[1].to_uid == 40 && moves[1].size == 7 && moves[1].clearing);
        assert_false(ledger_has_open_change(w->l));
        assert_int_equal(load(w), ROUTE_OK);
    }
    WRITE(w, ledger_cleared, &some);
    ledger_moves(w->l, &n);
    assert_int_equal(n, 1);
    WRITE(w, ledger_direct, "new", "old");
    ledger_moves(w->l, &n);
    assert_int_equal(n, 0);
    imap_seq_free(&some);
}

/* What was given once counts, though it is gone; what is in no entry was jumped over, whoever has died meanwhile. */
static void test_given(void **state)
{
    struct world *w = *state;
    struct imap_seq numbers = {0};
    assert_int_equal(load(w), ROUTE_OK);
    assert_true(ledger_gave_none(w->l));
    assert_true(ledger_gave_all(w->l, 1) && !ledger_gave_all(w->l, 2));
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_done, ((struct ledger_row[]){row(2, 2, 1, false), row(5, 5, 1, false)}), 2);
    assert_false(ledger_gave_all(w->l, 3));
    imap_seq_add(&numbers, 1, 1);
    imap_seq_add(&numbers, 3, 4);
    WRITE(w, ledger_fill, &numbers);
    assert_false(ledger_gave_all(w->l, 3));
    WRITE(w, ledger_filled, &numbers, &numbers);
    WRITE(w, ledger_unfilled, &numbers);
    WRITE(w, ledger_gone, ((uint32_t[]){2}), 1);
    for (int loaded = 0; loaded < 2; loaded++) {
        assert_true(ledger_gave_all(w->l, 6) && !ledger_gave_all(w->l, 7));
        assert_false(ledger_gave_none(w->l));
        assert_int_equal(load(w), ROUTE_OK);
    }
    WRITE(w, ledger_direct, "new", "old");
    assert_false(ledger_gave_all(w->l, 2));
    WRITE(w, ledger_void);
    assert_true(ledger_gave_none(w->l));
    imap_seq_free(&numbers);
}

/* The same message, as the ledger has it once the account goes the other way. */
static struct ledger_row row_to_turn(uint32_t source, uint32_t target, bool verified)
{
    struct ledger_row r = row(target, source, 1, verified);
    r.source_uid = source;
    r.target_uid = target;
    return r;
}

/* The way back and forth again. What is open belongs to a source that is none any more. */
static void test_turned(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    assert_false(ledger_is_of(w->l, "old", "new"));
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 100, 200);
    WRITE(w, ledger_done,
          ((struct ledger_row[]){row_to_turn(1, 5, true), row_to_turn(2, 9, false), row_to_turn(3, 7, true)}),
          3);
    WRITE(w, ledger_intent, 8, ((uint32_t[]){4, 5}), 2);
    WRITE(w, ledger_settled, 1000);
    WRITE(w, ledger_intent, 8, ((uint32_t[]){6}), 1);
    WRITE(w, ledger_direct, "old", "new");
    assert_false(ledger_was_turned(w->l));
    WRITE(w, ledger_direct, "new", "old");
    assert_true(ledger_is_of(w->l, "new", "old"));
    assert_false(ledger_is_of(w->l, "old", "new"));
    expect_loaded(w, "200/100 5>1v 7>3v 9>2");
    assert_true(ledger_was_turned(w->l));
    WRITE(w, ledger_direct, "new", "old");
    WRITE(w, ledger_done, ((struct ledger_row[]){row(11, 10, 1, true)}), 1);
    WRITE(w, ledger_gone, ((uint32_t[]){7}), 1);
    expect_loaded(w, "200/100 5>1v 9>2 11>10v");
    WRITE(w, ledger_direct, "old", "new");
    assert_int_equal(load(w), ROUTE_OK);
    assert_true(ledger_is_of(w->l, "old", "new"));
    assert_int_equal(ledger_find(w->l, 10)->target_uid, 11);
    assert_int_equal(ledger_find(w->l, 2)->target_uid, 9);
    WRITE(w, ledger_direct, "old", "third");
    expect_loaded(w, "");
    assert_false(ledger_was_turned(w->l));
}

/* What a ledger without a pair says can't be taken for either direction. */
static void test_pair_after_rows(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_direct, "new", "old");
    expect_loaded(w, "");
}

/* Several writes under way end in order, and the rows of one count for what comes behind it. */
static void test_several_under_way(void **state)
{
    struct world *w = *state;
    struct answer a[4] = {{0}};
    assert_int_equal(load(w), ROUTE_OK);
    ledger_bind(w->l, 1, 2, on_answer, &a[0]);
    ledger_intent(w->l, 1, (uint32_t[]){1, 2}, 2, on_answer, &a[1]);
    ledger_done(w->l, (struct ledger_row[]){row(1, 1, 1, false)}, 1, on_answer, &a[2]);
    expect(w, "");
    ledger_forget(w->l, &a[1]);
    UNIT_UNTIL(&w->u, a[2].times == 1);
    assert_int_equal(a[0].times, 1);
    assert_int_equal(a[1].times, 0);
    ledger_settled(w->l, 1000, on_answer, &a[3]);
    UNIT_UNTIL(&w->u, a[3].times == 1);
    expect_loaded(w, "1/2 1>1 resent 2");
}

/* An owner that was replaced writes nothing more. */
static void test_lost(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_bind, 1, 2);
    w->job.token = "another";
    ledger_void(w->l, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 1);
    assert_int_equal(a.rc, ROUTE_LOST);
    assert_string_not_equal(ledger_error(w->l), "");
    w->job.token = "token";
    expect_loaded(w, "1/2");
}

/* An entry of a later version, or one that something else wrote: nothing is guessed. */
static void test_what_cannot_be_read(void **state)
{
    struct world *w = *state;
    static const char *const entries[] = {
        "",
        "1",
        "2 bind 1 2",
        "1 bind 1",
        "1 bind 1 2 3",
        "1 bind 1 x",
        "1 intent 5",
        "1 intent 5 0",
        "1 intent x 1",
        "1 done 1,2,3",
        "1 done 1,2,3,AAAA",
        "1 done 0,2,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "1 done 1,2,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,x",
        "1 verified x",
        "1 gone",
        "1 settled",
        "1 void x",
        "1 pair",
        "1 sent 1,0,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "3 sent 1,2,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "3 sent 1,0,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,v",
        "3 sent x",
        "3 landed",
        "3 landed 1",
        "3 landed 1 2",
        "1 pair old",
        "1 pair old new x",
        "1 other",
        "1  void",
    };
    for (size_t i = 0; i < COUNTOF(entries); i++) {
        struct unit_answer a;
        struct span entry = span_str(entries[i]);
        UNIT_DO_RC(&w->u, ROUTE_OK, route_ledger_drop, &w->job, RECORD);
        UNIT_DO(&w->u, a, route_ledger_append, &w->job, RECORD, &entry, 1);
        assert_int_equal(a.rc, ROUTE_OK);
        if (load(w) != ROUTE_REFUSED || !strstr(ledger_error(w->l), entries[i]))
            fail_msg("\"%s\" was read", entries[i]);
    }
    struct span good = span_str("1 done 1,2,3,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    struct unit_answer a;
    UNIT_DO_RC(&w->u, ROUTE_OK, route_ledger_drop, &w->job, RECORD);
    UNIT_DO(&w->u, a, route_ledger_append, &w->job, RECORD, &good, 1);
    assert_int_equal(load(w), ROUTE_OK);
}

/* More entries than one page has. */
static void test_pages(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    size_t n;
    assert_int_equal(load(w), ROUTE_OK);
    for (uint32_t i = 1; i <= 2500; i++)
        ledger_done(w->l, (struct ledger_row[]){row(i, i, 1, i % 2)}, 1, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 2500);
    assert_int_equal(load(w), ROUTE_OK);
    ledger_rows(w->l, &n);
    assert_int_equal(n, 2500);
    assert_int_equal(ledger_sums(w->l)->verified, 1250);
    assert_int_equal(ledger_find(w->l, 2500)->target_uid, 2500);
}

/* Freed with a load and writes under way: nobody is called. */
static void test_free_at_once(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    assert_int_equal(load(w), ROUTE_OK);
    ledger_bind(w->l, 1, 2, on_answer, &a);
    ledger_free(&w->l);
    w->l = ledger_load(w->u.store, &w->job, RECORD, on_answer, &a);
    ledger_free(&w->l);
    assert_int_equal(load(w), ROUTE_OK);
    assert_int_equal(a.times, 0);
    expect(w, "1/2");
}

static void test_size(void **state)
{
    (void)state;
    assert_true(sizeof(struct ledger_row) <= 56);
}

/* ---- folded ---- */

static uint64_t listed(struct world *w)
{
    return (uint64_t)UNIT_COMMAND(&w->u, "LLEN", "unit:ledger:ann@example.org:" RECORD).number;
}

static void fold(struct world *w)
{
    assert_int_equal(load(w), ROUTE_OK);
    assert_true(ledger_may_fold(w->l));
    WRITE(w, ledger_fold);
    assert_int_equal(load(w), ROUTE_OK);
}

/* Pairs, and how they are proved: v by bytes, h by headers, b bare. */
static void expect_rows(struct world *w, const char *want)
{
    struct buf out = {0};
    uint32_t source, target;
    size_t n;
    const struct ledger_row *rows = ledger_rows(w->l, &n);
    if (ledger_bound(w->l, &source, &target))
        buf_printf(&out, "%u/%u", source, target);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&out, " %u>%u%s%s%s", rows[i].source_uid, rows[i].target_uid, rows[i].verified ? "v" : "",
                   rows[i].header ? "h" : "", rows[i].bare ? "b" : "");
        assert_ptr_equal(ledger_find_target(w->l, rows[i].target_uid), &rows[i]);
    }
    assert_int_equal(ledger_sums(w->l)->rows, n);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void test_folded(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 7, 4294967295);
    WRITE(w, ledger_done,
          SENT(row(1, 5, 9, true), row(2, 6, 9, true), row(3, 8, 9, false), row(4, 9, 9, false),
               row(9, 4, 9, true), row(4294967295, 4294967295, 9, true)),
          6);
    WRITE(w, ledger_headers, ((uint32_t[]){4}), 1);
    WRITE(w, ledger_looked, 70);
    for (int again = 0; again < 2; again++) {
        fold(w);
        assert_int_equal(listed(w), 0);
        expect_rows(w, "7/4294967295 1>5vb 2>6vb 3>8b 4>9hb 9>4vb 4294967295>4294967295vb");
        assert_true(ledger_is_of(w->l, "old", "new"));
        assert_int_equal(ledger_looked_until(w->l), 70);
        assert_false(ledger_was_turned(w->l));
    }
    /* What comes behind it is known by its bytes, until the next time. */
    WRITE(w, ledger_done, SENT(row(10, 20, 3, true)), 1);
    WRITE(w, ledger_gone, ((uint32_t[]){9}), 1);
    assert_int_equal(load(w), ROUTE_OK);
    expect_rows(w, "7/4294967295 1>5vb 2>6vb 3>8b 4>9hb 10>20v 4294967295>4294967295vb");
    assert_int_equal(listed(w), 2);
    fold(w);
    assert_int_equal(listed(w), 0);
    expect_rows(w, "7/4294967295 1>5vb 2>6vb 3>8b 4>9hb 10>20vb 4294967295>4294967295vb");
    /* The way back, and on again. */
    WRITE(w, ledger_direct, "new", "old");
    WRITE(w, ledger_verified, ((uint32_t[]){8}), 1);
    fold(w);
    expect_rows(w, "4294967295/7 5>1vb 6>2vb 8>3vb 9>4hb 20>10vb 4294967295>4294967295vb");
    assert_true(ledger_was_turned(w->l) && ledger_is_of(w->l, "new", "old"));
    assert_int_equal(ledger_looked_until(w->l), 0);
    WRITE(w, ledger_void);
    fold(w);
    expect_rows(w, "");
    assert_true(ledger_is_of(w->l, "new", "old"));
    struct unit_answer a;
    UNIT_DO(&w->u, a, route_ledger_drop, &w->job, RECORD);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_int_equal(UNIT_COMMAND(&w->u, "EXISTS", "unit:folded:ann@example.org").number, 0);
}

/* Messages that were sent again may land once more: they stay as they are. */
static void test_folded_but_for_what_was_sent_again(void **state)
{
    struct world *w = *state;
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_done, SENT(row(1, 5, 10, true), row(2, 6, 20, true)), 2);
    WRITE(w, ledger_intent, 7, ((uint32_t[]){3, 4}), 2);
    WRITE(w, ledger_sent, SENT(row(3, 0, 30, false), row(4, 0, 40, false)), 2);
    assert_false(ledger_may_fold(w->l));
    WRITE(w, ledger_settled, 1000);
    WRITE(w, ledger_sent, SENT(row(3, 0, 30, false)), 1);
    WRITE(w, ledger_landed, SENT(row(3, 7, 0, false)), 1);
    WRITE(w, ledger_verified, ((uint32_t[]){3}), 1);
    struct imap_seq told = {0};
    imap_seq_add(&told, 9, 9);
    imap_seq_add(&told, 70, 71);
    WRITE(w, ledger_told, &told);
    WRITE(w, ledger_touch, &(struct ledger_change){&told, "\\Seen"}, 1,
          1000); /* its time is over with the watch's */
    assert_true(ledger_has_open_change(w->l));
    imap_seq_free(&told);
    for (int again = 0; again < 2; again++) {
        fold(w);
        assert_int_equal(listed(w), 4);
        assert_false(ledger_has_open_change(w->l));
        assert_true(ledger_was_told(w->l, 9) && ledger_was_told(w->l, 71) && !ledger_was_told(w->l, 72));
        expect_rows(w, "1/2 1>5vb 2>6vb 3>7v");
        assert_int_equal(ledger_find(w->l, 3)->size, 30);
        assert_int_equal(ledger_find(w->l, 3)->hash[31], 3);
        assert_true(imap_seq_has(ledger_resent(w->l), 3) && imap_seq_has(ledger_resent(w->l), 4));
        size_t n;
        const struct ledger_row *sent = ledger_unlanded(w->l, &n);
        assert_true(n == 2 && sent[0].source_uid == 3 && sent[1].source_uid == 4 && sent[1].hash[0] == 4);
    }
}

/* A fold whose answer was lost is done once; one that was read before somebody wrote is not done; nor is that
 * of an owner that was replaced. */
static void test_folded_once(void **state)
{
    struct world *w = *state;
    struct answer a = {0}, loaded = {0};
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 1, 2);
    WRITE(w, ledger_done, SENT(row(1, 5, 10, true)), 1);
    assert_int_equal(load(w), ROUTE_OK);
    struct ledger *late = ledger_load(w->u.store, &w->job, RECORD, on_answer, &loaded);
    UNIT_UNTIL(&w->u, loaded.times == 1);
    WRITE(w, ledger_fold);
    ledger_fold(late, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 1);
    assert_int_equal(a.rc, ROUTE_OK);
    assert_int_equal(load(w), ROUTE_OK);
    WRITE(w, ledger_done, SENT(row(2, 6, 10, true)), 1);
    ledger_fold(late, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 2);
    assert_int_equal(a.rc, ROUTE_AGAIN);
    ledger_free(&late);
    w->job.token = "another";
    assert_int_equal(load(w), ROUTE_OK);
    ledger_fold(w->l, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 3);
    assert_int_equal(a.rc, ROUTE_LOST);
    w->job.token = "token";
    assert_int_equal(load(w), ROUTE_OK);
    expect_rows(w, "1/2 1>5vb 2>6v");
}

static void no_row(void *owner, const struct ledger_row *row)
{
    (void)owner, (void)row;
}

static void test_folded_that_cannot_be_read(void **state)
{
    static const char *const texts[] = {"",       "A",        "AA",        "BAAAAAAAAAAAAA", "AAB",
                                        "AABAA",  "AABABA",   "AABAAAA",   "AAA ",           "IAA",
                                        "EABAAA", "EABAAAAA", "EABAAABAB", "AAB_____HAAA",   "AABAAfffffD"};
    struct folded f;
    (void)state;
    assert_true(folded_read(span_str("AAA"), &f, no_row, NULL));
    assert_true(folded_read(span_str("AABAAA"), &f, no_row, NULL));
    assert_true(folded_read(span_str("EABAABBBAB"), &f, no_row, NULL));
    for (size_t i = 0; i < COUNTOF(texts); i++)
        if (folded_read(span_str(texts[i]), &f, no_row, NULL))
            fail_msg("read: %s", texts[i]);
}

/* What an account takes in Redis of its ledgers, before and after: so many mailboxes, of so many messages
 * each. */
struct shape {
    const char *name;
    uint32_t mailboxes, messages;
    uint32_t step, every; /* the source's UIDs go on by step behind every so many messages */
};

static uint64_t memory_of(struct world *w, const char *key)
{
    return (uint64_t)UNIT_COMMAND(&w->u, "MEMORY", "USAGE", key, "SAMPLES", "0").number;
}

static uint64_t take_shape(struct world *w, const struct shape *s, char id[17])
{
    enum { BATCH = 500 };
    struct ledger_row rows[BATCH];
    struct answer a = {0};
    uint32_t uid = 1;
    ledger_free(&w->l);
    w->l = ledger_load(w->u.store, &w->job, id, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 1);
    WRITE(w, ledger_direct, "old", "new");
    WRITE(w, ledger_bind, 1700000000, 1710000000);
    for (uint32_t done = 0; done < s->messages;) {
        uint32_t n = s->messages - done < BATCH ? s->messages - done : BATCH, uids[BATCH];
        for (uint32_t i = 0; i < n; i++, uid += (done + i) % s->every ? 1 : s->step) {
            rows[i] = row(uid, done + i + 1, 12345, false);
            uids[i] = uid;
        }
        WRITE(w, ledger_intent, done + 1, uids, n);
        WRITE(w, ledger_sent, rows, n);
        WRITE(w, ledger_landed, rows, n);
        WRITE(w, ledger_verified, uids, n);
        done += n;
    }
    char *key = xasprintf("unit:ledger:ann@example.org:%s", id);
    uint64_t before = memory_of(w, key);
    a = (struct answer){0};
    ledger_free(&w->l);
    w->l = ledger_load(w->u.store, &w->job, id, on_answer, &a);
    UNIT_UNTIL(&w->u, a.times == 1);
    WRITE(w, ledger_fold);
    free(key);
    return before;
}

static void test_memory(void **state)
{
    static const struct shape shapes[] = {
        {"one run", 1, 1000, 1, 1},
        {"a gap behind each tenth message", 1, 1000, 3, 10},
        {"a gap behind each second message", 1, 1000, 7, 2},
        {"a gap behind each message", 1, 1000, 2, 1},
        {"100 mailboxes of 10 messages", 100, 10, 1, 1},
        {"100 mailboxes of 10 messages with a gap in each", 100, 10, 3, 5},
    };
    struct world *w = *state;
    UNIT_COMMAND(&w->u, "CONFIG", "SET", "appendfsync", "no");
    for (size_t i = 0; i < COUNTOF(shapes); i++) {
        const struct shape *s = &shapes[i];
        uint64_t before = 0, messages = (uint64_t)s->mailboxes * s->messages;
        UNIT_COMMAND(&w->u, "DEL", "unit:folded:ann@example.org");
        for (uint32_t m = 0; m < s->mailboxes; m++) {
            char id[17];
            random_hex(id, 8);
            before += take_shape(w, s, id);
        }
        uint64_t after = memory_of(w, "unit:folded:ann@example.org");
        print_message("%-50s %5.1f bytes a message, folded %4.2f\n", s->name,
                      (double)before / (double)messages, (double)after / (double)messages);
        assert_true(after <= 4 * messages);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_renewal),
        TEST(test_renewal_turned),
        TEST(test_skipped),
        TEST(test_touch),
        TEST(test_never_sent),
        TEST(test_lost_answer),
        TEST(test_headers),
        TEST(test_retake),
        TEST(test_order),
        TEST(test_given),
        TEST(test_moves),
        TEST(test_turned),
        TEST(test_pair_after_rows),
        TEST(test_several_under_way),
        TEST(test_lost),
        TEST(test_what_cannot_be_read),
        TEST(test_pages),
        TEST(test_free_at_once),
        TEST(test_sent),
        TEST(test_folded),
        TEST(test_folded_but_for_what_was_sent_again),
        TEST(test_folded_once),
        cmocka_unit_test(test_folded_that_cannot_be_read),
        TEST(test_memory),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
