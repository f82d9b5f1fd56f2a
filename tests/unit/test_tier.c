/* tier: which numbers a mailbox can get, by what both servers tell, and which it has got. */
#include "unit.h"

#include "migrator/account/tier.h"

/* ---- what is aimed at */

static const struct tier_facts told = {
    .source = {.uidvalidity = 7, .uidnext = 20, .messages = 5, .modseq = 100},
    .target = {.uidvalidity = 1700000000, .uidnext = 1, .messages = 0, .modseq = 1},
    .channel = "doveadm",
    .no_channel = "no channel",
    .uidplus = true,
    .t0_max_gaps = 50,
    .t1_max_gaps = 10,
    .foreign_max = 3};

static void aims(struct tier_facts f, enum view_tier tier, bool set, const char *why)
{
    struct tier_aim aim;

    tier_choose(&f, &aim);
    if (aim.tier != tier || aim.set != set || !strstr(aim.why, why) || (!*why && *aim.why))
        fail_msg("%s, set %d, \"%s\"; expected %s, set %d, \"%s\"", view_tier_text(aim.tier), aim.set,
                 aim.why, view_tier_text(tier), set, why);
}

static void an_unused_mailbox_is_told(void **state)
{
    struct tier_facts f = told;
    struct tier_aim aim;

    (void)state;
    aims(f, VIEW_T0, true, "");
    tier_choose(&f, &aim);
    assert_int_equal(aim.gaps, 50);
    assert_true(aim.modseq > f.source.modseq);
    f.absent = true;
    f.target = (struct stamp_side){0};
    aims(f, VIEW_T0, true, "");
    f.source.modseq = 0;
    f.source.messages = 0;
    aims(f, VIEW_T0, true, "");
}

/* By a run before this one, which was killed. */
static void what_was_told_is_not_told_again(void **state)
{
    struct tier_facts f = told;

    (void)state;
    f.target = (struct stamp_side){.uidvalidity = 7, .uidnext = 4, .messages = 0, .modseq = 2000000000};
    aims(f, VIEW_T0, false, "");
    f.target.modseq = 99;
    aims(f, VIEW_T0, true, "");
    f.target.messages = 3;
    aims(f, VIEW_T0, false, "");
}

static void without_a_channel_gaps_are_filled(void **state)
{
    struct tier_facts f = told;
    struct tier_aim aim;

    (void)state;
    f.channel = NULL;
    aims(f, VIEW_T1, false, "no channel");
    tier_choose(&f, &aim);
    assert_int_equal(aim.gaps, 10);
    f.t1_max_gaps = 0;
    aims(f, VIEW_T2, false, "no channel");
    f.target.uidvalidity = 7; /* it has it by itself */
    aims(f, VIEW_T0, false, "");
    tier_choose(&f, &aim);
    assert_int_equal(aim.gaps, 0);
}

static void what_was_used_is_not_told(void **state)
{
    struct tier_facts f = told;

    (void)state;
    f.target.uidnext = 2;
    aims(f, VIEW_T1, false, "used before");
    f.target.messages = 3;
    aims(f, VIEW_T2, false, "messages of its own, which will be moved");
    f.target.messages = 4;
    aims(f, VIEW_T3, false, "4 messages of its own, and foreign_max lets 3 be moved");
    f = told;
    f.uidplus = false;
    aims(f, VIEW_T2, false, "UIDPLUS");
    f = told;
    f.source.uidnext = 0;
    aims(f, VIEW_T3, false, "the source tells no");
    f = told;
    f.target.uidvalidity = 0;
    aims(f, VIEW_T2, false, "the target tells no");
}

/* ---- what came of it */

#define ROW(source, target)                                                                                  \
    {                                                                                                        \
        .source_uid = (source), .target_uid = (target)                                                       \
    }
#define ROWS(...)                                                                                            \
    .rows = (struct ledger_row[]){__VA_ARGS__}, .n = COUNTOF(((struct ledger_row[]){__VA_ARGS__}))

static void is(struct tier_held h, enum view_tier tier, const char *why)
{
    struct view_uid map = {0};
    char text[200];
    enum view_tier got = tier_of(&h, &map, text, sizeof(text));

    if (got != tier || !strstr(text, why) || (!*why && *text))
        fail_msg("%s \"%s\", expected %s \"%s\"", view_tier_text(got), text, view_tier_text(tier), why);
    assert_true(got != VIEW_T2 || map.tail_client > 0);
    view_uid_free(&map);
}

static void equal_numbers(void **state)
{
    struct tier_held h = {7, 20, 7, 20, 0, ROWS(ROW(3, 3), ROW(9, 9))};

    (void)state;
    is(h, VIEW_T0, "");
    h.target_uidvalidity = 8;
    is(h, VIEW_T1, "");
    h.first_foreign = 20; /* newer than all that clients have seen */
    h.target_uidnext = 21;
    is(h, VIEW_T1, "");
    h.target_uidvalidity = 7;
    is(h, VIEW_T0, "");
    h.n = 0;
    is(h, VIEW_T0, "");
}

static void other_numbers_make_a_map(void **state)
{
    struct tier_held h = {7, 20, 8, 3, 0, ROWS(ROW(3, 1), ROW(9, 2))};

    (void)state;
    is(h, VIEW_T2, "UID 3 is UID 1");
    h.target_uidvalidity = 7; /* for the caller to see to */
    is(h, VIEW_T2, "UID 3 is UID 1");
    h.first_foreign = 3;
    h.target_uidnext = 4;
    is(h, VIEW_T2, "UID 3 is UID 1");
}

static void no_map(void **state)
{
    struct tier_held h = {7, 20, 8, 4, 2, ROWS(ROW(3, 1), ROW(9, 3))};

    (void)state;
    is(h, VIEW_T3, "a message of its own, UID 2");
    h.first_foreign = 0;
    h.source_uidnext = 0;
    is(h, VIEW_T3, "UIDNEXT");
    h = (struct tier_held){7, 20, 8, 4, 0, ROWS(ROW(3, 2), ROW(9, 1))};
    is(h, VIEW_T3, "order");
    h = (struct tier_held){7, UINT32_MAX, 8, 100, 50, ROWS(ROW(3, 1))};
    is(h, VIEW_T3, "32 bits");
    h = (struct tier_held){0, 20, 8, 20, 0, ROWS(ROW(3, 3))};
    is(h, VIEW_T3, "no UIDVALIDITY");
}

static void a_fresh_one_is_greater_than_all(void **state)
{
    (void)state;
    assert_int_equal(tier_fresh_uidvalidity(7, 9, 3, 5), 10);
    assert_int_equal(tier_fresh_uidvalidity(7, 9, 30, 5), 31);
    assert_int_equal(tier_fresh_uidvalidity(7, 9, 3, 1700000000), 1700000000);
    assert_int_equal(tier_fresh_uidvalidity(UINT32_MAX, 9, 3, 1700000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unused_mailbox_is_told),
        cmocka_unit_test(what_was_told_is_not_told_again),
        cmocka_unit_test(without_a_channel_gaps_are_filled),
        cmocka_unit_test(what_was_used_is_not_told),
        cmocka_unit_test(equal_numbers),
        cmocka_unit_test(other_numbers_make_a_map),
        cmocka_unit_test(no_map),
        cmocka_unit_test(a_fresh_one_is_greater_than_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
