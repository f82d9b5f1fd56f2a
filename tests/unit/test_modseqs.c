/* modseqs: over any moves no MODSEQ that a client was shown before is taken for one of now, and none is shown twice. */
#include "unit.h"

#include "migrator/account/modseqs.h"

/* HIGHESTMODSEQ of both servers, and a base far above. */
static const struct modseqs_facts told = {
    .condstore = true, .source = 100, .target = 3 << 28, .base = 1 << 29, .given = true};

static void goes_on(struct modseqs_facts f, enum view_tier tier, bool modseqs, uint64_t floor, uint64_t shift,
                    bool jumped)
{
    struct view_record v = {.tier = tier, .modseq_floor = 1, .modseq_shift = 1, .modseq_jumped = true};

    modseqs_go_on(&v, &f);
    if (v.modseqs != modseqs || v.modseq_floor != floor || v.modseq_shift != shift ||
        v.modseq_jumped != jumped)
        fail_msg("%d %llu,%llu,%d; expected %d %llu,%llu,%d", v.modseqs, (unsigned long long)v.modseq_floor,
                 (unsigned long long)v.modseq_shift, v.modseq_jumped, modseqs, (unsigned long long)floor,
                 (unsigned long long)shift, jumped);
}

static void what_was_told_needs_no_shift(void **state)
{
    struct modseqs_facts f = told;

    (void)state;
    goes_on(f, VIEW_T0, true, f.base, 0, false);
    f.given = false;
    goes_on(f, VIEW_T0, true, f.base, 0, true);
    f.source = f.base - MODSEQS_SLACK;
    goes_on(f, VIEW_T0, true, f.base, 0, true);
    f.target = f.base;
    goes_on(f, VIEW_T0, true, f.base, 0, true);
}

static void else_all_is_shifted(void **state)
{
    const uint64_t above = 100 + MODSEQS_SLACK;
    struct modseqs_facts f = told;

    (void)state;
    goes_on(f, VIEW_T1, true, above, above, false);
    goes_on(f, VIEW_T2, true, above, above, false);
    f.base = 0;
    goes_on(f, VIEW_T0, true, above, above, false);
    f = told;
    f.target = f.base - 1; /* the server was set back, or did not do as it was told */
    goes_on(f, VIEW_T0, true, above, above, false);
    f = told;
    f.source = f.base - MODSEQS_SLACK + 1; /* the source has grown past it */
    goes_on(f, VIEW_T0, true, f.base + 1, f.base + 1, false);
    f = told;
    f.source = 0; /* NOMODSEQ */
    f.base = 0;
    goes_on(f, VIEW_T0, true, 0, 0, false);
    goes_on(f, VIEW_T2, true, 0, 0, false);
}

static void what_held_before_counts(void **state)
{
    struct modseqs_facts f = told;

    (void)state;
    f.held = true;
    f.floor = 5000;
    f.shift = 4000;
    goes_on(f, VIEW_T0, true, 5000 + MODSEQS_SLACK, 5000 + MODSEQS_SLACK, false);
    f.source = 2000;
    goes_on(f, VIEW_T0, true, 6000 + MODSEQS_SLACK, 6000 + MODSEQS_SLACK, false);
    f.source = 0;
    goes_on(f, VIEW_T0, true, 5000 + MODSEQS_SLACK, 5000 + MODSEQS_SLACK, false);
    f.condstore = false; /* clients may have it back one day */
    goes_on(f, VIEW_T1, true, 5000 + MODSEQS_SLACK, 5000 + MODSEQS_SLACK, false);
}

static void where_clients_start_again_or_have_none(void **state)
{
    struct modseqs_facts f = told;

    (void)state;
    goes_on(f, VIEW_T3, false, 0, 0, false);
    f.condstore = false;
    goes_on(f, VIEW_T0, false, 0, 0, false);
    goes_on(f, VIEW_T2, false, 0, 0, false);
    f.held = true;
    f.floor = f.shift = 7;
    goes_on(f, VIEW_T3, false, 0, 0, false);
}

static void in_a_word(void **state)
{
    struct view_record v = {.tier = VIEW_T3};

    (void)state;
    assert_string_equal(modseqs_word(&v), "anew");
    v.tier = VIEW_T0;
    assert_string_equal(modseqs_word(&v), "none");
    v.modseqs = true;
    assert_string_equal(modseqs_word(&v), "kept");
    v.modseq_jumped = true;
    assert_string_equal(modseqs_word(&v), "jumped");
    v.modseq_shift = 1;
    assert_string_equal(modseqs_word(&v), "shifted");
}

static void too_large_is_none(void **state)
{
    struct modseqs_facts f = told;

    (void)state;
    f.source = MODSEQS_MAX;
    goes_on(f, VIEW_T1, true, MODSEQS_MAX + MODSEQS_SLACK, MODSEQS_MAX + MODSEQS_SLACK, false);
    f.source = MODSEQS_MAX + 1;
    goes_on(f, VIEW_T1, false, 0, 0, false);
    f.source = UINT64_MAX;
    f.base = f.target = UINT64_MAX;
    goes_on(f, VIEW_T0, false, 0, 0, false);
    f = told;
    f.base = f.target = MODSEQS_MAX + 1;
    goes_on(f, VIEW_T0, true, 100 + MODSEQS_SLACK, 100 + MODSEQS_SLACK, false);
    f = (struct modseqs_facts){
        .condstore = true, .held = true, .source = 1, .floor = MODSEQS_MAX, .shift = MODSEQS_MAX};
    goes_on(f, VIEW_T1, false, 0, 0, false);
}

/* What a client is shown after any number of moves, some of them called off in the freeze, is above the floor, and above
 * all that it was shown before. */
static void there_and_back_for_ever(void **state)
{
    static const struct modseqs_facts none = {.condstore = true};
    uint64_t real[2] = {500, 1}, shown = 500;
    struct view_record v = {.tier = VIEW_T1};
    bool viewed = false;

    (void)state;
    srand(7);
    for (int move = 0, on = 0; move < 1000; move++) {
        struct modseqs_facts f = none;
        f.held = viewed;
        f.floor = viewed ? v.modseq_floor : 0;
        f.shift = viewed ? v.modseq_shift : 0;
        real[on] += (uint64_t)rand() % 50;
        f.source = real[on];
        shown = real[on] + f.shift > shown ? real[on] + f.shift : shown;
        f.target = real[!on];
        v.tier = rand() % 2 ? VIEW_T1 : VIEW_T2;
        modseqs_go_on(&v, &f);
        assert_true(v.modseqs && v.modseq_floor >= shown + MODSEQS_SLACK && v.modseq_shift <= v.modseq_floor);
        if (rand() % 4 == 0 && viewed) { /* called off: the account stays, with the new record */
            real[on]++;
            assert_true(real[on] + v.modseq_shift > v.modseq_floor);
            shown = real[on] + v.modseq_shift;
            continue;
        }
        on = !on;
        viewed = true;
        real[on]++;
        assert_true(real[on] + v.modseq_shift > v.modseq_floor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_told_needs_no_shift),
        cmocka_unit_test(else_all_is_shifted),
        cmocka_unit_test(what_held_before_counts),
        cmocka_unit_test(where_clients_start_again_or_have_none),
        cmocka_unit_test(in_a_word),
        cmocka_unit_test(too_large_is_none),
        cmocka_unit_test(there_and_back_for_ever),
    };
    return cmocka_run_group_tests_name("modseqs", tests, NULL, NULL);
}
